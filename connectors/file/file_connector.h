/*-------------------------------------------------------------------------
 *
 * connectors/file/file_connector.h
 *	  What the files of the file connector share.
 *
 * file_connector.c	options, URIs, sessions, the callbacks
 * file_table.c		which tables a connection has, and what they look like
 * file_options.c	options that a table may have for itself
 * file_list.c		which files there are
 * file_open.c		opening a file, if it may be read
 * file_bytes.c		the bytes of a file, decompressed
 * file_ledger.c	what is known of each file: notes, fingerprints
 * file_scan.c		which files are to be read now
 * file_watch.c		being told by the kernel that a folder changed
 * file_stream.c	files as transactions; file_stream.h is its own header
 * file_read.c		the file that is being read
 * file_position.c	positions
 * file_test.c		checks
 * file_format.c	formats; format_*.c: one each
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_FILE_CONNECTOR_H
#define TAPDATA_FILE_CONNECTOR_H

#include "postgres.h"

#include <sys/stat.h>

#include "connector.h"
#include "decompress.h"
#include "file_format.h"

/* How much of a file's beginning tells its format. */
#define TAP_FILE_SAMPLE_BYTES	65536

/* How long the kernel's clock of files may stand still, and more. */
#define TAP_FILE_TICK_NS		INT64CONST(20000000)

extern const TapCore *tap_file_core;

/* What a row of a file does to the hub. */
typedef enum TapFileMode
{
	TAP_FILE_APPEND,			/* inserts */
	TAP_FILE_UPSERT,			/* is written over the row with its key */
	TAP_FILE_REPLACE			/* the newest file is all of the table */
} TapFileMode;

/* One table: the files whose names match its pattern. */
typedef struct TapFileTable
{
	TapTableName name;
	char	   *pattern;		/* absolute, as glob() takes it */
	List	   *overrides;		/* of TapFileOverride *: options of its own */
	List	   *key;			/* of char *: columns */
	TapFileMode mode;

	/* in a session that streams */
	bool		asked;			/* whether the core wants it */
	void	   *table_data;		/* NULL: it does not */
	char	   *definition;		/* at the stream's position, or NULL */
	List	   *entries;		/* of TapFileEntry *, by path */
	bool		due;			/* its files are, but it is not asked for yet */
} TapFileTable;

typedef struct TapFileOverride
{
	char	   *name;
	char	   *value;
} TapFileOverride;

/* A file that is there. */
typedef struct TapFileFound
{
	char	   *path;
	uint64		inode;
	int64		size;
	int64		mtime;			/* nanoseconds since 1970 */
	int64		ctime;
} TapFileFound;

/*
 * What is known of a file.  All but the last group is kept in a note, see
 * file_ledger.c.
 */
typedef struct TapFileEntry
{
	TapFileTable *table;
	char	   *path;

	/* the file when it was looked at last */
	uint64		inode;
	int64		size;
	int64		mtime;
	bool		done;			/* all of that was read */

	/* how far, of the decompressed bytes */
	int64		offset;
	int64		records;
	int64		lines;
	bool		torn;			/* the last record had no line break */

	/* what was there, to know it again: bytes of the file itself */
	int64		head_bytes;
	uint32		head_crc;
	int64		tail_end;		/* 0: not noted */
	uint32		tail_crc;
	char	   *state;			/* the format's, or NULL */

	/* not kept */
	bool		noted;			/* there is such a note */
	bool		present;		/* in the last listing, as found: */
	TapFileFound found;
	int64		quiet_since;	/* milliseconds of tap_file_clock() */
	int64		tried_size;		/* whose whole records were read; -1: none */
	bool		settled;		/* nobody has written to it for a while */
	bool		final;			/* nor will go on with its last line */
	bool		due;			/* is to be read for TapFileStream.goal: */
	int64		due_size;		/* as far as it went then */
	uint64		due_inode;		/* and whatever its name is now */
} TapFileEntry;

typedef struct TapFileWatch TapFileWatch;
typedef struct TapFileStream TapFileStream;

struct TapSession
{
	const TapSessionArgs *args;
	char	   *path;			/* of the URI, absolute */
	char	   *base;			/* its folder, without wildcards, resolved;
								 * see tap_file_find_base() */
	bool		folder;			/* the URI ends with a slash */
	List	   *tables;			/* of TapFileTable * */
	TapFileStream *stream;		/* NULL: does not stream */
};

