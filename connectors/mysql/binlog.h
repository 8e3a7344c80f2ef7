/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog.h
 *	  Decoder of MySQL and MariaDB binary log events.
 *
 * NOTES
 *	  Plain C with libc, zlib and zstd only, so that it can be fuzzed and used
 *	  outside a server.  It waits for nothing, prints nothing, never aborts and
 *	  keeps no global state.  Every input is taken for hostile: nothing outside
 *	  the packet is read, and no allocation exceeds the limits of the reader.
 *
 *	  Results point into the packet that was given (zero copy), into the table
 *	  cache of the reader, or into its scratch buffer.  Unless said otherwise
 *	  they are valid until the next parse with the same reader and as long as
 *	  the packet itself.
 *
 *	  Use, for each packet of the dump (without the leading status byte):
 *
 *		tap_binlog_parse_event(reader, packet, length, &event)
 *		  rows event:    tap_binlog_rows_begin, tap_binlog_rows_next ...
 *		  payload event: tap_binlog_payload_open, then for each inner event of
 *						 tap_binlog_payload_next: tap_binlog_parse_inner ...
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_BINLOG_H
#define TAP_BINLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Results of every function that can fail; tap_binlog_message tells more. */
typedef enum TapBinlogStatus
{
	TAP_BINLOG_OK = 0,
	TAP_BINLOG_TRUNCATED,		/* the input ends before it should */
	TAP_BINLOG_CORRUPT,			/* the input contradicts its format */
	TAP_BINLOG_BAD_CHECKSUM,	/* CRC32 does not match */
	TAP_BINLOG_UNSUPPORTED,		/* well-formed, but not known to this decoder */
	TAP_BINLOG_NO_TABLE,		/* a rows event whose table map was not seen */
	TAP_BINLOG_LIMIT,			/* a limit of the reader was exceeded */
	TAP_BINLOG_NO_MEMORY		/* the allocator returned NULL */
} TapBinlogStatus;

/* Whose dialect the log speaks; some event numbers and types differ. */
typedef enum TapBinlogFlavour
{
	TAP_BINLOG_MYSQL = 0,
	TAP_BINLOG_MARIADB
} TapBinlogFlavour;

/* Checksum algorithms as in the format description event. */
typedef enum TapBinlogChecksum
{
	TAP_BINLOG_CHECKSUM_NONE = 0,
	TAP_BINLOG_CHECKSUM_CRC32 = 1,
	TAP_BINLOG_CHECKSUM_UNKNOWN = 255	/* no format description seen yet */
} TapBinlogChecksum;

