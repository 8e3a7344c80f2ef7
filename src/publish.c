/*-------------------------------------------------------------------------
 *
 * src/publish.c
 *	  The publish pipeline worker: first copy, then the stream.
 *
 * NOTES
 *	  A worker begins where the target and the hub remember it was:
 *
 *	  - nowhere: a slot is made, and all tables are copied as of the slot's
 *		point, from which on they stream;
 *	  - a position: decoding begins there.  Tables that were added since are
 *		copied first (publish_copy.c).
 *
 *	  Then one turn follows another:
 *
 *		look	tables that came, went or changed; only between transactions
 *				and with an empty buffer
 *		copy	if there are new ones
 *		fill	whole transactions go from WAL to the decoder's buffer
 *		deliver	from there to the sink; the network is used only between hub
 *				transactions
 *		settle	store and confirm what is durable at the target
 *		wait	when all of WAL was read
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "options.h"
#include "publish.h"
#include "publish_options.h"
#include "publish_private.h"
#include "slot.h"
#include "worker.h"

/* How long WAL is read before what was found is sent on. */
#define FILL_MS		20

/* How often a sink may send a heartbeat. */
#define IDLE_MS		1000

static TapPublish *create(int32 pipeline);
static void load_options(TapPublish *publish);
static void open_session(TapPublish *publish);
static void stream(TapPublish *publish);
static void wait_for_more(TapPublish *publish);
static void offer_heartbeat(TapPublish *publish);
static void context_callback(void *arg);

void
tap_publish_main(int32 pipeline)
{
	TapPublish *publish;
	ErrorContextCallback errcallback;
	XLogRecPtr	target;

	/* a policy that would hide rows from a copy is an error */
	SetConfigOption("row_security", "off", PGC_SUSET, PGC_S_OVERRIDE);

	publish = create(pipeline);
	errcallback.callback = context_callback;
	errcallback.arg = publish;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;

	tap_shmem_set_state(tap_worker_shared, TAP_STATE_STARTING);
	tap_publish_tables_watch(publish);
	tap_publish_tables_load(publish);
	open_session(publish);
	target = publish->sink->start(publish->session->session);
	if (!tap_publish_position_find(publish, target))
		tap_publish_copy(publish, true);

	tap_shmem_set_state(tap_worker_shared, TAP_STATE_CATCHUP);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(publish->entry_context);
		MemoryContextSwitchTo(publish->entry_context);
		tap_publish_tables_follow(publish);
		if (publish->decoder == NULL)
			tap_publish_start_decoding(publish);
		stream(publish);
		if (publish->caught_up)
			wait_for_more(publish);
	}
}

static TapPublish *
create(int32 pipeline)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "tapdata publish",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TapPublish *publish = palloc0(sizeof(TapPublish));

	publish->context = context;
	publish->entry_context = AllocSetContextCreate(context, "tapdata publish entry",
												   ALLOCSET_DEFAULT_SIZES);
	publish->flush_context = AllocSetContextCreate(context, "tapdata publish flush",
												   ALLOCSET_DEFAULT_SIZES);
	tap_worker_begin();
	MemoryContextSwitchTo(context);
	publish->pipeline = tap_catalog_pipeline_by_id(pipeline, false);
	publish->connection = tap_catalog_connection_by_id(publish->pipeline->connection);
	load_options(publish);
	(void) tap_publish_add_matching(publish->pipeline);
	tap_worker_commit();
	tap_publish_patterns_load(publish);
	MemoryContextSwitchTo(old);
	return publish;
}

static void
load_options(TapPublish *publish)
{
	const TapConnector *connector = tap_connector_load(publish->connection->connector);

	publish->options = tap_options_parse(publish->pipeline->options, NULL, connector,
										 TAP_SCOPE_PUBLISH, publish->context);
	publish->batch_bytes = tap_options_int(publish->options, "batch_bytes");
	publish->copy = strcmp(tap_options_text(publish->options, "snapshot"), "initial") == 0;
	tap_publish_start_dead_letters(publish,
								   strcmp(tap_options_text(publish->options, "on_error"),
										  "dead_letter") == 0);
}

