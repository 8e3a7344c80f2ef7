/*-------------------------------------------------------------------------
 *
 * connectors/common/record_form.c
 *	  Values in forms that a schema tells: numbers that are times, base64.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_private.h"

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varbit.h"

/* Longer ones are no numbers that anybody has. */
#define DECIMAL_MOST_BYTES	8192
#define DECIMAL_MOST_SCALE	16000

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("%s", what)));
}

static unsigned char *
decode_base64(const TapJsonValue *value, int *length)
{
	Size		text_length;
	const char *text;
	int			room;
	unsigned char *bytes;

	if (value->kind != TAP_JSON_STRING)
		refuse("a value is no string in base64");
	text = tap_json_unescape(value, &text_length);
	room = pg_b64_dec_len((int) text_length);
	bytes = palloc(room + 1);
	*length = pg_b64_decode(text, (int) text_length, (void *) bytes, room);
	if (*length < 0)
		refuse("a value is not valid base64");
	return bytes;
}

static Datum
make_bytea(const TapJsonValue *value)
{
	int			length;
	unsigned char *bytes = decode_base64(value, &length);
	bytea	   *result = palloc(length + VARHDRSZ);

	SET_VARSIZE(result, length + VARHDRSZ);
	memcpy(VARDATA(result), bytes, length);
	return PointerGetDatum(result);
}

/* The decimal digits of a number's absolute value, which is overwritten. */
static char *
digits_of(unsigned char *bytes, int length)
{
	int			room = length * 5 / 2 + 10;
	char	   *end = (char *) palloc(room) + room - 1;
	int			first = 0;

	*end = '\0';
	while (first < length)
	{
		uint32		rest = 0;

		/* nine digits at a time */
		for (int i = first; i < length; i++)
		{
			uint64		dividend = (uint64) rest << 8 | bytes[i];

			bytes[i] = (unsigned char) (dividend / 1000000000);
			rest = (uint32) (dividend % 1000000000);
		}
		for (int i = 0; i < 9; i++)
		{
			*--end = '0' + rest % 10;
			rest /= 10;
		}
		while (first < length && bytes[first] == 0)
			first++;
	}
	return end;
}

static char *
decimal_text(const unsigned char *number, int length, int scale)
{
	unsigned char *bytes = palloc(length + 1);
	bool		negative = length > 0 && (number[0] & 0x80);
	int			carry = 1;

	memcpy(bytes, number, length);
	for (int i = length - 1; negative && i >= 0; i--)
	{
		carry += (unsigned char) ~bytes[i];
		bytes[i] = (unsigned char) carry;
		carry >>= 8;
	}
	return psprintf("%s%se%d", negative ? "-" : "", digits_of(bytes, length), -scale);
}

Datum
tap_record_decimal(TapRecordReader *reader, TapRecordField *field,
				   const unsigned char *bytes, int length, int scale)
{
	char	   *text;

	if (length < 1 || length > DECIMAL_MOST_BYTES || scale < -DECIMAL_MOST_SCALE || scale > DECIMAL_MOST_SCALE)
		refuse("a decimal number is empty or out of range");
	if (length <= sizeof(int64) && scale >= 0 && field->type == NUMERICOID)
	{
		int64		value = (bytes[0] & 0x80) ? -1 : 0;
		Datum		result;

		for (int i = 0; i < length; i++)
			value = (int64) ((uint64) value << 8 | bytes[i]);
		result = NumericGetDatum(int64_div_fast_to_numeric(value, scale));
		if (field->typmod >= 0)
			result = DirectFunctionCall2(numeric, result, Int32GetDatum(field->typmod));
		return result;
	}
	text = decimal_text(bytes, length, scale);
	return tap_record_call_input(reader, field, text, strlen(text));
}

static Datum
make_decimal(TapRecordReader *reader, TapRecordField *field,
			 const TapJsonValue *value, int scale)
{
	int			length;
	unsigned char *bytes = decode_base64(value, &length);

	return tap_record_decimal(reader, field, bytes, length, scale);
}

static bool
read_whole(const TapJsonValue *value, int64 *number)
{
	char		digits[24];
	char	   *end;

	if ((value->kind != TAP_JSON_NUMBER && value->kind != TAP_JSON_STRING) ||
		value->length < 1 || value->length >= sizeof(digits))
		return false;
	memcpy(digits, value->text, value->length);
	digits[value->length] = '\0';
	errno = 0;
	*number = strtoi64(digits, &end, 10);
	return errno == 0 && *end == '\0' && end == digits + value->length &&
		(digits[0] == '-' || (digits[0] >= '0' && digits[0] <= '9'));
}

/* {"scale": n, "value": base64} */
static Datum
make_scaled_decimal(TapRecordReader *reader, TapRecordField *field,
					const TapJsonValue *object)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;
	TapJsonValue number = {TAP_JSON_NULL};
	int64		scale = 0;

	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&name, "value", 5))
			number = value;
		else if (tap_json_is(&name, "scale", 5) &&
				 (!read_whole(&value, &scale) || scale < -DECIMAL_MOST_SCALE || scale > DECIMAL_MOST_SCALE))
			refuse("the scale of a decimal number is out of range");
	}
	return make_decimal(reader, field, &number, (int) scale);
}

