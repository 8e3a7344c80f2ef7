/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_table.c
 *	  Tables of the target: created when missing, checked when there, altered
 *	  when the hub table is.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Bytes that an index of InnoDB can hold. */
#define INDEX_BYTES		3072

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

/* A pattern with {schema} and {table} replaced. */
static char *
fill_pattern(const char *pattern, const TapTableName *hub)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = pattern; *p; p++)
	{
		if (strncmp(p, "{schema}", 8) == 0)
		{
			appendStringInfoString(&out, hub->schema);
			p += 7;
		}
		else if (strncmp(p, "{table}", 7) == 0)
		{
			appendStringInfoString(&out, hub->name);
			p += 6;
		}
		else
			appendStringInfoChar(&out, *p);
	}
	return out.data;
}

TapTableName *
tap_mysql_sink_target(const TapSessionArgs *args, const TapTableName *hub, bool lower_case)
{
	TapTableName *target = palloc(sizeof(TapTableName));

	target->schema = fill_pattern(tap_mysql_core->option_text(args->pipeline_options,
															  "target_schema"), hub);
	target->name = fill_pattern(tap_mysql_core->option_text(args->pipeline_options,
															"target_table"), hub);
	if (lower_case)
	{
		target->schema = asc_tolower(target->schema, strlen(target->schema));
		target->name = asc_tolower(target->name, strlen(target->name));
	}
	return target;
}

/* ---------------------------------------------------------------------
 * The hub's columns
 * ---------------------------------------------------------------------
 */

static void
describe_column(TapMysqlSink *sink, TapMysqlSinkColumn *column, Form_pg_attribute attribute)
{
	Oid			output;
	bool		is_varlena;

	column->name = pstrdup(NameStr(attribute->attname));
	column->quoted = tap_mysql_quote_identifier(column->name);
	column->typmod = attribute->atttypmod;
	column->type = getBaseTypeAndTypmod(attribute->atttypid, &column->typmod);
	column->is_array = type_is_array(column->type);
	column->is_enum = type_is_enum(column->type);
	getTypeOutputInfo(column->type, &output, &is_varlena);
	fmgr_info_cxt(output, &column->output, CurrentMemoryContext);
}

/* What the catalog says of the published columns; the result is in the current context. */
static void
describe_columns(TapMysqlSink *sink, TapMysqlSinkTable *result, const TapSourceTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();

	result->ncolumns = table->descriptor->natts;
	result->columns = palloc0(sizeof(TapMysqlSinkColumn) * Max(1, result->ncolumns));
	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	for (int i = 0; i < result->ncolumns; i++)
		describe_column(sink, &result->columns[i], TupleDescAttr(table->descriptor, i));
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

static void
describe_key(TapMysqlSinkTable *result, const TapSourceTable *table)
{
	result->nkeys = table->nkeys;
	result->keys = palloc0(sizeof(int) * Max(1, table->nkeys));
	result->is_key = palloc0(sizeof(bool) * Max(1, result->ncolumns));
	for (int i = 0; i < table->nkeys; i++)
	{
		result->keys[i] = table->keys[i] - 1;
		result->is_key[table->keys[i] - 1] = true;
	}
}

/* ---------------------------------------------------------------------
 * Creating
 * ---------------------------------------------------------------------
 */

char *
tap_mysql_sink_column_definition(TapMysqlSink *sink, const TapMysqlSinkTable *table, int i, bool not_null,
								 int *budget)
{
	const TapMysqlSinkColumn *column = &table->columns[i];
	int			in_key = table->is_key[i] ? INDEX_BYTES / table->nkeys : 0;

	/* TIMESTAMP gets NOT NULL and a default of its own unless told otherwise */
	return psprintf("%s %s%s", column->quoted,
					tap_mysql_sink_type(sink, column, in_key, budget),
					not_null || table->is_key[i] ? " NOT NULL" : " NULL");
}

static void
append_key_columns(StringInfo out, const TapMysqlSinkTable *table)
{
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(out, "%s%s", i > 0 ? "," : "", table->columns[table->keys[i]].quoted);
}

static void
create_target(TapMysqlSink *sink, TapMysqlSinkTable *result, const TapSourceTable *table)
{
	StringInfoData sql;
	int			budget = TAP_MYSQL_ROW_BUDGET;

	(void) tap_mysql_try_query(sink->mysql,
							   psprintf("CREATE DATABASE IF NOT EXISTS %s",
										tap_mysql_quote_identifier(result->target.schema)));
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", result->quoted);
	for (int i = 0; i < result->ncolumns; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "",
						 tap_mysql_sink_column_definition(sink, result, i,
														  TupleDescAttr(table->descriptor, i)->attnotnull,
														  &budget));
	if (result->nkeys > 0)
	{
		appendStringInfoString(&sql, ", PRIMARY KEY (");
		append_key_columns(&sql, result);
		appendStringInfoChar(&sql, ')');
	}
	appendStringInfo(&sql, ") ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE %s",
					 tap_mysql_sink_collation(&sink->session->server));
	tap_mysql_sink_run(sink, result, sql.data, "create table");
	tap_mysql_core->event("target created", &result->hub,
						  psprintf("table \"%s\" was created at the target", result->label));
}

/* ---------------------------------------------------------------------
 * Checking
 * ---------------------------------------------------------------------
 */

const TapMysqlColumn *
tap_mysql_sink_find_column(const TapMysqlTable *target, const char *name)
{
	for (int i = 0; i < target->ncolumns; i++)
		if (pg_strcasecmp(target->columns[i].name, name) == 0)
			return &target->columns[i];
	return NULL;
}

static void
refuse_column(const TapMysqlSinkTable *result, const TapMysqlSinkColumn *column,
			  const TapMysqlColumn *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of table \"%s\" at the target is of type %s, which cannot hold what the hub has",
					column->name, result->label, target->column_type),
			 errdetail("The hub table is \"%s\".", tap_mysql_table_text(&result->hub)),
			 errhint("Give the column another type, or leave it out by the option \"columns\".")));
}

