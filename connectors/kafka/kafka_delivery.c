/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_delivery.c
 *	  What was delivered, and messages that were not.
 *
 * NOTES
 *	  at_least_once: messages go to many partitions and are acknowledged in
 *	  any order.  What is written between two commits of the hub is a batch;
 *	  its number is what its messages carry.  The position is that of the last
 *	  batch all of whose messages, and those of the batches before, were
 *	  delivered.
 *
 *	  exactly_once: only failures are told; the transaction's commit says that
 *	  all was delivered.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include "utils/memutils.h"

#define FIRST_CAPACITY		1024

static inline TapKafkaBatch *
batch_of(TapSession *session, int64 number)
{
	return &session->batches[number & (session->batch_capacity - 1)];
}

/* Take the batches that are done from the front of the ring. */
static void
retire_batches(TapSession *session)
{
	while (session->first_batch <= session->next_batch)
	{
		TapKafkaBatch *batch = batch_of(session, session->first_batch);

		if (!batch->closed || batch->outstanding > 0)
			break;
		session->durable_lsn = Max(session->durable_lsn, batch->lsn);
		session->first_batch++;
	}
}

static void
note_delivered(void *arg, void *opaque)
{
	TapSession *session = arg;
	int64		number = (intptr_t) opaque;
	TapKafkaBatch *batch = batch_of(session, number);

	if (--batch->outstanding == 0 && batch->closed && number == session->first_batch)
		retire_batches(session);
}

void
tap_kafka_delivery_init(TapSession *session)
{
	session->batch_capacity = FIRST_CAPACITY;
	session->batches = MemoryContextAllocZero(session->args.context,
											  sizeof(TapKafkaBatch) * FIRST_CAPACITY);
	session->first_batch = session->next_batch = 1;
	session->client->arg = session;
	if (!session->settings.exactly_once)
		session->client->delivered = note_delivered;
}

void *
tap_kafka_batch_opaque(TapSession *session)
{
	if (session->settings.exactly_once)
		return NULL;
	batch_of(session, session->next_batch)->outstanding++;
	return (void *) (intptr_t) session->next_batch;
}

void
tap_kafka_batch_forget(TapSession *session)
{
	if (!session->settings.exactly_once)
		batch_of(session, session->next_batch)->outstanding--;
}

void
tap_kafka_batch_begin(TapSession *session, uint64 lsn)
{
	batch_of(session, session->next_batch)->lsn = lsn;
}

static void
grow_ring(TapSession *session)
{
	int64		capacity = session->batch_capacity * 2;
	TapKafkaBatch *batches = MemoryContextAllocHuge(session->args.context,
													sizeof(TapKafkaBatch) * capacity);

	for (int64 number = session->first_batch; number <= session->next_batch; number++)
		batches[number & (capacity - 1)] = *batch_of(session, number);
	pfree(session->batches);
	session->batches = batches;
	session->batch_capacity = capacity;
}

void
tap_kafka_batch_close(TapSession *session, uint64 lsn)
{
	TapKafkaBatch *batch = batch_of(session, session->next_batch);

	if (session->settings.exactly_once)
		return;
	batch->lsn = lsn;
	batch->closed = true;
	if (session->next_batch - session->first_batch + 2 >= session->batch_capacity)
		grow_ring(session);
	session->next_batch++;
	memset(batch_of(session, session->next_batch), 0, sizeof(TapKafkaBatch));
	retire_batches(session);
}

/* ---------------------------------------------------------------------
 * Messages that failed
 * ---------------------------------------------------------------------
 */

/* Those that fail because others did. */
static bool
is_consequence(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
		code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
		code == RD_KAFKA_RESP_ERR__FATAL || code == RD_KAFKA_RESP_ERR__DESTROY;
}

/* Whether it is the message, and not the broker or the topic, that is bad. */
static bool
is_of_message(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
		code == RD_KAFKA_RESP_ERR_INVALID_RECORD || code == RD_KAFKA_RESP_ERR_INVALID_MSG;
}

