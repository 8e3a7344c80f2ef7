/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_connector.h
 *	  What the files of the MySQL and MariaDB connector share.
 *
 * NOTES
 *	  mysql_connector.c	options, the exported struct, open and close
 *	  mysql_connect.c	connections, errors of the server
 *	  mysql_query.c		queries, names and texts
 *	  mysql_test.c		the checks of test_connection()
 *	  mysql_discover.c	tables and their formats from information_schema
 *	  mysql_definition.c	a table's format as text and back
 *	  mysql_default.c	defaults of columns
 *	  mysql_types.c		MySQL types to PostgreSQL types
 *	  mysql_charset.c	character sets to the encoding of the database
 *	  mysql_value.c		neutral values to datums, for both of the next two
 *	  mysql_value_text.c	a snapshot's text to datums
 *	  mysql_value_binlog.c	a log's cells to datums
 *	  mysql_plan.c		a table's chunks
 *	  mysql_snapshot.c	copies chunks and tables
 *	  mysql_position.c	positions as text, and those of the server
 *	  mysql_dump.c		asks the server for its log
 *	  mysql_stream.c	the stream: packets, position
 *	  mysql_event.c		events of the log: transactions
 *	  mysql_follow.c	statements about tables
 *	  mysql_rows.c		row events of the stream
 *	  mysql_xa.c		prepared transactions
 *	  mysql_sequence.c	where AUTO_INCREMENT columns stand
 *	  mysql_echo.c		transactions that a publish pipeline made
 *	  mysql_describe.c	an event as JSON, for dead letters
 *	  mysql_format.c	which format a table of the stream has
 *	  mysql_map.c		formats from the log's table maps
 *	  mysql_ddl.c		a tokenizer for statements of the log
 *	  mysql_alter.c		ALTER TABLE applied to a known format
 *	  mysql_sink*.c		MySQL as a target; see mysql_sink.h
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_MYSQL_CONNECTOR_H
#define TAP_MYSQL_CONNECTOR_H

#include "connector.h"

#include "lib/stringinfo.h"

#include "mysql_client.h"
#include "binlog.h"
#include "gtid.h"

/* What the core offers; set by tap_connector_init(). */
extern const TapCore *tap_mysql_core;

/* What the server is to us, for messages: "source" or "target". */
extern const char *tap_mysql_peer;

/* The table in which a sink keeps its position, and a pull knows it by. */
#define TAP_MYSQL_PROGRESS_TABLE	"tapdata_progress"

/* ---------------------------------------------------------------------
 * Connections
 * ---------------------------------------------------------------------
 */

/* What kind of server it is and what it can do. */
typedef struct TapMysqlServer
{
	bool		is_mariadb;
	int			version;		/* 80036 for 8.0.36, 101118 for 10.11.18 */
	char	   *version_text;
	bool		gtid;			/* positions are GTIDs */
} TapMysqlServer;

/* The options that change how values are mapped. */
typedef struct TapMysqlMapping
{
	bool		tinyint1_boolean;
	bool		unsigned_bigint_wraps;	/* to bigint, an error when too large */
	bool		set_array;
	Oid			json_type;		/* of MySQL's JSON */
	int			zero_date;		/* TapMysqlZeroDate */
	int			nul_in_text;	/* TapMysqlNulInText */
	bool		replace_invalid_text;
} TapMysqlMapping;

typedef enum TapMysqlZeroDate
{
	TAP_MYSQL_ZERO_DATE_NULL,
	TAP_MYSQL_ZERO_DATE_ERROR,
	TAP_MYSQL_ZERO_DATE_INFINITY
} TapMysqlZeroDate;

typedef enum TapMysqlNulInText
{
	TAP_MYSQL_NUL_ERROR,
	TAP_MYSQL_NUL_REMOVE,
	TAP_MYSQL_NUL_REPLACE
} TapMysqlNulInText;

