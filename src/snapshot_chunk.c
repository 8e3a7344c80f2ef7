/*-------------------------------------------------------------------------
 *
 * src/snapshot_chunk.c
 *	  The parts of a copy: plan a table, copy a chunk, count.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "errors.h"
#include "hubtable.h"
#include "mapping.h"
#include "options.h"
#include "snapshot_private.h"
#include "worker.h"

/* What tap_snapshot_receiver() adds to the apply engine's receiver. */
typedef struct SnapshotReceiver
{
	TapRowReceiver receiver;	/* must be first */
	TapRowReceiver *apply_receiver;
	TapSnapshot *snapshot;
	const TapTableRow *row;
	int64		counted;
} SnapshotReceiver;

static bool copy_one_chunk(TapSnapshot *snapshot, const TapTableRow *row,
						   TapSourceTable *source, const char *label);
static bool restart_if_format_changed(TapSnapshot *snapshot, const TapTableRow *row);
static void emit_chunk(void *core_data, const TapChunk *chunk);

TapSnapshot *
tap_snapshot_create(const TapPipelineRow *pipeline, const TapConnectionRow *connection)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "tapdata snapshot",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TapSnapshot *snapshot = palloc0(sizeof(TapSnapshot));
	const TapConnector *connector = tap_connector_load(connection->connector);

	snapshot->context = context;
	snapshot->chunk_context = AllocSetContextCreate(context, "tapdata snapshot chunk",
													ALLOCSET_DEFAULT_SIZES);
	snapshot->pipeline = pipeline;
	snapshot->connection = connection;
	snapshot->source = connector->source;
	snapshot->options = tap_options_parse(pipeline->options, NULL, connector,
										  TAP_SCOPE_PULL, context);
	snapshot->chunk_rows = tap_options_int(snapshot->options, "chunk_rows");
	snapshot->ignore_missing =
		strcmp(tap_options_text(snapshot->options, "ddl"), "ignore") == 0;
	snapshot->dead_letters =
		strcmp(tap_options_text(snapshot->options, "on_error"), "dead_letter") == 0;
	snapshot->session = tap_session_open(connection, pipeline, TAP_PURPOSE_SNAPSHOT);
	snapshot->apply = tap_apply_create(snapshot->source, snapshot->session->session);
	MemoryContextSwitchTo(old);
	return snapshot;
}

void
tap_snapshot_destroy(TapSnapshot *snapshot)
{
	tap_session_close(snapshot->session);
	MemoryContextDelete(snapshot->context);
}

TapSourceTable *
tap_snapshot_describe(TapSnapshot *snapshot, const TapTableRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(snapshot->context);
	List	   *found = snapshot->source->describe_tables(snapshot->session->session,
														  list_make1((void *) &row->source));

	MemoryContextSwitchTo(old);
	return found == NIL ? NULL : linitial(found);
}

void
tap_snapshot_renew_hub_table(TapSnapshot *snapshot, TapTableRow *row,
							 TapSourceTable *source)
{
	if (get_rel_name(row->hub_table) == NULL)
	{
		row->hub_table = tap_hubtable_create(source, snapshot->pipeline->into_schema,
											 source->name.name);
		row->created = true;
	}
	else
	{
		tap_hubtable_truncate(row->hub_table);
		if (row->definition != NULL && !snapshot->ignore_missing)
		{
			TapSourceTable *before =
			snapshot->source->table_from_definition(snapshot->session->session,
													&row->source, row->definition);
			bool		drop = tap_options_bool(snapshot->options, "ddl_drop");

			/* also with the same format: the hub table may lack a column */
			tap_hubtable_alter(row->hub_table, before, source, NIL, drop);
		}
	}
	CommandCounterIncrement();
}

/* Where tap_snapshot_plan() collects chunks: the network is done first. */
typedef struct ChunkList
{
	MemoryContext context;
	List	   *chunks;
} ChunkList;

static void
emit_chunk(void *core_data, const TapChunk *chunk)
{
	ChunkList  *list = core_data;
	MemoryContext old = MemoryContextSwitchTo(list->context);
	TapChunk   *copy = palloc(sizeof(TapChunk));

	copy->low = chunk->low ? pstrdup(chunk->low) : NULL;
	copy->high = chunk->high ? pstrdup(chunk->high) : NULL;
	copy->estimated_rows = chunk->estimated_rows;
	list->chunks = lappend(list->chunks, copy);
	MemoryContextSwitchTo(old);
}

