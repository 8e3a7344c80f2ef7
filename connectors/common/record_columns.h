/*-------------------------------------------------------------------------
 *
 * connectors/common/record_columns.h
 *	  Columns of records that bring no types: given, or found in a sample.
 *
 * JSON objects and lines of CSV, whether of a file, a Kafka topic or an HTTP
 * API, become rows by the same rules.
 *
 * NOTES
 *	  A connector compiles these files into its own library: all of this
 *	  folder's, or for records csv*, json_scan, json_split, json_string,
 *	  json_text and record_*.
 *
 *	  A type is inferred only where no value loses anything by it: a number
 *	  with a leading zero or a plus sign stays text, so does a date that is not
 *	  ISO 8601; whole numbers that may outgrow bigint are numeric; JSON numbers
 *	  with a fraction or exponent are numeric, never double precision; what is
 *	  sometimes a number and sometimes a string is text; JSON arrays and
 *	  objects are jsonb; a column that is empty throughout the sample is text.
 *
 *	  Texts become dates and time stamps (with a zone: timestamptz) if all are
 *	  of ISO 8601, uuid if all are in its canonical form.
 *
 *	  Functions that look types up begin and commit a transaction of their own
 *	  when there is none.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_RECORD_COLUMNS_H
#define TAPDATA_RECORD_COLUMNS_H

#include "postgres.h"

#include "connector.h"

/*
 * What a record's text is of a value; "form" in the option "columns".  Other
 * than plain only where a schema that comes with the records says so.
 */
typedef enum TapRecordForm
{
	TAP_RECORD_PLAIN,			/* text of the type, or a value of JSON */
	TAP_RECORD_DAYS,			/* date: days since 1970 */
	TAP_RECORD_SECONDS,			/* timestamp, timestamptz: since 1970; time:
								 * since midnight */
	TAP_RECORD_MILLIS,
	TAP_RECORD_MICROS,
	TAP_RECORD_NANOS,
	TAP_RECORD_INTERVAL_MICROS, /* interval: microseconds */
	TAP_RECORD_BASE64,			/* bytea */
	TAP_RECORD_DECIMAL,			/* numeric: base64 of a whole number in two's
								 * complement, to be divided by 10^scale */
	TAP_RECORD_SCALED_DECIMAL,	/* the same, {"scale":..., "value":...} */
	TAP_RECORD_BITS,			/* bit, varbit: base64, lowest byte first */
	TAP_RECORD_TEXT,			/* json, jsonb: a string with JSON text in it */
	TAP_RECORD_POINT			/* point: an object with x and y */
} TapRecordForm;

typedef struct TapRecordColumn
{
	char	   *name;			/* of the hub table's column */
	char	   *field;			/* what the record calls it */
	Oid			type;
	int32		typmod;
	TapRecordForm form;			/* of arrays: of their elements */
	int			scale;			/* TAP_RECORD_DECIMAL only */
} TapRecordColumn;

typedef struct TapRecordColumns
{
	int			ncolumns;
	TapRecordColumn *columns;
} TapRecordColumns;

/* Finds types in a sample; lives in the context of its making. */
typedef struct TapRecordSample TapRecordSample;

/*
 * Check the value of an option "columns", for TapOption.check; reads no
 * catalog.  Raises ERRCODE_INVALID_PARAMETER_VALUE.
 */
extern void tap_record_columns_check(const char *json);

/*
 * The columns of such an option: {"column": "type", ...}, or, where the record
 * has another name for it, {"column": {"type": "type", "field": "name"}, ...}.
 * In the current context.  Raises ERRCODE_INVALID_PARAMETER_VALUE or what the
 * lookup of a type raises.
 */
extern TapRecordColumns *tap_record_columns_given(const char *json);

/* As text that tap_record_columns_given() makes the same columns of. */
extern char *tap_record_columns_print(const TapRecordColumns *columns);

/*
 * The table that has these columns.  key: List of char *, the names of its
 * columns, or NIL; a name that is no column raises
 * ERRCODE_UNDEFINED_COLUMN.  definition is left to the caller.  In the current
 * context.
 */
extern TapSourceTable *tap_record_table(const TapRecordColumns *columns,
										const TapTableName *name, List *key);

/*
 * A name for the column of a field that none of columns has: the field's own,
 * cut to what PostgreSQL allows, with a number behind it if it is used.  In
 * the current context.
 */
extern char *tap_record_column_name(const TapRecordColumns *columns,
									const char *field);

extern TapRecordSample *tap_record_sample_begin(void);

/*
 * Add a record: a JSON object in the database's encoding.  Raises an error of
 * class 22 if it is not one.
 */
extern void tap_record_sample_json(TapRecordSample *sample,
								   const char *object, Size length);

/*
 * Add a record of fields; a NULL value is NULL.  Values need no zero at their
 * ends.
 */
extern void tap_record_sample_fields(TapRecordSample *sample, int nfields,
									 const char *const *names,
									 const char *const *values,
									 const int *lengths);

/*
 * The columns, in the order in which fields were met.  given (NULL: none) come
 * first and keep their types.  Names that would be the same when truncated to
 * what PostgreSQL allows are made different by a number.  In the current
 * context.
 */
extern TapRecordColumns *tap_record_sample_end(TapRecordSample *sample,
											   const TapRecordColumns *given);

#endif							/* TAPDATA_RECORD_COLUMNS_H */
