/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_private.h
 *	  What the files of the compiler of record programmes share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COBOL_PRIVATE_H
#define TAPDATA_COBOL_PRIVATE_H

#include "cobol.h"
#include "copybook_private.h"

/* As many columns as a table of PostgreSQL can have. */
#define COBOL_MOST_COLUMNS	1600

/* Depth of parentheses and NOT in a condition. */
#define COBOL_MOST_DEPTH	100

typedef enum CobolTestKind
{
	COBOL_AND,
	COBOL_OR,
	COBOL_NOT,
	COBOL_TRUE,
	COBOL_RANGE					/* low <= value <= high */
} CobolTestKind;

struct TapCobolTest
{
	CobolTestKind kind;
	const TapCobolTest *left;
	const TapCobolTest *right;

	/* COBOL_RANGE */
	TapCobolOp	field;			/* how the item is read */
	int			mark;
	bool		number;
	bool		below;			/* there is a high end */
	bool		above;			/* there is a low one */
	bool		low_open;		/* greater, not equal */
	bool		high_open;
	int64_t		low;			/* with the scale of the item */
	int64_t		high;
	const uint8_t *low_bytes;	/* field.bytes of them */
	const uint8_t *high_bytes;
};

typedef struct CobolCompiler
{
	CopybookParser parser;		/* for errors and memory, and to read
								 * conditions */
	TapCodePage *page;
	const TapCobolWish *wish;
	TapCobolProgramme *programme;
	uint32_t	allocated;		/* of programme->ops */
	int			columns_allocated;
	int		   *mark_of;		/* by the number of an item: its mark + 1 */
	const TapCobolTest **test_of;	/* by the number of an item: when it is
									 * read, if that was said */
	int			in_json;		/* depth of tables of groups */
	const TapCobolCondition *condition; /* whose values are compiled, */
	const TapCobolItem *item;	/* and its item; NULL: a text of the user */
} CobolCompiler;

/* Fill in how an elementary item is read, or a group as text. */
extern void tap_cobol_set_field(CobolCompiler *compiler, const TapCobolItem *item,
								TapCobolOp *op);

/* The mark of an item, made if there is none. */
extern int	tap_cobol_mark(CobolCompiler *compiler, const TapCobolItem *item);

/* Compile a condition as the user wrote it. */
extern const TapCobolTest *tap_cobol_condition(CobolCompiler *compiler, const char *text);

/* The item of a name as the user wrote it, qualified perhaps. */
extern const TapCobolItem *tap_cobol_named(CobolCompiler *compiler, const char *text);

/* The conditions of an item whose value op reads. */
extern const TapCobolLabel *tap_cobol_labels(CobolCompiler *compiler, const TapCobolOp *op);

/* Combine two; either may be NULL. */
extern const TapCobolTest *tap_cobol_combine(CobolCompiler *compiler, bool both,
											 const TapCobolTest *before, const TapCobolTest *test);

extern const TapCobolTest *tap_cobol_not(CobolCompiler *compiler, const TapCobolTest *test);

/* The name that an item has in JSON. */
extern const char *tap_cobol_key(CobolCompiler *compiler, const TapCobolItem *item,
								 const char *suffix);

/*
 * Number the keys of the object that the body of ops[at] makes, in the order of
 * jsonb; the same key twice has one number.
 */
extern void tap_cobol_place_keys(CobolCompiler *compiler, uint32_t at);

/* Give all columns names, no two the same. */
extern void tap_cobol_name_columns(CobolCompiler *compiler);

#endif							/* TAPDATA_COBOL_PRIVATE_H */
