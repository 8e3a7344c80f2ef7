/*-------------------------------------------------------------------------
 *
 * src/apply_partition.c
 *	  Finds the partition of a row, so that it can take the direct path.
 *
 * NOTES
 *	  The partition key is part of any unique key, so the key of a change is
 *	  enough to tell the partition, also for the row in the hub.  Only an
 *	  update that changes the key may move a row to another partition; that
 *	  and partitions that are no plain tables are left to the SQL path.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "executor/execPartition.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "apply_private.h"

/* Of a partitioned target, while it is open. */
struct TapRouting
{
	EState	   *estate;
	ModifyTableState *modify;
	PartitionTupleRouting *partitions;
	ResultRelInfo *root;
	TupleTableSlot *slot;		/* a hub row of which only the key is set */
};

/* An entry of TapTarget.leaves. */
typedef struct TapLeaf
{
	Oid			relid;
	TapTarget  *target;
} TapLeaf;

bool
tap_partition_possible(TapTarget *target)
{
	Relation	rel = target->rel;
	bool		found = false;
	ListCell   *cell;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE ||
		rel->rd_rel->relispartition || rel->rd_rules != NULL ||
		target->mapping->nkeys == 0 || tap_direct_has_triggers(rel))
		return false;

	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		found = found || tap_lookup_index_is_key(index, target->mapping);
		index_close(index, AccessShareLock);
	}
	return found;
}

void
tap_partition_open(TapTarget *target)
{
	struct TapRouting *routing = palloc0(sizeof(struct TapRouting));

	routing->estate = CreateExecutorState();
	routing->root = makeNode(ResultRelInfo);
	InitResultRelInfo(routing->root, target->rel, 0, NULL, 0);
	routing->modify = makeNode(ModifyTableState);
	routing->modify->ps.state = routing->estate;
	routing->modify->operation = CMD_INSERT;
	routing->modify->resultRelInfo = routing->root;
	routing->modify->rootResultRelInfo = routing->root;
	routing->partitions = ExecSetupPartitionTupleRouting(routing->estate,
														 target->rel);
	target->descriptor = CreateTupleDescCopyConstr(RelationGetDescr(target->rel));
	routing->slot = MakeSingleTupleTableSlot(target->descriptor, &TTSOpsVirtual);
	ExecStoreAllNullTuple(routing->slot);
	target->routing = routing;
}

void
tap_partition_close(TapTarget *target)
{
	struct TapRouting *routing = target->routing;

	target->routing = NULL;
	ExecCleanupTupleRouting(routing->modify, routing->partitions);
	ExecResetTupleTable(routing->estate->es_tupleTable, false);
	FreeExecutorState(routing->estate);
}

/* The partition for the key of an image. */
static Oid
find_partition(TapTarget *target, const TapRowImage *image)
{
	struct TapRouting *routing = target->routing;
	TupleTableSlot *slot = routing->slot;
	MemoryContext oldcontext;
	ResultRelInfo *leaf;

	for (int i = 0; i < target->source->nkeys; i++)
	{
		AttrNumber	source = target->source->keys[i];
		int			at = target->mapping->keys[i] - 1;

		slot->tts_isnull[at] = image->slot->tts_isnull[source - 1];
		slot->tts_values[at] = tap_mapping_value(target->mapping, source,
												 image->slot->tts_values[source - 1],
												 &slot->tts_isnull[at]);
	}

	/* What it learns about a partition it keeps. */
	ResetPerTupleExprContext(routing->estate);
	oldcontext = MemoryContextSwitchTo(target->open_context);
	leaf = ExecFindPartition(routing->modify, routing->root, routing->partitions,
							 slot, routing->estate);
	MemoryContextSwitchTo(oldcontext);
	return RelationGetRelid(leaf->ri_RelationDesc);
}

static TapTarget *
get_leaf(TapTarget *target, Oid relid)
{
	TapLeaf    *entry;
	bool		found;

	if (target->leaves == NULL)
	{
		HASHCTL		control = {
			.keysize = sizeof(Oid),
			.entrysize = sizeof(TapLeaf),
			.hcxt = target->apply->context
		};

		target->leaves = hash_create("tapdata partitions", 32, &control,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(target->leaves, &relid, HASH_ENTER, &found);
	if (!found)
	{
		entry->target = tap_apply_target(target->apply, relid, target->source,
										 target->source_name,
										 target->ignore_missing);
		entry->target->is_leaf = true;
	}
	return entry->target;
}

void
tap_partition_forget(TapTarget *target)
{
	HASH_SEQ_STATUS status;
	TapLeaf    *entry;

	if (target->leaves == NULL)
		return;
	hash_seq_init(&status, target->leaves);
	while ((entry = hash_seq_search(&status)) != NULL)
		tap_apply_forget_target(target->apply, entry->target);
	hash_destroy(target->leaves);
	target->leaves = NULL;
}

TapTarget *
tap_partition_leaf(TapTarget *target, const TapRowImage *image)
{
	TapTarget  *leaf = get_leaf(target, find_partition(target, image));

	if (!leaf->open)
		tap_apply_open_target(leaf);
	return leaf->direct ? leaf : NULL;
}
