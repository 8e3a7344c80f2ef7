/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_slot.c
 *	  Publications and replication slots at the source.
 *
 * NOTES
 *	  A pipeline has two publications: one of tables whose updates and deletes
 *	  say which row they change, and one, for inserts alone, of tables that
 *	  have no replica identity, because publishing updates of such a table
 *	  would make the source refuse them.  Both are made before the slot: the
 *	  stream looks for them as of the moment that it reads.
 *
 *	  A table that joins a running stream is first put into a publication,
 *	  then gets a slot of its own for its catch-up; the pipeline's slot knows
 *	  the table too from there on.
 *
 *	  Everything is named tapdata_ and the pipeline's number in hexadecimal.
 *	  What options name is the user's: never altered, never dropped.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* How long a slot may still be held by a process that was told to end. */
#define RELEASE_MS		30000
#define LOOK_AGAIN_MS	50

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

static char *
base_name(const TapSession *session)
{
	return psprintf("tapdata_%016llx", (unsigned long long) session->args.pipeline_seed);
}

const char *
tap_pg_given(const TapSession *session, const char *option)
{
	const char *name = tap_pg_option(session, option, NULL);

	return name != NULL && name[0] != '\0' ? name : NULL;
}

/* The pipeline's slot that the user has named; NULL: it was made here. */
static const char *
given_slot(const TapSession *session)
{
	return session->args.table_id != 0 ? NULL : tap_pg_given(session, "slot");
}

/* The slot of the one table that is caught up by itself, or the pipeline's. */
char *
tap_pg_slot_name(const TapSession *session)
{
	const char *name = given_slot(session);

	if (session->args.table_id != 0)
		return psprintf("%s_t%d", base_name(session), session->args.table_id);
	return name ? pstrdup(name) : base_name(session);
}

char *
tap_pg_publication_name(const TapSession *session)
{
	const char *name = tap_pg_given(session, "publication");

	return name ? pstrdup(name) : base_name(session);
}

char *
tap_pg_insert_publication_name(const TapSession *session)
{
	return psprintf("%s_insert", base_name(session));
}

/* ---------------------------------------------------------------------
 * Publications
 * ---------------------------------------------------------------------
 */

static bool
publication_exists(TapSession *session, const char *name)
{
	return tap_pg_query(session, "look for the publication",
						"SELECT 1 FROM pg_publication WHERE pubname = %s",
						quote_literal_cstr(name))->nrows > 0;
}

static void
create_publication(TapSession *session, const char *name, const char *operations)
{
	bool		by_leaf = strcmp(tap_pg_option(session, "partitions", "root"), "leaf") == 0;

	if (publication_exists(session, name))
		return;
	(void) tap_pg_query(session, "create the publication",
						"CREATE PUBLICATION %s WITH (publish = '%s', publish_via_partition_root = %s%s)",
						tap_pg_quote(name), operations, by_leaf ? "false" : "true",
						session->version >= 180000 ? ", publish_generated_columns = 'stored'" : "");
}

static void
raise_no_identity(List *formats)
{
	StringInfoData names;
	ListCell   *cell;
	const char *first = NULL;

	initStringInfo(&names);
	foreach(cell, formats)
	{
		const TapPgFormat *format = lfirst(cell);

		if (format->identified)
			continue;
		if (first == NULL)
			first = tap_pg_quote_table(&format->name);
		appendStringInfo(&names, "%s%s", names.len ? ", " : "",
						 tap_pg_table_text(&format->name));
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("source tables have no replica identity: %s", names.data),
			 errdetail("Their updates and deletes do not tell which row they change, and would be refused by the source if they were published."),
			 errhint("Give them a primary key, or run at the source: ALTER TABLE %s REPLICA IDENTITY FULL; or exclude them by a pattern that begins with \"!\"; or follow only their inserts by the option without_identity = inserts.",
					 first)));
}

