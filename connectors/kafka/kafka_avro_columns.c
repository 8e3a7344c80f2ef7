/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_avro_columns.c
 *	  Columns of Avro's records.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "access/htup_details.h"
#include "kafka_avro_read.h"

/* Avro's logical types by the names of those that are the same. */
static char *
logical_name(const TapAvroNode *node)
{
	static const struct
	{
		const char *logical;
		const char *name;
	}			names[] = {
		{"date", "io.debezium.time.Date"},
		{"time-millis", "io.debezium.time.Time"},
		{"time-micros", "io.debezium.time.MicroTime"},
		{"timestamp-millis", "timestamp-millis"},
		{"timestamp-micros", "timestamp-micros"},
		{"timestamp-nanos", "timestamp-nanos"},
		{"local-timestamp-millis", "io.debezium.time.Timestamp"},
		{"local-timestamp-micros", "io.debezium.time.MicroTimestamp"},
		{"local-timestamp-nanos", "io.debezium.time.NanoTimestamp"},
	};

	if (node->connect_name != NULL || node->logical == NULL)
		return node->connect_name;
	if (strcmp(node->logical, "decimal") == 0 &&
		(node->kind == TAP_AVRO_BYTES || node->kind == TAP_AVRO_FIXED))
		return "org.apache.kafka.connect.data.Decimal";
	if (strcmp(node->logical, "uuid") == 0 && node->kind == TAP_AVRO_STRING)
		return "io.debezium.data.Uuid";
	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(node->logical, names[i].logical) == 0 &&
			(node->kind == TAP_AVRO_INT || node->kind == TAP_AVRO_LONG))
			return unconstify(char *, names[i].name);
	}
	return NULL;
}

/* What a union of it and null is of; NULL: of several. */
static const TapAvroNode *
without_null(const TapAvroNode *node)
{
	const TapAvroNode *result = NULL;

	if (node->kind != TAP_AVRO_UNION)
		return node;
	for (int i = 0; i < node->nparts; i++)
	{
		if (node->parts[i]->kind == TAP_AVRO_NULL)
			continue;
		if (result != NULL)
			return NULL;
		result = node->parts[i];
	}
	return result;
}

static TapKafkaWireKind
wire_kind(const TapAvroNode *node)
{
	switch (node->kind)
	{
		case TAP_AVRO_BOOLEAN:
			return TAP_KAFKA_WIRE_BOOLEAN;
		case TAP_AVRO_INT:
			return node->is_int16 ? TAP_KAFKA_WIRE_INT16 : TAP_KAFKA_WIRE_INT32;
		case TAP_AVRO_LONG:
			return TAP_KAFKA_WIRE_INT64;
		case TAP_AVRO_FLOAT:
			return TAP_KAFKA_WIRE_FLOAT;
		case TAP_AVRO_DOUBLE:
			return TAP_KAFKA_WIRE_DOUBLE;
		case TAP_AVRO_BYTES:
		case TAP_AVRO_FIXED:
			return TAP_KAFKA_WIRE_BYTES;
		case TAP_AVRO_NULL:
		case TAP_AVRO_STRING:
		case TAP_AVRO_ENUM:
			return TAP_KAFKA_WIRE_STRING;
		case TAP_AVRO_ARRAY:
			return TAP_KAFKA_WIRE_ARRAY;
		case TAP_AVRO_RECORD:
		case TAP_AVRO_MAP:
		case TAP_AVRO_UNION:
			break;
	}
	return TAP_KAFKA_WIRE_OBJECT;
}

/* Lists within lists end at nesting that no array of PostgreSQL has. */
static TapKafkaWire *
make_wire(const TapAvroNode *node, int depth)
{
	TapKafkaWire *wire = palloc0(sizeof(TapKafkaWire));

	node = without_null(node);
	wire->kind = TAP_KAFKA_WIRE_OBJECT;
	if (node == NULL || depth > 6)
		return wire;
	wire->kind = wire_kind(node);
	wire->name = logical_name(node);
	wire->scale = node->scale;
	wire->precision = node->precision;
	wire->length = node->length;
	if (wire->kind == TAP_KAFKA_WIRE_ARRAY)
		wire->element = make_wire(node->parts[0], depth + 1);
	return wire;
}

static const TapAvroNode *
find_record(const TapAvroNode *record, const char *field)
{
	for (int i = 0; i < record->nparts; i++)
	{
		const TapAvroNode *found;

		if (strcmp(record->names[i], field) != 0)
			continue;
		found = without_null(record->parts[i]);
		return found != NULL && found->kind == TAP_AVRO_RECORD ? found : record;
	}
	return record;
}

TapRecordColumns *
tap_kafka_avro_columns(const TapAvroSchema *schema, const char *field)
{
	const TapAvroNode *record = without_null(schema->root);
	TapRecordColumns *result = palloc0(sizeof(TapRecordColumns));

	if (record == NULL || record->kind != TAP_AVRO_RECORD)
		return NULL;
	if (field != NULL)
		record = find_record(record, field);
	if (record->nparts == 0 || record->nparts > MaxHeapAttributeNumber)
		return NULL;
	result->columns = palloc0(sizeof(TapRecordColumn) * record->nparts);
	for (int i = 0; i < record->nparts; i++)
	{
		TapRecordColumn *column = &result->columns[result->ncolumns++];

		column->field = tap_kafka_from_utf8(record->names[i]);
		column->name = column->field;
		tap_kafka_wire_column(make_wire(record->parts[i], 0), column);
	}
	return result;
}
