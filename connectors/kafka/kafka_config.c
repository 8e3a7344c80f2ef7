/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_config.c
 *	  The settings of a session, and the properties librdkafka gets.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "http_allowed.h"

/* librdkafka's default for message.max.bytes */
#define DEFAULT_MESSAGE_MAX_BYTES	1000000

/* Properties that run programs, load libraries, or carry a promise of ours. */
static const struct
{
	const char *prefix;
	const char *reason;
}			forbidden[] =

{
	{"plugin.library.paths", "It would load a library into the server."},
	{"ssl.engine.", "It would load a library into the server."},
	{"ssl.providers", "It would load a library into the server."},
	{"sasl.kerberos.kinit.cmd", "It would run a program on the server."},
	{"internal.", "It would send signals within the server."},
	{"test.", "It would have changes sent to brokers within the server, which forget them."},
	{"enable.gapless.guarantee", "The option \"delivery\" decides about it."},
	{"enable.idempotence", "The option \"delivery\" decides about it."},
	{"transactional.id", "The option \"delivery\" decides about it."},
	{"transaction.timeout.ms", "The option \"transaction_timeout\" sets it."},
	{"delivery.report.only.error", "The option \"delivery\" decides about it."},
	{"message.timeout.ms", "A change is sent again until it is delivered."},
	{"delivery.timeout.ms", "A change is sent again until it is delivered."},
	{"log.queue", "The server's log is written to."},
	{"bootstrap.servers", "The hosts of the URI are used."},
	{"metadata.broker.list", "The hosts of the URI are used."},
	{"sasl.username", "The user of the URI is used."},
	{"sasl.password", "Give it in the URI, or by the options \"password\" or \"password_file\"."},
	{"sasl.mechanism", "The option \"sasl_mechanism\" sets it."}
};

static const char *const secret_words[] = {
	"password", "secret", ".pem", "ssl_key", "oauthbearer.config"
};

/* Properties that name files of the server. */
static const char *const file_words[] = {".location", "keytab", "file"};

/* Property of the URL that librdkafka asks for tokens, by HTTP. */
#define TOKEN_URL		"sasl.oauthbearer.token.endpoint.url"

/* Properties that librdkafka puts as they are into a command for the shell. */
#define SHELL_PREFIX	"sasl.kerberos."

static bool
has_word(const char *name, const char *const *words, int nwords)
{
	for (int i = 0; i < nwords; i++)
	{
		if (strstr(name, words[i]) != NULL)
			return true;
	}
	return false;
}

bool
tap_kafka_property_is_secret(const char *name)
{
	return has_word(name, secret_words, lengthof(secret_words));
}

/* Asked by commands, and by workers outside of any transaction. */
static bool
user_has_role(Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	bool		result;

	if (own_transaction)
		StartTransactionCommand();
	result = has_privs_of_role(GetUserId(), role);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

static void
check_property(const char *key, const char *name)
{
	for (int i = 0; i < lengthof(forbidden); i++)
	{
		if (strncmp(name, forbidden[i].prefix, strlen(forbidden[i].prefix)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" cannot be set", key),
					 errdetail("%s", forbidden[i].reason)));
	}
	if (has_word(name, file_words, lengthof(file_words)) &&
		!user_has_role(ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for option \"%s\"", key),
				 errdetail("It names a file of the server, which only superusers and "
						   "members of pg_read_server_files may use.")));
	if (strncmp(name, SHELL_PREFIX, strlen(SHELL_PREFIX)) == 0 &&
		!user_has_role(ROLE_PG_EXECUTE_SERVER_PROGRAM))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for option \"%s\"", key),
				 errdetail("It is part of a command that the server runs, which only superusers and "
						   "members of pg_execute_server_program may set.")));
}

void
tap_kafka_check_properties(const TapOptions *options)
{
	List	   *keys = tap_kafka_core->option_keys(options, "kafka.");
	ListCell   *cell;

	foreach(cell, keys)
	{
		char	   *key = lfirst(cell);
		char	   *name = key + strlen("kafka.");

		check_property(key, name);
		if (strcmp(name, TOKEN_URL) == 0)
			tap_http_check_allowed_url(key, tap_kafka_core->option_text(options, key));
	}
}

/* ---------------------------------------------------------------------
 * Properties
 * ---------------------------------------------------------------------
 */

static List *
add_property(List *properties, const char *name, const char *value)
{
	properties = lappend(properties, pstrdup(name));
	return lappend(properties, pstrdup(value));
}

static List *
add_option_property(List *properties, const TapOptions *options, const char *option,
					const char *name)
{
	const char *value = tap_kafka_core->option_text(options, option);

	return value ? add_property(properties, name, value) : properties;
}

static List *
add_given_properties(List *properties, const TapOptions *options)
{
	List	   *keys = tap_kafka_core->option_keys(options, "kafka.");
	ListCell   *cell;

	tap_kafka_check_properties(options);
	foreach(cell, keys)
	{
		char	   *key = lfirst(cell);

		properties = add_property(properties, key + strlen("kafka."),
								  tap_kafka_core->option_text(options, key));
	}
	return properties;
}

