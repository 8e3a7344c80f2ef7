/*-------------------------------------------------------------------------
 *
 * connectors/http/http_batch.c
 *	  Batches of changes.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "access/xlogdefs.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "json_text.h"

/* The last item of an id. */
typedef struct IdEntry
{
	const char *id;				/* hash key */
	int			item;
} IdEntry;

static const char *const kind_names[] = {
	[TAP_CHANGE_INSERT] = "insert",
	[TAP_CHANGE_UPDATE] = "update",
	[TAP_CHANGE_DELETE] = "delete",
	[TAP_CHANGE_TRUNCATE] = "truncate",
	[TAP_CHANGE_READ] = "read",
};

const char *
tap_http_kind_name(TapChangeKind kind)
{
	return kind_names[kind];
}

static uint32
hash_id(const void *key, Size size)
{
	const char *id = *(const char *const *) key;

	(void) size;
	return hash_bytes((const unsigned char *) id, (int) strlen(id));
}

static int
compare_ids(const void *a, const void *b, Size size)
{
	(void) size;
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static HTAB *
create_ids(MemoryContext context)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(char *);
	control.entrysize = sizeof(IdEntry);
	control.hash = hash_id;
	control.match = compare_ids;
	control.hcxt = context;
	return hash_create("tapdata http ids", 256, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

TapHttpBatch *
tap_http_batch_create(TapSession *session, void *target)
{
	MemoryContext context = AllocSetContextCreate(session->context, "tapdata http batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	TapHttpBatch *batch = palloc0(sizeof(TapHttpBatch));

	batch->context = context;
	batch->target = target;
	batch->open_txn = -1;
	batch->created_at = GetCurrentTimestamp();
	batch->max_items = 16;
	batch->items = palloc(sizeof(TapHttpItem) * batch->max_items);
	initStringInfo(&batch->data);
	if (session->dialect->has_ids)
		batch->by_id = create_ids(context);
	MemoryContextSwitchTo(before);
	return batch;
}

void
tap_http_batch_free(TapHttpBatch *batch)
{
	if (batch->transfer != NULL)
		tap_http_finish(batch->transfer);
	MemoryContextDelete(batch->context);
}

/*
 * The item is the last of its id now: a target that takes the items of a
 * request one by one could else take an older one last.
 */
static void
supersede(TapHttpBatch *batch, const char *id, int item)
{
	bool		found;
	IdEntry    *entry = hash_search(batch->by_id, &id, HASH_ENTER, &found);

	if (found)
		batch->items[entry->item].settled = true;
	else
		entry->id = MemoryContextStrdup(batch->context, id);
	entry->item = item;
}

static TapHttpItem *
new_item(TapHttpBatch *batch)
{
	if (batch->nitems == batch->max_items)
	{
		batch->max_items *= 2;
		batch->items = repalloc(batch->items, sizeof(TapHttpItem) * batch->max_items);
	}
	return &batch->items[batch->nitems++];
}

void
tap_http_batch_add(TapHttpBatch *batch, const TapHttpAddition *addition)
{
	const TapOutChange *change = addition->change;
	TapHttpItem *item = new_item(batch);

	item->offset = batch->data.len;
	item->length = addition->length;
	item->row_offset = item->offset + addition->row_offset;
	item->row_length = addition->row_length;
	item->table = change->table;
	item->kind = change->kind;
	item->lsn = change->lsn;
	item->commit_lsn = change->txn ? change->txn->commit_lsn : 0;
	item->number = change->number;
	item->settled = false;
	appendBinaryStringInfo(&batch->data, addition->data, (int) addition->length);
	if (addition->id != NULL && batch->by_id != NULL)
		supersede(batch, addition->id, batch->nitems - 1);
}

TapHttpBatch *
tap_http_batch_cut(TapSession *session, TapHttpBatch *batch, int first)
{
	TapHttpBatch *rest = tap_http_batch_create(session, batch->target);
	Size		start = batch->items[first].offset;

	rest->sequence = batch->sequence;
	rest->barrier = batch->barrier;
	rest->covered_before = batch->covered_before;
	rest->created_at = batch->created_at;
	appendBinaryStringInfo(&rest->data, batch->data.data + start,
						   (int) (batch->data.len - start));
	for (int i = first; i < batch->nitems; i++)
	{
		TapHttpItem *item = new_item(rest);

		*item = batch->items[i];
		item->offset -= start;
		item->row_offset -= start;
	}
	batch->nitems = first;
	batch->data.len = (int) start;

	/* its entries may be of items that are in the other one now */
	batch->by_id = NULL;
	return rest;
}

int
tap_http_batch_pending(const TapHttpBatch *batch)
{
	int			pending = 0;

	for (int i = 0; i < batch->nitems; i++)
		pending += !batch->items[i].settled;
	return pending;
}

char *
tap_http_batch_key(TapSession *session, const TapHttpBatch *batch)
{
	const TapHttpItem *first = NULL;
	const TapHttpItem *last = NULL;

	for (int i = 0; i < batch->nitems; i++)
	{
		if (batch->items[i].settled)
			continue;
		if (first == NULL)
			first = &batch->items[i];
		last = &batch->items[i];
	}
	if (first == NULL)
		return NULL;
	return psprintf("%s-%016llX.%lld-%016llX.%lld%s", session->args.pipeline_identity,
					(unsigned long long) (first->commit_lsn ? first->commit_lsn : first->lsn),
					(long long) first->number,
					(unsigned long long) (last->commit_lsn ? last->commit_lsn : last->lsn),
					(long long) last->number,
					first->commit_lsn ? "" : psprintf("-%08X",
													  hash_bytes((const unsigned char *) first->table->name.name,
																 (int) strlen(first->table->name.name))));
}

/* ---------------------------------------------------------------------
 * Dead letters
 * ---------------------------------------------------------------------
 */

static void
append_name(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, ",\"%s\":", key);
	tap_json_append_cstring(out, value);
}

char *
tap_http_database_json(const char *json, int length)
{
	StringInfoData out;

	if (GetDatabaseEncoding() == PG_UTF8)
		return pnstrdup(json, length);
	initStringInfo(&out);
	for (int i = 0; i < length;)
	{
		const unsigned char *c = (const unsigned char *) json + i;
		int			bytes = pg_utf_mblen(c);
		pg_wchar	code;

		if (*c < 0x80 || i + bytes > length || !pg_utf8_islegal(c, bytes))
		{
			appendStringInfoChar(&out, *c < 0x80 ? *c : '?');
			i++;
			continue;
		}
		code = utf8_to_unicode(c);
		if (code >= 0x10000)
			appendStringInfo(&out, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10),
							 0xDC00 + ((code - 0x10000) & 0x3FF));
		else
			appendStringInfo(&out, "\\u%04x", code);
		i += bytes;
	}
	return out.data;
}

/* What a dialect sends need not be a change as JSON; its row is JSON. */
char *
tap_http_item_change(const TapHttpBatch *batch, const TapHttpItem *item)
{
	StringInfoData out;

	if (item->row_length == 0)
		return tap_http_database_json(batch->data.data + item->offset, (int) item->length);
	initStringInfo(&out);
	appendStringInfo(&out, "{\"op\":\"%s\"", kind_names[item->kind]);
	if (item->table->name.schema != NULL)
		append_name(&out, "schema", item->table->name.schema);
	append_name(&out, "table", item->table->name.name);
	appendStringInfo(&out, ",\"%s\":", item->kind == TAP_CHANGE_DELETE ? "before" : "after");
	appendBinaryStringInfo(&out, batch->data.data + item->row_offset, (int) item->row_length);
	appendStringInfo(&out, ",\"lsn\":\"%X/%X\"}", LSN_FORMAT_ARGS(item->lsn));
	return tap_http_database_json(out.data, out.len);
}

void
tap_http_item_refused(TapHttpBatch *batch, TapHttpItem *item, int sqlstate, const char *message)
{
	/* raises the error unless dead letters are kept */
	tap_http_core->dead_letter(&item->table->name, tap_http_item_change(batch, item),
							   item->lsn, sqlstate, message);
	item->settled = true;
}

void
tap_http_batch_refused(TapHttpBatch *batch, int sqlstate, const char *message)
{
	for (int i = 0; i < batch->nitems; i++)
	{
		if (!batch->items[i].settled)
			tap_http_item_refused(batch, &batch->items[i], sqlstate, message);
	}
}
