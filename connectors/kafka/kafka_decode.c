/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_decode.c
 *	  What the formats of messages share: options, definitions of tables.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_decode.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "kafka_read.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

/* Metadata columns: names as in the option, and their usual types. */
static const struct
{
	const char *name;
	Oid			type;
}			metadata_columns[] =

{
	{"topic", TEXTOID},
	{"partition", INT4OID},
	{"offset", INT8OID},
	{"timestamp", TIMESTAMPTZOID},
	{"key", TEXTOID},
	{"headers", JSONBOID}
};

static const TapKafkaDecoding *const decodings[] = {
	&tap_kafka_decoding_json,
	&tap_kafka_decoding_csv,
	&tap_kafka_decoding_raw,
	&tap_kafka_decoding_debezium,
	&tap_kafka_decoding_avro,
	&tap_kafka_decoding_json_schema
};

const char *const tap_kafka_decoding_names[] = {"json", "csv", "raw", "debezium", "avro", "json_schema", NULL};

Jsonb *
tap_kafka_parse_json(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

JsonbValue *
tap_kafka_find_value(JsonbContainer *object, const char *name)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(object, JB_FOBJECT, &key);
}

static char *
string_of(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* ---------------------------------------------------------------------
 * Options
 * ---------------------------------------------------------------------
 */

static const TapKafkaDecoding *
find_decoding(const char *name)
{
	for (int i = 0; i < lengthof(decodings); i++)
	{
		if (strcmp(decodings[i]->name, name) == 0)
			return decodings[i];
	}
	elog(ERROR, "format \"%s\" of messages is not known", name);
	return NULL;
}

/* Columns that somebody has listed are all that are wanted, unless it is said. */
static TapKafkaUnknownField
parse_unknown(const char *value, bool columns_given)
{
	if (value == NULL)
		return columns_given ? TAP_KAFKA_UNKNOWN_IGNORE : TAP_KAFKA_UNKNOWN_ADD;
	if (strcmp(value, "ignore") == 0)
		return TAP_KAFKA_UNKNOWN_IGNORE;
	return strcmp(value, "stop") == 0 ? TAP_KAFKA_UNKNOWN_STOP : TAP_KAFKA_UNKNOWN_ADD;
}

TapKafkaDecodeOptions *
tap_kafka_decode_options(const TapOptions *given)
{
	const TapCore *core = tap_kafka_core;
	TapKafkaDecodeOptions *options = palloc0(sizeof(TapKafkaDecodeOptions));
	const char *mode;

	options->decoding = &tap_kafka_decoding_json;
	options->metadata = "none";
	if (given == NULL)
		return options;
	options->decoding = find_decoding(core->option_text(given, "format"));
	options->columns = core->option_text(given, "columns");
	options->fields = core->option_text(given, "fields");
	options->key = core->option_text(given, "key");
	options->metadata = core->option_text(given, "metadata");
	options->unknown = parse_unknown(core->option_text(given, "on_unknown_field"),
									 options->columns != NULL);
	options->dialect.delimiter = core->option_text(given, "csv_delimiter")[0];
	options->dialect.quote = core->option_text(given, "csv_quote")[0];
	options->dialect.escape = core->option_text(given, "csv_escape")[0];
	if (options->dialect.escape == '\0')
		options->dialect.escape = options->dialect.quote;
	options->dialect.null_text = core->option_text(given, "csv_null");
	mode = core->option_text(given, "mode");
	options->append = mode != NULL && strcmp(mode, "append") == 0;
	options->upsert = mode != NULL && strcmp(mode, "upsert") == 0;
	return options;
}

static void
report_lists(const char *option, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", option),
			 errhint("It is a list of columns as [\"id\"], or an object of lists by name as {\"%s\": [\"id\"]}.",
					 table)));
}

static bool
is_name_list(JsonbContainer *list)
{
	if (!JsonContainerIsArray(list) || JsonContainerIsScalar(list))
		return false;
	for (int i = 0; i < JsonContainerSize(list); i++)
	{
		if (getIthJsonbValueFromContainer(list, i)->type != jbvString)
			return false;
	}
	return true;
}

