/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink.h
 *	  What the files of the sink share.
 *
 * NOTES
 *	  mysql_sink.c		the callbacks: transactions, copies, flushes
 *	  mysql_sink_progress.c	the position at the target, and who may move it
 *	  mysql_sink_table.c	target tables: created and checked
 *	  mysql_sink_alter.c	target tables: changes of the hub's
 *	  mysql_sink_types.c	types of the hub as types of MySQL
 *	  mysql_sink_column.c	how values of a column are written
 *	  mysql_sink_value.c	values as SQL literals or as fields of LOAD DATA
 *	  mysql_sink_row.c	changes as rows, keys and assignments
 *	  mysql_sink_batch.c	changes collected to statements
 *	  mysql_sink_send.c	packets of statements and their answers
 *	  mysql_sink_careful.c	a batch that was refused, change by change
 *	  mysql_sink_load.c	LOAD DATA LOCAL from memory
 *	  mysql_sink_test.c	the checks of a target
 *
 *	  Changes are collected in a batch while the one before it is being
 *	  executed at the target.  A batch is sent as one packet of many statements
 *	  (more where max_allowed_packet demands it), whose answers are read when
 *	  they come:
 *
 *		START TRANSACTION; progress row; changes of whole hub transactions;
 *		COMMIT
 *
 *	  The server stops at the first error, so that COMMIT is reached only when
 *	  all went well.  A hub transaction that is larger than a batch goes as
 *	  several into one target transaction, with a savepoint before each but the
 *	  first.  When the data of a batch is refused it is rolled back and done
 *	  once more, change by change, so that the culprit is known.
 *
 *	  The progress row is the first that a target transaction of ours changes:
 *	  a pull of the same server knows our transactions by it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_MYSQL_SINK_H
#define TAP_MYSQL_SINK_H

#include "mysql_connector.h"

#include "fmgr.h"

/* Begin of each packet that START TRANSACTION and the progress row go into. */
#define TAP_MYSQL_PREFIX_BYTES	1024

/* How a value is written; chosen by the types on both sides. */
typedef enum TapMysqlEncode
{
	TAP_MYSQL_ENCODE_BOOL,
	TAP_MYSQL_ENCODE_INT2,
	TAP_MYSQL_ENCODE_INT4,
	TAP_MYSQL_ENCODE_INT8,
	TAP_MYSQL_ENCODE_OID,
	TAP_MYSQL_ENCODE_FLOAT4,
	TAP_MYSQL_ENCODE_FLOAT8,
	TAP_MYSQL_ENCODE_NUMERIC,
	TAP_MYSQL_ENCODE_TEXT,		/* a varlena that holds text */
	TAP_MYSQL_ENCODE_BYTES,
	TAP_MYSQL_ENCODE_GEOMETRY,	/* EWKB, as the pull makes it */
	TAP_MYSQL_ENCODE_VECTOR,	/* float4[] */
	TAP_MYSQL_ENCODE_BIT,		/* to BIT */
	TAP_MYSQL_ENCODE_DATE,
	TAP_MYSQL_ENCODE_TIMESTAMP, /* with time zone, too: UTC */
	TAP_MYSQL_ENCODE_TIME,
	TAP_MYSQL_ENCODE_INTERVAL,	/* to TIME */
	TAP_MYSQL_ENCODE_JSON_ARRAY,	/* an array as JSON */
	TAP_MYSQL_ENCODE_SET,		/* text[] to SET */
	TAP_MYSQL_ENCODE_OUTPUT		/* the type's own text */
} TapMysqlEncode;

