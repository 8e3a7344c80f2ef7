/*-------------------------------------------------------------------------
 *
 * src/commands.c
 *	  What the SQL functions have in common: arguments, checks of a connection.
 *
 * The functions are in commands_connection.c, commands_pull.c,
 * commands_publish.c, commands_pipeline.c, commands_wait.c and dead_letters.c.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "commands.h"
#include "mapping.h"

#define NAMES_IN_HINT	8

/* ---------------------------------------------------------------------
 * Arguments
 * ---------------------------------------------------------------------
 */

static void
check_not_null(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

char *
tap_argument_name(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *value;

	check_not_null(fcinfo, number, name);
	value = pstrdup(NameStr(*PG_GETARG_NAME(number)));
	if (value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("argument \"%s\" must not be empty", name)));
	return value;
}

char *
tap_argument_name_or_null(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(number)));
}

char *
tap_argument_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	check_not_null(fcinfo, number, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

char *
tap_argument_text_or_null(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

Jsonb *
tap_argument_jsonb(FunctionCallInfo fcinfo, int number, const char *name)
{
	check_not_null(fcinfo, number, name);
	return PG_GETARG_JSONB_P(number);
}

Jsonb *
tap_argument_jsonb_or_null(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
}

List *
tap_argument_texts(FunctionCallInfo fcinfo, int number, const char *name)
{
	List	   *result = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	check_not_null(fcinfo, number, name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name),
				 errhint("Name at least one table, or a pattern such as 'shop.*'.")));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", name)));
		result = lappend(result, TextDatumGetCString(elements[i]));
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Checks of a connection
 * ---------------------------------------------------------------------
 */

void
tap_check_is_source(const TapConnectionRow *connection)
{
	if (tap_connector_load(connection->connector)->source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("connector \"%s\" of connection \"%s\" is not a source",
						connection->connector, connection->name),
				 errhint("See tapdata.connectors.")));
}

void
tap_check_is_sink(const TapConnectionRow *connection)
{
	if (tap_connector_load(connection->connector)->sink == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("connector \"%s\" of connection \"%s\" cannot be published to",
						connection->connector, connection->name),
				 errhint("The column \"sink\" of tapdata.connectors says which ones can.")));
}

static void
report_check(int level, int sqlstate, const TapConnectionRow *connection,
			 const TapCheck *check)
{
	ereport(level,
			(errcode(sqlstate),
			 errmsg("connection \"%s\" does not pass the check \"%s\"",
					connection->name, check->name),
			 check->detail ? errdetail("%s", check->detail) : 0,
			 check->hint ? errhint("%s", check->hint) : 0));
}

void
tap_check_source(const TapConnectionRow *connection, List *checks)
{
	ListCell   *cell;

	foreach(cell, checks)
	{
		const TapCheck *check = lfirst(cell);

		if (!check->ok && check->required)
			report_check(ERROR,
						 check->sqlstate ? check->sqlstate : ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						 connection, check);
	}
}

void
tap_warn_of_source(const TapConnectionRow *connection, List *checks)
{
	ListCell   *cell;

	foreach(cell, checks)
	{
		const TapCheck *check = lfirst(cell);

		if (!check->ok && !check->required)
			report_check(WARNING, check->sqlstate ? check->sqlstate : ERRCODE_WARNING,
						 connection, check);
	}
}

/* Some of the names, and how many there are besides. */
static char *
some_names(List *names)
{
	StringInfoData text;
	int			count = 0;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, names)
	{
		if (count++ == NAMES_IN_HINT)
			break;
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "",
						 tap_table_name_text(lfirst(cell)));
	}
	if (list_length(names) > NAMES_IN_HINT)
		appendStringInfo(&text, " and %d more", list_length(names) - NAMES_IN_HINT);
	return text.data;
}

void
tap_check_patterns(List *patterns, List *names)
{
	TapPatterns *compiled = tap_patterns_compile(patterns);
	const char *unmatched = tap_patterns_unmatched(compiled, names);

	if (unmatched == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("no table of the source matches \"%s\"", unmatched),
			 names == NIL ?
			 errhint("The user of the connection can read no table at all; grant it SELECT.") :
			 errhint("The user of the connection can read: %s.  See tapdata.discover().",
					 some_names(names))));
}
