/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_column.c
 *	  How values of a hub column are written into a column of the target, and
 *	  whether they can be.
 *
 * A pair of types is accepted when every value either arrives unchanged or is
 * refused with an error; nothing is rounded, cut or shifted.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "catalog/pg_type.h"

#define MAX_DECIMAL_DIGITS	65

/* Whether the type's datum is a varlena whose bytes are its text. */
static bool
is_text_type(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID ||
		type == XMLOID || type == JSONOID;
}

static bool
set(TapMysqlSinkColumn *column, TapMysqlEncode encode)
{
	column->encode = encode;
	return true;
}

/* Whole numbers; a numeric without a fraction may be one. */
static bool
to_integer(TapMysqlSinkColumn *column)
{
	switch (column->type)
	{
		case BOOLOID:
			return set(column, TAP_MYSQL_ENCODE_BOOL);
		case INT2OID:
			return set(column, TAP_MYSQL_ENCODE_INT2);
		case INT4OID:
			return set(column, TAP_MYSQL_ENCODE_INT4);
		case INT8OID:
			return set(column, TAP_MYSQL_ENCODE_INT8);
		case OIDOID:
			return set(column, TAP_MYSQL_ENCODE_OID);
		case NUMERICOID:
			column->precision = MAX_DECIMAL_DIGITS;
			column->scale = 0;
			return set(column, TAP_MYSQL_ENCODE_NUMERIC);
		default:
			return false;
	}
}

static bool
to_decimal(TapMysqlSinkColumn *column, const TapMysqlColumn *target)
{
	if (!to_integer(column) || column->type == BOOLOID)
		return false;
	column->precision = target->length;
	column->scale = target->scale;
	return true;
}

static bool
to_float(TapMysqlSinkColumn *column, const TapMysqlColumn *target)
{
	column->single_float = target->kind == TAP_MYSQL_KIND_FLOAT;
	switch (column->type)
	{
		case FLOAT4OID:
			return set(column, TAP_MYSQL_ENCODE_FLOAT4);
		case FLOAT8OID:
			return set(column, TAP_MYSQL_ENCODE_FLOAT8);
		case INT2OID:
			return set(column, TAP_MYSQL_ENCODE_INT2);
		case INT4OID:
			return !column->single_float && set(column, TAP_MYSQL_ENCODE_INT4);
		default:
			return false;
	}
}

static bool
to_bit(TapMysqlSinkColumn *column)
{
	column->as_bits = true;
	if (column->type == BOOLOID)
		return set(column, TAP_MYSQL_ENCODE_BOOL);
	return column->type == BITOID && set(column, TAP_MYSQL_ENCODE_BIT);
}

static bool
to_json(TapMysqlSink *sink, TapMysqlSinkColumn *column)
{
	column->json_numbers = !sink->session->server.is_mariadb;
	column->is_json = true;
	if (column->type == JSONBOID)
		return set(column, TAP_MYSQL_ENCODE_OUTPUT);
	if (is_text_type(column->type))
		return set(column, TAP_MYSQL_ENCODE_TEXT);
	return column->is_array && set(column, TAP_MYSQL_ENCODE_JSON_ARRAY);
}

/* Any type has a text. */
static bool
to_text(TapMysqlSinkColumn *column, const TapMysqlColumn *target)
{
	const char *collation = target->collation ? target->collation : "";
	Size		length = strlen(collation);

	if (strcmp(target->type, "char") == 0 || strcmp(target->type, "varchar") == 0)
		column->max_chars = target->length;

	/*
	 * without a declared length the limit is in bytes, and the server's to
	 * tell
	 */
	column->strips_spaces = strcmp(target->type, "char") == 0 && column->type != BPCHAROID;
	column->inexact = length < 4 || strcmp(collation + length - 4, "_bin") != 0;
	if (column->type == BOOLOID)
		return set(column, TAP_MYSQL_ENCODE_BOOL);
	if (column->is_array)
		return set(column, TAP_MYSQL_ENCODE_JSON_ARRAY);
	return set(column, is_text_type(column->type) ? TAP_MYSQL_ENCODE_TEXT :
			   TAP_MYSQL_ENCODE_OUTPUT);
}

