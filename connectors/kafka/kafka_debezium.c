/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_debezium.c
 *	  Debezium's envelope, as its connector for PostgreSQL writes it with
 *	  Kafka Connect's JsonConverter.
 *
 * The schemas of a table never change between two calls of prepare_table(),
 * so that a message begins with text that was made there.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_types.h"

#include "utils/timestamp.h"

#define UNIX_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* ---------------------------------------------------------------------
 * Schemas
 * ---------------------------------------------------------------------
 */

static const char source_schema[] =
"{\"type\":\"struct\",\"fields\":["
"{\"type\":\"string\",\"optional\":false,\"field\":\"version\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"connector\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"name\"},"
"{\"type\":\"int64\",\"optional\":false,\"field\":\"ts_ms\"},"
"{\"type\":\"string\",\"optional\":true,\"name\":\"io.debezium.data.Enum\",\"version\":1,"
"\"parameters\":{\"allowed\":\"true,first,first_in_data_collection,"
"last_in_data_collection,last,false,incremental\"},"
"\"default\":\"false\",\"field\":\"snapshot\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"db\"},"
"{\"type\":\"string\",\"optional\":true,\"field\":\"sequence\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"ts_us\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"ts_ns\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"schema\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"table\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"txId\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"lsn\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"xmin\"},"
"{\"type\":\"string\",\"optional\":true,\"field\":\"origin\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"origin_lsn\"}],"
"\"optional\":false,\"name\":\"io.debezium.connector.postgresql.Source\",\"version\":1,"
"\"field\":\"source\"}";

static const char envelope_rest[] =
"{\"type\":\"struct\",\"fields\":["
"{\"type\":\"string\",\"optional\":false,\"field\":\"id\"},"
"{\"type\":\"int64\",\"optional\":false,\"field\":\"total_order\"},"
"{\"type\":\"int64\",\"optional\":false,\"field\":\"data_collection_order\"}],"
"\"optional\":true,\"name\":\"event.block\",\"version\":1,\"field\":\"transaction\"},"
"{\"type\":\"string\",\"optional\":false,\"field\":\"op\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"ts_ms\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"ts_us\"},"
"{\"type\":\"int64\",\"optional\":true,\"field\":\"ts_ns\"}]";

static void
append_row_schema(StringInfo out, const TapKafkaTable *table, const char *field)
{
	appendStringInfoString(out, "{\"type\":\"struct\",\"fields\":[");
	tap_kafka_append_fields(out, table, false);
	appendStringInfo(out, "],\"optional\":true,\"name\":\"%s.Value\",\"field\":\"%s\"},",
					 table->topic->name, field);
}

static void
make_heads(TapKafkaTable *table)
{
	const char *topic = table->topic->name;
	StringInfo	key = &table->key_head;
	StringInfo	value = &table->value_head;

	appendStringInfoString(key, "{\"schema\":{\"type\":\"struct\",\"fields\":[");
	tap_kafka_append_fields(key, table, true);
	appendStringInfo(key, "],\"optional\":false,\"name\":\"%s.Key\"},\"payload\":", topic);

	appendStringInfoString(value, "{\"schema\":{\"type\":\"struct\",\"fields\":[");
	append_row_schema(value, table, "before");
	append_row_schema(value, table, "after");
	appendStringInfo(value, "%s,%s,\"optional\":false,\"name\":\"%s.Envelope\",\"version\":2},\"payload\":",
					 source_schema, envelope_rest, topic);
}

