/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_body.c
 *	  Bodies of events other than tables, rows and GTIDs.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_private.h"

#define QUERY_HEADER_SIZE			13
#define MARIADB_FRAGMENT_HAS_SIZE	0x01

/* Length of the post-header, by the format description or the usual one. */
static size_t
post_header(const TapBinlogReader *reader, const TapBinlogEvent *event, size_t usual)
{
	return reader->post_header[event->type] >= usual ? reader->post_header[event->type] : usual;
}

TapBinlogStatus
tap_binlog_parse_rotate(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.rotate.position = cursor_get64(&cursor);
	event->u.rotate.file = cursor_get_string(&cursor, cursor_left(&cursor));
	if (cursor.failed)
		return tap_binlog_truncated(reader, event);
	if (event->u.rotate.file.length == 0 ||
		event->u.rotate.file.length >= TAP_BINLOG_FILE_SIZE)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "log file name of %u bytes in Rotate event",
							   event->u.rotate.file.length);
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

TapBinlogStatus
tap_binlog_parse_query(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogQuery *query = &event->u.query;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	TapBinlogCursor variables;
	const uint8_t *start;
	uint8_t		schema_length;
	uint16_t	variables_length;

	query->schema = query->statement = query->time_zone = (TapBinlogString)
	{
		"", 0
	};
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
		return tap_binlog_truncated(reader, event);

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

TapBinlogStatus
tap_binlog_parse_xid(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	cursor_take(&cursor, reader->post_header[event->type]);
	event->u.xid = cursor_get64(&cursor);
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_xa_prepare(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	cursor_take(&cursor, reader->post_header[event->type]);
	event->u.xa_prepare.one_phase = cursor_get8(&cursor) != 0;
	if (!tap_binlog_get_xid(&cursor, true, &event->u.xa_prepare.xid))
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

TapBinlogStatus
tap_binlog_parse_heartbeat(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.heartbeat.position = event->next_position;
	/* MariaDB puts a position of 8 bytes first when 4 do not suffice */
	if (reader->flavour == TAP_BINLOG_MARIADB && event->next_position == 0)
		event->u.heartbeat.position = cursor_get64(&cursor);
	event->u.heartbeat.file = cursor_get_string(&cursor, cursor_left(&cursor));
	if (cursor.failed)
		return tap_binlog_truncated(reader, event);
	return check_heartbeat(reader, event);
}

TapBinlogStatus
tap_binlog_parse_heartbeat_v2(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.heartbeat.file = (TapBinlogString)
	{
		"", 0
	};
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
			return tap_binlog_truncated(reader, event);
		number = cursor_over((const uint8_t *) value.data, value.length);
		if (field == 1)
			event->u.heartbeat.file = value;
		else if (field == 2)
			event->u.heartbeat.position = cursor_get_packed(&number);
	}
	return check_heartbeat(reader, event);
}

TapBinlogStatus
tap_binlog_parse_incident(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	event->u.incident.number = cursor_get16(&cursor);
	event->u.incident.message = (TapBinlogString)
	{
		"", 0
	};
	if (cursor_left(&cursor) > 0)
		event->u.incident.message = get_short_string(&cursor);
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_rows_query(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);

	/* its length byte wraps around for longer texts and so tells nothing */
	if (event->type == TAP_BINLOG_EVENT_ROWS_QUERY)
		cursor_take(&cursor, 1);
	event->u.rows_query = cursor_get_string(&cursor, cursor_left(&cursor));
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_payload(TapBinlogReader *reader, TapBinlogEvent *event)
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
			return tap_binlog_truncated(reader, event);
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
			return tap_binlog_truncated(reader, event);
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
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_fragment(TapBinlogReader *reader, TapBinlogEvent *event)
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
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
}
