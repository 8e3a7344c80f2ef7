/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_format.c
 *	  The format that a table of the stream has at this place of the log.
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

int
tap_pg_stream_column(const TapPgStreamTable *table, const char *name)
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
		int			column = tap_pg_stream_column(table, format->columns[format->keys[i] - 1].name);

		if (column < 0 || !table->columns[column].key)
			return false;
	}
	return true;
}

bool
tap_pg_stream_is_known(const TapPgStreamTable *table)
{
	const TapPgFormat *format = table->known;

	if (table->ncolumns != format->ncolumns || table->identity != format->identity)
		return false;
	for (int i = 0; i < format->ncolumns; i++)
	{
		const TapPgSourceColumn *known = &format->columns[i];
		int			column = tap_pg_stream_column(table, known->name);

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
		return tap_pg_stream_column(table, known->name);
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
		(sent = tap_pg_stream_column(table, same->name)) >= 0)
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
		int			column = tap_pg_stream_column(table, format->columns[i].name);

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

TapPgFormat *
tap_pg_stream_follow_format(TapPgStream *stream, TapPgStreamTable *table)
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
