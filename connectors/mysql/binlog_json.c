/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_json.c
 *	  MySQL's binary JSON to text.
 *
 * NOTES
 *	  A container is: count, size in bytes, then for objects an entry for each
 *	  key (offset, length), then an entry for each value (type, and the value
 *	  itself if it fits, else its offset), then keys and values.  Offsets count
 *	  from the start of the container; small containers have them in two
 *	  bytes, large ones in four.  Hostile offsets may make values share bytes,
 *	  so that the number of values visited is bounded, too.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "binlog_json.h"
#include "binlog_private.h"

enum
{
	JSON_SMALL_OBJECT = 0x00,
	JSON_LARGE_OBJECT = 0x01,
	JSON_SMALL_ARRAY = 0x02,
	JSON_LARGE_ARRAY = 0x03,
	JSON_LITERAL = 0x04,
	JSON_INT16 = 0x05,
	JSON_UINT16 = 0x06,
	JSON_INT32 = 0x07,
	JSON_UINT32 = 0x08,
	JSON_INT64 = 0x09,
	JSON_UINT64 = 0x0a,
	JSON_DOUBLE = 0x0b,
	JSON_STRING = 0x0c,
	JSON_OPAQUE = 0x0f
};

typedef struct JsonPrinter
{
	TapBinlogBuffer *out;
	uint64_t	values_left;	/* how many more may be visited */
} JsonPrinter;

static TapBinlogStatus print_value(JsonPrinter *printer, uint8_t type, const uint8_t *data,
								   size_t length, int depth);

/* --- numbers ------------------------------------------------------------- */

/* Digits of a positive number that strtod reads back as the same number */
typedef struct ShortestDigits
{
	char		digits[20];
	int			count;
	int			point;			/* position of the point after digits[0] */
} ShortestDigits;

static void
split_exponent(const char *text, int digits, ShortestDigits *result)
{
	int			count = 0;

	/* d.ddde+xx, where the point may be another character in some locales */
	result->digits[count++] = text[0];
	for (int i = 1; i < digits; i++)
		result->digits[count++] = text[i + 1];
	while (count > 1 && result->digits[count - 1] == '0')
		count--;
	result->digits[count] = '\0';
	result->count = count;
	result->point = atoi(strchr(text, 'e') + 1) + 1;
}

/* Does d.ddd with the last digit changed by step read back as value? */
static bool
neighbour_matches(char *text, int digits, int step, double value)
{
	char	   *last = digits == 1 ? text : text + digits;

	if ((step < 0 && *last == '0') || (step > 0 && *last == '9'))
		return false;
	*last = (char) (*last + step);
	if (strtod(text, NULL) == value)
		return true;
	*last = (char) (*last - step);
	return false;
}

/*
 * Any 15 digits survive a normal double; at 16, next to a power of two, the
 * nearest decimal may fail where a neighbour does not.  Subnormal numbers
 * have fewer bits and may need fewer digits.
 */
static void
find_shortest(double value, ShortestDigits *result)
{
	char		text[40];

	for (int digits = value < 2.2250738585072014e-308 ? 1 : 15; digits < 17; digits++)
	{
		snprintf(text, sizeof(text), "%.*e", digits - 1, value);
		if (strtod(text, NULL) == value || neighbour_matches(text, digits, 1, value) ||
			neighbour_matches(text, digits, -1, value))
		{
			split_exponent(text, digits, result);
			return;
		}
	}
	snprintf(text, sizeof(text), "%.16e", value);
	split_exponent(text, 17, result);
}

static char *
put_digits(char *text, const char *digits, int count)
{
	memcpy(text, digits, (size_t) count);
	return text + count;
}

static char *
put_plain(char *text, const ShortestDigits *number)
{
	if (number->point <= 0)
	{
		*text++ = '0';
		*text++ = '.';
		for (int i = number->point; i < 0; i++)
			*text++ = '0';
		return put_digits(text, number->digits, number->count);
	}
	for (int i = 0; i < number->point; i++)
		*text++ = i < number->count ? number->digits[i] : '0';
	*text++ = '.';
	if (number->count <= number->point)
	{
		*text++ = '0';
		return text;
	}
	return put_digits(text, number->digits + number->point, number->count - number->point);
}

static char *
put_exponent(char *text, const ShortestDigits *number)
{
	*text++ = number->digits[0];
	if (number->count > 1)
	{
		*text++ = '.';
		text = put_digits(text, number->digits + 1, number->count - 1);
	}
	return text + sprintf(text, "e%d", number->point - 1);
}

