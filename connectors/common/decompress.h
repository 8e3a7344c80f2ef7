/*-------------------------------------------------------------------------
 *
 * connectors/common/decompress.h
 *	  gzip and zstd, from bytes to bytes, with bounded memory.
 *
 * NOTES
 *	  What several members or frames one behind the other hold is one text, as
 *	  for zcat and zstdcat.  An error of the library's allocator leaves nothing
 *	  behind: its state goes with the context.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_DECOMPRESS_H
#define TAPDATA_DECOMPRESS_H

#include "postgres.h"

typedef enum TapCompression
{
	TAP_COMPRESSION_NONE,
	TAP_COMPRESSION_GZIP,
	TAP_COMPRESSION_ZSTD
} TapCompression;

/* Opaque; lives in the context of its making. */
typedef struct TapDecompress TapDecompress;

/* What the first bytes of a file say, whatever its name is. */
extern TapCompression tap_compression_of(const char *data, Size bytes);

/*
 * max_ratio: how many bytes one compressed byte may become, on the average of
 * all that were read, once there are more than 64 MB of them; 0: any number.
 * Raises ERRCODE_OUT_OF_MEMORY.
 */
extern TapDecompress *tap_decompress_make(TapCompression compression, int64 max_ratio);

/*
 * Decompress from in to out as far as either lasts.  *in_used and *out_used
 * are how many bytes of them were; neither is moved only when the other is
 * empty or full.  Raises ERRCODE_INVALID_BINARY_REPRESENTATION for what is not
 * such data, and ERRCODE_PROGRAM_LIMIT_EXCEEDED.
 */
extern void tap_decompress_run(TapDecompress *state,
							   const char *in, Size in_bytes, Size *in_used,
							   char *out, Size out_bytes, Size *out_used);

/* Whether the data may end here: behind a whole member or frame. */
extern bool tap_decompress_complete(const TapDecompress *state);

#endif							/* TAPDATA_DECOMPRESS_H */
