/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_plan.c
 *	  Divides a table into chunks by its key.
 *
 * NOTES
 *	  A bound is the list of the key's values as SQL literals, separated by
 *	  tabs, that compare in the source's own collation: a text is written as
 *	  its bytes with character set and collation.  A chunk is low < key <=
 *	  high.
 *
 *	  A single integer key is divided by arithmetic, where it is dense at
 *	  once, else by asking the optimizer how many rows a range has.  Other
 *	  keys are walked along, a row per chunk.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"

/* A key is dense when it has at most so many values for each row. */
#define DENSE_FACTOR	3

/* A range may have so many times the rows that were asked for. */
#define SIZE_TOLERANCE	2

typedef struct PlanState
{
	TapSession *session;
	MYSQL	   *mysql;
	TapMysqlTable *table;
	const TapMysqlColumn *column;	/* the integer key, else NULL */
	int64		chunk_rows;
	void		(*emit) (void *core_data, const TapChunk *chunk);
	void	   *core_data;
	char	   *low;			/* where the next chunk begins */
	double		pending_rows;	/* of ranges that were not emitted yet */
} PlanState;

/* ---------------------------------------------------------------------
 * Conditions
 * ---------------------------------------------------------------------
 */

/*
 * key > bound or key <= bound, in a form whose index range both servers find:
 * (a > x OR (a = x AND b > y)).
 */
static void
append_comparison(StringInfo sql, const TapMysqlTable *table,
				  const char *bound, bool above)
{
	char	   *literals = pstrdup(bound);
	char	   *values[64];
	int			n = 0;

	for (char *p = literals; p != NULL && n < lengthof(values);)
	{
		char	   *tab = strchr(p, '\t');

		if (tab != NULL)
			*tab = '\0';
		values[n++] = p;
		p = tab ? tab + 1 : NULL;
	}
	if (n != table->nkeys)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the key of table \"%s\" has changed while it was being copied",
						tap_mysql_table_text(&table->name)),
				 errhint("Copy the table again with tapdata.resync().")));
	for (int i = 0; i < n; i++)
	{
		const char *name =
		tap_mysql_quote_identifier(table->columns[table->keys[i] - 1].name);
		bool		last = (i == n - 1);

		appendStringInfo(sql, "(%s %s %s", name,
						 above ? ">" : (last ? "<=" : "<"), values[i]);
		if (!last)
			appendStringInfo(sql, " OR (%s = %s AND ", name, values[i]);
	}
	for (int i = 0; i < n; i++)
		appendStringInfoString(sql, i == 0 ? ")" : "))");
}

void
tap_mysql_append_chunk(StringInfo sql, const TapMysqlTable *table,
					   const TapChunk *chunk)
{
	if (table->key_index != NULL && (chunk->low || chunk->high))
		appendStringInfo(sql, " FORCE INDEX (%s)",
						 tap_mysql_quote_identifier(table->key_index));
	if (chunk->low != NULL)
	{
		appendStringInfoString(sql, " WHERE ");
		append_comparison(sql, table, chunk->low, true);
	}
	if (chunk->high != NULL)
	{
		appendStringInfoString(sql, chunk->low ? " AND " : " WHERE ");
		append_comparison(sql, table, chunk->high, false);
	}
}

/* ---------------------------------------------------------------------
 * Literals
 * ---------------------------------------------------------------------
 */

/* The expression whose text make_literal() turns into a literal. */
static void
append_literal_source(StringInfo sql, const TapMysqlColumn *column)
{
	const char *name = tap_mysql_quote_identifier(column->name);

	switch (column->kind)
	{
		case TAP_MYSQL_KIND_STRING:
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
			appendStringInfo(sql, "HEX(%s)", name);
			break;
		case TAP_MYSQL_KIND_BIT:
		case TAP_MYSQL_KIND_ENUM:
		case TAP_MYSQL_KIND_SET:
		case TAP_MYSQL_KIND_YEAR:
			appendStringInfo(sql, "CAST(%s AS UNSIGNED)", name);
			break;
		case TAP_MYSQL_KIND_FLOAT:
		case TAP_MYSQL_KIND_DOUBLE:
			appendStringInfo(sql, "%s * 1e0", name);
			break;
		default:
			appendStringInfoString(sql, name);
			break;
	}
}

