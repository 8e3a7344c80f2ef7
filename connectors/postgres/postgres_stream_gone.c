/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_gone.c
 *	  Followed tables that are no longer there, or not published any more.
 *
 * NOTES
 *	  A drop is not in the protocol: the look for new tables finds it in the
 *	  catalog, by the table's oid, which a new name does not change and a new
 *	  table of the same name does not have.  Whoever changed the table had
 *	  ended before it could be dropped, so that what it ever had is in the log
 *	  before the end that the log had behind that look.  When the stream has
 *	  passed that, the core is told, in a transaction of its own that does not
 *	  move the position: a crash in between leaves it to the next look.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/memutils.h"

/* ---------------------------------------------------------------------
 * Tables that are followed
 * ---------------------------------------------------------------------
 */

/* The oid that the core knows the table by; InvalidOid: it is not followed. */
static Oid
followed_oid(const TapPgStream *stream, const TapTableName *name, void **table_data)
{
	const TapStreamArgs *args = &stream->args;
	const char *definition = NULL;
	unsigned int relid;

	*table_data = args->table_followed(args->core_data, name, false, &definition);
	if (*table_data == NULL || definition == NULL || sscanf(definition, "T\t%u\t", &relid) != 1)
		return InvalidOid;
	return relid;
}

char *
tap_pg_stream_followed_oids(const TapPgStream *stream)
{
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, stream->args.tables_followed(stream->args.core_data))
	{
		void	   *table_data;
		Oid			relid = followed_oid(stream, lfirst(cell), &table_data);

		if (OidIsValid(relid))
			appendStringInfo(&out, "%s%u", out.len ? "," : "{", relid);
	}
	appendStringInfoString(&out, out.len ? "}" : "{}");
	return out.data;
}

/* ---------------------------------------------------------------------
 * Looking
 * ---------------------------------------------------------------------
 */

/*
 * A table was taken out of the user's publication, as far as that can be told
 * without its locks: what is missing is an error, or is to be found by
 * comparison, as at a start of the stream.
 */
static void
check_publication(TapPgStream *stream)
{
	List	   *names = stream->args.tables_followed(stream->args.core_data);

	if (!tap_pg_can_heal(stream))
		tap_pg_check_published(stream->session, names);
	else if (tap_pg_publication_fault(stream->session, names) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a table was taken out of the publication"),
				 errdetail("The stream begins again.")));
}

void
tap_pg_stream_look_for_gone(TapPgStream *stream, const char *followed)
{
	const char *publication = tap_pg_given(stream->session, "publication");
	TapPgPosition now;
	TapPgRows  *rows;
	bool		unpublished = false;
	MemoryContext old;

	/* those of the look before come first, or would never */
	if (stream->gone != NIL)
		return;
	rows = tap_pg_query(stream->session, "look for dropped tables",
						"SELECT f.oid, c.oid IS NULL FROM unnest('%s'::oid[]) f (oid) LEFT JOIN pg_class c ON c.oid = f.oid "
						"WHERE c.oid IS NULL OR NOT (%s)", followed,
						publication ? tap_pg_published_condition(stream->session, publication) : "true");
	old = MemoryContextSwitchTo(stream->context);
	for (int i = 0; i < rows->nrows; i++)
	{
		if (tap_pg_is_true(rows, i, 1))
			stream->gone = lappend_oid(stream->gone, strtoul(tap_pg_needed(rows, i, 0), NULL, 10));
		else
			unpublished = true;
	}
	MemoryContextSwitchTo(old);
	if (stream->gone != NIL)
	{
		tap_pg_position_now(stream->session, &now);
		stream->gone_lsn = now.lsn;
	}
	if (unpublished)
		check_publication(stream);
}

/* ---------------------------------------------------------------------
 * Telling
 * ---------------------------------------------------------------------
 */

/* The next one that is still followed; its oid is not told again.  NULL: there is none. */
static void *
next_gone(TapPgStream *stream, TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, stream->args.tables_followed(stream->args.core_data))
	{
		void	   *table_data;
		Oid			relid = followed_oid(stream, lfirst(cell), &table_data);

		if (!OidIsValid(relid) || !list_member_oid(stream->gone, relid))
			continue;
		*name = *(TapTableName *) lfirst(cell);
		stream->gone = list_delete_oid(stream->gone, relid);
		tap_pg_stream_forget_relation(stream, relid, NULL);
		return table_data;
	}
	return NULL;
}

TapEventKind
tap_pg_stream_gone_next(TapPgStream *stream, TapEvent *event)
{
	if (!stream->gone_begun)
	{
		if (stream->gone == NIL || stream->in_txn || stream->position.lsn < stream->gone_lsn)
			return TAP_EVENT_NONE;
		stream->gone_begun = true;
		stream->commit_lsn = PG_UINT64_MAX; /* covered by nothing */
		return tap_pg_stream_tell(stream, event, TAP_EVENT_BEGIN);
	}
	event->table_data = next_gone(stream, &event->old_name);
	if (event->table_data != NULL)
	{
		event->schema = TAP_SCHEMA_DROPPED;
		return tap_pg_stream_tell(stream, event, TAP_EVENT_SCHEMA);
	}
	list_free(stream->gone);
	stream->gone = NIL;
	stream->gone_begun = false;

	/* another table of the name can be taken up now */
	stream->refreshed_at = 0;
	return tap_pg_stream_tell(stream, event, TAP_EVENT_COMMIT);
}
