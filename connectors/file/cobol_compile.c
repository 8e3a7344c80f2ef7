/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_compile.c
 *	  From a copybook to the programme that reads its records.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cobol_private.h"

#define FIRST_OPS		64
#define MOST_INT64_DIGITS 18

static void compile_items(CobolCompiler *compiler, const TapCobolItem *first);

static void
fail_item(CobolCompiler *compiler, const TapCobolItem *item, const char *hint, const char *why)
{
	char		buffer[32];

	tap_copybook_fail(&compiler->parser, item->line, item->column, hint, "%.60s %s",
					  tap_copybook_name(item, buffer, sizeof(buffer)), why);
}

/* ---------------------------------------------------------------------
 * Fields and their types
 * ---------------------------------------------------------------------
 */

/* Digits that a binary number of so many bytes can have. */
static int
binary_digits(uint32_t bytes, bool is_signed)
{
	static const int most[] = {3, 5, 8, 10, 13, 15, 17, 20};

	return bytes == 8 && is_signed ? 19 : most[bytes - 1];
}

static TapCobolType
whole_number(int digits)
{
	if (digits <= 4)
		return TAP_COBOL_IS_SMALLINT;
	if (digits <= 9)
		return TAP_COBOL_IS_INT;
	return digits <= MOST_INT64_DIGITS ? TAP_COBOL_IS_BIGINT : TAP_COBOL_IS_NUMERIC;
}

/* The type of a binary number that may have all values of its bytes. */
static TapCobolType
whole_binary(uint32_t bytes, bool is_signed)
{
	uint32_t	needed = is_signed ? bytes : bytes + 1;

	if (needed <= 2)
		return TAP_COBOL_IS_SMALLINT;
	if (needed <= 4)
		return TAP_COBOL_IS_INT;
	return needed <= 8 ? TAP_COBOL_IS_BIGINT : TAP_COBOL_IS_NUMERIC;
}

static void
set_number(CobolCompiler *compiler, const TapCobolItem *item, TapCobolOp *op)
{
	int			digits = item->digits;

	op->scale = item->scale;
	op->whole_range = op->field == TAP_COBOL_BINARY &&
		(item->usage != TAP_USAGE_BINARY || compiler->wish->whole_range);
	if (op->whole_range)
		digits = binary_digits(item->bytes, item->is_signed);
	op->wide = op->whole_range ? item->bytes == 8 && !item->is_signed : digits > MOST_INT64_DIGITS;
	if (op->scale > 0)
	{
		op->type = TAP_COBOL_IS_NUMERIC;
		op->precision = digits > op->scale ? digits : op->scale;
	}
	else if (op->whole_range && op->scale == 0)
	{
		op->type = whole_binary(item->bytes, item->is_signed);
		op->precision = digits;
	}
	else
	{
		op->precision = digits - op->scale;
		op->type = whole_number(op->precision);
	}
}

void
tap_cobol_set_field(CobolCompiler *compiler, const TapCobolItem *item, TapCobolOp *op)
{
	op->kind = TAP_COBOL_FIELD;
	op->item = item;
	op->offset = item->offset;
	op->bytes = item->bytes;
	op->column = -1;
	op->label = -1;
	op->mark = -1;
	op->ebcdic = compiler->page->ebcdic;
	op->field = TAP_COBOL_TEXT;
	op->type = TAP_COBOL_IS_TEXT;
	if (item->first != NULL)
		return;
	switch (item->usage)
	{
		case TAP_USAGE_NATIONAL:
			op->field = TAP_COBOL_NATIONAL;
			return;
		case TAP_USAGE_DBCS:
			op->field = TAP_COBOL_DBCS;
			return;
		case TAP_USAGE_FLOAT:
		case TAP_USAGE_DOUBLE:
			op->field = TAP_COBOL_FLOAT;
			op->type = item->usage == TAP_USAGE_FLOAT ? TAP_COBOL_IS_REAL : TAP_COBOL_IS_DOUBLE;
			return;
		case TAP_USAGE_PACKED:
			op->field = TAP_COBOL_PACKED;
			break;
		case TAP_USAGE_BINARY:
		case TAP_USAGE_NATIVE:
		case TAP_USAGE_INDEX:
		case TAP_USAGE_POINTER:
			op->field = TAP_COBOL_BINARY;
			break;
		default:
			if (item->category != TAP_CATEGORY_NUMERIC)
				return;
			op->field = TAP_COBOL_ZONED;
	}
	set_number(compiler, item, op);
}

