/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_table.c
 *	  Formats of source tables: read from the catalog, and as the core sees them.
 *
 * NOTES
 *	  Generated columns are not in the log before PostgreSQL 18, nor by a
 *	  publication of before that has been upgraded; so they are left out, and
 *	  the hub can compute them by itself.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "access/xact.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

bool
tap_pg_begin_lookups(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (IsTransactionState())
		return false;
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	return true;
}

void
tap_pg_end_lookups(bool begun)
{
	MemoryContext context = CurrentMemoryContext;

	if (!begun)
		return;
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

char *
tap_pg_quote_table(const TapTableName *name)
{
	return psprintf("%s.%s", tap_pg_quote(name->schema), tap_pg_quote(name->name));
}

char *
tap_pg_names_as_values(List *names)
{
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, names)
	{
		const TapTableName *name = lfirst(cell);

		appendStringInfo(&out, "%s(%s, %s)", out.len ? ", " : "",
						 quote_literal_cstr(name->schema), quote_literal_cstr(name->name));
	}
	return out.data;
}

int
tap_pg_format_column(const TapPgFormat *format, const char *name)
{
	for (int i = 0; i < format->ncolumns; i++)
		if (strcmp(format->columns[i].name, name) == 0)
			return i;
	return -1;
}

/* ---------------------------------------------------------------------
 * Reading the catalog
 * ---------------------------------------------------------------------
 */

/* Whether an index tells which row an update changes, for a pg_class c. */
#define IDENTITY_INDEX \
	"EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid " \
	"AND CASE c.relreplident WHEN 'd' THEN x.indisprimary ELSE x.indisreplident AND c.relreplident = 'i' END)"

/* What of pg_class are tables to us: partitions as their root, or as leaves. */
static const char *
table_condition(const TapSession *session)
{
	if (strcmp(tap_pg_option(session, "partitions", "root"), "leaf") == 0)
		return "c.relkind = 'r' AND c.relpersistence = 'p'";
	return "c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'";
}

/*
 * Tables that this process follows, as oids in an array's text: one that has a
 * new name is none that joins.  The core looks by a session of its own.
 */
static char *followed_tables;

void
tap_pg_set_followed(const char *oids)
{
	char	   *before = followed_tables;

	followed_tables = MemoryContextStrdup(TopMemoryContext, oids);
	if (before != NULL)
		pfree(before);
}

int
tap_pg_refresh_ms(const TapSession *session)
{
	const TapOptions *given = session->args.pipeline_options;

	return given != NULL ? (int) tap_pg_core->option_int(given, "refresh_ms") : 0;
}

/* The view that tells it would lock the publication's tables. */
char *
tap_pg_published_condition(const TapSession *session, const char *publication)
{
	const char *by_schema = session->version < 150000 ? "" :
	" OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_class k ON k.relnamespace = s.pnnspid "
	"WHERE s.pnpubid = p.oid AND (k.oid = c.oid OR k.oid IN (SELECT relid FROM pg_partition_ancestors(c.oid))))";

	return psprintf("EXISTS (SELECT FROM pg_publication p WHERE p.pubname = %s "
					"AND p.pubviaroot = CASE WHEN c.relkind = 'p' THEN true WHEN c.relispartition THEN false ELSE p.pubviaroot END "
					"AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid "
					"AND (r.prrelid = c.oid OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))))%s))",
					quote_literal_cstr(publication), by_schema);
}

/*
 * Tables that a worker takes up by itself must not stop the pipeline: those
 * that could not be followed are left to add_tables(), which says why.  Nor
 * may it wait for those that somebody has locked: they come another time.  To
 * check what a publication of the user's has, newer sources open all of it.
 */
static const char *
joining_condition(const TapSession *session)
{
	const char *publication = tap_pg_given(session, "publication");
	const char *followed;
	const char *locked = "l.relation = c.oid";

	if (MyBgworkerEntry == NULL || tap_pg_refresh_ms(session) == 0)
		return "true";
	if (publication != NULL)
	{
		followed = tap_pg_published_condition(session, publication);
		locked = "l.relation IN (SELECT k.oid FROM pg_class k WHERE k.relkind IN ('r', 'p') AND k.relpersistence = 'p')";
	}
	else if (strcmp(tap_pg_option(session, "without_identity", "error"), "inserts") == 0)
		followed = "pg_has_role(c.relowner, 'USAGE')";
	else
		followed = "pg_has_role(c.relowner, 'USAGE') AND (c.relreplident = 'f' OR " IDENTITY_INDEX ")";
	return psprintf("%s AND NOT row_security_active(c.oid) AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.mode = 'AccessExclusiveLock' "
					"AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND %s)",
					followed, locked);
}

