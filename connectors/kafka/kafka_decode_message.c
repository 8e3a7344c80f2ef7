/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_decode_message.c
 *	  Columns that come of a message itself: key, offset, headers, ...
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_decode.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* More headers than this are not looked through for names that are there twice. */
#define FEW_HEADERS		64

#define EPOCH_USECS		((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

typedef enum MetadataKind
{
	METADATA_TOPIC,
	METADATA_PARTITION,
	METADATA_OFFSET,
	METADATA_TIMESTAMP,
	METADATA_KEY,
	METADATA_VALUE,
	METADATA_HEADERS
} MetadataKind;

static const char *const kind_names[] = {
	[METADATA_TOPIC] = "topic",
	[METADATA_PARTITION] = "partition",
	[METADATA_OFFSET] = "offset",
	[METADATA_TIMESTAMP] = "timestamp",
	[METADATA_KEY] = "key",
	[METADATA_VALUE] = "value",
	[METADATA_HEADERS] = "headers"
};

typedef struct MetadataColumn
{
	AttrNumber	number;			/* from 1 */
	MetadataKind kind;
	Oid			type;
} MetadataColumn;

struct TapKafkaMetadata
{
	TapRecordReader *reader;
	int			ncolumns;
	MetadataColumn columns[FLEXIBLE_ARRAY_MEMBER];
};

struct TapKafkaKeyReader
{
	int			ncolumns;
	AttrNumber *targets;		/* in the table, from 1 */
	TapRecordColumns *columns;	/* the key's, but for metadata */
	TapRecordReader *reader;
	TupleTableSlot *slot;
	bool	   *present;
};

bool
tap_kafka_is_metadata(const char *field)
{
	return strncmp(field, TAP_KAFKA_METADATA_FIELD, strlen(TAP_KAFKA_METADATA_FIELD)) == 0;
}

static MetadataKind
kind_of(const char *field)
{
	const char *name = field + strlen(TAP_KAFKA_METADATA_FIELD);

	for (int i = 0; i < lengthof(kind_names); i++)
	{
		if (strcmp(kind_names[i], name) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("messages have no \"%s\"", field),
			 errhint("There are " TAP_KAFKA_METADATA_FIELD "topic, partition, offset, timestamp, key, value and headers.")));
	return METADATA_TOPIC;
}

TapKafkaMetadata *
tap_kafka_metadata_make(const TapRecordColumns *columns, TapRecordReader *reader)
{
	TapKafkaMetadata *metadata = palloc0(offsetof(TapKafkaMetadata, columns) +
										 sizeof(MetadataColumn) * columns->ncolumns);

	metadata->reader = reader;
	for (int i = 0; i < columns->ncolumns; i++)
	{
		const TapRecordColumn *column = &columns->columns[i];

		if (!tap_kafka_is_metadata(column->field))
			continue;
		metadata->columns[metadata->ncolumns++] = (MetadataColumn)
		{
			.number = i + 1,.kind = kind_of(column->field),.type = column->type
		};
	}
	return metadata;
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

/* Text in the database's encoding as a value of the column. */
static Datum
text_value(TapKafkaMetadata *metadata, const MetadataColumn *column, const char *text, Size length)
{
	if (column->type == TEXTOID)
		return PointerGetDatum(cstring_to_text_with_len(text, length));
	return tap_record_read_value(metadata->reader, column->number, text, length);
}

static Datum
number_value(TapKafkaMetadata *metadata, const MetadataColumn *column, int64 number)
{
	char		text[24];

	if (column->type == INT8OID)
		return Int64GetDatum(number);
	if (column->type == INT4OID && column->kind == METADATA_PARTITION)
		return Int32GetDatum((int32) number);
	return text_value(metadata, column, text, pg_lltoa(number, text));
}

static Datum
bytes_value(TapKafkaMetadata *metadata, const MetadataColumn *column, const char *bytes,
			Size length)
{
	bytea	   *result;

	if (column->type != BYTEAOID)
	{
		const char *text = tap_record_to_server(bytes, &length, PG_UTF8);

		return text_value(metadata, column, text, length);
	}
	result = palloc(VARHDRSZ + length);
	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return PointerGetDatum(result);
}

static Datum
time_value(TapKafkaMetadata *metadata, const MetadataColumn *column, int64 ms)
{
	TimestampTz time;
	const char *text;

	if (column->type == INT8OID)
		return Int64GetDatum(ms);
	if (pg_mul_s64_overflow(ms, 1000, &time) || pg_sub_s64_overflow(time, EPOCH_USECS, &time) ||
		!IS_VALID_TIMESTAMP(time))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the message's time is out of range: " INT64_FORMAT, ms)));
	if (column->type == TIMESTAMPTZOID)
		return TimestampTzGetDatum(time);
	text = timestamptz_to_str(time);
	return text_value(metadata, column, text, strlen(text));
}

/* ---------------------------------------------------------------------
 * Headers
 * ---------------------------------------------------------------------
 */

static bool
is_twice(const rd_kafka_headers_t *headers, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		const char *name;
		const char *other;
		const void *value;
		size_t		length;

		(void) rd_kafka_header_get_all(headers, i, &name, &value, &length);
		for (size_t j = 0; j < i; j++)
		{
			(void) rd_kafka_header_get_all(headers, j, &other, &value, &length);
			if (strcmp(name, other) == 0)
				return true;
		}
	}
	return false;
}