static char *
broker_list(const TapUri *uri)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < uri->nhosts; i++)
	{
		const TapUriHost *host = &uri->hosts[i];
		bool		is_ipv6 = strchr(host->host, ':') != NULL;

		appendStringInfo(&list, "%s%s%s%s:%d", i > 0 ? "," : "", is_ipv6 ? "[" : "",
						 host->host, is_ipv6 ? "]" : "", host->port ? host->port : 9092);
	}
	return list.data;
}

List *
tap_kafka_connection_properties(const TapSessionArgs *args)
{
	const TapOptions *options = args->options;
	bool		tls = strcmp(args->uri->scheme, "kafka+ssl") == 0 ||
	tap_kafka_core->option_bool(options, "tls");
	const char *user = args->uri->user;
	char	   *password = user ? tap_kafka_core->password(args->uri, options) : NULL;
	List	   *list = NIL;

	list = add_property(list, "bootstrap.servers", broker_list(args->uri));
	list = add_property(list, "client.id", psprintf("tapdata%s%s", args->pipeline_name ? "-" : "",
													args->pipeline_name ? args->pipeline_name : ""));
	list = add_property(list, "security.protocol", tls ? (user ? "sasl_ssl" : "ssl") :
						(user ? "sasl_plaintext" : "plaintext"));
	list = add_property(list, "reconnect.backoff.max.ms", "2000");
	list = add_property(list, "socket.nagle.disable", "true");
	if (user != NULL)
	{
		list = add_option_property(list, options, "sasl_mechanism", "sasl.mechanism");
		list = add_property(list, "sasl.username", user);
		if (password != NULL)
			list = add_property(list, "sasl.password", password);
	}
	list = add_option_property(list, options, "ssl_ca", "ssl.ca.location");
	list = add_option_property(list, options, "ssl_cert", "ssl.certificate.location");
	list = add_option_property(list, options, "ssl_key", "ssl.key.location");
	list = add_option_property(list, options, "ssl_key_password", "ssl.key.password");
	if (!tap_kafka_core->option_bool(options, "ssl_verify_host"))
		list = add_property(list, "ssl.endpoint.identification.algorithm", "none");
	return add_given_properties(list, options);
}

/*
 * An option of the pipeline with a default: given, it wins over a property
 * of the connection; by its default it does not.
 */
static List *
add_pipeline_option(List *properties, const TapOptions *options, const char *option,
					const char *name, bool given)
{
	if (tap_kafka_core->option_given(options, option) != given)
		return properties;
	return add_option_property(properties, options, option, name);
}

static List *
add_pipeline_options(List *properties, const TapOptions *options, bool given)
{
	properties = add_pipeline_option(properties, options, "linger_ms", "linger.ms", given);
	properties = add_pipeline_option(properties, options, "compression", "compression.type", given);
	return add_pipeline_option(properties, options, "partitioner", "partitioner", given);
}

static List *
add_transactions(List *properties, TapSession *session)
{
	properties = add_property(properties, "transactional.id",
							  psprintf("tapdata-%s", session->args.pipeline_identity));
	properties = add_option_property(properties, session->args.pipeline_options,
									 "transaction_timeout", "transaction.timeout.ms");
	return add_property(properties, "delivery.report.only.error", "true");
}

/*
 * A message is tried until it is delivered; what is queued is bounded by
 * bytes and number.  Topics are created by us, with the partitions that the
 * options say, or not at all.
 */
List *
tap_kafka_producer_properties(TapSession *session)
{
	const TapOptions *options = session->args.pipeline_options;
	List	   *list = NIL;

	list = add_property(list, "queue.buffering.max.messages", "200000");
	list = add_property(list, "queue.buffering.max.kbytes", "65536");
	list = add_property(list, "topic.metadata.refresh.interval.ms", "60000");
	list = add_property(list, "allow.auto.create.topics", "false");
	if (options != NULL)
		list = add_pipeline_options(list, options, false);
	list = list_concat(list, tap_kafka_connection_properties(&session->args));
	list = add_property(list, "enable.idempotence", "true");
	list = add_property(list, "message.timeout.ms", "0");
	if (options == NULL)
		return list;
	if (session->settings.exactly_once)
		list = add_transactions(list, session);
	list = add_pipeline_options(list, options, true);
	return add_given_properties(list, options);
}

/* ---------------------------------------------------------------------
 * Settings
 * ---------------------------------------------------------------------
 */