List *
tap_pg_list_tables(TapSession *session)
{
	TapPgRows  *rows;
	List	   *result = NIL;

	rows = tap_pg_query(session, "list the source's tables",
						"SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
						"WHERE %s AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
						"AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') "
						"AND (%s) AND c.oid <> ALL ('%s'::oid[]) ORDER BY 1, 2", table_condition(session),
						joining_condition(session), followed_tables ? followed_tables : "{}");
	for (int i = 0; i < rows->nrows; i++)
	{
		TapTableName *name = palloc(sizeof(TapTableName));

		name->schema = tap_pg_needed(rows, i, 0);
		name->name = tap_pg_needed(rows, i, 1);
		result = lappend(result, name);
	}
	return result;
}

/* The index whose columns a row is known by, for a pg_class c. */
#define KEY_INDEX \
	"(SELECT x.indexrelid FROM pg_index x WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate " \
	"AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL " \
	"AND CASE c.relreplident WHEN 'i' THEN x.indisreplident WHEN 'f' THEN x.indisprimary OR NOT EXISTS " \
	"(SELECT FROM pg_index y WHERE y.indrelid = c.oid AND y.indisprimary) AND NOT EXISTS " \
	"(SELECT FROM unnest(x.indkey::int2[]) k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k AND NOT a.attnotnull) " \
	"ELSE x.indisprimary END ORDER BY x.indisprimary DESC, x.indexrelid LIMIT 1)"

#define KEY_COLUMNS(index) \
	"(SELECT string_agg(k.n::text, ',' ORDER BY k.o) FROM unnest(" index ".indkey::int2[]) WITH ORDINALITY k (n, o) " \
	"WHERE k.o <= " index ".indnkeyatts)"

/*
 * What the publication sends of a table, as t: its columns and rows, all unless
 * one of the user's leaves something out, and whether generated columns are
 * among them.  Functions that tell this open all published tables, and would
 * wait for whoever has locked one of them.
 */
static const char *
published_join(TapSession *session, const char *relid)
{
	const char *publication = tap_pg_given(session, "publication");
	bool		can_generated = session->version >= 180000;

	if (publication == NULL || session->version < 150000)
		return psprintf("CROSS JOIN (SELECT NULL::int2vector, NULL::pg_node_tree, %s) t (attrs, qual, generated)",
						!can_generated ? "false" :
						psprintf("NOT EXISTS (SELECT FROM pg_publication WHERE pubname = %s AND pubgencols = 'n')",
								 quote_literal_cstr(tap_pg_publication_name(session))));
	return psprintf("LEFT JOIN LATERAL (SELECT r.prattrs, r.prqual, %s FROM pg_publication p LEFT JOIN pg_publication_rel r "
					"ON r.prpubid = p.oid AND r.prrelid = %s AND NOT p.puballtables AND NOT EXISTS (SELECT FROM pg_class k "
					"JOIN pg_publication_namespace s ON s.pnnspid = k.relnamespace WHERE k.oid = r.prrelid AND s.pnpubid = p.oid) "
					"WHERE p.pubname = %s) t (attrs, qual, generated) ON true",
					can_generated ? "r.prattrs IS NOT NULL OR p.pubgencols = 's'" : "false", relid,
					quote_literal_cstr(publication));
}

static TapPgRows *
read_tables(TapSession *session, List *names)
{
	return tap_pg_query(session, "describe the source's tables",
						"SELECT n.nspname, c.relname, c.oid, c.relkind, c.relreplident, obj_description(c.oid, 'pg_class'), "
						KEY_COLUMNS("i") ", CASE c.relkind WHEN 'p' THEN (SELECT sum(l.reltuples) FROM pg_partition_tree(c.oid) p "
						"JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf AND l.reltuples >= 0) ELSE c.reltuples END, "
						"CASE c.relkind WHEN 'p' THEN (SELECT sum(pg_table_size(p.relid)) FROM pg_partition_tree(c.oid) p WHERE p.isleaf) "
						"ELSE pg_table_size(c.oid) END, " IDENTITY_INDEX ", pg_get_expr(t.qual, c.oid) "
						"FROM (VALUES %s) v (s, t) JOIN pg_namespace n ON n.nspname = v.s "
						"JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t AND c.relkind IN ('r', 'p') "
						"LEFT JOIN pg_index i ON i.indexrelid = " KEY_INDEX " %s ORDER BY 1, 2",
						tap_pg_names_as_values(names), published_join(session, "c.oid"));
}

