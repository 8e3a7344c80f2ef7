/*-------------------------------------------------------------------------
 *
 * src/publish_private.h
 *	  What the files of the publish worker share.
 *
 * publish.c				the main function: start, stream, wait
 * publish_tables.c			which tables are published, and may they be
 * publish_check.c			what a table needs so that it can be published
 * publish_copy.c			copies of tables, the first and later ones
 * publish_deliver.c		from the decoder's buffer to the sink
 * publish_format.c			the formats of a table that the sink is told of
 * publish_position.c		what is durable at the target, and who is told
 * publish_dead_letters.c	changes that the target refuses for good
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PUBLISH_PRIVATE_H
#define TAPDATA_PUBLISH_PRIVATE_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "catalog.h"
#include "connector_loader.h"
#include "decode.h"
#include "mapping.h"
#include "shmem.h"

/*
 * A table in one format, as the sink was told of it.  Lives as long as the
 * session, since the sink may keep pointers to it.
 */
typedef struct TapPublishFormat
{
	TapSourceTable *source;
	void	   *data;			/* what prepare_table() returned */
} TapPublishFormat;

/* One table of the pipeline; in TapPublish.tables_context. */
typedef struct TapPublishTable
{
	TapTableRow row;
	TapDecodeTable decode;
	TapPublishFormat *format;	/* the newest the sink knows, or NULL */
	bool		again;			/* a copy was begun before */
	TapTableShared *shared;		/* counters, may be NULL */
	XLogRecPtr	gone_lsn;		/* it is gone, or has another name, and WAL up
								 * to here may have changes of it; 0: it is
								 * there */
} TapPublishTable;

/* Transactions on their way: when those up to an LSN were committed. */
typedef struct TapPublishMark
{
	XLogRecPtr	lsn;
	TimestampTz commit_time;
} TapPublishMark;

#define TAP_PUBLISH_MARKS	64

typedef struct TapPublish
{
	TapPipelineRow *pipeline;
	TapConnectionRow *connection;
	TapOptions *options;
	TapPatterns *patterns;
	MemoryContext patterns_context;

	TapOpenSession *session;
	const TapSinkCallbacks *sink;
	bool		target_holds;	/* the target keeps the position */

	List	   *tables;			/* of TapPublishTable *, dropped ones not */
	MemoryContext tables_context;	/* replaced with each reading */
	bool		look_again;		/* one may have been altered or dropped */
	bool		look_later;		/* the same, but most likely not */
	TimestampTz looked_at;

	TapDecoder *decoder;		/* NULL while tables are copied */
	List	   *unknown;		/* of Oid: tables that match the patterns, met
								 * in the log; in context */
	List	   *looked_for;		/* of Oid: those that were, without copies; in
								 * context */

	/*
	 * LSNs.  What was committed before resume has been given to the sink, or
	 * is none of ours: decoding (again) begins there.  written, durable and
	 * stored are positions of transactions, so that stored is never more than
	 * what a target that keeps its own position has.
	 */
	XLogRecPtr	resume;
	XLogRecPtr	written;		/* behind the last transaction given to it */
	XLogRecPtr	durable;		/* behind the last one it has for good */
	XLogRecPtr	stored;			/* in tapdata.position */
	XLogRecPtr	confirmed;		/* the slot was let go so far */
	TimestampTz stored_at;
	TimestampTz confirmed_at;
	TimestampTz reported_at;
	bool		reported_behind;
	TimestampTz idled_at;
	TimestampTz commit_time;	/* of the newest durable transaction */
	TapPublishMark marks[TAP_PUBLISH_MARKS];	/* oldest first */
	int			nmarks;
	bool		caught_up;		/* all of WAL was read at the last turn */

	bool		writing;		/* in sink->write() */
	TapDecoded	entry;			/* what is being delivered */

	Size		batch_bytes;	/* option of that name */
	bool		copy;			/* option snapshot is "initial" */

	MemoryContext context;		/* lives as long as the worker */
	MemoryContext entry_context;	/* reset before each entry */
	MemoryContext flush_context;	/* reset before each flush */
} TapPublish;

/* ---- publish.c ---- */

/* Stop and start decoding, at publish->resume; the buffer must be empty. */
extern void tap_publish_start_decoding(TapPublish *publish);
extern void tap_publish_stop_decoding(TapPublish *publish);

/*
 * Raise the error that only copying everything again helps; reason is a whole
 * sentence.
 */
extern void tap_publish_report_lost(const TapPublish *publish, const char *reason);

/* ---- publish_tables.c ---- */

/* Read the pipeline's patterns, again. */
extern void tap_publish_patterns_load(TapPublish *publish);

/*
 * Read the pipeline's tables again and check each.  Stops decoding when they
 * are others than before.
 */
