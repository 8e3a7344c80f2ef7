/*-------------------------------------------------------------------------
 *
 * src/decode_private.h
 *	  What the files of the decoder share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_DECODE_PRIVATE_H
#define TAPDATA_DECODE_PRIVATE_H

#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xlogutils.h"
#include "decode.h"
#include "decode_buffer.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "replication/logical.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

/* A format with what the decoder needs to hand out rows of it. */
typedef struct TapDecodeFormat
{
	TapDecodedFormat public;	/* first: callers get a pointer to it */
	TupleTableSlot *old_slot;	/* virtual, of the published descriptor */
	TupleTableSlot *new_slot;
	bool	   *old_present;	/* natts entries each */
	bool	   *new_present;
} TapDecodeFormat;

/*
 * How the rows of one relation, in the shape they have in WAL, become rows
 * of a format.  Made anew when the relation was altered; records of the
 * buffer point to it, so that an old one lives until the buffer is empty.
 */
typedef struct TapDecodeLayout
{
	MemoryContext context;		/* all of it, deleted as a whole */
	TapDecodeFormat *format;
	TupleDesc	physical;		/* copy of the relation's descriptor */
	AttrNumber *map;			/* published to physical, both from 0 */
	bool		identity;		/* physical columns are the published ones */

	/* Of an old row: which published columns WAL tells. */
	TapRowImage old_image;		/* present: NULL when it tells all */
	bool		old_full;		/* REPLICA IDENTITY FULL */
	bool		old_has_key;	/* the key's columns, and there is a key */
	Bitmapset  *identity_columns;	/* see tap_hub_identity_columns() */
	char		identity_kind;	/* pg_class.relreplident */

	/* Row filter, see decode_filter.c; NULL: all rows. */
	struct TapDecodeFilter *filter;

	/* Physical values of a row at a time, by callbacks and by delivery. */
	Datum	   *values;
	bool	   *isnull;
	Datum	   *old_values;
	bool	   *old_isnull;
} TapDecodeLayout;

/* What is known of a relation that WAL mentions; by its oid. */
typedef struct TapDecodeRelation
{
	Oid			relid;			/* the key of the hash table */
	bool		valid;			/* false: look again; set by invalidations */
	TapDecodeLayout *layout;	/* NULL: not published */
} TapDecodeRelation;

/* Whether WAL tells a column of old rows; physical, from 0. */
static inline bool
tap_decode_old_has(const TapDecodeLayout *layout, int column)
{
	return layout->old_full ||
		bms_is_member(column + 1 - FirstLowInvalidHeapAttributeNumber,
					  layout->identity_columns);
}

/* One row change in the buffer.  Values follow, each aligned. */
typedef struct TapDecodeRecord
{
	TapDecodeLayout *layout;
	XLogRecPtr	lsn;
	uint8		kind;			/* TapChangeKind */
	uint16		nexternal;		/* values that follow the tuples */
	uint32		new_bytes;		/* of the new tuple; 0: none */
	uint32		old_bytes;
} TapDecodeRecord;

#define TAP_DECODE_RECORD_BYTES		MAXALIGN(sizeof(TapDecodeRecord))

/*
 * A value that was stored outside of the new tuple and is in WAL, put
 * together.  The bytes of the varlena follow.
 */
typedef struct TapDecodeExternal
{
	Size		bytes;			/* of the varlena */
	int			column;			/* physical, from 0 */
} TapDecodeExternal;

#define TAP_DECODE_EXTERNAL_BYTES	MAXALIGN(sizeof(TapDecodeExternal))

/* A transaction in the buffer; its changes are so many of the records. */
typedef struct TapDecodeTxn
{
	TapOutTxn	out;
	List	   *formats;		/* of TapDecodedFormat *; in the decoder's
								 * memory */
} TapDecodeTxn;

/* What is known of a replication origin; by its id. */
typedef struct TapDecodeOrigin
{
	RepOriginId id;				/* the key of the hash table */
	bool		published;
	char	   *name;			/* in the decoder's memory */
} TapDecodeOrigin;

/* Where tap_decode_next() stands in a transaction. */
typedef enum TapDecodePhase
{
	TAP_DECODE_AT_BEGIN,
	TAP_DECODE_AT_CHANGES
} TapDecodePhase;

