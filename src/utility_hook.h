/*-------------------------------------------------------------------------
 *
 * src/utility_hook.h
 *	  Commands of PostgreSQL that need a database's pipelines out of the way.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_UTILITY_HOOK_H
#define TAPDATA_UTILITY_HOOK_H

#include "postgres.h"

/* Install the hooks; from _PG_init(). */
extern void tap_utility_hook_install(void);

#endif							/* TAPDATA_UTILITY_HOOK_H */
