/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_wait.c
 *	  Waiting for other sessions of the source: transactions that a new
 *	  replication slot waits for, commits that are not visible yet, processes
 *	  that hold a slot of ours.
 *
 * NOTES
 *	  A slot is ready when every transaction has ended that was open when it
 *	  was begun, one after the other.  Its process at the source waits for
 *	  them by their locks, so that others can see for whom.  It does not see
 *	  by itself that we are gone: a slot that it finishes then would keep the
 *	  log for nobody, and begin later than what was copied meanwhile.
 *
 *	  A process is ended from here only if it holds a slot that is named by
 *	  the pipeline's number, is of our role and has our application_name; and,
 *	  if it sends a stream, nobody has answered it for so long that the
 *	  stream's receiver cannot be alive.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A receiver that has not answered for so long is gone: it does every 10 s. */
#define SILENT_SECONDS	"20"

/* How long a commit that is in the log may take to be visible. */
#define VISIBLE_MS		5000
#define LOOK_AGAIN_MS	50
#define LOOK_LATE_MS	1000

/* ---------------------------------------------------------------------
 * Transactions
 * ---------------------------------------------------------------------
 */

/* What a row of pid, user, database, seconds (or NULL), prepared transaction says. */
static char *
transaction_text(const TapPgRows *rows, int column)
{
	const char *pid = tap_pg_value(rows, 0, column);
	const char *user = tap_pg_value(rows, 0, column + 1);
	const char *database = tap_pg_value(rows, 0, column + 2);
	const char *seconds = tap_pg_value(rows, 0, column + 3);
	const char *prepared = tap_pg_value(rows, 0, column + 4);
	StringInfoData text;

	initStringInfo(&text);
	if (prepared != NULL)
		appendStringInfo(&text, "prepared transaction \"%s\"", prepared);
	else
		appendStringInfo(&text, "process %s", pid ? pid : "unknown");
	if (user != NULL)
		appendStringInfo(&text, ", user \"%s\"", user);
	if (database != NULL)
		appendStringInfo(&text, ", database \"%s\"", database);
	if (seconds != NULL)
		appendStringInfo(&text, ", open for %s s", seconds);
	return text.data;
}

char *
tap_pg_oldest_transaction(TapSession *session, int64 *seconds)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "ask the source for its transactions",
						"SELECT pid, usename, datname, extract(epoch FROM clock_timestamp() - began)::bigint, gid FROM "
						"(SELECT pid, usename, datname, xact_start AS began, NULL AS gid FROM pg_stat_activity "
						"WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() "
						"UNION ALL SELECT NULL, owner, database, prepared, gid FROM pg_prepared_xacts) t "
						"ORDER BY began LIMIT 1");
	*seconds = 0;
	if (rows->nrows == 0)
		return NULL;
	if (tap_pg_value(rows, 0, 3) != NULL)
		*seconds = strtoll(tap_pg_value(rows, 0, 3), NULL, 10);
	return transaction_text(rows, 0);
}

/* ---------------------------------------------------------------------
 * Slots that are made
 * ---------------------------------------------------------------------
 */

/* Store the event now: the wait may be long. */
static void
tell(const char *message)
{
	MemoryContext context = CurrentMemoryContext;

	tap_pg_core->event("warning", NULL, message);
	if (IsTransactionState())
		return;
	StartTransactionCommand();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* Tell which transaction the session's process waits for, unless that is known. */
static void
look_for_transaction(TapSession *session, TapSession *other)
{
	TapPgRows  *rows;
	const char *id;

	tap_pg_open_another(session, other, false);
	rows = tap_pg_query(other, "ask the source for its transactions",
						"SELECT w.transactionid, a.pid, coalesce(a.usename, p.owner), coalesce(a.datname, p.database), "
						"extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint, p.gid FROM pg_locks w "
						"LEFT JOIN pg_locks h ON h.locktype = 'transactionid' AND h.transactionid = w.transactionid AND h.granted "
						"LEFT JOIN pg_stat_activity a ON a.pid = h.pid "
						"LEFT JOIN pg_prepared_xacts p ON p.transaction = w.transactionid "
						"WHERE w.pid = %d AND w.locktype = 'transactionid' AND NOT w.granted LIMIT 1",
						PQbackendPID(session->conn));
	if (rows->nrows == 0)
		return;
	id = tap_pg_needed(rows, 0, 0);
	if (session->told_transaction != NULL && strcmp(session->told_transaction, id) == 0)
		return;
	session->told_transaction = MemoryContextStrdup(session->args.context, id);
	tell(psprintf("the new replication slot waits for a transaction of the source that was open before it: %s",
				  transaction_text(rows, 1)));
}

/* While a slot is made: a source that cannot be asked is taken for lost. */
static void
tell_transaction(TapSession *session)
{
	MemoryContext context = CurrentMemoryContext;
	TapSession	other = {0};

	PG_TRY();
	{
		look_for_transaction(session, &other);
	}
	PG_CATCH();
	{
		tap_pg_close(&other);

		/* it has no connection to spare: it will say so another time */
		if (geterrcode() != ERRCODE_CANNOT_CONNECT_NOW)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	tap_pg_close(&other);
}

TapPgRows *
tap_pg_query_for_slot(TapSession *session, const char *doing, const char *sql)
{
	TapPgRows  *volatile rows = NULL;

	session->while_waiting = tell_transaction;
	PG_TRY();
	{
		rows = tap_pg_query(session, doing, "%s", sql);
	}
	PG_FINALLY();
	{
		session->while_waiting = NULL;
	}
	PG_END_TRY();
	return rows;
}

/* ---------------------------------------------------------------------
 * Commits that are not visible yet
 * ---------------------------------------------------------------------
 */

/*
 * Transactions that run have a lock, which goes when what they have done is
 * visible.  A snapshot would not name those that began last.  Prepared ones
 * have no process, and are left out: a COMMIT PREPARED that waits for its
 * standby is not seen here.
 */
#define RUNNING \
	"FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'transactionid' " \
	"AND l.mode = 'ExclusiveLock' AND l.granted AND a.datname = current_database()"

/* Those of the source's database, as an array's text. */
static char *
running_transactions(TapSession *session)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "ask the source for its transactions",
						"SELECT coalesce(array_agg(l.transactionid)::text, '{}') " RUNNING);
	return tap_pg_needed(rows, 0, 0);
}