/* Event numbers on the wire. */
#define TAP_BINLOG_EVENT_START_V3				1
#define TAP_BINLOG_EVENT_QUERY					2
#define TAP_BINLOG_EVENT_STOP					3
#define TAP_BINLOG_EVENT_ROTATE					4
#define TAP_BINLOG_EVENT_INTVAR					5
#define TAP_BINLOG_EVENT_LOAD					6
#define TAP_BINLOG_EVENT_SLAVE					7
#define TAP_BINLOG_EVENT_CREATE_FILE			8
#define TAP_BINLOG_EVENT_APPEND_BLOCK			9
#define TAP_BINLOG_EVENT_EXEC_LOAD				10
#define TAP_BINLOG_EVENT_DELETE_FILE			11
#define TAP_BINLOG_EVENT_NEW_LOAD				12
#define TAP_BINLOG_EVENT_RAND					13
#define TAP_BINLOG_EVENT_USER_VAR				14
#define TAP_BINLOG_EVENT_FORMAT_DESCRIPTION		15
#define TAP_BINLOG_EVENT_XID					16
#define TAP_BINLOG_EVENT_BEGIN_LOAD_QUERY		17
#define TAP_BINLOG_EVENT_EXECUTE_LOAD_QUERY		18
#define TAP_BINLOG_EVENT_TABLE_MAP				19
#define TAP_BINLOG_EVENT_WRITE_ROWS_V1			23
#define TAP_BINLOG_EVENT_UPDATE_ROWS_V1			24
#define TAP_BINLOG_EVENT_DELETE_ROWS_V1			25
#define TAP_BINLOG_EVENT_INCIDENT				26
#define TAP_BINLOG_EVENT_HEARTBEAT				27
#define TAP_BINLOG_EVENT_IGNORABLE				28
#define TAP_BINLOG_EVENT_ROWS_QUERY				29
#define TAP_BINLOG_EVENT_WRITE_ROWS				30
#define TAP_BINLOG_EVENT_UPDATE_ROWS			31
#define TAP_BINLOG_EVENT_DELETE_ROWS			32
#define TAP_BINLOG_EVENT_GTID					33
#define TAP_BINLOG_EVENT_ANONYMOUS_GTID			34
#define TAP_BINLOG_EVENT_PREVIOUS_GTIDS			35
#define TAP_BINLOG_EVENT_TRANSACTION_CONTEXT	36
#define TAP_BINLOG_EVENT_VIEW_CHANGE			37
#define TAP_BINLOG_EVENT_XA_PREPARE				38
#define TAP_BINLOG_EVENT_PARTIAL_UPDATE_ROWS	39
#define TAP_BINLOG_EVENT_TRANSACTION_PAYLOAD	40
#define TAP_BINLOG_EVENT_HEARTBEAT_V2			41
#define TAP_BINLOG_EVENT_GTID_TAGGED			42
#define TAP_BINLOG_EVENT_ANNOTATE_ROWS			160
#define TAP_BINLOG_EVENT_BINLOG_CHECKPOINT		161
#define TAP_BINLOG_EVENT_MARIADB_GTID			162
#define TAP_BINLOG_EVENT_MARIADB_GTID_LIST		163
#define TAP_BINLOG_EVENT_START_ENCRYPTION		164
#define TAP_BINLOG_EVENT_QUERY_COMPRESSED		165
#define TAP_BINLOG_EVENT_WRITE_ROWS_COMPRESSED_V1	166
#define TAP_BINLOG_EVENT_UPDATE_ROWS_COMPRESSED_V1	167
#define TAP_BINLOG_EVENT_DELETE_ROWS_COMPRESSED_V1	168
#define TAP_BINLOG_EVENT_WRITE_ROWS_COMPRESSED	169
#define TAP_BINLOG_EVENT_UPDATE_ROWS_COMPRESSED	170
#define TAP_BINLOG_EVENT_DELETE_ROWS_COMPRESSED	171
#define TAP_BINLOG_EVENT_PARTIAL_ROW_DATA		172

/*
 * What an event means, whatever its number.  A consumer switches over this.
 * STATEMENT, INCIDENT, ENCRYPTED and UNKNOWN must stop a reader that applies
 * rows, UNKNOWN unless the event is marked ignorable (then it is IGNORABLE).
 */
typedef enum TapBinlogKind
{
	TAP_BINLOG_KIND_UNKNOWN = 0,	/* a number this decoder does not know */
	TAP_BINLOG_KIND_IGNORABLE,	/* may be passed over: checkpoint, stop, view
								 * change, flag LOG_EVENT_IGNORABLE_F, ... */
	TAP_BINLOG_KIND_ROTATE,
	TAP_BINLOG_KIND_FORMAT_DESCRIPTION,
	TAP_BINLOG_KIND_QUERY,
	TAP_BINLOG_KIND_GTID,		/* MySQL: with uuid, anonymous or tagged */
	TAP_BINLOG_KIND_MARIADB_GTID,
	TAP_BINLOG_KIND_MARIADB_GTID_LIST,
	TAP_BINLOG_KIND_PREVIOUS_GTIDS,
	TAP_BINLOG_KIND_TABLE_MAP,
	TAP_BINLOG_KIND_WRITE_ROWS,
	TAP_BINLOG_KIND_UPDATE_ROWS,
	TAP_BINLOG_KIND_DELETE_ROWS,
	TAP_BINLOG_KIND_XID,
	TAP_BINLOG_KIND_XA_PREPARE,
	TAP_BINLOG_KIND_HEARTBEAT,
	TAP_BINLOG_KIND_INCIDENT,	/* the source says that events were lost */
	TAP_BINLOG_KIND_ROWS_QUERY, /* the statement behind rows, for the reader */
	TAP_BINLOG_KIND_PAYLOAD,	/* a compressed transaction */
	TAP_BINLOG_KIND_STATEMENT,	/* changes as statements: LOAD DATA, INTVAR,
								 * RAND, USER_VAR */
	TAP_BINLOG_KIND_FRAGMENT,	/* MariaDB 12.3: piece of a large rows event */
	TAP_BINLOG_KIND_ENCRYPTED	/* what follows is encrypted (files only: a
								 * source sends it decrypted, and this event
								 * marked ignorable) */
} TapBinlogKind;

