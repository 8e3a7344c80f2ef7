/*-------------------------------------------------------------------------
 *
 * src/commands_publish.c
 *	  publish(), and what add_tables() and alter_pipeline() do to a publish
 *	  pipeline.
 *
 * NOTES
 *	  All that a worker checks at its start is checked at the call too, so that
 *	  most mistakes are errors of the statement that makes them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "commands.h"
#include "mapping.h"
#include "options.h"
#include "publish.h"
#include "publish_options.h"
#include "shmem.h"
#include "slot.h"

PG_FUNCTION_INFO_V1(tap_command_publish);

/* The names of tables (List of Oid) as List of TapTableName *. */
static List *
names_of(List *relids)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, relids)
	{
		TapTableName *name = palloc(sizeof(TapTableName));

		name->schema = get_namespace_name(get_rel_namespace(lfirst_oid(cell)));
		name->name = get_rel_name(lfirst_oid(cell));

		/* dropped by somebody a moment ago */
		if (name->schema != NULL && name->name != NULL)
			result = lappend(result, name);
	}
	return result;
}

static void
check_patterns(List *patterns)
{
	char	   *every = "*";
	List	   *names = names_of(tap_publish_matching_tables(list_make1(every)));
	const char *unmatched = tap_patterns_unmatched(tap_patterns_compile(patterns), names);

	if (unmatched != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("no hub table matches \"%s\"", unmatched),
				 errhint("Tables that can be published are ordinary and partitioned ones, but for unlogged and temporary tables and those of PostgreSQL and tapdata themselves.")));
}

/* A pull pipeline of the same connection fills the table: a loop. */
static void
warn_of_loop(Oid relid, const TapTableName *name, const TapConnectionRow *connection,
			 const TapDecodeOrigins *origins)
{
	TapTableRow *table = tap_catalog_table_by_hub(relid);
	TapPipelineRow *pipeline = table ? tap_catalog_pipeline_by_id(table->pipeline, true) : NULL;

	if (pipeline == NULL || pipeline->connection != connection->id || !origins->any)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("table %s is published to where it comes from",
					tap_table_name_text(name)),
			 errdetail("Pipeline \"%s\" pulls it from connection \"%s\".", pipeline->name,
					   connection->name),
			 errhint("With option origins set to local only changes that are made in the hub are published.")));
}

/* Check tables (List of Oid) of a pipeline with its options. */
static void
check_tables(const TapPipelineRow *row, const TapConnectionRow *connection,
			 const TapOptions *options, List *relids)
{
	List	   *names = names_of(relids);
	List	   *checks;
	ListCell   *cell;

	tap_publish_check_options(options, names);
	foreach(cell, relids)
		tap_publish_check_table(lfirst_oid(cell), row->owner, options);
	checks = tap_session_test(connection, row, names);
	tap_check_source(connection, checks);
	tap_warn_of_source(connection, checks);
}

static void
warn_of_loops(const TapConnectionRow *connection, const TapOptions *options, List *relids)
{
	TapDecodeOrigins origins = tap_publish_origins(options);
	ListCell   *cell;

	foreach(cell, relids)
	{
		List	   *names = names_of(list_make1_oid(lfirst_oid(cell)));

		if (names != NIL)
			warn_of_loop(lfirst_oid(cell), linitial(names), connection, &origins);
	}
}

static TapOptions *
parse_options(const TapPipelineRow *row, const TapConnectionRow *connection)
{
	return tap_options_parse(row->options, NULL, tap_connector_load(connection->connector),
							 TAP_SCOPE_PUBLISH, CurrentMemoryContext);
}

static List *
matching_tables(const TapPipelineRow *row, List *new_patterns)
{
	List	   *relids;

	check_patterns(new_patterns);
	relids = tap_publish_matching_tables(row->patterns);
	if (relids == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the patterns exclude every table"),
				 errhint("Patterns that begin with ! are taken off what the others match.")));
	return relids;
}

static void
create_publish(TapPipelineRow *row, const TapConnectionRow *connection)
{
	TapOptions *options = parse_options(row, connection);
	List	   *relids = matching_tables(row, row->patterns);

	check_tables(row, connection, options, relids);
	warn_of_loops(connection, options, relids);

	row->id = tap_catalog_insert_pipeline(row);
	(void) tap_publish_add_matching(row);
	tap_shmem_reserve_pipeline(row->id);
	tap_catalog_set_enabled(row->id, true);
	tap_catalog_insert_event(row->name, NULL, "info", "created", "the pipeline was created");
}

Datum
tap_command_publish(PG_FUNCTION_ARGS)
{
	TapPipelineRow row = {0};
	TapConnectionRow *connection;
	char	   *connection_name;

	row.name = tap_argument_name(fcinfo, 0, "name");
	connection_name = tap_argument_name(fcinfo, 1, "connection");
	row.patterns = tap_argument_texts(fcinfo, 2, "tables");
	row.options = tap_argument_jsonb(fcinfo, 3, "options");
	row.direction = TAP_PUBLISH;
	row.owner = GetUserId();

	PreventCommandIfReadOnly("tapdata.publish()");
	tap_shmem_require();
	tap_check_name_is_free(row.name);
	connection = tap_catalog_connection(connection_name, false);
	tap_catalog_check_owner(connection->owner, "connection", connection_name);
	row.connection = connection->id;
	tap_check_is_sink(connection);
	(void) parse_options(&row, connection);
	(void) tap_patterns_compile(row.patterns);
	tap_check_owner_can_run(&row);
	tap_slot_check_server();
	create_publish(&row, connection);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

void
tap_commands_add_published(TapPipelineRow *row, List *patterns)
{
	TapConnectionRow *connection = tap_catalog_connection_by_id(row->connection);
	TapOptions *options = parse_options(row, connection);
	List	   *relids = matching_tables(row, patterns);

	check_tables(row, connection, options, relids);
	warn_of_loops(connection, options, tap_publish_matching_tables(patterns));
	tap_catalog_update_pipeline(row);
	(void) tap_publish_add_matching(row);
}

void
tap_commands_check_published(const TapPipelineRow *row, const TapConnectionRow *connection)
{
	TapOptions *options = parse_options(row, connection);
	List	   *relids = NIL;
	ListCell   *cell;

	foreach(cell, tap_catalog_tables(row->id))
	{
		TapTableRow *table = lfirst(cell);

		if (table->state != TAP_TABLE_DROPPED && get_rel_name(table->hub_table) != NULL)
			relids = lappend_oid(relids, table->hub_table);
	}
	tap_publish_check_options(options, names_of(relids));
	foreach(cell, relids)
		tap_publish_check_table(lfirst_oid(cell), row->owner, options);
}