/* {"x": n, "y": n} */
static Datum
make_point(TapRecordReader *reader, TapRecordField *field,
		   const TapJsonValue *object)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;
	TapJsonValue x = {TAP_JSON_NULL};
	TapJsonValue y = {TAP_JSON_NULL};
	char	   *text;

	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&name, "x", 1))
			x = value;
		else if (tap_json_is(&name, "y", 1))
			y = value;
	}
	if (x.length == 0 || y.length == 0)
		refuse("a point has no x or no y");
	text = psprintf("(%.*s,%.*s)", (int) x.length, x.text, (int) y.length, y.text);
	return tap_record_call_input(reader, field, text, strlen(text));
}

Datum
tap_record_bits(TapRecordField *field, const unsigned char *bytes, int length)
{
	int			nbits = field->typmod > 0 ? field->typmod : length * BITS_PER_BYTE;
	VarBit	   *result;

	if (nbits > VARBITMAXLEN || (field->type == VARBITOID && nbits > length * BITS_PER_BYTE))
		nbits = length * BITS_PER_BYTE;
	result = palloc0(VARBITTOTALLEN(nbits));
	SET_VARSIZE(result, VARBITTOTALLEN(nbits));
	VARBITLEN(result) = nbits;
	for (int i = 0; i < nbits && i < length * BITS_PER_BYTE; i++)
	{
		int			at = nbits - 1 - i;

		if (bytes[i / BITS_PER_BYTE] & (1 << i % BITS_PER_BYTE))
			VARBITS(result)[at / BITS_PER_BYTE] |= HIGHBIT >> at % BITS_PER_BYTE;
	}
	return PointerGetDatum(result);
}

/* Units of the form in microseconds; 0: it is no time. */
static int64
unit_of(TapRecordForm form)
{
	switch (form)
	{
		case TAP_RECORD_DAYS:
			return USECS_PER_DAY;
		case TAP_RECORD_SECONDS:
			return USECS_PER_SEC;
		case TAP_RECORD_MILLIS:
			return 1000;
		case TAP_RECORD_MICROS:
		case TAP_RECORD_NANOS:
		case TAP_RECORD_INTERVAL_MICROS:
			return 1;
		default:
			return 0;
	}
}

static Datum
interval_of(int64 microseconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = microseconds;
	return IntervalPGetDatum(interval);
}

static int64
floor_divide(int64 value, int64 by)
{
	return value / by - (value % by < 0 ? 1 : 0);
}

Datum
tap_record_time_value(TapRecordField *field, int64 value)
{
	int64		epoch = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64		microseconds;

	if (field->form == TAP_RECORD_NANOS)
		value = floor_divide(value, 1000);
	if (pg_mul_s64_overflow(value, unit_of(field->form), &microseconds))
		refuse("a time is out of range");
	switch (field->type)
	{
		case INTERVALOID:
			return interval_of(microseconds);
		case TIMEOID:
			if (microseconds < 0 || microseconds > USECS_PER_DAY)
				refuse("a time is not within a day");
			return TimeADTGetDatum(microseconds);
		default:
			break;
	}
	if (pg_sub_s64_overflow(microseconds, epoch, &microseconds) || !IS_VALID_TIMESTAMP(microseconds))
		refuse("a time stamp is out of range");
	if (field->type == DATEOID)
		return DateADTGetDatum((DateADT) floor_divide(microseconds, USECS_PER_DAY));
	return TimestampGetDatum(microseconds);
}

Datum
tap_record_from_form(TapRecordReader *reader, TapRecordField *field,
					 const TapJsonValue *value)
{
	int			length;
	unsigned char *bytes;
	const char *text = value->text;
	Size		text_length = value->length;
	int64		number;

	switch (field->form)
	{
		case TAP_RECORD_BASE64:
			return make_bytea(value);
		case TAP_RECORD_DECIMAL:
			if (value->kind == TAP_JSON_STRING)
				return make_decimal(reader, field, value, field->scale);
			break;
		case TAP_RECORD_SCALED_DECIMAL:
			if (value->kind == TAP_JSON_OBJECT)
				return make_scaled_decimal(reader, field, value);
			break;
		case TAP_RECORD_BITS:
			bytes = decode_base64(value, &length);
			return tap_record_bits(field, bytes, length);
		case TAP_RECORD_POINT:
			if (value->kind == TAP_JSON_OBJECT)
				return make_point(reader, field, value);
			break;
		case TAP_RECORD_TEXT:
		case TAP_RECORD_PLAIN:
			break;
		default:
			if (read_whole(value, &number))
				return tap_record_time_value(field, number);
			break;
	}

	/* a producer that is set to write plain values */
	if (value->kind == TAP_JSON_STRING)
		text = tap_json_unescape(value, &text_length);
	return tap_record_from_plain(reader, field, text, text_length);
}
