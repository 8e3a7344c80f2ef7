/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_table.c
 *	  TABLE_MAP events: columns and their optional metadata.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_private.h"

/* Types of the optional metadata */
enum
{
	META_SIGNEDNESS = 1,
	META_DEFAULT_CHARSET,
	META_COLUMN_CHARSET,
	META_COLUMN_NAME,
	META_SET_LABELS,
	META_ENUM_LABELS,
	META_GEOMETRY_TYPE,
	META_SIMPLE_KEY,
	META_PREFIX_KEY,
	META_ENUM_SET_DEFAULT_CHARSET,
	META_ENUM_SET_COLUMN_CHARSET,
	META_VISIBILITY,
	META_VECTOR_DIMENSION,
	META_COUNT
};

/* What the first pass over a body finds; positions are inside the body. */
typedef struct MapLayout
{
	uint16_t	flags;
	TapBinlogString schema;
	TapBinlogString name;
	uint32_t	column_count;
	const uint8_t *types;
	TapBinlogCursor metadata;
	const uint8_t *nullable;
	TapBinlogCursor optional[META_COUNT];	/* position NULL = not there */
	size_t		label_count;
} MapLayout;

/* Columns that a field of the optional metadata speaks of, in their order */
typedef bool (*ColumnFilter) (TapBinlogFlavour flavour, const TapBinlogColumn *column);

static TapBinlogStatus
malformed(TapBinlogReader *reader, const char *what)
{
	return tap_binlog_fail(reader, TAP_BINLOG_CORRUPT, "malformed %s in Table_map event", what);
}

/* --- which columns a field speaks of ------------------------------------- */

/* Both servers count YEAR, although their own tools do not expect it. */
static bool
is_numeric(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	(void) flavour;
	switch (column->type)
	{
		case TAP_BINLOG_TYPE_TINY:
		case TAP_BINLOG_TYPE_SHORT:
		case TAP_BINLOG_TYPE_INT24:
		case TAP_BINLOG_TYPE_LONG:
		case TAP_BINLOG_TYPE_LONGLONG:
		case TAP_BINLOG_TYPE_NEWDECIMAL:
		case TAP_BINLOG_TYPE_FLOAT:
		case TAP_BINLOG_TYPE_DOUBLE:
		case TAP_BINLOG_TYPE_YEAR:
			return true;
		default:
			return false;
	}
}

static bool
is_character(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	if (column->type == TAP_BINLOG_TYPE_GEOMETRY)
		return flavour == TAP_BINLOG_MARIADB;
	if (column->type == TAP_BINLOG_TYPE_VECTOR)
		return true;
	return column->type == TAP_BINLOG_TYPE_STRING || column->type == TAP_BINLOG_TYPE_VARCHAR ||
		column->type == TAP_BINLOG_TYPE_BLOB;
}

static bool
is_enum(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	(void) flavour;
	return column->type == TAP_BINLOG_TYPE_ENUM;
}

static bool
is_set(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	(void) flavour;
	return column->type == TAP_BINLOG_TYPE_SET;
}

static bool
is_enum_or_set(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	return is_enum(flavour, column) || is_set(flavour, column);
}

static bool
is_geometry(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	(void) flavour;
	return column->type == TAP_BINLOG_TYPE_GEOMETRY;
}

static bool
is_vector(TapBinlogFlavour flavour, const TapBinlogColumn *column)
{
	(void) flavour;
	return column->type == TAP_BINLOG_TYPE_VECTOR;
}

/* The next column from *index on that passes the filter, or NULL */
static TapBinlogColumn *
next_column(const TapBinlogReader *reader, TapBinlogTable *table, ColumnFilter filter,
			uint32_t *index)
{
	while (*index < table->column_count)
	{
		TapBinlogColumn *column = &table->columns[(*index)++];

		if (filter == NULL || filter(reader->flavour, column))
			return column;
	}
	return NULL;
}

/* --- first pass ---------------------------------------------------------- */

/* Count labels so that memory can be had in one piece. */
static size_t
count_labels(TapBinlogCursor cursor)
{
	size_t		total = 0;

	if (cursor.position == NULL)
		return 0;
	while (cursor_left(&cursor) > 0 && !cursor.failed)
	{
		uint64_t	count = cursor_get_packed(&cursor);

		while (count-- > 0 && !cursor.failed)
		{
			cursor_take(&cursor, cursor_get_packed(&cursor));
			total++;
		}
	}
	return total;
}

