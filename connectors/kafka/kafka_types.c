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
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

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
	{BOOLOID, TAP_KAFKA_BOOLEAN, tap_kafka_convert_bool, NULL},
	{INT2OID, TAP_KAFKA_INT16, tap_kafka_convert_int2, NULL},
	{INT4OID, TAP_KAFKA_INT32, tap_kafka_convert_int4, NULL},
	{INT8OID, TAP_KAFKA_INT64, tap_kafka_convert_int8, NULL},
	{OIDOID, TAP_KAFKA_INT64, tap_kafka_convert_oid, NULL},
	{FLOAT4OID, TAP_KAFKA_FLOAT, tap_kafka_convert_float4, NULL},
	{FLOAT8OID, TAP_KAFKA_DOUBLE, tap_kafka_convert_float8, NULL},
	{TEXTOID, TAP_KAFKA_STRING, tap_kafka_convert_text, NULL},
	{VARCHAROID, TAP_KAFKA_STRING, tap_kafka_convert_text, NULL},
	{BPCHAROID, TAP_KAFKA_STRING, tap_kafka_convert_text, NULL},
	{JSONOID, TAP_KAFKA_STRING, tap_kafka_convert_text, "io.debezium.data.Json"},
	{JSONBOID, TAP_KAFKA_STRING, tap_kafka_convert_output, "io.debezium.data.Json"},
	{XMLOID, TAP_KAFKA_STRING, tap_kafka_convert_text, "io.debezium.data.Xml"},
	{UUIDOID, TAP_KAFKA_STRING, tap_kafka_convert_output, "io.debezium.data.Uuid"},
	{TSVECTOROID, TAP_KAFKA_STRING, tap_kafka_convert_output, "io.debezium.data.Tsvector"},
	{BYTEAOID, TAP_KAFKA_BYTES, tap_kafka_convert_bytea, NULL},
	{DATEOID, TAP_KAFKA_INT32, tap_kafka_convert_date, "io.debezium.time.Date"},
	{TIMETZOID, TAP_KAFKA_STRING, tap_kafka_convert_timetz, "io.debezium.time.ZonedTime"},
	{TIMESTAMPTZOID, TAP_KAFKA_STRING, tap_kafka_convert_timestamptz, "io.debezium.time.ZonedTimestamp"},
	{INTERVALOID, TAP_KAFKA_INT64, tap_kafka_convert_interval, "io.debezium.time.MicroDuration"},
	{POINTOID, TAP_KAFKA_POINT, tap_kafka_convert_point, "io.debezium.data.geometry.Point"}
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
		type->convert = tap_kafka_convert_numeric_double;
		return;
	}
	if (decimals == TAP_KAFKA_DECIMALS_STRING)
	{
		type->kind = TAP_KAFKA_STRING;
		type->convert = tap_kafka_convert_output;
		return;
	}
	type->convert = tap_kafka_convert_numeric;
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
			type->convert = tap_kafka_convert_money_double;
			break;
		case TAP_KAFKA_DECIMALS_STRING:
			type->kind = TAP_KAFKA_STRING;
			type->convert = tap_kafka_convert_money_text;
			break;
		case TAP_KAFKA_DECIMALS_PRECISE:
			type->kind = TAP_KAFKA_BYTES;
			type->convert = tap_kafka_convert_money;
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
		type->convert = tap_kafka_convert_time;
		return;
	}
	type->kind = TAP_KAFKA_INT64;
	type->name = type->fraction <= 3 ? "io.debezium.time.Timestamp" :
		"io.debezium.time.MicroTimestamp";
	type->convert = tap_kafka_convert_timestamp;
}

static void
set_bits(TapKafkaType *type, int32 typmod)
{
	if (typmod == 1)
	{
		type->kind = TAP_KAFKA_BOOLEAN;
		type->convert = tap_kafka_convert_bit;
		return;
	}
	type->kind = TAP_KAFKA_BYTES;
	type->convert = tap_kafka_convert_bits;
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
		type->convert = tap_kafka_convert_by_function;
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
	type->convert = tap_kafka_convert_output;
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