void
tap_kafka_check_lists(const char *option, const char *table, const char *value)
{
	Jsonb	   *jsonb = tap_kafka_parse_json(value);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (is_name_list(&jsonb->root))
		return;
	if (!JB_ROOT_IS_OBJECT(jsonb))
		report_lists(option, table);
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_VALUE &&
			(item.type != jbvBinary || !is_name_list(item.val.binary.data)))
			report_lists(option, table);
	}
}

void
tap_kafka_check_fields(const char *value)
{
	if (is_name_list(&tap_kafka_parse_json(value)->root))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"fields\""),
			 errhint("It is a list of names, as [\"id\", \"amount\"].")));
}

void
tap_kafka_check_character(const char *value)
{
	if (strlen(value) <= 1 && value[0] != '\n' && value[0] != '\r')
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a single character of one byte", value)));
}

static List *
names_of(JsonbContainer *list)
{
	List	   *names = NIL;

	for (int i = 0; i < JsonContainerSize(list); i++)
		names = lappend(names, string_of(getIthJsonbValueFromContainer(list, i)));
	return names;
}

List *
tap_kafka_json_names(const char *json)
{
	return names_of(&tap_kafka_parse_json(json)->root);
}

List *
tap_kafka_key_names(const TapKafkaDecodeOptions *options, const char *topic)
{
	Jsonb	   *jsonb;
	JsonbValue *list;

	if (options->key == NULL)
		return NIL;
	jsonb = tap_kafka_parse_json(options->key);
	if (JB_ROOT_IS_ARRAY(jsonb))
		return names_of(&jsonb->root);
	list = tap_kafka_find_value(&jsonb->root, topic);
	return list ? names_of(list->val.binary.data) : NIL;
}

/* ---------------------------------------------------------------------
 * Metadata columns
 * ---------------------------------------------------------------------
 */

/* Whether a list as in the option has the name. */
static bool
is_listed(const char *list, const char *name)
{
	Size		length = strlen(name);

	if (strcmp(list, "all") == 0)
		return true;
	for (const char *p = list; p != NULL; p = strchr(p, ','))
	{
		p += strspn(p, ", ");
		if (strncmp(p, name, length) == 0 && strchr(", ", p[length]) != NULL)
			return true;
		if (*p == '\0')
			break;
	}
	return false;
}

void
tap_kafka_check_metadata(const char *value)
{
	const char *p = value;

	if (strcmp(value, "none") == 0 || strcmp(value, "all") == 0)
		return;
	while (*p != '\0')
	{
		Size		length = strcspn(p, ", ");
		bool		known = false;

		for (int i = 0; i < lengthof(metadata_columns); i++)
			known = known || (strlen(metadata_columns[i].name) == length &&
							  strncmp(p, metadata_columns[i].name, length) == 0);
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"metadata\": \"%s\"", value),
					 errhint("It is none, all, or a list of topic, partition, offset, timestamp, key and headers, separated by commas.")));
		p += length;
		p += strspn(p, ", ");
	}
}

bool
tap_kafka_has_column(const TapRecordColumns *columns, const char *name)
{
	for (int i = 0; i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].name, name) == 0)
			return true;
	}
	return false;
}

static void
add_column(TapRecordColumns *columns, const char *name, Oid type)
{
	TapRecordColumn *column = &columns->columns[columns->ncolumns];
	char	   *unique = psprintf("_%s", name);

	for (int i = 1; tap_kafka_has_column(columns, unique); i++)
		unique = psprintf("_%s_%d", name, i);
	memset(column, 0, sizeof(TapRecordColumn));
	column->name = unique;
	column->field = psprintf(TAP_KAFKA_METADATA_FIELD "%s", name);
	column->type = type;
	column->typmod = -1;
	columns->ncolumns++;
}

static bool
has_field(const TapRecordColumns *columns, const char *field)
{
	for (int i = 0; i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].field, field) == 0)
			return true;
	}
	return false;
}

