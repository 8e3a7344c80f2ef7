/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_lex.c
 *	  From the lines of a copybook to its words.
 *
 * NOTES
 *	  Fixed form has a sequence number in columns 1 to 6, an indicator in
 *	  column 7 (a star or slash: a comment, D: a debugging line, a hyphen: the
 *	  line before goes on here), text up to column 72, and anything behind.
 *	  Both forms are brought into one text first, so that a continued literal
 *	  is one; pieces remember where each part of it came from.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <string.h>

#include "copybook_private.h"

#define FIXED_INDICATOR	6		/* column 7 */
#define FIXED_TEXT		7
#define FIXED_END		72
#define CARD_LENGTH		80
#define TAB_WIDTH		8
#define LINE_LENGTH		1024	/* longer ones are cut in fixed form only */

static bool
is_word_byte(char c)
{
	return isalnum((unsigned char) c) || c == '-' || c == '_' || ((unsigned char) c) >= 0x80;
}

/* Length of the line at text, without what ends it or blanks there. */
static size_t
line_length(const char *text, size_t length, size_t *whole)
{
	const char *end = memchr(text, '\n', length);
	size_t		bytes = end ? (size_t) (end - text) : length;

	*whole = end ? bytes + 1 : bytes;
	while (bytes > 0 && (text[bytes - 1] == ' ' || text[bytes - 1] == '\r' ||
						 text[bytes - 1] == '\t' || text[bytes - 1] == '\0' ||
						 text[bytes - 1] == 0x1a))
		bytes--;
	return bytes;
}

/* Whether a line can be one of fixed form; *says: it can hardly be another. */
static bool
looks_fixed(const char *line, size_t length)
{
	bool		blank = true;
	bool		solid = true;

	if (length > CARD_LENGTH)
		return false;
	if (length == 0 || memchr(line, '\t', length) != NULL)
		return true;
	for (size_t i = 0; i < FIXED_INDICATOR && i < length; i++)
	{
		if (line[i] == ' ')
			solid = false;
		else
			blank = false;
	}
	if (!blank && !(solid && (isdigit((unsigned char) line[0]) || length > FIXED_INDICATOR)))
		return false;
	if (!blank && length <= FIXED_INDICATOR)
		return solid;
	return length <= FIXED_INDICATOR || strchr(" *-/Dd$", line[FIXED_INDICATOR]) != NULL;
}

static bool
is_fixed_form(const char *source, size_t length)
{
	size_t		whole;

	for (size_t i = 0; i < length; i += whole)
	{
		size_t		bytes = line_length(source + i, length - i, &whole);

		if (!looks_fixed(source + i, bytes))
			return false;
	}
	return true;
}

/* Copy a line with its tabs expanded; returns its length. */
static size_t
expand_tabs(const char *line, size_t length, char *out, size_t size)
{
	size_t		n = 0;

	for (size_t i = 0; i < length && n < size; i++)
	{
		if (line[i] != '\t')
			out[n++] = line[i];
		else
		{
			do
				out[n++] = ' ';
			while (n % TAB_WIDTH != 0 && n < size);
		}
	}
	return n;
}

/* Where a comment within a line begins, or its length. */
static size_t
without_comment(const char *line, size_t length)
{
	char		quote = '\0';

	for (size_t i = 0; i < length; i++)
	{
		if (quote != '\0')
			quote = (line[i] == quote) ? '\0' : quote;
		else if (line[i] == '"' || line[i] == '\'')
			quote = line[i];
		else if (line[i] == '*' && i + 1 < length && line[i + 1] == '>')
			return i;
	}
	return length;
}

/* Whether the text ends inside of a literal of its last line. */
static char
open_quote(const CopybookParser *parser, size_t start)
{
	char		quote = '\0';

	for (size_t i = start; i < parser->length; i++)
	{
		char		c = parser->text[i];

		if (quote != '\0')
			quote = (c == quote) ? '\0' : quote;
		else if (c == '"' || c == '\'')
			quote = c;
	}
	return quote;
}

static void
add_piece(CopybookParser *parser, const char *line, size_t length, int number,
		  size_t column)
{
	CopybookPiece *piece = &parser->pieces[parser->npieces++];

	piece->start = parser->length;
	piece->line = number;
	piece->column = (int) column + 1;
	memcpy(parser->text + parser->length, line, length);
	parser->length += length;
}

/*
 * Take a line that goes on with the last one.  Inside of a literal the blanks
 * up to column 72 of that line belong to it.
 */
static void
continue_line(CopybookParser *parser, const char *line, size_t length, int number,
			  size_t *literal_start, size_t last_columns)
{
	size_t		from = FIXED_TEXT;
	char		quote;

	if (parser->length > 0 && parser->text[parser->length - 1] == '\n')
		parser->length--;
	quote = open_quote(parser, *literal_start);
	while (from < length && line[from] == ' ')
		from++;
	if (quote != '\0')
	{
		for (; last_columns < FIXED_END; last_columns++)
			parser->text[parser->length++] = ' ';
		if (from < length && line[from] == quote)
			from++;
	}
	if (from < length)
		add_piece(parser, line + from, length - from, number, from);
	parser->text[parser->length++] = '\n';
}

