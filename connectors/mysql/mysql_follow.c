/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_follow.c
 *	  Statements of the log that are about tables: created, altered, renamed,
 *	  dropped, emptied.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_ddl.h"
#include "mysql_stream.h"

#include "utils/builtins.h"
#include "utils/formatting.h"

static void
fold_names(TapMysqlStream *stream, List *names)
{
	ListCell   *cell;

	if (!stream->lower_case)
		return;
	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);

		name->schema = asc_tolower(name->schema, strlen(name->schema));
		if (name->name != NULL)
			name->name = asc_tolower(name->name, strlen(name->name));
	}
}

/* Rows that were logged as a statement cannot be followed. */
static void
on_dml(TapMysqlStream *stream, List *names, const TapBinlogQuery *query)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);
		TapMysqlStreamTable *table;

		table = tap_mysql_stream_table(stream, name->schema, name->name, false);
		if (table->table_data == NULL)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source has logged a change of table \"%s\" as a statement, not as rows",
						tap_mysql_table_text(&table->name)),
				 errdetail("Statement: %s", pnstrdup(query->statement.data,
													 Min(query->statement.length, 500))),
				 errhint("Run at the source: SET GLOBAL binlog_format = 'ROW'; close the sessions that are older, then copy the table again with tapdata.resync().")));
	}
}

static void
on_truncate(TapMysqlStream *stream, const TapTableName *name)
{
	TapMysqlStreamTable *table;
	TapEvent   *event;

	table = tap_mysql_stream_table(stream, name->schema, name->name, false);
	if (table->table_data == NULL || !tap_mysql_need_format(stream, table))
		return;
	tap_mysql_begin(stream);
	event = tap_mysql_queue(stream, TAP_EVENT_CHANGE);
	event->change = TAP_CHANGE_TRUNCATE;
	event->table = table->source;
	event->table_data = table->table_data;
	stream->txn.changes++;
}

/* MariaDB's CREATE OR REPLACE TABLE of a table that is followed. */
static void
on_replace(TapMysqlStream *stream, TapMysqlStreamTable *table,
		   const TapBinlogQuery *query)
{
	TapMysqlTable *present = tap_mysql_read_table(stream->session, &table->name);

	if (present == NULL || tap_mysql_same_format(present, table->table))
		return;
	tap_mysql_set_format(stream, table, present);
	tap_mysql_queue_schema(stream, TAP_SCHEMA_ALTERED, table, NULL, NIL,
						   query->statement.data, query->statement.length);
}

/* The format of the table that a new one is made like, or NULL. */
static TapMysqlTable *
format_of_model(TapMysqlStream *stream, const TapMysqlStatement *statement)
{
	TapMysqlStreamTable *model;

	if (statement->like == NULL)
		return NULL;
	fold_names(stream, list_make1(statement->like));
	model = tap_mysql_table_entry(stream, statement->like->schema,
								  statement->like->name);
	return model->generation != 0 ? model->table :
		tap_mysql_read_table(stream->session, statement->like);
}

/*
 * The format of a new table: that of its statement, since the table may have
 * been altered, renamed or dropped since; else the present one.
 */
static bool
set_created_format(TapMysqlStream *stream, const TapMysqlStatement *statement,
				   TapMysqlStreamTable *table)
{
	TapMysqlTable *format = tap_mysql_read_table(stream->session, &table->name);
	TapMysqlTable *model = format_of_model(stream, statement);
	TapMysqlAlter created;

	if (tap_mysql_create_apply(stream->session, statement, &table->name, format,
							   &created))
		format = created.table;
	else if (model != NULL)
		format = model;
	if (format == NULL || format->ncolumns == 0)
		return false;
	tap_mysql_set_format(stream, table, format);
	return true;
}

static void
on_create(TapMysqlStream *stream, const TapMysqlStatement *statement,
		  const TapTableName *name, const TapBinlogQuery *query)
{
	TapMysqlStreamTable *table;

	table = tap_mysql_stream_table(stream, name->schema, name->name, true);
	if (table->table_data == NULL)
		return;

	/* IF NOT EXISTS, and it does */
	if (table->definition != NULL && !statement->or_replace)
		return;
	if (table->definition != NULL)
	{
		on_truncate(stream, name);
		on_replace(stream, table, query);
		return;
	}
	if (!set_created_format(stream, statement, table))
	{
		tap_mysql_forget_table(table);
		return;
	}
	tap_mysql_queue_schema(stream, TAP_SCHEMA_CREATED, table, NULL, NIL,
						   query->statement.data, query->statement.length);
}

static void
on_drop(TapMysqlStream *stream, const TapTableName *name,
		const TapBinlogQuery *query)
{
	TapMysqlStreamTable *table;

	table = tap_mysql_stream_table(stream, name->schema, name->name, false);
	if (table->table_data == NULL)
		return;
	tap_mysql_queue_schema(stream, TAP_SCHEMA_DROPPED, table, &table->name, NIL,
						   query->statement.data, query->statement.length);
	tap_mysql_forget_table(table);
}

/* The stream need not have met all tables of the database yet. */
static void
on_drop_database(TapMysqlStream *stream, const char *schema,
				 const TapBinlogQuery *query)
{
	ListCell   *cell;

	if (stream->args.tables_followed == NULL)
		return;
	foreach(cell, stream->args.tables_followed(stream->args.core_data))
	{
		const TapTableName *name = lfirst(cell);

		if (strcmp(name->schema, schema) == 0)
			on_drop(stream, name, query);
	}
}

