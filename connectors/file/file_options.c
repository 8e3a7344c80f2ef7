/*-------------------------------------------------------------------------
 *
 * connectors/file/file_options.c
 *	  Options that a table of a folder may have for itself.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include "cobol_format.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

/* What the option "tables" may say of a table beside its files. */
static const char *const own_options[] = {
	"key", "mode", "format", "delimiter", "quote", "escape", "header", "null",
	"encoding", "columns", "skip_rows", "compression", NULL
};

const char *const tap_file_modes[] = {"append", "upsert", "replace", NULL};

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

const char *
tap_file_option(TapSession *session, const TapFileTable *table, const char *name)
{
	ListCell   *cell;

	foreach(cell, table != NULL ? table->overrides : NIL)
	{
		TapFileOverride *override = lfirst(cell);

		if (strcmp(override->name, name) == 0)
			return override->value;
	}
	return tap_file_core->option_text(session->args->options, name);
}

bool
tap_file_option_bool(TapSession *session, const TapFileTable *table, const char *name)
{
	const char *value = tap_file_option(session, table, name);
	bool		result = false;

	return value != NULL && parse_bool(value, &result) && result;
}

TapFileMode
tap_file_mode(const char *value)
{
	for (int i = 0; tap_file_modes[i] != NULL; i++)
	{
		if (strcmp(tap_file_modes[i], value) == 0)
			return (TapFileMode) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid mode \"%s\"", value),
			 errhint("Valid values are: append, upsert, replace.")));
	return TAP_FILE_APPEND;
}

List *
tap_file_key_split(const char *value)
{
	List	   *result = NIL;
	char	   *rest = pstrdup(value);
	char	   *name;

	while ((name = strsep(&rest, ",")) != NULL)
	{
		Size		length;

		name += strspn(name, " ");
		length = strlen(name);
		while (length > 0 && name[length - 1] == ' ')
			name[--length] = '\0';
		if (length > 0)
			result = lappend(result, name);
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

void
tap_file_check_key(const char *value)
{
	if (tap_file_key_split(value) == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"key\" names no column"),
				 errhint("Write the columns as \"a, b\".")));
}

void
tap_file_check_character(const char *value)
{
	if (strlen(value) > 1 || *value == '\n' || *value == '\r')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a single one-byte character", value),
				 errhint("Delimiter, quote and escape are one byte each, and no line break.")));
}

void
tap_file_check_encoding(const char *value)
{
	if (pg_char_to_encoding(value) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not an encoding that PostgreSQL knows", value),
				 errhint("Examples are UTF8, LATIN1, WIN1252 and SJIS.")));
}

/* ---------------------------------------------------------------------
 * The option "tables"
 * ---------------------------------------------------------------------
 */

static void
report_tables(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"tables\""),
			 errdetail_internal("%s", detail),
			 errhint("Write {\"orders\": \"orders_*.csv\", \"items\": {\"files\": \"items/*.csv\", \"key\": \"id\"}}.")));
}

/* A scalar as text; what is larger as JSON. */
static char *
value_text(const JsonbValue *value)
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
		case jbvBinary:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			report_tables("A value is null.");
	}
	return NULL;
}

static void
check_own_option(const TapFileOverride *override)
{
	bool		known = false;

	for (int i = 0; own_options[i] != NULL; i++)
		known |= strcmp(own_options[i], override->name) == 0;
	for (int i = 0; tap_cobol_option_names[i] != NULL; i++)
		known |= strcmp(tap_cobol_option_names[i], override->name) == 0;
	if (!known)
		report_tables(psprintf("\"%s\" is not an option of a table.", override->name));
	if (strcmp(override->name, "mode") == 0)
		(void) tap_file_mode(override->value);
	else if (strcmp(override->name, "format") == 0 && tap_format_find(override->value) == NULL)
		report_tables(psprintf("There is no format \"%s\".", override->value));
	else if (strcmp(override->name, "key") == 0)
		tap_file_check_key(override->value);
	else if (strcmp(override->name, "encoding") == 0)
		tap_file_check_encoding(override->value);
	else if (strcmp(override->name, "delimiter") == 0 || strcmp(override->name, "quote") == 0 ||
			 strcmp(override->name, "escape") == 0)
		tap_file_check_character(override->value);
}

/* One table's object, from behind its beginning to its end. */
static void
parse_table(JsonbIterator **iterator, TapFileTable *table)
{
	JsonbValue	value;
	JsonbIteratorToken token;
	char	   *key = NULL;

	while ((token = JsonbIteratorNext(iterator, &value, true)) != WJB_END_OBJECT)
	{
		TapFileOverride *override;

		if (token == WJB_KEY)
		{
			key = pnstrdup(value.val.string.val, value.val.string.len);
			continue;
		}
		if (strcmp(key, "files") == 0)
		{
			table->pattern = value_text(&value);
			continue;
		}
		override = palloc(sizeof(TapFileOverride));
		override->name = key;
		override->value = value_text(&value);
		check_own_option(override);
		table->overrides = lappend(table->overrides, override);
	}
}

List *
tap_file_tables_given(const char *json)
{
	Jsonb	   *jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	List	   *tables = NIL;
	TapFileTable *table = NULL;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		report_tables("It is not a JSON object.");
	iterator = JsonbIteratorInit(&jsonb->root);
	(void) JsonbIteratorNext(&iterator, &value, false);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
		{
			table = palloc0(sizeof(TapFileTable));
			table->name.name = pnstrdup(value.val.string.val, value.val.string.len);
			tables = lappend(tables, table);
		}
		else if (token == WJB_VALUE && value.type == jbvString)
			table->pattern = value_text(&value);
		else if (token == WJB_BEGIN_OBJECT)
			parse_table(&iterator, table);
		else
			report_tables("A table is neither a pattern nor an object.");
		if (token != WJB_KEY && (table->pattern == NULL || table->pattern[0] == '\0'))
			report_tables(psprintf("Table \"%s\" has no \"files\".", table->name.name));
	}
	if (tables == NIL)
		report_tables("It has no table.");
	return tables;
}

void
tap_file_check_tables(const char *json)
{
	(void) tap_file_tables_given(json);
}
