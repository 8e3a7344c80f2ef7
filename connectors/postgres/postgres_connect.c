/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_connect.c
 *	  Connecting, and what each connection is set to.
 *
 * NOTES
 *	  libpq is kept from everything that belongs to the server's own account:
 *	  no password file, no certificate of its home folder, no Kerberos ticket;
 *	  and who is not superuser of the hub must be let in by a password or a
 *	  certificate, not by who the server is to the target ("peer", "trust").
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define DEFAULT_PORT	5432
#define MAX_PARAMETERS	40

/* A file that cannot be there: libpq then looks for none. */
#define NO_FILE			"/dev/null/none"

typedef struct Parameters
{
	const char *keywords[MAX_PARAMETERS + 1];
	const char *values[MAX_PARAMETERS + 1];
	int			count;
} Parameters;

static void
add(Parameters *parameters, const char *keyword, const char *value)
{
	Assert(parameters->count < MAX_PARAMETERS);
	parameters->keywords[parameters->count] = keyword;
	parameters->values[parameters->count] = value ? value : "";
	parameters->count++;
}

static void
add_tls(Parameters *parameters, const TapOptions *options)
{
	const char *cert = tap_pg_core->option_text(options, "sslcert");
	const char *key = tap_pg_core->option_text(options, "sslkey");
	const char *root = tap_pg_core->option_text(options, "sslrootcert");
	const char *crl = tap_pg_core->option_text(options, "sslcrl");

	add(parameters, "sslmode", tap_pg_core->option_text(options, "sslmode"));
	add(parameters, "sslcert", cert ? cert : NO_FILE);
	add(parameters, "sslkey", key ? key : NO_FILE);
	add(parameters, "sslrootcert", root ? root : NO_FILE);
	add(parameters, "sslcrl", crl ? crl : NO_FILE);
	add(parameters, "gssencmode", "disable");
}

static void
add_login(Parameters *parameters, TapSession *session, const char *password)
{
	const TapUri *uri = session->args.uri;

	add(parameters, "user", uri->user);
	add(parameters, "password", password);
	add(parameters, "passfile", NO_FILE);
	add(parameters, "dbname", uri->path);
	add(parameters, "application_name",
		session->args.pipeline_name ?
		psprintf("tapdata %s", session->args.pipeline_name) : "tapdata");
	add(parameters, "client_encoding", GetDatabaseEncodingName());
	if (session->replication)
		add(parameters, "replication", "database");
	add(parameters, "target_session_attrs",
		session->replication && session->version < 140000 ? "any" :
		tap_pg_core->option_text(session->args.options, "target_session_attrs"));
	add(parameters, "keepalives_idle", "30");
	add(parameters, "keepalives_interval", "10");
	add(parameters, "keepalives_count", "3");
	add(parameters, "tcp_user_timeout", "60000");
	add(parameters, "options", "");
}

/* Drive the login until it is done, failed, or takes too long. */
static bool
poll_login(PGconn *conn, int64 seconds)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds * 1000);
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (PQstatus(conn) == CONNECTION_BAD)
		return false;
	while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (left <= 0 ||
			tap_pg_core->wait_socket(PQsocket(conn),
									 status == PGRES_POLLING_READING ?
									 WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE, left) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
					 errmsg("connecting to the %s took longer than " INT64_FORMAT " s", tap_pg_peer, seconds),
					 errhint("Check host and port, or raise the connection's option \"connect_timeout\".")));
		status = PQconnectPoll(conn);
	}
	return status == PGRES_POLLING_OK;
}

/*
 * libpq tells the SQLSTATE of a login that failed only in its text, and there
 * only if it is told to be verbose: "FATAL:  28P01: ...".  The first that
 * begins so; NULL: there is none.  What else the text says is in the server's
 * language.
 */
static char *
find_sqlstate(char *message, const char *begin)
{
	for (char *p = strstr(message, ":  "); p != NULL; p = strstr(p + 1, ":  "))
	{
		if (strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && p[8] == ':' &&
			strncmp(p + 3, begin, strlen(begin)) == 0)
			return p + 3;
	}
	return NULL;
}

/* Whether a line tells where in the server's sources the error was: "...: auth_failed, auth.c:326". */
static bool
is_location(const char *line)
{
	const char *colon = strrchr(line, ':');

	return colon != NULL && colon - line > 2 && strncmp(colon - 2, ".c", 2) == 0 &&
		colon[1] != '\0' && strspn(colon + 1, "0123456789") == strlen(colon + 1);
}

