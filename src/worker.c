/*-------------------------------------------------------------------------
 *
 * src/worker.c
 *	  What every background process of tapdata does alike.
 *
 * NOTES
 *	  A worker that crashes takes the server with it, and the supervisor's
 *	  memory of it.  So each start is counted in the catalog, until the worker
 *	  streams or reports an error; the supervisor pauses before it starts one
 *	  that came to nothing several times.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog.h"
#include "compat.h"
#include "connector_loader.h"
#include "guc.h"
#include "miscadmin.h"
#include "options.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "process.h"
#include "publish.h"
#include "pull.h"
#include "snapshot.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker_private.h"

const TapWorkerArgs *tap_worker_args = NULL;
TapPipelineShared *tap_worker_shared = NULL;
const char *tap_worker_pipeline_name = NULL;

/* TapDatabaseShared.changes as tap_worker_catalog_changed() last saw it. */
static uint64 seen_changes = 0;

/* Of the caller of tap_worker_begin(). */
static MemoryContext begin_context = NULL;

/* How soon to report statistics that were held back; 0: there are none. */
static long stats_wait_ms = 0;

/* This start is counted in pipeline_state.starts, and has come to nothing yet. */
static bool unproven = false;

/* ---------------------------------------------------------------------
 * Starting processes
 * ---------------------------------------------------------------------
 */

static const char *
process_type(TapProcessKind kind)
{
	switch (kind)
	{
		case TAP_PROCESS_LAUNCHER:
			return "tapdata launcher";
		case TAP_PROCESS_SUPERVISOR:
			return "tapdata supervisor";
		case TAP_PROCESS_PIPELINE:
			return "tapdata pipeline";
		case TAP_PROCESS_SYNC:
			return "tapdata sync";
		case TAP_PROCESS_SNAPSHOT:
			return "tapdata snapshot";
	}
	return "tapdata";
}

BackgroundWorkerHandle *
tap_worker_start(const TapWorkerArgs *args, const char *name)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	MemoryContext caller;

	StaticAssertStmt(sizeof(TapWorkerArgs) <= BGW_EXTRALEN,
					 "TapWorkerArgs does not fit bgw_extra");

	strlcpy(worker.bgw_type, process_type(args->kind), BGW_MAXLEN);
	if (name != NULL)
		snprintf(worker.bgw_name, BGW_MAXLEN, "%s %s", worker.bgw_type, name);
	else
		snprintf(worker.bgw_name, BGW_MAXLEN, "%s of database %u",
				 worker.bgw_type, args->database);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "tapdata", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name,
			args->kind == TAP_PROCESS_SUPERVISOR ? "tap_supervisor_main" :
			"tap_worker_main", BGW_MAXLEN);
	memcpy(worker.bgw_extra, args, sizeof(TapWorkerArgs));

	caller = MemoryContextSwitchTo(TopMemoryContext);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		handle = NULL;
	MemoryContextSwitchTo(caller);
	return handle;
}

void
tap_worker_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
}

int
tap_worker_backoff_ms(int failures)
{
	int64		pause = (int64) tap_guc_retry_min_ms << Min(failures, 24);

	return (int) Min(pause, (int64) tap_guc_retry_max_ms);
}

/* ---------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------
 */

/* One wait for latch, socket or time; returns WL_* flags. */
static int
wait_once(pgsocket socket, int events, long timeout_ms)
{
	static uint32 wait_event = 0;
	int			flags = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (wait_event == 0)
		wait_event = tap_compat_wait_event("TapdataMain");
	if (timeout_ms >= 0)
		flags |= WL_TIMEOUT;
	if (socket == PGINVALID_SOCKET)
		return WaitLatch(MyLatch, flags, timeout_ms, wait_event);
	return WaitLatchOrSocket(MyLatch, flags | events, socket, timeout_ms,
							 wait_event);
}

/* Take this start out of the count: the worker does its work. */
static void
prove(void)
{
	unproven = false;
	tap_worker_begin();
	tap_catalog_set_starts(tap_worker_args->pipeline, 0);
	tap_worker_commit();
}

int
tap_worker_wait(pgsocket socket, int events, long timeout_ms)
{
	int			happened;
	bool		stats_due;

	CHECK_FOR_INTERRUPTS();
	if (unproven && tap_worker_shared->state == TAP_STATE_STREAMING &&
		!IsTransactionState())
		prove();
	stats_due = stats_wait_ms > 0 && !IsTransactionState() &&
		(timeout_ms < 0 || timeout_ms > stats_wait_ms);
	if (stats_due)
		timeout_ms = stats_wait_ms;
	happened = wait_once(socket, events, timeout_ms);
	if (happened & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (stats_due && (happened & WL_TIMEOUT))
		stats_wait_ms = pgstat_report_stat(true);

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return happened;
}

/*
 * Wait for the socket alone.  A latch set meanwhile is somebody's request to
 * the main loop: it is set again before the return.
 */
static int
wait_for_socket(pgsocket socket, int events, long timeout_ms, bool quiet)
{
	TimestampTz deadline = 0;
	bool		latched = false;
	int			happened;

	if (timeout_ms >= 0)
		deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	for (;;)
	{
		if (!quiet)
			CHECK_FOR_INTERRUPTS();
		else if (ProcDiePending || QueryCancelPending)
		{
			happened = -1;
			break;
		}
		else if (ProcSignalBarrierPending)
		{
			/* Others wait for it, and a source can be silent for minutes. */
			ProcessProcSignalBarrier();
		}

		happened = wait_once(socket, events, timeout_ms);
		if (happened & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			latched = true;
		}
		if (happened & events)
		{
			happened &= events;
			break;
		}
		if (timeout_ms >= 0)
		{
			timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														 deadline);
			if (timeout_ms <= 0)
			{
				happened = 0;
				break;
			}
		}
	}

	if (latched)
		SetLatch(MyLatch);
	return happened;
}

