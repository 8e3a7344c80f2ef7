/*-------------------------------------------------------------------------
 *
 * connectors/http/http_queue.c
 *	  Batches on their way, in lanes; and the position that is reached.
 *
 * NOTES
 *	  A lane sends one batch at a time, the next when the former is settled:
 *	  what is in a lane arrives in the order of the hub.  A batch that is a
 *	  barrier (TRUNCATE, a key that changed while there is more than one lane)
 *	  is sent when all that came before it is settled, and holds back all that
 *	  comes after it.
 *
 *	  When a batch is closed: it is full, or nothing more is to come, or it has
 *	  waited LINGER_MS.  One that holds the beginning of a hub transaction waits
 *	  for its end, so that whole transactions are sent together where they fit.
 *
 *	  The position: each batch knows the one that was reached when its first
 *	  change was added.  The smallest of those of all batches that are not
 *	  settled is reached at the target.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LINGER_MS			50
#define MOST_CLOSED			16	/* batches that wait */

/* ---------------------------------------------------------------------
 * Lanes
 * ---------------------------------------------------------------------
 */

static TapHttpLane *
add_lane(TapSession *session)
{
	TapHttpQueue *queue = &session->queue;
	TapHttpLane *lane;

	if (queue->nlanes == queue->max_lanes)
	{
		TapHttpLane *lanes = MemoryContextAllocZero(session->context,
													sizeof(TapHttpLane) * queue->max_lanes * 2);

		/* the heads of the lists are moved by hand: elements point to them */
		for (int i = 0; i < queue->nlanes; i++)
		{
			dlist_init(&lanes[i].batches);
			while (!dlist_is_empty(&queue->lanes[i].batches))
				dlist_push_tail(&lanes[i].batches,
								dlist_pop_head_node(&queue->lanes[i].batches));
			lanes[i].open = queue->lanes[i].open;
			lanes[i].owner = queue->lanes[i].owner;
		}
		pfree(queue->lanes);
		queue->lanes = lanes;
		queue->max_lanes *= 2;
	}
	lane = &queue->lanes[queue->nlanes++];
	dlist_init(&lane->batches);
	return lane;
}

void
tap_http_queue_init(TapSession *session)
{
	TapHttpQueue *queue = &session->queue;

	queue->max_lanes = Max(session->settings.max_in_flight, 4);
	queue->lanes = MemoryContextAllocZero(session->context,
										  sizeof(TapHttpLane) * queue->max_lanes);
	if (!session->dialect->lane_per_table)
	{
		for (int i = 0; i < session->settings.max_in_flight; i++)
			(void) add_lane(session);
	}
}

void
tap_http_queue_free(TapSession *session)
{
	TapHttpQueue *queue = &session->queue;

	/* the memory goes with the session; requests of libcurl do not */
	for (int i = 0; i < queue->nlanes; i++)
	{
		dlist_iter	iter;

		dlist_foreach(iter, &queue->lanes[i].batches)
		{
			TapHttpBatch *batch = dlist_container(TapHttpBatch, node, iter.cur);

			if (batch->transfer != NULL)
				tap_http_finish(batch->transfer);
			batch->transfer = NULL;
		}
	}
	queue->nlanes = 0;
}

static TapHttpLane *
choose_lane(TapSession *session, void *target, uint32 hash)
{
	TapHttpQueue *queue = &session->queue;
	TapHttpLane *lane;

	if (!session->dialect->lane_per_table)
		return &queue->lanes[hash % queue->nlanes];
	for (int i = 0; i < queue->nlanes; i++)
	{
		if (queue->lanes[i].owner == target)
			return &queue->lanes[i];
	}
	lane = add_lane(session);
	lane->owner = target;
	return lane;
}

/* ---------------------------------------------------------------------
 * Filling
 * ---------------------------------------------------------------------
 */

static void
close_batch(TapHttpQueue *queue, TapHttpLane *lane)
{
	if (lane->open == NULL)
		return;
	queue->nclosed++;
	dlist_push_tail(&lane->batches, &lane->open->node);
	lane->open = NULL;
}

/* Before a barrier: a batch that stays open would take changes from behind it. */
static void
close_all_lanes(TapHttpQueue *queue)
{
	for (int i = 0; i < queue->nlanes; i++)
		close_batch(queue, &queue->lanes[i]);
}

static TapHttpBatch *
open_batch(TapSession *session, TapHttpLane *lane, void *target)
{
	TapHttpBatch *batch = tap_http_batch_create(session, target);

	batch->sequence = ++session->queue.sequence;
	batch->covered_before = session->queue.last_end;
	lane->open = batch;
	return batch;
}

/*
 * Make room in the lane's open batch for so many bytes more.  The beginning
 * of the open transaction is moved to a batch of its own where that may let
 * it fit.
 */
