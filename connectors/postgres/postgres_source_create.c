/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_create.c
 *	  Types of the source made in the hub, and kept what they are there.
 *
 * NOTES
 *	  A type is made under its own name in the schema of the pipeline's
 *	  tables, by the pipeline's owner, and shared by all pipelines of that
 *	  owner and schema.  One that is there already is taken if it is the
 *	  owner's and of the same make; else the column becomes text, or the base
 *	  type, and an event says so.  Checks and defaults of domains stay with
 *	  the source: it has checked the values, and may change them unseen.
 *
 *	  The log does not tell of ALTER TYPE.  A new label of an enum and a new
 *	  field of a composite type are seen when the type is looked at again: at
 *	  each start of the stream, when a table's format changes, and when a
 *	  value cannot be read; the stream then begins again, because a label can
 *	  be used in a later transaction only.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

bool
tap_pg_makes_types(const TapSession *session)
{
	return session->args.into_schema != NULL &&
		session->args.purpose != TAP_PURPOSE_TEST &&
		strcmp(tap_pg_option(session, "types", "text"), "create") == 0 &&
		OidIsValid(get_namespace_oid(session->args.into_schema, true));
}

void
tap_pg_tell_of_type(TapSession *session, const char *message)
{
	MemoryContext old;
	ListCell   *cell;

	if (session->args.into_schema == NULL || session->args.purpose == TAP_PURPOSE_TEST)
		return;
	foreach(cell, session->told_types)
	{
		if (strcmp(lfirst(cell), message) == 0)
			return;
	}
	old = MemoryContextSwitchTo(session->args.context);
	session->told_types = lappend(session->told_types, pstrdup(message));
	MemoryContextSwitchTo(old);
	tap_pg_core->event("warning", NULL, message);
}

/* ---------------------------------------------------------------------
 * SQL in the hub
 * ---------------------------------------------------------------------
 */

static void
run(const char *sql)
{
	bool		pushed = !ActiveSnapshotSet();
	int			result;

	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
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

static char *
hub_name(const TapSession *session, const TapPgTypeRow *row)
{
	return quote_qualified_identifier(session->args.into_schema, row->name);
}

static void
create(TapSession *session, const TapPgTypeRow *row, const char *sql)
{
	run(sql);
	if (row->comment != NULL)
		run(psprintf("COMMENT ON %s %s IS %s", row->kind == TYPTYPE_DOMAIN ? "DOMAIN" : "TYPE",
					 hub_name(session, row), quote_literal_cstr(row->comment)));
}

/*
 * What a running transaction made of a type's new parts it could not use.
 */
static void
need_own_transaction(const TapSession *session, const TapPgTypeRow *row)
{
	if (!session->in_hub_txn)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("type \"%s.%s\" of the source has changed", row->schema, row->name),
			 errdetail("The stream begins again with the type as it is now.")));
}

/* Until the end of the transaction no other pipeline makes or changes types. */
static void
lock_types(void)
{
	run("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('tapdata types', 0))");
	AcceptInvalidationMessages();
}

/* The hub's type of that name; InvalidOid: none, and nobody makes it meanwhile. */
static Oid
find_type(TapSession *session, const TapPgTypeRow *row)
{
	Oid			schema = get_namespace_oid(session->args.into_schema, false);
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									   CStringGetDatum(row->name), ObjectIdGetDatum(schema));

	if (OidIsValid(type))
		return type;
	lock_types();
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum(row->name), ObjectIdGetDatum(schema));
}

static Form_pg_type
read_type(Oid oid)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(oid));
	Form_pg_type result = palloc(sizeof(FormData_pg_type));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", oid);
	memcpy(result, GETSTRUCT(tuple), sizeof(FormData_pg_type));
	ReleaseSysCache(tuple);
	return result;
}

/* Whether a type that is there can be taken, as far as all kinds have it in common. */
static bool
is_ours(Oid type, char kind)
{
	Form_pg_type form = read_type(type);

	return form->typtype == kind && form->typowner == GetUserId() && form->typisdefined;
}

static Oid
refuse(TapSession *session, const TapPgTypeRow *row)
{
	tap_pg_tell_of_type(session,
						psprintf("type \"%s.%s\" of the source is not made in the hub: another one has the name %s there",
								 row->schema, row->name, hub_name(session, row)));
	return InvalidOid;
}

