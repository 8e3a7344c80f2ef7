/*-------------------------------------------------------------------------
 *
 * src/launcher.c
 *	  Starts a supervisor in each database that has pipelines to run.
 *
 * NOTES
 *	  The launcher is connected to no database and cannot see which have
 *	  pipelines.  At its start it therefore sends a supervisor into each, a few
 *	  at a time; one that finds nothing to run leaves at once.  After that it
 *	  sleeps until a transaction that changed pipelines asks for a supervisor
 *	  (wake_database() in process.c), or until one has failed.
 *
 *	  The postmaster starts it when recovery has finished: pipelines run on a
 *	  primary only, and begin with a standby's promotion.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "guc.h"
#include "launcher.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "process.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker.h"

#define RESTART_SECONDS		5

/* Supervisors that may be looking around at the same time. */
#define UNSETTLED_MAX		4

/* One that ran for so long was healthy: its next failure is a first one. */
#define HEALTHY_MS			60000

/* datconnlimit of a database whose creation or removal was interrupted. */
#define CONNECTION_LIMIT_INVALID	(-2)

/* A supervisor this process has started, or will start again. */
typedef struct Started
{
	Oid			database;
	BackgroundWorkerHandle *handle; /* NULL: not running */
	int			failures;		/* in a row */
	bool		noted;			/* the last failure is counted */
	TimestampTz started_at;
	TimestampTz next_try;
} Started;

/* List of Started *, in TopMemoryContext. */
static List *started_list = NIL;

/* Databases to visit after the start; a List of Oid, in TopMemoryContext. */
static List *to_visit = NIL;

void
tap_launcher_register(void)
{
	BackgroundWorker worker = {
		.bgw_name = "tapdata launcher",
		.bgw_type = "tapdata launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = RESTART_SECONDS,
		.bgw_library_name = "tapdata",
		.bgw_function_name = "tap_launcher_main"
	};

	RegisterBackgroundWorker(&worker);
}

/*
 * The databases a supervisor can work in (List of Oid in TopMemoryContext);
 * only that one if it is given.
 */
static List *
usable_databases(Oid only)
{
	List	   *result = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();

	/* Indexes of shared catalogs cannot be relied on without a database. */
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext caller;

		if (!row->datallowconn || row->datistemplate ||
			row->datconnlimit == CONNECTION_LIMIT_INVALID ||
			(OidIsValid(only) && row->oid != only))
			continue;
		caller = MemoryContextSwitchTo(TopMemoryContext);
		result = lappend_oid(result, row->oid);
		MemoryContextSwitchTo(caller);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	return result;
}

/* What is known about a database's supervisor; made when nothing is. */
static Started *
started_for(Oid database)
{
	Started    *started;
	MemoryContext caller;
	ListCell   *cell;

	foreach(cell, started_list)
	{
		started = lfirst(cell);
		if (started->database == database)
			return started;
	}

	caller = MemoryContextSwitchTo(TopMemoryContext);
	started = palloc0(sizeof(Started));
	started->database = database;
	started_list = lappend(started_list, started);
	MemoryContextSwitchTo(caller);
	return started;
}

/* Count a failure, once, and set when to try again. */
static void
note_failure(Started *started)
{
	TimestampTz now = GetCurrentTimestamp();

	if (started->noted)
		return;
	started->noted = true;

	if (TimestampDifferenceExceeds(started->started_at, now, HEALTHY_MS))
		started->failures = 0;
	started->next_try =
		TimestampTzPlusMilliseconds(now, tap_worker_backoff_ms(started->failures));
	started->failures++;
}

/*
 * Look at which supervisors have ended; returns how many have yet to see
 * whether there is anything to run.
 */