uint32_t
tap_binlog_format_json_double(double value, char text[TAP_BINLOG_DOUBLE_SIZE])
{
	ShortestDigits number;
	char	   *end = text;

	/* MySQL's JSON has neither; should one turn up, its text is MySQL's 0 */
	if (isnan(value) || isinf(value))
		value = 0;
	if (signbit(value))
	{
		*end++ = '-';
		value = -value;
	}
	if (value == 0)
		end = put_digits(end, "0.0", 3);
	else
	{
		find_shortest(value, &number);
		if (number.point < -14 || (number.point > 15 && number.count <= number.point))
			end = put_exponent(end, &number);
		else
			end = put_plain(end, &number);
	}
	*end = '\0';
	return (uint32_t) (end - text);
}

/* --- scalars ------------------------------------------------------------- */

static TapBinlogStatus
put_text(JsonPrinter *printer, const char *text)
{
	return tap_binlog_buffer_append(printer->out, text, strlen(text));
}

TapBinlogStatus
tap_binlog_json_quote(TapBinlogBuffer *out, const char *text, size_t length)
{
	static const char escapes[] = "btn?fr";
	size_t		start = 0;
	TapBinlogStatus status = tap_binlog_buffer_append(out, "\"", 1);

	for (size_t i = 0; i < length && status == TAP_BINLOG_OK; i++)
	{
		unsigned char c = (unsigned char) text[i];
		char		escaped[8];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		if (c == '"' || c == '\\')
			snprintf(escaped, sizeof(escaped), "\\%c", c);
		else if (c >= 8 && c <= 13 && c != 11)
			snprintf(escaped, sizeof(escaped), "\\%c", escapes[c - 8]);
		else
			snprintf(escaped, sizeof(escaped), "\\u%04x", c);
		status = tap_binlog_buffer_append(out, text + start, i - start);
		if (status == TAP_BINLOG_OK)
			status = tap_binlog_buffer_append(out, escaped, strlen(escaped));
		start = i + 1;
	}
	if (status == TAP_BINLOG_OK)
		status = tap_binlog_buffer_append(out, text + start, length - start);
	if (status == TAP_BINLOG_OK)
		status = tap_binlog_buffer_append(out, "\"", 1);
	return status;
}

/* Length of a string or opaque value: seven bits a byte, lowest first */
static bool
get_variable_length(TapBinlogCursor *cursor, size_t *length)
{
	uint64_t	value = 0;

	for (unsigned i = 0; i < 5; i++)
	{
		uint8_t		byte = cursor_get8(cursor);

		value |= (uint64_t) (byte & 0x7f) << 7 * i;
		if (cursor->failed)
			return false;
		if ((byte & 0x80) == 0)
		{
			*length = (size_t) value;
			return value <= UINT32_MAX;
		}
	}
	return false;
}

static TapBinlogStatus
print_string(JsonPrinter *printer, const uint8_t *data, size_t length)
{
	TapBinlogCursor cursor = cursor_over(data, length);
	size_t		size;
	const uint8_t *text;

	if (!get_variable_length(&cursor, &size) || (text = cursor_take(&cursor, size)) == NULL)
		return TAP_BINLOG_CORRUPT;
	return tap_binlog_json_quote(printer->out, (const char *) text, size);
}

static TapBinlogStatus
print_decimal(JsonPrinter *printer, const uint8_t *data, size_t length)
{
	char		text[TAP_BINLOG_DECIMAL_SIZE];
	uint32_t	text_length;

	if (length < 2 ||
		!tap_binlog_get_decimal(data + 2, (uint32_t) (length - 2), data[0], data[1],
								text, &text_length))
		return TAP_BINLOG_CORRUPT;
	return put_text(printer, text);
}

/*
 * Dates and times are packed into 64 bits: bits of year * 13 + month, day,
 * hour, minute, second, and 24 bits of microseconds.
 */
