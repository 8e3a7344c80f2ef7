/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_sql.c
 *	  The statements that changes are made with.
 *
 * NOTES
 *	  A statement changes many rows: each of its parameters is an array with
 *	  one column's values.  unnest() stands in a select list, where the server
 *	  makes rows of the arrays one by one; in FROM it would store them first.
 *	  Rows are changed in the order of the arrays.
 *
 *	  A statement that must find all of its rows divides by zero otherwise: an
 *	  error is the one thing that keeps the commit behind it in the pipeline
 *	  from being made.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "catalog/pg_type.h"

static bool
is_present(const TapPgShape *shape, int column)
{
	return shape->present == NULL || shape->present[column];
}

/* The columns a statement has parameters for: first old ones, then new ones. */
static void
count_columns(const TapPgShape *shape, int *nold, int *nnew_from)
{
	const TapPgTable *table = shape->table;

	*nold = 0;
	*nnew_from = 0;
	switch (shape->action)
	{
		case TAP_PG_MOVE:
		case TAP_PG_DELETE:
			*nold = table->nkeys;
			break;
		case TAP_PG_UPDATE_WHOLE:
		case TAP_PG_DELETE_WHOLE:
			*nold = table->ncolumns;
			break;
		default:
			break;
	}
	if (shape->action == TAP_PG_DELETE || shape->action == TAP_PG_DELETE_WHOLE ||
		shape->action == TAP_PG_TRUNCATE)
		*nnew_from = table->ncolumns;
}

int
tap_pg_parameter_types(const TapPgShape *shape, Oid *types)
{
	int			nold;
	int			from;
	int			count = 0;

	count_columns(shape, &nold, &from);
	for (int i = 0; i < nold; i++)
		types[count++] = shape->table->columns[i].array;
	for (int i = from; i < shape->table->ncolumns; i++)
	{
		if (is_present(shape, i))
			types[count++] = shape->table->columns[i].array;
	}
	if (shape->action != TAP_PG_INSERT && !shape->upsert)
		types[count++] = INT8OID;
	return count;
}

static void
append_unnest(StringInfo sql, const TapPgColumn *column, int parameter)
{
	appendStringInfo(sql, "pg_catalog.unnest($%d)", parameter);
	if (column->cast != NULL)
		appendStringInfo(sql, "::%s", column->cast);
}

/* (SELECT unnest($1) AS o1, ..., unnest($3) AS n2, ...) AS u; returns the count. */
static int
append_rows(StringInfo sql, const TapPgShape *shape)
{
	int			nold;
	int			from;
	int			parameter = 0;
	const char *separator = "";

	count_columns(shape, &nold, &from);
	appendStringInfoString(sql, "(SELECT ");
	for (int i = 0; i < nold; i++)
	{
		appendStringInfoString(sql, separator);
		append_unnest(sql, &shape->table->columns[i], ++parameter);
		appendStringInfo(sql, " AS o%d", i);
		separator = ", ";
	}
	for (int i = from; i < shape->table->ncolumns; i++)
	{
		if (!is_present(shape, i))
			continue;
		appendStringInfoString(sql, separator);
		append_unnest(sql, &shape->table->columns[i], ++parameter);
		appendStringInfo(sql, " AS n%d", i);
		separator = ", ";
	}
	appendStringInfoString(sql, ") AS u");
	return parameter;
}

static void
append_key_match(StringInfo sql, const TapPgShape *shape, char prefix)
{
	for (int i = 0; i < shape->table->nkeys; i++)
		appendStringInfo(sql, "%st.%s %s u.%c%d", i > 0 ? " AND " : " WHERE ",
						 shape->table->columns[i].quoted, shape->table->columns[i].equals,
						 prefix, i);
}

static void
append_set(StringInfo sql, const TapPgShape *shape, int from)
{
	const char *separator = "";

	for (int i = from; i < shape->table->ncolumns; i++)
	{
		if (!is_present(shape, i))
			continue;
		appendStringInfo(sql, "%s%s = u.n%d", separator, shape->table->columns[i].quoted, i);
		separator = ", ";
	}
}

/* ---------------------------------------------------------------------
 * The statements
 * ---------------------------------------------------------------------
 */

static void
append_conflict(StringInfo sql, const TapPgTable *table)
{
	appendStringInfoString(sql, " ON CONFLICT (");
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(sql, "%s%s", i > 0 ? ", " : "", table->columns[i].quoted);
	appendStringInfoString(sql, table->nkeys < table->ncolumns ? ") DO UPDATE SET " : ") DO NOTHING");
	for (int i = table->nkeys; i < table->ncolumns; i++)
		appendStringInfo(sql, "%s%s = EXCLUDED.%s", i > table->nkeys ? ", " : "",
						 table->columns[i].quoted, table->columns[i].quoted);
}

