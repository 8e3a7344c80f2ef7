/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_format.c
 *	  Sends tables and changes to the code of their format.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_format.h"

#include "catalog/pg_type.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "kafka_types.h"

char *
tap_kafka_timestamp_text(TimestampTz time)
{
	static const int utc = 0;
	char	   *text = palloc(MAXDATELEN + 1);

	return JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID, &utc);
}

bool
tap_kafka_format_has_envelope(TapKafkaFormat format)
{
	return format == TAP_KAFKA_FORMAT_DEBEZIUM || format == TAP_KAFKA_FORMAT_DEBEZIUM_AVRO;
}

void
tap_kafka_prepare_format(TapSession *session, TapKafkaTable *table)
{
	switch (session->settings.format)
	{
		case TAP_KAFKA_FORMAT_JSON:
			break;
		case TAP_KAFKA_FORMAT_DEBEZIUM:
			tap_kafka_debezium_prepare(session, table);
			break;
		case TAP_KAFKA_FORMAT_AVRO:
		case TAP_KAFKA_FORMAT_DEBEZIUM_AVRO:
			tap_kafka_avro_prepare(session, table);
			break;
	}
}

void
tap_kafka_encode_key(TapSession *session, TapKafkaTable *table, const TapRowImage *image,
					 StringInfo out)
{
	switch (session->settings.format)
	{
		case TAP_KAFKA_FORMAT_JSON:
			tap_row_json_append(table->json, out, image, TAP_ROW_JSON_KEY);
			break;
		case TAP_KAFKA_FORMAT_DEBEZIUM:
			tap_kafka_debezium_key(session, table, image, out);
			break;
		case TAP_KAFKA_FORMAT_AVRO:
		case TAP_KAFKA_FORMAT_DEBEZIUM_AVRO:
			tap_kafka_avro_key(session, table, image, out);
			break;
	}
}

/* A row alone; a TRUNCATE has none. */
static void
encode_json(TapKafkaTable *table, char op, const TapRowImage *image, StringInfo out)
{
	if (image == NULL)
		appendStringInfo(out, "{\"__op\":\"%c\"}", op);
	else
		tap_row_json_append(table->json, out, image, TAP_ROW_JSON_ALL);
}

void
tap_kafka_encode_value(TapSession *session, TapKafkaTable *table, const TapOutChange *change,
					   char op, const TapRowImage *before, const TapRowImage *after,
					   StringInfo out)
{
	switch (session->settings.format)
	{
		case TAP_KAFKA_FORMAT_JSON:
			encode_json(table, op, after ? after : before, out);
			break;
		case TAP_KAFKA_FORMAT_DEBEZIUM:
			tap_kafka_debezium_value(session, table, change, op, before, after, out);
			break;
		case TAP_KAFKA_FORMAT_AVRO:
		case TAP_KAFKA_FORMAT_DEBEZIUM_AVRO:
			tap_kafka_avro_value(session, table, change, op, before, after, out);
			break;
	}
}
