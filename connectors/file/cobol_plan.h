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
#include "lib/stringinfo.h"
#include "record_columns.h"

typedef enum TapCobolTrim
{
	TAP_COBOL_TRIM_RIGHT,		/* of JUSTIFIED items: left */
	TAP_COBOL_TRIM_BOTH,
	TAP_COBOL_TRIM_NONE
} TapCobolTrim;

/* The options, with the copybook read from its file. */
typedef struct TapCobolSettings
{
	const char **values;		/* in the order of tap_cobol_option_names; NULL:
								 * not given */
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

struct TapFormatReader
{
	const TapFormatPlan *plan;
	TapFrame	frame;
	TapCobolRun run;
	uint64		record;			/* number of the record, from 1 */
	uint64		offset;			/* where it begins in the file */
	uint64		next_offset;
	uint8	   *padded;			/* a line, filled up to the longest record */
	TupleTableSlot *slot;
	TapCobolArray array;
	StringInfoData json;		/* a table of groups in the making */
	int			depth;			/* in it; 0: none */
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

/* Puts a row's values into reader->slot, and what is within tables. */
extern const TapCobolSink tap_cobol_row_sink;

/* Raise an error of data about op's item of the record that is read. */
extern void tap_cobol_report(const TapFormatReader *reader, const TapCobolOp *op,
							 int sqlstate, const char *why) pg_attribute_noreturn();

/* The value of a field; what has none is *isnull.  Raises errors of data. */
extern Datum tap_cobol_value(TapFormatReader *reader, const TapCobolOp *op,
							 const uint8 *data, bool *isnull);

/* The same as JSON text at the end of reader->json. */
extern void tap_cobol_append_json(TapFormatReader *reader, const TapCobolOp *op,
								  const uint8 *data);

#endif							/* TAPDATA_COBOL_PLAN_H */
