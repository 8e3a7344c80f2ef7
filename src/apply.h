/*-------------------------------------------------------------------------
 *
 * src/apply.h
 *	  Stores changes in hub tables.
 *
 * NOTES
 * 	  Two paths behind one interface: apply_direct.c writes plain heap tables
 * 	  without planner and SPI; apply_sql.c takes prepared SQL for all other
 * 	  kinds of table.  apply.c chooses for each target.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_APPLY_H
#define TAPDATA_APPLY_H

#include "postgres.h"

#include "connector.h"
#include "mapping.h"

/* How a change is to meet what is in the hub already. */
typedef enum TapApplyMode
{
	TAP_APPLY_STRICT,			/* the hub is exactly the source before the
								 * change: a duplicate or a missing row is an
								 * error */
	TAP_APPLY_CATCHUP			/* rows may be newer: upsert, delete if there */
} TapApplyMode;

/* The engine of one process: caches of all targets. */
typedef struct TapApply TapApply;

/* One hub table as a target. */
typedef struct TapTarget TapTarget;

/*
 * Rows of one table that got another key while it catches up, and of which the
 * source did not send all values; see apply_moved.c.
 */
typedef struct TapMoved TapMoved;

/* In the context, for as long as that lives; nothing is remembered yet. */
extern TapMoved *tap_moved_create(MemoryContext context);

/* Nothing of it matters any more. */
extern void tap_moved_forget(TapMoved *moved);

/* What has to be known is not: some row may be lost. */
extern void tap_moved_distrust(TapMoved *moved);

/* Whether there is anything that a restart must not forget. */
extern bool tap_moved_any(const TapMoved *moved);

/*
 * Whether a row is missing in the hub, or may have another row's values: at
 * the end of the catch-up the table has to be copied again for that.
 */
extern bool tap_moved_lost(const TapMoved *moved);

/* Create the engine; its memory is a child of the current context. */
extern TapApply *tap_apply_create(const TapSourceCallbacks *source,
								  TapSession *session);

/* The stream was opened again: complete values by this session from now on. */
extern void tap_apply_set_session(TapApply *apply, TapSession *session);

/*
 * A target for a hub table and the format of its source table.  The table
 * itself is looked at again by the engine whenever its relcache entry was
 * invalidated.  source must live as long as the target.  ignore_missing:
 * columns of the source that the hub table lacks are left out, else they are
 * an error.
 */
extern TapTarget *tap_apply_target(TapApply *apply, Oid hub_table,
								   const TapSourceTable *source,
								   const char *source_name,
								   bool ignore_missing);

/*
 * Note there what becomes of rows that move under TAP_APPLY_CATCHUP; NULL:
 * nowhere.
 */
extern void tap_apply_track(TapTarget *target, TapMoved *moved);
extern void tap_apply_forget_target(TapApply *apply, TapTarget *target);

/* In a transaction that the caller began: open what changes will need. */
extern void tap_apply_begin(TapApply *apply);

/*
 * Apply one TAP_EVENT_CHANGE.  The rows in event may be gone afterwards:
 * what is buffered is copied.
 */
extern void tap_apply_change(TapApply *apply, TapTarget *target,
							 const TapEvent *event, TapApplyMode mode);

/*
 * Write what is buffered, and let go of pins on pages, which hold up VACUUM:
 * for a wait in the middle of a transaction.
 */
extern void tap_apply_flush(TapApply *apply);

/*
 * Flush and close everything; must be called before the commit, and before
 * DDL on a hub table, which PostgreSQL refuses for a table in use.
 */
extern void tap_apply_end(TapApply *apply);

/* Forget all state of a transaction that was aborted. */
extern void tap_apply_abort(TapApply *apply);

/*
 * A receiver that stores a snapshot's rows in the target, between
 * tap_apply_begin() and tap_apply_end().
 */
extern TapRowReceiver *tap_apply_receiver(TapApply *apply, TapTarget *target);

/* Rows stored by the receiver since its creation. */
extern int64 tap_apply_received(TapRowReceiver *receiver);

/*
 * The change that is being applied as "table ..., key (...)=(...)" for an
 * error context; NULL when none is.  In the current context.
 */
extern char *tap_apply_current(TapApply *apply);

#endif							/* TAPDATA_APPLY_H */
