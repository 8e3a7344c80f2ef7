/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_sample.c
 *	  The first messages of a topic, to find columns in them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

/* A sample need not be complete: it ends after this time or so many bytes. */
#define SAMPLE_MS			10000
#define SAMPLE_BYTES		(16 * 1024 * 1024)

#define BATCH				256

/* A sample under way. */
typedef struct Sampling
{
	TapSession *session;
	const TapKafkaTopicFacts *topic;
	rd_kafka_topic_t *handle;
	bool	   *open;			/* partitions that have not come to their end */
	int			nopen;
	TapKafkaMessage *messages;
	int			count;
	Size		bytes;
} Sampling;

/*
 * Where to read each partition from: as the stream would, but where it would
 * begin at the end, some messages before it.
 */
static TapKafkaOffset *
find_starts(TapSession *session, const TapKafkaTopicFacts *topic)
{
	int			count = topic->npartitions;
	int			back = session->source->sample_messages / count + 1;
	TapKafkaOffset *low = palloc0(sizeof(TapKafkaOffset) * count);
	TapKafkaOffset *start = palloc0(sizeof(TapKafkaOffset) * count);

	for (int i = 0; i < count; i++)
	{
		strlcpy(low[i].topic, topic->name, sizeof(low[i].topic));
		low[i].partition = i;
		low[i].offset = topic->has_leader[i] ? RD_KAFKA_OFFSET_BEGINNING : TAP_KAFKA_OFFSET_UNKNOWN;
	}
	tap_kafka_require_offsets(session, low, count);
	tap_kafka_start_items(session, topic, 0, count, start);
	if (strcmp(session->source->start, "earliest") == 0 && session->source->start_offsets == NULL)
		return start;
	for (int i = 0; i < count; i++)
		start[i].offset = Max(low[i].offset, start[i].offset - back);
	return start;
}

static char *
copy_bytes(const void *bytes, Size length)
{
	char	   *copy;

	if (bytes == NULL)
		return NULL;
	copy = palloc(length + 1);
	memcpy(copy, bytes, length);
	copy[length] = '\0';
	return copy;
}

static void
keep_message(Sampling *sampling, const rd_kafka_message_t *raw)
{
	TapKafkaMessage *message = &sampling->messages[sampling->count++];

	*message = tap_kafka_message(raw);
	message->topic = sampling->topic->name;
	message->key = copy_bytes(raw->key, raw->key_len);
	message->value = copy_bytes(raw->payload, raw->len);
	message->raw = NULL;
	sampling->bytes += raw->len + raw->key_len;
}

/* Takes over the message. */
static void
take_message(Sampling *sampling, rd_kafka_message_t *raw)
{
	TapKafkaError error = {0};
	int32		partition = raw->partition;

	if (raw->err == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (sampling->count < sampling->session->source->sample_messages)
			keep_message(sampling, raw);
	}
	else if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
			 raw->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
	{
		sampling->nopen -= sampling->open[partition];
		sampling->open[partition] = false;
	}
	else
		tap_kafka_keep_code(&error, raw->err, rd_kafka_message_errstr(raw));
	rd_kafka_message_destroy(raw);
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report_topic(sampling->topic->name, partition, &error);
}

static void
read_messages(Sampling *sampling)
{
	TapKafkaClient *client = sampling->session->client;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SAMPLE_MS);
	rd_kafka_message_t *batch[BATCH];
	ssize_t		n;

	while (sampling->nopen > 0 && sampling->bytes < SAMPLE_BYTES &&
		   sampling->count < sampling->session->source->sample_messages)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		CHECK_FOR_INTERRUPTS();
		tap_kafka_clear_wakeup(client);
		tap_kafka_serve(client);
		n = rd_kafka_consume_batch_queue(client->messages, 0, batch, BATCH);
		for (ssize_t i = 0; i < n; i++)
			take_message(sampling, batch[i]);
		if (left <= 0)
			break;
		if (n <= 0)
			tap_kafka_wait(client, left);
	}
}

TapKafkaMessage *
tap_kafka_sample(TapSession *session, const TapKafkaTopicFacts *topic, int *count)
{
	TapKafkaClient *client = session->client;
	TapKafkaOffset *starts = find_starts(session, topic);
	Sampling	sampling = {.session = session,.topic = topic};

	sampling.handle = rd_kafka_topic_new(client->rk, topic->name, NULL);
	sampling.open = palloc0(sizeof(bool) * topic->npartitions);
	sampling.messages = palloc(sizeof(TapKafkaMessage) * session->source->sample_messages);
	for (int i = 0; i < topic->npartitions; i++)
	{
		if (!topic->has_leader[i] ||
			rd_kafka_consume_start_queue(sampling.handle, i, starts[i].offset,
										 client->messages) != 0)
			continue;
		sampling.open[i] = true;
		sampling.nopen++;
	}
	read_messages(&sampling);
	for (int i = 0; i < topic->npartitions; i++)
		(void) rd_kafka_consume_stop(sampling.handle, i);
	rd_kafka_topic_destroy(sampling.handle);
	*count = sampling.count;
	return sampling.messages;
}