/* Bits of TapBinlogEvent.flags. */
#define TAP_BINLOG_FLAG_ARTIFICIAL		0x0020
#define TAP_BINLOG_FLAG_IGNORABLE		0x0080

/* Column types on the wire. */
#define TAP_BINLOG_TYPE_DECIMAL			0	/* before MySQL 5.0: unsupported */
#define TAP_BINLOG_TYPE_TINY			1
#define TAP_BINLOG_TYPE_SHORT			2
#define TAP_BINLOG_TYPE_LONG			3
#define TAP_BINLOG_TYPE_FLOAT			4
#define TAP_BINLOG_TYPE_DOUBLE			5
#define TAP_BINLOG_TYPE_NULL			6
#define TAP_BINLOG_TYPE_TIMESTAMP		7
#define TAP_BINLOG_TYPE_LONGLONG		8
#define TAP_BINLOG_TYPE_INT24			9
#define TAP_BINLOG_TYPE_DATE			10
#define TAP_BINLOG_TYPE_TIME			11
#define TAP_BINLOG_TYPE_DATETIME		12
#define TAP_BINLOG_TYPE_YEAR			13
#define TAP_BINLOG_TYPE_NEWDATE			14
#define TAP_BINLOG_TYPE_VARCHAR			15
#define TAP_BINLOG_TYPE_BIT				16
#define TAP_BINLOG_TYPE_TIMESTAMP2		17
#define TAP_BINLOG_TYPE_DATETIME2		18
#define TAP_BINLOG_TYPE_TIME2			19
#define TAP_BINLOG_TYPE_TYPED_ARRAY		20
#define TAP_BINLOG_TYPE_BLOB_COMPRESSED	140
#define TAP_BINLOG_TYPE_VARCHAR_COMPRESSED	141
#define TAP_BINLOG_TYPE_VECTOR			242
#define TAP_BINLOG_TYPE_JSON			245
#define TAP_BINLOG_TYPE_NEWDECIMAL		246
#define TAP_BINLOG_TYPE_ENUM			247
#define TAP_BINLOG_TYPE_SET				248
#define TAP_BINLOG_TYPE_TINY_BLOB		249
#define TAP_BINLOG_TYPE_MEDIUM_BLOB		250
#define TAP_BINLOG_TYPE_LONG_BLOB		251
#define TAP_BINLOG_TYPE_BLOB			252
#define TAP_BINLOG_TYPE_VAR_STRING		253
#define TAP_BINLOG_TYPE_STRING			254
#define TAP_BINLOG_TYPE_GEOMETRY		255

/* Sizes of texts that callers provide room for, with their final NUL. */
#define TAP_BINLOG_MESSAGE_SIZE		256
#define TAP_BINLOG_DECIMAL_SIZE		96
#define TAP_BINLOG_DOUBLE_SIZE		40
#define TAP_BINLOG_FILE_SIZE		512 /* longest log file name + 1 */
#define TAP_BINLOG_GTRID_SIZE		64	/* longest gtrid or bqual of an XA xid */

/*
 * Memory callbacks; NULL ones mean realloc and free.  resize behaves as
 * realloc (old may be NULL) and must return NULL when it fails, not jump
 * away.
 */
typedef struct TapBinlogMemory
{
	void	   *(*resize) (void *context, void *old, size_t size);
	void		(*release) (void *context, void *old);
	void	   *context;
} TapBinlogMemory;

/* Bytes in a packet, not terminated by NUL; data is never NULL. */
typedef struct TapBinlogString
{
	const char *data;
	uint32_t	length;
} TapBinlogString;

/*
 * A growable output buffer of the caller.  Initialise it with
 * tap_binlog_buffer_init; data is kept NUL-terminated when length > 0.
 */
typedef struct TapBinlogBuffer
{
	char	   *data;
	size_t		length;
	size_t		capacity;
	size_t		limit;			/* bytes it may grow to */
	TapBinlogMemory memory;
} TapBinlogBuffer;

/*
 * A column of a table map.  The first group is always known, the second only
 * where the log carries it (see TapBinlogTable.has_*).
 */