/* Whose transactions a pull leaves out; values of the option ignore_published. */
typedef enum TapMysqlIgnore
{
	TAP_MYSQL_IGNORE_NONE,
	TAP_MYSQL_IGNORE_OWN,
	TAP_MYSQL_IGNORE_ALL
} TapMysqlIgnore;

struct TapMysqlStream;
struct TapSession
{
	TapSessionArgs args;
	MemoryContext context;		/* as long as the session */
	MYSQL	   *mysql;			/* the session's connection */
	MYSQL	   *second;			/* a stream's connection for questions, or
								 * NULL */
	TapMysqlServer server;
	TapMysqlMapping mapping;
	TapMysqlIgnore ignores;
	MemoryContext charset_context;	/* conversion tables */
	List	   *charsets;		/* of TapMysqlCharset * */
	struct TapMysqlCollation *collations;	/* by id; NULL: not read yet */
	int			ncollations;
	struct TapMysqlStream *stream;	/* NULL until stream_start() */
	struct TapMysqlSink *sink;	/* NULL unless the session is one of a sink */
};

/* All rows of a short answer, as text in the database's encoding. */
typedef struct TapMysqlRows
{
	int			nrows;
	int			ncolumns;
	char	  **values;			/* nrows * ncolumns; NULL is SQL's NULL */
} TapMysqlRows;

#define tap_mysql_value(rows, row, column) \
	((rows)->values[(row) * (rows)->ncolumns + (column)])

/*
 * Connect and prepare a connection; raises an error of class 08 or 28.  Must
 * be closed by tap_mysql_disconnect().  Fills session->server when it is
 * still empty.
 */
extern MYSQL *tap_mysql_connect(TapSession *session);

/* Close without waiting for the server; NULL is allowed; raises no error. */
extern void tap_mysql_disconnect(MYSQL *mysql);

/* The connection for questions: the second one while the first one streams. */
extern MYSQL *tap_mysql_connection(TapSession *session);

/*
 * Run a query and return all its rows in the current context.  sql is in the
 * database's encoding.
 */
extern TapMysqlRows *tap_mysql_query(MYSQL *mysql, const char *sql);

/* The same, NULL instead of an error when the server refuses the query. */
extern TapMysqlRows *tap_mysql_try_query(MYSQL *mysql, const char *sql);

/* Run a statement without a result. */
extern void tap_mysql_execute(MYSQL *mysql, const char *sql);

/* The first value of the first row, or NULL. */
extern char *tap_mysql_query_value(MYSQL *mysql, const char *sql);

/*
 * Start a query whose rows are fetched one by one by
 * tap_mysql_fetch(); end it by mysql_free_result().
 */
extern MYSQL_RES *tap_mysql_query_stream(MYSQL *mysql, const char *sql);

/* The next row, NULL at the end; raises the server's errors. */
extern MYSQL_ROW tap_mysql_fetch(MYSQL *mysql, MYSQL_RES *result);

/* Free a result that was not read to its end: the connection is lost. */
extern void tap_mysql_abandon(MYSQL *mysql, MYSQL_RES *result);

/* Raise the connection's last error with a fitting SQLSTATE; doing is "to ..." */
extern void tap_mysql_raise(MYSQL *mysql, const char *doing) __attribute__((noreturn));

/* The same for an error whose parts are given; the reason for a stop goes first. */
extern void tap_mysql_raise_number(unsigned int number, const char *message,
								   const char *doing) __attribute__((noreturn));

/* The SQLSTATE (packed) for one of the server's or library's errors. */
extern int	tap_mysql_sqlstate(unsigned int number, const char *message);

/*
 * Set how long a wait inside of the library may last, in milliseconds (-1:
 * no limit), for the calls that follow; returns what it was.
 */
extern long tap_mysql_wait_limit(long limit_ms);

/* After a call of the library: raise what interrupted its waiting, if anything. */
extern void tap_mysql_check_interrupts(void);

