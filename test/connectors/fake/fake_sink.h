/*-------------------------------------------------------------------------
 *
 * test/connectors/fake/fake_sink.h
 *	  A sink that writes what it is given to a text file, or only counts it.
 *
 * Two connectors are made of it: tapdata_fake.c, whose target cannot hold a
 * position, and tapdata_fakestore.c, whose target does, in the same file.
 * Who includes this defines struct TapSession with a member "sink", and "core".
 *
 * NOTES
 *	  Fields of a line are separated by tabs and escaped as COPY does it; \N is
 *	  a null, \? a value that was not sent.  Lines:
 *
 *		table NAME DDL COLUMN TYPE ...			prepare_table(): DDL is
 *												"new", "changed", or after a
 *												restart "resumed" if it was
 *												changed, else "known"; then
 *												the key: keys N COLUMN ...
 *		copy NAME AGAIN							copy_begin()
 *		read NAME LSN NUMBER 0 COLUMN VALUE ...
 *		copied NAME
 *		position LSN							set_position()
 *		begin XID LSN END_LSN COMMIT_TIME ORIGIN CHANGES
 *		insert NAME LSN NUMBER 0 COLUMN VALUE ...
 *		update NAME LSN NUMBER N COLUMN VALUE ...	N pairs are the old row's
 *		delete NAME LSN NUMBER N COLUMN VALUE ...
 *		truncate NAME LSN NUMBER 0
 *		commit LSN								its position
 *		idle LSN								only with the option log_idle
 *
 *	  Lines are durable when flush() has written them and called fsync().  A
 *	  target that holds the position takes it from the last line of commit,
 *	  copied or position, and cuts off what is behind that.
 *
 *	  A file PATH.fault with "CALL N SQLSTATE message" makes the Nth call of a
 *	  callback fail, counted from when the file is there ("always CALL N ..."
 *	  every one from the Nth on); but for "always" it is deleted then.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef FAKE_SINK_H
#define FAKE_SINK_H

#include "postgres.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlogdefs.h"
#include "connector.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LOCK_POLL_MS	10

/* A change that the target refuses, until flush() reports it. */
typedef struct FakeRefusal
{
	TapTableName table;
	char	   *change;
	uint64		lsn;
} FakeRefusal;

typedef struct FakeSink
{
	MemoryContext context;
	bool		holds_position;
	bool		discard;
	bool		durable;		/* else nothing is ever acknowledged */
	bool		log_idle;
	int			delay_ms;		/* of acknowledgements */
	Size		buffer_bytes;	/* after which a flush is asked for */
	const char *refuse;			/* a value that the target refuses, or NULL */

	char	   *path;
	int			file;			/* -1: none */
	StringInfoData pending;		/* lines to be written */
	uint64		pending_position;	/* behind the last commit in them */
	List	   *refusals;		/* of FakeRefusal * */

	uint64		acknowledged;	/* what flush() returns */
	uint64		under_way;		/* written, acknowledged at ready_at; 0: none */
	TimestampTz ready_at;

	/* the fault that was asked for */
	struct timespec fault_since;	/* of its file */
	int			fault_calls;
} FakeSink;

static FakeSink *fake_sink_of(TapSession *session);

#include "fake_lines.h"

/* ---------------------------------------------------------------------
 * Beginning
 * ---------------------------------------------------------------------
 */

static FakeSink *
fake_sink_open(const TapSessionArgs *args, bool holds_position)
{
	const TapOptions *options = args->pipeline_options;
	MemoryContext before = MemoryContextSwitchTo(args->context);
	FakeSink   *sink = palloc0(sizeof(FakeSink));

	sink->context = args->context;
	sink->holds_position = holds_position;
	sink->discard = strcmp(core->option_text(options, "mode"), "discard") == 0;
	sink->durable = core->option_bool(options, "durable");
	sink->log_idle = core->option_bool(options, "log_idle");
	sink->delay_ms = core->option_int(options, "ack_delay_ms");
	sink->buffer_bytes = core->option_int(options, "buffer_bytes");
	sink->refuse = core->option_text(options, "refuse");
	sink->path = psprintf("/%s", args->uri->path ? args->uri->path : "");
	initStringInfo(&sink->pending);
	MemoryContextSwitchTo(before);

	sink->file = -1;
	fake_fault(sink, "open");
	if (sink->discard)
		return sink;
	sink->file = open(sink->path, O_RDWR | O_CREAT | O_APPEND, 0600);
	if (sink->file < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not open \"%s\": %m", sink->path)));
	return sink;
}

