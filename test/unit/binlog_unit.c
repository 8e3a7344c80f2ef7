/*-------------------------------------------------------------------------
 *
 * test/unit/binlog_unit.c
 *	  Unit tests of the binlog decoder; prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include <zlib.h>

#include "binlog_print.h"
#include "binlog_vectors.h"
#include "gtid_unit.h"
#include "tap_unit.h"
#include "value_unit.h"

/* --- two logs as the servers wrote them ---------------------------------- */

static void
test_log(const char *name, TapBinlogFlavour flavour, const uint8_t *data, size_t size,
		 const char *const *expected, size_t expected_count)
{
	TapBinlogReader *reader = tap_binlog_reader_create(flavour, NULL);
	TapBinlogBuffer line;
	size_t		count = 0;

	tap_binlog_buffer_init(&line, 65536, NULL);
	for (size_t position = 0; position + TAP_BINLOG_HEADER_SIZE <= size; count++)
	{
		size_t		length = load32(data + position + 9);

		line.length = 0;
		print_event(reader, data + position, length, false, &line);
		is_text(line.data, count < expected_count ? expected[count] : "(nothing)",
				"%s: event %zu", name, count + 1);
		position += length;
	}
	ok(count == expected_count, "%s: number of events", name);
	tap_binlog_buffer_free(&line);
	tap_binlog_reader_free(reader);
}

static TapBinlogStatus
parse_payload(TapBinlogReader *reader, const TapBinlogEvent *event)
{
	TapBinlogPayload *payload;
	TapBinlogStatus status = tap_binlog_payload_open(reader, event, &payload);
	const uint8_t *packet;
	size_t		length;
	int			result = 0;

	while (status == TAP_BINLOG_OK &&
		   (result = tap_binlog_payload_next(payload, &packet, &length)) == 1)
	{
		TapBinlogEvent inner;

		status = tap_binlog_parse_inner(reader, packet, length, &inner);
	}
	tap_binlog_payload_close(payload);
	return result < 0 ? tap_binlog_status(reader) : status;
}

/* Parse a packet in memory of exactly its size. */
static TapBinlogStatus
parse_copy(TapBinlogReader *reader, const uint8_t *data, size_t length, bool inner)
{
	uint8_t    *copy = malloc(length ? length : 1);
	TapBinlogEvent event;
	TapBinlogStatus status;

	memcpy(copy, data, length);
	if (length >= 13)
	{
		copy[9] = (uint8_t) length;
		copy[10] = (uint8_t) (length >> 8);
		copy[11] = copy[12] = 0;
	}
	status = inner ? tap_binlog_parse_inner(reader, copy, length, &event)
		: tap_binlog_parse_event(reader, copy, length, &event);
	if (status == TAP_BINLOG_OK && event.kind == TAP_BINLOG_KIND_PAYLOAD)
		status = parse_payload(reader, &event);
	if (status == TAP_BINLOG_OK && event.kind >= TAP_BINLOG_KIND_WRITE_ROWS &&
		event.kind <= TAP_BINLOG_KIND_DELETE_ROWS)
	{
		TapBinlogCell before[32];
		TapBinlogCell after[32];
		TapBinlogRows rows;
		int			result;

		tap_binlog_rows_begin(reader, &event, &rows);
		while ((result = tap_binlog_rows_next(&rows, before, after)) == 1)
			continue;
		if (result < 0)
			status = tap_binlog_status(reader);
	}
	free(copy);
	return status;
}

/*
 * Every event, cut at every length, without its checksum.  Tables, rows, GTIDs
 * and XA have a fixed form, so that any cut of them must be noticed.
 */
static void
test_truncation(const char *name, TapBinlogFlavour flavour, const uint8_t *data, size_t size)
{
	TapBinlogReader *reader = tap_binlog_reader_create(flavour, NULL);
	size_t		unnoticed = 0;

	for (size_t position = 0; position + TAP_BINLOG_HEADER_SIZE <= size;)
	{
		size_t		length = load32(data + position + 9);
		uint8_t		type = data[position + 4];

		for (size_t cut = 0; cut < length - 4 && type != TAP_BINLOG_EVENT_FORMAT_DESCRIPTION; cut++)
		{
			TapBinlogStatus status = parse_copy(reader, data + position, cut, true);
			bool		must_fail = type == TAP_BINLOG_EVENT_XID ||
			type == TAP_BINLOG_EVENT_XA_PREPARE || type == TAP_BINLOG_EVENT_GTID_TAGGED;

			if (status == TAP_BINLOG_OK && (must_fail || cut < TAP_BINLOG_HEADER_SIZE))
				unnoticed++;
		}
		parse_copy(reader, data + position, length, false);
		position += length;
	}
	ok(unnoticed == 0, "%s: truncated events are refused", name);
	tap_binlog_reader_free(reader);
}