static char *
make_literal(const TapMysqlColumn *column, const char *text)
{
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_STRING:
			return psprintf("_%s X'%s' COLLATE %s", column->charset, text,
							column->collation);
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
			return psprintf("X'%s'", text);
		case TAP_MYSQL_KIND_DATE:
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
		case TAP_MYSQL_KIND_TIME:
		case TAP_MYSQL_KIND_UUID:
		case TAP_MYSQL_KIND_INET4:
		case TAP_MYSQL_KIND_INET6:
			return psprintf("'%s'", text);
		default:
			return pstrdup(text);
	}
}

/* ---------------------------------------------------------------------
 * Walking along a key
 * ---------------------------------------------------------------------
 */

static void
emit_chunk(PlanState *state, char *high, double rows)
{
	TapChunk	chunk = {state->low, high, rows};

	state->emit(state->core_data, &chunk);
	state->low = high;
	state->pending_rows = 0;
}

/* The bound that lies chunk_rows rows above state->low, or NULL. */
static char *
next_bound(PlanState *state)
{
	TapMysqlTable *table = state->table;
	TapChunk	rest = {state->low, NULL, 0};
	StringInfoData sql;
	StringInfoData order;
	StringInfoData bound;
	TapMysqlRows *rows;

	initStringInfo(&sql);
	initStringInfo(&order);
	initStringInfo(&bound);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < table->nkeys; i++)
	{
		const TapMysqlColumn *column = &table->columns[table->keys[i] - 1];

		if (i > 0)
			appendStringInfoString(&sql, ", ");
		append_literal_source(&sql, column);
		appendStringInfo(&order, "%s%s", i ? ", " : "",
						 tap_mysql_quote_identifier(column->name));
	}
	appendStringInfo(&sql, " FROM %s", tap_mysql_quote_table(&table->name));
	tap_mysql_append_chunk(&sql, table, &rest);
	appendStringInfo(&sql, " ORDER BY %s LIMIT 1 OFFSET " INT64_FORMAT,
					 order.data, state->chunk_rows - 1);
	rows = tap_mysql_query(state->mysql, sql.data);
	if (rows->nrows == 0)
		return NULL;
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&bound, "%s%s", i ? "\t" : "",
						 make_literal(&table->columns[table->keys[i] - 1],
									  tap_mysql_value(rows, 0, i)));
	return bound.data;
}

static void
plan_walk(PlanState *state)
{
	char	   *bound;

	while ((bound = next_bound(state)) != NULL)
	{
		emit_chunk(state, bound, (double) state->chunk_rows);
		CHECK_FOR_INTERRUPTS();
	}
	emit_chunk(state, NULL, (double) state->chunk_rows);
}

/* ---------------------------------------------------------------------
 * Dividing an integer key
 * ---------------------------------------------------------------------
 */

static char *
integer_literal(const PlanState *state, uint64 value)
{
	if (state->column->is_unsigned)
		return psprintf(UINT64_FORMAT, value);
	return psprintf(INT64_FORMAT, (int64) value);
}

/* How many rows the optimizer expects in low < key <= high. */
static double
estimate_rows(PlanState *state, uint64 low, uint64 high)
{
	StringInfoData sql;
	TapChunk	chunk = {integer_literal(state, low), integer_literal(state, high), 0};
	TapMysqlRows *rows;
	int			column = state->session->server.is_mariadb ? 8 : 9;

	initStringInfo(&sql);
	appendStringInfo(&sql, "EXPLAIN SELECT * FROM %s",
					 tap_mysql_quote_table(&state->table->name));
	tap_mysql_append_chunk(&sql, state->table, &chunk);
	rows = tap_mysql_query(state->mysql, sql.data);
	if (rows->nrows == 0 || rows->ncolumns <= column ||
		tap_mysql_value(rows, 0, column) == NULL)
		return 0;
	return strtod(tap_mysql_value(rows, 0, column), NULL);
}

