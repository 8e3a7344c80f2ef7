/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_value.c
 *	  Column values from the bytes of a row.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>

#include "binlog_private.h"

#define DIGITS_PER_WORD		9

/* Bytes that 0 to 9 decimal digits take in a packed DECIMAL */
static const uint8_t decimal_sizes[DIGITS_PER_WORD + 1] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};

static const uint32_t powers_of_ten[DIGITS_PER_WORD + 1] = {
	1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000
};

/* --- numbers ------------------------------------------------------------- */

static uint64_t
load_little(const uint8_t *data, uint32_t length)
{
	uint64_t	value = 0;

	while (length-- > 0)
		value = value << 8 | data[length];
	return value;
}

bool
tap_binlog_get_uint(const uint8_t *data, uint32_t length, uint64_t *value)
{
	if (length < 1 || length > 8)
		return false;
	*value = load_little(data, length);
	return true;
}

bool
tap_binlog_get_int(const uint8_t *data, uint32_t length, int64_t *value)
{
	uint64_t	bits;
	uint64_t	sign;

	if (length < 1 || length > 8)
		return false;
	bits = load_little(data, length);
	sign = UINT64_C(1) << (8 * length - 1);
	*value = (int64_t) ((bits ^ sign) - sign);
	return true;
}

bool
tap_binlog_get_float(const uint8_t *data, uint32_t length, float *value)
{
	uint32_t	bits;

	if (length != sizeof(bits))
		return false;
	bits = load32(data);
	memcpy(value, &bits, sizeof(bits));
	return true;
}

bool
tap_binlog_get_double(const uint8_t *data, uint32_t length, double *value)
{
	uint64_t	bits;

	if (length != sizeof(bits))
		return false;
	bits = load64(data);
	memcpy(value, &bits, sizeof(bits));
	return true;
}

bool
tap_binlog_get_year(const uint8_t *data, uint32_t length, int *year)
{
	if (length != 1)
		return false;
	*year = data[0] == 0 ? 0 : 1900 + data[0];
	return true;
}

bool
tap_binlog_get_bit(const uint8_t *data, uint32_t length, uint64_t *value)
{
	if (length < 1 || length > 8)
		return false;
	*value = load_big(data, length);
	return true;
}

/* --- DECIMAL ------------------------------------------------------------- */

uint32_t
tap_binlog_decimal_bytes(unsigned precision, unsigned scale)
{
	unsigned	whole;

	if (precision < 1 || precision > 81 || scale > precision)
		return 0;
	whole = precision - scale;
	return whole / DIGITS_PER_WORD * 4 + decimal_sizes[whole % DIGITS_PER_WORD] +
		scale / DIGITS_PER_WORD * 4 + decimal_sizes[scale % DIGITS_PER_WORD];
}

/* A value in the making: bytes are read with the mask of the sign applied. */
typedef struct DecimalCursor
{
	const uint8_t *position;
	uint8_t		mask;			/* 0xff if negative */
	uint8_t		first_mask;		/* flips the sign bit in the first byte */
	char	   *text;
	bool		significant;	/* a digit other than 0 was written */
} DecimalCursor;

/* Write one group of digits; false if the number has more than `digits`. */
static bool
write_digits(DecimalCursor *cursor, unsigned digits, bool leading)
{
	unsigned	bytes = decimal_sizes[digits];
	uint32_t	group = 0;

	while (bytes-- > 0)
	{
		group = group << 8 | (uint8_t) (*cursor->position++ ^ cursor->mask ^ cursor->first_mask);
		cursor->first_mask = 0;
	}
	if (group >= powers_of_ten[digits])
		return false;
	while (digits-- > 0)
	{
		uint32_t	digit = group / powers_of_ten[digits] % 10;

		if (digit != 0)
			cursor->significant = true;
		if (!leading || cursor->significant)
			*cursor->text++ = (char) ('0' + digit);
	}
	return true;
}

