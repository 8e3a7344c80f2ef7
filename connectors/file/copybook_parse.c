/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_parse.c
 *	  From the words of a copybook to its items.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copybook_private.h"

#define LEVEL_RENAMES	66
#define LEVEL_SINGLE	77
#define LEVEL_CONDITION 88
#define MOST_LEVEL		49
#define MOST_QUALIFIERS 49
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
 * Words
 * ---------------------------------------------------------------------
 */

static bool
is_word(const CopybookParser *parser, const char *word)
{
	return parser->token.kind == COPYBOOK_WORD && strcmp(parser->token.text, word) == 0;
}

/* Go behind a word if it is the next one. */
static bool
take_word(CopybookParser *parser, const char *word)
{
	if (!is_word(parser, word))
		return false;
	tap_copybook_advance(parser);
	return true;
}

static void
fail_here(CopybookParser *parser, const char *expected)
{
	if (parser->token.kind == COPYBOOK_END)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "the copybook ends where %s was expected", expected);
	tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
					  "\"%.60s\" stands where %s was expected", parser->token.text, expected);
}

static const char *
take_name(CopybookParser *parser, const char *what)
{
	const char *name = parser->token.text;

	if (parser->token.kind != COPYBOOK_WORD && parser->token.kind != COPYBOOK_NUMBER)
		fail_here(parser, what);
	tap_copybook_advance(parser);
	return name;
}

/* A whole number that is not more than most. */
static uint32_t
take_number(CopybookParser *parser, uint32_t most, const char *what)
{
	uint64_t	value = 0;

	if (parser->token.kind != COPYBOOK_NUMBER)
		fail_here(parser, what);
	for (const char *c = parser->token.text; *c; c++)
	{
		if (!isdigit((unsigned char) *c))
			fail_here(parser, what);
		value = value * 10 + (uint64_t) (*c - '0');
		if (value > most)
			tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
							  "%s must not be more than %u", what, most);
	}
	tap_copybook_advance(parser);
	return (uint32_t) value;
}

static void
skip_sentence(CopybookParser *parser)
{
	while (parser->token.kind != COPYBOOK_PERIOD && parser->token.kind != COPYBOOK_END)
		tap_copybook_advance(parser);
	if (parser->token.kind == COPYBOOK_PERIOD)
		tap_copybook_advance(parser);
}

/* ---------------------------------------------------------------------
 * Literals
 * ---------------------------------------------------------------------
 */

static const struct
{
	const char *word;
	TapCobolLiteralKind kind;
}			figuratives[] =

{
	{"SPACE", TAP_LITERAL_SPACES}, {"SPACES", TAP_LITERAL_SPACES},
	{"ZERO", TAP_LITERAL_ZEROS}, {"ZEROS", TAP_LITERAL_ZEROS}, {"ZEROES", TAP_LITERAL_ZEROS},
	{"LOW-VALUE", TAP_LITERAL_LOW}, {"LOW-VALUES", TAP_LITERAL_LOW},
	{"NULL", TAP_LITERAL_LOW}, {"NULLS", TAP_LITERAL_LOW},
	{"HIGH-VALUE", TAP_LITERAL_HIGH}, {"HIGH-VALUES", TAP_LITERAL_HIGH},
};

#define NFIGURATIVES (sizeof(figuratives) / sizeof(figuratives[0]))

static int
figurative_of(const CopybookParser *parser)
{
	for (size_t i = 0; i < NFIGURATIVES; i++)
	{
		if (is_word(parser, figuratives[i].word))
			return (int) i;
	}
	return -1;
}

bool
tap_copybook_is_literal(const CopybookParser *parser)
{
	return parser->token.kind == COPYBOOK_LITERAL || parser->token.kind == COPYBOOK_HEX ||
		parser->token.kind == COPYBOOK_NUMBER || is_word(parser, "ALL") ||
		is_word(parser, "QUOTE") || is_word(parser, "QUOTES") || figurative_of(parser) >= 0;
}

void
tap_copybook_literal(CopybookParser *parser, TapCobolLiteral *literal)
{
	int			figurative;

	memset(literal, 0, sizeof(*literal));
	literal->all = take_word(parser, "ALL");
	literal->text = parser->token.text;
	literal->length = parser->token.length;
	figurative = figurative_of(parser);
	if (figurative >= 0)
		literal->kind = figuratives[figurative].kind;
	else if (is_word(parser, "QUOTE") || is_word(parser, "QUOTES"))
	{
		literal->kind = TAP_LITERAL_TEXT;
		literal->text = "\"";
		literal->length = 1;
		literal->all = true;
	}
	else if (parser->token.kind == COPYBOOK_LITERAL)
		literal->kind = TAP_LITERAL_TEXT;
	else if (parser->token.kind == COPYBOOK_HEX)
		literal->kind = TAP_LITERAL_HEX;
	else if (parser->token.kind == COPYBOOK_NUMBER)
		literal->kind = TAP_LITERAL_NUMBER;
	else
		fail_here(parser, "a literal");
	if (literal->all && literal->length == 0)
		fail_here(parser, "a literal that is not empty");
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
		if (take_word(parser, "THRU") || take_word(parser, "THROUGH"))
		{
			tap_copybook_literal(parser, &range->high);
			range->through = true;
		}
		*next = range;
		next = &range->next;
	} while (tap_copybook_is_literal(parser));
	return first;
}

