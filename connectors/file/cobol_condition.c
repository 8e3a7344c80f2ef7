/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_condition.c
 *	  Conditions of COBOL: which of the items that share a place is there.
 *
 * A condition is written as in COBOL: comparisons of an item with literals,
 * names of level 88, AND, OR, NOT and parentheses; "REC-TYPE = 'A' OR 'B'"
 * is understood too.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <string.h>

#include "cobol_private.h"

#define MOST_QUALIFIERS 49

static const TapCobolTest *take_or(CobolCompiler *compiler, int depth);

static bool
is_token(const CobolCompiler *compiler, CopybookTokenKind kind, const char *text)
{
	return compiler->parser.token.kind == kind && strcmp(compiler->parser.token.text, text) == 0;
}

static bool
take_token(CobolCompiler *compiler, CopybookTokenKind kind, const char *text)
{
	if (!is_token(compiler, kind, text))
		return false;
	tap_copybook_advance(&compiler->parser);
	return true;
}

static void
fail(CobolCompiler *compiler, const char *why)
{
	if (compiler->condition != NULL)
		tap_copybook_fail(&compiler->parser, compiler->item->line, compiler->item->column, NULL,
						  "the condition %.60s has %s", compiler->condition->name, why);
	tap_copybook_fail(&compiler->parser, 0, compiler->parser.token.column,
					  "A condition looks like REC-TYPE = 'B' AND NOT (LEN > 10 OR IS-OLD).",
					  "%s in a condition at character %d", why, compiler->parser.token.column);
}

static TapCobolTest *
make(CobolCompiler *compiler, CobolTestKind kind, const TapCobolTest *left, const TapCobolTest *right)
{
	TapCobolTest *test = tap_copybook_get(&compiler->parser, sizeof(TapCobolTest));

	test->kind = kind;
	test->left = left;
	test->right = right;
	return test;
}

/* The longer one, made before, stands on the right: see tap_cobol_test(). */
const TapCobolTest *
tap_cobol_combine(CobolCompiler *compiler, bool both, const TapCobolTest *before, const TapCobolTest *test)
{
	if (before == NULL || test == NULL)
		return before ? before : test;
	return make(compiler, both ? COBOL_AND : COBOL_OR, test, before);
}

const TapCobolTest *
tap_cobol_not(CobolCompiler *compiler, const TapCobolTest *test)
{
	return make(compiler, COBOL_NOT, test, NULL);
}

/* ---------------------------------------------------------------------
 * Literals
 * ---------------------------------------------------------------------
 */

/* A number as the digits of an item have it. */
static int64_t
scaled(CobolCompiler *compiler, const TapCobolLiteral *literal, int scale)
{
	const char *c = literal->text;
	bool		negative = *c == '-';
	bool		point = false;
	int			behind = 0;
	int64_t		value = 0;

	for (c += (*c == '+' || *c == '-'); *c != '\0' || behind < scale; c += *c != '\0')
	{
		if (*c == '.')
		{
			point = true;
			continue;
		}
		if (value > (INT64_MAX - 9) / 10)
			fail(compiler, "a number with too many digits");
		if (*c != '\0' && point && behind >= scale && *c != '0')
			fail(compiler, "a number with more digits behind the point than the item has");
		if (*c == '\0' || behind < scale || !point)
			value = value * 10 + (*c != '\0' ? *c - '0' : 0);
		behind += point || *c == '\0';
	}
	/* zeros that P stands for are not in the record */
	for (; scale < 0; scale++)
	{
		if (value % 10 != 0)
			fail(compiler, "a number that the picture of the item has no digits for");
		value /= 10;
	}
	return negative ? -value : value;
}

static void
fill(uint8_t *bytes, size_t size, const uint8_t *with, size_t length)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = with[i % length];
}

