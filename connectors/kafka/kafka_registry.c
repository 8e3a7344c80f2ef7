/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_registry.c
 *	  Registers schemas with a schema registry of Confluent's interface, and
 *	  fetches them from it.
 *
 * The request is made by libcurl in the client's thread, so that it can be
 * interrupted; a schema is registered once in a session.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_registry.h"

#include <curl/curl.h>

#include "http_allowed.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#define REQUEST_TIMEOUT_SECONDS		30
#define RESPONSE_MAX_BYTES			(4 * 1024 * 1024)
#define ANSWER_SHOWN_BYTES			300

/* its code for an id that it does not have: "Schema not found" */
#define SCHEMA_NOT_FOUND			40403

/* A request, in one piece of memory that the thread may use alone. */
typedef struct Request
{
	char		url[1024];
	char		user[256];
	char		password[512];
	long		status;			/* of HTTP; 0: there was no answer */
	char		failure[CURL_ERROR_SIZE];
	Size		received;
	char		response[RESPONSE_MAX_BYTES];
	bool		has_body;		/* it is a POST of it; else a GET */
	char		body[FLEXIBLE_ARRAY_MEMBER];
} Request;

typedef struct KnownSchema
{
	char	   *subject;
	char	   *text;
	int32		id;
} KnownSchema;

/* ---------------------------------------------------------------------
 * In the thread
 * ---------------------------------------------------------------------
 */

static size_t
take_response(char *bytes, size_t size, size_t count, void *arg)
{
	Request    *request = arg;
	Size		length = Min(size * count, RESPONSE_MAX_BYTES - 1 - request->received);

	memcpy(request->response + request->received, bytes, length);
	request->received += length;
	request->response[request->received] = '\0';
	return size * count;
}

static int
look_at_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	TapKafkaJob *job = arg;

	return *job->stop ? 1 : 0;
}

static void
run_request(TapKafkaJob *job, rd_kafka_t *rk)
{
	Request    *request = job->data;
	const char *body = request->body;
	CURL	   *curl = curl_easy_init();
	struct curl_slist *headers = NULL;

	if (curl == NULL)
		return;
	headers = curl_slist_append(headers, "Content-Type: application/vnd.schemaregistry.v1+json");
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (request->has_body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long) REQUEST_TIMEOUT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, request->failure);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_response);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, request);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_stop);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, job);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	if (request->user[0] != '\0')
	{
		curl_easy_setopt(curl, CURLOPT_USERNAME, request->user);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, request->password);
	}
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &request->status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}

/* ---------------------------------------------------------------------
 * For the formats
 * ---------------------------------------------------------------------
 */

static const char *
registry_option(const TapSession *session, const char *name)
{
	const TapOptions *own = session->args.pipeline_options;

	if (own != NULL && tap_kafka_core->option_given(own, name))
		return tap_kafka_core->option_text(own, name);
	return tap_kafka_core->option_text(session->args.options, name);
}

const char *
tap_kafka_registry_url(const TapSession *session)
{
	return registry_option(session, "schema_registry");
}

void
tap_kafka_check_registry_url(const char *value)
{
	if (strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"schema_registry\""),
				 errhint("It is the URL of the registry, as http://registry:8081.")));
	if (strlen(value) > 500)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the value of option \"schema_registry\" is too long")));
	if (strchr(value, '@') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URL of the schema registry must not name a user"),
				 errhint("Use the options \"schema_registry_user\" and \"schema_registry_password\".")));
}

static void
set_url(Request *request, const char *base, const char *path)
{
	int			length = strlen(base);

	while (length > 0 && base[length - 1] == '/')
		length--;
	snprintf(request->url, sizeof(request->url), "%.*s/%s", length, base, path);
}

