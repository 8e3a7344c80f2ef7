/*-------------------------------------------------------------------------
 *
 * connectors/http/http_clickhouse.c
 *	  Dialect clickhouse: inserts into ClickHouse.
 *
 * NOTES
 *	  Everything is an insert of a row with a version, the position of its
 *	  commit; ReplacingMergeTree keeps the newest of a key, and a deleted row is
 *	  one whose flag is set.  Of rows with the same version the one that was
 *	  inserted last counts, which is the later change of a transaction.
 *
 *	  An insert stores all of its rows or none.  One that is refused for its
 *	  data is halved until the row is found.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_clickhouse.h"

#include "json_text.h"

#define ANSWER_BYTES	(1024 * 1024)

/* Values come as row_json.h writes them, into whatever the column's type is. */
#define INSERT_SETTINGS \
	"&date_time_input_format=best_effort&input_format_null_as_default=0" \
	"&input_format_json_read_objects_as_strings=1&input_format_json_read_numbers_as_strings=1" \
	"&input_format_json_read_arrays_as_strings=1"

/* ---------------------------------------------------------------------
 * Statements
 * ---------------------------------------------------------------------
 */

char *
tap_clickhouse_parameters(TapSession *session)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "wait_end_of_query=1");
	if (session->args.uri->path != NULL)
	{
		appendStringInfoString(&query, "&database=");
		tap_http_append_escaped(&query, session->args.uri->path, "");
	}
	return query.data;
}

TapHttpAnswer *
tap_clickhouse_call(TapSession *session, const char *statement)
{
	TapHttpRequest request = {0};

	request.method = "POST";
	request.path = "/";
	request.query = tap_clickhouse_parameters(session);
	request.content_type = "text/plain; charset=UTF-8";
	request.body = statement;
	request.length = strlen(statement);
	request.answer_limit = ANSWER_BYTES;
	return tap_http_call(session, &request);
}

/* Errors that pass by themselves although their status says otherwise. */
static bool
passes_by_itself(int exception)
{
	switch (exception)
	{
		case 159:				/* TIMEOUT_EXCEEDED */
		case 202:				/* TOO_MANY_SIMULTANEOUS_QUERIES */
		case 209:				/* SOCKET_TIMEOUT */
		case 210:				/* NETWORK_ERROR */
		case 236:				/* ABORTED */
		case 241:				/* MEMORY_LIMIT_EXCEEDED */
		case 242:				/* TABLE_IS_READ_ONLY */
		case 243:				/* NOT_ENOUGH_SPACE */
		case 252:				/* TOO_MANY_PARTS */
		case 999:				/* KEEPER_EXCEPTION */
			return true;
		default:
			return false;
	}
}

char *
tap_clickhouse_run(TapSession *session, const char *statement, const char *doing)
{
	TapHttpAnswer *answer = tap_clickhouse_call(session, statement);

	/* most mistakes in statements have a status that says nothing */
	if (answer->complete && answer->exception != 0 && answer->status != 401 &&
		!passes_by_itself(answer->exception))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("could not %s at %s", doing, tap_http_place(session)),
				 errdetail("%s", tap_http_describe_answer(session, answer))));
	if (!answer->complete || answer->status != 200)
		tap_http_raise_answer(session, answer, doing);
	return unconstify(char *, answer->body);
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

/* Two tables must not share one: a row of either would replace one of the other. */
static void
check_not_shared(TapSession *session, const TapClickhouseTable *target)
{
	ListCell   *cell;

	foreach(cell, session->targets)
	{
		TapClickhouseTable *other = lfirst(cell);

		if (strcmp(other->table, target->table) == 0 &&
			(strcmp(other->name.name, target->name.name) != 0 ||
			 strcmp(other->name.schema, target->name.schema) != 0))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("tables %s.%s and %s.%s would share the target table \"%s\"",
							other->name.schema, other->name.name, target->name.schema,
							target->name.name, target->table),
					 errhint("Set the option \"table\" to {schema}_{table}, or make a pipeline for each.")));
	}
}