static void
open_session(TapPublish *publish)
{
	MemoryContext old = MemoryContextSwitchTo(publish->context);

	publish->session = tap_session_open(publish->connection, publish->pipeline,
										TAP_PURPOSE_SINK);
	publish->sink = publish->session->sink;
	MemoryContextSwitchTo(old);
}

void
tap_publish_start_decoding(TapPublish *publish)
{
	MemoryContext old = MemoryContextSwitchTo(publish->tables_context);
	TapDecoderArgs args = {
		.pipeline = publish->pipeline->id,
		.position = publish->resume,
		.memory_bytes = tap_options_int(publish->options, "decode_memory"),
		.unknown_table = tap_publish_unknown_table,
		.untold = tap_publish_untold,
		.arg = publish
	};
	ListCell   *cell;

	foreach(cell, publish->tables)
	{
		TapPublishTable *table = lfirst(cell);

		args.tables = lappend(args.tables, &table->decode);
	}
	tap_publish_check_slot(publish);
	tap_worker_begin();
	MemoryContextSwitchTo(publish->tables_context);
	args.origins = tap_publish_origins(publish->options);
	tap_worker_commit();

	MemoryContextSwitchTo(publish->context);
	publish->decoder = tap_decode_start(&args);
	publish->caught_up = false;
	MemoryContextSwitchTo(old);
}

void
tap_publish_stop_decoding(TapPublish *publish)
{
	if (publish->decoder == NULL)
		return;
	Assert(tap_decode_peek(publish->decoder) == TAP_DECODED_NONE);
	publish->resume = tap_decode_read_lsn(publish->decoder);
	tap_decode_stop(publish->decoder);
	publish->decoder = NULL;
}

/* Read a stretch of WAL and see to it that its transactions are sent. */
static void
stream(TapPublish *publish)
{
	publish->caught_up = tap_decode_fill(publish->decoder, publish->batch_bytes, FILL_MS);
	tap_publish_deliver(publish);
	tap_publish_flush(publish, false, publish->caught_up);
	tap_publish_position_moved(publish);
	if (publish->caught_up && tap_publish_is_drained(publish) &&
		tap_worker_shared->state != TAP_STATE_STREAMING)
		tap_shmem_set_state(tap_worker_shared, TAP_STATE_STREAMING);
}

static void
wait_for_more(TapPublish *publish)
{
	TapWait		wait = {.socket = PGINVALID_SOCKET,.timeout_ms = -1};
	long		due_ms = tap_publish_position_due_ms(publish);

	/* there are tables to look at first */
	if (tap_publish_tables_waiting(publish))
		return;
	offer_heartbeat(publish);
	publish->sink->flush_wait(publish->session->session, &wait);
	if (due_ms >= 0 && (wait.timeout_ms < 0 || due_ms < wait.timeout_ms))
		wait.timeout_ms = due_ms;
	if (publish->sink->idle != NULL &&
		(wait.timeout_ms < 0 || wait.timeout_ms > IDLE_MS))
		wait.timeout_ms = IDLE_MS;
	(void) tap_decode_wait(publish->decoder, wait.socket, wait.events, wait.timeout_ms);
}

static void
offer_heartbeat(TapPublish *publish)
{
	TimestampTz now;

	if (publish->sink->idle == NULL || !tap_publish_is_drained(publish))
		return;
	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(publish->idled_at, now, IDLE_MS))
		return;
	publish->idled_at = now;
	publish->sink->idle(publish->session->session,
						tap_decode_read_lsn(publish->decoder));
}

void
tap_publish_report_lost(const TapPublish *publish, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pipeline \"%s\" cannot go on where it was", publish->pipeline->name),
			 errdetail("%s", reason),
			 errhint("Call tapdata.resync('%s') to send all tables again.",
					 publish->pipeline->name)));
}

static void
context_callback(void *arg)
{
	TapPublish *publish = arg;

	if (publish->writing && publish->entry.format != NULL)
		errcontext("sending a change of table \"%s\", LSN %X/%X",
				   tap_table_name_text(&publish->entry.format->source->name),
				   LSN_FORMAT_ARGS(publish->entry.change.lsn));
	if (publish->durable != InvalidXLogRecPtr)
		errcontext("pipeline \"%s\", after position %X/%X",
				   publish->pipeline->name, LSN_FORMAT_ARGS(publish->durable));
}
