/*-------------------------------------------------------------------------
 *
 * connectors/http/http_clickhouse.h
 *	  What the files of the dialect clickhouse share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_CLICKHOUSE_H
#define TAP_HTTP_CLICKHOUSE_H

#include "http_connector.h"

#include "row_json.h"

/* What prepare_table() returns. */
typedef struct TapClickhouseTable
{
	TapTableName name;			/* of the hub table */
	char	   *table;			/* of the target; UTF-8 */
	char	   *version;		/* names of its columns; UTF-8 */
	char	   *deleted;
	TapRowJson *json;
	TapHttpColumn *columns;		/* natts entries */
} TapClickhouseTable;

/* Append a name as an identifier. */
extern void tap_clickhouse_append_name(StringInfo out, const char *name);

/*
 * Run a statement and return the body of its answer, in the current context.
 * Raises an error when it fails.  doing completes "could not ...".
 */
extern char *tap_clickhouse_run(TapSession *session, const char *statement, const char *doing);

/*
 * Run a statement; its answer, whatever it is.  In the current context.
 */
extern TapHttpAnswer *tap_clickhouse_call(TapSession *session, const char *statement);

/*
 * Create the target table, unless it is known to have been made, or check it
 * and add what columns it lacks.
 */
extern void tap_clickhouse_prepare(TapSession *session, const TapSourceTable *table,
								   const TapClickhouseTable *target, bool known);

/*
 * What the target could not hold of a change's row although its column has
 * the type that belongs to it; NULL: nothing.  In the current context.
 */
extern char *tap_clickhouse_misfit(const TapClickhouseTable *target,
								   const TapOutChange *change);

/* The parameters that all requests have; in the current context. */
extern char *tap_clickhouse_parameters(TapSession *session);

#endif							/* TAP_HTTP_CLICKHOUSE_H */
