/*-------------------------------------------------------------------------
 *
 * src/snapshot.c
 *	  Copies tables of the source in chunks, by several processes.
 *
 * NOTES
 *	  The leader (a pipeline or sync worker) takes each table through
 *
 *	  NEW		 the source's position is noted, then the table divided; both
 *				 are stored together with the chunk ledger;
 *	  COPYING	 leader and helpers claim chunks by row locks in the ledger;
 *				 a chunk's rows and its mark "done" commit together, so that a
 *				 crash leaves whole chunks to be copied again, no halves;
 *	  COPIED	 the key is built;
 *	  CATCHUP	 the source's position is noted again: up to there rows may
 *				 be in the copy already.
 *
 *	  A table without a key cannot be replayed over its copy, and takes a
 *	  shorter way: it is copied in one transaction under one consistent view
 *	  of the source whose position is known exactly.
 *
 *	  A source that was set back or replaced is not to be mixed with what was
 *	  copied before: when a copy goes on, and before it is done, the connector
 *	  says of each table whether its copy is one of this source still.
 *
 *	  The network is used between the transactions, except for the rows of
 *	  the chunk under way.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "apply.h"
#include "errors.h"
#include "helpers.h"
#include "hubtable.h"
#include "mapping.h"
#include "options.h"
#include "position.h"
#include "pull.h"
#include "snapshot_private.h"
#include "worker.h"

/* A table whose format keeps changing while it is copied is given up then. */
#define MAX_RESTARTS		5

/* A view whose position was ambiguous is taken again, this often. */
#define MAX_EXACT_TRIES		20

static void prepare_table(TapSnapshot *snapshot, TapTableRow *row);
static void copy_until_done(TapSnapshot *snapshot, List *tables);
static void run_helpers(TapSnapshot *snapshot, List *tables);
static void copy_exactly(TapSnapshot *snapshot, TapTableRow *row,
						 TapSourceTable *source);
static bool try_copy_exactly(TapSnapshot *snapshot, TapTableRow *row,
							 TapSourceTable *source);
static void finish_table(TapSnapshot *snapshot, TapTableRow *row);
static void skip_copy(TapSnapshot *snapshot, TapTableRow *row);
static List *reload(TapSnapshot *snapshot, List *tables);
static void begin_tables(TapSnapshot *snapshot, List *tables);
static bool begin_lost_again(TapSnapshot *snapshot, List *tables);
static void check_not_lost(TapSnapshot *snapshot, List *tables);

void
tap_snapshot_run(const TapPipelineRow *pipeline, const TapConnectionRow *connection,
				 List *tables)
{
	TapSnapshot *snapshot = tap_snapshot_create(pipeline, connection);
	MemoryContext old = MemoryContextSwitchTo(snapshot->context);
	bool		copy = strcmp(tap_options_text(snapshot->options, "snapshot"), "initial") == 0;
	List	   *all = tables;
	ListCell   *cell;

	if (copy)
		(void) begin_lost_again(snapshot, all);
	tables = reload(snapshot, tables);
	tap_snapshot_report_progress(snapshot, tables);
	begin_tables(snapshot, tables);
	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);

		if (row->state != TAP_TABLE_NEW)
			continue;
		if (copy)
			prepare_table(snapshot, row);
		else
			skip_copy(snapshot, row);
	}
	tables = reload(snapshot, tables);
	copy_until_done(snapshot, tables);
	if (copy)
		check_not_lost(snapshot, all);

	tables = reload(snapshot, tables);
	foreach(cell, tables)
		finish_table(snapshot, lfirst(cell));
	MemoryContextSwitchTo(old);
	tap_snapshot_destroy(snapshot);
}

/* The rows as they are now, without those that need no copy any more. */
static List *
reload(TapSnapshot *snapshot, List *tables)
{
	List	   *result = NIL;
	ListCell   *cell;

	tap_worker_begin();
	MemoryContextSwitchTo(snapshot->context);
	foreach(cell, tables)
	{
		TapTableRow *row = tap_catalog_table_by_id(((TapTableRow *) lfirst(cell))->id);

		if (row != NULL &&
			(row->state == TAP_TABLE_NEW || row->state == TAP_TABLE_COPYING ||
			 row->state == TAP_TABLE_COPIED))
			result = lappend(result, row);
	}
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
	return result;
}

/*
 * Tables whose copy is of a history that the source has left begin anew; true
 * if there is one.
 */