static void
check_columns(TapMysqlSink *sink, TapMysqlSinkTable *result, const TapMysqlTable *target)
{
	for (int i = 0; i < result->ncolumns; i++)
	{
		TapMysqlSinkColumn *column = &result->columns[i];
		const TapMysqlColumn *found = tap_mysql_sink_find_column(target, column->name);

		if (found == NULL || found->generated)
			column->not_written = true;
		else if (!tap_mysql_sink_set_encode(sink, column, found))
			refuse_column(result, column, found);
		if (result->is_key[i] && column->not_written)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" of the target has no column for the key column \"%s\"",
							result->label, column->name),
					 errhint("Add the column and make it the primary key, or drop the table to have it created.")));
	}
}

static bool
is_hub_key(const TapMysqlSinkTable *result, const TapMysqlTable *target,
		   const AttrNumber *columns, int n)
{
	if (n != result->nkeys)
		return false;
	for (int i = 0; i < n; i++)
	{
		const char *name = target->columns[columns[i] - 1].name;
		bool		found = false;

		for (int j = 0; j < result->nkeys; j++)
			if (pg_strcasecmp(result->columns[result->keys[j]].name, name) == 0)
				found = true;
		if (!found)
			return false;
	}
	return true;
}

static void
check_key(TapMysqlSinkTable *result, const TapMysqlTable *target)
{
	StringInfoData key;

	if (result->nkeys == 0 || is_hub_key(result, target, target->keys, target->nkeys))
		return;
	for (int i = 0; i < target->nindexes; i++)
		if (target->indexes[i].unique &&
			is_hub_key(result, target, target->indexes[i].columns, target->indexes[i].ncolumns))
			return;
	initStringInfo(&key);
	append_key_columns(&key, result);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("table \"%s\" of the target has no unique index on the key of the hub table",
					result->label),
			 errhint("Run at the target: ALTER TABLE %s ADD PRIMARY KEY (%s);", result->quoted,
					 key.data)));
}

/* Columns that an INSERT of ours would leave without a value. */
static void
check_other_columns(TapMysqlSink *sink, TapMysqlSinkTable *result)
{
	TapMysqlRows *rows;

	rows = tap_mysql_query(sink->mysql,
						   psprintf("SELECT COLUMN_NAME FROM information_schema.COLUMNS "
									"WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
									"AND IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL "
									"AND EXTRA NOT LIKE '%%auto_increment%%' "
									"AND EXTRA NOT LIKE '%%GENERATED%%'",
									tap_mysql_quote_literal(result->target.schema),
									tap_mysql_quote_literal(result->target.name)));
	for (int i = 0; i < rows->nrows; i++)
	{
		bool		known = false;

		for (int j = 0; j < result->ncolumns; j++)
			if (pg_strcasecmp(result->columns[j].name, tap_mysql_value(rows, i, 0)) == 0)
				known = true;
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("column \"%s\" of table \"%s\" at the target takes no NULL and has no default, but the hub has no such column",
							tap_mysql_value(rows, i, 0), result->label),
					 errhint("Run at the target: ALTER TABLE %s ALTER COLUMN %s SET DEFAULT ...; or let it take NULL.",
							 result->quoted,
							 tap_mysql_quote_identifier(tap_mysql_value(rows, i, 0)))));
	}
}

