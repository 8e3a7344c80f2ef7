/*-------------------------------------------------------------------------
 *
 * connectors/common/record_value.c
 *	  Values of a record to datums.
 *
 * NOTES
 *	  Each of the fast ways takes only texts it is sure of, and leaves all
 *	  others to the type's input function, which returns a value or raises the
 *	  error that users know.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_private.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "record_time.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

static TapRecordKind
kind_of(Oid type)
{
	switch (type)
	{
		case INT2OID:
			return TAP_RECORD_KIND_INT2;
		case INT4OID:
			return TAP_RECORD_KIND_INT4;
		case INT8OID:
			return TAP_RECORD_KIND_INT8;
		case NUMERICOID:
			return TAP_RECORD_KIND_NUMERIC;
		case BOOLOID:
			return TAP_RECORD_KIND_BOOL;
		case TEXTOID:
			return TAP_RECORD_KIND_TEXT;
		case JSONOID:
		case JSONBOID:
			return TAP_RECORD_KIND_JSON;
		case UUIDOID:
			return TAP_RECORD_KIND_UUID;
		case DATEOID:
			return TAP_RECORD_KIND_DATE;
		case TIMESTAMPOID:
			return TAP_RECORD_KIND_TIMESTAMP;
		case TIMESTAMPTZOID:
			return TAP_RECORD_KIND_TIMESTAMPTZ;
		default:
			return TAP_RECORD_KIND_INPUT;
	}
}

/* Types whose input function reads the same whatever is set. */
static bool
is_settled(Oid type)
{
	switch (kind_of(type))
	{
		case TAP_RECORD_KIND_DATE:
		case TAP_RECORD_KIND_TIMESTAMP:
		case TAP_RECORD_KIND_TIMESTAMPTZ:
			return false;
		case TAP_RECORD_KIND_INPUT:
			return type == FLOAT4OID || type == FLOAT8OID || type == VARCHAROID ||
				type == BPCHAROID || type == BYTEAOID;
		default:
			return true;
	}
}

static void
init_element(TapRecordField *field, const TapRecordColumn *column, Oid element)
{
	TapRecordColumn as_column = *column;

	as_column.type = element;
	field->element = palloc0(sizeof(TapRecordField));
	tap_record_field_init(field->element, &as_column);
	get_typlenbyvalalign(element, &field->element_bytes, &field->element_by_value,
						 &field->element_align);
}

void
tap_record_field_init(TapRecordField *field, const TapRecordColumn *column)
{
	Oid			function;
	Oid			element;

	field->type = column->type;
	field->typmod = column->typmod;
	field->base_type = getBaseType(column->type);
	field->form = column->form;
	field->scale = column->scale;
	field->guarded = !is_settled(column->type);
	getTypeInputInfo(column->type, &function, &field->input_parameter);
	fmgr_info(function, &field->input);

	element = get_base_element_type(column->type);
	if (column->type == VARCHAROID && column->typmod < 0)
		field->kind = TAP_RECORD_KIND_TEXT;
	else
		field->kind = kind_of(column->type);
	if (field->base_type == JSONBOID || field->base_type == JSONOID)
		field->kind = TAP_RECORD_KIND_JSON;
	field->plain_kind = field->kind;
	if (OidIsValid(element) && field->base_type == field->type)
	{
		field->kind = TAP_RECORD_KIND_ARRAY;
		init_element(field, column, element);
	}
	else if (column->form != TAP_RECORD_PLAIN)
		field->kind = TAP_RECORD_KIND_FORM;
}

void
tap_record_settings_back(TapRecordReader *reader)
{
	TapRecordSettings *settings = &reader->settings;

	if (!settings->changed)
		return;
	DateOrder = settings->date_order;
	IntervalStyle = settings->interval_style;
	session_timezone = settings->zone;
	settings->changed = false;
}

static void
settle(TapRecordReader *reader)
{
	TapRecordSettings *settings = &reader->settings;

	settings->date_order = DateOrder;
	settings->interval_style = IntervalStyle;
	settings->zone = session_timezone;
	settings->changed = true;
	DateOrder = DATEORDER_YMD;
	IntervalStyle = INTSTYLE_POSTGRES;
	session_timezone = pg_tzset("GMT");
}