static void
fake_sink_close(FakeSink *sink)
{
	if (sink->file >= 0)
		close(sink->file);
	sink->file = -1;
}

/* The position that a line sets, 0: it sets none; *whole: all before is. */
static uint64
fake_line_position(const char *line, bool *whole)
{
	uint32		high;
	uint32		low;

	*whole = strncmp(line, "copied\t", 7) == 0 || strncmp(line, "table\t", 6) == 0;
	if (sscanf(line, "commit\t%X/%X", &high, &low) != 2 &&
		sscanf(line, "position\t%X/%X", &high, &low) != 2)
		return 0;
	*whole = true;
	return (uint64) high << 32 | low;
}

/*
 * Find the last position in the file, and cut off what is behind it; or only
 * half a line, where the target holds none.
 */
static uint64
fake_recover(FakeSink *sink)
{
	FILE	   *file = fopen(sink->path, "r");
	char	   *line = NULL;
	size_t		size = 0;
	ssize_t		length;
	off_t		end = 0;
	off_t		keep = 0;
	uint64		position = 0;

	if (file == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not open \"%s\": %m", sink->path)));
	while ((length = getline(&line, &size, file)) > 0 && line[length - 1] == '\n')
	{
		bool		whole;
		uint64		found = fake_line_position(line, &whole);

		end += length;
		if (found != 0)
			position = found;
		if (whole || !sink->holds_position)
			keep = end;
	}
	free(line);
	fclose(file);
	if (ftruncate(sink->file, keep) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not shorten \"%s\": %m", sink->path)));
	return sink->holds_position ? position : 0;
}

static uint64
fake_start(TapSession *session)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "start");
	if (sink->discard)
		return 0;

	/* an earlier session that still writes must have ended */
	while (flock(sink->file, LOCK_EX | LOCK_NB) != 0)
		(void) core->wait_socket(PGINVALID_SOCKET, 0, LOCK_POLL_MS);
	sink->acknowledged = fake_recover(sink);
	return sink->acknowledged;
}

static void *
fake_prepare_table(TapSession *session, const TapSourceTable *table,
				   const TapSourceTable *old, void *old_data, bool known)
{
	FakeSink   *sink = fake_sink_of(session);
	StringInfo	line = &sink->pending;

	fake_fault(sink, "prepare_table");
	if (sink->discard)
		return NULL;
	if (old == NULL && old_data != NULL)
		elog(ERROR, "a table without an old format has old data");
	appendStringInfoString(line, "table");
	fake_append_name(line, &table->name);
	fake_append_field(line, old_data ? "changed" : old ? "resumed" : known ? "known" : "new");
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		fake_append_field(line, NameStr(TupleDescAttr(table->descriptor, i)->attname));
		fake_append_field(line, table->column_types[i]);
	}
	appendStringInfo(line, "\tkeys\t%d", table->nkeys);
	for (int i = 0; i < table->nkeys; i++)
		fake_append_field(line, NameStr(TupleDescAttr(table->descriptor, table->keys[i] - 1)->attname));
	appendStringInfoChar(line, '\n');
	fake_write_pending(sink);
	return sink;
}

/* ---------------------------------------------------------------------
 * The copy
 * ---------------------------------------------------------------------
 */

static void
fake_copy_begin(TapSession *session, const TapSourceTable *table, void *table_data,
				bool again)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "copy_begin");
	if (sink->discard)
		return;
	appendStringInfoString(&sink->pending, "copy");
	fake_append_name(&sink->pending, &table->name);
	appendStringInfo(&sink->pending, "\t%d\n", again);
}

static void
fake_copy_end(TapSession *session, const TapSourceTable *table, void *table_data)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "copy_end");
	if (sink->discard)
		return;
	appendStringInfoString(&sink->pending, "copied");
	fake_append_name(&sink->pending, &table->name);
	appendStringInfoChar(&sink->pending, '\n');
	fake_write_pending(sink);
}

