/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_sink.c
 *	  The callbacks of the sink.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include "access/xact.h"
#include "kafka_format.h"
#include "kafka_source.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long to wait for room in the queue before looking again. */
#define ROOM_POLL_MS		5

/* How often is seen whether a copy goes on. */
#define COPY_POLL_MS		500

TapSession *
tap_kafka_open(const TapSessionArgs *args)
{
	MemoryContext before = MemoryContextSwitchTo(args->context);
	TapSession *session = palloc0(sizeof(TapSession));

	session->args = *args;
	if (tap_kafka_reads(args))
	{
		tap_kafka_source_open(session);
		MemoryContextSwitchTo(before);
		return session;
	}
	tap_kafka_read_settings(session);
	initStringInfo(&session->key);
	initStringInfo(&session->value);
	initStringInfo(&session->scratch);
	initStringInfo(&session->txn_id);
	session->row_context = AllocSetContextCreate(args->context, "tapdata kafka row",
												 ALLOCSET_DEFAULT_SIZES);
	session->pending_context = AllocSetContextCreate(args->context, "tapdata kafka pending",
													 ALLOCSET_DEFAULT_SIZES);
	if (args->purpose == TAP_PURPOSE_SINK)
		tap_row_json_settle();
	session->client = tap_kafka_client_new(RD_KAFKA_PRODUCER,
										   tap_kafka_producer_properties(session));
	tap_kafka_delivery_init(session);
	MemoryContextSwitchTo(before);
	return session;
}

void
tap_kafka_close(TapSession *session)
{
	if (session == NULL)
		return;
	tap_kafka_source_close(session);
	tap_kafka_client_free(session->client);
}

/*
 * Fencing comes first: what an older producer of the pipeline left open is
 * aborted, and it can commit nothing more, before the position is read.
 */
static uint64
start(TapSession *session)
{
	tap_kafka_extra_prepare(session);
	if (!session->settings.exactly_once)
		return TAP_POSITION_NOT_HELD;
	session->position_topic = tap_kafka_topic(session, session->settings.position_topic, true, false);
	tap_kafka_txn_init(session);
	return tap_kafka_read_position(session);
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

static AttrNumber
find_column(const TapSourceTable *table, const char *name)
{
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->descriptor, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of option \"key_columns\" is not in table %s.%s",
					name, table->name.schema, table->name.name)));
	return 0;
}

/* The list for a table, or for all of them; NULL: none is given. */
static JsonbValue *
key_list(Jsonb *option, const char *full_name)
{
	JsonbValue	key;

	if (JB_ROOT_IS_ARRAY(option) && !JB_ROOT_IS_SCALAR(option))
	{
		JsonbValue *all = palloc(sizeof(JsonbValue));

		all->type = jbvBinary;
		all->val.binary.data = &option->root;
		return all;
	}
	if (!JB_ROOT_IS_OBJECT(option))
		return NULL;
	key.type = jbvString;
	key.val.string.val = unconstify(char *, full_name);
	key.val.string.len = strlen(full_name);
	return findJsonbValueFromContainer(&option->root, JB_FOBJECT, &key);
}

static void
read_key_list(TapKafkaTable *table, const JsonbValue *list)
{
	JsonbContainer *array = list->val.binary.data;
	int			count = JsonContainerSize(array);

	table->source.keys = palloc(sizeof(AttrNumber) * (count + 1));
	table->source.nkeys = count;
	for (int i = 0; i < count; i++)
	{
		JsonbValue *name = getIthJsonbValueFromContainer(array, i);

		table->source.keys[i] = find_column(&table->source,
											pnstrdup(name->val.string.val, name->val.string.len));
	}
}

static void
choose_key(TapSession *session, TapKafkaTable *table)
{
	Jsonb	   *option;
	JsonbValue *list;

	if (session->settings.key_columns == NULL)
		return;
	option = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												CStringGetDatum(session->settings.key_columns)));
	list = key_list(option, table->full_name);
	if (list != NULL)
		read_key_list(table, list);
}

