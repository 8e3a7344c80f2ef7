/*-------------------------------------------------------------------------
 *
 * src/patterns.c
 *	  Patterns of psql's \d over the tables of a source.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "lib/stringinfo.h"

#include "mapping.h"

/*
 * One level of a name: the bytes to match, and for each of them whether it
 * stands for itself even if it is a wildcard.
 */
typedef struct TapGlob
{
	char	   *text;
	bool	   *literal;
	int			length;
} TapGlob;

typedef struct TapPattern
{
	const char *text;			/* as it was given */
	bool		excludes;
	int			nlevels;
	TapGlob		schema;
	TapGlob		name;
	TapGlob		whole;			/* dots and all: where there are no schemas */
} TapPattern;

struct TapPatterns
{
	int			npatterns;
	TapPattern *patterns;
};

static void
report_malformed(const char *pattern, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("malformed table pattern \"%s\"", pattern),
			 errdetail_internal("%s", detail),
			 errhint("Patterns look like shop.*, shop.order_?, \"Odd.Name\".t or !shop.tmp_*.")));
}

/*
 * Read one level up to a dot or the end; returns what is behind it.
 */
static const char *
read_level(const char *pattern, const char *at, TapGlob *glob)
{
	Size		room = strlen(at) + 1;
	bool		quoted = false;

	glob->text = palloc0(room);
	glob->literal = palloc0(room * sizeof(bool));
	glob->length = 0;

	for (; *at != '\0'; at++)
	{
		if (*at == '"')
		{
			if (!quoted || at[1] != '"')
			{
				quoted = !quoted;
				continue;
			}
			at++;				/* a doubled quote stands for one */
		}
		else if (*at == '.' && !quoted)
			break;
		glob->text[glob->length] = *at;
		glob->literal[glob->length] = quoted;
		glob->length++;
	}

	if (quoted)
		report_malformed(pattern, "A double quote is not closed.");
	if (glob->length == 0)
		report_malformed(pattern, "A part of the name is empty.");
	return at;
}

static void
append_glob(TapGlob *glob, const TapGlob *level)
{
	memcpy(glob->text + glob->length, level->text, level->length);
	memcpy(glob->literal + glob->length, level->literal, level->length * sizeof(bool));
	glob->length += level->length;
}

static void
compile_pattern(TapPattern *pattern, const char *text)
{
	bool		literal = true;
	TapGlob		dot = {.text = ".",.literal = &literal,.length = 1};
	const char *at = text;

	pattern->text = pstrdup(text);
	if (*at == '!')
	{
		pattern->excludes = true;
		at++;
	}

	pattern->whole.text = palloc0(strlen(text) + 1);
	pattern->whole.literal = palloc0((strlen(text) + 1) * sizeof(bool));
	for (;;)
	{
		at = read_level(text, at, &pattern->name);
		append_glob(&pattern->whole, &pattern->name);
		pattern->nlevels++;
		if (*at == '\0')
			break;
		pattern->schema = pattern->name;
		append_glob(&pattern->whole, &dot);
		at++;
	}
}

TapPatterns *
tap_patterns_compile(List *patterns)
{
	TapPatterns *result = palloc0(sizeof(TapPatterns));
	ListCell   *cell;

	result->patterns = palloc0(sizeof(TapPattern) *
							   Max(list_length(patterns), 1));
	foreach(cell, patterns)
		compile_pattern(&result->patterns[result->npatterns++], lfirst(cell));
	return result;
}

/* Bytes of a character; names of a source may be cut or of another encoding. */
static int
character_bytes(const char *text)
{
	return strnlen(text, pg_mblen(text));
}

/*
 * Match by going back to the last "*" on a mismatch: no recursion, and no
 * more than pattern times name steps.
 */
static bool
glob_matches(const TapGlob *glob, const char *name)
{
	int			i = 0;
	int			star = -1;
	const char *star_name = NULL;

	while (*name != '\0')
	{
		bool		wild = i < glob->length && !glob->literal[i];

		if (wild && glob->text[i] == '*')
		{
			star = i++;
			star_name = name;
		}
		else if (wild && glob->text[i] == '?')
		{
			name += character_bytes(name);
			i++;
		}
		else if (i < glob->length && glob->text[i] == *name)
		{
			name++;
			i++;
		}
		else if (star >= 0)
		{
			star_name += character_bytes(star_name);
			name = star_name;
			i = star + 1;
		}
		else
			return false;
	}

	while (i < glob->length && !glob->literal[i] && glob->text[i] == '*')
		i++;
	return i == glob->length;
}

static bool
pattern_matches(const TapPattern *pattern, const TapTableName *name)
{
	if (name->schema == NULL)
		return glob_matches(&pattern->whole, name->name);
	if (pattern->nlevels > 2)
		report_malformed(pattern->text, "A name has at most two parts, schema and table.");
	if (pattern->nlevels == 2 && !glob_matches(&pattern->schema, name->schema))
		return false;
	return glob_matches(&pattern->name, name->name);
}

bool
tap_patterns_match(const TapPatterns *patterns, const TapTableName *name)
{
	bool		included = false;

	for (int i = 0; i < patterns->npatterns; i++)
	{
		if (!pattern_matches(&patterns->patterns[i], name))
			continue;
		if (patterns->patterns[i].excludes)
			return false;
		included = true;
	}
	return included;
}

const char *
tap_patterns_unmatched(const TapPatterns *patterns, List *names)
{
	for (int i = 0; i < patterns->npatterns; i++)
	{
		const TapPattern *pattern = &patterns->patterns[i];
		bool		found = pattern->excludes;
		ListCell   *cell;

		foreach(cell, names)
		{
			if (found)
				break;
			found = pattern_matches(pattern, lfirst(cell));
		}
		if (!found)
			return pattern->text;
	}
	return NULL;
}

static void
append_level(StringInfo text, const char *name)
{
	bool		quote = name[0] == '\0' || name[0] == '!' ||
	strpbrk(name, "*?.\"") != NULL;

	if (!quote)
	{
		appendStringInfoString(text, name);
		return;
	}

	appendStringInfoChar(text, '"');
	for (; *name != '\0'; name++)
	{
		if (*name == '"')
			appendStringInfoChar(text, '"');
		appendStringInfoChar(text, *name);
	}
	appendStringInfoChar(text, '"');
}

char *
tap_table_name_text(const TapTableName *name)
{
	StringInfoData text;

	initStringInfo(&text);
	if (name->schema != NULL)
	{
		append_level(&text, name->schema);
		appendStringInfoChar(&text, '.');
	}
	append_level(&text, name->name);
	return text.data;
}
