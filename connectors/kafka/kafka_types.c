/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_types.c
 *	  Values of PostgreSQL by the types of Kafka Connect, as Debezium's
 *	  connector for PostgreSQL maps them.
 *
 * Types that Debezium leaves out of its messages (composites, ranges of other
 * types, geometric types but point, ...) are strings of their output function.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_types.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/geo_decls.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varbit.h"

/* What Debezium's JDBC driver makes of infinite times and dates. */
#define INFINITE_TIMESTAMP			INT64CONST(9223372036825200000)
#define MINUS_INFINITE_TIMESTAMP	INT64CONST(-9223372036832400000)

/* Microseconds of a month, of 365.25 days in a year. */
#define USECS_PER_MONTH				(365.25 / 12 * USECS_PER_DAY)

#define EPOCH_DAYS	(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)

/* ---------------------------------------------------------------------
 * Converting
 * ---------------------------------------------------------------------
 */

static void
set_text(TapKafkaValue *value, const char *text, Size length)
{
	value->length = length;
	value->bytes = tap_json_utf8(text, &value->length);
}

static void
convert_bool(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetBool(datum);
}

static void
convert_int2(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetInt16(datum);
}

static void
convert_int4(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetInt32(datum);
}

static void
convert_int8(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetInt64(datum);
}

static void
convert_oid(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->integer = DatumGetObjectId(datum);
}

static void
convert_float4(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetFloat4(datum);
}

static void
convert_float8(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetFloat8(datum);
}

static void
convert_text(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(datum);

	set_text(value, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
}

static void
convert_output(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	char	   *text = OutputFunctionCall(&type->function, datum);

	set_text(value, text, strlen(text));
}

/* By a function to json, whose result is text. */
static void
convert_by_function(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	convert_text(type, FunctionCall1(&type->function, datum), value);
}

static void
convert_bytea(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	bytea	   *bytes = DatumGetByteaPP(datum);

	value->bytes = VARDATA_ANY(bytes);
	value->length = VARSIZE_ANY_EXHDR(bytes);
}

static void
convert_numeric(TapKafkaType *type, Datum datum, TapKafkaValue *value)
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

static void
convert_numeric_double(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, datum));
}

static void
convert_money(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	tap_kafka_decimal_of_integer(DatumGetCash(datum), value);
}

static void
convert_money_text(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Cash		cash = DatumGetCash(datum);
	uint64		cents = cash < 0 ? -(uint64) cash : (uint64) cash;
	char	   *text = psprintf("%s" UINT64_FORMAT ".%02d", cash < 0 ? "-" : "",
								cents / 100, (int) (cents % 100));

	set_text(value, text, strlen(text));
}

static void
convert_money_double(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	value->number = DatumGetCash(datum) / 100.0;
}

static void
convert_date(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	DateADT		date = DatumGetDateADT(datum);

	if (DATE_IS_NOBEGIN(date))
		value->integer = PG_INT32_MIN;
	else if (DATE_IS_NOEND(date))
		value->integer = PG_INT32_MAX;
	else
		value->integer = date + EPOCH_DAYS;
}

static void
convert_time(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	TimeADT		time = DatumGetTimeADT(datum);

	value->integer = type->kind == TAP_KAFKA_INT32 ? time / 1000 : time;
}

static void
convert_timestamp(TapKafkaType *type, Datum datum, TapKafkaValue *value)
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
static void
convert_timestamptz(TapKafkaType *type, Datum datum, TapKafkaValue *value)
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

static void
convert_timetz(TapKafkaType *type, Datum datum, TapKafkaValue *value)
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

static void
convert_interval(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	Interval   *interval = DatumGetIntervalP(datum);

	value->integer = interval->time + (int64) interval->day * USECS_PER_DAY +
		(int64) (interval->month * USECS_PER_MONTH);
}

static void
convert_bit(TapKafkaType *type, Datum datum, TapKafkaValue *value)
{
	VarBit	   *bits = DatumGetVarBitP(datum);

	value->integer = VARBITLEN(bits) > 0 && (VARBITS(bits)[0] & 0x80) != 0;
}

/* The last bit is the lowest of the first byte; no zero bytes at the end. */
static void
convert_bits(TapKafkaType *type, Datum datum, TapKafkaValue *value)
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
static void
convert_point(TapKafkaType *type, Datum datum, TapKafkaValue *value)
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

/* ---------------------------------------------------------------------
 * Which type is what
 * ---------------------------------------------------------------------
 */

static const struct
{
	Oid			oid;
	TapKafkaKind kind;
	TapKafkaConvert convert;
	const char *name;
}			simple_types[] =

