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
 * its replication origin, any other must be that of a replication origin
 * (ERRCODE_UNDEFINED_OBJECT).  Needs a transaction.
 */
extern TapDecodeOrigins tap_publish_origins(const TapOptions *options);

/*
 * Whether any of the functions above would raise an error; and whether each
 * key of "where" and "columns" means one of the tables (List of TapTableName
 * *).  Also refuses what this server does not have.  For the commands; needs
 * a transaction.
 */
extern void tap_publish_check_options(const TapOptions *options, List *names);

/* The shapes of single options' values; TapOption.check. */
extern void tap_publish_check_kinds(const char *value);
extern void tap_publish_check_where(const char *value);
extern void tap_publish_check_columns(const char *value);
extern void tap_publish_check_origins(const char *value);

#endif							/* TAPDATA_PUBLISH_OPTIONS_H */
