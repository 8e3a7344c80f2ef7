/*-------------------------------------------------------------------------
 *
 * test/fuzz/binlog_fuzz.c
 *	  Fuzz target for the binlog decoder and the GTID sets.
 *
 * NOTES
 *	  The first byte of an input chooses what is done with the rest, see Mode.
 *	  In the event modes the rest is a run of events, each as long as its
 *	  header says.  Packets and values are copied to memory of
 *	  exactly their size, so that the sanitizer sees any read beyond them,
 *	  and checksums are made to fit, since no mutation would hit them.
 *
 *	  Built with -DTAP_FUZZ_REPLAY it has a main function of its own that reads
 *	  files, for compilers without libFuzzer.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "binlog_private.h"
#include "gtid.h"

#define READER_LIMIT	((size_t) 4 * 1024 * 1024)
#define TEXT_LIMIT		((size_t) 1024 * 1024)

typedef enum Mode
{
	MODE_MYSQL_EVENTS,
	MODE_MARIADB_EVENTS,
	MODE_JSON_TEXT,
	MODE_JSON_APPLY,
	MODE_GTID_TEXT,
	MODE_GTID_BINARY,
	MODE_MARIADB_GTID,
	MODE_COLUMN,
	MODE_COUNT
} Mode;

/* What must hold for any input; a failure is a finding. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static void *
copy_exactly(const void *data, size_t length)
{
	void	   *copy = malloc(length ? length : 1);

	REQUIRE(copy != NULL);
	if (length > 0)
		memcpy(copy, data, length);
	return copy;
}

/* --- values -------------------------------------------------------------- */

static void
use_bytes(const void *data, size_t length)
{
	const volatile uint8_t *bytes = data;

	if (length > 0)
	{
		(void) bytes[0];
		(void) bytes[length - 1];
	}
}

static void
use_json(const uint8_t *data, uint32_t length)
{
	TapBinlogBuffer text;
	TapBinlogBuffer again;

	tap_binlog_buffer_init(&text, TEXT_LIMIT, NULL);
	tap_binlog_buffer_init(&again, TEXT_LIMIT, NULL);
	if (tap_binlog_json_text(data, length, &text) == TAP_BINLOG_OK)
	{
		REQUIRE(text.data[text.length] == '\0' && text.length > 0);
		tap_binlog_json_apply(text.data, text.length, NULL, 0, &again);
	}
	tap_binlog_buffer_free(&text);
	tap_binlog_buffer_free(&again);
}

static void
use_value(const TapBinlogColumn *column, const uint8_t *data, uint32_t length)
{
	char		text[128];
	uint32_t	text_length;
	int64_t		number;
	uint64_t	bits;
	double		real;
	float		single;
	int			year;
	TapBinlogTime time;

	tap_binlog_get_int(data, length, &number);
	tap_binlog_get_uint(data, length, &bits);
	tap_binlog_get_bit(data, length, &bits);
	tap_binlog_get_float(data, length, &single);
	tap_binlog_get_year(data, length, &year);
	if (tap_binlog_get_double(data, length, &real))
		REQUIRE(tap_binlog_format_json_double(real, text) < TAP_BINLOG_DOUBLE_SIZE);
	if (tap_binlog_get_decimal(data, length, column->precision, column->scale, text, &text_length))
		REQUIRE(text_length < TAP_BINLOG_DECIMAL_SIZE && strlen(text) == text_length);
	if (tap_binlog_get_time(column, data, length, &time))
		REQUIRE(tap_binlog_format_time(column->type, column->scale, &time, text) < 32);
	if (column->type == TAP_BINLOG_TYPE_JSON)
		use_json(data, length);
}

