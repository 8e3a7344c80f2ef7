/*-------------------------------------------------------------------------
 *
 * src/decode_plugin.c
 *	  The output plugin: copies decoded changes into the decoder's buffer.
 *
 * NOTES
 *	  The callbacks run in a transaction that is rolled back, under the
 *	  historic snapshot: they must not write, and must not read user tables.
 *	  Transactions come whole, at their commit.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "compat.h"
#include "decode_private.h"
#include "fmgr.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks);

bool		tap_decode_plugin_allowed = false;
TapDecoder *tap_decode_current = NULL;

/* Entries of transactions at first. */
#define TXNS_AT_FIRST	64

static void
startup(LogicalDecodingContext *logical, OutputPluginOptions *options, bool is_init)
{
	if (!tap_decode_plugin_allowed)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("output plugin \"tapdata\" can be used by the workers of tapdata only"),
				 errhint("Use tapdata.publish() to publish changes.")));

	/* There is no decoder when a slot is being created. */
	logical->output_plugin_private = tap_decode_current;
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = false;
}

/* ----------------
 * Origins
 * ----------------
 */

/* Whether the pipeline publishes transactions of a named origin. */
static bool
is_published_origin(const TapDecodeOrigins *origins, const char *name)
{
	ListCell   *cell;

	if (origins->any)
		return true;
	foreach(cell, origins->names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* Learn an origin's name; in the transaction of a callback. */
static TapDecodeOrigin *
learn_origin(TapDecoder *decoder, RepOriginId id)
{
	TapDecodeOrigin *origin;
	char	   *name = NULL;
	bool		found;

	if (id == DoNotReplicateId || !replorigin_by_oid(id, true, &name))
		name = psprintf("%u", id);
	origin = hash_search(decoder->origins, &id, HASH_ENTER, &found);
	origin->name = MemoryContextStrdup(decoder->context, name);
	origin->published = is_published_origin(&decoder->args.origins, name);
	return origin;
}

/*
 * Called for each record, outside of transactions: an origin that is not
 * known yet is left for begin_txn() to look up.
 */
static bool
filter_by_origin(LogicalDecodingContext *logical, RepOriginId id)
{
	TapDecoder *decoder = logical->output_plugin_private;
	TapDecodeOrigin *origin;

	if (decoder == NULL || decoder->args.origins.any)
		return false;
	if (id == InvalidRepOriginId)
		return !decoder->args.origins.local;
	origin = hash_search(decoder->origins, &id, HASH_FIND, NULL);
	return origin != NULL && !origin->published;
}

/* ----------------
 * Transactions
 * ----------------
 */

static void
begin_txn(LogicalDecodingContext *logical, ReorderBufferTXN *txn)
{
	TapDecoder *decoder = logical->output_plugin_private;
	TapOutTxn  *out = &decoder->beginning;

	decoder->replayed++;
	memset(out, 0, sizeof(TapOutTxn));
	out->xid = txn->xid;
	out->commit_lsn = txn->final_lsn;
	out->end_lsn = txn->end_lsn;
	out->commit_time = txn->xact_time.commit_time;

	decoder->skip = false;
	if (txn->origin_id != InvalidRepOriginId)
	{
		TapDecodeOrigin *origin = hash_search(decoder->origins, &txn->origin_id,
											  HASH_FIND, NULL);

		if (origin == NULL)
			origin = learn_origin(decoder, txn->origin_id);
		out->origin = origin->name;
		decoder->skip = !origin->published;
	}
}

/* The entry of the transaction being decoded, made at its first change. */
static TapDecodeTxn *
open_txn(TapDecoder *decoder)
{
	TapDecodeTxn *txn;

	if (likely(decoder->open))
		return &decoder->txns[decoder->ntxns - 1];

	if (decoder->ntxns == decoder->maxtxns)
	{
		int			size = Max(decoder->maxtxns * 2, TXNS_AT_FIRST);

		if (decoder->txns == NULL)
			decoder->txns = MemoryContextAlloc(decoder->context,
											   size * sizeof(TapDecodeTxn));
		else
			decoder->txns = repalloc_huge(decoder->txns,
										  size * sizeof(TapDecodeTxn));
		decoder->maxtxns = size;
	}
	txn = &decoder->txns[decoder->ntxns++];
	txn->out = decoder->beginning;
	txn->formats = NIL;
	decoder->open = true;
	return txn;
}

static void
commit_txn(LogicalDecodingContext *logical, ReorderBufferTXN *txn,
		   XLogRecPtr commit_lsn)
{
	TapDecoder *decoder = logical->output_plugin_private;

	if (!decoder->open)
		return;
	if (decoder->halted_lsn != InvalidXLogRecPtr)
	{
		/* nobody asks for what was put into the buffer of it */
		decoder->ntxns--;
		decoder->open = false;
		return;
	}
	open_txn(decoder)->formats = decoder->new_formats;
	decoder->new_formats = NIL;
	decoder->open = false;
}

/* ----------------
 * Changes
 * ----------------
 */

/* What is put into the buffer for one change. */
typedef struct Change
{
	TapDecodeLayout *layout;
	TapChangeKind kind;
	XLogRecPtr	lsn;
	HeapTuple	new_tuple;		/* or NULL */
	HeapTuple	old_tuple;		/* or NULL */
	bool		deformed;		/* layout->values are those of new_tuple */
	int			nexternal;
	Size		external_bytes; /* with headers, aligned */
} Change;

/* The varlena that a value which was put together from WAL points to. */
static struct varlena *
external_value(Datum value)
{
	struct varatt_indirect redirect;

	VARATT_EXTERNAL_GET_POINTER(redirect, (struct varlena *) DatumGetPointer(value));
	return redirect.pointer;
}

static void
deform_new(Change *change)
{
	TapDecodeLayout *layout = change->layout;

	if (!change->deformed)
		heap_deform_tuple(change->new_tuple, layout->physical, layout->values,
						  layout->isnull);
	change->deformed = true;
}

/* Whether a column's value was put together from WAL. */
static bool
is_external(const TapDecodeLayout *layout, int column)
{
	return TupleDescAttr(layout->physical, column)->attlen == -1 &&
		!layout->isnull[column] &&
		VARATT_IS_EXTERNAL_INDIRECT(DatumGetPointer(layout->values[column]));
}

/* Find the values that the new tuple only points to. */
static void
count_external(Change *change)
{
	TapDecodeLayout *layout = change->layout;

	deform_new(change);
	for (int i = 0; i < layout->physical->natts; i++)
	{
		if (is_external(layout, i))
		{
			change->nexternal++;
			change->external_bytes += TAP_DECODE_EXTERNAL_BYTES +
				MAXALIGN(VARSIZE_ANY(external_value(layout->values[i])));
		}
	}
}

/* Copy them behind the tuples. */
static void
copy_external(Change *change, char *target)
{
	TapDecodeLayout *layout = change->layout;

	for (int i = 0; i < layout->physical->natts; i++)
	{
		TapDecodeExternal *header = (TapDecodeExternal *) target;
		struct varlena *value;

		if (!is_external(layout, i))
			continue;
		value = external_value(layout->values[i]);
		header->bytes = VARSIZE_ANY(value);
		header->column = i;
		memcpy(target + TAP_DECODE_EXTERNAL_BYTES, value, header->bytes);
		target += TAP_DECODE_EXTERNAL_BYTES + MAXALIGN(header->bytes);
	}
}

static void
put_change(TapDecoder *decoder, Change *change)
{
	uint32		new_bytes = change->new_tuple ? change->new_tuple->t_len : 0;
	uint32		old_bytes = change->old_tuple ? change->old_tuple->t_len : 0;
	TapDecodeTxn *txn = open_txn(decoder);
	TapDecodeRecord *record;
	char	   *target;

	if (new_bytes > 0 && HeapTupleHasExternal(change->new_tuple))
		count_external(change);
	record = tap_decode_buffer_reserve(decoder->buffer,
									   TAP_DECODE_RECORD_BYTES +
									   MAXALIGN(new_bytes) +
									   MAXALIGN(old_bytes) +
									   change->external_bytes);
	record->layout = change->layout;
	record->lsn = change->lsn;
	record->kind = change->kind;
	record->nexternal = change->nexternal;
	record->new_bytes = new_bytes;
	record->old_bytes = old_bytes;
	target = (char *) record + TAP_DECODE_RECORD_BYTES;
	if (new_bytes > 0)
		memcpy(target, change->new_tuple->t_data, new_bytes);
	target += MAXALIGN(new_bytes);
	if (old_bytes > 0)
		memcpy(target, change->old_tuple->t_data, old_bytes);
	target += MAXALIGN(old_bytes);
	if (change->nexternal > 0)
		copy_external(change, target);
	tap_decode_buffer_put(decoder->buffer);
	txn->out.nchanges++;
}

/*
 * Whether WAL tells which row was updated or deleted.  An update without an
 * old row kept its key only if that is part of the replica identity.
 */
static bool
is_identified(const Change *change)
{
	return change->layout->old_has_key &&
		(change->kind != TAP_CHANGE_DELETE || change->old_tuple != NULL);
}

/* WAL does not tell which row was changed: nothing can be done any more. */
static void
raise_unidentified(Change *change, Relation relation)
{
	const TapTableName *name = &change->layout->format->public.source->name;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a row of table \"%s\" was %s without its key in the WAL",
					RelationGetRelationName(relation),
					change->kind == TAP_CHANGE_DELETE ? "deleted" : "updated"),
			 errdetail("The replica identity of the table did not tell the columns of its key."),
			 errhint("Set its replica identity (ALTER TABLE ... REPLICA IDENTITY FULL), then copy the table again: SELECT tapdata.resync('<pipeline>', '%s.%s').",
					 name->schema ? name->schema : "", name->name)));
}

