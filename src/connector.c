/*-------------------------------------------------------------------------
 *
 * src/connector.c
 *	  Finds, loads and checks connectors; opens and closes their sessions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "connector_loader.h"
#include "errors.h"
#include "notes.h"
#include "options.h"
#include "publish.h"
#include "worker.h"

#define LIBRARY_PREFIX	"tapdata_"

/* An event that waits for the next commit. */
typedef struct PendingEvent
{
	char	   *kind;
	TapTableName table;
	bool		has_table;
	char	   *message;
} PendingEvent;

/* Connectors that this process has loaded, of const TapConnector *. */
static List *loaded = NIL;

/* Of PendingEvent *; all in TopMemoryContext. */
static List *pending_events = NIL;

static const TapCore core = {
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapCore),
	.option_text = tap_options_text,
	.option_int = tap_options_int,
	.option_bool = tap_options_bool,
	.option_given = tap_options_given,
	.wait_socket = tap_wait_socket,
	.wait_socket_quiet = tap_wait_socket_quiet,
	.password = tap_password,
	.event = tap_core_event,
	.dead_letter = tap_publish_dead_letter,
	.read_secret_file = tap_read_secret_file,
	.remember = tap_notes_remember,
	.recall = tap_notes_recall,
	.option_keys = tap_options_keys,
	.awaited = tap_core_awaited,
	.delayed = tap_core_delayed
};

TimestampTz
tap_core_awaited(void)
{
	return tap_worker_shared ? tap_shmem_awaited_at(tap_worker_shared) : 0;
}

void
tap_core_delayed(const char *why)
{
	char	   *text = why ? pstrdup(why) : NULL;

	if (tap_worker_shared == NULL)
		return;
	if (text != NULL)
		tap_error_make_valid(text);
	tap_shmem_set_delayed(tap_worker_shared, text);
}

/* ---------------------------------------------------------------------
 * Events of connectors
 * ---------------------------------------------------------------------
 */

static void
free_pending_events(void)
{
	ListCell   *cell;

	foreach(cell, pending_events)
	{
		PendingEvent *event = lfirst(cell);

		pfree(event->kind);
		pfree(event->message);
		if (event->table.schema != NULL)
			pfree(event->table.schema);
		if (event->table.name != NULL)
			pfree(event->table.name);
		pfree(event);
	}
	list_free(pending_events);
	pending_events = NIL;
}

static void
write_pending_events(XactEvent xact_event, void *arg)
{
	TapPipelineRow *pipeline;
	ListCell   *cell;

	/* those of a copy, which only reads, wait for the next transaction */
	if (xact_event != XACT_EVENT_PRE_COMMIT || pending_events == NIL ||
		tap_worker_args == NULL || XactReadOnly)
		return;

	/* what the transaction did has given up its snapshot by now */
	PushActiveSnapshot(GetTransactionSnapshot());
	pipeline = tap_catalog_pipeline_by_id(tap_worker_args->pipeline, true);
	foreach(cell, pending_events)
	{
		PendingEvent *event = lfirst(cell);

		tap_catalog_insert_event(pipeline ? pipeline->name : NULL,
								 event->has_table ? &event->table : NULL,
								 strcmp(event->kind, "warning") == 0 ? "warning" : "info",
								 event->kind, event->message);
	}
	PopActiveSnapshot();
	free_pending_events();
}

/* Called where no transaction need be open, hence the list. */
void
tap_core_event(const char *kind, const TapTableName *table, const char *message)
{
	static bool registered = false;
	MemoryContext before;
	PendingEvent *event;

	if (tap_worker_args == NULL)
	{
		ereport(NOTICE,
				(errmsg_internal("%s", message)));
		return;
	}
	if (!registered)
	{
		RegisterXactCallback(write_pending_events, NULL);
		registered = true;
	}
	before = MemoryContextSwitchTo(TopMemoryContext);
	event = palloc0(sizeof(PendingEvent));
	event->kind = pstrdup(kind);
	event->message = pstrdup(message);
	if (table != NULL)
	{
		event->has_table = true;
		event->table.schema = table->schema ? pstrdup(table->schema) : NULL;
		event->table.name = pstrdup(table->name);
	}
	pending_events = lappend(pending_events, event);
	MemoryContextSwitchTo(before);
}

/* ---------------------------------------------------------------------
 * Loading
 * ---------------------------------------------------------------------
 */

/* Names become parts of file names. */
static bool
name_is_safe(const char *name)
{
	return name[0] != '\0' &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

static bool
library_exists(const char *name)
{
	struct stat status;

	return stat(psprintf("%s/" LIBRARY_PREFIX "%s" DLSUFFIX, pkglib_path, name), &status) == 0;
}

static void
check_connector(const TapConnector *connector, const char *name)
{
	if (connector == NULL || connector->magic != TAP_CONNECTOR_MAGIC ||
		connector->abi != TAP_CONNECTOR_ABI || connector->size != sizeof(TapConnector))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("connector \"%s\" was built for another version of tapdata", name),
				 errhint("Build and install the connector again.")));
	if (strcmp(connector->name, name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("library of connector \"%s\" calls itself \"%s\"", name, connector->name)));
}

