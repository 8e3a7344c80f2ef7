/*-------------------------------------------------------------------------
 *
 * connectors/common/json_scan.c
 *	  JSON text read forward, once, without making anything of it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "json_scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static bool
fail(TapJsonScan *scan, const char *error)
{
	if (scan->error == NULL)
		scan->error = error;
	return false;
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The next byte that is no blank; '\0' at the end. */
static inline char
next_token(TapJsonScan *scan)
{
	const char *p = scan->next;

	while (p < scan->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	scan->next = p;
	return p < scan->end ? *p : '\0';
}

/* The first byte of a string that is not taken as it is. */
static inline const char *
find_special(const char *p, const char *end)
{
#ifdef __SSE2__
	__m128i		quote = _mm_set1_epi8('"');
	__m128i		backslash = _mm_set1_epi8('\\');
	__m128i		control = _mm_set1_epi8(0x1f);

	for (; end - p >= 16; p += 16)
	{
		__m128i		bytes = _mm_loadu_si128((const __m128i *) p);
		__m128i		found = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote),
										 _mm_cmpeq_epi8(bytes, backslash));
		int			mask;

		found = _mm_or_si128(found, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
		mask = _mm_movemask_epi8(found);
		if (mask != 0)
			return p + __builtin_ctz(mask);
	}
#endif
	while (p < end && *p != '"' && *p != '\\' && (unsigned char) *p > 0x1f)
		p++;
	return p;
}

