/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_event.c
 *	  Binlog events: header, checksum, and every body but tables and rows.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "binlog_private.h"

#define FORMAT_FIXED_SIZE		57	/* version, server version, created, length */
#define FORMAT_CHECKSUM_SIZE	5	/* algorithm and CRC32 */
#define FLAG_BINLOG_IN_USE		0x0001
#define QUERY_HEADER_SIZE		13
#define MARIADB_GTID_SIZE		13
#define MYSQL_GTID_SIZE			25
#define MARIADB_FRAGMENT_HAS_SIZE	0x01

typedef TapBinlogStatus (*EventParser) (TapBinlogReader *reader, TapBinlogEvent *event);

typedef struct EventType
{
	const char *name;
	TapBinlogKind kind;
	EventParser parse;			/* NULL if the body is of no interest */
} EventType;

/* --- memory, messages, buffers ------------------------------------------- */

void *
tap_binlog_resize(const TapBinlogMemory *memory, void *old, size_t size)
{
	if (memory->resize)
		return memory->resize(memory->context, old, size);
	return realloc(old, size);
}

void
tap_binlog_release(const TapBinlogMemory *memory, void *old)
{
	if (old == NULL)
		return;
	if (memory->release)
		memory->release(memory->context, old);
	else
		free(old);
}

TapBinlogStatus
tap_binlog_fail(TapBinlogReader *reader, TapBinlogStatus status, const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(reader->message, sizeof(reader->message), format, arguments);
	va_end(arguments);
	reader->status = status;
	return status;
}

void
tap_binlog_buffer_init(TapBinlogBuffer *buffer, size_t limit, const TapBinlogMemory *memory)
{
	memset(buffer, 0, sizeof(*buffer));
	buffer->limit = limit < SIZE_MAX / 4 ? limit : SIZE_MAX / 4;
	if (memory)
		buffer->memory = *memory;
}

void
tap_binlog_buffer_free(TapBinlogBuffer *buffer)
{
	tap_binlog_release(&buffer->memory, buffer->data);
	buffer->data = NULL;
	buffer->length = buffer->capacity = 0;
}

TapBinlogStatus
tap_binlog_reserve_buffer(TapBinlogBuffer *buffer, size_t length)
{
	size_t		needed;
	size_t		capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
	char	   *data;

	if (buffer->capacity > 0 && length < buffer->capacity - buffer->length)
		return TAP_BINLOG_OK;
	if (buffer->length > buffer->limit || length > buffer->limit - buffer->length)
		return TAP_BINLOG_LIMIT;
	needed = buffer->length + length + 1;
	while (capacity < needed)
		capacity += capacity;
	data = tap_binlog_resize(&buffer->memory, buffer->data, capacity);
	if (data == NULL)
		return TAP_BINLOG_NO_MEMORY;
	buffer->data = data;
	buffer->capacity = capacity;
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_buffer_append(TapBinlogBuffer *buffer, const void *data, size_t length)
{
	TapBinlogStatus status = tap_binlog_reserve_buffer(buffer, length);

	if (status != TAP_BINLOG_OK)
		return status;
	if (length > 0)
		memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
	return TAP_BINLOG_OK;
}

/* --- reader -------------------------------------------------------------- */

TapBinlogReader *
tap_binlog_reader_create(TapBinlogFlavour flavour, const TapBinlogMemory *memory)
{
	static const TapBinlogMemory standard;
	TapBinlogReader *reader;

	if (memory == NULL)
		memory = &standard;
	reader = tap_binlog_resize(memory, NULL, sizeof(TapBinlogReader));
	if (reader == NULL)
		return NULL;
	memset(reader, 0, sizeof(*reader));
	reader->flavour = flavour;
	reader->memory = *memory;
	reader->limit = TAP_BINLOG_DEFAULT_LIMIT;
	reader->checksum = TAP_BINLOG_CHECKSUM_UNKNOWN;
	return reader;
}

void
tap_binlog_reset(TapBinlogReader *reader)
{
	tap_binlog_drop_tables(reader, false);
	tap_binlog_release(&reader->memory, reader->scratch);
	reader->scratch = NULL;
	reader->scratch_size = 0;
	reader->checksum = TAP_BINLOG_CHECKSUM_UNKNOWN;
	memset(reader->post_header, 0, sizeof(reader->post_header));
	reader->status = TAP_BINLOG_OK;
	reader->message[0] = '\0';
}

void
tap_binlog_reader_free(TapBinlogReader *reader)
{
	TapBinlogMemory memory;

	if (reader == NULL)
		return;
	tap_binlog_reset(reader);
	memory = reader->memory;
	tap_binlog_release(&memory, reader->buckets);
	tap_binlog_release(&memory, reader);
}

void
tap_binlog_set_limit(TapBinlogReader *reader, size_t bytes)
{
	reader->limit = bytes;
}

void
tap_binlog_set_forget(TapBinlogReader *reader,
					  void (*forget) (void *context, TapBinlogTable *table), void *context)
{
	reader->forget = forget;
	reader->forget_context = context;
}

const char *
tap_binlog_message(const TapBinlogReader *reader)
{
	return reader->message;
}

TapBinlogStatus
tap_binlog_status(const TapBinlogReader *reader)
{
	return reader->status;
}

TapBinlogStatus
tap_binlog_reserve_scratch(TapBinlogReader *reader, size_t size)
{
	uint8_t    *scratch;

	if (size > reader->limit)
		return tap_binlog_fail(reader, TAP_BINLOG_LIMIT,
							   "event inflates to %zu bytes, more than the limit of %zu",
							   size, reader->limit);
	if (size <= reader->scratch_size)
		return TAP_BINLOG_OK;
	scratch = tap_binlog_resize(&reader->memory, reader->scratch, size);
	if (scratch == NULL)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY,
							   "out of memory for %zu bytes", size);
	reader->scratch = scratch;
	reader->scratch_size = size;
	return TAP_BINLOG_OK;
}