/* A key column "_key" and the like is one of these, whether listed or not. */
TapRecordColumns *
tap_kafka_add_metadata(const TapKafkaDecodeOptions *options, const TapRecordColumns *columns,
					   List *key)
{
	TapRecordColumns *result = palloc(sizeof(TapRecordColumns));

	result->ncolumns = columns->ncolumns;
	result->columns = palloc(sizeof(TapRecordColumn) *
							 (columns->ncolumns + lengthof(metadata_columns)));
	memcpy(result->columns, columns->columns, sizeof(TapRecordColumn) * columns->ncolumns);
	for (int i = 0; i < lengthof(metadata_columns); i++)
	{
		const char *name = metadata_columns[i].name;
		char	   *column = psprintf("_%s", name);
		bool		wanted = is_listed(options->metadata, name);
		ListCell   *cell;

		foreach(cell, key)
			wanted = wanted || (strcmp(lfirst(cell), column) == 0 && !tap_kafka_has_column(columns, column));
		if (wanted && !has_field(result, psprintf(TAP_KAFKA_METADATA_FIELD "%s", name)))
			add_column(result, name, metadata_columns[i].type);
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Definitions
 *
 * {"columns": "...", "key": [...], "state": "..."}; texts of JSON are strings
 * in it, so that their order is kept.
 * ---------------------------------------------------------------------
 */

static char *
print_definition(const TapRecordColumns *columns, List *key, const char *state)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	appendStringInfoString(&text, "{\"columns\":");
	escape_json(&text, tap_record_columns_print(columns));
	appendStringInfoString(&text, ",\"key\":[");
	foreach(cell, key)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoChar(&text, ',');
		escape_json(&text, lfirst(cell));
	}
	appendStringInfoChar(&text, ']');
	if (state != NULL)
	{
		appendStringInfoString(&text, ",\"state\":");
		escape_json(&text, state);
	}
	appendStringInfoChar(&text, '}');
	return text.data;
}

static JsonbValue *
part_of(const char *definition, const char *name)
{
	Jsonb	   *jsonb = tap_kafka_parse_json(definition);

	return JB_ROOT_IS_OBJECT(jsonb) ? tap_kafka_find_value(&jsonb->root, name) : NULL;
}

static JsonbValue *
require_part(const char *definition, const char *name, enum jbvType type)
{
	JsonbValue *value = part_of(definition, name);

	if (value == NULL || value->type != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the definition of a topic's table cannot be read: %s", definition)));
	return value;
}

TapRecordColumns *
tap_kafka_definition_columns(const char *definition)
{
	char	   *columns = string_of(require_part(definition, "columns", jbvString));

	/* a topic that was empty when it was looked at */
	if (strcmp(columns, "{}") == 0)
		return palloc0(sizeof(TapRecordColumns));
	return tap_record_columns_given(columns);
}

List *
tap_kafka_definition_key(const char *definition)
{
	return names_of(require_part(definition, "key", jbvBinary)->val.binary.data);
}

char *
tap_kafka_definition_state(const char *definition)
{
	JsonbValue *state = part_of(definition, "state");

	return state && state->type == jbvString ? string_of(state) : NULL;
}

TapSourceTable *
tap_kafka_define(const TapKafkaDecodeOptions *options, const TapTableName *name,
				 const TapRecordColumns *columns, List *key, const char *state)
{
	TapSourceTable *table;

	if (options->append)
		key = NIL;
	else if (options->upsert && key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode upsert needs a key for topic \"%s\"", name->name),
				 errhint("Name the columns of the key by the option \"key\"; \"_key\" is the key of the messages.")));
	table = tap_record_table(columns, name, key);
	table->definition = print_definition(columns, key, state);
	return table;
}

TapSourceTable *
tap_kafka_table(const TapTableName *name, const char *definition)
{
	TapSourceTable *table = tap_record_table(tap_kafka_definition_columns(definition), name,
											 tap_kafka_definition_key(definition));

	table->definition = pstrdup(definition);
	return table;
}
