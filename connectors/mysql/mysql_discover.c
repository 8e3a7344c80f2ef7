/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_discover.c
 *	  Tables and their formats, from the source's information_schema.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* Schemas that are the server's own. */
#define SYSTEM_SCHEMAS \
	"('mysql', 'information_schema', 'performance_schema', 'sys')"

/* Tables asked for in one query. */
#define TABLES_A_QUERY	500

List *
tap_mysql_list_tables(TapSession *session)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	TapMysqlRows *rows;
	List	   *result = NIL;

	rows = tap_mysql_query(mysql,
						   "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES "
						   "WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') "
						   "AND TABLE_SCHEMA NOT IN " SYSTEM_SCHEMAS
						   " AND TABLE_NAME <> '" TAP_MYSQL_PROGRESS_TABLE "'"
						   " ORDER BY TABLE_SCHEMA, TABLE_NAME");
	for (int i = 0; i < rows->nrows; i++)
	{
		TapTableName *name = palloc(sizeof(TapTableName));

		name->schema = tap_mysql_value(rows, i, 0);
		name->name = tap_mysql_value(rows, i, 1);
		result = lappend(result, name);
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Reading formats
 * ---------------------------------------------------------------------
 */

/* " AND (TABLE_SCHEMA, TABLE_NAME) is one of the names" */
static void
append_names(StringInfo sql, const char *schema, const char *table, List *names)
{
	ListCell   *cell;
	bool		first = true;

	appendStringInfoString(sql, " AND (");
	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);

		appendStringInfo(sql, "%s(%s = %s AND %s = %s)", first ? "" : " OR ",
						 schema, tap_mysql_quote_literal(name->schema),
						 table, tap_mysql_quote_literal(name->name));
		first = false;
	}
	appendStringInfoChar(sql, ')');
}

/* The table of a row whose first two columns are schema and name, or NULL. */
static TapMysqlTable *
find_table(List *tables, TapMysqlRows *rows, int row)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapMysqlTable *table = lfirst(cell);

		if (strcmp(table->name.name, tap_mysql_value(rows, row, 1)) == 0 &&
			strcmp(table->name.schema, tap_mysql_value(rows, row, 0)) == 0)
			return table;
	}
	return NULL;
}

static double
number_or(const char *text, double otherwise)
{
	return text ? strtod(text, NULL) : otherwise;
}

/* The tables themselves, in the order of names, without columns yet. */
static List *
read_tables(TapSession *session, MYSQL *mysql, List *names)
{
	StringInfoData sql;
	TapMysqlRows *rows;
	List	   *found = NIL;
	List	   *result = NIL;
	ListCell   *cell;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_ROWS, "
						   "DATA_LENGTH, TABLE_COMMENT FROM information_schema.TABLES "
						   "WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')");
	append_names(&sql, "TABLE_SCHEMA", "TABLE_NAME", names);
	rows = tap_mysql_query(mysql, sql.data);
	for (int i = 0; i < rows->nrows; i++)
	{
		TapMysqlTable *table = palloc0(sizeof(TapMysqlTable));
		char	   *comment = tap_mysql_value(rows, i, 5);

		table->name.schema = tap_mysql_value(rows, i, 0);
		table->name.name = tap_mysql_value(rows, i, 1);
		table->engine = tap_mysql_value(rows, i, 2);
		table->estimated_rows = number_or(tap_mysql_value(rows, i, 3), -1);
		table->estimated_bytes = number_or(tap_mysql_value(rows, i, 4), -1);
		table->comment = (comment && comment[0]) ? comment : NULL;
		table->is_mariadb = session->server.is_mariadb;
		found = lappend(found, table);
	}
	/* names that differ in case only are not what was asked for */
	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);
		ListCell   *other;

		foreach(other, found)
		{
			TapMysqlTable *table = lfirst(other);

			if (strcmp(table->name.schema, name->schema) == 0 &&
				strcmp(table->name.name, name->name) == 0)
				result = lappend(result, table);
		}
	}
	return result;
}

