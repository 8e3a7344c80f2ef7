/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_batch.c
 *	  Changes on their way to a statement.
 *
 * NOTES
 *	  A batch is a list of runs, each of which becomes one statement; they are
 *	  made in the order in which they were begun.
 *
 *	  For most tables the changes of different keys may change places, since
 *	  nobody sees the target between them.  Then a table has one run of each
 *	  shape, and at most one change of a key: a later change of the same key
 *	  replaces the earlier one (insert and update are an insert, update and
 *	  delete are a delete, and so on).  Where that cannot be done an epoch
 *	  ends: later changes go to runs of their own.
 *
 *	  Tables that are "ordered" keep the order: a run takes more rows only as
 *	  long as no other run of the table was begun, and no row twice.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Of a buffer for single rows. */
#define KEPT_BYTES		(1024 * 1024)

/* ---------------------------------------------------------------------
 * Batches and runs
 * ---------------------------------------------------------------------
 */

TapPgBatch *
tap_pg_batch_create(TapSession *session)
{
	MemoryContext context = AllocSetContextCreate(session->sink->context,
												  "tapdata postgres batch",
												  ALLOCSET_DEFAULT_SIZES);
	TapPgBatch *batch = MemoryContextAllocZero(context, sizeof(TapPgBatch));

	batch->context = context;
	batch->number = ++session->sink->nbatches;
	return batch;
}

void
tap_pg_batch_free(TapPgBatch *batch)
{
	MemoryContextDelete(batch->context);
}

static TapPgRun *
new_run(TapPgBatch *batch, TapPgShape *shape)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	TapPgRun   *run = palloc0(sizeof(TapPgRun));

	if (batch->nruns == batch->maxruns)
	{
		batch->maxruns = Max(8, batch->maxruns * 2);
		batch->runs = batch->runs ?
			repalloc(batch->runs, sizeof(TapPgRun *) * batch->maxruns) :
			palloc(sizeof(TapPgRun *) * batch->maxruns);
	}
	run->shape = shape;
	run->number = batch->nruns;
	initStringInfo(&run->data);
	batch->runs[batch->nruns++] = run;
	shape->run = run;
	shape->run_epoch = shape->table->epoch;
	shape->table->last_run = run;
	MemoryContextSwitchTo(old);
	return run;
}

/* The run of this shape that may take one more row. */
static TapPgRun *
find_run(TapPgSink *sink, TapPgShape *shape)
{
	TapPgBatch *batch = sink->batch;
	TapPgTable *table = shape->table;
	TapPgRun   *run = shape->run_epoch == table->epoch ? shape->run : NULL;

	if (run != NULL && table->ordered && table->last_run != run)
		run = NULL;
	if (run != NULL && sink->ordered && batch->nruns - 1 != run->number)
		run = NULL;
	return run ? run : new_run(batch, shape);
}

static void
end_epoch(TapPgTable *table)
{
	/* 0 is never an epoch, so that no run is one of it */
	table->epoch++;
	table->last_run = NULL;
	tap_pg_keys_clear(table);
}

static int
append_row(TapPgSink *sink, TapPgRun *run, const char *bytes, Size length,
		   uint32 key_bytes, uint64 lsn)
{
	TapPgRow   *row;

	if (run->nrows == run->maxrows)
	{
		run->maxrows = Max(16, run->maxrows * 2);
		run->rows = run->rows ?
			repalloc_huge(run->rows, sizeof(TapPgRow) * run->maxrows) :
			MemoryContextAlloc(sink->batch->context, sizeof(TapPgRow) * run->maxrows);
	}
	row = &run->rows[run->nrows];
	row->offset = run->data.len;
	row->bytes = length;
	row->key_bytes = key_bytes;
	row->lsn = lsn;
	row->dead = false;
	appendBinaryStringInfo(&run->data, bytes, length);
	sink->batch->bytes += length + sizeof(TapPgRow);
	run->nlive++;
	return run->nrows++;
}

