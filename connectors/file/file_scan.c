/*-------------------------------------------------------------------------
 *
 * connectors/file/file_scan.c
 *	  Which files are to be read now.
 *
 * NOTES
 *	  A file whose name is known but whose inode is another may be a new one
 *	  in its place, or the same one written anew; one whose inode is known
 *	  under another name was moved (logs are rotated so).  Inodes are only a
 *	  hint of what to compare: fingerprints decide (file_ledger.c).
 *
 *	  A file is begun only when nobody has changed it for a while.  What is
 *	  added to one that was begun is read at once, but for a last line without
 *	  its end.
 *
 *	  The position moves in steps: the goal is the time of the newest change
 *	  that a scan found, and what that scan found to be unread is due, up to
 *	  the sizes of then.  When nothing is due any more the position is there,
 *	  and the next goal is set.  So neither files that grow without a pause nor
 *	  files that keep coming hold it up.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_stream.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* A writer that stopped within a line goes on within this time. */
#define LAST_LINE_MS	1000

/* How much longer than a scan the pause behind it is at least. */
#define PAUSE_FACTOR	5
#define PAUSE_MIN_MS	20

static bool
is_pending(const TapFileEntry *entry)
{
	return entry->present &&
		!(entry->done && entry->size == entry->found.size &&
		  entry->mtime == entry->found.mtime && entry->inode == entry->found.inode);
}

bool
tap_file_followed(TapSession *session, TapFileTable *table)
{
	TapFileStream *stream = session->stream;
	const char *definition;

	if (table->asked)
		return table->table_data != NULL;
	table->asked = true;
	table->table_data = stream->args.table_followed(stream->args.core_data, &table->name,
													false, &definition);
	table->definition = definition != NULL ?
		MemoryContextStrdup(session->args->context, definition) : NULL;
	return table->table_data != NULL;
}

/* Folders may come as files do; to watch one twice is to watch it once. */
static void
watch_folders(TapFileStream *stream, const TapFileTable *table)
{
	ListCell   *cell;

	foreach(cell, tap_file_list_folders(table))
		tap_file_watch_folder(stream->watch, lfirst(cell));
}

/* ---------------------------------------------------------------------
 * The files of a table
 * ---------------------------------------------------------------------
 */

static void
see(TapFileEntry *entry, const TapFileFound *found, int64 now_ms, int64 now_ns)
{
	bool		changed = entry->found.inode != found->inode ||
	entry->found.size != found->size ||
	entry->found.mtime != found->mtime ||
	entry->found.ctime != found->ctime;

	entry->present = true;
	entry->found = *found;
	entry->found.path = entry->path;
	if (!changed)
		return;

	/* what was still before we came needs not to be watched for as long */
	entry->quiet_since = now_ms;
	if (found->ctime < now_ns)
		entry->quiet_since -= (now_ns - found->ctime) / 1000000;
}

static int
by_path(const ListCell *a, const ListCell *b)
{
	return strcmp(((TapFileFound *) lfirst(a))->path, ((TapFileFound *) lfirst(b))->path);
}

/* Bring a table's entries together with the files that are there. */
static void
merge(TapSession *session, TapFileTable *table, List *found, int64 now_ms, int64 now_ns)
{
	MemoryContext old = MemoryContextSwitchTo(session->args->context);
	List	   *before = table->entries;
	List	   *after = NIL;
	int			i = 0;
	int			j = 0;

	list_sort(found, by_path);
	while (i < list_length(before) || j < list_length(found))
	{
		TapFileEntry *entry = i < list_length(before) ? list_nth(before, i) : NULL;
		TapFileFound *file = j < list_length(found) ? list_nth(found, j) : NULL;
		int			order = entry == NULL ? 1 : file == NULL ? -1 :
		strcmp(entry->path, file->path);

		if (order > 0)
			entry = tap_file_ledger_new(table, file->path);
		else
			i++;
		entry->present = false;
		if (order >= 0)
		{
			see(entry, file, now_ms, now_ns);
			j++;
		}
		after = lappend(after, entry);
	}
	table->entries = after;
	list_free(before);
	MemoryContextSwitchTo(old);
}

/* Files that are gone for so long that nobody will put them back. */
static void
forget_old(TapFileStream *stream, TapFileTable *table, int64 now_ns)
{
	ListCell   *cell;

	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);

		if (entry->present || (entry->noted && entry->mtime + stream->forget_ns > now_ns))
			continue;
		tap_file_ledger_drop(entry);
		table->entries = foreach_delete_current(table->entries, cell);
	}
}

