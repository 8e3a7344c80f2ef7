/*-------------------------------------------------------------------------
 *
 * test/unit/records_unit.c
 *	  Unit tests of what takes CSV and JSON apart.
 *
 *-------------------------------------------------------------------------
 */
#include "server_shim.h"

#include "csv.h"
#include "json_scan.h"
#include "json_split.h"
#include "tap_unit.h"

/* Input in memory of exactly its size, so that any read beyond it is seen. */
static char *
exact_copy(const char *text, size_t length)
{
	char	   *copy = malloc(length ? length : 1);

	memcpy(copy, text, length);
	return copy;
}

static void
append(char *out, const char *text, size_t length)
{
	size_t		at = strlen(out);

	memcpy(out + at, text, length);
	out[at + length] = '\0';
}

/* ----------------
 * CSV
 * ----------------
 */

/* All records as text: fields in <>, NULL as !, ~ for an empty line, and what went wrong. */
static void
show_csv(const TapCsvDialect *dialect, const char *text, size_t length,
		 size_t window, size_t max_bytes, char *out)
{
	TapCsv	   *csv = tap_csv_make(dialect);
	volatile size_t at = 0;
	volatile size_t have = Min(window, length);

	out[0] = '\0';
	for (;;)
	{
		static Size taken;
		volatile TapCsvResult result = TAP_CSV_END;
		char	   *copy = exact_copy(text + at, have);
		volatile bool failed = false;

		PG_TRY();
		{
			result = tap_csv_next(csv, copy, have, at + have == length, max_bytes, &taken);
		}
		PG_CATCH();
		{
			failed = true;
		}
		PG_END_TRY();
		if (failed)
			append(out, "error", 5);
		for (int i = 0; result == TAP_CSV_RECORD && i < csv->nfields; i++)
		{
			append(out, csv->values[i] ? csv->quoted[i] ? csv->dialect.quote == '"' ? "\"" : "'" : "<" : "!", 1);
			if (csv->values[i])
				append(out, csv->values[i], csv->lengths[i]);
			append(out, csv->values[i] ? ">" : "", csv->values[i] ? 1 : 0);
		}
		free(copy);
		if (result == TAP_CSV_END && (!failed || taken == 0))
			break;
		if (result == TAP_CSV_MORE)
		{
			if (at + have >= length)
				abort();
			have = Min(have + window, length - at);
			continue;
		}
		append(out, result == TAP_CSV_EMPTY ? "~" : ";", 1);
		at += taken;
		have = Min(window, length - at);
	}
	shim_reset();
}

static const TapCsvDialect plain = {',', '"', '"', "", false, 0};

/* The same whatever pieces the text comes in. */
static void
is_csv(const TapCsvDialect *dialect, const char *text, const char *expected,
	   const char *name)
{
	char		out[1024];

	for (size_t window = 1; window <= strlen(text) + 1; window++)
	{
		show_csv(dialect, text, strlen(text), window, 1000, out);
		if (strcmp(out, expected) != 0)
			break;
	}
	is_text(out, expected, "CSV: %s", name);
}

static void
test_csv(void)
{
	static const TapCsvDialect escaping = {';', '\'', '\\', "\\N", false, 0};
	static const TapCsvDialect bare = {'\t', '\0', '\0', NULL, false, 0};
	char		out[1024];

	is_csv(&plain, "a,b,c\n1,2,3\n", "<a><b><c>;<1><2><3>;", "plain");
	is_csv(&plain, "a,b\r\nc,d\re,f", "<a><b>;<c><d>;<e><f>;", "all ends of lines");
	is_csv(&plain, "a,,\n,,\n", "<a>!!;!!!;", "empty fields are NULL");
	is_csv(&plain, "\"\",a\n", "\"><a>;", "a quoted empty field is not");
	is_csv(&plain, "a\n\n\r\nb\n", "<a>;~~<b>;", "empty lines");
	is_csv(&plain, "\"a,b\",\"c\nd\",\"e\r\nf\"\ng,h,i\n", "\"a,b>\"c\nd>\"e\r\nf>;<g><h><i>;",
		   "delimiters and ends of lines in quotes");
	is_csv(&plain, "\"a\"\"b\",\"\"\"\",\"\"\"c\"\"\"\nd,e,f\n", "\"a\"b>\"\">\"\"c\">;<d><e><f>;", "doubled quotes");
	is_csv(&plain, "5\" pipe,a\"b\"\nx,y\n", "<5\" pipe><a\"b\">;<x><y>;", "quotes within a field without are nothing");
	is_csv(&plain, "a\nb,\"c\nd,e\n", "<a>;error", "a quote that is never closed");
	is_csv(&plain, "a,\"b\"c,d\ne\n\"f\"g", "error;<e>;error;", "text behind a closing quote costs one record");
	is_csv(&plain, "0123456789012345678901234567890,0123456789012345,x\n",
		   "<0123456789012345678901234567890><0123456789012345><x>;", "long fields");
	is_csv(&escaping, "'a\\'b';\\N;'c\\\\';'\\N';d\\\n", "'a'b>!'c\\>'\\N><d\\>;", "escapes other than the quote");
	is_csv(&bare, "a\t\"b\tc\"\n\t\n", "<a><\"b><c\">;<><>;", "no quotes and no NULL");
	show_csv(&plain, "a,b\n", 4, 4, 3, out);
	is_text(out, "error;", "CSV: a record beyond the limit");
}

