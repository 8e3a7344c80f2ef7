/*-------------------------------------------------------------------------
 *
 * connectors/file/file_test.c
 *	  What test_connection() says of files.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"

static TapCheck *
make_check(const char *name, bool ok, char *detail, char *hint, int sqlstate)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));

	check->name = name;
	check->ok = ok;
	check->required = true;
	check->detail = detail;
	check->hint = ok ? NULL : hint;
	check->sqlstate = sqlstate;
	return check;
}

static TapCheck *
check_privilege(void)
{
	bool		ok = tap_file_is_permitted();

	return make_check("privilege", ok,
					  ok ? pstrdup("files of the server may be read") :
					  psprintf("role \"%s\" may not read files of the server",
							   GetUserNameFromId(GetUserId(), false)),
					  pstrdup("GRANT pg_read_server_files TO the role."),
					  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

static TapCheck *
check_folder(const TapSession *session)
{
	bool		ok = access(session->base, R_OK | X_OK) == 0;

	return make_check("folder", ok,
					  ok ? psprintf("\"%s\" can be read", session->base) :
					  psprintf("\"%s\": %m", session->base),
					  pstrdup("The folder must be there and readable by the server's operating system user."),
					  ERRCODE_UNDEFINED_FILE);
}

/* How many files there are, and that tables can be made of them. */
static TapCheck *
check_files(TapSession *session)
{
	int64		newest = 0;
	int			count = 0;
	List	   *names = tap_file_list_tables(session);
	ListCell   *cell;

	foreach(cell, session->tables)
		count += list_length(tap_file_list(session, lfirst(cell), &newest));
	return make_check("files", names != NIL,
					  psprintf("%d files of %d tables", count, list_length(names)),
					  pstrdup("Have at least one file that matches and that the options \"ignore\", \"done_suffix\" and \"lock_suffix\" let through; or say what is in them with the option \"columns\"."),
					  ERRCODE_UNDEFINED_FILE);
}

static TapCheck *
check_format(TapSession *session, List *names)
{
	StringInfoData columns;
	ListCell   *cell;

	initStringInfo(&columns);
	foreach(cell, tap_file_describe_tables(session, names))
	{
		TapSourceTable *table = lfirst(cell);

		appendStringInfo(&columns, "%s%s: %.*s, %d columns", columns.len > 0 ? "; " : "",
						 table->name.name, (int) strcspn(table->definition, " "),
						 table->definition, table->descriptor->natts);
	}
	return make_check("format", true, columns.data, NULL, 0);
}

/* An error of the steps is what the check says. */
static TapCheck *
failed_check(const char *name, MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED))
		PG_RE_THROW();
	FlushErrorState();
	return make_check(name, false,
					  edata->detail ? psprintf("%s: %s", edata->message, edata->detail) :
					  edata->message, edata->hint, edata->sqlerrcode);
}

static List *
test_session(TapSession *session, List *tables, List *checks)
{
	MemoryContext context = CurrentMemoryContext;
	TapCheck   *volatile files = NULL;
	TapCheck   *volatile format = NULL;

	PG_TRY();
	{
		files = check_files(session);
		if (files->ok)
			format = check_format(session, tables != NIL ? tables :
								  tap_file_list_tables(session));
	}
	PG_CATCH();
	{
		if (files == NULL)
			files = failed_check("files", context);
		else
			format = failed_check("format", context);

		/* of a folder, tables that nobody wants may make no sense */
		if (format != NULL)
			format->required = tables != NIL;
	}
	PG_END_TRY();
	checks = lappend(checks, files);
	return format != NULL ? lappend(checks, format) : checks;
}

List *
tap_file_test(const TapSessionArgs *args, List *tables)
{
	List	   *checks = list_make1(check_privilege());
	TapSession *session;
	TapCheck   *folder;

	if (!((TapCheck *) linitial(checks))->ok)
		return checks;
	session = tap_file_session_open(args);
	folder = check_folder(session);
	checks = lappend(checks, folder);
	return folder->ok ? test_session(session, tables, checks) : checks;
}
