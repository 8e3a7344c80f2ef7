/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_types.h
 *	  Values of PostgreSQL by the types of Kafka Connect, as Debezium maps them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_TYPES_H
#define TAPDATA_KAFKA_TYPES_H

#include "kafka_connector.h"

#include "fmgr.h"

/* Types of Kafka Connect's schemas, and two of Debezium's structs. */
typedef enum TapKafkaKind
{
	TAP_KAFKA_BOOLEAN,
	TAP_KAFKA_INT16,
	TAP_KAFKA_INT32,
	TAP_KAFKA_INT64,
	TAP_KAFKA_FLOAT,
	TAP_KAFKA_DOUBLE,
	TAP_KAFKA_STRING,
	TAP_KAFKA_BYTES,
	TAP_KAFKA_ARRAY,
	TAP_KAFKA_POINT,			/* x, y, wkb, srid */
	TAP_KAFKA_DECIMAL			/* scale, value */
} TapKafkaKind;

/* A converted value; which members are set depends on the kind. */
typedef struct TapKafkaValue
{
	int64		integer;		/* BOOLEAN, INT*; the scale of DECIMAL */
	double		number;			/* FLOAT, DOUBLE; x of POINT */
	double		second_number;	/* y of POINT */
	const char *bytes;			/* STRING (UTF-8), BYTES, value of DECIMAL */
	Size		length;
} TapKafkaValue;

typedef struct TapKafkaType TapKafkaType;

/* Converts a value; what it allocates goes to the current context. */
typedef void (*TapKafkaConvert) (TapKafkaType *type, Datum datum, TapKafkaValue *value);

struct TapKafkaType
{
	TapKafkaKind kind;
	TapKafkaConvert convert;	/* not of arrays */
	const char *name;			/* of the logical type, or NULL */
	char	   *parameters;		/* JSON object, or NULL */
	int			scale;			/* of a decimal, */
	int			precision;		/* with digits in all; 0: any */
	int			fraction;		/* digits of seconds */
	Oid			oid;
	FmgrInfo	function;		/* output function, or one to json */
	TapKafkaType *element;
	int16		length;			/* of an element, as arrays store it */
	bool		by_value;
	char		alignment;
};

struct TapKafkaColumn
{
	const char *name;			/* UTF-8 */
	bool		dropped;
	bool		optional;
	TapKafkaType *type;
	char	   *prefix;			/* "name": with quotes and colon */
	int			prefix_length;
};

/* ---- kafka_types.c ---- */

/*
 * The columns of a table, in the current context, which must live as long.
 * Looks types up, in a transaction of its own when there is none.
 */
extern TapKafkaColumn *tap_kafka_columns(const TapSourceTable *table, TapKafkaDecimals decimals);

/* What stands for an unchanged value that the WAL does not hold. */
#define TAP_KAFKA_UNAVAILABLE	"__debezium_unavailable_value"

/* ---- kafka_convert.c ---- */

/*
 * One TapKafkaConvert for each kind of type.  bit is of bit(1), bits of
 * longer ones; output goes by the output function, by_function by one to json.
 */
extern void tap_kafka_convert_bool(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_int2(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_int4(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_int8(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_oid(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_float4(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_float8(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_text(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_output(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_by_function(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_bytea(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_numeric(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_numeric_double(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_money(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_money_text(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_money_double(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_date(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_time(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_timestamp(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_timestamptz(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_timetz(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_interval(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_bit(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_bits(TapKafkaType *type, Datum datum, TapKafkaValue *value);
extern void tap_kafka_convert_point(TapKafkaType *type, Datum datum, TapKafkaValue *value);

/* What stands for a required column of an old row that is not known. */
extern void tap_kafka_zero_value(const TapKafkaType *type, TapKafkaValue *value);

/*
 * What stands for an unchanged value, of a STRING, BYTES or an array of STRING
 * (its only element).  Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE for
 * others.
 */
extern void tap_kafka_unavailable_value(const TapKafkaTable *table, int column,
										TapKafkaValue *value);

/* The elements of an array of one dimension; raises an error of data for others. */
extern int	tap_kafka_array_elements(TapKafkaType *type, Datum datum, Datum **values,
									 bool **nulls);

/* ---- kafka_decimal.c ---- */

/*
 * The digits of a number without point as a two's complement of big endian
 * bytes, and their scale.  scale -1: as many digits behind the point as are
 * needed.  text is what numeric_out() makes of a finite number.
 */
extern void tap_kafka_decimal(const char *text, int scale, TapKafkaValue *value);

/* The same of an integer with a scale of its own. */
extern void tap_kafka_decimal_of_integer(int64 integer, TapKafkaValue *value);

/* ---- kafka_schema.c ---- */

/* Append a type as a schema of Kafka Connect's JsonConverter. */
extern void tap_kafka_append_schema(StringInfo out, const TapKafkaType *type, bool optional,
									const char *field);

/* Append the fields of a table's columns; keys only: those of the key. */
extern void tap_kafka_append_fields(StringInfo out, const TapKafkaTable *table, bool keys_only);

/* ---- kafka_debezium.c ---- */

extern void tap_kafka_debezium_prepare(TapSession *session, TapKafkaTable *table);
extern void tap_kafka_debezium_key(TapSession *session, TapKafkaTable *table,
								   const TapRowImage *image, StringInfo out);
extern void tap_kafka_debezium_value(TapSession *session, TapKafkaTable *table,
									 const TapOutChange *change, char op,
									 const TapRowImage *before, const TapRowImage *after,
									 StringInfo out);

/*
 * The key as JSON without schema, for headers: Kafka Connect's header
 * converter writes keys so.
 */
extern void tap_kafka_key_payload(const TapKafkaTable *table, const TapRowImage *image,
								  StringInfo out);

/* What both of Debezium's formats tell of a change. */
typedef struct TapKafkaSource
{
	int64		ts_us;			/* of the commit, or of the copy; Unix epoch */
	const char *snapshot;
	char		sequence[64];
	int64		txid;			/* -1: none */
	int64		lsn;
	const char *origin;			/* the replication origin's name, or NULL */
	int64		now_us;
} TapKafkaSource;

extern void tap_kafka_source_of(TapSession *session, const TapOutChange *change,
								TapKafkaSource *source);

/* ---- kafka_avro.c ---- */

extern void tap_kafka_avro_prepare(TapSession *session, TapKafkaTable *table);
extern void tap_kafka_avro_key(TapSession *session, TapKafkaTable *table,
							   const TapRowImage *image, StringInfo out);
extern void tap_kafka_avro_value(TapSession *session, TapKafkaTable *table,
								 const TapOutChange *change, char op,
								 const TapRowImage *before, const TapRowImage *after,
								 StringInfo out);

#endif							/* TAPDATA_KAFKA_TYPES_H */
