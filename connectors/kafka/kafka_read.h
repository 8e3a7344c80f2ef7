/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read.h
 *	  Formats of messages that bring an envelope or a schema: debezium, avro
 *	  and json_schema.
 *
 * kafka_read.c				the three formats: messages to events
 * kafka_read_describe.c	keys and values as JSON; the table of a topic
 * kafka_read_columns.c		columns that agree with a schema
 * kafka_read_envelope.c	where the rows are in a message
 * kafka_read_types.c		types of Kafka Connect to columns
 * kafka_read_connect.c		schemas of Kafka Connect's JsonConverter
 * kafka_read_registry.c	schemas of the registry
 * kafka_json_schema.c		JSON schemas
 * kafka_avro_schema.c		Avro's schemas, compiled
 * kafka_avro_columns.c		and their columns
 * kafka_avro_read.c		Avro's binary encoding to JSON
 *
 * NOTES
 *	  A message becomes JSON text as Kafka Connect's JsonConverter writes it,
 *	  whatever it was before; rows are read from that by tap_record_read_json(),
 *	  whose columns know from the schema what a value's text is
 *	  (TapRecordForm).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_READ_H
#define TAPDATA_KAFKA_READ_H

#include "kafka_decode.h"

#include "json_scan.h"

/* ---- kafka_read_types.c ---- */

/* Types of Kafka Connect, and what others have in common with them. */
typedef enum TapKafkaWireKind
{
	TAP_KAFKA_WIRE_BOOLEAN,
	TAP_KAFKA_WIRE_INT16,
	TAP_KAFKA_WIRE_INT32,
	TAP_KAFKA_WIRE_INT64,
	TAP_KAFKA_WIRE_FLOAT,
	TAP_KAFKA_WIRE_DOUBLE,
	TAP_KAFKA_WIRE_NUMBER,		/* any number: JSON schemas have no better */
	TAP_KAFKA_WIRE_STRING,
	TAP_KAFKA_WIRE_BYTES,		/* a string in base64 */
	TAP_KAFKA_WIRE_ARRAY,
	TAP_KAFKA_WIRE_OBJECT		/* a struct, a map, or anything */
} TapKafkaWireKind;

typedef struct TapKafkaWire TapKafkaWire;
struct TapKafkaWire
{
	TapKafkaWireKind kind;
	char	   *name;			/* of the logical type, as Connect and
								 * Debezium call them; or NULL */
	int			scale;			/* of a decimal */
	int			precision;		/* 0: not known */
	int			length;			/* of bits; 0: not known */
	const TapKafkaWire *element;	/* of an array */
};

/* Set type, typmod, form and scale of a column. */
extern void tap_kafka_wire_column(const TapKafkaWire *wire, TapRecordColumn *column);

/*
 * A whole number among a schema's parameters, which are strings or numbers; 0:
 * it is not there.
 */
extern int	tap_kafka_schema_parameter(const TapJsonValue *parameters, const char *name);

/* ---- kafka_read_connect.c ---- */

/*
 * The columns of a schema in JSON: of its field of that name, a struct, or of
 * itself where it has none.  NULL if it is no schema of a struct.  In the
 * current context.
 */
extern TapRecordColumns *tap_kafka_connect_columns(const TapJsonValue *schema,
												   const char *field);

/* ---- kafka_json_schema.c ---- */

/* The same of a JSON schema. */
extern TapRecordColumns *tap_kafka_json_schema_columns(const TapJsonValue *schema,
													   const char *field);

/* ---- kafka_read_envelope.c ---- */

/* What a value or key is, without the schema around it. */
typedef struct TapKafkaEnvelope
{
	TapJsonValue schema;		/* kind NULL: there is none */
	TapJsonValue payload;
	char		op;				/* c, u, d, r, t, m; s: a change of schemas;
								 * '\0': no envelope, the payload is the row */
	TapJsonValue statement;		/* s: the source's DDL */
	TapJsonValue before;		/* kind NULL: not there */
	TapJsonValue after;
	bool		deleted;		/* a row that says of itself that it is gone */
} TapKafkaEnvelope;

