/*-------------------------------------------------------------------------
 *
 * src/tapdata.c
 *	  The entry of the module.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "decode.h"
#include "fmgr.h"
#include "guc.h"
#include "launcher.h"
#include "miscadmin.h"
#include "process.h"
#include "shmem.h"
#include "utility_hook.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	/*
	 * Without shared memory only the configuration can be looked at; commands
	 * that need more say so, see tap_shmem_require().
	 */
	if (!process_shared_preload_libraries_in_progress)
		return;

	tap_guc_define();
	tap_shmem_install();
	tap_hold_install();
	tap_decode_install();
	tap_utility_hook_install();

	/* pg_upgrade's server must write nothing of its own. */
	if (!IsBinaryUpgrade)
		tap_launcher_register();
}
