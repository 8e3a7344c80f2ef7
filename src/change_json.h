/*-------------------------------------------------------------------------
 *
 * src/change_json.h
 *	  A change as JSON, for dead letters.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_CHANGE_JSON_H
#define TAPDATA_CHANGE_JSON_H

#include "postgres.h"

#include "connector.h"

/*
 * A TAP_EVENT_CHANGE that was decoded, with PostgreSQL's own text of each
 * value, whatever its type, of which its input function makes it again:
 * {"op": ..., "table": ..., "old": {...}, "new": {...}}.  Columns that the
 * source did not send are left out; "partial": true says that a column was
 * sent as a mere difference, which JSON cannot hold.  In the current context;
 * needs a transaction.
 */
extern char *tap_change_json(const TapEvent *event);

/* The same of a change on its way out. */
extern char *tap_out_change_json(const TapOutChange *change);

/*
 * Let dates, intervals and floats be written, or read, in one way whatever
 * the session prefers.  Returns a level for AtEOXact_GUC(false, level).
 */
extern int	tap_change_json_modes(void);

#endif							/* TAPDATA_CHANGE_JSON_H */
