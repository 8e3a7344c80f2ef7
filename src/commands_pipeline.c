/*-------------------------------------------------------------------------
 *
 * src/commands_pipeline.c
 *	  SQL functions that change, start, stop and drop pipelines.
 *
 * Those that create them are in commands_pull.c and commands_publish.c.
 *
 * NOTES
 *	  All of it happens in the caller's transaction, and workers look at the
 *	  catalog when that commits.  What cannot wait for the commit, because a
 *	  worker would be in the way, stops the worker first; it comes back by
 *	  itself when the transaction has ended, however it ends.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "commands.h"
#include "compat.h"
#include "hubtable.h"
#include "mapping.h"
#include "options.h"
#include "position.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_command_add_tables);
PG_FUNCTION_INFO_V1(tap_command_remove_tables);
PG_FUNCTION_INFO_V1(tap_command_alter_pipeline);
PG_FUNCTION_INFO_V1(tap_command_start);
PG_FUNCTION_INFO_V1(tap_command_stop);
PG_FUNCTION_INFO_V1(tap_command_resync);
PG_FUNCTION_INFO_V1(tap_command_drop_pipeline);

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

void
tap_check_name_is_free(const char *name)
{
	if (tap_catalog_pipeline(name, true) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already exists", name),
				 errhint("Change it with tapdata.alter_pipeline(), or drop it with tapdata.drop_pipeline().")));
}

/* The workers log in as the owner. */
void
tap_check_owner_can_run(const TapPipelineRow *row)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(row->owner));
	bool		can_login;

	/* nothing but a table's row refers to it, so that it can be dropped */
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the role that owns pipeline \"%s\" was dropped", row->name),
				 errhint("As a superuser, run UPDATE tapdata.pipeline SET owner = 'role' WHERE name = %s, and make the role the owner of the hub tables.",
						 quote_literal_cstr(row->name))));
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (TAP_COMPAT_OWNER_NEEDS_LOGIN && !can_login)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" cannot own pipelines, it is not permitted to log in",
						GetUserNameFromId(row->owner, false)),
				 errhint("Run ALTER ROLE %s LOGIN, or call the function as another role.",
						 quote_identifier(GetUserNameFromId(row->owner, false)))));
}

/* ---------------------------------------------------------------------
 * Changing
 * ---------------------------------------------------------------------
 */

static bool
list_has_text(List *texts, const char *text)
{
	ListCell   *cell;

	foreach(cell, texts)
	{
		if (strcmp(lfirst(cell), text) == 0)
			return true;
	}
	return false;
}

/* texts without those that are equal to one of others */
static List *
texts_without(List *texts, List *others)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, texts)
	{
		if (!list_has_text(others, lfirst(cell)))
			result = lappend(result, lfirst(cell));
	}
	return result;
}

/*
 * A table that is added by its name was meant, even if remove_tables() has
 * excluded it before.
 */
static List *
excluding_patterns(List *patterns)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, patterns)
		result = lappend(result, psprintf("!%s", (char *) lfirst(cell)));
	return result;
}

Datum
tap_command_add_tables(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	List	   *patterns = tap_argument_texts(fcinfo, 1, "tables");
	TapPipelineRow *row;

	PreventCommandIfReadOnly("tapdata.add_tables()");
	tap_shmem_require();
	(void) tap_patterns_compile(patterns);
	row = tap_catalog_pipeline_owned(name);
	row->patterns = texts_without(row->patterns, excluding_patterns(patterns));
	row->patterns = list_concat(row->patterns, texts_without(patterns, row->patterns));
	if (row->direction == TAP_PULL)
		tap_commands_add_pulled(row, patterns);
	else
		tap_commands_add_published(row, patterns);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

static bool
has_including_pattern(List *patterns)
{
	ListCell   *cell;

	foreach(cell, patterns)
	{
		if (((char *) lfirst(cell))[0] != '!')
			return true;
	}
	return false;
}

static void
forget_table(const TapPipelineRow *row, const TapTableRow *table)
{
	tap_catalog_delete_table(table->id);
	tap_shmem_forget_table(table->id);
	tap_catalog_insert_event(row->name, &table->source, "info", "table removed",
							 table->published ?
							 "the table was taken out of the pipeline; what was sent stays at the target" :
							 "the table was taken out of the pipeline; its hub table stays");
}

Datum
tap_command_remove_tables(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	List	   *patterns = tap_argument_texts(fcinfo, 1, "tables");
	TapPatterns *removed = tap_patterns_compile(patterns);
	TapPipelineRow *row = tap_catalog_pipeline_owned(name);
	List	   *kept = texts_without(row->patterns, patterns);
	bool		changed = list_length(kept) < list_length(row->patterns);
	ListCell   *cell;

	tap_shmem_stop_pipeline(row->id);
	foreach(cell, tap_catalog_tables(row->id))
	{
		TapTableRow *table = lfirst(cell);

		if (!tap_patterns_match(removed, &table->source))
			continue;
		forget_table(row, table);
		changed = true;

		/* what the other patterns still match would come back by itself */
		if (has_including_pattern(kept) &&
			tap_patterns_match(tap_patterns_compile(kept), &table->source))
			kept = lappend(kept, psprintf("!%s", tap_table_name_text(&table->source)));
	}
	if (!changed)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("pipeline \"%s\" has no table that matches", name),
				 errhint("See tapdata.tables.")));
	if (!has_including_pattern(kept))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no table would be left in pipeline \"%s\"", name),
				 errhint("Drop it with tapdata.drop_pipeline().")));
	row->patterns = kept;
	tap_catalog_update_pipeline(row);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

