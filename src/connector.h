/*-------------------------------------------------------------------------
 *
 * src/connector.h
 *	  The contract between tapdata and a connector.
 *
 * This is the one header a connector sees besides its client library; it is
 * installed, so that a connector can be built out of tree with PGXS.
 *
 * A connector is a shared library tapdata_<name>.so with one exported
 * function, tap_connector_init(), that returns a constant TapConnector.  It
 * may use PostgreSQL's own functions; what it needs from tapdata comes as a
 * TapCore of function pointers, so that it needs no symbol of tapdata.so.
 *
 * NOTES
 *	  Memory.  A session lives in TapSessionArgs.context and everything it
 *	  allocates there is freed with it.  Callbacks are entered with a
 *	  short-lived CurrentMemoryContext; results go there unless said otherwise.
 *
 *	  Errors.  Every callback may ereport(ERROR).  The SQLSTATE decides what
 *	  the core does: classes 08, 53, 40, 57 are retried, class 22 and 23 are
 *	  errors of data (on_error), all others stop the pipeline.  After an error
 *	  the core closes the session, except for an error of data raised by
 *	  stream_next(), after which the stream must stand behind the event that
 *	  could not be decoded.
 *
 *	  Transactions.  Callbacks are entered with or without a transaction of
 *	  the hub.  What reads PostgreSQL's catalogs, as TupleDescInitEntry() does,
 *	  needs one: begin and commit your own if IsTransactionState() is false.
 *
 *	  Waiting.  A connector never blocks on a socket by itself: it waits by
 *	  TapCore.wait_socket() or returns TAP_EVENT_NONE.  C code of a client
 *	  library must not be jumped over: inside of a client library's callback
 *	  use wait_socket_quiet(), and check for interrupts after the library has
 *	  returned.
 *
 *	  A position is text to the core: canonical, printable, and compared only
 *	  by its connector.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_CONNECTOR_H
#define TAPDATA_CONNECTOR_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "port.h"
#include "utils/palloc.h"

#define TAP_CONNECTOR_MAGIC		0x54617043
#define TAP_CONNECTOR_VERSION	2

/*
 * What a connector was built against: the version of the contract and the
 * sizes of its structs, so that one that was not built again after a change
 * is refused instead of crashing the server.  TapCore may grow at its end.
 */
#define TAP_CONNECTOR_ABI \
	((uint32) (TAP_CONNECTOR_VERSION + sizeof(TapOption) * 5 + \
			   sizeof(TapSourceTable) * 7 + sizeof(TapEvent) * 11 + \
			   sizeof(TapStreamArgs) * 13 + \
			   sizeof(TapSessionArgs) * 17 + sizeof(TapSourceCallbacks) * 19 + \
			   sizeof(TapSinkCallbacks) * 23 + sizeof(TapOutChange) * 29 + \
			   sizeof(TapCheck) * 31 + sizeof(TapRowReceiver) * 37 + \
			   sizeof(TapOutTxn) * 41 + sizeof(TapSourceSequence) * 43))
#define TAP_CONNECTOR_INIT		"tap_connector_init"

/*
 * SQLSTATE of stream_start() in a session of TAP_PURPOSE_CATCHUP: the source
 * does not show all changes since the position.  The table, which nobody could
 * use yet, is copied again from its beginning.
 */
#define TAP_ERRCODE_COPY_AGAIN	MAKE_SQLSTATE('T', 'A', 'P', '0', '1')

/* ---------------------------------------------------------------------
 * Options
 * ---------------------------------------------------------------------
 */

typedef enum TapOptionType
{
	TAP_OPTION_BOOL,
	TAP_OPTION_INT,				/* between minimum and maximum */
	TAP_OPTION_TEXT,
	TAP_OPTION_ENUM,			/* one of values */
	TAP_OPTION_JSON				/* any JSON; its value is the JSON text */
} TapOptionType;

/* Where an option may be given; a bit mask. */
#define TAP_SCOPE_CONNECTION	0x01	/* tapdata.connect() */
#define TAP_SCOPE_PULL			0x02	/* tapdata.pull() */
#define TAP_SCOPE_PUBLISH		0x04	/* tapdata.publish() */
#define TAP_SCOPE_ASKED			0x08	/* with TAP_SCOPE_PULL: what a change
										 * of it says has to be so at the
										 * source.  test() has a check for it,
										 * "source_" and the option's name;
										 * its first one is that there is
										 * somebody to be asked */

