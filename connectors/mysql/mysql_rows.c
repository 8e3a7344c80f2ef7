/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_rows.c
 *	  Row events of the stream as changes.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* A column that was sent in part, for tap_mysql_complete_value(). */
typedef struct PartialJson
{
	const uint8_t *data;
	uint32_t	length;
} PartialJson;

void
tap_mysql_start_rows(TapMysqlStream *stream, TapBinlogReader *reader)
{
	TapBinlogRowsEvent *event = &stream->event.u.rows;
	TapBinlogStatus status;

	if (event->table == NULL)
		return;
	stream->map = tap_mysql_resolve_map(stream, event->table);
	if (stream->map == NULL)
		return;
	status = tap_binlog_rows_begin(reader, &stream->event, &stream->rows);
	if (status != TAP_BINLOG_OK)
		tap_mysql_raise_binlog(stream, reader, &stream->event, status);
	if (stream->replay == NULL)
		tap_mysql_begin(stream);
	stream->in_rows = true;
}

/* What has to be known about a value that cannot be converted. */
static void
row_error_context(void *arg)
{
	const TapMysqlStream *stream = arg;
	const TapMysqlStreamTable *table = stream->map->table;

	errcontext("source table \"%s\", log position %s:" UINT64_FORMAT ", row %s",
			   tap_mysql_table_text(&table->name), stream->file, stream->offset,
			   tap_mysql_describe_event(stream->session));
}

/*
 * Convert the cells of an image.  Only key columns are, if only_key.
 * Returns whether all columns are there.
 */
static bool
fill_slot(TapMysqlStream *stream, const TapBinlogCell *cells, bool only_key,
		  TupleTableSlot *slot, bool *present, void **partial)
{
	TapMysqlMap *map = stream->map;
	TapMysqlStreamTable *table = map->table;
	const TapBinlogColumn *wires = stream->rows.table->columns;
	bool		complete = true;

	ExecClearTuple(slot);
	for (int i = 0; i < map->natts; i++)
	{
		const TapBinlogCell *cell = &cells[map->wire[i]];

		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		present[i] = false;
		if (cell->state == TAP_BINLOG_CELL_ABSENT || (only_key && !table->is_key[i]))
		{
			complete = false;
			continue;
		}
		present[i] = true;
		if (cell->state == TAP_BINLOG_CELL_VALUE)
			slot->tts_values[i] = tap_mysql_cell_value(stream->session,
													   &table->table->columns[i],
													   &wires[map->wire[i]],
													   stream->rows.reader, cell,
													   &slot->tts_isnull[i]);
		else if (cell->state == TAP_BINLOG_CELL_PARTIAL_JSON && partial != NULL)
		{
			PartialJson *part = palloc(sizeof(PartialJson));

			part->data = cell->data;
			part->length = cell->length;
			partial[i] = part;
		}
	}
	ExecStoreVirtualTuple(slot);
	return complete;
}

static void
fill_old(TapMysqlStream *stream, TapEvent *event)
{
	TapMysqlStreamTable *table = stream->map->table;
	bool		complete;

	/* without a key the whole row tells which one it is */
	complete = fill_slot(stream, stream->map->before, table->table->nkeys > 0,
						 table->old_slot, table->old_present, NULL);
	event->old_row.slot = table->old_slot;
	event->old_row.present = complete ? NULL : table->old_present;
}

static void
fill_new(TapMysqlStream *stream, TapEvent *event)
{
	TapMysqlStreamTable *table = stream->map->table;
	bool		partial = stream->event.u.rows.partial_json;
	bool		complete;

	if (partial)
		memset(table->partial, 0, sizeof(void *) * table->table->ncolumns);
	complete = fill_slot(stream, stream->map->after, false, table->new_slot,
						 table->new_present, partial ? table->partial : NULL);
	event->new_row.slot = table->new_slot;
	event->new_row.present = complete ? NULL : table->new_present;
	event->new_row.partial = partial ? table->partial : NULL;
}

static void
make_defaults(TapMysqlStreamTable *table)
{
	int			natts = table->table->ncolumns;
	MemoryContext before = MemoryContextSwitchTo(table->context);
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	bool		own_txn = !IsTransactionState();

	table->default_nulls = palloc0(sizeof(bool) * natts);

	/* the types are looked up in the catalog */
	if (own_txn)
		StartTransactionCommand();
	MemoryContextSwitchTo(table->context);
	for (int i = 0; i < natts; i++)
	{
		const TapMysqlColumn *column = &table->table->columns[i];
		char	   *text = table->source->column_defaults[i];
		Oid			input;
		Oid			parameter;

		table->default_nulls[i] = text == NULL;
		if (text == NULL)
			continue;
		getTypeInputInfo(column->pg_type, &input, &parameter);
		values[i] = OidInputFunctionCall(input, text, parameter, column->pg_typmod);
	}
	if (own_txn)
		CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	table->default_values = values;
}

