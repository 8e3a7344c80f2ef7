/*-------------------------------------------------------------------------
 *
 * src/pull_moved.c
 *	  Tables that have to be copied again, since rows got another key while
 *	  they were copied.
 *
 * What is known of such rows (apply_moved.c) is in the memory of the process
 * that catches up.  The catalog says whether there is something to know, in
 * the transaction that stores the position: a process that begins in the
 * middle of such a catch-up cannot go by it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pull_private.h"
#include "worker.h"

/* The table's row was read again; what was noted since a commit is committed. */
void
tap_pull_moved_loaded(TapPull *pull, TapPullTable *table)
{
	bool		known = table->moved != NULL && tap_moved_any(table->moved);

	if (known && !table->row.unsure)
		tap_moved_forget(table->moved);
	else if (!known && table->row.unsure && !table->row.exact)
	{
		if (table->moved == NULL)
			table->moved = tap_moved_create(pull->context);
		tap_moved_distrust(table->moved);
	}
}

void
tap_pull_moved_track(TapPull *pull, TapPullTable *table)
{
	if (table->row.state == TAP_TABLE_STREAMING || table->row.exact)
		return;
	if (table->moved == NULL)
		table->moved = tap_moved_create(pull->context);
	tap_apply_track(table->target, table->moved);
}

void
tap_pull_moved_altered(TapPullTable *table)
{
	if (table->moved != NULL && tap_moved_any(table->moved))
		tap_moved_distrust(table->moved);
}

void
tap_pull_moved_forget(TapPullTable *table)
{
	if (table->moved != NULL)
		tap_moved_forget(table->moved);
}

void
tap_pull_moved_write(TapPull *pull)
{
	ListCell   *cell;

	if (!pull->joining && !pull->is_sync)
		return;
	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);
		bool		unsure = table->moved != NULL && tap_moved_any(table->moved);

		if (!table->carried || table->row.id == 0 || unsure == table->row.unsure)
			continue;
		tap_catalog_set_unsure(table->row.id, unsure);
		table->row.unsure = unsure;
	}
}

/* The rows of the catalog are read before the stream begins again. */
void
tap_pull_moved_abort(TapPull *pull)
{
	ListCell   *cell;

	foreach(cell, pull->tables)
		tap_pull_moved_forget(lfirst(cell));
}

bool
tap_pull_moved_lost(const TapPullTable *table)
{
	return table->moved != NULL && tap_moved_lost(table->moved);
}

void
tap_pull_moved_settle(TapPullTable *table)
{
	if (table->moved == NULL || tap_moved_lost(table->moved))
		return;
	tap_moved_forget(table->moved);
	if (table->target != NULL)
		tap_apply_track(table->target, NULL);
}