static void
fake_set_position(TapSession *session, uint64 position)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "set_position");
	if (!sink->discard)
	{
		appendStringInfo(&sink->pending, "position\t%X/%X\n", LSN_FORMAT_ARGS(position));
		fake_write_pending(sink);
	}
	sink->acknowledged = position;
}

/* ---------------------------------------------------------------------
 * The stream
 * ---------------------------------------------------------------------
 */

static void
fake_begin(TapSession *session, const TapOutTxn *txn)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "begin");
	if (sink->discard)
		return;
	appendStringInfo(&sink->pending, "begin\t%u\t%X/%X\t%X/%X", txn->xid,
					 LSN_FORMAT_ARGS(txn->commit_lsn), LSN_FORMAT_ARGS(txn->end_lsn));
	fake_append_field(&sink->pending, timestamptz_to_str(txn->commit_time));
	if (txn->origin != NULL)
		fake_append_field(&sink->pending, txn->origin);
	else
		appendStringInfoString(&sink->pending, "\t\\N");
	appendStringInfo(&sink->pending, "\t" INT64_FORMAT "\n", txn->nchanges);
}

/* The line becomes a dead letter instead. */
static void
fake_refuse(FakeSink *sink, const TapOutChange *change, int start)
{
	MemoryContext before = MemoryContextSwitchTo(sink->context);
	FakeRefusal *refusal = palloc0(sizeof(FakeRefusal));
	const TapTableName *name = &change->table->name;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"line\": ");
	escape_json(&json, sink->pending.data + start);
	appendStringInfoChar(&json, '}');
	refusal->table.schema = name->schema ? pstrdup(name->schema) : NULL;
	refusal->table.name = pstrdup(name->name);
	refusal->change = json.data;
	refusal->lsn = change->lsn;
	sink->refusals = lappend(sink->refusals, refusal);
	sink->pending.len = start;
	sink->pending.data[start] = '\0';
	MemoryContextSwitchTo(before);
}

static bool
fake_write(TapSession *session, const TapOutChange *change)
{
	static const char *const kinds[] = {
		[TAP_CHANGE_INSERT] = "insert",
		[TAP_CHANGE_UPDATE] = "update",
		[TAP_CHANGE_DELETE] = "delete",
		[TAP_CHANGE_TRUNCATE] = "truncate",
		[TAP_CHANGE_READ] = "read"
	};
	FakeSink   *sink = fake_sink_of(session);
	StringInfo	line = &sink->pending;
	int			start = line->len;
	bool		refused = false;

	if (sink->discard)
		return false;
	fake_fault(sink, "write");
	if (change->table_data != sink)
		elog(ERROR, "a change comes without its table's data");
	appendStringInfoString(line, kinds[change->kind]);
	fake_append_name(line, &change->table->name);
	appendStringInfo(line, "\t%X/%X\t" INT64_FORMAT "\t%d", LSN_FORMAT_ARGS(change->lsn),
					 change->number,
					 change->old_row.slot ? change->old_row.slot->tts_tupleDescriptor->natts : 0);
	if (change->old_row.slot != NULL)
		refused = fake_append_image(sink, line, &change->old_row);
	if (change->new_row.slot != NULL)
		refused = fake_append_image(sink, line, &change->new_row) || refused;
	if (refused)
		fake_refuse(sink, change, start);
	else
		appendStringInfoChar(line, '\n');
	return line->len > sink->buffer_bytes;
}

static bool
fake_commit(TapSession *session, const TapOutTxn *txn)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "commit");
	sink->pending_position = txn->end_lsn;
	if (sink->discard)
		return false;
	appendStringInfo(&sink->pending, "commit\t%X/%X\n", LSN_FORMAT_ARGS(txn->end_lsn));
	return sink->pending.len > sink->buffer_bytes;
}

static void
fake_report_refusals(FakeSink *sink)
{
	List	   *refusals = sink->refusals;
	ListCell   *cell;

	sink->refusals = NIL;
	foreach(cell, refusals)
	{
		FakeRefusal *refusal = lfirst(cell);

		core->dead_letter(&refusal->table, refusal->change, refusal->lsn,
						  ERRCODE_CHECK_VIOLATION, "the fake target does not like the value");
	}
}

