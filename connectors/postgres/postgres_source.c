/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source.c
 *	  PostgreSQL as a source: positions, sequences, the callbacks.
 *
 * NOTES
 *	  A position is a place of the source's log, with the cluster's identifier
 *	  and timeline: "16/B374D848 @7395012345678901234:1".  Positions of one
 *	  cluster are in the order of their places; whether a newer timeline holds
 *	  what a position covers is looked at when the stream begins.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"

/* ---------------------------------------------------------------------
 * Positions
 * ---------------------------------------------------------------------
 */

char *
tap_pg_lsn_text(uint64 lsn)
{
	return psprintf("%X/%X", (uint32) (lsn >> 32), (uint32) lsn);
}

uint64
tap_pg_lsn_parse(const char *text)
{
	unsigned int high;
	unsigned int low;

	if (text == NULL || sscanf(text, "%X/%X", &high, &low) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the source sent no position of its log: \"%s\"", text ? text : "")));
	return (uint64) high << 32 | low;
}

void
tap_pg_position_parse(const char *text, TapPgPosition *position)
{
	unsigned int high;
	unsigned int low;

	memset(position, 0, sizeof(*position));
	if (sscanf(text, "%X/%X @%23[0-9]:%u", &high, &low, position->system,
			   &position->timeline) != 4)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("\"%s\" is not a position of a PostgreSQL source", text)));
	position->lsn = (uint64) high << 32 | low;
}

char *
tap_pg_position_text(const TapPgPosition *position)
{
	return psprintf("%s @%s:%u", tap_pg_lsn_text(position->lsn), position->system,
					position->timeline);
}

/*
 * What is visible may not be flushed yet, so the place of insertion counts.
 * Right behind the header of a page it is no further than before that header,
 * where a stream at rest stands.
 */
void
tap_pg_position_now(TapSession *session, TapPgPosition *position)
{
	TapPgRows  *rows;
	uint64		in_page;
	uint64		in_segment;

	rows = tap_pg_query(session, "ask the source for its position",
						"SELECT CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, "
						"s.system_identifier, CASE WHEN r THEN c.timeline_id ELSE "
						"('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, "
						"i.wal_block_size, i.bytes_per_wal_segment "
						"FROM (SELECT pg_is_in_recovery() AS r) x, pg_control_system() s, "
						"pg_control_checkpoint() c, pg_control_init() i");
	position->lsn = tap_pg_lsn_parse(tap_pg_value(rows, 0, 0));
	strlcpy(position->system, tap_pg_needed(rows, 0, 1), sizeof(position->system));
	position->timeline = (uint32) strtoul(tap_pg_needed(rows, 0, 2), NULL, 10);

	/* sizes of the long and short headers */
	in_page = position->lsn % Max(strtoul(tap_pg_needed(rows, 0, 3), NULL, 10), 1);
	in_segment = position->lsn % Max(strtoul(tap_pg_needed(rows, 0, 4), NULL, 10), 1);
	if (in_segment == 40)
		position->lsn -= 40;
	else if (in_page == 24)
		position->lsn -= 24;
}

static char *
current_position(TapSession *session)
{
	TapPgPosition position;

	tap_pg_position_now(session, &position);
	return tap_pg_position_text(&position);
}

static TapPositionOrder
position_compare(const char *a, const char *b)
{
	TapPgPosition pa;
	TapPgPosition pb;

	tap_pg_position_parse(a, &pa);
	tap_pg_position_parse(b, &pb);
	if (strcmp(pa.system, pb.system) != 0)
		return TAP_POSITION_UNRELATED;
	return pa.lsn < pb.lsn ? TAP_POSITION_BEFORE :
		pa.lsn > pb.lsn ? TAP_POSITION_AFTER : TAP_POSITION_EQUAL;
}

static int64
log_behind(TapSession *session, const char *text, bool *purged, char **detail, char **hint)
{
	char	   *name = tap_pg_slot_name(session);
	TapPgSlot  *slot = tap_pg_slot_find(session, name);
	TapPgPosition position;
	TapPgPosition now;

	tap_pg_position_parse(text, &position);
	if (position.lsn == TAP_PG_COVERS_NOTHING)
		return -1;
	tap_pg_position_now(session, &now);
	if (slot == NULL || slot->lost || strcmp(position.system, now.system) != 0)
	{
		*purged = true;
		*detail = slot == NULL ? psprintf("There is no replication slot \"%s\".", name) :
			slot->lost ? psprintf("Replication slot \"%s\" was invalidated.", name) :
			"The source is another cluster now.";
		*hint = "Raise max_slot_wal_keep_size at the source, and copy the tables again with tapdata.resync().";
		return -1;
	}
	return now.lsn > position.lsn ? (int64) (now.lsn - position.lsn) : 0;
}

/* ---------------------------------------------------------------------
 * Sequences
 * ---------------------------------------------------------------------
 */

