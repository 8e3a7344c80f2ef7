/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_decode.h
 *	  From a message of Kafka to changes of a table: what a format has to do.
 *
 * kafka_decode.c			the formats by name, options, definitions of tables
 * kafka_decode_message.c	columns that come of a message's key, headers and so on
 * kafka_decode_describe.c	the columns of formats json, csv and raw
 * kafka_decode_record.c	their rows
 *
 * NOTES
 *	  The columns of a table are a TapRecordColumns, whatever the format, and
 *	  TapSourceTable.definition is made of them by tap_kafka_define().  Columns
 *	  whose field begins with TAP_KAFKA_METADATA_FIELD are those of the
 *	  message rather than of its value: tap_kafka_fill_metadata() fills them.
 *
 *	  Bytes of keys and values are valid until the next message is asked for, in
 *	  no particular encoding, and followed by a zero byte that is not counted.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_DECODE_H
#define TAPDATA_KAFKA_DECODE_H

#include "csv.h"
#include "kafka_connector.h"
#include "record_columns.h"
#include "record_reader.h"
#include "utils/jsonb.h"

/* The fields: topic, partition, offset, timestamp, key, value, headers. */
#define TAP_KAFKA_METADATA_FIELD	"@kafka."

typedef struct TapKafkaMessage
{
	const char *topic;
	int32		partition;
	int64		offset;
	int64		timestamp;		/* milliseconds since 1970; -1: none */
	const char *key;			/* NULL: none */
	Size		key_bytes;
	const char *value;			/* NULL: a tombstone */
	Size		value_bytes;
	const rd_kafka_message_t *raw;	/* for its headers; NULL: none */
} TapKafkaMessage;

/* What to do with fields that no column has. */
typedef enum TapKafkaUnknownField
{
	TAP_KAFKA_UNKNOWN_ADD,		/* a TAP_EVENT_SCHEMA adds columns */
	TAP_KAFKA_UNKNOWN_IGNORE,
	TAP_KAFKA_UNKNOWN_STOP
} TapKafkaUnknownField;

/* The options of a pipeline that formats look at. */
typedef struct TapKafkaDecodeOptions
{
	const struct TapKafkaDecoding *decoding;	/* option "format" */
	const char *columns;		/* JSON, or NULL: to be found out */
	const char *fields;			/* csv: JSON list of the fields' names, or
								 * NULL */
	TapCsvDialect dialect;		/* csv */
	const char *key;			/* JSON, or NULL: as the format knows it */
	bool		append;			/* option "mode": rows are only added, and the
								 * table has no key */
	bool		upsert;			/* it needs a key; neither: if there is one */
	const char *metadata;		/* list of metadata columns to add */
	TapKafkaUnknownField unknown;
} TapKafkaDecodeOptions;

/* What decodes the messages of one topic; a format adds its own at the end. */
typedef struct TapKafkaDecoder
{
	const struct TapKafkaDecoding *decoding;
	TapSession *session;
	const TapKafkaDecodeOptions *options;
	MemoryContext context;		/* its memory; current in make() */

	/*
	 * The format of rows.  A decoder that returns TAP_EVENT_SCHEMA has put
	 * the new one here; the old one must stay as it is until it is called
	 * again.
	 */
	TapSourceTable *table;
} TapKafkaDecoder;

typedef struct TapKafkaDecoding
{
	const char *name;			/* value of the option "format" */

	/*
	 * Find columns and key of a topic from options and a sample of its
	 * messages, which may be none; messages that cannot be read are passed
	 * over.  The result has its definition.  May use the network (registry).
	 * Raises an error with a hint when nothing can be found out.  In a
	 * transaction; result in the current context.
	 */
	TapSourceTable *(*describe) (TapSession *session, const TapKafkaDecodeOptions *options,
								 const TapTableName *name,
								 const TapKafkaMessage *messages, int nmessages);

	/*
	 * A decoder for rows of table (from tap_kafka_table()), in the current
	 * context, which is the decoder's own and in which table lives.  Fields
	 * of TapKafkaDecoder are set by the caller.
	 */
	TapKafkaDecoder *(*make) (TapSession *session, const TapKafkaDecodeOptions *options,
							  TapSourceTable *table);

	/*
	 * The next event of a message: TAP_EVENT_CHANGE, TAP_EVENT_SCHEMA, or
	 * TAP_EVENT_NONE if there is none (any more).  event is zeroed; kind,
	 * table_data, commit_time and bytes are set by the caller.  table must be
	 * set.  step counts the calls for this message from 0; *more, false at
	 * the call, is set to be called again for it.  Values go to the current
	 * context, slots are the decoder's.  An error of data (class 22) ends the
	 * message.
	 */
	TapEventKind (*decode) (TapKafkaDecoder *decoder, const TapKafkaMessage *message,
							int step, TapEvent *event, bool *more);
} TapKafkaDecoding;

/* ---- kafka_decode.c ---- */

/* Its names for TapOption.values; ends with NULL. */
extern const char *const tap_kafka_decoding_names[];