/* Those that are not in the publication yet. */
static List *
missing_in(TapSession *session, const char *publication, List *formats, bool identified)
{
	TapPgRows  *rows;
	List	   *result = NIL;
	ListCell   *cell;

	rows = tap_pg_query(session, "read the publication",
						"SELECT r.prrelid FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = %s",
						quote_literal_cstr(publication));
	foreach(cell, formats)
	{
		TapPgFormat *format = lfirst(cell);
		bool		found = false;

		for (int i = 0; i < rows->nrows && !found; i++)
			found = strtoul(tap_pg_needed(rows, i, 0), NULL, 10) == format->relid;
		if (!found && format->identified == identified)
			result = lappend(result, format);
	}
	return result;
}

static void
add_tables(TapSession *session, const char *publication, List *formats)
{
	StringInfoData sql;
	ListCell   *cell;

	if (formats == NIL)
		return;
	initStringInfo(&sql);
	foreach(cell, formats)
	{
		const TapPgFormat *format = lfirst(cell);

		/* not its children by inheritance: these are tables of their own */
		appendStringInfo(&sql, "%s %s%s", sql.len ? "," : "",
						 format->kind == 'p' ? "" : "ONLY ",
						 tap_pg_quote_table(&format->name));
	}
	(void) tap_pg_query(session, "add tables to the publication",
						"ALTER PUBLICATION %s ADD TABLE%s",
						tap_pg_quote(publication), sql.data);
}

/* The user's own publication must have the tables already. */
static void
check_given_publication(TapSession *session, List *tables)
{
	const TapPgFault *fault = tap_pg_publication_fault(session, tables);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(fault->sqlstate),
				 errmsg("%s", fault->message),
				 fault->detail ? errdetail("%s", fault->detail) : 0,
				 errhint("%s%s%s", fault->hint, fault->otherwise ? " " : "",
						 fault->otherwise ? fault->otherwise : "")));
}

void
tap_pg_prepare_publications(TapSession *session, List *tables)
{
	char	   *publication = tap_pg_publication_name(session);
	char	   *inserts = tap_pg_insert_publication_name(session);
	bool		only_inserts = strcmp(tap_pg_option(session, "without_identity", "error"), "inserts") == 0;
	List	   *formats;
	ListCell   *cell;

	if (tap_pg_given(session, "publication") != NULL)
	{
		check_given_publication(session, tables);
		return;
	}
	formats = tap_pg_read_formats(session, tables);
	foreach(cell, formats)
	{
		if (!((TapPgFormat *) lfirst(cell))->identified && !only_inserts)
			raise_no_identity(formats);
	}

	/* tables that join at the same time would alter it at the same time */
	(void) tap_pg_query(session, "lock the publication",
						"SELECT pg_advisory_lock(hashtextextended(%s, 0))",
						quote_literal_cstr(publication));
	create_publication(session, publication, "insert, update, delete, truncate");
	if (only_inserts)
		create_publication(session, inserts, "insert, truncate");
	add_tables(session, publication, missing_in(session, publication, formats, true));
	if (only_inserts)
		add_tables(session, inserts, missing_in(session, inserts, formats, false));
	(void) tap_pg_query(session, "unlock the publication",
						"SELECT pg_advisory_unlock(hashtextextended(%s, 0))",
						quote_literal_cstr(publication));
}

/*
 * A table of which none of the publications made here has anything; NULL: all
 * is well.  Only that for inserts can be missed silently: a table that was
 * dropped and made anew is in none until it is copied again.
 */
static char *
unpublished_table(TapSession *session, List *tables)
{
	TapPgRows  *rows;

	if (tables == NIL)
		return NULL;
	rows = tap_pg_query(session, "look for the tables in the publication",
						"SELECT c.oid::regclass FROM (VALUES %s) v (s, t) JOIN pg_namespace n ON n.nspname = v.s "
						"JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t WHERE c.relkind IN ('r', 'p') AND (c.relreplident = 'n' OR c.relreplident = 'd' "
						"AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) "
						"AND NOT EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname IN (%s, %s) AND p.schemaname = v.s AND p.tablename = v.t) LIMIT 1",
						tap_pg_names_as_values(tables), quote_literal_cstr(tap_pg_publication_name(session)),
						quote_literal_cstr(tap_pg_insert_publication_name(session)));
	return rows->nrows > 0 ? tap_pg_value(rows, 0, 0) : NULL;
}