/* Types that come with PostgreSQL, but not under the same number in each version. */
static bool
is_system(const TapPgTypeRow *row)
{
	return strcmp(row->schema, "information_schema") == 0 || strcmp(row->schema, "pg_catalog") == 0;
}

/* ---------------------------------------------------------------------
 * Enums
 * ---------------------------------------------------------------------
 */

static bool
has_label(Oid type, const char *label)
{
	HeapTuple	tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
										CStringGetDatum(label));

	if (!HeapTupleIsValid(tuple))
		return false;
	ReleaseSysCache(tuple);
	return true;
}

/* New labels stand behind the one that they follow at the source. */
static void
grow_enum(TapSession *session, const TapPgTypeRow *row, Oid type, const TapPgRows *labels)
{
	for (int i = 0; i < labels->nrows; i++)
	{
		const char *label = tap_pg_needed(labels, i, 0);
		const char *next = NULL;

		if (has_label(type, label))
			continue;
		need_own_transaction(session, row);
		lock_types();
		if (has_label(type, label))
			continue;
		for (int j = i + 1; i == 0 && j < labels->nrows && next == NULL; j++)
			next = has_label(type, tap_pg_needed(labels, j, 0)) ? tap_pg_needed(labels, j, 0) : NULL;
		run(psprintf("ALTER TYPE %s ADD VALUE %s%s%s", hub_name(session, row), quote_literal_cstr(label),
					 i > 0 ? " AFTER " : next ? " BEFORE " : "",
					 i > 0 ? quote_literal_cstr(tap_pg_needed(labels, i - 1, 0)) :
					 next ? quote_literal_cstr(next) : ""));
	}
}

