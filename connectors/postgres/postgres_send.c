/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_send.c
 *	  Batches on their way, in libpq's pipeline mode.
 *
 * NOTES
 *	  A batch is sent at once, all of its statements and the commit, and ends
 *	  with a synchronization point; its answers are read later, while the next
 *	  batch is filled.  When a statement fails, the server skips what follows
 *	  up to that point, and the transaction that BEGIN opened stays failed, so
 *	  that a batch which was sent behind it fails too.  Should the commit itself
 *	  fail, the next batch fails at the position's row, which it knows to have
 *	  another value.
 *
 *	  A transaction of the hub that is larger than a batch goes to one
 *	  transaction of the target in several batches; only the last commits.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#define SENDING		"send changes to the target"

/* So many statements for tables stay prepared at the target. */
#define PREPARED_MAX	200

#define BEGIN_STATEMENT		"tap_begin"
#define COMMIT_STATEMENT	"tap_commit"
#define SAVEPOINT_STATEMENT	"tap_savepoint"
#define PROGRESS_STATEMENT	"tap_progress"

static void
check_sent(TapSession *session, int sent)
{
	TapPgError *error;

	if (sent)
		return;
	error = tap_pg_error(session->conn, NULL);
	tap_pg_raise(error, SENDING, NULL, NULL);
}

static void
expect(TapPgSink *sink, TapPgAnswerKind kind, TapPgBatch *batch, TapPgShape *shape)
{
	TapPgAnswer *answer;

	if (sink->nanswers == sink->maxanswers)
	{
		int			larger = Max(64, sink->maxanswers * 2);
		TapPgAnswer *answers = MemoryContextAlloc(sink->context, sizeof(TapPgAnswer) * larger);

		for (int i = 0; i < sink->nanswers; i++)
			answers[i] = sink->answers[(sink->first_answer + i) % sink->maxanswers];
		if (sink->answers != NULL)
			pfree(sink->answers);
		sink->answers = answers;
		sink->first_answer = 0;
		sink->maxanswers = larger;
	}
	answer = &sink->answers[(sink->first_answer + sink->nanswers) % sink->maxanswers];
	answer->kind = kind;
	answer->batch = batch;
	answer->shape = shape;
	sink->nanswers++;
}

/* ---------------------------------------------------------------------
 * Sending
 * ---------------------------------------------------------------------
 */

static void
prepare(TapSession *session, TapPgBatch *batch, const char *name, const char *sql,
		int ntypes, const Oid *types, TapPgShape *shape)
{
	check_sent(session, PQsendPrepare(session->conn, name, sql, ntypes, types));
	expect(session->sink, shape ? TAP_PG_ANSWER_RUN : TAP_PG_ANSWER_PLAIN, batch, shape);
}

static void
prepare_common(TapSession *session, TapPgBatch *batch)
{
	static const Oid types[] = {TEXTOID, LSNOID, LSNOID};

	if (session->sink->statements_prepared)
		return;
	session->sink->statements_prepared = true;
	prepare(session, batch, BEGIN_STATEMENT, "BEGIN", 0, NULL, NULL);
	prepare(session, batch, COMMIT_STATEMENT, "COMMIT", 0, NULL, NULL);
	if (session->sink->keeps_dead_letters)
		prepare(session, batch, SAVEPOINT_STATEMENT, "SAVEPOINT tapdata", 0, NULL, NULL);
	prepare(session, batch, PROGRESS_STATEMENT,
			psprintf("UPDATE %s SET lsn = CASE WHEN lsn = $2 THEN $3 END, "
					 "updated_at = pg_catalog.now() WHERE pipeline = $1",
					 session->sink->progress), 3, types, NULL);
}

static void
send_plain(TapSession *session, TapPgBatch *batch, const char *name, TapPgAnswerKind kind)
{
	check_sent(session, PQsendQueryPrepared(session->conn, name, 0, NULL, NULL, NULL, 0));
	expect(session->sink, kind, batch, NULL);
}