/*
 * One option.  Error messages, the reference in doc/ and tapdata.connectors
 * are made from these tables.
 */
typedef struct TapOption
{
	const char *name;			/* key in the options; "kafka." with a final
								 * dot takes any key that begins so */
	TapOptionType type;
	int			scope;			/* TAP_SCOPE_* */
	const char *default_value;	/* as text; NULL: not set */
	int64		minimum;		/* TAP_OPTION_INT only */
	int64		maximum;
	const char *const *values;	/* TAP_OPTION_ENUM only; ends with NULL */
	bool		secret;			/* never shown */
	void		(*check) (const char *value);	/* raises an error, or NULL */
	const char *help;			/* one line */
	bool		server_file;	/* names a file or socket of the server: only
								 * for members of pg_read_server_files */
	int			needs;			/* one of these capabilities of a connector,
								 * without which it has no effect and is
								 * refused; 0: none */
} TapOption;

/* The checked options of one connection or pipeline; opaque. */
typedef struct TapOptions TapOptions;

/* One host of a URI; port is 0 when it was not given. */
typedef struct TapUriHost
{
	char	   *host;
	int			port;
} TapUriHost;

/* A parsed URI; parts that were not given are NULL.  Percent-decoded. */
typedef struct TapUri
{
	char	   *scheme;
	char	   *user;
	char	   *password;
	int			nhosts;			/* mysql://a:1,b:2/db has two */
	TapUriHost *hosts;
	char	   *path;			/* without the leading slash */
	char	   *query;			/* undecoded; its keys are options */
} TapUri;

/* ---------------------------------------------------------------------
 * Tables and rows
 * ---------------------------------------------------------------------
 */

/* A table's name at the source. */
typedef struct TapTableName
{
	char	   *schema;			/* NULL where the source has no such level */
	char	   *name;
} TapTableName;

/* One secondary index of a source table, for the hub to have too. */
typedef struct TapSourceIndex
{
	char	   *name;
	bool		unique;
	int			ncolumns;
	AttrNumber *columns;		/* in descriptor, from 1 */
} TapSourceIndex;

/*
 * A source table as PostgreSQL sees it.  Made by the connector in the
 * context that was current; the core never changes it.
 */
typedef struct TapSourceTable
{
	TapTableName name;
	TupleDesc	descriptor;		/* PostgreSQL types and names; attnotnull is
								 * the source's, as far as the mapping can
								 * keep it */
	int			nkeys;			/* 0: the table has no key */
	AttrNumber *keys;			/* columns of the key, in key order */
	int			nindexes;
	TapSourceIndex *indexes;	/* secondary indexes of plain columns */
	char	   *comment;		/* or NULL */
	char	  **column_comments;	/* natts entries, each may be NULL */
	char	  **column_types;	/* natts entries: the source's own type name */

	/*
	 * natts entries, or NULL: what rows that were there when the column was
	 * added have in it, in the input format of the PostgreSQL type.  A NULL
	 * entry: NULL, or unknown.
	 */
	char	  **column_defaults;
	double		estimated_rows; /* -1: unknown */
	double		estimated_bytes;	/* -1: unknown */

	/*
	 * What the connector needs to make this struct again, later, when the
	 * source itself knows only a newer format.  Text, kept by the core with
	 * the pipeline's table in the same transaction as the position.
	 */
	char	   *definition;
	void	   *connector_data; /* the connector's own */
} TapSourceTable;

/* A sequence (auto-increment) that fills a column. */
typedef struct TapSourceSequence
{
	TapTableName table;
	char	   *column;
	int64		last_value;		/* the last one that was given out */
	bool		is_next;		/* no, the first that will be: none was */
	int64		start;
	int64		increment;
	int64		minimum;
	int64		maximum;
	bool		cycles;			/* begins again behind its last */
} TapSourceSequence;

/* One part of a table's snapshot; both ends in the connector's own text. */
typedef struct TapChunk
{
	char	   *low;			/* exclusive; NULL: from the first row */
	char	   *high;			/* inclusive; NULL: to the last row */
	double		estimated_rows;
} TapChunk;

/*
 * Takes the rows of a snapshot.  The connector asks for a slot, fills
 * tts_values and tts_isnull of all columns of the table's descriptor, calls
 * ExecStoreVirtualTuple() and hands it back.  By-reference values are
 * allocated in the context that next_slot() leaves current; the receiver
 * resets it when it has stored the rows.
 */
