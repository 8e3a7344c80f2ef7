/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source.h
 *	  What the files of PostgreSQL as a source share.
 *
 * NOTES
 *	  pgoutput.c				messages of the stream
 *	  postgres_source.c			positions, sequences, the callbacks
 *	  postgres_source_slot.c	publications and replication slots
 *	  postgres_source_wait.c	waiting for other sessions of the source
 *	  postgres_source_publication.c	what a publication of the user's lacks
 *	  postgres_source_types.c	types of the source as types of the hub
 *	  postgres_source_create.c	types of the source made in the hub
 *	  postgres_source_table.c	formats of tables: of the catalog, for the core
 *	  postgres_source_format.c	formats of tables as text, and back
 *	  postgres_source_test.c	the checks of a source
 *	  postgres_source_value.c	values, binary or text, as Datums
 *	  postgres_source_fast.c	binary values of the commonest types
 *	  postgres_source_lost.c	whether a copy is of a history that the source has left
 *	  postgres_snapshot*.c		chunks, and copies by COPY: see postgres_snapshot.h
 *	  postgres_heal.c			comparison of whole tables where changes are missing
 *	  postgres_stream.c			where messages come from, the position
 *	  postgres_stream_event.c	what they are for the core
 *	  postgres_stream_start.c	whether the source is what it was, the replication connection
 *	  postgres_stream_backlog.c	a long backlog of the log, in batches
 *	  postgres_stream_spool.c	transactions in progress
 *	  postgres_stream_row.c		rows of the stream
 *	  postgres_stream_table.c	tables of the stream
 *	  postgres_stream_format.c	their formats at a place of the log
 *	  postgres_stream_ddl.c		what an event trigger of the source tells
 *	  postgres_stream_gone.c	tables that are no longer there
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_POSTGRES_SOURCE_H
#define TAP_POSTGRES_SOURCE_H

#include "postgres_connector.h"

#include "utils/hsearch.h"

#include "pgoutput.h"

/* ---- postgres_source.c ---- */

/* A position: "16/B374D848 @7395012345678901234:1". */
typedef struct TapPgPosition
{
	uint64		lsn;
	char		system[24];		/* identifier of the source's cluster */
	uint32		timeline;
} TapPgPosition;

/* TapPgPosition.lsn while the hub is compared with the source. */
#define TAP_PG_COVERS_NOTHING	0

/* Raises an error for text that is no position. */
extern void tap_pg_position_parse(const char *text, TapPgPosition *position);

/* In the current context. */
extern char *tap_pg_position_text(const TapPgPosition *position);

/* "16/B374D848"; in the current context. */
extern char *tap_pg_lsn_text(uint64 lsn);
extern uint64 tap_pg_lsn_parse(const char *text);

/* The source's end of the log now, and which system it is. */
extern void tap_pg_position_now(TapSession *session, TapPgPosition *position);

extern const TapSourceCallbacks tap_pg_source_callbacks;

/* ---- postgres_source_slot.c ---- */

/* The value of an option that names something at the source; NULL: not given. */
extern const char *tap_pg_given(const TapSession *session, const char *option);

/* Names of what is, or is to be, at the source; in the current context. */
extern char *tap_pg_slot_name(const TapSession *session);
extern char *tap_pg_publication_name(const TapSession *session);

/* The publication of tables whose updates have nothing to be known by. */
extern char *tap_pg_insert_publication_name(const TapSession *session);

/* What pg_replication_slots says of a slot. */
typedef struct TapPgSlot
{
	bool		active;
	bool		lost;			/* its log was removed */
	char	   *why;			/* as the source says it, when lost */
	uint64		confirmed;		/* the log before this is not given out */
	uint64		restart;		/* where the log that it keeps begins */
} TapPgSlot;

/* NULL: there is none of that name; in the current context. */
extern TapPgSlot *tap_pg_slot_find(TapSession *session, const char *name);

/* Callbacks. */
extern void tap_pg_snapshot_begin(TapSession *session, List *tables);
extern char *tap_pg_safe_position(TapSession *session);

/* Make the publications, and see that the tables (List of TapTableName *) are in them. */
extern void tap_pg_prepare_publications(TapSession *session, List *tables);

