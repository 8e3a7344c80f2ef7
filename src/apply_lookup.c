/*-------------------------------------------------------------------------
 *
 * src/apply_lookup.c
 *	  Finds the hub row that a change is about, for the direct path.
 *
 * NOTES
 *	  One index scan is kept open for each target and only rescanned.  A table
 *	  with a key uses the unique index on just the key's columns.  A table
 *	  without one uses the index on a hash of its row that
 *	  tap_hubtable_create_key() makes, and compares the rows with that hash
 *	  byte by byte; without that index it is scanned.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "apply_private.h"
#include "compat.h"
#include "hubtable_private.h"

/* ---------------------------------------------------------------------
 * Choice of the index
 * ---------------------------------------------------------------------
 */

static bool
is_key_column(const TapMapping *mapping, AttrNumber column)
{
	for (int i = 0; i < mapping->nkeys; i++)
	{
		if (mapping->keys[i] == column)
			return true;
	}
	return false;
}

bool
tap_lookup_index_is_key(Relation index, const TapMapping *mapping)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		form->indnkeyatts != mapping->nkeys ||
		index->rd_rel->relam != BTREE_AM_OID ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		if (!is_key_column(mapping, form->indkey.values[i]))
			return false;
	}
	return true;
}

static Relation
choose_index(TapTarget *target)
{
	ResultRelInfo *result = target->result;

	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation	index = result->ri_IndexRelationDescs[i];

		if (target->mapping->nkeys > 0 ?
			tap_lookup_index_is_key(index, target->mapping) :
			tap_hubtable_index_hashes_row(index))
			return index;
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Scanning
 * ---------------------------------------------------------------------
 */

/*
 * Begin again with the scan keys.  What a scan allocates as it goes on, it
 * keeps; so it must run in the memory that it was opened in.
 */
static void
rescan(TapTarget *target, IndexScanDesc scan)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(target->open_context);

	index_rescan(scan, target->scan_keys, target->nkeys, NULL, 0);
	MemoryContextSwitchTo(oldcontext);
}

static bool
next_row(TapTarget *target, IndexScanDesc scan, TupleTableSlot *slot)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(target->open_context);
	bool		found = index_getnext_slot(scan, ForwardScanDirection, slot);

	MemoryContextSwitchTo(oldcontext);
	return found;
}

/* ---------------------------------------------------------------------
 * Opening
 * ---------------------------------------------------------------------
 */

static void
open_key_column(TapTarget *target, int i)
{
	TapKeyColumn *column = &target->key_columns[i];
	Relation	index = target->key_index;
	Oid			input = index->rd_opcintype[i];
	Oid			family = index->rd_opfamily[i];
	Oid			operator;
	TypeCacheEntry *type;

	column->hub = index->rd_index->indkey.values[i];
	column->collation = index->rd_indcollation[i];
	if (column->hub != InvalidAttrNumber)
	{
		column->source = target->mapping->source_of_hub[column->hub - 1];
		type = lookup_type_cache(TupleDescAttr(RelationGetDescr(target->rel),
											   column->hub - 1)->atttypid,
								 TYPECACHE_HASH_PROC_FINFO);
		if (OidIsValid(type->hash_proc))
			column->hash = &type->hash_proc_finfo;
	}

	operator = get_opfamily_member(family, input, input, BTEqualStrategyNumber);
	if (!OidIsValid(operator))
		elog(ERROR, "missing operator %d(%u,%u) in opfamily %u",
			 BTEqualStrategyNumber, input, input, family);
	ScanKeyEntryInitialize(&target->scan_keys[i], 0, i + 1,
						   BTEqualStrategyNumber, InvalidOid,
						   column->collation, get_opcode(operator), (Datum) 0);
}

