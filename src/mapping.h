/*-------------------------------------------------------------------------
 *
 * src/mapping.h
 *	  From a source's row to a hub table's row, and table patterns.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_MAPPING_H
#define TAPDATA_MAPPING_H

#include "postgres.h"

#include "connector.h"
#include "utils/relcache.h"

/*
 * How the columns of a source table meet those of its hub table: by name.
 * Hub columns the source does not have keep their value on update and take
 * their default on insert.  A source column that the hub lacks, or whose type
 * has no assignment cast to the hub column's, is an error that names it,
 * unless the hub column is generated.
 */
typedef struct TapMapping
{
	int			nsource;		/* columns of the source's descriptor */
	int			nhub;			/* of the hub's, dropped ones included */
	AttrNumber *hub_of_source;	/* [nsource]; 0: not stored, for it is
								 * generated in the hub, or left out */
	AttrNumber *source_of_hub;	/* [nhub]; 0: not from the source */
	bool		identity;		/* same columns, order and types: a source row
								 * is a hub row as it stands */
	struct TapMappingCast **casts;	/* [nsource]; NULL: none needed */
	int			nkeys;			/* of the source's key */
	AttrNumber *keys;			/* hub columns of the key */
} TapMapping;

/*
 * In the current context.  ignore_missing: source columns that the hub table
 * lacks are left out.
 */
extern TapMapping *tap_mapping_create(const TapSourceTable *source, Relation hub,
									  bool ignore_missing);

/* One source value as the hub column's type, in the current context. */
extern Datum tap_mapping_value(const TapMapping *mapping, AttrNumber source_column,
							   Datum value, bool *isnull);

/*
 * Patterns of psql's \d: "*" and "?", a double-quoted part taken as it is,
 * "schema.table" or "table" (any schema), a leading "!" excludes.  Case is
 * significant, as it is in most sources.
 */
typedef struct TapPatterns TapPatterns;

/* In the current context; raises an error for a malformed pattern. */
extern TapPatterns *tap_patterns_compile(List *patterns);

extern bool tap_patterns_match(const TapPatterns *patterns, const TapTableName *name);

/* The first pattern without "!" that matches none of the names; or NULL. */
extern const char *tap_patterns_unmatched(const TapPatterns *patterns, List *names);

/* "schema.name", quoted where needed to be a pattern again. */
extern char *tap_table_name_text(const TapTableName *name);

#endif							/* TAPDATA_MAPPING_H */
