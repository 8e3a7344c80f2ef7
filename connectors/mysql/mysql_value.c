/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_value.c
 *	  Neutral values to datums.
 *
 * Snapshot and log come here with the same value in the same form, so that
 * a row is bit for bit the same whichever way it came.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include <sys/socket.h>

#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/inet.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varbit.h"

/* Decimals of so many digits fit an int64. */
#define INT64_DIGITS	18

void
tap_mysql_bad_value(const TapMysqlColumn *column, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("could not convert a value of column \"%s\" of the source: %s",
					column->name, what),
			 errdetail("The column's type is %s.", column->column_type)));
}

Datum
tap_mysql_make_int(const TapMysqlColumn *column, int64 value)
{
	switch (column->pg_type)
	{
		case INT2OID:
			if (value < PG_INT16_MIN || value > PG_INT16_MAX)
				tap_mysql_bad_value(column, "it is beyond smallint");
			return Int16GetDatum((int16) value);
		case INT4OID:
			if (value < PG_INT32_MIN || value > PG_INT32_MAX)
				tap_mysql_bad_value(column, "it is beyond integer");
			return Int32GetDatum((int32) value);
		case INT8OID:
			return Int64GetDatum(value);
		default:
			return BoolGetDatum(value != 0);
	}
}

Datum
tap_mysql_make_uint(const TapMysqlColumn *column, uint64 value)
{
	char		text[24];

	if (column->kind == TAP_MYSQL_KIND_UINT_NUMERIC)
	{
		if (value <= PG_INT64_MAX)
			return NumericGetDatum(int64_to_numeric((int64) value));
		snprintf(text, sizeof(text), UINT64_FORMAT, value);
		return DirectFunctionCall3(numeric_in, CStringGetDatum(text),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	if (value > PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value " UINT64_FORMAT " of column \"%s\" of the source is beyond bigint",
						value, column->name),
				 errhint("Set the pipeline's option \"unsigned_bigint\" to \"numeric\".")));
	return tap_mysql_make_int(column, (int64) value);
}

Datum
tap_mysql_make_decimal(const TapMysqlColumn *column, const char *digits)
{
	int64		value = 0;
	int			count = 0;
	const char *p = digits;
	bool		negative = (*p == '-');

	if (negative)
		p++;
	for (; *p && count <= INT64_DIGITS; p++)
	{
		if (*p == '.')
			continue;
		value = value * 10 + (*p - '0');
		count++;
	}
	if (count <= INT64_DIGITS)
		return NumericGetDatum(int64_div_fast_to_numeric(negative ? -value : value,
														 column->scale));
	return DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

Datum
tap_mysql_make_bit(const TapMysqlColumn *column, const uint8 *data, Size length)
{
	int			bits = column->length;
	int			bytes = (bits + BITS_PER_BYTE - 1) / BITS_PER_BYTE;
	int			shift = bytes * BITS_PER_BYTE - bits;
	VarBit	   *result;
	bits8	   *out;
	uint64		value = 0;

	if (length > sizeof(uint64))
		tap_mysql_bad_value(column, "it has too many bytes");
	for (Size i = 0; i < length; i++)
		value = (value << BITS_PER_BYTE) | data[i];
	/* MySQL's bits are right-aligned, PostgreSQL's left-aligned */
	value <<= shift;
	result = palloc0(VARBITTOTALLEN(bits));
	SET_VARSIZE(result, VARBITTOTALLEN(bits));
	VARBITLEN(result) = bits;
	out = VARBITS(result);
	for (int i = bytes - 1; i >= 0; i--)
	{
		out[i] = (bits8) (value & 0xFF);
		value >>= BITS_PER_BYTE;
	}
	return VarBitPGetDatum(result);
}

/* Text for all kinds that are text at the source. */
static text *
make_text(TapSession *session, const TapMysqlColumn *column,
		  const char *data, Size length)
{
	StringInfoData buffer;

	if (tap_mysql_charset_is_plain(column->conversion, data, length))
		return cstring_to_text_with_len(data, (int) length);

	/* leave room for the header, so that the buffer becomes the datum */
	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, "\0\0\0\0", VARHDRSZ);
	tap_mysql_charset_convert(column->conversion, &session->mapping,
							  data, length, &buffer);
	SET_VARSIZE(buffer.data, buffer.len);
	return (text *) buffer.data;
}

