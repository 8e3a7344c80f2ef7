/*-------------------------------------------------------------------------
 *
 * connectors/common/record_private.h
 *	  What the parts of the reader of records share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_RECORD_PRIVATE_H
#define TAPDATA_RECORD_PRIVATE_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "pgtime.h"

#include "json_scan.h"
#include "record_columns.h"
#include "record_names.h"
#include "record_reader.h"

/* How a column's values are made. */
typedef enum TapRecordKind
{
	TAP_RECORD_KIND_INPUT,		/* by the input function */
	TAP_RECORD_KIND_INT2,
	TAP_RECORD_KIND_INT4,
	TAP_RECORD_KIND_INT8,
	TAP_RECORD_KIND_NUMERIC,
	TAP_RECORD_KIND_BOOL,
	TAP_RECORD_KIND_TEXT,
	TAP_RECORD_KIND_JSON,		/* by the input function, of the JSON text */
	TAP_RECORD_KIND_UUID,
	TAP_RECORD_KIND_DATE,
	TAP_RECORD_KIND_TIMESTAMP,
	TAP_RECORD_KIND_TIMESTAMPTZ,
	TAP_RECORD_KIND_ARRAY,		/* of JSON arrays; else by the input function */
	TAP_RECORD_KIND_FORM		/* TapRecordColumn.form is not plain */
} TapRecordKind;

typedef struct TapRecordField TapRecordField;

struct TapRecordField
{
	TapRecordKind kind;
	TapRecordKind plain_kind;	/* what kind would be if form were plain */
	Oid			type;
	int32		typmod;
	Oid			base_type;		/* of a domain: what it is made of */
	TapRecordForm form;
	int			scale;
	Oid			input_parameter;
	FmgrInfo	input;
	bool		guarded;		/* the input function follows settings */
	TapRecordField *element;	/* of an array */
	int16		element_bytes;
	bool		element_by_value;
	char		element_align;
};

/* Settings that input functions follow; see tap_record_call_input(). */
typedef struct TapRecordSettings
{
	bool		changed;
	int			date_order;
	int			interval_style;
	pg_tz	   *zone;
} TapRecordSettings;

struct TapRecordReader
{
	int			ncolumns;
	const TapRecordColumns *columns;
	TapRecordField *fields;		/* one a column */
	TapRecordNames *names;		/* of fields, in the order of columns */
	AttrNumber *numbers;		/* of names: the column */
	const char *current;		/* the field being read, for errors; or NULL */
	TapRecordSettings settings;
	StringInfoData scratch;		/* what an input function reads */
	MemoryContext context;
};

/* Begin a transaction if there is none, for lookups; whether it did. */
extern bool tap_record_begin_lookup(void);
extern void tap_record_end_lookup(bool begun);

/* Look up how values of the column are made; needs a transaction. */
extern void tap_record_field_init(TapRecordField *field,
								  const TapRecordColumn *column);

/* A value from text. */
extern Datum tap_record_from_text(TapRecordReader *reader, TapRecordField *field,
								  const char *text, Size length);

/* The same, whatever the form of the field. */
extern Datum tap_record_from_plain(TapRecordReader *reader, TapRecordField *field,
								   const char *text, Size length);

/* A value from one of JSON, which is not null. */
extern Datum tap_record_from_json(TapRecordReader *reader, TapRecordField *field,
								  const TapJsonValue *value);

/* The same of a field whose form is not plain. */
extern Datum tap_record_from_form(TapRecordReader *reader, TapRecordField *field,
								  const TapJsonValue *value);

/* An array from a JSON array; elements may be arrays themselves. */
extern Datum tap_record_array(TapRecordReader *reader, TapRecordField *field,
							  const TapJsonValue *value);

/* Call the type's input function, with settings that do not matter. */
extern Datum tap_record_call_input(TapRecordReader *reader, TapRecordField *field,
								   const char *text, Size length);

/* Set the settings back that tap_record_call_input() left after an error. */
extern void tap_record_settings_back(TapRecordReader *reader);

/*
 * A numeric from a whole number in two's complement, highest byte first,
 * divided by 10^scale.
 */
extern Datum tap_record_decimal(TapRecordReader *reader, TapRecordField *field,
								const unsigned char *bytes, int length, int scale);

/* A time, date or interval from a number in the form of the field. */
extern Datum tap_record_time_value(TapRecordField *field, int64 value);

/* A bit string from bytes, the lowest first. */
extern Datum tap_record_bits(TapRecordField *field, const unsigned char *bytes,
							 int length);

#endif							/* TAPDATA_RECORD_PRIVATE_H */
