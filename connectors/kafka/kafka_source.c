/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source.c
 *	  The callbacks of the source; tables of topics.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include "utils/memutils.h"

/* A pipeline's stream was opened here: this is its worker. */
static bool is_worker = false;

/* Names (char *) of the topics that it was told are left out. */
static List *left_out = NIL;

/* A topic to be described, and its table. */
typedef struct DescribeCall
{
	TapSession *session;
	TapTableName name;
	const TapKafkaMessage *messages;
	int			count;
	TapSourceTable *table;
} DescribeCall;

/* What is checked of a connection for both sides is what a target needs. */
bool
tap_kafka_reads(const TapSessionArgs *args)
{
	if (args->purpose == TAP_PURPOSE_TEST)
		return args->sides == TAP_SIDE_SOURCE;
	return args->purpose != TAP_PURPOSE_SINK;
}

void
tap_kafka_source_open(TapSession *session)
{
	is_worker = is_worker || session->args.purpose == TAP_PURPOSE_STREAM;
	session->source = palloc0(sizeof(TapKafkaSource));
	tap_kafka_read_source_options(session);
	initStringInfo(&session->source->key);
	initStringInfo(&session->source->value);
	session->client = tap_kafka_client_new(RD_KAFKA_CONSUMER, tap_kafka_source_properties(session));
	tap_kafka_receive(session->client);
}

void
tap_kafka_source_close(TapSession *session)
{
	TapKafkaSource *source = session->source;
	ListCell   *cell;

	if (source == NULL || session->client == NULL || session->client->rk == NULL)
		return;
	for (int i = 0; i < source->nbatch; i++)
		rd_kafka_message_destroy(source->batch[i]);
	source->nbatch = 0;
	foreach(cell, source->topics)
	{
		TapKafkaStreamTopic *topic = lfirst(cell);

		rd_kafka_topic_destroy(topic->handle);
	}
	source->topics = NIL;
}

TapKafkaMessage
tap_kafka_message(const rd_kafka_message_t *raw)
{
	TapKafkaMessage message = {
		.partition = raw->partition,
		.offset = raw->offset,
		.timestamp = rd_kafka_message_timestamp(raw, NULL),
		.key = raw->key,
		.key_bytes = raw->key ? raw->key_len : 0,
		.value = raw->payload,
		.value_bytes = raw->payload ? raw->len : 0,
		.raw = raw
	};

	return message;
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

static List *
list_tables(TapSession *session)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, tap_kafka_cluster_topics(session))
	{
		TapTableName *name = palloc0(sizeof(TapTableName));

		name->name = ((TapKafkaTopicFacts *) lfirst(cell))->name;
		names = lappend(names, name);
	}
	return names;
}

/* How many offsets there are, which is no less than messages. */
static double
estimate_rows(TapSession *session, const TapKafkaTopicFacts *topic)
{
	int			count = topic->npartitions;
	TapKafkaOffset *items = palloc0(sizeof(TapKafkaOffset) * count * 2);
	double		rows = 0;

	for (int i = 0; i < count * 2; i++)
	{
		strlcpy(items[i].topic, topic->name, sizeof(items[i].topic));
		items[i].partition = i % count;
		items[i].offset = !topic->has_leader[i % count] ? TAP_KAFKA_OFFSET_UNKNOWN :
			i < count ? RD_KAFKA_OFFSET_BEGINNING : RD_KAFKA_OFFSET_END;
	}
	tap_kafka_query_offsets(session, items, count);
	tap_kafka_query_offsets(session, items + count, count);
	for (int i = 0; i < count; i++)
		rows += items[count + i].offset - items[i].offset;
	return rows;
}

/*
 * Without a pipeline nobody has said what the messages are: they are shown
 * raw if they are not JSON.
 */
