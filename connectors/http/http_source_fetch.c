/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source_fetch.c
 *	  One GET: its pace, its login, its attempts.
 *
 * NOTES
 *	  A request that is not answered, or by 408, 425, 429 or 5xx, is sent again
 *	  after a pause that grows, or that the server asks for by Retry-After, for
 *	  retry_ms milliseconds.  Then it is an error of the connection, upon which
 *	  the core starts the pipeline anew, later.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include <curl/curl.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LONGEST_PAUSE_S		3600

/* Shorter pauses are over before anybody has looked. */
#define TOLD_PAUSE_MS		1000
#define MOST_PAUSES			20

/* What is greater is a moment, not a time span. */
#define SECONDS_OF_A_MOMENT	1000000000
#define MILLISECONDS_OF_A_MOMENT	INT64CONST(1000000000000)

TapHttpFetch *
tap_http_fetch_create(TapSession *session)
{
	TapHttpFetch *fetch = MemoryContextAllocZero(session->context, sizeof(TapHttpFetch));

	fetch->session = session;
	fetch->context = AllocSetContextCreate(session->context, "tapdata http fetch",
										   ALLOCSET_SMALL_SIZES);
	return fetch;
}

/* ---------------------------------------------------------------------
 * Pace
 * ---------------------------------------------------------------------
 */

static void
not_before(TapHttpFetch *fetch, TimestampTz moment)
{
	fetch->not_before = Max(fetch->not_before, moment);
}

/* Why the next request has to wait; replaces what was kept. */
static void
set_pause_reason(TapHttpFetch *fetch, const char *reason)
{
	if (fetch->pause_reason != NULL)
		pfree(fetch->pause_reason);
	fetch->pause_reason = reason ? MemoryContextStrdup(fetch->session->context, reason) : NULL;
}

/* The server wants no request before a moment. */
static void
begin_pause(TapHttpFetch *fetch, TimestampTz until, const char *reason)
{
	not_before(fetch, until);
	fetch->pause_until = Max(fetch->pause_until, until);
	set_pause_reason(fetch, reason);
}

/* A request waits for the end of a pause. */
static void
tell_pause(TapHttpFetch *fetch)
{
	if (fetch->pause_reason == NULL || fetch->pause_told == fetch->not_before ||
		fetch->pause_until < TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TOLD_PAUSE_MS))
		return;
	tap_http_core->delayed(psprintf("%s; the next request is at %s", fetch->pause_reason,
									timestamptz_to_str(fetch->not_before)));
	fetch->pause_told = fetch->not_before;
}

/* No request waits any more. */
static void
untell_pause(TapHttpFetch *fetch)
{
	if (fetch->pause_told != 0)
		tap_http_core->delayed(NULL);
	fetch->pause_told = 0;
}

static void
end_pause(TapHttpFetch *fetch)
{
	set_pause_reason(fetch, NULL);
	fetch->pause_until = 0;
	untell_pause(fetch);
}

static void
keep_pace(TapHttpFetch *fetch)
{
	int64		per_minute = tap_http_core->option_int(fetch->session->args.options,
													   "requests_per_minute");

	if (per_minute > 0 && fetch->started_at != 0)
		not_before(fetch, fetch->started_at + INT64CONST(60) * USECS_PER_SEC / per_minute);
}

/* A whole or decimal number without what is behind its point; -1: none. */
static int64
header_number(const TapHttpAnswer *answer, const char *name)
{
	char	   *text = tap_http_answer_header(answer, name);
	char	   *end;
	int64		number;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	number = strtoll(text, &end, 10);
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	end += strspn(end, " \t");
	return *end == '\0' ? number : -1;
}

/* Servers that say that this was the last request of a while. */
static void
keep_limit(TapHttpFetch *fetch, const TapHttpAnswer *answer)
{
	static const char *const prefixes[] = {"X-RateLimit-", "RateLimit-", "X-Rate-Limit-"};
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < lengthof(prefixes); i++)
	{
		int64		seconds;

		if (header_number(answer, psprintf("%sRemaining", prefixes[i])) != 0)
			continue;
		seconds = header_number(answer, psprintf("%sReset", prefixes[i]));
		if (seconds > MILLISECONDS_OF_A_MOMENT)
			seconds /= 1000;
		if (seconds > SECONDS_OF_A_MOMENT)
			seconds -= (int64) time(NULL);
		if (seconds <= 0)
			return;
		begin_pause(fetch, now + Min(seconds, LONGEST_PAUSE_S) * USECS_PER_SEC,
					psprintf("%s allows no more requests for now (%sRemaining: 0)",
							 tap_http_place(fetch->session), prefixes[i]));
		return;
	}
}

/* ---------------------------------------------------------------------
 * Beginning and ending
 * ---------------------------------------------------------------------
 */

