/*-------------------------------------------------------------------------
 *
 * src/snapshot_private.h
 *	  What snapshot.c (the run of a copy) and snapshot_chunk.c (its parts)
 *	  share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_SNAPSHOT_PRIVATE_H
#define TAPDATA_SNAPSHOT_PRIVATE_H

#include "postgres.h"

#include "apply.h"
#include "snapshot.h"

/* A copy that this process takes part in. */
typedef struct TapSnapshot
{
	const TapPipelineRow *pipeline;
	const TapConnectionRow *connection;
	TapOptions *options;
	TapOpenSession *session;
	const TapSourceCallbacks *source;
	TapApply   *apply;
	int64		chunk_rows;
	bool		ignore_missing; /* ddl = ignore */
	bool		dead_letters;	/* on_error = dead_letter */
	MemoryContext context;		/* lives as long as the copy */
	MemoryContext chunk_context;	/* reset after each chunk */
} TapSnapshot;

/* ---- snapshot_chunk.c ---- */

extern TapSnapshot *tap_snapshot_create(const TapPipelineRow *pipeline,
										const TapConnectionRow *connection);
extern void tap_snapshot_destroy(TapSnapshot *snapshot);

/* The table's format now, in the copy's context; NULL when it is gone. */
extern TapSourceTable *tap_snapshot_describe(TapSnapshot *snapshot,
											 const TapTableRow *row);

/*
 * Empty the hub table and bring it to the source's format, or create it again
 * if it was dropped; in a transaction.  Changes *row.
 */
extern void tap_snapshot_renew_hub_table(TapSnapshot *snapshot, TapTableRow *row,
										 TapSourceTable *source);

/* Divide the table; its state becomes TAP_TABLE_COPYING. */
extern void tap_snapshot_plan(TapSnapshot *snapshot, TapTableRow *row,
							  TapSourceTable *source, char *start_position);

/* Copy chunks of the table until none can be claimed. */
extern void tap_snapshot_copy_chunks(TapSnapshot *snapshot, const TapTableRow *row);

/* A receiver that also turns rows that cannot be stored into dead letters. */
extern TapRowReceiver *tap_snapshot_receiver(TapSnapshot *snapshot,
											 const TapTableRow *row,
											 TapTarget *target);

/* All rows that it was given, counted now; before tap_apply_end(). */
extern int64 tap_snapshot_received(TapRowReceiver *receiver);

/* Add to the counters of progress. */
extern void tap_snapshot_count(TapSnapshot *snapshot, const TapTableRow *row,
							   int64 rows);

/* Set the counters to what the ledger says was copied before a restart. */
extern void tap_snapshot_report_progress(TapSnapshot *snapshot, List *tables);

#endif							/* TAPDATA_SNAPSHOT_PRIVATE_H */
