/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_type.c
 *	  Column types: their metadata, sizes and names.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_private.h"

unsigned
tap_binlog_metadata_bytes(uint8_t type)
{
	switch (type)
	{
		case TAP_BINLOG_TYPE_FLOAT:
		case TAP_BINLOG_TYPE_DOUBLE:
		case TAP_BINLOG_TYPE_TIMESTAMP2:
		case TAP_BINLOG_TYPE_DATETIME2:
		case TAP_BINLOG_TYPE_TIME2:
		case TAP_BINLOG_TYPE_VECTOR:
		case TAP_BINLOG_TYPE_JSON:
		case TAP_BINLOG_TYPE_TINY_BLOB:
		case TAP_BINLOG_TYPE_MEDIUM_BLOB:
		case TAP_BINLOG_TYPE_LONG_BLOB:
		case TAP_BINLOG_TYPE_BLOB:
		case TAP_BINLOG_TYPE_BLOB_COMPRESSED:
		case TAP_BINLOG_TYPE_GEOMETRY:
			return 1;
		case TAP_BINLOG_TYPE_VARCHAR:
		case TAP_BINLOG_TYPE_VARCHAR_COMPRESSED:
		case TAP_BINLOG_TYPE_BIT:
		case TAP_BINLOG_TYPE_NEWDECIMAL:
		case TAP_BINLOG_TYPE_ENUM:
		case TAP_BINLOG_TYPE_SET:
		case TAP_BINLOG_TYPE_VAR_STRING:
		case TAP_BINLOG_TYPE_STRING:
			return 2;
		default:
			return 0;
	}
}

static bool
set_fixed(TapBinlogColumn *column, unsigned bytes)
{
	column->fixed_bytes = (uint8_t) bytes;
	return true;
}

/* CHAR, BINARY, ENUM and SET share a type; the metadata tells them apart. */
static bool
set_string_type(TapBinlogColumn *column)
{
	uint8_t		first = (uint8_t) column->metadata;
	uint8_t		second = (uint8_t) (column->metadata >> 8);
	uint8_t		real = first;
	uint32_t	length = second;

	if ((first & 0x30) != 0x30)
	{
		length |= (uint32_t) ((first & 0x30) ^ 0x30) << 4;
		real = first | 0x30;
	}
	column->max_bytes = length;
	if (real == TAP_BINLOG_TYPE_ENUM || real == TAP_BINLOG_TYPE_SET)
	{
		column->type = real;
		if (length < 1 || length > (real == TAP_BINLOG_TYPE_ENUM ? 2 : 8))
			return false;
		return set_fixed(column, length);
	}
	column->type = TAP_BINLOG_TYPE_STRING;
	column->prefix_bytes = length > 255 ? 2 : 1;
	return true;
}

static bool
set_blob_type(TapBinlogColumn *column, uint8_t type)
{
	column->type = type;
	column->prefix_bytes = (uint8_t) column->metadata;
	return column->prefix_bytes >= 1 && column->prefix_bytes <= 4;
}

static bool
set_temporal_type(TapBinlogColumn *column, unsigned bytes)
{
	column->scale = (uint8_t) column->metadata;
	return column->scale <= 6 && set_fixed(column, bytes + (column->scale + 1u) / 2);
}

static bool
set_bit_type(TapBinlogColumn *column)
{
	unsigned	bits = column->metadata & 0xff;
	unsigned	bytes = column->metadata >> 8;

	if (bits > 7 || bytes > 8 || bytes * 8 + bits > 64 || bytes + bits == 0)
		return false;
	column->max_bytes = bytes * 8 + bits;
	return set_fixed(column, bytes + (bits > 0));
}

static bool
set_decimal_type(TapBinlogColumn *column)
{
	column->precision = (uint8_t) column->metadata;
	column->scale = (uint8_t) (column->metadata >> 8);
	return set_fixed(column, tap_binlog_decimal_bytes(column->precision, column->scale)) &&
		column->fixed_bytes > 0;
}

