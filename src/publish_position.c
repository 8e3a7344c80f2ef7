/*-------------------------------------------------------------------------
 *
 * src/publish_position.c
 *	  What of a publish pipeline is durable at the target, and who is told.
 *
 * NOTES
 *	  When a target has made a transaction durable, three are told, in this
 *	  order: the row of tapdata.position, the slot, and those who wait for the
 *	  pipeline.  So the slot never lets go of what the row says is still to be
 *	  sent.  The row holds positions of transactions only: that the slot moves
 *	  on over WAL that is none of ours is not written down, or two idle
 *	  pipelines would wake each other for ever by doing so.
 *
 *	  A target that keeps the position itself has at least what the row says.
 *	  When it has less, it lost what it had acknowledged.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "position.h"
#include "publish.h"
#include "publish_private.h"
#include "slot.h"
#include "worker.h"

/*
 * While transactions are on their way, these pauses are made between two times
 * of storing the position and of confirming to the slot.
 */
#define STORE_MS		200
#define CONFIRM_MS		1000

/* How often it is told how far behind we are. */
#define REPORT_MS		100

char *
tap_publish_lsn_text(XLogRecPtr lsn)
{
	return psprintf("%X/%X", LSN_FORMAT_ARGS(lsn));
}

XLogRecPtr
tap_publish_lsn_parse(const char *text)
{
	uint32		high;
	uint32		low;

	if (text == NULL || sscanf(text, "%X/%X", &high, &low) != 2)
		return InvalidXLogRecPtr;
	return ((uint64) high) << 32 | low;
}

/* ---------------------------------------------------------------------
 * Where to begin
 * ---------------------------------------------------------------------
 */

static XLogRecPtr
read_stored(const TapPublish *publish)
{
	char	   *text;
	XLogRecPtr	result;

	tap_worker_begin();
	text = tap_position_read(publish->pipeline->id);
	result = tap_publish_lsn_parse(text);
	tap_worker_commit();
	return result;
}

void
tap_publish_check_slot(const TapPublish *publish)
{
	char	   *reason = NULL;

	switch (tap_slot_state(publish->pipeline->id, NULL, NULL, &reason))
	{
		case TAP_SLOT_USABLE:
			return;
		case TAP_SLOT_MISSING:
			tap_publish_report_lost(publish,
									psprintf("Its replication slot \"%s\" is gone, and with it the changes since.",
											 tap_slot_name(publish->pipeline->id)));
			return;
		case TAP_SLOT_INVALIDATED:
			tap_publish_report_lost(publish,
									psprintf("Its replication slot \"%s\" was invalidated: %s.",
											 tap_slot_name(publish->pipeline->id), reason));
			return;
	}
}

/* Hub and target must belong to the same history. */
static void
check_history(const TapPublish *publish, XLogRecPtr target)
{
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);

	if (target > flushed || publish->stored > flushed)
		tap_publish_report_lost(publish,
								psprintf("The hub's WAL ends at %X/%X, but changes up to %X/%X were sent: the hub was restored to an earlier state.",
										 LSN_FORMAT_ARGS(flushed),
										 LSN_FORMAT_ARGS(Max(target, publish->stored))));
	if (publish->target_holds && target == InvalidXLogRecPtr)
		tap_publish_report_lost(publish,
								"The target does not remember a position of this pipeline any more.");
	if (publish->target_holds && target < publish->stored)
		tap_publish_report_lost(publish,
								psprintf("The target remembers position %X/%X, but had acknowledged %X/%X: it was restored to an earlier state.",
										 LSN_FORMAT_ARGS(target),
										 LSN_FORMAT_ARGS(publish->stored)));
}

bool
tap_publish_position_find(TapPublish *publish, XLogRecPtr target)
{
	publish->target_holds =
		(publish->session->connector->capabilities & TAP_HOLDS_POSITION) != 0 &&
		target != TAP_POSITION_NOT_HELD;
	if (!publish->target_holds)
		target = InvalidXLogRecPtr;
	publish->stored = read_stored(publish);
	if (publish->stored == InvalidXLogRecPtr)
		return false;

	tap_publish_check_slot(publish);
	check_history(publish, target);
	publish->resume = publish->written = publish->durable = Max(target, publish->stored);
	tap_shmem_set_reached(tap_worker_shared, tap_publish_lsn_text(publish->durable), 0, true);
	return true;
}

/* ---------------------------------------------------------------------
 * Progress
 * ---------------------------------------------------------------------
 */

bool
tap_publish_is_drained(const TapPublish *publish)
{
	return publish->durable >= publish->written &&
		publish->unknown == NIL && !publish->look_again &&
		(publish->decoder == NULL ||
		 tap_decode_peek(publish->decoder) == TAP_DECODED_NONE);
}

