/*-------------------------------------------------------------------------
 *
 * src/pull_sync.c
 *	  Tables that join a running stream: added later, or copied again.
 *
 * NOTES
 *	  A sync worker copies one table, then replays the source's log for that
 *	  table alone, while the pipeline's own stream goes on.  The two meet so:
 *
 *	  1. The sync worker has passed the end of its catch-up and reached the
 *		 end of the log.  It counts itself in join_waiting and wakes the
 *		 pipeline worker.
 *	  2. The pipeline worker, between two source transactions, sets paused
 *		 and stands still at reached_position P.
 *	  3. The sync worker goes on until its own position S covers P, which it
 *		 does mostly already, commits its table as TAP_TABLE_READY with
 *		 start_position S, counts itself out and ends.
 *	  4. The pipeline worker reads the catalog.  Where S covers P the table
 *		 becomes TAP_TABLE_JOINED: the stream carries it and leaves out the
 *		 transactions that S covers.
 *
 *	  The pipeline worker stands still for PAUSE_MAX_MS at the longest, and
 *	  after such a vain pause goes on for PAUSE_AGAIN_MS: the sync worker can
 *	  be in the middle of a long transaction that the pipeline has passed.  If
 *	  it goes on before step 3, and has thereby passed S, the table goes back
 *	  to TAP_TABLE_CATCHUP and its sync worker starts again from S.
 *
 *	  Where the source does not show what the catch-up needs, and the connector
 *	  says that this may be healed, the copy begins anew.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "helpers.h"
#include "hubtable.h"
#include "options.h"
#include "pull.h"
#include "pull_private.h"
#include "snapshot.h"
#include "worker.h"

#define PAUSE_MAX_MS		5000
#define PAUSE_AGAIN_MS		30000
#define RETRY_SYNC_MS		10000

/* A copy that was given up is tried again after as long as it took, at most. */
#define RETRY_COPY_MAX_MS	300000

static bool waiting = false;	/* this process is counted in join_waiting */
static bool copied_again = false;	/* this process has given a copy up */

static bool begin_stream(TapPull *pull);
static void copy_or_give_up(TapPull *pull);
static void give_up_copy(TapPull *pull, const char *why);
static void forget_copy(TapPull *pull);
static void copy_table(TapPull *pull);
static void check_copy(TapPull *pull);
static void copy_again(TapPull *pull, const char *why);
static void copy_moved_again(TapPull *pull);
static bool catch_up(TapPull *pull);
static void build_indexes(TapPull *pull);
static void set_waiting(bool on);
static void stop_waiting(int code, Datum arg);
static bool try_hand_over(TapPull *pull);
static bool needs_sync(const TapTableRow *row);
static void delete_kept(TapPull *pull);
static void forget_at_source(TapPull *pull);
static void note_end(TapPull *pull, int32 id);
static bool may_start(const TapPullTable *table, TimestampTz now);
static void forget_ended(TapPull *pull);
static bool has_helper(const TapPull *pull, int32 table);

void
tap_pull_sync_main(int32 pipeline, int32 table)
{
	TapPull    *pull = tap_pull_create(pipeline, table);

	before_shmem_exit(stop_waiting, (Datum) 0);
	do
	{
		copy_or_give_up(pull);
		if (pull->position == NULL)
			return;
	} while (!begin_stream(pull) || !catch_up(pull));
}

/* False: the table is to be copied again. */
static bool
catch_up(TapPull *pull)
{
	bool		indexed = false;

	if (pull->tables == NIL)
		return true;			/* removed from the pipeline meanwhile */
	for (;;)
	{
		if (tap_pull_drain(pull))
			continue;

		/*
		 * the rest of a transaction may still be on its way, and so much of
		 * the log that the pipeline would pause in vain
		 */
		if (pull->state == TAP_PULL_IDLE && (waiting || !pull->behind) &&
			tap_pull_sync_caught_up(pull))
		{
			if (tap_pull_moved_lost(linitial(pull->tables)))
			{
				copy_moved_again(pull);
				return false;
			}
			if (!indexed)
			{
				build_indexes(pull);
				indexed = true;
				continue;
			}
			set_waiting(true);
			if (try_hand_over(pull))
				return true;
		}
		tap_pull_wait(pull, waiting ? 1000 : -1);
	}
}

