/*-------------------------------------------------------------------------
 *
 * connectors/http/http_sink.c
 *	  The sink's callbacks.
 *
 * NOTES
 *	  No target of HTTP holds a position; the core keeps it in the hub.  What
 *	  was sent behind it is sent again after a crash: at least once, in order.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "utils/memutils.h"

static uint64
start(TapSession *session)
{
	char	   *hint = NULL;
	char	   *conflict = tap_http_options_conflict(&session->args, &hint);

	if (conflict != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("%s", conflict),
				 hint ? errhint("%s", hint) : 0));
	return 0;
}

static void *
prepare_table(TapSession *session, const TapSourceTable *table, const TapSourceTable *old,
			  void *old_data, bool known)
{
	MemoryContext before;
	void	   *target;

	if (session->dialect->needs_key)
		tap_http_require_key(table, session->dialect->name);
	if (old != NULL &&
		strcmp(tap_http_core->option_text(session->args.pipeline_options, "ddl"), "stop") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the format of table %s.%s changed", table->name.schema, table->name.name),
				 errdetail("The option \"ddl\" of the pipeline is \"stop\"."),
				 errhint("Change the target if it needs to be, set the option to apply or ignore, and start the pipeline again.")));
	before = MemoryContextSwitchTo(session->context);
	target = session->dialect->prepare_table(session, table, old, known);
	MemoryContextSwitchTo(before);
	return target;
}

static void
copy_begin(TapSession *session, const TapSourceTable *table, void *target, bool again)
{
	(void) table;
	if (!again || session->dialect->make_truncate == NULL)
		return;
	tap_http_queue_truncate(session, target, 0);
	tap_http_queue_drain(session);
}

static void
copy_end(TapSession *session, const TapSourceTable *table, void *target)
{
	(void) table;
	(void) target;
	tap_http_queue_drain(session);
}

static void
begin(TapSession *session, const TapOutTxn *txn)
{
	tap_http_queue_begin(session, txn);
}

static bool
write_change(TapSession *session, const TapOutChange *change)
{
	if (change->kind == TAP_CHANGE_TRUNCATE && session->dialect->make_truncate != NULL)
		tap_http_queue_truncate(session, change->table_data, tap_http_version(change));
	else
		session->dialect->write(session, change);
	return tap_http_queue_is_full(session);
}

static bool
commit(TapSession *session, const TapOutTxn *txn)
{
	tap_http_queue_commit(session, txn);
	return tap_http_queue_is_full(session);
}

static uint64
flush(TapSession *session, bool wait, bool idle)
{
	tap_http_queue_pump(session, idle);
	while (wait && tap_http_queue_is_full(session))
	{
		tap_http_queue_await(session);
		tap_http_queue_pump(session, idle);
	}
	return tap_http_queue_position(session);
}

static void
flush_wait(TapSession *session, TapWait *wait)
{
	tap_http_queue_wait(session, wait);
}

const TapSinkCallbacks tap_http_sink = {
	.start = start,
	.prepare_table = prepare_table,
	.copy_begin = copy_begin,
	.copy_end = copy_end,
	.begin = begin,
	.write = write_change,
	.commit = commit,
	.flush = flush,
	.flush_wait = flush_wait,
};
