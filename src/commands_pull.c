/*-------------------------------------------------------------------------
 *
 * src/commands_pull.c
 *	  pull(), and what add_tables() and alter_pipeline() do to a pull pipeline.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "commands.h"
#include "hubtable.h"
#include "mapping.h"
#include "options.h"
#include "pull.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_command_pull);

static List *
matching_names(List *patterns, List *names)
{
	TapPatterns *compiled = tap_patterns_compile(patterns);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		if (tap_patterns_match(compiled, lfirst(cell)))
			result = lappend(result, lfirst(cell));
	}
	return result;
}

static void
check_some_match(List *matching)
{
	if (matching == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the patterns exclude every table"),
				 errhint("Patterns that begin with ! are taken off what the others match.")));
}

/* A relation in the place of a hub table to be; say whose it is. */
static void
report_hub_table_taken(const TapTableName *source, const char *hub_name, Oid relid)
{
	TapTableRow *table = tap_catalog_table_by_hub(relid);
	TapPipelineRow *pipeline = table ? tap_catalog_pipeline_by_id(table->pipeline, true) : NULL;

	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("relation %s already exists", hub_name),
			 pipeline ?
			 errdetail("Pipeline \"%s\" fills it from %s.", pipeline->name,
					   tap_table_name_text(&table->source)) :
			 errdetail("No pipeline fills it, and it shall not be overwritten with %s.",
					   tap_table_name_text(source)),
			 errhint("Choose another schema with into_schema, or rename or drop what is there.")));
}

static TapTableRow *
find_table(List *tables, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapTableRow *table = lfirst(cell);

		if (strcmp(tap_table_name_text(&table->source), tap_table_name_text(name)) == 0)
			return table;
	}
	return NULL;
}

/*
 * Each source table that is new to the pipeline needs a place in the hub that
 * nothing else has.
 */
static void
check_hub_tables(const TapPipelineRow *row, List *matching)
{
	List	   *tables = row->id != 0 ? tap_catalog_tables(row->id) : NIL;
	Oid			schema = get_namespace_oid(row->into_schema, true);
	ListCell   *cell;
	ListCell   *other_cell;

	foreach(cell, matching)
	{
		TapTableName *name = lfirst(cell);
		char	   *fitting = tap_hubtable_fit_name(name->name);
		char	   *hub_name = quote_qualified_identifier(row->into_schema, fitting);
		Oid			relid = OidIsValid(schema) ? get_relname_relid(fitting, schema) : InvalidOid;

		if (OidIsValid(relid) && find_table(tables, name) == NULL)
			report_hub_table_taken(name, hub_name, relid);
		for_each_cell(other_cell, matching, lnext(matching, cell))
		{
			TapTableName *other = lfirst(other_cell);

			/* the cheap test first, as there are many pairs */
			if (strncmp(other->name, fitting, strlen(fitting)) == 0 &&
				strcmp(tap_hubtable_fit_name(other->name), fitting) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_TABLE),
						 errmsg("%s and %s cannot both be hub table %s",
								tap_table_name_text(name), tap_table_name_text(other), hub_name),
						 errhint("Pull the tables of each source schema by a pipeline of its own, with another into_schema.")));
		}
	}
}

/*
 * All that needs the source.  It is asked before anything is written, so that
 * no lock is held for longer than the tables' descriptions take.
 */
static void
create_pull(TapPipelineRow *row, const TapConnectionRow *connection, TapOpenSession *session)
{
	List	   *names = session->source->list_tables(session->session);
	List	   *matching;
	List	   *checks;

	tap_check_patterns(row->patterns, names);
	matching = matching_names(row->patterns, names);
	check_some_match(matching);
	check_hub_tables(row, matching);
	checks = tap_session_test(connection, row, matching);
	tap_check_source(connection, checks);
	tap_warn_of_source(connection, checks);

	tap_hubtable_create_schema(row->into_schema);
	row->id = tap_catalog_insert_pipeline(row);
	tap_pull_add_matching(row, session, NULL, NULL);
	tap_shmem_reserve_pipeline(row->id);
	tap_catalog_set_enabled(row->id, true);
	tap_catalog_insert_event(row->name, NULL, "info", "created", "the pipeline was created");
}

