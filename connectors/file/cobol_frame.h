/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_frame.h
 *	  Where records of mainframe files begin and end.
 *
 * NOTES
 *	  Plain C with libc only.  A record descriptor word (RDW) is two bytes of
 *	  length, most significant first, and two that are zero, or say which
 *	  segment of a spanned record follows.  A block descriptor word (BDW) stands
 *	  before the records of a block and is as long as they are and itself; with
 *	  its first bit set its length has 31 bits.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COBOL_FRAME_H
#define TAPDATA_COBOL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum TapFrameKind
{
	TAP_FRAME_FIXED,
	TAP_FRAME_RDW,
	TAP_FRAME_BDW,
	TAP_FRAME_LINES
} TapFrameKind;

typedef enum TapFrameResult
{
	TAP_FRAME_RECORD,
	TAP_FRAME_EMPTY,			/* an empty line */
	TAP_FRAME_MORE,				/* it is not there to its end */
	TAP_FRAME_END,
	TAP_FRAME_CUT,				/* the file ends within it */
	TAP_FRAME_BAD,				/* no descriptor word; the rest makes no sense */
	TAP_FRAME_LIMIT,			/* longer than it may be */
	TAP_FRAME_NO_MEMORY
} TapFrameResult;

typedef struct TapFrame
{
	TapFrameKind kind;
	uint32_t	record_length;	/* TAP_FRAME_FIXED */
	bool		counts_itself;	/* the length of an RDW has its 4 bytes in it */
	bool		ebcdic;			/* lines end with X'15' or X'25' */

	/*
	 * Between two records: bytes left of the block; to be kept with the
	 * offset.
	 */
	uint64_t	block_left;

	uint8_t    *joined;			/* segments of a spanned record */
	size_t		joined_size;

	/* Of the last record; data as long as the input or the next call. */
	const uint8_t *data;
	size_t		length;
	size_t		taken;			/* bytes of the input */
	uint32_t	word;			/* TAP_FRAME_BAD: the descriptor */
} TapFrame;

/*
 * The next record from the beginning of data.  taken is 0 for TAP_FRAME_BAD, and
 * for TAP_FRAME_CUT: should the file grow, the record begins where it did.
 */
extern TapFrameResult tap_frame_next(TapFrame *frame, const uint8_t *data,
									 size_t bytes, bool at_end, size_t most);

/* Free what the frame holds itself. */
extern void tap_frame_release(TapFrame *frame);

#endif							/* TAPDATA_COBOL_FRAME_H */
