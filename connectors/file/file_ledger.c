/*-------------------------------------------------------------------------
 *
 * connectors/file/file_ledger.c
 *	  What is known of each file: notes, fingerprints.
 *
 * NOTES
 *	  A note's key is "file TABLE PATH" with the table's name quoted as an
 *	  identifier.  Its value is a line of numbers, in the order of
 *	  tap_file_ledger_note(), and behind it the state of the format.
 *
 *	  A file is known again by its first bytes and by those before the place
 *	  up to which it was read: appending leaves both as they are, whatever
 *	  happens to its name and inode; another file in its place has others.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#define NOTE_PREFIX		"file "
#define MARK_BYTES		4096

TapFileEntry *
tap_file_ledger_new(TapFileTable *table, const char *path)
{
	TapFileEntry *entry = palloc0(sizeof(TapFileEntry));

	entry->table = table;
	entry->path = pstrdup(path);
	entry->tried_size = -1;
	return entry;
}

/* The part of an entry that is kept in its note. */
static void
copy_kept(TapFileEntry *entry, const TapFileEntry *from)
{
	entry->inode = from->inode;
	entry->size = from->size;
	entry->mtime = from->mtime;
	entry->done = from->done;
	entry->offset = from->offset;
	entry->records = from->records;
	entry->lines = from->lines;
	entry->torn = from->torn;
	entry->head_bytes = from->head_bytes;
	entry->head_crc = from->head_crc;
	entry->tail_end = from->tail_end;
	entry->tail_crc = from->tail_crc;
	entry->state = from->state;
	entry->tried_size = -1;
}

void
tap_file_ledger_reset(TapFileEntry *entry)
{
	static const TapFileEntry nothing = {0};

	copy_kept(entry, &nothing);
}

void
tap_file_ledger_move(TapFileEntry *entry, const TapFileEntry *from)
{
	copy_kept(entry, from);
	tap_file_ledger_note(entry);
}

/* ---------------------------------------------------------------------
 * Notes
 * ---------------------------------------------------------------------
 */

static char *
note_key(const TapFileEntry *entry)
{
	return psprintf(NOTE_PREFIX "%s %s", quote_identifier(entry->table->name.name),
					entry->path);
}

void
tap_file_ledger_note(TapFileEntry *entry)
{
	char	   *key = note_key(entry);
	char	   *value =
	psprintf("1 " UINT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " %d "
			 INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " %d "
			 INT64_FORMAT " %u " INT64_FORMAT " %u\n%s",
			 entry->inode, entry->size, entry->mtime, entry->done,
			 entry->offset, entry->records, entry->lines, entry->torn,
			 entry->head_bytes, entry->head_crc, entry->tail_end, entry->tail_crc,
			 entry->state ? entry->state : "");

	tap_file_core->remember(key, value);
	entry->noted = true;
	pfree(value);
	pfree(key);
}

void
tap_file_ledger_drop(TapFileEntry *entry)
{
	if (entry->noted)
		tap_file_core->remember(note_key(entry), NULL);
	entry->noted = false;
}

static bool
parse_value(TapFileEntry *entry, const char *value)
{
	const char *state = strchr(value, '\n');
	int			done;
	int			torn;

	if (state == NULL ||
		sscanf(value, "1 " UINT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " %d "
			   INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT " %d "
			   INT64_FORMAT " %u " INT64_FORMAT " %u",
			   &entry->inode, &entry->size, &entry->mtime, &done,
			   &entry->offset, &entry->records, &entry->lines, &torn,
			   &entry->head_bytes, &entry->head_crc, &entry->tail_end,
			   &entry->tail_crc) != 12)
		return false;
	entry->done = done != 0;
	entry->torn = torn != 0;
	entry->state = state[1] != '\0' ? pstrdup(state + 1) : NULL;
	return true;
}

/* Where the notes go that are recalled. */
typedef struct Loading
{
	TapSession *session;
	MemoryContext context;
	List	   *entries;
} Loading;

/* The table whose notes have such keys, and in *path the rest of the key. */
static TapFileTable *
table_of(TapSession *session, const char *key, const char **path)
{
	ListCell   *cell;

	foreach(cell, session->tables)
	{
		TapFileTable *table = lfirst(cell);
		const char *name = quote_identifier(table->name.name);
		Size		length = strlen(name);

		if (strncmp(key, name, length) == 0 && key[length] == ' ')
		{
			*path = key + length + 1;
			return table;
		}
	}
	return NULL;
}

static void
load_note(void *arg, const char *key, const char *value)
{
	Loading    *loading = arg;
	MemoryContext old = MemoryContextSwitchTo(loading->context);
	const char *path = NULL;
	TapFileTable *table = table_of(loading->session, key + strlen(NOTE_PREFIX), &path);

	if (table != NULL)
	{
		TapFileEntry *entry = tap_file_ledger_new(table, path);

		entry->noted = true;
		if (parse_value(entry, value))
			loading->entries = lappend(loading->entries, entry);
	}
	MemoryContextSwitchTo(old);
}

static int
by_path(const ListCell *a, const ListCell *b)
{
	return strcmp(((TapFileEntry *) lfirst(a))->path, ((TapFileEntry *) lfirst(b))->path);
}

List *
tap_file_ledger_load(TapSession *session)
{
	Loading		loading = {.session = session,.context = CurrentMemoryContext};

	tap_file_core->recall(NOTE_PREFIX, load_note, &loading);

	/* the database's collation may have ordered the keys otherwise */
	list_sort(loading.entries, by_path);
	return loading.entries;
}

/* ---------------------------------------------------------------------
 * Fingerprints
 * ---------------------------------------------------------------------
 */

/* Of bytes from offset up to end; false if the file is shorter. */
static bool
checksum(TapFileHandle *handle, int64 offset, int64 end, uint32 *result)
{
	char		data[MARK_BYTES];
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	while (offset < end)
	{
		Size		got = tap_file_read(handle, data, Min(end - offset, MARK_BYTES), offset);

		if (got == 0)
			return false;
		COMP_CRC32C(crc, data, got);
		offset += got;
	}
	FIN_CRC32C(crc);
	*result = crc;
	return true;
}

void
tap_file_ledger_mark(TapFileEntry *entry, TapFileHandle *handle, int64 raw)
{
	int64		head = Min(raw, MARK_BYTES);

	if (entry->head_bytes != head)
	{
		entry->head_bytes = head;
		if (!checksum(handle, 0, head, &entry->head_crc))
			entry->head_bytes = 0;
	}
	entry->tail_end = raw;
	if (!checksum(handle, Max(raw - MARK_BYTES, 0), raw, &entry->tail_crc))
		entry->tail_end = 0;
}

bool
tap_file_ledger_matches(const TapFileEntry *entry, TapFileHandle *handle)
{
	uint32		crc;

	if (handle->found.size < entry->head_bytes || handle->found.size < entry->tail_end)
		return false;
	if (!checksum(handle, 0, entry->head_bytes, &crc) ||
		(entry->head_bytes > 0 && crc != entry->head_crc))
		return false;
	return checksum(handle, Max(entry->tail_end - MARK_BYTES, 0), entry->tail_end, &crc) &&
		(entry->tail_end == 0 || crc == entry->tail_crc);
}
