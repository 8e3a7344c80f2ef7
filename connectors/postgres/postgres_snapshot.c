/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot.c
 *	  Divides tables into chunks, and copies them by binary COPY.
 *
 * NOTES
 *	  A bound is the list of the key's values as SQL literals, of their types,
 *	  so that they compare in the source's own collation.  A chunk is
 *	  low < key <= high, seen by a snapshot of its own; the replay of the log
 *	  makes up for what was moved between two of them.
 *
 *	  A table without key is copied whole, as of the point where a temporary
 *	  slot begins: the server makes that very snapshot the transaction's.
 *
 *	  The server sends each row of a COPY as one message.  In front of the
 *	  first is the header, and a message with -1 fields is the end.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* The signature of a binary COPY, then flags and the length of an extension. */
#define COPY_SIGNATURE			"PGCOPY\n\377\r\n\0"
#define COPY_SIGNATURE_BYTES	11
#define COPY_HEADER_BYTES		(COPY_SIGNATURE_BYTES + 8)

/* ---------------------------------------------------------------------
 * Chunks
 * ---------------------------------------------------------------------
 */

static void
append_key(StringInfo out, const TapPgFormat *format)
{
	for (int i = 0; i < format->nkeys; i++)
		appendStringInfo(out, "%s%s", i ? ", " : "",
						 tap_pg_quote(format->columns[format->keys[i] - 1].name));
}

static void
append_chunk(StringInfo sql, const TapPgFormat *format, const TapChunk *chunk)
{
	appendStringInfo(sql, " FROM %s%s", format->kind == 'p' ? "" : "ONLY ",
					 tap_pg_quote_table(&format->name));
	appendStringInfo(sql, " WHERE %s", format->filter ? format->filter : "true");
	if (chunk != NULL && chunk->low != NULL)
	{
		appendStringInfoString(sql, " AND (");
		append_key(sql, format);
		appendStringInfo(sql, ") > (%s)", chunk->low);
	}
	if (chunk != NULL && chunk->high != NULL)
	{
		appendStringInfoString(sql, " AND (");
		append_key(sql, format);
		appendStringInfo(sql, ") <= (%s)", chunk->high);
	}
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
	append_chunk(&sql, format, &rest);
	appendStringInfoString(&sql, " ORDER BY ");
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

struct TapPgCopyReader
{
	TapSession *session;
	const TapPgFormat *format;
	TapPgReader *readers;
	TapRowReceiver *receiver;
	char	   *buffer;			/* libpq's */
	char	   *row;			/* in it: the fields */
	char	   *end;
	char	  **fields;			/* their values */
	int		   *lengths;		/* -1: NULL */
	bool		header_seen;
	bool		converting;		/* an error now is one of the row's data */
};

typedef struct TapPgCopyReader CopyState;

static char *
copy_statement(const TapPgFormat *format, const TapChunk *chunk)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "COPY (SELECT ");
	for (int i = 0; i < format->ncolumns; i++)
		appendStringInfo(&sql, "%s%s%s", i ? ", " : "", tap_pg_quote(format->columns[i].name),
						 format->columns[i].as_text ? "::text" : "");
	append_chunk(&sql, format, chunk);
	appendStringInfoString(&sql, ") TO STDOUT (FORMAT binary)");
	return sql.data;
}

static void raise_bad_copy(void) __attribute__((noreturn));

static void
raise_bad_copy(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the source sent rows of a copy in an unknown form")));
}

/* The next message; false at the end of the copy. */
static bool
next_message(CopyState *state)
{
	PGconn	   *conn = state->session->conn;
	int			bytes;

	if (state->buffer != NULL)
		PQfreemem(state->buffer);
	state->buffer = NULL;
	while ((bytes = PQgetCopyData(conn, &state->buffer, true)) == 0)
		tap_pg_wait(state->session, "copy rows from the source");
	if (bytes < 0)
		return false;
	state->row = state->buffer;
	state->end = state->buffer + bytes;
	return true;
}

static void
skip_header(CopyState *state)
{
	uint32		extension;

	if (state->end - state->row < COPY_HEADER_BYTES ||
		memcmp(state->row, COPY_SIGNATURE, COPY_SIGNATURE_BYTES) != 0)
		raise_bad_copy();
	memcpy(&extension, state->row + COPY_SIGNATURE_BYTES + 4, 4);
	extension = pg_ntoh32(extension);
	if (extension > state->end - state->row - COPY_HEADER_BYTES)
		raise_bad_copy();
	state->row += COPY_HEADER_BYTES + extension;
	state->header_seen = true;
}

