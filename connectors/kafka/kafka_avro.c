/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_avro.c
 *	  Messages in Avro, in the wire format of Confluent's schema registry.
 *
 * A message is a zero byte, the schema's id in four bytes, and Avro's binary
 * encoding.  Schemas are those that Confluent's AvroConverter makes of Kafka
 * Connect's: types are told by "connect.name" and its companions.
 *
 * format avro has the row as value, debezium_avro Debezium's envelope.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_registry.h"
#include "kafka_types.h"

/* A schema on its way; named types are defined where they occur first. */
typedef struct SchemaText
{
	StringInfoData out;
	bool		has_point;
	bool		has_decimal;
} SchemaText;

/* ---------------------------------------------------------------------
 * Schemas
 * ---------------------------------------------------------------------
 */

/* A name as Avro allows it; dots are kept where it is a namespace. */
static char *
avro_name(const char *name, bool is_namespace)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *c = name; *c != '\0'; c++)
	{
		bool		digit = *c >= '0' && *c <= '9';
		bool		start = c == name || (is_namespace && c[-1] == '.');
		bool		legal = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_' ||
		(is_namespace && *c == '.');

		if (digit && start)
			appendStringInfoChar(&out, '_');
		appendStringInfoChar(&out, legal || digit ? *c : '_');
	}
	return out.data;
}

static void
append_connect(StringInfo out, const TapKafkaType *type)
{
	if (type->name == NULL)
		return;
	appendStringInfoString(out, ",\"connect.version\":1");
	if (type->parameters != NULL)
		appendStringInfo(out, ",\"connect.parameters\":%s", type->parameters);
	appendStringInfo(out, ",\"connect.name\":\"%s\"", type->name);
}

static void
append_named_struct(StringInfo out, const TapKafkaType *type, bool *defined)
{
	const char *name = strrchr(type->name, '.') + 1;

	if (*defined)
	{
		appendStringInfo(out, "\"%s\"", type->name);
		return;
	}
	*defined = true;
	appendStringInfo(out, "{\"type\":\"record\",\"name\":\"%s\",\"namespace\":\"%.*s\",\"fields\":[",
					 name, (int) (name - 1 - type->name), type->name);
	if (type->kind == TAP_KAFKA_POINT)
		appendStringInfoString(out, "{\"name\":\"x\",\"type\":\"double\"},"
							   "{\"name\":\"y\",\"type\":\"double\"},"
							   "{\"name\":\"wkb\",\"type\":[\"null\",\"bytes\"],\"default\":null},"
							   "{\"name\":\"srid\",\"type\":[\"null\",\"int\"],\"default\":null}]");
	else
		appendStringInfoString(out, "{\"name\":\"scale\",\"type\":\"int\"},"
							   "{\"name\":\"value\",\"type\":\"bytes\"}]");
	appendStringInfo(out, ",\"connect.version\":1,\"connect.name\":\"%s\"}", type->name);
}

/* Avro's own decimals have no negative scale, and none above the precision. */
static void
append_decimal(StringInfo out, const TapKafkaType *type)
{
	appendStringInfoString(out, "{\"type\":\"bytes\"");
	if (type->precision > 0 && type->scale >= 0 && type->scale <= type->precision)
		appendStringInfo(out, ",\"scale\":%d,\"precision\":%d", type->scale, type->precision);
	append_connect(out, type);
	if (type->precision > 0 && type->scale >= 0 && type->scale <= type->precision)
		appendStringInfoString(out, ",\"logicalType\":\"decimal\"");
	appendStringInfoChar(out, '}');
}

static const char *
primitive_name(TapKafkaKind kind)
{
	switch (kind)
	{
		case TAP_KAFKA_BOOLEAN:
			return "boolean";
		case TAP_KAFKA_INT16:
		case TAP_KAFKA_INT32:
			return "int";
		case TAP_KAFKA_INT64:
			return "long";
		case TAP_KAFKA_FLOAT:
			return "float";
		case TAP_KAFKA_DOUBLE:
			return "double";
		case TAP_KAFKA_STRING:
			return "string";
		default:
			return "bytes";
	}
}

