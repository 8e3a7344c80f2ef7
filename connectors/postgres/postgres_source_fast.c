/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_fast.c
 *	  Values of the commonest types, read without their receive functions.
 *
 * NOTES
 *	  A receive function wants a StringInfo, checks what a value of the same
 *	  type cannot have, and passes it through the type's modifier.  Here only
 *	  a value is taken that is certain to come out of that unchanged; any
 *	  other, and any that is wrong, is left to the receive function, which says
 *	  what is wrong with it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/date.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

static inline uint16
load16(const char *data)
{
	uint16		number;

	memcpy(&number, data, sizeof(number));
	return pg_ntoh16(number);
}

static inline uint32
load32(const char *data)
{
	uint32		number;

	memcpy(&number, data, sizeof(number));
	return pg_ntoh32(number);
}

static inline uint64
load64(const char *data)
{
	uint64		number;

	memcpy(&number, data, sizeof(number));
	return pg_ntoh64(number);
}

/* ---------------------------------------------------------------------
 * Texts and bytes
 * ---------------------------------------------------------------------
 */

static inline Datum
make_varlena(const char *data, int bytes)
{
	char	   *result = palloc(VARHDRSZ + bytes);

	SET_VARSIZE(result, VARHDRSZ + bytes);
	memcpy(VARDATA(result), data, bytes);
	return PointerGetDatum(result);
}

/* A limit in characters is met by as many bytes; more may still fit it. */
static bool
read_text(const TapPgReader *reader, const char *data, int bytes, Datum *value)
{
	if (reader->typmod >= VARHDRSZ && bytes > reader->typmod - VARHDRSZ)
		return false;
	if (!pg_verify_mbstr(GetDatabaseEncoding(), data, bytes, true))
		return false;
	*value = make_varlena(data, bytes);
	return true;
}

static bool
read_uuid(const char *data, int bytes, Datum *value)
{
	if (bytes != UUID_LEN)
		return false;
	*value = PointerGetDatum(memcpy(palloc(UUID_LEN), data, UUID_LEN));
	return true;
}

/* ---------------------------------------------------------------------
 * Times
 * ---------------------------------------------------------------------
 */

static bool
read_date(const char *data, int bytes, Datum *value)
{
	DateADT		date;

	if (bytes != 4)
		return false;
	date = (DateADT) load32(data);
	if (!DATE_NOT_FINITE(date) && !IS_VALID_DATE(date))
		return false;
	*value = DateADTGetDatum(date);
	return true;
}

/* What has no more digits than the modifier says is not rounded. */
static bool
read_timestamp(const TapPgReader *reader, const char *data, int bytes, Datum *value)
{
	static const int64 units[MAX_TIMESTAMP_PRECISION + 1] = {1000000, 100000, 10000, 1000, 100, 10, 1};
	Timestamp	timestamp;

	if (bytes != 8 || reader->typmod > MAX_TIMESTAMP_PRECISION)
		return false;
	timestamp = (Timestamp) load64(data);
	if (!TIMESTAMP_NOT_FINITE(timestamp) &&
		(!IS_VALID_TIMESTAMP(timestamp) ||
		 (reader->typmod >= 0 && timestamp % units[reader->typmod] != 0)))
		return false;
	*value = TimestampGetDatum(timestamp);
	return true;
}

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

static bool
read_integer(const TapPgReader *reader, const char *data, int bytes, Datum *value)
{
	switch (bytes)
	{
		case 2:
			*value = Int16GetDatum((int16) load16(data));
			return reader->type == INT2OID;
		case 4:
			*value = Int32GetDatum((int32) load32(data));
			return reader->type == INT4OID;
		case 8:
			*value = Int64GetDatum((int64) load64(data));
			return reader->type == INT8OID;
		default:
			return false;
	}
}

static bool
read_float(const TapPgReader *reader, const char *data, int bytes, Datum *value)
{
	union
	{
		uint32		bits;
		float4		number;
	}			four;
	union
	{
		uint64		bits;
		float8		number;
	}			eight;

	if (reader->type == FLOAT4OID && bytes == 4)
	{
		four.bits = load32(data);
		*value = Float4GetDatum(four.number);
		return true;
	}
	if (reader->type == FLOAT8OID && bytes == 8)
	{
		eight.bits = load64(data);
		*value = Float8GetDatum(eight.number);
		return true;
	}
	return false;
}

/*
 * A numeric of moderate size is stored as a header of 16 bits and the digits,
 * four decimal ones in each, as it is sent.
 */
#define NUMERIC_DIGIT_DECIMALS	4
#define NUMERIC_DIGIT_MAX		9999
#define NUMERIC_SENT_NEGATIVE	0x4000
#define NUMERIC_MAX_SCALE		63
#define NUMERIC_MIN_WEIGHT		(-64)
#define NUMERIC_MAX_WEIGHT		63
#define NUMERIC_SHORT_FORM		0x8000
#define NUMERIC_SHORT_NEGATIVE	0x2000
#define NUMERIC_SHORT_SCALE_BIT	7
#define NUMERIC_SHORT_WEIGHT	0x007F

typedef struct Number
{
	int			ndigits;
	int			weight;			/* of the first digit, in digits */
	int			scale;			/* decimals behind the point */
	bool		negative;
	const char *digits;
} Number;

