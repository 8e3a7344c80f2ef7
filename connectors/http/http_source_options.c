/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source_options.c
 *	  Endpoints from options.
 *
 * NOTES
 *	  What is said of one endpoint by the option "endpoints" goes before the
 *	  option of the same name, which is for all of them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define SHORTEST_INTERVAL_MS	100
#define OFFSET_PAGE_SIZE		100
#define NAME_BYTES				256

/* Where one endpoint's settings come from. */
typedef struct Settings
{
	const TapOptions *connection;
	const TapOptions *pipeline; /* or NULL */
	TapHttpSlice object;		/* what is said of this one; text NULL:
								 * nothing */
	const char *name;			/* of the endpoint */
} Settings;

/* Options that can be said of one endpoint. */
static const char *const endpoint_options[] = {
	"format", "records", "key", "columns", "deletes", "append", "pagination",
	"page_parameter", "page_size_parameter", "page_size", "first_page", "next", "more",
	"max_pages", "cursor", "cursor_parameter", "cursor_start", "overlap", "interval",
	"delimiter", "header", "null"
};

/* And those that cannot be said of all. */
static const char *const own_settings[] = {"path", "query"};

static bool
is_one_of(const char *name, const char *const *names, int nnames)
{
	for (int i = 0; i < nnames; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static void
report_bad(const char *endpoint, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 endpoint ? errmsg("invalid settings of endpoint \"%s\"", endpoint) :
			 errmsg("invalid value for option \"endpoints\""),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
}

/* ---------------------------------------------------------------------
 * Checks of single options
 * ---------------------------------------------------------------------
 */

static int64
interval_ms(const char *value)
{
	Interval   *interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(value),
																 ObjectIdGetDatum(InvalidOid),
																 Int32GetDatum(-1)));

	if (interval->month != 0)
		return -1;
	return interval->time / 1000 + (int64) interval->day * (SECS_PER_DAY * INT64CONST(1000));
}

void
tap_http_check_interval(const char *value)
{
	int64		ms = interval_ms(value);

	if (ms < SHORTEST_INTERVAL_MS || ms > INT64CONST(31) * SECS_PER_DAY * 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", "interval"),
				 errdetail("It is not between 100 milliseconds and 31 days."),
				 errhint("Write for example 30s, or 5 min.")));
}

void
tap_http_check_json_path(const char *value)
{
	(void) tap_http_path_compile(value);
}

void
tap_http_check_parameter(const char *value)
{
	static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	"0123456789-._~$[]()@:";

	if (value[0] == '\0' || strspn(value, letters) != strlen(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" cannot be the name of a parameter of a URL", value)));
}

void
tap_http_check_delimiter(const char *value)
{
	if (strlen(value) != 1 || strchr("\"\r\n", value[0]) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", "delimiter"),
				 errdetail("It is not one single-byte character other than a quote or the end of a line.")));
}

/* ---------------------------------------------------------------------
 * Settings
 * ---------------------------------------------------------------------
 */

static const TapOption *
find_option(const char *name)
{
	for (const TapOption *option = tap_http_source_options; option->name != NULL; option++)
	{
		if (strcmp(option->name, name) == 0)
			return option;
	}
	return NULL;
}

static void
check_enum(const Settings *settings, const TapOption *option, const char *value)
{
	StringInfoData all;

	initStringInfo(&all);
	for (int i = 0; option->values[i] != NULL; i++)
	{
		if (strcmp(value, option->values[i]) == 0)
			return;
		appendStringInfo(&all, "%s%s", i ? ", " : "", option->values[i]);
	}
	report_bad(settings->name, psprintf("\"%s\" is no value for \"%s\".", value, option->name),
			   psprintf("Valid values are: %s.", all.data));
}

