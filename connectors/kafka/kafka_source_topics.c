/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_topics.c
 *	  The topics of the stream: where they start, and new ones.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How often partitions are looked at that have no leader, at least. */
#define LEADER_LOOK_MS	1000

/* Between the epochs of Kafka and of PostgreSQL. */
#define EPOCH_SECONDS	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* ---------------------------------------------------------------------
 * Where to start
 * ---------------------------------------------------------------------
 */

static int64
start_of_option(const char *start)
{
	TimestampTz time;

	if (strcmp(start, "earliest") == 0)
		return RD_KAFKA_OFFSET_BEGINNING;
	if (strcmp(start, "latest") == 0)
		return RD_KAFKA_OFFSET_END;
	time = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(start),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
	/* before 1970 nothing was sent, and small numbers mean something else */
	return Max(time / 1000 + EPOCH_SECONDS * 1000, 0);
}

/* Behind all messages of a time is the end. */
static void
resolve_ends(TapSession *session, TapKafkaOffset *items, int count)
{
	TapKafkaOffset *ends = palloc0(sizeof(TapKafkaOffset) * count);
	int			nends = 0;

	for (int i = 0; i < count; i++)
	{
		if (items[i].offset >= 0)
			continue;
		ends[nends] = items[i];
		ends[nends++].offset = RD_KAFKA_OFFSET_END;
	}
	tap_kafka_require_offsets(session, ends, nends);
	nends = 0;
	for (int i = 0; i < count; i++)
	{
		if (items[i].offset < 0)
			items[i].offset = ends[nends++].offset;
	}
}

void
tap_kafka_start_items(TapSession *session, const TapKafkaTopicFacts *facts, int32 first,
					  int count, TapKafkaOffset *items)
{
	TapKafkaSource *source = session->source;
	int64		start = start_of_option(source->start);

	for (int i = 0; i < count; i++)
	{
		memset(&items[i], 0, sizeof(TapKafkaOffset));
		strlcpy(items[i].topic, facts->name, sizeof(items[i].topic));
		items[i].partition = first + i;
		items[i].offset = facts->has_leader[first + i] ? start : TAP_KAFKA_OFFSET_UNKNOWN;
	}
	tap_kafka_require_offsets(session, items, count);
	resolve_ends(session, items, count);
	for (int i = 0; i < count; i++)
	{
		int64		given = tap_kafka_start_offset(source, facts->name, first + i);

		if (given >= 0)
			items[i].offset = given;
	}
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

void
tap_kafka_topic_start(TapSession *session, TapKafkaStreamTopic *topic, int32 partition)
{
	TapKafkaError error;

	if (rd_kafka_consume_start_queue(topic->handle, partition, topic->next[partition],
									 session->client->messages) == 0)
		return;
	tap_kafka_keep_code(&error, rd_kafka_last_error(), NULL);
	tap_kafka_report_topic(topic->table.name, partition, &error);
}

void
tap_kafka_topic_seek(TapSession *session, TapKafkaStreamTopic *topic, int32 partition,
					 int64 offset)
{
	(void) rd_kafka_consume_stop(topic->handle, partition);
	topic->next[partition] = offset;

	/* what was noted is of before */
	topic->noted_at[partition] = 0;
	tap_kafka_topic_start(session, topic, partition);
}

/* Its messages lead to the struct. */
static void
open_handle(TapSession *session, TapKafkaStreamTopic *topic)
{
	rd_kafka_t *rk = session->client->rk;
	rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(rk);
	TapKafkaError error;

	rd_kafka_topic_conf_set_opaque(conf, topic);
	topic->handle = rd_kafka_topic_new(rk, topic->table.name, conf);
	if (topic->handle != NULL)
		return;
	tap_kafka_keep_code(&error, rd_kafka_last_error(), NULL);
	tap_kafka_report_topic(topic->table.name, -1, &error);
}

static int
compare_topics(const ListCell *a, const ListCell *b)
{
	return strcmp(((const TapKafkaStreamTopic *) lfirst(a))->table.name,
				  ((const TapKafkaStreamTopic *) lfirst(b))->table.name);
}

/* items are its partitions; they are not read yet. */
static TapKafkaStreamTopic *
add_topic(TapSession *session, const TapKafkaTopicFacts *facts, const TapKafkaOffset *items,
		  int npartitions)
{
	MemoryContext before = MemoryContextSwitchTo(session->args.context);
	TapKafkaSource *source = session->source;
	TapKafkaStreamTopic *topic = palloc0(sizeof(TapKafkaStreamTopic));

	topic->table.name = pstrdup(facts->name);
	topic->npartitions = npartitions;
	topic->next = palloc(sizeof(int64) * Max(npartitions, 1));
	topic->waits = palloc0(sizeof(bool) * Max(npartitions, 1));
	topic->noted_at = palloc0(sizeof(TimestampTz) * Max(npartitions, 1));
	for (int i = 0; i < npartitions; i++)
		topic->next[i] = items[i].offset;
	open_handle(session, topic);
	source->topics = lappend(source->topics, topic);
	list_sort(source->topics, compare_topics);
	MemoryContextSwitchTo(before);
	return topic;
}

static void
remove_topic(TapSession *session, TapKafkaStreamTopic *topic)
{
	for (int i = 0; i < topic->npartitions; i++)
		(void) rd_kafka_consume_stop(topic->handle, i);
	rd_kafka_topic_destroy(topic->handle);

	/* messages of it may be under way; they lead to it */
	topic->gone = true;
	session->source->topics = list_delete_ptr(session->source->topics, topic);
}

/*
 * Partitions that were not there when the position was stored are new: taken up
 * to the first one without a leader.  Returns how many partitions there are
 * then.
 */
static int
follow_position(TapSession *session, const TapKafkaTopicFacts *facts,
				const TapKafkaOffsets *stored, TapKafkaOffset *items)
{
	const TapKafkaOffset *item;
	int			nstored = 0;
	int			count;

	while (nstored < facts->npartitions &&
		   (item = tap_kafka_find_offset(stored, facts->name, nstored)) != NULL)
	{
		items[nstored] = *item;
		if (item->offset == TAP_KAFKA_OFFSET_NONE)
			items[nstored].offset = TAP_KAFKA_OFFSET_UNKNOWN;
		nstored++;
	}
	count = tap_kafka_leaders_count(facts, nstored);
	for (int i = nstored; i < count; i++)
	{
		strlcpy(items[i].topic, facts->name, sizeof(items[i].topic));
		items[i].partition = i;
		items[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	}
	tap_kafka_require_offsets(session, items + nstored, count - nstored);
	return count;
}

static bool
is_named(List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(((TapTableName *) lfirst(cell))->name, name) == 0)
			return true;
	}
	return false;
}