static void
send_progress(TapSession *session, TapPgBatch *batch)
{
	const char *values[3];

	values[0] = session->args.pipeline_identity;
	values[1] = psprintf("%X/%X", LSN_FORMAT_ARGS(batch->previous));
	values[2] = psprintf("%X/%X", LSN_FORMAT_ARGS(batch->position));
	check_sent(session, PQsendQueryPrepared(session->conn, PROGRESS_STATEMENT, 3, values,
											NULL, NULL, 0));
	expect(session->sink, TAP_PG_ANSWER_PROGRESS, batch, NULL);
}

char *
tap_pg_truncate_statement(const TapPgRun *run)
{
	const TapPgTable *first = linitial(run->truncated);
	StringInfoData sql;
	ListCell   *cell;
	const char *separator = "";

	initStringInfo(&sql);

	/* a table that others refer to cannot be truncated alone */
	if (list_length(run->truncated) == 1 && first->referenced)
	{
		appendStringInfo(&sql, "DELETE FROM %s", first->quoted);
		return sql.data;
	}
	appendStringInfoString(&sql, "TRUNCATE ");
	foreach(cell, run->truncated)
	{
		appendStringInfo(&sql, "%s%s", separator, ((TapPgTable *) lfirst(cell))->quoted);
		separator = ", ";
	}
	return sql.data;
}

/*
 * A table whose large values do not change has as many statements as there are
 * sets of them: the server must not keep all.
 */
static void
deallocate_oldest(TapSession *session, TapPgBatch *batch)
{
	TapPgSink  *sink = session->sink;
	TapPgShape *oldest = dlist_tail_element(TapPgShape, node, &sink->prepared);

	check_sent(session, PQsendQueryParams(session->conn, psprintf("DEALLOCATE %s", oldest->statement),
										  0, NULL, NULL, NULL, NULL, 0));
	expect(sink, TAP_PG_ANSWER_PLAIN, batch, NULL);
	oldest->prepared = false;
	dlist_delete(&oldest->node);
	sink->nprepared--;
}

static void
use_statement(TapSession *session, TapPgBatch *batch, TapPgShape *shape)
{
	TapPgSink  *sink = session->sink;
	Oid			types[2 * MaxHeapAttributeNumber + 1];

	if (shape->prepared)
	{
		dlist_move_head(&sink->prepared, &shape->node);
		return;
	}
	if (sink->nprepared == PREPARED_MAX)
		deallocate_oldest(session, batch);
	prepare(session, batch, shape->statement, tap_pg_statement(shape),
			tap_pg_parameter_types(shape, types), types, shape);
	shape->prepared = true;
	dlist_push_head(&sink->prepared, &shape->node);
	sink->nprepared++;
}

static void
send_run(TapSession *session, TapPgBatch *batch, TapPgRun *run)
{
	TapPgShape *shape = run->shape;
	TapPgParameters *parameters;

	if (run->nlive == 0)
		return;
	if (shape->action == TAP_PG_TRUNCATE)
	{
		check_sent(session, PQsendQueryParams(session->conn, tap_pg_truncate_statement(run),
											  0, NULL, NULL, NULL, NULL, 0));
		expect(session->sink, TAP_PG_ANSWER_RUN, batch, shape);
		return;
	}
	use_statement(session, batch, shape);
	parameters = tap_pg_parameters(run, 0, run->nrows, !session->sink->overwrite);
	check_sent(session, PQsendQueryPrepared(session->conn, shape->statement, parameters->count,
											parameters->values, parameters->lengths,
											parameters->formats, 0));
	expect(session->sink, TAP_PG_ANSWER_RUN, batch, shape);
}

static void
enter_pipeline(TapSession *session)
{
	if (PQpipelineStatus(session->conn) == PQ_PIPELINE_OFF)
		check_sent(session, PQenterPipelineMode(session->conn));
}

