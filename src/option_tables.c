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
#include "publish_options.h"

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
		.needs = TAP_CAN_SNAPSHOT,
		.help = "databases: processes that copy a snapshot at the same time"
	},
	{
		.name = "chunk_rows",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PULL,
		.default_value = "100000",
		.minimum = 1,
		.maximum = 1000000000,
		.needs = TAP_CAN_SNAPSHOT,
		.help = "databases: rows of a snapshot that are copied in one transaction"
	},
	{
		.name = "snapshot",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PULL,
		.default_value = "initial",
		.values = snapshot_values,
		.needs = TAP_CAN_SNAPSHOT | TAP_CAN_BEGIN_AT_END,
		.help = "databases and Kafka: whether to copy what the tables hold: initial (yes), or never (only changes from now on)"
	},
	{
		.name = "indexes",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_PULL,
		.default_value = "true",

		/* what only streams has records, and those have no indexes */
		.needs = TAP_CAN_SNAPSHOT,
		.help = "databases: create the secondary indexes of the source tables in the hub, too"
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
	{
		.name = "snapshot",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "initial",
		.values = snapshot_values,
		.help = "whether to send what the tables hold: initial (yes), or never (only changes from now on)"
	},
	{
		.name = "publish",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "insert, update, delete, truncate",
		.check = tap_publish_check_kinds,
		.help = "kinds of change to send, as in CREATE PUBLICATION"
	},
	{
		.name = "where",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_PUBLISH,
		.check = tap_publish_check_where,
		.help = "rows to send: a condition for all tables, or an object of conditions by table, as {\"erp.orders\": \"amount > 10\"}"
	},
	{
		.name = "columns",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_PUBLISH,
		.check = tap_publish_check_columns,
		.help = "columns to send: a list for all tables, or an object of lists by table, as {\"erp.orders\": [\"id\", \"amount\"]}"
	},
	{
		.name = "origins",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_PUBLISH,
		.check = tap_publish_check_origins,
		.help = "whose changes to send: any (the default), local (not those that pull pipelines or subscriptions made), or a list of local, pull pipelines and replication origins"
	},
	{
		.name = "ddl",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "apply",
		.values = ddl_values,
		.help = "schema changes of hub tables: apply them to the target, ignore them, or stop"
	},
	{
		.name = "on_error",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "stop",
		.values = on_error_values,
		.help = "a change that the target refuses: stop the pipeline, or keep it as a dead_letter"
	},
	{
		.name = "batch_bytes",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "4194304",
		.minimum = 1024,
		.maximum = 1073741824,
		.help = "bytes of changes that are decoded before they are sent"
	},
	{
		.name = "decode_memory",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "67108864",
		.minimum = 65536,
		.maximum = 4294967296,
		.help = "bytes of decoded changes to keep in memory; a larger transaction goes to a temporary file"
	},
	{
		.name = "copy_timeout",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "300",
		.minimum = 1,
		.maximum = 86400,
		.help = "seconds that a copy waits for a target that takes nothing: then it is given up, for its snapshot holds up VACUUM, and begins again"
	},
	{
		.name = "failover",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "false",
		.help = "have the replication slot synchronized to standbys, so that the pipeline goes on after a failover (PostgreSQL 17 and later)"
	},
	{.name = NULL}
};
