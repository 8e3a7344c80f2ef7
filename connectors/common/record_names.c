/*-------------------------------------------------------------------------
 *
 * connectors/common/record_names.c
 *	  From the names of fields to numbers, fast.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_names.h"

#include "common/hashfn.h"

TapRecordNames *
tap_record_names_make(void)
{
	TapRecordNames *names = palloc0(sizeof(TapRecordNames));

	names->context = CurrentMemoryContext;
	names->allocated = 16;
	names->names = palloc(sizeof(TapRecordName) * names->allocated);
	names->nbuckets = 64;
	names->buckets = palloc0(sizeof(int) * names->nbuckets);
	return names;
}

static uint32
hash_name(const char *text, Size length)
{
	return hash_bytes((const unsigned char *) text, (int) length);
}

/* The bucket of the name, or the empty one where it belongs. */
static int *
find_bucket(const TapRecordNames *names, const char *text, Size length,
			uint32 hash)
{
	int			mask = names->nbuckets - 1;

	for (int i = hash & mask;; i = (i + 1) & mask)
	{
		const TapRecordName *name;

		if (names->buckets[i] == 0)
			return &names->buckets[i];
		name = &names->names[names->buckets[i] - 1];
		if (name->hash == hash && name->length == length && memcmp(name->text, text, length) == 0)
			return &names->buckets[i];
	}
}

int
tap_record_names_find(const TapRecordNames *names, const char *text,
					  Size length)
{
	return *find_bucket(names, text, length, hash_name(text, length)) - 1;
}

/* Twice the room, and never more than half of the buckets used. */
static void
grow(TapRecordNames *names)
{
	names->allocated *= 2;
	names->names = repalloc(names->names, sizeof(TapRecordName) * names->allocated);
	names->nbuckets *= 2;
	pfree(names->buckets);
	names->buckets = MemoryContextAllocZero(names->context, sizeof(int) * names->nbuckets);
	for (int i = 0; i < names->nnames; i++)
	{
		const TapRecordName *name = &names->names[i];

		*find_bucket(names, name->text, name->length, name->hash) = i + 1;
	}
}

int
tap_record_names_add(TapRecordNames *names, const char *text, Size length)
{
	uint32		hash = hash_name(text, length);
	int			number = *find_bucket(names, text, length, hash) - 1;
	char	   *copy;

	if (number >= 0)
		return number;
	if (names->nnames >= names->allocated)
		grow(names);
	copy = MemoryContextAlloc(names->context, length + 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	number = names->nnames++;
	names->names[number].text = copy;
	names->names[number].length = (int) length;
	names->names[number].hash = hash;
	*find_bucket(names, copy, length, hash) = number + 1;
	return number;
}
