/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_test.c
 *	  The checks of a target: what a publish pipeline needs, and how to mend
 *	  what is not so.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "utils/builtins.h"

#define PACKET_BYTES_WANTED		(16 * 1024 * 1024)

typedef struct CheckState
{
	TapSession *session;
	MYSQL	   *mysql;
	List	   *tables;
	List	   *checks;
} CheckState;

static void
add_check(CheckState *state, const char *name, bool ok, bool required, char *detail,
		  char *hint, int sqlstate)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));

	check->name = name;
	check->ok = ok;
	check->required = required;
	check->detail = detail;
	check->hint = ok ? NULL : hint;
	check->sqlstate = ok ? 0 : sqlstate;
	check->side = TAP_SIDE_TARGET;
	state->checks = lappend(state->checks, check);
}

/* A global variable, NULL when the server does not have it. */
static char *
variable(CheckState *state, const char *name)
{
	TapMysqlRows *rows = tap_mysql_try_query(state->mysql,
											 psprintf("SELECT @@global.%s", name));

	return rows == NULL || rows->nrows == 0 ? NULL : tap_mysql_value(rows, 0, 0);
}

static bool
is_on(const char *value)
{
	return value != NULL && (strcmp(value, "1") == 0 || pg_strcasecmp(value, "ON") == 0);
}

static void
check_version(CheckState *state)
{
	const TapMysqlServer *server = &state->session->server;
	int			oldest = server->is_mariadb ? 100500 : 50700;

	add_check(state, "version", server->version >= oldest, true,
			  psprintf("%s %s", server->is_mariadb ? "MariaDB" : "MySQL", server->version_text),
			  "Upgrade the target to MySQL 5.7 or MariaDB 10.5 at least.",
			  ERRCODE_FEATURE_NOT_SUPPORTED);
}

static void
check_writable(CheckState *state)
{
	bool		read_only = is_on(variable(state, "read_only")) ||
	is_on(variable(state, "super_read_only"));

	add_check(state, "read_only", !read_only, true,
			  read_only ? "the target takes no writes" : "the target takes writes",
			  "Connect to the primary, or run at the target: SET GLOBAL read_only = OFF;",
			  ERRCODE_CANNOT_CONNECT_NOW);
}

/* READ COMMITTED cannot be logged as statements. */
static void
check_log(CheckState *state)
{
	char	   *format = variable(state, "binlog_format");
	bool		logging = is_on(variable(state, "log_bin"));

	add_check(state, "binlog_format",
			  !logging || format == NULL || pg_strcasecmp(format, "STATEMENT") != 0, true,
			  psprintf("log_bin = %s, binlog_format = %s", logging ? "ON" : "OFF",
					   format ? format : "ROW"),
			  "Run at the target: SET GLOBAL binlog_format = 'ROW';",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
}

static void
check_load(CheckState *state)
{
	bool		on = is_on(variable(state, "local_infile"));

	add_check(state, "local_infile", on, false,
			  on ? "copies use LOAD DATA LOCAL" : "copies use INSERT",
			  "Works, but a first copy is faster with: SET GLOBAL local_infile = ON;", 0);
}

static void
check_packet(CheckState *state)
{
	char	   *text = variable(state, "max_allowed_packet");
	uint64		bytes = text ? strtou64(text, NULL, 10) : 0;

	add_check(state, "max_allowed_packet", bytes >= PACKET_BYTES_WANTED, false,
			  psprintf("max_allowed_packet = " UINT64_FORMAT, bytes),
			  "A row that is larger is refused. Raise it at the target: SET GLOBAL max_allowed_packet = 1073741824;",
			  0);
}

/* Whether the account may do something to all tables, or to those of a schema. */
static bool
may(CheckState *state, const char *grantee, const char *privilege, const char *schema)
{
	TapMysqlRows *rows;

	rows = tap_mysql_try_query(state->mysql,
							   psprintf("SELECT 1 FROM information_schema.USER_PRIVILEGES "
										"WHERE GRANTEE = %s AND PRIVILEGE_TYPE = '%s' UNION "
										"SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES "
										"WHERE GRANTEE = %s AND PRIVILEGE_TYPE = '%s' "
										"AND %s LIKE TABLE_SCHEMA",
										grantee, privilege, grantee, privilege,
										tap_mysql_quote_literal(schema)));
	return rows != NULL && rows->nrows > 0;
}

/* 'user'@'host' as information_schema writes it, as a literal. */
static char *
grantee_literal(CheckState *state)
{
	char	   *account = tap_mysql_query_value(state->mysql, "SELECT CURRENT_USER()");
	char	   *at = account ? strrchr(account, '@') : NULL;

	if (at == NULL)
		return NULL;
	return tap_mysql_quote_literal(psprintf("'%s'@'%s'", pnstrdup(account, at - account), at + 1));
}

/* All schemas that are written to. */
static List *
target_schemas(CheckState *state)
{
	List	   *schemas = list_make1(tap_mysql_sink_progress_schema(&state->session->args));
	ListCell   *cell;

	foreach(cell, state->tables)
	{
		char	   *schema = tap_mysql_sink_target(&state->session->args, lfirst(cell), false)->schema;
		bool		known = false;
		ListCell   *other;

		foreach(other, schemas)
			known |= strcmp(lfirst(other), schema) == 0;
		if (!known)
			schemas = lappend(schemas, schema);
	}
	return schemas;
}

/* Rights by roles, or on single tables, are not seen: a warning only. */
static void
check_privileges(CheckState *state)
{
	static const char *const privileges[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER"};
	char	   *grantee = grantee_literal(state);
	StringInfoData missing;
	ListCell   *cell;

	if (grantee == NULL)
		return;
	initStringInfo(&missing);
	foreach(cell, target_schemas(state))
	{
		for (int i = 0; i < lengthof(privileges); i++)
			if (!may(state, grantee, privileges[i], lfirst(cell)))
				appendStringInfo(&missing, "%s%s on %s", missing.len ? ", " : "",
								 privileges[i], (char *) lfirst(cell));
	}
	add_check(state, "privileges: write", missing.len == 0, false,
			  missing.len ? psprintf("not granted to the user himself: %s", missing.data) :
			  "may write, create and alter tables",
			  "Unless roles grant it, run at the target: GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON `database`.* TO the connection's user.",
			  0);
}

List *
tap_mysql_sink_test(TapSession *session, List *tables, List *checks)
{
	CheckState	state = {session, session->mysql, tables, checks};

	check_version(&state);
	check_writable(&state);
	check_log(&state);
	check_load(&state);
	check_packet(&state);
	check_privileges(&state);
	return state.checks;
}