/* --- bodies -------------------------------------------------------------- */

static TapBinlogStatus
truncated(TapBinlogReader *reader, const TapBinlogEvent *event)
{
	return tap_binlog_fail(reader, TAP_BINLOG_TRUNCATED, "%s event of %u bytes is too short",
						   tap_binlog_event_name(event->type), event->event_length);
}

/* Length of the post-header, by the format description or the usual one. */
static size_t
post_header(const TapBinlogReader *reader, const TapBinlogEvent *event, size_t usual)
{
	return reader->post_header[event->type] >= usual ? reader->post_header[event->type] : usual;
}

static TapBinlogStatus
parse_rotate(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.rotate.position = cursor_get64(&cursor);
	event->u.rotate.file = cursor_get_string(&cursor, cursor_left(&cursor));
	if (cursor.failed)
		return truncated(reader, event);
	if (event->u.rotate.file.length == 0 ||
		event->u.rotate.file.length >= TAP_BINLOG_FILE_SIZE)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "log file name of %u bytes in Rotate event",
							   event->u.rotate.file.length);
	reader->generation++;
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_format_description(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogFormat *format = &event->u.format;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	const uint8_t *version;
	uint8_t		header_size;

	format->version = cursor_get16(&cursor);
	version = cursor_take(&cursor, 50);
	format->created = cursor_get32(&cursor);
	header_size = cursor_get8(&cursor);
	if (cursor.failed)
		return truncated(reader, event);
	memcpy(format->server_version, version, 50);
	format->server_version[50] = '\0';
	if (format->version != 4 || header_size != TAP_BINLOG_HEADER_SIZE)
		return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED,
							   "binary log format version %u with headers of %u bytes",
							   format->version, header_size);
	format->checksum = reader->checksum;
	format->event_count = cursor_left(&cursor) > 255 ? 255 : (uint32_t) cursor_left(&cursor);
	memset(reader->post_header, 0, sizeof(reader->post_header));
	memcpy(reader->post_header + 1, cursor.position, format->event_count);
	reader->generation++;
	return TAP_BINLOG_OK;
}

/* The one-byte length and the text of a status variable */
static TapBinlogString
get_short_string(TapBinlogCursor *cursor)
{
	return cursor_get_string(cursor, cursor_get8(cursor));
}

static void
skip_database_names(TapBinlogCursor *cursor)
{
	uint8_t		count = cursor_get8(cursor);

	if (count == 254)			/* too many to be listed */
		return;
	while (count-- > 0 && !cursor->failed)
	{
		const uint8_t *end = memchr(cursor->position, 0, cursor_left(cursor));

		if (end == NULL)
			cursor->failed = true;
		else
			cursor->position = end + 1;
	}
}

/*
 * Read one status variable.  Returns false for an unknown one, after which the
 * rest cannot be read either: they have no length, and are written in
 * the order of their codes so that this does no harm.
 */
