/*-------------------------------------------------------------------------
 *
 * src/worker.c
 *	  What every background process of tapdata does alike.
 *
 * NOTES
 *	  How a pipeline worker ended is left in TapPipelineShared.exit for the
 *	  supervisor, who does not get to see exit codes.  An error is written to
 *	  the catalog by the worker itself, in a transaction of its own; if that
 *	  is not possible, the supervisor does it from shared memory.  Errors
 *	  before the worker is connected are FATAL and cannot be caught: they are
 *	  seen by way of emit_log_hook.
 *
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
#include "errors.h"
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
#include "worker.h"

/* A worker that worked for so long was healthy: the back-off starts anew. */
#define HEALTHY_MS		60000

/* So many internal errors, each so soon after the one before, may still pass. */
#define INTERNAL_ERRORS		3
#define INTERNAL_ERROR_MS	600000

const TapWorkerArgs *tap_worker_args = NULL;
TapPipelineShared *tap_worker_shared = NULL;

/* The pipeline's name once it is known; in TopMemoryContext. */
static char *pipeline_name = NULL;

/* TapDatabaseShared.changes as tap_worker_catalog_changed() last saw it. */
static uint64 seen_changes = 0;

/* Of the caller of tap_worker_begin(). */
static MemoryContext begin_context = NULL;

static TimestampTz started_at = 0;

/* How soon to report statistics that were held back; 0: there are none. */
static long stats_wait_ms = 0;

/* This start is counted in pipeline_state.starts, and has come to nothing yet. */
static bool unproven = false;

static emit_log_hook_type previous_emit_log_hook = NULL;

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
 * How a worker ends
 * ---------------------------------------------------------------------
 */

/* Leave word for the supervisor; a helper's end is its leader's affair. */
static void
report_exit(TapWorkerExit exit, const char *error)
{
	TapPipelineShared *shared = tap_worker_shared;
	bool		seasoned = TimestampDifferenceExceeds(started_at,
													  GetCurrentTimestamp(),
													  HEALTHY_MS);

	if (shared == NULL || tap_worker_args->kind != TAP_PROCESS_PIPELINE)
		return;
	if (error != NULL)
		tap_shmem_set_error(shared, error);

	SpinLockAcquire(&shared->mutex);
	shared->exit = exit;
	shared->exit_healthy = seasoned &&
		(shared->state == TAP_STATE_SNAPSHOT ||
		 shared->state == TAP_STATE_CATCHUP ||
		 shared->state == TAP_STATE_STREAMING);
	SpinLockRelease(&shared->mutex);

	if (exit == TAP_EXIT_FAILED)
		tap_shmem_set_state(shared, TAP_STATE_FAILED);
	else if (exit == TAP_EXIT_RETRY)
		tap_shmem_set_state(shared, TAP_STATE_RETRYING);
}

/* See an error that ends the process at once, such as a refused login. */
static void
see_fatal(ErrorData *edata)
{
	if (previous_emit_log_hook)
		previous_emit_log_hook(edata);

	if (edata->elevel == FATAL && edata->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN &&
		tap_worker_shared != NULL)
	{
		bool		retry = tap_error_class(edata->sqlerrcode) == TAP_ERROR_RETRY;
		char	   *text = tap_error_text(edata);

		if (edata->sqlerrcode == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
			text = psprintf("%s; hint: %s", text, TAP_COMPAT_OWNER_HINT);
		report_exit(retry ? TAP_EXIT_RETRY : TAP_EXIT_FAILED, text);
	}
}

/*
 * Write a failure to the catalog; whether this worked is in exit_recorded.
 */
static void
record_failure(bool failed, const char *error)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		tap_worker_begin();
		if (tap_catalog_exists())
		{
			TapTableRow *table = tap_worker_args->kind == TAP_PROCESS_SYNC ?
			tap_catalog_table_by_id(tap_worker_args->table) : NULL;

			tap_catalog_insert_event(pipeline_name, table ? &table->source : NULL,
									 "error", failed ? "failed" : "retry", error);
			if (table != NULL)
			{
				/* until the table joins the stream */
				table->last_error = pstrdup(error);
				tap_catalog_update_table(table);
			}
			if (failed)
				tap_catalog_set_failed(tap_worker_args->pipeline, error);
			else
				tap_catalog_set_starts(tap_worker_args->pipeline, 0);
		}
		tap_worker_commit();

		if (tap_worker_args->kind == TAP_PROCESS_PIPELINE)
		{
			SpinLockAcquire(&tap_worker_shared->mutex);
			tap_worker_shared->exit_recorded = true;
			SpinLockRelease(&tap_worker_shared->mutex);
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
}

/*
 * Whether to try again after an internal error, which nobody can tell by its
 * code: mostly it comes of what others do at the same moment ("tuple
 * concurrently updated", no buffer that is free), and is over at once.
 */
static bool
may_pass(const ErrorData *edata)
{
	TapPipelineShared *shared = tap_worker_shared;
	TimestampTz now = GetCurrentTimestamp();
	int			count;

	if (edata->sqlerrcode != ERRCODE_INTERNAL_ERROR ||
		tap_worker_args->kind != TAP_PROCESS_PIPELINE)
		return false;
	SpinLockAcquire(&shared->mutex);
	if (TimestampDifferenceExceeds(shared->internal_error_at, now, INTERNAL_ERROR_MS))
		shared->internal_errors = 0;
	count = ++shared->internal_errors;
	shared->internal_error_at = now;
	SpinLockRelease(&shared->mutex);
	return count <= INTERNAL_ERRORS;
}

/* End the worker with the error that is being handled. */
static void
end_with_error(MemoryContext context)
{
	ErrorData  *edata;
	char	   *text;
	bool		failed;

	MemoryContextSwitchTo(context);
	HOLD_INTERRUPTS();
	edata = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);

	/* An error of data that got so far was not for on_error to decide. */
	failed = tap_error_class(edata->sqlerrcode) != TAP_ERROR_RETRY && !may_pass(edata);
	text = tap_error_report(edata);
	report_exit(failed ? TAP_EXIT_FAILED : TAP_EXIT_RETRY, text);
	RESUME_INTERRUPTS();

	/*
	 * What a snapshot worker failed at its leader tries again, and reports. A
	 * table that cannot be brought into the stream fails by itself: the
	 * pipeline goes on and starts its sync worker again.
	 */
	if (tap_worker_args->kind == TAP_PROCESS_PIPELINE)
		record_failure(failed, text);
	else if (tap_worker_args->kind == TAP_PROCESS_SYNC)
		record_failure(false, text);
	proc_exit(1);
}

/* ---------------------------------------------------------------------
 * The main function of pipeline, sync and snapshot workers
 * ---------------------------------------------------------------------
 */

static void
add_pipeline_context(void *arg)
{
	if (pipeline_name != NULL)
		errcontext("tapdata pipeline \"%s\"", pipeline_name);
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
		pipeline_name = MemoryContextStrdup(TopMemoryContext, row->name);
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
									pipeline_name);

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
	started_at = GetCurrentTimestamp();

	tap_worker_signals();
	if (!tap_process_attach(&args))
		proc_exit(0);
	tap_worker_shared = tap_process_pipeline_entry(args.database, args.pipeline);
	previous_emit_log_hook = emit_log_hook;
	emit_log_hook = see_fatal;
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
		report_exit(TAP_EXIT_RESTART, NULL);
	}
	PG_CATCH();
	{
		end_with_error(context);
	}
	PG_END_TRY();
	proc_exit(0);
}
