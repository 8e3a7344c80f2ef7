/*-------------------------------------------------------------------------
 *
 * test/unit/copybook_unit.c
 *	  Unit tests of copybooks, of the programmes that are made of them, and of
 *	  where records begin and end.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>
#include <stdlib.h>

#include "cobol.h"
#include "cobol_frame.h"
#include "tap_unit.h"

#define OUTPUT_BYTES 4096

static const TapCobolLayout ibm = {.hex_float = true};
static const TapCobolLayout gnu = {
	.binary_size = TAP_BINARY_1_2_4_8,.align_8 = true,.little_endian = true
};

static char output[OUTPUT_BYTES];

static void
add(const char *format,...)
{
	size_t		used = strlen(output);
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(output + used, sizeof(output) - used, format, arguments);
	va_end(arguments);
}

/* Input in memory of exactly its size, so that any read beyond it is seen. */
static uint8_t *
exact_copy(const char *data, size_t length)
{
	uint8_t    *copy = malloc(length ? length : 1);

	memcpy(copy, data, length);
	return copy;
}

/* ---------------------------------------------------------------------
 * Layout
 * ---------------------------------------------------------------------
 */

static void
add_items(const TapCobolItem *item)
{
	char		buffer[32];

	for (; item != NULL; item = item->next)
	{
		if (item->first == NULL)
			add("%s %u+%u ", tap_copybook_name(item, buffer, sizeof(buffer)), item->offset, item->bytes);
		add_items(item->first);
	}
}

/* "NAME offset+bytes" of all elementary items, or the error. */
static const char *
layout_of(const char *text, const TapCobolLayout *layout)
{
	TapCopybookError error;
	char	   *copy = (char *) exact_copy(text, strlen(text));
	TapCopybook *copybook = tap_copybook_parse(copy, strlen(text), layout, &error);

	output[0] = '\0';
	if (copybook == NULL)
		add("%d:%d %s", error.line, error.column, error.message);
	else
	{
		add_items(tap_copybook_records(copybook));
		add("= %u", tap_copybook_records(copybook)->bytes);
	}
	tap_copybook_free(copybook);
	free(copy);
	return output;
}

static void
test_layout(void)
{
	is_text(layout_of("01 R. 05 A PIC X(3). 05 B PIC S9(5)V99 COMP-3. 05 C PIC 9(4) COMP.\n"
					  "05 D PIC S9(9) BINARY. 05 E PIC S9(18) COMP-4. 05 F COMP-1. 05 G COMP-2.", &ibm),
			"A 0+3 B 3+4 C 7+2 D 9+4 E 13+8 F 21+4 G 25+8 = 33", "usages");
	is_text(layout_of("01 R COMP-3. 05 A PIC 9(5). 05 B. 10 C PIC S9(4). 10 D PIC 9.", &ibm),
			"A 0+3 C 3+3 D 6+1 = 7", "usage of a group");
	is_text(layout_of("01 R SIGN LEADING SEPARATE. 05 A PIC S9(5). 05 B PIC 9(5). 05 C PIC S99 TRAILING.", &ibm),
			"A 0+6 B 6+5 C 11+2 = 13", "sign of a group");
	is_text(layout_of("01 R. 05 A PIC X. 05 B PIC S9(4) COMP SYNC. 05 C PIC X. 05 D PIC S9(9) COMP SYNC.\n"
					  "05 E PIC X. 05 F PIC S9(18) COMP SYNC. 05 G COMP-2 SYNC.", &ibm),
			"A 0+1 B 2+2 C 4+1 D 8+4 E 12+1 F 16+8 G 24+8 = 32", "slack bytes");
	is_text(layout_of("01 R. 05 A PIC X. 05 T OCCURS 3. 10 B PIC S9(9) COMP SYNC. 10 C PIC X. 05 D PIC X.", &ibm),
			"A 0+1 B 4+4 C 8+1 D 25+1 = 26", "slack bytes between occurrences");
	is_text(layout_of("01 R. 05 A PIC 99 COMP. 05 B PIC S9(18) COMP-5 SYNC.", &gnu),
			"A 0+1 B 8+8 = 16", "sizes and alignment of GnuCOBOL");
	is_text(layout_of("01 R. 05 A PIC X(10). 05 B REDEFINES A. 10 C PIC X(4). 10 D PIC 9(6).\n"
					  "05 E REDEFINES A PIC X(12). 05 F PIC X.", &ibm),
			"A 0+10 C 0+4 D 4+6 E 0+12 F 12+1 = 13", "REDEFINES");
	is_text(layout_of("01 R. 05 N PIC 9. 05 T OCCURS 1 TO 5 TIMES DEPENDING ON N INDEXED BY I J PIC X(2). 05 Z PIC X.", &ibm),
			"N 0+1 T 1+2 Z 11+1 = 12", "OCCURS DEPENDING ON");
	is_text(layout_of("05 A PIC N(3). 05 B PIC G(2) DISPLAY-1. 05 C PIC -ZZ,ZZ9.99CR. 05 D PIC X(2)9(3).", &ibm),
			"A 0+6 B 6+4 C 10+12 D 22+5 = 27", "national, edited, without level 01");
	is_text(layout_of("77 N PIC 9. 01 R. 02 FILLER PIC X. 88 A VALUE 'X' 'Y'. 66 Q RENAMES A. 02 PIC 9(3).", &ibm),
			"N 0+1 FILLER-1 0+1 FILLER-2 1+3 = 1", "levels 66, 77 and 88");
	is_text(layout_of("000100 01  R.                                                           ABCDEFGH\n"
					  "000200*    05 OLD PIC X.\n"
					  "000300     05 A  PIC X(2) VALUE 'it''s a long text that goes on to the next\n"
					  "000400-    ' line'.\n"
					  "      D    05 DEBUG-ITEM PIC X.\n"
					  "000500     05 B  PIC 9(\n"
					  "000600-    3).\n", &ibm), "A 0+2 B 2+3 = 5", "fixed form, continued lines");
	is_text(layout_of("*> a comment\n01 R. *> another\n* and this\n  05 A PIC X(2) VALUE \"*>\". 05 B PIC S9(3), COMP-3.\n", &ibm),
			"A 0+2 B 2+2 = 4", "free form");
	is_text(layout_of("01 r. 05 a pic x(2) value is spaces. 05 b pic is s9v9(2) usage is comp-3 value -1.5.", &ibm),
			"A 0+2 B 2+2 = 4", "lower case");
}

