/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_connect.c
 *	  Connections to a server: login, queries, errors.
 *
 * NOTES
 *	  The client library does all its waiting through a hook (wait_in_library),
 *	  which waits for the socket and the process's latch together.  When the
 *	  process is told to stop the hook makes the library fail, and after the
 *	  library has returned, tap_mysql_check_interrupts() raises the reason; its
 *	  C code is never jumped over.  For TLS the socket is made non-blocking, as
 *	  the library would else wait inside of read().
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <errmsg.h>
#include <mysqld_error.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Numbers of servers newer than the client library's header. */
#define SERVER_ERROR_ACCOUNT_LOCKED		3118
#define SERVER_ERROR_BINLOG_DUMP		1236
#define SERVER_ERROR_EXECUTION_TIME		3024
#define SERVER_ERROR_SAME_SERVER_ID		4052

#define DEFAULT_PORT					3306

const char *tap_mysql_peer = "source";

/* What the waits inside of the library are bounded by; see the notes. */
static long wait_limit_ms = -1;
static TimestampTz wait_deadline = 0;

static int
wait_in_library(my_socket fd, my_bool is_read, int timeout)
{
	long		limit = wait_limit_ms;
	int			events;

	(void) timeout;				/* in seconds or milliseconds, depending on
								 * the caller */
	if (wait_deadline != 0)
	{
		limit = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												wait_deadline);
		if (limit <= 0)
		{
			errno = ETIMEDOUT;
			return 0;
		}
	}
	events = tap_mysql_core->wait_socket_quiet(fd,
											   is_read ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE,
											   limit);
	if (events > 0)
		return 1;
	errno = (events == 0) ? ETIMEDOUT : EINTR;
	return events;
}

long
tap_mysql_wait_limit(long limit_ms)
{
	long		old = wait_limit_ms;

	wait_limit_ms = limit_ms;
	return old;
}

void
tap_mysql_check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

long
tap_mysql_read_timeout_ms(TapSession *session)
{
	return (long) tap_mysql_core->option_int(session->args.options,
											 "read_timeout") * 1000L;
}

/* ---------------------------------------------------------------------
 * Errors
 * ---------------------------------------------------------------------
 */

/* Errors of the library itself. */
static int
client_sqlstate(unsigned int number, const char *message)
{
	switch (number)
	{
		case CR_SSL_CONNECTION_ERROR:
			/* a wrong certificate does not get better by itself */
			if (strstr(message, "certificate") != NULL ||
				strstr(message, "Validation") != NULL ||
				strstr(message, "verification") != NULL ||
				strstr(message, "required") != NULL)
				return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
			return ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
		case CR_AUTH_PLUGIN_CANNOT_LOAD:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case CR_OUT_OF_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case CR_NET_PACKET_TOO_LARGE:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case CR_SERVER_GONE_ERROR:
		case CR_SERVER_LOST:
			return ERRCODE_CONNECTION_FAILURE;
		default:
			return ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	}
}

/* Error 1236 of a dump has many reasons, told apart by its text alone. */
static int
dump_sqlstate(const char *message)
{
	if (strstr(message, "purged") != NULL ||
		strstr(message, "Could not find first log file") != NULL ||
		strstr(message, "not in the master's binlog") != NULL ||
		strstr(message, "impossible position") != NULL ||
		strstr(message, "ahead of") != NULL ||
		strstr(message, "has more GTIDs") != NULL ||
		strstr(message, "diverged") != NULL)
		return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	if (strstr(message, "max_allowed_packet") != NULL)
		return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	return ERRCODE_CONNECTION_FAILURE;
}

