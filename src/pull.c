/*-------------------------------------------------------------------------
 *
 * src/pull.c
 *	  The pull pipeline worker: first copy, then the stream.
 *
 * NOTES
 *	  A worker begins where the stored position and the states of the
 *	  tables say:
 *
 *	  - no position: all tables are copied by this process and its helpers
 *		(snapshot.c), the position becomes the earliest of the positions
 *		noted before the copies, and all tables join the stream there;
 *	  - a position: the stream begins there.  Tables that were added since
 *		are copied by sync workers and join later (pull_sync.c).
 *
 *	  The stream is a state machine over the connector's events, the table
 *	  transitions[] below.  A hub transaction holds whole source
 *	  transactions: it is committed when nothing more is there to read, or
 *	  when it has become too long or too large, always behind a COMMIT of
 *	  the source, together with the position.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "position.h"
#include "pull.h"
#include "pull_private.h"
#include "worker.h"

/* How often the source is asked how far behind we are, while we are. */
#define LAG_CHECK_MS	10000

/* How soon to look again whether a commit is flushed, which nobody tells. */
#define ACKNOWLEDGE_MS	200

typedef TapPullState (*TapPullHandler) (TapPull *pull, const TapEvent *event);

static TapPullState on_none_idle(TapPull *pull, const TapEvent *event);
static TapPullState on_none_batch(TapPull *pull, const TapEvent *event);
static TapPullState on_none_txn(TapPull *pull, const TapEvent *event);
static TapPullState on_begin(TapPull *pull, const TapEvent *event);
static TapPullState on_change(TapPull *pull, const TapEvent *event);
static TapPullState on_commit(TapPull *pull, const TapEvent *event);
static TapPullState on_schema(TapPull *pull, const TapEvent *event);
static TapPullState on_heartbeat_idle(TapPull *pull, const TapEvent *event);
static TapPullState on_heartbeat_batch(TapPull *pull, const TapEvent *event);
static TapPullState on_stage(TapPull *pull, const TapEvent *event);
static TapPullState on_staged_commit(TapPull *pull, const TapEvent *event);
static TapPullState on_staged_rollback(TapPull *pull, const TapEvent *event);
static TapPullState on_compare_begin(TapPull *pull, const TapEvent *event);
static TapPullState on_compare_end(TapPull *pull, const TapEvent *event);
static TapPullState on_compare_given_up(TapPull *pull, const TapEvent *event);
static TapPullState on_unexpected(TapPull *pull, const TapEvent *event);

/* What happens at each event, by the state it meets. */
static const TapPullHandler transitions[TAP_PULL_NSTATES][TAP_EVENT_COMPARE_GIVEN_UP + 1] = {
	[TAP_PULL_IDLE] = {
		[TAP_EVENT_NONE] = on_none_idle,
		[TAP_EVENT_BEGIN] = on_begin,
		[TAP_EVENT_CHANGE] = on_unexpected,
		[TAP_EVENT_COMMIT] = on_unexpected,
		[TAP_EVENT_SCHEMA] = on_unexpected,
		[TAP_EVENT_HEARTBEAT] = on_heartbeat_idle,
		[TAP_EVENT_STAGE] = on_unexpected,
		[TAP_EVENT_STAGED_COMMIT] = on_unexpected,
		[TAP_EVENT_STAGED_ROLLBACK] = on_unexpected,
		[TAP_EVENT_COMPARE_BEGIN] = on_unexpected,
		[TAP_EVENT_COMPARE_END] = on_unexpected,
		[TAP_EVENT_COMPARE_GIVEN_UP] = on_unexpected
	},
	[TAP_PULL_BATCH] = {
		[TAP_EVENT_NONE] = on_none_batch,
		[TAP_EVENT_BEGIN] = on_begin,
		[TAP_EVENT_CHANGE] = on_unexpected,
		[TAP_EVENT_COMMIT] = on_unexpected,
		[TAP_EVENT_SCHEMA] = on_unexpected,
		[TAP_EVENT_HEARTBEAT] = on_heartbeat_batch,
		[TAP_EVENT_STAGE] = on_unexpected,
		[TAP_EVENT_STAGED_COMMIT] = on_unexpected,
		[TAP_EVENT_STAGED_ROLLBACK] = on_unexpected,
		[TAP_EVENT_COMPARE_BEGIN] = on_unexpected,
		[TAP_EVENT_COMPARE_END] = on_unexpected,
		[TAP_EVENT_COMPARE_GIVEN_UP] = on_unexpected
	},
	[TAP_PULL_TXN] = {
		[TAP_EVENT_NONE] = on_none_txn,
		[TAP_EVENT_BEGIN] = on_unexpected,
		[TAP_EVENT_CHANGE] = on_change,
		[TAP_EVENT_COMMIT] = on_commit,
		[TAP_EVENT_SCHEMA] = on_schema,
		[TAP_EVENT_HEARTBEAT] = on_unexpected,
		[TAP_EVENT_STAGE] = on_stage,
		[TAP_EVENT_STAGED_COMMIT] = on_staged_commit,
		[TAP_EVENT_STAGED_ROLLBACK] = on_staged_rollback,
		[TAP_EVENT_COMPARE_BEGIN] = on_compare_begin,
		[TAP_EVENT_COMPARE_END] = on_compare_end,
		[TAP_EVENT_COMPARE_GIVEN_UP] = on_compare_given_up
	}
};