static void
unfold_fixed(CopybookParser *parser, const char *source, size_t length)
{
	char		line[LINE_LENGTH];
	size_t		whole;
	size_t		logical = 0;	/* where the logical line began */
	size_t		columns = 0;	/* of the line before */
	int			number = 0;

	for (size_t i = 0; i < length; i += whole)
	{
		size_t		bytes = line_length(source + i, length - i, &whole);
		char		indicator;

		number++;
		bytes = expand_tabs(source + i, bytes, line, sizeof(line));
		if (bytes <= FIXED_INDICATOR)
			continue;
		if (bytes > FIXED_END)
			bytes = FIXED_END;
		indicator = line[FIXED_INDICATOR];
		if (strchr("*/Dd$", indicator) != NULL)
			continue;
		bytes = without_comment(line, bytes);
		if (bytes <= FIXED_TEXT)
			continue;
		if (indicator == '-')
			continue_line(parser, line, bytes, number, &logical, columns);
		else
		{
			logical = parser->length;
			add_piece(parser, line + FIXED_TEXT, bytes - FIXED_TEXT, number, FIXED_TEXT);
			parser->text[parser->length++] = '\n';
		}
		columns = bytes;
	}
}

static void
unfold_free(CopybookParser *parser, const char *source, size_t length)
{
	size_t		whole;
	int			number = 0;

	for (size_t i = 0; i < length; i += whole)
	{
		size_t		bytes = line_length(source + i, length - i, &whole);
		size_t		blanks = 0;

		number++;
		while (blanks < bytes && (source[i + blanks] == ' ' || source[i + blanks] == '\t'))
			blanks++;
		if (blanks < bytes && (source[i + blanks] == '*' || source[i + blanks] == '$'))
			continue;
		bytes = without_comment(source + i, bytes);
		if (bytes == 0)
			continue;
		add_piece(parser, source + i, bytes, number, 0);
		parser->text[parser->length++] = '\n';
	}
}

void
tap_copybook_unfold(CopybookParser *parser, const char *source, size_t length)
{
	size_t		lines = 1;
	bool		fixed;

	for (size_t i = 0; i < length; i++)
		lines += source[i] == '\n';

	fixed = parser->layout->form == TAP_COPYBOOK_FIXED ||
		(parser->layout->form == TAP_COPYBOOK_AUTO && is_fixed_form(source, length));

	/* a line of fixed form may grow by tabs, but not beyond what is kept */
	parser->text = tap_copybook_get(parser, fixed ? lines * (FIXED_END + 2) + 1 : length + lines + 1);
	parser->pieces = tap_copybook_get(parser, lines * sizeof(CopybookPiece));
	if (fixed)
		unfold_fixed(parser, source, length);
	else
		unfold_free(parser, source, length);
	parser->text[parser->length] = '\0';
}

/* The place of a byte of the text in the source. */
static void
set_place(CopybookParser *parser, size_t at, CopybookToken *token)
{
	size_t		low = 0;
	size_t		high = parser->npieces;

	token->line = 1;
	token->column = 1;
	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (parser->pieces[middle].start <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return;
	token->line = parser->pieces[low - 1].line;
	token->column = parser->pieces[low - 1].column + (int) (at - parser->pieces[low - 1].start);
}

static void
set_token(CopybookParser *parser, CopybookTokenKind kind, const char *text, size_t length)
{
	char	   *copy = tap_copybook_get(parser, length + 1);

	memcpy(copy, text, length);
	if (kind == COPYBOOK_WORD)
	{
		for (size_t i = 0; i < length; i++)
			copy[i] = (char) toupper((unsigned char) copy[i]);
	}
	parser->token.kind = kind;
	parser->token.text = copy;
	parser->token.length = length;
}

/* A period ends a sentence, or a picture, only where a blank follows. */
static bool
blank_follows(const CopybookParser *parser, size_t at)
{
	return at + 1 >= parser->length || isspace((unsigned char) parser->text[at + 1]);
}

static void
skip_blanks(CopybookParser *parser)
{
	while (parser->next < parser->length)
	{
		char		c = parser->text[parser->next];

		if (!isspace((unsigned char) c) && c != ',' && c != ';')
			break;
		parser->next++;
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char) toupper((unsigned char) c);
	return (c >= 'A' && c <= 'F') ? c - 'A' + 10 : -1;
}

/* Bytes of a literal's text that is hexadecimal digits. */
static void
set_hex_token(CopybookParser *parser, const char *text, size_t length)
{
	char	   *bytes = tap_copybook_get(parser, length / 2 + 1);

	for (size_t i = 0; i < length; i++)
	{
		int			digit = hex_digit(text[i]);

		if (digit < 0 || length % 2 != 0)
			tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
							  "a hexadecimal literal must be pairs of the digits 0 to 9 and A to F");
		bytes[i / 2] = (char) (bytes[i / 2] << 4 | digit);
	}
	parser->token.kind = COPYBOOK_HEX;
	parser->token.text = bytes;
	parser->token.length = length / 2;
}

