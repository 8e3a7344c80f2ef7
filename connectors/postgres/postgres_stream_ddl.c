/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_stream_ddl.c
 *	  DDL of the source, as an event trigger there tells it.
 *
 * NOTES
 *	  DDL is not in the protocol, but messages of pg_logical_emit_message() are.
 *	  What the trigger (doc/postgres-source.md) writes of a table is what the
 *	  server itself would say before the table's next change, and is taken in
 *	  the same way.  Whoever may call that function can write such messages,
 *	  so what cannot be undone is held against the catalog, and what cannot be
 *	  read is passed over.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

static const char ddl_prefix[] = "tapdata";

static void
pass_over(const char *why)
{
	tap_pg_core->event("warning", NULL,
					   psprintf("a message of the source's event trigger was passed over: %s", why));
}

/* Whether it is a table to us, and one whose changes can be followed. */
static bool
is_of_interest(const TapPgStream *stream, const TapPgoutputMessage *message)
{
	const TapSession *session = stream->session;
	bool		leaves = strcmp(tap_pg_option(session, "partitions", "root"), "leaf") == 0;

	if (message->kind == TAP_PGOUTPUT_DROPPED)
		return true;
	if (leaves ? message->relation_kind == 'p' : message->partition)
		return false;
	if (strcmp(tap_pg_option(session, "without_identity", "error"), "inserts") == 0)
		return true;
	for (int i = 0; i < message->ncolumns; i++)
		if (message->columns[i].key)
			return true;
	return false;
}

bool
tap_pg_stream_ddl(TapPgStream *stream)
{
	TapPgoutputMessage *message = &stream->message;
	TapPgoutputMessage told;
	const char *error;
	char	   *text;
	bool		begun;

	if (!message->transactional || strcmp(message->prefix, ddl_prefix) != 0)
		return false;
	if (!pg_verify_mbstr(PG_UTF8, message->content, (int) message->content_bytes, true))
	{
		pass_over("it is not in UTF-8");
		return false;
	}
	begun = tap_pg_begin_lookups();
	text = pg_any_to_server(message->content, (int) message->content_bytes, PG_UTF8);
	tap_pg_end_lookups(begun);
	if (!tap_pgoutput_decode_ddl(stream->decoder, text,
								 text == message->content ? message->content_bytes : strlen(text),
								 &told, &error))
	{
		pass_over(error);
		return false;
	}
	if (!is_of_interest(stream, &told))
		return false;
	*message = told;
	return true;
}

/* The core takes a table that it is asked for and does not know for a new one. */
static bool
is_followed(const TapPgStream *stream, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, stream->args.tables_followed(stream->args.core_data))
	{
		const TapTableName *followed = lfirst(cell);

		if (strcmp(followed->name, name->name) == 0 &&
			strcmp(followed->schema, name->schema) == 0)
			return true;
	}
	return false;
}

void *
tap_pg_stream_dropped(TapPgStream *stream, TapTableName *name)
{
	const TapPgoutputMessage *message = &stream->message;
	const char *definition = NULL;
	unsigned int relid;
	void	   *table_data;

	name->schema = (char *) message->schema;
	name->name = (char *) message->name;
	if (!is_followed(stream, name))
		return NULL;
	table_data = stream->args.table_followed(stream->args.core_data, name, false, &definition);
	if (table_data == NULL || definition == NULL ||
		sscanf(definition, "T\t%u\t", &relid) != 1 || relid != message->relation)
		return NULL;
	tap_pg_stream_wait_visible(stream);
	if (tap_pg_query(stream->session, "look for a table", "SELECT FROM pg_class WHERE oid = %u",
					 message->relation)->nrows > 0)
		return NULL;
	tap_pg_stream_forget_relation(stream, message->relation, NULL);
	return table_data;
}

TapPgStreamTable *
tap_pg_stream_announced(TapPgStream *stream)
{
	TapPgStreamTable *table = &stream->announced;

	if (table->context == NULL)
	{
		table->relid = stream->message.relation;
		tap_pg_stream_describe(stream, table);

		/* the core looks for a table that is new to it */
		tap_pg_stream_wait_visible(stream);
	}
	return tap_pg_stream_ask(stream, table);
}

void
tap_pg_stream_announced_end(TapPgStream *stream)
{
	TapPgStreamTable *table = &stream->announced;

	if (table->context == NULL)
		return;
	tap_pg_stream_forget_relation(stream, table->relid, &table->name);
	tap_pg_stream_forget(table);
	MemoryContextDelete(table->context);
	memset(table, 0, sizeof(*table));
}