static void
check_given_is_unchanged(TapSession *session, List *tables)
{
	const TapPgFault *fault = tap_pg_publication_fault(session, tables);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", fault->message),
				 fault->detail ? errdetail("%s", fault->detail) : 0,
				 errhint("%s Then call tapdata.resync('%s'): changes in between are missing.",
						 fault->hint, session->args.pipeline_name)));
}

void
tap_pg_check_published(TapSession *session, List *tables)
{
	char	   *name = tap_pg_publication_name(session);
	char	   *hint = psprintf("Changes in between are missing: call tapdata.resync('%s'), or set its option on_gap = compare and start it.",
								session->args.pipeline_name);
	char	   *table;

	if (tap_pg_given(session, "publication") != NULL)
	{
		check_given_is_unchanged(session, tables);
		return;
	}
	if (!publication_exists(session, name))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("publication \"%s\" does not exist at the source", name),
				 errdetail("It was there when the pipeline began."),
				 errhint("%s", hint)));
	table = unpublished_table(session, tables);
	if (table != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("publication \"%s\" does not exist at the source, or lacks a table",
						tap_pg_insert_publication_name(session)),
				 errdetail("Table %s, which has no replica identity, is in no publication of this pipeline.", table),
				 errhint("%s", hint)));
}

/* ---------------------------------------------------------------------
 * Slots
 * ---------------------------------------------------------------------
 */

TapPgSlot *
tap_pg_slot_find(TapSession *session, const char *name)
{
	TapPgRows  *rows;
	TapPgSlot  *slot;

	rows = tap_pg_query(session, "look for the replication slot",
						"SELECT active, wal_status = 'lost', confirmed_flush_lsn, restart_lsn, %s, "
						"slot_type = 'logical' AND plugin = 'pgoutput' AND database = current_database() "
						"FROM pg_replication_slots WHERE slot_name = %s",
						session->version >= 170000 ? "invalidation_reason" : "wal_status",
						quote_literal_cstr(name));
	if (rows->nrows == 0)
		return NULL;
	if (!tap_pg_is_true(rows, 0, 5))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" of the source is not one of pgoutput in this database", name),
				 errhint("Name another one by the option \"slot\", or leave it out.")));
	slot = palloc0(sizeof(TapPgSlot));
	slot->active = tap_pg_is_true(rows, 0, 0);
	slot->why = tap_pg_value(rows, 0, 4);
	slot->lost = tap_pg_is_true(rows, 0, 1) || (session->version >= 170000 && slot->why != NULL);
	if (tap_pg_value(rows, 0, 2) != NULL)
		slot->confirmed = tap_pg_lsn_parse(tap_pg_value(rows, 0, 2));
	if (tap_pg_value(rows, 0, 3) != NULL)
		slot->restart = tap_pg_lsn_parse(tap_pg_value(rows, 0, 3));
	return slot;
}

static void
create_slot(TapSession *session, const char *name)
{
	const char *more = "";

	if (session->version >= 170000)
		more = strcmp(tap_pg_option(session, "failover", "false"), "true") == 0 &&
			session->args.table_id == 0 ? ", false, false, true" : ", false, false, false";
	(void) tap_pg_query_for_slot(session, "create the replication slot",
								 psprintf("SELECT pg_create_logical_replication_slot(%s, 'pgoutput'%s)",
										  quote_literal_cstr(name), more));
}

/*
 * A slot that a former session is still making would begin later than what is
 * copied now.
 */
