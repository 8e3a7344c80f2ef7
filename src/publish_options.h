/*-------------------------------------------------------------------------
 *
 * src/publish_options.h
 *	  What the options of a publish pipeline say about its tables.
 *
 * The options with plain values are asked for by their names, with
 * tap_options_text() and its like:
 *
 *	  snapshot		"initial" or "never"
 *	  ddl			"apply", "ignore" or "stop": for the sink
 *	  on_error		"stop" or "dead_letter"
 *	  batch_bytes	for tap_decode_fill()
 *	  decode_memory	TapDecoderArgs.memory_bytes
 *	  failover		for tap_slot_create_snapshot()
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PUBLISH_OPTIONS_H
#define TAPDATA_PUBLISH_OPTIONS_H

#include "postgres.h"

#include "decode.h"
#include "options.h"

/*
 * All results are in the current context.  All functions raise
 * ERRCODE_INVALID_PARAMETER_VALUE, with an example as hint, for a value of the
 * wrong shape.
 */

/* Which kinds of change are published: option "publish". */
typedef struct TapPublishKinds
{
	bool		insert;
	bool		update;
	bool		delete;
	bool		truncate;
} TapPublishKinds;

extern TapPublishKinds tap_publish_kinds(const TapOptions *options);

/* Option "where" for a table: an SQL expression, not checked; NULL: all rows. */
extern char *tap_publish_filter(const TapOptions *options, const TapTableName *name);

/* Option "columns" for a table: List of char *, not checked; NIL: all. */
extern List *tap_publish_columns(const TapOptions *options, const TapTableName *name);

/*
 * Option "origins".  The name of a pull pipeline of this database stands for
 * its replication origin, any other for the origin of that name, which need
 * not be there any more.  Needs a transaction.
 */
extern TapDecodeOrigins tap_publish_origins(const TapOptions *options);

/*
 * For the commands: raise an error if one of the functions above would for
 * one of the tables (List of TapTableName *); if a key of "where" or
 * "columns" means none of them (ERRCODE_UNDEFINED_TABLE); if an origin is not
 * there (ERRCODE_UNDEFINED_OBJECT); or if this server does not have what is
 * asked for (ERRCODE_FEATURE_NOT_SUPPORTED).  Needs a transaction.
 */
extern void tap_publish_check_options(const TapOptions *options, List *names);

/* The shapes of single options' values; TapOption.check. */
extern void tap_publish_check_kinds(const char *value);
extern void tap_publish_check_where(const char *value);
extern void tap_publish_check_columns(const char *value);
extern void tap_publish_check_origins(const char *value);

#endif							/* TAPDATA_PUBLISH_OPTIONS_H */
