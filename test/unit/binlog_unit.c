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

#define LENGTH_OF(array)	(sizeof(array) / sizeof((array)[0]))
#define DIFFS(bytes)		bytes, sizeof(bytes) - 1

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

/* --- values -------------------------------------------------------------- */

static void
test_decimals(void)
{
	static const struct
	{
		const char *bytes;
		uint32_t	length;
		int			precision;
		int			scale;
		const char *text;
	}			cases[] = {
		{"\x81\x0d\xfb\x38\xd2\x04\xd2", 7, 14, 4, "1234567890.1234"},
		{"\x7e\xf2\x04\xc7\x2d\xfb\x2d", 7, 14, 4, "-1234567890.1234"},
		{"\x80\0\0\0\0", 5, 10, 0, "0"},
		{"\x80\0\0\1", 4, 9, 9, "0.000000001"},
		{"\x7f\xff\xff\xfe", 4, 9, 9, "-0.000000001"},
		{"\x80", 1, 1, 1, "0.0"},
		{"\x89", 1, 1, 0, "9"},
		{"\x8a", 1, 1, 0, NULL},
		{"\x80\0\0", 3, 10, 0, NULL},
		{"\x80", 1, 0, 0, NULL},
	};
	char		text[TAP_BINLOG_DECIMAL_SIZE];
	uint32_t	length;

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		bool		good = tap_binlog_get_decimal((const uint8_t *) cases[i].bytes,
												  cases[i].length, cases[i].precision,
												  cases[i].scale, text, &length);

		is_text(good ? text : "(refused)", cases[i].text ? cases[i].text : "(refused)",
				"decimal(%d,%d)", cases[i].precision, cases[i].scale);
	}
}

static void
test_times(void)
{
	static const struct
	{
		uint8_t		type;
		uint8_t		scale;
		const char *bytes;
		uint32_t	length;
		const char *text;
	}			cases[] = {
		{TAP_BINLOG_TYPE_DATE, 0, "\x5d\xd0\x0f", 3, "2024-02-29"},
		{TAP_BINLOG_TYPE_DATE, 0, "\0\0\0", 3, "0000-00-00"},
		{TAP_BINLOG_TYPE_TIME, 0, "\x41\xe2\x01", 3, "12:34:57"},
		{TAP_BINLOG_TYPE_TIME, 0, "\xbf\x1d\xfe", 3, "-12:34:57"},
		{TAP_BINLOG_TYPE_TIME, 0, "\xff\xff\x7f", 3, NULL},
		{TAP_BINLOG_TYPE_DATETIME, 0, "\xf7\x7c\xac\x8b\x68\x12\0\0", 8, "2024-02-29 23:59:59"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 0, "\0\0\0\0", 4, "0000-00-00 00:00:00"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 0, "\1\0\0\0", 4, "1970-01-01 00:00:01"},
		{TAP_BINLOG_TYPE_TIME, 3, "\0\xb1\xd8\x12\x27", 5, "-10:11:12.345"},
		{TAP_BINLOG_TYPE_TIME, 3, "\xff\xb1\xd8\x12\x27", 5, NULL},
		{TAP_BINLOG_TYPE_DATETIME, 6, "\1\2\x7a\xb3\xc5\x88\x3b\0", 8, "2024-02-29 01:02:03.123456"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 2, "\x65\xdf\xd7\x8b\x2d", 5, "2024-02-29 01:02:03.45"},
		{TAP_BINLOG_TYPE_TIMESTAMP, 2, "\x65\xdf\xd7\x8b\x64", 5, NULL},
		{TAP_BINLOG_TYPE_TIMESTAMP2, 0, "\xff\xff\xff\xff", 4, "2106-02-07 06:28:15"},
		{TAP_BINLOG_TYPE_TIMESTAMP2, 2, "\x65\xe0\x6d\xc0\x05", 5, "2024-02-29 11:42:56.05"},
		{TAP_BINLOG_TYPE_TIMESTAMP2, 2, "\x65\xe0\x6d\xc0\x64", 5, NULL},
		{TAP_BINLOG_TYPE_TIME2, 0, "\x80\0\0", 3, "00:00:00"},
		{TAP_BINLOG_TYPE_TIME2, 0, "\x7f\xff\xff", 3, "-00:00:01"},
		{TAP_BINLOG_TYPE_TIME2, 2, "\x7f\xff\xff\xff", 4, "-00:00:00.01"},
		{TAP_BINLOG_TYPE_TIME2, 0, "\xb4\x6e\xfb", 3, "838:59:59"},
		{TAP_BINLOG_TYPE_TIME2, 6, "\x4b\x91\x05\xf0\xbd\xc1", 6, "-838:59:58.999999"},
		{TAP_BINLOG_TYPE_TIME2, 0, "\x80\x0f\xff", 3, NULL},
		{TAP_BINLOG_TYPE_DATETIME2, 0, "\x80\0\0\0\0", 5, "0000-00-00 00:00:00"},
		{TAP_BINLOG_TYPE_DATETIME2, 0, "\x7f\xff\xff\xff\xff", 5, NULL},
		{TAP_BINLOG_TYPE_DATETIME2, 0, "\x80", 1, NULL},
	};

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		TapBinlogColumn column = {0};
		TapBinlogTime time;
		char		text[40];

		column.type = cases[i].type;
		column.scale = cases[i].scale;
		column.fixed_bytes = (uint8_t) cases[i].length;
		if (!tap_binlog_get_time(&column, (const uint8_t *) cases[i].bytes, cases[i].length,
								 &time))
			strcpy(text, "(refused)");
		else
			tap_binlog_format_time(column.type, column.scale, &time, text);
		is_text(text, cases[i].text ? cases[i].text : "(refused)", "%s(%d), case %zu",
				tap_binlog_type_name(column.type), column.scale, i + 1);
	}
}

