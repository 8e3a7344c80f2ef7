/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_event.c
 *	  What the messages of the stream are for the core.
 *
 * NOTES
 *	  BEGIN is told to the core at the first change that it wants, so that it
 *	  sees no other transactions.  The message of that change stays pending
 *	  meanwhile, and while a SCHEMA event goes before it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/timestamp.h"

TapEventKind
tap_pg_stream_tell(TapPgStream *stream, TapEvent *event, TapEventKind kind)
{
	event->kind = kind;
	event->commit_time = stream->commit_time;
	event->bytes = stream->bytes;
	stream->bytes = 0;
	if (kind == TAP_EVENT_COMMIT || kind == TAP_EVENT_HEARTBEAT)
	{
		stream->moved = false;
		stream->told_at = GetCurrentTimestamp();
	}
	return kind;
}

static TapEventKind
tell_schema(TapPgStream *stream, TapPgStreamTable *table, TapEvent *event)
{
	table->schema_due = false;
	event->schema = table->schema;
	event->table = table->source;
	event->table_data = table->table_data;
	event->old_name = table->old_name;
	event->renames = table->renames;
	return tap_pg_stream_tell(stream, event, TAP_EVENT_SCHEMA);
}

static TapEventKind
tell_begin(TapPgStream *stream, TapEvent *event)
{
	stream->begun = true;
	return tap_pg_stream_tell(stream, event, TAP_EVENT_BEGIN);
}

/* A table's format, without a change; NONE: it is known. */
static TapEventKind
take_format(TapPgStream *stream, TapPgStreamTable *table, TapEvent *event)
{
	tap_pg_stream_need_format(stream, table);
	if (!table->schema_due)
		return TAP_EVENT_NONE;
	return stream->begun ? tell_schema(stream, table, event) : tell_begin(stream, event);
}

/* A table whose format an event trigger told; NONE: it was taken. */
static TapEventKind
take_announced(TapPgStream *stream, TapEvent *event)
{
	TapPgStreamTable *table = tap_pg_stream_announced(stream);
	TapEventKind kind = table ? take_format(stream, table, event) : TAP_EVENT_NONE;

	if (kind == TAP_EVENT_NONE)
		tap_pg_stream_announced_end(stream);
	return kind;
}

/* A change of a table; NONE: it is not followed. */
static TapEventKind
take_change(TapPgStream *stream, Oid relid, TapEvent *event)
{
	TapPgStreamTable *table = tap_pg_stream_table(stream, relid);

	if (table == NULL)
		return TAP_EVENT_NONE;

	/* what is left out still tells of a new format */
	if (stream->echo)
		return take_format(stream, table, event);
	if (!stream->begun)
		return tell_begin(stream, event);
	tap_pg_stream_need_format(stream, table);
	if (table->schema_due)
		return tell_schema(stream, table, event);
	stream->last_table = table;
	event->table = table->source;
	event->table_data = table->table_data;
	if (stream->message.kind == TAP_PGOUTPUT_TRUNCATE)
	{
		stream->next_truncated++;
		event->change = TAP_CHANGE_TRUNCATE;
		return tap_pg_stream_tell(stream, event, TAP_EVENT_CHANGE);
	}
	stream->pending = false;	/* also when it cannot be read */
	tap_pg_stream_change(stream, table, event);
	return tap_pg_stream_tell(stream, event, TAP_EVENT_CHANGE);
}

/* A table that was dropped; NONE: it was not followed. */
static TapEventKind
take_dropped(TapPgStream *stream, TapEvent *event)
{
	event->table_data = tap_pg_stream_dropped(stream, &event->old_name);
	if (event->table_data == NULL)
		return TAP_EVENT_NONE;
	if (!stream->begun)
		return tell_begin(stream, event);
	event->schema = TAP_SCHEMA_DROPPED;
	return tap_pg_stream_tell(stream, event, TAP_EVENT_SCHEMA);
}

static TapEventKind
take_truncate(TapPgStream *stream, TapEvent *event)
{
	while (stream->next_truncated < stream->message.nrelations)
	{
		TapEventKind kind;

		kind = take_change(stream, stream->message.relations[stream->next_truncated], event);
		if (kind != TAP_EVENT_NONE)
			return kind;
		stream->next_truncated++;
	}
	stream->pending = false;
	return TAP_EVENT_NONE;
}

