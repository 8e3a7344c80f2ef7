/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink.c
 *	  MySQL and MariaDB as a target: the callbacks of a sink.
 *
 * NOTES
 *	  Two batches take turns: one is being filled while the other one is
 *	  executed at the target.  A batch is sent when the one before it is done
 *	  and it is full, or old enough, or nothing more is to come now.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Batches are not larger, whatever the option says. */
#define MAX_BATCH_BYTES		(64 * 1024 * 1024)

/* Rows deleted in one transaction before a table is copied again. */
#define DELETE_ROWS			50000

/* ---------------------------------------------------------------------
 * Starting
 * ---------------------------------------------------------------------
 */

static void
read_options(TapMysqlSink *sink)
{
	const TapOptions *options = sink->session->args.pipeline_options;
	const char *ddl = tap_mysql_core->option_text(options, "ddl");
	const char *existing = tap_mysql_core->option_text(options, "existing");

	sink->applies_ddl = strcmp(ddl, "apply") == 0;
	sink->stops_at_ddl = strcmp(ddl, "stop") == 0;
	sink->keeps_existing = strcmp(existing, "keep") == 0;
	sink->empties_existing = strcmp(existing, "truncate") == 0;
	sink->overwrites = strcmp(tap_mysql_core->option_text(options, "conflicts"), "overwrite") == 0;
	sink->checks_foreign_keys = tap_mysql_core->option_bool(options, "foreign_key_checks");
	sink->batch_bytes = Min(tap_mysql_core->option_int(options, "batch_bytes"), MAX_BATCH_BYTES);
	sink->batch_ms = (long) tap_mysql_core->option_int(options, "batch_ms");
}

/* Strict, so that the server refuses what it would else change. */
static void
prepare_session(TapMysqlSink *sink)
{
	char	   *value;

	tap_mysql_sink_run(sink, NULL,
					   psprintf("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,"
								"ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', "
								"foreign_key_checks = %d, sql_safe_updates = 0, "
								"wait_timeout = 31536000", sink->checks_foreign_keys ? 1 : 0),
					   "set up the session");
	tap_mysql_sink_run(sink, NULL, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
					   "set up the session");
	value = tap_mysql_query_value(sink->mysql, "SELECT @@max_allowed_packet");
	sink->packet_bytes = (Size) Min(strtou64(value, NULL, 10), (uint64) MaxAllocSize / 2);
	sink->packet_bytes -= Min(sink->packet_bytes / 4, 4096);
	value = tap_mysql_query_value(sink->mysql, "SELECT @@lower_case_table_names");
	sink->lower_case = value != NULL && strcmp(value, "1") == 0;
	value = tap_mysql_query_value(sink->mysql, "SELECT @@local_infile");
	sink->may_load = value != NULL && (strcmp(value, "1") == 0 || pg_strcasecmp(value, "ON") == 0);
}

/* Texts of types are the same whatever the owner has set for himself. */
static void
prepare_settings(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"bytea_output", "hex"},
		{"extra_float_digits", "3"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION);
}

static uint64
start(TapSession *session)
{
	MemoryContext old = MemoryContextSwitchTo(session->context);
	TapMysqlSink *sink = palloc0(sizeof(TapMysqlSink));

	sink->session = session;
	sink->mysql = session->mysql;
	sink->context = session->context;
	sink->value_context = AllocSetContextCreate(session->context, "tapdata mysql value",
												ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&sink->row);
	initStringInfo(&sink->key);
	initStringInfo(&sink->scratch);
	initStringInfo(&sink->load);
	for (int i = 0; i < lengthof(sink->batches); i++)
		tap_mysql_batch_init(sink, &sink->batches[i]);
	sink->filling = &sink->batches[0];
	session->sink = sink;
	MemoryContextSwitchTo(old);

	prepare_settings();
	read_options(sink);
	prepare_session(sink);
	return tap_mysql_sink_lock(sink);
}

/* ---------------------------------------------------------------------
 * Batches under way
 * ---------------------------------------------------------------------
 */

static TapMysqlSinkBatch *
other_batch(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	return batch == &sink->batches[0] ? &sink->batches[1] : &sink->batches[0];
}