static void
test_integers(void)
{
	const uint8_t *bytes = (const uint8_t *) "\xfe\xff\xff\xff\xff\xff\xff\xff";
	int64_t		number;
	uint64_t	bits;
	int			year;

	for (uint32_t length = 1; length <= 8; length++)
		ok(tap_binlog_get_int(bytes, length, &number) && number == -2, "-2 in %u bytes", length);
	ok(tap_binlog_get_uint(bytes, 3, &bits) && bits == 16777214, "unsigned in 3 bytes");
	ok(tap_binlog_get_uint(bytes, 8, &bits) && bits == UINT64_MAX - 1, "unsigned in 8 bytes");
	ok(!tap_binlog_get_int(bytes, 0, &number) && !tap_binlog_get_uint(bytes, 9, &bits),
	   "no integer has 0 or 9 bytes");
	ok(tap_binlog_get_bit((const uint8_t *) "\1\2", 2, &bits) && bits == 258, "bits");
	ok(tap_binlog_get_year((const uint8_t *) "\0", 1, &year) && year == 0, "year 0000");
}

/* --- JSON ---------------------------------------------------------------- */

static void
test_doubles(void)
{
	static const struct
	{
		double		value;
		const char *text;
	}			cases[] = {
		{0, "0.0"}, {-0.0, "-0.0"}, {1, "1.0"}, {1.5, "1.5"}, {0.1, "0.1"},
		{1e14, "100000000000000.0"}, {1e15, "1e15"}, {123456789012345, "123456789012345.0"},
		{1234567890123456.7, "1234567890123456.8"}, {12345678901234567, "1.2345678901234568e16"},
		{1e-14, "0.00000000000001"}, {1e-15, "0.000000000000001"}, {1e-16, "1e-16"},
		{-1.2345678901234567e-15, "-0.0000000000000012345678901234568"},
		{5e-324, "5e-324"}, {1.7976931348623157e308, "1.7976931348623157e308"},
		{5.684341886080801e-14, "0.00000000000005684341886080801"},
		{9007199254740993.0, "9.007199254740992e15"}, {1e22, "1e22"}, {1e23, "1e23"},
	};
	char		text[TAP_BINLOG_DOUBLE_SIZE];

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		tap_binlog_format_json_double(cases[i].value, text);
		is_text(text, cases[i].text, "double %.17g in JSON", cases[i].value);
	}
}

static void
test_json(void)
{
	static const struct
	{
		const char *name;
		const char *bytes;
		uint32_t	length;
		const char *text;
	}			cases[] = {
		{"empty value", "", 0, "null"},
		{"literal", "\4\1", 2, "true"},
		{"unknown literal", "\4\3", 2, NULL},
		{"int16", "\5\xfe\xff", 3, "-2"},
		{"uint64", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff", 9, "18446744073709551615"},
		{"string", "\x0c\5a\"\\\n\x1f", 7, "\"a\\\"\\\\\\n\\u001f\""},
		{"string that is too long", "\x0c\6abcde", 7, NULL},
		{"length without end", "\x0c\xff\xff\xff\xff\xff\xff", 7, NULL},
		{"small array", "\2\2\0\x0a\0\5\1\0\4\0\0", 11, "[1, null]"},
		{"small object", "\0\1\0\x0d\0\x0b\0\2\0\5\2\0kk", 14, "{\"kk\": 2}"},
		{"empty object", "\0\0\0\4\0", 5, "{}"},
		{"more elements than bytes", "\2\xff\xff\x0a\0\5\1\0\4\0\0", 11, NULL},
		{"size beyond the end", "\2\1\0\x0a\0\5\1\0", 8, NULL},
		{"array that holds itself", "\2\1\0\7\0\2\0\0", 8, NULL},
		{"key beyond the container", "\0\1\0\x0b\0\x0b\0\2\0\5\2\0", 12, NULL},
		{"decimal", "\x0f\xf6\4\3\1\x81\x90", 7, NULL},
		{"good decimal", "\x0f\xf6\4\3\1\x8c\5", 7, "12.5"},
		{"blob", "\x0f\xfc\3abc", 6, "\"base64:type252:YWJj\""},
		{"time", "\x0f\x0b\x08\0\0\0\xcc\xa2\0\0\0", 11, "\"10:11:12.000000\""},
		{"unknown type", "\x0d\0", 2, NULL},
	};

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		TapBinlogBuffer text;
		TapBinlogStatus status;

		tap_binlog_buffer_init(&text, 65536, NULL);
		status = tap_binlog_json_text((const uint8_t *) cases[i].bytes, cases[i].length, &text);
		is_text(status == TAP_BINLOG_OK ? text.data : "(refused)",
				cases[i].text ? cases[i].text : "(refused)", "JSON: %s", cases[i].name);
		tap_binlog_buffer_free(&text);
	}
}

