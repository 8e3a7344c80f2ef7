/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_table.c
 *	  Tables of the stream, and their formats.
 *
 * NOTES
 *	  The server tells a table's columns before its first change, and again
 *	  after it was altered.  Where that is what the core knows (the known
 *	  format) nothing has to be done.  Else the catalog is read, which may be
 *	  ahead of the stream, and the new format is made of the three:
 *
 *	  - a known column that the message lacks, and the catalog still has, is
 *		one that was added behind this place of the log: it stays;
 *	  - a known column under whose number the catalog has another name, which
 *		the message has too, was renamed;
 *	  - a known column of another type than the message's, but the catalog's,
 *		was altered behind this place: values are converted by their text;
 *	  - a column of the message that neither knows has been dropped since:
 *		it is left out.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* ---------------------------------------------------------------------
 * Messages
 * ---------------------------------------------------------------------
 */

static void
drop_context(MemoryContext *context)
{
	if (*context != NULL)
		MemoryContextDelete(*context);
	*context = NULL;
}

static void
drop_format(TapPgStreamTable *table)
{
	drop_context(&table->format_context);
	table->format = NULL;
	table->source = NULL;
	table->schema_due = false;
}

void
tap_pg_stream_forget(TapPgStreamTable *table)
{
	drop_format(table);
	drop_context(&table->known_context);
	table->known = NULL;
	table->asked = false;
	table->table_data = NULL;
}

static TapPgStreamTable *
find_table(TapPgStream *stream, Oid relid, bool create)
{
	bool		found;
	TapPgStreamTable *table = stream->last_table;

	/* none is ever removed */
	if (table != NULL && table->relid == relid)
		return table;
	table = hash_search(stream->tables, &relid, create ? HASH_ENTER : HASH_FIND, &found);
	if (create && !found)
	{
		memset(table, 0, sizeof(*table));
		table->relid = relid;
	}
	return table;
}

static bool
same_message(const TapPgStreamTable *table, const TapPgoutputMessage *message)
{
	if (table->context == NULL || table->identity != message->replica_identity ||
		table->ncolumns != message->ncolumns)
		return false;
	for (int i = 0; i < message->ncolumns; i++)
	{
		const TapPgoutputColumn *a = &table->columns[i];
		const TapPgoutputColumn *b = &message->columns[i];

		if (a->key != b->key || a->type != b->type || a->typmod != b->typmod ||
			strcmp(a->name, b->name) != 0)
			return false;
	}
	return true;
}

void
tap_pg_stream_describe(TapPgStream *stream, TapPgStreamTable *table)
{
	const TapPgoutputMessage *message = &stream->message;
	MemoryContext old;

	drop_context(&table->context);
	table->context = AllocSetContextCreate(stream->context, "tapdata postgres relation",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->context);
	table->name.schema = pstrdup(message->schema[0] ? message->schema : "pg_catalog");
	table->name.name = pstrdup(message->name);
	table->identity = message->replica_identity;
	table->ncolumns = message->ncolumns;
	table->columns = palloc(sizeof(TapPgoutputColumn) * Max(message->ncolumns, 1));
	for (int i = 0; i < message->ncolumns; i++)
	{
		table->columns[i] = message->columns[i];
		table->columns[i].name = pstrdup(message->columns[i].name);
	}
	MemoryContextSwitchTo(old);
}

void
tap_pg_stream_relation(TapPgStream *stream)
{
	const TapPgoutputMessage *message = &stream->message;
	TapPgStreamTable *table = find_table(stream, message->relation, true);
	const char *schema = message->schema[0] ? message->schema : "pg_catalog";
	bool		renamed = table->context == NULL ||
	strcmp(table->name.schema, schema) != 0 || strcmp(table->name.name, message->name) != 0;

	if (!renamed && same_message(table, message))
		return;

	/* the core is asked for it by its new name */
	if (renamed)
		tap_pg_stream_forget(table);
	drop_format(table);
	tap_pg_stream_describe(stream, table);
}

