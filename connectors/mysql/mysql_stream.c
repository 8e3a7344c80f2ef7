/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_stream.c
 *	  The stream: packets of the log, and its position.
 *
 * NOTES
 *	  stream_next() asks the library for a packet only when bytes are there:
 *	  in the library's cache, perhaps in the TLS layer, or in the socket.  The
 *	  rest of a packet that has begun may be waited for, through the hook.
 *	  The TLS layer can hold something back only behind a packet that was read
 *	  past the library's cache, since the cache takes a whole record.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include <ma_pvio.h>
#include <poll.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define PACKET_KIND_END					0xFE

/* A read of so many bytes goes past the library's cache. */
#define UNCACHED_BYTES					2048

/* While only others' transactions come, the position is told so often. */
#define POSITION_INTERVAL_MS			1000

/* While packets come one after the other, the clock is read for so many. */
#define CLOCK_PACKETS					16

/* ---------------------------------------------------------------------
 * Starting and ending
 * ---------------------------------------------------------------------
 */

static TapBinlogReader *
create_reader(TapMysqlStream *stream)
{
	TapBinlogReader *reader =
	tap_binlog_reader_create(stream->session->server.is_mariadb ?
							 TAP_BINLOG_MARIADB : TAP_BINLOG_MYSQL, NULL);

	if (reader == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	tap_binlog_set_forget(reader, tap_mysql_forget_map, stream);
	return reader;
}

static void
create_tables(TapMysqlStream *stream)
{
	HASHCTL		control = {0};

	control.keysize = TAP_MYSQL_TABLE_KEY_SIZE;
	control.entrysize = sizeof(TapMysqlStreamTable);
	control.hcxt = stream->context;
	stream->tables = hash_create("tapdata mysql tables", 128, &control,
								 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static TapMysqlStream *
create_stream(TapSession *session, const TapStreamArgs *args)
{
	MemoryContext context = AllocSetContextCreate(session->context,
												  "tapdata mysql stream",
												  ALLOCSET_DEFAULT_SIZES);
	TapMysqlStream *stream = MemoryContextAllocZero(context, sizeof(TapMysqlStream));

	stream->session = session;
	stream->context = context;
	stream->mysql = session->mysql;
	stream->args = *args;
	stream->args.position = MemoryContextStrdup(context, args->position);
	stream->event_context = AllocSetContextCreate(context, "tapdata mysql event",
												  ALLOCSET_DEFAULT_SIZES);
	stream->queue_context = AllocSetContextCreate(context, "tapdata mysql queue",
												  ALLOCSET_DEFAULT_SIZES);
	stream->txn_context = AllocSetContextCreate(context, "tapdata mysql transaction",
												ALLOCSET_SMALL_SIZES);
	create_tables(stream);
	return stream;
}

void
tap_mysql_stream_start(TapSession *session, const TapStreamArgs *args)
{
	TapMysqlStream *stream = create_stream(session, args);
	char	   *fold;

	tap_mysql_position_parse(args->position, session->server.is_mariadb,
							 &stream->position);
	fold = tap_mysql_query_value(session->mysql, "SELECT @@global.lower_case_table_names");
	stream->lower_case = fold != NULL && strcmp(fold, "1") == 0;
	session->stream = stream;
	stream->reader = create_reader(stream);
	stream->stage_reader = create_reader(stream);
	(void) tap_mysql_wait_limit(tap_mysql_read_timeout_ms(session));
	tap_mysql_start_dump(stream);
}

void
tap_mysql_stream_close(TapSession *session)
{
	TapMysqlStream *stream = session->stream;

	if (stream == NULL)
		return;
	session->stream = NULL;
	tap_binlog_payload_close(stream->payload);
	tap_binlog_reader_free(stream->reader);
	tap_binlog_reader_free(stream->stage_reader);
	tap_mysql_position_free(&stream->position);
	tap_mysql_position_free(&stream->covered);
	free(stream->format_event);
}

void
tap_mysql_stream_refollow(TapSession *session)
{
	HASH_SEQ_STATUS status;
	TapMysqlStreamTable *table;

	if (session->stream == NULL)
		return;
	hash_seq_init(&status, session->stream->tables);
	while ((table = hash_seq_search(&status)) != NULL)
		tap_mysql_forget_table(table);
}

/* ---------------------------------------------------------------------
 * Packets
 * ---------------------------------------------------------------------
 */

/* Whether a packet, or its beginning, is there without waiting. */
static bool
packet_waits(TapMysqlStream *stream)
{
	MARIADB_PVIO *pvio = stream->mysql->net.pvio;
	struct pollfd fd;

	if (pvio == NULL)
		return true;			/* the library will say what happened */
	if (pvio->cache + pvio->cache_size > pvio->cache_pos)
		return true;
	if (stream->maybe_buffered)
		return true;
	fd.fd = mysql_get_socket(stream->mysql);
	fd.events = POLLIN;
	fd.revents = 0;
	return poll(&fd, 1, 0) > 0;
}

/* How long the server may be silent. */
static long
silence_limit_ms(TapMysqlStream *stream)
{
	/* finding the position in old files can take long, without a heartbeat */
	if (!stream->any_packet)
		return tap_mysql_read_timeout_ms(stream->session);
	return stream->heartbeat_ms * 2;
}

static void
check_silence(TapMysqlStream *stream)
{
	long		limit = silence_limit_ms(stream);

	if (stream->heard)
	{
		stream->heard = false;
		stream->last_packet = GetCurrentTimestamp();
	}
	else if (TimestampDifferenceExceeds(stream->last_packet, GetCurrentTimestamp(),
										(int) Min(limit, PG_INT32_MAX)))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the source has sent nothing for %ld seconds, not even a heartbeat",
						limit / 1000)));
}

