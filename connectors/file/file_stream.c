/*-------------------------------------------------------------------------
 *
 * connectors/file/file_stream.c
 *	  Files as transactions.
 *
 * NOTES
 *	  A file is read in transactions of about TXN_BYTES; each notes how far it
 *	  came.  In mode replace the file is one transaction, as the differences
 *	  to its former content are one change of the table.
 *
 *	  Of the position only the commits are counted while files are read; its
 *	  time moves when what a look at the folders found unread has been read,
 *	  see file_scan.c.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_stream.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#define TXN_BYTES		(1024 * 1024)
#define DAY_NS			(INT64CONST(86400) * 1000000000)
#define NOTE_TABLES		"tables"

/* ---------------------------------------------------------------------
 * Beginning
 * ---------------------------------------------------------------------
 */

static void
load_options(TapSession *session)
{
	TapFileStream *stream = session->stream;
	const TapOptions *options = session->args->options;

	stream->settle_ms = tap_file_core->option_int(options, "settle_ms");
	stream->poll_ms = tap_file_core->option_int(options, "poll_ms");
	stream->max_record_bytes = tap_file_core->option_int(options, "max_record_bytes");
	stream->max_expansion = tap_file_core->option_int(options, "max_expansion");
	stream->forget_ns = tap_file_core->option_int(options, "forget_days") * DAY_NS;
	stream->require_newline = tap_file_core->option_bool(options, "require_newline");
}

/* Hand the notes' entries to their tables; those of fresh ones are void. */
static void
load_ledger(TapSession *session, List *fresh)
{
	ListCell   *cell;

	foreach(cell, tap_file_ledger_load(session))
	{
		TapFileEntry *entry = lfirst(cell);
		bool		is_fresh = false;
		ListCell   *name;

		foreach(name, fresh)
			is_fresh |= strcmp(((TapTableName *) lfirst(name))->name,
							   entry->table->name.name) == 0;
		if (is_fresh)
			tap_file_ledger_drop(entry);
		else
			entry->table->entries = lappend(entry->table->entries, entry);
	}
}

static void
take_note(void *arg, const char *key, const char *value)
{
	*(char **) arg = pstrdup(value);
}

/*
 * With other patterns there may be files that are older than all that was
 * covered.
 */
static void
note_tables(TapSession *session)
{
	StringInfoData tables;
	char	   *before = NULL;
	ListCell   *cell;

	/* tables that turn up in a folder are told by its own change */
	if (session->folder &&
		tap_file_core->option_text(session->args->options, "tables") == NULL)
		return;
	initStringInfo(&tables);
	foreach(cell, session->tables)
		appendStringInfo(&tables, "%s\n%s\n", ((TapFileTable *) lfirst(cell))->name.name,
						 ((TapFileTable *) lfirst(cell))->pattern);
	tap_file_core->recall(NOTE_TABLES, take_note, &before);
	if (before != NULL && strcmp(before, tables.data) == 0)
		return;
	session->stream->covered = 0;
	tap_file_core->remember(NOTE_TABLES, tables.data);
}

void
tap_file_stream_start(TapSession *session, const TapStreamArgs *args)
{
	MemoryContext old = MemoryContextSwitchTo(session->args->context);
	TapFileStream *stream = palloc0(sizeof(TapFileStream));

	session->stream = stream;
	stream->args = *args;
	stream->scan_context = AllocSetContextCreate(session->args->context, "tapdata file scan",
												 ALLOCSET_DEFAULT_SIZES);
	stream->watch = tap_file_watch_begin();
	load_options(session);
	if (args->position != NULL)
		tap_file_position_parse(args->position, &stream->covered, &stream->steps);
	if (args->fresh != NIL)
		stream->covered = 0;
	tap_file_tables_load(session);
	note_tables(session);
	load_ledger(session, args->fresh);
	MemoryContextSwitchTo(old);
}

void
tap_file_stream_refollow(TapSession *session)
{
	ListCell   *cell;

	foreach(cell, session->tables)
		((TapFileTable *) lfirst(cell))->asked = false;

	/* a table that is wanted now has files that were passed over */
	session->stream->changed = true;
}

/* ---------------------------------------------------------------------
 * Events
 * ---------------------------------------------------------------------
 */

