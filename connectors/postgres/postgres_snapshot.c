/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot.c
 *	  Divides tables into chunks by their key, and copies these.
 *
 * NOTES
 *	  A bound is the list of the key's values as SQL literals, of their types,
 *	  so that they compare in the source's own collation.  A chunk is
 *	  low < key <= high, seen by a snapshot of its own; the replay of the log
 *	  makes up for what was moved between two of them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_snapshot.h"

#include "miscadmin.h"
#include "utils/builtins.h"

static void
append_key(StringInfo out, const TapPgFormat *format)
{
	for (int i = 0; i < format->nkeys; i++)
		appendStringInfo(out, "%s%s", i ? ", " : "",
						 tap_pg_quote(format->columns[format->keys[i] - 1].name));
}

/* Which rows are in a chunk. */
static char *
chunk_condition(const TapPgFormat *format, const TapChunk *chunk)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "true");
	if (chunk->low != NULL)
	{
		appendStringInfoString(&sql, " AND (");
		append_key(&sql, format);
		appendStringInfo(&sql, ") > (%s)", chunk->low);
	}
	if (chunk->high != NULL)
	{
		appendStringInfoString(&sql, " AND (");
		append_key(&sql, format);
		appendStringInfo(&sql, ") <= (%s)", chunk->high);
	}
	return sql.data;
}

/* The bound that lies chunk_rows rows above low, or NULL. */
static char *
next_bound(TapSession *session, const TapPgFormat *format, char *low, int64 chunk_rows)
{
	TapChunk	rest = {low, NULL, 0};
	StringInfoData sql;
	TapPgRows  *rows;

	/*
	 * the literals are made of the one row only, not of all that are stepped
	 * over
	 */
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT concat_ws(', '");
	for (int i = 0; i < format->nkeys; i++)
	{
		const TapPgSourceColumn *column = &format->columns[format->keys[i] - 1];

		appendStringInfo(&sql, ", quote_literal(%s::text) || %s",
						 tap_pg_quote(column->name),
						 quote_literal_cstr(psprintf("::%s", column->shown)));
	}
	appendStringInfoString(&sql, ") FROM (SELECT ");
	append_key(&sql, format);
	tap_pg_copy_append_from(&sql, format);
	appendStringInfo(&sql, " WHERE %s AND %s ORDER BY ", format->filter ? format->filter : "true",
					 chunk_condition(format, &rest));
	append_key(&sql, format);
	appendStringInfo(&sql, " LIMIT 1 OFFSET " INT64_FORMAT ") k", chunk_rows - 1);
	rows = tap_pg_query(session, "divide the table", "%s", sql.data);
	return rows->nrows == 0 ? NULL : tap_pg_value(rows, 0, 0);
}

void
tap_pg_snapshot_plan(TapSession *session, TapSourceTable *table, int64 chunk_rows,
					 void (*emit) (void *core_data, const TapChunk *chunk),
					 void *core_data)
{
	const TapPgFormat *format = tap_pg_format_of(table);
	TapChunk	chunk = {NULL, NULL, (double) Max(chunk_rows, 1)};

	while (format->nkeys > 0 &&
		   (chunk.high = next_bound(session, format, chunk.low, Max(chunk_rows, 1))) != NULL)
	{
		emit(core_data, &chunk);
		chunk.low = chunk.high;
		CHECK_FOR_INTERRUPTS();
	}
	chunk.high = NULL;
	emit(core_data, &chunk);
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

typedef struct OneChunk
{
	const TapPgFormat *format;
	const TapChunk *chunk;		/* NULL: it was asked for */
} OneChunk;

static char *
next_condition(void *arg)
{
	OneChunk   *one = arg;
	const TapChunk *chunk = one->chunk;

	one->chunk = NULL;
	return chunk == NULL ? NULL : chunk_condition(one->format, chunk);
}

void
tap_pg_snapshot_copy(TapSession *session, TapSourceTable *table,
					 const TapChunk *chunk, TapRowReceiver *receiver)
{
	OneChunk	one = {tap_pg_format_of(table), chunk};

	(void) tap_pg_query(session, "lock the table", "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; %s",
						tap_pg_lock_query(one.format));
	tap_pg_merge_copies(session, 1, one.format, next_condition, &one, receiver);
	(void) tap_pg_query(session, "end a copy", "COMMIT");
}
