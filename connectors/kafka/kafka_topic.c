/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_topic.c
 *	  Names of topics, their existence and creation.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include <unistd.h>

#include "utils/memutils.h"

/* Kafka's limit of a topic's name. */
#define TOPIC_NAME_MAX		249

/* How long a topic that was just made may be without a leader. */
#define LEADER_TIMEOUT_MS	20000

/* How long a topic that is known may not be there before it is given up. */
#define GONE_TIMEOUT_MS		5000

/* How long one request may take, and the first round of waiting for it. */
#define REQUEST_TIMEOUT_MS	5000
#define FIRST_ROUND_MS		500
#define LAST_ROUND_MS		2000

/* Topics other than those of tables. */
static const char *const compact_settings[][2] = {
	{"cleanup.policy", "compact"},
	{"segment.ms", "3600000"},
	{"segment.bytes", "16777216"},
	{"min.cleanable.dirty.ratio", "0.1"}
};

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

static bool
is_legal(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '.' || c == '_' || c == '-';
}

static void
append_legal(StringInfo out, const char *name)
{
	for (; *name != '\0'; name++)
	{
		if (is_legal(*name))
			appendStringInfoChar(out, *name);
		else if (!IS_HIGHBIT_SET(*name) || (*name & 0x40))
			appendStringInfoChar(out, '_');
	}
}

/* The length of a placeholder at p, and which one it is; 0: none. */
static int
placeholder(const char *p, int *which)
{
	static const char *const names[] = {"{database}", "{schema}", "{table}"};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strncmp(p, names[i], strlen(names[i])) == 0)
		{
			*which = i;
			return strlen(names[i]);
		}
	}
	return 0;
}

char *
tap_kafka_topic_name(const char *pattern, const char *database, const TapTableName *table)
{
	const char *const values[] = {database, table->schema ? table->schema : "", table->name};
	StringInfoData name;

	initStringInfo(&name);
	while (*pattern != '\0')
	{
		int			which;
		int			length = placeholder(pattern, &which);

		if (length > 0)
			append_legal(&name, values[which]);
		else
			appendStringInfoChar(&name, *pattern);
		pattern += length > 0 ? length : 1;
	}
	if (name.len > TOPIC_NAME_MAX || strcmp(name.data, ".") == 0 || strcmp(name.data, "..") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" cannot be the name of a topic", name.data),
				 errdetail("It would be the topic of table %s.%s.", values[1], values[2]),
				 errhint("Names of topics have at most %d bytes; choose another pattern with the option \"topic\".", TOPIC_NAME_MAX)));
	return name.data;
}

void
tap_kafka_check_topic_pattern(const char *value)
{
	int			which;

	if (value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"topic\" is empty"),
				 errhint("The default is {database}.{schema}.{table}.")));
	while (*value != '\0')
	{
		int			length = placeholder(value, &which);

		if (length == 0 && !is_legal(*value))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid name of a topic, at \"%s\"", value),
					 errhint("It consists of letters, digits, \".\", \"_\" and \"-\", and the placeholders {database}, {schema} and {table}.")));
		value += length > 0 ? length : 1;
	}
}

void
tap_kafka_check_topic_name(const char *value)
{
	if (value[0] == '\0' || strlen(value) > TOPIC_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a topic: \"%s\"", value),
				 errhint("It has from 1 to %d characters.", TOPIC_NAME_MAX)));
	for (const char *c = value; *c != '\0'; c++)
	{
		if (!is_legal(*c))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid name of a topic: \"%s\"", value),
					 errhint("It consists of letters, digits, \".\", \"_\" and \"-\".")));
	}
}

/* ---------------------------------------------------------------------
 * Finding and creating; in the client's thread
 * ---------------------------------------------------------------------
 */

static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Longer and longer rounds: a broker that hangs must not hold up our end. */
static rd_kafka_resp_err_t
request_metadata(TapKafkaJob *job, rd_kafka_t *rk, rd_kafka_topic_t *topic,
				 const struct rd_kafka_metadata **metadata)
{
	int64		until = now_ms() + REQUEST_TIMEOUT_MS;
	rd_kafka_resp_err_t code;

	for (int round_ms = FIRST_ROUND_MS;; round_ms = Min(round_ms * 2, LAST_ROUND_MS))
	{
		code = rd_kafka_metadata(rk, 0, topic, metadata, round_ms);
		if ((code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT) ||
			*job->stop || now_ms() > until)
			return code;
	}
}

/* Ask for the topic; job->error says what of it is not so. */
static void
look_up(TapKafkaJob *job, rd_kafka_t *rk)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, job->topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t code;

	code = request_metadata(job, rk, topic, &metadata);
	job->partitions = 0;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topic_cnt == 1)
	{
		code = metadata->topics[0].err;
		job->partitions = metadata->topics[0].partition_cnt;
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR && job->partitions == 0)
			code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	}
	if (metadata != NULL)
		rd_kafka_metadata_destroy(metadata);
	rd_kafka_topic_destroy(topic);
	tap_kafka_keep_code(&job->error, code, NULL);
}

