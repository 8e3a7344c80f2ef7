/*-------------------------------------------------------------------------
 *
 * test/unit/value_unit.h
 *	  Unit tests of column values and JSON, for binlog_unit.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VALUE_UNIT_H
#define VALUE_UNIT_H

#include "binlog.h"
#include "tap_unit.h"

#define LENGTH_OF(array)	(sizeof(array) / sizeof((array)[0]))
#define DIFFS(bytes)		bytes, sizeof(bytes) - 1

/* --- values -------------------------------------------------------------- */

static void
test_decimals(void)
{
	static const struct
	{
		const char *bytes;
		uint32_t	length;
		int			precision;
		int			scale;
		const char *text;
	}			cases[] = {
		{"\x81\x0d\xfb\x38\xd2\x04\xd2", 7, 14, 4, "1234567890.1234"},
		{"\x7e\xf2\x04\xc7\x2d\xfb\x2d", 7, 14, 4, "-1234567890.1234"},
		{"\x80\0\0\0\0", 5, 10, 0, "0"},
		{"\x80\0\0\1", 4, 9, 9, "0.000000001"},
		{"\x7f\xff\xff\xfe", 4, 9, 9, "-0.000000001"},
		{"\x80", 1, 1, 1, "0.0"},
		{"\x89", 1, 1, 0, "9"},
		{"\x8a", 1, 1, 0, NULL},
		{"\x80\0\0", 3, 10, 0, NULL},
		{"\x80", 1, 0, 0, NULL},
	};
	char		text[TAP_BINLOG_DECIMAL_SIZE];
	uint32_t	length;

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		bool		good = tap_binlog_get_decimal((const uint8_t *) cases[i].bytes,
												  cases[i].length, cases[i].precision,
												  cases[i].scale, text, &length);

		is_text(good ? text : "(refused)", cases[i].text ? cases[i].text : "(refused)",
				"decimal(%d,%d)", cases[i].precision, cases[i].scale);
	}
}

static void
test_times(void)
{
	static const struct
	{
		uint8_t		type;
		uint8_t		scale;
		const char *bytes;
		uint32_t	length;
		const char *text;
	}			cases[] = {
		{TAP_BINLOG_TYPE_DATE, 0, "\x5d\xd0\x0f", 3, "2024-02-29"},
		{TAP_BINLOG_TYPE_DATE, 0, "\0\0\0", 3, "0000-00-00"},
		{TAP_BINLOG_TYPE_TIME, 0, "\x41\xe2\x01", 3, "12:34:57"},
		{TAP_BINLOG_TYPE_TIME, 0, "\xbf\x1d\xfe", 3, "-12:34:57"},
		{TAP_BINLOG_TYPE_TIME, 0, "\xff\xff\x7f", 3, NULL},
		{TAP_BINLOG_TYPE_DATETIME, 0, "\xf7\x7c\xac\x8b\x68\x12\0\0", 8, "2024-02-29 23:59:59"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 0, "\0\0\0\0", 4, "0000-00-00 00:00:00"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 0, "\1\0\0\0", 4, "1970-01-01 00:00:01"},
		{TAP_BINLOG_TYPE_TIME, 3, "\0\xb1\xd8\x12\x27", 5, "-10:11:12.345"},
		{TAP_BINLOG_TYPE_TIME, 3, "\xff\xb1\xd8\x12\x27", 5, NULL},
		{TAP_BINLOG_TYPE_DATETIME, 6, "\1\2\x7a\xb3\xc5\x88\x3b\0", 8, "2024-02-29 01:02:03.123456"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 2, "\x65\xdf\xd7\x8b\x2d", 5, "2024-02-29 01:02:03.45"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 2, "\x65\xdf\xd7\x8b\x64", 5, NULL},
		{TAP_BINLOG_TYPE_TIMESTAMP2, 0, "\xff\xff\xff\xff", 4, "2106-02-07 06:28:15"},
		{TAP_BINLOG_TYPE_TIMESTAMP2, 2, "\x65\xe0\x6d\xc0\x05", 5, "2024-02-29 11:42:56.05"},
		{TAP_BINLOG_TYPE_TIMESTAMP2, 2, "\x65\xe0\x6d\xc0\x64", 5, NULL},
		{TAP_BINLOG_TYPE_TIME2, 0, "\x80\0\0", 3, "00:00:00"},
		{TAP_BINLOG_TYPE_TIME2, 0, "\x7f\xff\xff", 3, "-00:00:01"},
		{TAP_BINLOG_TYPE_TIME2, 2, "\x7f\xff\xff\xff", 4, "-00:00:00.01"},
		{TAP_BINLOG_TYPE_TIME2, 0, "\xb4\x6e\xfb", 3, "838:59:59"},
		{TAP_BINLOG_TYPE_TIME2, 6, "\x4b\x91\x05\xf0\xbd\xc1", 6, "-838:59:58.999999"},
		{TAP_BINLOG_TYPE_TIME2, 0, "\x80\x0f\xff", 3, NULL},
		{TAP_BINLOG_TYPE_DATETIME2, 0, "\x80\0\0\0\0", 5, "0000-00-00 00:00:00"},
		{TAP_BINLOG_TYPE_DATETIME2, 0, "\x7f\xff\xff\xff\xff", 5, NULL},
		{TAP_BINLOG_TYPE_DATETIME2, 0, "\x80", 1, NULL},
	};

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		TapBinlogColumn column = {0};
		TapBinlogTime time;
		char		text[40];

		column.type = cases[i].type;
		column.scale = cases[i].scale;
		column.fixed_bytes = (uint8_t) cases[i].length;
		if (!tap_binlog_get_time(&column, (const uint8_t *) cases[i].bytes, cases[i].length,
								 &time))
			strcpy(text, "(refused)");
		else
			tap_binlog_format_time(column.type, column.scale, &time, text);
		is_text(text, cases[i].text ? cases[i].text : "(refused)", "%s(%d), case %zu",
				tap_binlog_type_name(column.type), column.scale, i + 1);
	}
}