void
tap_lookup_open(TapTarget *target)
{
	target->key_index = choose_index(target);
	target->key_hashes_row = target->mapping->nkeys == 0;
	target->key_scan = NULL;
	target->key_hashable = false;
	target->recent = NULL;
	ItemPointerSetInvalid(&target->last_found);
	target->neighbour_misses = 0;
	target->sweep = 0;
	target->nkeys = 0;
	if (target->key_index == NULL)
		return;

	target->nkeys = IndexRelationGetNumberOfKeyAttributes(target->key_index);
	target->key_columns = palloc0(sizeof(TapKeyColumn) * target->nkeys);
	target->scan_keys = palloc0(sizeof(ScanKeyData) * target->nkeys);
	target->key_hashable = !target->key_hashes_row;
	for (int i = 0; i < target->nkeys; i++)
	{
		open_key_column(target, i);
		if (target->key_columns[i].hash == NULL)
			target->key_hashable = false;
	}
	target->key_scan = tap_compat_index_beginscan(target->rel, target->key_index,
												  SnapshotSelf, target->nkeys);
}

void
tap_lookup_unpin(TapTarget *target)
{
	if (target->key_scan != NULL)
		rescan(target, target->key_scan);
}

void
tap_lookup_close(TapTarget *target)
{
	if (target->key_scan != NULL)
		index_endscan(target->key_scan);
	target->key_scan = NULL;
	target->key_index = NULL;
}

/* ---------------------------------------------------------------------
 * Keys
 * ---------------------------------------------------------------------
 */

static inline uint32
hash_value(const TapKeyColumn *column, Datum value)
{
	return DatumGetUInt32(FunctionCall1Coll(column->hash, column->collation, value));
}

uint32
tap_lookup_hash(TapTarget *target, TupleTableSlot *hub_row)
{
	uint32		hash = 0;

	for (int i = 0; i < target->nkeys; i++)
	{
		const TapKeyColumn *column = &target->key_columns[i];
		int			at = column->hub - 1;

		if (!hub_row->tts_isnull[at])
			hash = hash_combine(hash, hash_value(column, hub_row->tts_values[at]));
	}
	return hash;
}

/* Set the scan keys; false if the key has a NULL, which no index holds. */
static bool
set_key(TapTarget *target, const TapRowImage *image)
{
	for (int i = 0; i < target->nkeys; i++)
	{
		AttrNumber	source = target->key_columns[i].source;
		bool		isnull = image->slot->tts_isnull[source - 1];

		if (!tap_image_has(image, source))
			elog(ERROR, "key column \"%s\" is missing in a change",
				 NameStr(TupleDescAttr(target->source->descriptor, source - 1)->attname));
		target->scan_keys[i].sk_argument =
			tap_mapping_value(target->mapping, source,
							  image->slot->tts_values[source - 1], &isnull);
		if (isnull)
			return false;
	}
	return true;
}

static uint32
hash_scan_keys(const TapTarget *target)
{
	uint32		hash = 0;

	for (int i = 0; i < target->nkeys; i++)
		hash = hash_combine(hash, hash_value(&target->key_columns[i],
											 target->scan_keys[i].sk_argument));
	return hash;
}

/* Whether the row has the key in the scan keys. */
static bool
has_scan_keys(TapTarget *target, TupleTableSlot *row)
{
	for (int i = 0; i < target->nkeys; i++)
	{
		ScanKey		key = &target->scan_keys[i];
		bool		isnull;
		Datum		value = slot_getattr(row, target->key_columns[i].hub, &isnull);

		if (isnull ||
			!DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation,
											value, key->sk_argument)))
			return false;
	}
	return true;
}

void
tap_lookup_remember(TapTarget *target)
{
	TapRecentRow *row;
	uint32		hash;

	if (!target->key_hashable)
		return;
	if (target->recent == NULL)
		target->recent = MemoryContextAllocZero(target->open_context,
												sizeof(TapRecentRow) * TAP_RECENT_ROWS);
	hash = tap_lookup_hash(target, target->work);
	row = &target->recent[hash % TAP_RECENT_ROWS];
	row->hash = hash;
	row->tid = target->work->tts_tid;
}

/*
 * Look at the remembered place.  A row that is visible there and has the key
 * is the row, for the key is unique; so what is remembered may be wrong.
 */
