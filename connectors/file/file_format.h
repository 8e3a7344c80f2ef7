/*-------------------------------------------------------------------------
 *
 * connectors/file/file_format.h
 *	  What a format of files is to the connector: bytes in, rows out.
 *
 * A format knows nothing of files, folders, tables of the hub or the network.
 * It is given bytes in pieces, from the beginning of a file or from behind a
 * record that was read before, and makes rows of them.  The same formats
 * serve what is downloaded.
 *
 * NOTES
 *	  One reader reads one file (or download).  The caller owns the buffer: it
 *	  hands the reader what it has and whether that is the end; the reader takes
 *	  one record at a time from its beginning and says how many bytes it was.
 *	  A record that is not there to its end yet is asked for again, with more
 *	  bytes.  So a reader keeps no bytes, and a position in a file is always one
 *	  between two records.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_FILE_FORMAT_H
#define TAPDATA_FILE_FORMAT_H

#include "postgres.h"

#include "connector.h"

/* What a format wants to know of options: text by name, or NULL. */
typedef const char *(*TapFormatOption) (void *arg, const char *name);

/* Compiled from options and a sample; lives in the context of its making. */
typedef struct TapFormatPlan TapFormatPlan;

/* Reads one file; lives in the context of its making. */
typedef struct TapFormatReader TapFormatReader;

typedef enum TapFormatResult
{
	TAP_FORMAT_ROW,				/* the slot is filled; *taken bytes were used */
	TAP_FORMAT_SKIP,			/* *taken bytes held no row (a header, an
								 * empty line, a record of another type) */
	TAP_FORMAT_MORE,			/* the record is not complete: more bytes,
								 * please */
	TAP_FORMAT_ALTERED,			/* the record needs columns that the plan does
								 * not have: altered() has them; ask again
								 * with a slot of that plan */
	TAP_FORMAT_END				/* at_end, and nothing is left */
} TapFormatResult;

typedef struct TapFormat
{
	const char *name;			/* value of the option "format" */
	bool		lines;			/* is text in lines: errors name them */

	/*
	 * Compile a plan.  sample: the beginning of a file, decompressed, in the
	 * file's own encoding; at_end: that is all of it.  definition: what
	 * define() returned for an earlier file of the table, or NULL: infer
	 * columns and types from options and sample.  With both, columns that
	 * only the sample has are added to those of the definition, at their end.
	 * sample is NULL: a plan of the definition alone, to describe the table.
	 * With neither, the options must say all (given columns), or an error is
	 * raised.  option() is valid only during the call.  Raises errors of
	 * class 22 or ERRCODE_INVALID_PARAMETER_VALUE with a hint.
	 */
	TapFormatPlan *(*plan) (TapFormatOption option, void *arg,
							const char *definition,
							const char *sample, Size bytes, bool at_end);

	/* The columns; name and key are left for the caller.  Current context. */
	TapSourceTable *(*describe) (const TapFormatPlan *plan);

	/* Text to make the plan of again without a sample.  Current context. */
	char	   *(*define) (const TapFormatPlan *plan);

	/*
	 * offset 0: from the beginning of the file; else from behind a record
	 * that state (what save() returned then, or NULL) belongs to.
	 */
	TapFormatReader *(*open) (const TapFormatPlan *plan, uint64 offset,
							  const char *state);

	/*
	 * The next record of data.  Values of the row are allocated in the
	 * current context.  An error of data (class 22) names field, and value;
	 * *taken is set before it is raised, so that the caller can go on behind
	 * the record (0: the rest of the file cannot be made sense of).  No
	 * record may be longer than max_bytes: then
	 * ERRCODE_PROGRAM_LIMIT_EXCEEDED is raised.
	 */
	TapFormatResult (*next) (TapFormatReader *reader, const char *data, Size bytes,
							 bool at_end, Size max_bytes,
							 TupleTableSlot *slot, Size *taken);

	/* The plan after TAP_FORMAT_ALTERED; lives as long as the reader. */
	const TapFormatPlan *(*altered) (const TapFormatReader *reader);

	/*
	 * Whether the file may end here, between two records; NULL: anywhere.
	 */
	bool		(*complete) (const TapFormatReader *reader);

	/* What open() needs to go on here beside the offset; NULL: nothing. */
	char	   *(*save) (const TapFormatReader *reader);

	/* JSON text of the record next() was at last, for a dead letter. */
	char	   *(*show) (const TapFormatReader *reader, const char *data, Size bytes);
} TapFormat;

/* The format of that name, NULL: there is none. */
extern const TapFormat *tap_format_find(const char *name);

/*
 * The format of a file by its name, less the suffix of its compression, or
 * else by its beginning.
 */
extern const TapFormat *tap_format_guess(const char *name, const char *sample,
										 Size bytes);

/* The names of all formats, for the option "format"; ends with NULL. */
extern const char *const tap_format_names[];

/* Each in a file of its own. */
extern const TapFormat tap_format_csv;
extern const TapFormat tap_format_jsonl;
extern const TapFormat tap_format_json;

#endif							/* TAPDATA_FILE_FORMAT_H */
