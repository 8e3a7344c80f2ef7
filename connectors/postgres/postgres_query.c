/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_query.c
 *	  Queries that are waited for, and errors of the server.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "storage/latch.h"
#include "utils/builtins.h"

/* How often while_waiting() is called. */
#define LOOK_MS		5000

char *
tap_pg_quote(const char *name)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '"');
	for (const char *c = name; *c != '\0'; c++)
	{
		if (*c == '"')
			appendStringInfoChar(&out, '"');
		appendStringInfoChar(&out, *c);
	}
	appendStringInfoChar(&out, '"');
	return out.data;
}

/* ---------------------------------------------------------------------
 * Errors
 * ---------------------------------------------------------------------
 */

static char *
copy_field(const PGresult *result, int field)
{
	char	   *value = result ? PQresultErrorField(result, field) : NULL;

	return value ? pstrdup(value) : NULL;
}

TapPgError *
tap_pg_error(PGconn *conn, const PGresult *result)
{
	TapPgError *error = palloc0(sizeof(TapPgError));
	char	   *sqlstate = copy_field(result, PG_DIAG_SQLSTATE);

	error->message = copy_field(result, PG_DIAG_MESSAGE_PRIMARY);
	if (error->message == NULL)
		error->message = pchomp(PQerrorMessage(conn));
	if (error->message[0] == '\0')
		error->message = pstrdup("the connection was lost");
	if (sqlstate != NULL && strlen(sqlstate) == 5)
		error->sqlstate = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
										sqlstate[3], sqlstate[4]);
	else
		error->sqlstate = ERRCODE_CONNECTION_FAILURE;
	error->detail = copy_field(result, PG_DIAG_MESSAGE_DETAIL);
	error->hint = copy_field(result, PG_DIAG_MESSAGE_HINT);
	error->schema = copy_field(result, PG_DIAG_SCHEMA_NAME);
	error->table = copy_field(result, PG_DIAG_TABLE_NAME);
	error->column = copy_field(result, PG_DIAG_COLUMN_NAME);
	error->constraint = copy_field(result, PG_DIAG_CONSTRAINT_NAME);
	error->context = copy_field(result, PG_DIAG_CONTEXT);
	return error;
}

bool
tap_pg_is_data_error(const TapPgError *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlstate);

	return category == MAKE_SQLSTATE('2', '2', '0', '0', '0') ||
		category == MAKE_SQLSTATE('2', '3', '0', '0', '0') ||
		category == MAKE_SQLSTATE('5', '4', '0', '0', '0') ||
		error->sqlstate == ERRCODE_RAISE_EXCEPTION ||
		error->sqlstate == ERRCODE_WITH_CHECK_OPTION_VIOLATION;
}

static const char *
hint_for_source(const TapPgError *error)
{
	switch (error->sqlstate)
	{
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return "tapdata.test_connection() lists the privileges that are needed.";
		case ERRCODE_CONFIGURATION_LIMIT_EXCEEDED:
			return "Raise max_replication_slots and max_wal_senders at the source, or drop replication slots that nobody uses.";
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return "Set wal_level = logical at the source, and restart it.";
		default:
			return NULL;
	}
}

static const char *
hint_for(const TapPgError *error)
{
	if (strcmp(tap_pg_peer, "source") == 0)
		return hint_for_source(error);
	switch (error->sqlstate)
	{
		case ERRCODE_UNIQUE_VIOLATION:
			return "Somebody else wrote this row at the target. Remove it, let the hub win (option conflicts = overwrite), or copy the table again with tapdata.resync().";
		case ERRCODE_FOREIGN_KEY_VIOLATION:
			return "Publish the table that is referred to as well, or let the connection's user set session_replication_role, so that foreign keys are left to the hub.";
		case ERRCODE_NOT_NULL_VIOLATION:
		case ERRCODE_CHECK_VIOLATION:
		case ERRCODE_EXCLUSION_VIOLATION:
			return "Drop the constraint at the target, or mend the row in the hub. With on_error = dead_letter such rows are set aside.";
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_DATATYPE_MISMATCH:
			return "The target table was changed. Change it back, or copy the table again with tapdata.resync().";
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return "tapdata.test_connection() lists the privileges that are needed.";
		case ERRCODE_DISK_FULL:
			return "Free space at the target; the pipeline tries again by itself.";
		default:
			return NULL;
	}
}

/* Catalog functions say so of what was dropped while they looked at it. */
static bool
is_dropped_meanwhile(const TapPgError *error)
{
	return error->sqlstate == ERRCODE_INTERNAL_ERROR && error->message != NULL &&
		(strncmp(error->message, "could not open relation with OID", 32) == 0 ||
		 strncmp(error->message, "cache lookup failed", 19) == 0);
}

/* What a state of the whole server means for us. */
static int
sqlstate_for_core(const TapPgError *error)
{
	if (is_dropped_meanwhile(error))
		return ERRCODE_T_R_SERIALIZATION_FAILURE;
	switch (error->sqlstate)
	{
		case ERRCODE_READ_ONLY_SQL_TRANSACTION:
			/* became a standby: another server may be the primary by now */
			return ERRCODE_CANNOT_CONNECT_NOW;
		case ERRCODE_IN_FAILED_SQL_TRANSACTION:
		case ERRCODE_PROTOCOL_VIOLATION:
			return ERRCODE_CONNECTION_FAILURE;
		default:
			return error->sqlstate;
	}
}

