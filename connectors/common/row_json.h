/*-------------------------------------------------------------------------
 *
 * connectors/common/row_json.h
 *	  Rows of hub tables as JSON, for the sinks that send JSON.
 *
 * NOTES
 *	  A connector compiles these files into its own library: its Makefile
 *	  adds row_json.o and json_text.o of this folder to OBJS.
 *
 *	  The text is UTF-8 whatever the encoding of the database is.  It never
 *	  holds a line break, so that it can be a line of NDJSON.
 *
 *	  How types are written: bool as true and false; smallint, integer, bigint
 *	  and numeric as numbers; real and double precision as the shortest number
 *	  that reads back the same; NaN and the infinities, of dates too, as
 *	  strings; date, timestamp and time in ISO 8601; timestamptz so too, always
 *	  in UTC ("+00:00"); json and jsonb as they are; bytea as a string in
 *	  base64; arrays as arrays, those of several dimensions nested; composites
 *	  as objects; domains as what they are made of; all others as strings of
 *	  their output function.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_ROW_JSON_H
#define TAPDATA_ROW_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "connector.h"

/* A table made ready: what each column needs to be written; opaque. */
typedef struct TapRowJson TapRowJson;

/* Which columns of a row are written. */
typedef enum TapRowJsonColumns
{
	TAP_ROW_JSON_ALL,			/* all that are known (TapRowImage.present) */
	TAP_ROW_JSON_KEY			/* those of TapSourceTable.keys, in key order */
} TapRowJsonColumns;

/*
 * Settings that output functions follow (DateStyle, IntervalStyle, TimeZone,
 * bytea_output, extra_float_digits) are set for the rest of this process, so
 * that the same value is always the same text.  For sessions of
 * TAP_PURPOSE_SINK, whose process belongs to one pipeline.
 */
extern void tap_row_json_settle(void);

/*
 * Make a table ready, in the current context, which must live as long as the
 * result.  Looks types up: begins and commits a transaction of its own when
 * there is none.
 */
extern TapRowJson *tap_row_json_prepare(const TapSourceTable *table);

/*
 * Append one row as an object, {"column":value,...}.  Needs a transaction.
 * Memory that values need on the way is freed before the return.  Raises an
 * error of class 22 for text that is not valid in the database's encoding.
 * An image without a slot is written as null.
 */
extern void tap_row_json_append(TapRowJson *json, StringInfo out,
								const TapRowImage *image,
								TapRowJsonColumns columns);

/*
 * Append the columns alone, "column":value,..., without the braces, for a row
 * within a larger object.  Returns how many were written.
 */
extern int	tap_row_json_append_columns(TapRowJson *json, StringInfo out,
										const TapRowImage *image,
										TapRowJsonColumns columns);

/* Append one column's value (column from 1); never called for NULLs. */
extern void tap_row_json_append_value(TapRowJson *json, StringInfo out,
									  AttrNumber column, Datum value);

/*
 * Append a column's value as plain text without quotes, for a document's id
 * or a part of a name: the same text as in JSON, of strings the contents, not
 * escaped, in UTF-8.
 */
extern void tap_row_json_append_plain(TapRowJson *json, StringInfo out,
									  AttrNumber column, Datum value);

#endif							/* TAPDATA_ROW_JSON_H */