typedef struct TapRowReceiver TapRowReceiver;
struct TapRowReceiver
{
	TupleTableSlot *(*next_slot) (TapRowReceiver *receiver);
	void		(*put_slot) (TapRowReceiver *receiver, TupleTableSlot *slot);

	/*
	 * A row could not be converted (an error of data is being handled, its
	 * copy in edata).  Returns if the row may be left out, because it is now
	 * a dead letter; rethrows otherwise.  row is JSON text of what was read.
	 */
	void		(*reject_row) (TapRowReceiver *receiver, ErrorData *edata,
							   const char *row);
	void	   *core_data;		/* the receiver's own */
};

/* ---------------------------------------------------------------------
 * The stream of a source
 * ---------------------------------------------------------------------
 */

typedef enum TapEventKind
{
	TAP_EVENT_NONE,				/* nothing yet: wait as stream_wait() says */
	TAP_EVENT_BEGIN,			/* a source transaction begins */
	TAP_EVENT_CHANGE,			/* one row, or a truncate */
	TAP_EVENT_COMMIT,			/* it ended; stream_position() is behind it */
	TAP_EVENT_SCHEMA,			/* a table's format or name changed */
	TAP_EVENT_HEARTBEAT,		/* no change, but stream_position() moved */
	TAP_EVENT_STAGE,			/* bytes of a prepared transaction, to be kept */
	TAP_EVENT_STAGED_COMMIT,	/* the prepared transaction was committed */
	TAP_EVENT_STAGED_ROLLBACK,	/* it was rolled back: forget the bytes */
	TAP_EVENT_COMPARE_BEGIN,	/* inserts of table that follow are all of its
								 * rows: only what differs is stored */
	TAP_EVENT_COMPARE_END,		/* these were all; the hub's others go */
	TAP_EVENT_COMPARE_GIVEN_UP	/* the rest cannot be had: the hub's rows stay
								 * as they were */
} TapEventKind;

typedef enum TapChangeKind
{
	TAP_CHANGE_INSERT,
	TAP_CHANGE_UPDATE,
	TAP_CHANGE_DELETE,
	TAP_CHANGE_TRUNCATE,
	TAP_CHANGE_READ				/* sinks only: a row of the first copy */
} TapChangeKind;

typedef enum TapSchemaKind
{
	TAP_SCHEMA_CREATED,			/* a new table, empty at this position */
	TAP_SCHEMA_ALTERED,			/* table is the format from here on */
	TAP_SCHEMA_RENAMED,			/* old_name is now table->name */
	TAP_SCHEMA_DROPPED			/* old_name is gone */
} TapSchemaKind;

/* A column that kept its data under a new name. */
typedef struct TapColumnRename
{
	char	   *from;
	char	   *to;
} TapColumnRename;

/* A row; which columns the source sent. */
typedef struct TapRowImage
{
	TupleTableSlot *slot;		/* NULL: the source sent no such row */
	const bool *present;		/* natts entries; NULL: all columns are there */

	/*
	 * natts entries, or NULL.  Where not NULL the column's value is a change
	 * to the old value, and complete_value() makes the new one of it.
	 */
	void	  **partial;
} TapRowImage;

/*
 * One event.  Everything it points to is valid until the next call of
 * stream_next().
 */
typedef struct TapEvent
{
	TapEventKind kind;

	/*
	 * TAP_EVENT_CHANGE; table is what table_followed() was told.  Table and
	 * table_data are set for TAP_EVENT_COMPARE_* too.
	 */
	TapChangeKind change;
	TapSourceTable *table;
	void	   *table_data;		/* what table_followed() returned for it */
	TapRowImage old_row;		/* update: may lack; delete: key at least */
	TapRowImage new_row;

	/*
	 * The source cannot know whether the hub has the row: an insert or update
	 * writes the whole row over it, a delete is none if it is not there.
	 * Needs a key.
	 */
	bool		lenient;

	/* TAP_EVENT_SCHEMA */
	TapSchemaKind schema;
	TapTableName old_name;
	List	   *renames;		/* of TapColumnRename * */
	const char *statement;		/* the source's statement, or NULL */

	/* TAP_EVENT_STAGE and following: the prepared transaction's id */
	const char *staged_id;
	const char *staged_data;
	Size		staged_bytes;

	TimestampTz commit_time;	/* the source's clock; 0: unknown */
	Size		bytes;			/* of the source's log, for the statistics */

	/*
	 * TAP_EVENT_NONE: nothing is there yet, though the end of the source's
	 * log was not reached
	 */
	bool		behind;
} TapEvent;

