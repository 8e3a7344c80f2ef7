/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_stream.c
 *	  The stream: batches of messages become transactions of changes.
 *
 * NOTES
 *	  What librdkafka has at hand, up to BATCH_MESSAGES, is one transaction
 *	  for the core.  An error that librdkafka reports stands between messages:
 *	  the batch ends before it, and it is dealt with outside of a transaction.
 *
 *	  Offsets in TapKafkaStreamTopic.next move as messages are handed out, so
 *	  the position is asked for only between transactions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define BATCH_MESSAGES	1000

/* What a message costs beside its bytes, for the statistics. */
#define MESSAGE_OVERHEAD	32

/* Kafka's clock may be any number; these are years 1970 to 5000 or so. */
#define MAX_UNIX_MS		INT64CONST(100000000000000)

void
tap_kafka_stream_start(TapSession *session, const TapStreamArgs *args)
{
	TapKafkaSource *source = session->source;

	source->args = *args;
	source->batch = palloc(sizeof(rd_kafka_message_t *) * BATCH_MESSAGES);
	tap_kafka_topics_start(session, args);

	/* that it took several attempts to get here is no news any more */
	session->client->all_down = false;
}

void
tap_kafka_stream_refollow(TapSession *session)
{
	tap_kafka_topics_refollow(session);
}

/* ---------------------------------------------------------------------
 * Batches
 * ---------------------------------------------------------------------
 */

/*
 * The next batch, if there is any; the pipe is emptied before, so that what
 * comes later wakes us.
 */
static bool
read_batch(TapSession *session)
{
	TapKafkaSource *source = session->source;
	ssize_t		n;

	for (int i = 0; i < source->nbatch; i++)
		rd_kafka_message_destroy(source->batch[i]);
	source->nbatch = 0;
	source->at = 0;
	source->step = 0;
	tap_kafka_clear_wakeup(session->client);
	tap_kafka_serve(session->client);
	n = rd_kafka_consume_batch_queue(session->client->messages, 0, source->batch, BATCH_MESSAGES);
	source->nbatch = Max(n, 0);
	return source->nbatch > 0;
}

static TapKafkaStreamTopic *
topic_of(const rd_kafka_message_t *raw)
{
	return rd_kafka_topic_opaque(raw->rkt);
}

/* The end of a partition, as far as it can be read: passes what is no message. */
static void
pass_to_end(TapKafkaSource *source, const rd_kafka_message_t *raw)
{
	TapKafkaStreamTopic *topic = topic_of(raw);

	if (topic->gone || raw->partition >= topic->npartitions ||
		raw->offset <= topic->next[raw->partition])
		return;
	topic->next[raw->partition] = raw->offset;
	source->moved = true;
}

static int64
ask_offset(TapSession *session, const char *topic, int32 partition, int64 which)
{
	TapKafkaOffset item = {.partition = partition,.offset = which};

	strlcpy(item.topic, topic, sizeof(item.topic));
	tap_kafka_require_offsets(session, &item, 1);
	return item.offset;
}

static void
report_gap(const char *topic, int32 partition, int64 next, int64 first, int64 last)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("topic \"%s\" no longer has the next message to read in partition %d",
					topic, partition),
			 errdetail("It would be offset " INT64_FORMAT "; there are offsets from " INT64_FORMAT " up to " INT64_FORMAT ".",
					   next, first, last),
			 errhint("To go on with a gap, set the option \"on_gap\" to earliest or latest by tapdata.alter_pipeline() and start the pipeline; or begin the table anew with tapdata.resync(). A longer retention.ms of the topic avoids this.")));
}

static void
mend_gap(TapSession *session, TapKafkaStreamTopic *topic, int32 partition)
{
	TapKafkaSource *source = session->source;
	const char *name = topic->table.name;
	int64		next = topic->next[partition];
	int64		first;
	int64		last;

	tap_kafka_topics_settle(session);
	first = ask_offset(session, name, partition, RD_KAFKA_OFFSET_BEGINNING);
	last = ask_offset(session, name, partition, RD_KAFKA_OFFSET_END);
	if (source->on_gap == TAP_KAFKA_GAP_STOP)
		report_gap(name, partition, next, first, last);
	tap_kafka_topic_seek(session, topic, partition,
						 source->on_gap == TAP_KAFKA_GAP_EARLIEST ? first : last);
	source->moved = true;
	tap_kafka_core->event("warning", &topic->table,
						  psprintf("partition %d no longer has offset " INT64_FORMAT "; reading goes on at " INT64_FORMAT,
								   partition, next, topic->next[partition]));
}