static TapPgRows *
read_columns(TapSession *session, const char *relids)
{
	return tap_pg_query(session, "describe the source's tables",
						"SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), "
						"a.attnotnull, col_description(a.attrelid, a.attnum), "
						"CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END "
						"FROM pg_attribute a %s WHERE a.attrelid IN (%s) AND a.attnum > 0 AND NOT a.attisdropped "
						"AND (a.attgenerated = '' OR a.attgenerated = 's' AND t.generated) AND (t.attrs IS NULL OR a.attnum = ANY (t.attrs::int2[])) ORDER BY a.attrelid, a.attnum",
						published_join(session, "a.attrelid"), relids);
}

static TapPgRows *
read_indexes(TapSession *session, const char *relids)
{
	return tap_pg_query(session, "describe the source's tables",
						"SELECT i.indrelid, x.relname, i.indisunique, " KEY_COLUMNS("i")
						" FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam "
						"WHERE i.indrelid IN (%s) AND NOT i.indisprimary AND i.indisvalid AND i.indpred IS NULL "
						"AND i.indexprs IS NULL AND i.indimmediate AND m.amname = 'btree' ORDER BY 1, 2", relids);
}

static void
set_columns(TapPgFormat *format, const TapPgRows *rows)
{
	int			count = 0;

	format->columns = palloc0(sizeof(TapPgSourceColumn) * Max(rows->nrows, 1));
	for (int i = 0; i < rows->nrows; i++)
	{
		TapPgSourceColumn *column = &format->columns[count];

		if (strtoul(tap_pg_needed(rows, i, 0), NULL, 10) != format->relid)
			continue;
		column->number = atoi(tap_pg_needed(rows, i, 1));
		column->name = tap_pg_needed(rows, i, 2);
		column->source_type = strtoul(tap_pg_needed(rows, i, 3), NULL, 10);
		column->source_typmod = atoi(tap_pg_needed(rows, i, 4));
		column->shown = tap_pg_needed(rows, i, 5);
		column->not_null = tap_pg_is_true(rows, i, 6);
		column->comment = tap_pg_value(rows, i, 7);
		column->missing = tap_pg_value(rows, i, 8);
		count++;
	}
	format->ncolumns = count;
}

/* "3,1" as positions in the columns; NULL when one of them is left out. */
static AttrNumber *
find_numbers(const TapPgFormat *format, const char *text, int *count)
{
	AttrNumber *result = palloc(sizeof(AttrNumber) * (strlen(text) + 1));

	*count = 0;
	for (const char *p = text; p != NULL; p = strchr(p, ','))
	{
		int			number;
		int			found = 0;

		if (*p == ',')
			p++;
		number = atoi(p);
		for (int i = 0; i < format->ncolumns; i++)
			if (format->columns[i].number == number)
				found = i + 1;
		if (found == 0)
			return NULL;
		result[(*count)++] = found;
	}
	return result;
}

static void
set_indexes(TapPgFormat *format, const TapPgRows *rows)
{
	format->indexes = palloc0(sizeof(TapPgSourceIndex) * Max(rows->nrows, 1));
	for (int i = 0; i < rows->nrows; i++)
	{
		TapPgSourceIndex *index = &format->indexes[format->nindexes];

		if (strtoul(tap_pg_needed(rows, i, 0), NULL, 10) != format->relid)
			continue;
		index->name = tap_pg_needed(rows, i, 1);
		index->unique = tap_pg_is_true(rows, i, 2);
		index->columns = find_numbers(format, tap_pg_needed(rows, i, 3), &index->ncolumns);
		if (index->columns != NULL)
			format->nindexes++;
	}
}

static void
set_types(TapSession *session, TapPgFormat *format)
{
	Oid		   *oids = palloc(sizeof(Oid) * Max(format->ncolumns, 1));
	TapPgSourceType *types;
	bool		begun = tap_pg_begin_lookups();

	for (int i = 0; i < format->ncolumns; i++)
		oids[i] = format->columns[i].source_type;
	types = tap_pg_source_types(session, oids, format->ncolumns);
	for (int i = 0; i < format->ncolumns; i++)
	{
		TapPgSourceColumn *column = &format->columns[i];

		column->type = types[i].hub_type;
		column->typmod = types[i].keeps_typmod ? column->source_typmod : types[i].typmod;
		column->as_text = types[i].as_text;
		column->binary_safe = types[i].binary_safe;
	}
	tap_pg_end_lookups(begun);
}

