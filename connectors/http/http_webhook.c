/*-------------------------------------------------------------------------
 *
 * connectors/http/http_webhook.c
 *	  Dialect webhook: changes as JSON.
 *
 * NOTES
 *	  A change:
 *
 *	  {"op":"insert|update|delete|truncate|read", "schema":..., "table":...,
 *	   "key":{...}|null, "before":{...}|null, "after":{...}|null,
 *	   "lsn":"0/1F2E3D4", "commit_lsn":..., "seq":n, "xid":n,
 *	   "commit_time":"2026-01-02T03:04:05.678901+00:00", "origin":...}
 *
 *	  commit_lsn and seq together order all changes and tell repeats.  Columns
 *	  whose value did not change and is not in the log are left out of "after"
 *	  and named in "unchanged".
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "access/xlogdefs.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "json_text.h"
#include "row_json.h"

#define ANSWER_BYTES	4096

/* What prepare_table() returns. */
typedef struct WebhookTable
{
	TapRowJson *json;
	char	   *names;			/* "schema":"s","table":"t" */
} WebhookTable;

static void *
prepare_table(TapSession *session, const TapSourceTable *table, const TapSourceTable *old,
			  bool known)
{
	WebhookTable *result = palloc0(sizeof(WebhookTable));
	StringInfoData names;

	(void) session;
	(void) old;
	(void) known;
	initStringInfo(&names);
	appendStringInfoString(&names, "\"schema\":");
	tap_json_append_cstring(&names, tap_http_utf8(table->name.schema ? table->name.schema : ""));
	appendStringInfoString(&names, ",\"table\":");
	tap_json_append_cstring(&names, tap_http_utf8(table->name.name));
	result->names = names.data;
	result->json = tap_row_json_prepare(table);
	return result;
}

static void
append_time(StringInfo out, TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];

	if (time == 0 || timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
	{
		appendStringInfoString(out, "null");
		return;
	}
	tm.tm_isdst = 0;			/* or the zone would be left out */
	EncodeDateTime(&tm, fsec, true, 0, "UTC", USE_XSD_DATES, text);
	appendStringInfo(out, "\"%s\"", text);
}

static void
append_transaction(StringInfo out, const TapOutChange *change)
{
	const TapOutTxn *txn = change->txn;

	appendStringInfo(out, ",\"lsn\":\"%X/%X\"", LSN_FORMAT_ARGS(change->lsn));
	appendStringInfo(out, ",\"commit_lsn\":\"%X/%X\",\"seq\":%lld",
					 LSN_FORMAT_ARGS(txn ? txn->commit_lsn : change->lsn),
					 (long long) change->number);
	if (txn == NULL)
	{
		appendStringInfoString(out, ",\"xid\":null,\"commit_time\":null,\"origin\":null");
		return;
	}
	appendStringInfo(out, ",\"xid\":%u,\"commit_time\":", txn->xid);
	append_time(out, txn->commit_time);
	appendStringInfoString(out, ",\"origin\":");
	if (txn->origin != NULL)
		tap_json_append_cstring(out, tap_http_utf8(txn->origin));
	else
		appendStringInfoString(out, "null");
}

/* The columns that are in neither row. */
static void
append_unchanged(StringInfo out, const TapOutChange *change)
{
	TupleDesc	descriptor = change->table->descriptor;
	const TapRowImage *row = &change->new_row;
	bool		any = false;

	if (row->slot == NULL || row->present == NULL)
		return;
	for (int i = 0; i < descriptor->natts; i++)
	{
		if (row->present[i] || TupleDescAttr(descriptor, i)->attisdropped)
			continue;
		appendStringInfoString(out, any ? "," : ",\"unchanged\":[");
		tap_json_append_cstring(out, tap_http_utf8(NameStr(TupleDescAttr(descriptor, i)->attname)));
		any = true;
	}
	if (any)
		appendStringInfoChar(out, ']');
}

static const TapRowImage *
row_with_key(const TapOutChange *change)
{
	return change->kind == TAP_CHANGE_DELETE ? &change->old_row : &change->new_row;
}

