/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_frame.c
 *	  Where records of mainframe files begin and end.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "cobol_frame.h"

#define WORD_BYTES		4
#define SEGMENT_WHOLE	0
#define SEGMENT_FIRST	1
#define SEGMENT_LAST	2
#define SEGMENT_MIDDLE	3
#define LARGE_BLOCK		UINT32_C(0x80000000)
#define NEW_LINE		0x0a
#define CARRIAGE_RETURN 0x0d
#define EBCDIC_NEW_LINE	0x15
#define EBCDIC_LINE_FEED 0x25

/* A part of the input that descriptor words were read from. */
typedef struct Cursor
{
	const uint8_t *data;
	size_t		bytes;
	size_t		at;
	uint64_t	block_left;
} Cursor;

static uint32_t
word_at(const uint8_t *data)
{
	return (uint32_t) data[0] << 24 | (uint32_t) data[1] << 16 | (uint32_t) data[2] << 8 | data[3];
}

static TapFrameResult
next_fixed(TapFrame *frame, size_t bytes, bool at_end, size_t most)
{
	if (frame->record_length > most)
		return TAP_FRAME_LIMIT;
	if (bytes < frame->record_length)
	{
		if (!at_end)
			return TAP_FRAME_MORE;
		frame->length = bytes;
		return TAP_FRAME_CUT;
	}
	frame->length = frame->taken = frame->record_length;
	return TAP_FRAME_RECORD;
}

/* The end of a line, or NULL. */
static const uint8_t *
end_of_line(const TapFrame *frame, const uint8_t *data, size_t bytes)
{
	if (!frame->ebcdic)
		return memchr(data, NEW_LINE, bytes);
	for (size_t i = 0; i < bytes; i++)
	{
		if (data[i] == EBCDIC_NEW_LINE || data[i] == EBCDIC_LINE_FEED)
			return data + i;
	}
	return NULL;
}

static TapFrameResult
next_line(TapFrame *frame, const uint8_t *data, size_t bytes, bool at_end, size_t most)
{
	const uint8_t *end = end_of_line(frame, data, bytes <= most ? bytes : most + 1);

	if (end == NULL && bytes > most)
		return TAP_FRAME_LIMIT;
	if (end == NULL && !at_end)
		return TAP_FRAME_MORE;
	frame->length = end ? (size_t) (end - data) : bytes;
	frame->taken = end ? frame->length + 1 : bytes;
	if (frame->length > 0 && data[frame->length - 1] == CARRIAGE_RETURN)
		frame->length--;
	return frame->length > 0 ? TAP_FRAME_RECORD : TAP_FRAME_EMPTY;
}

/* Go behind a block's descriptor where a block begins. */
static TapFrameResult
enter_block(TapFrame *frame, Cursor *cursor)
{
	uint32_t	word;

	while (frame->kind == TAP_FRAME_BDW && cursor->block_left == 0)
	{
		if (cursor->bytes - cursor->at < WORD_BYTES)
			return cursor->at == cursor->bytes && cursor->at == 0 ? TAP_FRAME_END : TAP_FRAME_MORE;
		frame->word = word = word_at(cursor->data + cursor->at);
		if (word & LARGE_BLOCK)
			cursor->block_left = word & ~LARGE_BLOCK;
		else if (word & 0xffff)
			return TAP_FRAME_BAD;
		else
			cursor->block_left = word >> 16;
		if (cursor->block_left < WORD_BYTES)
			return TAP_FRAME_BAD;
		cursor->block_left -= WORD_BYTES;
		cursor->at += WORD_BYTES;
	}
	return TAP_FRAME_RECORD;
}