/*
 * See that the publications are there, with the tables (List of TapTableName
 * *), before the stream asks for them: it takes the lack of one for a lack of
 * changes.  Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE.
 */
extern void tap_pg_check_published(TapSession *session, List *tables);

/* Drop a slot if it is there, after waiting for its process to let go of it. */
extern void tap_pg_drop_slot(TapSession *session, const char *name);
extern void tap_pg_forget(TapSession *session, bool all);

/* ---- postgres_source_wait.c ---- */

/*
 * The oldest open transaction of the source that has written, as far as our
 * role may see it, for a message; NULL: none.  In the current context.
 * *seconds: its age, 0 if not known.
 */
extern char *tap_pg_oldest_transaction(TapSession *session, int64 *seconds);

/*
 * tap_pg_query() of a statement that makes a slot: waits as long as it takes,
 * and tells by an event which transaction of the source is waited for.
 */
extern TapPgRows *tap_pg_query_for_slot(TapSession *session, const char *doing, const char *sql);

/*
 * Wait for commits that are in the log before a slot's position, but not
 * visible yet: for the time between the two, which is long when they wait for a
 * synchronous standby.  An event tells of a long wait.
 */
extern void tap_pg_wait_until_visible(TapSession *session);

/*
 * End the process of a former session that makes a slot of this pipeline, or
 * sends it to nobody.  Nothing if there is none, or it is not ours to end.
 */
extern void tap_pg_end_holder(TapSession *session, const char *slot);

/* ---- postgres_source_lost.c ---- */

/* Callback. */
extern char *tap_pg_copy_lost(TapSession *session, const char *start, const char *end);

/* ---- postgres_source_publication.c ---- */

/* What is wrong at the source, in the parts of an error. */
typedef struct TapPgFault
{
	int			sqlstate;
	char	   *message;
	char	   *detail;			/* or NULL */
	char	   *hint;			/* what to do at the source */
	char	   *otherwise;		/* an option that would do, for a pipeline
								 * that has not begun; or NULL */
} TapPgFault;

/*
 * What the publication that the option names lacks for the tables (List of
 * TapTableName *; NIL: not known yet).  NULL: nothing.  In the current context.
 */
extern TapPgFault *tap_pg_publication_fault(TapSession *session, List *tables);

/* False: kinds of change that the publication leaves out are not missed. */
extern bool tap_pg_follows_all_changes(const TapSession *session);

/* ---- postgres_source_types.c ---- */

/* A type of the source; what the hub has for it. */
typedef struct TapPgSourceType
{
	Oid			oid;			/* at the source */
	Oid			hub_type;
	int32		typmod;			/* of a domain's base type, else -1 */
	bool		keeps_typmod;	/* a column's modifier means the same here */
	bool		as_text;		/* only its text form is understood here */
	bool		binary_safe;	/* its binary form in the stream is understood */
} TapPgSourceType;

/*
 * Look the types of the source up, in one query.  The result has an entry for
 * each, in their order; in the current context.  Needs a transaction.
 */
extern TapPgSourceType *tap_pg_source_types(TapSession *session, const Oid *oids, int count);

/* ---- postgres_source_create.c ---- */

/* A type as the source's catalog has it; memory of the look-up. */
typedef struct TapPgTypeRow
{
	Oid			oid;
	char	   *schema;
	char	   *name;
	char		kind;			/* typtype, but a range is R, and r a table's
								 * row */
	Oid			base;			/* of a domain; a range's subtype; a
								 * multirange's range */
	int32		base_typmod;	/* of a domain */
	Oid			element;		/* of an array, else InvalidOid */
	char	   *extension;		/* or NULL */
	char	   *comment;		/* or NULL */
} TapPgTypeRow;

/* A field of a composite type; hub_type is what the hub has for its type. */
typedef struct TapPgTypeField
{
	char	   *name;
	Oid			source_type;
	int32		source_typmod;
	Oid			hub_type;
	int32		typmod;
} TapPgTypeField;

/* Whether the pipeline makes types in the hub. */
extern bool tap_pg_makes_types(const TapSession *session);

/*
 * The hub's type for an enum, a domain, a composite or a range type of the
 * source; made if it is missing, and grown if the source's has grown.
 * InvalidOid: the hub has another type of that name, which an event tells.
 * Needs a transaction.  Raises an error to be retried where what is new
 * cannot be used in it.
 */