/* Milliseconds of the option read_timeout. */
extern long tap_mysql_read_timeout_ms(TapSession *session);

/* `name` with its backquotes doubled, in the current context. */
extern char *tap_mysql_quote_identifier(const char *name);

/* `schema`.`table` */
extern char *tap_mysql_quote_table(const TapTableName *name);

/* A literal that is right under any sql_mode and encoding: _utf8mb4 X'...' */
extern char *tap_mysql_quote_literal(const char *value);

/* schema.table, for messages */
extern char *tap_mysql_table_text(const TapTableName *name);

/* UTF-8 of the server to the database's encoding, in the current context. */
extern char *tap_mysql_from_utf8(const char *text, Size length);

/* And back. */
extern char *tap_mysql_to_utf8(const char *text);

/* ---------------------------------------------------------------------
 * Character sets
 * ---------------------------------------------------------------------
 */

typedef struct TapMysqlCharset TapMysqlCharset;

/* A collation id of the log; charset is NULL where the server has none. */
typedef struct TapMysqlCollation
{
	int			id;
	char	   *name;
	char	   *charset;
} TapMysqlCollation;

/*
 * The conversion from a character set, made on first use (this may ask the
 * server); it lives as long as the session.
 */
extern TapMysqlCharset *tap_mysql_charset(TapSession *session, const char *name);

/* The collation of an id, or NULL. */
extern const TapMysqlCollation *tap_mysql_collation(TapSession *session, int id);

/*
 * Whether the text is good as it is: in the database's encoding and without
 * NUL bytes.  The fast path.
 */
extern bool tap_mysql_charset_is_plain(TapMysqlCharset *charset,
									   const char *data, Size length);

/*
 * Append text in the database's encoding.  Raises an error of class 22 for
 * invalid bytes and NUL bytes unless the mapping says otherwise.
 */
extern void tap_mysql_charset_convert(TapMysqlCharset *charset,
									  const TapMysqlMapping *mapping,
									  const char *data, Size length,
									  StringInfo out);

/* ---------------------------------------------------------------------
 * Tables, columns, values
 * ---------------------------------------------------------------------
 */

/* How values of a column are converted. */
typedef enum TapMysqlKind
{
	TAP_MYSQL_KIND_INT,			/* any width, to int2, int4 or int8 */
	TAP_MYSQL_KIND_UINT,		/* bigint unsigned to int8, checked */
	TAP_MYSQL_KIND_UINT_NUMERIC,	/* bigint unsigned to numeric */
	TAP_MYSQL_KIND_BOOLEAN,
	TAP_MYSQL_KIND_YEAR,
	TAP_MYSQL_KIND_DECIMAL,
	TAP_MYSQL_KIND_FLOAT,
	TAP_MYSQL_KIND_DOUBLE,
	TAP_MYSQL_KIND_BIT,
	TAP_MYSQL_KIND_STRING,
	TAP_MYSQL_KIND_BINARY,		/* padded with zeros to its length */
	TAP_MYSQL_KIND_BYTES,
	TAP_MYSQL_KIND_ENUM,
	TAP_MYSQL_KIND_SET,
	TAP_MYSQL_KIND_JSON,		/* MySQL's binary JSON */
	TAP_MYSQL_KIND_JSON_TEXT,	/* MariaDB's */
	TAP_MYSQL_KIND_DATE,
	TAP_MYSQL_KIND_DATETIME,
	TAP_MYSQL_KIND_TIMESTAMP,
	TAP_MYSQL_KIND_TIME,
	TAP_MYSQL_KIND_GEOMETRY,
	TAP_MYSQL_KIND_VECTOR,
	TAP_MYSQL_KIND_UUID,
	TAP_MYSQL_KIND_INET4,
	TAP_MYSQL_KIND_INET6
} TapMysqlKind;

