/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook.h
 *	  COBOL copybooks: from the text to items with their places in a record.
 *
 * NOTES
 *	  Plain C with libc only, so that it can be fuzzed and tested without a
 *	  server.  Every text is taken for hostile: the limits below bound what is
 *	  made of it.
 *
 *	  A copybook is a forest: its roots are the records (level 01, or what
 *	  stands before any 01 as a record without a name).  Offsets are those of
 *	  the first occurrence from the beginning of the record, with all tables
 *	  as long as they can be; what OCCURS DEPENDING ON moves is moved when a
 *	  record is read (see cobol.h).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COPYBOOK_H
#define TAPDATA_COPYBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Limits of what a copybook may ask for. */
#define TAP_COPYBOOK_MOST_BYTES		(4 * 1024 * 1024)	/* of its text */
#define TAP_COPYBOOK_MOST_ITEMS		20000
#define TAP_COPYBOOK_MOST_DIGITS	38
#define TAP_COPYBOOK_MOST_RECORD	(16 * 1024 * 1024)	/* bytes */
#define TAP_COPYBOOK_MOST_FIELDS	1000000 /* of a record, in tables too */
#define TAP_COPYBOOK_MOST_PICTURE	255 /* characters as they are written */

typedef enum TapCobolUsage
{
	TAP_USAGE_NONE = 0,			/* not said: DISPLAY */
	TAP_USAGE_DISPLAY,
	TAP_USAGE_NATIONAL,			/* UTF-16 */
	TAP_USAGE_DBCS,				/* DISPLAY-1 */
	TAP_USAGE_BINARY,			/* COMP, COMP-4, BINARY */
	TAP_USAGE_NATIVE,			/* COMP-5 */
	TAP_USAGE_PACKED,			/* COMP-3, PACKED-DECIMAL */
	TAP_USAGE_FLOAT,			/* COMP-1 */
	TAP_USAGE_DOUBLE,			/* COMP-2 */
	TAP_USAGE_INDEX,
	TAP_USAGE_POINTER
} TapCobolUsage;

typedef enum TapCobolCategory
{
	TAP_CATEGORY_NONE = 0,		/* no picture */
	TAP_CATEGORY_TEXT,			/* X, A and both */
	TAP_CATEGORY_EDITED,		/* with editing characters: text too */
	TAP_CATEGORY_NUMERIC,
	TAP_CATEGORY_NATIONAL,		/* N */
	TAP_CATEGORY_DBCS			/* G */
} TapCobolCategory;

/* A value of a condition (level 88), or a literal that is compared with. */
typedef enum TapCobolLiteralKind
{
	TAP_LITERAL_TEXT,
	TAP_LITERAL_NUMBER,
	TAP_LITERAL_HEX,			/* bytes as they stand in the record */
	TAP_LITERAL_SPACES,
	TAP_LITERAL_ZEROS,
	TAP_LITERAL_LOW,			/* LOW-VALUES */
	TAP_LITERAL_HIGH			/* HIGH-VALUES */
} TapCobolLiteralKind;

typedef struct TapCobolLiteral
{
	TapCobolLiteralKind kind;
	const char *text;			/* unquoted; a number as it is written; bytes
								 * of a hexadecimal literal */
	size_t		length;
	bool		all;			/* ALL "text" */
} TapCobolLiteral;

typedef struct TapCobolRange
{
	TapCobolLiteral low;
	TapCobolLiteral high;		/* the same if there is no THRU */
	bool		through;
	struct TapCobolRange *next;
} TapCobolRange;

/* Level 88. */
typedef struct TapCobolCondition
{
	const char *name;			/* upper case */
	TapCobolRange *ranges;
	struct TapCobolCondition *next;
} TapCobolCondition;

typedef struct TapCobolItem TapCobolItem;

struct TapCobolItem
{
	int			level;
	const char *name;			/* upper case; NULL: FILLER */
	int			number;			/* in the order of the text, from 1 */
	int			filler;			/* the number of a FILLER, from 1 */
	int			line;			/* where it stands in the text, from 1 */
	int			column;

