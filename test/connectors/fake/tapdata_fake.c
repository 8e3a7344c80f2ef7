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

#include "fake_sink.h"

#define SCHEMA_NAME		"fake"
#define POLL_MS			20

/* One line of a transaction. */
typedef struct Change
{
	TapChangeKind kind;
	char	   *table;
	int64		id;
	char	   *value;			/* NULL: delete or truncate */
} Change;

/* A row, when the file is replayed for a snapshot. */
typedef struct Row
{
	int64		id;
	char	   *value;
} Row;

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
 * Reading the file
 * ---------------------------------------------------------------------
 */

/* The path of a session's file. */
static char *
file_path(const TapUri *uri)
{
	return psprintf("/%s", uri->path ? uri->path : "");
}

/* Fail as the test wants it. */
static void
fail_on_request(const char *path)
{
	FILE	   *file = fopen(psprintf("%s.error", path), "r");
	char		sqlstate[6];
	char		message[256];
	int			fields;

	if (file == NULL)
		return;
	fields = fscanf(file, "%5s %255[^\n]", sqlstate, message);
	fclose(file);
	if (fields == 2)
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
									   sqlstate[3], sqlstate[4])),
				 errmsg("%s", message)));
}

/* The next whole line in line, without its end; false when there is none. */
static bool
read_line(FILE *file, StringInfo line)
{
	off_t		start = ftello(file);
	int			c;

	clearerr(file);
	resetStringInfo(line);
	while ((c = getc(file)) != EOF)
	{
		if (c == '\n')
			return true;
		appendStringInfoChar(line, c);
	}
	fseeko(file, start, SEEK_SET);
	return false;
}

/* A line as a change; NULL: it is none. */
static Change *
parse_change(char *line)
{
	static const char *const words[] = {"insert", "update", "delete", "truncate"};
	Change	   *change = palloc0(sizeof(Change));
	char	   *word = strsep(&line, " ");
	char	   *id;

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(word, words[i]) != 0)
			continue;
		change->kind = TAP_CHANGE_INSERT + i;
		change->table = pstrdup(line ? strsep(&line, " ") : "");
		id = line ? strsep(&line, " ") : NULL;
		change->id = id ? strtoll(id, NULL, 10) : 0;
		change->value = line ? pstrdup(line) : NULL;
		return change;
	}
	pfree(change);
	return NULL;
}

/*
 * Read the next whole transaction from the file's position.  Returns false
 * when there is none yet; else *end is the position behind it.
 */
static bool
read_txn(FILE *file, List **changes, int64 *begin, int64 *end)
{
	off_t		start = ftello(file);
	StringInfoData line;

	initStringInfo(&line);
	*changes = NIL;
	*begin = start;
	while (read_line(file, &line))
	{
		Change	   *change = parse_change(line.data);

		if (change != NULL)
			*changes = lappend(*changes, change);
		else if (strcmp(line.data, "commit") == 0)
		{
			*end = ftello(file);
			return true;
		}
	}
	fseeko(file, start, SEEK_SET);
	return false;
}

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

/* ---------------------------------------------------------------------
 * Sessions and checks
 * ---------------------------------------------------------------------
 */

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

/* ---------------------------------------------------------------------
 * The snapshot
 * ---------------------------------------------------------------------
 */

/* Find a row by its id. */
static Row *
find_row(List *rows, int64 id)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		if (((Row *) lfirst(cell))->id == id)
			return lfirst(cell);
	}
	return NULL;
}

/* The rows of a table after one more change. */
static List *
replay(List *rows, const Change *change)
{
	Row		   *row = find_row(rows, change->id);

	if (change->kind == TAP_CHANGE_TRUNCATE)
		return NIL;
	if (change->kind == TAP_CHANGE_DELETE)
		return list_delete_ptr(rows, row);
	if (row == NULL)
	{
		row = palloc0(sizeof(Row));
		row->id = change->id;
		rows = lappend(rows, row);
	}
	row->value = change->value;
	return rows;
}

/* The rows of a table now (List of Row *), and the position they are at. */
static List *
rows_now(TapSession *session, const char *table, int64 *end)
{
	List	   *rows = NIL;
	List	   *changes;
	int64		begin;

	*end = 0;
	fseeko(session->file, 0, SEEK_SET);
	while (read_txn(session->file, &changes, &begin, end))
	{
		ListCell   *cell;

		foreach(cell, changes)
		{
			Change	   *change = lfirst(cell);

			if (strcmp(change->table, table) == 0)
				rows = replay(rows, change);
		}
	}
	return rows;
}

static void
fake_snapshot_plan(TapSession *session, TapSourceTable *table, int64 chunk_rows,
				   void (*emit) (void *core_data, const TapChunk *chunk),
				   void *core_data)
{
	TapChunk	chunk = {0};
	int64		end;
	List	   *rows = rows_now(session, table->name.name, &end);
	int64		largest = 0;
	ListCell   *cell;

	foreach(cell, rows)
		largest = Max(largest, ((Row *) lfirst(cell))->id);

	for (int64 high = chunk_rows; high < largest; high += chunk_rows)
	{
		chunk.high = psprintf(INT64_FORMAT, high);
		chunk.estimated_rows = chunk_rows;
		emit(core_data, &chunk);
		chunk.low = chunk.high;
	}
	chunk.high = NULL;
	emit(core_data, &chunk);
}

/* Fill a slot, which may lack the value. */
static void
fill_slot(TupleTableSlot *slot, int64 id, const char *value)
{
	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum(id);
	slot->tts_isnull[0] = false;
	slot->tts_values[1] = value ? CStringGetTextDatum(value) : (Datum) 0;
	slot->tts_isnull[1] = value == NULL;
	ExecStoreVirtualTuple(slot);
}

static void
copy_rows(List *rows, const TapChunk *chunk, TapRowReceiver *receiver)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		Row		   *row = lfirst(cell);
		TupleTableSlot *slot;

		if ((chunk->low && row->id <= strtoll(chunk->low, NULL, 10)) ||
			(chunk->high && row->id > strtoll(chunk->high, NULL, 10)))
			continue;
		CHECK_FOR_INTERRUPTS();
		slot = receiver->next_slot(receiver);
		fill_slot(slot, row->id, row->value);
		receiver->put_slot(receiver, slot);
	}
}

static void
fake_snapshot_copy(TapSession *session, TapSourceTable *table,
				   const TapChunk *chunk, TapRowReceiver *receiver)
{
	MemoryContext rows_context = CurrentMemoryContext;
	int64		end;
	List	   *rows = rows_now(session, table->name.name, &end);
	long		delay_ms = 0;

	if (session->args->pipeline_options != NULL)
		delay_ms = core->option_int(session->args->pipeline_options, "delay_ms");
	if (delay_ms > 0)
		(void) core->wait_socket(PGINVALID_SOCKET, 0, delay_ms);
	copy_rows(rows, chunk, receiver);
	MemoryContextSwitchTo(rows_context);
}

static char *
fake_snapshot_copy_exact(TapSession *session, TapSourceTable *table,
						 TapRowReceiver *receiver)
{
	MemoryContext caller = CurrentMemoryContext;
	TapChunk	all = {0};
	int64		end;
	List	   *rows = rows_now(session, table->name.name, &end);

	copy_rows(rows, &all, receiver);
	MemoryContextSwitchTo(caller);
	return psprintf(INT64_FORMAT, end);
}

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
