/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_number.c
 *	  Numbers of COBOL: zoned, packed, binary and floating point.
 *
 * NOTES
 *	  The sign of a zoned number is in the upper half of its last (or first)
 *	  byte.  In ASCII two ways are in use, which do not exclude one another:
 *	  'p' to 'y' for negative digits, and what EBCDIC's own signed digits are
 *	  when they are translated as characters, '{' and 'A' to 'I', '}' and 'J'
 *	  to 'R'.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cobol.h"

#define ASCII_PLUS		'+'
#define ASCII_MINUS		'-'
#define EBCDIC_PLUS		0x4e
#define EBCDIC_MINUS	0x60
#define ASCII_SPACE		0x20
#define EBCDIC_SPACE	0x40
#define HEX_FLOAT_BIAS	64

const int64_t tap_cobol_powers[] = {
	INT64_C(1), INT64_C(10), INT64_C(100), INT64_C(1000), INT64_C(10000), INT64_C(100000),
	INT64_C(1000000), INT64_C(10000000), INT64_C(100000000), INT64_C(1000000000),
	INT64_C(10000000000), INT64_C(100000000000), INT64_C(1000000000000),
	INT64_C(10000000000000), INT64_C(100000000000000), INT64_C(1000000000000000),
	INT64_C(10000000000000000), INT64_C(100000000000000000), INT64_C(1000000000000000000)
};

/* A number as digits of one byte each. */
typedef struct Digits
{
	uint8_t		digits[TAP_COPYBOOK_MOST_DIGITS + 2];
	int			count;
	bool		negative;
} Digits;

static bool
is_filled(const uint8_t *data, uint32_t bytes, uint8_t with)
{
	for (uint32_t i = 0; i < bytes; i++)
	{
		if (data[i] != with)
			return false;
	}
	return true;
}

/* What a number is whose bytes make no sense. */
static TapCobolNumber
invalid(const TapCobolOp *op, const uint8_t *data)
{
	uint8_t		space = op->ebcdic ? EBCDIC_SPACE : ASCII_SPACE;

	if (is_filled(data, op->bytes, space) || is_filled(data, op->bytes, 0x00) ||
		is_filled(data, op->bytes, 0xff))
		return TAP_NUMBER_BLANK;
	return TAP_NUMBER_INVALID;
}

/* The digit of the byte that has the sign in it too; -1: none. */
static int
signed_digit(const TapCobolOp *op, uint8_t byte, bool *negative)
{
	if (op->ebcdic)
	{
		int			zone = byte >> 4;

		if ((byte & 0x0f) > 9 || zone < 0x0a)
			return -1;
		*negative = zone == 0x0d || zone == 0x0b;
		return byte & 0x0f;
	}
	*negative = (byte >= 'p' && byte <= 'y') || (byte >= 'J' && byte <= 'R') || byte == '}';
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'p' && byte <= 'y')
		return byte - 'p';
	if (byte >= 'A' && byte <= 'I')
		return byte - 'A' + 1;
	if (byte >= 'J' && byte <= 'R')
		return byte - 'J' + 1;
	return (byte == '{' || byte == '}') ? 0 : -1;
}

/* The sign that stands by itself; false: none does. */
static bool
separate_sign(const TapCobolOp *op, uint8_t byte, bool *negative)
{
	*negative = byte == (op->ebcdic ? EBCDIC_MINUS : ASCII_MINUS);
	return *negative || byte == (op->ebcdic ? EBCDIC_PLUS : ASCII_PLUS);
}

/*
 * Where the plain digits of a zoned number are; *last is the digit that has the
 * sign too, -1: there is none.
 */
static bool
zoned_parts(const TapCobolOp *op, const uint8_t *data, const uint8_t **digits, int *count,
			int *last, bool *negative)
{
	const TapCobolItem *item = op->item;

	*digits = data;
	*count = item->digits;
	*last = -1;
	*negative = false;
	if (item->sign_separate)
	{
		*digits = item->sign_leading ? data + 1 : data;
		return separate_sign(op, item->sign_leading ? data[0] : data[item->digits], negative);
	}
	(*count)--;
	*digits = item->sign_leading ? data + 1 : data;
	*last = signed_digit(op, item->sign_leading ? data[0] : data[item->digits - 1], negative);
	return *last >= 0 && (item->is_signed || !*negative);
}