void
tap_pg_stream_forget_relation(TapPgStream *stream, Oid relid, const TapTableName *name)
{
	TapPgStreamTable *table = find_table(stream, relid, false);

	if (table == NULL)
		return;
	tap_pg_stream_forget(table);
	if (name == NULL || table->context == NULL)
		return;
	table->name.schema = MemoryContextStrdup(table->context, name->schema);
	table->name.name = MemoryContextStrdup(table->context, name->name);
}

/* ---------------------------------------------------------------------
 * Which tables are followed
 * ---------------------------------------------------------------------
 */

static void
set_known(TapPgStream *stream, TapPgStreamTable *table, const TapTableName *name,
		  const char *definition)
{
	MemoryContext old;

	drop_context(&table->known_context);
	table->known_context = AllocSetContextCreate(stream->context, "tapdata postgres format",
												 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->known_context);
	table->known = tap_pg_format_parse(name, definition);
	MemoryContextSwitchTo(old);
}

/* A followed table of another name whose definition has this oid; or NULL. */
static const TapTableName *
find_renamed(TapPgStream *stream, const TapPgStreamTable *table, void **table_data,
			 const char **definition)
{
	List	   *names = stream->args.tables_followed(stream->args.core_data);
	ListCell   *cell;

	foreach(cell, names)
	{
		const TapTableName *name = lfirst(cell);

		if (strcmp(name->name, table->name.name) == 0 &&
			strcmp(name->schema, table->name.schema) == 0)
			return NULL;
	}
	foreach(cell, names)
	{
		const TapTableName *name = lfirst(cell);
		unsigned int relid;

		*table_data = stream->args.table_followed(stream->args.core_data, name, false, definition);
		if (*table_data != NULL && *definition != NULL &&
			sscanf(*definition, "T\t%u\t", &relid) == 1 && relid == table->relid)
			return name;
	}
	return NULL;
}

/* Make an event of a table's end or new name, told before anything else of it. */
static void
schema_is_due(TapPgStream *stream, TapPgStreamTable *table, TapSchemaKind kind,
			  const TapTableName *old_name)
{
	MemoryContext old;

	drop_format(table);
	table->format_context = AllocSetContextCreate(stream->context, "tapdata postgres format",
												  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->format_context);
	table->old_name.schema = pstrdup(old_name->schema);
	table->old_name.name = pstrdup(old_name->name);
	table->renames = NIL;
	table->known->name = table->name;
	table->source = tap_pg_source_table(table->known);
	table->schema = kind;
	table->schema_due = true;
	MemoryContextSwitchTo(old);
}

static void
ask(TapPgStream *stream, TapPgStreamTable *table)
{
	const char *definition = NULL;
	const TapTableName *renamed = find_renamed(stream, table, &table->table_data, &definition);

	table->asked = true;
	if (renamed == NULL)
		table->table_data = stream->args.table_followed(stream->args.core_data, &table->name,
														false, &definition);
	if (table->table_data == NULL)
		return;
	if (definition == NULL)
		elog(ERROR, "followed table \"%s\" has no definition", tap_pg_table_text(&table->name));
	set_known(stream, table, &table->name, definition);
	if (renamed != NULL)
		schema_is_due(stream, table, TAP_SCHEMA_RENAMED, renamed);
	else if (table->known->relid != table->relid)

		/* another table under the name of one that was dropped */
		schema_is_due(stream, table, TAP_SCHEMA_DROPPED, &table->name);
}

TapPgStreamTable *
tap_pg_stream_ask(TapPgStream *stream, TapPgStreamTable *table)
{
	if (!table->asked)
		ask(stream, table);
	return table->table_data != NULL ? table : NULL;
}

