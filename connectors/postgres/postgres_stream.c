/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream.c
 *	  The stream: where its messages come from, and the position.
 *
 * NOTES
 *	  The position is behind the last transaction, or, between transactions,
 *	  where the server says that it has read to: a keepalive tells that all
 *	  which was committed before has been sent.  What the hub has on disk is
 *	  confirmed to the server, which may remove the log before it.
 *
 *	  A transaction that comes while it is still in progress is kept, and read
 *	  again when it is committed: then its messages take the place of the
 *	  server's (stream->replay), as if they came between BEGIN and COMMIT.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* We tell the server so often where we are, and ask it for an answer. */
#define STATUS_MS			10000

/* Without any answer for so long it is taken for dead. */
#define SILENCE_MS			60000

/* How soon to look again whether what was committed is visible at the source. */
#define VISIBLE_AGAIN_MS	20

/* While only others' transactions come, the position is told so often. */
#define POSITION_MS			1000

/*
 * The server sends each change by itself, and waking up for each costs both
 * sides about as much as the change.  So while what comes is older than
 * BACKLOG_MS we let some gather.
 */
#define BACKLOG_MS			100
#define GATHER_US			200

/* Memory of events is freed when they have filled so much. */
#define EVENTS_BYTES		(16 * 1024)

/* Kind, two positions and a time before what the plugin wrote. */
#define DATA_HEADER_BYTES	25
#define KEEPALIVE_BYTES		18

/* ---------------------------------------------------------------------
 * Starting and ending
 * ---------------------------------------------------------------------
 */

static TapPgStream *
create_stream(TapSession *session, const TapStreamArgs *args)
{
	MemoryContext context = AllocSetContextCreate(session->args.context,
												  "tapdata postgres stream",
												  ALLOCSET_DEFAULT_SIZES);
	TapPgStream *stream = MemoryContextAllocZero(context, sizeof(TapPgStream));
	HASHCTL		control = {0};

	stream->context = context;
	stream->event_context = AllocSetContextCreate(context, "tapdata postgres event",
												  0, EVENTS_BYTES, ALLOCSET_DEFAULT_MAXSIZE);
	stream->session = session;
	stream->all_changes = tap_pg_follows_all_changes(session);
	stream->args = *args;
	stream->args.position = NULL;
	stream->refresh_ms = session->args.purpose == TAP_PURPOSE_STREAM ? tap_pg_refresh_ms(session) : 0;
	stream->refreshed_at = GetCurrentTimestamp();
	tap_pg_position_parse(args->position, &stream->position);
	stream->confirmed = stream->received = stream->position.lsn;
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(TapPgStreamTable);
	control.hcxt = context;
	stream->tables = hash_create("tapdata postgres tables", 128, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stream->decoder = tap_pgoutput_create();
	if (stream->decoder == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return stream;
}

void
tap_pg_stream_close(TapSession *session)
{
	TapPgStream *stream = session->stream;

	if (stream == NULL)
		return;
	session->stream = NULL;
	if (stream->buffer != NULL)
		PQfreemem(stream->buffer);
	stream->buffer = NULL;
	tap_pg_spool_close(stream);
	tap_pg_backlog_close(stream);
	tap_pgoutput_free(stream->decoder);
	if (stream->replication.conn != NULL)
		PQfinish(stream->replication.conn);
	stream->replication.conn = NULL;
}

void
tap_pg_stream_start(TapSession *session, const TapStreamArgs *args)
{
	TapPgStream *stream = create_stream(session, args);

	session->stream = stream;
	tap_pg_open_another(session, &stream->replication, true);
	if (strcmp(tap_pg_option(session, "types", "text"), "create") == 0)
	{
		/* in this order: what changes in between is found again */
		stream->types_state = MemoryContextStrdup(stream->context, tap_pg_types_state(session));
		tap_pg_refresh_types(session);
	}
	if (!tap_pg_is_continuous(stream))
		tap_pg_heal_begin(stream);
	else if (!tap_pg_backlog_begin(stream))
		tap_pg_start_replication(stream);
}

/* What a walsender sends has become old: read the rest of it in batches, if that is worth it. */
static void
read_backlog(TapPgStream *stream)
{
	if (!tap_pg_backlog_begin(stream))
		return;
	PQfinish(stream->replication.conn);
	stream->replication.conn = NULL;
}

void
tap_pg_stream_go_on(TapPgStream *stream)
{
	if (stream->replication.conn == NULL)
		tap_pg_open_another(stream->session, &stream->replication, true);

	/*
	 * the slot was nobody's meanwhile; what is to be healed is healed at a
	 * start
	 */
	if (!tap_pg_is_continuous(stream))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the source has changed while a backlog of its log was read"),
				 errdetail("The stream begins again.")));
	tap_pg_start_replication(stream);
}