static void
note_new_name(TapMysqlStream *stream, const TapTableName *name)
{
	MemoryContext old = MemoryContextSwitchTo(stream->context);
	TapTableName *copy = palloc(sizeof(TapTableName));

	copy->schema = pstrdup(name->schema);
	copy->name = pstrdup(name->name);
	stream->new_names = lappend(stream->new_names, copy);
	MemoryContextSwitchTo(old);
}

void
tap_mysql_ask_of_new_names(TapMysqlStream *stream)
{
	ListCell   *cell;

	foreach(cell, stream->new_names)
	{
		TapTableName *name = lfirst(cell);

		(void) tap_mysql_stream_table(stream, name->schema, name->name, false);
		pfree(name->schema);
		pfree(name->name);
	}
	list_free_deep(stream->new_names);
	stream->new_names = NIL;
}

/*
 * A table has a new name.  The core is told when it followed the old one;
 * otherwise it is asked of the new name, when it knows who had that before.
 */
static void
on_rename(TapMysqlStream *stream, const TapTableName *from, const TapTableName *to,
		  const TapBinlogQuery *query)
{
	TapMysqlStreamTable *table;
	TapMysqlStreamTable *renamed;
	TapMysqlTable *format;

	table = tap_mysql_stream_table(stream, from->schema, from->name, false);
	if (table->table_data == NULL || !tap_mysql_need_format(stream, table))
	{
		tap_mysql_forget_table(tap_mysql_table_entry(stream, to->schema, to->name));
		note_new_name(stream, to);
		return;
	}
	renamed = tap_mysql_table_entry(stream, to->schema, to->name);
	format = palloc(sizeof(TapMysqlTable));
	*format = *table->table;
	format->name = *to;
	renamed->table_data = table->table_data;
	renamed->asked = true;
	tap_mysql_set_format(stream, renamed, format);
	tap_mysql_queue_schema(stream, TAP_SCHEMA_RENAMED, renamed, &table->name, NIL,
						   query->statement.data, query->statement.length);

	/*
	 * the core forgets the old name when it handles the event, then it is
	 * asked
	 */
	renamed->asked = false;
	tap_mysql_forget_table(table);
}

static bool
has_column(const TapMysqlTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return true;
	return false;
}

/* Values that rows got by the ALTER TABLE, and that the log does not hold. */
static void
warn_of_values(const TapMysqlTable *before, const TapMysqlAlter *alter)
{
	for (int i = 0; i < alter->table->ncolumns; i++)
	{
		const TapMysqlColumn *column = &alter->table->columns[i];

		if ((column->generated || column->default_unknown) &&
			alter->renames == NIL && !has_column(before, column->name))
			tap_mysql_core->event("warning", &before->name,
								  psprintf("rows that were there have computed values in the new column \"%s\" at the source, which the log does not hold; tapdata.resync() brings them",
										   column->name));
	}
}

static void
on_alter(TapMysqlStream *stream, const TapMysqlStatement *statement,
		 const TapTableName *name, const TapBinlogQuery *query)
{
	TapMysqlStreamTable *table;
	TapMysqlTable *present;
	TapMysqlAlter alter;

	table = tap_mysql_stream_table(stream, name->schema, name->name, false);
	if (table->table_data == NULL || !tap_mysql_need_format(stream, table))
		return;
	present = tap_mysql_read_table(stream->session, name);
	tap_mysql_alter_apply(stream->session, statement, table->table, present,
						  name->schema, &alter);
	if (!alter.complete && present != NULL)
		alter.table = present;
	warn_of_values(table->table, &alter);
	if (!tap_mysql_same_format(table->table, alter.table) ||
		!tap_mysql_same_defaults(table->table, alter.table))
	{
		alter.table->name = table->name;
		tap_mysql_set_format(stream, table, alter.table);
		tap_mysql_queue_schema(stream, TAP_SCHEMA_ALTERED, table, NULL, alter.renames,
							   query->statement.data, query->statement.length);
	}
	if (alter.new_name != NULL)
	{
		fold_names(stream, list_make1(alter.new_name));
		on_rename(stream, name, alter.new_name, query);
	}
}

void
tap_mysql_follow_statement(TapMysqlStream *stream,
						   const TapMysqlStatement *statement,
						   const TapBinlogQuery *query)
{
	List	   *names = statement->names;

	fold_names(stream, names);
	if (statement->kind == TAP_MYSQL_STATEMENT_DML)
		on_dml(stream, names, query);
	for (int i = 0; i < list_length(names); i++)
	{
		TapTableName *name = list_nth(names, i);

		switch (statement->kind)
		{
			case TAP_MYSQL_STATEMENT_CREATE_TABLE:
				on_create(stream, statement, name, query);
				break;
			case TAP_MYSQL_STATEMENT_ALTER_TABLE:
				on_alter(stream, statement, name, query);
				break;
			case TAP_MYSQL_STATEMENT_DROP_TABLE:
				on_drop(stream, name, query);
				break;
			case TAP_MYSQL_STATEMENT_RENAME_TABLE:
				on_rename(stream, name, list_nth(names, i + 1), query);
				i++;
				break;
			case TAP_MYSQL_STATEMENT_TRUNCATE:
				on_truncate(stream, name);
				break;
			case TAP_MYSQL_STATEMENT_DROP_DATABASE:
				on_drop_database(stream, name->schema, query);
				break;
			default:
				break;
		}
	}
}