/*
 * What the core gives to a stream.
 */
typedef struct TapStreamArgs
{
	/*
	 * Where to begin.  NULL, from a source without TAP_CAN_SNAPSHOT: as its
	 * options say.
	 */
	const char *position;

	/*
	 * Without TAP_CAN_SNAPSHOT: List of TapTableName *, tables whose hub
	 * tables are empty.  They begin as the options say, whatever the position
	 * or notes say of them.  stream_position() covers them at once.
	 */
	List	   *fresh;

	/*
	 * Asked once for each table that the stream meets, again after it was
	 * renamed or created and after stream_refollow().  created is true when
	 * the log says that the table is created here, empty.  Returns NULL when
	 * the table's changes are not wanted; else a value that comes back as
	 * TapEvent.table_data.  *definition is set to the definition at the
	 * stream's position as far as the core knows it, else NULL; it stays
	 * valid.  Does not raise an error, reads no catalog.
	 */
	void	   *(*table_followed) (void *core_data, const TapTableName *name,
								   bool created, const char **definition);

	/*
	 * The names of all tables that are followed now (List of TapTableName *,
	 * in the current context), for what the log says of a whole schema.  NULL
	 * where only tables that the stream meets are of interest.
	 */
	List	   *(*tables_followed) (void *core_data);
	void	   *core_data;
} TapStreamArgs;

/* ---------------------------------------------------------------------
 * What the core offers to a connector
 * ---------------------------------------------------------------------
 */

typedef struct TapCore
{
	uint32		abi;			/* TAP_CONNECTOR_ABI of the core */
	uint32		size;			/* of this struct; grows at its end only */

	/*
	 * The value of an option, or its default.  text: NULL when neither is
	 * there.  The result lives as long as the options.
	 */
	const char *(*option_text) (const TapOptions *options, const char *name);
	int64		(*option_int) (const TapOptions *options, const char *name);
	bool		(*option_bool) (const TapOptions *options, const char *name);
	bool		(*option_given) (const TapOptions *options, const char *name);

	/*
	 * Wait until the socket is ready (events: WL_SOCKET_READABLE and
	 * WL_SOCKET_WRITEABLE), or timeout_ms is over (-1: no limit).  Returns
	 * the events that happened, 0 on timeout.  wait_socket() raises an error
	 * when the process is told to stop.
	 */
	int			(*wait_socket) (pgsocket socket, int events, long timeout_ms);

	/*
	 * The same, for use inside of a client library's callback: never raises
	 * an error, returns -1 when the process has been told to stop or its
	 * query was cancelled.
	 */
	int			(*wait_socket_quiet) (pgsocket socket, int events,
									  long timeout_ms);

	/*
	 * The password to use now: the URI's, the option "password", or the first
	 * line of the file named by "password_file", read at each call.  NULL
	 * when there is none.  In the current context.
	 */
	char	   *(*password) (const TapUri *uri, const TapOptions *options);

	/* Writes a row of tapdata.events for the pipeline, at its next commit. */
	void		(*event) (const char *kind, const TapTableName *table,
						  const char *message);

	/*
	 * For a sink under the option on_error = dead_letter: keep a change that
	 * the target refuses for good.  change is JSON text.  It is stored before
	 * the position goes past lsn: where the target keeps that, on return, or
	 * if called by write() before the next flush().  Raises an error of data,
	 * with sqlstate and message, when on_error is stop.  Not for use inside
	 * of a client library's callback.
	 */
	void		(*dead_letter) (const TapTableName *table, const char *change,
								uint64 lsn, int sqlstate, const char *message);

	/*
	 * The first line of a file of the server, for secrets that options name a
	 * file of; read at each call.  In the current context.  Raises an error
	 * that names the option.
	 */
	char	   *(*read_secret_file) (const char *option, const char *path);

	/*
	 * Notes of the connector about a pipeline, for what is too much for a
	 * position (which files were read).  remember() takes effect with the
	 * next commit that stores the stream's position, or not at all; a NULL
	 * value deletes.  recall() calls note() for each key that begins with
	 * prefix, in order, as of the newest commit; not within a hub
	 * transaction.  Only for the session that streams.
	 */
	void		(*remember) (const char *key, const char *value);
	void		(*recall) (const char *prefix,
						   void (*note) (void *arg, const char *key, const char *value),
						   void *arg);

	/*
	 * The keys that were given and begin with prefix, for options whose name
	 * ends with a dot.  List of char *, in the current context.
	 */
	List	   *(*option_keys) (const TapOptions *options, const char *prefix);

	/*
	 * When somebody last began to wait() for the pipeline, by the hub's
	 * clock; 0: nobody has.  The process is woken up for it.  For a source
	 * that looks for what is new only from time to time: a good moment to
	 * look.  Only for the session that streams.
	 */
	TimestampTz (*awaited) (void);

	/*
	 * The stream stands still within its session, such as for a pause that
	 * the source has asked for: tapdata.status shows the pipeline as
	 * retrying, and the text as last_error, until this is called with NULL or
	 * the session ends.  For what takes longer than a moment.
	 */
	void		(*delayed) (const char *why);
} TapCore;

