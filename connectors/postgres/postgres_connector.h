/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_connector.h
 *	  What the files of the PostgreSQL connector share.
 *
 * NOTES
 *	  postgres_connector.c	options, URIs, the exported struct, open and close
 *	  postgres_connect.c	connecting; what each connection is set to
 *	  postgres_query.c		queries that are waited for, errors of the server
 *	  postgres_types.c		values in the server's binary or text format
 *	  postgres_table.c		target tables: look up, create
 *	  postgres_check.c		whether a target table can take a hub table's rows
 *	  postgres_alter.c		schema changes
 *	  postgres_progress.c	the position that the target holds, one session a
 *							pipeline
 *	  postgres_sql.c		the statements that changes are made with
 *	  postgres_batch.c		changes on their way to a statement
 *	  postgres_keys.c		where the last change of each key is in a batch
 *	  postgres_parameters.c	rows as the arrays that a statement takes
 *	  postgres_send.c		batches on their way, in libpq's pipeline mode
 *	  postgres_careful.c	finds the rows that the target refuses
 *	  postgres_copy.c		the first copy, by COPY
 *	  postgres_sink.c		the sink's callbacks
 *	  postgres_test.c		the checks of test_connection()
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_POSTGRES_CONNECTOR_H
#define TAP_POSTGRES_CONNECTOR_H

#include "connector.h"

#include "fmgr.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"

#include <libpq-fe.h>

/* What the core offers; set by tap_connector_init(). */
extern const TapCore *tap_pg_core;

/* What the other side is to us, for messages: "target" or "source". */
extern const char *tap_pg_peer;

typedef struct TapPgSink TapPgSink;
typedef struct TapPgStream TapPgStream;

struct TapSession
{
	TapSessionArgs args;
	PGconn	   *conn;
	int			version;		/* PQserverVersion() */
	bool		replication;	/* conn speaks the replication protocol, too */
	TapPgSink  *sink;			/* NULL before start() */
	TapPgStream *stream;		/* NULL before stream_start() */
	bool		in_hub_txn;		/* types are looked up within the core's
								 * transaction */
	List	   *told_types;		/* char *, what was said of types */

	/*
	 * Called now and then while no answer comes, instead of the limit by the
	 * option read_timeout; may raise an error.  NULL: there is that limit.
	 */
	void		(*while_waiting) (TapSession *session);
	char	   *told_transaction;	/* what was said to be waited for, or NULL */
};

/* ---- postgres_connector.c ---- */

extern TapSession *tap_pg_open(const TapSessionArgs *args);
extern void tap_pg_close(TapSession *session);

/*
 * An option of the pipeline; its default also without a pipeline.  Lives as
 * long as the options.
 */
extern const char *tap_pg_option(const TapSession *session, const char *name,
								 const char *without);

/* ---- postgres_connect.c ---- */

/*
 * Connect to the first host that answers and is what target_session_attrs
 * asks for; the last one's error is raised.  Begins and commits a
 * transaction of its own where there is none.
 */
extern PGconn *tap_pg_connect(TapSession *session);

/* ---- postgres_query.c ---- */

/* A result, all values as text; in the context that was current. */
typedef struct TapPgRows
{
	int			nrows;
	int			ncolumns;
	int64		affected;		/* rows, as the command's tag says */
	char	  **values;			/* [nrows * ncolumns]; NULL is SQL's */
} TapPgRows;

/*
 * Run one or more statements and wait for them by the core; the last one's
 * rows.  Not in pipeline mode.  doing completes "could not ..." in the
 * message of an error.
 */
extern TapPgRows *tap_pg_query(TapSession *session, const char *doing,
							   const char *sql,...) pg_attribute_printf(3, 4);

/* The same without an error: NULL, and *error is set in the current context. */
typedef struct TapPgError
{
	int			sqlstate;		/* the server's, or 08006 */
	char	   *message;
	char	   *detail;			/* the others: NULL when not there */
	char	   *hint;
	char	   *schema;
	char	   *table;
	char	   *column;
	char	   *constraint;
	char	   *context;
} TapPgError;

extern TapPgRows *tap_pg_try_query(TapSession *session, TapPgError **error,
								   const char *sql,...) pg_attribute_printf(3, 4);