/* ---------------------------------------------------------------------
 * Files that were moved
 * ---------------------------------------------------------------------
 */

static bool
is_same_file(TapSession *session, const TapFileEntry *known, const TapFileEntry *entry)
{
	const char *reason;
	TapFileHandle *handle = tap_file_open(session, entry->path, &reason);
	bool		same = handle != NULL && tap_file_ledger_matches(known, handle);

	if (handle != NULL)
		tap_file_close(handle);
	return same;
}

/* What is known under an inode, of files whose names have another one now. */
static TapFileEntry *
find_loose(List *loose, uint64 inode)
{
	ListCell   *cell;

	foreach(cell, loose)
	{
		TapFileEntry *known = lfirst(cell);

		if (known->inode == inode)
			return known;
	}
	return NULL;
}

static void
follow_moves(TapSession *session, TapFileTable *table)
{
	List	   *loose = NIL;
	List	   *moved = NIL;
	ListCell   *cell;

	/* names may have changed in a circle: so what was known is copied first */
	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);
		TapFileEntry *known;

		if (!entry->noted || (entry->present && entry->inode == entry->found.inode))
			continue;
		known = palloc(sizeof(TapFileEntry));
		*known = *entry;
		loose = lappend(loose, known);
	}
	foreach(cell, loose == NIL ? NIL : table->entries)
	{
		TapFileEntry *entry = lfirst(cell);
		TapFileEntry *known;

		if (!entry->present || (entry->noted && entry->inode == entry->found.inode))
			continue;
		known = find_loose(loose, entry->found.inode);
		if (known == NULL || !is_same_file(session, known, entry))
			continue;
		tap_file_ledger_move(entry, known);
		moved = lappend(moved, entry);
		loose = list_delete_ptr(loose, known);
		known->table = NULL;
		session->stream->moved = true;

		/* under its old name is another file, or none */
		for (int i = 0; i < list_length(table->entries); i++)
		{
			TapFileEntry *other = list_nth(table->entries, i);

			if (strcmp(other->path, known->path) != 0 || list_member_ptr(moved, other))
				continue;
			tap_file_ledger_reset(other);
			tap_file_ledger_drop(other);
		}
	}
}

/* ---------------------------------------------------------------------
 * What is to be read
 * ---------------------------------------------------------------------
 */

/* Look again when that many milliseconds have passed for the entry. */
static void
look_again(TapFileStream *stream, const TapFileEntry *entry, int64 quiet_ms)
{
	stream->scan_at = Min(stream->scan_at, entry->quiet_since + quiet_ms);
}

static bool
is_ready(TapFileStream *stream, TapFileEntry *entry, int64 now_ms)
{
	int64		quiet = now_ms - entry->quiet_since;
	int64		last_line_ms = Max(stream->settle_ms, LAST_LINE_MS);

	entry->settled = quiet >= stream->settle_ms;
	entry->final = quiet >= last_line_ms;
	if (entry->final)
		return true;
	look_again(stream, entry, entry->settled ? last_line_ms : stream->settle_ms);
	if (entry->table->mode == TAP_FILE_REPLACE)
		return entry->settled;
	return (entry->settled || entry->offset > 0) && entry->tried_size != entry->found.size;
}

/* The order of age: by time of modification, then by name. */
static int
compare_age(int64 mtime_a, const char *path_a, int64 mtime_b, const char *path_b)
{
	if (mtime_a != mtime_b)
		return mtime_a < mtime_b ? -1 : 1;
	return strcmp(path_a, path_b);
}

/* The newest file that was read; NULL: none was. */
static const TapFileEntry *
newest_done(const TapFileTable *table)
{
	const TapFileEntry *newest = NULL;
	ListCell   *cell;

	foreach(cell, table->entries)
	{
		const TapFileEntry *entry = lfirst(cell);

		/* not what was passed over, such as links that lead elsewhere */
		if (entry->done && entry->noted &&
			(newest == NULL || compare_age(entry->mtime, entry->path,
										   newest->mtime, newest->path) > 0))
			newest = entry;
	}
	return newest;
}

/*
 * Whether a file of a table in mode replace may count that was not read as it
 * is: one that is newer than what was read last.  If that is there no more as
 * it was, any.
 */
