/*-------------------------------------------------------------------------
 *
 * src/connector_loader.h
 *	  Finds, loads and checks connectors.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_CONNECTOR_LOADER_H
#define TAPDATA_CONNECTOR_LOADER_H

#include "postgres.h"

#include "connector.h"

/*
 * The connector for a URI's scheme, loaded on first use; raises
 * ERRCODE_UNDEFINED_OBJECT with the known schemes as hint.
 */
extern const TapConnector *tap_connector_for_scheme(const char *scheme);

/* The connector of that name; raises an error that says how to get it. */
extern const TapConnector *tap_connector_load(const char *name);

/* The same, but NULL when it is not installed or, after a warning, broken. */
extern const TapConnector *tap_connector_find(const char *name);

/*
 * All connectors that are installed (List of const TapConnector *).  One that
 * does not load is left out with a warning.
 */
extern List *tap_connector_all(void);

/* Copy a TapSourceTable and all it points to, without connector_data. */
extern TapSourceTable *tap_source_table_copy(const TapSourceTable *table);

/*
 * An open session of a connection, with what it needs.  Lives in its own
 * child of the context that was current at open.
 */
typedef struct TapOpenSession
{
	const TapConnector *connector;
	const TapSourceCallbacks *source;
	const TapSinkCallbacks *sink;
	TapSession *session;
	TapSessionArgs args;
	MemoryContext context;
} TapOpenSession;

struct TapConnectionRow;
struct TapPipelineRow;

/* Open; pipeline may be NULL.  Checks nothing but that the login works. */
extern TapOpenSession *tap_session_open(const struct TapConnectionRow *connection,
										const struct TapPipelineRow *pipeline,
										TapPurpose purpose);

/* Run the connector's checks.  List of TapCheck * in the current context. */
extern List *tap_session_test(const struct TapConnectionRow *connection,
							  const struct TapPipelineRow *pipeline, List *tables);

/* The same without a pipeline, as a source and as a target: TAP_SIDE_*. */
extern List *tap_session_test_connection(const struct TapConnectionRow *connection, int sides);

/*
 * See TapCore.event.  Needs no transaction, and may be called where catalogs
 * must not be written: the event waits for this process's next commit.
 */
extern void tap_core_event(const char *kind, const TapTableName *table,
						   const char *message);

/* See TapCore.awaited. */
extern TimestampTz tap_core_awaited(void);

/* See TapCore.delayed. */
extern void tap_core_delayed(const char *why);

/* Close, also after an error; the pointer is gone then. */
extern void tap_session_close(TapOpenSession *session);

#endif							/* TAPDATA_CONNECTOR_LOADER_H */
