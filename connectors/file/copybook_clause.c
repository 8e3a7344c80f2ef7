/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_clause.c
 *	  The clauses of an item, from PICTURE to OCCURS.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "copybook_private.h"

#define MOST_QUALIFIERS 49

static const struct
{
	const char *word;
	TapCobolUsage usage;
}			usages[] =

{
	{"DISPLAY", TAP_USAGE_DISPLAY},
	{"NATIONAL", TAP_USAGE_NATIONAL},
	{"DISPLAY-1", TAP_USAGE_DBCS},
	{"BINARY", TAP_USAGE_BINARY}, {"COMP", TAP_USAGE_BINARY}, {"COMP-4", TAP_USAGE_BINARY},
	{"COMPUTATIONAL", TAP_USAGE_BINARY}, {"COMPUTATIONAL-4", TAP_USAGE_BINARY},
	{"COMP-5", TAP_USAGE_NATIVE}, {"COMPUTATIONAL-5", TAP_USAGE_NATIVE},
	{"COMP-3", TAP_USAGE_PACKED}, {"COMPUTATIONAL-3", TAP_USAGE_PACKED},
	{"PACKED-DECIMAL", TAP_USAGE_PACKED},
	{"COMP-1", TAP_USAGE_FLOAT}, {"COMPUTATIONAL-1", TAP_USAGE_FLOAT},
	{"COMP-2", TAP_USAGE_DOUBLE}, {"COMPUTATIONAL-2", TAP_USAGE_DOUBLE},
	{"INDEX", TAP_USAGE_INDEX},
	{"POINTER", TAP_USAGE_POINTER}, {"POINTER-32", TAP_USAGE_POINTER},
};

#define NUSAGES (sizeof(usages) / sizeof(usages[0]))

static bool
take_usage(CopybookParser *parser, TapCobolItem *item)
{
	for (size_t i = 0; i < NUSAGES; i++)
	{
		if (!tap_copybook_is(parser, usages[i].word))
			continue;
		if (item->usage != TAP_USAGE_NONE && item->usage != usages[i].usage)
			tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
							  "an item cannot have two usages");
		item->usage = usages[i].usage;
		tap_copybook_advance(parser);
		tap_copybook_accept(parser, "NATIVE");
		return true;
	}
	return false;
}

static void
take_sign(CopybookParser *parser, TapCobolItem *item)
{
	tap_copybook_accept(parser, "IS");
	item->sign_given = true;
	item->sign_leading = tap_copybook_is(parser, "LEADING");
	if (!item->sign_leading && !tap_copybook_is(parser, "TRAILING"))
		tap_copybook_expected(parser, "LEADING or TRAILING");
	tap_copybook_advance(parser);
	if (tap_copybook_accept(parser, "SEPARATE"))
	{
		item->sign_separate = true;
		tap_copybook_accept(parser, "CHARACTER");
	}
}

static bool
begins_qualifier(const CopybookParser *parser)
{
	return tap_copybook_is(parser, "OF") || tap_copybook_is(parser, "IN");
}

/* DEPENDING ON: the name is looked for when all items are known. */
static void
take_depending(CopybookParser *parser, TapCobolItem *item)
{
	CopybookReference *reference = tap_copybook_get(parser, sizeof(CopybookReference));
	const char *names[MOST_QUALIFIERS];

	tap_copybook_accept(parser, "ON");
	reference->item = item;
	reference->line = parser->token.line;
	reference->column = parser->token.column;
	names[reference->nnames++] = tap_copybook_take_name(parser, "the name of an item");
	while (begins_qualifier(parser) && reference->nnames < MOST_QUALIFIERS)
	{
		tap_copybook_advance(parser);
		names[reference->nnames++] = tap_copybook_take_name(parser, "the name of a group");
	}
	reference->names = tap_copybook_get(parser, (size_t) reference->nnames * sizeof(char *));
	memcpy(reference->names, names, (size_t) reference->nnames * sizeof(char *));
	reference->next = parser->references;
	parser->references = reference;
}

bool
tap_copybook_begins_clause(const CopybookParser *parser)
{
	static const char *const words[] = {
		"PIC", "PICTURE", "USAGE", "VALUE", "VALUES", "SIGN", "SYNC", "SYNCHRONIZED", "BLANK",
		"JUST", "JUSTIFIED", "REDEFINES", "OCCURS", "INDEXED", "ASCENDING", "DESCENDING",
		"GLOBAL", "EXTERNAL", "LEADING", "TRAILING"
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		if (tap_copybook_is(parser, words[i]))
			return true;
	}
	for (size_t i = 0; i < NUSAGES; i++)
	{
		if (tap_copybook_is(parser, usages[i].word))
			return true;
	}
	return false;
}

static void
skip_names(CopybookParser *parser)
{
	while (parser->token.kind == COPYBOOK_WORD && !tap_copybook_begins_clause(parser))
		tap_copybook_advance(parser);
}

