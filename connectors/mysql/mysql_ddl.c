/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_ddl.c
 *	  A tokenizer for statements of the log, and what kind they are.
 *
 * No grammar: the first words of a statement tell its kind, the words after
 * them the tables.  A statement that is not known is never an error.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_ddl.h"

#include <ctype.h>

#include "utils/builtins.h"

#define SQL_MODE_ANSI_QUOTES			UINT64CONST(0x4)
#define SQL_MODE_NO_BACKSLASH_ESCAPES	UINT64CONST(0x100000)

/* ---------------------------------------------------------------------
 * Tokens
 * ---------------------------------------------------------------------
 */

static bool
at(const TapMysqlLexer *lexer, const char *text)
{
	Size		length = strlen(text);

	return (Size) (lexer->end - lexer->position) >= length &&
		memcmp(lexer->position, text, length) == 0;
}

static void
skip_past(TapMysqlLexer *lexer, const char *text)
{
	while (lexer->position < lexer->end && !at(lexer, text))
		lexer->position++;
	if (lexer->position < lexer->end)
		lexer->position += strlen(text);
}

/* Go past a comment; what an executable one holds are tokens. */
static bool
skip_comment(TapMysqlLexer *lexer)
{
	if (at(lexer, "/*!") || at(lexer, "/*M!"))
	{
		lexer->position += at(lexer, "/*M!") ? 4 : 3;
		while (lexer->position < lexer->end &&
			   isdigit((unsigned char) *lexer->position))
			lexer->position++;
		return true;
	}
	if (at(lexer, "*/"))
	{
		lexer->position += 2;	/* the end of an executable comment */
		return true;
	}
	if (at(lexer, "/*"))
	{
		lexer->position += 2;
		skip_past(lexer, "*/");
		return true;
	}
	if (at(lexer, "#") || at(lexer, "-- ") || at(lexer, "--\n") || at(lexer, "--\t"))
	{
		skip_past(lexer, "\n");
		return true;
	}
	return false;
}

static bool
is_word_character(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' ||
		IS_HIGHBIT_SET(c);
}

/* The character that is written as a backslash and this one; a text ends at \0. */
static char
unescape(char c)
{
	switch (c)
	{
		case '0':
			return '\0';
		case 'b':
			return '\b';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		case 'Z':
			return '\032';
		default:
			return c;
	}
}

/* A quoted name or string, with its quotes taken away. */
static void
read_quoted(TapMysqlLexer *lexer, char quote)
{
	StringInfoData text;
	bool		is_string = quote == '\'' || (quote == '"' && !lexer->ansi_quotes);

	initStringInfo(&text);
	lexer->position++;
	while (lexer->position < lexer->end)
	{
		char		c = *lexer->position++;

		if (c == quote)
		{
			if (lexer->position >= lexer->end || *lexer->position != quote)
				break;
			lexer->position++;
		}
		else if (c == '\\' && is_string && !lexer->no_backslash_escapes &&
				 lexer->position < lexer->end)
			c = unescape(*lexer->position++);
		appendStringInfoChar(&text, c);
	}
	lexer->token.kind = is_string ? TAP_MYSQL_TOKEN_STRING : TAP_MYSQL_TOKEN_NAME;
	lexer->token.text = text.data;
}

void
tap_mysql_lexer_next(TapMysqlLexer *lexer)
{
	TapMysqlToken *token = &lexer->token;

	while (lexer->position < lexer->end &&
		   (isspace((unsigned char) *lexer->position) || skip_comment(lexer)))
		if (lexer->position < lexer->end &&
			isspace((unsigned char) *lexer->position))
			lexer->position++;
	token->start = lexer->position;
	if (lexer->position >= lexer->end)
	{
		token->kind = TAP_MYSQL_TOKEN_END;
		token->text = "";
	}
	else if (strchr("`'\"", *lexer->position) != NULL)
		read_quoted(lexer, *lexer->position);
	else if (is_word_character(*lexer->position))
	{
		bool		is_number = true;

		while (lexer->position < lexer->end && is_word_character(*lexer->position))
		{
			is_number &= isdigit((unsigned char) *lexer->position) != 0;
			lexer->position++;
		}
		token->kind = is_number ? TAP_MYSQL_TOKEN_NUMBER : TAP_MYSQL_TOKEN_WORD;
		token->text = pnstrdup(token->start, lexer->position - token->start);
	}
	else
	{
		token->kind = TAP_MYSQL_TOKEN_SIGN;
		token->text = pnstrdup(lexer->position++, 1);
	}
	token->end = lexer->position;
}