/* Send the batch that was being filled; nothing else is under way. */
static void
send_filled(TapMysqlSink *sink)
{
	TapMysqlSinkBatch *batch = sink->filling;

	batch->first = !sink->open;
	batch->commits = !sink->in_txn;
	if (sink->in_txn)
		batch->lsn = sink->txn_lsn;
	tap_mysql_batch_seal(sink, batch);
	sink->filling = other_batch(sink, batch);
	tap_mysql_sink_send(sink, batch);
}

/* Within a transaction twice as much is taken, so that few of them are cut. */
static bool
is_full(const TapMysqlSink *sink)
{
	Size		limit = sink->in_txn ? sink->batch_bytes * 2 : sink->batch_bytes;

	return tap_mysql_batch_bytes(sink->filling) >= limit;
}

static bool
is_old(const TapMysqlSink *sink)
{
	return TimestampDifferenceExceeds(sink->filling->since, GetCurrentTimestamp(),
									  (int) sink->batch_ms);
}

/* Whether the batch should be sent now; part of a transaction only when it is full. */
static bool
is_ripe(const TapMysqlSink *sink, bool wait, bool idle)
{
	if (!sink->filling->used)
		return false;
	if (sink->filling->has_letters)
		return false;
	if (is_full(sink))
		return true;
	return !sink->in_txn && (wait || idle || is_old(sink));
}

static uint64
flush(TapSession *session, bool wait, bool idle)
{
	TapMysqlSink *sink = session->sink;

	if (sink->uncommitted != NULL)
		tap_mysql_sink_commit_careful(sink);
	if (sink->sent != NULL && !tap_mysql_sink_answers(sink, wait))
		return sink->durable;
	if (sink->uncommitted == NULL && is_ripe(sink, wait, idle))
		send_filled(sink);

	/* the core stores them behind this call; by the next one they are safe */
	sink->filling->has_letters = false;
	return sink->durable;
}

static void
flush_wait(TapSession *session, TapWait *wait)
{
	TapMysqlSink *sink = session->sink;

	wait->socket = PGINVALID_SOCKET;
	wait->events = 0;
	wait->timeout_ms = -1;
	if (sink->uncommitted != NULL)
		wait->timeout_ms = 0;
	else if (sink->sent != NULL)
	{
		wait->socket = mysql_get_socket(sink->mysql);
		wait->events = WL_SOCKET_READABLE;
		wait->timeout_ms = tap_mysql_read_timeout_ms(session) + 100;
	}
	else if (sink->filling->used && !sink->in_txn)
		wait->timeout_ms = 0;
}

/* ---------------------------------------------------------------------
 * Transactions
 * ---------------------------------------------------------------------
 */

static void
begin(TapSession *session, const TapOutTxn *txn)
{
	TapMysqlSink *sink = session->sink;

	sink->in_txn = true;
	sink->txn_lsn = txn->end_lsn;
}

static bool
write_change(TapSession *session, const TapOutChange *change)
{
	TapMysqlSink *sink = session->sink;
	MemoryContext old = MemoryContextSwitchTo(sink->value_context);
	TapMysqlSinkChange made;
	bool		changes_key;

	if (change->kind == TAP_CHANGE_READ && sink->may_load && !sink->keeps_existing)
	{
		tap_mysql_sink_load_row(sink, change->table_data, change);
		MemoryContextSwitchTo(old);
		MemoryContextReset(sink->value_context);
		return sink->load.len >= sink->batch_bytes;
	}
	tap_mysql_sink_make_row(sink, change, &made, &changes_key);
	tap_mysql_batch_add(sink, sink->filling, &made, changes_key);
	sink->filling->copies = change->kind == TAP_CHANGE_READ;
	MemoryContextSwitchTo(old);
	MemoryContextReset(sink->value_context);
	return is_full(sink);
}

static bool
commit(TapSession *session, const TapOutTxn *txn)
{
	TapMysqlSink *sink = session->sink;

	if (!sink->filling->used)
		sink->filling->since = GetCurrentTimestamp();
	sink->filling->used = true;
	sink->filling->lsn = txn->end_lsn;
	sink->in_txn = false;

	/* what was cut is to end with its own transaction */
	return is_full(sink) || sink->open || (sink->sent != NULL && !sink->sent->commits);
}