static bool
parse_status_variable(TapBinlogFlavour flavour, uint8_t code, TapBinlogCursor *cursor,
					  TapBinlogQuery *query)
{
	switch (code)
	{
		case 0:					/* flags2 */
			query->flags2 = cursor_get32(cursor);
			query->has_flags2 = true;
			return true;
		case 1:					/* sql_mode */
			query->sql_mode = cursor_get64(cursor);
			query->has_sql_mode = true;
			return true;
		case 2:					/* catalog with NUL */
			get_short_string(cursor);
			cursor_take(cursor, 1);
			return true;
		case 3:					/* auto_increment */
			cursor_take(cursor, 4);
			return true;
		case 4:					/* character sets */
			query->client_charset = cursor_get16(cursor);
			query->connection_collation = cursor_get16(cursor);
			query->server_collation = cursor_get16(cursor);
			query->has_charset = true;
			return true;
		case 5:					/* time zone */
			query->time_zone = get_short_string(cursor);
			return true;
		case 6:					/* catalog */
			get_short_string(cursor);
			return true;
		case 7:					/* lc_time_names */
		case 8:					/* collation_database */
			cursor_take(cursor, 2);
			return true;
		case 9:					/* table map for update */
			cursor_take(cursor, 8);
			return true;
		case 10:				/* original size */
			cursor_take(cursor, 4);
			return true;
		case 11:				/* invoker: user and host */
			get_short_string(cursor);
			get_short_string(cursor);
			return true;
		case 128:				/* MariaDB: microseconds */
			query->microseconds = 0;
			if (cursor_left(cursor) >= 3)
				query->microseconds = load24(cursor->position);
			cursor_take(cursor, 3);
			return flavour == TAP_BINLOG_MARIADB;
		case 129:				/* MariaDB: xid */
			query->xid = cursor_get64(cursor);
			query->has_xid = true;
			return flavour == TAP_BINLOG_MARIADB;
		default:
			break;
	}
	if (flavour == TAP_BINLOG_MARIADB)
		return false;
	switch (code)
	{
		case 12:				/* updated databases */
			skip_database_names(cursor);
			return true;
		case 13:				/* microseconds */
			if (cursor_left(cursor) >= 3)
				query->microseconds = load24(cursor->position);
			cursor_take(cursor, 3);
			return true;
		case 14:				/* commit timestamps of 5.7 previews */
		case 15:
			return false;
		case 16:				/* explicit_defaults_for_timestamp */
		case 19:				/* sql_require_primary_key */
		case 20:				/* default_table_encryption */
			cursor_take(cursor, 1);
			return true;
		case 17:				/* xid of a DDL statement */
			query->xid = cursor_get64(cursor);
			query->has_xid = true;
			return true;
		case 18:				/* default_collation_for_utf8mb4 */
			cursor_take(cursor, 2);
			return true;
		default:
			return false;
	}
}

static TapBinlogStatus
set_statement(TapBinlogReader *reader, TapBinlogEvent *event,
			  const uint8_t *text, size_t length)
{
	if (event->type == TAP_BINLOG_EVENT_QUERY_COMPRESSED)
	{
		TapBinlogStatus status = tap_binlog_inflate_event(reader, text, length,
														  &text, &length);

		if (status != TAP_BINLOG_OK)
			return status;
	}
	while (length > 0 && text[length - 1] == '\0')
		length--;
	event->u.query.statement.data = (const char *) text;
	event->u.query.statement.length = (uint32_t) length;
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_query(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogQuery *query = &event->u.query;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	TapBinlogCursor variables;
	const uint8_t *start;
	uint8_t		schema_length;
	uint16_t	variables_length;

	query->schema = query->statement = query->time_zone = (TapBinlogString) {"", 0};
	query->thread_id = cursor_get32(&cursor);
	query->execution_seconds = cursor_get32(&cursor);
	schema_length = cursor_get8(&cursor);
	query->error_code = cursor_get16(&cursor);
	variables_length = cursor_get16(&cursor);
	cursor_take(&cursor, post_header(reader, event, QUERY_HEADER_SIZE) - QUERY_HEADER_SIZE);
	start = cursor_take(&cursor, variables_length);
	query->schema = cursor_get_string(&cursor, schema_length);
	cursor_take(&cursor, 1);
	if (cursor.failed)
		return truncated(reader, event);

	variables = cursor_over(start, variables_length);
	while (cursor_left(&variables) > 0 && !variables.failed)
	{
		if (!parse_status_variable(reader->flavour, cursor_get8(&variables), &variables, query))
			break;
	}
	if (variables.failed)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "status variables of Query event end too early");
	return set_statement(reader, event, cursor.position, cursor_left(&cursor));
}

/* Seven bytes of microseconds; the highest bit tells that another follows. */
static uint64_t
get_commit_time(TapBinlogCursor *cursor, bool *more)
{
	const uint8_t *p = cursor_take(cursor, 7);
	uint64_t	value;

	*more = false;
	if (p == NULL)
		return 0;
	value = load48(p) | (uint64_t) (p[6] & 0x7f) << 48;
	*more = (p[6] & 0x80) != 0;
	return value;
}

/*
 * GTID and ANONYMOUS_GTID.  Servers have added fields over time, each only
 * told by the length of the event.
 */