typedef struct TapBinlogColumn
{
	uint8_t		type;			/* real type: ENUM and SET are told from
								 * STRING, blobs are BLOB with prefix_bytes */
	uint8_t		wire_type;		/* as in the table map */
	uint16_t	metadata;		/* as in the table map, low byte first */
	bool		nullable;
	bool		compressed;		/* MariaDB COMPRESSED: see
								 * tap_binlog_inflate_column */
	uint8_t		fixed_bytes;	/* size of a value; 0 if it has a prefix */
	uint8_t		prefix_bytes;	/* size of a value's length prefix */
	uint8_t		precision;		/* DECIMAL: digits */
	uint8_t		scale;			/* DECIMAL: digits after the point; temporal
								 * types: digits of the fraction (0..6) */
	uint32_t	max_bytes;		/* CHAR, BINARY, VARCHAR: declared length in
								 * bytes; ENUM, SET: pack length; BIT: bits */

	bool		is_unsigned;
	bool		visible;		/* true where not known */
	uint32_t	collation;		/* collation id, 0 = not known; 63 = binary */
	uint32_t	geometry_type;	/* 0 = any */
	uint32_t	vector_dimension;
	const char *name;			/* NUL-terminated, NULL = not known */
	uint32_t	name_length;
	uint32_t	label_count;	/* ENUM, SET */
	const TapBinlogString *labels;	/* in the column's own character set */
} TapBinlogColumn;

/*
 * A table map.  Owned by the reader's cache; valid until the next table map is
 * parsed or tap_binlog_reset.  When a later map of the same id has the same
 * bytes, the same object stays, with its serial and user: so a consumer hangs
 * what it derived from it on `user` and derives it again only when that is
 * NULL.
 */
typedef struct TapBinlogTable
{
	uint64_t	table_id;
	uint64_t	serial;			/* never reused by a reader */
	void	   *user;			/* the consumer's; see TapBinlogReader.forget */
	uint16_t	flags;
	const char *schema;			/* NUL-terminated, utf8 */
	const char *name;			/* likewise */
	uint32_t	schema_length;
	uint32_t	name_length;
	uint32_t	column_count;
	TapBinlogColumn *columns;
	bool		has_signedness;
	bool		has_collations; /* of character columns */
	bool		has_enum_collations;
	bool		has_names;
	bool		has_labels;
	bool		has_primary_key;
	bool		has_visibility;
	uint32_t	key_count;		/* columns in the primary key */
	const uint32_t *key_columns;	/* their ordinals, from 0 */
	const uint32_t *key_prefixes;	/* their prefix in characters, 0 = whole */
} TapBinlogTable;

/* FORMAT_DESCRIPTION */
typedef struct TapBinlogFormat
{
	uint16_t	version;		/* 4 */
	char		server_version[51];
	uint32_t	created;
	TapBinlogChecksum checksum; /* of the events that follow */
	uint32_t	event_count;	/* highest event number it describes */
} TapBinlogFormat;

/* ROTATE */
typedef struct TapBinlogRotate
{
	uint64_t	position;		/* first position to read in the next file */
	TapBinlogString file;
} TapBinlogRotate;

/* QUERY and QUERY_COMPRESSED; what is not in the log is 0 and has_* false */
typedef struct TapBinlogQuery
{
	uint32_t	thread_id;
	uint32_t	execution_seconds;
	uint16_t	error_code;
	TapBinlogString schema;		/* default database, may be empty */
	TapBinlogString statement;	/* a trailing NUL is cut off */
	bool		has_flags2;
	bool		has_sql_mode;
	bool		has_charset;
	bool		has_xid;
	uint32_t	flags2;
	uint64_t	sql_mode;
	uint16_t	client_charset;
	uint16_t	connection_collation;
	uint16_t	server_collation;
	uint32_t	microseconds;	/* fraction of the event's timestamp */
	uint64_t	xid;			/* DDL that MySQL logs with its xid */
	TapBinlogString time_zone;
} TapBinlogQuery;

/* GTID, ANONYMOUS_GTID, GTID_TAGGED of MySQL */
typedef struct TapBinlogGtid
{
	bool		anonymous;
	uint8_t		uuid[16];
	char		tag[33];		/* NUL-terminated, empty = none */
	uint64_t	gno;
	uint8_t		flags;			/* 1 = may hold statement-based changes */
	int64_t		last_committed;
	int64_t		sequence_number;
	uint64_t	immediate_commit_micros;	/* since 1970, 0 = not in the log */
	uint64_t	original_commit_micros;
	uint64_t	transaction_bytes;	/* with this event, 0 = not in the log */
	uint32_t	original_server_version;
	uint32_t	immediate_server_version;
} TapBinlogGtid;

