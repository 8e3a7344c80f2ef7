/*-------------------------------------------------------------------------
 *
 * src/decode_buffer.c
 *	  A queue of records that goes to a temporary file when it is long.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "decode_buffer.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* A record that is larger gets a block of its own. */
#define BLOCK_BYTES		(256 * 1024)

/* Empty blocks that are kept: as many as a usual batch needs. */
#define BLOCKS_KEPT		16

/* Room for records of the file that is kept. */
#define SCRATCH_KEPT	(1024 * 1024)

typedef struct Block
{
	struct Block *next;
	Size		size;			/* of data */
	Size		used;
} Block;

#define block_data(block)	((char *) (block) + MAXALIGN(sizeof(Block)))

/* Stands before each record, in blocks and in the file. */
typedef struct RecordHeader
{
	Size		bytes;			/* of the record, aligned, without this */
} RecordHeader;

#define HEADER_BYTES	MAXALIGN(sizeof(RecordHeader))

struct TapDecodeBuffer
{
	MemoryContext context;
	Size		memory_bytes;

	Block	   *first;			/* in order */
	Block	   *last;
	Size		taken;			/* of the first block */
	Size		held;			/* bytes of all blocks of the queue */
	Block	   *spare;
	int			nspare;

	BufFile    *file;			/* NULL: all is in memory */
	ResourceOwner owner;		/* the file outlives transactions */
	bool		reading;		/* the file was rewound */
	char	   *scratch;		/* one record of the file */
	Size		scratch_size;
	uint64		file_records;	/* that were not taken yet */
	uint64		spilled;

	bool		to_file;		/* the reserved record goes there */
	Size		reserved;		/* its bytes, aligned, with header */
	Size		bytes;			/* of records that were not taken */
};

TapDecodeBuffer *
tap_decode_buffer_create(Size memory_bytes)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tapdata decode buffer",
												  ALLOCSET_DEFAULT_SIZES);
	TapDecodeBuffer *buffer = MemoryContextAllocZero(context,
													 sizeof(TapDecodeBuffer));

	buffer->context = context;
	buffer->memory_bytes = memory_bytes;
	buffer->owner = ResourceOwnerCreate(NULL, "tapdata decode buffer");
	return buffer;
}

/* Append a block with room for bytes to the queue. */
static void
add_block(TapDecodeBuffer *buffer, Size bytes)
{
	Block	   *block;

	if (bytes <= BLOCK_BYTES && buffer->spare != NULL)
	{
		block = buffer->spare;
		buffer->spare = block->next;
		buffer->nspare--;
	}
	else
	{
		Size		size = Max(bytes, BLOCK_BYTES);

		block = MemoryContextAllocHuge(buffer->context,
									   MAXALIGN(sizeof(Block)) + size);
		block->size = size;
	}
	block->next = NULL;
	block->used = 0;
	if (buffer->last != NULL)
		buffer->last->next = block;
	else
		buffer->first = block;
	buffer->last = block;
	buffer->held += block->size;
}

/* Take the first block off the queue. */
static void
remove_block(TapDecodeBuffer *buffer)
{
	Block	   *block = buffer->first;

	buffer->first = block->next;
	if (buffer->first == NULL)
		buffer->last = NULL;
	buffer->taken = 0;
	buffer->held -= block->size;
	if (block->size == BLOCK_BYTES && buffer->nspare < BLOCKS_KEPT)
	{
		block->next = buffer->spare;
		buffer->spare = block;
		buffer->nspare++;
	}
	else
		pfree(block);
}

/* Have room for a record of the file; what was in it is lost. */
static void
size_scratch(TapDecodeBuffer *buffer, Size bytes)
{
	if (buffer->scratch != NULL &&
		(buffer->scratch_size < bytes ||
		 (buffer->scratch_size > SCRATCH_KEPT && bytes <= SCRATCH_KEPT)))
	{
		pfree(buffer->scratch);
		buffer->scratch = NULL;
	}
	if (buffer->scratch == NULL)
	{
		buffer->scratch_size = Max(bytes, SCRATCH_KEPT);
		buffer->scratch = MemoryContextAllocHuge(buffer->context,
												 buffer->scratch_size);
	}
}

