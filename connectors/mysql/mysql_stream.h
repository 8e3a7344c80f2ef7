/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_stream.h
 *	  What the files of the stream share.
 *
 * NOTES
 *	  Packets become events of the log (mysql_stream.c), these become
 *	  transactions and schema changes (mysql_event.c) and rows (mysql_rows.c).
 *	  What is ready for the core waits in a queue.  The order of a call is:
 *	  the queue, then the rows of the current event, then the inner events of
 *	  the current payload, then the next packet.
 *
 *	  A source transaction is a group of events that begins with a GTID event
 *	  (there is one also where GTIDs are off).  It ends with XID, XA_PREPARE or
 *	  COMMIT, or with its only statement.  BEGIN is told to the core when the
 *	  first followed change is met, so that the core sees no others; the
 *	  position moves with every group.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_MYSQL_STREAM_H
#define TAP_MYSQL_STREAM_H

#include "mysql_connector.h"

#include "utils/hsearch.h"

#define TAP_MYSQL_TABLE_KEY_SIZE	520

/* A table that the stream has met. */
typedef struct TapMysqlStreamTable
{
	char		key[TAP_MYSQL_TABLE_KEY_SIZE];	/* schema, dot, name */
	TapTableName name;
	bool		asked;			/* table_followed() was */
	void	   *table_data;		/* its answer */
	const char *definition;		/* the core's, for the first format */
	uint32		generation;		/* of the format; 0: none yet */
	TapMysqlTable *table;
	TapSourceTable *source;
	TupleTableSlot *old_slot;
	TupleTableSlot *new_slot;
	bool	   *old_present;
	bool	   *new_present;
	void	  **partial;
	bool	   *is_key;			/* by attribute */
	Datum	   *default_values; /* by attribute; NULL: not needed yet */
	bool	   *default_nulls;
	MemoryContext context;		/* of the format */
} TapMysqlStreamTable;

/* What hangs on a table map: how its columns are those of the format. */
typedef struct TapMysqlMap
{
	TapMysqlStreamTable *table;
	uint32		generation;
	int			natts;
	int		   *wire;			/* by attribute: the column of the map, or -1 */
	TapBinlogCell *before;
	TapBinlogCell *after;
} TapMysqlMap;

/* How much a transaction had done at a savepoint. */
typedef struct TapMysqlSavepoint
{
	char	   *name;
	uint64		changes;
} TapMysqlSavepoint;

/* The group of events that is being read; its parts are in txn_context. */
typedef struct TapMysqlTxn
{
	bool		open;			/* a group has begun */
	bool		in_begin;		/* it ends with XID or COMMIT */
	bool		begun;			/* the core was told */
	bool		prepared;		/* rows are staged: an XA transaction */
	bool		skip_statement; /* MariaDB's START ALTER */
	bool		staged;			/* something was staged */
	bool		judged;			/* is_echo is known: a row was met */
	bool		is_echo;		/* its rows are left out; see mysql_echo.c */
	char	   *xid;			/* of an XA transaction */
	TapBinlogGtid gtid;
	bool		has_gtid;
	TapMariaGtid maria;
	char		file[TAP_BINLOG_FILE_SIZE]; /* where it begins */
	uint64		offset;
	TimestampTz time;
	uint64		changes;		/* followed ones so far */
	List	   *savepoints;		/* of TapMysqlSavepoint * */
} TapMysqlTxn;

typedef struct TapMysqlStream
{
	TapSession *session;
	MYSQL	   *mysql;
	TapStreamArgs args;
	MemoryContext context;		/* as long as the stream */
	MemoryContext event_context;	/* of what the last call returned */
	MemoryContext queue_context;	/* of what waits in the queue */
	MemoryContext txn_context;	/* of the group */
	HTAB	   *tables;			/* of TapMysqlStreamTable */
	uint32		last_generation;	/* of a table's format */
	List	   *new_names;		/* of TapTableName *, in context: tables that
								 * were not followed have them now */
	bool		lower_case;		/* names in statements are folded */

	/* reading */
	TapBinlogReader *reader;
	TapBinlogPayload *payload;
	TapBinlogEvent event;
	TapBinlogEvent payload_event;	/* its packet stays while it is read */
	bool		in_rows;
	TapBinlogRows rows;
	TapMysqlMap *map;			/* of the rows */
	bool		maybe_buffered; /* TLS may hold more of the last record */
	TimestampTz last_packet;	/* one of the last few */
	unsigned int packets;
	bool		any_packet;
	bool		heard;			/* since silence was looked for */
	long		heartbeat_ms;
	StringInfo	stage;			/* events of an XA transaction */
	List	   *maps;			/* table maps of an XA transaction, in
								 * txn_context */
	char	   *format_event;	/* raw format description, malloc'd */
	uint32		format_length;

	/* replaying what was staged */
	TapBinlogReader *stage_reader;
	char	   *replay;			/* NULL: nothing */
	Size		replay_bytes;
	Size		replay_at;

	/* position */
	TapMysqlPosition position;
	char		file[TAP_BINLOG_FILE_SIZE]; /* where the reader is */
	uint64		offset;
	bool		position_moved; /* and the core was not told yet */
	TimestampTz position_told;
	TapMysqlTxn txn;
	char	   *covered_text;	/* the last question of txn_covered() */
	TapMysqlPosition covered;

	/* what waits for the core */
	TapEvent   *queue;
	int			queue_size;
	int			queue_count;
	int			queue_next;
	TapEventKind last_kind;
	bool		commit_pending; /* behind what is being replayed */
} TapMysqlStream;

