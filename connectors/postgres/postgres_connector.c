/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_connector.c
 *	  The PostgreSQL connector as the core sees it: options, URIs, sessions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

PG_MODULE_MAGIC;

const TapCore *tap_pg_core;
const char *tap_pg_peer = "target";

static const char *const schemes[] = {"postgres", "postgresql", NULL};

static const char *const ssl_modes[] = {
	"disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL
};
static const char *const session_attrs[] = {
	"any", "read-write", "primary", NULL
};
static const char *const unknown_types_values[] = {"error", "text", NULL};
static const char *const existing_values[] = {"error", "truncate", "keep", NULL};
static const char *const conflicts_values[] = {"error", "overwrite", NULL};
static const char *const auto_values[] = {"auto", "on", "off", NULL};
static const char *const role_values[] = {"auto", "replica", "origin", NULL};
static const char *const partitions_values[] = {"root", "leaf", NULL};
static const char *const changes_values[] = {"all", "published", NULL};
static const char *const identity_values[] = {"error", "inserts", NULL};
static const char *const types_values[] = {"text", "create", NULL};
static const char *const gap_values[] = {"stop", "compare", NULL};
static const char *const source_origin_values[] = {"any", "none", NULL};
static const char *const ignore_values[] = {"none", "own", "all", NULL};
static const char *const on_off_values[] = {"on", "off", NULL};
static const char *const backlog_values[] = {"batches", "stream", NULL};
static const char *const commit_values[] = {
	"on", "local", "remote_write", "remote_apply", NULL
};

static const TapOption options[] = {
	{"sslmode", TAP_OPTION_ENUM, TAP_SCOPE_CONNECTION, "prefer", 0, 0,
		ssl_modes, false, NULL,
	"TLS, as libpq's sslmode: verify-full checks certificate and host name"},
	{"sslrootcert", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with the certificate authorities to trust", true},
	{"sslcrl", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with revoked certificates", true},
	{"sslcert", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with the client's certificate", true},
	{"sslkey", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"file with the client's private key", true},
	{"socket", TAP_OPTION_TEXT, TAP_SCOPE_CONNECTION, NULL, 0, 0,
		NULL, false, NULL,
	"folder of a unix socket to use instead of a host", true},
	{"connect_timeout", TAP_OPTION_INT, TAP_SCOPE_CONNECTION, "10", 1, 3600,
		NULL, false, NULL,
	"seconds that connecting and login may take, for each host"},
	{"read_timeout", TAP_OPTION_INT, TAP_SCOPE_CONNECTION, "600", 1, 86400,
		NULL, false, NULL,
	"seconds to wait for more of an answer of a source before it is taken for dead"},
	{"target_session_attrs", TAP_OPTION_ENUM, TAP_SCOPE_CONNECTION, "read-write", 0, 0,
		session_attrs, false, NULL,
	"which of several hosts to use: the first that is read-write, primary, or any"},
	{"publication", TAP_OPTION_TEXT, TAP_SCOPE_PULL | TAP_SCOPE_ASKED, NULL, 0, 0,
		NULL, false, NULL,
	"publication of the source to use; made and dropped by itself unless given"},
	{"changes", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "all", 0, 0,
		changes_values, false, NULL,
	"kinds of change that a given publication must publish: all, or published for what it does, inserts at least"},
	{"slot", TAP_OPTION_TEXT, TAP_SCOPE_PULL | TAP_SCOPE_ASKED, NULL, 0, 0,
		NULL, false, NULL,
	"replication slot of the source to use; made and dropped by itself unless given"},
	{"failover", TAP_OPTION_BOOL, TAP_SCOPE_PULL | TAP_SCOPE_ASKED, "false", 0, 0,
		NULL, false, NULL,
	"make the slot one that standbys of the source keep, too (PostgreSQL 17)"},
	{"partitions", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "root", 0, 0,
		partitions_values, false, NULL,
	"partitioned tables as one table (root), or as one for each partition (leaf)"},
	{"without_identity", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "error", 0, 0,
		identity_values, false, NULL,
	"tables without replica identity: error, or inserts to follow nothing but inserts"},
	{"types", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "text", 0, 0,
		types_values, false, NULL,
	"enums, domains, composite and range types of the source: text, or create them in the hub's schema"},
	{"binary", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "auto", 0, 0,
		auto_values, false, NULL,
	"binary values in the stream: auto (where all types are known here), on or off"},
	{"on_gap", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "stop", 0, 0,
		gap_values, false, NULL,
	"when the source cannot show all changes since the position: stop, or compare all tables with the source"},
	{"source_origin", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "any", 0, 0,
		source_origin_values, false, NULL,
	"changes that the source has from elsewhere by replication: any, or none to leave them out"},
	{"ignore_published", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "none", 0, 0,
		ignore_values, false, NULL,
	"transactions of publish pipelines to leave out: none, own (of this database), or all"},
	{"streaming", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "on", 0, 0,
		on_off_values, false, NULL,
	"receive large transactions while they are in progress (PostgreSQL 14), instead of when they are committed: on or off"},
	{"backlog", TAP_OPTION_ENUM, TAP_SCOPE_PULL, "batches", 0, 0,
		backlog_values, false, NULL,
	"read the log while far behind in batches, from a temporary copy of the slot (PostgreSQL 14), or as a stream: batches or stream"},
	{"ddl_messages", TAP_OPTION_BOOL, TAP_SCOPE_PULL | TAP_SCOPE_ASKED, "false", 0, 0,
		NULL, false, NULL,
	"follow what an event trigger of the source tells of created, altered and dropped tables (PostgreSQL 14)"},
	{"refresh_ms", TAP_OPTION_INT, TAP_SCOPE_PULL, "10000", 0, 86400000,
		NULL, false, NULL,
	"milliseconds between looks for new tables that match the patterns, and for those that were dropped; 0: none"},
	{"target_schema", TAP_OPTION_TEXT, TAP_SCOPE_PUBLISH, "{schema}", 0, 0,
		NULL, false, NULL,
	"pattern of the target tables' schema; {schema} and {table} are the hub table's"},
	{"target_table", TAP_OPTION_TEXT, TAP_SCOPE_PUBLISH, "{table}", 0, 0,
		NULL, false, NULL,
	"pattern of the target tables' name; {schema} and {table} are the hub table's"},
	{"existing", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "error", 0, 0,
		existing_values, false, NULL,
	"rows that a target table has before the first copy: error, truncate, or keep (the hub's rows win)"},
	{"conflicts", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "error", 0, 0,
		conflicts_values, false, NULL,
	"a row that is there already, or is missing, at the target: error, or overwrite (the hub wins)"},
	{"unknown_types", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "error", 0, 0,
		unknown_types_values, false, NULL,
	"columns to create of types that the target does not have: error, or text"},
	{"progress_schema", TAP_OPTION_TEXT, TAP_SCOPE_PUBLISH, "tapdata_target", 0, 0,
		NULL, false, NULL,
	"schema at the target for the table that holds the pipeline's position"},
	{"origin", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "auto", 0, 0,
		auto_values, false, NULL,
	"mark the changes with a replication origin: auto (where permitted), on or off"},
	{"replication_role", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "auto", 0, 0,
		role_values, false, NULL,
	"session_replication_role at the target: replica (no triggers and foreign keys), origin, or auto (replica where permitted)"},
	{"synchronous_commit", TAP_OPTION_ENUM, TAP_SCOPE_PUBLISH, "on", 0, 0,
		commit_values, false, NULL,
	"synchronous_commit at the target"},
	{NULL}
};

static void
check_uri(const TapUri *uri, const TapOptions *given)
{
	const char *mode = tap_pg_core->option_text(given, "sslmode");

	if (uri->nhosts == 0 && tap_pg_core->option_text(given, "socket") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no host"),
				 errhint("Write postgres://user:password@host:5432/database, or give the option \"socket\".")));
	if (uri->user == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no user"),
				 errhint("Write postgres://user:password@host:5432/database.")));
	if (uri->path == NULL || uri->path[0] == '\0' || strchr(uri->path, '/') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no database"),
				 errhint("Write postgres://user:password@host:5432/database.")));
	if (strncmp(mode, "verify-", 7) == 0 &&
		tap_pg_core->option_text(given, "sslrootcert") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sslmode \"%s\" needs the option \"sslrootcert\"", mode),
				 errhint("Name the file with the authority's certificate, for example /etc/ssl/certs/ca-certificates.crt.")));
}

