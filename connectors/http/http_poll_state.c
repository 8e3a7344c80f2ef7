/*-------------------------------------------------------------------------
 *
 * connectors/http/http_poll_state.c
 *	  What is kept of an endpoint between polls: a note of the core's.
 *
 * NOTES
 *	  The note is a JSON object of the members of TapHttpState that are set.  It
 *	  is written with the rows that it is of, or with the position when a poll
 *	  without rows has ended.  Of an endpoint with other settings only the
 *	  cursor counts: what was read before, and how far, was something else.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "utils/memutils.h"

#include "json_text.h"

#define KEY_PREFIX	"http endpoint "

char *
tap_http_state_key(const char *name)
{
	return psprintf(KEY_PREFIX "%s", name);
}

void
tap_http_state_set(TapHttpPoll *poll, char **text, const char *value)
{
	char	   *before = *text;

	if (before != NULL && value != NULL && strcmp(before, value) == 0)
		return;
	*text = value ? MemoryContextStrdup(poll->state_context, value) : NULL;
	if (before != NULL)
		pfree(before);
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

static char *
read_text(const char *note, const char *name)
{
	TapHttpSlice value;

	return tap_http_json_find(note, strlen(note), name, &value) ?
		tap_http_json_text(value.text, value.length) : NULL;
}

static int64
read_number(const char *note, const char *name)
{
	char	   *text = read_text(note, name);

	return text ? strtoll(text, NULL, 10) : 0;
}

/* Whether a member of the note is that text; true if the note is older than the member. */
static bool
is_of(const char *note, const char *name, const char *now)
{
	char	   *then = read_text(note, name);

	return then == NULL || strcmp(then, now ? now : "") == 0;
}

void
tap_http_state_read(TapHttpPoll *poll, const char *note)
{
	TapHttpState *state = &poll->state;
	MemoryContext before = MemoryContextSwitchTo(poll->state_context);

	poll->noted = pstrdup(note);
	if (is_of(note, "column", poll->endpoint->cursor))
		state->cursor = read_text(note, "cursor");
	if (!is_of(note, "settings", poll->endpoint->settings))
	{
		MemoryContextSwitchTo(before);
		return;
	}
	state->largest = read_text(note, "largest");
	state->since = read_text(note, "since");
	state->etag = read_text(note, "etag");
	state->modified = read_text(note, "modified");
	state->validated = read_text(note, "validated");
	state->polled_at = read_number(note, "polled");
	state->under_way = read_number(note, "pages") > 0;
	if (state->under_way)
	{
		state->place.url = read_text(note, "url");
		state->place.token = read_text(note, "token");
		state->place.number = read_number(note, "number");
		state->place.pages = read_number(note, "pages");
		poll->began_at = read_number(note, "began");
	}
	MemoryContextSwitchTo(before);
}

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

static void
append_text(StringInfo note, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(note, "%s\"%s\": ", note->len > 1 ? ", " : "", name);
	tap_json_append_cstring(note, value);
}

static void
append_number(StringInfo note, const char *name, int64 value)
{
	appendStringInfo(note, "%s\"%s\": " INT64_FORMAT, note->len > 1 ? ", " : "", name, value);
}

void
tap_http_state_note(TapHttpPoll *poll)
{
	const TapHttpState *state = &poll->state;
	StringInfoData note;

	initStringInfo(&note);
	appendStringInfoChar(&note, '{');
	append_text(&note, "settings", poll->endpoint->settings);
	append_text(&note, "cursor", state->cursor);
	append_text(&note, "column", poll->endpoint->cursor);
	append_text(&note, "etag", state->etag);
	append_text(&note, "modified", state->modified);
	append_text(&note, "validated", state->validated);
	if (state->polled_at != 0)
		append_number(&note, "polled", state->polled_at);
	if (state->under_way)
	{
		append_text(&note, "largest", state->largest);
		append_text(&note, "since", state->since);
		append_text(&note, "url", state->place.url);
		append_text(&note, "token", state->place.token);
		append_number(&note, "number", state->place.number);
		append_number(&note, "pages", state->place.pages);
		append_number(&note, "began", poll->began_at);
	}
	appendStringInfoChar(&note, '}');

	if (poll->noted != NULL && strcmp(poll->noted, note.data) == 0)
		return;
	tap_http_core->remember(tap_http_state_key(poll->endpoint->name), note.data);
	tap_http_state_set(poll, &poll->noted, note.data);
}
