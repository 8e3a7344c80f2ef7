/*-------------------------------------------------------------------------
 *
 * src/hubtable.h
 *	  Creates and alters hub tables.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_HUBTABLE_H
#define TAPDATA_HUBTABLE_H

#include "postgres.h"

#include "connector.h"

/*
 * All functions need a transaction and act as the current user, by SQL whose
 * identifiers are quoted.
 */

/* Create the schema when it is missing. */
extern void tap_hubtable_create_schema(const char *schema);

/*
 * The name that a hub table (or column) has for a name of the source: its
 * beginning, where it is too long for PostgreSQL.  In the current context.
 */
extern char *tap_hubtable_fit_name(const char *name);

/*
 * Create the table for a source table, with comments, without its key; raises
 * ERRCODE_DUPLICATE_TABLE with a hint when a relation of the name exists.
 */
extern Oid	tap_hubtable_create(const TapSourceTable *source, const char *schema,
								const char *source_name);

/*
 * Add the primary key.  Does nothing when it is there already.  Uses CREATE
 * UNIQUE INDEX and then the constraint, so that readers are not kept out
 * while it is built.
 */
extern void tap_hubtable_create_key(Oid relid, const TapSourceTable *source);

/*
 * Add the secondary indexes of the source (option "indexes"); those that
 * exist are left alone.
 */
extern void tap_hubtable_create_indexes(Oid relid, const TapSourceTable *source);

/*
 * Make the hub table follow from one format of its source table to the next.
 * Returns what was done, a List of char *, for events.  drop_columns false
 * keeps columns that vanished, made nullable.
 */
extern List *tap_hubtable_alter(Oid relid, const TapSourceTable *before,
								const TapSourceTable *after, List *renames,
								bool drop_columns);

extern void tap_hubtable_rename(Oid relid, const char *name);

/* Whether foreign keys of other tables refer to it. */
extern bool tap_hubtable_is_referenced(Oid relid);

/*
 * Empty the table: by TRUNCATE, or by DELETE where that cannot be had.  Under
 * session_replication_role = replica foreign keys are not in the way.
 */
extern void tap_hubtable_truncate(Oid relid);
extern void tap_hubtable_drop(Oid relid);

#endif							/* TAPDATA_HUBTABLE_H */
