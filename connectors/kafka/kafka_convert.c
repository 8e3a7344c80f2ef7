/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_convert.c
 *	  Values of PostgreSQL become values of Kafka Connect.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_types.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/geo_decls.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varbit.h"

/* What Debezium's JDBC driver makes of infinite times and dates. */
#define INFINITE_TIMESTAMP			INT64CONST(9223372036825200000)
#define MINUS_INFINITE_TIMESTAMP	INT64CONST(-9223372036832400000)

/* Microseconds of a month, of 365.25 days in a year. */
#define USECS_PER_MONTH				(365.25 / 12 * USECS_PER_DAY)

#define EPOCH_DAYS	(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)

static void
set_text(TapKafkaValue *value, const char *text, Size length)
{
	value->length = length;
	value->bytes = tap_json_utf8(text, &value->length);
}

void
tap_kafka_convert_bool(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetBool(datum);
}

void
tap_kafka_convert_int2(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetInt16(datum);
}

void
tap_kafka_convert_int4(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetInt32(datum);
}

void
tap_kafka_convert_int8(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetInt64(datum);
}

void
tap_kafka_convert_oid(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetObjectId(datum);
}

void
tap_kafka_convert_float4(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetFloat4(datum);
}

void
tap_kafka_convert_float8(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetFloat8(datum);
}

void
tap_kafka_convert_text(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(datum);

	set_text(value, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
}

void
tap_kafka_convert_output(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	char	   *text = OutputFunctionCall(&type->function, datum);

	set_text(value, text, strlen(text));
}

/* By a function to json, whose result is text. */
void
tap_kafka_convert_by_function(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	tap_kafka_convert_text(type, FunctionCall1(&type->function, datum), value);
}

void
tap_kafka_convert_bytea(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	bytea	   *bytes = DatumGetByteaPP(datum);

	value->bytes = VARDATA_ANY(bytes);
	value->length = VARSIZE_ANY_EXHDR(bytes);
}

void
tap_kafka_convert_numeric(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Numeric		number = DatumGetNumeric(datum);

	if (numeric_is_nan(number) || numeric_is_inf(number))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a decimal of Kafka Connect cannot be NaN or infinite"),
				 errhint("Set the option \"decimal_handling\" to string or double.")));
	tap_kafka_decimal(DatumGetCString(DirectFunctionCall1(numeric_out, datum)),
					  type->kind == TAP_KAFKA_DECIMAL ? -1 : type->scale, value);
}

void
tap_kafka_convert_numeric_double(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, datum));
}

void
tap_kafka_convert_money(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	tap_kafka_decimal_of_integer(DatumGetCash(datum), value);
}

void
tap_kafka_convert_money_text(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Cash		cash = DatumGetCash(datum);
	uint64		cents = cash < 0 ? -(uint64) cash : (uint64) cash;
	char	   *text = psprintf("%s" UINT64_FORMAT ".%02d", cash < 0 ? "-" : "",
								cents / 100, (int) (cents % 100));

	set_text(value, text, strlen(text));
}

void
tap_kafka_convert_money_double(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetCash(datum) / 100.0;
}

void
tap_kafka_convert_date(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	DateADT		date = DatumGetDateADT(datum);

	if (DATE_IS_NOBEGIN(date))
		value->integer = PG_INT32_MIN;
	else if (DATE_IS_NOEND(date))
		value->integer = PG_INT32_MAX;
	else
		value->integer = date + EPOCH_DAYS;
}

void
tap_kafka_convert_time(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	TimeADT		time = DatumGetTimeADT(datum);

	value->integer = type->kind == TAP_KAFKA_INT32 ? time / 1000 : time;
}

void
tap_kafka_convert_timestamp(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Timestamp	timestamp = DatumGetTimestamp(datum);

	if (TIMESTAMP_IS_NOBEGIN(timestamp))
		value->integer = MINUS_INFINITE_TIMESTAMP;
	else if (TIMESTAMP_IS_NOEND(timestamp))
		value->integer = INFINITE_TIMESTAMP;
	else
	{
		value->integer = timestamp + EPOCH_DAYS * USECS_PER_DAY;

		/* the typmod leaves whole milliseconds */
		if (type->fraction <= 3)
			value->integer /= 1000;
	}
}

