/*-------------------------------------------------------------------------
 *
 * src/publish_dead_letters.c
 *	  Changes that a target refuses for good.
 *
 * NOTES
 *	  Where the hub alone keeps the position, a refused change waits in memory
 *	  until the position that covers it is stored, in the same transaction.  A
 *	  target that keeps the position moves it by itself, maybe right after it
 *	  has told of the refusal; there the change is stored at once, or, if a
 *	  transaction is under way, before the sink is called again.  A crash in
 *	  between can repeat such a dead letter, but not lose it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogdefs.h"
#include "utils/memutils.h"

#include "publish.h"
#include "publish_private.h"
#include "worker.h"

typedef struct PendingLetter
{
	TapTableName table;
	char	   *change;
	uint64		lsn;
	int			sqlstate;
	char	   *message;
} PendingLetter;

bool		tap_publish_keeps_dead_letters = false;

static const TapPublish *publish = NULL;

/* Of PendingLetter *, in order of arrival; both in the context. */
static List *pending = NIL;
static MemoryContext pending_context = NULL;

void
tap_publish_dead_letter(const TapTableName *table, const char *change,
						uint64 lsn, int sqlstate, const char *message)
{
	MemoryContext before;
	PendingLetter *letter;

	if (!tap_publish_keeps_dead_letters)
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("the target refused a change of table \"%s\": %s",
						table ? table->name : "", message),
				 errdetail("The change is %s.", change),
				 errhint("Mend the cause and start the pipeline again, or set its option on_error to dead_letter to keep such changes aside.")));

	if (pending_context == NULL)
		pending_context = AllocSetContextCreate(TopMemoryContext, "tapdata dead letters",
												ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(pending_context);
	letter = palloc0(sizeof(PendingLetter));
	if (table != NULL)
	{
		letter->table.schema = table->schema ? pstrdup(table->schema) : NULL;
		letter->table.name = pstrdup(table->name);
	}
	letter->change = pstrdup(change);
	letter->lsn = lsn;
	letter->sqlstate = sqlstate;
	letter->message = pstrdup(message);
	pending = lappend(pending, letter);
	MemoryContextSwitchTo(before);

	if (publish->target_holds && !IsTransactionState())
		tap_publish_settle_dead_letters();
}

void
tap_publish_start_dead_letters(const TapPublish *worker, bool keep)
{
	publish = worker;
	tap_publish_keeps_dead_letters = keep;
}

void
tap_publish_settle_dead_letters(void)
{
	MemoryContext old = CurrentMemoryContext;

	if (pending == NIL)
		return;
	tap_worker_begin();
	tap_publish_store_dead_letters();
	tap_worker_commit();
	MemoryContextSwitchTo(old);
	tap_publish_forget_dead_letters();
}

bool
tap_publish_has_dead_letters(void)
{
	return pending != NIL;
}

void
tap_publish_store_dead_letters(void)
{
	ListCell   *cell;

	foreach(cell, pending)
	{
		PendingLetter *letter = lfirst(cell);
		TapTableName *table = letter->table.name ? &letter->table : NULL;
		ErrorData	edata = {0};

		edata.sqlerrcode = letter->sqlstate;
		edata.message = letter->message;
		tap_catalog_insert_dead_letter(publish->pipeline->id, table, letter->change, &edata,
									   psprintf("%X/%X", LSN_FORMAT_ARGS(letter->lsn)));
		tap_catalog_insert_event(publish->pipeline->name, table, "error", "dead letter",
								 letter->message);
	}
}

void
tap_publish_forget_dead_letters(void)
{
	pending = NIL;
	if (pending_context != NULL)
		MemoryContextReset(pending_context);
}
