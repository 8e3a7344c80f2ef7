/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_leader.c
 *	  Partitions of the stream that have no leader wait; the others do not.
 *
 * NOTES
 *	  That is about the start of a session.  A partition that is being read and
 *	  loses its leader is librdkafka's to take up again.
 *
 *	  A partition that waits keeps its place in the position.  If that was
 *	  never known, since its topic begins here, it is TAP_KAFKA_OFFSET_NONE,
 *	  which covers nothing: wait() does not pass it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

bool
tap_kafka_leaders_missing(const TapKafkaSource *source)
{
	ListCell   *cell;

	foreach(cell, source->topics)
	{
		const TapKafkaStreamTopic *topic = lfirst(cell);

		for (int i = 0; i < topic->npartitions; i++)
		{
			if (topic->waits[i])
				return true;
		}
	}
	return false;
}

int
tap_kafka_leaders_count(const TapKafkaTopicFacts *facts, int from)
{
	while (from < facts->npartitions && facts->has_leader[from])
		from++;
	return from;
}

void
tap_kafka_leaders_wait(TapKafkaStreamTopic *topic, const TapKafkaTopicFacts *facts)
{
	for (int i = 0; i < topic->npartitions; i++)
	{
		topic->waits[i] = !facts->has_leader[i] || topic->next[i] == TAP_KAFKA_OFFSET_UNKNOWN;
		if (!facts->has_leader[i])
			tap_kafka_core->event("warning", &topic->table,
								  psprintf("partition %d has no leader; it is read when it has one", i));
	}
}

/* Where a partition begins whose topic began while it could not be asked. */
static int64
first_offset(TapSession *session, const TapKafkaTopicFacts *facts, int32 partition)
{
	TapKafkaOffset item;

	/* its neighbours are read, and may have lost their leaders */
	tap_kafka_start_items(session, facts, partition, 1, &item);
	return item.offset;
}

void
tap_kafka_leaders_begin(TapSession *session, TapKafkaStreamTopic *topic,
						const TapKafkaTopicFacts *facts)
{
	int			count = Min(topic->npartitions, facts->npartitions);

	for (int i = 0; i < count; i++)
	{
		if (!topic->waits[i] || !facts->has_leader[i])
			continue;
		if (topic->next[i] == TAP_KAFKA_OFFSET_UNKNOWN)
			topic->next[i] = first_offset(session, facts, i);
		else
			tap_kafka_check_partition(session, topic, i);
		topic->waits[i] = false;
		tap_kafka_topic_start(session, topic, i);
		session->source->moved = true;
		tap_kafka_core->event("partition begun", &topic->table,
							  psprintf("partition %d has a leader, and is read from offset " INT64_FORMAT " on",
									   i, topic->next[i]));
	}
}
