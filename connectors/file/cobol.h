/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol.h
 *	  Records of COBOL programs: the programme that reads them.
 *
 * A copybook and what is asked for are compiled once into a list of
 * operations; each record is read by running through it.
 *
 * NOTES
 *	  Plain C with libc only.  Every record is taken for hostile: no byte
 *	  outside of it is read.
 *
 *	  Operations stand in the order of the record.  FIELD reads an elementary
 *	  item.  TABLE (OCCURS), GROUP (a group inside of a table of groups) and
 *	  CASE (one of the items that share a place) have a body: the operations
 *	  up to their end.  MARK notes where an item stands that a table's length
 *	  or a CASE depends on.  Offsets are those of the copybook; a running
 *	  shift is added to them, which moves along in tables, and back where a
 *	  table is shorter than it could be.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COBOL_H
#define TAPDATA_COBOL_H

#include "copybook.h"
#include "ebcdic.h"

/* Digits, sign and zero byte of the longest number, and zeros of P. */
#define TAP_COBOL_NUMBER_BYTES	(2 * TAP_COPYBOOK_MOST_DIGITS + 8)

typedef enum TapCobolKind
{
	TAP_COBOL_TEXT,
	TAP_COBOL_NATIONAL,
	TAP_COBOL_DBCS,
	TAP_COBOL_ZONED,
	TAP_COBOL_PACKED,
	TAP_COBOL_BINARY,
	TAP_COBOL_FLOAT				/* of 4 or 8 bytes */
} TapCobolKind;

/* What a value is to the hub. */
typedef enum TapCobolType
{
	TAP_COBOL_IS_TEXT,
	TAP_COBOL_IS_SMALLINT,
	TAP_COBOL_IS_INT,
	TAP_COBOL_IS_BIGINT,
	TAP_COBOL_IS_NUMERIC,
	TAP_COBOL_IS_REAL,
	TAP_COBOL_IS_DOUBLE,
	TAP_COBOL_IS_JSON			/* a table of groups */
} TapCobolType;

typedef enum TapCobolOpKind
{
	TAP_COBOL_FIELD,
	TAP_COBOL_TABLE,
	TAP_COBOL_GROUP,
	TAP_COBOL_CASE,
	TAP_COBOL_MARK
} TapCobolOpKind;

typedef struct TapCobolTest TapCobolTest;

/* A condition (level 88) that names a value. */
typedef struct TapCobolLabel
{
	const char *name;			/* as in the copybook */
	const TapCobolTest *test;
	struct TapCobolLabel *next;
} TapCobolLabel;

typedef struct TapCobolOp
{
	TapCobolOpKind kind;
	uint32_t	end;			/* TABLE, GROUP, CASE: the first one behind */
	const TapCobolItem *item;
	uint32_t	offset;
	uint32_t	bytes;			/* of one occurrence */
	int			column;			/* from 0; -1: inside of a table of groups */
	const char *key;			/* its name in JSON, inside of tables */
	int			place;			/* of that key in its object, from 0 */
	int			nkeys;			/* TABLE of groups, GROUP: keys of its object */

	/* FIELD */
	TapCobolKind field;
	TapCobolType type;
	int			precision;		/* of numeric */
	int			scale;			/* of the digits in the record */
	bool		ebcdic;
	bool		whole_range;	/* binary: not only what the picture says */
	bool		wide;			/* more than fits int64_t */
	bool		element;		/* of an array */
	int			label;			/* column for the condition's name; -1: none */
	const char *label_key;		/* the same of the label */
	int			label_place;
	const TapCobolLabel *labels;	/* NULL: none are wanted */

	/* TABLE */
	uint32_t	least;
	uint32_t	most;
	int			mark;			/* of the item it depends on, or -1; MARK: its
								 * own */
	bool		of_groups;
	bool		silent;			/* nothing of it is wanted but its length */

	/* CASE */
	const TapCobolTest *test;
	bool		record;			/* one of level 01 */
} TapCobolOp;

typedef struct TapCobolColumn
{
	const char *name;
	const TapCobolItem *item;
	TapCobolType type;
	int			precision;		/* numeric */
	int			scale;
	bool		array;
	bool		label;			/* names of conditions of the item */
} TapCobolColumn;

typedef struct TapCobolProgramme
{
	TapCobolOp *ops;
	uint32_t	nops;
	TapCobolColumn *columns;
	int			ncolumns;
	int			nmarks;
	const TapCobolItem **marks; /* the item of each */
	uint32_t	longest;		/* bytes of the longest record */
	bool		slides;			/* a table that depends has the length it says */
} TapCobolProgramme;

