/*-------------------------------------------------------------------------
 *
 * connectors/http/http_headers.c
 *	  The headers of a request: logging in, signature, the user's own.
 *
 * NOTES
 *	  Secrets that a file holds are read for each request, so that a changed
 *	  one is used at once.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include <curl/curl.h>

#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/resowner.h"

/* Append one header; what comes of an empty list without memory is an error. */
static void
add_header(struct curl_slist **headers, const char *header)
{
	struct curl_slist *longer = curl_slist_append(*headers, header);

	if (longer == NULL)
	{
		curl_slist_free_all(*headers);
		*headers = NULL;
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	*headers = longer;
}

char *
tap_http_secret(TapSession *session, const char *option, const char *file_option)
{
	const TapOptions *options = session->args.options;
	const char *value = tap_http_core->option_text(options, option);
	const char *path;

	if (value != NULL)
		return pstrdup(value);
	path = tap_http_core->option_text(options, file_option);
	return path ? tap_http_core->read_secret_file(file_option, path) : NULL;
}

static bool
compute_hmac(const char *secret, const char *data, Size length, uint8 *digest)
{
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);
	bool		done = context != NULL &&
	pg_hmac_init(context, (const uint8 *) secret, strlen(secret)) >= 0 &&
	pg_hmac_update(context, (const uint8 *) data, length) >= 0 &&
	pg_hmac_final(context, digest, PG_SHA256_DIGEST_LENGTH) >= 0;

	pg_hmac_free(context);
	return done;
}

/* Outside of a transaction there is no owner of resources, which it needs. */
char *
tap_http_hmac(const char *secret, const char *data, Size length)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	ResourceOwner before = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(NULL, "tapdata http");
	StringInfoData text;
	bool		done;

	CurrentResourceOwner = owner;
	done = compute_hmac(secret, data, length, digest);
	CurrentResourceOwner = before;
	ResourceOwnerDelete(owner);
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the signature of a request")));
	initStringInfo(&text);
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		appendStringInfo(&text, "%02x", digest[i]);
	return text.data;
}

static void
add_signature(TapSession *session, const TapHttpRequest *request,
			  struct curl_slist **headers)
{
	char	   *secret = tap_http_secret(session, "signature_secret", "signature_secret_file");
	char	   *signature;

	if (secret == NULL || request->body == NULL)
		return;
	tap_http_note_secret(session, secret);
	signature = tap_http_hmac(secret, request->body, request->length);
	explicit_bzero(secret, strlen(secret));
	add_header(headers, psprintf("%s: sha256=%s",
								 tap_http_core->option_text(session->args.options, "signature_header"),
								 signature));
}

static void
add_token(TapSession *session, struct curl_slist **headers)
{
	char	   *token = session->oauth_token ? pstrdup(session->oauth_token) :
	tap_http_secret(session, "bearer_token", "bearer_token_file");
	char	   *header;

	if (token == NULL)
		return;

	/* what a file holds was not checked before */
	tap_http_check_token(token);
	tap_http_note_secret(session, token);
	header = psprintf("Authorization: Bearer %s", token);
	add_header(headers, header);
	explicit_bzero(token, strlen(token));
	explicit_bzero(header, strlen(header));
}

static void
add_given(TapSession *session, const char *json, bool secret, struct curl_slist **headers)
{
	List	   *pairs = json ? tap_http_header_pairs(json) : NIL;

	for (int i = 0; i + 1 < list_length(pairs); i += 2)
	{
		const char *name = list_nth(pairs, i);
		const char *value = list_nth(pairs, i + 1);

		if (secret)
			tap_http_note_secret(session, value);

		/* libcurl's way to send a header without a value */
		add_header(headers, value[0] ? psprintf("%s: %s", name, value) : psprintf("%s;", name));
	}
}

/* Those of the user, and what the session logs in by. */
static void
add_own(TapSession *session, const TapHttpRequest *request, struct curl_slist **headers)
{
	const TapSessionArgs *args = &session->args;

	add_given(session, tap_http_core->option_text(args->options, "headers"), false, headers);
	if (args->purpose == TAP_PURPOSE_SINK && args->pipeline_options != NULL)
		add_given(session, tap_http_core->option_text(args->pipeline_options, "headers"), false,
				  headers);
	add_given(session, tap_http_core->option_text(args->options, "secret_headers"), true,
			  headers);
	add_token(session, headers);
	add_signature(session, request, headers);
}

struct curl_slist *
tap_http_headers(TapSession *session, const TapHttpRequest *request)
{
	struct curl_slist *headers = NULL;

	add_header(&headers, "User-Agent: tapdata/" TAP_HTTP_VERSION);

	/* libcurl would wait a second for leave to send a large body */
	add_header(&headers, "Expect:");
	add_header(&headers, request->content_type ?
			   psprintf("Content-Type: %s", request->content_type) : "Content-Type:");
	PG_TRY();
	{
		ListCell   *cell;

		if (request->idempotency_key != NULL)
			add_header(&headers, psprintf("Idempotency-Key: %s", request->idempotency_key));
		foreach(cell, request->headers)
			add_header(&headers, lfirst(cell));
		if (request->foreign_url == NULL)
			add_own(session, request, &headers);
	}
	PG_CATCH();
	{
		curl_slist_free_all(headers);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return headers;
}
