/*-------------------------------------------------------------------------
 *
 * src/publish_options.c
 *	  What the options of a publish pipeline say about its tables.
 *
 * NOTES
 *	  "where" and "columns" are either one value for all tables, or an object
 *	  whose keys are table names or patterns.  A name goes before a pattern; a
 *	  table that two patterns match is an error, since objects of jsonb have no
 *	  order that could decide.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/varlena.h"

#include "catalog.h"
#include "compat.h"
#include "mapping.h"
#include "position.h"
#include "publish_options.h"

#define WHERE_EXAMPLE \
	"Write a condition, as \"amount > 10\", or an object of them by table, as {\"erp.orders\": \"amount > 10\"}."
#define COLUMNS_EXAMPLE \
	"Write a list of columns, as [\"id\", \"amount\"], or an object of lists by table, as {\"erp.orders\": [\"id\", \"amount\"]}."
#define ORIGINS_EXAMPLE \
	"Write \"any\", \"local\", or a list of local, pull pipelines and replication origins, as [\"local\", \"shop\"]."
#define KINDS_EXAMPLE \
	"Write some of insert, update, delete and truncate, with commas in between."

/* One value of an option, for a table, or with key NULL for all of them. */
typedef struct TableValue
{
	char	   *key;
	Jsonb	   *value;
} TableValue;

static void
report_shape(const char *option, const char *example)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", option),
			 errhint("%s", example)));
}

/* ---------------------------------------------------------------------
 * Reading JSON
 * ---------------------------------------------------------------------
 */

static Jsonb *
parse_json(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* The text of a value that is a string with something in it; else NULL. */
static char *
string_of(const JsonbValue *value)
{
	char	   *text;

	if (value->type != jbvString)
		return NULL;
	text = pnstrdup(value->val.string.val, value->val.string.len);
	return text[strspn(text, " \t\r\n")] != '\0' ? text : NULL;
}

static char *
scalar_string(Jsonb *jsonb)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_SCALAR(jsonb) || !JsonbExtractScalar(&jsonb->root, &value))
		return NULL;
	return string_of(&value);
}

/* An array of such strings as List of char *; NIL when it is none. */
static List *
array_strings(Jsonb *jsonb)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	List	   *result = NIL;

	if (!JB_ROOT_IS_ARRAY(jsonb) || JB_ROOT_IS_SCALAR(jsonb))
		return NIL;
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *text;

		if (token != WJB_ELEM)
			continue;
		text = string_of(&value);
		if (text == NULL)
			return NIL;
		result = lappend(result, text);
	}
	return result;
}

static TableValue *
make_value(char *key, Jsonb *value)
{
	TableValue *result = palloc(sizeof(TableValue));

	result->key = key;
	result->value = value;
	return result;
}

/* List of TableValue *. */
static List *
table_values(const char *text)
{
	Jsonb	   *jsonb = parse_json(text);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;
	List	   *result = NIL;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		return list_make1(make_value(NULL, jsonb));
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			result = lappend(result, make_value(key, JsonbValueToJsonb(&value)));
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Values by table
 * ---------------------------------------------------------------------
 */

static bool
is_name_of(const char *key, const TapTableName *name)
{
	if (strcmp(key, tap_table_name_text(name)) == 0)
		return true;
	return name->schema != NULL &&
		strcmp(key, psprintf("%s.%s", name->schema, name->name)) == 0;
}

static bool
key_matches(const char *key, const TapTableName *name)
{
	return is_name_of(key, name) ||
		tap_patterns_match(tap_patterns_compile(list_make1(unconstify(char *, key))), name);
}

/* The value for a table, or NULL. */
static Jsonb *
value_for(const TapOptions *options, const char *option, const TapTableName *name)
{
	const char *text = tap_options_text(options, option);
	TableValue *found = NULL;
	ListCell   *cell;

	if (text == NULL)
		return NULL;
	foreach(cell, table_values(text))
	{
		TableValue *value = lfirst(cell);

		if (value->key == NULL || is_name_of(value->key, name))
			return value->value;
		if (!key_matches(value->key, name))
			continue;
		if (found != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" has two values for table %s", option,
							tap_table_name_text(name)),
					 errdetail("Both \"%s\" and \"%s\" match it.", found->key, value->key),
					 errhint("Name the table itself.")));
		found = value;
	}
	return found ? found->value : NULL;
}

char *
tap_publish_filter(const TapOptions *options, const TapTableName *name)
{
	Jsonb	   *value = value_for(options, "where", name);
	char	   *result;

	if (value == NULL)
		return NULL;
	result = scalar_string(value);
	if (result == NULL)
		report_shape("where", WHERE_EXAMPLE);
	return result;
}

static void
check_columns(List *columns)
{
	if (columns == NIL)
		report_shape("columns", COLUMNS_EXAMPLE);
	for (int i = 0; i < list_length(columns); i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (strcmp(list_nth(columns, i), list_nth(columns, j)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("option \"columns\" names column \"%s\" more than once",
								(char *) list_nth(columns, i))));
		}
	}
}

List *
tap_publish_columns(const TapOptions *options, const TapTableName *name)
{
	Jsonb	   *value = value_for(options, "columns", name);
	List	   *result;

	if (value == NULL)
		return NIL;
	result = array_strings(value);
	check_columns(result);
	return result;
}

void
tap_publish_check_where(const char *value)
{
	ListCell   *cell;

	foreach(cell, table_values(value))
	{
		if (scalar_string(((TableValue *) lfirst(cell))->value) == NULL)
			report_shape("where", WHERE_EXAMPLE);
	}
}