static bool
find_optional_fields(TapBinlogCursor *cursor, MapLayout *layout)
{
	while (cursor_left(cursor) > 0)
	{
		uint8_t		type = cursor_get8(cursor);
		uint64_t	length = cursor_get_packed(cursor);
		const uint8_t *value = cursor_take(cursor, length);

		if (cursor->failed)
			return false;
		if (type > 0 && type < META_COUNT)
			layout->optional[type] = cursor_over(value, length);
	}
	layout->label_count = count_labels(layout->optional[META_SET_LABELS]) +
		count_labels(layout->optional[META_ENUM_LABELS]);
	return true;
}

static TapBinlogStatus
find_layout(TapBinlogReader *reader, TapBinlogCursor *cursor, MapLayout *layout)
{
	uint64_t	count;
	uint64_t	metadata_length;
	const uint8_t *metadata;

	layout->flags = cursor_get16(cursor);
	layout->schema = cursor_get_string(cursor, cursor_get8(cursor));
	cursor_take(cursor, 1);
	layout->name = cursor_get_string(cursor, cursor_get8(cursor));
	cursor_take(cursor, 1);
	count = cursor_get_packed(cursor);
	if (cursor->failed)
		return malformed(reader, "name");
	if (count > TAP_BINLOG_MAX_COLUMNS)
		return tap_binlog_fail(reader, TAP_BINLOG_LIMIT,
							   "%llu columns in Table_map event, more than %d",
							   (unsigned long long) count, TAP_BINLOG_MAX_COLUMNS);
	layout->column_count = (uint32_t) count;
	layout->types = cursor_take(cursor, count);
	metadata_length = cursor_get_packed(cursor);
	metadata = cursor_take(cursor, metadata_length);
	layout->nullable = cursor_take(cursor, (count + 7) / 8);
	if (cursor->failed)
		return malformed(reader, "columns");
	layout->metadata = cursor_over(metadata, metadata_length);
	if (!find_optional_fields(cursor, layout))
		return malformed(reader, "optional metadata");
	return TAP_BINLOG_OK;
}

/* --- second pass --------------------------------------------------------- */

static TapBinlogStatus
fill_types(TapBinlogReader *reader, TapBinlogTableEntry *entry, MapLayout *layout)
{
	for (uint32_t i = 0; i < layout->column_count; i++)
	{
		TapBinlogColumn *column = &entry->table.columns[i];

		column->wire_type = layout->types[i];
		column->nullable = layout->nullable[i / 8] >> i % 8 & 1;
		column->visible = true;
		switch (tap_binlog_metadata_bytes(column->wire_type))
		{
			case 1:
				column->metadata = cursor_get8(&layout->metadata);
				break;
			case 2:
				column->metadata = cursor_get16(&layout->metadata);
				break;
		}
		if (layout->metadata.failed)
			return malformed(reader, "column metadata");
		if (!tap_binlog_set_type(column))
			return tap_binlog_fail(reader, TAP_BINLOG_UNSUPPORTED,
								   "column %u of table \"%s.%s\" has type %u with metadata %u",
								   i + 1, entry->table.schema, entry->table.name,
								   column->wire_type, column->metadata);
		if (column->type == TAP_BINLOG_TYPE_JSON)
			entry->json_columns++;
	}
	return TAP_BINLOG_OK;
}

/*
 * Bitmaps of the optional metadata have the first column in the highest bit.
 */
static bool
get_bit(const TapBinlogCursor *cursor, uint32_t index)
{
	return index / 8 < cursor_left(cursor) &&
		(cursor->position[index / 8] >> (7 - index % 8) & 1);
}

static void
fill_bitmaps(const TapBinlogReader *reader, TapBinlogTable *table, const MapLayout *layout)
{
	const TapBinlogCursor *signedness = &layout->optional[META_SIGNEDNESS];
	const TapBinlogCursor *visibility = &layout->optional[META_VISIBILITY];
	uint32_t	index = 0;
	uint32_t	bit = 0;
	TapBinlogColumn *column;

	table->has_signedness = signedness->position != NULL;
	while (table->has_signedness &&
		   (column = next_column(reader, table, is_numeric, &index)) != NULL)
		column->is_unsigned = get_bit(signedness, bit++);
	table->has_visibility = visibility->position != NULL;
	if (table->has_visibility)
	{
		for (uint32_t i = 0; i < table->column_count; i++)
			table->columns[i].visible = get_bit(visibility, i);
	}
}

/* One collation for all, then exceptions as pairs of index and collation */
static bool
fill_default_collation(const TapBinlogReader *reader, TapBinlogTable *table,
					   ColumnFilter filter, TapBinlogCursor cursor)
{
	uint32_t	standard = (uint32_t) cursor_get_packed(&cursor);
	uint64_t	exception = UINT64_MAX;
	uint32_t	collation = 0;
	uint32_t	index = 0;
	uint64_t	number = 0;
	TapBinlogColumn *column;

	if (cursor_left(&cursor) > 0)
	{
		exception = cursor_get_packed(&cursor);
		collation = (uint32_t) cursor_get_packed(&cursor);
	}
	while ((column = next_column(reader, table, filter, &index)) != NULL)
	{
		column->collation = standard;
		if (number++ != exception)
			continue;
		column->collation = collation;
		exception = UINT64_MAX;
		if (cursor_left(&cursor) > 0)
		{
			exception = cursor_get_packed(&cursor);
			collation = (uint32_t) cursor_get_packed(&cursor);
		}
	}
	return !cursor.failed && exception == UINT64_MAX;
}

