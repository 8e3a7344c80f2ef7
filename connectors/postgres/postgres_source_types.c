/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_types.c
 *	  Types of the source as types of the hub.
 *
 * NOTES
 *	  Types that every PostgreSQL has are the same here, if this server has
 *	  them too.  A domain is its base type.  A type of an extension is that
 *	  extension's type of the same name, where the hub has it.  All others are
 *	  text: enums, composite types, ranges over such.
 *
 *	  Names of objects (regclass and the like) are numbers inside, and those
 *	  of another server: they are text, too.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* A type as the source's catalog has it. */
typedef struct Row
{
	Oid			oid;
	char	   *name;
	char		kind;			/* typtype */
	Oid			base;			/* of a domain */
	int32		base_typmod;
	Oid			element;		/* of an array, else InvalidOid */
	char	   *extension;		/* or NULL */
} Row;

typedef struct Rows
{
	Row		   *rows;
	int			count;
} Rows;

static Rows
read_rows(TapSession *session, const Oid *oids, int count)
{
	StringInfoData list;
	TapPgRows  *found;
	Rows		result;

	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		appendStringInfo(&list, "%s%u", i ? "," : "", oids[i]);
	found = tap_pg_query(session, "read the source's types",
						 "WITH RECURSIVE w (oid) AS (SELECT unnest('{%s}'::oid[]) UNION "
						 "SELECT CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END FROM w JOIN pg_type t USING (oid) "
						 "WHERE t.typtype = 'd' OR (t.typelem <> 0 AND t.typlen = -1)) "
						 "SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typtypmod, "
						 "CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE 0 END, e.extname "
						 "FROM w JOIN pg_type t USING (oid) LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass "
						 "AND d.objid = coalesce(nullif(CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END, 0), t.oid) "
						 "AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass "
						 "LEFT JOIN pg_extension e ON e.oid = d.refobjid", list.data);
	result.count = found->nrows;
	result.rows = palloc0(sizeof(Row) * Max(found->nrows, 1));
	for (int i = 0; i < found->nrows; i++)
	{
		Row		   *row = &result.rows[i];

		row->oid = strtoul(tap_pg_value(found, i, 0), NULL, 10);
		row->name = tap_pg_value(found, i, 1);
		row->kind = tap_pg_value(found, i, 2)[0];
		row->base = strtoul(tap_pg_value(found, i, 3), NULL, 10);
		row->base_typmod = atoi(tap_pg_value(found, i, 4));
		row->element = strtoul(tap_pg_value(found, i, 5), NULL, 10);
		row->extension = tap_pg_value(found, i, 6);
	}
	return result;
}

static const Row *
find_row(const Rows *rows, Oid oid)
{
	for (int i = 0; i < rows->count; i++)
		if (rows->rows[i].oid == oid)
			return &rows->rows[i];
	return NULL;
}

/* Whether values refer to objects of the server that made them. */
static bool
names_object(Oid type)
{
	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
			return true;
		default:
			return false;
	}
}

/* Whether the hub has this type of all PostgreSQLs, and reads its binary form. */
static bool
is_common(Oid oid)
{
	HeapTuple	tuple;
	Form_pg_type type;
	bool		result;

	if (oid >= FirstGenbkiObjectId || names_object(oid) || names_object(get_element_type(oid)))
		return false;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(tuple))
		return false;
	type = (Form_pg_type) GETSTRUCT(tuple);
	result = type->typisdefined && OidIsValid(type->typreceive) &&
		(type->typtype == TYPTYPE_BASE || type->typtype == TYPTYPE_RANGE ||
		 type->typtype == TYPTYPE_MULTIRANGE);
	ReleaseSysCache(tuple);
	return result;
}

/* The hub's type of an extension, by name; InvalidOid: the hub lacks it. */
static Oid
extension_type(const char *extension, const char *name)
{
	Oid			args[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	Oid			result = InvalidOid;

	values[0] = CStringGetTextDatum(extension);
	values[1] = CStringGetTextDatum(name);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("SELECT t.oid FROM pg_catalog.pg_extension e "
							  "JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass "
							  "AND d.refobjid = e.oid AND d.deptype = 'e' AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass "
							  "JOIN pg_catalog.pg_type t ON t.oid = d.objid AND t.typtype IN ('b', 'r', 'm') "
							  "WHERE e.extname = $1 AND t.typname = $2",
							  2, args, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a type of extension \"%s\"", extension);
	if (SPI_processed > 0)
	{
		bool		isnull;

		result = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
												SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	return result;
}

static void map_type(const Rows *rows, Oid oid, TapPgSourceType *type);

static void
set_text(TapPgSourceType *type, Oid hub_type)
{
	type->hub_type = hub_type;
	type->as_text = true;
	type->binary_safe = false;
	type->keeps_typmod = false;
}

static void
map_array(const Rows *rows, Oid element, TapPgSourceType *type)
{
	TapPgSourceType of = {0};

	of.typmod = -1;
	map_type(rows, element, &of);
	set_text(type, get_array_type(of.hub_type));
	if (!OidIsValid(type->hub_type))
		type->hub_type = TEXTOID;
	type->typmod = of.typmod;
	type->keeps_typmod = of.keeps_typmod;
}

static void
map_type(const Rows *rows, Oid oid, TapPgSourceType *type)
{
	const Row  *row = find_row(rows, oid);
	Oid			hub;

	if (is_common(oid))
	{
		type->hub_type = oid;
		type->binary_safe = true;
		type->keeps_typmod = true;
	}
	else if (row == NULL)
		set_text(type, TEXTOID);
	else if (row->kind == TYPTYPE_DOMAIN)
	{
		map_type(rows, row->base, type);
		if (type->keeps_typmod)
			type->typmod = row->base_typmod;
		type->keeps_typmod = false;
	}
	else if (OidIsValid(row->element))
		map_array(rows, row->element, type);
	else if (row->extension != NULL &&
			 OidIsValid(hub = extension_type(row->extension, row->name)))
	{
		set_text(type, hub);
		type->keeps_typmod = true;
	}
	else
	{
		set_text(type, TEXTOID);

		/* an enum's binary form is its label */
		type->binary_safe = row->kind == TYPTYPE_ENUM;
	}
}

TapPgSourceType *
tap_pg_source_types(TapSession *session, const Oid *oids, int count)
{
	TapPgSourceType *result = palloc0(sizeof(TapPgSourceType) * Max(count, 1));
	Rows		rows = {0};
	bool		all_common = true;

	for (int i = 0; i < count; i++)
		all_common &= is_common(oids[i]);
	if (!all_common)
		rows = read_rows(session, oids, count);
	for (int i = 0; i < count; i++)
	{
		result[i].oid = oids[i];
		result[i].typmod = -1;
		map_type(&rows, oids[i], &result[i]);
	}
	return result;
}