/* What librdkafka says in the place of a message. */
static void
take_notice(TapSession *session, const rd_kafka_message_t *raw)
{
	TapKafkaStreamTopic *topic = topic_of(raw);
	TapKafkaError error;

	if (topic->gone)
		return;
	if (raw->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
	{
		mend_gap(session, topic, raw->partition);
		return;
	}
	tap_kafka_keep_code(&error, raw->err, rd_kafka_message_errstr(raw));
	tap_kafka_report_topic(topic->table.name, raw->partition, &error);
}

/*
 * Pass what is not of interest; true when a message of a followed topic comes
 * next, false at the end of the batch.
 */
static bool
find_message(TapSession *session)
{
	TapKafkaSource *source = session->source;

	for (; source->at < source->nbatch; source->at++)
	{
		const rd_kafka_message_t *raw = source->batch[source->at];

		if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			pass_to_end(source, raw);
		else if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			take_notice(session, raw);
		else if (tap_kafka_topic_ready(session, topic_of(raw)))
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------------
 * Messages
 * ---------------------------------------------------------------------
 */

static TimestampTz
time_of(const rd_kafka_message_t *raw)
{
	int64		ms = rd_kafka_message_timestamp(raw, NULL);

	if (ms <= 0 || ms > MAX_UNIX_MS)
		return 0;
	return ms * 1000 - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static const char *
copy_bytes(StringInfo to, const char *bytes, Size length)
{
	if (bytes == NULL)
		return NULL;
	resetStringInfo(to);
	appendBinaryStringInfo(to, bytes, length);
	return to->data;
}

/* Bytes get a zero behind them. */
static void
take_message(TapKafkaSource *source, const rd_kafka_message_t *raw)
{
	TapKafkaMessage *message = &source->message;

	*message = tap_kafka_message(raw);
	message->topic = topic_of(raw)->table.name;
	message->key = copy_bytes(&source->key, message->key, message->key_bytes);
	message->value = copy_bytes(&source->value, message->value, message->value_bytes);
	topic_of(raw)->next[raw->partition] = raw->offset + 1;
	source->commit_time = time_of(raw);
}

/* Where a message that cannot be read stands. */
static void
context_callback(void *arg)
{
	const TapKafkaMessage *message = arg;

	errcontext("offset " INT64_FORMAT " of partition %d of topic \"%s\"",
			   message->offset, message->partition, message->topic);
}

/*
 * The next event of the message at hand; an error of data ends it.  NONE: it
 * has no more.
 */
static TapEventKind
decode_message(TapSession *session, TapEvent *event)
{
	TapKafkaSource *source = session->source;
	const rd_kafka_message_t *raw = source->batch[source->at];
	TapKafkaStreamTopic *topic = topic_of(raw);
	TapKafkaDecoder *decoder = topic->decoder;
	ErrorContextCallback callback = {error_context_stack, context_callback, &source->message};
	int			step = source->step;
	bool		more = false;
	TapEventKind kind;

	if (step == 0)
		take_message(source, raw);
	source->at++;
	source->step = 0;
	error_context_stack = &callback;
	kind = decoder->decoding->decode(decoder, &source->message, step, event, &more);
	error_context_stack = callback.previous;
	if (more)
	{
		source->at--;
		source->step = step + 1;
	}
	event->kind = kind;
	event->table_data = topic->table_data;
	event->commit_time = source->commit_time;
	event->bytes = step == 0 ? raw->len + raw->key_len + MESSAGE_OVERHEAD : 0;
	return kind;
}

/* The next event of the transaction; NONE: it ends. */
static TapEventKind
next_of_txn(TapSession *session, TapEvent *event)
{
	TapKafkaSource *source = session->source;
	TapEventKind kind;

	while (source->at < source->nbatch)
	{
		const rd_kafka_message_t *raw = source->batch[source->at];

		if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		{
			pass_to_end(source, raw);
			source->at++;
			continue;
		}
		if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR ||
			!tap_kafka_topic_ready(session, topic_of(raw)))
			break;
		kind = decode_message(session, event);
		if (kind != TAP_EVENT_NONE)
			return kind;
		memset(event, 0, sizeof(TapEvent));
	}
	return TAP_EVENT_NONE;
}

/*
 * A connection that was lost is librdkafka's to make again; when it says that
 * no broker is there, the pipeline says so, too.
 */
static void
check_client(TapSession *session)
{
	TapKafkaClient *client = session->client;
	bool		all_down = client->all_down;

	client->all_down = false;
	if (client->fatal_error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&client->fatal_error, "the client of Kafka failed");
	if (all_down || tap_kafka_is_refusal(&client->last_error))
		tap_kafka_report(&client->last_error, "lost the connection to Kafka");
}

static TapEventKind
end_txn(TapSession *session, TapEvent *event)
{
	TapKafkaSource *source = session->source;

	tap_kafka_note_read(session);
	source->in_txn = false;
	source->moved = false;
	event->kind = TAP_EVENT_COMMIT;
	event->commit_time = source->commit_time;
	return event->kind;
}

TapEventKind
tap_kafka_stream_next(TapSession *session, TapEvent *event)
{
	TapKafkaSource *source = session->source;

	memset(event, 0, sizeof(TapEvent));
	if (source->in_txn)
	{
		TapEventKind kind = next_of_txn(session, event);

		return kind != TAP_EVENT_NONE ? kind : end_txn(session, event);
	}
	for (;;)
	{
		if (find_message(session))
		{
			source->in_txn = true;
			event->kind = TAP_EVENT_BEGIN;
			return event->kind;
		}
		tap_kafka_topics_refresh(session);
		if (!read_batch(session))
			break;
	}
	check_client(session);
	event->kind = source->moved ? TAP_EVENT_HEARTBEAT : TAP_EVENT_NONE;
	source->moved = false;
	return event->kind;
}

void
tap_kafka_stream_wait(TapSession *session, TapWait *wait)
{
	TapKafkaSource *source = session->source;

	wait->socket = session->client->wakeup;
	wait->events = WL_SOCKET_READABLE;
	if (source->look_again)
		wait->timeout_ms = 0;
	else if (source->refresh_job != NULL)

		/* its byte may have been taken from the pipe before it was seen */
		wait->timeout_ms = tap_kafka_job_done(session->client) ? 0 : -1;
	else
		wait->timeout_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   source->next_refresh);
	source->look_again = false;
}

char *
tap_kafka_stream_position(TapSession *session)
{
	TapKafkaOffsets offsets = {0};
	ListCell   *cell;
	int			count = 0;

	foreach(cell, session->source->topics)
		count += ((TapKafkaStreamTopic *) lfirst(cell))->npartitions;
	offsets.items = palloc0(sizeof(TapKafkaOffset) * Max(count, 1));
	foreach(cell, session->source->topics)
	{
		const TapKafkaStreamTopic *topic = lfirst(cell);

		for (int i = 0; i < topic->npartitions; i++)
		{
			TapKafkaOffset *item = &offsets.items[offsets.count++];

			strlcpy(item->topic, topic->table.name, sizeof(item->topic));
			item->partition = i;
			item->offset = topic->next[i] == TAP_KAFKA_OFFSET_UNKNOWN ?
				TAP_KAFKA_OFFSET_NONE : topic->next[i];
		}
	}
	return tap_kafka_print_offsets(&offsets);
}

/* ---------------------------------------------------------------------
 * For dead letters
 * ---------------------------------------------------------------------
 */

static bool
is_text(const char *bytes, Size length)
{
	return pg_verify_mbstr(PG_UTF8, bytes, length, true);
}

/* As text where that can be had, else in base64 under another name. */
static void
append_bytes(StringInfo out, const char *name, const char *bytes, Size length)
{
	bool		text = bytes != NULL && is_text(bytes, length) && GetDatabaseEncoding() == PG_UTF8;

	appendStringInfo(out, ", \"%s%s\": ", name, text || bytes == NULL ? "" : "_base64");
	if (bytes == NULL)
		appendStringInfoString(out, "null");
	else if (text)
		tap_json_append_string(out, bytes, length);
	else
	{
		appendStringInfoChar(out, '"');
		tap_json_append_base64(out, bytes, length);
		appendStringInfoChar(out, '"');
	}
}

char *
tap_kafka_describe_event(TapSession *session)
{
	const TapKafkaMessage *message = &session->source->message;
	StringInfoData out;

	if (message->topic == NULL)
		return pstrdup("null");
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"topic\": ");
	tap_json_append_cstring(&out, message->topic);
	appendStringInfo(&out, ", \"partition\": %d, \"offset\": " INT64_FORMAT ", \"timestamp\": " INT64_FORMAT,
					 message->partition, message->offset, message->timestamp);
	append_bytes(&out, "key", message->key, message->key_bytes);
	append_bytes(&out, "value", message->value, message->value_bytes);
	appendStringInfoChar(&out, '}');
	return out.data;
}