static TapCobolNumber
zoned_integer(const TapCobolOp *op, const uint8_t *data, int64_t *value)
{
	uint8_t		zone = op->ebcdic ? 0xf0 : 0x30;
	const uint8_t *digits;
	bool		negative;
	int			count;
	int			last;
	int64_t		sum = 0;

	if (!zoned_parts(op, data, &digits, &count, &last, &negative))
		return invalid(op, data);
	for (int i = 0; i < count; i++)
	{
		uint8_t		digit = digits[i] - zone;

		if (digit > 9)
			return invalid(op, data);
		sum = sum * 10 + digit;
	}
	if (last >= 0)
		sum = op->item->sign_leading ? sum + last * tap_cobol_powers[count] : sum * 10 + last;
	*value = negative ? -sum : sum;
	return TAP_NUMBER_OK;
}

static TapCobolNumber
zoned_digits(const TapCobolOp *op, const uint8_t *data, Digits *number)
{
	uint8_t		zone = op->ebcdic ? 0xf0 : 0x30;
	const uint8_t *digits;
	int			count;
	int			last;

	number->count = 0;
	if (!zoned_parts(op, data, &digits, &count, &last, &number->negative))
		return invalid(op, data);
	if (last >= 0 && op->item->sign_leading)
		number->digits[number->count++] = (uint8_t) last;
	for (int i = 0; i < count; i++)
	{
		uint8_t		digit = digits[i] - zone;

		if (digit > 9)
			return invalid(op, data);
		number->digits[number->count++] = digit;
	}
	if (last >= 0 && !op->item->sign_leading)
		number->digits[number->count++] = (uint8_t) last;
	return TAP_NUMBER_OK;
}

/* The sign in the last half byte of a packed number; false: it is none. */
static bool
packed_sign(const TapCobolOp *op, uint8_t byte, bool *negative)
{
	int			sign = byte & 0x0f;

	*negative = sign == 0x0d || sign == 0x0b;
	return sign > 9 && (op->item->is_signed || !*negative);
}

static TapCobolNumber
packed_integer(const TapCobolOp *op, const uint8_t *data, int64_t *value)
{
	uint32_t	last = op->bytes - 1;
	int64_t		sum = 0;
	bool		negative;

	for (uint32_t i = 0; i < last; i++)
	{
		int			high = data[i] >> 4;
		int			low = data[i] & 0x0f;

		if (high > 9 || low > 9)
			return invalid(op, data);
		sum = sum * 100 + high * 10 + low;
	}
	if (data[last] >> 4 > 9 || !packed_sign(op, data[last], &negative))
		return invalid(op, data);
	if (op->item->digits % 2 == 0 && data[0] >> 4 != 0)
		return TAP_NUMBER_RANGE;
	sum = sum * 10 + (data[last] >> 4);
	*value = negative ? -sum : sum;
	return TAP_NUMBER_OK;
}

static TapCobolNumber
packed_digits(const TapCobolOp *op, const uint8_t *data, Digits *number)
{
	uint32_t	last = op->bytes - 1;

	number->count = 0;
	if (!packed_sign(op, data[last], &number->negative))
		return invalid(op, data);
	for (uint32_t i = 0; i < 2 * last + 1; i++)
	{
		int			digit = i % 2 == 0 ? data[i / 2] >> 4 : data[i / 2] & 0x0f;

		if (digit > 9)
			return invalid(op, data);
		number->digits[number->count++] = (uint8_t) digit;
	}
	if (op->item->digits % 2 == 0 && number->digits[0] != 0)
		return TAP_NUMBER_RANGE;
	return TAP_NUMBER_OK;
}

/* The bytes of a binary item as an unsigned number. */
static uint64_t
binary_bits(const TapCobolOp *op, const uint8_t *data)
{
	uint64_t	bits = 0;

	for (uint32_t i = 0; i < op->bytes; i++)
		bits = bits << 8 | data[op->item->little_endian ? op->bytes - 1 - i : i];
	return bits;
}

static TapCobolNumber
binary_integer(const TapCobolOp *op, const uint8_t *data, int64_t *value)
{
	uint64_t	bits = binary_bits(op, data);
	int			unused = 64 - 8 * (int) op->bytes;

	/* a wide one without sign is not read here */
	if (op->item->is_signed)
	{
		uint64_t	sign = UINT64_C(1) << (8 * op->bytes - 1);

		if (bits & sign)
			*value = -(int64_t) ((~bits & (UINT64_MAX >> unused))) - 1;
		else
			*value = (int64_t) bits;
	}
	else if (bits > INT64_MAX)
		return TAP_NUMBER_RANGE;
	else
		*value = (int64_t) bits;
	if (!op->whole_range && (*value >= tap_cobol_powers[op->item->digits] || *value <= -tap_cobol_powers[op->item->digits]))
		return TAP_NUMBER_RANGE;
	return TAP_NUMBER_OK;
}

