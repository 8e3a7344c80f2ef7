/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source.c
 *	  The stream of HTTP as a source: which endpoint is polled when.
 *
 * NOTES
 *	  One poll is under way at a time, that of the endpoint which is due the
 *	  longest.  All are due when somebody waits for the pipeline, until they
 *	  were polled, whatever fails meanwhile.
 *
 *	  The position moves when every endpoint was polled; see http_source.h.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

void
tap_http_source_open(TapSession *session)
{
	TapHttpSource *source = palloc0(sizeof(TapHttpSource));

	source->context = session->context;
	source->endpoints = tap_http_endpoints(session->args.uri, session->args.options,
										   session->args.pipeline_options);
	source->fetch = tap_http_fetch_create(session);
	session->source = source;
}

void
tap_http_source_close(TapSession *session)
{
	ListCell   *cell;

	if (session->source == NULL)
		return;
	foreach(cell, session->source->polls)
		tap_http_poll_free(lfirst(cell));
	session->source->polls = NIL;
	session->source->active = NULL;
}

/* ---------------------------------------------------------------------
 * Positions
 * ---------------------------------------------------------------------
 */

static char *
current_position(TapSession *session)
{
	(void) session;
	return psprintf(INT64_FORMAT, (int64) GetCurrentTimestamp());
}

static int64
log_behind(TapSession *session, const char *position, bool *purged, char **detail, char **hint)
{
	(void) session;
	(void) position;
	(void) detail;
	(void) hint;
	*purged = false;
	return -1;
}

static TapPositionOrder
position_compare(const char *a, const char *b)
{
	int64		left = strtoll(a, NULL, 10);
	int64		right = strtoll(b, NULL, 10);

	return left == right ? TAP_POSITION_EQUAL :
		left < right ? TAP_POSITION_BEFORE : TAP_POSITION_AFTER;
}

static char *
stream_position(TapSession *session)
{
	return psprintf(INT64_FORMAT, session->source->position);
}

/* Every endpoint was begun to be polled later than the position. */
static void
move_position(TapHttpSource *source)
{
	int64		earliest = PG_INT64_MAX;
	ListCell   *cell;

	foreach(cell, source->polls)
		earliest = Min(earliest, ((TapHttpPoll *) lfirst(cell))->covered);
	if (source->polls == NIL)
		earliest = GetCurrentTimestamp();
	source->position = Max(source->position, earliest);
}

static bool
txn_covered(TapSession *session, const char *position)
{
	(void) session;
	(void) position;
	return false;
}

/* ---------------------------------------------------------------------
 * Which endpoints are followed
 * ---------------------------------------------------------------------
 */

/* A note that was looked for; the session's memory outlives transactions. */
typedef struct Recalled
{
	const char *key;
	MemoryContext context;
	char	   *note;
} Recalled;

/* The key of another endpoint may begin like it. */
static void
take_note(void *arg, const char *key, const char *value)
{
	Recalled   *recalled = arg;

	if (strcmp(key, recalled->key) == 0)
		recalled->note = MemoryContextStrdup(recalled->context, value);
}

static char *
recall_note(TapSession *session, const char *name)
{
	Recalled	recalled = {tap_http_state_key(name), session->context, NULL};

	tap_http_core->recall(recalled.key, take_note, &recalled);
	return recalled.note;
}

static bool
is_fresh(const TapHttpSource *source, const char *name)
{
	ListCell   *cell;

	foreach(cell, source->args.fresh)
	{
		if (strcmp(((TapTableName *) lfirst(cell))->name, name) == 0)
			return true;
	}
	return false;
}

static TapHttpPoll *
find_poll(TapHttpSource *source, const TapHttpEndpoint *endpoint)
{
	ListCell   *cell;

	foreach(cell, source->polls)
	{
		TapHttpPoll *poll = lfirst(cell);

		if (poll->endpoint == endpoint)
			return poll;
	}
	return NULL;
}

static TapHttpPoll *
add_poll(TapSession *session, TapHttpEndpoint *endpoint)
{
	TapHttpSource *source = session->source;
	bool		fresh = is_fresh(source, endpoint->name);
	MemoryContext before = MemoryContextSwitchTo(source->context);
	TapHttpPoll *poll;

	if (fresh)
		tap_http_core->remember(tap_http_state_key(endpoint->name), NULL);
	poll = tap_http_poll_create(session, endpoint,
								fresh ? NULL : recall_note(session, endpoint->name));
	if (fresh)
		tap_http_reject_forget(poll);
	else
		tap_http_reject_read(poll);
	MemoryContextSwitchTo(source->context);
	source->polls = lappend(source->polls, poll);
	if (!fresh)
		poll->covered = Max(source->position, poll->state.polled_at);
	MemoryContextSwitchTo(before);
	return poll;
}

static void
drop_poll(TapHttpSource *source, TapHttpPoll *poll)
{
	if (source->active == poll)
	{
		source->active = NULL;
		tap_http_fetch_end(source->fetch);
	}
	if (source->described == poll)
		source->described = NULL;
	source->polls = list_delete_ptr(source->polls, poll);
	tap_http_poll_free(poll);
}