static void
use_cell(TapBinlogReader *reader, const TapBinlogColumn *column, const TapBinlogCell *cell)
{
	uint8_t    *copy;
	TapBinlogCell exact = *cell;
	TapBinlogBuffer buffer;
	const uint8_t *plain;
	uint32_t	plain_length;

	REQUIRE(cell->state <= TAP_BINLOG_CELL_PARTIAL_JSON);
	if (cell->data == NULL)
		return;
	copy = copy_exactly(cell->data, cell->length);
	exact.data = copy;
	tap_binlog_buffer_init(&buffer, TEXT_LIMIT, NULL);
	if (cell->state == TAP_BINLOG_CELL_PARTIAL_JSON)
		tap_binlog_json_apply("{\"a\": [1, {\"b\": null}]}", 23, copy, cell->length, &buffer);
	else if (column->compressed)
	{
		if (tap_binlog_inflate_column(reader, &exact, &buffer, &plain,
									  &plain_length) == TAP_BINLOG_OK)
			use_bytes(plain, plain_length);
	}
	else
		use_value(column, copy, cell->length);
	tap_binlog_buffer_free(&buffer);
	free(copy);
}

/* --- events -------------------------------------------------------------- */

static void
use_rows(TapBinlogReader *reader, const TapBinlogEvent *event)
{
	uint32_t	count = event->u.rows.table ? event->u.rows.table->column_count : 0;
	TapBinlogCell *before = calloc(count + 1, sizeof(*before));
	TapBinlogCell *after = calloc(count + 1, sizeof(*after));
	TapBinlogRows rows;
	uint64_t	budget = 200;
	int			result;

	REQUIRE(before != NULL && after != NULL);
	REQUIRE(tap_binlog_rows_begin(reader, event, &rows) == TAP_BINLOG_OK);
	while ((result = tap_binlog_rows_next(&rows, before, after)) == 1 && budget-- > 0)
	{
		for (uint32_t i = 0; i < count; i++)
		{
			if (event->u.rows.before_columns)
				use_cell(reader, &rows.table->columns[i], &before[i]);
			if (event->u.rows.after_columns)
				use_cell(reader, &rows.table->columns[i], &after[i]);
		}
	}
	REQUIRE(result >= 0 || tap_binlog_message(reader)[0] != '\0');
	free(before);
	free(after);
}

static void
use_table(TapBinlogTable *table)
{
	REQUIRE(strlen(table->schema) <= table->schema_length);
	REQUIRE(strlen(table->name) <= table->name_length);
	for (uint32_t i = 0; i < table->column_count; i++)
	{
		const TapBinlogColumn *column = &table->columns[i];

		if (table->has_names)
			use_bytes(column->name, column->name_length + 1);
		for (uint32_t j = 0; j < column->label_count; j++)
			use_bytes(column->labels[j].data, column->labels[j].length);
		use_bytes(tap_binlog_type_name(column->type), 1);
		if (table->flags & 1)
			tap_binlog_set_old_scale(table, i, (int) (i % 7));
	}
	for (uint32_t i = 0; i < table->key_count; i++)
		REQUIRE(table->key_columns[i] < table->column_count);
}

static void use_packet(TapBinlogReader *reader, const uint8_t *data, size_t length, bool inner);

static void
use_payload(TapBinlogReader *reader, const TapBinlogEvent *event)
{
	TapBinlogPayload *payload;
	const uint8_t *packet;
	size_t		length;
	int			budget = 100;

	if (tap_binlog_payload_open(reader, event, &payload) != TAP_BINLOG_OK)
		return;
	while (budget-- > 0 && tap_binlog_payload_next(payload, &packet, &length) == 1)
		use_packet(reader, packet, length, true);
	tap_binlog_payload_close(payload);
}

static void
use_gtid_list(const TapBinlogGtidList *list)
{
	uint32_t	domain_id;
	uint32_t	server_id;
	uint64_t	sequence;

	for (uint32_t i = 0; i < list->count; i++)
		tap_binlog_gtid_list_get(list, i, &domain_id, &server_id, &sequence);
}