static void
append_header_value(StringInfo out, const char *value, size_t length)
{
	if (value == NULL)
		appendStringInfoString(out, "null");
	else if (pg_verify_mbstr(PG_UTF8, value, length, true))
		tap_json_append_string(out, value, length);
	else
	{
		appendStringInfoString(out, "{\"base64\":\"");
		tap_json_append_base64(out, value, length);
		appendStringInfoString(out, "\"}");
	}
}

/* An object; a list of key and value where that would lose something. */
static Datum
headers_value(TapKafkaMetadata *metadata, const MetadataColumn *column,
			  const rd_kafka_message_t *raw, bool *isnull)
{
	rd_kafka_headers_t *headers;
	StringInfoData json;
	const char *text;
	const char *name;
	const void *value;
	size_t		bytes;
	Size		length;
	bool		list;

	*isnull = raw == NULL || rd_kafka_message_headers(raw, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR;
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&json);
	list = rd_kafka_header_cnt(headers) > FEW_HEADERS ||
		is_twice(headers, rd_kafka_header_cnt(headers));
	appendStringInfoChar(&json, list ? '[' : '{');
	for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &bytes) ==
		 RD_KAFKA_RESP_ERR_NO_ERROR; i++)
	{
		appendStringInfoString(&json, i > 0 ? "," : "");
		appendStringInfoString(&json, list ? "{\"key\":" : "");
		tap_json_append_cstring(&json, name);
		appendStringInfoString(&json, list ? ",\"value\":" : ":");
		append_header_value(&json, value, bytes);
		appendStringInfoString(&json, list ? "}" : "");
	}
	appendStringInfoChar(&json, list ? ']' : '}');
	length = json.len;
	text = tap_record_to_server(json.data, &length, PG_UTF8);
	return text_value(metadata, column, text, length);
}

static Datum
metadata_value(TapKafkaMetadata *metadata, const MetadataColumn *column,
			   const TapKafkaMessage *message, bool *isnull)
{
	*isnull = false;
	switch (column->kind)
	{
		case METADATA_TOPIC:
			return text_value(metadata, column, message->topic, strlen(message->topic));
		case METADATA_PARTITION:
			return number_value(metadata, column, message->partition);
		case METADATA_OFFSET:
			return number_value(metadata, column, message->offset);
		case METADATA_TIMESTAMP:
			*isnull = message->timestamp < 0;
			return *isnull ? (Datum) 0 : time_value(metadata, column, message->timestamp);
		case METADATA_KEY:
			*isnull = message->key == NULL;
			return *isnull ? (Datum) 0 :
				bytes_value(metadata, column, message->key, message->key_bytes);
		case METADATA_VALUE:
			*isnull = message->value == NULL;
			return *isnull ? (Datum) 0 :
				bytes_value(metadata, column, message->value, message->value_bytes);
		case METADATA_HEADERS:
			return headers_value(metadata, column, message->raw, isnull);
	}
	return (Datum) 0;
}