static bool
find_recent(TapTarget *target, uint32 hash, TupleTableSlot *slot)
{
	TapRecentRow *row;

	if (target->recent == NULL)
		return false;
	row = &target->recent[hash % TAP_RECENT_ROWS];
	return row->hash == hash && ItemPointerIsValid(&row->tid) &&
		table_tuple_fetch_row_version(target->rel, &row->tid, SnapshotSelf, slot) &&
		has_scan_keys(target, slot);
}

/* So many misses in a row show that keys do not come in the order of rows. */
#define NEIGHBOUR_MISSES	8

/* Then only each so many-th lookup tries again. */
#define NEIGHBOUR_RETRY		256

/*
 * Rows that were stored in the order of their keys are mostly changed in that
 * order too: look right behind the row that was found last, which costs less
 * than a descent of the index.  What is visible there and has the key is the
 * row, for the key is unique.
 */
static bool
find_neighbour(TapTarget *target, TupleTableSlot *slot)
{
	ItemPointerData tid = target->last_found;

	if (!ItemPointerIsValid(&tid) ||
		ItemPointerGetOffsetNumber(&tid) >= MaxHeapTuplesPerPage)
		return false;
	if (target->neighbour_misses >= NEIGHBOUR_MISSES &&
		++target->neighbour_misses % NEIGHBOUR_RETRY != 0)
		return false;

	ItemPointerSetOffsetNumber(&tid, OffsetNumberNext(ItemPointerGetOffsetNumber(&tid)));
	if (table_tuple_fetch_row_version(target->rel, &tid, SnapshotSelf, slot) &&
		has_scan_keys(target, slot))
	{
		target->neighbour_misses = 0;
		return true;
	}
	if (target->neighbour_misses < NEIGHBOUR_MISSES)
		target->neighbour_misses++;
	return false;
}

/* Note where a row was found. */
static void
note_found(TapTarget *target, ItemPointer tid)
{
	ItemPointer last = &target->last_found;

	if (ItemPointerIsValid(last) && ItemPointerCompare(tid, last) > 0 &&
		ItemPointerGetBlockNumber(tid) - ItemPointerGetBlockNumber(last) <= 1)
		target->sweep++;
	else
		target->sweep = 0;
	*last = *tid;
}

static void
report_no_index(TapTarget *target)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < target->mapping->nkeys; i++)
	{
		AttrNumber	column = target->mapping->keys[i];

		appendStringInfo(&columns, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(target->rel),
																column - 1)->attname)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("hub table \"%s\" has no unique index on its key (%s)",
					RelationGetRelationName(target->rel), columns.data),
			 errhint("Use ALTER TABLE ... ADD PRIMARY KEY (%s).", columns.data),
			 errtable(target->rel)));
}

/* ---------------------------------------------------------------------
 * Rows without a key
 * ---------------------------------------------------------------------
 */

/* Put the image into target->work in the hub's format. */
static void
fill_work(TapTarget *target, const TapRowImage *image)
{
	const TapMapping *mapping = target->mapping;
	TupleTableSlot *work = target->work;

	ExecClearTuple(work);
	for (int i = 0; i < mapping->nhub; i++)
	{
		AttrNumber	source = mapping->source_of_hub[i];

		work->tts_isnull[i] = true;
		work->tts_values[i] = (Datum) 0;
		if (source == InvalidAttrNumber || !tap_image_has(image, source))
			continue;
		work->tts_isnull[i] = image->slot->tts_isnull[source - 1];
		work->tts_values[i] = tap_mapping_value(mapping, source,
												image->slot->tts_values[source - 1],
												&work->tts_isnull[i]);
	}
	ExecStoreVirtualTuple(work);
}

/* Compare what the image has; target->work holds it as a hub row. */
static bool
row_equals(TapTarget *target, const TapRowImage *image, TupleTableSlot *row)
{
	const TapMapping *mapping = target->mapping;
	TupleTableSlot *work = target->work;

	slot_getallattrs(row);
	for (int i = 0; i < mapping->nhub; i++)
	{
		AttrNumber	source = mapping->source_of_hub[i];
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(target->rel), i);

		if (source == InvalidAttrNumber || !tap_image_has(image, source))
			continue;
		if (work->tts_isnull[i] != row->tts_isnull[i])
			return false;
		if (!work->tts_isnull[i] &&
			!datum_image_eq(work->tts_values[i], row->tts_values[i],
							att->attbyval, att->attlen))
			return false;
	}
	return true;
}

