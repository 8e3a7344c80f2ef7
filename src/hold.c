/*-------------------------------------------------------------------------
 *
 * src/hold.c
 *	  Wakes and holds: what a transaction does to processes when it ends.
 *
 * NOTES
 *	  A hold is released, an entry forgotten and a wake sent by the callback of
 *	  the transaction that asked for it.  The callback runs when the commit is
 *	  visible to others already, so that who is woken reads what was written.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "compat.h"
#include "miscadmin.h"
#include "process.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long a command waits for the processes of a pipeline to end. */
#define STOP_TIMEOUT_MS		60000

/* What is left to do when the current transaction ends. */
typedef enum TapEndKind
{
	TAP_END_RELEASE_DATABASE,
	TAP_END_RELEASE_PIPELINE,
	TAP_END_FORGET_PIPELINE,	/* at commit */
	TAP_END_FORGET_TABLE,		/* at commit */
	TAP_END_UNRESERVE_PIPELINE	/* at abort */
} TapEndKind;

typedef struct TapEndAction
{
	TapEndKind	kind;
	Oid			database;		/* TAP_END_RELEASE_DATABASE only */
	int32		id;				/* the others: of the pipeline or table */
	SubTransactionId subxact;
	bool		aborted;		/* the subtransaction that asked for it was */
	struct TapEndAction *next;
} TapEndAction;

/* In TopTransactionContext. */
static TapEndAction *end_actions = NULL;
static bool wake_at_commit = false;

/* Have everybody of a database look again, the launcher if nobody runs. */
static void
wake_database(Oid database)
{
	TapDatabaseShared *entry;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = tap_process_claim_database(database);
	if (entry != NULL)
	{
		pg_atomic_fetch_add_u64(&entry->changes, 1);
		if (entry->supervisor_latch == NULL &&
			entry->supervisor != TAP_SUPERVISOR_STARTING)
			entry->requested = true;
		if (entry->requested && tap_shared->launcher_latch != NULL)
			SetLatch(tap_shared->launcher_latch);
	}

	for (int i = 0; i < tap_shared->nprocesses; i++)
	{
		TapProcessShared *process = &tap_shared->processes[i];

		if (process->in_use && process->database == database)
			SetLatch(process->latch);
	}
	LWLockRelease(tap_shared->lock);
}

/* Send SIGTERM to the processes of a database or pipeline; returns how many. */
static int
terminate(Oid database, int32 pipeline)
{
	int			count = 0;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	for (int i = 0; i < tap_shared->nprocesses; i++)
	{
		TapProcessShared *process = &tap_shared->processes[i];

		if (!process->in_use || process->database != database ||
			(pipeline != 0 && process->pipeline != pipeline) ||
			process->pid == MyProcPid)
			continue;

		/* A process leaves the table before its pid can be another's. */
		(void) kill(process->pid, SIGTERM);
		count++;
	}
	LWLockRelease(tap_shared->lock);
	return count;
}

/* Terminate and wait until all are gone; false when the time is over. */
static bool
terminate_and_wait(Oid database, int32 pipeline, long timeout_ms)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   timeout_ms);
	bool		gone;

	ConditionVariablePrepareToSleep(&tap_shared->process_gone);
	while (!(gone = (terminate(database, pipeline) == 0)))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   deadline);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&tap_shared->process_gone,
										   Min(left, 1000),
										   tap_compat_wait_event("TapdataStop"));
	}
	ConditionVariableCancelSleep();
	return gone;
}

/* Note what is to be done at the end of the transaction. */
static void
at_end(TapEndKind kind, Oid database, int32 id)
{
	TapEndAction *action = MemoryContextAlloc(TopTransactionContext,
											  sizeof(TapEndAction));

	action->kind = kind;
	action->database = database;
	action->id = id;
	action->subxact = GetCurrentSubTransactionId();
	action->aborted = false;
	action->next = end_actions;
	end_actions = action;
}

bool
tap_hold_database(Oid database, long timeout_ms)
{
	TapDatabaseShared *entry;

	/* Noted first: it allocates memory, which can fail. */
	at_end(TAP_END_RELEASE_DATABASE, database, 0);

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = tap_process_claim_database(database);
	if (entry != NULL)
		entry->holds++;
	LWLockRelease(tap_shared->lock);

	if (entry == NULL)
	{
		end_actions = end_actions->next;
		return false;
	}
	return terminate_and_wait(database, 0, timeout_ms);
}

