/*-------------------------------------------------------------------------
 *
 * src/pull_tables.c
 *	  Which tables a pull stream carries, and how far each of them is.
 *
 * NOTES
 *	  A table that joins the stream (TAP_TABLE_JOINED) was copied while the
 *	  source went on.  Transactions that its start_position covers are in the
 *	  copy and are skipped; those up to its end_position may be in it, wholly
 *	  or in part, and are applied so that rows which are newer already do no
 *	  harm.  When the stream has passed end_position the table is what the
 *	  source was at that moment, and streams.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "hubtable.h"
#include "notes.h"
#include "options.h"
#include "position.h"
#include "pull.h"
#include "pull_private.h"
#include "snapshot.h"
#include "worker.h"

static TapPullTable *find_table(TapPull *pull, const TapTableName *name);
static TapPullTable *add_table(TapPull *pull, const TapTableRow *row);
static void copy_row(TapPull *pull, TapPullTable *table, const TapTableRow *row);
static bool equal_texts(List *a, List *b);
static List *copy_texts(List *texts);
static void load_patterns(TapPull *pull);
static void close_target(TapPull *pull, TapPullTable *table);
static void follow_format(TapPull *pull, const TapTableRow *row,
						  const TapSourceTable *source);
static bool carries(const TapPull *pull, const TapTableRow *row);
static void take_over(TapPull *pull, TapTableRow *row);

bool
tap_pull_covered(const TapSourceCallbacks *source, const char *a, const char *b)
{
	TapPositionOrder order = source->position_compare(a, b);

	return order == TAP_POSITION_EQUAL || order == TAP_POSITION_BEFORE;
}

static TapPullTable *
find_table(TapPull *pull, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		if (strcmp(table->row.source.name, name->name) == 0 &&
			(name->schema == NULL ||
			 strcmp(table->row.source.schema, name->schema) == 0))
			return table;
	}
	return NULL;
}

static bool
carries(const TapPull *pull, const TapTableRow *row)
{
	if (pull->is_sync)
		return row->id == pull->sync_table;
	if (row->state == TAP_TABLE_NEW)
		return pull->only_streams;
	return row->state == TAP_TABLE_JOINED || row->state == TAP_TABLE_STREAMING;
}

List *
tap_pull_tables_fresh(TapPull *pull)
{
	List	   *names = NIL;
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		if (table->carried && table->row.state == TAP_TABLE_NEW)
			names = lappend(names, &table->row.source);
	}
	MemoryContextSwitchTo(old);
	return names;
}

void
tap_pull_tables_begin_fresh(TapPull *pull)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	char	   *position = pull->source->stream_position(pull->session->session);
	bool		indexes = tap_options_bool(pull->options, "indexes");
	ListCell   *cell;

	tap_worker_begin();
	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);
		TapSourceTable *source;

		if (!table->carried || table->row.state != TAP_TABLE_NEW)
			continue;
		source = pull->source->table_from_definition(pull->session->session,
													 &table->row.source,
													 table->row.definition);

		/* of rows without a key such a source says only that they are new */
		if (source->nkeys > 0)
			tap_hubtable_create_key(table->row.hub_table, source);
		if (indexes)
			tap_hubtable_create_indexes(table->row.hub_table, source);
		table->row.state = TAP_TABLE_STREAMING;
		tap_catalog_update_table(&table->row);
	}
	tap_position_write(pull->pipeline->id, position);
	tap_notes_write(pull->pipeline->id);
	tap_worker_commit();
	tap_notes_written();
	MemoryContextSwitchTo(old);
	pull->position = position;
}

/*
 * A copy of a row that was read.  The connector must not be left with a
 * definition of the former copy: see TapSourceCallbacks.stream_refollow.
 */
static void
copy_row(TapPull *pull, TapPullTable *table, const TapTableRow *row)
{
	MemoryContext before = table->row_context;
	MemoryContext old;
	TapTableRow *copy = &table->row;

	table->row_context = AllocSetContextCreate(pull->context,
											   "tapdata table row",
											   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->row_context);

	*copy = *row;
	copy->source.schema = row->source.schema ? pstrdup(row->source.schema) : NULL;
	copy->source.name = pstrdup(row->source.name);
	copy->definition = row->definition ? pstrdup(row->definition) : NULL;
	copy->start_position = row->start_position ? pstrdup(row->start_position) : NULL;
	copy->end_position = row->end_position ? pstrdup(row->end_position) : NULL;
	copy->last_error = NULL;
	table->label = tap_table_name_text(&copy->source);
	MemoryContextSwitchTo(old);
	if (before != NULL)
		MemoryContextDelete(before);
}

static TapPullTable *
add_table(TapPull *pull, const TapTableRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	TapPullTable *table = palloc0(sizeof(TapPullTable));

	pull->tables = lappend(pull->tables, table);
	MemoryContextSwitchTo(old);
	copy_row(pull, table, row);
	return table;
}

