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
#include "kafka_avro_read.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* What stands for a value that did not change, and the same in base64. */
#define UNAVAILABLE			"__debezium_unavailable_value"
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

/* A value or key as JSON. */
typedef struct Reading
{
	const char *text;
	Size		length;
	const TapKafkaKnownSchema *known;	/* NULL: it was not framed */
	TapKafkaEnvelope envelope;
} Reading;

/* ---------------------------------------------------------------------
 * Messages as JSON
 * ---------------------------------------------------------------------
 */

static void
read_text(TapSession *session, const char *bytes, Size length, Reading *reading)
{
	reading->known = NULL;
	if (length > 0 && bytes[0] == '\0')
	{
		TapKafkaKnownSchema *known = tap_kafka_framed_schema(session, &bytes, &length);

		reading->known = known;
		if (known->avro != NULL)
			bytes = tap_avro_to_json(known->avro, bytes, &length);
	}
	reading->text = tap_record_to_server(bytes, &length, PG_UTF8);
	reading->length = length;
}

static void
read_value(TapSession *session, const TapKafkaMessage *message, Reading *reading)
{
	read_text(session, message->value, message->value_bytes, reading);
	tap_kafka_read_envelope(reading->text, reading->length, &reading->envelope);
}

/* The message with what its key is without framing and schema. */
static TapKafkaMessage
with_plain_key(TapSession *session, const TapKafkaMessage *message, Reading *reading)
{
	TapKafkaMessage result = *message;

	memset(&reading->envelope, 0, sizeof(TapKafkaEnvelope));
	if (message->key == NULL)
		return result;
	read_text(session, message->key, message->key_bytes, reading);
	tap_kafka_read_key_payload(reading->text, reading->length, &reading->envelope);
	result.key = reading->text;
	result.key_bytes = reading->length;
	if (reading->envelope.payload.kind != TAP_JSON_NULL)
	{
		result.key = reading->envelope.payload.text;
		result.key_bytes = reading->envelope.payload.length;
	}
	return result;
}

/* The columns that the schema of a value says; NULL: it brought none. */
static TapRecordColumns *
columns_of(const Reading *reading, const char *field)
{
	if (reading->known != NULL && reading->known->avro != NULL)
		return tap_kafka_avro_columns(reading->known->avro, field);
	if (reading->known != NULL)
	{
		TapJsonValue schema = {TAP_JSON_OBJECT, false, false, reading->known->text,
		strlen(reading->known->text)};

		return tap_kafka_json_schema_columns(&schema, field);
	}
	if (reading->envelope.schema.kind == TAP_JSON_OBJECT)
		return tap_kafka_connect_columns(&reading->envelope.schema, field);
	return NULL;
}

static TapRecordColumns *
row_columns(const Reading *reading)
{
	return columns_of(reading, reading->envelope.op != '\0' ? "after" : NULL);
}

/* ---------------------------------------------------------------------
 * Columns that agree with a schema
 * ---------------------------------------------------------------------
 */

static TapRecordColumns *
copy_columns(const TapRecordColumns *columns, int room)
{
	TapRecordColumns *result = palloc(sizeof(TapRecordColumns));

	result->ncolumns = columns != NULL ? columns->ncolumns : 0;
	result->columns = palloc0(sizeof(TapRecordColumn) * (result->ncolumns + room + 1));
	for (int i = 0; i < result->ncolumns; i++)
	{
		result->columns[i] = columns->columns[i];
		result->columns[i].name = pstrdup(columns->columns[i].name);
		result->columns[i].field = pstrdup(columns->columns[i].field);
	}
	return result;
}

static TapRecordColumn *
find_field(const TapRecordColumns *columns, const char *field)
{
	for (int i = 0; columns != NULL && i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].field, field) == 0)
			return &columns->columns[i];
	}
	return NULL;
}

static int
number_rank(Oid type)
{
	switch (type)
	{
		case INT2OID:
			return 1;
		case INT4OID:
			return 2;
		case INT8OID:
			return 3;
		case NUMERICOID:
			return 4;
		default:
			return 0;
	}
}