/* The next row's fields; false at the end. */
static bool
next_row(CopyState *state)
{
	uint16		fields;

	for (;;)
	{
		if (!next_message(state))
			return false;
		if (!state->header_seen)
			skip_header(state);
		if (state->row == state->end)
			continue;			/* the header alone */
		if (state->end - state->row < 2)
			raise_bad_copy();
		memcpy(&fields, state->row, 2);
		fields = pg_ntoh16(fields);
		state->row += 2;
		if (fields == PG_UINT16_MAX)
			continue;			/* what follows is the end of the copy */
		if (fields != state->format->ncolumns)
			raise_bad_copy();
		return true;
	}
}

/* Step over a field; its length, -1 for NULL. */
static int
next_field(CopyState *state, char **p)
{
	uint32		length;

	if (state->end - *p < 4)
		raise_bad_copy();
	memcpy(&length, *p, 4);
	length = pg_ntoh32(length);
	*p += 4;
	if (length == PG_UINT32_MAX)
		return -1;
	if (length > state->end - *p)
		raise_bad_copy();
	*p += length;
	return (int) length;
}

/* Where the fields of the row are, before values are read in place. */
static void
split_row(CopyState *state)
{
	char	   *p = state->row;

	for (int i = 0; i < state->format->ncolumns; i++)
	{
		state->lengths[i] = next_field(state, &p);
		state->fields[i] = p - Max(state->lengths[i], 0);
	}
}

static void
convert_row(CopyState *state, TupleTableSlot *slot)
{
	for (int i = 0; i < state->format->ncolumns; i++)
	{
		bool		isnull = state->lengths[i] < 0;

		slot->tts_isnull[i] = isnull;
		slot->tts_values[i] = isnull ? (Datum) 0 :
			tap_pg_read_value(&state->readers[i], !state->format->columns[i].as_text,
							  state->fields[i], state->lengths[i]);
	}
}

/* Leaves by an error at a row that is bad. */
static void
copy_rows(CopyState *state)
{
	while (next_row(state))
	{
		TupleTableSlot *slot = state->receiver->next_slot(state->receiver);

		split_row(state);
		state->converting = true;
		convert_row(state, slot);
		state->converting = false;
		ExecStoreVirtualTuple(slot);
		state->receiver->put_slot(state->receiver, slot);
	}
}

/* What was read, for a dead letter: text as text, what is binary in hexadecimal. */
static char *
row_as_json(CopyState *state)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < state->format->ncolumns; i++)
	{
		const TapPgSourceColumn *column = &state->format->columns[i];

		appendStringInfoString(&out, i ? ", " : "{");
		tap_pg_append_json(&out, column->name, strlen(column->name));
		appendStringInfoString(&out, ": ");
		if (state->lengths[i] < 0)
			appendStringInfoString(&out, "null");
		else
			tap_pg_append_json(&out, state->fields[i], state->lengths[i]);
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* Copy rows, handing those that cannot be converted to the receiver. */
static void
copy_all_rows(CopyState *state)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile edata;

	do
	{
		edata = NULL;
		PG_TRY();
		{
			copy_rows(state);
		}
		PG_CATCH();
		{
			if (!state->converting ||
				ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
				PG_RE_THROW();
			MemoryContextSwitchTo(context);
			edata = CopyErrorData();
			FlushErrorState();
		}
		PG_END_TRY();
		if (edata != NULL)
		{
			state->converting = false;
			state->receiver->reject_row(state->receiver, edata, row_as_json(state));
		}
	} while (edata != NULL);
}

/* Names the table where an error of a value does not. */
static void
copy_error_context(void *arg)
{
	const CopyState *state = arg;

	if (state->converting)
		errcontext("source table \"%s\"", tap_pg_table_text(&state->format->name));
}

static void
start_copy(CopyState *state, const TapChunk *chunk)
{
	PGresult   *result;

	if (!PQsendQuery(state->session->conn, copy_statement(state->format, chunk)))
		tap_pg_raise(tap_pg_error(state->session->conn, NULL), "copy rows from the source",
					 NULL, NULL);
	result = tap_pg_next_result(state->session, "copy rows from the source");
	if (PQresultStatus(result) != PGRES_COPY_OUT)
	{
		TapPgError *error = tap_pg_error(state->session->conn, result);

		PQclear(result);
		tap_pg_raise(error, "copy rows", tap_pg_table_text(&state->format->name), NULL);
	}
	PQclear(result);
}

/* What the server says behind the last row. */
static void
end_copy(CopyState *state)
{
	PGresult   *result;
	TapPgError *error = NULL;

	while ((result = tap_pg_next_result(state->session, "copy rows from the source")) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK && error == NULL)
			error = tap_pg_error(state->session->conn, result);
		PQclear(result);
	}
	if (error != NULL)
		tap_pg_raise(error, "copy rows", tap_pg_table_text(&state->format->name), NULL);
}