/* One column of a source table. */
typedef struct TapMysqlColumn
{
	/* as the source has it; all that the definition's text holds */
	char	   *name;
	char	   *type;			/* "int"; "json" also for MariaDB's alias */
	char	   *column_type;	/* "int(10) unsigned" */
	char	   *charset;		/* NULL: none */
	char	   *collation;
	char	   *comment;		/* NULL: none */
	bool		nullable;
	bool		generated;
	bool		invisible;
	char	   *default_value;	/* as the source prints it; NULL: none */
	bool		default_unknown;	/* it is an expression */

	/* derived by tap_mysql_resolve_column() */
	TapMysqlKind kind;
	bool		is_unsigned;
	int			length;			/* characters, bytes, bits or digits */
	int			scale;			/* of decimals; fraction digits of times */
	int			nlabels;		/* ENUM, SET */
	char	  **labels;
	Oid			pg_type;
	int32		pg_typmod;

	/* derived by tap_mysql_prepare_columns() */
	Datum	   *label_values;	/* text datums */
	TapMysqlCharset *conversion;	/* NULL: not text */
} TapMysqlColumn;

/* A source table; TapSourceTable.connector_data. */
typedef struct TapMysqlTable
{
	TapTableName name;
	int			ncolumns;
	TapMysqlColumn *columns;
	int			nkeys;
	AttrNumber *keys;
	char	   *key_index;		/* name of the key's index at the source */
	int			nindexes;
	TapSourceIndex *indexes;
	char	   *comment;
	char	   *engine;
	double		estimated_rows;
	double		estimated_bytes;
	bool		prepared;		/* tap_mysql_prepare_columns() was done */
	bool		is_mariadb;
} TapMysqlTable;

/* Set the derived fields of a column from its type. */
extern void tap_mysql_resolve_column(TapSession *session, TapMysqlColumn *column,
									 bool is_mariadb);

/*
 * Set a column's default from information_schema's COLUMN_DEFAULT and EXTRA;
 * the column's type must be known.
 */
extern void tap_mysql_set_default(TapMysqlColumn *column, const char *text,
								  const char *extra, bool is_mariadb);

/*
 * information_schema shows the defaults of today; these set those of a
 * statement that may be older, where it tells them.  Of a table the columns
 * are replaced by copies, in the current context.
 */
extern void tap_mysql_keep_default(TapMysqlColumn *column, const TapMysqlColumn *read);
extern void tap_mysql_keep_defaults(TapMysqlTable *table, const TapMysqlColumn *read);

/* Whether the columns of two tables of the same format have the same defaults. */
extern bool tap_mysql_same_defaults(const TapMysqlTable *a, const TapMysqlTable *b);

/*
 * What existing rows have in the column when it is added, in the input format
 * of its PostgreSQL type; NULL: NULL or not known.  In the current context.
 */
extern char *tap_mysql_default_input(TapSession *session,
									 const TapMysqlColumn *column);

/*
 * The name of a column as the core knows it: its beginning, where it is too
 * long for PostgreSQL.  In the current context.
 */
extern char *tap_mysql_fit_name(const char *name);

/* The core's view of a table, in the current context; shares its strings. */
extern TapSourceTable *tap_mysql_source_table(TapSession *session,
											  TapMysqlTable *table);

/*
 * Make ready to convert values: character sets and labels.  May ask the
 * server; what it makes lives in context.
 */
extern void tap_mysql_prepare_columns(TapSession *session, TapMysqlTable *table,
									  MemoryContext context);

/* The table of a TapSourceTable that came from this connector or its copy. */
extern TapMysqlTable *tap_mysql_table_of(TapSession *session,
										 TapSourceTable *source);

/* A table's format as JSON text, and back; in the current context. */
extern char *tap_mysql_definition_text(const TapMysqlTable *table);
extern TapMysqlTable *tap_mysql_definition_parse(TapSession *session,
												 const TapTableName *name,
												 const char *definition);

/* Whether rows of both formats are the same for the hub. */
extern bool tap_mysql_same_format(const TapMysqlTable *a, const TapMysqlTable *b);

