/*-------------------------------------------------------------------------
 *
 * connectors/http/http_poll.c
 *	  The poll of one endpoint, page after page, as events.
 *
 * NOTES
 *	  FETCH -> ROWS -> PAGE -> FETCH ... -> END -> IDLE.  BEGIN is told at the
 *	  first row, so that a poll that finds nothing is no transaction.  COMMIT
 *	  is told behind each page, or for endpoints whose poll is one transaction
 *	  (tap_http_is_atomic()) behind the last; the note is written with it.
 *
 *	  New fields become columns before the row that has them.  Within a
 *	  comparison that cannot be: the columns come at its end, and the endpoint
 *	  is polled again at once.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* ---------------------------------------------------------------------
 * Beginning
 * ---------------------------------------------------------------------
 */

/* A restart is no reason to poll; a change of the interval may be. */
static TimestampTz
next_at(const TapHttpPoll *poll)
{
	TimestampTz now = GetCurrentTimestamp();

	if (poll->state.polled_at == 0 || poll->resumed)
		return now;
	return Max(now, TimestampTzPlusMilliseconds(Min(poll->state.polled_at, now),
												poll->endpoint->interval_ms));
}

TapHttpPoll *
tap_http_poll_create(TapSession *session, TapHttpEndpoint *endpoint, const char *note)
{
	MemoryContext context = AllocSetContextCreate(session->source->context, "tapdata http poll",
												  ALLOCSET_SMALL_SIZES);
	TapHttpPoll *poll = MemoryContextAllocZero(context, sizeof(TapHttpPoll));

	poll->context = context;
	poll->state_context = AllocSetContextCreate(context, "tapdata http state",
												ALLOCSET_SMALL_SIZES);
	poll->endpoint = endpoint;
	if (note != NULL)
		tap_http_state_read(poll, note);
	poll->resumed = poll->state.under_way;
	poll->next_at = next_at(poll);
	return poll;
}

static void
close_table(TapHttpPoll *poll)
{
	if (poll->table == NULL)
		return;
	tap_http_table_close(poll->table);
	MemoryContextDelete(poll->table_context);
	poll->table = NULL;
	poll->largest_known = false;
}

static void
close_page(TapHttpPoll *poll)
{
	tap_http_page_close(poll->page);
	poll->page = NULL;
	poll->answer = NULL;
}

void
tap_http_poll_free(TapHttpPoll *poll)
{
	close_table(poll);
	MemoryContextDelete(poll->context);
}

void
tap_http_poll_define(TapHttpPoll *poll, const char *definition)
{
	if (poll->definition != NULL && strcmp(poll->definition, definition) == 0)
		return;
	tap_http_state_set(poll, &poll->definition, definition);
	close_table(poll);
}