void
tap_mysql_lexer_init(TapMysqlLexer *lexer, const char *statement, Size length,
					 uint64 sql_mode)
{
	lexer->position = statement;
	lexer->end = statement + length;
	lexer->ansi_quotes = (sql_mode & SQL_MODE_ANSI_QUOTES) != 0;
	lexer->no_backslash_escapes = (sql_mode & SQL_MODE_NO_BACKSLASH_ESCAPES) != 0;
	tap_mysql_lexer_next(lexer);
}

bool
tap_mysql_lexer_is(const TapMysqlLexer *lexer, const char *keyword)
{
	return lexer->token.kind == TAP_MYSQL_TOKEN_WORD &&
		pg_strcasecmp(lexer->token.text, keyword) == 0;
}

bool
tap_mysql_lexer_is_sign(const TapMysqlLexer *lexer, char sign)
{
	return lexer->token.kind == TAP_MYSQL_TOKEN_SIGN &&
		lexer->token.text[0] == sign;
}

bool
tap_mysql_lexer_accept(TapMysqlLexer *lexer, const char *keyword)
{
	if (!tap_mysql_lexer_is(lexer, keyword))
		return false;
	tap_mysql_lexer_next(lexer);
	return true;
}

bool
tap_mysql_lexer_accept_sign(TapMysqlLexer *lexer, char sign)
{
	if (!tap_mysql_lexer_is_sign(lexer, sign))
		return false;
	tap_mysql_lexer_next(lexer);
	return true;
}

char *
tap_mysql_lexer_name(TapMysqlLexer *lexer)
{
	char	   *name;

	if (lexer->token.kind != TAP_MYSQL_TOKEN_WORD &&
		lexer->token.kind != TAP_MYSQL_TOKEN_NAME)
		return NULL;
	name = tap_mysql_from_utf8(lexer->token.text, strlen(lexer->token.text));
	tap_mysql_lexer_next(lexer);
	return name;
}

void
tap_mysql_lexer_skip_parentheses(TapMysqlLexer *lexer)
{
	int			depth = 0;

	do
	{
		if (tap_mysql_lexer_is_sign(lexer, '('))
			depth++;
		else if (tap_mysql_lexer_is_sign(lexer, ')'))
			depth--;
		tap_mysql_lexer_next(lexer);
	} while (depth > 0 && lexer->token.kind != TAP_MYSQL_TOKEN_END);
}

/* ---------------------------------------------------------------------
 * Names of tables
 * ---------------------------------------------------------------------
 */

/* "name" or "schema.name"; NULL when there is none. */
static TapTableName *
read_table_name(TapMysqlLexer *lexer, const char *default_schema)
{
	char	   *first = tap_mysql_lexer_name(lexer);
	TapTableName *name;

	if (first == NULL)
		return NULL;
	name = palloc(sizeof(TapTableName));
	name->schema = pstrdup(default_schema);
	name->name = first;
	if (tap_mysql_lexer_accept_sign(lexer, '.'))
	{
		name->schema = first;
		name->name = tap_mysql_lexer_name(lexer);
		if (name->name == NULL)
			return NULL;
	}
	return name;
}

static void
add_table_name(TapMysqlStatement *statement, TapMysqlLexer *lexer,
			   const char *default_schema)
{
	TapTableName *name = read_table_name(lexer, default_schema);

	if (name != NULL)
		statement->names = lappend(statement->names, name);
}

static void
skip_if_exists(TapMysqlLexer *lexer)
{
	if (!tap_mysql_lexer_accept(lexer, "IF"))
		return;
	(void) tap_mysql_lexer_accept(lexer, "NOT");
	(void) tap_mysql_lexer_accept(lexer, "EXISTS");
}

