/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read.c
 *	  Formats debezium, avro and json_schema: messages to events.
 *
 * NOTES
 *	  The three differ in nothing but what they are called: a value that is
 *	  framed as the schema registry has it is read by its schema, Avro or JSON;
 *	  any other is JSON.  With Debezium's envelope it is a change, without it
 *	  a row.
 *
 *	  What a message says is made so whether or not the hub had it before
 *	  (TapEvent.lenient), but for an update that leaves out values which did
 *	  not change.  A tombstone deletes too: where a topic was compacted, it may
 *	  be all that is left of a delete.
 *
 *	  Columns are those of the newest schema, and those that were there before;
 *	  a type never becomes narrower.  When only the form of values changes
 *	  (milliseconds become microseconds), nothing does for the hub.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "kafka_types.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* TAP_KAFKA_UNAVAILABLE in base64 */
#define UNAVAILABLE_BASE64	"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="

typedef struct Rows
{
	TapKafkaDecoder decoder;	/* has to be first */
	MemoryContext format_context;	/* of all that follows */
	MemoryContext old_context;	/* of the format before, or NULL */
	TapRecordColumns *columns;
	TapRecordReader *reader;
	TupleTableSlot *new_slot;
	TupleTableSlot *old_slot;
	bool	   *new_present;
	bool	   *old_present;
	TapKafkaKeyReader *key_reader;	/* NULL: no key */
	TapKafkaMetadata *metadata;

	/* the schema that columns have last been made to agree with */
	const TapKafkaKnownSchema *known;	/* or NULL */
	char	   *schema_text;	/* or NULL */
	Size		schema_length;
} Rows;

/* ---------------------------------------------------------------------
 * The format of rows
 * ---------------------------------------------------------------------
 */

/* Make what reads rows of decoder.table; in format_context, which is current. */
static void
make_format(Rows *rows, const TapRecordColumns *columns)
{
	TapSourceTable *table = rows->decoder.table;
	int			natts = table->descriptor->natts;

	rows->columns = tap_kafka_copy_columns(columns, 0);
	rows->reader = tap_record_reader_make(rows->columns, table->descriptor);
	rows->new_slot = MakeSingleTupleTableSlot(table->descriptor, &TTSOpsVirtual);
	rows->old_slot = MakeSingleTupleTableSlot(table->descriptor, &TTSOpsVirtual);
	rows->new_present = palloc0(sizeof(bool) * natts);
	rows->old_present = palloc0(sizeof(bool) * natts);
	rows->key_reader = tap_kafka_key_reader_make(table, rows->columns);
	rows->metadata = tap_kafka_metadata_make(rows->columns, rows->reader);
}

static TapKafkaDecoder *
make(TapSession *session, const TapKafkaDecodeOptions *options, TapSourceTable *table)
{
	Rows	   *rows = palloc0(sizeof(Rows));
	MemoryContext context = CurrentMemoryContext;

	rows->decoder.session = session;
	rows->decoder.options = options;
	rows->decoder.context = context;
	rows->decoder.table = table;
	rows->format_context = AllocSetContextCreate(context, "kafka format", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(rows->format_context);
	make_format(rows, tap_kafka_definition_columns(table->definition));
	MemoryContextSwitchTo(context);
	return &rows->decoder;
}

/* Whether the topic had no message yet that told anything. */
static bool
is_blank(const Rows *rows)
{
	for (int i = 0; i < rows->columns->ncolumns; i++)
	{
		if (!tap_kafka_is_metadata(rows->columns->columns[i].field))
			return false;
	}
	return true;
}

/* Read rows of columns from now on; with a new table if that is another one. */
static void
switch_format(Rows *rows, const TapKafkaMessage *message, TapRecordColumns *columns,
			  bool is_new_table)
{
	TapSourceTable *table = rows->decoder.table;
	MemoryContext before;
	List	   *key = NIL;

	if (is_blank(rows))
		key = tap_kafka_first_key(rows->decoder.session, rows->decoder.options, message, &columns);

	if (rows->old_context != NULL)
		MemoryContextDelete(rows->old_context);
	rows->old_context = rows->format_context;
	rows->format_context = AllocSetContextCreate(rows->decoder.context, "kafka format",
												 ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(rows->format_context);
	for (int i = 0; i < table->nkeys; i++)
		key = lappend(key, pstrdup(rows->columns->columns[table->keys[i] - 1].name));
	if (is_new_table)
	{
		/* a table outlives the formats of its rows */
		MemoryContextSwitchTo(rows->decoder.context);
		rows->decoder.table = tap_kafka_define(rows->decoder.options, &table->name, columns, key, NULL);
		MemoryContextSwitchTo(rows->format_context);
	}
	make_format(rows, columns);
	MemoryContextSwitchTo(before);
}

static bool
is_known_schema(const Rows *rows, const TapKafkaReading *reading)
{
	const TapJsonValue *schema = &reading->envelope.schema;

	if (reading->known != NULL)
		return reading->known == rows->known;
	return schema->kind != TAP_JSON_OBJECT ||
		(rows->schema_text != NULL && rows->schema_length == schema->length &&
		 memcmp(rows->schema_text, schema->text, schema->length) == 0);
}

static void
remember_schema(Rows *rows, const TapKafkaReading *reading)
{
	const TapJsonValue *schema = &reading->envelope.schema;

	rows->known = reading->known;
	if (reading->known != NULL || schema->kind != TAP_JSON_OBJECT)
		return;
	if (rows->schema_text != NULL)
		pfree(rows->schema_text);
	rows->schema_text = MemoryContextAlloc(rows->decoder.context, schema->length);
	memcpy(rows->schema_text, schema->text, schema->length);
	rows->schema_length = schema->length;
}

/* Whether columns may come; raises an error if they must not. */
static bool
may_add(const Rows *rows, const char *field)
{
	switch (rows->decoder.options->unknown)
	{
		case TAP_KAFKA_UNKNOWN_ADD:
			return true;
		case TAP_KAFKA_UNKNOWN_IGNORE:
			return false;
		case TAP_KAFKA_UNKNOWN_STOP:
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("topic \"%s\" has a field \"%s\" that no column is for",
							rows->decoder.table->name.name, field),
					 errhint("Set the option \"on_unknown_field\" to add_column or ignore.")));
	}
	return false;
}

