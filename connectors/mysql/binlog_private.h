/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_private.h
 *	  What the files of the binlog decoder share among themselves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_BINLOG_PRIVATE_H
#define TAP_BINLOG_PRIVATE_H

#include <string.h>

#include "binlog.h"

#define TAP_BINLOG_HEADER_SIZE		19
#define TAP_BINLOG_CHECKSUM_SIZE	4

/* Servers accept no larger event than this (replica_max_allowed_packet). */
#define TAP_BINLOG_DEFAULT_LIMIT	((size_t) 1024 * 1024 * 1024 + 65536)

/* MySQL and MariaDB allow 4096 columns. */
#define TAP_BINLOG_MAX_COLUMNS		4096

/* Stale table maps are dropped when the cache holds more than this. */
#define TAP_BINLOG_TABLES_SOFT		1024

/* More tables than this in one transaction are refused. */
#define TAP_BINLOG_TABLES_HARD		65536

/* A table map in the cache; everything lives in the one block of memory. */
typedef struct TapBinlogTableEntry
{
	TapBinlogTable table;		/* first, so that pointers convert */
	struct TapBinlogTableEntry *next;	/* in its hash bucket */
	uint64_t	generation;		/* of the reader when last seen */
	uint32_t	body_length;
	const uint8_t *body;		/* the event's body, to compare the next with */
	uint32_t	json_columns;
} TapBinlogTableEntry;

struct TapBinlogReader
{
	TapBinlogFlavour flavour;
	TapBinlogMemory memory;
	size_t		limit;
	void		(*forget) (void *context, TapBinlogTable *table);
	void	   *forget_context;

	TapBinlogChecksum checksum;
	uint8_t		post_header[256];	/* by event number; 0 = not described */

	uint64_t	generation;		/* maps of older ones are not valid */
	uint64_t	last_serial;
	TapBinlogTableEntry **buckets;
	size_t		bucket_count;	/* a power of two, or 0 */
	size_t		table_count;

	uint8_t    *scratch;		/* inflated part of the current event */
	size_t		scratch_size;

	TapBinlogStatus status;
	char		message[TAP_BINLOG_MESSAGE_SIZE];
};

/*
 * A cursor over bytes.  The getters below return 0 (or NULL) and set failed
 * when the bytes do not suffice; position never passes end.
 */
typedef struct TapBinlogCursor
{
	const uint8_t *position;
	const uint8_t *end;
	bool		failed;
} TapBinlogCursor;

static inline uint16_t
load16(const uint8_t *p)
{
	return (uint16_t) (p[0] | p[1] << 8);
}

static inline uint32_t
load24(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16;
}

static inline uint32_t
load32(const uint8_t *p)
{
	return load24(p) | (uint32_t) p[3] << 24;
}

static inline uint64_t
load48(const uint8_t *p)
{
	return load32(p) | (uint64_t) load16(p + 4) << 32;
}

static inline uint64_t
load64(const uint8_t *p)
{
	return load32(p) | (uint64_t) load32(p + 4) << 32;
}

/* Big-endian number of 1 to 8 bytes */
static inline uint64_t
load_big(const uint8_t *p, unsigned bytes)
{
	uint64_t	value = 0;

	while (bytes-- > 0)
		value = value << 8 | *p++;
	return value;
}

static inline TapBinlogCursor
cursor_over(const uint8_t *data, size_t length)
{
	TapBinlogCursor cursor = {data, data + length, false};

	return cursor;
}

static inline size_t
cursor_left(const TapBinlogCursor *cursor)
{
	return (size_t) (cursor->end - cursor->position);
}

static inline const uint8_t *
cursor_take(TapBinlogCursor *cursor, size_t length)
{
	const uint8_t *start = cursor->position;

	if (cursor->failed || length > cursor_left(cursor))
	{
		cursor->failed = true;
		return NULL;
	}
	cursor->position += length;
	return start;
}

static inline uint8_t
cursor_get8(TapBinlogCursor *cursor)
{
	const uint8_t *p = cursor_take(cursor, 1);

	return p ? *p : 0;
}

static inline uint16_t
cursor_get16(TapBinlogCursor *cursor)
{
	const uint8_t *p = cursor_take(cursor, 2);

	return p ? load16(p) : 0;
}

static inline uint32_t
cursor_get32(TapBinlogCursor *cursor)
{
	const uint8_t *p = cursor_take(cursor, 4);

	return p ? load32(p) : 0;
}

static inline uint64_t
cursor_get64(TapBinlogCursor *cursor)
{
	const uint8_t *p = cursor_take(cursor, 8);

	return p ? load64(p) : 0;
}

/*
 * Length-encoded integer of the client protocol; its NULL marker is a
 * failure.
 */
static inline uint64_t
cursor_get_packed(TapBinlogCursor *cursor)
{
	uint8_t		first = cursor_get8(cursor);
	const uint8_t *p;

	if (first < 251)
		return first;
	switch (first)
	{
		case 252:
			return cursor_get16(cursor);
		case 253:
			p = cursor_take(cursor, 3);
			return p ? load24(p) : 0;
		case 254:
			return cursor_get64(cursor);
		default:
			cursor->failed = true;
			return 0;
	}
}

