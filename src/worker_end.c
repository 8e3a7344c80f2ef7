/*-------------------------------------------------------------------------
 *
 * src/worker_end.c
 *	  How a worker ends, and how its supervisor learns of it.
 *
 * NOTES
 *	  How a pipeline worker ended is left in TapPipelineShared.exit for the
 *	  supervisor, who does not get to see exit codes.  An error is written to
 *	  the catalog by the worker itself, in a transaction of its own; if that
 *	  is not possible, the supervisor does it from shared memory.  Errors
 *	  before the worker is connected are FATAL and cannot be caught: they are
 *	  seen by way of emit_log_hook.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog.h"
#include "compat.h"
#include "errors.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "worker_private.h"

/*
 * A worker that worked for so long was healthy: the back-off starts anew.  So
 * was one that had come to the end of what there was to read, and stayed there
 * for a while: what fails at the same thing again and again does not.
 */
#define HEALTHY_MS		60000
#define SETTLED_MS		5000

/* So many internal errors, each so soon after the one before, may still pass. */
#define INTERNAL_ERRORS		3
#define INTERNAL_ERROR_MS	600000

static TimestampTz started_at = 0;

static emit_log_hook_type previous_emit_log_hook = NULL;

void
tap_worker_report_exit(TapWorkerExit exit, const char *error)
{
	TapPipelineShared *shared = tap_worker_shared;
	TimestampTz now = GetCurrentTimestamp();
	bool		seasoned = TimestampDifferenceExceeds(started_at, now, HEALTHY_MS);
	bool		settled;
	uint64		changes;

	if (shared == NULL || tap_worker_args->kind != TAP_PROCESS_PIPELINE)
		return;
	if (error != NULL)
		tap_shmem_set_error(shared, error);

	changes = pg_atomic_read_u64(&tap_process_database->changes);
	SpinLockAcquire(&shared->mutex);
	shared->exit = exit;
	shared->exit_changes = changes;
	settled = shared->state == TAP_STATE_STREAMING && shared->delay[0] == '\0' &&
		TimestampDifferenceExceeds(shared->since, now, SETTLED_MS);
	shared->exit_healthy = settled || (seasoned && tap_shmem_is_running(shared->state));
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
		tap_worker_report_exit(retry ? TAP_EXIT_RETRY : TAP_EXIT_FAILED, text);
	}
}

void
tap_worker_watch_end(void)
{
	started_at = GetCurrentTimestamp();
	previous_emit_log_hook = emit_log_hook;
	emit_log_hook = see_fatal;
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

			tap_catalog_insert_event(tap_worker_pipeline_name, table ? &table->source : NULL,
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

void
tap_worker_end_with_error(MemoryContext context)
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
	tap_worker_report_exit(failed ? TAP_EXIT_FAILED : TAP_EXIT_RETRY, text);
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