/*
 * Read the options of a pipeline (NULL: none, the defaults) in the current
 * context.
 */
extern TapKafkaDecodeOptions *tap_kafka_decode_options(const TapOptions *options);

/*
 * Check an option that is a list of columns, or an object of lists by name;
 * table is a name for the hint.
 */
extern void tap_kafka_check_lists(const char *option, const char *table, const char *value);

/* Checks for TapOption.check. */
extern void tap_kafka_check_metadata(const char *value);
extern void tap_kafka_check_fields(const char *value);
extern void tap_kafka_check_character(const char *value);

/* JSON text as jsonb, in the current context. */
extern Jsonb *tap_kafka_parse_json(const char *text);

/* A value of an object, or NULL. */
extern JsonbValue *tap_kafka_find_value(JsonbContainer *object, const char *name);

/* Whether a column is called so. */
extern bool tap_kafka_has_column(const TapRecordColumns *columns, const char *name);

/* The strings of a JSON list: List of char *, in the current context. */
extern List *tap_kafka_json_names(const char *json);

/*
 * The names that the option "key" has for a topic: List of char *; NIL: none.
 * In the current context.
 */
extern List *tap_kafka_key_names(const TapKafkaDecodeOptions *options, const char *topic);

/*
 * Add the columns that the option "metadata" asks for and those that are named
 * in key (List of char *), as far as they are not there; in the current
 * context.
 */
extern TapRecordColumns *tap_kafka_add_metadata(const TapKafkaDecodeOptions *options,
												const TapRecordColumns *columns, List *key);

/*
 * The table of columns and key names, complete with its definition.  state is
 * JSON text of the format's own that the definition carries, or NULL.  In
 * mode append the key is left out; in mode upsert it is an error to have none.
 * In the current context.
 */
extern TapSourceTable *tap_kafka_define(const TapKafkaDecodeOptions *options,
										const TapTableName *name,
										const TapRecordColumns *columns, List *key,
										const char *state);

/* Make a table of its definition again; in the current context. */
extern TapSourceTable *tap_kafka_table(const TapTableName *name, const char *definition);

/* The parts of a definition; each in the current context. */
extern TapRecordColumns *tap_kafka_definition_columns(const char *definition);
extern List *tap_kafka_definition_key(const char *definition);
extern char *tap_kafka_definition_state(const char *definition);	/* or NULL */

/* ---- kafka_decode_message.c ---- */

/* Whether a column's field is one of the message itself. */
extern bool tap_kafka_is_metadata(const char *field);

/* The places of metadata columns; compiled once for a table. */
typedef struct TapKafkaMetadata TapKafkaMetadata;

/* In the current context; columns and reader must live as long. */
extern TapKafkaMetadata *tap_kafka_metadata_make(const TapRecordColumns *columns,
												 TapRecordReader *reader);

/* Fill the metadata columns of a slot whose other columns are there. */
extern void tap_kafka_fill_metadata(TapKafkaMetadata *metadata,
									const TapKafkaMessage *message,
									TupleTableSlot *slot);

/*
 * Fill the columns of the table's key in slot from a message's key: fields of
 * a JSON object, or the whole key where there is one column.  Raises an error
 * of class 22 when that cannot be done.  present (natts entries) is set for
 * what was filled.
 */
typedef struct TapKafkaKeyReader TapKafkaKeyReader;

/* NULL if the table has no key.  In the current context. */
extern TapKafkaKeyReader *tap_kafka_key_reader_make(const TapSourceTable *table,
													const TapRecordColumns *columns);
extern void tap_kafka_read_key(TapKafkaKeyReader *reader, const TapKafkaMessage *message,
							   TupleTableSlot *slot, bool *present);

/* ---- kafka_decode_describe.c ---- */

/*
 * Calls act(arg) in a subtransaction.  Returns the error that it raised, in
 * the current context, or NULL.
 */
extern ErrorData *tap_kafka_try(void (*act) (void *arg), void *arg);

/* TapKafkaDecoding.describe of the formats. */
extern TapSourceTable *tap_kafka_describe_json(TapSession *session,
											   const TapKafkaDecodeOptions *options,
											   const TapTableName *name,
											   const TapKafkaMessage *messages, int count);
extern TapSourceTable *tap_kafka_describe_csv(TapSession *session,
											  const TapKafkaDecodeOptions *options,
											  const TapTableName *name,
											  const TapKafkaMessage *messages, int count);
extern TapSourceTable *tap_kafka_describe_raw(TapSession *session,
											  const TapKafkaDecodeOptions *options,
											  const TapTableName *name,
											  const TapKafkaMessage *messages, int count);

/* What the field of a line at a place (from 0) is called, unless it is given. */
extern char *tap_kafka_csv_name(int place);

/* ---- the formats ---- */

extern const TapKafkaDecoding tap_kafka_decoding_json;
extern const TapKafkaDecoding tap_kafka_decoding_csv;
extern const TapKafkaDecoding tap_kafka_decoding_raw;

#endif							/* TAPDATA_KAFKA_DECODE_H */
