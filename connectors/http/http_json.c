/*-------------------------------------------------------------------------
 *
 * connectors/http/http_json.c
 *	  Reads JSON that a server sent.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_json.h"

#include <string.h>

/* Where the text of a string goes. */
typedef struct Output
{
	char	   *text;			/* NULL: nowhere */
	size_t		size;
	size_t		used;
	bool		cut;
} Output;

static bool
fail(TapHttpJson *json)
{
	json->bad = true;
	return false;
}

void
tap_http_json_init(TapHttpJson *json, const char *bytes, size_t length)
{
	json->next = bytes;
	json->end = bytes + length;
	json->bad = false;
}

char
tap_http_json_peek(TapHttpJson *json)
{
	while (json->next < json->end && *json->next != '\0' && strchr(" \t\r\n", *json->next) != NULL)
		json->next++;
	return (json->bad || json->next == json->end) ? '\0' : *json->next;
}

bool
tap_http_json_at_end(TapHttpJson *json)
{
	(void) tap_http_json_peek(json);
	return !json->bad && json->next == json->end;
}

/* Take a character that has to come now. */
static bool
take(TapHttpJson *json, char c)
{
	if (tap_http_json_peek(json) != c)
		return fail(json);
	json->next++;
	return true;
}

/* ---------------------------------------------------------------------
 * Strings
 * ---------------------------------------------------------------------
 */

/* All bytes of a character, or none, so that a cut text is valid, too. */
static void
put(Output *out, const char *bytes, size_t length)
{
	if (out->text == NULL)
		return;
	if (out->cut || out->used + length >= out->size)
	{
		out->cut = true;
		return;
	}
	memcpy(out->text + out->used, bytes, length);
	out->used += length;
}

static void
put_code(Output *out, uint32_t code)
{
	char		bytes[4];

	if (code < 0x80)
	{
		bytes[0] = (char) code;
		put(out, bytes, 1);
	}
	else if (code < 0x800)
	{
		bytes[0] = (char) (0xC0 | code >> 6);
		bytes[1] = (char) (0x80 | (code & 0x3F));
		put(out, bytes, 2);
	}
	else if (code < 0x10000)
	{
		bytes[0] = (char) (0xE0 | code >> 12);
		bytes[1] = (char) (0x80 | (code >> 6 & 0x3F));
		bytes[2] = (char) (0x80 | (code & 0x3F));
		put(out, bytes, 3);
	}
	else
	{
		bytes[0] = (char) (0xF0 | code >> 18);
		bytes[1] = (char) (0x80 | (code >> 12 & 0x3F));
		bytes[2] = (char) (0x80 | (code >> 6 & 0x3F));
		bytes[3] = (char) (0x80 | (code & 0x3F));
		put(out, bytes, 4);
	}
}

