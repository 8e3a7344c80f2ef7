/*-------------------------------------------------------------------------
 *
 * connectors/file/file_bytes.c
 *	  The bytes of a file from some place on, decompressed.
 *
 * NOTES
 *	  A compressed file is read from its beginning to get to a place within it:
 *	  that costs time, but neither memory nor an index.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* Small enough to stay in the processor's cache. */
#define READ_BYTES		(256 * 1024)

typedef struct FileBytes
{
	TapFileBytes public;
	TapFileHandle *handle;
	int64		limit;			/* of the file itself */
	int64		next;			/* to be read of it */
	char	   *buffer;
	Size		allocated;

	/* of a compressed file */
	TapDecompress *decompress;	/* NULL: it is not */
	char	   *input;
	Size		input_bytes;
	Size		input_used;
	bool		output_full;	/* the last call may have more to give */
} FileBytes;

TapCompression
tap_file_compression(TapSession *session, const TapFileTable *table, TapFileHandle *handle)
{
	const char *option = tap_file_option(session, table, "compression");
	char		begin[4];
	Size		bytes;

	if (strcmp(option, "none") == 0)
		return TAP_COMPRESSION_NONE;
	if (strcmp(option, "gzip") == 0)
		return TAP_COMPRESSION_GZIP;
	if (strcmp(option, "zstd") == 0)
		return TAP_COMPRESSION_ZSTD;
	bytes = tap_file_read(handle, begin, sizeof(begin), 0);
	return tap_compression_of(begin, bytes);
}

TapFileBytes *
tap_file_bytes_begin(TapFileHandle *handle, TapCompression compression,
					 int64 max_ratio, int64 limit)
{
	FileBytes  *bytes = palloc0(sizeof(FileBytes));

	bytes->handle = handle;
	bytes->limit = limit;
	bytes->allocated = 2 * READ_BYTES;
	bytes->buffer = palloc(bytes->allocated + 1);
	bytes->buffer[0] = '\0';
	bytes->public.data = bytes->buffer;
	if (compression != TAP_COMPRESSION_NONE)
	{
		bytes->decompress = tap_decompress_make(compression, max_ratio);
		bytes->input = palloc(READ_BYTES);
	}
	return &bytes->public;
}

/* Room for READ_BYTES behind what is there. */
static void
make_room(FileBytes *bytes)
{
	Size		have = bytes->public.bytes;

	if (bytes->public.data > bytes->buffer)
		memmove(bytes->buffer, bytes->public.data, have);
	if (bytes->allocated - have < READ_BYTES)
	{
		bytes->allocated = Max(bytes->allocated * 2, have + READ_BYTES);
		bytes->buffer = repalloc_huge(bytes->buffer, bytes->allocated + 1);
	}
	bytes->public.data = bytes->buffer;
}

/* More of the file itself; 0: no more. */
static Size
read_raw(FileBytes *bytes, char *data)
{
	int64		left = bytes->limit - bytes->next;
	Size		got = left <= 0 ? 0 :
	tap_file_read(bytes->handle, data, Min(left, READ_BYTES), bytes->next);

	bytes->next += got;
	return got;
}

/* More of what a compressed file holds; 0: no more. */
static Size
read_decompressed(FileBytes *bytes, char *data)
{
	Size		used;
	Size		made;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (bytes->input_used == bytes->input_bytes && !bytes->output_full)
		{
			bytes->input_used = 0;
			bytes->input_bytes = read_raw(bytes, bytes->input);
			if (bytes->input_bytes == 0)
				break;
		}
		tap_decompress_run(bytes->decompress, bytes->input + bytes->input_used,
						   bytes->input_bytes - bytes->input_used, &used,
						   data, READ_BYTES, &made);
		bytes->input_used += used;
		bytes->output_full = made == READ_BYTES;
		if (made > 0)
			return made;
	}
	if (bytes->next > 0 && !tap_decompress_complete(bytes->decompress))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("compressed file ends in the middle"),
				 errhint("If it was still being written, let it be written under another name and moved here.")));
	return 0;
}

void
tap_file_bytes_more(TapFileBytes *public)
{
	FileBytes  *bytes = (FileBytes *) public;
	Size		got;

	if (public->exhausted)
		return;
	make_room(bytes);
	got = bytes->decompress != NULL ?
		read_decompressed(bytes, bytes->buffer + public->bytes) :
		read_raw(bytes, bytes->buffer + public->bytes);
	public->bytes += got;
	public->exhausted = got == 0;
	bytes->buffer[public->bytes] = '\0';
}

void
tap_file_bytes_take(TapFileBytes *public, Size taken)
{
	Assert(taken <= public->bytes);
	public->data += taken;
	public->bytes -= taken;
	public->offset += taken;
}

void
tap_file_bytes_skip(TapFileBytes *public, int64 offset)
{
	FileBytes  *bytes = (FileBytes *) public;

	if (bytes->decompress == NULL)
	{
		bytes->next = offset;
		public->offset = offset;
		return;
	}
	while (public->offset < offset && !public->exhausted)
	{
		if (public->bytes == 0)
			tap_file_bytes_more(public);
		tap_file_bytes_take(public, Min(public->bytes, offset - public->offset));
	}
}

int64
tap_file_bytes_raw(const TapFileBytes *public)
{
	const FileBytes *bytes = (const FileBytes *) public;

	return bytes->decompress != NULL ? bytes->next : public->offset;
}
