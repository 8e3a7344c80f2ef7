/*-------------------------------------------------------------------------
 *
 * connectors/file/file_read.c
 *	  The file that is being read: from a place in it, a row at a time.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_stream.h"

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/json.h"
#include "utils/memutils.h"

/* How much of a record that cannot be read is shown. */
#define SHOWN_BYTES		8192

/* ---------------------------------------------------------------------
 * Where a file is gone on with
 * ---------------------------------------------------------------------
 */

static void
take_found(TapFileEntry *entry, const TapFileHandle *handle)
{
	entry->inode = handle->found.inode;
	entry->size = handle->found.size;
	entry->mtime = handle->found.mtime;
}

static void
report_event(const TapFileEntry *entry, const char *kind, const char *format)
{
	tap_file_core->event(kind, &entry->table->name, psprintf(format, entry->path));
}

/*
 * Set the entry to where reading begins; false if there is nothing to read.
 */
static bool
find_place(TapSession *session, TapFileEntry *entry, TapFileHandle *handle)
{
	bool		known = entry->noted;

	if (entry->table->mode == TAP_FILE_REPLACE)
	{
		tap_file_ledger_reset(entry);
		return true;
	}
	if (known && tap_file_ledger_matches(entry, handle))
	{
		/* touched, or written again as it was */
		if (entry->done && entry->size == handle->found.size &&
			entry->tail_end >= entry->size)
		{
			take_found(entry, handle);
			tap_file_ledger_note(entry);
			session->stream->moved = true;
			return false;
		}
		entry->done = false;
		return true;
	}
	if (known)
		report_event(entry, "file replaced",
					 "\"%s\" is another file than it was, and is read from its beginning");
	tap_file_ledger_reset(entry);
	return true;
}

/*
 * Whether it is still as it was found; a file that grew may be read so far.
 * Another file under its name is left to the next look at the folder, which
 * sees where this one has gone.
 */
static bool
check_unchanged(TapFileEntry *entry, const TapFileHandle *handle)
{
	if (entry->found.inode == handle->found.inode && entry->found.size == handle->found.size &&
		entry->found.mtime == handle->found.mtime)
		return true;
	entry->final = entry->settled = false;
	return entry->offset > 0 && entry->found.inode == handle->found.inode &&
		entry->table->mode != TAP_FILE_REPLACE;
}

/* What is being written to a compressed file may end anywhere. */
static bool
may_be_read(TapSession *session, TapFileEntry *entry, TapFileHandle *handle)
{
	if (entry->settled ||
		tap_file_compression(session, entry->table, handle) == TAP_COMPRESSION_NONE)
		return true;
	entry->tried_size = handle->found.size;
	return false;
}