/* What the bytes of an item are when a text of this value was moved there. */
static const uint8_t *
pattern(CobolCompiler *compiler, const TapCobolLiteral *literal, uint32_t size)
{
	static const uint8_t low = 0x00;
	static const uint8_t high = 0xff;
	uint8_t    *bytes = tap_copybook_get(&compiler->parser, size);
	uint8_t    *text;
	long		length;

	fill(bytes, size, &compiler->page->space, 1);
	switch (literal->kind)
	{
		case TAP_LITERAL_SPACES:
			return bytes;
		case TAP_LITERAL_ZEROS:
			fill(bytes, size, &compiler->page->zero, 1);
			return bytes;
		case TAP_LITERAL_LOW:
			fill(bytes, size, &low, 1);
			return bytes;
		case TAP_LITERAL_HIGH:
			fill(bytes, size, &high, 1);
			return bytes;
		default:
			break;
	}
	text = tap_copybook_get(&compiler->parser, literal->length * 2 + TAP_CODE_PAGE_EXTRA);
	if (literal->kind == TAP_LITERAL_HEX)
		memcpy(text, literal->text, (size_t) (length = (long) literal->length));
	else
		length = tap_code_page_encode(compiler->page, literal->text, literal->length, text,
									  literal->length * 2 + TAP_CODE_PAGE_EXTRA);
	if (length < 0)
		fail(compiler, "a character that is not in the code page");
	if (literal->all && length > 0)
		fill(bytes, size, text, (size_t) length);
	else
	{
		if ((size_t) length > size)
			fail(compiler, "a literal that is longer than the item");
		memcpy(bytes, text, (size_t) length);
	}
	return bytes;
}

static void
set_end(CobolCompiler *compiler, TapCobolTest *test, const TapCobolLiteral *literal, bool high)
{
	TapCobolLiteral zero = {TAP_LITERAL_NUMBER, "0", 1, false};

	if (test->number)
		*(high ? &test->high : &test->low) =
			scaled(compiler, literal->kind == TAP_LITERAL_ZEROS ? &zero : literal, test->field.scale);
	else
		*(high ? &test->high_bytes : &test->low_bytes) =
			pattern(compiler, literal, test->field.bytes);
	*(high ? &test->below : &test->above) = true;
}

/* A test without ends: of numbers if item and literal are such. */
static TapCobolTest *
make_range(CobolCompiler *compiler, const TapCobolItem *item, const TapCobolLiteral *literal)
{
	TapCobolTest *test = make(compiler, COBOL_RANGE, NULL, NULL);

	tap_cobol_set_field(compiler, item, &test->field);
	if (test->field.field == TAP_COBOL_NATIONAL || test->field.field == TAP_COBOL_DBCS ||
		test->field.field == TAP_COBOL_FLOAT || test->field.wide)
		fail(compiler, "an item of a kind that cannot be compared");
	test->number = item->category == TAP_CATEGORY_NUMERIC && item->first == NULL &&
		(literal->kind == TAP_LITERAL_NUMBER || literal->kind == TAP_LITERAL_ZEROS);
	if (!test->number && (test->field.field == TAP_COBOL_PACKED || test->field.field == TAP_COBOL_BINARY) &&
		literal->kind == TAP_LITERAL_TEXT)
		fail(compiler, "a text that is compared with a number");
	return test;
}

/* The tests of a condition's values (level 88). */
static const TapCobolTest *
test_of_values(CobolCompiler *compiler, const TapCobolItem *item, const TapCobolCondition *condition)
{
	const TapCobolTest *all = NULL;

	compiler->condition = condition;
	compiler->item = item;
	for (const TapCobolRange *range = condition->ranges; range != NULL; range = range->next)
	{
		TapCobolTest *test = make_range(compiler, item, &range->low);

		set_end(compiler, test, &range->low, false);
		set_end(compiler, test, &range->high, true);
		all = tap_cobol_combine(compiler, false, all, test);
	}
	compiler->condition = NULL;
	return all;
}

const TapCobolLabel *
tap_cobol_labels(CobolCompiler *compiler, const TapCobolOp *op)
{
	TapCobolLabel *first = NULL;
	TapCobolLabel **next = &first;

	for (const TapCobolCondition *condition = op->item->conditions; condition; condition = condition->next)
	{
		TapCobolLabel *label = tap_copybook_get(&compiler->parser, sizeof(TapCobolLabel));

		label->name = condition->name;
		label->test = test_of_values(compiler, op->item, condition);
		*next = label;
		next = &label->next;
	}
	return first;
}

/* ---------------------------------------------------------------------
 * The text of a condition
 * ---------------------------------------------------------------------
 */