	TapCobolItem *parent;
	TapCobolItem *first;		/* child; NULL: elementary */
	TapCobolItem *last;
	TapCobolItem *next;			/* sibling */
	TapCobolItem *redefines;	/* the first one at that place */
	bool		redefined;		/* others share its place */

	const char *picture;		/* as written; NULL: none */
	TapCobolCategory category;
	int			digits;			/* numeric: without those of P */
	int			scale;			/* digits behind the point; negative: zeros
								 * before it, as in 99PP */
	bool		is_signed;
	uint32_t	characters;		/* others: how many */
	TapCobolUsage usage;
	bool		sign_given;
	bool		sign_leading;
	bool		sign_separate;
	bool		synchronized;
	bool		justified;
	bool		blank_when_zero;
	TapCobolCondition *conditions;

	uint32_t	occurs_min;
	uint32_t	occurs_max;		/* 0: no OCCURS */
	TapCobolItem *depending;	/* OCCURS DEPENDING ON */

	uint32_t	offset;
	uint32_t	bytes;			/* of one occurrence, slack behind it too */
	uint32_t	alignment;		/* the largest one inside */
	bool		little_endian;	/* binary or floating point */
	bool		hex_float;		/* of System/360 */
};

/* How a compiler lays records out. */
typedef enum TapCobolBinarySize
{
	TAP_BINARY_2_4_8,			/* IBM */
	TAP_BINARY_1_2_4_8,			/* GnuCOBOL */
	TAP_BINARY_1_TO_8			/* Micro Focus */
} TapCobolBinarySize;

typedef enum TapCopybookForm
{
	TAP_COPYBOOK_AUTO,			/* by what the lines look like */
	TAP_COPYBOOK_FIXED,			/* columns 8 to 72 */
	TAP_COPYBOOK_FREE
} TapCopybookForm;

typedef struct TapCobolLayout
{
	TapCopybookForm form;
	TapCobolBinarySize binary_size;
	bool		align_8;		/* SYNCHRONIZED binary of 8 bytes at 8, not 4 */
	bool		little_endian;	/* COMP-5, INDEX and IEEE floating point */
	bool		hex_float;
} TapCobolLayout;

/* What is wrong with a text. */
typedef struct TapCopybookError
{
	int			line;			/* from 1 */
	int			column;
	char		message[200];	/* no full stop */
	char		hint[200];		/* or empty */
	bool		no_memory;
} TapCopybookError;

typedef struct TapCopybook TapCopybook;

/*
 * Parse a text and lay it out.  NULL: error says why.  Freed by
 * tap_copybook_free().  The text is not needed afterwards.
 */
extern TapCopybook *tap_copybook_parse(const char *text, size_t length,
									   const TapCobolLayout *layout,
									   TapCopybookError *error);

extern void tap_copybook_free(TapCopybook *copybook);

/* The records, by their next; never NULL. */
extern TapCobolItem *tap_copybook_records(const TapCopybook *copybook);

/* Memory that lives as long as the copybook, zeroed; NULL: there is none. */
extern void *tap_copybook_allocate(TapCopybook *copybook, size_t size);

/*
 * The item of that name, FILLER-n for a filler, qualified by those of names
 * that follow ("A OF B OF C" is {"A", "B", "C"}).  *count is set to how many
 * there are; the first one is returned, NULL: none.
 */
extern TapCobolItem *tap_copybook_find(const TapCopybook *copybook,
									   const char *const *names, int nnames,
									   int *count);

/* The condition (level 88) of that name, and the item it belongs to. */
extern const TapCobolCondition *tap_copybook_condition(const TapCopybook *copybook,
													   const char *name,
													   TapCobolItem **item);

/* The name of an item for messages: FILLER-n where it has none. */
extern const char *tap_copybook_name(const TapCobolItem *item,
									 char *buffer, size_t size);

/* Bytes of an item with all of its occurrences. */
extern uint32_t tap_copybook_total(const TapCobolItem *item);

#endif							/* TAPDATA_COPYBOOK_H */
