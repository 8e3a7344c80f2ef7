/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot_read.c
 *	  Rows that come by one binary COPY.
 *
 * NOTES
 *	  The server sends each row of a COPY as one message.  In front of the
 *	  first is the header, and a message with -1 fields is the end.
 *
 *	  PHASE_STARTED -> PHASE_ROWS -> PHASE_ENDING -> PHASE_IDLE, moved on by
 *	  what the server answers.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_snapshot.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* The signature of a binary COPY, then flags and the length of an extension. */
#define COPY_SIGNATURE			"PGCOPY\n\377\r\n\0"
#define COPY_SIGNATURE_BYTES	11
#define COPY_HEADER_BYTES		(COPY_SIGNATURE_BYTES + 8)

#define COPYING					"copy rows from the source"

typedef enum Phase
{
	PHASE_IDLE,
	PHASE_STARTED,
	PHASE_ROWS,
	PHASE_ENDING
} Phase;

struct TapPgCopyReader
{
	TapSession *session;
	const TapPgFormat *format;
	Phase		phase;
	bool		lost;			/* the connection: nothing more will come */
	TapPgReader *readers;
	MemoryContextCallback callback;
	char	   *buffer;			/* libpq's */
	char	   *row;			/* in it: the fields */
	char	   *end;
	char	  **fields;			/* their values */
	int		   *lengths;		/* -1: NULL */
	bool		header_seen;
	bool		converting;		/* an error now is one of the row's data */
	bool		runs_code;		/* reading a value may run functions of SQL */
};

static void
free_buffer(void *arg)
{
	TapPgCopyReader *reader = arg;

	if (reader->buffer != NULL)
		PQfreemem(reader->buffer);
	reader->buffer = NULL;
}

/*
 * Whether values of the type may be held to a domain's check, which can be any
 * function.  Types' own functions are in C.
 */
static bool
may_run_code(Oid type)
{
	Oid			element = get_element_type(type);

	switch (get_typtype(OidIsValid(element) ? element : type))
	{
		case TYPTYPE_BASE:
		case TYPTYPE_ENUM:
			return false;
		default:
			return true;
	}
}

TapPgCopyReader *
tap_pg_copy_reader_create(TapSession *session, const TapPgFormat *format)
{
	TapPgCopyReader *reader = palloc0(sizeof(TapPgCopyReader));
	int			count = Max(format->ncolumns, 1);

	reader->session = session;
	reader->format = format;
	reader->readers = palloc(sizeof(TapPgReader) * count);
	reader->fields = palloc(sizeof(char *) * count);
	reader->lengths = palloc(sizeof(int) * count);
	for (int i = 0; i < format->ncolumns; i++)
	{
		tap_pg_reader_init(&reader->readers[i], &format->columns[i],
						   format->columns[i].source_type, CurrentMemoryContext);
		reader->runs_code |= may_run_code(reader->readers[i].type);
	}
	reader->callback.func = free_buffer;
	reader->callback.arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reader->callback);
	return reader;
}

/* ---------------------------------------------------------------------
 * The statement
 * ---------------------------------------------------------------------
 */

void
tap_pg_copy_append_from(StringInfo sql, const TapPgFormat *format)
{
	appendStringInfo(sql, " FROM %s%s", format->kind == 'p' ? "" : "ONLY ",
					 tap_pg_quote_table(&format->name));
}

static char *
copy_statement(const TapPgFormat *format, const char *condition)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "COPY (SELECT ");
	for (int i = 0; i < format->ncolumns; i++)
		appendStringInfo(&sql, "%s%s%s", i ? ", " : "", tap_pg_quote(format->columns[i].name),
						 format->columns[i].as_text ? "::text" : "");
	tap_pg_copy_append_from(&sql, format);
	appendStringInfo(&sql, " WHERE %s AND %s) TO STDOUT (FORMAT binary)",
					 format->filter ? format->filter : "true", condition);
	return sql.data;
}

/* What the server, or libpq, says; frees the result. */
static void raise_failed(TapPgCopyReader *reader, PGresult *result) __attribute__((noreturn));