/* ---------------------------------------------------------------------
 * Clauses
 * ---------------------------------------------------------------------
 */

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
		if (!is_word(parser, usages[i].word))
			continue;
		if (item->usage != TAP_USAGE_NONE && item->usage != usages[i].usage)
			tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
							  "an item cannot have two usages");
		item->usage = usages[i].usage;
		tap_copybook_advance(parser);
		take_word(parser, "NATIVE");
		return true;
	}
	return false;
}

static void
take_sign(CopybookParser *parser, TapCobolItem *item)
{
	take_word(parser, "IS");
	item->sign_given = true;
	item->sign_leading = is_word(parser, "LEADING");
	if (!item->sign_leading && !is_word(parser, "TRAILING"))
		fail_here(parser, "LEADING or TRAILING");
	tap_copybook_advance(parser);
	if (take_word(parser, "SEPARATE"))
	{
		item->sign_separate = true;
		take_word(parser, "CHARACTER");
	}
}

static bool
begins_qualifier(const CopybookParser *parser)
{
	return is_word(parser, "OF") || is_word(parser, "IN");
}

/* DEPENDING ON: the name is looked for when all items are known. */
static void
take_depending(CopybookParser *parser, TapCobolItem *item)
{
	CopybookReference *reference = tap_copybook_get(parser, sizeof(CopybookReference));
	const char *names[MOST_QUALIFIERS];

	take_word(parser, "ON");
	reference->item = item;
	reference->line = parser->token.line;
	reference->column = parser->token.column;
	names[reference->nnames++] = take_name(parser, "the name of an item");
	while (begins_qualifier(parser) && reference->nnames < MOST_QUALIFIERS)
	{
		tap_copybook_advance(parser);
		names[reference->nnames++] = take_name(parser, "the name of a group");
	}
	reference->names = tap_copybook_get(parser, (size_t) reference->nnames * sizeof(char *));
	memcpy(reference->names, names, (size_t) reference->nnames * sizeof(char *));
	reference->next = parser->references;
	parser->references = reference;
}

/* Whether a word begins another clause, so that it cannot be a name. */
static bool
begins_clause(const CopybookParser *parser)
{
	static const char *const words[] = {
		"PIC", "PICTURE", "USAGE", "VALUE", "VALUES", "SIGN", "SYNC", "SYNCHRONIZED", "BLANK",
		"JUST", "JUSTIFIED", "REDEFINES", "OCCURS", "INDEXED", "ASCENDING", "DESCENDING",
		"GLOBAL", "EXTERNAL", "LEADING", "TRAILING"
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		if (is_word(parser, words[i]))
			return true;
	}
	for (size_t i = 0; i < NUSAGES; i++)
	{
		if (is_word(parser, usages[i].word))
			return true;
	}
	return false;
}

static void
skip_names(CopybookParser *parser)
{
	while (parser->token.kind == COPYBOOK_WORD && !begins_clause(parser))
		tap_copybook_advance(parser);
}