/* Raises errors of class 22 for what is not JSON, or not an object. */
extern void tap_kafka_read_envelope(const char *text, Size length,
									TapKafkaEnvelope *envelope);

/* The key's object, or NULL kind: it is none.  Raises the same errors. */
extern void tap_kafka_read_key_payload(const char *text, Size length,
									   TapKafkaEnvelope *envelope);

/* ---- kafka_read_registry.c ---- */

struct TapAvroSchema;

/* A schema of the registry; lives as long as the session. */
typedef struct TapKafkaKnownSchema
{
	int32		id;
	char	   *type;			/* AVRO, JSON */
	char	   *text;
	struct TapAvroSchema *avro; /* NULL: it is not Avro's */
} TapKafkaKnownSchema;

/*
 * The schema of a message in Confluent's framing, whose bytes are advanced to
 * what is behind it.  Uses the network once for each id.  Raises an error of
 * class 22 for what is not so framed.
 */
extern TapKafkaKnownSchema *tap_kafka_framed_schema(TapSession *session,
													const char **bytes, Size *length);

/* ---- kafka_read_describe.c ---- */

/* A value or key as JSON. */
typedef struct TapKafkaReading
{
	const char *text;
	Size		length;
	const TapKafkaKnownSchema *known;	/* NULL: it was not framed */
	TapKafkaEnvelope envelope;
} TapKafkaReading;

extern void tap_kafka_read_value(TapSession *session, const TapKafkaMessage *message,
								 TapKafkaReading *reading);

/*
 * The message with what its key is without framing and schema, which is in
 * reading too.
 */
extern TapKafkaMessage tap_kafka_plain_key(TapSession *session,
										   const TapKafkaMessage *message,
										   TapKafkaReading *reading);

/* The columns that the schema of a value has for its row; NULL: it brought none. */
extern TapRecordColumns *tap_kafka_row_columns(const TapKafkaReading *reading);

/* TapKafkaDecoding.describe of these formats. */
extern TapSourceTable *tap_kafka_read_describe(TapSession *session,
											   const TapKafkaDecodeOptions *options,
											   const TapTableName *name,
											   const TapKafkaMessage *messages,
											   int nmessages);

/*
 * The key of a table that had no columns before this message: names of columns,
 * which are added to *columns if only the key has them.
 */
extern List *tap_kafka_first_key(TapSession *session, const TapKafkaDecodeOptions *options,
								 const TapKafkaMessage *message,
								 TapRecordColumns **columns);

/* ---- kafka_read_columns.c: all in the current context ---- */

/* With room for as many more. */
extern TapRecordColumns *tap_kafka_copy_columns(const TapRecordColumns *columns, int room);

/* NULL: no column is for the field; columns may be NULL. */
extern TapRecordColumn *tap_kafka_find_field(const TapRecordColumns *columns,
											 const char *field);

/*
 * Add to columns, which have room, what a schema has more, and widen types;
 * given (NULL: none) keep theirs.  Whether the table is another one by that.
 */
extern bool tap_kafka_agree(TapRecordColumns *columns, const TapRecordColumns *schema,
							const TapRecordColumns *given);

/* The columns that the option "columns" gives; NULL: none. */
extern TapRecordColumns *tap_kafka_given_columns(const TapKafkaDecodeOptions *options);

/*
 * Columns for the fields of an object that no column has too, as far as they
 * have a value that tells a type.
 */
extern TapRecordColumns *tap_kafka_infer_more(const TapRecordColumns *columns,
											  const TapJsonValue *object);

/* ---- kafka_avro_columns.c ---- */

/* The columns of a record: as tap_kafka_connect_columns(). */
extern TapRecordColumns *tap_kafka_avro_columns(const struct TapAvroSchema *schema,
												const char *field);

/* ---- the formats ---- */

extern const TapKafkaDecoding tap_kafka_decoding_debezium;
extern const TapKafkaDecoding tap_kafka_decoding_avro;
extern const TapKafkaDecoding tap_kafka_decoding_json_schema;

#endif							/* TAPDATA_KAFKA_READ_H */