static void
raise_failed(TapPgCopyReader *reader, PGresult *result)
{
	TapPgError *error = tap_pg_error(reader->session->conn, result);

	PQclear(result);
	tap_pg_raise(error, "copy rows", tap_pg_table_text(&reader->format->name), NULL);
}

void
tap_pg_copy_start(TapPgCopyReader *reader, const char *condition)
{
	PGconn	   *conn = reader->session->conn;

	Assert(reader->phase == PHASE_IDLE);
	if (!PQsendQuery(conn, copy_statement(reader->format, condition)))
		raise_failed(reader, NULL);
	while (PQflush(conn) > 0)
		tap_pg_wait(reader->session, COPYING);
	reader->phase = PHASE_STARTED;
	reader->header_seen = false;
}

/* ---------------------------------------------------------------------
 * Messages
 * ---------------------------------------------------------------------
 */

static void raise_bad_copy(void) __attribute__((noreturn));

static void
raise_bad_copy(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the source sent rows of a copy in an unknown form")));
}

/* Behind the header of a copy. */
static char *
skip_header(char *data, const char *end)
{
	uint32		extension;

	if (end - data < COPY_HEADER_BYTES ||
		memcmp(data, COPY_SIGNATURE, COPY_SIGNATURE_BYTES) != 0)
		raise_bad_copy();
	memcpy(&extension, data + COPY_SIGNATURE_BYTES + 4, 4);
	extension = pg_ntoh32(extension);
	if (extension > end - data - COPY_HEADER_BYTES)
		raise_bad_copy();
	return data + COPY_HEADER_BYTES + extension;
}

char *
tap_pg_copy_fields(char *data, const char *end, bool *header_seen, int count)
{
	uint16		fields;

	if (!*header_seen)
		data = skip_header(data, end);
	*header_seen = true;
	if (data == end)
		return NULL;			/* the header alone */
	if (end - data < 2)
		raise_bad_copy();
	memcpy(&fields, data, 2);
	fields = pg_ntoh16(fields);
	if (fields == PG_UINT16_MAX)
		return NULL;			/* what follows is the end of the copy */
	if (fields != count)
		raise_bad_copy();
	return data + 2;
}

static TapPgCopyStep
next_row(TapPgCopyReader *reader)
{
	int			bytes;

	do
	{
		free_buffer(reader);
		bytes = PQgetCopyData(reader->session->conn, &reader->buffer, true);
		if (bytes == 0)
			return TAP_PG_COPY_WAIT;
		if (bytes < 0)
		{
			reader->phase = PHASE_ENDING;
			return TAP_PG_COPY_END;
		}
		reader->end = reader->buffer + bytes;
		reader->row = tap_pg_copy_fields(reader->buffer, reader->end, &reader->header_seen,
										 reader->format->ncolumns);
	} while (reader->row == NULL);
	return TAP_PG_COPY_ROW;
}

/* What the server says in front of the first row, and behind the last. */
static void
take_result(TapPgCopyReader *reader)
{
	PGresult   *result = PQgetResult(reader->session->conn);
	ExecStatusType status = PQresultStatus(result);

	if (result == NULL)
	{
		if (reader->phase != PHASE_ENDING)
			raise_failed(reader, NULL);
		reader->phase = PHASE_IDLE;
		return;
	}
	if (status != (reader->phase == PHASE_STARTED ? PGRES_COPY_OUT : PGRES_COMMAND_OK))
		raise_failed(reader, result);
	PQclear(result);
	if (reader->phase == PHASE_STARTED)
		reader->phase = PHASE_ROWS;
}

TapPgCopyStep
tap_pg_copy_step(TapPgCopyReader *reader)
{
	for (;;)
	{
		TapPgCopyStep step = TAP_PG_COPY_WAIT;

		if (reader->phase == PHASE_IDLE)
			return TAP_PG_COPY_END;
		if (reader->phase == PHASE_ROWS)
			step = next_row(reader);
		else if (!PQisBusy(reader->session->conn))
		{
			take_result(reader);
			continue;
		}
		if (step == TAP_PG_COPY_WAIT && reader->lost)
			raise_failed(reader, NULL);
		if (step != TAP_PG_COPY_END)
			return step;
	}
}

