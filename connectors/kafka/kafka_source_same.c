/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_same.c
 *	  Whether a topic is the one that was read, or another of its name.
 *
 * NOTES
 *	  Offsets of a topic that was deleted and made anew begin anew, and after a
 *	  while the stored one fits again.  So of each partition a message that was
 *	  read is noted now and then: its offset, time and checksum, in a note
 *	  "read PARTITION TOPIC" that commits with the position.  Before the stream
 *	  goes on these messages are read again.  Another message at that offset
 *	  is another topic (or a log that was cut off and went on otherwise); none
 *	  at all says nothing, for retention and compaction remove messages.  A
 *	  partition that cannot be read is an error, as it is for the stream: to go
 *	  on would overwrite the note, and nobody would look again.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/timestamp.h"

#define NOTE_PREFIX		"read "

/* How old a note may become while there are messages. */
#define NOTE_MS			10000

/* The stream does not begin when brokers say nothing for so long. */
#define CHECK_MS		10000
#define BATCH			256

/* A partition whose noted message is being looked for. */
typedef struct Mark
{
	TapKafkaStreamTopic *topic;
	int32		partition;
	int64		offset;
	int64		timestamp;
	uint32		checksum;
	bool		open;
	bool		differs;
	int64		found_timestamp;
} Mark;

typedef struct Marks
{
	TapSession *session;
	rd_kafka_queue_t *queue;	/* their messages come here */
	List	   *marks;			/* of Mark * */
	int			nopen;
	const Mark *failed;			/* one that cannot be read, or NULL */
	TapKafkaError error;
} Marks;

/* ---------------------------------------------------------------------
 * Notes
 * ---------------------------------------------------------------------
 */

static uint32
checksum_of(const rd_kafka_message_t *raw)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	if (raw->key != NULL)
		COMP_CRC32C(crc, raw->key, raw->key_len);
	if (raw->payload != NULL)
		COMP_CRC32C(crc, raw->payload, raw->len);
	FIN_CRC32C(crc);
	return crc;
}

static char *
note_key(const char *topic, int32 partition)
{
	return psprintf(NOTE_PREFIX "%d %s", partition, topic);
}

void
tap_kafka_note_read(TapSession *session)
{
	TapKafkaSource *source = session->source;
	TimestampTz now = GetCurrentTimestamp();

	/* the last ones first: of each partition one is enough */
	for (int i = source->at - 1; i >= 0; i--)
	{
		const rd_kafka_message_t *raw = source->batch[i];
		TapKafkaStreamTopic *topic = rd_kafka_topic_opaque(raw->rkt);

		if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR || topic->gone ||
			now < topic->noted_at[raw->partition] + INT64CONST(1000) * NOTE_MS)
			continue;
		topic->noted_at[raw->partition] = now;
		tap_kafka_core->remember(note_key(topic->table.name, raw->partition),
								 psprintf(INT64_FORMAT " " INT64_FORMAT " %u", raw->offset,
										  rd_kafka_message_timestamp(raw, NULL),
										  checksum_of(raw)));
	}
}

/* For the time at which the partition has a leader. */
static void
keep_mark(TapSession *session, const Mark *mark)
{
	MemoryContext before = MemoryContextSwitchTo(session->args.context);
	Mark	   *copy = palloc(sizeof(Mark));

	*copy = *mark;
	session->source->unchecked = lappend(session->source->unchecked, copy);
	MemoryContextSwitchTo(before);
}

/* A note of a topic that begins anew, or is not followed, is void. */
static void
take_note(void *arg, const char *key, const char *value)
{
	Marks	   *marks = arg;
	Mark	   *mark = palloc0(sizeof(Mark));
	int			name = 0;

	if (sscanf(key, NOTE_PREFIX "%d %n", &mark->partition, &name) == 1 && name > 0 &&
		sscanf(value, INT64_FORMAT " " INT64_FORMAT " %u", &mark->offset, &mark->timestamp,
			   &mark->checksum) == 3)
		mark->topic = tap_kafka_stream_topic(marks->session->source, key + name);
	if (mark->topic == NULL || !mark->topic->continued)
		tap_kafka_core->remember(key, NULL);
	else if (mark->partition >= mark->topic->npartitions ||
			 mark->offset >= mark->topic->next[mark->partition])
		return;
	else if (mark->topic->waits[mark->partition])
		keep_mark(marks->session, mark);
	else
		marks->marks = lappend(marks->marks, mark);
}