static void
check_engine(const TapMysqlSinkTable *result, const TapMysqlTable *target)
{
	static const char *const engines[] = {"MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE", "FEDERATED"};

	for (int i = 0; i < lengthof(engines); i++)
		if (target->engine != NULL && strcmp(target->engine, engines[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("table \"%s\" of the target is of the engine %s, which has no transactions",
							result->label, target->engine),
					 errhint("Run at the target: ALTER TABLE %s ENGINE = InnoDB;", result->quoted)));
}

static int
count_of(TapMysqlSink *sink, const char *sql)
{
	char	   *value = tap_mysql_query_value(sink->mysql, sql);

	return value ? atoi(value) : 0;
}

/*
 * Which statements tell rows apart exactly, and do to other rows, and to
 * triggers, what the hub's change does.
 */
static void
choose_statements(TapMysqlSink *sink, TapMysqlSinkTable *result)
{
	char	   *schema = tap_mysql_quote_literal(result->target.schema);
	char	   *name = tap_mysql_quote_literal(result->target.name);

	result->in_order = result->nkeys == 0;
	for (int i = 0; i < result->nkeys; i++)
		if (result->columns[result->keys[i]].inexact)
			result->in_order = true;
	result->upserts = !result->in_order &&
		count_of(sink, psprintf("SELECT COUNT(DISTINCT INDEX_NAME) FROM information_schema.STATISTICS "
								"WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA = %s AND TABLE_NAME = %s",
								schema, name)) == 1 &&
		count_of(sink, psprintf("SELECT COUNT(*) FROM information_schema.TRIGGERS "
								"WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s",
								schema, name)) == 0;
}

static void
check_missing(TapMysqlSinkTable *result, const TapMysqlTable *target)
{
	for (int i = 0; i < result->ncolumns; i++)
		if (tap_mysql_sink_find_column(target, result->columns[i].name) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" of the target has no column \"%s\"", result->label,
							result->columns[i].name),
					 errhint("Add the column, leave it out by the option \"columns\", or drop the table to have it created.")));
}

/* ---------------------------------------------------------------------
 * Texts of statements
 * ---------------------------------------------------------------------
 */

static void
make_insert(TapMysqlSinkTable *result)
{
	StringInfoData head;
	StringInfoData tail;
	const char *separator = "";
	const char *tail_separator = " ON DUPLICATE KEY UPDATE ";

	initStringInfo(&head);
	initStringInfo(&tail);
	appendStringInfo(&head, "INSERT INTO %s (", result->quoted);
	for (int i = 0; i < result->ncolumns; i++)
	{
		const TapMysqlSinkColumn *column = &result->columns[i];

		if (column->not_written)
			continue;
		appendStringInfo(&head, "%s%s", separator, column->quoted);
		separator = ",";
		if (result->is_key[i])
			continue;
		appendStringInfo(&tail, "%s%s=VALUES(%s)", tail_separator, column->quoted, column->quoted);
		tail_separator = ",";
	}
	appendStringInfoString(&head, ") VALUES ");
	if (tail.len == 0 && result->nkeys > 0)
		appendStringInfo(&tail, "%s%s=VALUES(%s)", tail_separator,
						 result->columns[result->keys[0]].quoted,
						 result->columns[result->keys[0]].quoted);
	result->insert_head = head.data;
	result->upsert_tail = tail.data;
}

static void
make_key_columns(TapMysqlSinkTable *result)
{
	StringInfoData columns;

	initStringInfo(&columns);
	if (result->nkeys > 1)
		appendStringInfoChar(&columns, '(');
	append_key_columns(&columns, result);
	if (result->nkeys > 1)
		appendStringInfoChar(&columns, ')');
	result->key_columns = columns.data;
}