/* --- checksums, limits, cache -------------------------------------------- */

/* Each way through the folding, from each place in memory. */
static void
test_crc(void)
{
	uint8_t		data[16 + 1200];
	int			wrong = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 167 + i / 256 * 59 + 13);
	for (size_t from = 0; from < 16; from++)
	{
		for (size_t length = 0; length <= 1200; length++)
			wrong += tap_binlog_crc(data + from, length) != crc32(0, data + from, (uInt) length);
	}
	ok(wrong == 0, "checksums of all lengths are zlib's");
	memset(data, 0, sizeof(data));
	ok(tap_binlog_crc(data, 500) == crc32(0, data, 500), "also those of zeros");
}

static void
test_checksum(void)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MYSQL, NULL);
	size_t		length = load32(mysql_log + 9);
	uint8_t		packet[256];
	TapBinlogEvent event;

	memcpy(packet, mysql_log, length);
	packet[30] ^= 1;
	ok(tap_binlog_parse_event(reader, packet, length, &event) == TAP_BINLOG_BAD_CHECKSUM,
	   "a changed format description is refused");
	packet[30] ^= 1;
	packet[17] |= 1;
	ok(tap_binlog_parse_event(reader, packet, length, &event) == TAP_BINLOG_OK,
	   "the in-use flag of a log file is not part of its checksum");
	memcpy(packet, mysql_log + length, 162);
	ok(tap_binlog_parse_event(reader, packet, 162, &event) == TAP_BINLOG_OK,
	   "the next event has a checksum");
	packet[50] ^= 0x80;
	ok(tap_binlog_parse_event(reader, packet, 162, &event) == TAP_BINLOG_BAD_CHECKSUM,
	   "one changed bit is found");
	is_text(tap_binlog_message(reader), "checksum of Previous_gtids event does not match",
			"message of a bad checksum");
	ok(tap_binlog_parse_event(reader, packet, 161, &event) == TAP_BINLOG_CORRUPT,
	   "a packet shorter than its header says is refused");
	tap_binlog_reader_free(reader);
}

/* An event of any type with a body; returns its length. */
static size_t
make_event(uint8_t *packet, uint8_t type, uint16_t flags, const void *body, size_t body_length)
{
	size_t		length = TAP_BINLOG_HEADER_SIZE + body_length;

	memset(packet, 0, TAP_BINLOG_HEADER_SIZE);
	packet[4] = type;
	packet[9] = (uint8_t) length;
	packet[10] = (uint8_t) (length >> 8);
	packet[17] = (uint8_t) flags;
	if (body_length > 0)
		memcpy(packet + TAP_BINLOG_HEADER_SIZE, body, body_length);
	return length;
}

static void
test_first_rotate(void)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MARIADB, NULL);
	uint8_t		packet[64];
	size_t		length = make_event(packet, TAP_BINLOG_EVENT_ROTATE, TAP_BINLOG_FLAG_ARTIFICIAL,
									"\4\0\0\0\0\0\0\0bin.000123", 18);
	uint32_t	crc;
	TapBinlogEvent event;

	ok(tap_binlog_parse_event(reader, packet, length, &event) == TAP_BINLOG_OK &&
	   event.u.rotate.file.length == 10 && event.u.rotate.position == 4,
	   "a rotate before the format description, without checksum");
	packet[9] += 4;
	crc = (uint32_t) crc32(0, packet, (uInt) length);
	for (int i = 0; i < 4; i++)
		packet[length + i] = (uint8_t) (crc >> 8 * i);
	ok(tap_binlog_parse_event(reader, packet, length + 4, &event) == TAP_BINLOG_OK &&
	   event.u.rotate.file.length == 10,
	   "a rotate before the format description, with checksum");
	tap_binlog_reader_free(reader);
}