static bool
to_set(TapMysqlSinkColumn *column)
{
	if (column->type == TEXTARRAYOID)
		return set(column, TAP_MYSQL_ENCODE_SET);
	return is_text_type(column->type) && set(column, TAP_MYSQL_ENCODE_TEXT);
}

static bool
to_bytes(TapMysqlSinkColumn *column, const TapMysqlColumn *target)
{
	column->as_bytes = true;
	if (target->kind == TAP_MYSQL_KIND_BINARY)
		column->exact_bytes = target->length;
	return column->type == BYTEAOID && set(column, TAP_MYSQL_ENCODE_BYTES);
}

static bool
to_time(TapMysqlSinkColumn *column, const TapMysqlColumn *target)
{
	column->scale = target->scale;
	if (column->type == INTERVALOID)
		return set(column, TAP_MYSQL_ENCODE_INTERVAL);
	return column->type == TIMEOID && set(column, TAP_MYSQL_ENCODE_TIME);
}

/* A timestamp with time zone goes into DATETIME as UTC. */
static bool
to_datetime(TapMysqlSinkColumn *column, const TapMysqlColumn *target)
{
	column->scale = target->scale;
	column->is_timestamp = target->kind == TAP_MYSQL_KIND_TIMESTAMP;
	if (column->type == TIMESTAMPTZOID)
		return set(column, TAP_MYSQL_ENCODE_TIMESTAMP);
	return !column->is_timestamp && column->type == TIMESTAMPOID &&
		set(column, TAP_MYSQL_ENCODE_TIMESTAMP);
}

static bool
to_address(TapMysqlSinkColumn *column)
{
	return column->type == INETOID && set(column, TAP_MYSQL_ENCODE_OUTPUT);
}

bool
tap_mysql_sink_set_encode(TapMysqlSink *sink, TapMysqlSinkColumn *column,
						  const TapMysqlColumn *target)
{
	switch (target->kind)
	{
		case TAP_MYSQL_KIND_INT:
		case TAP_MYSQL_KIND_UINT:
		case TAP_MYSQL_KIND_UINT_NUMERIC:
		case TAP_MYSQL_KIND_BOOLEAN:
		case TAP_MYSQL_KIND_YEAR:
			return to_integer(column);
		case TAP_MYSQL_KIND_DECIMAL:
			return to_decimal(column, target);
		case TAP_MYSQL_KIND_FLOAT:
		case TAP_MYSQL_KIND_DOUBLE:
			return to_float(column, target);
		case TAP_MYSQL_KIND_BIT:
			return to_bit(column);
		case TAP_MYSQL_KIND_STRING:
		case TAP_MYSQL_KIND_ENUM:
			return to_text(column, target);
		case TAP_MYSQL_KIND_SET:
			return to_set(column);
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
			return to_bytes(column, target);
		case TAP_MYSQL_KIND_JSON:
		case TAP_MYSQL_KIND_JSON_TEXT:
			return to_json(sink, column);
		case TAP_MYSQL_KIND_DATE:
			return column->type == DATEOID && set(column, TAP_MYSQL_ENCODE_DATE);
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
			return to_datetime(column, target);
		case TAP_MYSQL_KIND_TIME:
			return to_time(column, target);
		case TAP_MYSQL_KIND_GEOMETRY:
			column->as_bytes = true;
			return column->type == BYTEAOID && set(column, TAP_MYSQL_ENCODE_GEOMETRY);
		case TAP_MYSQL_KIND_VECTOR:
			column->as_bytes = true;
			return column->type == FLOAT4ARRAYOID && set(column, TAP_MYSQL_ENCODE_VECTOR);
		case TAP_MYSQL_KIND_UUID:
			return column->type == UUIDOID && set(column, TAP_MYSQL_ENCODE_OUTPUT);
		case TAP_MYSQL_KIND_INET4:
		case TAP_MYSQL_KIND_INET6:
			return to_address(column);
	}
	return false;
}
