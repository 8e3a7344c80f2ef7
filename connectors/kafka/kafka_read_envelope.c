/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read_envelope.c
 *	  Where the rows are in a message: Debezium's envelope, and the one of
 *	  schema and payload around it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

/* The fields that may be those of an envelope; kind NULL: not there. */
typedef struct Fields
{
	bool		has_schema;
	bool		has_payload;
	bool		has_op;
	bool		has_rows;		/* before or after */
	int			nothers;
	TapJsonValue schema;
	TapJsonValue payload;
	TapJsonValue op;
	TapJsonValue before;
	TapJsonValue after;
	TapJsonValue deleted;
	TapJsonValue source;
	TapJsonValue database;
	TapJsonValue ddl;
} Fields;

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("a message is no change as Debezium writes it: %s", what)));
}

static void
note_field(Fields *fields, const TapJsonValue *name, const TapJsonValue *value)
{
	if (tap_json_is(name, "schema", 6))
	{
		fields->schema = *value;
		fields->has_schema = true;
	}
	else if (tap_json_is(name, "payload", 7))
	{
		fields->payload = *value;
		fields->has_payload = true;
	}
	else
		fields->nothers++;
	if (tap_json_is(name, "op", 2))
	{
		fields->op = *value;
		fields->has_op = value->kind == TAP_JSON_STRING;
	}
	else if (tap_json_is(name, "before", 6))
	{
		fields->before = *value;
		fields->has_rows = true;
	}
	else if (tap_json_is(name, "after", 5))
	{
		fields->after = *value;
		fields->has_rows = true;
	}
	else if (tap_json_is(name, "__deleted", 9))
		fields->deleted = *value;
	else if (tap_json_is(name, "source", 6))
		fields->source = *value;
	else if (tap_json_is(name, "databaseName", 12))
		fields->database = *value;
	else if (tap_json_is(name, "ddl", 3))
		fields->ddl = *value;
}

/* Takes note of an object's fields; text that is no object: none. */
static void
read_fields(const TapJsonValue *object, Fields *fields)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	memset(fields, 0, sizeof(Fields));
	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
		note_field(fields, &name, &value);
	if (!tap_json_scan_end(&scan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("a message is no JSON object: %s", scan.error),
				 errdetail("Byte %zu of %zu.", (Size) (scan.next - scan.begin), object->length)));
}

/* Takes what JsonConverter puts around everything off. */
static void
unwrap(const char *text, Size length, TapKafkaEnvelope *envelope, Fields *fields)
{
	TapJsonValue whole = {TAP_JSON_OBJECT, false, false, text, length};

	memset(envelope, 0, sizeof(TapKafkaEnvelope));
	read_fields(&whole, fields);
	envelope->payload = whole;
	if (!fields->has_schema || !fields->has_payload || fields->nothers > 0)
		return;
	envelope->schema = fields->schema;
	envelope->payload = fields->payload;
	if (fields->payload.kind == TAP_JSON_OBJECT)
		read_fields(&envelope->payload, fields);
}

void
tap_kafka_read_envelope(const char *text, Size length, TapKafkaEnvelope *envelope)
{
	Fields		fields;

	unwrap(text, length, envelope, &fields);
	if (envelope->payload.kind == TAP_JSON_NULL)
		return;
	if (envelope->payload.kind != TAP_JSON_OBJECT)
		refuse("its payload is no object");
	if (!fields.has_op || !(fields.has_rows || tap_json_is(&fields.op, "m", 1) || tap_json_is(&fields.op, "t", 1)))
	{
		if (fields.ddl.kind == TAP_JSON_STRING && fields.source.kind == TAP_JSON_OBJECT &&
			fields.database.kind == TAP_JSON_STRING)
		{
			envelope->op = 's';
			envelope->statement = fields.ddl;
			return;
		}
		envelope->after = envelope->payload;
		envelope->deleted = fields.deleted.kind == TAP_JSON_TRUE || tap_json_is(&fields.deleted, "true", 4);
		return;
	}
	if (fields.op.length != 1 || strchr("cudrtm", fields.op.text[0]) == NULL)
		refuse("\"op\" is none of c, u, d, r, t and m");
	envelope->op = fields.op.text[0];
	envelope->before = fields.before;
	envelope->after = fields.after;
	if (strchr("cur", envelope->op) != NULL && envelope->after.kind != TAP_JSON_OBJECT)
		refuse("\"after\" is not there");
	if (envelope->op == 'd' && envelope->before.kind != TAP_JSON_OBJECT && envelope->before.kind != TAP_JSON_NULL)
		refuse("\"before\" is no object");
}

void
tap_kafka_read_key_payload(const char *text, Size length, TapKafkaEnvelope *envelope)
{
	TapJsonScan scan;
	TapJsonValue value;
	Fields		fields;

	memset(envelope, 0, sizeof(TapKafkaEnvelope));
	tap_json_scan_begin(&scan, text, length);
	if (!tap_json_scan_value(&scan, &value) || !tap_json_scan_end(&scan))
		return;
	envelope->payload = value;
	if (value.kind == TAP_JSON_OBJECT)
		unwrap(text, length, envelope, &fields);
}
