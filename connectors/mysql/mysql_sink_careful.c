/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_careful.c
 *	  Does a batch that was refused once more, change by change.
 *
 * NOTES
 *	  A statement that fails leaves nothing behind, so that the transaction can
 *	  go on without the change that is refused.  When changes became dead
 *	  letters COMMIT waits for the next call: the core stores them in between,
 *	  and no crash can lose them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* To where the batch began. */
static void
roll_back(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	StringInfoData sql;

	if (!batch->first)
	{
		tap_mysql_sink_run(sink, NULL, "ROLLBACK TO SAVEPOINT tapdata", "roll back");
		return;
	}
	initStringInfo(&sql);
	tap_mysql_sink_append_progress(sink, &sql, batch->from, batch->copies ? 0 : batch->lsn);
	tap_mysql_sink_run(sink, NULL, "ROLLBACK", "roll back");
	tap_mysql_sink_run(sink, NULL, "START TRANSACTION", "begin");
	tap_mysql_sink_run(sink, NULL, sql.data, "move the position");
	if (mysql_affected_rows(sink->mysql) != 1)
		tap_mysql_sink_progress_lost(sink);
}

static void
keep_letter(const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change, int sqlstate,
			const char *message)
{
	tap_mysql_core->dead_letter(&change->table->hub, tap_mysql_sink_row_json(batch, change),
								change->lsn, sqlstate,
								psprintf("table \"%s\", %s: %s", change->table->label,
										 tap_mysql_sink_key_text(batch, change), message));
}

/* Run a statement; false when it was refused for its data. */
static bool
try_statement(TapMysqlSink *sink, const TapMysqlSinkChange *change, StringInfo sql,
			  int *sqlstate, char **message)
{
	unsigned int number;
	int			category;

	if (mysql_real_query(sink->mysql, sql->data, sql->len) == 0)
	{
		tap_mysql_check_interrupts();
		return true;
	}
	tap_mysql_check_interrupts();
	number = mysql_errno(sink->mysql);
	*message = pstrdup(mysql_error(sink->mysql));
	*sqlstate = tap_mysql_sink_sqlstate(number, *message);
	category = ERRCODE_TO_CATEGORY(*sqlstate);
	if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		tap_mysql_sink_raise(sink, change->table, "change table");
	return false;
}

/* What is said of a row that the target should have. */
static bool
miss_row(int *sqlstate, char **message, const char *what)
{
	*sqlstate = ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION;
	*message = psprintf("the target has no such row%s", what);
	return false;
}

/*
 * An update of a row that is not there: put it there, if the hub is to win and
 * the row is known whole.
 */
static bool
insert_instead(TapMysqlSink *sink, const TapMysqlSinkBatch *batch,
			   const TapMysqlSinkChange *change, int *sqlstate, char **message)
{
	StringInfoData sql;

	if (!sink->overwrites)
		return miss_row(sqlstate, message, "");
	if (!change->whole)
		return miss_row(sqlstate, message, ", and the change does not tell all of its columns");
	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s SET ", change->table->quoted);
	appendBinaryStringInfo(&sql, batch->arena.data + change->row, (int) change->row_length);
	return try_statement(sink, change, &sql, sqlstate, message);
}

/*
 * An insert of a row whose key is there, into a table for which it cannot be
 * an upsert: the old row gives way, unless another unique index is hurt.
 */
static bool
replace_row(TapMysqlSink *sink, const TapMysqlSinkBatch *batch,
			const TapMysqlSinkChange *change, StringInfo insert, int *sqlstate, char **message)
{
	TapMysqlSinkChange delete = *change;
	StringInfoData sql;

	delete.op = TAP_MYSQL_OP_DELETE;
	initStringInfo(&sql);
	tap_mysql_batch_single(batch, &delete, &sql);
	tap_mysql_sink_run(sink, NULL, "SAVEPOINT tapdata_row", "set a savepoint");
	if (try_statement(sink, change, &sql, sqlstate, message) &&
		try_statement(sink, change, insert, sqlstate, message))
		return true;
	tap_mysql_sink_run(sink, NULL, "ROLLBACK TO SAVEPOINT tapdata_row", "roll back");
	return false;
}

/* Whether the row of a change with a key is there. */
static bool
has_row(TapMysqlSink *sink, const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	char	   *key = pnstrdup(batch->arena.data + change->key, change->key_length);
	MYSQL_RES  *result = NULL;
	char	   *sql;
	bool		found;

	sql = psprintf("SELECT 1 FROM %s WHERE %s=%s FOR UPDATE", change->table->quoted,
				   change->table->key_columns, key);
	if (mysql_real_query(sink->mysql, sql, strlen(sql)) == 0)
		result = mysql_store_result(sink->mysql);
	if (result == NULL)
		tap_mysql_sink_raise(sink, change->table, "read table");
	found = mysql_num_rows(result) > 0;
	mysql_free_result(result);
	tap_mysql_check_interrupts();
	return found;
}

/* Do one change; returns whether it became a dead letter. */
static bool
do_change(TapMysqlSink *sink, const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	StringInfoData sql;
	int			sqlstate;
	char	   *message;
	bool		done;

	initStringInfo(&sql);
	tap_mysql_batch_single(batch, change, &sql);
	if (change->op == TAP_MYSQL_OP_UPSERT && !sink->overwrites && !has_row(sink, batch, change))
		done = miss_row(&sqlstate, &message, "");
	else
		done = try_statement(sink, change, &sql, &sqlstate, &message);
	if (!done && change->op == TAP_MYSQL_OP_INSERT && change->merges &&
		sqlstate == ERRCODE_UNIQUE_VIOLATION)
		done = replace_row(sink, batch, change, &sql, &sqlstate, &message);
	if (done && change->op == TAP_MYSQL_OP_UPDATE && mysql_affected_rows(sink->mysql) == 0)
		done = insert_instead(sink, batch, change, &sqlstate, &message);
	if (done && change->op == TAP_MYSQL_OP_DELETE && !sink->overwrites &&
		mysql_affected_rows(sink->mysql) == 0)
		done = miss_row(&sqlstate, &message, "");
	if (!done)
		keep_letter(batch, change, sqlstate, message);
	return !done;
}

static void
commit_batch(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	if (batch->commits)
	{
		if (!batch->first && batch->lsn != batch->from)
		{
			StringInfoData sql;

			initStringInfo(&sql);
			tap_mysql_sink_append_progress(sink, &sql, batch->from, batch->lsn);
			tap_mysql_sink_run(sink, NULL, sql.data, "move the position");
		}
		tap_mysql_sink_run(sink, NULL, "COMMIT", "commit");
	}
	tap_mysql_sink_committed(sink, batch);
}

void
tap_mysql_sink_commit_careful(TapMysqlSink *sink)
{
	TapMysqlSinkBatch *batch = sink->uncommitted;

	sink->uncommitted = NULL;
	commit_batch(sink, batch);
}

void
tap_mysql_sink_careful(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata mysql change",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		letters = false;

	roll_back(sink, batch);
	for (int i = 0; i < batch->nchanges; i++)
	{
		CHECK_FOR_INTERRUPTS();
		letters |= do_change(sink, batch, &batch->changes[i]);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (letters && batch->commits)
		sink->uncommitted = batch;
	else
		commit_batch(sink, batch);
}