static void
drop_transfer(TapHttpFetch *fetch)
{
	if (fetch->transfer != NULL)
		tap_http_finish(fetch->transfer);
	fetch->transfer = NULL;
}

void
tap_http_fetch_end(TapHttpFetch *fetch)
{
	drop_transfer(fetch);
	untell_pause(fetch);
	MemoryContextReset(fetch->context);
	memset(&fetch->request, 0, sizeof(TapHttpRequest));
}

void
tap_http_fetch_begin(TapHttpFetch *fetch, const char *url, const char *query,
					 List *headers, bool patient)
{
	MemoryContext before;
	ListCell   *cell;

	tap_http_fetch_end(fetch);
	before = MemoryContextSwitchTo(fetch->context);
	fetch->request.method = "GET";
	fetch->request.url = pstrdup(url);
	fetch->request.query = query ? pstrdup(query) : NULL;
	fetch->request.headers = list_make1("Accept: application/json, application/x-ndjson, text/csv, */*;q=0.5");
	foreach(cell, headers)
		fetch->request.headers = lappend(fetch->request.headers, pstrdup(lfirst(cell)));
	fetch->request.compressed = true;
	fetch->request.headers_kept = true;
	fetch->request.answer_limit = (Size) tap_http_core->option_int(fetch->session->args.options,
																   "max_page_bytes");
	fetch->url = psprintf("%s%s", tap_http_place(fetch->session),
						  pnstrdup(url, strcspn(url, "?")));
	fetch->patient = patient;
	fetch->token_renewed = false;
	fetch->attempts = 0;
	fetch->first_failed_at = 0;
	keep_pace(fetch);
	MemoryContextSwitchTo(before);
}

/* Send what has to be sent first. */
static void
begin_transfer(TapHttpFetch *fetch)
{
	TapSession *session = fetch->session;
	MemoryContext before = MemoryContextSwitchTo(fetch->context);

	fetch->for_token = tap_http_oauth_needed(session);
	if (fetch->for_token)
		tap_http_oauth_request(session, &fetch->token_request);
	fetch->transfer = tap_http_begin(session->client,
									 fetch->for_token ? &fetch->token_request : &fetch->request);
	fetch->not_before = 0;
	fetch->started_at = GetCurrentTimestamp();
	MemoryContextSwitchTo(before);
}

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

static void
raise_too_long(TapHttpFetch *fetch)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the answer of %s is too long", fetch->url),
			 errdetail("It has more than %zu bytes when it is decompressed, or more than 64 kB of headers.",
					   fetch->request.answer_limit),
			 errhint("Ask for smaller pages with \"page_size\", or allow more with the connection's option \"max_page_bytes\".")));
}

static void
raise_given_up(TapHttpFetch *fetch, const TapHttpAnswer *answer)
{
	ereport(ERROR,
			(errcode(answer->status == 0 ? ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION :
					 ERRCODE_CONNECTION_FAILURE),
			 errmsg("could not read %s", fetch->for_token ? "a token by OAuth 2.0" : fetch->url),
			 errdetail("%s", tap_http_describe_answer(fetch->session, answer))));
}

/* Another attempt later, or an error. */
static void
fail(TapHttpFetch *fetch, const TapHttpAnswer *answer)
{
	TimestampTz now = GetCurrentTimestamp();

	if (fetch->attempts == 0)
		fetch->first_failed_at = now;
	fetch->attempts++;
	if (!fetch->patient ||
		((answer->retry_after == 0 || fetch->attempts > MOST_PAUSES) &&
		 now >= TimestampTzPlusMilliseconds(fetch->first_failed_at,
											fetch->session->settings.retry_ms)))
		raise_given_up(fetch, answer);
	begin_pause(fetch,
				TimestampTzPlusMilliseconds(now, tap_http_retry_delay(fetch->attempts,
																	  answer->retry_after)),
				psprintf("could not read %s: %s",
						 fetch->for_token ? "a token by OAuth 2.0" : fetch->url,
						 tap_http_describe_answer(fetch->session, answer)));
	if (answer->status == 0)
		tap_http_next_host(fetch->session->client);
	drop_transfer(fetch);
}

/* Whether the caller is to see the answer; else it was dealt with. */
static bool
take_answer(TapHttpFetch *fetch, const TapHttpAnswer *answer)
{
	long		status = answer->status;

	if (answer->too_long)
		raise_too_long(fetch);
	if (fetch->for_token)
	{
		if (tap_http_judge_status(fetch->session, answer) == TAP_HTTP_AGAIN)
			fail(fetch, answer);
		else
		{
			tap_http_oauth_take(fetch->session, answer);
			end_pause(fetch);
			drop_transfer(fetch);
		}
		return false;
	}
	if (answer->complete && status == 401 && !fetch->token_renewed &&
		tap_http_oauth_forget(fetch->session))
	{
		fetch->token_renewed = true;
		drop_transfer(fetch);
		return false;
	}
	if ((answer->complete && status == 304) ||
		tap_http_judge_status(fetch->session, answer) != TAP_HTTP_AGAIN)
	{
		end_pause(fetch);
		keep_limit(fetch, answer);
		return true;
	}
	keep_limit(fetch, answer);
	fail(fetch, answer);
	return false;
}