/* MySQL tells a time as it was written, in the zone of a session that is gone. */
static void
check_default(const TapMysqlStreamTable *table, const TapMysqlColumn *column)
{
	const char *value = column->default_value;

	if (column->kind != TAP_MYSQL_KIND_TIMESTAMP || table->table->is_mariadb ||
		value == NULL || strncmp(value, "0000", 4) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the source did not send column \"%s\" of a new row of table \"%s\"",
					column->name, tap_mysql_table_text(&table->name)),
			 errdetail("It has its default, %s, whose time zone MySQL does not tell.", value),
			 errhint("Run at the source: SET GLOBAL binlog_row_image = 'FULL'; close the sessions that are older, then copy the table again with tapdata.resync().")));
}

/*
 * binlog_row_image=MINIMAL: an INSERT has the columns that were given a value,
 * and those whose default is an expression.  The others have their defaults.
 */
static void
fill_defaults(TapMysqlStream *stream, TapEvent *event)
{
	TapMysqlStreamTable *table = stream->map->table;
	TupleTableSlot *slot = table->new_slot;
	bool		complete = true;

	if (table->default_values == NULL)
		make_defaults(table);
	for (int i = 0; i < stream->map->natts; i++)
	{
		const TapMysqlColumn *column = &table->table->columns[i];

		if (table->new_present[i])
			continue;
		if (column->generated || column->default_unknown)
		{
			complete = false;
			continue;
		}
		check_default(table, column);
		slot->tts_values[i] = table->default_values[i];
		slot->tts_isnull[i] = table->default_nulls[i];
		table->new_present[i] = true;
	}
	event->new_row.present = complete ? NULL : table->new_present;
}

static void
fill_event(TapMysqlStream *stream, TapEvent *event)
{
	switch (stream->event.kind)
	{
		case TAP_BINLOG_KIND_WRITE_ROWS:
			event->change = TAP_CHANGE_INSERT;
			fill_new(stream, event);
			if (event->new_row.present != NULL)
				fill_defaults(stream, event);
			break;
		case TAP_BINLOG_KIND_UPDATE_ROWS:
			event->change = TAP_CHANGE_UPDATE;
			fill_old(stream, event);
			fill_new(stream, event);
			break;
		default:
			event->change = TAP_CHANGE_DELETE;
			fill_old(stream, event);
			break;
	}
}

bool
tap_mysql_next_row(TapMysqlStream *stream, TapEvent *event)
{
	TapMysqlMap *map = stream->map;
	const uint8_t *start = stream->rows.position;
	ErrorContextCallback callback;
	int			result = tap_binlog_rows_next(&stream->rows, map->before, map->after);

	if (result <= 0)
	{
		stream->in_rows = false;
		if (result < 0)
			tap_mysql_raise_binlog(stream, stream->rows.reader, &stream->event,
								   tap_binlog_status(stream->rows.reader));
		return false;
	}
	memset(event, 0, sizeof(*event));
	event->kind = TAP_EVENT_CHANGE;
	event->table = map->table->source;
	event->table_data = map->table->table_data;
	event->commit_time = stream->txn.time;
	event->bytes = stream->rows.position - start;
	stream->txn.changes++;
	stream->last_kind = TAP_EVENT_CHANGE;

	callback.callback = row_error_context;
	callback.arg = stream;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	fill_event(stream, event);
	error_context_stack = callback.previous;
	return true;
}

/* The new text, made of the old one and the parts, as a datum. */
static Datum
apply_parts(TapSession *session, const TapMysqlColumn *column,
			const char *old_text, const PartialJson *part)
{
	TapBinlogBuffer buffer;
	volatile Datum result = (Datum) 0;

	tap_binlog_buffer_init(&buffer, MaxAllocSize, NULL);
	PG_TRY();
	{
		if (tap_binlog_json_apply(old_text, strlen(old_text), part->data,
								  part->length, &buffer) != TAP_BINLOG_OK)
			tap_mysql_bad_value(column, "a part of it does not fit the hub's old value");
		result = tap_mysql_make_json(session, column, buffer.data, buffer.length);
	}
	PG_FINALLY();
	{
		tap_binlog_buffer_free(&buffer);
	}
	PG_END_TRY();
	return result;
}

/*
 * PARTIAL_JSON: the changes are applied to the text of the old value, which
 * the hub has.
 */
Datum
tap_mysql_complete_value(TapSession *session, TapSourceTable *source,
						 AttrNumber number, Datum old_value, bool old_isnull,
						 void *partial, bool *isnull)
{
	const TapMysqlTable *table = tap_mysql_table_of(session, source);
	const TapMysqlColumn *column = &table->columns[number - 1];
	Oid			output;
	bool		is_varlena;

	if (old_isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the source sent a part of column \"%s\" of table \"%s\", but the hub has no old value",
						column->name, tap_mysql_table_text(&table->name)),
				 errhint("Copy the table again with tapdata.resync().")));
	*isnull = false;
	getTypeOutputInfo(column->pg_type, &output, &is_varlena);
	return apply_parts(session, column, OidOutputFunctionCall(output, old_value),
					   partial);
}