static inline TapBinlogString
cursor_get_string(TapBinlogCursor *cursor, size_t length)
{
	const uint8_t *p = cursor_take(cursor, length);
	TapBinlogString string = {p ? (const char *) p : "", p ? (uint32_t) length : 0};

	return string;
}

/*
 * Set the reader's status and message; returns status.  The message may be a
 * format with its arguments.
 */
extern TapBinlogStatus tap_binlog_fail(TapBinlogReader *reader, TapBinlogStatus status,
									   const char *format,...)
			__attribute__((format(printf, 3, 4)));

/* Fail because the event ends too early. */
extern TapBinlogStatus tap_binlog_truncated(TapBinlogReader *reader,
											const TapBinlogEvent *event);

/*
 * The format id, lengths and bytes of an XA xid; lengths have four bytes if
 * wide, else one (binlog_gtid.c).  False if malformed.
 */
extern bool tap_binlog_get_xid(TapBinlogCursor *cursor, bool wide, TapBinlogXid *xid);

/* Parse the body of the event after which each is named. */
extern TapBinlogStatus tap_binlog_parse_rotate(TapBinlogReader *reader,
											   TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_query(TapBinlogReader *reader,
											  TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_gtid(TapBinlogReader *reader,
											 TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_gtid_tagged(TapBinlogReader *reader,
													TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_mariadb_gtid(TapBinlogReader *reader,
													 TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_gtid_list(TapBinlogReader *reader,
												  TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_previous_gtids(TapBinlogReader *reader,
													   TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_xid(TapBinlogReader *reader,
											TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_xa_prepare(TapBinlogReader *reader,
												   TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_heartbeat(TapBinlogReader *reader,
												  TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_heartbeat_v2(TapBinlogReader *reader,
													 TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_incident(TapBinlogReader *reader,
												 TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_rows_query(TapBinlogReader *reader,
												   TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_payload(TapBinlogReader *reader,
												TapBinlogEvent *event);
extern TapBinlogStatus tap_binlog_parse_fragment(TapBinlogReader *reader,
												 TapBinlogEvent *event);

/* realloc and free through the callbacks of memory */
extern void *tap_binlog_resize(const TapBinlogMemory *memory, void *old, size_t size);
extern void tap_binlog_release(const TapBinlogMemory *memory, void *old);

/* Make room for length more bytes and a NUL behind those in the buffer. */
extern TapBinlogStatus tap_binlog_reserve_buffer(TapBinlogBuffer *buffer, size_t length);

/* The checksum that zlib's crc32() computes, faster (binlog_crc.c). */
extern uint32_t tap_binlog_crc(const uint8_t *data, size_t length);

/* Make the reader's scratch buffer hold at least size bytes. */
extern TapBinlogStatus tap_binlog_reserve_scratch(TapBinlogReader *reader, size_t size);

/* Parse a TABLE_MAP into the cache (binlog_cache.c). */
extern TapBinlogStatus tap_binlog_parse_table_map(TapBinlogReader *reader,
												  TapBinlogEvent *event);

/*
 * Parse the body of a TABLE_MAP behind its id of id_bytes into a new entry
 * outside the cache (binlog_table.c).  The caller frees *result.
 */
extern TapBinlogStatus tap_binlog_make_table(TapBinlogReader *reader,
											 const TapBinlogEvent *event,
											 size_t id_bytes,
											 TapBinlogTableEntry **result);

/* Size of a type's metadata in a table map (binlog_type.c) */
extern unsigned tap_binlog_metadata_bytes(uint8_t type);

/*
 * Derive type and sizes of a column from its wire_type and metadata; false if
 * they are impossible.
 */
extern bool tap_binlog_set_type(TapBinlogColumn *column);

/* The valid table map with this id, or NULL */
extern TapBinlogTable *tap_binlog_find_table(const TapBinlogReader *reader,
											 uint64_t table_id);

/* Drop all table maps, or with stale_only those of former generations. */
extern void tap_binlog_drop_tables(TapBinlogReader *reader, bool stale_only);

/* Parse the header of a rows event (binlog_rows.c). */
extern TapBinlogStatus tap_binlog_parse_rows(TapBinlogReader *reader,
											 TapBinlogEvent *event);

/*
 * Inflate what MariaDB's log_bin_compress wrote into the scratch buffer
 * (binlog_payload.c).
 */
extern TapBinlogStatus tap_binlog_inflate_event(TapBinlogReader *reader,
												const uint8_t *data, size_t length,
												const uint8_t **plain,
												size_t *plain_length);

/*
 * The size of a packed DECIMAL in bytes, 0 when precision and scale are not
 * possible (binlog_value.c).
 */
extern uint32_t tap_binlog_decimal_bytes(unsigned precision, unsigned scale);

#endif							/* TAP_BINLOG_PRIVATE_H */
