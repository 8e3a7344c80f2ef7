/*-------------------------------------------------------------------------
 *
 * src/options.c
 *	  Options given as jsonb or in a URI, checked against tables.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "options.h"

#define TAP_MASK	"********"

/* One option that was given. */
typedef struct GivenOption
{
	const TapOption *option;
	char	   *key;			/* differs from option->name for a prefix */
	char	   *value;
} GivenOption;

struct TapOptions
{
	const TapOption *tables[2]; /* the core's and the connector's */
	const TapConnector *connector;	/* NULL: any */
	int			scope;
	List	   *given;			/* of GivenOption * */
};

/* ---------------------------------------------------------------------
 * Finding options
 * ---------------------------------------------------------------------
 */

static const TapOption *
core_table(int scope)
{
	switch (scope)
	{
		case TAP_SCOPE_CONNECTION:
			return tap_connection_options;
		case TAP_SCOPE_PULL:
			return tap_pull_options;
		default:
			return tap_publish_options;
	}
}

/* Whether a name of the tables stands for the key. */
static bool
name_matches(const char *name, const char *key)
{
	Size		length = strlen(name);

	if (name[length - 1] == '.')
		return strncmp(name, key, length) == 0 && key[length] != '\0';
	return strcmp(name, key) == 0;
}

static const TapOption *
find_option(const TapOptions *options, const char *key)
{
	for (int i = 0; i < lengthof(options->tables); i++)
	{
		const TapOption *option = options->tables[i];

		for (; option != NULL && option->name != NULL; option++)
		{
			if ((option->scope & options->scope) != 0 && name_matches(option->name, key))
				return option;
		}
	}
	return NULL;
}

static GivenOption *
find_given(const TapOptions *options, const char *key)
{
	ListCell   *cell;

	foreach(cell, options->given)
	{
		GivenOption *given = lfirst(cell);

		if (strcmp(given->key, key) == 0)
			return given;
	}
	return NULL;
}

/* Whether the option does anything with the connector. */
static bool
has_effect(const TapOptions *options, const TapOption *option)
{
	return option->needs == 0 || options->connector == NULL ||
		(options->connector->capabilities & option->needs) != 0;
}

/* A hint that lists the options that may be given. */
static char *
options_hint(const TapOptions *options)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(options->tables); i++)
	{
		const TapOption *option = options->tables[i];

		for (; option != NULL && option->name != NULL; option++)
		{
			if ((option->scope & options->scope) == 0 || !has_effect(options, option))
				continue;
			appendStringInfo(&names, "%s%s%s", names.len > 0 ? ", " : "", option->name,
							 option->name[strlen(option->name) - 1] == '.' ? "*" : "");
		}
	}
	return names.len > 0 ? psprintf("Valid options are: %s.", names.data) :
		pstrdup("There are no options here.");
}

static void
report_unknown(const TapOptions *options, const char *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", key),
			 errhint("%s", options_hint(options))));
}

/* It would be taken for done what nobody does. */
static void
check_has_effect(const TapOptions *options, const TapOption *option)
{
	if (has_effect(options, option))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" has no effect with connector \"%s\"", option->name,
					options->connector->name),
			 errdetail("It is for sources whose tables are copied before they are followed; "
					   "this one reads a stream of records from its beginning."),
			 errhint("%s", options_hint(options))));
}

/* ---------------------------------------------------------------------
 * Checking values
 * ---------------------------------------------------------------------
 */

static void
report_bad_value(const TapOption *option, const char *key, const char *value,
				 const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 option->secret ? errmsg("invalid value for option \"%s\"", key) :
			 errmsg("invalid value for option \"%s\": \"%s\"", key, value),
			 errhint("%s", hint)));
}

static bool
parse_int(const char *value, int64 *result)
{
	char	   *end;

	if (value[0] == '\0')
		return false;
	errno = 0;
	*result = strtoi64(value, &end, 10);
	return errno == 0 && *end == '\0';
}

static char *
enum_hint(const TapOption *option)
{
	StringInfoData hint;

	initStringInfo(&hint);
	appendStringInfoString(&hint, "Valid values are: ");
	for (int i = 0; option->values[i] != NULL; i++)
		appendStringInfo(&hint, "%s%s", i > 0 ? ", " : "", option->values[i]);
	appendStringInfoChar(&hint, '.');
	return hint.data;
}