Datum
tap_command_alter_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "name");
	Jsonb	   *options = tap_argument_jsonb(fcinfo, 1, "options");
	TapPipelineRow *row = tap_catalog_pipeline_owned(name);
	TapConnectionRow *connection = tap_catalog_connection_by_id(row->connection);

	row->options = tap_options_merge(row->options, options);
	if (row->direction == TAP_PULL)
		tap_commands_check_pulled(row, connection, options);
	else
		tap_commands_check_published(row, connection);

	/* the worker comes back with the new options */
	tap_shmem_stop_pipeline(row->id);
	tap_catalog_update_pipeline(row);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------------
 * Starting and stopping
 * ---------------------------------------------------------------------
 */

Datum
tap_command_start(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	TapPipelineRow *row;

	tap_shmem_require();
	row = tap_catalog_pipeline_owned(name);
	tap_check_owner_can_run(row);
	tap_shmem_reserve_pipeline(row->id);

	/* the supervisor may not have heard of the stop() yet, and never would */
	if (!row->enabled)
		tap_shmem_stop_pipeline(row->id);
	tap_catalog_set_enabled(row->id, true);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

Datum
tap_command_stop(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	TapPipelineRow *row = tap_catalog_pipeline_owned(name);

	tap_catalog_set_enabled(row->id, false);
	if (row->enabled)
		tap_catalog_insert_event(row->name, NULL, "info", "stopped", "the pipeline was stopped by tapdata.stop()");
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

/* "schema.table" of the source, or the hub table by its name. */
static bool
table_is_called(const TapTableRow *table, const char *name)
{
	char	   *hub_name = get_rel_name(table->hub_table);
	char	   *hub_schema = get_namespace_name(get_rel_namespace(table->hub_table));

	if (table->source.schema != NULL &&
		strcmp(name, psprintf("%s.%s", table->source.schema, table->source.name)) == 0)
		return true;
	if (strcmp(name, tap_table_name_text(&table->source)) == 0 ||
		strcmp(name, table->source.name) == 0)
		return true;
	return hub_name != NULL && hub_schema != NULL &&
		(strcmp(name, quote_qualified_identifier(hub_schema, hub_name)) == 0 ||
		 strcmp(name, psprintf("%s.%s", hub_schema, hub_name)) == 0);
}

static void
forget_copy(TapTableRow *table)
{
	tap_catalog_delete_chunks(table->id);
	table->state = TAP_TABLE_NEW;
	table->start_position = NULL;
	table->end_position = NULL;
	table->exact = false;
	table->last_error = NULL;
	tap_catalog_update_table(table);
	tap_shmem_forget_table(table->id);
}

static void
resync_table(const TapPipelineRow *row, TapTableRow *table)
{
	/*
	 * One that was dropped is created again by the worker; one that foreign
	 * keys refer to is emptied by it, in the session role of the pipeline.
	 */
	if (!table->published && get_rel_name(table->hub_table) != NULL &&
		!tap_hubtable_is_referenced(table->hub_table))
		tap_hubtable_truncate(table->hub_table);
	forget_copy(table);
	tap_catalog_insert_event(row->name, &table->source, "info", "resync",
							 table->published ?
							 "the table will be sent again" :
							 "the hub table was emptied and will be copied again");
}

Datum
tap_command_resync(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	char	   *table_name = tap_argument_text_or_null(fcinfo, 1);
	TapPipelineRow *row;
	bool		found = false;
	ListCell   *cell;

	tap_shmem_require();
	row = tap_catalog_pipeline_owned(name);
	tap_shmem_stop_pipeline(row->id);
	foreach(cell, tap_catalog_tables(row->id))
	{
		TapTableRow *table = lfirst(cell);

		if (table_name != NULL && !table_is_called(table, table_name))
			continue;
		found = true;

		/* what is gone at the source cannot be copied; its rows stay */
		if (table->state == TAP_TABLE_DROPPED)
			continue;
		resync_table(row, table);
	}
	if (table_name != NULL && !found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("pipeline \"%s\" has no table \"%s\"", name, table_name),
				 errhint("See tapdata.tables; tapdata.add_tables() adds one.")));

	/* nothing of the old history is left that a position could belong to */
	if (table_name == NULL)
	{
		if (row->direction == TAP_PULL)
			tap_commands_forget_source(row);
		tap_position_forget(row->id);
	}
	tap_catalog_set_enabled(row->id, true);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}

Datum
tap_command_drop_pipeline(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "name");
	bool		drop_tables = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	TapPipelineRow *row = tap_catalog_pipeline_owned(name);
	ListCell   *cell;

	tap_shmem_stop_pipeline(row->id);
	foreach(cell, tap_catalog_tables(row->id))
	{
		TapTableRow *table = lfirst(cell);

		if (drop_tables && table->created && !table->published && get_rel_name(table->hub_table) != NULL)
			tap_hubtable_drop(table->hub_table);
		tap_catalog_delete_table(table->id);
		tap_shmem_forget_table(table->id);
	}
	if (row->direction == TAP_PULL)
		tap_commands_forget_source(row);
	tap_position_drop(row->id);
	tap_catalog_delete_pipeline(row->id);
	tap_shmem_forget_pipeline(row->id);
	tap_shmem_wake_at_commit();
	PG_RETURN_VOID();
}