/* ---------------------------------------------------------------------
 * Reading them again
 * ---------------------------------------------------------------------
 */

static void
begin_reading(Marks *marks)
{
	ListCell   *cell;

	foreach(cell, marks->marks)
	{
		Mark	   *mark = lfirst(cell);

		if (rd_kafka_consume_start_queue(mark->topic->handle, mark->partition, mark->offset,
										 marks->queue) != 0)
		{
			tap_kafka_keep_code(&marks->error, rd_kafka_last_error(), NULL);
			marks->failed = mark;
			return;
		}
		mark->open = true;
		marks->nopen++;
	}
}

static void
end_reading(Marks *marks)
{
	ListCell   *cell;

	foreach(cell, marks->marks)
	{
		Mark	   *mark = lfirst(cell);

		(void) rd_kafka_consume_stop(mark->topic->handle, mark->partition);
	}
}

static Mark *
find_open(const Marks *marks, const rd_kafka_message_t *raw)
{
	ListCell   *cell;

	foreach(cell, marks->marks)
	{
		Mark	   *mark = lfirst(cell);

		if (mark->open && mark->partition == raw->partition &&
			mark->topic == rd_kafka_topic_opaque(raw->rkt))
			return mark;
	}
	return NULL;
}

/* What comes first of a partition. */
static void
take_message(Marks *marks, const rd_kafka_message_t *raw)
{
	Mark	   *mark = find_open(marks, raw);

	if (mark == NULL || marks->failed != NULL)
		return;
	if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
		raw->err != RD_KAFKA_RESP_ERR__PARTITION_EOF &&
		raw->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
	{
		tap_kafka_keep_code(&marks->error, raw->err, rd_kafka_message_errstr(raw));
		marks->failed = mark;
		return;
	}
	mark->open = false;
	marks->nopen--;
	if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR || raw->offset != mark->offset)
		return;
	mark->found_timestamp = rd_kafka_message_timestamp(raw, NULL);
	mark->differs = mark->found_timestamp != mark->timestamp ||
		checksum_of(raw) != mark->checksum;
}

/* Take what is there; false: that was nothing. */
static bool
take_batch(Marks *marks)
{
	rd_kafka_message_t *batch[BATCH];
	ssize_t		n;

	n = rd_kafka_consume_batch_queue(marks->queue, 0, batch, BATCH);
	for (ssize_t i = 0; i < n; i++)
	{
		take_message(marks, batch[i]);
		rd_kafka_message_destroy(batch[i]);
	}
	return n > 0;
}

static void
report_failure(const Marks *marks)
{
	const TapKafkaClient *client = marks->session->client;
	ListCell   *cell;

	if (marks->failed != NULL)
		tap_kafka_report_topic(marks->failed->topic->table.name, marks->failed->partition,
							   &marks->error);
	if (marks->nopen > 0 && (client->all_down || tap_kafka_is_refusal(&client->last_error)))
		tap_kafka_report(&client->last_error, "lost the connection to Kafka");
	foreach(cell, marks->marks)
	{
		const Mark *mark = lfirst(cell);

		if (mark->open)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("could not find out whether topic \"%s\" is the one that was read",
							mark->topic->table.name),
					 errdetail("The brokers have said nothing of partition %d for %d seconds.",
							   mark->partition, CHECK_MS / 1000),
					 errhint("Look whether it has a leader.")));
	}
}

static void
read_open(Marks *marks)
{
	TapKafkaClient *client = marks->session->client;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CHECK_MS);

	begin_reading(marks);
	while (marks->nopen > 0 && marks->failed == NULL)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		int			nopen = marks->nopen;
		bool		waits;

		CHECK_FOR_INTERRUPTS();
		tap_kafka_clear_wakeup(client);
		tap_kafka_serve(client);
		waits = !take_batch(marks);
		if (marks->nopen < nopen)
			until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CHECK_MS);
		else if (left <= 0)
			break;
		if (waits)
			tap_kafka_wait(client, left);
	}
}

/* By a queue of their own, for the stream may go on beside it. */
static void
read_marks(Marks *marks)
{
	marks->queue = tap_kafka_queue_new(marks->session->client);
	PG_TRY();
	{
		read_open(marks);
	}
	PG_FINALLY();
	{
		end_reading(marks);
		rd_kafka_queue_io_event_enable(marks->queue, -1, NULL, 0);
		rd_kafka_queue_destroy(marks->queue);
	}
	PG_END_TRY();
	report_failure(marks);
}

