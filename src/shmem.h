/*-------------------------------------------------------------------------
 *
 * src/shmem.h
 *	  What tapdata's processes share.
 *
 * NOTES
 * 	  TapShared.lock (an LWLock) protects which entries are in use.  Fields of
 * 	  an entry say what protects them.  Nothing is allocated, no catalog is
 * 	  read and nothing is waited for while it is held.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_SHMEM_H
#define TAPDATA_SHMEM_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/s_lock.h"
#include "storage/spin.h"

/* The state column of tapdata.status, in its order. */
typedef enum TapPipelineState
{
	TAP_STATE_STOPPED,
	TAP_STATE_STARTING,
	TAP_STATE_SNAPSHOT,
	TAP_STATE_CATCHUP,
	TAP_STATE_STREAMING,
	TAP_STATE_FAILED,
	TAP_STATE_RETRYING
} TapPipelineState;

/* How a pipeline worker ended, for the supervisor to decide what is next. */
typedef enum TapWorkerExit
{
	TAP_EXIT_UNKNOWN,			/* it has not, or died without a word */
	TAP_EXIT_RESTART,			/* start it again at once, if it is to run */
	TAP_EXIT_RETRY,				/* an error that passes by itself */
	TAP_EXIT_FAILED				/* an error that a person has to mend */
} TapWorkerExit;

#define TAP_POSITION_MAX_BYTES	4096
#define TAP_ERROR_MAX_BYTES		1024

/*
 * The live side of one pipeline.  An entry is claimed by tap_shmem_pipeline()
 * and freed when the pipeline is dropped; it survives the pipeline's worker.
 */
typedef struct TapPipelineShared
{
	/* Written under TapShared.lock exclusively; read under it shared. */
	bool		in_use;
	Oid			database;
	int32		pipeline;		/* pipeline.id */
	int			holds;			/* transactions that keep its processes out */

	/* Counters: written by the pipeline's processes, read by anyone. */
	pg_atomic_uint64 rows_copied;
	pg_atomic_uint64 rows_estimated;
	pg_atomic_uint64 inserts;
	pg_atomic_uint64 updates;
	pg_atomic_uint64 deletes;
	pg_atomic_uint64 transactions;
	pg_atomic_uint64 bytes;
	pg_atomic_uint64 restarts;	/* written by the supervisor */
	pg_atomic_uint64 lag_bytes; /* PG_UINT64_MAX: unknown */

	/* All of the rest: written and read under mutex. */
	slock_t		mutex;
	TapPipelineState state;		/* written by supervisor and worker */
	pid_t		worker_pid;		/* 0: none runs */
	Latch	   *worker_latch;	/* of the worker's PGPROC, NULL: none runs */
	TimestampTz since;			/* of state */
	TimestampTz last_commit_at; /* source's clock; of the newest hub commit */
	TimestampTz applied_at;		/* our clock; when it became visible */
	bool		behind;			/* the worker has more to read than applied */
	TimestampTz behind_since;	/* when the oldest of it was committed; 0: not
								 * known, later than last_commit_at */
	TapWorkerExit exit;			/* of the last worker; reset at a start */
	bool		exit_recorded;	/* its failure is in the catalog already */
	bool		exit_healthy;	/* it had worked well for a while */
	uint64		exit_changes;	/* TapDatabaseShared.changes when it reported
								 * its end */
	int			internal_errors;	/* shortly after each other; written by
									 * workers */
	TimestampTz internal_error_at;	/* the newest of them */

	/*
	 * Everything up to reached_position is applied and committed in the hub;
	 * it runs ahead of the stored position over transactions that touch no
	 * table of ours.  Empty: unknown.  Longer ones than fit are stored in the
	 * catalog at each step, and position_is_stored is set.
	 */
	char		reached_position[TAP_POSITION_MAX_BYTES];
	bool		position_is_stored;
	char		source_position[TAP_POSITION_MAX_BYTES];	/* as last heard */
	char		last_error[TAP_ERROR_MAX_BYTES];	/* empty: none */

	/* Why the stream stands still within its session; empty: it does not. */
	char		delay[TAP_ERROR_MAX_BYTES];
	TimestampTz delayed_since;

	/*
	 * A table that was added later is handed over at a moment when the
	 * pipeline's stream stands still; see pull_sync.c.
	 */
	int			join_waiting;	/* sync workers that want to hand over;
								 * written by them */
	TimestampTz awaited_at;		/* when somebody last began to wait; 0: none */
	bool		paused;			/* the stream stands at reached_position and
								 * waits for them; written by the pipeline
								 * worker */

	/* Broadcast after each change of state, reached_position or paused. */
	ConditionVariable moved;
} TapPipelineShared;

