/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_snapshot.c
 *	  Copies chunks, and whole tables under one consistent view.
 *
 * NOTES
 *	  A chunk is one SELECT outside of a transaction, which locks nothing.
 *	  Values come in the character sets of their columns
 *	  (character_set_results is NULL), so that they are the bytes that the
 *	  log has, too.
 *
 *	  The exact copy of a table without key needs the position of its view.
 *	  MariaDB tells it.  With MySQL the view lies between two positions of the
 *	  log, one known to be covered and the end of the log after the view was
 *	  made; when no transaction between them touches the table, the former is
 *	  exact for this table.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "row_copy.h"

/*
 * How long a transaction that is in MySQL's log may take to be visible, where
 * there are no GTIDs to know it by.
 */
#define COMMIT_SECONDS	"0.5"

typedef struct CopyState
{
	TapSession *session;
	MYSQL	   *mysql;
	MYSQL_RES  *result;
	TapMysqlTable *table;
	TapRowReceiver *receiver;
	MYSQL_ROW	row;
	unsigned long *lengths;
	bool		converting;		/* an error now is one of the row's data */
} CopyState;

static char *
copy_query(const TapMysqlTable *table, const TapChunk *chunk)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(&sql, ", ");
		tap_mysql_append_select(&sql, &table->columns[i]);
	}
	appendStringInfo(&sql, " FROM %s", tap_mysql_quote_table(&table->name));
	if (chunk != NULL)
		tap_mysql_append_chunk(&sql, table, chunk);
	return sql.data;
}

static void
convert_row(CopyState *state, TupleTableSlot *slot)
{
	for (int i = 0; i < state->table->ncolumns; i++)
	{
		if (state->row[i] == NULL)
		{
			slot->tts_values[i] = (Datum) 0;
			slot->tts_isnull[i] = true;
		}
		else
			slot->tts_values[i] = tap_mysql_text_value(state->session,
													   &state->table->columns[i],
													   state->row[i],
													   state->lengths[i],
													   &slot->tts_isnull[i]);
	}
}

static void
copy_rows(void *arg)
{
	CopyState  *state = arg;

	while ((state->row = tap_mysql_fetch(state->mysql, state->result)) != NULL)
	{
		TupleTableSlot *slot = state->receiver->next_slot(state->receiver);

		state->lengths = mysql_fetch_lengths(state->result);
		state->converting = true;
		convert_row(state, slot);
		state->converting = false;
		ExecStoreVirtualTuple(slot);
		state->receiver->put_slot(state->receiver, slot);
		CHECK_FOR_INTERRUPTS();
	}
}

/* What was read, for a dead letter: text where it is text, else hex. */
static char *
row_as_json(const CopyState *state)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < state->table->ncolumns; i++)
	{
		const char *data = state->row[i];

		appendStringInfoString(&out, i ? ", " : "");
		escape_json(&out, state->table->columns[i].name);
		appendStringInfoString(&out, ": ");
		if (data == NULL)
			appendStringInfoString(&out, "null");
		else if (strlen(data) == state->lengths[i] &&
				 pg_verify_mbstr(GetDatabaseEncoding(), data,
								 (int) state->lengths[i], true))
			escape_json(&out, data);
		else
		{
			appendStringInfoString(&out, "\"\\\\x");
			for (unsigned long j = 0; j < state->lengths[i]; j++)
				appendStringInfo(&out, "%02x", (unsigned char) data[j]);
			appendStringInfoChar(&out, '"');
		}
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

static bool
is_converting(const void *arg)
{
	const CopyState *state = arg;

	return state->converting;
}

static char *
reject_row(void *arg)
{
	CopyState  *state = arg;

	state->converting = false;
	return row_as_json(state);
}

/* Names the table where an error of a value does not. */
static void
copy_error_context(void *arg)
{
	const TapMysqlTable *table = ((CopyState *) arg)->table;
	const CopyState *state = arg;
	StringInfoData key;

	if (!state->converting)
		return;
	initStringInfo(&key);
	for (int i = 0; i < table->nkeys; i++)
	{
		const char *data = state->row[table->keys[i] - 1];

		appendStringInfo(&key, "%s%s = %s", i ? ", " : "",
						 table->columns[table->keys[i] - 1].name,
						 data && pg_verify_mbstr(GetDatabaseEncoding(), data,
												 (int) strlen(data), true) ? data : "?");
	}
	errcontext("source table \"%s\", key: %s", tap_mysql_table_text(&table->name),
			   key.len ? key.data : "none");
}

static void
copy_table(TapSession *session, TapSourceTable *source, const TapChunk *chunk,
		   TapRowReceiver *receiver)
{
	static const TapRowCopyCallbacks callbacks = {copy_rows, is_converting, reject_row};
	CopyState	state = {0};
	ErrorContextCallback callback;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tapdata mysql copy",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	state.session = session;
	state.mysql = tap_mysql_connection(session);
	state.table = tap_mysql_table_of(session, source);
	state.receiver = receiver;

	/* the core copies many chunks of one table */
	tap_mysql_prepare_columns(session, state.table, GetMemoryChunkContext(state.table));
	tap_mysql_execute(state.mysql, "SET character_set_results = NULL");
	state.result = tap_mysql_query_stream(state.mysql,
										  copy_query(state.table, chunk));
	callback.callback = copy_error_context;
	callback.arg = &state;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	PG_TRY();
	{
		tap_row_copy(&callbacks, &state, receiver);
	}
	PG_CATCH();
	{
		tap_mysql_abandon(state.mysql, state.result);
		PG_RE_THROW();
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	mysql_free_result(state.result);
	tap_mysql_execute(state.mysql, "SET character_set_results = utf8mb4");
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
tap_mysql_snapshot_copy(TapSession *session, TapSourceTable *table,
						const TapChunk *chunk, TapRowReceiver *receiver)
{
	copy_table(session, table, chunk, receiver);
}

/* The end of the log now, waiting for what it covers to be visible. */
static char *
covered_position(TapSession *session, MYSQL *mysql)
{
	char	   *position = tap_mysql_current_position(session);

	if (!session->server.gtid)
		tap_mysql_execute(mysql, "DO SLEEP(" COMMIT_SECONDS ")");
	return position;
}

char *
tap_mysql_snapshot_copy_exact(TapSession *session, TapSourceTable *table,
							  TapRowReceiver *receiver)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	char	   *before;
	char	   *after;

	if (session->server.is_mariadb)
	{
		before = tap_mysql_begin_snapshot_mariadb(session);
		copy_table(session, table, NULL, receiver);
		tap_mysql_execute(mysql, "COMMIT");
		return before;
	}
	tap_mysql_execute(mysql, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
	before = covered_position(session, mysql);
	tap_mysql_execute(mysql, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
	after = tap_mysql_current_position(session);
	copy_table(session, table, NULL, receiver);
	tap_mysql_execute(mysql, "COMMIT");
	if (strcmp(before, after) != 0 &&
		tap_mysql_log_touches(session, before, after, &table->name))
		return NULL;
	return before;
}