extern Oid	tap_pg_make_enum(TapSession *session, const TapPgTypeRow *row);
extern Oid	tap_pg_make_domain(TapSession *session, const TapPgTypeRow *row, Oid base, int32 typmod);
extern Oid	tap_pg_make_range(TapSession *session, const TapPgTypeRow *row, Oid subtype);
extern Oid	tap_pg_make_composite(TapSession *session, const TapPgTypeRow *row,
								  const TapPgTypeField *fields, int count);

/* Write an event about a type, once for a session. */
extern void tap_pg_tell_of_type(TapSession *session, const char *message);

/* Make the types of all published tables what the source has now. */
extern void tap_pg_refresh_types(TapSession *session);

/* What changes when enums or composite types of the source do; in the current context. */
extern char *tap_pg_types_state(TapSession *session);

/* ---- postgres_source_table.c ---- */

typedef struct TapPgSourceColumn
{
	char	   *name;
	int			number;			/* pg_attribute.attnum at the source */
	Oid			source_type;
	int32		source_typmod;
	char	   *shown;			/* type as the source prints it */
	Oid			type;			/* the hub's */
	int32		typmod;
	bool		as_text;		/* see TapPgSourceType */
	bool		binary_safe;
	bool		not_null;
	char	   *comment;		/* or NULL */
	char	   *missing;		/* what rows older than the column have, or
								 * NULL */
} TapPgSourceColumn;

typedef struct TapPgSourceIndex
{
	char	   *name;
	bool		unique;
	int			ncolumns;
	AttrNumber *columns;		/* positions in the columns, from 1 */
} TapPgSourceIndex;

/* Everything that is known of a table; connector_data of a TapSourceTable. */
typedef struct TapPgFormat
{
	TapTableName name;
	Oid			relid;			/* at the source */
	char		kind;			/* pg_class.relkind */
	char		identity;		/* pg_class.relreplident */
	char	   *comment;
	int			ncolumns;
	TapPgSourceColumn *columns;
	int			nkeys;
	AttrNumber *keys;			/* positions in the columns, from 1 */
	bool		identified;		/* its updates and deletes say which row */
	char	   *filter;			/* condition of the rows that the user's
								 * publication sends, or NULL */
	int			nindexes;
	TapPgSourceIndex *indexes;
	double		estimated_rows;
	double		estimated_bytes;
} TapPgFormat;

/* Read formats; those of tables that are gone are left out.  List of TapPgFormat *. */
extern List *tap_pg_read_formats(TapSession *session, List *names);

/* The format of a table that the core handed back. */
extern TapPgFormat *tap_pg_format_of(TapSourceTable *table);

/* As the core sees it.  Begins a transaction of its own where there is none. */
extern TapSourceTable *tap_pg_source_table(TapPgFormat *format);

/* Schema and name in double quotes; in the current context. */
extern char *tap_pg_quote_table(const TapTableName *name);

/* Names (List of TapTableName *) as rows of VALUES, of schema and name; in the current context. */
extern char *tap_pg_names_as_values(List *names);

/* A column by its name, from 0; -1: there is none. */
extern int	tap_pg_format_column(const TapPgFormat *format, const char *name);

/* Begin and end a transaction where there is none, for catalog look-ups. */
extern bool tap_pg_begin_lookups(void);
extern void tap_pg_end_lookups(bool begun);

/* How often to look for new tables; 0: not at all. */
extern int	tap_pg_refresh_ms(const TapSession *session);

/* "{1,2}": oids of tables that tap_pg_list_tables() leaves out in this process. */
extern void tap_pg_set_followed(const char *oids);

/*
 * Whether a publication of the user's has a table of its own name, as a
 * condition on pg_class c that locks no table; in the current context.
 */
extern char *tap_pg_published_condition(const TapSession *session, const char *publication);

/* Callbacks. */
extern List *tap_pg_list_tables(TapSession *session);
extern List *tap_pg_describe_tables(TapSession *session, List *names);

/* ---- postgres_source_format.c ---- */

/* In the current context. */
extern char *tap_pg_format_text(const TapPgFormat *format);
extern TapPgFormat *tap_pg_format_parse(const TapTableName *name, const char *text);

