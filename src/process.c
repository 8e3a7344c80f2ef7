/*-------------------------------------------------------------------------
 *
 * src/process.c
 *	  The table of tapdata's processes and their databases.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "guc.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/ipc.h"
#include "storage/proc.h"

/* Databases that are only held, or looked at while the launcher starts. */
#define SPARE_DATABASES		16

TapDatabaseShared *tap_process_database = NULL;

/* This process's entry; NULL unless attached. */
static TapProcessShared *my_process = NULL;

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

TapDatabaseShared *
tap_process_claim_database(Oid database)
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

TapPipelineShared *
tap_process_find_pipeline(Oid database, int32 pipeline)
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
	pipeline = tap_process_find_pipeline(args->database, args->pipeline);
	if (pipeline != NULL && pipeline->holds > 0)
		return false;

	if (args->kind == TAP_PROCESS_PIPELINE)
		return find_process(TAP_PROCESS_PIPELINE, args->database,
							args->pipeline, 0, 0) == NULL;

	/* One whose leader has died may be on its way out still. */
	if (args->kind == TAP_PROCESS_SYNC &&
		find_process(TAP_PROCESS_SYNC, args->database, args->pipeline,
					 args->table, 0) != NULL)
		return false;

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

	pipeline = tap_process_find_pipeline(my_process->database, my_process->pipeline);
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
 * Leave the table: after the transaction was aborted, and locks and a
 * replication slot were released, all of which is done before callbacks of
 * this kind.
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
		database = tap_process_claim_database(args->database);
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
	on_shmem_exit(detach, (Datum) 0);
	return true;
}

TapPipelineShared *
tap_process_pipeline_entry(Oid database, int32 pipeline)
{
	TapPipelineShared *entry;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	entry = tap_process_find_pipeline(database, pipeline);
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
	entry = tap_process_find_pipeline(MyDatabaseId, pipeline);
	held = entry != NULL && entry->holds > 0;
	LWLockRelease(tap_shared->lock);
	return held;
}

/* ---------------------------------------------------------------------
 * Launcher and supervisors
 * ---------------------------------------------------------------------
 */

bool
tap_process_supervisor_leave(uint64 seen_changes, bool comes_back)
{
	TapDatabaseShared *database = tap_process_database;
	bool		leave;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	leave = pg_atomic_read_u64(&database->changes) == seen_changes;
	if (leave)
	{
		database->supervisor = TAP_SUPERVISOR_NONE;
		database->settled = true;
		database->requested |= comes_back;

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
	entry = tap_process_claim_database(database);

	/* Also while one runs: it may be about to leave, having seen less. */
	if (entry != NULL)
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
	entry = tap_process_claim_database(database);
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
	entry = tap_process_claim_database(database);
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
	entry = tap_process_claim_database(database);
	if (entry != NULL)
		entry->obstacle = obstacle;
	LWLockRelease(tap_shared->lock);
}

const char *
tap_shmem_obstacle(int32 pipeline)
{
	TapObstacle obstacle = TAP_OBSTACLE_NONE;
	bool		room = false;

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
	for (int i = 0; i < tap_shared->npipelines && !room; i++)
		room = !tap_shared->pipelines[i].in_use;
	room = room || tap_process_find_pipeline(MyDatabaseId, pipeline) != NULL;
	LWLockRelease(tap_shared->lock);

	if (!room)
		return "there are more pipelines than tapdata.max_pipelines; hint: Raise it and restart the server.";
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
