/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_private.h
 *	  What the files of the copybook parser share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COPYBOOK_PRIVATE_H
#define TAPDATA_COPYBOOK_PRIVATE_H

#include <setjmp.h>

#include "copybook.h"

#if defined(__GNUC__)
#define COPYBOOK_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define COPYBOOK_PRINTF(a, b)
#endif

#define COPYBOOK_LEVEL_SINGLE	77	/* an item that stands alone */

typedef enum CopybookTokenKind
{
	COPYBOOK_END,				/* of the text */
	COPYBOOK_PERIOD,
	COPYBOOK_WORD,				/* upper case */
	COPYBOOK_NUMBER,			/* digits only, or with sign and point */
	COPYBOOK_LITERAL,			/* in quotes */
	COPYBOOK_HEX,				/* X"..." as bytes */
	COPYBOOK_OPERATOR,			/* = < > <= >= <> ( ) */
	COPYBOOK_PICTURE			/* only when it was asked for */
} CopybookTokenKind;

typedef struct CopybookToken
{
	CopybookTokenKind kind;
	const char *text;			/* ends with a zero; lives as long as the
								 * copybook */
	size_t		length;
	int			line;
	int			column;
} CopybookToken;

/* A piece of a line, without what fixed form has around it. */
typedef struct CopybookPiece
{
	size_t		start;			/* in the text that is read */
	int			line;
	int			column;
} CopybookPiece;

typedef struct CopybookBlock CopybookBlock;

struct TapCopybook
{
	CopybookBlock *blocks;
	TapCobolItem *records;
	TapCobolItem *last_record;
	int			nitems;
	int			nfillers;
};

/*
 * The state of parsing.  An error leaves by longjmp() to escape; nothing but
 * the copybook's memory is held then.
 */
typedef struct CopybookParser
{
	TapCopybook *copybook;
	const TapCobolLayout *layout;
	TapCopybookError *error;
	jmp_buf		escape;

	char	   *text;			/* what is left of the source in its form */
	size_t		length;
	size_t		next;			/* the first byte behind the token */
	CopybookPiece *pieces;
	size_t		npieces;
	CopybookToken token;		/* the one that is looked at */

	/* OCCURS DEPENDING ON: names that are resolved at the end. */
	struct CopybookReference *references;
} CopybookParser;

typedef struct CopybookReference
{
	TapCobolItem *item;
	const char **names;
	int			nnames;
	int			line;
	int			column;
	struct CopybookReference *next;
} CopybookReference;

/* ---- copybook_parse.c ---- */

/* Raise an error at a place; does not return. */
extern void tap_copybook_fail(CopybookParser *parser, int line, int column,
							  const char *hint, const char *format,...)
			COPYBOOK_PRINTF(5, 6) __attribute__((noreturn));

/* Memory of the copybook, zeroed; raises an error if there is none. */
extern void *tap_copybook_get(CopybookParser *parser, size_t size);

/* ---- copybook_lex.c ---- */

/* Bring the source into parser->text without comments and sequence areas. */
extern void tap_copybook_unfold(CopybookParser *parser, const char *source,
								size_t length);

/* Look at the next token; its text is the copybook's. */
extern void tap_copybook_advance(CopybookParser *parser);

/* The same where a picture must follow. */
extern void tap_copybook_advance_picture(CopybookParser *parser);

/* ---- copybook_picture.c ---- */

/* Analyse the picture of an item whose usage is known already. */
extern void tap_copybook_picture(CopybookParser *parser, TapCobolItem *item,
								 int line, int column);

/* ---- copybook_word.c: all raise an error where something else stands ---- */

/* Whether the current token is the keyword, which is given in upper case. */
extern bool tap_copybook_is(const CopybookParser *parser, const char *word);

/* Go behind the keyword and return true, if it is the current token. */
extern bool tap_copybook_accept(CopybookParser *parser, const char *word);

/* Raise the error that something else than the current token was expected. */
extern void tap_copybook_expected(CopybookParser *parser, const char *expected)
			__attribute__((noreturn));

/* Go behind a name; its text is the copybook's.  what: for the message. */
extern const char *tap_copybook_take_name(CopybookParser *parser, const char *what);

/* Go behind a whole number, which must not be more than most. */
extern uint32_t tap_copybook_take_number(CopybookParser *parser, uint32_t most,
										 const char *what);

/* Read a literal at the current token and go behind it. */
extern void tap_copybook_literal(CopybookParser *parser, TapCobolLiteral *literal);

/* Whether the current token is one. */
extern bool tap_copybook_is_literal(const CopybookParser *parser);

/* ---- copybook_clause.c ---- */

/* Whether the current token begins a clause, so that it cannot be a name. */
extern bool tap_copybook_begins_clause(const CopybookParser *parser);

/* Read one clause of an item and go behind it. */
extern void tap_copybook_take_clause(CopybookParser *parser, TapCobolItem *item);

/* ---- copybook_layout.c ---- */

/* Check the finished tree, and give each item its place. */
extern void tap_copybook_lay_out(CopybookParser *parser);

#endif							/* TAPDATA_COPYBOOK_PRIVATE_H */
