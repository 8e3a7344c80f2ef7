/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_progress.c
 *	  The position that the target holds, and one session a pipeline.
 *
 * NOTES
 *	  The position's row is changed in the transaction that changes the rows,
 *	  from the position that this session knows; another value there makes the
 *	  transaction fail.  An earlier session of the pipeline (its process was
 *	  killed while the target still worked for it) holds an advisory lock as
 *	  long as it can commit: the position is read when that lock is ours.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "common/hashfn.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

/* How long an earlier session may go on before it is ended. */
#define LOCK_PATIENCE	"5s"
/* And how long its end may take. */
#define LOCK_TIMEOUT	"60s"

#define ORIGIN_TRIES	50
#define ORIGIN_PAUSE_MS	100

/* ---------------------------------------------------------------------
 * One session a pipeline
 * ---------------------------------------------------------------------
 */

static bool
try_lock(TapSession *session, const char *timeout, TapPgError **error)
{
	return tap_pg_try_query(session, error,
							"SET lock_timeout = '%s'; SELECT pg_advisory_lock(%s); SET lock_timeout = 0",
							timeout, session->sink->lock_key) != NULL;
}

/*
 * The lock's key is in pg_locks in two halves.  Sessions of the same user may
 * be ended without further rights.
 */
static void
end_earlier_session(TapSession *session)
{
	TapPgError *error;

	(void) tap_pg_try_query(session, &error,
							"SELECT pg_terminate_backend(l.pid) FROM pg_locks l "
							"WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
							"AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
							"AND (l.classid::bigint << 32) | l.objid::bigint = %s",
							session->sink->lock_key);
}

static void
lock_out_others(TapSession *session)
{
	const char *identity = session->args.pipeline_identity;
	uint64		hash = hash_bytes_extended((const unsigned char *) identity,
										   strlen(identity), 0);
	TapPgError *error;

	session->sink->lock_key = psprintf("(" INT64_FORMAT ")::bigint", (int64) hash);
	if (try_lock(session, LOCK_PATIENCE, &error))
		return;
	if (error->sqlstate == ERRCODE_LOCK_NOT_AVAILABLE)
	{
		end_earlier_session(session);
		if (try_lock(session, LOCK_TIMEOUT, &error))
			return;
	}
	tap_pg_raise(error, "wait for the end of an earlier session of the pipeline at the target",
				 NULL, NULL);
}

/* ---------------------------------------------------------------------
 * The position
 * ---------------------------------------------------------------------
 */

static void
create_table(TapSession *session)
{
	const char *schema = tap_pg_option(session, "progress_schema", "tapdata_target");
	char	   *quoted = tap_pg_quote(schema);
	TapPgError *error;

	session->sink->progress = psprintf("%s.tapdata_progress", quoted);
	if (tap_pg_is_true(tap_pg_query(session, "look the table of positions up at the target",
									"SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
									"WHERE n.nspname = %s AND c.relname = 'tapdata_progress')",
									quote_literal_cstr(schema)), 0, 0))
		return;
	if (tap_pg_try_query(session, &error,
						 "%s CREATE TABLE IF NOT EXISTS %s (pipeline text PRIMARY KEY, name text NOT NULL, "
						 "lsn pg_lsn NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 50); "
						 "COMMENT ON TABLE %s IS 'what publish pipelines of tapdata have delivered here'",
						 tap_pg_is_true(tap_pg_query(session, "look a schema up at the target",
													 "SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)",
													 quote_literal_cstr(schema)), 0, 0) ?
						 psprintf("CREATE SCHEMA IF NOT EXISTS %s;", quoted) : "",
						 session->sink->progress, session->sink->progress) != NULL)
		return;
	/* two pipelines that begin at the same time */
	if (error->sqlstate == ERRCODE_UNIQUE_VIOLATION ||
		error->sqlstate == ERRCODE_DUPLICATE_TABLE || error->sqlstate == ERRCODE_DUPLICATE_SCHEMA)
		error->sqlstate = ERRCODE_OBJECT_IN_USE;
	tap_pg_raise(error, psprintf("create the table of positions in the schema \"%s\" of the target", schema),
				 NULL, error->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ?
				 psprintf("Run at the target: CREATE SCHEMA %s AUTHORIZATION the connection's user; or name another schema by the option \"progress_schema\".", quoted) : NULL);
}