/* The text as it is when libpq is not verbose. */
static char *
terse_message(const char *message)
{
	StringInfoData out;
	char	   *rest = pstrdup(message);
	char	   *line;

	initStringInfo(&out);
	while ((line = strsep(&rest, "\n")) != NULL)
	{
		char	   *sqlstate = find_sqlstate(line, "");

		if (is_location(line))
			continue;
		if (out.len > 0)
			appendStringInfoChar(&out, '\n');
		if (sqlstate != NULL)
			appendBinaryStringInfo(&out, line, sqlstate - line);
		appendStringInfoString(&out, sqlstate ? sqlstate + strlen("28P01: ") : line);
	}
	return out.data;
}

/*
 * Whether TLS is not to be had as the options ask for it, and not merely cut
 * off while it was begun.
 */
static bool
is_tls_refused(const char *message)
{
	if (strstr(message, "SSL error: ") && strstr(message, "eof") == NULL)
		return true;
	return strstr(message, "certificate") || strstr(message, "private key") ||
		strstr(message, "SSL was required");
}

/*
 * What passes by itself goes before what does not: several addresses may have
 * been tried.  Poolers have SQLSTATEs of their own, but the server's words.
 */
static void
raise_login_error(PGconn *conn, const char *where)
{
	char	   *message = pchomp(PQerrorMessage(conn));
	int			code = ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	const char *hint = NULL;

	if (find_sqlstate(message, "53") || find_sqlstate(message, "57P03"))
		code = ERRCODE_CANNOT_CONNECT_NOW;
	else if (find_sqlstate(message, "3D000") ||
			 (strstr(message, "database \"") && strstr(message, "does not exist")))
	{
		code = ERRCODE_UNDEFINED_DATABASE;
		hint = psprintf("Check the name of the database behind the last slash of the URI, or create it at the %s.", tap_pg_peer);
	}
	else if (find_sqlstate(message, "28") || strstr(message, "authentication failed") ||
			 strstr(message, "no password supplied"))
	{
		code = ERRCODE_INVALID_PASSWORD;
		hint = psprintf("Check user and password of the connection (tapdata.alter_connection() changes them) and the %s's pg_hba.conf.", tap_pg_peer);
	}
	else if (find_sqlstate(message, "42501"))
	{
		code = ERRCODE_INSUFFICIENT_PRIVILEGE;
		hint = psprintf("Give the user of the connection that right at the %s; tapdata.test_connection() lists those that are needed.", tap_pg_peer);
	}
	else if (is_tls_refused(message))
	{
		code = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		hint = psprintf("Check the options sslmode and sslrootcert of the connection, and the %s's setting \"ssl\".", tap_pg_peer);
	}
	else if (strstr(message, "read-only") || strstr(message, "hot standby"))
	{
		code = ERRCODE_CANNOT_CONNECT_NOW;
		hint = "The option \"target_session_attrs\" of the connection says which servers will do: \"primary\" takes one whose settings make sessions read-only, \"any\" a standby, too.";
	}
	ereport(ERROR,
			(errcode(code),
			 errmsg("could not connect to the %s at %s", tap_pg_peer, where),
			 errdetail("%s", terse_message(message)),
			 hint ? errhint("%s", hint) : 0));
}

/* Who asked for the connection is let in by what they know. */
static void
check_login(TapSession *session)
{
	const TapOptions *options = session->args.options;
	bool		given = tap_pg_core->password(session->args.uri, options) != NULL;
	bool		in_transaction = IsTransactionState();
	MemoryContext context = CurrentMemoryContext;
	bool		is_superuser;

	if (!in_transaction)
		StartTransactionCommand();
	is_superuser = superuser();
	if (!in_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	/* libpq may have found another password in the server's environment */
	if (is_superuser || (given && PQconnectionUsedPassword(session->conn)) ||
		tap_pg_core->option_text(options, "sslcert") != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
			 errmsg("password is required"),
			 errdetail("Only a superuser of the hub may use a connection whose %s asks for no password.", tap_pg_peer),
			 errhint("Give the connection a password, and have the %s's pg_hba.conf ask for it.", tap_pg_peer)));
}

static void
append_settings(StringInfo sql, const char *const *settings, int count)
{
	for (int i = 0; i < count; i++)
		appendStringInfo(sql, "SET SESSION %s; ", settings[i]);
}

/*
 * Not what the other side's database or role prefer, but what we were written
 * for.  The plans of a sink's statements are the same whatever the target's
 * statistics say: each row is found by the key's index.  A source does not
 * leave out rows by row-level security without a word.
 */
