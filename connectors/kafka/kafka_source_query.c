/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_query.c
 *	  What brokers say of topics and offsets.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include <time.h>
#include <unistd.h>

#include "utils/timestamp.h"

/*
 * How long the brokers may be silent, or without a leader for a partition, and
 * one round of waiting.
 */
#define ANSWER_TIMEOUT_MS	8000
#define LEADER_TIMEOUT_MS	30000
#define ROUND_MS			1000
#define LAST_ROUND_MS		4000
#define PAUSE_US			100000

/* How long an election is waited for before partitions are left out. */
#define ELECTION_MS			3000
#define ELECTION_LOOK_MS	100

/* Topics that Kafka, and what comes with it, keep for themselves. */
#define INTERNAL_PREFIX		"__"

/* What the thread found; followed by the partitions' leaders. */
typedef struct FoundTopic
{
	char		name[TAP_KAFKA_TOPIC_BYTES];
	int			npartitions;
	int			first_leader;	/* in FoundTopics.leaders */
} FoundTopic;

typedef struct FoundTopics
{
	int			ntopics;
	FoundTopic *topics;			/* these two behind the struct */
	char	   *leaders;		/* by partition: 1 if there is one */
} FoundTopics;

/* Items of a query, copied for the thread. */
typedef struct Query
{
	int			count;
	TapKafkaOffset items[FLEXIBLE_ARRAY_MEMBER];
} Query;

/* ---------------------------------------------------------------------
 * In the thread
 * ---------------------------------------------------------------------
 */

static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool
is_of_interest(const rd_kafka_metadata_topic_t *topic)
{
	return topic->err == RD_KAFKA_RESP_ERR_NO_ERROR && topic->partition_cnt > 0 &&
		strlen(topic->topic) < TAP_KAFKA_TOPIC_BYTES &&
		strncmp(topic->topic, INTERNAL_PREFIX, strlen(INTERNAL_PREFIX)) != 0;
}

static void
take_topic(FoundTopics *found, int *nleaders, const rd_kafka_metadata_topic_t *topic)
{
	FoundTopic *to = &found->topics[found->ntopics++];

	strlcpy(to->name, topic->topic, sizeof(to->name));
	to->npartitions = topic->partition_cnt;
	to->first_leader = *nleaders;
	*nleaders += topic->partition_cnt;
	for (int i = 0; i < topic->partition_cnt; i++)
	{
		const rd_kafka_metadata_partition_t *partition = &topic->partitions[i];

		if (partition->id >= 0 && partition->id < topic->partition_cnt && partition->leader >= 0)
			found->leaders[to->first_leader + partition->id] = 1;
	}
}

/* One block of memory, so that whoever has the job at its end can free it. */
static FoundTopics *
take_metadata(const struct rd_kafka_metadata *metadata)
{
	FoundTopics *found;
	size_t		partitions = 0;
	int			nleaders = 0;

	for (int i = 0; i < metadata->topic_cnt; i++)
		partitions += metadata->topics[i].partition_cnt;
	found = calloc(1, sizeof(FoundTopics) + metadata->topic_cnt * sizeof(FoundTopic) + partitions);
	if (found == NULL)
		return NULL;
	found->topics = (FoundTopic *) (found + 1);
	found->leaders = (char *) (found->topics + metadata->topic_cnt);
	for (int i = 0; i < metadata->topic_cnt; i++)
	{
		if (is_of_interest(&metadata->topics[i]))
			take_topic(found, &nleaders, &metadata->topics[i]);
	}
	return found;
}

static bool
is_silence(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT;
}

static void
run_topics(TapKafkaJob *job, rd_kafka_t *rk)
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;

	for (int waited = 0; waited < ANSWER_TIMEOUT_MS && !*job->stop; waited += ROUND_MS)
	{
		code = rd_kafka_metadata(rk, 1, NULL, &metadata, ROUND_MS);
		if (!is_silence(code))
			break;
	}
	tap_kafka_keep_code(&job->error, code, NULL);
	if (metadata == NULL)
		return;
	job->data = take_metadata(metadata);
	rd_kafka_metadata_destroy(metadata);
}