static void
test_kinds(void)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MYSQL, NULL);
	uint8_t		packet[64];
	TapBinlogEvent event;
	size_t		length = make_event(packet, 99, 0, "", 0);

	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_UNKNOWN, "an unknown event");
	length = make_event(packet, 99, TAP_BINLOG_FLAG_IGNORABLE, "", 0);
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_IGNORABLE, "an unknown event that may be ignored");
	length = make_event(packet, TAP_BINLOG_EVENT_START_ENCRYPTION, 0, "", 0);
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_ENCRYPTED, "start of encryption in a file");
	packet[17] = TAP_BINLOG_FLAG_IGNORABLE;
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_IGNORABLE, "start of encryption as a source sends it");
	length = make_event(packet, TAP_BINLOG_EVENT_INCIDENT, 0, "\1\0\4lost", 7);
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_INCIDENT && event.u.incident.number == 1 &&
	   event.u.incident.message.length == 4, "an incident");
	length = make_event(packet, TAP_BINLOG_EVENT_USER_VAR, 0, "x", 1);
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_STATEMENT, "a change as statement");
	length = make_event(packet, TAP_BINLOG_EVENT_HEARTBEAT_V2, 0,
						"\1\5bin.1\2\3\xfc\0\1\0", 13);
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.kind == TAP_BINLOG_KIND_HEARTBEAT && event.u.heartbeat.position == 256 &&
	   event.u.heartbeat.file.length == 5, "a heartbeat of version 2");
	length = make_event(packet, TAP_BINLOG_EVENT_WRITE_ROWS, 0,
						"\5\0\0\0\0\0\1\0\2\0\1\xff", 12);
	ok(tap_binlog_parse_inner(reader, packet, length, &event) == TAP_BINLOG_NO_TABLE,
	   "rows without their table map");
	length = make_event(packet, TAP_BINLOG_EVENT_WRITE_ROWS, 0,
						"\xff\xff\xff\0\0\0\1\0\2\0\0", 11);
	ok(tap_binlog_parse_inner(reader, packet, length, &event) == TAP_BINLOG_OK &&
	   event.u.rows.table == NULL, "an event that only ends a statement");
	is_text(tap_binlog_event_name(99), "unknown", "name of an unknown event");
	tap_binlog_reader_free(reader);
}

static void
count_forgotten(void *context, TapBinlogTable *table)
{
	(void) table;
	++*(int *) context;
}

static void
test_cache(void)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MYSQL, NULL);
	uint8_t		packet[64];
	TapBinlogEvent event;
	TapBinlogTable *table;
	int			forgotten = 0;
	size_t		length = make_event(packet, TAP_BINLOG_EVENT_TABLE_MAP, 0,
									"\5\0\0\0\0\0\1\0\1s\0\1t\0\1\3\0\1", 18);
	uint8_t		gtid[25] = {0};
	uint8_t		other[64];
	size_t		other_length;

	tap_binlog_set_forget(reader, count_forgotten, &forgotten);
	tap_binlog_parse_inner(reader, packet, length, &event);
	table = event.u.table;
	ok(table && table->column_count == 1 && table->columns[0].nullable, "a table of one column");
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.u.table == table && forgotten == 0, "the same map again is the same table");
	other_length = make_event(other, TAP_BINLOG_EVENT_GTID, 0, gtid, sizeof(gtid));
	tap_binlog_parse_inner(reader, other, other_length, &event);
	other_length = make_event(other, TAP_BINLOG_EVENT_WRITE_ROWS, 0,
							  "\5\0\0\0\0\0\1\0\2\0\1\xff", 12);
	ok(tap_binlog_parse_inner(reader, other, other_length, &event) == TAP_BINLOG_NO_TABLE,
	   "a table map is not valid in the next transaction");
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(event.u.table == table, "but the table is kept until then");
	ok(tap_binlog_parse_inner(reader, other, other_length, &event) == TAP_BINLOG_OK,
	   "rows with their table map");
	packet[length - 1] = 0;
	tap_binlog_parse_inner(reader, packet, length, &event);
	ok(forgotten == 1 && event.u.table->serial == 2, "a changed map is another table");
	tap_binlog_reader_free(reader);
	ok(forgotten == 2, "the last table is forgotten with the reader");
}

/* Memory that is refused after some allocations */
static void *
scarce_resize(void *context, void *old, size_t size)
{
	int		   *left = context;

	return (*left)-- > 0 ? realloc(old, size) : NULL;
}

static void
scarce_release(void *context, void *old)
{
	(void) context;
	free(old);
}