int
tap_cobol_mark(CobolCompiler *compiler, const TapCobolItem *item)
{
	TapCobolProgramme *programme = compiler->programme;

	if (compiler->mark_of[item->number] == 0)
	{
		programme->marks[programme->nmarks] = item;
		compiler->mark_of[item->number] = ++programme->nmarks;
	}
	return compiler->mark_of[item->number] - 1;
}

/* ---------------------------------------------------------------------
 * Operations and columns
 * ---------------------------------------------------------------------
 */

/* A new operation; it is valid until the next one is made. */
static TapCobolOp *
add_op(CobolCompiler *compiler, TapCobolOpKind kind, const TapCobolItem *item)
{
	TapCobolProgramme *programme = compiler->programme;
	TapCobolOp *op;

	if (programme->nops == compiler->allocated)
	{
		uint32_t	allocated = compiler->allocated ? compiler->allocated * 2 : FIRST_OPS;
		TapCobolOp *ops = tap_copybook_get(&compiler->parser, allocated * sizeof(TapCobolOp));

		if (programme->nops > 0)
			memcpy(ops, programme->ops, programme->nops * sizeof(TapCobolOp));
		programme->ops = ops;
		compiler->allocated = allocated;
	}
	op = &programme->ops[programme->nops++];
	tap_cobol_set_field(compiler, item, op);
	op->kind = kind;
	op->end = programme->nops;
	return op;
}

/* Whether two items of different records are the same one for a reader. */
static bool
same_item(const TapCobolItem *a, const TapCobolItem *b)
{
	return a->name != NULL && b->name != NULL && strcmp(a->name, b->name) == 0 &&
		a->offset == b->offset && a->bytes == b->bytes && a->usage == b->usage &&
		a->category == b->category && a->digits == b->digits && a->scale == b->scale &&
		a->is_signed == b->is_signed && a->sign_separate == b->sign_separate &&
		a->sign_leading == b->sign_leading;
}

static const TapCobolItem *
record_of(const TapCobolItem *item)
{
	while (item->parent != NULL)
		item = item->parent;
	return item;
}

/*
 * The column of an operation; records of several kinds have one in common for
 * what stands at the same place in them under the same name.
 */
static int
add_column(CobolCompiler *compiler, const TapCobolOp *op, TapCobolType type, bool array, bool label)
{
	TapCobolProgramme *programme = compiler->programme;
	TapCobolColumn *column;

	for (int i = 0; i < programme->ncolumns; i++)
	{
		column = &programme->columns[i];
		if (!array && !column->array && type != TAP_COBOL_IS_JSON && column->type == type &&
			column->label == label && same_item(column->item, op->item) &&
			record_of(column->item) != record_of(op->item))
			return i;
	}
	if (programme->ncolumns == COBOL_MOST_COLUMNS)
		fail_item(compiler, op->item, NULL, "would be more columns than the 1600 that a table can have");
	column = &programme->columns[programme->ncolumns];
	column->item = op->item;
	column->type = type;
	column->precision = op->precision;
	column->scale = op->scale > 0 ? op->scale : 0;
	column->array = array;
	column->label = label;
	return programme->ncolumns++;
}

static void
compile_mark(CobolCompiler *compiler, const TapCobolItem *item)
{
	int			mark = compiler->mark_of[item->number] - 1;

	if (mark >= 0)
		add_op(compiler, TAP_COBOL_MARK, item)->mark = mark;
}

static void
compile_field(CobolCompiler *compiler, const TapCobolItem *item, int array_column)
{
	TapCobolOp *op;
	const TapCobolLabel *labels = NULL;
	int			column = array_column;
	int			label = -1;
	bool		element = item->occurs_max > 0;
	uint32_t	at;

	if (item->name == NULL && !element)
		return;
	op = add_op(compiler, TAP_COBOL_FIELD, item);
	at = compiler->programme->nops - 1;
	if (!element && !compiler->in_json)
		column = add_column(compiler, op, op->type, false, false);
	if (!element && compiler->wish->labels && item->conditions != NULL)
	{
		labels = tap_cobol_labels(compiler, op);
		if (!compiler->in_json)
			label = add_column(compiler, op, TAP_COBOL_IS_TEXT, false, true);
	}
	op = &compiler->programme->ops[at];
	op->column = column;
	op->element = element;
	if (element)
		return;
	op->label = label;
	op->labels = labels;
	op->key = tap_cobol_key(compiler, item, "");
	op->label_key = labels ? tap_cobol_key(compiler, item, "-LABEL") : NULL;
}