/* Open the temporary file, which outlives the transaction. */
static void
open_file(TapDecodeBuffer *buffer)
{
	ResourceOwner caller_owner = CurrentResourceOwner;
	MemoryContext caller = MemoryContextSwitchTo(buffer->context);

	CurrentResourceOwner = buffer->owner;
	buffer->file = BufFileCreateTemp(true);
	CurrentResourceOwner = caller_owner;
	MemoryContextSwitchTo(caller);
	buffer->reading = false;
	buffer->file_records = 0;
}

void *
tap_decode_buffer_reserve(TapDecodeBuffer *buffer, Size bytes)
{
	Block	   *block = buffer->last;
	RecordHeader *header;

	bytes = MAXALIGN(bytes) + HEADER_BYTES;
	buffer->reserved = bytes;
	if (likely(buffer->file == NULL))
	{
		if (likely(block != NULL && block->size - block->used >= bytes))
		{
			header = (RecordHeader *) (block_data(block) + block->used);
			header->bytes = bytes - HEADER_BYTES;
			return (char *) header + HEADER_BYTES;
		}
		if (buffer->held + Max(bytes, BLOCK_BYTES) <= buffer->memory_bytes)
		{
			add_block(buffer, bytes);
			header = (RecordHeader *) block_data(buffer->last);
			header->bytes = bytes - HEADER_BYTES;
			return (char *) header + HEADER_BYTES;
		}
		open_file(buffer);
	}

	size_scratch(buffer, bytes);
	buffer->to_file = true;
	header = (RecordHeader *) buffer->scratch;
	header->bytes = bytes - HEADER_BYTES;
	return buffer->scratch + HEADER_BYTES;
}

void
tap_decode_buffer_put(TapDecodeBuffer *buffer)
{
	if (buffer->to_file)
	{
		Assert(!buffer->reading);
		BufFileWrite(buffer->file, buffer->scratch, buffer->reserved);
		buffer->file_records++;
		buffer->spilled += buffer->reserved;
		buffer->to_file = false;
	}
	else
		buffer->last->used += buffer->reserved;
	buffer->bytes += buffer->reserved;
}

/* Read from the file, all or nothing. */
static void
read_file(TapDecodeBuffer *buffer, void *target, Size bytes)
{
	if (BufFileRead(buffer->file, target, bytes) != bytes)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from the temporary file of decoded changes: it is too short")));
}

/* The next record of the file. */
static void *
take_from_file(TapDecodeBuffer *buffer)
{
	RecordHeader header;

	if (!buffer->reading)
	{
		if (BufFileSeek(buffer->file, 0, 0, SEEK_SET) != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not rewind the temporary file of decoded changes")));
		buffer->reading = true;
	}
	if (buffer->file_records == 0)
		return NULL;
	read_file(buffer, &header, HEADER_BYTES);
	size_scratch(buffer, header.bytes);
	read_file(buffer, buffer->scratch, header.bytes);
	buffer->file_records--;
	buffer->bytes -= header.bytes + HEADER_BYTES;
	return buffer->scratch;
}

void *
tap_decode_buffer_take(TapDecodeBuffer *buffer)
{
	while (buffer->first != NULL)
	{
		Block	   *block = buffer->first;

		if (buffer->taken < block->used)
		{
			RecordHeader *header = (RecordHeader *) (block_data(block) + buffer->taken);

			buffer->taken += header->bytes + HEADER_BYTES;
			buffer->bytes -= header->bytes + HEADER_BYTES;
			return (char *) header + HEADER_BYTES;
		}
		remove_block(buffer);
	}
	return buffer->file != NULL ? take_from_file(buffer) : NULL;
}

void
tap_decode_buffer_reset(TapDecodeBuffer *buffer)
{
	while (buffer->first != NULL)
		remove_block(buffer);
	if (buffer->file != NULL)
		BufFileClose(buffer->file);
	buffer->file = NULL;
	buffer->file_records = 0;
	buffer->spilled = 0;
	buffer->to_file = false;
	buffer->bytes = 0;
	if (buffer->scratch_size > SCRATCH_KEPT)
	{
		pfree(buffer->scratch);
		buffer->scratch = NULL;
		buffer->scratch_size = 0;
	}
}

void
tap_decode_buffer_free(TapDecodeBuffer *buffer)
{
	tap_decode_buffer_reset(buffer);
	ResourceOwnerDelete(buffer->owner);
	MemoryContextDelete(buffer->context);
}

Size
tap_decode_buffer_bytes(const TapDecodeBuffer *buffer)
{
	return buffer->bytes;
}

uint64
tap_decode_buffer_spilled(const TapDecodeBuffer *buffer)
{
	return buffer->spilled;
}