/* ---- postgres_source_value.c ---- */

/* By what tap_pg_read_fast() reads a type. */
typedef enum TapPgFast
{
	TAP_PG_FAST_NONE,			/* it does not */
	TAP_PG_FAST_INTEGER,
	TAP_PG_FAST_FLOAT,
	TAP_PG_FAST_NUMERIC,
	TAP_PG_FAST_BOOL,
	TAP_PG_FAST_TEXT,
	TAP_PG_FAST_BYTES,
	TAP_PG_FAST_UUID,
	TAP_PG_FAST_DATE,
	TAP_PG_FAST_TIMESTAMP
} TapPgFast;

/* How values of one column become Datums. */
typedef struct TapPgReader
{
	Oid			type;			/* the hub's */
	int32		typmod;
	TapPgFast	fast;			/* for binary values, tried first */
	Oid			ioparam;
	FmgrInfo	input;
	FmgrInfo	receive;
	bool		has_receive;

	/* sent in another type than the column's: read as that, print, read again */
	bool		other;
	Oid			other_ioparam;
	int32		other_typmod;
	FmgrInfo	other_receive;
	FmgrInfo	other_output;
} TapPgReader;

/*
 * Prepare to read values of a column, with memory in context.  sent is the
 * source's type that they come in.  Needs a transaction.
 */
extern void tap_pg_reader_init(TapPgReader *reader, const TapPgSourceColumn *column,
							   Oid sent, MemoryContext context);

/*
 * One value, in the current context.  The byte behind data must be writable:
 * it is set to zero.  Raises an error of data.
 */
extern Datum tap_pg_read_value(TapPgReader *reader, bool binary, char *data, int bytes);

/* Append a value for a dead letter: as JSON text, hexadecimal if it is none. */
extern void tap_pg_append_json(StringInfo out, const char *data, int bytes);

/* ---- postgres_source_fast.c ---- */

/* How a type of the hub's can be read; NONE for all but the commonest. */
extern TapPgFast tap_pg_fast_of(Oid type);

/*
 * A binary value, in the current context.  False: the receive function is to
 * read it, or to say what is wrong with it.
 */
extern bool tap_pg_read_fast(const TapPgReader *reader, const char *data, int bytes, Datum *value);

/* ---- postgres_snapshot.c ---- */

extern void tap_pg_snapshot_plan(TapSession *session, TapSourceTable *table,
								 int64 chunk_rows,
								 void (*emit) (void *core_data, const TapChunk *chunk),
								 void *core_data);
extern void tap_pg_snapshot_copy(TapSession *session, TapSourceTable *table,
								 const TapChunk *chunk, TapRowReceiver *receiver);

/* ---- postgres_snapshot_exact.c ---- */

extern char *tap_pg_snapshot_copy_exact(TapSession *session, TapSourceTable *table,
										TapRowReceiver *receiver);

/* ---- postgres_snapshot_lock.c ---- */

/*
 * Lock the tables (List of TapPgFormat *) for reading, until the end of the
 * session's transaction, which has one snapshot for all its statements.  Raises
 * ERRCODE_T_R_SERIALIZATION_FAILURE if that does not see their rows.
 */
extern void tap_pg_lock_tables(TapSession *session, List *formats);

/* ---- postgres_snapshot_read.c ---- */

/* Read a table row by row, by COPY; memory in the current context. */
typedef struct TapPgCopyReader TapPgCopyReader;

extern TapPgCopyReader *tap_pg_copy_read_begin(TapSession *session, const TapPgFormat *format);

/* The next row, its values in the current context; false: it was the last. */
extern bool tap_pg_copy_read(TapPgCopyReader *reader, TupleTableSlot *slot);

/* ---- postgres_stream.c ---- */

typedef struct TapPgBacklog TapPgBacklog;
typedef struct TapPgHeal TapPgHeal;
typedef struct TapPgSpool TapPgSpool;

