/*-------------------------------------------------------------------------
 *
 * src/decode.h
 *	  Logical decoding inside of the publish worker.
 *
 * NOTES
 *	  The decoder reads WAL, and the plugin's callbacks copy the rows of
 *	  published tables into a buffer, a whole transaction each.  What does not
 *	  fit in memory goes to a temporary file.  Reading the buffer (the network
 *	  is used meanwhile) and filling it take turns; no transaction or snapshot
 *	  is held in between.
 *
 *	  Row filters are evaluated by the callbacks, under the historic snapshot.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_DECODE_H
#define TAPDATA_DECODE_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

#include "connector.h"

/* One published table, as the decoder is told of it. */
typedef struct TapDecodeTable
{
	Oid			relid;			/* a plain table, or the root of partitions */
	TapTableName name;			/* what it is published as */
	XLogRecPtr	start_lsn;		/* transactions whose commit record begins
								 * before are in its copy */
	List	   *columns;		/* of char *; NIL: all */
	char	   *filter;			/* SQL expression, checked; NULL: all rows */
	bool		insert;			/* which kinds of change are published */
	bool		update;
	bool		delete;
	bool		truncate;
	void	   *data;			/* the caller's own */
} TapDecodeTable;

/* Which origins' transactions are published. */
typedef struct TapDecodeOrigins
{
	bool		any;			/* else: local ones, if local, and those of */
	bool		local;
	List	   *names;			/* of char *: replication origins */
} TapDecodeOrigins;

/* A table in one of its formats; lives as long as the decoder. */
typedef struct TapDecodedFormat
{
	TapDecodeTable *table;
	TapSourceTable *source;
	struct TapDecodedFormat *previous;	/* NULL: the first that was met */
	void	   *target;			/* the caller's own, NULL at first: what
								 * prepare_table() returned */
} TapDecodedFormat;

typedef enum TapDecodedKind
{
	TAP_DECODED_NONE,			/* the buffer is empty */
	TAP_DECODED_BEGIN,
	TAP_DECODED_CHANGE,
	TAP_DECODED_COMMIT
} TapDecodedKind;

/* One entry of the buffer; valid until the next call of tap_decode_next(). */
typedef struct TapDecoded
{
	TapDecodedKind kind;
	TapOutTxn	txn;			/* all kinds */

	/*
	 * TAP_DECODED_BEGIN: List of TapDecodedFormat *, those that the
	 * transaction is the first to use.
	 */
	List	   *formats;

	/* TAP_DECODED_CHANGE; table_data is left for the caller to set. */
	TapDecodedFormat *format;
	TapOutChange change;
} TapDecoded;

typedef struct TapDecoder TapDecoder;

typedef struct TapDecoderArgs
{
	int32		pipeline;		/* whose slot is read */
	XLogRecPtr	position;		/* transactions whose commit ends at or before
								 * are not reported; 0: as the slot says */
	List	   *tables;			/* of TapDecodeTable *; must live as long */
	TapDecodeOrigins origins;
	Size		memory_bytes;	/* of the buffer, before it goes to a file */

	/*
	 * Called for a table that is logged and not in tables, at its first
	 * change and again after it was altered, in a callback: must not read
	 * user tables, wait or raise an error.  For a partition it is the root.
	 * True: go no further than before this transaction, for the caller will
	 * stop the decoder and start one that knows the table.  May be NULL.
	 */
	bool		(*unknown_table) (void *arg, Oid relid, const char *schema,
								  const char *name);

	/*
	 * Called, by the same rules, for a change of a published table that no
	 * sink can be told of: a partition was truncated by itself.  May be NULL;
	 * the server's log has it anyway.
	 */
	void		(*untold) (void *arg, const TapDecodeTable *table,
						   const char *message);
	void	   *arg;
} TapDecoderArgs;

/*
 * Acquire the slot and begin to decode; no transaction may be open.  In a
 * child of the current context.  Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
 * when the slot was invalidated, ERRCODE_OBJECT_IN_USE when another process
 * has it.  After an error the process must exit.
 */
extern TapDecoder *tap_decode_start(const TapDecoderArgs *args);

/* Release the slot and free the decoder with all of its formats. */
extern void tap_decode_stop(TapDecoder *decoder);

/*
 * Read WAL until the buffer holds at least max_bytes of whole transactions,
 * about max_ms have passed, or there is no more; returns true when all WAL
 * that is flushed has been read.  No transaction may be open, and the buffer
 * must be empty.
 */
extern bool tap_decode_fill(TapDecoder *decoder, Size max_bytes, long max_ms);

/*
 * Take the next entry out of the buffer.  Needs a transaction when types are
 * to be looked up; the caller may end it between any two calls.
 */
extern TapDecodedKind tap_decode_next(TapDecoder *decoder, TapDecoded *entry);

/* Look at the next entry's kind without taking it. */
extern TapDecodedKind tap_decode_peek(TapDecoder *decoder);

/*
 * How far WAL has been read, or may be if unknown_table() said to stop: with an empty buffer everything before it has
 * been handed out, and transactions that are still running do not end before.
 */
extern XLogRecPtr tap_decode_read_lsn(const TapDecoder *decoder);

/* Bytes of the rows in the buffer that were not taken yet. */
extern Size tap_decode_buffered(const TapDecoder *decoder);

/*
 * Everything that was committed before lsn is durable at the target: lets
 * the slot advance.
 */
extern void tap_decode_confirm(TapDecoder *decoder, XLogRecPtr lsn);

/*
 * Wait until more WAL is flushed, the socket is ready (PGINVALID_SOCKET:
 * none), the latch is set or timeout_ms (-1: no limit) is over.  Returns WL_*
 * flags; returns at once when there is WAL to read.
 */
extern int	tap_decode_wait(TapDecoder *decoder, pgsocket socket, int events,
							long timeout_ms);

/*
 * Wake the decoders of this database that wait, since WAL was flushed.  Cheap
 * when none does.  Done at each commit by itself.
 */
extern void tap_decode_wake(void);

/* Install the callback of transactions that wakes at commit; from _PG_init(). */
extern void tap_decode_install(void);

#endif							/* TAPDATA_DECODE_H */