bool
tap_binlog_get_decimal(const uint8_t *data, uint32_t length, int precision, int scale,
					   char *text, uint32_t *text_length)
{
	unsigned	whole = (unsigned) (precision - scale);
	unsigned	fraction = (unsigned) scale;
	DecimalCursor cursor = {data, 0, 0x80, text, false};
	char	   *start;

	if (precision < 1 || scale < 0 ||
		length == 0 || length != tap_binlog_decimal_bytes((unsigned) precision, (unsigned) scale))
		return false;
	if ((data[0] & 0x80) == 0)
	{
		cursor.mask = 0xff;
		*cursor.text++ = '-';
	}
	start = cursor.text;
	if (!write_digits(&cursor, whole % DIGITS_PER_WORD, true))
		return false;
	for (unsigned i = 0; i < whole / DIGITS_PER_WORD; i++)
	{
		if (!write_digits(&cursor, DIGITS_PER_WORD, true))
			return false;
	}
	if (cursor.text == start)
		*cursor.text++ = '0';
	if (fraction > 0)
	{
		*cursor.text++ = '.';
		for (unsigned i = 0; i < fraction / DIGITS_PER_WORD; i++)
		{
			if (!write_digits(&cursor, DIGITS_PER_WORD, false))
				return false;
		}
		if (!write_digits(&cursor, fraction % DIGITS_PER_WORD, false))
			return false;
	}
	*cursor.text = '\0';
	*text_length = (uint32_t) (cursor.text - text);
	return true;
}

/* --- dates and times ----------------------------------------------------- */

/*
 * The fraction of the newer types: (scale + 1) / 2 big-endian bytes, each
 * holding two digits.
 */
static uint32_t
fraction_micros(const uint8_t *data, int scale)
{
	static const uint32_t unit[4] = {0, 10000, 100, 1};
	unsigned	bytes = ((unsigned) scale + 1) / 2;

	return (uint32_t) load_big(data, bytes) * unit[bytes];
}

/*
 * TIME2 is one number, hours to fraction, with an offset so that it sorts.
 * For negative values the fraction is thus a complement, too.
 */
static bool
get_time2(const uint8_t *data, int scale, TapBinlogTime *value)
{
	static const uint32_t unit[4] = {0, 10000, 100, 1};
	unsigned	fraction_bytes = ((unsigned) scale + 1) / 2;
	unsigned	fraction_bits = 8 * fraction_bytes;
	int64_t		packed = (int64_t) load_big(data, 3 + fraction_bytes);
	uint64_t	magnitude;
	uint32_t	clock;

	packed -= INT64_C(0x800000) << fraction_bits;
	value->negative = packed < 0;
	magnitude = (uint64_t) (packed < 0 ? -packed : packed);
	value->microsecond = (uint32_t) (magnitude & ((UINT64_C(1) << fraction_bits) - 1)) *
		unit[fraction_bytes];
	clock = (uint32_t) (magnitude >> fraction_bits);
	value->hour = clock >> 12 & 0x3ff;
	value->minute = clock >> 6 & 0x3f;
	value->second = clock & 0x3f;
	return value->minute < 60 && value->second < 60 && value->microsecond < 1000000;
}

static bool
get_datetime2(const uint8_t *data, int scale, TapBinlogTime *value)
{
	uint64_t	packed = load_big(data, 5);
	uint32_t	year_month;

	if (packed < UINT64_C(0x8000000000))	/* negative ones do not exist */
		return false;
	packed -= UINT64_C(0x8000000000);
	year_month = (uint32_t) (packed >> 22);
	value->year = (uint16_t) (year_month / 13);
	value->month = (uint8_t) (year_month % 13);
	value->day = packed >> 17 & 0x1f;
	value->hour = packed >> 12 & 0x1f;
	value->minute = packed >> 6 & 0x3f;
	value->second = packed & 0x3f;
	value->microsecond = fraction_micros(data + 5, scale);
	return value->year <= 9999 && value->hour < 24 && value->minute < 60 &&
		value->second < 60 && value->microsecond < 1000000;
}