static TapKafkaTopic *
find_topic(TapSession *session, rd_kafka_topic_t *handle)
{
	ListCell   *cell;

	foreach(cell, session->topics)
	{
		TapKafkaTopic *topic = lfirst(cell);

		if (strcmp(topic->name, rd_kafka_topic_name(handle)) == 0)
			return topic;
	}
	return NULL;
}

static char *
describe_failure(const TapKafkaFailure *failure)
{
	return psprintf("a message of %zu bytes with key %s was refused by topic \"%s\": %s",
					failure->key_bytes + failure->value_bytes,
					failure->key ? failure->key : "(none)",
					rd_kafka_topic_name(failure->topic), failure->error.text);
}

static void
report_failure(TapSession *session, const TapKafkaFailure *failure)
{
	const TapKafkaTopic *topic = find_topic(session, failure->topic);
	const TapTableName *table = topic ? topic->table : NULL;
	const char *hint = tap_kafka_hint(&failure->error);

	ereport(ERROR,
			(errcode(tap_kafka_sqlstate(&failure->error)),
			 errmsg("%s", describe_failure(failure)),
			 table ? errdetail("It is of table %s.%s.", table->schema, table->name) : 0,
			 hint ? errhint("%s", hint) : 0));
}

/* The change as far as the message tells it. */
static void
make_dead_letter(TapSession *session, TapKafkaFailure *failure)
{
	TapKafkaTopic *topic = find_topic(session, failure->topic);
	StringInfoData change;

	initStringInfo(&change);
	appendStringInfoString(&change, "{\"topic\": ");
	tap_json_append_cstring(&change, rd_kafka_topic_name(failure->topic));
	appendStringInfo(&change, ", \"key\": %s, \"value\": %s}",
					 failure->key ? failure->key : "null",
					 failure->value ? failure->value : "null");
	tap_kafka_core->dead_letter(topic ? topic->table : NULL, tap_kafka_from_utf8(change.data),
								batch_of(session, (intptr_t) failure->opaque)->lsn,
								tap_kafka_sqlstate(&failure->error),
								describe_failure(failure));
	note_delivered(session, failure->opaque);
}

static void
free_failures(TapKafkaClient *client)
{
	ListCell   *cell;

	foreach(cell, client->failures)
	{
		TapKafkaFailure *failure = lfirst(cell);

		if (failure->key != NULL)
			pfree(failure->key);
		if (failure->value != NULL)
			pfree(failure->value);
	}
	list_free_deep(client->failures);
	client->failures = NIL;
}

void
tap_kafka_check_failures(TapSession *session)
{
	TapKafkaClient *client = session->client;
	bool		texts = session->settings.format == TAP_KAFKA_FORMAT_JSON ||
	session->settings.format == TAP_KAFKA_FORMAT_DEBEZIUM;
	ListCell   *cell;

	if (client->failures != NIL || client->fatal_error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_txn_check_age(session);
	foreach(cell, client->failures)
	{
		TapKafkaFailure *failure = lfirst(cell);

		if (is_consequence(failure->error.code))
			continue;
		if (session->settings.exactly_once || !texts || !is_of_message(failure->error.code))
			report_failure(session, failure);
		make_dead_letter(session, failure);
	}
	if (client->fatal_error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&client->fatal_error, "Kafka refuses this producer");
	if (client->failures != NIL && !session->settings.exactly_once)
	{
		TapKafkaFailure *failure = linitial(client->failures);

		/* what is left are those that were purged: they are not delivered */
		foreach(cell, client->failures)
		{
			failure = lfirst(cell);
			if (is_consequence(failure->error.code))
				report_failure(session, failure);
		}
	}
	free_failures(client);
	if (tap_kafka_is_refusal(&client->last_error))
		tap_kafka_report(&client->last_error, "could not connect to Kafka");
}
