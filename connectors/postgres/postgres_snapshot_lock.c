/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot_lock.c
 *	  Locks that have a copy see the rows of its table.
 *
 * NOTES
 *	  A statement has its snapshot before the locks that it waits for.  Behind
 *	  an ALTER TABLE that writes the table anew, or a TRUNCATE, it sees none of
 *	  the rows, since all of them are newer; and it succeeds.  What ALTER TABLE
 *	  writes is not in the log.  So the lock is taken by a statement before:
 *
 *	  - In a transaction that is READ COMMITTED the next statement has a
 *		snapshot that is newer than the lock.
 *
 *	  - Where one snapshot is to serve for all, the lock has to find the table
 *		in the files that the snapshot has it in, and with the same
 *		partitions.  If not, all begins anew with a newer snapshot.  CLUSTER
 *		and VACUUM FULL would have done no harm, but cannot be told from the
 *		others; nothing was read yet, and they have ended.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_snapshot.h"

char *
tap_pg_lock_query(const TapPgFormat *format)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT 1");
	tap_pg_copy_append_from(&sql, format);
	appendStringInfoString(&sql, " LIMIT 0");
	return sql.data;
}

static void raise_moved(const char *table) __attribute__((noreturn));

static void
raise_moved(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s\" of the source was altered or emptied in the moment when its copy began", table),
			 errdetail("The snapshot of the copy does not have its rows. It begins anew.")));
}

static void
lock_table(TapSession *session, const TapPgFormat *format)
{
	const char *name = tap_pg_table_text(&format->name);
	TapPgError *error;

	if (tap_pg_try_query(session, &error, "%s", tap_pg_lock_query(format)) != NULL)
		return;
	if (error->sqlstate == ERRCODE_UNDEFINED_TABLE)
		raise_moved(name);
	tap_pg_raise(error, "lock the source's table", name, NULL);
}

/*
 * A relation whose file or partitions are not those of the snapshot, by the
 * name of its root; NULL: there is none.  Rows of pg_class and pg_inherits are
 * of the snapshot, the functions tell of today.
 */
static char *
find_moved(TapSession *session, const char *roots)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "look for tables that were altered",
						"WITH RECURSIVE root AS (SELECT oid FROM unnest('{%s}'::oid[]) oid), "
						"seen AS (SELECT oid AS root, oid AS relid FROM root UNION SELECT t.root, i.inhrelid FROM seen t "
						"JOIN pg_class k ON k.oid = t.relid AND k.relkind = 'p' JOIN pg_inherits i ON i.inhparent = t.relid%s), "
						"today AS (SELECT oid AS root, oid AS relid FROM root UNION "
						"SELECT r.oid, p.relid::oid FROM root r CROSS JOIN LATERAL pg_partition_tree(r.oid) p) "
						"SELECT root::regclass FROM seen FULL JOIN today USING (root, relid) LEFT JOIN pg_class c ON c.oid = relid "
						"WHERE seen.relid IS NULL OR today.relid IS NULL "
						"OR c.relfilenode IS DISTINCT FROM coalesce(pg_relation_filenode(relid), 0) LIMIT 1", roots,
						session->version >= 140000 ? " AND NOT i.inhdetachpending" : "");
	return rows->nrows > 0 ? tap_pg_value(rows, 0, 0) : NULL;
}

void
tap_pg_lock_tables(TapSession *session, List *formats)
{
	StringInfoData roots;
	ListCell   *cell;
	char	   *moved;

	initStringInfo(&roots);
	foreach(cell, formats)
	{
		const TapPgFormat *format = lfirst(cell);

		lock_table(session, format);
		appendStringInfo(&roots, "%s%u", roots.len ? "," : "", format->relid);
	}
	moved = find_moved(session, roots.data);
	if (moved != NULL)
		raise_moved(moved);
}
