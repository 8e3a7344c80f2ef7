/*-------------------------------------------------------------------------
 *
 * src/publish_dead_letters.c
 *	  Changes that a target refuses for good.
 *
 * NOTES
 *	  A sink learns of a refusal outside of any transaction.  The change waits
 *	  in memory until the worker stores the position that covers it, in the
 *	  same transaction.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "access/xlogdefs.h"
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
}

bool
tap_publish_has_dead_letters(void)
{
	return pending != NIL;
}

void
tap_publish_store_dead_letters(int32 pipeline, const char *pipeline_name)
{
	ListCell   *cell;

	foreach(cell, pending)
	{
		PendingLetter *letter = lfirst(cell);
		TapTableName *table = letter->table.name ? &letter->table : NULL;
		ErrorData	edata = {0};

		edata.sqlerrcode = letter->sqlstate;
		edata.message = letter->message;
		tap_catalog_insert_dead_letter(pipeline, table, letter->change, &edata,
									   psprintf("%X/%X", LSN_FORMAT_ARGS(letter->lsn)));
		tap_catalog_insert_event(pipeline_name, table, "error", "dead letter",
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