/* What is said of one endpoint is held to what holds for the option. */
static void
check_value(const Settings *settings, const char *name, const char *value)
{
	const TapOption *option = find_option(name);
	char	   *end;
	int64		number;
	bool		flag;

	if (option == NULL)
		return;
	switch (option->type)
	{
		case TAP_OPTION_ENUM:
			check_enum(settings, option, value);
			break;
		case TAP_OPTION_INT:
			errno = 0;
			number = strtoll(value, &end, 10);
			if (end == value || *end != '\0' || errno != 0 || number < option->minimum ||
				number > option->maximum)
				report_bad(settings->name,
						   psprintf("\"%s\" is not a number between " INT64_FORMAT " and " INT64_FORMAT ".",
									name, option->minimum, option->maximum), NULL);
			break;
		case TAP_OPTION_BOOL:
			if (!parse_bool(value, &flag))
				report_bad(settings->name, psprintf("\"%s\" is neither true nor false.", name), NULL);
			break;
		default:
			break;
	}
	if (option->check != NULL)
		option->check(value);
}

/* The text of a setting, as JSON where it is an object or an array. */
static char *
own_setting(const Settings *settings, const char *name)
{
	TapHttpSlice value;
	char	   *text;

	if (settings->object.text == NULL ||
		!tap_http_json_find(settings->object.text, settings->object.length, name, &value))
		return NULL;
	if (value.text[0] == '{' || value.text[0] == '[')
		return pnstrdup(value.text, value.length);
	text = tap_http_json_text(value.text, value.length);
	if (text == NULL)
		report_bad(settings->name, psprintf("\"%s\" is null.", name), "Leave it out.");
	check_value(settings, name, text);
	return text;
}

static const char *
setting(const Settings *settings, const char *name)
{
	const char *value = own_setting(settings, name);

	return value ? value : tap_http_core->option_text(settings->connection, name);
}

static char *
setting_copy(const Settings *settings, const char *name)
{
	const char *value = setting(settings, name);

	return value ? pstrdup(value) : NULL;
}

static TapHttpPath *
setting_path(const Settings *settings, const char *name)
{
	const char *value = setting(settings, name);

	return value ? tap_http_path_compile(value) : NULL;
}

static bool
setting_bool(const Settings *settings, const char *name)
{
	bool		result = false;
	const char *value = setting(settings, name);

	return value != NULL && parse_bool(value, &result) && result;
}

static const char *
interval_of(const Settings *settings)
{
	const char *own = own_setting(settings, "interval");

	if (own != NULL)
		return own;
	if (settings->pipeline != NULL && tap_http_core->option_given(settings->pipeline, "interval"))
		return tap_http_core->option_text(settings->pipeline, "interval");
	return tap_http_core->option_text(settings->connection, "interval");
}

/* "a, b" or ["a", "b"]. */
static List *
key_of(const Settings *settings)
{
	const char *value = setting(settings, "key");
	List	   *key = NIL;

	if (value == NULL)
		return NIL;
	if (value[0] == '[')
	{
		TapHttpJson json;
		char		name[NAME_BYTES];

		tap_http_json_init(&json, value, strlen(value));
		for (bool first = true; tap_http_json_element(&json, first); first = false)
		{
			if (!tap_http_json_string(&json, name, sizeof(name), NULL))
				report_bad(settings->name, "An element of \"key\" is no string.", NULL);
			key = lappend(key, pstrdup(name));
		}
		return key;
	}
	while (*value != '\0')
	{
		Size		length = strcspn(value, ",");
		char	   *name = pnstrdup(value, length);

		value += length + (value[length] == ',');
		name += strspn(name, " ");
		for (length = strlen(name); length > 0 && name[length - 1] == ' '; length--)
			name[length - 1] = '\0';
		if (name[0] != '\0')
			key = lappend(key, name);
	}
	return key;
}

/* ---------------------------------------------------------------------
 * Endpoints
 * ---------------------------------------------------------------------
 */