static void
kill_row(TapPgRun *run, int row)
{
	run->rows[row].dead = true;
	run->nlive--;
}

/* ---------------------------------------------------------------------
 * Encoded rows
 * ---------------------------------------------------------------------
 */

const char *
tap_pg_next_value(const char **position, int32 *length)
{
	uint32		network;
	const char *value = *position + sizeof(network);

	memcpy(&network, *position, sizeof(network));
	*length = (int32) pg_ntoh32(network);
	*position = value + Max(*length, 0);
	return value;
}

static void
encode_columns(StringInfo out, TapPgTable *table, const TapRowImage *image, int first, int last)
{
	uint32		absent = pg_hton32((uint32) TAP_PG_ABSENT);
	TupleTableSlot *slot = image->slot;

	for (int i = first; i < last; i++)
	{
		TapPgColumn *column = &table->columns[i];

		if (image->present != NULL && !image->present[column->number])
			appendBinaryStringInfo(out, (char *) &absent, sizeof(absent));
		else
			tap_pg_append_value(out, column, column->codec,
								slot->tts_values[column->number],
								slot->tts_isnull[column->number]);
	}
}

/* A whole row; returns the length of its key. */
static uint32
encode_row(StringInfo out, TapPgTable *table, const TapRowImage *image)
{
	uint32		key_bytes;
	int			start = out->len;

	slot_getallattrs(image->slot);
	encode_columns(out, table, image, 0, table->nkeys);
	key_bytes = out->len - start;
	encode_columns(out, table, image, table->nkeys, table->ncolumns);
	return key_bytes;
}

/* A new row laid over the former one. */
static void
merge_rows(StringInfo out, const TapPgTable *table, const char *before, const char *after)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const char *start_before = before;
		const char *start_after = after;
		int32		length;

		(void) tap_pg_next_value(&before, &length);
		(void) tap_pg_next_value(&after, &length);
		if (length == TAP_PG_ABSENT)
			appendBinaryStringInfo(out, start_before, before - start_before);
		else
			appendBinaryStringInfo(out, start_after, after - start_after);
	}
}

/* The shape of an update that has the columns that are in the row. */
static TapPgShape *
update_shape(TapSession *session, TapPgTable *table, TapPgAction action, const char *row)
{
	bool		present[MaxHeapAttributeNumber];
	bool		all = true;

	for (int i = 0; i < table->ncolumns; i++)
	{
		int32		length;

		(void) tap_pg_next_value(&row, &length);
		present[i] = length != TAP_PG_ABSENT;
		all = all && present[i];
	}
	if (all && action == table->update->action)
		return table->update;
	return tap_pg_shape(session, table, action, all ? NULL : present, false);
}

/* ---------------------------------------------------------------------
 * Keys
 * ---------------------------------------------------------------------
 */

/* Inserts are not indexed before another change comes. */
static void
index_inserts(TapSession *session, TapPgTable *table)
{
	TapPgRun   *run = table->insert->run_epoch == table->epoch ? table->insert->run : NULL;

	if (table->indexed)
		return;
	table->indexed = true;
	for (int i = 0; run != NULL && i < run->nrows; i++)
	{
		bool		found;
		TapPgKeySlot *slot = tap_pg_keys_look_up(session, table, run->data.data + run->rows[i].offset,
												 run->rows[i].key_bytes, &found);

		tap_pg_keys_set(table, slot, run, i);
	}
}

/* ---------------------------------------------------------------------
 * Tables whose rows may change places
 * ---------------------------------------------------------------------
 */

static void
put(TapSession *session, TapPgShape *shape, TapPgKeySlot *slot, StringInfo row,
	uint32 key_bytes, uint64 lsn)
{
	TapPgSink  *sink = session->sink;
	TapPgRun   *run = find_run(sink, shape);
	int			number = append_row(sink, run, row->data, row->len, key_bytes, lsn);

	if (slot != NULL)
		tap_pg_keys_set(shape->table, slot, run, number);
}