static void
open_table(TapHttpPoll *poll)
{
	MemoryContext before;

	if (poll->table != NULL)
		return;
	poll->table_context = AllocSetContextCreate(poll->context, "tapdata http table",
												ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(poll->table_context);
	poll->table = tap_http_table_open(poll->endpoint, poll->definition);
	MemoryContextSwitchTo(before);
}

static void
take_table(TapHttpPoll *poll, TapHttpTable *table, MemoryContext context)
{
	close_table(poll);
	poll->table = table;
	poll->table_context = context;
	tap_http_state_set(poll, &poll->definition, table->source->definition);
}

/* ---------------------------------------------------------------------
 * Requests
 * ---------------------------------------------------------------------
 */

/* What makes the server say that nothing has changed. */
static List *
validators(const TapHttpPoll *poll)
{
	const TapHttpState *state = &poll->state;
	List	   *headers = NIL;

	if (state->place.pages > 0 || state->validated == NULL || poll->asked == NULL ||
		strcmp(state->validated, poll->asked) != 0)
		return NIL;
	if (state->etag != NULL)
		headers = lappend(headers, psprintf("If-None-Match: %s", state->etag));
	if (state->modified != NULL)
		headers = lappend(headers, psprintf("If-Modified-Since: %s", state->modified));
	return headers;
}

static void
fetch_page(TapSession *session, TapHttpPoll *poll)
{
	const TapHttpState *state = &poll->state;
	char	   *url = tap_http_page_url(session, poll->endpoint, &state->place);
	char	   *query = tap_http_page_query(poll->endpoint, &state->place, state->since);

	close_page(poll);
	tap_http_state_set(poll, &poll->asked, state->place.pages > 0 ? NULL :
					   psprintf("%s %s", url, query ? query : ""));
	tap_http_fetch_begin(session->source->fetch, url, query, validators(poll), true);
	poll->step = TAP_HTTP_STEP_FETCH;
}

/* The first page is next; texts of another place are freed. */
static void
go_to_first_page(TapHttpPoll *poll)
{
	tap_http_state_set(poll, &poll->state.place.url, NULL);
	tap_http_state_set(poll, &poll->state.place.token, NULL);
	tap_http_place_begin(poll->endpoint, &poll->state.place);
	poll->state.under_way = false;
}

void
tap_http_poll_begin(TapSession *session, TapHttpPoll *poll)
{
	/* pages that a former session read are as old as the poll's beginning */
	if (!poll->resumed || poll->began_at == 0)
		poll->began_at = GetCurrentTimestamp();
	poll->unchanged = false;
	poll->compared = false;
	poll->extended = false;
	poll->asked_again = false;
	open_table(poll);
	if (!poll->resumed)
	{
		go_to_first_page(poll);
		tap_http_state_set(poll, &poll->state.since, tap_http_cursor_parameter(poll));
		tap_http_state_set(poll, &poll->state.largest, poll->state.cursor);
	}
	fetch_page(session, poll);
}

/* What was noted of a poll that was under way may mean nothing any more. */
static bool
may_begin_anew(const TapHttpPoll *poll, long status)
{
	return poll->resumed && (status == 400 || status == 404 || status == 410 || status == 422);
}

/*
 * There are servers that have no page behind the last one.  One that said that
 * there is more has lost it; and where what is missing would be deleted, or
 * never be asked for again, the answer has to come twice.
 */
static bool
is_behind_last(const TapHttpPoll *poll, long status)
{
	return status == 404 && poll->state.place.pages > 0 &&
		poll->endpoint->pagination == TAP_HTTP_PAGES_PAGE && poll->endpoint->more == NULL;
}

/* The answer has come: its rows, or what else it means. */
static void
take_answer(TapSession *session, TapHttpPoll *poll, const TapHttpAnswer *answer)
{
	TapHttpFetch *fetch = session->source->fetch;

	if (may_begin_anew(poll, answer->status))
	{
		poll->resumed = false;
		tap_http_poll_begin(session, poll);
		return;
	}
	poll->answer = answer;
	poll->step = TAP_HTTP_STEP_ROWS;
	if (answer->status == 304)
	{
		poll->unchanged = true;
		poll->step = TAP_HTTP_STEP_END;
	}
	else if (is_behind_last(poll, answer->status))
	{
		if ((poll->endpoint->compare || poll->endpoint->cursor != NULL) && !poll->asked_again)
		{
			poll->asked_again = true;
			fetch_page(session, poll);
		}
		else
			poll->step = TAP_HTTP_STEP_END;
	}
	else if (answer->status < 200 || answer->status > 299)
		tap_http_fetch_raise(fetch, answer, poll->endpoint);
	else
	{
		poll->asked_again = false;
		poll->page = tap_http_page_open(poll->endpoint, fetch->url, answer, poll->context);

		/* its fields may be others, or in another order */
		tap_http_table_forget_fields(poll->table);
	}
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

static TapEventKind
tell(TapHttpPoll *poll, TapEvent *event, TapEventKind kind)
{
	event->kind = kind;
	event->table = poll->table->source;
	event->table_data = poll->table_data;
	return kind;
}

static TapEventKind
tell_begin(TapHttpPoll *poll, TapEvent *event)
{
	poll->in_txn = true;
	event->commit_time = poll->began_at;
	return tell(poll, event, TAP_EVENT_BEGIN);
}

static TapEventKind
tell_schema(TapHttpPoll *poll, TapEvent *event)
{
	event->schema = TAP_SCHEMA_ALTERED;
	return tell(poll, event, TAP_EVENT_SCHEMA);
}

static TapEventKind
tell_row(TapHttpPoll *poll, TapEvent *event)
{
	event->change = TAP_CHANGE_INSERT;
	event->lenient = !poll->comparing && poll->endpoint->key != NIL;
	event->new_row.slot = poll->table->slot;
	event->bytes = Max(poll->page->record.length, poll->page->taken);
	return tell(poll, event, TAP_EVENT_CHANGE);
}

static TapEventKind
tell_commit(TapHttpPoll *poll, TapEvent *event)
{
	tap_http_state_note(poll);
	poll->in_txn = false;
	event->commit_time = poll->began_at;
	return tell(poll, event, TAP_EVENT_COMMIT);
}

/* New fields: a table that has them as columns. */
static TapHttpTable *
extend(TapHttpPoll *poll, const TapHttpTable *table, MemoryContext *context)
{
	MemoryContext before;
	TapHttpTable *result;

	*context = AllocSetContextCreate(poll->context, "tapdata http table",
									 ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(*context);
	result = tap_http_table_extend(poll->endpoint, table, poll->page);
	MemoryContextSwitchTo(before);
	return result;
}

static bool
has_column(const TapHttpTable *table, const char *field)
{
	for (int i = 0; i < table->columns->ncolumns; i++)
	{
		if (strcmp(table->columns->columns[i].field, field) == 0)
			return true;
	}
	return false;
}

/* Their columns come when the comparison is over. */
static void
extend_later(TapHttpPoll *poll, List *unknown)
{
	MemoryContext context = poll->later_context;
	TapHttpTable *before = poll->later;
	ListCell   *cell;
	bool		all_known = before != NULL;

	foreach(cell, unknown)
		all_known = all_known && has_column(before, lfirst(cell));
	if (all_known)
		return;
	poll->later = extend(poll, before ? before : poll->table, &poll->later_context);
	tap_http_table_close(before);
	if (context != NULL)
		MemoryContextDelete(context);
}

/* Where a record that cannot be read stands. */
static void
context_callback(void *arg)
{
	const TapHttpPage *page = arg;

	errcontext("record " INT64_FORMAT " of %s", page->nrecords, page->url);
}

/* The next record that is not a dead letter already. */
static bool
next_wanted(TapHttpPoll *poll)
{
	while (tap_http_page_next(poll->page))
	{
		if (!tap_http_reject_known(poll))
			return true;
	}
	return false;
}

/* Read the next record, or the same once more; false: there is none. */
static bool
read_record(TapHttpPoll *poll, bool again, List **unknown)
{
	ErrorContextCallback callback = {error_context_stack, context_callback, poll->page};
	bool		found;

	error_context_stack = &callback;
	found = again || next_wanted(poll);
	if (found)
	{
		if (!again)
			tap_http_page_convert(poll->page);
		*unknown = tap_http_table_read(poll->table, poll->page);
		if (*unknown == NIL || again || poll->comparing)
			tap_http_cursor_take(poll);
	}
	error_context_stack = callback.previous;
	return found;
}

/* A row whose fields are all columns now. */
static TapEventKind
tell_row_again(TapHttpPoll *poll, TapEvent *event)
{
	List	   *unknown;

	poll->record_is_due = false;
	(void) read_record(poll, true, &unknown);
	return tell_row(poll, event);
}

/* The next event of a page; NONE: no row is left. */
static TapEventKind
next_of_page(TapSession *session, TapHttpPoll *poll, TapEvent *event)
{
	List	   *unknown;

	if (poll->record_is_due)
		return tell_row_again(poll, event);
	if (!tap_http_page_has_more(poll->page))
		return TAP_EVENT_NONE;
	if (!poll->in_txn)
		return tell_begin(poll, event);
	if (poll->endpoint->compare && !poll->comparing)
	{
		poll->comparing = true;
		return tell(poll, event, TAP_EVENT_COMPARE_BEGIN);
	}
	session->source->described = poll;
	if (!read_record(poll, false, &unknown))
		return TAP_EVENT_NONE;
	if (unknown != NIL && poll->comparing)
		extend_later(poll, unknown);
	else if (unknown != NIL)
	{
		MemoryContext context;
		TapHttpTable *table = extend(poll, poll->table, &context);

		take_table(poll, table, context);
		poll->record_is_due = true;
		return tell_schema(poll, event);
	}
	return tell_row(poll, event);
}

/* ---------------------------------------------------------------------
 * Ends
 * ---------------------------------------------------------------------
 */

/* Whether there is a page behind; the place is its then. */
static bool
find_next_page(TapSession *session, TapHttpPoll *poll)
{
	TapHttpState *state = &poll->state;
	TapHttpPlace place = state->place;
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	bool		found;

	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	found = tap_http_place_next(session, poll->endpoint, &place, poll->page, poll->answer);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	if (!found)
		return false;
	tap_http_state_set(poll, &state->place.url, place.url);
	tap_http_state_set(poll, &state->place.token, place.token);
	state->place.number = place.number;
	state->place.pages = place.pages;
	return true;
}

/* The rows of a page are told; an event when they are a transaction. */
static TapEventKind
end_page(TapSession *session, TapHttpPoll *poll, TapEvent *event)
{
	bool		commits = poll->in_txn && !tap_http_is_atomic(poll->endpoint);

	if (!find_next_page(session, poll))
	{
		poll->step = TAP_HTTP_STEP_END;
		return TAP_EVENT_NONE;
	}
	poll->state.under_way = !tap_http_is_atomic(poll->endpoint);
	fetch_page(session, poll);
	return commits ? tell_commit(poll, event) : TAP_EVENT_NONE;
}

/* A header's value, which is kept; NULL if it has other characters than ASCII. */
static char *
plain_header(const TapHttpAnswer *answer, const char *name)
{
	char	   *value = tap_http_answer_header(answer, name);

	for (const char *c = value; c != NULL && *c != '\0'; c++)
	{
		if (IS_HIGHBIT_SET(*c))
			return NULL;
	}
	return value;
}

/* Of an answer that was all there is, what it can be recognised by. */
static void
take_validators(TapHttpPoll *poll)
{
	TapHttpState *state = &poll->state;
	char	   *etag = NULL;
	char	   *modified = NULL;

	if (poll->unchanged)
		return;
	if (state->place.pages == 0 && poll->answer != NULL && poll->later == NULL)
	{
		etag = plain_header(poll->answer, "ETag");
		modified = plain_header(poll->answer, "Last-Modified");
	}
	tap_http_state_set(poll, &state->etag, etag);
	tap_http_state_set(poll, &state->modified, modified);
	tap_http_state_set(poll, &state->validated, etag || modified ? poll->asked : NULL);
}

/* The poll has ended, and all of its rows are told. */
static TapEventKind
finish(TapSession *session, TapHttpPoll *poll, TapEvent *event)
{
	take_validators(poll);
	tap_http_reject_end(poll);
	go_to_first_page(poll);
	close_page(poll);
	tap_http_fetch_end(session->source->fetch);
	if (!poll->unchanged)
		tap_http_state_set(poll, &poll->state.cursor, poll->state.largest);
	poll->resumed = false;
	poll->covered = poll->began_at;
	poll->state.polled_at = poll->extended ? 0 : poll->began_at;
	poll->next_at = next_at(poll);
	poll->step = TAP_HTTP_STEP_IDLE;
	if (poll->in_txn)
		return tell_commit(poll, event);
	tap_http_state_note(poll);
	return TAP_EVENT_NONE;
}

/* What remains to be told when there is no further page. */
static TapEventKind
end_poll(TapSession *session, TapHttpPoll *poll, TapEvent *event)
{
	if (poll->endpoint->compare && !poll->unchanged && !poll->compared)
	{
		/* that there are no rows at all is a content, too */
		if (!poll->in_txn)
			return tell_begin(poll, event);
		poll->compared = poll->comparing;
		poll->comparing = !poll->comparing;
		return tell(poll, event, poll->compared ? TAP_EVENT_COMPARE_END : TAP_EVENT_COMPARE_BEGIN);
	}
	if (poll->later != NULL && poll->in_txn)
	{
		take_validators(poll);
		take_table(poll, poll->later, poll->later_context);
		poll->later = NULL;
		poll->later_context = NULL;
		poll->extended = true;
		tap_http_state_set(poll, &poll->asked, NULL);
		return tell_schema(poll, event);
	}
	return finish(session, poll, event);
}

/*
 * What fails between records is no record's fault: as an error of data it
 * would become a dead letter, and be met again at once.
 */
static void
raise_of_poll(MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
		edata->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		edata->sqlerrcode = ERRCODE_FDW_ERROR;
	ReThrowError(edata);
}

/* A step other than that of rows; false: the answer is not there yet. */
static bool
advance(TapSession *session, TapHttpPoll *poll, TapEvent *event, TapEventKind *kind)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ready = true;

	PG_TRY();
	{
		if (poll->step == TAP_HTTP_STEP_FETCH)
		{
			const TapHttpAnswer *answer = tap_http_fetch_answer(session->source->fetch);

			ready = answer != NULL;
			if (answer != NULL)
				take_answer(session, poll, answer);
		}
		else if (poll->step == TAP_HTTP_STEP_PAGE)
			*kind = end_page(session, poll, event);
		else
			*kind = end_poll(session, poll, event);
	}
	PG_CATCH();
	{
		raise_of_poll(context);
	}
	PG_END_TRY();
	return ready;
}

TapEventKind
tap_http_poll_next(TapSession *session, TapHttpPoll *poll, TapEvent *event)
{
	TapEventKind kind = TAP_EVENT_NONE;

	while (kind == TAP_EVENT_NONE && poll->step != TAP_HTTP_STEP_IDLE)
	{
		if (poll->step == TAP_HTTP_STEP_ROWS)
		{
			kind = next_of_page(session, poll, event);
			if (kind == TAP_EVENT_NONE)
				poll->step = TAP_HTTP_STEP_PAGE;
		}
		else if (!advance(session, poll, event, &kind))
			return TAP_EVENT_NONE;
	}
	return kind;
}