TapPgStreamTable *
tap_pg_stream_table(TapPgStream *stream, Oid relid)
{
	TapPgStreamTable *table = find_table(stream, relid, false);

	if (table == NULL || table->context == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the source sent a change of table %u, which it did not describe", relid)));
	return tap_pg_stream_ask(stream, table);
}

/* ---------------------------------------------------------------------
 * Formats
 * ---------------------------------------------------------------------
 */

static int
message_column(const TapPgStreamTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return i;
	return -1;
}

/* Whether the columns of the replica identity are those of the key. */
static bool
same_key(const TapPgStreamTable *table, const TapPgFormat *format)
{
	int			flagged = 0;

	if (table->identity != 'd' && table->identity != 'i')
		return true;
	for (int i = 0; i < table->ncolumns; i++)
		flagged += table->columns[i].key;
	if (flagged != format->nkeys)
		return false;
	for (int i = 0; i < format->nkeys; i++)
	{
		int			column = message_column(table, format->columns[format->keys[i] - 1].name);

		if (column < 0 || !table->columns[column].key)
			return false;
	}
	return true;
}

static bool
is_known_format(const TapPgStreamTable *table, const TapPgFormat *format)
{
	if (table->ncolumns != format->ncolumns || table->identity != format->identity)
		return false;
	for (int i = 0; i < format->ncolumns; i++)
	{
		const TapPgSourceColumn *known = &format->columns[i];
		int			column = message_column(table, known->name);

		if (column < 0 || table->columns[column].type != known->source_type ||
			table->columns[column].typmod != known->source_typmod)
			return false;
	}
	return same_key(table, format);
}

static const TapPgSourceColumn *
by_number(const TapPgFormat *format, int number)
{
	for (int i = 0; format != NULL && i < format->ncolumns; i++)
		if (format->columns[i].number == number)
			return &format->columns[i];
	return NULL;
}

static const TapPgSourceColumn *
by_name(const TapPgFormat *format, const char *name)
{
	int			column = format ? tap_pg_format_column(format, name) : -1;

	return column < 0 ? NULL : &format->columns[column];
}

/* A column as the message has it; what that does not tell, from the catalog. */
static void
take_message_type(TapPgStream *stream, TapPgSourceColumn *column, const TapPgoutputColumn *sent)
{
	TapPgSourceType *type;
	bool		begun;

	if (column->source_type == sent->type && column->source_typmod == sent->typmod)
		return;
	begun = tap_pg_begin_lookups();
	type = tap_pg_source_types(stream->session, &sent->type, 1);
	tap_pg_end_lookups(begun);
	column->source_type = sent->type;
	column->source_typmod = sent->typmod;
	column->shown = tap_pg_needed(tap_pg_query(stream->session, "describe a type of the source",
											   "SELECT format_type(%u, %d)", sent->type,
											   sent->typmod), 0, 0);
	column->type = type->hub_type;
	column->typmod = type->keeps_typmod ? sent->typmod : type->typmod;
	column->as_text = type->as_text;
	column->binary_safe = type->binary_safe;
}

/* The column of the message that a known one is now; -1: the message does not tell. */
static int
sent_column(const TapPgStreamTable *table, const TapPgSourceColumn *known)
{
	if (table->ncolumns == 0 || table->columns[0].number == 0)
		return message_column(table, known->name);
	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].number == known->number)
			return i;
	return -1;
}

static void
add_rename(TapPgStreamTable *table, const char *from, const char *to)
{
	TapColumnRename *rename = palloc(sizeof(TapColumnRename));

	rename->from = pstrdup(from);
	rename->to = pstrdup(to);
	table->renames = lappend(table->renames, rename);
}