/* Xid of a distributed transaction, as the client gave it */
typedef struct TapBinlogXid
{
	uint32_t	format_id;
	uint8_t		gtrid_length;	/* at most 64 */
	uint8_t		bqual_length;	/* at most 64 */
	const uint8_t *data;		/* gtrid, then bqual */
} TapBinlogXid;

/* Bits of TapBinlogMariaGtid.flags */
#define TAP_BINLOG_MARIADB_STANDALONE		0x01	/* no COMMIT follows: DDL */
#define TAP_BINLOG_MARIADB_GROUP_COMMIT		0x02
#define TAP_BINLOG_MARIADB_TRANSACTIONAL	0x04
#define TAP_BINLOG_MARIADB_ALLOW_PARALLEL	0x08
#define TAP_BINLOG_MARIADB_WAITED			0x10
#define TAP_BINLOG_MARIADB_DDL				0x20
#define TAP_BINLOG_MARIADB_PREPARED_XA		0x40
#define TAP_BINLOG_MARIADB_COMPLETED_XA		0x80
/* Bits of TapBinlogMariaGtid.extra_flags */
#define TAP_BINLOG_MARIADB_EXTRA_MULTI_ENGINE	0x01
#define TAP_BINLOG_MARIADB_START_ALTER		0x02
#define TAP_BINLOG_MARIADB_COMMIT_ALTER		0x04
#define TAP_BINLOG_MARIADB_ROLLBACK_ALTER	0x08

/* MariaDB GTID event */
typedef struct TapBinlogMariaGtid
{
	uint32_t	domain_id;
	uint32_t	server_id;		/* of the event header */
	uint64_t	sequence;
	uint8_t		flags;
	uint8_t		extra_flags;
	uint64_t	commit_id;		/* with GROUP_COMMIT */
	uint64_t	alter_sequence; /* COMMIT_ALTER, ROLLBACK_ALTER: the sequence
								 * number of its START_ALTER */
	TapBinlogXid xid;			/* PREPARED_XA, COMPLETED_XA */
} TapBinlogMariaGtid;

/*
 * MariaDB GTID list: the state before this file; see tap_binlog_gtid_list_get
 */
typedef struct TapBinlogGtidList
{
	uint32_t	count;
	uint8_t		flags;
	const uint8_t *data;		/* count * 16 bytes */
} TapBinlogGtidList;

/* XA_PREPARE of MySQL (and of MariaDB 10.5 up) */
typedef struct TapBinlogXaPrepare
{
	bool		one_phase;		/* this is a commit already */
	TapBinlogXid xid;
} TapBinlogXaPrepare;

/* HEARTBEAT: where the source stands; carries no change */
typedef struct TapBinlogHeartbeat
{
	TapBinlogString file;
	uint64_t	position;
} TapBinlogHeartbeat;

/* INCIDENT */
typedef struct TapBinlogIncident
{
	uint16_t	number;			/* 1 = lost events */
	TapBinlogString message;
} TapBinlogIncident;

/* Bits of TapBinlogRowsEvent.flags */
#define TAP_BINLOG_ROWS_STATEMENT_END		0x0001
#define TAP_BINLOG_ROWS_NO_FOREIGN_KEYS		0x0002
#define TAP_BINLOG_ROWS_NO_UNIQUE_CHECKS	0x0004

/*
 * Rows events of all versions.  table is NULL only for the rowless event that
 * just ends a statement.
 */
typedef struct TapBinlogRowsEvent
{
	uint64_t	table_id;
	TapBinlogTable *table;
	uint16_t	flags;
	bool		partial_json;	/* PARTIAL_UPDATE_ROWS */
	uint32_t	column_count;
	const uint8_t *before_columns;	/* bitmaps of the columns in the image,
									 * NULL */
	const uint8_t *after_columns;	/* for an image that the event lacks */
	const uint8_t *rows;
	uint32_t	rows_length;
} TapBinlogRowsEvent;

/* Compression of TRANSACTION_PAYLOAD */
typedef enum TapBinlogCompression
{
	TAP_BINLOG_COMPRESSION_ZSTD = 0,
	TAP_BINLOG_COMPRESSION_NONE = 255
} TapBinlogCompression;

/* TRANSACTION_PAYLOAD */
typedef struct TapBinlogPayloadEvent
{
	TapBinlogCompression compression;
	uint64_t	uncompressed_bytes; /* as announced, 0 = not said */
	const uint8_t *data;
	uint32_t	length;
} TapBinlogPayloadEvent;

