/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_event.c
 *	  Events of the log: where transactions begin and end, and what
 *	  statements in the log mean.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_ddl.h"
#include "mysql_stream.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Microseconds or seconds of Unix to PostgreSQL's clock. */
static TimestampTz
unix_time(uint64 microseconds)
{
	return (TimestampTz) microseconds -
		(TimestampTz) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC;
}

/* ---------------------------------------------------------------------
 * Transactions
 * ---------------------------------------------------------------------
 */

/* A group of events begins. */
static void
open_group(TapMysqlStream *stream)
{
	TapMysqlTxn *txn = &stream->txn;

	MemoryContextReset(stream->txn_context);
	memset(txn, 0, sizeof(*txn));
	stream->maps = NIL;
	if (stream->stage != NULL)
		resetStringInfo(stream->stage);
	txn->open = true;
	strlcpy(txn->file, stream->file, sizeof(txn->file));
	txn->offset = stream->offset - stream->event.event_length;
	txn->time = unix_time((uint64) stream->event.timestamp * USECS_PER_SEC);
}

void
tap_mysql_begin(TapMysqlStream *stream)
{
	if (stream->txn.begun)
		return;
	stream->txn.begun = true;
	(void) tap_mysql_queue(stream, TAP_EVENT_BEGIN);
}

/* The position now covers the group. */
static void
move_position(TapMysqlStream *stream)
{
	TapMysqlTxn *txn = &stream->txn;
	TapGtidStatus status = TAP_GTID_OK;

	switch (stream->position.kind)
	{
		case TAP_MYSQL_POSITION_GTID:
			if (txn->has_gtid)
				status = tap_gtid_set_add(&stream->position.gtids, txn->gtid.uuid,
										  txn->gtid.tag, (int64) txn->gtid.gno);
			break;
		case TAP_MYSQL_POSITION_MARIADB:
			status = tap_maria_gtid_update(&stream->position.list, txn->maria);
			break;
		case TAP_MYSQL_POSITION_FILE:
			strlcpy(stream->position.file, stream->file, sizeof(stream->position.file));
			stream->position.offset = stream->offset;
			break;
	}
	if (status != TAP_GTID_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	stream->position_moved = true;
}

/* A group ends, and with it the core's transaction, if there is one. */
static void
close_group(TapMysqlStream *stream)
{
	TapMysqlTxn *txn = &stream->txn;

	if (!txn->open)
		return;
	move_position(stream);
	if (txn->begun && stream->replay == NULL)
	{
		if (txn->staged && !txn->prepared)
			stream->commit_pending = true;
		else
			(void) tap_mysql_queue(stream, TAP_EVENT_COMMIT);
	}
	txn->open = false;
	txn->begun = false;
}

static void
on_gtid(TapMysqlStream *stream)
{
	const TapBinlogGtid *gtid = &stream->event.u.gtid;

	open_group(stream);
	stream->txn.gtid = *gtid;
	stream->txn.has_gtid = !gtid->anonymous;
	if (gtid->immediate_commit_micros != 0)
		stream->txn.time = unix_time(gtid->immediate_commit_micros);
	if (gtid->anonymous && stream->position.kind == TAP_MYSQL_POSITION_GTID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source has logged a transaction without GTID"),
				 errhint("Set gtid_mode = ON at the source, then copy the tables again with tapdata.resync().")));
}

static char *
xid_of(const TapBinlogXid *xid)
{
	return tap_mysql_xid_text(xid->data, xid->gtrid_length,
							  xid->data + xid->gtrid_length, xid->bqual_length,
							  xid->format_id);
}

static void
start_prepared(TapMysqlStream *stream, const char *xid)
{
	stream->txn.prepared = true;
	stream->txn.in_begin = true;
	stream->txn.xid = MemoryContextStrdup(stream->txn_context, xid);
}

static void
on_mariadb_gtid(TapMysqlStream *stream)
{
	const TapBinlogMariaGtid *gtid = &stream->event.u.maria_gtid;

	open_group(stream);
	stream->txn.maria.domain_id = gtid->domain_id;
	stream->txn.maria.server_id = gtid->server_id;
	stream->txn.maria.sequence = gtid->sequence;
	stream->txn.in_begin = (gtid->flags & TAP_BINLOG_MARIADB_STANDALONE) == 0;
	if (gtid->flags & TAP_BINLOG_MARIADB_PREPARED_XA)
		start_prepared(stream, xid_of(&gtid->xid));
	else if (gtid->flags & TAP_BINLOG_MARIADB_COMPLETED_XA)
		stream->txn.in_begin = false;
	/* a long ALTER TABLE is logged at its start and, in full, at its end */
	if (gtid->extra_flags & (TAP_BINLOG_MARIADB_START_ALTER |
							 TAP_BINLOG_MARIADB_ROLLBACK_ALTER))
		stream->txn.skip_statement = true;
}