/* Whether values of the one type fit the other as well. */
static bool
is_wide_enough(const TapRecordColumn *column, const TapRecordColumn *value)
{
	if (column->type != value->type)
		return column->type == TEXTOID ||
			(column->typmod == -1 && number_rank(value->type) > 0 &&
			 number_rank(column->type) >= number_rank(value->type)) ||
			(column->type == FLOAT8OID && value->type == FLOAT4OID);
	if (column->typmod == -1 || column->typmod == value->typmod)
		return true;
	if (column->type == NUMERICOID && value->typmod != -1)
	{
		int			digits = ((column->typmod - VARHDRSZ) >> 16) - column->scale;

		return column->scale >= value->scale &&
			digits >= ((value->typmod - VARHDRSZ) >> 16) - value->scale;
	}
	return false;
}

/* Values are in the schema's form if it is one of the column's type. */
static void
set_form(TapRecordColumn *column, const TapRecordColumn *value)
{
	column->form = column->type == value->type ? value->form : TAP_RECORD_PLAIN;
	column->scale = column->type == value->type ? value->scale : 0;
}

/*
 * Add to columns what a schema has more, and widen types; given (NULL: none)
 * keep theirs.  Whether the table is another one by that.
 */
static bool
agree(TapRecordColumns *columns, const TapRecordColumns *schema,
	  const TapRecordColumns *given)
{
	bool		changed = false;

	for (int i = 0; i < schema->ncolumns; i++)
	{
		const TapRecordColumn *new = &schema->columns[i];
		TapRecordColumn *column = find_field(columns, new->field);

		if (column == NULL)
		{
			column = &columns->columns[columns->ncolumns];
			*column = *new;
			column->field = pstrdup(new->field);
			column->name = tap_record_column_name(columns, new->field);
			columns->ncolumns++;
			changed = true;
			continue;
		}
		if (find_field(given, new->field) != NULL)
		{
			set_form(column, new);
			continue;
		}
		if (!is_wide_enough(column, new))
		{
			column->type = new->type;
			column->typmod = new->typmod;
			changed = true;
		}
		set_form(column, new);
	}
	return changed;
}

/* The columns that the option "columns" gives; NULL: none. */
static TapRecordColumns *
given_columns(const TapKafkaDecodeOptions *options)
{
	return options->columns != NULL ? tap_record_columns_given(options->columns) : NULL;
}

static bool
is_null_field(const TapJsonValue *object, const char *field)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;
	bool		result = false;

	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		Size		length;
		const char *text = tap_json_unescape(&name, &length);

		if (length == strlen(field) && memcmp(text, field, length) == 0)
			result = value.kind == TAP_JSON_NULL;
	}
	return result;
}

/*
 * Columns for the fields of an object that no column has, as far as they have
 * a value that tells a type.
 */