static void
take_occurs(CopybookParser *parser, TapCobolItem *item)
{
	const char *what = "the number of OCCURS";

	if (item->level == 1 || item->level == LEVEL_SINGLE)
		tap_copybook_fail(parser, item->line, item->column, NULL,
						  "level %02d cannot have OCCURS", item->level);
	item->occurs_max = take_number(parser, TAP_COPYBOOK_MOST_RECORD, what);
	item->occurs_min = item->occurs_max;
	if (take_word(parser, "TO"))
		item->occurs_max = take_number(parser, TAP_COPYBOOK_MOST_RECORD, what);
	if (item->occurs_max == 0 || item->occurs_max < item->occurs_min)
		tap_copybook_fail(parser, item->line, item->column, NULL,
						  "OCCURS must be at least once, and not less than its least number");
	take_word(parser, "TIMES");
	for (;;)
	{
		if (take_word(parser, "DEPENDING"))
			take_depending(parser, item);
		else if (take_word(parser, "ASCENDING") || take_word(parser, "DESCENDING"))
		{
			take_word(parser, "KEY");
			take_word(parser, "IS");
			skip_names(parser);
		}
		else if (take_word(parser, "INDEXED"))
		{
			take_word(parser, "BY");
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
	const char *name = take_name(parser, "the name of an item");

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

	if (!take_word(parser, "IS"))
		take_word(parser, "ARE");
	do
	{
		tap_copybook_literal(parser, &literal);
		if (take_word(parser, "THRU") || take_word(parser, "THROUGH"))
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
	take_word(parser, "WHEN");
	if (!take_word(parser, "ZERO") && !take_word(parser, "ZEROS") && !take_word(parser, "ZEROES"))
		fail_here(parser, "ZERO");
	item->blank_when_zero = true;
}

static void
take_clause(CopybookParser *parser, TapCobolItem *item)
{
	if (is_word(parser, "PIC") || is_word(parser, "PICTURE"))
		take_picture(parser, item);
	else if (take_word(parser, "USAGE"))
	{
		take_word(parser, "IS");
		if (!take_usage(parser, item))
			fail_here(parser, "a usage that is known, such as COMP-3,");
	}
	else if (take_word(parser, "OCCURS"))
		take_occurs(parser, item);
	else if (take_word(parser, "REDEFINES"))
		take_redefines(parser, item);
	else if (take_word(parser, "VALUE") || take_word(parser, "VALUES"))
		skip_values(parser);
	else if (take_word(parser, "SIGN") || is_word(parser, "LEADING") || is_word(parser, "TRAILING"))
		take_sign(parser, item);
	else if (take_word(parser, "SYNC") || take_word(parser, "SYNCHRONIZED"))
	{
		item->synchronized = true;
		if (!take_word(parser, "LEFT"))
			take_word(parser, "RIGHT");
	}
	else if (take_word(parser, "JUST") || take_word(parser, "JUSTIFIED"))
	{
		item->justified = true;
		take_word(parser, "RIGHT");
	}
	else if (take_word(parser, "BLANK"))
		take_blank(parser, item);
	else if (take_word(parser, "GROUP-USAGE"))
	{
		take_word(parser, "IS");
		if (!take_word(parser, "NATIONAL"))
			fail_here(parser, "NATIONAL");
	}
	else if (take_word(parser, "IS"))
		return;
	else if (!take_word(parser, "GLOBAL") && !take_word(parser, "EXTERNAL") && !take_usage(parser, item))
		fail_here(parser, "a clause or a period");
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

	if (level == 1 || level == LEVEL_SINGLE)
		return NULL;
	while (group != NULL && (group->level >= level || group->level == LEVEL_SINGLE))
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
take_condition(CopybookParser *parser, TapCobolItem *item)
{
	TapCobolCondition *condition;
	TapCobolCondition **next;

	if (item == NULL)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "level 88 needs an item before it");
	tap_copybook_advance(parser);
	condition = tap_copybook_get(parser, sizeof(TapCobolCondition));
	condition->name = take_name(parser, "the name of a condition");
	if (!take_word(parser, "VALUE") && !take_word(parser, "VALUES"))
		fail_here(parser, "VALUE");
	if (!take_word(parser, "IS"))
		take_word(parser, "ARE");
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
	if (!take_word(parser, "FILLER") && !begins_clause(parser) &&
		parser->token.kind != COPYBOOK_PERIOD)
		item->name = take_name(parser, "the name of an item");
	if (item->name == NULL)
		item->filler = ++parser->copybook->nfillers;
	while (parser->token.kind != COPYBOOK_PERIOD)
	{
		if (parser->token.kind == COPYBOOK_END)
			fail_here(parser, "a period");
		take_clause(parser, item);
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
		if (take_word(parser, alone[i]))
		{
			if (parser->token.kind == COPYBOOK_PERIOD)
				tap_copybook_advance(parser);
			return;
		}
	}
	for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++)
	{
		if (is_word(parser, skipped[i]))
		{
			skip_sentence(parser);
			return;
		}
	}
	if (is_word(parser, "COPY") || is_word(parser, "REPLACE") || is_word(parser, "EXEC"))
		tap_copybook_fail(parser, parser->token.line, parser->token.column,
						  "Put the text that the compiler would see in its place.",
						  "%s is not followed", parser->token.text);
	fail_here(parser, "a level number");
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
		else if ((level >= 1 && level <= MOST_LEVEL) || level == LEVEL_SINGLE)
			last = take_item(parser, last, (int) level);
		else
			fail_here(parser, "a level of 01 to 49, 66, 77 or 88");
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
		tap_copybook_fail(&parser, 1, 1, NULL, "a copybook can have at most %d bytes", TAP_COPYBOOK_MOST_BYTES);
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