Datum
tap_record_call_input(TapRecordReader *reader, TapRecordField *field,
					  const char *text, Size length)
{
	Datum		result;

	resetStringInfo(&reader->scratch);
	appendBinaryStringInfo(&reader->scratch, text, length);
	if (field->guarded)
		settle(reader);
	result = InputFunctionCall(&field->input, reader->scratch.data,
							   field->input_parameter, field->typmod);
	if (field->guarded)
		tap_record_settings_back(reader);
	return result;
}

/* A whole number of at most 18 digits, which cannot overflow. */
static inline bool
read_int(const char *text, Size length, int64 *result)
{
	bool		negative = length > 0 && text[0] == '-';
	int64		value = 0;
	Size		i = negative ? 1 : 0;

	if (length - i > 18 || length == i)
		return false;
	for (; i < length; i++)
	{
		unsigned char digit = text[i] - '0';

		if (digit > 9)
			return false;
		value = value * 10 + digit;
	}
	*result = negative ? -value : value;
	return true;
}

/* The same with a point in it; *scale is the number of digits behind that. */
static inline bool
read_decimal(const char *text, Size length, int64 *result, int *scale)
{
	bool		negative = length > 0 && text[0] == '-';
	int64		value = 0;
	int			point = -1;
	Size		i = negative ? 1 : 0;

	if (length - i > 18 || length == i)
		return false;
	for (; i < length; i++)
	{
		unsigned char digit = text[i] - '0';

		if (digit <= 9)
			value = value * 10 + digit;
		else if (text[i] == '.' && point < 0 && i > 0 && text[i - 1] != '-' && i + 1 < length)
			point = (int) i;
		else
			return false;
	}
	*scale = point < 0 ? 0 : (int) length - point - 1;
	*result = negative ? -value : value;
	return true;
}

static bool
read_numeric(TapRecordField *field, const char *text, Size length, Datum *result)
{
	int64		value;
	int			scale;
	Numeric		number;

	if (!read_decimal(text, length, &value, &scale))
		return false;
	number = scale > 0 ? int64_div_fast_to_numeric(value, scale) : int64_to_numeric(value);
	*result = NumericGetDatum(number);
	if (field->typmod >= 0)
		*result = DirectFunctionCall2(numeric, *result, Int32GetDatum(field->typmod));
	return true;
}

static bool
read_bool(const char *text, Size length, Datum *result)
{
	if ((length == 4 && memcmp(text, "true", 4) == 0) || (length == 1 && (*text == 't' || *text == '1')))
		*result = BoolGetDatum(true);
	else if ((length == 5 && memcmp(text, "false", 5) == 0) || (length == 1 && (*text == 'f' || *text == '0')))
		*result = BoolGetDatum(false);
	else
		return false;
	return true;
}

static inline int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
read_uuid(const char *text, Size length, Datum *result)
{
	pg_uuid_t  *uuid;
	int			at = 0;

	if (length != 36)
		return false;
	uuid = palloc(sizeof(pg_uuid_t));
	for (int i = 0; i < UUID_LEN; i++)
	{
		int			high;
		int			low;

		if (i == 4 || i == 6 || i == 8 || i == 10)
		{
			if (text[at++] != '-')
				return false;
		}
		high = hex_digit(text[at++]);
		low = hex_digit(text[at++]);
		if (high < 0 || low < 0)
			return false;
		uuid->data[i] = high << 4 | low;
	}
	*result = UUIDPGetDatum(uuid);
	return true;
}

static bool
read_timestamp(TapRecordField *field, TapRecordKind kind, const char *text,
			   Size length, Datum *result)
{
	TapRecordTime time;

	if (!tap_record_parse_time(text, length, &time))
		return false;

	/* as PostgreSQL does it, a zone means nothing to a time without */
	if (kind == TAP_RECORD_KIND_TIMESTAMP)
		time.zone = 0;
	*result = TimestampGetDatum(tap_record_timestamp(&time));
	if (field->typmod >= 0)
		*result = DirectFunctionCall2(kind == TAP_RECORD_KIND_TIMESTAMP ? timestamp_scale :
									  timestamptz_scale, *result, Int32GetDatum(field->typmod));
	return true;
}