/* A literal in quotes, which are doubled where they stand for themselves. */
static void
read_quoted(CopybookParser *parser, bool hex)
{
	char		quote = parser->text[parser->next++];
	size_t		start = parser->next;
	char	   *copy;
	size_t		n = 0;

	while (parser->next < parser->length)
	{
		if (parser->text[parser->next] == quote)
		{
			if (parser->next + 1 >= parser->length || parser->text[parser->next + 1] != quote)
				break;
			parser->next++;
		}
		if (parser->text[parser->next] == '\n')
			parser->next = parser->length;
		else
			parser->next++;
	}
	if (parser->next >= parser->length)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "this literal has no closing quote");
	copy = tap_copybook_get(parser, parser->next - start + 1);
	for (size_t i = start; i < parser->next; i++)
	{
		copy[n++] = parser->text[i];
		if (parser->text[i] == quote)
			i++;
	}
	parser->next++;
	if (hex)
		set_hex_token(parser, copy, n);
	else
	{
		parser->token.kind = COPYBOOK_LITERAL;
		parser->token.text = copy;
		parser->token.length = n;
	}
}

/* Digits with at most a sign before them and a point inside, or a word. */
static void
read_word(CopybookParser *parser)
{
	size_t		start = parser->next;
	char		first = parser->text[start];
	bool		number = true;
	size_t		end;

	if (first == '+' || first == '-')
		parser->next++;
	for (; parser->next < parser->length; parser->next++)
	{
		char		c = parser->text[parser->next];

		if (c == '.' && number && !blank_follows(parser, parser->next) &&
			isdigit((unsigned char) parser->text[parser->next + 1]))
			continue;
		if (!is_word_byte(c))
			break;
		if (!isdigit((unsigned char) c))
			number = false;
	}
	end = parser->next;
	if (end == start + 1 && (first == '+' || first == '-'))
		number = false;
	set_token(parser, number ? COPYBOOK_NUMBER : COPYBOOK_WORD, parser->text + start, end - start);
}

static void
read_operator(CopybookParser *parser)
{
	static const char *const operators[] = {"<>", "<=", ">=", "=", "<", ">", "(", ")", ":"};

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
	{
		size_t		length = strlen(operators[i]);

		if (parser->length - parser->next >= length &&
			memcmp(parser->text + parser->next, operators[i], length) == 0)
		{
			set_token(parser, COPYBOOK_OPERATOR, operators[i], length);
			parser->next += length;
			return;
		}
	}
	tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
					  "a character that has no meaning in a copybook: X'%02X'",
					  (unsigned char) parser->text[parser->next]);
}

void
tap_copybook_advance(CopybookParser *parser)
{
	char		c;

	skip_blanks(parser);
	set_place(parser, parser->next, &parser->token);
	if (parser->next >= parser->length)
	{
		set_token(parser, COPYBOOK_END, "", 0);
		return;
	}
	c = parser->text[parser->next];
	if (c == '"' || c == '\'')
		read_quoted(parser, false);
	else if (strchr("XxNnGgZz", c) != NULL && parser->next + 1 < parser->length &&
			 (parser->text[parser->next + 1] == '"' || parser->text[parser->next + 1] == '\''))
	{
		parser->next++;
		read_quoted(parser, c == 'X' || c == 'x');
	}
	else if (c == '.' && blank_follows(parser, parser->next))
	{
		set_token(parser, COPYBOOK_PERIOD, ".", 1);
		parser->next++;
	}
	else if (is_word_byte(c) || ((c == '+' || c == '.') && !blank_follows(parser, parser->next) &&
								 isdigit((unsigned char) parser->text[parser->next + 1])))
		read_word(parser);
	else
		read_operator(parser);
}

void
tap_copybook_advance_picture(CopybookParser *parser)
{
	size_t		start;

	skip_blanks(parser);
	if (parser->length - parser->next > 2 && isspace((unsigned char) parser->text[parser->next + 2]) &&
		toupper((unsigned char) parser->text[parser->next]) == 'I' &&
		toupper((unsigned char) parser->text[parser->next + 1]) == 'S')
	{
		parser->next += 2;
		skip_blanks(parser);
	}
	start = parser->next;
	set_place(parser, start, &parser->token);
	while (parser->next < parser->length && !isspace((unsigned char) parser->text[parser->next]) &&
		   !(strchr(".,;", parser->text[parser->next]) != NULL && blank_follows(parser, parser->next)))
		parser->next++;
	if (parser->next == start)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "a picture must follow PICTURE");
	if (parser->next - start > TAP_COPYBOOK_MOST_PICTURE)
		tap_copybook_fail(parser, parser->token.line, parser->token.column, NULL,
						  "this picture has more than %d characters", TAP_COPYBOOK_MOST_PICTURE);
	set_token(parser, COPYBOOK_PICTURE, parser->text + start, parser->next - start);
}
