/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot_exact.c
 *	  Copies a whole table as of a known position, by several connections.
 *
 * NOTES
 *	  The server makes the snapshot where a temporary slot begins that of the
 *	  replication connection's transaction.  That transaction exports it, and
 *	  is open until the end; others take it up.
 *
 *	  A part is a range of blocks, of all partitions of the table: a range of
 *	  ctid.  Whoever is done takes the next one.  The last has no end, so that
 *	  no row can lie behind it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_snapshot.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/*
 * How long another connection may wait for the table that the first one holds:
 * whoever is before it in the queue may wait for the first one, which would
 * wait for the rest.
 */
#define LOCK_WAIT_MS		1000

/* Blocks that one COPY reads, about: 8 MB. */
#define PART_BLOCKS			1024

/* And of each of many partitions at least: a statement for less is no gain. */
#define PART_MIN_BLOCKS		64

/*
 * What each of the processes may open that copy a single table: there can be
 * as many of them as "workers" says.
 */
#define MAX_OF_SYNC			2

/* What is left of a table to be handed out. */
typedef struct Parts
{
	int			nleaves;
	int64	   *blocks;			/* of each partition; NULL: cannot be divided */
	int64		total;
	int64		next;			/* block where the next part begins; -1: none */
} Parts;

/* Open connections; the first is the one with the slot. */
typedef struct Connections
{
	int			count;
	TapSession	sessions[FLEXIBLE_ARRAY_MEMBER];
} Connections;

/* ---------------------------------------------------------------------
 * Parts
 * ---------------------------------------------------------------------
 */

/* What of pg_class holds the rows of a table. */
static char *
leaves_of(const TapPgFormat *format)
{
	if (format->kind == 'p')
		return psprintf("pg_partition_tree(%u) l JOIN pg_class c ON c.oid = l.relid AND l.isleaf", format->relid);
	return psprintf("pg_class c WHERE c.oid = %u", format->relid);
}

/*
 * Measure the table, by the transaction that will read it.  That no block is
 * missed needs a lock that keeps out who would move rows to another file.  A
 * right to single columns is none to ctid.
 */
static void
measure(TapSession *session, const TapPgFormat *format, Parts *parts)
{
	TapPgRows  *rows;
	bool		can_divide = session->version >= 140000;

	memset(parts, 0, sizeof(*parts));
	tap_pg_lock_tables(session, list_make1((void *) format));
	rows = tap_pg_query(session, "measure the table",
						"SELECT pg_relation_size(oid) / current_setting('block_size')::int, relkind = 'r' AND heap AND has_table_privilege(%u, 'SELECT') "
						"FROM (SELECT c.oid, c.relkind, EXISTS (SELECT FROM pg_am a WHERE a.oid = c.relam AND a.amname = 'heap') "
						"FROM %s) c (oid, relkind, heap)", format->relid, leaves_of(format));
	parts->blocks = palloc(sizeof(int64) * Max(rows->nrows, 1));
	for (int i = 0; i < rows->nrows; i++)
	{
		can_divide = can_divide && tap_pg_is_true(rows, i, 1);
		if (can_divide)
		{
			parts->blocks[i] = strtoll(tap_pg_needed(rows, i, 0), NULL, 10);
			parts->total += parts->blocks[i];
		}
	}
	parts->nleaves = rows->nrows;
	if (!can_divide)
		parts->blocks = NULL;
}

/* Where the part ends that begins at a block; -1: it is the last. */
static int64
end_of_part(const Parts *parts, int64 begin)
{
	int64		leaves = 0;
	int64		highest = 0;
	int64		end;

	if (parts->blocks == NULL)
		return -1;
	for (int i = 0; i < parts->nleaves; i++)
	{
		leaves += parts->blocks[i] > begin;
		highest = Max(highest, parts->blocks[i]);
	}
	end = begin + Max(PART_BLOCKS / Max(leaves, 1), PART_MIN_BLOCKS);
	return end < highest ? end : -1;
}

static char *
next_condition(void *arg)
{
	Parts	   *parts = arg;
	int64		begin = parts->next;
	int64		end;
	char	   *low;

	if (begin < 0)
		return NULL;
	low = begin == 0 ? "true" : psprintf("ctid >= '(" INT64_FORMAT ",0)'::pg_catalog.tid", begin);
	end = end_of_part(parts, begin);
	parts->next = end;
	return end < 0 ? low :
		psprintf("%s AND ctid < '(" INT64_FORMAT ",0)'::pg_catalog.tid", low, end);
}

/* ---------------------------------------------------------------------
 * Connections
 * ---------------------------------------------------------------------
 */