static void
read_column(TapSession *session, TapMysqlTable *table, TapMysqlRows *rows, int row)
{
	TapMysqlColumn *column;
	char	   *extra = tap_mysql_value(rows, row, 8);
	char	   *comment = tap_mysql_value(rows, row, 9);

	if (table->columns == NULL)
		table->columns = palloc0(sizeof(TapMysqlColumn));
	else
		table->columns = repalloc(table->columns,
								  sizeof(TapMysqlColumn) * (table->ncolumns + 1));
	column = &table->columns[table->ncolumns++];
	memset(column, 0, sizeof(TapMysqlColumn));
	column->name = tap_mysql_value(rows, row, 2);
	column->type = tap_mysql_value(rows, row, 3);
	column->column_type = tap_mysql_value(rows, row, 4);
	column->charset = tap_mysql_value(rows, row, 5);
	column->collation = tap_mysql_value(rows, row, 6);
	column->nullable = strcmp(tap_mysql_value(rows, row, 7), "YES") == 0;
	column->generated = extra && (strstr(extra, "VIRTUAL GENERATED") ||
								  strstr(extra, "STORED GENERATED"));
	column->invisible = extra && strstr(extra, "INVISIBLE");
	column->comment = (comment && comment[0]) ? comment : NULL;
	tap_mysql_set_default(column, tap_mysql_value(rows, row, 10), extra,
						  table->is_mariadb);
	tap_mysql_resolve_column(session, column, table->is_mariadb);
}

static void
read_columns(TapSession *session, MYSQL *mysql, List *tables, List *names)
{
	StringInfoData sql;
	TapMysqlRows *rows;
	TapMysqlTable *table = NULL;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, "
						   "LOWER(DATA_TYPE), COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, "
						   "IS_NULLABLE, EXTRA, COLUMN_COMMENT, COLUMN_DEFAULT FROM information_schema.COLUMNS "
						   "WHERE TRUE");
	append_names(&sql, "TABLE_SCHEMA", "TABLE_NAME", names);
	appendStringInfoString(&sql, " ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION");
	rows = tap_mysql_query(mysql, sql.data);
	for (int i = 0; i < rows->nrows; i++)
	{
		if (table == NULL ||
			strcmp(table->name.name, tap_mysql_value(rows, i, 1)) != 0 ||
			strcmp(table->name.schema, tap_mysql_value(rows, i, 0)) != 0)
			table = find_table(tables, rows, i);
		if (table != NULL)
			read_column(session, table, rows, i);
	}
}

/* MariaDB's json is a longtext with a check; see the notes of the mapping. */
static void
mark_json(TapSession *session, MYSQL *mysql, List *tables, List *names)
{
	StringInfoData sql;
	TapMysqlRows *rows;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE "
						   "FROM information_schema.CHECK_CONSTRAINTS "
						   "WHERE LOWER(CHECK_CLAUSE) LIKE 'json_valid(%'");
	append_names(&sql, "CONSTRAINT_SCHEMA", "TABLE_NAME", names);
	rows = tap_mysql_try_query(mysql, sql.data);
	for (int i = 0; rows != NULL && i < rows->nrows; i++)
	{
		TapMysqlTable *table = find_table(tables, rows, i);
		char	   *clause = tap_mysql_value(rows, i, 3);

		for (int j = 0; table != NULL && j < table->ncolumns; j++)
		{
			TapMysqlColumn *column = &table->columns[j];
			char	   *expected = psprintf("json_valid(%s)",
											tap_mysql_quote_identifier(column->name));

			if (strcmp(column->type, "longtext") != 0 ||
				pg_strcasecmp(expected, clause) != 0)
				continue;
			column->type = "json";
			tap_mysql_resolve_column(session, column, true);
		}
	}
}

/* ---------------------------------------------------------------------
 * Keys and indexes
 * ---------------------------------------------------------------------
 */

static AttrNumber
column_number(const TapMysqlTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return (AttrNumber) (i + 1);
	return InvalidAttrNumber;
}

/*
 * One index, which is rows first .. end - 1.  Returns false when it is not of
 * plain columns, or its kind has no equal in the hub.
 */
static bool
read_index(TapMysqlTable *table, TapMysqlRows *rows, int first, int end,
		   TapSourceIndex *index)
{
	const char *kind = tap_mysql_value(rows, first, 6);

	index->name = tap_mysql_value(rows, first, 2);
	index->unique = strcmp(tap_mysql_value(rows, first, 3), "0") == 0;
	index->ncolumns = end - first;
	index->columns = palloc(sizeof(AttrNumber) * index->ncolumns);
	if (strcmp(kind, "BTREE") != 0 && strcmp(kind, "HASH") != 0)
		return false;
	for (int i = first; i < end; i++)
	{
		char	   *name = tap_mysql_value(rows, i, 4);

		if (name == NULL || tap_mysql_value(rows, i, 5) != NULL)
			return false;		/* an expression, or a prefix */
		index->columns[i - first] = column_number(table, name);
		if (index->columns[i - first] == InvalidAttrNumber)
			return false;
	}
	return true;
}