/* Let the parser read a text of the user. */
static void
begin_text(CobolCompiler *compiler, const char *text)
{
	static const TapCobolLayout free_form = {.form = TAP_COPYBOOK_FREE};

	compiler->parser.layout = &free_form;
	compiler->parser.length = 0;
	compiler->parser.npieces = 0;
	compiler->parser.next = 0;
	tap_copybook_unfold(&compiler->parser, text, strlen(text));
	tap_copybook_advance(&compiler->parser);
}

/* A name, and OF or IN groups. */
static const TapCobolItem *
take_item(CobolCompiler *compiler)
{
	CopybookParser *parser = &compiler->parser;
	const char *names[MOST_QUALIFIERS];
	int			nnames = 0;
	TapCobolItem *item;
	int			count;

	do
	{
		if (parser->token.kind != COPYBOOK_WORD && parser->token.kind != COPYBOOK_NUMBER)
			fail(compiler, "something that is no name of an item");
		names[nnames++] = parser->token.text;
		tap_copybook_advance(parser);
	} while (nnames < MOST_QUALIFIERS &&
			 (take_token(compiler, COPYBOOK_WORD, "OF") || take_token(compiler, COPYBOOK_WORD, "IN")));
	item = tap_copybook_find(parser->copybook, names, nnames, &count);
	if (count == 0)
		tap_copybook_fail(parser, 0, 0, NULL, "the copybook has no item %.60s", names[0]);
	if (count > 1)
		tap_copybook_fail(parser, 0, 0, "Qualify it: name OF group.",
						  "the copybook has more than one item %.60s", names[0]);
	return item;
}

const TapCobolItem *
tap_cobol_named(CobolCompiler *compiler, const char *text)
{
	const TapCobolItem *item;

	begin_text(compiler, text);
	item = take_item(compiler);
	if (compiler->parser.token.kind != COPYBOOK_END)
		fail(compiler, "something behind the name of an item");
	return item;
}

/* item OPERATOR literal */
static const TapCobolTest *
take_comparison(CobolCompiler *compiler, const TapCobolItem *item, const char *operator)
{
	TapCobolLiteral literal;
	TapCobolTest *test;
	bool		negated = strcmp(operator, "<>") == 0;

	if (!tap_copybook_is_literal(&compiler->parser))
		fail(compiler, "something that is no literal");
	tap_copybook_literal(&compiler->parser, &literal);
	test = make_range(compiler, item, &literal);
	test->mark = tap_cobol_mark(compiler, item);
	if (operator[0] != '<' || negated)
		set_end(compiler, test, &literal, false);
	if (operator[0] != '>')
		set_end(compiler, test, &literal, true);
	test->low_open = strcmp(operator, ">") == 0;
	test->high_open = strcmp(operator, "<") == 0;
	return negated ? tap_cobol_not(compiler, test) : test;
}

static const char *
take_operator(CobolCompiler *compiler)
{
	const char *operator = compiler->parser.token.text;

	if (take_token(compiler, COPYBOOK_WORD, "NOT"))
	{
		if (!take_token(compiler, COPYBOOK_OPERATOR, "="))
			fail(compiler, "NOT without =");
		return "<>";
	}
	if (compiler->parser.token.kind != COPYBOOK_OPERATOR || strchr("()", operator[0]) != NULL)
		fail(compiler, "no comparison behind an item");
	tap_copybook_advance(&compiler->parser);
	return operator;
}

/* A comparison; OR literal goes on with its item and operator. */
static const TapCobolTest *
take_relation(CobolCompiler *compiler)
{
	const TapCobolItem *item = take_item(compiler);
	const char *operator = take_operator(compiler);
	const TapCobolTest *test = take_comparison(compiler, item, operator);

	while (is_token(compiler, COPYBOOK_WORD, "OR"))
	{
		size_t		next = compiler->parser.next;
		CopybookToken token = compiler->parser.token;

		tap_copybook_advance(&compiler->parser);
		if (!tap_copybook_is_literal(&compiler->parser))
		{
			compiler->parser.next = next;
			compiler->parser.token = token;
			break;
		}
		test = tap_cobol_combine(compiler, strcmp(operator, "<>") == 0, test,
								 take_comparison(compiler, item, operator));
	}
	return test;
}

/* The marks of tests that were made for values elsewhere. */
static void
set_marks(const TapCobolTest *test, int mark)
{
	for (; test->kind != COBOL_RANGE; test = test->right)
		set_marks(test->left, mark);
	((TapCobolTest *) (uintptr_t) test)->mark = mark;
}