/*
 * False: the table is to be copied again.  Where that helps no more than once,
 * let the next worker try, after a while.
 */
static bool
begin_stream(TapPull *pull)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		tap_pull_start_stream(pull);
		check_copy(pull);
	}
	PG_CATCH();
	{
		/* what was not to be copied cannot be whole again by itself */
		if (geterrcode() != TAP_ERRCODE_COPY_AGAIN || copied_again ||
			strcmp(tap_options_text(pull->options, "snapshot"), "initial") != 0)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (edata == NULL)
		return true;
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	copy_again(pull, edata->message);
	return false;
}

/* The stream has seen to the beginning of the catch-up, but the copy knows more. */
static void
check_copy(TapPull *pull)
{
	char	   *why = NULL;

	if (pull->tables != NIL)
		why = tap_snapshot_lost(pull->source, pull->session->session,
								&((TapPullTable *) linitial(pull->tables))->row);
	if (why != NULL)
		ereport(ERROR, (errcode(TAP_ERRCODE_COPY_AGAIN), errmsg("%s", why)));
}

static void
copy_again(TapPull *pull, const char *why)
{
	TapTableRow *row;

	copied_again = true;
	tap_session_close(pull->session);
	pull->session = NULL;
	tap_worker_begin();
	row = tap_catalog_table_by_id(pull->sync_table);
	if (row != NULL && row->state == TAP_TABLE_CATCHUP)
		tap_snapshot_begin_again(pull->pipeline, row, why);
	tap_worker_commit();
}

/*
 * A copy that fails for good is none to go on with: what the source keeps for
 * it, such as its log, would pile up until somebody mends the cause.
 */
static void
copy_or_give_up(TapPull *pull)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		copy_table(pull);
	}
	PG_CATCH();
	{
		if (pull->source->forget == NULL || geterrcode() == ERRCODE_INTERNAL_ERROR ||
			tap_error_class(geterrcode()) == TAP_ERROR_RETRY)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (edata == NULL)
		return;
	AbortOutOfAnyTransaction();
	tap_helper_end_all();
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		give_up_copy(pull, edata->message);
	}
	PG_CATCH();
	{
		/* what failed first is to be told; the pipeline worker will clean up */
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	ReThrowError(edata);
}

static void
give_up_copy(TapPull *pull, const char *why)
{
	TapTableRow *row;

	tap_worker_begin();
	row = tap_catalog_table_by_id(pull->sync_table);
	if (row != NULL && (row->state == TAP_TABLE_COPYING || row->state == TAP_TABLE_COPIED))
	{
		tap_snapshot_begin_again(pull->pipeline, row, why);
		tap_shmem_wake_at_commit();
	}
	tap_worker_commit();

	forget_copy(pull);
}

/* A copy that begins anew after a pause needs nothing of the source meanwhile. */
static void
forget_copy(TapPull *pull)
{
	TapOpenSession *session;

	if (pull->source->forget == NULL)
		return;
	session = tap_pull_ask(pull);
	pull->source->forget(session->session, false);
	tap_session_close(session);
}

/*
 * Where rows keep moving, the next copy may be no better: then it waits for a
 * while, and people can read why.
 */
static void
copy_moved_again(TapPull *pull)
{
	bool		before = copied_again;

	set_waiting(false);
	copy_again(pull, TAP_PULL_MOVED_WHY);
	if (!before)
		return;
	forget_copy(pull);
	ereport(ERROR,
			(errcode(TAP_ERRCODE_COPY_AGAIN),
			 errmsg(TAP_PULL_MOVED_WHY),
			 errhint("Let the source send whole rows while the table is copied (PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL; MySQL: binlog_row_image = FULL), or let keys rest meanwhile.")));
}