/* ---------------------------------------------------------------------
 * What a connector offers
 * ---------------------------------------------------------------------
 */

/* What a session is opened for. */
typedef enum TapPurpose
{
	TAP_PURPOSE_TEST,
	TAP_PURPOSE_DISCOVER,		/* list, describe, current_position */
	TAP_PURPOSE_SNAPSHOT,		/* plan and copy */
	TAP_PURPOSE_STREAM,			/* the pipeline's own stream */
	TAP_PURPOSE_CATCHUP,		/* a stream beside it, for a table that joins */
	TAP_PURPOSE_SINK
} TapPurpose;

/* What a connection is used as; a bit mask. */
#define TAP_SIDE_SOURCE			0x01
#define TAP_SIDE_TARGET			0x02

typedef struct TapSessionArgs
{
	const TapUri *uri;
	const TapOptions *options;	/* of the connection */
	const TapOptions *pipeline_options; /* NULL without a pipeline */
	const char *pipeline_name;	/* NULL without a pipeline */
	int64		pipeline_seed;	/* stable for a pipeline of this database, for
								 * ids such as MySQL's server_id */
	TapPurpose	purpose;
	MemoryContext context;		/* the session's memory; deleted after close */

	/*
	 * Names a pipeline of this database and cluster, and no other: a target
	 * keeps the position under it.  NULL without a pipeline.
	 */
	const char *pipeline_identity;

	/* The hub schema of a pull pipeline's tables; NULL for others. */
	const char *into_schema;

	/*
	 * TAP_PURPOSE_SNAPSHOT and TAP_PURPOSE_CATCHUP: the one table that is
	 * copied and caught up by itself, as a number that stays the same.  0:
	 * the pipeline's first copy, or a helper of either that copies chunks.
	 */
	int32		table_id;

	/*
	 * test() only: what the connection is to be checked for; both, when
	 * nothing says what it will be used as, but see TAP_TESTS_AS_SOURCE.
	 */
	int			sides;
} TapSessionArgs;

/* The connector's own. */
typedef struct TapSession TapSession;

/* One check of test_connection(). */
typedef struct TapCheck
{
	const char *name;
	bool		ok;
	bool		required;		/* a pipeline cannot start when it is not ok */
	char	   *detail;
	char	   *hint;			/* how to mend it, or NULL */
	int			sqlstate;		/* for the error that pull() raises, or 0 */
	int			side;			/* TAP_SIDE_* that needs it; 0: whatever the
								 * connection is used as */
} TapCheck;

/* How position_compare() relates two positions of one source. */
typedef enum TapPositionOrder
{
	TAP_POSITION_EQUAL,
	TAP_POSITION_BEFORE,		/* a is wholly covered by b */
	TAP_POSITION_AFTER,			/* b is wholly covered by a */
	TAP_POSITION_UNRELATED		/* neither: another history */
} TapPositionOrder;

/* Where to wait for more of a stream. */
typedef struct TapWait
{
	pgsocket	socket;			/* PGINVALID_SOCKET: none */
	int			events;			/* WL_SOCKET_* */
	long		timeout_ms;		/* call again then at the latest; -1: no limit */
} TapWait;

