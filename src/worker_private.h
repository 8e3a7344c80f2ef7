/*-------------------------------------------------------------------------
 *
 * src/worker_private.h
 *	  What worker.c and worker_end.c share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_WORKER_PRIVATE_H
#define TAPDATA_WORKER_PRIVATE_H

#include "postgres.h"

#include "worker.h"

/* The pipeline's name once it is known, in TopMemoryContext; NULL before. */
extern const char *tap_worker_pipeline_name;

/*
 * The worker begins its work, with tap_worker_args and tap_worker_shared set:
 * errors that end the process at once are seen from now on.
 */
extern void tap_worker_watch_end(void);

/*
 * Leave word for the supervisor; a helper's end is its leader's affair.
 * error: the text for status, NULL: it keeps what it has.
 */
extern void tap_worker_report_exit(TapWorkerExit exit, const char *error);

/*
 * End the process with the error that is being handled, which is reported to
 * the log, the supervisor and the catalog.  context: of the worker, for what
 * this takes.
 */
extern void tap_worker_end_with_error(MemoryContext context) __attribute__((noreturn));

#endif							/* TAPDATA_WORKER_PRIVATE_H */
