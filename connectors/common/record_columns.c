/*-------------------------------------------------------------------------
 *
 * connectors/common/record_columns.c
 *	  Columns of records that are given, and the tables they make.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_columns.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "json_scan.h"
#include "mb/pg_wchar.h"
#include "parser/parse_type.h"
#include "record_private.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

/* A column as the option says it; the type is a name yet. */
typedef struct GivenColumn
{
	char	   *name;
	char	   *type;
	char	   *field;			/* NULL: the name */
	TapRecordForm form;
	int			scale;
} GivenColumn;

static const char *const form_names[] = {
	[TAP_RECORD_PLAIN] = "plain",
	[TAP_RECORD_DAYS] = "days",
	[TAP_RECORD_SECONDS] = "seconds",
	[TAP_RECORD_MILLIS] = "milliseconds",
	[TAP_RECORD_MICROS] = "microseconds",
	[TAP_RECORD_NANOS] = "nanoseconds",
	[TAP_RECORD_INTERVAL_MICROS] = "interval_microseconds",
	[TAP_RECORD_BASE64] = "base64",
	[TAP_RECORD_DECIMAL] = "decimal",
	[TAP_RECORD_SCALED_DECIMAL] = "scaled_decimal",
	[TAP_RECORD_BITS] = "bits",
	[TAP_RECORD_TEXT] = "text",
	[TAP_RECORD_POINT] = "point",
};

bool
tap_record_begin_lookup(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (IsTransactionState())
		return false;
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	return true;
}

void
tap_record_end_lookup(bool begun)
{
	MemoryContext context = CurrentMemoryContext;

	if (!begun)
		return;
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

static void
refuse(const char *detail, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"columns\" is not valid"),
			 name ? errdetail("Column \"%s\": %s.", name, detail) : errdetail("%s.", detail),
			 errhint("Give an object such as {\"id\": \"bigint\", "
					 "\"name\": {\"type\": \"text\", \"field\": \"Name\"}}.")));
}

static char *
copy_string(const TapJsonValue *value)
{
	Size		length;
	const char *text = tap_json_unescape(value, &length);

	return pnstrdup(text, length);
}

static TapRecordForm
find_form(const GivenColumn *column, const TapJsonValue *value)
{
	for (int i = 0; i < lengthof(form_names); i++)
	{
		if (value->kind == TAP_JSON_STRING && tap_json_is(value, form_names[i], strlen(form_names[i])))
			return (TapRecordForm) i;
	}
	refuse("the value of \"form\" is not known", column->name);
	return TAP_RECORD_PLAIN;
}

static int
read_scale(const GivenColumn *column, const TapJsonValue *value)
{
	char		digits[8] = "";

	if (value->kind != TAP_JSON_NUMBER || !value->whole || value->length >= sizeof(digits))
		refuse("\"scale\" is no whole number in range", column->name);
	memcpy(digits, value->text, value->length);
	return atoi(digits);
}

static void
set_property(GivenColumn *column, const TapJsonValue *key,
			 const TapJsonValue *value)
{
	if (tap_json_is(key, "form", 4))
		column->form = find_form(column, value);
	else if (tap_json_is(key, "scale", 5))
		column->scale = read_scale(column, value);
	else if (value->kind != TAP_JSON_STRING)
		refuse("a type or the name of a field is no string", column->name);
	else if (tap_json_is(key, "type", 4))
		column->type = copy_string(value);
	else if (tap_json_is(key, "field", 5))
		column->field = copy_string(value);
	else
		refuse("only \"type\", \"field\", \"form\" and \"scale\" may be given", column->name);
}

static GivenColumn *
read_column(TapJsonScan *scan, const TapJsonValue *name)
{
	GivenColumn *column = palloc0(sizeof(GivenColumn));
	TapJsonKind kind;
	TapJsonValue value;

	column->name = copy_string(name);
	if (column->name[0] == '\0' || strlen(column->name) >= NAMEDATALEN)
		refuse("the name is empty or longer than PostgreSQL allows", column->name);
	if (!tap_json_scan_peek(scan, &kind))
		return column;
	if (kind == TAP_JSON_STRING)
	{
		if (tap_json_scan_value(scan, &value))
			column->type = copy_string(&value);
	}
	else if (kind == TAP_JSON_OBJECT)
	{
		TapJsonValue key;

		(void) tap_json_scan_enter(scan, kind);
		while (tap_json_scan_field(scan, &key) && tap_json_scan_value(scan, &value))
			set_property(column, &key, &value);
	}
	else
		refuse("it is neither a type nor an object", column->name);
	if (column->type == NULL && scan->error == NULL)
		refuse("\"type\" is missing", column->name);
	return column;
}

