/*-------------------------------------------------------------------------
 *
 * test/connectors/fake/tapdata_fake.c
 *	  A connector whose source or target is a text file: for tests of the core.
 *
 * It is built out of tree with PGXS from connector.h alone, as anybody's
 * connector is, and does what a test tells it: the source's log is the file
 * of the URI (fake:///path), to which a test appends lines.
 *
 *	table NAME					a table fake.NAME (id bigint key, value text)
 *	begin
 *	insert NAME ID VALUE
 *	update NAME ID VALUE
 *	delete NAME ID
 *	move NAME ID NEWID [VALUE]	an update of the key; without VALUE that stays,
 *								and the event lacks it
 *	truncate NAME
 *	commit
 *
 * A file /path.error with "SQLSTATE message" makes every new session fail.
 * A position is the offset behind a commit.
 *
 * As a target it writes lines to the file; see fake_sink.h.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdio.h>
#include <sys/stat.h>

#include "access/tupdesc.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "connector.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

static const TapCore *core;

#include "fake_file.h"
#include "fake_sink.h"

#define SCHEMA_NAME		"fake"
#define POLL_MS			20

/* What the core said about a table. */
typedef struct Followed
{
	char	   *name;
	void	   *table_data;		/* NULL: not wanted */
	TapSourceTable *table;
	TupleTableSlot *new_slot;
	TupleTableSlot *old_slot;
} Followed;

struct TapSession
{
	const TapSessionArgs *args;
	char	   *path;
	FILE	   *file;

	/* the stream */
	TapStreamArgs stream;
	List	   *followed;		/* of Followed * */
	int64		position;		/* behind the last commit that was read */
	int64		reported;		/* what the core knows of it */
	int64		begin;			/* of the transaction under way */
	bool		in_txn;
	MemoryContext txn_context;
	List	   *changes;		/* of Change *: the rest of it */
	Change	   *current;

	FakeSink   *sink;			/* of TAP_PURPOSE_SINK; else NULL */
};

static FakeSink *
fake_sink_of(TapSession *session)
{
	return session->sink;
}

/* ---------------------------------------------------------------------
 * Sessions and checks
 * ---------------------------------------------------------------------
 */

/* The offset behind the last commit of the file. */
static int64
last_commit(TapSession *session)
{
	int64		begin;
	int64		end = 0;
	List	   *changes;

	fseeko(session->file, 0, SEEK_SET);
	while (read_txn(session->file, &changes, &begin, &end))
		;
	return end;
}

static TapSession *
fake_open(const TapSessionArgs *args)
{
	MemoryContext caller;
	TapSession *session;
	char	   *path = file_path(args->uri);

	fail_on_request(path);
	caller = MemoryContextSwitchTo(args->context);
	session = palloc0(sizeof(TapSession));
	session->args = args;
	session->path = pstrdup(path);
	if (args->purpose == TAP_PURPOSE_SINK)
	{
		session->sink = fake_sink_open(args, false);
		MemoryContextSwitchTo(caller);
		return session;
	}
	session->txn_context = AllocSetContextCreate(args->context, "fake transaction",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(caller);

	session->file = fopen(path, "r");
	if (session->file == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not open \"%s\": %m", path)));
	return session;
}

static void
fake_close(TapSession *session)
{
	if (session->file != NULL)
		fclose(session->file);
	session->file = NULL;
	if (session->sink != NULL)
		fake_sink_close(session->sink);
}

static List *
fake_test(const TapSessionArgs *args, List *tables)
{
	TapCheck   *check;
	char	   *path = file_path(args->uri);
	FILE	   *file;

	if (args->purpose == TAP_PURPOSE_SINK)
		return fake_sink_test(args);
	check = palloc0(sizeof(TapCheck));
	file = fopen(path, "r");
	check->name = "file";
	check->required = true;
	check->ok = file != NULL;
	check->detail = check->ok ? pstrdup("is readable") : psprintf("%s: %m", path);
	check->hint = check->ok ? NULL : pstrdup("Create the file.");
	check->sqlstate = ERRCODE_CONNECTION_FAILURE;
	if (file != NULL)
		fclose(file);
	return list_make1(check);
}

