/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read_describe.c
 *	  Keys and values as JSON, and what they tell of a topic's table.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "kafka_avro_read.h"
#include "mb/pg_wchar.h"

static void
read_text(TapSession *session, const char *bytes, Size length, TapKafkaReading *reading)
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

void
tap_kafka_read_value(TapSession *session, const TapKafkaMessage *message, TapKafkaReading *reading)
{
	read_text(session, message->value, message->value_bytes, reading);
	tap_kafka_read_envelope(reading->text, reading->length, &reading->envelope);
}

/* The message with what its key is without framing and schema. */
TapKafkaMessage
tap_kafka_plain_key(TapSession *session, const TapKafkaMessage *message, TapKafkaReading *reading)
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
columns_of(const TapKafkaReading *reading, const char *field)
{
	if (reading->known != NULL && reading->known->avro != NULL)
		return tap_kafka_avro_columns(reading->known->avro, field);
	if (reading->known != NULL)
	{
		TapJsonValue schema = {TAP_JSON_OBJECT};

		schema.text = tap_kafka_from_utf8(reading->known->text);
		schema.length = strlen(schema.text);
		return tap_kafka_json_schema_columns(&schema, field);
	}
	if (reading->envelope.schema.kind == TAP_JSON_OBJECT)
		return tap_kafka_connect_columns(&reading->envelope.schema, field);
	return NULL;
}

TapRecordColumns *
tap_kafka_row_columns(const TapKafkaReading *reading)
{
	return columns_of(reading, reading->envelope.op != '\0' ? "after" : NULL);
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
	bool		only_given;		/* no other columns are wanted */
	int			readable;		/* messages */
	List	   *key;			/* of char *: fields */
	TapRecordColumns *key_columns;
} Learned;

static void
learn_rows(Learned *learned, const TapKafkaReading *value)
{
	const TapKafkaEnvelope *envelope = &value->envelope;
	TapRecordColumns *schema = tap_kafka_row_columns(value);

	if (schema != NULL)
	{
		learned->columns = tap_kafka_copy_columns(learned->columns ? learned->columns : learned->given,
												  schema->ncolumns);
		(void) tap_kafka_agree(learned->columns, schema, learned->given);
		if (learned->only_given)
			learned->columns->ncolumns = learned->given->ncolumns;
		return;
	}
	if (learned->only_given)
		return;
	if (envelope->before.kind == TAP_JSON_OBJECT)
		tap_record_sample_json(learned->sample, envelope->before.text, envelope->before.length);
	if (envelope->after.kind == TAP_JSON_OBJECT)
		tap_record_sample_json(learned->sample, envelope->after.text, envelope->after.length);
	learned->sampled |= envelope->before.kind == TAP_JSON_OBJECT || envelope->after.kind == TAP_JSON_OBJECT;
}

/* The names of the key's fields, and their types. */
static void
learn_key(Learned *learned, const TapKafkaReading *key)
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
	TapKafkaReading reading;

	PG_TRY();
	{
		(void) tap_kafka_plain_key(session, message, &reading);
		learn_key(learned, &reading);
		if (message->value != NULL)
		{
			tap_kafka_read_value(session, message, &reading);
			if (reading.envelope.op != 's')
				learn_rows(learned, &reading);
		}
		learned->readable++;
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
		TapRecordColumn *column = tap_kafka_find_field(columns, lfirst(cell));

		if (column == NULL)
			return NIL;
		names = lappend(names, column->name);
	}
	return names;
}

static void
add_missing(TapRecordColumns *columns, const TapRecordColumns *more)
{
	for (int i = 0; i < more->ncolumns; i++)
	{
		TapRecordColumn *column = &columns->columns[columns->ncolumns];

		if (tap_kafka_find_field(columns, more->columns[i].field) != NULL)
			continue;
		*column = more->columns[i];
		column->name = tap_record_column_name(columns, column->field);
		columns->ncolumns++;
	}
}

/* The columns by what was learned, those that only the key has among them. */
static TapRecordColumns *
learned_columns(const Learned *learned, bool with_key)
{
	TapRecordColumns *columns = learned->columns;

	if (columns == NULL)
		columns = tap_record_sample_end(learned->sample, learned->given);
	if (learned->key_columns != NULL && with_key)
	{
		columns = tap_kafka_copy_columns(columns, learned->key_columns->ncolumns);
		add_missing(columns, learned->key_columns);
	}
	return columns;
}

static void
check_readable(TapSession *session, const TapTableName *name, const Learned *learned,
			   int nmessages)
{
	if (learned->readable > 0 || nmessages == 0 || session->args.pipeline_options == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("none of the %d messages of topic \"%s\" that were looked at can be read",
					nmessages, name->name),
			 errhint("Set the option \"format\" to what they are.")));
}

TapSourceTable *
tap_kafka_read_describe(TapSession *session, const TapKafkaDecodeOptions *options,
						const TapTableName *name, const TapKafkaMessage *messages, int nmessages)
{
	Learned		learned = {tap_kafka_given_columns(options), NULL, tap_record_sample_begin()};
	TapRecordColumns *columns;
	List	   *key = tap_kafka_key_names(options, name->name);

	learned.only_given = learned.given != NULL && options->unknown != TAP_KAFKA_UNKNOWN_ADD;
	for (int i = 0; i < nmessages; i++)
		learn_message(session, &learned, &messages[i]);
	check_readable(session, name, &learned, nmessages);
	columns = learned_columns(&learned, key == NIL && !options->append);

	/* of a topic without messages nothing is known: the first will tell */
	if (columns->ncolumns == 0)
		key = NIL;
	else if (key == NIL)
		key = key_columns(columns, learned.key);
	columns = tap_kafka_add_metadata(options, columns, key);
	return tap_kafka_define(options, name, columns, key, NULL);
}

/* The key of the first message's table; its columns are added to columns. */
List *
tap_kafka_first_key(TapSession *session, const TapKafkaDecodeOptions *options,
					const TapKafkaMessage *message, TapRecordColumns **columns)
{
	List	   *names = tap_kafka_key_names(options, message->topic);
	Learned		learned = {NULL, *columns};
	TapKafkaReading reading;

	if (names != NIL || options->append)
		return names;
	(void) tap_kafka_plain_key(session, message, &reading);
	learn_key(&learned, &reading);
	*columns = learned_columns(&learned, true);
	return key_columns(*columns, learned.key);
}
