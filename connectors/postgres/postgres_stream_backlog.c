/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_backlog.c
 *	  Reading a long backlog of the source's log in batches.
 *
 * NOTES
 *	  A walsender sends each change by itself, which costs it more than to
 *	  decode it.  So while we are far behind, the same messages are read by
 *	  COPY from pg_logical_slot_get_binary_changes(), many in a packet.  That
 *	  function takes what it has returned for received, so it is called for a
 *	  temporary copy of the slot, which goes with our connection.  The slot
 *	  itself keeps the log that the hub does not have on disk, and is advanced
 *	  to what it has.  Near the end of the log the copy is given up, and the
 *	  stream begins at the slot itself from the position reached.
 *
 *	  Each call reads the log again from where the oldest transaction that was
 *	  open at its beginning began, so calls are large; while one's changes are
 *	  applied the next is under way.  What comes is kept in two buffers, one
 *	  that is filled and one that is read: each message after four bytes of its
 *	  length, with a byte to spare behind it, and after each call a length of
 *	  CALL_END, then how far it has read.
 *
 *	  A call that ends within a transaction in progress has sent a part of it
 *	  in vain, for the next call sends it from its beginning.  Such
 *	  transactions are left to the walsender, and all else that the source
 *	  refuses to give in batches, for want of a connection, a slot or room for
 *	  temporary files.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_snapshot.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Worth it from so far behind on, and until so near to the end. */
#define ENTER_BYTES			(16 * 1024 * 1024)
#define LEAVE_BYTES			(4 * 1024 * 1024)

/* Not where calls would have to read so much again, for more than they bring. */
#define MAX_AGAIN_BYTES		((uint64) 512 * 1024 * 1024)

/* Of the log in one call, so that the position moves where nothing is ours. */
#define CALL_LOG_BYTES		((uint64) 512 * 1024 * 1024)

/*
 * A call asks for as many changes as the source should be able to keep in its
 * work_mem, each with what it takes there beside its bytes; rounding of
 * allocations can double that.  Writing them to a file and reading them again
 * costs the source a sixth of the call.  The first calls are small, and grow
 * slowly: we would have nothing to do while a long one follows a short one.
 */
#define CALL_WORK_MEM		"128MB"
#define CALL_BYTES			(64 * 1024 * 1024)
#define CHANGE_BYTES		150
#define FIRST_CALL_CHANGES	10000
#define CALL_GROWTH			3
#define MAX_CALL_CHANGES	1000000

/* Nothing more is taken while so much waits to be read. */
#define FULL_BYTES			((Size) 32 * 1024 * 1024)

#define FIRST_BUFFER_BYTES	((Size) 1024 * 1024)

/* The slot is advanced so often. */
#define ADVANCE_MS			10000

/* While a walsender sends what is so old, look so often how far behind it is. */
#define OLD_MS				5000
#define LOOK_MS				10000

#define CALL_END			(-1)

typedef struct Messages
{
	char	   *data;
	Size		size;
	Size		used;
	Size		next;			/* to be read */
} Messages;

struct TapPgBacklog
{
	TapSession	session;		/* of the connection that has the copied slot */
	MemoryContext context;
	char	   *slot;			/* the copy's name */
	char	   *arguments;		/* of the call, for the plugin */

	bool		called;			/* a call is under way */
	bool		copying;		/* and its rows are coming */
	bool		header_seen;	/* which comes before the first of them */
	bool		last;			/* there will be no further call */
	bool		ended;			/* all was read, and the core told of it */
	uint64		reached;		/* how far the calls have read */
	uint64		advanced;		/* the slot itself */
	TimestampTz advanced_at;
	int			wanted;			/* changes, by the call */
	int64		changes;		/* that it has brought */
	int64		bytes;
	Messages	filled;
	Messages	read;
	char	   *row;			/* libpq's, of the row under way; or NULL */
	unsigned int steps;
};

/* ---------------------------------------------------------------------
 * Calls
 * ---------------------------------------------------------------------
 */

static void raise_lost(TapPgBacklog *backlog) __attribute__((noreturn));

