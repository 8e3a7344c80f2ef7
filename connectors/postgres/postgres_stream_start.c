/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_start.c
 *	  The beginning of the stream: whether the source still is what the
 *	  position is of, and the replication connection.
 *
 * NOTES
 *	  The position is held against the source's identifier, timeline and slot:
 *	  see check_history() and check_slot().  What they refuse is an error, or
 *	  heals by comparison (postgres_heal.c).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* How long the slot may still be held by the process of a former session. */
#define RELEASE_MS			20000
#define LOOK_AGAIN_MS		100

/* What begins anew, and how. */
static char *
copy_again_hint(const TapSession *session)
{
	return psprintf("Call tapdata.resync('%s') to copy all tables again.",
					session->args.pipeline_name);
}

/* ---------------------------------------------------------------------
 * Whether the source still is what the position is of
 * ---------------------------------------------------------------------
 */

uint64
tap_pg_timeline_end(TapSession *replication, uint32 timeline_then, uint32 now)
{
	TapPgRows  *rows = tap_pg_query(replication, "read the source's history",
									"TIMELINE_HISTORY %u", now);
	char	   *line = rows->nrows > 0 ? tap_pg_value(rows, 0, 1) : NULL;

	while (line != NULL && *line != '\0')
	{
		unsigned int timeline;
		unsigned int high;
		unsigned int low;
		char	   *end = strchr(line, '\n');

		if (sscanf(line, "%u %X/%X", &timeline, &high, &low) == 3 &&
			timeline == timeline_then)
			return (uint64) high << 32 | low;
		line = end ? end + 1 : NULL;
	}
	return PG_UINT64_MAX;
}

static void
check_timeline(TapPgStream *stream, uint32 now, uint64 written)
{
	TapPgPosition *position = &stream->position;
	uint64		end = position->lsn;

	if (now > position->timeline)
		end = tap_pg_timeline_end(&stream->replication, position->timeline, now);
	if (now < position->timeline || end == PG_UINT64_MAX || position->lsn > end)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source's history is not the one that this pipeline has followed"),
				 errdetail("The hub has everything up to %s of timeline %u; the source is in timeline %u, which %s.",
						   tap_pg_lsn_text(position->lsn), position->timeline, now,
						   now < position->timeline || end == PG_UINT64_MAX ?
						   "does not come of it" :
						   psprintf("left that one at %s, before", tap_pg_lsn_text(end))),
				 errhint("%s", copy_again_hint(stream->session))));
	if (position->lsn > written)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source's log ends before the position of this pipeline"),
				 errdetail("The hub has everything up to %s, the source's log ends at %s: it was set back, or has lost transactions in a crash.",
						   tap_pg_lsn_text(position->lsn), tap_pg_lsn_text(written)),
				 errhint("%s", copy_again_hint(stream->session))));
	position->timeline = now;
}

/*
 * Where the source's log ends.  A position may be of what was visible before
 * it was flushed, and is in order then, too.
 */
static uint64
written_log(TapPgStream *stream, uint64 flushed)
{
	TapPgPosition now;

	if (stream->position.lsn <= flushed)
		return flushed;
	tap_pg_position_now(stream->session, &now);
	return Max(flushed, now.lsn);
}

static void
check_history(TapPgStream *stream)
{
	TapPgRows  *rows = tap_pg_query(&stream->replication, "ask the source who it is",
									"IDENTIFY_SYSTEM");

	if (strcmp(tap_pg_needed(rows, 0, 0), stream->position.system) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source is not the cluster that this pipeline has followed"),
				 errdetail("Its system identifier is %s, that of the pipeline's position %s.",
						   tap_pg_needed(rows, 0, 0), stream->position.system),
				 errhint("Check host and port of the connection. After a move to another cluster: %s",
						 copy_again_hint(stream->session))));
	check_timeline(stream, (uint32) strtoul(tap_pg_needed(rows, 0, 1), NULL, 10),
				   written_log(stream, tap_pg_lsn_parse(tap_pg_value(rows, 0, 2))));
}