static void
append_type(SchemaText *text, const TapKafkaType *type)
{
	StringInfo	out = &text->out;

	switch (type->kind)
	{
		case TAP_KAFKA_ARRAY:
			appendStringInfoString(out, "{\"type\":\"array\",\"items\":[\"null\",");
			append_type(text, type->element);
			appendStringInfoString(out, "]}");
			return;
		case TAP_KAFKA_POINT:
			append_named_struct(out, type, &text->has_point);
			return;
		case TAP_KAFKA_DECIMAL:
			append_named_struct(out, type, &text->has_decimal);
			return;
		case TAP_KAFKA_INT16:
			appendStringInfoString(out, "{\"type\":\"int\",\"connect.type\":\"int16\"}");
			return;
		default:
			break;
	}
	if (type->kind == TAP_KAFKA_BYTES && (type->precision > 0 || type->scale > 0))
		append_decimal(out, type);
	else if (type->name == NULL)
		appendStringInfo(out, "\"%s\"", primitive_name(type->kind));
	else
	{
		appendStringInfo(out, "{\"type\":\"%s\"", primitive_name(type->kind));
		append_connect(out, type);
		appendStringInfoChar(out, '}');
	}
}

static void
append_record(SchemaText *text, const TapKafkaTable *table, bool keys_only)
{
	const TapSourceTable *source = &table->source;
	const char *topic = avro_name(table->topic->name, true);
	const char *name = keys_only ? "Key" : "Value";
	StringInfo	out = &text->out;
	int			count = keys_only ? source->nkeys : source->descriptor->natts;
	const char *separator = "";

	appendStringInfo(out, "{\"type\":\"record\",\"name\":\"%s\",\"namespace\":\"%s\",\"fields\":[",
					 name, topic);
	for (int i = 0; i < count; i++)
	{
		const TapKafkaColumn *column = &table->columns[keys_only ? source->keys[i] - 1 : i];

		if (column->dropped)
			continue;
		appendStringInfo(out, "%s{\"name\":\"%s\",\"type\":", separator,
						 avro_name(column->name, false));
		separator = ",";
		if (column->optional)
			appendStringInfoString(out, "[\"null\",");
		append_type(text, column->type);
		appendStringInfoString(out, column->optional ? "],\"default\":null}" : "}");
	}
	appendStringInfo(out, "],\"connect.name\":\"%s.%s\"}", topic, name);
}

static const char source_schema[] =
"{\"type\":\"record\",\"name\":\"Source\",\"namespace\":\"io.debezium.connector.postgresql\",\"fields\":["
"{\"name\":\"version\",\"type\":\"string\"},"
"{\"name\":\"connector\",\"type\":\"string\"},"
"{\"name\":\"name\",\"type\":\"string\"},"
"{\"name\":\"ts_ms\",\"type\":\"long\"},"
"{\"name\":\"snapshot\",\"type\":[{\"type\":\"string\",\"connect.version\":1,"
"\"connect.parameters\":{\"allowed\":\"true,first,first_in_data_collection,"
"last_in_data_collection,last,false,incremental\"},"
"\"connect.default\":\"false\",\"connect.name\":\"io.debezium.data.Enum\"},\"null\"],\"default\":\"false\"},"
"{\"name\":\"db\",\"type\":\"string\"},"
"{\"name\":\"sequence\",\"type\":[\"null\",\"string\"],\"default\":null},"
"{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"ts_ns\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"schema\",\"type\":\"string\"},"
"{\"name\":\"table\",\"type\":\"string\"},"
"{\"name\":\"txId\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"lsn\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"xmin\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"origin\",\"type\":[\"null\",\"string\"],\"default\":null},"
"{\"name\":\"origin_lsn\",\"type\":[\"null\",\"long\"],\"default\":null}],"
"\"connect.version\":1,\"connect.name\":\"io.debezium.connector.postgresql.Source\"}";

static const char envelope_rest[] =
"{\"name\":\"transaction\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"block\",\"namespace\":\"event\",\"fields\":["
"{\"name\":\"id\",\"type\":\"string\"},"
"{\"name\":\"total_order\",\"type\":\"long\"},"
"{\"name\":\"data_collection_order\",\"type\":\"long\"}],"
"\"connect.version\":1,\"connect.name\":\"event.block\"}],\"default\":null},"
"{\"name\":\"op\",\"type\":\"string\"},"
"{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"ts_ns\",\"type\":[\"null\",\"long\"],\"default\":null}]";

static char *
value_schema(TapSession *session, const TapKafkaTable *table)
{
	const char *topic = avro_name(table->topic->name, true);
	SchemaText	text = {.has_point = false};

	initStringInfo(&text.out);
	if (session->settings.format == TAP_KAFKA_FORMAT_AVRO)
	{
		append_record(&text, table, false);
		return text.out.data;
	}
	appendStringInfo(&text.out, "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"%s\",\"fields\":["
					 "{\"name\":\"before\",\"type\":[\"null\",", topic);
	append_record(&text, table, false);
	appendStringInfo(&text.out, "],\"default\":null},"
					 "{\"name\":\"after\",\"type\":[\"null\",\"%s.Value\"],\"default\":null},"
					 "{\"name\":\"source\",\"type\":%s},%s,"
					 "\"connect.version\":2,\"connect.name\":\"%s.Envelope\"}",
					 topic, source_schema, envelope_rest, topic);
	return text.out.data;
}