void
tap_snapshot_plan(TapSnapshot *snapshot, TapTableRow *row, TapSourceTable *source,
				  char *start_position)
{
	ChunkList	list = {.context = snapshot->chunk_context};
	int			number = 0;
	ListCell   *cell;

	snapshot->source->snapshot_plan(snapshot->session->session, source,
									snapshot->chunk_rows, emit_chunk, &list);

	tap_worker_begin();
	tap_snapshot_renew_hub_table(snapshot, row, source);
	tap_catalog_delete_chunks(row->id);
	foreach(cell, list.chunks)
		tap_catalog_insert_chunk(row->id, number++, lfirst(cell));
	row->state = TAP_TABLE_COPYING;
	row->definition = source->definition;
	row->start_position = start_position;
	row->end_position = NULL;
	row->exact = false;
	tap_catalog_update_table(row);
	tap_catalog_set_unsure(row->id, false);
	tap_worker_commit();

	MemoryContextSwitchTo(snapshot->context);
	if (source->estimated_rows > 0)
	{
		TapTableShared *shared = tap_shmem_table(row->id, true);

		if (shared != NULL)
			pg_atomic_write_u64(&shared->rows_estimated, (uint64) source->estimated_rows);
		pg_atomic_fetch_add_u64(&tap_worker_shared->rows_estimated,
								(int64) source->estimated_rows);
	}
	MemoryContextReset(snapshot->chunk_context);
}

void
tap_snapshot_copy_chunks(TapSnapshot *snapshot, const TapTableRow *row)
{
	TapSourceTable *source;
	const char *label = tap_table_name_text(&row->source);
	volatile bool more = true;
	MemoryContext context = CurrentMemoryContext;

	source = snapshot->source->table_from_definition(snapshot->session->session,
													 &row->source, row->definition);
	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		PG_TRY();
		{
			more = copy_one_chunk(snapshot, row, source, label);
		}
		PG_CATCH();
		{
			ErrorData  *edata;

			MemoryContextSwitchTo(context);
			edata = CopyErrorData();
			FlushErrorState();
			AbortCurrentTransaction();
			tap_apply_abort(snapshot->apply);
			if (tap_error_class(edata->sqlerrcode) == TAP_ERROR_RETRY ||
				!restart_if_format_changed(snapshot, row))
				ReThrowError(edata);
			more = false;
		}
		PG_END_TRY();
		MemoryContextReset(snapshot->chunk_context);
	}
	MemoryContextSwitchTo(context);
}

/* False when no chunk was left to claim. */
static bool
copy_one_chunk(TapSnapshot *snapshot, const TapTableRow *row,
			   TapSourceTable *source, const char *label)
{
	TapChunkRow *chunk;
	TapTarget  *target;
	TapRowReceiver *receiver;
	int64		rows;

	tap_worker_begin();
	MemoryContextSwitchTo(snapshot->chunk_context);
	chunk = tap_catalog_claim_chunk(row->id);
	if (chunk == NULL)
	{
		tap_worker_commit();
		MemoryContextSwitchTo(snapshot->context);
		return false;
	}
	target = tap_apply_target(snapshot->apply, row->hub_table, source, label,
							  snapshot->ignore_missing);
	tap_apply_begin(snapshot->apply);
	receiver = tap_snapshot_receiver(snapshot, row, target);
	snapshot->source->snapshot_copy(snapshot->session->session, source,
									&chunk->chunk, receiver);
	rows = tap_snapshot_received(receiver);
	tap_apply_end(snapshot->apply);
	tap_apply_forget_target(snapshot->apply, target);
	tap_catalog_finish_chunk(chunk, rows);
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
	return true;
}

/*
 * The copy selects the columns that the table had when it was divided.  If it
 * has others now that is why the chunk failed: divide it again.
 */