static TapRecordColumns *
infer_more(const TapRecordColumns *columns, const TapJsonValue *object)
{
	TapRecordSample *sample = tap_record_sample_begin();
	TapRecordColumns *all;
	TapRecordColumns *result = copy_columns(columns, 0);

	tap_record_sample_json(sample, object->text, object->length);
	all = tap_record_sample_end(sample, columns);
	result->columns = repalloc(result->columns, sizeof(TapRecordColumn) * (all->ncolumns + 1));
	for (int i = columns->ncolumns; i < all->ncolumns; i++)
	{
		if (!is_null_field(object, all->columns[i].field))
			result->columns[result->ncolumns++] = all->columns[i];
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Describe a topic
 * ---------------------------------------------------------------------
 */

/* What was learned of a topic. */
typedef struct Learned
{
	TapRecordColumns *given;
	TapRecordColumns *columns;	/* by schemas; NULL: none yet */
	TapRecordSample *sample;	/* of rows without */
	bool		sampled;
	List	   *key;			/* of char *: fields */
	TapRecordColumns *key_columns;
} Learned;

static void
learn_rows(Learned *learned, const Reading *value)
{
	const TapKafkaEnvelope *envelope = &value->envelope;
	TapRecordColumns *schema = row_columns(value);

	if (schema != NULL)
	{
		learned->columns = copy_columns(learned->columns ? learned->columns : learned->given,
										schema->ncolumns);
		(void) agree(learned->columns, schema, learned->given);
		return;
	}
	if (envelope->before.kind == TAP_JSON_OBJECT)
		tap_record_sample_json(learned->sample, envelope->before.text, envelope->before.length);
	if (envelope->after.kind == TAP_JSON_OBJECT)
		tap_record_sample_json(learned->sample, envelope->after.text, envelope->after.length);
	learned->sampled |= envelope->before.kind == TAP_JSON_OBJECT || envelope->after.kind == TAP_JSON_OBJECT;
}

/* The names of the key's fields, and their types. */
static void
learn_key(Learned *learned, const Reading *key)
{
	const TapJsonValue *payload = &key->envelope.payload;
	TapRecordSample *sample;
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	if (payload->kind != TAP_JSON_OBJECT)
		return;
	learned->key = NIL;
	tap_json_scan_begin(&scan, payload->text, payload->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		Size		length;
		const char *text = tap_json_unescape(&name, &length);

		learned->key = lappend(learned->key, pnstrdup(text, length));
	}
	learned->key_columns = columns_of(key, NULL);
	if (learned->key_columns != NULL)
		return;
	sample = tap_record_sample_begin();
	tap_record_sample_json(sample, payload->text, payload->length);
	learned->key_columns = tap_record_sample_end(sample, NULL);
}

/* Messages that cannot be read are passed over; other errors are raised. */
static void
learn_message(TapSession *session, Learned *learned, const TapKafkaMessage *message)
{
	MemoryContext context = CurrentMemoryContext;
	Reading		reading;

	PG_TRY();
	{
		(void) with_plain_key(session, message, &reading);
		learn_key(learned, &reading);
		if (message->value != NULL)
		{
			read_value(session, message, &reading);
			learn_rows(learned, &reading);
		}
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
}

/* The columns of key fields; NIL if one of them is not there. */
static List *
key_columns(const TapRecordColumns *columns, List *fields)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, fields)
	{
		TapRecordColumn *column = find_field(columns, lfirst(cell));

		if (column == NULL)
			return NIL;
		names = lappend(names, column->name);
	}
	return names;
}

static TapSourceTable *
describe(TapSession *session, const TapKafkaDecodeOptions *options,
		 const TapTableName *name, const TapKafkaMessage *messages, int nmessages)
{
	Learned		learned = {given_columns(options), NULL, tap_record_sample_begin(), false, NIL, NULL};
	TapRecordColumns *columns;
	List	   *key = tap_kafka_key_names(options, name->name);

	for (int i = 0; i < nmessages; i++)
		learn_message(session, &learned, &messages[i]);
	if (learned.columns != NULL)
		columns = learned.columns;
	else if (learned.sampled || learned.given != NULL)
		columns = tap_record_sample_end(learned.sample, learned.given);
	else
	{
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no message of topic \"%s\" tells its columns", name->name),
				 errhint("Give them with the option \"columns\", or write a message first.")));
		return NULL;
	}
	if (learned.key_columns != NULL && key == NIL && !options->append)
	{
		columns = copy_columns(columns, learned.key_columns->ncolumns);
		(void) agree(columns, learned.key_columns, columns);
	}
	if (key == NIL)
		key = key_columns(columns, learned.key);
	columns = tap_kafka_add_metadata(options, columns, key);
	return tap_kafka_define(options, name, columns, key, NULL);
}

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

	rows->columns = copy_columns(columns, 0);
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

