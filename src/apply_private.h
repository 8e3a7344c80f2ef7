/*-------------------------------------------------------------------------
 *
 * src/apply_private.h
 *	  What the files of the apply engine share.
 *
 * NOTES
 *	  A target is "open" from its first change in a hub transaction to
 *	  tap_apply_end(): the relation is locked, its indexes, executor state and
 *	  key scan are kept, for building these for each row is most of the cost
 *	  of an ordinary apply.  Everything of that time lives in open_context.
 *	  Only the mapping outlives the transaction, until the relcache entry of
 *	  the table is invalidated.
 *
 *	  Buffers.  An open target keeps the pages pinned that it has used last,
 *	  of the table and of its index: the next row is often there.  Few targets
 *	  do so at a time, or a transaction that changes many tables would take
 *	  all buffers that the server has.
 *
 *	  Visibility.  Rows are looked up under SnapshotSelf, which sees what this
 *	  transaction has written even in the current command; so the command
 *	  counter is moved only when a row is changed that the current command
 *	  has written itself.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_APPLY_PRIVATE_H
#define TAPDATA_APPLY_PRIVATE_H

#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/hsearch.h"

#include "apply.h"
#include "compat.h"

/* Rows that wait for table_multi_insert(), at most. */
#define TAP_INSERT_ROWS			1000

/* Bytes of one target's waiting rows. */
#define TAP_INSERT_BYTES		(256 * 1024)

/* Bytes of the waiting rows of all targets together. */
#define TAP_INSERT_TOTAL_BYTES	(4 * 1024 * 1024)

/* Room for rows in all targets together. */
#define TAP_INSERT_TOTAL_ROWS	16000

/* Targets that are open at the same time, at most. */
#define TAP_OPEN_TARGETS		500

/* Buffers that one target keeps pinned, at most. */
#define TAP_TARGET_PINS			4

/* The WAL writer is told of so much WAL at a time. */
#define TAP_WAL_HAND_OVER_BYTES	(1024 * 1024)

/* So many rows in their order are a sweep over the table. */
#define TAP_SWEEP_ROWS			64

/* Bits that tell which keys may be among the waiting rows. */
#define TAP_INSERT_FILTER_BITS	16384

/* Waiting rows of one target. */
typedef struct TapInsertBuffer
{
	MemoryContext context;		/* of the buffer */
	MemoryContext tuple_context;	/* of the waiting rows */
	TupleTableSlot **slots;		/* made when first used */
	int			nslots;			/* made */
	int			room;			/* of the array */
	int			nrows;			/* waiting */
	Size		bytes;
	BulkInsertState bulk;
	uint8	   *filter;			/* NULL: keys cannot be hashed */
	int			nfiltered;		/* rows whose keys are in it */
} TapInsertBuffer;

/* Rows of one target whose place is remembered. */
#define TAP_RECENT_ROWS			1024

/* Where a row is that this transaction has changed more than once. */
typedef struct TapRecentRow
{
	uint32		hash;			/* of its key */
	ItemPointerData tid;		/* invalid: no such row */
} TapRecentRow;

/* One column of the index that finds a row. */
typedef struct TapKeyColumn
{
	AttrNumber	source;			/* 0: an expression */
	AttrNumber	hub;
	FmgrInfo   *hash;			/* of the type; or NULL */
	Oid			collation;
} TapKeyColumn;

/* A prepared statement of the SQL path. */
typedef struct TapSqlPlan
{
	struct TapSqlPlan *next;
	TapChangeKind kind;
	bool		select;			/* reads the row instead of changing it */
	Bitmapset  *set;			/* source columns that are stored */
	Bitmapset  *match;			/* source columns that find the row */
	SPIPlanPtr	plan;
	int			nparameters;
	AttrNumber *parameters;		/* source column; negative: of the old row */
} TapSqlPlan;

/* Where an insert or a move under TAP_APPLY_CATCHUP got its row from. */
typedef enum TapApplyFound
{
	TAP_APPLY_FOUND_ALL,		/* it was sent whole, or the hub had the row
								 * under the new key */
	TAP_APPLY_FOUND_OLD_KEY,	/* the rest is that of the old key's row */
	TAP_APPLY_FOUND_NOTHING		/* nothing was stored */
} TapApplyFound;

struct TapTarget
{
	TapApply   *apply;
	Oid			relid;
	const TapSourceTable *source;
	char	   *source_name;
	bool		ignore_missing; /* of tap_apply_target() */
	bool		is_leaf;		/* a partition, reached by its root only */
	TapMoved   *moved;			/* of tap_apply_track() */
	HTAB	   *leaves;			/* partitions met, for a partitioned table */

