/*-------------------------------------------------------------------------
 *
 * connectors/file/file_position.c
 *	  Positions.
 *
 * NOTES
 *	  A position is a time and a number of steps, such as
 *	  "2026-01-31T12:00:00.123456789Z/42".  All that was there when the newest
 *	  file or folder had changed at that time was read: so a session that only
 *	  lists the files knows which position covers them all.  Steps are commits;
 *	  how far each file was read is in notes (file_ledger.c).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include <time.h>

#define SECOND_NS		INT64CONST(1000000000)

char *
tap_file_position_text(int64 covered, int64 steps)
{
	time_t		seconds = covered / SECOND_NS;
	struct tm	parts;
	char		text[32];

	gmtime_r(&seconds, &parts);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	return psprintf("%s.%09dZ/" INT64_FORMAT, text, (int) (covered % SECOND_NS), steps);
}

/* The days from 1970 to a date of our calendar. */
static int64
days_since_1970(int year, int month, int day)
{
	/* March is the first month, so that leap days come last */
	int			shifted = month > 2 ? month - 3 : month + 9;
	int64		years = month > 2 ? year : year - 1;

	return 365 * years + years / 4 - years / 100 + years / 400 +
		(153 * shifted + 2) / 5 + day - 1 - 719468;
}

void
tap_file_position_parse(const char *text, int64 *covered, int64 *steps)
{
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			nanosecond;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%9dZ/" INT64_FORMAT, &year, &month, &day,
			   &hour, &minute, &second, &nanosecond, steps) != 8)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("\"%s\" is not a position of a file source", text)));
	*covered = (days_since_1970(year, month, day) * 86400 +
				hour * 3600 + minute * 60 + second) * SECOND_NS + nanosecond;
}

TapPositionOrder
tap_file_position_compare(const char *a, const char *b)
{
	int64		times[2];
	int64		steps[2];

	tap_file_position_parse(a, &times[0], &steps[0]);
	tap_file_position_parse(b, &times[1], &steps[1]);
	if (times[0] != times[1])
		return times[0] < times[1] ? TAP_POSITION_BEFORE : TAP_POSITION_AFTER;
	if (steps[0] != steps[1])
		return steps[0] < steps[1] ? TAP_POSITION_BEFORE : TAP_POSITION_AFTER;
	return TAP_POSITION_EQUAL;
}

char *
tap_file_current_position(TapSession *session)
{
	int64		newest = 0;
	ListCell   *cell;

	tap_file_check_privilege();
	tap_file_tables_load(session);
	foreach(cell, session->tables)
		(void) tap_file_list(session, lfirst(cell), &newest);
	return tap_file_position_text(newest, 0);
}

/* Bytes of files that were not read, less what compression makes of them. */
int64
tap_file_log_behind(TapSession *session, const char *position, bool *purged,
					char **detail, char **hint)
{
	int64		behind = 0;
	int64		newest = 0;
	List	   *entries;
	ListCell   *cell;

	*purged = false;
	tap_file_tables_load(session);
	entries = tap_file_ledger_load(session);
	foreach(cell, session->tables)
	{
		ListCell   *found;

		foreach(found, tap_file_list(session, lfirst(cell), &newest))
			behind += ((TapFileFound *) lfirst(found))->size;
	}
	foreach(cell, entries)
	{
		TapFileEntry *entry = lfirst(cell);

		behind -= entry->done ? entry->size : Min(entry->offset, entry->size);
	}
	return Max(behind, 0);
}
