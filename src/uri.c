/*-------------------------------------------------------------------------
 *
 * src/uri.c
 *	  Parses and masks URIs.
 *
 * libcurl's parser does the work.  It knows one host alone, so that a list of
 * hosts is taken apart before, and each is parsed as if it were the only one.
 *
 * NOTES
 *	  No message contains any part of a URI but its scheme: where one is
 *	  malformed, nobody can tell which part of it is the password.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <curl/curl.h>

#include "lib/stringinfo.h"

#include "options.h"

#define TAP_MASK	"********"

/* Where the parts of a URI's text are that we must find ourselves. */
typedef struct UriText
{
	const char *authority;		/* behind "://" */
	const char *authority_end;
	const char *hosts;			/* in the authority, behind "user:password@" */
} UriText;

static void
report_bad_uri(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid URI"),
			 errdetail("%s", detail),
			 errhint("Write scheme://user:password@host:port/database, with the characters "
					 "/ ? # @ : %% in user and password as %%2F %%3F %%23 %%40 %%3A %%25.")));
}

static bool
find_parts(const char *uri, UriText *text)
{
	const char *start = strstr(uri, "://");

	if (start == NULL)
		return false;
	text->authority = start + 3;
	text->authority_end = text->authority + strcspn(text->authority, "/?#");
	text->hosts = text->authority;
	for (const char *p = text->authority; p < text->authority_end; p++)
	{
		if (*p == '@')
			text->hosts = p + 1;
	}
	return true;
}

char *
tap_uri_scheme(const char *uri)
{
	const char *end = strstr(uri, "://");
	char	   *scheme;

	if (end == NULL || end == uri)
		report_bad_uri("It does not begin with a scheme.");
	for (const char *p = uri; p < end; p++)
	{
		bool		letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
		bool		other = (*p >= '0' && *p <= '9') || *p == '+' || *p == '-' || *p == '.';

		if (!letter && (p == uri || !other))
			report_bad_uri("Its scheme is malformed.");
	}
	scheme = pnstrdup(uri, end - uri);
	for (char *p = scheme; *p != '\0'; p++)
		*p = pg_tolower((unsigned char) *p);
	return scheme;
}

/*
 * One part of a parsed URL in the current context; NULL when it is not there.
 * *bad is set when it is there and malformed.
 */
static char *
url_part(CURLU *url, CURLUPart part, unsigned int flags, bool *bad)
{
	char	   *value = NULL;
	char	   *copy = NULL;
	CURLUcode	code = curl_url_get(url, part, &value, flags);

	if (code == CURLUE_OK && value != NULL)
		copy = MemoryContextAllocExtended(CurrentMemoryContext, strlen(value) + 1,
										  MCXT_ALLOC_NO_OOM);
	else if (code == CURLUE_URLDECODE)
		*bad = true;
	if (copy != NULL)
		strcpy(copy, value);
	if (value != NULL)
		curl_free(value);
	return copy;
}