static TapHttpPagination
pagination_of(const char *value)
{
	if (strcmp(value, "link") == 0)
		return TAP_HTTP_PAGES_LINK;
	if (strcmp(value, "page") == 0)
		return TAP_HTTP_PAGES_PAGE;
	if (strcmp(value, "offset") == 0)
		return TAP_HTTP_PAGES_OFFSET;
	if (strcmp(value, "cursor") == 0)
		return TAP_HTTP_PAGES_CURSOR;
	return TAP_HTTP_PAGES_NONE;
}

static void
read_pages(const Settings *settings, TapHttpEndpoint *endpoint)
{
	bool		by_offset;

	endpoint->pagination = pagination_of(setting(settings, "pagination"));
	by_offset = endpoint->pagination == TAP_HTTP_PAGES_OFFSET;
	endpoint->page_parameter = setting_copy(settings, "page_parameter");
	if (endpoint->page_parameter == NULL)
		endpoint->page_parameter = by_offset ? "offset" :
			endpoint->pagination == TAP_HTTP_PAGES_CURSOR ? "cursor" : "page";
	endpoint->page_size_parameter = setting_copy(settings, "page_size_parameter");
	if (endpoint->page_size_parameter == NULL)
		endpoint->page_size_parameter = by_offset ? "limit" : "per_page";
	endpoint->page_size = atoll(setting(settings, "page_size"));
	if (by_offset && endpoint->page_size == 0)
		endpoint->page_size = OFFSET_PAGE_SIZE;
	endpoint->first_page = by_offset ? 0 : atoll(setting(settings, "first_page"));
	endpoint->next = setting_path(settings, "next");
	endpoint->more = setting_path(settings, "more");
	endpoint->max_pages = atoll(setting(settings, "max_pages"));
}

static TapHttpFormat
format_of(const char *value)
{
	if (strcmp(value, "json") == 0)
		return TAP_HTTP_FORMAT_JSON;
	if (strcmp(value, "ndjson") == 0)
		return TAP_HTTP_FORMAT_NDJSON;
	if (strcmp(value, "csv") == 0)
		return TAP_HTTP_FORMAT_CSV;
	return TAP_HTTP_FORMAT_AUTO;
}

static void
read_format(const Settings *settings, TapHttpEndpoint *endpoint)
{
	const char *delimiter = setting(settings, "delimiter");

	endpoint->format = format_of(setting(settings, "format"));
	endpoint->records = setting_path(settings, "records");
	endpoint->columns = setting_copy(settings, "columns");
	if (endpoint->columns != NULL)
		tap_record_columns_check(endpoint->columns);
	endpoint->delimiter = delimiter ? delimiter[0] : '\0';
	endpoint->header_given = setting(settings, "header") != NULL;
	endpoint->header = setting_bool(settings, "header");
	endpoint->null_text = setting_copy(settings, "null");
}

/* All that says what is read and how; how often does not count. */
static char *
hash_of(const Settings *settings)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(endpoint_options); i++)
	{
		const char *value = strcmp(endpoint_options[i], "interval") == 0 ? NULL :
		setting(settings, endpoint_options[i]);

		appendStringInfo(&text, "%s=%s\n", endpoint_options[i], value ? value : "");
	}
	for (int i = 0; i < lengthof(own_settings); i++)
	{
		const char *value = own_setting(settings, own_settings[i]);

		appendStringInfo(&text, "%s=%s\n", own_settings[i], value ? value : "");
	}
	return psprintf("%016llx", (unsigned long long)
					hash_bytes_extended((const unsigned char *) text.data, text.len, 0));
}

