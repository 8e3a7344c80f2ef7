/*-------------------------------------------------------------------------
 *
 * src/pull_start.c
 *	  The beginning of a pull: its options, the first copy, the stream's start.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "options.h"
#include "position.h"
#include "pull_private.h"
#include "snapshot.h"
#include "worker.h"

static void
load_options(TapPull *pull)
{
	const TapConnector *connector = tap_connector_load(pull->connection->connector);
	const char *ddl;

	pull->source = connector->source;
	pull->only_streams = (connector->capabilities & TAP_CAN_SNAPSHOT) == 0;
	pull->options = tap_options_parse(pull->pipeline->options, NULL, connector,
									  TAP_SCOPE_PULL, pull->context);
	pull->batch_ms = tap_options_int(pull->options, "batch_ms");
	pull->batch_max_bytes = tap_options_int(pull->options, "batch_bytes");
	pull->ddl_drop = tap_options_bool(pull->options, "ddl_drop");
	pull->dead_letters =
		strcmp(tap_options_text(pull->options, "on_error"), "dead_letter") == 0;
	ddl = tap_options_text(pull->options, "ddl");
	pull->ddl = strcmp(ddl, "ignore") == 0 ? TAP_PULL_DDL_IGNORE :
		strcmp(ddl, "stop") == 0 ? TAP_PULL_DDL_STOP : TAP_PULL_DDL_APPLY;
}

TapPull *
tap_pull_create(int32 pipeline, int32 sync_table)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "tapdata pull",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TapPull    *pull = palloc0(sizeof(TapPull));

	pull->context = context;
	pull->batch_context = AllocSetContextCreate(context, "tapdata pull batch",
												ALLOCSET_DEFAULT_SIZES);
	pull->event_context = AllocSetContextCreate(context, "tapdata pull event",
												ALLOCSET_DEFAULT_SIZES);
	pull->is_sync = sync_table != 0;
	pull->sync_table = sync_table;
	pull->staged_kept = !pull->is_sync;
	pull->forget_pending = !pull->is_sync;

	tap_worker_begin();
	MemoryContextSwitchTo(context);
	pull->pipeline = tap_catalog_pipeline_by_id(pipeline, false);
	pull->connection = tap_catalog_connection_by_id(pull->pipeline->connection);
	pull->position = tap_position_read(pipeline);
	load_options(pull);
	tap_worker_commit();

	MemoryContextSwitchTo(context);
	pull->patterns = tap_patterns_compile(pull->pipeline->patterns);
	MemoryContextSwitchTo(old);
	return pull;
}

/*
 * A session for one question is opened when it is asked: an idle one would
 * occupy the source for nothing, and be closed by it some day.
 */
TapOpenSession *
tap_pull_ask(TapPull *pull)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	TapOpenSession *session = tap_session_open(pull->connection, pull->pipeline,
											   TAP_PURPOSE_DISCOVER);

	MemoryContextSwitchTo(old);
	return session;
}

char *
tap_pull_source_position(TapPull *pull)
{
	TapOpenSession *session = tap_pull_ask(pull);
	char	   *position = pull->source->current_position(session->session);

	position = MemoryContextStrdup(pull->context, position);
	tap_session_close(session);
	return position;
}

/*
 * The stream's start and the states of the tables change together: after a
 * crash either the copy goes on, or the stream begins.
 */
static void
join_copied_tables(TapPull *pull)
{
	char	   *start;
	ListCell   *cell;

	/* without a table there is nothing to copy, but a position to begin at */
	start = tap_pull_source_position(pull);

	tap_worker_begin();
	foreach(cell, tap_catalog_tables(pull->pipeline->id))
	{
		TapTableRow *row = lfirst(cell);

		if (row->state != TAP_TABLE_CATCHUP)
			continue;
		if (tap_pull_covered(pull->source, row->start_position, start))
			start = MemoryContextStrdup(pull->context, row->start_position);
		else if (!tap_pull_covered(pull->source, start, row->start_position))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the source's history changed while table \"%s\" was copied",
							tap_table_name_text(&row->source)),
					 errdetail("Position \"%s\" does not follow on \"%s\".",
							   start, row->start_position),
					 errhint("Call tapdata.resync('%s') to copy all tables again.",
							 pull->pipeline->name)));
		row->state = TAP_TABLE_JOINED;
		tap_catalog_update_table(row);
	}
	tap_position_write(pull->pipeline->id, start);
	tap_worker_commit();
	pull->position = start;
}

/*
 * Copy all tables, then let them join the stream that begins where the first
 * copy did.
 */
void
tap_pull_first_copy(TapPull *pull)
{
	List	   *rows;

	tap_shmem_set_state(tap_worker_shared, TAP_STATE_SNAPSHOT);
	tap_worker_begin();
	MemoryContextSwitchTo(pull->batch_context);
	rows = tap_catalog_tables(pull->pipeline->id);
	tap_worker_commit();

	tap_snapshot_run(pull->pipeline, pull->connection, rows);
	MemoryContextReset(pull->batch_context);
	join_copied_tables(pull);
}

/*
 * The stream has seen to its own position, but the copies of tables that have
 * just joined know more.
 */
void
tap_pull_check_copies(TapPull *pull)
{
	MemoryContext old = MemoryContextSwitchTo(pull->event_context);
	bool		copied = strcmp(tap_options_text(pull->options, "snapshot"), "initial") == 0;
	bool		any = false;
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);
		char	   *why;

		/* what was not copied cannot be copied again */
		if (table->row.state != TAP_TABLE_JOINED || !copied)
			continue;
		why = tap_snapshot_lost(pull->source, pull->session->session, &table->row);
		if (why == NULL)
			continue;
		any = true;
		tap_worker_begin();
		tap_snapshot_begin_again(pull->pipeline, &table->row, why);
		tap_worker_commit();
		MemoryContextSwitchTo(pull->event_context);
	}
	MemoryContextSwitchTo(old);
	if (!any)
		return;
	tap_pull_tables_load(pull);
	pull->source->stream_refollow(pull->session->session);
}

void
tap_pull_start_stream(TapPull *pull)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	TapStreamArgs args = {
		.position = pull->position,
		.table_followed = tap_pull_table_followed,
		.tables_followed = tap_pull_tables_followed,
		.core_data = pull
	};

	if (pull->session != NULL)
	{
		/* with the session ends its pause, of which the next knows nothing */
		if (!pull->is_sync)
			tap_core_delayed(NULL);
		tap_session_close(pull->session);
	}
	pull->session = NULL;
	pull->session = tap_session_open(pull->connection, pull->pipeline,
									 pull->is_sync ? TAP_PURPOSE_CATCHUP :
									 TAP_PURPOSE_STREAM);
	if (pull->apply == NULL)
		pull->apply = tap_apply_create(pull->source, pull->session->session);
	else
		tap_apply_set_session(pull->apply, pull->session->session);
	tap_pull_tables_load(pull);
	args.fresh = pull->only_streams ? tap_pull_tables_fresh(pull) : NIL;
	pull->source->stream_start(pull->session->session, &args);
	pull->state = TAP_PULL_IDLE;
	MemoryContextSwitchTo(old);
	if (pull->position == NULL || args.fresh != NIL)
		tap_pull_tables_begin_fresh(pull);
}