static void
raise_lost(TapPgBacklog *backlog)
{
	TapPgError *error = tap_pg_error(backlog->session.conn, NULL);

	error->sqlstate = ERRCODE_CONNECTION_FAILURE;
	tap_pg_raise(error, "read a backlog of the source's log", NULL, NULL);
}

/* Not an error of the pipeline, but what one wants to know who asks why it is slow. */
static void
tell_refused(const TapPgStream *stream, const char *message)
{
	ereport(LOG,
			(errmsg("the source does not give its log in batches: %s", message),
			 errdetail("Pipeline \"%s\" goes on reading it as a stream.",
					   stream->session->args.pipeline_name)));
}

/*
 * The source has refused the call.  What had come before is good; what has not
 * is left to the walsender, which says by itself what is wrong with the slot.
 */
static void
refused(TapPgStream *stream, const PGresult *result)
{
	TapPgBacklog *backlog = stream->backlog;

	tell_refused(stream, tap_pg_error(backlog->session.conn, result)->message);
	stream->no_batches = backlog->last = true;
	backlog->called = backlog->copying = false;
}

static void raise_form(void) __attribute__((noreturn));

static void
raise_form(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the source sent a backlog of its log in another form than it was asked for")));
}

/*
 * Ask for the next part of the log.  The slot is advanced by the way, where
 * that costs us no time.
 */
static void
call(TapPgStream *stream)
{
	TapPgBacklog *backlog = stream->backlog;
	StringInfoData sql;

	initStringInfo(&sql);
	if (stream->confirmed > backlog->advanced &&
		TimestampDifferenceExceeds(backlog->advanced_at, GetCurrentTimestamp(), ADVANCE_MS))
	{
		appendStringInfo(&sql, "SELECT pg_replication_slot_advance(%s, '%s'); ",
						 quote_literal_cstr(tap_pg_slot_name(stream->session)),
						 tap_pg_lsn_text(stream->confirmed));
		backlog->advanced = stream->confirmed;
		backlog->advanced_at = GetCurrentTimestamp();
	}
	appendStringInfo(&sql, "COPY (SELECT data FROM pg_logical_slot_get_binary_changes(%s, '%s', %d%s)) "
					 "TO STDOUT (FORMAT binary); ",
					 quote_literal_cstr(backlog->slot),
					 tap_pg_lsn_text(backlog->reached + CALL_LOG_BYTES),
					 backlog->wanted, backlog->arguments);
	appendStringInfo(&sql, "SELECT confirmed_flush_lsn, restart_lsn, "
					 "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END "
					 "FROM pg_replication_slots WHERE slot_name = %s",
					 quote_literal_cstr(backlog->slot));
	if (!PQsendQuery(backlog->session.conn, sql.data))
		raise_lost(backlog);
	pfree(sql.data);
	backlog->called = true;
	backlog->changes = backlog->bytes = 0;
}

static void
make_room(TapPgBacklog *backlog, Size bytes)
{
	Messages   *buffer = &backlog->filled;
	Size		size = Max(buffer->size, FIRST_BUFFER_BYTES);

	if (buffer->used + bytes <= buffer->size)
		return;
	while (size < buffer->used + bytes)
		size *= 2;
	buffer->data = buffer->data == NULL ?
		MemoryContextAllocHuge(backlog->context, size) : repalloc_huge(buffer->data, size);
	buffer->size = size;
}

static void
keep(TapPgBacklog *backlog, const char *data, int32 bytes)
{
	Messages   *buffer = &backlog->filled;

	make_room(backlog, sizeof(int32) + (Size) bytes + 1);
	memcpy(buffer->data + buffer->used, &bytes, sizeof(int32));
	memcpy(buffer->data + buffer->used + sizeof(int32), data, bytes);
	buffer->used += sizeof(int32) + (Size) bytes + 1;
}

static void
keep_call_end(TapPgBacklog *backlog)
{
	Messages   *buffer = &backlog->filled;
	int32		mark = CALL_END;

	make_room(backlog, sizeof(int32) + sizeof(uint64));
	memcpy(buffer->data + buffer->used, &mark, sizeof(int32));
	memcpy(buffer->data + buffer->used + sizeof(int32), &backlog->reached, sizeof(uint64));
	buffer->used += sizeof(int32) + sizeof(uint64);
}