{
	{BOOLOID, TAP_KAFKA_BOOLEAN, convert_bool, NULL},
	{INT2OID, TAP_KAFKA_INT16, convert_int2, NULL},
	{INT4OID, TAP_KAFKA_INT32, convert_int4, NULL},
	{INT8OID, TAP_KAFKA_INT64, convert_int8, NULL},
	{OIDOID, TAP_KAFKA_INT64, convert_oid, NULL},
	{FLOAT4OID, TAP_KAFKA_FLOAT, convert_float4, NULL},
	{FLOAT8OID, TAP_KAFKA_DOUBLE, convert_float8, NULL},
	{TEXTOID, TAP_KAFKA_STRING, convert_text, NULL},
	{VARCHAROID, TAP_KAFKA_STRING, convert_text, NULL},
	{BPCHAROID, TAP_KAFKA_STRING, convert_text, NULL},
	{JSONOID, TAP_KAFKA_STRING, convert_text, "io.debezium.data.Json"},
	{JSONBOID, TAP_KAFKA_STRING, convert_output, "io.debezium.data.Json"},
	{XMLOID, TAP_KAFKA_STRING, convert_text, "io.debezium.data.Xml"},
	{UUIDOID, TAP_KAFKA_STRING, convert_output, "io.debezium.data.Uuid"},
	{TSVECTOROID, TAP_KAFKA_STRING, convert_output, "io.debezium.data.Tsvector"},
	{BYTEAOID, TAP_KAFKA_BYTES, convert_bytea, NULL},
	{DATEOID, TAP_KAFKA_INT32, convert_date, "io.debezium.time.Date"},
	{TIMETZOID, TAP_KAFKA_STRING, convert_timetz, "io.debezium.time.ZonedTime"},
	{TIMESTAMPTZOID, TAP_KAFKA_STRING, convert_timestamptz, "io.debezium.time.ZonedTimestamp"},
	{INTERVALOID, TAP_KAFKA_INT64, convert_interval, "io.debezium.time.MicroDuration"},
	{POINTOID, TAP_KAFKA_POINT, convert_point, "io.debezium.data.geometry.Point"}
};

static bool
set_simple(TapKafkaType *type)
{
	for (int i = 0; i < lengthof(simple_types); i++)
	{
		if (simple_types[i].oid != type->oid)
			continue;
		type->kind = simple_types[i].kind;
		type->convert = simple_types[i].convert;
		type->name = simple_types[i].name;
		return true;
	}
	return false;
}

static void
set_numeric(TapKafkaType *type, int32 typmod, TapKafkaDecimals decimals)
{
	if (decimals == TAP_KAFKA_DECIMALS_DOUBLE)
	{
		type->kind = TAP_KAFKA_DOUBLE;
		type->convert = convert_numeric_double;
		return;
	}
	if (decimals == TAP_KAFKA_DECIMALS_STRING)
	{
		type->kind = TAP_KAFKA_STRING;
		type->convert = convert_output;
		return;
	}
	type->convert = convert_numeric;
	if (typmod < (int32) VARHDRSZ)
	{
		type->kind = TAP_KAFKA_DECIMAL;
		type->name = "io.debezium.data.VariableScaleDecimal";
		return;
	}
	/* as numeric.c packs it: eleven bits, with a sign, are the scale */
	type->kind = TAP_KAFKA_BYTES;
	type->name = "org.apache.kafka.connect.data.Decimal";
	type->precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	type->scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	type->parameters = psprintf("{\"scale\":\"%d\",\"connect.decimal.precision\":\"%d\"}",
								type->scale, type->precision);
}

static void
set_money(TapKafkaType *type, TapKafkaDecimals decimals)
{
	switch (decimals)
	{
		case TAP_KAFKA_DECIMALS_DOUBLE:
			type->kind = TAP_KAFKA_DOUBLE;
			type->convert = convert_money_double;
			break;
		case TAP_KAFKA_DECIMALS_STRING:
			type->kind = TAP_KAFKA_STRING;
			type->convert = convert_money_text;
			break;
		case TAP_KAFKA_DECIMALS_PRECISE:
			type->kind = TAP_KAFKA_BYTES;
			type->convert = convert_money;
			type->name = "org.apache.kafka.connect.data.Decimal";
			type->scale = 2;
			type->parameters = "{\"scale\":\"2\"}";
			break;
	}
}

static void
set_time(TapKafkaType *type)
{
	if (type->oid == TIMEOID)
	{
		type->kind = type->fraction <= 3 ? TAP_KAFKA_INT32 : TAP_KAFKA_INT64;
		type->name = type->fraction <= 3 ? "io.debezium.time.Time" : "io.debezium.time.MicroTime";
		type->convert = convert_time;
		return;
	}
	type->kind = TAP_KAFKA_INT64;
	type->name = type->fraction <= 3 ? "io.debezium.time.Timestamp" :
		"io.debezium.time.MicroTimestamp";
	type->convert = convert_timestamp;
}

static void
set_bits(TapKafkaType *type, int32 typmod)
{
	if (typmod == 1)
	{
		type->kind = TAP_KAFKA_BOOLEAN;
		type->convert = convert_bit;
		return;
	}
	type->kind = TAP_KAFKA_BYTES;
	type->convert = convert_bits;
	type->name = "io.debezium.data.Bits";
	type->parameters = psprintf("{\"length\":\"%d\"}", typmod > 0 ? typmod : PG_INT32_MAX);
}