/* mysql_stream.c */

/* Add an event to the queue; its parts must be in queue_context. */
extern TapEvent *tap_mysql_queue(TapMysqlStream *stream, TapEventKind kind);

/* Raise the reader's last error. */
extern void tap_mysql_raise_binlog(TapMysqlStream *stream, TapBinlogReader *reader,
								   const TapBinlogEvent *event,
								   TapBinlogStatus status) __attribute__((noreturn));

/* mysql_dump.c */

/* Ask the server for its log from the stream's position on. */
extern void tap_mysql_start_dump(TapMysqlStream *stream);

/* mysql_event.c */

/* Handle one event: moves the state, fills the queue, or starts rows. */
extern void tap_mysql_handle_event(TapMysqlStream *stream, const uint8_t *raw,
								   size_t length);

/* Tell the core that the transaction has begun, unless it was. */
extern void tap_mysql_begin(TapMysqlStream *stream);

/* mysql_follow.c */

struct TapMysqlStatement;

/*
 * Do what a statement about tables means for those that are followed; raises
 * an error when it changes their rows.
 */
extern void tap_mysql_follow_statement(TapMysqlStream *stream,
									   const struct TapMysqlStatement *statement,
									   const TapBinlogQuery *query);

/*
 * Ask the core of tables that were renamed, which need not have any row in the
 * log.  Only when it has handled all that came before.
 */
extern void tap_mysql_ask_of_new_names(TapMysqlStream *stream);

/* mysql_rows.c */

/* Start the rows of stream->event; nothing happens when they are not followed. */
extern void tap_mysql_start_rows(TapMysqlStream *stream, TapBinlogReader *reader);

/* The next row as a change; false at the end. */
extern bool tap_mysql_next_row(TapMysqlStream *stream, TapEvent *event);

/* mysql_echo.c */

/*
 * Whether the rows of stream->event are to be left out, since a publish
 * pipeline made their transaction.  Must be asked for each event of rows.
 */
extern bool tap_mysql_is_echo(TapMysqlStream *stream, TapBinlogReader *reader);

/* mysql_xa.c */

/* Remember the bytes of a table map, for rows that are kept behind it. */
extern void tap_mysql_note_map(TapMysqlStream *stream, const uint8_t *raw,
							   size_t length);

/* Keep the current rows event for later, instead of telling its rows. */
extern void tap_mysql_stage_rows(TapMysqlStream *stream, const uint8_t *raw,
								 size_t length);

/* Queue what was kept as TAP_EVENT_STAGE. */
extern void tap_mysql_stage_flush(TapMysqlStream *stream, bool always);

/* The next event of what the core fed back; false at the end. */
extern bool tap_mysql_replay_next(TapMysqlStream *stream);

/* mysql_map.c */

/* The format that a map with names describes; NULL when it has a type that is not known. */
extern TapMysqlTable *tap_mysql_format_by_name(TapMysqlStream *stream,
											   TapMysqlStreamTable *entry,
											   const TapBinlogTable *map);

/* The format, if it fits a map without names, column by column; else NULL. */
extern TapMysqlTable *tap_mysql_format_by_position(TapSession *session,
												   const TapMysqlTable *known,
												   const TapBinlogTable *map);

/* mysql_format.c */

/* The entry of a table, made when it is new; asks whether it is followed. */
extern TapMysqlStreamTable *tap_mysql_stream_table(TapMysqlStream *stream,
												   const char *schema,
												   const char *name, bool created);

/* The same without asking. */
extern TapMysqlStreamTable *tap_mysql_table_entry(TapMysqlStream *stream,
												  const char *schema,
												  const char *name);

/* Forget whether a table is followed, and its format. */
extern void tap_mysql_forget_table(TapMysqlStreamTable *table);

/* Give a table a format; the former one stays valid until the stream ends. */
extern void tap_mysql_set_format(TapMysqlStream *stream, TapMysqlStreamTable *table,
								 const TapMysqlTable *format);

/* The table's format as it is known, read from the source when it is not. */
extern bool tap_mysql_need_format(TapMysqlStream *stream, TapMysqlStreamTable *table);

/*
 * How the columns of a table map are those of the table's format; tells the
 * core when the format has changed.  NULL: the table is not followed.
 */
extern TapMysqlMap *tap_mysql_resolve_map(TapMysqlStream *stream,
										  TapBinlogTable *map);

/* Frees TapBinlogTable.user; for tap_binlog_set_forget(). */
extern void tap_mysql_forget_map(void *context, TapBinlogTable *map);

/* Queue a change of a table's format or name. */
extern void tap_mysql_queue_schema(TapMysqlStream *stream, TapSchemaKind kind,
								   TapMysqlStreamTable *table,
								   const TapTableName *old_name, List *renames,
								   const char *statement, Size statement_length);

#endif							/* TAP_MYSQL_STREAM_H */
