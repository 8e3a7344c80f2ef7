/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_parse.c
 *	  From the sentences of a copybook to its items.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copybook_private.h"

#define LEVEL_RENAMES	66
#define LEVEL_CONDITION 88
#define MOST_LEVEL		49
#define BLOCK_BYTES		16384

struct CopybookBlock
{
	CopybookBlock *next;
	size_t		used;
	size_t		size;
	max_align_t data[];
};

void *
tap_copybook_allocate(TapCopybook *copybook, size_t size)
{
	CopybookBlock *block = copybook->blocks;
	void	   *result;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (block == NULL || block->size - block->used < size)
	{
		size_t		bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;

		block = calloc(1, sizeof(CopybookBlock) + bytes);
		if (block == NULL)
			return NULL;
		block->size = bytes;
		block->next = copybook->blocks;
		copybook->blocks = block;
	}
	result = (char *) block->data + block->used;
	block->used += size;
	return result;
}

void *
tap_copybook_get(CopybookParser *parser, size_t size)
{
	void	   *result = tap_copybook_allocate(parser->copybook, size);

	if (result == NULL)
	{
		parser->error->no_memory = true;
		tap_copybook_fail(parser, 1, 1, NULL, "out of memory");
	}
	return result;
}

void
tap_copybook_fail(CopybookParser *parser, int line, int column, const char *hint,
				  const char *format,...)
{
	va_list		arguments;

	parser->error->line = line;
	parser->error->column = column;
	va_start(arguments, format);
	vsnprintf(parser->error->message, sizeof(parser->error->message), format, arguments);
	va_end(arguments);
	snprintf(parser->error->hint, sizeof(parser->error->hint), "%s", hint ? hint : "");
	longjmp(parser->escape, 1);
}

/* ---------------------------------------------------------------------
 * Items
 * ---------------------------------------------------------------------
 */

static TapCobolItem *
add_item(CopybookParser *parser, TapCobolItem *parent, int level)
{
	TapCopybook *copybook = parser->copybook;
	TapCobolItem *item;
	TapCobolItem **first = parent ? &parent->first : &copybook->records;
	TapCobolItem **last = parent ? &parent->last : &copybook->last_record;

	if (++copybook->nitems > TAP_COPYBOOK_MOST_ITEMS)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "a copybook can have at most %d items", TAP_COPYBOOK_MOST_ITEMS);
	item = tap_copybook_get(parser, sizeof(TapCobolItem));
	item->number = copybook->nitems;
	item->level = level;
	item->parent = parent;
	item->line = parser->token.line;
	item->column = parser->token.column;
	if (*last != NULL)
		(*last)->next = item;
	else
		*first = item;
	*last = item;
	return item;
}

/* The group that an item of this level stands in. */
static TapCobolItem *
group_for(CopybookParser *parser, TapCobolItem *last, int level)
{
	TapCobolItem *group = last;

	if (level == 1 || level == COPYBOOK_LEVEL_SINGLE)
		return NULL;
	while (group != NULL && (group->level >= level || group->level == COPYBOOK_LEVEL_SINGLE))
		group = group->parent;
	if (group == NULL)
	{
		/* it begins with a level other than 01: a record without a name */
		group = add_item(parser, NULL, 0);
		group->filler = ++parser->copybook->nfillers;
	}
	else if (group->picture != NULL)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "level %02d stands below %.30s, which has a picture", level,
						  group->name ? group->name : "FILLER");
	if (group->last != NULL && group->last->level != level)
		tap_copybook_fail(parser, parser->token.line, parser->token.column,
						  "The items of a group have one and the same level.",
						  "level %02d stands beside level %02d", level, group->last->level);
	return group;
}

static void
skip_sentence(CopybookParser *parser)
{
	while (parser->token.kind != COPYBOOK_PERIOD && parser->token.kind != COPYBOOK_END)
		tap_copybook_advance(parser);
	if (parser->token.kind == COPYBOOK_PERIOD)
		tap_copybook_advance(parser);
}

/* VALUE of level 88, behind the word. */
static TapCobolRange *
take_ranges(CopybookParser *parser)
{
	TapCobolRange *first = NULL;
	TapCobolRange **next = &first;

	do
	{
		TapCobolRange *range = tap_copybook_get(parser, sizeof(TapCobolRange));

		tap_copybook_literal(parser, &range->low);
		range->high = range->low;
		if (tap_copybook_accept(parser, "THRU") || tap_copybook_accept(parser, "THROUGH"))
		{
			tap_copybook_literal(parser, &range->high);
			range->through = true;
		}
		*next = range;
		next = &range->next;
	} while (tap_copybook_is_literal(parser));
	return first;
}

