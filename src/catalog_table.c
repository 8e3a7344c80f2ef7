/*-------------------------------------------------------------------------
 *
 * src/catalog_table.c
 *	  The rows of tapdata.pipeline_table and tapdata.snapshot_chunk.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog_private.h"

#define TABLE_COLUMNS \
	"SELECT id, pipeline, source_schema, source_name, hub_table::oid, state, created, " \
	"definition, start_position, end_position, exact, last_error, published, unsure " \
	"FROM tapdata.pipeline_table "

static TapTableRow *
table_row(TapCatalogCall *call, uint64 row)
{
	MemoryContext before = MemoryContextSwitchTo(call->caller);
	TapTableRow *table = palloc0(sizeof(TapTableRow));

	table->id = tap_column_int4(row, 1);
	table->pipeline = tap_column_int4(row, 2);
	table->source.schema = tap_column_text(row, 3);
	table->source.name = tap_column_text(row, 4);
	table->hub_table = tap_column_oid(row, 5);
	table->state = (TapTableState) tap_column_char(row, 6);
	table->created = tap_column_bool(row, 7);
	table->definition = tap_column_text(row, 8);
	table->start_position = tap_column_text(row, 9);
	table->end_position = tap_column_text(row, 10);
	table->exact = tap_column_bool(row, 11);
	table->last_error = tap_column_text(row, 12);
	table->published = tap_column_bool(row, 13);
	table->unsure = tap_column_bool(row, 14);
	MemoryContextSwitchTo(before);
	return table;
}

List *
tap_catalog_tables(int32 pipeline)
{
	TapCatalogCall call;
	List	   *result = NIL;
	uint64		count;

	tap_catalog_enter(&call);
	count = tap_catalog_read(TABLE_COLUMNS "WHERE pipeline = $1 ORDER BY id",
							 TAP_PARAMS(tap_param_int4(pipeline)));
	for (uint64 row = 0; row < count; row++)
	{
		TapTableRow *table = table_row(&call, row);
		MemoryContext before = MemoryContextSwitchTo(call.caller);

		result = lappend(result, table);
		MemoryContextSwitchTo(before);
	}
	tap_catalog_leave(&call);
	return result;
}

TapTableRow *
tap_catalog_table_by_id(int32 id)
{
	TapCatalogCall call;
	TapTableRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read(TABLE_COLUMNS "WHERE id = $1", TAP_PARAMS(tap_param_int4(id))) > 0)
		row = table_row(&call, 0);
	tap_catalog_leave(&call);
	return row;
}

TapTableRow *
tap_catalog_table_by_hub(Oid hub_table)
{
	TapCatalogCall call;
	TapTableRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read(TABLE_COLUMNS "WHERE hub_table = $1 AND NOT published",
						 TAP_PARAMS(tap_param_oid(hub_table))) > 0)
		row = table_row(&call, 0);
	tap_catalog_leave(&call);
	return row;
}

int32
tap_catalog_insert_table(const TapTableRow *row)
{
	TapCatalogCall call;
	int32		id;

	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.pipeline_table (pipeline, source_schema, source_name, "
					  "hub_table, state, created, definition, start_position, end_position, "
					  "exact, last_error, published) "
					  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
					  TAP_PARAMS(tap_param_int4(row->pipeline),
								 tap_param_text(row->source.schema),
								 tap_param_text(row->source.name),
								 tap_param_oid(row->hub_table),
								 tap_param_char((char) row->state),
								 tap_param_bool(row->created),
								 tap_param_text(row->definition),
								 tap_param_text(row->start_position),
								 tap_param_text(row->end_position),
								 tap_param_bool(row->exact),
								 tap_param_text(row->last_error),
								 tap_param_bool(row->published)));
	id = tap_column_int4(0, 1);
	tap_catalog_leave(&call);
	return id;
}

void
tap_catalog_update_table(const TapTableRow *row)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.pipeline_table SET source_schema = $2, source_name = $3, "
					  "hub_table = $4, state = $5, created = $6, definition = $7, "
					  "start_position = $8, end_position = $9, exact = $10, last_error = $11 "
					  "WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(row->id),
								 tap_param_text(row->source.schema),
								 tap_param_text(row->source.name),
								 tap_param_oid(row->hub_table),
								 tap_param_char((char) row->state),
								 tap_param_bool(row->created),
								 tap_param_text(row->definition),
								 tap_param_text(row->start_position),
								 tap_param_text(row->end_position),
								 tap_param_bool(row->exact),
								 tap_param_text(row->last_error)));
	tap_catalog_leave(&call);
}

void
tap_catalog_set_unsure(int32 id, bool unsure)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.pipeline_table SET unsure = $2 WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(id), tap_param_bool(unsure)));
	tap_catalog_leave(&call);
}

/*
 * What refers to the table is deleted by name: workers run with foreign keys'
 * triggers switched off.
 */