static void
prepare_copy(CopyState *state, const TapPgFormat *format)
{
	int			count = Max(format->ncolumns, 1);

	state->format = format;
	state->readers = palloc(sizeof(TapPgReader) * count);
	state->fields = palloc(sizeof(char *) * count);
	state->lengths = palloc(sizeof(int) * count);
	for (int i = 0; i < format->ncolumns; i++)
		tap_pg_reader_init(&state->readers[i], &format->columns[i],
						   format->columns[i].source_type, CurrentMemoryContext);
}

TapPgCopyReader *
tap_pg_copy_read_begin(TapSession *session, const TapPgFormat *format)
{
	CopyState  *state = palloc0(sizeof(CopyState));

	state->session = session;
	prepare_copy(state, format);
	start_copy(state, NULL);
	return state;
}

bool
tap_pg_copy_read(TapPgCopyReader *state, TupleTableSlot *slot)
{
	if (!next_row(state))
	{
		end_copy(state);
		return false;
	}
	ExecClearTuple(slot);
	split_row(state);
	convert_row(state, slot);
	ExecStoreVirtualTuple(slot);
	return true;
}

static void
copy_table(TapSession *session, TapSourceTable *table, const TapChunk *chunk,
		   TapRowReceiver *receiver)
{
	CopyState	state = {.session = session,.receiver = receiver};
	ErrorContextCallback callback;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tapdata postgres copy",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	prepare_copy(&state, tap_pg_format_of(table));
	start_copy(&state, chunk);
	callback.callback = copy_error_context;
	callback.arg = &state;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	PG_TRY();
	{
		copy_all_rows(&state);
	}
	PG_CATCH();
	{
		if (state.buffer != NULL)
			PQfreemem(state.buffer);
		PG_RE_THROW();
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	end_copy(&state);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
tap_pg_snapshot_copy(TapSession *session, TapSourceTable *table,
					 const TapChunk *chunk, TapRowReceiver *receiver)
{
	copy_table(session, table, chunk, receiver);
}

/* ---------------------------------------------------------------------
 * A whole table at a known position
 * ---------------------------------------------------------------------
 */

/* Begin a transaction whose snapshot is where a temporary slot begins. */
static uint64
begin_at_slot(TapSession *replication)
{
	TapPgRows  *rows;

	(void) tap_pg_query(replication, "begin a copy",
						"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	rows = tap_pg_query(replication, "create a temporary replication slot",
						"CREATE_REPLICATION_SLOT \"tapdata_%016llx_c%d\" TEMPORARY LOGICAL pgoutput USE_SNAPSHOT",
						(unsigned long long) replication->args.pipeline_seed, MyProcPid);
	return tap_pg_lsn_parse(tap_pg_value(rows, 0, 1));
}

char *
tap_pg_snapshot_copy_exact(TapSession *session, TapSourceTable *table,
						   TapRowReceiver *receiver)
{
	TapSession	replication;
	TapPgPosition position;

	tap_pg_position_now(session, &position);
	if (strtoull(position.system, NULL, 10) == GetSystemIdentifier())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" has no key and is of the hub's own cluster", tap_pg_table_text(&table->name)),
				 errdetail("Its copy would wait for the transaction that takes it."),
				 errhint("Give the table a primary key.")));
	tap_pg_open_another(session, &replication, true);
	PG_TRY();
	{
		position.lsn = begin_at_slot(&replication);
		copy_table(&replication, table, NULL, receiver);
		(void) tap_pg_query(&replication, "end a copy", "COMMIT");
	}
	PG_FINALLY();
	{
		tap_pg_close(&replication);
	}
	PG_END_TRY();
	return tap_pg_position_text(&position);
}