/* The slot must hold all of the log from our position on, and be free. */
static void
check_slot(TapPgStream *stream, const char *name)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RELEASE_MS);
	TapPgSlot  *slot;

	while ((slot = tap_pg_slot_find(stream->session, name)) != NULL && slot->active)
	{
		if (GetCurrentTimestamp() > end)
			ereport(ERROR,
					(errcode(ERRCODE_CANNOT_CONNECT_NOW),
					 errmsg("replication slot \"%s\" of the source is in use by another session", name)));
		tap_pg_end_holder(stream->session, name);
		(void) tap_pg_core->wait_socket(PGINVALID_SOCKET, 0, LOOK_AGAIN_MS);
	}
	if (slot == NULL || slot->lost)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 slot == NULL ? errmsg("replication slot \"%s\" is gone from the source", name) :
				 errmsg("the source has invalidated replication slot \"%s\": %s", name,
						slot->why ? slot->why : "its log was removed"),
				 errdetail("The log behind %s may be gone with it.", tap_pg_lsn_text(stream->position.lsn)),
				 errhint("%s A larger max_slot_wal_keep_size at the source lets it keep more; from PostgreSQL 17 on the option failover = true keeps the slot across a promotion.",
						 copy_again_hint(stream->session))));
	if (slot->confirmed > stream->position.lsn)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" of the source is ahead of this pipeline", name),
				 errdetail("The hub has everything up to %s, the slot gives out what is behind %s: it was made anew, or the hub was restored from an older backup.",
						   tap_pg_lsn_text(stream->position.lsn), tap_pg_lsn_text(slot->confirmed)),
				 errhint("%s", copy_again_hint(stream->session))));
}

/* A comparison that was begun is always ended: see postgres_heal.c. */
static void
check_compared(const TapPgStream *stream)
{
	if (stream->position.lsn == TAP_PG_COVERS_NOTHING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the comparison with the source has not come to its end"),
				 errdetail("It was begun because changes of the source are missing in the hub, and the option \"on_gap\" was \"compare\"."),
				 errhint("Set the option on_gap = compare again to have it done. Or: %s",
						 copy_again_hint(stream->session))));
}

bool
tap_pg_is_continuous(TapPgStream *stream)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool result = true;

	PG_TRY();
	{
		check_compared(stream);
		check_history(stream);
		check_slot(stream, tap_pg_slot_name(stream->session));
		tap_pg_check_published(stream->session,
							   stream->args.tables_followed(stream->args.core_data));
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		if (geterrcode() != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE || !tap_pg_can_heal(stream))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();

		/* of a table that is not whole yet there is nothing to compare */
		if (stream->session->args.purpose == TAP_PURPOSE_CATCHUP)
			ereport(ERROR,
					(errcode(TAP_ERRCODE_COPY_AGAIN), errmsg("%s", edata->message)));
		tap_pg_core->event("warning", NULL,
						   psprintf("%s; all tables are compared with the source", edata->message));
		result = false;
	}
	PG_END_TRY();
	return result;
}

/* ---------------------------------------------------------------------
 * The replication connection
 * ---------------------------------------------------------------------
 */

void
tap_pg_open_another(TapSession *session, TapSession *copy, bool replication)
{
	TapUri	   *uri = palloc(sizeof(TapUri));
	TapUriHost *host = palloc(sizeof(TapUriHost));

	/* of several hosts the very one that the session has chosen */
	host->host = pstrdup(PQhost(session->conn));
	host->port = atoi(PQport(session->conn));
	*uri = *session->args.uri;
	uri->nhosts = 1;
	uri->hosts = host;
	memset(copy, 0, sizeof(*copy));
	copy->args = session->args;
	copy->args.uri = uri;
	copy->replication = replication;
	copy->conn = tap_pg_connect(copy);
	copy->version = PQserverVersion(copy->conn);
}

/* Whether all published columns are of types whose binary form is known here. */
static bool
can_be_binary(TapPgStream *stream)
{
	TapSession *session = stream->session;
	const char *option = tap_pg_option(session, "binary", "auto");

	if (session->version < 140000 || strcmp(option, "off") == 0)
		return false;
	if (strcmp(option, "on") == 0)
		return true;
	return tap_pg_query(session, "look at the publication's types",
						"WITH RECURSIVE w (oid) AS (SELECT a.atttypid FROM pg_publication p "
						"CROSS JOIN LATERAL pg_get_publication_tables(p.pubname) t JOIN pg_attribute a ON a.attrelid = t.relid "
						"WHERE p.pubname IN (%s, %s) AND a.attnum > 0 AND NOT a.attisdropped UNION "
						"SELECT t.typbasetype FROM w JOIN pg_type t USING (oid) WHERE t.typtype = 'd') "
						"SELECT FROM w JOIN pg_type t USING (oid) WHERE t.typtype NOT IN ('d', 'e') "
						"AND (t.oid >= 10000 OR t.typname LIKE 'reg%%' OR t.typname LIKE '\\_reg%%') LIMIT 1",
						quote_literal_cstr(tap_pg_publication_name(session)),
						quote_literal_cstr(tap_pg_insert_publication_name(session)))->nrows == 0;
}

/*
 * Whether transactions may come while they are in progress.  Of those that
 * begin with TRUNCATE or DDL the server does not know the origin then, so not
 * where we look at it.
 */