/* Errors that a moment later may be gone: a leader is being elected. */
static bool
is_passing(rd_kafka_resp_err_t code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
		case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
		case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
		case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
		case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
		case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
		case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
			return true;
		default:
			return is_silence(code);
	}
}

/* One request to each broker; true when asking again would not help. */
static bool
ask_once(Query *query, rd_kafka_t *rk, int timeout_ms, rd_kafka_resp_err_t *code)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(query->count);
	bool		settled;

	for (int i = 0; i < query->count; i++)
		rd_kafka_topic_partition_list_add(list, query->items[i].topic,
										  query->items[i].partition)->offset =
			query->items[i].offset;
	*code = rd_kafka_offsets_for_times(rk, list, timeout_ms);
	settled = !is_passing(*code);
	for (int i = 0; i < query->count && *code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
		settled = settled && !is_passing(list->elems[i].err);
	for (int i = 0; i < query->count && settled; i++)
	{
		query->items[i].offset = list->elems[i].offset;
		query->items[i].error = list->elems[i].err;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return settled;
}

static void
run_query(TapKafkaJob *job, rd_kafka_t *rk)
{
	Query	   *query = job->data;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	bool		settled = false;
	int64		began = now_ms();
	int			round_ms = ROUND_MS;

	while (!settled && !*job->stop &&
		   now_ms() - began < (is_silence(code) ? ANSWER_TIMEOUT_MS : LEADER_TIMEOUT_MS))
	{
		settled = ask_once(query, rk, round_ms, &code);
		if (!settled && !is_silence(code))
			usleep(PAUSE_US);
		round_ms = Min(round_ms * 2, LAST_ROUND_MS);
	}
	if (!settled && code == RD_KAFKA_RESP_ERR_NO_ERROR)
		code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	tap_kafka_keep_code(&job->error, code, NULL);
}

/* ---------------------------------------------------------------------
 * In the server's thread
 * ---------------------------------------------------------------------
 */

static int
compare_facts(const ListCell *a, const ListCell *b)
{
	return strcmp(((const TapKafkaTopicFacts *) lfirst(a))->name,
				  ((const TapKafkaTopicFacts *) lfirst(b))->name);
}

TapKafkaJob *
tap_kafka_topics_job(void)
{
	return tap_kafka_job_new(run_topics);
}

List *
tap_kafka_topics_found(const TapKafkaJob *job)
{
	const FoundTopics *found = job->data;
	List	   *result = NIL;

	for (int i = 0; found != NULL && i < found->ntopics; i++)
	{
		const FoundTopic *topic = &found->topics[i];
		TapKafkaTopicFacts *facts = palloc0(sizeof(TapKafkaTopicFacts));

		facts->name = pstrdup(topic->name);
		facts->npartitions = topic->npartitions;
		facts->has_leader = palloc(sizeof(bool) * topic->npartitions);
		for (int j = 0; j < topic->npartitions; j++)
			facts->has_leader[j] = found->leaders[topic->first_leader + j] != 0;
		result = lappend(result, facts);
	}
	list_sort(result, compare_facts);
	return result;
}

List *
tap_kafka_cluster_topics(TapSession *session)
{
	TapKafkaJob *job = tap_kafka_topics_job();
	TapKafkaError error;
	List	   *result;

	tap_kafka_job_run(session->client, job);
	error = job->error;
	result = tap_kafka_topics_found(job);
	tap_kafka_job_free(session->client, job);
	tap_kafka_explain(session->client, &error);
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&error, "could not list the topics of Kafka");
	return result;
}

const TapKafkaTopicFacts *
tap_kafka_find_topic(List *topics, const char *name)
{
	ListCell   *cell;

	foreach(cell, topics)
	{
		const TapKafkaTopicFacts *facts = lfirst(cell);

		if (strcmp(facts->name, name) == 0)
			return facts;
	}
	return NULL;
}

