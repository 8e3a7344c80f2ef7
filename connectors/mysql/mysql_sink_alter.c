/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_alter.c
 *	  Changes of a hub table's format, made at the target.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* A column of the target as it will be, for literals of its default. */
static void
foresee_column(TapMysqlSink *sink, const char *type, TapMysqlColumn *column)
{
	const char *end = strstr(type, " CHARACTER SET");

	memset(column, 0, sizeof(*column));
	column->column_type = end ? pnstrdup(type, end - type) : pstrdup(type);
	column->type = pnstrdup(type, strspn(type, "abcdefghijklmnopqrstuvwxyz"));
	column->charset = "utf8mb4";
	column->collation = unconstify(char *, tap_mysql_sink_collation(&sink->session->server));
	tap_mysql_resolve_column(sink->session, column, sink->session->server.is_mariadb);
}

/* The default, in the hub's input format, as a literal; NULL: none that is known. */
static char *
default_literal(TapMysqlSink *sink, const TapMysqlSinkTable *result, int i, const char *type,
				const TapSourceTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	TapMysqlSinkColumn column = result->columns[i];
	TapMysqlColumn target;
	StringInfoData literal;
	bool		own_transaction = !IsTransactionState();
	Oid			input;
	Oid			parameter;

	if (table->column_defaults == NULL || table->column_defaults[i] == NULL)
		return NULL;
	foresee_column(sink, type, &target);
	if (!tap_mysql_sink_set_encode(sink, &column, &target))
		return NULL;
	initStringInfo(&literal);
	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	getTypeInputInfo(column.type, &input, &parameter);
	tap_mysql_sink_literal(result, &column,
						   OidInputFunctionCall(input, table->column_defaults[i], parameter,
												column.typmod),
						   &literal);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return literal.data;
}

/* Rows that are there get the default, as those of the hub did. */
static void
add_column(TapMysqlSink *sink, TapMysqlSinkTable *result, int i, const TapSourceTable *table)
{
	int			budget = TAP_MYSQL_ROW_BUDGET / 8;
	char	   *type = tap_mysql_sink_type(sink, &result->columns[i], 0, &budget);
	char	   *literal = default_literal(sink, result, i, type, table);
	bool		large = strstr(type, "text") || strstr(type, "blob") || strstr(type, "json");
	bool		not_null = literal != NULL && TupleDescAttr(table->descriptor, i)->attnotnull;

	tap_mysql_sink_run(sink, result,
					   psprintf("ALTER TABLE %s ADD COLUMN %s %s%s%s%s%s", result->quoted,
								result->columns[i].quoted, type, not_null ? " NOT NULL" : " NULL",
								literal == NULL ? "" : large ? " DEFAULT (" : " DEFAULT ",
								literal ? literal : "", literal && large ? ")" : ""),
					   "add a column to table");
	tap_mysql_core->event("schema changed", &result->hub,
						  psprintf("column \"%s\" was added to table \"%s\" of the target",
								   result->columns[i].name, result->label));
}

static int
column_of(TupleDesc descriptor, const char *name)
{
	for (int i = 0; i < descriptor->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(descriptor, i)->attname), name) == 0)
			return i;
	return -1;
}

/*
 * The name that a new column had before, or NULL.  A new column is always the
 * last one, so that a new name before others is a column that was renamed.
 */
static const char *
former_name(const TapSourceTable *table, const TapSourceTable *old, int i)
{
	Form_pg_attribute now = TupleDescAttr(table->descriptor, i);
	Form_pg_attribute before;

	if (old == NULL || i >= old->descriptor->natts)
		return NULL;
	before = TupleDescAttr(old->descriptor, i);
	if (column_of(table->descriptor, NameStr(before->attname)) >= 0 ||
		before->atttypid != now->atttypid)
		return NULL;
	if (i + 1 < table->descriptor->natts && i + 1 < old->descriptor->natts &&
		strcmp(NameStr(TupleDescAttr(table->descriptor, i + 1)->attname),
			   NameStr(TupleDescAttr(old->descriptor, i + 1)->attname)) == 0)
		return NameStr(before->attname);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of hub table \"%s\" is gone and column \"%s\" is new: it may have been renamed",
					NameStr(before->attname), tap_mysql_table_text(&table->name),
					NameStr(now->attname)),
			 errhint("Rename the column at the target, or add the new one, then start the pipeline.")));
}