/* One published column and its column at the target. */
typedef struct TapMysqlSinkColumn
{
	char	   *name;
	char	   *quoted;			/* `name`, in UTF-8 */
	Oid			type;			/* the hub's; of a domain its base type */
	int32		typmod;
	bool		is_array;
	bool		is_enum;
	TapMysqlEncode encode;
	FmgrInfo	output;			/* the type's output function */
	bool		json_numbers;	/* numbers must survive MySQL's own JSON */
	bool		not_written;	/* computed at the target, or left out there */
	bool		strips_spaces;	/* CHAR(n) loses spaces at the end */
	bool		single_float;	/* FLOAT at the target */
	int			max_chars;		/* 0: no limit that matters */
	int			exact_bytes;	/* BINARY(n); 0: any length */
	int			precision;		/* of DECIMAL; 0: not a DECIMAL */
	int			scale;			/* of DECIMAL; digits of seconds for times */
	bool		is_timestamp;	/* TIMESTAMP, with its narrow range */
	bool		inexact;		/* text whose collation takes unequal for
								 * equal */
	bool		as_bytes;		/* LOAD DATA reads it in hexadecimal */
	bool		as_bits;		/* LOAD DATA reads it as a number */
	bool		is_json;		/* to be compared as JSON */
} TapMysqlSinkColumn;

/* What prepare_table() returns: a hub table and its target. */
typedef struct TapMysqlSinkTable
{
	TapTableName hub;
	TapTableName target;
	char	   *quoted;			/* `schema`.`table` of the target; these and
								 * the statements below are in UTF-8 when
								 * prepare_table() has returned */
	char	   *label;			/* schema.table of the target, for messages */
	int			ncolumns;
	TapMysqlSinkColumn *columns;
	int			nkeys;			/* 0: rows are found by all of their columns */
	int		   *keys;			/* in columns */
	bool	   *is_key;			/* by column */
	bool		in_order;		/* each change is a statement of its own */
	bool		upserts;		/* updates may be INSERT ... ON DUPLICATE KEY */
	char	   *insert_head;	/* INSERT INTO t (a, b) VALUES */
	char	   *upsert_tail;	/* ON DUPLICATE KEY UPDATE a = VALUES(a) */
	char	   *key_columns;	/* `k`, or (`k1`, `k2`) */
	char	   *load_head;		/* LOAD DATA ... */

	/* the open group, whose changes are numbers; see mysql_sink_batch.c */
	struct TapMysqlSinkBatch *batch;	/* that it is in, or NULL */
	uint64		group;			/* its number in the session */
	int			ninserts;
	int			nupserts;
	int			nupdates;
	int			ndeletes;
	int			room;			/* of each of the four */
	int		   *inserts;
	int		   *upserts_list;
	int		   *updates;
	int		   *deletes;
} TapMysqlSinkTable;

typedef enum TapMysqlSinkOp
{
	TAP_MYSQL_OP_INSERT,
	TAP_MYSQL_OP_MERGE,			/* an insert over a row that may be there */
	TAP_MYSQL_OP_UPSERT,		/* an update with all columns, the key as it
								 * was */
	TAP_MYSQL_OP_UPDATE,		/* of some columns, or of the key */
	TAP_MYSQL_OP_DELETE,
	TAP_MYSQL_OP_TRUNCATE
} TapMysqlSinkOp;

/*
 * One change; texts are offsets in the batch's arena.  row is (1,'a') for
 * INSERT, MERGE and UPSERT, and `a`=1,`b`='x' for UPDATE.  key is 1 or (1,'a'), or a
 * whole condition for tables whose changes are in_order.
 */
typedef struct TapMysqlSinkChange
{
	TapMysqlSinkTable *table;
	TapMysqlSinkOp op;
	bool		whole;			/* UPDATE has all columns */
	bool		merges;			/* INSERT may replace a row that is there */
	Size		row;
	Size		row_length;
	Size		key;
	Size		key_length;
	uint64		lsn;
} TapMysqlSinkChange;

typedef enum TapMysqlStatementKind
{
	TAP_MYSQL_SINK_CONTROL,		/* START TRANSACTION and so on */
	TAP_MYSQL_SINK_PROGRESS,	/* must change one row */
	TAP_MYSQL_SINK_CHANGE,		/* changes of rows */
	TAP_MYSQL_SINK_UPSERT,		/* should find all of its rows */
	TAP_MYSQL_SINK_UPDATE,		/* must find its row */
	TAP_MYSQL_SINK_DELETE		/* should find all of its rows */
} TapMysqlStatementKind;