/* Begin a transaction whose snapshot is where a temporary slot begins. */
static uint64
begin_at_slot(TapSession *replication)
{
	TapPgRows  *rows;

	(void) tap_pg_query(replication, "begin a copy",
						"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	rows = tap_pg_query_for_slot(replication, "create a temporary replication slot",
								 psprintf("CREATE_REPLICATION_SLOT \"tapdata_%016llx_c%d\" TEMPORARY LOGICAL pgoutput USE_SNAPSHOT",
										  (unsigned long long) replication->args.pipeline_seed, MyProcPid));
	return tap_pg_lsn_parse(tap_pg_value(rows, 0, 1));
}

/* Connect, take up the snapshot, and lock what will be read. */
static void
begin_helper(TapSession *first, TapSession *session, const TapPgFormat *format,
			 const char *snapshot)
{
	tap_pg_open_another(first, session, false);
	(void) tap_pg_query(session, "begin a copy",
						"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT %s",
						quote_literal_cstr(snapshot));
	(void) tap_pg_query(session, "lock the table",
						"SET LOCAL lock_timeout = %d; %s; SET LOCAL lock_timeout = 0",
						LOCK_WAIT_MS, tap_pg_lock_query(format));
}

/*
 * Another connection to the same server, ready to copy; false: there is none
 * to be had, for whatever reason: the copy is done without it.
 */
static bool
try_helper(TapSession *first, TapSession *session, const TapPgFormat *format,
		   const char *snapshot)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = true;

	PG_TRY();
	{
		begin_helper(first, session, format, snapshot);
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		tap_pg_close(session);
		if (code == ERRCODE_QUERY_CANCELED || code == ERRCODE_ADMIN_SHUTDOWN ||
			code == ERRCODE_OUT_OF_MEMORY)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		done = false;
	}
	PG_END_TRY();
	return done;
}

/* Open as many more as are wanted and can be had, all with the first one's snapshot. */
static void
open_others(Connections *connections, const TapPgFormat *format, int wanted)
{
	TapSession *first = &connections->sessions[0];
	char	   *snapshot = tap_pg_needed(tap_pg_query(first, "export a snapshot",
													  "SELECT pg_catalog.pg_export_snapshot()"), 0, 0);

	while (connections->count < wanted &&
		   try_helper(first, &connections->sessions[connections->count], format, snapshot))
		connections->count++;
}

static int
wanted_connections(const TapSession *session, const Parts *parts)
{
	bool		is_sync = session->args.table_id != 0;
	int64		option = tap_pg_core->option_int(session->args.pipeline_options, "workers");
	int64		workers = is_sync ? Min(option, MAX_OF_SYNC) : option;
	int64		count = (parts->total + PART_BLOCKS - 1) / PART_BLOCKS;

	return (int) Max(Min(workers, count), 1);
}

/* ---------------------------------------------------------------------
 * The copy
 * ---------------------------------------------------------------------
 */

static void
refuse_own_cluster(const TapPgPosition *position, const TapSourceTable *table)
{
	if (strtoull(position->system, NULL, 10) == GetSystemIdentifier())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" has no key and is of the hub's own cluster", tap_pg_table_text(&table->name)),
				 errdetail("Its copy would wait for the transaction that takes it."),
				 errhint("Give the table a primary key.")));
}

static void
copy_parts(Connections *connections, const TapPgFormat *format, TapRowReceiver *receiver)
{
	TapSession *first = &connections->sessions[0];
	Parts		parts;

	measure(first, format, &parts);
	if (wanted_connections(first, &parts) == 1)
		parts.blocks = NULL;
	else
		open_others(connections, format, wanted_connections(first, &parts));
	tap_pg_merge_copies(connections->sessions, connections->count, format,
						next_condition, &parts, receiver);
	(void) tap_pg_query(first, "end a copy", "COMMIT");
}

char *
tap_pg_snapshot_copy_exact(TapSession *session, TapSourceTable *table,
						   TapRowReceiver *receiver)
{
	int			most = tap_pg_core->option_int(session->args.pipeline_options, "workers");
	Connections *connections = palloc0(offsetof(Connections, sessions) + sizeof(TapSession) * Max(most, 1));
	TapPgPosition position;

	tap_pg_position_now(session, &position);
	refuse_own_cluster(&position, table);
	tap_pg_open_another(session, &connections->sessions[0], true);
	connections->count = 1;
	PG_TRY();
	{
		position.lsn = begin_at_slot(&connections->sessions[0]);
		copy_parts(connections, tap_pg_format_of(table), receiver);
	}
	PG_FINALLY();
	{
		for (int i = 0; i < connections->count; i++)
			tap_pg_close(&connections->sessions[i]);
	}
	PG_END_TRY();
	return tap_pg_position_text(&position);
}