static void
make_head(TapSession *session, const TapKafkaTable *table, StringInfo head, const char *kind,
		  const char *schema)
{
	uint32		id = tap_kafka_register_schema(session, psprintf("%s-%s", table->topic->name, kind),
											   schema);

	initStringInfo(head);
	appendStringInfoChar(head, '\0');
	for (int shift = 24; shift >= 0; shift -= 8)
		appendStringInfoChar(head, (char) (id >> shift));
}

void
tap_kafka_avro_prepare(TapSession *session, TapKafkaTable *table)
{
	table->columns = tap_kafka_columns(&table->source, session->settings.decimals);
	if (table->source.nkeys > 0)
	{
		SchemaText	key = {.has_point = false};

		initStringInfo(&key.out);
		append_record(&key, table, true);
		make_head(session, table, &table->key_head, "key", key.out.data);
	}
	make_head(session, table, &table->value_head, "value", value_schema(session, table));
}

/* ---------------------------------------------------------------------
 * Binary encoding
 * ---------------------------------------------------------------------
 */

static void
put_long(StringInfo out, int64 value)
{
	uint64		zigzag = ((uint64) value << 1) ^ (uint64) (value >> 63);

	while (zigzag >= 0x80)
	{
		appendStringInfoCharMacro(out, (char) (zigzag | 0x80));
		zigzag >>= 7;
	}
	appendStringInfoCharMacro(out, (char) zigzag);
}

static void
put_bytes(StringInfo out, const char *bytes, Size length)
{
	put_long(out, length);
	appendBinaryStringInfo(out, bytes, length);
}

static void
put_text(StringInfo out, const char *text)
{
	put_bytes(out, text, strlen(text));
}

/* The null branch, or the other one, of a union that begins with null. */
static void
put_branch(StringInfo out, bool there)
{
	appendStringInfoCharMacro(out, there ? 2 : 0);
}

static void
put_optional_long(StringInfo out, int64 value)
{
	put_branch(out, true);
	put_long(out, value);
}

static void
put_little_endian(StringInfo out, uint64 raw, int nbytes)
{
	for (int i = 0; i < nbytes; i++)
		appendStringInfoCharMacro(out, (char) (raw >> (8 * i)));
}

static void
put_double(StringInfo out, double number)
{
	uint64		raw;

	memcpy(&raw, &number, sizeof(raw));
	put_little_endian(out, raw, sizeof(raw));
}

static void
put_float(StringInfo out, float number)
{
	uint32		raw;

	memcpy(&raw, &number, sizeof(raw));
	put_little_endian(out, raw, sizeof(raw));
}

static void
put_value(StringInfo out, TapKafkaKind kind, const TapKafkaValue *value)
{
	switch (kind)
	{
		case TAP_KAFKA_BOOLEAN:
			appendStringInfoCharMacro(out, value->integer ? 1 : 0);
			break;
		case TAP_KAFKA_INT16:
		case TAP_KAFKA_INT32:
		case TAP_KAFKA_INT64:
			put_long(out, value->integer);
			break;
		case TAP_KAFKA_FLOAT:
			put_float(out, (float) value->number);
			break;
		case TAP_KAFKA_DOUBLE:
			put_double(out, value->number);
			break;
		case TAP_KAFKA_STRING:
		case TAP_KAFKA_BYTES:
			put_bytes(out, value->bytes, value->length);
			break;
		case TAP_KAFKA_POINT:
			put_double(out, value->number);
			put_double(out, value->second_number);
			put_branch(out, true);
			put_bytes(out, value->bytes, value->length);
			put_branch(out, false);
			break;
		case TAP_KAFKA_DECIMAL:
			put_long(out, value->integer);
			put_bytes(out, value->bytes, value->length);
			break;
		case TAP_KAFKA_ARRAY:
			put_long(out, 0);
			break;
	}
}

static void
put_datum(StringInfo out, TapKafkaType *type, Datum datum)
{
	TapKafkaValue value;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (type->kind != TAP_KAFKA_ARRAY)
	{
		type->convert(type, datum, &value);
		put_value(out, type->kind, &value);
		return;
	}
	count = tap_kafka_array_elements(type, datum, &values, &nulls);
	if (count > 0)
		put_long(out, count);
	for (int i = 0; i < count; i++)
	{
		put_branch(out, !nulls[i]);
		if (!nulls[i])
			put_datum(out, type->element, values[i]);
	}
	put_long(out, 0);
}