static void between_transactions(TapPull *pull);
static void report_lag(TapPull *pull);
static void warn_of_purge(TapPull *pull, const char *detail, const char *hint);
static void restart_carefully(TapPull *pull, ErrorData *edata);
static void context_callback(void *arg);

void
tap_pull_main(int32 pipeline)
{
	TapPull    *pull = tap_pull_create(pipeline, 0);
	ErrorContextCallback errcallback;

	errcallback.callback = context_callback;
	errcallback.arg = pull;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;

	tap_shmem_set_state(tap_worker_shared, TAP_STATE_STARTING);
	tap_worker_begin();
	tap_position_setup_origin(pipeline);
	tap_worker_commit();

	if (pull->position == NULL && !pull->only_streams)
		tap_pull_first_copy(pull);

	tap_shmem_set_state(tap_worker_shared, TAP_STATE_CATCHUP);
	tap_pull_start_stream(pull);
	tap_pull_check_copies(pull);
	pull->position_moved = true;
	tap_pull_position_moved(pull, false);
	tap_pull_sync_start(pull);
	for (;;)
	{
		if (!tap_pull_drain(pull))
			tap_pull_wait(pull, LAG_CHECK_MS);
	}
}

/*
 * Give the error on.  Nobody below knows that there is another way than to
 * stop at what cannot be stored.
 */
static void
rethrow(const TapPull *pull, ErrorData *edata)
{
	const char *name = pull->pipeline->name;

	if (!pull->dead_letters && edata->hint == NULL &&
		tap_error_class(edata->sqlerrcode) == TAP_ERROR_DATA)
		edata->hint = psprintf("Mend the cause, or have what cannot be stored set aside by tapdata.alter_pipeline('%s', '{\"on_error\":\"dead_letter\"}'); then call tapdata.start('%s').",
							   name, name);
	FlushErrorState();
	ReThrowError(edata);
}

bool
tap_pull_drain(TapPull *pull)
{
	bool		any = false;
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		TapEvent	event;
		TapEventKind kind;

		do
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(pull->event_context);
			MemoryContextSwitchTo(pull->event_context);
			if (pull->state == TAP_PULL_IDLE)
				between_transactions(pull);
			if (pull->careful)
				kind = tap_pull_next_carefully(pull, &event);
			else
				kind = pull->source->stream_next(pull->session->session, &event);
			pull->state = transitions[pull->state][kind] (pull, &event);
			any |= kind != TAP_EVENT_NONE;
		} while (kind != TAP_EVENT_NONE ||
				 (tap_pull_unknown_any(pull) && pull->state == TAP_PULL_IDLE));
		MemoryContextSwitchTo(old);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		if (!pull->dead_letters || pull->careful ||
			tap_error_class(edata->sqlerrcode) != TAP_ERROR_DATA)
			rethrow(pull, edata);
		FlushErrorState();
		restart_carefully(pull, edata);
		any = true;
	}
	PG_END_TRY();
	return any;
}

/*
 * An error of data under on_error = dead_letter: read again from the last
 * commit and store change by change, so that only the one at fault is left
 * out.
 */