const char *
tap_pg_option(const TapSession *session, const char *name, const char *without)
{
	const TapOptions *given = session->args.pipeline_options;

	return given != NULL ? tap_pg_core->option_text(given, name) : without;
}

TapSession *
tap_pg_open(const TapSessionArgs *args)
{
	MemoryContext old = MemoryContextSwitchTo(args->context);
	TapSession *session = palloc0(sizeof(TapSession));

	session->args = *args;
	tap_pg_peer = args->purpose == TAP_PURPOSE_SINK ? "target" : "source";
	MemoryContextSwitchTo(old);
	session->conn = tap_pg_connect(session);
	session->version = PQserverVersion(session->conn);
	return session;
}

void
tap_pg_close(TapSession *session)
{
	if (session == NULL)
		return;
	tap_pg_stream_close(session);
	if (session->conn == NULL)
		return;
	PQfinish(session->conn);
	session->conn = NULL;
}

static const TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "postgres",
	.description = "PostgreSQL, by libpq",
	.version = "0.1.0",
	.uri_schemes = schemes,
	.options = options,
	.capabilities = TAP_CAN_SNAPSHOT | TAP_CAN_EXACT_COPY | TAP_CAN_STREAM |
	TAP_ADDS_TABLES | TAP_HOLDS_POSITION,
	.check_uri = check_uri,
	.open = tap_pg_open,
	.close = tap_pg_close,
	.test = tap_pg_test,
	.source = &tap_pg_source_callbacks,
	.sink = &tap_pg_sink_callbacks,
};

const TapConnector *
tap_connector_init(const TapCore *core)
{
	tap_pg_core = core;
	return &connector;
}