static void
take_occurs(CopybookParser *parser, TapCobolItem *item)
{
	const char *what = "the number of OCCURS";

	if (item->level == 1 || item->level == COPYBOOK_LEVEL_SINGLE)
		tap_copybook_fail(parser, item->line, item->column, NULL,
						  "level %02d cannot have OCCURS", item->level);
	item->occurs_max = tap_copybook_take_number(parser, TAP_COPYBOOK_MOST_RECORD, what);
	item->occurs_min = item->occurs_max;
	if (tap_copybook_accept(parser, "TO"))
		item->occurs_max = tap_copybook_take_number(parser, TAP_COPYBOOK_MOST_RECORD, what);
	if (item->occurs_max == 0 || item->occurs_max < item->occurs_min)
		tap_copybook_fail(parser, item->line, item->column, NULL,
						  "OCCURS must be at least once, and not less than its least number");
	tap_copybook_accept(parser, "TIMES");
	for (;;)
	{
		if (tap_copybook_accept(parser, "DEPENDING"))
			take_depending(parser, item);
		else if (tap_copybook_accept(parser, "ASCENDING") || tap_copybook_accept(parser, "DESCENDING"))
		{
			tap_copybook_accept(parser, "KEY");
			tap_copybook_accept(parser, "IS");
			skip_names(parser);
		}
		else if (tap_copybook_accept(parser, "INDEXED"))
		{
			tap_copybook_accept(parser, "BY");
			skip_names(parser);
		}
		else
			break;
	}
}

/* The item that is redefined: one before it at the same level. */
static void
take_redefines(CopybookParser *parser, TapCobolItem *item)
{
	TapCobolItem *sibling = item->parent ? item->parent->first : parser->copybook->records;
	TapCobolItem *found = NULL;
	int			line = parser->token.line;
	int			column = parser->token.column;
	const char *name = tap_copybook_take_name(parser, "the name of an item");

	for (; sibling != NULL && sibling != item; sibling = sibling->next)
	{
		if (sibling->name != NULL && strcmp(sibling->name, name) == 0)
			found = sibling;
	}
	if (found == NULL)
		tap_copybook_fail(parser, line, column,
						  "An item can redefine one that stands before it, with the same level in the same group.",
						  "%.60s cannot be redefined here", name);
	while (found->redefines != NULL)
		found = found->redefines;
	for (sibling = found->next; sibling != item; sibling = sibling->next)
	{
		if (sibling->redefines != found)
			tap_copybook_fail(parser, line, column, NULL,
							  "%.60s cannot be redefined here: another item stands in between", name);
	}
	if (found->occurs_max > 0)
		tap_copybook_fail(parser, line, column, NULL,
						  "%.60s cannot be redefined: it has OCCURS", name);
	item->redefines = found;
	found->redefined = true;
}

static void
skip_values(CopybookParser *parser)
{
	TapCobolLiteral literal;

	if (!tap_copybook_accept(parser, "IS"))
		tap_copybook_accept(parser, "ARE");
	do
	{
		tap_copybook_literal(parser, &literal);
		if (tap_copybook_accept(parser, "THRU") || tap_copybook_accept(parser, "THROUGH"))
			tap_copybook_literal(parser, &literal);
	} while (tap_copybook_is_literal(parser));
}

static void
take_picture(CopybookParser *parser, TapCobolItem *item)
{
	if (item->picture != NULL)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "an item cannot have two pictures");
	tap_copybook_advance_picture(parser);
	item->picture = parser->token.text;
	tap_copybook_picture(parser, item, parser->token.line, parser->token.column);
	tap_copybook_advance(parser);
}

static void
take_blank(CopybookParser *parser, TapCobolItem *item)
{
	tap_copybook_accept(parser, "WHEN");
	if (!tap_copybook_accept(parser, "ZERO") && !tap_copybook_accept(parser, "ZEROS") &&
		!tap_copybook_accept(parser, "ZEROES"))
		tap_copybook_expected(parser, "ZERO");
	item->blank_when_zero = true;
}

void
tap_copybook_take_clause(CopybookParser *parser, TapCobolItem *item)
{
	if (tap_copybook_is(parser, "PIC") || tap_copybook_is(parser, "PICTURE"))
		take_picture(parser, item);
	else if (tap_copybook_accept(parser, "USAGE"))
	{
		tap_copybook_accept(parser, "IS");
		if (!take_usage(parser, item))
			tap_copybook_expected(parser, "a usage that is known, such as COMP-3,");
	}
	else if (tap_copybook_accept(parser, "OCCURS"))
		take_occurs(parser, item);
	else if (tap_copybook_accept(parser, "REDEFINES"))
		take_redefines(parser, item);
	else if (tap_copybook_accept(parser, "VALUE") || tap_copybook_accept(parser, "VALUES"))
		skip_values(parser);
	else if (tap_copybook_accept(parser, "SIGN") || tap_copybook_is(parser, "LEADING") ||
			 tap_copybook_is(parser, "TRAILING"))
		take_sign(parser, item);
	else if (tap_copybook_accept(parser, "SYNC") || tap_copybook_accept(parser, "SYNCHRONIZED"))
	{
		item->synchronized = true;
		if (!tap_copybook_accept(parser, "LEFT"))
			tap_copybook_accept(parser, "RIGHT");
	}
	else if (tap_copybook_accept(parser, "JUST") || tap_copybook_accept(parser, "JUSTIFIED"))
	{
		item->justified = true;
		tap_copybook_accept(parser, "RIGHT");
	}
	else if (tap_copybook_accept(parser, "BLANK"))
		take_blank(parser, item);
	else if (tap_copybook_accept(parser, "GROUP-USAGE"))
	{
		tap_copybook_accept(parser, "IS");
		if (!tap_copybook_accept(parser, "NATIONAL"))
			tap_copybook_expected(parser, "NATIONAL");
	}
	else if (tap_copybook_accept(parser, "IS"))
		return;
	else if (!tap_copybook_accept(parser, "GLOBAL") && !tap_copybook_accept(parser, "EXTERNAL") &&
			 !take_usage(parser, item))
		tap_copybook_expected(parser, "a clause or a period");
}