static bool
take_hex(TapHttpJson *json, uint32_t *code)
{
	*code = 0;
	if (json->end - json->next < 4)
		return fail(json);
	for (int i = 0; i < 4; i++)
	{
		char		c = *json->next++;

		if (c >= '0' && c <= '9')
			*code = *code * 16 + (uint32_t) (c - '0');
		else if (c >= 'a' && c <= 'f')
			*code = *code * 16 + (uint32_t) (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			*code = *code * 16 + (uint32_t) (c - 'A' + 10);
		else
			return fail(json);
	}
	return true;
}

/* Behind "\u". */
static bool
take_unicode(TapHttpJson *json, Output *out)
{
	uint32_t	code;
	uint32_t	low;

	if (!take_hex(json, &code))
		return false;
	if (code >= 0xD800 && code <= 0xDBFF && json->end - json->next >= 2 &&
		json->next[0] == '\\' && json->next[1] == 'u')
	{
		json->next += 2;
		if (!take_hex(json, &low))
			return false;
		if (low < 0xDC00 || low > 0xDFFF)
			return fail(json);
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	else if (code >= 0xD800 && code <= 0xDFFF)
		return fail(json);

	/* a NUL cannot be in a C string */
	put_code(out, code == 0 ? 0xFFFD : code);
	return true;
}

static bool
take_escape(TapHttpJson *json, Output *out)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	const char *letter;
	char		c;

	if (json->next == json->end)
		return fail(json);
	c = *json->next++;
	if (c == 'u')
		return take_unicode(json, out);
	letter = (c == '\0') ? NULL : strchr(letters, c);
	if (letter == NULL)
		return fail(json);
	put(out, &values[letter - letters], 1);
	return true;
}

static bool
take_string(TapHttpJson *json, Output *out)
{
	if (!take(json, '"'))
		return false;
	while (json->next < json->end)
	{
		char		c = *json->next++;

		if (c == '"')
			return true;
		if ((unsigned char) c < 0x20)
			return fail(json);
		if (c != '\\')
			put(out, &c, 1);
		else if (!take_escape(json, out))
			return false;
	}
	return fail(json);
}

bool
tap_http_json_string(TapHttpJson *json, char *text, size_t size, bool *cut)
{
	Output		out = {text, size, 0, false};
	bool		done = take_string(json, &out);

	text[done ? out.used : 0] = '\0';
	if (cut != NULL)
		*cut = out.cut;
	return done;
}

/* ---------------------------------------------------------------------
 * Numbers and words
 * ---------------------------------------------------------------------
 */

static bool
is_digit(TapHttpJson *json)
{
	return json->next < json->end && *json->next >= '0' && *json->next <= '9';
}

static bool
take_digits(TapHttpJson *json)
{
	if (!is_digit(json))
		return fail(json);
	while (is_digit(json))
		json->next++;
	return true;
}

static bool
is_next(TapHttpJson *json, char c)
{
	return json->next < json->end && *json->next == c;
}

static bool
take_number(TapHttpJson *json)
{
	if (is_next(json, '-'))
		json->next++;
	if (is_next(json, '0'))
		json->next++;
	else if (!take_digits(json))
		return false;
	if (is_next(json, '.'))
	{
		json->next++;
		if (!take_digits(json))
			return false;
	}
	if (is_next(json, 'e') || is_next(json, 'E'))
	{
		json->next++;
		if (is_next(json, '+') || is_next(json, '-'))
			json->next++;
		if (!take_digits(json))
			return false;
	}
	return true;
}

bool
tap_http_json_int(TapHttpJson *json, int64_t *value)
{
	const char *start;
	bool		negative;
	uint64_t	number = 0;

	(void) tap_http_json_peek(json);
	start = json->next;
	if (json->bad || !take_number(json))
		return false;
	negative = (*start == '-');
	for (const char *c = start + negative; c < json->next; c++)
	{
		if (*c < '0' || *c > '9' || number > (uint64_t) INT64_MAX / 10)
			return fail(json);
		number = number * 10 + (uint64_t) (*c - '0');
	}
	if (number > (uint64_t) INT64_MAX)
		return fail(json);
	*value = negative ? -(int64_t) number : (int64_t) number;
	return true;
}

static bool
take_word(TapHttpJson *json, const char *word)
{
	size_t		length = strlen(word);

	if ((size_t) (json->end - json->next) < length || memcmp(json->next, word, length) != 0)
		return fail(json);
	json->next += length;
	return true;
}

static bool
take_scalar(TapHttpJson *json)
{
	Output		nowhere = {NULL, 0, 0, false};

	switch (tap_http_json_peek(json))
	{
		case '"':
			return take_string(json, &nowhere);
		case 't':
			return take_word(json, "true");
		case 'f':
			return take_word(json, "false");
		case 'n':
			return take_word(json, "null");
		default:
			return !json->bad && take_number(json);
	}
}

/* ---------------------------------------------------------------------
 * Objects and arrays
 * ---------------------------------------------------------------------
 */

/* Behind a value or an opening bracket: whether another one follows. */
static bool
take_separator(TapHttpJson *json, bool first, char closing)
{
	if (tap_http_json_peek(json) == closing && closing != '\0')
	{
		json->next++;
		return false;
	}
	return first ? !json->bad : take(json, ',');
}

bool
tap_http_json_member(TapHttpJson *json, bool first, char *key, size_t size)
{
	if (first && !take(json, '{'))
		return false;
	return take_separator(json, first, '}') &&
		tap_http_json_string(json, key, size, NULL) && take(json, ':');
}

bool
tap_http_json_element(TapHttpJson *json, bool first)
{
	if (first && !take(json, '['))
		return false;
	return take_separator(json, first, ']') && !json->bad;
}

bool
tap_http_json_skip(TapHttpJson *json)
{
	char		closing[TAP_HTTP_JSON_DEPTH];
	int			depth = 0;
	bool		first = false;
	char		key[1];

	for (;;)
	{
		char		c = tap_http_json_peek(json);

		if (c == '{' || c == '[')
		{
			if (depth == TAP_HTTP_JSON_DEPTH)
				return fail(json);
			closing[depth++] = (c == '{') ? '}' : ']';
			json->next++;
			first = true;
		}
		else if (!take_scalar(json))
			return false;

		/* as many ends as there are, then the next value */
		while (depth > 0 && !take_separator(json, first, closing[depth - 1]))
		{
			if (json->bad)
				return false;
			depth--;
			first = false;
		}
		if (depth == 0)
			return !json->bad;
		first = false;
		if (closing[depth - 1] == '}' &&
			!(tap_http_json_string(json, key, sizeof(key), NULL) && take(json, ':')))
			return false;
	}
}