/* Value of a row and column, from 0; NULL: it is null.  08P01: there is none. */
static inline char *
tap_pg_value(const TapPgRows *rows, int row, int column)
{
	if (row >= rows->nrows || column >= rows->ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the %s answered in another form than it was asked for", tap_pg_peer)));
	return rows->values[row * rows->ncolumns + column];
}

/* The same for what is never null: 08P01, too. */
static inline char *
tap_pg_needed(const TapPgRows *rows, int row, int column)
{
	char	   *value = tap_pg_value(rows, row, column);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the %s sent NULL where a value is needed", tap_pg_peer)));
	return value;
}

static inline bool
tap_pg_is_true(const TapPgRows *rows, int row, int column)
{
	char	   *value = tap_pg_value(rows, row, column);

	return value != NULL && value[0] == 't';
}

/* What a result, or a lost connection (NULL), says; in the current context. */
extern TapPgError *tap_pg_error(PGconn *conn, const PGresult *result);

/*
 * Raise it.  table names the hub table, may be NULL; hint is ours, NULL: one
 * that fits the SQLSTATE.
 */
extern void tap_pg_raise(const TapPgError *error, const char *doing,
						 const char *table, const char *hint) __attribute__((noreturn));

/* Whether the target refuses the data, and would again. */
extern bool tap_pg_is_data_error(const TapPgError *error);

/*
 * Send what libpq holds and wait until something came, or, with sending,
 * until all is sent.  Raises an error when the connection is lost.
 */
extern void tap_pg_wait(TapSession *session, const char *doing);

/*
 * Wait for a socket of the session's connection, or one that stands for
 * several.  Of a source that sends nothing for as long as the option
 * read_timeout says: 08006, unless while_waiting() looks after it.
 */
extern void tap_pg_wait_socket(TapSession *session, pgsocket socket, int events,
							   const char *doing);

/* The next result, waited for; NULL: the query is done.  To be cleared. */
extern PGresult *tap_pg_next_result(TapSession *session, const char *doing);

/* A name in double quotes, always; in the current context. */
extern char *tap_pg_quote(const char *name);

/* ---- postgres_types.c ---- */

/* How a value is written. */
typedef enum TapPgCodec
{
	TAP_PG_INT8,				/* one byte: bool, "char" */
	TAP_PG_INT16,
	TAP_PG_INT32,
	TAP_PG_INT64,
	TAP_PG_BYTES,				/* a varlena's bytes as they are */
	TAP_PG_UUID,				/* 16 bytes */
	TAP_PG_SEND,				/* by the type's binary output function */
	TAP_PG_OUTPUT				/* by its text output function */
} TapPgCodec;

/* A column that is sent. */
typedef struct TapPgColumn
{
	char	   *name;
	char	   *quoted;
	int			number;			/* in the descriptor, from 0 */
	Oid			type;			/* the hub's, domains resolved */
	TapPgCodec	codec;			/* in arrays */
	TapPgCodec	copy_codec;		/* in a binary COPY; TAP_PG_OUTPUT: cannot */
	FmgrInfo	send;			/* for TAP_PG_SEND */
	FmgrInfo	output;
	Oid			element;		/* of the arrays, the same on both sides */
	Oid			array;
	char	   *cast;			/* to this type, or NULL */
	char	   *exact;			/* the target column's type without modifier */
	char	   *equals;			/* the operator that compares keys */
} TapPgColumn;

/* What a column of the target is. */
typedef struct TapPgTargetColumn
{
	char	   *name;
	Oid			base;			/* type; a domain's base type */
	int32		typmod;			/* of the base type */
	bool		is_domain;
	char	   *cast;			/* base type's name without modifier */
	char	   *exact;			/* the same of the type itself */
	char	   *shown;			/* as format_type() prints it */
	char	   *type_schema;	/* of the base type */
	char	   *type_name;
	bool		not_null;
	bool		has_default;
	bool		always_identity;
	bool		generated;
} TapPgTargetColumn;

/*
 * Choose how a hub column's values are sent to a target column.  Results in
 * the current context.  Needs a transaction.
 */
extern void tap_pg_choose_codec(TapPgColumn *column, Form_pg_attribute attribute,
								const TapPgTargetColumn *target);

/*
 * Whether values of a hub column would lose something without an error in a
 * target column of another type; or the types are the same.
 */
extern bool tap_pg_same_type(Form_pg_attribute attribute, const TapPgTargetColumn *target);
extern bool tap_pg_loses(Form_pg_attribute attribute, const TapPgTargetColumn *target);

/* Whether equal keys of this column are the same bytes. */
extern bool tap_pg_equal_means_same(Form_pg_attribute attribute);

/* Append length and bytes, -1 for NULL, in network byte order. */
extern void tap_pg_append_value(StringInfo out, TapPgColumn *column, TapPgCodec codec,
								Datum value, bool isnull);

/* ---- postgres_table.c ---- */

typedef enum TapPgAction
{
	TAP_PG_INSERT,
	TAP_PG_UPDATE,				/* found by the key, which stays */
	TAP_PG_MOVE,				/* found by the old key, which changes */
	TAP_PG_DELETE,
	TAP_PG_UPDATE_WHOLE,		/* found by the whole old row, one row */
	TAP_PG_DELETE_WHOLE,
	TAP_PG_TRUNCATE
} TapPgAction;

typedef struct TapPgRun TapPgRun;
typedef struct TapPgTable TapPgTable;

/* A kind of statement on a table: what is done, and which columns it has. */
typedef struct TapPgShape
{
	struct TapPgShape *next;
	TapPgTable *table;
	TapPgAction action;
	bool	   *present;		/* [table->ncolumns]; NULL: all */
	bool		upsert;			/* inserts the row when it is not there */
	char		statement[32];	/* the prepared statement's name */
	bool		prepared;
	dlist_node	node;			/* in TapPgSink.prepared, if it is */
	TapPgRun   *run;			/* that takes more rows, see find_run() */
	uint64		run_epoch;
} TapPgShape;

/* Where the last change of a key is. */
typedef struct TapPgKeySlot
{
	uint32		hash;
	int32		run;			/* in the batch, from 0; -1: empty */
	int32		row;
} TapPgKeySlot;

/* A hub table in one of its formats, and its target; what prepare_table() returns. */
struct TapPgTable
{
	const TapSourceTable *source;
	char	   *shown;			/* the hub table's name */
	char	   *schema;			/* the target's */
	char	   *name;
	char	   *quoted;			/* schema.name */
	bool		missing;		/* at the target: only source and shown are
								 * set */
	bool		created;		/* in this session */
	bool		referenced;		/* by a foreign key: cannot be truncated alone */
	int			ncolumns;		/* that are sent: those of the key come first */
	TapPgColumn *columns;
	int			nkeys;
	bool		ordered;		/* changes of different rows must keep order */
	bool		binary_copy;
	TapPgShape *shapes;
	TapPgShape *insert;			/* found at once */
	TapPgShape *update;			/* of all columns */
	TapPgShape *delete;

	/* the batch that is being filled */
	uint64		epoch;			/* runs of former ones take no more rows */
	uint64		batch;			/* its number */
	TapPgRun   *last_run;
	bool		indexed;		/* keys below are kept */
	TapPgKeySlot *keys;
	uint32		nslots;			/* a power of two */
	uint32		nused;
};

/* Callback of the sink. */
extern void *tap_pg_prepare_table(TapSession *session, const TapSourceTable *table,
								  const TapSourceTable *old, void *old_data, bool known);

/* Create the target of a table that is missing, for a copy. */
extern void tap_pg_create_table(TapSession *session, TapPgTable *table);

/* What is known of a table at the target. */
typedef struct TapPgTarget
{
	char	   *schema;
	char	   *name;
	char	   *quoted;
	Oid			relid;			/* InvalidOid: not there */
	char		kind;			/* pg_class.relkind */
	bool		row_security;
	bool		triggers;		/* that fire for us */
	bool		foreign_keys;	/* that are checked for us */
	bool		referenced;
	char	  **types;			/* of the hub's columns, with their schema */
	int			ncolumns;
	TapPgTargetColumn *columns;
	bool		key_found;		/* a unique index on exactly the key */
	bool		other_unique;	/* or exclusion constraints */
} TapPgTarget;

/* Choose the target's name by the options, in the current context. */
extern void tap_pg_target_names(TapSession *session, const TapSourceTable *table,
								TapPgTarget *target);

/* Look the target of a hub table up, in the current context. */
extern TapPgTarget *tap_pg_look_up(TapSession *session, const TapSourceTable *table);

/* Find a column by its name; NULL: not there. */
extern TapPgTargetColumn *tap_pg_target_column(const TapPgTarget *target, const char *name);

/* The type to create a column with: the hub's, or text (option unknown_types). */
extern char *tap_pg_column_type(TapSession *session, const TapSourceTable *table,
								const TapPgTarget *target, int column);

/* "schema.name" for messages, in the current context. */
extern char *tap_pg_table_text(const TapTableName *name);

/* ---- postgres_check.c ---- */

/* Raise an error when what is there is no table that we can write to. */
extern void tap_pg_check_kind(const TapPgTarget *target);

/*
 * Raise an error that says what to do when the target cannot take the rows
 * of the hub table.
 */
extern void tap_pg_check_target(TapSession *session, const TapSourceTable *table,
								const TapPgTarget *target);

/* ---- postgres_alter.c ---- */

/*
 * Let the target follow the hub table's format, as the option "ddl" says; old
 * is NULL when the former one is not known.  Returns whether anything was
 * changed.
 */
extern bool tap_pg_follow_format(TapSession *session, const TapSourceTable *table,
								 const TapSourceTable *old, const TapPgTarget *target);

/* ---- postgres_progress.c ---- */

/*
 * Be the only session of the pipeline at this target, and read its position;
 * 0: none.
 */
extern uint64 tap_pg_progress_start(TapSession *session);

/* Store a position at once. */
extern void tap_pg_progress_set(TapSession *session, uint64 position);

/*
 * Mark this session's changes with a replication origin as the option
 * "origin" says.
 */
extern void tap_pg_origin_setup(TapSession *session);

/* ---- postgres_sql.c ---- */

/* The statement of a shape, in the current context. */
extern char *tap_pg_statement(const TapPgShape *shape);

/* Types of its parameters, arrays one and all; returns their number. */
extern int	tap_pg_parameter_types(const TapPgShape *shape, Oid *types);

/* Find a shape of a table, or make it. */
extern TapPgShape *tap_pg_shape(TapSession *session, TapPgTable *table, TapPgAction action,
								const bool *present, bool upsert);

/* ---- postgres_batch.c ---- */

/* A row: the columns' values one after the other, those of the key first. */
typedef struct TapPgRow
{
	Size		offset;			/* in the run's data */
	uint32		bytes;
	uint32		key_bytes;
	uint64		lsn;
	bool		dead;			/* replaced by a later change */
} TapPgRow;

/*
 * Rows that one statement changes.  The rows of UPDATE_WHOLE and of MOVE hold
 * the old row, or key, and then the new row.
 */
struct TapPgRun
{
	TapPgShape *shape;
	int			number;			/* in its batch */
	StringInfoData data;
	TapPgRow   *rows;
	int			nrows;
	int			maxrows;
	int			nlive;			/* those that are not dead */
	List	   *truncated;		/* of TapPgTable *, for TAP_PG_TRUNCATE */
};

/* Changes that are sent together. */
typedef struct TapPgBatch
{
	MemoryContext context;
	uint64		number;
	TapPgRun  **runs;
	int			nruns;
	int			maxruns;
	Size		bytes;
	bool		begins;			/* the target's transaction */
	bool		commits;
	bool		answered;
	uint64		position;		/* that it commits */
	uint64		previous;		/* that the target holds before */
	TimestampTz since;			/* when its first change came */
} TapPgBatch;

/* Length of an encoded value that was not sent by the hub. */
#define TAP_PG_ABSENT	(-2)

extern TapPgBatch *tap_pg_batch_create(TapSession *session);
extern void tap_pg_batch_free(TapPgBatch *batch);

/* Add a change to the batch that is being filled. */
extern void tap_pg_batch_add(TapSession *session, const TapOutChange *change);

/*
 * Step over an encoded value.  Returns its bytes, and their number in
 * *length, -1 for NULL, TAP_PG_ABSENT.
 */
extern const char *tap_pg_next_value(const char **position, int32 *length);

/* ---- postgres_keys.c ---- */

/* Forget all keys of a table. */
extern void tap_pg_keys_clear(TapPgTable *table);

/*
 * The slot of an encoded key; *found tells whether it was there.  One that was
 * not is to be filled by tap_pg_keys_set() at once.
 */
extern TapPgKeySlot *tap_pg_keys_look_up(TapSession *session, TapPgTable *table,
										 const char *key, uint32 key_bytes, bool *found);

/* The key's last change is this row; slots are valid until the next look-up. */
extern void tap_pg_keys_set(TapPgTable *table, TapPgKeySlot *slot,
							const TapPgRun *run, int row);

/* ---- postgres_send.c ---- */

/* What an answer of the target is to. */
typedef enum TapPgAnswerKind
{
	TAP_PG_ANSWER_PLAIN,
	TAP_PG_ANSWER_RUN,
	TAP_PG_ANSWER_PROGRESS,
	TAP_PG_ANSWER_COMMIT,
	TAP_PG_ANSWER_END			/* of the batch */
} TapPgAnswerKind;

typedef struct TapPgAnswer
{
	TapPgAnswerKind kind;
	TapPgBatch *batch;
	TapPgShape *shape;			/* of a run */
} TapPgAnswer;

/* How many batches may be on their way. */
#define TAP_PG_MAX_BATCHES	2

/* The sink's part of a session. */
struct TapPgSink
{
	MemoryContext context;
	MemoryContext value_context;	/* for output functions; reset often */
	StringInfoData scratch;
	StringInfoData old_scratch;
	StringInfoData new_scratch;
	char	   *lock_key;		/* of the advisory lock */
	char	   *progress;		/* the table, quoted */
	bool		ordered;		/* foreign keys are checked: keep the order of
								 * changes across tables */
	bool		overwrite;		/* option conflicts */
	bool		keeps_dead_letters;
	Size		batch_bytes;
	uint64		nstatements;
	bool		statements_prepared;	/* those without a table */
	dlist_head	prepared;		/* of TapPgShape, by their last use: newest
								 * first */
	int			nprepared;

	TapPgBatch *batch;			/* being filled */
	uint64		nbatches;
	bool		in_txn;			/* between begin() and commit() of the hub */
	bool		txn_open;		/* a batch without its commit was sent */
	uint64		sent_position;	/* of the last batch that commits */
	uint64		end_lsn;		/* of the last hub transaction in batch */
	uint64		durable;

	TapPgBatch *sent[TAP_PG_MAX_BATCHES];
	int			nsent;
	TapPgAnswer *answers;		/* a ring, in the order they will come */
	int			first_answer;
	int			nanswers;
	int			maxanswers;

	/* the first error among what was sent */
	TapPgError *error;
	TapPgAnswer failed;

	TapPgTable *copying;		/* NULL: no copy is under way */
	char	   *copy_into;		/* quoted name */
	bool		copy_merges;
	StringInfoData copy_data;
};

/* Send the batch that is being filled; fewer than TAP_PG_MAX_BATCHES are on their way. */
extern void tap_pg_send_batch(TapSession *session);

/* Take what the target has answered, without waiting. */
extern void tap_pg_receive(TapSession *session);

/* Wait until no more than so many batches are on their way. */
extern void tap_pg_wait_batches(TapSession *session, int nsent);

/* Leave pipeline mode, with nothing on its way, for tap_pg_query(). */
extern void tap_pg_leave_pipeline(TapSession *session);

/* Raise the error that a batch ended with, in the words of its statement. */
extern void tap_pg_raise_answer(TapSession *session, const TapPgError *error,
								const TapPgAnswer *answer) __attribute__((noreturn));

/* Parameters of a statement: arrays of the live rows from first to before last. */
typedef struct TapPgParameters
{
	int			count;
	StringInfoData *data;
	const char **values;
	int		   *lengths;
	int		   *formats;
} TapPgParameters;

extern TapPgParameters *tap_pg_parameters(const TapPgRun *run, int first, int last,
										  bool must_find);

/* The statement that empties the tables of a run. */
extern char *tap_pg_truncate_statement(const TapPgRun *run);

/*
 * Deallocate all prepared statements, when it is not known which the server
 * has; not in pipeline mode.
 */
extern void tap_pg_forget_statements(TapSession *session);

/* ---- postgres_careful.c ---- */

/*
 * Make the changes of all batches that were sent, the first of which failed
 * with an error of data, run by run; what the target refuses becomes dead
 * letters.
 */
extern void tap_pg_send_carefully(TapSession *session);

/* ---- postgres_copy.c ---- */

extern void tap_pg_copy_begin(TapSession *session, const TapSourceTable *table,
							  void *table_data, bool again);
extern void tap_pg_copy_end(TapSession *session, const TapSourceTable *table,
							void *table_data);

/* Take one row of a copy; true asks for a flush. */
extern bool tap_pg_copy_row(TapSession *session, const TapOutChange *change);

/* Send what was taken; wait: until all of it is sent. */
extern void tap_pg_copy_send(TapSession *session, bool wait);

/* ---- postgres_sink.c, postgres_test.c ---- */

extern const TapSinkCallbacks tap_pg_sink_callbacks;

extern List *tap_pg_test(const TapSessionArgs *args, List *tables);

#endif							/* TAP_POSTGRES_CONNECTOR_H */