void
tap_kafka_fill_metadata(TapKafkaMetadata *metadata, const TapKafkaMessage *message,
						TupleTableSlot *slot)
{
	for (int i = 0; i < metadata->ncolumns; i++)
	{
		const MetadataColumn *column = &metadata->columns[i];
		int			at = column->number - 1;

		slot->tts_values[at] = metadata_value(metadata, column, message, &slot->tts_isnull[at]);
	}
}

/* ---------------------------------------------------------------------
 * Keys
 * ---------------------------------------------------------------------
 */

TapKafkaKeyReader *
tap_kafka_key_reader_make(const TapSourceTable *table, const TapRecordColumns *columns)
{
	TapKafkaKeyReader *reader;
	TapTableName name = {.name = table->name.name};
	TupleDesc	descriptor;

	if (table->nkeys == 0)
		return NULL;
	reader = palloc0(sizeof(TapKafkaKeyReader));
	reader->targets = palloc(sizeof(AttrNumber) * table->nkeys);
	reader->columns = palloc(sizeof(TapRecordColumns));
	reader->columns->columns = palloc(sizeof(TapRecordColumn) * table->nkeys);
	for (int i = 0; i < table->nkeys; i++)
	{
		const TapRecordColumn *column = &columns->columns[table->keys[i] - 1];

		if (tap_kafka_is_metadata(column->field))
			continue;
		reader->columns->columns[reader->ncolumns] = *column;
		reader->targets[reader->ncolumns++] = table->keys[i];
	}
	reader->columns->ncolumns = reader->ncolumns;
	if (reader->ncolumns == 0)
		return reader;
	descriptor = tap_record_table(reader->columns, &name, NIL)->descriptor;
	reader->reader = tap_record_reader_make(reader->columns, descriptor);
	reader->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
	reader->present = palloc0(sizeof(bool) * reader->ncolumns);
	return reader;
}

static void
report_key(const TapKafkaKeyReader *reader, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the message's key does not say the value of column \"%s\"",
					reader->columns->columns[0].name),
			 errdetail_internal("%s", detail),
			 errhint("Keys are read as JSON objects, or as a value where the table's key is one column.")));
}

static void
read_object(TapKafkaKeyReader *reader, const char *text, Size length)
{
	tap_record_read_json(reader->reader, text, length, reader->slot, reader->present, NULL);
	for (int i = 0; i < reader->ncolumns; i++)
	{
		if (!reader->present[i])
			report_key(reader, psprintf("It lacks the field \"%s\".",
										reader->columns->columns[i].field));
	}
}

/* A key that is a string of JSON loses its quotes by being a field. */
static void
read_scalar(TapKafkaKeyReader *reader, const char *text, Size length)
{
	StringInfoData object;

	if (reader->ncolumns > 1)
		report_key(reader, "It is no JSON object, but the table's key has several columns.");
	if (length > 0 && text[0] == '"')
	{
		initStringInfo(&object);
		appendStringInfoChar(&object, '{');
		tap_json_append_cstring(&object, reader->columns->columns[0].field);
		appendStringInfoChar(&object, ':');
		appendBinaryStringInfo(&object, text, length);
		appendStringInfoChar(&object, '}');
		read_object(reader, object.data, object.len);
		return;
	}
	reader->slot->tts_values[0] = tap_record_read_value(reader->reader, 1, text, length);
	reader->slot->tts_isnull[0] = false;
	ExecStoreVirtualTuple(reader->slot);
}

void
tap_kafka_read_key(TapKafkaKeyReader *reader, const TapKafkaMessage *message,
				   TupleTableSlot *slot, bool *present)
{
	const char *text;
	Size		length = message->key_bytes;

	if (reader->ncolumns == 0)
		return;
	if (message->key == NULL)
		report_key(reader, "It has none.");
	text = tap_record_to_server(message->key, &length, PG_UTF8);
	ExecClearTuple(reader->slot);
	if (length > 0 && text[0] == '{')
		read_object(reader, text, length);
	else
		read_scalar(reader, text, length);
	for (int i = 0; i < reader->ncolumns; i++)
	{
		int			at = reader->targets[i] - 1;

		slot->tts_values[at] = reader->slot->tts_values[i];
		slot->tts_isnull[at] = reader->slot->tts_isnull[i];
		present[at] = true;
	}
}