/* ---- file_options.c ---- */

/* The value of an option, the table's own or the connection's; or NULL. */
extern const char *tap_file_option(TapSession *session, const TapFileTable *table,
								   const char *name);
extern bool tap_file_option_bool(TapSession *session, const TapFileTable *table,
								 const char *name);

/*
 * Check the option "tables", for TapOption.check.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE.
 */
extern void tap_file_check_tables(const char *json);
extern void tap_file_check_key(const char *value);
extern void tap_file_check_character(const char *value);
extern void tap_file_check_encoding(const char *value);

/*
 * Of such an option: List of TapFileTable *, with name, pattern (as it was
 * given) and overrides.  In the current context.
 */
extern List *tap_file_tables_given(const char *json);

/* Columns by their names, divided by commas.  List of char *. */
extern List *tap_file_key_split(const char *value);

/* The values of the option "mode", in the order of TapFileMode; ends with NULL. */
extern const char *const tap_file_modes[];

/* Of such a value.  Raises ERRCODE_INVALID_PARAMETER_VALUE. */
extern TapFileMode tap_file_mode(const char *value);

/* ---- file_table.c ---- */

/* Fill TapSession.tables; again: with tables that turned up since. */
extern void tap_file_tables_load(TapSession *session);

/* By its name, or NULL. */
extern TapFileTable *tap_file_table_find(TapSession *session, const TapTableName *name);

/*
 * A definition: the name of the format, and what that calls one.  The format
 * is a pointer to a constant.  The plan lives in the current context.
 */
extern TapSourceTable *tap_file_table_describe(const TapFileTable *table,
											   const TapFormat *format,
											   const TapFormatPlan *plan);
extern const TapFormat *tap_file_definition_parse(const char *definition,
												  const char **format_definition);

/*
 * The plan for a file with this sample, or of the definition alone (sample
 * NULL); see TapFormat.plan.  Current context.
 */
extern TapFormatPlan *tap_file_table_plan(TapSession *session, TapFileTable *table,
										  const TapFormat *format,
										  const char *format_definition,
										  const char *sample, Size bytes, bool at_end);

/* The format that the options say, or NULL. */
extern const TapFormat *tap_file_table_format(TapSession *session,
											  const TapFileTable *table);

extern List *tap_file_list_tables(TapSession *session);
extern List *tap_file_describe_tables(TapSession *session, List *names);
extern TapSourceTable *tap_file_table_from_definition(TapSession *session,
													  const TapTableName *name,
													  const char *definition);

/* ---- file_list.c ---- */

/*
 * The files of a table, by their names: List of TapFileFound *, in the current
 * context.  Those that may not be read yet (locks, temporary names) are left
 * out.  *newest becomes the latest time at which one of them, or their folder,
 * changed, if that is later.  Raises an error of class 58 if a folder cannot
 * be read.
 */
extern List *tap_file_list(TapSession *session, const TapFileTable *table, int64 *newest);

/* All but the path, of what stat() says. */
extern void tap_file_found_set(TapFileFound *found, const struct stat *status);

/* The folders that hold the files of a table.  List of char *. */
extern List *tap_file_list_folders(const TapFileTable *table);

/* The folder of a pattern before its first wildcard. */
extern char *tap_file_base(const char *pattern);

/* Text that glob() takes for itself. */
extern char *tap_file_escape(const char *text);

/* Nanoseconds since 1970; milliseconds of a clock that nobody sets. */
extern int64 tap_file_now(void);
extern int64 tap_file_clock(void);

/* ---- file_open.c ---- */

/* Whether the user may read files of the server. */
extern bool tap_file_is_permitted(void);

/* Raises ERRCODE_INSUFFICIENT_PRIVILEGE unless that is so. */
extern void tap_file_check_privilege(void);

/* An open file; closed with the context of its making, or by close. */
typedef struct TapFileHandle
{
	int			fd;
	TapFileFound found;			/* as it is now */
	MemoryContextCallback callback;
} TapFileHandle;

/*
 * Set the session's base, of its context: the folder that no file may be
 * outside of.  What is below a link that was switched has another one.
 */
extern void tap_file_find_base(TapSession *session);

/*
 * Open a file of the session's folder.  NULL: it is gone, is no ordinary
 * file, or lies elsewhere, which *reason says.  Raises an error if it is
 * there and cannot be read.
 */
