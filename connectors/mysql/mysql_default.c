/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_default.c
 *	  Defaults of columns: what rows that are there have in a column that is
 *	  added, and with binlog_row_image=MINIMAL what new rows have in columns that
 *	  nobody gave a value.  The log does not hold either.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_ddl.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/* A number with its sign and fraction, as it is written. */
static char *
read_number(TapMysqlLexer *lexer)
{
	StringInfoData text;

	initStringInfo(&text);
	while (lexer->token.kind == TAP_MYSQL_TOKEN_NUMBER ||
		   tap_mysql_lexer_is_sign(lexer, '-') || tap_mysql_lexer_is_sign(lexer, '.') ||
		   (lexer->token.kind == TAP_MYSQL_TOKEN_WORD &&
			isdigit((unsigned char) lexer->token.text[0])))
	{
		appendStringInfoString(&text, lexer->token.text);
		tap_mysql_lexer_next(lexer);
	}
	return text.data;
}

void
tap_mysql_read_default(TapMysqlLexer *lexer, TapMysqlColumn *column)
{
	column->default_value = NULL;
	column->default_unknown = false;
	if (lexer->token.kind == TAP_MYSQL_TOKEN_STRING)
	{
		column->default_value = tap_mysql_from_utf8(lexer->token.text,
													strlen(lexer->token.text));
		tap_mysql_lexer_next(lexer);
	}
	else if (lexer->token.kind == TAP_MYSQL_TOKEN_NUMBER ||
			 tap_mysql_lexer_is_sign(lexer, '-') || tap_mysql_lexer_is_sign(lexer, '.'))
		column->default_value = read_number(lexer);
	else if (tap_mysql_lexer_accept(lexer, "TRUE"))
		column->default_value = "1";
	else if (tap_mysql_lexer_accept(lexer, "FALSE"))
		column->default_value = "0";
	else if (tap_mysql_lexer_accept(lexer, "NULL"))
		column->default_value = NULL;
	else if (tap_mysql_lexer_accept(lexer, "B"))
	{
		column->default_value = psprintf("b'%s'", lexer->token.text);
		tap_mysql_lexer_next(lexer);
	}
	else
		column->default_unknown = true;
}

/* information_schema's text of a default: MariaDB's is SQL, MySQL's a value. */
void
tap_mysql_set_default(TapMysqlColumn *column, const char *text, const char *extra,
					  bool is_mariadb)
{
	TapMysqlLexer lexer;

	column->default_value = NULL;
	column->default_unknown = extra != NULL && strstr(extra, "DEFAULT_GENERATED") != NULL;
	if (text == NULL || column->default_unknown)
		return;
	if (!is_mariadb)
	{
		column->default_value = pstrdup(text);
		return;
	}
	tap_mysql_lexer_init(&lexer, text, strlen(text), 0);
	tap_mysql_read_default(&lexer, column);
}

void
tap_mysql_keep_default(TapMysqlColumn *column, const TapMysqlColumn *read)
{
	/*
	 * an expression is told better by the source, and so is a time of some
	 * zone
	 */
	if (read->default_unknown || column->kind == TAP_MYSQL_KIND_TIMESTAMP)
		return;
	column->default_value = read->default_value;
	column->default_unknown = false;
}

void
tap_mysql_keep_defaults(TapMysqlTable *table, const TapMysqlColumn *read)
{
	TapMysqlColumn *columns = palloc(sizeof(TapMysqlColumn) * Max(1, table->ncolumns));

	for (int i = 0; i < table->ncolumns; i++)
	{
		columns[i] = table->columns[i];
		tap_mysql_keep_default(&columns[i], &read[i]);
	}
	table->columns = columns;
}

bool
tap_mysql_same_defaults(const TapMysqlTable *a, const TapMysqlTable *b)
{
	for (int i = 0; i < Min(a->ncolumns, b->ncolumns); i++)
	{
		const char *one = a->columns[i].default_value;
		const char *other = b->columns[i].default_value;

		if (a->columns[i].default_unknown != b->columns[i].default_unknown ||
			(one == NULL) != (other == NULL) || (one != NULL && strcmp(one, other) != 0))
			return false;
	}
	return true;
}