static TapFileHandle *
open_entry(TapSession *session, TapFileEntry *entry)
{
	const char *reason;
	TapFileHandle *handle = tap_file_open(session, entry->path, &reason);

	if (handle != NULL)
		return handle;
	if (strcmp(reason, "it is gone") == 0)
		entry->present = false;
	else
	{
		tap_file_core->event("file skipped", &entry->table->name,
							 psprintf("\"%s\" is not read: %s", entry->path, reason));

		/* until it changes, or the next start */
		entry->inode = entry->found.inode;
		entry->size = entry->found.size;
		entry->mtime = entry->found.mtime;
		entry->done = true;
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * The format
 * ---------------------------------------------------------------------
 */

static void
set_plan(TapFileRead *read, const TapFormatPlan *plan)
{
	TapFileTable *table = read->entry->table;

	read->plan = plan;
	read->source = tap_file_table_describe(table, read->format, plan);
	read->slot = MakeSingleTupleTableSlot(read->source->descriptor, &TTSOpsVirtual);
	read->schema_due = table->definition == NULL ||
		strcmp(table->definition, read->source->definition) != 0;
}

/* Without bytes that would have to be taken: they are read a second time. */
static void
plan_by_sample(TapSession *session, TapFileRead *read, const char *definition)
{
	TapFileBytes *sample = read->bytes;
	TapFileTable *table = read->entry->table;

	while (sample->bytes < TAP_FILE_SAMPLE_BYTES && !sample->exhausted)
		tap_file_bytes_more(sample);
	if (read->format == NULL)
		read->format = tap_file_table_format(session, table);
	if (read->format == NULL)
		read->format = tap_format_guess(read->entry->path, sample->data, sample->bytes);
	set_plan(read, tap_file_table_plan(session, table, read->format, definition,
									   sample->data, sample->bytes,
									   sample->exhausted && read->final));
}

static void
begin_format(TapSession *session, TapFileRead *read)
{
	TapFileEntry *entry = read->entry;
	const char *definition = NULL;

	if (entry->table->definition != NULL)
		read->format = tap_file_definition_parse(entry->table->definition, &definition);
	if (entry->offset == 0)
		plan_by_sample(session, read, definition);
	else
	{
		set_plan(read, tap_file_table_plan(session, entry->table, read->format, definition,
										   NULL, 0, false));
		tap_file_bytes_skip(read->bytes, entry->offset);
	}
	read->reader = read->format->open(read->plan, entry->offset, entry->state);
	read->after_torn = entry->torn && read->format->lines && !read->compressed;
}

static void
begin(TapSession *session, TapFileRead *read)
{
	TapFileStream *stream = session->stream;
	TapFileTable *table = read->entry->table;
	TapCompression compression = tap_file_compression(session, table, read->handle);

	read->compressed = compression != TAP_COMPRESSION_NONE;
	read->final = read->compressed || table->mode == TAP_FILE_REPLACE ?
		read->entry->settled : read->entry->final;
	read->bytes = tap_file_bytes_begin(read->handle, compression, stream->max_expansion,
									   read->handle->found.size);
	begin_format(session, read);
	read->is_all = read->final;
	if (stream->require_newline && read->format->lines && !read->compressed)
		read->final = false;
}

static bool
is_of_data(int sqlstate)
{
	int			class = ERRCODE_TO_CATEGORY(sqlstate);

	return class == MAKE_SQLSTATE('2', '2', '0', '0', '0') ||
		sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/* What is known of a file stays, but for errors of data it is over; rethrows. */
static void
give_up(TapFileRead *read, MemoryContext context)
{
	TapFileEntry *entry = read->entry;
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	if (read->handle != NULL && is_of_data(edata->sqlerrcode))
	{
		take_found(entry, read->handle);
		entry->done = true;
		tap_file_ledger_mark(entry, read->handle, entry->size);
		tap_file_ledger_note(entry);
	}
	edata->detail = psprintf("File \"%s\".%s%s", entry->path, edata->detail ? "  " : "",
							 edata->detail ? edata->detail : "");
	MemoryContextDelete(read->context);
	ReThrowError(edata);
}

TapFileRead *
tap_file_read_begin(TapSession *session, TapFileEntry *entry)
{
	MemoryContext context = AllocSetContextCreate(session->args->context, "tapdata file",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TapFileRead *volatile read = palloc0(sizeof(TapFileRead));

	read->entry = entry;
	read->context = context;
	PG_TRY();
	{
		read->handle = open_entry(session, entry);
		if (read->handle != NULL && check_unchanged(entry, read->handle) &&
			may_be_read(session, entry, read->handle) &&
			find_place(session, entry, read->handle))
			begin(session, read);
	}
	PG_CATCH();
	{
		give_up(read, old);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	if (read->reader != NULL)
		return read;
	MemoryContextDelete(context);
	return NULL;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

static int64
count_lines(const char *data, Size bytes)
{
	const char *end = data + bytes;
	int64		lines = 0;

	while (data < end && (data = memchr(data, '\n', end - data)) != NULL)
	{
		lines++;
		data++;
	}
	return lines;
}

static void
take(TapFileRead *read, Size taken)
{
	const char *data = read->bytes->data;

	if (taken == 0)
		return;
	if (read->format->lines)
	{
		read->entry->lines += count_lines(data, taken);
		read->last_torn = data[taken - 1] != '\n' && data[taken - 1] != '\r';
	}
	tap_file_bytes_take(read->bytes, taken);
}

/*
 * A last line without its end was taken for whole.  If the file goes on with
 * it, it was not.
 */
static void
check_after_torn(TapFileRead *read, Size max_bytes)
{
	TapFileBytes *bytes = read->bytes;
	const char *end = NULL;
	Size		length;

	if (bytes->bytes == 0 && !bytes->exhausted)
		tap_file_bytes_more(bytes);
	if (bytes->bytes == 0)
		return;
	read->after_torn = false;
	if (bytes->data[0] == '\n' || bytes->data[0] == '\r')
		return;
	while ((end = memchr(bytes->data, '\n', bytes->bytes)) == NULL && !bytes->exhausted &&
		   bytes->bytes <= max_bytes)
		tap_file_bytes_more(bytes);

	/* the rest of a line that is too long is refused in its turn */
	read->after_torn = end == NULL && !bytes->exhausted;
	length = end != NULL ? end + 1 - bytes->data : bytes->bytes;
	read->failed_bytes = length;
	take(read, length);
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
			 errmsg("file went on with a line that was read as its last one"),
			 errhint("With the option \"require_newline\" a last line is read only when it is ended by a line break.")));
}

/* One record or less; true when there is a result. */
static bool
step(TapFileRead *read, int64 max_bytes, TapFileReadResult *result)
{
	TapFileBytes *bytes = read->bytes;
	bool		at_end = bytes->exhausted && read->final;

	if (bytes->bytes == 0 && !bytes->exhausted)
	{
		tap_file_bytes_more(bytes);
		return false;
	}
	*result = TAP_FILE_READ_END;
	if (bytes->bytes == 0 && !at_end)
		return true;
	switch (read->format->next(read->reader, bytes->data, bytes->bytes, at_end, max_bytes,
							   read->slot, &read->taken))
	{
		case TAP_FORMAT_ROW:
			read->entry->records++;
			take(read, read->taken);
			*result = TAP_FILE_READ_ROW;
			return true;
		case TAP_FORMAT_SKIP:
			take(read, read->taken);
			return false;
		case TAP_FORMAT_MORE:
			if (!bytes->exhausted)
			{
				tap_file_bytes_more(bytes);
				return false;
			}
			if (at_end)
				ereport(ERROR,
						(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
						 errmsg("file ends within a record")));
			return true;
		case TAP_FORMAT_ALTERED:
			*result = TAP_FILE_READ_ALTERED;
			return true;
		case TAP_FORMAT_END:
			break;
	}
	return true;
}

/* Say where, and go on behind the record; never returns. */
static void
report_record(TapFileRead *read, ErrorData *edata)
{
	Size		taken = read->taken;
	const char *place = read->format->lines ?
	psprintf("File \"%s\", line " INT64_FORMAT ", byte " INT64_FORMAT ".",
			 read->entry->path, read->failed_line, read->failed_offset) :
	psprintf("File \"%s\", record " INT64_FORMAT ", byte " INT64_FORMAT ".",
			 read->entry->path, read->entry->records + 1, read->failed_offset);

	edata->detail = edata->detail != NULL ?
		psprintf("%s  %s", place, edata->detail) : unconstify(char *, place);
	if (is_of_data(edata->sqlerrcode))
	{
		if (read->failed_bytes == 0)
			read->failed_bytes = taken > 0 ? taken : read->bytes->bytes;
		if (taken > 0)
		{
			read->entry->records++;
			take(read, taken);
		}
		else if (read->bytes->offset == read->failed_offset)
			read->ended = read->given_up = true;
	}
	ReThrowError(edata);
}

static void
alter(TapFileRead *read)
{
	MemoryContext old = MemoryContextSwitchTo(read->context);

	set_plan(read, read->format->altered(read->reader));
	MemoryContextSwitchTo(old);
}

/* Leaves by an error of the record that read->failed names. */
static TapFileReadResult
step_until_ready(TapFileRead *read, int64 max_bytes)
{
	TapFileReadResult result = TAP_FILE_READ_END;
	bool		ready;

	do
	{
		CHECK_FOR_INTERRUPTS();
		read->taken = 0;
		read->failed = read->bytes->data;
		read->failed_bytes = 0;
		read->failed_offset = read->bytes->offset;
		read->failed_line = read->entry->lines + 1;
		if (read->after_torn)
			check_after_torn(read, max_bytes);
		ready = step(read, max_bytes, &result);
	} while (!ready);
	return result;
}

TapFileReadResult
tap_file_read_next(TapSession *session, TapFileRead *read, Size *bytes)
{
	MemoryContext context = CurrentMemoryContext;
	int64		begin = read->bytes->offset;
	TapFileReadResult result;

	*bytes = 0;
	if (read->ended)
		return TAP_FILE_READ_END;
	ExecClearTuple(read->slot);
	PG_TRY();
	{
		result = step_until_ready(read, session->stream->max_record_bytes);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		report_record(read, edata);
	}
	PG_END_TRY();
	if (result == TAP_FILE_READ_ALTERED)
		alter(read);
	read->ended = result == TAP_FILE_READ_END;
	*bytes = read->bytes->offset - begin;
	return result;
}

/* ---------------------------------------------------------------------
 * What is kept
 * ---------------------------------------------------------------------
 */

/* A file of which all is taken at once must not have changed meanwhile. */
static void
check_replaced(TapFileRead *read)
{
	const TapFileFound *before = &read->entry->found;
	TapFileFound now = {0};
	struct stat status;

	if (fstat(read->handle->fd, &status) == 0)
		tap_file_found_set(&now, &status);
	if (now.size == before->size && now.mtime == before->mtime)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("file \"%s\" was changed while it was read", read->entry->path),
			 errhint("Write it under another name and move it here when it is complete.")));
}

/* The entry lives longer than its reading. */
static void
keep_state(TapFileEntry *entry, const char *state)
{
	if (entry->state != NULL)
		pfree(entry->state);
	entry->state = state == NULL ? NULL :
		MemoryContextStrdup(GetMemoryChunkContext(entry), state);
}

/*
 * Only what comes before the first record was there: that, and a sample of
 * records, is looked at when there are some.
 */
static void
begin_anew(TapFileEntry *entry)
{
	keep_state(entry, NULL);
	entry->offset = 0;
	entry->lines = 0;
	entry->torn = false;
}

/* Whether nothing is missing that a last record or its end would need. */
static bool
may_end(const TapFileRead *read)
{
	return read->format->complete == NULL || read->format->complete(read->reader);
}

void
tap_file_read_save(TapFileRead *read)
{
	TapFileEntry *entry = read->entry;
	MemoryContext old = MemoryContextSwitchTo(read->context);
	int64		raw = tap_file_bytes_raw(read->bytes);

	if (entry->table->mode == TAP_FILE_REPLACE)
		check_replaced(read);
	take_found(entry, read->handle);
	entry->offset = read->bytes->offset;
	entry->torn = read->last_torn;
	keep_state(entry, read->format->save(read->reader));
	if (entry->records == 0)
		begin_anew(entry);
	entry->tried_size = entry->size;
	entry->done = read->ended &&
		(read->is_all || read->given_up || (raw >= entry->size && may_end(read)));
	if (entry->done && read->compressed && !read->given_up)
		raw = entry->size;

	/*
	 * what it went on with since shows that the last record then was read, or
	 * not whole; of a file that is read at once nothing can be missing
	 */
	if (read->ended &&
		(entry->size > entry->due_size || entry->table->mode == TAP_FILE_REPLACE))
		entry->due = false;
	tap_file_ledger_mark(entry, read->handle, raw);
	tap_file_ledger_note(entry);
	MemoryContextSwitchTo(old);
}

char *
tap_file_read_describe(const TapFileEntry *entry, const TapFileRead *read)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"file\": ");
	escape_json(&json, entry->path);
	if (read == NULL)
	{
		appendStringInfoChar(&json, '}');
		return json.data;
	}
	if (read->format->lines)
		appendStringInfo(&json, ", \"line\": " INT64_FORMAT, read->failed_line);
	else
		appendStringInfo(&json, ", \"record\": " INT64_FORMAT, read->entry->records);
	appendStringInfo(&json, ", \"byte\": " INT64_FORMAT, read->failed_offset);
	if (read->failed != NULL)
		appendStringInfo(&json, ", \"content\": %s",
						 read->format->show(read->reader, read->failed,
											Min(read->failed_bytes, SHOWN_BYTES)));
	appendStringInfoChar(&json, '}');
	return json.data;
}

void
tap_file_read_end(TapFileRead *read)
{
	MemoryContextDelete(read->context);
}