/* What was not foreseen: begin anew, so that the order is kept. */
static void
put_in_new_epoch(TapSession *session, TapPgShape *shape, StringInfo row,
				 uint32 key_bytes, uint64 lsn)
{
	TapPgTable *table = shape->table;
	TapPgKeySlot *slot;
	bool		found;

	end_epoch(table);
	index_inserts(session, table);
	slot = tap_pg_keys_look_up(session, table, row->data, key_bytes, &found);
	put(session, shape, slot, row, key_bytes, lsn);
}

static void
collapse_insert(TapSession *session, TapPgTable *table, StringInfo row,
				uint32 key_bytes, uint64 lsn)
{
	TapPgBatch *batch = session->sink->batch;
	TapPgKeySlot *slot = NULL;
	TapPgRun   *before = NULL;
	bool		found = false;

	if (table->indexed)
		slot = tap_pg_keys_look_up(session, table, row->data, key_bytes, &found);
	if (found)
		before = batch->runs[slot->run];
	if (!found || (before->rows[slot->row].dead && before->shape == table->insert))
		put(session, table->insert, slot, row, key_bytes, lsn);
	else if (before->shape == table->delete)
	{
		/* the key is only moved from one run to the other: see same_key() */
		kill_row(before, slot->row);
		put(session, table->update, slot, row, key_bytes, lsn);
	}
	else
		put_in_new_epoch(session, table->insert, row, key_bytes, lsn);
}

static void
collapse_update(TapSession *session, TapPgTable *table, StringInfo row,
				uint32 key_bytes, uint64 lsn)
{
	TapPgSink  *sink = session->sink;
	TapPgShape *shape = update_shape(session, table, TAP_PG_UPDATE, row->data);
	TapPgKeySlot *slot;
	TapPgRun   *before;
	bool		found;

	index_inserts(session, table);
	slot = tap_pg_keys_look_up(session, table, row->data, key_bytes, &found);
	if (!found)
	{
		put(session, shape, slot, row, key_bytes, lsn);
		return;
	}
	before = sink->batch->runs[slot->run];
	if (before->rows[slot->row].dead ||
		(before->shape->action != TAP_PG_INSERT && before->shape->action != TAP_PG_UPDATE))
	{
		put_in_new_epoch(session, shape, row, key_bytes, lsn);
		return;
	}
	resetStringInfo(&sink->old_scratch);
	merge_rows(&sink->old_scratch, table, before->data.data + before->rows[slot->row].offset,
			   row->data);
	kill_row(before, slot->row);
	put(session, before->shape == table->insert ? table->insert :
		update_shape(session, table, TAP_PG_UPDATE, sink->old_scratch.data),
		slot, &sink->old_scratch, key_bytes, lsn);
}

static void
collapse_delete(TapSession *session, TapPgTable *table, StringInfo key, uint64 lsn)
{
	TapPgSink  *sink = session->sink;
	TapPgKeySlot *slot;
	TapPgRun   *before;
	bool		found;

	index_inserts(session, table);
	slot = tap_pg_keys_look_up(session, table, key->data, key->len, &found);
	if (!found)
	{
		put(session, table->delete, slot, key, key->len, lsn);
		return;
	}
	before = sink->batch->runs[slot->run];
	if (before->rows[slot->row].dead || before->shape == table->delete)
	{
		put_in_new_epoch(session, table->delete, key, key->len, lsn);
		return;
	}
	kill_row(before, slot->row);

	/* a row that the insert would have overwritten is to go, too */
	if (before->shape != table->insert || before->shape->upsert)
		put(session, table->delete, slot, key, key->len, lsn);
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

static bool
is_complete(const TapPgTable *table, const TapRowImage *image)
{
	for (int i = 0; image->present != NULL && i < table->ncolumns; i++)
	{
		if (!image->present[table->columns[i].number])
			return false;
	}
	return true;
}

/*
 * An update that brings a row into the condition of option "where" comes as an
 * insert, without the large values that it left as they were.
 */
static void
refuse_incomplete(const TapPgTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("an inserted row of table \"%s\" is not known whole", table->shown),
			 errdetail("It was updated so that it meets the option \"where\" now; large values that did not change are not in WAL."),
			 errhint("Run ALTER TABLE ... REPLICA IDENTITY FULL for the hub table, then copy it again with tapdata.resync().")));
}