/* Take a hold on a pipeline of this database, whose entry is made if missing. */
static TapPipelineShared *
hold_pipeline(int32 pipeline)
{
	TapPipelineShared *entry;

	at_end(TAP_END_RELEASE_PIPELINE, InvalidOid, pipeline);
	do
	{
		/* Between the two a commit elsewhere may have freed the entry. */
		(void) tap_shmem_pipeline(pipeline, true);
		LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
		entry = tap_process_find_pipeline(MyDatabaseId, pipeline);
		if (entry != NULL)
			entry->holds++;
		LWLockRelease(tap_shared->lock);
	} while (entry == NULL);
	return entry;
}

void
tap_shmem_reserve_pipeline(int32 pipeline)
{
	if (tap_shmem_pipeline(pipeline, false) != NULL)
		return;

	/* Until the commit a supervisor takes it for one that was dropped. */
	at_end(TAP_END_UNRESERVE_PIPELINE, InvalidOid, pipeline);
	(void) hold_pipeline(pipeline);
}

void
tap_shmem_stop_pipeline(int32 pipeline)
{
	TapPipelineShared *entry;

	if (tap_shared == NULL)
		return;

	entry = hold_pipeline(pipeline);
	if (!terminate_and_wait(MyDatabaseId, pipeline, STOP_TIMEOUT_MS))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the pipeline's processes do not end"),
				 errdetail("They were told to %d seconds ago.",
						   STOP_TIMEOUT_MS / 1000),
				 errhint("See pg_stat_activity for what they wait for, and try again.")));

	/* It may have left its last state there. */
	tap_shmem_set_state(entry, TAP_STATE_STOPPED);
}

void
tap_shmem_forget_pipeline(int32 pipeline)
{
	if (tap_shared != NULL)
		at_end(TAP_END_FORGET_PIPELINE, InvalidOid, pipeline);
}

void
tap_shmem_forget_table(int32 table)
{
	if (tap_shared != NULL)
		at_end(TAP_END_FORGET_TABLE, InvalidOid, table);
}

void
tap_shmem_wake_at_commit(void)
{
	wake_at_commit = true;
}

/* Release a hold, and have the processes it kept out started again. */
static void
release(const TapEndAction *action)
{
	Oid			database = action->database;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	if (action->kind == TAP_END_RELEASE_DATABASE)
		tap_process_claim_database(database)->holds--;
	else
	{
		TapPipelineShared *entry = tap_process_find_pipeline(MyDatabaseId, action->id);

		database = MyDatabaseId;
		if (entry != NULL && entry->holds > 0)
			entry->holds--;
	}
	LWLockRelease(tap_shared->lock);
	wake_database(database);
}

/* Do what was noted; frees nothing, the memory is the transaction's. */
static void
end_transaction(bool commit)
{
	TapEndAction *actions = end_actions;

	/* An error in here must not lead here again. */
	end_actions = NULL;

	for (TapEndAction *action = actions; action != NULL; action = action->next)
	{
		if (action->kind == TAP_END_RELEASE_DATABASE ||
			action->kind == TAP_END_RELEASE_PIPELINE)
			release(action);
	}
	for (TapEndAction *action = actions; action != NULL; action = action->next)
	{
		bool		undone = !commit || action->aborted;

		if (action->kind == TAP_END_FORGET_PIPELINE && !undone)
			tap_shmem_free_pipeline(action->id);
		else if (action->kind == TAP_END_FORGET_TABLE && !undone)
			tap_shmem_free_table(action->id);
		else if (action->kind == TAP_END_UNRESERVE_PIPELINE && undone)
			tap_shmem_free_pipeline(action->id);
	}

	if (commit && wake_at_commit && tap_shared != NULL)
		wake_database(MyDatabaseId);
	wake_at_commit = false;
}

static void
transaction_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			end_transaction(true);
			break;
		case XACT_EVENT_ABORT:
			end_transaction(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (end_actions != NULL || wake_at_commit)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot prepare a transaction that has changed pipelines")));
			break;
		default:
			break;
	}
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId subxact,
						SubTransactionId parent, void *arg)
{
	for (TapEndAction *action = end_actions; action != NULL; action = action->next)
	{
		if (action->subxact != subxact)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			action->subxact = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			action->aborted = true;
	}
}

void
tap_hold_install(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}