static bool
enum_has(const TapOption *option, const char *value)
{
	for (int i = 0; option->values[i] != NULL; i++)
	{
		if (strcmp(option->values[i], value) == 0)
			return true;
	}
	return false;
}

static void
check_value(const TapOption *option, const char *key, const char *value)
{
	bool		boolean;
	int64		number;

	switch (option->type)
	{
		case TAP_OPTION_BOOL:
			if (!parse_bool(value, &boolean))
				report_bad_value(option, key, value, "Valid values are: true, false.");
			break;
		case TAP_OPTION_INT:
			if (!parse_int(value, &number) ||
				number < option->minimum || number > option->maximum)
				report_bad_value(option, key, value,
								 psprintf("It is a whole number from " INT64_FORMAT " to " INT64_FORMAT ".",
										  option->minimum, option->maximum));
			break;
		case TAP_OPTION_ENUM:
			if (!enum_has(option, value))
				report_bad_value(option, key, value, enum_hint(option));
			break;
		case TAP_OPTION_JSON:
		case TAP_OPTION_TEXT:
			break;
	}
	if (option->check != NULL)
		option->check(value);
}

static void
add_option(TapOptions *options, const char *key, const char *value)
{
	const TapOption *option = find_option(options, key);
	GivenOption *given;

	if (option == NULL)
		report_unknown(options, key);
	check_has_effect(options, option);
	if (find_given(options, key) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is given more than once", key),
				 errhint("Give it in the URI or in the options, not in both.")));
	check_value(option, key, value);
	if (option->server_file)
		tap_options_check_server_file(key);

	given = palloc(sizeof(GivenOption));
	given->option = option;
	given->key = pstrdup(key);
	given->value = pstrdup(value);
	options->given = lappend(options->given, given);
}

/* ---------------------------------------------------------------------
 * Reading jsonb and queries
 * ---------------------------------------------------------------------
 */

static char *
scalar_text(const char *key, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"%s\"", key),
					 errhint("It must be a string, a number or a boolean.")));
	}
	return NULL;
}

/* The JSON text of a value, for the options that take any. */
static char *
json_text(JsonbValue *value)
{
	Jsonb	   *jsonb = JsonbValueToJsonb(value);

	return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
}

static bool
takes_json(const TapOptions *options, const char *key)
{
	const TapOption *option = find_option(options, key);

	return option != NULL && option->type == TAP_OPTION_JSON;
}

static void
check_is_object(Jsonb *options)
{
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("Write them as '{\"name\": value, ...}'.")));
}

static void
add_from_jsonb(TapOptions *options, Jsonb *jsonb)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	check_is_object(jsonb);
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			add_option(options, key, takes_json(options, key) ?
					   json_text(&value) : scalar_text(key, &value));
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = pg_tolower((unsigned char) c);
	return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

static char *
percent_decoded(const char *text, Size length)
{
	char	   *result = palloc(length + 1);
	char	   *out = result;

	for (Size i = 0; i < length; i++)
	{
		if (text[i] == '+')
			*out++ = ' ';
		else if (text[i] != '%')
			*out++ = text[i];
		else
		{
			int			high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
			int			low = i + 2 < length ? hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("invalid URI"),
						 errdetail("A percent sign in its query is not followed by two hexadecimal digits.")));
			*out++ = (char) (high << 4 | low);
			i += 2;
		}
	}
	*out = '\0';
	pg_verifymbstr(result, out - result, false);
	return result;
}

static void
add_from_query(TapOptions *options, const char *query)
{
	while (*query != '\0')
	{
		Size		key = strcspn(query, "=&");
		Size		pair = strcspn(query, "&");

		if (key < pair)
			add_option(options, percent_decoded(query, key),
					   percent_decoded(query + key + 1, pair - key - 1));
		else if (pair > 0)
			add_option(options, percent_decoded(query, pair), "true");
		query += pair;
		if (*query == '&')
			query++;
	}
}

