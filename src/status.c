/*-------------------------------------------------------------------------
 *
 * src/status.c
 *	  SQL functions behind the views.
 *
 * Anybody may call them, so that each shows no more than its view may.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "commands.h"
#include "guc.h"
#include "mapping.h"
#include "options.h"
#include "position.h"
#include "process.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_status_connectors);
PG_FUNCTION_INFO_V1(tap_status_connector_options);
PG_FUNCTION_INFO_V1(tap_status_masked_uri);
PG_FUNCTION_INFO_V1(tap_status_masked_options);
PG_FUNCTION_INFO_V1(tap_status_pipelines);
PG_FUNCTION_INFO_V1(tap_status_tables);

/* A row that is put together from left to right. */
typedef struct RowBuilder
{
	Datum		values[32];
	bool		nulls[32];
	int			count;
} RowBuilder;

static void
add_value(RowBuilder *row, Datum value, bool isnull)
{
	Assert(row->count < lengthof(row->values));
	row->values[row->count] = value;
	row->nulls[row->count++] = isnull;
}

static void
add_text(RowBuilder *row, const char *text)
{
	bool		isnull = (text == NULL || text[0] == '\0');

	add_value(row, isnull ? (Datum) 0 : CStringGetTextDatum(text), isnull);
}

static void
add_name(RowBuilder *row, const char *name)
{
	add_value(row, DirectFunctionCall1(namein, CStringGetDatum(name)), false);
}

static void
add_int8(RowBuilder *row, int64 value)
{
	add_value(row, Int64GetDatum(value), false);
}

static void
add_timestamp(RowBuilder *row, TimestampTz value)
{
	add_value(row, TimestampTzGetDatum(value), value == 0);
}

static void
put_row(FunctionCallInfo fcinfo, RowBuilder *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	Assert(row->count == result->setDesc->natts);
	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
}

/* ---------------------------------------------------------------------
 * Connectors and their options
 * ---------------------------------------------------------------------
 */

static Datum
text_array(const char *const *texts)
{
	Datum		elements[64];
	int			count = 0;

	while (texts[count] != NULL && count < lengthof(elements))
	{
		elements[count] = CStringGetTextDatum(texts[count]);
		count++;
	}
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
tap_status_connectors(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, tap_connector_all())
	{
		const TapConnector *connector = lfirst(cell);
		RowBuilder	row = {.count = 0};

		add_name(&row, connector->name);
		add_value(&row, text_array(connector->uri_schemes), false);
		add_value(&row, BoolGetDatum(connector->source != NULL), false);
		add_value(&row, BoolGetDatum(connector->sink != NULL), false);
		add_text(&row, connector->description);
		add_text(&row, connector->version);
		put_row(fcinfo, &row);
	}
	return (Datum) 0;
}

static const char *
option_type(const TapOption *option)
{
	switch (option->type)
	{
		case TAP_OPTION_BOOL:
			return "boolean";
		case TAP_OPTION_INT:
			return "integer";
		case TAP_OPTION_TEXT:
			return "text";
		case TAP_OPTION_ENUM:
			return "enum";
		case TAP_OPTION_JSON:
			return "json";
	}
	return NULL;
}

static Datum
option_scopes(const TapOption *option)
{
	const char *names[4] = {NULL};
	int			count = 0;

	if (option->scope & TAP_SCOPE_CONNECTION)
		names[count++] = "connection";
	if (option->scope & TAP_SCOPE_PULL)
		names[count++] = "pull";
	if (option->scope & TAP_SCOPE_PUBLISH)
		names[count++] = "publish";
	return text_array(names);
}