/* A row of COPY has the one column that we have asked for. */
static void
keep_row(TapPgBacklog *backlog, int bytes)
{
	const char *end = backlog->row + bytes;
	const char *field = tap_pg_copy_fields(backlog->row, end, &backlog->header_seen, 1);
	uint32		length;

	if (field == NULL)
		return;
	if (end - field < sizeof(length))
		raise_form();
	memcpy(&length, field, sizeof(length));
	length = pg_ntoh32(length);
	field += sizeof(length);
	if (length != end - field)
		raise_form();
	keep(backlog, field, (int32) length);
	backlog->changes++;
	backlog->bytes += length;
}

/* How many changes the next call is to bring. */
static int
next_wanted(const TapPgBacklog *backlog)
{
	int64		wanted = (int64) backlog->wanted * CALL_GROWTH;

	if (backlog->changes > 0)
		wanted = Min(wanted, CALL_BYTES / (CHANGE_BYTES + backlog->bytes / backlog->changes));
	return (int) Max(FIRST_CALL_CHANGES / 10, Min(wanted, MAX_CALL_CHANGES));
}

/* What stands behind the rows: how far the call has read, and what is left. */
static void
take_call_state(TapPgBacklog *backlog, const PGresult *result)
{
	uint64		restart;
	uint64		end;
	uint64		began = backlog->reached;

	if (PQntuples(result) != 1 || PQnfields(result) != 3 || PQgetisnull(result, 0, 0) ||
		PQgetisnull(result, 0, 1) || PQgetisnull(result, 0, 2))
		raise_form();
	backlog->reached = tap_pg_lsn_parse(PQgetvalue(result, 0, 0));
	restart = tap_pg_lsn_parse(PQgetvalue(result, 0, 1));
	end = tap_pg_lsn_parse(PQgetvalue(result, 0, 2));
	backlog->last = backlog->reached <= began || backlog->reached + LEAVE_BYTES >= end ||
		backlog->reached - restart > MAX_AGAIN_BYTES;
	backlog->wanted = next_wanted(backlog);
	keep_call_end(backlog);
}

/* Take a result of the call; false: there is none any more. */
static bool
take_result(TapPgStream *stream)
{
	TapPgBacklog *backlog = stream->backlog;
	PGresult   *result = PQgetResult(backlog->session.conn);

	if (result == NULL)
		return false;
	PG_TRY();
	{
		switch (PQresultStatus(result))
		{
			case PGRES_COPY_OUT:
				backlog->copying = true;
				backlog->header_seen = false;
				break;
			case PGRES_COMMAND_OK:
				break;
			case PGRES_TUPLES_OK:
				if (PQnfields(result) > 1)
					take_call_state(backlog, result);
				break;
			default:
				refused(stream, result);
		}
	}
	PG_FINALLY();
	{
		PQclear(result);
	}
	PG_END_TRY();
	return true;
}

/* Take the rows that are there; false: the next is not there yet. */
static bool
take_rows(TapPgBacklog *backlog)
{
	while (backlog->filled.used < FULL_BYTES)
	{
		int			bytes = PQgetCopyData(backlog->session.conn, &backlog->row, true);

		if (bytes == 0)
			return false;
		if (bytes < 0)
		{
			backlog->copying = false;
			if (bytes < -1)
				raise_lost(backlog);
			return true;
		}
		keep_row(backlog, bytes);
		PQfreemem(backlog->row);
		backlog->row = NULL;
	}
	return false;
}

/* Take what libpq has already; false: it has no more. */
static bool
take_some(TapPgStream *stream)
{
	TapPgBacklog *backlog = stream->backlog;

	if (backlog->copying)
		return take_rows(backlog);
	if (!backlog->called || PQisBusy(backlog->session.conn))
		return false;
	if (take_result(stream))
		return true;
	backlog->called = false;
	if (!backlog->last)
		call(stream);
	return false;
}

/*
 * Take all that has come, and ask for more.  libpq reads some kilobytes at a
 * time; if we took only those, the source would wait for us to apply a batch
 * before it can begin the next.
 */
