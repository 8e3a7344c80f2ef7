/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_sink.c
 *	  PostgreSQL as a target: the sink's callbacks.
 *
 * NOTES
 *	  When a batch is sent: at once when nothing more is there to be written;
 *	  while behind when it is full, or when the target has nothing to do and
 *	  the batch is worth a transaction, or when it grows old.  While batches
 *	  are on their way the next is filled, so that the target's work and ours
 *	  overlap, and batches grow with the target's load.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "mb/pg_wchar.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A batch of this size is worth a transaction of its own. */
#define WORTH_BYTES		(256 * 1024)

/* Rows are not kept back for longer, not even while behind. */
#define MAX_AGE_MS		100

/* Values are written as text for a few types: always in the same way. */
static void
pin_output(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "3"},
		{"bytea_output", "hex"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_USERSET, PGC_S_SESSION);
}

/*
 * Triggers and foreign keys of the target see rows that the hub has checked
 * already, so they are left out where that is permitted.
 */
static void
set_replication_role(TapSession *session)
{
	const char *role = tap_pg_option(session, "replication_role", "auto");
	TapPgError *error;

	if (strcmp(role, "origin") == 0)
		return;
	if (tap_pg_try_query(session, &error, "SET session_replication_role = 'replica'") == NULL &&
		(strcmp(role, "replica") == 0 || error->sqlstate != ERRCODE_INSUFFICIENT_PRIVILEGE))
		tap_pg_raise(error, "set session_replication_role at the target", NULL,
					 "Run at the target as superuser (PostgreSQL 15 and later): GRANT SET ON PARAMETER session_replication_role TO the connection's user; or set the option \"replication_role\" to origin.");
}

static uint64
start(TapSession *session)
{
	MemoryContext context = AllocSetContextCreate(session->args.context, "tapdata postgres sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TapPgSink  *sink = palloc0(sizeof(TapPgSink));
	int64		bytes = tap_pg_core->option_int(session->args.pipeline_options, "batch_bytes");

	session->sink = sink;
	sink->context = context;
	sink->value_context = AllocSetContextCreate(context, "tapdata postgres values",
												ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&sink->scratch);
	initStringInfo(&sink->old_scratch);
	initStringInfo(&sink->new_scratch);
	initStringInfo(&sink->copy_data);
	sink->batch_bytes = bytes;
	sink->overwrite = strcmp(tap_pg_option(session, "conflicts", "error"), "overwrite") == 0;
	sink->keeps_dead_letters = strcmp(tap_pg_option(session, "on_error", "stop"), "dead_letter") == 0;
	sink->batch = tap_pg_batch_create(session);
	MemoryContextSwitchTo(old);

	pin_output();
	set_replication_role(session);
	sink->sent_position = tap_pg_progress_start(session);
	tap_pg_origin_setup(session);
	sink->durable = sink->sent_position;
	sink->end_lsn = sink->sent_position;
	return sink->sent_position;
}

static void
set_position(TapSession *session, uint64 position)
{
	tap_pg_leave_pipeline(session);
	tap_pg_progress_set(session, position);
	session->sink->end_lsn = position;
}

static bool
is_full(const TapPgSink *sink)
{
	return sink->batch->bytes >= sink->batch_bytes;
}

static void
begin(TapSession *session, const TapOutTxn *txn)
{
	(void) txn;
	session->sink->in_txn = true;
}

static bool
write_change(TapSession *session, const TapOutChange *change)
{
	if (change->kind == TAP_CHANGE_READ)
		return tap_pg_copy_row(session, change);
	tap_pg_batch_add(session, change);
	return is_full(session->sink);
}

static bool
commit(TapSession *session, const TapOutTxn *txn)
{
	session->sink->in_txn = false;
	session->sink->end_lsn = txn->end_lsn;
	return is_full(session->sink);
}

static bool
is_old(const TapPgBatch *batch)
{
	return batch->since != 0 &&
		TimestampDifferenceExceeds(batch->since, GetCurrentTimestamp(), MAX_AGE_MS);
}

static bool
should_send(const TapPgSink *sink, bool idle)
{
	bool		something = sink->batch->nruns > 0 ||
	(!sink->in_txn && sink->end_lsn > sink->sent_position);

	if (!something || sink->nsent == TAP_PG_MAX_BATCHES)
		return false;
	if (is_full(sink))
		return true;
	if (sink->in_txn)
		return false;
	return idle || (sink->nsent == 0 && sink->batch->bytes >= WORTH_BYTES) || is_old(sink->batch);
}

static uint64
flush(TapSession *session, bool wait, bool idle)
{
	TapPgSink  *sink = session->sink;

	if (sink->copying != NULL)
	{
		tap_pg_copy_send(session, wait);
		return sink->durable;
	}
	tap_pg_receive(session);
	if (wait && is_full(sink))
		tap_pg_wait_batches(session, TAP_PG_MAX_BATCHES - 1);
	if (should_send(sink, idle))
		tap_pg_send_batch(session);
	return sink->durable;
}

static void
flush_wait(TapSession *session, TapWait *wait)
{
	TapPgSink  *sink = session->sink;

	wait->socket = PGINVALID_SOCKET;
	wait->timeout_ms = -1;
	if (sink->nsent == 0 && sink->copying == NULL)
	{
		/* what is kept back grows old */
		if (sink->batch->nruns > 0)
			wait->timeout_ms = MAX_AGE_MS;
		return;
	}
	wait->socket = PQsocket(session->conn);
	wait->events = WL_SOCKET_READABLE;
	if (PQflush(session->conn) > 0)
		wait->events |= WL_SOCKET_WRITEABLE;
}

const TapSinkCallbacks tap_pg_sink_callbacks = {
	.start = start,
	.prepare_table = tap_pg_prepare_table,
	.copy_begin = tap_pg_copy_begin,
	.copy_end = tap_pg_copy_end,
	.set_position = set_position,
	.begin = begin,
	.write = write_change,
	.commit = commit,
	.flush = flush,
	.flush_wait = flush_wait,
	.idle = NULL,
};
