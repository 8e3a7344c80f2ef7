/*-------------------------------------------------------------------------
 *
 * src/apply_moved.c
 *	  Rows that got another key while their table catches up, and of which the
 *	  source did not send all values.
 *
 * NOTES
 *	  Each chunk of a copy shows its keys as of another moment.  A row whose
 *	  key goes from j to k at moment e is in the hub under j when j's chunk was
 *	  copied before e, under k when k's chunk was copied after e, under both or
 *	  under neither.  A source that sends only what has changed (PostgreSQL does
 *	  not send long values again, MySQL may send minimal images) leaves it to
 *	  the hub to have the rest:
 *
 *	  - The hub has k.  At e no other row has it, so that it was copied after e;
 *		it has all that the row had at e, or it is a later row of this key, and
 *		then the log has a delete or a move that takes this one away first.
 *	  - The hub has only j.  That is the row, unless j was copied after e and
 *		is another row, which came to j after e.  Then the log has its coming:
 *		the row at k is "unsure", and is lost when a row comes to j.
 *	  - The hub has neither.  The row is lost.
 *
 *	  Nothing has to be done about a row that is deleted, or sent whole, before
 *	  the catch-up is over.  If one is left that is lost then, the table has to
 *	  be copied again.
 *
 *	  Keys are known by their hash of 64 bits.  A row is found by the key that
 *	  it has now (by_key), and by the key that nobody else must have had since
 *	  it was left (by_source).  Rows are freed all together.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "apply_private.h"

/* Rows that are remembered; with more of them the table is copied again. */
#define MAX_ROWS	200000

/* One row that moved. */
typedef struct MovedRow
{
	struct MovedRow *next;		/* of those that left the same key */
	bool		here;			/* false: deleted, or whole by now */
	bool		lost;
} MovedRow;

/* Entries of the hash tables. */
typedef struct MovedKey
{
	uint64		key;			/* must be first */
	MovedRow   *row;			/* by_key: the one; by_source: the first */
} MovedKey;

struct TapMoved
{
	MemoryContext parent;
	MemoryContext context;		/* of rows and tables; NULL: there are none */
	HTAB	   *by_key;
	HTAB	   *by_source;
	int			nallocated;
	int			nhere;
	int			nlost;
	bool		distrusted;
};

TapMoved *
tap_moved_create(MemoryContext context)
{
	TapMoved   *moved = MemoryContextAllocZero(context, sizeof(TapMoved));

	moved->parent = context;
	return moved;
}

static void
free_rows(TapMoved *moved)
{
	if (moved->context != NULL)
		MemoryContextDelete(moved->context);
	moved->context = NULL;
	moved->nallocated = 0;
	moved->nhere = 0;
	moved->nlost = 0;
}

void
tap_moved_forget(TapMoved *moved)
{
	free_rows(moved);
	moved->distrusted = false;
}

void
tap_moved_distrust(TapMoved *moved)
{
	free_rows(moved);
	moved->distrusted = true;
}

bool
tap_moved_any(const TapMoved *moved)
{
	return moved->distrusted || moved->nhere > 0;
}

bool
tap_moved_lost(const TapMoved *moved)
{
	return moved->distrusted || moved->nlost > 0;
}

/* ---------------------------------------------------------------------
 * Keys
 * ---------------------------------------------------------------------
 */

/* Equal values of a type have the same hash, such as 1.0 and 1.00. */
static uint64
hash_value(Form_pg_attribute att, Datum value)
{
	TypeCacheEntry *type = lookup_type_cache(att->atttypid,
											 TYPECACHE_HASH_EXTENDED_PROC_FINFO);
	Oid			collation = att->attcollation;

	if (!OidIsValid(type->hash_extended_proc))
		return datum_image_hash(value, att->attbyval, att->attlen);
	if (!OidIsValid(collation) && OidIsValid(type->typcollation))
		collation = DEFAULT_COLLATION_OID;
	return DatumGetUInt64(FunctionCall2Coll(&type->hash_extended_proc_finfo, collation,
											value, Int64GetDatum(0)));
}