/* A table that the stream has met, by its oid at the source. */
typedef struct TapPgStreamTable
{
	Oid			relid;			/* must be first */
	MemoryContext context;		/* of the message; NULL: forgotten */
	TapTableName name;
	char		identity;
	int			ncolumns;
	TapPgoutputColumn *columns; /* as the last message said */

	bool		asked;			/* table_followed() was */
	void	   *table_data;		/* its answer */
	TapPgFormat *known;			/* format that the core has; in known_context */
	MemoryContext known_context;
	bool		schema_due;		/* a SCHEMA event is to come first, of source */
	TapSchemaKind schema;
	TapTableName old_name;
	List	   *renames;

	MemoryContext format_context;
	TapPgFormat *format;		/* NULL: to be made */
	TapSourceTable *source;
	int		   *wire;			/* by attribute: column of the message, or -1 */
	TapPgReader *readers;		/* by attribute */
	TupleTableSlot *old_slot;
	TupleTableSlot *new_slot;
	bool	   *old_present;
	bool	   *new_present;
	bool	   *is_key;
} TapPgStreamTable;

struct TapPgStream
{
	TapSession *session;		/* of ordinary queries */
	TapSession	replication;	/* holds the replication connection; none
								 * while a backlog is read that has come up */
	TapStreamArgs args;
	MemoryContext context;
	MemoryContext event_context;
	TapPgoutputDecoder *decoder;
	HTAB	   *tables;			/* TapPgStreamTable by relid */
	bool		binary;
	bool		all_changes;	/* false: deletes may be missing, so that an
								 * insert finds its row */
	char	   *types_state;	/* of tap_pg_types_state(); NULL: no types are
								 * made */
	TapPgHeal  *heal;			/* under way; NULL: rows come from the log */
	TapPgBacklog *backlog;		/* is read in batches; NULL: by a walsender */
	TimestampTz looked_at;		/* last, how far behind we are */
	bool		committed;		/* a transaction has come since */
	bool		no_batches;		/* the source has refused one */
	uint64		log_end;		/* before it a walsender is behind */

	char	   *buffer;			/* libpq's, of the message below; or NULL */
	bool		pending;		/* it was not handled yet */
	int			next_truncated; /* of its relations */
	TapPgoutputMessage message;
	TapPgStreamTable *last_table;	/* of the last change, for messages */
	TapPgStreamTable announced; /* by the message; context NULL: none */

	/* transactions in progress: see postgres_stream_spool.c */
	List	   *spools;			/* of TapPgSpool * */
	TapPgSpool *spooling;		/* whose messages come now; or NULL */
	TapPgSpool *replay;			/* whose messages are read again; or NULL */
	StringInfoData spool_buffer;

	bool		in_txn;			/* between BEGIN and COMMIT of the source */
	bool		echo;			/* the transaction is left out */
	bool		begun;			/* the core was told */
	uint32		xid;			/* of that transaction; 0: its commit is
								 * visible */
	uint64		commit_lsn;
	TimestampTz commit_time;
	Size		bytes;			/* since the last event */

	TapPgPosition position;
	bool		moved;			/* and the core was not told */
	int			refresh_ms;		/* between looks for new tables; 0: none */
	TimestampTz refreshed_at;
	List	   *gone;			/* oids of followed tables that are no longer
								 * there, which the core was not told yet */
	uint64		gone_lsn;		/* all of their changes are before it */
	bool		gone_begun;		/* BEGIN of their ends was told */
	TimestampTz told_at;

	uint64		received;		/* the log's end as the source told it */
	uint64		confirmed;		/* what the hub has on disk */
	TimestampTz last_received;
	TimestampTz last_status;	/* that we sent */
	bool		asked_reply;
	unsigned int steps;			/* messages handled */
};

extern void tap_pg_stream_start(TapSession *session, const TapStreamArgs *args);
extern void tap_pg_stream_close(TapSession *session);
extern void tap_pg_stream_refollow(TapSession *session);
extern TapEventKind tap_pg_stream_next(TapSession *session, TapEvent *event);
extern void tap_pg_stream_wait(TapSession *session, TapWait *wait);
extern char *tap_pg_stream_position(TapSession *session);
extern bool tap_pg_txn_covered(TapSession *session, const char *position);
extern void tap_pg_acknowledge(TapSession *session, const char *position);

/* Receive the log from stream->position on, after a backlog was read. */
extern void tap_pg_stream_go_on(TapPgStream *stream);

