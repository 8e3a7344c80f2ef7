/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_lost.c
 *	  Whether a copy is of a history that the source has left.
 *
 * NOTES
 *	  The stream holds its position against the source when it begins, but a
 *	  copy has seen more than that position covers: what was committed until
 *	  its last row was read.  How far that is, is known when the copy is done.
 *	  Before that no newer timeline will do, since it can have left ours
 *	  before something that was copied.
 *
 *	  Within one timeline a source that was set back is known by its slot,
 *	  which backups do not have, or by the end of its log.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

/* Where the timeline of a copy ended, if the source is in a newer one now. */
static uint64
left_at(TapSession *session, const TapPgPosition *seen, uint32 now)
{
	TapSession	replication = {0};
	volatile uint64 result = 0;

	if (now < seen->timeline)
		return PG_UINT64_MAX;
	PG_TRY();
	{
		tap_pg_open_another(session, &replication, true);
		result = tap_pg_timeline_end(&replication, seen->timeline, now);
	}
	PG_CATCH();
	{
		tap_pg_close(&replication);
		PG_RE_THROW();
	}
	PG_END_TRY();
	tap_pg_close(&replication);
	return result;
}

/* Whether the source has all that was before a place of its log, or NULL. */
static char *
history_lost(TapSession *session, const TapPgPosition *seen, bool done)
{
	TapPgPosition now;
	uint64		end;

	tap_pg_position_now(session, &now);
	if (strcmp(seen->system, now.system) != 0)
		return psprintf("the source is another cluster now, of system identifier %s", now.system);
	if (seen->timeline == now.timeline)
		return seen->lsn <= now.lsn ? NULL :
			psprintf("the source's log ends at %s, before %s, which it had reached when it was copied",
					 tap_pg_lsn_text(now.lsn), tap_pg_lsn_text(seen->lsn));
	if (!done)
		return psprintf("the source went over from timeline %u to %u during the copy",
						seen->timeline, now.timeline);
	end = left_at(session, seen, now.timeline);
	if (end != PG_UINT64_MAX && seen->lsn <= end)
		return NULL;
	return psprintf("the source is in timeline %u, which does not hold all of what was copied up to %s of timeline %u",
					now.timeline, tap_pg_lsn_text(seen->lsn), seen->timeline);
}

/*
 * Why the slot cannot show the log from a place on, or NULL.  One that was
 * invalidated is an error of the stream, with a hint: to copy again and again
 * would not mend it.
 */
static char *
log_lost(TapSession *session, const TapPgPosition *start)
{
	char	   *name = tap_pg_slot_name(session);
	TapPgSlot  *slot = tap_pg_slot_find(session, name);

	if (slot == NULL)
		return psprintf("replication slot \"%s\" is gone from the source", name);
	if (!slot->lost && (slot->confirmed == 0 || slot->confirmed > start->lsn))
		return psprintf("replication slot \"%s\" of the source was made anew", name);
	return NULL;
}

char *
tap_pg_copy_lost(TapSession *session, const char *start_text, const char *end_text)
{
	TapPgPosition start;
	TapPgPosition seen;
	char	   *why;

	/* all tables are compared with the source as it is now */
	if (session->stream != NULL && session->stream->heal != NULL)
		return NULL;
	tap_pg_position_parse(start_text, &start);
	tap_pg_position_parse(end_text != NULL ? end_text : start_text, &seen);
	why = history_lost(session, &seen, end_text != NULL);

	/* the stream has looked at its slot, and moves it on */
	if (why == NULL && session->stream == NULL)
		why = log_lost(session, &start);
	return why;
}