	/* until the table is altered */
	bool		mapping_valid;
	MemoryContext mapping_context;
	TapMapping *mapping;
	TapSqlPlan *plans;			/* of the SQL path */

	/* while open */
	bool		open;
	TapTarget  *next_open;
	MemoryContext open_context;
	Relation	rel;
	Oid			other_owner;	/* owner of the table, if not the current user */
	bool		direct;			/* apply_direct.c serves it */
	struct TapRouting *routing; /* NULL unless apply_partition.c serves it */
	bool		identity_checked;	/* CheckCmdReplicaIdentity() was passed */
	bool		pinned;			/* may keep buffers pinned */
	EState	   *estate;
	ResultRelInfo *result;
	bool		special_index;	/* one is deferred or excludes */
	TupleDesc	descriptor;		/* of the hub table; a copy, so that slots of
								 * it burden no resource owner */
	TupleTableSlot *work;		/* virtual, the hub row to store */
	TupleTableSlot *found;		/* the row in the hub */
	ExprState **defaults;		/* [nhub]; NULL: none, or from the source */
	Relation	key_index;		/* NULL: none */
	bool		key_hashes_row; /* it is the index of a table without a key */
	IndexScanDesc key_scan;
	int			nkeys;			/* of the index */
	TapKeyColumn *key_columns;
	bool		key_hashable;	/* all types of the key have a hash function */
	ScanKey		scan_keys;
	TapRecentRow *recent;		/* by hash; NULL: none yet */
	ItemPointerData last_found; /* by the newest lookup of a key */
	int			neighbour_misses;	/* in a row, see find_neighbour() */
	int			sweep;			/* rows found in a row, each behind the last */
	TapInsertBuffer buffer;
};

struct TapApply
{
	const TapSourceCallbacks *source;
	TapSession *session;
	MemoryContext context;
	MemoryContext row_context;	/* reset after each change */
	List	   *targets;
	TapApply   *next;			/* all engines of this process */

	bool		active;			/* between begin and end */
	TapTarget  *open_targets;
	int			nopen;
	Size		buffered_bytes; /* of all targets' waiting rows */
	int			buffer_slots;	/* of all targets */
	int			npinned;		/* targets that may keep buffers pinned */

	XLogRecPtr	wal_handed_over;	/* the WAL writer was told of */

	TapApplyMode mode;			/* of the change at hand */
	TapApplyFound found;		/* and what became of it */

	/* for error contexts; NULL: none */
	TapTarget  *current_target;
	TupleTableSlot *current_slot;	/* in the hub's or the source's format */
	bool		current_is_hub;
};

/* Who the code of a table runs as; see tap_apply_enter(). */
typedef struct TapSavedUser
{
	bool		switched;
	Oid			userid;
	int			context;
} TapSavedUser;

/* ----------------
 * apply.c
 * ----------------
 */

/*
 * Become the owner of the table, if that is somebody else: expressions of its
 * indexes, defaults and checks must not run with more than the rights of
 * whom wrote them.
 */
extern void tap_apply_enter(TapTarget *target, TapSavedUser *saved);
extern void tap_apply_leave(const TapSavedUser *saved);

/* Insert a row of a snapshot; in the row context. */
extern void tap_apply_store(TapTarget *target, TupleTableSlot *slot);

/* Open a target that is not; may close all others to make room. */
extern void tap_apply_open_target(TapTarget *target);

/* ----------------
 * apply_image.c
 * ----------------
 */

/*
 * "(id)=(5)" of a row's key, or of the row for a table without one.  In the
 * current context.  hub: the slot has the hub's format.
 */
extern char *tap_apply_describe_key(TapTarget *target, TupleTableSlot *slot,
									bool hub);

/* Raise the error for a row that should have been in the hub. */
extern void tap_apply_report_missing(TapTarget *target, const char *verb,
									 TupleTableSlot *slot);

/* Whether the image has the source's column. */
static inline bool
tap_image_has(const TapRowImage *image, AttrNumber column)
{
	return image->slot != NULL &&
		(image->present == NULL || image->present[column - 1]);
}

/* Whether the image has all columns, none of them in part. */
extern bool tap_image_complete(const TapTarget *target, const TapRowImage *image);

/* The image to find the hub's row with: the old one, if it has the key. */
extern const TapRowImage *tap_apply_key_image(const TapTarget *target,
											  const TapEvent *event);

/* Whether an update gives the row another key. */
extern bool tap_apply_key_changed(const TapTarget *target,
								  const TapEvent *event);

/*
 * An image with the key that the row has after an update, of which the source
 * may have sent only what it changed.  In the current context.
 */
