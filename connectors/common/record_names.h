/*-------------------------------------------------------------------------
 *
 * connectors/common/record_names.h
 *	  From the names of fields to numbers, fast.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_RECORD_NAMES_H
#define TAPDATA_RECORD_NAMES_H

#include "postgres.h"

typedef struct TapRecordName
{
	const char *text;			/* zero-terminated too; the table's own copy */
	int			length;
	uint32		hash;
} TapRecordName;

/* Names in the order in which they were added, from 0. */
typedef struct TapRecordNames
{
	int			nnames;
	int			allocated;
	TapRecordName *names;
	int			nbuckets;		/* a power of two */
	int		   *buckets;		/* numbers of names plus 1; 0: empty */
	MemoryContext context;
} TapRecordNames;

/* In the current context. */
extern TapRecordNames *tap_record_names_make(void);

/* The number of a name; -1: it is not there. */
extern int	tap_record_names_find(const TapRecordNames *names,
								  const char *text, Size length);

/* The number of a name, which is added if it is not there. */
extern int	tap_record_names_add(TapRecordNames *names, const char *text,
								 Size length);

/*
 * The same as find(), for names that mostly come in the same order: first a
 * look at the number that is expected.
 */
static inline int
tap_record_names_expect(const TapRecordNames *names, int expected,
						const char *text, Size length)
{
	if (expected < names->nnames && names->names[expected].length == length &&
		memcmp(names->names[expected].text, text, length) == 0)
		return expected;
	return tap_record_names_find(names, text, length);
}

#endif							/* TAPDATA_RECORD_NAMES_H */