static void
rename_column(TapMysqlSink *sink, TapMysqlSinkTable *result, const char *from, const char *to)
{
	tap_mysql_sink_run(sink, result,
					   psprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", result->quoted,
								tap_mysql_quote_identifier(from), tap_mysql_quote_identifier(to)),
					   "rename a column of table");
	tap_mysql_core->event("schema changed", &result->hub,
						  psprintf("column \"%s\" of table \"%s\" of the target was renamed to \"%s\"",
								   from, result->label, to));
}

static void
modify_column(TapMysqlSink *sink, TapMysqlSinkTable *result, int i, const TapSourceTable *table)
{
	int			budget = TAP_MYSQL_ROW_BUDGET / 8;

	tap_mysql_sink_run(sink, result,
					   psprintf("ALTER TABLE %s MODIFY COLUMN %s", result->quoted,
								tap_mysql_sink_column_definition(sink, result, i,
																 TupleDescAttr(table->descriptor, i)->attnotnull,
																 &budget)),
					   "change a column of table");
	tap_mysql_core->event("schema changed", &result->hub,
						  psprintf("column \"%s\" of table \"%s\" of the target has a new type",
								   result->columns[i].name, result->label));
}

/* A column that the hub has no more must take NULL; its data stay. */
static void
relax_column(TapMysqlSink *sink, TapMysqlSinkTable *result, const TapMysqlColumn *column)
{
	if (column->nullable || column->generated || column->default_value != NULL)
		return;
	tap_mysql_sink_run(sink, result,
					   psprintf("ALTER TABLE %s MODIFY COLUMN %s %s%s%s NULL", result->quoted,
								tap_mysql_quote_identifier(column->name), column->column_type,
								column->collation ? " COLLATE " : "",
								column->collation ? column->collation : ""),
					   "change a column of table");
}

static void
refuse_change(TapMysqlSink *sink, const TapMysqlSinkTable *result, const char *what)
{
	if (!sink->stops_at_ddl)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the format of hub table \"%s\" changed: %s", tap_mysql_table_text(&result->hub),
					what),
			 errhint("Option \"ddl\" of pipeline \"%s\" is \"stop\". Change the target's table and start the pipeline, or set the option to apply.",
					 sink->session->args.pipeline_name)));
}

static bool
type_changed(const TapSourceTable *table, const TapSourceTable *old, int i)
{
	int			before = old == NULL ? -1 :
	column_of(old->descriptor, NameStr(TupleDescAttr(table->descriptor, i)->attname));

	return before >= 0 && strcmp(table->column_types[i], old->column_types[before]) != 0;
}

bool
tap_mysql_sink_follow(TapMysqlSink *sink, TapMysqlSinkTable *result, const TapSourceTable *table,
					  const TapSourceTable *old, const TapMysqlTable *target)
{
	bool		changed = false;

	for (int i = 0; i < result->ncolumns; i++)
	{
		const char *name = result->columns[i].name;
		bool		missing = tap_mysql_sink_find_column(target, name) == NULL;
		const char *former;

		if (!missing && !type_changed(table, old, i))
			continue;
		refuse_change(sink, result, psprintf("column \"%s\" is new or has a new type", name));
		if (!sink->applies_ddl)
			continue;
		former = missing ? former_name(table, old, i) : NULL;
		if (former != NULL && tap_mysql_sink_find_column(target, former) != NULL)
			rename_column(sink, result, former, name);
		else if (missing)
			add_column(sink, result, i, table);
		else
			modify_column(sink, result, i, table);
		changed = true;
	}
	for (int i = 0; old != NULL && i < old->descriptor->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(old->descriptor, i)->attname);
		const TapMysqlColumn *column = tap_mysql_sink_find_column(target, name);

		if (column == NULL || column_of(table->descriptor, name) >= 0)
			continue;
		refuse_change(sink, result, psprintf("column \"%s\" is gone", name));
		if (sink->applies_ddl)
			relax_column(sink, result, column);
		changed = true;
	}
	return changed;
}