Datum
tap_mysql_make_string(TapSession *session, const TapMysqlColumn *column,
					  const char *data, Size length)
{
	return PointerGetDatum(make_text(session, column, data, length));
}

Datum
tap_mysql_make_bytes(const TapMysqlColumn *column, const char *data, Size length)
{
	Size		full = length;
	bytea	   *result;

	/* the log leaves out the zeros at the end of a BINARY(n) */
	if (column->kind == TAP_MYSQL_KIND_BINARY && length < (Size) column->length)
		full = column->length;
	result = palloc(full + VARHDRSZ);
	SET_VARSIZE(result, full + VARHDRSZ);
	memcpy(VARDATA(result), data, length);
	memset(VARDATA(result) + length, 0, full - length);
	return PointerGetDatum(result);
}

Datum
tap_mysql_make_enum(const TapMysqlColumn *column, uint64 number)
{
	/* number 0 is MySQL's mark of an invalid value, printed as '' */
	if (number == 0)
		return CStringGetTextDatum("");
	if (number > (uint64) column->nlabels)
		tap_mysql_bad_value(column, "its number is beyond the labels that are known");
	return PointerGetDatum(DatumGetTextPCopy(column->label_values[number - 1]));
}

static Datum
make_set_text(const TapMysqlColumn *column, uint64 mask)
{
	StringInfoData buffer;
	text	   *result;

	initStringInfo(&buffer);
	for (int i = 0; i < column->nlabels; i++)
	{
		if ((mask & (UINT64CONST(1) << i)) == 0)
			continue;
		if (buffer.len > 0)
			appendStringInfoChar(&buffer, ',');
		appendStringInfoString(&buffer, column->labels[i]);
	}
	result = cstring_to_text_with_len(buffer.data, buffer.len);
	pfree(buffer.data);
	return PointerGetDatum(result);
}

Datum
tap_mysql_make_set(const TapMysqlColumn *column, uint64 mask)
{
	Datum		values[64];
	int			n = 0;

	if (column->nlabels < 64 && (mask >> column->nlabels) != 0)
		tap_mysql_bad_value(column, "it has members beyond the labels that are known");
	if (column->pg_type != TEXTARRAYOID)
		return make_set_text(column, mask);
	for (int i = 0; i < column->nlabels && i < 64; i++)
		if (mask & (UINT64CONST(1) << i))
			values[n++] = column->label_values[i];
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

Datum
tap_mysql_make_json(TapSession *session, const TapMysqlColumn *column,
					const char *data, Size length)
{
	char	   *string;
	Datum		result;

	if (column->kind == TAP_MYSQL_KIND_JSON_TEXT)
		string = text_to_cstring(make_text(session, column, data, length));
	else
		string = tap_mysql_from_utf8(data, length);
	if (column->pg_type == JSONBOID)
		result = DirectFunctionCall1(jsonb_in, CStringGetDatum(string));
	else if (column->pg_type == JSONOID)
		result = DirectFunctionCall1(json_in, CStringGetDatum(string));
	else
		result = CStringGetTextDatum(string);
	pfree(string);
	return result;
}

/* ---------------------------------------------------------------------
 * Dates and times
 * ---------------------------------------------------------------------
 */

/* A date that is none: NULL, -infinity or an error, as the mapping says. */
static Datum
make_zero_date(TapSession *session, const TapMysqlColumn *column,
			   const TapBinlogTime *time, bool *isnull)
{
	DateADT		date;
	Timestamp	timestamp;

	switch (session->mapping.zero_date)
	{
		case TAP_MYSQL_ZERO_DATE_NULL:
			*isnull = true;
			return (Datum) 0;
		case TAP_MYSQL_ZERO_DATE_INFINITY:
			*isnull = false;
			if (column->kind == TAP_MYSQL_KIND_DATE)
			{
				DATE_NOBEGIN(date);
				return DateADTGetDatum(date);
			}
			TIMESTAMP_NOBEGIN(timestamp);
			return TimestampGetDatum(timestamp);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_DATETIME_FORMAT),
					 errmsg("column \"%s\" of the source holds %04d-%02d-%02d, which is no date",
							column->name, time->year, time->month, time->day),
					 errhint("Set the pipeline's option \"zero_date\" to \"null\" or \"infinity\".")));
	}
}

static bool
is_date(const TapBinlogTime *time)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (time->year == 0 || time->month < 1 || time->month > 12 ||
		time->day < 1 || time->day > days[time->month - 1])
		return false;
	return time->month != 2 || time->day != 29 || isleap(time->year);
}