/* Copy the table; pull->position is where to replay from, NULL if it is gone. */
static void
copy_table(TapPull *pull)
{
	TapTableRow *row;

	tap_worker_begin();
	MemoryContextSwitchTo(pull->context);
	row = tap_catalog_table_by_id(pull->sync_table);
	tap_worker_commit();

	pull->position = NULL;
	if (row == NULL || !needs_sync(row))
		return;
	if (row->state != TAP_TABLE_CATCHUP)
	{
		tap_worker_begin();
		tap_catalog_delete_staged_of_table(row->id);
		tap_worker_commit();
		tap_snapshot_run(pull->pipeline, pull->connection, list_make1(row));
	}

	tap_worker_begin();
	MemoryContextSwitchTo(pull->context);
	row = tap_catalog_table_by_id(pull->sync_table);
	tap_worker_commit();
	if (row != NULL && row->state == TAP_TABLE_CATCHUP)
		pull->position = row->start_position;
}

bool
tap_pull_sync_caught_up(const TapPull *pull)
{
	TapPullTable *table = linitial(pull->tables);

	return tap_pull_covered(pull->source, table->row.end_position, pull->position);
}

/* While nothing is replayed, and all rows are of one moment. */
static void
build_indexes(TapPull *pull)
{
	TapPullTable *table = linitial(pull->tables);

	if (!tap_options_bool(pull->options, "indexes"))
		return;
	tap_worker_begin();
	MemoryContextSwitchTo(pull->event_context);
	if (table->source == NULL)
		tap_pull_table_set_format(pull, table,
								  pull->source->table_from_definition(pull->session->session,
																	  &table->row.source,
																	  table->row.definition));
	tap_hubtable_create_indexes(table->row.hub_table, table->source);
	tap_worker_commit();
}

static void
set_waiting(bool on)
{
	TapPipelineShared *shared = tap_worker_shared;

	if (waiting == on)
		return;
	waiting = on;
	SpinLockAcquire(&shared->mutex);
	shared->join_waiting += on ? 1 : -1;
	if (shared->worker_latch != NULL)
		SetLatch(shared->worker_latch);
	SpinLockRelease(&shared->mutex);
}

static void
stop_waiting(int code, Datum arg)
{
	set_waiting(false);
}

static bool
try_hand_over(TapPull *pull)
{
	TapPullTable *table = linitial(pull->tables);
	char	   *stream_position;
	bool		paused;

	SpinLockAcquire(&tap_worker_shared->mutex);
	paused = tap_worker_shared->paused;
	SpinLockRelease(&tap_worker_shared->mutex);
	if (!paused)
		return false;
	stream_position = tap_shmem_reached(tap_worker_shared);
	if (stream_position == NULL ||
		!tap_pull_covered(pull->source, stream_position, pull->position))
		return false;

	table->row.state = TAP_TABLE_READY;
	table->row.exact = true;
	table->row.start_position = pull->position;
	table->row.end_position = pull->position;

	/* the end may have come without a commit of the table's */
	tap_pull_moved_settle(table);
	tap_worker_begin();
	tap_catalog_update_table(&table->row);
	tap_pull_moved_write(pull);
	tap_catalog_delete_staged_of_table(table->row.id);
	tap_shmem_wake_at_commit();
	tap_worker_commit();
	set_waiting(false);
	return true;
}

static bool
needs_sync(const TapTableRow *row)
{
	return row->state == TAP_TABLE_NEW || row->state == TAP_TABLE_COPYING ||
		row->state == TAP_TABLE_COPIED || row->state == TAP_TABLE_CATCHUP;
}

/* Nobody needs what prepared transactions have left behind, if no table joins. */
static void
delete_kept(TapPull *pull)
{
	if (!pull->staged_kept || tap_pull_sync_needed(pull))
		return;
	tap_worker_begin();
	tap_catalog_delete_applied(pull->pipeline->id);
	tap_worker_commit();
	pull->staged_kept = false;
}

/* Nobody needs what tables that joined have left behind at the source. */
static void
forget_at_source(TapPull *pull)
{
	TapOpenSession *session;

	if (!pull->forget_pending || pull->helpers != NIL || tap_pull_sync_needed(pull))
		return;
	pull->forget_pending = false;
	if (pull->source->forget == NULL)
		return;
	session = tap_pull_ask(pull);
	pull->source->forget(session->session, false);
	tap_session_close(session);
}