static void
describe_sample(void *arg)
{
	DescribeCall *call = arg;
	TapSession *session = call->session;
	TapKafkaDecodeOptions options = *session->source->decode;

	call->table = options.decoding->describe(session, &options, &call->name, call->messages,
											 call->count);
	if (session->args.pipeline_options != NULL || call->table->descriptor->natts > 0)
		return;
	options.decoding = &tap_kafka_decoding_raw;
	call->table = options.decoding->describe(session, &options, &call->name, call->messages,
											 call->count);
}

/* The place of a topic in left_out, or -1. */
static int
find_left_out(const char *name)
{
	ListCell   *cell;

	foreach(cell, left_out)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return foreach_current_index(cell);
	}
	return -1;
}

/* Whether it is for the topic's messages, not for the brokers or the server. */
static bool
is_of_messages(const ErrorData *error)
{
	/* hosts that may not be spoken to, and what the login may not read */
	if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		return false;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			return true;
		default:
			return false;
	}
}

/* Told once, though each look finds the topic again. */
static void
tell_left_out(const TapTableName *name, const ErrorData *error)
{
	MemoryContext before;

	if (find_left_out(name->name) >= 0)
		return;
	before = MemoryContextSwitchTo(TopMemoryContext);
	left_out = lappend(left_out, pstrdup(name->name));
	MemoryContextSwitchTo(before);
	tap_kafka_core->event("warning", name,
						  psprintf("topic %s is left out until its messages tell its columns: %s",
								   name->name, error->message));
}

/*
 * A topic that comes by itself must not stop the pipeline: the worker looks at
 * one that cannot be described yet again later.
 */
static void
describe_if_possible(DescribeCall *call)
{
	ErrorData  *error = tap_kafka_try(describe_sample, call);
	int			place;

	if (error != NULL)
	{
		if (!is_of_messages(error))
			ReThrowError(error);
		tell_left_out(&call->name, error);
		FreeErrorData(error);
		call->table = NULL;
		return;
	}
	place = find_left_out(call->name.name);
	if (place >= 0)
		left_out = list_delete_nth_cell(left_out, place);
}

/* NULL: it cannot be described yet, and is left out. */
static TapSourceTable *
describe_topic(TapSession *session, const TapKafkaTopicFacts *topic)
{
	MemoryContext before = CurrentMemoryContext;
	MemoryContext sample = AllocSetContextCreate(before, "tapdata kafka sample",
												 ALLOCSET_DEFAULT_SIZES);
	DescribeCall call = {.session = session,.name = {.name = topic->name}};
	double		rows;

	MemoryContextSwitchTo(sample);
	call.messages = tap_kafka_sample(session, topic, &call.count);
	rows = estimate_rows(session, topic);
	MemoryContextSwitchTo(before);
	if (is_worker)
		describe_if_possible(&call);
	else
		describe_sample(&call);
	if (call.table != NULL)
		call.table->estimated_rows = rows;
	MemoryContextDelete(sample);
	return call.table;
}

static List *
describe_tables(TapSession *session, List *names)
{
	List	   *topics = tap_kafka_settled_topics(session, names);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		const TapTableName *name = lfirst(cell);
		const TapKafkaTopicFacts *topic = tap_kafka_find_topic(topics, name->name);
		TapSourceTable *table = topic ? describe_topic(session, topic) : NULL;

		if (table != NULL)
			result = lappend(result, table);
	}
	return result;
}

static TapSourceTable *
table_from_definition(TapSession *session, const TapTableName *name, const char *definition)
{
	return tap_kafka_table(name, definition);
}

/* ---------------------------------------------------------------------
 * Positions
 * ---------------------------------------------------------------------
 */