typedef struct TapSourceCallbacks
{
	/*
	 * All tables of the source that the user may read.  List of TapTableName
	 * *.
	 */
	List	   *(*list_tables) (TapSession *session);

	/*
	 * Describe tables (List of TapTableName *), in one round trip where the
	 * source can.  A table that is gone is left out of the result.  List of
	 * TapSourceTable *.
	 */
	List	   *(*describe_tables) (TapSession *session, List *names);

	/*
	 * Make a table of its name and TapSourceTable.definition alone, without
	 * asking the source.
	 */
	TapSourceTable *(*table_from_definition) (TapSession *session,
											  const TapTableName *name,
											  const char *definition);

	/*
	 * The source's position now: everything that was committed, and made
	 * visible, before the call is covered.  Used by wait() and as the end of
	 * a catch-up.
	 */
	char	   *(*current_position) (TapSession *session);

	/*
	 * Called before safe_position() or current_position() is asked for the
	 * beginning of tables (List of TapTableName *): a chance to make at the
	 * source what the stream will need for them, such as replication slots.
	 * The session is of TAP_PURPOSE_SNAPSHOT; tables is NIL when a first copy
	 * has none left to begin.  May be NULL.
	 */
	void		(*snapshot_begin) (TapSession *session, List *tables);

	/*
	 * A position to begin a catch-up at: every transaction that it covers is
	 * visible to any snapshot taken after the call.
	 */
	char	   *(*safe_position) (TapSession *session);

	/*
	 * How many bytes of the source's log lie between the position and its
	 * end; -1: unknown.  May raise ERRCODE_DATA_CORRUPTED-like errors never;
	 * a position that is no longer in the log gives *purged = true and
	 * *detail, *hint for the error.
	 */
	int64		(*log_behind) (TapSession *session, const char *position,
							   bool *purged, char **detail, char **hint);

	TapPositionOrder (*position_compare) (const char *a, const char *b);

	/*
	 * Divide a table into chunks of about chunk_rows rows.  Calls emit() for
	 * each, in order; together they cover all possible keys.
	 */
	void		(*snapshot_plan) (TapSession *session, TapSourceTable *table,
								  int64 chunk_rows,
								  void (*emit) (void *core_data,
												const TapChunk *chunk),
								  void *core_data);

	/*
	 * Whether a copy of the past is still one of this source: NULL, or why it
	 * is not, in the current context.  start: the safe_position() that it
	 * began behind, from where on the source must show its log; end: covers
	 * all that the copy can have seen, NULL while it is not done.  Asked
	 * before a copy goes on and before one is done; and behind
	 * stream_start(), of tables whose catch-up goes on, by that session.  May
	 * be NULL, for a source that recognises such copies otherwise.
	 */
	char	   *(*copy_lost) (TapSession *session, const char *start, const char *end);

	/* Copy one chunk.  Each chunk sees at least what safe_position() covers. */
	void		(*snapshot_copy) (TapSession *session, TapSourceTable *table,
								  const TapChunk *chunk,
								  TapRowReceiver *receiver);

	/*
	 * Copy a whole table under one consistent view and return the position of
	 * exactly that view, for a table whose replay is not harmless.  May
	 * return NULL after having copied: then the view's position turned out to
	 * be ambiguous; the core undoes the copy and calls again.
	 */
	char	   *(*snapshot_copy_exact) (TapSession *session,
										TapSourceTable *table,
										TapRowReceiver *receiver);

	/*
	 * Begin to stream; the session must be of TAP_PURPOSE_STREAM or
	 * TAP_PURPOSE_CATCHUP.
	 */
	void		(*stream_start) (TapSession *session,
								 const TapStreamArgs *args);

	/*
	 * Forget what table_followed() said of every table: it is asked again
	 * when the table is met next.  Called between source transactions.
	 */
	void		(*stream_refollow) (TapSession *session);

	/*
	 * The next event, without waiting for the source.  Transactions without a
	 * followed change are not reported; before TAP_EVENT_NONE a HEARTBEAT
	 * tells when they have moved the position.
	 */
	TapEventKind (*stream_next) (TapSession *session, TapEvent *event);

	/* Where to wait after TAP_EVENT_NONE. */
	void		(*stream_wait) (TapSession *session, TapWait *wait);

	/* Behind the last COMMIT or HEARTBEAT.  In the current context. */
	char	   *(*stream_position) (TapSession *session);

	/* Whether the transaction that began last is covered by the position. */
	bool		(*txn_covered) (TapSession *session, const char *position);

	/* The new value of a column that was sent in part; see TapRowImage. */
	Datum		(*complete_value) (TapSession *session, TapSourceTable *table,
								   AttrNumber column, Datum old_value,
								   bool old_isnull, void *partial,
								   bool *isnull);

	/*
	 * Feed bytes of a TAP_EVENT_STAGE back: the next calls of stream_next()
	 * return their changes, then TAP_EVENT_NONE, then the stream goes on.
	 */
	void		(*unstage) (TapSession *session, const char *data, Size bytes);

	/* JSON text of the last event, also when it could not be decoded. */
	char	   *(*describe_event) (TapSession *session);

	/*
	 * The hub has everything up to position on disk, and will never ask for
	 * it again: the source may discard it.  Called by the session that
	 * streams, after a commit that stored the position; may be NULL.
	 */
	void		(*acknowledge) (TapSession *session, const char *position);

	/*
	 * Remove what was made for the pipeline at the source, such as
	 * replication slots: all of it, for the pipeline is dropped or begins
	 * anew; or (all false) only what tables needed that caught up by
	 * themselves, none of which does now, or that of TapSessionArgs.table_id,
	 * whose copy is given up.  The session is of TAP_PURPOSE_DISCOVER.  May
	 * be NULL.
	 */
	void		(*forget) (TapSession *session, bool all);

	/*
	 * Where the sequences of tables (List of TapTableName *) stand.  List of
	 * TapSourceSequence *.  May be NULL.
	 */
	List	   *(*list_sequences) (TapSession *session, List *tables);
} TapSourceCallbacks;

