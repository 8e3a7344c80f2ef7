/*-------------------------------------------------------------------------
 *
 * connectors/http/http_options.c
 *	  Checks of options, and what they mean together.
 *
 * NOTES
 *	  No message shows a value that may be a secret.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/jsonb.h"

/* Of one request, which is held in memory twice. */
#define MOST_BATCH_BYTES	(256 * 1024 * 1024)

/* ---------------------------------------------------------------------
 * Checks of single options
 * ---------------------------------------------------------------------
 */

static void
report_bad(const char *option, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", option),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
}

/* What RFC 9110 calls a token. */
static bool
is_header_name(const char *name)
{
	static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	"0123456789!#$%&'*+-.^_`|~";

	return name[0] != '\0' && strlen(name) <= 256 && strspn(name, letters) == strlen(name);
}

/* No line can be broken, so that no value becomes a header of its own. */
static bool
is_header_value(const char *value)
{
	for (const unsigned char *c = (const unsigned char *) value; *c != '\0'; c++)
	{
		if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
			return false;
	}
	return true;
}

/* Headers that the connector or libcurl makes by itself. */
static bool
is_ours(const char *name)
{
	static const char *const ours[] = {"host", "content-length", "content-type",
		"transfer-encoding", "connection", "expect", "idempotency-key", "upgrade", "te",
	"trailer"};

	for (int i = 0; i < lengthof(ours); i++)
	{
		if (pg_strcasecmp(name, ours[i]) == 0)
			return true;
	}
	return false;
}

static bool
has_word(const char *name, const char *word)
{
	char	   *lower = asc_tolower(name, strlen(name));

	return strstr(lower, word) != NULL;
}

static bool
sounds_secret(const char *name)
{
	return has_word(name, "auth") || has_word(name, "cookie") || has_word(name, "token") ||
		has_word(name, "secret") || has_word(name, "api-key") || has_word(name, "apikey") ||
		has_word(name, "password");
}

/* Whether text is JSON at all; says nothing of it, unlike the input function. */
static bool
is_json(const char *text)
{
	TapHttpJson json;

	tap_http_json_init(&json, text, strlen(text));
	return tap_http_json_skip(&json) && tap_http_json_at_end(&json);
}

static Jsonb *
parse_object(const char *option, const char *text)
{
	static const char *const hint = "Write {\"Name\": \"value\", ...}.";
	Jsonb	   *jsonb;

	if (!is_json(text))
		report_bad(option, "It is not JSON.", hint);
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	if (!JB_ROOT_IS_OBJECT(jsonb))
		report_bad(option, "It is not a JSON object.", hint);
	return jsonb;
}

static char *
header_value(const char *option, const char *name, const JsonbValue *value)
{
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	report_bad(option, psprintf("The value of \"%s\" is not a string.", name), NULL);
	return NULL;
}

static List *
read_pairs(const char *option, const char *json)
{
	Jsonb	   *jsonb = parse_object(option, json);
	JsonbIterator *iterator = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	List	   *pairs = NIL;
	char	   *name = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			pairs = lappend(lappend(pairs, name), header_value(option, name, &value));
	}
	return pairs;
}

List *
tap_http_header_pairs(const char *json)
{
	return read_pairs("headers", json);
}

static void
check_headers(const char *option, const char *json, bool secret)
{
	List	   *pairs = read_pairs(option, json);

	for (int i = 0; i < list_length(pairs); i += 2)
	{
		const char *name = list_nth(pairs, i);

		if (!is_header_name(name))
			report_bad(option, psprintf("\"%s\" is not the name of a header.", name), NULL);
		if (is_ours(name))
			report_bad(option, psprintf("The header \"%s\" is made by the connector.", name), NULL);
		if (!is_header_value(list_nth(pairs, i + 1)))
			report_bad(option, psprintf("The value of \"%s\" has a control character.", name), NULL);
		if (!secret && sounds_secret(name))
			report_bad(option, psprintf("The header \"%s\" looks like a secret.", name),
					   "Give it in the connection's option \"secret_headers\", whose values are never shown.");
	}
}

