/*-------------------------------------------------------------------------
 *
 * connectors/http/http_page_link.c
 *	  The header Link, as RFC 8288 has it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_page_link.h"

#include <string.h>

/* What is left to read. */
typedef struct Reader
{
	const char *next;
	const char *end;
} Reader;

static void
skip_blanks(Reader *reader)
{
	while (reader->next < reader->end && (*reader->next == ' ' || *reader->next == '\t'))
		reader->next++;
}

static bool
take(Reader *reader, char c)
{
	skip_blanks(reader);
	if (reader->next == reader->end || *reader->next != c)
		return false;
	reader->next++;
	return true;
}

static char
lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char) (c - 'A' + 'a') : c;
}

static bool
is_word(const char *text, size_t length, const char *word)
{
	if (length != strlen(word))
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (lower(text[i]) != word[i])
			return false;
	}
	return true;
}

/* Whether one of the words between blanks is it. */
static bool
has_word(const char *text, size_t length, const char *word)
{
	size_t		start = 0;

	for (size_t i = 0; i <= length; i++)
	{
		if (i < length && text[i] != ' ' && text[i] != '\t')
			continue;
		if (is_word(text + start, i - start, word))
			return true;
		start = i + 1;
	}
	return false;
}

/* The name of a parameter, or a value without quotes. */
static const char *
take_token(Reader *reader, size_t *length)
{
	const char *start;

	skip_blanks(reader);
	start = reader->next;
	while (reader->next < reader->end && strchr(" \t;,=\"<>", *reader->next) == NULL)
		reader->next++;
	*length = (size_t) (reader->next - start);
	return start;
}

/* Behind the opening quote; a backslash takes the next character along. */
static const char *
take_quoted(Reader *reader, size_t *length)
{
	const char *start = reader->next;

	while (reader->next < reader->end && *reader->next != '"')
	{
		if (*reader->next == '\\' && reader->end - reader->next > 1)
			reader->next++;
		reader->next++;
	}
	*length = (size_t) (reader->next - start);
	if (reader->next < reader->end)
		reader->next++;
	return start;
}

/* The parameters of one link; only the first "rel" counts. */
static bool
take_parameters(Reader *reader, const char *rel)
{
	bool		seen = false;
	bool		matches = false;

	while (take(reader, ';'))
	{
		size_t		name_length;
		size_t		length = 0;
		const char *name = take_token(reader, &name_length);
		const char *text = "";

		if (take(reader, '='))
			text = take(reader, '"') ? take_quoted(reader, &length) : take_token(reader, &length);
		if (!seen && is_word(name, name_length, "rel"))
		{
			seen = true;
			matches = has_word(text, length, rel);
		}
	}
	return matches;
}

bool
tap_http_link_find(const char *value, size_t length, const char *rel,
				   const char **target, size_t *target_length)
{
	Reader		reader = {value, value + length};

	for (;;)
	{
		const char *start;
		const char *end;

		/* empty elements of the list, and what is no link */
		while (reader.next < reader.end && *reader.next != '<')
			reader.next++;
		if (reader.next == reader.end)
			return false;
		start = reader.next + 1;
		end = memchr(start, '>', (size_t) (reader.end - start));
		if (end == NULL)
			return false;
		reader.next = end + 1;
		if (take_parameters(&reader, rel))
		{
			*target = start;
			*target_length = (size_t) (end - start);
			return true;
		}
	}
}
