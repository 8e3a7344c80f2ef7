/*-------------------------------------------------------------------------
 *
 * connectors/common/record_reader.h
 *	  From a record's text to a row.
 *
 * NOTES
 *	  Texts are in the database's encoding; tap_record_to_server() makes them
 *	  so and checks them.  Values of by-reference types are allocated in the
 *	  current context.  The common types are converted here, without their
 *	  input functions, to exactly what those return; all others by them, for
 *	  which a transaction is needed.  A text is read by the rules of ISO
 *	  8601 whatever DateStyle says; a time stamp without a zone is UTC.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_RECORD_READER_H
#define TAPDATA_RECORD_READER_H

#include "postgres.h"

#include "connector.h"
#include "record_columns.h"

/* Lives in the context of its making. */
typedef struct TapRecordReader TapRecordReader;

/*
 * For rows of descriptor, whose columns are those of columns, in order; both
 * must live as long as the reader.  Looks types up: begins and commits a
 * transaction of its own when there is none.
 */
extern TapRecordReader *tap_record_reader_make(const TapRecordColumns *columns,
											   TupleDesc descriptor);

/*
 * Fill slot, which is empty, from a JSON object, and store it.  A field that is
 * missing is NULL, and if present is given (natts entries) not present.
 * *unknown, unless NULL, is set to the fields that no column has (List of
 * char *, no name twice, in the current context).  The text need not end with
 * a zero, but must be followed by a byte that can be read.
 *
 * Raises errors of class 22 that name the field: what is not JSON, not an
 * object, nested deeper than max_depth of the reader (128), or a value that
 * does not fit its column.
 */
extern void tap_record_read_json(TapRecordReader *reader, const char *object,
								 Size length, TupleTableSlot *slot,
								 bool *present, List **unknown);

/*
 * Fill slot from fields by their places: columns[i] (from 1; 0: left out) is
 * the column of field i.  Columns of no field are NULL.  Errors as above.
 */
extern void tap_record_read_fields(TapRecordReader *reader, int nfields,
								   const char *const *values,
								   const int *lengths,
								   const AttrNumber *columns,
								   TupleTableSlot *slot);

/* One value of a column (from 1), which is not NULL.  Errors as above. */
extern Datum tap_record_read_value(TapRecordReader *reader, AttrNumber column,
								   const char *value, Size length);

/*
 * Text in encoding (pg_enc) in the database's: text itself where nothing is to
 * be done, else palloc'd, with *length set anew.  Raises
 * ERRCODE_CHARACTER_NOT_IN_REPERTOIRE for what is not valid, a zero byte
 * too.  Needs a transaction if the encodings differ.
 */
extern const char *tap_record_to_server(const char *text, Size *length,
										int encoding);

#endif							/* TAPDATA_RECORD_READER_H */