static void
make_room(TapSession *session, TapHttpLane *lane, Size more)
{
	TapHttpQueue *queue = &session->queue;
	TapHttpBatch *batch = lane->open;
	TapHttpBatch *rest;

	if (batch == NULL || batch->nitems == 0)
		return;
	if (batch->nitems < session->settings.batch_rows &&
		batch->data.len + more <= session->settings.batch_bytes)
		return;
	if (batch->open_txn <= 0 || session->dialect->has_ids)
	{
		close_batch(queue, lane);
		return;
	}
	rest = tap_http_batch_cut(session, batch, batch->open_txn);
	batch->open_txn = -1;
	close_batch(queue, lane);
	rest->sequence = ++session->queue.sequence;
	rest->covered_before = session->queue.last_end;
	rest->open_txn = 0;
	lane->open = rest;
}

void
tap_http_queue_add(TapSession *session, const TapHttpAddition *addition)
{
	TapHttpQueue *queue = &session->queue;
	TapHttpLane *lane = choose_lane(session, addition->target, addition->hash);
	TapHttpBatch *batch;

	if (addition->barrier)
		close_all_lanes(queue);
	make_room(session, lane, addition->length);
	batch = lane->open ? lane->open : open_batch(session, lane, addition->target);
	if (batch->open_txn < 0 && queue->txn_changes > 0)
		batch->open_txn = batch->nitems;
	tap_http_batch_add(batch, addition);
	queue->bytes += addition->length;
	if (addition->barrier)
	{
		batch->barrier = true;
		close_batch(queue, lane);
	}
}

void
tap_http_queue_truncate(TapSession *session, void *target, uint64 version)
{
	TapHttpQueue *queue = &session->queue;
	TapHttpLane *lane = choose_lane(session, target, 0);
	TapHttpBatch *batch;

	close_all_lanes(queue);
	batch = open_batch(session, lane, target);
	batch->truncate = true;
	batch->version = version;
	batch->barrier = true;
	close_batch(queue, lane);
}

void
tap_http_queue_begin(TapSession *session, const TapOutTxn *txn)
{
	TapHttpQueue *queue = &session->queue;

	queue->txn_changes = Max(txn->nchanges, 1);

	/*
	 * a transaction that fits one batch is not to begin in the rest of
	 * another
	 */
	for (int i = 0; i < queue->nlanes; i++)
	{
		TapHttpLane *lane = &queue->lanes[i];

		if (lane->open != NULL && queue->nlanes == 1 &&
			lane->open->nitems + txn->nchanges > session->settings.batch_rows)
			close_batch(queue, lane);
	}
}

void
tap_http_queue_commit(TapSession *session, const TapOutTxn *txn)
{
	TapHttpQueue *queue = &session->queue;

	queue->txn_changes = 0;
	queue->last_end = txn->end_lsn;
	for (int i = 0; i < queue->nlanes; i++)
	{
		if (queue->lanes[i].open != NULL)
			queue->lanes[i].open->open_txn = -1;
	}
}

bool
tap_http_queue_is_full(TapSession *session)
{
	return session->queue.bytes >= 2 * session->settings.batch_bytes ||
		session->queue.nclosed >= MOST_CLOSED + session->settings.max_in_flight;
}

uint64
tap_http_queue_position(TapSession *session)
{
	TapHttpQueue *queue = &session->queue;
	uint64		position = queue->last_end;

	for (int i = 0; i < queue->nlanes; i++)
	{
		TapHttpBatch *batch = tap_http_first_batch(&queue->lanes[i]);

		if (batch == NULL)
			batch = queue->lanes[i].open;
		if (batch != NULL && batch->covered_before < position)
			position = batch->covered_before;
	}
	return position;
}

/* ---------------------------------------------------------------------
 * Sending
 * ---------------------------------------------------------------------
 */

/* The first barrier that is not settled, and the first batch of all. */
static void
find_order(TapHttpQueue *queue, int64 *first, int64 *barrier)
{
	*first = PG_INT64_MAX;
	*barrier = PG_INT64_MAX;
	for (int i = 0; i < queue->nlanes; i++)
	{
		TapHttpLane *lane = &queue->lanes[i];
		dlist_iter	iter;

		if (lane->open != NULL)
			*first = Min(*first, lane->open->sequence);
		dlist_foreach(iter, &lane->batches)
		{
			TapHttpBatch *batch = dlist_container(TapHttpBatch, node, iter.cur);

			*first = Min(*first, batch->sequence);
			if (batch->barrier)
				*barrier = Min(*barrier, batch->sequence);
		}
	}
}

static bool
may_send(TapSession *session, TapHttpBatch *batch)
{
	int64		first;
	int64		barrier;

	if (batch->transfer != NULL ||
		session->queue.in_flight >= session->settings.max_in_flight)
		return false;
	if (batch->retry_at != 0 && batch->retry_at > GetCurrentTimestamp())
		return false;
	if (session->queue.nlanes == 1)
		return true;
	find_order(&session->queue, &first, &barrier);
	if (batch->barrier)
		return batch->sequence <= first;
	return batch->sequence <= barrier;
}

