/*-------------------------------------------------------------------------
 *
 * connectors/http/http_page_next.c
 *	  Where the next page of an endpoint is.
 *
 * NOTES
 *	  That a page has fewer records than were asked for does not say that it is
 *	  the last one: servers have limits of their own.  Without a word of the
 *	  server the last page is an empty one.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "mb/pg_wchar.h"

#include "http_page_link.h"
#include "json_text.h"

void
tap_http_place_begin(const TapHttpEndpoint *endpoint, TapHttpPlace *place)
{
	memset(place, 0, sizeof(*place));
	place->number = endpoint->first_page;
}

char *
tap_http_page_url(TapSession *session, const TapHttpEndpoint *endpoint,
				  const TapHttpPlace *place)
{
	const char *base = session->args.uri->path;
	StringInfoData url;

	if (place->url != NULL)
		return pstrdup(place->url);
	initStringInfo(&url);
	appendStringInfoChar(&url, '/');
	if (base != NULL)
		tap_http_append_escaped(&url, base, "/:@!$&'()*+,;=");
	if (endpoint->path != NULL)
	{
		while (url.len > 0 && url.data[url.len - 1] == '/')
			url.data[--url.len] = '\0';
		appendStringInfoString(&url, endpoint->path);
	}
	if (endpoint->query != NULL)
		appendStringInfo(&url, "?%s", endpoint->query);
	return url.data;
}

static void
append_parameter(StringInfo query, const char *name, const char *value)
{
	appendStringInfo(query, "%s%s=", query->len > 0 ? "&" : "", name);
	tap_http_append_escaped(query, value, "");
}

static void
append_number(StringInfo query, const char *name, int64 value)
{
	append_parameter(query, name, psprintf(INT64_FORMAT, value));
}

char *
tap_http_page_query(const TapHttpEndpoint *endpoint, const TapHttpPlace *place,
					const char *since)
{
	StringInfoData query;

	/* the server's own URL says all */
	if (place->url != NULL)
		return NULL;
	initStringInfo(&query);
	if (endpoint->pagination == TAP_HTTP_PAGES_PAGE ||
		endpoint->pagination == TAP_HTTP_PAGES_OFFSET)
		append_number(&query, endpoint->page_parameter, place->number);
	if (place->token != NULL)
		append_parameter(&query, endpoint->page_parameter, place->token);
	if (endpoint->page_size > 0 && endpoint->pagination != TAP_HTTP_PAGES_NONE)
		append_number(&query, endpoint->page_size_parameter, endpoint->page_size);
	if (since != NULL)
		append_parameter(&query, endpoint->cursor_parameter, since);
	return query.len > 0 ? query.data : NULL;
}

/* What a path finds in the page: the text of the first scalar, or NULL. */
static char *
page_scalar(const TapHttpPage *page, const TapHttpPath *path)
{
	TapHttpSlices found;

	if (page->format != TAP_HTTP_FORMAT_JSON)
		tap_http_page_raise(page->url, "A path into the page is given by \"next\" or \"more\", but it is no JSON.");
	tap_http_path_find(path, page->body, page->length, true, &found);
	return found.nitems > 0 ? tap_http_json_text(found.items[0].text, found.items[0].length) : NULL;
}

static void
raise_circle(const TapHttpPage *page)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("the page behind %s is that page again", page->url),
			 errhint("Check \"pagination\" and \"next\" of the endpoint.")));
}

/* What is kept must be text for the database. */
static void
check_text(const TapHttpPage *page, const char *text)
{
	if (!pg_verifymbstr(text, strlen(text), true))
		tap_http_page_raise(page->url, "What leads to its next page is no text of the database's encoding.");
}

static bool
go_to_url(TapSession *session, TapHttpPlace *place, const TapHttpPage *page,
		  const char *current, const char *url)
{
	char	   *next = tap_http_local_url(session, current, url);

	if (place->url != NULL && strcmp(place->url, next) == 0)
		raise_circle(page);
	check_text(page, next);
	place->url = next;
	place->token = NULL;
	return true;
}