void
tap_pg_raise(const TapPgError *error, const char *doing, const char *table,
			 const char *hint)
{
	if (hint == NULL)
		hint = hint_for(error);
	if (hint == NULL)
		hint = error->hint;
	ereport(ERROR,
			(errcode(sqlstate_for_core(error)),
			 table ? errmsg("could not %s for table \"%s\": %s", doing, table, error->message) :
			 errmsg("could not %s: %s", doing, error->message),
			 error->detail ? errdetail("%s", error->detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 error->context ? errcontext("at the %s: %s", tap_pg_peer, error->context) : 0));
}

static void
raise_lost(PGconn *conn, const char *doing)
{
	TapPgError *error = tap_pg_error(conn, NULL);

	error->sqlstate = ERRCODE_CONNECTION_FAILURE;
	tap_pg_raise(error, doing, NULL, NULL);
}

/* ---------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------
 */

/* A target may take its time: it has statements of any size to do. */
static long
wait_limit_ms(const TapSession *session)
{
	if (session->while_waiting != NULL)
		return LOOK_MS;
	if (session->args.purpose == TAP_PURPOSE_SINK)
		return -1;
	return (long) tap_pg_core->option_int(session->args.options, "read_timeout") * 1000L;
}

void
tap_pg_wait_socket(TapSession *session, pgsocket socket, int events, const char *doing)
{
	while (tap_pg_core->wait_socket(socket, events, wait_limit_ms(session)) == 0)
	{
		if (session->while_waiting == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("could not %s: the %s has sent nothing for " INT64_FORMAT " s", doing, tap_pg_peer,
							tap_pg_core->option_int(session->args.options, "read_timeout")),
					 errhint("The option \"read_timeout\" of the connection says how long to wait.")));
		session->while_waiting(session);
	}
}

void
tap_pg_wait(TapSession *session, const char *doing)
{
	PGconn	   *conn = session->conn;
	int			flushed = PQflush(conn);

	if (flushed < 0)
	{
		/* what the server said before it closed may still be to be read */
		if (!PQconsumeInput(conn))
			raise_lost(conn, doing);
		return;
	}
	tap_pg_wait_socket(session, PQsocket(conn),
					   WL_SOCKET_READABLE | (flushed > 0 ? WL_SOCKET_WRITEABLE : 0), doing);
	if (!PQconsumeInput(conn))
		raise_lost(conn, doing);
}

PGresult *
tap_pg_next_result(TapSession *session, const char *doing)
{
	while (PQisBusy(session->conn))
		tap_pg_wait(session, doing);
	return PQgetResult(session->conn);
}

/* ---------------------------------------------------------------------
 * Queries
 * ---------------------------------------------------------------------
 */

static TapPgRows *
copy_rows(const PGresult *result)
{
	TapPgRows  *rows = palloc0(sizeof(TapPgRows));
	int			count;

	rows->nrows = PQntuples(result);
	rows->ncolumns = PQnfields(result);
	rows->affected = strtoll(PQcmdTuples((PGresult *) result), NULL, 10);
	count = rows->nrows * rows->ncolumns;
	rows->values = palloc0(sizeof(char *) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		int			row = i / rows->ncolumns;
		int			column = i % rows->ncolumns;

		if (!PQgetisnull(result, row, column))
			rows->values[i] = pstrdup(PQgetvalue(result, row, column));
	}
	return rows;
}

/* Keep what a result has, and free it. */
static void
keep_result(TapSession *session, PGresult *result, TapPgRows **rows, TapPgError **error)
{
	ExecStatusType status = PQresultStatus(result);

	PG_TRY();
	{
		if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
			status == PGRES_EMPTY_QUERY)
			*rows = copy_rows(result);
		else if (*error == NULL)
			*error = tap_pg_error(session->conn, result);
	}
	PG_FINALLY();
	{
		PQclear(result);
	}
	PG_END_TRY();
}

static TapPgRows *
run_query(TapSession *session, TapPgError **error, const char *doing, const char *sql)
{
	TapPgRows  *rows = NULL;
	PGresult   *result;

	*error = NULL;
	if (!PQsendQuery(session->conn, sql))
		raise_lost(session->conn, doing);
	while ((result = tap_pg_next_result(session, doing)) != NULL)
	{
		ExecStatusType status = PQresultStatus(result);

		keep_result(session, result, &rows, error);

		/* a copy that nobody asked for would have no end */
		if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
			raise_lost(session->conn, doing);
	}
	if (rows == NULL && *error == NULL)
		raise_lost(session->conn, doing);
	return *error ? NULL : rows;
}

static char *format_sql(const char *format, va_list args) pg_attribute_printf(1, 0);

static char *
format_sql(const char *format, va_list args)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		again;
		int			needed;

		va_copy(again, args);
		needed = appendStringInfoVA(&sql, format, again);
		va_end(again);
		if (needed == 0)
			return sql.data;
		enlargeStringInfo(&sql, needed);
	}
}

TapPgRows *
tap_pg_query(TapSession *session, const char *doing, const char *sql,...)
{
	TapPgError *error;
	TapPgRows  *rows;
	va_list		args;

	va_start(args, sql);
	rows = run_query(session, &error, doing, format_sql(sql, args));
	va_end(args);
	if (error != NULL)
		tap_pg_raise(error, doing, NULL, NULL);
	return rows;
}

TapPgRows *
tap_pg_try_query(TapSession *session, TapPgError **error, const char *sql,...)
{
	TapPgRows  *rows;
	va_list		args;

	va_start(args, sql);
	rows = run_query(session, error, psprintf("query the %s", tap_pg_peer), format_sql(sql, args));
	va_end(args);
	return rows;
}
