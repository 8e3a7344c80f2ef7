/*-------------------------------------------------------------------------
 *
 * src/notes.c
 *	  What connectors keep of a pipeline beside its position.
 *
 * NOTES
 *	  A connector remembers something when its stream comes to it, which is
 *	  before the position that covers it is stored.  Until then it waits in
 *	  memory.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "notes.h"
#include "worker.h"

typedef struct Note
{
	char	   *key;
	char	   *value;			/* NULL: delete it */
} Note;

/* Of Note *, the oldest first; both in the context. */
static List *pending = NIL;
static MemoryContext pending_context = NULL;

void
tap_notes_remember(const char *key, const char *value)
{
	MemoryContext before;
	Note	   *note;

	if (pending_context == NULL)
		pending_context = AllocSetContextCreate(TopMemoryContext, "tapdata notes",
												ALLOCSET_DEFAULT_SIZES);

	/* a file that is read has its note changed again and again */
	if (pending != NIL && strcmp(((Note *) llast(pending))->key, key) == 0)
		pending = list_delete_last(pending);
	before = MemoryContextSwitchTo(pending_context);
	note = palloc(sizeof(Note));
	note->key = pstrdup(key);
	note->value = value ? pstrdup(value) : NULL;
	pending = lappend(pending, note);
	MemoryContextSwitchTo(before);
}

void
tap_notes_recall(const char *prefix,
				 void (*note) (void *arg, const char *key, const char *value),
				 void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();

	if (tap_worker_args == NULL)
		return;
	if (own_transaction)
		tap_worker_begin();

	/* what note() allocates outlives the transaction */
	MemoryContextSwitchTo(caller);
	tap_catalog_each_note(tap_worker_args->pipeline, prefix, note, arg);
	if (own_transaction)
		tap_worker_commit();
}

void
tap_notes_write(int32 pipeline)
{
	ListCell   *cell;

	foreach(cell, pending)
	{
		Note	   *note = lfirst(cell);

		tap_catalog_set_note(pipeline, note->key, note->value);
	}
}

void
tap_notes_written(void)
{
	tap_notes_forget();
}

void
tap_notes_forget(void)
{
	if (pending == NIL)
		return;
	pending = NIL;
	MemoryContextReset(pending_context);
}
