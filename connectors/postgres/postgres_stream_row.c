/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_row.c
 *	  Rows of the stream.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"

/*
 * The value of a column in a row; with a second row, from there if the first
 * does not have it because it is long and did not change.
 */
static const TapPgoutputValue *
find_value(const TapPgoutputTuple *tuple, const TapPgoutputTuple *second, int column)
{
	const TapPgoutputValue *value = &tuple->values[column];

	if (value->kind == TAP_PGOUTPUT_UNCHANGED && second != NULL && second->present &&
		second->values[column].kind != TAP_PGOUTPUT_UNCHANGED)
		return &second->values[column];
	return value;
}

static void
check_columns(const TapPgStreamTable *table, const TapPgoutputTuple *tuple)
{
	if (tuple->ncolumns != table->ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the source sent a row of %d columns for table \"%s\", which has %d",
						tuple->ncolumns, tap_pg_table_text(&table->name), table->ncolumns)));
}

/*
 * Fill a slot.  Returns whether all columns are there.  only_key: what is not
 * of the key was not sent, although it looks like NULL.
 */
static bool
fill_slot(TapPgStreamTable *table, TupleTableSlot *slot, bool *present,
		  const TapPgoutputTuple *tuple, const TapPgoutputTuple *second, bool only_key)
{
	bool		all = true;

	check_columns(table, tuple);
	ExecClearTuple(slot);
	for (int i = 0; i < table->format->ncolumns; i++)
	{
		const TapPgoutputValue *value = table->wire[i] < 0 || (only_key && !table->is_key[i]) ?
		NULL : find_value(tuple, second, table->wire[i]);

		slot->tts_isnull[i] = true;
		slot->tts_values[i] = (Datum) 0;
		present[i] = value != NULL && value->kind != TAP_PGOUTPUT_UNCHANGED;
		all &= present[i];
		if (!present[i] || value->kind == TAP_PGOUTPUT_NULL)
			continue;
		slot->tts_values[i] = tap_pg_read_value(&table->readers[i],
												value->kind == TAP_PGOUTPUT_BINARY,
												(char *) value->data, (int) value->bytes);
		slot->tts_isnull[i] = false;
	}
	ExecStoreVirtualTuple(slot);
	return all;
}

static void
change_error_context(void *arg)
{
	const TapPgStream *stream = arg;

	errcontext("source table \"%s\", transaction that ends at %s",
			   tap_pg_table_text(&stream->last_table->name),
			   tap_pg_lsn_text(stream->commit_lsn));
}

static void
set_old_row(TapPgStreamTable *table, const TapPgoutputMessage *message, TapEvent *event)
{
	bool		all;

	if (!message->old_tuple.present)
		return;
	all = fill_slot(table, table->old_slot, table->old_present, &message->old_tuple, NULL,
					message->old_kind == 'K');
	event->old_row.slot = table->old_slot;
	event->old_row.present = all ? NULL : table->old_present;
}

static void
set_new_row(TapPgStreamTable *table, const TapPgoutputMessage *message, TapEvent *event)
{
	const TapPgoutputTuple *old = message->old_kind == 'O' ? &message->old_tuple : NULL;
	bool		all = fill_slot(table, table->new_slot, table->new_present,
								&message->new_tuple, old, false);

	event->new_row.slot = table->new_slot;
	event->new_row.present = all ? NULL : table->new_present;
}

static void
read_rows(TapPgStream *stream, TapPgStreamTable *table, TapEvent *event)
{
	const TapPgoutputMessage *message = &stream->message;

	/* where changes are kept from us, any other may meet what they left */
	event->lenient = !stream->all_changes && table->source->nkeys > 0;
	switch (message->kind)
	{
		case TAP_PGOUTPUT_INSERT:
			event->change = TAP_CHANGE_INSERT;
			set_new_row(table, message, event);
			break;
		case TAP_PGOUTPUT_UPDATE:
			event->change = TAP_CHANGE_UPDATE;
			set_old_row(table, message, event);
			set_new_row(table, message, event);
			break;
		default:
			event->change = TAP_CHANGE_DELETE;
			set_old_row(table, message, event);
			break;
	}
}

/* A value that cannot be read may be of a type that has changed at the source. */
static void
read_rows_of_made_types(TapPgStream *stream, TapPgStreamTable *table, TapEvent *event)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		read_rows(stream, table, event);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		if (strcmp(stream->types_state, tap_pg_types_state(stream->session)) == 0)
			ReThrowError(edata);
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("types of the source have changed"),
				 errdetail("%s. The stream begins again with the types as they are now.", edata->message)));
	}
	PG_END_TRY();
}

void
tap_pg_stream_change(TapPgStream *stream, TapPgStreamTable *table, TapEvent *event)
{
	ErrorContextCallback callback;

	callback.callback = change_error_context;
	callback.arg = stream;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	if (stream->types_state != NULL)
		read_rows_of_made_types(stream, table, event);
	else
		read_rows(stream, table, event);
	error_context_stack = callback.previous;
}

/* ---------------------------------------------------------------------
 * A change without converting its values
 * ---------------------------------------------------------------------
 */

static void
append_tuple(StringInfo out, const TapPgStreamTable *table, const char *name,
			 const TapPgoutputTuple *tuple)
{
	bool		first = true;

	if (!tuple->present || tuple->ncolumns != table->ncolumns)
		return;
	appendStringInfo(out, ", \"%s\": {", name);
	for (int i = 0; i < tuple->ncolumns; i++)
	{
		const TapPgoutputValue *value = &tuple->values[i];

		if (value->kind == TAP_PGOUTPUT_UNCHANGED)
			continue;
		appendStringInfoString(out, first ? "" : ", ");
		first = false;
		tap_pg_append_json(out, table->columns[i].name, strlen(table->columns[i].name));
		appendStringInfoString(out, ": ");
		if (value->kind == TAP_PGOUTPUT_NULL)
			appendStringInfoString(out, "null");
		else
			tap_pg_append_json(out, value->data, (int) value->bytes);
	}
	appendStringInfoChar(out, '}');
}

char *
tap_pg_describe_event(TapSession *session)
{
	TapPgStream *stream = session->stream;
	const TapPgoutputMessage *message = &stream->message;
	const TapPgStreamTable *table = stream->last_table;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"op\": \"%s\"",
					 message->kind == TAP_PGOUTPUT_INSERT ? "insert" :
					 message->kind == TAP_PGOUTPUT_UPDATE ? "update" :
					 message->kind == TAP_PGOUTPUT_DELETE ? "delete" : "truncate");
	if (table != NULL &&
		(stream->buffer != NULL || stream->replay != NULL || stream->backlog != NULL))
	{
		append_tuple(&out, table, "before", &message->old_tuple);
		append_tuple(&out, table, "after", &message->new_tuple);
	}
	appendStringInfo(&out, ", \"commit_lsn\": \"%s\"}", tap_pg_lsn_text(stream->commit_lsn));
	return out.data;
}