/* ---------------------------------------------------------------------
 * Another topic
 * ---------------------------------------------------------------------
 */

static const char *
time_text(int64 ms)
{
	return ms < 0 ? "an unknown time" :
		timestamptz_to_str(ms * 1000 - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
}

static void
report_other(const Mark *mark)
{
	const char *then = pstrdup(time_text(mark->timestamp));
	const char *now = pstrdup(time_text(mark->found_timestamp));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("topic \"%s\" is not the one that was read", mark->topic->table.name),
			 errdetail("The message at offset " INT64_FORMAT " of partition %d was one of %s when it was read, and is another one of %s now.",
					   mark->offset, mark->partition, then, now),
			 errhint("It was deleted and made anew, or its log was cut off. To read the new one beside the rows that are there, set the option \"on_gap\" to earliest or latest by tapdata.alter_pipeline() and start the pipeline; or begin the table anew with tapdata.resync().")));
}

/*
 * Go on as with a gap, in so many partitions from this one on.  Those that wait
 * cannot be asked where that is: their first message is looked for from 0 on
 * when they begin, their end is not known.
 */
static void
begin_anew(TapSession *session, TapKafkaStreamTopic *topic, int32 first, int count)
{
	bool		earliest = session->source->on_gap == TAP_KAFKA_GAP_EARLIEST;
	TapKafkaOffset *items = palloc0(sizeof(TapKafkaOffset) * count);

	for (int i = 0; i < count; i++)
	{
		strlcpy(items[i].topic, topic->table.name, sizeof(items[i].topic));
		items[i].partition = first + i;
		items[i].offset = topic->waits[first + i] ? TAP_KAFKA_OFFSET_UNKNOWN :
			earliest ? RD_KAFKA_OFFSET_BEGINNING : RD_KAFKA_OFFSET_END;
	}
	tap_kafka_require_offsets(session, items, count);
	for (int i = 0; i < count; i++)
		topic->next[first + i] = topic->waits[first + i] && earliest ? 0 : items[i].offset;
	session->source->moved = true;
	tap_kafka_core->event("warning", &topic->table,
						  psprintf("topic \"%s\" is not the one that was read; reading begins at the %s message that it has",
								   topic->table.name, earliest ? "first" : "next"));
}

static void
forget_notes(const TapKafkaStreamTopic *topic)
{
	for (int i = 0; i < topic->npartitions; i++)
		tap_kafka_core->remember(note_key(topic->table.name, i), NULL);
}

void
tap_kafka_check_same(TapSession *session)
{
	Marks		marks = {.session = session};
	ListCell   *cell;

	tap_kafka_core->recall(NOTE_PREFIX, take_note, &marks);
	if (marks.marks == NIL)
		return;
	read_marks(&marks);
	foreach(cell, marks.marks)
	{
		Mark	   *mark = lfirst(cell);

		if (!mark->differs || !mark->topic->continued)
			continue;
		if (session->source->on_gap == TAP_KAFKA_GAP_STOP)
			report_other(mark);
		begin_anew(session, mark->topic, 0, mark->topic->npartitions);
		forget_notes(mark->topic);
		mark->topic->continued = false;
	}
}

/* A mark that was kept for the partition; it is kept no more. */
static Mark *
take_kept(TapKafkaSource *source, const TapKafkaStreamTopic *topic, int32 partition)
{
	ListCell   *cell;

	foreach(cell, source->unchecked)
	{
		Mark	   *mark = lfirst(cell);

		if (mark->topic != topic || mark->partition != partition)
			continue;
		source->unchecked = foreach_delete_current(source->unchecked, cell);
		return mark;
	}
	return NULL;
}

void
tap_kafka_check_partition(TapSession *session, TapKafkaStreamTopic *topic, int32 partition)
{
	Marks		marks = {.session = session};
	Mark	   *mark = take_kept(session->source, topic, partition);

	/* the topic may have begun anew since */
	if (mark == NULL || !topic->continued)
		return;
	marks.marks = list_make1(mark);
	read_marks(&marks);
	if (!mark->differs)
		return;
	if (session->source->on_gap == TAP_KAFKA_GAP_STOP)
		report_other(mark);
	topic->waits[partition] = false;
	begin_anew(session, topic, partition, 1);
	tap_kafka_core->remember(note_key(topic->table.name, partition), NULL);
}