/* Read the next packet; false when none is there. */
static bool
read_packet(TapMysqlStream *stream, const uint8_t **packet, size_t *length)
{
	MARIADB_PVIO *pvio;
	unsigned long got;

	if (!packet_waits(stream))
	{
		check_silence(stream);
		return false;
	}
	(void) tap_mysql_wait_limit(silence_limit_ms(stream));
	got = mysql_net_read_packet(stream->mysql);

	/* by the library's own name, which is not -1 of the returned type */
	if (got == packet_error)
	{
		tap_mysql_check_interrupts();
		tap_mysql_raise(stream->mysql, "read the source's log");
	}
	pvio = stream->mysql->net.pvio;
	stream->maybe_buffered = pvio->ctls != NULL && got >= UNCACHED_BYTES &&
		pvio->cache + pvio->cache_size <= pvio->cache_pos;
	stream->any_packet = stream->heard = true;

	/* there are several packets a transaction, and the clock costs as much */
	if (stream->packets++ % CLOCK_PACKETS == 0)
		stream->last_packet = GetCurrentTimestamp();
	*packet = (const uint8_t *) stream->mysql->net.read_pos;
	*length = got;
	return true;
}

void
tap_mysql_raise_binlog(TapMysqlStream *stream, TapBinlogReader *reader,
					   const TapBinlogEvent *event, TapBinlogStatus status)
{
	int			sqlstate = ERRCODE_DATA_CORRUPTED;

	if (status == TAP_BINLOG_BAD_CHECKSUM || status == TAP_BINLOG_TRUNCATED)
		sqlstate = ERRCODE_CONNECTION_FAILURE;	/* once more may go well */
	else if (status == TAP_BINLOG_UNSUPPORTED || status == TAP_BINLOG_LIMIT)
		sqlstate = ERRCODE_FEATURE_NOT_SUPPORTED;	/* of no single row */
	else if (status == TAP_BINLOG_NO_MEMORY)
		sqlstate = ERRCODE_OUT_OF_MEMORY;
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("could not read event %s of the source's log: %s",
					tap_binlog_event_name(event->type), tap_binlog_message(reader)),
			 errdetail("The event ends at %s:%u.", stream->file, event->next_position)));
}

/* Where the reader is, for positions by file and for messages. */
static void
track_offset(TapMysqlStream *stream, const TapBinlogEvent *event)
{
	uint64		next;

	if (event->inner)
		return;
	if (event->kind == TAP_BINLOG_KIND_ROTATE)
	{
		Size		length = Min(event->u.rotate.file.length, sizeof(stream->file) - 1);

		memcpy(stream->file, event->u.rotate.file.data, length);
		stream->file[length] = '\0';
		stream->offset = event->u.rotate.position;
		if ((event->flags & TAP_BINLOG_FLAG_ARTIFICIAL) == 0 && event->timestamp != 0)
			stream->position_moved |= stream->position.kind == TAP_MYSQL_POSITION_FILE;
		return;
	}
	if ((event->flags & TAP_BINLOG_FLAG_ARTIFICIAL) || event->next_position == 0)
		return;
	/* the log has the lower half only */
	next = (stream->offset & ~UINT64CONST(0xFFFFFFFF)) | event->next_position;
	if (next < stream->offset && stream->offset - next > UINT64CONST(0x80000000))
		next += UINT64CONST(0x100000000);
	stream->offset = next;
}