extern void tap_apply_new_key(const TapTarget *target, const TapEvent *event,
							  TapRowImage *key);

/*
 * The new value of a source column that was sent in part, in the source's
 * type.  old_value is the hub's.
 */
extern Datum tap_apply_complete(TapTarget *target, const TapEvent *event,
								AttrNumber column, Datum old_value,
								bool old_isnull, bool *isnull);

/* ----------------
 * apply_moved.c
 * ----------------
 */

/* A change of the target was applied under TAP_APPLY_CATCHUP. */
extern void tap_moved_note(TapMoved *moved, const TapTarget *target,
						   const TapEvent *event, TapApplyFound found);

/* ----------------
 * apply_direct.c
 * ----------------
 */

/* Whether the direct path can serve the target's opened table. */
extern bool tap_direct_possible(TapTarget *target);

/* Whether a trigger of the table would fire for our changes. */
extern bool tap_direct_has_triggers(Relation rel);

/* Make and free executor state, scans and buffers; the relation is open. */
extern void tap_direct_open(TapTarget *target);
extern void tap_direct_close(TapTarget *target);

extern void tap_direct_change(TapTarget *target, const TapEvent *event,
							  TapApplyMode mode);

/* Let go of buffer pins. */
extern void tap_direct_unpin(TapTarget *target);

/*
 * Fill target->work with the hub row for an insert; checked and with defaults
 * and generated columns.
 */
extern void tap_direct_build_insert(TapTarget *target, const TapRowImage *image);

/* ----------------
 * apply_lookup.c
 * ----------------
 */

/* Whether a btree index is unique on just the columns of the key. */
extern bool tap_lookup_index_is_key(Relation index, const TapMapping *mapping);

/* Choose the index to find rows by and begin a scan of it. */
extern void tap_lookup_open(TapTarget *target);
extern void tap_lookup_close(TapTarget *target);

/* Let go of the pin on the index page that was read last. */
extern void tap_lookup_unpin(TapTarget *target);

/*
 * Find the hub row that has the image's key, or that equals it in a table
 * without one; it is in slot then.  Waiting rows are written first if one of
 * them may be it.
 */
extern bool tap_lookup_row(TapTarget *target, const TapRowImage *image,
						   TupleTableSlot *slot);

/*
 * The same for a row that was not found: wait for the transactions of others
 * that may hide it, and look again.
 */
extern bool tap_lookup_again(TapTarget *target, const TapRowImage *image,
							 TupleTableSlot *slot);

/*
 * Remember where the row with the key of target->work is now.  Worth while
 * for rows that are changed often: each version of a row that one transaction
 * writes stays in the way of all later look-ups.
 */
extern void tap_lookup_remember(TapTarget *target);

/* Hash of the key in the hub row, if key_hashable. */
extern uint32 tap_lookup_hash(TapTarget *target, TupleTableSlot *hub_row);

/* ----------------
 * apply_index.c
 * ----------------
 */
extern void tap_index_open(TapTarget *target);

/*
 * Make the index entries of target->work, which has just replaced old_row in
 * the table.
 */
extern void tap_index_update(TapTarget *target, TupleTableSlot *old_row,
							 TapIndexUpdate indexes);

/* ----------------
 * apply_insert.c
 * ----------------
 */

/* Take the row in target->work. */
extern void tap_insert_add(TapTarget *target);
extern void tap_insert_flush(TapTarget *target);

/* Free the buffer, in which no row must wait; the next row makes it again. */
extern void tap_insert_close(TapTarget *target);

/* Whether a row with this hash of its key may be waiting. */
extern bool tap_insert_may_hold(TapTarget *target, uint32 hash);

/* ----------------
 * apply_partition.c
 * ----------------
 */

/* Whether rows of the target's opened table can be routed by their key. */
extern bool tap_partition_possible(TapTarget *target);
extern void tap_partition_open(TapTarget *target);
extern void tap_partition_close(TapTarget *target);

/*
 * The partition for a row with the image's key, opened; NULL when the direct
 * path cannot serve it.  The target itself may be closed by that.
 */
extern TapTarget *tap_partition_leaf(TapTarget *target, const TapRowImage *image);

/* Forget the targets of the partitions. */
extern void tap_partition_forget(TapTarget *target);

/* ----------------
 * apply_sql.c
 * ----------------
 */
extern void tap_sql_change(TapTarget *target, const TapEvent *event,
						   TapApplyMode mode);

/* Insert one complete row; for the snapshot. */
extern void tap_sql_insert(TapTarget *target, const TapRowImage *image);

/* Free the plans. */
extern void tap_sql_forget(TapTarget *target);

#endif							/* TAPDATA_APPLY_PRIVATE_H */