static void
fake_check_uri(const TapUri *uri, const TapOptions *options)
{
	if (uri->path == NULL || uri->path[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI of a fake source needs a path")));
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

static TapSourceTable *
fake_table(const char *name)
{
	TapSourceTable *table = palloc0(sizeof(TapSourceTable));
	TupleDesc	descriptor = CreateTemplateTupleDesc(2);
	MemoryContext caller = CurrentMemoryContext;
	bool		own_txn = !IsTransactionState();

	if (own_txn)
		StartTransactionCommand();
	MemoryContextSwitchTo(caller);
	TupleDescInitEntry(descriptor, 1, "id", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, 2, "value", TEXTOID, -1, 0);
	TupleDescInitEntryCollation(descriptor, 2, DEFAULT_COLLATION_OID);
	if (own_txn)
		CommitTransactionCommand();
	MemoryContextSwitchTo(caller);

	table->name.schema = pstrdup(SCHEMA_NAME);
	table->name.name = pstrdup(name);
	table->descriptor = descriptor;
	table->nkeys = 1;
	table->keys = palloc(sizeof(AttrNumber));
	table->keys[0] = 1;
	table->column_comments = palloc0(2 * sizeof(char *));
	table->column_types = palloc(2 * sizeof(char *));
	table->column_types[0] = pstrdup("id");
	table->column_types[1] = pstrdup("value");
	table->estimated_rows = -1;
	table->estimated_bytes = -1;
	table->definition = pstrdup("1");
	return table;
}

static List *
fake_list_tables(TapSession *session)
{
	List	   *names = NIL;
	StringInfoData line;

	initStringInfo(&line);
	fseeko(session->file, 0, SEEK_SET);
	while (read_line(session->file, &line))
	{
		if (strncmp(line.data, "table ", 6) == 0)
		{
			TapTableName *name = palloc(sizeof(TapTableName));

			name->schema = pstrdup(SCHEMA_NAME);
			name->name = pstrdup(line.data + 6);
			names = lappend(names, name);
		}
	}
	return names;
}

static List *
fake_describe_tables(TapSession *session, List *names)
{
	List	   *existing = fake_list_tables(session);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);
		ListCell   *other;

		foreach(other, existing)
		{
			if (strcmp(name->name, ((TapTableName *) lfirst(other))->name) == 0)
			{
				result = lappend(result, fake_table(name->name));
				break;
			}
		}
	}
	return result;
}

static TapSourceTable *
fake_table_from_definition(TapSession *session, const TapTableName *name,
						   const char *definition)
{
	return fake_table(name->name);
}

/* ---------------------------------------------------------------------
 * Positions
 * ---------------------------------------------------------------------
 */

static char *
fake_current_position(TapSession *session)
{
	return psprintf(INT64_FORMAT, last_commit(session));
}

static int64
fake_log_behind(TapSession *session, const char *position, bool *purged,
				char **detail, char **hint)
{
	int64		behind = last_commit(session) - strtoll(position, NULL, 10);

	*purged = behind < 0;
	if (*purged)
	{
		*detail = pstrdup("The file has become shorter.");
		*hint = pstrdup("Use tapdata.resync().");
	}
	return behind;
}

static TapPositionOrder
fake_position_compare(const char *a, const char *b)
{
	int64		left = strtoll(a, NULL, 10);
	int64		right = strtoll(b, NULL, 10);

	return left == right ? TAP_POSITION_EQUAL :
		left < right ? TAP_POSITION_BEFORE : TAP_POSITION_AFTER;
}

#include "fake_snapshot.h"

/* ---------------------------------------------------------------------
 * The stream
 * ---------------------------------------------------------------------
 */

static void
fake_stream_start(TapSession *session, const TapStreamArgs *args)
{
	session->stream = *args;
	session->position = strtoll(args->position, NULL, 10);
	session->reported = session->position;
	fseeko(session->file, session->position, SEEK_SET);
}

static void
fake_stream_refollow(TapSession *session)
{
	session->followed = NIL;
}

/* What the core said about a table, asked for once. */
static Followed *
followed(TapSession *session, const char *name)
{
	MemoryContext caller;
	Followed   *entry;
	ListCell   *cell;
	const char *definition;
	TapTableName source;

	foreach(cell, session->followed)
	{
		entry = lfirst(cell);
		if (strcmp(entry->name, name) == 0)
			return entry;
	}

	caller = MemoryContextSwitchTo(session->args->context);
	entry = palloc0(sizeof(Followed));
	entry->name = pstrdup(name);
	source.schema = SCHEMA_NAME;
	source.name = entry->name;
	entry->table_data = session->stream.table_followed(session->stream.core_data,
													   &source, false, &definition);
	entry->table = fake_table(name);
	entry->new_slot = MakeSingleTupleTableSlot(entry->table->descriptor, &TTSOpsVirtual);
	entry->old_slot = MakeSingleTupleTableSlot(entry->table->descriptor, &TTSOpsVirtual);
	session->followed = lappend(session->followed, entry);
	MemoryContextSwitchTo(caller);
	return entry;
}

/* Read on until a transaction has changes for the core; false: none yet. */
static bool
next_txn(TapSession *session)
{
	MemoryContext caller;
	List	   *changes;
	int64		end;
	bool		found;

	for (;;)
	{
		ListCell   *cell;

		MemoryContextReset(session->txn_context);
		caller = MemoryContextSwitchTo(session->txn_context);
		found = read_txn(session->file, &changes, &session->begin, &end);
		MemoryContextSwitchTo(caller);
		if (!found)
			return false;

		session->position = end;
		session->changes = NIL;
		foreach(cell, changes)
		{
			Change	   *change = lfirst(cell);

			if (followed(session, change->table)->table_data == NULL)
				continue;
			caller = MemoryContextSwitchTo(session->txn_context);
			session->changes = lappend(session->changes, change);
			MemoryContextSwitchTo(caller);
		}
		if (session->changes != NIL)
			return true;
	}
}

/* Hand out the next change of the transaction. */
static TapEventKind
next_change(TapSession *session, TapEvent *event)
{
	static const bool key_only[] = {true, false};
	Change	   *change = linitial(session->changes);
	Followed   *table = followed(session, change->table);

	session->changes = list_delete_first(session->changes);
	session->current = change;
	event->kind = TAP_EVENT_CHANGE;
	event->change = change->kind;
	event->table = table->table;
	event->table_data = table->table_data;
	event->bytes = 1;
	if (change->kind == TAP_CHANGE_DELETE)
	{
		fill_slot(table->old_slot, change->id, NULL);
		event->old_row.slot = table->old_slot;
		event->old_row.present = key_only;
	}
	else if (change->kind == TAP_CHANGE_UPDATE && change->new_id != change->id)
	{
		fill_slot(table->old_slot, change->id, NULL);
		event->old_row.slot = table->old_slot;
		event->old_row.present = key_only;
		fill_slot(table->new_slot, change->new_id, change->value);
		event->new_row.slot = table->new_slot;
		event->new_row.present = change->value == NULL ? key_only : NULL;
	}
	else if (change->kind != TAP_CHANGE_TRUNCATE)
	{
		fill_slot(table->new_slot, change->id, change->value);
		event->new_row.slot = table->new_slot;
	}
	return event->kind;
}

static TapEventKind
fake_stream_next(TapSession *session, TapEvent *event)
{
	memset(event, 0, sizeof(TapEvent));

	if (session->in_txn)
	{
		if (session->changes != NIL)
			return next_change(session, event);
		session->in_txn = false;
		session->reported = session->position;
		event->kind = TAP_EVENT_COMMIT;
	}
	else if (next_txn(session))
	{
		session->in_txn = true;
		event->kind = TAP_EVENT_BEGIN;
	}
	else if (session->reported < session->position)
	{
		session->reported = session->position;
		event->kind = TAP_EVENT_HEARTBEAT;
	}
	return event->kind;
}

static void
fake_stream_wait(TapSession *session, TapWait *wait)
{
	wait->socket = PGINVALID_SOCKET;
	wait->events = 0;
	wait->timeout_ms = POLL_MS;
}

static char *
fake_stream_position(TapSession *session)
{
	return psprintf(INT64_FORMAT, session->reported);
}

static bool
fake_txn_covered(TapSession *session, const char *position)
{
	return session->begin < strtoll(position, NULL, 10);
}

static char *
fake_describe_event(TapSession *session)
{
	return psprintf("{\"table\": \"%s\", \"id\": " INT64_FORMAT "}",
					session->current->table, session->current->id);
}

static void
fake_acknowledge(TapSession *session, const char *position)
{
}

/* ---------------------------------------------------------------------
 * The connector
 * ---------------------------------------------------------------------
 */

static const TapOption options[] = {
	{.name = "delay_ms",.type = TAP_OPTION_INT,.scope = TAP_SCOPE_PULL,
		.default_value = "0",.minimum = 0,.maximum = 60000,
	.help = "pause before each chunk of a copy"},
	FAKE_SINK_OPTIONS,
	{.name = NULL}
};

static const char *const uri_schemes[] = {"fake", NULL};

static const TapSourceCallbacks source = {
	.list_tables = fake_list_tables,
	.describe_tables = fake_describe_tables,
	.table_from_definition = fake_table_from_definition,
	.current_position = fake_current_position,
	.safe_position = fake_current_position,
	.log_behind = fake_log_behind,
	.position_compare = fake_position_compare,
	.snapshot_plan = fake_snapshot_plan,
	.snapshot_copy = fake_snapshot_copy,
	.snapshot_copy_exact = fake_snapshot_copy_exact,
	.stream_start = fake_stream_start,
	.stream_refollow = fake_stream_refollow,
	.stream_next = fake_stream_next,
	.stream_wait = fake_stream_wait,
	.stream_position = fake_stream_position,
	.txn_covered = fake_txn_covered,
	.describe_event = fake_describe_event,
	.acknowledge = fake_acknowledge
};

static const TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "fake",
	.description = "a text file of changes, for tests",
	.version = "1",
	.uri_schemes = uri_schemes,
	.options = options,
	.capabilities = TAP_CAN_SNAPSHOT | TAP_CAN_EXACT_COPY | TAP_CAN_STREAM | TAP_POLLS,
	.check_uri = fake_check_uri,
	.open = fake_open,
	.close = fake_close,
	.test = fake_test,
	.source = &source,
	.sink = &fake_sink_callbacks
};

const TapConnector *
tap_connector_init(const TapCore *tapdata)
{
	core = tapdata;
	return &connector;
}