static void
append_change(StringInfo out, const WebhookTable *table, const TapOutChange *change)
{
	appendStringInfo(out, "{\"op\":\"%s\",%s,\"key\":", tap_http_kind_name(change->kind),
					 table->names);
	if (change->table->nkeys > 0)
		tap_row_json_append(table->json, out, row_with_key(change), TAP_ROW_JSON_KEY);
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"before\":");
	tap_row_json_append(table->json, out, &change->old_row, TAP_ROW_JSON_ALL);
	appendStringInfoString(out, ",\"after\":");
	tap_row_json_append(table->json, out, &change->new_row, TAP_ROW_JSON_ALL);
	append_unchanged(out, change);
	append_transaction(out, change);
	appendStringInfoChar(out, '}');
}

/* A key that changes belongs to two lanes. */
static bool
key_changes(const WebhookTable *table, const TapOutChange *change, const char *id)
{
	StringInfoData before;

	if (change->kind != TAP_CHANGE_UPDATE || change->old_row.slot == NULL)
		return false;
	initStringInfo(&before);
	return !tap_http_append_id(table->json, &before, change->table, &change->old_row) ||
		strcmp(before.data, id) != 0;
}

/* Changes of one key share a lane, and all of a table without one. */
static void
choose_lane(TapSession *session, const WebhookTable *table, const TapOutChange *change,
			TapHttpAddition *addition)
{
	StringInfoData id;

	if (session->settings.max_in_flight == 1)
		return;
	addition->hash = hash_bytes((const unsigned char *) table->names,
								(int) strlen(table->names));
	addition->barrier = (change->kind == TAP_CHANGE_TRUNCATE);
	if (change->kind == TAP_CHANGE_TRUNCATE || change->table->nkeys == 0)
		return;
	initStringInfo(&id);
	if (!tap_http_append_id(table->json, &id, change->table, row_with_key(change)))
		return;
	addition->hash ^= hash_bytes((const unsigned char *) id.data, id.len);
	addition->barrier = key_changes(table, change, id.data);
}

static void
write_change(TapSession *session, const TapOutChange *change)
{
	TapHttpAddition addition = {0};
	StringInfoData text;

	initStringInfo(&text);
	append_change(&text, change->table_data, change);
	addition.change = change;
	addition.data = text.data;
	addition.length = text.len;
	choose_lane(session, change->table_data, change, &addition);
	tap_http_queue_add(session, &addition);
}

static void
make_request(TapSession *session, TapHttpBatch *batch)
{
	TapHttpBodyKind kind = session->settings.body;
	TapHttpRequest *request = &batch->request;
	bool		first = true;

	if (kind == TAP_HTTP_BODY_ARRAY)
		appendStringInfoChar(&batch->body, '[');
	for (int i = 0; i < batch->nitems; i++)
	{
		const TapHttpItem *item = &batch->items[i];

		if (item->settled)
			continue;
		if (!first && kind == TAP_HTTP_BODY_ARRAY)
			appendStringInfoString(&batch->body, ",\n");
		appendBinaryStringInfo(&batch->body, batch->data.data + item->offset,
							   (int) item->length);
		if (kind == TAP_HTTP_BODY_NDJSON)
			appendStringInfoChar(&batch->body, '\n');
		first = false;
	}
	if (kind == TAP_HTTP_BODY_ARRAY)
		appendStringInfoChar(&batch->body, ']');
	request->method = session->settings.method;
	request->content_type = (kind == TAP_HTTP_BODY_NDJSON) ? "application/x-ndjson" :
		"application/json";
	request->body = batch->body.data;
	request->length = batch->body.len;
	request->idempotency_key = tap_http_batch_key(session, batch);
	request->answer_limit = ANSWER_BYTES;
	request->answer_ignored = true;
}

static TapHttpVerdict
judge(TapSession *session, TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	(void) batch;
	return tap_http_judge_status(session, answer);
}

/* Any server will do; whether it takes changes only a change can tell. */
static const char *
recognize(TapSession *session, char **detail)
{
	TapHttpRequest request = {.method = "HEAD",.answer_limit = ANSWER_BYTES,.answer_ignored = true};
	TapHttpAnswer *answer = tap_http_call(session, &request);

	if (answer->status == 0)
		return answer->error;
	*detail = psprintf("answers HEAD with HTTP status %ld", answer->status);
	if (answer->status == 401 || answer->status == 407)
		return tap_http_describe_answer(session, answer);
	return NULL;
}

const TapHttpDialect tap_http_webhook = {
	.name = "webhook",
	.prepare_table = prepare_table,
	.write = write_change,
	.make_request = make_request,
	.judge = judge,
	.recognize = recognize,
};