/* Leave out the columns that came beyond count. */
static void
leave_out(Rows *rows, TapRecordColumns *columns, int count)
{
	for (int i = count; i < columns->ncolumns; i++)
	{
		if (!may_add(rows, columns->columns[i].field))
		{
			columns->ncolumns = count;
			return;
		}
	}
}

/*
 * Follow the schema of a message, if it is not the one of the last.  Whether
 * the table is another one now.
 */
static bool
follow_schema(Rows *rows, const TapKafkaMessage *message, const TapKafkaReading *reading)
{
	TapRecordColumns *schema;
	TapRecordColumns *columns;
	int			count = rows->columns->ncolumns;
	bool		changed;

	if (is_known_schema(rows, reading))
		return false;
	schema = tap_kafka_row_columns(reading);
	if (schema != NULL)
	{
		columns = tap_kafka_copy_columns(rows->columns, schema->ncolumns);
		changed = tap_kafka_agree(columns, schema, tap_kafka_given_columns(rows->decoder.options));
		leave_out(rows, columns, count);
		if (changed && columns->ncolumns == count)
		{
			changed = false;
			for (int i = 0; i < count; i++)
				changed |= columns->columns[i].type != rows->columns->columns[i].type ||
					columns->columns[i].typmod != rows->columns->columns[i].typmod;
		}
		switch_format(rows, message, columns, changed);
		remember_schema(rows, reading);
		return changed;
	}
	remember_schema(rows, reading);
	return false;
}

/* The same for fields of a row without a schema. */
static bool
follow_fields(Rows *rows, const TapKafkaMessage *message, const TapJsonValue *object,
			  List *unknown)
{
	TapRecordColumns *columns;

	if (unknown == NIL || !may_add(rows, linitial(unknown)))
		return false;
	columns = tap_kafka_infer_more(rows->columns, object);
	if (columns->ncolumns == rows->columns->ncolumns)
		return false;
	switch_format(rows, message, columns, true);
	return true;
}

/* ---------------------------------------------------------------------
 * Events
 * ---------------------------------------------------------------------
 */

static TapEventKind
schema_event(Rows *rows, TapEvent *event, bool *more)
{
	event->table = rows->decoder.table;
	event->schema = TAP_SCHEMA_ALTERED;
	*more = true;
	return TAP_EVENT_SCHEMA;
}

static bool
is_unavailable(const TapJsonValue *value)
{
	const char *text = value->text;
	Size		length = value->length;

	if (value->kind == TAP_JSON_LIST && length == strlen(TAP_KAFKA_UNAVAILABLE) + 4)
		return memcmp(text + 2, TAP_KAFKA_UNAVAILABLE, strlen(TAP_KAFKA_UNAVAILABLE)) == 0;
	if (value->kind == TAP_JSON_LIST && length == strlen(UNAVAILABLE_BASE64) + 4)
		return memcmp(text + 2, UNAVAILABLE_BASE64, strlen(UNAVAILABLE_BASE64)) == 0;
	return value->kind == TAP_JSON_STRING &&
		(tap_json_is(value, TAP_KAFKA_UNAVAILABLE, strlen(TAP_KAFKA_UNAVAILABLE)) ||
		 tap_json_is(value, UNAVAILABLE_BASE64, strlen(UNAVAILABLE_BASE64)));
}