/* Behind an escape, of which p is the backslash; NULL: it is none. */
static const char *
skip_escape(const char *p, const char *end)
{
	if (end - p < 2)
		return NULL;
	if (p[1] != 'u')
		return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? p + 2 : NULL;
	if (end - p < 6 || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
		return NULL;
	return p + 6;
}

static bool
scan_string(TapJsonScan *scan, TapJsonValue *value)
{
	const char *p = scan->next + 1;

	value->kind = TAP_JSON_STRING;
	value->escaped = false;
	value->text = p;
	for (;;)
	{
		p = find_special(p, scan->end);
		if (p >= scan->end)
			return fail(scan, "a string does not end");
		if (*p == '"')
			break;
		if (*p != '\\')
			return fail(scan, "a string has a control character in it");
		p = skip_escape(p, scan->end);
		if (p == NULL)
			return fail(scan, "a string has an escape in it that is none");
		value->escaped = true;
	}
	value->length = p - value->text;
	scan->next = p + 1;
	return true;
}

/* Digits at p; NULL: there are none. */
static inline const char *
skip_digits(const char *p, const char *end)
{
	if (p >= end || !is_digit(*p))
		return NULL;
	while (p < end && is_digit(*p))
		p++;
	return p;
}

static bool
scan_number(TapJsonScan *scan, TapJsonValue *value)
{
	const char *p = scan->next;
	const char *end = scan->end;

	value->kind = TAP_JSON_NUMBER;
	value->whole = true;
	value->text = p;
	if (*p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = skip_digits(p, end);
	if (p != NULL && p < end && *p == '.')
	{
		value->whole = false;
		p = skip_digits(p + 1, end);
	}
	if (p != NULL && p < end && (*p == 'e' || *p == 'E'))
	{
		value->whole = false;
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = skip_digits(p, end);
	}
	if (p == NULL || (p < end && is_digit(*p)))
		return fail(scan, "a number is not one of JSON");
	value->length = p - value->text;
	scan->next = p;
	return true;
}

static bool
scan_word(TapJsonScan *scan, TapJsonValue *value, TapJsonKind kind,
		  const char *word)
{
	Size		length = strlen(word);

	if (scan->end - scan->next < length || memcmp(scan->next, word, length) != 0)
		return fail(scan, "a word is none of true, false and null");
	value->kind = kind;
	value->text = scan->next;
	value->length = length;
	scan->next += length;
	return true;
}

/* An object or list whole. */
static bool
scan_nested(TapJsonScan *scan, TapJsonValue *value, TapJsonKind kind)
{
	const char *begin = scan->next;
	TapJsonValue inner;

	if (!tap_json_scan_enter(scan, kind))
		return false;
	if (kind == TAP_JSON_OBJECT)
	{
		while (tap_json_scan_field(scan, &inner) && tap_json_scan_value(scan, &inner))
			;
	}
	else
	{
		while (tap_json_scan_element(scan) && tap_json_scan_value(scan, &inner))
			;
	}
	value->kind = kind;
	value->text = begin;
	value->length = scan->next - begin;
	return scan->error == NULL;
}

void
tap_json_scan_begin(TapJsonScan *scan, const char *text, Size length)
{
	scan->begin = text;
	scan->next = text;
	/* a value that is not there has no text */
	scan->end = length > 0 ? text + length : text;
	scan->depth = 0;
	scan->fresh = false;
	scan->error = NULL;
}

bool
tap_json_scan_peek(TapJsonScan *scan, TapJsonKind *kind)
{
	if (scan->error != NULL)
		return false;
	switch (next_token(scan))
	{
		case '{':
			*kind = TAP_JSON_OBJECT;
			return true;
		case '[':
			*kind = TAP_JSON_LIST;
			return true;
		case '"':
			*kind = TAP_JSON_STRING;
			return true;
		case 't':
			*kind = TAP_JSON_TRUE;
			return true;
		case 'f':
			*kind = TAP_JSON_FALSE;
			return true;
		case 'n':
			*kind = TAP_JSON_NULL;
			return true;
		default:
			*kind = TAP_JSON_NUMBER;
			if (scan->next < scan->end && (is_digit(*scan->next) || *scan->next == '-'))
				return true;
			return fail(scan, scan->next < scan->end ? "there is no value where one has to be" :
						"it ends where a value has to be");
	}
}

bool
tap_json_scan_value(TapJsonScan *scan, TapJsonValue *value)
{
	TapJsonKind kind;
	bool		done = false;

	if (!tap_json_scan_peek(scan, &kind))
		return false;
	switch (kind)
	{
		case TAP_JSON_STRING:
			done = scan_string(scan, value);
			break;
		case TAP_JSON_NUMBER:
			done = scan_number(scan, value);
			break;
		case TAP_JSON_TRUE:
			done = scan_word(scan, value, kind, "true");
			break;
		case TAP_JSON_FALSE:
			done = scan_word(scan, value, kind, "false");
			break;
		case TAP_JSON_NULL:
			done = scan_word(scan, value, kind, "null");
			break;
		case TAP_JSON_OBJECT:
		case TAP_JSON_LIST:
			done = scan_nested(scan, value, kind);
			break;
	}
	scan->fresh = false;
	return done;
}

bool
tap_json_scan_enter(TapJsonScan *scan, TapJsonKind kind)
{
	if (scan->error != NULL)
		return false;
	if (next_token(scan) != (kind == TAP_JSON_OBJECT ? '{' : '['))
		return fail(scan, kind == TAP_JSON_OBJECT ? "there is no object where one has to be" :
					"there is no array where one has to be");
	if (scan->depth >= TAP_JSON_MAX_DEPTH)
		return fail(scan, "objects and arrays are nested too deeply");
	scan->depth++;
	scan->next++;
	scan->fresh = true;
	return true;
}

/* Whether another field or element follows, after the comma if there must be one. */
static inline bool
go_on(TapJsonScan *scan, char bracket)
{
	char		token;

	if (scan->error != NULL)
		return false;
	token = next_token(scan);
	if (token == bracket)
	{
		scan->next++;
		scan->depth--;
		scan->fresh = false;
		return false;
	}
	if (scan->fresh)
		return true;
	if (token != ',')
		return fail(scan, "there is neither a comma nor an end where one has to be");
	scan->next++;
	return true;
}

bool
tap_json_scan_field(TapJsonScan *scan, TapJsonValue *name)
{
	if (!go_on(scan, '}'))
		return false;
	if (next_token(scan) != '"')
		return fail(scan, "there is no name of a field where one has to be");
	if (!scan_string(scan, name))
		return false;
	if (next_token(scan) != ':')
		return fail(scan, "there is no colon behind the name of a field");
	scan->next++;
	return true;
}

bool
tap_json_scan_element(TapJsonScan *scan)
{
	return go_on(scan, ']');
}

bool
tap_json_scan_end(TapJsonScan *scan)
{
	if (scan->error != NULL)
		return false;
	(void) next_token(scan);
	return scan->next == scan->end || fail(scan, "something follows behind the value");
}
