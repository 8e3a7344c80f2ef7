/*-------------------------------------------------------------------------
 *
 * src/commands_wait.c
 *	  tapdata.wait(): until the hub has what the source has now, or the target
 *	  what the hub has.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "storage/condition_variable.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "commands.h"
#include "compat.h"
#include "decode.h"
#include "mapping.h"
#include "position.h"
#include "publish.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_command_wait);

/*
 * The catalog is looked at again after this long, even if nobody has said
 * that something moved: a pipeline that is dropped tells nobody.
 */
#define RECHECK_MS	1000

/* What is waited for. */
typedef struct Target
{
	const char *pipeline_name;
	int32		pipeline;
	const TapSourceCallbacks *source;	/* NULL: a publish pipeline */
	char	   *position;		/* of the source, or the hub, at the call */
	TimestampTz deadline;
} Target;

static char *
source_position_now(const TapConnectionRow *connection, const TapPipelineRow *pipeline)
{
	TapOpenSession *session = tap_session_open(connection, pipeline, TAP_PURPOSE_DISCOVER);
	char	   *volatile result = NULL;

	PG_TRY();
	{
		result = session->source->current_position(session->session);
	}
	PG_FINALLY();
	{
		tap_session_close(session);
	}
	PG_END_TRY();
	return result;
}

/*
 * A position behind everything that was committed before the call, whether it
 * was flushed already or not.  The message makes sure that a reader of WAL gets
 * there, however idle the server is.
 */
static char *
hub_position_now(void)
{
	XLogRecPtr	lsn;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipelines do not run on a standby server")));
	lsn = tap_compat_log_message("tapdata", "", 0);
	XLogFlush(lsn);
	tap_decode_wake();
	return tap_publish_lsn_text(lsn);
}

/* Whether the pipeline can get there at all; raises an error if it cannot. */
static void
check_runs(const Target *target)
{
	TapPipelineRow *row = tap_catalog_pipeline_by_id(target->pipeline, true);

	if (row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" was dropped", target->pipeline_name)));
	if (row->failed)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" has failed", target->pipeline_name),
				 errdetail("%s", row->last_error),
				 errhint("Mend the cause, then run tapdata.start('%s').", target->pipeline_name)));
	if (!row->enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" is stopped", target->pipeline_name),
				 errhint("Run tapdata.start('%s').", target->pipeline_name)));
	if (tap_catalog_state_is_uncommitted(target->pipeline))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" was started in this transaction", target->pipeline_name),
				 errhint("Workers start at commit: commit first, then wait.")));
}

/* Whether a published table has a name that the pipeline did not see yet. */
static bool
is_renamed(const TapTableRow *table)
{
	char	   *name = table->published ? get_rel_name(table->hub_table) : NULL;

	return name != NULL && strcmp(name, table->source.name) != 0;
}

/* The first table that does not follow the stream yet, or NULL. */
static TapTableRow *
table_not_streaming(const Target *target)
{
	ListCell   *cell;

	foreach(cell, tap_catalog_tables(target->pipeline))
	{
		TapTableRow *table = lfirst(cell);

		if (table->state != TAP_TABLE_DROPPED &&
			(table->state != TAP_TABLE_STREAMING || is_renamed(table)))
			return table;
	}
	return NULL;
}

static bool
has_reached(const Target *target, const char *reached)
{
	TapPositionOrder order;

	if (reached == NULL || reached[0] == '\0')
		return false;
	if (target->source == NULL)
		return tap_publish_lsn_parse(reached) >= tap_publish_lsn_parse(target->position);
	order = target->source->position_compare(target->position, reached);
	return order == TAP_POSITION_EQUAL || order == TAP_POSITION_BEFORE;
}

static void
report_timeout(const Target *target, TapPipelineShared *shared, const TapTableRow *table,
			   const char *reached)
{
	char		error[TAP_ERROR_MAX_BYTES];
	TapPipelineState state;

	SpinLockAcquire(&shared->mutex);
	state = shared->delay[0] != '\0' ? TAP_STATE_RETRYING : shared->state;
	strlcpy(error, shared->delay[0] != '\0' ? shared->delay : shared->last_error, sizeof(error));
	SpinLockRelease(&shared->mutex);
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("timeout while waiting for pipeline \"%s\"", target->pipeline_name),
			 state == TAP_STATE_RETRYING ?
			 errdetail("It retries after an error: %s", error) :
			 table != NULL ?
			 errdetail("It is in state \"%s\", and table %s does not stream yet%s%s",
					   tap_shmem_state_name(state), tap_table_name_text(&table->source),
					   table->last_error ? ": " : ".", table->last_error ? table->last_error : "") :
			 errdetail("It is in state \"%s\" at %s, the source was at %s.",
					   tap_shmem_state_name(state), reached ? reached : "no position yet",
					   target->position),
			 errhint("tapdata.status shows lag_seconds and lag_bytes; wait longer, or see tapdata.events.")));
}

/* One look; the memory of it is freed. */
static bool
arrived(const Target *target, TapPipelineShared *shared, bool last_look, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	TapTableRow *table;
	char	   *reached;
	bool		result;

	check_runs(target);

	/* first the position: a table that was met before has its row by then */
	reached = tap_shmem_reached(shared);
	table = table_not_streaming(target);
	result = table == NULL && has_reached(target, reached);
	if (!result && last_look)
		report_timeout(target, shared, table, reached);
	MemoryContextSwitchTo(before);
	MemoryContextReset(context);
	return result;
}

static void
wait_for(const Target *target, TapPipelineShared *shared)
{
	static uint32 wait_event = 0;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata wait",
												  ALLOCSET_DEFAULT_SIZES);

	if (wait_event == 0)
		wait_event = tap_compat_wait_event("TapdataWait");

	ConditionVariablePrepareToSleep(&shared->moved);
	for (;;)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   target->deadline);

		if (arrived(target, shared, left <= 0, context))
			break;
		ConditionVariableTimedSleep(&shared->moved, Min(left, RECHECK_MS), wait_event);
	}
	ConditionVariableCancelSleep();
	MemoryContextDelete(context);
}

Datum
tap_command_wait(PG_FUNCTION_ARGS)
{
	Target		target = {0};
	TapPipelineRow *row;
	TapPipelineShared *shared;
	TapConnectionRow *connection;

	target.pipeline_name = tap_argument_name(fcinfo, 0, "pipeline");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"timeout\" must not be null")));
	target.deadline =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												TimestampTzGetDatum(GetCurrentTimestamp()),
												PG_GETARG_DATUM(1)));

	tap_shmem_require();
	row = tap_catalog_pipeline(target.pipeline_name, false);
	tap_catalog_check_owner(row->owner, "pipeline", target.pipeline_name);
	target.pipeline = row->id;
	check_runs(&target);
	if (row->direction == TAP_PUBLISH)
		target.position = hub_position_now();
	else
	{
		connection = tap_catalog_connection_by_id(row->connection);
		tap_check_is_source(connection);
		target.source = tap_connector_load(connection->connector)->source;
		target.position = source_position_now(connection, row);
	}

	shared = tap_shmem_pipeline(row->id, true);
	if (target.source != NULL)
		tap_shmem_set_awaited(shared);
	wait_for(&target, shared);
	PG_RETURN_VOID();
}
