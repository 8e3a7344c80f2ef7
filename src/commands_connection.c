/*-------------------------------------------------------------------------
 *
 * src/commands_connection.c
 *	  SQL functions about connections.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "commands.h"
#include "mapping.h"
#include "options.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_command_connect);
PG_FUNCTION_INFO_V1(tap_command_alter_connection);
PG_FUNCTION_INFO_V1(tap_command_disconnect);
PG_FUNCTION_INFO_V1(tap_command_test_connection);
PG_FUNCTION_INFO_V1(tap_command_discover);

/*
 * Check URI and options as far as that goes without the network, and set the
 * row's connector.
 */
static void
check_connection(TapConnectionRow *row)
{
	TapUri	   *uri = tap_uri_parse(row->uri);
	const TapConnector *connector = tap_connector_for_scheme(uri->scheme);
	TapOptions *options = tap_options_parse(row->options, uri->query, connector,
											TAP_SCOPE_CONNECTION, CurrentMemoryContext);

	if (uri->password != NULL &&
		(tap_options_given(options, "password") || tap_options_given(options, "password_file")))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the password is given more than once"),
				 errhint("Give it in the URI, or as option \"password\", or as \"password_file\".")));
	if (connector->check_uri != NULL)
		connector->check_uri(uri, options);
	row->connector = pstrdup(connector->name);
}

Datum
tap_command_connect(PG_FUNCTION_ARGS)
{
	TapConnectionRow row = {0};

	row.name = tap_argument_name(fcinfo, 0, "name");
	row.uri = tap_argument_text(fcinfo, 1, "uri");
	row.options = tap_argument_jsonb(fcinfo, 2, "options");
	row.owner = GetUserId();
	if (tap_catalog_connection(row.name, true) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("connection \"%s\" already exists", row.name),
				 errhint("Change it with tapdata.alter_connection().")));
	check_connection(&row);
	tap_catalog_insert_connection(&row);
	PG_RETURN_VOID();
}

Datum
tap_command_alter_connection(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "name");
	char	   *uri = tap_argument_text_or_null(fcinfo, 1);
	Jsonb	   *options = tap_argument_jsonb_or_null(fcinfo, 2);
	TapConnectionRow *row = tap_catalog_connection_owned(name);
	char	   *connector = row->connector;
	List	   *pipelines = tap_catalog_pipelines_of_connection(row->id);
	ListCell   *cell;

	if (uri == NULL && options == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing to change in connection \"%s\"", name),
				 errhint("Give a URI, options, or both.")));
	if (uri != NULL)
		row->uri = uri;
	if (options != NULL)
		row->options = tap_options_merge(row->options, options);
	check_connection(row);

	/* positions and definitions are in the terms of the connector */
	if (strcmp(row->connector, connector) != 0 && pipelines != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("connection \"%s\" cannot change from connector \"%s\" to \"%s\"",
						name, connector, row->connector),
				 errdetail("Pipelines use it."),
				 errhint("Create another connection with tapdata.connect().")));
	tap_catalog_update_connection(row);

	/* their workers come back over the new connection */
	foreach(cell, pipelines)
		tap_shmem_stop_pipeline(tap_catalog_pipeline(lfirst(cell), false)->id);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

Datum
tap_command_disconnect(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "name");
	TapConnectionRow *row = tap_catalog_connection_owned(name);
	List	   *pipelines = tap_catalog_pipelines_of_connection(row->id);

	if (pipelines != NIL)
	{
		StringInfoData names;
		ListCell   *cell;

		initStringInfo(&names);
		foreach(cell, pipelines)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", (char *) lfirst(cell));
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("connection \"%s\" is in use", name),
				 errdetail_plural("Pipeline %s uses it.", "Pipelines %s use it.",
								  list_length(pipelines), names.data),
				 errhint("Drop them with tapdata.drop_pipeline() first.")));
	}
	tap_catalog_delete_connection(row->id);
	PG_RETURN_VOID();
}

/* A connection that the user may use, without a lock on it. */
static TapConnectionRow *
usable_connection(const char *name)
{
	TapConnectionRow *row = tap_catalog_connection(name, false);

	tap_catalog_check_owner(row->owner, "connection", name);
	return row;
}