/* The body of the operation is there. */
static void
end_body(CobolCompiler *compiler, uint32_t at)
{
	TapCobolOp *op = &compiler->programme->ops[at];

	op->end = compiler->programme->nops;
	if (op->of_groups || op->kind == TAP_COBOL_GROUP)
		tap_cobol_place_keys(compiler, at);
}

static void
compile_table(CobolCompiler *compiler, const TapCobolItem *item)
{
	uint32_t	at = compiler->programme->nops;
	TapCobolOp *op = add_op(compiler, TAP_COBOL_TABLE, item);
	bool		top = !compiler->in_json;

	op->least = item->occurs_min;
	op->most = item->occurs_max;
	op->of_groups = item->first != NULL;
	op->silent = item->name == NULL && !op->of_groups;
	op->key = tap_cobol_key(compiler, item, "");
	if (item->depending != NULL)
	{
		TapCobolOp	depends;

		memset(&depends, 0, sizeof(depends));
		tap_cobol_set_field(compiler, item->depending, &depends);
		op->mark = tap_cobol_mark(compiler, item->depending);
		op->field = depends.field;
		op->least = item->occurs_min == item->occurs_max ? 0 : item->occurs_min;
	}
	if (op->silent)
		return;
	if (op->of_groups)
	{
		if (top)
			op->column = add_column(compiler, op, TAP_COBOL_IS_JSON, false, false);
		compiler->in_json++;
		compile_items(compiler, item->first);
		compiler->in_json--;
	}
	else
	{
		if (top)
			op->column = add_column(compiler, op, op->type, true, false);
		compile_field(compiler, item, op->column);
	}
	end_body(compiler, at);
}

static void
compile_item(CobolCompiler *compiler, const TapCobolItem *item)
{
	uint32_t	at = compiler->programme->nops;

	compile_mark(compiler, item);
	if (item->occurs_max > 0)
		compile_table(compiler, item);
	else if (item->first == NULL)
		compile_field(compiler, item, -1);
	else if (compiler->in_json && item->name != NULL)
	{
		at = compiler->programme->nops;
		add_op(compiler, TAP_COBOL_GROUP, item)->key = tap_cobol_key(compiler, item, "");
		compile_items(compiler, item->first);
		end_body(compiler, at);
	}
	else
		compile_items(compiler, item->first);
}

static void
compile_case(CobolCompiler *compiler, const TapCobolItem *item, const TapCobolTest *test, bool record)
{
	uint32_t	at = compiler->programme->nops;
	TapCobolOp *op = add_op(compiler, TAP_COBOL_CASE, item);

	op->test = test;
	op->record = record;
	compile_item(compiler, item);
	compiler->programme->ops[at].end = compiler->programme->nops;
}

/* Items that share a place: each that was asked for, when it is there. */
static void
compile_union(CobolCompiler *compiler, const TapCobolItem *item)
{
	const TapCobolTest *others = NULL;

	for (const TapCobolItem *other = item->next; other && other->redefines == item; other = other->next)
	{
		const TapCobolTest *test = compiler->test_of[other->number];

		if (test != NULL && test->kind != COBOL_TRUE)
			others = tap_cobol_combine(compiler, false, others, test);
	}
	if (compiler->test_of[item->number] != NULL)
		compile_case(compiler, item, compiler->test_of[item->number], false);
	else if (others != NULL)
		compile_case(compiler, item, tap_cobol_not(compiler, others), false);
	else
		compile_case(compiler, item, tap_cobol_condition(compiler, "true"), false);
	for (const TapCobolItem *other = item->next; other && other->redefines == item; other = other->next)
	{
		if (compiler->test_of[other->number] != NULL)
			compile_case(compiler, other, compiler->test_of[other->number], false);
	}
}

static void
compile_items(CobolCompiler *compiler, const TapCobolItem *first)
{
	for (const TapCobolItem *item = first; item != NULL; item = item->next)
	{
		if (item->redefined)
			compile_union(compiler, item);
		else if (item->redefines == NULL)
			compile_item(compiler, item);
	}
}

/* ---------------------------------------------------------------------
 * Records
 * ---------------------------------------------------------------------
 */

