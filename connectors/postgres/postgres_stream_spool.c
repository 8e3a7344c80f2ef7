/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_spool.c
 *	  Transactions in progress, kept in temporary files until they end.
 *
 * NOTES
 *	  A source sends a large transaction in parts, between STREAM_START and
 *	  STREAM_STOP, before it knows whether it will be committed.  Its messages
 *	  go to a file, each after four bytes of its length, and are read from
 *	  there as if they came from the source when it is committed.  The file
 *	  need not outlive us: whatever was not committed before the position is
 *	  sent again from its beginning when the stream begins anew.
 *
 *	  All that is behind the first change of a subtransaction when that is
 *	  aborted is its own, or its children's: the file is cut there.  Only the
 *	  formats of tables are kept, since the source does not tell them again.
 *	  The numbers of children are greater than their parents', so that the
 *	  list of subtransactions, in their order, is cut likewise.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

/* Written and read in blocks of so many bytes. */
#define BLOCK_BYTES		(128 * 1024)

typedef struct Subtransaction
{
	uint32		xid;
	off_t		offset;			/* of its first change */
} Subtransaction;

/* The newest format of a table that was told. */
typedef struct Relation
{
	Oid			relid;
	off_t		offset;
	char	   *message;
	int			bytes;
} Relation;

struct TapPgSpool
{
	uint32		xid;
	MemoryContext context;
	File		file;			/* 0: none yet */
	off_t		size;			/* with what is in the buffer */
	Subtransaction *subtransactions;	/* by their numbers */
	int			nsubtransactions;
	int			max_subtransactions;
	List	   *relations;		/* of Relation * */

	/* when it is committed */
	uint64		end_lsn;
	TimestampTz commit_time;
	off_t		offset;			/* of the file, behind the block */
	char	   *block;
	int			block_bytes;
	int			block_next;
	char	   *message;
	int			max_message;
};

static void raise_protocol(const char *what, uint32 xid) __attribute__((noreturn));
static void raise_file(const char *what) __attribute__((noreturn));

static void
raise_protocol(const char *what, uint32 xid)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the source sent %s of transaction %u, which it did not begin", what, xid)));
}

static void
raise_file(const char *what)
{
	/* a write that is too short sets no error */
	if (errno == 0)
		errno = ENOSPC;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not %s the temporary file of a transaction in progress: %m", what)));
}

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

static void
flush(TapPgStream *stream, TapPgSpool *spool)
{
	StringInfo	out = &stream->spool_buffer;
	off_t		offset = spool->size - out->len;

	for (int done = 0; done < out->len;)
	{
		int			written;

		errno = 0;
		written = FileWrite(spool->file, out->data + done, out->len - done, offset + done,
							WAIT_EVENT_BUFFILE_WRITE);
		if (written <= 0)
			raise_file("write to");
		done += written;
	}
	resetStringInfo(out);
}

static void
append(TapPgStream *stream, TapPgSpool *spool, const char *message, int bytes)
{
	StringInfo	out = &stream->spool_buffer;

	/*
	 * a large one by itself, so that the buffer need not grow to twice its
	 * size
	 */
	if (out->len + bytes > BLOCK_BYTES)
		flush(stream, spool);
	appendBinaryStringInfo(out, (char *) &bytes, sizeof(bytes));
	appendBinaryStringInfo(out, message, bytes);
	spool->size += sizeof(bytes) + bytes;
	if (out->len > BLOCK_BYTES)
		flush(stream, spool);
}

