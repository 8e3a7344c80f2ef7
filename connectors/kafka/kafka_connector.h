/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_connector.h
 *	  What the files of the Kafka connector share.
 *
 * kafka_connector.c	options, URIs, the connector's struct
 * kafka_config.c		settings of a session, properties of librdkafka
 * kafka_client.c		clients of librdkafka: make, serve, end
 * kafka_thread.c		the thread that makes blocking calls
 * kafka_error.c		what errors mean
 * kafka_topic.c		names of topics, their existence and creation
 * kafka_position.c		the position in its topic
 * kafka_txn.c			transactions of Kafka (exactly_once)
 * kafka_delivery.c		what was delivered (at_least_once), failed messages
 * kafka_sink.c			the callbacks of the sink
 * kafka_write.c		a change becomes messages
 * kafka_format.c		the formats of messages
 * kafka_extra.c		messages about transactions, heartbeats
 * kafka_types.c		the type mapping of Kafka Connect
 * kafka_convert.c		values by it
 * kafka_decimal.c		decimal numbers as Java has them
 * kafka_schema.c		schemas of Kafka Connect as JSON
 * kafka_debezium.c		Debezium's envelope
 * kafka_avro.c			Avro's schemas and binary encoding
 * kafka_registry.c		the schema registry
 * kafka_test.c			the checks of test_connection()
 * kafka_source*.c		the source: kafka_source.h
 * kafka_decode*.c		from messages to rows: kafka_decode.h
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_CONNECTOR_H
#define TAPDATA_KAFKA_CONNECTOR_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "portability/instr_time.h"

#include "connector.h"
#include "json_text.h"
#include "kafka_client.h"
#include "row_json.h"

#define TAP_KAFKA_VERSION		"0.1.0"

extern const TapCore *tap_kafka_core;

typedef enum TapKafkaFormat
{
	TAP_KAFKA_FORMAT_JSON,
	TAP_KAFKA_FORMAT_DEBEZIUM,
	TAP_KAFKA_FORMAT_AVRO,
	TAP_KAFKA_FORMAT_DEBEZIUM_AVRO
} TapKafkaFormat;

typedef enum TapKafkaDecimals
{
	TAP_KAFKA_DECIMALS_PRECISE,
	TAP_KAFKA_DECIMALS_STRING,
	TAP_KAFKA_DECIMALS_DOUBLE
} TapKafkaDecimals;

/* Headers; a bit mask. */
#define TAP_KAFKA_HEADER_OP				0x01
#define TAP_KAFKA_HEADER_TABLE			0x02
#define TAP_KAFKA_HEADER_LSN			0x04
#define TAP_KAFKA_HEADER_XID			0x08
#define TAP_KAFKA_HEADER_ORIGIN			0x10
#define TAP_KAFKA_HEADER_COMMIT_TIME	0x20
#define TAP_KAFKA_HEADER_ALL			0x3f

/* The options of a session, read once. */
typedef struct TapKafkaSettings
{
	bool		exactly_once;
	TapKafkaFormat format;
	const char *topic;			/* pattern */
	const char *prefix;			/* Debezium's topic.prefix */
	const char *pipeline;		/* its name, UTF-8 */
	const char *database;		/* this database's name, UTF-8 */
	bool		schemas;		/* Debezium's JSON with its schemas */
	TapKafkaDecimals decimals;
	bool		tombstones;
	int			headers;		/* TAP_KAFKA_HEADER_* */
	const char *key_columns;	/* JSON, or NULL */
	bool		create_topics;
	int			partitions;		/* -1: as the broker has it */
	int			replication;	/* -1: as the broker has it */
	const char *position_topic;
	int			transaction_ms;
	int			transaction_timeout;	/* in milliseconds */
	int64		transaction_bytes;
	const char *transaction_topic;	/* NULL: none */
	const char *heartbeat_topic;	/* NULL: none */
	int64		heartbeat_ms;
	int64		message_max_bytes;	/* librdkafka's */
} TapKafkaSettings;

/* A topic that messages are produced to; lives as long as the session. */
typedef struct TapKafkaTopic
{
	char	   *name;
	rd_kafka_topic_t *handle;
	const TapTableName *table;	/* one of those that it is for, or NULL */
} TapKafkaTopic;

typedef struct TapKafkaColumn TapKafkaColumn;	/* kafka_types.c */

/* What prepare_table() returns. */
typedef struct TapKafkaTable
{
	TapSourceTable source;		/* with the key that messages get */
	TapKafkaTopic *topic;
	char	   *full_name;		/* schema.table, for messages to users */
	char	   *schema_name;	/* these three in UTF-8 */
	char	   *table_name;
	char	   *collection;		/* schema.table */
	TapRowJson *json;			/* format json, and for dead letters */
	TapKafkaColumn *columns;	/* other formats: natts of the descriptor */

	/*
	 * debezium: what the texts begin with.  avro: magic byte and schema's id.
	 */
	StringInfoData key_head;
	StringInfoData value_head;
	StringInfoData source_head; /* the constant parts of "source" */
	StringInfoData source_names;
	StringInfoData source_tail;
	int64		order;			/* in its transaction, for metadata of it */
} TapKafkaTable;

