/*-------------------------------------------------------------------------
 *
 * src/hubtable.c
 *	  Creates hub tables, their keys and indexes.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "nodes/primnodes.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "hubtable_private.h"
#include "mapping.h"

/* ---------------------------------------------------------------------
 * SQL
 * ---------------------------------------------------------------------
 */

void
tap_hubtable_run(const char *sql)
{
	bool		pushed = false;
	int			result;

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	result = SPI_execute(sql, false, 0);
	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", sql, SPI_result_code_string(result));
	SPI_finish();
	if (pushed)
		PopActiveSnapshot();
	CommandCounterIncrement();
}

char *
tap_hubtable_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("hub table with OID %u does not exist", relid),
				 errhint("Call tapdata.resync() to create it again.")));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  name);
}

char *
tap_hubtable_column_type(Form_pg_attribute att)
{
	char	   *type = format_type_with_typemod(att->atttypid, att->atttypmod);

	if (OidIsValid(att->attcollation) &&
		att->attcollation != get_typcollation(att->atttypid))
		type = psprintf("%s COLLATE %s", type,
						generate_collation_name(att->attcollation));
	return type;
}

static void
append_column_names(StringInfo text, TupleDesc descriptor, int ncolumns,
					const AttrNumber *columns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(descriptor, columns[i] - 1);

		appendStringInfo(text, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(att->attname)));
	}
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

void
tap_hubtable_create_schema(const char *schema)
{
	if (!OidIsValid(get_namespace_oid(schema, true)))
		tap_hubtable_run(psprintf("CREATE SCHEMA %s", quote_identifier(schema)));
}

static bool
is_key(const TapSourceTable *source, AttrNumber column)
{
	for (int i = 0; i < source->nkeys; i++)
	{
		if (source->keys[i] == column)
			return true;
	}
	return false;
}

static void
run_create(const TapSourceTable *source, const char *table)
{
	StringInfoData sql;
	const char *before = "";

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (int i = 0; i < source->descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->descriptor, i);

		if (att->attisdropped)
			continue;
		appendStringInfo(&sql, "%s%s %s%s", before,
						 quote_identifier(NameStr(att->attname)),
						 tap_hubtable_column_type(att),
						 att->attnotnull || is_key(source, i + 1) ? " NOT NULL" : "");
		before = ", ";
	}
	appendStringInfoChar(&sql, ')');
	tap_hubtable_run(sql.data);
}

static void
create_comments(const TapSourceTable *source, const char *table)
{
	if (source->comment != NULL)
		tap_hubtable_run(psprintf("COMMENT ON TABLE %s IS %s", table,
								  quote_literal_cstr(source->comment)));
	for (int i = 0; i < source->descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->descriptor, i);

		if (att->attisdropped || source->column_comments == NULL ||
			source->column_comments[i] == NULL)
			continue;
		tap_hubtable_run(psprintf("COMMENT ON COLUMN %s.%s IS %s", table,
								  quote_identifier(NameStr(att->attname)),
								  quote_literal_cstr(source->column_comments[i])));
	}
}

char *
tap_hubtable_fit_name(const char *name)
{
	char	   *fitting = pstrdup(name);

	truncate_identifier(fitting, (int) strlen(fitting), false);
	return fitting;
}

Oid
tap_hubtable_create(const TapSourceTable *source, const char *schema,
					const char *source_name)
{
	Oid			namespace = get_namespace_oid(schema, false);
	char	   *name = tap_hubtable_fit_name(source_name);
	char	   *table = quote_qualified_identifier(schema, name);

	if (OidIsValid(get_relname_relid(name, namespace)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s already exists", table),
				 errdetail("It was not made as the hub table of %s.",
						   tap_table_name_text(&source->name)),
				 errhint("Rename or drop it, or let the pipeline write into another schema (into_schema).")));

	run_create(source, table);
	create_comments(source, table);
	return get_relname_relid(name, namespace);
}

void
tap_hubtable_rename(Oid relid, const char *name)
{
	tap_hubtable_run(psprintf("ALTER TABLE %s RENAME TO %s",
							  tap_hubtable_name(relid),
							  quote_identifier(tap_hubtable_fit_name(name))));
}

bool
tap_hubtable_is_referenced(Oid relid)
{
	return get_rel_relkind(relid) != RELKIND_VIEW &&
		heap_truncate_find_FKs(list_make1_oid(relid)) != NIL;
}

void
tap_hubtable_truncate(Oid relid)
{
	/*
	 * A view has no TRUNCATE, that of a foreign table may be missing, and
	 * that of a table that foreign keys refer to is refused even when it is
	 * empty.
	 */
	if (get_rel_relkind(relid) == RELKIND_VIEW ||
		get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ||
		tap_hubtable_is_referenced(relid))
		tap_hubtable_run(psprintf("DELETE FROM %s", tap_hubtable_name(relid)));
	else
		tap_hubtable_run(psprintf("TRUNCATE %s%s",
								  get_rel_relkind(relid) == RELKIND_RELATION ? "ONLY " : "",
								  tap_hubtable_name(relid)));
}

void
tap_hubtable_drop(Oid relid)
{
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		tap_hubtable_run(psprintf("DROP TABLE %s", tap_hubtable_name(relid)));
}

/* ---------------------------------------------------------------------
 * The key
 * ---------------------------------------------------------------------
 */

/*
 * For a table without a key: an index on a hash of the row, of those columns
 * whose types can be hashed.  NULL when there is none.
 */
