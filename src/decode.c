/*-------------------------------------------------------------------------
 *
 * src/decode.c
 *	  Logical decoding inside of the publish worker.
 *
 * NOTES
 *	  Catalog caches.  While WAL is decoded the caches are filled under
 *	  historic snapshots, between two calls of tap_decode_fill() under ordinary
 *	  ones.  An entry of one kind must not be used for the other if the catalogs
 *	  were changed in between.  Throwing all away at each turn would be right
 *	  but costs more than decoding a small transaction.  Therefore note the end
 *	  of WAL whenever invalidation messages have come: all changes of catalogs
 *	  that we were told of are before that point.  Once WAL has been decoded up
 *	  to it, both kinds see the same catalogs until the next message.  What is
 *	  visible to ordinary snapshots a moment before its message is sent matters
 *	  to transactions that look at tables for the first time only; after these,
 *	  see TapDecoder.caches_unknown, all is thrown away.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogutils.h"
#include "compat.h"
#include "decode_private.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "slot_private.h"
#include "storage/sinval.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Records between two looks at the clock. */
#define RECORDS_PER_LOOK	64

/* Forget what was learned of origins when one is made or dropped. */
static bool origins_changed = false;

/* ---------------------------------------------------------------------
 * Starting and stopping
 * ---------------------------------------------------------------------
 */

/* A page of WAL, up to where we may read. */
static int
read_page(XLogReaderState *reader, XLogRecPtr page, int needed,
		  XLogRecPtr target, char *buffer)
{
	XLogRecPtr	allowed = tap_decode_current->allowed;
	int			bytes;

	if (page + needed > allowed)
	{
		tap_decode_current->reading.end_of_wal = true;
		return -1;
	}
	bytes = read_local_xlog_page_no_wait(reader, page, needed, target, buffer);
	if (bytes > 0 && page + bytes > allowed)
		bytes = (int) (allowed - page);
	return bytes;
}

static void
origins_invalidated(Datum arg, int cache, uint32 hash)
{
	origins_changed = true;
}

/* The cache of origins; emptied when one is made or dropped. */
static void
start_origins(TapDecoder *decoder)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(RepOriginId);
	info.entrysize = sizeof(TapDecodeOrigin);
	info.hcxt = decoder->context;
	decoder->origins = hash_create("tapdata decoded origins", 16, &info,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Begin to decode the slot that was acquired. */
static void
start_decoding(TapDecoder *decoder)
{
	XLogRecPtr	confirmed = MyReplicationSlot->data.confirmed_flush;
	LogicalDecodingContext *logical;

	decoder->start = Max(decoder->args.position, confirmed);
	decoder->confirmed = confirmed;
	decoder->allowed = tap_compat_waits_for_standbys(MyReplicationSlot) ?
		decoder->start : PG_UINT64_MAX;
	tap_decode_plugin_allowed = true;
	logical = CreateDecodingContext(decoder->start, NIL, false,
									XL_ROUTINE(.page_read = read_page,
											   .segment_open = wal_segment_open,
											   .segment_close = wal_segment_close),
									NULL, NULL, NULL);
	tap_decode_plugin_allowed = false;
	logical->reader->private_data = &decoder->reading;
	decoder->logical = logical;
	XLogBeginRead(logical->reader, MyReplicationSlot->data.restart_lsn);
	decoder->caches_unknown = true;
}

TapDecoder *
tap_decode_start(const TapDecoderArgs *args)
{
	static bool registered = false;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "tapdata decoder",
												  ALLOCSET_DEFAULT_SIZES);
	TapDecoder *decoder = MemoryContextAllocZero(context, sizeof(TapDecoder));

	Assert(!IsTransactionState() && tap_decode_current == NULL);
	decoder->context = context;
	decoder->args = *args;
	MemoryContextSwitchTo(context);
	decoder->buffer = tap_decode_buffer_create(args->memory_bytes);
	start_origins(decoder);
	tap_decode_format_start(decoder);
	tap_decode_current = decoder;

	/*
	 * In a transaction, so that this process is not marked as one whose
	 * snapshots vacuum may ignore: it runs ordinary transactions too.
	 */
	StartTransactionCommand();
	if (!registered)
		CacheRegisterSyscacheCallback(REPLORIGIDENT, origins_invalidated, (Datum) 0);
	registered = true;
	tap_slot_acquire(args->pipeline);
	MemoryContextSwitchTo(context);
	start_decoding(decoder);
	CommitTransactionCommand();

	tap_decode_wait_start();
	MemoryContextSwitchTo(caller);
	return decoder;
}