static void
check_endpoint(const Settings *settings, const TapHttpEndpoint *endpoint)
{
	bool		append = setting_bool(settings, "append");
	bool		filter_is_last = true;

	if (endpoint->records != NULL)
		(void) tap_http_path_unfiltered(endpoint->records, &filter_is_last);
	if (!filter_is_last && (endpoint->pagination == TAP_HTTP_PAGES_OFFSET ||
							(endpoint->pagination == TAP_HTTP_PAGES_PAGE && endpoint->more == NULL)))
		report_bad(endpoint->name, "How many records a page has cannot be told by \"records\", which \"pagination\" needs.",
				   "Let the path end with its condition, as $.items[*] ? (@.type == \"order\"); or, if \"pagination\" is \"page\", give \"more\".");
	if (endpoint->compare && endpoint->key == NIL)
		report_bad(endpoint->name, "\"deletes\" is \"compare\", but there is no \"key\".",
				   "Name the columns that tell a row from all others with \"key\".");
	if (endpoint->compare && endpoint->cursor != NULL)
		report_bad(endpoint->name, "\"deletes\" is \"compare\", but with a \"cursor\" only a part of the rows is read.",
				   "Leave out one of them.");
	if (endpoint->key == NIL && endpoint->cursor == NULL && !append)
		report_bad(endpoint->name, "There is neither a \"key\" nor a \"cursor\": each poll would add the same rows once more.",
				   "Name the columns that tell a row from all others with \"key\"; or, if each answer has new rows only, set \"append\" to true.");
	if (endpoint->overlap != NULL && (endpoint->cursor == NULL || endpoint->key == NIL))
		report_bad(endpoint->name, "\"overlap\" needs a \"cursor\" and a \"key\".", NULL);
	if (endpoint->query != NULL)
		tap_http_check_query(endpoint->query);
	if (endpoint->path != NULL && endpoint->path[0] != '/')
		report_bad(endpoint->name, "\"path\" does not begin with \"/\".", NULL);
	if (endpoint->path != NULL && strpbrk(endpoint->path, "?#\r\n ") != NULL)
		report_bad(endpoint->name, "\"path\" has a character that no path has.",
				   "Escape it; what is behind \"?\" belongs into \"query\".");
}

static TapHttpEndpoint *
read_endpoint(const Settings *settings)
{
	TapHttpEndpoint *endpoint = palloc0(sizeof(TapHttpEndpoint));

	endpoint->name = pstrdup(settings->name);
	endpoint->path = own_setting(settings, "path");
	if (endpoint->path == NULL && settings->object.text != NULL)
	{
		StringInfoData path;

		initStringInfo(&path);
		appendStringInfoChar(&path, '/');
		tap_http_append_escaped(&path, settings->name, "");
		endpoint->path = path.data;
	}
	else if (endpoint->path != NULL && endpoint->path[0] == '\0')
		endpoint->path = NULL;
	endpoint->query = own_setting(settings, "query");
	endpoint->key = key_of(settings);
	endpoint->compare = strcmp(setting(settings, "deletes"), "compare") == 0;
	endpoint->cursor = setting_copy(settings, "cursor");
	endpoint->cursor_parameter = setting_copy(settings, "cursor_parameter");
	endpoint->cursor_start = setting_copy(settings, "cursor_start");
	endpoint->overlap = setting_copy(settings, "overlap");
	endpoint->max_page_bytes = (Size) tap_http_core->option_int(settings->connection,
																"max_page_bytes");
	endpoint->interval_ms = interval_ms(interval_of(settings));
	read_pages(settings, endpoint);
	read_format(settings, endpoint);
	endpoint->settings = hash_of(settings);
	check_endpoint(settings, endpoint);
	return endpoint;
}

/* Of keys that mean nothing, the first. */
static void
check_names(const Settings *settings)
{
	TapHttpJson json;
	char		key[NAME_BYTES];

	tap_http_json_init(&json, settings->object.text, settings->object.length);
	if (tap_http_json_peek(&json) != '{')
		report_bad(settings->name, "They are not a JSON object.", "Write {\"path\": \"/api/orders\", \"key\": \"id\"}.");
	for (bool first = true; tap_http_json_member(&json, first, key, sizeof(key)); first = false)
	{
		if (!is_one_of(key, endpoint_options, lengthof(endpoint_options)) &&
			!is_one_of(key, own_settings, lengthof(own_settings)))
			report_bad(settings->name, psprintf("There is no setting \"%s\".", key),
					   "Besides \"path\" and \"query\" there are those options of the connection that say how rows are read; see doc/http-source.md.");
		(void) tap_http_json_skip(&json);
	}
}

