/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_value_binlog.c
 *	  Cells of the log's rows to datums.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

static void
bad_cell(const TapMysqlColumn *column)
{
	tap_mysql_bad_value(column, "its bytes in the source's log do not fit the type");
}

static int64
cell_int(const TapMysqlColumn *column, const TapBinlogCell *cell)
{
	int64_t		value = 0;

	if (!tap_binlog_get_int(cell->data, cell->length, &value))
		bad_cell(column);
	return value;
}

static uint64
cell_uint(const TapMysqlColumn *column, const TapBinlogCell *cell)
{
	uint64_t	value = 0;

	if (!tap_binlog_get_uint(cell->data, cell->length, &value))
		bad_cell(column);
	return value;
}

static Datum
cell_year(const TapMysqlColumn *column, const TapBinlogCell *cell)
{
	int			year = 0;

	if (!tap_binlog_get_year(cell->data, cell->length, &year))
		bad_cell(column);
	return tap_mysql_make_int(column, year);
}

static Datum
cell_decimal(const TapMysqlColumn *column, const TapBinlogColumn *wire,
			 const TapBinlogCell *cell)
{
	char		text[TAP_BINLOG_DECIMAL_SIZE];
	uint32_t	length;

	if (!tap_binlog_get_decimal(cell->data, cell->length, wire->precision,
								wire->scale, text, &length))
		bad_cell(column);
	return tap_mysql_make_decimal(column, text);
}

static Datum
cell_float(const TapMysqlColumn *column, const TapBinlogCell *cell)
{
	float		value = 0;

	if (!tap_binlog_get_float(cell->data, cell->length, &value))
		bad_cell(column);
	return Float4GetDatum(value);
}

static Datum
cell_double(const TapMysqlColumn *column, const TapBinlogCell *cell)
{
	double		value = 0;

	if (!tap_binlog_get_double(cell->data, cell->length, &value))
		bad_cell(column);
	return Float8GetDatum(value);
}

static Datum
cell_time(TapSession *session, const TapMysqlColumn *column,
		  const TapBinlogColumn *wire, const TapBinlogCell *cell, bool *isnull)
{
	TapBinlogTime time;

	if (!tap_binlog_get_time(wire, cell->data, cell->length, &time))
		bad_cell(column);
	return tap_mysql_make_time(session, column, &time, isnull);
}

static Datum
cell_json(TapSession *session, const TapMysqlColumn *column,
		  const TapBinlogCell *cell)
{
	TapBinlogBuffer buffer;
	TapBinlogStatus status;
	volatile Datum result = (Datum) 0;

	tap_binlog_buffer_init(&buffer, MaxAllocSize, NULL);
	status = tap_binlog_json_text(cell->data, cell->length, &buffer);
	if (status != TAP_BINLOG_OK)
	{
		tap_binlog_buffer_free(&buffer);
		bad_cell(column);
	}
	PG_TRY();
	{
		result = tap_mysql_make_json(session, column, buffer.data, buffer.length);
	}
	PG_FINALLY();
	{
		tap_binlog_buffer_free(&buffer);
	}
	PG_END_TRY();
	return result;
}

static Datum
cell_uuid(const TapMysqlColumn *column, const TapBinlogCell *cell)
{
	pg_uuid_t  *uuid = palloc0(sizeof(pg_uuid_t));

	if (cell->length > UUID_LEN)
		bad_cell(column);
	/* zeros at the end are left out in the log */
	memcpy(uuid->data, cell->data, cell->length);
	return UUIDPGetDatum(uuid);
}

static Datum
cell_inet(const TapMysqlColumn *column, const TapBinlogCell *cell, int length)
{
	uint8		address[16] = {0};

	if (cell->length > (uint32) length)
		bad_cell(column);
	memcpy(address, cell->data, cell->length);
	return tap_mysql_make_inet(address, length);
}

/* Values that are bytes: also those of MariaDB's COMPRESSED columns. */
static Datum
cell_bytes(TapSession *session, const TapMysqlColumn *column,
		   const char *data, uint32 length)
{
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_STRING:
			return tap_mysql_make_string(session, column, data, length);
		case TAP_MYSQL_KIND_JSON_TEXT:
			return tap_mysql_make_json(session, column, data, length);
		default:
			return tap_mysql_make_bytes(column, data, length);
	}
}

static Datum
cell_compressed(TapSession *session, const TapMysqlColumn *column,
				TapBinlogReader *reader, const TapBinlogCell *cell)
{
	TapBinlogBuffer buffer;
	const uint8_t *data = NULL;
	uint32_t	length = 0;
	volatile Datum result = (Datum) 0;

	tap_binlog_buffer_init(&buffer, MaxAllocSize, NULL);
	PG_TRY();
	{
		if (tap_binlog_inflate_column(reader, cell, &buffer, &data, &length) != TAP_BINLOG_OK)
			bad_cell(column);
		result = cell_bytes(session, column, (const char *) data, length);
	}
	PG_FINALLY();
	{
		tap_binlog_buffer_free(&buffer);
	}
	PG_END_TRY();
	return result;
}

Datum
tap_mysql_cell_value(TapSession *session, const TapMysqlColumn *column,
					 const TapBinlogColumn *wire, TapBinlogReader *reader,
					 const TapBinlogCell *cell, bool *isnull)
{
	*isnull = false;
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_INT:
		case TAP_MYSQL_KIND_BOOLEAN:
			if (column->is_unsigned)
				return tap_mysql_make_int(column, (int64) cell_uint(column, cell));
			return tap_mysql_make_int(column, cell_int(column, cell));
		case TAP_MYSQL_KIND_UINT:
		case TAP_MYSQL_KIND_UINT_NUMERIC:
			return tap_mysql_make_uint(column, cell_uint(column, cell));
		case TAP_MYSQL_KIND_YEAR:
			return cell_year(column, cell);
		case TAP_MYSQL_KIND_DECIMAL:
			return cell_decimal(column, wire, cell);
		case TAP_MYSQL_KIND_FLOAT:
			return cell_float(column, cell);
		case TAP_MYSQL_KIND_DOUBLE:
			return cell_double(column, cell);
		case TAP_MYSQL_KIND_BIT:
			return tap_mysql_make_bit(column, cell->data, cell->length);
		case TAP_MYSQL_KIND_ENUM:
			return tap_mysql_make_enum(column, cell_uint(column, cell));
		case TAP_MYSQL_KIND_SET:
			return tap_mysql_make_set(column, cell_uint(column, cell));
		case TAP_MYSQL_KIND_JSON:
			return cell_json(session, column, cell);
		case TAP_MYSQL_KIND_DATE:
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
		case TAP_MYSQL_KIND_TIME:
			return cell_time(session, column, wire, cell, isnull);
		case TAP_MYSQL_KIND_GEOMETRY:
			return tap_mysql_make_geometry(column, cell->data, cell->length);
		case TAP_MYSQL_KIND_VECTOR:
			return tap_mysql_make_vector(column, cell->data, cell->length);
		case TAP_MYSQL_KIND_UUID:
			return cell_uuid(column, cell);
		case TAP_MYSQL_KIND_INET4:
			return cell_inet(column, cell, 4);
		case TAP_MYSQL_KIND_INET6:
			return cell_inet(column, cell, 16);
		case TAP_MYSQL_KIND_STRING:
		case TAP_MYSQL_KIND_JSON_TEXT:
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
			if (wire->compressed)
				return cell_compressed(session, column, reader, cell);
			return cell_bytes(session, column, (const char *) cell->data,
							  cell->length);
	}
	pg_unreachable();
}