static void
receive(TapPgStream *stream)
{
	TapPgBacklog *backlog = stream->backlog;
	MemoryContext old;
	Size		before;

	if (!backlog->called || backlog->filled.used >= FULL_BYTES)
		return;
	old = MemoryContextSwitchTo(backlog->context);
	while (take_some(stream))
		CHECK_FOR_INTERRUPTS();
	do
	{
		before = backlog->filled.used;
		if (PQflush(backlog->session.conn) < 0 || !PQconsumeInput(backlog->session.conn))
			raise_lost(backlog);
		while (take_some(stream))
			CHECK_FOR_INTERRUPTS();
	} while (backlog->called && backlog->filled.used > before && backlog->filled.used < FULL_BYTES);
	stream->last_received = GetCurrentTimestamp();
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------------
 * Beginning and ending
 * ---------------------------------------------------------------------
 */

/* Whether the slot is one of which standbys must have the log before we do. */
static bool
waits_for_standbys(TapSession *session, const char *slot)
{
	return session->version >= 170000 &&
		tap_pg_query(session, "look at the replication slot",
					 "SELECT FROM pg_replication_slots WHERE slot_name = %s AND failover",
					 quote_literal_cstr(slot))->nrows > 0;
}

static bool
is_worth_it(TapPgStream *stream)
{
	TapSession *session = stream->session;
	char	   *name = tap_pg_slot_name(session);
	TapPgPosition now;
	TapPgSlot  *slot;

	if (session->version < 140000 || stream->no_batches ||
		strcmp(tap_pg_option(session, "backlog", "batches"), "batches") != 0)
		return false;
	tap_pg_position_now(session, &now);
	if (now.lsn < stream->position.lsn + ENTER_BYTES)
		return false;
	slot = tap_pg_slot_find(session, name);
	return slot != NULL && !slot->lost &&
		stream->position.lsn < slot->restart + MAX_AGAIN_BYTES &&
		!waits_for_standbys(session, name);
}

/* Copy the slot, to the position. */
static void
copy_slot(TapPgStream *stream, TapPgBacklog *backlog)
{
	char	   *slot = tap_pg_slot_name(stream->session);
	TapPgRows  *rows;
	uint64		confirmed;

	backlog->slot = psprintf("%.40s_backlog_%d", slot, MyProcPid);
	(void) tap_pg_query(&backlog->session, "copy the replication slot",
						"SET work_mem = '" CALL_WORK_MEM "'; SELECT pg_copy_logical_replication_slot(%s, %s, true)",
						quote_literal_cstr(slot), quote_literal_cstr(backlog->slot));
	rows = tap_pg_query(&backlog->session, "look at the copied replication slot",
						"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s",
						quote_literal_cstr(backlog->slot));
	confirmed = rows->nrows > 0 ? tap_pg_lsn_parse(tap_pg_needed(rows, 0, 0)) : 0;
	if (confirmed < stream->position.lsn)
		(void) tap_pg_query(&backlog->session, "advance the copied replication slot",
							"SELECT pg_replication_slot_advance(%s, '%s')",
							quote_literal_cstr(backlog->slot),
							tap_pg_lsn_text(stream->position.lsn));
	backlog->reached = Max(confirmed, stream->position.lsn);
}

void
tap_pg_backlog_close(TapPgStream *stream)
{
	TapPgBacklog *backlog = stream->backlog;

	if (backlog == NULL)
		return;
	stream->backlog = NULL;
	if (backlog->row != NULL)
		PQfreemem(backlog->row);
	if (backlog->session.conn != NULL)
		PQfinish(backlog->session.conn);
	MemoryContextDelete(backlog->context);
}

static void
begin(TapPgStream *stream)
{
	MemoryContext context = AllocSetContextCreate(stream->context, "tapdata postgres backlog",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TapPgBacklog *backlog = stream->backlog = palloc0(sizeof(TapPgBacklog));

	backlog->context = context;
	backlog->wanted = FIRST_CALL_CHANGES;
	backlog->advanced = stream->confirmed;
	backlog->advanced_at = GetCurrentTimestamp();
	tap_pg_open_another(stream->session, &backlog->session, false);
	copy_slot(stream, backlog);
	backlog->arguments = tap_pg_plugin_arguments(stream);
	call(stream);
	MemoryContextSwitchTo(old);
}

bool
tap_pg_backlog_begin(TapPgStream *stream)
{
	MemoryContext context = CurrentMemoryContext;

	stream->looked_at = GetCurrentTimestamp();
	stream->committed = false;
	if (!is_worth_it(stream))
		return false;
	PG_TRY();
	{
		begin(stream);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		/* there is still the slot itself; what is wrong with that it will say */
		if (geterrcode() == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		tap_pg_backlog_close(stream);
		tell_refused(stream, edata->message);
		FreeErrorData(edata);
	}
	PG_END_TRY();
	return stream->backlog != NULL;
}

/* Go on by the slot itself, from the position on. */
static void
leave(TapPgStream *stream)
{
	tap_pg_backlog_close(stream);
	tap_pg_spool_reset(stream);
	tap_pg_stream_go_on(stream);
}

bool
tap_pg_backlog_is_due(TapPgStream *stream)
{
	TimestampTz now;

	if (!stream->committed || stream->in_txn || stream->spools != NIL ||
		stream->backlog != NULL)
		return false;
	now = stream->last_received;
	return TimestampDifferenceExceeds(stream->looked_at, now, LOOK_MS) &&
		TimestampDifferenceExceeds(stream->commit_time, now, OLD_MS);
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

/* Let what was filled be read; false: there is nothing. */
static bool
next_buffer(TapPgStream *stream)
{
	TapPgBacklog *backlog = stream->backlog;
	Messages	done = backlog->read;

	receive(stream);
	if (backlog->filled.used == 0)
		return false;
	backlog->read = backlog->filled;
	backlog->filled = done;
	backlog->filled.used = backlog->filled.next = 0;

	/* the server may have waited for room */
	receive(stream);
	return true;
}

/* A call has ended: all that was committed before has come. */
static void
end_call(TapPgStream *stream, const char *data)
{
	uint64		reached;

	if (stream->in_txn)
		raise_form();
	memcpy(&reached, data, sizeof(reached));
	stream->received = Max(stream->received, reached);
	if (reached > stream->position.lsn)
	{
		stream->position.lsn = reached;
		stream->moved = true;
	}
	if (stream->spools != NIL)
		leave(stream);
}

/*
 * All has been read.  What the core has of it it commits when it is told that
 * nothing is there; that should not wait for what we ask the source about the
 * slot, nor be lost when the slot cannot be had.
 */
static void
end(TapPgStream *stream)
{
	if (stream->in_txn)
		raise_form();
	if (stream->backlog->ended)
		leave(stream);
	else
		stream->backlog->ended = !stream->moved;	/* which is told before */
}

const char *
tap_pg_backlog_next(TapPgStream *stream, int *bytes)
{
	TapPgBacklog *backlog = stream->backlog;
	Messages   *buffer = &backlog->read;
	char	   *data;
	int32		length;

	*bytes = 0;
	if ((++backlog->steps & 0xFF) == 0)
		receive(stream);
	if (buffer->next == buffer->used && !next_buffer(stream))
	{
		if (!backlog->called && backlog->last)
			end(stream);
		return NULL;
	}
	memcpy(&length, buffer->data + buffer->next, sizeof(length));
	data = buffer->data + buffer->next + sizeof(length);
	if (length == CALL_END)
	{
		buffer->next += sizeof(length) + sizeof(uint64);
		end_call(stream, data);
		return "";
	}
	buffer->next += sizeof(length) + (Size) length + 1;
	*bytes = length;
	return data;
}

void
tap_pg_backlog_wait(TapPgStream *stream, TapWait *wait)
{
	PGconn	   *conn = stream->backlog->session.conn;

	wait->socket = PQsocket(conn);
	wait->events = WL_SOCKET_READABLE;
	if (PQflush(conn) > 0)
		wait->events |= WL_SOCKET_WRITEABLE;
	if (stream->backlog->ended)
		wait->timeout_ms = 0;
}
