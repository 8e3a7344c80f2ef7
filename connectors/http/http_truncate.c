/*-------------------------------------------------------------------------
 *
 * connectors/http/http_truncate.c
 *	  Empties indexes of Elasticsearch and OpenSearch.
 *
 * NOTES
 *	  Neither _delete_by_query nor a new index will do: the one counts the
 *	  versions of what it deletes on, so that a repeat of the rows that came
 *	  after the TRUNCATE would be refused as older; the other loses the user's
 *	  settings.  So the ids are read, and deleted each with the version it has.
 *
 *	  REFRESH -> SEARCH -> DELETE -> MORE -> DELETE -> MORE ... until no hit
 *
 *	  Documents that are newer than the TRUNCATE are left, as it is a repeat
 *	  then.  A request that fails is sent again; a search whose scroll has
 *	  ended meanwhile begins anew.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_elastic.h"

#include "utils/memutils.h"

#include "json_text.h"

#define ANSWER_BYTES	(8 * 1024 * 1024)
#define SCROLL_BYTES	16384

/* TapHttpBatch.step */
typedef enum TruncateStep
{
	TRUNCATE_REFRESH,
	TRUNCATE_SEARCH,
	TRUNCATE_DELETE,
	TRUNCATE_MORE
} TruncateStep;

/* What a search found, on its way to become a body of _bulk. */
typedef struct Found
{
	TapHttpBatch *batch;
	int			hits;
} Found;

static void
request_json(TapHttpBatch *batch, const char *path, const char *query)
{
	TapHttpRequest *request = &batch->request;

	request->method = "POST";
	request->path = path;
	request->query = query;
	request->answer_limit = ANSWER_BYTES;
	if (batch->body.len == 0)
		return;
	request->content_type = "application/json";
	request->body = batch->body.data;
	request->length = batch->body.len;
}

void
tap_elastic_make_truncate(TapSession *session, TapHttpBatch *batch)
{
	const TapElasticTable *target = batch->target;

	(void) session;
	switch ((TruncateStep) batch->step)
	{
		case TRUNCATE_REFRESH:
			request_json(batch, psprintf("%s/_refresh", target->path), NULL);
			break;
		case TRUNCATE_SEARCH:
			appendStringInfoString(&batch->body,
								   "{\"size\":1000,\"version\":true,\"_source\":false,\"sort\":[\"_doc\"]}");
			request_json(batch, psprintf("%s/_search", target->path),
						 "scroll=1m&filter_path=_scroll_id,hits.hits._id,hits.hits._version");
			break;
		case TRUNCATE_DELETE:
			/* written when the hits were read */
			appendBinaryStringInfo(&batch->body, batch->data.data, batch->data.len);
			tap_elastic_bulk_request(batch, batch->step_items);
			break;
		case TRUNCATE_MORE:
			appendStringInfoString(&batch->body, "{\"scroll\":\"1m\",\"scroll_id\":");
			tap_json_append_cstring(&batch->body, batch->step_data);
			appendStringInfoChar(&batch->body, '}');
			request_json(batch, "/_search/scroll",
						 "filter_path=_scroll_id,hits.hits._id,hits.hits._version");
			break;
	}
}

static void
take_hit(void *data, const char *id, int64_t version)
{
	Found	   *found = data;
	TapHttpBatch *batch = found->batch;

	found->hits++;
	if (batch->version != 0 && (uint64) version > batch->version)
		return;
	tap_elastic_append_action(&batch->data, batch->target, "delete", id, (uint64) version);
	batch->step_items++;
}

static TapHttpVerdict
take_hits(TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	Found		found = {batch, 0};
	char	   *scroll = MemoryContextAlloc(batch->context, SCROLL_BYTES);

	resetStringInfo(&batch->data);
	batch->step_items = 0;
	if (!tap_http_parse_hits(answer->body, answer->length, scroll, SCROLL_BYTES, take_hit, &found))
		return TAP_HTTP_AGAIN;
	if (batch->step_data != NULL)
		pfree(batch->step_data);
	batch->step_data = scroll;
	if (found.hits == 0)
		return TAP_HTTP_DONE;
	batch->step = (batch->step_items > 0) ? TRUNCATE_DELETE : TRUNCATE_MORE;
	return TAP_HTTP_AT_ONCE;
}

/* Newer documents stay, and what is gone already is gone. */
static bool
is_deleted(const TapHttpBulkItem *said)
{
	return (said->status >= 200 && said->status < 300) || said->status == 404 ||
		strcmp(said->type, "version_conflict_engine_exception") == 0;
}

static TapHttpVerdict
take_deletes(TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	TapHttpBulkItem *said = palloc(sizeof(TapHttpBulkItem) * batch->step_items);

	if (!tap_http_parse_bulk(answer->body, answer->length, said, batch->step_items))
		return TAP_HTTP_AGAIN;
	for (int i = 0; i < batch->step_items; i++)
	{
		if (!is_deleted(&said[i]))
			return TAP_HTTP_AGAIN;
	}
	batch->step = TRUNCATE_MORE;
	return TAP_HTTP_AT_ONCE;
}

TapHttpVerdict
tap_elastic_judge_truncate(TapSession *session, TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	TapHttpVerdict verdict;

	if (batch->step == TRUNCATE_MORE && answer->status == 404)
	{
		batch->step = TRUNCATE_REFRESH;
		return TAP_HTTP_AT_ONCE;
	}
	verdict = tap_elastic_judge_status(session, answer);
	if (verdict != TAP_HTTP_DONE)
		return verdict;
	switch ((TruncateStep) batch->step)
	{
		case TRUNCATE_REFRESH:
			batch->step = TRUNCATE_SEARCH;
			return TAP_HTTP_AT_ONCE;
		case TRUNCATE_DELETE:
			return take_deletes(batch, answer);
		case TRUNCATE_SEARCH:
		case TRUNCATE_MORE:
			return take_hits(batch, answer);
	}
	return TAP_HTTP_AGAIN;
}

char *
tap_elastic_version(const char *body)
{
	const char *number = strstr(body, "\"number\"");
	const char *start = number ? strchr(number + 8, '"') : NULL;

	if (start == NULL)
		return pstrdup("of an unknown version");
	start++;
	return pnstrdup(start, Min(strspn(start, "0123456789.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"), 40));
}
