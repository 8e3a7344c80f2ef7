/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_test.c
 *	  The checks of test_connection(): what a pipeline needs, and how to mend
 *	  what is not so.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* Logs should be kept at least so long. */
#define RETENTION_SECONDS_WANTED	86400

/* A snapshot copies at least so many bytes a second, for the estimate. */
#define COPY_BYTES_PER_SECOND		(5 * 1024 * 1024)

typedef struct CheckState
{
	TapSession *session;
	MYSQL	   *mysql;
	List	   *tables;
	int			side;			/* that the checks are of; 0: both */
	List	   *checks;
} CheckState;

static TapCheck *
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
	return check;
}

/* A global variable, NULL when the server does not have it. */
static char *
variable(CheckState *state, const char *name)
{
	TapMysqlRows *rows = tap_mysql_try_query(state->mysql,
											 psprintf("SELECT @@global.%s", name));

	if (rows == NULL || rows->nrows == 0)
		return NULL;
	return tap_mysql_value(rows, 0, 0);
}

static bool
is_one_of(const char *value, const char *a, const char *b)
{
	return value != NULL && (pg_strcasecmp(value, a) == 0 ||
							 (b != NULL && pg_strcasecmp(value, b) == 0));
}

/* ---------------------------------------------------------------------
 * Server and log
 * ---------------------------------------------------------------------
 */

static void
check_version(CheckState *state)
{
	const TapMysqlServer *server = &state->session->server;
	int			oldest = server->is_mariadb ? 100500 : 50700;

	add_check(state, "version", server->version >= oldest, true,
			  psprintf("%s %s", server->is_mariadb ? "MariaDB" : "MySQL",
					   server->version_text),
			  "Upgrade the source to MySQL 5.7 or MariaDB 10.5 at least.",
			  ERRCODE_FEATURE_NOT_SUPPORTED);
}

