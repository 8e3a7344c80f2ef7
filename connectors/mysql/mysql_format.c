/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_format.c
 *	  Which format the rows of a table have at the stream's position.
 *
 * NOTES
 *	  With binlog_row_metadata = FULL a table map names its columns, and the
 *	  known format serves only for what the map does not tell.  Without, rows
 *	  are read by the known format, by position of the columns: that of the
 *	  stream's start (from the core), changed by each ALTER TABLE in the log.
 *	  A map that does not fit it is never guessed at: the present format of
 *	  the source is taken if it fits, else it is an error.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* ---------------------------------------------------------------------
 * Tables of the stream
 * ---------------------------------------------------------------------
 */

TapMysqlStreamTable *
tap_mysql_table_entry(TapMysqlStream *stream, const char *schema,
					  const char *name)
{
	char		key[TAP_MYSQL_TABLE_KEY_SIZE];
	TapMysqlStreamTable *table;
	bool		found;

	snprintf(key, sizeof(key), "%s\001%s", schema, name);
	table = hash_search(stream->tables, key, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) table + sizeof(table->key), 0,
			   sizeof(*table) - sizeof(table->key));
		table->name.schema = MemoryContextStrdup(stream->context, schema);
		table->name.name = MemoryContextStrdup(stream->context, name);
	}
	return table;
}

void
tap_mysql_forget_table(TapMysqlStreamTable *table)
{
	table->asked = false;
	table->table_data = NULL;
	table->definition = NULL;
	table->generation = 0;
}

TapMysqlStreamTable *
tap_mysql_stream_table(TapMysqlStream *stream, const char *schema,
					   const char *name, bool created)
{
	TapMysqlStreamTable *table = tap_mysql_table_entry(stream, schema, name);

	if (table->asked && !created)
		return table;
	table->definition = NULL;
	table->asked = true;
	if (strcmp(name, TAP_MYSQL_PROGRESS_TABLE) == 0)
		return table;			/* a sink's own */
	table->table_data = stream->args.table_followed(stream->args.core_data,
													&table->name, created,
													&table->definition);
	return table;
}

void
tap_mysql_set_format(TapMysqlStream *stream, TapMysqlStreamTable *table,
					 const TapMysqlTable *format)
{
	char	   *definition = tap_mysql_definition_text(format);
	MemoryContext old;
	int			natts;

	/* what points to the former format may still be in use by the core */
	table->context = AllocSetContextCreate(stream->context, "tapdata mysql format",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->context);
	table->table = tap_mysql_definition_parse(stream->session, &table->name, definition);
	tap_mysql_prepare_columns(stream->session, table->table, table->context);
	table->source = tap_mysql_source_table(stream->session, table->table);
	table->old_slot = MakeSingleTupleTableSlot(table->source->descriptor, &TTSOpsVirtual);
	table->new_slot = MakeSingleTupleTableSlot(table->source->descriptor, &TTSOpsVirtual);
	natts = Max(1, table->table->ncolumns);
	table->old_present = palloc0(sizeof(bool) * natts);
	table->new_present = palloc0(sizeof(bool) * natts);
	table->partial = palloc0(sizeof(void *) * natts);
	table->is_key = palloc0(sizeof(bool) * natts);
	table->default_values = NULL;
	table->default_nulls = NULL;
	for (int i = 0; i < table->table->nkeys; i++)
		table->is_key[table->table->keys[i] - 1] = true;
	table->generation = ++stream->last_generation;
	MemoryContextSwitchTo(old);
}

bool
tap_mysql_need_format(TapMysqlStream *stream, TapMysqlStreamTable *table)
{
	TapMysqlTable *format;

	if (table->generation != 0)
		return true;
	if (table->definition != NULL)
		format = tap_mysql_definition_parse(stream->session, &table->name,
											table->definition);
	else
		format = tap_mysql_read_table(stream->session, &table->name);
	if (format == NULL || format->ncolumns == 0)
		return false;
	tap_mysql_set_format(stream, table, format);
	return true;
}

void
tap_mysql_queue_schema(TapMysqlStream *stream, TapSchemaKind kind,
					   TapMysqlStreamTable *table, const TapTableName *old_name,
					   List *renames, const char *statement,
					   Size statement_length)
{
	TapEvent   *event;
	MemoryContext old;
	ListCell   *cell;

	if (stream->replay == NULL)
		tap_mysql_begin(stream);
	old = MemoryContextSwitchTo(stream->queue_context);
	event = tap_mysql_queue(stream, TAP_EVENT_SCHEMA);
	event->schema = kind;
	event->table = table->source;
	event->table_data = table->table_data;
	if (old_name != NULL)
	{
		event->old_name.schema = pstrdup(old_name->schema);
		event->old_name.name = pstrdup(old_name->name);
	}
	foreach(cell, renames)
	{
		TapColumnRename *rename = palloc(sizeof(TapColumnRename));

		rename->from = tap_mysql_fit_name(((TapColumnRename *) lfirst(cell))->from);
		rename->to = tap_mysql_fit_name(((TapColumnRename *) lfirst(cell))->to);
		event->renames = lappend(event->renames, rename);
	}
	if (statement != NULL)
		event->statement = tap_mysql_from_utf8(statement, statement_length);
	MemoryContextSwitchTo(old);
}