static TapBinlogStatus
print_time(JsonPrinter *printer, uint8_t type, const uint8_t *data, size_t length)
{
	TapBinlogTime time = {0};
	char		text[40];
	uint64_t	packed;
	uint32_t	year_month;

	if (length != 8)
		return TAP_BINLOG_CORRUPT;
	packed = load64(data);
	if (packed >> 63)
	{
		time.negative = true;
		packed = 0 - packed;
	}
	time.microsecond = (uint32_t) (packed & 0xffffff);
	packed >>= 24;
	time.second = packed & 0x3f;
	time.minute = packed >> 6 & 0x3f;
	time.hour = packed >> 12 & (type == TAP_BINLOG_TYPE_TIME ? 0x3ff : 0x1f);
	time.day = packed >> 17 & 0x1f;
	year_month = (uint32_t) (packed >> 22 & 0x1ffff);
	time.year = (uint16_t) (year_month / 13);
	time.month = (uint8_t) (year_month % 13);
	if (time.microsecond > 999999)
		return TAP_BINLOG_CORRUPT;
	text[0] = '"';
	length = 1 + tap_binlog_format_time(type, 6, &time, text + 1);
	text[length++] = '"';
	return tap_binlog_buffer_append(printer->out, text, length);
}

/* MySQL breaks base64 into lines of 76 characters. */
static TapBinlogStatus
print_base64(JsonPrinter *printer, uint8_t type, const uint8_t *data, size_t length)
{
	static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char		prefix[24];
	TapBinlogStatus status;

	snprintf(prefix, sizeof(prefix), "\"base64:type%u:", type);
	status = put_text(printer, prefix);
	for (size_t i = 0; i < length && status == TAP_BINLOG_OK; i += 3)
	{
		size_t		left = length - i;
		uint32_t	group = (uint32_t) data[i] << 16 |
		(uint32_t) (left > 1 ? data[i + 1] : 0) << 8 | (left > 2 ? data[i + 2] : 0);
		char		text[4] = {
			alphabet[group >> 18], alphabet[group >> 12 & 63],
			left > 1 ? alphabet[group >> 6 & 63] : '=',
			left > 2 ? alphabet[group & 63] : '='
		};

		if (i > 0 && i % 57 == 0)
			status = put_text(printer, "\\n");
		if (status == TAP_BINLOG_OK)
			status = tap_binlog_buffer_append(printer->out, text, 4);
	}
	return status == TAP_BINLOG_OK ? put_text(printer, "\"") : status;
}

static TapBinlogStatus
print_opaque(JsonPrinter *printer, const uint8_t *data, size_t length)
{
	TapBinlogCursor cursor = cursor_over(data, length);
	uint8_t		type = cursor_get8(&cursor);
	size_t		size;
	const uint8_t *value;

	if (!get_variable_length(&cursor, &size) || (value = cursor_take(&cursor, size)) == NULL)
		return TAP_BINLOG_CORRUPT;
	switch (type)
	{
		case TAP_BINLOG_TYPE_NEWDECIMAL:
			return print_decimal(printer, value, size);
		case TAP_BINLOG_TYPE_DATE:
		case TAP_BINLOG_TYPE_TIME:
		case TAP_BINLOG_TYPE_DATETIME:
		case TAP_BINLOG_TYPE_TIMESTAMP:
			return print_time(printer, type, value, size);
		default:
			return print_base64(printer, type, value, size);
	}
}

static TapBinlogStatus
print_literal(JsonPrinter *printer, uint8_t literal)
{
	static const char *const names[] = {"null", "true", "false"};

	return literal < 3 ? put_text(printer, names[literal]) : TAP_BINLOG_CORRUPT;
}

/* --- containers ---------------------------------------------------------- */

static bool
is_inlined(uint8_t type, bool large)
{
	return type == JSON_LITERAL || type == JSON_INT16 || type == JSON_UINT16 ||
		(large && (type == JSON_INT32 || type == JSON_UINT32));
}

static uint32_t
load_offset(const uint8_t *p, bool large)
{
	return large ? load32(p) : load16(p);
}

static TapBinlogStatus
print_entry(JsonPrinter *printer, const uint8_t *entry, bool large, const uint8_t *container,
			size_t size, int depth)
{
	uint32_t	offset;

	if (is_inlined(entry[0], large))
		return print_value(printer, entry[0], entry + 1, large ? 4 : 2, depth);
	offset = load_offset(entry + 1, large);
	if (offset >= size)
		return TAP_BINLOG_CORRUPT;
	return print_value(printer, entry[0], container + offset, size - offset, depth);
}

static TapBinlogStatus
print_key(JsonPrinter *printer, const uint8_t *entry, bool large, const uint8_t *container,
		  size_t size)
{
	uint32_t	offset = load_offset(entry, large);
	uint16_t	length = load16(entry + (large ? 4 : 2));
	TapBinlogStatus status;

	if (offset > size || length > size - offset)
		return TAP_BINLOG_CORRUPT;
	status = tap_binlog_json_quote(printer->out, (const char *) container + offset, length);
	return status == TAP_BINLOG_OK ? put_text(printer, ": ") : status;
}