static bool
read_date(const char *text, Size length, Datum *result)
{
	TapRecordTime time;

	if (length != 10 || !tap_record_parse_time(text, length, &time))
		return false;
	*result = DateADTGetDatum(time.date);
	return true;
}

static bool
read_small_int(TapRecordKind kind, const char *text, Size length, Datum *result)
{
	int64		value;

	if (!read_int(text, length, &value))
		return false;
	if (kind == TAP_RECORD_KIND_INT8)
		*result = Int64GetDatum(value);
	else if (kind == TAP_RECORD_KIND_INT4 && value >= PG_INT32_MIN && value <= PG_INT32_MAX)
		*result = Int32GetDatum((int32) value);
	else if (kind == TAP_RECORD_KIND_INT2 && value >= PG_INT16_MIN && value <= PG_INT16_MAX)
		*result = Int16GetDatum((int16) value);
	else
		return false;
	return true;
}

static inline Datum
from_text(TapRecordReader *reader, TapRecordField *field, TapRecordKind kind,
		  const char *text, Size length)
{
	Datum		result = (Datum) 0;
	bool		done = false;

	switch (kind)
	{
		case TAP_RECORD_KIND_TEXT:
			return PointerGetDatum(cstring_to_text_with_len(text, (int) length));
		case TAP_RECORD_KIND_INT2:
		case TAP_RECORD_KIND_INT4:
		case TAP_RECORD_KIND_INT8:
			done = read_small_int(kind, text, length, &result);
			break;
		case TAP_RECORD_KIND_NUMERIC:
			done = read_numeric(field, text, length, &result);
			break;
		case TAP_RECORD_KIND_BOOL:
			done = read_bool(text, length, &result);
			break;
		case TAP_RECORD_KIND_UUID:
			done = read_uuid(text, length, &result);
			break;
		case TAP_RECORD_KIND_DATE:
			done = read_date(text, length, &result);
			break;
		case TAP_RECORD_KIND_TIMESTAMP:
		case TAP_RECORD_KIND_TIMESTAMPTZ:
			done = read_timestamp(field, kind, text, length, &result);
			break;
		case TAP_RECORD_KIND_FORM:
			{
				TapJsonValue value = {TAP_JSON_STRING, false, false, text, length};

				return tap_record_from_form(reader, field, &value);
			}
		case TAP_RECORD_KIND_INPUT:
		case TAP_RECORD_KIND_JSON:
		case TAP_RECORD_KIND_ARRAY:
			break;
	}
	return done ? result : tap_record_call_input(reader, field, text, length);
}

Datum
tap_record_from_text(TapRecordReader *reader, TapRecordField *field,
					 const char *text, Size length)
{
	return from_text(reader, field, field->kind, text, length);
}

Datum
tap_record_from_plain(TapRecordReader *reader, TapRecordField *field,
					  const char *text, Size length)
{
	return from_text(reader, field, field->plain_kind, text, length);
}

Datum
tap_record_from_json(TapRecordReader *reader, TapRecordField *field,
					 const TapJsonValue *value)
{
	const char *text = value->text;
	Size		length = value->length;

	if (field->kind == TAP_RECORD_KIND_FORM)
		return tap_record_from_form(reader, field, value);
	if (value->kind == TAP_JSON_LIST && field->kind == TAP_RECORD_KIND_ARRAY)
		return tap_record_array(reader, field, value);
	if (value->kind == TAP_JSON_STRING)
	{
		if (field->kind == TAP_RECORD_KIND_JSON)
			return tap_record_call_input(reader, field, text - 1, length + 2);
		text = tap_json_unescape(value, &length);
	}
	return tap_record_from_text(reader, field, text, length);
}
