/*-------------------------------------------------------------------------
 *
 * connectors/common/record_time.c
 *	  Dates and times of ISO 8601, read without PostgreSQL's input functions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_time.h"

#include "utils/datetime.h"

/* Digits of a number of a fixed length; -1: they are not there. */
static inline int
read_digits(const char *p, int count)
{
	int			result = 0;

	for (int i = 0; i < count; i++)
	{
		if (p[i] < '0' || p[i] > '9')
			return -1;
		result = result * 10 + (p[i] - '0');
	}
	return result;
}

static bool
read_date(const char *p, DateADT *date)
{
	int			year = read_digits(p, 4);
	int			month = read_digits(p + 5, 2);
	int			day = read_digits(p + 8, 2);

	if (p[4] != '-' || p[7] != '-' || year < 1 || month < 1 || month > MONTHS_PER_YEAR ||
		day < 1 || day > day_tab[isleap(year)][month - 1])
		return false;
	*date = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

/* Up to six digits behind the point at *p. */
static bool
read_fraction(const char **p, const char *end, int64 *microseconds)
{
	int64		unit = USECS_PER_SEC;
	const char *begin = ++*p;

	while (*p < end && **p >= '0' && **p <= '9')
	{
		unit /= 10;
		*microseconds += (**p - '0') * unit;
		(*p)++;
	}
	return *p > begin && *p - begin <= 6;
}

static bool
read_clock(const char **p, const char *end, TimeADT *clock)
{
	int			hour;
	int			minute;
	int			second;
	int64		microseconds = 0;

	if (end - *p < 8 || (*p)[2] != ':' || (*p)[5] != ':')
		return false;
	hour = read_digits(*p, 2);
	minute = read_digits(*p + 3, 2);
	second = read_digits(*p + 6, 2);
	if (hour < 0 || hour >= HOURS_PER_DAY || minute < 0 || minute >= MINS_PER_HOUR ||
		second < 0 || second >= SECS_PER_MINUTE)
		return false;
	*p += 8;
	if (*p < end && **p == '.' && !read_fraction(p, end, &microseconds))
		return false;
	*clock = ((hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second) * USECS_PER_SEC + microseconds;
	return true;
}

/* +HH, +HHMM or +HH:MM */
static bool
read_offset(const char **p, const char *end, int64 *zone)
{
	int			sign = **p == '-' ? -1 : 1;
	int			hours;
	int			minutes = 0;

	if (end - *p < 3)
		return false;
	hours = read_digits(*p + 1, 2);
	*p += 3;
	if (end - *p >= 3 && **p == ':')
	{
		minutes = read_digits(*p + 1, 2);
		*p += 3;
	}
	else if (end - *p >= 2)
	{
		minutes = read_digits(*p, 2);
		*p += 2;
	}
	if (hours < 0 || hours > MAX_TZDISP_HOUR || minutes < 0 || minutes >= MINS_PER_HOUR)
		return false;
	*zone = sign * (int64) (hours * MINS_PER_HOUR + minutes) * SECS_PER_MINUTE * USECS_PER_SEC;
	return true;
}

bool
tap_record_parse_time(const char *text, Size length, TapRecordTime *result)
{
	const char *p = text + 10;
	const char *end = text + length;

	memset(result, 0, sizeof(TapRecordTime));
	if (length < 10 || !read_date(text, &result->date))
		return false;
	if (p == end)
		return true;
	result->has_clock = true;
	if (*p != 'T' && *p != ' ')
		return false;
	p++;
	if (!read_clock(&p, end, &result->clock))
		return false;
	if (p == end)
		return true;
	result->has_zone = true;
	if (*p == 'Z')
		p++;
	else if ((*p != '+' && *p != '-') || !read_offset(&p, end, &result->zone))
		return false;
	return p == end;
}