/* What is to be compiled; texts as the user gave them. */
typedef struct TapCobolWish
{
	const char *record;			/* only this record of level 01, or NULL */
	int			nredefines;		/* which of the items that share a place: */
	const char *const *redefines;	/* their names, */
	const char *const *conditions;	/* and when they are it; "true": always */
	bool		slides;
	bool		whole_range;	/* TRUNC(BIN) */
	bool		labels;			/* level 88 as columns */
} TapCobolWish;

/*
 * Compile.  The programme lives as long as the copybook.  NULL: error says
 * why; line 0 means that it is about the wish, whose column is that of the
 * condition's text.
 */
extern TapCobolProgramme *tap_cobol_compile(TapCopybook *copybook, TapCodePage *page,
											const TapCobolWish *wish,
											TapCopybookError *error);

/* ---------------------------------------------------------------------
 * Running
 * ---------------------------------------------------------------------
 */

typedef enum TapCobolResult
{
	TAP_COBOL_READ,
	TAP_COBOL_OTHER,			/* no record of level 01 is this one */
	TAP_COBOL_SHORT,			/* it ends before op's item does */
	TAP_COBOL_LONG,				/* it has more bytes than are described */
	TAP_COBOL_BAD_COUNT			/* a table's length is not what it may be */
} TapCobolResult;

/* Takes what a record has in it; data of a field is op->bytes long. */
typedef struct TapCobolSink
{
	void		(*field) (void *arg, const TapCobolOp *op, const uint8_t *data);
	void		(*begin) (void *arg, const TapCobolOp *op, uint32_t count); /* TABLE, GROUP */
	void		(*element) (void *arg, const TapCobolOp *op);	/* of a TABLE of groups */
	void		(*element_end) (void *arg, const TapCobolOp *op);
	void		(*end) (void *arg, const TapCobolOp *op);
} TapCobolSink;

typedef struct TapCobolRun
{
	const TapCobolProgramme *programme;
	const TapCobolSink *sink;
	void	   *arg;
	bool		lenient;		/* fields behind the end are left out */
	int64_t    *marks;			/* nmarks entries, for the run */

	/* the record */
	const uint8_t *data;
	size_t		length;

	/* about an error, or the record that was read */
	const TapCobolOp *op;
	int64_t		at;				/* byte of the record, from 0 */
	int64_t		count;			/* TAP_COBOL_BAD_COUNT: what it says */
	bool		count_is_number;
	int64_t		described;		/* bytes that the copybook describes of this
								 * very record */
} TapCobolRun;

/*
 * Read one record.  Callbacks may leave by longjmp().  limit: bytes that it
 * may have, 0: those that are described.
 */
extern TapCobolResult tap_cobol_run(TapCobolRun *run, const uint8_t *data,
									size_t length, size_t limit);

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

typedef enum TapCobolNumber
{
	TAP_NUMBER_OK,
	TAP_NUMBER_BLANK,			/* all spaces, X'00' or X'FF' */
	TAP_NUMBER_INVALID,			/* a byte that does not belong there */
	TAP_NUMBER_RANGE			/* more digits than its picture has */
} TapCobolNumber;

/* Powers of ten, as many as fit. */
extern const int64_t tap_cobol_powers[19];

/* The digits as a number, without scale, of a field that is not wide. */
extern TapCobolNumber tap_cobol_integer(const TapCobolOp *op, const uint8_t *data,
										int64_t *value);

/*
 * The number as decimal text, with scale, of any but floating point.  text
 * has TAP_COBOL_NUMBER_BYTES.
 */
extern TapCobolNumber tap_cobol_decimal(const TapCobolOp *op, const uint8_t *data,
										char *text);

/* Floating point; false: more than a double, or for 4 bytes a float, holds. */
extern bool tap_cobol_float(const TapCobolOp *op, const uint8_t *data,
							double *value);

/* ---------------------------------------------------------------------
 * Conditions
 * ---------------------------------------------------------------------
 */

/*
 * Whether it is true: of what stands at the run's marks, or, if data is not
 * NULL, of that value.
 */
extern bool tap_cobol_test(const TapCobolTest *test, const TapCobolRun *run,
						   const uint8_t *data);

#endif							/* TAPDATA_COBOL_H */
