/*-------------------------------------------------------------------------
 *
 * connectors/file/file_stream.h
 *	  What the files of the stream share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_FILE_STREAM_H
#define TAPDATA_FILE_STREAM_H

#include "file_connector.h"

typedef struct TapFileRead TapFileRead;

/* What the next event of a file that is being read is. */
typedef enum TapFilePhase
{
	TAP_FILE_PHASE_BETWEEN,		/* BEGIN, or none */
	TAP_FILE_PHASE_OPEN,		/* none, but the file is opened */
	TAP_FILE_PHASE_SCHEMA,		/* SCHEMA, if it has another format */
	TAP_FILE_PHASE_COMPARE,		/* COMPARE_BEGIN, in mode replace */
	TAP_FILE_PHASE_ROWS,
	TAP_FILE_PHASE_COMPARED,	/* COMPARE_END */
	TAP_FILE_PHASE_COMMIT
} TapFilePhase;

struct TapFileStream
{
	TapStreamArgs args;
	TapFileWatch *watch;
	MemoryContext scan_context; /* reset by each scan */

	/* what scans found */
	List	   *queue;			/* of TapFileEntry *: to be read now */
	int64		scan_at;		/* by tap_file_clock(), at the latest */
	int64		scan_not_before;
	bool		changed;		/* the kernel said so since the last scan */
	TimestampTz awaited;		/* the last wait() that was a reason to look */

	/* the position, and whether it moved without a commit */
	int64		covered;
	int64		goal;			/* covered, when nothing is due any more; 0:
								 * none */
	int64		steps;
	bool		moved;

	TapFilePhase phase;
	TapFileEntry *entry;		/* of the file that is its turn, or NULL */
	TapFileRead *read;			/* NULL: it is not open */
	bool		compared;		/* COMPARE_BEGIN was sent, in this transaction */

	/* options */
	int64		settle_ms;
	int64		poll_ms;
	int64		max_record_bytes;
	int64		max_expansion;
	int64		forget_ns;
	bool		require_newline;
};

/* The file that is being read; lives in a context of its own. */
struct TapFileRead
{
	TapFileEntry *entry;
	MemoryContext context;
	TapFileHandle *handle;
	TapFileBytes *bytes;
	bool		compressed;
	bool		is_all;			/* nobody writes to it any more */
	bool		final;			/* its last record may have no end */
	bool		after_torn;		/* a line break must come first */

	const TapFormat *format;
	const TapFormatPlan *plan;
	TapFormatReader *reader;
	TapSourceTable *source;
	TupleTableSlot *slot;
	bool		schema_due;		/* the core does not know source yet */

	Size		taken;			/* by the format's last call */
	Size		txn_bytes;
	bool		last_torn;
	bool		ended;			/* nothing more can be read now */
	bool		given_up;		/* since the rest makes no sense */

	/* the record that could not be read, for describe_event() */
	const char *failed;
	Size		failed_bytes;
	int64		failed_offset;
	int64		failed_line;
};

typedef enum TapFileReadResult
{
	TAP_FILE_READ_ROW,			/* read->slot is filled, *bytes were used */
	TAP_FILE_READ_ALTERED,		/* read->source is another; then ask again */
	TAP_FILE_READ_END
} TapFileReadResult;

/* ---- file_scan.c ---- */

/* Look at all files: fill the queue, move covered. */
extern void tap_file_scan(TapSession *session);

/* Whether the core wants a table; asks it once. */
extern bool tap_file_followed(TapSession *session, TapFileTable *table);

/* ---- file_read.c ---- */

/*
 * Begin to read a file, or to go on with it.  NULL: there is nothing to read,
 * which the entry knows now.  After an error of data, such as a file without
 * any sense, the entry is as if the file had been read.
 */
extern TapFileRead *tap_file_read_begin(TapSession *session, TapFileEntry *entry);

/*
 * The next row.  Values in the current context.  Raises errors of data that
 * say where the record is, behind which the next call goes on.
 */
extern TapFileReadResult tap_file_read_next(TapSession *session, TapFileRead *read,
											Size *bytes);

/* Have the entry, and its note, say how far it was read. */
extern void tap_file_read_save(TapFileRead *read);

/* JSON text of the record that failed; read NULL: of the whole file. */
extern char *tap_file_read_describe(const TapFileEntry *entry, const TapFileRead *read);

extern void tap_file_read_end(TapFileRead *read);

#endif							/* TAPDATA_FILE_STREAM_H */
