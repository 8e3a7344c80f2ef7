/*-------------------------------------------------------------------------
 *
 * connectors/http/http_page_link.h
 *	  The header Link, as RFC 8288 has it.
 *
 * NOTES
 *	  Plain C without PostgreSQL, so that it can be fuzzed.  The input is
 *	  hostile: nothing is read outside of it, nothing is allocated.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_PAGE_LINK_H
#define TAP_HTTP_PAGE_LINK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Find the first link of the relation rel (in lower case) in a header's value.
 * False: there is none.  target points into value.
 */
extern bool tap_http_link_find(const char *value, size_t length, const char *rel,
							   const char **target, size_t *target_length);

#endif							/* TAP_HTTP_PAGE_LINK_H */