extern void tap_publish_tables_load(TapPublish *publish);

/* Have look_again set when a table is altered or dropped. */
extern void tap_publish_tables_watch(TapPublish *publish);

/*
 * Between two transactions: see to tables that were added, removed, altered or
 * dropped.
 */
extern void tap_publish_tables_follow(TapPublish *publish);

/* The name of a table that is there; false when it is gone. */
extern bool tap_publish_current_name(Oid relid, TapTableName *name);

/* See TapDecoderArgs.untold. */
extern void tap_publish_untold(void *arg, const TapDecodeTable *table,
							   const char *message);

/* See TapDecoderArgs.unknown_table; arg is the TapPublish. */
extern bool tap_publish_unknown_table(void *arg, Oid relid, const char *schema,
									  const char *name);

/* ---- publish_gone.c ---- */

/*
 * Look at a row's table as it is now.  False when it is not to be decoded any
 * more.  *gone_lsn is that of TapPublishTable.  Within a transaction.
 */
extern bool tap_publish_check_row(TapPublish *publish, TapTableRow *row, XLogRecPtr *gone_lsn);

/* Whether tap_publish_tables_follow() has something to do. */
extern bool tap_publish_tables_waiting(const TapPublish *publish);

/*
 * Tables that are gone, and had the names of takers (List of Oid), have no
 * changes behind publish->resume.
 */
extern void tap_publish_give_up_names(TapPublish *publish, List *takers);

/*
 * Of tables that are gone, or have another name, take leave of those whose
 * changes are sent; false: there is none.
 */
extern bool tap_publish_let_go_of_gone(TapPublish *publish);

/* ---- publish_copy.c ---- */

/* Whether some table has to be copied before its changes can be published. */
extern bool tap_publish_copy_needed(const TapPublish *publish);

/*
 * Copy them and set publish->resume.  first: the pipeline begins, with a slot
 * of its own made here; else the others stream, everything that was written
 * is durable, and decoding has been stopped.
 */
extern void tap_publish_copy(TapPublish *publish, bool first);

/* ---- publish_deliver.c ---- */

/* Give all that is buffered to the sink. */
extern void tap_publish_deliver(TapPublish *publish);

/* See TapSinkCallbacks.flush; notes what is durable. */
extern void tap_publish_flush(TapPublish *publish, bool wait, bool idle);

/* Wait until everything that was written is durable. */
extern void tap_publish_drain(TapPublish *publish);

/* ---- publish_format.c ---- */

/*
 * The sink's view of a format of the table: told to it now unless it knows it
 * already.  previous: the one before, NULL: the newest that it knows.
 */
extern TapPublishFormat *tap_publish_prepare(TapPublish *publish, TapPublishTable *table,
											 const TapSourceTable *source,
											 TapPublishFormat *previous);

/* ---- publish_position.c ---- */

/* Raise an error unless the pipeline's slot is there and has its WAL. */
extern void tap_publish_check_slot(const TapPublish *publish);

/*
 * Where the pipeline stands, by what target and hub remember.  target is what
 * the sink's start() said.  Returns false when it has to begin with a copy.
 */
extern bool tap_publish_position_find(TapPublish *publish, XLogRecPtr target);

/* The stored position is now this one; within a transaction. */
extern void tap_publish_position_write(TapPublish *publish, XLogRecPtr lsn);

/* A transaction is about to be given to the sink. */
extern void tap_publish_position_begun(TapPublish *publish, const TapOutTxn *txn);

/*
 * Store, confirm and report what became durable, as far as it is time for
 * that.  Call it before any wait, too: then it is seen that we are behind.
 */
extern void tap_publish_position_moved(TapPublish *publish);

/* How long until the former has something to do; -1: nothing. */
extern long tap_publish_position_due_ms(const TapPublish *publish);

/*
 * Whether all that was read is durable at the target, or none of ours, also
 * when one looks at the tables again.
 */
extern bool tap_publish_is_drained(const TapPublish *publish);

/* ---- publish_dead_letters.c ---- */

/* Whether refused changes are kept, rather than errors. */
extern bool tap_publish_keeps_dead_letters;

/* Call once, before the first; keep: what the option on_error says. */
extern void tap_publish_start_dead_letters(const TapPublish *worker, bool keep);

/* Whether some wait to be stored. */
extern bool tap_publish_has_dead_letters(void);

/*
 * Store those that wait, in the current transaction; forget them only when
 * it has committed.
 */
extern void tap_publish_store_dead_letters(void);
extern void tap_publish_forget_dead_letters(void);

/* The same in a transaction of its own. */
extern void tap_publish_settle_dead_letters(void);

#endif							/* TAPDATA_PUBLISH_PRIVATE_H */