static bool
find_by_hash(TapTarget *target, const TapRowImage *image, IndexScanDesc scan,
			 TupleTableSlot *slot)
{
	IndexInfo  *info = NULL;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	for (int i = 0; i < target->result->ri_NumIndices; i++)
	{
		if (target->result->ri_IndexRelationDescs[i] == target->key_index)
			info = target->result->ri_IndexRelationInfo[i];
	}
	GetPerTupleExprContext(target->estate)->ecxt_scantuple = target->work;
	FormIndexDatum(info, target->work, target->estate, values, isnull);

	target->scan_keys[0].sk_argument = values[0];
	rescan(target, scan);
	while (next_row(target, scan, slot))
	{
		if (row_equals(target, image, slot))
			return true;
	}
	return false;
}

static bool
find_by_scan(TapTarget *target, const TapRowImage *image, Snapshot snapshot,
			 TupleTableSlot *slot)
{
	TableScanDesc scan = table_beginscan(target->rel, snapshot, 0, NULL);
	bool		found = false;

	while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		found = row_equals(target, image, slot);
	}

	/* the slot's tuple is described in the scan's memory */
	if (found)
		ExecMaterializeSlot(slot);
	table_endscan(scan);
	return found;
}

static bool
find_equal_row(TapTarget *target, const TapRowImage *image, IndexScanDesc scan,
			   Snapshot snapshot, TupleTableSlot *slot)
{
	tap_insert_flush(target);
	fill_work(target, image);

	/* The hash is that of a whole row. */
	if (scan != NULL && image->present == NULL)
		return find_by_hash(target, image, scan, slot);
	return find_by_scan(target, image, snapshot, slot);
}

/* ---------------------------------------------------------------------
 * Interface
 * ---------------------------------------------------------------------
 */

static bool
find_by_key(TapTarget *target, const TapRowImage *image, IndexScanDesc scan,
			TupleTableSlot *slot)
{
	uint32		hash = 0;

	if (!set_key(target, image))
		return false;
	if (target->key_hashable &&
		(target->buffer.nrows > 0 || target->recent != NULL))
		hash = hash_scan_keys(target);
	if (tap_insert_may_hold(target, hash))
		tap_insert_flush(target);
	if (find_recent(target, hash, slot))
		return true;

	/* a look with another snapshot wants to see all versions */
	if (scan != target->key_scan || !find_neighbour(target, slot))
	{
		rescan(target, scan);
		if (!next_row(target, scan, slot))
			return false;
	}
	note_found(target, &slot->tts_tid);
	return true;
}

static bool
find_row(TapTarget *target, const TapRowImage *image, IndexScanDesc scan,
		 Snapshot snapshot, TupleTableSlot *slot)
{
	if (target->key_hashes_row)
		return find_equal_row(target, image, scan, snapshot, slot);
	if (scan == NULL)
		report_no_index(target);
	return find_by_key(target, image, scan, slot);
}

bool
tap_lookup_row(TapTarget *target, const TapRowImage *image, TupleTableSlot *slot)
{
	return find_row(target, image, target->key_scan, SnapshotSelf, slot);
}

bool
tap_lookup_again(TapTarget *target, const TapRowImage *image, TupleTableSlot *slot)
{
	IndexScanDesc scan = NULL;
	SnapshotData dirty;
	TransactionId other;

	InitDirtySnapshot(dirty);
	dirty.xmin = dirty.xmax = InvalidTransactionId;
	if (target->key_index != NULL)
		scan = tap_compat_index_beginscan(target->rel, target->key_index, &dirty,
										  target->nkeys);
	while (find_row(target, image, scan, &dirty, slot))
	{
		other = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (!TransactionIdIsValid(other))
			break;
		ExecClearTuple(slot);
		XactLockTableWait(other, NULL, NULL, XLTW_None);
	}
	ExecClearTuple(slot);
	if (scan != NULL)
		index_endscan(scan);
	return tap_lookup_row(target, image, slot);
}