/*
 * Arrays in arrays, built from the inside, each behind the header of its
 * outer one.
 */
static void
test_json_depth(void)
{
	for (int depth = 100; depth <= 101; depth++)
	{
		uint8_t		data[1 + 102 * 7];
		size_t		size = 1 + (size_t) depth * 7;
		TapBinlogBuffer text;

		data[0] = 2;
		for (int i = 0; i < depth; i++)
		{
			uint8_t    *level = data + 1 + i * 7;
			size_t		left = size - 1 - (size_t) i * 7;

			memcpy(level, "\1\0\0\0\2\7\0", 7);
			level[2] = (uint8_t) left;
			level[3] = (uint8_t) (left >> 8);
			if (i == depth - 1)
				level[0] = 0;
		}
		tap_binlog_buffer_init(&text, 65536, NULL);
		ok((tap_binlog_json_text(data, (uint32_t) size, &text) == TAP_BINLOG_OK) == (depth == 100),
		   "JSON: %d arrays in each other", depth);
		tap_binlog_buffer_free(&text);
	}
}

static void
test_json_apply(void)
{
	static const struct
	{
		const char *old;
		const char *diffs;
		uint32_t	length;
		const char *text;
	}			cases[] = {
		{"{\"b\":1,\"a\":[ 1.50,2 ]}", DIFFS(""), "{\"a\": [1.50, 2], \"b\": 1}"},
		{"{\"a\":1}", DIFFS("\0\3$.a\3\5\2\0"), "{\"a\": 2}"},
		{"{\"a\":1}", DIFFS("\1\3$.b\2\4\1"), "{\"a\": 1, \"b\": true}"},
		{"{\"bb\":1}", DIFFS("\1\3$.c\2\4\0"), "{\"c\": null, \"bb\": 1}"},
		{"{\"a\":1}", DIFFS("\1\3$.a\2\4\1"), NULL},
		{"{\"a\":1}", DIFFS("\0\3$.b\2\4\1"), NULL},
		{"{\"a b\":{\"c\":[1,2]}}", DIFFS("\2\x0c$.\"a b\".c[0]"), "{\"a b\": {\"c\": [2]}}"},
		{"[1,2]", DIFFS("\1\4$[1]\2\4\0"), "[1, null, 2]"},
		{"[1,2]", DIFFS("\1\4$[9]\2\4\0"), "[1, 2, null]"},
		{"[1,2]", DIFFS("\0\4$[2]\2\4\0"), NULL},
		{"[1,2]", DIFFS("\0\1$\2\4\2"), "false"},
		{"[1,2]", DIFFS("\2\1$"), NULL},
		{"[1,2]", DIFFS("\3\4$[1]"), NULL},
		{"[1,2]", DIFFS("\2\4$[1"), NULL},
		{"[1,2", DIFFS(""), NULL},
		{"\"\\u00e9\\ud83d\\ude00\"", DIFFS(""), "\"\xc3\xa9\xf0\x9f\x98\x80\""},
		{"\"\\ud83d\"", DIFFS(""), NULL},
		{"{\"k\":1,\"k\":2}", DIFFS(""), "{\"k\": 2}"},
	};

	for (size_t i = 0; i < LENGTH_OF(cases); i++)
	{
		TapBinlogBuffer text;
		TapBinlogStatus status;

		tap_binlog_buffer_init(&text, 65536, NULL);
		status = tap_binlog_json_apply(cases[i].old, strlen(cases[i].old),
									   (const uint8_t *) cases[i].diffs, cases[i].length, &text);
		is_text(status == TAP_BINLOG_OK ? text.data : "(refused)",
				cases[i].text ? cases[i].text : "(refused)", "JSON diffs: case %zu", i + 1);
		tap_binlog_buffer_free(&text);
	}
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