static bool
equal_texts(List *a, List *b)
{
	ListCell   *cell_a;
	ListCell   *cell_b;

	if (list_length(a) != list_length(b))
		return false;
	forboth(cell_a, a, cell_b, b)
	{
		if (strcmp(lfirst(cell_a), lfirst(cell_b)) != 0)
			return false;
	}
	return true;
}

static List *
copy_texts(List *texts)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, texts)
		result = lappend(result, pstrdup(lfirst(cell)));
	return result;
}

/* add_tables() and remove_tables() change them while we run. */
static void
load_patterns(TapPull *pull)
{
	TapPipelineRow *row = tap_catalog_pipeline_by_id(pull->pipeline->id, true);
	MemoryContext old;

	/* it was dropped, and we will be told to end */
	if (row == NULL || equal_texts(row->patterns, pull->pipeline->patterns))
		return;
	old = MemoryContextSwitchTo(pull->context);
	pull->pipeline->patterns = copy_texts(row->patterns);
	pull->patterns = tap_patterns_compile(pull->pipeline->patterns);
	MemoryContextSwitchTo(old);
}

/*
 * Tables are never freed: the connector holds pointers to them.  One that was
 * removed is just not carried any more.
 */
void
tap_pull_tables_load(TapPull *pull)
{
	List	   *rows;
	ListCell   *cell;
	MemoryContext old = CurrentMemoryContext;

	/* what is not read again below was removed, or never came to be */
	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		close_target(pull, table);
		table->carried = false;
		table->row.id = 0;
		table->row.hub_table = InvalidOid;
		table->row.state = TAP_TABLE_DROPPED;
	}

	tap_worker_begin();
	MemoryContextSwitchTo(pull->batch_context);
	rows = tap_catalog_tables(pull->pipeline->id);
	load_patterns(pull);
	tap_worker_commit();
	MemoryContextSwitchTo(old);

	pull->joining = false;
	foreach(cell, rows)
	{
		TapTableRow *row = lfirst(cell);
		TapPullTable *table;

		if (pull->is_sync && row->id != pull->sync_table)
			continue;
		if (row->state == TAP_TABLE_READY && !pull->is_sync)
			take_over(pull, row);
		table = find_table(pull, &row->source);
		if (table == NULL)
			table = add_table(pull, row);
		else
			copy_row(pull, table, row);
		table->carried = carries(pull, row);
		tap_pull_moved_loaded(pull, table);
		table->shared = tap_shmem_table(row->id, true);
		if (table->carried && row->state == TAP_TABLE_JOINED)
			pull->joining = true;
	}
	MemoryContextReset(pull->batch_context);
}

/*
 * A sync worker has handed over a table.  If our stream has passed its
 * position meanwhile there would be a gap: then its catch-up goes on.
 */
static void
take_over(TapPull *pull, TapTableRow *row)
{
	MemoryContext old = CurrentMemoryContext;

	row->state = tap_pull_covered(pull->source, pull->position, row->start_position) ?
		TAP_TABLE_JOINED : TAP_TABLE_CATCHUP;
	tap_worker_begin();
	tap_catalog_update_table(row);
	tap_worker_commit();
	MemoryContextSwitchTo(old);
}

void *
tap_pull_table_followed(void *core_data, const TapTableName *name,
						bool created, const char **definition)
{
	TapPull    *pull = core_data;
	TapPullTable *table = find_table(pull, name);
	TapTableRow row = {0};

	*definition = NULL;
	if (table != NULL && table->carried)
	{
		*definition = table->row.definition;
		return table;
	}
	if (pull->is_sync || !tap_patterns_match(pull->patterns, name))
		return NULL;

	/* a table under this name was known: its contents are copied anew */
	if (table != NULL && table->row.state != TAP_TABLE_DROPPED)
		return NULL;
	if (created)
	{
		if (table != NULL)
			return table;
		row.pipeline = pull->pipeline->id;
		row.source = *name;
		row.state = TAP_TABLE_STREAMING;
		return add_table(pull, &row);
	}
	tap_pull_unknown_met(pull, name);
	return NULL;
}

List *
tap_pull_tables_followed(void *core_data)
{
	TapPull    *pull = core_data;
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		if (table->carried)
			names = lappend(names, &table->row.source);
	}
	return names;
}

static void
close_target(TapPull *pull, TapPullTable *table)
{
	if (table->target != NULL)
		tap_apply_forget_target(pull->apply, table->target);
	table->target = NULL;
	if (table->format_context != NULL)
		MemoryContextDelete(table->format_context);
	table->format_context = NULL;
	table->source = NULL;
}

void
tap_pull_table_set_format(TapPull *pull, TapPullTable *table,
						  const TapSourceTable *source)
{
	MemoryContext old;

	close_target(pull, table);
	table->format_context = AllocSetContextCreate(pull->context,
												  "tapdata table format",
												  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->format_context);
	table->source = tap_source_table_copy(source);

	/*
	 * The connector knows its own structs by connector_data, when it is asked
	 * to complete a value.
	 */
	table->source->connector_data = source->connector_data;
	MemoryContextSwitchTo(old);
}

