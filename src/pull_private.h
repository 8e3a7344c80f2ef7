/*-------------------------------------------------------------------------
 *
 * src/pull_private.h
 *	  What the files of the pull worker share.
 *
 * pull.c			the state machine of a stream, and the main function
 * pull_start.c		before it: options, the first copy, the stream's start
 * pull_batch.c		hub transactions: many source transactions share one
 * pull_tables.c	which tables the stream carries, and how far each is
 * pull_schema.c	schema changes of the source
 * pull_careful.c	changes one by one, to find those that cannot be stored
 * pull_moved.c		tables that have to be copied again for rows that moved
 * pull_sync.c		tables that join a running stream
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PULL_PRIVATE_H
#define TAPDATA_PULL_PRIVATE_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "apply.h"
#include "catalog.h"
#include "connector_loader.h"
#include "mapping.h"
#include "shmem.h"

/* What a stream is in the middle of. */
typedef enum TapPullState
{
	TAP_PULL_IDLE,				/* no hub transaction */
	TAP_PULL_BATCH,				/* hub transaction holds whole source
								 * transactions */
	TAP_PULL_TXN				/* in the middle of a source transaction */
} TapPullState;

#define TAP_PULL_NSTATES	(TAP_PULL_TXN + 1)

/* What the option "ddl" says. */
typedef enum TapPullDdl
{
	TAP_PULL_DDL_APPLY,
	TAP_PULL_DDL_IGNORE,
	TAP_PULL_DDL_STOP
} TapPullDdl;

typedef struct TapPullCompare TapPullCompare;

/* One table of the pipeline, as the stream sees it. */
typedef struct TapPullTable
{
	TapTableRow row;			/* strings in row_context, or TapPull.context */
	char	   *label;			/* "schema.name" of the source */
	MemoryContext row_context;	/* holds both; deleted with each reading */
	bool		carried;		/* changes of it are ours to apply */
	bool		covered;		/* the source transaction under way is in the
								 * table's copy already */
	TapSourceTable *source;		/* its format now; NULL: not yet seen */
	MemoryContext format_context;	/* holds source; deleted with each format */
	TapTarget  *target;			/* NULL: not open */
	TapMoved   *moved;			/* while it catches up; may be NULL */
	TapTableShared *shared;		/* counters, may be NULL */
	TimestampTz sync_started_at;	/* its last sync worker; 0: none */
	TimestampTz sync_ended_at;	/* 0: none has ended since the table streamed */
} TapPullTable;

/* A stream: the pipeline's own, or that of one table that joins it later. */
typedef struct TapPull
{
	TapPipelineRow *pipeline;
	TapConnectionRow *connection;
	TapOptions *options;
	TapPatterns *patterns;
	bool		only_streams;	/* the source has no snapshot */
	bool		is_sync;		/* carries one table, and stores no position
								 * of the pipeline */
	int32		sync_table;

	TapOpenSession *session;	/* streams */
	const TapSourceCallbacks *source;
	TapApply   *apply;

	List	   *tables;			/* of TapPullTable * */
	List	   *taken;			/* of char *: tables that match, but whose
								 * place in the hub is taken */
	List	   *unknown;		/* of char *: tables that match and are not
								 * ours yet, met in the log */
	List	   *refused;		/* of char *: those among them that could not
								 * be taken up when last looked for */
	TimestampTz refused_at;		/* when that was */
	bool		refused_again;	/* some of them were met since */
	bool		joining;		/* some carried table is not streaming yet */

	TapPullState state;
	bool		behind;			/* at its last stop the stream had not come to
								 * the end of the source's log */
	char	   *position;		/* start, or behind what is committed in the
								 * hub */
	TimestampTz batch_started;
	Size		batch_bytes;
	int			batch_transactions;
	TimestampTz commit_time;	/* the source's, of the newest transaction */
	TimestampTz position_stored_at;
	bool		position_moved; /* since it was stored */
	char	   *unacknowledged; /* stored, but the source was not told; or
								 * NULL */
	XLogRecPtr	unacknowledged_lsn; /* the hub's, to be flushed before */

	TapPullCompare *compare;	/* a table's whole content is on its way */

	/* after an error of data under on_error = dead_letter */
	bool		careful;
	int			careful_rejects;

	/* options, read once */
	long		batch_ms;
	Size		batch_max_bytes;
	TapPullDdl	ddl;
	bool		ddl_drop;
	bool		dead_letters;

	List	   *helpers;		/* of TapHelper *: sync workers we started */
	bool		sync_pending;	/* a table waits for its sync worker to start */
	bool		forget_pending; /* tables that joined may have left something
								 * behind at the source */
	bool		staged_kept;	/* there may be some, for tables that join */

	MemoryContext context;		/* lives as long as the worker */
	MemoryContext batch_context;	/* reset after each hub transaction */
	MemoryContext event_context;	/* reset before each event */
} TapPull;