static void
restart_carefully(TapPull *pull, ErrorData *edata)
{
	ereport(LOG,
			(errmsg("pipeline \"%s\" looks for the change that cannot be stored",
					pull->pipeline->name),
			 errdetail("%s", edata->message)));
	FreeErrorData(edata);
	tap_pull_batch_abort(pull);
	pull->careful = true;
	pull->careful_rejects = 0;
	tap_pull_start_stream(pull);
}

void
tap_pull_wait(TapPull *pull, long timeout_ms)
{
	TapWait		wait = {.socket = PGINVALID_SOCKET,.timeout_ms = -1};
	long		look_ms = tap_pull_unknown_due(pull);

	pull->source->stream_wait(pull->session->session, &wait);

	/* with nothing to do at all no clock wakes us */
	if (pull->unacknowledged != NULL)
		timeout_ms = Min(timeout_ms < 0 ? ACKNOWLEDGE_MS : timeout_ms, ACKNOWLEDGE_MS);
	else if (!pull->position_moved && pull->state != TAP_PULL_TXN &&
			 !pull->joining && !pull->sync_pending &&
			 tap_worker_shared->join_waiting == 0)
		timeout_ms = -1;
	if (wait.timeout_ms >= 0 && (timeout_ms < 0 || wait.timeout_ms < timeout_ms))
		timeout_ms = wait.timeout_ms;
	if (look_ms >= 0 && (timeout_ms < 0 || look_ms < timeout_ms))
		timeout_ms = look_ms;
	tap_worker_wait(wait.socket, wait.events, timeout_ms);
}

/* Housekeeping that needs the stream to stand between two transactions. */
static void
between_transactions(TapPull *pull)
{
	if (pull->is_sync)
		return;

	if (tap_pull_unknown_any(pull))
		tap_pull_unknown_take(pull);

	/* what a sync worker does in the pause is read right below */
	if (tap_worker_shared->join_waiting > 0)
		tap_pull_sync_pause(pull);
	if (tap_worker_catalog_changed())
	{
		tap_pull_tables_load(pull);
		tap_pull_sync_start(pull);
		if (pull->only_streams && tap_pull_tables_fresh(pull) != NIL)
			tap_pull_start_stream(pull);
		else
			pull->source->stream_refollow(pull->session->session);
	}
	if (pull->sync_pending || tap_pull_sync_ended(pull))
		tap_pull_sync_start(pull);
}

static TapPullState
on_none_idle(TapPull *pull, const TapEvent *event)
{
	pull->behind = event->behind;

	/* Nobody else sets the state, so that it can be read without its mutex. */
	if (!event->behind &&
		(pull->joining ||
		 (!pull->is_sync && tap_worker_shared->state != TAP_STATE_STREAMING)))
		tap_pull_tables_joined(pull);
	tap_pull_position_moved(pull, false);
	tap_pull_acknowledge(pull);
	if (event->behind)
	{
		report_lag(pull);
		return TAP_PULL_IDLE;
	}

	/* all of the log was read: where we are is where the source is */
	if (!pull->is_sync)
	{
		pg_atomic_write_u64(&tap_worker_shared->lag_bytes, 0);
		tap_shmem_set_source_position(tap_worker_shared, pull->position);
	}
	return TAP_PULL_IDLE;
}

static TapPullState
on_none_batch(TapPull *pull, const TapEvent *event)
{
	tap_pull_batch_commit(pull);
	return on_none_idle(pull, event);
}

/* The rest of the transaction is still on its way. */
static TapPullState
on_none_txn(TapPull *pull, const TapEvent *event)
{
	return TAP_PULL_TXN;
}

static TapPullState
on_begin(TapPull *pull, const TapEvent *event)
{
	tap_pull_batch_begin(pull);
	if (pull->joining)
		tap_pull_tables_txn_begins(pull);
	pull->batch_bytes += event->bytes;
	return TAP_PULL_TXN;
}

static TapPullState
on_change(TapPull *pull, const TapEvent *event)
{
	pull->batch_bytes += event->bytes;
	if (pull->careful)
		tap_pull_change_carefully(pull, event);
	else
		tap_pull_change(pull, event);
	return TAP_PULL_TXN;
}