static void
test_memory(const char *name, TapBinlogFlavour flavour, const uint8_t *data, size_t size)
{
	int			left;
	TapBinlogMemory memory = {scarce_resize, scarce_release, &left};
	bool		failed = true;
	int			allowed;

	for (allowed = 0; failed && allowed < 100; allowed++)
	{
		TapBinlogReader *reader;
		size_t		position = 0;

		left = allowed;
		reader = tap_binlog_reader_create(flavour, &memory);
		failed = reader == NULL;
		while (reader && position < size)
		{
			size_t		length = load32(data + position + 9);

			if (parse_copy(reader, data + position, length, false) != TAP_BINLOG_OK)
				failed = true;
			position += length;
		}
		tap_binlog_reader_free(reader);
	}
	ok(!failed && allowed > 3, "%s: running out of memory is an error and no crash", name);
}

/* More tables than the cache holds when it is new, and than it keeps */
static void
test_many_tables(void)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MYSQL, NULL);
	uint8_t		map[64];
	uint8_t		rows[64];
	uint8_t		gtid[64];
	uint8_t		zeros[25] = {0};
	TapBinlogEvent event;
	int			forgotten = 0;
	int			found = 0;
	size_t		map_length = make_event(map, TAP_BINLOG_EVENT_TABLE_MAP, 0,
										"\0\0\0\0\0\0\1\0\1s\0\1t\0\1\3\0\1", 18);
	size_t		rows_length = make_event(rows, TAP_BINLOG_EVENT_WRITE_ROWS, 0,
										 "\0\0\0\0\0\0\1\0\2\0\1\xff", 12);
	size_t		gtid_length = make_event(gtid, TAP_BINLOG_EVENT_GTID, 0, zeros, sizeof(zeros));

	tap_binlog_set_forget(reader, count_forgotten, &forgotten);
	for (int id = 1; id <= 3000; id++)
	{
		map[19] = (uint8_t) id;
		map[20] = (uint8_t) (id >> 8);
		tap_binlog_parse_inner(reader, map, map_length, &event);
	}
	for (int id = 1; id <= 3001; id++)
	{
		rows[19] = (uint8_t) id;
		rows[20] = (uint8_t) (id >> 8);
		if (tap_binlog_parse_inner(reader, rows, rows_length, &event) == TAP_BINLOG_OK &&
			event.u.rows.table->table_id == (uint64_t) id)
			found++;
	}
	ok(found == 3000 && forgotten == 0, "3000 tables in one transaction are all found");
	tap_binlog_parse_inner(reader, gtid, gtid_length, &event);
	map[19] = map[20] = 0xff;
	tap_binlog_parse_inner(reader, map, map_length, &event);
	ok(forgotten == 3000, "tables of former transactions do not pile up");
	tap_binlog_reader_free(reader);
}

static void
test_limit(void)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MARIADB, NULL);
	uint8_t		packet[64];
	TapBinlogEvent event;
	uint8_t		body[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,	/* header, no schema */
		0x84, 0x7f, 0xff, 0xff, 0xff, 0x78, 0x9c	/* 2 GB, it says */
	};
	size_t		length = make_event(packet, TAP_BINLOG_EVENT_QUERY_COMPRESSED, 0, body,
									sizeof(body));

	ok(tap_binlog_parse_inner(reader, packet, length, &event) == TAP_BINLOG_LIMIT,
	   "an event that says it inflates to 2 GB is refused");
	tap_binlog_reader_free(reader);
}

int
main(void)
{
	test_log("MySQL", TAP_BINLOG_MYSQL, mysql_log, sizeof(mysql_log), mysql_lines,
			 LENGTH_OF(mysql_lines));
	test_log("MariaDB", TAP_BINLOG_MARIADB, mariadb_log, sizeof(mariadb_log), mariadb_lines,
			 LENGTH_OF(mariadb_lines));
	test_truncation("MySQL", TAP_BINLOG_MYSQL, mysql_log, sizeof(mysql_log));
	test_truncation("MariaDB", TAP_BINLOG_MARIADB, mariadb_log, sizeof(mariadb_log));
	test_crc();
	test_checksum();
	test_first_rotate();
	test_kinds();
	test_cache();
	test_many_tables();
	test_memory("MySQL", TAP_BINLOG_MYSQL, mysql_log, sizeof(mysql_log));
	test_memory("MariaDB", TAP_BINLOG_MARIADB, mariadb_log, sizeof(mariadb_log));
	test_limit();
	test_decimals();
	test_times();
	test_integers();
	test_doubles();
	test_json();
	test_json_depth();
	test_json_apply();
	test_gtid_sets();
	test_maria_gtids();
	return done_testing();
}