static void
is_dialect(const char *text, int given, const char *expected, const char *name)
{
	TapCsvDialect dialect = {'!', '!', '!', "", false, 0};
	char		out[8] = {0};
	char	   *copy = exact_copy(text, strlen(text));

	tap_csv_sniff(&dialect, given, copy, strlen(text), true);
	out[0] = dialect.delimiter;
	out[1] = dialect.quote;
	out[2] = dialect.escape;
	out[3] = dialect.header ? 'h' : '-';
	free(copy);
	shim_reset();
	is_text(out, expected, "dialect: %s", name);
}

static void
test_sniff(void)
{
	is_dialect("id,name\n1,a\n2,b\n", 0, ",\"\"h", "commas and a header");
	is_dialect("1,a\n2,b\n", 0, ",\"\"-", "no header");
	is_dialect("id;price\n1;1,5\n2;2,5\n", 0, ";\"\"h", "semicolons and decimal commas");
	is_dialect("id\tname\n1\ta, b\n2\tc\n", 0, "\t\"\"h", "tabs");
	is_dialect("a|b|c\n1|2|3\n", 0, "|\"\"h", "bars");
	is_dialect("id,text\n1,\"a;b;c\"\n2,\"d;e;f\"\n", 0, ",\"\"h", "semicolons in quotes");
	is_dialect("id,text\n1,\"say \\\"hi\\\" now\"\n", 0, ",\"\\h", "backslashes before quotes");
	is_dialect("id,text\n1,\"say \"\"hi\"\" now\"\n", 0, ",\"\"h", "doubled quotes");
	is_dialect("name\nalpha\nbeta\n", 0, ",\"\"h", "one column");
	is_dialect("", 0, ",\"\"-", "nothing");
	is_dialect("id,id\n1,2\n", 0, ",\"\"-", "the same name twice is no header");
	is_dialect("a,b\n", TAP_CSV_GIVEN_HEADER, ",\"\"-", "what is given is not guessed");
	is_dialect("a,b\n1,\"2", 0, ",\"\"h", "a quote that is not closed");
}

/* ----------------
 * JSON
 * ----------------
 */

static bool
is_json(const char *text, size_t length)
{
	char	   *copy = exact_copy(text, length);
	TapJsonScan scan;
	TapJsonValue value;
	bool		valid;

	tap_json_scan_begin(&scan, copy, length);
	valid = tap_json_scan_value(&scan, &value) && tap_json_scan_end(&scan);
	if (valid == (scan.error != NULL))
		abort();
	free(copy);
	return valid;
}

static void
test_scan(void)
{
	static const char *const valid[] = {
		"1", "-0", "0.5", "1e5", "-12.25E-3", "true", "false", "null", "\"\"", "[]", "{}",
		" [ 1 , [ ] , { } ] ", "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"x\"}", "[[],[[]],{\"a\":[]}]",
		"\"\\u00e4\\n\\\\\\\"\\/\"", "\"a string that is longer than sixteen bytes\"",
	};
	static const char *const invalid[] = {
		"", " ", "[", "{", "]", "}", "[1", "[1,", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
		"{a:1}", "{1:1}", "[1}", "{\"a\":1]", "01", "1.", ".5", "1e", "+1", "-", "tru", "truex", "nul",
		"\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\n\"", "1 2", "[1] x", "[1 2]",
		"{\"a\":1 \"b\":2}", "\"sixteen bytes or more \x01\"", "\"sixteen bytes or more\n",
	};
	char		deep[2 * (TAP_JSON_MAX_DEPTH + 1)];
	TapJsonValue value = {TAP_JSON_STRING, true, false, "\\u00e4\\n\\ud83d\\ude00", 20};
	Size		length;

	for (size_t i = 0; i < lengthof(valid); i++)
		ok(is_json(valid[i], strlen(valid[i])), "JSON: %s", valid[i]);
	for (size_t i = 0; i < lengthof(invalid); i++)
		ok(!is_json(invalid[i], strlen(invalid[i])), "no JSON: %zu", i);
	ok(!is_json("\"\0\"", 3), "a zero byte in a string");
	memset(deep, '[', TAP_JSON_MAX_DEPTH + 1);
	memset(deep + TAP_JSON_MAX_DEPTH + 1, ']', TAP_JSON_MAX_DEPTH + 1);
	ok(is_json(deep + 1, sizeof(deep) - 2), "as deep as is allowed");
	ok(!is_json(deep, sizeof(deep)), "deeper");
	is_text(tap_json_unescape(&value, &length), "\xc3\xa4\n\xf0\x9f\x98\x80", "escapes become characters");
	ok(length == 7, "of that many bytes");
}