static TapEventKind
table_event(TapFileStream *stream, TapEvent *event, TapEventKind kind)
{
	event->kind = kind;
	event->table = stream->read->source;
	event->table_data = stream->read->entry->table->table_data;
	return kind;
}

static TapEventKind
schema_event(TapSession *session, TapEvent *event)
{
	TapFileStream *stream = session->stream;
	TapFileTable *table = stream->read->entry->table;

	stream->read->schema_due = false;
	table->definition = MemoryContextStrdup(session->args->context,
											stream->read->source->definition);
	event->schema = TAP_SCHEMA_ALTERED;
	return table_event(stream, event, TAP_EVENT_SCHEMA);
}

static TapEventKind
row_event(TapFileStream *stream, TapEvent *event, Size bytes)
{
	TapFileMode mode = stream->read->entry->table->mode;

	event->change = TAP_CHANGE_INSERT;
	event->new_row.slot = stream->read->slot;
	event->lenient = mode == TAP_FILE_UPSERT;
	event->bytes = bytes;
	stream->read->txn_bytes += bytes;
	if (mode != TAP_FILE_REPLACE && stream->read->txn_bytes >= TXN_BYTES)
		stream->phase = TAP_FILE_PHASE_COMMIT;
	return table_event(stream, event, TAP_EVENT_CHANGE);
}

/* Half of a file says nothing of the rows that it does not have. */
static TapEventKind
compared_event(TapFileStream *stream, TapEvent *event)
{
	TapFileEntry *entry = stream->read->entry;

	if (!stream->read->given_up)
		return table_event(stream, event, TAP_EVENT_COMPARE_END);
	tap_file_core->event("file left out", &entry->table->name,
						 psprintf("the end of \"%s\" cannot be read, so the table stays as it was",
								  entry->path));
	return table_event(stream, event, TAP_EVENT_COMPARE_GIVEN_UP);
}

static void
end_file(TapFileStream *stream)
{
	if (stream->read != NULL)
		tap_file_read_end(stream->read);
	stream->read = NULL;
	stream->entry = NULL;

	/* it may have been the last that was left */
	if (stream->queue == NIL)
		stream->changed = true;
}

/* Of the others of such a table nothing is known any more, now as after a restart. */
static void
forget_older(TapFileEntry *newest)
{
	ListCell   *cell;

	foreach(cell, newest->table->entries)
	{
		TapFileEntry *entry = lfirst(cell);

		if (entry == newest || !entry->noted)
			continue;
		tap_file_ledger_drop(entry);
		tap_file_ledger_reset(entry);
	}
}