static void
report_missing(const char *name)
{
	TapKafkaError error;

	tap_kafka_keep_code(&error, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "the topic is not there");
	tap_kafka_report_topic(name, -1, &error);
}

/* Add a topic that is followed; where it goes on, or begins. */
static void
start_topic(TapSession *session, const TapKafkaTopicFacts *facts, const TapKafkaOffsets *stored,
			bool fresh)
{
	TapKafkaOffset *items = palloc0(sizeof(TapKafkaOffset) * facts->npartitions);
	TapKafkaStreamTopic *topic;
	int			count = facts->npartitions;

	if (fresh)
		tap_kafka_start_items(session, facts, 0, count, items);
	else
		count = follow_position(session, facts, stored, items);
	topic = add_topic(session, facts, items, count);
	topic->continued = !fresh;
	tap_kafka_leaders_wait(topic, facts);
}

/* Sooner while partitions have no leader. */
static void
plan_refresh(TapKafkaSource *source)
{
	int			ms = tap_kafka_leaders_missing(source) ? Min(source->refresh_ms, LEADER_LOOK_MS) :
	source->refresh_ms;

	source->next_refresh = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

void
tap_kafka_topics_start(TapSession *session, const TapStreamArgs *args)
{
	List	   *names = args->tables_followed(args->core_data);
	List	   *cluster = tap_kafka_settled_topics(session, names);
	TapKafkaOffsets *stored = tap_kafka_parse_offsets(args->position ? args->position : "");
	ListCell   *cell;

	foreach(cell, names)
	{
		const char *name = ((TapTableName *) lfirst(cell))->name;
		const TapKafkaTopicFacts *facts = tap_kafka_find_topic(cluster, name);

		if (facts == NULL)
			report_missing(name);
		start_topic(session, facts, stored,
					is_named(args->fresh, name) || !tap_kafka_has_topic(stored, name));
	}
	tap_kafka_check_same(session);
	foreach(cell, session->source->topics)
	{
		TapKafkaStreamTopic *topic = lfirst(cell);

		for (int i = 0; i < topic->npartitions; i++)
		{
			if (!topic->waits[i])
				tap_kafka_topic_start(session, topic, i);
		}
		tap_kafka_leaders_begin(session, topic,
								tap_kafka_find_topic(cluster, topic->table.name));
	}
	plan_refresh(session->source);
}

/* ---------------------------------------------------------------------
 * What the core follows
 * ---------------------------------------------------------------------
 */

static void
forget_decoder(TapKafkaStreamTopic *topic)
{
	if (topic->decoder_context != NULL)
		MemoryContextDelete(topic->decoder_context);
	topic->decoder_context = NULL;
	topic->decoder = NULL;
	topic->asked = false;
}

void
tap_kafka_topics_refollow(TapSession *session)
{
	TapKafkaSource *source = session->source;
	List	   *names = source->args.tables_followed(source->args.core_data);
	ListCell   *cell;

	list_free_deep(source->seen);
	source->seen = NIL;
	foreach(cell, list_copy(source->topics))
	{
		TapKafkaStreamTopic *topic = lfirst(cell);

		forget_decoder(topic);
		if (!is_named(names, topic->table.name))
			remove_topic(session, topic);
	}
}

static TapKafkaDecoder *
make_decoder(TapSession *session, TapSourceTable *table, MemoryContext context)
{
	const TapKafkaDecodeOptions *options = session->source->decode;
	TapKafkaDecoder *decoder = options->decoding->make(session, options, table);

	decoder->decoding = options->decoding;
	decoder->session = session;
	decoder->options = options;
	decoder->context = context;
	decoder->table = table;
	return decoder;
}

bool
tap_kafka_topic_ready(TapSession *session, TapKafkaStreamTopic *topic)
{
	TapKafkaSource *source = session->source;
	const char *definition;
	MemoryContext before;

	if (topic->gone || topic->asked)
		return !topic->gone;
	topic->table_data = source->args.table_followed(source->args.core_data, &topic->table, false,
													&definition);
	if (topic->table_data == NULL || definition == NULL)
	{
		remove_topic(session, topic);
		return false;
	}
	topic->decoder_context = AllocSetContextCreate(session->args.context, "tapdata kafka decoder",
												   ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(topic->decoder_context);
	topic->decoder = make_decoder(session, tap_kafka_table(&topic->table, definition),
								  topic->decoder_context);
	MemoryContextSwitchTo(before);
	topic->asked = true;
	return true;
}

/* ---------------------------------------------------------------------
 * New topics and partitions
 * ---------------------------------------------------------------------
 */

TapKafkaStreamTopic *
tap_kafka_stream_topic(const TapKafkaSource *source, const char *name)
{
	ListCell   *cell;

	foreach(cell, source->topics)
	{
		TapKafkaStreamTopic *topic = lfirst(cell);

		if (strcmp(topic->table.name, name) == 0)
			return topic;
	}
	return NULL;
}

/* In their order; one without a leader is not there yet. */
static void
add_partitions(TapSession *session, TapKafkaStreamTopic *topic, const TapKafkaTopicFacts *facts)
{
	int			total = tap_kafka_leaders_count(facts, topic->npartitions);
	int			count = total - topic->npartitions;
	TapKafkaOffset *items;

	if (count <= 0)
		return;
	items = palloc0(sizeof(TapKafkaOffset) * count);
	for (int i = 0; i < count; i++)
	{
		strlcpy(items[i].topic, facts->name, sizeof(items[i].topic));
		items[i].partition = topic->npartitions + i;
		items[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	}
	tap_kafka_require_offsets(session, items, count);
	topic->next = repalloc(topic->next, sizeof(int64) * total);
	topic->waits = repalloc(topic->waits, sizeof(bool) * total);
	topic->noted_at = repalloc(topic->noted_at, sizeof(TimestampTz) * total);
	for (int i = 0; i < count; i++)
	{
		topic->noted_at[topic->npartitions] = 0;
		topic->waits[topic->npartitions] = false;
		topic->next[topic->npartitions] = items[i].offset;
		tap_kafka_topic_start(session, topic, topic->npartitions++);
	}
	session->source->moved = true;
	tap_kafka_core->event("partitions added", &topic->table,
						  psprintf("the topic has %d partitions now", topic->npartitions));
}

/* The core decides by its patterns; what it wants is added at its next look. */
static void
offer_topic(TapSession *session, const char *name)
{
	TapKafkaSource *source = session->source;
	MemoryContext before;
	TapTableName table = {0};
	const char *definition;
	ListCell   *cell;

	foreach(cell, source->seen)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return;
	}
	before = MemoryContextSwitchTo(session->args.context);
	table.name = pstrdup(name);
	source->seen = lappend(source->seen, table.name);
	MemoryContextSwitchTo(before);
	(void) source->args.table_followed(source->args.core_data, &table, false, &definition);
	source->look_again = true;
}

static void
take_refresh(TapSession *session)
{
	TapKafkaSource *source = session->source;
	List	   *found = tap_kafka_topics_found(source->refresh_job);
	ListCell   *cell;

	tap_kafka_job_free(session->client, source->refresh_job);
	source->refresh_job = NULL;
	foreach(cell, found)
	{
		const TapKafkaTopicFacts *facts = lfirst(cell);
		TapKafkaStreamTopic *topic = tap_kafka_stream_topic(source, facts->name);

		if (topic == NULL)
			offer_topic(session, facts->name);
		else
		{
			tap_kafka_leaders_begin(session, topic, facts);
			add_partitions(session, topic, facts);
		}
	}
	plan_refresh(source);
}

void
tap_kafka_topics_settle(TapSession *session)
{
	while (session->source->refresh_job != NULL)
	{
		tap_kafka_clear_wakeup(session->client);
		tap_kafka_serve(session->client);
		if (tap_kafka_job_done(session->client))
			take_refresh(session);
		else
			tap_kafka_wait(session->client, -1);
	}
}

void
tap_kafka_topics_refresh(TapSession *session)
{
	TapKafkaSource *source = session->source;

	if (source->refresh_job != NULL)
	{
		if (tap_kafka_job_done(session->client))
			take_refresh(session);
	}
	else if (GetCurrentTimestamp() >= source->next_refresh)
	{
		source->refresh_job = tap_kafka_topics_job();
		tap_kafka_job_post(session->client, source->refresh_job);
	}
}
