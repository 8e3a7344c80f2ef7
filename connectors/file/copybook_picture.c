/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_picture.c
 *	  Pictures: how many digits and characters an item has.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <string.h>

#include "copybook_private.h"

/* What was seen of a picture. */
typedef struct Picture
{
	uint64_t	nines;
	uint64_t	text;			/* X and A */
	uint64_t	national;		/* N */
	uint64_t	dbcs;			/* G */
	uint64_t	editing;		/* what only edited pictures have */
	uint64_t	before_point;	/* digits and zeros of P */
	uint64_t	behind_point;
	uint64_t	leading_p;
	uint64_t	trailing_p;
	bool		sign;
	bool		point;
} Picture;

static void
fail_picture(CopybookParser *parser, int line, int column, const char *picture, const char *why)
{
	tap_copybook_fail(parser, line, column, NULL, "the picture %.60s %s", picture, why);
}

/* The number in parentheses behind a symbol, 1 without; moves *at behind. */
static uint64_t
repetition(CopybookParser *parser, const char *picture, const char **at, int line, int column)
{
	uint64_t	count = 0;
	const char *c = *at;

	if (*c != '(')
		return 1;
	for (c++; isdigit((unsigned char) *c); c++)
	{
		count = count * 10 + (uint64_t) (*c - '0');
		if (count > TAP_COPYBOOK_MOST_RECORD)
			fail_picture(parser, line, column, picture, "repeats a symbol too often");
	}
	if (*c != ')' || c == *at + 1)
		fail_picture(parser, line, column, picture, "has no number in its parentheses");
	if (count == 0)
		fail_picture(parser, line, column, picture, "repeats a symbol no times");
	*at = c + 1;
	return count;
}

static void
take_p(Picture *seen, uint64_t count)
{
	if (seen->nines == 0)
		seen->leading_p += count;
	else
		seen->trailing_p += count;
}

static bool
take_symbol(Picture *seen, char symbol, uint64_t count)
{
	switch (symbol)
	{
		case '9':
			seen->nines += count;
			if (seen->point)
				seen->behind_point += count;
			else
				seen->before_point += count;
			return true;
		case 'X':
		case 'A':
			seen->text += count;
			return true;
		case 'N':
			seen->national += count;
			return true;
		case 'G':
			seen->dbcs += count;
			return true;
		case 'P':
			take_p(seen, count);
			return true;
		case 'S':
			seen->sign = true;
			return count == 1;
		case 'V':
			if (seen->point || count != 1)
				return false;
			seen->point = true;
			return true;
		default:
			seen->editing += count;
			return strchr("BZ0/,.+-*$E", symbol) != NULL;
	}
}

static void
set_numeric(CopybookParser *parser, TapCobolItem *item, const Picture *seen, int line, int column)
{
	uint64_t	scale = seen->behind_point;

	if (seen->leading_p > 0 && seen->trailing_p > 0)
		fail_picture(parser, line, column, item->picture, "has P on both sides");
	if (seen->nines + seen->leading_p + seen->trailing_p > TAP_COPYBOOK_MOST_DIGITS)
		fail_picture(parser, line, column, item->picture, "has more than 38 digits");
	if (seen->nines == 0)
		fail_picture(parser, line, column, item->picture, "has no digit");
	item->category = TAP_CATEGORY_NUMERIC;
	item->digits = (int) seen->nines;
	item->is_signed = seen->sign;
	if (seen->leading_p > 0)
		item->scale = (int) (seen->leading_p + seen->nines);
	else if (seen->trailing_p > 0)
		item->scale = -(int) seen->trailing_p;
	else
		item->scale = (int) scale;
}

static void
set_characters(TapCobolItem *item, const Picture *seen)
{
	uint64_t	characters = seen->nines + seen->text + seen->national + seen->dbcs + seen->editing;

	if (seen->editing == 0 && seen->national > 0)
		item->category = TAP_CATEGORY_NATIONAL;
	else if (seen->dbcs > 0)
		item->category = TAP_CATEGORY_DBCS;
	else if (seen->editing == 0)
		item->category = TAP_CATEGORY_TEXT;
	else
		item->category = seen->national > 0 ? TAP_CATEGORY_NATIONAL : TAP_CATEGORY_EDITED;
	item->characters = (uint32_t) characters;
}

void
tap_copybook_picture(CopybookParser *parser, TapCobolItem *item, int line, int column)
{
	const char *picture = item->picture;
	const char *at = picture;
	Picture		seen = {0};

	while (*at != '\0')
	{
		char symbol = (char) toupper((unsigned char) *at++);
		uint64_t	count;

		/* CR and DB are two characters each */
		if ((symbol == 'C' && toupper((unsigned char) *at) == 'R') ||
			(symbol == 'D' && toupper((unsigned char) *at) == 'B'))
		{
			at++;
			seen.editing += 2;
			continue;
		}
		count = repetition(parser, picture, &at, line, column);
		if (!take_symbol(&seen, symbol, count))
			fail_picture(parser, line, column, picture, "has a symbol that does not belong there");
		if (seen.nines + seen.text + seen.national + seen.dbcs + seen.editing + seen.leading_p +
			seen.trailing_p > TAP_COPYBOOK_MOST_RECORD)
			fail_picture(parser, line, column, picture, "is too long");
	}
	if (seen.text + seen.national + seen.dbcs + seen.editing == 0)
		set_numeric(parser, item, &seen, line, column);
	else if (seen.sign && seen.editing == 0)
		fail_picture(parser, line, column, picture, "has a sign but is not numeric");
	else
		set_characters(item, &seen);
}
