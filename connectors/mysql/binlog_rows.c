/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_rows.c
 *	  Rows events of all versions, and the rows in them.
 *
 * NOTES
 *	  A row image is a bitmap of NULLs, with one bit for each column that is
 *	  in the image, and then the values that are not NULL.  In
 *	  PARTIAL_UPDATE_ROWS a header stands before the bitmap of the after
 *	  image; it has one bit for each JSON column of the table, whether that is
 *	  in the image or not.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_private.h"

#define ROWS_V2_HEADER_SIZE		10
#define PARTIAL_JSON_UPDATES	1

static bool
is_compressed_rows(uint8_t type)
{
	return type >= TAP_BINLOG_EVENT_WRITE_ROWS_COMPRESSED_V1 &&
		type <= TAP_BINLOG_EVENT_DELETE_ROWS_COMPRESSED;
}

/* Version 2 has extra data: of partitions, and of NDB. */
static bool
has_extra_data(const TapBinlogReader *reader, uint8_t type)
{
	if (reader->post_header[type] != 0)
		return reader->post_header[type] == ROWS_V2_HEADER_SIZE;
	return (type >= TAP_BINLOG_EVENT_WRITE_ROWS && type <= TAP_BINLOG_EVENT_DELETE_ROWS) ||
		type == TAP_BINLOG_EVENT_PARTIAL_UPDATE_ROWS ||
		type >= TAP_BINLOG_EVENT_WRITE_ROWS_COMPRESSED;
}

/* Ids that servers give to an event that only ends a statement */
static bool
is_dummy_id(uint64_t table_id)
{
	return table_id == 0xffffff || table_id == 0xffffffff;
}

static TapBinlogStatus
find_table(TapBinlogReader *reader, const TapBinlogEvent *event, TapBinlogRowsEvent *rows)
{
	rows->table = tap_binlog_find_table(reader, rows->table_id);
	if (rows->table == NULL)
	{
		if (is_dummy_id(rows->table_id) && rows->flags & TAP_BINLOG_ROWS_STATEMENT_END)
			return TAP_BINLOG_OK;
		return tap_binlog_fail(reader, TAP_BINLOG_NO_TABLE,
							   "%s event for table id %llu without its Table_map event",
							   tap_binlog_event_name(event->type),
							   (unsigned long long) rows->table_id);
	}
	if (rows->table->column_count != rows->column_count)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT,
							   "%s event for table \"%s.%s\" has %u columns, its Table_map event %u",
							   tap_binlog_event_name(event->type), rows->table->schema,
							   rows->table->name, rows->column_count,
							   rows->table->column_count);
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
set_rows(TapBinlogReader *reader, const TapBinlogEvent *event, TapBinlogCursor *cursor,
		 TapBinlogRowsEvent *rows)
{
	const uint8_t *data = cursor->position;
	size_t		length = cursor_left(cursor);

	if (is_compressed_rows(event->type) && rows->table)
	{
		TapBinlogStatus status = tap_binlog_inflate_event(reader, data, length,
														  &data, &length);

		if (status != TAP_BINLOG_OK)
			return status;
	}
	rows->rows = data;
	rows->rows_length = rows->table ? (uint32_t) length : 0;
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_rows(TapBinlogReader *reader, TapBinlogEvent *event)
{
	TapBinlogRowsEvent *rows = &event->u.rows;
	TapBinlogCursor cursor = cursor_over(event->body, event->body_length);
	const uint8_t *id = cursor_take(&cursor, reader->post_header[event->type] == 6 ? 4 : 6);
	uint64_t	column_count;
	size_t		bitmap_bytes;
	TapBinlogStatus status;

	if (id)
		rows->table_id = reader->post_header[event->type] == 6 ? load32(id) : load48(id);
	rows->flags = cursor_get16(&cursor);
	if (has_extra_data(reader, event->type))
	{
		uint16_t	extra = cursor_get16(&cursor);

		if (extra < 2)
			cursor.failed = true;
		else
			cursor_take(&cursor, extra - 2u);
	}
	column_count = cursor_get_packed(&cursor);
	if (cursor.failed || column_count > TAP_BINLOG_MAX_COLUMNS)
		return tap_binlog_truncated(reader, event);
	rows->column_count = (uint32_t) column_count;
	rows->partial_json = event->type == TAP_BINLOG_EVENT_PARTIAL_UPDATE_ROWS;
	bitmap_bytes = (rows->column_count + 7) / 8;
	if (event->kind != TAP_BINLOG_KIND_WRITE_ROWS)
		rows->before_columns = cursor_take(&cursor, bitmap_bytes);
	if (event->kind != TAP_BINLOG_KIND_DELETE_ROWS)
		rows->after_columns = cursor_take(&cursor, bitmap_bytes);
	if (cursor.failed)
		return tap_binlog_truncated(reader, event);
	if ((status = find_table(reader, event, rows)) != TAP_BINLOG_OK)
		return status;
	return set_rows(reader, event, &cursor, rows);
}

static uint32_t
count_present(const uint8_t *bitmap, uint32_t column_count)
{
	uint32_t	present = 0;

	if (bitmap == NULL)
		return 0;
	for (uint32_t i = 0; i < column_count; i++)
		present += bitmap[i / 8] >> i % 8 & 1;
	return present;
}

TapBinlogStatus
tap_binlog_rows_begin(TapBinlogReader *reader, const TapBinlogEvent *event, TapBinlogRows *rows)
{
	const TapBinlogRowsEvent *body = &event->u.rows;

	memset(rows, 0, sizeof(*rows));
	rows->reader = reader;
	rows->event = body;
	rows->kind = event->kind;
	if (event->kind != TAP_BINLOG_KIND_WRITE_ROWS &&
		event->kind != TAP_BINLOG_KIND_UPDATE_ROWS &&
		event->kind != TAP_BINLOG_KIND_DELETE_ROWS)
		return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "%s event has no rows",
							   tap_binlog_event_name(event->type));
	rows->table = body->table;
	rows->position = body->rows;
	rows->end = body->rows + body->rows_length;
	rows->before_present = count_present(body->before_columns, body->column_count);
	rows->after_present = count_present(body->after_columns, body->column_count);
	if (body->table)
		rows->json_columns = ((const TapBinlogTableEntry *) body->table)->json_columns;
	return TAP_BINLOG_OK;
}