/* Read rows of columns from now on; with a new table if that is another one. */
static void
switch_format(Rows *rows, const TapRecordColumns *columns, bool is_new_table)
{
	TapSourceTable *table = rows->decoder.table;
	MemoryContext before;
	List	   *key = NIL;

	if (rows->old_context != NULL)
		MemoryContextDelete(rows->old_context);
	rows->old_context = rows->format_context;
	rows->format_context = AllocSetContextCreate(rows->decoder.context, "kafka format",
												 ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(rows->format_context);
	for (int i = 0; i < table->nkeys; i++)
		key = lappend(key, pstrdup(rows->columns->columns[table->keys[i] - 1].name));
	if (is_new_table)
		rows->decoder.table = tap_kafka_define(rows->decoder.options, &table->name, columns, key, NULL);
	make_format(rows, columns);
	MemoryContextSwitchTo(before);
}

static bool
is_known_schema(const Rows *rows, const Reading *reading)
{
	const TapJsonValue *schema = &reading->envelope.schema;

	if (reading->known != NULL)
		return reading->known == rows->known;
	return schema->kind != TAP_JSON_OBJECT ||
		(rows->schema_text != NULL && rows->schema_length == schema->length &&
		 memcmp(rows->schema_text, schema->text, schema->length) == 0);
}

static void
remember_schema(Rows *rows, const Reading *reading)
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
follow_schema(Rows *rows, const Reading *reading)
{
	TapRecordColumns *schema;
	TapRecordColumns *columns;
	int			count = rows->columns->ncolumns;
	bool		changed;

	if (is_known_schema(rows, reading))
		return false;
	schema = row_columns(reading);
	if (schema != NULL)
	{
		columns = copy_columns(rows->columns, schema->ncolumns);
		changed = agree(columns, schema, given_columns(rows->decoder.options));
		leave_out(rows, columns, count);
		if (changed && columns->ncolumns == count)
		{
			changed = false;
			for (int i = 0; i < count; i++)
				changed |= columns->columns[i].type != rows->columns->columns[i].type ||
					columns->columns[i].typmod != rows->columns->columns[i].typmod;
		}
		switch_format(rows, columns, changed);
		remember_schema(rows, reading);
		return changed;
	}
	remember_schema(rows, reading);
	return false;
}

/* The same for fields of a row without a schema. */
static bool
follow_fields(Rows *rows, const TapJsonValue *object, List *unknown)
{
	TapRecordColumns *columns;

	if (unknown == NIL || !may_add(rows, linitial(unknown)))
		return false;
	columns = infer_more(rows->columns, object);
	if (columns->ncolumns == rows->columns->ncolumns)
		return false;
	switch_format(rows, columns, true);
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

	if (value->kind == TAP_JSON_LIST && length == strlen(UNAVAILABLE) + 4)
		return memcmp(text + 2, UNAVAILABLE, strlen(UNAVAILABLE)) == 0;
	if (value->kind == TAP_JSON_LIST && length == strlen(UNAVAILABLE_BASE64) + 4)
		return memcmp(text + 2, UNAVAILABLE_BASE64, strlen(UNAVAILABLE_BASE64)) == 0;
	return value->kind == TAP_JSON_STRING &&
		(tap_json_is(value, UNAVAILABLE, strlen(UNAVAILABLE)) ||
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

	if (memmem(row->text, row->length, UNAVAILABLE, strlen(UNAVAILABLE)) == NULL &&
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

			column = find_field(rows->columns, pnstrdup(field, length));
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
	Reading		reading;

	if (rows->key_reader == NULL || message->key == NULL || has_whole_key(rows, slot))
		return;
	plain = with_plain_key(rows->decoder.session, message, &reading);
	tap_kafka_read_key(rows->key_reader, &plain, slot, rows->old_present);
}

/* A row for what is written; its unknown fields, unless a schema tells of them. */
static List *
read_row(Rows *rows, const TapKafkaMessage *message, const Reading *reading,
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
read_old_row(Rows *rows, const TapKafkaMessage *message, const Reading *reading,
			 const TapJsonValue *row)
{
	TapJsonValue known = *row;

	(void) drop_unavailable(rows, &known, rows->old_present);
	(void) read_row(rows, message, reading, &known, rows->old_slot);
}

/* A delete by the key that the row or the message has. */
static TapEventKind
delete_event(Rows *rows, const TapKafkaMessage *message, const Reading *reading,
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
		return TAP_EVENT_NONE;
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
set_old_row(Rows *rows, const TapKafkaMessage *message, const Reading *reading,
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
write_event(Rows *rows, const TapKafkaMessage *message, Reading *reading,
			TapEvent *event, bool *more)
{
	bool		append = rows->decoder.options->append;
	bool		has_key = rows->decoder.table->nkeys > 0;
	TapJsonValue row = reading->envelope.after;
	bool		partial = drop_unavailable(rows, &row, rows->new_present);
	List	   *unknown = read_row(rows, message, reading, &row, rows->new_slot);

	if (follow_fields(rows, &row, unknown))
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
	Reading		reading;

	*more = false;
	memset(&reading, 0, sizeof(reading));
	if (message->value == NULL)
		return delete_event(rows, message, NULL, event);
	read_value(decoder->session, message, &reading);
	if (reading.envelope.payload.kind == TAP_JSON_NULL)
		return delete_event(rows, message, NULL, event);
	if (follow_schema(rows, &reading))
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

const TapKafkaDecoding tap_kafka_decoding_debezium = {"debezium", describe, make, decode};
const TapKafkaDecoding tap_kafka_decoding_avro = {"avro", describe, make, decode};
const TapKafkaDecoding tap_kafka_decoding_json_schema = {"json_schema", describe, make, decode};