Oid
tap_pg_make_enum(TapSession *session, const TapPgTypeRow *row)
{
	TapPgRows  *labels;
	StringInfoData sql;
	Oid			type;

	if (is_system(row))
		return InvalidOid;
	labels = tap_pg_query(session, "read an enum of the source",
						  "SELECT enumlabel FROM pg_enum WHERE enumtypid = %u ORDER BY enumsortorder", row->oid);
	type = find_type(session, row);
	if (OidIsValid(type))
	{
		if (!is_ours(type, TYPTYPE_ENUM))
			return refuse(session, row);
		grow_enum(session, row, type, labels);
		return type;
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TYPE %s AS ENUM (", hub_name(session, row));
	for (int i = 0; i < labels->nrows; i++)
		appendStringInfo(&sql, "%s%s", i ? ", " : "", quote_literal_cstr(tap_pg_needed(labels, i, 0)));
	appendStringInfoChar(&sql, ')');
	create(session, row, sql.data);
	return find_type(session, row);
}

/* ---------------------------------------------------------------------
 * Domains and ranges
 * ---------------------------------------------------------------------
 */

Oid
tap_pg_make_domain(TapSession *session, const TapPgTypeRow *row, Oid base, int32 typmod)
{
	Oid			type;

	if (is_system(row))
		return InvalidOid;
	type = find_type(session, row);
	if (!OidIsValid(type))
	{
		create(session, row, psprintf("CREATE DOMAIN %s AS %s", hub_name(session, row),
									  format_type_extended(base, typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY)));
		return find_type(session, row);
	}
	if (!is_ours(type, TYPTYPE_DOMAIN) || read_type(type)->typbasetype != base ||
		read_type(type)->typtypmod != typmod)
		return refuse(session, row);
	return type;
}

/* The multirange over a range has a name of its own. */
static char *
multirange_clause(TapSession *session, const TapPgTypeRow *row)
{
	TapPgRows  *rows;

	if (session->version < 140000)
		return "";
	rows = tap_pg_query(session, "read a range type of the source",
						"SELECT t.typname FROM pg_range r JOIN pg_type t ON t.oid = r.rngmultitypid WHERE r.rngtypid = %u",
						row->oid);
	return rows->nrows == 0 ? "" :
		psprintf(", MULTIRANGE_TYPE_NAME = %s",
				 quote_qualified_identifier(session->args.into_schema, tap_pg_needed(rows, 0, 0)));
}

Oid
tap_pg_make_range(TapSession *session, const TapPgTypeRow *row, Oid subtype)
{
	Oid			type;

	if (is_system(row))
		return InvalidOid;
	type = find_type(session, row);
	if (!OidIsValid(type))
	{
		create(session, row, psprintf("CREATE TYPE %s AS RANGE (SUBTYPE = %s%s)", hub_name(session, row),
									  format_type_extended(subtype, -1, FORMAT_TYPE_FORCE_QUALIFY),
									  multirange_clause(session, row)));
		return find_type(session, row);
	}
	if (!is_ours(type, TYPTYPE_RANGE) || get_range_subtype(type) != subtype)
		return refuse(session, row);
	return type;
}

/* ---------------------------------------------------------------------
 * Composite types
 * ---------------------------------------------------------------------
 */

static char *
field_definition(const TapPgTypeField *field)
{
	return psprintf("%s %s", quote_identifier(field->name),
					format_type_extended(field->hub_type, field->typmod,
										 FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
}

/* How many fields at the beginning the hub's type has; -1: it has others. */
static int
common_fields(Oid type, const TapPgTypeField *fields, int count)
{
	TupleDesc	descriptor = lookup_rowtype_tupdesc_copy(type, -1);
	int			found = 0;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(descriptor, i);

		if (att->attisdropped)
			continue;
		if (found >= count || strcmp(NameStr(att->attname), fields[found].name) != 0 ||
			att->atttypid != fields[found].hub_type || att->atttypmod != fields[found].typmod)
			return -1;
		found++;
	}
	return found;
}

Oid
tap_pg_make_composite(TapSession *session, const TapPgTypeRow *row,
					  const TapPgTypeField *fields, int count)
{
	StringInfoData sql;
	Oid			type;
	int			common;

	if (is_system(row))
		return InvalidOid;
	type = find_type(session, row);
	if (!OidIsValid(type))
	{
		initStringInfo(&sql);
		appendStringInfo(&sql, "CREATE TYPE %s AS (", hub_name(session, row));
		for (int i = 0; i < count; i++)
			appendStringInfo(&sql, "%s%s", i ? ", " : "", field_definition(&fields[i]));
		appendStringInfoChar(&sql, ')');
		create(session, row, sql.data);
		return find_type(session, row);
	}
	if (!is_ours(type, TYPTYPE_COMPOSITE) || get_rel_relkind(get_typ_typrelid(type)) != RELKIND_COMPOSITE_TYPE ||
		(common = common_fields(type, fields, count)) < 0)
		return refuse(session, row);
	if (common < count)
	{
		need_own_transaction(session, row);
		lock_types();
		common = Max(common_fields(type, fields, count), common);
	}
	for (int i = common; i < count; i++)
		run(psprintf("ALTER TYPE %s ADD ATTRIBUTE %s", hub_name(session, row),
					 field_definition(&fields[i])));
	return type;
}

/* ---------------------------------------------------------------------
 * Changes of types
 * ---------------------------------------------------------------------
 */

char *
tap_pg_types_state(TapSession *session)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "look at the source's types",
						"SELECT md5(concat((SELECT string_agg(enumtypid || ' ' || enumlabel, ',' ORDER BY enumtypid, enumsortorder) FROM pg_enum), "
						"(SELECT string_agg(concat_ws(' ', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attrelid, a.attnum) "
						"FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c' WHERE a.attnum > 0)))");
	return tap_pg_needed(rows, 0, 0);
}

void
tap_pg_refresh_types(TapSession *session)
{
	TapPgRows  *rows;
	Oid		   *oids;
	bool		begun;

	rows = tap_pg_query(session, "look at the publication's types",
						"SELECT DISTINCT a.atttypid FROM pg_publication p "
						"CROSS JOIN LATERAL pg_get_publication_tables(p.pubname) t JOIN pg_attribute a ON a.attrelid = t.relid "
						"WHERE p.pubname IN (%s, %s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1",
						quote_literal_cstr(tap_pg_publication_name(session)),
						quote_literal_cstr(tap_pg_insert_publication_name(session)));
	oids = palloc(sizeof(Oid) * Max(rows->nrows, 1));
	for (int i = 0; i < rows->nrows; i++)
		oids[i] = strtoul(tap_pg_needed(rows, i, 0), NULL, 10);
	begun = tap_pg_begin_lookups();
	if (tap_pg_makes_types(session))
		(void) tap_pg_source_types(session, oids, rows->nrows);
	tap_pg_end_lookups(begun);
}
