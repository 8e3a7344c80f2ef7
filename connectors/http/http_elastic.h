/*-------------------------------------------------------------------------
 *
 * connectors/http/http_elastic.h
 *	  What the files of the dialect elasticsearch share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_ELASTIC_H
#define TAP_HTTP_ELASTIC_H

#include "http_connector.h"

#include "http_bulk.h"
#include "row_json.h"

/* What prepare_table() returns. */
typedef struct TapElasticTable
{
	TapTableName name;			/* of the hub table */
	char	   *index;			/* UTF-8 */
	char	   *index_json;		/* as a JSON string */
	char	   *path;			/* "/index", escaped */
	TapRowJson *json;
} TapElasticTable;

/* Append the action line of _bulk; id is UTF-8. */
extern void tap_elastic_append_action(StringInfo out, const TapElasticTable *target,
									  const char *action, const char *id, uint64 version);

/* Make batch->request of a body for _bulk that is in batch->body. */
extern void tap_elastic_bulk_request(TapHttpBatch *batch, int nitems);

/*
 * What an answer means by its status; raises an error where it speaks of a
 * request as a whole.
 */
extern TapHttpVerdict tap_elastic_judge_status(TapSession *session,
											   const TapHttpAnswer *answer);

/* See TapHttpDialect. */
extern void tap_elastic_make_truncate(TapSession *session, TapHttpBatch *batch);
extern TapHttpVerdict tap_elastic_judge_truncate(TapSession *session, TapHttpBatch *batch,
												 const TapHttpAnswer *answer);

/* The version number in the answer of "GET /"; in the current context. */
extern char *tap_elastic_version(const char *body);

#endif							/* TAP_HTTP_ELASTIC_H */
