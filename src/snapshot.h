/*-------------------------------------------------------------------------
 *
 * src/snapshot.h
 *	  Copies tables in chunks.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_SNAPSHOT_H
#define TAPDATA_SNAPSHOT_H

#include "postgres.h"

#include "catalog.h"
#include "connector_loader.h"

/*
 * Copy tables (List of TapTableRow *) that are new or half copied, with up to
 * the pipeline's "workers" processes, this one included.  Afterwards they
 * have their key and are in state TAP_TABLE_CATCHUP with start and end
 * positions set.  Runs its own transactions.
 */
extern void tap_snapshot_run(const TapPipelineRow *pipeline,
							 const TapConnectionRow *connection, List *tables);

/*
 * Why a table's copy is not one of this source any more, in the current
 * context; NULL: it is.  See TapSourceCallbacks.copy_lost.
 */
extern char *tap_snapshot_lost(const TapSourceCallbacks *source, TapSession *session,
							   const TapTableRow *row);

/* In a transaction: the table is to be copied from its beginning, and an event says why. */
extern void tap_snapshot_begin_again(const TapPipelineRow *pipeline, TapTableRow *row,
									 const char *why);

/* A snapshot worker: copy chunks of a table until none is left. */
extern void tap_snapshot_worker_main(int32 pipeline, int32 table);

#endif							/* TAPDATA_SNAPSHOT_H */