void
tap_decode_stop(TapDecoder *decoder)
{
	tap_decode_wait_stop();
	tap_decode_format_stop(decoder);
	FreeDecodingContext(decoder->logical);
	ReplicationSlotRelease();
	InvalidateSystemCaches();
	tap_decode_buffer_free(decoder->buffer);
	tap_decode_current = NULL;
	MemoryContextDelete(decoder->context);
}

/* ---------------------------------------------------------------------
 * Filling the buffer
 * ---------------------------------------------------------------------
 */

/* Note up to where catalogs have changed that we were told of. */
static void
note_messages(TapDecoder *decoder)
{
	if (decoder->messages_seen != SharedInvalidMessageCounter)
	{
		decoder->messages_seen = SharedInvalidMessageCounter;
		decoder->messages_lsn = GetXLogInsertRecPtr();
	}
}

/* Have nothing in the caches that is newer than the WAL to be decoded. */
static void
enter_history(TapDecoder *decoder)
{
	AcceptInvalidationMessages();
	note_messages(decoder);
	if (decoder->caches_unknown ||
		decoder->logical->reader->EndRecPtr < decoder->messages_lsn)
		InvalidateSystemCaches();
	decoder->caches_unknown = false;

	if (origins_changed)
	{
		hash_destroy(decoder->origins);
		start_origins(decoder);
		origins_changed = false;
	}
}

/* Have nothing in the caches that is older than now. */
static void
leave_history(TapDecoder *decoder, XLogRecPtr entered_at)
{
	note_messages(decoder);
	if (entered_at < decoder->messages_lsn)
		InvalidateSystemCaches();
}

/* Read and decode one record; false: there is none yet. */
static bool
decode_record(TapDecoder *decoder)
{
	XLogReaderState *reader = decoder->logical->reader;
	XLogRecord *record;
	char	   *error = NULL;

	for (;;)
	{
		XLogRecPtr	readable;

		decoder->reading.end_of_wal = false;
		record = XLogReadRecord(reader, &error);
		if (likely(record != NULL))
			break;
		if (error != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("could not read a record of WAL: %s", error)));
		if (!decoder->reading.end_of_wal)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("could not read a record of WAL at %X/%X",
							LSN_FORMAT_ARGS(reader->EndRecPtr))));

		/* Once more if anything was flushed since the last time. */
		readable = tap_decode_readable(decoder);
		if (readable <= decoder->tried)
			return false;
		decoder->tried = readable;
	}

	LogicalDecodingProcessRecord(decoder->logical, reader);
	return true;
}

/*
 * With failover slots, read nothing that a standby which is to take over does
 * not have.
 */
XLogRecPtr
tap_decode_readable(TapDecoder *decoder)
{
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);

	if (!tap_compat_waits_for_standbys(MyReplicationSlot))
		return flushed;
	if (decoder->awaited <= decoder->allowed)
		decoder->awaited = flushed;
	if (tap_compat_standbys_have(decoder->awaited))
		decoder->allowed = decoder->awaited;
	return decoder->allowed;
}

/* Forget a transaction's entries of the buffer that was emptied. */
static void
start_buffer(TapDecoder *decoder)
{
	Assert(decoder->next_txn == decoder->ntxns && !decoder->open);
	for (int i = 0; i < decoder->ntxns; i++)
		list_free(decoder->txns[i].formats);
	decoder->ntxns = 0;
	decoder->next_txn = 0;
	decoder->phase = TAP_DECODE_AT_BEGIN;
	tap_decode_buffer_reset(decoder->buffer);
	tap_decode_format_sweep(decoder);
}