/*
 * Leave fields out of a row whose values did not change; present says which.
 * Whether there are any.
 */
static bool
drop_unavailable(Rows *rows, TapJsonValue *row, bool *present)
{
	StringInfoData text;
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;
	bool		found = false;

	if (memmem(row->text, row->length, TAP_KAFKA_UNAVAILABLE, strlen(TAP_KAFKA_UNAVAILABLE)) == NULL &&
		memmem(row->text, row->length, UNAVAILABLE_BASE64, strlen(UNAVAILABLE_BASE64)) == NULL)
		return false;
	memset(present, true, sizeof(bool) * rows->columns->ncolumns);
	initStringInfo(&text);
	tap_json_scan_begin(&scan, row->text, row->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name))
	{
		const char *begin = name.text - 1;
		TapRecordColumn *column;

		if (!tap_json_scan_value(&scan, &value))
			break;
		if (is_unavailable(&value))
		{
			Size		length;
			const char *field = tap_json_unescape(&name, &length);

			column = tap_kafka_find_field(rows->columns, pnstrdup(field, length));
			if (column != NULL)
				present[column - rows->columns->columns] = false;
			found = true;
			continue;
		}
		appendStringInfoChar(&text, text.len == 0 ? '{' : ',');
		appendBinaryStringInfo(&text, begin, scan.next - begin);
	}
	appendStringInfoString(&text, text.len == 0 ? "{}" : "}");
	row->text = text.data;
	row->length = text.len;
	return found;
}

static bool
has_whole_key(const Rows *rows, const TupleTableSlot *slot)
{
	const TapSourceTable *table = rows->decoder.table;

	for (int i = 0; i < table->nkeys; i++)
	{
		if (slot->tts_isnull[table->keys[i] - 1])
			return false;
	}
	return true;
}

/* Fill key columns that a row has no value for from the message's key. */
static void
complete_key(Rows *rows, const TapKafkaMessage *message, TupleTableSlot *slot)
{
	TapKafkaMessage plain;
	TapKafkaReading reading;

	if (rows->key_reader == NULL || message->key == NULL || has_whole_key(rows, slot))
		return;
	plain = tap_kafka_plain_key(rows->decoder.session, message, &reading);
	tap_kafka_read_key(rows->key_reader, &plain, slot, rows->old_present);
}

/* A row for what is written; its unknown fields, unless a schema tells of them. */
static List *
read_row(Rows *rows, const TapKafkaMessage *message, const TapKafkaReading *reading,
		 const TapJsonValue *row, TupleTableSlot *slot)
{
	bool		has_schema = reading->known != NULL || reading->envelope.schema.kind == TAP_JSON_OBJECT;
	List	   *unknown = NIL;

	ExecClearTuple(slot);
	tap_record_read_json(rows->reader, row->text, row->length, slot, NULL,
						 has_schema ? NULL : &unknown);
	complete_key(rows, message, slot);
	tap_kafka_fill_metadata(rows->metadata, message, slot);
	return unknown;
}

static void
read_old_row(Rows *rows, const TapKafkaMessage *message, const TapKafkaReading *reading,
			 const TapJsonValue *row)
{
	TapJsonValue known = *row;

	(void) drop_unavailable(rows, &known, rows->old_present);
	(void) read_row(rows, message, reading, &known, rows->old_slot);
}

/* A delete by the key that the row or the message has. */
static TapEventKind
delete_event(Rows *rows, const TapKafkaMessage *message, const TapKafkaReading *reading,
			 TapEvent *event)
{
	const TapSourceTable *table = rows->decoder.table;
	const TapJsonValue *row = NULL;

	if (rows->decoder.options->append)
		return TAP_EVENT_NONE;
	if (reading != NULL)
		row = reading->envelope.op != '\0' ? &reading->envelope.before : &reading->envelope.after;
	ExecClearTuple(rows->old_slot);
	memset(rows->old_slot->tts_isnull, true, sizeof(bool) * table->descriptor->natts);
	if (row != NULL && row->kind == TAP_JSON_OBJECT)
		read_old_row(rows, message, reading, row);
	else if (table->nkeys == 0)
	{
		/* a tombstone of a table without a key says nothing; a delete does */
		if (reading != NULL && reading->envelope.op == 'd')
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a delete does not say which row it is of"),
					 errhint("Give the option \"key\", or have the producer write whole rows before their deletes.")));
		return TAP_EVENT_NONE;
	}
	else
	{
		complete_key(rows, message, rows->old_slot);
		if (TTS_EMPTY(rows->old_slot))
			ExecStoreVirtualTuple(rows->old_slot);
	}
	if (!has_whole_key(rows, rows->old_slot))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a delete does not say the key of its row")));
	event->change = TAP_CHANGE_DELETE;
	event->table = rows->decoder.table;
	event->old_row.slot = rows->old_slot;
	event->lenient = table->nkeys > 0;
	if (table->nkeys > 0)
	{
		memset(rows->old_present, false, sizeof(bool) * table->descriptor->natts);
		for (int i = 0; i < table->nkeys; i++)
			rows->old_present[table->keys[i] - 1] = true;
		event->old_row.present = rows->old_present;
	}
	return TAP_EVENT_CHANGE;
}