static char *
utf8_copy(const char *text)
{
	Size		length = strlen(text);

	return pstrdup(tap_json_utf8(text, &length));
}

static void
set_enum(TapKafkaType *type)
{
	Relation	relation = table_open(EnumRelationId, AccessShareLock);
	Relation	index = index_open(EnumTypIdSortOrderIndexId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	StringInfoData labels;
	StringInfoData parameters;

	initStringInfo(&labels);
	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type->oid));
	scan = systable_beginscan_ordered(relation, index, NULL, 1, &key);
	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
		appendStringInfo(&labels, "%s%s", labels.len > 0 ? "," : "",
						 utf8_copy(NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel)));
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(relation, AccessShareLock);

	initStringInfo(&parameters);
	appendStringInfoString(&parameters, "{\"allowed\":");
	tap_json_append_cstring(&parameters, labels.data);
	appendStringInfoChar(&parameters, '}');
	type->name = "io.debezium.data.Enum";
	type->parameters = parameters.data;
}

/* Types of extensions have no fixed oid. */
static void
set_by_name(TapKafkaType *type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type->oid));
	bool		is_hstore;
	bool		is_ltree;
	Oid			function;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type->oid);
	is_hstore = strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), "hstore") == 0;
	is_ltree = strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), "ltree") == 0;
	ReleaseSysCache(tuple);
	if (is_ltree)
		type->name = "io.debezium.data.Ltree";
	if (is_hstore && find_coercion_pathway(JSONOID, type->oid, COERCION_EXPLICIT, &function) ==
		COERCION_PATH_FUNC)
	{
		fmgr_info_cxt(function, &type->function, CurrentMemoryContext);
		type->name = "io.debezium.data.Json";
		type->convert = convert_by_function;
	}
}

static TapKafkaType *resolve_type(Oid oid, int32 typmod, TapKafkaDecimals decimals);

static bool
set_array(TapKafkaType *type, int32 typmod, TapKafkaDecimals decimals)
{
	Oid			element = get_element_type(type->oid);

	if (!OidIsValid(element))
		return false;
	type->kind = TAP_KAFKA_ARRAY;
	type->element = resolve_type(element, typmod, decimals);
	get_typlenbyvalalign(element, &type->element->length, &type->element->by_value,
						 &type->element->alignment);
	return true;
}

static TapKafkaType *
resolve_type(Oid oid, int32 typmod, TapKafkaDecimals decimals)
{
	TapKafkaType *type = palloc0(sizeof(TapKafkaType));
	Oid			function;
	bool		is_varlena;

	type->oid = getBaseTypeAndTypmod(oid, &typmod);
	type->fraction = typmod >= 0 ? Min(typmod, MAX_TIMESTAMP_PRECISION) : MAX_TIMESTAMP_PRECISION;
	if (set_array(type, typmod, decimals))
		return type;

	getTypeOutputInfo(type->oid, &function, &is_varlena);
	fmgr_info_cxt(function, &type->function, CurrentMemoryContext);
	if (set_simple(type))
		return type;
	type->kind = TAP_KAFKA_STRING;
	type->convert = convert_output;
	if (type->oid == NUMERICOID)
		set_numeric(type, typmod, decimals);
	else if (type->oid == CASHOID)
		set_money(type, decimals);
	else if (type->oid == TIMEOID || type->oid == TIMESTAMPOID)
		set_time(type);
	else if (type->oid == BITOID || type->oid == VARBITOID)
		set_bits(type, typmod);
	else if (type_is_enum(type->oid))
		set_enum(type);
	else if (type->oid >= FirstNormalObjectId)
		set_by_name(type);
	return type;
}

static void
resolve_column(TapKafkaColumn *column, const TapSourceTable *table, int i,
			   TapKafkaDecimals decimals)
{
	Form_pg_attribute attribute = TupleDescAttr(table->descriptor, i);
	StringInfoData prefix;

	if (attribute->attisdropped)
	{
		column->dropped = true;
		return;
	}
	column->name = utf8_copy(NameStr(attribute->attname));
	column->optional = !attribute->attnotnull;
	initStringInfo(&prefix);
	tap_json_append_cstring(&prefix, column->name);
	appendStringInfoChar(&prefix, ':');
	column->prefix = prefix.data;
	column->prefix_length = prefix.len;
	column->type = resolve_type(attribute->atttypid, attribute->atttypmod, decimals);
}

TapKafkaColumn *
tap_kafka_columns(const TapSourceTable *table, TapKafkaDecimals decimals)
{
	MemoryContext context = CurrentMemoryContext;
	int			natts = table->descriptor->natts;
	TapKafkaColumn *columns = palloc0(sizeof(TapKafkaColumn) * (natts + 1));
	bool		own_transaction = !IsTransactionState();

	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	for (int i = 0; i < natts; i++)
		resolve_column(&columns[i], table, i, decimals);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return columns;
}