/*
 * Emit what lies up to high, or keep it for the next chunk while it is small.
 */
static void
add_range(PlanState *state, uint64 high, double rows)
{
	state->pending_rows += rows;
	if (state->pending_rows >= state->chunk_rows / 2.0)
		emit_chunk(state, integer_literal(state, high), state->pending_rows);
}

/* Halve a range until its parts are small enough. */
static void
divide_range(PlanState *state, uint64 low, uint64 high)
{
	double		rows = estimate_rows(state, low, high);

	CHECK_FOR_INTERRUPTS();
	if (rows <= (double) state->chunk_rows * SIZE_TOLERANCE ||
		high - low <= (uint64) state->chunk_rows)
	{
		add_range(state, high, Min(rows, (double) (high - low)));
		return;
	}
	divide_range(state, low, low + (high - low) / 2);
	divide_range(state, low + (high - low) / 2, high);
}

static void
plan_integer(PlanState *state)
{
	const char *name = tap_mysql_quote_identifier(state->column->name);
	TapMysqlRows *rows;
	uint64		low;
	uint64		high;
	double		range;
	double		step;
	double		estimate = Max(state->table->estimated_rows, 1);

	rows = tap_mysql_query(state->mysql,
						   psprintf("SELECT MIN(%s), MAX(%s) FROM %s", name, name,
									tap_mysql_quote_table(&state->table->name)));
	if (tap_mysql_value(rows, 0, 0) != NULL)
	{
		bool		is_unsigned = state->column->is_unsigned;
		const char *min = tap_mysql_value(rows, 0, 0);
		const char *max = tap_mysql_value(rows, 0, 1);

		low = is_unsigned ? strtoull(min, NULL, 10) : (uint64) strtoll(min, NULL, 10);
		high = is_unsigned ? strtoull(max, NULL, 10) : (uint64) strtoll(max, NULL, 10);
		range = (double) (high - low) + 1;
		if (range <= estimate * DENSE_FACTOR)
		{
			step = range / Max(1, ceil(Min(estimate, range) / state->chunk_rows));
			for (double at = step; at < range - 1; at += step)
				emit_chunk(state, integer_literal(state, low + (uint64) at),
						   Min(estimate, range) * step / range);
		}
		else if (range > state->chunk_rows)
			divide_range(state, low, high);
	}
	emit_chunk(state, NULL, Min(estimate, (double) state->chunk_rows));
}

void
tap_mysql_snapshot_plan(TapSession *session, TapSourceTable *source,
						int64 chunk_rows,
						void (*emit) (void *core_data, const TapChunk *chunk),
						void *core_data)
{
	TapMysqlTable *table = tap_mysql_table_of(session, source);
	PlanState	state = {0};

	state.session = session;
	state.mysql = tap_mysql_connection(session);
	state.table = table;
	state.chunk_rows = Max(chunk_rows, 1);
	state.emit = emit;
	state.core_data = core_data;
	table->estimated_rows = source->estimated_rows;
	if (table->nkeys == 1)
	{
		const TapMysqlColumn *column = &table->columns[table->keys[0] - 1];

		if (column->kind == TAP_MYSQL_KIND_INT ||
			column->kind == TAP_MYSQL_KIND_UINT ||
			column->kind == TAP_MYSQL_KIND_UINT_NUMERIC ||
			column->kind == TAP_MYSQL_KIND_BOOLEAN)
			state.column = column;
	}
	if (table->nkeys == 0)
		emit_chunk(&state, NULL, table->estimated_rows);
	else if (state.column != NULL)
		plan_integer(&state);
	else
		plan_walk(&state);
}