/* Where a subtransaction is in the list, or would be. */
static int
find_subtransaction(const TapPgSpool *spool, uint32 xid)
{
	int			low = 0;
	int			high = spool->nsubtransactions;

	/* numbers wrap around, but within a transaction they grow */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (spool->subtransactions[middle].xid - spool->xid < xid - spool->xid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
note_subtransaction(TapPgSpool *spool, uint32 xid)
{
	int			at = find_subtransaction(spool, xid);

	if (at < spool->nsubtransactions && spool->subtransactions[at].xid == xid)
		return;
	if (spool->nsubtransactions == spool->max_subtransactions)
	{
		int			max = Max(64, spool->max_subtransactions * 2);
		Size		bytes = sizeof(Subtransaction) * (Size) max;

		spool->subtransactions = spool->subtransactions == NULL ?
			MemoryContextAlloc(spool->context, bytes) :
			repalloc_huge(spool->subtransactions, bytes);
		spool->max_subtransactions = max;
	}
	memmove(&spool->subtransactions[at + 1], &spool->subtransactions[at],
			sizeof(Subtransaction) * (Size) (spool->nsubtransactions - at));
	spool->subtransactions[at].xid = xid;

	/*
	 * What is already there with a greater number is within this one, and may
	 * have changed something before it.
	 */
	spool->subtransactions[at].offset = at < spool->nsubtransactions ?
		spool->subtransactions[at + 1].offset : spool->size;
	spool->nsubtransactions++;
}

static void
note_relation(TapPgSpool *spool, Oid relid, const char *message, int bytes)
{
	MemoryContext old = MemoryContextSwitchTo(spool->context);
	Relation   *relation = NULL;
	ListCell   *cell;

	foreach(cell, spool->relations)
	{
		Relation   *known = lfirst(cell);

		if (known->relid == relid)
			relation = known;
	}
	if (relation == NULL)
	{
		relation = palloc0(sizeof(Relation));
		relation->relid = relid;
		spool->relations = lappend(spool->relations, relation);
	}
	else
		pfree(relation->message);
	relation->offset = spool->size;
	relation->message = memcpy(palloc(bytes), message, bytes);
	relation->bytes = bytes;
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------------
 * Transactions
 * ---------------------------------------------------------------------
 */

static TapPgSpool *
find_spool(TapPgStream *stream, uint32 xid)
{
	ListCell   *cell;

	foreach(cell, stream->spools)
	{
		TapPgSpool *spool = lfirst(cell);

		if (spool->xid == xid)
			return spool;
	}
	return NULL;
}

static void
drop_spool(TapPgStream *stream, TapPgSpool *spool)
{
	stream->spools = list_delete_ptr(stream->spools, spool);
	if (spool->file != 0)
		FileClose(spool->file);
	MemoryContextDelete(spool->context);
}

static TapPgSpool *
create_spool(TapPgStream *stream, uint32 xid)
{
	MemoryContext context = AllocSetContextCreate(stream->context, "tapdata postgres spool",
												  ALLOCSET_SMALL_SIZES);
	TapPgSpool *spool = MemoryContextAllocZero(context, sizeof(TapPgSpool));
	MemoryContext old = MemoryContextSwitchTo(stream->context);

	spool->xid = xid;
	spool->context = context;
	if (stream->spool_buffer.data == NULL)
		initStringInfo(&stream->spool_buffer);
	stream->spools = lappend(stream->spools, spool);
	MemoryContextSwitchTo(old);

	/*
	 * not of the hub's transaction, if there is one: it lives until it is
	 * closed
	 */
	spool->file = OpenTemporaryFile(true);
	return spool;
}

void
tap_pg_spool_begin(TapPgStream *stream)
{
	const TapPgoutputMessage *message = &stream->message;
	TapPgSpool *spool = find_spool(stream, message->xid);

	if (message->first_segment)
	{
		if (spool != NULL)
			drop_spool(stream, spool);
		spool = create_spool(stream, message->xid);
	}
	else if (spool == NULL)
		raise_protocol("a further part", message->xid);
	stream->spooling = spool;
}

void
tap_pg_spool_end(TapPgStream *stream)
{
	if (stream->spooling != NULL)
		flush(stream, stream->spooling);
	stream->spooling = NULL;
}

void
tap_pg_spool_keep(TapPgStream *stream, const char *data, int bytes)
{
	const TapPgoutputMessage *message = &stream->message;
	TapPgSpool *spool = stream->spooling;

	switch (message->kind)
	{
		case TAP_PGOUTPUT_TYPE:
		case TAP_PGOUTPUT_ORIGIN:
			return;
		case TAP_PGOUTPUT_RELATION:
		case TAP_PGOUTPUT_INSERT:
		case TAP_PGOUTPUT_UPDATE:
		case TAP_PGOUTPUT_DELETE:
		case TAP_PGOUTPUT_TRUNCATE:
		case TAP_PGOUTPUT_LOGICAL:
			break;
		default:
			raise_protocol("a message of another kind within a part", spool->xid);
	}
	if (message->xid != spool->xid)
		note_subtransaction(spool, message->xid);
	if (message->kind == TAP_PGOUTPUT_RELATION)
		note_relation(spool, message->relation, data, bytes);
	append(stream, spool, data, bytes);
}

/* Cut off what a subtransaction has done, but for the formats that were told. */
static void
abort_subtransaction(TapPgStream *stream, TapPgSpool *spool, uint32 xid)
{
	int			at = find_subtransaction(spool, xid);
	off_t		end;
	ListCell   *cell;

	/* it may have changed nothing that is published */
	if (at == spool->nsubtransactions || spool->subtransactions[at].xid != xid)
		return;
	end = spool->subtransactions[at].offset;
	if (FileTruncate(spool->file, end, WAIT_EVENT_BUFFILE_TRUNCATE) != 0)
		raise_file("truncate");
	spool->size = end;
	spool->nsubtransactions = at;
	foreach(cell, spool->relations)
	{
		Relation   *relation = lfirst(cell);

		if (relation->offset < end)
			continue;
		relation->offset = spool->size;
		append(stream, spool, relation->message, relation->bytes);
	}
	flush(stream, spool);
}

void
tap_pg_spool_abort(TapPgStream *stream)
{
	const TapPgoutputMessage *message = &stream->message;
	TapPgSpool *spool = find_spool(stream, message->xid);

	if (spool == NULL)
		raise_protocol("an abort", message->xid);
	if (message->subxid == message->xid)
		drop_spool(stream, spool);
	else
		abort_subtransaction(stream, spool, message->subxid);
}

void
tap_pg_spool_commit(TapPgStream *stream)
{
	const TapPgoutputMessage *message = &stream->message;
	TapPgSpool *spool = find_spool(stream, message->xid);

	if (spool == NULL)
		raise_protocol("the commit", message->xid);
	spool->end_lsn = message->end_lsn;
	spool->commit_time = message->time_us;
	spool->block = MemoryContextAlloc(spool->context, BLOCK_BYTES);
	stream->replay = spool;
	tap_pgoutput_set_in_stream(stream->decoder, true);
}

void
tap_pg_spool_close(TapPgStream *stream)
{
	ListCell   *cell;

	foreach(cell, stream->spools)
	{
		TapPgSpool *spool = lfirst(cell);

		if (spool->file != 0)
			FileClose(spool->file);
	}
	stream->spools = NIL;
	stream->spooling = stream->replay = NULL;
}

void
tap_pg_spool_reset(TapPgStream *stream)
{
	while (stream->spools != NIL)
		drop_spool(stream, linitial(stream->spools));
	stream->spooling = stream->replay = NULL;
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

static void
read_block(TapPgSpool *spool)
{
	int			wanted = (int) Min((off_t) BLOCK_BYTES, spool->size - spool->offset);

	errno = 0;
	spool->block_bytes = wanted == 0 ? 0 :
		FileRead(spool->file, spool->block, wanted, spool->offset, WAIT_EVENT_BUFFILE_READ);
	if (spool->block_bytes < 0)
		raise_file("read");
	if (spool->block_bytes == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the temporary file of a transaction in progress is too short")));
	spool->offset += spool->block_bytes;
	spool->block_next = 0;
}

static void
read_bytes(TapPgSpool *spool, char *to, int bytes)
{
	while (bytes > 0)
	{
		int			part;

		if (spool->block_next == spool->block_bytes)
			read_block(spool);
		part = Min(bytes, spool->block_bytes - spool->block_next);
		memcpy(to, spool->block + spool->block_next, part);
		spool->block_next += part;
		to += part;
		bytes -= part;
	}
}

/* Its end: as if a COMMIT had come. */
static void
end_replay(TapPgStream *stream)
{
	TapPgSpool *spool = stream->replay;

	stream->replay = NULL;
	tap_pgoutput_set_in_stream(stream->decoder, false);
	memset(&stream->message, 0, sizeof(stream->message));
	stream->message.kind = TAP_PGOUTPUT_COMMIT;
	stream->message.end_lsn = spool->end_lsn;
	stream->message.time_us = spool->commit_time;
	drop_spool(stream, spool);
}

char *
tap_pg_spool_next(TapPgStream *stream, int *bytes)
{
	TapPgSpool *spool = stream->replay;

	if (spool->offset == spool->size && spool->block_next == spool->block_bytes)
	{
		end_replay(stream);
		return NULL;
	}
	read_bytes(spool, (char *) bytes, sizeof(*bytes));
	if (*bytes >= spool->max_message)
	{
		if (spool->message != NULL)
			pfree(spool->message);
		spool->message = NULL;
		spool->max_message = 0;

		/* a byte more: see tap_pg_read_value() */
		spool->message = MemoryContextAllocHuge(spool->context, (Size) *bytes + 1);
		spool->max_message = *bytes + 1;
	}
	read_bytes(spool, spool->message, *bytes);
	return spool->message;
}
