/*-------------------------------------------------------------------------
 *
 * connectors/http/http_test.c
 *	  The checks of test_connection(): what a pipeline needs, and how to mend
 *	  what is not so.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "utils/memutils.h"

List *
tap_http_add_check(List *checks, const char *name, bool ok, bool required, char *detail,
				   const char *hint, int sqlstate)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));

	check->name = name;
	check->ok = ok;
	check->required = required;
	check->detail = detail;
	check->hint = (ok || hint == NULL) ? NULL : pstrdup(hint);
	check->sqlstate = ok ? 0 : sqlstate;
	return lappend(checks, check);
}

static List *
check_options(const TapSessionArgs *args, List *checks)
{
	char	   *hint = NULL;
	char	   *conflict = tap_http_options_conflict(args, &hint);

	if (conflict == NULL)
		return checks;
	return tap_http_add_check(checks, "options", false, true, conflict, hint,
							  ERRCODE_INVALID_PARAMETER_VALUE);
}

/* A password that anybody on the way can read. */
static List *
check_clear_text(TapSession *session, List *checks)
{
	const TapUri *uri = session->args.uri;
	const TapOptions *options = session->args.options;
	bool		secret = uri->user != NULL ||
	tap_http_core->option_given(options, "bearer_token") ||
	tap_http_core->option_given(options, "bearer_token_file") ||
	tap_http_core->option_given(options, "secret_headers") ||
	tap_http_core->option_given(options, "oauth_token_url");

	if (session->settings.tls || !secret)
		return checks;
	return tap_http_add_check(checks, "tls", false, false, "secrets are sent without TLS",
							  "Works, but everybody on the way to the target can read them; begin the URI with https://.", 0);
}

static const char *
login_hint(const TapSession *session)
{
	return session->args.uri->user ? "Check user and password of the connection's URI." :
		"Give the connection a user and password in its URI, or the option \"bearer_token\" or \"secret_headers\".";
}

/* The answer's own checks raise errors; here each is a line of the result. */
static List *
check_server(TapSession *session, List *checks)
{
	MemoryContext context = CurrentMemoryContext;
	TapHttpRequest request = {.method = "HEAD",.answer_limit = 4096,.answer_ignored = true};
	TapHttpAnswer *answer = tap_http_call(session, &request);
	char	   *place = tap_http_place(session);
	char	   *detail = NULL;
	const char *wrong;

	if (answer->status == 0)
		return tap_http_add_check(checks, "reachable", false, true,
								  psprintf("%s: %s", place, answer->error),
								  answer->for_good ?
								  "Check the options \"ssl_mode\" and \"ssl_ca\" of the connection, and the certificate of the target." :
								  "Check host and port of the connection's URI, and that the target runs and can be reached from the hub.",
								  answer->for_good ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION :
								  ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION);
	checks = tap_http_add_check(checks, "reachable", true, true,
								psprintf("%s%s", place, session->settings.tls ? ", TLS" : ""), NULL, 0);
	wrong = session->dialect->recognize(session, &detail);
	MemoryContextSwitchTo(context);
	if (answer->status == 401 || answer->status == 407 ||
		(wrong != NULL && (strstr(wrong, "status 401") || strstr(wrong, "status 403") ||
						   strstr(wrong, "status 407"))))
		return tap_http_add_check(checks, "login", false, true,
								  pstrdup(wrong ? wrong : tap_http_describe_answer(session, answer)),
								  login_hint(session), ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION);
	checks = tap_http_add_check(checks, "login", true, true,
								session->args.uri->user ? psprintf("as %s", session->args.uri->user) :
								"without a user", NULL, 0);
	return tap_http_add_check(checks, "kind", wrong == NULL, true, detail && wrong == NULL ? detail : pstrdup(wrong),
							  "Check the URI's scheme and port, or the option \"dialect\"; http:// and https:// alone are for webhooks.",
							  ERRCODE_FDW_ERROR);
}

static List *
run_checks(TapSession *session, List *checks)
{
	if (session->dialect == &tap_http_webhook)
		checks = tap_http_add_check(checks, "target", true, false,
									psprintf("webhook, %s", session->settings.method), NULL, 0);
	checks = check_clear_text(session, checks);
	return check_server(session, checks);
}

/* The error as a check, for instance of a file that cannot be read. */
static List *
error_as_check(List *checks, const ErrorData *edata)
{
	return tap_http_add_check(checks, "request", false, true,
							  psprintf("%s%s%s", edata->message, edata->detail ? ": " : "",
									   edata->detail ? edata->detail : ""),
							  edata->hint, edata->sqlerrcode);
}

List *
tap_http_test(const TapSessionArgs *args, List *tables)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *volatile checks = check_options(args, NIL);
	TapSession *volatile session = NULL;

	PG_TRY();
	{
		session = tap_http_open(args);
		if (session->source != NULL)
			checks = tap_http_test_source(session, tables, check_clear_text(session, checks));
		else
			checks = run_checks(session, checks);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		{
			tap_http_close(session);
			PG_RE_THROW();
		}
		FlushErrorState();
		checks = error_as_check(checks, edata);
	}
	PG_END_TRY();
	tap_http_close(session);
	return checks;
}
