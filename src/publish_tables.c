/*-------------------------------------------------------------------------
 *
 * src/publish_tables.c
 *	  Which tables a publish pipeline sends, and what becomes of them.
 *
 * NOTES
 *	  Tables come and go in the middle of the stream (those that go are in
 *	  publish_gone.c):
 *
 *	  - one that matches the patterns is met in WAL, or was added by a command:
 *		it gets a row, and is copied at the next turn (publish_copy.c);
 *	  - one that was dropped goes on being decoded until all of its changes
 *		are at the target, since the stream may be behind the drop;
 *	  - one that was renamed is, to the target, another table: it goes on
 *		under its old name until all changes up to the moment when that was
 *		noticed are at the target, then it is copied under its new name.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "publish.h"
#include "publish_options.h"
#include "publish_private.h"
#include "worker.h"

/*
 * That something was altered, but nobody knows what, is said whenever the
 * decoder throws its caches away; what concerns our tables is said by itself,
 * unless so much happened at once that we missed it.
 */
#define LOOK_MS		5000

/* The schemas of PostgreSQL and of tapdata itself. */
static const char *const private_schemas[] = {"tapdata", "information_schema"};

/* ---------------------------------------------------------------------
 * Tables by patterns
 * ---------------------------------------------------------------------
 */

static bool
is_private(Oid schema, const char *name)
{
	if (IsCatalogNamespace(schema) || IsToastNamespace(schema) ||
		isAnyTempNamespace(schema))
		return true;
	for (int i = 0; i < lengthof(private_schemas); i++)
	{
		if (strcmp(name, private_schemas[i]) == 0)
			return true;
	}
	return false;
}

/* A table that could be published, whatever its name. */
static bool
is_publishable(Form_pg_class class)
{
	return (class->relkind == RELKIND_RELATION ||
			class->relkind == RELKIND_PARTITIONED_TABLE) &&
		class->relpersistence == RELPERSISTENCE_PERMANENT &&
		!class->relispartition &&
		class->oid >= FirstNormalObjectId;
}

bool
tap_publish_current_name(Oid relid, TapTableName *name)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));

	name->name = get_rel_name(relid);
	name->schema = schema;
	return name->name != NULL && schema != NULL;
}

static int
compare_by_name(const ListCell *a, const ListCell *b)
{
	TapTableName name_a = {"", ""};
	TapTableName name_b = {"", ""};
	int			order;

	if (!tap_publish_current_name(lfirst_oid(a), &name_a) || !tap_publish_current_name(lfirst_oid(b), &name_b))
		return 0;
	order = strcmp(name_a.schema, name_b.schema);
	return order != 0 ? order : strcmp(name_a.name, name_b.name);
}

List *
tap_publish_matching_tables(List *patterns)
{
	TapPatterns *compiled = tap_patterns_compile(patterns);
	Relation	relation = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *result = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);
		TapTableName name;

		if (!is_publishable(class))
			continue;
		name.name = NameStr(class->relname);
		name.schema = get_namespace_name(class->relnamespace);
		if (name.schema != NULL && !is_private(class->relnamespace, name.schema) &&
			tap_patterns_match(compiled, &name))
			result = lappend_oid(result, class->oid);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	list_sort(result, compare_by_name);
	return result;
}

/* The row that is, or was, for this table or its name. */
static TapTableRow *
find_row(List *rows, Oid relid, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		TapTableRow *row = lfirst(cell);

		if (row->hub_table == relid ||
			(strcmp(row->source.schema, name->schema) == 0 &&
			 strcmp(row->source.name, name->name) == 0))
			return row;
	}
	return NULL;
}

int
tap_publish_add_matching(const TapPipelineRow *pipeline)
{
	List	   *rows = tap_catalog_tables(pipeline->id);
	int			added = 0;
	ListCell   *cell;

	foreach(cell, tap_publish_matching_tables(pipeline->patterns))
	{
		Oid			relid = lfirst_oid(cell);
		TapTableName name;
		TapTableRow *row;

		if (!tap_publish_current_name(relid, &name))
			continue;
		row = find_row(rows, relid, &name);
		if (row != NULL && row->state != TAP_TABLE_DROPPED)
			continue;
		if (row == NULL)
			row = palloc0(sizeof(TapTableRow));
		row->pipeline = pipeline->id;
		row->source = name;
		row->hub_table = relid;
		row->published = true;
		row->state = TAP_TABLE_NEW;
		row->definition = NULL;
		row->start_position = NULL;
		if (row->id == 0)
			row->id = tap_catalog_insert_table(row);
		else
			tap_catalog_update_table(row);
		tap_catalog_insert_event(pipeline->name, &name, "info", "table added",
								 "the table will be copied");
		added++;
	}
	return added;
}