static TapPullState
on_commit(TapPull *pull, const TapEvent *event)
{
	pull->batch_bytes += event->bytes;
	pull->batch_transactions++;
	if (event->commit_time != 0)
		pull->commit_time = event->commit_time;
	if (!tap_pull_batch_full(pull))
		return TAP_PULL_BATCH;
	tap_pull_batch_commit(pull);
	if (pull->joining)
		tap_pull_tables_joined(pull);
	report_lag(pull);
	return TAP_PULL_IDLE;
}

static TapPullState
on_schema(TapPull *pull, const TapEvent *event)
{
	tap_pull_schema(pull, event);
	return TAP_PULL_TXN;
}

static TapPullState
on_heartbeat_idle(TapPull *pull, const TapEvent *event)
{
	pull->position_moved = true;
	if (event->commit_time != 0)
		pull->commit_time = event->commit_time;
	tap_pull_position_moved(pull, false);
	tap_pull_acknowledge(pull);
	return TAP_PULL_IDLE;
}

/* The commit of the batch will take the position along. */
static TapPullState
on_heartbeat_batch(TapPull *pull, const TapEvent *event)
{
	return TAP_PULL_BATCH;
}

static TapPullState
on_stage(TapPull *pull, const TapEvent *event)
{
	tap_catalog_stage(pull->pipeline->id, pull->sync_table, event->staged_id,
					  event->staged_data, event->staged_bytes);
	return TAP_PULL_TXN;
}

static void
apply_staged_chunk(void *arg, const char *data, Size bytes)
{
	TapPull    *pull = arg;
	TapEvent	event;
	TapEventKind kind;

	pull->source->unstage(pull->session->session, data, bytes);
	while ((kind = pull->source->stream_next(pull->session->session, &event)) != TAP_EVENT_NONE)
	{
		CHECK_FOR_INTERRUPTS();
		pull->state = transitions[TAP_PULL_TXN][kind] (pull, &event);
	}
}

/*
 * What was prepared before a table's copy began has been kept by the
 * pipeline's own stream, which may have applied it already.
 */
static bool
apply_staged(TapPull *pull, const char *staged_id)
{
	int32		pipeline = pull->pipeline->id;

	if (tap_catalog_unstage(pipeline, pull->sync_table, staged_id, false,
							apply_staged_chunk, pull))
	{
		if (!pull->is_sync && tap_pull_sync_needed(pull))
		{
			tap_catalog_keep_staged(pipeline, staged_id);
			pull->staged_kept = true;
		}
		else
			tap_catalog_delete_staged(pipeline, pull->sync_table, staged_id);
		return true;
	}
	return pull->is_sync &&
		(tap_catalog_unstage(pipeline, 0, staged_id, true, apply_staged_chunk, pull) ||
		 tap_catalog_unstage(pipeline, 0, staged_id, false, apply_staged_chunk, pull));
}

static TapPullState
on_staged_commit(TapPull *pull, const TapEvent *event)
{
	char	   *staged_id = pstrdup(event->staged_id);

	if (apply_staged(pull, staged_id))
		return TAP_PULL_TXN;

	/* the pipeline's stream gets there later, or else fails itself */
	if (pull->is_sync)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("prepared transaction %s was committed at the source, but its changes are not here yet",
						staged_id),
				 errdetail("The stream of pipeline \"%s\" has not come to its beginning.",
						   pull->pipeline->name)));
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("prepared transaction %s was committed at the source, but its changes are not here",
						staged_id),
				 errdetail("It was prepared before this pipeline began to read the log."),
				 errhint("Call tapdata.resync('%s') to copy the tables again.",
						 pull->pipeline->name)));
	return TAP_PULL_TXN;
}

static TapPullState
on_staged_rollback(TapPull *pull, const TapEvent *event)
{
	tap_catalog_delete_staged(pull->pipeline->id, pull->sync_table,
							  event->staged_id);
	return TAP_PULL_TXN;
}

static TapPullState
on_compare_begin(TapPull *pull, const TapEvent *event)
{
	tap_pull_compare_begin(pull, event);
	return TAP_PULL_TXN;
}

static TapPullState
on_compare_end(TapPull *pull, const TapEvent *event)
{
	tap_pull_compare_end(pull, event);
	return TAP_PULL_TXN;
}

