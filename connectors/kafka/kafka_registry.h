/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_registry.h
 *	  The schema registry.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_REGISTRY_H
#define TAPDATA_KAFKA_REGISTRY_H

#include "kafka_connector.h"

/*
 * The id of a schema under a subject, registering it if that was not done in
 * this session.  Uses the network.  Raises ERRCODE_DATATYPE_MISMATCH when
 * it is not compatible with what the subject has.
 */
extern int32 tap_kafka_register_schema(TapSession *session, const char *subject,
									   const char *schema);

/*
 * What the registry answers when it is asked for a schema by its id, in the
 * current context.  Uses the network.  Raises ERRCODE_INVALID_TEXT_REPRESENTATION
 * when the registry says that there is no such schema, and no error of class 22
 * when something else answers in its place.
 */
extern char *tap_kafka_fetch_schema(TapSession *session, int32 id);

/* The beginning of an answer as errors show it, in the current context. */
extern char *tap_kafka_shown_answer(const char *answer);

/*
 * Ask for the registry's subjects, to see that it is one and lets us in.  Uses
 * the network; raises an error that says what is wrong.
 */
extern void tap_kafka_ask_registry(TapSession *session);

/* The option of the pipeline, else of the connection; NULL: none. */
extern const char *tap_kafka_registry_url(const TapSession *session);

/* Check the option "schema_registry" when it is given. */
extern void tap_kafka_check_registry_url(const char *value);

#endif							/* TAPDATA_KAFKA_REGISTRY_H */
