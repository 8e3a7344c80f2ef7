/*-------------------------------------------------------------------------
 *
 * src/hub_describe.h
 *	  Describes a hub table to a sink.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_HUB_DESCRIBE_H
#define TAPDATA_HUB_DESCRIBE_H

#include "postgres.h"

#include "connector.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"

/*
 * What a sink is told of a hub table, and how its rows become rows of that
 * description.
 */
typedef struct TapHubDescription
{
	TapSourceTable *table;		/* its descriptor has the published columns
								 * only: no dropped ones */
	int			nphysical;		/* columns of the relation, dropped included */
	AttrNumber *physical;		/* [table->descriptor->natts]: their columns
								 * in the relation, from 1 */
	bool		identity;		/* physical columns are the published ones */
} TapHubDescription;

/*
 * Describe an open relation, in the current context.  columns is a List of
 * char *, NIL: all.  name is what it is published as, that is, the root's of
 * a partition; NULL: its own.  The key is the primary key, else the index
 * of the replica identity; only if it is part of the published columns.
 * definition lists the columns' numbers in the relation, so that a sink can
 * tell a column that was renamed from one that was dropped and another added.
 * column_types are PostgreSQL's own (format_type); column_defaults what rows
 * that were there before the column have.  Needs a transaction; works under a
 * historic snapshot too.  Raises ERRCODE_UNDEFINED_COLUMN for a column that
 * is not there.
 */
extern TapHubDescription *tap_hub_describe(Relation relation, List *columns,
										   const TapTableName *name);

/*
 * Whether the relation's WAL tells old rows well enough; else *reason and
 * *hint (what to run) are set, in the current context.  keys only: an update
 * or delete tells the key columns.  Needs a transaction.
 */
typedef enum TapHubIdentity
{
	TAP_HUB_IDENTITY_NONE,		/* updates and deletes tell nothing */
	TAP_HUB_IDENTITY_KEY,		/* the key's columns */
	TAP_HUB_IDENTITY_FULL		/* the whole old row */
} TapHubIdentity;

extern TapHubIdentity tap_hub_identity(Relation relation);

/*
 * The columns (from 1) that WAL tells of an old row, as a Bitmapset of
 * attnum - FirstLowInvalidHeapAttributeNumber; NULL: all (FULL) or none.
 */
extern Bitmapset *tap_hub_identity_columns(Relation relation);

#endif							/* TAPDATA_HUB_DESCRIBE_H */