/* A column that is not known: unchanged in a new row, not told of an old one. */
static void
put_unknown(StringInfo out, const TapKafkaTable *table, int i, bool is_new)
{
	const TapKafkaColumn *column = &table->columns[i];
	TapKafkaValue value;

	if (column->optional)
		put_branch(out, is_new);
	if (!is_new && column->optional)
		return;
	if (!is_new)
	{
		tap_kafka_zero_value(column->type, &value);
		put_value(out, column->type->kind, &value);
		return;
	}
	tap_kafka_unavailable_value(table, i, &value);
	if (column->type->kind != TAP_KAFKA_ARRAY)
	{
		put_value(out, column->type->kind, &value);
		return;
	}
	put_long(out, 1);
	put_branch(out, true);
	put_value(out, column->type->element->kind, &value);
	put_long(out, 0);
}

static void
put_column(StringInfo out, const TapKafkaTable *table, const TapRowImage *image, int i,
		   bool is_new)
{
	const TapKafkaColumn *column = &table->columns[i];
	bool		isnull = image->slot->tts_isnull[i];

	if (image->present != NULL && !image->present[i])
	{
		put_unknown(out, table, i, is_new);
		return;
	}
	if (column->optional)
		put_branch(out, !isnull);
	else if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column \"%s\" of table %s, which is not null in its schema",
						column->name, table->full_name)));
	if (!isnull)
		put_datum(out, column->type, image->slot->tts_values[i]);
}

static void
put_row(StringInfo out, const TapKafkaTable *table, const TapRowImage *image, bool is_new)
{
	slot_getallattrs(image->slot);
	for (int i = 0; i < table->source.descriptor->natts; i++)
	{
		if (!table->columns[i].dropped)
			put_column(out, table, image, i, is_new);
	}
}

static void
put_optional_row(StringInfo out, const TapKafkaTable *table, const TapRowImage *image,
				 bool is_new)
{
	put_branch(out, image != NULL);
	if (image != NULL)
		put_row(out, table, image, is_new);
}

void
tap_kafka_avro_key(TapSession *session, TapKafkaTable *table, const TapRowImage *image,
				   StringInfo out)
{
	appendBinaryStringInfo(out, table->key_head.data, table->key_head.len);
	for (int i = 0; i < table->source.nkeys; i++)
		put_column(out, table, image, table->source.keys[i] - 1, false);
}

static void
put_source(StringInfo out, TapSession *session, const TapKafkaTable *table,
		   const TapKafkaSource *source)
{
	put_text(out, TAP_KAFKA_VERSION);
	put_text(out, "postgresql");
	put_text(out, session->settings.prefix);
	put_long(out, source->ts_us / 1000);
	put_long(out, 0);			/* of its union the string is the first */
	put_text(out, source->snapshot);
	put_text(out, session->settings.database);
	put_branch(out, true);
	put_text(out, source->sequence);
	put_optional_long(out, source->ts_us);
	put_optional_long(out, source->ts_us * 1000);
	put_text(out, table->schema_name);
	put_text(out, table->table_name);
	put_branch(out, source->txid >= 0);
	if (source->txid >= 0)
		put_long(out, source->txid);
	put_optional_long(out, source->lsn);
	put_branch(out, false);		/* xmin */
	put_branch(out, source->origin != NULL);
	if (source->origin != NULL)
		put_text(out, source->origin);
	put_branch(out, false);		/* origin_lsn */
}

static void
put_envelope(StringInfo out, TapSession *session, TapKafkaTable *table,
			 const TapOutChange *change, char op, const TapRowImage *before,
			 const TapRowImage *after)
{
	bool		in_txn = session->txn_id.len > 0 && change->txn != NULL;
	TapKafkaSource source;

	tap_kafka_source_of(session, change, &source);
	put_optional_row(out, table, before, false);
	put_optional_row(out, table, after, true);
	put_source(out, session, table, &source);
	put_branch(out, in_txn);
	if (in_txn)
	{
		put_text(out, session->txn_id.data);
		put_long(out, session->txn_order);
		put_long(out, table->order);
	}
	put_bytes(out, &op, 1);
	put_optional_long(out, source.now_us / 1000);
	put_optional_long(out, source.now_us);
	put_optional_long(out, source.now_us * 1000);
}

void
tap_kafka_avro_value(TapSession *session, TapKafkaTable *table, const TapOutChange *change,
					 char op, const TapRowImage *before, const TapRowImage *after,
					 StringInfo out)
{
	appendBinaryStringInfo(out, table->value_head.data, table->value_head.len);
	if (session->settings.format == TAP_KAFKA_FORMAT_DEBEZIUM_AVRO)
		put_envelope(out, session, table, change, op, before, after);
	else
		put_row(out, table, after ? after : before, after != NULL);
}