/* Go to a keyword of the statement's first level; false when there is none. */
static bool
find_keyword(TapMysqlLexer *lexer, const char *keyword)
{
	while (lexer->token.kind != TAP_MYSQL_TOKEN_END)
	{
		if (tap_mysql_lexer_is_sign(lexer, '('))
			tap_mysql_lexer_skip_parentheses(lexer);
		else if (tap_mysql_lexer_accept(lexer, keyword))
			return true;
		else
			tap_mysql_lexer_next(lexer);
	}
	return false;
}

/* ---------------------------------------------------------------------
 * Kinds of statements; the lexer stands behind the first word
 * ---------------------------------------------------------------------
 */

static void
read_create(TapMysqlStatement *statement, TapMysqlLexer *lexer,
			const char *default_schema)
{
	TapMysqlLexer model;

	if (tap_mysql_lexer_accept(lexer, "OR"))
		statement->or_replace = tap_mysql_lexer_accept(lexer, "REPLACE");
	if (tap_mysql_lexer_accept(lexer, "TABLE"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_CREATE_TABLE;
		skip_if_exists(lexer);
		add_table_name(statement, lexer, default_schema);
		model = *lexer;
		(void) tap_mysql_lexer_accept_sign(&model, '(');
		if (tap_mysql_lexer_accept(&model, "LIKE"))
			statement->like = read_table_name(&model, default_schema);
		return;
	}
	while (tap_mysql_lexer_accept(lexer, "ONLINE") ||
		   tap_mysql_lexer_accept(lexer, "OFFLINE") ||
		   tap_mysql_lexer_accept(lexer, "UNIQUE") ||
		   tap_mysql_lexer_accept(lexer, "FULLTEXT") ||
		   tap_mysql_lexer_accept(lexer, "SPATIAL"))
		 /* words before INDEX */ ;
	if (tap_mysql_lexer_accept(lexer, "INDEX") && find_keyword(lexer, "ON"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_ALTER_TABLE;
		add_table_name(statement, lexer, default_schema);
		lexer->position = lexer->end;
		tap_mysql_lexer_next(lexer);
	}
}

static void
read_alter(TapMysqlStatement *statement, TapMysqlLexer *lexer,
		   const char *default_schema)
{
	(void) tap_mysql_lexer_accept(lexer, "ONLINE");
	(void) tap_mysql_lexer_accept(lexer, "OFFLINE");
	(void) tap_mysql_lexer_accept(lexer, "IGNORE");
	if (!tap_mysql_lexer_accept(lexer, "TABLE"))
		return;
	statement->kind = TAP_MYSQL_STATEMENT_ALTER_TABLE;
	skip_if_exists(lexer);
	add_table_name(statement, lexer, default_schema);
}

static void
read_list(TapMysqlStatement *statement, TapMysqlLexer *lexer,
		  const char *default_schema)
{
	do
		add_table_name(statement, lexer, default_schema);
	while (tap_mysql_lexer_accept_sign(lexer, ','));
}

static void
read_drop(TapMysqlStatement *statement, TapMysqlLexer *lexer,
		  const char *default_schema)
{
	if (tap_mysql_lexer_is(lexer, "TEMPORARY"))
		return;
	if (tap_mysql_lexer_accept(lexer, "TABLE") || tap_mysql_lexer_accept(lexer, "TABLES"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_DROP_TABLE;
		skip_if_exists(lexer);
		read_list(statement, lexer, default_schema);
	}
	else if (tap_mysql_lexer_accept(lexer, "DATABASE") ||
			 tap_mysql_lexer_accept(lexer, "SCHEMA"))
	{
		TapTableName *name = palloc0(sizeof(TapTableName));

		statement->kind = TAP_MYSQL_STATEMENT_DROP_DATABASE;
		skip_if_exists(lexer);
		name->schema = tap_mysql_lexer_name(lexer);
		statement->names = list_make1(name);
	}
	else if (tap_mysql_lexer_accept(lexer, "INDEX") && find_keyword(lexer, "ON"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_ALTER_TABLE;
		add_table_name(statement, lexer, default_schema);
	}
}

static void
read_rename(TapMysqlStatement *statement, TapMysqlLexer *lexer,
			const char *default_schema)
{
	if (!tap_mysql_lexer_accept(lexer, "TABLE") &&
		!tap_mysql_lexer_accept(lexer, "TABLES"))
		return;
	statement->kind = TAP_MYSQL_STATEMENT_RENAME_TABLE;
	skip_if_exists(lexer);
	do
	{
		int			before = list_length(statement->names);

		add_table_name(statement, lexer, default_schema);
		if (tap_mysql_lexer_accept(lexer, "WAIT"))
			tap_mysql_lexer_next(lexer);
		(void) tap_mysql_lexer_accept(lexer, "NOWAIT");
		if (tap_mysql_lexer_accept(lexer, "TO"))
			add_table_name(statement, lexer, default_schema);
		if (list_length(statement->names) != before + 2)
		{
			statement->names = list_truncate(statement->names, before);
			break;
		}
	} while (tap_mysql_lexer_accept_sign(lexer, ','));
}

/* X'6162' with its letters, or 'text', as hexadecimal digits. */
static char *
read_xid_part(TapMysqlLexer *lexer)
{
	StringInfoData hex;

	initStringInfo(&hex);
	if (tap_mysql_lexer_accept(lexer, "X") && lexer->token.kind == TAP_MYSQL_TOKEN_STRING)
	{
		for (const char *p = lexer->token.text; *p; p++)
			appendStringInfoChar(&hex, pg_tolower((unsigned char) *p));
	}
	else if (lexer->token.kind == TAP_MYSQL_TOKEN_STRING)
	{
		for (const char *p = lexer->token.text; *p; p++)
			appendStringInfo(&hex, "%02x", (unsigned char) *p);
	}
	if (lexer->token.kind == TAP_MYSQL_TOKEN_STRING)
		tap_mysql_lexer_next(lexer);
	return hex.data;
}

char *
tap_mysql_xid_text(const uint8 *gtrid, int gtrid_length,
				   const uint8 *bqual, int bqual_length, uint32 format)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < gtrid_length; i++)
		appendStringInfo(&text, "%02x", gtrid[i]);
	appendStringInfoChar(&text, ',');
	for (int i = 0; i < bqual_length; i++)
		appendStringInfo(&text, "%02x", bqual[i]);
	appendStringInfo(&text, ",%u", format);
	return text.data;
}

static void
read_xa(TapMysqlStatement *statement, TapMysqlLexer *lexer)
{
	char	   *gtrid;
	char	   *bqual = "";
	char	   *format = "1";

	if (tap_mysql_lexer_accept(lexer, "START") || tap_mysql_lexer_accept(lexer, "BEGIN"))
		statement->kind = TAP_MYSQL_STATEMENT_XA_START;
	else if (tap_mysql_lexer_accept(lexer, "END"))
		statement->kind = TAP_MYSQL_STATEMENT_XA_END;
	else if (tap_mysql_lexer_accept(lexer, "COMMIT"))
		statement->kind = TAP_MYSQL_STATEMENT_XA_COMMIT;
	else if (tap_mysql_lexer_accept(lexer, "ROLLBACK"))
		statement->kind = TAP_MYSQL_STATEMENT_XA_ROLLBACK;
	gtrid = read_xid_part(lexer);
	if (tap_mysql_lexer_accept_sign(lexer, ','))
		bqual = read_xid_part(lexer);
	if (tap_mysql_lexer_accept_sign(lexer, ','))
		format = lexer->token.text;
	statement->xid = psprintf("%s,%s,%s", gtrid, bqual, format);
}

/*
 * Rows as a statement: every name up to the values, the condition or a query
 * may be the table that is changed.
 */
static void
read_dml(TapMysqlStatement *statement, TapMysqlLexer *lexer,
		 const char *default_schema)
{
	statement->kind = TAP_MYSQL_STATEMENT_DML;
	while (lexer->token.kind != TAP_MYSQL_TOKEN_END &&
		   !tap_mysql_lexer_is(lexer, "SET") &&
		   !tap_mysql_lexer_is(lexer, "VALUES") &&
		   !tap_mysql_lexer_is(lexer, "VALUE") &&
		   !tap_mysql_lexer_is(lexer, "SELECT") &&
		   !tap_mysql_lexer_is(lexer, "WHERE"))
	{
		if (tap_mysql_lexer_is_sign(lexer, '('))
			tap_mysql_lexer_skip_parentheses(lexer);
		else if (lexer->token.kind == TAP_MYSQL_TOKEN_WORD ||
				 lexer->token.kind == TAP_MYSQL_TOKEN_NAME)
			add_table_name(statement, lexer, default_schema);
		else
			tap_mysql_lexer_next(lexer);
	}
}

static void
read_rollback(TapMysqlStatement *statement, TapMysqlLexer *lexer)
{
	(void) tap_mysql_lexer_accept(lexer, "WORK");
	if (!tap_mysql_lexer_accept(lexer, "TO"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_ROLLBACK;
		return;
	}
	(void) tap_mysql_lexer_accept(lexer, "SAVEPOINT");
	statement->kind = TAP_MYSQL_STATEMENT_ROLLBACK_TO;
	statement->savepoint = tap_mysql_lexer_name(lexer);
}

static bool
accept_dml(TapMysqlLexer *lexer)
{
	return tap_mysql_lexer_accept(lexer, "INSERT") ||
		tap_mysql_lexer_accept(lexer, "UPDATE") ||
		tap_mysql_lexer_accept(lexer, "DELETE") ||
		tap_mysql_lexer_accept(lexer, "REPLACE") ||
		tap_mysql_lexer_accept(lexer, "LOAD") ||
		tap_mysql_lexer_accept(lexer, "WITH");
}

void
tap_mysql_statement_read(TapMysqlStatement *statement, const char *text,
						 Size length, const char *default_schema,
						 uint64 sql_mode)
{
	TapMysqlLexer *lexer = &statement->rest;

	memset(statement, 0, sizeof(*statement));
	tap_mysql_lexer_init(lexer, text, length, sql_mode);
	/* MariaDB's SET STATEMENT x = y FOR ALTER TABLE ... */
	if (tap_mysql_lexer_is(lexer, "SET"))
	{
		tap_mysql_lexer_next(lexer);
		if (!tap_mysql_lexer_accept(lexer, "STATEMENT") || !find_keyword(lexer, "FOR"))
			return;
	}
	if (tap_mysql_lexer_accept(lexer, "BEGIN"))
		statement->kind = TAP_MYSQL_STATEMENT_BEGIN;
	else if (tap_mysql_lexer_accept(lexer, "COMMIT"))
		statement->kind = TAP_MYSQL_STATEMENT_COMMIT;
	else if (tap_mysql_lexer_accept(lexer, "ROLLBACK"))
		read_rollback(statement, lexer);
	else if (tap_mysql_lexer_accept(lexer, "SAVEPOINT"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_SAVEPOINT;
		statement->savepoint = tap_mysql_lexer_name(lexer);
	}
	else if (tap_mysql_lexer_accept(lexer, "XA"))
		read_xa(statement, lexer);
	else if (tap_mysql_lexer_accept(lexer, "CREATE"))
		read_create(statement, lexer, default_schema);
	else if (tap_mysql_lexer_accept(lexer, "ALTER"))
		read_alter(statement, lexer, default_schema);
	else if (tap_mysql_lexer_accept(lexer, "DROP"))
		read_drop(statement, lexer, default_schema);
	else if (tap_mysql_lexer_accept(lexer, "RENAME"))
		read_rename(statement, lexer, default_schema);
	else if (tap_mysql_lexer_accept(lexer, "TRUNCATE"))
	{
		statement->kind = TAP_MYSQL_STATEMENT_TRUNCATE;
		(void) tap_mysql_lexer_accept(lexer, "TABLE");
		add_table_name(statement, lexer, default_schema);
	}
	else if (accept_dml(lexer))
		read_dml(statement, lexer, default_schema);
}