/* Decimals of a digit that is not zero. */
static inline int
decimals_of(int digit)
{
	return digit >= 1000 ? 4 : digit >= 100 ? 3 : digit >= 10 ? 2 : 1;
}

/* Whether the type's precision and scale leave the number as it is. */
static bool
fits_typmod(const Number *number, int32 typmod)
{
	int			precision = (typmod - VARHDRSZ) >> 16 & 0xffff;
	int			scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;

	if (typmod < VARHDRSZ)
		return true;
	if (number->scale != scale)
		return false;
	return number->ndigits == 0 ||
		number->weight * NUMERIC_DIGIT_DECIMALS + decimals_of(load16(number->digits)) <=
		precision - scale;
}

/* Whether the digits are those that would be stored: none too many. */
static bool
has_normal_digits(const Number *number)
{
	int			decimals = (number->weight + 1) * NUMERIC_DIGIT_DECIMALS + number->scale;
	int			surplus = number->ndigits * NUMERIC_DIGIT_DECIMALS - decimals;
	int			last;
	static const int powers[NUMERIC_DIGIT_DECIMALS] = {1, 10, 100, 1000};

	for (int i = 0; i < number->ndigits; i++)
	{
		if (load16(number->digits + 2 * i) > NUMERIC_DIGIT_MAX)
			return false;
	}
	last = load16(number->digits + 2 * (number->ndigits - 1));
	if (load16(number->digits) == 0 || last == 0 || surplus >= NUMERIC_DIGIT_DECIMALS)
		return false;
	return surplus <= 0 || last % powers[surplus] == 0;
}

static Datum
make_numeric(const Number *number)
{
	Size		bytes = VARHDRSZ + sizeof(uint16) * (1 + number->ndigits);
	char	   *result = palloc(bytes);
	uint16	   *words = (uint16 *) (result + VARHDRSZ);

	SET_VARSIZE(result, bytes);
	words[0] = NUMERIC_SHORT_FORM | (number->negative ? NUMERIC_SHORT_NEGATIVE : 0) |
		number->scale << NUMERIC_SHORT_SCALE_BIT | (number->weight & NUMERIC_SHORT_WEIGHT);
	for (int i = 0; i < number->ndigits; i++)
		words[1 + i] = load16(number->digits + 2 * i);
	return PointerGetDatum(result);
}

static bool
read_numeric(const TapPgReader *reader, const char *data, int bytes, Datum *value)
{
	Number		number;
	int			sign;

	if (bytes < 8)
		return false;
	number.ndigits = load16(data);
	number.weight = (int16) load16(data + 2);
	sign = load16(data + 4);
	number.negative = sign == NUMERIC_SENT_NEGATIVE;
	number.scale = load16(data + 6);
	number.digits = data + 8;
	if (bytes != 8 + 2 * number.ndigits ||
		(sign != 0 && sign != NUMERIC_SENT_NEGATIVE) ||
		number.scale > NUMERIC_MAX_SCALE ||
		number.weight < NUMERIC_MIN_WEIGHT || number.weight > NUMERIC_MAX_WEIGHT ||
		(number.ndigits == 0 ? number.negative || number.weight != 0 :
		 !has_normal_digits(&number)) ||
		!fits_typmod(&number, reader->typmod))
		return false;
	*value = make_numeric(&number);
	return true;
}

/* ---------------------------------------------------------------------
 * Interface
 * ---------------------------------------------------------------------
 */

TapPgFast
tap_pg_fast_of(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return TAP_PG_FAST_INTEGER;
		case FLOAT4OID:
		case FLOAT8OID:
			return TAP_PG_FAST_FLOAT;
		case NUMERICOID:
			return TAP_PG_FAST_NUMERIC;
		case BOOLOID:
			return TAP_PG_FAST_BOOL;
		case TEXTOID:
		case VARCHAROID:
			/* else the receive function converts it */
			return pg_get_client_encoding() == GetDatabaseEncoding() ?
				TAP_PG_FAST_TEXT : TAP_PG_FAST_NONE;
		case BYTEAOID:
			return TAP_PG_FAST_BYTES;
		case UUIDOID:
			return TAP_PG_FAST_UUID;
		case DATEOID:
			return TAP_PG_FAST_DATE;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return TAP_PG_FAST_TIMESTAMP;
		default:
			return TAP_PG_FAST_NONE;
	}
}

bool
tap_pg_read_fast(const TapPgReader *reader, const char *data, int bytes, Datum *value)
{
	switch (reader->fast)
	{
		case TAP_PG_FAST_INTEGER:
			return read_integer(reader, data, bytes, value);
		case TAP_PG_FAST_FLOAT:
			return read_float(reader, data, bytes, value);
		case TAP_PG_FAST_NUMERIC:
			return read_numeric(reader, data, bytes, value);
		case TAP_PG_FAST_BOOL:
			*value = BoolGetDatum(bytes == 1 && data[0] != 0);
			return bytes == 1;
		case TAP_PG_FAST_TEXT:
			return read_text(reader, data, bytes, value);
		case TAP_PG_FAST_BYTES:
			*value = make_varlena(data, bytes);
			return true;
		case TAP_PG_FAST_UUID:
			return read_uuid(data, bytes, value);
		case TAP_PG_FAST_DATE:
			return read_date(data, bytes, value);
		case TAP_PG_FAST_TIMESTAMP:
			return read_timestamp(reader, data, bytes, value);
		case TAP_PG_FAST_NONE:
			break;
	}
	return false;
}