const TapHttpAnswer *
tap_http_fetch_answer(TapHttpFetch *fetch)
{
	for (;;)
	{
		const TapHttpAnswer *answer;

		if (fetch->transfer == NULL)
		{
			if (fetch->not_before > GetCurrentTimestamp())
			{
				tell_pause(fetch);
				return NULL;
			}
			begin_transfer(fetch);
		}
		tap_http_pump(fetch->session->client);
		answer = tap_http_answer(fetch->transfer);
		if (answer == NULL)
			return NULL;
		if (take_answer(fetch, answer))
			return answer;
	}
}

void
tap_http_fetch_wait(TapHttpFetch *fetch, TapWait *wait)
{
	if (fetch->transfer != NULL)
	{
		tap_http_client_wait(fetch->session->client, wait);
		return;
	}
	wait->socket = PGINVALID_SOCKET;
	wait->events = 0;
	wait->timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), fetch->not_before);
}

const TapHttpAnswer *
tap_http_fetch_await(TapHttpFetch *fetch)
{
	const TapHttpAnswer *answer;

	while ((answer = tap_http_fetch_answer(fetch)) == NULL)
	{
		TapWait		wait;

		tap_http_fetch_wait(fetch, &wait);
		(void) tap_http_core->wait_socket(wait.socket, wait.events, wait.timeout_ms);
		CHECK_FOR_INTERRUPTS();
	}
	return answer;
}

void
tap_http_fetch_raise(TapHttpFetch *fetch, const TapHttpAnswer *answer,
					 const TapHttpEndpoint *endpoint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("endpoint %s cannot be read", tap_http_endpoint_text(endpoint)),
			 errdetail("%s", tap_http_describe_answer(fetch->session, answer)),
			 errhint("Check its \"path\", \"query\" and parameters, and what the user of the API may read.")));
}

/* ---------------------------------------------------------------------
 * Links
 * ---------------------------------------------------------------------
 */

/* A secret of the options is added to each request; it is not to be kept. */
static void
cut_secret(TapSession *session, char *query)
{
	const char *secret = session->settings.query;
	char	   *found = secret ? tap_http_find_parameters(query, secret) : NULL;
	Size		length;

	if (found == NULL)
		return;
	length = strlen(secret);
	if (found[length] == '&')
		length++;
	else if (found > query && found[-1] == '&')
	{
		found--;
		length++;
	}
	memmove(found, found + length, strlen(found + length) + 1);
}

static char *
url_part(CURLU *url, CURLUPart part)
{
	char	   *text = NULL;
	char	   *copy = NULL;

	if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK)
		copy = pstrdup(text);
	curl_free(text);
	return copy;
}

static bool
same_part(CURLU *a, CURLU *b, CURLUPart part)
{
	char	   *one = url_part(a, part);
	char	   *other = url_part(b, part);

	return one != NULL && other != NULL && pg_strcasecmp(one, other) == 0;
}

char *
tap_http_local_url(TapSession *session, const char *current, const char *url)
{
	char	   *base = psprintf("%s%s", tap_http_place(session), current);
	CURLU	   *from = curl_url();
	CURLU	   *to = curl_url();
	char	   *path = NULL;
	char	   *query = NULL;

	if (from != NULL && to != NULL &&
		curl_url_set(from, CURLUPART_URL, base, 0) == CURLUE_OK &&
		curl_url_set(to, CURLUPART_URL, base, 0) == CURLUE_OK &&
		curl_url_set(to, CURLUPART_URL, url, 0) == CURLUE_OK &&
		same_part(from, to, CURLUPART_SCHEME) && same_part(from, to, CURLUPART_HOST) &&
		same_part(from, to, CURLUPART_PORT))
	{
		path = url_part(to, CURLUPART_PATH);
		query = url_part(to, CURLUPART_QUERY);
	}
	curl_url_cleanup(from);
	curl_url_cleanup(to);
	if (path == NULL || strlen(url) > 8192)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("the server at %s names a next page that is elsewhere", tap_http_place(session)),
				 errhint("Only links to the same scheme, host and port are followed. Give the connection the URI of where the pages are.")));
	if (query == NULL)
		return path;
	cut_secret(session, query);
	return query[0] ? psprintf("%s?%s", path, query) : path;
}
