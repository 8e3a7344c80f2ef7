/*-------------------------------------------------------------------------
 *
 * src/apply_receiver.c
 *	  Takes the rows of a snapshot from a connector.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "apply_private.h"

typedef struct TapReceiver
{
	TapRowReceiver receiver;
	TapTarget  *target;
	TupleTableSlot *slot;
	MemoryContext outer;		/* current outside of next_slot/put_slot */
	int64		nrows;
} TapReceiver;

static TupleTableSlot *
next_slot(TapRowReceiver *receiver)
{
	TapReceiver *state = receiver->core_data;
	MemoryContext context = state->target->apply->row_context;

	/* It is current still if the row before was rejected. */
	if (CurrentMemoryContext != context)
		state->outer = MemoryContextSwitchTo(context);
	MemoryContextReset(context);
	ExecClearTuple(state->slot);
	return state->slot;
}

static void
put_slot(TapRowReceiver *receiver, TupleTableSlot *slot)
{
	TapReceiver *state = receiver->core_data;
	MemoryContext row_context = state->target->apply->row_context;

	MemoryContextSwitchTo(row_context);
	tap_apply_store(state->target, slot);
	state->nrows++;
	MemoryContextSwitchTo(state->outer);
	MemoryContextReset(row_context);
}

static void
reject_row(TapRowReceiver *receiver, ErrorData *edata, const char *row)
{
	ReThrowError(edata);
}

TapRowReceiver *
tap_apply_receiver(TapApply *apply, TapTarget *target)
{
	TapReceiver *state = palloc0(sizeof(TapReceiver));

	state->receiver.next_slot = next_slot;
	state->receiver.put_slot = put_slot;
	state->receiver.reject_row = reject_row;
	state->receiver.core_data = state;
	state->target = target;
	state->slot = MakeSingleTupleTableSlot(target->source->descriptor,
										   &TTSOpsVirtual);
	return &state->receiver;
}

int64
tap_apply_received(TapRowReceiver *receiver)
{
	return ((TapReceiver *) receiver->core_data)->nrows;
}