void
tap_http_check_headers(const char *value)
{
	check_headers("headers", value, false);
}

void
tap_http_check_secret_headers(const char *value)
{
	check_headers("secret_headers", value, true);
}

void
tap_http_check_header_name(const char *value)
{
	if (!is_header_name(value) || is_ours(value))
		report_bad("signature_header", psprintf("\"%s\" cannot be the name of that header.", value),
				   "The usual name is X-Tapdata-Signature.");
}

void
tap_http_check_query(const char *value)
{
	for (const unsigned char *c = (const unsigned char *) value; *c != '\0'; c++)
	{
		if (*c <= 0x20 || *c >= 0x7f || *c == '#')
			report_bad("query", "It has a character that must be escaped in a URL.",
					   "Write it as it stands behind the \"?\" of the URL, for example a=1&b=%20x.");
	}
	if (value[0] == '?')
		report_bad("query", "It begins with \"?\".", "Leave out the \"?\".");
}

void
tap_http_check_token(const char *value)
{
	if (value[0] == '\0' || !is_header_value(value))
		report_bad("bearer_token", "It is empty or has a control character.", NULL);
}

void
tap_http_check_pattern(const char *value)
{
	TapTableName example = {"s", "t"};
	char	   *name = tap_http_expand(value, &example);

	if (name[0] == '\0' || strpbrk(name, "{}") != NULL)
		report_bad("index\" or \"table", "It is empty, or has braces with something else than {schema} or {table}.",
				   "Write for example {schema}-{table}.");
}

void
tap_http_check_column(const char *value)
{
	if (value[0] == '\0')
		report_bad("version_column\" or \"deleted_column", "It is empty.", NULL);
}

/* ---------------------------------------------------------------------
 * Options of connection and pipeline together
 * ---------------------------------------------------------------------
 */

bool
tap_http_scheme_is_tls(const char *scheme)
{
	Size		length = strlen(scheme);

	return length >= 5 && strcmp(scheme + length - 5, "https") == 0;
}

static const TapHttpDialect *
dialect_by_name(const char *name)
{
	if (strcmp(name, "webhook") == 0)
		return &tap_http_webhook;
	if (strcmp(name, "clickhouse") == 0)
		return &tap_http_clickhouse;
	return &tap_http_elasticsearch;
}

const TapHttpDialect *
tap_http_dialect(const TapUri *uri, const TapOptions *options)
{
	const char *plus = strchr(uri->scheme, '+');
	const char *given = tap_http_core->option_text(options, "dialect");
	const TapHttpDialect *by_option = given ? dialect_by_name(given) : NULL;
	const TapHttpDialect *by_scheme = NULL;

	if (plus != NULL)
		by_scheme = dialect_by_name(pnstrdup(uri->scheme, plus - uri->scheme));
	if (by_option != NULL && by_scheme != NULL && by_option != by_scheme)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"dialect\" is \"%s\", but the URI begins with \"%s://\"",
						given, uri->scheme),
				 errhint("Leave out the option, or begin the URI with http:// or https://.")));
	if (by_scheme != NULL)
		return by_scheme;
	return by_option ? by_option : &tap_http_webhook;
}

static TapHttpBodyKind
body_kind(const char *value)
{
	if (value != NULL && strcmp(value, "ndjson") == 0)
		return TAP_HTTP_BODY_NDJSON;
	if (value != NULL && strcmp(value, "single") == 0)
		return TAP_HTTP_BODY_SINGLE;
	return TAP_HTTP_BODY_ARRAY;
}

static void
read_tls(const TapSessionArgs *args, TapHttpSettings *settings)
{
	const char *mode = tap_http_core->option_text(args->options, "ssl_mode");

	settings->tls = tap_http_scheme_is_tls(args->uri->scheme);
	settings->verify_authority = strcmp(mode, "require") != 0;
	settings->verify_host = strcmp(mode, "verify_identity") == 0;
	settings->ssl_ca = tap_http_core->option_text(args->options, "ssl_ca");
	settings->ssl_cert = tap_http_core->option_text(args->options, "ssl_cert");
	settings->ssl_key = tap_http_core->option_text(args->options, "ssl_key");
}

