/*-------------------------------------------------------------------------
 *
 * src/helpers.h
 *	  Processes that a pipeline worker starts to copy tables for it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_HELPERS_H
#define TAPDATA_HELPERS_H

#include "postgres.h"

#include "worker.h"

/* One helper process; allocated in TopMemoryContext. */
typedef struct TapHelper TapHelper;

/*
 * Start a snapshot or sync worker for this process's pipeline; table is
 * pipeline_table.id, or 0 for all.  NULL when no background worker slot is
 * free.  It is told to end when this process exits, however that happens.
 */
extern TapHelper *tap_helper_start(TapProcessKind kind, int32 table,
								   const char *pipeline_name);

/* Whether it runs, or will as soon as the postmaster comes to it. */
extern bool tap_helper_running(TapHelper *helper);

/* The table it was started for. */
extern int32 tap_helper_table(const TapHelper *helper);

/* Set its latch, if it runs. */
extern void tap_helper_wake(TapHelper *helper);

/* Wait until it has ended, and forget it. */
extern void tap_helper_wait(TapHelper *helper);

/* Tell all to end, and wait until they have. */
extern void tap_helper_end_all(void);

/* Forget one that has ended. */
extern void tap_helper_forget(TapHelper *helper);

#endif							/* TAPDATA_HELPERS_H */
