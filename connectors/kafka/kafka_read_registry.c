/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read_registry.c
 *	  Schemas of the registry that messages name by their ids.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "kafka_avro_read.h"
#include "kafka_registry.h"
#include "kafka_source.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

/* A zero byte, and the id. */
#define FRAME_BYTES		5

static TapKafkaKnownSchema *
find_schema(const TapSession *session, int32 id)
{
	ListCell   *cell;

	foreach(cell, session->known_schemas)
	{
		TapKafkaKnownSchema *known = lfirst(cell);

		if (known->id == id)
			return known;
	}
	return NULL;
}

static char *
copy_string(const TapJsonValue *value)
{
	Size		length;
	const char *text = tap_json_unescape(value, &length);

	return pnstrdup(text, length);
}

/* {"schema": "...", "schemaType": "AVRO" unless it is said} */
static void
parse_answer(const char *answer, TapKafkaKnownSchema *known)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	known->type = "AVRO";
	tap_json_scan_begin(&scan, answer, strlen(answer));
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (value.kind == TAP_JSON_STRING && tap_json_is(&name, "schema", 6))
			known->text = copy_string(&value);
		else if (value.kind == TAP_JSON_STRING && tap_json_is(&name, "schemaType", 10))
			known->type = copy_string(&value);
	}
	if (!tap_json_scan_end(&scan) || known->text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the schema registry gave no schema for id %d", known->id),
				 errdetail("It said: %s", tap_kafka_shown_answer(answer)),
				 errhint("Check the option \"schema_registry\": something else may answer there.")));
	if (strcmp(known->type, "AVRO") == 0)
		known->avro = tap_avro_parse(known->text, strlen(known->text));
	else if (strcmp(known->type, "JSON") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("schema %d of the registry is of type %s", known->id, known->type),
				 errdetail("Schemas of the types AVRO and JSON are read.")));
}

static TapKafkaKnownSchema *
fetch_schema(TapSession *session, int32 id)
{
	MemoryContext context;
	MemoryContext before;
	TapKafkaKnownSchema *known;
	char	   *answer;

	/* the client's thread does one thing at a time */
	if (session->source != NULL)
		tap_kafka_topics_settle(session);
	answer = tap_kafka_fetch_schema(session, id);

	/* the session's, once it is one that can be read by */
	context = AllocSetContextCreate(CurrentMemoryContext, "tapdata kafka schema",
									ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	known = palloc0(sizeof(TapKafkaKnownSchema));
	known->id = id;
	parse_answer(answer, known);
	MemoryContextSetParent(context, session->args.context);
	MemoryContextSwitchTo(session->args.context);
	session->known_schemas = lappend(session->known_schemas, known);
	MemoryContextSwitchTo(before);
	return known;
}

TapKafkaKnownSchema *
tap_kafka_framed_schema(TapSession *session, const char **bytes, Size *length)
{
	TapKafkaKnownSchema *known;
	uint32		id;

	if (*length < FRAME_BYTES || (*bytes)[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("a message is too short for the id of its schema")));
	memcpy(&id, *bytes + 1, sizeof(id));
	id = pg_ntoh32(id);
	*bytes += FRAME_BYTES;
	*length -= FRAME_BYTES;
	known = find_schema(session, (int32) id);
	return known != NULL ? known : fetch_schema(session, (int32) id);
}
