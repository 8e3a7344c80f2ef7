/*-------------------------------------------------------------------------
 *
 * connectors/http/http_json.h
 *	  Reads JSON that a server sent.
 *
 * NOTES
 *	  Plain C without PostgreSQL, so that it can be fuzzed.  The input is
 *	  hostile: nothing is read outside of it, nothing recurses, nesting is
 *	  bounded, and nothing is allocated.
 *
 *	  A reader stands before a value.  What is no JSON makes it bad, and a bad
 *	  reader stays so; every function is harmless then and returns false.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_JSON_H
#define TAP_HTTP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAP_HTTP_JSON_DEPTH 64	/* of nesting, at most */

typedef struct TapHttpJson
{
	const char *next;
	const char *end;
	bool		bad;
} TapHttpJson;

/* Begin to read bytes, which need not end with a NUL. */
extern void tap_http_json_init(TapHttpJson *json, const char *bytes, size_t length);

/* Pass over a value of any kind. */
extern bool tap_http_json_skip(TapHttpJson *json);

/* Nothing is left but white space, and all before it was JSON. */
extern bool tap_http_json_at_end(TapHttpJson *json);

/* The first character of the value; '\0' at the end of the input. */
extern char tap_http_json_peek(TapHttpJson *json);

/*
 * Enter an object: call with first true, then false.  True: stands before the
 * value of a member, whose key is in key (a key that does not fit is cut).
 * False: the object has ended, or the reader is bad.
 */
extern bool tap_http_json_member(TapHttpJson *json, bool first, char *key, size_t size);

/* The same for the elements of an array. */
extern bool tap_http_json_element(TapHttpJson *json, bool first);

/*
 * Read a string as UTF-8 that ends with a NUL; false when it is none.  What
 * does not fit is left out and *cut set (which may be NULL).
 */
extern bool tap_http_json_string(TapHttpJson *json, char *text, size_t size, bool *cut);

/* Read a whole number; false when it is none or does not fit. */
extern bool tap_http_json_int(TapHttpJson *json, int64_t *value);

#endif							/* TAP_HTTP_JSON_H */