/* Length of a value that starts at position; false if it passes the end. */
static inline bool
measure_value(const TapBinlogColumn *column, bool partial, const uint8_t **position,
			  const uint8_t *end, uint32_t *length)
{
	const uint8_t *p = *position;
	size_t		left = (size_t) (end - p);
	unsigned	prefix = partial ? 4 : column->prefix_bytes;

	if (prefix == 0)
	{
		*length = column->fixed_bytes;
		return *length <= left;
	}
	if (prefix > left)
		return false;
	switch (prefix)
	{
		case 1:
			*length = p[0];
			break;
		case 2:
			*length = load16(p);
			break;
		case 3:
			*length = load24(p);
			break;
		default:
			*length = load32(p);
			break;
	}
	*position = p + prefix;
	return *length <= left - prefix;
}

static int
fail_row(TapBinlogRows *rows, uint32_t column)
{
	tap_binlog_fail(rows->reader, TAP_BINLOG_TRUNCATED,
					"row %llu of an event for table \"%s.%s\" ends inside column %u",
					(unsigned long long) rows->row_number + 1, rows->table->schema,
					rows->table->name, column + 1);
	return -1;
}

/*
 * Read one image.  partial_bits is the bitmap of a partial update, one bit for
 * each JSON column of the table, or NULL.
 */
static int
read_image(TapBinlogRows *rows, const uint8_t *present_columns, uint32_t present_count,
		   const uint8_t *partial_bits, TapBinlogCell *cells)
{
	const TapBinlogTable *table = rows->table;
	const uint8_t *nulls = rows->position;
	const uint8_t *position;
	uint32_t	null_index = 0;
	uint32_t	json_index = 0;

	if ((present_count + 7) / 8 > (size_t) (rows->end - nulls))
		return fail_row(rows, 0);
	position = nulls + (present_count + 7) / 8;
	for (uint32_t i = 0; i < table->column_count; i++)
	{
		const TapBinlogColumn *column = &table->columns[i];
		TapBinlogCell *cell = &cells[i];
		bool		partial = false;

		if (partial_bits && column->type == TAP_BINLOG_TYPE_JSON)
		{
			partial = partial_bits[json_index / 8] >> json_index % 8 & 1;
			json_index++;
		}
		cell->data = NULL;
		cell->length = 0;
		cell->state = TAP_BINLOG_CELL_ABSENT;
		if ((present_columns[i / 8] >> i % 8 & 1) == 0)
			continue;
		cell->state = TAP_BINLOG_CELL_NULL;
		if (nulls[null_index / 8] >> null_index % 8 & 1)
		{
			null_index++;
			continue;
		}
		null_index++;
		if (!measure_value(column, partial, &position, rows->end, &cell->length))
			return fail_row(rows, i);
		cell->data = position;
		cell->state = partial ? TAP_BINLOG_CELL_PARTIAL_JSON : TAP_BINLOG_CELL_VALUE;
		position += cell->length;
	}
	rows->position = position;
	return 1;
}

/* Read the header of the after image in a partial update. */
static bool
read_partial_header(TapBinlogRows *rows, const uint8_t **partial_bits)
{
	TapBinlogCursor cursor = cursor_over(rows->position, (size_t) (rows->end - rows->position));
	uint64_t	options = cursor_get_packed(&cursor);

	*partial_bits = NULL;
	if (options & PARTIAL_JSON_UPDATES)
		*partial_bits = cursor_take(&cursor, (rows->json_columns + 7) / 8);
	if (cursor.failed || options > PARTIAL_JSON_UPDATES)
		return false;
	rows->position = cursor.position;
	return true;
}

static int
read_images(TapBinlogRows *rows, TapBinlogCell *before, TapBinlogCell *after)
{
	const TapBinlogRowsEvent *event = rows->event;
	const uint8_t *partial_bits = NULL;
	int			result = 1;

	if (event->before_columns)
		result = read_image(rows, event->before_columns, rows->before_present, NULL, before);
	if (result != 1 || event->after_columns == NULL)
		return result;
	if (event->partial_json && !read_partial_header(rows, &partial_bits))
		return fail_row(rows, 0);
	return read_image(rows, event->after_columns, rows->after_present, partial_bits, after);
}

int
tap_binlog_rows_next(TapBinlogRows *rows, TapBinlogCell *before, TapBinlogCell *after)
{
	const uint8_t *start = rows->position;
	int			result;

	if (rows->table == NULL)
		return 0;

	/*
	 * An image without columns takes no bytes: INSERT of nothing but defaults
	 * with binlog_row_image=MINIMAL.  Such an event has one row.
	 */
	if (start >= rows->end && (rows->row_number > 0 ||
							   rows->before_present + rows->after_present > 0))
		return 0;
	result = read_images(rows, before, after);
	if (result != 1)
		return result;
	if (rows->position == start && start < rows->end)
	{
		tap_binlog_fail(rows->reader, TAP_BINLOG_CORRUPT,
						"event for table \"%s.%s\" has bytes but no columns",
						rows->table->schema, rows->table->name);
		return -1;
	}
	rows->row_number++;
	return 1;
}
