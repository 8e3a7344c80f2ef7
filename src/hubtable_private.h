/*-------------------------------------------------------------------------
 *
 * src/hubtable_private.h
 *	  What creating, altering and finding rows of hub tables share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_HUBTABLE_PRIVATE_H
#define TAPDATA_HUBTABLE_PRIVATE_H

#include "postgres.h"

#include "catalog/pg_attribute.h"
#include "utils/relcache.h"

#include "hubtable.h"

/* Execute one statement; its effects are visible afterwards. */
extern void tap_hubtable_run(const char *sql);

/* The qualified and quoted name; an error when the table is gone. */
extern char *tap_hubtable_name(Oid relid);

/* Type of a column as CREATE TABLE wants it, with a collation if need be. */
extern char *tap_hubtable_column_type(Form_pg_attribute att);

/* Name of the primary key's constraint; NULL when there is none. */
extern char *tap_hubtable_primary_key(Oid relid);

/* The index on a hash of the row that a table without a key has, if any. */
extern Oid	tap_hubtable_row_hash(Oid relid);

/* Whether an index is such a one. */
extern bool tap_hubtable_index_hashes_row(Relation index);

#endif							/* TAPDATA_HUBTABLE_PRIVATE_H */