/* A statement of a batch, in the order in which they are answered. */
typedef struct TapMysqlSinkStatement
{
	TapMysqlStatementKind kind;
	TapMysqlSinkTable *table;	/* or NULL */
	int			rows;			/* that a DELETE should find */
} TapMysqlSinkStatement;

/* What is sent in one piece: bytes of the batch's sql, and their answers. */
typedef struct TapMysqlSinkPacket
{
	Size		start;
	Size		end;
	int			nstatements;
} TapMysqlSinkPacket;

struct TapMysqlKeys_hash;

/* Changes on their way; a buffer that is used again and again. */
typedef struct TapMysqlSinkBatch
{
	MemoryContext context;		/* of its texts, which grow with the need */
	StringInfoData arena;		/* rows and keys */
	StringInfoData sql;			/* statements */
	int			nchanges;
	int			changes_size;
	TapMysqlSinkChange *changes;
	int			nstatements;
	int			statements_size;
	TapMysqlSinkStatement *statements;
	int			npackets;
	int			packets_size;
	TapMysqlSinkPacket *packets;
	struct TapMysqlKeys_hash *keys; /* which change has which key, for open
									 * groups */
	List	   *tables;			/* with changes in an open group */
	TapMysqlSinkTable *last_table;	/* of the last change */

	bool		used;			/* something was put into it */
	bool		first;			/* it begins a target transaction */
	bool		commits;		/* it ends one */
	bool		copies;			/* rows of a copy: has no position */
	bool		has_letters;	/* changes were left out, as dead letters */
	uint64		from;			/* what the progress row has before it */
	uint64		lsn;			/* position when it is committed */
	uint64		known_lsn;		/* of the last change, for messages */
	TimestampTz since;			/* its first change came */

	int			next_packet;	/* being answered */
	int			next_statement; /* being answered, in the batch */
	int			next_in_packet;
	int			retries;		/* after deadlocks */
} TapMysqlSinkBatch;

/* What a session keeps as a sink. */
typedef struct TapMysqlSink
{
	TapSession *session;
	MYSQL	   *mysql;
	MemoryContext context;		/* as long as the session */
	MemoryContext value_context;	/* of one change */
	StringInfoData row;			/* of one change, before it is accepted */
	StringInfoData key;
	StringInfoData scratch;

	/* options */
	bool		stops_at_ddl;
	bool		applies_ddl;
	bool		keeps_existing; /* what a target table holds is merged with */
	bool		empties_existing;
	bool		overwrites;		/* the hub wins where rows are missing or
								 * there */
	bool		checks_foreign_keys;
	bool		lower_case;		/* the server folds names of tables */
	bool		may_load;		/* LOAD DATA LOCAL is permitted */
	Size		batch_bytes;
	Size		packet_bytes;	/* largest packet that is sent */
	long		batch_ms;

	/* progress */
	char	   *progress_table; /* quoted */
	char	   *identity;		/* a literal */
	uint64		position;		/* of the progress row behind what was sealed */
	uint64		durable;		/* returned by flush(); 0: none yet */

	/* what is under way */
	TapMysqlSinkBatch batches[2];
	TapMysqlSinkBatch *filling; /* takes changes */
	TapMysqlSinkBatch *sent;	/* waits for answers, or NULL */
	TimestampTz sent_at;
	TapMysqlSinkBatch *uncommitted; /* done carefully, its letters must be
									 * kept first */
	bool		open;			/* a target transaction goes on behind sent */
	bool		in_txn;			/* between begin() and commit() */
	uint64		txn_lsn;
	uint64		groups;			/* numbers given to groups */

	/* copy */
	TapMysqlSinkTable *copying;
	StringInfoData load;		/* rows for LOAD DATA */
	int			nload;			/* their beginnings */
	int			load_size;
	Size	   *load_rows;
	uint64		copy_lsn;
} TapMysqlSink;

/* mysql_sink.c */

