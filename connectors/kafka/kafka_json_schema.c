/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_json_schema.c
 *	  Columns of JSON schemas, as the registry keeps them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "access/htup_details.h"

#define MOST_DEPTH	16

/* A schema's own fields, as far as they matter. */
typedef struct JsonSchema
{
	TapJsonValue type;
	TapJsonValue format;
	TapJsonValue title;
	TapJsonValue connect_type;
	TapJsonValue parameters;
	TapJsonValue properties;
	TapJsonValue items;
	TapJsonValue choices;		/* oneOf or anyOf */
} JsonSchema;

static bool
read_schema(const TapJsonValue *object, JsonSchema *schema)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	memset(schema, 0, sizeof(JsonSchema));
	if (object->kind != TAP_JSON_OBJECT)
		return false;
	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&name, "type", 4))
			schema->type = value;
		else if (tap_json_is(&name, "format", 6))
			schema->format = value;
		else if (tap_json_is(&name, "title", 5))
			schema->title = value;
		else if (tap_json_is(&name, "connect.type", 12))
			schema->connect_type = value;
		else if (tap_json_is(&name, "connect.parameters", 18))
			schema->parameters = value;
		else if (tap_json_is(&name, "properties", 10))
			schema->properties = value;
		else if (tap_json_is(&name, "items", 5))
			schema->items = value;
		else if (tap_json_is(&name, "oneOf", 5) || tap_json_is(&name, "anyOf", 5))
			schema->choices = value;
	}
	return scan.error == NULL;
}

static bool
is_null(const TapJsonValue *object)
{
	JsonSchema	schema;

	return read_schema(object, &schema) && tap_json_is(&schema.type, "null", 4);
}

/* The only choice beside null; false: there is none, or there are more. */
static bool
only_choice(const TapJsonValue *list, TapJsonValue *choice)
{
	TapJsonScan scan;
	TapJsonValue value;
	int			count = 0;

	if (list->kind != TAP_JSON_LIST)
		return false;
	tap_json_scan_begin(&scan, list->text, list->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
	{
		if (is_null(&value))
			continue;
		*choice = value;
		count++;
	}
	return scan.error == NULL && count == 1;
}

/* The schema of an object, without the choice to be null. */
static bool
read_optional(const TapJsonValue *object, JsonSchema *schema)
{
	TapJsonValue choice;

	if (!read_schema(object, schema))
		return false;
	return schema->choices.kind == TAP_JSON_NULL ||
		(only_choice(&schema->choices, &choice) && read_schema(&choice, schema));
}

/* "type": "string", or ["null", "string"] */
static TapJsonValue
single_type(const TapJsonValue *type)
{
	TapJsonScan scan;
	TapJsonValue value;
	TapJsonValue none = {TAP_JSON_NULL};
	TapJsonValue result = none;

	if (type->kind != TAP_JSON_LIST)
		return *type;
	tap_json_scan_begin(&scan, type->text, type->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&value, "null", 4))
			continue;
		if (result.length > 0)
			return none;
		result = value;
	}
	return result;
}

static TapKafkaWireKind
kind_of(const JsonSchema *schema)
{
	static const struct
	{
		const char *name;
		TapKafkaWireKind kind;
	}			kinds[] = {
		{"boolean", TAP_KAFKA_WIRE_BOOLEAN},
		{"int8", TAP_KAFKA_WIRE_INT16},
		{"int16", TAP_KAFKA_WIRE_INT16},
		{"int32", TAP_KAFKA_WIRE_INT32},
		{"int64", TAP_KAFKA_WIRE_INT64},
		{"float32", TAP_KAFKA_WIRE_FLOAT},
		{"float64", TAP_KAFKA_WIRE_DOUBLE},
		{"bytes", TAP_KAFKA_WIRE_BYTES},
		{"string", TAP_KAFKA_WIRE_STRING},
		{"integer", TAP_KAFKA_WIRE_INT64},
		{"number", TAP_KAFKA_WIRE_NUMBER},
		{"array", TAP_KAFKA_WIRE_ARRAY},
	};
	TapJsonValue type = schema->connect_type.kind == TAP_JSON_STRING ? schema->connect_type :
	single_type(&schema->type);

	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (tap_json_is(&type, kinds[i].name, strlen(kinds[i].name)))
			return kinds[i].kind;
	}
	return TAP_KAFKA_WIRE_OBJECT;
}

/* Formats of strings that PostgreSQL has a type for. */
static char *
format_name(const JsonSchema *schema)
{
	const TapJsonValue *format = &schema->format;

	if (format->kind != TAP_JSON_STRING)
		return NULL;
	if (tap_json_is(format, "date-time", 9))
		return "io.debezium.time.ZonedTimestamp";
	if (tap_json_is(format, "date", 4))
		return "io.debezium.time.IsoDate";
	if (tap_json_is(format, "uuid", 4))
		return "io.debezium.data.Uuid";
	return NULL;
}

static TapKafkaWire *
make_wire(const TapJsonValue *object, int depth)
{
	TapKafkaWire *wire = palloc0(sizeof(TapKafkaWire));
	JsonSchema	schema;

	wire->kind = TAP_KAFKA_WIRE_OBJECT;
	if (depth > MOST_DEPTH || !read_optional(object, &schema))
		return wire;
	wire->kind = kind_of(&schema);
	if (schema.connect_type.kind == TAP_JSON_STRING && schema.title.kind == TAP_JSON_STRING)
		wire->name = pnstrdup(schema.title.text, schema.title.length);
	else if (wire->kind == TAP_KAFKA_WIRE_STRING)
		wire->name = format_name(&schema);
	wire->scale = tap_kafka_schema_parameter(&schema.parameters, "scale");
	wire->precision = tap_kafka_schema_parameter(&schema.parameters, "connect.decimal.precision");
	wire->length = tap_kafka_schema_parameter(&schema.parameters, "length");
	if (wire->kind == TAP_KAFKA_WIRE_ARRAY)
		wire->element = make_wire(&schema.items, depth + 1);
	return wire;
}

/* The property of that name, if it is an object with properties itself. */
static bool
find_object(const JsonSchema *schema, const char *field, JsonSchema *found)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	tap_json_scan_begin(&scan, schema->properties.text, schema->properties.length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&name, field, strlen(field)))
			return read_optional(&value, found) && found->properties.kind == TAP_JSON_OBJECT;
	}
	return false;
}

TapRecordColumns *
tap_kafka_json_schema_columns(const TapJsonValue *object, const char *field)
{
	TapRecordColumns *result = palloc0(sizeof(TapRecordColumns));
	JsonSchema	schema;
	JsonSchema	inner;
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	if (!read_optional(object, &schema) || schema.properties.kind != TAP_JSON_OBJECT)
		return NULL;
	if (field != NULL && find_object(&schema, field, &inner))
		schema = inner;
	result->columns = palloc0(sizeof(TapRecordColumn) * MaxHeapAttributeNumber);
	tap_json_scan_begin(&scan, schema.properties.text, schema.properties.length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		TapRecordColumn *column = &result->columns[result->ncolumns];
		Size		length;
		const char *text = tap_json_unescape(&name, &length);

		if (result->ncolumns == MaxHeapAttributeNumber)
			return NULL;
		column->field = pnstrdup(text, length);
		column->name = column->field;
		tap_kafka_wire_column(make_wire(&value, 0), column);
		result->ncolumns++;
	}
	return result->ncolumns > 0 ? result : NULL;
}
