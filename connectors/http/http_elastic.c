/*-------------------------------------------------------------------------
 *
 * connectors/http/http_elastic.c
 *	  Dialect elasticsearch: the _bulk of Elasticsearch and OpenSearch.
 *
 * NOTES
 *	  A row is a document: _id is its key, its version is given from outside
 *	  (external_gte) and is the position of the commit.  So a repeat never puts
 *	  an older row in the place of a newer one, and a refusal with
 *	  version_conflict_engine_exception says that the target has it already.
 *	  Deletes have a version, too.
 *
 *	  Of several changes to one document in a request only the last is sent:
 *	  they have the same version when they are of one transaction, and those
 *	  that have to be sent again could else come last.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_elastic.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/formatting.h"

#include "json_text.h"

/* What an answer has for each item at most. */
#define ANSWER_BYTES		(1024 * 1024)
#define ANSWER_ITEM_BYTES	4096

/* ---------------------------------------------------------------------
 * Indexes
 * ---------------------------------------------------------------------
 */

/* The rules that both servers have for names. */
static void
check_index_name(const TapSourceTable *table, const char *name)
{
	if (name[0] != '\0' && strlen(name) <= 255 && strpbrk(name, "\\/*?\"<>| ,#:") == NULL &&
		strchr("-_+", name[0]) == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_STRING_FORMAT),
			 errmsg("\"%s\" cannot be the name of an index", name),
			 errdetail("It is that of table %s.%s.", table->name.schema, table->name.name),
			 errhint("Set the option \"index\" of the pipeline to another pattern; names must not begin with - _ or +, nor have any of \\ / * ? \" < > | , # : or spaces.")));
}

static char *
index_name(TapSession *session, const TapSourceTable *table)
{
	const char *pattern = tap_http_core->option_text(session->args.pipeline_options, "index");
	char	   *name = tap_http_expand(pattern, &table->name);

	/*
	 * upper case letters are forbidden; of ASCII only, so as not to depend on
	 * locales
	 */
	name = tap_http_utf8(asc_tolower(name, strlen(name)));
	check_index_name(table, name);
	return name;
}

/* Two tables must not share one: a truncate of either would empty both. */
static void
check_not_shared(TapSession *session, const TapElasticTable *target)
{
	ListCell   *cell;

	foreach(cell, session->targets)
	{
		TapElasticTable *other = lfirst(cell);

		if (strcmp(other->index, target->index) == 0 &&
			(strcmp(other->name.name, target->name.name) != 0 ||
			 strcmp(other->name.schema, target->name.schema) != 0))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("tables %s.%s and %s.%s would share the index \"%s\"",
							other->name.schema, other->name.name, target->name.schema,
							target->name.name, target->index),
					 errhint("Use both {schema} and {table} in the option \"index\", or a pipeline for each.")));
	}
}

/* NULL: left to the server. */
static const char *
field_type(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return "\"type\":\"boolean\"";
		case INT2OID:
		case INT4OID:
			return "\"type\":\"integer\"";
		case INT8OID:
		case OIDOID:
			return "\"type\":\"long\"";
		case FLOAT4OID:
			return "\"type\":\"float\"";
		case FLOAT8OID:
		case NUMERICOID:
			return "\"type\":\"double\"";
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return "\"type\":\"date\",\"format\":\"strict_date_optional_time_nanos\"";
		case UUIDOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case TIMEOID:
		case TIMETZOID:
		case INTERVALOID:
		case BPCHAROID:
			return "\"type\":\"keyword\",\"ignore_above\":8191";
		case TEXTOID:
		case VARCHAROID:
			return "\"type\":\"text\",\"fields\":{\"keyword\":{\"type\":\"keyword\",\"ignore_above\":8191}}";
		case BYTEAOID:
			return "\"type\":\"binary\"";
		default:
			return NULL;
	}
}

static void
append_properties(StringInfo out, const TapSourceTable *table)
{
	TapHttpColumn *columns = tap_http_columns(table);
	bool		any = false;

	appendStringInfoString(out, "{\"properties\":{");
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		const char *type = columns[i].name ? field_type(columns[i].type) : NULL;

		if (type == NULL)
			continue;
		if (any)
			appendStringInfoChar(out, ',');
		tap_json_append_cstring(out, columns[i].name);
		appendStringInfo(out, ":{%s}", type);
		any = true;
	}
	appendStringInfoString(out, "}}");
}

static TapHttpAnswer *
call(TapSession *session, const char *method, const char *path, StringInfo body)
{
	TapHttpRequest request = {0};

	request.method = method;
	request.path = path;
	request.answer_limit = ANSWER_BYTES;
	if (body != NULL)
	{
		request.content_type = "application/json";
		request.body = body->data;
		request.length = body->len;
	}
	return tap_http_call(session, &request);
}

static bool
is_success(const TapHttpAnswer *answer)
{
	return answer->complete && answer->status >= 200 && answer->status < 300;
}