/* ---------------------------------------------------------------------
 * A sink
 *
 * The core decodes a hub transaction whole before the sink sees any of it,
 * so that a sink never has to take back what was rolled back.  It calls
 *
 *	  open, start, prepare_table for each table,
 *	  for a table to be copied: copy_begin, write (TAP_CHANGE_READ) ..., copy_end,
 *	  set_position after a copy of all tables,
 *	  then for each hub transaction: begin, write ..., commit,
 *	  and flush between any two of these.
 *
 * begin, write and commit only encode into the sink's own memory: they are
 * called within a transaction of the hub, so that types can be looked up, and
 * never wait or touch the network.  All others are called outside of one and
 * may use the network by the rules above, but for those of the copy, during
 * which the core holds the snapshot that is copied.
 *
 * A position is the LSN behind a commit of the hub.
 * ---------------------------------------------------------------------
 */

/* A hub transaction on its way out. */
typedef struct TapOutTxn
{
	uint32		xid;
	uint64		commit_lsn;		/* where its commit record begins */
	uint64		end_lsn;		/* behind that record: its position */
	TimestampTz commit_time;
	const char *origin;			/* the replication origin's name; NULL: local */
	int64		nchanges;		/* that will be written, TRUNCATEs included */
} TapOutTxn;

/* One change on its way out. */
typedef struct TapOutChange
{
	TapChangeKind kind;			/* TAP_CHANGE_READ: a row of a copy */
	const TapSourceTable *table;	/* the hub table, described by the core */
	void	   *table_data;		/* what prepare_table() returned for it */

	/*
	 * Update: not there unless the key changed or the replica identity is
	 * FULL; the key is the new row's then.  Delete: always there.  present
	 * says which columns are known, at least those of the key.
	 */
	TapRowImage old_row;

	/* present is false for TOASTed values that did not change. */
	TapRowImage new_row;
	const TapOutTxn *txn;		/* NULL: a row of a copy */
	uint64		lsn;			/* of the change; of the snapshot for a copy */
	int64		number;			/* in its transaction or copy, from 0 */
	bool		last;			/* of the copy of its table */
} TapOutChange;

/* What start() returns when this session does not keep the position. */
#define TAP_POSITION_NOT_HELD	PG_UINT64_MAX

