/*-------------------------------------------------------------------------
 *
 * connectors/common/json_split.h
 *	  Many JSON values in one text, taken apart one at a time.
 *
 * NOTES
 *	  The caller holds a window of the text that begins behind the last
 *	  *taken; the splitter keeps no bytes, so that memory is bounded by the
 *	  largest value.  A value's end is found by counting brackets outside of
 *	  strings; whether it is valid JSON is left to its reader
 *	  (tap_record_read_json()).
 *
 *	  A split can be gone on with later behind a value: TapJsonSplit.place is
 *	  all there is to keep, beside the offset.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_JSON_SPLIT_H
#define TAPDATA_JSON_SPLIT_H

#include "postgres.h"

/* How the values stand in the text. */
typedef enum TapJsonLayout
{
	TAP_JSON_LINES,				/* one a line; an error costs its line only */
	TAP_JSON_VALUES,			/* one after the other, over lines as they
								 * like */
	TAP_JSON_ARRAY				/* elements of one array */
} TapJsonLayout;

/* Between which tokens the text is; an int so that it can be kept. */
#define TAP_JSON_PLACE_BEGIN	0	/* before everything */
#define TAP_JSON_PLACE_ELEMENT	1	/* behind [, or behind a comma */
#define TAP_JSON_PLACE_COMMA	2	/* behind an element */
#define TAP_JSON_PLACE_END		3	/* behind ] */

typedef struct TapJsonSplit
{
	TapJsonLayout layout;
	int			place;			/* TAP_JSON_PLACE_* */

	/* The splitter's own: how far a value that is not complete was read. */
	Size		scanned;
	int			depth;
	bool		in_string;
} TapJsonSplit;

typedef enum TapJsonSplitResult
{
	TAP_JSON_SPLIT_VALUE,		/* *value is there; *taken bytes were used */
	TAP_JSON_SPLIT_SKIP,		/* *taken bytes held no value: blanks, commas */
	TAP_JSON_SPLIT_MORE,		/* more bytes, please */
	TAP_JSON_SPLIT_END			/* at_end, and nothing is left */
} TapJsonSplitResult;

/*
 * The layout of a text that begins with sample: an array if it begins with [,
 * lines if its first line is a value by itself, else values.
 */
extern TapJsonLayout tap_json_split_sniff(const char *sample, Size bytes,
										  bool at_end);

extern void tap_json_split_begin(TapJsonSplit *split, TapJsonLayout layout);

/*
 * The next value of data.  After MORE it is called with the same bytes and
 * more behind them.  at_end: no byte follows these.  *value points into data
 * and is followed by a byte that can be read if data is.  *taken is set before
 * an error too: the bytes to leave out to go on behind it, 0 if that cannot
 * be.  Raises ERRCODE_INVALID_TEXT_REPRESENTATION for what is not such a text,
 * and ERRCODE_PROGRAM_LIMIT_EXCEEDED for a value of more than max_bytes.
 */
extern TapJsonSplitResult tap_json_split_next(TapJsonSplit *split,
											  const char *data, Size bytes,
											  bool at_end, Size max_bytes,
											  const char **value, Size *length,
											  Size *taken);

#endif							/* TAPDATA_JSON_SPLIT_H */