static TapBinlogStatus
print_container(JsonPrinter *printer, const uint8_t *data, size_t length, bool object,
				bool large, int depth)
{
	size_t		width = large ? 4 : 2;
	size_t		key_size = object ? width + 2 : 0;
	size_t		value_size = width + 1;
	uint32_t	count;
	uint32_t	size;
	TapBinlogStatus status;

	if (depth >= TAP_BINLOG_JSON_DEPTH || length < 2 * width)
		return TAP_BINLOG_CORRUPT;
	count = load_offset(data, large);
	size = load_offset(data + width, large);
	if (size > length || size < 2 * width ||
		(size - 2 * width) / (key_size + value_size) < count)
		return TAP_BINLOG_CORRUPT;
	status = put_text(printer, object ? "{" : "[");
	for (uint32_t i = 0; i < count && status == TAP_BINLOG_OK; i++)
	{
		const uint8_t *keys = data + 2 * width;
		const uint8_t *values = keys + (size_t) count * key_size;

		if (i > 0)
			status = put_text(printer, ", ");
		if (status == TAP_BINLOG_OK && object)
			status = print_key(printer, keys + i * key_size, large, data, size);
		if (status == TAP_BINLOG_OK)
			status = print_entry(printer, values + i * value_size, large, data, size, depth + 1);
	}
	return status == TAP_BINLOG_OK ? put_text(printer, object ? "}" : "]") : status;
}

/* --- values -------------------------------------------------------------- */

/* Bytes of a type of fixed size, 0 for the others */
static size_t
scalar_bytes(uint8_t type)
{
	switch (type)
	{
		case JSON_LITERAL:
			return 1;
		case JSON_INT16:
		case JSON_UINT16:
			return 2;
		case JSON_INT32:
		case JSON_UINT32:
			return 4;
		case JSON_INT64:
		case JSON_UINT64:
		case JSON_DOUBLE:
			return 8;
		default:
			return 0;
	}
}

static TapBinlogStatus
print_number(JsonPrinter *printer, uint8_t type, const uint8_t *data)
{
	char		text[TAP_BINLOG_DOUBLE_SIZE];
	int64_t		number = 0;
	double		real = 0;

	if (type == JSON_DOUBLE)
	{
		tap_binlog_get_double(data, 8, &real);
		tap_binlog_format_json_double(real, text);
	}
	else if (type == JSON_UINT64)
		snprintf(text, sizeof(text), "%llu", (unsigned long long) load64(data));
	else
	{
		if (type == JSON_UINT16)
			number = load16(data);
		else if (type == JSON_UINT32)
			number = load32(data);
		else
			tap_binlog_get_int(data, (uint32_t) scalar_bytes(type), &number);
		snprintf(text, sizeof(text), "%lld", (long long) number);
	}
	return put_text(printer, text);
}

static TapBinlogStatus
print_value(JsonPrinter *printer, uint8_t type, const uint8_t *data, size_t length, int depth)
{
	if (printer->values_left-- == 0 || length < scalar_bytes(type))
		return TAP_BINLOG_CORRUPT;
	switch (type)
	{
		case JSON_SMALL_OBJECT:
		case JSON_LARGE_OBJECT:
		case JSON_SMALL_ARRAY:
		case JSON_LARGE_ARRAY:
			return print_container(printer, data, length, type <= JSON_LARGE_OBJECT,
								   type & 1, depth);
		case JSON_LITERAL:
			return print_literal(printer, data[0]);
		case JSON_INT16:
		case JSON_UINT16:
		case JSON_INT32:
		case JSON_UINT32:
		case JSON_INT64:
		case JSON_UINT64:
		case JSON_DOUBLE:
			return print_number(printer, type, data);
		case JSON_STRING:
			return print_string(printer, data, length);
		case JSON_OPAQUE:
			return print_opaque(printer, data, length);
		default:
			return TAP_BINLOG_CORRUPT;
	}
}

TapBinlogStatus
tap_binlog_json_text(const uint8_t *data, uint32_t length, TapBinlogBuffer *out)
{
	/* each value but the first takes an entry of three bytes at least */
	JsonPrinter printer = {out, (uint64_t) length / 3 + 1};

	if (length == 0)
		return put_text(&printer, "null");
	return print_value(&printer, data[0], data + 1, length - 1, 0);
}