/*
 * Wait until the catalog shows what the transaction under way has done.  To be
 * called before it is read for the stream.
 */
extern void tap_pg_stream_wait_visible(TapPgStream *stream);

/* ---- postgres_stream_event.c ---- */

/* Fill the event with what all kinds have, and note that the core was told. */
extern TapEventKind tap_pg_stream_tell(TapPgStream *stream, TapEvent *event, TapEventKind kind);

/* Handle the pending message, or a part of it; NONE: nothing to tell. */
extern TapEventKind tap_pg_stream_take_message(TapPgStream *stream, TapEvent *event);

/* ---- postgres_stream_spool.c ---- */

/* Take STREAM_START, STREAM_STOP and STREAM_ABORT messages. */
extern void tap_pg_spool_begin(TapPgStream *stream);
extern void tap_pg_spool_end(TapPgStream *stream);
extern void tap_pg_spool_abort(TapPgStream *stream);

/* Keep a message that came in between, which stream->message is decoded of. */
extern void tap_pg_spool_keep(TapPgStream *stream, const char *data, int bytes);

/* Take STREAM_COMMIT: stream->replay is set, its messages are to be read. */
extern void tap_pg_spool_commit(TapPgStream *stream);

/*
 * The next message of stream->replay, valid until the next call, with a
 * writable byte behind it.  NULL: it was the last, stream->message is a COMMIT
 * now and stream->replay NULL.
 */
extern char *tap_pg_spool_next(TapPgStream *stream, int *bytes);

/* Close all files; never raises an error. */
extern void tap_pg_spool_close(TapPgStream *stream);

/* Forget all transactions in progress: they will be sent again from their beginning. */
extern void tap_pg_spool_reset(TapPgStream *stream);

/* ---- postgres_stream_backlog.c ---- */

/*
 * Begin to read in batches from the position on, if there is so much to read
 * that it is worth it.  False: nothing was changed.  To be called between two
 * transactions, with none in progress kept.
 */
extern bool tap_pg_backlog_begin(TapPgStream *stream);

/* Whether it is time to call tap_pg_backlog_begin(), while a walsender sends; cheap. */
extern bool tap_pg_backlog_is_due(TapPgStream *stream);

/*
 * The next message of the plugin, valid until the next call, with a writable
 * byte behind it.  NULL: none is there yet, or the backlog has ended, and
 * stream->backlog is NULL.  With *bytes 0: no message, but call again.
 */
extern const char *tap_pg_backlog_next(TapPgStream *stream, int *bytes);

/* What to wait for. */
extern void tap_pg_backlog_wait(TapPgStream *stream, TapWait *wait);

/* Close the connection, with which the copied slot goes. */
extern void tap_pg_backlog_close(TapPgStream *stream);

/* ---- postgres_stream_start.c ---- */

/*
 * A second connection, in *copy, for the replication protocol or for queries,
 * to the session's server and with its arguments; to be closed by
 * tap_pg_close().
 */
extern void tap_pg_open_another(TapSession *session, TapSession *copy, bool replication);

/* The plugin's options as arguments of a function, each behind a comma; in the current context. */
extern char *tap_pg_plugin_arguments(TapPgStream *stream);

/* Begin to receive the log from stream->position on. */
extern void tap_pg_start_replication(TapPgStream *stream);

/*
 * The source goes on in a newer timeline: it was promoted, or restored to a
 * point in time.  Returns where the timeline of then was left for it;
 * PG_UINT64_MAX: it does not come of that one.
 */
extern uint64 tap_pg_timeline_end(TapSession *replication, uint32 timeline_then, uint32 now);

/*
 * False when changes could be missing, and are to be found by comparison.  In
 * the catch-up of one table that is an error, TAP_ERRCODE_COPY_AGAIN.
 */
extern bool tap_pg_is_continuous(TapPgStream *stream);

/* ---- postgres_heal.c ---- */

/* Whether a gap in the source's history is to be healed, by the option on_gap. */
extern bool tap_pg_can_heal(const TapPgStream *stream);

/*
 * Begin to compare: stream->position becomes TAP_PG_COVERS_NOTHING of the
 * source as it is now, until the last event of the comparison.
 */
extern void tap_pg_heal_begin(TapPgStream *stream);