/* Decode until a limit is reached; false: there is no more WAL. */
static bool
decode_records(TapDecoder *decoder, Size max_bytes, TimestampTz deadline)
{
	bool		more = true;

	/*
	 * The reader keeps a record that is larger than its buffer in the current
	 * context until the next call.
	 */
	MemoryContextSwitchTo(decoder->context);
	for (int n = 1; tap_decode_buffered(decoder) < max_bytes; n++)
	{
		CHECK_FOR_INTERRUPTS();
		more = decode_record(decoder);

		/* A decoded transaction that ended can leave another one. */
		MemoryContextSwitchTo(decoder->context);
		if (!more || decoder->halted_lsn != InvalidXLogRecPtr ||
			(n % RECORDS_PER_LOOK == 0 && GetCurrentTimestamp() >= deadline))
			break;
	}
	return more;
}

bool
tap_decode_fill(TapDecoder *decoder, Size max_bytes, long max_ms)
{
	MemoryContext caller = CurrentMemoryContext;
	XLogRecPtr	entered_at = decoder->logical->reader->EndRecPtr;
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   max_ms);
	uint64		replayed = decoder->replayed;
	volatile bool more = true;

	Assert(!IsTransactionState() && decoder->halted_lsn == InvalidXLogRecPtr);
	start_buffer(decoder);
	enter_history(decoder);
	PG_TRY();
	{
		more = decode_records(decoder, max_bytes, deadline);
	}
	PG_CATCH();
	{
		/* The error is going to be written to tables. */
		InvalidateSystemCaches();
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	if (decoder->replayed != replayed)
		leave_history(decoder, entered_at);
	return !more;
}

/* ---------------------------------------------------------------------
 * Emptying it
 * ---------------------------------------------------------------------
 */

/* The values of a tuple of the buffer, in physical columns. */
static void
deform(TapDecodeLayout *layout, char *data, uint32 bytes, Datum *values,
	   bool *isnull)
{
	HeapTupleData tuple;

	tuple.t_len = bytes;
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = (HeapTupleHeader) data;
	heap_deform_tuple(&tuple, layout->physical, values, isnull);
}