static void
test_errors(void)
{
	static const struct
	{
		const char *text;
		const char *error;
	}			cases[] =

	{
		{"", "1:1 the copybook describes no item"},
		{"01 R. 05 A REDEFINES A PIC X.", "1:22 A cannot be redefined here"},
		{"01 R. 05 A REDEFINES B PIC X. 05 B REDEFINES A PIC X.", "1:22 B cannot be redefined here"},
		{"01 R. 05 A PIC X. 05 B PIC X. 05 C REDEFINES A PIC X.",
		"1:46 A cannot be redefined here: another item stands in between"},
		{"01 R. 05 A OCCURS 2 PIC X. 05 B REDEFINES A PIC XX.", "1:43 A cannot be redefined: it has OCCURS"},
		{"01 R. 05 A.", "1:7 A has neither a picture nor items below it"},
		{"01 R.\n   05 A PIC X(3.", "2:13 the picture X(3 has no number in its parentheses"},
		{"01 R. 05 A PIC X(0).", "1:16 the picture X(0) repeats a symbol no times"},
		{"01 R. 05 A PIC X(99999999999999999999).", "1:16 the picture X(99999999999999999999) repeats a symbol too often"},
		{"01 R. 05 A PIC 9(39).", "1:16 the picture 9(39) has more than 38 digits"},
		{"01 R. 05 A PIC 9(19) COMP.", "1:7 A is binary with more than 18 digits"},
		{"01 R. 05 A PIC S9V9V9.", "1:16 the picture S9V9V9 has a symbol that does not belong there"},
		{"01 R. 05 A PIC 9Q9.", "1:16 the picture 9Q9 has a symbol that does not belong there"},
		{"01 R. 05 A PIC X COMP-3.", "1:7 A has a picture that does not go with its usage"},
		{"01 R. 05 A PIC X. 10 B PIC X.", "1:19 level 10 stands below A, which has a picture"},
		{"01 R. 05 A PIC X. 04 B PIC X.", "1:19 level 04 stands beside level 05"},
		{"01 R OCCURS 3 PIC X.", "1:1 level 01 cannot have OCCURS"},
		{"01 R. 05 A OCCURS 17000000 PIC X.", "1:19 the number of OCCURS must not be more than 16777216"},
		{"01 R. 05 A OCCURS 16000000. 10 B OCCURS 9 PIC X(9).",
		"1:7 A does not fit: a record can have at most 16 megabytes"},
		{"01 R. 05 A OCCURS 9000000 PIC X.", "1:1 R has more than a million fields, those in tables counted"},
		{"01 R. 05 T OCCURS 1 TO 3 DEPENDING ON N PIC X.", "1:39 there is no item N in this record"},
		{"01 R. 05 T OCCURS 1 TO 3 DEPENDING ON N PIC X. 05 N PIC 9.",
		"1:39 N must stand before the table that depends on it, outside of other tables"},
		{"01 R. 05 N PIC X. 05 T OCCURS 1 TO 3 DEPENDING ON N PIC X.", "1:51 N is no whole number"},
		{"01 R. COPY OTHER REPLACING ==A== BY ==B==.", "1:7 COPY is not followed"},
		{"01 R. 05 A PIC X VALUE 'abc.", "1:24 this literal has no closing quote"},
		{"01 R. 05 A PIC X", "1:18 the copybook ends where a period was expected"},
		{"01 R. 05 A PIC X COMP-9.", "1:18 \"COMP-9\" stands where a clause or a period was expected"},
		{"55 R.", "1:1 \"55\" stands where a level of 01 to 49, 66, 77 or 88 was expected"},
		{"88 R VALUE 1.", "1:1 level 88 needs an item before it"},
		{"01 R. 05 A PIC", "1:16 a picture must follow PICTURE"},
		{"01 R. 05 A PIC X. @", "1:19 a character that has no meaning in a copybook: X'40'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_text(layout_of(cases[i].text, &ibm), cases[i].error, "error: %s", cases[i].error);
}

/* A copybook cut at each byte is an error or a copybook, never a crash. */
static void
test_truncated(void)
{
	const char *text = "01 R. 05 N PIC 9(2). 88 X VALUE 1 THRU 5 'a' X'4142'. 05 T OCCURS 1 TO 9 TIMES DEPENDING ON N OF R\n"
	"ASCENDING KEY IS K INDEXED BY I. 10 K PIC S9(3)V9 COMP-3 SYNC. 05 F REDEFINES T PIC -(5)9.99.";
	int			good = 0;

	for (size_t length = 0; length <= strlen(text); length++)
	{
		TapCopybookError error;
		char	   *copy = (char *) exact_copy(text, length);
		TapCopybook *copybook = tap_copybook_parse(copy, length, &ibm, &error);

		good += copybook != NULL || error.message[0] != '\0';
		tap_copybook_free(copybook);
		free(copy);
	}
	ok(good == (int) strlen(text) + 1, "a copybook that is cut off");
}

/* ---------------------------------------------------------------------
 * Records
 * ---------------------------------------------------------------------
 */

static TapCodePage *page;

static void
show_field(void *arg, const TapCobolOp *op, const uint8_t *data)
{
	char		text[OUTPUT_BYTES];
	double		value;
	size_t		bad;
	long		length;
	TapCobolNumber result;

	if (!op->element)
	{
		if (op->column >= 0)
			add("%s=", ((TapCobolProgramme *) arg)->columns[op->column].name);
		else
			add("%s=", op->key);
	}
	switch (op->field)
	{
		case TAP_COBOL_TEXT:
			length = tap_code_page_decode(page, data, op->bytes, text, &bad);
			add("%.*s;", (int) length, text);
			break;
		case TAP_COBOL_NATIONAL:
		case TAP_COBOL_DBCS:
			length = tap_code_page_decode_wide(page, op->field == TAP_COBOL_NATIONAL, data, op->bytes, text, &bad);
			add("%.*s;", (int) length, text);
			break;
		case TAP_COBOL_FLOAT:
			if (tap_cobol_float(op, data, &value))
				add("%.9g;", value);
			else
				add("range;");
			break;
		default:
			result = tap_cobol_decimal(op, data, text);
			add("%s;", result == TAP_NUMBER_OK ? text : result == TAP_NUMBER_BLANK ? "blank" :
				result == TAP_NUMBER_RANGE ? "range" : "invalid");
	}
	for (const TapCobolLabel *label = op->labels; label != NULL; label = label->next)
	{
		if (tap_cobol_test(label->test, NULL, data))
			add("(%s)", label->name);
	}
}

static void
show_begin(void *arg, const TapCobolOp *op, uint32_t count)
{
	(void) arg;
	add("%s%s", op->key, op->kind == TAP_COBOL_TABLE ? "[" : "{");
	(void) count;
}

static void
show_element(void *arg, const TapCobolOp *op)
{
	(void) arg;
	(void) op;
	add("{");
}

static void
show_element_end(void *arg, const TapCobolOp *op)
{
	(void) arg;
	(void) op;
	add("}");
}

static void
show_end(void *arg, const TapCobolOp *op)
{
	(void) arg;
	add(op->kind == TAP_COBOL_TABLE ? "]" : "}");
}

static const TapCobolSink show = {show_field, show_begin, show_element, show_element_end, show_end};

/* What a record has in it by a copybook. */
static const char *
record_of(const char *text, const TapCobolLayout *layout, const TapCobolWish *wish,
		  const char *record, size_t length)
{
	static const char *const results[] = {
		[TAP_COBOL_OTHER] = "other",[TAP_COBOL_SHORT] = "short",[TAP_COBOL_LONG] = "long",
		[TAP_COBOL_BAD_COUNT] = "count"
	};
	static const TapCobolWish plain = {.slides = true};
	TapCopybookError error;
	TapCopybook *copybook = tap_copybook_parse(text, strlen(text), layout, &error);
	TapCobolProgramme *programme = copybook ?
	tap_cobol_compile(copybook, page, wish ? wish : &plain, &error) : NULL;
	TapCobolResult result;
	uint8_t    *copy = exact_copy(record, length);

	output[0] = '\0';
	if (programme == NULL)
		add("%s", error.message);
	else
	{
		TapCobolRun run = {.programme = programme,.sink = &show,.arg = programme};

		run.marks = calloc((size_t) programme->nmarks + 1, sizeof(int64_t));
		result = tap_cobol_run(&run, copy, length, 0);
		if (result != TAP_COBOL_READ)
			add("! %s at %d", results[result], (int) run.at);
		free(run.marks);
	}
	tap_copybook_free(copybook);
	free(copy);
	return output;
}

#define RECORD(text) text, sizeof(text) - 1

static void
test_numbers(void)
{
	is_text(record_of("01 R. 05 A PIC S9(3)V99 COMP-3. 05 B PIC 9(4) COMP-3. 05 C PIC S9 COMP-3.", &ibm, NULL,
					  RECORD("\x12\x34\x5D\x01\x23\x4F\x7C")), "a=-123.45;b=1234;c=7;", "packed");
	is_text(record_of("01 R. 05 A PIC S9(3) COMP-3. 05 B PIC 9(4) COMP-3. 05 C PIC 9 COMP-3. 05 D PIC S99 COMP-3.", &ibm, NULL,
					  RECORD("\x12\x3A\x91\x23\x4F\x7D\x00\x0C")), "a=123;b=range;c=invalid;d=0;", "packed, other signs");
	is_text(record_of("01 R. 05 A PIC S9(3) COMP-3. 05 B PIC S9(3) COMP-3. 05 C PIC S9(3) COMP-3.", &ibm, NULL,
					  RECORD("\x40\x40\x00\x00\x1A\x2C")), "a=blank;b=blank;c=invalid;", "packed that are none");
	is_text(record_of("01 R. 05 A PIC S9(4) COMP. 05 B PIC 9(4) COMP. 05 C PIC S9(9)V99 COMP. 05 D PIC S9(4) COMP.", &ibm, NULL,
					  RECORD("\xFF\xFE\x00\xFF\x00\x00\x00\x00\x00\x01\xE2\x40\x7F\xFF")),
			"a=-2;b=255;c=1234.56;d=range;", "binary");
	is_text(record_of("01 R. 05 A PIC S9(4) COMP-5. 05 B PIC 9(18) COMP-5. 05 C PIC S9(18) COMP-5.", &gnu, NULL,
					  RECORD("\xFE\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00\x00\x00\x00\x00\x00\x80")),
			"a=32766;b=18446744073709551615;c=-9223372036854775808;", "native binary, whole range");
	is_text(record_of("01 R. 05 A PIC 99P(3) COMP-3. 05 B PIC VPP99 COMP-3. 05 C PIC S9(2)PP COMP. 05 D PIC PPP9.", &ibm, NULL,
					  RECORD("\x01\x2C\x03\x4C\xFF\xF6\xF5")), "a=12000;b=0.0034;c=-1000;d=0.0005;", "P");
	is_text(record_of("01 R. 05 A PIC S9(3). 05 B PIC S9(3) LEADING. 05 C PIC S99 SIGN TRAILING SEPARATE.\n"
					  "05 D PIC S99 SIGN LEADING SEPARATE. 05 E PIC 9(2)V9.", &ibm, NULL,
					  RECORD("\xF1\xF2\xD3\xC1\xF2\xF3\xF4\xF2\x60\x4E\xF4\xF2\xF1\xF2\xF3")),
			"a=-123;b=123;c=-42;d=42;e=12.3;", "zoned");
	is_text(record_of("01 R. 05 A PIC 9(3) BLANK WHEN ZERO. 05 B PIC 9(2). 05 C PIC 9(2). 05 D PIC 9. 05 E PIC S9.", &ibm, NULL,
					  RECORD("\x40\x40\x40\x40\x40\xF1\x81\xD1\xFA")), "a=0;b=blank;c=invalid;d=invalid;e=invalid;", "zoned that are none");
	is_text(record_of("01 R. 05 A PIC S9(31) COMP-3. 05 B PIC S9(20)V9(2). 05 C PIC 9(20).", &ibm, NULL,
					  RECORD("\x12\x34\x56\x78\x90\x12\x34\x56\x78\x90\x12\x34\x56\x78\x90\x1D"
							 "\xF0\xF0\xF0\xF4\xF5\xF6\xF7\xF8\xF9\xF0\xF1\xF2\xF3\xF4\xF5\xF6\xF7\xF8\xF9\xF0\xF1\xD2"
							 "\xF9\xF2\xF3\xF4\xF5\xF6\xF7\xF8\xF9\xF0\xF1\xF2\xF3\xF4\xF5\xF6\xF7\xF8\xF9\xF0")),
			"a=-1234567890123456789012345678901;b=-45678901234567890.12;c=92345678901234567890;", "long numbers");
	is_text(record_of("01 R. 05 A COMP-1. 05 B COMP-2. 05 C COMP-1. 05 D COMP-1.", &ibm, NULL,
					  RECORD("\x42\x64\x00\x00\xC1\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7F\xFF\xFF\xFF")),
			"a=100;b=-1.5;c=0;d=range;", "floating point of System/360");
	is_text(record_of("01 R. 05 A COMP-1. 05 B COMP-2.", &gnu, NULL,
					  RECORD("\x00\x00\xC8\x42\x00\x00\x00\x00\x00\x00\xF8\xBF")), "a=100;b=-1.5;", "IEEE");
}

static void
test_ascii_numbers(void)
{
	TapCodePage *ebcdic = page;

	page = tap_code_page_open("ASCII");
	is_text(record_of("01 R. 05 A PIC S9(3). 05 B PIC S9(3). 05 C PIC S9(3). 05 D PIC S99 LEADING. 05 E PIC S9 LEADING SEPARATE.",
					  &gnu, NULL, RECORD("12s12C12Ju2-4")), "a=-123;b=123;c=-121;d=-52;e=-4;", "zoned in ASCII");
	tap_code_page_close(page);
	page = ebcdic;
}

static void
test_tables(void)
{
	const char *depends = "01 R. 05 N PIC 9. 05 T OCCURS 0 TO 3 DEPENDING ON N. 10 M PIC 9. 10 U OCCURS 0 TO 2 DEPENDING ON M PIC X. 05 Z PIC X.";
	static const TapCobolWish stays = {.slides = false};

	is_text(record_of("01 R. 05 A OCCURS 3 PIC 9. 05 T OCCURS 2. 10 B PIC X. 10 G. 15 C PIC 9. 15 FILLER PIC X. 10 D OCCURS 2 PIC X. 05 E PIC X.",
					  &ibm, NULL, RECORD("\xF1\xF2\xF3\xC1\xF1\x40\xC2\xC3\xC4\xF2\x40\xC5\xC6\xC7")),
			"a[1;2;3;]t[{b=A;g{c=1;}d[B;C;]}{b=D;g{c=2;}d[E;F;]}]e=G;", "tables");
	is_text(record_of(depends, &ibm, NULL, RECORD("\xF2\xF1\xC1\xF2\xC2\xC3\xE9")),
			"n=2;t[{m=1;u[A;]}{m=2;u[B;C;]}]z=Z;", "tables that depend, one in the other, slide");
	is_text(record_of(depends, &ibm, NULL, RECORD("\xF0\xE9")), "n=0;t[]z=Z;", "an empty table");
	is_text(record_of(depends, &ibm, &stays, RECORD("\xF1\xF1\xC1\x40\x40\x40\x40\x40\x40\x40\xE9")),
			"n=1;t[{m=1;u[A;]}]z=Z;", "a table that depends and does not slide");
	is_text(record_of(depends, &ibm, NULL, RECORD("\xF4\xE9")), "n=4;! count at 0", "a table longer than it may be");
	is_text(record_of(depends, &ibm, NULL, RECORD("\x81\xE9")), "n=invalid;! count at 0", "a length that is no number");
	is_text(record_of(depends, &ibm, NULL, RECORD("\xF1\xF2\xC1")), "n=1;t[{m=2;u[A;! short at 3", "a record that is too short");
	is_text(record_of(depends, &ibm, NULL, RECORD("\xF0\xE9\xE9")), "n=0;t[]z=Z;! long at 1", "a record that is too long");
}

static void
test_redefines(void)
{
	const char *text = "01 R. 05 K PIC X. 88 IS-B VALUE 'B' 'C'. 05 A PIC X(2). 05 B REDEFINES A PIC 9(2). 05 C REDEFINES A COMP-3 PIC 9(3). 05 Z PIC X.";
	const char *names[] = {"B", "C"};
	const char *tests[] = {"IS-B", "k = 'X' or 'Y'"};
	const char *always[] = {"true", "NOT (K = 'X' OR K < 'B')"};
	const char *bad[] = {"K = 1 AND", "Q = 1"};
	TapCobolWish wish = {.slides = true,.nredefines = 2,.redefines = names,.conditions = tests};

	is_text(record_of(text, &ibm, NULL, RECORD("\xC1\xF4\xF2\xE9")), "k=A;a=42;z=Z;", "REDEFINES that nothing is said of");
	is_text(record_of(text, &ibm, &wish, RECORD("\xC1\xF4\xF2\xE9")), "k=A;a=42;z=Z;", "no condition is true");
	is_text(record_of(text, &ibm, &wish, RECORD("\xC3\xF4\xF2\xE9")), "k=C;b=42;z=Z;", "a condition of level 88");
	is_text(record_of(text, &ibm, &wish, RECORD("\xE8\x12\x3C\xE9")), "k=Y;c=123;z=Z;", "a comparison");
	wish.conditions = always;
	is_text(record_of(text, &ibm, &wish, RECORD("\xC2\xF4\xF2\xE9")), "k=B;b=42;c=invalid;z=Z;", "always, and NOT");
	wish.conditions = bad;
	is_text(record_of(text, &ibm, &wish, RECORD("")), "something that is no name of an item in a condition at character 11", "half a condition");
	wish.conditions = bad + 1;
	wish.nredefines = 1;
	is_text(record_of(text, &ibm, &wish, RECORD("")), "the copybook has no item Q", "an item that is not there");
	names[0] = "Z";
	is_text(record_of(text, &ibm, &wish, RECORD("")), "Z shares its place with no other item", "no REDEFINES");
}

static void
test_records(void)
{
	const char *text = "01 A. 05 K PIC X. 05 V PIC 9(2). 01 B. 05 K PIC X. 05 V PIC X(3). 01 C. 05 K PIC X.";
	const char *names[] = {"A", "B"};
	const char *tests[] = {"K OF A = 'A'", "K OF B = 'B'"};
	TapCobolWish wish = {.slides = true,.nredefines = 2,.redefines = names,.conditions = tests};
	TapCobolWish one = wish;

	is_text(record_of(text, &ibm, &wish, RECORD("\xC1\xF4\xF2")), "k=A;a_v=42;", "the first record");
	is_text(record_of(text, &ibm, &wish, RECORD("\xC2\xF4\xF2\xE9")), "k=B;b_v=42Z;", "the second");
	is_text(record_of(text, &ibm, &wish, RECORD("\xE9")), "k=Z;", "the rest");
	is_text(record_of(text, &ibm, NULL, RECORD("\xE9")), "B is not the only record of the copybook", "nothing that tells them apart");
	one.record = "B";
	is_text(record_of(text, &ibm, &one, RECORD("\xC2\xF4\xF2\xE9")), "k=B;v=42Z;", "only one is wanted");
	is_text(record_of(text, &ibm, &one, RECORD("\xC1\xF4\xF2")), "! other at 0", "another");
	one.record = "b";
	is_text(record_of(text, &ibm, &one, RECORD("\xC2\xF4\xF2\xE9")), "k=B;v=42Z;", "its name in lower case");
	one.record = "D";
	is_text(record_of(text, &ibm, &one, RECORD("")), "the copybook has no record D", "a record that is not there");
}

static void
test_names(void)
{
	const TapCobolWish labels = {.slides = true,.labels = true};

	is_text(record_of("01 R. 05 A. 10 X-1 PIC X. 10 Y PIC X. 05 B. 10 X-1 PIC X. 10 B. 15 Y PIC X.", &ibm, NULL,
					  RECORD("\xC1\xC2\xC3\xC4")), "a_x_1=A;a_y=B;b_x_1=C;b_y=D;", "qualified names");
	is_text(record_of("01 R. 05 A PIC X. 05 A PIC X. 05 R-A PIC X.", &ibm, NULL, RECORD("\xC1\xC2\xC3")),
			"r_a=A;r_a_2=B;r_r_a=C;", "numbered names");
	is_text(record_of("01 R. 05 S PIC X. 88 OPEN-S VALUE 'A' THRU 'C'. 88 GONE VALUE 'D' SPACE. 05 N PIC S9(3) COMP-3. 88 NONE VALUE 0. 88 MUCH VALUE 100 THRU 999.",
					  &ibm, &labels, RECORD("\xC2\x12\x3C")), "s=B;(OPEN-S)n=123;(MUCH)", "conditions");
	is_text(record_of("01 R. 05 S PIC X. 88 TOO-LONG VALUE 'AB'.", &ibm, &labels, RECORD("\xC2")),
			"the condition TOO-LONG has a literal that is longer than the item", "a condition that cannot be");
}

static void
test_code_pages(void)
{
	char		text[64];
	uint8_t		bytes[8];
	size_t		bad;
	TapCodePage *german = tap_code_page_open("IBM273");
	TapCodePage *japanese = tap_code_page_open("IBM939");
	long		length = tap_code_page_decode(german, (const uint8_t *) "\xC0\xD0\x4A\xA1", 4, text, &bad);

	text[length] = '\0';
	is_text(text, "\xC3\xA4\xC3\xBC\xC3\x84\xC3\x9F", "IBM273");
	ok(tap_code_page_encode(german, "\xC3\xA4", 2, bytes, sizeof(bytes)) == 1 && bytes[0] == 0xc0, "and back");
	ok(tap_code_page_decode(german, (const uint8_t *) "\xC1\x00", 2, text, &bad) == -1 && bad == 1, "a zero byte");
	ok(japanese && !japanese->by_table, "IBM939 shifts");
	length = tap_code_page_decode(japanese, (const uint8_t *) "\xC1\x0E\x44\x81\x0F\xC2", 6, text, &bad);
	text[length > 0 ? length : 0] = '\0';
	is_text(text, "A\xE3\x81\x82" "B", "single and double bytes");
	length = tap_code_page_decode_wide(japanese, false, (const uint8_t *) "\x44\x81\x44\x82", 4, text, &bad);
	text[length > 0 ? length : 0] = '\0';
	is_text(text, "\xE3\x81\x82\xE3\x81\x84", "double bytes alone");
	length = tap_code_page_decode_wide(german, true, (const uint8_t *) "\x00\xE4\x20\xAC", 4, text, &bad);
	text[length > 0 ? length : 0] = '\0';
	is_text(text, "\xC3\xA4\xE2\x82\xAC", "UTF-16");
	ok(tap_code_page_open("NO-SUCH-PAGE") == NULL, "a page that is not there");
	ok(tap_code_page_open("UTF-16") == NULL, "one that COBOL cannot be in");
	tap_code_page_close(german);
	tap_code_page_close(japanese);
}

/* ---------------------------------------------------------------------
 * Frames
 * ---------------------------------------------------------------------
 */

/* All records of an input that comes in pieces: "bytes|...". */
static const char *
frames_of(TapFrame frame, const char *input, size_t length, size_t piece)
{
	static const char *const results[] = {
		[TAP_FRAME_EMPTY] = "empty",[TAP_FRAME_CUT] = "cut",[TAP_FRAME_BAD] = "bad",
		[TAP_FRAME_LIMIT] = "limit"
	};
	size_t		from = 0;
	size_t		to = 0;

	output[0] = '\0';
	for (;;)
	{
		uint8_t    *copy = exact_copy(input + from, to - from);
		TapFrameResult result = tap_frame_next(&frame, copy, to - from, to == length, 8);

		if (result == TAP_FRAME_RECORD)
			add("%.*s|", (int) frame.length, (const char *) frame.data);
		else if (result != TAP_FRAME_MORE && result != TAP_FRAME_END)
			add("%s|", results[result]);
		free(copy);
		if (result == TAP_FRAME_MORE)
			to = to + piece < length ? to + piece : length;
		from += frame.taken;
		if (result == TAP_FRAME_END || (frame.taken == 0 && result != TAP_FRAME_MORE) || result == TAP_FRAME_CUT)
			break;
	}
	tap_frame_release(&frame);
	return output;
}

static void
test_frames(void)
{
	const TapFrame fixed = {.kind = TAP_FRAME_FIXED,.record_length = 3};
	const TapFrame lines = {.kind = TAP_FRAME_LINES};
	const TapFrame rdw = {.kind = TAP_FRAME_RDW,.counts_itself = true};
	const TapFrame bare = {.kind = TAP_FRAME_RDW};
	const TapFrame bdw = {.kind = TAP_FRAME_BDW,.counts_itself = true};

	for (size_t piece = 1; piece < 20; piece += 9)
	{
		is_text(frames_of(fixed, "abcdefgh", 8, piece), "abc|def|cut|", "fixed in pieces of %zu", piece);
		is_text(frames_of(lines, "ab\r\n\ncd\ne", 9, piece), "ab|empty|cd|e|", "lines in pieces of %zu", piece);
		is_text(frames_of(lines, "abcdefghi\n", 10, piece), "limit|", "a line that is too long");
		is_text(frames_of(rdw, RECORD("\0\6\0\0ab\0\4\0\0\0\5\0\0c"), piece), "ab||c|", "RDW in pieces of %zu", piece);
		is_text(frames_of(rdw, RECORD("\0\6\0\0ab\0\6\0\0c"), piece), "ab|cut|", "RDW, cut off");
		is_text(frames_of(rdw, RECORD("\0\3\0\0ab"), piece), "bad|", "RDW that is too small");
		is_text(frames_of(rdw, RECORD("\0\x20\0\0ab"), piece), "limit|", "RDW that is too large");
		is_text(frames_of(rdw, RECORD("abcdefgh"), piece), "bad|", "no RDW");
		is_text(frames_of(bare, RECORD("\0\2\0\0ab\0\1\0\0c"), piece), "ab|c|", "RDW that does not count itself");
		is_text(frames_of(rdw, RECORD("\0\6\1\0ab\0\5\3\0c\0\6\2\0de\0\5\0\0f"), piece), "abcde|f|", "spanned");
		is_text(frames_of(rdw, RECORD("\0\6\1\0ab\0\5\0\0c"), piece), "bad|", "spanned without an end");
		is_text(frames_of(bdw, RECORD("\0\x0f\0\0\0\6\0\0ab\0\5\0\0c\0\x09\0\0\0\5\0\0d"), piece), "ab|c|d|", "BDW in pieces of %zu", piece);
		is_text(frames_of(bdw, RECORD("\0\x0a\0\0\0\6\1\0ab\x80\0\0\x09\0\5\2\0c"), piece), "abc|", "spanned over blocks");
		is_text(frames_of(bdw, RECORD("\0\x09\0\0\0\6\0\0ab"), piece), "bad|", "a record behind its block");
		is_text(frames_of(bdw, RECORD("\0\2\0\0\0\6\0\0ab"), piece), "bad|", "a block that is too small");
	}
}

int
main(void)
{
	page = tap_code_page_open("IBM037");
	test_layout();
	test_errors();
	test_truncated();
	test_numbers();
	test_ascii_numbers();
	test_tables();
	test_redefines();
	test_records();
	test_names();
	test_code_pages();
	test_frames();
	tap_code_page_close(page);
	return done_testing();
}