static TapBinlogStatus
parse_gtid(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogGtid *gtid = &event->u.gtid;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	const uint8_t *uuid;
	bool		more;

	gtid->anonymous = event->type == TAP_BINLOG_EVENT_ANONYMOUS_GTID;
	gtid->flags = cursor_get8(&cursor);
	uuid = cursor_take(&cursor, 16);
	gtid->gno = cursor_get64(&cursor);
	if (cursor.failed)
		return truncated(reader, event);
	memcpy(gtid->uuid, uuid, 16);
	reader->generation++;
	if (cursor_left(&cursor) < 17 || cursor_get8(&cursor) != 2)
		return TAP_BINLOG_OK;
	gtid->last_committed = (int64_t) cursor_get64(&cursor);
	gtid->sequence_number = (int64_t) cursor_get64(&cursor);
	if (cursor_left(&cursor) < 7)
		return TAP_BINLOG_OK;
	gtid->immediate_commit_micros = get_commit_time(&cursor, &more);
	gtid->original_commit_micros = more ? get_commit_time(&cursor, &more)
		: gtid->immediate_commit_micros;
	if (cursor_left(&cursor) > 0)
		gtid->transaction_bytes = cursor_get_packed(&cursor);
	if (cursor_left(&cursor) >= 4)
	{
		uint32_t	version = cursor_get32(&cursor);

		gtid->immediate_server_version = version & 0x7fffffff;
		gtid->original_server_version = version & 0x80000000 ? cursor_get32(&cursor) : version;
	}
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

/*
 * Integer of MySQL's serialization library: the ones at the low end of the
 * first byte count the bytes that follow.
 */
static uint64_t
get_serialized(TapBinlogCursor *cursor)
{
	uint8_t		first = cursor_left(cursor) > 0 ? *cursor->position : 0;
	unsigned	bytes = 1;
	uint64_t	value = 0;
	const uint8_t *p;

	while (bytes < 9 && first & 1u << (bytes - 1))
		bytes++;
	p = cursor_take(cursor, bytes);
	if (p == NULL)
		return 0;
	if (bytes == 9)
		return load64(p + 1);
	for (unsigned i = bytes; i-- > 0;)
		value = value << 8 | p[i];
	return value >> bytes;
}

static int64_t
get_serialized_signed(TapBinlogCursor *cursor)
{
	uint64_t	value = get_serialized(cursor);

	return value & 1 ? -(int64_t) (value >> 1) - 1 : (int64_t) (value >> 1);
}

/* Returns false when the field is not known. */
static bool
parse_tagged_field(TapBinlogCursor *cursor, uint64_t field, TapBinlogGtid *gtid)
{
	TapBinlogString tag;

	switch (field)
	{
		case 0:
			gtid->flags = (uint8_t) get_serialized(cursor);
			return true;
		case 1:
			for (int i = 0; i < 16; i++)
				gtid->uuid[i] = (uint8_t) get_serialized(cursor);
			return true;
		case 2:
			gtid->gno = (uint64_t) get_serialized_signed(cursor);
			return true;
		case 3:
			tag = cursor_get_string(cursor, get_serialized(cursor));
			if (tag.length >= sizeof(gtid->tag) || memchr(tag.data, 0, tag.length))
			{
				cursor->failed = true;
				return true;
			}
			memcpy(gtid->tag, tag.data, tag.length);
			return true;
		case 4:
			gtid->last_committed = get_serialized_signed(cursor);
			return true;
		case 5:
			gtid->sequence_number = get_serialized_signed(cursor);
			return true;
		case 6:
			gtid->immediate_commit_micros = get_serialized(cursor);
			return true;
		case 7:
			gtid->original_commit_micros = get_serialized(cursor);
			return true;
		case 8:
			gtid->transaction_bytes = get_serialized(cursor);
			return true;
		case 9:
			gtid->immediate_server_version = (uint32_t) get_serialized(cursor);
			return true;
		case 10:
			gtid->original_server_version = (uint32_t) get_serialized(cursor);
			return true;
		case 11:				/* commit group ticket */
			get_serialized(cursor);
			return true;
		default:
			return false;
	}
}

static TapBinlogStatus
parse_gtid_tagged(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogGtid *gtid = &event->u.gtid;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	uint64_t	version = get_serialized(&cursor);
	uint64_t	size = get_serialized(&cursor);
	uint64_t	mandatory = get_serialized(&cursor);	/* last field + 1, or 0 */
	uint64_t	seen = 0;

	if (cursor.failed || size > event->body_length)
		return truncated(reader, event);
	if (version != 1)
		return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED,
							   "version %llu of Gtid_tagged event",
							   (unsigned long long) version);
	cursor.end = event->body + size;
	while (cursor.position < cursor.end && !cursor.failed)
	{
		uint64_t	field = get_serialized(&cursor);

		if (cursor.failed || field < seen)
			break;
		seen = field + 1;
		if (!parse_tagged_field(&cursor, field, gtid))
		{
			/* the fields are in order, so that no known one can follow */
			if (seen <= mandatory)
				return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED,
									   "field %llu of Gtid_tagged event",
									   (unsigned long long) field);
			break;
		}
	}
	if (cursor.failed || gtid->gno == 0 || gtid->gno > INT64_MAX)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed Gtid_tagged event");
	if (gtid->original_commit_micros == 0)
		gtid->original_commit_micros = gtid->immediate_commit_micros;
	if (gtid->original_server_version == 0)
		gtid->original_server_version = gtid->immediate_server_version;
	reader->generation++;
	return TAP_BINLOG_OK;
}

