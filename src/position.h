/*-------------------------------------------------------------------------
 *
 * src/position.h
 *	  Where a pipeline stands, updated with the rows it covers.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_POSITION_H
#define TAPDATA_POSITION_H

#include "postgres.h"

/* The stored position, in the current context; NULL: none yet. */
extern char *tap_position_read(int32 pipeline);

/*
 * Store a position in the current transaction.  A direct heap update of one
 * row without a changed index, cheap enough for each source transaction.
 * Sets the replication origin of the pipeline as the transaction's, so that
 * publishing can tell its rows from local ones.
 */
extern void tap_position_write(int32 pipeline, const char *position);

/*
 * Make the pipeline's replication origin this process's own, creating it if
 * missing; needs a transaction.  Call once per process.  Rows written by
 * this process are marked with it from then on, or with DoNotReplicateId where
 * the server has no more room for origins or another process owns it.
 */
extern void tap_position_setup_origin(int32 pipeline);

/* The name of a pipeline's replication origin; palloc'd. */
extern char *tap_position_origin_name(int32 pipeline);

/* Delete the stored position alone, for a new start from nothing. */
extern void tap_position_forget(int32 pipeline);

/* Drop the origin and the stored position; the pipeline must not run. */
extern void tap_position_drop(int32 pipeline);

#endif							/* TAPDATA_POSITION_H */