/* Someone else may have created it meanwhile. */
static void
create_index(TapSession *session, const TapSourceTable *table, const TapElasticTable *target,
			 bool known)
{
	TapHttpAnswer *answer = call(session, "HEAD", target->path, NULL);
	StringInfoData body;

	if (is_success(answer))
		return;
	if (answer->status != 404)
		tap_http_raise_answer(session, answer, psprintf("look for index \"%s\"", target->index));
	if (known)
		tap_http_raise_gone("index", target->index, &target->name);
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"mappings\":");
	append_properties(&body, table);
	appendStringInfoChar(&body, '}');
	answer = call(session, "PUT", target->path, &body);
	if (!is_success(answer) &&
		(answer->status != 400 || strstr(answer->body, "resource_already_exists_exception") == NULL))
		tap_http_raise_answer(session, answer, psprintf("create index \"%s\"", target->index));
}

/* New columns; those that are known cannot change, and need not be dropped. */
static void
extend_index(TapSession *session, const TapSourceTable *table, const TapElasticTable *target)
{
	StringInfoData body;
	TapHttpAnswer *answer;

	if (strcmp(tap_http_core->option_text(session->args.pipeline_options, "ddl"), "apply") != 0)
		return;
	initStringInfo(&body);
	append_properties(&body, table);
	answer = call(session, "PUT", psprintf("%s/_mapping", target->path), &body);
	if (is_success(answer))
		return;
	if (answer->status != 400)
		tap_http_raise_answer(session, answer, psprintf("extend index \"%s\"", target->index));
	tap_http_core->event("warning", &target->name,
						 psprintf("the fields of index \"%s\" stay as they are: %s",
								  target->index, tap_http_describe_answer(session, answer)));
}

