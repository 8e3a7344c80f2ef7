/*-------------------------------------------------------------------------
 *
 * src/apply_insert.c
 *	  Inserts of the direct path, collected for table_multi_insert().
 *
 * NOTES
 *	  Waiting rows are in the table for nobody, so whoever looks for a row
 *	  must have them written first, if the row may be among them.  A filter of
 *	  key hashes tells that without a look at each row; it is made by the first
 *	  who asks.
 *
 *	  That waiting inserts are overtaken by updates and deletes of other rows
 *	  is harmless: at the source the rows were there together, so none of
 *	  them can take a unique value from the other.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/hio.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "apply_private.h"
#include "compat.h"

static void
open_buffer(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;
	MemoryContext oldcontext;

	buffer->context = AllocSetContextCreate(target->open_context,
											"tapdata inserts",
											ALLOCSET_START_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(buffer->context);
	buffer->tuple_context = AllocSetContextCreate(buffer->context,
												  "tapdata insert rows",
												  ALLOCSET_DEFAULT_SIZES);
	buffer->room = 16;
	buffer->slots = palloc(sizeof(TupleTableSlot *) * buffer->room);

	/*
	 * COPY's small ring of buffers is right for a table that nobody looks at
	 * soon; rows of a stream are updated soon after.  So only the pin on the
	 * current page is wanted of the bulk state.
	 */
	buffer->bulk = GetBulkInsertState();
	FreeAccessStrategy(buffer->bulk->strategy);
	buffer->bulk->strategy = NULL;

	if (target->key_hashable)
		buffer->filter = palloc(TAP_INSERT_FILTER_BITS / 8);
	buffer->nfiltered = 0;
	MemoryContextSwitchTo(oldcontext);
}

static TupleTableSlot *
next_buffer_slot(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;

	if (buffer->slots == NULL)
		open_buffer(target);
	if (buffer->nrows == buffer->nslots)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(buffer->context);
		TupleTableSlot *slot;

		if (buffer->nslots == buffer->room)
		{
			buffer->room *= 2;
			buffer->slots = repalloc(buffer->slots,
									 sizeof(TupleTableSlot *) * buffer->room);
		}
		slot = MakeSingleTupleTableSlot(target->descriptor, &TTSOpsHeapTuple);
		slot->tts_tableOid = target->relid;
		buffer->slots[buffer->nslots++] = slot;
		target->apply->buffer_slots++;
		MemoryContextSwitchTo(oldcontext);
	}
	return buffer->slots[buffer->nrows];
}

void
tap_insert_add(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;
	TupleTableSlot *slot = next_buffer_slot(target);
	MemoryContext oldcontext = MemoryContextSwitchTo(buffer->tuple_context);
	HeapTuple	tuple;

	/*
	 * Formed here, once: the slot owns the tuple, so that heap_multi_insert()
	 * has no reason to copy it.
	 */
	tuple = heap_form_tuple(target->descriptor, target->work->tts_values,
							target->work->tts_isnull);
	ExecStoreHeapTuple(tuple, slot, true);
	MemoryContextSwitchTo(oldcontext);

	buffer->nrows++;
	buffer->bytes += tuple->t_len;
	target->apply->buffered_bytes += tuple->t_len;
	if (buffer->nrows == TAP_INSERT_ROWS || buffer->bytes >= TAP_INSERT_BYTES)
		tap_insert_flush(target);
}

/* Take the keys of rows that came since into the filter. */
static void
fill_filter(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;

	if (buffer->nfiltered == 0)
		memset(buffer->filter, 0, TAP_INSERT_FILTER_BITS / 8);
	for (; buffer->nfiltered < buffer->nrows; buffer->nfiltered++)
	{
		TupleTableSlot *slot = buffer->slots[buffer->nfiltered];
		uint32		bit;

		for (int i = 0; i < target->nkeys; i++)
			slot_getsomeattrs(slot, target->key_columns[i].hub);
		bit = tap_lookup_hash(target, slot) % TAP_INSERT_FILTER_BITS;
		buffer->filter[bit / 8] |= 1 << (bit % 8);
	}
}

bool
tap_insert_may_hold(TapTarget *target, uint32 hash)
{
	TapInsertBuffer *buffer = &target->buffer;
	uint32		bit = hash % TAP_INSERT_FILTER_BITS;

	if (buffer->nrows == 0)
		return false;
	if (buffer->filter == NULL)
		return true;
	if (buffer->nfiltered < buffer->nrows)
		fill_filter(target);
	return (buffer->filter[bit / 8] & (1 << (bit % 8))) != 0;
}

static void
insert_index_entries(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;

	for (int i = 0; i < buffer->nrows; i++)
	{
		/*
		 * A duplicate key is an error of the row at hand, not of the last
		 * one.
		 */
		target->apply->current_slot = buffer->slots[i];
		list_free(tap_compat_insert_index_tuples(target->result, target->estate,
												 buffer->slots[i],
												 TAP_INDEX_UPDATE_ALL, false));
		ResetPerTupleExprContext(target->estate);
	}
}

static void
write_rows(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;
	MemoryContext oldcontext;

	/* heap_multi_insert() leaks */
	oldcontext = MemoryContextSwitchTo(buffer->tuple_context);
	table_multi_insert(target->rel, buffer->slots, buffer->nrows,
					   GetCurrentCommandId(true), 0, buffer->bulk);
	MemoryContextSwitchTo(GetPerTupleMemoryContext(target->estate));
	if (target->result->ri_NumIndices > 0)
		insert_index_entries(target);
	MemoryContextSwitchTo(oldcontext);
}

void
tap_insert_flush(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;
	TapApply   *apply = target->apply;
	TupleTableSlot *outer_slot = apply->current_slot;
	bool		outer_is_hub = apply->current_is_hub;

	if (buffer->nrows == 0)
		return;

	/* An error is of one of these rows, not of the change that came last. */
	apply->current_slot = NULL;
	apply->current_is_hub = true;
	write_rows(target);
	apply->current_slot = outer_slot;
	apply->current_is_hub = outer_is_hub;

	for (int i = 0; i < buffer->nrows; i++)
		ExecClearTuple(buffer->slots[i]);
	MemoryContextReset(buffer->tuple_context);
	buffer->nfiltered = 0;
	apply->buffered_bytes -= buffer->bytes;
	buffer->bytes = 0;
	buffer->nrows = 0;
}

void
tap_insert_close(TapTarget *target)
{
	TapInsertBuffer *buffer = &target->buffer;

	Assert(buffer->nrows == 0);
	if (buffer->context == NULL)
		return;
	table_finish_bulk_insert(target->rel, 0);
	FreeBulkInsertState(buffer->bulk);
	MemoryContextDelete(buffer->context);
	target->apply->buffer_slots -= buffer->nslots;
	memset(buffer, 0, sizeof(TapInsertBuffer));
}