static void
append_lsn(StringInfo out, uint64 number)
{
	uint64		sent = pg_hton64(number);

	appendBinaryStringInfo(out, (char *) &sent, sizeof(sent));
}

/*
 * Tell the server what it may discard; what cannot be sent at once stays with
 * libpq.  While a backlog is read the slot is advanced by the way.
 */
static void
send_status(TapPgStream *stream, bool ask)
{
	PGconn	   *conn = stream->replication.conn;
	StringInfoData out;

	stream->last_status = GetCurrentTimestamp();
	if (stream->backlog != NULL)
		return;
	initStringInfo(&out);
	appendStringInfoChar(&out, 'r');
	append_lsn(&out, Max(stream->received, stream->confirmed));
	append_lsn(&out, stream->confirmed);
	append_lsn(&out, stream->confirmed);
	append_lsn(&out, (uint64) GetCurrentTimestamp());
	appendStringInfoChar(&out, ask ? 1 : 0);
	if (PQputCopyData(conn, out.data, out.len) < 0 || PQflush(conn) < 0)
		tap_pg_raise(tap_pg_error(conn, NULL), "send the position to the source", NULL, NULL);
	pfree(out.data);
	stream->asked_reply |= ask;
}

void
tap_pg_acknowledge(TapSession *session, const char *text)
{
	TapPgStream *stream = session->stream;
	TapPgPosition position;

	tap_pg_position_parse(text, &position);
	if (stream->heal != NULL)
		tap_pg_heal_noted(stream, &position);
	if (stream->heal != NULL || position.lsn <= stream->confirmed)
		return;
	stream->confirmed = position.lsn;
	send_status(stream, false);
}

static void
on_keepalive(TapPgStream *stream, const char *data, int bytes)
{
	uint64		end;

	if (bytes < KEEPALIVE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the source sent a keepalive that is too short")));
	memcpy(&end, data + 1, 8);
	end = pg_ntoh64(end);
	stream->received = Max(stream->received, end);
	stream->asked_reply = false;
	if (!stream->in_txn && end > stream->position.lsn)
	{
		stream->position.lsn = end;
		stream->moved = true;
	}
	if (data[17] != 0)
		send_status(stream, false);
}

static void raise_end(TapPgStream *stream) __attribute__((noreturn));

/* The server has ended the stream: it says why. */
static void
raise_end(TapPgStream *stream)
{
	PGconn	   *conn = stream->replication.conn;
	PGresult   *result = PQgetResult(conn);
	TapPgError *error;

	if (result != NULL && PQresultStatus(result) != PGRES_FATAL_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the source has ended the stream of its log")));
	error = tap_pg_error(conn, result);
	PQclear(result);

	/* the stream has ended with it: there is no change to be left out */
	if (tap_pg_is_data_error(error))
		error->sqlstate = ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
	tap_pg_raise(error, "read the source's log", NULL, NULL);
}

/* Look for what has come since; 0: nothing. */
static int
receive_new(TapPgStream *stream)
{
	PGconn	   *conn = stream->replication.conn;
	int			bytes;

	if (!PQconsumeInput(conn))
		tap_pg_raise(tap_pg_error(conn, NULL), "read the source's log", NULL, NULL);
	bytes = PQgetCopyData(conn, &stream->buffer, true);
	if (bytes > 0)
		stream->last_received = GetCurrentTimestamp();
	return bytes;
}

/* The next message of the server, in stream->buffer; 0: none is there. */
static int
receive(TapPgStream *stream)
{
	int			bytes;

	if (stream->buffer != NULL)
		PQfreemem(stream->buffer);
	stream->buffer = NULL;
	bytes = PQgetCopyData(stream->replication.conn, &stream->buffer, true);
	if (bytes == 0)
		bytes = receive_new(stream);
	if (bytes == 0 &&
		TimestampDifferenceExceeds(stream->commit_time, GetCurrentTimestamp(), BACKLOG_MS))
	{
		pg_usleep(GATHER_US);
		bytes = receive_new(stream);
	}
	if (bytes < 0)
		raise_end(stream);
	return bytes;
}

static void
decode(TapPgStream *stream, const char *data, int bytes)
{
	const char *error;

	if (!tap_pgoutput_decode(stream->decoder, data, bytes, &stream->message, &error))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("could not read the source's log: %s", error),
				 errdetail("The message is of kind %d, behind %s.", bytes > 0 ? data[0] : 0,
						   tap_pg_lsn_text(stream->position.lsn))));
	stream->next_truncated = 0;
	stream->pending = true;
}

