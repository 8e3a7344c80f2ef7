/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_types.c
 *	  Types of the source as types of the hub.
 *
 * NOTES
 *	  Types that every PostgreSQL has are the same here, if this server has
 *	  them too.  A type of an extension is that extension's type of the same
 *	  name, where the hub has it.  Under the option "types" = create, enums,
 *	  domains, composite and range types are made in the hub; else a domain is
 *	  its base type, and the others are text.
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
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* TapPgTypeRow.kind of a range: typtype's 'r' is the row of a table there. */
#define SOURCE_RANGE		'R'

typedef struct Rows
{
	TapPgTypeRow *rows;
	int			count;
} Rows;

/* Types and what they are made of: bases, elements, subtypes, fields. */
static const char *
parts_of(const TapSession *session, const char *oids)
{
	return psprintf("WITH RECURSIVE w (oid) AS (SELECT unnest('{%s}'::oid[]) UNION SELECT x.oid FROM w JOIN pg_type t USING (oid) "
					"CROSS JOIN LATERAL (SELECT t.typbasetype WHERE t.typtype = 'd' "
					"UNION ALL SELECT t.typelem WHERE t.typelem <> 0 AND t.typlen = -1 "
					"UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid %s"
					"UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 "
					"AND NOT a.attisdropped) x (oid)) ",
					oids, session->version < 140000 ? "" :
					"UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid ");
}

static Rows
read_rows(TapSession *session, const Oid *oids, int count)
{
	StringInfoData list;
	TapPgRows  *found;
	Rows		result;

	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		appendStringInfo(&list, "%s%u", i ? "," : "", oids[i]);
	found = tap_pg_query(session, "read the source's types", "%s"
						 "SELECT t.oid, n.nspname, t.typname, CASE WHEN c.relkind <> 'c' THEN 'r' WHEN t.typtype = 'r' THEN 'R' ELSE t.typtype END, "
						 "CASE t.typtype WHEN 'd' THEN t.typbasetype WHEN 'r' THEN (SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid) "
						 "%s ELSE 0 END, t.typtypmod, "
						 "CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE 0 END, e.extname, obj_description(t.oid, 'pg_type') "
						 "FROM w JOIN pg_type t USING (oid) JOIN pg_namespace n ON n.oid = t.typnamespace "
						 "LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass "
						 "AND d.objid = coalesce(nullif(CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END, 0), t.oid) "
						 "AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass "
						 "LEFT JOIN pg_extension e ON e.oid = d.refobjid", parts_of(session, list.data),
						 session->version < 140000 ? "" :
						 "WHEN 'm' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid)");
	result.count = found->nrows;
	result.rows = palloc0(sizeof(TapPgTypeRow) * Max(found->nrows, 1));
	for (int i = 0; i < found->nrows; i++)
	{
		TapPgTypeRow *row = &result.rows[i];

		row->oid = strtoul(tap_pg_needed(found, i, 0), NULL, 10);
		row->schema = tap_pg_needed(found, i, 1);
		row->name = tap_pg_needed(found, i, 2);
		row->kind = tap_pg_needed(found, i, 3)[0];
		row->base = strtoul(tap_pg_needed(found, i, 4), NULL, 10);
		row->base_typmod = atoi(tap_pg_needed(found, i, 5));
		row->element = strtoul(tap_pg_needed(found, i, 6), NULL, 10);
		row->extension = tap_pg_value(found, i, 7);
		row->comment = tap_pg_value(found, i, 8);
	}
	return result;
}

static const TapPgTypeRow *
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
	bool		pushed = !ActiveSnapshotSet();

	values[0] = CStringGetTextDatum(extension);
	values[1] = CStringGetTextDatum(name);
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
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
	if (pushed)
		PopActiveSnapshot();
	return result;
}

static void map_type(TapSession *session, const Rows *rows, Oid oid, TapPgSourceType *type);

static void
set_text(TapPgSourceType *type, Oid hub_type)
{
	type->hub_type = hub_type;
	type->as_text = true;
	type->binary_safe = false;
	type->keeps_typmod = false;
}

static void
map_array(TapSession *session, const Rows *rows, Oid element, TapPgSourceType *type)
{
	TapPgSourceType of = {0};

	of.typmod = -1;
	map_type(session, rows, element, &of);
	set_text(type, get_array_type(of.hub_type));
	if (!OidIsValid(type->hub_type))
		type->hub_type = TEXTOID;
	type->typmod = of.typmod;
	type->keeps_typmod = of.keeps_typmod;
}