/* Ask the core of an endpoint. */
static void
follow(TapSession *session, TapHttpEndpoint *endpoint)
{
	TapHttpSource *source = session->source;
	TapHttpPoll *poll = find_poll(source, endpoint);
	TapTableName name = {NULL, endpoint->name};
	const char *definition = NULL;
	void	   *table_data = source->args.table_followed(source->args.core_data, &name, false,
														 &definition);

	if (table_data == NULL || definition == NULL)
	{
		if (poll != NULL)
			drop_poll(source, poll);
		return;
	}
	if (poll == NULL)
		poll = add_poll(session, endpoint);
	poll->table_data = table_data;
	tap_http_poll_define(poll, definition);
}

/* A table that is followed may have lost its endpoint. */
static void
check_endpoints(TapHttpSource *source)
{
	ListCell   *cell;

	foreach(cell, source->args.tables_followed(source->args.core_data))
	{
		TapTableName *name = lfirst(cell);

		if (tap_http_find_endpoint(source->endpoints, name->name) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table \"%s\" is not among the endpoints of the connection any more",
							name->name),
					 errhint("Name it in the option \"endpoints\" with tapdata.alter_connection(), or take it out of the pipeline with tapdata.remove_tables().")));
	}
}

static void
stream_refollow(TapSession *session)
{
	ListCell   *cell;

	foreach(cell, session->source->endpoints)
		follow(session, lfirst(cell));
}

static void
stream_start(TapSession *session, const TapStreamArgs *args)
{
	TapHttpSource *source = session->source;

	source->args = *args;
	source->position = args->position ? strtoll(args->position, NULL, 10) : 0;
	source->reported = source->position;
	check_endpoints(source);
	stream_refollow(session);
}

/* ---------------------------------------------------------------------
 * Events
 * ---------------------------------------------------------------------
 */

/* When a poll is to begin: when it is its time, or somebody waits for it. */
static TimestampTz
due_at(const TapHttpPoll *poll, TimestampTz awaited)
{
	return poll->covered < awaited ? Min(poll->next_at, awaited) : poll->next_at;
}

/* The one that is due first, and when that is; NULL: there is none. */
static TapHttpPoll *
next_poll(const TapHttpSource *source, TimestampTz *moment)
{
	TimestampTz awaited = tap_http_core->awaited();
	TapHttpPoll *next = NULL;
	ListCell   *cell;

	foreach(cell, source->polls)
	{
		TapHttpPoll *poll = lfirst(cell);

		if (next == NULL || due_at(poll, awaited) < *moment)
		{
			next = poll;
			*moment = due_at(poll, awaited);
		}
	}
	return next;
}

static void
begin_due(TapSession *session)
{
	TapHttpSource *source = session->source;
	TimestampTz moment;
	TapHttpPoll *poll = next_poll(source, &moment);

	if (poll == NULL || moment > GetCurrentTimestamp())
		return;
	source->active = poll;
	tap_http_poll_begin(session, poll);
}

static TapEventKind
stream_next(TapSession *session, TapEvent *event)
{
	TapHttpSource *source = session->source;

	memset(event, 0, sizeof(*event));
	for (;;)
	{
		TapEventKind kind;

		if (source->active == NULL && source->reported < source->position)
		{
			source->reported = source->position;
			return event->kind = TAP_EVENT_HEARTBEAT;
		}
		if (source->active == NULL)
			begin_due(session);
		if (source->active == NULL)
			return TAP_EVENT_NONE;
		kind = tap_http_poll_next(session, source->active, event);
		if (source->active->step == TAP_HTTP_STEP_IDLE)
		{
			source->active = NULL;
			move_position(source);
			if (kind == TAP_EVENT_COMMIT)
				source->reported = source->position;
		}
		else if (kind == TAP_EVENT_NONE)
			return TAP_EVENT_NONE;
		if (kind != TAP_EVENT_NONE)
			return kind;
	}
}

static void
stream_wait(TapSession *session, TapWait *wait)
{
	TapHttpSource *source = session->source;
	TimestampTz moment;

	if (source->active != NULL)
	{
		tap_http_fetch_wait(source->fetch, wait);
		return;
	}
	wait->socket = PGINVALID_SOCKET;
	wait->events = 0;
	wait->timeout_ms = next_poll(source, &moment) == NULL ? -1 :
		TimestampDifferenceMilliseconds(GetCurrentTimestamp(), moment);
}

/* Only what becomes a dead letter is described. */
static char *
describe_event(TapSession *session)
{
	TapHttpPoll *poll = session->source->described;

	if (poll == NULL || poll->page == NULL)
		return pstrdup("{}");
	tap_http_reject_add(poll);
	return tap_http_page_describe(poll->page);
}

const TapSourceCallbacks tap_http_source = {
	.list_tables = tap_http_list_tables,
	.describe_tables = tap_http_describe_tables,
	.table_from_definition = tap_http_table_from_definition,
	.current_position = current_position,
	.safe_position = current_position,
	.log_behind = log_behind,
	.position_compare = position_compare,
	.stream_start = stream_start,
	.stream_refollow = stream_refollow,
	.stream_next = stream_next,
	.stream_wait = stream_wait,
	.stream_position = stream_position,
	.txn_covered = txn_covered,
	.describe_event = describe_event
};
