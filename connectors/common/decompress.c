/*-------------------------------------------------------------------------
 *
 * connectors/common/decompress.c
 *	  gzip and zstd, from bytes to bytes, with bounded memory.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <zlib.h>
#include <zstd.h>

#include "utils/memutils.h"

#include "decompress.h"

/* A window of 2^27 bytes is what the command line tools read by default. */
#define ZSTD_WINDOW_LOG		27

/* Small files may be as dense as they like. */
#define RATIO_FROM_BYTES	(64 * 1024 * 1024)

struct TapDecompress
{
	TapCompression compression;
	z_stream	gzip;
	bool		gzip_open;
	ZSTD_DStream *zstd;
	bool		complete;		/* behind a whole member or frame */
	int64		max_ratio;
	uint64		in_total;
	uint64		out_total;
	MemoryContextCallback callback;
};

TapCompression
tap_compression_of(const char *data, Size bytes)
{
	if (bytes >= 2 && memcmp(data, "\x1f\x8b", 2) == 0)
		return TAP_COMPRESSION_GZIP;
	if (bytes >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0)
		return TAP_COMPRESSION_ZSTD;
	return TAP_COMPRESSION_NONE;
}

static void
free_libraries(void *arg)
{
	TapDecompress *state = arg;

	if (state->gzip_open)
		inflateEnd(&state->gzip);
	if (state->zstd != NULL)
		ZSTD_freeDStream(state->zstd);
}

TapDecompress *
tap_decompress_make(TapCompression compression, int64 max_ratio)
{
	TapDecompress *state = palloc0(sizeof(TapDecompress));
	bool		made = true;

	state->compression = compression;
	state->max_ratio = max_ratio;
	state->callback.func = free_libraries;
	state->callback.arg = state;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &state->callback);

	/* 16: with gzip's header, and no other */
	if (compression == TAP_COMPRESSION_GZIP)
		made = state->gzip_open = inflateInit2(&state->gzip, 16 + MAX_WBITS) == Z_OK;
	else if (compression == TAP_COMPRESSION_ZSTD)
	{
		state->zstd = ZSTD_createDStream();
		made = state->zstd != NULL;
		if (made)
			ZSTD_DCtx_setParameter(state->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	}
	if (!made)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return state;
}

static void
report_corrupt(const char *format, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid %s data", format),
			 reason ? errdetail("The library says: %s.", reason) : 0));
}

static void
run_gzip(TapDecompress *state, const char *in, Size in_bytes, Size *in_used,
		 char *out, Size out_bytes, Size *out_used)
{
	z_stream   *gzip = &state->gzip;
	int			result;

	/* another member begins */
	if (state->complete && in_bytes > 0)
	{
		inflateReset(gzip);
		state->complete = false;
	}
	gzip->next_in = (Bytef *) in;
	gzip->avail_in = Min(in_bytes, PG_INT32_MAX);
	gzip->next_out = (Bytef *) out;
	gzip->avail_out = Min(out_bytes, PG_INT32_MAX);
	result = inflate(gzip, Z_NO_FLUSH);
	if (result == Z_STREAM_END)
		state->complete = true;
	else if (result == Z_MEM_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	else if (result != Z_OK && result != Z_BUF_ERROR)
		report_corrupt("gzip", gzip->msg);
	*in_used = (const char *) gzip->next_in - in;
	*out_used = (char *) gzip->next_out - out;
}

static void
run_zstd(TapDecompress *state, const char *in, Size in_bytes, Size *in_used,
		 char *out, Size out_bytes, Size *out_used)
{
	ZSTD_inBuffer source = {.src = in,.size = in_bytes};
	ZSTD_outBuffer target = {.dst = out,.size = out_bytes};
	size_t		result = ZSTD_decompressStream(state->zstd, &target, &source);

	if (ZSTD_isError(result))
		report_corrupt("zstd", ZSTD_getErrorName(result));
	if (source.pos > 0 || target.pos > 0)
		state->complete = result == 0;
	*in_used = source.pos;
	*out_used = target.pos;
}

void
tap_decompress_run(TapDecompress *state, const char *in, Size in_bytes, Size *in_used,
				   char *out, Size out_bytes, Size *out_used)
{
	switch (state->compression)
	{
		case TAP_COMPRESSION_GZIP:
			run_gzip(state, in, in_bytes, in_used, out, out_bytes, out_used);
			break;
		case TAP_COMPRESSION_ZSTD:
			run_zstd(state, in, in_bytes, in_used, out, out_bytes, out_used);
			break;
		case TAP_COMPRESSION_NONE:
			*in_used = *out_used = Min(in_bytes, out_bytes);
			memcpy(out, in, *in_used);
			state->complete = true;
			break;
	}
	state->in_total += *in_used;
	state->out_total += *out_used;
	if (state->max_ratio > 0 && state->out_total > RATIO_FROM_BYTES &&
		state->out_total / state->max_ratio > state->in_total)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("compressed data becomes more than " INT64_FORMAT " times as large",
						state->max_ratio),
				 errhint("If the data is what it should be, allow more with the option \"max_expansion\".")));
}

bool
tap_decompress_complete(const TapDecompress *state)
{
	return state->complete;
}
