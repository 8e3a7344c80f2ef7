/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_query.c
 *	  Queries and their answers; names and texts on their way to and from the
 *	  source.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include <sys/socket.h>

#include <errmsg.h>

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* ---------------------------------------------------------------------
 * Text
 * ---------------------------------------------------------------------
 */

static bool
is_ascii(const char *text, Size length)
{
	for (Size i = 0; i < length; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	return true;
}

/*
 * Convert between UTF-8 and the database's encoding.  Where they differ the
 * conversion is found in the catalogs, for which a callback that is entered
 * without a transaction needs one of its own.
 */
static char *
convert(const char *text, Size length, bool to_utf8)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = GetDatabaseEncoding() != PG_UTF8 &&
	!is_ascii(text, length) && !IsTransactionState();
	char	   *converted;

	if (GetDatabaseEncoding() != PG_UTF8 && is_ascii(text, length))
		return pnstrdup(text, length);
	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	converted = to_utf8 ? pg_server_to_any(text, (int) length, PG_UTF8) :
		pg_any_to_server(text, (int) length, PG_UTF8);
	if (converted == text)
		converted = pnstrdup(text, length);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return converted;
}

char *
tap_mysql_from_utf8(const char *text, Size length)
{
	return convert(text, length, false);
}

char *
tap_mysql_to_utf8(const char *text)
{
	return convert(text, strlen(text), true);
}

char *
tap_mysql_quote_identifier(const char *name)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoChar(&buffer, '`');
	for (const char *p = name; *p; p++)
	{
		if (*p == '`')
			appendStringInfoChar(&buffer, '`');
		appendStringInfoChar(&buffer, *p);
	}
	appendStringInfoChar(&buffer, '`');
	return buffer.data;
}

char *
tap_mysql_quote_table(const TapTableName *name)
{
	return psprintf("%s.%s", tap_mysql_quote_identifier(name->schema),
					tap_mysql_quote_identifier(name->name));
}

char *
tap_mysql_quote_literal(const char *value)
{
	char	   *utf8 = convert(value, strlen(value), true);
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoString(&buffer, "_utf8mb4 X'");
	for (const char *p = utf8; *p; p++)
		appendStringInfo(&buffer, "%02X", (unsigned char) *p);
	appendStringInfoChar(&buffer, '\'');
	return buffer.data;
}

char *
tap_mysql_table_text(const TapTableName *name)
{
	return psprintf("%s.%s", name->schema, name->name);
}

/* ---------------------------------------------------------------------
 * Queries
 * ---------------------------------------------------------------------
 */

/* Send a query; false when it failed. */
static bool
send_query(MYSQL *mysql, const char *sql)
{
	char	   *utf8 = convert(sql, strlen(sql), true);
	int			result;

	result = mysql_real_query(mysql, utf8, (unsigned long) strlen(utf8));
	tap_mysql_check_interrupts();
	return result == 0;
}

/* Copy a stored result into palloc'd memory. */
static TapMysqlRows *
copy_rows(MYSQL_RES *result)
{
	TapMysqlRows *rows = palloc0(sizeof(TapMysqlRows));
	MYSQL_ROW	row;
	int			n = 0;

	rows->nrows = (int) mysql_num_rows(result);
	rows->ncolumns = (int) mysql_num_fields(result);
	rows->values = palloc0(sizeof(char *) * Max(1, rows->nrows * rows->ncolumns));
	while ((row = mysql_fetch_row(result)) != NULL)
	{
		unsigned long *lengths = mysql_fetch_lengths(result);

		for (int i = 0; i < rows->ncolumns; i++, n++)
			if (row[i] != NULL)
				rows->values[n] = tap_mysql_from_utf8(row[i], lengths[i]);
	}
	return rows;
}

/* The rows of a query that was sent, NULL when storing them failed. */
static TapMysqlRows *
store_rows(MYSQL *mysql)
{
	MYSQL_RES  *result = mysql_store_result(mysql);
	TapMysqlRows *rows = NULL;

	if (result == NULL)
	{
		tap_mysql_check_interrupts();
		if (mysql_errno(mysql) != 0)
			return NULL;
		return palloc0(sizeof(TapMysqlRows));
	}
	PG_TRY();
	{
		rows = copy_rows(result);
	}
	PG_FINALLY();
	{
		mysql_free_result(result);
	}
	PG_END_TRY();
	return rows;
}

TapMysqlRows *
tap_mysql_try_query(MYSQL *mysql, const char *sql)
{
	TapMysqlRows *rows = NULL;

	if (send_query(mysql, sql))
		rows = store_rows(mysql);
	if (rows == NULL && mysql_errno(mysql) >= CR_MIN_ERROR)
	{
		int			state = tap_mysql_sqlstate(mysql_errno(mysql), mysql_error(mysql));

		/* a lost connection is no answer */
		if (ERRCODE_TO_CATEGORY(state) == ERRCODE_CONNECTION_EXCEPTION)
			tap_mysql_raise(mysql, psprintf("query the %s", tap_mysql_peer));
	}
	return rows;
}

TapMysqlRows *
tap_mysql_query(MYSQL *mysql, const char *sql)
{
	TapMysqlRows *rows = NULL;

	if (send_query(mysql, sql))
		rows = store_rows(mysql);
	if (rows == NULL)
		tap_mysql_raise(mysql, psprintf("query the %s", tap_mysql_peer));
	return rows;
}

void
tap_mysql_execute(MYSQL *mysql, const char *sql)
{
	(void) tap_mysql_query(mysql, sql);
}

char *
tap_mysql_query_value(MYSQL *mysql, const char *sql)
{
	TapMysqlRows *rows = tap_mysql_query(mysql, sql);

	if (rows->nrows == 0)
		return NULL;
	return tap_mysql_value(rows, 0, 0);
}

MYSQL_RES *
tap_mysql_query_stream(MYSQL *mysql, const char *sql)
{
	MYSQL_RES  *result = NULL;

	if (send_query(mysql, sql))
		result = mysql_use_result(mysql);
	if (result == NULL)
		tap_mysql_raise(mysql, "read the source's rows");
	return result;
}

MYSQL_ROW
tap_mysql_fetch(MYSQL *mysql, MYSQL_RES *result)
{
	MYSQL_ROW	row = mysql_fetch_row(result);

	if (row == NULL && mysql_errno(mysql) != 0)
		tap_mysql_raise(mysql, "read the source's rows");
	return row;
}

void
tap_mysql_abandon(MYSQL *mysql, MYSQL_RES *result)
{
	/* freeing reads the result to its end, which then comes at once */
	(void) shutdown(mysql_get_socket(mysql), SHUT_RDWR);
	mysql_free_result(result);
}