/* Take what the plugin wrote; what is of a transaction in progress is kept for later. */
static void
take_data(TapPgStream *stream, const char *data, int bytes)
{
	decode(stream, data, bytes);
	if (stream->spooling == NULL)
		stream->bytes += bytes;
	else if (stream->message.kind != TAP_PGOUTPUT_STREAM_STOP)
	{
		tap_pg_spool_keep(stream, data, bytes);
		stream->pending = false;
	}
}

static void
take_sent(TapPgStream *stream, int bytes)
{
	if (stream->buffer[0] == 'k')
		on_keepalive(stream, stream->buffer, bytes);
	else if (bytes < DATA_HEADER_BYTES || stream->buffer[0] != 'w')
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the source sent a message of unknown kind %d", stream->buffer[0])));
	else
		take_data(stream, stream->buffer + DATA_HEADER_BYTES, bytes - DATA_HEADER_BYTES);
}

/*
 * False: nothing is there.  The end of a batch is no message, and that of the
 * backlog is none either: what a walsender has sent behind it may be here.
 */
static bool
take_from_backlog(TapPgStream *stream)
{
	int			bytes;
	const char *data = tap_pg_backlog_next(stream, &bytes);

	if (data != NULL && bytes > 0)
		take_data(stream, data, bytes);
	return data != NULL || stream->backlog == NULL;
}

/* The next message of a transaction that was kept, or its end. */
static void
take_kept(TapPgStream *stream)
{
	int			bytes;
	const char *data = tap_pg_spool_next(stream, &bytes);

	stream->pending = true;
	if (data == NULL)
		return;
	decode(stream, data, bytes);
	stream->bytes += bytes;
}

/* Read a message; false: none is there.  It may be one that is not pending. */
static bool
next_message(TapPgStream *stream)
{
	int			bytes;

	if (stream->replay != NULL)
	{
		take_kept(stream);
		return true;
	}
	if (stream->backlog == NULL && tap_pg_backlog_is_due(stream))
		read_backlog(stream);
	if (stream->backlog != NULL)
		return take_from_backlog(stream);
	bytes = receive(stream);
	if (bytes > 0)
		take_sent(stream, bytes);
	return bytes > 0;
}

/* ---------------------------------------------------------------------
 * Events
 * ---------------------------------------------------------------------
 */

/*
 * What was committed is in the log, and here, before others at the source can
 * see it; with synchronous replication there long before.
 */
void
tap_pg_stream_wait_visible(TapPgStream *stream)
{
	while (stream->xid != 0 &&
		   tap_pg_query(stream->session, "wait for a commit of the source",
						"SELECT FROM pg_locks WHERE locktype = 'transactionid' AND transactionid = '%u' "
						"AND mode = 'ExclusiveLock' AND granted", stream->xid)->nrows > 0)
	{
		(void) tap_pg_core->wait_socket(PGINVALID_SOCKET, 0, VISIBLE_AGAIN_MS);
		if (TimestampDifferenceExceeds(stream->last_status, GetCurrentTimestamp(), STATUS_MS))
			send_status(stream, false);
	}
	stream->xid = 0;
}

/* Nothing came: is the server still there? */
static void
check_silence(TapPgStream *stream)
{
	TimestampTz now = GetCurrentTimestamp();

	if (stream->asked_reply &&
		TimestampDifferenceExceeds(stream->last_received, now, SILENCE_MS))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the source has sent nothing for %d seconds", SILENCE_MS / 1000)));
	if (TimestampDifferenceExceeds(stream->last_status, now, STATUS_MS))
		send_status(stream, TimestampDifferenceExceeds(stream->last_received, now, STATUS_MS));
}