/* Parse text as a URL; NULL, with the reason, when it is none. */
static CURLU *
parse_url(const char *text, const char **reason)
{
	CURLU	   *url = curl_url();
	CURLUcode	code;

	if (url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	code = curl_url_set(url, CURLUPART_URL, text,
						CURLU_NON_SUPPORT_SCHEME | CURLU_NO_AUTHORITY | CURLU_PATH_AS_IS);
	if (code == CURLUE_OK)
		return url;
	curl_url_cleanup(url);
	*reason = curl_url_strerror(code);
	return NULL;
}

/* libcurl takes a stray percent sign as itself, or not, by its version. */
static bool
escapes_are_valid(const char *uri)
{
	for (const char *p = strchr(uri, '%'); p != NULL; p = strchr(p + 1, '%'))
	{
		if (!isxdigit((unsigned char) p[1]) || !isxdigit((unsigned char) p[2]))
			return false;
	}
	return true;
}

/* One "host:port" of the list. */
static void
parse_host(const char *text, TapUriHost *host)
{
	const char *reason;
	CURLU	   *url = parse_url(psprintf("tap://%s/", text), &reason);
	bool		bad = false;
	char	   *name;
	char	   *port;

	if (url == NULL)
		report_bad_uri("A host or port is malformed.");
	name = url_part(url, CURLUPART_HOST, CURLU_URLDECODE, &bad);
	port = url_part(url, CURLUPART_PORT, 0, &bad);
	curl_url_cleanup(url);
	if (bad || name == NULL || name[0] == '\0')
		report_bad_uri("A host is empty or malformed.");

	/* an IPv6 address comes in its brackets */
	if (name[0] == '[' && name[strlen(name) - 1] == ']')
		name = pnstrdup(name + 1, strlen(name) - 2);
	host->host = name;
	host->port = port ? atoi(port) : 0;
	if (port != NULL && (host->port < 1 || host->port > 65535))
		report_bad_uri("A port is not between 1 and 65535.");
}

static void
parse_hosts(const UriText *text, TapUri *uri)
{
	const char *p = text->hosts;

	if (p == text->authority_end)
		return;
	uri->nhosts = 1;
	for (const char *c = p; c < text->authority_end; c++)
		uri->nhosts += (*c == ',');
	uri->hosts = palloc0(sizeof(TapUriHost) * uri->nhosts);
	for (int i = 0; i < uri->nhosts; i++)
	{
		const char *end = p;

		while (end < text->authority_end && *end != ',')
			end++;
		parse_host(pnstrdup(p, end - p), &uri->hosts[i]);
		p = end + 1;
	}
}

TapUri *
tap_uri_parse(const char *uri)
{
	TapUri	   *result = palloc0(sizeof(TapUri));
	UriText		text;
	StringInfoData single;
	CURLU	   *url;
	char	   *fragment;
	const char *reason = NULL;
	bool		bad = false;

	result->scheme = tap_uri_scheme(uri);
	if (!find_parts(uri, &text))
		report_bad_uri("It does not begin with a scheme.");
	if (!escapes_are_valid(uri))
		report_bad_uri("A percent sign is not followed by two hexadecimal digits.");
	parse_hosts(&text, result);

	/* the rest, with one harmless host in the place of the list */
	initStringInfo(&single);
	appendStringInfo(&single, "tap://%.*shost%s", (int) (text.hosts - text.authority),
					 text.authority, text.authority_end);
	url = parse_url(single.data, &reason);
	if (url == NULL)
		report_bad_uri(psprintf("%s.", reason));
	result->user = url_part(url, CURLUPART_USER, CURLU_URLDECODE, &bad);
	result->password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE, &bad);
	result->path = url_part(url, CURLUPART_PATH, CURLU_URLDECODE, &bad);
	result->query = url_part(url, CURLUPART_QUERY, 0, &bad);
	fragment = url_part(url, CURLUPART_FRAGMENT, 0, &bad);
	curl_url_cleanup(url);

	if (bad)
		report_bad_uri("It has an escaped control character.");
	if (fragment != NULL)
		report_bad_uri("It has a part behind \"#\".");
	if (result->path != NULL && result->path[0] == '/')
		result->path++;
	if (result->path != NULL && result->path[0] == '\0')
		result->path = NULL;
	return result;
}

/* ---------------------------------------------------------------------
 * Masking
 * ---------------------------------------------------------------------
 */

/*
 * Whether the key of a query may have a secret value.  By its name alone:
 * masking must work where the connector cannot be loaded any more.
 */
static bool
key_is_secret(const char *key, Size length)
{
	static const char *const words[] = {"pass", "pwd", "secret", "token", "key", "credential",
	"sasl", "auth"};
	char	   *lower = pnstrdup(key, length);
	bool		secret = false;

	for (char *p = lower; *p != '\0'; p++)
		*p = pg_tolower((unsigned char) *p);

	/* an escaped letter is no reason to show what follows */
	secret = strchr(lower, '%') != NULL;
	for (int i = 0; i < lengthof(words) && !secret; i++)
		secret = strstr(lower, words[i]) != NULL;
	pfree(lower);
	return secret;
}

static void
append_masked_query(StringInfo out, const char *query)
{
	while (*query != '\0')
	{
		Size		key = strcspn(query, "=&");
		Size		pair = strcspn(query, "&");

		if (query[key] == '=' && key_is_secret(query, key))
			appendStringInfo(out, "%.*s=" TAP_MASK, (int) key, query);
		else
			appendBinaryStringInfo(out, query, pair);
		query += pair;
		if (*query == '&')
			appendStringInfoChar(out, *query++);
	}
}

char *
tap_uri_masked(const char *uri)
{
	StringInfoData out;
	UriText		text;
	const char *colon;
	const char *query;

	if (!find_parts(uri, &text))
		return pstrdup(TAP_MASK);
	initStringInfo(&out);
	appendBinaryStringInfo(&out, uri, text.authority - uri);
	query = text.authority_end + strcspn(text.authority_end, "?");

	/* the end of a password with an unescaped slash may be here */
	if (strchr(text.authority_end, '@') != NULL)
	{
		appendStringInfoString(&out, TAP_MASK);
		return out.data;
	}

	colon = memchr(text.authority, ':', text.hosts - text.authority);
	if (colon != NULL)
		appendStringInfo(&out, "%.*s:" TAP_MASK "@", (int) (colon - text.authority),
						 text.authority);
	else
		appendBinaryStringInfo(&out, text.authority, text.hosts - text.authority);

	appendBinaryStringInfo(&out, text.hosts, query - text.hosts);
	if (*query == '?')
	{
		appendStringInfoChar(&out, '?');
		append_masked_query(&out, query + 1);
	}
	return out.data;
}