static rd_kafka_event_t *
request_creation(TapKafkaJob *job, rd_kafka_t *rk, rd_kafka_NewTopic_t *topic)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_event_t *event;
	char		reason[64];

	if (job->compact)
	{
		for (int i = 0; i < lengthof(compact_settings); i++)
			(void) rd_kafka_NewTopic_set_config(topic, compact_settings[i][0],
												compact_settings[i][1]);
	}
	(void) rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_TIMEOUT_MS, reason,
													 sizeof(reason));
	if (job->pretend)
		(void) rd_kafka_AdminOptions_set_validate_only(options, 1, reason, sizeof(reason));
	rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
	event = rd_kafka_queue_poll(queue, REQUEST_TIMEOUT_MS + 1000);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_queue_destroy(queue);
	return event;
}

static void
read_creation(TapKafkaJob *job, rd_kafka_event_t *event)
{
	const rd_kafka_CreateTopics_result_t *result;
	const rd_kafka_topic_result_t **topics;
	size_t		count = 0;
	rd_kafka_resp_err_t code;

	if (event == NULL)
	{
		tap_kafka_keep_code(&job->error, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL);
		return;
	}
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		tap_kafka_keep_code(&job->error, rd_kafka_event_error(event),
							rd_kafka_event_error_string(event));
		return;
	}
	result = rd_kafka_event_CreateTopics_result(event);
	topics = rd_kafka_CreateTopics_result_topics(result, &count);
	if (count != 1)
		return;
	code = rd_kafka_topic_result_error(topics[0]);
	if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		code = RD_KAFKA_RESP_ERR_NO_ERROR;
	tap_kafka_keep_code(&job->error, code, code != RD_KAFKA_RESP_ERR_NO_ERROR ?
						rd_kafka_topic_result_error_string(topics[0]) : NULL);
}

static void
create(TapKafkaJob *job, rd_kafka_t *rk)
{
	char		reason[TAP_KAFKA_ERROR_BYTES];
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(job->topic,
													   job->compact ? 1 : job->partitions,
													   job->replication, reason, sizeof(reason));
	rd_kafka_event_t *event;

	if (topic == NULL)
	{
		tap_kafka_keep_code(&job->error, RD_KAFKA_RESP_ERR__INVALID_ARG, reason);
		return;
	}
	event = request_creation(job, rk, topic);
	read_creation(job, event);
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(topic);
}

static bool
is_unknown(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

/* A topic that is being made has no leader yet, or is not known everywhere. */
static bool
may_come(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || is_unknown(code);
}

/* A broker that has just started may not have heard yet of what there is. */
static bool
is_hopeless(const TapKafkaJob *job, int64 started)
{
	return !job->create && (!job->known || now_ms() > started + GONE_TIMEOUT_MS);
}

void
tap_kafka_run_topic_job(TapKafkaJob *job, rd_kafka_t *rk)
{
	int			partitions = job->partitions;
	int64		started = now_ms();
	bool		created = false;

	for (;;)
	{
		look_up(job, rk);
		if (!may_come(job->error.code) || *job->stop ||
			now_ms() > started + LEADER_TIMEOUT_MS)
			return;
		if (is_unknown(job->error.code) && is_hopeless(job, started))
			return;
		if (job->create && job->error.code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE && !created)
		{
			job->partitions = partitions;
			create(job, rk);
			if (job->error.code != RD_KAFKA_RESP_ERR_NO_ERROR || job->pretend)
				return;
			created = true;
		}
		usleep(20000);
	}
}

/* ---------------------------------------------------------------------
 * Topics of a session
 * ---------------------------------------------------------------------
 */

static void
ensure_topic(TapSession *session, const char *name, bool compact, bool known)
{
	const TapKafkaSettings *settings = &session->settings;
	TapKafkaJob *job = tap_kafka_job_new(tap_kafka_run_topic_job);
	TapKafkaError error;

	strlcpy(job->topic, name, sizeof(job->topic));
	job->create = (settings->create_topics || compact) && !known;
	job->known = known;
	job->partitions = settings->partitions;
	job->replication = settings->replication;
	job->compact = compact;
	tap_kafka_job_run(session->client, job);
	error = job->error;
	tap_kafka_job_free(session->client, job);
	tap_kafka_explain(session->client, &error);
	if (known && is_unknown(error.code))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("topic \"%s\" is gone", name),
				 errdetail("Changes of a table were sent to it before."),
				 errhint("Create it again and run tapdata.start(), or also have all rows sent to it again with tapdata.resync().")));
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&error, psprintf("topic \"%s\" cannot be used", name));
}

TapKafkaTopic *
tap_kafka_topic(TapSession *session, const char *name, bool compact, bool known)
{
	MemoryContext before;
	TapKafkaTopic *topic;
	ListCell   *cell;

	foreach(cell, session->topics)
	{
		topic = lfirst(cell);
		if (strcmp(topic->name, name) == 0)
			return topic;
	}
	ensure_topic(session, name, compact, known);
	before = MemoryContextSwitchTo(session->args.context);
	topic = palloc0(sizeof(TapKafkaTopic));
	topic->name = pstrdup(name);
	session->topics = lappend(session->topics, topic);
	MemoryContextSwitchTo(before);
	topic->handle = rd_kafka_topic_new(session->client->rk, name, NULL);
	if (topic->handle == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not use topic \"%s\": %s", name,
						rd_kafka_err2str(rd_kafka_last_error()))));
	return topic;
}