static void
send_batch(TapSession *session, TapHttpBatch *batch)
{
	MemoryContext before;

	if (batch->given_up)
		tap_http_raise_given_up(session, batch);
	before = MemoryContextSwitchTo(batch->context);
	if (batch->body.data != NULL)
		pfree(batch->body.data);
	initStringInfo(&batch->body);
	memset(&batch->request, 0, sizeof(TapHttpRequest));
	if (batch->truncate)
		session->dialect->make_truncate(session, batch);
	else
		session->dialect->make_request(session, batch);
	batch->transfer = tap_http_begin(session->client, &batch->request);
	session->queue.in_flight++;
	MemoryContextSwitchTo(before);
}

static bool
may_close(TapSession *session, TapHttpBatch *batch, bool all)
{
	if (session->queue.force)
		return true;
	if (batch->open_txn >= 0)
		return false;
	return all || batch->nitems >= session->settings.batch_rows ||
		batch->data.len >= session->settings.batch_bytes ||
		TimestampDifferenceExceeds(batch->created_at, GetCurrentTimestamp(), LINGER_MS);
}

/*
 * Close batches that need not wait for more.  A barrier waits for what came
 * before it, so what came before it must not wait for more.
 */
static void
close_batches(TapSession *session, bool all)
{
	TapHttpQueue *queue = &session->queue;
	int64		first;
	int64		barrier;

	find_order(queue, &first, &barrier);
	for (int i = 0; i < queue->nlanes; i++)
	{
		TapHttpLane *lane = &queue->lanes[i];

		if (lane->open == NULL || tap_http_first_batch(lane) != NULL)
			continue;
		if (lane->open->sequence < barrier && barrier != PG_INT64_MAX)
			close_batch(queue, lane);
		else if (may_close(session, lane->open, all))
			close_batch(queue, lane);
	}
}

static bool
send_batches(TapSession *session)
{
	bool		any = false;

	for (int i = 0; i < session->queue.nlanes; i++)
	{
		TapHttpBatch *batch = tap_http_first_batch(&session->queue.lanes[i]);

		if (batch == NULL || !may_send(session, batch))
			continue;
		send_batch(session, batch);
		any = true;
	}
	return any;
}

static void
pump(TapSession *session, bool all)
{
	bool		progress;

	do
	{
		progress = false;
		tap_http_pump(session->client);
		for (int i = 0; i < session->queue.nlanes; i++)
		{
			if (tap_http_read_answer(session, &session->queue.lanes[i]))
				progress = true;
		}
		close_batches(session, all);
		if (send_batches(session))
			progress = true;
		CHECK_FOR_INTERRUPTS();
	} while (progress);
}

void
tap_http_queue_pump(TapSession *session, bool all)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "tapdata http pump",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(scratch);

	/* full of batches that each could still grow */
	session->queue.force = tap_http_queue_is_full(session) && session->queue.in_flight == 0;
	pump(session, all);
	session->queue.force = false;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
}

/* ---------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------
 */

static void
wait_no_longer_than(TapWait *wait, TimestampTz until)
{
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

	/* not a moment too early, or it would be for nothing */
	left++;
	if (wait->timeout_ms < 0 || left < wait->timeout_ms)
		wait->timeout_ms = left;
}

void
tap_http_queue_wait(TapSession *session, TapWait *wait)
{
	TapHttpQueue *queue = &session->queue;

	tap_http_client_wait(session->client, wait);
	for (int i = 0; i < queue->nlanes; i++)
	{
		TapHttpBatch *batch = tap_http_first_batch(&queue->lanes[i]);
		TapHttpBatch *open = queue->lanes[i].open;

		if (batch != NULL && batch->transfer == NULL && batch->retry_at != 0)
			wait_no_longer_than(wait, batch->retry_at);
		else if (batch == NULL && open != NULL && open->open_txn < 0)
			wait_no_longer_than(wait, TimestampTzPlusMilliseconds(open->created_at, LINGER_MS));
	}
}

void
tap_http_queue_await(TapSession *session)
{
	TapWait		wait;

	tap_http_queue_wait(session, &wait);
	if (wait.socket == PGINVALID_SOCKET && wait.timeout_ms < 0)
		return;
	(void) tap_http_core->wait_socket(wait.socket, wait.events, wait.timeout_ms);
	CHECK_FOR_INTERRUPTS();
}

static bool
is_empty(TapHttpQueue *queue)
{
	for (int i = 0; i < queue->nlanes; i++)
	{
		if (queue->lanes[i].open != NULL || tap_http_first_batch(&queue->lanes[i]) != NULL)
			return false;
	}
	return true;
}

void
tap_http_queue_drain(TapSession *session)
{
	for (;;)
	{
		tap_http_queue_pump(session, true);
		if (is_empty(&session->queue))
			break;
		tap_http_queue_await(session);
	}
}