static bool
is_to_replace(const TapFileEntry *entry, const TapFileEntry *done)
{
	return is_pending(entry) &&
		(done == NULL || is_pending(done) ||
		 compare_age(entry->found.mtime, entry->path, done->mtime, done->path) > 0);
}

/* The only file of a table in mode replace that counts; NULL: none is new. */
static TapFileEntry *
newest_file(const TapFileTable *table)
{
	TapFileEntry *newest = NULL;
	const TapFileEntry *done = newest_done(table);
	ListCell   *cell;

	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);

		if (is_to_replace(entry, done) &&
			(newest == NULL || compare_age(entry->found.mtime, entry->path,
										   newest->found.mtime, newest->path) > 0))
			newest = entry;
	}
	return newest;
}

/* Queue what is ready. */
static void
queue_table(TapSession *session, TapFileTable *table, int64 now_ms)
{
	TapFileStream *stream = session->stream;
	TapFileEntry *newest = table->mode == TAP_FILE_REPLACE ? newest_file(table) : NULL;
	ListCell   *cell;

	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);
		MemoryContext old;

		if (!is_pending(entry) ||
			(table->mode == TAP_FILE_REPLACE && entry != newest) ||
			!is_ready(stream, entry, now_ms))
			continue;
		old = MemoryContextSwitchTo(session->args->context);
		stream->queue = lappend(stream->queue, entry);
		MemoryContextSwitchTo(old);
	}
}

static int
by_age(const ListCell *a, const ListCell *b)
{
	const TapFileFound *left = &((TapFileEntry *) lfirst(a))->found;
	const TapFileFound *right = &((TapFileEntry *) lfirst(b))->found;

	return compare_age(left->mtime, left->path, right->mtime, right->path);
}

/* ---------------------------------------------------------------------
 * How far the position may move
 * ---------------------------------------------------------------------
 */

/* All files that the scan found unread are due. */
static void
set_due(TapFileTable *table)
{
	TapFileEntry *newest = table->mode == TAP_FILE_REPLACE ? newest_file(table) : NULL;
	ListCell   *cell;

	table->due = false;
	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);

		entry->due = table->mode == TAP_FILE_REPLACE ? entry == newest : is_pending(entry);
		entry->due_size = entry->found.size;
		entry->due_inode = entry->found.inode;
	}
}

/* Nobody wants its files. */
static void
forget_due(TapFileTable *table)
{
	ListCell   *cell;

	table->due = false;
	foreach(cell, table->entries)
		((TapFileEntry *) lfirst(cell))->due = false;
}

/* Where a file is now that was due under another name; NULL: nowhere. */
static TapFileEntry *
find_present(const TapFileTable *table, uint64 inode)
{
	ListCell   *cell;

	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);

		if (entry->present && entry->found.inode == inode)
			return entry;
	}
	return NULL;
}

/*
 * A file that is due stays so under another name.  If it is nowhere, the one
 * in its place is; in mode replace, the one that is the newest without it.
 */
static void
follow_due(TapFileTable *table)
{
	List	   *moved = NIL;
	ListCell   *cell;

	/* names may have changed in a circle */
	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);
		TapFileEntry *before;

		if (!entry->due || (entry->present && entry->found.inode == entry->due_inode))
			continue;
		before = palloc(sizeof(TapFileEntry));
		*before = *entry;
		moved = lappend(moved, before);
		entry->due = false;
	}
	foreach(cell, moved)
	{
		TapFileEntry *before = lfirst(cell);
		TapFileEntry *entry = find_present(table, before->due_inode);

		if (entry == NULL && before->present)
			entry = find_present(table, before->found.inode);
		if (entry != NULL)
		{
			entry->due = true;
			entry->due_size = before->due_size;
			entry->due_inode = entry->found.inode;
		}
		else if (table->mode == TAP_FILE_REPLACE)
			set_due(table);
	}
}

/* Whether any of that is still to be read. */
static bool
is_due(TapFileTable *table)
{
	bool		result = table->due;
	ListCell   *cell;

	foreach(cell, table->entries)
	{
		TapFileEntry *entry = lfirst(cell);

		if (!entry->due)
			continue;

		/* what was cut off is not there to be read */
		entry->due_size = Min(entry->due_size, entry->found.size);
		entry->due = table->mode == TAP_FILE_REPLACE ?
			is_to_replace(entry, newest_done(table)) : is_pending(entry);
		result |= entry->due;
	}
	return result;
}

