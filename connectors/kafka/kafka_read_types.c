/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read_types.c
 *	  Types of Kafka Connect and Debezium to columns.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

typedef struct LogicalType
{
	const char *name;
	Oid			type;
	TapRecordForm form;
} LogicalType;

static const LogicalType logical_types[] = {
	{"io.debezium.time.Date", DATEOID, TAP_RECORD_DAYS},
	{"org.apache.kafka.connect.data.Date", DATEOID, TAP_RECORD_DAYS},
	{"io.debezium.time.Time", TIMEOID, TAP_RECORD_MILLIS},
	{"org.apache.kafka.connect.data.Time", TIMEOID, TAP_RECORD_MILLIS},
	{"io.debezium.time.MicroTime", TIMEOID, TAP_RECORD_MICROS},
	{"io.debezium.time.NanoTime", TIMEOID, TAP_RECORD_NANOS},
	{"io.debezium.time.Timestamp", TIMESTAMPOID, TAP_RECORD_MILLIS},
	{"org.apache.kafka.connect.data.Timestamp", TIMESTAMPOID, TAP_RECORD_MILLIS},
	{"io.debezium.time.MicroTimestamp", TIMESTAMPOID, TAP_RECORD_MICROS},
	{"io.debezium.time.NanoTimestamp", TIMESTAMPOID, TAP_RECORD_NANOS},
	{"timestamp-millis", TIMESTAMPTZOID, TAP_RECORD_MILLIS},
	{"timestamp-micros", TIMESTAMPTZOID, TAP_RECORD_MICROS},
	{"timestamp-nanos", TIMESTAMPTZOID, TAP_RECORD_NANOS},
	{"io.debezium.time.ZonedTimestamp", TIMESTAMPTZOID, TAP_RECORD_PLAIN},
	{"io.debezium.time.ZonedTime", TIMETZOID, TAP_RECORD_PLAIN},
	{"io.debezium.time.IsoDate", DATEOID, TAP_RECORD_PLAIN},
	{"io.debezium.time.IsoTime", TIMEOID, TAP_RECORD_PLAIN},
	{"io.debezium.time.IsoTimestamp", TIMESTAMPOID, TAP_RECORD_PLAIN},
	{"io.debezium.time.MicroDuration", INTERVALOID, TAP_RECORD_INTERVAL_MICROS},
	{"io.debezium.time.NanoDuration", INTERVALOID, TAP_RECORD_NANOS},
	{"io.debezium.time.Interval", INTERVALOID, TAP_RECORD_PLAIN},
	{"io.debezium.data.Uuid", UUIDOID, TAP_RECORD_PLAIN},
	{"io.debezium.data.Json", JSONBOID, TAP_RECORD_TEXT},
	{"io.debezium.data.Xml", XMLOID, TAP_RECORD_PLAIN},
	{"io.debezium.data.geometry.Point", POINTOID, TAP_RECORD_POINT},
	{"io.debezium.data.VariableScaleDecimal", NUMERICOID, TAP_RECORD_SCALED_DECIMAL},
};

static void
set_type(TapRecordColumn *column, Oid type, TapRecordForm form)
{
	column->type = type;
	column->typmod = -1;
	column->form = form;
}

/* As numeric.c packs it. */
static int32
numeric_typmod(int precision, int scale)
{
	if (precision < 1 || precision > NUMERIC_MAX_PRECISION ||
		scale < NUMERIC_MIN_SCALE || scale > NUMERIC_MAX_SCALE)
		return -1;
	return ((precision << 16) | (scale & 0x7ff)) + VARHDRSZ;
}

static void
set_bits(const TapKafkaWire *wire, TapRecordColumn *column)
{
	bool		is_fixed = wire->length > 0 && wire->length <= MaxAttrSize * BITS_PER_BYTE;

	set_type(column, is_fixed ? BITOID : VARBITOID, TAP_RECORD_BITS);
	if (is_fixed)
		column->typmod = wire->length;
}

static bool
set_logical(const TapKafkaWire *wire, TapRecordColumn *column)
{
	if (wire->name == NULL)
		return false;
	if (strcmp(wire->name, "io.debezium.data.Bits") == 0)
	{
		set_bits(wire, column);
		return true;
	}
	if (strcmp(wire->name, "org.apache.kafka.connect.data.Decimal") == 0)
	{
		set_type(column, NUMERICOID, TAP_RECORD_DECIMAL);
		column->typmod = numeric_typmod(wire->precision, wire->scale);
		column->scale = wire->scale;
		return true;
	}
	for (int i = 0; i < lengthof(logical_types); i++)
	{
		if (strcmp(wire->name, logical_types[i].name) == 0)
		{
			set_type(column, logical_types[i].type, logical_types[i].form);
			return true;
		}
	}
	return false;
}

/* Of scalars, whose arrays PostgreSQL has; others are JSON. */
static void
set_array(const TapKafkaWire *wire, TapRecordColumn *column)
{
	const TapKafkaWire *element = wire->element;
	Oid			array;

	while (element != NULL && element->kind == TAP_KAFKA_WIRE_ARRAY)
		element = element->element;
	if (element == NULL)
		return;
	tap_kafka_wire_column(element, column);
	array = column->type == JSONBOID && column->form == TAP_RECORD_PLAIN ? InvalidOid :
		get_array_type(column->type);
	if (OidIsValid(array))
		column->type = array;
	else
		set_type(column, JSONBOID, TAP_RECORD_PLAIN);
}

void
tap_kafka_wire_column(const TapKafkaWire *wire, TapRecordColumn *column)
{
	set_type(column, JSONBOID, TAP_RECORD_PLAIN);
	column->scale = 0;
	if (set_logical(wire, column))
		return;
	switch (wire->kind)
	{
		case TAP_KAFKA_WIRE_BOOLEAN:
			column->type = BOOLOID;
			break;
		case TAP_KAFKA_WIRE_INT16:
			column->type = INT2OID;
			break;
		case TAP_KAFKA_WIRE_INT32:
			column->type = INT4OID;
			break;
		case TAP_KAFKA_WIRE_INT64:
			column->type = INT8OID;
			break;
		case TAP_KAFKA_WIRE_FLOAT:
			column->type = FLOAT4OID;
			break;
		case TAP_KAFKA_WIRE_DOUBLE:
			column->type = FLOAT8OID;
			break;
		case TAP_KAFKA_WIRE_NUMBER:
			column->type = NUMERICOID;
			break;
		case TAP_KAFKA_WIRE_STRING:
			column->type = TEXTOID;
			break;
		case TAP_KAFKA_WIRE_BYTES:
			set_type(column, BYTEAOID, TAP_RECORD_BASE64);
			break;
		case TAP_KAFKA_WIRE_ARRAY:
			set_array(wire, column);
			break;
		case TAP_KAFKA_WIRE_OBJECT:
			break;
	}
}

int
tap_kafka_schema_parameter(const TapJsonValue *parameters, const char *name)
{
	TapJsonScan scan;
	TapJsonValue key;
	TapJsonValue value;
	int			result = 0;

	if (parameters->kind != TAP_JSON_OBJECT)
		return 0;
	tap_json_scan_begin(&scan, parameters->text, parameters->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &key) && tap_json_scan_value(&scan, &value))
	{
		char		digits[12] = "";

		if (!tap_json_is(&key, name, strlen(name)) || value.length >= sizeof(digits))
			continue;
		memcpy(digits, value.text, value.length);
		result = atoi(digits);
	}
	return result;
}