/* Take the acknowledgement of what is under way, if it has come. */
static void
fake_acknowledge_written(FakeSink *sink, bool wait)
{
	while (sink->under_way != 0)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), sink->ready_at);

		if (left <= 0)
		{
			sink->acknowledged = sink->under_way;
			sink->under_way = 0;
		}
		else if (wait)
			(void) core->wait_socket(PGINVALID_SOCKET, 0, left);
		else
			return;
	}
}

static uint64
fake_flush(TapSession *session, bool wait, bool idle)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "flush");
	fake_acknowledge_written(sink, wait);
	if (sink->under_way == 0)
	{
		fake_report_refusals(sink);
		if (!sink->discard)
			fake_write_pending(sink);
		if (sink->durable && sink->pending_position > sink->acknowledged)
		{
			sink->under_way = sink->pending_position;
			sink->ready_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), sink->delay_ms);
			if (sink->delay_ms == 0)
				fake_acknowledge_written(sink, false);
		}
	}
	return sink->durable ? sink->acknowledged : 0;
}

static void
fake_flush_wait(TapSession *session, TapWait *wait)
{
	FakeSink   *sink = fake_sink_of(session);

	wait->socket = PGINVALID_SOCKET;
	wait->events = 0;
	wait->timeout_ms = -1;
	if (sink->under_way != 0)
		wait->timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), sink->ready_at);
}

static void
fake_idle(TapSession *session, uint64 position)
{
	FakeSink   *sink = fake_sink_of(session);

	fake_fault(sink, "idle");
	if (!sink->log_idle || sink->discard)
		return;
	appendStringInfo(&sink->pending, "idle\t%X/%X\n", LSN_FORMAT_ARGS(position));
	fake_write_pending(sink);
}

/* ---------------------------------------------------------------------
 * What the connectors have of it
 * ---------------------------------------------------------------------
 */

/* Whether the file can be written; List of TapCheck *. */
static List *
fake_sink_test(const TapSessionArgs *args)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));
	char	   *path = psprintf("/%s", args->uri->path ? args->uri->path : "");
	int			file = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);

	check->name = "file";
	check->required = true;
	check->ok = file >= 0;
	check->detail = check->ok ? pstrdup("is writable") : psprintf("%s: %m", path);
	check->hint = check->ok ? NULL : pstrdup("Create the folder.");
	check->sqlstate = ERRCODE_CONNECTION_FAILURE;
	if (file >= 0)
		close(file);
	return list_make1(check);
}

static const char *const fake_sink_modes[] = {"file", "discard", NULL};

#define FAKE_SINK_OPTIONS \
	{.name = "mode",.type = TAP_OPTION_ENUM,.scope = TAP_SCOPE_PUBLISH, \
		.default_value = "file",.values = fake_sink_modes, \
	.help = "write lines to the file, or discard all"}, \
	{.name = "durable",.type = TAP_OPTION_BOOL,.scope = TAP_SCOPE_PUBLISH, \
		.default_value = "true", \
	.help = "whether what is written is ever acknowledged"}, \
	{.name = "log_idle",.type = TAP_OPTION_BOOL,.scope = TAP_SCOPE_PUBLISH, \
		.default_value = "false", \
	.help = "write a line for each call of idle()"}, \
	{.name = "ack_delay_ms",.type = TAP_OPTION_INT,.scope = TAP_SCOPE_PUBLISH, \
		.default_value = "0",.minimum = 0,.maximum = 60000, \
	.help = "time from a write to its acknowledgement"}, \
	{.name = "buffer_bytes",.type = TAP_OPTION_INT,.scope = TAP_SCOPE_PUBLISH, \
		.default_value = "1048576",.minimum = 0,.maximum = 1073741823, \
	.help = "bytes after which a flush is asked for"}, \
	{.name = "refuse",.type = TAP_OPTION_TEXT,.scope = TAP_SCOPE_PUBLISH, \
	.help = "a value that the target refuses"}

static const TapSinkCallbacks fake_sink_callbacks = {
	.start = fake_start,
	.prepare_table = fake_prepare_table,
	.copy_begin = fake_copy_begin,
	.copy_end = fake_copy_end,
	.set_position = fake_set_position,
	.begin = fake_begin,
	.write = fake_write,
	.commit = fake_commit,
	.flush = fake_flush,
	.flush_wait = fake_flush_wait,
	.idle = fake_idle
};

#endif							/* FAKE_SINK_H */