static bool
restart_if_format_changed(TapSnapshot *snapshot, const TapTableRow *row)
{
	TapSourceTable *now;
	TapTableRow *changed;

	/* the session may be in the middle of a result */
	tap_session_close(snapshot->session);
	MemoryContextSwitchTo(snapshot->context);
	snapshot->session = tap_session_open(snapshot->connection, snapshot->pipeline,
										 TAP_PURPOSE_SNAPSHOT);
	tap_apply_set_session(snapshot->apply, snapshot->session->session);
	now = tap_snapshot_describe(snapshot, row);
	if (now != NULL && strcmp(now->definition, row->definition) == 0)
		return false;

	tap_worker_begin();
	changed = tap_catalog_table_by_id(row->id);
	if (changed != NULL && changed->state == TAP_TABLE_COPYING &&
		strcmp(changed->definition, row->definition) == 0)
	{
		changed->state = now != NULL ? TAP_TABLE_NEW : TAP_TABLE_DROPPED;
		tap_catalog_update_table(changed);
		tap_catalog_delete_chunks(row->id);
		tap_catalog_insert_event(snapshot->pipeline->name, &row->source, "info",
								 "schema changed",
								 "the format changed during the copy, which starts again");
	}
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
	return true;
}

static TupleTableSlot *
receiver_next_slot(TapRowReceiver *receiver)
{
	SnapshotReceiver *mine = (SnapshotReceiver *) receiver;

	return mine->apply_receiver->next_slot(mine->apply_receiver);
}

static void
receiver_put_slot(TapRowReceiver *receiver, TupleTableSlot *slot)
{
	SnapshotReceiver *mine = (SnapshotReceiver *) receiver;

	mine->apply_receiver->put_slot(mine->apply_receiver, slot);
	if (++mine->counted >= 1000)
	{
		tap_snapshot_count(mine->snapshot, mine->row, mine->counted);
		mine->counted = 0;
		CHECK_FOR_INTERRUPTS();
	}
}

static void
receiver_reject_row(TapRowReceiver *receiver, ErrorData *edata, const char *row)
{
	SnapshotReceiver *mine = (SnapshotReceiver *) receiver;

	if (!mine->snapshot->dead_letters ||
		tap_error_class(edata->sqlerrcode) != TAP_ERROR_DATA)
		ReThrowError(edata);
	tap_catalog_insert_dead_letter(mine->snapshot->pipeline->id, &mine->row->source,
								   row, edata, mine->row->start_position);
}

TapRowReceiver *
tap_snapshot_receiver(TapSnapshot *snapshot, const TapTableRow *row, TapTarget *target)
{
	SnapshotReceiver *mine = palloc0(sizeof(SnapshotReceiver));

	mine->apply_receiver = tap_apply_receiver(snapshot->apply, target);
	mine->snapshot = snapshot;
	mine->row = row;
	mine->receiver.next_slot = receiver_next_slot;
	mine->receiver.put_slot = receiver_put_slot;
	mine->receiver.reject_row = receiver_reject_row;
	return &mine->receiver;
}

int64
tap_snapshot_received(TapRowReceiver *receiver)
{
	SnapshotReceiver *mine = (SnapshotReceiver *) receiver;

	tap_snapshot_count(mine->snapshot, mine->row, mine->counted);
	mine->counted = 0;
	return tap_apply_received(mine->apply_receiver);
}

void
tap_snapshot_count(TapSnapshot *snapshot, const TapTableRow *row, int64 rows)
{
	TapTableShared *shared = tap_shmem_table(row->id, true);

	if (shared != NULL)
		pg_atomic_fetch_add_u64(&shared->rows_copied, rows);
	pg_atomic_fetch_add_u64(&tap_worker_shared->rows_copied, rows);
}

void
tap_snapshot_report_progress(TapSnapshot *snapshot, List *tables)
{
	ListCell   *cell;

	tap_worker_begin();
	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);
		TapTableShared *shared = tap_shmem_table(row->id, true);
		int64		copied = row->state == TAP_TABLE_NEW ? 0 : tap_catalog_rows_copied(row->id);
		int64		counted;

		if (shared == NULL)
			continue;
		counted = pg_atomic_exchange_u64(&shared->rows_copied, copied);
		pg_atomic_fetch_add_u64(&tap_worker_shared->rows_copied, copied - counted);
		if (row->state == TAP_TABLE_NEW)
			pg_atomic_fetch_sub_u64(&tap_worker_shared->rows_estimated,
									pg_atomic_exchange_u64(&shared->rows_estimated, 0));
	}
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
}
