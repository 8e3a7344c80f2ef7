/*-------------------------------------------------------------------------
 *
 * test/unit/gtid_unit.h
 *	  Unit tests of the GTID sets, for binlog_unit.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GTID_UNIT_H
#define GTID_UNIT_H

#include <stdlib.h>

#include "gtid.h"
#include "tap_unit.h"

#define UUID_A	"3456f303-e66d-11f1-bcc5-02fc00000001"
#define UUID_B	"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

static TapGtidSet
gtid_set(const char *text)
{
	TapGtidSet	set = {0};

	if (tap_gtid_set_parse(text, strlen(text), &set) != TAP_GTID_OK)
		ok(false, "parse %s", text);
	return set;
}

static void
is_gtid_set(TapGtidSet *set, const char *expected, const char *name)
{
	char	   *text = tap_gtid_set_text(set);

	is_text(text, expected, "GTID set: %s", name);
	free(text);
	tap_gtid_set_free(set);
}

static void
test_gtid_text(void)
{
	static const struct
	{
		const char *text;
		const char *canonical;
	}			cases[] = {
		{"", ""},
		{" \n ", ""},
		{UUID_A ":1-5", UUID_A ":1-5"},
		{UUID_A ":3:1-2:7-9:8-20", UUID_A ":1-3:7-20"},
		{UUID_A ":5-1", ""},
		{UUID_B ":1,\n" UUID_A ":2", UUID_A ":2," UUID_B ":1"},
		{UUID_A ":1,,", UUID_A ":1"},
		{UUID_A ":1-3:tag_1:4:Tag_1:5:zz:9", UUID_A ":1-3:tag_1:4-5:zz:9"},
		{UUID_A ":1," UUID_A ":b:2," UUID_A ":a:3", UUID_A ":1:a:3:b:2"},
		{"3456F303E66D11F1BCC502FC00000001:1", UUID_A ":1"},
		{UUID_A ":1-9223372036854775807", UUID_A ":1-9223372036854775807"},
		{UUID_A ":0", NULL},
		{UUID_A ":1-", NULL},
		{UUID_A ":1-9223372036854775808", NULL},
		{UUID_A ":a23456789012345678901234567890123:1", NULL},
		{"3456f303-e66d-11f1-bcc5-02fc0000000:1", NULL},
		{UUID_A ":1 " UUID_B ":2", NULL},
		{"nonsense", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		TapGtidSet	set = {0};
		TapGtidStatus status = tap_gtid_set_parse(cases[i].text, strlen(cases[i].text), &set);

		if (status == TAP_GTID_OK)
			is_gtid_set(&set, cases[i].canonical ? cases[i].canonical : "(refused)",
						cases[i].text[0] ? "canonical text" : "empty text");
		else
			ok(cases[i].canonical == NULL, "GTID set: malformed text, case %zu", i + 1);
	}
}

static void
test_gtid_operations(void)
{
	TapGtidSet	a = gtid_set(UUID_A ":1-10:20-30," UUID_B ":5");
	TapGtidSet	b = gtid_set(UUID_A ":4-6:25-40");
	TapGtidSet	c = {0};
	TapGtidSet	all;

	ok(tap_gtid_set_contains(&a, a.sources[0].uuid, NULL, 10) &&
	   !tap_gtid_set_contains(&a, a.sources[0].uuid, NULL, 11) &&
	   !tap_gtid_set_contains(&a, a.sources[0].uuid, "tag", 10), "GTID set: contains");
	ok(tap_gtid_set_size(&a) == 22, "GTID set: size");
	ok(!tap_gtid_set_is_subset(&b, &a), "GTID set: no subset");
	tap_gtid_set_copy(&c, &a);
	ok(tap_gtid_set_equal(&a, &c), "GTID set: a copy is equal");
	tap_gtid_set_union(&c, &b);
	ok(tap_gtid_set_is_subset(&b, &c) && !tap_gtid_set_equal(&a, &c), "GTID set: subset");
	is_gtid_set(&c, UUID_A ":1-10:20-40," UUID_B ":5", "union");
	tap_gtid_set_copy(&c, &a);
	tap_gtid_set_subtract(&c, &b);
	is_gtid_set(&c, UUID_A ":1-3:7-10:20-24," UUID_B ":5", "difference");
	tap_gtid_set_copy(&c, &a);
	tap_gtid_set_subtract(&c, &a);
	is_gtid_set(&c, "", "nothing without itself");
	all = gtid_set(UUID_A ":1-9223372036854775807");
	tap_gtid_set_copy(&c, &a);
	tap_gtid_set_subtract(&c, &all);
	is_gtid_set(&c, UUID_B ":5", "nothing is behind the largest number");
	tap_gtid_set_free(&all);
	tap_gtid_set_add(&b, b.sources[0].uuid, NULL, 24);
	tap_gtid_set_add(&b, b.sources[0].uuid, "t", 1);
	ok(tap_gtid_set_add(&b, b.sources[0].uuid, NULL, 0) == TAP_GTID_BAD_FORMAT,
	   "GTID set: there is no transaction 0");
	is_gtid_set(&b, UUID_A ":4-6:24-40:t:1", "transactions are added one by one");
	tap_gtid_set_free(&a);
}

static void
test_gtid_encoding(const char *text, size_t expected_length, const char *start)
{
	TapGtidSet	set = gtid_set(text);
	TapGtidSet	again = {0};
	uint8_t    *data = NULL;
	size_t		length = 0;

	tap_gtid_set_encode(&set, &data, &length);
	ok(length == expected_length && memcmp(data, start, 8) == 0, "GTID set: encoding");
	ok(tap_gtid_set_decode(data, length, &again) == TAP_GTID_OK &&
	   tap_gtid_set_equal(&set, &again), "GTID set: decoding");
	ok(tap_gtid_set_decode(data, length - 1, &again) == TAP_GTID_BAD_FORMAT &&
	   tap_gtid_set_equal(&set, &again), "GTID set: a truncated encoding changes nothing");
	free(data);
	tap_gtid_set_free(&set);
	tap_gtid_set_free(&again);
}

static void
test_gtid_sets(void)
{
	test_gtid_text();
	test_gtid_operations();
	test_gtid_encoding(UUID_A ":1-5:7", 8 + 16 + 8 + 2 * 16, "\1\0\0\0\0\0\0\0");
	test_gtid_encoding(UUID_A ":1-5:tag:7", 8 + 2 * (16 + 1 + 8 + 16) + 3,
					   "\1\2\0\0\0\0\0\1");
}

static void
test_maria_gtids(void)
{
	TapMariaGtidList list = {0};
	TapMariaGtidList other = {0};
	TapMariaGtid gtid = {2, 9, 7};
	char	   *text;

	ok(tap_maria_gtid_parse(" 2-1-5, 0-1-100 ", 16, &list) == TAP_GTID_OK, "MariaDB: parse");
	text = tap_maria_gtid_text(&list);
	is_text(text, "0-1-100,2-1-5", "MariaDB: sorted text");
	free(text);
	ok(!tap_maria_gtid_covers(&list, gtid), "MariaDB: not yet reached");
	tap_maria_gtid_copy(&other, &list);
	tap_maria_gtid_update(&other, gtid);
	ok(tap_maria_gtid_covers(&other, gtid), "MariaDB: reached");
	ok(tap_maria_gtid_is_subset(&list, &other) && !tap_maria_gtid_is_subset(&other, &list) &&
	   !tap_maria_gtid_equal(&list, &other), "MariaDB: subset");
	text = tap_maria_gtid_text(&other);
	is_text(text, "0-1-100,2-9-7", "MariaDB: one GTID a domain");
	free(text);
	ok(tap_maria_gtid_parse("0-1", 3, &list) == TAP_GTID_BAD_FORMAT &&
	   tap_maria_gtid_parse("0-1-2,", 6, &list) == TAP_GTID_BAD_FORMAT &&
	   tap_maria_gtid_parse("4294967296-1-2", 14, &list) == TAP_GTID_BAD_FORMAT &&
	   tap_maria_gtid_parse("0-1-5,0-2-5", 11, &list) == TAP_GTID_BAD_FORMAT,
	   "MariaDB: malformed text");
	ok(tap_maria_gtid_parse("", 0, &list) == TAP_GTID_OK && list.count == 0, "MariaDB: empty");
	tap_maria_gtid_free(&list);
	tap_maria_gtid_free(&other);
}

#endif							/* GTID_UNIT_H */