/* ---- pull_start.c ---- */

/* Read rows and options, open the apply engine; no session yet. */
extern TapPull *tap_pull_create(int32 pipeline, int32 sync_table);

/* Open or reopen the streaming session at pull->position. */
extern void tap_pull_start_stream(TapPull *pull);

/*
 * Right behind the stream's start: tables that have joined it with a copy of a
 * history that the source has left are to be copied again.
 */
extern void tap_pull_check_copies(TapPull *pull);

/*
 * Copy all tables, and let them join the stream, which begins where the first
 * copy did.
 */
extern void tap_pull_first_copy(TapPull *pull);

/* A new session for questions; the caller closes it. */
extern TapOpenSession *tap_pull_ask(TapPull *pull);

/* The source's position now, in pull->context. */
extern char *tap_pull_source_position(TapPull *pull);

/* ---- pull.c ---- */

/*
 * Handle events until there is nothing to read; true when at least one was
 * handled.
 */
extern bool tap_pull_drain(TapPull *pull);

/* Wait for more of the stream, or for a wake-up. */
extern void tap_pull_wait(TapPull *pull, long timeout_ms);

/* Apply one TAP_EVENT_CHANGE and count it. */
extern void tap_pull_change(TapPull *pull, const TapEvent *event);

/* ---- pull_batch.c ---- */

/* Begin a hub transaction if there is none. */
extern void tap_pull_batch_begin(TapPull *pull);

/* Whether the batch has to be committed now, though more is there to read. */
extern bool tap_pull_batch_full(TapPull *pull);

/* Commit the hub transaction with the position; tell those who wait. */
extern void tap_pull_batch_commit(TapPull *pull);

/* Give up the hub transaction after an error. */
extern void tap_pull_batch_abort(TapPull *pull);

/*
 * Without a hub transaction: the position moved over transactions that touch
 * nothing of ours.  Stored at most every few seconds, and when force is set.
 */
extern void tap_pull_position_moved(TapPull *pull, bool force);

/*
 * Tell the source up to where the hub has everything for good, once that is
 * flushed.  Only stored positions are told: the next start needs the log from
 * there on.
 */
extern void tap_pull_acknowledge(TapPull *pull);

/* ---- pull_tables.c ---- */

/* Read pipeline_table again; must be called between source transactions. */
extern void tap_pull_tables_load(TapPull *pull);

/* See TapStreamArgs.fresh; in pull->context. */
extern List *tap_pull_tables_fresh(TapPull *pull);

/* The stream has begun with them: they stream, from its position. */
extern void tap_pull_tables_begin_fresh(TapPull *pull);

/* See TapStreamArgs.table_followed; core_data is the TapPull. */
extern void *tap_pull_table_followed(void *core_data, const TapTableName *name,
									 bool created, const char **definition);

/* See TapStreamArgs.tables_followed. */
extern List *tap_pull_tables_followed(void *core_data);

/* Open the target of a table in its newest format. */
extern TapTarget *tap_pull_table_target(TapPull *pull, TapPullTable *table,
										TapSourceTable *source);

/* Take over a format: the copy of source lives in the table. */
extern void tap_pull_table_set_format(TapPull *pull, TapPullTable *table,
									  const TapSourceTable *source);

/*
 * The source has sent all of the table in the transaction under way: when that
 * is stored, what the table's copy covers is of no matter any more, and may be
 * of a history that the source has left.
 */
extern void tap_pull_table_is_whole(TapPullTable *table);

/* Note which joining tables already hold the transaction that begins. */
extern void tap_pull_tables_txn_begins(TapPull *pull);

/* Let tables whose catch-up is over stream; needs no hub transaction. */
extern void tap_pull_tables_joined(TapPull *pull);

/* Whether position a is covered by b. */
extern bool tap_pull_covered(const TapSourceCallbacks *source, const char *a,
							 const char *b);

