/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source_list.c
 *	  The options of HTTP as a source.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

static const char *const formats[] = {"auto", "json", "ndjson", "csv", NULL};
static const char *const paginations[] = {"none", "link", "page", "offset", "cursor", NULL};
static const char *const deletes[] = {"keep", "compare", NULL};
static const char *const oauth_logins[] = {"basic", "body", NULL};

const TapOption tap_http_source_options[] = {
	{
		.name = "endpoints",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_http_check_endpoints,
		.help = "source: tables and where they are, as {\"orders\": {\"path\": \"/api/orders\", \"key\": \"id\"}, ...}; of each can be said what the following options say of all"
	},
	{
		.name = "table_name",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: name of the one table when there are no \"endpoints\"; otherwise the last part of the URI's path"
	},
	{
		.name = "format",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "auto",
		.values = formats,
		.help = "source: what answers are; auto goes by their Content-Type"
	},
	{
		.name = "records",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_http_check_json_path,
		.help = "source: SQL/JSON path of the records in an answer, as $.data[*]; otherwise the elements of the answer, or all of it"
	},
	{
		.name = "key",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: columns that tell a row from all others, separated by commas"
	},
	{
		.name = "columns",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_record_columns_check,
		.help = "source: columns and their types, as {\"id\": \"bigint\"}; otherwise they are found in the first page, and new ones are added later"
	},
	{
		.name = "deletes",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "keep",
		.values = deletes,
		.help = "source: whether rows that a poll does not find any more are kept, or deleted (compare)"
	},
	{
		.name = "append",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "false",
		.help = "source: without \"key\" and \"cursor\", that each answer has new rows only"
	},
	{
		.name = "pagination",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "none",
		.values = paginations,
		.help = "source: how pages follow on each other: by the header Link, a page number, an offset, or a cursor in the answer"
	},
	{
		.name = "page_parameter",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_http_check_parameter,
		.help = "source: parameter for the page's number, offset or cursor; by \"pagination\" page, offset or cursor"
	},
	{
		.name = "page_size",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "0",
		.minimum = 0,
		.maximum = 1000000,
		.help = "source: records of a page to ask for; 0 does not, but by offset 100"
	},
	{
		.name = "page_size_parameter",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_http_check_parameter,
		.help = "source: parameter for it; per_page, by offset limit"
	},
	{
		.name = "first_page",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "1",
		.minimum = 0,
		.maximum = 1000000,
		.help = "source: number of the first page"
	},
	{
		.name = "next",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "$.next",
		.check = tap_http_check_json_path,
		.help = "source: with pagination by cursor, path of the next page's cursor or URL in the answer"
	},
	{
		.name = "more",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_http_check_json_path,
		.help = "source: path of a value in the answer that says whether there are more pages; otherwise an empty page is the last"
	},
	{
		.name = "max_pages",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "100000",
		.minimum = 1,
		.maximum = 1000000000,
		.help = "source: more pages than that are an error"
	},
	{
		.name = "max_page_bytes",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "67108864",
		.minimum = 1024,
		.maximum = 1073741823,
		.help = "source: an answer that is longer, when it is decompressed, is an error"
	},
	{
		.name = "cursor",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: column whose largest value is where the next poll begins"
	},
	{
		.name = "cursor_parameter",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "since",
		.check = tap_http_check_parameter,
		.help = "source: parameter for that value"
	},
	{
		.name = "cursor_start",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: its value in the first poll; otherwise that goes without it"
	},
	{
		.name = "overlap",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: how far polls go back behind that value, as \"5 min\" or a number"
	},
	{
		.name = "interval",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION | TAP_SCOPE_PULL,
		.default_value = "1 min",
		.check = tap_http_check_interval,
		.help = "source: time from the beginning of one poll to that of the next"
	},
	{
		.name = "requests_per_minute",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "0",
		.minimum = 0,
		.maximum = 1000000,
		.help = "source: not more requests than that; 0 sets no limit"
	},
	{
		.name = "delimiter",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_http_check_delimiter,
		.help = "source: what divides the fields of CSV; otherwise it is found out"
	},
	{
		.name = "header",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: whether the first line of CSV has the names; otherwise it is found out"
	},
	{
		.name = "null",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: an unquoted field of CSV that is NULL; otherwise an empty one"
	},
	{
		.name = "oauth_token_url",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: where to get a token by OAuth 2.0 client credentials"
	},
	{
		.name = "oauth_client_id",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: the client's name there"
	},
	{
		.name = "oauth_client_secret",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.secret = true,
		.help = "source: and its secret"
	},
	{
		.name = "oauth_client_secret_file",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.server_file = true,
		.help = "source: file on the server whose first line is that secret; read for each token"
	},
	{
		.name = "oauth_scope",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: scope to ask for"
	},
	{
		.name = "oauth_audience",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "source: audience to ask for"
	},
	{
		.name = "oauth_login",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "basic",
		.values = oauth_logins,
		.help = "source: whether the client logs in by basic authentication or in the body"
	},
	{.name = NULL}
};