void
tap_kafka_debezium_prepare(TapSession *session, TapKafkaTable *table)
{
	StringInfo	source = &table->source_head;

	initStringInfo(&table->key_head);
	initStringInfo(&table->value_head);
	initStringInfo(source);
	table->columns = tap_kafka_columns(&table->source, session->settings.decimals);
	if (session->settings.schemas)
		make_heads(table);
	appendStringInfoString(source, "\"source\":{\"version\":\"" TAP_KAFKA_VERSION "\","
						   "\"connector\":\"postgresql\",\"name\":");
	tap_json_append_cstring(source, session->settings.prefix);
	appendStringInfoString(source, ",\"ts_ms\":");

	initStringInfo(&table->source_names);
	appendStringInfoString(&table->source_names, "\",\"db\":");
	tap_json_append_cstring(&table->source_names, session->settings.database);
	appendStringInfoString(&table->source_names, ",\"sequence\":");

	initStringInfo(&table->source_tail);
	appendStringInfoString(&table->source_tail, ",\"schema\":");
	tap_json_append_cstring(&table->source_tail, table->schema_name);
	appendStringInfoString(&table->source_tail, ",\"table\":");
	tap_json_append_cstring(&table->source_tail, table->table_name);
	appendStringInfoString(&table->source_tail, ",\"txId\":");
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

static void
append_bytes(StringInfo out, const char *bytes, Size length)
{
	appendStringInfoCharMacro(out, '"');
	tap_json_append_base64(out, bytes, length);
	appendStringInfoCharMacro(out, '"');
}

static void
append_value(StringInfo out, TapKafkaKind kind, const TapKafkaValue *value)
{
	switch (kind)
	{
		case TAP_KAFKA_BOOLEAN:
			appendStringInfoString(out, value->integer ? "true" : "false");
			break;
		case TAP_KAFKA_INT16:
		case TAP_KAFKA_INT32:
		case TAP_KAFKA_INT64:
			tap_json_append_int(out, value->integer);
			break;
		case TAP_KAFKA_FLOAT:
		case TAP_KAFKA_DOUBLE:
			tap_json_append_double(out, value->number, kind == TAP_KAFKA_FLOAT);
			break;
		case TAP_KAFKA_STRING:
			tap_json_append_string(out, value->bytes, value->length);
			break;
		case TAP_KAFKA_BYTES:
			append_bytes(out, value->bytes, value->length);
			break;
		case TAP_KAFKA_POINT:
			appendStringInfoString(out, "{\"x\":");
			tap_json_append_double(out, value->number, false);
			appendStringInfoString(out, ",\"y\":");
			tap_json_append_double(out, value->second_number, false);
			appendStringInfoString(out, ",\"wkb\":");
			append_bytes(out, value->bytes, value->length);
			appendStringInfoString(out, ",\"srid\":null}");
			break;
		case TAP_KAFKA_DECIMAL:
			appendStringInfo(out, "{\"scale\":" INT64_FORMAT ",\"value\":", value->integer);
			append_bytes(out, value->bytes, value->length);
			appendStringInfoChar(out, '}');
			break;
		case TAP_KAFKA_ARRAY:
			appendStringInfoString(out, "[]");
			break;
	}
}

static void
append_datum(StringInfo out, TapKafkaType *type, Datum datum)
{
	TapKafkaValue value;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (type->kind != TAP_KAFKA_ARRAY)
	{
		type->convert(type, datum, &value);
		append_value(out, type->kind, &value);
		return;
	}
	count = tap_kafka_array_elements(type, datum, &values, &nulls);
	appendStringInfoChar(out, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		if (nulls[i])
			appendStringInfoString(out, "null");
		else
			append_datum(out, type->element, values[i]);
	}
	appendStringInfoChar(out, ']');
}

/* A column that is not known: unchanged in a new row, not told of an old one. */
static void
append_unknown(StringInfo out, const TapKafkaTable *table, int column, bool is_new)
{
	const TapKafkaType *type = table->columns[column].type;
	TapKafkaValue value;

	if (!is_new && table->columns[column].optional)
		appendStringInfoString(out, "null");
	else if (!is_new)
	{
		tap_kafka_zero_value(type, &value);
		append_value(out, type->kind, &value);
	}
	else
	{
		tap_kafka_unavailable_value(table, column, &value);
		if (type->kind == TAP_KAFKA_ARRAY)
			appendStringInfoChar(out, '[');
		append_value(out, type->kind == TAP_KAFKA_ARRAY ? type->element->kind : type->kind, &value);
		if (type->kind == TAP_KAFKA_ARRAY)
			appendStringInfoChar(out, ']');
	}
}

static void
append_column(StringInfo out, const TapKafkaTable *table, const TapRowImage *image, int i,
			  bool is_new)
{
	const TapKafkaColumn *column = &table->columns[i];

	appendBinaryStringInfo(out, column->prefix, column->prefix_length);
	if (image->present != NULL && !image->present[i])
		append_unknown(out, table, i, is_new);
	else if (image->slot->tts_isnull[i])
		appendStringInfoString(out, "null");
	else
		append_datum(out, column->type, image->slot->tts_values[i]);
}

static void
append_row(StringInfo out, const TapKafkaTable *table, const TapRowImage *image, bool is_new)
{
	char		separator = '{';

	if (image == NULL)
	{
		appendStringInfoString(out, "null");
		return;
	}
	slot_getallattrs(image->slot);
	for (int i = 0; i < table->source.descriptor->natts; i++)
	{
		if (table->columns[i].dropped)
			continue;
		appendStringInfoCharMacro(out, separator);
		separator = ',';
		append_column(out, table, image, i, is_new);
	}
	appendStringInfoString(out, separator == '{' ? "{}" : "}");
}

void
tap_kafka_key_payload(const TapKafkaTable *table, const TapRowImage *image, StringInfo out)
{
	for (int i = 0; i < table->source.nkeys; i++)
	{
		appendStringInfoCharMacro(out, i > 0 ? ',' : '{');
		append_column(out, table, image, table->source.keys[i] - 1, false);
	}
	appendStringInfoChar(out, '}');
}

void
tap_kafka_debezium_key(TapSession *session, TapKafkaTable *table, const TapRowImage *image,
					   StringInfo out)
{
	appendBinaryStringInfo(out, table->key_head.data, table->key_head.len);
	tap_kafka_key_payload(table, image, out);
	if (session->settings.schemas)
		appendStringInfoChar(out, '}');
}

/* ---------------------------------------------------------------------
 * The envelope
 * ---------------------------------------------------------------------
 */

/* Where a row stands in the copy. */
static const char *
snapshot_of(TapSession *session, const TapOutChange *change)
{
	if (change->kind != TAP_CHANGE_READ)
		return "false";
	if (!session->snapshot_begun)
	{
		session->snapshot_begun = true;
		return "first";
	}
	if (change->last)
		return "last_in_data_collection";
	return change->number == 0 ? "first_in_data_collection" : "true";
}

void
tap_kafka_source_of(TapSession *session, const TapOutChange *change, TapKafkaSource *source)
{
	source->now_us = GetCurrentTimestamp() + UNIX_EPOCH_USECS;
	source->ts_us = change->txn ? change->txn->commit_time + UNIX_EPOCH_USECS : source->now_us;
	source->snapshot = snapshot_of(session, change);
	source->txid = change->txn ? (int64) change->txn->xid : -1;
	source->lsn = (int64) change->lsn;
	source->origin = change->txn ? change->txn->origin : NULL;
	source->origin = change->txn ? change->txn->origin : NULL;
	if (session->previous_commit_lsn != 0)
		snprintf(source->sequence, sizeof(source->sequence),
				 "[\"" UINT64_FORMAT "\",\"" UINT64_FORMAT "\"]",
				 session->previous_commit_lsn, change->lsn);
	else
		snprintf(source->sequence, sizeof(source->sequence),
				 "[null,\"" UINT64_FORMAT "\"]", change->lsn);
}

/* Append ,"ts_us":n,"ts_ns":n */
static void
append_fine_times(StringInfo out, int64 usecs)
{
	appendBinaryStringInfo(out, ",\"ts_us\":", 9);
	tap_json_append_int(out, usecs);
	appendBinaryStringInfo(out, ",\"ts_ns\":", 9);
	tap_json_append_int(out, usecs * 1000);
}

static void
append_source(StringInfo out, TapSession *session, const TapKafkaTable *table,
			  const TapKafkaSource *source)
{
	appendBinaryStringInfo(out, table->source_head.data, table->source_head.len);
	tap_json_append_int(out, source->ts_us / 1000);
	appendStringInfoString(out, ",\"snapshot\":\"");
	appendStringInfoString(out, source->snapshot);
	appendBinaryStringInfo(out, table->source_names.data, table->source_names.len);
	tap_json_append_cstring(out, source->sequence);
	append_fine_times(out, source->ts_us);
	appendBinaryStringInfo(out, table->source_tail.data, table->source_tail.len);
	if (source->txid >= 0)
		tap_json_append_int(out, source->txid);
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"lsn\":");
	tap_json_append_int(out, source->lsn);
	appendStringInfoString(out, ",\"xmin\":null,\"origin\":");
	if (source->origin != NULL)
		tap_json_append_cstring(out, source->origin);
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"origin_lsn\":null}");
}