static void
prepare_connection(TapSession *session)
{
	static const char *const pinned[] = {
		"statement_timeout = 0", "lock_timeout = 0",
		"idle_in_transaction_session_timeout = 0",
		"search_path = ''", "DateStyle = 'ISO, YMD'", "IntervalStyle = 'postgres'",
		"extra_float_digits = 3", "bytea_output = 'hex'", "TimeZone = 'UTC'",
		"default_transaction_isolation = 'read committed'",
		"default_transaction_read_only = off",
		"xmloption = 'content'",
		"tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3"
	};
	static const char *const as_sink[] = {
		"row_security = on", "plan_cache_mode = 'force_generic_plan'", "jit = off",
		"enable_hashjoin = off", "enable_mergejoin = off", "enable_seqscan = off",
		"enable_material = off", "enable_bitmapscan = off"
	};
	static const char *const as_source[] = {
		"row_security = off", "wal_sender_timeout = '5min'"
	};
	StringInfoData sql;
	TapPgError *error;

	initStringInfo(&sql);
	append_settings(&sql, pinned, lengthof(pinned));
	if (session->args.purpose == TAP_PURPOSE_SINK)
		append_settings(&sql, as_sink, lengthof(as_sink));
	else
		append_settings(&sql, as_source, lengthof(as_source));
	if (PQserverVersion(session->conn) >= 140000)
		appendStringInfoString(&sql, "SET SESSION idle_session_timeout = 0; ");
	if (PQserverVersion(session->conn) >= 170000)
		appendStringInfoString(&sql, "SET SESSION transaction_timeout = 0; ");
	if (session->args.purpose == TAP_PURPOSE_SINK)
		appendStringInfo(&sql, "SET SESSION synchronous_commit = '%s'; ",
						 tap_pg_option(session, "synchronous_commit", "on"));
	(void) tap_pg_query(session, psprintf("set up the session at the %s", tap_pg_peer), "%s", sql.data);
	pfree(sql.data);

	/*
	 * Else a session that we give up while it waits, for a lock or for a slot
	 * to be made, would go on without us.  Not every platform can see that.
	 */
	if (session->args.purpose != TAP_PURPOSE_SINK && PQserverVersion(session->conn) >= 140000)
		(void) tap_pg_try_query(session, &error, "SET client_connection_check_interval = '1s'");
}

/* Log in to one host; false when that failed and is not the last. */
static bool
try_host(TapSession *session, const char *host, int port, bool last)
{
	const TapOptions *options = session->args.options;
	char	   *password = tap_pg_core->password(session->args.uri, options);
	char		port_text[16];
	Parameters	parameters = {.count = 0};
	bool		done;

	snprintf(port_text, sizeof(port_text), "%d", port ? port : DEFAULT_PORT);
	add(&parameters, "host", host);
	add(&parameters, "hostaddr", "");
	add(&parameters, "port", port_text);
	add_login(&parameters, session, password);
	add_tls(&parameters, options);
	session->conn = PQconnectStartParams(parameters.keywords, parameters.values, false);
	if (password != NULL)
		explicit_bzero(password, strlen(password));
	if (session->conn == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));

	(void) PQsetErrorVerbosity(session->conn, PQERRORS_VERBOSE);
	done = poll_login(session->conn, tap_pg_core->option_int(options, "connect_timeout"));
	if (!done && last)
		raise_login_error(session->conn, psprintf("\"%s\", port %s", host, port_text));
	(void) PQsetErrorVerbosity(session->conn, PQERRORS_DEFAULT);
	if (!done)
		tap_pg_close(session);
	return done;
}

static bool
try_host_quietly(TapSession *session, const char *host, int port)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		done = try_host(session, host, port, false);
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		tap_pg_close(session);
		if (code != ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return done;
}

static void
connect_any(TapSession *session)
{
	const TapUri *uri = session->args.uri;
	const char *folder = tap_pg_core->option_text(session->args.options, "socket");

	if (folder != NULL)
		(void) try_host(session, folder, uri->nhosts > 0 ? uri->hosts[0].port : 0, true);
	else
	{
		for (int i = 0; i < uri->nhosts - 1; i++)
		{
			if (try_host_quietly(session, uri->hosts[i].host, uri->hosts[i].port))
				return;
		}
		(void) try_host(session, uri->hosts[uri->nhosts - 1].host,
						uri->hosts[uri->nhosts - 1].port, true);
	}
}

/* libpq's notices would go to the server's stderr. */
static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

PGconn *
tap_pg_connect(TapSession *session)
{
	PG_TRY();
	{
		connect_any(session);
		check_login(session);
		PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
		if (PQsetnonblocking(session->conn, 1) != 0)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		prepare_connection(session);
	}
	PG_CATCH();
	{
		tap_pg_close(session);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return session->conn;
}
