/*-------------------------------------------------------------------------
 *
 * connectors/http/http_answer.c
 *	  What an answer means: done, again, split or refused.
 *
 * NOTES
 *	  Again: no answer, 408, 425, 429 and 5xx.  Split: 413.  Refused: other 4xx.
 *	  An error that stops the pipeline: what does not depend on the changes and
 *	  does not pass by itself, as a login that failed (401, 407), a certificate
 *	  that is not trusted, or a redirect elsewhere.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "common/pg_prng.h"
#include "mb/pg_wchar.h"

#define READ_BYTES			4096
#define SHOWN_BYTES			300
#define SHORTEST_SECRET		4	/* others are parts of words */
#define FIRST_DELAY_MS		200
#define LONGEST_DELAY_MS	10000
#define LONGEST_PAUSE_S		3600

/* The beginning of what the server said, on one line and printable. */
static char *
printable_body(const TapHttpAnswer *answer)
{
	Size		length = Min(answer->length, READ_BYTES);
	char	   *text = palloc(length + 1);
	Size		used = 0;

	for (Size i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) answer->body[i];

		if (c == '\0' || c >= 0x80)
			c = '?';
		else if (c < 0x20 || c == 0x7f)
			c = ' ';
		text[used++] = (char) c;
	}
	while (used > 0 && text[used - 1] == ' ')
		used--;
	text[used] = '\0';
	return text;
}

/* There are servers that tell what they were sent. */
static void
hide_secrets(TapSession *session, char *text)
{
	ListCell   *cell;

	foreach(cell, session->secrets)
	{
		const char *secret = lfirst(cell);

		for (char *found = strstr(text, secret); found != NULL; found = strstr(found, secret))
			memset(found, '*', strlen(secret));
	}
}

static int
by_length(const ListCell *a, const ListCell *b)
{
	Size		one = strlen(lfirst(a));
	Size		other = strlen(lfirst(b));

	return one > other ? -1 : one < other;
}

void
tap_http_note_secret(TapSession *session, const char *secret)
{
	MemoryContext before;
	ListCell   *cell;

	if (strlen(secret) < SHORTEST_SECRET)
		return;
	foreach(cell, session->secrets)
	{
		if (strcmp(lfirst(cell), secret) == 0)
			return;
	}
	before = MemoryContextSwitchTo(session->context);

	/* the longest first: one that is a part of another would leave its rest */
	session->secrets = lappend(session->secrets, pstrdup(secret));
	list_sort(session->secrets, by_length);
	MemoryContextSwitchTo(before);
}

char *
tap_http_describe_answer(TapSession *session, const TapHttpAnswer *answer)
{
	char	   *body;

	if (answer->status == 0 || !answer->complete)
		return pstrdup(answer->error ? answer->error : "no answer");
	body = printable_body(answer);
	if (body[0] == '\0')
		return psprintf("HTTP status %ld", answer->status);

	/* before it is cut, which could leave a part of one */
	hide_secrets(session, body);
	if (strlen(body) > SHOWN_BYTES)
		body[SHOWN_BYTES] = '\0';
	return psprintf("HTTP status %ld: %s", answer->status, body);
}

char *
tap_http_answer_header(const TapHttpAnswer *answer, const char *name)
{
	StringInfoData value;
	Size		length = strlen(name);
	const char *line = answer->headers;

	initStringInfo(&value);
	for (; line != NULL && *line != '\0'; line += strcspn(line, "\n"), line += (*line == '\n'))
	{
		const char *text = line + length + 1;
		int			bytes;

		if (pg_strncasecmp(line, name, length) != 0 || line[length] != ':')
			continue;
		text += strspn(text, " \t");
		bytes = (int) strcspn(text, "\r\n");
		while (bytes > 0 && (text[bytes - 1] == ' ' || text[bytes - 1] == '\t'))
			bytes--;
		appendStringInfo(&value, "%s%.*s", value.len > 0 ? ", " : "", bytes, text);
	}
	return value.len > 0 ? value.data : NULL;
}

static void
raise_login(TapSession *session, const TapHttpAnswer *answer)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("the server at %s refused the login", tap_http_place(session)),
			 errdetail("%s", tap_http_describe_answer(session, answer)),
			 errhint("Check how the connection logs in: user and password of its URI, or its options \"bearer_token\", \"secret_headers\" or \"oauth_...\"; tapdata.alter_connection() changes them.")));
}

static void
raise_redirect(TapSession *session, const TapHttpAnswer *answer)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("the server at %s sends requests elsewhere", tap_http_place(session)),
			 errdetail("It answered with HTTP status %ld.", answer->status),
			 errhint("Redirects are followed to the same scheme, host and port only, and of what is sent only those with status 307 or 308. Give the connection the URI that this one leads to.")));
}

static void
raise_for_good(TapSession *session, const TapHttpAnswer *answer)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("could not make a connection to the server at %s", tap_http_place(session)),
			 errdetail("%s.", answer->error),
			 errhint("Check the options \"ssl_ca\", \"ssl_cert\", \"ssl_key\" and \"ssl_mode\" of the connection, and the certificate of the target.")));
}

TapHttpVerdict
tap_http_judge_status(TapSession *session, const TapHttpAnswer *answer)
{
	long		status = answer->status;

	if (!answer->complete && answer->for_good)
		raise_for_good(session, answer);
	if (status == 401 || status == 407)
		raise_login(session, answer);
	if (status >= 300 && status < 400)
		raise_redirect(session, answer);
	if (!answer->complete || status == 408 || status == 425 || status == 429 || status >= 500)
		return TAP_HTTP_AGAIN;
	if (status == 413)
		return TAP_HTTP_SPLIT;
	if (status >= 400)
		return TAP_HTTP_REFUSED;
	return (status >= 200) ? TAP_HTTP_DONE : TAP_HTTP_AGAIN;
}

void
tap_http_raise_answer(TapSession *session, const TapHttpAnswer *answer, const char *doing)
{
	TapHttpVerdict verdict = tap_http_judge_status(session, answer);

	ereport(ERROR,
			(errcode(verdict == TAP_HTTP_AGAIN ?
					 (answer->status == 0 ? ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION :
					  ERRCODE_CONNECTION_FAILURE) : ERRCODE_FDW_ERROR),
			 errmsg("could not %s at %s", doing, tap_http_place(session)),
			 errdetail("%s", tap_http_describe_answer(session, answer))));
}

int64
tap_http_retry_delay(int attempts, int64 retry_after)
{
	int64		delay = FIRST_DELAY_MS;

	if (retry_after > 0)
		return Min(retry_after, LONGEST_PAUSE_S) * 1000;
	for (int i = 1; i < attempts && delay < LONGEST_DELAY_MS; i++)
		delay *= 2;
	delay = Min(delay, LONGEST_DELAY_MS);

	/* so that many pipelines do not come back at the same moment */
	return delay / 2 + (int64) (pg_prng_double(&pg_global_prng_state) * (delay / 2));
}
