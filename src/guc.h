/*-------------------------------------------------------------------------
 *
 * src/guc.h
 *	  The settings tapdata.*.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_GUC_H
#define TAPDATA_GUC_H

#include "postgres.h"

extern int	tap_guc_max_pipelines;	/* size of shared memory: pipelines */
extern int	tap_guc_max_tables; /* size of shared memory: tables with counters */
extern int	tap_guc_event_retention_min;	/* minutes; 0: keep all events */
extern int	tap_guc_retry_min_ms;	/* first back-off after a failure */
extern int	tap_guc_retry_max_ms;	/* largest back-off */

extern bool tap_guc_enabled;	/* off: no pipeline runs */

/* Workers may use our output plugin although the server does not name it. */
extern bool tap_guc_allow_output_plugin;

/* Read by the HTTP connector, by its name. */
extern char *tap_guc_http_allowed_hosts;

/* Define the settings; called once from _PG_init(). */
extern void tap_guc_define(void);

#endif							/* TAPDATA_GUC_H */