static void
check_log(CheckState *state)
{
	char	   *log_bin = variable(state, "log_bin");
	char	   *format = variable(state, "binlog_format");
	char	   *image = variable(state, "binlog_row_image");
	char	   *metadata = variable(state, "binlog_row_metadata");
	bool		logging = is_one_of(log_bin, "1", "ON");

	add_check(state, "log_bin", logging, true,
			  psprintf("log_bin = %s", logging ? "ON" : "OFF"),
			  "Set log_bin and a server_id in the source's configuration file and restart it.",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	/* newer servers than those that have the variable know ROW alone */
	add_check(state, "binlog_format", format == NULL || is_one_of(format, "ROW", NULL), true,
			  psprintf("binlog_format = %s", format ? format : "ROW"),
			  "Run at the source: SET GLOBAL binlog_format = 'ROW'; and set it in its configuration file. Sessions that are open keep the old format.",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	add_check(state, "binlog_row_image", true, false,
			  psprintf("binlog_row_image = %s", image ? image : "FULL"), NULL, 0);
	add_check(state, "binlog_row_metadata", is_one_of(metadata, "FULL", NULL), false,
			  psprintf("binlog_row_metadata = %s", metadata ? metadata : "not known to this server"),
			  metadata ?
			  "Works, but changes of tables are followed more safely with: SET GLOBAL binlog_row_metadata = 'FULL';" :
			  "Works, but changes of tables are followed more safely by a newer server with binlog_row_metadata = FULL.", 0);
}

static void
check_gtid(CheckState *state)
{
	char	   *mode;

	if (state->session->server.is_mariadb)
	{
		add_check(state, "gtid_mode", true, true,
				  "MariaDB's GTIDs are always on", NULL, 0);
		return;
	}
	mode = variable(state, "gtid_mode");
	if (is_one_of(mode, "ON_PERMISSIVE", "OFF_PERMISSIVE"))
		add_check(state, "gtid_mode", false, true, psprintf("gtid_mode = %s", mode),
				  "Some transactions have a GTID and some have none, so that neither kind of position covers them all. Finish the change to gtid_mode ON (or OFF).",
				  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	else
		add_check(state, "gtid_mode", is_one_of(mode, "ON", NULL), false,
				  psprintf("gtid_mode = %s", mode ? mode : "OFF"),
				  "Works by file and offset, but the pipeline cannot follow a failover to a replica. Set gtid_mode = ON and enforce_gtid_consistency = ON.", 0);
}

/* A replica logs what it replays only when it is told to. */
static void
check_replica(CheckState *state)
{
	bool		is_mariadb = state->session->server.is_mariadb;
	bool		new_name = !is_mariadb && state->session->server.version >= 80022;
	TapMysqlRows *rows = tap_mysql_try_query(state->mysql,
											 new_name ? "SHOW REPLICA STATUS" : "SHOW SLAVE STATUS");
	char	   *logs;

	if (rows == NULL || rows->nrows == 0)
		return;
	logs = variable(state, "log_replica_updates");
	if (logs == NULL)
		logs = variable(state, "log_slave_updates");
	add_check(state, "log_replica_updates", is_one_of(logs, "1", "ON"), true,
			  "the source is itself a replica",
			  "Set log_replica_updates = ON (log_slave_updates on MariaDB) in its configuration file and restart it, or what it replays is not in its log.",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
}

/* ---------------------------------------------------------------------
 * Rights
 * ---------------------------------------------------------------------
 */

/* Whether the grants, one text a row, give a privilege on everything. */
static bool
has_global(TapMysqlRows *grants, const char *privilege)
{
	for (int i = 0; i < grants->nrows; i++)
	{
		const char *grant = tap_mysql_value(grants, i, 0);
		const char *on = strstr(grant, " ON *.*");

		if (on == NULL)
			continue;
		for (const char *p = strstr(grant, privilege); p != NULL && p < on;
			 p = strstr(p + 1, privilege))
		{
			char		after = p[strlen(privilege)];

			if (after == ',' || after == ' ')
				return true;
		}
		if (strstr(grant, "GRANT ALL PRIVILEGES ON *.*") != NULL)
			return true;
	}
	return false;
}

static void
check_grants(CheckState *state)
{
	bool		is_mariadb = state->session->server.is_mariadb;
	char	   *account = tap_mysql_query_value(state->mysql, "SELECT CURRENT_USER()");
	char	   *at = account ? strrchr(account, '@') : NULL;
	char	   *grantee = account;
	TapMysqlRows *grants = tap_mysql_try_query(state->mysql, "SHOW GRANTS");
	bool		stream;
	bool		status;

	if (grants == NULL)
		return;
	if (at != NULL)
		grantee = psprintf("'%s'@'%s'", pnstrdup(account, at - account), at + 1);
	stream = has_global(grants, "REPLICATION SLAVE");
	status = has_global(grants, "REPLICATION CLIENT") || has_global(grants, "SUPER") ||
		(is_mariadb && has_global(grants, "BINLOG MONITOR"));
	add_check(state, "privileges: replication", stream && status, true,
			  psprintf("%s, %s",
					   stream ? "may read the log" : "may not read the log",
					   status ? "may ask for its position" : "may not ask for its position"),
			  psprintf("Run at the source: GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO %s;",
					   grantee),
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

/* Whether the tables can be read, by reading nothing of them. */
static void
check_select(CheckState *state)
{
	ListCell   *cell;
	StringInfoData refused;

	if (state->tables == NIL)
		return;
	initStringInfo(&refused);
	foreach(cell, state->tables)
	{
		TapTableName *name = lfirst(cell);

		if (tap_mysql_try_query(state->mysql,
								psprintf("SELECT * FROM %s LIMIT 0",
										 tap_mysql_quote_table(name))) == NULL)
			appendStringInfo(&refused, "%s%s", refused.len ? ", " : "",
							 tap_mysql_table_text(name));
	}
	add_check(state, "privileges: tables", refused.len == 0, true,
			  refused.len ? psprintf("cannot read %s: %s", refused.data,
									 mysql_error(state->mysql)) :
			  psprintf("can read %d tables", list_length(state->tables)),
			  "Run at the source: GRANT SELECT ON ... TO the connection's user.",
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

/* ---------------------------------------------------------------------
 * Retention, ids, time
 * ---------------------------------------------------------------------
 */

static double
table_bytes(CheckState *state)
{
	double		bytes = 0;
	List	   *tables;
	ListCell   *cell;

	if (state->tables == NIL)
		return 0;
	tables = tap_mysql_read_tables(state->session, state->tables);
	foreach(cell, tables)
		bytes += Max(0, ((TapMysqlTable *) lfirst(cell))->estimated_bytes);
	return bytes;
}

static void
check_retention(CheckState *state)
{
	char	   *seconds_text = variable(state, "binlog_expire_logs_seconds");
	char	   *days_text = variable(state, "expire_logs_days");
	double		seconds = seconds_text ? strtod(seconds_text, NULL) : 0;
	double		wanted;

	if (seconds == 0 && days_text != NULL)
		seconds = strtod(days_text, NULL) * 86400;
	wanted = Max(RETENTION_SECONDS_WANTED,
				 2 * table_bytes(state) / COPY_BYTES_PER_SECOND);
	if (seconds == 0)
	{
		add_check(state, "retention", true, false,
				  "the log is kept until it is purged by hand", NULL, 0);
		return;
	}
	add_check(state, "retention", seconds >= wanted, false,
			  psprintf("the log is kept for %.1f hours", seconds / 3600),
			  psprintf("Run at the source: SET GLOBAL binlog_expire_logs_seconds = %.0f; or a longer stop of the pipeline, or its first copy, may outlast the log.",
					   wanted), 0);
}

static void
check_server_id(CheckState *state)
{
	const TapOptions *options = state->session->args.options;
	char	   *own = variable(state, "server_id");
	int64		given;
	TapMysqlRows *rows;

	add_check(state, "server_id", own != NULL && strcmp(own, "0") != 0, true,
			  psprintf("server_id = %s", own ? own : "0"),
			  "Set a server_id other than 0 in the source's configuration file and restart it.",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	if (!tap_mysql_core->option_given(options, "server_id"))
		return;
	given = tap_mysql_core->option_int(options, "server_id");
	rows = tap_mysql_try_query(state->mysql,
							   !state->session->server.is_mariadb &&
							   state->session->server.version >= 80022 ?
							   "SHOW REPLICAS" : "SHOW SLAVE HOSTS");
	for (int i = 0; rows != NULL && i < rows->nrows; i++)
		if (strtoll(tap_mysql_value(rows, i, 0), NULL, 10) == given)
			add_check(state, "server_id: free", false, false,
					  psprintf("another replica has the id " INT64_FORMAT, given),
					  "Give the connection another server_id, or take the option away.", 0);
	if (own != NULL && strtoll(own, NULL, 10) == given)
		add_check(state, "server_id: free", false, true,
				  "the option \"server_id\" is the source's own id",
				  "Give the connection another server_id, or take the option away.",
				  ERRCODE_INVALID_PARAMETER_VALUE);
}

static void
check_time_zone(CheckState *state)
{
	char	   *offset = tap_mysql_query_value(state->mysql,
											   "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', FROM_UNIXTIME(86400))");
	bool		ok = offset != NULL && strcmp(offset, "86400") == 0;

	add_check(state, "time_zone", ok, true,
			  ok ? "sessions can be set to UTC, timestamps arrive unshifted" :
			  "the session's time zone could not be set to UTC",
			  "The source must accept SET time_zone = '+00:00'.",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
}

/* Engines without transactions are followed, but not as transactions. */
static void
check_engines(CheckState *state)
{
	StringInfoData names;
	ListCell   *cell;

	if (state->tables == NIL)
		return;
	initStringInfo(&names);
	foreach(cell, tap_mysql_read_tables(state->session, state->tables))
	{
		TapMysqlTable *table = lfirst(cell);

		if (table->engine != NULL && (strcmp(table->engine, "MyISAM") == 0 ||
									  strcmp(table->engine, "MEMORY") == 0 ||
									  strcmp(table->engine, "Aria") == 0))
			appendStringInfo(&names, "%s%s", names.len ? ", " : "",
							 tap_mysql_table_text(&table->name));
	}
	if (names.len > 0)
		add_check(state, "engines", false, false,
				  psprintf("without transactions: %s", names.data),
				  "Reading such a table keeps its writers waiting, and its changes have no transactions. Convert it: ALTER TABLE ... ENGINE = InnoDB;", 0);
}

/*
 * Rows that the engine changes because of a foreign key are in the log since
 * MySQL 9.6 only, where foreign keys are the server's own.
 */
static void
check_cascades(CheckState *state)
{
	TapMysqlRows *rows;
	StringInfoData names;
	char	   *native = variable(state, "innodb_native_foreign_keys");

	if (state->tables == NIL || is_one_of(native, "0", "OFF"))
		return;
	rows = tap_mysql_try_query(state->mysql,
							   "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME "
							   "FROM information_schema.REFERENTIAL_CONSTRAINTS "
							   "WHERE DELETE_RULE IN ('CASCADE', 'SET NULL') "
							   "OR UPDATE_RULE IN ('CASCADE', 'SET NULL')");
	initStringInfo(&names);
	for (int i = 0; rows != NULL && i < rows->nrows; i++)
	{
		ListCell   *cell;

		foreach(cell, state->tables)
		{
			TapTableName *name = lfirst(cell);

			if (strcmp(name->schema, tap_mysql_value(rows, i, 0)) == 0 &&
				strcmp(name->name, tap_mysql_value(rows, i, 1)) == 0)
				appendStringInfo(&names, "%s%s (%s)", names.len ? ", " : "",
								 tap_mysql_table_text(name),
								 tap_mysql_value(rows, i, 2));
		}
	}
	if (names.len > 0)
		add_check(state, "foreign keys", false, false,
				  psprintf("foreign keys change rows by cascade: %s", names.data),
				  "InnoDB does not log rows that it deletes or updates by a cascade: they stay in the hub as they were. Let the application change them, or give the hub tables the same foreign keys.", 0);
}

static void
run_checks(CheckState *state)
{
	check_version(state);
	check_log(state);
	check_gtid(state);
	check_replica(state);
	check_grants(state);
	check_select(state);
	check_retention(state);
	check_server_id(state);
	check_time_zone(state);
	check_engines(state);
	check_cascades(state);
}

/* ---------------------------------------------------------------------
 * Reaching the server
 * ---------------------------------------------------------------------
 */

/* A failure to connect as checks, the error's parts as detail and hint. */
static void
add_failure(CheckState *state, ErrorData *edata)
{
	bool		login = edata->sqlerrcode == ERRCODE_INVALID_PASSWORD ||
	edata->sqlerrcode == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION ||
	edata->sqlerrcode == ERRCODE_UNDEFINED_DATABASE ||
	edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE;

	if (login)
		add_check(state, "reachable", true, true, "the server answers", NULL, 0);
	add_check(state, login ? "login" : "reachable", false, true,
			  pstrdup(edata->message),
			  edata->hint ? pstrdup(edata->hint) :
			  "Check host, port, firewall and the server's bind_address.",
			  edata->sqlerrcode);
}

static bool
try_open(CheckState *state, const TapSessionArgs *args)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		state->session = tap_mysql_open(args);
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		/* being cancelled, or out of memory, is no answer of the source */
		if (category == ERRCODE_OPERATOR_INTERVENTION ||
			geterrcode() == ERRCODE_OUT_OF_MEMORY)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (edata == NULL)
		return true;
	add_failure(state, edata);
	return false;
}

List *
tap_mysql_test(const TapSessionArgs *args, List *tables)
{
	CheckState	state = {0};

	state.tables = tables;
	if (!try_open(&state, args))
		return state.checks;
	PG_TRY();
	{
		state.mysql = tap_mysql_connection(state.session);
		add_check(&state, "reachable", true, true, "the server answers", NULL, 0);
		add_check(&state, "login", true, true,
				  psprintf("as %s%s%s",
						   tap_mysql_query_value(state.mysql, "SELECT CURRENT_USER()"),
						   mysql_get_ssl_cipher(state.mysql) ? ", TLS " : ", without TLS",
						   mysql_get_ssl_cipher(state.mysql) ?
						   mysql_get_ssl_cipher(state.mysql) : ""),
				  NULL, 0);
		state.side = TAP_SIDE_SOURCE;
		if ((args->sides & TAP_SIDE_SOURCE) != 0)
			run_checks(&state);
		if ((args->sides & TAP_SIDE_TARGET) != 0)
			state.checks = tap_mysql_sink_test(state.session, tables, state.checks);
	}
	PG_FINALLY();
	{
		tap_mysql_close(state.session);
	}
	PG_END_TRY();
	return state.checks;
}
