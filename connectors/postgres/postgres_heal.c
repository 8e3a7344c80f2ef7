/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_heal.c
 *	  Comparison of whole tables, where changes of the source are missing.
 *
 * NOTES
 *	  First the position becomes one that covers nothing, of the source that
 *	  was found: from then on a restart begins to compare, whatever the source
 *	  has become meanwhile; its slot and its log may look as if they fitted
 *	  the former position again.  Only when the hub has that on disk the slot
 *	  is made anew, within a transaction whose snapshot is where it begins.
 *
 *	  Then all tables are locked for reading, so that none is altered before
 *	  its turn (postgres_snapshot_lock.c).
 *
 *	  All rows of the followed tables as of that snapshot are one transaction
 *	  for the core, which stores what differs; its position is the beginning
 *	  of the slot, from where the stream goes on.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* How soon to look again whether the hub has on disk that we compare. */
#define LOOK_AGAIN_MS		20

typedef enum Phase
{
	PHASE_NOTE,					/* the hub stores that we are about to compare */
	PHASE_BEGIN,
	PHASE_TABLE,				/* the next one is to be described */
	PHASE_OPEN,					/* and read */
	PHASE_ROWS
} Phase;

struct TapPgHeal
{
	Phase		phase;
	bool		told;			/* that the position is to be stored */
	MemoryContext context;
	MemoryContext table_context;
	TapPgPosition point;		/* where the slot begins */
	List	   *tables;			/* of TapTableName * */
	int			next;
	void	   *table_data;
	TapPgFormat *format;
	TapSourceTable *source;
	TupleTableSlot *slot;
	TapPgCopyReader *reader;
};

bool
tap_pg_can_heal(const TapPgStream *stream)
{
	return strcmp(tap_pg_option(stream->session, "on_gap", "stop"), "compare") == 0;
}

static List *
copy_names(List *names)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		const TapTableName *name = lfirst(cell);
		TapTableName *copy = palloc(sizeof(TapTableName));

		copy->schema = pstrdup(name->schema);
		copy->name = pstrdup(name->name);
		result = lappend(result, copy);
	}
	return result;
}

void
tap_pg_heal_begin(TapPgStream *stream)
{
	MemoryContext context = AllocSetContextCreate(stream->context, "tapdata postgres heal",
												  ALLOCSET_DEFAULT_SIZES);
	TapPgHeal  *heal = MemoryContextAllocZero(context, sizeof(TapPgHeal));

	heal->context = context;
	heal->phase = PHASE_NOTE;
	tap_pg_position_now(stream->session, &stream->position);
	stream->position.lsn = TAP_PG_COVERS_NOTHING;
	stream->confirmed = stream->received = 0;
	stream->heal = heal;
}

void
tap_pg_heal_noted(TapPgStream *stream, const TapPgPosition *position)
{
	TapPgHeal  *heal = stream->heal;

	if (heal->phase == PHASE_NOTE && position->lsn == TAP_PG_COVERS_NOTHING)
		heal->phase = PHASE_BEGIN;
}

/* Have the position stored, which is told back by tap_pg_heal_noted(). */
static TapEventKind
note(TapPgHeal *heal, TapEvent *event)
{
	if (heal->told)
		(void) tap_pg_core->wait_socket(PGINVALID_SOCKET, 0, LOOK_AGAIN_MS);
	heal->told = true;
	event->kind = TAP_EVENT_HEARTBEAT;
	return event->kind;
}

/* Make another slot, whose beginning is what this connection's transaction sees. */
static void
make_slot(TapPgStream *stream)
{
	TapPgHeal  *heal = stream->heal;
	MemoryContext old = MemoryContextSwitchTo(heal->context);
	char	   *slot = tap_pg_slot_name(stream->session);
	bool		failover = stream->session->version >= 170000 &&
	strcmp(tap_pg_option(stream->session, "failover", "false"), "true") == 0;
	TapPgRows  *rows;

	heal->tables = copy_names(stream->args.tables_followed(stream->args.core_data));
	tap_pg_prepare_publications(stream->session, heal->tables);

	/* an error if the slot that the option names is of another kind */
	(void) tap_pg_slot_find(stream->session, slot);
	tap_pg_drop_slot(stream->session, slot);
	(void) tap_pg_query(&stream->replication, "begin to compare",
						"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	rows = tap_pg_query_for_slot(&stream->replication, "create the replication slot",
								 psprintf("CREATE_REPLICATION_SLOT %s LOGICAL pgoutput %s", tap_pg_quote(slot),
										  failover ? "(SNAPSHOT 'use', FAILOVER)" : "USE_SNAPSHOT"));
	tap_pg_position_now(stream->session, &heal->point);
	heal->point.lsn = tap_pg_lsn_parse(tap_pg_value(rows, 0, 1));
	MemoryContextSwitchTo(old);
}