static bool
get_date(const uint8_t *data, TapBinlogTime *value)
{
	uint32_t	packed = load24(data);

	value->day = packed & 0x1f;
	value->month = packed >> 5 & 0x0f;
	value->year = (uint16_t) (packed >> 9);
	return value->month <= 12 && value->year <= 9999;
}

/* Decimal digits hhmmss, possibly negative */
static bool
get_old_time(const uint8_t *data, TapBinlogTime *value)
{
	int32_t		packed = (int32_t) (load24(data) ^ 0x800000) - 0x800000;
	uint32_t	magnitude = (uint32_t) (packed < 0 ? -packed : packed);

	value->negative = packed < 0;
	value->hour = (uint16_t) (magnitude / 10000);
	value->minute = (uint8_t) (magnitude / 100 % 100);
	value->second = (uint8_t) (magnitude % 100);
	return value->minute < 60 && value->second < 60;
}

/* Decimal digits YYYYMMDDhhmmss */
static bool
get_old_datetime(const uint8_t *data, TapBinlogTime *value)
{
	uint64_t	packed = load64(data);
	uint32_t	date;
	uint32_t	clock;

	if (packed > UINT64_C(99991231235959))
		return false;
	date = (uint32_t) (packed / 1000000);
	clock = (uint32_t) (packed % 1000000);
	value->year = (uint16_t) (date / 10000);
	value->month = (uint8_t) (date / 100 % 100);
	value->day = (uint8_t) (date % 100);
	value->hour = (uint16_t) (clock / 10000);
	value->minute = (uint8_t) (clock / 100 % 100);
	value->second = (uint8_t) (clock % 100);
	return value->month <= 12 && value->day <= 31 && value->hour < 24 &&
		value->minute < 60 && value->second < 60;
}

/*
 * The old types with a fraction are one big-endian number, made as a clock
 * with mixed units; MariaDB's TIME has an offset so that it sorts.
 */
static bool
get_old_fraction(uint8_t type, int scale, const uint8_t *data, uint32_t length,
				 TapBinlogTime *value)
{
	const uint64_t unit = powers_of_ten[scale];
	uint64_t	packed = load_big(data, length);

	if (type == TAP_BINLOG_TYPE_TIME)
	{
		uint64_t	zero = UINT64_C(3020400) * unit;

		value->negative = packed < zero;
		packed = packed < zero ? zero - packed : packed - zero;
	}
	value->microsecond = (uint32_t) (packed % unit) * powers_of_ten[6 - scale];
	packed /= unit;
	value->second = (uint8_t) (packed % 60);
	value->minute = (uint8_t) (packed / 60 % 60);
	packed /= 3600;
	if (type == TAP_BINLOG_TYPE_TIME)
	{
		value->hour = (uint16_t) packed;
		return packed <= 838;
	}
	value->hour = (uint16_t) (packed % 24);
	packed /= 24;
	value->day = (uint8_t) (packed % 32);
	packed /= 32;
	value->month = (uint8_t) (packed % 13);
	value->year = (uint16_t) (packed / 13);
	return packed / 13 <= 9999;
}

static bool
get_old_timestamp(int scale, const uint8_t *data, uint32_t length, TapBinlogTime *value)
{
	value->is_epoch = true;
	if (scale == 0)
	{
		value->epoch = load32(data);
		return length == 4;
	}
	value->epoch = (int64_t) load_big(data, 4);
	value->microsecond = (uint32_t) load_big(data + 4, length - 4);
	if (value->microsecond >= powers_of_ten[scale])
		return false;
	value->microsecond *= powers_of_ten[6 - scale];
	return true;
}