/* Put physical values into a slot, unless they are there already. */
static void
fill_slot(TapDecodeLayout *layout, TupleTableSlot *slot, const Datum *values,
		  const bool *isnull)
{
	ExecClearTuple(slot);
	if (!layout->identity)
	{
		int			natts = slot->tts_tupleDescriptor->natts;

		for (int i = 0; i < natts; i++)
		{
			slot->tts_values[i] = values[layout->map[i]];
			slot->tts_isnull[i] = isnull[layout->map[i]];
		}
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * Mend what the new tuple only points to: values that are in WAL stand
 * behind the tuples in the record; values that were not changed are those of
 * the old row, if WAL tells them, else they are not present.
 */
static bool *
mend_external(const TapDecodeRecord *record, char *external, Datum *values,
			  bool *isnull, const Datum *old_values, const bool *old_isnull)
{
	TapDecodeLayout *layout = record->layout;
	TapDecodeFormat *format = layout->format;
	bool		missing = false;

	for (int i = 0; i < record->nexternal; i++)
	{
		TapDecodeExternal *header = (TapDecodeExternal *) external;

		external += TAP_DECODE_EXTERNAL_BYTES;
		values[header->column] = PointerGetDatum(external);
		external += MAXALIGN(header->bytes);
	}
	for (int i = 0; i < format->new_slot->tts_tupleDescriptor->natts; i++)
	{
		int			column = layout->map[i];

		format->new_present[i] = true;
		if (isnull[column] ||
			TupleDescAttr(layout->physical, column)->attlen != -1 ||
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(values[column])))
			continue;
		if (record->old_bytes > 0 && tap_decode_old_has(layout, column))
		{
			values[column] = old_values[column];
			isnull[column] = old_isnull[column];
			continue;
		}
		format->new_present[i] = false;
		isnull[column] = true;
		missing = true;
	}
	return missing ? format->new_present : NULL;
}

/* Take the next change out of the buffer. */
static void
deliver_change(TapDecoder *decoder, TapDecodeTxn *txn, TapDecoded *entry)
{
	TapDecodeRecord *record = tap_decode_buffer_take(decoder->buffer);
	TapDecodeLayout *layout = record->layout;
	TapDecodeFormat *format = layout->format;
	TapOutChange *change = &entry->change;
	char	   *new_data = (char *) record + TAP_DECODE_RECORD_BYTES;
	char	   *old_data = new_data + MAXALIGN(record->new_bytes);
	Datum	   *values = layout->identity ? format->new_slot->tts_values : layout->values;
	bool	   *isnull = layout->identity ? format->new_slot->tts_isnull : layout->isnull;
	Datum	   *old_values = layout->identity ? format->old_slot->tts_values : layout->old_values;
	bool	   *old_isnull = layout->identity ? format->old_slot->tts_isnull : layout->old_isnull;

	memset(change, 0, sizeof(TapOutChange));
	entry->format = &format->public;
	change->kind = record->kind;
	change->table = format->public.source;
	change->txn = &txn->out;
	change->lsn = record->lsn;
	change->number = decoder->next_change++;

	if (record->old_bytes > 0)
	{
		deform(layout, old_data, record->old_bytes, old_values, old_isnull);
		fill_slot(layout, format->old_slot, old_values, old_isnull);
		if (record->kind != TAP_CHANGE_INSERT)
		{
			change->old_row.slot = format->old_slot;
			change->old_row.present = layout->old_image.present;
		}
	}
	if (record->new_bytes > 0)
	{
		deform(layout, new_data, record->new_bytes, values, isnull);
		if (((HeapTupleHeader) new_data)->t_infomask & HEAP_HASEXTERNAL)
			change->new_row.present =
				mend_external(record, old_data + MAXALIGN(record->old_bytes),
							  values, isnull, old_values, old_isnull);
		fill_slot(layout, format->new_slot, values, isnull);
		change->new_row.slot = format->new_slot;
	}
}

TapDecodedKind
tap_decode_peek(TapDecoder *decoder)
{
	TapDecodeTxn *txn;

	if (decoder->next_txn == decoder->ntxns)
		return TAP_DECODED_NONE;
	txn = &decoder->txns[decoder->next_txn];
	if (decoder->phase == TAP_DECODE_AT_BEGIN)
		return TAP_DECODED_BEGIN;
	return decoder->next_change < txn->out.nchanges ? TAP_DECODED_CHANGE :
		TAP_DECODED_COMMIT;
}

TapDecodedKind
tap_decode_next(TapDecoder *decoder, TapDecoded *entry)
{
	TapDecodeTxn *txn;

	entry->kind = tap_decode_peek(decoder);
	if (entry->kind == TAP_DECODED_NONE)
		return TAP_DECODED_NONE;
	txn = &decoder->txns[decoder->next_txn];
	entry->txn = txn->out;
	entry->formats = NIL;

	switch (entry->kind)
	{
		case TAP_DECODED_BEGIN:
			entry->formats = txn->formats;
			if (txn->formats != NIL)
				decoder->caches_unknown = true;
			decoder->phase = TAP_DECODE_AT_CHANGES;
			decoder->next_change = 0;
			break;
		case TAP_DECODED_CHANGE:
			deliver_change(decoder, txn, entry);
			break;
		case TAP_DECODED_COMMIT:
			decoder->next_txn++;
			decoder->phase = TAP_DECODE_AT_BEGIN;
			break;
		case TAP_DECODED_NONE:
			break;
	}
	return entry->kind;
}

/* ---------------------------------------------------------------------
 * Positions
 * ---------------------------------------------------------------------
 */

XLogRecPtr
tap_decode_read_lsn(const TapDecoder *decoder)
{
	if (decoder->halted_lsn != InvalidXLogRecPtr)
		return decoder->halted_lsn;
	return Max(decoder->start, decoder->logical->reader->EndRecPtr);
}

Size
tap_decode_buffered(const TapDecoder *decoder)
{
	return tap_decode_buffer_bytes(decoder->buffer) +
		(decoder->ntxns - decoder->next_txn) * sizeof(TapDecodeTxn);
}

void
tap_decode_confirm(TapDecoder *decoder, XLogRecPtr lsn)
{
	XLogRecPtr	restart = MyReplicationSlot->data.restart_lsn;

	lsn = Min(lsn, tap_decode_read_lsn(decoder));
	if (lsn <= decoder->confirmed)
		return;
	LogicalConfirmReceivedLocation(lsn);
	ReplicationSlotMarkDirty();
	decoder->confirmed = lsn;

	/* It does this by itself only when the horizon of rows moves too. */
	if (MyReplicationSlot->data.restart_lsn != restart)
		ReplicationSlotsComputeRequiredLSN();
}