static bool
fill_column_collations(const TapBinlogReader *reader, TapBinlogTable *table,
					   ColumnFilter filter, TapBinlogCursor cursor)
{
	uint32_t	index = 0;
	TapBinlogColumn *column;

	while ((column = next_column(reader, table, filter, &index)) != NULL)
		column->collation = (uint32_t) cursor_get_packed(&cursor);
	return !cursor.failed && cursor_left(&cursor) == 0;
}

static bool
fill_collations(const TapBinlogReader *reader, TapBinlogTable *table, MapLayout *layout)
{
	TapBinlogCursor *field = layout->optional;

	table->has_collations = field[META_DEFAULT_CHARSET].position ||
		field[META_COLUMN_CHARSET].position;
	table->has_enum_collations = field[META_ENUM_SET_DEFAULT_CHARSET].position ||
		field[META_ENUM_SET_COLUMN_CHARSET].position;
	if (field[META_DEFAULT_CHARSET].position &&
		!fill_default_collation(reader, table, is_character, field[META_DEFAULT_CHARSET]))
		return false;
	if (field[META_COLUMN_CHARSET].position &&
		!fill_column_collations(reader, table, is_character, field[META_COLUMN_CHARSET]))
		return false;
	if (field[META_ENUM_SET_DEFAULT_CHARSET].position &&
		!fill_default_collation(reader, table, is_enum_or_set,
								field[META_ENUM_SET_DEFAULT_CHARSET]))
		return false;
	return field[META_ENUM_SET_COLUMN_CHARSET].position == NULL ||
		fill_column_collations(reader, table, is_enum_or_set,
							   field[META_ENUM_SET_COLUMN_CHARSET]);
}

static bool
fill_names(TapBinlogTable *table, TapBinlogCursor cursor, char **free_text)
{
	if (cursor.position == NULL)
		return true;
	for (uint32_t i = 0; i < table->column_count; i++)
	{
		uint64_t	length = cursor_get_packed(&cursor);
		TapBinlogString name = cursor_get_string(&cursor, length);

		if (cursor.failed)
			return false;
		memcpy(*free_text, name.data, name.length);
		(*free_text)[name.length] = '\0';
		table->columns[i].name = *free_text;
		table->columns[i].name_length = name.length;
		*free_text += name.length + 1;
	}
	table->has_names = true;
	return true;
}

static bool
fill_labels(const TapBinlogReader *reader, TapBinlogTable *table, ColumnFilter filter,
			TapBinlogCursor cursor, TapBinlogString **free_label)
{
	uint32_t	index = 0;
	TapBinlogColumn *column;

	if (cursor.position == NULL)
		return true;
	while ((column = next_column(reader, table, filter, &index)) != NULL)
	{
		uint64_t	count = cursor_get_packed(&cursor);

		if (cursor.failed || count > cursor_left(&cursor))
			return false;
		column->labels = *free_label;
		column->label_count = (uint32_t) count;
		while (count-- > 0)
		{
			*(*free_label)++ = cursor_get_string(&cursor, cursor_get_packed(&cursor));
			if (cursor.failed)
				return false;
		}
	}
	table->has_labels = true;
	return cursor_left(&cursor) == 0;
}

static bool
fill_numbers(const TapBinlogReader *reader, TapBinlogTable *table, const MapLayout *layout)
{
	TapBinlogCursor cursor = layout->optional[META_GEOMETRY_TYPE];
	uint32_t	index = 0;
	TapBinlogColumn *column;

	while (cursor.position && cursor_left(&cursor) > 0 &&
		   (column = next_column(reader, table, is_geometry, &index)) != NULL)
		column->geometry_type = (uint32_t) cursor_get_packed(&cursor);
	if (cursor.failed)
		return false;
	cursor = layout->optional[META_VECTOR_DIMENSION];
	index = 0;
	while (cursor.position && cursor_left(&cursor) > 0 &&
		   (column = next_column(reader, table, is_vector, &index)) != NULL)
		column->vector_dimension = (uint32_t) cursor_get_packed(&cursor);
	return !cursor.failed;
}

