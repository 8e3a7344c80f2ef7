/*-------------------------------------------------------------------------
 *
 * src/catalog_pipeline.c
 *	  The rows of tapdata.pipeline and tapdata.pipeline_state.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "catalog_private.h"

/* A database that was copied from another has the other's rows, too. */
#define THIS_DATABASE \
	"(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"

#define PIPELINE_COLUMNS \
	"SELECT p.id, p.name, p.direction, p.connection, p.tables, p.into_schema, p.options, " \
	"p.owner::oid, s.enabled, s.failed, s.last_error, coalesce(s.starts, 0) " \
	"FROM tapdata.pipeline p LEFT JOIN tapdata.pipeline_state s ON s.pipeline = p.id " \
	"AND s.database = " THIS_DATABASE " "

static TapPipelineRow *
pipeline_row(TapCatalogCall *call, uint64 row)
{
	MemoryContext before = MemoryContextSwitchTo(call->caller);
	TapPipelineRow *pipeline = palloc0(sizeof(TapPipelineRow));

	pipeline->id = tap_column_int4(row, 1);
	pipeline->name = tap_column_text(row, 2);
	pipeline->direction = strcmp(tap_column_text(row, 3), "publish") == 0 ? TAP_PUBLISH : TAP_PULL;
	pipeline->connection = tap_column_int4(row, 4);
	pipeline->patterns = tap_column_texts(row, 5);
	pipeline->into_schema = tap_column_text(row, 6);
	pipeline->options = tap_column_jsonb(row, 7);
	pipeline->owner = tap_column_oid(row, 8);
	pipeline->enabled = tap_column_bool(row, 9);
	pipeline->failed = tap_column_bool(row, 10);
	pipeline->last_error = tap_column_text(row, 11);
	pipeline->starts = tap_column_int4(row, 12);
	MemoryContextSwitchTo(before);
	return pipeline;
}

/* All rows of a query, in the caller's context. */
static List *
pipeline_rows(TapCatalogCall *call, uint64 count)
{
	List	   *result = NIL;

	for (uint64 row = 0; row < count; row++)
	{
		TapPipelineRow *pipeline = pipeline_row(call, row);
		MemoryContext before = MemoryContextSwitchTo(call->caller);

		result = lappend(result, pipeline);
		MemoryContextSwitchTo(before);
	}
	return result;
}

static void
report_no_pipeline(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("pipeline \"%s\" does not exist", name),
			 errhint("See tapdata.pipelines.")));
}

TapPipelineRow *
tap_catalog_pipeline(const char *name, bool missing_ok)
{
	TapCatalogCall call;
	TapPipelineRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read(PIPELINE_COLUMNS "WHERE p.name = $1",
						 TAP_PARAMS(tap_param_name(name))) > 0)
		row = pipeline_row(&call, 0);
	tap_catalog_leave(&call);
	if (row == NULL && !missing_ok)
		report_no_pipeline(name);
	return row;
}

TapPipelineRow *
tap_catalog_pipeline_by_id(int32 id, bool missing_ok)
{
	TapCatalogCall call;
	TapPipelineRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read(PIPELINE_COLUMNS "WHERE p.id = $1",
						 TAP_PARAMS(tap_param_int4(id))) > 0)
		row = pipeline_row(&call, 0);
	tap_catalog_leave(&call);
	if (row == NULL && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline with number %d does not exist", id)));
	return row;
}

TapPipelineRow *
tap_catalog_pipeline_owned(const char *name)
{
	TapCatalogCall call;
	TapPipelineRow *row = tap_catalog_pipeline(name, false);

	tap_catalog_check_owner(row->owner, "pipeline", name);

	/* not FOR UPDATE: workers shall go on to insert rows that refer to it */
	tap_catalog_enter(&call);
	row = NULL;
	if (tap_catalog_write(PIPELINE_COLUMNS "WHERE p.name = $1 FOR NO KEY UPDATE OF p",
						  TAP_PARAMS(tap_param_name(name))) > 0)
		row = pipeline_row(&call, 0);
	tap_catalog_leave(&call);

	/* it may have been changed while we waited for the lock */
	if (row == NULL)
		report_no_pipeline(name);
	tap_catalog_check_owner(row->owner, "pipeline", name);
	return row;
}

List *
tap_catalog_pipelines_to_run(void)
{
	TapCatalogCall call;
	List	   *result;
	uint64		count;

	tap_catalog_enter(&call);
	count = tap_catalog_read(PIPELINE_COLUMNS "WHERE s.enabled AND NOT s.failed ORDER BY p.id",
							 0, NULL);
	result = pipeline_rows(&call, count);
	tap_catalog_leave(&call);
	return result;
}