/* Add the row of a table whose creation is in the log, with its hub table. */
extern void tap_pull_table_created(TapPull *pull, TapPullTable *table,
								   const TapSourceTable *source);

/* ---- pull_unknown.c ---- */

/*
 * A table that matches was met, and is not the pipeline's: it is looked for at
 * the source between transactions; at most once in a while, if it was looked
 * for in vain.
 */
extern void tap_pull_unknown_met(TapPull *pull, const TapTableName *name);

/* Whether there are tables to be looked for now. */
extern bool tap_pull_unknown_any(const TapPull *pull);

/*
 * Add such tables and start their copies.  The stream has to stand between two
 * transactions.
 */
extern void tap_pull_unknown_take(TapPull *pull);

/* In how many milliseconds to look again for those not found; -1: not at all. */
extern long tap_pull_unknown_due(const TapPull *pull);

/* ---- pull_schema.c ---- */

/* Handle TAP_EVENT_SCHEMA inside of the hub transaction. */
extern void tap_pull_schema(TapPull *pull, const TapEvent *event);

/* ---- pull_careful.c ---- */

/*
 * Apply a change in a subtransaction; what cannot be stored becomes a dead
 * letter.
 */
extern void tap_pull_change_carefully(TapPull *pull, const TapEvent *event);

/*
 * stream_next(), but an event that cannot be decoded becomes a dead letter
 * and the next one is returned.
 */
extern TapEventKind tap_pull_next_carefully(TapPull *pull, TapEvent *event);

/* ---- pull_compare.c ---- */

/* Handle TAP_EVENT_COMPARE_BEGIN, _END and _GIVEN_UP. */
extern void tap_pull_compare_begin(TapPull *pull, const TapEvent *event);
extern void tap_pull_compare_end(TapPull *pull, const TapEvent *event);
extern void tap_pull_compare_give_up(TapPull *pull, const TapEvent *event);

/* Whether the change is part of such a content; it is kept then. */
extern bool tap_pull_compare_takes(TapPull *pull, const TapEvent *event);

/*
 * Around a change of the table's format within its content: the first is true
 * if there is such a content, and the second is to be called then.  Between
 * them nothing is applied.
 */
extern bool tap_pull_compare_pause(TapPull *pull, const TapPullTable *table);
extern void tap_pull_compare_resume(TapPull *pull);

/* The hub transaction was aborted. */
extern void tap_pull_compare_abort(TapPull *pull);

/* ---- pull_moved.c ---- */

/*
 * Compare what is known with what the catalog says, whenever the row of the
 * table was read; no hub transaction must be open that has changed the table.
 */
extern void tap_pull_moved_loaded(TapPull *pull, TapPullTable *table);

/* The target of the table was opened: have it track its rows. */
extern void tap_pull_moved_track(TapPull *pull, TapPullTable *table);

/* The table has another format, by which no key is known any more. */
extern void tap_pull_moved_altered(TapPullTable *table);

/* The table was emptied, or its whole content sent. */
extern void tap_pull_moved_forget(TapPullTable *table);

/* In the transaction that stores the position. */
extern void tap_pull_moved_write(TapPull *pull);

/* The hub transaction was aborted. */
extern void tap_pull_moved_abort(TapPull *pull);

/* Whether the table has to be copied again, if this is the end of its catch-up. */
extern bool tap_pull_moved_lost(const TapPullTable *table);

/* The catch-up is over: what comes now is no concern any more. */
extern void tap_pull_moved_settle(TapPullTable *table);

/* What is said for why when tap_pull_moved_lost(). */
#define TAP_PULL_MOVED_WHY \
	"rows got another key while the table was copied, and the source did not send all of their values"

/* ---- pull_sync.c ---- */

/* Start sync workers for the tables that need one; notice those that ended. */
extern void tap_pull_sync_start(TapPull *pull);

/* In a sync worker: whether the stream has passed the end of the catch-up. */
extern bool tap_pull_sync_caught_up(const TapPull *pull);

/* Whether some table has yet to be copied and to join the stream. */
extern bool tap_pull_sync_needed(const TapPull *pull);

/* Whether a sync worker has ended since tap_pull_sync_start() last looked. */
extern bool tap_pull_sync_ended(const TapPull *pull);

/* Stand still, if asked to, while sync workers hand over their tables. */
extern void tap_pull_sync_pause(TapPull *pull);

#endif							/* TAPDATA_PULL_PRIVATE_H */
