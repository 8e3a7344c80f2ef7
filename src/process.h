/*-------------------------------------------------------------------------
 *
 * src/process.h
 *	  Who runs where: tapdata's processes, their databases, holds and wakes.
 *
 * NOTES
 *	  Every process of tapdata attaches before it connects to its database and
 *	  detaches after its transaction has been aborted and its locks released;
 *	  so "not in the table" means "touches nothing any more".
 *
 *	  A hold keeps the processes of a database or pipeline out until the end of
 *	  the transaction that took it.  A process that attaches while there is a
 *	  hold leaves at once; one that is attached is sent SIGTERM.  Together they
 *	  leave no gap: attaching and taking a hold are serialized by the lock.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PROCESS_H
#define TAPDATA_PROCESS_H

#include "postgres.h"

#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "shmem.h"
#include "worker.h"

/* Where the supervisor of a database stands. */
typedef enum TapSupervisorState
{
	TAP_SUPERVISOR_NONE,		/* never ran, or found nothing to run */
	TAP_SUPERVISOR_STARTING,	/* the launcher has asked for it */
	TAP_SUPERVISOR_RUNNING,
	TAP_SUPERVISOR_FAILED		/* ended by an error, or was terminated */
} TapSupervisorState;

/* What keeps the launcher from starting a supervisor. */
typedef enum TapObstacle
{
	TAP_OBSTACLE_NONE,
	TAP_OBSTACLE_NO_SLOT,		/* max_worker_processes are running */
	TAP_OBSTACLE_TEMPLATE		/* a template, or allows no connections */
} TapObstacle;

/*
 * A database that has, or had, something to run.  All fields but changes are
 * read and written under TapShared.lock.
 */
typedef struct TapDatabaseShared
{
	bool		in_use;
	Oid			database;
	int			holds;			/* transactions that keep processes out */
	int			users;			/* processes attached */
	bool		requested;		/* the launcher shall start a supervisor */
	bool		settled;		/* the supervisor has seen what is to run */
	TapObstacle obstacle;		/* why the launcher could not start it */
	TapSupervisorState supervisor;
	Latch	   *supervisor_latch;	/* NULL: not attached */

	/* Counts calls of tap_shmem_wake_at_commit(); read by anyone. */
	pg_atomic_uint64 changes;
} TapDatabaseShared;

/* A running process; all under TapShared.lock. */
typedef struct TapProcessShared
{
	bool		in_use;
	TapProcessKind kind;
	pid_t		pid;
	Oid			database;		/* InvalidOid: the launcher */
	int32		pipeline;		/* 0: launcher or supervisor */
	int32		table;			/* sync and snapshot */
	Latch	   *latch;			/* of its PGPROC */
} TapProcessShared;

/* A decoder's place among those that are woken at commit; see decode_wait.c. */
typedef struct TapWalWaiter
{
	pid_t		pid;			/* 0: free; taken under TapShared.lock, given
								 * back by its owner */
	Oid			database;		/* written by the owner while waiting is 0 */
	Latch	   *latch;			/* the same; stays valid when it is free */
	pg_atomic_uint32 waiting;	/* 1: set the latch at commit; set by the
								 * decoder, reset by who wakes it */
} TapWalWaiter;

/* The fixed part of shared memory; the arrays follow it. */
typedef struct TapShared
{
	LWLock	   *lock;
	Latch	   *launcher_latch; /* NULL: not running; under lock */
	ConditionVariable process_gone; /* broadcast when a process has left */
	int			npipelines;
	int			ndatabases;
	int			nprocesses;
	TapPipelineShared *pipelines;
	TapDatabaseShared *databases;
	TapProcessShared *processes;
	TapWalWaiter *waiters;		/* npipelines of them */
	int			nwaiters_used;	/* only grows; under lock, read by anyone */
	pg_atomic_uint32 waiting;	/* how many waiters wait */
} TapShared;

/* NULL when the library was not preloaded. */
extern TapShared *tap_shared;

/* How many entries the two arrays need that process.c looks after. */
extern int	tap_process_max_databases(void);
extern int	tap_process_max_processes(void);

/*
 * Enter this process in the table and register its leaving; call it before
 * connecting to a database.  False: there is a hold, or this process is one
 * too many (a second supervisor, a second worker of the pipeline), and has
 * nothing to do.
 */
extern bool tap_process_attach(const TapWorkerArgs *args);

/* This process's database; NULL unless attached to one. */
extern TapDatabaseShared *tap_process_database;

/*
 * The entry of a pipeline; for a process that is not connected yet, others
 * call tap_shmem_pipeline().  NULL: none.
 */
extern TapPipelineShared *tap_process_pipeline_entry(Oid database, int32 pipeline);

/*
 * Whether a process of the kind runs for the pipeline of this database
 * (table 0: any).
 */
extern bool tap_process_runs(TapProcessKind kind, int32 pipeline, int32 table);

/* Whether there is a hold on the pipeline of this database. */
extern bool tap_process_pipeline_held(int32 pipeline);

/*
 * A supervisor with nothing left to run leaves, unless something changed
 * since it read the counter; then false, and it has to look again.
 * comes_back: the launcher shall start another one, when it may.
 */
extern bool tap_process_supervisor_leave(uint64 seen_changes, bool comes_back);

/* The supervisor has seen what is to run; lets the launcher go on. */
extern void tap_process_supervisor_settled(void);

/*
 * Keep processes of a database out until the current transaction ends, and
 * wait until those there are gone, at most timeout_ms.  False on timeout.
 */
extern bool tap_hold_database(Oid database, long timeout_ms);

/* Have the launcher start a supervisor; false: no room in shared memory. */
extern bool tap_process_request(Oid database);

/*
 * The launcher's view: the next database from *index on whose supervisor is
 * wanted, or has failed.  Returns false when there is none.
 */
extern bool tap_process_next_wanted(int *index, Oid *database, bool *failed);

/* The launcher: note that a start is under way, or that there is no need. */
extern void tap_process_set_supervisor(Oid database, TapSupervisorState state);

/* The launcher: why it cannot start a supervisor. */
extern void tap_process_set_obstacle(Oid database, TapObstacle obstacle);

/* State and settled of a database's supervisor. */
extern TapSupervisorState tap_process_supervisor(Oid database, bool *settled);

/* The launcher after its own restart: forget starts nobody will finish. */
extern void tap_process_reset_starts(void);

/*
 * The parts of shmem.c that act at the end of a transaction: free an entry
 * that has no hold, or the counters of a table, now.
 */
extern void tap_shmem_free_pipeline(int32 pipeline);
extern void tap_shmem_free_table(int32 table);

/* As tap_shmem_pipeline() with create, but NULL when there is no room. */
extern TapPipelineShared *tap_shmem_try_pipeline(int32 pipeline);

/* The next pipeline of this database from *index on; 0: no more. */
extern int32 tap_shmem_next_pipeline(int *index);

/*
 * The entry of a database, made when there is none; NULL when there is no
 * room.  TapShared.lock is held exclusively.
 */
extern TapDatabaseShared *tap_process_claim_database(Oid database);

/* The entry of a pipeline; NULL: none.  TapShared.lock is held. */
extern TapPipelineShared *tap_process_find_pipeline(Oid database, int32 pipeline);

/* Install the transaction callbacks of hold.c; from _PG_init(). */
extern void tap_hold_install(void);

#endif							/* TAPDATA_PROCESS_H */