extern TapFileHandle *tap_file_open(TapSession *session, const char *path,
									const char **reason);
extern void tap_file_close(TapFileHandle *handle);

/* pread() of up to so many bytes; raises an error of class 58. */
extern Size tap_file_read(TapFileHandle *handle, char *data, Size bytes, int64 offset);

/* ---- file_bytes.c ---- */

/* The bytes of a file from some place on; lives in the context of its making. */
typedef struct TapFileBytes
{
	const char *data;			/* a zero byte follows */
	Size		bytes;			/* there now */
	bool		exhausted;		/* no more will be there */
	int64		offset;			/* of data, decompressed */
} TapFileBytes;

/* How a file is compressed, by the option or its first bytes. */
extern TapCompression tap_file_compression(TapSession *session, const TapFileTable *table,
										   TapFileHandle *handle);

/*
 * Begin to read.  Bytes of the file itself behind limit are as if not there.
 */
extern TapFileBytes *tap_file_bytes_begin(TapFileHandle *handle, TapCompression compression,
										  int64 max_ratio, int64 limit);

/* Read until there are bytes more than were, or no more. */
extern void tap_file_bytes_more(TapFileBytes *bytes);

/* Go on behind so many bytes of data. */
extern void tap_file_bytes_take(TapFileBytes *bytes, Size taken);

/* Go to an offset from the beginning. */
extern void tap_file_bytes_skip(TapFileBytes *bytes, int64 offset);

/* How much of the file itself was needed for what was taken, at least. */
extern int64 tap_file_bytes_raw(const TapFileBytes *bytes);

/* ---- file_ledger.c ---- */

/* All entries of the pipeline's notes, by path: List of TapFileEntry *. */
extern List *tap_file_ledger_load(TapSession *session);

/* A file of which nothing is known; in the current context. */
extern TapFileEntry *tap_file_ledger_new(TapFileTable *table, const char *path);

/* Forget what was read of it; it is another file now. */
extern void tap_file_ledger_reset(TapFileEntry *entry);

/* Take over what is known of from: it has another name now. */
extern void tap_file_ledger_move(TapFileEntry *entry, const TapFileEntry *from);

/* Have the entry in a note, with the next position; or no more. */
extern void tap_file_ledger_note(TapFileEntry *entry);
extern void tap_file_ledger_drop(TapFileEntry *entry);

/* Note in the entry what the file is up to raw bytes of it. */
extern void tap_file_ledger_mark(TapFileEntry *entry, TapFileHandle *handle, int64 raw);

/* Whether the file begins with what was marked. */
extern bool tap_file_ledger_matches(const TapFileEntry *entry, TapFileHandle *handle);

/* ---- file_position.c ---- */

/* All that changed up to covered (nanoseconds) was read, in so many steps. */
extern char *tap_file_position_text(int64 covered, int64 steps);
extern void tap_file_position_parse(const char *text, int64 *covered, int64 *steps);
extern TapPositionOrder tap_file_position_compare(const char *a, const char *b);
extern char *tap_file_current_position(TapSession *session);
extern int64 tap_file_log_behind(TapSession *session, const char *position, bool *purged,
								 char **detail, char **hint);

/* ---- file_watch.c ---- */

/* Watch folders; what cannot be watched is looked at now and then. */
extern TapFileWatch *tap_file_watch_begin(void);
extern void tap_file_watch_folder(TapFileWatch *watch, const char *folder);

/* PGINVALID_SOCKET: there is nothing to wait on. */
extern pgsocket tap_file_watch_socket(const TapFileWatch *watch);

/* Whether something changed since the last call. */
extern bool tap_file_watch_changed(TapFileWatch *watch);

/* ---- file_stream.c ---- */

extern void tap_file_stream_start(TapSession *session, const TapStreamArgs *args);
extern void tap_file_stream_refollow(TapSession *session);
extern TapEventKind tap_file_stream_next(TapSession *session, TapEvent *event);
extern void tap_file_stream_wait(TapSession *session, TapWait *wait);
extern char *tap_file_stream_position(TapSession *session);
extern char *tap_file_describe_event(TapSession *session);

/* ---- file_test.c ---- */

/* See TapConnector.test. */
extern List *tap_file_test(const TapSessionArgs *args, List *tables);

/* ---- file_connector.c ---- */

extern TapSession *tap_file_session_open(const TapSessionArgs *args);

#endif							/* TAPDATA_FILE_CONNECTOR_H */
