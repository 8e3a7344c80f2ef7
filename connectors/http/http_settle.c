/*-------------------------------------------------------------------------
 *
 * connectors/http/http_settle.c
 *	  What becomes of a batch when its request was answered.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LEAST_BATCH_BYTES	1024

/* A pause that the server asked for is worth an event from here on. */
#define TOLD_PAUSE_MS		5000

TapHttpBatch *
tap_http_first_batch(TapHttpLane *lane)
{
	if (dlist_is_empty(&lane->batches))
		return NULL;
	return dlist_container(TapHttpBatch, node, dlist_head_node(&lane->batches));
}

/* The lane's first batch needs no more of the target. */
static void
settle(TapSession *session, TapHttpLane *lane)
{
	TapHttpBatch *batch = tap_http_first_batch(lane);

	dlist_delete(&batch->node);
	session->queue.nclosed--;
	if (!batch->truncate)
		session->queue.bytes -= batch->data.len;
	tap_http_batch_free(batch);
}

void
tap_http_raise_given_up(TapSession *session, TapHttpBatch *batch)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("the target at %s takes no requests", tap_http_place(session)),
			 errdetail("%d attempts failed, the last one with: %s", batch->attempts,
					   batch->failure),
			 errhint("Nothing is lost: the pipeline goes on from its position when the target answers again.")));
}

/*
 * Nothing may be committed before the pause is over, so an event about it would
 * not be seen.
 */
static void
tell_pause(int64 delay, const char *reason)
{
	MemoryContext context = CurrentMemoryContext;
	bool		begin = !IsTransactionState();

	if (begin)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	tap_http_core->event("retry", NULL,
						 psprintf("the target asks for a pause of %lld seconds: %s",
								  (long long) (delay / 1000), reason));
	if (begin)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/*
 * Once more, later.  When requests have failed for retry_ms it is an error: the
 * pipeline shows it, and the core tries again with a new session.  A pause that
 * the server asked for is kept before.
 */
static void
retry_later(TapSession *session, TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		delay;

	if (batch->attempts++ == 0)
		batch->first_failed_at = now;
	batch->failure = MemoryContextStrdup(batch->context, tap_http_describe_answer(session, answer));
	batch->given_up = TimestampDifferenceExceeds(batch->first_failed_at, now,
												 (int) session->settings.retry_ms);
	if (batch->given_up && answer->retry_after == 0)
		tap_http_raise_given_up(session, batch);
	delay = tap_http_retry_delay(batch->attempts, answer->retry_after);
	batch->retry_at = TimestampTzPlusMilliseconds(now, delay);
	if (answer->retry_after > 0 && delay >= TOLD_PAUSE_MS)
		tell_pause(delay, batch->failure);
	if (answer->status == 0)
		tap_http_next_host(session->client);
}

/*
 * Halve a batch: it was too large, and smaller ones are made from now on; or to
 * find what in it is refused.
 */
static void
split(TapSession *session, TapHttpLane *lane, const TapHttpAnswer *answer)
{
	TapHttpBatch *batch = tap_http_first_batch(lane);
	TapHttpBatch *rest;
	int			pending = tap_http_batch_pending(batch);

	if (pending <= 1)
	{
		tap_http_batch_refused(batch, answer->status == 413 ? ERRCODE_PROGRAM_LIMIT_EXCEEDED :
							   ERRCODE_DATA_EXCEPTION, tap_http_describe_answer(session, answer));
		settle(session, lane);
		return;
	}
	if (answer->status == 413)
		session->settings.batch_bytes = Max((Size) LEAST_BATCH_BYTES,
											Min(session->settings.batch_bytes,
												(Size) batch->data.len) / 2);
	for (int i = 0, seen = 0;; i++)
	{
		seen += !batch->items[i].settled;
		if (seen * 2 < pending)
			continue;
		rest = tap_http_batch_cut(session, batch, i + 1);
		break;
	}
	dlist_insert_after(&batch->node, &rest->node);
	session->queue.nclosed++;
	batch->attempts = 0;
}

/*
 * A refused batch.  While dead letters are kept one after the other, the
 * session stays as it is: an error leaves it to the core.
 */
static void
refuse(TapSession *session, TapHttpLane *lane, const TapHttpAnswer *answer)
{
	TapHttpBatch *batch = tap_http_first_batch(lane);

	if (batch->truncate)
		tap_http_raise_answer(session, answer, "truncate a target");
	tap_http_batch_refused(batch, ERRCODE_DATA_EXCEPTION, tap_http_describe_answer(session, answer));
	settle(session, lane);
}

static void
take_answer(TapSession *session, TapHttpLane *lane)
{
	TapHttpBatch *batch = tap_http_first_batch(lane);
	const TapHttpAnswer *answer = tap_http_answer(batch->transfer);
	TapHttpVerdict verdict = session->dialect->judge(session, batch, answer);

	switch (verdict)
	{
		case TAP_HTTP_AGAIN:
			retry_later(session, batch, answer);
			break;
		case TAP_HTTP_AT_ONCE:
			batch->attempts = 0;
			batch->retry_at = 0;
			break;
		case TAP_HTTP_SPLIT:
			split(session, lane, answer);
			break;
		case TAP_HTTP_REFUSED:
			refuse(session, lane, answer);
			break;
		case TAP_HTTP_DONE:
			settle(session, lane);
			break;
	}
}

bool
tap_http_read_answer(TapSession *session, TapHttpLane *lane)
{
	TapHttpBatch *batch = tap_http_first_batch(lane);
	TapHttpTransfer *transfer;

	if (batch == NULL || batch->transfer == NULL || tap_http_answer(batch->transfer) == NULL)
		return false;
	transfer = batch->transfer;
	session->queue.in_flight--;
	take_answer(session, lane);

	/* unless it was settled, and freed with its transfer */
	if (tap_http_first_batch(lane) == batch && batch->transfer == transfer)
	{
		tap_http_finish(transfer);
		batch->transfer = NULL;
	}
	return true;
}