static const TapConnector *
find_loaded(const char *name)
{
	ListCell   *cell;

	foreach(cell, loaded)
	{
		const TapConnector *connector = lfirst(cell);

		if (strcmp(connector->name, name) == 0)
			return connector;
	}
	return NULL;
}

const TapConnector *
tap_connector_load(const char *name)
{
	const TapConnector *connector = find_loaded(name);
	TapConnectorInit init;
	MemoryContext before;

	if (connector != NULL)
		return connector;
	if (!name_is_safe(name) || !library_exists(name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("connector \"%s\" is not installed", name),
				 errhint("See tapdata.connectors.  \"make install\" says which client library a "
						 "connector that it leaves out needs.")));
	init = (TapConnectorInit) load_external_function(psprintf("$libdir/" LIBRARY_PREFIX "%s", name),
													 TAP_CONNECTOR_INIT, true, NULL);
	connector = init(&core);
	check_connector(connector, name);

	before = MemoryContextSwitchTo(TopMemoryContext);
	loaded = lappend(loaded, unconstify(TapConnector *, connector));
	MemoryContextSwitchTo(before);
	return connector;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Names (char *) of the libraries that look like connectors, in order. */
static List *
installed_names(void)
{
	DIR		   *directory = AllocateDir(pkglib_path);
	struct dirent *entry;
	List	   *names = NIL;
	Size		prefix = strlen(LIBRARY_PREFIX);
	Size		suffix = strlen(DLSUFFIX);

	while ((entry = ReadDir(directory, pkglib_path)) != NULL)
	{
		Size		length = strlen(entry->d_name);
		char	   *name;

		if (length <= prefix + suffix ||
			strncmp(entry->d_name, LIBRARY_PREFIX, prefix) != 0 ||
			strcmp(entry->d_name + length - suffix, DLSUFFIX) != 0)
			continue;
		name = pnstrdup(entry->d_name + prefix, length - prefix - suffix);
		if (name_is_safe(name))
			names = lappend(names, name);
	}
	FreeDir(directory);
	list_sort(names, compare_names);
	return names;
}

/* Load a connector; NULL after a warning when that fails. */
static const TapConnector *
try_load(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	const TapConnector *volatile connector = NULL;

	PG_TRY();
	{
		connector = tap_connector_load(name);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		ereport(WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("connector \"%s\" could not be loaded", name),
				 errdetail_internal("%s", edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	return connector;
}

const TapConnector *
tap_connector_find(const char *name)
{
	if (!name_is_safe(name) || !library_exists(name))
		return find_loaded(name);
	return try_load(name);
}

List *
tap_connector_all(void)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, installed_names())
	{
		const TapConnector *connector = try_load(lfirst(cell));

		if (connector != NULL)
			result = lappend(result, unconstify(TapConnector *, connector));
	}
	return result;
}

static bool
takes_scheme(const TapConnector *connector, const char *scheme)
{
	for (int i = 0; connector->uri_schemes[i] != NULL; i++)
	{
		if (strcmp(connector->uri_schemes[i], scheme) == 0)
			return true;
	}
	return false;
}

static const TapConnector *
find_by_scheme(List *connectors, const char *scheme)
{
	ListCell   *cell;

	foreach(cell, connectors)
	{
		if (takes_scheme(lfirst(cell), scheme))
			return lfirst(cell);
	}
	return NULL;
}

static char *
known_schemes(List *connectors)
{
	StringInfoData names;
	ListCell   *cell;

	initStringInfo(&names);
	foreach(cell, connectors)
	{
		const TapConnector *connector = lfirst(cell);

		for (int i = 0; connector->uri_schemes[i] != NULL; i++)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 connector->uri_schemes[i]);
	}
	return names.data;
}

const TapConnector *
tap_connector_for_scheme(const char *scheme)
{
	const TapConnector *connector = find_by_scheme(loaded, scheme);
	List	   *all;

	if (connector != NULL)
		return connector;

	/* most are called by their scheme; only for the others load all */
	if (name_is_safe(scheme) && library_exists(scheme))
	{
		connector = tap_connector_load(scheme);
		if (takes_scheme(connector, scheme))
			return connector;
	}
	all = tap_connector_all();
	connector = find_by_scheme(all, scheme);
	if (connector == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no connector for URIs that begin with \"%s://\" is installed", scheme),
				 all == NIL ? errhint("No connector is installed at all; \"make install\" says why.") :
				 errhint("Known schemes are: %s.", known_schemes(all))));
	return connector;
}

/* ---------------------------------------------------------------------
 * Sessions
 * ---------------------------------------------------------------------
 */

/* The same for a pipeline of this database on each call, and no other's. */
static int64
pipeline_seed(const TapPipelineRow *pipeline)
{
	uint64		seed = GetSystemIdentifier();

	seed = hash_combine64(seed, (uint64) MyDatabaseId);
	if (pipeline != NULL)
		seed = hash_combine64(seed, (uint64) pipeline->id);
	return (int64) seed;
}