static void
use_event(TapBinlogReader *reader, const TapBinlogEvent *event)
{
	switch (event->kind)
	{
		case TAP_BINLOG_KIND_TABLE_MAP:
			use_table(event->u.table);
			break;
		case TAP_BINLOG_KIND_WRITE_ROWS:
		case TAP_BINLOG_KIND_UPDATE_ROWS:
		case TAP_BINLOG_KIND_DELETE_ROWS:
			use_rows(reader, event);
			break;
		case TAP_BINLOG_KIND_PAYLOAD:
			if (!event->inner)
				use_payload(reader, event);
			break;
		case TAP_BINLOG_KIND_QUERY:
			use_bytes(event->u.query.schema.data, event->u.query.schema.length);
			use_bytes(event->u.query.statement.data, event->u.query.statement.length);
			use_bytes(event->u.query.time_zone.data, event->u.query.time_zone.length);
			break;
		case TAP_BINLOG_KIND_ROTATE:
			use_bytes(event->u.rotate.file.data, event->u.rotate.file.length);
			break;
		case TAP_BINLOG_KIND_HEARTBEAT:
			use_bytes(event->u.heartbeat.file.data, event->u.heartbeat.file.length);
			break;
		case TAP_BINLOG_KIND_ROWS_QUERY:
			use_bytes(event->u.rows_query.data, event->u.rows_query.length);
			break;
		case TAP_BINLOG_KIND_INCIDENT:
			use_bytes(event->u.incident.message.data, event->u.incident.message.length);
			break;
		case TAP_BINLOG_KIND_XA_PREPARE:
			use_bytes(event->u.xa_prepare.xid.data, event->u.xa_prepare.xid.gtrid_length +
					  event->u.xa_prepare.xid.bqual_length);
			break;
		case TAP_BINLOG_KIND_FRAGMENT:
			use_bytes(event->u.fragment.data, event->u.fragment.length);
			break;
		case TAP_BINLOG_KIND_GTID:
			REQUIRE(strlen(event->u.gtid.tag) < sizeof(event->u.gtid.tag));
			break;
		case TAP_BINLOG_KIND_MARIADB_GTID_LIST:
			use_gtid_list(&event->u.gtid_list);
			break;
		default:
			break;
	}
}

static void
store32(uint8_t *out, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t) (value >> 8 * i);
}

/* Make length and checksum of a packet fit. */
static void
mend_packet(const TapBinlogReader *reader, uint8_t *packet, size_t length, bool inner)
{
	if (length < TAP_BINLOG_HEADER_SIZE)
		return;
	store32(packet + 9, (uint32_t) length);
	if (inner || length < TAP_BINLOG_HEADER_SIZE + 5 ||
		(reader->checksum == TAP_BINLOG_CHECKSUM_NONE &&
		 packet[4] != TAP_BINLOG_EVENT_FORMAT_DESCRIPTION))
		return;
	if (packet[4] == TAP_BINLOG_EVENT_FORMAT_DESCRIPTION)
		packet[17] &= 0xfe;
	store32(packet + length - 4, (uint32_t) crc32(0, packet, (uInt) (length - 4)));
}

static void
use_packet(TapBinlogReader *reader, const uint8_t *data, size_t length, bool inner)
{
	uint8_t    *packet = copy_exactly(data, length);
	TapBinlogEvent event;
	TapBinlogStatus status;

	mend_packet(reader, packet, length, inner);
	status = inner ? tap_binlog_parse_inner(reader, packet, length, &event)
		: tap_binlog_parse_event(reader, packet, length, &event);
	if (status == TAP_BINLOG_OK)
		use_event(reader, &event);
	else
		REQUIRE(tap_binlog_message(reader)[0] != '\0' && tap_binlog_status(reader) == status);
	free(packet);
}

static void
use_events(TapBinlogFlavour flavour, const uint8_t *data, size_t size)
{
	TapBinlogReader *reader = tap_binlog_reader_create(flavour, NULL);

	REQUIRE(reader != NULL);
	tap_binlog_set_limit(reader, READER_LIMIT);
	while (size > 0)
	{
		size_t		length = size >= TAP_BINLOG_HEADER_SIZE ? load32(data + 9) : size;

		if (length < TAP_BINLOG_HEADER_SIZE || length > size)
			length = size;
		use_packet(reader, data, length, false);
		data += length;
		size -= length;
	}
	tap_binlog_reader_free(reader);
}