static void *
prepare_table(TapSession *session, const TapSourceTable *table, const TapSourceTable *old,
			  bool known)
{
	TapElasticTable *target = palloc0(sizeof(TapElasticTable));
	StringInfoData text;

	target->name.schema = pstrdup(table->name.schema ? table->name.schema : "");
	target->name.name = pstrdup(table->name.name);
	target->index = index_name(session, table);
	initStringInfo(&text);
	appendStringInfoChar(&text, '/');
	tap_http_append_escaped(&text, target->index, "");
	target->path = text.data;
	initStringInfo(&text);
	tap_json_append_cstring(&text, target->index);
	target->index_json = text.data;
	target->json = tap_row_json_prepare(table);
	check_not_shared(session, target);
	if (old == NULL)
		create_index(session, table, target, known);
	else
		extend_index(session, table, target);
	session->targets = lappend(session->targets, target);
	return target;
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

void
tap_elastic_append_action(StringInfo out, const TapElasticTable *target, const char *action,
						  const char *id, uint64 version)
{
	appendStringInfo(out, "{\"%s\":{\"_index\":%s,\"_id\":", action, target->index_json);
	tap_json_append_cstring(out, id);
	appendStringInfo(out, ",\"version\":%llu,\"version_type\":\"external_gte\"}}\n",
					 (unsigned long long) version);
}

/* The id of a row, NULL when it is not whole. */
static char *
id_of(const TapElasticTable *target, const TapOutChange *change, const TapRowImage *image)
{
	StringInfoData id;

	if (image->slot == NULL)
		return NULL;
	initStringInfo(&id);
	if (!tap_http_append_id(target->json, &id, change->table, image))
		return NULL;
	return id.data;
}

static void
add(TapSession *session, const TapOutChange *change, const char *id, StringInfo data,
	Size row_offset, Size row_length)
{
	TapElasticTable *target = change->table_data;
	TapHttpAddition addition = {0};

	addition.change = change;
	addition.id = psprintf("%s/%s", target->index, id);
	addition.hash = hash_bytes((const unsigned char *) addition.id, (int) strlen(addition.id));
	addition.data = data->data;
	addition.length = data->len;
	addition.row_offset = row_offset;
	addition.row_length = row_length;
	tap_http_queue_add(session, &addition);
}

static void
add_delete(TapSession *session, const TapOutChange *change, const char *id)
{
	TapElasticTable *target = change->table_data;
	StringInfoData data;
	const char *start;
	const char *end;

	initStringInfo(&data);
	tap_elastic_append_action(&data, target, "delete", id, tap_http_version(change));

	/* all there is to tell of a delete is its id, a JSON string */
	start = strstr(data.data, "\"_id\":") + strlen("\"_id\":");
	end = strstr(start, ",\"version\":");
	add(session, change, id, &data, start - data.data, end - start);
}

static void
add_index(TapSession *session, const TapOutChange *change, const char *id)
{
	TapElasticTable *target = change->table_data;
	const char *missing;
	StringInfoData data;
	Size		offset;

	initStringInfo(&data);
	tap_elastic_append_action(&data, target, "index", id, tap_http_version(change));
	offset = data.len;
	appendStringInfoChar(&data, '{');
	missing = tap_http_append_whole_row(target->json, &data, change);
	appendStringInfoString(&data, "}\n");
	if (missing != NULL)
		tap_http_refuse_partial(target->json, change, missing);
	else
		add(session, change, id, &data, offset, data.len - offset - 1);
}

static void
write_change(TapSession *session, const TapOutChange *change)
{
	TapElasticTable *target = change->table_data;
	char	   *old_id = id_of(target, change, &change->old_row);
	char	   *id = (change->kind == TAP_CHANGE_DELETE) ? NULL :
	id_of(target, change, &change->new_row);

	if (old_id != NULL && (id == NULL || strcmp(old_id, id) != 0))
		add_delete(session, change, old_id);
	if (id != NULL)
		add_index(session, change, id);
}

static void
make_request(TapSession *session, TapHttpBatch *batch)
{
	(void) session;
	for (int i = 0; i < batch->nitems; i++)
	{
		const TapHttpItem *item = &batch->items[i];

		if (!item->settled)
			appendBinaryStringInfo(&batch->body, batch->data.data + item->offset,
								   (int) item->length);
	}
	tap_elastic_bulk_request(batch, tap_http_batch_pending(batch));
}

void
tap_elastic_bulk_request(TapHttpBatch *batch, int nitems)
{
	TapHttpRequest *request = &batch->request;

	request->method = "POST";
	request->path = "/_bulk";
	request->query = "filter_path=items.*.status,items.*.error.type,items.*.error.reason";
	request->content_type = "application/x-ndjson";
	request->body = batch->body.data;
	request->length = batch->body.len;
	request->answer_limit = ANSWER_BYTES + (Size) nitems * ANSWER_ITEM_BYTES;
}

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

TapHttpVerdict
tap_elastic_judge_status(TapSession *session, const TapHttpAnswer *answer)
{
	TapHttpVerdict verdict = tap_http_judge_status(session, answer);

	/* what is wrong with a single document is said of its item */
	if (verdict == TAP_HTTP_REFUSED)
		tap_http_raise_answer(session, answer, "send documents");
	return verdict;
}

/* The target has what the copy found already newer: of another hub, perhaps. */
static void
note_newer(TapSession *session, const TapHttpItem *item)
{
	if (item->kind != TAP_CHANGE_READ || session->told_newer)
		return;
	session->told_newer = true;
	tap_http_core->event("warning", &item->table->name,
						 "the target has newer versions of some documents than the hub; they are left as they are. "
						 "If the hub was restored or replaced, choose another index");
}

/* What becomes of one item; true when it has to be sent again. */
static bool
judge_item(TapSession *session, TapHttpBatch *batch, TapHttpItem *item,
		   const TapHttpBulkItem *said)
{
	bool		conflict = strcmp(said->type, "version_conflict_engine_exception") == 0;
	bool		blocked = strcmp(said->type, "cluster_block_exception") == 0;

	if (conflict)
		note_newer(session, item);
	if (conflict || (said->status >= 200 && said->status < 300) ||
		(item->kind != TAP_CHANGE_READ && said->status == 404 && said->type[0] == '\0'))
	{
		item->settled = true;
		return false;
	}

	/* a full disk blocks writing until there is room again */
	if (said->status == 429 || said->status >= 500 || blocked)
		return true;
	tap_http_item_refused(batch, item, ERRCODE_DATA_EXCEPTION,
						  psprintf("%s (status %d): %s",
								   said->type[0] ? said->type : "unknown error", said->status,
								   said->reason));
	return false;
}

static TapHttpVerdict
judge_items(TapSession *session, TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	int			pending = tap_http_batch_pending(batch);
	TapHttpBulkItem *said = palloc(sizeof(TapHttpBulkItem) * pending);
	int			next = 0;
	bool		again = false;

	/* an answer that is none is one of something in between */
	if (!tap_http_parse_bulk(answer->body, answer->length, said, pending))
		return TAP_HTTP_AGAIN;
	for (int i = 0; i < batch->nitems; i++)
	{
		if (!batch->items[i].settled &&
			judge_item(session, batch, &batch->items[i], &said[next++]))
			again = true;
	}
	return again ? TAP_HTTP_AGAIN : TAP_HTTP_DONE;
}

static TapHttpVerdict
judge(TapSession *session, TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	TapHttpVerdict verdict;

	if (batch->truncate)
		return tap_elastic_judge_truncate(session, batch, answer);
	verdict = tap_elastic_judge_status(session, answer);
	if (verdict != TAP_HTTP_DONE)
		return verdict;
	return judge_items(session, batch, answer);
}

static const char *
recognize(TapSession *session, char **detail)
{
	TapHttpAnswer *answer = call(session, "GET", "/", NULL);
	bool		opensearch;

	if (!is_success(answer))
		return tap_http_describe_answer(session, answer);
	opensearch = strstr(answer->body, "\"opensearch\"") != NULL;
	if (strstr(answer->body, "\"cluster_name\"") == NULL)
		return "the server is neither Elasticsearch nor OpenSearch";
	*detail = psprintf("%s %s", opensearch ? "OpenSearch" : "Elasticsearch",
					   tap_elastic_version(answer->body));
	return NULL;
}

const TapHttpDialect tap_http_elasticsearch = {
	.name = "elasticsearch",
	.needs_key = true,
	.has_ids = true,
	.prepare_table = prepare_table,
	.write = write_change,
	.make_request = make_request,
	.make_truncate = tap_elastic_make_truncate,
	.judge = judge,
	.recognize = recognize,
};
