/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_avro_read.h
 *	  Avro: schemas compiled, and values in its binary encoding to JSON.
 *
 * NOTES
 *	  Values are written as Kafka Connect's JsonConverter would write them:
 *	  bytes and fixed as strings in base64, logical types as the numbers they
 *	  are made of, branches of unions without their names.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_AVRO_READ_H
#define TAPDATA_KAFKA_AVRO_READ_H

#include "postgres.h"

typedef enum TapAvroKind
{
	TAP_AVRO_NULL,
	TAP_AVRO_BOOLEAN,
	TAP_AVRO_INT,
	TAP_AVRO_LONG,
	TAP_AVRO_FLOAT,
	TAP_AVRO_DOUBLE,
	TAP_AVRO_BYTES,
	TAP_AVRO_STRING,
	TAP_AVRO_RECORD,
	TAP_AVRO_ENUM,
	TAP_AVRO_ARRAY,
	TAP_AVRO_MAP,
	TAP_AVRO_UNION,
	TAP_AVRO_FIXED
} TapAvroKind;

/* A type; a record that has itself within is a circle. */
typedef struct TapAvroNode TapAvroNode;
struct TapAvroNode
{
	TapAvroKind kind;
	int			nparts;			/* fields, symbols, branches, or 1: items */
	TapAvroNode **parts;		/* not of enums */
	char	  **names;			/* of fields and symbols, else NULL */
	char	  **json_names;		/* the same as JSON: "name": or "symbol" */
	int64		size;			/* of fixed */
	char	   *logical;		/* logicalType, or NULL */
	char	   *connect_name;	/* or NULL */
	bool		is_int16;		/* Connect says so */
	int			scale;
	int			precision;
	int			length;			/* of Debezium's bits */
};

typedef struct TapAvroSchema
{
	TapAvroNode *root;
} TapAvroSchema;

/*
 * Compile a schema, in the current context.  Raises errors of class 22 for what
 * is none.
 */
extern TapAvroSchema *tap_avro_parse(const char *text, Size length);

/*
 * The JSON of a value, zero-terminated, in the current context; *length is the
 * number of bytes, and set to the text's length.  Raises errors of class 22 for
 * bytes that are not such a value, and for values that are nested more than 64
 * deep or become much longer than their bytes.
 */
extern const char *tap_avro_to_json(const TapAvroSchema *schema, const char *bytes,
									Size *length);

#endif							/* TAPDATA_KAFKA_AVRO_READ_H */
