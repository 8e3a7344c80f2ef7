/*-------------------------------------------------------------------------
 *
 * connectors/common/record_time.h
 *	  Dates and times of ISO 8601, read without PostgreSQL's input functions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_RECORD_TIME_H
#define TAPDATA_RECORD_TIME_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"

/* What a text says. */
typedef struct TapRecordTime
{
	DateADT		date;
	bool		has_clock;
	TimeADT		clock;			/* microseconds since midnight */
	bool		has_zone;
	int64		zone;			/* microseconds to the east of Greenwich */
} TapRecordTime;

/*
 * Whether a text is YYYY-MM-DD, alone or followed by T or a blank and
 * HH:MM:SS with up to six digits of a fraction, and then Z or an offset, and
 * in range.  What is not may still be something that PostgreSQL reads.
 */
extern bool tap_record_parse_time(const char *text, Size length,
								  TapRecordTime *result);

/* Where that is in time, its offset taken off.  Without a clock: midnight. */
static inline Timestamp
tap_record_timestamp(const TapRecordTime *time)
{
	return (Timestamp) time->date * USECS_PER_DAY + time->clock - time->zone;
}

#endif							/* TAPDATA_RECORD_TIME_H */