void
tap_kafka_debezium_value(TapSession *session, TapKafkaTable *table, const TapOutChange *change,
						 char op, const TapRowImage *before, const TapRowImage *after,
						 StringInfo out)
{
	TapKafkaSource source;

	tap_kafka_source_of(session, change, &source);
	appendBinaryStringInfo(out, table->value_head.data, table->value_head.len);
	appendStringInfoString(out, "{\"before\":");
	append_row(out, table, before, false);
	appendStringInfoString(out, ",\"after\":");
	append_row(out, table, after, true);
	appendStringInfoCharMacro(out, ',');
	append_source(out, session, table, &source);
	appendStringInfoString(out, ",\"transaction\":");
	if (session->txn_id.len > 0 && change->txn != NULL)
		appendStringInfo(out, "{\"id\":\"%s\",\"total_order\":" INT64_FORMAT
						 ",\"data_collection_order\":" INT64_FORMAT "}",
						 session->txn_id.data, session->txn_order, table->order);
	else
		appendStringInfoString(out, "null");
	appendStringInfo(out, ",\"op\":\"%c\",\"ts_ms\":", op);
	tap_json_append_int(out, source.now_us / 1000);
	append_fine_times(out, source.now_us);
	appendStringInfoString(out, session->settings.schemas ? "}}" : "}");
}