/* A message that has not been taken by librdkafka yet. */
typedef struct TapKafkaPending
{
	TapKafkaTopic *topic;
	int32		partition;
	char	   *key;			/* NULL: none */
	Size		key_bytes;
	char	   *value;			/* NULL: a tombstone */
	Size		value_bytes;
	rd_kafka_headers_t *headers;	/* or NULL */
	void	   *opaque;
} TapKafkaPending;

/* What was written between two commits of the hub; at_least_once. */
typedef struct TapKafkaBatch
{
	uint64		lsn;			/* when it is delivered, all up to here is */
	int64		outstanding;	/* messages */
	bool		closed;
} TapKafkaBatch;

typedef enum TapKafkaTxnState
{
	TAP_KAFKA_TXN_NONE,
	TAP_KAFKA_TXN_OPEN,
	TAP_KAFKA_TXN_COMMITTING	/* the thread is at it */
} TapKafkaTxnState;

struct TapSession
{
	TapSessionArgs args;
	struct TapKafkaSource *source;	/* kafka_source.h; NULL: it does not read */
	TapKafkaSettings settings;
	TapKafkaClient *client;
	List	   *topics;			/* of TapKafkaTopic * */
	List	   *tables;			/* of TapKafkaTable *, for their names */
	List	   *schemas;		/* that were registered */
	List	   *known_schemas;	/* of TapKafkaKnownSchema *, that were read of */

	/* messages */
	StringInfoData key;			/* reused for each */
	StringInfoData value;
	StringInfoData scratch;
	MemoryContext row_context;	/* reset for each change */
	List	   *pending;		/* of TapKafkaPending *, in order */
	MemoryContext pending_context;
	bool		holding;		/* messages wait in held until all of their
								 * change are made */
	List	   *held;			/* of TapKafkaPending *, in row_context */
	int			unserved;		/* messages since events were taken */

	/* where the stream of hub transactions stands */
	bool		in_hub_txn;
	uint64		written_lsn;	/* behind the last commit() */
	uint64		durable_lsn;	/* in this session */
	uint64		previous_commit_lsn;	/* for Debezium's "sequence" */
	bool		down_reported;	/* an event says that no broker is there */
	const TapSourceTable *copying;	/* whose copy is under way, or NULL */
	int			left_before;	/* messages in the queue at the last look */
	TimestampTz moved_at;		/* when that was another number */
	bool		snapshot_begun; /* a row of a copy was written */
	bool		set_aside;		/* a dead letter is to be stored by the hub */

	/* exactly_once */
	TapKafkaTxnState txn_state;
	TapKafkaJob *commit_job;
	TapKafkaTopic *position_topic;
	instr_time	txn_begun;
	int64		txn_bytes;
	bool		txn_full;
	bool		txn_troubled;	/* brokers were away meanwhile */
	uint64		txn_lsn;		/* of the position that is being committed */

	/* at_least_once: a ring of batches */
	TapKafkaBatch *batches;
	int64		batch_capacity;
	int64		first_batch;	/* numbers, modulo capacity in the ring */
	int64		next_batch;		/* the one being written */

	/* transactions' metadata and heartbeats */
	TapKafkaTopic *transaction_topic;
	TapKafkaTopic *heartbeat_topic;
	StringInfoData txn_id;
	bool		txn_announced;	/* BEGIN was written */
	int64		txn_order;
	List	   *txn_tables;		/* of TapKafkaTable *, those of this one */
	TimestampTz next_heartbeat;
};

/* ---- kafka_config.c ---- */

/* Read the options, in the session's context. */
extern void tap_kafka_read_settings(TapSession *session);

/*
 * Properties for a client, a List of char * by turns of names and values.
 * Raises errors for secrets that cannot be read.
 */
extern List *tap_kafka_connection_properties(const TapSessionArgs *args);
extern List *tap_kafka_producer_properties(TapSession *session);

/*
 * A name in UTF-8, in the current context; in a transaction of its own when
 * there is none and one is needed.
 */
extern char *tap_kafka_utf8(const char *name);

/* The other way round, for what is kept in the hub; text itself if it can be. */
extern char *tap_kafka_from_utf8(const char *text);

/* Whether the value of a property of librdkafka must not be shown. */
extern bool tap_kafka_property_is_secret(const char *name);

/*
 * Raise an error for options "kafka.*" that may not be given: those that run
 * programs or load libraries, that name files unless the role may read the
 * server's, and those that promises rest on.
 */