/* The rows of a prepared transaction end: it waits for its commit. */
static void
on_xa_prepare(TapMysqlStream *stream)
{
	const TapBinlogXaPrepare *prepare = &stream->event.u.xa_prepare;
	TapEvent   *event;

	if (!stream->txn.prepared)
		start_prepared(stream, xid_of(&prepare->xid));
	tap_mysql_stage_flush(stream, true);
	if (prepare->one_phase)
	{
		event = tap_mysql_queue(stream, TAP_EVENT_STAGED_COMMIT);
		event->staged_id = MemoryContextStrdup(stream->queue_context, stream->txn.xid);
		stream->txn.prepared = false;
		stream->txn.staged = true;
	}
	close_group(stream);
}

/* A prepared transaction ends, in a group of its own. */
static void
end_prepared(TapMysqlStream *stream, const TapMysqlStatement *statement)
{
	bool		commit = statement->kind == TAP_MYSQL_STATEMENT_XA_COMMIT;
	TapEvent   *event;

	tap_mysql_begin(stream);
	event = tap_mysql_queue(stream, commit ? TAP_EVENT_STAGED_COMMIT :
							TAP_EVENT_STAGED_ROLLBACK);
	event->staged_id = MemoryContextStrdup(stream->queue_context, statement->xid);
	stream->txn.staged = commit;
	close_group(stream);
}

static void
set_savepoint(TapMysqlStream *stream, const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(stream->txn_context);
	TapMysqlSavepoint *savepoint = palloc(sizeof(TapMysqlSavepoint));

	savepoint->name = pstrdup(name ? name : "");
	savepoint->changes = stream->txn.changes;
	stream->txn.savepoints = lappend(stream->txn.savepoints, savepoint);
	MemoryContextSwitchTo(old);
}

/*
 * A rollback in the log: the server could not leave the rows out of it, since
 * the transaction changed tables of an engine without transactions, too.
 */
static void
refuse_rollback(TapMysqlStream *stream, uint64 changes)
{
	if (stream->txn.changes == changes)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the source rolled back a transaction whose rows are in its log"),
			 errdetail("The transaction mixes tables of engines with and without transactions; it ends at %s:" UINT64_FORMAT ".",
					   stream->file, stream->offset),
			 errhint("Convert the tables to InnoDB, then copy them again with tapdata.resync().")));
}

static void
on_rollback_to(TapMysqlStream *stream, const char *name)
{
	uint64		changes = 0;
	ListCell   *cell;

	foreach(cell, stream->txn.savepoints)
	{
		TapMysqlSavepoint *savepoint = lfirst(cell);

		if (name != NULL && pg_strcasecmp(savepoint->name, name) == 0)
			changes = savepoint->changes;
	}
	refuse_rollback(stream, changes);
}

/* ---------------------------------------------------------------------
 * Statements
 * ---------------------------------------------------------------------
 */

/* The usual statements, which come with each transaction, without reading. */
static bool
is_text(const TapBinlogString *statement, const char *text)
{
	return statement->length == strlen(text) &&
		memcmp(statement->data, text, statement->length) == 0;
}

static void
on_statement(TapMysqlStream *stream)
{
	TapBinlogQuery query = stream->event.u.query;
	TapMysqlStatement statement;
	char	   *schema = tap_mysql_from_utf8(query.schema.data, query.schema.length);

	tap_mysql_statement_read(&statement, query.statement.data,
							 query.statement.length, schema, query.sql_mode);
	switch (statement.kind)
	{
		case TAP_MYSQL_STATEMENT_BEGIN:
			stream->txn.in_begin = true;
			return;
		case TAP_MYSQL_STATEMENT_COMMIT:
			close_group(stream);
			return;
		case TAP_MYSQL_STATEMENT_ROLLBACK:
			refuse_rollback(stream, 0);
			close_group(stream);
			return;
		case TAP_MYSQL_STATEMENT_SAVEPOINT:
			set_savepoint(stream, statement.savepoint);
			return;
		case TAP_MYSQL_STATEMENT_ROLLBACK_TO:
			on_rollback_to(stream, statement.savepoint);
			return;
		case TAP_MYSQL_STATEMENT_XA_START:
			start_prepared(stream, statement.xid);
			return;
		case TAP_MYSQL_STATEMENT_XA_END:
			return;
		case TAP_MYSQL_STATEMENT_XA_COMMIT:
		case TAP_MYSQL_STATEMENT_XA_ROLLBACK:
			end_prepared(stream, &statement);
			return;
		case TAP_MYSQL_STATEMENT_DML:
			tap_mysql_follow_statement(stream, &statement, &query);
			break;
		default:
			if (!stream->txn.skip_statement)
				tap_mysql_follow_statement(stream, &statement, &query);
			break;
	}
	if (!stream->txn.in_begin)
		close_group(stream);
}

static void
on_query(TapMysqlStream *stream)
{
	const TapBinlogQuery *query = &stream->event.u.query;

	if (is_text(&query->statement, "BEGIN"))
		stream->txn.in_begin = true;
	else if (is_text(&query->statement, "COMMIT"))
		close_group(stream);
	else
		on_statement(stream);
}

/* ---------------------------------------------------------------------
 * All events
 * ---------------------------------------------------------------------
 */