/* PARTIAL_ROW_DATA of MariaDB 12.3: a piece of a rows event */
typedef struct TapBinlogFragment
{
	uint32_t	total;			/* pieces */
	uint32_t	sequence;		/* of this one, from 1 */
	uint8_t		flags;
	uint64_t	original_bytes; /* of the whole event, 0 = not in this piece */
	const uint8_t *data;
	uint32_t	length;
} TapBinlogFragment;

/* An event.  The member of the union follows from kind. */
typedef struct TapBinlogEvent
{
	TapBinlogKind kind;
	uint8_t		type;			/* TAP_BINLOG_EVENT_* */
	uint16_t	flags;
	bool		inner;			/* from a TRANSACTION_PAYLOAD */
	uint32_t	timestamp;		/* seconds since 1970; start of the statement */
	uint32_t	server_id;
	uint32_t	event_length;	/* as in the header */
	uint32_t	next_position;	/* end of this event in its file modulo 2^32;
								 * 0 in artificial events and, from MariaDB
								 * 11.4, inside a transaction */
	const uint8_t *body;		/* after the header, without checksum */
	uint32_t	body_length;
	union
	{
		TapBinlogFormat format;
		TapBinlogRotate rotate;
		TapBinlogQuery query;
		TapBinlogGtid gtid;
		TapBinlogMariaGtid maria_gtid;
		TapBinlogGtidList gtid_list;
		TapBinlogString previous_gtids; /* tap_gtid_set_decode reads it */
		TapBinlogTable *table;	/* TABLE_MAP */
		TapBinlogRowsEvent rows;
		uint64_t	xid;
		TapBinlogXaPrepare xa_prepare;
		TapBinlogHeartbeat heartbeat;
		TapBinlogIncident incident;
		TapBinlogString rows_query;
		TapBinlogPayloadEvent payload;
		TapBinlogFragment fragment;
	}			u;
} TapBinlogEvent;

/* What a cell holds */
typedef enum TapBinlogCellState
{
	TAP_BINLOG_CELL_ABSENT = 0, /* not in this image */
	TAP_BINLOG_CELL_NULL,
	TAP_BINLOG_CELL_VALUE,
	TAP_BINLOG_CELL_PARTIAL_JSON	/* diffs for tap_binlog_json_apply */
} TapBinlogCellState;

/* A value of a row: its exact bytes, without a length prefix. */
typedef struct TapBinlogCell
{
	const uint8_t *data;		/* NULL unless VALUE or PARTIAL_JSON */
	uint32_t	length;
	uint32_t	state;			/* TapBinlogCellState */
} TapBinlogCell;

typedef struct TapBinlogReader TapBinlogReader;

/* An iteration over the rows of an event; the caller's, no need to end it. */
typedef struct TapBinlogRows
{
	TapBinlogReader *reader;
	const TapBinlogRowsEvent *event;
	const TapBinlogTable *table;
	TapBinlogKind kind;
	const uint8_t *position;
	const uint8_t *end;
	uint32_t	before_present; /* number of columns in each image */
	uint32_t	after_present;
	uint32_t	json_columns;	/* JSON columns in the table */
	uint64_t	row_number;		/* rows returned so far */
} TapBinlogRows;

/* A calendar value.  Ranges are those of the log, not those of a calendar. */
typedef struct TapBinlogTime
{
	bool		negative;		/* TIME only */
	bool		is_epoch;		/* TIMESTAMP: only epoch and microsecond count */
	uint16_t	year;			/* zero and partly zero dates occur */
	uint8_t		month;
	uint8_t		day;
	uint16_t	hour;			/* TIME: up to 838 (the log can hold 1023) */
	uint8_t		minute;
	uint8_t		second;
	uint32_t	microsecond;
	int64_t		epoch;			/* seconds since 1970-01-01 UTC; 0 with
								 * microsecond 0 is MySQL's zero timestamp */
} TapBinlogTime;

typedef struct TapBinlogPayload TapBinlogPayload;

/* --- reader -------------------------------------------------------------- */

/*
 * Make a reader; NULL when out of memory.  memory may be NULL.  Free it with
 * tap_binlog_reader_free.
 */
extern TapBinlogReader *tap_binlog_reader_create(TapBinlogFlavour flavour,
												 const TapBinlogMemory *memory);

