/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_table.c
 *	  Tables of the stream: what it says of them, and which are followed.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

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

void
tap_pg_stream_refresh(TapPgStream *stream)
{
	const TapStreamArgs *args = &stream->args;
	char	   *followed;
	ListCell   *cell;

	if (stream->refresh_ms == 0 || stream->in_txn ||
		!TimestampDifferenceExceeds(stream->refreshed_at, GetCurrentTimestamp(), stream->refresh_ms))
		return;
	followed = tap_pg_stream_followed_oids(stream);
	tap_pg_set_followed(followed);
	tap_pg_stream_look_for_gone(stream, followed);
	foreach(cell, tap_pg_list_tables(stream->session))
	{
		const char *definition;

		/* one that matches and is new to it is taken up between transactions */
		(void) args->table_followed(args->core_data, lfirst(cell), false, &definition);
	}
	stream->refreshed_at = GetCurrentTimestamp();
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
 * Reading rows
 * ---------------------------------------------------------------------
 */

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
		int			sent = tap_pg_stream_column(table, column->name);

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
	if (!tap_pg_stream_is_known(table))
	{
		bool		begun = tap_pg_begin_lookups();
		char	   *before = tap_pg_format_text(table->known);
		char	   *after;

		stream->session->in_hub_txn = !begun;
		after = tap_pg_format_text(tap_pg_stream_follow_format(stream, table));
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