static void
keep_format_event(TapMysqlStream *stream, const uint8_t *raw, size_t length)
{
	free(stream->format_event);
	stream->format_event = malloc(length);
	if (stream->format_event == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memcpy(stream->format_event, raw, length);
	stream->format_length = (uint32) length;
}

/* Parse and handle one event. */
static void
take_event(TapMysqlStream *stream, const uint8_t *raw, size_t length, bool inner)
{
	TapBinlogStatus status;

	status = inner ? tap_binlog_parse_inner(stream->reader, raw, length, &stream->event) :
		tap_binlog_parse_event(stream->reader, raw, length, &stream->event);
	if (status != TAP_BINLOG_OK)
		tap_mysql_raise_binlog(stream, stream->reader, &stream->event, status);
	if (stream->event.kind == TAP_BINLOG_KIND_FORMAT_DESCRIPTION)
		keep_format_event(stream, raw, length);
	track_offset(stream, &stream->event);
	tap_mysql_handle_event(stream, raw, length);
}

/* Go on with the compressed transaction that is being read. */
static void
take_inner(TapMysqlStream *stream)
{
	const uint8_t *packet;
	size_t		length;
	int			result = tap_binlog_payload_next(stream->payload, &packet, &length);

	if (result > 0)
	{
		take_event(stream, packet, length, true);
		return;
	}
	tap_binlog_payload_close(stream->payload);
	stream->payload = NULL;
	if (result < 0)
		tap_mysql_raise_binlog(stream, stream->reader, &stream->payload_event,
							   tap_binlog_status(stream->reader));
}

/* Read and handle the next packet; false when none is there. */
static bool
take_packet(TapMysqlStream *stream)
{
	const uint8_t *packet;
	size_t		length;

	if (!read_packet(stream, &packet, &length))
		return false;
	if (packet[0] == PACKET_KIND_END && length < 9)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the source has ended the stream of its log")));
	if (packet[0] != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the source sent a packet of unknown kind %u", packet[0])));
	take_event(stream, packet + 1, length - 1, false);
	return true;
}

/* ---------------------------------------------------------------------
 * Events for the core
 * ---------------------------------------------------------------------
 */

TapEvent *
tap_mysql_queue(TapMysqlStream *stream, TapEventKind kind)
{
	TapEvent   *event;

	if (stream->queue_count == stream->queue_size)
	{
		int			size = Max(8, stream->queue_size * 2);

		stream->queue = stream->queue ?
			repalloc(stream->queue, sizeof(TapEvent) * size) :
			MemoryContextAlloc(stream->context, sizeof(TapEvent) * size);
		stream->queue_size = size;
	}
	event = &stream->queue[stream->queue_count++];
	memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->commit_time = stream->txn.time;
	return event;
}

/* Whether the position should be told although there is more to read. */
static bool
position_is_due(TapMysqlStream *stream)
{
	return stream->position_moved && !stream->txn.open &&
		TimestampDifferenceExceeds(stream->position_told, stream->last_packet,
								   POSITION_INTERVAL_MS);
}

static TapEventKind
tell(TapMysqlStream *stream, TapEvent *event)
{
	stream->last_kind = event->kind;
	if (event->kind == TAP_EVENT_COMMIT || event->kind == TAP_EVENT_HEARTBEAT)
	{
		stream->position_moved = false;
		stream->position_told = stream->last_packet;
	}
	return event->kind;
}

static TapEventKind
tell_position(TapMysqlStream *stream, TapEvent *event)
{
	memset(event, 0, sizeof(*event));
	event->kind = TAP_EVENT_HEARTBEAT;
	event->commit_time = stream->txn.time;
	return tell(stream, event);
}

/* One step; false when there is nothing to read now. */
static bool
advance(TapMysqlStream *stream)
{
	if (stream->replay != NULL)
		return tap_mysql_replay_next(stream);
	if (stream->payload != NULL)
	{
		take_inner(stream);
		return true;
	}
	return take_packet(stream);
}

/* Whether the core has handled all that was queued, but for a commit. */
static bool
is_handled(const TapMysqlStream *stream)
{
	return stream->queue_next >= stream->queue_count ||
		stream->queue[stream->queue_next].kind == TAP_EVENT_COMMIT;
}

static TapEventKind
next_event(TapMysqlStream *stream, TapEvent *event)
{
	bool		replaying = stream->replay != NULL;
	int			steps = 0;

	for (;;)
	{
		if (stream->new_names != NIL && is_handled(stream))
			tap_mysql_ask_of_new_names(stream);
		if (stream->queue_next < stream->queue_count)
		{
			*event = stream->queue[stream->queue_next++];
			return tell(stream, event);
		}
		if (stream->in_rows && tap_mysql_next_row(stream, event))
			return tell(stream, event);
		if (stream->commit_pending && !replaying)
		{
			stream->commit_pending = false;
			(void) tap_mysql_queue(stream, TAP_EVENT_COMMIT);
			continue;
		}
		if (position_is_due(stream) && !replaying)
			return tell_position(stream, event);
		if ((++steps & 0xFF) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!advance(stream))
			break;
		if (stream->queue_next == 0 && stream->queue_count == 0 && !stream->in_rows)
			MemoryContextReset(stream->event_context);
	}
	if (stream->position_moved && !stream->txn.begun && !replaying)
		return tell_position(stream, event);
	memset(event, 0, sizeof(*event));
	return TAP_EVENT_NONE;
}

TapEventKind
tap_mysql_stream_next(TapSession *session, TapEvent *event)
{
	TapMysqlStream *stream = session->stream;
	MemoryContext old;
	TapEventKind kind;

	if (stream->queue_next >= stream->queue_count && stream->queue_count > 0)
	{
		stream->queue_next = stream->queue_count = 0;
		MemoryContextReset(stream->queue_context);
	}
	MemoryContextReset(stream->event_context);
	old = MemoryContextSwitchTo(stream->event_context);
	kind = next_event(stream, event);
	MemoryContextSwitchTo(old);
	return kind;
}

void
tap_mysql_stream_wait(TapSession *session, TapWait *wait)
{
	TapMysqlStream *stream = session->stream;
	long		left;

	left = silence_limit_ms(stream) -
		TimestampDifferenceMilliseconds(stream->last_packet, GetCurrentTimestamp());
	wait->socket = mysql_get_socket(stream->mysql);
	wait->events = WL_SOCKET_READABLE;
	wait->timeout_ms = Max(left, 0) + 100;
	if (packet_waits(stream))
		wait->timeout_ms = 0;
}

char *
tap_mysql_stream_position(TapSession *session)
{
	return tap_mysql_position_text(&session->stream->position);
}

bool
tap_mysql_txn_covered(TapSession *session, const char *position)
{
	TapMysqlStream *stream = session->stream;
	const TapMysqlTxn *txn = &stream->txn;
	TapMysqlPosition start;

	if (stream->covered_text == NULL || strcmp(stream->covered_text, position) != 0)
	{
		tap_mysql_position_free(&stream->covered);
		tap_mysql_position_parse(position, session->server.is_mariadb, &stream->covered);
		stream->covered_text = MemoryContextStrdup(stream->context, position);
	}
	switch (stream->covered.kind)
	{
		case TAP_MYSQL_POSITION_GTID:
			return txn->has_gtid &&
				tap_gtid_set_contains(&stream->covered.gtids, txn->gtid.uuid,
									  txn->gtid.tag, (int64) txn->gtid.gno);
		case TAP_MYSQL_POSITION_MARIADB:
			return tap_maria_gtid_covers(&stream->covered.list, txn->maria);
		case TAP_MYSQL_POSITION_FILE:
			break;
	}
	/* positions lie between transactions, so its beginning tells */
	memset(&start, 0, sizeof(start));
	strlcpy(start.file, txn->file, sizeof(start.file));
	start.offset = txn->offset;
	return tap_mysql_position_before(&start, &stream->covered);
}