/* Free a reader and all that it owns (not its packets); NULL is allowed. */
extern void tap_binlog_reader_free(TapBinlogReader *reader);

/*
 * Forget format, checksum and tables, as before the first event of a dump.
 * Call it for every new dump.  Flavour, limits and callbacks stay.
 */
extern void tap_binlog_reset(TapBinlogReader *reader);

/*
 * Bound what one event may make the reader allocate (inflated event, inner
 * event, window of zstd), in bytes; the default is 1 GB + 64 kB, the servers'
 * own limit.
 */
extern void tap_binlog_set_limit(TapBinlogReader *reader, size_t bytes);

/*
 * Have forget called with the table before a table map is freed or replaced,
 * so that what hangs on table->user can be freed.
 */
extern void tap_binlog_set_forget(TapBinlogReader *reader,
								  void (*forget) (void *context, TapBinlogTable *table),
								  void *context);

/* The last error in English, lower case, without full stop; "" if none. */
extern const char *tap_binlog_message(const TapBinlogReader *reader);

/* Name of an event number as the servers' documentation has it, never NULL. */
extern const char *tap_binlog_event_name(uint8_t type);

/* Name of a column type as in SQL, never NULL; for messages. */
extern const char *tap_binlog_type_name(uint8_t type);

/*
 * Parse one event: length bytes from the event's header on, checksum
 * included.  Checks CRC32 where the log has it.  TABLE_MAP events enter the
 * table cache; GTID, ROTATE and FORMAT_DESCRIPTION events invalidate it. On
 * failure *event has at least type and the header's fields if those could be
 * read.
 */
extern TapBinlogStatus tap_binlog_parse_event(TapBinlogReader *reader,
											  const uint8_t *packet, size_t length,
											  TapBinlogEvent *event);

/* The same for an event from tap_binlog_payload_next: it has no checksum. */
extern TapBinlogStatus tap_binlog_parse_inner(TapBinlogReader *reader,
											  const uint8_t *packet, size_t length,
											  TapBinlogEvent *event);

/* Entry `index` (< count) of a MariaDB GTID list. */
extern void tap_binlog_gtid_list_get(const TapBinlogGtidList *list, uint32_t index,
									 uint32_t *domain_id, uint32_t *server_id,
									 uint64_t *sequence);

/* --- rows ---------------------------------------------------------------- */

/*
 * Start iterating over a WRITE_, UPDATE_ or DELETE_ROWS event.  event must
 * stay in place while iterating.
 */
extern TapBinlogStatus tap_binlog_rows_begin(TapBinlogReader *reader,
											 const TapBinlogEvent *event,
											 TapBinlogRows *rows);

/*
 * The next row: 1 = one was read, 0 = no more, -1 = error (see
 * tap_binlog_message and tap_binlog_status).  before and after are arrays of
 * table->column_count cells; a write fills only after, a delete only before,
 * and the other one is untouched and may be NULL.  All cells of a filled array
 * are set.
 */
extern int	tap_binlog_rows_next(TapBinlogRows *rows,
								 TapBinlogCell *before, TapBinlogCell *after);

/* Status that belongs to tap_binlog_message, for functions that return int. */
extern TapBinlogStatus tap_binlog_status(const TapBinlogReader *reader);

/*
 * Inflate a value of a MariaDB COMPRESSED column (column->compressed).  On
 * success *data and *length are the plain value: in the cell itself when it
 * is stored raw, else in buffer, whose former content is overwritten.
 */
extern TapBinlogStatus tap_binlog_inflate_column(TapBinlogReader *reader,
												 const TapBinlogCell *cell,
												 TapBinlogBuffer *buffer,
												 const uint8_t **data, uint32_t *length);

/* --- compressed transactions --------------------------------------------- */

/*
 * Start reading a TRANSACTION_PAYLOAD event; its packet must stay in place
 * until tap_binlog_payload_close.  *payload is NULL on failure.
 */
extern TapBinlogStatus tap_binlog_payload_open(TapBinlogReader *reader,
											   const TapBinlogEvent *event,
											   TapBinlogPayload **payload);

/*
 * The next inner event: 1 = one was read, 0 = no more, -1 = error.  The packet
 * is valid until the next call.  Memory is bounded by the largest inner event,
 * not by the payload.
 */
extern int	tap_binlog_payload_next(TapBinlogPayload *payload,
									const uint8_t **packet, size_t *length);

