/*-------------------------------------------------------------------------
 *
 * connectors/http/http_connector.c
 *	  The HTTP connector as the core sees it: options, URIs, sessions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include <curl/curl.h>

#include "fmgr.h"
#include "utils/memutils.h"

#include "row_json.h"

PG_MODULE_MAGIC;

const TapCore *tap_http_core;

static const char *const schemes[] = {
	"http", "https",
	"elasticsearch+http", "elasticsearch+https",
	"opensearch+http", "opensearch+https",
	"clickhouse+http", "clickhouse+https",
	NULL
};

static const char *const dialects[] = {
	"webhook", "elasticsearch", "opensearch", "clickhouse", NULL
};
static const char *const ssl_modes[] = {"require", "verify_ca", "verify_identity", NULL};
static const char *const methods[] = {"POST", "PUT", NULL};
static const char *const bodies[] = {"array", "ndjson", "single", NULL};

static const TapOption options[] = {
	{
		.name = "dialect",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.values = dialects,
		.help = "what http:// and https:// speak to: webhook (the default), elasticsearch, opensearch or clickhouse"
	},
	{
		.name = "ssl_mode",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "verify_identity",
		.values = ssl_modes,
		.help = "what of a TLS server is verified: nothing (require), its certificate (verify_ca), and its name (verify_identity)"
	},
	{
		.name = "ssl_ca",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "file with the certificate authorities to trust, instead of the system's",
		.server_file = true
	},
	{
		.name = "ssl_cert",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "file with the client's certificate",
		.server_file = true
	},
	{
		.name = "ssl_key",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "file with the client's private key",
		.server_file = true
	},
	{
		.name = "connect_timeout",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "10",
		.minimum = 1,
		.maximum = 3600,
		.help = "seconds that connecting may take, for each host"
	},
	{
		.name = "bearer_token",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.secret = true,
		.check = tap_http_check_token,
		.help = "token for the header Authorization: Bearer"
	},
	{
		.name = "bearer_token_file",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.server_file = true,
		.help = "file on the server whose first line is that token; read for each request"
	},
	{
		.name = "secret_headers",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_CONNECTION,
		.secret = true,
		.check = tap_http_check_secret_headers,
		.help = "further headers of each request that are never shown, as {\"X-Api-Key\": \"...\"}"
	},
	{
		.name = "query",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.secret = true,
		.check = tap_http_check_query,
		.help = "what each URL has behind its \"?\", escaped; never shown"
	},
	{
		.name = "signature_secret",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.secret = true,
		.help = "secret for a header with the HMAC-SHA-256 of the body"
	},
	{
		.name = "signature_secret_file",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.server_file = true,
		.help = "file on the server whose first line is that secret; read for each request"
	},
	{
		.name = "signature_header",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "X-Tapdata-Signature",
		.check = tap_http_check_header_name,
		.help = "name of that header; its value is sha256= and the HMAC in hexadecimal"
	},
	{
		.name = "headers",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_CONNECTION | TAP_SCOPE_PUBLISH,
		.check = tap_http_check_headers,
		.help = "further headers of each request, as {\"X-Source\": \"hub\"}"
	},
	{
		.name = "timeout_ms",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION | TAP_SCOPE_PUBLISH,
		.default_value = "30000",
		.minimum = 10,
		.maximum = 3600000,
		.help = "milliseconds that a request may take until its answer is complete"
	},
	{
		.name = "retry_ms",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PULL | TAP_SCOPE_PUBLISH,
		.default_value = "30000",
		.minimum = 0,
		.maximum = 86400000,
		.help = "milliseconds for which a request is tried again before it is an error of the pipeline, which then starts anew"
	},
	{
		.name = "max_in_flight",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "1",
		.minimum = 1,
		.maximum = 32,
		.help = "requests that may be on their way together; with more than 1 only changes of the same key stay in order"
	},
	{
		.name = "batch_rows",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "1000",
		.minimum = 1,
		.maximum = 1000000,
		.help = "changes that are sent in one request at most"
	},
	{
		.name = "method",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "POST",
		.values = methods,
		.help = "webhook: method of the requests"
	},
	{
		.name = "body",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "array",
		.values = bodies,
		.help = "webhook: a JSON array of changes, ndjson with a change a line, or single for a request each"
	},
	{
		.name = "index",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "{schema}-{table}",
		.check = tap_http_check_pattern,
		.help = "Elasticsearch and OpenSearch: name of a table's index, in lower case"
	},
	{
		.name = "table",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "{table}",
		.check = tap_http_check_pattern,
		.help = "ClickHouse: name of a table's target table, in the database of the URI"
	},
	{
		.name = "version_column",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "_version",
		.check = tap_http_check_column,
		.help = "ClickHouse: column with the row's version"
	},
	{
		.name = "deleted_column",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_PUBLISH,
		.default_value = "_deleted",
		.check = tap_http_check_column,
		.help = "ClickHouse: column that is 1 for a deleted row"
	},
	{.name = NULL}
};

/* ---------------------------------------------------------------------
 * URIs
 * ---------------------------------------------------------------------
 */

