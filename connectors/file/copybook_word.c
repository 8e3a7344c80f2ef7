/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_word.c
 *	  What a copybook is made of: keywords, names, numbers and literals.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <string.h>

#include "copybook_private.h"

/* ---------------------------------------------------------------------
 * Words
 * ---------------------------------------------------------------------
 */

bool
tap_copybook_is(const CopybookParser *parser, const char *word)
{
	return parser->token.kind == COPYBOOK_WORD && strcmp(parser->token.text, word) == 0;
}

bool
tap_copybook_accept(CopybookParser *parser, const char *word)
{
	if (!tap_copybook_is(parser, word))
		return false;
	tap_copybook_advance(parser);
	return true;
}

void
tap_copybook_expected(CopybookParser *parser, const char *expected)
{
	if (parser->token.kind == COPYBOOK_END)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "the copybook ends where %s was expected", expected);
	tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
					  "\"%.60s\" stands where %s was expected", parser->token.text, expected);
}

const char *
tap_copybook_take_name(CopybookParser *parser, const char *what)
{
	const char *name = parser->token.text;

	if (parser->token.kind != COPYBOOK_WORD && parser->token.kind != COPYBOOK_NUMBER)
		tap_copybook_expected(parser, what);
	tap_copybook_advance(parser);
	return name;
}

uint32_t
tap_copybook_take_number(CopybookParser *parser, uint32_t most, const char *what)
{
	uint64_t	value = 0;

	if (parser->token.kind != COPYBOOK_NUMBER)
		tap_copybook_expected(parser, what);
	for (const char *c = parser->token.text; *c; c++)
	{
		if (!isdigit((unsigned char) *c))
			tap_copybook_expected(parser, what);
		value = value * 10 + (uint64_t) (*c - '0');
		if (value > most)
			tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
							  "%s must not be more than %u", what, most);
	}
	tap_copybook_advance(parser);
	return (uint32_t) value;
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
		if (tap_copybook_is(parser, figuratives[i].word))
			return (int) i;
	}
	return -1;
}

bool
tap_copybook_is_literal(const CopybookParser *parser)
{
	return parser->token.kind == COPYBOOK_LITERAL || parser->token.kind == COPYBOOK_HEX ||
		parser->token.kind == COPYBOOK_NUMBER || tap_copybook_is(parser, "ALL") ||
		tap_copybook_is(parser, "QUOTE") || tap_copybook_is(parser, "QUOTES") ||
		figurative_of(parser) >= 0;
}

void
tap_copybook_literal(CopybookParser *parser, TapCobolLiteral *literal)
{
	int			figurative;

	memset(literal, 0, sizeof(*literal));
	literal->all = tap_copybook_accept(parser, "ALL");
	literal->text = parser->token.text;
	literal->length = parser->token.length;
	figurative = figurative_of(parser);
	if (figurative >= 0)
		literal->kind = figuratives[figurative].kind;
	else if (tap_copybook_is(parser, "QUOTE") || tap_copybook_is(parser, "QUOTES"))
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
		tap_copybook_expected(parser, "a literal");
	if (literal->all && literal->length == 0)
		tap_copybook_expected(parser, "a literal that is not empty");
	tap_copybook_advance(parser);
}