static TapPgSlot *
find_made(TapSession *session, const char *name)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RELEASE_MS);
	TapPgSlot  *slot;

	while ((slot = tap_pg_slot_find(session, name)) != NULL && slot->active && slot->confirmed == 0)
	{
		if (GetCurrentTimestamp() > end)
			ereport(ERROR,
					(errcode(ERRCODE_CANNOT_CONNECT_NOW),
					 errmsg("replication slot \"%s\" of the source is still being made by another session", name)));
		tap_pg_end_holder(session, name);
		(void) tap_pg_core->wait_socket(PGINVALID_SOCKET, 0, LOOK_AGAIN_MS);
	}
	return slot;
}

void
tap_pg_snapshot_begin(TapSession *session, List *tables)
{
	char	   *name = tap_pg_slot_name(session);
	TapPgSlot  *slot;

	tap_pg_prepare_publications(session, tables);
	slot = find_made(session, name);
	if (slot != NULL && slot->lost && given_slot(session) == NULL)
	{
		(void) tap_pg_query(session, "drop the replication slot",
							"SELECT pg_drop_replication_slot(%s)", quote_literal_cstr(name));
		slot = NULL;
	}
	if (slot == NULL)
		create_slot(session, name);
	tap_pg_wait_until_visible(session);
}

char *
tap_pg_safe_position(TapSession *session)
{
	char	   *name = tap_pg_slot_name(session);
	TapPgSlot  *slot = tap_pg_slot_find(session, name);
	TapPgPosition position;

	if (slot == NULL || slot->lost)
		ereport(ERROR,
				(errcode(given_slot(session) != NULL ?
						 ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE : ERRCODE_CONNECTION_FAILURE),
				 errmsg("replication slot \"%s\" of the source has vanished", name),
				 given_slot(session) == NULL ? 0 :
				 errhint("Make the slot again at the source, then resync() the pipeline.")));
	tap_pg_position_now(session, &position);
	position.lsn = slot->confirmed;
	return tap_pg_position_text(&position);
}

/* ---------------------------------------------------------------------
 * Leaving
 * ---------------------------------------------------------------------
 */

/* Drop a slot; its process, if any, has been told to end, or lost its peer. */
void
tap_pg_drop_slot(TapSession *session, const char *name)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RELEASE_MS);

	for (;;)
	{
		TapPgError *error;

		if (tap_pg_try_query(session, &error, "SELECT pg_drop_replication_slot(%s)",
							 quote_literal_cstr(name)) != NULL ||
			error->sqlstate == ERRCODE_UNDEFINED_OBJECT)
			return;
		if (error->sqlstate != ERRCODE_OBJECT_IN_USE || GetCurrentTimestamp() > end)
			tap_pg_raise(error, "drop the replication slot", NULL, NULL);
		tap_pg_end_holder(session, name);
		(void) tap_pg_core->wait_socket(PGINVALID_SOCKET, 0, LOOK_AGAIN_MS);
	}
}

void
tap_pg_forget(TapSession *session, bool all)
{
	char	   *base = base_name(session);
	TapPgRows  *rows;

	if (!all && session->args.table_id != 0)
	{
		tap_pg_drop_slot(session, tap_pg_slot_name(session));
		return;
	}
	rows = tap_pg_query(session, "look for replication slots",
						"SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ '^%s%s$' AND database = current_database()",
						base, all ? "(_t[0-9]+)?" : "_t[0-9]+");
	for (int i = 0; i < rows->nrows; i++)
		tap_pg_drop_slot(session, tap_pg_needed(rows, i, 0));
	if (!all)
		return;

	/* a standby refuses to drop even what is not there */
	rows = tap_pg_query(session, "look for the publication",
						"SELECT pubname FROM pg_publication WHERE pubname IN (%s, %s)",
						quote_literal_cstr(base), quote_literal_cstr(tap_pg_insert_publication_name(session)));
	for (int i = 0; i < rows->nrows; i++)
		(void) tap_pg_query(session, "drop the publication",
							"SET client_min_messages = error; DROP PUBLICATION IF EXISTS %s",
							tap_pg_quote(tap_pg_needed(rows, i, 0)));
}
