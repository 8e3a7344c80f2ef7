/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_extra.c
 *	  Messages that are not of a row: where transactions begin and end, and
 *	  heartbeats.
 *
 * Both are JSON as Debezium writes them, with schemas where the option
 * schemas_enable says so and the format is Debezium's.
 *
 * NOTES
 *	  BEGIN is written with the first change of a transaction, so that one
 *	  without any change of a published table is not told of.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include "kafka_format.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define UNIX_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static const char txn_key_schema[] =
"{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"optional\":false,\"field\":\"id\"}],"
"\"optional\":false,\"name\":\"io.debezium.connector.common.TransactionMetadataKey\",\"version\":1}";

static const char txn_value_schema[] =
"{\"type\":\"struct\",\"fields\":["
"{\"type\":\"string\",\"optional\":false,\"field\":\"status\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"id\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"event_count\"},"
"{\"type\":\"array\",\"items\":{\"type\":\"struct\",\"fields\":["
"{\"type\":\"string\",\"optional\":false,\"field\":\"data_collection\"},"
"{\"type\":\"int64\",\"optional\":false,\"field\":\"event_count\"}],"
"\"optional\":true,\"name\":\"event.collection\",\"version\":1},"
"\"optional\":true,\"field\":\"data_collections\"},"
"{\"type\":\"int64\",\"optional\":false,\"field\":\"ts_ms\"}],"
"\"optional\":false,\"name\":\"io.debezium.connector.common.TransactionMetadataValue\",\"version\":1}";

static const char heartbeat_key_schema[] =
"{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"optional\":false,\"field\":\"serverName\"}],"
"\"optional\":false,\"name\":\"io.debezium.connector.common.ServerNameKey\",\"version\":1}";

static const char heartbeat_value_schema[] =
"{\"type\":\"struct\",\"fields\":[{\"type\":\"int64\",\"optional\":false,\"field\":\"ts_ms\"}],"
"\"optional\":false,\"name\":\"io.debezium.connector.common.Heartbeat\",\"version\":1}";

static bool
with_schemas(const TapSession *session)
{
	return session->settings.format == TAP_KAFKA_FORMAT_DEBEZIUM && session->settings.schemas;
}

/* Begin a key or value, with its schema where it has one. */
static void
begin_text(const TapSession *session, StringInfo out, const char *schema)
{
	resetStringInfo(out);
	if (with_schemas(session))
		appendStringInfo(out, "{\"schema\":%s,\"payload\":", schema);
}

static void
end_text(const TapSession *session, StringInfo out)
{
	appendStringInfoString(out, with_schemas(session) ? "}}" : "}");
}

static void
append_collections(TapSession *session, StringInfo out)
{
	const char *separator = "";
	ListCell   *cell;

	appendStringInfoChar(out, '[');
	foreach(cell, session->txn_tables)
	{
		TapKafkaTable *table = lfirst(cell);

		appendStringInfo(out, "%s{\"data_collection\":", separator);
		tap_json_append_cstring(out, table->collection);
		appendStringInfo(out, ",\"event_count\":" INT64_FORMAT "}", table->order);
		separator = ",";
	}
	appendStringInfoChar(out, ']');
}

static void
emit_status(TapSession *session, const TapOutTxn *txn, const char *status, bool end)
{
	StringInfo	key = &session->key;
	StringInfo	value = &session->value;

	begin_text(session, key, txn_key_schema);
	appendStringInfo(key, "{\"id\":\"%s\"", session->txn_id.data);
	end_text(session, key);

	begin_text(session, value, txn_value_schema);
	appendStringInfo(value, "{\"status\":\"%s\",\"id\":\"%s\",\"event_count\":",
					 status, session->txn_id.data);
	if (end)
		tap_json_append_int(value, session->txn_order);
	else
		appendStringInfoString(value, "null");
	appendStringInfoString(value, ",\"data_collections\":");
	if (end)
		append_collections(session, value);
	else
		appendStringInfoString(value, "null");
	appendStringInfo(value, ",\"ts_ms\":" INT64_FORMAT,
					 (txn->commit_time + UNIX_EPOCH_USECS) / 1000);
	end_text(session, value);
	tap_kafka_emit(session, session->transaction_topic, RD_KAFKA_PARTITION_UA, key, value, NULL,
				   NULL);
}

void
tap_kafka_extra_prepare(TapSession *session)
{
	if (session->settings.transaction_topic != NULL && session->transaction_topic == NULL)
		session->transaction_topic = tap_kafka_topic(session, session->settings.transaction_topic,
													 false, false);
	if (session->settings.heartbeat_topic != NULL && session->heartbeat_topic == NULL)
		session->heartbeat_topic = tap_kafka_topic(session, session->settings.heartbeat_topic,
												   false, false);
}

void
tap_kafka_extra_change(TapSession *session, const TapOutChange *change)
{
	TapKafkaTable *table = change->table_data;
	MemoryContext before;

	if (session->transaction_topic == NULL || change->txn == NULL)
		return;
	if (!session->txn_announced)
	{
		session->txn_announced = true;
		session->txn_order = 0;
		session->txn_tables = NIL;
		resetStringInfo(&session->txn_id);
		appendStringInfo(&session->txn_id, "%u:" UINT64_FORMAT, change->txn->xid,
						 change->txn->commit_lsn);
		emit_status(session, change->txn, "BEGIN", false);
	}
	if (!list_member_ptr(session->txn_tables, table))
	{
		table->order = 0;
		before = MemoryContextSwitchTo(session->args.context);
		session->txn_tables = lappend(session->txn_tables, table);
		MemoryContextSwitchTo(before);
	}
	table->order++;
	session->txn_order++;
}

void
tap_kafka_extra_commit(TapSession *session, const TapOutTxn *txn)
{
	if (!session->txn_announced)
		return;
	emit_status(session, txn, "END", true);
	session->txn_announced = false;
	list_free(session->txn_tables);
	session->txn_tables = NIL;
	resetStringInfo(&session->txn_id);
}

void
tap_kafka_extra_heartbeat(TapSession *session, uint64 position)
{
	StringInfo	key = &session->key;
	StringInfo	value = &session->value;
	TimestampTz now = GetCurrentTimestamp();

	if (session->heartbeat_topic == NULL || now < session->next_heartbeat)
		return;
	session->next_heartbeat = TimestampTzPlusMilliseconds(now, session->settings.heartbeat_ms);

	begin_text(session, key, heartbeat_key_schema);
	appendStringInfoString(key, "{\"serverName\":");
	tap_json_append_cstring(key, session->settings.prefix);
	end_text(session, key);

	begin_text(session, value, heartbeat_value_schema);
	appendStringInfo(value, "{\"ts_ms\":" INT64_FORMAT, (now + UNIX_EPOCH_USECS) / 1000);
	end_text(session, value);
	tap_kafka_emit(session, session->heartbeat_topic, RD_KAFKA_PARTITION_UA, key, value, NULL, NULL);
}