static List *
read_endpoints(Settings *settings, const char *json_text)
{
	TapHttpJson json;
	List	   *endpoints = NIL;
	char		name[NAME_BYTES];

	tap_http_json_init(&json, json_text, strlen(json_text));
	for (bool first = true; tap_http_json_member(&json, first, name, sizeof(name)); first = false)
	{
		(void) tap_http_json_peek(&json);
		settings->object.text = json.next;
		(void) tap_http_json_skip(&json);
		settings->object.length = json.next - settings->object.text;
		settings->name = pstrdup(name);
		if (name[0] == '\0')
			report_bad(NULL, "An endpoint has an empty name.", NULL);
		if (strlen(name) >= NAMEDATALEN)
			report_bad(NULL, psprintf("The name \"%s\" is too long.", name), NULL);
		check_names(settings);
		endpoints = lappend(endpoints, read_endpoint(settings));
	}
	return endpoints;
}

void
tap_http_check_endpoints(const char *value)
{
	TapHttpJson json;

	tap_http_json_init(&json, value, strlen(value));
	if (tap_http_json_peek(&json) != '{' || !tap_http_json_skip(&json) ||
		!tap_http_json_at_end(&json) || strcspn(value, "\"") == strlen(value))
		report_bad(NULL, "It is not a JSON object with at least one endpoint.",
				   "Write {\"orders\": {\"path\": \"/api/orders\", \"key\": \"id\"}}.");
}

/* The last part of the URI's path, or what the user calls it. */
static char *
only_name(const TapUri *uri, const TapOptions *connection)
{
	const char *given = tap_http_core->option_text(connection, "table_name");
	const char *path = uri->path ? uri->path : "";
	Size		length = strlen(path);
	Size		start;

	if (given != NULL)
		return pstrdup(given);
	while (length > 0 && path[length - 1] == '/')
		length--;
	for (start = length; start > 0 && path[start - 1] != '/'; start--)
		;
	if (start == length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the connection names no endpoint to read"),
				 errhint("Give the URI the path of one, or name several by the option \"endpoints\".")));
	return pnstrdup(path + start, Min(length - start, NAMEDATALEN - 1));
}

List *
tap_http_endpoints(const TapUri *uri, const TapOptions *connection, const TapOptions *pipeline)
{
	Settings	settings = {connection, pipeline, {NULL, 0}, NULL};
	const char *given = tap_http_core->option_text(connection, "endpoints");

	if (given != NULL)
		return read_endpoints(&settings, given);
	settings.name = only_name(uri, connection);
	return list_make1(read_endpoint(&settings));
}

TapHttpEndpoint *
tap_http_find_endpoint(List *endpoints, const char *name)
{
	ListCell   *cell;

	foreach(cell, endpoints)
	{
		TapHttpEndpoint *endpoint = lfirst(cell);

		if (strcmp(endpoint->name, name) == 0)
			return endpoint;
	}
	return NULL;
}

bool
tap_http_is_meant_as_source(const TapOptions *connection)
{
	for (const TapOption *option = tap_http_source_options; option->name != NULL; option++)
	{
		if (strncmp(option->name, "oauth_", 6) != 0 &&
			tap_http_core->option_given(connection, option->name))
			return true;
	}
	return false;
}

bool
tap_http_is_atomic(const TapHttpEndpoint *endpoint)
{
	return endpoint->compare || endpoint->key == NIL;
}

char *
tap_http_endpoint_text(const TapHttpEndpoint *endpoint)
{
	return endpoint->path ? psprintf("\"%s\" (%s)", endpoint->name, endpoint->path) :
		psprintf("\"%s\"", endpoint->name);
}