void
tap_catalog_delete_table(int32 id)
{
	TapCatalogCall call;

	tap_catalog_delete_chunks(id);
	tap_catalog_delete_staged_of_table(id);
	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.pipeline_table WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(id)));
	tap_catalog_leave(&call);
}

/* ---------------------------------------------------------------------
 * The chunk ledger
 * ---------------------------------------------------------------------
 */

void
tap_catalog_insert_chunk(int32 table, int32 number, const TapChunk *chunk)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.snapshot_chunk "
					  "(pipeline_table, number, low, high, estimated_rows) "
					  "VALUES ($1, $2, $3, $4, $5)",
					  TAP_PARAMS(tap_param_int4(table), tap_param_int4(number),
								 tap_param_text(chunk->low), tap_param_text(chunk->high),
								 tap_param_float8(chunk->estimated_rows)));
	tap_catalog_leave(&call);
}

/* A claim is a row lock: it goes with the transaction, however that ends. */
TapChunkRow *
tap_catalog_claim_chunk(int32 table)
{
	TapCatalogCall call;
	TapChunkRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_write("SELECT number, low, high, estimated_rows FROM tapdata.snapshot_chunk "
						  "WHERE pipeline_table = $1 AND NOT done ORDER BY number LIMIT 1 "
						  "FOR UPDATE SKIP LOCKED",
						  TAP_PARAMS(tap_param_int4(table))) > 0)
	{
		MemoryContext before = MemoryContextSwitchTo(call.caller);

		row = palloc0(sizeof(TapChunkRow));
		row->table = table;
		row->number = tap_column_int4(0, 1);
		row->chunk.low = tap_column_text(0, 2);
		row->chunk.high = tap_column_text(0, 3);
		row->chunk.estimated_rows = tap_column_float8(0, 4);
		MemoryContextSwitchTo(before);
	}
	tap_catalog_leave(&call);
	return row;
}

void
tap_catalog_finish_chunk(const TapChunkRow *chunk, int64 rows)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.snapshot_chunk SET done = true, rows = $3 "
					  "WHERE pipeline_table = $1 AND number = $2",
					  TAP_PARAMS(tap_param_int4(chunk->table), tap_param_int4(chunk->number),
								 tap_param_int8(rows)));
	tap_catalog_leave(&call);
}

int64
tap_catalog_chunks_left(int32 table)
{
	TapCatalogCall call;
	int64		result;

	tap_catalog_enter(&call);
	tap_catalog_read("SELECT count(*) FROM tapdata.snapshot_chunk "
					 "WHERE pipeline_table = $1 AND NOT done",
					 TAP_PARAMS(tap_param_int4(table)));
	result = tap_column_int8(0, 1);
	tap_catalog_leave(&call);
	return result;
}

void
tap_catalog_delete_chunks(int32 table)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.snapshot_chunk WHERE pipeline_table = $1",
					  TAP_PARAMS(tap_param_int4(table)));
	tap_catalog_leave(&call);
}

int64
tap_catalog_rows_copied(int32 table)
{
	TapCatalogCall call;
	int64		result;

	tap_catalog_enter(&call);
	tap_catalog_read("SELECT coalesce(sum(rows), 0)::bigint FROM tapdata.snapshot_chunk "
					 "WHERE pipeline_table = $1 AND done",
					 TAP_PARAMS(tap_param_int4(table)));
	result = tap_column_int8(0, 1);
	tap_catalog_leave(&call);
	return result;
}

List *
tap_catalog_chunk_totals(int32 pipeline)
{
	TapCatalogCall call;
	List	   *result = NIL;
	uint64		count;
	MemoryContext before;

	tap_catalog_enter(&call);
	count = tap_catalog_read("SELECT c.pipeline_table, count(*), count(*) FILTER (WHERE c.done), "
							 "coalesce(sum(c.rows) FILTER (WHERE c.done), 0)::bigint, "
							 "coalesce(sum(greatest(c.estimated_rows, 0)), 0)::bigint "
							 "FROM tapdata.snapshot_chunk c "
							 "JOIN tapdata.pipeline_table t ON t.id = c.pipeline_table "
							 "WHERE t.pipeline = $1 GROUP BY 1 ORDER BY 1",
							 TAP_PARAMS(tap_param_int4(pipeline)));
	before = MemoryContextSwitchTo(call.caller);
	for (uint64 row = 0; row < count; row++)
	{
		TapChunkTotals *totals = palloc(sizeof(TapChunkTotals));

		totals->table = tap_column_int4(row, 1);
		totals->chunks = tap_column_int8(row, 2);
		totals->chunks_done = tap_column_int8(row, 3);
		totals->rows_done = tap_column_int8(row, 4);
		totals->rows_estimated = tap_column_int8(row, 5);
		result = lappend(result, totals);
	}
	MemoryContextSwitchTo(before);
	tap_catalog_leave(&call);
	return result;
}