/* --- the other modes ----------------------------------------------------- */

/*
 * The old text is what stands before the first zero byte, the diffs behind
 * it.
 */
static void
use_apply(const uint8_t *data, size_t size)
{
	const uint8_t *zero = memchr(data, 0, size);
	size_t		text_size = zero ? (size_t) (zero - data) : size;
	size_t		diffs_size = zero ? size - text_size - 1 : 0;
	char	   *text = copy_exactly(data, text_size);
	uint8_t    *diffs = copy_exactly(zero ? zero + 1 : data, diffs_size);
	TapBinlogBuffer once;
	TapBinlogBuffer twice;

	tap_binlog_buffer_init(&once, TEXT_LIMIT, NULL);
	tap_binlog_buffer_init(&twice, TEXT_LIMIT * 8, NULL);
	if (tap_binlog_json_apply(text, text_size, diffs, (uint32_t) diffs_size,
							  &once) == TAP_BINLOG_OK)
	{
		/* what was printed is canonical, and so stays as it is */
		REQUIRE(tap_binlog_json_apply(once.data, once.length, NULL, 0, &twice) == TAP_BINLOG_OK);
		REQUIRE(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
	}
	tap_binlog_buffer_free(&once);
	tap_binlog_buffer_free(&twice);
	free(text);
	free(diffs);
}

static void
check_gtid_set(const TapGtidSet *set)
{
	TapGtidSet	copy = {0};
	TapGtidSet	empty = {0};
	char	   *text = tap_gtid_set_text(set);
	uint8_t    *binary;
	size_t		length;

	REQUIRE(text != NULL);
	REQUIRE(tap_gtid_set_parse(text, strlen(text), &copy) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_equal(set, &copy));
	REQUIRE(tap_gtid_set_encode(set, &binary, &length) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_decode(binary, length, &copy) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_equal(set, &copy) && tap_gtid_set_is_subset(&copy, set));
	REQUIRE(tap_gtid_set_subtract(&copy, set) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_equal(&copy, &empty));
	free(text);
	free(binary);
	tap_gtid_set_free(&copy);
}

static void
check_gtid_laws(const TapGtidSet *a, const TapGtidSet *b)
{
	TapGtidSet	both = {0};

	REQUIRE(tap_gtid_set_copy(&both, a) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_union(&both, b) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_is_subset(a, &both) && tap_gtid_set_is_subset(b, &both));
	check_gtid_set(&both);
	REQUIRE(tap_gtid_set_subtract(&both, b) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_is_subset(&both, a));
	for (size_t i = 0; i < b->count; i++)
		REQUIRE(!tap_gtid_set_contains(&both, b->sources[i].uuid, b->sources[i].tag,
									   b->sources[i].intervals[0].first));
	REQUIRE(tap_gtid_set_union(&both, b) == TAP_GTID_OK);
	REQUIRE(tap_gtid_set_is_subset(a, &both));
	tap_gtid_set_free(&both);
}

/* Two sets with a semicolon between them */
static void
use_gtid_text(const uint8_t *data, size_t size)
{
	const uint8_t *split = memchr(data, ';', size);
	size_t		first = split ? (size_t) (split - data) : size;
	char	   *a_text = copy_exactly(data, first);
	char	   *b_text = copy_exactly(split ? split + 1 : data, split ? size - first - 1 : 0);
	TapGtidSet	a = {0};
	TapGtidSet	b = {0};

	tap_gtid_set_parse(a_text, first, &a);
	tap_gtid_set_parse(b_text, split ? size - first - 1 : 0, &b);
	check_gtid_set(&a);
	check_gtid_laws(&a, &b);
	check_gtid_laws(&b, &a);
	tap_gtid_set_free(&a);
	tap_gtid_set_free(&b);
	free(a_text);
	free(b_text);
}

static void
use_gtid_binary(const uint8_t *data, size_t size)
{
	uint8_t    *copy = copy_exactly(data, size);
	TapGtidSet	set = {0};

	/* a tag may hold bytes that the text form does not allow */
	if (tap_gtid_set_decode(copy, size, &set) == TAP_GTID_OK && !tap_gtid_set_has_tags(&set))
		check_gtid_set(&set);
	tap_gtid_set_free(&set);
	free(copy);
}

static void
use_maria_gtid(const uint8_t *data, size_t size)
{
	char	   *copy = copy_exactly(data, size);
	TapMariaGtidList list = {0};
	TapMariaGtidList again = {0};
	char	   *text;

	if (tap_maria_gtid_parse(copy, size, &list) == TAP_GTID_OK)
	{
		text = tap_maria_gtid_text(&list);
		REQUIRE(text && tap_maria_gtid_parse(text, strlen(text), &again) == TAP_GTID_OK);
		REQUIRE(tap_maria_gtid_equal(&list, &again));
		REQUIRE(tap_maria_gtid_is_subset(&list, &again));
		free(text);
	}
	tap_maria_gtid_free(&list);
	tap_maria_gtid_free(&again);
	free(copy);
}

/* A compressed column */
static void
use_column(const uint8_t *data, size_t size)
{
	TapBinlogReader *reader = tap_binlog_reader_create(TAP_BINLOG_MARIADB, NULL);
	TapBinlogColumn column = {0};
	TapBinlogCell cell = {data, (uint32_t) size, TAP_BINLOG_CELL_VALUE};

	REQUIRE(reader != NULL);
	tap_binlog_set_limit(reader, READER_LIMIT);
	column.compressed = true;
	use_cell(reader, &column, &cell);
	tap_binlog_reader_free(reader);
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t    *copy;

	if (size < 1)
		return 0;
	switch ((Mode) (data[0] % MODE_COUNT))
	{
		case MODE_MYSQL_EVENTS:
			use_events(TAP_BINLOG_MYSQL, data + 1, size - 1);
			break;
		case MODE_MARIADB_EVENTS:
			use_events(TAP_BINLOG_MARIADB, data + 1, size - 1);
			break;
		case MODE_JSON_TEXT:
			copy = copy_exactly(data + 1, size - 1);
			use_json(copy, (uint32_t) (size - 1));
			free(copy);
			break;
		case MODE_JSON_APPLY:
			use_apply(data + 1, size - 1);
			break;
		case MODE_GTID_TEXT:
			use_gtid_text(data + 1, size - 1);
			break;
		case MODE_GTID_BINARY:
			use_gtid_binary(data + 1, size - 1);
			break;
		case MODE_MARIADB_GTID:
			use_maria_gtid(data + 1, size - 1);
			break;
		default:
			use_column(data + 1, size - 1);
			break;
	}
	return 0;
}

#ifdef TAP_FUZZ_REPLAY
static bool
replay_file(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	long		size;
	uint8_t    *data;
	bool		complete;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
	{
		perror(path);
		return false;
	}
	rewind(file);
	data = malloc((size_t) size + 1);
	REQUIRE(data != NULL);
	complete = fread(data, 1, (size_t) size, file) == (size_t) size;
	fclose(file);
	if (complete)
		LLVMFuzzerTestOneInput(data, (size_t) size);
	else
		fprintf(stderr, "%s: could not be read\n", path);
	free(data);
	return complete;
}

int
main(int argument_count, char **arguments)
{
	int			failures = 0;

	for (int i = 1; i < argument_count; i++)
		failures += !replay_file(arguments[i]);
	printf("%d files, %d unreadable\n", argument_count - 1, failures);
	return failures > 0;
}
#endif							/* TAP_FUZZ_REPLAY */