static void *
prepare_table(TapSession *session, const TapSourceTable *source, const TapSourceTable *old,
			  void *old_data, bool known)
{
	MemoryContext before = MemoryContextSwitchTo(session->args.context);
	TapKafkaTable *table = palloc0(sizeof(TapKafkaTable));
	char	   *name = tap_kafka_topic_name(session->settings.topic, session->settings.database,
											&source->name);

	table->source = *source;
	table->full_name = psprintf("%s.%s", source->name.schema, source->name.name);
	table->schema_name = tap_kafka_utf8(source->name.schema);
	table->table_name = tap_kafka_utf8(source->name.name);
	table->collection = psprintf("%s.%s", table->schema_name, table->table_name);
	choose_key(session, table);
	table->json = tap_row_json_prepare(&table->source);
	table->topic = tap_kafka_topic(session, name, false, known);
	if (table->topic->table == NULL)
		table->topic->table = &table->source.name;
	tap_kafka_prepare_format(session, table);
	session->tables = lappend(session->tables, table);
	MemoryContextSwitchTo(before);
	return table;
}

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

static void
begin(TapSession *session, const TapOutTxn *txn)
{
	session->in_hub_txn = true;
	tap_kafka_batch_begin(session, txn->end_lsn);
}

static bool
write_change(TapSession *session, const TapOutChange *change)
{
	bool		flush;

	tap_kafka_extra_change(session, change);
	flush = tap_kafka_write_change(session, change);

	/* a copy is not bound to transactions of the hub */
	return flush || (change->txn == NULL && session->txn_state == TAP_KAFKA_TXN_OPEN &&
					 session->unserved == 0 && tap_kafka_txn_is_full(session));
}

static bool
commit(TapSession *session, const TapOutTxn *txn)
{
	tap_kafka_extra_commit(session, txn);
	session->in_hub_txn = false;
	session->written_lsn = txn->end_lsn;
	session->previous_commit_lsn = txn->commit_lsn;
	tap_kafka_batch_close(session, txn->end_lsn);
	return session->pending != NIL || session->client->failures != NIL ||
		session->txn_state == TAP_KAFKA_TXN_COMMITTING ||
		(session->txn_state == TAP_KAFKA_TXN_OPEN && tap_kafka_txn_is_full(session));
}

/* ---------------------------------------------------------------------
 * Flushing
 * ---------------------------------------------------------------------
 */

/* That brokers are away is an event once, until they have been back. */
static void
report_outage(TapSession *session)
{
	const TapKafkaError *error = &session->client->last_error;

	if (error->code == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		session->down_reported = false;
		return;
	}
	session->txn_troubled = true;
	if (!session->down_reported)
	{
		session->down_reported = true;
		tap_kafka_core->event("warning", NULL,
							  psprintf("Kafka cannot be reached: %s; changes wait", error->text));
	}
}

/* Do what can be done now; returns whether another write can be taken. */
static bool
advance(TapSession *session, bool idle)
{
	tap_kafka_clear_wakeup(session->client);
	tap_kafka_serve(session->client);
	tap_kafka_check_failures(session);
	report_outage(session);
	if (!tap_kafka_txn_finish(session))
		return false;
	if (!tap_kafka_send_pending(session))
		return false;
	if (!session->settings.exactly_once || session->in_hub_txn)
		return true;

	/* transactions of the hub that left no message still move the position */
	if (idle && session->txn_state == TAP_KAFKA_TXN_NONE &&
		session->written_lsn > session->durable_lsn)
		tap_kafka_txn_begin(session);
	if (session->txn_state != TAP_KAFKA_TXN_OPEN ||
		!(idle || tap_kafka_txn_is_full(session)))
		return true;
	tap_kafka_txn_commit(session);
	return false;
}