/*
 * Remember when it was committed.  With more transactions on their way than
 * there is room for, the newest mark stands for all that follow.
 */
void
tap_publish_position_begun(TapPublish *publish, const TapOutTxn *txn)
{
	if (publish->nmarks < TAP_PUBLISH_MARKS)
		publish->nmarks++;
	publish->marks[publish->nmarks - 1].lsn = txn->end_lsn;
	publish->marks[publish->nmarks - 1].commit_time = txn->commit_time;
}

/* Drop the marks of what is durable. */
static void
pass_marks(TapPublish *publish)
{
	int			passed = 0;

	while (passed < publish->nmarks && publish->marks[passed].lsn <= publish->durable)
		publish->commit_time = publish->marks[passed++].commit_time;
	if (passed == 0)
		return;
	publish->nmarks -= passed;
	memmove(publish->marks, publish->marks + passed,
			publish->nmarks * sizeof(TapPublishMark));
}

void
tap_publish_position_write(TapPublish *publish, XLogRecPtr lsn)
{
	tap_position_write(publish->pipeline->id, tap_publish_lsn_text(lsn));
}

/*
 * Write the row.  A crash may take it back a little: then the target's own
 * position, or the slot's, is the newer one.
 */
static void
store(TapPublish *publish, TimestampTz now)
{
	MemoryContext old = CurrentMemoryContext;
	XLogRecPtr	lsn = publish->durable;

	tap_worker_begin();
	if (tap_publish_has_dead_letters())
		tap_publish_store_dead_letters();
	else
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	if (lsn > publish->stored)
		tap_publish_position_write(publish, lsn);
	tap_worker_commit();
	MemoryContextSwitchTo(old);
	tap_publish_forget_dead_letters();
	publish->stored = Max(publish->stored, lsn);
	publish->stored_at = now;
}

/* How far everything is durable, or of no interest to the target. */
static XLogRecPtr
reached(const TapPublish *publish)
{
	if (publish->decoder != NULL && tap_publish_is_drained(publish))
		return Max(publish->durable, tap_decode_read_lsn(publish->decoder));
	return publish->durable;
}

/* How far the slot may let go of WAL: no transaction behind the stored one. */
static XLogRecPtr
confirmable(const TapPublish *publish)
{
	return publish->durable > publish->stored ? publish->stored : reached(publish);
}

static void
confirm(TapPublish *publish, TimestampTz now)
{
	XLogRecPtr	lsn = confirmable(publish);

	publish->confirmed_at = now;
	if (publish->decoder == NULL || lsn <= publish->confirmed)
		return;
	tap_decode_confirm(publish->decoder, lsn);
	publish->confirmed = lsn;
}

/* Tell those who look at tapdata.status, and who wait. */
static void
report(TapPublish *publish, TimestampTz now, bool behind)
{
	XLogRecPtr	lsn = reached(publish);
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);
	char	   *text = tap_publish_lsn_text(lsn);

	publish->reported_at = now;
	publish->reported_behind = behind;
	tap_shmem_set_reached(tap_worker_shared, text, publish->commit_time, behind);
	tap_shmem_set_behind_since(tap_worker_shared,
							   publish->nmarks > 0 ? publish->marks[0].commit_time : 0);
	pfree(text);
	text = tap_publish_lsn_text(flushed);
	tap_shmem_set_source_position(tap_worker_shared, text);
	pfree(text);
	pg_atomic_write_u64(&tap_worker_shared->lag_bytes,
						behind && flushed > lsn ? flushed - lsn : 0);
}

void
tap_publish_position_moved(TapPublish *publish)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		behind = !publish->caught_up || !tap_publish_is_drained(publish);

	pass_marks(publish);
	if (tap_publish_has_dead_letters() ||
		(publish->durable > publish->stored &&
		 TimestampDifferenceExceeds(publish->stored_at, now, STORE_MS)))
		store(publish, now);
	if (TimestampDifferenceExceeds(publish->confirmed_at, now, CONFIRM_MS))
		confirm(publish, now);
	if (!behind || !publish->reported_behind ||
		TimestampDifferenceExceeds(publish->reported_at, now, REPORT_MS))
		report(publish, now, behind);
}

long
tap_publish_position_due_ms(const TapPublish *publish)
{
	TimestampTz now = GetCurrentTimestamp();

	if (publish->durable > publish->stored)
		return Max(1, STORE_MS - TimestampDifferenceMilliseconds(publish->stored_at, now));
	if (publish->decoder != NULL && confirmable(publish) > publish->confirmed)
		return Max(1, CONFIRM_MS - TimestampDifferenceMilliseconds(publish->confirmed_at, now));
	return -1;
}