static void
check_may_be_read(const TapSession *session, const TapPgRows *rows, int i)
{
	const char *name = tap_pg_needed(rows, i, 9);

	if (!tap_pg_is_true(rows, i, 3))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("sequence %s of the source may not be read", name),
				 errhint("At the source: GRANT SELECT ON SEQUENCE %s TO %s;", name,
						 tap_pg_quote(PQuser(session->conn)))));
}

static int64
integer(const TapPgRows *rows, int row, int column)
{
	return strtoll(tap_pg_needed(rows, row, column), NULL, 10);
}

/*
 * A column is filled by the sequence of its identity, or by that of its
 * default, whether it owns it or not; one that it owns besides is used by
 * nothing but perhaps a program.
 */
static List *
list_sequences(TapSession *session, List *tables)
{
	TapPgRows  *rows;
	List	   *result = NIL;

	if (tables == NIL)
		return NIL;
	rows = tap_pg_query(session, "read the source's sequences",
						"SELECT DISTINCT ON (n.nspname, c.relname, a.attname) "
						"n.nspname, c.relname, a.attname, has_sequence_privilege(s.seqrelid, 'SELECT'), "
						"s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, s.seqrelid::regclass "
						"FROM (VALUES %s) v (s, t) JOIN pg_namespace n ON n.nspname = v.s "
						"JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t "
						"JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
						"CROSS JOIN LATERAL (SELECT d.objid, d.deptype = 'a' FROM pg_depend d "
						"WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass "
						"AND d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i') "
						"UNION ALL SELECT d.refobjid, false FROM pg_attrdef f "
						"JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid "
						"AND d.refclassid = 'pg_class'::regclass "
						"WHERE f.adrelid = c.oid AND f.adnum = a.attnum) x (sequence, is_spare) "
						"JOIN pg_sequence s ON s.seqrelid = x.sequence "
						"ORDER BY n.nspname, c.relname, a.attname, x.is_spare, x.sequence",
						tap_pg_names_as_values(tables));
	for (int i = 0; i < rows->nrows; i++)
	{
		TapSourceSequence *sequence = palloc0(sizeof(TapSourceSequence));
		TapPgRows  *value;

		check_may_be_read(session, rows, i);
		value = tap_pg_query(session, "read the source's sequences",
							 "SELECT last_value, NOT is_called FROM %s", tap_pg_needed(rows, i, 9));
		sequence->table.schema = tap_pg_needed(rows, i, 0);
		sequence->table.name = tap_pg_needed(rows, i, 1);
		sequence->column = tap_pg_needed(rows, i, 2);
		sequence->last_value = integer(value, 0, 0);
		sequence->is_next = tap_pg_is_true(value, 0, 1);
		sequence->start = integer(rows, i, 4);
		sequence->increment = integer(rows, i, 5);
		sequence->minimum = integer(rows, i, 6);
		sequence->maximum = integer(rows, i, 7);
		sequence->cycles = tap_pg_is_true(rows, i, 8);
		result = lappend(result, sequence);
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Callbacks
 * ---------------------------------------------------------------------
 */

static TapSourceTable *
table_from_definition(TapSession *session, const TapTableName *name, const char *definition)
{
	(void) session;
	return tap_pg_source_table(tap_pg_format_parse(name, definition));
}

static Datum
complete_value(TapSession *session, TapSourceTable *table, AttrNumber column,
			   Datum old_value, bool old_isnull, void *partial, bool *isnull)
{
	elog(ERROR, "PostgreSQL sends no values in part");
	return (Datum) 0;
}

static void
unstage(TapSession *session, const char *data, Size bytes)
{
	elog(ERROR, "PostgreSQL's transactions are not staged");
}

const TapSourceCallbacks tap_pg_source_callbacks = {
	.list_tables = tap_pg_list_tables,
	.describe_tables = tap_pg_describe_tables,
	.table_from_definition = table_from_definition,
	.current_position = current_position,
	.snapshot_begin = tap_pg_snapshot_begin,
	.safe_position = tap_pg_safe_position,
	.log_behind = log_behind,
	.position_compare = position_compare,
	.snapshot_plan = tap_pg_snapshot_plan,
	.copy_lost = tap_pg_copy_lost,
	.snapshot_copy = tap_pg_snapshot_copy,
	.snapshot_copy_exact = tap_pg_snapshot_copy_exact,
	.stream_start = tap_pg_stream_start,
	.stream_refollow = tap_pg_stream_refollow,
	.stream_next = tap_pg_stream_next,
	.stream_wait = tap_pg_stream_wait,
	.stream_position = tap_pg_stream_position,
	.txn_covered = tap_pg_txn_covered,
	.complete_value = complete_value,
	.unstage = unstage,
	.describe_event = tap_pg_describe_event,
	.acknowledge = tap_pg_acknowledge,
	.forget = tap_pg_forget,
	.list_sequences = list_sequences,
};
