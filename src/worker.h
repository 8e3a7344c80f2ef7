/*-------------------------------------------------------------------------
 *
 * src/worker.h
 *	  What every background process of tapdata does alike.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_WORKER_H
#define TAPDATA_WORKER_H

#include "postgres.h"

#include "connector.h"
#include "shmem.h"

/* The kinds of process, for bgw_type and the main argument. */
typedef enum TapProcessKind
{
	TAP_PROCESS_LAUNCHER,
	TAP_PROCESS_SUPERVISOR,
	TAP_PROCESS_PIPELINE,
	TAP_PROCESS_SYNC,			/* copies and catches up tables added later */
	TAP_PROCESS_SNAPSHOT		/* copies chunks */
} TapProcessKind;

/* Entry points of the dynamic background workers, found by name. */
extern PGDLLEXPORT void tap_launcher_main(Datum main_arg);
extern PGDLLEXPORT void tap_supervisor_main(Datum main_arg);
extern PGDLLEXPORT void tap_worker_main(Datum main_arg);

/*
 * What a supervisor, pipeline, sync or snapshot worker is told in bgw_extra.
 */
typedef struct TapWorkerArgs
{
	TapProcessKind kind;
	Oid			database;
	Oid			owner;
	int32		pipeline;
	int32		table;			/* sync and snapshot: pipeline_table.id */
	pid_t		leader_pid;		/* sync and snapshot: who started it */
} TapWorkerArgs;

/*
 * How a pipeline worker's main function ends: by an error, whose class tells
 * the supervisor what to do; or by returning, which means that the pipeline
 * shall be started again at once with its newest options, if it is to run.
 */

/* The arguments of this process; NULL in an ordinary backend. */
extern const TapWorkerArgs *tap_worker_args;

/* The shared entry of the pipeline this process works for; NULL elsewhere. */
extern TapPipelineShared *tap_worker_shared;

/*
 * Start a dynamic background worker that notifies this process.  Returns
 * NULL when no slot of max_worker_processes is free.  pipeline_name: NULL for
 * a supervisor.  The handle is palloc'd in TopMemoryContext; who starts a
 * worker has to terminate it when this process ends.
 */
struct BackgroundWorkerHandle;
extern struct BackgroundWorkerHandle *tap_worker_start(const TapWorkerArgs *args,
													   const char *pipeline_name);

/* Install the signal handlers; signals are still blocked. */
extern void tap_worker_signals(void);

/* The pause before the next try, after so many failures in a row before. */
extern int	tap_worker_backoff_ms(int failures);

/*
 * Wait until the latch is set, the socket (PGINVALID_SOCKET: none) is ready or
 * timeout_ms (-1: no limit) is over; resets the latch and processes
 * interrupts.  Returns WL_* flags.
 */
extern int	tap_worker_wait(pgsocket socket, int events, long timeout_ms);

/* The functions behind TapCore.wait_socket and wait_socket_quiet. */
extern int	tap_wait_socket(pgsocket socket, int events, long timeout_ms);
extern int	tap_wait_socket_quiet(pgsocket socket, int events, long timeout_ms);

/*
 * Whether the catalog may have changed since the last call: somebody called
 * tap_shmem_wake_at_commit().  Cheap.
 */
extern bool tap_worker_catalog_changed(void);

/*
 * Begin and end a transaction of a worker: statement timestamp, snapshot,
 * activity and statistics included.  CurrentMemoryContext is the caller's
 * again after the commit.
 */
extern void tap_worker_begin(void);
extern void tap_worker_commit(void);

#endif							/* TAPDATA_WORKER_H */