static bool
is_anything_due(TapSession *session)
{
	bool		result = false;
	ListCell   *cell;

	foreach(cell, session->tables)
		result |= is_due(lfirst(cell));
	return result;
}

static void
reach_goal(TapSession *session)
{
	TapFileStream *stream = session->stream;

	if (stream->goal == 0 || is_anything_due(session))
		return;
	stream->covered = stream->goal;
	stream->moved = true;
	stream->goal = 0;
}

/*
 * The position may move to newest, the time of the last change, when all is
 * read that is there now.  The clock of files has ticks: what is written later
 * in the same one would look as old.  What changed since now, when the scan
 * began, may have been listed in one folder and not in another that was listed
 * before.
 */
static void
set_goal(TapSession *session, List *unasked, int64 newest, int64 now_ns)
{
	TapFileStream *stream = session->stream;
	ListCell   *cell;

	if (stream->goal != 0 || newest <= stream->covered)
		return;
	if (newest <= tap_file_now() && now_ns - newest < TAP_FILE_TICK_NS)
	{
		/* look again behind the pause */
		stream->changed = true;
		newest = now_ns - TAP_FILE_TICK_NS;
		if (newest <= stream->covered)
			return;
	}
	stream->goal = newest;
	foreach(cell, session->tables)
		set_due(lfirst(cell));
	foreach(cell, unasked)
		((TapFileTable *) lfirst(cell))->due = true;
}

/* ---------------------------------------------------------------------
 * A scan
 * ---------------------------------------------------------------------
 */

/*
 * Whether the core may be asked of a table: one that it does not know is
 * described at once, by the beginning of a file that should not be half there.
 * *waits: there is only such a file.
 */
static bool
may_be_asked(TapFileStream *stream, const TapFileTable *table, List *found,
			 int64 now_ms, int64 now_ns, bool *waits)
{
	ListCell   *cell;

	*waits = false;
	if (table->asked || table->entries != NIL)
		return true;
	foreach(cell, found)
	{
		const TapFileFound *file = lfirst(cell);
		int64		quiet_ms = (now_ns - file->ctime) / 1000000;

		if (file->size == 0)
			continue;
		if (file->ctime > now_ns || quiet_ms >= stream->settle_ms)
			return true;
		stream->scan_at = Min(stream->scan_at, now_ms + stream->settle_ms - quiet_ms);
		*waits = true;
	}
	return false;
}

/* Returns false if the core cannot be asked of the table yet. */
static bool
scan_table(TapSession *session, TapFileTable *table, int64 now_ms, int64 now_ns, int64 *newest)
{
	TapFileStream *stream = session->stream;
	List	   *found;
	bool		waits;

	/* before they are listed, so that nothing can come unseen in between */
	watch_folders(stream, table);
	found = tap_file_list(session, table, newest);
	if (!may_be_asked(stream, table, found, now_ms, now_ns, &waits))
	{
		table->due &= waits;
		return !waits;
	}
	if (!tap_file_followed(session, table))
	{
		forget_due(table);
		return true;
	}
	merge(session, table, found, now_ms, now_ns);
	follow_moves(session, table);
	follow_due(table);
	forget_old(stream, table, now_ns);
	if (table->due)
		set_due(table);
	queue_table(session, table, now_ms);
	return true;
}

void
tap_file_scan(TapSession *session)
{
	TapFileStream *stream = session->stream;
	MemoryContext old = MemoryContextSwitchTo(stream->scan_context);
	int64		begin_ms = tap_file_clock();
	int64		begin_ns = tap_file_now();
	int64		newest = 0;
	List	   *unasked = NIL;
	ListCell   *cell;

	MemoryContextReset(stream->scan_context);
	stream->changed = false;
	stream->scan_at = begin_ms + stream->poll_ms;
	list_free(stream->queue);
	stream->queue = NIL;
	tap_file_tables_load(session);
	foreach(cell, session->tables)
	{
		if (!scan_table(session, lfirst(cell), begin_ms, begin_ns, &newest))
			unasked = lappend(unasked, lfirst(cell));
	}
	list_sort(stream->queue, by_age);
	reach_goal(session);
	set_goal(session, unasked, newest, begin_ns);
	reach_goal(session);
	stream->scan_not_before = tap_file_clock() +
		Max(PAUSE_MIN_MS, (tap_file_clock() - begin_ms) * PAUSE_FACTOR);
	MemoryContextSwitchTo(old);
}
