/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_reader.c
 *	  The reader: its memory, limits and messages; buffers.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "binlog_private.h"

/* --- memory, messages, buffers ------------------------------------------- */

void *
tap_binlog_resize(const TapBinlogMemory *memory, void *old, size_t size)
{
	if (memory->resize)
		return memory->resize(memory->context, old, size);
	return realloc(old, size);
}

void
tap_binlog_release(const TapBinlogMemory *memory, void *old)
{
	if (old == NULL)
		return;
	if (memory->release)
		memory->release(memory->context, old);
	else
		free(old);
}

TapBinlogStatus
tap_binlog_fail(TapBinlogReader *reader, TapBinlogStatus status, const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(reader->message, sizeof(reader->message), format, arguments);
	va_end(arguments);
	reader->status = status;
	return status;
}

void
tap_binlog_buffer_init(TapBinlogBuffer *buffer, size_t limit, const TapBinlogMemory *memory)
{
	memset(buffer, 0, sizeof(*buffer));
	buffer->limit = limit < SIZE_MAX / 4 ? limit : SIZE_MAX / 4;
	if (memory)
		buffer->memory = *memory;
}

void
tap_binlog_buffer_free(TapBinlogBuffer *buffer)
{
	tap_binlog_release(&buffer->memory, buffer->data);
	buffer->data = NULL;
	buffer->length = buffer->capacity = 0;
}

TapBinlogStatus
tap_binlog_reserve_buffer(TapBinlogBuffer *buffer, size_t length)
{
	size_t		needed;
	size_t		capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
	char	   *data;

	if (buffer->capacity > 0 && length < buffer->capacity - buffer->length)
		return TAP_BINLOG_OK;
	if (buffer->length > buffer->limit || length > buffer->limit - buffer->length)
		return TAP_BINLOG_LIMIT;
	needed = buffer->length + length + 1;
	while (capacity < needed)
		capacity += capacity;
	data = tap_binlog_resize(&buffer->memory, buffer->data, capacity);
	if (data == NULL)
		return TAP_BINLOG_NO_MEMORY;
	buffer->data = data;
	buffer->capacity = capacity;
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_buffer_append(TapBinlogBuffer *buffer, const void *data, size_t length)
{
	TapBinlogStatus status = tap_binlog_reserve_buffer(buffer, length);

	if (status != TAP_BINLOG_OK)
		return status;
	if (length > 0)
		memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
	return TAP_BINLOG_OK;
}

/* --- reader -------------------------------------------------------------- */

TapBinlogReader *
tap_binlog_reader_create(TapBinlogFlavour flavour, const TapBinlogMemory *memory)
{
	static const TapBinlogMemory standard;
	TapBinlogReader *reader;

	if (memory == NULL)
		memory = &standard;
	reader = tap_binlog_resize(memory, NULL, sizeof(TapBinlogReader));
	if (reader == NULL)
		return NULL;
	memset(reader, 0, sizeof(*reader));
	reader->flavour = flavour;
	reader->memory = *memory;
	reader->limit = TAP_BINLOG_DEFAULT_LIMIT;
	reader->checksum = TAP_BINLOG_CHECKSUM_UNKNOWN;
	return reader;
}

void
tap_binlog_reset(TapBinlogReader *reader)
{
	tap_binlog_drop_tables(reader, false);
	tap_binlog_release(&reader->memory, reader->scratch);
	reader->scratch = NULL;
	reader->scratch_size = 0;
	reader->checksum = TAP_BINLOG_CHECKSUM_UNKNOWN;
	memset(reader->post_header, 0, sizeof(reader->post_header));
	reader->status = TAP_BINLOG_OK;
	reader->message[0] = '\0';
}

void
tap_binlog_reader_free(TapBinlogReader *reader)
{
	TapBinlogMemory memory;

	if (reader == NULL)
		return;
	tap_binlog_reset(reader);
	memory = reader->memory;
	tap_binlog_release(&memory, reader->buckets);
	tap_binlog_release(&memory, reader);
}

void
tap_binlog_set_limit(TapBinlogReader *reader, size_t bytes)
{
	reader->limit = bytes;
}

void
tap_binlog_set_forget(TapBinlogReader *reader,
					  void (*forget) (void *context, TapBinlogTable *table), void *context)
{
	reader->forget = forget;
	reader->forget_context = context;
}

const char *
tap_binlog_message(const TapBinlogReader *reader)
{
	return reader->message;
}

TapBinlogStatus
tap_binlog_status(const TapBinlogReader *reader)
{
	return reader->status;
}

TapBinlogStatus
tap_binlog_reserve_scratch(TapBinlogReader *reader, size_t size)
{
	uint8_t    *scratch;

	if (size > reader->limit)
		return tap_binlog_fail(reader, TAP_BINLOG_LIMIT,
							   "event inflates to %zu bytes, more than the limit of %zu",
							   size, reader->limit);
	if (size <= reader->scratch_size)
		return TAP_BINLOG_OK;
	scratch = tap_binlog_resize(&reader->memory, reader->scratch, size);
	if (scratch == NULL)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY,
							   "out of memory for %zu bytes", size);
	reader->scratch = scratch;
	reader->scratch_size = size;
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_truncated(TapBinlogReader *reader, const TapBinlogEvent *event)
{
	return tap_binlog_fail(reader, TAP_BINLOG_TRUNCATED, "%s event of %u bytes is too short",
						   tap_binlog_event_name(event->type), event->event_length);
}