static TapPullState
on_compare_given_up(TapPull *pull, const TapEvent *event)
{
	tap_pull_compare_give_up(pull, event);
	return TAP_PULL_TXN;
}

static TapPullState
on_unexpected(TapPull *pull, const TapEvent *event)
{
	elog(ERROR, "connector returned event %d in state %d of the stream",
		 (int) event->kind, (int) pull->state);
	return pull->state;
}

static void
count_change(TapTableShared *shared, TapChangeKind kind)
{
	switch (kind)
	{
		case TAP_CHANGE_INSERT:
			pg_atomic_fetch_add_u64(&tap_worker_shared->inserts, 1);
			if (shared)
				pg_atomic_fetch_add_u64(&shared->inserts, 1);
			break;
		case TAP_CHANGE_UPDATE:
			pg_atomic_fetch_add_u64(&tap_worker_shared->updates, 1);
			if (shared)
				pg_atomic_fetch_add_u64(&shared->updates, 1);
			break;
		case TAP_CHANGE_DELETE:
			pg_atomic_fetch_add_u64(&tap_worker_shared->deletes, 1);
			if (shared)
				pg_atomic_fetch_add_u64(&shared->deletes, 1);
			break;
		case TAP_CHANGE_TRUNCATE:
			if (shared)
				pg_atomic_fetch_add_u64(&shared->truncates, 1);
			break;
		case TAP_CHANGE_READ:
			break;
	}
}

void
tap_pull_change(TapPull *pull, const TapEvent *event)
{
	TapPullTable *table = event->table_data;
	TapApplyMode mode = TAP_APPLY_STRICT;

	if (!table->carried || table->covered || tap_pull_compare_takes(pull, event))
		return;
	if (event->lenient || (table->row.state != TAP_TABLE_STREAMING && !table->row.exact))
		mode = TAP_APPLY_CATCHUP;
	if (table->target == NULL)
		tap_pull_table_target(pull, table, event->table);
	tap_apply_change(pull->apply, table->target, event, mode);
	if (event->change == TAP_CHANGE_TRUNCATE)
		tap_pull_table_is_whole(table);
	count_change(table->shared, event->change);
}

/* Said once: the stream will fail by itself if it comes to the gap. */
static void
warn_of_purge(TapPull *pull, const char *detail, const char *hint)
{
	static bool warned = false;

	if (warned)
		return;
	warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the source no longer holds its log from the position of pipeline \"%s\" on",
					pull->pipeline->name),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
	tap_worker_begin();
	tap_catalog_insert_event(pull->pipeline->name, NULL, "warning", "log purged",
							 psprintf("the source no longer holds its log from the pipeline's position on: %s",
									  detail));
	tap_worker_commit();
	MemoryContextSwitchTo(pull->event_context);
}

/* Publish how far behind the stream is; asks the source only while it is. */
static void
report_lag(TapPull *pull)
{
	static TimestampTz last_check = 0;
	TimestampTz now = GetCurrentTimestamp();
	bool		purged = false;
	char	   *detail = NULL;
	char	   *hint = NULL;
	int64		behind;
	TapOpenSession *session;

	if (pull->is_sync || !TimestampDifferenceExceeds(last_check, now, LAG_CHECK_MS))
		return;
	last_check = now;
	session = tap_pull_ask(pull);
	behind = pull->source->log_behind(session->session, pull->position,
									  &purged, &detail, &hint);
	tap_shmem_set_source_position(tap_worker_shared,
								  pull->source->current_position(session->session));
	tap_session_close(session);
	if (purged)
		warn_of_purge(pull, detail, hint);
	pg_atomic_write_u64(&tap_worker_shared->lag_bytes,
						behind < 0 ? PG_UINT64_MAX : (uint64) behind);
}

static void
context_callback(void *arg)
{
	TapPull    *pull = arg;
	char	   *change;

	if (pull->apply != NULL && (change = tap_apply_current(pull->apply)) != NULL)
		errcontext("storing a change of %s", change);
	if (pull->position != NULL)
		errcontext("pipeline \"%s\", after position %s",
				   pull->pipeline->name, pull->position);
	else
		errcontext("pipeline \"%s\"", pull->pipeline->name);
}