static void
test_integers(void)
{
	const uint8_t *bytes = (const uint8_t *) "\xfe\xff\xff\xff\xff\xff\xff\xff";
	int64_t		number;
	uint64_t	bits;
	int			year;

	for (uint32_t length = 1; length <= 8; length++)
		ok(tap_binlog_get_int(bytes, length, &number) && number == -2, "-2 in %u bytes", length);
	ok(tap_binlog_get_uint(bytes, 3, &bits) && bits == 16777214, "unsigned in 3 bytes");
	ok(tap_binlog_get_uint(bytes, 8, &bits) && bits == UINT64_MAX - 1, "unsigned in 8 bytes");
	ok(!tap_binlog_get_int(bytes, 0, &number) && !tap_binlog_get_uint(bytes, 9, &bits),
	   "no integer has 0 or 9 bytes");
	ok(tap_binlog_get_bit((const uint8_t *) "\1\2", 2, &bits) && bits == 258, "bits");
	ok(tap_binlog_get_year((const uint8_t *) "\0", 1, &year) && year == 0, "year 0000");
}

/* --- JSON ---------------------------------------------------------------- */

static void
test_doubles(void)
{
	static const struct
	{
		double		value;
		const char *text;
	}			cases[] = {
		{0, "0.0"}, {-0.0, "-0.0"}, {1, "1.0"}, {1.5, "1.5"}, {0.1, "0.1"},
		{1e14, "100000000000000.0"}, {1e15, "1e15"}, {123456789012345, "123456789012345.0"},
		{1234567890123456.7, "1234567890123456.8"}, {12345678901234567, "1.2345678901234568e16"},
		{1e-14, "0.00000000000001"}, {1e-15, "0.000000000000001"}, {1e-16, "1e-16"},
		{-1.2345678901234567e-15, "-0.0000000000000012345678901234568"},
		{5e-324, "5e-324"}, {1.7976931348623157e308, "1.7976931348623157e308"},
		{5.684341886080801e-14, "0.00000000000005684341886080801"},
		{9007199254740993.0, "9.007199254740992e15"}, {1e22, "1e22"}, {1e23, "1e23"},
	};
	char		text[TAP_BINLOG_DOUBLE_SIZE];

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		tap_binlog_format_json_double(cases[i].value, text);
		is_text(text, cases[i].text, "double %.17g in JSON", cases[i].value);
	}
}

static void
test_json(void)
{
	static const struct
	{
		const char *name;
		const char *bytes;
		uint32_t	length;
		const char *text;
	}			cases[] = {
		{"empty value", "", 0, "null"},
		{"literal", "\4\1", 2, "true"},
		{"unknown literal", "\4\3", 2, NULL},
		{"int16", "\5\xfe\xff", 3, "-2"},
		{"uint64", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff", 9, "18446744073709551615"},
		{"string", "\x0c\5a\"\\\n\x1f", 7, "\"a\\\"\\\\\\n\\u001f\""},
		{"string that is too long", "\x0c\6abcde", 7, NULL},
		{"length without end", "\x0c\xff\xff\xff\xff\xff\xff", 7, NULL},
		{"small array", "\2\2\0\x0a\0\5\1\0\4\0\0", 11, "[1, null]"},
		{"small object", "\0\1\0\x0d\0\x0b\0\2\0\5\2\0kk", 14, "{\"kk\": 2}"},
		{"empty object", "\0\0\0\4\0", 5, "{}"},
		{"more elements than bytes", "\2\xff\xff\x0a\0\5\1\0\4\0\0", 11, NULL},
		{"size beyond the end", "\2\1\0\x0a\0\5\1\0", 8, NULL},
		{"array that holds itself", "\2\1\0\7\0\2\0\0", 8, NULL},
		{"key beyond the container", "\0\1\0\x0b\0\x0b\0\2\0\5\2\0", 12, NULL},
		{"decimal", "\x0f\xf6\4\3\1\x81\x90", 7, NULL},
		{"good decimal", "\x0f\xf6\4\3\1\x8c\5", 7, "12.5"},
		{"blob", "\x0f\xfc\3abc", 6, "\"base64:type252:YWJj\""},
		{"time", "\x0f\x0b\x08\0\0\0\xcc\xa2\0\0\0", 11, "\"10:11:12.000000\""},
		{"unknown type", "\x0d\0", 2, NULL},
	};

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		TapBinlogBuffer text;
		TapBinlogStatus status;

		tap_binlog_buffer_init(&text, 65536, NULL);
		status = tap_binlog_json_text((const uint8_t *) cases[i].bytes, cases[i].length, &text);
		is_text(status == TAP_BINLOG_OK ? text.data : "(refused)",
				cases[i].text ? cases[i].text : "(refused)", "JSON: %s", cases[i].name);
		tap_binlog_buffer_free(&text);
	}
}