extern void tap_kafka_check_properties(const TapOptions *options);

/* Check the option "headers" when it is given. */
extern void tap_kafka_check_headers(const char *value);

/* ---- kafka_topic.c ---- */

/*
 * The name of a table's topic by a pattern; characters that are not legal
 * become "_".  Raises ERRCODE_INVALID_NAME when it is too long.
 */
extern char *tap_kafka_topic_name(const char *pattern, const char *database,
								  const TapTableName *table);

/* Check a pattern or a name of a topic when the option is given. */
extern void tap_kafka_check_topic_pattern(const char *value);
extern void tap_kafka_check_topic_name(const char *value);

/*
 * The topic's handle; makes sure once that the topic is there, creating it
 * where the options say so, unless it is known to have been there: then it is
 * an error that it is gone.  Uses the network.
 */
extern TapKafkaTopic *tap_kafka_topic(TapSession *session, const char *name, bool compact,
									  bool known);

/* A job that finds, or with create makes, a topic: see TapKafkaJob. */
extern void tap_kafka_run_topic_job(TapKafkaJob *job, rd_kafka_t *rk);

/* ---- kafka_position.c ---- */

/*
 * The position that the position topic holds for the pipeline, 0: none.
 * Uses the network.
 */
extern uint64 tap_kafka_read_position(TapSession *session);

/* Append the position's message to the open transaction. */
extern void tap_kafka_write_position(TapSession *session, uint64 position);

/* ---- kafka_txn.c ---- */

/* Fence earlier producers of the pipeline; waits. */
extern void tap_kafka_txn_init(TapSession *session);

/* Make sure that a transaction is open; local. */
extern void tap_kafka_txn_begin(TapSession *session);

/* Whether the open transaction has had its time or bytes. */
extern bool tap_kafka_txn_is_full(TapSession *session);

/*
 * Called when something failed: an error that says so, unless the transaction
 * is younger than the brokers allow, or it is they who were away.
 */
extern void tap_kafka_txn_check_age(TapSession *session);

/*
 * Have the thread commit the open transaction, with written_lsn as position
 * unless it is 0.
 */
extern void tap_kafka_txn_commit(TapSession *session);

/*
 * Look whether a commit has ended; returns false while it has not.  Raises an
 * error when it failed.
 */
extern bool tap_kafka_txn_finish(TapSession *session);

/* ---- kafka_delivery.c ---- */

extern void tap_kafka_delivery_init(TapSession *session);

/* What a message of the current batch carries as its opaque. */
extern void *tap_kafka_batch_opaque(TapSession *session);

/* The message that was counted last will not be sent. */
extern void tap_kafka_batch_forget(TapSession *session);

/* The batch of the hub transaction that ends at lsn begins. */
extern void tap_kafka_batch_begin(TapSession *session, uint64 lsn);

/* The current batch ends: when all up to it is delivered, lsn is durable. */
extern void tap_kafka_batch_close(TapSession *session, uint64 lsn);

/*
 * Raise the error of, or make dead letters of, messages that failed, and
 * raise what makes the client useless.
 */
extern void tap_kafka_check_failures(TapSession *session);

/* ---- kafka_write.c ---- */

extern bool tap_kafka_write_change(TapSession *session, const TapOutChange *change);

/*
 * Produce a message, or keep a copy when that cannot be done now.  key and
 * value may be NULL; headers are taken over.  change is the one that it comes
 * from, for errors; NULL: none.  Raises, or makes a dead letter of, a message
 * that is too large.
 */
extern void tap_kafka_emit(TapSession *session, TapKafkaTopic *topic, int32 partition,
						   StringInfo key, StringInfo value, rd_kafka_headers_t *headers,
						   const TapOutChange *change);

/* Produce what was kept; returns whether all of it was taken. */
extern bool tap_kafka_send_pending(TapSession *session);

/* ---- kafka_extra.c ---- */

/* Find the topics of transactions and heartbeats; uses the network. */
extern void tap_kafka_extra_prepare(TapSession *session);

/* A change is about to be written: count it, and announce its transaction. */
extern void tap_kafka_extra_change(TapSession *session, const TapOutChange *change);

/* The hub transaction has been written. */
extern void tap_kafka_extra_commit(TapSession *session, const TapOutTxn *txn);

/* Send a heartbeat if it is time for one. */
extern void tap_kafka_extra_heartbeat(TapSession *session, uint64 position);

/* ---- kafka_sink.c ---- */

extern const TapSinkCallbacks tap_kafka_sink;
extern TapSession *tap_kafka_open(const TapSessionArgs *args);
extern void tap_kafka_close(TapSession *session);

/* ---- kafka_test.c ---- */

extern List *tap_kafka_test(const TapSessionArgs *args, List *tables);

#endif							/* TAPDATA_KAFKA_CONNECTOR_H */