/* Parameters can be as large as the batch itself. */
static void
send_runs(TapSession *session, TapPgBatch *batch)
{
	MemoryContext context = AllocSetContextCreate(session->sink->context,
												  "tapdata postgres parameters",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int i = 0; i < batch->nruns; i++)
	{
		send_run(session, batch, batch->runs[i]);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
tap_pg_send_batch(TapSession *session)
{
	TapPgSink  *sink = session->sink;
	TapPgBatch *batch = sink->batch;

	Assert(sink->nsent < TAP_PG_MAX_BATCHES);
	batch->begins = !sink->txn_open;
	batch->commits = !sink->in_txn;
	batch->previous = sink->sent_position;
	batch->position = sink->end_lsn;
	enter_pipeline(session);
	prepare_common(session, batch);
	if (batch->begins)
		send_plain(session, batch, BEGIN_STATEMENT, TAP_PG_ANSWER_PLAIN);
	if (sink->keeps_dead_letters)
		send_plain(session, batch, SAVEPOINT_STATEMENT, TAP_PG_ANSWER_PLAIN);
	send_runs(session, batch);
	if (batch->commits)
	{
		send_progress(session, batch);
		send_plain(session, batch, COMMIT_STATEMENT, TAP_PG_ANSWER_COMMIT);
		sink->sent_position = batch->position;
	}
	check_sent(session, PQpipelineSync(session->conn));
	expect(sink, TAP_PG_ANSWER_END, batch, NULL);
	sink->txn_open = !batch->commits;
	sink->sent[sink->nsent++] = batch;
	sink->batch = tap_pg_batch_create(session);
	if (PQflush(session->conn) < 0)
		tap_pg_wait(session, SENDING);
}

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

static void
lost_progress(TapSession *session)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("the pipeline's row is gone from the table %s of the target",
					session->sink->progress),
			 errhint("Who or what deletes rows of this table? After it is left alone, copy the tables again with tapdata.resync().")));
}

static const char *
action_text(TapPgAction action)
{
	switch (action)
	{
		case TAP_PG_INSERT:
			return "insert rows at the target";
		case TAP_PG_DELETE:
		case TAP_PG_DELETE_WHOLE:
			return "delete rows at the target";
		case TAP_PG_TRUNCATE:
			return "truncate the target";
		default:
			return "update rows at the target";
	}
}

static void
raise_missing_rows(const TapPgShape *shape)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION),
			 errmsg("could not %s for table \"%s\": a row is not there, or is no longer the same",
					action_text(shape->action), shape->table->shown),
			 errdetail("Somebody else changed \"%s.%s\" at the target.",
					   shape->table->schema, shape->table->name),
			 errhint("Copy the table again with tapdata.resync(), or let the hub win with the option {\"conflicts\": \"overwrite\"}.")));
}

void
tap_pg_raise_answer(TapSession *session, const TapPgError *error, const TapPgAnswer *answer)
{
	switch (answer->kind)
	{
		case TAP_PG_ANSWER_RUN:
			/* our own way to stop a transaction, see postgres_sql.c */
			if (error->sqlstate == ERRCODE_DIVISION_BY_ZERO)
				raise_missing_rows(answer->shape);
			tap_pg_raise(error, action_text(answer->shape->action),
						 answer->shape->table->shown, NULL);
		case TAP_PG_ANSWER_PROGRESS:
			if (error->sqlstate == ERRCODE_NOT_NULL_VIOLATION)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_IN_USE),
						 errmsg("another session moved the pipeline's position at the target"),
						 errdetail("The table is %s, the pipeline %s.", session->sink->progress,
								   session->args.pipeline_identity),
						 errhint("Does a copy of the hub's cluster run the same pipeline? Stop it there.")));
			tap_pg_raise(error, "store the position at the target", NULL, NULL);
		case TAP_PG_ANSWER_COMMIT:
			tap_pg_raise(error, "commit at the target", NULL, NULL);
		default:
			tap_pg_raise(error, SENDING, NULL, NULL);
	}
}

static void
end_of_batch(TapPgSink *sink, TapPgBatch *batch)
{
	batch->answered = true;
	if (sink->error != NULL)
		return;
	Assert(sink->sent[0] == batch);
	if (batch->commits)
		sink->durable = batch->position;
	sink->nsent--;
	memmove(&sink->sent[0], &sink->sent[1], sizeof(TapPgBatch *) * sink->nsent);
	tap_pg_batch_free(batch);
}

