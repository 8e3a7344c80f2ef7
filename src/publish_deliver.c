/*-------------------------------------------------------------------------
 *
 * src/publish_deliver.c
 *	  From the decoder's buffer to the sink.
 *
 * NOTES
 *	  The buffer is emptied in slices.  A slice is a hub transaction, in which
 *	  the sink looks up types and encodes; it takes no snapshot and locks
 *	  nothing of a user's.  Between two slices, outside of any transaction,
 *	  the sink may use the network.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "change_json.h"
#include "errors.h"
#include "publish.h"
#include "publish_private.h"
#include "worker.h"

/* Entries of the buffer that one hub transaction takes. */
#define SLICE_ENTRIES	1000

/* How often a sink that reports no reason to wait is asked again. */
#define DRAIN_MS		1000

static bool deliver_slice(TapPublish *publish);
static bool deliver_entries(TapPublish *publish);
static bool deliver_change(TapPublish *publish);
static void prepare_formats(TapPublish *publish);
static void set_aside(TapPublish *publish, ErrorData *edata);

void
tap_publish_deliver(TapPublish *publish)
{
	Size		bytes = tap_decode_buffered(publish->decoder);

	while (tap_decode_peek(publish->decoder) != TAP_DECODED_NONE)
	{
		bool		full = deliver_slice(publish);

		tap_publish_position_moved(publish);
		if (full || tap_decode_peek(publish->decoder) != TAP_DECODED_NONE)
			tap_publish_flush(publish, full, false);
	}
	pg_atomic_fetch_add_u64(&tap_worker_shared->bytes, bytes);
}

/*
 * True when the sink asks for a flush.  A change that it cannot encode becomes
 * a dead letter where that is wanted.
 */
static bool
deliver_slice(TapPublish *publish)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool full = false;

	PG_TRY();
	{
		StartTransactionCommand();
		MemoryContextSwitchTo(publish->entry_context);
		full = deliver_entries(publish);
		CommitTransactionCommand();
		MemoryContextSwitchTo(old);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		if (!publish->writing || !tap_publish_keeps_dead_letters ||
			tap_error_class(edata->sqlerrcode) != TAP_ERROR_DATA)
			PG_RE_THROW();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(old);
		publish->writing = false;
		set_aside(publish, edata);
		FreeErrorData(edata);
	}
	PG_END_TRY();
	return full;
}

static bool
deliver_entries(TapPublish *publish)
{
	TapDecoded *entry = &publish->entry;
	bool		full = false;

	for (int i = 0; i < SLICE_ENTRIES && !full; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(publish->entry_context);
		switch (tap_decode_next(publish->decoder, entry))
		{
			case TAP_DECODED_NONE:
				return false;
			case TAP_DECODED_BEGIN:
				if (entry->formats != NIL)
					prepare_formats(publish);
				tap_publish_position_begun(publish, &entry->txn);
				publish->sink->begin(publish->session->session, &entry->txn);
				break;
			case TAP_DECODED_CHANGE:
				full = deliver_change(publish);
				break;
			case TAP_DECODED_COMMIT:
				full = publish->sink->commit(publish->session->session, &entry->txn);
				publish->written = entry->txn.end_lsn;
				pg_atomic_write_u64(&tap_worker_shared->transactions,
									pg_atomic_read_u64(&tap_worker_shared->transactions) + 1);
				break;
		}
	}
	return full;
}

/* This process is the only one that writes the counter. */
static void
count(pg_atomic_uint64 *all, pg_atomic_uint64 *table)
{
	if (all != NULL)
		pg_atomic_write_u64(all, pg_atomic_read_u64(all) + 1);
	if (table != NULL)
		pg_atomic_write_u64(table, pg_atomic_read_u64(table) + 1);
}

static void
count_change(TapTableShared *shared, TapChangeKind kind)
{
	switch (kind)
	{
		case TAP_CHANGE_INSERT:
			count(&tap_worker_shared->inserts, shared ? &shared->inserts : NULL);
			break;
		case TAP_CHANGE_UPDATE:
			count(&tap_worker_shared->updates, shared ? &shared->updates : NULL);
			break;
		case TAP_CHANGE_DELETE:
			count(&tap_worker_shared->deletes, shared ? &shared->deletes : NULL);
			break;
		case TAP_CHANGE_TRUNCATE:
			count(NULL, shared ? &shared->truncates : NULL);
			break;
		case TAP_CHANGE_READ:
			break;
	}
}

static bool
deliver_change(TapPublish *publish)
{
	TapDecoded *entry = &publish->entry;
	TapPublishTable *table = entry->format->table->data;
	TapPublishFormat *format = entry->format->target;
	bool		full;

	entry->change.table = format->source;
	entry->change.table_data = format->data;
	entry->change.txn = &entry->txn;
	publish->writing = true;
	full = publish->sink->write(publish->session->session, &entry->change);
	publish->writing = false;
	count_change(table->shared, entry->change.kind);
	return full;
}

static void
set_aside(TapPublish *publish, ErrorData *edata)
{
	TapOutChange *change = &publish->entry.change;
	MemoryContext old = CurrentMemoryContext;
	char	   *json;

	StartTransactionCommand();
	MemoryContextSwitchTo(publish->entry_context);
	json = tap_out_change_json(change);
	tap_publish_dead_letter(&change->table->name, json, change->lsn,
							edata->sqlerrcode, edata->message);
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------------
 * Formats
 * ---------------------------------------------------------------------
 */

/*
 * The transaction that begins brings new formats: the sink hears of them
 * outside of ours, with nothing on its way in the old ones.
 */
static void
prepare_formats(TapPublish *publish)
{
	ListCell   *cell;

	CommitTransactionCommand();
	MemoryContextSwitchTo(publish->entry_context);
	tap_publish_drain(publish);
	foreach(cell, publish->entry.formats)
	{
		TapDecodedFormat *decoded = lfirst(cell);

		decoded->target = tap_publish_prepare(publish, decoded->table->data, decoded->source,
											  decoded->previous ? decoded->previous->target : NULL);
	}
	StartTransactionCommand();
	MemoryContextSwitchTo(publish->entry_context);
}

/* ---------------------------------------------------------------------
 * Flushing
 * ---------------------------------------------------------------------
 */

void
tap_publish_flush(TapPublish *publish, bool wait, bool idle)
{
	MemoryContext old;
	uint64		lsn;

	if (publish->target_holds && !IsTransactionState())
		tap_publish_settle_dead_letters();
	MemoryContextReset(publish->flush_context);
	old = MemoryContextSwitchTo(publish->flush_context);
	lsn = publish->sink->flush(publish->session->session, wait, idle);
	MemoryContextSwitchTo(old);
	CHECK_FOR_INTERRUPTS();
	if (lsn > publish->durable)
		publish->durable = lsn;
}

void
tap_publish_drain(TapPublish *publish)
{
	for (;;)
	{
		TapWait		wait = {.socket = PGINVALID_SOCKET,.timeout_ms = -1};

		tap_publish_flush(publish, false, true);
		tap_publish_position_moved(publish);
		if (publish->durable >= publish->written)
			return;
		publish->sink->flush_wait(publish->session->session, &wait);
		if (wait.timeout_ms < 0 || wait.timeout_ms > DRAIN_MS)
			wait.timeout_ms = DRAIN_MS;
		(void) tap_worker_wait(wait.socket, wait.events, wait.timeout_ms);
	}
}