/* A request for a path of the registry; body NULL: a GET. */
static TapKafkaJob *
make_request(TapSession *session, const char *path, const StringInfoData *body)
{
	const char *url = tap_kafka_registry_url(session);
	const char *user = registry_option(session, "schema_registry_user");
	const char *password = registry_option(session, "schema_registry_password");
	TapKafkaJob *job;
	Request    *request;

	/* the list may have changed since the option was given */
	tap_http_check_allowed_url("schema_registry", url);
	job = tap_kafka_job_new(run_request);
	request = calloc(1, sizeof(Request) + (body ? body->len : 0) + 1);
	if (request == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	request->has_body = body != NULL;
	if (body != NULL)
		memcpy(request->body, body->data, body->len + 1);
	set_url(request, url, path);
	if (user != NULL)
		strlcpy(request->user, user, sizeof(request->user));
	if (password != NULL)
		strlcpy(request->password, password, sizeof(request->password));
	job->data = request;
	return job;
}

static TapKafkaJob *
make_registration(TapSession *session, const char *subject, const char *schema)
{
	char	   *escaped = curl_easy_escape(NULL, subject, 0);
	char	   *path = psprintf("subjects/%s/versions", escaped ? escaped : subject);
	StringInfoData body;

	curl_free(escaped);
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"schema\":");
	tap_json_append_cstring(&body, schema);
	appendStringInfoChar(&body, '}');
	return make_request(session, path, &body);
}

/* Whoever answers in place of the registry may send whole pages. */
char *
tap_kafka_shown_answer(const char *answer)
{
	char	   *text = pnstrdup(answer, ANSWER_SHOWN_BYTES);

	for (char *c = text; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ')
			*c = ' ';
	}
	if (strlen(answer) > ANSWER_SHOWN_BYTES)
	{
		/* no part of a character */
		text[pg_encoding_mbcliplen(PG_UTF8, text, strlen(text), strlen(text))] = '\0';
		text = psprintf("%s...", text);
	}
	return tap_kafka_from_utf8(text);
}

/*
 * Whoever answers in place of the registry, as a proxy may, sends no JSON: that
 * is no error of the row's data, as jsonb_in() has it.
 */
static Jsonb *
parse_answer(const Request *request)
{
	MemoryContext before = CurrentMemoryContext;
	Jsonb	   *volatile answer = NULL;

	PG_TRY();
	{
		answer = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(request->response)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		FlushErrorState();
	}
	PG_END_TRY();
	return answer;
}

/* A number of the answer; -1: it has none of that name. */
static int32
answered_number(const Request *request, const char *name)
{
	Jsonb	   *answer = parse_answer(request);
	JsonbValue	key = {.type = jbvString,.val.string = {.val = unconstify(char *, name),.len = strlen(name)}};
	JsonbValue *number = NULL;
	bool		failed = false;
	int32		result;

	if (answer != NULL && JB_ROOT_IS_OBJECT(answer))
		number = findJsonbValueFromContainer(&answer->root, JB_FOBJECT, &key);
	if (number == NULL || number->type != jbvNumeric)
		return -1;
	result = numeric_int4_opt_error(number->val.numeric, &failed);
	return failed ? -1 : result;
}

/*
 * Only what the registry itself says of a schema is an error of data: it adds a
 * code of its own to the status.  Others that answer in its place do not.
 */
static int
sqlstate_of(const Request *request)
{
	int32		code;

	if (request->status == 401 || request->status == 403)
		return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	if (request->status < 400 || request->status >= 500 || request->status == 429)
		return ERRCODE_CONNECTION_FAILURE;
	code = answered_number(request, "error_code");
	if (!request->has_body)
		return code == SCHEMA_NOT_FOUND ? ERRCODE_INVALID_TEXT_REPRESENTATION : ERRCODE_CONNECTION_FAILURE;
	if (code <= 0)
		return ERRCODE_CONNECTION_FAILURE;
	return request->status == 409 ? ERRCODE_DATATYPE_MISMATCH : ERRCODE_INVALID_PARAMETER_VALUE;
}