/* List of GivenColumn *; reads no catalog. */
static List *
read_columns(const char *json)
{
	List	   *columns = NIL;
	ListCell   *cell;
	TapJsonScan scan;
	TapJsonValue name;

	tap_json_scan_begin(&scan, json, strlen(json));
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name))
	{
		GivenColumn *column = read_column(&scan, &name);

		foreach(cell, columns)
		{
			if (strcmp(((GivenColumn *) lfirst(cell))->name, column->name) == 0)
				refuse("it is there twice", column->name);
		}
		columns = lappend(columns, column);
	}
	if (!tap_json_scan_end(&scan))
		refuse(psprintf("It is no JSON object: %s", scan.error), NULL);
	if (columns == NIL)
		refuse("No column is in it", NULL);
	return columns;
}

void
tap_record_columns_check(const char *json)
{
	(void) read_columns(json);
}

TapRecordColumns *
tap_record_columns_given(const char *json)
{
	List	   *given = read_columns(json);
	TapRecordColumns *result = palloc(sizeof(TapRecordColumns));
	bool		begun = tap_record_begin_lookup();

	result->ncolumns = list_length(given);
	result->columns = palloc0(sizeof(TapRecordColumn) * result->ncolumns);
	for (int i = 0; i < result->ncolumns; i++)
	{
		GivenColumn *column = list_nth(given, i);
		TapRecordColumn *to = &result->columns[i];

		to->name = column->name;
		to->field = column->field ? column->field : column->name;
		to->form = column->form;
		to->scale = column->scale;
		parseTypeString(column->type, &to->type, &to->typmod, 0);
		if (get_typtype(to->type) == TYPTYPE_PSEUDO)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot have the pseudo-type %s", to->name, column->type)));
	}
	tap_record_end_lookup(begun);
	return result;
}

/* A type's name; of another schema than pg_catalog always with that. */
static char *
type_name(Oid type, int32 typmod)
{
	bits16		flags = FORMAT_TYPE_TYPEMOD_GIVEN;

	if (type >= FirstGenbkiObjectId)
		flags |= FORMAT_TYPE_FORCE_QUALIFY;
	return format_type_extended(type, typmod, flags);
}

char *
tap_record_columns_print(const TapRecordColumns *columns)
{
	StringInfoData text;
	bool		begun = tap_record_begin_lookup();

	initStringInfo(&text);
	for (int i = 0; i < columns->ncolumns; i++)
	{
		const TapRecordColumn *column = &columns->columns[i];
		bool		plain = column->form == TAP_RECORD_PLAIN && strcmp(column->name, column->field) == 0;

		appendStringInfoString(&text, i == 0 ? "{" : ", ");
		escape_json(&text, column->name);
		appendStringInfoString(&text, plain ? ": " : ": {\"type\": ");
		escape_json(&text, type_name(column->type, column->typmod));
		if (plain)
			continue;
		appendStringInfoString(&text, ", \"field\": ");
		escape_json(&text, column->field);
		if (column->form != TAP_RECORD_PLAIN)
			appendStringInfo(&text, ", \"form\": \"%s\", \"scale\": %d",
							 form_names[column->form], column->scale);
		appendStringInfoChar(&text, '}');
	}
	appendStringInfoString(&text, columns->ncolumns == 0 ? "{}" : "}");
	tap_record_end_lookup(begun);
	return text.data;
}

static AttrNumber
find_column(const TapRecordColumns *columns, const TapTableName *table,
			const char *name)
{
	for (int i = 0; i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].name, name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of the key is no column of \"%s\"", name, table->name),
			 errhint("The key is made of columns of the hub table, by their names there.")));
	return InvalidAttrNumber;
}

TapSourceTable *
tap_record_table(const TapRecordColumns *columns, const TapTableName *name,
				 List *key)
{
	TapSourceTable *table = palloc0(sizeof(TapSourceTable));
	bool		begun;
	ListCell   *cell;

	if (columns->ncolumns > MaxHeapAttributeNumber)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("\"%s\" has %d columns, a table can have %d",
						name->name, columns->ncolumns, MaxHeapAttributeNumber),
				 errhint("Give the columns that you want with the option \"columns\".")));
	table->name.schema = name->schema ? pstrdup(name->schema) : NULL;
	table->name.name = pstrdup(name->name);
	table->estimated_rows = -1;
	table->estimated_bytes = -1;
	begun = tap_record_begin_lookup();
	table->descriptor = CreateTemplateTupleDesc(columns->ncolumns);
	for (int i = 0; i < columns->ncolumns; i++)
		TupleDescInitEntry(table->descriptor, i + 1, columns->columns[i].name,
						   columns->columns[i].type, columns->columns[i].typmod, 0);
	tap_record_end_lookup(begun);
	table->keys = palloc(sizeof(AttrNumber) * (list_length(key) + 1));
	foreach(cell, key)
	{
		AttrNumber	column = find_column(columns, name, lfirst(cell));

		table->keys[table->nkeys++] = column;
		TupleDescAttr(table->descriptor, column - 1)->attnotnull = true;
	}
	return table;
}
