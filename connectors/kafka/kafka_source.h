/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source.h
 *	  What the files of the Kafka source share.
 *
 * kafka_source.c			the callbacks, tables of topics
 * kafka_source_options.c	options of a pull pipeline
 * kafka_source_offsets.c	offsets: the position's text, its order
 * kafka_source_query.c		what brokers say of topics and offsets
 * kafka_source_sample.c	the first messages of a topic
 * kafka_source_stream.c	the stream of events
 * kafka_source_topics.c	the topics of the stream: start, stop, new ones
 * kafka_source_leader.c	partitions of them that have no leader wait
 * kafka_source_same.c		whether a topic is the one that was read
 *
 * NOTES
 *	  Partitions are read by librdkafka's simple consumer, which knows of no
 *	  group: what was read is in the hub's position and nowhere else.  All of
 *	  them feed one queue.
 *
 *	  A position is the offset of the next message for each partition of each
 *	  followed topic, sorted: "clicks:0=12,1=40;orders:0=7".  Offsets that hold
 *	  no message for us (ends of transactions, what was compacted or aborted)
 *	  are passed when the end of a partition is told.  A partition that had no
 *	  leader since its topic is followed has "-": nothing of it was read, and
 *	  where to begin is not known yet.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_SOURCE_H
#define TAPDATA_KAFKA_SOURCE_H

#include "kafka_connector.h"
#include "kafka_decode.h"

/* An offset that is not known: the partition has no leader now. */
#define TAP_KAFKA_OFFSET_UNKNOWN	PG_INT64_MAX

/* In positions: where to begin was never known. */
#define TAP_KAFKA_OFFSET_NONE		INT64CONST(-1)

/* Names of topics have at most 249 bytes. */
#define TAP_KAFKA_TOPIC_BYTES		256

/* What to do when the next message is not there any more. */
typedef enum TapKafkaOnGap
{
	TAP_KAFKA_GAP_STOP,
	TAP_KAFKA_GAP_EARLIEST,
	TAP_KAFKA_GAP_LATEST
} TapKafkaOnGap;

typedef struct TapKafkaOffset
{
	char		topic[TAP_KAFKA_TOPIC_BYTES];
	int32		partition;
	int64		offset;
	rd_kafka_resp_err_t error;	/* queries only */
} TapKafkaOffset;

/* Sorted by topic and partition, no partition twice. */
typedef struct TapKafkaOffsets
{
	int			count;
	TapKafkaOffset *items;
} TapKafkaOffsets;

/* A topic of the cluster. */
typedef struct TapKafkaTopicFacts
{
	char	   *name;
	int			npartitions;
	bool	   *has_leader;		/* npartitions */
} TapKafkaTopicFacts;

/* A topic that is streamed; lives as long as the session. */
typedef struct TapKafkaStreamTopic
{
	TapTableName table;			/* schema NULL, name as in Kafka */
	rd_kafka_topic_t *handle;
	bool		gone;			/* not followed any more */
	bool		asked;			/* the three below are valid */
	void	   *table_data;
	MemoryContext decoder_context;
	TapKafkaDecoder *decoder;
	int			npartitions;
	int64	   *next;			/* npartitions: offset of the next message, or
								 * TAP_KAFKA_OFFSET_UNKNOWN */
	bool	   *waits;			/* npartitions: not read, since it has had no
								 * leader */
	TimestampTz *noted_at;		/* npartitions: when one of its messages was
								 * noted; 0: not in this session */
	bool		continued;		/* from the stored position */
} TapKafkaStreamTopic;

typedef struct TapKafkaSource
{
	TapKafkaDecodeOptions *decode;
	const char *start;			/* option */
	const char *start_offsets;	/* JSON, or NULL */
	TapKafkaOnGap on_gap;
	int			sample_messages;
	int			refresh_ms;

	/* the stream */
	TapStreamArgs args;
	List	   *topics;			/* of TapKafkaStreamTopic *, sorted by name */
	List	   *seen;			/* of char *: topics that are not followed */
	rd_kafka_message_t **batch;
	int			nbatch;
	int			at;				/* the next one of the batch */
	int			step;			/* calls of decode() for it */
	bool		in_txn;
	bool		moved;			/* the position did, since it was told */
	bool		look_again;		/* do not wait: the core has been told of
								 * topics */
	TimestampTz commit_time;	/* of the newest message of the batch */
	TapKafkaMessage message;	/* the last one that was decoded */
	StringInfoData key;			/* its bytes */
	StringInfoData value;
	List	   *unchecked;		/* kafka_source_same.c's, of those that wait */
	TapKafkaJob *refresh_job;	/* under way */
	TimestampTz next_refresh;
} TapKafkaSource;

