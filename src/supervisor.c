/*-------------------------------------------------------------------------
 *
 * src/supervisor.c
 *	  Keeps one worker for each running pipeline of a database.
 *
 * NOTES
 *	  The supervisor compares what the catalog says is to run with the workers
 *	  it has, whenever it is woken: at the commit of a transaction that changed
 *	  pipelines, when a worker ends, when a pause before a next try is over.
 *
 *	  A worker tells how it ended (see worker.c):
 *
 *		restart		it is started again at once
 *		retry		it is started again after a pause that doubles with each
 *					failure; a minute of good work resets it, or some
 *					seconds at the end of what there was to read
 *		failed		it is not in the list any more: the catalog says so, unless
 *					somebody has started it since
 *		unknown		it was terminated: by a command, as restart; from outside, as
 *					retry, shortest pause
 *
 *	  A transaction that changed pipelines or connections ends all pauses, also
 *	  that of a worker which had failed before it and is only then seen to have.
 *
 *	  With nothing left to run the supervisor ends; a change that is committed
 *	  in this very moment is not missed, see tap_process_supervisor_leave().
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog.h"
#include "guc.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "process.h"
#include "slot.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"

/* How often events that have become too old are deleted. */
#define TRIM_INTERVAL_MS	(60 * 60 * 1000)

/* When to look again for a slot that is to be dropped, but is in use. */
#define SWEEP_MS			100

/* Starts that may come to nothing before the next one is put off. */
#define CRASHES_MAX			3

/* One pipeline that runs, or waits to be started. */
typedef struct Child
{
	int32		pipeline;
	char	   *name;
	Oid			owner;
	BackgroundWorkerHandle *handle; /* NULL: not running */
	bool		wanted;			/* is in the list of pipelines to run */
	bool		told;			/* has been sent SIGTERM */
	bool		ran;			/* has been started before */
	int			failures;		/* in a row */
	TimestampTz next_try;
} Child;

/* List of Child *, in TopMemoryContext. */
static List *children = NIL;

/* Reset at each turn of the main loop. */
static MemoryContext turn_context = NULL;

/*
 * Free the entries of pipelines that are gone: a worker that was on its way
 * when its pipeline was dropped can have made one anew.
 */
static void
forget_dropped(void)
{
	int			index = 0;
	int32		pipeline;

	while ((pipeline = tap_shmem_next_pipeline(&index)) != 0)
	{
		if (!tap_process_runs(TAP_PROCESS_PIPELINE, pipeline, 0) &&
			tap_catalog_pipeline_by_id(pipeline, true) == NULL)
			tap_shmem_free_pipeline(pipeline);
	}
}

/*
 * Drop replication slots whose pipeline is gone.  False: one is in use yet,
 * by a worker that is about to end.
 */
static bool
sweep_slots(void)
{
	List	   *pipelines = NIL;
	List	   *rows = NIL;
	ListCell   *cell;

	tap_worker_begin();
	if (tap_catalog_exists())
		rows = tap_catalog_pipelines();
	foreach(cell, rows)
	{
		MemoryContext caller = MemoryContextSwitchTo(turn_context);

		pipelines = lappend_int(pipelines, ((TapPipelineRow *) lfirst(cell))->id);
		MemoryContextSwitchTo(caller);
	}
	tap_worker_commit();
	return tap_slot_sweep(pipelines);
}

/* What is to run by the catalog: List of TapPipelineRow * in turn_context. */
static List *
pipelines_to_run(void)
{
	List	   *rows = NIL;
	List	   *result = NIL;
	ListCell   *cell;

	if (!tap_guc_enabled)
		return NIL;

	tap_worker_begin();
	if (tap_catalog_exists())
	{
		rows = tap_catalog_pipelines_to_run();
		forget_dropped();
	}
	else
		tap_shmem_forget_database(MyDatabaseId);

	foreach(cell, rows)
	{
		TapPipelineRow *row = lfirst(cell);
		MemoryContext caller = MemoryContextSwitchTo(turn_context);
		TapPipelineRow *copy = palloc0(sizeof(TapPipelineRow));

		copy->id = row->id;
		copy->name = pstrdup(row->name);
		copy->owner = row->owner;
		copy->starts = row->starts;
		result = lappend(result, copy);
		MemoryContextSwitchTo(caller);
	}
	tap_worker_commit();
	return result;
}

static Child *
find_child(int32 pipeline)
{
	ListCell   *cell;

	foreach(cell, children)
	{
		Child	   *child = lfirst(cell);

		if (child->pipeline == pipeline)
			return child;
	}
	return NULL;
}

/* Send SIGTERM, once. */
static void
terminate_child(Child *child)
{
	if (child->handle == NULL || child->told)
		return;
	TerminateBackgroundWorker(child->handle);
	child->told = true;
}

/* Nobody else looks after the workers until the next supervisor comes. */
static void
terminate_children(int code, Datum arg)
{
	ListCell   *cell;

	foreach(cell, children)
		terminate_child(lfirst(cell));
}