static uint64
read_position(TapSession *session)
{
	const char *identity = quote_literal_cstr(session->args.pipeline_identity);
	TapPgRows  *rows;

	(void) tap_pg_query(session, "write the pipeline's position to the target",
						"INSERT INTO %s (pipeline, name, lsn) VALUES (%s, %s, '0/0') ON CONFLICT DO NOTHING",
						session->sink->progress, identity,
						quote_literal_cstr(session->args.pipeline_name));
	rows = tap_pg_query(session, "read the pipeline's position from the target",
						"SELECT lsn FROM %s WHERE pipeline = %s",
						session->sink->progress, identity);
	if (rows->nrows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the pipeline's row is gone from the table %s of the target",
						session->sink->progress)));
	return DatumGetLSN(DirectFunctionCall1(pg_lsn_in,
										   CStringGetDatum(tap_pg_needed(rows, 0, 0))));
}

uint64
tap_pg_progress_start(TapSession *session)
{
	MemoryContext old = MemoryContextSwitchTo(session->sink->context);
	uint64		position;

	lock_out_others(session);
	create_table(session);
	position = read_position(session);
	MemoryContextSwitchTo(old);
	return position;
}

void
tap_pg_progress_set(TapSession *session, uint64 position)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "write the pipeline's position to the target",
						"UPDATE %s SET lsn = '%X/%X', name = %s, updated_at = now() WHERE pipeline = %s",
						session->sink->progress, LSN_FORMAT_ARGS(position),
						quote_literal_cstr(session->args.pipeline_name),
						quote_literal_cstr(session->args.pipeline_identity));
	if (rows->affected != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the pipeline's row is gone from the table %s of the target",
						session->sink->progress)));
	session->sink->sent_position = position;
	session->sink->durable = position;
}

/* ---------------------------------------------------------------------
 * Replication origin
 * ---------------------------------------------------------------------
 */

/*
 * An earlier session gives its origin back a moment later than its locks.
 * Returns NULL when it is ours.
 */
static TapPgError *
own_origin(TapSession *session, const char *name)
{
	TapPgError *error;

	(void) tap_pg_try_query(session, &error,
							"SELECT pg_replication_origin_create(%s) WHERE pg_replication_origin_oid(%s) IS NULL",
							name, name);
	for (int i = 0; error == NULL || (error->sqlstate == ERRCODE_OBJECT_IN_USE && i < ORIGIN_TRIES); i++)
	{
		if (tap_pg_try_query(session, &error, "SELECT pg_replication_origin_session_setup(%s)",
							 name) != NULL)
			return NULL;
		if (error->sqlstate == ERRCODE_OBJECT_IN_USE)
			(void) tap_pg_core->wait_socket(PQsocket(session->conn), WL_SOCKET_READABLE,
											ORIGIN_PAUSE_MS);
	}
	return error;
}

void
tap_pg_origin_setup(TapSession *session)
{
	const char *option = tap_pg_option(session, "origin", "auto");
	char	   *name = psprintf("tapdata_%s", session->args.pipeline_identity);
	TapPgError *error;

	if (strcmp(option, "off") == 0)
		return;
	error = own_origin(session, quote_literal_cstr(name));
	if (error == NULL)
		return;
	if (strcmp(option, "on") == 0 || error->sqlstate == ERRCODE_OBJECT_IN_USE ||
		ERRCODE_TO_CATEGORY(error->sqlstate) == ERRCODE_CONNECTION_EXCEPTION)
		tap_pg_raise(error, "mark the changes with a replication origin at the target", NULL,
					 error->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE && session->version < 140000 ?
					 "Before PostgreSQL 14 this takes a superuser; or set the option \"origin\" to off." :
					 error->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ?
					 "Run at the target as superuser: GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_oid(text), pg_replication_origin_session_setup(text) TO the connection's user; or set the option \"origin\" to off." :
					 "Raise max_replication_slots (max_active_replication_origins since PostgreSQL 18) at the target, or set the option \"origin\" to off.");
}