bool
tap_binlog_set_type(TapBinlogColumn *column)
{
	column->type = column->wire_type;
	switch (column->wire_type)
	{
		case TAP_BINLOG_TYPE_TINY:
		case TAP_BINLOG_TYPE_YEAR:
			return set_fixed(column, 1);
		case TAP_BINLOG_TYPE_SHORT:
			return set_fixed(column, 2);
		case TAP_BINLOG_TYPE_INT24:
		case TAP_BINLOG_TYPE_DATE:
		case TAP_BINLOG_TYPE_NEWDATE:
		case TAP_BINLOG_TYPE_TIME:
			return set_fixed(column, 3);
		case TAP_BINLOG_TYPE_LONG:
		case TAP_BINLOG_TYPE_FLOAT:
		case TAP_BINLOG_TYPE_TIMESTAMP:
			return set_fixed(column, 4);
		case TAP_BINLOG_TYPE_LONGLONG:
		case TAP_BINLOG_TYPE_DOUBLE:
		case TAP_BINLOG_TYPE_DATETIME:
			return set_fixed(column, 8);
		case TAP_BINLOG_TYPE_NULL:
			return true;
		case TAP_BINLOG_TYPE_TIMESTAMP2:
			return set_temporal_type(column, 4);
		case TAP_BINLOG_TYPE_DATETIME2:
			return set_temporal_type(column, 5);
		case TAP_BINLOG_TYPE_TIME2:
			return set_temporal_type(column, 3);
		case TAP_BINLOG_TYPE_NEWDECIMAL:
			return set_decimal_type(column);
		case TAP_BINLOG_TYPE_BIT:
			return set_bit_type(column);
		case TAP_BINLOG_TYPE_VARCHAR_COMPRESSED:
			column->compressed = true;
			/* FALLTHROUGH */
		case TAP_BINLOG_TYPE_VARCHAR:
			column->type = TAP_BINLOG_TYPE_VARCHAR;
			column->prefix_bytes = column->metadata > 255 ? 2 : 1;
			/* a compressed one has a byte more, for its method */
			column->max_bytes = column->metadata;
			if (column->compressed && column->max_bytes > 0)
				column->max_bytes--;
			return true;
		case TAP_BINLOG_TYPE_STRING:
		case TAP_BINLOG_TYPE_VAR_STRING:
		case TAP_BINLOG_TYPE_ENUM:
		case TAP_BINLOG_TYPE_SET:
			return set_string_type(column);
		case TAP_BINLOG_TYPE_BLOB_COMPRESSED:
			column->compressed = true;
			/* FALLTHROUGH */
		case TAP_BINLOG_TYPE_TINY_BLOB:
		case TAP_BINLOG_TYPE_MEDIUM_BLOB:
		case TAP_BINLOG_TYPE_LONG_BLOB:
		case TAP_BINLOG_TYPE_BLOB:
			return set_blob_type(column, TAP_BINLOG_TYPE_BLOB);
		case TAP_BINLOG_TYPE_JSON:
		case TAP_BINLOG_TYPE_GEOMETRY:
		case TAP_BINLOG_TYPE_VECTOR:
			return set_blob_type(column, column->wire_type);
		default:
			return false;
	}
}

bool
tap_binlog_set_old_scale(TapBinlogTable *table, uint32_t column_index, int scale)
{
	static const uint8_t time_bytes[] = {3, 4, 4, 5, 5, 5, 6};
	static const uint8_t datetime_bytes[] = {8, 6, 6, 7, 7, 7, 8};
	static const uint8_t timestamp_bytes[] = {4, 5, 5, 6, 6, 7, 7};
	TapBinlogColumn *column;

	if (column_index >= table->column_count || scale < 0 || scale > 6)
		return false;
	column = &table->columns[column_index];
	switch (column->type)
	{
		case TAP_BINLOG_TYPE_TIME:
			column->fixed_bytes = time_bytes[scale];
			break;
		case TAP_BINLOG_TYPE_DATETIME:
			column->fixed_bytes = datetime_bytes[scale];
			break;
		case TAP_BINLOG_TYPE_TIMESTAMP:
			column->fixed_bytes = timestamp_bytes[scale];
			break;
		default:
			return false;
	}
	column->scale = (uint8_t) scale;
	return true;
}

const char *
tap_binlog_type_name(uint8_t type)
{
	static const char *const low[] = {
		"decimal", "tinyint", "smallint", "int", "float", "double", "null", "timestamp",
		"bigint", "mediumint", "date", "time", "datetime", "year", "date", "varchar", "bit",
		"timestamp", "datetime", "time", "array"
	};

	if (type < sizeof(low) / sizeof(low[0]))
		return low[type];
	switch (type)
	{
		case TAP_BINLOG_TYPE_VECTOR:
			return "vector";
		case TAP_BINLOG_TYPE_JSON:
			return "json";
		case TAP_BINLOG_TYPE_NEWDECIMAL:
			return "decimal";
		case TAP_BINLOG_TYPE_ENUM:
			return "enum";
		case TAP_BINLOG_TYPE_SET:
			return "set";
		case TAP_BINLOG_TYPE_TINY_BLOB:
		case TAP_BINLOG_TYPE_MEDIUM_BLOB:
		case TAP_BINLOG_TYPE_LONG_BLOB:
		case TAP_BINLOG_TYPE_BLOB:
			return "blob";
		case TAP_BINLOG_TYPE_BLOB_COMPRESSED:
			return "blob compressed";
		case TAP_BINLOG_TYPE_VARCHAR_COMPRESSED:
			return "varchar compressed";
		case TAP_BINLOG_TYPE_VAR_STRING:
			return "varchar";
		case TAP_BINLOG_TYPE_STRING:
			return "char";
		case TAP_BINLOG_TYPE_GEOMETRY:
			return "geometry";
		default:
			return "unknown type";
	}
}
