/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_cache.c
 *	  The cache of table maps.
 *
 * NOTES
 *	  A server sends the map of a table again with each statement.  The cache
 *	  therefore compares the bytes first and keeps the parsed table when they
 *	  are the same.  A table id is good only within its transaction: entries of
 *	  former ones stay in the cache, but are not found until they are sent
 *	  anew.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_private.h"

static size_t
bucket_of(const TapBinlogReader *reader, uint64_t table_id)
{
	uint64_t	hash = table_id * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t) (hash >> 32) & (reader->bucket_count - 1);
}

static TapBinlogTableEntry *
find_entry(const TapBinlogReader *reader, uint64_t table_id)
{
	TapBinlogTableEntry *entry = NULL;

	if (reader->bucket_count > 0)
		entry = reader->buckets[bucket_of(reader, table_id)];
	while (entry && entry->table.table_id != table_id)
		entry = entry->next;
	return entry;
}

TapBinlogTable *
tap_binlog_find_table(const TapBinlogReader *reader, uint64_t table_id)
{
	TapBinlogTableEntry *entry = find_entry(reader, table_id);

	return entry && entry->generation == reader->generation ? &entry->table : NULL;
}

static void
drop_entry(TapBinlogReader *reader, TapBinlogTableEntry **link)
{
	TapBinlogTableEntry *entry = *link;

	*link = entry->next;
	reader->table_count--;
	if (reader->forget)
		reader->forget(reader->forget_context, &entry->table);
	tap_binlog_release(&reader->memory, entry);
}

void
tap_binlog_drop_tables(TapBinlogReader *reader, bool stale_only)
{
	for (size_t i = 0; i < reader->bucket_count; i++)
	{
		TapBinlogTableEntry **link = &reader->buckets[i];

		while (*link)
		{
			if (stale_only && (*link)->generation == reader->generation)
				link = &(*link)->next;
			else
				drop_entry(reader, link);
		}
	}
}

static TapBinlogStatus
grow_buckets(TapBinlogReader *reader)
{
	size_t		count = reader->bucket_count ? reader->bucket_count * 4 : 64;
	TapBinlogTableEntry **old = reader->buckets;
	size_t		old_count = reader->bucket_count;
	TapBinlogTableEntry **buckets;

	buckets = tap_binlog_resize(&reader->memory, NULL, count * sizeof(*buckets));
	if (buckets == NULL)
		return tap_binlog_fail(reader, TAP_BINLOG_NO_MEMORY, "out of memory for tables");
	memset(buckets, 0, count * sizeof(*buckets));
	reader->buckets = buckets;
	reader->bucket_count = count;
	for (size_t i = 0; i < old_count; i++)
	{
		while (old[i])
		{
			TapBinlogTableEntry *entry = old[i];
			size_t		bucket = bucket_of(reader, entry->table.table_id);

			old[i] = entry->next;
			entry->next = buckets[bucket];
			buckets[bucket] = entry;
		}
	}
	tap_binlog_release(&reader->memory, old);
	return TAP_BINLOG_OK;
}

static TapBinlogStatus
add_entry(TapBinlogReader *reader, TapBinlogTableEntry *entry)
{
	TapBinlogTableEntry **link;

	if (reader->table_count >= TAP_BINLOG_TABLES_SOFT)
		tap_binlog_drop_tables(reader, true);
	if (reader->table_count >= TAP_BINLOG_TABLES_HARD)
		return tap_binlog_fail(reader, TAP_BINLOG_LIMIT,
							   "more than %d tables in one transaction",
							   TAP_BINLOG_TABLES_HARD);
	if (reader->table_count >= reader->bucket_count)
	{
		TapBinlogStatus status = grow_buckets(reader);

		if (status != TAP_BINLOG_OK)
			return status;
	}
	link = &reader->buckets[bucket_of(reader, entry->table.table_id)];
	for (TapBinlogTableEntry **old = link; *old; old = &(*old)->next)
	{
		if ((*old)->table.table_id == entry->table.table_id)
		{
			drop_entry(reader, old);
			break;
		}
	}
	entry->table.serial = ++reader->last_serial;
	entry->generation = reader->generation;
	entry->next = *link;
	*link = entry;
	reader->table_count++;
	return TAP_BINLOG_OK;
}

TapBinlogStatus
tap_binlog_parse_table_map(TapBinlogReader *reader, TapBinlogEvent *event)
{
	size_t		id_bytes = reader->post_header[event->type] == 6 ? 4 : 6;
	uint64_t	table_id;
	TapBinlogTableEntry *entry;
	TapBinlogStatus status;

	if (event->body_length < id_bytes)
		return tap_binlog_fail(reader, TAP_BINLOG_TRUNCATED,
							   "Table_map event ends inside its table id");
	table_id = id_bytes == 4 ? load32(event->body) : load48(event->body);
	entry = find_entry(reader, table_id);
	if (entry && entry->body_length == event->body_length &&
		memcmp(entry->body, event->body, event->body_length) == 0)
	{
		entry->generation = reader->generation;
		event->u.table = &entry->table;
		return TAP_BINLOG_OK;
	}
	if ((status = tap_binlog_make_table(reader, event, id_bytes, &entry)) != TAP_BINLOG_OK)
		return status;
	entry->table.table_id = table_id;
	if ((status = add_entry(reader, entry)) != TAP_BINLOG_OK)
	{
		tap_binlog_release(&reader->memory, entry);
		return status;
	}
	event->u.table = &entry->table;
	return TAP_BINLOG_OK;
}