/* ---- kafka_source.c ---- */

extern const TapSourceCallbacks tap_kafka_source;

/* Whether a session for these is one that reads. */
extern bool tap_kafka_reads(const TapSessionArgs *args);

/* Make a session that reads; in its context.  Its client does not connect. */
extern void tap_kafka_source_open(TapSession *session);

/* Give back what is librdkafka's, before the client ends; never an error. */
extern void tap_kafka_source_close(TapSession *session);

/* A message of librdkafka's; its bytes stay where they are. */
extern TapKafkaMessage tap_kafka_message(const rd_kafka_message_t *raw);

/* ---- kafka_source_options.c ---- */

/* Read the options of the pipeline; in the session's context. */
extern void tap_kafka_read_source_options(TapSession *session);

/* Checks of options when they are given. */
extern void tap_kafka_check_start(const char *value);
extern void tap_kafka_check_start_offsets(const char *value);

/* Properties for a consumer, as tap_kafka_producer_properties(). */
extern List *tap_kafka_source_properties(TapSession *session);

/*
 * The offset that the option "start_offsets" has for a partition; -1: none.
 */
extern int64 tap_kafka_start_offset(const TapKafkaSource *source, const char *topic,
									int32 partition);

/* ---- kafka_source_offsets.c ---- */

/*
 * Read a position's text.  In the current context.  Raises
 * ERRCODE_DATA_CORRUPTED.
 */
extern TapKafkaOffsets *tap_kafka_parse_offsets(const char *text);

/* The text of offsets, which are sorted; in the current context. */
extern char *tap_kafka_print_offsets(const TapKafkaOffsets *offsets);

/* Sort offsets for the two above. */
extern void tap_kafka_sort_offsets(TapKafkaOffsets *offsets);

/* The offset of a partition, or NULL. */
extern const TapKafkaOffset *tap_kafka_find_offset(const TapKafkaOffsets *offsets,
												   const char *topic, int32 partition);

/* Whether any partition of the topic is there. */
extern bool tap_kafka_has_topic(const TapKafkaOffsets *offsets, const char *topic);

/*
 * TapSourceCallbacks.position_compare.  Topics that only one of them has do not
 * count; a partition that one lacks of a topic it has was not read there.
 */
extern TapPositionOrder tap_kafka_compare_positions(const char *a, const char *b);

/* ---- kafka_source_query.c ---- */

/*
 * The topics of the cluster that the user may see, without Kafka's own: List
 * of TapKafkaTopicFacts *, sorted by name, in the current context.  Uses the
 * network.
 */
extern List *tap_kafka_cluster_topics(TapSession *session);

/*
 * The same; if partitions of one of the topics (List of TapTableName *) have no
 * leader, they are given a moment to get one.
 */
extern List *tap_kafka_settled_topics(TapSession *session, List *names);

/* A job that finds them, and what it has found when it has ended (or NIL). */
extern TapKafkaJob *tap_kafka_topics_job(void);
extern List *tap_kafka_topics_found(const TapKafkaJob *job);

/* One of the list, or NULL. */
extern const TapKafkaTopicFacts *tap_kafka_find_topic(List *topics, const char *name);

/*
 * Ask for offsets: each item's offset is RD_KAFKA_OFFSET_BEGINNING,
 * RD_KAFKA_OFFSET_END (as far as it may be read) or a time in milliseconds,
 * and becomes the answer; behind the last message's time: -1.  An item that
 * the brokers have no answer for has its error set; one that is
 * TAP_KAFKA_OFFSET_UNKNOWN is not asked for, and stays so.  Raises an error if
 * they do not answer at all, or a partition has no leader: those are not to be
 * asked for.  Uses the network.
 */
extern void tap_kafka_query_offsets(TapSession *session, TapKafkaOffset *items, int count);

/*
 * The same with partitions that have no answer being an error, which names
 * them.
 */