/* The hub's snapshot must not be held for brokers that are as good as dead. */
static void
give_up_copy(TapSession *session, int seconds)
{
	const TapKafkaError *error = &session->client->last_error;

	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("Kafka took nothing of the copy of table %s.%s for %d s",
					session->copying->name.schema, session->copying->name.name, seconds),
			 error->code != RD_KAFKA_RESP_ERR_NO_ERROR ? errdetail("%s", error->text) : 0,
			 errhint("The copy begins again. The option \"copy_timeout\" says how long to wait.")));
}

static void
wait_for_brokers(TapSession *session, long timeout_ms)
{
	if (session->copying != NULL)
	{
		int			seconds = (int) tap_kafka_core->option_int(session->args.pipeline_options,
															   "copy_timeout");
		int			left = rd_kafka_outq_len(session->client->rk);
		TimestampTz now = GetCurrentTimestamp();

		if (left != session->left_before)
			session->moved_at = now;
		else if (TimestampDifferenceExceeds(session->moved_at, now, seconds * 1000))
			give_up_copy(session, seconds);
		session->left_before = left;
		if (timeout_ms < 0)
			timeout_ms = COPY_POLL_MS;
	}
	tap_kafka_wait(session->client, timeout_ms);
}

static void
start_waiting(TapSession *session)
{
	if (session->copying != NULL)
		session->moved_at = GetCurrentTimestamp();
}

static uint64
flush(TapSession *session, bool wait, bool idle)
{
	start_waiting(session);
	while (!advance(session, idle) && wait)
		wait_for_brokers(session, session->pending != NIL ? ROOM_POLL_MS : -1);
	return session->durable_lsn;
}

static void
flush_wait(TapSession *session, TapWait *wait)
{
	bool		busy = rd_kafka_outq_len(session->client->rk) > 0;

	wait->socket = PGINVALID_SOCKET;
	wait->events = WL_SOCKET_READABLE;
	wait->timeout_ms = -1;
	if (!busy && session->txn_state == TAP_KAFKA_TXN_NONE && session->pending == NIL)
		return;
	wait->socket = session->client->wakeup;
	if (session->pending != NIL && session->txn_state != TAP_KAFKA_TXN_COMMITTING)
		wait->timeout_ms = ROOM_POLL_MS;
	else if (session->txn_state == TAP_KAFKA_TXN_OPEN)
		wait->timeout_ms = session->settings.transaction_ms;
}

/* All that was written, outside of a hub transaction, is to be durable. */
static void
finish(TapSession *session)
{
	start_waiting(session);
	while (!advance(session, true) || session->txn_state != TAP_KAFKA_TXN_NONE ||
		   rd_kafka_outq_len(session->client->rk) > 0)
		wait_for_brokers(session, ROOM_POLL_MS);
	tap_kafka_check_failures(session);
}

/* What an earlier copy has sent is superseded by what this one sends. */
static void
copy_begin(TapSession *session, const TapSourceTable *table, void *table_data, bool again)
{
	session->copying = table;
}

static void
copy_end(TapSession *session, const TapSourceTable *table, void *table_data)
{
	finish(session);
	session->copying = NULL;
}

/* It may go back: the hub was restored, and its tables were copied again. */
static void
set_position(TapSession *session, uint64 position)
{
	session->written_lsn = position;
	session->durable_lsn = position;
	if (!session->settings.exactly_once)
		return;
	session->durable_lsn = 0;
	tap_kafka_txn_begin(session);
	finish(session);
}

/* A heartbeat belongs to no hub transaction; the position goes with the next. */
static void
idle(TapSession *session, uint64 position)
{
	if (session->heartbeat_topic == NULL || session->pending != NIL ||
		session->txn_state != TAP_KAFKA_TXN_NONE)
		return;
	tap_kafka_extra_heartbeat(session, position);
	(void) advance(session, true);
}

const TapSinkCallbacks tap_kafka_sink = {
	.start = start,
	.prepare_table = prepare_table,
	.copy_begin = copy_begin,
	.copy_end = copy_end,
	.set_position = set_position,
	.begin = begin,
	.write = write_change,
	.commit = commit,
	.flush = flush,
	.flush_wait = flush_wait,
	.idle = idle,
};