static const TapCobolTest *
take_primary(CobolCompiler *compiler, int depth)
{
	const TapCobolCondition *condition;
	const TapCobolTest *test;
	TapCobolItem *item;

	if (depth > COBOL_MOST_DEPTH)
		fail(compiler, "too many parentheses");
	if (take_token(compiler, COPYBOOK_WORD, "NOT"))
		return tap_cobol_not(compiler, take_primary(compiler, depth + 1));
	if (take_token(compiler, COPYBOOK_OPERATOR, "("))
	{
		test = take_or(compiler, depth + 1);
		if (!take_token(compiler, COPYBOOK_OPERATOR, ")"))
			fail(compiler, "no closing parenthesis");
		return test;
	}
	condition = tap_copybook_condition(compiler->parser.copybook, compiler->parser.token.text, &item);
	if (compiler->parser.token.kind != COPYBOOK_WORD || condition == NULL)
		return take_relation(compiler);
	tap_copybook_advance(&compiler->parser);
	test = test_of_values(compiler, item, condition);
	set_marks(test, tap_cobol_mark(compiler, item));
	return test;
}

static const TapCobolTest *
take_and(CobolCompiler *compiler, int depth)
{
	const TapCobolTest *test = take_primary(compiler, depth);

	while (take_token(compiler, COPYBOOK_WORD, "AND"))
		test = tap_cobol_combine(compiler, true, test, take_primary(compiler, depth));
	return test;
}

static const TapCobolTest *
take_or(CobolCompiler *compiler, int depth)
{
	const TapCobolTest *test = take_and(compiler, depth);

	while (take_token(compiler, COPYBOOK_WORD, "OR"))
		test = tap_cobol_combine(compiler, false, test, take_and(compiler, depth));
	return test;
}

const TapCobolTest *
tap_cobol_condition(CobolCompiler *compiler, const char *text)
{
	const TapCobolTest *test;

	if (strcmp(text, "true") == 0)
		return make(compiler, COBOL_TRUE, NULL, NULL);
	begin_text(compiler, text);
	test = take_or(compiler, 0);
	if (compiler->parser.token.kind != COPYBOOK_END)
		fail(compiler, "something that was not expected");
	return test;
}

/* ---------------------------------------------------------------------
 * Evaluation
 * ---------------------------------------------------------------------
 */

/* How the value relates to an end of the range: as memcmp() says it. */
static int
compare(const TapCobolTest *test, const uint8_t *data, bool high, int64_t value)
{
	if (test->number)
	{
		int64_t		end = high ? test->high : test->low;

		return (value > end) - (value < end);
	}
	return memcmp(data, high ? test->high_bytes : test->low_bytes, test->field.bytes);
}

static bool
in_range(const TapCobolTest *test, const TapCobolRun *run, const uint8_t *data)
{
	int64_t		value = 0;
	int			order;

	if (data == NULL)
	{
		int64_t		at = run->marks[test->mark];

		if (at < 0 || at + (int64_t) test->field.bytes > (int64_t) run->length)
			return false;
		data = run->data + at;
	}
	if (test->number && tap_cobol_integer(&test->field, data, &value) != TAP_NUMBER_OK)
		return false;
	if (test->above)
	{
		order = compare(test, data, false, value);
		if (order < 0 || (order == 0 && test->low_open))
			return false;
	}
	if (test->below)
	{
		order = compare(test, data, true, value);
		if (order > 0 || (order == 0 && test->high_open))
			return false;
	}
	return true;
}

/* Chains go to the right, without end, so that only depth takes stack. */
bool
tap_cobol_test(const TapCobolTest *test, const TapCobolRun *run, const uint8_t *data)
{
	for (;;)
	{
		switch (test->kind)
		{
			case COBOL_AND:
				if (!tap_cobol_test(test->left, run, data))
					return false;
				break;
			case COBOL_OR:
				if (tap_cobol_test(test->left, run, data))
					return true;
				break;
			case COBOL_NOT:
				return !tap_cobol_test(test->left, run, data);
			case COBOL_TRUE:
				return true;
			case COBOL_RANGE:
				return in_range(test, run, data);
		}
		test = test->right;
	}
}