static void
refuse_event(TapMysqlStream *stream, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the source's log has an event %s, which cannot be followed: %s",
					tap_binlog_event_name(stream->event.type), why),
			 errdetail("The event ends at %s:" UINT64_FORMAT ".", stream->file, stream->offset),
			 errhint("%s", hint)));
}

static void
on_payload(TapMysqlStream *stream)
{
	TapBinlogStatus status;

	stream->payload_event = stream->event;
	status = tap_binlog_payload_open(stream->reader, &stream->payload_event,
									 &stream->payload);
	if (status != TAP_BINLOG_OK)
		tap_mysql_raise_binlog(stream, stream->reader, &stream->payload_event, status);
}

/*
 * Between transactions a position by file follows what begins and ends files,
 * too, or it would never meet that of a source at rest.
 */
static void
follow_offset(TapMysqlStream *stream)
{
	TapMysqlPosition *position = &stream->position;

	if (position->kind != TAP_MYSQL_POSITION_FILE || stream->txn.open ||
		(position->offset == stream->offset && strcmp(position->file, stream->file) == 0))
		return;
	strlcpy(position->file, stream->file, sizeof(position->file));
	position->offset = stream->offset;
	stream->position_moved = true;
}

static void
on_rows(TapMysqlStream *stream, const uint8_t *raw, size_t length)
{
	if (stream->replay == NULL && tap_mysql_is_echo(stream, stream->reader))
		return;
	if (stream->txn.prepared && stream->replay == NULL)
		tap_mysql_stage_rows(stream, raw, length);
	else
		tap_mysql_start_rows(stream, stream->replay ? stream->stage_reader : stream->reader);
}

/* Events that mean that changes may be missing. */
static void
on_unusable(TapMysqlStream *stream)
{
	switch (stream->event.kind)
	{
		case TAP_BINLOG_KIND_INCIDENT:
			refuse_event(stream, pnstrdup(stream->event.u.incident.message.data,
										  stream->event.u.incident.message.length),
						 "The source says that changes are missing in its log. Copy the tables again with tapdata.resync().");
			break;
		case TAP_BINLOG_KIND_FRAGMENT:
			refuse_event(stream, "a rows event in pieces",
						 "Raise binlog_row_event_fragment_threshold at the source, then copy the tables again with tapdata.resync().");
			break;
		case TAP_BINLOG_KIND_STATEMENT:
			/* the first three only go before a statement, which is looked at */
			if (stream->event.type != TAP_BINLOG_EVENT_INTVAR &&
				stream->event.type != TAP_BINLOG_EVENT_RAND &&
				stream->event.type != TAP_BINLOG_EVENT_USER_VAR)
				refuse_event(stream, "rows were logged as a statement",
							 "Run at the source: SET GLOBAL binlog_format = 'ROW'; close the sessions that are older, then copy the tables again with tapdata.resync().");
			break;
		default:
			refuse_event(stream, "it is not known",
						 "Report the event and the version of the source.");
			break;
	}
}

void
tap_mysql_handle_event(TapMysqlStream *stream, const uint8_t *raw, size_t length)
{
	switch (stream->event.kind)
	{
		case TAP_BINLOG_KIND_WRITE_ROWS:
		case TAP_BINLOG_KIND_UPDATE_ROWS:
		case TAP_BINLOG_KIND_DELETE_ROWS:
			on_rows(stream, raw, length);
			break;
		case TAP_BINLOG_KIND_TABLE_MAP:
			tap_mysql_note_map(stream, raw, length);
			break;
		case TAP_BINLOG_KIND_GTID:
			on_gtid(stream);
			break;
		case TAP_BINLOG_KIND_MARIADB_GTID:
			on_mariadb_gtid(stream);
			break;
		case TAP_BINLOG_KIND_XID:
			close_group(stream);
			break;
		case TAP_BINLOG_KIND_QUERY:
			on_query(stream);
			break;
		case TAP_BINLOG_KIND_XA_PREPARE:
			on_xa_prepare(stream);
			break;
		case TAP_BINLOG_KIND_PAYLOAD:
			on_payload(stream);
			break;
		case TAP_BINLOG_KIND_ROTATE:
			follow_offset(stream);
			break;
		case TAP_BINLOG_KIND_UNKNOWN:
		case TAP_BINLOG_KIND_INCIDENT:
		case TAP_BINLOG_KIND_STATEMENT:
		case TAP_BINLOG_KIND_FRAGMENT:
			on_unusable(stream);
			break;
		case TAP_BINLOG_KIND_FORMAT_DESCRIPTION:
		case TAP_BINLOG_KIND_PREVIOUS_GTIDS:
			follow_offset(stream);
			break;
		case TAP_BINLOG_KIND_IGNORABLE:
		case TAP_BINLOG_KIND_MARIADB_GTID_LIST:
		case TAP_BINLOG_KIND_HEARTBEAT:
		case TAP_BINLOG_KIND_ROWS_QUERY:
		case TAP_BINLOG_KIND_ENCRYPTED:
			break;
	}
}