static void
check_login(const TapUri *uri, const TapOptions *given)
{
	bool		token = tap_http_core->option_given(given, "bearer_token");
	bool		token_file = tap_http_core->option_given(given, "bearer_token_file");

	if (uri->user != NULL && (token || token_file))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("both a user and a bearer token are given"),
				 errhint("Leave out the user in the URI, or the token.")));
	if (token && token_file)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"bearer_token\" and \"bearer_token_file\" exclude each other")));
	if (tap_http_core->option_given(given, "signature_secret") &&
		tap_http_core->option_given(given, "signature_secret_file"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"signature_secret\" and \"signature_secret_file\" exclude each other")));
	if (uri->user == NULL && (tap_http_core->option_given(given, "password") ||
							  tap_http_core->option_given(given, "password_file")))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a password is given, but the URI names no user"),
				 errhint("Write %s://user@host/.", uri->scheme)));
}

static void
check_tls(const TapUri *uri, const TapOptions *given)
{
	static const char *const names[] = {"ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"};
	const char *mode = tap_http_core->option_text(given, "ssl_mode");

	for (int i = 0; i < lengthof(names) && !tap_http_scheme_is_tls(uri->scheme); i++)
	{
		if (tap_http_core->option_given(given, names[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" has no meaning without TLS", names[i]),
					 errhint("Begin the URI with %ss://, or leave out the option.", uri->scheme)));
	}
	if (strcmp(mode, "verify_ca") == 0 && tap_http_core->option_text(given, "ssl_ca") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ssl_mode \"verify_ca\" needs the option \"ssl_ca\""),
				 errhint("Name the file with the authority's certificate, or use verify_identity to trust the system's authorities.")));
	if (tap_http_core->option_given(given, "ssl_key") &&
		!tap_http_core->option_given(given, "ssl_cert"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"ssl_key\" needs the option \"ssl_cert\"")));
}

/* Hosts become part of URLs again: an escaped slash would make another host of one. */
static void
check_hosts(const TapUri *uri)
{
	if (uri->nhosts == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no host"),
				 errhint("Write %s://host:port/path.", uri->scheme)));
	for (int i = 0; i < uri->nhosts; i++)
	{
		for (const unsigned char *c = (const unsigned char *) uri->hosts[i].host; *c != '\0'; c++)
		{
			if (*c <= 0x20 || *c == 0x7f || strchr("/?#@\\%\"'<>^`{|}[]", *c) != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("a host of the URI has a character that no host has")));
		}
	}
}

