/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_gtid.c
 *	  GTID events of MySQL and MariaDB.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_private.h"

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
TapBinlogStatus
tap_binlog_parse_gtid(TapBinlogReader *reader, TapBinlogEvent *event)
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
		return tap_binlog_truncated(reader, event);
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
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
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

TapBinlogStatus
tap_binlog_parse_gtid_tagged(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogGtid *gtid = &event->u.gtid;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	uint64_t	version = get_serialized(&cursor);
	uint64_t	size = get_serialized(&cursor);
	uint64_t	mandatory = get_serialized(&cursor);	/* last field + 1, or 0 */
	uint64_t	seen = 0;

	if (cursor.failed || size > event->body_length)
		return tap_binlog_truncated(reader, event);
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

bool
tap_binlog_get_xid(TapBinlogCursor *cursor, bool wide, TapBinlogXid *xid)
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

TapBinlogStatus
tap_binlog_parse_mariadb_gtid(TapBinlogReader *reader, TapBinlogEvent *event)
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
		!tap_binlog_get_xid(&cursor, false, &gtid->xid))
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
		return tap_binlog_truncated(reader, event);
	reader->generation++;
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_gtid_list(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogGtidList *list = &event->u.gtid_list;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	uint32_t	word = cursor_get32(&cursor);

	list->count = word & 0x0fffffff;
	list->flags = (uint8_t) (word >> 28);
	list->data = cursor_take(&cursor, (size_t) list->count * 16);
	return cursor.failed ? tap_binlog_truncated(reader, event) : TAP_BINLOG_OK;
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

TapBinlogStatus
tap_binlog_parse_previous_gtids(TapBinlogReader *reader, TapBinlogEvent *event)
{
	(void) reader;
	event->u.previous_gtids.data = (const char *) event->body;
	event->u.previous_gtids.length = event->body_length;
	return TAP_BINLOG_OK;
}
