/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_event.c
 *	  Header, checksum and kind of binlog events.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <zlib.h>

#include "binlog_private.h"

#define FORMAT_FIXED_SIZE		57	/* version, server version, created,
									 * length */
#define FORMAT_CHECKSUM_SIZE	5	/* algorithm and CRC32 */
#define FLAG_BINLOG_IN_USE		0x0001

typedef TapBinlogStatus (*EventParser) (TapBinlogReader *reader, TapBinlogEvent *event);

typedef struct EventType
{
	const char *name;
	TapBinlogKind kind;
	EventParser parse;			/* NULL if the body is of no interest */
} EventType;

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
		return tap_binlog_truncated(reader, event);
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

static const EventType event_types[256] = {
	[1] = {"Start_v3", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[2] = {"Query", TAP_BINLOG_KIND_QUERY, tap_binlog_parse_query},
	[3] = {"Stop", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[4] = {"Rotate", TAP_BINLOG_KIND_ROTATE, tap_binlog_parse_rotate},
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
	[16] = {"Xid", TAP_BINLOG_KIND_XID, tap_binlog_parse_xid},
	[17] = {"Begin_load_query", TAP_BINLOG_KIND_STATEMENT, NULL},
	[18] = {"Execute_load_query", TAP_BINLOG_KIND_STATEMENT, NULL},
	[19] = {"Table_map", TAP_BINLOG_KIND_TABLE_MAP, tap_binlog_parse_table_map},
	[20] = {"Write_rows_v0", TAP_BINLOG_KIND_STATEMENT, NULL},
	[21] = {"Update_rows_v0", TAP_BINLOG_KIND_STATEMENT, NULL},
	[22] = {"Delete_rows_v0", TAP_BINLOG_KIND_STATEMENT, NULL},
	[23] = {"Write_rows_v1", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[24] = {"Update_rows_v1", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[25] = {"Delete_rows_v1", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[26] = {"Incident", TAP_BINLOG_KIND_INCIDENT, tap_binlog_parse_incident},
	[27] = {"Heartbeat", TAP_BINLOG_KIND_HEARTBEAT, tap_binlog_parse_heartbeat},
	[28] = {"Ignorable", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[29] = {"Rows_query", TAP_BINLOG_KIND_ROWS_QUERY, tap_binlog_parse_rows_query},
	[30] = {"Write_rows", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[31] = {"Update_rows", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[32] = {"Delete_rows", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[33] = {"Gtid", TAP_BINLOG_KIND_GTID, tap_binlog_parse_gtid},
	[34] = {"Anonymous_gtid", TAP_BINLOG_KIND_GTID, tap_binlog_parse_gtid},
	[35] = {"Previous_gtids", TAP_BINLOG_KIND_PREVIOUS_GTIDS, tap_binlog_parse_previous_gtids},
	[36] = {"Transaction_context", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[37] = {"View_change", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[38] = {"XA_prepare", TAP_BINLOG_KIND_XA_PREPARE, tap_binlog_parse_xa_prepare},
	[39] = {"Partial_update_rows", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[40] = {"Transaction_payload", TAP_BINLOG_KIND_PAYLOAD, tap_binlog_parse_payload},
	[41] = {"Heartbeat_v2", TAP_BINLOG_KIND_HEARTBEAT, tap_binlog_parse_heartbeat_v2},
	[42] = {"Gtid_tagged", TAP_BINLOG_KIND_GTID, tap_binlog_parse_gtid_tagged},
	[160] = {"Annotate_rows", TAP_BINLOG_KIND_ROWS_QUERY, tap_binlog_parse_rows_query},
	[161] = {"Binlog_checkpoint", TAP_BINLOG_KIND_IGNORABLE, NULL},
	[162] = {"Gtid", TAP_BINLOG_KIND_MARIADB_GTID, tap_binlog_parse_mariadb_gtid},
	[163] = {"Gtid_list", TAP_BINLOG_KIND_MARIADB_GTID_LIST, tap_binlog_parse_gtid_list},
	[164] = {"Start_encryption", TAP_BINLOG_KIND_ENCRYPTED, NULL},
	[165] = {"Query_compressed", TAP_BINLOG_KIND_QUERY, tap_binlog_parse_query},
	[166] = {"Write_rows_compressed_v1", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[167] = {"Update_rows_compressed_v1", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[168] = {"Delete_rows_compressed_v1", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[169] = {"Write_rows_compressed", TAP_BINLOG_KIND_WRITE_ROWS, tap_binlog_parse_rows},
	[170] = {"Update_rows_compressed", TAP_BINLOG_KIND_UPDATE_ROWS, tap_binlog_parse_rows},
	[171] = {"Delete_rows_compressed", TAP_BINLOG_KIND_DELETE_ROWS, tap_binlog_parse_rows},
	[172] = {"Partial_row_data", TAP_BINLOG_KIND_FRAGMENT, tap_binlog_parse_fragment},
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

	if (packet[4] != TAP_BINLOG_EVENT_FORMAT_DESCRIPTION)
		return tap_binlog_crc(packet, covered) == load32(packet + covered);

	/* the server sets this flag in a file after it computed the checksum */
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
	if (length < TAP_BINLOG_HEADER_SIZE + FORMAT_FIXED_SIZE + FORMAT_CHECKSUM_SIZE ||
		!version_has_checksums(reader->flavour, packet + TAP_BINLOG_HEADER_SIZE))
	{
		reader->checksum = TAP_BINLOG_CHECKSUM_NONE;
		return TAP_BINLOG_OK;
	}
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
	if ((event->flags & TAP_BINLOG_FLAG_IGNORABLE) &&
		(event->kind == TAP_BINLOG_KIND_UNKNOWN ||
		 event->kind == TAP_BINLOG_KIND_ENCRYPTED))
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
