/*-------------------------------------------------------------------------
 *
 * connectors/common/csv.h
 *	  CSV and its relatives: from bytes to fields.
 *
 * RFC 4180 and what COPY ... (FORMAT csv) reads, with any single-byte
 * delimiter.  Lines end with \n, \r\n or \r.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_CSV_H
#define TAPDATA_CSV_H

#include "postgres.h"

/* A zero character means that there is none. */
typedef struct TapCsvDialect
{
	char		delimiter;
	char		quote;
	char		escape;			/* inside of quotes; usually the quote */
	const char *null_text;		/* an unquoted field of this text is NULL */
	bool		header;			/* the first record names the fields */
	int			skip_lines;		/* before the header or the first record */
} TapCsvDialect;

/* What of a dialect is given and not to be guessed; a bit mask. */
#define TAP_CSV_GIVEN_DELIMITER	0x01
#define TAP_CSV_GIVEN_QUOTE		0x02
#define TAP_CSV_GIVEN_ESCAPE	0x04
#define TAP_CSV_GIVEN_HEADER	0x08

typedef enum TapCsvResult
{
	TAP_CSV_RECORD,				/* fields are there, *taken bytes were used */
	TAP_CSV_EMPTY,				/* an empty line of *taken bytes */
	TAP_CSV_MORE,				/* the record is not there to its end */
	TAP_CSV_END					/* at_end, and no byte is left */
} TapCsvResult;

/* The state of splitting; the fields are those of the last record. */
typedef struct TapCsv
{
	TapCsvDialect dialect;
	int			nfields;
	const char **values;		/* NULL: the field is NULL; unquoted, into the
								 * data or into a buffer of its own; valid
								 * until the next call, not zero-terminated */
	int		   *lengths;		/* bytes */
	bool	   *quoted;			/* whether the field was quoted */
	int			allocated;		/* of the three arrays */
	char	   *buffer;			/* fields that had escapes in them */
	Size		buffer_bytes;
	MemoryContext context;		/* of all of it */
} TapCsv;

/*
 * Guess what is not given from the beginning of a file: the delimiter (comma,
 * semicolon, tab or bar) that divides all records into the same number of
 * fields, more than one if any does; the first record is a header if none of
 * its fields is a number or empty, no two are the same, and it looks unlike the
 * others or there are no others.
 */
extern void tap_csv_sniff(TapCsvDialect *dialect, int given,
						  const char *sample, Size bytes, bool at_end);

/* In the current context. */
extern TapCsv *tap_csv_make(const TapCsvDialect *dialect);

/*
 * The next record of data.  at_end: no byte follows these.  *taken is set
 * before an error too: the bytes to leave out to go on behind the record, 0
 * where its end is not known.  Raises ERRCODE_BAD_COPY_FILE_FORMAT for a quote
 * that is never closed and for text behind a closing quote, and
 * ERRCODE_PROGRAM_LIMIT_EXCEEDED for a record of more than max_bytes.
 */
extern TapCsvResult tap_csv_next(TapCsv *csv, const char *data, Size bytes,
								 bool at_end, Size max_bytes, Size *taken);

#endif							/* TAPDATA_CSV_H */