static volatile bool unescape_failed;

static void
is_no_string(const char *text, const char *name)
{
	TapJsonValue value = {TAP_JSON_STRING, true, false, text, strlen(text)};
	Size		length;

	unescape_failed = false;
	PG_TRY();
	{
		(void) tap_json_unescape(&value, &length);
	}
	PG_CATCH();
	{
		unescape_failed = true;
	}
	PG_END_TRY();
	ok(unescape_failed && ERRCODE_TO_CATEGORY(shim_sqlstate) == ERRCODE_DATA_EXCEPTION, "%s", name);
}

/* All values of a text, each in <>, whatever pieces it comes in. */
static void
show_split(TapJsonLayout layout, const char *text, size_t window, char *out)
{
	size_t		length = strlen(text);
	volatile size_t at = 0;
	volatile size_t have = Min(window, length);
	TapJsonSplit split;

	tap_json_split_begin(&split, layout);
	out[0] = '\0';
	for (;;)
	{
		static Size taken;
		static const char *value;
		static Size value_length;
		volatile TapJsonSplitResult result = TAP_JSON_SPLIT_END;
		char	   *copy = exact_copy(text + at, have);
		volatile bool failed = false;

		PG_TRY();
		{
			result = tap_json_split_next(&split, copy, have, at + have == length, 100,
										 &value, &value_length, &taken);
		}
		PG_CATCH();
		{
			failed = true;
		}
		PG_END_TRY();
		if (failed)
			append(out, "error", 5);
		else if (result == TAP_JSON_SPLIT_VALUE)
		{
			append(out, "<", 1);
			append(out, value, value_length);
			append(out, ">", 1);
		}
		free(copy);
		if (failed || result == TAP_JSON_SPLIT_END)
			break;
		if (result == TAP_JSON_SPLIT_MORE)
		{
			if (at + have >= length)
				abort();
			have = Min(have + window, length - at);
			continue;
		}
		at += taken;
		have = Min(window, length - at);
	}
	shim_reset();
}

static void
is_split(TapJsonLayout layout, const char *text, const char *expected,
		 const char *name)
{
	char		out[1024];

	for (size_t window = 1; window <= strlen(text) + 1; window++)
	{
		show_split(layout, text, window, out);
		if (strcmp(out, expected) != 0)
			break;
	}
	is_text(out, expected, "split: %s", name);
}

static void
test_split(void)
{
	is_split(TAP_JSON_ARRAY, " [ {\"a\":[1,\"]}\\\"\"]} ,\n{}, 1,\"x\" , true]\n",
			 "<{\"a\":[1,\"]}\\\"\"]}><{}><1><\"x\"><true>", "an array");
	is_split(TAP_JSON_ARRAY, "[]", "", "an empty array");
	is_split(TAP_JSON_ARRAY, "[1", "<1>error", "an array that does not end");
	is_split(TAP_JSON_ARRAY, "[{\"a\":", "error", "a value that does not end");
	is_split(TAP_JSON_ARRAY, "[1 2]", "<1>error", "no comma");
	is_split(TAP_JSON_ARRAY, "[1]x", "<1>error", "something behind it");
	is_split(TAP_JSON_ARRAY, "{}", "error", "no array");
	is_split(TAP_JSON_VALUES, "{\"a\":\n1}{\"b\":2}\n\n3 4\n\"\\\\\"", "<{\"a\":\n1}><{\"b\":2}><3><4><\"\\\\\">",
			 "values one after the other");
	is_split(TAP_JSON_LINES, "{\"a\":1}\n\n  {\"b\r\n{}", "<{\"a\":1}><{\"b><{}>", "lines");
	is_split(TAP_JSON_LINES, "", "", "no lines");
	ok(tap_json_split_sniff(" [1]", 4, true) == TAP_JSON_ARRAY, "an array is seen");
	ok(tap_json_split_sniff("{}\n{}", 5, true) == TAP_JSON_LINES, "lines are seen");
	ok(tap_json_split_sniff("{\n}\n{}", 6, true) == TAP_JSON_VALUES, "values over lines are seen");
}

int
main(void)
{
	test_csv();
	test_sniff();
	test_scan();
	is_no_string("\\u0000", "a zero character");
	is_no_string("\\ud83d", "the first half of a pair alone");
	is_no_string("\\ude00", "the second half of a pair alone");
	is_no_string("\\ud83d\\u0041", "a first half and no second");
	shim_reset();
	test_split();
	return done_testing();
}