/* Discovery; see TapSourceCallbacks. */
extern List *tap_mysql_list_tables(TapSession *session);
extern List *tap_mysql_describe_tables(TapSession *session, List *names);

/* The present formats of tables (List of TapTableName *): List of TapMysqlTable *. */
extern List *tap_mysql_read_tables(TapSession *session, List *names);

/* The present format of one table, NULL when it is gone. */
extern TapMysqlTable *tap_mysql_read_table(TapSession *session,
										   const TapTableName *name);

/*
 * Neutral values to datums.  All allocate in the current context and raise
 * errors of class 22 that name table and column.
 */
extern Datum tap_mysql_make_int(const TapMysqlColumn *column, int64 value);
extern Datum tap_mysql_make_uint(const TapMysqlColumn *column, uint64 value);
extern Datum tap_mysql_make_decimal(const TapMysqlColumn *column,
									const char *digits);
extern Datum tap_mysql_make_bit(const TapMysqlColumn *column, const uint8 *data,
								Size length);
extern Datum tap_mysql_make_string(TapSession *session,
								   const TapMysqlColumn *column,
								   const char *data, Size length);
extern Datum tap_mysql_make_bytes(const TapMysqlColumn *column,
								  const char *data, Size length);
extern Datum tap_mysql_make_enum(const TapMysqlColumn *column, uint64 number);
extern Datum tap_mysql_make_set(const TapMysqlColumn *column, uint64 mask);
extern Datum tap_mysql_make_json(TapSession *session,
								 const TapMysqlColumn *column,
								 const char *data, Size length);
extern Datum tap_mysql_make_time(TapSession *session,
								 const TapMysqlColumn *column,
								 const TapBinlogTime *time, bool *isnull);
extern Datum tap_mysql_make_geometry(const TapMysqlColumn *column,
									 const uint8 *data, Size length);
extern Datum tap_mysql_make_vector(const TapMysqlColumn *column,
								   const uint8 *data, Size length);
extern Datum tap_mysql_make_inet(const uint8 *data, int length);

/* Raise an error of class 22 about a value of the column. */
extern void tap_mysql_bad_value(const TapMysqlColumn *column, const char *what)
			__attribute__((noreturn));

/* The expression that reads a column in a snapshot. */
extern void tap_mysql_append_select(StringInfo sql, const TapMysqlColumn *column);

/* One value of a snapshot's row. */
extern Datum tap_mysql_text_value(TapSession *session,
								  const TapMysqlColumn *column,
								  const char *data, Size length, bool *isnull);

/* One cell of the log; wire is the column of the table map. */
extern Datum tap_mysql_cell_value(TapSession *session,
								  const TapMysqlColumn *column,
								  const TapBinlogColumn *wire,
								  TapBinlogReader *reader,
								  const TapBinlogCell *cell, bool *isnull);

/* Whether a column of the log can be read as this column. */
extern bool tap_mysql_column_fits(const TapMysqlColumn *column,
								  const TapBinlogColumn *wire,
								  const TapBinlogTable *map);

/* ---------------------------------------------------------------------
 * Positions
 * ---------------------------------------------------------------------
 */

typedef enum TapMysqlPositionKind
{
	TAP_MYSQL_POSITION_GTID,	/* a set of MySQL */
	TAP_MYSQL_POSITION_MARIADB, /* the last GTID of each domain */
	TAP_MYSQL_POSITION_FILE
} TapMysqlPositionKind;

/* A position; its sets are malloc'd, see tap_mysql_position_free(). */
typedef struct TapMysqlPosition
{
	TapMysqlPositionKind kind;
	TapGtidSet	gtids;
	TapMariaGtidList list;
	char		file[TAP_BINLOG_FILE_SIZE];
	uint64		offset;
} TapMysqlPosition;

/* Read a position; an error of class 22 when it is none.  hint_mariadb tells
 * whose an empty text is. */
