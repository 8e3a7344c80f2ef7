/*-------------------------------------------------------------------------
 *
 * connectors/http/http_bulk.h
 *	  Answers of Elasticsearch and OpenSearch.
 *
 * NOTES
 *	  Plain C without PostgreSQL, as http_json.h is.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_BULK_H
#define TAP_HTTP_BULK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What _bulk says of one item; printable ASCII. */
typedef struct TapHttpBulkItem
{
	int			status;			/* of HTTP; 0: not said */
	char		type[64];		/* of the error; empty: none */
	char		reason[512];
} TapHttpBulkItem;

/*
 * Parse an answer of _bulk into exactly nitems items.  False when it is none,
 * or has another number of items.
 */
extern bool tap_http_parse_bulk(const char *json, size_t length, TapHttpBulkItem *items,
								int nitems);

/*
 * Parse an answer of a search with the members hits.hits._id and
 * hits.hits._version.  Calls hit() for each; id is UTF-8.  False when the
 * answer is none, or an id does not fit.  scroll takes _scroll_id, empty when
 * there is none.
 */
extern bool tap_http_parse_hits(const char *json, size_t length, char *scroll, size_t size,
								void (*hit) (void *data, const char *id, int64_t version),
								void *data);

#endif							/* TAP_HTTP_BULK_H */
