/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_decode_record.c
 *	  Formats json, csv and raw: a message is a row, or several lines of rows.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_decode.h"

#include "access/htup_details.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* What depends on the format of rows; in a context of its own. */
typedef struct RecordFormat
{
	MemoryContext context;
	TapRecordColumns *columns;
	TapRecordReader *reader;
	TapKafkaMetadata *metadata;
	TapKafkaKeyReader *key;		/* NULL: rows are only added */
	TupleTableSlot *slot;
	bool	   *present;		/* natts */
	int			nplaces;		/* csv: fields that have a name */
	AttrNumber *places;			/* their columns, or 0 */
} RecordFormat;

typedef struct RecordDecoder
{
	TapKafkaDecoder base;
	RecordFormat *format;
	RecordFormat *old_format;	/* to be freed at the next call; or NULL */
	TapCsv	   *csv;
	const char *text;			/* csv: of the message at hand */
	Size		length;
	Size		at;
	StringInfoData converted;	/* text, where the encoding is another */
} RecordDecoder;

/* ---------------------------------------------------------------------
 * Making one
 * ---------------------------------------------------------------------
 */

static AttrNumber
find_field(const TapRecordColumns *columns, const char *field)
{
	for (int i = 0; i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].field, field) == 0)
			return i + 1;
	}
	return 0;
}

/* Lines of CSV are fields by place: their names are given, or made. */
static void
find_places(RecordFormat *format, const TapKafkaDecodeOptions *options)
{
	List	   *names = options->fields ? tap_kafka_json_names(options->fields) : NIL;

	format->nplaces = names != NIL ? list_length(names) : format->columns->ncolumns;
	format->places = palloc0(sizeof(AttrNumber) * (format->nplaces + 1));
	for (int i = 0; i < format->nplaces; i++)
		format->places[i] = find_field(format->columns,
									   names ? list_nth(names, i) : tap_kafka_csv_name(i));
	while (names == NIL && format->nplaces > 0 && format->places[format->nplaces - 1] == 0)
		format->nplaces--;
}

/* table lives in context, which is the format's. */
static RecordFormat *
make_format(RecordDecoder *decoder, TapSourceTable *table, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	RecordFormat *format = palloc0(sizeof(RecordFormat));

	format->context = context;
	format->columns = tap_kafka_definition_columns(table->definition);
	format->reader = tap_record_reader_make(format->columns, table->descriptor);
	format->metadata = tap_kafka_metadata_make(format->columns, format->reader);
	format->key = tap_kafka_key_reader_make(table, format->columns);
	format->slot = MakeSingleTupleTableSlot(table->descriptor, &TTSOpsVirtual);
	format->present = palloc0(sizeof(bool) * Max(table->descriptor->natts, 1));
	if (decoder->csv != NULL)
		find_places(format, decoder->base.options);
	MemoryContextSwitchTo(before);
	return format;
}