static Datum
text_or_null(const char *text, bool *isnull)
{
	*isnull = (text == NULL);
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

/*
 * What a connection is checked for: what the caller says, or its pipelines
 * use it as, or all that it can be.  The last is a source alone where the
 * connector says so: the account of one is not asked for a target's rights.
 */
static int
sides_to_test(const TapConnectionRow *row, const char *purpose)
{
	const TapConnector *connector = tap_connector_load(row->connector);
	int			sides = 0;
	ListCell   *cell;

	if (purpose != NULL && strcmp(purpose, "source") == 0)
	{
		tap_check_is_source(row);
		return TAP_SIDE_SOURCE;
	}
	if (purpose != NULL && strcmp(purpose, "target") == 0)
	{
		tap_check_is_sink(row);
		return TAP_SIDE_TARGET;
	}
	if (purpose != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"purpose\" must not be \"%s\"", purpose),
				 errhint("Give \"source\" or \"target\", or leave it out.")));
	foreach(cell, tap_catalog_pipelines_of_connection(row->id))
		sides |= tap_catalog_pipeline(lfirst(cell), false)->direction == TAP_PULL ?
		TAP_SIDE_SOURCE : TAP_SIDE_TARGET;
	if (sides != 0)
		return sides;
	if ((connector->capabilities & TAP_TESTS_AS_SOURCE) != 0)
		return TAP_SIDE_SOURCE;
	return (connector->source ? TAP_SIDE_SOURCE : 0) | (connector->sink ? TAP_SIDE_TARGET : 0);
}

static const char *
side_name(int sides)
{
	return sides == TAP_SIDE_SOURCE ? "source" : sides == TAP_SIDE_TARGET ? "target" : "both";
}

Datum
tap_command_test_connection(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "name");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TapConnectionRow *connection = usable_connection(name);
	char	   *purpose = NULL;
	int			sides;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_NARGS() > 1 && !PG_ARGISNULL(1))
		purpose = text_to_cstring(PG_GETARG_TEXT_PP(1));
	sides = sides_to_test(connection, purpose);
	foreach(cell, tap_session_test_connection(connection, sides))
	{
		const TapCheck *check = lfirst(cell);
		Datum		values[6];
		bool		nulls[6] = {false};

		values[0] = CStringGetTextDatum(check->name);
		values[1] = BoolGetDatum(check->ok);
		values[2] = text_or_null(check->detail, &nulls[2]);
		values[3] = text_or_null(check->ok ? NULL : check->hint, &nulls[3]);
		values[4] = BoolGetDatum(check->required);
		values[5] = CStringGetTextDatum(side_name(check->side ? check->side : sides));

		/* the function with one argument has the first four columns */
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---------------------------------------------------------------------
 * discover()
 * ---------------------------------------------------------------------
 */

static Datum
key_columns(const TapSourceTable *table)
{
	Datum	   *names = palloc(sizeof(Datum) * (table->nkeys + 1));

	for (int i = 0; i < table->nkeys; i++)
	{
		Form_pg_attribute column = TupleDescAttr(table->descriptor, table->keys[i] - 1);

		names[i] = CStringGetTextDatum(NameStr(column->attname));
	}
	return PointerGetDatum(construct_array(names, table->nkeys, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* The columns as a JSON array of objects, in order. */
static Datum
columns_json(const TapSourceTable *table)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(table->descriptor, i);

		appendStringInfoString(&json, i > 0 ? ", {\"name\": " : "{\"name\": ");
		escape_json(&json, NameStr(column->attname));
		appendStringInfoString(&json, ", \"type\": ");
		escape_json(&json, format_type_with_typemod(column->atttypid, column->atttypmod));
		if (table->column_types != NULL && table->column_types[i] != NULL)
		{
			appendStringInfoString(&json, ", \"source_type\": ");
			escape_json(&json, table->column_types[i]);
		}
		appendStringInfo(&json, ", \"not_null\": %s", column->attnotnull ? "true" : "false");
		if (table->column_comments != NULL && table->column_comments[i] != NULL)
		{
			appendStringInfoString(&json, ", \"comment\": ");
			escape_json(&json, table->column_comments[i]);
		}
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static void
put_table(ReturnSetInfo *result, const TapSourceTable *table)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = CStringGetTextDatum(tap_table_name_text(&table->name));
	values[1] = Int64GetDatum((int64) table->estimated_rows);
	nulls[1] = table->estimated_rows < 0;
	values[2] = key_columns(table);
	values[3] = columns_json(table);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_matching_tables(ReturnSetInfo *result, TapOpenSession *session, const char *pattern)
{
	TapPatterns *patterns = tap_patterns_compile(list_make1(pstrdup(pattern)));
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, session->source->list_tables(session->session))
	{
		if (tap_patterns_match(patterns, lfirst(cell)))
			names = lappend(names, lfirst(cell));
	}
	if (names == NIL)
		return;
	foreach(cell, session->source->describe_tables(session->session, names))
		put_table(result, lfirst(cell));
}

Datum
tap_command_discover(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "connection");
	char	   *pattern = tap_argument_text(fcinfo, 1, "pattern");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TapConnectionRow *connection;
	TapOpenSession *session;

	InitMaterializedSRF(fcinfo, 0);
	connection = usable_connection(name);
	tap_check_is_source(connection);
	session = tap_session_open(connection, NULL, TAP_PURPOSE_DISCOVER);
	PG_TRY();
	{
		put_matching_tables(result, session, pattern);
	}
	PG_FINALLY();
	{
		tap_session_close(session);
	}
	PG_END_TRY();
	return (Datum) 0;
}
