/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_xa.c
 *	  Prepared (XA) transactions: kept at their prepare, told at their commit.
 *
 * NOTES
 *	  The log has the rows of an XA transaction at its prepare; whether they
 *	  count is known only later, perhaps days later and in another file.  So
 *	  the events are given to the core to keep, in pieces that can each be read
 *	  alone: the format description, then for each rows event its table map and
 *	  itself.  In a piece each event is preceded by its length and a byte that
 *	  is 1 for an event without checksum (from a compressed transaction).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include "utils/memutils.h"

/* A piece is handed over when it has grown so large. */
#define PIECE_BYTES		(256 * 1024)
#define EVENT_HEADER	5

/* The bytes of a table map, ready to be put into a piece. */
typedef struct StagedMap
{
	uint64		table_id;
	StringInfoData bytes;
} StagedMap;

static void
append_event(StringInfo out, const void *raw, uint32 length, bool inner)
{
	appendBinaryStringInfo(out, (const char *) &length, sizeof(length));
	appendStringInfoChar(out, inner ? 1 : 0);
	appendBinaryStringInfo(out, raw, (int) length);
}

/* The table map of an id in this transaction, or NULL. */
static StagedMap *
find_map(TapMysqlStream *stream, uint64 table_id)
{
	ListCell   *cell;

	foreach(cell, stream->maps)
	{
		StagedMap  *map = lfirst(cell);

		if (map->table_id == table_id)
			return map;
	}
	return NULL;
}

void
tap_mysql_note_map(TapMysqlStream *stream, const uint8_t *raw, size_t length)
{
	uint64		table_id = stream->event.u.table->table_id;
	MemoryContext old;
	StagedMap  *map;

	if (!stream->txn.prepared || stream->replay != NULL)
		return;
	old = MemoryContextSwitchTo(stream->txn_context);
	map = find_map(stream, table_id);
	if (map == NULL)
	{
		map = palloc0(sizeof(StagedMap));
		map->table_id = table_id;
		initStringInfo(&map->bytes);
		stream->maps = lappend(stream->maps, map);
	}
	resetStringInfo(&map->bytes);
	append_event(&map->bytes, raw, (uint32) length, stream->event.inner);
	MemoryContextSwitchTo(old);
}

void
tap_mysql_stage_rows(TapMysqlStream *stream, const uint8_t *raw, size_t length)
{
	TapBinlogTable *table = stream->event.u.rows.table;
	StagedMap  *map;

	/* whether its table is followed matters at the commit, not now */
	if (table == NULL)
		return;
	map = find_map(stream, table->table_id);
	if (map == NULL)
		return;
	if (stream->stage == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(stream->context);

		stream->stage = makeStringInfo();
		MemoryContextSwitchTo(old);
	}
	if (stream->stage->len == 0)
		append_event(stream->stage, stream->format_event, stream->format_length, false);
	appendBinaryStringInfo(stream->stage, map->bytes.data, map->bytes.len);
	append_event(stream->stage, raw, (uint32) length, stream->event.inner);
	if (stream->stage->len >= PIECE_BYTES)
		tap_mysql_stage_flush(stream, false);
}

void
tap_mysql_stage_flush(TapMysqlStream *stream, bool always)
{
	Size		length = stream->stage ? stream->stage->len : 0;
	TapEvent   *event;
	char	   *copy;

	/* also a transaction without followed rows is kept, to be known later */
	if (length == 0 && (!always || stream->txn.staged))
		return;
	tap_mysql_begin(stream);
	copy = MemoryContextAlloc(stream->queue_context, length + 1);
	if (length > 0)
		memcpy(copy, stream->stage->data, length);
	event = tap_mysql_queue(stream, TAP_EVENT_STAGE);
	event->staged_id = MemoryContextStrdup(stream->queue_context, stream->txn.xid);
	event->staged_data = copy;
	event->staged_bytes = length;
	event->bytes = length;
	stream->txn.staged = true;
	if (stream->stage != NULL)
		resetStringInfo(stream->stage);
}

/* ---------------------------------------------------------------------
 * At the commit
 * ---------------------------------------------------------------------
 */

void
tap_mysql_unstage(TapSession *session, const char *data, Size bytes)
{
	TapMysqlStream *stream = session->stream;

	stream->replay = MemoryContextAllocHuge(stream->context, bytes + 1);
	memcpy(stream->replay, data, bytes);
	stream->replay_bytes = bytes;
	stream->replay_at = 0;
	tap_binlog_reset(stream->stage_reader);
}

/* The checksum of a kept event was checked when it came; it is so again. */
static TapBinlogStatus
parse_kept(TapMysqlStream *stream, const uint8_t *raw, uint32 length, bool inner)
{
	if (inner)
		return tap_binlog_parse_inner(stream->stage_reader, raw, length, &stream->event);
	return tap_binlog_parse_event(stream->stage_reader, raw, length, &stream->event);
}

bool
tap_mysql_replay_next(TapMysqlStream *stream)
{
	const uint8_t *at = (const uint8_t *) stream->replay + stream->replay_at;
	uint32		length;
	TapBinlogStatus status;

	if (stream->replay_bytes - stream->replay_at < EVENT_HEADER)
	{
		pfree(stream->replay);
		stream->replay = NULL;
		return false;
	}
	memcpy(&length, at, sizeof(length));
	if (length > stream->replay_bytes - stream->replay_at - EVENT_HEADER)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("what was kept of a prepared transaction is damaged"),
				 errhint("Copy the tables again with tapdata.resync().")));
	stream->replay_at += EVENT_HEADER + length;
	status = parse_kept(stream, at + EVENT_HEADER, length, at[sizeof(length)] != 0);
	if (status != TAP_BINLOG_OK)
		tap_mysql_raise_binlog(stream, stream->stage_reader, &stream->event, status);
	tap_mysql_handle_event(stream, at + EVENT_HEADER, length);
	return true;
}
