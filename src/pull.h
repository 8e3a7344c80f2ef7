/*-------------------------------------------------------------------------
 *
 * src/pull.h
 *	  The pull pipeline worker.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PULL_H
#define TAPDATA_PULL_H

#include "postgres.h"

#include "catalog.h"

/* Run a pull pipeline until the process is told to stop. */
extern void tap_pull_main(int32 pipeline);

/* Copy and catch up one table that joins a running stream. */
extern void tap_pull_sync_main(int32 pipeline, int32 table);

/*
 * Whether a table is not to be added; wanted are the names that will be, List
 * of TapTableName *.
 */
typedef bool (*TapLeaveOut) (void *arg, const TapTableName *name, List *wanted);

/*
 * Find tables that match the pipeline's patterns and are not yet part of it,
 * create their hub tables and rows of tapdata.pipeline_table.  Used by the
 * commands, with a session of TAP_PURPOSE_DISCOVER.  leave_out, unless NULL,
 * is asked of each by its name.  Returns how many were added.
 */
struct TapOpenSession;
extern int	tap_pull_add_matching(const TapPipelineRow *pipeline,
								  struct TapOpenSession *session,
								  TapLeaveOut leave_out, void *arg);

#endif							/* TAPDATA_PULL_H */