static bool
follow_link(TapSession *session, TapHttpPlace *place, const TapHttpPage *page,
			const TapHttpAnswer *answer, const char *current)
{
	char	   *header = tap_http_answer_header(answer, "Link");
	const char *target;
	size_t		length;

	if (header == NULL || !tap_http_link_find(header, strlen(header), "next", &target, &length))
		return false;
	return go_to_url(session, place, page, current, pnstrdup(target, length));
}

/*
 * Whether what leads to the next page is its URL: base64, which tokens often
 * are, may begin with a slash, too.
 */
static bool
is_url(const char *text, const char *current)
{
	Size		length = strcspn(current, "?");

	if (pg_strncasecmp(text, "http://", 7) == 0 || pg_strncasecmp(text, "https://", 8) == 0)
		return true;
	return text[0] == '/' &&
		(strchr(text, '?') != NULL || (strncmp(text, current, length) == 0 &&
									   (text[length] == '\0' || text[length] == '/')));
}

static bool
follow_cursor(TapSession *session, const TapHttpEndpoint *endpoint, TapHttpPlace *place,
			  const TapHttpPage *page, const char *current)
{
	char	   *token = page_scalar(page, endpoint->next);

	if (token == NULL || token[0] == '\0' || strcmp(token, "false") == 0)
		return false;
	if (is_url(token, current))
		return go_to_url(session, place, page, current, token);
	if (place->token != NULL && strcmp(place->token, token) == 0)
		raise_circle(page);
	check_text(page, token);
	place->token = token;
	return true;
}

/* Records of the page; one of which nothing is wanted is not an empty one. */
static int64
records_served(const TapHttpPage *page)
{
	return page->format == TAP_HTTP_FORMAT_JSON ? page->nserved : page->nrecords;
}

/* What the server says of whether there is more; true: nothing. */
static bool
may_have_more(const TapHttpEndpoint *endpoint, const TapHttpPage *page)
{
	char	   *more;

	if (endpoint->more == NULL)
		return records_served(page) > 0 || endpoint->pagination == TAP_HTTP_PAGES_LINK ||
			endpoint->pagination == TAP_HTTP_PAGES_CURSOR;
	more = page_scalar(page, endpoint->more);
	return more != NULL && more[0] != '\0' && strcmp(more, "false") != 0 && strcmp(more, "0") != 0;
}

static bool
move_on(TapSession *session, const TapHttpEndpoint *endpoint, TapHttpPlace *place,
		const TapHttpPage *page, const TapHttpAnswer *answer)
{
	char	   *current = tap_http_page_url(session, endpoint, place);

	switch (endpoint->pagination)
	{
		case TAP_HTTP_PAGES_LINK:
			return follow_link(session, place, page, answer, current);
		case TAP_HTTP_PAGES_CURSOR:
			return follow_cursor(session, endpoint, place, page, current);
		case TAP_HTTP_PAGES_PAGE:
			place->number++;
			return true;
		case TAP_HTTP_PAGES_OFFSET:
			if (records_served(page) == 0)
				raise_circle(page);
			place->number += records_served(page);
			return true;
		default:
			return false;
	}
}

bool
tap_http_place_next(TapSession *session, const TapHttpEndpoint *endpoint,
					TapHttpPlace *place, const TapHttpPage *page,
					const TapHttpAnswer *answer)
{
	if (endpoint->pagination == TAP_HTTP_PAGES_NONE || !may_have_more(endpoint, page) ||
		!move_on(session, endpoint, place, page, answer))
		return false;
	place->pages++;
	if (place->pages >= endpoint->max_pages)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("endpoint %s has more than " INT64_FORMAT " pages",
						tap_http_endpoint_text(endpoint), endpoint->max_pages),
				 errhint("Check its \"pagination\", or allow more pages with \"max_pages\".")));
	return true;
}