static void
add_insert(TapSession *session, TapPgTable *table, const TapOutChange *change)
{
	StringInfo	row = &session->sink->scratch;
	uint32		key_bytes;

	if (!is_complete(table, &change->new_row))
		refuse_incomplete(table);
	key_bytes = encode_row(row, table, &change->new_row);
	if (table->ordered)
		put(session, table->insert, NULL, row, key_bytes, change->lsn);
	else
		collapse_insert(session, table, row, key_bytes, change->lsn);
}

/* A statement changes no row twice. */
static void
put_update_in_order(TapSession *session, TapPgShape *shape, StringInfo row,
					uint32 key_bytes, uint64 lsn)
{
	TapPgTable *table = shape->table;
	TapPgRun   *run = find_run(session->sink, shape);
	TapPgKeySlot *slot;
	bool		found;

	slot = tap_pg_keys_look_up(session, table, row->data, key_bytes, &found);
	if (found && slot->run == run->number)
		(void) new_run(session->sink->batch, shape);
	put(session, shape, slot, row, key_bytes, lsn);
}

/* A row of its own run: one that is found by more than its key. */
static void
put_alone(TapSession *session, TapPgShape *shape, StringInfo row, uint32 key_bytes,
		  uint64 lsn)
{
	end_epoch(shape->table);
	(void) new_run(session->sink->batch, shape);
	put(session, shape, NULL, row, key_bytes, lsn);
	end_epoch(shape->table);
}

/* The key changed, and scratch holds the old one. */
static void
add_move(TapSession *session, TapPgTable *table, const TapOutChange *change)
{
	TapPgSink  *sink = session->sink;
	StringInfo	row = &sink->scratch;
	StringInfo	new = &sink->new_scratch;
	uint32		old_key_bytes = row->len;

	if (!table->ordered && is_complete(table, &change->new_row))
	{
		uint32		key_bytes;

		/* an error of a value must come before anything is added */
		resetStringInfo(new);
		key_bytes = encode_row(new, table, &change->new_row);
		collapse_delete(session, table, row, change->lsn);
		collapse_insert(session, table, new, key_bytes, change->lsn);
		return;
	}
	(void) encode_row(row, table, &change->new_row);
	put_alone(session,
			  update_shape(session, table, TAP_PG_MOVE, row->data + old_key_bytes),
			  row, old_key_bytes, change->lsn);
}

static void
add_whole_update(TapSession *session, TapPgTable *table, const TapOutChange *change)
{
	StringInfo	row = &session->sink->scratch;
	uint32		old_bytes;

	(void) encode_row(row, table, &change->old_row);
	old_bytes = row->len;
	(void) encode_row(row, table, &change->new_row);
	put_alone(session, update_shape(session, table, TAP_PG_UPDATE_WHOLE, row->data + old_bytes),
			  row, old_bytes, change->lsn);
}

/* The key of a row image alone. */
static void
encode_key(StringInfo out, TapPgTable *table, const TapRowImage *image)
{
	slot_getallattrs(image->slot);
	encode_columns(out, table, image, 0, table->nkeys);
}

static bool
has_columns_to_set(const TapPgTable *table, const TapRowImage *image)
{
	for (int i = table->nkeys; i < table->ncolumns; i++)
	{
		if (image->present == NULL || image->present[table->columns[i].number])
			return true;
	}
	return false;
}