/* Values that did not change are not in WAL, but maybe the old row's are. */
static void
complete_new(Change *change)
{
	TapDecodeLayout *layout = change->layout;

	if (change->old_tuple == NULL || !HeapTupleHasExternal(change->new_tuple))
		return;
	for (int i = 0; i < layout->physical->natts; i++)
	{
		if (TupleDescAttr(layout->physical, i)->attlen == -1 &&
			!layout->isnull[i] &&
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(layout->values[i])) &&
			tap_decode_old_has(layout, i))
		{
			layout->values[i] = layout->old_values[i];
			layout->isnull[i] = layout->old_isnull[i];
		}
	}
}

/*
 * Whether the change passes the row filter.  An update that crosses the
 * filter becomes an insert or a delete.
 */
static bool
passes_filter(Change *change)
{
	TapDecodeLayout *layout = change->layout;
	bool		old_passes = true;
	bool		new_passes = true;

	if (change->old_tuple != NULL)
	{
		heap_deform_tuple(change->old_tuple, layout->physical,
						  layout->old_values, layout->old_isnull);
		old_passes = tap_decode_filter_passes(layout->filter, layout->old_values,
											  layout->old_isnull);
	}
	if (change->new_tuple != NULL)
	{
		deform_new(change);
		complete_new(change);
		new_passes = tap_decode_filter_passes(layout->filter, layout->values,
											  layout->isnull);
	}
	if (change->kind != TAP_CHANGE_UPDATE || change->old_tuple == NULL)
		return old_passes && new_passes;

	if (old_passes && !new_passes)
	{
		change->kind = TAP_CHANGE_DELETE;
		change->new_tuple = NULL;
	}
	else if (!old_passes && new_passes)
		change->kind = TAP_CHANGE_INSERT;
	return old_passes || new_passes;
}

