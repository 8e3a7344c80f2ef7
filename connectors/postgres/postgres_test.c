/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_test.c
 *	  The checks of test_connection(): what a target needs, and how to mend
 *	  what is not so.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define OLDEST_VERSION	130000

typedef struct CheckState
{
	TapSession *session;
	int			side;			/* that the checks are of; 0: both */
	List	   *checks;
} CheckState;

static void
add_check(CheckState *state, const char *name, bool ok, bool required,
		  char *detail, char *hint, int sqlstate)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));

	check->name = name;
	check->ok = ok;
	check->required = required;
	check->detail = detail;
	check->hint = ok ? NULL : hint;
	check->sqlstate = ok ? 0 : sqlstate;
	check->side = state->side;
	state->checks = lappend(state->checks, check);
}

static void
check_server(CheckState *state)
{
	TapSession *session = state->session;
	TapPgRows  *rows;

	add_check(state, "version", session->version >= OLDEST_VERSION, true,
			  psprintf("PostgreSQL %s", PQparameterStatus(session->conn, "server_version")),
			  "Upgrade the target to PostgreSQL 13 at least.", ERRCODE_FEATURE_NOT_SUPPORTED);
	rows = tap_pg_query(session, "check the target",
						"SELECT pg_is_in_recovery(), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()");
	add_check(state, "primary", !tap_pg_is_true(rows, 0, 0), true,
			  tap_pg_is_true(rows, 0, 0) ? "the server is a standby" : "the server is no standby",
			  "Connect to the primary; with several hosts in the URI it is found by itself.",
			  ERRCODE_READ_ONLY_SQL_TRANSACTION);
	add_check(state, "encoding", strcmp(tap_pg_needed(rows, 0, 1), GetDatabaseEncodingName()) == 0 ||
			  strcmp(tap_pg_needed(rows, 0, 1), "UTF8") == 0, false,
			  psprintf("the target's encoding is %s, the hub's %s", tap_pg_needed(rows, 0, 1),
					   GetDatabaseEncodingName()),
			  "Text with characters that the target's encoding lacks will be refused; a target in UTF8 takes all.", 0);
}