/* "b'101'" as the digits of a bit(n) */
static char *
bit_default(const TapMysqlColumn *column, const char *value)
{
	char	   *digits = palloc(column->length + 1);
	const char *first = strchr(value, '\'');
	int			n = 0;

	memset(digits, '0', column->length);
	digits[column->length] = '\0';
	if (first == NULL)
		return strcmp(value, "0") == 0 ? digits : NULL;
	for (first++; first[n] == '0' || first[n] == '1'; n++)
		 /* count the digits */ ;
	if (n > column->length)
		return NULL;
	memcpy(digits + column->length - n, first, n);
	return digits;
}

static char *
bytes_default(const TapMysqlColumn *column, const char *value)
{
	StringInfoData text;
	int			length = (int) strlen(value);

	initStringInfo(&text);
	appendStringInfoString(&text, "\\x");
	if (strncmp(value, "0x", 2) == 0)
		appendStringInfoString(&text, value + 2);
	else
		for (int i = 0; i < length; i++)
			appendStringInfo(&text, "%02x", (unsigned char) value[i]);
	while (column->kind == TAP_MYSQL_KIND_BINARY && text.len < 2 + 2 * column->length)
		appendStringInfoString(&text, "00");
	return text.data;
}

static char *
date_default(TapSession *session, const TapMysqlColumn *column, const char *value)
{
	if (strncmp(value, "0000", 4) == 0 || strstr(value, "-00") != NULL)
		return session->mapping.zero_date == TAP_MYSQL_ZERO_DATE_INFINITY ?
			pstrdup("-infinity") : NULL;
	if (column->kind == TAP_MYSQL_KIND_TIMESTAMP)
		return psprintf("%s+00", value);
	return pstrdup(value);
}

static char *
set_default(const TapMysqlColumn *column, const char *value)
{
	StringInfoData text;

	if (column->pg_type != TEXTARRAYOID)
		return pstrdup(value);
	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (const char *p = value; *p;)
	{
		Size		length = strcspn(p, ",");

		appendStringInfoString(&text, p == value ? "\"" : ",\"");
		for (Size i = 0; i < length; i++)
		{
			if (p[i] == '"' || p[i] == '\\')
				appendStringInfoChar(&text, '\\');
			appendStringInfoChar(&text, p[i]);
		}
		appendStringInfoChar(&text, '"');
		p += length + (p[length] == ',');
	}
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* What a NOT NULL column without a default gets. */
static const char *
implicit_default(const TapMysqlColumn *column)
{
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_STRING:
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
		case TAP_MYSQL_KIND_SET:
			return "";
		case TAP_MYSQL_KIND_ENUM:
			return column->nlabels > 0 ? column->labels[0] : "";
		case TAP_MYSQL_KIND_DATE:
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
			return "0000-00-00";
		case TAP_MYSQL_KIND_TIME:
			return "00:00:00";
		case TAP_MYSQL_KIND_JSON:
			return "null";
		case TAP_MYSQL_KIND_JSON_TEXT:
		case TAP_MYSQL_KIND_GEOMETRY:
		case TAP_MYSQL_KIND_VECTOR:
		case TAP_MYSQL_KIND_UUID:
		case TAP_MYSQL_KIND_INET4:
		case TAP_MYSQL_KIND_INET6:
			return NULL;
		default:
			return "0";
	}
}

char *
tap_mysql_default_input(TapSession *session, const TapMysqlColumn *column)
{
	const char *value = column->default_value;

	if (column->generated || column->default_unknown)
		return NULL;
	if (value == NULL && !column->nullable)
		value = implicit_default(column);
	if (value == NULL)
		return NULL;
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_BOOLEAN:
			return pstrdup(strcmp(value, "0") == 0 ? "false" : "true");
		case TAP_MYSQL_KIND_BIT:
			return bit_default(column, value);
		case TAP_MYSQL_KIND_BINARY:
		case TAP_MYSQL_KIND_BYTES:
			return bytes_default(column, value);
		case TAP_MYSQL_KIND_SET:
			return set_default(column, value);
		case TAP_MYSQL_KIND_DATE:
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
			return date_default(session, column, value);
		case TAP_MYSQL_KIND_GEOMETRY:
		case TAP_MYSQL_KIND_VECTOR:
			return NULL;
		default:
			return pstrdup(value);
	}
}
