/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_definition.c
 *	  A table's format as JSON text and back.
 *
 * The text is kept by the core beside the pipeline's position, so that rows
 * that were logged before a change of the table can be read after it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

/* Append "key": "value", or nothing when the value is NULL. */
static void
append_text(StringInfo out, const char *key, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(out, ", \"%s\": ", key);
	escape_json(out, value);
}

static void
append_column(StringInfo out, const TapMysqlColumn *column)
{
	appendStringInfoString(out, "{\"name\": ");
	escape_json(out, column->name);
	append_text(out, "type", column->type);
	append_text(out, "column_type", column->column_type);
	append_text(out, "charset", column->charset);
	append_text(out, "collation", column->collation);
	append_text(out, "comment", column->comment);
	append_text(out, "default", column->default_value);
	if (column->default_unknown)
		appendStringInfoString(out, ", \"default_unknown\": true");
	if (column->nullable)
		appendStringInfoString(out, ", \"nullable\": true");
	if (column->generated)
		appendStringInfoString(out, ", \"generated\": true");
	if (column->invisible)
		appendStringInfoString(out, ", \"invisible\": true");
	appendStringInfoChar(out, '}');
}

static void
append_numbers(StringInfo out, int n, const AttrNumber *numbers)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s%d", i ? ", " : "", numbers[i]);
	appendStringInfoChar(out, ']');
}

char *
tap_mysql_definition_text(const TapMysqlTable *table)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"server\": \"%s\"",
					 table->is_mariadb ? "mariadb" : "mysql");
	append_text(&out, "engine", table->engine);
	append_text(&out, "comment", table->comment);
	append_text(&out, "key_index", table->key_index);
	appendStringInfoString(&out, ", \"columns\": [");
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(&out, ", ");
		append_column(&out, &table->columns[i]);
	}
	appendStringInfoString(&out, "], \"key\": ");
	append_numbers(&out, table->nkeys, table->keys);
	appendStringInfoString(&out, ", \"indexes\": [");
	for (int i = 0; i < table->nindexes; i++)
	{
		const TapSourceIndex *index = &table->indexes[i];

		appendStringInfoString(&out, i ? ", {\"name\": " : "{\"name\": ");
		escape_json(&out, index->name);
		appendStringInfo(&out, ", \"unique\": %s, \"columns\": ",
						 index->unique ? "true" : "false");
		append_numbers(&out, index->ncolumns, index->columns);
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoString(&out, "]}");
	return out.data;
}

/* ---------------------------------------------------------------------
 * Parsing
 * ---------------------------------------------------------------------
 */

static JsonbValue *
get_value(JsonbContainer *container, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(container, key, (int) strlen(key), value);
}

static char *
get_text(JsonbContainer *container, const char *key)
{
	JsonbValue	value;

	if (get_value(container, key, &value) == NULL || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static bool
get_bool(JsonbContainer *container, const char *key)
{
	JsonbValue	value;

	return get_value(container, key, &value) != NULL &&
		value.type == jbvBool && value.val.boolean;
}

/* An array member of an object; an empty one when it is not there. */
static JsonbContainer *
get_array(JsonbContainer *container, const char *key)
{
	JsonbValue	value;

	if (get_value(container, key, &value) == NULL ||
		value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the stored format of a source table lacks \"%s\"", key),
				 errhint("Copy the table again with tapdata.resync().")));
	return value.val.binary.data;
}

static AttrNumber *
get_numbers(JsonbContainer *container, const char *key, int *n, int ncolumns)
{
	JsonbContainer *array = get_array(container, key);
	AttrNumber *numbers;

	*n = JsonContainerSize(array);
	numbers = palloc(sizeof(AttrNumber) * Max(1, *n));
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);
		int			number = 0;

		if (value->type == jbvNumeric)
			number = DatumGetInt32(DirectFunctionCall1(numeric_int4,
													   NumericGetDatum(value->val.numeric)));
		if (number < 1 || number > ncolumns)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the stored format of a source table has a bad column number in \"%s\"", key)));
		numbers[i] = (AttrNumber) number;
	}
	return numbers;
}

