/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_payload.c
 *	  Compression: transactions of MySQL, events and columns of MariaDB.
 *
 * NOTES
 *	  A TRANSACTION_PAYLOAD is inflated as a stream.  The buffer holds what is
 *	  inflated but not yet returned, and grows only when the event
 *	  at its start does not fit, never because of the size that the
 *	  payload announces.
 *
 *-------------------------------------------------------------------------
 */
#include <zlib.h>
#include <zstd.h>

#include "binlog_private.h"

#define PAYLOAD_BUFFER_SIZE		(128 * 1024)
#define ZSTD_WINDOW_LOG_MAX		27	/* 128 MB, as zstd's own default */

struct TapBinlogPayload
{
	TapBinlogReader *reader;
	ZSTD_DStream *stream;		/* NULL when stored uncompressed */
	ZSTD_inBuffer input;
	uint8_t    *buffer;
	size_t		size;
	size_t		start;			/* of the bytes not yet returned */
	size_t		filled;
	bool		frame_ended;
};

/* --- MySQL: transactions ------------------------------------------------- */

static TapBinlogStatus
open_stream(TapBinlogReader *reader, TapBinlogPayload *payload)
{
	payload->stream = ZSTD_createDStream();
	payload->buffer = tap_binlog_resize(&reader->memory, NULL, PAYLOAD_BUFFER_SIZE);
	if (payload->stream == NULL || payload->buffer == NULL)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY,
							   "out of memory for a Transaction_payload event");
	payload->size = PAYLOAD_BUFFER_SIZE;
	ZSTD_DCtx_setParameter(payload->stream, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_payload_open(TapBinlogReader *reader, const TapBinlogEvent *event,
						TapBinlogPayload **result)
{
	const TapBinlogPayloadEvent *body = &event->u.payload;
	TapBinlogPayload *payload;
	TapBinlogStatus status = TAP_BINLOG_OK;

	*result = NULL;
	if (event->kind != TAP_BINLOG_KIND_PAYLOAD)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "%s event is no payload",
							   tap_binlog_event_name(event->type));
	payload = tap_binlog_resize(&reader->memory, NULL, sizeof(*payload));
	if (payload == NULL)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY,
							   "out of memory for a Transaction_payload event");
	memset(payload, 0, sizeof(*payload));
	payload->reader = reader;
	payload->input.src = body->data;
	payload->input.size = body->length;
	if (body->compression == TAP_BINLOG_COMPRESSION_ZSTD)
		status = open_stream(reader, payload);
	if (status != TAP_BINLOG_OK)
	{
		tap_binlog_payload_close(payload);
		return status;
	}
	*result = payload;
	return TAP_BINLOG_OK;
}

void
tap_binlog_payload_close(TapBinlogPayload *payload)
{
	TapBinlogMemory memory;

	if (payload == NULL)
		return;
	memory = payload->reader->memory;
	ZSTD_freeDStream(payload->stream);
	tap_binlog_release(&memory, payload->buffer);
	tap_binlog_release(&memory, payload);
}

/* Make room for `needed` bytes from the start of the current event on. */
static int
make_room(TapBinlogPayload *payload, size_t needed)
{
	TapBinlogReader *reader = payload->reader;
	uint8_t    *buffer;

	if (payload->start > 0)
	{
		memmove(payload->buffer, payload->buffer + payload->start,
				payload->filled - payload->start);
		payload->filled -= payload->start;
		payload->start = 0;
	}
	if (needed <= payload->size)
		return 1;
	if (needed > reader->limit)
	{
		tap_binlog_fail(reader, TAP_BINLOG_LIMIT,
						"event of %zu bytes in a Transaction_payload event exceeds the limit of %zu",
						needed, reader->limit);
		return -1;
	}
	buffer = tap_binlog_resize(&reader->memory, payload->buffer, needed);
	if (buffer == NULL)
	{
		tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY, "out of memory for %zu bytes", needed);
		return -1;
	}
	payload->buffer = buffer;
	payload->size = needed;
	return 1;
}

/* Inflate until `needed` bytes are there: 1, or 0 at the end, or -1. */
static int
inflate_stream(TapBinlogPayload *payload, size_t needed)
{
	while (payload->filled - payload->start < needed)
	{
		ZSTD_outBuffer output = {payload->buffer, payload->size, payload->filled};
		size_t		consumed = payload->input.pos;
		size_t		result;

		if (payload->frame_ended && payload->input.pos == payload->input.size)
			return 0;
		result = ZSTD_decompressStream(payload->stream, &output, &payload->input);
		if (ZSTD_isError(result))
		{
			tap_binlog_fail(payload->reader, TAP_BINLOG_CORRUPT,
							"could not inflate Transaction_payload event: %s",
							ZSTD_getErrorName(result));
			return -1;
		}
		payload->frame_ended = result == 0;
		if (output.pos == payload->filled && payload->input.pos == consumed)
			return 0;
		payload->filled = output.pos;
	}
	return 1;
}

/*
 * Have `needed` bytes of the current event in the buffer: 1, or 0 if the
 * payload ends before, or -1.
 */
static int
fetch(TapBinlogPayload *payload, size_t needed)
{
	if (payload->filled - payload->start >= needed)
		return 1;
	if (needed > payload->size - payload->start && make_room(payload, needed) < 0)
		return -1;
	return inflate_stream(payload, needed);
}

static int
fail_end(TapBinlogPayload *payload)
{
	tap_binlog_fail(payload->reader, TAP_BINLOG_TRUNCATED,
					"Transaction_payload event ends inside an event");
	return -1;
}