struct TapDecoder
{
	MemoryContext context;		/* all of it */
	TapDecoderArgs args;
	HTAB	   *tables;			/* of args.tables: Oid to TapDecodeTable * */
	HTAB	   *relations;		/* of TapDecodeRelation */
	HTAB	   *origins;		/* of TapDecodeOrigin */
	List	   *formats;		/* of TapDecodeFormat *, newest first */
	List	   *new_formats;	/* of TapDecodedFormat *: no transaction of
								 * the buffer tells of them yet */
	List	   *dead_layouts;	/* of TapDecodeLayout *: free when empty */

	LogicalDecodingContext *logical;
	ReadLocalXLogPageNoWaitPrivate reading;
	XLogRecPtr	start;			/* everything before is handed out */
	XLogRecPtr	tried;			/* WAL up to here has been read, or cannot be
								 * yet */
	XLogRecPtr	allowed;		/* standbys that must be first have it */
	XLogRecPtr	awaited;		/* what they are waited for to have */

	TapDecodeBuffer *buffer;

	/* Transactions in the buffer. */
	TapDecodeTxn *txns;
	int			ntxns;
	int			maxtxns;

	/* The transaction being decoded. */
	bool		skip;			/* by its origin */
	bool		open;			/* the last of txns is not complete */
	XLogRecPtr	halted_lsn;		/* of a commit that is to be decoded again, by
								 * another decoder; 0: none */
	TapOutTxn	beginning;		/* what its entry will be */
	TapDecodeRelation *last_relation;	/* the last change's; NULL: none */

	/* Where delivery stands. */
	int			next_txn;
	TapDecodePhase phase;
	int64		next_change;

	/* When caches hold what is true now, and not in WAL; see decode.c. */
	uint64		messages_seen;
	XLogRecPtr	messages_lsn;
	bool		caches_unknown;
	uint64		replayed;		/* transactions, ever */

	/* Confirming; see tap_decode_confirm(). */
	XLogRecPtr	confirmed;
	XLogRecPtr	to_confirm;
	TimestampTz confirmed_at;

	/* Waiting; see decode_wait.c. */
	int			nap_ms;
};

/* The decoder of this process, while it is reading WAL; else NULL. */
extern TapDecoder *tap_decode_current;

/*
 * While set, the output plugin may be started: by tap_decode_start() and
 * tap_slot_create_snapshot() only.
 */
extern bool tap_decode_plugin_allowed;

/* ----------------
 * decode.c
 * ----------------
 */

/* Up to where WAL may be read now. */
extern XLogRecPtr tap_decode_readable(TapDecoder *decoder);

/* ----------------
 * decode_format.c
 * ----------------
 */

/* Make the tables and caches of a new decoder; in its context. */
extern void tap_decode_format_start(TapDecoder *decoder);

/* No more invalidations for this decoder. */
extern void tap_decode_format_stop(TapDecoder *decoder);

/*
 * The layout of a relation's rows, NULL: the transaction's changes of it are
 * not published.  Looks into the catalogs of the historic snapshot when the
 * relation is not known, or may have changed.
 */
extern TapDecodeLayout *tap_decode_layout(TapDecoder *decoder, Relation relation);

/* Free layouts that were replaced; the buffer is empty. */
extern void tap_decode_format_sweep(TapDecoder *decoder);

/* ----------------
 * decode_filter.c
 * ----------------
 */

/*
 * Prepare the filter, SQL text, for rows of a relation in its physical
 * shape; in the current context, which must live as long.
 */
extern struct TapDecodeFilter *tap_decode_filter_prepare(const char *filter,
														 Relation relation,
														 TupleDesc physical);

/*
 * Whether a row passes.  External values of WAL are allowed, those that are
 * not in WAL must not be used by the filter.
 */
extern bool tap_decode_filter_passes(struct TapDecodeFilter *filter,
									 const Datum *values, const bool *isnull);

/* ----------------
 * decode_wait.c
 * ----------------
 */

/* Take a place among those that are woken at commit, and give it back. */
extern void tap_decode_wait_start(void);
extern void tap_decode_wait_stop(void);

#endif							/* TAPDATA_DECODE_PRIVATE_H */