static bool
begin_lost_again(TapSnapshot *snapshot, List *tables)
{
	bool		any = false;
	ListCell   *cell;

	foreach(cell, tables)
	{
		int32		id = ((TapTableRow *) lfirst(cell))->id;
		TapTableRow *row;
		char	   *why;

		tap_worker_begin();
		MemoryContextSwitchTo(snapshot->context);
		row = tap_catalog_table_by_id(id);
		tap_worker_commit();
		MemoryContextSwitchTo(snapshot->context);
		if (row == NULL || (row->state != TAP_TABLE_COPYING && row->state != TAP_TABLE_COPIED &&
							row->state != TAP_TABLE_CATCHUP))
			continue;
		why = tap_snapshot_lost(snapshot->source, snapshot->session->session, row);
		if (why == NULL)
			continue;
		any = true;
		tap_worker_begin();
		tap_snapshot_begin_again(snapshot->pipeline, row, why);
		tap_worker_commit();
		MemoryContextSwitchTo(snapshot->context);
	}
	return any;
}

/* A session in between, of a helper for one, may have met another source. */
static void
check_not_lost(TapSnapshot *snapshot, List *tables)
{
	if (begin_lost_again(snapshot, tables))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the source is not any more what it was when the copy began"),
				 errdetail("The copy begins again.")));
}

char *
tap_snapshot_lost(const TapSourceCallbacks *source, TapSession *session, const TapTableRow *row)
{
	if (source->copy_lost == NULL || row->start_position == NULL)
		return NULL;
	return source->copy_lost(session, row->start_position, row->end_position);
}

void
tap_snapshot_begin_again(const TapPipelineRow *pipeline, TapTableRow *row, const char *why)
{
	row->state = TAP_TABLE_NEW;
	row->start_position = NULL;
	row->end_position = NULL;
	row->exact = false;
	tap_catalog_update_table(row);
	tap_catalog_delete_chunks(row->id);
	tap_catalog_insert_event(pipeline->name, &row->source, "warning", "copied again",
							 psprintf("%s; the table is copied again", why));
}

/* Let the source prepare for the tables that begin now. */
static void
begin_tables(TapSnapshot *snapshot, List *tables)
{
	List	   *names = NIL;
	ListCell   *cell;

	if (snapshot->source->snapshot_begin == NULL)
		return;
	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);

		if (row->state == TAP_TABLE_NEW)
			names = lappend(names, &row->source);
	}
	snapshot->source->snapshot_begin(snapshot->session->session, names);
}

/*
 * Copy chunks until the ledger of every table is done.  A chunk that a helper
 * failed at is left for this process, where its error is reported.
 */
static void
copy_until_done(TapSnapshot *snapshot, List *tables)
{
	int			restarts = 0;

	for (;;)
	{
		ListCell   *cell;
		bool		again = false;

		run_helpers(snapshot, tables);
		tables = reload(snapshot, tables);
		foreach(cell, tables)
		{
			TapTableRow *row = lfirst(cell);

			/* its format changed under the copy: from the start */
			if (row->state == TAP_TABLE_NEW)
			{
				if (++restarts > MAX_RESTARTS * list_length(tables))
					ereport(ERROR,
							(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							 errmsg("the format of table \"%s\" keeps changing while it is copied",
									tap_table_name_text(&row->source))));
				prepare_table(snapshot, row);
				again = true;
			}
			else if (row->state == TAP_TABLE_COPYING)
			{
				tap_worker_begin();
				again |= tap_catalog_chunks_left(row->id) > 0;
				tap_worker_commit();
			}
		}
		if (!again)
			return;
		tables = reload(snapshot, tables);
	}
}

/* Copy what can be claimed, with help if there is more than one chunk. */
static void
run_helpers(TapSnapshot *snapshot, List *tables)
{
	int			wanted = tap_options_int(snapshot->options, "workers") - 1;
	int64		chunks = 0;
	List	   *helpers = NIL;
	ListCell   *cell;

	tap_worker_begin();
	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);

		if (row->state == TAP_TABLE_COPYING)
			chunks += tap_catalog_chunks_left(row->id);
	}
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);

	wanted = Min(wanted, chunks - 1);
	for (int i = 0; i < wanted; i++)
	{
		int32		table = list_length(tables) == 1 ?
		((TapTableRow *) linitial(tables))->id : 0;
		TapHelper  *helper = tap_helper_start(TAP_PROCESS_SNAPSHOT, table,
											  snapshot->pipeline->name);

		if (helper == NULL)
			break;
		helpers = lappend(helpers, helper);
	}
	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);

		if (row->state == TAP_TABLE_COPYING)
			tap_snapshot_copy_chunks(snapshot, row);
	}
	foreach(cell, helpers)
		tap_helper_wait(lfirst(cell));
}