int
tap_mysql_sqlstate(unsigned int number, const char *message)
{
	switch (number)
	{
		case SERVER_ERROR_BINLOG_DUMP:
			return dump_sqlstate(message);
		case ER_ACCESS_DENIED_ERROR:
		case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
			return ERRCODE_INVALID_PASSWORD;
		case ER_HOST_IS_BLOCKED:
		case ER_HOST_NOT_PRIVILEGED:
		case ER_MUST_CHANGE_PASSWORD:
		case ER_MUST_CHANGE_PASSWORD_LOGIN:
		case ER_NOT_SUPPORTED_AUTH_MODE:
		case ER_PLUGIN_IS_NOT_LOADED:
		case SERVER_ERROR_ACCOUNT_LOCKED:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case ER_DBACCESS_DENIED_ERROR:
		case ER_TABLEACCESS_DENIED_ERROR:
		case ER_COLUMNACCESS_DENIED_ERROR:
		case ER_SPECIFIC_ACCESS_DENIED_ERROR:
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case ER_LOCK_DEADLOCK:
		case ER_LOCK_WAIT_TIMEOUT:
			return ERRCODE_T_R_DEADLOCK_DETECTED;
		case ER_CON_COUNT_ERROR:
		case ER_TOO_MANY_USER_CONNECTIONS:
		case ER_USER_LIMIT_REACHED:
			return ERRCODE_TOO_MANY_CONNECTIONS;
		case ER_OUT_OF_RESOURCES:
		case ER_OUTOFMEMORY:
		case ER_OUT_OF_SORTMEMORY:
			return ERRCODE_INSUFFICIENT_RESOURCES;
		case ER_DISK_FULL:
			return ERRCODE_DISK_FULL;
		case ER_SERVER_SHUTDOWN:
		case ER_NEW_ABORTING_CONNECTION:
		case ER_QUERY_INTERRUPTED:
		case ER_CONNECTION_KILLED:
		case SERVER_ERROR_EXECUTION_TIME:
		case SERVER_ERROR_SAME_SERVER_ID:
			return ERRCODE_CONNECTION_FAILURE;
		case ER_BAD_DB_ERROR:
			return ERRCODE_UNDEFINED_DATABASE;
		case ER_NO_SUCH_TABLE:
			return ERRCODE_UNDEFINED_TABLE;
		case ER_BAD_FIELD_ERROR:
			return ERRCODE_UNDEFINED_COLUMN;
		default:
			if (number >= CR_MIN_ERROR && number <= CR_MYSQL_LAST_ERROR)
				return client_sqlstate(number, message);
			if (number >= CER_MIN_ERROR && number <= CR_MARIADB_LAST_ERROR)
				return client_sqlstate(number, message);
			return ERRCODE_FDW_ERROR;
	}
}

static const char *
hint_for(unsigned int number, int sqlstate)
{
	if (sqlstate == ERRCODE_UNDEFINED_DATABASE)
		return "Check the name of the database behind the last slash of the URI; it may also be left out.";
	if (sqlstate == ERRCODE_INVALID_PASSWORD)
		return "Check user and password of the connection; tapdata.alter_connection() changes them.";
	if (number == CR_AUTH_PLUGIN_CANNOT_LOAD || number == ER_PLUGIN_IS_NOT_LOADED)
		return "Install the client plugin that the account needs (it belongs to MariaDB Connector/C), or change the account's plugin.";
	if (number == SERVER_ERROR_BINLOG_DUMP &&
		sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		return "The source no longer has the log from the pipeline's position on. Copy the tables again with tapdata.resync(), and keep the log longer (binlog_expire_logs_seconds).";
	if (number == SERVER_ERROR_BINLOG_DUMP || number == SERVER_ERROR_SAME_SERVER_ID)
		return "When another replica has the same server_id, give the connection one of its own by the option \"server_id\".";
	if (sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		return "tapdata.test_connection() lists the privileges that are needed.";
	return NULL;
}

void
tap_mysql_raise_number(unsigned int number, const char *message, const char *doing)
{
	int			sqlstate = tap_mysql_sqlstate(number, message);
	const char *hint = hint_for(number, sqlstate);
	char	   *text = pstrdup(message);

	tap_mysql_check_interrupts();
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("could not %s: %s", doing, text),
			 errdetail("The %s's error number is %u.", tap_mysql_peer, number),
			 hint ? errhint("%s", hint) : 0));
}

