/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_keys.c
 *	  Where the last change of each key is in the batch that is being filled.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#define MIN_SLOTS		64

/* of TapPgKeySlot.run */
#define SLOT_EMPTY		(-1)

void
tap_pg_keys_clear(TapPgTable *table)
{
	if (table->nslots > MIN_SLOTS && table->nused * 8 < table->nslots)
	{
		pfree(table->keys);
		table->keys = NULL;
		table->nslots = 0;
	}
	else if (table->nused > 0)
	{
		for (uint32 i = 0; i < table->nslots; i++)
			table->keys[i].run = SLOT_EMPTY;
	}
	table->nused = 0;
	table->indexed = false;
}

static bool
same_key(const TapPgBatch *batch, const TapPgKeySlot *slot, const char *key, uint32 key_bytes)
{
	const TapPgRun *run = batch->runs[slot->run];
	const TapPgRow *row = &run->rows[slot->row];

	return row->key_bytes == key_bytes &&
		memcmp(run->data.data + row->offset, key, key_bytes) == 0;
}

static void
grow_keys(TapPgTable *table, MemoryContext context)
{
	TapPgKeySlot *old = table->keys;
	uint32		nold = table->nslots;

	table->nslots = Max(MIN_SLOTS, nold * 2);
	table->keys = MemoryContextAllocHuge(context, sizeof(TapPgKeySlot) * table->nslots);
	for (uint32 i = 0; i < table->nslots; i++)
		table->keys[i].run = SLOT_EMPTY;
	for (uint32 i = 0; i < nold; i++)
	{
		uint32		at = old[i].hash & (table->nslots - 1);

		if (old[i].run == SLOT_EMPTY)
			continue;
		while (table->keys[at].run != SLOT_EMPTY)
			at = (at + 1) & (table->nslots - 1);
		table->keys[at] = old[i];
	}
	if (old != NULL)
		pfree(old);
}

TapPgKeySlot *
tap_pg_keys_look_up(TapSession *session, TapPgTable *table, const char *key, uint32 key_bytes,
					bool *found)
{
	uint32		hash = hash_bytes((const unsigned char *) key, key_bytes);
	uint32		at;

	if ((table->nused + 1) * 4 > table->nslots * 3)
		grow_keys(table, session->args.context);
	for (at = hash & (table->nslots - 1); table->keys[at].run != SLOT_EMPTY;
		 at = (at + 1) & (table->nslots - 1))
	{
		if (table->keys[at].hash == hash &&
			same_key(session->sink->batch, &table->keys[at], key, key_bytes))
		{
			*found = true;
			return &table->keys[at];
		}
	}
	table->keys[at].hash = hash;
	*found = false;
	return &table->keys[at];
}

void
tap_pg_keys_set(TapPgTable *table, TapPgKeySlot *slot, const TapPgRun *run, int row)
{
	if (slot->run == SLOT_EMPTY)
		table->nused++;
	slot->run = run->number;
	slot->row = row;
}
