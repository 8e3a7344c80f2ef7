/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_publication.c
 *	  A publication of the user's, which the option names: what it lacks.
 *
 * NOTES
 *	  What a publication does not publish never arrives, and nothing else would
 *	  tell.  So it must have all tables, under the names that the pipeline knows
 *	  them by, and publish every kind of change that the pipeline follows.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"

/* As in publish = '...'; columns of pg_publication in the same order. */
static const char *const kinds[] = {"insert", "update", "delete", "truncate"};

/* The kinds of which the source has to say which row is meant. */
#define NEEDS_IDENTITY(kind)	((kind) == 1 || (kind) == 2)

/* Of statements for many tables a hint has so many. */
#define SHOWN_STATEMENTS	10

#define KIND_COLUMNS	"pubinsert, pubupdate, pubdelete, pubtruncate"

/* Whether a pg_class c says of its rows which ones are changed. */
#define IDENTIFIED \
	"(c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid " \
	"AND CASE c.relreplident WHEN 'd' THEN x.indisprimary ELSE x.indisreplident AND c.relreplident = 'i' END))"

static TapPgFault *
make_fault(int sqlstate, char *message, char *detail, char *hint, char *otherwise)
{
	TapPgFault *fault = palloc0(sizeof(TapPgFault));

	fault->sqlstate = sqlstate;
	fault->message = message;
	fault->detail = detail;
	fault->hint = hint;
	fault->otherwise = otherwise;
	return fault;
}

/* ---------------------------------------------------------------------
 * Kinds of change
 * ---------------------------------------------------------------------
 */

bool
tap_pg_follows_all_changes(const TapSession *session)
{
	return strcmp(tap_pg_option(session, "changes", "all"), "all") == 0;
}

/* Whether all of the tables are followed for their inserts alone. */
static bool
follows_only_inserts(TapSession *session, List *tables)
{
	if (strcmp(tap_pg_option(session, "without_identity", "error"), "inserts") != 0)
		return false;
	return tap_pg_query(session, "look for a replica identity",
						"SELECT FROM (VALUES %s) v (s, t) JOIN pg_namespace n ON n.nspname = v.s "
						"JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t WHERE " IDENTIFIED " LIMIT 1",
						tap_pg_names_as_values(tables))->nrows == 0;
}

/*
 * Statements, each with a blank behind it, that give a replica identity to what
 * is published without one: else the source would refuse its updates and
 * deletes as soon as the publication publishes them.  Parts of a partitioned
 * table have each their own.
 */
static char *
identity_statements(TapSession *session, const char *publication)
{
	TapPgRows  *rows;
	StringInfoData out;

	rows = tap_pg_query(session, "look for a replica identity",
						"WITH published AS MATERIALIZED (SELECT k.oid FROM pg_publication_tables l JOIN pg_namespace n ON n.nspname = l.schemaname "
						"JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = l.tablename WHERE l.pubname = %s) "
						"SELECT n.nspname, c.relname FROM (SELECT oid FROM published UNION SELECT t.relid FROM published, pg_partition_tree(published.oid) t) p "
						"JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT " IDENTIFIED " ORDER BY 1, 2",
						quote_literal_cstr(publication));
	initStringInfo(&out);
	for (int i = 0; i < Min(rows->nrows, SHOWN_STATEMENTS); i++)
	{
		TapTableName name = {.schema = tap_pg_needed(rows, i, 0),.name = tap_pg_needed(rows, i, 1)};

		appendStringInfo(&out, "ALTER TABLE %s REPLICA IDENTITY FULL; ", tap_pg_quote_table(&name));
	}
	if (rows->nrows > SHOWN_STATEMENTS)
		appendStringInfo(&out, "the same for %d more published tables without a replica identity; ",
						 rows->nrows - SHOWN_STATEMENTS);
	return out.data;
}

static void
append_kind(StringInfo out, const char *kind)
{
	appendStringInfo(out, "%s%s", out->len ? ", " : "", kind);
}

static TapPgFault *
kinds_fault(TapSession *session, const char *publication, const TapPgRows *published, List *tables)
{
	bool		all = tap_pg_follows_all_changes(session);
	bool		inserts = all && follows_only_inserts(session, tables);
	StringInfoData lacking;
	StringInfoData needed;
	bool		by_identity = false;	/* updates or deletes are lacking */

	initStringInfo(&lacking);
	initStringInfo(&needed);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		/*
		 * rows that are not there cannot be updated: inserts are always
		 * needed
		 */
		bool		wanted = i == 0 || (all && (!inserts || strcmp(kinds[i], "truncate") == 0));

		if (wanted || tap_pg_is_true(published, 0, i))
			append_kind(&needed, kinds[i]);
		if (!wanted || tap_pg_is_true(published, 0, i))
			continue;
		append_kind(&lacking, kinds[i]);
		by_identity |= NEEDS_IDENTITY(i);
	}
	if (lacking.len == 0)
		return NULL;
	return make_fault(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  psprintf("publication \"%s\" of the source does not publish: %s", publication, lacking.data),
					  "Such changes would never arrive in the hub.",
					  psprintf("Run at the source: %sALTER PUBLICATION %s SET (publish = '%s');",
							   by_identity ? identity_statements(session, publication) : "",
							   tap_pg_quote(publication), needed.data),
					  all && tap_pg_is_true(published, 0, 0) ?
					  "Or, if the hub is to be without them, set the option changes = published." : NULL);
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

