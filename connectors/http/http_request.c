/*-------------------------------------------------------------------------
 *
 * connectors/http/http_request.c
 *	  What libcurl is told of a request: URL, limits, TLS, method, login.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include <curl/curl.h>

#include "json_text.h"

/*
 * The path of the URI is where a webhook, or Elasticsearch as a whole, is; of
 * ClickHouse it is the database, which is a parameter.
 */
static void
append_path(TapSession *session, const TapHttpRequest *request, StringInfo url)
{
	const char *base = session->args.uri->path;

	if (base != NULL && (request->path == NULL || session->dialect != &tap_http_clickhouse))
	{
		appendStringInfoChar(url, '/');
		tap_http_append_escaped(url, base, "/:@!$&'()*+,;=");
	}
	if (request->path == NULL)
	{
		if (base == NULL)
			appendStringInfoChar(url, '/');
		return;
	}
	while (url->data[url->len - 1] == '/')
		url->data[--url->len] = '\0';
	appendStringInfoString(url, request->path);
}

char *
tap_http_find_parameters(char *url, const char *parameters)
{
	Size		length = strlen(parameters);
	char	   *found = url;

	while ((found = strstr(found, parameters)) != NULL)
	{
		if ((found == url || found[-1] == '?' || found[-1] == '&') &&
			(found[length] == '\0' || found[length] == '&'))
			return found;
		found++;
	}
	return NULL;
}

/* Servers may repeat them as a whole, or a value of them, escaped or not. */
static void
note_parameters(TapSession *session, const char *parameters)
{
	tap_http_note_secret(session, parameters);
	while (*parameters != '\0')
	{
		Size		length = strcspn(parameters, "&");
		const char *value = memchr(parameters, '=', length);

		if (value != NULL)
		{
			char	   *raw = pnstrdup(value + 1, parameters + length - value - 1);
			char	   *plain = curl_easy_unescape(NULL, raw, 0, NULL);

			tap_http_note_secret(session, raw);
			if (plain != NULL)
				tap_http_note_secret(session, plain);
			curl_free(plain);
		}
		parameters += length + (parameters[length] == '&');
	}
}

static char *
request_url(TapSession *session, const TapHttpRequest *request)
{
	StringInfoData url;
	const char *mark = "?";

	if (request->foreign_url != NULL)
		return pstrdup(request->foreign_url);
	initStringInfo(&url);
	appendStringInfoString(&url, tap_http_place(session));
	if (request->url == NULL)
		append_path(session, request, &url);
	else
		appendStringInfoString(&url, request->url);
	if (request->url != NULL && strchr(request->url, '?') != NULL)
		mark = "&";
	if (request->query != NULL)
	{
		appendStringInfo(&url, "%s%s", mark, request->query);
		mark = "&";
	}

	/* a link to the next page may have it already */
	if (session->settings.query != NULL)
	{
		note_parameters(session, session->settings.query);
		if (tap_http_find_parameters(url.data, session->settings.query) == NULL)
			appendStringInfo(&url, "%s%s", mark, session->settings.query);
	}
	return url.data;
}

/* ---------------------------------------------------------------------
 * Settings of a request
 * ---------------------------------------------------------------------
 */

static void
set_tls(CURL *easy, const TapHttpSettings *settings)
{
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, settings->verify_authority ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, settings->verify_host ? 2L : 0L);
	if (settings->ssl_ca != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ssl_ca);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (settings->ssl_cert != NULL)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, settings->ssl_cert);
	if (settings->ssl_key != NULL)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, settings->ssl_key);
}

static void
set_scheme(CURL *easy, bool tls)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, tls ? CURLPROTO_HTTPS : CURLPROTO_HTTP);
#endif
}

/* Nothing but HTTP to the host that the user named, whatever else is set up here. */
static void
set_limits(CURL *easy, const TapHttpSettings *settings)
{
	set_scheme(easy, settings->tls);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* a process that is told to stop does not wait for the lookup of a name */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) settings->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) settings->timeout_ms);
}

static void
set_method(CURL *easy, const TapHttpRequest *request)
{
	if (request->body != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->length);
	}
	else if (strcmp(request->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (strcmp(request->method, "GET") == 0)
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	else
	{
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
	}
	if (strcmp(request->method, "HEAD") != 0 && strcmp(request->method, "GET") != 0)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

/* The password, and what is sent of it. */
static void
note_password(TapSession *session, const char *password)
{
	StringInfoData login;
	StringInfoData encoded;

	initStringInfo(&login);
	initStringInfo(&encoded);
	appendStringInfo(&login, "%s:%s", session->args.uri->user, password);
	tap_json_append_base64(&encoded, login.data, login.len);
	tap_http_note_secret(session, password);
	tap_http_note_secret(session, encoded.data);
}

/* A user in the URI is for basic authentication; libcurl keeps a copy. */
static void
set_login(TapSession *session, CURL *easy)
{
	char	   *password;

	if (session->args.uri->user == NULL)
		return;
	password = tap_http_core->password(session->args.uri, session->args.options);
	curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
	curl_easy_setopt(easy, CURLOPT_USERNAME, session->args.uri->user);
	curl_easy_setopt(easy, CURLOPT_PASSWORD, password ? password : "");
	if (password == NULL)
		return;
	note_password(session, password);
	explicit_bzero(password, strlen(password));
}

struct curl_slist *
tap_http_set_request(TapSession *session, void *handle, const TapHttpRequest *request)
{
	CURL	   *easy = handle;
	struct curl_slist *headers;

	curl_easy_setopt(easy, CURLOPT_URL, request_url(session, request));
	set_limits(easy, &session->settings);
	set_tls(easy, &session->settings);
	set_method(easy, request);
	if (request->compressed)
		curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	if (request->foreign_url != NULL)
		set_scheme(easy, tap_http_scheme_is_tls(pnstrdup(request->foreign_url,
														 strcspn(request->foreign_url, ":"))));
	else
		set_login(session, easy);
	headers = tap_http_headers(session, request);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	return headers;
}
