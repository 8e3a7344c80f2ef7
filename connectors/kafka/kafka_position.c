/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_position.c
 *	  The position of a pipeline, in a compacted topic of Kafka.
 *
 * NOTES
 *	  The topic has one partition.  The key of a message is the pipeline's
 *	  identity, its value JSON with the LSN.  It is the last message of each
 *	  transaction of Kafka, so that what was committed and the position agree.
 *
 *	  The last one of the key is looked for from the end: in the last
 *	  messages, then in ten times as many, and so on.  Only committed messages
 *	  are read, and those only as far as no open transaction precedes them: a
 *	  pipeline that was killed between its position and its commit hides what
 *	  follows until its next start, or until the broker aborts it.  So the
 *	  log must have been read up to its high watermark.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include <time.h>

#include "utils/timestamp.h"

#define POSITION_PARTITION	0
#define FIRST_WINDOW		1000

/* One round of waiting, between looks at whether to stop. */
#define ROUND_MS			500
#define LAST_ROUND_MS		2000

/* How long to wait for other pipelines' transactions, and for brokers. */
#define READ_TIMEOUT_MS		30000

/* ---------------------------------------------------------------------
 * Reading; in the client's thread
 * ---------------------------------------------------------------------
 */

static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
take_message(TapKafkaJob *job, const rd_kafka_message_t *message)
{
	size_t		length = Min(message->len, sizeof(job->value) - 1);

	if (message->payload == NULL || message->key == NULL ||
		message->key_len != strlen(job->key) ||
		memcmp(message->key, job->key, message->key_len) != 0)
		return;
	memcpy(job->value, message->payload, length);
	job->value[length] = '\0';
	job->found = true;
}

/*
 * Whether what is committed ends where the log ended when this was asked for
 * the first time (*end is -1 then): other pipelines may never let it rest.
 */
static bool
is_whole_log(rd_kafka_t *rk, const char *topic, int64_t offset, int64_t *end)
{
	int64_t		low;

	if (*end < 0 &&
		rd_kafka_get_watermark_offsets(rk, topic, POSITION_PARTITION, &low, end) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		*end = -1;
	return *end >= 0 && offset >= *end;
}

/* Read from an offset to the end of the log. */
static void
read_from(TapKafkaJob *job, rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t offset)
{
	int64		until = now_ms() + READ_TIMEOUT_MS;
	int64_t		end = -1;
	bool		whole = false;

	job->found = false;
	if (rd_kafka_consume_start(topic, POSITION_PARTITION, offset) != 0)
	{
		tap_kafka_keep_code(&job->error, rd_kafka_last_error(), NULL);
		return;
	}
	while (!whole && !*job->stop && now_ms() < until)
	{
		rd_kafka_message_t *message = rd_kafka_consume(topic, POSITION_PARTITION, ROUND_MS);

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			take_message(job, message);
		else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			whole = is_whole_log(rk, job->topic, message->offset, &end);
		rd_kafka_message_destroy(message);
	}
	(void) rd_kafka_consume_stop(topic, POSITION_PARTITION);
	if (!whole)
		tap_kafka_keep_code(&job->error, RD_KAFKA_RESP_ERR__TIMED_OUT,
							"another pipeline's transaction in it has not ended, or its leader does not answer");
}

/* Longer and longer rounds: a broker that hangs must not hold up our end. */
static rd_kafka_resp_err_t
find_ends(TapKafkaJob *job, rd_kafka_t *rk, int64_t *low, int64_t *high)
{
	int64		until = now_ms() + READ_TIMEOUT_MS;
	rd_kafka_resp_err_t code;

	for (int round_ms = ROUND_MS;; round_ms = Min(round_ms * 2, LAST_ROUND_MS))
	{
		code = rd_kafka_query_watermark_offsets(rk, job->topic, POSITION_PARTITION, low, high,
												round_ms);
		if ((code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT) ||
			*job->stop || now_ms() > until)
			return code;
	}
}

static void
run_read(TapKafkaJob *job, rd_kafka_t *rk)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, job->topic, NULL);
	int64_t		low = 0;
	int64_t		high = 0;
	int64_t		window = FIRST_WINDOW;

	tap_kafka_keep_code(&job->error, find_ends(job, rk, &low, &high), NULL);
	while (job->error.code == RD_KAFKA_RESP_ERR_NO_ERROR && !job->found && !*job->stop)
	{
		int64_t		from = Max(low, high - window);

		read_from(job, rk, topic, from);
		if (from == low)
			break;
		window *= 10;
	}
	rd_kafka_topic_destroy(topic);
}

/* ---------------------------------------------------------------------
 * For the sink
 * ---------------------------------------------------------------------
 */

static uint64
parse_position(TapSession *session, const char *value)
{
	const char *lsn = strstr(value, "\"lsn\":\"");
	uint32		high;
	uint32		low;
	char		end;

	if (lsn == NULL || sscanf(lsn, "\"lsn\":\"%X/%X%c", &high, &low, &end) != 3 || end != '"')
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("topic \"%s\" holds no valid position", session->settings.position_topic),
				 errdetail("The message for key \"%s\" is %s.", session->args.pipeline_identity, value),
				 errhint("Call tapdata.resync('%s') to send everything again.",
						 session->args.pipeline_name)));
	return (uint64) high << 32 | low;
}

static List *
consumer_properties(TapSession *session)
{
	static const char *const own[] = {
		"isolation.level", "read_committed",
		"enable.partition.eof", "true",
		"fetch.wait.max.ms", "100"
	};
	List	   *properties = tap_kafka_connection_properties(&session->args);

	for (int i = 0; i < lengthof(own); i++)
		properties = lappend(properties, pstrdup(own[i]));
	return properties;
}

uint64
tap_kafka_read_position(TapSession *session)
{
	TapKafkaClient *client = tap_kafka_client_new(RD_KAFKA_CONSUMER, consumer_properties(session));
	TapKafkaJob *job = tap_kafka_job_new(run_read);
	TapKafkaError error;
	char	   *value;

	strlcpy(job->topic, session->settings.position_topic, sizeof(job->topic));
	strlcpy(job->key, session->args.pipeline_identity, sizeof(job->key));
	tap_kafka_job_run(client, job);
	error = job->error;
	tap_kafka_explain(client, &error);
	value = job->found ? pstrdup(job->value) : NULL;
	tap_kafka_client_free(client);
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&error, psprintf("could not read the position from topic \"%s\"",
										  session->settings.position_topic));
	return value ? parse_position(session, value) : 0;
}

void
tap_kafka_write_position(TapSession *session, uint64 position)
{
	StringInfo	key = &session->key;
	StringInfo	value = &session->value;

	resetStringInfo(key);
	appendStringInfoString(key, session->args.pipeline_identity);
	resetStringInfo(value);
	appendStringInfo(value, "{\"lsn\":\"%X/%X\",\"position\":" UINT64_FORMAT ",\"pipeline\":",
					 LSN_FORMAT_ARGS(position), position);
	tap_json_append_cstring(value, session->settings.pipeline);
	appendStringInfo(value, ",\"at_us\":" INT64_FORMAT "}",
					 GetCurrentTimestamp() +
					 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	tap_kafka_emit(session, session->position_topic, POSITION_PARTITION, key, value, NULL, NULL);
}
