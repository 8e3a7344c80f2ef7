/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source_oauth.c
 *	  Tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4).
 *
 * NOTES
 *	  A token is fetched when there is none, before it expires, and once more
 *	  when a server refuses it.  It lives in the session's memory alone.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "utils/timestamp.h"

#include "json_text.h"

#define MOST_TOKEN_BYTES	16384
#define MOST_ANSWER_BYTES	65536
#define MOST_SECONDS		(30 * 24 * 3600)

/* So long before it expires, or half of its time, a token is not used any more. */
#define MARGIN_S			30

static const char *
option(TapSession *session, const char *name)
{
	return tap_http_core->option_text(session->args.options, name);
}

static bool
is_used(TapSession *session)
{
	return session->source != NULL && option(session, "oauth_token_url") != NULL;
}

char *
tap_http_oauth_conflict(const TapOptions *options)
{
	bool		url = tap_http_core->option_given(options, "oauth_token_url");
	bool		secret = tap_http_core->option_given(options, "oauth_client_secret");
	bool		file = tap_http_core->option_given(options, "oauth_client_secret_file");
	bool		id = tap_http_core->option_given(options, "oauth_client_id");

	if (!url)
		return secret || file || id ?
			"options for OAuth 2.0 are given, but no \"oauth_token_url\"" : NULL;
	if (!id || (!secret && !file))
		return "option \"oauth_token_url\" needs \"oauth_client_id\", and \"oauth_client_secret\" or \"oauth_client_secret_file\"";
	if (secret && file)
		return "options \"oauth_client_secret\" and \"oauth_client_secret_file\" exclude each other";
	if (tap_http_core->option_given(options, "bearer_token") ||
		tap_http_core->option_given(options, "bearer_token_file"))
		return "OAuth 2.0 and a bearer token exclude each other";
	return NULL;
}

bool
tap_http_oauth_needed(TapSession *session)
{
	if (!is_used(session))
		return false;
	return session->oauth_token == NULL ||
		(session->oauth_until != 0 && session->oauth_until <= GetCurrentTimestamp());
}

bool
tap_http_oauth_forget(TapSession *session)
{
	if (!is_used(session) || session->oauth_token == NULL)
		return false;
	pfree(session->oauth_token);
	session->oauth_token = NULL;
	return true;
}

static void
append_parameter(StringInfo form, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(form, "%s%s=", form->len > 0 ? "&" : "", name);
	tap_http_append_escaped(form, value, "");
}

/* Both escaped, as the RFC wants it. */
static char *
basic_header(TapSession *session, const char *id, const char *secret)
{
	StringInfoData login;
	StringInfoData encoded;

	initStringInfo(&login);
	initStringInfo(&encoded);
	tap_http_append_escaped(&login, id, "");
	appendStringInfoChar(&login, ':');
	tap_http_append_escaped(&login, secret, "");
	tap_json_append_base64(&encoded, login.data, login.len);
	tap_http_note_secret(session, encoded.data);
	return psprintf("Authorization: Basic %s", encoded.data);
}

void
tap_http_oauth_request(TapSession *session, TapHttpRequest *request)
{
	const char *id = option(session, "oauth_client_id");
	char	   *secret = tap_http_secret(session, "oauth_client_secret", "oauth_client_secret_file");
	bool		in_body = strcmp(option(session, "oauth_login"), "body") == 0;
	StringInfoData form;

	initStringInfo(&form);
	memset(request, 0, sizeof(*request));
	tap_http_note_secret(session, secret);
	request->method = "POST";
	request->foreign_url = option(session, "oauth_token_url");
	/* the token's server is held to the list of hosts, too */
	tap_http_check_allowed_url("oauth_token_url", request->foreign_url);
	request->content_type = "application/x-www-form-urlencoded";
	request->answer_limit = MOST_ANSWER_BYTES;
	request->headers = list_make1("Accept: application/json");
	append_parameter(&form, "grant_type", "client_credentials");
	append_parameter(&form, "scope", option(session, "oauth_scope"));
	append_parameter(&form, "audience", option(session, "oauth_audience"));
	if (in_body)
	{
		append_parameter(&form, "client_id", id);
		append_parameter(&form, "client_secret", secret);
	}
	else
		request->headers = lappend(request->headers, basic_header(session, id, secret));
	request->body = form.data;
	request->length = form.len;
}

static void
raise_no_token(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("could not get a token by OAuth 2.0"),
			 errdetail("%s", detail),
			 errhint("Check the options \"oauth_token_url\", \"oauth_client_id\", \"oauth_client_secret\", \"oauth_scope\" and \"oauth_login\" of the connection.")));
}

void
tap_http_oauth_take(TapSession *session, const TapHttpAnswer *answer)
{
	TapHttpJson json;
	char	   *token = palloc0(MOST_TOKEN_BYTES);
	char		key[64];
	int64		seconds = 0;
	bool		cut = false;

	if (answer->status < 200 || answer->status > 299)
		raise_no_token(tap_http_describe_answer(session, answer));
	tap_http_json_init(&json, answer->body, answer->length);
	for (bool first = true; tap_http_json_member(&json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "access_token") == 0)
			(void) tap_http_json_string(&json, token, MOST_TOKEN_BYTES, &cut);
		else if (strcmp(key, "expires_in") == 0 && tap_http_json_peek(&json) != '"')
			(void) tap_http_json_int(&json, &seconds);
		else
			(void) tap_http_json_skip(&json);
	}
	if (json.bad || cut || token[0] == '\0')
		raise_no_token("The answer is no JSON object with a string \"access_token\".");
	tap_http_check_token(token);
	if (session->oauth_token != NULL)
		pfree(session->oauth_token);
	session->oauth_token = MemoryContextStrdup(session->context, token);
	tap_http_note_secret(session, token);
	explicit_bzero(token, strlen(token));
	seconds = Min(seconds, MOST_SECONDS);
	session->oauth_until = seconds <= 0 ? 0 :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									(seconds - Min(MARGIN_S, seconds / 2)) * 1000);
}
