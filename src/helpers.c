/*-------------------------------------------------------------------------
 *
 * src/helpers.c
 *	  Processes that a pipeline worker starts to copy tables for it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

#include "helpers.h"

struct TapHelper
{
	BackgroundWorkerHandle *handle;
	int32		table;
};

static List *helpers = NIL;		/* of TapHelper *, in TopMemoryContext */

static void
terminate_helpers(int code, Datum arg)
{
	ListCell   *cell;

	foreach(cell, helpers)
		TerminateBackgroundWorker(((TapHelper *) lfirst(cell))->handle);
	helpers = NIL;
}

TapHelper *
tap_helper_start(TapProcessKind kind, int32 table, const char *pipeline_name)
{
	static bool registered = false;
	TapWorkerArgs args = *tap_worker_args;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	TapHelper  *helper = NULL;
	BackgroundWorkerHandle *handle;

	if (!registered)
		before_shmem_exit(terminate_helpers, (Datum) 0);
	registered = true;

	args.kind = kind;
	args.table = table;
	args.leader_pid = MyProcPid;
	handle = tap_worker_start(&args, pipeline_name);
	if (handle != NULL)
	{
		helper = palloc(sizeof(TapHelper));
		helper->handle = handle;
		helper->table = table;
		helpers = lappend(helpers, helper);
	}
	MemoryContextSwitchTo(old);
	return helper;
}

bool
tap_helper_running(TapHelper *helper)
{
	pid_t		pid;
	BgwHandleStatus status = GetBackgroundWorkerPid(helper->handle, &pid);

	return status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED;
}

int32
tap_helper_table(const TapHelper *helper)
{
	return helper->table;
}

void
tap_helper_wake(TapHelper *helper)
{
	pid_t		pid;
	PGPROC	   *proc;

	if (GetBackgroundWorkerPid(helper->handle, &pid) == BGWH_STARTED &&
		(proc = BackendPidGetProc(pid)) != NULL)
		SetLatch(&proc->procLatch);
}

void
tap_helper_wait(TapHelper *helper)
{
	WaitForBackgroundWorkerShutdown(helper->handle);
	CHECK_FOR_INTERRUPTS();
	tap_helper_forget(helper);
}

void
tap_helper_end_all(void)
{
	ListCell   *cell;

	foreach(cell, helpers)
		TerminateBackgroundWorker(((TapHelper *) lfirst(cell))->handle);
	while (helpers != NIL)
		tap_helper_wait(linitial(helpers));
}

void
tap_helper_forget(TapHelper *helper)
{
	helpers = list_delete_ptr(helpers, helper);
	pfree(helper->handle);
	pfree(helper);
}
