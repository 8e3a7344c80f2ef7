/*-------------------------------------------------------------------------
 *
 * connectors/common/json_string.c
 *	  What strings of JSON stand for.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "json_scan.h"

#include "mb/pg_wchar.h"

static uint32
read_hex(const char *digits)
{
	uint32		result = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = digits[i];

		result = result * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return result;
}

static void
append_unicode(char **to, uint32 code)
{
	unsigned char bytes[MAX_UNICODE_EQUIVALENT_STRING + 1];
	int			length;

	if (code == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("a string of JSON has a zero character in it"),
				 errdetail("\\u0000 cannot be stored as text.")));
	pg_unicode_to_server(code, bytes);
	length = strlen((char *) bytes);
	memcpy(*to, bytes, length);
	*to += length;
}

/* \uXXXX at from, and its other half; returns what is behind. */
static const char *
take_unicode(const char *from, const char *end, char **to)
{
	uint32		code = read_hex(from + 2);
	bool		low = false;

	from += 6;
	if (is_utf16_surrogate_first(code))
	{
		uint32		second = end - from >= 6 && from[0] == '\\' && from[1] == 'u' ? read_hex(from + 2) : 0;

		low = !is_utf16_surrogate_second(second);
		if (!low)
			code = surrogate_pair_to_codepoint(code, second);
		from += 6;
	}
	if (low || is_utf16_surrogate_second(code))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("a string of JSON has one half of a surrogate pair in it")));
	append_unicode(to, code);
	return from;
}

static char
plain_escape(char c)
{
	switch (c)
	{
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return c;
	}
}

const char *
tap_json_unescape(const TapJsonValue *value, Size *length)
{
	const char *from = value->text;
	const char *end = from + value->length;
	char	   *result;
	char	   *to;

	*length = value->length;
	if (!value->escaped)
		return from;

	/* six bytes of an escape may become more than that in some encodings */
	result = palloc((value->length / 6 + 1) * MAX_UNICODE_EQUIVALENT_STRING + value->length + 1);
	to = result;
	while (from < end)
	{
		const char *run = memchr(from, '\\', end - from);

		if (run == NULL)
			run = end;
		memcpy(to, from, run - from);
		to += run - from;
		from = run;
		if (from == end)
			break;
		if (from[1] == 'u')
			from = take_unicode(from, end, &to);
		else
		{
			*to++ = plain_escape(from[1]);
			from += 2;
		}
	}
	*to = '\0';
	*length = to - result;
	return result;
}