/* ---------------------------------------------------------------------
 * Copies
 * ---------------------------------------------------------------------
 */

/* Wait until all that was written is at the target. */
static void
finish_all(TapMysqlSink *sink)
{
	for (;;)
	{
		if (sink->uncommitted != NULL)
			tap_mysql_sink_commit_careful(sink);
		if (sink->sent != NULL)
			(void) tap_mysql_sink_answers(sink, true);
		else if (sink->filling->used)
			send_filled(sink);
		else if (sink->uncommitted == NULL)
			break;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Empty a table, in several transactions that a pull of the target knows as
 * ours; TRUNCATE would be a statement of its own in the log.
 */
static void
empty_target(TapMysqlSink *sink, const TapMysqlSinkTable *table)
{
	StringInfoData progress;
	my_ulonglong rows;

	initStringInfo(&progress);
	tap_mysql_sink_append_progress(sink, &progress, 0, 0);
	do
	{
		tap_mysql_sink_run(sink, NULL, "START TRANSACTION", "begin");
		tap_mysql_sink_run(sink, NULL, progress.data, "note the copy");
		tap_mysql_sink_run(sink, table, psprintf("DELETE FROM %s LIMIT %d",
												 tap_mysql_quote_table(&table->target),
												 DELETE_ROWS), "empty table");
		rows = mysql_affected_rows(sink->mysql);
		tap_mysql_sink_run(sink, NULL, "COMMIT", "commit");
		CHECK_FOR_INTERRUPTS();
	} while (rows == DELETE_ROWS);
}

static void
copy_begin(TapSession *session, const TapSourceTable *source, void *table_data, bool again)
{
	TapMysqlSink *sink = session->sink;
	TapMysqlSinkTable *table = table_data;

	finish_all(sink);
	sink->copying = table;
	if (sink->keeps_existing)
		return;
	if (again || sink->empties_existing)
		empty_target(sink, table);
	else if (tap_mysql_query_value(sink->mysql,
								   psprintf("SELECT 1 FROM %s LIMIT 1",
											tap_mysql_quote_table(&table->target))) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" of the target has rows already", table->label),
				 errhint("Empty it, or say by the option \"existing\" what to do with them: truncate, or keep (and merge by key).")));
}

static void
copy_end(TapSession *session, const TapSourceTable *source, void *table_data)
{
	TapMysqlSink *sink = session->sink;

	if (sink->nload > 0)
		tap_mysql_sink_load_rows(sink);
	finish_all(sink);
	sink->copying = NULL;
}

static uint64
flush_sink(TapSession *session, bool wait, bool idle)
{
	TapMysqlSink *sink = session->sink;

	if (sink->nload > 0 && sink->load.len >= sink->batch_bytes)
		tap_mysql_sink_load_rows(sink);
	return flush(session, wait, idle);
}

static void
set_position(TapSession *session, uint64 position)
{
	TapMysqlSink *sink = session->sink;

	finish_all(sink);
	tap_mysql_sink_run(sink, NULL,
					   psprintf("UPDATE %s SET position=" UINT64_FORMAT ", writes=writes+1 WHERE pipeline=%s",
								sink->progress_table, position, sink->identity),
					   "set the position");
	if (mysql_affected_rows(sink->mysql) != 1)
		tap_mysql_sink_progress_lost(sink);
	sink->position = position;
	sink->durable = position;
}

void
tap_mysql_sink_close(TapSession *session)
{
	/* contexts and connection go with the session */
	session->sink = NULL;
}

const TapSinkCallbacks tap_mysql_sink_callbacks = {
	.start = start,
	.prepare_table = tap_mysql_sink_prepare,
	.copy_begin = copy_begin,
	.copy_end = copy_end,
	.set_position = set_position,
	.begin = begin,
	.write = write_change,
	.commit = commit,
	.flush = flush_sink,
	.flush_wait = flush_wait,
	.idle = NULL,
};
