/*-------------------------------------------------------------------------
 *
 * src/slot.h
 *	  The replication slots of publish pipelines.
 *
 * NOTES
 *	  A publish pipeline owns one logical slot, named for database and
 *	  pipeline.  It is made and read by the pipeline's worker, and dropped when
 *	  the pipeline is gone: by the database's supervisor, which looks for slots
 *	  without a pipeline, and by the launcher for databases without tapdata.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_SLOT_H
#define TAPDATA_SLOT_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

/* What is known of a pipeline's slot. */
typedef enum TapSlotState
{
	TAP_SLOT_MISSING,
	TAP_SLOT_USABLE,
	TAP_SLOT_INVALIDATED		/* WAL it needs is gone, or it was otherwise
								 * invalidated: its tables must be copied */
} TapSlotState;

/* The slot's name, "tapdata_<database oid>_<pipeline>"; palloc'd. */
extern char *tap_slot_name(int32 pipeline);

/*
 * The state of a pipeline's slot.  confirmed and restart (may be NULL) are
 * set when there is one; *reason says why it was invalidated, palloc'd.
 */
extern TapSlotState tap_slot_state(int32 pipeline, XLogRecPtr *confirmed,
								   XLogRecPtr *restart, char **reason);

/*
 * Raise an error with a hint when this server cannot have another slot of
 * ours now: wal_level, max_replication_slots, output_plugin_libraries.
 */
extern void tap_slot_check_server(void);

/*
 * Within a fresh transaction that has done nothing yet: make it REPEATABLE
 * READ and READ ONLY, create the pipeline's slot (temporary false) or a
 * temporary one (true), wait until it is consistent, and have the transaction
 * see exactly what was committed before the point that is returned.  The slot
 * is released; a temporary one is dropped already.  failover: see
 * PostgreSQL 17's option of that name.  Waits for all transactions that run;
 * interruptible.
 */
extern XLogRecPtr tap_slot_create_snapshot(int32 pipeline, bool temporary,
										   bool failover);

/* Drop the pipeline's slot if it is there; it must not be in use. */
extern void tap_slot_drop(int32 pipeline);

/*
 * Drop the slots of this database whose pipeline is not in pipelines (List of
 * int32) any more; one that is in use is left for the next time.  Returns
 * false when some were left.
 */
extern bool tap_slot_sweep(List *pipelines);

#endif							/* TAPDATA_SLOT_H */
