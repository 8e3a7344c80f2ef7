/*-------------------------------------------------------------------------
 *
 * src/commands.h
 *	  What the SQL functions have in common.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COMMANDS_H
#define TAPDATA_COMMANDS_H

#include "postgres.h"

#include "catalog.h"
#include "connector_loader.h"
#include "fmgr.h"
#include "utils/jsonb.h"

/*
 * Arguments by their number, in the current context.  The first form raises
 * ERRCODE_NULL_VALUE_NOT_ALLOWED for a null, which it calls by name; the
 * *_or_null forms give NULL.
 */
extern char *tap_argument_name(FunctionCallInfo fcinfo, int number, const char *name);
extern char *tap_argument_name_or_null(FunctionCallInfo fcinfo, int number);
extern char *tap_argument_text(FunctionCallInfo fcinfo, int number, const char *name);
extern char *tap_argument_text_or_null(FunctionCallInfo fcinfo, int number);
extern Jsonb *tap_argument_jsonb(FunctionCallInfo fcinfo, int number, const char *name);
extern Jsonb *tap_argument_jsonb_or_null(FunctionCallInfo fcinfo, int number);

/* A text[] as List of char *; raises an error when it is empty too. */
extern List *tap_argument_texts(FunctionCallInfo fcinfo, int number, const char *name);

/*
 * Raise ERRCODE_FEATURE_NOT_SUPPORTED when one cannot pull from it, or publish
 * to it.
 */
extern void tap_check_is_source(const TapConnectionRow *connection);
extern void tap_check_is_sink(const TapConnectionRow *connection);

/* Raise ERRCODE_DUPLICATE_OBJECT when there is a pipeline of that name. */
extern void tap_check_name_is_free(const char *name);

/* Raise an error when workers cannot run as the owner of the pipeline. */
extern void tap_check_owner_can_run(const TapPipelineRow *row);

/*
 * Raise the first required check that failed as an error; warn of all others
 * that failed.  checks is a List of TapCheck *.
 */
extern void tap_check_source(const TapConnectionRow *connection, List *checks);
extern void tap_warn_of_source(const TapConnectionRow *connection, List *checks);

/*
 * Raise ERRCODE_UNDEFINED_TABLE when one of the patterns (List of char *)
 * matches none of the names (List of TapTableName *).
 */
extern void tap_check_patterns(List *patterns, List *names);

/*
 * add_tables() of both directions: patterns (List of char *) are the new ones,
 * which the row has already.  Raise an error when they match nothing or the
 * tables cannot be had; write the row and those of its new tables.
 */
extern void tap_commands_add_pulled(TapPipelineRow *row, List *patterns);
extern void tap_commands_add_published(TapPipelineRow *row, List *patterns);

/*
 * Remove what a pull pipeline has made at its source; a source that cannot be
 * reached is warned of, with what is left there.
 */
extern void tap_commands_forget_source(const TapPipelineRow *row);

/*
 * Raise an error when what changes of a pull pipeline's options say of the
 * source is not so there.  row has the new options already.
 */
extern void tap_commands_check_pulled(const TapPipelineRow *row,
									  const TapConnectionRow *connection, Jsonb *changes);

/*
 * Raise an error when the options of a publish pipeline do not fit the
 * connector, this server or the tables that it has.
 */
extern void tap_commands_check_published(const TapPipelineRow *row,
										 const TapConnectionRow *connection);

#endif							/* TAPDATA_COMMANDS_H */
