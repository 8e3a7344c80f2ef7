/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_connector.c
 *	  The Kafka connector as the core sees it: options, URIs, struct.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include <curl/curl.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "http_allowed.h"
#include "kafka_registry.h"
#include "kafka_source.h"

PG_MODULE_MAGIC;

const TapCore *tap_kafka_core;

static const char *const schemes[] = {"kafka", "kafka+ssl", NULL};

static const char *const mechanisms[] = {
	"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER", NULL
};
static const char *const deliveries[] = {"exactly_once", "at_least_once", NULL};
static const char *const formats[] = {
	"json", "debezium", "avro", "debezium_avro", NULL
};
static const char *const decimals[] = {"precise", "string", "double", NULL};
static const char *const compressions[] = {"none", "gzip", "snappy", "lz4", "zstd", NULL};
static const char *const partitioners[] = {
	"murmur2", "murmur2_random", "consistent", "consistent_random", "fnv1a", "fnv1a_random",
	"random", NULL
};

static const char *const modes[] = {"append", "upsert", NULL};
static const char *const unknown_fields[] = {"add_column", "ignore", "stop", NULL};
static const char *const gaps[] = {"stop", "earliest", "latest", NULL};

static void check_key_columns(const char *value);
static void check_key(const char *value);

#define CONNECTION	TAP_SCOPE_CONNECTION
#define PUBLISH		TAP_SCOPE_PUBLISH
#define PULL		TAP_SCOPE_PULL