/* A domain is its base type, under a name of its own where that is made. */
static void
map_domain(TapSession *session, const Rows *rows, const TapPgTypeRow *row, TapPgSourceType *type)
{
	Oid			made;

	map_type(session, rows, row->base, type);
	if (type->keeps_typmod)
		type->typmod = row->base_typmod;
	type->keeps_typmod = false;
	if (!tap_pg_makes_types(session))
		return;
	made = tap_pg_make_domain(session, row, type->hub_type, type->typmod);
	if (!OidIsValid(made))
		return;
	type->hub_type = made;
	type->typmod = -1;
}

static Oid
make_range(TapSession *session, const Rows *rows, const TapPgTypeRow *row)
{
	TapPgSourceType subtype = {0};

	subtype.typmod = -1;
	map_type(session, rows, row->base, &subtype);
	return tap_pg_make_range(session, row, subtype.hub_type);
}

static Oid
make_composite(TapSession *session, const Rows *rows, const TapPgTypeRow *row)
{
	TapPgRows  *found;
	TapPgTypeField *fields;

	found = tap_pg_query(session, "read a composite type of the source",
						 "SELECT a.attname, a.atttypid, a.atttypmod FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid "
						 "WHERE t.oid = %u AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum", row->oid);
	fields = palloc0(sizeof(TapPgTypeField) * Max(found->nrows, 1));
	for (int i = 0; i < found->nrows; i++)
	{
		TapPgSourceType type = {0};

		type.typmod = -1;
		fields[i].name = tap_pg_needed(found, i, 0);
		fields[i].source_type = strtoul(tap_pg_needed(found, i, 1), NULL, 10);
		fields[i].source_typmod = atoi(tap_pg_needed(found, i, 2));
		map_type(session, rows, fields[i].source_type, &type);
		fields[i].hub_type = type.hub_type;
		fields[i].typmod = type.keeps_typmod ? fields[i].source_typmod : type.typmod;
	}
	return tap_pg_make_composite(session, row, fields, found->nrows);
}

/* The hub's own type for one that only the source has; InvalidOid: text. */
static Oid
make_type(TapSession *session, const Rows *rows, const TapPgTypeRow *row)
{
	const TapPgTypeRow *range;
	Oid			made;

	if (!tap_pg_makes_types(session))
		return InvalidOid;
	switch (row->kind)
	{
		case TYPTYPE_ENUM:
			return tap_pg_make_enum(session, row);
		case TYPTYPE_COMPOSITE:
			return make_composite(session, rows, row);
		case SOURCE_RANGE:
			return make_range(session, rows, row);
		case TYPTYPE_MULTIRANGE:
			range = find_row(rows, row->base);
			made = range ? make_range(session, rows, range) : InvalidOid;
			return OidIsValid(made) ? get_range_multirange(made) : InvalidOid;
		default:
			return InvalidOid;
	}
}

static void
map_own(TapSession *session, const Rows *rows, const TapPgTypeRow *row, TapPgSourceType *type)
{
	Oid			made = row->extension ? InvalidOid : make_type(session, rows, row);

	set_text(type, OidIsValid(made) ? made : TEXTOID);

	/* an enum's binary form is its label */
	type->binary_safe = row->kind == TYPTYPE_ENUM;
	if (row->extension != NULL)
		tap_pg_tell_of_type(session, psprintf("type \"%s\" of the source's extension \"%s\" is text: the hub does not have that extension",
											  row->name, row->extension));
}

static void
map_type(TapSession *session, const Rows *rows, Oid oid, TapPgSourceType *type)
{
	const TapPgTypeRow *row = find_row(rows, oid);
	Oid			hub;

	/* what a server says of its catalog may lead in a circle */
	check_stack_depth();
	if (is_common(oid))
	{
		type->hub_type = oid;
		type->binary_safe = true;
		type->keeps_typmod = true;
	}
	else if (row == NULL)
		set_text(type, TEXTOID);
	else if (row->kind == TYPTYPE_DOMAIN)
		map_domain(session, rows, row, type);
	else if (OidIsValid(row->element))
		map_array(session, rows, row->element, type);
	else if (row->extension != NULL &&
			 OidIsValid(hub = extension_type(row->extension, row->name)))
	{
		set_text(type, hub);
		type->keeps_typmod = true;
	}
	else
		map_own(session, rows, row, type);
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
		map_type(session, &rows, oids[i], &result[i]);
	}
	return result;
}