char *
tap_kafka_utf8(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = GetDatabaseEncoding() != PG_UTF8 && !IsTransactionState();
	Size		length = strlen(name);
	char	   *result;

	if (own_transaction)
		StartTransactionCommand();
	result = MemoryContextStrdup(context, tap_json_utf8(name, &length));
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

char *
tap_kafka_from_utf8(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = GetDatabaseEncoding() != PG_UTF8 && !IsTransactionState();
	char	   *result;

	if (GetDatabaseEncoding() == PG_UTF8)
		return unconstify(char *, text);
	if (own_transaction)
		StartTransactionCommand();
	result = MemoryContextStrdup(context, pg_any_to_server(text, strlen(text), PG_UTF8));
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

static const char *
own_database(void)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	char	   *name;

	if (own_transaction)
		StartTransactionCommand();
	name = MemoryContextStrdup(context, get_database_name(MyDatabaseId));
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return tap_kafka_utf8(name);
}

/* The topics' part before the first placeholder, else the database's name. */
static const char *
default_prefix(const TapKafkaSettings *settings)
{
	const char *brace = strchr(settings->topic, '{');
	int			length = brace ? brace - settings->topic : strlen(settings->topic);

	while (length > 0 && strchr("._-", settings->topic[length - 1]) != NULL)
		length--;
	return length > 0 ? pnstrdup(settings->topic, length) : settings->database;
}

static int
parse_headers(const char *value)
{
	static const char *const names[] = {"op", "table", "lsn", "xid", "origin", "commit_time"};
	int			headers = 0;

	if (strcmp(value, "none") == 0 || strcmp(value, "false") == 0)
		return 0;
	if (strcmp(value, "all") == 0 || strcmp(value, "true") == 0)
		return TAP_KAFKA_HEADER_ALL;
	while (*value != '\0')
	{
		Size		length = strcspn(value, ",");
		int			i;

		for (i = 0; i < lengthof(names); i++)
		{
			if (strlen(names[i]) == length && strncmp(names[i], value, length) == 0)
				break;
		}
		if (i == lengthof(names))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"headers\": \"%s\"", value),
					 errhint("It is none, all, or a list of op, table, lsn, xid, origin and commit_time, separated by commas.")));
		headers |= 1 << i;
		value += length;
		value += strspn(value, ", ");
	}
	return headers;
}

void
tap_kafka_check_headers(const char *value)
{
	(void) parse_headers(value);
}

static TapKafkaFormat
parse_format(const char *value)
{
	if (strcmp(value, "debezium") == 0)
		return TAP_KAFKA_FORMAT_DEBEZIUM;
	if (strcmp(value, "avro") == 0)
		return TAP_KAFKA_FORMAT_AVRO;
	if (strcmp(value, "debezium_avro") == 0)
		return TAP_KAFKA_FORMAT_DEBEZIUM_AVRO;
	return TAP_KAFKA_FORMAT_JSON;
}

static TapKafkaDecimals
parse_decimals(const char *value)
{
	if (strcmp(value, "string") == 0)
		return TAP_KAFKA_DECIMALS_STRING;
	if (strcmp(value, "double") == 0)
		return TAP_KAFKA_DECIMALS_DOUBLE;
	return TAP_KAFKA_DECIMALS_PRECISE;
}

static int64
message_limit(const TapSessionArgs *args)
{
	static const char *const name = "kafka.message.max.bytes";

	if (args->pipeline_options != NULL &&
		tap_kafka_core->option_given(args->pipeline_options, name))
		return tap_kafka_core->option_int(args->pipeline_options, name);
	if (tap_kafka_core->option_given(args->options, name))
		return tap_kafka_core->option_int(args->options, name);
	return DEFAULT_MESSAGE_MAX_BYTES;
}

void
tap_kafka_read_settings(TapSession *session)
{
	const TapCore *core = tap_kafka_core;
	const TapOptions *given = session->args.pipeline_options;
	TapKafkaSettings *settings = &session->settings;

	settings->database = own_database();
	settings->message_max_bytes = message_limit(&session->args);
	if (given == NULL)
		return;
	settings->pipeline = tap_kafka_utf8(session->args.pipeline_name);
	settings->exactly_once = strcmp(core->option_text(given, "delivery"), "exactly_once") == 0;
	settings->format = parse_format(core->option_text(given, "format"));
	settings->topic = core->option_text(given, "topic");
	settings->prefix = core->option_text(given, "topic_prefix");
	if (settings->prefix == NULL)
		settings->prefix = default_prefix(settings);
	settings->schemas = core->option_bool(given, "schemas_enable");
	settings->decimals = parse_decimals(core->option_text(given, "decimal_handling"));
	settings->tombstones = core->option_bool(given, "tombstones");
	settings->headers = parse_headers(core->option_text(given, "headers"));
	settings->key_columns = core->option_text(given, "key_columns");
	settings->create_topics = core->option_bool(given, "create_topics");
	settings->partitions = core->option_int(given, "partitions");
	settings->replication = core->option_int(given, "replication_factor");
	settings->position_topic = core->option_text(given, "position_topic");
	settings->transaction_ms = core->option_int(given, "transaction_ms");
	settings->transaction_timeout = (int) core->option_int(given, "transaction_timeout");
	settings->transaction_bytes = core->option_int(given, "transaction_bytes");
	settings->transaction_topic = core->option_text(given, "transaction_topic");
	settings->heartbeat_topic = core->option_text(given, "heartbeat_topic");
	settings->heartbeat_ms = core->option_int(given, "heartbeat_ms");
}