/*
 * Free what tap_binlog_payload_open made; NULL is allowed.  The state of zstd
 * is not in the reader's memory, so that a caller must get here on every way
 * out.
 */
extern void tap_binlog_payload_close(TapBinlogPayload *payload);

/*
 * Tell the digits of fraction of a column of the old TIME, DATETIME or
 * TIMESTAMP type.  MariaDB with mysql56_temporal_format=OFF has fractions in
 * these, without a word in the table map, so that rows cannot be read rightly
 * unless the caller learns it from the table's definition and says so here,
 * once for each new table.  False if the column is of another type.
 */
extern bool tap_binlog_set_old_scale(TapBinlogTable *table, uint32_t column, int scale);

/* --- values -------------------------------------------------------------- */
/*
 * All of these return false when the bytes do not fit the type (wrong length,
 * impossible digit), and read nothing outside data[0 .. length).
 */

/* TINY, SHORT, INT24, LONG, LONGLONG by their length, sign-extended. */
extern bool tap_binlog_get_int(const uint8_t *data, uint32_t length, int64_t *value);

/* The same, zero-extended; for unsigned columns, ENUM index, SET mask. */
extern bool tap_binlog_get_uint(const uint8_t *data, uint32_t length, uint64_t *value);

/* FLOAT (4 bytes) */
extern bool tap_binlog_get_float(const uint8_t *data, uint32_t length, float *value);

/* DOUBLE (8 bytes) */
extern bool tap_binlog_get_double(const uint8_t *data, uint32_t length, double *value);

/* YEAR: 0 or 1901 .. 2155 */
extern bool tap_binlog_get_year(const uint8_t *data, uint32_t length, int *year);

/* BIT(n): the number that its bits are, most significant first in the log. */
extern bool tap_binlog_get_bit(const uint8_t *data, uint32_t length, uint64_t *value);

/*
 * DECIMAL as exact text with all digits of its scale: "-12.340".  text has
 * TAP_BINLOG_DECIMAL_SIZE bytes; *text_length is without the NUL.
 */
extern bool tap_binlog_get_decimal(const uint8_t *data, uint32_t length,
								   int precision, int scale,
								   char *text, uint32_t *text_length);

/*
 * DATE, TIME, DATETIME, TIMESTAMP, old and new formats, by column->type and
 * column->scale.
 */
extern bool tap_binlog_get_time(const TapBinlogColumn *column,
								const uint8_t *data, uint32_t length,
								TapBinlogTime *value);

/*
 * A date or time as MySQL prints it, by the column's type, with scale digits
 * of fraction (TIMESTAMP as UTC).  text has at least 32 bytes.  Returns its
 * length.
 */
extern uint32_t tap_binlog_format_time(uint8_t type, int scale,
									   const TapBinlogTime *value, char *text);

/* A double as MySQL prints it in JSON: shortest exact digits, with ".0". */
extern uint32_t tap_binlog_format_json_double(double value,
											  char text[TAP_BINLOG_DOUBLE_SIZE]);

/* --- JSON ---------------------------------------------------------------- */

/*
 * MySQL's binary JSON to the text that SELECT prints, appended to out.  An
 * empty value is JSON null, as in MySQL.
 */
extern TapBinlogStatus tap_binlog_json_text(const uint8_t *data, uint32_t length,
											TapBinlogBuffer *out);

/*
 * Apply the diffs of a PARTIAL_JSON cell to the old value given as JSON text
 * (of any spacing; numbers are kept as written) and append the new value as
 * text to out, spaced and ordered as MySQL does.  CORRUPT when a path does not
 * exist or the old text is not JSON.
 */
extern TapBinlogStatus tap_binlog_json_apply(const char *old_text, size_t old_length,
											 const uint8_t *diffs, uint32_t diffs_length,
											 TapBinlogBuffer *out);

/* --- buffers ------------------------------------------------------------- */

/* An empty buffer that may grow to limit bytes; memory NULL = malloc. */
extern void tap_binlog_buffer_init(TapBinlogBuffer *buffer, size_t limit,
								   const TapBinlogMemory *memory);

/* Append bytes and keep a NUL behind them; LIMIT or NO_MEMORY on failure. */
extern TapBinlogStatus tap_binlog_buffer_append(TapBinlogBuffer *buffer,
												const void *data, size_t length);

/* Free the buffer's memory; it can be used again afterwards. */
extern void tap_binlog_buffer_free(TapBinlogBuffer *buffer);

#endif							/* TAP_BINLOG_H */
