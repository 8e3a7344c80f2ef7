/*-------------------------------------------------------------------------
 *
 * connectors/file/file_format.c
 *	  The formats that there are, and which of them a file has.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "file_format.h"

#include "cobol_format.h"

static const TapFormat *const formats[] = {
	&tap_format_csv,
	&tap_format_jsonl,
	&tap_format_json,
	&tap_format_fixed,
	&tap_format_rdw,
	&tap_format_bdw,
	&tap_format_line_sequential,
	NULL
};

const char *const tap_format_names[] = {
	"csv", "jsonl", "json", "fixed", "rdw", "bdw", "line_sequential", NULL
};

/* How names of files end. */
static const struct
{
	const char *suffix;
	const TapFormat *format;
}			suffixes[] =

{
	{".csv", &tap_format_csv},
	{".tsv", &tap_format_csv},
	{".tab", &tap_format_csv},
	{".jsonl", &tap_format_jsonl},
	{".ndjson", &tap_format_jsonl},
	{".json", &tap_format_json}
};

const TapFormat *
tap_format_find(const char *name)
{
	for (int i = 0; formats[i] != NULL; i++)
	{
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	}
	return NULL;
}

/* Whether text[0 .. length) ends so, in any case of letters. */
static bool
ends_with(const char *text, Size length, const char *suffix)
{
	Size		suffix_length = strlen(suffix);

	return length >= suffix_length &&
		pg_strncasecmp(text + length - suffix_length, suffix, suffix_length) == 0;
}

const TapFormat *
tap_format_guess(const char *name, const char *sample, Size bytes)
{
	Size		length = strlen(name);

	if (ends_with(name, length, ".gz"))
		length -= strlen(".gz");
	else if (ends_with(name, length, ".zst"))
		length -= strlen(".zst");
	for (int i = 0; i < lengthof(suffixes); i++)
	{
		if (ends_with(name, length, suffixes[i].suffix))
			return suffixes[i].format;
	}

	while (bytes > 0 && strchr(" \t\r\n\xEF\xBB\xBF", *sample) != NULL && *sample != '\0')
	{
		sample++;
		bytes--;
	}
	if (bytes > 0 && (*sample == '[' || *sample == '{'))
		return *sample == '[' ? &tap_format_json : &tap_format_jsonl;
	return &tap_format_csv;
}