static void
check_privileges(CheckState *state)
{
	TapSession *session = state->session;
	const char *schema = tap_pg_option(session, "progress_schema", "tapdata_target");
	char	   *progress = psprintf("%s.tapdata_progress", tap_pg_quote(schema));
	TapPgRows  *rows;

	rows = tap_pg_query(session, "check the target",
						"SELECT CASE WHEN c.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') "
						"AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') "
						"WHEN n.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'CREATE') "
						"ELSE has_database_privilege(current_database(), 'CREATE') END, current_user, c.oid IS NOT NULL "
						"FROM (VALUES (%s)) v (s) LEFT JOIN pg_namespace n ON n.nspname = v.s "
						"LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'tapdata_progress'",
						quote_literal_cstr(schema));
	add_check(state, "progress", tap_pg_is_true(rows, 0, 0), true,
			  psprintf("the position is kept in %s", progress),
			  tap_pg_is_true(rows, 0, 2) ?
			  psprintf("Run at the target: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT, INSERT, UPDATE ON %s TO %s;",
					   tap_pg_quote(schema), tap_pg_quote(tap_pg_needed(rows, 0, 1)),
					   progress, tap_pg_quote(tap_pg_needed(rows, 0, 1))) :
			  psprintf("Run at the target: CREATE SCHEMA %s AUTHORIZATION %s; or name a schema of its own by the option \"progress_schema\".",
					   tap_pg_quote(schema), tap_pg_quote(tap_pg_needed(rows, 0, 1))),
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

/* What a superuser of the target may, and others after a GRANT. */
static void
check_rights(CheckState *state)
{
	TapSession *session = state->session;
	const char *origin = tap_pg_option(session, "origin", "auto");
	const char *role = tap_pg_option(session, "replication_role", "auto");
	char	   *user = tap_pg_quote(PQuser(session->conn));
	TapPgError *error;
	TapPgRows  *rows;
	bool		ok;

	ok = tap_pg_try_query(session, &error, "SET session_replication_role = 'replica'; RESET session_replication_role") != NULL;
	add_check(state, "replication_role", ok || strcmp(role, "origin") == 0,
			  strcmp(role, "replica") == 0,
			  ok ? "triggers and foreign keys of the target can be left out" :
			  "triggers and foreign keys of the target fire for each change",
			  session->version >= 150000 ?
			  psprintf("Run at the target as superuser: GRANT SET ON PARAMETER session_replication_role TO %s;", user) :
			  "Before PostgreSQL 15 this takes a superuser; without it, changes keep their order across tables and foreign keys are checked, which is slower.",
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
	rows = tap_pg_query(session, "check the target",
						"SELECT (%s OR rolsuper) AND "
						"has_function_privilege('pg_replication_origin_create(text)', 'EXECUTE') AND "
						"has_function_privilege('pg_replication_origin_oid(text)', 'EXECUTE') AND "
						"has_function_privilege('pg_replication_origin_session_setup(text)', 'EXECUTE') "
						"FROM pg_roles WHERE rolname = current_user",
						session->version >= 140000 ? "true" : "false");
	ok = tap_pg_is_true(rows, 0, 0);
	add_check(state, "origin", ok || strcmp(origin, "off") == 0, strcmp(origin, "on") == 0,
			  ok ? "changes are marked with a replication origin" :
			  "changes cannot be marked with a replication origin: a target that publishes back would make a loop",
			  session->version >= 140000 ?
			  psprintf("Run at the target as superuser: GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_oid(text), pg_replication_origin_session_setup(text) TO %s;", user) :
			  "Before PostgreSQL 14 this takes a superuser; set the option \"origin\" to off if the target publishes nothing back.",
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

static void
check_tls(CheckState *state)
{
	bool		used = PQsslInUse(state->session->conn);
	bool		local = PQhost(state->session->conn)[0] == '/';

	add_check(state, "tls", used || local, false,
			  used ? psprintf("%s", PQsslAttribute(state->session->conn, "protocol")) :
			  local ? "a unix socket" : "the connection is not encrypted",
			  "Set ssl = on at the target, and sslmode = verify-full for the connection.", 0);
}

static void
check_table(CheckState *state, const TapTableName *name)
{
	TapSourceTable table = {.name = *name};
	TapPgTarget target = {0};
	TapPgRows  *rows;

	tap_pg_target_names(state->session, &table, &target);
	rows = tap_pg_query(state->session, "check the target",
						"SELECT CASE WHEN c.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') "
						"AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE') AND has_table_privilege(c.oid, 'TRUNCATE') "
						"WHEN n.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'CREATE') "
						"ELSE has_database_privilege(current_database(), 'CREATE') END, c.oid IS NOT NULL "
						"FROM (VALUES (%s, %s)) v (s, t) LEFT JOIN pg_namespace n ON n.nspname = v.s "
						"LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.t",
						quote_literal_cstr(target.schema), quote_literal_cstr(target.name));
	add_check(state, "table", tap_pg_is_true(rows, 0, 0), true,
			  psprintf("\"%s\" goes to \"%s.%s\"", tap_pg_table_text(name), target.schema, target.name),
			  tap_pg_is_true(rows, 0, 1) ?
			  psprintf("Run at the target: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %s TO %s;",
					   tap_pg_quote(target.schema), tap_pg_quote(PQuser(state->session->conn)),
					   target.quoted, tap_pg_quote(PQuser(state->session->conn))) :
			  psprintf("Run at the target: CREATE SCHEMA IF NOT EXISTS %s; GRANT CREATE, USAGE ON SCHEMA %s TO %s;",
					   tap_pg_quote(target.schema), tap_pg_quote(target.schema),
					   tap_pg_quote(PQuser(state->session->conn))),
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

static void
run_checks(CheckState *state, List *tables)
{
	ListCell   *cell;

	state->side = TAP_SIDE_TARGET;
	check_server(state);
	check_tls(state);
	check_rights(state);
	check_privileges(state);
	foreach(cell, tables)
		check_table(state, lfirst(cell));
}

/* A connection that cannot be made is a check that is not passed. */
static TapSession *
open_for_checks(CheckState *state, const TapSessionArgs *args)
{
	MemoryContext context = CurrentMemoryContext;
	TapSession *volatile session = NULL;

	PG_TRY();
	{
		session = tap_pg_open(args);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED || edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
		add_check(state, "connect", false, true,
				  edata->detail ? psprintf("%s: %s", edata->message, edata->detail) : edata->message,
				  edata->hint ? edata->hint : "Check host, port and pg_hba.conf of the server.",
				  edata->sqlerrcode);
	}
	PG_END_TRY();
	return session;
}

List *
tap_pg_test(const TapSessionArgs *args, List *tables)
{
	CheckState	state = {0};

	state.session = open_for_checks(&state, args);
	if (state.session == NULL)
		return state.checks;
	PG_TRY();
	{
		add_check(&state, "connect", true, true,
				  psprintf("connected to %s as %s", PQhost(state.session->conn),
						   PQuser(state.session->conn)), NULL, 0);
		if ((args->sides & TAP_SIDE_TARGET) != 0)
			run_checks(&state, tables);
		if ((args->sides & TAP_SIDE_SOURCE) != 0)
			tap_pg_source_checks(state.session, tables, &state.checks);
	}
	PG_FINALLY();
	{
		tap_pg_close(state.session);
	}
	PG_END_TRY();
	return state.checks;
}