/* Microseconds since midnight. */
static int64
time_of_day(const TapBinlogTime *time)
{
	return (((int64) time->hour * MINS_PER_HOUR + time->minute) * SECS_PER_MINUTE +
			time->second) * USECS_PER_SEC + time->microsecond;
}

static Datum
interval_of(const TapBinlogTime *time)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = time->negative ? -time_of_day(time) : time_of_day(time);
	return IntervalPGetDatum(interval);
}

Datum
tap_mysql_make_time(TapSession *session, const TapMysqlColumn *column,
					const TapBinlogTime *time, bool *isnull)
{
	int			date;

	*isnull = false;
	if (column->kind == TAP_MYSQL_KIND_TIME)
		return interval_of(time);
	if (time->is_epoch)
	{
		if (time->epoch == 0 && time->microsecond == 0)
			return make_zero_date(session, column, time, isnull);
		return TimestampTzGetDatum((time->epoch -
									(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY) *
								   USECS_PER_SEC + time->microsecond);
	}
	if (!is_date(time))
		return make_zero_date(session, column, time, isnull);
	date = date2j(time->year, time->month, time->day) - POSTGRES_EPOCH_JDATE;
	if (column->kind == TAP_MYSQL_KIND_DATE)
		return DateADTGetDatum(date);
	return TimestampGetDatum((int64) date * USECS_PER_DAY + time_of_day(time));
}

/* ---------------------------------------------------------------------
 * Other types
 * ---------------------------------------------------------------------
 */

/*
 * MySQL stores a geometry as its SRID and WKB; EWKB has the SRID inside of
 * the outermost geometry.
 */
Datum
tap_mysql_make_geometry(const TapMysqlColumn *column, const uint8 *data,
						Size length)
{
	const uint32 srid_flag = 0x20000000;
	uint32		srid;
	uint32		type;
	bytea	   *result;
	char	   *out;

	if (length < 9 || data[4] > 1)
		tap_mysql_bad_value(column, "it is not a geometry");
	memcpy(&srid, data, sizeof(srid));
	memcpy(&type, data + 5, sizeof(type));
	if (srid == 0)
		return tap_mysql_make_bytes(column, (const char *) data + 4, length - 4);
	result = palloc(length + VARHDRSZ);
	SET_VARSIZE(result, length + VARHDRSZ);
	out = VARDATA(result);
	out[0] = (char) data[4];
#ifdef WORDS_BIGENDIAN
	srid = pg_bswap32(srid);
	type = pg_bswap32(type);
#endif
	/* the SRID is little-endian, what follows as its first byte says */
	if (data[4] == 0)
	{
		type = pg_bswap32(pg_bswap32(type) | srid_flag);
		srid = pg_bswap32(srid);
	}
	else
		type |= srid_flag;
#ifdef WORDS_BIGENDIAN
	srid = pg_bswap32(srid);
	type = pg_bswap32(type);
#endif
	memcpy(out + 1, &type, sizeof(type));
	memcpy(out + 5, &srid, sizeof(srid));
	memcpy(out + 9, data + 9, length - 9);
	return PointerGetDatum(result);
}

Datum
tap_mysql_make_vector(const TapMysqlColumn *column, const uint8 *data,
					  Size length)
{
	int			n = (int) (length / sizeof(float4));
	Datum	   *values = palloc(sizeof(Datum) * Max(1, n));
	ArrayType  *array;

	if (length % sizeof(float4) != 0)
		tap_mysql_bad_value(column, "its length is not that of a vector");
	for (int i = 0; i < n; i++)
	{
		float		value;

		if (!tap_binlog_get_float(data + i * sizeof(float4), sizeof(float4), &value))
			tap_mysql_bad_value(column, "it is not a vector");
		values[i] = Float4GetDatum(value);
	}
	array = construct_array(values, n, FLOAT4OID, sizeof(float4), true,
							TYPALIGN_INT);
	pfree(values);
	return PointerGetDatum(array);
}

Datum
tap_mysql_make_inet(const uint8 *data, int length)
{
	inet	   *result = palloc0(sizeof(inet));

	ip_family(result) = (length == 4) ? PGSQL_AF_INET : PGSQL_AF_INET6;
	ip_bits(result) = (unsigned char) (length * BITS_PER_BYTE);
	memcpy(ip_addr(result), data, length);
	SET_INET_VARSIZE(result);
	return InetPGetDatum(result);
}