/* What becomes of a known column; false: it is gone. */
static bool
follow_column(TapPgStream *stream, TapPgStreamTable *table, const TapPgFormat *now,
			  const TapPgSourceColumn *known, TapPgSourceColumn *column)
{
	const TapPgSourceColumn *same = by_number(now, known->number);
	int			sent = sent_column(table, known);
	bool		renamed = sent >= 0 && strcmp(table->columns[sent].name, known->name) != 0;

	*column = *known;
	if ((sent < 0 || renamed) && same != NULL && strcmp(same->name, known->name) == 0)
		return true;
	if (renamed)
		add_rename(table, known->name, table->columns[sent].name);
	if (sent < 0 && same != NULL && by_name(table->known, same->name) == NULL &&
		(sent = message_column(table, same->name)) >= 0)
		add_rename(table, known->name, same->name);
	if (sent < 0)
		return false;
	column->name = pstrdup(table->columns[sent].name);
	if (same != NULL && same->source_type == known->source_type &&
		same->source_typmod == known->source_typmod)
		return true;
	if (same != NULL && same->source_type == table->columns[sent].type &&
		same->source_typmod == table->columns[sent].typmod)
		*column = *same;
	else
		take_message_type(stream, column, &table->columns[sent]);
	column->name = pstrdup(table->columns[sent].name);
	return true;
}

/*
 * A column of the message that was not known.  One that the catalog does not
 * have any more is added only where its number is told, by which its end will
 * be known.
 */
static void
add_column(TapPgStream *stream, const TapPgoutputColumn *sent, const TapPgFormat *now,
		   TapPgFormat *format)
{
	TapPgSourceColumn *column = &format->columns[format->ncolumns];
	const TapPgSourceColumn *added = sent->number == 0 ? by_name(now, sent->name) :
	by_number(now, sent->number);

	if (sent->generated || (added == NULL && sent->number == 0) ||
		(sent->number != 0 && by_number(format, sent->number) != NULL))
		return;
	if (added != NULL)
		*column = *added;
	else
		column->number = sent->number;
	column->name = pstrdup(sent->name);
	take_message_type(stream, column, sent);
	format->ncolumns++;
}

static void
follow_columns(TapPgStream *stream, TapPgStreamTable *table, const TapPgFormat *now,
			   TapPgFormat *format)
{
	const TapPgFormat *known = table->known;

	format->columns = palloc0(sizeof(TapPgSourceColumn) * (known->ncolumns + table->ncolumns + 1));
	for (int i = 0; i < known->ncolumns; i++)
		format->ncolumns += follow_column(stream, table, now, &known->columns[i],
										  &format->columns[format->ncolumns]);
	for (int i = 0; i < table->ncolumns; i++)
		if (by_name(format, table->columns[i].name) == NULL)
			add_column(stream, &table->columns[i], now, format);
}

/* Keys and indexes of another format, as far as their columns are there. */
static AttrNumber *
translate_columns(const TapPgFormat *from, const TapPgFormat *to, const List *renames,
				  const AttrNumber *numbers, int count)
{
	AttrNumber *result = palloc0(sizeof(AttrNumber) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		const char *name = from->columns[numbers[i] - 1].name;
		const ListCell *cell;

		foreach(cell, renames)
		{
			const TapColumnRename *rename = lfirst(cell);

			if (strcmp(rename->from, name) == 0)
				name = rename->to;
		}
		result[i] = tap_pg_format_column(to, name) + 1;
		if (result[i] == 0)
			return NULL;
	}
	return result;
}

static void
set_flagged_key(const TapPgStreamTable *table, TapPgFormat *format)
{
	format->nkeys = 0;
	format->keys = palloc0(sizeof(AttrNumber) * Max(format->ncolumns, 1));
	for (int i = 0; i < format->ncolumns; i++)
	{
		int			column = message_column(table, format->columns[i].name);

		if (column >= 0 && table->columns[column].key)
			format->keys[format->nkeys++] = i + 1;
	}
}

/* The first of: the known key, the catalog's, that the message agrees with. */
static void
follow_key(const TapPgStreamTable *table, const TapPgFormat *now, TapPgFormat *format)
{
	format->nkeys = table->known->nkeys;
	format->keys = translate_columns(table->known, format, table->renames, table->known->keys,
									 table->known->nkeys);
	if (format->keys != NULL && same_key(table, format))
		return;
	format->nkeys = now ? now->nkeys : 0;
	format->keys = now ? translate_columns(now, format, NIL, now->keys, now->nkeys) : NULL;
	if (format->keys == NULL || !same_key(table, format))
		set_flagged_key(table, format);
}

