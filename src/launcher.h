/*-------------------------------------------------------------------------
 *
 * src/launcher.h
 *	  Starts a supervisor in each database that has pipelines to run.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_LAUNCHER_H
#define TAPDATA_LAUNCHER_H

#include "postgres.h"

/* Register the launcher with the postmaster; from _PG_init(). */
extern void tap_launcher_register(void);

#endif							/* TAPDATA_LAUNCHER_H */
