/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_copy.c
 *	  The first copy of a table, by COPY.
 *
 * NOTES
 *	  A copy is one transaction of the target, with the emptying of what was
 *	  there before: readers see the former rows, or all of the new ones.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "port/pg_bswap.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#define COPYING			"copy rows to the target"
#define SEND_BYTES		(256 * 1024)

static const char binary_header[] = "PGCOPY\n\377\r\n\0" "\0\0\0\0" "\0\0\0\0";
#define BINARY_HEADER_BYTES		19

/* ---------------------------------------------------------------------
 * Beginning
 * ---------------------------------------------------------------------
 */

static bool
has_rows(TapSession *session, const TapPgTable *table)
{
	return tap_pg_is_true(tap_pg_query(session, COPYING, "SELECT EXISTS (SELECT FROM %s)",
									   table->quoted), 0, 0);
}

static void
empty(TapSession *session, const TapPgTable *table)
{
	/* a table that others refer to cannot be truncated alone */
	if (table->referenced)
		(void) tap_pg_query(session, "empty the target table", "DELETE FROM %s", table->quoted);
	else
		(void) tap_pg_query(session, "empty the target table", "TRUNCATE %s", table->quoted);
}

/* What to do about rows that are there; true: they stay. */
static bool
treat_existing(TapSession *session, const TapPgTable *table, bool again)
{
	const char *existing = tap_pg_option(session, "existing", "error");

	if (table->created || !has_rows(session, table))
		return false;
	if (strcmp(existing, "keep") == 0)
		return true;
	if (!again && strcmp(existing, "error") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the target table \"%s.%s\" is not empty", table->schema, table->name),
				 errhint("Empty it, or say by the option \"existing\" what to do with its rows: truncate, or keep.")));
	empty(session, table);
	return false;
}

static char *
column_list(const TapPgTable *table)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < table->ncolumns; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? ", " : "", table->columns[i].quoted);
	return out.data;
}

static void
start_copy(TapSession *session, const TapPgTable *table)
{
	PGresult   *result;
	TapPgError *error = NULL;

	if (!PQsendQuery(session->conn,
					 psprintf("COPY %s (%s) FROM STDIN%s", session->sink->copy_into,
							  column_list(table),
							  table->binary_copy ? " (FORMAT binary)" : "")))
		tap_pg_raise(tap_pg_error(session->conn, NULL), COPYING, table->shown, NULL);
	result = tap_pg_next_result(session, COPYING);
	if (PQresultStatus(result) != PGRES_COPY_IN)
		error = tap_pg_error(session->conn, result);
	PQclear(result);
	if (error != NULL)
		tap_pg_raise(error, COPYING, table->shown, NULL);
}

void
tap_pg_copy_begin(TapSession *session, const TapSourceTable *source, void *table_data,
				  bool again)
{
	TapPgSink  *sink = session->sink;
	TapPgTable *table = table_data;

	(void) source;
	tap_pg_leave_pipeline(session);
	if (table->missing)
		tap_pg_create_table(session, table);
	(void) tap_pg_query(session, COPYING, "BEGIN");
	sink->copy_merges = treat_existing(session, table, again) && table->nkeys > 0;
	if (sink->copy_merges)
		(void) tap_pg_query(session, COPYING,
							"CREATE TEMPORARY TABLE tapdata_copy ON COMMIT DROP AS SELECT %s FROM %s WITH NO DATA",
							column_list(table), table->quoted);
	sink->copy_into = MemoryContextStrdup(sink->context,
										  sink->copy_merges ? "pg_temp.tapdata_copy" : table->quoted);
	start_copy(session, table);
	sink->copying = table;
	resetStringInfo(&sink->copy_data);
	if (table->binary_copy)
		appendBinaryStringInfo(&sink->copy_data, binary_header, BINARY_HEADER_BYTES);
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

static void
append_escaped(StringInfo out, const char *text)
{
	for (const char *c = text; *c != '\0'; c++)
	{
		switch (*c)
		{
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			default:
				appendStringInfoChar(out, *c);
				break;
		}
	}
}

static void
append_binary_row(StringInfo out, TapPgTable *table, TupleTableSlot *slot)
{
	uint16		count = pg_hton16(table->ncolumns);

	appendBinaryStringInfo(out, (char *) &count, sizeof(count));
	for (int i = 0; i < table->ncolumns; i++)
	{
		TapPgColumn *column = &table->columns[i];

		tap_pg_append_value(out, column, column->copy_codec,
							slot->tts_values[column->number],
							slot->tts_isnull[column->number]);
	}
}

static void
append_text_row(StringInfo out, TapPgTable *table, TupleTableSlot *slot)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		TapPgColumn *column = &table->columns[i];

		if (i > 0)
			appendStringInfoChar(out, '\t');
		if (slot->tts_isnull[column->number])
			appendStringInfoString(out, "\\N");
		else
			append_escaped(out, OutputFunctionCall(&column->output,
												   slot->tts_values[column->number]));
	}
	appendStringInfoChar(out, '\n');
}