/* What a request takes and how often it is tried; without a pipeline, too. */
void
tap_http_read_settings(const TapSessionArgs *args, TapHttpSettings *settings)
{
	const TapOptions *pipeline = args->pipeline_options;

	read_tls(args, settings);
	settings->connect_timeout_ms = tap_http_core->option_int(args->options, "connect_timeout") * 1000;
	settings->query = tap_http_core->option_text(args->options, "query");
	settings->timeout_ms = tap_http_core->option_int(args->options, "timeout_ms");
	settings->method = "POST";
	settings->batch_rows = 1;
	settings->max_in_flight = 1;
	if (pipeline == NULL)
		return;
	settings->retry_ms = tap_http_core->option_int(pipeline, "retry_ms");
	if (args->purpose != TAP_PURPOSE_SINK)
		return;
	if (tap_http_core->option_given(pipeline, "timeout_ms"))
		settings->timeout_ms = tap_http_core->option_int(pipeline, "timeout_ms");
	settings->method = tap_http_core->option_text(pipeline, "method");
	settings->body = body_kind(tap_http_core->option_text(pipeline, "body"));
	settings->batch_rows = (settings->body == TAP_HTTP_BODY_SINGLE) ? 1 :
		(int) tap_http_core->option_int(pipeline, "batch_rows");
	settings->batch_bytes = Min((Size) tap_http_core->option_int(pipeline, "batch_bytes"),
								(Size) MOST_BATCH_BYTES);
	settings->max_in_flight = (int) tap_http_core->option_int(pipeline, "max_in_flight");
}

/* Options that only some dialects know. */
static char *
foreign_option(const TapSessionArgs *args, const TapHttpDialect *dialect, char **hint)
{
	static const struct
	{
		const char *option;
		const TapHttpDialect *dialect;
	}			known[] =
	{
		{"method", &tap_http_webhook},
		{"body", &tap_http_webhook},
		{"index", &tap_http_elasticsearch},
		{"table", &tap_http_clickhouse},
		{"version_column", &tap_http_clickhouse},
		{"deleted_column", &tap_http_clickhouse},
	};

	for (int i = 0; i < lengthof(known); i++)
	{
		if (known[i].dialect == dialect ||
			!tap_http_core->option_given(args->pipeline_options, known[i].option))
			continue;
		*hint = psprintf("Leave it out; it is for targets of the kind %s.", known[i].dialect->name);
		return psprintf("option \"%s\" has no meaning for a target of the kind %s",
						known[i].option, dialect->name);
	}
	return NULL;
}

char *
tap_http_options_conflict(const TapSessionArgs *args, char **hint)
{
	const TapHttpDialect *dialect = tap_http_dialect(args->uri, args->options);
	const char *version;
	const char *deleted;

	*hint = NULL;
	if (args->purpose != TAP_PURPOSE_SINK)
	{
		*hint = "Use http:// or https:// alone, without the option \"dialect\", for an API to be read.";
		return dialect == &tap_http_webhook ? tap_http_oauth_conflict(args->options) :
			args->pipeline_options == NULL ? NULL :
			psprintf("%s is a target, not a source", dialect->name);
	}
	if (tap_http_core->option_given(args->options, "oauth_token_url"))
	{
		*hint = "Give targets a user and password, or the option \"bearer_token_file\".";
		return "OAuth 2.0 is for sources only";
	}
	if (args->pipeline_options == NULL)
		return NULL;
	version = tap_http_core->option_text(args->pipeline_options, "version_column");
	deleted = tap_http_core->option_text(args->pipeline_options, "deleted_column");
	if (version != NULL && deleted != NULL && strcmp(version, deleted) == 0)
	{
		*hint = "Give them different names.";
		return "options \"version_column\" and \"deleted_column\" name the same column";
	}
	return foreign_option(args, dialect, hint);
}