static void
follow_indexes(const TapPgStreamTable *table, const TapPgFormat *now, TapPgFormat *format)
{
	const TapPgFormat *from = now ? now : table->known;

	format->indexes = palloc0(sizeof(TapPgSourceIndex) * Max(from->nindexes, 1));
	for (int i = 0; i < from->nindexes; i++)
	{
		TapPgSourceIndex *index = &format->indexes[format->nindexes];

		*index = from->indexes[i];
		index->columns = translate_columns(from, format, now ? NIL : table->renames,
										   from->indexes[i].columns, index->ncolumns);
		if (index->columns != NULL)
			format->nindexes++;
	}
}

/* The format at this place of the log; in the current context. */
static TapPgFormat *
follow_format(TapPgStream *stream, TapPgStreamTable *table)
{
	TapPgFormat *format = palloc(sizeof(TapPgFormat));
	const TapPgFormat *now;
	List	   *read;

	tap_pg_stream_wait_visible(stream);
	read = tap_pg_read_formats(stream->session, list_make1(&table->name));
	now = read == NIL ? NULL : linitial(read);

	if (now != NULL && now->relid != table->relid)
		now = NULL;
	*format = *table->known;
	format->name = table->name;
	format->relid = table->relid;
	format->identity = table->identity;
	format->ncolumns = format->nindexes = 0;
	if (now != NULL)
	{
		format->kind = now->kind;
		format->comment = now->comment;
		format->identified = now->identified;
	}
	table->renames = NIL;
	follow_columns(stream, table, now, format);
	follow_key(table, now, format);
	follow_indexes(table, now, format);
	return format;
}

/* What reading rows takes. */
static void
prepare_rows(TapPgStreamTable *table)
{
	const TapPgFormat *format = table->format;
	int			count = Max(format->ncolumns, 1);
	bool		begun = tap_pg_begin_lookups();

	table->wire = palloc(sizeof(int) * count);
	table->readers = palloc(sizeof(TapPgReader) * count);
	table->is_key = palloc0(count);
	table->old_present = palloc0(count);
	table->new_present = palloc0(count);
	for (int i = 0; i < format->ncolumns; i++)
	{
		const TapPgSourceColumn *column = &format->columns[i];
		int			sent = message_column(table, column->name);

		table->wire[i] = sent;
		table->is_key[i] = sent >= 0 && table->columns[sent].key;
		tap_pg_reader_init(&table->readers[i], column,
						   sent >= 0 ? table->columns[sent].type : column->source_type,
						   table->format_context);
	}
	table->old_slot = MakeSingleTupleTableSlot(table->source->descriptor, &TTSOpsVirtual);
	table->new_slot = MakeSingleTupleTableSlot(table->source->descriptor, &TTSOpsVirtual);
	tap_pg_end_lookups(begun);
}

void
tap_pg_stream_need_format(TapPgStream *stream, TapPgStreamTable *table)
{
	MemoryContext old;

	if (table->format != NULL || table->schema_due)
		return;
	drop_context(&table->format_context);
	table->format_context = AllocSetContextCreate(stream->context, "tapdata postgres format",
												  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->format_context);
	if (!is_known_format(table, table->known))
	{
		bool		begun = tap_pg_begin_lookups();
		char	   *before = tap_pg_format_text(table->known);
		char	   *after;

		stream->session->in_hub_txn = !begun;
		after = tap_pg_format_text(follow_format(stream, table));
		stream->session->in_hub_txn = false;
		tap_pg_end_lookups(begun);
		table->schema = TAP_SCHEMA_ALTERED;
		table->schema_due = strcmp(before, after) != 0;
		set_known(stream, table, &table->name, after);
	}
	table->format = table->known;
	table->source = tap_pg_source_table(table->format);
	prepare_rows(table);
	MemoryContextSwitchTo(old);
}