static bool
can_be_streamed(const TapSession *session)
{
	if (session->version < 140000 || strcmp(tap_pg_option(session, "streaming", "on"), "on") != 0)
		return false;
	if (strcmp(tap_pg_option(session, "ignore_published", "none"), "none") != 0)
		return false;
	return session->version >= 160000 ||
		strcmp(tap_pg_option(session, "source_origin", "any"), "any") == 0;
}

/* Whether messages of the event trigger are followed. */
static bool
wants_messages(const TapSession *session)
{
	const TapOptions *given = session->args.pipeline_options;

	if (given == NULL || !tap_pg_core->option_bool(given, "ddl_messages"))
		return false;
	if (session->version < 140000)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the option \"ddl_messages\" needs PostgreSQL 14 or newer as the source"),
				 errhint("Leave it out: added and dropped columns are followed at a table's next change.")));
	return true;
}

static char *
quote_publications(TapSession *session)
{
	char	   *first = tap_pg_publication_name(session);
	char	   *second = tap_pg_insert_publication_name(session);
	TapPgRows  *rows;
	StringInfoData out;

	rows = tap_pg_query(session, "look for the publication",
						"SELECT pubname FROM pg_publication WHERE pubname IN (%s, %s) ORDER BY pubname",
						quote_literal_cstr(first), quote_literal_cstr(second));
	if (rows->nrows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("publication \"%s\" does not exist at the source", first),
				 errdetail("It was there when the pipeline began."),
				 errhint("%s", copy_again_hint(session))));
	initStringInfo(&out);
	for (int i = 0; i < rows->nrows; i++)
		appendStringInfo(&out, "%s%s", i ? "," : "", tap_pg_quote(tap_pg_needed(rows, i, 0)));
	return out.data;
}

/* Name and value of each of the plugin's options, in turn. */
static List *
plugin_options(TapPgStream *stream)
{
	TapSession *session = stream->session;
	List	   *options;

	stream->binary = can_be_binary(stream);
	options = list_make4("proto_version", session->version >= 140000 ? "2" : "1",
						 "publication_names", quote_publications(session));
	if (stream->binary)
		options = lappend(lappend(options, "binary"), "true");
	if (session->version >= 160000)
		options = lappend(lappend(options, "origin"),
						  (char *) tap_pg_option(session, "source_origin", "any"));
	if (wants_messages(session))
		options = lappend(lappend(options, "messages"), "true");
	if (can_be_streamed(session))
		options = lappend(lappend(options, "streaming"), "on");
	return options;
}

char *
tap_pg_plugin_arguments(TapPgStream *stream)
{
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, plugin_options(stream))
		appendStringInfo(&out, ", %s", quote_literal_cstr(lfirst(cell)));
	return out.data;
}

/* How much of the log there is for a walsender to send. */
static uint64
log_end(TapSession *session)
{
	TapPgRows  *rows = tap_pg_query(session, "ask the source for the end of its log",
									"SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END");

	return tap_pg_lsn_parse(tap_pg_needed(rows, 0, 0));
}

void
tap_pg_start_replication(TapPgStream *stream)
{
	TapSession *session = stream->session;
	List	   *options = plugin_options(stream);
	StringInfoData sql;
	PGresult   *result;

	stream->log_end = log_end(session);
	initStringInfo(&sql);
	appendStringInfo(&sql, "START_REPLICATION SLOT %s LOGICAL %s (",
					 tap_pg_quote(tap_pg_slot_name(session)), tap_pg_lsn_text(stream->position.lsn));
	for (int i = 0; i < list_length(options); i += 2)
		appendStringInfo(&sql, "%s%s %s", i > 0 ? ", " : "", (char *) list_nth(options, i),
						 quote_literal_cstr(list_nth(options, i + 1)));
	appendStringInfoChar(&sql, ')');
	if (!PQsendQuery(stream->replication.conn, sql.data))
		tap_pg_raise(tap_pg_error(stream->replication.conn, NULL), "start the stream", NULL, NULL);
	result = tap_pg_next_result(&stream->replication, "start the stream");
	if (PQresultStatus(result) != PGRES_COPY_BOTH)
	{
		TapPgError *error = tap_pg_error(stream->replication.conn, result);

		PQclear(result);
		if (error->sqlstate == ERRCODE_OBJECT_IN_USE)
			error->sqlstate = ERRCODE_CANNOT_CONNECT_NOW;
		tap_pg_raise(error, "start the stream", NULL, NULL);
	}
	PQclear(result);
	stream->last_received = stream->last_status = stream->told_at = GetCurrentTimestamp();
}