static bool
fill_key(TapBinlogTable *table, const MapLayout *layout, uint32_t *columns, uint32_t *prefixes)
{
	bool		prefixed = layout->optional[META_PREFIX_KEY].position != NULL;
	TapBinlogCursor cursor = layout->optional[prefixed ? META_PREFIX_KEY : META_SIMPLE_KEY];

	if (cursor.position == NULL)
		return true;
	while (cursor_left(&cursor) > 0)
	{
		uint64_t	ordinal = cursor_get_packed(&cursor);
		uint64_t	prefix = prefixed ? cursor_get_packed(&cursor) : 0;

		if (cursor.failed || ordinal >= table->column_count || prefix > UINT32_MAX ||
			table->key_count >= table->column_count)
			return false;
		columns[table->key_count] = (uint32_t) ordinal;
		prefixes[table->key_count++] = (uint32_t) prefix;
	}
	table->key_columns = columns;
	table->key_prefixes = prefixes;
	table->has_primary_key = table->key_count > 0;
	return true;
}

/*
 * Fill an entry whose memory is zeroed and behind it has room for all parts
 * in the order of their alignment.
 */
static TapBinlogStatus
fill_entry(TapBinlogReader *reader, TapBinlogTableEntry *entry, MapLayout *layout)
{
	TapBinlogTable *table = &entry->table;
	TapBinlogString *labels;
	uint32_t   *keys;
	char	   *text;
	TapBinlogStatus status;

	table->flags = layout->flags;
	table->column_count = layout->column_count;
	table->columns = (TapBinlogColumn *) (entry + 1);
	labels = (TapBinlogString *) (table->columns + layout->column_count);
	keys = (uint32_t *) (labels + layout->label_count);
	text = (char *) (keys + 2 * (size_t) layout->column_count) + entry->body_length;

	table->schema = text;
	table->schema_length = layout->schema.length;
	memcpy(text, layout->schema.data, layout->schema.length);
	text += layout->schema.length + 1;
	table->name = text;
	table->name_length = layout->name.length;
	memcpy(text, layout->name.data, layout->name.length);
	text += layout->name.length + 1;

	if ((status = fill_types(reader, entry, layout)) != TAP_BINLOG_OK)
		return status;
	fill_bitmaps(reader, table, layout);
	if (!fill_collations(reader, table, layout))
		return malformed(reader, "collations");
	if (!fill_names(table, layout->optional[META_COLUMN_NAME], &text))
		return malformed(reader, "column names");
	if (!fill_labels(reader, table, is_set, layout->optional[META_SET_LABELS], &labels) ||
		!fill_labels(reader, table, is_enum, layout->optional[META_ENUM_LABELS], &labels))
		return malformed(reader, "labels");
	if (!fill_numbers(reader, table, layout) ||
		!fill_key(table, layout, keys, keys + layout->column_count))
		return malformed(reader, "key or dimension");
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_make_table(TapBinlogReader *reader, const TapBinlogEvent *event, size_t id_bytes,
					  TapBinlogTableEntry **result)
{
	MapLayout	layout = {0};
	TapBinlogCursor cursor = cursor_over(event->body + id_bytes, event->body_length - id_bytes);
	TapBinlogTableEntry *entry;
	size_t		size;
	uint8_t    *body;
	TapBinlogStatus status;

	if ((status = find_layout(reader, &cursor, &layout)) != TAP_BINLOG_OK)
		return status;
	/* the names are part of the body, so that twice its length holds both */
	size = sizeof(*entry) + layout.column_count * sizeof(TapBinlogColumn) +
		layout.label_count * sizeof(TapBinlogString) +
		2 * layout.column_count * sizeof(uint32_t) +
		2 * (size_t) event->body_length + layout.column_count + 2;
	if (size > reader->limit)
		return tap_binlog_fail(reader, TAP_BINLOG_LIMIT, "Table_map event is too large");
	entry = tap_binlog_resize(&reader->memory, NULL, size);
	if (entry == NULL)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY,
							   "out of memory for %zu bytes", size);
	memset(entry, 0, size);

	/* parse again from the copy, since labels point into it */
	body = (uint8_t *) entry + sizeof(*entry) + layout.column_count * sizeof(TapBinlogColumn) +
		layout.label_count * sizeof(TapBinlogString) +
		2 * layout.column_count * sizeof(uint32_t);
	memcpy(body, event->body, event->body_length);
	entry->body = body;
	entry->body_length = event->body_length;
	memset(&layout, 0, sizeof(layout));
	cursor = cursor_over(body + id_bytes, event->body_length - id_bytes);
	status = find_layout(reader, &cursor, &layout);
	if (status == TAP_BINLOG_OK)
		status = fill_entry(reader, entry, &layout);
	if (status != TAP_BINLOG_OK)
	{
		tap_binlog_release(&reader->memory, entry);
		return status;
	}
	*result = entry;
	return TAP_BINLOG_OK;
}