static void
refuse_map(TapMysqlStream *stream, const TapMysqlStreamTable *entry,
		   const TapBinlogTable *map)
{
	StringInfoData types;

	initStringInfo(&types);
	for (uint32 i = 0; i < map->column_count && i < 100; i++)
		appendStringInfo(&types, "%s%s", i ? ", " : "",
						 tap_binlog_type_name(map->columns[i].type));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of table \"%s\" in the source's log do not fit the format that is known of it",
					tap_mysql_table_text(&entry->name)),
			 errdetail("The log has %u columns: %s. Known are %d.", map->column_count,
					   types.data, entry->generation ? entry->table->ncolumns : 0),
			 errhint("Run at the source: SET GLOBAL binlog_row_metadata = 'FULL'; then copy the table again with tapdata.resync().")));
}

/* Bring the table's format in line with the map. */
static void
match_format(TapMysqlStream *stream, TapMysqlStreamTable *entry,
			 const TapBinlogTable *map)
{
	TapMysqlTable *format;
	TapMysqlTable empty = {0};

	if (!tap_mysql_need_format(stream, entry))
	{
		/* gone from the source meanwhile: the map has to do */
		if (!map->has_names)
			refuse_map(stream, entry, map);
		empty.name = entry->name;
		empty.is_mariadb = stream->session->server.is_mariadb;
		empty.estimated_rows = empty.estimated_bytes = -1;
		entry->table = &empty;
	}
	if (map->has_names)
		format = tap_mysql_format_by_name(stream, entry, map);
	else
	{
		format = tap_mysql_format_by_position(stream->session, entry->table, map);
		if (format == NULL)
			format = tap_mysql_format_by_position(stream->session,
												  tap_mysql_read_table(stream->session, &entry->name),
												  map);
	}
	if (format == NULL)
		refuse_map(stream, entry, map);
	if (entry->generation != 0 && tap_mysql_same_format(format, entry->table))
		return;
	tap_mysql_set_format(stream, entry, format);
	tap_mysql_queue_schema(stream, TAP_SCHEMA_ALTERED, entry, NULL, NIL, NULL, 0);
}

/* ---------------------------------------------------------------------
 * Maps
 * ---------------------------------------------------------------------
 */

void
tap_mysql_forget_map(void *context, TapBinlogTable *map)
{
	free(map->user);
	map->user = NULL;
}

static TapMysqlMap *
make_map(TapMysqlStreamTable *entry, TapBinlogTable *map)
{
	int			natts = entry->table_data ? entry->table->ncolumns : 0;
	Size		cells = sizeof(TapBinlogCell) * map->column_count;
	Size		size = MAXALIGN(sizeof(TapMysqlMap)) + 2 * MAXALIGN(cells) +
	sizeof(int) * (natts + 1);
	TapMysqlMap *result = malloc(size);
	char	   *rest;

	if (result == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memset(result, 0, size);
	rest = (char *) result + MAXALIGN(sizeof(TapMysqlMap));
	result->before = (TapBinlogCell *) rest;
	result->after = (TapBinlogCell *) (rest + MAXALIGN(cells));
	result->wire = (int *) (rest + 2 * MAXALIGN(cells));
	result->table = entry;
	result->generation = entry->generation;
	result->natts = natts;
	/* either way the format has the columns of the map, in their order */
	for (int i = 0; i < natts; i++)
		result->wire[i] = i;
	return result;
}

TapMysqlMap *
tap_mysql_resolve_map(TapMysqlStream *stream, TapBinlogTable *map)
{
	TapMysqlMap *known = map->user;
	TapMysqlStreamTable *entry;

	if (known != NULL && known->table->asked &&
		known->generation == known->table->generation)
		return known->table->table_data ? known : NULL;
	entry = tap_mysql_stream_table(stream,
								   tap_mysql_from_utf8(map->schema, map->schema_length),
								   tap_mysql_from_utf8(map->name, map->name_length),
								   false);
	if (entry->table_data != NULL)
		match_format(stream, entry, map);
	free(map->user);
	map->user = NULL;
	map->user = make_map(entry, map);
	return entry->table_data ? map->user : NULL;
}