/* Whether changes of this kind are published. */
static bool
is_published_kind(const TapDecodeTable *table, TapChangeKind kind)
{
	switch (kind)
	{
		case TAP_CHANGE_INSERT:
			return table->insert;
		case TAP_CHANGE_UPDATE:
			return table->update;
		case TAP_CHANGE_DELETE:
			return table->delete;
		case TAP_CHANGE_TRUNCATE:
			return table->truncate;
		case TAP_CHANGE_READ:
			break;
	}
	return false;
}

static void
take_change(LogicalDecodingContext *logical, ReorderBufferTXN *txn,
			Relation relation, ReorderBufferChange *source)
{
	TapDecoder *decoder = logical->output_plugin_private;
	Change		change = {0};

	if (decoder->skip)
		return;
	change.layout = tap_decode_layout(decoder, relation);
	if (change.layout == NULL)
		return;

	change.kind = source->action == REORDER_BUFFER_CHANGE_INSERT ?
		TAP_CHANGE_INSERT :
		source->action == REORDER_BUFFER_CHANGE_UPDATE ? TAP_CHANGE_UPDATE :
		TAP_CHANGE_DELETE;
	if (!is_published_kind(change.layout->format->public.table, change.kind))
		return;
	change.lsn = source->lsn;
	change.new_tuple = tap_compat_changed_tuple(source->data.tp.newtuple);
	change.old_tuple = tap_compat_changed_tuple(source->data.tp.oldtuple);
	if (change.kind != TAP_CHANGE_INSERT && !is_identified(&change))
		raise_unidentified(&change, relation);
	if (change.layout->filter != NULL && !passes_filter(&change))
		return;
	put_change(decoder, &change);
}

/* Rows of one partition are not all rows of the table: no sink can be told. */
static void
report_partition(TapDecoder *decoder, const TapDecodeTable *table,
				 Relation partition, int nrelations, Relation relations[])
{
	char	   *message;

	for (int i = 0; i < nrelations; i++)
	{
		if (RelationGetRelid(relations[i]) == table->relid)
			return;
	}
	message = psprintf("partition \"%s\" was truncated by itself, which the target is not told",
					   RelationGetRelationName(partition));
	ereport(LOG,
			(errmsg_internal("%s", message),
			 errhint("Delete the rows of a partition of a published table instead, or copy the table again with tapdata.resync().")));
	if (decoder->args.untold != NULL)
		decoder->args.untold(decoder->args.arg, table, message);
}

static void
take_truncate(LogicalDecodingContext *logical, ReorderBufferTXN *txn,
			  int nrelations, Relation relations[], ReorderBufferChange *source)
{
	TapDecoder *decoder = logical->output_plugin_private;

	if (decoder->skip)
		return;
	for (int i = 0; i < nrelations; i++)
	{
		Change		change = {0};
		TapDecodeTable *table;

		change.layout = tap_decode_layout(decoder, relations[i]);
		if (change.layout == NULL)
			continue;
		table = change.layout->format->public.table;
		if (!table->truncate)
			continue;
		if (table->relid != RelationGetRelid(relations[i]))
		{
			report_partition(decoder, table, relations[i], nrelations, relations);
			continue;
		}
		change.kind = TAP_CHANGE_TRUNCATE;
		change.lsn = source->lsn;
		put_change(decoder, &change);
	}
}

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = startup;
	callbacks->begin_cb = begin_txn;
	callbacks->change_cb = take_change;
	callbacks->truncate_cb = take_truncate;
	callbacks->commit_cb = commit_txn;
	callbacks->filter_by_origin_cb = filter_by_origin;
}