static int
reap(void)
{
	int			unsettled = 0;
	ListCell   *cell;

	foreach(cell, started_list)
	{
		Started    *started = lfirst(cell);
		TapSupervisorState state;
		bool		settled;
		pid_t		pid;

		if (started->handle == NULL)
			continue;

		state = tap_process_supervisor(started->database, &settled);
		if (GetBackgroundWorkerPid(started->handle, &pid) != BGWH_STOPPED)
		{
			unsettled += settled ? 0 : 1;
			continue;
		}

		pfree(started->handle);
		started->handle = NULL;
		if (state == TAP_SUPERVISOR_STARTING)
			tap_process_set_supervisor(started->database, TAP_SUPERVISOR_FAILED);
		else if (state == TAP_SUPERVISOR_NONE)
		{
			started_list = foreach_delete_current(started_list, cell);
			pfree(started);
		}
	}
	return unsettled;
}

/* Start a supervisor in a database, if that still is one. */
static void
start(Started *started)
{
	TapWorkerArgs args = {0};
	List	   *usable = usable_databases(started->database);

	if (usable == NIL)
	{
		tap_process_set_supervisor(started->database, TAP_SUPERVISOR_NONE);
		tap_process_set_obstacle(started->database, TAP_OBSTACLE_TEMPLATE);
		tap_shmem_forget_database(started->database);
		started_list = list_delete_ptr(started_list, started);
		pfree(started);
		return;
	}
	list_free(usable);

	started->noted = false;
	started->started_at = GetCurrentTimestamp();
	tap_process_set_supervisor(started->database, TAP_SUPERVISOR_STARTING);

	args.kind = TAP_PROCESS_SUPERVISOR;
	args.database = started->database;
	started->handle = tap_worker_start(&args, NULL);
	if (started->handle == NULL)
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("tapdata cannot start a supervisor: no background worker slot is free"),
				 errhint("Raise max_worker_processes and restart the server.")));
		tap_process_set_supervisor(started->database, TAP_SUPERVISOR_FAILED);
		tap_process_set_obstacle(started->database, TAP_OBSTACLE_NO_SLOT);
		note_failure(started);
	}
}

/*
 * Start what is wanted and may start now.  Returns how long to sleep at most,
 * in milliseconds; -1: until woken.
 */
static long
start_wanted(int unsettled)
{
	long		sleep_ms = -1;
	int			index = 0;
	Oid			database;
	bool		failed;

	while (tap_process_next_wanted(&index, &database, &failed))
	{
		Started    *started = started_for(database);
		long		left;

		/* Its end has been reported, but not yet by the postmaster. */
		if (started->handle != NULL)
			continue;

		if (failed)
			note_failure(started);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
											   started->next_try);
		if (left > 0)
			sleep_ms = sleep_ms < 0 ? left : Min(sleep_ms, left);
		else if (unsettled < UNSETTLED_MAX)
		{
			start(started);
			unsettled++;
		}
	}
	return sleep_ms;
}

/* Ask for supervisors in databases that have not been visited yet. */
static void
visit(int unsettled)
{
	while (to_visit != NIL && unsettled++ < UNSETTLED_MAX)
	{
		if (!tap_process_request(linitial_oid(to_visit)))
		{
			/* As many databases have pipelines as pipelines have room. */
			ereport(LOG,
					(errmsg("tapdata has no room for more databases"),
					 errhint("Raise tapdata.max_pipelines and restart the server.")));
			list_free(to_visit);
			to_visit = NIL;
			return;
		}
		to_visit = list_delete_first(to_visit);
	}
}

void
tap_launcher_main(Datum main_arg)
{
	TapWorkerArgs args = {.kind = TAP_PROCESS_LAUNCHER};
	bool		enabled = false;

	tap_worker_signals();
	if (!tap_process_attach(&args))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	tap_process_reset_starts();

	for (;;)
	{
		long		sleep_ms = -1;
		int			unsettled = reap();

		if (tap_guc_enabled && !enabled)
		{
			list_free(to_visit);
			to_visit = usable_databases(InvalidOid);
		}
		enabled = tap_guc_enabled;

		if (enabled)
		{
			visit(unsettled);
			sleep_ms = start_wanted(unsettled);
		}
		(void) tap_worker_wait(PGINVALID_SOCKET, 0, sleep_ms);
	}
}