static TapOpenSession *
prepare_session(const TapConnectionRow *connection, const TapPipelineRow *pipeline,
				TapPurpose purpose)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata session",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	TapOpenSession *session = palloc0(sizeof(TapOpenSession));
	TapUri	   *uri = tap_uri_parse(connection->uri);

	session->context = context;
	session->connector = tap_connector_load(connection->connector);
	session->source = session->connector->source;
	session->sink = session->connector->sink;
	session->args.uri = uri;
	session->args.options = tap_options_parse(connection->options, uri->query,
											  session->connector, TAP_SCOPE_CONNECTION, context);
	if (pipeline != NULL)
	{
		session->args.pipeline_options =
			tap_options_parse(pipeline->options, NULL, session->connector,
							  pipeline->direction == TAP_PULL ? TAP_SCOPE_PULL : TAP_SCOPE_PUBLISH,
							  context);
		session->args.pipeline_name = pstrdup(pipeline->name);
	}
	session->args.pipeline_seed = pipeline_seed(pipeline);
	if (pipeline != NULL)
		session->args.pipeline_identity = psprintf(UINT64_FORMAT "/%u/%d",
												   GetSystemIdentifier(), MyDatabaseId,
												   pipeline->id);
	if (pipeline != NULL && pipeline->into_schema != NULL)
		session->args.into_schema = pstrdup(pipeline->into_schema);
	session->args.purpose = purpose;
	if (tap_worker_args != NULL && tap_worker_args->kind == TAP_PROCESS_SYNC)
		session->args.table_id = tap_worker_args->table;
	session->args.context = context;
	MemoryContextSwitchTo(before);
	return session;
}

TapOpenSession *
tap_session_open(const TapConnectionRow *connection, const TapPipelineRow *pipeline,
				 TapPurpose purpose)
{
	TapOpenSession *session = prepare_session(connection, pipeline, purpose);

	session->session = session->connector->open(&session->args);
	return session;
}

List *
tap_session_test(const TapConnectionRow *connection, const TapPipelineRow *pipeline,
				 List *tables)
{
	bool		sink = pipeline != NULL && pipeline->direction == TAP_PUBLISH;
	TapOpenSession *session = prepare_session(connection, pipeline,
											  sink ? TAP_PURPOSE_SINK : TAP_PURPOSE_TEST);

	session->args.sides = sink ? TAP_SIDE_TARGET : TAP_SIDE_SOURCE;

	/* its memory goes with the caller's context: checks may point into it */
	return session->connector->test(&session->args, tables);
}

List *
tap_session_test_connection(const TapConnectionRow *connection, int sides)
{
	TapOpenSession *session = prepare_session(connection, NULL, TAP_PURPOSE_TEST);

	session->args.sides = sides;
	return session->connector->test(&session->args, NIL);
}

void
tap_session_close(TapOpenSession *session)
{
	if (session->session != NULL)
		session->connector->close(session->session);
	MemoryContextDelete(session->context);
}

/* ---------------------------------------------------------------------
 * Copies of what connectors return
 * ---------------------------------------------------------------------
 */

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static char **
copy_texts(char **texts, int count)
{
	char	  **result;

	if (texts == NULL)
		return NULL;
	result = palloc(sizeof(char *) * count);
	for (int i = 0; i < count; i++)
		result[i] = copy_text(texts[i]);
	return result;
}

static AttrNumber *
copy_columns(const AttrNumber *columns, int count)
{
	AttrNumber *result = palloc(sizeof(AttrNumber) * (count + 1));

	if (count > 0)
		memcpy(result, columns, sizeof(AttrNumber) * count);
	return result;
}

TapSourceTable *
tap_source_table_copy(const TapSourceTable *table)
{
	TapSourceTable *result = palloc(sizeof(TapSourceTable));
	int			ncolumns = table->descriptor->natts;

	*result = *table;
	result->name.schema = copy_text(table->name.schema);
	result->name.name = copy_text(table->name.name);
	result->descriptor = CreateTupleDescCopyConstr(table->descriptor);
	result->keys = copy_columns(table->keys, table->nkeys);
	result->indexes = palloc0(sizeof(TapSourceIndex) * (table->nindexes + 1));
	for (int i = 0; i < table->nindexes; i++)
	{
		result->indexes[i] = table->indexes[i];
		result->indexes[i].name = copy_text(table->indexes[i].name);
		result->indexes[i].columns = copy_columns(table->indexes[i].columns,
												  table->indexes[i].ncolumns);
	}
	result->comment = copy_text(table->comment);
	result->column_comments = copy_texts(table->column_comments, ncolumns);
	result->column_types = copy_texts(table->column_types, ncolumns);
	result->column_defaults = copy_texts(table->column_defaults, ncolumns);
	result->definition = copy_text(table->definition);
	result->connector_data = NULL;
	return result;
}
