/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source_test.c
 *	  The checks of a source: each endpoint is asked for its first page.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

static bool
is_wanted(const TapHttpEndpoint *endpoint, List *tables)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		if (strcmp(((TapTableName *) lfirst(cell))->name, endpoint->name) == 0)
			return true;
	}
	return tables == NIL;
}

/* A page, whatever the columns are: for these may be given. */
static List *
check_endpoint(TapSession *session, TapHttpEndpoint *endpoint, List *checks)
{
	TapHttpFetch *fetch = session->source->fetch;
	const TapHttpAnswer *answer;
	TapHttpPage *page;
	TapHttpPlace place;
	int64		nrecords = 0;

	tap_http_place_begin(endpoint, &place);
	tap_http_fetch_begin(fetch, tap_http_page_url(session, endpoint, &place),
						 tap_http_page_query(endpoint, &place, endpoint->cursor_start), NIL, false);
	answer = tap_http_fetch_await(fetch);
	if (answer->status < 200 || answer->status > 299)
		return tap_http_add_check(checks, "endpoint", false, true,
								  psprintf("%s: %s", tap_http_endpoint_text(endpoint),
										   tap_http_describe_answer(session, answer)),
								  "Check its \"path\", \"query\" and parameters, and what the user of the API may read.",
								  ERRCODE_FDW_ERROR);
	page = tap_http_page_open(endpoint, fetch->url, answer, CurrentMemoryContext);
	while (tap_http_page_has_more(page) && tap_http_page_next_sound(page))
		nrecords++;
	if (page->missing)
		checks = tap_http_add_check(checks, "endpoint", false, false,
									psprintf("%s: the path \"records\" leads to nothing in %s",
											 tap_http_endpoint_text(endpoint),
											 tap_http_describe_answer(session, answer)),
									"Correct the path, unless the API leaves out a list that is empty.",
									ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	else
		checks = tap_http_add_check(checks, "endpoint", true, true,
									psprintf("%s: " INT64_FORMAT " records in the first page",
											 tap_http_endpoint_text(endpoint), nrecords), NULL, 0);
	tap_http_page_close(page);
	tap_http_fetch_end(fetch);
	return checks;
}

List *
tap_http_test_source(TapSession *session, List *tables, List *checks)
{
	ListCell   *cell;

	foreach(cell, session->source->endpoints)
	{
		if (is_wanted(lfirst(cell), tables))
			checks = check_endpoint(session, lfirst(cell), checks);
	}
	return checks;
}