/*
 * All of them, until the end: of one that was emptied or written anew before
 * its turn the snapshot would have no rows.
 */
static void
lock_tables(TapPgStream *stream)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata postgres heal locks",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	tap_pg_lock_tables(&stream->replication,
					   tap_pg_read_formats(stream->session, stream->heal->tables));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static TapEventKind
tell(TapPgHeal *heal, TapEvent *event, TapEventKind kind)
{
	event->kind = kind;
	event->table = heal->source;
	event->table_data = heal->table_data;
	return kind;
}

/* All tables are read: the stream goes on from the slot's beginning. */
static TapEventKind
finish(TapPgStream *stream, TapEvent *event)
{
	TapPgHeal  *heal = stream->heal;

	(void) tap_pg_query(&stream->replication, "end the comparison", "COMMIT");
	stream->position = heal->point;
	stream->received = stream->confirmed = heal->point.lsn;
	stream->heal = NULL;
	MemoryContextDelete(heal->context);
	tap_pg_start_replication(stream);
	event->kind = TAP_EVENT_COMMIT;
	return event->kind;
}

/* Describe the next table that is still there; false: there is none. */
static bool
next_table(TapPgStream *stream, const char **definition)
{
	TapPgHeal  *heal = stream->heal;

	while (heal->next < list_length(heal->tables))
	{
		TapTableName *name = list_nth(heal->tables, heal->next++);
		List	   *found;
		MemoryContext old;

		heal->table_data = stream->args.table_followed(stream->args.core_data, name, false,
													   definition);
		if (heal->table_data == NULL)
			continue;
		if (heal->table_context != NULL)
			MemoryContextDelete(heal->table_context);
		heal->table_context = AllocSetContextCreate(heal->context, "tapdata postgres heal table",
													ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(heal->table_context);
		found = tap_pg_read_formats(stream->session, list_make1(name));
		if (found != NIL)
		{
			heal->format = linitial(found);
			heal->source = tap_pg_source_table(heal->format);
			heal->slot = MakeSingleTupleTableSlot(heal->source->descriptor, &TTSOpsVirtual);
		}
		MemoryContextSwitchTo(old);
		if (found != NIL)
			return true;
	}
	return false;
}

static TapEventKind
open_table(TapPgStream *stream, TapEvent *event)
{
	TapPgHeal  *heal = stream->heal;
	MemoryContext old = MemoryContextSwitchTo(heal->table_context);

	heal->reader = tap_pg_copy_read_begin(&stream->replication, heal->format);
	MemoryContextSwitchTo(old);
	heal->phase = PHASE_ROWS;
	if (heal->format->nkeys > 0)
		return tell(heal, event, TAP_EVENT_COMPARE_BEGIN);

	/* without a key there is nothing to compare by */
	event->change = TAP_CHANGE_TRUNCATE;
	return tell(heal, event, TAP_EVENT_CHANGE);
}

TapEventKind
tap_pg_heal_next(TapPgStream *stream, TapEvent *event)
{
	TapPgHeal  *heal = stream->heal;
	const char *definition = NULL;

	for (;;)
	{
		switch (heal->phase)
		{
			case PHASE_NOTE:
				return note(heal, event);
			case PHASE_BEGIN:
				make_slot(stream);
				lock_tables(stream);
				heal->phase = PHASE_TABLE;
				stream->commit_lsn = PG_UINT64_MAX; /* covered by nothing */
				event->kind = TAP_EVENT_BEGIN;
				return event->kind;
			case PHASE_TABLE:
				if (!next_table(stream, &definition))
					return finish(stream, event);
				heal->phase = PHASE_OPEN;
				if (definition != NULL && strcmp(definition, heal->source->definition) != 0)
				{
					event->schema = TAP_SCHEMA_ALTERED;
					return tell(heal, event, TAP_EVENT_SCHEMA);
				}
				break;
			case PHASE_OPEN:
				return open_table(stream, event);
			case PHASE_ROWS:
				if (tap_pg_copy_read(heal->reader, heal->slot))
				{
					event->change = TAP_CHANGE_INSERT;
					event->new_row.slot = heal->slot;
					return tell(heal, event, TAP_EVENT_CHANGE);
				}
				heal->phase = PHASE_TABLE;
				if (heal->format->nkeys > 0)
					return tell(heal, event, TAP_EVENT_COMPARE_END);
				break;
		}
	}
}