/* The callbacks of a sink; see connector.h. */
extern const TapSinkCallbacks tap_mysql_sink_callbacks;

/* Free what a sink holds outside of memory contexts; raises no error. */
extern void tap_mysql_sink_close(TapSession *session);

/* mysql_sink_progress.c */

/* Create, lock and read the progress row; see TapSinkCallbacks.start. */
extern uint64 tap_mysql_sink_lock(TapMysqlSink *sink);

/* Append the statement that moves the row; to 0: a copy, only touch it. */
extern void tap_mysql_sink_append_progress(TapMysqlSink *sink, StringInfo sql,
										   uint64 from, uint64 to);

/* Raise the error for a progress row that is not as it was left. */
extern void tap_mysql_sink_progress_lost(TapMysqlSink *sink) __attribute__((noreturn));

/* The schema of the progress table by options and URI, in the current context. */
extern char *tap_mysql_sink_progress_schema(const TapSessionArgs *args);

/* mysql_sink_table.c */

/* See TapSinkCallbacks.prepare_table. */
extern void *tap_mysql_sink_prepare(TapSession *session, const TapSourceTable *table,
									const TapSourceTable *old, void *old_data, bool known);

/* The target's name of a hub table by the options, in the current context. */
extern TapTableName *tap_mysql_sink_target(const TapSessionArgs *args,
										   const TapTableName *hub, bool lower_case);

/* The column of a target by its name, in any case as there; NULL: there is none. */
extern const TapMysqlColumn *tap_mysql_sink_find_column(const TapMysqlTable *target,
														const char *name);

/*
 * `a` int NOT NULL: a column as it is created, in the current context; see
 * tap_mysql_sink_type() for budget.
 */
extern char *tap_mysql_sink_column_definition(TapMysqlSink *sink,
											  const TapMysqlSinkTable *table, int i,
											  bool not_null, int *budget);

/* mysql_sink_alter.c */

/*
 * Let the target have what the hub table has by now, as the option "ddl" says;
 * old may be NULL.  Returns whether the target was changed.
 */
extern bool tap_mysql_sink_follow(TapMysqlSink *sink, TapMysqlSinkTable *result,
								  const TapSourceTable *table,
								  const TapSourceTable *old,
								  const TapMysqlTable *target);

/* mysql_sink_types.c */

/* Bytes of a row that columns of variable length may still take. */
#define TAP_MYSQL_ROW_BUDGET	32000

/*
 * The type, with character set and collation, that a new column gets.
 * in_key: how many bytes it may have in the key's index; 0: not in it.
 * *budget goes down by what the column takes of a row.  Raises an error of
 * class 0A for what no type can hold.  In the current context.
 */
extern char *tap_mysql_sink_type(TapMysqlSink *sink, const TapMysqlSinkColumn *column,
								 int in_key, int *budget);

/* The collation that tells texts apart as PostgreSQL does. */
extern const char *tap_mysql_sink_collation(const TapMysqlServer *server);

/* mysql_sink_column.c */

/*
 * Decide how values of the column are written into that of the target; false
 * when they cannot be.
 */
extern bool tap_mysql_sink_set_encode(TapMysqlSink *sink, TapMysqlSinkColumn *column,
									  const TapMysqlColumn *target);

/* mysql_sink_value.c */

/*
 * Append a value as an SQL literal, or as a field of LOAD DATA.  Raises an
 * error of class 22 that names the column for what the target cannot hold
 * unchanged.  Needs a transaction.
 */
extern void tap_mysql_sink_literal(const TapMysqlSinkTable *table,
								   const TapMysqlSinkColumn *column,
								   Datum value, StringInfo out);
extern void tap_mysql_sink_field(const TapMysqlSinkTable *table,
								 const TapMysqlSinkColumn *column,
								 Datum value, StringInfo out);

/* mysql_sink_row.c */

/*
 * Make the texts of a change in sink->row and sink->key and fill op, whole
 * and table of *made.  *changes_key is set when the row's key is another
 * than that by which it is found; then *new_key has the new one, in
 * sink->scratch.
 */