static void
parse_column(TapSession *session, JsonbContainer *object,
			 TapMysqlColumn *column, bool is_mariadb)
{
	column->name = get_text(object, "name");
	column->type = get_text(object, "type");
	column->column_type = get_text(object, "column_type");
	if (column->name == NULL || column->type == NULL || column->column_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the stored format of a source table has an incomplete column")));
	column->charset = get_text(object, "charset");
	column->collation = get_text(object, "collation");
	column->comment = get_text(object, "comment");
	column->default_value = get_text(object, "default");
	column->default_unknown = get_bool(object, "default_unknown");
	column->nullable = get_bool(object, "nullable");
	column->generated = get_bool(object, "generated");
	column->invisible = get_bool(object, "invisible");
	tap_mysql_resolve_column(session, column, is_mariadb);
}

static void
parse_indexes(JsonbContainer *root, TapMysqlTable *table)
{
	JsonbContainer *array = get_array(root, "indexes");

	table->nindexes = JsonContainerSize(array);
	table->indexes = palloc0(sizeof(TapSourceIndex) * Max(1, table->nindexes));
	for (int i = 0; i < table->nindexes; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);
		JsonbContainer *object;

		if (value->type != jbvBinary)
			continue;
		object = value->val.binary.data;
		table->indexes[i].name = get_text(object, "name");
		table->indexes[i].unique = get_bool(object, "unique");
		table->indexes[i].columns = get_numbers(object, "columns",
												&table->indexes[i].ncolumns,
												table->ncolumns);
	}
}

TapMysqlTable *
tap_mysql_definition_parse(TapSession *session, const TapTableName *name,
						   const char *definition)
{
	Datum		datum = DirectFunctionCall1(jsonb_in, CStringGetDatum(definition));
	JsonbContainer *root = &DatumGetJsonbP(datum)->root;
	TapMysqlTable *table = palloc0(sizeof(TapMysqlTable));
	char	   *server = get_text(root, "server");
	JsonbContainer *columns = get_array(root, "columns");

	table->name.schema = pstrdup(name->schema);
	table->name.name = pstrdup(name->name);
	table->is_mariadb = server != NULL && strcmp(server, "mariadb") == 0;
	table->engine = get_text(root, "engine");
	table->comment = get_text(root, "comment");
	table->key_index = get_text(root, "key_index");
	table->estimated_rows = -1;
	table->estimated_bytes = -1;
	table->ncolumns = JsonContainerSize(columns);
	table->columns = palloc0(sizeof(TapMysqlColumn) * Max(1, table->ncolumns));
	for (int i = 0; i < table->ncolumns; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(columns, i);

		if (value->type != jbvBinary)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the stored format of a source table has a column that is no object")));
		parse_column(session, value->val.binary.data, &table->columns[i],
					 table->is_mariadb);
	}
	table->keys = get_numbers(root, "key", &table->nkeys, table->ncolumns);
	parse_indexes(root, table);
	return table;
}

/* ---------------------------------------------------------------------
 * Comparing
 * ---------------------------------------------------------------------
 */

static bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

bool
tap_mysql_same_format(const TapMysqlTable *a, const TapMysqlTable *b)
{
	if (a->ncolumns != b->ncolumns || a->nkeys != b->nkeys)
		return false;
	for (int i = 0; i < a->nkeys; i++)
		if (a->keys[i] != b->keys[i])
			return false;
	for (int i = 0; i < a->ncolumns; i++)
	{
		const TapMysqlColumn *x = &a->columns[i];
		const TapMysqlColumn *y = &b->columns[i];

		if (strcmp(x->name, y->name) != 0 || strcmp(x->type, y->type) != 0 ||
			strcmp(x->column_type, y->column_type) != 0 ||
			!same_text(x->charset, y->charset) || x->nullable != y->nullable)
			return false;
	}
	return true;
}