void
tap_publish_untold(void *arg, const TapDecodeTable *table, const char *message)
{
	tap_core_event("warning", &table->name, message);
}

bool
tap_publish_unknown_table(void *arg, Oid relid, const char *schema, const char *name)
{
	TapPublish *publish = arg;
	TapTableName table = {(char *) schema, (char *) name};
	MemoryContext old;

	if (strcmp(schema, private_schemas[0]) == 0 ||
		!tap_patterns_match(publish->patterns, &table))
		return false;
	old = MemoryContextSwitchTo(publish->context);
	publish->unknown = lappend_oid(publish->unknown, relid);
	MemoryContextSwitchTo(old);

	/* no copy will have what this transaction does to it */
	return !publish->copy && !list_member_oid(publish->looked_for, relid);
}

/* ---------------------------------------------------------------------
 * Reading the rows
 * ---------------------------------------------------------------------
 */

/* add_tables() changes the patterns while we run. */
void
tap_publish_patterns_load(TapPublish *publish)
{
	MemoryContext old = CurrentMemoryContext;
	TapPipelineRow *row;

	if (publish->patterns_context == NULL)
		publish->patterns_context = AllocSetContextCreate(publish->context,
														  "tapdata publish patterns",
														  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(publish->patterns_context);
	tap_worker_begin();
	MemoryContextSwitchTo(publish->patterns_context);
	row = tap_catalog_pipeline_by_id(publish->pipeline->id, true);

	/* else it was dropped, and we will be told to end */
	publish->pipeline->patterns = row ? row->patterns : NIL;
	publish->patterns = tap_patterns_compile(publish->pipeline->patterns);
	tap_worker_commit();
	MemoryContextSwitchTo(old);
}

/* The worker that the invalidation callback belongs to. */
static TapPublish *watching = NULL;

/* Called at any time, so it does no more than take a note. */
static void
relation_changed(Datum arg, Oid relid)
{
	ListCell   *cell;

	if (relid == InvalidOid)
		watching->look_later = true;
	if (relid == InvalidOid || watching->look_again)
		return;
	foreach(cell, watching->tables)
	{
		if (((TapPublishTable *) lfirst(cell))->row.hub_table == relid)
			watching->look_again = true;
	}
}

void
tap_publish_tables_watch(TapPublish *publish)
{
	watching = publish;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

static TapPublishTable *
find_table(List *tables, const TapTableRow *row)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapPublishTable *table = lfirst(cell);

		if (table->row.id == row->id && table->row.hub_table == row->hub_table)
			return table;
	}
	return NULL;
}

/* In the current context. */
static TapPublishTable *
make_table(TapPublish *publish, const TapTableRow *row, XLogRecPtr gone_lsn)
{
	TapPublishTable *table = palloc0(sizeof(TapPublishTable));
	TapPublishTable *before = find_table(publish->tables, row);
	TapPublishKinds kinds = tap_publish_kinds(publish->options);

	table->row = *row;
	table->gone_lsn = gone_lsn;
	table->shared = tap_shmem_table(row->id, true);
	if (before != NULL && strcmp(before->row.source.name, row->source.name) == 0 &&
		strcmp(before->row.source.schema, row->source.schema) == 0)
		table->format = before->format;
	table->decode.relid = row->hub_table;
	table->decode.name = row->source;
	table->decode.start_lsn = tap_publish_lsn_parse(row->start_position);
	table->decode.columns = tap_publish_columns(publish->options, &row->source);
	table->decode.filter = tap_publish_filter(publish->options, &row->source);
	table->decode.insert = kinds.insert;
	table->decode.update = kinds.update;
	table->decode.delete = kinds.delete;
	table->decode.truncate = kinds.truncate;
	table->decode.data = table;
	return table;
}