static bool
is_wanted(const CobolCompiler *compiler, const TapCobolItem *record)
{
	char		buffer[32];

	if (compiler->wish->record != NULL)
		return strcasecmp(tap_copybook_name(record, buffer, sizeof(buffer)), compiler->wish->record) == 0;
	return record->level != 77;
}

static void
compile_records(CobolCompiler *compiler)
{
	const TapCobolItem *rest = NULL;
	const TapCobolTest *others = NULL;
	int			wanted = 0;

	for (const TapCobolItem *record = tap_copybook_records(compiler->parser.copybook); record; record = record->next)
	{
		const TapCobolTest *test = compiler->test_of[record->number];

		if (!is_wanted(compiler, record))
			continue;
		wanted++;
		if (record->bytes > compiler->programme->longest)
			compiler->programme->longest = record->bytes;
		if (test == NULL && rest != NULL)
			fail_item(compiler, record,
					  "Say by the option \"redefines\" when a record is which of them, or by \"record\" which one is wanted.",
					  "is not the only record of the copybook");
		if (test == NULL)
			rest = record;
		else
			others = tap_cobol_combine(compiler, false, others, test);
	}
	if (wanted == 0)
		tap_copybook_fail(&compiler->parser, 0, 0, NULL, "the copybook has no record %.60s",
						  compiler->wish->record ? compiler->wish->record : "of level 01");
	for (const TapCobolItem *record = tap_copybook_records(compiler->parser.copybook); record; record = record->next)
	{
		if (!is_wanted(compiler, record))
			continue;
		if (record != rest)
			compile_case(compiler, record, compiler->test_of[record->number], true);
		else
			compile_case(compiler, record,
						 others ? tap_cobol_not(compiler, others) : tap_cobol_condition(compiler, "true"), true);
	}
}

static void
take_redefines(CobolCompiler *compiler)
{
	const TapCobolWish *wish = compiler->wish;

	for (int i = 0; i < wish->nredefines; i++)
	{
		const TapCobolItem *item = tap_cobol_named(compiler, wish->redefines[i]);

		if (item->redefines == NULL && !item->redefined && item->parent != NULL)
			fail_item(compiler, item, NULL, "shares its place with no other item");
		compiler->test_of[item->number] = tap_cobol_condition(compiler, wish->conditions[i]);
	}
}

/* Items whose place is asked for by tables; others by conditions already. */
static void
mark_depended(CobolCompiler *compiler, const TapCobolItem *item)
{
	for (; item != NULL; item = item->next)
	{
		if (item->depending != NULL)
			tap_cobol_mark(compiler, item->depending);
		mark_depended(compiler, item->first);
	}
}

static void
compile(CobolCompiler *compiler)
{
	TapCobolProgramme *programme = tap_copybook_get(&compiler->parser, sizeof(TapCobolProgramme));
	size_t		nitems = (size_t) compiler->parser.copybook->nitems + 1;

	compiler->programme = programme;
	programme->slides = compiler->wish->slides;
	programme->marks = tap_copybook_get(&compiler->parser, nitems * sizeof(TapCobolItem *));
	programme->columns = tap_copybook_get(&compiler->parser, COBOL_MOST_COLUMNS * sizeof(TapCobolColumn));
	compiler->mark_of = tap_copybook_get(&compiler->parser, nitems * sizeof(int));
	compiler->test_of = tap_copybook_get(&compiler->parser, nitems * sizeof(TapCobolTest *));
	take_redefines(compiler);
	mark_depended(compiler, tap_copybook_records(compiler->parser.copybook));
	compile_records(compiler);
	if (programme->ncolumns == 0)
		tap_copybook_fail(&compiler->parser, 0, 0, NULL, "the copybook describes nothing but FILLER");
	tap_cobol_name_columns(compiler);
}

TapCobolProgramme *
tap_cobol_compile(TapCopybook *copybook, TapCodePage *page, const TapCobolWish *wish,
				  TapCopybookError *error)
{
	CobolCompiler compiler;

	memset(&compiler, 0, sizeof(compiler));
	memset(error, 0, sizeof(*error));
	compiler.parser.copybook = copybook;
	compiler.parser.error = error;
	compiler.page = page;
	compiler.wish = wish;
	if (setjmp(compiler.parser.escape) != 0)
		return NULL;
	compile(&compiler);
	return compiler.programme;
}