static bool
get_xid(TapBinlogCursor *cursor, bool wide, TapBinlogXid *xid)
{
	uint32_t	gtrid_length;
	uint32_t	bqual_length;

	xid->format_id = cursor_get32(cursor);
	gtrid_length = wide ? cursor_get32(cursor) : cursor_get8(cursor);
	bqual_length = wide ? cursor_get32(cursor) : cursor_get8(cursor);
	if (gtrid_length > TAP_BINLOG_GTRID_SIZE || bqual_length > TAP_BINLOG_GTRID_SIZE)
		return false;
	xid->gtrid_length = (uint8_t) gtrid_length;
	xid->bqual_length = (uint8_t) bqual_length;
	xid->data = cursor_take(cursor, gtrid_length + bqual_length);
	return !cursor->failed;
}

static TapBinlogStatus
parse_mariadb_gtid(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogMariaGtid *gtid = &event->u.maria_gtid;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	gtid->server_id = event->server_id;
	gtid->sequence = cursor_get64(&cursor);
	gtid->domain_id = cursor_get32(&cursor);
	gtid->flags = cursor_get8(&cursor);
	if (gtid->flags & TAP_BINLOG_MARIADB_GROUP_COMMIT)
		gtid->commit_id = cursor_get64(&cursor);
	if (gtid->flags & (TAP_BINLOG_MARIADB_PREPARED_XA | TAP_BINLOG_MARIADB_COMPLETED_XA) &&
		!get_xid(&cursor, false, &gtid->xid))
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed XA xid in Gtid event");
	if (cursor_left(&cursor) > 0)
	{
		gtid->extra_flags = cursor_get8(&cursor);
		if (gtid->extra_flags & TAP_BINLOG_MARIADB_EXTRA_MULTI_ENGINE)
			cursor_get8(&cursor);
		if (gtid->extra_flags & (TAP_BINLOG_MARIADB_COMMIT_ALTER |
								 TAP_BINLOG_MARIADB_ROLLBACK_ALTER))
			gtid->alter_sequence = cursor_get64(&cursor);
	}
	if (cursor.failed)
		return truncated(reader, event);
	reader->generation++;
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_gtid_list(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogGtidList *list = &event->u.gtid_list;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	uint32_t	word = cursor_get32(&cursor);

	list->count = word & 0x0fffffff;
	list->flags = (uint8_t) (word >> 28);
	list->data = cursor_take(&cursor, (size_t) list->count * 16);
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

void
tap_binlog_gtid_list_get(const TapBinlogGtidList *list, uint32_t index,
						 uint32_t *domain_id, uint32_t *server_id, uint64_t *sequence)
{
	const uint8_t *entry = list->data + (size_t) index * 16;

	*domain_id = load32(entry);
	*server_id = load32(entry + 4);
	*sequence = load64(entry + 8);
}

static TapBinlogStatus
parse_previous_gtids(TapBinlogReader *reader, TapBinlogEvent *event)
{
	(void) reader;
	event->u.previous_gtids.data = (const char *) event->body;
	event->u.previous_gtids.length = event->body_length;
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_xid(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	cursor_take(&cursor, reader->post_header[event->type]);
	event->u.xid = cursor_get64(&cursor);
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_xa_prepare(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	cursor_take(&cursor, reader->post_header[event->type]);
	event->u.xa_prepare.one_phase = cursor_get8(&cursor) != 0;
	if (!get_xid(&cursor, true, &event->u.xa_prepare.xid))
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed XA_prepare event");
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
check_heartbeat(TapBinlogReader *reader, TapBinlogEvent *event)
{
	if (event->u.heartbeat.file.length >= TAP_BINLOG_FILE_SIZE)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "log file name of %u bytes in %s event",
							   event->u.heartbeat.file.length,
							   tap_binlog_event_name(event->type));
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_heartbeat(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.heartbeat.position = event->next_position;
	/* MariaDB puts a position of 8 bytes first when 4 do not suffice */
	if (reader->flavour == TAP_BINLOG_MARIADB && event->next_position == 0)
		event->u.heartbeat.position = cursor_get64(&cursor);
	event->u.heartbeat.file = cursor_get_string(&cursor, cursor_left(&cursor));
	if (cursor.failed)
		return truncated(reader, event);
	return check_heartbeat(reader, event);
}

static TapBinlogStatus
parse_heartbeat_v2(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.heartbeat.file = (TapBinlogString) {"", 0};
	while (cursor_left(&cursor) > 0)
	{
		uint64_t	field = cursor_get_packed(&cursor);
		uint64_t	length;
		TapBinlogString value;
		TapBinlogCursor number;

		if (field == 0)
			break;
		length = cursor_get_packed(&cursor);
		value = cursor_get_string(&cursor, length);
		if (cursor.failed)
			return truncated(reader, event);
		number = cursor_over((const uint8_t *) value.data, value.length);
		if (field == 1)
			event->u.heartbeat.file = value;
		else if (field == 2)
			event->u.heartbeat.position = cursor_get_packed(&number);
	}
	return check_heartbeat(reader, event);
}

static TapBinlogStatus
parse_incident(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.incident.number = cursor_get16(&cursor);
	event->u.incident.message = (TapBinlogString) {"", 0};
	if (cursor_left(&cursor) > 0)
		event->u.incident.message = get_short_string(&cursor);
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_rows_query(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	/* its length byte wraps around for longer texts and so tells nothing */
	if (event->type == TAP_BINLOG_EVENT_ROWS_QUERY)
		cursor_take(&cursor, 1);
	event->u.rows_query = cursor_get_string(&cursor, cursor_left(&cursor));
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_payload(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogPayloadEvent *payload = &event->u.payload;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	uint64_t	size = UINT64_MAX;
	uint64_t	compression = TAP_BINLOG_COMPRESSION_NONE;

	for (;;)
	{
		uint64_t	field = cursor_get_packed(&cursor);
		uint64_t	length;
		TapBinlogCursor value;

		if (cursor.failed)
			return truncated(reader, event);
		if (field == 0)
			break;
		length = cursor_get_packed(&cursor);
		value = cursor;
		cursor_take(&cursor, length);
		if (field == 1)
			size = cursor_get_packed(&value);
		else if (field == 2)
			compression = cursor_get_packed(&value);
		else if (field == 3)
			payload->uncompressed_bytes = cursor_get_packed(&value);
		if (value.failed)
			return truncated(reader, event);
	}
	if (compression != TAP_BINLOG_COMPRESSION_ZSTD && compression != TAP_BINLOG_COMPRESSION_NONE)
		return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED,
							   "compression type %llu of Transaction_payload event",
							   (unsigned long long) compression);
	payload->compression = (TapBinlogCompression) compression;
	if (size == UINT64_MAX)
		size = cursor_left(&cursor);
	payload->data = cursor_take(&cursor, size);
	payload->length = (uint32_t) size;
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

static TapBinlogStatus
parse_fragment(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogFragment *fragment = &event->u.fragment;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	fragment->total = cursor_get32(&cursor);
	fragment->sequence = cursor_get32(&cursor);
	fragment->flags = cursor_get8(&cursor);
	if (fragment->flags & MARIADB_FRAGMENT_HAS_SIZE)
		fragment->original_bytes = cursor_get64(&cursor);
	fragment->data = cursor.position;
	fragment->length = (uint32_t) cursor_left(&cursor);
	return cursor.failed ? truncated(reader, event) : TAP_BINLOG_OK;
}

/* --- header, checksum, dispatch ------------------------------------------ */

static const EventType event_types[256] = {
	[1] = {"Start_v3", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[2] = {"Query", TAP_BINLOG_KIND_QUERY, parse_query},
	[3] = {"Stop", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[4] = {"Rotate", TAP_BINLOG_KIND_ROTATE, parse_rotate},
	[5] = {"Intvar", TAP_BINLOG_KIND_STATEMENT, NULL},
	[6] = {"Load", TAP_BINLOG_KIND_STATEMENT, NULL},
	[7] = {"Slave", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[8] = {"Create_file", TAP_BINLOG_KIND_STATEMENT, NULL},
	[9] = {"Append_block", TAP_BINLOG_KIND_STATEMENT, NULL},
	[10] = {"Exec_load", TAP_BINLOG_KIND_STATEMENT, NULL},
	[11] = {"Delete_file", TAP_BINLOG_KIND_STATEMENT, NULL},
	[12] = {"New_load", TAP_BINLOG_KIND_STATEMENT, NULL},
	[13] = {"Rand", TAP_BINLOG_KIND_STATEMENT, NULL},
	[14] = {"User_var", TAP_BINLOG_KIND_STATEMENT, NULL},
	[15] = {"Format_description", TAP_BINLOG_KIND_FORMAT_DESCRIPTION, parse_format_description},
	[16] = {"Xid", TAP_BINLOG_KIND_XID, parse_xid},
	[17] = {"Begin_load_query", TAP_BINLOG_KIND_STATEMENT, NULL},
	[18] = {"Execute_load_query", TAP_BINLOG_KIND_STATEMENT, NULL},
	[19] = {"Table_map", TAP_BINLOG_KIND_TABLE_MAP, tap_binlog_parse_table_map},
	[20] = {"Write_rows_v0", TAP_BINLOG_KIND_STATEMENT, NULL},
	[21] = {"Update_rows_v0", TAP_BINLOG_KIND_STATEMENT, NULL},
	[22] = {"Delete_rows_v0", TAP_BINLOG_KIND_STATEMENT, NULL},
	[23] = {"Write_rows_v1", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[24] = {"Update_rows_v1", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[25] = {"Delete_rows_v1", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[26] = {"Incident", TAP_BINLOG_KIND_INCIDENT, parse_incident},
	[27] = {"Heartbeat", TAP_BINLOG_KIND_HEARTBEAT, parse_heartbeat},
	[28] = {"Ignorable", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[29] = {"Rows_query", TAP_BINLOG_KIND_ROWS_QUERY, parse_rows_query},
	[30] = {"Write_rows", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[31] = {"Update_rows", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[32] = {"Delete_rows", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[33] = {"Gtid", TAP_BINLOG_KIND_GTID, parse_gtid},
	[34] = {"Anonymous_gtid", TAP_BINLOG_KIND_GTID, parse_gtid},
	[35] = {"Previous_gtids", TAP_BINLOG_KIND_PREVIOUS_GTIDS, parse_previous_gtids},
	[36] = {"Transaction_context", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[37] = {"View_change", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[38] = {"XA_prepare", TAP_BINLOG_KIND_XA_PREPARE, parse_xa_prepare},
	[39] = {"Partial_update_rows", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[40] = {"Transaction_payload", TAP_BINLOG_KIND_PAYLOAD, parse_payload},
	[41] = {"Heartbeat_v2", TAP_BINLOG_KIND_HEARTBEAT, parse_heartbeat_v2},
	[42] = {"Gtid_tagged", TAP_BINLOG_KIND_GTID, parse_gtid_tagged},
	[160] = {"Annotate_rows", TAP_BINLOG_KIND_ROWS_QUERY, parse_rows_query},
	[161] = {"Binlog_checkpoint", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[162] = {"Gtid", TAP_BINLOG_KIND_MARIADB_GTID, parse_mariadb_gtid},
	[163] = {"Gtid_list", TAP_BINLOG_KIND_MARIADB_GTID_LIST, parse_gtid_list},
	[164] = {"Start_encryption", TAP_BINLOG_KIND_ENCRYPTED, NULL},
	[165] = {"Query_compressed", TAP_BINLOG_KIND_QUERY, parse_query},
	[166] = {"Write_rows_compressed_v1", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[167] = {"Update_rows_compressed_v1", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[168] = {"Delete_rows_compressed_v1", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[169] = {"Write_rows_compressed", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[170] = {"Update_rows_compressed", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[171] = {"Delete_rows_compressed", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[172] = {"Partial_row_data", TAP_BINLOG_KIND_FRAGMENT, parse_fragment},
};

const char *
tap_binlog_event_name(uint8_t type)
{
	return event_types[type].name ? event_types[type].name : "unknown";
}

static bool
crc_matches(const uint8_t *packet, size_t length)
{
	size_t		covered = length - TAP_BINLOG_CHECKSUM_SIZE;
	uint8_t		flags[2] = {packet[17], packet[18]};
	uLong		crc;

	/* the server sets this flag in a file after it computed the checksum */
	if (packet[4] == TAP_BINLOG_EVENT_FORMAT_DESCRIPTION)
		flags[0] &= (uint8_t) ~FLAG_BINLOG_IN_USE;
	crc = crc32(0, packet, 17);
	crc = crc32(crc, flags, 2);
	crc = crc32(crc, packet + 19, (uInt) (covered - 19));
	return (uint32_t) crc == load32(packet + covered);
}

/* Have the servers of this version checksums in their logs? */
static bool
version_has_checksums(TapBinlogFlavour flavour, const uint8_t *body)
{
	char		text[51];
	int			major = 0;
	int			minor = 0;
	int			patch = 0;

	memcpy(text, body + 2, 50);
	text[50] = '\0';
	if (text[0] == '\0' || text[1] == '\0' ||
		sscanf(text, "%3d.%3d.%3d", &major, &minor, &patch) < 2)
		return true;
	if (major != 5)
		return major > 5;
	if (flavour == TAP_BINLOG_MARIADB)
		return minor >= 3;
	return minor > 6 || (minor == 6 && patch >= 1);
}

/*
 * Tell the bytes at the end of a format description that are not event
 * lengths, and learn from them what the following events carry.
 */
static TapBinlogStatus
checksum_of_format(TapBinlogReader *reader, const uint8_t *packet, size_t length,
				   size_t *trailer)
{
	uint8_t		algorithm;

	*trailer = 0;
	reader->checksum = TAP_BINLOG_CHECKSUM_NONE;
	if (length < TAP_BINLOG_HEADER_SIZE + FORMAT_FIXED_SIZE + FORMAT_CHECKSUM_SIZE ||
		!version_has_checksums(reader->flavour, packet + TAP_BINLOG_HEADER_SIZE))
		return TAP_BINLOG_OK;
	algorithm = packet[length - FORMAT_CHECKSUM_SIZE];
	if (algorithm > TAP_BINLOG_CHECKSUM_CRC32)
		return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED, "checksum algorithm %u",
							   algorithm);
	if (algorithm == TAP_BINLOG_CHECKSUM_CRC32 && !crc_matches(packet, length))
		return tap_binlog_fail(reader, TAP_BINLOG_BAD_CHECKSUM,
							   "checksum of Format_description event does not match");
	reader->checksum = (TapBinlogChecksum) algorithm;
	*trailer = FORMAT_CHECKSUM_SIZE;
	return TAP_BINLOG_OK;
}

/*
 * Check the checksum and tell its size.  Before the first format description,
 * which says whether there is one, only trying tells.
 */
static TapBinlogStatus
check_checksum(TapBinlogReader *reader, const uint8_t *packet, size_t length, size_t *trailer)
{
	if (packet[4] == TAP_BINLOG_EVENT_FORMAT_DESCRIPTION)
		return checksum_of_format(reader, packet, length, trailer);
	*trailer = 0;
	if (reader->checksum == TAP_BINLOG_CHECKSUM_NONE)
		return TAP_BINLOG_OK;
	if (length >= TAP_BINLOG_HEADER_SIZE + TAP_BINLOG_CHECKSUM_SIZE &&
		crc_matches(packet, length))
	{
		*trailer = TAP_BINLOG_CHECKSUM_SIZE;
		return TAP_BINLOG_OK;
	}
	if (reader->checksum == TAP_BINLOG_CHECKSUM_UNKNOWN)
		return TAP_BINLOG_OK;
	return tap_binlog_fail(reader, TAP_BINLOG_BAD_CHECKSUM,
						   "checksum of %s event does not match",
						   tap_binlog_event_name(packet[4]));
}

static void
read_header(const uint8_t *packet, TapBinlogEvent *event)
{
	event->timestamp = load32(packet);
	event->type = packet[4];
	event->server_id = load32(packet + 5);
	event->event_length = load32(packet + 9);
	event->next_position = load32(packet + 13);
	event->flags = load16(packet + 17);
	event->kind = event_types[event->type].kind;
	if (event->kind == TAP_BINLOG_KIND_UNKNOWN && event->flags & TAP_BINLOG_FLAG_IGNORABLE)
		event->kind = TAP_BINLOG_KIND_IGNORABLE;
}

static TapBinlogStatus
parse(TapBinlogReader *reader, const uint8_t *packet, size_t length, bool inner,
	  TapBinlogEvent *event)
{
	TapBinlogStatus status;
	size_t		trailer = 0;

	memset(event, 0, sizeof(*event));
	event->inner = inner;
	reader->status = TAP_BINLOG_OK;
	reader->message[0] = '\0';
	if (length < TAP_BINLOG_HEADER_SIZE)
		return tap_binlog_fail(reader, TAP_BINLOG_TRUNCATED,
							   "event of %zu bytes is shorter than its header", length);
	read_header(packet, event);
	if (event->event_length != length)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "%s event of %u bytes came as %zu bytes",
							   tap_binlog_event_name(event->type), event->event_length,
							   length);
	if (!inner && (status = check_checksum(reader, packet, length, &trailer)) != TAP_BINLOG_OK)
		return status;
	event->body = packet + TAP_BINLOG_HEADER_SIZE;
	event->body_length = (uint32_t) (length - TAP_BINLOG_HEADER_SIZE - trailer);
	if (inner && (event->kind == TAP_BINLOG_KIND_FORMAT_DESCRIPTION ||
				  event->kind == TAP_BINLOG_KIND_ROTATE ||
				  event->kind == TAP_BINLOG_KIND_PAYLOAD))
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "%s event inside a Transaction_payload event",
							   tap_binlog_event_name(event->type));
	if (event_types[event->type].parse == NULL)
		return TAP_BINLOG_OK;
	return event_types[event->type].parse(reader, event);
}

TapBinlogStatus
tap_binlog_parse_event(TapBinlogReader *reader, const uint8_t *packet, size_t length,
					   TapBinlogEvent *event)
{
	return parse(reader, packet, length, false, event);
}

TapBinlogStatus
tap_binlog_parse_inner(TapBinlogReader *reader, const uint8_t *packet, size_t length,
					   TapBinlogEvent *event)
{
	return parse(reader, packet, length, true, event);
}