TapTarget *
tap_pull_table_target(TapPull *pull, TapPullTable *table, TapSourceTable *source)
{
	if (table->source == NULL)
		tap_pull_table_set_format(pull, table, source);
	table->target = tap_apply_target(pull->apply, table->row.hub_table,
									 table->source, table->label,
									 pull->ddl == TAP_PULL_DDL_IGNORE);
	tap_pull_moved_track(pull, table);
	return table->target;
}

void
tap_pull_tables_txn_begins(TapPull *pull)
{
	ListCell   *cell;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		table->covered = table->carried &&
			table->row.state != TAP_TABLE_STREAMING &&
			table->row.start_position != NULL &&
			pull->source->txn_covered(pull->session->session,
									  table->row.start_position);
	}
}

void
tap_pull_table_is_whole(TapPullTable *table)
{
	tap_pull_moved_forget(table);
	if (table->row.state != TAP_TABLE_JOINED)
		return;
	table->row.start_position = NULL;
	table->row.end_position = NULL;
	tap_catalog_update_table(&table->row);
}

/*
 * Indexes other than the key are built only now: replayed changes may meet
 * each other in a unique one.
 */
void
tap_pull_tables_joined(TapPull *pull)
{
	bool		joining = false;
	bool		stored = false;
	bool		again = false;
	ListCell   *cell;
	MemoryContext old = CurrentMemoryContext;

	foreach(cell, pull->tables)
	{
		TapPullTable *table = lfirst(cell);

		if (!table->carried || table->row.state != TAP_TABLE_JOINED)
			continue;
		if (table->row.end_position != NULL &&
			!tap_pull_covered(pull->source, table->row.end_position, pull->position))
		{
			joining = true;
			continue;
		}

		/* or a restart would read what the table has once more, and keep it */
		if (!stored)
			tap_pull_position_moved(pull, true);
		stored = true;
		tap_worker_begin();
		if (tap_pull_moved_lost(table))
		{
			tap_snapshot_begin_again(pull->pipeline, &table->row, TAP_PULL_MOVED_WHY);
			tap_worker_commit();
			MemoryContextSwitchTo(old);
			again = true;
			continue;
		}
		if (tap_options_bool(pull->options, "indexes"))
		{
			MemoryContextSwitchTo(pull->event_context);
			if (table->source == NULL)
				tap_pull_table_set_format(pull, table,
										  pull->source->table_from_definition(pull->session->session,
																			  &table->row.source,
																			  table->row.definition));
			tap_hubtable_create_indexes(table->row.hub_table, table->source);
		}
		table->row.state = TAP_TABLE_STREAMING;
		table->row.start_position = NULL;
		table->row.end_position = NULL;
		table->row.exact = false;
		table->covered = false;
		tap_pull_moved_settle(table);
		if (table->row.unsure)
			tap_catalog_set_unsure(table->row.id, false);
		table->row.unsure = false;
		tap_catalog_update_table(&table->row);
		tap_catalog_insert_event(pull->pipeline->name, &table->row.source, "info",
								 "snapshot done", "the table is copied and streams");
		tap_worker_commit();
		MemoryContextSwitchTo(old);
	}
	if (again)
	{
		tap_pull_tables_load(pull);
		tap_pull_sync_start(pull);
		pull->source->stream_refollow(pull->session->session);
	}
	pull->joining = joining;
	if (!joining)
		tap_shmem_set_state(tap_worker_shared, TAP_STATE_STREAMING);
}

/* A table that was dropped and is back may have come with other columns. */
static void
follow_format(TapPull *pull, const TapTableRow *row, const TapSourceTable *source)
{
	const TapSourceTable *before;

	if (row->definition == NULL || strcmp(row->definition, source->definition) == 0)
		return;
	before = pull->source->table_from_definition(pull->session->session, &row->source,
												 row->definition);
	tap_hubtable_alter(row->hub_table, before, source, NIL, pull->ddl_drop);
	CommandCounterIncrement();
}

void
tap_pull_table_created(TapPull *pull, TapPullTable *table,
					   const TapSourceTable *source)
{
	TapTableRow *row = &table->row;

	if (row->hub_table == InvalidOid)
	{
		row->hub_table = tap_hubtable_create(source, pull->pipeline->into_schema,
											 source->name.name);
		row->created = true;
	}
	else
	{
		tap_hubtable_truncate(row->hub_table);
		follow_format(pull, row, source);
	}
	tap_hubtable_create_key(row->hub_table, source);
	if (tap_options_bool(pull->options, "indexes"))
		tap_hubtable_create_indexes(row->hub_table, source);

	row->state = TAP_TABLE_STREAMING;
	row->definition = MemoryContextStrdup(pull->context, source->definition);
	if (row->id == 0)
		row->id = tap_catalog_insert_table(row);
	else
		tap_catalog_update_table(row);
	table->carried = true;
	table->shared = tap_shmem_table(row->id, true);
	tap_pull_table_set_format(pull, table, source);
}