static void
add_update(TapSession *session, TapPgTable *table, const TapOutChange *change)
{
	TapPgSink  *sink = session->sink;
	StringInfo	row = &sink->scratch;
	StringInfo	old = &sink->old_scratch;
	uint32		key_bytes;

	if (table->nkeys == 0)
	{
		add_whole_update(session, table, change);
		return;
	}
	if (change->old_row.slot != NULL)
	{
		resetStringInfo(old);
		encode_key(old, table, &change->new_row);
		encode_key(row, table, &change->old_row);
		if (old->len != row->len || memcmp(old->data, row->data, row->len) != 0)
		{
			add_move(session, table, change);
			return;
		}
		resetStringInfo(row);
	}
	if (!has_columns_to_set(table, &change->new_row))
		return;
	key_bytes = encode_row(row, table, &change->new_row);
	if (table->ordered)
		put_update_in_order(session, update_shape(session, table, TAP_PG_UPDATE, row->data),
							row, key_bytes, change->lsn);
	else
		collapse_update(session, table, row, key_bytes, change->lsn);
}

static void
add_delete(TapSession *session, TapPgTable *table, const TapOutChange *change)
{
	StringInfo	row = &session->sink->scratch;

	if (table->nkeys == 0)
	{
		(void) encode_row(row, table, &change->old_row);
		put_alone(session, table->delete, row, row->len, change->lsn);
		return;
	}
	encode_key(row, table, &change->old_row);
	if (table->ordered)
		put(session, table->delete, NULL, row, row->len, change->lsn);
	else
		collapse_delete(session, table, row, change->lsn);
}

/* Tables that refer to each other can only be emptied by one statement. */
static void
add_truncate(TapSession *session, TapPgTable *table)
{
	TapPgBatch *batch = session->sink->batch;
	TapPgRun   *run = batch->nruns > 0 ? batch->runs[batch->nruns - 1] : NULL;
	MemoryContext old;

	end_epoch(table);
	if (run == NULL || run->shape->action != TAP_PG_TRUNCATE)
		run = new_run(batch, tap_pg_shape(session, table, TAP_PG_TRUNCATE, NULL, false));
	old = MemoryContextSwitchTo(batch->context);
	run->truncated = list_append_unique_ptr(run->truncated, table);
	run->nlive = 1;
	batch->bytes += sizeof(TapPgRun);
	MemoryContextSwitchTo(old);
	end_epoch(table);
}

/* A row of many megabytes leaves no such buffer behind. */
static void
shrink(TapPgSink *sink, StringInfo buffer)
{
	if (buffer->maxlen <= KEPT_BYTES)
		return;
	pfree(buffer->data);
	buffer->data = MemoryContextAlloc(sink->context, KEPT_BYTES);
	buffer->maxlen = KEPT_BYTES;
	resetStringInfo(buffer);
}

static void
raise_missing_table(const TapPgTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the target of table \"%s\" is no longer there", table->shown),
			 errhint("Bring it back with its rows, or copy the table again with tapdata.resync().")));
}

void
tap_pg_batch_add(TapSession *session, const TapOutChange *change)
{
	TapPgSink  *sink = session->sink;
	TapPgTable *table = change->table_data;
	MemoryContext old;

	if (table->missing)
		raise_missing_table(table);
	old = MemoryContextSwitchTo(sink->value_context);
	if (table->batch != sink->batch->number)
	{
		table->batch = sink->batch->number;
		end_epoch(table);
	}
	if (sink->batch->since == 0)
		sink->batch->since = GetCurrentTimestamp();
	resetStringInfo(&sink->scratch);
	switch (change->kind)
	{
		case TAP_CHANGE_INSERT:
			add_insert(session, table, change);
			break;
		case TAP_CHANGE_UPDATE:
			add_update(session, table, change);
			break;
		case TAP_CHANGE_DELETE:
			add_delete(session, table, change);
			break;
		case TAP_CHANGE_TRUNCATE:
			add_truncate(session, table);
			break;
		case TAP_CHANGE_READ:
			Assert(false);
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(sink->value_context);
	shrink(sink, &sink->scratch);
	shrink(sink, &sink->old_scratch);
	shrink(sink, &sink->new_scratch);
}