extern void tap_kafka_require_offsets(TapSession *session, TapKafkaOffset *items, int count);

/* Raise what librdkafka says of a topic (partition -1: all of it). */
extern void tap_kafka_report_topic(const char *topic, int32 partition,
								   const TapKafkaError *error) __attribute__((noreturn));

/* ---- kafka_source_sample.c ---- */

/*
 * Up to sample_messages of the messages that a stream of the topic would begin
 * with; of those that are there if it would begin at the end.  An array with
 * the bytes in the current context.  Uses the network.
 */
extern TapKafkaMessage *tap_kafka_sample(TapSession *session, const TapKafkaTopicFacts *topic,
										 int *count);

/* ---- kafka_source_topics.c ---- */

/* A topic of the stream; NULL: it is none. */
extern TapKafkaStreamTopic *tap_kafka_stream_topic(const TapKafkaSource *source, const char *name);

/* Begin with the topics that are followed. */
extern void tap_kafka_topics_start(TapSession *session, const TapStreamArgs *args);

/* Ask the core anew which topics are followed. */
extern void tap_kafka_topics_refollow(TapSession *session);

/* Make a topic ready for its messages; false: it is not followed. */
extern bool tap_kafka_topic_ready(TapSession *session, TapKafkaStreamTopic *topic);

/* Read on at another offset. */
extern void tap_kafka_topic_seek(TapSession *session, TapKafkaStreamTopic *topic,
								 int32 partition, int64 offset);

/*
 * Look for new topics and partitions when it is time to; does not wait but for
 * the beginning of new partitions.
 */
extern void tap_kafka_topics_refresh(TapSession *session);

/* Wait for the end of what was begun by it: the thread does one thing at a time. */
extern void tap_kafka_topics_settle(TapSession *session);

/* Begin to read a partition at its next offset. */
extern void tap_kafka_topic_start(TapSession *session, TapKafkaStreamTopic *topic,
								  int32 partition);

/*
 * Where so many partitions from the first one on begin by the options "start"
 * and "start_offsets"; unknown, if that has to be asked for and there is no
 * leader.
 */
extern void tap_kafka_start_items(TapSession *session, const TapKafkaTopicFacts *facts,
								  int32 first, int count, TapKafkaOffset *items);

/* ---- kafka_source_leader.c ---- */

/* Whether a partition of any topic waits for a leader. */
extern bool tap_kafka_leaders_missing(const TapKafkaSource *source);

/* How many of the topic's partitions, from the first on, have a leader. */
extern int	tap_kafka_leaders_count(const TapKafkaTopicFacts *facts, int from);

/*
 * Have partitions of a topic wait that have no leader, or had none since their
 * topic is followed: tap_kafka_leaders_begin() finds out where these begin.  The
 * others are begun by the caller.
 */
extern void tap_kafka_leaders_wait(TapKafkaStreamTopic *topic, const TapKafkaTopicFacts *facts);

/* Begin those that waited and have a leader now. */
extern void tap_kafka_leaders_begin(TapSession *session, TapKafkaStreamTopic *topic,
									const TapKafkaTopicFacts *facts);

/* ---- kafka_source_same.c ---- */

/*
 * Note messages of the transaction that ends, for the next start; those of the
 * batch that were handed out.
 */
extern void tap_kafka_note_read(TapSession *session);

/*
 * Read what is noted of the topics that go on from the stored position again,
 * before they are read.  Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if
 * one is another topic now, or has it begin as the option "on_gap" says.  What
 * is noted of partitions that wait is kept for tap_kafka_check_partition().
 */
extern void tap_kafka_check_same(TapSession *session);

/* The same for a partition that waited, before it is read. */
extern void tap_kafka_check_partition(TapSession *session, TapKafkaStreamTopic *topic,
									  int32 partition);

/* ---- kafka_source_stream.c ---- */

extern void tap_kafka_stream_start(TapSession *session, const TapStreamArgs *args);
extern void tap_kafka_stream_refollow(TapSession *session);
extern TapEventKind tap_kafka_stream_next(TapSession *session, TapEvent *event);
extern void tap_kafka_stream_wait(TapSession *session, TapWait *wait);
extern char *tap_kafka_stream_position(TapSession *session);
extern char *tap_kafka_describe_event(TapSession *session);

#endif							/* TAPDATA_KAFKA_SOURCE_H */
