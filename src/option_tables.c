/*-------------------------------------------------------------------------
 *
 * src/option_tables.c
 *	  The core's own options.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "options.h"

static const char *const ddl_values[] = {"apply", "ignore", "stop", NULL};
static const char *const on_error_values[] = {"stop", "dead_letter", NULL};
static const char *const role_values[] = {"replica", "origin", NULL};
static const char *const switch_values[] = {"on", "off", NULL};
static const char *const snapshot_values[] = {"initial", "never", NULL};

/* Every connection takes these. */
const TapOption tap_connection_options[] = {
	{
		.name = "password",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.secret = true,
		.help = "password, instead of one in the URI"
	},
	{
		.name = "password_file",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.server_file = true,
		.help = "file on the server whose first line is the password; read at each connect"
	},
	{.name = NULL}
};

const TapOption tap_pull_options[] = {
	{
		.name = "workers",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PULL,
		.default_value = "2",
		.minimum = 1,
		.maximum = 16,
		.help = "processes that copy a snapshot at the same time"
	},
	{
		.name = "chunk_rows",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PULL,
		.default_value = "100000",
		.minimum = 1,
		.maximum = 1000000000,
		.help = "rows of a snapshot that are copied in one transaction"
	},
	{
		.name = "snapshot",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PULL,
		.default_value = "initial",
		.values = snapshot_values,
		.help = "whether to copy what the tables hold: initial (yes), or never (only changes from now on)"
	},
	{
		.name = "indexes",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_PULL,
		.default_value = "true",
		.help = "create the secondary indexes of the source tables in the hub, too"
	},
	{
		.name = "ddl",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PULL,
		.default_value = "apply",
		.values = ddl_values,
		.help = "schema changes at the source: apply them to the hub tables, ignore them, or stop"
	},
	{
		.name = "ddl_drop",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_PULL,
		.default_value = "false",
		.help = "drop hub columns that were dropped at the source; otherwise they keep their data"
	},
	{
		.name = "on_error",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PULL,
		.default_value = "stop",
		.values = on_error_values,
		.help = "a change that cannot be stored: stop the pipeline, or keep it as a dead_letter"
	},
	{
		.name = "batch_ms",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PULL,
		.default_value = "200",
		.minimum = 0,
		.maximum = 60000,
		.help = "milliseconds for which source transactions share one hub commit while behind"
	},
	{
		.name = "batch_bytes",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PULL,
		.default_value = "16777216",
		.minimum = 1024,
		.maximum = 1073741824,
		.help = "bytes of changes after which a shared hub commit is made"
	},
	{
		.name = "replication_role",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PULL,
		.default_value = "replica",
		.values = role_values,
		.help = "session_replication_role of the workers; origin lets triggers and foreign keys fire"
	},
	{
		.name = "synchronous_commit",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PULL,
		.default_value = "on",
		.values = switch_values,
		.help = "synchronous_commit of the workers; off is faster and still loses nothing"
	},
	{.name = NULL}
};

const TapOption tap_publish_options[] = {
	{.name = NULL}
};