/* The values of an enumeration, or the range of an integer. */
static char *
option_values(const TapOption *option)
{
	StringInfoData text;

	if (option->type == TAP_OPTION_INT)
		return psprintf(INT64_FORMAT " to " INT64_FORMAT, option->minimum, option->maximum);
	if (option->type != TAP_OPTION_ENUM)
		return NULL;
	initStringInfo(&text);
	for (int i = 0; option->values[i] != NULL; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", option->values[i]);
	return text.data;
}

static void
put_options(FunctionCallInfo fcinfo, const TapOption *option)
{
	for (; option != NULL && option->name != NULL; option++)
	{
		RowBuilder	row = {.count = 0};

		add_text(&row, option->name);
		add_text(&row, option_type(option));
		add_value(&row, option_scopes(option), false);
		add_text(&row, option->default_value);
		add_text(&row, option_values(option));
		add_value(&row, BoolGetDatum(option->secret), false);
		add_text(&row, option->help);
		put_row(fcinfo, &row);
	}
}

Datum
tap_status_connector_options(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name_or_null(fcinfo, 0);

	InitMaterializedSRF(fcinfo, 0);
	if (name != NULL)
		put_options(fcinfo, tap_connector_load(name)->options);
	else
	{
		put_options(fcinfo, tap_connection_options);
		put_options(fcinfo, tap_pull_options);
		put_options(fcinfo, tap_publish_options);
	}
	return (Datum) 0;
}

Datum
tap_status_masked_uri(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(tap_uri_masked(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}

/* Does not fail where the connector is gone: then all values are masked. */
Datum
tap_status_masked_options(PG_FUNCTION_ARGS)
{
	char	   *name = NameStr(*PG_GETARG_NAME(0));
	Jsonb	   *options = PG_GETARG_JSONB_P(1);

	PG_RETURN_JSONB_P(tap_options_masked(options, tap_connector_find(name)));
}

/* ---------------------------------------------------------------------
 * Pipelines
 * ---------------------------------------------------------------------
 */

/* A consistent copy of what is shared about one pipeline. */
typedef struct LiveState
{
	TapPipelineState state;
	TimestampTz since;
	TimestampTz last_commit_at;
	bool		behind;
	TimestampTz behind_since;
	char		source_position[TAP_POSITION_MAX_BYTES];
	char		last_error[TAP_ERROR_MAX_BYTES];
} LiveState;

/* Pipelines whose status the user may see. */
static List *
visible_pipelines(void)
{
	bool		all = has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tap_catalog_pipelines())
	{
		TapPipelineRow *pipeline = lfirst(cell);

		if (all || has_privs_of_role(GetUserId(), pipeline->owner))
			result = lappend(result, pipeline);
	}
	return result;
}

static TapPipelineShared *
shared_entry(const TapPipelineRow *pipeline)
{
	return tap_shmem_available() ? tap_shmem_pipeline(pipeline->id, false) : NULL;
}

static void
read_live_state(TapPipelineShared *shared, LiveState *live)
{
	memset(live, 0, sizeof(*live));
	if (shared == NULL)
		return;
	SpinLockAcquire(&shared->mutex);
	live->state = shared->state;
	live->since = shared->since;
	live->last_commit_at = shared->last_commit_at;
	live->behind = shared->behind;
	live->behind_since = shared->behind_since;
	memcpy(live->source_position, shared->source_position, TAP_POSITION_MAX_BYTES);
	memcpy(live->last_error, shared->last_error, TAP_ERROR_MAX_BYTES);
	if (shared->delay[0] != '\0')
	{
		live->state = TAP_STATE_RETRYING;
		live->since = shared->delayed_since;
		memcpy(live->last_error, shared->delay, TAP_ERROR_MAX_BYTES);
	}
	SpinLockRelease(&shared->mutex);
}

/*
 * The catalog says what shall be, shared memory what is: the former decides
 * about pipelines that do not run.  None is started on a standby, or while
 * tapdata.enabled is off.
 */
static TapPipelineState
state_of(const TapPipelineRow *pipeline, const LiveState *live)
{
	if (pipeline->failed)
		return TAP_STATE_FAILED;
	if (!pipeline->enabled || RecoveryInProgress())
		return TAP_STATE_STOPPED;

	/* a worker that was terminated leaves its state behind */
	if (live->state == TAP_STATE_STOPPED || live->state == TAP_STATE_FAILED ||
		(tap_shmem_is_running(live->state) &&
		 !tap_process_runs(TAP_PROCESS_PIPELINE, pipeline->id, 0)))
		return tap_shmem_available() && tap_guc_enabled ? TAP_STATE_STARTING : TAP_STATE_STOPPED;
	return live->state;
}

/* What it failed of, also while it tries again, which may take long. */
static const char *
why_not_running(const TapPipelineRow *pipeline, TapPipelineState state,
				const LiveState *live)
{
	const char *obstacle = NULL;

	if (pipeline->last_error != NULL)
		return pipeline->last_error;
	if (state == TAP_STATE_STARTING)
		obstacle = tap_shmem_obstacle(pipeline->id);
	if (obstacle == NULL && live->last_error[0] != '\0' &&
		(state == TAP_STATE_STARTING || state == TAP_STATE_RETRYING))
		obstacle = live->last_error;
	return obstacle;
}

static void
add_lag(RowBuilder *row, TapPipelineState state, const LiveState *live,
		TapPipelineShared *shared)
{
	uint64		bytes = shared ? pg_atomic_read_u64(&shared->lag_bytes) : PG_UINT64_MAX;
	double		seconds = 0;
	TimestampTz since = live->behind_since != 0 ? live->behind_since : live->last_commit_at;

	if (live->behind && since != 0)
		seconds = Max(0, (GetCurrentTimestamp() - since) / (double) USECS_PER_SEC);
	add_value(row, Float8GetDatum(seconds),
			  state != TAP_STATE_STREAMING || (live->behind && since == 0));
	add_value(row, Int64GetDatum((int64) bytes), !tap_shmem_is_running(state) || bytes == PG_UINT64_MAX);
}

static void
add_counter(RowBuilder *row, pg_atomic_uint64 *counter)
{
	add_int8(row, counter ? (int64) pg_atomic_read_u64(counter) : 0);
}

/* Rows copied and expected, by the ledgers of the tables. */
static void
ledger_rows(int32 pipeline, int64 *copied, int64 *estimated)
{
	ListCell   *cell;

	*copied = *estimated = 0;
	foreach(cell, tap_catalog_chunk_totals(pipeline))
	{
		TapChunkTotals *totals = lfirst(cell);

		*copied += totals->rows_done;
		*estimated += totals->rows_estimated;
	}
}

#define COUNTER(shared, name)	((shared) ? &(shared)->name : NULL)

static void
put_pipeline(FunctionCallInfo fcinfo, const TapPipelineRow *pipeline)
{
	TapPipelineShared *shared = shared_entry(pipeline);
	List	   *tables = tap_catalog_tables(pipeline->id);
	LiveState	live;
	TapPipelineState state;
	RowBuilder	row = {.count = 0};
	char	   *position = shared ? tap_shmem_reached(shared) : NULL;
	int64		copied;
	int64		estimated;

	read_live_state(shared, &live);
	state = state_of(pipeline, &live);
	ledger_rows(pipeline->id, &copied, &estimated);
	if (shared != NULL)
	{
		copied = Max(copied, (int64) pg_atomic_read_u64(&shared->rows_copied));
		estimated = Max(estimated, (int64) pg_atomic_read_u64(&shared->rows_estimated));
	}
	if (position == NULL || position[0] == '\0')
		position = tap_position_read(pipeline->id);

	add_name(&row, pipeline->name);
	add_text(&row, pipeline->direction == TAP_PULL ? "pull" : "publish");
	add_name(&row, tap_catalog_connection_by_id(pipeline->connection)->name);
	add_text(&row, tap_shmem_state_name(state));
	add_int8(&row, list_length(tables));
	add_int8(&row, copied);
	add_int8(&row, estimated);
	add_counter(&row, COUNTER(shared, inserts));
	add_counter(&row, COUNTER(shared, updates));
	add_counter(&row, COUNTER(shared, deletes));
	add_counter(&row, COUNTER(shared, transactions));
	add_counter(&row, COUNTER(shared, bytes));
	add_lag(&row, state, &live, shared);
	add_text(&row, position);
	add_text(&row, state == TAP_STATE_STREAMING && !live.behind ? position :
			 live.source_position);
	add_timestamp(&row, live.last_commit_at);
	add_int8(&row, tap_catalog_dead_letters(pipeline->id));
	add_counter(&row, COUNTER(shared, restarts));
	add_text(&row, why_not_running(pipeline, state, &live));
	add_timestamp(&row, state == TAP_STATE_FAILED ? tap_catalog_failed_at(pipeline->id) :
				  state == live.state ? live.since : 0);
	put_row(fcinfo, &row);
}

Datum
tap_status_pipelines(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, visible_pipelines())
		put_pipeline(fcinfo, lfirst(cell));
	return (Datum) 0;
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

static const char *
table_state_name(TapTableState state)
{
	switch (state)
	{
		case TAP_TABLE_NEW:
			return "new";
		case TAP_TABLE_COPYING:
			return "copying";
		case TAP_TABLE_COPIED:
			return "copied";
		case TAP_TABLE_CATCHUP:
		case TAP_TABLE_READY:
		case TAP_TABLE_JOINED:
			return "catchup";
		case TAP_TABLE_STREAMING:
			return "streaming";
		case TAP_TABLE_DROPPED:
			return "dropped";
	}
	return NULL;
}

static void
put_table(FunctionCallInfo fcinfo, const TapPipelineRow *pipeline, const TapTableRow *table,
		  const TapChunkTotals *ledger)
{
	TapTableShared *shared = tap_shmem_available() ? tap_shmem_table(table->id, false) : NULL;
	TapChunkTotals totals = {0};
	RowBuilder	row = {.count = 0};

	if (ledger != NULL)
		totals = *ledger;
	if (shared != NULL)
	{
		totals.rows_done = Max(totals.rows_done, (int64) pg_atomic_read_u64(&shared->rows_copied));
		totals.rows_estimated = Max(totals.rows_estimated,
									(int64) pg_atomic_read_u64(&shared->rows_estimated));
	}
	add_name(&row, pipeline->name);
	add_text(&row, tap_table_name_text(&table->source));
	add_value(&row, ObjectIdGetDatum(table->hub_table), !OidIsValid(table->hub_table));
	add_text(&row, table_state_name(table->state));
	add_int8(&row, totals.chunks);
	add_int8(&row, totals.chunks_done);
	add_int8(&row, totals.rows_done);
	add_int8(&row, totals.rows_estimated);
	add_counter(&row, COUNTER(shared, inserts));
	add_counter(&row, COUNTER(shared, updates));
	add_counter(&row, COUNTER(shared, deletes));
	add_counter(&row, COUNTER(shared, truncates));
	add_text(&row, table->last_error);
	put_row(fcinfo, &row);
}

/* The tables and the ledger are both in order of the tables' numbers. */
static void
put_tables(FunctionCallInfo fcinfo, const TapPipelineRow *pipeline)
{
	List	   *ledger = tap_catalog_chunk_totals(pipeline->id);
	ListCell   *next = list_head(ledger);
	ListCell   *cell;

	foreach(cell, tap_catalog_tables(pipeline->id))
	{
		TapTableRow *table = lfirst(cell);
		TapChunkTotals *totals = NULL;

		while (next != NULL && ((TapChunkTotals *) lfirst(next))->table < table->id)
			next = lnext(ledger, next);
		if (next != NULL && ((TapChunkTotals *) lfirst(next))->table == table->id)
			totals = lfirst(next);
		put_table(fcinfo, pipeline, table, totals);
	}
}

Datum
tap_status_tables(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, visible_pipelines())
		put_tables(fcinfo, lfirst(cell));
	return (Datum) 0;
}
