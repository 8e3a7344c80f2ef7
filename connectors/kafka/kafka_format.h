/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_format.h
 *	  The formats of messages.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_FORMAT_H
#define TAPDATA_KAFKA_FORMAT_H

#include "kafka_connector.h"

/* ---- kafka_format.c ---- */

/* Make ready what the format needs of a table; may use the network. */
extern void tap_kafka_prepare_format(TapSession *session, TapKafkaTable *table);

/* Append the key of an image, all of whose key columns are known. */
extern void tap_kafka_encode_key(TapSession *session, TapKafkaTable *table,
								 const TapRowImage *image, StringInfo out);

/*
 * Append the value of a message.  op is Debezium's letter: c, u, d, r or t;
 * before and after may be NULL.
 */
extern void tap_kafka_encode_value(TapSession *session, TapKafkaTable *table,
								   const TapOutChange *change, char op,
								   const TapRowImage *before, const TapRowImage *after,
								   StringInfo out);

/* Whether a delete is a message other than a tombstone. */
extern bool tap_kafka_format_has_envelope(TapKafkaFormat format);

/* A time in ISO 8601, UTC; palloc'd. */
extern char *tap_kafka_timestamp_text(TimestampTz time);

#endif							/* TAPDATA_KAFKA_FORMAT_H */
