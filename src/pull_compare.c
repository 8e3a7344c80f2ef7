/*-------------------------------------------------------------------------
 *
 * src/pull_compare.c
 *	  The whole content of a table: only what differs from the hub is stored.
 *
 * NOTES
 *	  A source that knows no changes (a nightly extract, a list that is polled)
 *	  sends all rows between TAP_EVENT_COMPARE_BEGIN and TAP_EVENT_COMPARE_END.
 *	  They go to a temporary table; at the end three statements delete, update
 *	  and insert what differs by key, in the hub transaction that holds
 *	  them.  Values are compared by their binary images: 1.0 is not 1.00, and
 *	  types without an equality can be compared too.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "hubtable.h"
#include "pull_private.h"
#include "worker.h"

#define STAGING_NAME	"tapdata_compare"

/* A comparison under way; in TapPull.batch_context. */
struct TapPullCompare
{
	TapPullTable *table;
	TapTarget  *staging;
	char	   *hub_name;		/* qualified and quoted */
	char	   *matches;		/* "h.k = t.k AND ..." */
	char	   *columns;		/* "a, b, ..." */
	char	   *hub_row;		/* "h.a, h.b, ..." */
	char	   *staged_row;		/* "t.a, t.b, ..." */
	char	   *assignments;	/* "b = t.b, ..."; empty: all are of the key */
};

static void
run(const char *sql, uint64 *processed)
{
	int			result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	result = SPI_execute(sql, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
	if (processed != NULL)
		*processed = SPI_processed;
	SPI_finish();
}

static bool
is_key(const TapMapping *mapping, AttrNumber column)
{
	for (int i = 0; i < mapping->nkeys; i++)
	{
		if (mapping->keys[i] == column)
			return true;
	}
	return false;
}

static void
append_separated(StringInfo text, const char *separator, const char *format,
				 const char *name)
{
	if (text->len > 0)
		appendStringInfoString(text, separator);
	appendStringInfo(text, format, name, name);
}

/* The parts of the statements, of the columns that the source fills. */
static void
build_parts(TapPullCompare *compare, const TapMapping *mapping, Relation hub)
{
	TupleDesc	descriptor = RelationGetDescr(hub);
	StringInfoData parts[5];

	for (int i = 0; i < lengthof(parts); i++)
		initStringInfo(&parts[i]);
	for (int i = 0; i < mapping->nsource; i++)
	{
		AttrNumber	column = mapping->hub_of_source[i];
		const char *name;

		if (column == 0)
			continue;
		name = quote_identifier(NameStr(TupleDescAttr(descriptor, column - 1)->attname));
		append_separated(&parts[0], ", ", "%s", name);
		append_separated(&parts[1], ", ", "h.%s", name);
		append_separated(&parts[2], ", ", "t.%s", name);
		if (is_key(mapping, column))
			append_separated(&parts[3], " AND ", "h.%s = t.%s", name);
		else
			append_separated(&parts[4], ", ", "%s = t.%s", name);
	}
	compare->columns = parts[0].data;
	compare->hub_row = parts[1].data;
	compare->staged_row = parts[2].data;
	compare->matches = parts[3].data;
	compare->assignments = parts[4].data;
}

static void
prepare(TapPullCompare *compare, const TapSourceTable *source, bool ignore_missing)
{
	Oid			relid = compare->table->row.hub_table;
	Relation	hub = table_open(relid, AccessShareLock);
	TapMapping *mapping = tap_mapping_create(source, hub, ignore_missing);

	if (mapping->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the content of table \"%s\" cannot be compared with the hub's",
						compare->table->label),
				 errdetail("It has no key."),
				 errhint("Name its key columns with the option that the connector has for it.")));
	compare->hub_name =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(hub)),
								   RelationGetRelationName(hub));
	build_parts(compare, mapping, hub);
	table_close(hub, NoLock);
}

/* A table for the rows, in the format that the source's table has now. */
static void
make_staging(TapPull *pull, TapPullCompare *compare)
{
	TapPullTable *table = compare->table;
	bool		ignore_missing = pull->ddl == TAP_PULL_DDL_IGNORE;
	Oid			staging;

	prepare(compare, table->source, ignore_missing);
	run(psprintf("CREATE TEMPORARY TABLE " STAGING_NAME " ON COMMIT DROP AS SELECT %s FROM %s WITH NO DATA",
				 compare->columns, compare->hub_name), NULL);
	CommandCounterIncrement();
	staging = get_relname_relid(STAGING_NAME, LookupExplicitNamespace("pg_temp", false));
	compare->staging = tap_apply_target(pull->apply, staging, table->source,
										table->label, ignore_missing);
}

void
tap_pull_compare_begin(TapPull *pull, const TapEvent *event)
{
	TapPullTable *table = event->table_data;
	MemoryContext old;
	TapPullCompare *compare;

	if (pull->compare != NULL)
		elog(ERROR, "connector began to compare a table within another");
	if (!table->carried || table->covered)
		return;

	old = MemoryContextSwitchTo(pull->batch_context);
	compare = palloc0(sizeof(TapPullCompare));
	compare->table = table;
	tap_apply_flush(pull->apply);
	if (table->source == NULL)
		tap_pull_table_set_format(pull, table, event->table);
	run("DROP TABLE IF EXISTS pg_temp." STAGING_NAME, NULL);
	make_staging(pull, compare);
	pull->compare = compare;
	MemoryContextSwitchTo(old);
}

