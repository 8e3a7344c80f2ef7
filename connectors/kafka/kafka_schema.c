/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_schema.c
 *	  Schemas of Kafka Connect, as its JsonConverter writes them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_types.h"

static const char *
primitive_name(TapKafkaKind kind)
{
	switch (kind)
	{
		case TAP_KAFKA_BOOLEAN:
			return "boolean";
		case TAP_KAFKA_INT16:
			return "int16";
		case TAP_KAFKA_INT32:
			return "int32";
		case TAP_KAFKA_INT64:
			return "int64";
		case TAP_KAFKA_FLOAT:
			return "float";
		case TAP_KAFKA_DOUBLE:
			return "double";
		case TAP_KAFKA_STRING:
			return "string";
		case TAP_KAFKA_BYTES:
			return "bytes";
		case TAP_KAFKA_ARRAY:
		case TAP_KAFKA_POINT:
		case TAP_KAFKA_DECIMAL:
			break;
	}
	return NULL;
}

/* What is in front of "optional", and the documentation behind the version. */
static const char *
append_kind(StringInfo out, const TapKafkaType *type)
{
	switch (type->kind)
	{
		case TAP_KAFKA_ARRAY:
			appendStringInfoString(out, "{\"type\":\"array\",\"items\":");
			tap_kafka_append_schema(out, type->element, true, NULL);
			return NULL;
		case TAP_KAFKA_POINT:
			appendStringInfoString(out, "{\"type\":\"struct\",\"fields\":["
								   "{\"type\":\"double\",\"optional\":false,\"field\":\"x\"},"
								   "{\"type\":\"double\",\"optional\":false,\"field\":\"y\"},"
								   "{\"type\":\"bytes\",\"optional\":true,\"field\":\"wkb\"},"
								   "{\"type\":\"int32\",\"optional\":true,\"field\":\"srid\"}]");
			return "Geometry (POINT)";
		case TAP_KAFKA_DECIMAL:
			appendStringInfoString(out, "{\"type\":\"struct\",\"fields\":["
								   "{\"type\":\"int32\",\"optional\":false,\"field\":\"scale\"},"
								   "{\"type\":\"bytes\",\"optional\":false,\"field\":\"value\"}]");
			return "Variable scaled decimal";
		default:
			appendStringInfo(out, "{\"type\":\"%s\"", primitive_name(type->kind));
			return NULL;
	}
}

void
tap_kafka_append_schema(StringInfo out, const TapKafkaType *type, bool optional,
						const char *field)
{
	const char *doc = append_kind(out, type);

	appendStringInfo(out, ",\"optional\":%s", optional ? "true" : "false");
	if (type->name != NULL)
		appendStringInfo(out, ",\"name\":\"%s\",\"version\":1", type->name);
	if (doc != NULL)
		appendStringInfo(out, ",\"doc\":\"%s\"", doc);
	if (type->parameters != NULL)
		appendStringInfo(out, ",\"parameters\":%s", type->parameters);
	if (field != NULL)
	{
		appendStringInfoString(out, ",\"field\":");
		tap_json_append_cstring(out, field);
	}
	appendStringInfoChar(out, '}');
}

static void
append_field(StringInfo out, const TapKafkaColumn *column, const char *separator)
{
	appendStringInfoString(out, separator);
	tap_kafka_append_schema(out, column->type, column->optional, column->name);
}

void
tap_kafka_append_fields(StringInfo out, const TapKafkaTable *table, bool keys_only)
{
	const TapSourceTable *source = &table->source;
	const char *separator = "";
	int			count = keys_only ? source->nkeys : source->descriptor->natts;

	for (int i = 0; i < count; i++)
	{
		const TapKafkaColumn *column = &table->columns[keys_only ? source->keys[i] - 1 : i];

		if (column->dropped)
			continue;
		append_field(out, column, separator);
		separator = ",";
	}
}
