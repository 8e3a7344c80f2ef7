/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_name.c
 *	  Names of columns for the items of a copybook.
 *
 * A column is called as its item, in lower case with underscores for hyphens.
 * Where that would be the same for several, each is qualified by the group
 * that it is in, and further until they differ.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cobol_private.h"

#define MOST_NAME	63			/* bytes of a name in PostgreSQL */

/* A column's name in the making. */
typedef struct Naming
{
	const char *name;
	const TapCobolItem *outermost;	/* the last item that is part of it */
	int			column;
} Naming;

/* Append text, as names of columns are written, at the end of a name. */
static void
append(char *name, const char *text)
{
	char	   *next = name + strlen(name);

	for (; *text != '\0'; text++)
	{
		char		c = *text;

		if (c >= 'A' && c <= 'Z')
			c = (char) (c - 'A' + 'a');
		*next++ = c == '-' ? '_' : c;
	}
	*next = '\0';
}

const char *
tap_cobol_key(CobolCompiler *compiler, const TapCobolItem *item, const char *suffix)
{
	char		buffer[32];
	const char *own = tap_copybook_name(item, buffer, sizeof(buffer));
	char	   *name = tap_copybook_get(&compiler->parser, strlen(own) + strlen(suffix) + 1);

	append(name, own);
	append(name, suffix);
	return name;
}

/* The next group around it that has a name, or NULL. */
static const TapCobolItem *
named_group(const TapCobolItem *item)
{
	do
		item = item->parent;
	while (item != NULL && item->name == NULL);
	return item;
}

static void
qualify(CobolCompiler *compiler, Naming *naming)
{
	const TapCobolItem *group = named_group(naming->outermost);
	char	   *name = tap_copybook_get(&compiler->parser, strlen(group->name) + strlen(naming->name) + 2);

	append(name, group->name);
	append(name, "_");
	append(name, naming->name);
	naming->name = name;
	naming->outermost = group;
}

static int
by_name(const void *a, const void *b)
{
	const Naming *left = a;
	const Naming *right = b;
	int			order = strcmp(left->name, right->name);

	return order != 0 ? order : (left->column > right->column) - (left->column < right->column);
}

/* One round of qualifying what has the same name; false: nothing changed. */
static bool
qualify_all(CobolCompiler *compiler, Naming *namings, int count)
{
	bool		changed = false;

	qsort(namings, (size_t) count, sizeof(Naming), by_name);
	for (int i = 0, end; i < count; i = end)
	{
		for (end = i + 1; end < count && strcmp(namings[end].name, namings[i].name) == 0;)
			end++;
		for (int j = i; end > i + 1 && j < end; j++)
		{
			if (named_group(namings[j].outermost) == NULL)
				continue;
			qualify(compiler, &namings[j]);
			changed = true;
		}
	}
	return changed;
}

/* Cut a name to so many bytes, not within a character of UTF-8. */
static void
cut(char *name, size_t most)
{
	if (strlen(name) <= most)
		return;
	while (most > 0 && ((unsigned char) name[most] & 0xc0) == 0x80)
		most--;
	name[most] = '\0';
}

static bool
is_taken(const TapCobolProgramme *programme, const char *name, int but)
{
	for (int i = 0; i < programme->ncolumns; i++)
	{
		if (i != but && programme->columns[i].name != NULL &&
			strcmp(programme->columns[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Short enough, and different from those before by a number. */
static const char *
final_name(CobolCompiler *compiler, const char *wanted, int column)
{
	size_t		length = strlen(wanted);
	char	   *name = tap_copybook_get(&compiler->parser, length + 16);

	memcpy(name, wanted, length + 1);
	cut(name, MOST_NAME);
	for (int number = 2; is_taken(compiler->programme, name, column); number++)
	{
		char		suffix[16];

		snprintf(suffix, sizeof(suffix), "_%d", number);
		memcpy(name, wanted, length + 1);
		cut(name, MOST_NAME - strlen(suffix));
		strcat(name, suffix);
	}
	return name;
}

void
tap_cobol_name_columns(CobolCompiler *compiler)
{
	TapCobolProgramme *programme = compiler->programme;
	Naming	   *namings = tap_copybook_get(&compiler->parser, (size_t) programme->ncolumns * sizeof(Naming));

	for (int i = 0; i < programme->ncolumns; i++)
	{
		const TapCobolColumn *column = &programme->columns[i];

		namings[i].column = i;
		namings[i].outermost = column->item;
		namings[i].name = tap_cobol_key(compiler, column->item, column->label ? "-LABEL" : "");
	}
	while (qualify_all(compiler, namings, programme->ncolumns))
		;
	for (int i = 0; i < programme->ncolumns; i++)
		programme->columns[namings[i].column].name =
			final_name(compiler, namings[i].name, namings[i].column);
}

/* ---------------------------------------------------------------------
 * Keys of objects in JSON
 * ---------------------------------------------------------------------
 */

/* One key of an object, and where its place among the others is to be put. */
typedef struct Place
{
	const char *key;
	int		   *place;
} Place;

/* As jsonb has the keys of an object: shorter ones first. */
static int
by_key(const void *a, const void *b)
{
	const Place *left = a;
	const Place *right = b;
	size_t		left_length = strlen(left->key);
	size_t		right_length = strlen(right->key);

	if (left_length != right_length)
		return left_length < right_length ? -1 : 1;
	return memcmp(left->key, right->key, left_length);
}

static void
add_place(Place *places, int *count, const char *key, int *place)
{
	if (key == NULL)
		return;
	places[*count].key = key;
	places[*count].place = place;
	(*count)++;
}

void
tap_cobol_place_keys(CobolCompiler *compiler, uint32_t at)
{
	TapCobolOp *ops = compiler->programme->ops;
	Place	   *places;
	int			count = 0;

	places = tap_copybook_get(&compiler->parser, 2 * (ops[at].end - at) * sizeof(Place));
	for (uint32_t i = at + 1; i < ops[at].end;)
	{
		add_place(places, &count, ops[i].key, &ops[i].place);
		add_place(places, &count, ops[i].label_key, &ops[i].label_place);
		i = ops[i].kind == TAP_COBOL_CASE ? i + 1 : ops[i].end;
	}
	qsort(places, (size_t) count, sizeof(Place), by_key);
	for (int i = 0; i < count; i++)
	{
		if (i > 0 && strcmp(places[i].key, places[i - 1].key) != 0)
			ops[at].nkeys++;
		*places[i].place = ops[at].nkeys;
	}
	ops[at].nkeys += count > 0;
}
