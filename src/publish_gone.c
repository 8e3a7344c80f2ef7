/*-------------------------------------------------------------------------
 *
 * src/publish_gone.c
 *	  Published tables that are dropped, or get another name.
 *
 * NOTES
 *	  The stream may be behind: what was done to a table under the name that
 *	  the target knows has to be sent first.  So it goes on being decoded until
 *	  all that was committed when its end was noticed is at the target.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "compat.h"
#include "publish.h"
#include "publish_private.h"
#include "worker.h"

static void
set_dropped(TapPublish *publish, TapTableRow *row, const char *why)
{
	row->state = TAP_TABLE_DROPPED;
	tap_catalog_update_table(row);
	tap_catalog_insert_event(publish->pipeline->name, &row->source, "warning",
							 "table dropped", why);
}

static bool
same_name(const TapTableName *a, const TapTableName *b)
{
	return strcmp(a->schema, b->schema) == 0 && strcmp(a->name, b->name) == 0;
}

/*
 * Have no other row of the pipeline under the name; returns whether rows of a
 * copy were sent under it.
 */
static bool
take_name(TapPublish *publish, const TapTableRow *row, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, tap_catalog_tables(publish->pipeline->id))
	{
		TapTableRow *other = lfirst(cell);

		if (other->id == row->id || other->state != TAP_TABLE_DROPPED ||
			!same_name(&other->source, name))
			continue;
		tap_catalog_delete_table(other->id);
		tap_shmem_forget_table(other->id);
		return other->created;
	}
	return false;
}

/* What is renamed is copied under its new name, if that is to be published. */
static void
follow_name(TapPublish *publish, TapTableRow *row, const TapTableName *name)
{
	if (!tap_patterns_match(publish->patterns, name))
	{
		set_dropped(publish, row,
					psprintf("the table is called %s now, and no pattern matches that",
							 tap_table_name_text(name)));
		return;
	}
	row->created = take_name(publish, row, name);
	row->source = *name;
	row->state = TAP_TABLE_NEW;
	row->definition = NULL;
	row->start_position = NULL;
	tap_catalog_update_table(row);
	tap_catalog_insert_event(publish->pipeline->name, name, "info", "table renamed",
							 "the table will be copied under its new name");
}

/*
 * A position behind what was committed until now, whether it was flushed or
 * not, that a reader of WAL gets to even if nothing else happens.
 */
static XLogRecPtr
position_now(void)
{
	XLogRecPtr	lsn = tap_compat_log_message("tapdata", "", 0);

	XLogFlush(lsn);
	return lsn;
}

bool
tap_publish_check_row(TapPublish *publish, TapTableRow *row, XLogRecPtr *gone_lsn)
{
	TapTableName name;
	bool		there;

	if (row->state == TAP_TABLE_DROPPED)
		return false;

	/* what is there now stays until it has been looked at */
	LockRelationOid(row->hub_table, AccessShareLock);
	there = tap_publish_current_name(row->hub_table, &name);
	if (!there || !same_name(&row->source, &name))
	{
		if (row->state == TAP_TABLE_STREAMING)
		{
			if (*gone_lsn == InvalidXLogRecPtr)
				*gone_lsn = position_now();
			return true;
		}
		if (there)
			follow_name(publish, row, &name);
		else
			set_dropped(publish, row, "the table was dropped before it was copied");
		if (row->state == TAP_TABLE_DROPPED)
			return false;
	}
	*gone_lsn = InvalidXLogRecPtr;
	tap_publish_check_table(row->hub_table, publish->pipeline->owner, publish->options);
	return true;
}

/* Whether the last changes of a table that is gone are at the target. */
static bool
is_passed(const TapPublish *publish, const TapPublishTable *table)
{
	XLogRecPtr	read = publish->decoder ? tap_decode_read_lsn(publish->decoder) : publish->resume;

	return table->gone_lsn != InvalidXLogRecPtr && read >= table->gone_lsn &&
		publish->durable >= publish->written;
}

/*
 * A table that another one has taken the name of is gone since before that
 * one's first change, which is where decoding has stopped.
 */
void
tap_publish_give_up_names(TapPublish *publish, List *takers)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	tap_worker_begin();
	MemoryContextSwitchTo(publish->entry_context);
	foreach(cell, publish->tables)
	{
		TapPublishTable *table = lfirst(cell);
		ListCell   *taker;

		foreach(taker, takers)
		{
			TapTableName name;

			if (table->gone_lsn != InvalidXLogRecPtr &&
				tap_publish_current_name(lfirst_oid(taker), &name) &&
				same_name(&name, &table->row.source))
				table->gone_lsn = publish->resume;
		}
	}
	tap_worker_commit();
	MemoryContextSwitchTo(old);
}

bool
tap_publish_tables_waiting(const TapPublish *publish)
{
	ListCell   *cell;

	foreach(cell, publish->tables)
	{
		if (is_passed(publish, lfirst(cell)))
			return true;
	}
	return publish->unknown != NIL || publish->look_again;
}

/*
 * Tables may have exchanged their names: those that they had are all given up
 * before any takes another.
 */
static void
let_go_of_name(TapPublish *publish, TapPublishTable *table)
{
	TapTableRow *row = &table->row;
	TapTableRow aside = *row;
	TapTableName name;

	if (!tap_publish_current_name(row->hub_table, &name))
	{
		set_dropped(publish, row,
					"the table was dropped; what was sent of it stays at the target");
		return;
	}
	aside.source.name = psprintf("%u", row->hub_table);
	tap_catalog_update_table(&aside);
}

bool
tap_publish_let_go_of_gone(TapPublish *publish)
{
	MemoryContext old = CurrentMemoryContext;
	List	   *passed = NIL;
	ListCell   *cell;

	foreach(cell, publish->tables)
	{
		if (is_passed(publish, lfirst(cell)))
			passed = lappend(passed, lfirst(cell));
	}
	if (passed == NIL)
		return false;
	tap_worker_begin();
	MemoryContextSwitchTo(publish->entry_context);
	foreach(cell, passed)
		let_go_of_name(publish, lfirst(cell));
	foreach(cell, passed)
	{
		TapPublishTable *table = lfirst(cell);
		TapTableRow row = table->row;	/* it keeps its name until it is read */
		TapTableName name;

		if (row.state != TAP_TABLE_DROPPED && tap_publish_current_name(row.hub_table, &name))
			follow_name(publish, &row, &name);
		table->gone_lsn = InvalidXLogRecPtr;
	}
	tap_worker_commit();
	MemoryContextSwitchTo(old);
	return true;
}