void
tap_mysql_raise(MYSQL *mysql, const char *doing)
{
	tap_mysql_raise_number(mysql_errno(mysql), mysql_error(mysql), doing);
}

/* ---------------------------------------------------------------------
 * Connecting
 * ---------------------------------------------------------------------
 */

/*
 * The library's version 3.4 looks at the certificate only when it is to look
 * at the host name too (which it does not on 127.0.0.1); before, an authority
 * was enough.  The version that runs counts, not the one of the headers.
 */
static bool
authority_needs_name(void)
{
	int			major = 0;
	int			minor = 0;

	(void) sscanf(mysql_get_client_info(), "%d.%d", &major, &minor);
	return major > 3 || (major == 3 && minor >= 4);
}

static void
set_tls_options(MYSQL *mysql, const TapOptions *options)
{
	const char *mode = tap_mysql_core->option_text(options, "ssl_mode");
	bool		disable = strcmp(mode, "disable") == 0;
	my_bool		use = !disable;
	my_bool		verify = strcmp(mode, "verify_identity") == 0 ||
	(strcmp(mode, "verify_ca") == 0 && authority_needs_name());

	if (!disable)
		mysql_ssl_set(mysql,
					  tap_mysql_core->option_text(options, "ssl_key"),
					  tap_mysql_core->option_text(options, "ssl_cert"),
					  tap_mysql_core->option_text(options, "ssl_ca"),
					  NULL, NULL);
	mysql_optionsv(mysql, MYSQL_OPT_SSL_ENFORCE, &use);
	mysql_optionsv(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
}

/*
 * Ways to log in that do not show the password to whoever answers.  Others,
 * such as mysql_clear_password and dialog, are for servers whose certificate
 * was verified.
 */
#define SAFE_LOGINS "mysql_native_password,caching_sha2_password," \
	"sha256_password,client_ed25519,parsec"

static void
restrict_logins(MYSQL *mysql, const TapOptions *options, bool use_socket)
{
	const char *mode = tap_mysql_core->option_text(options, "ssl_mode");

	if (!use_socket && strcmp(mode, "verify_ca") != 0 &&
		strcmp(mode, "verify_identity") != 0)
		mysql_optionsv(mysql, MARIADB_OPT_RESTRICTED_AUTH, SAFE_LOGINS);
}

static void
set_options(MYSQL *mysql, const TapSession *session, bool use_socket)
{
	const TapOptions *options = session->args.options;
	bool		sink = session->args.purpose == TAP_PURPOSE_SINK;
	unsigned int connect_timeout =
	(unsigned int) tap_mysql_core->option_int(options, "connect_timeout");
	unsigned long packet = 1024UL * 1024 * 1024;
	unsigned int protocol = use_socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
	unsigned int infile = sink ? 1 : 0;
	my_bool		no_reconnect = 0;

	mysql_optionsv(mysql, MARIADB_OPT_IO_WAIT, wait_in_library);
	mysql_optionsv(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_timeout);
	mysql_optionsv(mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
	mysql_optionsv(mysql, MYSQL_OPT_PROTOCOL, &protocol);
	mysql_optionsv(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	mysql_optionsv(mysql, MYSQL_OPT_RECONNECT, &no_reconnect);
	/* or a server could ask for files of this machine */
	mysql_optionsv(mysql, MYSQL_OPT_LOCAL_INFILE, &infile);
	if (sink)
		tap_mysql_sink_set_load(mysql);
	mysql_optionsv(mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "tapdata");
	set_tls_options(mysql, options);
	restrict_logins(mysql, options, use_socket);
}

/* Let the kernel find out about a peer that vanished without a word. */
static void
set_keepalive(MYSQL *mysql)
{
	int			fd = mysql_get_socket(mysql);
	int			on = 1;
	int			idle = 30;
	int			interval = 10;
	int			count = 3;

	(void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
#endif
}

/* Log in to one host; host is NULL for a unix socket. */
static bool
connect_host(TapSession *session, MYSQL *mysql, const char *host, int port,
			 const char *socket_path)
{
	const TapUri *uri = session->args.uri;
	const TapOptions *options = session->args.options;
	char	   *password = tap_mysql_core->password(uri, options);
	int64		seconds = tap_mysql_core->option_int(options, "connect_timeout");
	unsigned long flags = session->args.purpose == TAP_PURPOSE_SINK ?
	CLIENT_MULTI_STATEMENTS | CLIENT_FOUND_ROWS : 0;
	bool		done;

	wait_deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												seconds * 1000);
	done = mysql_real_connect(mysql, host, uri->user, password, uri->path,
							  port, socket_path, flags) != NULL;
	wait_deadline = 0;
	if (password != NULL)
		explicit_bzero(password, strlen(password));
	tap_mysql_check_interrupts();
	return done;
}

/*
 * Since 3.4 the library takes a password that both sides know for a proof of
 * who the server is, in place of a certificate.  That is not what these modes
 * ask for.
 */
static void
check_certificate(MYSQL *mysql, const char *mode)
{
#if MARIADB_PACKAGE_VERSION_ID >= 30400
	unsigned int status = 0;

	if (strcmp(mode, "verify_ca") != 0 && strcmp(mode, "verify_identity") != 0)
		return;
	if (mariadb_get_infov(mysql, MARIADB_TLS_VERIFY_STATUS, &status) != 0 || status != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("the source's certificate could not be verified"),
				 errdetail("ssl_mode is \"%s\".", mode),
				 errhint("Name the authority that issued it in the option \"ssl_ca\".")));
#endif
}

/* Whether the connection is as safe as the options ask for. */
static void
check_tls(TapSession *session, MYSQL *mysql, bool use_socket)
{
	const char *mode = tap_mysql_core->option_text(session->args.options, "ssl_mode");

	if (mysql_get_ssl_cipher(mysql) != NULL)
	{
		int			fd = mysql_get_socket(mysql);

		/* so that the library waits in our hook and not in the kernel */
		(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		if (!use_socket)
			check_certificate(mysql, mode);
		return;
	}
	if (use_socket || strcmp(mode, "disable") == 0 || strcmp(mode, "prefer") == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("the source does not offer TLS, but ssl_mode is \"%s\"", mode),
			 errhint("Set up certificates at the source, or choose another ssl_mode.")));
}

static void
read_server(TapSession *session, MYSQL *mysql)
{
	TapMysqlServer *server = &session->server;
	MemoryContext old = MemoryContextSwitchTo(session->context);
	const char *version = mysql_get_server_info(mysql);
	int			major = 0;
	int			minor = 0;
	int			patch = 0;

	/* MariaDB hides its version behind "5.5.5-" for the sake of old replicas */
	if (strncmp(version, "5.5.5-", 6) == 0)
		version += 6;
	(void) sscanf(version, "%d.%d.%d", &major, &minor, &patch);
	server->version = major * 10000 + minor * 100 + patch;
	server->version_text = pstrdup(version);
	server->is_mariadb = mariadb_connection(mysql) ||
		strstr(version, "MariaDB") != NULL;
	MemoryContextSwitchTo(old);
	if (server->is_mariadb)
		server->gtid = true;
	else
	{
		TapMysqlRows *rows = tap_mysql_try_query(mysql, "SELECT @@global.gtid_mode");

		server->gtid = rows != NULL && rows->nrows == 1 &&
			tap_mysql_value(rows, 0, 0) != NULL &&
			strcmp(tap_mysql_value(rows, 0, 0), "ON") == 0;
	}
}

/*
 * What every connection of ours needs: UTC, no sql_mode that changes how
 * values or names are read, and patience of the server with a slow hub.
 */
static void
prepare_connection(TapSession *session, MYSQL *mysql)
{
	tap_mysql_execute(mysql, "SET SESSION time_zone = '+00:00', sql_mode = '', "
					  "net_write_timeout = 3600, net_read_timeout = 3600, "
					  "wait_timeout = 86400, autocommit = 1");
	tap_mysql_execute(mysql, "SET NAMES utf8mb4");
	if (session->server.version_text == NULL)
		read_server(session, mysql);
	if (session->server.is_mariadb)
		(void) tap_mysql_try_query(mysql, "SET SESSION max_statement_time = 0");
	else
	{
		(void) tap_mysql_try_query(mysql, "SET SESSION max_execution_time = 0");
		(void) tap_mysql_try_query(mysql, "SET SESSION show_gipk_in_create_table_and_information_schema = ON");
		(void) tap_mysql_try_query(mysql, "SET SESSION information_schema_stats_expiry = 0");
	}
}

/* Log in to one host or socket; NULL when that failed and is not the last. */
static MYSQL *
try_host(TapSession *session, const char *host, int port, const char *path,
		 bool last)
{
	MYSQL	   *mysql = mysql_init(NULL);
	volatile bool done = false;

	if (mysql == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		set_options(mysql, session, path != NULL);
		done = connect_host(session, mysql, host, port, path);
		if (!done && last)
			tap_mysql_raise(mysql, path ?
							psprintf("connect to the %s at \"%s\"", tap_mysql_peer, path) :
							psprintf("connect to the %s at \"%s\", port %d",
									 tap_mysql_peer, host, port));
	}
	PG_CATCH();
	{
		wait_deadline = 0;
		mysql_close(mysql);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (done)
		return mysql;
	mysql_close(mysql);
	return NULL;
}

/* Try the hosts in their order; the last one's error is raised. */
static MYSQL *
connect_any(TapSession *session)
{
	const TapUri *uri = session->args.uri;
	const char *path = tap_mysql_core->option_text(session->args.options, "socket");
	MYSQL	   *mysql;

	if (path != NULL)
		return try_host(session, NULL, 0, path, true);
	for (int i = 0; i < uri->nhosts; i++)
	{
		int			port = uri->hosts[i].port ? uri->hosts[i].port : DEFAULT_PORT;

		mysql = try_host(session, uri->hosts[i].host, port, NULL,
						 i == uri->nhosts - 1);
		if (mysql != NULL)
			return mysql;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the connection names no host")));
}

MYSQL *
tap_mysql_connect(TapSession *session)
{
	MYSQL	   *volatile mysql;

	(void) tap_mysql_wait_limit(tap_mysql_read_timeout_ms(session));
	mysql = connect_any(session);
	PG_TRY();
	{
		check_tls(session, mysql,
				  tap_mysql_core->option_text(session->args.options, "socket") != NULL);
		set_keepalive(mysql);
		prepare_connection(session, mysql);
	}
	PG_CATCH();
	{
		tap_mysql_disconnect(mysql);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return mysql;
}

void
tap_mysql_disconnect(MYSQL *mysql)
{
	if (mysql == NULL)
		return;

	/* the library's farewell may wait; a closed socket tells the server, too */
	(void) tap_mysql_wait_limit(0);
	mysql_close(mysql);
	(void) tap_mysql_wait_limit(-1);
}

MYSQL *
tap_mysql_connection(TapSession *session)
{
	if (session->stream == NULL)
		return session->mysql;
	if (session->second != NULL && mysql_ping(session->second) != 0)
	{
		tap_mysql_disconnect(session->second);
		session->second = NULL;
	}
	if (session->second == NULL)
		session->second = tap_mysql_connect(session);
	return session->second;
}