/* LOAD DATA, which reads bytes in hexadecimal and bits as a number. */
static void
make_load(TapMysqlSinkTable *result)
{
	StringInfoData head;
	StringInfoData set;
	const char *separator = "";
	const char *set_separator = " SET ";

	initStringInfo(&head);
	initStringInfo(&set);
	appendStringInfo(&head, "LOAD DATA LOCAL INFILE 'tapdata' INTO TABLE %s CHARACTER SET utf8mb4 "
					 "FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (",
					 result->quoted);
	for (int i = 0; i < result->ncolumns; i++)
	{
		const TapMysqlSinkColumn *column = &result->columns[i];

		if (column->not_written)
			continue;
		if (column->as_bytes || column->as_bits)
		{
			appendStringInfo(&head, "%s@c%d", separator, i);
			appendStringInfo(&set, column->as_bytes ? "%s%s=UNHEX(@c%d)" :
							 "%s%s=CAST(@c%d AS UNSIGNED)", set_separator, column->quoted, i);
			set_separator = ",";
		}
		else
			appendStringInfo(&head, "%s%s", separator, column->quoted);
		separator = ",";
	}
	appendStringInfo(&head, ")%s", set.data);
	result->load_head = head.data;
}

/* ---------------------------------------------------------------------
 * All of it
 * ---------------------------------------------------------------------
 */

/* What goes into batches is sent as it is. */
static void
encode_texts(TapMysqlSinkTable *result)
{
	for (int i = 0; i < result->ncolumns; i++)
		result->columns[i].quoted = tap_mysql_to_utf8(result->columns[i].quoted);
	result->quoted = tap_mysql_to_utf8(result->quoted);
	result->insert_head = tap_mysql_to_utf8(result->insert_head);
	result->upsert_tail = tap_mysql_to_utf8(result->upsert_tail);
	result->key_columns = tap_mysql_to_utf8(result->key_columns);
	result->load_head = tap_mysql_to_utf8(result->load_head);
}

static TapMysqlTable *
read_target(TapMysqlSink *sink, const TapMysqlSinkTable *result)
{
	return tap_mysql_read_table(sink->session, &result->target);
}

/* An empty table in its place would hide that its rows are gone. */
static void
report_gone(const TapMysqlSinkTable *result)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s\" of the target is gone", result->label),
			 errdetail("Rows of the hub's table %s.%s were sent to it before.", result->hub.schema,
					   result->hub.name),
			 errhint("Bring it back with its rows, or have it made and filled again with tapdata.resync('<pipeline>', '%s.%s').",
					 result->hub.schema, result->hub.name)));
}

static TapMysqlTable *
make_target(TapMysqlSink *sink, TapMysqlSinkTable *result, const TapSourceTable *table,
			const TapSourceTable *old, bool known)
{
	TapMysqlTable *target = read_target(sink, result);

	if (target == NULL)
	{
		if (known)
			report_gone(result);
		create_target(sink, result, table);
		target = read_target(sink, result);
	}
	else if (old == NULL && sink->position == 0)
		check_missing(result, target);
	else if (tap_mysql_sink_follow(sink, result, table, old, target))
		target = read_target(sink, result);
	if (target == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" of the target cannot be seen", result->label),
				 errhint("Grant SELECT on it to the connection's user.")));
	return target;
}

void *
tap_mysql_sink_prepare(TapSession *session, const TapSourceTable *table,
					   const TapSourceTable *old, void *old_data, bool known)
{
	TapMysqlSink *sink = session->sink;
	MemoryContext context = AllocSetContextCreate(sink->context, "tapdata mysql target",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	TapMysqlSinkTable *result = palloc0(sizeof(TapMysqlSinkTable));
	TapMysqlTable *target;

	(void) old_data;
	result->hub.schema = pstrdup(table->name.schema);
	result->hub.name = pstrdup(table->name.name);
	result->target = *tap_mysql_sink_target(&session->args, &result->hub, sink->lower_case);
	result->quoted = tap_mysql_quote_table(&result->target);
	result->label = tap_mysql_table_text(&result->target);
	describe_columns(sink, result, table);
	describe_key(result, table);
	target = make_target(sink, result, table, old, known);
	check_engine(result, target);
	check_columns(sink, result, target);
	check_key(result, target);
	check_other_columns(sink, result);
	choose_statements(sink, result);
	make_insert(result);
	make_key_columns(result);
	make_load(result);
	encode_texts(result);
	MemoryContextSwitchTo(before);
	return result;
}