/* The key of an image; what it lacks is in the other one. */
static uint64
hash_key(const TapSourceTable *source, const TapRowImage *image,
		 const TapRowImage *other)
{
	uint64		hash = 0;

	for (int i = 0; i < source->nkeys; i++)
	{
		AttrNumber	column = source->keys[i];
		TupleTableSlot *slot = tap_image_has(image, column) ? image->slot : other->slot;

		if (!slot->tts_isnull[column - 1])
			hash = hash_combine64(hash,
								  hash_value(TupleDescAttr(source->descriptor, column - 1),
											 slot->tts_values[column - 1]));
	}
	return hash;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

static HTAB *
make_table(MemoryContext context, const char *name)
{
	HASHCTL		control = {.keysize = sizeof(uint64),.entrysize = sizeof(MovedKey),.hcxt = context};

	return hash_create(name, 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static MovedRow *
make_row(TapMoved *moved)
{
	MovedRow   *row;

	if (moved->context == NULL)
	{
		moved->context = AllocSetContextCreate(moved->parent, "tapdata moved rows",
											   ALLOCSET_DEFAULT_SIZES);
		moved->by_key = make_table(moved->context, "tapdata moved rows by key");
		moved->by_source = make_table(moved->context, "tapdata moved rows by source");
	}
	row = MemoryContextAllocZero(moved->context, sizeof(MovedRow));
	row->here = true;
	moved->nallocated++;
	moved->nhere++;
	return row;
}

static void
set_lost(TapMoved *moved, MovedRow *row)
{
	if (row->here && !row->lost)
	{
		row->lost = true;
		moved->nlost++;
	}
}

static void
free_row(TapMoved *moved, MovedRow *row)
{
	if (row == NULL)
		return;
	row->here = false;
	moved->nhere--;
	if (row->lost)
		moved->nlost--;
	if (moved->nhere == 0)
		free_rows(moved);
}

/* Take the row with this key out; NULL: none is remembered. */
static MovedRow *
take_row(TapMoved *moved, uint64 key)
{
	MovedKey   *entry = moved->nhere == 0 ? NULL :
	hash_search(moved->by_key, &key, HASH_FIND, NULL);
	MovedRow   *row;

	if (entry == NULL)
		return NULL;
	row = entry->row;
	hash_search(moved->by_key, &key, HASH_REMOVE, NULL);
	return row;
}

/* Another row of this key would be one that was deleted. */
static void
put_row(TapMoved *moved, uint64 key, MovedRow *row)
{
	MovedKey   *entry;
	bool		found;

	entry = hash_search(moved->by_key, &key, HASH_ENTER, &found);
	if (found)
		free_row(moved, entry->row);
	entry->row = row;
}

/* The row is what the hub had under this key, if no other row comes to it. */
static void
add_source(TapMoved *moved, uint64 key, MovedRow *row)
{
	MovedKey   *entry;
	bool		found;

	entry = hash_search(moved->by_source, &key, HASH_ENTER, &found);
	row->next = found ? entry->row : NULL;
	entry->row = row;
}

/* A row comes to this key. */
static void
arrive(TapMoved *moved, uint64 key)
{
	MovedKey   *entry = moved->nhere == 0 ? NULL :
	hash_search(moved->by_source, &key, HASH_FIND, NULL);

	if (entry == NULL)
		return;
	for (MovedRow *row = entry->row; row != NULL; row = row->next)
		set_lost(moved, row);
	hash_search(moved->by_source, &key, HASH_REMOVE, NULL);
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

static void
note_move(TapMoved *moved, uint64 old_key, uint64 new_key, TapApplyFound found)
{
	MovedRow   *row;

	arrive(moved, new_key);
	row = take_row(moved, old_key);
	if (found == TAP_APPLY_FOUND_ALL)
	{
		free_row(moved, row);
		return;
	}
	if (row == NULL)
	{
		row = make_row(moved);
		if (found == TAP_APPLY_FOUND_OLD_KEY)
			add_source(moved, old_key, row);
	}
	if (found == TAP_APPLY_FOUND_NOTHING)
		set_lost(moved, row);
	put_row(moved, new_key, row);
}

void
tap_moved_note(TapMoved *moved, const TapTarget *target, const TapEvent *event,
			   TapApplyFound found)
{
	const TapSourceTable *source = target->source;
	const TapRowImage *old_image = tap_apply_key_image(target, event);
	uint64		key;

	if (moved->distrusted || (moved->nhere == 0 && found == TAP_APPLY_FOUND_ALL))
		return;
	key = hash_key(source, old_image, &event->new_row);
	switch (event->change)
	{
		case TAP_CHANGE_INSERT:
			arrive(moved, key);
			if (found == TAP_APPLY_FOUND_NOTHING)
			{
				MovedRow   *row = make_row(moved);

				set_lost(moved, row);
				put_row(moved, key, row);
			}
			break;
		case TAP_CHANGE_UPDATE:
			if (tap_apply_key_changed(target, event))
				note_move(moved, key, hash_key(source, &event->new_row, old_image), found);
			else if (tap_image_complete(target, &event->new_row))
				free_row(moved, take_row(moved, key));
			break;
		case TAP_CHANGE_DELETE:
			free_row(moved, take_row(moved, key));
			break;
		case TAP_CHANGE_TRUNCATE:
		case TAP_CHANGE_READ:
			break;
	}
	if (moved->nallocated > MAX_ROWS)
		tap_moved_distrust(moved);
}
