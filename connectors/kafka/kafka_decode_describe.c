/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_decode_describe.c
 *	  Formats json, csv and raw: which columns a topic has.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_decode.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* Adds one message to a sample. */
typedef void (*AddMessage) (TapRecordSample *sample, const TapKafkaDecodeOptions *options,
							const TapKafkaMessage *message);

/* An AddMessage and what it is called with. */
typedef struct AddCall
{
	AddMessage	add;
	TapRecordSample *sample;
	const TapKafkaDecodeOptions *options;
	const TapKafkaMessage *message;
} AddCall;

ErrorData *
tap_kafka_try(void (*act) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		act(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

static void
call_add(void *arg)
{
	AddCall    *call = arg;

	call->add(call->sample, call->options, call->message);
}

/*
 * One that cannot be read says nothing about columns; it will be an error of
 * data when the stream comes to it.
 */
static bool
add_if_readable(AddMessage add, TapRecordSample *sample, const TapKafkaDecodeOptions *options,
				const TapKafkaMessage *message)
{
	AddCall		call = {add, sample, options, message};
	ErrorData  *error = tap_kafka_try(call_add, &call);

	if (error == NULL)
		return true;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

static void
add_json(TapRecordSample *sample, const TapKafkaDecodeOptions *options,
		 const TapKafkaMessage *message)
{
	Size		length = message->value_bytes;
	const char *text;

	if (message->value == NULL)
		return;
	text = tap_record_to_server(message->value, &length, PG_UTF8);
	tap_record_sample_json(sample, text, length);
}

/* The fields of a key, or all of it under the key's only name. */
static void
add_key(TapRecordSample *sample, const TapKafkaDecodeOptions *options,
		const TapKafkaMessage *message)
{
	Size		length = message->key_bytes;
	List	   *names = tap_kafka_key_names(options, message->topic);
	const char *text;

	if (message->key == NULL || names == NIL)
		return;
	text = tap_record_to_server(message->key, &length, PG_UTF8);
	if (length > 0 && text[0] == '{')
		tap_record_sample_json(sample, text, length);
	else if (list_length(names) == 1)
	{
		const char *name = linitial(names);
		int			bytes = length;

		tap_record_sample_fields(sample, 1, &name, &text, &bytes);
	}
}

char *
tap_kafka_csv_name(int place)
{
	return psprintf("column%d", place + 1);
}

static void
add_line(TapRecordSample *sample, const TapKafkaDecodeOptions *options, TapCsv *csv)
{
	List	   *given = options->fields ? tap_kafka_json_names(options->fields) : NIL;
	const char **names = palloc(sizeof(char *) * Max(csv->nfields, 1));
	int			count = csv->nfields;

	if (given != NIL)
		count = Min(count, list_length(given));
	for (int i = 0; i < count; i++)
		names[i] = given ? list_nth(given, i) : tap_kafka_csv_name(i);
	tap_record_sample_fields(sample, count, names, csv->values, csv->lengths);
}

static void
add_csv(TapRecordSample *sample, const TapKafkaDecodeOptions *options,
		const TapKafkaMessage *message)
{
	TapCsv	   *csv = tap_csv_make(&options->dialect);
	Size		length = message->value_bytes;
	const char *text;
	Size		at = 0;
	Size		taken;
	TapCsvResult result;

	if (message->value == NULL)
		return;
	text = tap_record_to_server(message->value, &length, PG_UTF8);
	while ((result = tap_csv_next(csv, text + at, length - at, true, MaxAllocSize, &taken)) != TAP_CSV_END)
	{
		at += taken;
		if (result == TAP_CSV_RECORD)
			add_line(sample, options, csv);
	}
}

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

static TapRecordColumns *
columns_of_values(AddMessage add, const TapKafkaDecodeOptions *options,
				  const TapKafkaMessage *messages, int count, const TapRecordColumns *given,
				  int *readable)
{
	TapRecordSample *sample = tap_record_sample_begin();

	*readable = 0;
	for (int i = 0; i < count; i++)
		*readable += add_if_readable(add, sample, options, &messages[i]);
	return tap_record_sample_end(sample, given);
}

/* Columns of the key that only the messages' keys have. */
static TapRecordColumns *
add_key_columns(const TapKafkaDecodeOptions *options, const TapKafkaMessage *messages, int count,
				const TapRecordColumns *columns, List *key)
{
	int			readable;
	TapRecordColumns *all = columns_of_values(add_key, options, messages, count, columns, &readable);
	TapRecordColumns *result = palloc(sizeof(TapRecordColumns));

	result->columns = palloc(sizeof(TapRecordColumn) * Max(all->ncolumns, 1));
	result->ncolumns = 0;
	for (int i = 0; i < all->ncolumns; i++)
	{
		ListCell   *cell;
		bool		wanted = i < columns->ncolumns;

		foreach(cell, key)
			wanted = wanted || strcmp(all->columns[i].name, lfirst(cell)) == 0;
		if (wanted)
			result->columns[result->ncolumns++] = all->columns[i];
	}
	return result;
}

static void
check_key(const TapTableName *name, const TapRecordColumns *columns, List *key)
{
	ListCell   *cell;

	foreach(cell, key)
	{
		if (!tap_kafka_has_column(columns, lfirst(cell)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the key column \"%s\" is in no message of topic \"%s\"",
							(char *) lfirst(cell), name->name),
					 errhint("Give its type by the option \"columns\"; \"_key\" is the key of the messages.")));
	}
}

static bool
is_complete(const TapRecordColumns *columns, List *key)
{
	ListCell   *cell;

	foreach(cell, key)
	{
		if (!tap_kafka_has_column(columns, lfirst(cell)))
			return false;
	}
	return true;
}

static TapSourceTable *
describe(const TapKafkaDecodeOptions *options, const TapTableName *name,
		 const TapRecordColumns *columns, const TapKafkaMessage *messages, int count)
{
	List	   *key = tap_kafka_key_names(options, name->name);

	columns = tap_kafka_add_metadata(options, columns, key);
	if (!is_complete(columns, key))
		columns = add_key_columns(options, messages, count, columns, key);
	check_key(name, columns, key);
	return tap_kafka_define(options, name, columns, key, NULL);
}

static void
check_readable(TapSession *session, const TapTableName *name, const char *what, int readable,
			   int count)
{
	if (readable > 0 || count == 0 || session->args.pipeline_options == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("none of the %d messages of topic \"%s\" that were looked at is %s",
					count, name->name, what),
			 errhint("Set the option \"format\" to what they are, or give the option \"columns\".")));
}

TapSourceTable *
tap_kafka_describe_json(TapSession *session, const TapKafkaDecodeOptions *options,
						const TapTableName *name, const TapKafkaMessage *messages, int count)
{
	TapRecordColumns *columns = options->columns ? tap_record_columns_given(options->columns) : NULL;
	int			readable;

	if (columns == NULL || options->unknown == TAP_KAFKA_UNKNOWN_ADD)
	{
		columns = columns_of_values(add_json, options, messages, count, columns, &readable);
		check_readable(session, name, "a JSON object", readable, count);
	}
	return describe(options, name, columns, messages, count);
}

TapSourceTable *
tap_kafka_describe_csv(TapSession *session, const TapKafkaDecodeOptions *options,
					   const TapTableName *name, const TapKafkaMessage *messages, int count)
{
	TapRecordColumns *columns = options->columns ? tap_record_columns_given(options->columns) : NULL;
	int			readable;

	if (columns == NULL || options->unknown == TAP_KAFKA_UNKNOWN_ADD)
	{
		columns = columns_of_values(add_csv, options, messages, count, columns, &readable);
		check_readable(session, name, "CSV", readable, count);
		if (columns->ncolumns == 0 && session->args.pipeline_options != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("topic \"%s\" has no message to find columns in", name->name),
					 errhint("Give the options \"fields\" and \"columns\".")));
	}
	return describe(options, name, columns, messages, count);
}