/* A file says what was true when it was written. */
static TimestampTz
time_of(const TapFileEntry *entry)
{
	return entry->found.mtime / 1000 -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static TapEventKind
commit_event(TapFileStream *stream, TapEvent *event)
{
	TapFileRead *read = stream->read;

	event->commit_time = time_of(stream->entry);
	if (read != NULL)
	{
		tap_file_read_save(read);
		if (read->entry->table->mode == TAP_FILE_REPLACE)
			forget_older(read->entry);
		read->txn_bytes = 0;
	}
	stream->steps++;
	stream->moved = false;
	stream->phase = TAP_FILE_PHASE_BETWEEN;
	stream->compared = false;
	if (read == NULL || read->ended)
		end_file(stream);
	event->kind = TAP_EVENT_COMMIT;
	return event->kind;
}

/* The event of a file that is being read; NONE: ask again, in the next phase. */
static TapEventKind
file_event(TapSession *session, TapEvent *event)
{
	TapFileStream *stream = session->stream;
	bool		replace = stream->entry->table->mode == TAP_FILE_REPLACE;
	Size		bytes;

	switch (stream->phase)
	{
		case TAP_FILE_PHASE_BETWEEN:
			stream->phase = stream->read == NULL ? TAP_FILE_PHASE_OPEN :
				TAP_FILE_PHASE_SCHEMA;
			event->kind = TAP_EVENT_BEGIN;
			return TAP_EVENT_BEGIN;
		case TAP_FILE_PHASE_OPEN:
			stream->phase = TAP_FILE_PHASE_COMMIT;
			stream->read = tap_file_read_begin(session, stream->entry);
			if (stream->read != NULL)
				stream->phase = TAP_FILE_PHASE_SCHEMA;
			return TAP_EVENT_NONE;
		case TAP_FILE_PHASE_SCHEMA:
			stream->phase = replace && !stream->compared ? TAP_FILE_PHASE_COMPARE :
				TAP_FILE_PHASE_ROWS;
			return stream->read->schema_due ? schema_event(session, event) : TAP_EVENT_NONE;
		case TAP_FILE_PHASE_COMPARE:
			stream->phase = TAP_FILE_PHASE_ROWS;
			stream->compared = true;
			return table_event(stream, event, TAP_EVENT_COMPARE_BEGIN);
		case TAP_FILE_PHASE_ROWS:
			switch (tap_file_read_next(session, stream->read, &bytes))
			{
				case TAP_FILE_READ_ROW:
					return row_event(stream, event, bytes);
				case TAP_FILE_READ_ALTERED:
					stream->phase = TAP_FILE_PHASE_SCHEMA;
					return TAP_EVENT_NONE;
				case TAP_FILE_READ_END:
					stream->phase = replace ? TAP_FILE_PHASE_COMPARED : TAP_FILE_PHASE_COMMIT;
					return TAP_EVENT_NONE;
			}
			break;
		case TAP_FILE_PHASE_COMPARED:
			stream->phase = TAP_FILE_PHASE_COMMIT;
			return compared_event(stream, event);
		case TAP_FILE_PHASE_COMMIT:
			return commit_event(stream, event);
	}
	return TAP_EVENT_NONE;
}

/* Whether a file is to be read, of a table that the core wants. */
static bool
has_file(TapSession *session)
{
	TapFileStream *stream = session->stream;

	if (stream->phase != TAP_FILE_PHASE_BETWEEN)
		return true;
	if (stream->entry != NULL && !tap_file_followed(session, stream->entry->table))
		end_file(stream);
	while (stream->entry == NULL && stream->queue != NIL)
	{
		TapFileEntry *entry = linitial(stream->queue);

		stream->queue = list_delete_first(stream->queue);
		if (tap_file_followed(session, entry->table))
			stream->entry = entry;
	}
	return stream->entry != NULL;
}

/* Look at the folders if there is a reason to. */
static void
look(TapSession *session)
{
	TapFileStream *stream = session->stream;
	int64		now = tap_file_clock();
	TimestampTz awaited = tap_file_core->awaited();

	stream->changed |= tap_file_watch_changed(stream->watch);
	stream->changed |= awaited != stream->awaited;
	stream->awaited = awaited;
	if ((stream->changed && now >= stream->scan_not_before) || now >= stream->scan_at)
		tap_file_scan(session);
}

TapEventKind
tap_file_stream_next(TapSession *session, TapEvent *event)
{
	TapFileStream *stream = session->stream;

	memset(event, 0, sizeof(TapEvent));
	if (stream->entry == NULL && stream->queue == NIL)
		look(session);
	if (has_file(session))
	{
		TapEventKind kind;

		do
		{
			kind = file_event(session, event);
		} while (kind == TAP_EVENT_NONE);
		return kind;
	}
	if (stream->moved)
	{
		stream->moved = false;
		event->kind = TAP_EVENT_HEARTBEAT;
	}
	return event->kind;
}

void
tap_file_stream_wait(TapSession *session, TapWait *wait)
{
	TapFileStream *stream = session->stream;
	int64		until = stream->changed ?
	Min(stream->scan_at, stream->scan_not_before) : stream->scan_at;

	wait->socket = stream->changed ? PGINVALID_SOCKET : tap_file_watch_socket(stream->watch);
	wait->events = wait->socket == PGINVALID_SOCKET ? 0 : WL_SOCKET_READABLE;
	wait->timeout_ms = Max(until - tap_file_clock(), 0);
}

char *
tap_file_stream_position(TapSession *session)
{
	return tap_file_position_text(session->stream->covered, session->stream->steps);
}

char *
tap_file_describe_event(TapSession *session)
{
	TapFileStream *stream = session->stream;

	if (stream == NULL || stream->entry == NULL)
		return pstrdup("{}");
	return tap_file_read_describe(stream->entry, stream->read);
}
