/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_plan.h
 *	  What the files of the mainframe formats share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COBOL_PLAN_H
#define TAPDATA_COBOL_PLAN_H

#include "cobol_format.h"

#include "cobol.h"
#include "cobol_frame.h"
#include "record_columns.h"
#include "utils/jsonb.h"

typedef enum TapCobolTrim
{
	TAP_COBOL_TRIM_RIGHT,		/* of JUSTIFIED items: left */
	TAP_COBOL_TRIM_BOTH,
	TAP_COBOL_TRIM_NONE
} TapCobolTrim;

/* The options, with the copybook read from its file. */
typedef struct TapCobolSettings
{
	const char **values;		/* in the order of tap_cobol_option_names;
								 * NULL: not given */
	TapCobolLayout layout;
	TapCobolWish wish;
	TapCobolTrim trim;
	bool		lenient;
	bool		counts_itself;
	bool		empty_is_null;
	bool		comments;		/* level 88 as comments */
	uint32		record_length;	/* 0: by the copybook */
	const char *copybook;		/* its text */
	const char *code_page;
} TapCobolSettings;

struct TapFormatPlan
{
	TapFrameKind kind;
	TapCobolSettings settings;
	TapCopybook *copybook;		/* malloc'd; freed with the context */
	TapCodePage *page;
	TapCobolProgramme *programme;
	TapRecordColumns *columns;
	MemoryContextCallback release;
};

/* An array in the making. */
typedef struct TapCobolArray
{
	Datum	   *values;
	bool	   *nulls;
	int			count;
	int			allocated;
} TapCobolArray;

/* Tables and groups within each other: levels are 01 to 49. */
#define TAP_COBOL_MOST_DEPTH	128

/* An array or object of JSON in the making. */
typedef struct TapCobolLevel
{
	bool		array;
	int			count;			/* elements so far; of an object: keys it can
								 * have */
	JsonbValue *elements;
	JsonbPair  *pairs;			/* by TapCobolOp.place; without a name: not
								 * there */
} TapCobolLevel;

struct TapFormatReader
{
	const TapFormatPlan *plan;
	TapFrame	frame;
	TapCobolRun run;
	uint64		record;			/* number of the record, from 1 */
	uint64		offset;			/* where it begins in the file */
	uint64		records;		/* that were taken */
	uint64		bytes;			/* of the file that were taken */
	uint8	   *padded;			/* a line, filled up to the longest record */
	TupleTableSlot *slot;
	TapCobolArray array;
	TapCobolLevel levels[TAP_COBOL_MOST_DEPTH];
	int			depth;			/* in a table of groups; 0: in none */
	MemoryContextCallback release;
};

/*
 * Take the options, or, if definition is not NULL, what tap_cobol_define() made
 * of them; in the current context.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE.
 */
extern void tap_cobol_settings_take(TapCobolSettings *settings, TapFormatOption option,
									void *arg, const char *definition);

/* Text that tap_cobol_settings_take() makes the same settings of. */
extern char *tap_cobol_define(const TapCobolSettings *settings);

/* Puts a row's values into reader->slot. */
extern const TapCobolSink tap_cobol_row_sink;

/*
 * The same within a table of groups: it ends with the value, NULL before.  All
 * in the current context.
 */
extern void tap_cobol_json_begin(TapFormatReader *reader, const TapCobolOp *op,
								 uint32 count);
extern void tap_cobol_json_element(TapFormatReader *reader, const TapCobolOp *op);
extern void tap_cobol_json_element_end(TapFormatReader *reader);
extern void tap_cobol_json_field(TapFormatReader *reader, const TapCobolOp *op,
								 const uint8 *data);
extern Jsonb *tap_cobol_json_end(TapFormatReader *reader, const TapCobolOp *op);

/* The name of the condition (level 88) that a value fulfils, or NULL. */
extern const char *tap_cobol_label(const TapCobolOp *op, const uint8 *data);

/* Raise an error of data about op's item of the record that is read. */
extern void tap_cobol_report(const TapFormatReader *reader, const TapCobolOp *op,
							 int sqlstate, const char *why);

/* The value of a field; what has none is *isnull.  Raises errors of data. */
extern Datum tap_cobol_value(TapFormatReader *reader, const TapCobolOp *op,
							 const uint8 *data, bool *isnull);

/* The same as a value of JSON. */
extern void tap_cobol_json_value(TapFormatReader *reader, const TapCobolOp *op,
								 const uint8 *data, JsonbValue *value);

#endif							/* TAPDATA_COBOL_PLAN_H */
