/*-------------------------------------------------------------------------
 *
 * src/compat.h
 *	  Differences between the versions of PostgreSQL, all of them.
 *
 * Wrappers have names of their own (tap_compat_*), so that a reader can trust
 * a call of a PostgreSQL function to be just that.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COMPAT_H
#define TAPDATA_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 200000
#error "tapdata needs PostgreSQL 15 to 19"
#endif

#endif							/* TAPDATA_COMPAT_H */