bool
tap_pg_copy_row(TapSession *session, const TapOutChange *change)
{
	TapPgSink  *sink = session->sink;
	TupleTableSlot *slot = change->new_row.slot;
	MemoryContext old = MemoryContextSwitchTo(sink->value_context);
	int			start = sink->copy_data.len;

	slot_getallattrs(slot);
	PG_TRY();
	{
		if (sink->copying->binary_copy)
			append_binary_row(&sink->copy_data, sink->copying, slot);
		else
			append_text_row(&sink->copy_data, sink->copying, slot);
	}
	PG_CATCH();
	{
		/* no half of a row */
		sink->copy_data.len = start;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextReset(sink->value_context);
	return sink->copy_data.len >= SEND_BYTES;
}

/* ---------------------------------------------------------------------
 * Sending
 * ---------------------------------------------------------------------
 */

static int
copy_timeout(TapSession *session)
{
	return (int) tap_pg_core->option_int(session->args.pipeline_options, "copy_timeout");
}

/* The server ended the copy: its reason. */
static void
raise_copy_error(TapSession *session, const TapPgTable *table)
{
	TapPgError *error = NULL;
	PGresult   *result;

	while ((result = tap_pg_next_result(session, COPYING)) != NULL)
	{
		if (PQresultStatus(result) == PGRES_FATAL_ERROR && error == NULL)
			error = tap_pg_error(session->conn, result);
		PQclear(result);
		if (PQstatus(session->conn) == CONNECTION_BAD)
			break;
	}
	if (error == NULL)
		error = tap_pg_error(session->conn, NULL);
	tap_pg_raise(error, COPYING, table->shown, NULL);
}

/* The hub's snapshot must not be held for a target that is as good as dead. */
static void
give_up(TapSession *session)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("the target took nothing of the copy of table \"%s\" for %d s",
					session->sink->copying->shown, copy_timeout(session)),
			 errhint("The copy begins again. See what the target's session waits for; the option \"copy_timeout\" says how long to wait.")));
}

/*
 * Send what libpq holds.  The server says nothing during a copy, unless it
 * has given up on it.
 */
static void
flush_copy(TapSession *session, bool wait)
{
	PGconn	   *conn = session->conn;
	int			left;

	while ((left = PQflush(conn)) > 0 && wait)
	{
		int			events = tap_pg_core->wait_socket(PQsocket(conn),
													  WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE,
													  copy_timeout(session) * 1000L);

		if (events == 0)
			give_up(session);
		if (events & WL_SOCKET_READABLE)
		{
			if (!PQconsumeInput(conn) || PQputCopyEnd(conn, "the target reported an error") < 0)
				raise_copy_error(session, session->sink->copying);
			raise_copy_error(session, session->sink->copying);
		}
	}
	if (left < 0)
		raise_copy_error(session, session->sink->copying);
}

void
tap_pg_copy_send(TapSession *session, bool wait)
{
	TapPgSink  *sink = session->sink;

	if (sink->copy_data.len > 0)
	{
		int			sent;

		while ((sent = PQputCopyData(session->conn, sink->copy_data.data,
									 sink->copy_data.len)) == 0)
			flush_copy(session, true);
		if (sent < 0)
			raise_copy_error(session, sink->copying);
		resetStringInfo(&sink->copy_data);
	}
	flush_copy(session, wait);
}

static void
finish_copy(TapSession *session, const TapPgTable *table)
{
	int			sent;
	PGresult   *result;
	TapPgError *error = NULL;

	while ((sent = PQputCopyEnd(session->conn, NULL)) == 0)
		flush_copy(session, true);
	if (sent < 0)
		raise_copy_error(session, table);
	while ((result = tap_pg_next_result(session, COPYING)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK && error == NULL)
			error = tap_pg_error(session->conn, result);
		PQclear(result);
	}
	if (error != NULL)
		tap_pg_raise(error, COPYING, table->shown, NULL);
}

static void
merge_copy(TapSession *session, const TapPgTable *table)
{
	char	   *columns = column_list(table);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM pg_temp.tapdata_copy ON CONFLICT (",
					 table->quoted, columns, columns);
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "", table->columns[i].quoted);
	appendStringInfoString(&sql, table->nkeys < table->ncolumns ? ") DO UPDATE SET " : ") DO NOTHING");
	for (int i = table->nkeys; i < table->ncolumns; i++)
		appendStringInfo(&sql, "%s%s = EXCLUDED.%s", i > table->nkeys ? ", " : "",
						 table->columns[i].quoted, table->columns[i].quoted);
	(void) tap_pg_query(session, "merge the copied rows into the target", "%s", sql.data);
}

void
tap_pg_copy_end(TapSession *session, const TapSourceTable *source, void *table_data)
{
	TapPgSink  *sink = session->sink;
	TapPgTable *table = table_data;
	uint16		trailer = pg_hton16((uint16) -1);

	(void) source;
	if (table->binary_copy)
		appendBinaryStringInfo(&sink->copy_data, (char *) &trailer, sizeof(trailer));
	tap_pg_copy_send(session, true);
	finish_copy(session, table);
	if (sink->copy_merges)
		merge_copy(session, table);
	(void) tap_pg_query(session, "commit the copied rows at the target", "COMMIT");
	sink->copying = NULL;
	table->created = false;
}