/* The hub has this position on disk. */
extern void tap_pg_heal_noted(TapPgStream *stream, const TapPgPosition *position);

/* The next event of the comparison; the last is COMMIT, and heal is NULL again. */
extern TapEventKind tap_pg_heal_next(TapPgStream *stream, TapEvent *event);

/* ---- postgres_stream_row.c ---- */

/* The change that the message holds. */
extern void tap_pg_stream_change(TapPgStream *stream, TapPgStreamTable *table, TapEvent *event);

extern char *tap_pg_describe_event(TapSession *session);

/* ---- postgres_stream_table.c ---- */

/* Take a RELATION message. */
extern void tap_pg_stream_relation(TapPgStream *stream);

/* Set a table's name and columns to those of the RELATION message. */
extern void tap_pg_stream_describe(TapPgStream *stream, TapPgStreamTable *table);

/* Tell the core of the source's tables that it may not know, when it is time to. */
extern void tap_pg_stream_refresh(TapPgStream *stream);

/* Ask the core for it, if it was not asked; NULL: not followed. */
extern TapPgStreamTable *tap_pg_stream_ask(TapPgStream *stream, TapPgStreamTable *table);

/*
 * Forget what the core said of the table of an oid, if it was met; name, where
 * not NULL, is the one to ask by from now on.
 */
extern void tap_pg_stream_forget_relation(TapPgStream *stream, Oid relid,
										  const TapTableName *name);

/* The table of an oid, after asking the core for it; NULL: not followed. */
extern TapPgStreamTable *tap_pg_stream_table(TapPgStream *stream, Oid relid);

/* Make its format what the message and the catalog say; may set schema_due. */
extern void tap_pg_stream_need_format(TapPgStream *stream, TapPgStreamTable *table);

/* Forget what the core said of it. */
extern void tap_pg_stream_forget(TapPgStreamTable *table);

/* ---- postgres_stream_format.c ---- */

/* The index of the column of that name in the RELATION message, or -1. */
extern int	tap_pg_stream_column(const TapPgStreamTable *table, const char *name);

/* Whether the RELATION message is of the format that the core knows. */
extern bool tap_pg_stream_is_known(const TapPgStreamTable *table);

/*
 * The format that the RELATION message, the known one and the catalog make; in
 * the current context.  Sets table->renames.
 */
extern TapPgFormat *tap_pg_stream_follow_format(TapPgStream *stream, TapPgStreamTable *table);

/* ---- postgres_stream_ddl.c ---- */

/*
 * Replace the pending LOGICAL message by what it tells: a RELATION that was
 * announced, or DROPPED.  False: nothing that is to be followed.
 */
extern bool tap_pg_stream_ddl(TapPgStream *stream);

/*
 * The followed table that the pending DROPPED message is about, as the core
 * knows it, and its name; NULL: there is none, or it is still there.
 */
extern void *tap_pg_stream_dropped(TapPgStream *stream, TapTableName *name);

/*
 * The table of the pending RELATION that was announced, after asking the core
 * for it; NULL: not followed.  What the server itself has said of its columns
 * stays as it is, for the rows.
 */
extern TapPgStreamTable *tap_pg_stream_announced(TapPgStream *stream);

/* All of the announcement was told. */
extern void tap_pg_stream_announced_end(TapPgStream *stream);

/* ---- postgres_stream_gone.c ---- */

/* "{1,2}": what is followed, whatever its name is now; in the current context. */
extern char *tap_pg_stream_followed_oids(const TapPgStream *stream);

/*
 * Look which of these tables are gone from the source, to be told.  Raises an
 * error if one is not in the user's publication any more.
 */
extern void tap_pg_stream_look_for_gone(TapPgStream *stream, const char *followed);

/*
 * The next event about what is gone, when the stream has passed its last
 * changes; NONE: there is none.  Once BEGIN was told it is to be called until
 * COMMIT.
 */
extern TapEventKind tap_pg_stream_gone_next(TapPgStream *stream, TapEvent *event);

/* ---- postgres_source_test.c ---- */

/* Checks of a source, appended to *checks. */
extern void tap_pg_source_checks(TapSession *session, List *tables, List **checks);

#endif							/* TAP_POSTGRES_SOURCE_H */