/*
 * The first table that the stream would not name: its name, whether it is
 * partitioned, a partition; whether it or a table that it is a part of was put
 * into the publication; and whether parts of it are published.
 */
static TapPgRows *
find_unpublished(TapSession *session, const char *publication, List *tables)
{
	const char *by_schema = session->version < 150000 ? "" :
	" UNION ALL SELECT k.oid FROM pg_class k JOIN pg_publication_namespace s ON s.pnnspid = k.relnamespace JOIN p ON p.oid = s.pnpubid";

	return tap_pg_query(session, "look for the tables in the publication",
						"WITH p AS (SELECT * FROM pg_publication WHERE pubname = %s), "
						"published AS MATERIALIZED (SELECT k.oid FROM pg_publication_tables l JOIN p USING (pubname) "
						"JOIN pg_namespace n ON n.nspname = l.schemaname JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = l.tablename), "
						"member AS (SELECT r.prrelid AS oid FROM pg_publication_rel r JOIN p ON p.oid = r.prpubid%s) "
						"SELECT v.s, v.t, c.relkind = 'p', c.relispartition, EXISTS (SELECT FROM p WHERE puballtables) "
						"OR c.oid IN (SELECT oid FROM member) OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a WHERE a.relid IN (SELECT oid FROM member)), "
						"EXISTS (SELECT FROM pg_partition_tree(c.oid) a WHERE a.relid IN (SELECT oid FROM published)) "
						"FROM (VALUES %s) v (s, t) JOIN pg_namespace n ON n.nspname = v.s "
						"JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t AND c.relkind IN ('r', 'p') "
						"WHERE c.oid NOT IN (SELECT oid FROM published) ORDER BY 1, 2 LIMIT 1",
						quote_literal_cstr(publication), by_schema, tap_pg_names_as_values(tables));
}

/* A partitioned table whose changes are published as those of its partitions. */
static TapPgFault *
root_fault(const char *publication, const TapTableName *name, bool member, bool parts)
{
	char	   *set = psprintf("ALTER PUBLICATION %s SET (publish_via_partition_root = true);",
							   tap_pg_quote(publication));

	return make_fault(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  psprintf("publication \"%s\" of the source does not publish table \"%s\" as one table",
							   publication, tap_pg_table_text(name)),
					  "It is partitioned, and the publication sends changes by the names of the partitions.",
					  member ? psprintf("Run at the source: %s", set) :
					  psprintf("Run at the source: ALTER PUBLICATION %s ADD TABLE %s; %s",
							   tap_pg_quote(publication), tap_pg_quote_table(name), set),
					  parts ? "Or set the option partitions = leaf, for each partition to be a table of the hub." : NULL);
}

/* A partition whose changes are published as those of its root. */
static TapPgFault *
leaf_fault(const char *publication, const TapTableName *name)
{
	return make_fault(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  psprintf("publication \"%s\" of the source does not publish partition \"%s\" as a table of its own",
							   publication, tap_pg_table_text(name)),
					  "The publication sends changes of partitions by the name of the table that they are parts of.",
					  psprintf("Run at the source: ALTER PUBLICATION %s SET (publish_via_partition_root = false);",
							   tap_pg_quote(publication)),
					  "Or set the option partitions = root, for that to be one table of the hub.");
}

static TapPgFault *
tables_fault(TapSession *session, const char *publication, bool by_root, List *tables)
{
	TapPgRows  *rows = find_unpublished(session, publication, tables);
	TapTableName name;
	bool		member;

	if (rows->nrows == 0)
		return NULL;
	name.schema = tap_pg_needed(rows, 0, 0);
	name.name = tap_pg_needed(rows, 0, 1);
	member = tap_pg_is_true(rows, 0, 4);
	if (tap_pg_is_true(rows, 0, 2) && !by_root)
		return root_fault(publication, &name, member, tap_pg_is_true(rows, 0, 5));
	if (tap_pg_is_true(rows, 0, 3) && by_root && member)
		return leaf_fault(publication, &name);
	return make_fault(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					  psprintf("table \"%s\" is not in publication \"%s\" of the source",
							   tap_pg_table_text(&name), publication),
					  NULL,
					  psprintf("Run at the source: ALTER PUBLICATION %s ADD TABLE %s;",
							   tap_pg_quote(publication), tap_pg_quote_table(&name)),
					  NULL);
}

TapPgFault *
tap_pg_publication_fault(TapSession *session, List *tables)
{
	const char *publication = tap_pg_given(session, "publication");
	TapPgRows  *rows;
	TapPgFault *fault;

	rows = tap_pg_query(session, "look for the publication",
						"SELECT " KIND_COLUMNS ", pubviaroot FROM pg_publication WHERE pubname = %s",
						quote_literal_cstr(publication));
	if (rows->nrows == 0)
		return make_fault(ERRCODE_UNDEFINED_OBJECT,
						  psprintf("publication \"%s\" does not exist at the source", publication),
						  NULL, "Create it there.",
						  "Or leave the option \"publication\" out to have one made.");
	if (tables == NIL)
		return NULL;
	fault = kinds_fault(session, publication, rows, tables);
	return fault ? fault :
		tables_fault(session, publication, tap_pg_is_true(rows, 0, lengthof(kinds)), tables);
}