/* ---------------------------------------------------------------------
 * Raw
 * ---------------------------------------------------------------------
 */

static const struct
{
	const char *name;
	Oid			type;
}			raw_columns[] =

{
	{"key", BYTEAOID},
	{"value", BYTEAOID},
	{"headers", JSONBOID},
	{"timestamp", TIMESTAMPTZOID}
};

static void
add_raw_column(TapRecordColumns *columns, const char *name, Oid type)
{
	TapRecordColumn *column = &columns->columns[columns->ncolumns++];

	memset(column, 0, sizeof(TapRecordColumn));
	column->name = pstrdup(name);
	column->field = psprintf(TAP_KAFKA_METADATA_FIELD "%s", name);
	column->type = type;
	column->typmod = -1;
}

/* Columns that are given have their own types; of the usual ones none lacks. */
TapSourceTable *
tap_kafka_describe_raw(TapSession *session, const TapKafkaDecodeOptions *options,
					   const TapTableName *name, const TapKafkaMessage *messages, int count)
{
	TapRecordColumns columns = {0};
	TapRecordColumns *given = options->columns ? tap_record_columns_given(options->columns) : NULL;
	int			ngiven = given ? given->ncolumns : 0;

	columns.columns = palloc(sizeof(TapRecordColumn) * (ngiven + lengthof(raw_columns)));
	for (int i = 0; i < lengthof(raw_columns); i++)
	{
		if (given == NULL || !tap_kafka_has_column(given, raw_columns[i].name))
			add_raw_column(&columns, raw_columns[i].name, raw_columns[i].type);
	}
	for (int i = 0; i < ngiven; i++)
	{
		TapRecordColumn column = given->columns[i];

		if (!tap_kafka_is_metadata(column.field))
			column.field = psprintf(TAP_KAFKA_METADATA_FIELD "%s", column.field);
		columns.columns[columns.ncolumns++] = column;
	}
	return describe(options, name, &columns, messages, count);
}