static TapEventKind
take_commit(TapPgStream *stream, TapEvent *event)
{
	bool		begun = stream->begun;

	stream->in_txn = false;
	stream->begun = false;
	stream->committed = true;
	stream->position.lsn = stream->message.end_lsn;
	stream->commit_time = stream->message.time_us;
	stream->moved = true;
	return begun ? tap_pg_stream_tell(stream, event, TAP_EVENT_COMMIT) : TAP_EVENT_NONE;
}

/*
 * Whether a transaction of this replication origin is left out.  The origins
 * of publish pipelines are named by their identities, in which the number of
 * the pipeline is behind the last slash.
 */
static bool
is_echo(const TapPgStream *stream, const char *origin)
{
	static const char prefix[] = "tapdata_";
	const TapSession *session = stream->session;
	const char *ignored = tap_pg_option(session, "ignore_published", "none");
	const char *identity = session->args.pipeline_identity;
	const char *slash = identity ? strrchr(identity, '/') : NULL;

	/* PostgreSQL 16 leaves them out by itself */
	if (strcmp(tap_pg_option(session, "source_origin", "any"), "none") == 0)
		return true;
	if (strcmp(ignored, "none") == 0 || strncmp(origin, prefix, strlen(prefix)) != 0)
		return false;
	if (strcmp(ignored, "all") == 0)
		return true;
	return slash != NULL &&
		strncmp(origin + strlen(prefix), identity, slash - identity + 1) == 0;
}

/* Between BEGIN and COMMIT, whichever way they come. */
static void
take_begin(TapPgStream *stream)
{
	stream->in_txn = true;
	stream->begun = stream->echo = false;
	stream->xid = stream->message.xid;
	stream->commit_lsn = stream->message.lsn;
	stream->commit_time = stream->message.time_us;
}

/* Messages of transactions in progress. */
static void
take_streamed(TapPgStream *stream)
{
	switch (stream->message.kind)
	{
		case TAP_PGOUTPUT_STREAM_START:
			tap_pg_spool_begin(stream);
			break;
		case TAP_PGOUTPUT_STREAM_STOP:
			tap_pg_spool_end(stream);
			break;
		case TAP_PGOUTPUT_STREAM_ABORT:
			tap_pg_spool_abort(stream);
			break;
		case TAP_PGOUTPUT_STREAM_COMMIT:
			tap_pg_spool_commit(stream);
			take_begin(stream);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("the source sent a message of kind %d, which was not asked for",
							stream->message.kind)));
	}
}

TapEventKind
tap_pg_stream_take_message(TapPgStream *stream, TapEvent *event)
{
	const TapPgoutputMessage *message = &stream->message;
	TapEventKind kind = TAP_EVENT_NONE;

	switch (message->kind)
	{
		case TAP_PGOUTPUT_INSERT:
		case TAP_PGOUTPUT_UPDATE:
		case TAP_PGOUTPUT_DELETE:
			kind = take_change(stream, message->relation, event);
			if (kind == TAP_EVENT_NONE)
				stream->pending = false;
			return kind;
		case TAP_PGOUTPUT_TRUNCATE:
			return take_truncate(stream, event);
		case TAP_PGOUTPUT_BEGIN:
			take_begin(stream);
			break;
		case TAP_PGOUTPUT_COMMIT:
			kind = take_commit(stream, event);
			break;
		case TAP_PGOUTPUT_RELATION:
			if (!message->announced)
				tap_pg_stream_relation(stream);
			else if ((kind = take_announced(stream, event)) != TAP_EVENT_NONE)
				return kind;
			break;
		case TAP_PGOUTPUT_LOGICAL:
			if (tap_pg_stream_ddl(stream))
				return TAP_EVENT_NONE;
			break;
		case TAP_PGOUTPUT_DROPPED:
			kind = take_dropped(stream, event);
			if (kind == TAP_EVENT_BEGIN)
				return kind;
			break;
		case TAP_PGOUTPUT_ORIGIN:
			stream->echo = is_echo(stream, message->name);
			break;
		case TAP_PGOUTPUT_TYPE:
			break;
		default:
			take_streamed(stream);
	}
	stream->pending = false;
	return kind;
}
