/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read_connect.c
 *	  Schemas of Kafka Connect, as its JsonConverter writes them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "access/htup_details.h"

/* A schema's own fields, as far as they matter. */
typedef struct ConnectSchema
{
	TapJsonValue type;
	TapJsonValue name;
	TapJsonValue field;			/* what the struct around it calls it */
	TapJsonValue items;
	TapJsonValue fields;
	TapJsonValue parameters;
} ConnectSchema;

static bool
read_schema(const TapJsonValue *object, ConnectSchema *schema)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	memset(schema, 0, sizeof(ConnectSchema));
	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&name, "type", 4))
			schema->type = value;
		else if (tap_json_is(&name, "name", 4))
			schema->name = value;
		else if (tap_json_is(&name, "field", 5))
			schema->field = value;
		else if (tap_json_is(&name, "items", 5))
			schema->items = value;
		else if (tap_json_is(&name, "fields", 6))
			schema->fields = value;
		else if (tap_json_is(&name, "parameters", 10))
			schema->parameters = value;
	}
	return scan.error == NULL && object->kind == TAP_JSON_OBJECT && schema->type.kind == TAP_JSON_STRING;
}

static TapKafkaWireKind
kind_of(const TapJsonValue *type)
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
		{"float", TAP_KAFKA_WIRE_FLOAT},
		{"float32", TAP_KAFKA_WIRE_FLOAT},
		{"double", TAP_KAFKA_WIRE_DOUBLE},
		{"float64", TAP_KAFKA_WIRE_DOUBLE},
		{"string", TAP_KAFKA_WIRE_STRING},
		{"bytes", TAP_KAFKA_WIRE_BYTES},
		{"array", TAP_KAFKA_WIRE_ARRAY},
	};

	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (tap_json_is(type, kinds[i].name, strlen(kinds[i].name)))
			return kinds[i].kind;
	}
	return TAP_KAFKA_WIRE_OBJECT;
}

static bool
set_wire(TapKafkaWire *wire, const ConnectSchema *schema)
{
	ConnectSchema items;
	TapKafkaWire *element;

	memset(wire, 0, sizeof(TapKafkaWire));
	wire->kind = kind_of(&schema->type);
	if (schema->name.kind == TAP_JSON_STRING)
		wire->name = pnstrdup(schema->name.text, schema->name.length);
	wire->scale = tap_kafka_schema_parameter(&schema->parameters, "scale");
	wire->precision = tap_kafka_schema_parameter(&schema->parameters, "connect.decimal.precision");
	wire->length = tap_kafka_schema_parameter(&schema->parameters, "length");
	if (wire->kind != TAP_KAFKA_WIRE_ARRAY)
		return true;
	element = palloc(sizeof(TapKafkaWire));
	wire->element = element;
	return read_schema(&schema->items, &items) && set_wire(element, &items);
}

/* The struct's field of that name. */
static bool
find_struct(const ConnectSchema *schema, const char *field, ConnectSchema *found)
{
	TapJsonScan scan;
	TapJsonValue value;

	if (schema->fields.kind != TAP_JSON_LIST)
		return false;
	tap_json_scan_begin(&scan, schema->fields.text, schema->fields.length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
	{
		if (read_schema(&value, found) && tap_json_is(&found->field, field, strlen(field)))
			return found->fields.kind == TAP_JSON_LIST;
	}
	return false;
}

static bool
set_column(TapRecordColumn *column, const TapJsonValue *value)
{
	ConnectSchema schema;
	TapKafkaWire wire;
	Size		length;
	const char *field;

	if (!read_schema(value, &schema) || schema.field.kind != TAP_JSON_STRING || !set_wire(&wire, &schema))
		return false;
	field = tap_json_unescape(&schema.field, &length);
	column->field = pnstrdup(field, length);
	column->name = column->field;
	tap_kafka_wire_column(&wire, column);
	return true;
}

TapRecordColumns *
tap_kafka_connect_columns(const TapJsonValue *object, const char *field)
{
	TapRecordColumns *result = palloc0(sizeof(TapRecordColumns));
	ConnectSchema schema;
	ConnectSchema inner;
	TapJsonScan scan;
	TapJsonValue value;

	if (!read_schema(object, &schema))
		return NULL;
	if (field != NULL && find_struct(&schema, field, &inner))
		schema = inner;
	if (schema.fields.kind != TAP_JSON_LIST)
		return NULL;
	result->columns = palloc0(sizeof(TapRecordColumn) * MaxHeapAttributeNumber);
	tap_json_scan_begin(&scan, schema.fields.text, schema.fields.length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
	{
		if (result->ncolumns == MaxHeapAttributeNumber ||
			!set_column(&result->columns[result->ncolumns], &value))
			return NULL;
		result->ncolumns++;
	}
	return result->ncolumns > 0 ? result : NULL;
}