static void *
prepare_table(TapSession *session, const TapSourceTable *table, const TapSourceTable *old,
			  bool known)
{
	const TapOptions *options = session->args.pipeline_options;
	TapClickhouseTable *target = palloc0(sizeof(TapClickhouseTable));

	(void) old;
	target->name.schema = pstrdup(table->name.schema ? table->name.schema : "");
	target->name.name = pstrdup(table->name.name);
	target->table = tap_http_utf8(tap_http_expand(tap_http_core->option_text(options, "table"),
												  &table->name));
	target->version = tap_http_utf8(tap_http_core->option_text(options, "version_column"));
	target->deleted = tap_http_utf8(tap_http_core->option_text(options, "deleted_column"));
	target->json = tap_row_json_prepare(table);
	target->columns = tap_http_columns(table);
	check_not_shared(session, target);
	tap_clickhouse_prepare(session, table, target, known);
	session->targets = lappend(session->targets, target);
	return target;
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

static void
finish_row(TapSession *session, const TapOutChange *change, StringInfo row, bool deleted)
{
	TapClickhouseTable *target = change->table_data;
	TapHttpAddition addition = {0};

	appendStringInfoChar(row, ',');
	tap_json_append_cstring(row, target->version);
	appendStringInfo(row, ":%llu,", (unsigned long long) tap_http_version(change));
	tap_json_append_cstring(row, target->deleted);
	appendStringInfo(row, ":%d}", deleted);
	addition.change = change;
	addition.target = target;
	addition.data = row->data;
	addition.length = row->len;
	addition.row_length = row->len;
	tap_http_queue_add(session, &addition);
}

static void
add_deleted(TapSession *session, const TapOutChange *change)
{
	TapClickhouseTable *target = change->table_data;
	StringInfoData row;

	initStringInfo(&row);
	appendStringInfoChar(&row, '{');
	(void) tap_row_json_append_columns(target->json, &row, &change->old_row, TAP_ROW_JSON_KEY);
	finish_row(session, change, &row, true);
}

static void
add_row(TapSession *session, const TapOutChange *change)
{
	TapClickhouseTable *target = change->table_data;
	char	   *misfit = tap_clickhouse_misfit(target, change);
	const char *missing;
	StringInfoData row;

	if (misfit != NULL)
	{
		tap_http_refuse_change(target->json, change, ERRCODE_DATETIME_VALUE_OUT_OF_RANGE, misfit);
		return;
	}
	initStringInfo(&row);
	appendStringInfoChar(&row, '{');
	missing = tap_http_append_whole_row(target->json, &row, change);
	if (missing != NULL)
		tap_http_refuse_partial(target->json, change, missing);
	else
		finish_row(session, change, &row, false);
}

static bool
key_changed(const TapOutChange *change)
{
	TapClickhouseTable *target = change->table_data;
	StringInfoData before;
	StringInfoData after;

	initStringInfo(&before);
	initStringInfo(&after);
	return change->old_row.slot != NULL && change->new_row.slot != NULL &&
		tap_http_append_id(target->json, &before, change->table, &change->old_row) &&
		tap_http_append_id(target->json, &after, change->table, &change->new_row) &&
		strcmp(before.data, after.data) != 0;
}

static void
write_change(TapSession *session, const TapOutChange *change)
{
	if (change->kind == TAP_CHANGE_DELETE || key_changed(change))
		add_deleted(session, change);
	if (change->kind != TAP_CHANGE_DELETE)
		add_row(session, change);
}

static void
make_request(TapSession *session, TapHttpBatch *batch)
{
	const TapClickhouseTable *target = batch->target;
	const char *ddl = tap_http_core->option_text(session->args.pipeline_options, "ddl");
	TapHttpRequest *request = &batch->request;
	StringInfoData sql;
	StringInfoData query;

	for (int i = 0; i < batch->nitems; i++)
	{
		if (batch->items[i].settled)
			continue;
		appendBinaryStringInfo(&batch->body, batch->data.data + batch->items[i].offset,
							   (int) batch->items[i].length);
		appendStringInfoChar(&batch->body, '\n');
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, "INSERT INTO ");
	tap_clickhouse_append_name(&sql, target->table);
	appendStringInfoString(&sql, " FORMAT JSONEachRow");
	initStringInfo(&query);
	appendStringInfo(&query, "%s" INSERT_SETTINGS "&input_format_skip_unknown_fields=%d&insert_deduplication_token=",
					 tap_clickhouse_parameters(session), strcmp(ddl, "ignore") == 0);
	tap_http_append_escaped(&query, tap_http_batch_key(session, batch), "");
	appendStringInfoString(&query, "&query=");
	tap_http_append_escaped(&query, sql.data, "");
	request->method = "POST";
	request->path = "/";
	request->query = query.data;
	request->content_type = "application/x-ndjson";
	request->body = batch->body.data;
	request->length = batch->body.len;
	request->answer_limit = ANSWER_BYTES;
}

static void
make_truncate(TapSession *session, TapHttpBatch *batch)
{
	const TapClickhouseTable *target = batch->target;
	TapHttpRequest *request = &batch->request;

	appendStringInfoString(&batch->body, "TRUNCATE TABLE ");
	tap_clickhouse_append_name(&batch->body, target->table);
	request->method = "POST";
	request->path = "/";
	request->query = tap_clickhouse_parameters(session);
	request->content_type = "text/plain; charset=UTF-8";
	request->body = batch->body.data;
	request->length = batch->body.len;
	request->answer_limit = ANSWER_BYTES;
}

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

/* Errors that speak of the rows, by ClickHouse's numbers. */
static bool
is_about_data(int exception)
{
	switch (exception)
	{
		case 6:					/* CANNOT_PARSE_TEXT */
		case 25:				/* CANNOT_PARSE_ESCAPE_SEQUENCE */
		case 26:				/* CANNOT_PARSE_QUOTED_STRING */
		case 27:				/* CANNOT_PARSE_INPUT_ASSERTION_FAILED */
		case 38:				/* CANNOT_PARSE_DATE */
		case 41:				/* CANNOT_PARSE_DATETIME */
		case 53:				/* TYPE_MISMATCH */
		case 69:				/* ARGUMENT_OUT_OF_BOUND */
		case 70:				/* CANNOT_CONVERT_TYPE */
		case 72:				/* CANNOT_PARSE_NUMBER */
		case 117:				/* INCORRECT_DATA */
		case 130:				/* CANNOT_READ_ARRAY_FROM_TEXT */
		case 131:				/* TOO_LARGE_STRING_SIZE */
		case 321:				/* VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE */
		case 349:				/* CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN */
		case 376:				/* CANNOT_PARSE_UUID */
		case 407:				/* DECIMAL_OVERFLOW */
		case 467:				/* CANNOT_PARSE_BOOL */
		case 469:				/* VIOLATED_CONSTRAINT */
		case 675:				/* CANNOT_PARSE_IPV4 */
		case 676:				/* CANNOT_PARSE_IPV6 */
			return true;
		default:
			return false;
	}
}

static TapHttpVerdict
judge(TapSession *session, TapHttpBatch *batch, const TapHttpAnswer *answer)
{
	TapHttpVerdict verdict;

	if (answer->complete && answer->exception != 0)
	{
		if (is_about_data(answer->exception) && !batch->truncate)
			return TAP_HTTP_SPLIT;
		if (passes_by_itself(answer->exception))
			return TAP_HTTP_AGAIN;
	}
	verdict = tap_http_judge_status(session, answer);
	if (verdict == TAP_HTTP_REFUSED)
		tap_http_raise_answer(session, answer, "insert rows");
	return verdict;
}

static const char *
recognize(TapSession *session, char **detail)
{
	TapHttpAnswer *answer = tap_clickhouse_call(session, "SELECT version() FORMAT TabSeparatedRaw");
	char	   *version;

	if (!answer->complete || answer->status != 200)
		return tap_http_describe_answer(session, answer);
	version = pnstrdup(answer->body, strspn(answer->body, "0123456789."));
	*detail = psprintf("ClickHouse %s", version);
	if (strchr(version, '.') == NULL)
		return "the server is no ClickHouse";
	if (atof(version) < 23.2)
		return psprintf("ClickHouse %s cannot mark rows as deleted; 23.2 is needed at least", version);
	return NULL;
}

const TapHttpDialect tap_http_clickhouse = {
	.name = "clickhouse",
	.needs_key = true,
	.lane_per_table = true,
	.prepare_table = prepare_table,
	.write = write_change,
	.make_request = make_request,
	.make_truncate = make_truncate,
	.judge = judge,
	.recognize = recognize,
};