static const TapOption options[] = {
	{"tls", TAP_OPTION_BOOL, CONNECTION, "false", 0, 0, NULL, false, NULL,
	"speak TLS to the brokers, as the scheme kafka+ssl says, too"},
	{"ssl_ca", TAP_OPTION_TEXT, CONNECTION, NULL, 0, 0, NULL, false, NULL,
	"file with the certificate authorities to trust; without one the system's are", true},
	{"ssl_cert", TAP_OPTION_TEXT, CONNECTION, NULL, 0, 0, NULL, false, NULL,
	"file with the client's certificate", true},
	{"ssl_key", TAP_OPTION_TEXT, CONNECTION, NULL, 0, 0, NULL, false, NULL,
	"file with the client's private key", true},
	{"ssl_key_password", TAP_OPTION_TEXT, CONNECTION, NULL, 0, 0, NULL, true, NULL,
	"password of the client's private key"},
	{"ssl_verify_host", TAP_OPTION_BOOL, CONNECTION, "true", 0, 0, NULL, false, NULL,
	"whether the brokers' certificates must be for their host names"},
	{"sasl_mechanism", TAP_OPTION_ENUM, CONNECTION, "PLAIN", 0, 0, mechanisms, false, NULL,
	"how the user of the URI logs in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, GSSAPI, OAUTHBEARER"},
	{"schema_registry", TAP_OPTION_TEXT, CONNECTION | PULL | PUBLISH, NULL, 0, 0, NULL, false,
		tap_kafka_check_registry_url,
	"URL of the schema registry, for the formats avro, debezium_avro and json_schema"},
	{"schema_registry_user", TAP_OPTION_TEXT, CONNECTION | PULL | PUBLISH, NULL, 0, 0, NULL, false, NULL,
	"user of the schema registry"},
	{"schema_registry_password", TAP_OPTION_TEXT, CONNECTION | PULL | PUBLISH, NULL, 0, 0, NULL, true, NULL,
	"password of the schema registry"},
	{"format", TAP_OPTION_ENUM, PULL, "json", 0, 0, tap_kafka_decoding_names, false, NULL,
	"what the messages are: json (objects), csv (lines), raw (key and value as they are), and those of doc/kafka-source.md"},
	{"columns", TAP_OPTION_JSON, PULL, NULL, 0, 0, NULL, false, tap_record_columns_check,
	"columns and their types, as {\"id\": \"bigint\"}; found in a sample unless given"},
	{"fields", TAP_OPTION_JSON, PULL, NULL, 0, 0, NULL, false, tap_kafka_check_fields,
	"csv: the names of a line's fields in their order, as [\"id\", \"amount\"]"},
	{"key", TAP_OPTION_JSON, PULL, NULL, 0, 0, NULL, false, check_key,
	"columns of the key: a list, or an object of lists by topic; _key is the key of the messages"},
	{"mode", TAP_OPTION_ENUM, PULL, NULL, 0, 0, modes, false, NULL,
	"append (every message is a new row), or upsert (by key, tombstones delete); upsert where there is a key"},
	{"start", TAP_OPTION_TEXT, PULL, "earliest", 0, 0, NULL, false, tap_kafka_check_start,
	"where topics begin: earliest, latest, or a time with its zone, as 2026-01-31 00:00:00Z"},
	{"start_offsets", TAP_OPTION_JSON, PULL, NULL, 0, 0, NULL, false, tap_kafka_check_start_offsets,
	"where partitions begin: an object of offsets by partition for each topic, as {\"clicks\": {\"0\": 1200}}"},
	{"on_gap", TAP_OPTION_ENUM, PULL, "stop", 0, 0, gaps, false, NULL,
	"the next message was removed by retention: stop, or go on at the earliest or behind the latest there is"},
	{"metadata", TAP_OPTION_TEXT, PULL, "none", 0, 0, NULL, false, tap_kafka_check_metadata,
	"columns to add: none, all, or a list of topic, partition, offset, timestamp, key, headers"},
	{"on_unknown_field", TAP_OPTION_ENUM, PULL, NULL, 0, 0, unknown_fields, false, NULL,
	"a field that is no column: add_column, ignore or stop; add_column unless columns are given"},
	{"csv_delimiter", TAP_OPTION_TEXT, PULL, ",", 0, 0, NULL, false, tap_kafka_check_character,
	"csv: what is between fields"},
	{"csv_quote", TAP_OPTION_TEXT, PULL, "\"", 0, 0, NULL, false, tap_kafka_check_character,
	"csv: what is around fields that contain delimiters; empty: nothing"},
	{"csv_escape", TAP_OPTION_TEXT, PULL, "", 0, 0, NULL, false, tap_kafka_check_character,
	"csv: what is before a quote within quotes; empty: the quote"},
	{"csv_null", TAP_OPTION_TEXT, PULL, "", 0, 0, NULL, false, NULL,
	"csv: the unquoted text that stands for NULL"},
	{"sample_messages", TAP_OPTION_INT, PULL, "1000", 1, 1000000, NULL, false, NULL,
	"how many messages of a topic to look at for its columns"},
	{"refresh_ms", TAP_OPTION_INT, PULL, "10000", 100, 86400000, NULL, false, NULL,
	"milliseconds between looks for new topics and partitions"},
	{"delivery", TAP_OPTION_ENUM, PUBLISH, "exactly_once", 0, 0, deliveries, false, NULL,
	"exactly_once (transactions, for consumers at read_committed), or at_least_once (idempotent, lower latency)"},
	{"topic", TAP_OPTION_TEXT, PUBLISH, "{database}.{schema}.{table}", 0, 0, NULL, false,
		tap_kafka_check_topic_pattern,
	"name of a table's topic, with the placeholders {database}, {schema} and {table}"},
	{"format", TAP_OPTION_ENUM, PUBLISH, "json", 0, 0, formats, false, NULL,
	"json (the row), debezium (its envelope as JSON), avro (the row), debezium_avro (the envelope as Avro)"},
	{"schemas_enable", TAP_OPTION_BOOL, PUBLISH, "true", 0, 0, NULL, false, NULL,
	"debezium: send the schema with each message, or the payload alone"},
	{"topic_prefix", TAP_OPTION_TEXT, PUBLISH, NULL, 0, 0, NULL, false, tap_kafka_check_topic_name,
	"debezium: the logical name of this server; the start of the option topic unless given"},
	{"decimal_handling", TAP_OPTION_ENUM, PUBLISH, "precise", 0, 0, decimals, false, NULL,
	"debezium, avro: numeric as precise (Connect's Decimal), string or double"},
	{"tombstones", TAP_OPTION_BOOL, PUBLISH, "true", 0, 0, NULL, false, NULL,
	"a delete ends with a message without value, so that compaction removes the key"},
	{"headers", TAP_OPTION_TEXT, PUBLISH, "none", 0, 0, NULL, false, tap_kafka_check_headers,
	"headers of each message: none, all, or a list of op, table, lsn, xid, origin, commit_time"},
	{"key_columns", TAP_OPTION_JSON, PUBLISH, NULL, 0, 0, NULL, false, check_key_columns,
	"columns of the messages' keys in place of the primary key: a list, or an object of lists by table"},
	{"partitioner", TAP_OPTION_ENUM, PUBLISH, "murmur2", 0, 0, partitioners, false, NULL,
	"how keys choose partitions; murmur2 is that of Kafka's Java clients"},
	{"create_topics", TAP_OPTION_BOOL, PUBLISH, "true", 0, 0, NULL, false, NULL,
	"create topics that are missing"},
	{"partitions", TAP_OPTION_INT, PUBLISH, "-1", -1, 100000, NULL, false, NULL,
	"partitions of topics that are created; -1: as the brokers have it"},
	{"replication_factor", TAP_OPTION_INT, PUBLISH, "-1", -1, 32767, NULL, false, NULL,
	"replicas of topics that are created; -1: as the brokers have it"},
	{"position_topic", TAP_OPTION_TEXT, PUBLISH, "tapdata.positions", 0, 0, NULL, false,
		tap_kafka_check_topic_name,
	"exactly_once: the compacted topic that holds the positions of pipelines"},
	{"transaction_ms", TAP_OPTION_INT, PUBLISH, "100", 0, 60000, NULL, false, NULL,
	"exactly_once: milliseconds for which transactions of the hub share one of Kafka while behind"},
	{"transaction_bytes", TAP_OPTION_INT, PUBLISH, "16777216", 1024, INT64CONST(1073741824), NULL, false, NULL,
	"exactly_once: bytes after which a shared transaction is committed"},
	{"transaction_timeout", TAP_OPTION_INT, PUBLISH, "900000", 1000, INT64CONST(2147483647), NULL, false, NULL,
	"exactly_once: milliseconds that one transaction may take; the brokers' limit is transaction.max.timeout.ms"},
	{"linger_ms", TAP_OPTION_INT, PUBLISH, "1", 0, 900000, NULL, false, NULL,
	"milliseconds to wait for more messages before a batch is sent"},
	{"compression", TAP_OPTION_ENUM, PUBLISH, "none", 0, 0, compressions, false, NULL,
	"compression of batches: none, gzip, snappy, lz4 or zstd"},
	{"transaction_topic", TAP_OPTION_TEXT, PUBLISH, NULL, 0, 0, NULL, false, tap_kafka_check_topic_name,
	"topic for messages where transactions begin and end, and turns their metadata on in the envelope"},
	{"heartbeat_topic", TAP_OPTION_TEXT, PUBLISH, NULL, 0, 0, NULL, false, tap_kafka_check_topic_name,
	"topic for heartbeats while nothing is to be sent"},
	{"heartbeat_ms", TAP_OPTION_INT, PUBLISH, "10000", 1000, 86400000, NULL, false, NULL,
	"milliseconds between heartbeats"},
	{"kafka.", TAP_OPTION_TEXT, CONNECTION | PULL | PUBLISH, NULL, 0, 0, NULL, true, NULL,
	"any property of librdkafka, such as kafka.socket.keepalive.enable"},
	{NULL}
};

