/*-------------------------------------------------------------------------
 *
 * src/pull_schema.c
 *	  Schema changes of the source, followed in the hub.
 *
 * A change is made in the hub transaction that it belongs to, in the order of
 * the source's log: rows before it were stored in the old format, rows after
 * it are stored in the new one, and readers of the hub see both steps or none.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "hubtable.h"
#include "options.h"
#include "pull_private.h"
#include "worker.h"

static void refuse_if_asked(TapPull *pull, const TapEvent *event, const char *label);
static void schema_created(TapPull *pull, TapPullTable *table, const TapEvent *event);
static void schema_altered(TapPull *pull, TapPullTable *table, const TapEvent *event);
static void schema_renamed(TapPull *pull, TapPullTable *table, const TapEvent *event);
static void schema_dropped(TapPull *pull, TapPullTable *table);
static void note(TapPull *pull, TapPullTable *table, const char *message);

void
tap_pull_schema(TapPull *pull, const TapEvent *event)
{
	TapPullTable *table = event->table_data;
	bool		comparing;

	if (table->covered ||
		(!table->carried && event->schema != TAP_SCHEMA_CREATED))
		return;
	refuse_if_asked(pull, event, table->label);

	/* ALTER TABLE wants nobody else to hold the relation, nor us */
	tap_apply_end(pull->apply);
	comparing = tap_pull_compare_pause(pull, table);
	if (event->schema == TAP_SCHEMA_ALTERED)
		tap_pull_moved_altered(table);
	switch (event->schema)
	{
		case TAP_SCHEMA_CREATED:
			schema_created(pull, table, event);
			break;
		case TAP_SCHEMA_ALTERED:
			schema_altered(pull, table, event);
			break;
		case TAP_SCHEMA_RENAMED:
			schema_renamed(pull, table, event);
			break;
		case TAP_SCHEMA_DROPPED:
			schema_dropped(pull, table);
			break;
	}
	CommandCounterIncrement();
	tap_apply_begin(pull->apply);
	if (comparing)
		tap_pull_compare_resume(pull);
}

static void
refuse_if_asked(TapPull *pull, const TapEvent *event, const char *label)
{
	if (pull->ddl != TAP_PULL_DDL_STOP)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the format of table \"%s\" changed at the source", label),
			 event->statement ? errdetail("Statement: %s", event->statement) : 0,
			 errhint("Option \"ddl\" of pipeline \"%s\" is \"stop\". To follow the change, call tapdata.alter_pipeline('%s', '{\"ddl\":\"apply\"}') and tapdata.start('%s').",
					 pull->pipeline->name, pull->pipeline->name,
					 pull->pipeline->name)));
}

static void
note(TapPull *pull, TapPullTable *table, const char *message)
{
	tap_catalog_insert_event(pull->pipeline->name, &table->row.source, "info",
							 "schema changed", message);
}

static void
schema_created(TapPull *pull, TapPullTable *table, const TapEvent *event)
{
	if (pull->ddl == TAP_PULL_DDL_IGNORE)
		return;
	tap_pull_table_created(pull, table, event->table);
	note(pull, table, "the table was created and is followed");
}

static void
schema_altered(TapPull *pull, TapPullTable *table, const TapEvent *event)
{
	const TapSourceTable *before = table->source;

	if (before == NULL && table->row.definition != NULL)
		before = pull->source->table_from_definition(pull->session->session,
													 &table->row.source,
													 table->row.definition);
	if (pull->ddl == TAP_PULL_DDL_APPLY && before != NULL)
	{
		ListCell   *cell;

		foreach(cell, tap_hubtable_alter(table->row.hub_table, before, event->table,
										 event->renames, pull->ddl_drop))
			note(pull, table, lfirst(cell));
	}
	else
		note(pull, table, "the format changed at the source; the hub table stays as it is");

	table->row.definition = MemoryContextStrdup(pull->context,
												event->table->definition);
	tap_catalog_update_table(&table->row);
	tap_pull_table_set_format(pull, table, event->table);
}

/*
 * Under its new name the table may not be wanted any more: then it is as if
 * dropped, but its rows are never deleted for that.
 */
static void
schema_renamed(TapPull *pull, TapPullTable *table, const TapEvent *event)
{
	const TapTableName *name = &event->table->name;
	char	   *old_name = table->row.source.name;
	MemoryContext old;

	if (!tap_patterns_match(pull->patterns, name))
	{
		note(pull, table, psprintf("the table was renamed to %s, which no pattern matches; the hub table keeps its rows",
								   tap_table_name_text(name)));
		table->row.state = TAP_TABLE_DROPPED;
		table->carried = false;
		tap_catalog_update_table(&table->row);
		return;
	}

	if (pull->ddl == TAP_PULL_DDL_APPLY && table->row.created)
		tap_hubtable_rename(table->row.hub_table, name->name);
	note(pull, table, psprintf("the table was renamed from %s to %s", old_name,
							   name->name));

	old = MemoryContextSwitchTo(pull->context);
	table->row.source.schema = name->schema ? pstrdup(name->schema) : NULL;
	table->row.source.name = pstrdup(name->name);
	table->row.definition = pstrdup(event->table->definition);
	table->label = tap_table_name_text(&table->row.source);
	MemoryContextSwitchTo(old);
	tap_catalog_update_table(&table->row);
	tap_pull_table_set_format(pull, table, event->table);
}

static void
schema_dropped(TapPull *pull, TapPullTable *table)
{
	table->carried = false;
	if (pull->ddl_drop && table->row.created)
	{
		note(pull, table, "the table was dropped, and so is the hub table");
		tap_catalog_delete_table(table->row.id);
		tap_hubtable_drop(table->row.hub_table);
		table->row.id = 0;
		table->row.hub_table = InvalidOid;
		table->row.state = TAP_TABLE_DROPPED;
	}
	else
	{
		note(pull, table, "the table was dropped; the hub table keeps its rows");
		table->row.state = TAP_TABLE_DROPPED;
		tap_catalog_update_table(&table->row);
	}
}