typedef struct TapSinkCallbacks
{
	/*
	 * Called once after open.  Returns the position that the target holds for
	 * TapSessionArgs.pipeline_identity; 0: none.  With TAP_HOLDS_POSITION
	 * that means that it lost it, unless the pipeline is to begin: a session
	 * whose options have it hold none says TAP_POSITION_NOT_HELD.  Must make
	 * sure that no earlier session of the pipeline can still commit.
	 */
	uint64		(*start) (TapSession *session);

	/*
	 * Create the target of a hub table if it is missing, check it if it is
	 * there; old is NULL and old_data too.  known: rows of the table were
	 * sent before and no copy replaces them now, so that it is an error that
	 * the target is gone: a new one would lack them.  Or follow a change of
	 * the hub table's format from old, as the option "ddl" says; old_data is
	 * NULL if that was told to an earlier session, which then may have
	 * followed already.  Called before the first change in that format;
	 * changes in the old format may still come if there is old_data.
	 * Everything written before is durable then.  Returns what shall come
	 * back as TapOutChange.table_data, in the session's memory; table lives
	 * as long as the session.
	 */
	void	   *(*prepare_table) (TapSession *session, const TapSourceTable *table,
								  const TapSourceTable *old, void *old_data,
								  bool known);

	/*
	 * A copy of the table begins.  again: one was begun before, by this
	 * pipeline, and what it left at the target is to be replaced.  copy_end()
	 * returns when all of the rows are durable.  Either may be NULL.
	 */
	void		(*copy_begin) (TapSession *session, const TapSourceTable *table,
							   void *table_data, bool again);
	void		(*copy_end) (TapSession *session, const TapSourceTable *table,
							 void *table_data);

	/* Have the target hold this position from now on; may be NULL. */
	void		(*set_position) (TapSession *session, uint64 position);

	void		(*begin) (TapSession *session, const TapOutTxn *txn);

	/*
	 * Take one change; nothing it points to is valid after the return.  True
	 * asks for a flush before the next one.  An error of data, class 22 or
	 * 23, must leave the session as if the change had never been there: under
	 * on_error = dead_letter the core goes on with the next one.
	 */
	bool		(*write) (TapSession *session, const TapOutChange *change);

	/* True asks for a flush before the next transaction. */
	bool		(*commit) (TapSession *session, const TapOutTxn *txn);

	/*
	 * Send what was written, and read what the target says.  wait false: as
	 * far as can be had without waiting; true: until the sink can take at
	 * least one more write.  idle: nothing more is there to be written now,
	 * so do not hold anything back for a larger batch.  Returns the position
	 * up to which all is durable at the target; 0: none yet in this session.
	 */
	uint64		(*flush) (TapSession *session, bool wait, bool idle);

	/*
	 * Where to wait for the target to make progress.  A sink with nothing
	 * under way sets PGINVALID_SOCKET and -1.
	 */
	void		(*flush_wait) (TapSession *session, TapWait *wait);

	/*
	 * Nothing is to be written, and the hub stands at this position: a chance
	 * to send a heartbeat.  Called at most once a second; may be NULL.
	 */
	void		(*idle) (TapSession *session, uint64 position);
} TapSinkCallbacks;

/* Capabilities; a bit mask. */
#define TAP_CAN_SNAPSHOT		0x01	/* has safe_position, plan and copy;
										 * else its stream begins with what is
										 * there */
#define TAP_CAN_EXACT_COPY		0x02	/* has snapshot_copy_exact */
#define TAP_CAN_STREAM			0x04
#define TAP_POLLS				0x08	/* its stream has no socket to wait on */
#define TAP_ADDS_TABLES			0x10	/* its stream reports new tables */
#define TAP_HOLDS_POSITION		0x20	/* the sink keeps the position */
#define TAP_CAN_BEGIN_AT_END	0x40	/* its stream leaves out what is there
										 * under the option snapshot = never */
#define TAP_TESTS_AS_SOURCE		0x80	/* test_connection() of what nothing
										 * uses yet checks it as a source
										 * alone, not as all that it can be */

typedef struct TapConnector
{
	uint32		magic;			/* TAP_CONNECTOR_MAGIC */
	uint32		abi;			/* TAP_CONNECTOR_ABI */
	uint32		size;			/* sizeof(TapConnector) */
	const char *name;
	const char *description;	/* one line */
	const char *version;
	const char *const *uri_schemes; /* ends with NULL; the first is the usual */
	const TapOption *options;	/* ends with a NULL name */
	int			capabilities;	/* TAP_CAN_* and so on */

	/* Check a URI when it is given; raises an error. */
	void		(*check_uri) (const TapUri *uri, const TapOptions *options);

	TapSession *(*open) (const TapSessionArgs *args);

	/* Never raises an error; also called after one. */
	void		(*close) (TapSession *session);

	/*
	 * Check everything a pipeline needs.  Never raises an error for what a
	 * check can say.  tables is a List of TapTableName *, or NIL.  List of
	 * TapCheck *.  Unlike the others it opens the session by itself.  The
	 * purpose is TAP_PURPOSE_SINK for a publish pipeline, whose tables are
	 * hub tables; else TAP_PURPOSE_TEST.
	 */
	List	   *(*test) (const TapSessionArgs *args, List *tables);

	const TapSourceCallbacks *source;	/* NULL: not a source */
	const TapSinkCallbacks *sink;	/* NULL: not a sink */
} TapConnector;

/*
 * The exported function.  The core keeps the result as long as the process
 * lives; core stays valid as long.
 */
typedef const TapConnector *(*TapConnectorInit) (const TapCore *core);

extern PGDLLEXPORT const TapConnector *tap_connector_init(const TapCore *core);

#endif							/* TAPDATA_CONNECTOR_H */