List *
tap_catalog_pipelines(void)
{
	TapCatalogCall call;
	List	   *result;
	uint64		count;

	tap_catalog_enter(&call);
	count = tap_catalog_read(PIPELINE_COLUMNS "ORDER BY p.name", 0, NULL);
	result = pipeline_rows(&call, count);
	tap_catalog_leave(&call);
	return result;
}

List *
tap_catalog_pipelines_of_connection(int32 connection)
{
	TapCatalogCall call;
	List	   *result = NIL;
	uint64		count;
	MemoryContext before;

	tap_catalog_enter(&call);
	count = tap_catalog_read("SELECT name FROM tapdata.pipeline WHERE connection = $1 ORDER BY name",
							 TAP_PARAMS(tap_param_int4(connection)));
	before = MemoryContextSwitchTo(call.caller);
	for (uint64 row = 0; row < count; row++)
		result = lappend(result, tap_column_text(row, 1));
	MemoryContextSwitchTo(before);
	tap_catalog_leave(&call);
	return result;
}

int32
tap_catalog_insert_pipeline(const TapPipelineRow *row)
{
	TapCatalogCall call;
	int32		id;

	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.pipeline "
					  "(name, direction, connection, tables, into_schema, options, owner) "
					  "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
					  TAP_PARAMS(tap_param_name(row->name),
								 tap_param_text(row->direction == TAP_PULL ? "pull" : "publish"),
								 tap_param_int4(row->connection),
								 tap_param_texts(row->patterns),
								 tap_param_name(row->into_schema),
								 tap_param_jsonb(row->options),
								 tap_param_oid(row->owner)));
	id = tap_column_int4(0, 1);
	tap_catalog_leave(&call);
	return id;
}

void
tap_catalog_update_pipeline(const TapPipelineRow *row)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.pipeline SET tables = $2, into_schema = $3, options = $4 "
					  "WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(row->id), tap_param_texts(row->patterns),
								 tap_param_name(row->into_schema),
								 tap_param_jsonb(row->options)));
	tap_catalog_leave(&call);
}

/* What refers to the pipeline goes with it, by the foreign keys. */
void
tap_catalog_delete_pipeline(int32 id)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.pipeline WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(id)));
	tap_catalog_leave(&call);
}

void
tap_catalog_set_enabled(int32 pipeline, bool enabled)
{
	TapCatalogCall call;

	/* stopping keeps the error to be seen, starting is a new try */
	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.pipeline_state AS s (pipeline, database, enabled) "
					  "VALUES ($1, " THIS_DATABASE ", $2) "
					  "ON CONFLICT (pipeline) DO UPDATE SET enabled = excluded.enabled, "
					  "database = excluded.database, starts = 0, "
					  "failed = s.failed AND NOT excluded.enabled, "
					  "last_error = CASE WHEN excluded.enabled THEN NULL ELSE s.last_error END, "
					  "failed_at = CASE WHEN excluded.enabled THEN NULL ELSE s.failed_at END",
					  TAP_PARAMS(tap_param_int4(pipeline), tap_param_bool(enabled)));
	tap_catalog_leave(&call);
}

void
tap_catalog_set_failed(int32 pipeline, const char *error)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.pipeline_state SET failed = $2 IS NOT NULL, last_error = $2, "
					  "failed_at = CASE WHEN $2 IS NOT NULL THEN clock_timestamp() END "
					  "WHERE pipeline = $1",
					  TAP_PARAMS(tap_param_int4(pipeline), tap_param_text(error)));
	tap_catalog_leave(&call);
}

void
tap_catalog_set_starts(int32 pipeline, int32 starts)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.pipeline_state SET starts = $2 WHERE pipeline IN "
					  "(SELECT pipeline FROM tapdata.pipeline_state WHERE pipeline = $1 "
					  "FOR UPDATE SKIP LOCKED)",
					  TAP_PARAMS(tap_param_int4(pipeline), tap_param_int4(starts)));
	tap_catalog_leave(&call);
}

TimestampTz
tap_catalog_failed_at(int32 pipeline)
{
	TapCatalogCall call;
	TimestampTz result = 0;

	tap_catalog_enter(&call);
	if (tap_catalog_read("SELECT failed_at FROM tapdata.pipeline_state WHERE pipeline = $1",
						 TAP_PARAMS(tap_param_int4(pipeline))) > 0)
		result = (TimestampTz) tap_column_int8(0, 1);
	tap_catalog_leave(&call);
	return result;
}

bool
tap_catalog_state_is_uncommitted(int32 pipeline)
{
	TapCatalogCall call;
	bool		result = false;

	tap_catalog_enter(&call);
	if (tap_catalog_read("SELECT xmin FROM tapdata.pipeline_state WHERE pipeline = $1",
						 TAP_PARAMS(tap_param_int4(pipeline))) > 0)
		result = TransactionIdIsCurrentTransactionId(tap_column_oid(0, 1));
	tap_catalog_leave(&call);
	return result;
}
