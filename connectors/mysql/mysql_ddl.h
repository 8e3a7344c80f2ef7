/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_ddl.h
 *	  What the statements of the log mean, as far as a follower must know.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_MYSQL_DDL_H
#define TAP_MYSQL_DDL_H

#include "mysql_connector.h"

typedef enum TapMysqlTokenKind
{
	TAP_MYSQL_TOKEN_END,
	TAP_MYSQL_TOKEN_WORD,		/* keyword or name */
	TAP_MYSQL_TOKEN_NAME,		/* quoted name */
	TAP_MYSQL_TOKEN_STRING,
	TAP_MYSQL_TOKEN_NUMBER,
	TAP_MYSQL_TOKEN_SIGN		/* one character of punctuation */
} TapMysqlTokenKind;

typedef struct TapMysqlToken
{
	TapMysqlTokenKind kind;
	char	   *text;			/* unquoted; in the context of the lexer */
	const char *start;			/* in the statement */
	const char *end;
} TapMysqlToken;

/* Reads a statement token by token; comments are passed over. */
typedef struct TapMysqlLexer
{
	const char *position;
	const char *end;
	bool		ansi_quotes;
	bool		no_backslash_escapes;
	TapMysqlToken token;		/* the current one */
} TapMysqlLexer;

/* Set a lexer on its first token.  sql_mode is that of the log's event. */
extern void tap_mysql_lexer_init(TapMysqlLexer *lexer, const char *statement,
								 Size length, uint64 sql_mode);

/* Go to the next token. */
extern void tap_mysql_lexer_next(TapMysqlLexer *lexer);

/* Whether the current token is the (unquoted) keyword, in any case. */
extern bool tap_mysql_lexer_is(const TapMysqlLexer *lexer, const char *keyword);

/* The same for one character of punctuation. */
extern bool tap_mysql_lexer_is_sign(const TapMysqlLexer *lexer, char sign);

/* Go past the keyword and return true, if it is the current token. */
extern bool tap_mysql_lexer_accept(TapMysqlLexer *lexer, const char *keyword);
extern bool tap_mysql_lexer_accept_sign(TapMysqlLexer *lexer, char sign);

/* Go past a name and return it, NULL when there is none. */
extern char *tap_mysql_lexer_name(TapMysqlLexer *lexer);

/* Go past parentheses with all in them, on whose first the lexer stands. */
extern void tap_mysql_lexer_skip_parentheses(TapMysqlLexer *lexer);

/* Read what stands behind DEFAULT into the column. */
extern void tap_mysql_read_default(TapMysqlLexer *lexer, TapMysqlColumn *column);

/* Kinds of statements. */
typedef enum TapMysqlStatementKind
{
	TAP_MYSQL_STATEMENT_OTHER,	/* changes nothing that is followed */
	TAP_MYSQL_STATEMENT_BEGIN,
	TAP_MYSQL_STATEMENT_COMMIT,
	TAP_MYSQL_STATEMENT_ROLLBACK,
	TAP_MYSQL_STATEMENT_SAVEPOINT,
	TAP_MYSQL_STATEMENT_ROLLBACK_TO,
	TAP_MYSQL_STATEMENT_XA_START,
	TAP_MYSQL_STATEMENT_XA_END,
	TAP_MYSQL_STATEMENT_XA_COMMIT,
	TAP_MYSQL_STATEMENT_XA_ROLLBACK,
	TAP_MYSQL_STATEMENT_CREATE_TABLE,
	TAP_MYSQL_STATEMENT_ALTER_TABLE,	/* also CREATE and DROP INDEX */
	TAP_MYSQL_STATEMENT_DROP_TABLE,
	TAP_MYSQL_STATEMENT_RENAME_TABLE,	/* names come in pairs */
	TAP_MYSQL_STATEMENT_TRUNCATE,
	TAP_MYSQL_STATEMENT_DROP_DATABASE,	/* names[0].schema */
	TAP_MYSQL_STATEMENT_DML		/* rows as a statement; names are candidates */
} TapMysqlStatementKind;

typedef struct TapMysqlStatement
{
	TapMysqlStatementKind kind;
	List	   *names;			/* of TapTableName * */
	bool		or_replace;		/* CREATE_TABLE */
	TapTableName *like;			/* CREATE_TABLE x LIKE, or NULL */
	char	   *savepoint;		/* SAVEPOINT, ROLLBACK_TO */
	char	   *xid;			/* XA: canonical text */
	TapMysqlLexer rest;			/* ALTER_TABLE: its clauses follow */
} TapMysqlStatement;

/*
 * Read a statement of the log; default_schema completes names without one.
 * Results are in the current context.
 */
extern void tap_mysql_statement_read(TapMysqlStatement *statement,
									 const char *text, Size length,
									 const char *default_schema,
									 uint64 sql_mode);

/* How a format changes by ALTER TABLE. */
typedef struct TapMysqlAlter
{
	TapMysqlTable *table;		/* the new format */
	List	   *renames;		/* of TapColumnRename * */
	TapTableName *new_name;		/* RENAME TO, or NULL */
	bool		complete;		/* every clause was understood */
} TapMysqlAlter;

/*
 * Apply the clauses of an ALTER TABLE to a format.  present is what the
 * source's information_schema says now, or NULL: a column of it that fits the
 * clause is taken as it is.
 */
extern void tap_mysql_alter_apply(TapSession *session,
								  const TapMysqlStatement *statement,
								  const TapMysqlTable *before,
								  const TapMysqlTable *present,
								  const char *default_schema,
								  TapMysqlAlter *alter);

/*
 * The format that a CREATE TABLE gives to its table; false when it is not in
 * the statement (LIKE, SELECT) or was not understood.
 */
extern bool tap_mysql_create_apply(TapSession *session,
								   const TapMysqlStatement *statement,
								   const TapTableName *name,
								   const TapMysqlTable *present,
								   TapMysqlAlter *alter);

/* The canonical text of an XA transaction's id. */
extern char *tap_mysql_xid_text(const uint8 *gtrid, int gtrid_length,
								const uint8 *bqual, int bqual_length,
								uint32 format);

#endif							/* TAP_MYSQL_DDL_H */