bool
tap_binlog_get_time(const TapBinlogColumn *column, const uint8_t *data, uint32_t length,
					TapBinlogTime *value)
{
	memset(value, 0, sizeof(*value));
	if (column->scale > 6 || length != column->fixed_bytes)
		return false;
	switch (column->type)
	{
		case TAP_BINLOG_TYPE_DATE:
		case TAP_BINLOG_TYPE_NEWDATE:
			return length == 3 && get_date(data, value);
		case TAP_BINLOG_TYPE_TIME:
		case TAP_BINLOG_TYPE_DATETIME:
			if (column->scale > 0)
				return length >= 3 && length <= 8 &&
					get_old_fraction(column->type, column->scale, data, length, value);
			if (column->type == TAP_BINLOG_TYPE_TIME)
				return length == 3 && get_old_time(data, value);
			return length == 8 && get_old_datetime(data, value);
		case TAP_BINLOG_TYPE_TIMESTAMP:
			return length >= 4 && length <= 8 &&
				get_old_timestamp(column->scale, data, length, value);
		case TAP_BINLOG_TYPE_TIME2:
			return length == 3u + (column->scale + 1u) / 2 &&
				get_time2(data, column->scale, value);
		case TAP_BINLOG_TYPE_DATETIME2:
			return length == 5u + (column->scale + 1u) / 2 &&
				get_datetime2(data, column->scale, value);
		case TAP_BINLOG_TYPE_TIMESTAMP2:
			if (length != 4u + (column->scale + 1u) / 2)
				return false;
			value->is_epoch = true;
			value->epoch = (int64_t) load_big(data, 4);
			value->microsecond = fraction_micros(data + 4, column->scale);
			return value->microsecond < 1000000;
		default:
			return false;
	}
}

/* Calendar date of a day number since 1970-01-01, for years from 1970 on */
static void
date_of_day(int64_t day, TapBinlogTime *value)
{
	int64_t		shifted = day + 719468; /* days since 0000-03-01 */
	int64_t		era = shifted / 146097;
	int64_t		day_of_era = shifted % 146097;
	int64_t		year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
							   day_of_era / 146096) / 365;
	int64_t		day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 -
											year_of_era / 100);
	int64_t		month = (5 * day_of_year + 2) / 153;

	value->day = (uint8_t) (day_of_year - (153 * month + 2) / 5 + 1);
	value->month = (uint8_t) (month < 10 ? month + 3 : month - 9);
	value->year = (uint16_t) (year_of_era + era * 400 + (value->month <= 2));
}

static TapBinlogTime
calendar_of_epoch(const TapBinlogTime *value)
{
	TapBinlogTime result = *value;
	int64_t		clock = value->epoch % 86400;

	/* the zero timestamp is not 1970 */
	if (value->epoch == 0 && value->microsecond == 0)
		return result;
	date_of_day(value->epoch / 86400, &result);
	result.hour = (uint16_t) (clock / 3600);
	result.minute = (uint8_t) (clock / 60 % 60);
	result.second = (uint8_t) (clock % 60);
	return result;
}

uint32_t
tap_binlog_format_time(uint8_t type, int scale, const TapBinlogTime *value, char *text)
{
	TapBinlogTime time = value->is_epoch ? calendar_of_epoch(value) : *value;
	int			length;

	if (type == TAP_BINLOG_TYPE_DATE || type == TAP_BINLOG_TYPE_NEWDATE)
		length = snprintf(text, 32, "%04u-%02u-%02u", time.year, time.month, time.day);
	else if (type == TAP_BINLOG_TYPE_TIME || type == TAP_BINLOG_TYPE_TIME2)
		length = snprintf(text, 32, "%s%02u:%02u:%02u", time.negative ? "-" : "",
						  time.hour, time.minute, time.second);
	else
		length = snprintf(text, 32, "%04u-%02u-%02u %02u:%02u:%02u", time.year, time.month,
						  time.day, time.hour, time.minute, time.second);
	if (type == TAP_BINLOG_TYPE_DATE || type == TAP_BINLOG_TYPE_NEWDATE || scale <= 0)
		return (uint32_t) length;
	text[length++] = '.';
	for (int i = 1; i <= scale && i <= 6; i++)
		text[length++] = (char) ('0' + time.microsecond / powers_of_ten[6 - i] % 10);
	text[length] = '\0';
	return (uint32_t) length;
}