static bool
have_leaders(List *topics, List *names)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		const TapKafkaTopicFacts *facts =
		tap_kafka_find_topic(topics, ((TapTableName *) lfirst(cell))->name);

		if (facts != NULL && tap_kafka_leaders_count(facts, 0) < facts->npartitions)
			return false;
	}
	return true;
}

List *
tap_kafka_settled_topics(TapSession *session, List *names)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ELECTION_MS);
	List	   *topics = tap_kafka_cluster_topics(session);

	while (!have_leaders(topics, names) && GetCurrentTimestamp() < until)
	{
		(void) tap_kafka_core->wait_socket(PGINVALID_SOCKET, 0, ELECTION_LOOK_MS);
		topics = tap_kafka_cluster_topics(session);
	}
	return topics;
}

/* The items that are to be asked for; NULL: none. */
static Query *
make_query(const TapKafkaOffset *items, int count)
{
	Query	   *query = malloc(offsetof(Query, items) + sizeof(TapKafkaOffset) * count);

	if (query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	query->count = 0;
	for (int i = 0; i < count; i++)
	{
		if (items[i].offset != TAP_KAFKA_OFFSET_UNKNOWN)
			query->items[query->count++] = items[i];
	}
	if (query->count > 0)
		return query;
	free(query);
	return NULL;
}

void
tap_kafka_query_offsets(TapSession *session, TapKafkaOffset *items, int count)
{
	TapKafkaJob *job;
	TapKafkaError error;
	Query	   *query = make_query(items, count);
	int			answer = 0;

	if (query == NULL)
		return;
	job = tap_kafka_job_new(run_query);
	job->data = query;
	tap_kafka_job_run(session->client, job);
	error = job->error;
	for (int i = 0; i < count; i++)
	{
		if (items[i].offset != TAP_KAFKA_OFFSET_UNKNOWN)
			items[i] = query->items[answer++];
	}
	tap_kafka_job_free(session->client, job);
	tap_kafka_explain(session->client, &error);
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&error, "could not ask Kafka for offsets");
}

void
tap_kafka_require_offsets(TapSession *session, TapKafkaOffset *items, int count)
{
	tap_kafka_query_offsets(session, items, count);
	for (int i = 0; i < count; i++)
	{
		TapKafkaError error;

		if (items[i].error == RD_KAFKA_RESP_ERR_NO_ERROR)
			continue;
		tap_kafka_keep_code(&error, items[i].error, NULL);
		tap_kafka_report_topic(items[i].topic, items[i].partition, &error);
	}
}

static const char *
topic_hint(rd_kafka_resp_err_t code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
			return "Allow the user to READ and DESCRIBE the topic.";
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return "If the topic was deleted for good, take it off with tapdata.remove_tables(); if it was made anew, call tapdata.resync() for it.";
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
			return "Raise the options \"kafka.fetch.message.max.bytes\" and \"kafka.receive.message.max.bytes\".";
		default:
			return NULL;
	}
}

static int
topic_sqlstate(const TapKafkaError *error)
{
	switch (error->code)
	{
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return ERRCODE_UNDEFINED_OBJECT;
		case RD_KAFKA_RESP_ERR__BAD_MSG:
		case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
			return ERRCODE_DATA_CORRUPTED;
		case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		default:
			return tap_kafka_sqlstate(error);
	}
}

void
tap_kafka_report_topic(const char *topic, int32 partition, const TapKafkaError *error)
{
	const char *hint = topic_hint(error->code);

	ereport(ERROR,
			(errcode(topic_sqlstate(error)),
			 partition >= 0 ?
			 errmsg("could not read partition %d of topic \"%s\": %s", partition, topic, error->text) :
			 errmsg("could not read topic \"%s\": %s", topic, error->text),
			 hint ? errhint("%s", hint) : 0));
	pg_unreachable();
}