static TapPgFormat *
make_format(const TapPgRows *tables, int row)
{
	TapPgFormat *format = palloc0(sizeof(TapPgFormat));
	const char *estimate = tap_pg_value(tables, row, 7);
	const char *bytes = tap_pg_value(tables, row, 8);

	format->name.schema = tap_pg_needed(tables, row, 0);
	format->name.name = tap_pg_needed(tables, row, 1);
	format->relid = strtoul(tap_pg_needed(tables, row, 2), NULL, 10);
	format->kind = tap_pg_needed(tables, row, 3)[0];
	format->identity = tap_pg_needed(tables, row, 4)[0];
	format->comment = tap_pg_value(tables, row, 5);
	format->estimated_rows = estimate ? strtod(estimate, NULL) : -1;
	format->estimated_bytes = bytes ? strtod(bytes, NULL) : -1;
	format->identified = format->identity == 'f' || tap_pg_is_true(tables, row, 9);
	format->filter = tap_pg_value(tables, row, 10);
	return format;
}

List *
tap_pg_read_formats(TapSession *session, List *names)
{
	TapPgRows  *tables;
	TapPgRows  *columns;
	TapPgRows  *indexes;
	StringInfoData relids;
	List	   *result = NIL;

	if (names == NIL)
		return NIL;
	tables = read_tables(session, names);
	if (tables->nrows == 0)
		return NIL;
	initStringInfo(&relids);
	for (int i = 0; i < tables->nrows; i++)
		appendStringInfo(&relids, "%s%s", i ? "," : "", tap_pg_needed(tables, i, 2));
	columns = read_columns(session, relids.data);
	indexes = read_indexes(session, relids.data);
	for (int i = 0; i < tables->nrows; i++)
	{
		TapPgFormat *format = make_format(tables, i);
		const char *key = tap_pg_value(tables, i, 6);

		set_columns(format, columns);
		set_types(session, format);
		if (key != NULL)
			format->keys = find_numbers(format, key, &format->nkeys);
		if (format->keys == NULL)
			format->nkeys = 0;
		set_indexes(format, indexes);
		result = lappend(result, format);
	}
	return result;
}

List *
tap_pg_describe_tables(TapSession *session, List *names)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tap_pg_read_formats(session, names))
		result = lappend(result, tap_pg_source_table(lfirst(cell)));
	return result;
}

/* ---------------------------------------------------------------------
 * For the core
 * ---------------------------------------------------------------------
 */

static TupleDesc
make_descriptor(const TapPgFormat *format)
{
	TupleDesc	descriptor = CreateTemplateTupleDesc(format->ncolumns);

	for (int i = 0; i < format->ncolumns; i++)
	{
		const TapPgSourceColumn *column = &format->columns[i];

		TupleDescInitEntry(descriptor, i + 1, column->name, column->type, column->typmod, 0);
		TupleDescAttr(descriptor, i)->attnotnull = column->not_null;
	}
	return descriptor;
}

TapSourceTable *
tap_pg_source_table(TapPgFormat *format)
{
	TapSourceTable *table = palloc0(sizeof(TapSourceTable));
	bool		begun = tap_pg_begin_lookups();

	table->name = format->name;
	table->descriptor = make_descriptor(format);
	table->nkeys = format->nkeys;
	table->keys = format->keys;
	table->nindexes = format->nindexes;
	table->indexes = palloc0(sizeof(TapSourceIndex) * Max(format->nindexes, 1));
	for (int i = 0; i < format->nindexes; i++)
	{
		table->indexes[i].name = format->indexes[i].name;
		table->indexes[i].unique = format->indexes[i].unique;
		table->indexes[i].ncolumns = format->indexes[i].ncolumns;
		table->indexes[i].columns = format->indexes[i].columns;
	}
	table->comment = format->comment;
	table->column_comments = palloc0(sizeof(char *) * Max(format->ncolumns, 1));
	table->column_types = palloc0(sizeof(char *) * Max(format->ncolumns, 1));
	table->column_defaults = palloc0(sizeof(char *) * Max(format->ncolumns, 1));
	for (int i = 0; i < format->ncolumns; i++)
	{
		table->column_comments[i] = format->columns[i].comment;
		table->column_types[i] = format->columns[i].shown;
		table->column_defaults[i] = format->columns[i].missing;
	}
	table->estimated_rows = format->estimated_rows;
	table->estimated_bytes = format->estimated_bytes;
	table->definition = tap_pg_format_text(format);
	table->connector_data = format;
	tap_pg_end_lookups(begun);
	return table;
}

TapPgFormat *
tap_pg_format_of(TapSourceTable *table)
{
	if (table->connector_data == NULL)
		table->connector_data = tap_pg_format_parse(&table->name, table->definition);
	return table->connector_data;
}