static int
next_stored(TapBinlogPayload *payload, const uint8_t **packet, size_t *length)
{
	const uint8_t *start = (const uint8_t *) payload->input.src + payload->input.pos;
	size_t		left = payload->input.size - payload->input.pos;

	if (left == 0)
		return 0;
	if (left < TAP_BINLOG_HEADER_SIZE)
		return fail_end(payload);
	*packet = start;
	*length = load32(start + 9);
	if (*length < TAP_BINLOG_HEADER_SIZE || *length > left)
		return fail_end(payload);
	payload->input.pos += *length;
	return 1;
}

int
tap_binlog_payload_next(TapBinlogPayload *payload, const uint8_t **packet, size_t *length)
{
	int			result;

	if (payload->stream == NULL)
		return next_stored(payload, packet, length);
	result = fetch(payload, TAP_BINLOG_HEADER_SIZE);
	if (result <= 0)
	{
		if (result == 0 && (payload->filled != payload->start || !payload->frame_ended))
			return fail_end(payload);
		return result;
	}
	*length = load32(payload->buffer + payload->start + 9);
	if (*length < TAP_BINLOG_HEADER_SIZE)
	{
		tap_binlog_fail(payload->reader, TAP_BINLOG_CORRUPT,
						"event of %zu bytes in a Transaction_payload event", *length);
		return -1;
	}
	result = fetch(payload, *length);
	if (result <= 0)
		return result < 0 ? -1 : fail_end(payload);
	*packet = payload->buffer + payload->start;
	payload->start += *length;
	return 1;
}

/* --- MariaDB: events and columns ----------------------------------------- */

static voidpf
zlib_allocate(voidpf context, uInt items, uInt size)
{
	return tap_binlog_resize(context, NULL, (size_t) items * size);
}

static void
zlib_release(voidpf context, voidpf address)
{
	tap_binlog_release(context, address);
}

/*
 * Inflate to exactly `expected` bytes.  window_bits tells zlib the format:
 * negative for a bare stream without header and checksum.
 */
static TapBinlogStatus
inflate_exactly(TapBinlogReader *reader, int window_bits, const uint8_t *data, size_t length,
				uint8_t *output, size_t expected)
{
	z_stream	stream = {0};
	int			result;

	stream.zalloc = zlib_allocate;
	stream.zfree = zlib_release;
	stream.opaque = &reader->memory;
	if (inflateInit2(&stream, window_bits) != Z_OK)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY, "out of memory for zlib");
	stream.next_in = (Bytef *) data;
	stream.avail_in = (uInt) length;
	stream.next_out = output;
	stream.avail_out = (uInt) expected;
	result = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	if (result != Z_STREAM_END || stream.avail_out != 0)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "compressed data does not inflate to the %zu bytes it should",
							   expected);
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_inflate_event(TapBinlogReader *reader, const uint8_t *data, size_t length,
						 const uint8_t **plain, size_t *plain_length)
{
	unsigned	size_bytes;
	size_t		size;
	TapBinlogStatus status;

	if (length < 1 || (data[0] & 0x80) == 0)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed compressed event");
	if (data[0] & 0x70)
		return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED, "compression method %u of event",
							   data[0] >> 4 & 7u);
	size_bytes = data[0] & 7;
	if (size_bytes < 1 || size_bytes > 4 || length < 1 + size_bytes)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed compressed event");
	size = (size_t) load_big(data + 1, size_bytes);
	if ((status = tap_binlog_reserve_scratch(reader, size ? size : 1)) != TAP_BINLOG_OK)
		return status;
	data += 1 + size_bytes;
	length -= 1 + size_bytes;
	status = inflate_exactly(reader, MAX_WBITS, data, length, reader->scratch, size);
	if (status != TAP_BINLOG_OK)
		return status;
	*plain = reader->scratch;
	*plain_length = size;
	return TAP_BINLOG_OK;
}

/*
 * The first byte of a compressed column: 0 = the rest is plain; otherwise the
 * method in the high four bits (8 = zlib), whether zlib's own header is
 * left out in the next, and the size of the length in the low three.
 */
TapBinlogStatus
tap_binlog_inflate_column(TapBinlogReader *reader, const TapBinlogCell *cell,
						  TapBinlogBuffer *buffer, const uint8_t **data, uint32_t *length)
{
	unsigned	size_bytes;
	size_t		size;
	TapBinlogStatus status;

	*data = cell->data;
	*length = 0;
	if (cell->length == 0)
		return TAP_BINLOG_OK;
	if (cell->data[0] == 0)
	{
		*data = cell->data + 1;
		*length = cell->length - 1;
		return TAP_BINLOG_OK;
	}
	size_bytes = cell->data[0] & 7;
	if (cell->data[0] >> 4 != 8)
		return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED,
							   "compression method %u of a column", cell->data[0] >> 4);
	if (size_bytes < 1 || size_bytes > 4 || cell->length < 1 + size_bytes)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed compressed column");
	size = (size_t) load_big(cell->data + 1, size_bytes);
	if (size > reader->limit)
		return tap_binlog_fail(reader, TAP_BINLOG_LIMIT, "column inflates to %zu bytes", size);
	buffer->length = 0;
	if ((status = tap_binlog_reserve_buffer(buffer, size)) != TAP_BINLOG_OK)
		return tap_binlog_fail(reader, status, "no room for a column of %zu bytes", size);
	status = inflate_exactly(reader, cell->data[0] & 8 ? -MAX_WBITS : MAX_WBITS,
							 cell->data + 1 + size_bytes, cell->length - 1 - size_bytes,
							 (uint8_t *) buffer->data, size);
	if (status != TAP_BINLOG_OK)
		return status;
	buffer->length = size;
	buffer->data[size] = '\0';
	*data = (const uint8_t *) buffer->data;
	*length = (uint32_t) size;
	return TAP_BINLOG_OK;
}