/* What only a source has is checked when there is any of it. */
static void
check_source(const TapUri *uri, const TapOptions *given, const TapHttpDialect *dialect)
{
	char	   *conflict = tap_http_oauth_conflict(given);

	if (conflict != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s", conflict)));
	if (!tap_http_is_meant_as_source(given))
		return;
	if (dialect != &tap_http_webhook)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options of a source are given for a target of the kind %s", dialect->name)));
	(void) tap_http_endpoints(uri, given, NULL);
}

static void
check_uri(const TapUri *uri, const TapOptions *given)
{
	const TapHttpDialect *dialect = tap_http_dialect(uri, given);

	check_hosts(uri);
	for (int i = 0; i < uri->nhosts; i++)
		tap_http_check_allowed(uri->hosts[i].host, uri->hosts[i].port,
							   tap_http_scheme_is_tls(uri->scheme));
	if (dialect == &tap_http_clickhouse && uri->path != NULL && strchr(uri->path, '/') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI's path is not the name of a database"),
				 errhint("Write %s://user:password@host:8123/database.", uri->scheme)));
	check_login(uri, given);
	check_tls(uri, given);
	check_source(uri, given, dialect);
}

/* ---------------------------------------------------------------------
 * Sessions
 * ---------------------------------------------------------------------
 */

/* A test without a pipeline is of what was asked for, else of what the options look like. */
static bool
is_source(const TapSession *session)
{
	const TapSessionArgs *args = &session->args;
	bool		is_test = args->purpose == TAP_PURPOSE_TEST;

	if (args->purpose == TAP_PURPOSE_SINK || (is_test && args->sides == TAP_SIDE_TARGET))
		return false;
	if (is_test && args->sides != TAP_SIDE_SOURCE && args->pipeline_options == NULL &&
		!tap_http_is_meant_as_source(args->options))
		return false;
	if (session->dialect != &tap_http_webhook)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a connection of the kind %s is a target, not a source",
						session->dialect->name),
				 errhint("An API is read by a connection whose URI begins with http:// or https:// alone, without the option \"dialect\".")));
	return true;
}

TapSession *
tap_http_open(const TapSessionArgs *args)
{
	MemoryContext before = MemoryContextSwitchTo(args->context);
	TapSession *session = palloc0(sizeof(TapSession));

	session->args = *args;
	session->context = args->context;
	session->dialect = tap_http_dialect(args->uri, args->options);
	tap_http_read_settings(args, &session->settings);
	PG_TRY();
	{
		(void) tap_http_client_create(session);
		if (is_source(session))
			tap_http_source_open(session);
		else
			tap_http_queue_init(session);
	}
	PG_CATCH();
	{
		tap_http_client_free(session->client);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (args->purpose == TAP_PURPOSE_SINK)
		tap_row_json_settle();
	MemoryContextSwitchTo(before);
	return session;
}

void
tap_http_close(TapSession *session)
{
	if (session == NULL)
		return;
	tap_http_source_close(session);
	tap_http_queue_free(session);
	tap_http_client_free(session->client);
	session->client = NULL;
}

static TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "http",
	.description = "APIs as sources; webhooks, Elasticsearch, OpenSearch and ClickHouse as targets, by HTTP",
	.version = TAP_HTTP_VERSION,
	.uri_schemes = schemes,
	.capabilities = TAP_CAN_STREAM | TAP_POLLS | TAP_ADDS_TABLES,
	.check_uri = check_uri,
	.open = tap_http_open,
	.close = tap_http_close,
	.test = tap_http_test,
	.source = &tap_http_source,
	.sink = &tap_http_sink,
};

/* The options of a target, then those of a source, in one table. */
static const TapOption *
all_options(void)
{
	int			nsource = 0;
	TapOption  *all;

	while (tap_http_source_options[nsource].name != NULL)
		nsource++;
	all = MemoryContextAlloc(TopMemoryContext, sizeof(TapOption) * (lengthof(options) + nsource));
	memcpy(all, options, sizeof(TapOption) * (lengthof(options) - 1));
	memcpy(all + lengthof(options) - 1, tap_http_source_options,
		   sizeof(TapOption) * (nsource + 1));
	return all;
}

const TapConnector *
tap_connector_init(const TapCore *core)
{
	tap_http_core = core;
	(void) curl_global_init(CURL_GLOBAL_DEFAULT);
	connector.options = all_options();
	return &connector;
}