static void
note_end(TapPull *pull, int32 id)
{
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		if (table->row.id == id)
			table->sync_ended_at = GetCurrentTimestamp();
	}
}

/* A copy that begins anew each time must not occupy the source all the time. */
static bool
may_start(const TapPullTable *table, TimestampTz now)
{
	TimestampTz since = table->sync_started_at;
	long		pause = RETRY_SYNC_MS;

	if (since == 0)
		return true;
	if (table->row.state == TAP_TABLE_NEW && table->sync_ended_at > since)
	{
		pause = TimestampDifferenceMilliseconds(since, table->sync_ended_at);
		pause = Min(Max(pause, RETRY_SYNC_MS), RETRY_COPY_MAX_MS);
		since = table->sync_ended_at;
	}
	return TimestampDifferenceExceeds(since, now, pause);
}

static void
forget_ended(TapPull *pull)
{
	ListCell   *cell;

	foreach(cell, pull->helpers)
	{
		TapHelper  *helper = lfirst(cell);

		if (!tap_helper_running(helper))
		{
			note_end(pull, tap_helper_table(helper));
			tap_helper_forget(helper);
			pull->forget_pending = true;
			pull->helpers = foreach_delete_current(pull->helpers, cell);
		}
	}
}

static bool
has_helper(const TapPull *pull, int32 table)
{
	ListCell   *cell;

	foreach(cell, pull->helpers)
	{
		if (tap_helper_table(lfirst(cell)) == table)
			return true;
	}
	return false;
}

/*
 * Start as many as "workers" allows.  A helper that ended without success is
 * not started again before RETRY_SYNC_MS are over.
 */
void
tap_pull_sync_start(TapPull *pull)
{
	int			limit = tap_options_int(pull->options, "workers");
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	if (pull->only_streams)
		return;
	delete_kept(pull);
	forget_ended(pull);
	forget_at_source(pull);
	pull->sync_pending = false;
	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);
		TapHelper  *helper;
		MemoryContext old;

		if (table->row.id == 0 || has_helper(pull, table->row.id))
			continue;
		if (!needs_sync(&table->row))
		{
			table->sync_ended_at = 0;
			continue;
		}
		pull->sync_pending = true;
		if (list_length(pull->helpers) >= limit || !may_start(table, now))
			continue;
		table->sync_started_at = now;
		helper = tap_helper_start(TAP_PROCESS_SYNC, table->row.id,
								  pull->pipeline->name);
		if (helper == NULL)
			continue;
		old = MemoryContextSwitchTo(pull->context);
		pull->helpers = lappend(pull->helpers, helper);
		MemoryContextSwitchTo(old);
	}
}

bool
tap_pull_sync_needed(const TapPull *pull)
{
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		const TapPullTable *table = lfirst(cell);

		if (table->row.id != 0 && needs_sync(&table->row))
			return true;
	}
	return false;
}

bool
tap_pull_sync_ended(const TapPull *pull)
{
	ListCell   *cell;

	foreach(cell, pull->helpers)
	{
		if (!tap_helper_running(lfirst(cell)))
			return true;
	}
	return false;
}

/*
 * Nothing is open here: no hub transaction, no row of the source half read.
 */
void
tap_pull_sync_pause(TapPull *pull)
{
	static TimestampTz not_before = 0;
	TapPipelineShared *shared = tap_worker_shared;
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz end = TimestampTzPlusMilliseconds(start, PAUSE_MAX_MS);
	long		left;

	if (start < not_before)
		return;
	SpinLockAcquire(&shared->mutex);
	shared->paused = true;
	SpinLockRelease(&shared->mutex);

	while (shared->join_waiting > 0 &&
		   (left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end)) > 0)
	{
		ListCell   *cell;

		foreach(cell, pull->helpers)
			tap_helper_wake(lfirst(cell));
		tap_worker_wait(PGINVALID_SOCKET, 0, left);
	}
	if (shared->join_waiting > 0)
		not_before = TimestampTzPlusMilliseconds(end, PAUSE_AGAIN_MS);

	SpinLockAcquire(&shared->mutex);
	shared->paused = false;
	SpinLockRelease(&shared->mutex);
}
