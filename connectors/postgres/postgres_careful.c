/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_careful.c
 *	  Finds the rows that the target refuses, for on_error = dead_letter.
 *
 * NOTES
 *	  Under this option each batch begins with a savepoint.  When one of its
 *	  statements fails, the batch is undone to there and made again statement by
 *	  statement, each behind a savepoint of its own; one that fails is made
 *	  again in halves, down to the row.  So is what was sent behind it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "access/xact.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#define DOING	"look for the rows that the target refuses"

/* ---------------------------------------------------------------------
 * Rows as JSON
 * ---------------------------------------------------------------------
 */

static char *
value_text(TapPgColumn *column, const char *value, int32 length)
{
	StringInfoData bytes;
	Oid			function;
	Oid			parameter;
	Datum		datum;

	if (column->codec == TAP_PG_OUTPUT)
		return pnstrdup(value, length);
	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, value, length);
	getTypeBinaryInputInfo(column->type, &function, &parameter);
	datum = OidReceiveFunctionCall(function, &bytes, parameter, -1);
	return OutputFunctionCall(&column->output, datum);
}

static void
append_object(StringInfo out, const char *label, TapPgTable *table, const char **row,
			  int ncolumns)
{
	const char *separator = "";

	appendStringInfo(out, ", \"%s\": {", label);
	for (int i = 0; i < ncolumns; i++)
	{
		int32		length;
		const char *value = tap_pg_next_value(row, &length);

		if (length == TAP_PG_ABSENT)
			continue;
		appendStringInfoString(out, separator);
		separator = ", ";
		escape_json(out, table->columns[i].name);
		appendStringInfoString(out, ": ");
		if (length < 0)
			appendStringInfoString(out, "null");
		else
			escape_json(out, value_text(&table->columns[i], value, length));
	}
	appendStringInfoChar(out, '}');
}

static char *
row_json(const TapPgShape *shape, const char *row)
{
	TapPgTable *table = shape->table;
	StringInfoData out;
	const char *op = "update";

	if (shape->action == TAP_PG_INSERT)
		op = "insert";
	else if (shape->action == TAP_PG_DELETE || shape->action == TAP_PG_DELETE_WHOLE)
		op = "delete";
	initStringInfo(&out);
	appendStringInfo(&out, "{\"op\": \"%s\", \"table\": ", op);
	escape_json(&out, table->shown);
	if (shape->action == TAP_PG_DELETE || shape->action == TAP_PG_MOVE)
		append_object(&out, "old", table, &row, table->nkeys);
	else if (shape->action == TAP_PG_DELETE_WHOLE || shape->action == TAP_PG_UPDATE_WHOLE)
		append_object(&out, "old", table, &row, table->ncolumns);
	if (shape->action != TAP_PG_DELETE && shape->action != TAP_PG_DELETE_WHOLE)
		append_object(&out, "new", table, &row, table->ncolumns);
	appendStringInfoChar(&out, '}');
	return out.data;
}

