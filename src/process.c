/*-------------------------------------------------------------------------
 *
 * src/process.c
 *	  The table of tapdata's processes, their databases, holds and wakes.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "compat.h"
#include "guc.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long a command waits for the processes of a pipeline to end. */
#define STOP_TIMEOUT_MS		60000

/* Databases that are only held, or looked at while the launcher starts. */
#define SPARE_DATABASES		16

TapDatabaseShared *tap_process_database = NULL;

/* This process's entry; NULL unless attached. */
static TapProcessShared *my_process = NULL;

/* What is left to do when the current transaction ends. */
typedef enum TapEndKind
{
	TAP_END_RELEASE_DATABASE,
	TAP_END_RELEASE_PIPELINE,
	TAP_END_FORGET_PIPELINE,
	TAP_END_FORGET_TABLE
} TapEndKind;

typedef struct TapEndAction
{
	TapEndKind	kind;
	Oid			database;		/* TAP_END_RELEASE_DATABASE only */
	int32		id;				/* the others: of the pipeline or table */
	SubTransactionId subxact;
	struct TapEndAction *next;
} TapEndAction;

/* In TopTransactionContext. */
static TapEndAction *end_actions = NULL;
static bool wake_at_commit = false;

int
tap_process_max_databases(void)
{
	return tap_guc_max_pipelines + SPARE_DATABASES;
}

int
tap_process_max_processes(void)
{
	return max_worker_processes + 1;
}

/*
 * The entry of a database, made when there is none; NULL when there is no
 * room.  The lock is held exclusively.
 */
static TapDatabaseShared *
claim_database(Oid database)
{
	TapDatabaseShared *free = NULL;

	for (int i = 0; i < tap_shared->ndatabases; i++)
	{
		TapDatabaseShared *entry = &tap_shared->databases[i];

		if (entry->in_use && entry->database == database)
			return entry;
		if (!entry->in_use ||
			(entry->holds == 0 && entry->users == 0 && !entry->requested &&
			 entry->supervisor == TAP_SUPERVISOR_NONE))
			free = entry;
	}

	if (free != NULL)
	{
		free->in_use = true;
		free->database = database;
		free->holds = 0;
		free->users = 0;
		free->requested = false;
		free->settled = false;
		free->obstacle = TAP_OBSTACLE_NONE;
		free->supervisor = TAP_SUPERVISOR_NONE;
		free->supervisor_latch = NULL;
	}
	return free;
}

/* The entry of a pipeline; NULL: none.  The lock is held. */
static TapPipelineShared *
find_pipeline(Oid database, int32 pipeline)
{
	for (int i = 0; i < tap_shared->npipelines; i++)
	{
		TapPipelineShared *entry = &tap_shared->pipelines[i];

		if (entry->in_use && entry->database == database &&
			entry->pipeline == pipeline)
			return entry;
	}
	return NULL;
}