void
tap_snapshot_worker_main(int32 pipeline, int32 table)
{
	TapPipelineRow *pipeline_row;
	TapConnectionRow *connection;
	TapSnapshot *snapshot;
	List	   *tables;
	ListCell   *cell;
	MemoryContext context = CurrentMemoryContext;

	tap_worker_begin();
	MemoryContextSwitchTo(context);
	pipeline_row = tap_catalog_pipeline_by_id(pipeline, false);
	connection = tap_catalog_connection_by_id(pipeline_row->connection);
	if (table != 0)
		tables = list_make1(tap_catalog_table_by_id(table));
	else
		tables = tap_catalog_tables(pipeline);
	tap_worker_commit();

	snapshot = tap_snapshot_create(pipeline_row, connection);
	MemoryContextSwitchTo(snapshot->context);
	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);

		if (row != NULL && row->state == TAP_TABLE_COPYING)
			tap_snapshot_copy_chunks(snapshot, row);
	}
	MemoryContextSwitchTo(context);
	tap_snapshot_destroy(snapshot);
}

/* Nothing is copied: the table streams from the source's position of now on. */
static void
skip_copy(TapSnapshot *snapshot, TapTableRow *row)
{
	row->start_position = snapshot->source->current_position(snapshot->session->session);
	row->end_position = row->start_position;
	row->exact = true;
	row->state = TAP_TABLE_CATCHUP;
	tap_worker_begin();
	tap_hubtable_create_key(row->hub_table,
							snapshot->source->table_from_definition(snapshot->session->session,
																	&row->source,
																	row->definition));
	tap_catalog_update_table(row);
	tap_catalog_set_unsure(row->id, false);
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
}

static void
prepare_table(TapSnapshot *snapshot, TapTableRow *row)
{
	TapSourceTable *source;
	char	   *start;

	/* before the table is looked at: what comes later is replayed */
	start = snapshot->source->safe_position(snapshot->session->session);
	source = tap_snapshot_describe(snapshot, row);
	if (source == NULL)
	{
		row->state = TAP_TABLE_DROPPED;
		tap_worker_begin();
		tap_catalog_update_table(row);
		tap_worker_commit();
		MemoryContextSwitchTo(snapshot->context);
		return;
	}
	if (source->nkeys == 0)
		copy_exactly(snapshot, row, source);
	else
		tap_snapshot_plan(snapshot, row, source, start);
}

static void
copy_exactly(TapSnapshot *snapshot, TapTableRow *row, TapSourceTable *source)
{
	for (int i = 0; i < MAX_EXACT_TRIES; i++)
	{
		if (try_copy_exactly(snapshot, row, source))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not copy table \"%s\" at an exact position of the source's log",
					tap_table_name_text(&row->source)),
			 errdetail("The table has no key, and was written to in the moment of each of %d tries.",
					   MAX_EXACT_TRIES),
			 errhint("Add a primary key to the table, or let its writers rest for a moment.")));
}

static bool
try_copy_exactly(TapSnapshot *snapshot, TapTableRow *row, TapSourceTable *source)
{
	TapTarget  *target;
	TapRowReceiver *receiver;
	char	   *position;
	int64		rows;

	tap_worker_begin();
	MemoryContextSwitchTo(snapshot->chunk_context);
	tap_snapshot_renew_hub_table(snapshot, row, source);
	target = tap_apply_target(snapshot->apply, row->hub_table, source,
							  tap_table_name_text(&row->source),
							  snapshot->ignore_missing);
	tap_apply_begin(snapshot->apply);
	receiver = tap_snapshot_receiver(snapshot, row, target);
	position = snapshot->source->snapshot_copy_exact(snapshot->session->session,
													 source, receiver);
	rows = tap_snapshot_received(receiver);
	tap_apply_end(snapshot->apply);
	tap_apply_forget_target(snapshot->apply, target);
	if (position == NULL)
	{
		AbortCurrentTransaction();
		tap_apply_abort(snapshot->apply);
		tap_snapshot_count(snapshot, row, -rows);
		MemoryContextSwitchTo(snapshot->context);
		MemoryContextReset(snapshot->chunk_context);
		return false;
	}
	tap_hubtable_create_key(row->hub_table, source);
	row->definition = source->definition;
	row->start_position = position;
	row->end_position = position;
	row->exact = true;
	row->state = TAP_TABLE_CATCHUP;
	tap_catalog_update_table(row);
	tap_catalog_set_unsure(row->id, false);
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
	return true;
}

static void
finish_table(TapSnapshot *snapshot, TapTableRow *row)
{
	TapSourceTable *source = snapshot->source->table_from_definition(snapshot->session->session,
																	 &row->source,
																	 row->definition);

	if (row->state == TAP_TABLE_COPYING)
	{
		tap_worker_begin();
		tap_hubtable_create_key(row->hub_table, source);
		row->state = TAP_TABLE_COPIED;
		tap_catalog_update_table(row);
		tap_worker_commit();
	}
	MemoryContextSwitchTo(snapshot->context);
	row->end_position = snapshot->source->current_position(snapshot->session->session);
	row->state = TAP_TABLE_CATCHUP;
	tap_worker_begin();
	tap_catalog_update_table(row);
	tap_catalog_delete_chunks(row->id);
	tap_worker_commit();
	MemoryContextSwitchTo(snapshot->context);
}