Datum
tap_command_pull(PG_FUNCTION_ARGS)
{
	TapPipelineRow row = {0};
	TapConnectionRow *connection;
	char	   *connection_name;
	TapOpenSession *session;

	row.name = tap_argument_name(fcinfo, 0, "name");
	connection_name = tap_argument_name(fcinfo, 1, "connection");
	row.patterns = tap_argument_texts(fcinfo, 2, "tables");
	row.into_schema = tap_argument_name_or_null(fcinfo, 3);
	row.options = tap_argument_jsonb(fcinfo, 4, "options");
	row.direction = TAP_PULL;
	row.owner = GetUserId();
	if (row.into_schema == NULL)
		row.into_schema = connection_name;

	PreventCommandIfReadOnly("tapdata.pull()");
	tap_shmem_require();
	tap_check_name_is_free(row.name);
	connection = tap_catalog_connection(connection_name, false);
	tap_catalog_check_owner(connection->owner, "connection", connection_name);
	row.connection = connection->id;
	tap_check_is_source(connection);
	(void) tap_options_parse(row.options, NULL, tap_connector_load(connection->connector),
							 TAP_SCOPE_PULL, CurrentMemoryContext);
	(void) tap_patterns_compile(row.patterns);
	tap_check_owner_can_run(&row);

	/* once without tables: its checks explain better why nobody can log in */
	tap_check_source(connection, tap_session_test(connection, &row, NIL));
	session = tap_session_open(connection, &row, TAP_PURPOSE_DISCOVER);
	PG_TRY();
	{
		create_pull(&row, connection, session);
	}
	PG_FINALLY();
	{
		tap_session_close(session);
	}
	PG_END_TRY();
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

static void
add_tables(TapPipelineRow *row, List *patterns, const TapConnectionRow *connection,
		   TapOpenSession *session)
{
	List	   *names = session->source->list_tables(session->session);
	List	   *matching;

	tap_check_patterns(patterns, names);
	matching = matching_names(row->patterns, names);
	check_hub_tables(row, matching);
	tap_check_source(connection, tap_session_test(connection, row, matching));
	tap_catalog_update_pipeline(row);
	if (tap_pull_add_matching(row, session, NULL, NULL) == 0)
		ereport(NOTICE,
				(errmsg("no table was added to pipeline \"%s\"", row->name),
				 errdetail("All tables of the source that match are in it already."),
				 errhint("A table that the user of the connection may not read is not seen; see tapdata.discover().")));
}

void
tap_commands_add_pulled(TapPipelineRow *row, List *patterns)
{
	TapConnectionRow *connection = tap_catalog_connection_by_id(row->connection);
	TapOpenSession *session = tap_session_open(connection, row, TAP_PURPOSE_DISCOVER);

	PG_TRY();
	{
		add_tables(row, patterns, connection, session);
	}
	PG_FINALLY();
	{
		tap_session_close(session);
	}
	PG_END_TRY();
}

/* The checks that have to be passed by what was changed: List of char *. */
static List *
tests_of_changes(const TapConnector *connector, Jsonb *changes)
{
	List	   *result = NIL;

	for (const TapOption *option = connector->options; option->name != NULL; option++)
	{
		JsonbValue	value;

		if ((option->scope & TAP_SCOPE_ASKED) != 0 &&
			getKeyJsonValueFromContainer(&changes->root, option->name, strlen(option->name), &value) != NULL)
			result = lappend(result, psprintf("source_%s", option->name));
	}
	return result;
}

static List *
names_of_tables(const TapPipelineRow *row)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tap_catalog_tables(row->id))
	{
		TapTableRow *table = lfirst(cell);

		if (table->state != TAP_TABLE_DROPPED)
			result = lappend(result, &table->source);
	}
	return result;
}

void
tap_commands_check_pulled(const TapPipelineRow *row, const TapConnectionRow *connection,
						  Jsonb *changes)
{
	const TapConnector *connector = tap_connector_load(connection->connector);
	List	   *wanted;
	List	   *checks;
	ListCell   *cell;

	(void) tap_options_parse(row->options, NULL, connector, TAP_SCOPE_PULL, CurrentMemoryContext);
	wanted = tests_of_changes(connector, changes);

	/* all else can be altered while the source is down, or not well */
	if (wanted == NIL)
		return;
	checks = tap_session_test(connection, row, names_of_tables(row));
	foreach(cell, checks)
	{
		const TapCheck *check = lfirst(cell);
		ListCell   *name;
		bool		is_wanted = foreach_current_index(cell) == 0;

		foreach(name, wanted)
			is_wanted |= strcmp(lfirst(name), check->name) == 0;
		if (is_wanted)
			tap_check_source(connection, list_make1(lfirst(cell)));
	}
}
