/*-------------------------------------------------------------------------
 *
 * test/connectors/fake/fake_snapshot.h
 *	  Snapshots of a fake source: its file, replayed to some position.
 *
 * A part of tapdata_fake.c, which defines struct TapSession before.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef FAKE_SNAPSHOT_H
#define FAKE_SNAPSHOT_H

/* A row, when the file is replayed for a snapshot. */
typedef struct Row
{
	int64		id;
	char	   *value;
} Row;

/* ---------------------------------------------------------------------
 * The snapshot
 * ---------------------------------------------------------------------
 */

/* Find a row by its id. */
static Row *
find_row(List *rows, int64 id)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		if (((Row *) lfirst(cell))->id == id)
			return lfirst(cell);
	}
	return NULL;
}

/* The rows of a table after one more change. */
static List *
replay(List *rows, const Change *change)
{
	Row		   *row = find_row(rows, change->id);

	if (change->kind == TAP_CHANGE_TRUNCATE)
		return NIL;
	if (change->kind == TAP_CHANGE_DELETE)
		return list_delete_ptr(rows, row);
	if (change->new_id != change->id)
	{
		row->id = change->new_id;
		if (change->value != NULL)
			row->value = change->value;
		return rows;
	}
	if (row == NULL)
	{
		row = palloc0(sizeof(Row));
		row->id = change->id;
		rows = lappend(rows, row);
	}
	row->value = change->value;
	return rows;
}

/* The rows of a table now (List of Row *), and the position they are at. */
static List *
rows_now(TapSession *session, const char *table, int64 *end)
{
	List	   *rows = NIL;
	List	   *changes;
	int64		begin;

	*end = 0;
	fseeko(session->file, 0, SEEK_SET);
	while (read_txn(session->file, &changes, &begin, end))
	{
		ListCell   *cell;

		foreach(cell, changes)
		{
			Change	   *change = lfirst(cell);

			if (strcmp(change->table, table) == 0)
				rows = replay(rows, change);
		}
	}
	return rows;
}

static void
fake_snapshot_plan(TapSession *session, TapSourceTable *table, int64 chunk_rows,
				   void (*emit) (void *core_data, const TapChunk *chunk),
				   void *core_data)
{
	TapChunk	chunk = {0};
	int64		end;
	List	   *rows = rows_now(session, table->name.name, &end);
	int64		largest = 0;
	ListCell   *cell;

	foreach(cell, rows)
		largest = Max(largest, ((Row *) lfirst(cell))->id);

	for (int64 high = chunk_rows; high < largest; high += chunk_rows)
	{
		chunk.high = psprintf(INT64_FORMAT, high);
		chunk.estimated_rows = chunk_rows;
		emit(core_data, &chunk);
		chunk.low = chunk.high;
	}
	chunk.high = NULL;
	emit(core_data, &chunk);
}

/* Fill a slot, which may lack the value. */
static void
fill_slot(TupleTableSlot *slot, int64 id, const char *value)
{
	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum(id);
	slot->tts_isnull[0] = false;
	slot->tts_values[1] = value ? CStringGetTextDatum(value) : (Datum) 0;
	slot->tts_isnull[1] = value == NULL;
	ExecStoreVirtualTuple(slot);
}

static void
copy_rows(List *rows, const TapChunk *chunk, TapRowReceiver *receiver)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		Row		   *row = lfirst(cell);
		TupleTableSlot *slot;

		if ((chunk->low && row->id <= strtoll(chunk->low, NULL, 10)) ||
			(chunk->high && row->id > strtoll(chunk->high, NULL, 10)))
			continue;
		CHECK_FOR_INTERRUPTS();
		slot = receiver->next_slot(receiver);
		fill_slot(slot, row->id, row->value);
		receiver->put_slot(receiver, slot);
	}
}

static void
fake_snapshot_copy(TapSession *session, TapSourceTable *table,
				   const TapChunk *chunk, TapRowReceiver *receiver)
{
	MemoryContext rows_context = CurrentMemoryContext;
	int64		end;
	List	   *rows = rows_now(session, table->name.name, &end);
	long		delay_ms = 0;

	if (session->args->pipeline_options != NULL)
		delay_ms = core->option_int(session->args->pipeline_options, "delay_ms");
	if (delay_ms > 0)
		(void) core->wait_socket(PGINVALID_SOCKET, 0, delay_ms);
	copy_rows(rows, chunk, receiver);
	MemoryContextSwitchTo(rows_context);
}

static char *
fake_snapshot_copy_exact(TapSession *session, TapSourceTable *table,
						 TapRowReceiver *receiver)
{
	MemoryContext caller = CurrentMemoryContext;
	TapChunk	all = {0};
	int64		end;
	List	   *rows = rows_now(session, table->name.name, &end);

	copy_rows(rows, &all, receiver);
	MemoryContextSwitchTo(caller);
	return psprintf(INT64_FORMAT, end);
}

#endif							/* FAKE_SNAPSHOT_H */