/* Find a process; pid 0: any.  The lock is held. */
static TapProcessShared *
find_process(TapProcessKind kind, Oid database, int32 pipeline, int32 table,
			 pid_t pid)
{
	for (int i = 0; i < tap_shared->nprocesses; i++)
	{
		TapProcessShared *process = &tap_shared->processes[i];

		if (process->in_use && process->kind == kind &&
			process->database == database && process->pipeline == pipeline &&
			(table == 0 || process->table == table) &&
			(pid == 0 || process->pid == pid))
			return process;
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Coming and going
 * ---------------------------------------------------------------------
 */

/*
 * Whether this process may run now.  The lock is held exclusively.
 */
static bool
may_attach(const TapWorkerArgs *args, TapDatabaseShared *database)
{
	TapPipelineShared *pipeline;

	if (args->kind == TAP_PROCESS_LAUNCHER)
		return true;
	if (database == NULL)
		return false;

	if (args->kind == TAP_PROCESS_SUPERVISOR)
	{
		if (database->supervisor_latch != NULL)
			return false;
		if (database->holds > 0)
		{
			/* The release of the hold asks for it again. */
			database->supervisor = TAP_SUPERVISOR_NONE;
			return false;
		}
		return true;
	}

	if (database->holds > 0)
		return false;
	pipeline = find_pipeline(args->database, args->pipeline);
	if (pipeline != NULL && pipeline->holds > 0)
		return false;

	if (args->kind == TAP_PROCESS_PIPELINE)
		return find_process(TAP_PROCESS_PIPELINE, args->database,
							args->pipeline, 0, 0) == NULL;

	/* A helper without its leader would work for nobody. */
	return find_process(TAP_PROCESS_PIPELINE, args->database, args->pipeline,
						0, args->leader_pid) != NULL ||
		find_process(TAP_PROCESS_SYNC, args->database, args->pipeline,
					 0, args->leader_pid) != NULL;
}

/*
 * Take this process's supervisor or worker pointers out of what it shares.
 * The lock is held exclusively.
 */
static void
withdraw(void)
{
	TapDatabaseShared *database = tap_process_database;
	TapPipelineShared *pipeline;

	if (my_process->kind == TAP_PROCESS_LAUNCHER)
	{
		tap_shared->launcher_latch = NULL;
		return;
	}

	database->users--;
	if (my_process->kind == TAP_PROCESS_SUPERVISOR)
	{
		/* Once it has decided to leave, another may have taken its place. */
		if (database->supervisor_latch == my_process->latch)
		{
			/* Who is sent away by a hold comes back when it is released. */
			database->supervisor_latch = NULL;
			database->supervisor = database->holds > 0 ?
				TAP_SUPERVISOR_NONE : TAP_SUPERVISOR_FAILED;
		}
		if (tap_shared->launcher_latch != NULL)
			SetLatch(tap_shared->launcher_latch);
		return;
	}

	pipeline = find_pipeline(my_process->database, my_process->pipeline);
	if (pipeline != NULL)
	{
		SpinLockAcquire(&pipeline->mutex);
		if (pipeline->worker_pid == MyProcPid)
		{
			pipeline->worker_pid = 0;
			pipeline->worker_latch = NULL;
		}
		SpinLockRelease(&pipeline->mutex);
		ConditionVariableBroadcast(&pipeline->moved);
	}
}

/*
 * Leave the table.  Being registered before the process connected, this runs
 * after its transaction was aborted and its locks were released.
 */
static void
detach(int code, Datum arg)
{
	LWLockReleaseAll();
	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	withdraw();
	my_process->in_use = false;

	/* A new supervisor has no other way to learn of its forerunner's workers. */
	if (tap_process_database != NULL &&
		tap_process_database->supervisor_latch != NULL)
		SetLatch(tap_process_database->supervisor_latch);
	LWLockRelease(tap_shared->lock);

	my_process = NULL;
	ConditionVariableBroadcast(&tap_shared->process_gone);
}

/* Enter this process.  The lock is held exclusively. */
static void
enter(TapProcessShared *process, const TapWorkerArgs *args,
	  TapDatabaseShared *database)
{
	process->kind = args->kind;
	process->pid = MyProcPid;
	process->database = args->database;
	process->pipeline = args->pipeline;
	process->table = args->table;
	process->latch = &MyProc->procLatch;
	process->in_use = true;

	if (args->kind == TAP_PROCESS_LAUNCHER)
		tap_shared->launcher_latch = process->latch;
	else
		database->users++;

	if (args->kind == TAP_PROCESS_SUPERVISOR)
	{
		database->requested = false;
		database->settled = false;
		database->obstacle = TAP_OBSTACLE_NONE;
		database->supervisor = TAP_SUPERVISOR_RUNNING;
		database->supervisor_latch = process->latch;
	}
	my_process = process;
	tap_process_database = database;
}

bool
tap_process_attach(const TapWorkerArgs *args)
{
	TapDatabaseShared *database = NULL;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	if (args->kind != TAP_PROCESS_LAUNCHER)
		database = claim_database(args->database);
	if (may_attach(args, database))
	{
		for (int i = 0; i < tap_shared->nprocesses && my_process == NULL; i++)
		{
			if (!tap_shared->processes[i].in_use)
				enter(&tap_shared->processes[i], args, database);
		}
	}
	LWLockRelease(tap_shared->lock);

	if (my_process == NULL)
		return false;
	before_shmem_exit(detach, (Datum) 0);
	return true;
}

TapPipelineShared *
tap_process_pipeline_entry(Oid database, int32 pipeline)
{
	TapPipelineShared *entry;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	entry = find_pipeline(database, pipeline);
	LWLockRelease(tap_shared->lock);
	return entry;
}

bool
tap_process_runs(TapProcessKind kind, int32 pipeline, int32 table)
{
	bool		runs;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	runs = find_process(kind, MyDatabaseId, pipeline, table, 0) != NULL;
	LWLockRelease(tap_shared->lock);
	return runs;
}

bool
tap_process_pipeline_held(int32 pipeline)
{
	TapPipelineShared *entry;
	bool		held;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	entry = find_pipeline(MyDatabaseId, pipeline);
	held = entry != NULL && entry->holds > 0;
	LWLockRelease(tap_shared->lock);
	return held;
}

/* ---------------------------------------------------------------------
 * Launcher and supervisors
 * ---------------------------------------------------------------------
 */

bool
tap_process_supervisor_leave(uint64 seen_changes)
{
	TapDatabaseShared *database = tap_process_database;
	bool		leave;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	leave = pg_atomic_read_u64(&database->changes) == seen_changes;
	if (leave)
	{
		database->supervisor = TAP_SUPERVISOR_NONE;
		database->settled = true;

		/* From here on a change has the launcher start another one. */
		database->supervisor_latch = NULL;
	}
	LWLockRelease(tap_shared->lock);
	return leave;
}

void
tap_process_supervisor_settled(void)
{
	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	tap_process_database->settled = true;
	if (tap_shared->launcher_latch != NULL)
		SetLatch(tap_shared->launcher_latch);
	LWLockRelease(tap_shared->lock);
}

bool
tap_process_request(Oid database)
{
	TapDatabaseShared *entry;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = claim_database(database);
	if (entry != NULL && entry->supervisor != TAP_SUPERVISOR_RUNNING)
		entry->requested = true;
	LWLockRelease(tap_shared->lock);
	return entry != NULL;
}

bool
tap_process_next_wanted(int *index, Oid *database, bool *failed)
{
	bool		found = false;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	while (!found && *index < tap_shared->ndatabases)
	{
		TapDatabaseShared *entry = &tap_shared->databases[(*index)++];

		if (!entry->in_use || entry->holds > 0)
			continue;
		*failed = entry->supervisor == TAP_SUPERVISOR_FAILED;
		found = *failed ||
			(entry->requested && entry->supervisor == TAP_SUPERVISOR_NONE);
		*database = entry->database;
	}
	LWLockRelease(tap_shared->lock);
	return found;
}

void
tap_process_set_supervisor(Oid database, TapSupervisorState state)
{
	TapDatabaseShared *entry;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = claim_database(database);
	if (entry != NULL && entry->supervisor_latch == NULL)
	{
		entry->supervisor = state;
		entry->requested = false;
		entry->settled = false;
	}
	LWLockRelease(tap_shared->lock);
}

TapSupervisorState
tap_process_supervisor(Oid database, bool *settled)
{
	TapDatabaseShared *entry;
	TapSupervisorState state = TAP_SUPERVISOR_NONE;

	*settled = true;
	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = claim_database(database);
	if (entry != NULL)
	{
		state = entry->supervisor;
		*settled = entry->settled;
	}
	LWLockRelease(tap_shared->lock);
	return state;
}

void
tap_process_set_obstacle(Oid database, TapObstacle obstacle)
{
	TapDatabaseShared *entry;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = claim_database(database);
	if (entry != NULL)
		entry->obstacle = obstacle;
	LWLockRelease(tap_shared->lock);
}

const char *
tap_shmem_obstacle(void)
{
	TapObstacle obstacle = TAP_OBSTACLE_NONE;

	if (tap_shared == NULL)
		return "tapdata is not in shared_preload_libraries";
	if (!tap_guc_enabled)
		return "tapdata.enabled is off";
	if (RecoveryInProgress())
		return "the server is a standby; pipelines run on the primary";

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	for (int i = 0; i < tap_shared->ndatabases; i++)
	{
		TapDatabaseShared *entry = &tap_shared->databases[i];

		if (entry->in_use && entry->database == MyDatabaseId)
			obstacle = entry->obstacle;
	}
	LWLockRelease(tap_shared->lock);

	switch (obstacle)
	{
		case TAP_OBSTACLE_NO_SLOT:
			return "no background worker slot is free; hint: Raise max_worker_processes and restart the server.";
		case TAP_OBSTACLE_TEMPLATE:
			return "the database is a template, or allows no connections";
		case TAP_OBSTACLE_NONE:
			break;
	}
	return NULL;
}

void
tap_process_reset_starts(void)
{
	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < tap_shared->ndatabases; i++)
	{
		TapDatabaseShared *entry = &tap_shared->databases[i];

		if (entry->in_use && entry->supervisor == TAP_SUPERVISOR_STARTING)
		{
			entry->supervisor = TAP_SUPERVISOR_NONE;
			entry->requested = true;
		}
	}
	LWLockRelease(tap_shared->lock);
}

/* ---------------------------------------------------------------------
 * Wakes and holds
 * ---------------------------------------------------------------------
 */

/* Have everybody of a database look again, the launcher if nobody runs. */
static void
wake_database(Oid database)
{
	TapDatabaseShared *entry;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = claim_database(database);
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
	action->next = end_actions;
	end_actions = action;
}

bool
tap_process_hold_database(Oid database, long timeout_ms)
{
	TapDatabaseShared *entry;

	/* Noted first: releasing is safe without having, but not the reverse. */
	at_end(TAP_END_RELEASE_DATABASE, database, 0);

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = claim_database(database);
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

void
tap_shmem_stop_pipeline(int32 pipeline)
{
	TapPipelineShared *entry;

	if (tap_shared == NULL)
		return;

	entry = tap_shmem_pipeline(pipeline, true);
	at_end(TAP_END_RELEASE_PIPELINE, InvalidOid, pipeline);
	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry->holds++;
	LWLockRelease(tap_shared->lock);

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
		claim_database(database)->holds--;
	else
	{
		TapPipelineShared *entry = find_pipeline(MyDatabaseId, action->id);

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
	for (TapEndAction *action = actions; commit && action != NULL;
		 action = action->next)
	{
		if (action->kind == TAP_END_FORGET_PIPELINE)
			tap_shmem_free_pipeline(action->id);
		else if (action->kind == TAP_END_FORGET_TABLE)
			tap_shmem_free_table(action->id);
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

/* What an aborted subtransaction wanted to forget is still there. */
static void
subtransaction_callback(SubXactEvent event, SubTransactionId subxact,
						SubTransactionId parent, void *arg)
{
	TapEndAction **link = &end_actions;

	while (*link != NULL)
	{
		TapEndAction *action = *link;

		if (action->subxact == subxact && event == SUBXACT_EVENT_COMMIT_SUB)
			action->subxact = parent;
		if (action->subxact == subxact && event == SUBXACT_EVENT_ABORT_SUB &&
			(action->kind == TAP_END_FORGET_PIPELINE ||
			 action->kind == TAP_END_FORGET_TABLE))
			*link = action->next;
		else
			link = &action->next;
	}
}

void
tap_process_install(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}
