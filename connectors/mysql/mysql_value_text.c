/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_value_text.c
 *	  Values of a snapshot's rows, which come as text, to datums.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

void
tap_mysql_append_select(StringInfo sql, const TapMysqlColumn *column)
{
	char	   *name = tap_mysql_quote_identifier(column->name);

	switch (column->kind)
	{
			/*
			 * text of a float is rounded; as a product it is a double, in
			 * full
			 */
		case TAP_MYSQL_KIND_FLOAT:
		case TAP_MYSQL_KIND_DOUBLE:
			appendStringInfo(sql, "%s * 1e0", name);
			break;
			/* the number, as in the log; labels then go one way only */
		case TAP_MYSQL_KIND_ENUM:
		case TAP_MYSQL_KIND_SET:
			appendStringInfo(sql, "CAST(%s AS UNSIGNED)", name);
			break;
			/* as a number without a display width that fills it up */
		case TAP_MYSQL_KIND_YEAR:
			appendStringInfo(sql, "CAST(%s AS UNSIGNED)", name);
			break;
		default:
			appendStringInfoString(sql, name);
			break;
	}
}

static uint64
parse_unsigned(const TapMysqlColumn *column, const char *data)
{
	char	   *end;
	uint64		value;

	errno = 0;
	value = strtoull(data, &end, 10);
	if (errno != 0 || *end != '\0' || end == data)
		tap_mysql_bad_value(column, "it is not a whole number");
	return value;
}

static int64
parse_signed(const TapMysqlColumn *column, const char *data)
{
	char	   *end;
	int64		value;

	errno = 0;
	value = strtoll(data, &end, 10);
	if (errno != 0 || *end != '\0' || end == data)
		tap_mysql_bad_value(column, "it is not a whole number");
	return value;
}

static double
parse_double(const TapMysqlColumn *column, const char *data)
{
	char	   *end;
	double		value;

	/* overflow cannot happen, underflow gives the right denormal number */
	value = strtod(data, &end);
	if (*end != '\0' || end == data)
		tap_mysql_bad_value(column, "it is not a number");
	return value;
}

/* A decimal of a ZEROFILL column loses the zeros that fill it up. */
static Datum
parse_decimal(const TapMysqlColumn *column, const char *data)
{
	while (data[0] == '0' && isdigit((unsigned char) data[1]))
		data++;
	return tap_mysql_make_decimal(column, data);
}

/* Read up to count digits; false when there are none. */
static bool
read_digits(const char **p, int count, int *value)
{
	int			n = 0;

	*value = 0;
	for (; n < count && isdigit((unsigned char) **p); n++, (*p)++)
		*value = *value * 10 + (**p - '0');
	return n > 0;
}

/* Read a fraction of a second, to microseconds. */
static bool
read_fraction(const char **p, uint32 *microsecond)
{
	int			digits = 0;

	*microsecond = 0;
	if (**p != '.')
		return true;
	for ((*p)++; isdigit((unsigned char) **p) && digits < 6; digits++, (*p)++)
		*microsecond = *microsecond * 10 + (**p - '0');
	for (; digits < 6; digits++)
		*microsecond *= 10;
	return true;
}

static bool
read_separated(const char **p, char separator, int count, int *value)
{
	if (**p != separator)
		return false;
	(*p)++;
	return read_digits(p, count, value);
}

/* "[-]hhh:mm:ss[.ffffff]" */
static bool
read_clock(const char **p, TapBinlogTime *time)
{
	int			hour;
	int			minute;
	int			second;

	if (!read_digits(p, 3, &hour) ||
		!read_separated(p, ':', 2, &minute) ||
		!read_separated(p, ':', 2, &second))
		return false;
	time->hour = (uint16_t) hour;
	time->minute = (uint8_t) minute;
	time->second = (uint8_t) second;
	return read_fraction(p, &time->microsecond);
}

/* "yyyy-mm-dd" */
static bool
read_date(const char **p, TapBinlogTime *time)
{
	int			year;
	int			month;
	int			day;

	if (!read_digits(p, 4, &year) ||
		!read_separated(p, '-', 2, &month) ||
		!read_separated(p, '-', 2, &day))
		return false;
	time->year = (uint16_t) year;
	time->month = (uint8_t) month;
	time->day = (uint8_t) day;
	return true;
}

static Datum
parse_time(TapSession *session, const TapMysqlColumn *column, const char *data,
		   bool *isnull)
{
	TapBinlogTime time = {0};
	const char *p = data;
	bool		good;

	if (column->kind == TAP_MYSQL_KIND_TIME)
	{
		if (*p == '-')
		{
			time.negative = true;
			p++;
		}
		good = read_clock(&p, &time);
	}
	else
	{
		good = read_date(&p, &time);
		if (good && *p == ' ')
		{
			p++;
			good = read_clock(&p, &time);
		}
	}
	if (!good || *p != '\0')
		tap_mysql_bad_value(column, "it is not a date or time");
	return tap_mysql_make_time(session, column, &time, isnull);
}

Datum
tap_mysql_text_value(TapSession *session, const TapMysqlColumn *column,
					 const char *data, Size length, bool *isnull)
{
	*isnull = false;
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_INT:
		case TAP_MYSQL_KIND_BOOLEAN:
		case TAP_MYSQL_KIND_YEAR:
			return tap_mysql_make_int(column, parse_signed(column, data));
		case TAP_MYSQL_KIND_UINT:
		case TAP_MYSQL_KIND_UINT_NUMERIC:
			return tap_mysql_make_uint(column, parse_unsigned(column, data));
		case TAP_MYSQL_KIND_DECIMAL:
			return parse_decimal(column, data);
		case TAP_MYSQL_KIND_FLOAT:
			return Float4GetDatum((float4) parse_double(column, data));
		case TAP_MYSQL_KIND_DOUBLE:
			return Float8GetDatum(parse_double(column, data));
		case TAP_MYSQL_KIND_BIT:
			return tap_mysql_make_bit(column, (const uint8 *) data, length);
		case TAP_MYSQL_KIND_STRING:
			return tap_mysql_make_string(session, column, data, length);
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
			return tap_mysql_make_bytes(column, data, length);
		case TAP_MYSQL_KIND_ENUM:
			return tap_mysql_make_enum(column, parse_unsigned(column, data));
		case TAP_MYSQL_KIND_SET:
			return tap_mysql_make_set(column, parse_unsigned(column, data));
		case TAP_MYSQL_KIND_JSON:
		case TAP_MYSQL_KIND_JSON_TEXT:
			return tap_mysql_make_json(session, column, data, length);
		case TAP_MYSQL_KIND_DATE:
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
		case TAP_MYSQL_KIND_TIME:
			return parse_time(session, column, data, isnull);
		case TAP_MYSQL_KIND_GEOMETRY:
			return tap_mysql_make_geometry(column, (const uint8 *) data, length);
		case TAP_MYSQL_KIND_VECTOR:
			return tap_mysql_make_vector(column, (const uint8 *) data, length);
		case TAP_MYSQL_KIND_UUID:
			return DirectFunctionCall1(uuid_in, CStringGetDatum(data));
		case TAP_MYSQL_KIND_INET4:
		case TAP_MYSQL_KIND_INET6:
			return DirectFunctionCall1(inet_in, CStringGetDatum(data));
	}
	pg_unreachable();
}
