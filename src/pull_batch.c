/*-------------------------------------------------------------------------
 *
 * src/pull_batch.c
 *	  Hub transactions of a pull stream: many source transactions share one.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "notes.h"
#include "position.h"
#include "pull_private.h"
#include "worker.h"

/*
 * How long the stored position may stay behind the reached one while only
 * transactions pass that touch nothing of ours.
 */
#define POSITION_STORE_MS	5000

static char *write_position(TapPull *pull);
static void take_position(TapPull *pull, char *position);
static void publish_position(TapPull *pull);

void
tap_pull_batch_begin(TapPull *pull)
{
	MemoryContext old = CurrentMemoryContext;

	if (pull->state != TAP_PULL_IDLE)
		return;
	tap_worker_begin();
	MemoryContextSwitchTo(old);
	tap_apply_begin(pull->apply);
	pull->batch_started = GetCurrentTimestamp();
	pull->batch_bytes = 0;
	pull->batch_transactions = 0;
}

bool
tap_pull_batch_full(TapPull *pull)
{
	if (pull->careful || pull->batch_bytes >= pull->batch_max_bytes)
		return true;

	/* reading the clock costs more than a small change does */
	if (pull->batch_transactions % 16 != 0)
		return false;
	return TimestampDifferenceExceeds(pull->batch_started, GetCurrentTimestamp(),
									  pull->batch_ms);
}

void
tap_pull_batch_commit(TapPull *pull)
{
	int			transactions = pull->batch_transactions;
	Size		bytes = pull->batch_bytes;
	char	   *position;

	tap_apply_end(pull->apply);
	position = write_position(pull);
	tap_worker_commit();
	take_position(pull, position);
	pull->state = TAP_PULL_IDLE;

	pg_atomic_fetch_add_u64(&tap_worker_shared->transactions, transactions);
	pg_atomic_fetch_add_u64(&tap_worker_shared->bytes, bytes);
	publish_position(pull);
	MemoryContextReset(pull->batch_context);

	/* the changes at fault are dead letters now */
	if (pull->careful && pull->careful_rejects > 0)
		pull->careful = false;
}

void
tap_pull_batch_abort(TapPull *pull)
{
	AbortCurrentTransaction();
	tap_apply_abort(pull->apply);
	tap_pull_compare_abort(pull);
	tap_pull_moved_abort(pull);
	tap_notes_forget();
	MemoryContextReset(pull->batch_context);
	pull->state = TAP_PULL_IDLE;
}

void
tap_pull_position_moved(TapPull *pull, bool force)
{
	if (pull->position_moved)
	{
		char	   *position = pull->source->stream_position(pull->session->session);

		pfree(pull->position);
		pull->position = MemoryContextStrdup(pull->context, position);
		publish_position(pull);
	}
	else if (!force)
		return;

	if (force ||
		strlen(pull->position) >= TAP_POSITION_MAX_BYTES ||
		TimestampDifferenceExceeds(pull->position_stored_at,
								   GetCurrentTimestamp(), POSITION_STORE_MS))
	{
		char	   *position;

		tap_worker_begin();
		position = write_position(pull);
		tap_worker_commit();
		take_position(pull, position);
	}
}

/*
 * Write the position in the current transaction: the pipeline's row, or for a
 * table that is not in the pipeline's stream yet, the table's.  What is
 * returned is where we stand only when that has committed: a deferred
 * constraint can still refuse it.
 */
static char *
write_position(TapPull *pull)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	char	   *position = pull->source->stream_position(pull->session->session);

	MemoryContextSwitchTo(old);
	tap_pull_moved_write(pull);
	if (pull->is_sync)
	{
		TapPullTable *table = linitial(pull->tables);

		table->row.start_position = position;
		tap_catalog_update_table(&table->row);
	}
	else
	{
		tap_position_write(pull->pipeline->id, position);
		tap_notes_write(pull->pipeline->id);
	}
	return position;
}

static void
take_position(TapPull *pull, char *position)
{
	if (pull->position != NULL)
		pfree(pull->position);
	pull->position = position;
	pull->position_stored_at = GetCurrentTimestamp();
	pull->position_moved = false;
	if (pull->is_sync && tap_pull_sync_caught_up(pull))
		tap_pull_moved_settle(linitial(pull->tables));

	if (pull->unacknowledged != NULL)
		pfree(pull->unacknowledged);
	tap_notes_written();
	pull->unacknowledged = MemoryContextStrdup(pull->context, position);
	pull->unacknowledged_lsn = XactLastCommitEnd;
	tap_pull_acknowledge(pull);
}

void
tap_pull_acknowledge(TapPull *pull)
{
	if (pull->unacknowledged == NULL ||
		GetFlushRecPtr(NULL) < pull->unacknowledged_lsn)
		return;
	if (pull->source->acknowledge != NULL)
		pull->source->acknowledge(pull->session->session, pull->unacknowledged);
	pfree(pull->unacknowledged);
	pull->unacknowledged = NULL;
}

/*
 * Tell those who wait for the pipeline; a sync worker speaks only for itself.
 * They look for tables that do not stream yet, so that a table which was met
 * has to have its row before.
 */
static void
publish_position(TapPull *pull)
{
	if (!pull->is_sync && !tap_pull_unknown_any(pull))
		tap_shmem_set_reached(tap_worker_shared, pull->position,
							  pull->commit_time, pull->state != TAP_PULL_IDLE);
}
