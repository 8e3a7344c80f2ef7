/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_decimal.c
 *	  Decimal numbers as Java's BigDecimal stores them: a scale, and the
 *	  digits as a big endian two's complement of as few bytes as needed.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_types.h"

/* As many decimal digits as always fit an int64. */
#define FAST_DIGITS		18

void
tap_kafka_decimal_of_integer(int64 integer, TapKafkaValue *value)
{
	uint8	   *bytes = palloc(sizeof(int64));
	int			first = 0;

	for (int i = 0; i < (int) sizeof(int64); i++)
		bytes[i] = (uint8) ((uint64) integer >> (56 - 8 * i));

	/* leading bytes that only repeat the sign are left out */
	while (first < 7 &&
		   ((bytes[first] == 0x00 && (bytes[first + 1] & 0x80) == 0) ||
			(bytes[first] == 0xff && (bytes[first + 1] & 0x80) != 0)))
		first++;
	value->bytes = (char *) bytes + first;
	value->length = sizeof(int64) - first;
}

/* bytes = bytes * factor + addend, big endian; the room is enough. */
static void
multiply_add(uint8 *bytes, int nbytes, uint32 factor, uint32 addend)
{
	uint64		carry = addend;

	for (int i = nbytes - 1; i >= 0; i--)
	{
		carry += (uint64) bytes[i] * factor;
		bytes[i] = (uint8) carry;
		carry >>= 8;
	}
}

static void
negate(uint8 *bytes, int nbytes)
{
	int			carry = 1;

	for (int i = nbytes - 1; i >= 0; i--)
	{
		carry += (uint8) ~bytes[i];
		bytes[i] = (uint8) carry;
		carry >>= 8;
	}
}

static void
decimal_of_digits(const char *digits, int ndigits, bool negative, TapKafkaValue *value)
{
	int			room = ndigits / 2 + 2;
	uint8	   *bytes = palloc0(room);
	int			first = 0;

	for (int i = 0; i < ndigits; i++)
		multiply_add(bytes, room, 10, digits[i] - '0');
	if (negative)
		negate(bytes, room);
	while (first < room - 1 &&
		   ((bytes[first] == 0x00 && (bytes[first + 1] & 0x80) == 0) ||
			(bytes[first] == 0xff && (bytes[first + 1] & 0x80) != 0)))
		first++;
	value->bytes = (char *) bytes + first;
	value->length = room - first;
}

static int64
integer_of_digits(const char *digits, int ndigits, bool negative)
{
	int64		integer = 0;

	for (int i = 0; i < ndigits; i++)
		integer = integer * 10 + (digits[i] - '0');
	return negative ? -integer : integer;
}

void
tap_kafka_decimal(const char *text, int scale, TapKafkaValue *value)
{
	bool		negative = text[0] == '-';
	const char *whole = text + (negative ? 1 : 0);
	const char *point = strchr(whole, '.');
	int			nwhole = point ? point - whole : (int) strlen(whole);
	int			nfraction = point ? (int) strlen(point + 1) : 0;
	int			wanted = scale;
	char	   *digits;
	int			ndigits;

	if (scale == -1)
	{
		wanted = nfraction;
		while (wanted > 0 && point[wanted] == '0')
			wanted--;
	}
	/* a negative scale: the last digits before the point are zeros */
	ndigits = nwhole + wanted;
	digits = palloc(Max(ndigits, 1) + 1);
	for (int i = 0; i < ndigits; i++)
	{
		if (i < nwhole)
			digits[i] = whole[i];
		else
			digits[i] = i - nwhole < nfraction ? point[1 + i - nwhole] : '0';
	}
	value->integer = wanted;
	if (ndigits <= FAST_DIGITS)
		tap_kafka_decimal_of_integer(integer_of_digits(digits, Max(ndigits, 0), negative), value);
	else
		decimal_of_digits(digits, ndigits, negative, value);
}
