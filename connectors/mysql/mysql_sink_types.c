/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_types.c
 *	  Types of the hub as types of MySQL and MariaDB, for tables that the sink
 *	  creates.
 *
 * The mapping with its reasons is described in doc/mysql-target.md.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

/* Bytes of a character of utf8mb4, and of a varchar's length. */
#define CHARACTER_BYTES		4
#define LENGTH_BYTES		2

#define KEY_TEXT_CHARACTERS	255
#define MAX_CHAR_LENGTH		255
#define MAX_DECIMAL_DIGITS	65
#define MAX_DECIMAL_SCALE	30
#define MAX_BIT_LENGTH		64

/* Types whose text has a known greatest length. */
typedef struct ShortType
{
	Oid			type;
	int			characters;
} ShortType;

static const ShortType short_types[] = {
	{INTERVALOID, 80},
	{TIMETZOID, 32},
	{INETOID, 43},
	{CIDROID, 43},
	{MACADDROID, 17},
	{MACADDR8OID, 23},
	{MONEYOID, 64},
	{NAMEOID, 63},
	{CHAROID, 4},
	{PG_LSNOID, 17},
	{XIDOID, 10},
	{CIDOID, 10},
	{TIDOID, 24},
	{REGCLASSOID, 130},
	{REGTYPEOID, 130}
};

const char *
tap_mysql_sink_collation(const TapMysqlServer *server)
{
	if (server->is_mariadb)
		return "utf8mb4_nopad_bin";
	/* before, MySQL had none that minds spaces at the end */
	return server->version >= 80017 ? "utf8mb4_0900_bin" : "utf8mb4_bin";
}

/*
 * A text of at most so many characters (0: any number): varchar while the row
 * has room, else longtext; in a key always varchar.
 */
static char *
text_type(TapMysqlSink *sink, int characters, int in_key, int *budget)
{
	const char *collation = tap_mysql_sink_collation(&sink->session->server);
	int			limit = in_key / CHARACTER_BYTES;

	if (in_key > 0)
	{
		if (characters == 0)
			characters = KEY_TEXT_CHARACTERS;
		return psprintf("varchar(%d) CHARACTER SET utf8mb4 COLLATE %s",
						Min(characters, limit), collation);
	}
	if (characters == 0 || characters > *budget / CHARACTER_BYTES - LENGTH_BYTES)
		return psprintf("longtext CHARACTER SET utf8mb4 COLLATE %s", collation);
	*budget -= characters * CHARACTER_BYTES + LENGTH_BYTES;
	return psprintf("varchar(%d) CHARACTER SET utf8mb4 COLLATE %s", characters, collation);
}

static char *
numeric_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column, int in_key, int *budget)
{
	const TapOptions *options = sink->session->args.pipeline_options;
	int			precision;
	int			scale;

	if (column->typmod < (int32) VARHDRSZ)
	{
		if (strcmp(tap_mysql_core->option_text(options, "unbounded_numeric"), "text") == 0)
			return text_type(sink, 0, in_key, budget);
		return psprintf("decimal(%d,%d)", MAX_DECIMAL_DIGITS, MAX_DECIMAL_SCALE);
	}
	precision = ((column->typmod - VARHDRSZ) >> 16) & 0xffff;
	scale = (((column->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	if (scale < 0)
	{
		precision -= scale;
		scale = 0;
	}
	precision = Max(precision, scale);
	if (precision > MAX_DECIMAL_DIGITS || scale > MAX_DECIMAL_SCALE)
		return text_type(sink, precision + 2, in_key, budget);
	return psprintf("decimal(%d,%d)", precision, scale);
}

/* Digits of seconds; the hub's types have six unless they say otherwise. */
static int
second_digits(int32 typmod)
{
	return typmod < 0 || typmod > 6 ? 6 : typmod;
}

static char *
timestamptz_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column)
{
	const char *choice = tap_mysql_core->option_text(sink->session->args.pipeline_options,
													 "timestamptz");

	return psprintf("%s(%d)", choice, second_digits(column->typmod));
}

static char *
json_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column, int *budget)
{
	const char *choice = tap_mysql_core->option_text(sink->session->args.pipeline_options,
													 "json");

	/* MySQL's own json does not keep how a json is spelled, as a json does */
	if (strcmp(choice, "text") == 0 ||
		(column->type == JSONOID && !sink->session->server.is_mariadb))
		return text_type(sink, 0, 0, budget);
	return pstrdup("json");
}

static char *
bytes_type(int in_key)
{
	if (in_key > 0)
		return psprintf("varbinary(%d)", Min(in_key, KEY_TEXT_CHARACTERS));
	return pstrdup("longblob");
}

static char *
bit_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column, int in_key, int *budget)
{
	if (column->type == BITOID && column->typmod > 0 && column->typmod <= MAX_BIT_LENGTH)
		return psprintf("bit(%d)", column->typmod);
	return text_type(sink, Max(column->typmod, 0), in_key, budget);
}

static char *
uuid_type(TapMysqlSink *sink)
{
	if (sink->session->server.is_mariadb && sink->session->server.version >= 100700)
		return pstrdup("uuid");
	return pstrdup("char(36) CHARACTER SET ascii COLLATE ascii_bin");
}

static char *
character_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column, int in_key, int *budget)
{
	int			characters = column->typmod < (int32) VARHDRSZ ? 0 :
	column->typmod - (int32) VARHDRSZ;

	if (column->type == BPCHAROID && characters > 0 && characters <= MAX_CHAR_LENGTH)
		return psprintf("char(%d) CHARACTER SET utf8mb4 COLLATE %s", characters,
						tap_mysql_sink_collation(&sink->session->server));
	return text_type(sink, characters, in_key, budget);
}

/* Types without an equal: as the text that the type itself has. */
static char *
other_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column, int in_key, int *budget)
{
	if (column->is_array)
		return json_type(sink, column, budget);
	if (column->is_enum)
		return text_type(sink, NAMEDATALEN - 1, in_key, budget);
	for (int i = 0; i < lengthof(short_types); i++)
		if (short_types[i].type == column->type)
			return text_type(sink, short_types[i].characters, in_key, budget);
	return text_type(sink, 0, in_key, budget);
}

char *
tap_mysql_sink_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column, int in_key,
					int *budget)
{
	switch (column->type)
	{
		case BOOLOID:
			return pstrdup("tinyint(1)");
		case INT2OID:
			return pstrdup("smallint");
		case INT4OID:
			return pstrdup("int");
		case INT8OID:
			return pstrdup("bigint");
		case OIDOID:
			return pstrdup("int unsigned");
		case FLOAT4OID:
			return pstrdup("float");
		case FLOAT8OID:
			return pstrdup("double");
		case NUMERICOID:
			return numeric_type(sink, column, in_key, budget);
		case DATEOID:
			return pstrdup("date");
		case TIMEOID:
			return psprintf("time(%d)", second_digits(column->typmod));
		case TIMESTAMPOID:
			return psprintf("datetime(%d)", second_digits(column->typmod));
		case TIMESTAMPTZOID:
			return timestamptz_type(sink, column);
		case UUIDOID:
			return uuid_type(sink);
		case BYTEAOID:
			return bytes_type(in_key);
		case BITOID:
		case VARBITOID:
			return bit_type(sink, column, in_key, budget);
		case JSONOID:
		case JSONBOID:
			return json_type(sink, column, budget);
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return character_type(sink, column, in_key, budget);
		default:
			return other_type(sink, column, in_key, budget);
	}
}