void
tap_pg_copy_consume(TapPgCopyReader *reader)
{
	/* what the server said before it closed may still be to be read */
	if (!PQconsumeInput(reader->session->conn))
		reader->lost = true;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

/* Step over a field; its length, -1 for NULL. */
static int
next_field(TapPgCopyReader *reader, char **p)
{
	uint32		length;

	if (reader->end - *p < 4)
		raise_bad_copy();
	memcpy(&length, *p, 4);
	length = pg_ntoh32(length);
	*p += 4;
	if (length == PG_UINT32_MAX)
		return -1;
	if (length > reader->end - *p)
		raise_bad_copy();
	*p += length;
	return (int) length;
}

/* Where the fields of the row are, before values are read in place. */
static void
split_row(TapPgCopyReader *reader)
{
	char	   *p = reader->row;

	for (int i = 0; i < reader->format->ncolumns; i++)
	{
		reader->lengths[i] = next_field(reader, &p);
		reader->fields[i] = p - Max(reader->lengths[i], 0);
	}
}

static void
read_values(TapPgCopyReader *reader, TupleTableSlot *slot)
{
	for (int i = 0; i < reader->format->ncolumns; i++)
	{
		bool		isnull = reader->lengths[i] < 0;

		slot->tts_isnull[i] = isnull;
		slot->tts_values[i] = isnull ? (Datum) 0 :
			tap_pg_read_value(&reader->readers[i], !reader->format->columns[i].as_text,
							  reader->fields[i], reader->lengths[i]);
	}
}

/*
 * A copy goes on behind an error of a row's data.  Where that may have come
 * out of a function, the role and the settings it ran with, and what it had
 * open, have to be put back first.
 */
static void
read_values_apart(TapPgCopyReader *reader, TupleTableSlot *slot)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		read_values(reader, slot);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(edata);
	}
	PG_END_TRY();
}

void
tap_pg_copy_store(TapPgCopyReader *reader, TupleTableSlot *slot)
{
	split_row(reader);
	reader->converting = true;
	if (reader->runs_code)
		read_values_apart(reader, slot);
	else
		read_values(reader, slot);
	reader->converting = false;
	ExecStoreVirtualTuple(slot);
}

bool
tap_pg_copy_is_converting(const TapPgCopyReader *reader)
{
	return reader->converting;
}

char *
tap_pg_copy_reject(TapPgCopyReader *reader)
{
	StringInfoData out;

	reader->converting = false;
	initStringInfo(&out);
	for (int i = 0; i < reader->format->ncolumns; i++)
	{
		const TapPgSourceColumn *column = &reader->format->columns[i];

		appendStringInfoString(&out, i ? ", " : "{");
		tap_pg_append_json(&out, column->name, strlen(column->name));
		appendStringInfoString(&out, ": ");
		if (reader->lengths[i] < 0)
			appendStringInfoString(&out, "null");
		else
			tap_pg_append_json(&out, reader->fields[i], reader->lengths[i]);
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* ---------------------------------------------------------------------
 * One row after the other
 * ---------------------------------------------------------------------
 */

TapPgCopyReader *
tap_pg_copy_read_begin(TapSession *session, const TapPgFormat *format)
{
	TapPgCopyReader *reader = tap_pg_copy_reader_create(session, format);

	tap_pg_copy_start(reader, "true");
	return reader;
}

bool
tap_pg_copy_read(TapPgCopyReader *reader, TupleTableSlot *slot)
{
	TapPgCopyStep step = tap_pg_copy_step(reader);

	if (step == TAP_PG_COPY_WAIT)
	{
		tap_pg_copy_consume(reader);
		while ((step = tap_pg_copy_step(reader)) == TAP_PG_COPY_WAIT)
			tap_pg_wait(reader->session, COPYING);
	}
	if (step == TAP_PG_COPY_END)
		return false;
	ExecClearTuple(slot);
	tap_pg_copy_store(reader, slot);
	return true;
}