static void
set_aside(TapPgRun *run, int row, const TapPgError *error)
{
	bool		in_transaction = IsTransactionState();
	MemoryContext context = CurrentMemoryContext;
	bool		missing = error->sqlstate == ERRCODE_DIVISION_BY_ZERO &&
	run->shape->action != TAP_PG_INSERT;
	char	   *json;

	if (!in_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	json = row_json(run->shape, run->data.data + run->rows[row].offset);
	if (!in_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);

	/* outside of ours, so that it is stored before the target commits */
	tap_pg_core->dead_letter(&run->shape->table->source->name, json, run->rows[row].lsn,
							 missing ? ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION : error->sqlstate,
							 missing ? "the row is not there at the target, or is no longer the same" :
							 error->detail == NULL ? error->message :
							 psprintf("%s; detail: %s", error->message, error->detail));
}

/* ---------------------------------------------------------------------
 * Statement by statement
 * ---------------------------------------------------------------------
 */

static TapPgError *
execute(TapSession *session, TapPgRun *run, int first, int last)
{
	TapPgShape *shape = run->shape;
	Oid			types[2 * MaxHeapAttributeNumber + 1];
	int			ntypes = tap_pg_parameter_types(shape, types);
	TapPgParameters *parameters = tap_pg_parameters(run, first, last, !session->sink->overwrite);
	TapPgError *error = NULL;
	PGresult   *result;

	if (!PQsendQueryParams(session->conn, tap_pg_statement(shape), ntypes, types,
						   parameters->values, parameters->lengths, parameters->formats, 0))
		tap_pg_raise(tap_pg_error(session->conn, NULL), DOING, NULL, NULL);
	while ((result = tap_pg_next_result(session, DOING)) != NULL)
	{
		if (error == NULL && PQresultStatus(result) == PGRES_FATAL_ERROR)
			error = tap_pg_error(session->conn, result);
		PQclear(result);
	}
	return error;
}

/* Rows from first to before last, in halves where that is needed. */
static void
try_rows(TapSession *session, TapPgRun *run, int first, int last)
{
	TapPgError *error;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tapdata postgres careful",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	while (first < last && run->rows[first].dead)
		first++;
	if (first < last)
	{
		(void) tap_pg_query(session, DOING, "SAVEPOINT tapdata_rows");
		error = execute(session, run, first, last);
		if (error == NULL)
			(void) tap_pg_query(session, DOING, "RELEASE SAVEPOINT tapdata_rows");
		else if (!tap_pg_is_data_error(error))
			tap_pg_raise(error, DOING, run->shape->table->shown, NULL);
		else
		{
			(void) tap_pg_query(session, DOING,
								"ROLLBACK TO SAVEPOINT tapdata_rows; RELEASE SAVEPOINT tapdata_rows");
			if (last - first == 1)
				set_aside(run, first, error);
			else
			{
				int			middle = first + (last - first) / 2;

				try_rows(session, run, first, middle);
				try_rows(session, run, middle, last);
			}
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
try_batch(TapSession *session, TapPgBatch *batch, bool begun)
{
	TapPgSink  *sink = session->sink;

	if (!begun && batch->begins)
		(void) tap_pg_query(session, DOING, "BEGIN");
	for (int i = 0; i < batch->nruns; i++)
	{
		TapPgRun   *run = batch->runs[i];

		if (run->shape->action == TAP_PG_TRUNCATE)
			(void) tap_pg_query(session, "truncate the target", "%s",
								tap_pg_truncate_statement(run));
		else
			try_rows(session, run, 0, run->nrows);
	}
	if (!batch->commits)
		return;
	(void) tap_pg_query(session, DOING,
						"UPDATE %s SET lsn = CASE WHEN lsn = '%X/%X' THEN '%X/%X'::pg_lsn END, "
						"updated_at = now() WHERE pipeline = %s; COMMIT",
						sink->progress, LSN_FORMAT_ARGS(batch->previous),
						LSN_FORMAT_ARGS(batch->position),
						quote_literal_cstr(session->args.pipeline_identity));
	sink->durable = batch->position;
}

void
tap_pg_send_carefully(TapSession *session)
{
	TapPgSink  *sink = session->sink;

	if (PQtransactionStatus(session->conn) != PQTRANS_INERROR)
		tap_pg_raise_answer(session, sink->error, &sink->failed);
	sink->error = NULL;
	while (PQpipelineStatus(session->conn) != PQ_PIPELINE_OFF &&
		   !PQexitPipelineMode(session->conn))
		PQclear(tap_pg_next_result(session, DOING));
	(void) tap_pg_query(session, DOING, "ROLLBACK TO SAVEPOINT tapdata");
	for (int i = 0; i < sink->nsent; i++)
	{
		try_batch(session, sink->sent[i], i == 0);
		tap_pg_batch_free(sink->sent[i]);
		sink->sent[i] = NULL;
	}
	sink->nsent = 0;
	tap_pg_forget_statements(session);
}