/* Whether an index can stand in for the primary key that a table lacks. */
static bool
can_be_key(const TapMysqlTable *table, const TapSourceIndex *index)
{
	if (!index->unique)
		return false;
	for (int i = 0; i < index->ncolumns; i++)
		if (table->columns[index->columns[i] - 1].nullable)
			return false;
	return true;
}

/* Columns of a primary key, also where it covers only their beginnings. */
static void
read_primary_key(TapMysqlTable *table, TapMysqlRows *rows, int first, int end)
{
	table->nkeys = end - first;
	table->keys = palloc(sizeof(AttrNumber) * table->nkeys);
	table->key_index = "PRIMARY";
	for (int i = first; i < end; i++)
		table->keys[i - first] = column_number(table, tap_mysql_value(rows, i, 4));
}

/* All indexes of one table, which are rows first .. end - 1. */
static void
read_table_indexes(TapMysqlTable *table, TapMysqlRows *rows, int first, int end)
{
	TapSourceIndex *best = NULL;
	int			next;

	table->indexes = palloc0(sizeof(TapSourceIndex) * (end - first));
	for (int i = first; i < end; i = next)
	{
		TapSourceIndex *index = &table->indexes[table->nindexes];

		for (next = i + 1; next < end; next++)
			if (strcmp(tap_mysql_value(rows, next, 2), tap_mysql_value(rows, i, 2)) != 0)
				break;
		if (strcmp(tap_mysql_value(rows, i, 2), "PRIMARY") == 0)
			read_primary_key(table, rows, i, next);
		else if (read_index(table, rows, i, next, index))
		{
			table->nindexes++;
			if (can_be_key(table, index) &&
				(best == NULL || index->ncolumns < best->ncolumns))
				best = index;
		}
	}
	if (table->nkeys == 0 && best != NULL)
	{
		table->nkeys = best->ncolumns;
		table->keys = best->columns;
		table->key_index = best->name;
	}
}

static void
read_indexes(MYSQL *mysql, List *tables, List *names)
{
	StringInfoData sql;
	TapMysqlRows *rows;
	int			next;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, "
						   "COLUMN_NAME, SUB_PART, INDEX_TYPE FROM information_schema.STATISTICS "
						   "WHERE TRUE");
	append_names(&sql, "TABLE_SCHEMA", "TABLE_NAME", names);
	appendStringInfoString(&sql, " ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX");
	rows = tap_mysql_query(mysql, sql.data);
	for (int i = 0; i < rows->nrows; i = next)
	{
		TapMysqlTable *table = find_table(tables, rows, i);

		for (next = i + 1; next < rows->nrows; next++)
			if (strcmp(tap_mysql_value(rows, next, 1), tap_mysql_value(rows, i, 1)) != 0 ||
				strcmp(tap_mysql_value(rows, next, 0), tap_mysql_value(rows, i, 0)) != 0)
				break;
		if (table != NULL)
			read_table_indexes(table, rows, i, next);
	}
}

List *
tap_mysql_read_tables(TapSession *session, List *names)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	List	   *result = NIL;

	for (int first = 0; first < list_length(names); first += TABLES_A_QUERY)
	{
		List	   *part = NIL;
		List	   *tables;

		for (int i = first; i < Min(first + TABLES_A_QUERY, list_length(names)); i++)
			part = lappend(part, list_nth(names, i));
		tables = read_tables(session, mysql, part);
		if (tables == NIL)
			continue;
		read_columns(session, mysql, tables, part);
		if (session->server.is_mariadb)
			mark_json(session, mysql, tables, part);
		read_indexes(mysql, tables, part);
		result = list_concat(result, tables);
	}
	return result;
}

TapMysqlTable *
tap_mysql_read_table(TapSession *session, const TapTableName *name)
{
	List	   *tables = tap_mysql_read_tables(session,
											   list_make1(unconstify(TapTableName *, name)));

	return tables == NIL ? NULL : linitial(tables);
}

List *
tap_mysql_describe_tables(TapSession *session, List *names)
{
	List	   *tables = tap_mysql_read_tables(session, names);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapMysqlTable *table = lfirst(cell);

		/* dropped between two of our questions */
		if (table->ncolumns == 0)
			continue;
		result = lappend(result, tap_mysql_source_table(session, table));
	}
	return result;
}