int
tap_wait_socket(pgsocket socket, int events, long timeout_ms)
{
	return wait_for_socket(socket, events, timeout_ms, false);
}

int
tap_wait_socket_quiet(pgsocket socket, int events, long timeout_ms)
{
	return wait_for_socket(socket, events, timeout_ms, true);
}

bool
tap_worker_catalog_changed(void)
{
	uint64		changes;

	if (tap_process_database == NULL)
		return false;
	changes = pg_atomic_read_u64(&tap_process_database->changes);
	if (changes == seen_changes)
		return false;
	seen_changes = changes;
	return true;
}

/* ---------------------------------------------------------------------
 * Transactions
 * ---------------------------------------------------------------------
 */

void
tap_worker_begin(void)
{
	begin_context = CurrentMemoryContext;
	pgstat_report_activity(STATE_RUNNING, NULL);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
tap_worker_commit(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	stats_wait_ms = pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(begin_context);
}

/* ---------------------------------------------------------------------
 * The main function of pipeline, sync and snapshot workers
 * ---------------------------------------------------------------------
 */

static void
add_pipeline_context(void *arg)
{
	if (tap_worker_pipeline_name != NULL)
		errcontext("tapdata pipeline \"%s\"", tap_worker_pipeline_name);
}

/*
 * Settings that users may have changed for their role or database and that
 * must not reach into a pipeline's work.
 */
static void
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
		{"transaction_timeout", "0"},
#endif
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"row_security", "on"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET,
						PGC_S_OVERRIDE);
}

/* Options of a pull pipeline that are settings of the session. */
static void
set_session_options(const TapPipelineRow *row)
{
	TapConnectionRow *connection = tap_catalog_connection_by_id(row->connection);
	const TapConnector *connector = tap_connector_load(connection->connector);
	TapOptions *options = tap_options_parse(row->options, NULL, connector,
											TAP_SCOPE_PULL, CurrentMemoryContext);

	SetConfigOption("session_replication_role",
					tap_options_text(options, "replication_role"),
					PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit",
					tap_options_text(options, "synchronous_commit"),
					PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Read what this worker is to run; false when it is not to run any more.
 */
static bool
read_pipeline(MemoryContext context, TapDirection *direction)
{
	TapPipelineRow *row = NULL;
	bool		run = false;

	/* Before reading: what changes from here on is news. */
	(void) tap_worker_catalog_changed();

	tap_worker_begin();
	if (tap_catalog_exists())
		row = tap_catalog_pipeline_by_id(tap_worker_args->pipeline, true);
	if (row != NULL && row->enabled && !row->failed &&
		row->owner == tap_worker_args->owner)
	{
		run = true;
		*direction = row->direction;
		tap_worker_pipeline_name = MemoryContextStrdup(TopMemoryContext, row->name);
		if (row->direction == TAP_PULL)
			set_session_options(row);
		if (tap_worker_args->kind == TAP_PROCESS_PIPELINE)
		{
			tap_catalog_set_starts(row->id, row->starts + 1);
			unproven = true;
		}
	}
	tap_worker_commit();
	MemoryContextSwitchTo(context);

	if (run)
	{
		char	   *name = psprintf("%s %s", process_type(tap_worker_args->kind),
									tap_worker_pipeline_name);

		SetConfigOption("application_name", name, PGC_USERSET, PGC_S_OVERRIDE);
	}
	return run;
}

/* Enter the pipeline's entry as its worker. */
static void
claim_shared(void)
{
	TapPipelineShared *shared = tap_worker_shared;

	SpinLockAcquire(&shared->mutex);
	shared->worker_pid = MyProcPid;
	shared->worker_latch = &MyProc->procLatch;
	shared->paused = false;
	SpinLockRelease(&shared->mutex);
	tap_shmem_set_state(shared, TAP_STATE_STARTING);
}

static pg_noinline void
run(MemoryContext context)
{
	TapDirection direction;

	if (!read_pipeline(context, &direction))
		return;

	switch (tap_worker_args->kind)
	{
		case TAP_PROCESS_SYNC:
			tap_pull_sync_main(tap_worker_args->pipeline, tap_worker_args->table);
			break;
		case TAP_PROCESS_SNAPSHOT:
			tap_snapshot_worker_main(tap_worker_args->pipeline,
									 tap_worker_args->table);
			break;
		default:
			if (direction == TAP_PULL)
				tap_pull_main(tap_worker_args->pipeline);
			else
				tap_publish_main(tap_worker_args->pipeline);
			break;
	}
}

void
tap_worker_main(Datum main_arg)
{
	static TapWorkerArgs args;
	ErrorContextCallback callback;
	MemoryContext context;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	tap_worker_args = &args;

	tap_worker_signals();
	if (!tap_process_attach(&args))
		proc_exit(0);
	tap_worker_shared = tap_process_pipeline_entry(args.database, args.pipeline);
	tap_worker_watch_end();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(args.database, args.owner,
											  TAP_COMPAT_CONNECT_FLAGS);
	pin_settings();
	if (tap_worker_shared == NULL)
		tap_worker_shared = tap_shmem_pipeline(args.pipeline, true);
	if (args.kind == TAP_PROCESS_PIPELINE)
		claim_shared();

	context = AllocSetContextCreate(TopMemoryContext, "tapdata worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	callback.callback = add_pipeline_context;
	callback.arg = NULL;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	PG_TRY();
	{
		run(context);
		tap_worker_report_exit(TAP_EXIT_RESTART, NULL);
	}
	PG_CATCH();
	{
		tap_worker_end_with_error(context);
	}
	PG_END_TRY();
	proc_exit(0);
}
