/*-------------------------------------------------------------------------
 *
 * connectors/file/file_connector.c
 *	  The file connector as the core sees it: options, URIs, sessions.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/memutils.h"

#include "cobol_format.h"
#include "record_columns.h"

PG_MODULE_MAGIC;

const TapCore *tap_file_core;

static const char *const schemes[] = {"file", NULL};
static const char *const compressions[] = {"auto", "none", "gzip", "zstd", NULL};

static const TapOption options[] = {
	{
		.name = "table",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "name of the table, instead of one made of the file's"
	},
	{
		.name = "tables",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_file_check_tables,
		.help = "of a folder: which files are which table, as {\"orders\": \"orders_*.csv\"}, or with options of their own"
	},
	{
		.name = "mode",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.values = tap_file_modes,
		.help = "what rows do: append, upsert by key, or replace the table by the newest file; by default append without a key, replace for one file, upsert for several"
	},
	{
		.name = "key",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_file_check_key,
		.help = "columns of the key, divided by commas"
	},
	{
		.name = "format",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.values = tap_format_names,
		.help = "how files are read; by default what their names or beginnings say"
	},
	{
		.name = "columns",
		.type = TAP_OPTION_JSON,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_record_columns_check,
		.help = "columns and their types, as {\"id\": \"bigint\"}; those that are not named are found in the first file"
	},
	{
		.name = "compression",
		.type = TAP_OPTION_ENUM,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "auto",
		.values = compressions,
		.help = "how files are compressed; auto: what their first bytes say"
	},
	{
		.name = "encoding",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "UTF8",
		.check = tap_file_check_encoding,
		.help = "encoding of files of text, by PostgreSQL's name for it"
	},
	{
		.name = "delimiter",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_file_check_character,
		.help = "CSV: what divides fields; found in the file if not given"
	},
	{
		.name = "quote",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_file_check_character,
		.help = "CSV: what quotes fields; empty: nothing does"
	},
	{
		.name = "escape",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.check = tap_file_check_character,
		.help = "CSV: what comes before a quote within quotes; usually the quote"
	},
	{
		.name = "header",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "CSV: whether the first record names the columns; found in the file if not given"
	},
	{
		.name = "null",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "",
		.help = "CSV: what stands for NULL if it is not quoted"
	},
	{
		.name = "skip_rows",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "0",
		.minimum = 0,
		.maximum = 1000000,
		.help = "CSV: lines to leave out at the beginning of a file, before the header"
	},
	{
		.name = "max_record_bytes",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "16777216",
		.minimum = 1024,
		.maximum = 536870912,
		.help = "bytes that a record may have at most"
	},
	{
		.name = "max_expansion",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "1000",
		.minimum = 0,
		.maximum = 1000000000,
		.help = "how many times as large a compressed file may become; 0: any"
	},
	{
		.name = "settle_ms",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "1000",
		.minimum = 0,
		.maximum = 86400000,
		.help = "milliseconds for which nobody has changed a file before it is begun"
	},
	{
		.name = "poll_ms",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "5000",
		.minimum = 20,
		.maximum = 86400000,
		.help = "milliseconds after which folders are looked at again though the kernel told of no change"
	},
	{
		.name = "require_newline",
		.type = TAP_OPTION_BOOL,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "false",
		.help = "a last line without a line break is left until it has one, however old the file is"
	},
	{
		.name = "ignore",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "*.tmp, *.part, *.partial, *.filepart, *.crdownload, *~",
		.help = "names of files that are not read though they match, divided by commas"
	},
	{
		.name = "done_suffix",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "a file is read only when there is one of its name with this suffix"
	},
	{
		.name = "lock_suffix",
		.type = TAP_OPTION_TEXT,
		.scope = TAP_SCOPE_CONNECTION,
		.help = "a file is not read while there is one of its name with this suffix"
	},
	{
		.name = "forget_days",
		.type = TAP_OPTION_INT,
		.scope = TAP_SCOPE_CONNECTION,
		.default_value = "90",
		.minimum = 0,
		.maximum = 36500,
		.help = "how old a file that is gone must be for the pipeline to forget that it was read"
	},
	TAP_COBOL_OPTIONS(TAP_SCOPE_CONNECTION),
	{.name = NULL}
};

/* ---------------------------------------------------------------------
 * URIs
 * ---------------------------------------------------------------------
 */

static void
check_uri(const TapUri *uri, const TapOptions *given)
{
	tap_file_check_privilege();
	if (uri->nhosts > 0 || uri->user != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI of files names a host"),
				 errhint("Files are read on the server: write file:///path, with three slashes.")));
	if (uri->path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI names no file"),
				 errhint("Write file:///path/to/files_*.csv.")));
	if (strstr(uri->path, "../") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI's path has a \"..\" in it")));
	if (tap_file_core->option_given(given, "table") && tap_file_core->option_given(given, "tables"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"table\" and \"tables\" exclude each other")));
}

/* ---------------------------------------------------------------------
 * Sessions
 * ---------------------------------------------------------------------
 */

/* The path without a slash at its end; a folder if it had one or is one. */
static void
set_path(TapSession *session)
{
	char	   *path = psprintf("/%s", session->args->uri->path);
	Size		length = strlen(path);
	struct stat status;

	session->folder = path[length - 1] == '/' ||
		tap_file_core->option_given(session->args->options, "tables") ||
		(stat(path, &status) == 0 && S_ISDIR(status.st_mode));
	while (length > 1 && path[length - 1] == '/')
		path[--length] = '\0';
	session->path = path;
}

TapSession *
tap_file_session_open(const TapSessionArgs *args)
{
	MemoryContext old;
	TapSession *session;

	tap_file_check_privilege();
	old = MemoryContextSwitchTo(args->context);
	session = palloc0(sizeof(TapSession));
	session->args = args;
	set_path(session);
	tap_file_find_base(session);
	MemoryContextSwitchTo(old);
	return session;
}

/* Files and watches are closed with the session's memory. */
static void
close_session(TapSession *session)
{
}

/* There is no copy that a transaction could be part of. */
static bool
txn_covered(TapSession *session, const char *position)
{
	return false;
}

static const TapSourceCallbacks source = {
	.list_tables = tap_file_list_tables,
	.describe_tables = tap_file_describe_tables,
	.table_from_definition = tap_file_table_from_definition,
	.current_position = tap_file_current_position,
	.log_behind = tap_file_log_behind,
	.position_compare = tap_file_position_compare,
	.stream_start = tap_file_stream_start,
	.stream_refollow = tap_file_stream_refollow,
	.stream_next = tap_file_stream_next,
	.stream_wait = tap_file_stream_wait,
	.stream_position = tap_file_stream_position,
	.txn_covered = txn_covered,
	.describe_event = tap_file_describe_event
};

static const TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "file",
	.description = "files of the server: CSV, TSV, JSON lines, JSON; gzip, zstd",
	.version = "0.1",
	.uri_schemes = schemes,
	.options = options,
	.capabilities = TAP_CAN_STREAM | TAP_ADDS_TABLES,
	.check_uri = check_uri,
	.open = tap_file_session_open,
	.close = close_session,
	.test = tap_file_test,
	.source = &source,
	.sink = NULL
};

const TapConnector *
tap_connector_init(const TapCore *core)
{
	tap_file_core = core;
	return &connector;
}