static char *
row_hash_expression(const TapSourceTable *source)
{
	StringInfoData text;
	int			ncolumns = 0;

	initStringInfo(&text);
	appendStringInfoString(&text, "pg_catalog.hash_record_extended(ROW(");
	for (int i = 0; i < source->descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->descriptor, i);
		TypeCacheEntry *type;

		if (att->attisdropped)
			continue;
		type = lookup_type_cache(att->atttypid, TYPECACHE_HASH_EXTENDED_PROC);
		if (!OidIsValid(type->hash_extended_proc))
			continue;
		appendStringInfo(&text, "%s%s", ncolumns++ > 0 ? ", " : "",
						 quote_identifier(NameStr(att->attname)));
	}
	appendStringInfoString(&text, "), 0)");
	return ncolumns > 0 ? text.data : NULL;
}

bool
tap_hubtable_index_hashes_row(Relation index)
{
	Form_pg_index form = index->rd_index;
	Node	   *expression;

	if (!form->indisvalid || form->indnatts != 1 ||
		form->indkey.values[0] != InvalidAttrNumber ||
		index->rd_rel->relam != BTREE_AM_OID ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	expression = linitial(RelationGetIndexExpressions(index));
	return IsA(expression, FuncExpr) &&
		((FuncExpr *) expression)->funcid == F_HASH_RECORD_EXTENDED;
}

Oid
tap_hubtable_row_hash(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Oid			result = InvalidOid;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (tap_hubtable_index_hashes_row(index))
			result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return result;
}

static void
create_row_hash(Oid relid, const TapSourceTable *source)
{
	char	   *expression = row_hash_expression(source);
	char	   *name;

	if (expression == NULL || OidIsValid(tap_hubtable_row_hash(relid)))
		return;
	name = ChooseRelationName(get_rel_name(relid), NULL, "row_hash",
							  get_rel_namespace(relid), false);
	tap_hubtable_run(psprintf("CREATE INDEX %s ON %s (%s)", quote_identifier(name),
							  tap_hubtable_name(relid), expression));
}

char *
tap_hubtable_primary_key(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	char	   *result = NULL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_index->indisprimary)
			result = pstrdup(RelationGetRelationName(index));
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return result;
}

void
tap_hubtable_create_key(Oid relid, const TapSourceTable *source)
{
	StringInfoData columns;
	char	   *table = tap_hubtable_name(relid);
	char	   *name;

	if (get_rel_relkind(relid) != RELKIND_RELATION &&
		get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return;
	if (source->nkeys == 0)
	{
		create_row_hash(relid, source);
		return;
	}
	if (tap_hubtable_primary_key(relid) != NULL)
		return;

	initStringInfo(&columns);
	append_column_names(&columns, source->descriptor, source->nkeys, source->keys);
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
	{
		tap_hubtable_run(psprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", table,
								  columns.data));
		return;
	}

	name = ChooseRelationName(get_rel_name(relid), NULL, "pkey",
							  get_rel_namespace(relid), true);
	tap_hubtable_run(psprintf("CREATE UNIQUE INDEX %s ON %s (%s)",
							  quote_identifier(name), table, columns.data));
	tap_hubtable_run(psprintf("ALTER TABLE %s ADD CONSTRAINT %s PRIMARY KEY USING INDEX %s",
							  table, quote_identifier(name), quote_identifier(name)));
}

/* ---------------------------------------------------------------------
 * Secondary indexes
 * ---------------------------------------------------------------------
 */

/* The hub's columns of a source index; false if it cannot be made. */
static bool
hub_columns(Oid relid, const TapSourceTable *source,
			const TapSourceIndex *wanted, AttrNumber *columns)
{
	for (int i = 0; i < wanted->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->descriptor,
											  wanted->columns[i] - 1);

		columns[i] = get_attnum(relid, NameStr(att->attname));
		if (columns[i] == InvalidAttrNumber ||
			!OidIsValid(GetDefaultOpClass(get_atttype(relid, columns[i]),
										  BTREE_AM_OID)))
			return false;
	}
	return wanted->ncolumns > 0 && wanted->ncolumns <= INDEX_MAX_KEYS;
}

static bool
same_index(Relation index, const TapSourceIndex *wanted, const AttrNumber *columns)
{
	Form_pg_index form = index->rd_index;

	if (form->indnkeyatts != wanted->ncolumns ||
		form->indisunique != wanted->unique ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < wanted->ncolumns; i++)
	{
		if (form->indkey.values[i] != columns[i])
			return false;
	}
	return true;
}

static bool
has_index(Oid relid, const TapSourceIndex *wanted, const AttrNumber *columns)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		found = false;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		found = found || same_index(index, wanted, columns);
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return found;
}

void
tap_hubtable_create_indexes(Oid relid, const TapSourceTable *source)
{
	Oid			namespace = get_rel_namespace(relid);

	for (int i = 0; i < source->nindexes; i++)
	{
		const TapSourceIndex *wanted = &source->indexes[i];
		AttrNumber	columns[INDEX_MAX_KEYS];
		StringInfoData names;
		char	   *name = wanted->name;

		if (wanted->ncolumns > INDEX_MAX_KEYS ||
			!hub_columns(relid, source, wanted, columns) ||
			has_index(relid, wanted, columns))
			continue;

		/* Sources often have names that are unique within a table only. */
		if (name == NULL || name[0] == '\0' || strlen(name) >= NAMEDATALEN ||
			OidIsValid(get_relname_relid(name, namespace)))
			name = ChooseRelationName(get_rel_name(relid), wanted->name, "idx",
									  namespace, false);
		initStringInfo(&names);
		append_column_names(&names, source->descriptor, wanted->ncolumns,
							wanted->columns);
		tap_hubtable_run(psprintf("CREATE %sINDEX %s ON %s (%s)",
								  wanted->unique ? "UNIQUE " : "",
								  quote_identifier(name), tap_hubtable_name(relid),
								  names.data));
	}
}