static void
take_condition(CopybookParser *parser, TapCobolItem *item)
{
	TapCobolCondition *condition;
	TapCobolCondition **next;

	if (item == NULL)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "level 88 needs an item before it");
	tap_copybook_advance(parser);
	condition = tap_copybook_get(parser, sizeof(TapCobolCondition));
	condition->name = tap_copybook_take_name(parser, "the name of a condition");
	if (!tap_copybook_accept(parser, "VALUE") && !tap_copybook_accept(parser, "VALUES"))
		tap_copybook_expected(parser, "VALUE");
	if (!tap_copybook_accept(parser, "IS"))
		tap_copybook_accept(parser, "ARE");
	condition->ranges = take_ranges(parser);
	if (parser->token.kind != COPYBOOK_PERIOD)
		skip_sentence(parser);	/* WHEN SET TO FALSE */
	else
		tap_copybook_advance(parser);
	for (next = &item->conditions; *next != NULL; next = &(*next)->next)
		;
	*next = condition;
}

static TapCobolItem *
take_item(CopybookParser *parser, TapCobolItem *last, int level)
{
	TapCobolItem *item = add_item(parser, group_for(parser, last, level), level);

	tap_copybook_advance(parser);
	if (!tap_copybook_accept(parser, "FILLER") && !tap_copybook_begins_clause(parser) &&
		parser->token.kind != COPYBOOK_PERIOD)
		item->name = tap_copybook_take_name(parser, "the name of an item");
	if (item->name == NULL)
		item->filler = ++parser->copybook->nfillers;
	while (parser->token.kind != COPYBOOK_PERIOD)
	{
		if (parser->token.kind == COPYBOOK_END)
			tap_copybook_expected(parser, "a period");
		tap_copybook_take_clause(parser, item);
	}
	tap_copybook_advance(parser);
	return item;
}

/* What may stand in a copybook beside items. */
static void
take_other_sentence(CopybookParser *parser)
{
	static const char *const alone[] = {"EJECT", "SKIP1", "SKIP2", "SKIP3"};
	static const char *const skipped[] = {
		"DATA", "FILE", "WORKING-STORAGE", "LINKAGE", "LOCAL-STORAGE", "FD", "SD"
	};

	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
	{
		if (tap_copybook_accept(parser, alone[i]))
		{
			if (parser->token.kind == COPYBOOK_PERIOD)
				tap_copybook_advance(parser);
			return;
		}
	}
	for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++)
	{
		if (tap_copybook_is(parser, skipped[i]))
		{
			skip_sentence(parser);
			return;
		}
	}
	if (tap_copybook_is(parser, "COPY") || tap_copybook_is(parser, "REPLACE") ||
		tap_copybook_is(parser, "EXEC"))
		tap_copybook_fail(parser, parser->token.line, parser->token.column,
						  "Put the text that the compiler would see in its place.",
						  "%s is not followed", parser->token.text);
	tap_copybook_expected(parser, "a level number");
}

static void
take_all(CopybookParser *parser)
{
	TapCobolItem *last = NULL;

	tap_copybook_advance(parser);
	while (parser->token.kind != COPYBOOK_END)
	{
		long		level;

		if (parser->token.kind != COPYBOOK_NUMBER)
		{
			take_other_sentence(parser);
			continue;
		}
		level = strtol(parser->token.text, NULL, 10);
		if (level == LEVEL_RENAMES)
			skip_sentence(parser);
		else if (level == LEVEL_CONDITION)
			take_condition(parser, last);
		else if ((level >= 1 && level <= MOST_LEVEL) || level == COPYBOOK_LEVEL_SINGLE)
			last = take_item(parser, last, (int) level);
		else
			tap_copybook_expected(parser, "a level of 01 to 49, 66, 77 or 88");
	}
	if (last == NULL)
		tap_copybook_fail(parser, 1, 1, NULL, "the copybook describes no item");
}

TapCopybook *
tap_copybook_parse(const char *text, size_t length, const TapCobolLayout *layout,
				   TapCopybookError *error)
{
	CopybookParser parser;
	TapCopybook *volatile copybook;

	memset(error, 0, sizeof(*error));
	memset(&parser, 0, sizeof(parser));
	copybook = calloc(1, sizeof(TapCopybook));
	if (copybook == NULL)
	{
		error->no_memory = true;
		snprintf(error->message, sizeof(error->message), "out of memory");
		return NULL;
	}
	parser.copybook = copybook;
	parser.layout = layout;
	parser.error = error;
	if (setjmp(parser.escape) != 0)
	{
		tap_copybook_free(copybook);
		return NULL;
	}
	if (length > TAP_COPYBOOK_MOST_BYTES)
		tap_copybook_fail(&parser, 1, 1, NULL, "a copybook can have at most %d bytes",
						  TAP_COPYBOOK_MOST_BYTES);
	tap_copybook_unfold(&parser, text, length);
	take_all(&parser);
	tap_copybook_lay_out(&parser);
	return copybook;
}

void
tap_copybook_free(TapCopybook *copybook)
{
	CopybookBlock *block;

	if (copybook == NULL)
		return;
	while ((block = copybook->blocks) != NULL)
	{
		copybook->blocks = block->next;
		free(block);
	}
	free(copybook);
}

TapCobolItem *
tap_copybook_records(const TapCopybook *copybook)
{
	return copybook->records;
}