static void
append_insert(StringInfo sql, const TapPgShape *shape)
{
	const TapPgTable *table = shape->table;

	appendStringInfo(sql, "INSERT INTO %s (", table->quoted);
	for (int i = 0; i < table->ncolumns; i++)
		appendStringInfo(sql, "%s%s", i > 0 ? ", " : "", table->columns[i].quoted);
	appendStringInfoString(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, ", ");
		append_unnest(sql, &table->columns[i], i + 1);
	}
	if (shape->upsert)
		append_conflict(sql, table);
}

/*
 * The one row that is the same in every byte, or one of several.  The casts
 * keep the parser from comparing column by column, as not all types can.
 */
static void
append_whole_match(StringInfo sql, const TapPgShape *shape)
{
	const TapPgTable *table = shape->table;

	appendStringInfoString(sql, "(SELECT u.*, s.tableoid AS o, s.ctid AS c FROM ");
	(void) append_rows(sql, shape);
	appendStringInfo(sql, ", %s AS s WHERE ROW(", table->quoted);
	for (int i = 0; i < table->ncolumns; i++)
		appendStringInfo(sql, "%ss.%s", i > 0 ? ", " : "", table->columns[i].quoted);
	appendStringInfoString(sql, ")::record OPERATOR(pg_catalog.*=) ROW(");
	for (int i = 0; i < table->ncolumns; i++)
		appendStringInfo(sql, "%su.o%d::%s", i > 0 ? ", " : "", i, table->columns[i].exact);
	appendStringInfoString(sql, ")::record LIMIT 1) AS u WHERE t.ctid = u.c AND t.tableoid = u.o");
}

static void
append_change(StringInfo sql, const TapPgShape *shape)
{
	const TapPgTable *table = shape->table;

	switch (shape->action)
	{
		case TAP_PG_UPDATE:
			appendStringInfo(sql, "UPDATE %s AS t SET ", table->quoted);
			append_set(sql, shape, table->nkeys);
			appendStringInfoString(sql, " FROM ");
			(void) append_rows(sql, shape);
			append_key_match(sql, shape, 'n');
			break;
		case TAP_PG_MOVE:
			appendStringInfo(sql, "UPDATE %s AS t SET ", table->quoted);
			append_set(sql, shape, 0);
			appendStringInfoString(sql, " FROM ");
			(void) append_rows(sql, shape);
			append_key_match(sql, shape, 'o');
			break;
		case TAP_PG_DELETE:
			appendStringInfo(sql, "DELETE FROM %s AS t USING ", table->quoted);
			(void) append_rows(sql, shape);
			append_key_match(sql, shape, 'o');
			break;
		case TAP_PG_UPDATE_WHOLE:
			appendStringInfo(sql, "UPDATE %s AS t SET ", table->quoted);
			append_set(sql, shape, 0);
			appendStringInfoString(sql, " FROM ");
			append_whole_match(sql, shape);
			break;
		default:
			appendStringInfo(sql, "DELETE FROM %s AS t USING ", table->quoted);
			append_whole_match(sql, shape);
			break;
	}
}

char *
tap_pg_statement(const TapPgShape *shape)
{
	StringInfoData sql;
	Oid			types[2 * MaxHeapAttributeNumber + 1];

	initStringInfo(&sql);
	if (shape->action == TAP_PG_INSERT || shape->upsert)
	{
		append_insert(&sql, shape);
		return sql.data;
	}
	appendStringInfoString(&sql, "WITH changed AS (");
	append_change(&sql, shape);
	appendStringInfo(&sql, " RETURNING 1) SELECT 1 / (CASE WHEN $%d < 0 OR pg_catalog.count(*) = $%d THEN 1 ELSE 0 END) FROM changed",
					 tap_pg_parameter_types(shape, types), tap_pg_parameter_types(shape, types));
	return sql.data;
}

TapPgShape *
tap_pg_shape(TapSession *session, TapPgTable *table, TapPgAction action,
			 const bool *present, bool upsert)
{
	Size		size = sizeof(bool) * table->ncolumns;
	TapPgShape *shape;
	MemoryContext old;

	for (shape = table->shapes; shape != NULL; shape = shape->next)
	{
		if (shape->action == action && shape->upsert == upsert &&
			(shape->present == NULL) == (present == NULL) &&
			(present == NULL || memcmp(shape->present, present, size) == 0))
			return shape;
	}
	old = MemoryContextSwitchTo(session->args.context);
	shape = palloc0(sizeof(TapPgShape));
	shape->table = table;
	shape->action = action;
	shape->upsert = upsert;
	if (present != NULL)
	{
		shape->present = palloc(size);
		memcpy(shape->present, present, size);
	}
	snprintf(shape->statement, sizeof(shape->statement), "tap_" UINT64_FORMAT,
			 ++session->sink->nstatements);
	shape->next = table->shapes;
	table->shapes = shape;
	MemoryContextSwitchTo(old);
	return shape;
}