/*
 * Arrays in arrays, built from the inside, each behind the header of its
 * outer one.
 */
static void
test_json_depth(void)
{
	for (int depth = 100; depth <= 101; depth++)
	{
		uint8_t		data[1 + 102 * 7];
		size_t		size = 1 + (size_t) depth * 7;
		TapBinlogBuffer text;

		data[0] = 2;
		for (int i = 0; i < depth; i++)
		{
			uint8_t    *level = data + 1 + i * 7;
			size_t		left = size - 1 - (size_t) i * 7;

			memcpy(level, "\1\0\0\0\2\7\0", 7);
			level[2] = (uint8_t) left;
			level[3] = (uint8_t) (left >> 8);
			if (i == depth - 1)
				level[0] = 0;
		}
		tap_binlog_buffer_init(&text, 65536, NULL);
		ok((tap_binlog_json_text(data, (uint32_t) size, &text) == TAP_BINLOG_OK) == (depth == 100),
		   "JSON: %d arrays in each other", depth);
		tap_binlog_buffer_free(&text);
	}
}

static void
test_json_apply(void)
{
	static const struct
	{
		const char *old;
		const char *diffs;
		uint32_t	length;
		const char *text;
	}			cases[] = {
		{"{\"b\":1,\"a\":[ 1.50,2 ]}", DIFFS(""), "{\"a\": [1.50, 2], \"b\": 1}"},
		{"{\"a\":1}", DIFFS("\0\3$.a\3\5\2\0"), "{\"a\": 2}"},
		{"{\"a\":1}", DIFFS("\1\3$.b\2\4\1"), "{\"a\": 1, \"b\": true}"},
		{"{\"bb\":1}", DIFFS("\1\3$.c\2\4\0"), "{\"c\": null, \"bb\": 1}"},
		{"{\"a\":1}", DIFFS("\1\3$.a\2\4\1"), NULL},
		{"{\"a\":1}", DIFFS("\0\3$.b\2\4\1"), NULL},
		{"{\"a b\":{\"c\":[1,2]}}", DIFFS("\2\x0c$.\"a b\".c[0]"), "{\"a b\": {\"c\": [2]}}"},
		{"[1,2]", DIFFS("\1\4$[1]\2\4\0"), "[1, null, 2]"},
		{"[1,2]", DIFFS("\1\4$[9]\2\4\0"), "[1, 2, null]"},
		{"[1,2]", DIFFS("\0\4$[2]\2\4\0"), NULL},
		{"[1,2]", DIFFS("\0\1$\2\4\2"), "false"},
		{"[1,2]", DIFFS("\2\1$"), NULL},
		{"[1,2]", DIFFS("\3\4$[1]"), NULL},
		{"[1,2]", DIFFS("\2\4$[1"), NULL},
		{"[1,2", DIFFS(""), NULL},
		{"\"\\u00e9\\ud83d\\ude00\"", DIFFS(""), "\"\xc3\xa9\xf0\x9f\x98\x80\""},
		{"\"\\ud83d\"", DIFFS(""), NULL},
		{"{\"k\":1,\"k\":2}", DIFFS(""), "{\"k\": 2}"},
	};

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		TapBinlogBuffer text;
		TapBinlogStatus status;

		tap_binlog_buffer_init(&text, 65536, NULL);
		status = tap_binlog_json_apply(cases[i].old, strlen(cases[i].old),
									   (const uint8_t *) cases[i].diffs, cases[i].length, &text);
		is_text(status == TAP_BINLOG_OK ? text.data : "(refused)",
				cases[i].text ? cases[i].text : "(refused)", "JSON diffs: case %zu", i + 1);
		tap_binlog_buffer_free(&text);
	}
}

#endif							/* VALUE_UNIT_H */
