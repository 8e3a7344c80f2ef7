/*-------------------------------------------------------------------------
 *
 * test/unit/http_unit.c
 *	  Unit tests of what the HTTP connector reads of answers.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "http_bulk.h"
#include "http_json.h"
#include "http_page_link.h"
#include "tap_unit.h"

#define MOST_ITEMS 8

/* Input in memory of exactly its size, so that any read beyond it is seen. */
static char *
exact_copy(const char *text, size_t length)
{
	char	   *copy = malloc(length ? length : 1);

	memcpy(copy, text, length);
	return copy;
}

/* Whether all of the text is one JSON value. */
static bool
is_json(const char *text, size_t length)
{
	char	   *copy = exact_copy(text, length);
	TapHttpJson json;
	bool		valid;

	tap_http_json_init(&json, copy, length);
	valid = tap_http_json_skip(&json) && tap_http_json_at_end(&json);
	free(copy);
	return valid;
}

static void
test_syntax(void)
{
	static const char *const valid[] = {
		"1", "-0", "0.5", "1e5", "-12.25E-3", "true", "false", "null", "\"\"", "[]", "{}",
		" [ 1 , [ ] , { } ] ", "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"x\"}",
		"\"\\u00e4\\n\\\\\\\"\\/\"", "\"\\ud83d\\ude00\"", "[[],[[]],{\"a\":[]}]",
	};
	static const char *const invalid[] = {
		"", " ", "[", "{", "]", "}", "[1", "[1,", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
		"{a:1}", "{1:1}", "[1}", "{\"a\":1]", "01", "1.", ".5", "1e", "+1", "-", "tru", "truex", "nul",
		"\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud83d\"", "\"\\ud83d\\u0041\"",
		"\"\\ude00\"", "\"\n\"", "1 2", "[1] x", "[1 2]", "{\"a\":1 \"b\":2}",
	};

	for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
		ok(is_json(valid[i], strlen(valid[i])), "JSON: %s", valid[i]);
	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		ok(!is_json(invalid[i], strlen(invalid[i])), "no JSON: %zu", i);
	ok(!is_json("[\0]", 3), "a NUL outside of strings");
	ok(!is_json("\"\0\"", 3), "a NUL inside of a string");
}

static void
test_truncated(void)
{
	const char *text = "{\"a\":[1.5e3,true,null,\"x\\u00e4\\n\"],\"b\":{\"c\":false}}";
	int			accepted = 0;

	for (size_t length = 0; length < strlen(text); length++)
		accepted += is_json(text, length);
	ok(accepted == 0, "no beginning of a value is one");
	ok(is_json(text, strlen(text)), "the whole is");
}

static void
test_depth(void)
{
	char		text[2 * (TAP_HTTP_JSON_DEPTH + 1)];

	memset(text, '[', TAP_HTTP_JSON_DEPTH + 1);
	memset(text + TAP_HTTP_JSON_DEPTH + 1, ']', TAP_HTTP_JSON_DEPTH + 1);
	ok(is_json(text + 1, sizeof(text) - 2), "as deep as is allowed");
	ok(!is_json(text, sizeof(text)), "deeper");
}

static void
test_strings(void)
{
	TapHttpJson json;
	char		text[16];
	bool		cut;
	int64_t		number;

	tap_http_json_init(&json, "\"a\\u00e4\\u20ac\\ud83d\\ude00\\u0000\"", 33);
	ok(tap_http_json_string(&json, text, sizeof(text), &cut) && !cut &&
	   strcmp(text, "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd") == 0, "escapes become UTF-8");
	tap_http_json_init(&json, "\"abc\\u20acdef\"", 14);
	ok(tap_http_json_string(&json, text, 5, &cut) && cut && strcmp(text, "abc") == 0,
	   "no character is cut in the middle");
	tap_http_json_init(&json, "12", 2);
	ok(!tap_http_json_string(&json, text, sizeof(text), &cut) && text[0] == '\0', "a number is no string");
	tap_http_json_init(&json, "9223372036854775807", 19);
	ok(tap_http_json_int(&json, &number) && number == INT64_MAX, "the largest number");
	tap_http_json_init(&json, "9223372036854775808", 19);
	ok(!tap_http_json_int(&json, &number), "a number that is too large");
	tap_http_json_init(&json, "1.5", 3);
	ok(!tap_http_json_int(&json, &number), "a number that is not whole");
}

static bool
parse_bulk(const char *text, TapHttpBulkItem *items, int nitems)
{
	char	   *copy = exact_copy(text, strlen(text));
	bool		done = tap_http_parse_bulk(copy, strlen(text), items, nitems);

	free(copy);
	return done;
}