static TapKafkaDecoder *
make_decoder(TapSession *session, const TapKafkaDecodeOptions *options, TapSourceTable *table)
{
	RecordDecoder *decoder = palloc0(sizeof(RecordDecoder));

	decoder->base.options = options;
	if (options->decoding == &tap_kafka_decoding_csv)
	{
		decoder->csv = tap_csv_make(&options->dialect);
		initStringInfo(&decoder->converted);
	}
	decoder->format = make_format(decoder, table,
								  AllocSetContextCreate(CurrentMemoryContext,
														"tapdata kafka format",
														ALLOCSET_DEFAULT_SIZES));
	return &decoder->base;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

/* Columns of the key that the value lacks are looked for in the key. */
static void
complete_key(RecordFormat *format, const TapSourceTable *table, const TapKafkaMessage *message)
{
	for (int i = 0; i < table->nkeys; i++)
	{
		AttrNumber	column = table->keys[i];

		if (format->present[column - 1] ||
			tap_kafka_is_metadata(format->columns->columns[column - 1].field))
			continue;
		tap_kafka_read_key(format->key, message, format->slot, format->present);
		return;
	}
}

static TapEventKind
emit_row(RecordDecoder *decoder, const TapKafkaMessage *message, TapEvent *event)
{
	RecordFormat *format = decoder->format;

	tap_kafka_fill_metadata(format->metadata, message, format->slot);
	event->table = decoder->base.table;
	event->change = TAP_CHANGE_INSERT;
	event->new_row.slot = format->slot;
	event->lenient = format->key != NULL;
	return TAP_EVENT_CHANGE;
}

static void
store_nulls(TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	ExecStoreVirtualTuple(slot);
}

/* A message without a value deletes the row of its key. */
static TapEventKind
emit_delete(RecordDecoder *decoder, const TapKafkaMessage *message, TapEvent *event)
{
	RecordFormat *format = decoder->format;
	const TapSourceTable *table = decoder->base.table;

	if (format->key == NULL)
		return TAP_EVENT_NONE;
	store_nulls(format->slot);
	memset(format->present, false, sizeof(bool) * table->descriptor->natts);
	tap_kafka_read_key(format->key, message, format->slot, format->present);
	tap_kafka_fill_metadata(format->metadata, message, format->slot);
	for (int i = 0; i < table->nkeys; i++)
		format->present[table->keys[i] - 1] = true;
	event->table = decoder->base.table;
	event->change = TAP_CHANGE_DELETE;
	event->old_row.slot = format->slot;
	event->old_row.present = format->present;
	event->lenient = true;
	return TAP_EVENT_CHANGE;
}

static void
forget_old_format(RecordDecoder *decoder)
{
	if (decoder->old_format == NULL)
		return;
	ExecDropSingleTupleTableSlot(decoder->old_format->slot);
	MemoryContextDelete(decoder->old_format->context);
	decoder->old_format = NULL;
}

/* ---------------------------------------------------------------------
 * JSON
 * ---------------------------------------------------------------------
 */

static void
report_unknown_field(const char *field, const TapKafkaMessage *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a message has a field that is not a column: \"%s\"", field),
			 errdetail("It is at offset " INT64_FORMAT " of partition %d of topic \"%s\".",
					   message->offset, message->partition, message->topic),
			 errhint("Set the option \"on_unknown_field\" to add_column or ignore by tapdata.alter_pipeline(), then start the pipeline.")));
}

/* Add columns for fields of the object; false: there are none to be added. */
static bool
grow(RecordDecoder *decoder, const char *text, Size length, TapEvent *event)
{
	TapRecordSample *sample = tap_record_sample_begin();
	TapRecordColumns *columns;
	TapSourceTable *table = decoder->base.table;
	MemoryContext context;
	MemoryContext before;

	tap_record_sample_json(sample, text, length);
	columns = tap_record_sample_end(sample, decoder->format->columns);
	if (columns->ncolumns > MaxHeapAttributeNumber)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("a message has so many new fields that the table would have %d columns",
						columns->ncolumns),
				 errhint("Set the option \"on_unknown_field\" to ignore.")));
	if (columns->ncolumns == decoder->format->columns->ncolumns)
		return false;
	context = AllocSetContextCreate(decoder->base.context, "tapdata kafka format",
									ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	table = tap_kafka_define(decoder->base.options, &table->name, columns,
							 tap_kafka_definition_key(table->definition), NULL);
	MemoryContextSwitchTo(before);
	decoder->old_format = decoder->format;
	decoder->format = make_format(decoder, table, context);
	decoder->base.table = table;
	event->table = table;
	event->schema = TAP_SCHEMA_ALTERED;
	return true;
}