void
tap_publish_check_columns(const char *value)
{
	ListCell   *cell;

	foreach(cell, table_values(value))
		check_columns(array_strings(((TableValue *) lfirst(cell))->value));
}

/* ---------------------------------------------------------------------
 * Kinds of change and origins
 * ---------------------------------------------------------------------
 */

static TapPublishKinds
parse_kinds(const char *text)
{
	TapPublishKinds kinds = {false, false, false, false};
	List	   *words;
	ListCell   *cell;

	if (!SplitIdentifierString(pstrdup(text), ',', &words) || words == NIL)
		report_shape("publish", KINDS_EXAMPLE);
	foreach(cell, words)
	{
		const char *word = lfirst(cell);

		if (strcmp(word, "insert") == 0)
			kinds.insert = true;
		else if (strcmp(word, "update") == 0)
			kinds.update = true;
		else if (strcmp(word, "delete") == 0)
			kinds.delete = true;
		else if (strcmp(word, "truncate") == 0)
			kinds.truncate = true;
		else
			report_shape("publish", KINDS_EXAMPLE);
	}
	return kinds;
}

TapPublishKinds
tap_publish_kinds(const TapOptions *options)
{
	return parse_kinds(tap_options_text(options, "publish"));
}

void
tap_publish_check_kinds(const char *value)
{
	(void) parse_kinds(value);
}

/* The parts of a text between commas, without blanks around; List of char *. */
static List *
split_at_commas(const char *text)
{
	List	   *result = NIL;

	for (;;)
	{
		Size		length;
		Size		behind;

		text += strspn(text, " \t\r\n");
		length = behind = strcspn(text, ",");
		while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
			length--;
		if (length == 0)
			return NIL;
		result = lappend(result, pnstrdup(text, length));
		if (text[behind] == '\0')
			return result;
		text += behind + 1;
	}
}

/* The words of option "origins", a text or a list; List of char *. */
static List *
origin_words(const char *value)
{
	Jsonb	   *jsonb = parse_json(value);
	char	   *text = scalar_string(jsonb);
	List	   *words = text ? split_at_commas(text) : array_strings(jsonb);
	ListCell   *cell;

	if (words == NIL)
		report_shape("origins", ORIGINS_EXAMPLE);
	foreach(cell, words)
	{
		if (strcmp(lfirst(cell), "any") == 0 && list_length(words) > 1)
			report_shape("origins", ORIGINS_EXAMPLE);
	}
	return words;
}

void
tap_publish_check_origins(const char *value)
{
	(void) origin_words(value);
}

static TapPipelineRow *
pull_pipeline_called(const char *word)
{
	TapPipelineRow *pipeline = NULL;

	if (strlen(word) < NAMEDATALEN)
		pipeline = tap_catalog_pipeline(word, true);
	return pipeline != NULL && pipeline->direction == TAP_PULL ? pipeline : NULL;
}

static char *
origin_called(const char *word)
{
	TapPipelineRow *pipeline = pull_pipeline_called(word);

	return pipeline ? tap_position_origin_name(pipeline->id) : pstrdup(word);
}

TapDecodeOrigins
tap_publish_origins(const TapOptions *options)
{
	TapDecodeOrigins origins = {false, false, NIL};
	const char *value = tap_options_text(options, "origins");
	ListCell   *cell;

	if (value == NULL)
		origins.any = true;
	else
	{
		foreach(cell, origin_words(value))
		{
			const char *word = lfirst(cell);

			if (strcmp(word, "any") == 0)
				origins.any = true;
			else if (strcmp(word, "local") == 0)
				origins.local = true;
			else
				origins.names = lappend(origins.names, origin_called(word));
		}
	}
	return origins;
}

/* ---------------------------------------------------------------------
 * For the commands
 * ---------------------------------------------------------------------
 */

/* Each key of an option has to mean one of the tables. */
static void
check_keys(const TapOptions *options, const char *option, List *names)
{
	const char *text = tap_options_text(options, option);
	ListCell   *cell;
	ListCell   *name_cell;

	if (text == NULL)
		return;
	foreach(cell, table_values(text))
	{
		TableValue *value = lfirst(cell);
		bool		found = value->key == NULL;

		foreach(name_cell, names)
			found = found || key_matches(value->key, lfirst(name_cell));
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("option \"%s\" names \"%s\", which is no table of the pipeline",
							option, value->key),
					 errhint("Its keys are tables that are published, or patterns that match some, as \"erp.orders\".")));
	}
	foreach(name_cell, names)
		(void) value_for(options, option, lfirst(name_cell));
}

/* A pull pipeline's origin is made by its worker: it may be missing yet. */
static void
check_origins(const TapOptions *options)
{
	const char *value = tap_options_text(options, "origins");
	ListCell   *cell;

	if (value == NULL)
		return;
	foreach(cell, origin_words(value))
	{
		const char *word = lfirst(cell);

		if (strcmp(word, "any") != 0 && strcmp(word, "local") != 0 &&
			pull_pipeline_called(word) == NULL &&
			replorigin_by_name(unconstify(char *, word), true) == InvalidRepOriginId)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("option \"origins\" names \"%s\", which is neither a pull pipeline nor a replication origin",
							word),
					 errhint("See tapdata.pipelines and pg_replication_origin.")));
	}
}

void
tap_publish_check_options(const TapOptions *options, List *names)
{
	check_keys(options, "where", names);
	check_keys(options, "columns", names);
	check_origins(options);
	if (!TAP_COMPAT_HAS_FAILOVER_SLOTS && tap_options_bool(options, "failover"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this server cannot synchronize replication slots to standbys"),
				 errhint("Leave option \"failover\" out; it needs PostgreSQL 17 or later.")));
}