/* Whether our role is shown what other roles' sessions wait for. */
static bool
sees_waits(TapSession *session)
{
	return tap_pg_is_true(tap_pg_query(session, "ask the source for our rights",
									   "SELECT pg_has_role('pg_read_all_stats', 'USAGE')"), 0, 0);
}

/*
 * Whether one of these transactions runs, and whether a commit may wait for a
 * synchronous standby: one does, or none is shown and the source has standbys.
 */
static void
look_at_running(TapSession *session, const char *transactions, bool seen,
				bool *running, bool *waiting)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "ask the source for its transactions",
						"SELECT EXISTS (SELECT " RUNNING " AND l.transactionid = ANY ('%s'::xid[])), %s",
						transactions,
						seen ? psprintf("EXISTS (SELECT " RUNNING " AND l.transactionid = ANY ('%s'::xid[]) AND a.wait_event = 'SyncRep')",
										transactions) :
						"current_setting('synchronous_standby_names') <> ''");
	*running = tap_pg_is_true(rows, 0, 0);
	*waiting = tap_pg_is_true(rows, 0, 1);
}

void
tap_pg_wait_until_visible(TapSession *session)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), VISIBLE_MS);
	char	   *transactions = running_transactions(session);
	bool		seen = sees_waits(session);
	bool		told = false;

	for (;;)
	{
		bool		late = GetCurrentTimestamp() > end;
		bool		running;
		bool		waiting;

		look_at_running(session, transactions, seen, &running, &waiting);
		if (!running || (late && !waiting))
			return;
		if (late && !told)
			tell(psprintf("the copy waits for transactions of the source that may have been committed and wait for a synchronous standby: %s%s",
						  transactions, seen ? "" : "; with the role pg_read_all_stats it waits only for those that do"));
		told |= late;
		(void) tap_pg_core->wait_socket(PGINVALID_SOCKET, 0, late ? LOOK_LATE_MS : LOOK_AGAIN_MS);
	}
}

/* ---------------------------------------------------------------------
 * Slots that are held
 * ---------------------------------------------------------------------
 */

void
tap_pg_end_holder(TapSession *session, const char *slot)
{
	/*
	 * A reply's time is by our clock, not by the source's.  One that is not
	 * shown, for want of rights, may be of now: of a copy of this hub. Nobody
	 * streams from a slot that is still being made.
	 */
	(void) tap_pg_query(session, "end a former session",
						"SELECT pg_terminate_backend(a.pid) FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid "
						"LEFT JOIN pg_stat_replication r ON r.pid = a.pid "
						"WHERE s.slot_name = %s AND starts_with(s.slot_name, 'tapdata_%016llx') AND a.pid <> pg_backend_pid() "
						"AND a.usename = current_user AND a.application_name = current_setting('application_name') "
						"AND (r.pid IS NULL OR s.confirmed_flush_lsn IS NULL OR r.reply_time < to_timestamp(%.3f) - interval '" SILENT_SECONDS " s')",
						quote_literal_cstr(slot), (unsigned long long) session->args.pipeline_seed,
						timestamptz_to_time_t(GetCurrentTimestamp()) * 1.0);
}