/* DDL of the source is told of; what it does to rows comes with their schemas. */
static TapEventKind
tell_of_ddl(Rows *rows, const TapKafkaReading *reading)
{
	Size		length;
	const char *text = tap_json_unescape(&reading->envelope.statement, &length);

	tap_kafka_core->event("schema changed", &rows->decoder.table->name,
						  pnstrdup(text, pg_mbcliplen(text, length, 1000)));
	return TAP_EVENT_NONE;
}

static TapEventKind
truncate_event(Rows *rows, TapEvent *event)
{
	if (rows->decoder.options->append)
		return TAP_EVENT_NONE;
	event->change = TAP_CHANGE_TRUNCATE;
	event->table = rows->decoder.table;
	return TAP_EVENT_CHANGE;
}

/* An update of a table without a key needs the whole row before it. */
static void
set_old_row(Rows *rows, const TapKafkaMessage *message, const TapKafkaReading *reading,
			TapEvent *event)
{
	if (reading->envelope.before.kind != TAP_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("an update does not say which row it is of"),
				 errhint("Give the option \"key\", or have the producer write whole rows before their updates.")));
	read_old_row(rows, message, reading, &reading->envelope.before);
	event->old_row.slot = rows->old_slot;
}

static TapEventKind
write_event(Rows *rows, const TapKafkaMessage *message, TapKafkaReading *reading,
			TapEvent *event, bool *more)
{
	bool		append = rows->decoder.options->append;
	bool		has_key = rows->decoder.table->nkeys > 0;
	TapJsonValue row = reading->envelope.after;
	bool		partial = drop_unavailable(rows, &row, rows->new_present);
	List	   *unknown = read_row(rows, message, reading, &row, rows->new_slot);

	if (follow_fields(rows, message, &row, unknown))
		return schema_event(rows, event, more);
	event->change = (reading->envelope.op == 'u' || partial) && !append ? TAP_CHANGE_UPDATE :
		TAP_CHANGE_INSERT;
	event->table = rows->decoder.table;
	event->new_row.slot = rows->new_slot;
	event->new_row.present = partial && !append ? rows->new_present : NULL;
	event->lenient = has_key && !append && !partial;
	if (event->change == TAP_CHANGE_UPDATE && !has_key)
		set_old_row(rows, message, reading, event);
	return TAP_EVENT_CHANGE;
}

static TapEventKind
decode(TapKafkaDecoder *decoder, const TapKafkaMessage *message, int step,
	   TapEvent *event, bool *more)
{
	Rows	   *rows = (Rows *) decoder;
	TapKafkaReading reading;

	*more = false;
	memset(&reading, 0, sizeof(reading));
	if (message->value == NULL)
		return delete_event(rows, message, NULL, event);
	tap_kafka_read_value(decoder->session, message, &reading);
	if (reading.envelope.payload.kind == TAP_JSON_NULL)
		return delete_event(rows, message, NULL, event);
	if (reading.envelope.op == 's')
		return tell_of_ddl(rows, &reading);
	if (follow_schema(rows, message, &reading))
		return schema_event(rows, event, more);
	switch (reading.envelope.op)
	{
		case 'd':
			return delete_event(rows, message, &reading, event);
		case 't':
			return truncate_event(rows, event);
		case 'm':
			return TAP_EVENT_NONE;
		default:
			if (reading.envelope.deleted)
				return delete_event(rows, message, &reading, event);
			return write_event(rows, message, &reading, event, more);
	}
}

const TapKafkaDecoding tap_kafka_decoding_debezium = {"debezium", tap_kafka_read_describe, make, decode};
const TapKafkaDecoding tap_kafka_decoding_avro = {"avro", tap_kafka_read_describe, make, decode};
const TapKafkaDecoding tap_kafka_decoding_json_schema = {"json_schema", tap_kafka_read_describe, make, decode};