static void
check_key_columns(const char *value)
{
	tap_kafka_check_lists("key_columns", "erp.orders", value);
}

static void
check_key(const char *value)
{
	tap_kafka_check_lists("key", "clicks", value);
}

static void
check_uri(const TapUri *uri, const TapOptions *given)
{
	const char *registry = tap_kafka_core->option_text(given, "schema_registry");

	if (uri->nhosts == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no host"),
				 errhint("Write kafka://broker1:9092,broker2:9092.")));
	if (uri->path != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI of a Kafka cluster has no path, not \"%s\"", uri->path),
				 errhint("Topics are named by the option \"topic\" of a pipeline.")));
	tap_kafka_check_properties(given);
	if (registry != NULL)
		tap_http_check_allowed_url("schema_registry", registry);
}

static const TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "kafka",
	.description = "Apache Kafka, by librdkafka",
	.version = TAP_KAFKA_VERSION,
	.uri_schemes = schemes,
	.options = options,
	.capabilities = TAP_CAN_STREAM | TAP_ADDS_TABLES | TAP_HOLDS_POSITION |
	TAP_CAN_BEGIN_AT_END,
	.check_uri = check_uri,
	.open = tap_kafka_open,
	.close = tap_kafka_close,
	.test = tap_kafka_test,
	.source = &tap_kafka_source,
	.sink = &tap_kafka_sink,
};

const TapConnector *
tap_connector_init(const TapCore *core)
{
	tap_kafka_core = core;

	/* before any thread may need it */
	(void) curl_global_init(CURL_GLOBAL_DEFAULT);
	return &connector;
}