/* what: "the schema of subject ..."; a conflict has a hint of its own. */
static void
report_status(const char *what, const Request *request)
{
	int			sqlstate;
	const char *hint = NULL;

	if (request->status == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not reach the schema registry: %s",
						request->failure[0] ? request->failure : "no answer"),
				 errhint("Check the option \"schema_registry\".")));
	sqlstate = sqlstate_of(request);
	if (sqlstate == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
		hint = "Check the options \"schema_registry_user\" and \"schema_registry_password\".";
	else if (sqlstate == ERRCODE_DATATYPE_MISMATCH)
		hint = "Change the subject's compatibility in the registry, or publish to another topic.";
	else if (sqlstate == ERRCODE_CONNECTION_FAILURE && request->status < 500 && request->status != 429)
		hint = "Check the option \"schema_registry\": something else may answer there.";
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("the schema registry refuses %s, with status %ld", what, request->status),
			 errdetail("It says: %s", tap_kafka_shown_answer(request->response)),
			 hint ? errhint("%s", hint) : 0));
}

static int32
parse_id(const char *subject, const Request *request)
{
	int32		id = answered_number(request, "id");

	if (id < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the schema registry gave no id for subject \"%s\"", subject),
				 errdetail("It said: %s", tap_kafka_shown_answer(request->response)),
				 errhint("Check the option \"schema_registry\".")));
	return id;
}

static void
need_registry(const TapSession *session)
{
	if (tap_kafka_registry_url(session) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("messages with schemas of a registry need the option \"schema_registry\""),
				 errhint("Give the registry's URL, as http://registry:8081.")));
}

static KnownSchema *
find_schema(TapSession *session, const char *subject, const char *schema)
{
	ListCell   *cell;

	foreach(cell, session->schemas)
	{
		KnownSchema *known = lfirst(cell);

		if (strcmp(known->subject, subject) == 0 && strcmp(known->text, schema) == 0)
			return known;
	}
	return NULL;
}

int32
tap_kafka_register_schema(TapSession *session, const char *subject, const char *schema)
{
	KnownSchema *known = find_schema(session, subject, schema);
	MemoryContext before;
	TapKafkaJob *job;
	Request    *request;

	if (known != NULL)
		return known->id;
	need_registry(session);
	job = make_registration(session, subject, schema);
	tap_kafka_job_run(session->client, job);
	request = job->data;
	if (request->status < 200 || request->status >= 300)
		report_status(psprintf("the schema of subject \"%s\"", subject), request);

	before = MemoryContextSwitchTo(session->args.context);
	known = palloc(sizeof(KnownSchema));
	known->subject = pstrdup(subject);
	known->text = pstrdup(schema);
	known->id = parse_id(subject, request);
	session->schemas = lappend(session->schemas, known);
	MemoryContextSwitchTo(before);
	tap_kafka_job_free(session->client, job);
	return known->id;
}

char *
tap_kafka_fetch_schema(TapSession *session, int32 id)
{
	TapKafkaJob *job;
	Request    *request;
	char	   *volatile answer = NULL;

	need_registry(session);
	job = make_request(session, psprintf("schemas/ids/%d", id), NULL);
	tap_kafka_job_run(session->client, job);
	request = job->data;

	/* an error may be one of data, after which the session goes on */
	PG_TRY();
	{
		if (request->status < 200 || request->status >= 300)
			report_status(psprintf("to tell schema %d", id), request);
		if (request->received >= RESPONSE_MAX_BYTES - 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("schema %d of the registry is longer than %d bytes", id, RESPONSE_MAX_BYTES)));
		answer = pstrdup(request->response);
	}
	PG_FINALLY();
	{
		tap_kafka_job_free(session->client, job);
	}
	PG_END_TRY();
	return answer;
}

void
tap_kafka_ask_registry(TapSession *session)
{
	TapKafkaJob *job = make_request(session, "subjects", NULL);
	Request    *request = job->data;

	tap_kafka_job_run(session->client, job);
	PG_TRY();
	{
		if (request->status < 200 || request->status >= 300)
			report_status("to tell its subjects", request);
		if (request->response[strspn(request->response, " \t\r\n")] != '[')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("what answers is no schema registry"),
					 errdetail("It said: %s", tap_kafka_shown_answer(request->response)),
					 errhint("Check the option \"schema_registry\".")));
	}
	PG_FINALLY();
	{
		tap_kafka_job_free(session->client, job);
	}
	PG_END_TRY();
}