TapCobolNumber
tap_cobol_integer(const TapCobolOp *op, const uint8_t *data, int64_t *value)
{
	TapCobolNumber result;

	switch (op->field)
	{
		case TAP_COBOL_ZONED:
			result = zoned_integer(op, data, value);
			break;
		case TAP_COBOL_PACKED:
			return packed_integer(op, data, value);
		case TAP_COBOL_BINARY:
			return binary_integer(op, data, value);
		default:
			return TAP_NUMBER_INVALID;
	}
	if (result == TAP_NUMBER_BLANK && op->item->blank_when_zero &&
		is_filled(data, op->bytes, op->ebcdic ? EBCDIC_SPACE : ASCII_SPACE))
	{
		*value = 0;
		return TAP_NUMBER_OK;
	}
	return result;
}

static void
digits_of_number(uint64_t value, bool negative, Digits *number)
{
	uint8_t		reversed[20];
	int			count = 0;

	do
	{
		reversed[count++] = (uint8_t) (value % 10);
		value /= 10;
	} while (value > 0);
	for (int i = 0; i < count; i++)
		number->digits[i] = reversed[count - 1 - i];
	number->count = count;
	number->negative = negative;
}

static TapCobolNumber
digits_of(const TapCobolOp *op, const uint8_t *data, Digits *number)
{
	TapCobolNumber result;
	int64_t		value;

	if (op->wide && op->field == TAP_COBOL_ZONED)
	{
		result = zoned_digits(op, data, number);
		if (result == TAP_NUMBER_BLANK && op->item->blank_when_zero &&
			is_filled(data, op->bytes, op->ebcdic ? EBCDIC_SPACE : ASCII_SPACE))
		{
			digits_of_number(0, false, number);
			return TAP_NUMBER_OK;
		}
		return result;
	}
	if (op->wide && op->field == TAP_COBOL_PACKED)
		return packed_digits(op, data, number);
	if (op->wide)
	{
		digits_of_number(binary_bits(op, data), false, number);
		return TAP_NUMBER_OK;
	}
	result = tap_cobol_integer(op, data, &value);
	if (result == TAP_NUMBER_OK)
		digits_of_number(value < 0 ? 0 - (uint64_t) value : (uint64_t) value, value < 0, number);
	return result;
}

TapCobolNumber
tap_cobol_decimal(const TapCobolOp *op, const uint8_t *data, char *text)
{
	Digits		number;
	TapCobolNumber result = digits_of(op, data, &number);
	int			scale = op->scale > 0 ? op->scale : 0;
	int			first = 0;
	char	   *next = text;

	if (result != TAP_NUMBER_OK)
		return result;
	while (first < number.count - scale - 1 && number.digits[first] == 0)
		first++;
	if (number.negative)
		*next++ = '-';
	if (number.count <= scale)
		*next++ = '0';
	for (int i = first; i < number.count - scale; i++)
		*next++ = (char) ('0' + number.digits[i]);
	if (scale > 0)
		*next++ = '.';
	for (int i = number.count; i < scale; i++)
		*next++ = '0';
	for (int i = number.count > scale ? number.count - scale : 0; scale > 0 && i < number.count; i++)
		*next++ = (char) ('0' + number.digits[i]);
	for (int i = op->scale; i < 0; i++)
		*next++ = '0';
	*next = '\0';
	return TAP_NUMBER_OK;
}

/* System/360: a sign, 7 bits of an exponent of 16, and a fraction. */
static double
hex_float(uint64_t bits, int fraction_bits)
{
	uint64_t	fraction = bits & ((UINT64_C(1) << fraction_bits) - 1);
	int			exponent = (int) (bits >> fraction_bits) & 0x7f;
	bool		negative = (bits >> (fraction_bits + 7)) & 1;
	double		value = ldexp((double) fraction, 4 * (exponent - HEX_FLOAT_BIAS) - fraction_bits);

	return negative ? -value : value;
}

bool
tap_cobol_float(const TapCobolOp *op, const uint8_t *data, double *value)
{
	uint64_t	bits = binary_bits(op, data);

	if (op->item->hex_float)
	{
		*value = hex_float(bits, op->bytes == 4 ? 24 : 56);
		return op->bytes != 4 || fabs(*value) <= (double) FLT_MAX;
	}
	if (op->bytes == 4)
	{
		uint32_t	low = (uint32_t) bits;
		float		single;

		memcpy(&single, &low, sizeof(single));
		*value = (double) single;
	}
	else
		memcpy(value, &bits, sizeof(*value));
	return true;
}
