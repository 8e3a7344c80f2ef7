/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_connector.c
 *	  The MySQL and MariaDB connector as the core sees it: options, URIs,
 *	  sessions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

const TapCore *tap_mysql_core;

static const char *const schemes[] = {"mysql", "mariadb", NULL};

static const char *const ssl_modes[] = {
	"disable", "prefer", "require", "verify_ca", "verify_identity", NULL
};
static const char *const tinyint1_values[] = {"smallint", "boolean", NULL};
static const char *const unsigned_bigint_values[] = {"numeric", "bigint", NULL};
static const char *const set_values[] = {"text", "array", NULL};
static const char *const json_values[] = {"jsonb", "json", "text", NULL};
static const char *const zero_date_values[] = {"null", "error", "infinity", NULL};
static const char *const nul_values[] = {"error", "remove", "replace", NULL};
static const char *const invalid_values[] = {"error", "replace", NULL};
static const char *const ignore_values[] = {"none", "own", "all", NULL};
static const char *const existing_values[] = {"error", "truncate", "keep", NULL};
static const char *const conflicts_values[] = {"error", "overwrite", NULL};
static const char *const numeric_values[] = {"decimal", "text", NULL};
static const char *const timestamptz_values[] = {"datetime", "timestamp", NULL};
static const char *const target_json_values[] = {"json", "text", NULL};