static TapEventKind
decode_json(TapKafkaDecoder *base, const TapKafkaMessage *message, int step, TapEvent *event,
			bool *more)
{
	RecordDecoder *decoder = (RecordDecoder *) base;
	RecordFormat *format = decoder->format;
	TapKafkaUnknownField policy = base->options->unknown;
	Size		length = message->value_bytes;
	List	   *unknown = NIL;
	const char *text;

	forget_old_format(decoder);
	if (message->value == NULL)
		return emit_delete(decoder, message, event);
	text = tap_record_to_server(message->value, &length, PG_UTF8);
	ExecClearTuple(format->slot);
	tap_record_read_json(format->reader, text, length, format->slot,
						 format->key ? format->present : NULL,
						 policy == TAP_KAFKA_UNKNOWN_IGNORE || step > 0 ? NULL : &unknown);
	if (unknown != NIL && policy == TAP_KAFKA_UNKNOWN_STOP)
		report_unknown_field(linitial(unknown), message);
	if (unknown != NIL && grow(decoder, text, length, event))
	{
		*more = true;
		return TAP_EVENT_SCHEMA;
	}
	if (format->key != NULL)
		complete_key(format, base->table, message);
	return emit_row(decoder, message, event);
}

/* ---------------------------------------------------------------------
 * CSV
 * ---------------------------------------------------------------------
 */

static void
take_text(RecordDecoder *decoder, const TapKafkaMessage *message)
{
	decoder->at = 0;
	decoder->length = message->value_bytes;
	decoder->text = tap_record_to_server(message->value, &decoder->length, PG_UTF8);
	if (decoder->text == message->value)
		return;
	resetStringInfo(&decoder->converted);
	appendBinaryStringInfo(&decoder->converted, decoder->text, decoder->length);
	decoder->text = decoder->converted.data;
}

/* The next line that is not empty; false: there is none. */
static bool
next_line(RecordDecoder *decoder)
{
	TapCsvResult result;

	do
	{
		Size		taken;

		result = tap_csv_next(decoder->csv, decoder->text + decoder->at,
							  decoder->length - decoder->at, true, MaxAllocSize, &taken);
		decoder->at += taken;
	} while (result == TAP_CSV_EMPTY);
	return result == TAP_CSV_RECORD;
}

static TapEventKind
decode_csv(TapKafkaDecoder *base, const TapKafkaMessage *message, int step, TapEvent *event,
		   bool *more)
{
	RecordDecoder *decoder = (RecordDecoder *) base;
	RecordFormat *format = decoder->format;
	TapCsv	   *csv = decoder->csv;

	if (message->value == NULL)
		return emit_delete(decoder, message, event);
	if (step == 0)
		take_text(decoder, message);
	if (!next_line(decoder))
		return TAP_EVENT_NONE;
	if (csv->nfields > format->nplaces && base->options->unknown != TAP_KAFKA_UNKNOWN_IGNORE)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("a line has %d fields, but only %d are known", csv->nfields, format->nplaces),
				 errhint("Name all fields by the option \"fields\", or set \"on_unknown_field\" to ignore.")));
	*more = decoder->at < decoder->length;
	ExecClearTuple(format->slot);
	tap_record_read_fields(format->reader, Min(csv->nfields, format->nplaces), csv->values,
						   csv->lengths, format->places, format->slot);
	if (format->key != NULL)
	{
		for (int i = 0; i < base->table->descriptor->natts; i++)
			format->present[i] = !format->slot->tts_isnull[i];
		complete_key(format, base->table, message);
	}
	return emit_row(decoder, message, event);
}

/* ---------------------------------------------------------------------
 * Raw
 * ---------------------------------------------------------------------
 */

static TapEventKind
decode_raw(TapKafkaDecoder *base, const TapKafkaMessage *message, int step, TapEvent *event,
		   bool *more)
{
	RecordDecoder *decoder = (RecordDecoder *) base;

	if (message->value == NULL && decoder->format->key != NULL)
		return emit_delete(decoder, message, event);
	store_nulls(decoder->format->slot);
	return emit_row(decoder, message, event);
}

const TapKafkaDecoding tap_kafka_decoding_json = {
	.name = "json",
	.describe = tap_kafka_describe_json,
	.make = make_decoder,
	.decode = decode_json
};

const TapKafkaDecoding tap_kafka_decoding_csv = {
	.name = "csv",
	.describe = tap_kafka_describe_csv,
	.make = make_decoder,
	.decode = decode_csv
};

const TapKafkaDecoding tap_kafka_decoding_raw = {
	.name = "raw",
	.describe = tap_kafka_describe_raw,
	.make = make_decoder,
	.decode = decode_raw
};