extern void tap_mysql_sink_make_row(TapMysqlSink *sink, const TapOutChange *change,
									TapMysqlSinkChange *made, bool *changes_key);

/* A change as JSON text for a dead letter, in the current context. */
extern char *tap_mysql_sink_row_json(const TapMysqlSinkBatch *batch,
									 const TapMysqlSinkChange *change);

/* The key of a change, for messages, in the current context. */
extern char *tap_mysql_sink_key_text(const TapMysqlSinkBatch *batch,
									 const TapMysqlSinkChange *change);

/* mysql_sink_batch.c */

extern void tap_mysql_batch_init(TapMysqlSink *sink, TapMysqlSinkBatch *batch);

/* Forget what is in it, keep its memory. */
extern void tap_mysql_batch_reset(TapMysqlSinkBatch *batch);

/* Add the change that is in sink->row and sink->key. */
extern void tap_mysql_batch_add(TapMysqlSink *sink, TapMysqlSinkBatch *batch,
								const TapMysqlSinkChange *change, bool changes_key);

/* Bytes of changes in it. */
extern Size tap_mysql_batch_bytes(const TapMysqlSinkBatch *batch);

/* Make its statements complete, ready to be sent. */
extern void tap_mysql_batch_seal(TapMysqlSink *sink, TapMysqlSinkBatch *batch);

/* Append a single change as a statement, without semicolon. */
extern void tap_mysql_batch_single(const TapMysqlSinkBatch *batch,
								   const TapMysqlSinkChange *change, StringInfo sql);

/* mysql_sink_send.c */

/* Send the sealed batch's first packet. */
extern void tap_mysql_sink_send(TapMysqlSink *sink, TapMysqlSinkBatch *batch);

/*
 * Read answers of what was sent, and send what follows; false when more are
 * to come and wait is false.
 */
extern bool tap_mysql_sink_answers(TapMysqlSink *sink, bool wait);

/* A batch has been committed. */
extern void tap_mysql_sink_committed(TapMysqlSink *sink, TapMysqlSinkBatch *batch);

/* The SQLSTATE (packed) of an error of the target. */
extern int	tap_mysql_sink_sqlstate(unsigned int number, const char *message);

/* Raise an error of the target; table may be NULL. */
extern void tap_mysql_sink_raise(TapMysqlSink *sink, const TapMysqlSinkTable *table,
								 const char *doing) __attribute__((noreturn));

/* Run a statement at the target; raises its errors as those of the table. */
extern void tap_mysql_sink_run(TapMysqlSink *sink, const TapMysqlSinkTable *table,
							   const char *sql, const char *doing);

/*
 * Whether the statement that was answered last, an INSERT ... ON DUPLICATE KEY
 * UPDATE of at least two rows, met only rows that were there.
 */
extern bool tap_mysql_sink_met_all(TapMysqlSink *sink);

/* mysql_sink_careful.c */

/*
 * Do a batch again, change by change, after an error of data.
 */
extern void tap_mysql_sink_careful(TapMysqlSink *sink, TapMysqlSinkBatch *batch);

/* Commit a batch whose refused changes are kept as dead letters by now. */
extern void tap_mysql_sink_commit_careful(TapMysqlSink *sink);

/* mysql_sink_load.c */

/* Let the connection send no files, but the rows that are being loaded. */
extern void tap_mysql_sink_set_load(MYSQL *mysql);

/* Add a row of a copy. */
extern void tap_mysql_sink_load_row(TapMysqlSink *sink, TapMysqlSinkTable *table,
									const TapOutChange *change);

/* Load and commit the rows that were added. */
extern void tap_mysql_sink_load_rows(TapMysqlSink *sink);

/* mysql_sink_test.c */

/* Append the checks (TapCheck *) of a target; tables: List of TapTableName *. */
extern List *tap_mysql_sink_test(TapSession *session, List *tables, List *checks);

#endif							/* TAP_MYSQL_SINK_H */