static const TapOption options[] = {
	{"ssl_mode", TAP_OPTION_ENUM, TAP_SCOPE_CONNECTION, "prefer", 0, 0,
		ssl_modes, false, NULL,
	"TLS: disable, prefer, require, verify_ca (certificate), verify_identity (and host name)"},
	{"ssl_ca", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with the certificate authorities to trust", true},
	{"ssl_cert", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with the client's certificate", true},
	{"ssl_key", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with the client's private key", true},
	{"socket", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"path of a unix socket to use instead of host and port", true},
	{"connect_timeout", TAP_OPTION_INT, TAP_SCOPE_CONNECTION, "10", 1, 3600,
		NULL, false, NULL,
	"seconds that connecting and login may take, for each host"},
	{"read_timeout", TAP_OPTION_INT, TAP_SCOPE_CONNECTION, "600", 1, 86400,
		NULL, false, NULL,
	"seconds to wait for more of an answer before the server is taken for dead"},
	{"heartbeat", TAP_OPTION_INT, TAP_SCOPE_CONNECTION, "10", 1, 3600,
		NULL, false, NULL,
	"seconds between the heartbeats of an idle log; twice that without any ends the connection"},
	{"server_id", TAP_OPTION_INT, TAP_SCOPE_CONNECTION, NULL, 1, INT64CONST(4294967295),
		NULL, false, NULL,
	"replica id for reading the log; chosen by itself unless given"},
	{"tinyint1", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "smallint", 0, 0,
		tinyint1_values, false, NULL,
	"type of tinyint(1) columns: smallint or boolean"},
	{"unsigned_bigint", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "numeric", 0, 0,
		unsigned_bigint_values, false, NULL,
	"type of bigint unsigned columns: numeric, or bigint with an error for values beyond it"},
	{"set_type", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "text", 0, 0,
		set_values, false, NULL,
	"type of set columns: text with commas, or array for text[]"},
	{"json_type", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "jsonb", 0, 0,
		json_values, false, NULL,
	"type of MySQL's json columns: jsonb, json or text"},
	{"zero_date", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "null", 0, 0,
		zero_date_values, false, NULL,
	"what becomes of 0000-00-00 and other dates that are none: null, error or infinity (-infinity)"},
	{"nul_in_text", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "error", 0, 0,
		nul_values, false, NULL,
	"what becomes of NUL bytes in text: error, remove or replace (U+FFFD)"},
	{"invalid_text", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "error", 0, 0,
		invalid_values, false, NULL,
	"what becomes of bytes that are invalid in the column's character set: error or replace"},
	{"ignore_published", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "none", 0, 0,
		ignore_values, false, NULL,
	"transactions of publish pipelines to leave out: none, own (of this database), or all"},
	{"target_schema", TAP_OPTION_TEXT, TAP_SCOPE_PUBLISH, "{schema}", 0, 0,
		NULL, false, NULL,
	"pattern of the target tables' database; {schema} and {table} are the hub table's"},
	{"target_table", TAP_OPTION_TEXT, TAP_SCOPE_PUBLISH, "{table}", 0, 0,
		NULL, false, NULL,
	"pattern of the target tables' name; {schema} and {table} are the hub table's"},
	{"existing", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "error", 0, 0,
		existing_values, false, NULL,
	"rows that a target table has before the first copy: error, truncate, or keep (the hub's rows win)"},
	{"conflicts", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "error", 0, 0,
		conflicts_values, false, NULL,
	"a row that is there already, or is missing, at the target: error, or overwrite (the hub wins)"},
	{"progress_schema", TAP_OPTION_TEXT, TAP_SCOPE_PUBLISH, NULL, 0, 0,
		NULL, false, NULL,
	"database at the target for the table that holds the pipeline's position; the URI's, else tapdata"},
	{"unbounded_numeric", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "decimal", 0, 0,
		numeric_values, false, NULL,
	"type for a numeric without precision: decimal(65,30), with an error for what does not fit, or text"},
	{"timestamptz", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "datetime", 0, 0,
		timestamptz_values, false, NULL,
	"type for a timestamp with time zone: datetime (UTC), or timestamp (1970 to 2038)"},
	{"json", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "json", 0, 0,
		target_json_values, false, NULL,
	"type for jsonb and arrays: json, or text"},
	{"foreign_key_checks", TAP_OPTION_BOOL, TAP_SCOPE_PUBLISH, "false", 0, 0,
		NULL, false, NULL,
	"whether the target checks foreign keys; changes are then sent in their order"},
	{"batch_ms", TAP_OPTION_INT, TAP_SCOPE_PUBLISH, "50", 0, 60000,
		NULL, false, NULL,
	"milliseconds for which hub transactions share one target transaction while behind"},
	{NULL}
};

/*
 * The position of an enumerated option's value among its values; the default
 * (the first one) without a pipeline.
 */
static int
option_choice(const TapOptions *given, const char *name,
			  const char *const *values)
{
	const char *value;

	if (given == NULL)
		return 0;
	value = tap_mysql_core->option_text(given, name);
	for (int i = 0; values[i] != NULL; i++)
		if (value != NULL && strcmp(value, values[i]) == 0)
			return i;
	return 0;
}

static void
read_mapping(TapMysqlMapping *mapping, const TapOptions *given)
{
	static const Oid json_oids[] = {JSONBOID, JSONOID, TEXTOID};

	mapping->tinyint1_boolean =
		option_choice(given, "tinyint1", tinyint1_values) == 1;
	mapping->unsigned_bigint_wraps =
		option_choice(given, "unsigned_bigint", unsigned_bigint_values) == 1;
	mapping->set_array = option_choice(given, "set_type", set_values) == 1;
	mapping->json_type = json_oids[option_choice(given, "json_type", json_values)];
	mapping->zero_date = option_choice(given, "zero_date", zero_date_values);
	mapping->nul_in_text = option_choice(given, "nul_in_text", nul_values);
	mapping->replace_invalid_text =
		option_choice(given, "invalid_text", invalid_values) == 1;
}

static void
check_uri(const TapUri *uri, const TapOptions *given)
{
	const char *mode = tap_mysql_core->option_text(given, "ssl_mode");

	if (uri->nhosts == 0 &&
		tap_mysql_core->option_text(given, "socket") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no host"),
				 errhint("Write mysql://user:password@host:3306/database, or give the option \"socket\".")));
	if (uri->user == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no user"),
				 errhint("Write mysql://user:password@host:3306/database.")));
	if (uri->path != NULL && strchr(uri->path, '/') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI's path \"%s\" is not the name of a database", uri->path)));
	if ((strcmp(mode, "verify_ca") == 0) &&
		tap_mysql_core->option_text(given, "ssl_ca") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ssl_mode \"verify_ca\" needs the option \"ssl_ca\""),
				 errhint("Name the file with the authority's certificate, or use verify_identity to trust the system's authorities.")));
}