extern void tap_mysql_position_parse(const char *text, bool hint_mariadb,
									 TapMysqlPosition *position);

/* Its canonical text, in the current context. */
extern char *tap_mysql_position_text(const TapMysqlPosition *position);
extern void tap_mysql_position_free(TapMysqlPosition *position);

/* See TapSourceCallbacks. */
extern TapPositionOrder tap_mysql_position_compare(const char *a, const char *b);

/* Whether a file position lies before another one. */
extern bool tap_mysql_position_before(const TapMysqlPosition *a,
									  const TapMysqlPosition *b);

extern char *tap_mysql_current_position(TapSession *session);
extern char *tap_mysql_safe_position(TapSession *session);
extern int64 tap_mysql_log_behind(TapSession *session, const char *position,
								  bool *purged, char **detail, char **hint);

/*
 * Begin a consistent snapshot on the connection and return its position, for
 * MariaDB, where the two belong together.
 */
extern char *tap_mysql_begin_snapshot_mariadb(TapSession *session);

/* The rows of SHOW MASTER STATUS or what it is called by now. */
extern TapMysqlRows *tap_mysql_log_status(TapSession *session, MYSQL *mysql);

/* ---------------------------------------------------------------------
 * Snapshots; see TapSourceCallbacks
 * ---------------------------------------------------------------------
 */

extern void tap_mysql_snapshot_plan(TapSession *session, TapSourceTable *table,
									int64 chunk_rows,
									void (*emit) (void *core_data,
												  const TapChunk *chunk),
									void *core_data);
extern void tap_mysql_snapshot_copy(TapSession *session, TapSourceTable *table,
									const TapChunk *chunk,
									TapRowReceiver *receiver);
extern char *tap_mysql_snapshot_copy_exact(TapSession *session,
										   TapSourceTable *table,
										   TapRowReceiver *receiver);

/* Append " WHERE ..." for a chunk, nothing when it is the whole table. */
extern void tap_mysql_append_chunk(StringInfo sql, const TapMysqlTable *table,
								   const TapChunk *chunk);

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

extern List *tap_mysql_test(const TapSessionArgs *args, List *tables);

/* ---------------------------------------------------------------------
 * The stream; see TapSourceCallbacks and mysql_stream.h
 * ---------------------------------------------------------------------
 */

extern void tap_mysql_stream_start(TapSession *session,
								   const TapStreamArgs *args);
extern void tap_mysql_stream_refollow(TapSession *session);
extern TapEventKind tap_mysql_stream_next(TapSession *session, TapEvent *event);
extern void tap_mysql_stream_wait(TapSession *session, TapWait *wait);
extern char *tap_mysql_stream_position(TapSession *session);
extern bool tap_mysql_txn_covered(TapSession *session, const char *position);
extern Datum tap_mysql_complete_value(TapSession *session, TapSourceTable *table,
									  AttrNumber column, Datum old_value,
									  bool old_isnull, void *partial,
									  bool *isnull);
extern void tap_mysql_unstage(TapSession *session, const char *data, Size bytes);
extern char *tap_mysql_describe_event(TapSession *session);

/* Free what a stream holds outside of its contexts; raises no error. */
extern void tap_mysql_stream_close(TapSession *session);

/*
 * Whether a transaction between the positions touches the table: reads the
 * log on a connection of its own.
 */
extern bool tap_mysql_log_touches(TapSession *session, const char *from,
								  const char *to, const TapTableName *table);

/* Open or close a session on given arguments, for tap_mysql_test(), too. */
extern TapSession *tap_mysql_open(const TapSessionArgs *args);
extern void tap_mysql_close(TapSession *session);

/* ---- mysql_sequence.c ---- */

/* Callback of the source. */
extern List *tap_mysql_list_sequences(TapSession *session, List *tables);

#endif							/* TAP_MYSQL_CONNECTOR_H */
