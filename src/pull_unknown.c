/*-------------------------------------------------------------------------
 *
 * src/pull_unknown.c
 *	  Tables of the source that match a pipeline's patterns and are not its own
 *	  yet: which of them it takes up.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "hubtable.h"
#include "options.h"
#include "pull.h"
#include "pull_private.h"
#include "worker.h"

/*
 * How soon a table that could not be taken up is looked for again, if there
 * are changes of it: each look is a new login at the source.
 */
#define LOOK_AGAIN_MS 1000

static bool
is_among(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

void
tap_pull_unknown_met(TapPull *pull, const TapTableName *name)
{
	char	   *label = tap_table_name_text(name);
	MemoryContext old;

	if (is_among(pull->taken, label) || is_among(pull->unknown, label))
		return;
	if (is_among(pull->refused, label))
	{
		pull->refused_again = true;
		return;
	}
	old = MemoryContextSwitchTo(pull->context);
	pull->unknown = lappend(pull->unknown, pstrdup(label));
	MemoryContextSwitchTo(old);
}

long
tap_pull_unknown_due(const TapPull *pull)
{
	if (!pull->refused_again)
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(pull->refused_at,
																	   LOOK_AGAIN_MS));
}

bool
tap_pull_unknown_any(const TapPull *pull)
{
	return pull->unknown != NIL || tap_pull_unknown_due(pull) == 0;
}

/*
 * Whether something else has a new table's place in the hub: a table that
 * comes by itself must not stop the pipeline for that.
 */
static bool
is_taken(void *arg, const TapTableName *name, List *wanted)
{
	TapPull    *pull = arg;
	char	   *fitting = tap_hubtable_fit_name(name->name);
	Oid			schema = get_namespace_oid(pull->pipeline->into_schema, true);
	bool		taken = OidIsValid(schema) && OidIsValid(get_relname_relid(fitting, schema));
	MemoryContext old;
	ListCell   *cell;

	foreach(cell, wanted)
	{
		const TapTableName *other = lfirst(cell);

		if (strcmp(tap_hubtable_fit_name(other->name), fitting) == 0)
			taken = true;
	}
	if (!taken || is_among(pull->taken, tap_table_name_text(name)))
		return taken;
	old = MemoryContextSwitchTo(pull->context);
	pull->taken = lappend(pull->taken, tap_table_name_text(name));
	MemoryContextSwitchTo(old);
	tap_catalog_insert_event(pull->pipeline->name, name, "warning", "table left out",
							 psprintf("\"%s\".\"%s\" is in the hub already: rename that table and call tapdata.add_tables(), "
									  "or exclude this one by a pattern that begins with !",
									  pull->pipeline->into_schema, fitting));
	return true;
}

/* One that was gone is back under its name: copy it again. */
static bool
take_back(TapPull *pull)
{
	bool		changed = false;
	ListCell   *cell;

	foreach(cell, tap_catalog_tables(pull->pipeline->id))
	{
		TapTableRow *row = lfirst(cell);

		if (row->state != TAP_TABLE_DROPPED ||
			!is_among(pull->unknown, tap_table_name_text(&row->source)))
			continue;
		row->state = TAP_TABLE_NEW;
		tap_catalog_update_table(row);
		changed = true;
	}
	return changed;
}

/*
 * Tables turned up that are not new in the log, but new to us: renamed so
 * that they match now, or just granted.  True if any was taken up.
 */
static bool
look_for_unknown(TapPull *pull)
{
	TapOpenSession *session = tap_pull_ask(pull);
	bool		changed;

	tap_worker_begin();
	changed = take_back(pull);
	changed |= tap_pull_add_matching(pull->pipeline, session, is_taken, pull) > 0;
	tap_worker_commit();
	tap_session_close(session);
	return changed;
}

void
tap_pull_unknown_take(TapPull *pull)
{
	MemoryContext old = MemoryContextSwitchTo(pull->context);
	bool		changed;

	if (tap_pull_unknown_due(pull) == 0)
	{
		pull->unknown = list_concat(pull->unknown, pull->refused);
		list_free(pull->refused);
		pull->refused = NIL;
		pull->refused_again = false;
	}
	MemoryContextSwitchTo(old);
	changed = look_for_unknown(pull);
	if (changed)
		list_free_deep(pull->unknown);
	else
	{
		old = MemoryContextSwitchTo(pull->context);
		pull->refused = list_concat(pull->refused, pull->unknown);
		MemoryContextSwitchTo(old);
		list_free(pull->unknown);
		pull->refused_at = GetCurrentTimestamp();
	}
	pull->unknown = NIL;

	if (changed)
	{
		tap_pull_tables_load(pull);
		tap_pull_sync_start(pull);
	}
	if (changed && pull->only_streams && tap_pull_tables_fresh(pull) != NIL)
		tap_pull_start_stream(pull);
	else
		pull->source->stream_refollow(pull->session->session);

	/* nobody was told of it while the tables had no rows */
	pull->position_moved = true;
	tap_pull_position_moved(pull, false);
}

/* What the event of a new table says: not all pipelines copy. */
static const char *
what_comes(const TapPipelineRow *pipeline, const TapOpenSession *session)
{
	TapOptions *options = tap_options_parse(pipeline->options, NULL, session->connector,
											TAP_SCOPE_PULL, CurrentMemoryContext);

	if ((session->connector->capabilities & TAP_CAN_SNAPSHOT) == 0)
		return "the table will stream";
	if (strcmp(tap_options_text(options, "snapshot"), "initial") != 0)
		return "the table will stream from now on; what it has is not copied";
	return "the table will be copied";
}

/* Those of the names that are not the pipeline's yet, and shall be. */
static List *
matching_unknown(const TapPipelineRow *pipeline, List *names,
				 TapLeaveOut leave_out, void *arg)
{
	TapPatterns *patterns = tap_patterns_compile(pipeline->patterns);
	List	   *known = tap_catalog_tables(pipeline->id);
	List	   *wanted = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);
		ListCell   *other;
		bool		is_known = false;

		foreach(other, known)
		{
			TapTableRow *row = lfirst(other);

			if (strcmp(row->source.name, name->name) == 0 &&
				(name->schema == NULL || strcmp(row->source.schema, name->schema) == 0))
				is_known = true;
		}
		if (!is_known && tap_patterns_match(patterns, name) &&
			(leave_out == NULL || !leave_out(arg, name, wanted)))
			wanted = lappend(wanted, name);
	}
	return wanted;
}

int
tap_pull_add_matching(const TapPipelineRow *pipeline, TapOpenSession *session,
					  TapLeaveOut leave_out, void *arg)
{
	List	   *names = session->source->list_tables(session->session);
	List	   *wanted = matching_unknown(pipeline, names, leave_out, arg);
	const char *comes;
	ListCell   *cell;
	int			added = 0;

	if (wanted == NIL)
		return 0;

	comes = what_comes(pipeline, session);
	foreach(cell, session->source->describe_tables(session->session, wanted))
	{
		TapSourceTable *source = lfirst(cell);
		TapTableRow row = {0};

		row.pipeline = pipeline->id;
		row.source = source->name;
		row.hub_table = tap_hubtable_create(source, pipeline->into_schema,
											source->name.name);
		row.state = TAP_TABLE_NEW;
		row.created = true;
		row.definition = source->definition;
		row.id = tap_catalog_insert_table(&row);
		tap_catalog_insert_event(pipeline->name, &row.source, "info", "table added", comes);
		added++;
	}
	return added;
}