/* All partitions of topics, those without a leader unknown. */
static TapKafkaOffsets *
all_partitions(List *topics, int64 offset)
{
	TapKafkaOffsets *offsets = palloc0(sizeof(TapKafkaOffsets));
	ListCell   *cell;
	int			count = 0;

	foreach(cell, topics)
		count += ((TapKafkaTopicFacts *) lfirst(cell))->npartitions;
	offsets->items = MemoryContextAllocExtended(CurrentMemoryContext,
												sizeof(TapKafkaOffset) * Max(count, 1),
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	foreach(cell, topics)
	{
		const TapKafkaTopicFacts *topic = lfirst(cell);

		for (int i = 0; i < topic->npartitions; i++)
		{
			TapKafkaOffset *item = &offsets->items[offsets->count++];

			strlcpy(item->topic, topic->name, sizeof(item->topic));
			item->partition = i;
			item->offset = topic->has_leader[i] ? offset : TAP_KAFKA_OFFSET_UNKNOWN;
		}
	}
	return offsets;
}

/* What has no answer becomes unknown. */
static void
ask_known(TapSession *session, TapKafkaOffsets *offsets)
{
	tap_kafka_query_offsets(session, offsets->items, offsets->count);
	for (int i = 0; i < offsets->count; i++)
	{
		if (offsets->items[i].error != RD_KAFKA_RESP_ERR_NO_ERROR)
			offsets->items[i].offset = TAP_KAFKA_OFFSET_UNKNOWN;
	}
}

/*
 * The session does not know which topics the pipeline follows; the others do
 * not count when positions are compared.
 */
static char *
current_position(TapSession *session)
{
	TapKafkaOffsets *offsets = all_partitions(tap_kafka_cluster_topics(session),
											  RD_KAFKA_OFFSET_END);

	ask_known(session, offsets);
	return tap_kafka_print_offsets(offsets);
}

static void
note_gap(const TapKafkaOffset *stored, int64 first, char **detail, char **hint)
{
	*detail = psprintf("Topic \"%s\" begins with offset " INT64_FORMAT " in partition %d, the next message to read is " INT64_FORMAT ".",
					   stored->topic, first, stored->partition, stored->offset);
	*hint = pstrdup("Raise the topic's retention.ms; the option \"on_gap\" says how to go on.");
}

/* Kafka counts messages, not bytes; but it can be seen what is gone. */
static int64
log_behind(TapSession *session, const char *position, bool *purged, char **detail, char **hint)
{
	TapKafkaOffsets *stored = tap_kafka_parse_offsets(position);
	TapKafkaOffsets *first = tap_kafka_parse_offsets(position);
	List	   *topics = tap_kafka_cluster_topics(session);

	*purged = false;
	for (int i = 0; i < first->count; i++)
	{
		const TapKafkaTopicFacts *facts = tap_kafka_find_topic(topics, first->items[i].topic);
		int32		partition = first->items[i].partition;
		bool		asked = facts != NULL && partition < facts->npartitions &&
		facts->has_leader[partition] && stored->items[i].offset != TAP_KAFKA_OFFSET_NONE;

		first->items[i].offset = asked ? RD_KAFKA_OFFSET_BEGINNING : TAP_KAFKA_OFFSET_UNKNOWN;
	}
	ask_known(session, first);
	for (int i = 0; i < first->count; i++)
	{
		if (first->items[i].offset == TAP_KAFKA_OFFSET_UNKNOWN ||
			first->items[i].offset <= stored->items[i].offset)
			continue;
		*purged = true;
		note_gap(&stored->items[i], first->items[i].offset, detail, hint);
		break;
	}
	return -1;
}

const TapSourceCallbacks tap_kafka_source = {
	.list_tables = list_tables,
	.describe_tables = describe_tables,
	.table_from_definition = table_from_definition,
	.current_position = current_position,
	.log_behind = log_behind,
	.position_compare = tap_kafka_compare_positions,
	.stream_start = tap_kafka_stream_start,
	.stream_refollow = tap_kafka_stream_refollow,
	.stream_next = tap_kafka_stream_next,
	.stream_wait = tap_kafka_stream_wait,
	.stream_position = tap_kafka_stream_position,
	.describe_event = tap_kafka_describe_event
};