static void
test_bulk(void)
{
	TapHttpBulkItem items[MOST_ITEMS];

	ok(parse_bulk("{\"took\":3,\"errors\":true,\"items\":[{\"index\":{\"_id\":\"1\",\"status\":201}},"
				  "{\"delete\":{\"status\":404}},{\"index\":{\"status\":400,\"error\":{\"type\":\"mapper_parsing_exception\","
				  "\"reason\":\"caf\\u00e9\\n\",\"caused_by\":{\"type\":\"x\",\"reason\":\"y\"}}}}]}", items, 3),
	   "an answer with partial failures");
	ok(items[0].status == 201 && items[0].type[0] == '\0', "an item that was stored");
	ok(items[1].status == 404 && items[1].type[0] == '\0', "a delete of nothing");
	ok(items[2].status == 400 && strcmp(items[2].type, "mapper_parsing_exception") == 0, "an item that was refused");
	is_text(items[2].reason, "caf???", "a reason is printable");
	ok(parse_bulk("{\"items\":[{\"index\":{\"status\":500,\"error\":\"old\"}}]}", items, 1) &&
	   strcmp(items[0].reason, "old") == 0, "an error as text");
	ok(!parse_bulk("{\"items\":[{\"index\":{\"status\":200}}]}", items, 2), "too few items");
	ok(!parse_bulk("{\"items\":[{\"index\":{\"status\":200}},{\"index\":{\"status\":200}}]}", items, 1), "too many");
	ok(!parse_bulk("{\"items\":[{\"index\":{}}]}", items, 1), "an item without a status");
	ok(!parse_bulk("{\"items\":[{\"index\":{\"status\":\"200\"}}]}", items, 1), "a status that is no number");
	ok(!parse_bulk("{\"items\":[{\"index\":{\"status\":0}}]}", items, 1), "a status that is none");
	ok(!parse_bulk("{\"items\":[{}]}", items, 1), "an item that is empty");
	ok(!parse_bulk("{\"items\":[]} x", items, 0), "something behind it");
	ok(!parse_bulk("{\"items\":[],\"items\":[]}", items, 0), "items twice");
	ok(!parse_bulk("<html>", items, 1), "no JSON");
	ok(!parse_bulk("{}", items, 0), "no items");
}

static void
count_hit(void *data, const char *id, int64_t version)
{
	int		   *sum = data;

	*sum += (int) strlen(id) * 100 + (int) version;
}

static void
test_hits(void)
{
	static const char *const text = "{\"_scroll_id\":\"abc\",\"hits\":{\"total\":2,\"hits\":"
	"[{\"_id\":\"1\",\"_version\":7},{\"_id\":\"\\u00e4\",\"_version\":5,\"_source\":{}}]}}";
	char		scroll[8];
	int			sum = 0;

	ok(tap_http_parse_hits(text, strlen(text), scroll, sizeof(scroll), count_hit, &sum) && sum == 312,
	   "the hits of a search");
	is_text(scroll, "abc", "the scroll id");
	sum = 0;
	ok(tap_http_parse_hits("{}", 2, scroll, sizeof(scroll), count_hit, &sum) && sum == 0, "no hits");
	ok(!tap_http_parse_hits(text, strlen(text), scroll, 3, count_hit, &sum), "a scroll id that does not fit");
	ok(!tap_http_parse_hits(text, strlen(text) - 1, scroll, sizeof(scroll), count_hit, &sum), "half an answer");
}

/* The target of relation next, NULL: none. */
static void
check_link(const char *header, const char *expected)
{
	size_t		size = strlen(header);
	char	   *copy = exact_copy(header, size);
	const char *target;
	size_t		length;
	bool		found = tap_http_link_find(copy, size, "next", &target, &length);

	ok(expected ? found && length == strlen(expected) && memcmp(target, expected, length) == 0 : !found,
	   "link: %s", header);
	free(copy);
}

static void
test_links(void)
{
	check_link("<https://a/b?page=2>; rel=\"next\"", "https://a/b?page=2");
	check_link("</b>; rel=prev, </c>;rel=next", "/c");
	check_link("</b> ; title=\"a, <x>; rel=next\" ; REL=\"last\tNext\"", "/b");
	check_link("</b>; rel=prev; rel=next", NULL);
	check_link("</b>; rel=nextish", NULL);
	check_link("</b>; title=\"a\\\"; rel=next", NULL);
	check_link("</b>; x; y=; rel=next", "/b");
	check_link(", ,</b>;;rel=next", "/b");
	check_link("<>; rel=next", "");
	check_link("</b; rel=next", NULL);
	check_link("</b>; rel=\"next", "/b");
	check_link("", NULL);
	check_link("<", NULL);
}

int
main(void)
{
	test_syntax();
	test_links();
	test_truncated();
	test_depth();
	test_strings();
	test_bulk();
	test_hits();
	return done_testing();
}