/* Pause before the next start, after so many failures in a row before. */
static void
back_off(Child *child, int failures)
{
	child->next_try =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									tap_worker_backoff_ms(failures));
	child->failures = failures + 1;
}

/* Make the children those of the list; whose owner changed starts anew. */
static void
match_children(List *rows)
{
	ListCell   *cell;

	foreach(cell, children)
		((Child *) lfirst(cell))->wanted = false;

	foreach(cell, rows)
	{
		TapPipelineRow *row = lfirst(cell);
		Child	   *child = find_child(row->id);

		if (child == NULL)
		{
			MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

			child = palloc0(sizeof(Child));
			child->pipeline = row->id;
			child->name = pstrdup(row->name);
			children = lappend(children, child);
			MemoryContextSwitchTo(caller);

			/*
			 * Its workers seem to crash the server: leave others time to
			 * work.
			 */
			if (row->starts >= CRASHES_MAX)
				back_off(child, row->starts - CRASHES_MAX);
		}
		else if (child->owner != row->owner)
			terminate_child(child);
		child->owner = row->owner;
		child->wanted = true;
	}
}

/* Note a failure in the catalog that the worker itself could not note. */
static void
record_failure(Child *child, const char *error)
{
	tap_worker_begin();
	if (tap_catalog_exists() &&
		tap_catalog_pipeline_by_id(child->pipeline, true) != NULL)
	{
		tap_catalog_insert_event(child->name, NULL, "error", "failed", error);
		tap_catalog_set_failed(child->pipeline, error);
	}
	tap_worker_commit();
	child->wanted = false;
}

/*
 * Whether the catalog still has a pipeline run whose worker has ended with a
 * failure: start() may have been called between the two, and wakes nobody again.
 */
static bool
was_started_again(const Child *child)
{
	TapPipelineRow *row = NULL;
	bool		result;

	tap_worker_begin();
	if (tap_catalog_exists())
		row = tap_catalog_pipeline_by_id(child->pipeline, true);
	result = row != NULL && row->enabled && !row->failed;
	tap_worker_commit();
	return result;
}

/* A worker has ended: decide what is next by how it did. */
static void
child_ended(Child *child)
{
	TapPipelineShared *shared = tap_shmem_pipeline(child->pipeline, false);
	char		error[TAP_ERROR_MAX_BYTES];
	TapWorkerExit exit;
	bool		recorded;
	bool		healthy;
	bool		commanded;
	uint64		changes;

	pfree(child->handle);
	child->handle = NULL;

	/* Its pipeline was dropped meanwhile. */
	if (shared == NULL)
	{
		child->told = false;
		return;
	}

	/* a command that ends a worker holds it until it has set its state */
	commanded = tap_process_pipeline_held(child->pipeline);
	SpinLockAcquire(&shared->mutex);
	exit = shared->exit;
	recorded = shared->exit_recorded;
	healthy = shared->exit_healthy;
	changes = shared->exit_changes;
	commanded = commanded || shared->state == TAP_STATE_STOPPED;
	memcpy(error, shared->last_error, sizeof(error));
	SpinLockRelease(&shared->mutex);

	if (child->told || exit == TAP_EXIT_RESTART ||
		(exit == TAP_EXIT_UNKNOWN && commanded))
		child->failures = 0;
	else if (exit == TAP_EXIT_FAILED)
	{
		if (!recorded)
			record_failure(child, error);
		child->wanted = child->wanted && was_started_again(child);
		child->failures = 0;
	}
	else
	{
		/* One that was terminated could not take its state back. */
		if (exit == TAP_EXIT_UNKNOWN)
			tap_shmem_set_state(shared, TAP_STATE_STARTING);
		back_off(child, healthy || exit == TAP_EXIT_UNKNOWN ? 0 : child->failures);
		if (exit == TAP_EXIT_RETRY &&
			changes != pg_atomic_read_u64(&tap_process_database->changes))
			child->next_try = 0;
	}
	child->told = false;
}

/* Start a worker, or say why there is none. */
static void
start_child(Child *child)
{
	TapPipelineShared *shared = tap_shmem_try_pipeline(child->pipeline);
	TapWorkerArgs args = {0};

	if (shared == NULL)
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("tapdata cannot start pipeline \"%s\": there are too many",
						child->name),
				 errhint("Raise tapdata.max_pipelines and restart the server.")));
		back_off(child, child->failures);
		return;
	}

	SpinLockAcquire(&shared->mutex);
	shared->exit = TAP_EXIT_UNKNOWN;
	shared->exit_recorded = false;
	shared->exit_healthy = false;
	SpinLockRelease(&shared->mutex);

	/* Before the start: what the worker sets must not be overwritten. */
	tap_shmem_set_state(shared, TAP_STATE_STARTING);

	args.kind = TAP_PROCESS_PIPELINE;
	args.database = MyDatabaseId;
	args.owner = child->owner;
	args.pipeline = child->pipeline;
	child->handle = tap_worker_start(&args, child->name);
	if (child->handle != NULL)
	{
		/* a restart that somebody asked for tells nothing */
		if (child->ran && child->failures > 0)
			pg_atomic_fetch_add_u64(&shared->restarts, 1);
		child->ran = true;
		return;
	}

	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("tapdata cannot start pipeline \"%s\": no background worker slot is free",
					child->name),
			 errhint("Raise max_worker_processes and restart the server.")));
	tap_shmem_set_error(shared, "no background worker slot is free; hint: Raise max_worker_processes and restart the server.");
	tap_shmem_set_state(shared, TAP_STATE_RETRYING);
	back_off(child, child->failures);
}