TapOptions *
tap_options_parse(Jsonb *jsonb, const char *query, const TapConnector *connector,
				  int scope, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	TapOptions *options = palloc0(sizeof(TapOptions));

	options->tables[0] = core_table(scope);
	options->tables[1] = connector ? connector->options : NULL;
	options->connector = connector;
	options->scope = scope;
	if (query != NULL)
		add_from_query(options, query);
	if (jsonb != NULL)
		add_from_jsonb(options, jsonb);
	MemoryContextSwitchTo(before);
	return options;
}

/* ---------------------------------------------------------------------
 * Asking for values
 * ---------------------------------------------------------------------
 */

const char *
tap_options_text(const TapOptions *options, const char *name)
{
	GivenOption *given = find_given(options, name);
	const TapOption *option;

	if (given != NULL)
		return given->value;
	option = find_option(options, name);
	if (option == NULL)
		elog(ERROR, "there is no option \"%s\"", name);
	return option->default_value;
}

int64
tap_options_int(const TapOptions *options, const char *name)
{
	const char *value = tap_options_text(options, name);
	int64		result = 0;

	if (value != NULL)
		(void) parse_int(value, &result);
	return result;
}

bool
tap_options_bool(const TapOptions *options, const char *name)
{
	const char *value = tap_options_text(options, name);
	bool		result = false;

	if (value != NULL)
		(void) parse_bool(value, &result);
	return result;
}

bool
tap_options_given(const TapOptions *options, const char *name)
{
	return find_given(options, name) != NULL;
}

List *
tap_options_keys(const TapOptions *options, const char *prefix)
{
	List	   *keys = NIL;
	ListCell   *cell;

	foreach(cell, options->given)
	{
		GivenOption *given = lfirst(cell);

		if (strncmp(given->key, prefix, strlen(prefix)) == 0)
			keys = lappend(keys, pstrdup(given->key));
	}
	return keys;
}

/* ---------------------------------------------------------------------
 * Changing and masking jsonb
 * ---------------------------------------------------------------------
 */

Jsonb *
tap_options_merge(Jsonb *options, Jsonb *changes)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	Jsonb	   *both[2] = {options, changes};

	check_is_object(changes);

	/* a later key takes the place of an earlier one */
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < lengthof(both); i++)
	{
		JsonbIterator *iterator = JsonbIteratorInit(&both[i]->root);
		JsonbIteratorToken token;
		JsonbValue	key;
		JsonbValue	value;

		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		{
			JsonbValue *change;

			if (token == WJB_KEY)
				key = value;
			if (token != WJB_VALUE)
				continue;
			change = findJsonbValueFromContainer(&changes->root, JB_FOBJECT, &key);
			if (change != NULL && (i == 0 || change->type == jbvNull))
				continue;
			pushJsonbValue(&state, WJB_KEY, &key);
			pushJsonbValue(&state, WJB_VALUE, &value);
		}
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}

/* Whether a key's value must not be shown; without a connector none may. */
static bool
must_mask(const TapConnector *connector, const char *key)
{
	TapOptions	options = {{NULL, NULL}, NULL, 0, NIL};
	const TapOption *option;
	static const int scopes[] = {TAP_SCOPE_CONNECTION, TAP_SCOPE_PULL, TAP_SCOPE_PUBLISH};

	options.tables[1] = connector ? connector->options : NULL;
	for (int i = 0; i < lengthof(scopes); i++)
	{
		options.tables[0] = core_table(scopes[i]);
		options.scope = scopes[i];
		option = find_option(&options, key);
		if (option != NULL)
			return option->secret;
	}
	return true;
}

Jsonb *
tap_options_masked(Jsonb *options, const TapConnector *connector)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(&options->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue *result;
	char	   *key = NULL;

	check_is_object(options);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = pnstrdup(value.val.string.val, value.val.string.len);
			pushJsonbValue(&state, WJB_KEY, &value);
		}
		else if (token == WJB_VALUE)
		{
			if (must_mask(connector, key))
			{
				value.type = jbvString;
				value.val.string.val = TAP_MASK;
				value.val.string.len = strlen(TAP_MASK);
			}
			pushJsonbValue(&state, WJB_VALUE, &value);
		}
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}