/* Counters of one table; the key is (database, pipeline_table.id). */
typedef struct TapTableShared
{
	struct
	{
		Oid			database;
		int32		table;
	}			key;
	/* written by the pipeline's processes, read by anyone */
	pg_atomic_uint64 rows_copied;
	pg_atomic_uint64 rows_estimated;
	pg_atomic_uint64 inserts;
	pg_atomic_uint64 updates;
	pg_atomic_uint64 deletes;
	pg_atomic_uint64 truncates;
} TapTableShared;

/* Install the hooks that reserve and initialize; from _PG_init(). */
extern void tap_shmem_install(void);

/* Whether shared memory is there, that is, the library was preloaded. */
extern bool tap_shmem_available(void);

/* Raise an error with a hint when it is not. */
extern void tap_shmem_require(void);

/*
 * The entry of a pipeline of this database; created when create is set.
 * NULL: none.  Raises ERRCODE_CONFIGURATION_LIMIT_EXCEEDED when all
 * tapdata.max_pipelines are taken.
 */
extern TapPipelineShared *tap_shmem_pipeline(int32 pipeline, bool create);

/*
 * Make sure that a pipeline which is to run has an entry, or raise the error;
 * an entry that is made is freed again if the current transaction aborts.
 */
extern void tap_shmem_reserve_pipeline(int32 pipeline);

/* Free a pipeline's entry when the current transaction commits. */
extern void tap_shmem_forget_pipeline(int32 pipeline);

/* The counters of a table; NULL when tapdata.max_tables are taken. */
extern TapTableShared *tap_shmem_table(int32 table, bool create);

/* Free a table's counters when the current transaction commits. */
extern void tap_shmem_forget_table(int32 table);

/* Free all entries of a database that is gone, or has no extension. */
extern void tap_shmem_forget_database(Oid database);

/*
 * Set state, and since; wakes those who wait for the pipeline.  Coming to
 * stream clears last_error, a state that is none of running clears delay.
 */
extern void tap_shmem_set_state(TapPipelineShared *shared, TapPipelineState state);

/* Set last_error, shortened to what fits; NULL or empty: none. */
extern void tap_shmem_set_error(TapPipelineShared *shared, const char *error);

/* The same of delay, and since when. */
extern void tap_shmem_set_delayed(TapPipelineShared *shared, const char *why);

/* Whether a pipeline in that state copies or streams. */
extern bool tap_shmem_is_running(TapPipelineState state);

/*
 * Set the position that is committed in the hub, or the one the source is at;
 * the first wakes those who wait for the pipeline.
 */
extern void tap_shmem_set_reached(TapPipelineShared *shared, const char *position,
								  TimestampTz source_commit_time, bool behind);

/*
 * Somebody waits for the pipeline: its worker is woken up.  The second says
 * when that was last; 0: never.
 */
extern void tap_shmem_set_awaited(TapPipelineShared *shared);
extern TimestampTz tap_shmem_awaited_at(TapPipelineShared *shared);

/* When the oldest transaction was committed that is under way; 0: none. */
extern void tap_shmem_set_behind_since(TapPipelineShared *shared, TimestampTz since);

/*
 * The position that is committed in the hub, in the current context; NULL:
 * unknown.  One that is too long for shared memory is read from the catalog,
 * in a transaction of its own if there is none.
 */
extern char *tap_shmem_reached(TapPipelineShared *shared);
extern void tap_shmem_set_source_position(TapPipelineShared *shared,
										  const char *position);

/* As the state column shows it; a constant. */
extern const char *tap_shmem_state_name(TapPipelineState state);

/*
 * Requests between processes.  All are safe without a running recipient.
 */

/*
 * At commit of the current transaction wake this database's supervisor (or
 * have the launcher start one), and all workers of its pipelines, so that
 * they read the catalog again.
 */
extern void tap_shmem_wake_at_commit(void);

/*
 * Why a pipeline of this database cannot run now, a constant for the user to
 * read; NULL: nothing is in the way.
 */
extern const char *tap_shmem_obstacle(int32 pipeline);

/*
 * Terminate the processes of a pipeline of this database, wait until they are
 * gone and have released their locks, and keep the supervisor from starting
 * new ones until the current transaction ends.  Raises ERRCODE_OBJECT_IN_USE
 * when one does not end in time.
 */
extern void tap_shmem_stop_pipeline(int32 pipeline);

#endif							/* TAPDATA_SHMEM_H */
