/*-------------------------------------------------------------------------
 *
 * src/catalog_notes.c
 *	  Rows of tapdata.connector_note.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog_private.h"

void
tap_catalog_set_note(int32 pipeline, const char *key, const char *value)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	if (value == NULL)
		tap_catalog_write("DELETE FROM tapdata.connector_note WHERE pipeline = $1 AND key = $2",
						  TAP_PARAMS(tap_param_int4(pipeline), tap_param_text(key)));
	else
		tap_catalog_write("INSERT INTO tapdata.connector_note (pipeline, key, value) "
						  "VALUES ($1, $2, $3) "
						  "ON CONFLICT (pipeline, key) DO UPDATE SET value = EXCLUDED.value",
						  TAP_PARAMS(tap_param_int4(pipeline), tap_param_text(key),
									 tap_param_text(value)));
	tap_catalog_leave(&call);
}

void
tap_catalog_each_note(int32 pipeline, const char *prefix,
					  void (*note) (void *arg, const char *key, const char *value),
					  void *arg)
{
	TapCatalogCall call;
	List	   *keys = NIL;
	List	   *values = NIL;
	ListCell   *key;
	ListCell   *value;
	MemoryContext before;
	uint64		count;

	/* the function is called without the rights of the tables' owner */
	tap_catalog_enter(&call);
	count = tap_catalog_read("SELECT key, value FROM tapdata.connector_note "
							 "WHERE pipeline = $1 AND pg_catalog.starts_with(key, $2) ORDER BY key",
							 TAP_PARAMS(tap_param_int4(pipeline), tap_param_text(prefix)));
	before = MemoryContextSwitchTo(call.caller);
	for (uint64 row = 0; row < count; row++)
	{
		keys = lappend(keys, tap_column_text(row, 1));
		values = lappend(values, tap_column_text(row, 2));
	}
	MemoryContextSwitchTo(before);
	tap_catalog_leave(&call);

	forboth(key, keys, value, values)
		note(arg, lfirst(key), lfirst(value));
	list_free_deep(keys);
	list_free_deep(values);
}

void
tap_catalog_delete_notes(int32 pipeline)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.connector_note WHERE pipeline = $1",
					  TAP_PARAMS(tap_param_int4(pipeline)));
	tap_catalog_leave(&call);
}