/* One segment: where its data is, and which it is. */
static TapFrameResult
next_segment(TapFrame *frame, Cursor *cursor, size_t most, const uint8_t **data, size_t *length,
			 int *segment)
{
	TapFrameResult result = enter_block(frame, cursor);
	uint32_t	word;

	if (result != TAP_FRAME_RECORD)
		return result;
	if (cursor->bytes - cursor->at < WORD_BYTES)
		return cursor->bytes == 0 ? TAP_FRAME_END : TAP_FRAME_MORE;
	frame->word = word = word_at(cursor->data + cursor->at);
	*length = word >> 16;
	*segment = (word >> 8) & 0xff;
	if (*segment > SEGMENT_MIDDLE || (word & 0xff) != 0 ||
		(frame->counts_itself && *length < WORD_BYTES))
		return TAP_FRAME_BAD;
	if (frame->counts_itself)
		*length -= WORD_BYTES;
	if (frame->kind == TAP_FRAME_BDW && *length + WORD_BYTES > cursor->block_left)
		return TAP_FRAME_BAD;
	if (*length > most)
		return TAP_FRAME_LIMIT;
	if (cursor->bytes - cursor->at - WORD_BYTES < *length)
		return TAP_FRAME_MORE;
	*data = cursor->data + cursor->at + WORD_BYTES;
	cursor->at += WORD_BYTES + *length;
	if (frame->kind == TAP_FRAME_BDW)
		cursor->block_left -= WORD_BYTES + *length;
	return TAP_FRAME_RECORD;
}

static TapFrameResult
join(TapFrame *frame, const uint8_t *data, size_t length, size_t most)
{
	if (length > most - frame->length)
		return TAP_FRAME_LIMIT;
	if (frame->length + length > frame->joined_size)
	{
		size_t		size = (frame->length + length) * 2;
		uint8_t    *grown = realloc(frame->joined, size);

		if (grown == NULL)
			return TAP_FRAME_NO_MEMORY;
		frame->joined = grown;
		frame->joined_size = size;
	}
	if (length > 0)
		memcpy(frame->joined + frame->length, data, length);
	frame->length += length;
	return TAP_FRAME_RECORD;
}

/* A record in segments, of which the first was found. */
static TapFrameResult
next_spanned(TapFrame *frame, Cursor *cursor, const uint8_t *data, size_t length, size_t most)
{
	int			segment = SEGMENT_FIRST;
	TapFrameResult result;

	frame->length = 0;
	for (;;)
	{
		result = join(frame, data, length, most);
		if (result != TAP_FRAME_RECORD || segment == SEGMENT_LAST)
			return result;
		result = next_segment(frame, cursor, most, &data, &length, &segment);
		if (result != TAP_FRAME_RECORD)
			return result == TAP_FRAME_END ? TAP_FRAME_MORE : result;
		if (segment != SEGMENT_MIDDLE && segment != SEGMENT_LAST)
			return TAP_FRAME_BAD;
	}
}

static TapFrameResult
next_described(TapFrame *frame, const uint8_t *data, size_t bytes, bool at_end, size_t most)
{
	Cursor		cursor = {data, bytes, 0, frame->block_left};
	TapFrameResult result;
	int			segment = SEGMENT_WHOLE;

	result = next_segment(frame, &cursor, most, &frame->data, &frame->length, &segment);
	if (result == TAP_FRAME_RECORD && segment == SEGMENT_FIRST)
	{
		result = next_spanned(frame, &cursor, frame->data, frame->length, most);
		frame->data = frame->joined;
	}
	else if (result == TAP_FRAME_RECORD && segment != SEGMENT_WHOLE)
		result = TAP_FRAME_BAD;
	if (result == TAP_FRAME_MORE && at_end)
	{
		frame->data = data;
		frame->length = bytes;
		return TAP_FRAME_CUT;
	}
	if (result == TAP_FRAME_RECORD)
	{
		frame->taken = cursor.at;
		frame->block_left = cursor.block_left;
	}
	return result;
}

TapFrameResult
tap_frame_next(TapFrame *frame, const uint8_t *data, size_t bytes, bool at_end, size_t most)
{
	frame->data = data;
	frame->length = 0;
	frame->taken = 0;
	if (bytes == 0)
		return at_end ? TAP_FRAME_END : TAP_FRAME_MORE;
	switch (frame->kind)
	{
		case TAP_FRAME_FIXED:
			return next_fixed(frame, bytes, at_end, most);
		case TAP_FRAME_LINES:
			return next_line(frame, data, bytes, at_end, most);
		default:
			return next_described(frame, data, bytes, at_end, most);
	}
}

void
tap_frame_release(TapFrame *frame)
{
	free(frame->joined);
	frame->joined = NULL;
	frame->joined_size = 0;
}