bool
tap_pull_compare_pause(TapPull *pull, const TapPullTable *table)
{
	TapPullCompare *compare = pull->compare;

	if (compare == NULL || compare->table != table)
		return false;
	tap_apply_forget_target(pull->apply, compare->staging);
	compare->staging = NULL;
	return true;
}

/* Rows that came before have no value in columns that are new. */
void
tap_pull_compare_resume(TapPull *pull)
{
	TapPullCompare *compare = pull->compare;
	MemoryContext old = MemoryContextSwitchTo(pull->batch_context);
	const char *before = compare->columns;

	run("ALTER TABLE pg_temp." STAGING_NAME " RENAME TO " STAGING_NAME "_before", NULL);
	make_staging(pull, compare);
	run(psprintf("INSERT INTO pg_temp." STAGING_NAME " (%s) SELECT %s FROM pg_temp." STAGING_NAME "_before",
				 before, before), NULL);
	run("DROP TABLE pg_temp." STAGING_NAME "_before", NULL);
	CommandCounterIncrement();
	MemoryContextSwitchTo(old);
}

bool
tap_pull_compare_takes(TapPull *pull, const TapEvent *event)
{
	TapPullCompare *compare = pull->compare;

	if (compare == NULL || event->table_data != compare->table)
		return false;
	if (event->change != TAP_CHANGE_INSERT)
		elog(ERROR, "connector sent a change within the content of a table");
	tap_apply_change(pull->apply, compare->staging, event, TAP_APPLY_STRICT);
	return true;
}

/* Said by key, before the unique index says it of a row of the hub. */
static void
check_unique(const TapPullCompare *compare)
{
	uint64		duplicates;
	StringInfoData keys;

	initStringInfo(&keys);
	appendStringInfoString(&keys, compare->matches);
	run(psprintf("SELECT 1 FROM pg_temp." STAGING_NAME " h JOIN pg_temp." STAGING_NAME
				 " t ON %s AND h.ctid < t.ctid LIMIT 1", keys.data), &duplicates);
	if (duplicates > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("the content of table \"%s\" has several rows with the same key",
						compare->table->label),
				 errhint("Name more key columns, so that a row can be told from all others.")));
}

static void
count(TapPull *pull, TapPullTable *table, uint64 inserts, uint64 updates, uint64 deletes)
{
	pg_atomic_fetch_add_u64(&tap_worker_shared->inserts, inserts);
	pg_atomic_fetch_add_u64(&tap_worker_shared->updates, updates);
	pg_atomic_fetch_add_u64(&tap_worker_shared->deletes, deletes);
	if (table->shared == NULL)
		return;
	pg_atomic_fetch_add_u64(&table->shared->inserts, inserts);
	pg_atomic_fetch_add_u64(&table->shared->updates, updates);
	pg_atomic_fetch_add_u64(&table->shared->deletes, deletes);
}

/* No row follows; what came is in the temporary table. */
static void
end_staging(TapPull *pull)
{
	tap_apply_flush(pull->apply);
	tap_apply_end(pull->apply);
	tap_apply_forget_target(pull->apply, pull->compare->staging);
	pull->compare = NULL;
	CommandCounterIncrement();
}

void
tap_pull_compare_end(TapPull *pull, const TapEvent *event)
{
	TapPullCompare *compare = pull->compare;
	MemoryContext old;
	uint64		inserts;
	uint64		updates = 0;
	uint64		deletes;

	if (compare == NULL)
		return;
	old = MemoryContextSwitchTo(pull->batch_context);
	end_staging(pull);
	run("ANALYZE pg_temp." STAGING_NAME, NULL);
	check_unique(compare);
	run(psprintf("DELETE FROM %s h WHERE NOT EXISTS (SELECT FROM pg_temp." STAGING_NAME " t WHERE %s)",
				 compare->hub_name, compare->matches), &deletes);
	if (compare->assignments[0] != '\0')
		run(psprintf("UPDATE %s h SET %s FROM pg_temp." STAGING_NAME " t WHERE %s AND "
					 "ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record",
					 compare->hub_name, compare->assignments, compare->matches,
					 compare->hub_row, compare->staged_row), &updates);
	run(psprintf("INSERT INTO %s (%s) SELECT %s FROM pg_temp." STAGING_NAME " t WHERE NOT EXISTS "
				 "(SELECT FROM %s h WHERE %s)",
				 compare->hub_name, compare->columns, compare->staged_row,
				 compare->hub_name, compare->matches), &inserts);
	run("DROP TABLE pg_temp." STAGING_NAME, NULL);
	tap_pull_table_is_whole(compare->table);
	tap_apply_begin(pull->apply);
	count(pull, compare->table, inserts, updates, deletes);
	MemoryContextSwitchTo(old);
}

void
tap_pull_compare_give_up(TapPull *pull, const TapEvent *event)
{
	MemoryContext old;

	if (pull->compare == NULL)
		return;
	old = MemoryContextSwitchTo(pull->batch_context);
	end_staging(pull);
	run("DROP TABLE pg_temp." STAGING_NAME, NULL);
	tap_apply_begin(pull->apply);
	MemoryContextSwitchTo(old);
}

void
tap_pull_compare_abort(TapPull *pull)
{
	if (pull->compare == NULL)
		return;
	if (pull->compare->staging != NULL)
		tap_apply_forget_target(pull->apply, pull->compare->staging);
	pull->compare = NULL;
}