/* The rows as tables, all that they point to in context. */
static List *
read_tables(TapPublish *publish, MemoryContext context)
{
	List	   *result = NIL;
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	tap_worker_begin();
	MemoryContextSwitchTo(context);
	foreach(cell, tap_catalog_tables(publish->pipeline->id))
	{
		TapTableRow *row = lfirst(cell);
		TapPublishTable *before = find_table(publish->tables, row);
		XLogRecPtr	gone_lsn = before ? before->gone_lsn : InvalidXLogRecPtr;

		if (tap_publish_check_row(publish, row, &gone_lsn))
			result = lappend(result, make_table(publish, row, gone_lsn));
	}
	tap_worker_commit();
	MemoryContextSwitchTo(old);
	return result;
}

/* Whether the decoder would be told something else. */
static bool
same_tables(List *a, List *b)
{
	ListCell   *cell_a;
	ListCell   *cell_b;

	if (list_length(a) != list_length(b))
		return false;
	forboth(cell_a, a, cell_b, b)
	{
		TapPublishTable *table_a = lfirst(cell_a);
		TapPublishTable *table_b = lfirst(cell_b);

		if (table_a->row.id != table_b->row.id ||
			table_a->row.state != table_b->row.state ||
			table_a->decode.relid != table_b->decode.relid ||
			table_a->decode.start_lsn != table_b->decode.start_lsn ||
			table_a->gone_lsn != table_b->gone_lsn ||
			strcmp(table_a->row.source.name, table_b->row.source.name) != 0)
			return false;
	}
	return true;
}

void
tap_publish_tables_load(TapPublish *publish)
{
	MemoryContext context = AllocSetContextCreate(publish->context, "tapdata publish tables",
												  ALLOCSET_SMALL_SIZES);
	List	   *tables;

	publish->look_again = false;
	publish->look_later = false;
	publish->looked_at = GetCurrentTimestamp();
	tables = read_tables(publish, context);
	if (publish->tables_context != NULL && same_tables(publish->tables, tables))
	{
		MemoryContextDelete(context);
		return;
	}
	tap_publish_stop_decoding(publish);
	publish->tables = tables;
	if (publish->tables_context != NULL)
		MemoryContextDelete(publish->tables_context);
	publish->tables_context = context;
}

/* ---------------------------------------------------------------------
 * Between two transactions
 * ---------------------------------------------------------------------
 */

/* Add the rows of tables that match by now. */
static void
add_matching(TapPublish *publish)
{
	MemoryContext old = CurrentMemoryContext;

	tap_worker_begin();
	(void) tap_publish_add_matching(publish->pipeline);
	tap_worker_commit();
	MemoryContextSwitchTo(old);
	list_free(publish->unknown);
	publish->unknown = NIL;
}

/*
 * Without copies decoding has stopped before the first change of tables that
 * turned up.  One that is gone by now is not waited for.
 */
static void
make_way(TapPublish *publish)
{
	MemoryContext old = MemoryContextSwitchTo(publish->context);

	publish->looked_for = list_concat_unique_oid(publish->looked_for, publish->unknown);
	MemoryContextSwitchTo(old);
	tap_publish_drain(publish);
	tap_publish_stop_decoding(publish);
	tap_publish_tables_load(publish);
	tap_publish_give_up_names(publish, publish->unknown);
}

void
tap_publish_tables_follow(TapPublish *publish)
{
	bool		changed = publish->look_again;

	if (publish->look_later &&
		TimestampDifferenceExceeds(publish->looked_at, GetCurrentTimestamp(), LOOK_MS))
		changed = true;
	if (tap_worker_catalog_changed())
	{
		tap_publish_patterns_load(publish);
		changed = true;
	}
	if (publish->unknown != NIL && !publish->copy)
		make_way(publish);
	if (tap_publish_let_go_of_gone(publish) || publish->unknown != NIL)
	{
		/* a table may have taken the name of one that was dropped */
		add_matching(publish);
		changed = true;
	}
	if (changed)
		tap_publish_tables_load(publish);
	if (tap_publish_copy_needed(publish))
	{
		tap_publish_drain(publish);
		tap_publish_stop_decoding(publish);
		tap_publish_copy(publish, false);
	}
}