static void
remember_error(TapSession *session, const PGresult *result, const TapPgAnswer *answer)
{
	TapPgSink  *sink = session->sink;
	MemoryContext old;

	if (sink->error != NULL)
		return;
	old = MemoryContextSwitchTo(sink->context);
	sink->error = tap_pg_error(session->conn, result);
	sink->failed = *answer;
	MemoryContextSwitchTo(old);
}

static void
take_result(TapSession *session, PGresult *result)
{
	TapPgSink  *sink = session->sink;
	TapPgAnswer answer = sink->answers[sink->first_answer];
	ExecStatusType status = PQresultStatus(result);
	bool		changed = strcmp(PQcmdTuples(result), "1") == 0;

	if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
		remember_error(session, result, &answer);
	PQclear(result);

	sink->first_answer = (sink->first_answer + 1) % sink->maxanswers;
	sink->nanswers--;
	if (answer.kind == TAP_PG_ANSWER_PROGRESS && status == PGRES_COMMAND_OK && !changed)
		lost_progress(session);
	if (answer.kind == TAP_PG_ANSWER_END)
		end_of_batch(sink, answer.batch);
}

/*
 * What an error means: with on_error = dead_letter an error of data is looked
 * into, when all that was sent is answered; any other ends the session.
 */
static void
handle_error(TapSession *session)
{
	TapPgSink  *sink = session->sink;

	if (!sink->keeps_dead_letters || sink->failed.kind != TAP_PG_ANSWER_RUN ||
		!tap_pg_is_data_error(sink->error) || PQstatus(session->conn) == CONNECTION_BAD)
		tap_pg_raise_answer(session, sink->error, &sink->failed);
	if (sink->nanswers > 0)
		return;
	tap_pg_send_carefully(session);
}

void
tap_pg_receive(TapSession *session)
{
	TapPgSink  *sink = session->sink;

	if (sink->nanswers == 0)
		return;
	if (PQflush(session->conn) < 0 || !PQconsumeInput(session->conn))
	{
		/* libpq makes results of it, with what the server said last */
		if (PQstatus(session->conn) != CONNECTION_BAD)
			tap_pg_wait(session, SENDING);
	}
	while (sink->nanswers > 0 && !PQisBusy(session->conn))
	{
		PGresult   *result = PQgetResult(session->conn);

		if (result != NULL)
			take_result(session, result);
		else if (PQstatus(session->conn) == CONNECTION_BAD)
			check_sent(session, 0);
		if (sink->error != NULL)
			handle_error(session);
	}
}

void
tap_pg_wait_batches(TapSession *session, int nsent)
{
	tap_pg_receive(session);
	while (session->sink->nsent > nsent)
	{
		tap_pg_wait(session, SENDING);
		tap_pg_receive(session);
	}
}

void
tap_pg_leave_pipeline(TapSession *session)
{
	if (session->sink == NULL || PQpipelineStatus(session->conn) == PQ_PIPELINE_OFF)
		return;
	tap_pg_wait_batches(session, 0);
	/* a result's end may still be to be taken */
	while (PQpipelineStatus(session->conn) != PQ_PIPELINE_OFF && !PQexitPipelineMode(session->conn))
	{
		PGresult   *result = tap_pg_next_result(session, SENDING);

		PQclear(result);
		if (PQstatus(session->conn) == CONNECTION_BAD)
			check_sent(session, 0);
	}
}

void
tap_pg_forget_statements(TapSession *session)
{
	TapPgSink  *sink = session->sink;

	(void) tap_pg_query(session, SENDING, "DEALLOCATE ALL");
	sink->statements_prepared = false;
	while (!dlist_is_empty(&sink->prepared))
		dlist_container(TapPgShape, node, dlist_pop_head_node(&sink->prepared))->prepared = false;
	sink->nprepared = 0;
}