/* Always with as many digits of seconds as the type has. */
void
tap_kafka_convert_timestamptz(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	TimestampTz timestamp = DatumGetTimestampTz(datum);
	struct pg_tm tm;
	fsec_t		fsec;
	char	   *text;
	int			year;

	if (TIMESTAMP_NOT_FINITE(timestamp))
	{
		text = pstrdup(TIMESTAMP_IS_NOEND(timestamp) ? "infinity" : "-infinity");
		set_text(value, text, strlen(text));
		return;
	}
	if (timestamp2tm(timestamp, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));

	/* ISO 8601's year 0 is 1 BC; years of more than four digits have a sign */
	year = tm.tm_year;
	text = palloc(64);
	snprintf(text, 64, "%s%04d-%02d-%02dT%02d:%02d:%02d", year < 0 ? "-" : year > 9999 ? "+" : "",
			 abs(year), tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (type->fraction > 0)
	{
		char		digits[8];

		snprintf(digits, sizeof(digits), "%06d", fsec);
		digits[type->fraction] = '\0';
		strlcat(text, ".", 64);
		strlcat(text, digits, 64);
	}
	strlcat(text, "Z", 64);
	set_text(value, text, strlen(text));
}

void
tap_kafka_convert_timetz(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	TimeTzADT  *time = DatumGetTimeTzADTP(datum);
	int64		usecs = (time->time + time->zone * USECS_PER_SEC) % USECS_PER_DAY;
	char	   *text = palloc(32);
	int			length;

	if (usecs < 0)
		usecs += USECS_PER_DAY;
	length = snprintf(text, 32, "%02d:%02d:%02d", (int) (usecs / USECS_PER_HOUR),
					  (int) (usecs / USECS_PER_MINUTE % 60), (int) (usecs / USECS_PER_SEC % 60));
	if (usecs % USECS_PER_SEC != 0)
	{
		length += snprintf(text + length, 32 - length, ".%06d", (int) (usecs % USECS_PER_SEC));
		while (text[length - 1] == '0')
			length--;
	}
	text[length++] = 'Z';
	set_text(value, text, length);
}

void
tap_kafka_convert_interval(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Interval   *interval = DatumGetIntervalP(datum);

	/* infinite ones, of PostgreSQL 17, have the extreme values in all parts */
	if (interval->month == PG_INT32_MAX && interval->time == PG_INT64_MAX)
		value->integer = PG_INT64_MAX;
	else if (interval->month == PG_INT32_MIN && interval->time == PG_INT64_MIN)
		value->integer = PG_INT64_MIN;
	else if (pg_add_s64_overflow(interval->time,
								 interval->day * USECS_PER_DAY +
								 (int64) (interval->month * USECS_PER_MONTH), &value->integer))
		ereport(ERROR,
				(errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
				 errmsg("interval has more microseconds than a number of 64 bits holds")));
}

void
tap_kafka_convert_bit(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	VarBit	   *bits = DatumGetVarBitP(datum);

	value->integer = VARBITLEN(bits) > 0 && (VARBITS(bits)[0] & 0x80) != 0;
}

/* The last bit is the lowest of the first byte; no zero bytes at the end. */
void
tap_kafka_convert_bits(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	VarBit	   *bits = DatumGetVarBitP(datum);
	int			nbits = VARBITLEN(bits);
	uint8	   *bytes = palloc0(nbits / 8 + 1);

	value->length = 0;
	for (int i = 0; i < nbits; i++)
	{
		int			from = nbits - 1 - i;

		if ((VARBITS(bits)[from / 8] & (0x80 >> (from % 8))) == 0)
			continue;
		bytes[i / 8] |= 1 << (i % 8);
		value->length = i / 8 + 1;
	}
	value->bytes = (char *) bytes;
}

/* WKB in little endian, as Debezium makes it: order, type 1, x, y. */
void
tap_kafka_convert_point(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Point	   *point = DatumGetPointP(datum);
	double		numbers[2] = {point->x, point->y};
	uint8	   *wkb = palloc0(21);

	wkb[0] = 1;
	wkb[1] = 1;
	for (int n = 0; n < 2; n++)
	{
		uint64		raw;

		memcpy(&raw, &numbers[n], sizeof(raw));
		for (int i = 0; i < 8; i++)
			wkb[5 + n * 8 + i] = (uint8) (raw >> (8 * i));
	}
	value->number = point->x;
	value->second_number = point->y;
	value->bytes = (char *) wkb;
	value->length = 21;
}

int
tap_kafka_array_elements(TapKafkaType *type, Datum datum, Datum **values, bool **nulls)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	TapKafkaType *element = type->element;
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("an array of %d dimensions has no schema in Kafka Connect", ARR_NDIM(array)),
				 errhint("Set the option \"format\" to json, or leave the column out with the option \"columns\".")));
	deconstruct_array(array, ARR_ELEMTYPE(array), element->length, element->by_value,
					  element->alignment, values, nulls, &count);
	return count;
}

void
tap_kafka_zero_value(const TapKafkaType *type, TapKafkaValue *value)
{
	memset(value, 0, sizeof(*value));
	value->bytes = "";

	/* the number 0 has one byte */
	if ((type->kind == TAP_KAFKA_DECIMAL || type->kind == TAP_KAFKA_BYTES) &&
		(type->oid == NUMERICOID || type->oid == CASHOID))
		value->length = 1;
}

void
tap_kafka_unavailable_value(const TapKafkaTable *table, int column, TapKafkaValue *value)
{
	const TapKafkaType *type = table->columns[column].type;

	if (type->kind == TAP_KAFKA_ARRAY)
		type = type->element;
	if ((type->kind != TAP_KAFKA_STRING && type->kind != TAP_KAFKA_BYTES) ||
		type->oid == NUMERICOID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the value of column \"%s\" of table %s did not change, and is not in the WAL",
						table->columns[column].name, table->full_name),
				 errhint("Run ALTER TABLE %s REPLICA IDENTITY FULL.", table->full_name)));
	memset(value, 0, sizeof(*value));
	value->bytes = TAP_KAFKA_UNAVAILABLE;
	value->length = strlen(TAP_KAFKA_UNAVAILABLE);
}