TapSession *
tap_mysql_open(const TapSessionArgs *args)
{
	MemoryContext old = MemoryContextSwitchTo(args->context);
	TapSession *session = palloc0(sizeof(TapSession));

	session->args = *args;
	session->context = args->context;
	session->charset_context = AllocSetContextCreate(args->context,
													 "tapdata mysql charsets",
													 ALLOCSET_DEFAULT_SIZES);
	tap_mysql_peer = args->purpose == TAP_PURPOSE_SINK ? "target" : "source";
	if (args->purpose != TAP_PURPOSE_SINK)
	{
		read_mapping(&session->mapping, args->pipeline_options);
		session->ignores = option_choice(args->pipeline_options, "ignore_published", ignore_values);
	}
	session->mysql = tap_mysql_connect(session);
	MemoryContextSwitchTo(old);
	return session;
}

void
tap_mysql_close(TapSession *session)
{
	if (session == NULL)
		return;
	tap_mysql_stream_close(session);
	tap_mysql_sink_close(session);
	tap_mysql_disconnect(session->mysql);
	session->mysql = NULL;
	tap_mysql_disconnect(session->second);
	session->second = NULL;
}

static void
acknowledge(TapSession *session, const char *position)
{
	/* the server's log lives by time and size; nothing has to be told to it */
	(void) session;
	(void) position;
}

static TapSourceTable *
table_from_definition(TapSession *session, const TapTableName *name,
					  const char *definition)
{
	return tap_mysql_source_table(session,
								  tap_mysql_definition_parse(session, name, definition));
}

static const TapSourceCallbacks source = {
	.list_tables = tap_mysql_list_tables,
	.describe_tables = tap_mysql_describe_tables,
	.table_from_definition = table_from_definition,
	.current_position = tap_mysql_current_position,
	.safe_position = tap_mysql_safe_position,
	.log_behind = tap_mysql_log_behind,
	.position_compare = tap_mysql_position_compare,
	.snapshot_plan = tap_mysql_snapshot_plan,
	.snapshot_copy = tap_mysql_snapshot_copy,
	.snapshot_copy_exact = tap_mysql_snapshot_copy_exact,
	.stream_start = tap_mysql_stream_start,
	.stream_refollow = tap_mysql_stream_refollow,
	.stream_next = tap_mysql_stream_next,
	.stream_wait = tap_mysql_stream_wait,
	.stream_position = tap_mysql_stream_position,
	.txn_covered = tap_mysql_txn_covered,
	.complete_value = tap_mysql_complete_value,
	.unstage = tap_mysql_unstage,
	.describe_event = tap_mysql_describe_event,
	.acknowledge = acknowledge,
	.list_sequences = tap_mysql_list_sequences,
};

static const TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "mysql",
	.description = "MySQL and MariaDB: pulled by their binary log, published to in transactions",
	.version = "0.1.0",
	.uri_schemes = schemes,
	.options = options,
	.capabilities = TAP_CAN_SNAPSHOT | TAP_CAN_EXACT_COPY | TAP_CAN_STREAM |
	TAP_ADDS_TABLES | TAP_HOLDS_POSITION | TAP_TESTS_AS_SOURCE,
	.check_uri = check_uri,
	.open = tap_mysql_open,
	.close = tap_mysql_close,
	.test = tap_mysql_test,
	.source = &source,
	.sink = &tap_mysql_sink_callbacks,
};

const TapConnector *
tap_connector_init(const TapCore *core)
{
	tap_mysql_core = core;
	return &connector;
}
