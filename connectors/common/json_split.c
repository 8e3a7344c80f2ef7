/*-------------------------------------------------------------------------
 *
 * connectors/common/json_split.c
 *	  Many JSON values in one text, taken apart one at a time.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "json_split.h"

#include "json_scan.h"

static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static Size
skip_blanks(const char *data, Size bytes)
{
	Size		at = 0;

	while (at < bytes && is_blank(data[at]))
		at++;
	return at;
}

static void
forget_value(TapJsonSplit *split)
{
	split->scanned = 0;
	split->depth = 0;
	split->in_string = false;
}

void
tap_json_split_begin(TapJsonSplit *split, TapJsonLayout layout)
{
	split->layout = layout;
	split->place = TAP_JSON_PLACE_BEGIN;
	forget_value(split);
}

TapJsonLayout
tap_json_split_sniff(const char *sample, Size bytes, bool at_end)
{
	Size		start = skip_blanks(sample, bytes);
	const char *line_end = memchr(sample + start, '\n', bytes - start);
	TapJsonScan scan;
	TapJsonValue value;

	if (start < bytes && sample[start] == '[')
		return TAP_JSON_ARRAY;
	if (line_end == NULL && !at_end)
		return TAP_JSON_LINES;
	tap_json_scan_begin(&scan, sample + start, line_end ? line_end - sample - start : bytes - start);
	return tap_json_scan_value(&scan, &value) && tap_json_scan_end(&scan) ? TAP_JSON_LINES : TAP_JSON_VALUES;
}

static void
check_size(Size bytes, Size max_bytes)
{
	if (bytes > max_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a JSON value is longer than %zu bytes", max_bytes)));
}

static TapJsonSplitResult
next_line(const char *data, Size bytes, bool at_end, Size max_bytes,
		  const char **value, Size *length, Size *taken, Size scanned)
{
	const char *line_end = memchr(data + scanned, '\n', bytes - scanned);
	Size		line_length;
	Size		start;

	if (line_end == NULL && !at_end)
	{
		check_size(bytes, max_bytes);
		return TAP_JSON_SPLIT_MORE;
	}
	line_length = line_end ? line_end - data : bytes;
	*taken = line_end ? line_length + 1 : bytes;
	check_size(line_length, max_bytes);
	start = skip_blanks(data, line_length);
	while (line_length > start && is_blank(data[line_length - 1]))
		line_length--;
	if (start == line_length)
		return TAP_JSON_SPLIT_SKIP;
	*value = data + start;
	*length = line_length - start;
	return TAP_JSON_SPLIT_VALUE;
}

/* Behind the string whose inside goes on at p; end: it is not there to its end. */
static const char *
skip_string(TapJsonSplit *split, const char *p, const char *end)
{
	while (p < end)
	{
		if (*p == '"')
		{
			split->in_string = false;
			return p + 1;
		}
		if (*p == '\\')
		{
			/* half an escape is read again when the rest of it is there */
			if (end - p < 2)
				return p;
			p++;
		}
		p++;
	}
	return p;
}

/* A byte that ends a number or word. */
static inline bool
ends_word(char c)
{
	return is_blank(c) || c == ',' || c == ']' || c == '}';
}

/*
 * Go on looking for the end of the value at the beginning of data.  True: it
 * is where split->scanned stands.
 */
static bool
find_end(TapJsonSplit *split, const char *data, Size bytes, bool at_end)
{
	const char *end = data + bytes;
	const char *p = data + split->scanned;
	bool		found = false;

	while (p < end && !found)
	{
		const char *before = p;

		if (split->in_string)
		{
			p = skip_string(split, p, end);
			if (split->in_string && p == before)
				break;
			found = !split->in_string && split->depth == 0;
			continue;
		}
		if (split->depth == 0 && p > data && ends_word(*p))
		{
			split->scanned = p - data;
			return true;
		}
		switch (*p)
		{
			case '"':
				split->in_string = true;
				break;
			case '{':
			case '[':
				split->depth++;
				break;
			case '}':
			case ']':
				found = split->depth == 1;
				split->depth--;
				break;
			default:
				break;
		}
		p++;
	}
	split->scanned = p - data;
	return found || (at_end && bytes > 0 && split->depth == 0 && !split->in_string);
}

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("the JSON text is broken: %s", what)));
}

/*
 * What stands between two values, from which blanks were taken already.
 * Returns whether a value begins at the byte; else it is used up.
 */
static bool
begins_value(TapJsonSplit *split, char c)
{
	if (split->layout == TAP_JSON_VALUES)
	{
		if (c == ',' || c == ']' || c == '}' || c == ':')
			refuse("there is no value where one has to be");
		return true;
	}
	switch (split->place)
	{
		case TAP_JSON_PLACE_BEGIN:
			if (c != '[')
				refuse("there is no array");
			split->place = TAP_JSON_PLACE_ELEMENT;
			return false;
		case TAP_JSON_PLACE_ELEMENT:
			if (c == ']')
			{
				split->place = TAP_JSON_PLACE_END;
				return false;
			}
			if (c == ',' || c == '}' || c == ':')
				refuse("there is no element where one has to be");
			return true;
		case TAP_JSON_PLACE_COMMA:
			if (c != ',' && c != ']')
				refuse("there is neither a comma nor the end of the array behind an element");
			split->place = c == ',' ? TAP_JSON_PLACE_ELEMENT : TAP_JSON_PLACE_END;
			return false;
		default:
			refuse("something follows behind the end of the array");
			return false;
	}
}

TapJsonSplitResult
tap_json_split_next(TapJsonSplit *split, const char *data, Size bytes,
					bool at_end, Size max_bytes,
					const char **value, Size *length, Size *taken)
{
	*taken = 0;
	if (split->layout == TAP_JSON_LINES)
	{
		TapJsonSplitResult result;
		Size		scanned = Min(split->scanned, bytes);

		split->scanned = 0;
		if (bytes == 0)
			return at_end ? TAP_JSON_SPLIT_END : TAP_JSON_SPLIT_MORE;
		result = next_line(data, bytes, at_end, max_bytes, value, length, taken, scanned);
		if (result == TAP_JSON_SPLIT_MORE)
			split->scanned = bytes;
		return result;
	}
	if (split->scanned == 0)
	{
		Size		start = skip_blanks(data, bytes);

		if (start < bytes && !begins_value(split, data[start]))
			start++;
		if (start > 0)
		{
			*taken = start;
			return TAP_JSON_SPLIT_SKIP;
		}
		if (bytes == 0 && at_end && split->layout == TAP_JSON_ARRAY &&
			split->place != TAP_JSON_PLACE_END)
			refuse("it ends within the array");
		if (bytes == 0)
			return at_end ? TAP_JSON_SPLIT_END : TAP_JSON_SPLIT_MORE;
	}
	if (!find_end(split, data, bytes, at_end))
	{
		check_size(bytes, max_bytes);
		if (at_end)
			refuse("it ends within a value");
		return TAP_JSON_SPLIT_MORE;
	}
	*value = data;
	*length = split->scanned;
	*taken = split->scanned;
	forget_value(split);
	check_size(*length, max_bytes);
	split->place = TAP_JSON_PLACE_COMMA;
	return TAP_JSON_SPLIT_VALUE;
}