/*
 * There is a lot to read: the server takes us for dead if it does not hear
 * from us within the wal_sender_timeout of our session.  Whether it lives
 * itself is seen when it is read from again.
 */
static void
stay_alive(TapPgStream *stream)
{
	if ((++stream->steps & 0xFF) != 0)
		return;
	CHECK_FOR_INTERRUPTS();
	if (TimestampDifferenceExceeds(stream->last_status, GetCurrentTimestamp(), STATUS_MS))
		send_status(stream, false);
}

static bool
position_is_due(TapPgStream *stream)
{
	return stream->moved && !stream->in_txn &&
		TimestampDifferenceExceeds(stream->told_at, stream->last_received, POSITION_MS);
}

static TapEventKind
next_event(TapPgStream *stream, TapEvent *event)
{
	memset(event, 0, sizeof(*event));
	if (stream->heal != NULL)
		return tap_pg_heal_next(stream, event);
	if (stream->gone_begun)
		return tap_pg_stream_gone_next(stream, event);
	while (stream->pending || next_message(stream))
	{
		TapEventKind kind = stream->pending ? tap_pg_stream_take_message(stream, event) : TAP_EVENT_NONE;

		stay_alive(stream);
		if (kind != TAP_EVENT_NONE)
			return kind;
		if (position_is_due(stream))
			return tap_pg_stream_tell(stream, event, TAP_EVENT_HEARTBEAT);
	}
	event->behind = stream->backlog != NULL || stream->position.lsn < stream->log_end;
	if (stream->backlog == NULL)
	{
		check_silence(stream);
		tap_pg_stream_refresh(stream);
		if (tap_pg_stream_gone_next(stream, event) != TAP_EVENT_NONE)
			return event->kind;
	}
	if (stream->moved && !stream->in_txn)
		return tap_pg_stream_tell(stream, event, TAP_EVENT_HEARTBEAT);
	return TAP_EVENT_NONE;
}

TapEventKind
tap_pg_stream_next(TapSession *session, TapEvent *event)
{
	TapPgStream *stream = session->stream;
	MemoryContext old;
	TapEventKind kind;

	/* one event holds little, and to free it costs as much as to read a value */
	if (MemoryContextMemAllocated(stream->event_context, false) > EVENTS_BYTES)
		MemoryContextReset(stream->event_context);
	old = MemoryContextSwitchTo(stream->event_context);
	kind = next_event(stream, event);
	MemoryContextSwitchTo(old);
	return kind;
}

void
tap_pg_stream_refollow(TapSession *session)
{
	TapPgStream *stream = session->stream;
	HASH_SEQ_STATUS status;
	TapPgStreamTable *table;

	if (stream == NULL)
		return;
	hash_seq_init(&status, stream->tables);
	while ((table = hash_seq_search(&status)) != NULL)
		tap_pg_stream_forget(table);
}

void
tap_pg_stream_wait(TapSession *session, TapWait *wait)
{
	TapPgStream *stream = session->stream;
	PGconn	   *conn = stream->replication.conn;
	long		left = STATUS_MS - TimestampDifferenceMilliseconds(stream->last_status,
																   GetCurrentTimestamp());

	if (stream->backlog != NULL)
	{
		tap_pg_backlog_wait(stream, wait);
		return;
	}
	wait->socket = PQsocket(conn);
	wait->events = WL_SOCKET_READABLE;
	if (PQflush(conn) > 0)
		wait->events |= WL_SOCKET_WRITEABLE;
	if (stream->refresh_ms > 0)
		left = Min(left, stream->refresh_ms - TimestampDifferenceMilliseconds(stream->refreshed_at,
																			  GetCurrentTimestamp()));
	wait->timeout_ms = Max(left, 0) + 100;
}

char *
tap_pg_stream_position(TapSession *session)
{
	return tap_pg_position_text(&session->stream->position);
}

bool
tap_pg_txn_covered(TapSession *session, const char *text)
{
	TapPgPosition position;

	tap_pg_position_parse(text, &position);
	return session->stream->commit_lsn < position.lsn;
}