/* A pipeline that shall not run and does not: forget it here. */
static void
drop_child(Child *child)
{
	TapPipelineShared *shared = tap_shmem_pipeline(child->pipeline, false);

	if (shared != NULL)
	{
		TapPipelineState state;

		SpinLockAcquire(&shared->mutex);
		state = shared->state;
		SpinLockRelease(&shared->mutex);
		if (state != TAP_STATE_FAILED)
			tap_shmem_set_state(shared, TAP_STATE_STOPPED);
	}
	pfree(child->name);
	pfree(child);
}

/*
 * Do what is due for each child.  Returns how long nothing more is due, in
 * milliseconds; -1: until something happens.
 */
static long
tend_children(void)
{
	long		sleep_ms = -1;
	ListCell   *cell;

	foreach(cell, children)
	{
		Child	   *child = lfirst(cell);
		pid_t		pid;
		long		left;

		if (child->handle != NULL &&
			GetBackgroundWorkerPid(child->handle, &pid) == BGWH_STOPPED)
			child_ended(child);

		if (child->handle != NULL)
		{
			if (!child->wanted)
				terminate_child(child);
			continue;
		}
		if (!child->wanted)
		{
			children = foreach_delete_current(children, cell);
			drop_child(child);
			continue;
		}

		/* The end of a hold, or of a forerunner's worker, wakes us. */
		if (tap_process_pipeline_held(child->pipeline) ||
			tap_process_runs(TAP_PROCESS_PIPELINE, child->pipeline, 0))
			continue;

		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
											   child->next_try);
		if (left <= 0)
			start_child(child);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
											   child->next_try);
		if (child->handle == NULL)
			sleep_ms = sleep_ms < 0 ? left : Min(sleep_ms, left);
	}
	return sleep_ms;
}

/* Delete old events once in a while; returns when it is due again. */
static long
trim_events(void)
{
	static TimestampTz next_trim = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (now >= next_trim)
	{
		tap_worker_begin();
		if (tap_catalog_exists())
			tap_catalog_trim_events();
		tap_worker_commit();
		next_trim = TimestampTzPlusMilliseconds(now, TRIM_INTERVAL_MS);
	}
	return TimestampDifferenceMilliseconds(now, next_trim);
}

/* Somebody changed something, maybe what was wrong: pause no longer. */
static void
end_pauses(void)
{
	ListCell   *cell;

	foreach(cell, children)
		((Child *) lfirst(cell))->next_try = 0;
}

/* One turn: look, act, sleep.  False: nothing is left to do. */
static bool
turn(void)
{
	static uint64 seen_changes = 0;
	uint64		changes = pg_atomic_read_u64(&tap_process_database->changes);
	long		sleep_ms;
	bool		swept;

	if (changes != seen_changes)
		end_pauses();
	seen_changes = changes;

	MemoryContextReset(turn_context);
	MemoryContextSwitchTo(turn_context);
	match_children(pipelines_to_run());
	swept = sweep_slots();
	sleep_ms = tend_children();
	if (!swept)
		sleep_ms = sleep_ms < 0 ? SWEEP_MS : Min(sleep_ms, SWEEP_MS);

	/* A launcher that is busy may never see that tapdata.enabled was off. */
	if (children == NIL && swept)
		return !tap_process_supervisor_leave(changes, !tap_guc_enabled);

	tap_process_supervisor_settled();
	if (tap_guc_enabled && tap_guc_event_retention_min > 0)
	{
		long		trim_ms = trim_events();

		sleep_ms = sleep_ms < 0 ? trim_ms : Min(sleep_ms, trim_ms);
	}
	(void) tap_worker_wait(PGINVALID_SOCKET, 0, sleep_ms);
	return true;
}

void
tap_supervisor_main(Datum main_arg)
{
	TapWorkerArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	tap_worker_signals();
	if (!tap_process_attach(&args))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();

	/* As the bootstrap superuser, who can read every catalog. */
	BackgroundWorkerInitializeConnectionByOid(args.database, InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET,
					PGC_S_OVERRIDE);
	pgstat_report_appname("tapdata supervisor");

	before_shmem_exit(terminate_children, (Datum) 0);
	turn_context = AllocSetContextCreate(TopMemoryContext, "tapdata supervisor",
										 ALLOCSET_DEFAULT_SIZES);
	while (turn())
		;
	proc_exit(0);
}
