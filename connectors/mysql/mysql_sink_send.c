/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_send.c
 *	  Sends batches and reads their answers; errors of a target.
 *
 * NOTES
 *	  One packet of statements is under way at a time.  Its answers are read as
 *	  they come, so that the next batch can be made meanwhile.
 *
 *	  What may go wrong:
 *		deadlock, lock wait	the batch is sent again, if it is all of its target
 *							transaction; else the pipeline starts again
 *		error of data		mysql_sink_careful.c
 *		all others			raised; the core decides by the SQLSTATE
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include <poll.h>

#include <errmsg.h>
#include <ma_pvio.h>
#include <mysqld_error.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Numbers that not every header of the client library has. */
#define ERROR_RECORD_CHANGED		1020
#define ERROR_TABLE_FULL			1114
#define ERROR_SIGNAL				1644
#define ERROR_TXN_DURING_COMMIT		3101
#define ERROR_JSON_TEXT				3140
#define ERROR_JSON_PARAMETER		3141
#define ERROR_JSON_CHARSET			3144
#define ERROR_JSON_DEPTH			3157
#define ERROR_MYSQL_CHECK			3819
#define ERROR_MARIADB_CHECK			4025

typedef struct ErrorClass
{
	unsigned int number;
	int			sqlstate;
} ErrorClass;

static const ErrorClass error_classes[] = {
	{ER_DUP_ENTRY, ERRCODE_UNIQUE_VIOLATION},
	{ER_DUP_KEY, ERRCODE_UNIQUE_VIOLATION},
	{ER_BAD_NULL_ERROR, ERRCODE_NOT_NULL_VIOLATION},
	{ER_NO_DEFAULT_FOR_FIELD, ERRCODE_NOT_NULL_VIOLATION},
	{ER_NO_REFERENCED_ROW, ERRCODE_FOREIGN_KEY_VIOLATION},
	{ER_NO_REFERENCED_ROW_2, ERRCODE_FOREIGN_KEY_VIOLATION},
	{ER_ROW_IS_REFERENCED, ERRCODE_FOREIGN_KEY_VIOLATION},
	{ER_ROW_IS_REFERENCED_2, ERRCODE_FOREIGN_KEY_VIOLATION},
	{ER_NO_PARTITION_FOR_GIVEN_VALUE, ERRCODE_CHECK_VIOLATION},
	{ERROR_MYSQL_CHECK, ERRCODE_CHECK_VIOLATION},
	{ERROR_MARIADB_CHECK, ERRCODE_CHECK_VIOLATION},
	{ERROR_SIGNAL, ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION},
	{ER_DATA_TOO_LONG, ERRCODE_STRING_DATA_RIGHT_TRUNCATION},
	{ER_WARN_DATA_OUT_OF_RANGE, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE},
	{ER_DATA_OUT_OF_RANGE, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE},
	{ER_TRUNCATED_WRONG_VALUE, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{WARN_DATA_TRUNCATED, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ER_ILLEGAL_VALUE_FOR_TYPE, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ER_CANT_CREATE_GEOMETRY_OBJECT, ERRCODE_INVALID_BINARY_REPRESENTATION},
	{ER_TOO_BIG_ROWSIZE, ERRCODE_STRING_DATA_RIGHT_TRUNCATION},
	{ERROR_JSON_TEXT, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ERROR_JSON_PARAMETER, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ERROR_JSON_CHARSET, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ERROR_JSON_DEPTH, ERRCODE_INVALID_TEXT_REPRESENTATION},
	{ERROR_RECORD_CHANGED, ERRCODE_T_R_SERIALIZATION_FAILURE},
	{ER_ERROR_DURING_COMMIT, ERRCODE_T_R_SERIALIZATION_FAILURE},
	{ERROR_TXN_DURING_COMMIT, ERRCODE_T_R_SERIALIZATION_FAILURE},
	{ER_LOCK_TABLE_FULL, ERRCODE_INSUFFICIENT_RESOURCES},
	{ERROR_TABLE_FULL, ERRCODE_DISK_FULL},
	{ER_OPTION_PREVENTS_STATEMENT, ERRCODE_CANNOT_CONNECT_NOW}	/* read_only */
};

int
tap_mysql_sink_sqlstate(unsigned int number, const char *message)
{
	for (int i = 0; i < lengthof(error_classes); i++)
		if (error_classes[i].number == number)
			return error_classes[i].sqlstate;
	/* errors of files, whatever their number, tell the reason by errno */
	if (strstr(message, "No space left") != NULL || strstr(message, "Errcode: 28") != NULL ||
		strstr(message, "error 28") != NULL)
		return ERRCODE_DISK_FULL;
	return tap_mysql_sqlstate(number, message);
}

static const char *
hint_for(int sqlstate)
{
	if (sqlstate == ERRCODE_UNDEFINED_TABLE || sqlstate == ERRCODE_UNDEFINED_COLUMN)
		return "The target's table was changed. Mend it and start the pipeline, or copy the table again with tapdata.resync().";
	if (sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		return "tapdata.test_connection() lists the privileges that are needed.";
	if (sqlstate == ERRCODE_DISK_FULL)
		return "Make room at the target; the pipeline goes on by itself.";
	return NULL;
}

void
tap_mysql_sink_raise(TapMysqlSink *sink, const TapMysqlSinkTable *table, const char *doing)
{
	unsigned int number = mysql_errno(sink->mysql);
	char	   *message = pstrdup(mysql_error(sink->mysql));
	int			sqlstate = tap_mysql_sink_sqlstate(number, message);
	const char *hint = hint_for(sqlstate);

	tap_mysql_check_interrupts();
	ereport(ERROR,
			(errcode(sqlstate),
			 table ? errmsg("could not %s \"%s\" at the target: %s", doing, table->label, message) :
			 errmsg("could not %s at the target: %s", doing, message),
			 errdetail("The target's error number is %u.", number),
			 hint ? errhint("%s", hint) : 0));
}

void
tap_mysql_sink_run(TapMysqlSink *sink, const TapMysqlSinkTable *table, const char *sql,
				   const char *doing)
{
	if (tap_mysql_try_query(sink->mysql, sql) == NULL)
		tap_mysql_sink_raise(sink, table, doing);
}

/* ---------------------------------------------------------------------
 * Sending
 * ---------------------------------------------------------------------
 */

static void
send_packet(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	const TapMysqlSinkPacket *packet = &batch->packets[batch->next_packet];

	batch->next_in_packet = 0;
	sink->sent_at = GetCurrentTimestamp();
	(void) tap_mysql_wait_limit(tap_mysql_read_timeout_ms(sink->session));
	if (mysql_send_query(sink->mysql, batch->sql.data + packet->start,
						 packet->end - packet->start) != 0)
		tap_mysql_sink_raise(sink, NULL, "send changes");
	tap_mysql_check_interrupts();
}

void
tap_mysql_sink_send(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	batch->next_packet = batch->next_statement = 0;
	sink->sent = batch;
	send_packet(sink, batch);
}

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

/* Whether an answer, or its beginning, is there without waiting. */
static bool
answer_waits(TapMysqlSink *sink)
{
	MARIADB_PVIO *pvio = sink->mysql->net.pvio;
	struct pollfd fd;

	if (pvio == NULL || pvio->cache + pvio->cache_size > pvio->cache_pos)
		return true;
	fd.fd = mysql_get_socket(sink->mysql);
	fd.events = POLLIN;
	fd.revents = 0;
	return poll(&fd, 1, 0) > 0;
}

static void
check_patience(TapMysqlSink *sink)
{
	long		limit = tap_mysql_read_timeout_ms(sink->session);

	if (TimestampDifferenceExceeds(sink->sent_at, GetCurrentTimestamp(),
								   (int) Min(limit, PG_INT32_MAX)))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the target has not answered for %ld seconds", limit / 1000),
				 errhint("The option \"read_timeout\" of the connection says how long to wait.")));
}

/* Send a batch once more whose transaction the target has rolled back. */
static void
send_again(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	tap_mysql_sink_run(sink, NULL, "ROLLBACK", "roll back");
	tap_mysql_sink_send(sink, batch);
}

/* A statement was refused: raise its error, or do the batch in another way. */
static bool
on_error(TapMysqlSink *sink, TapMysqlSinkBatch *batch, const TapMysqlSinkStatement *statement)
{
	unsigned int number = mysql_errno(sink->mysql);
	int			sqlstate = tap_mysql_sink_sqlstate(number, mysql_error(sink->mysql));
	int			category = ERRCODE_TO_CATEGORY(sqlstate);

	tap_mysql_check_interrupts();
	if (statement->kind == TAP_MYSQL_SINK_PROGRESS &&
		category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		tap_mysql_sink_progress_lost(sink);
	if (category == ERRCODE_TRANSACTION_ROLLBACK && batch->first && batch->retries < 5)
	{
		batch->retries++;
		send_again(sink, batch);
		return false;
	}
	if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		tap_mysql_sink_raise(sink, statement->table,
							 statement->table ? "change table" : "publish");
	tap_mysql_sink_careful(sink, batch);
	return true;
}

bool
tap_mysql_sink_met_all(TapMysqlSink *sink)
{
	const char *info = mysql_info(sink->mysql);
	long		records = 0;
	long		duplicates = 0;

	if (info == NULL || sscanf(info, "Records: %ld Duplicates: %ld", &records, &duplicates) != 2)
		elog(ERROR, "the target does not tell how many rows it met: %s", info ? info : "");
	return duplicates >= records;
}

/* Whether a statement did what it had to. */
static bool
check_answer(TapMysqlSink *sink, const TapMysqlSinkBatch *batch,
			 const TapMysqlSinkStatement *statement)
{
	my_ulonglong rows = mysql_affected_rows(sink->mysql);
	bool		tolerant = sink->overwrites || batch->copies;

	switch (statement->kind)
	{
		case TAP_MYSQL_SINK_PROGRESS:
			if (rows != 1)
				tap_mysql_sink_progress_lost(sink);
			return true;
		case TAP_MYSQL_SINK_UPDATE:
			return rows == 1;
		case TAP_MYSQL_SINK_DELETE:
			return tolerant || rows == (my_ulonglong) statement->rows;
		case TAP_MYSQL_SINK_UPSERT:
			return tolerant || tap_mysql_sink_met_all(sink);
		case TAP_MYSQL_SINK_CONTROL:
		case TAP_MYSQL_SINK_CHANGE:
			break;
	}
	return true;
}

/* Read and forget what is still to come of the packet. */
static void
skip_answers(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	while (batch->next_in_packet < batch->packets[batch->next_packet].nstatements)
	{
		if (mysql_next_result(sink->mysql) > 0)
			break;
		batch->next_in_packet++;
	}
	tap_mysql_check_interrupts();
}

typedef enum Progress
{
	PROGRESS_MORE,				/* there are more answers to read */
	PROGRESS_WAIT,				/* none is there yet */
	PROGRESS_PACKET,			/* all of the packet */
	PROGRESS_CAREFUL,			/* the batch was done in the other way */
	PROGRESS_AGAIN				/* it was sent once more */
} Progress;

static Progress
read_answer(TapMysqlSink *sink, TapMysqlSinkBatch *batch, bool wait)
{
	const TapMysqlSinkPacket *packet = &batch->packets[batch->next_packet];
	const TapMysqlSinkStatement *statement = &batch->statements[batch->next_statement];
	int			failed;

	if (!wait && !answer_waits(sink))
	{
		check_patience(sink);
		return PROGRESS_WAIT;
	}
	failed = batch->next_in_packet == 0 ? mysql_read_query_result(sink->mysql) :
		mysql_next_result(sink->mysql);
	if (failed)
		return on_error(sink, batch, statement) ? PROGRESS_CAREFUL : PROGRESS_AGAIN;
	batch->next_in_packet++;
	batch->next_statement++;
	if (!check_answer(sink, batch, statement))
	{
		skip_answers(sink, batch);
		tap_mysql_sink_careful(sink, batch);
		return PROGRESS_CAREFUL;
	}
	return batch->next_in_packet < packet->nstatements ? PROGRESS_MORE : PROGRESS_PACKET;
}

void
tap_mysql_sink_committed(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	sink->open = !batch->commits;
	if (batch->commits && !batch->copies)
		sink->durable = batch->lsn;
	tap_mysql_batch_reset(batch);
}

bool
tap_mysql_sink_answers(TapMysqlSink *sink, bool wait)
{
	TapMysqlSinkBatch *batch = sink->sent;

	for (;;)
	{
		switch (read_answer(sink, batch, wait))
		{
			case PROGRESS_WAIT:
				return false;
			case PROGRESS_CAREFUL:
				sink->sent = NULL;
				return true;
			case PROGRESS_MORE:
			case PROGRESS_AGAIN:
				break;
			case PROGRESS_PACKET:
				if (++batch->next_packet == batch->npackets)
				{
					sink->sent = NULL;
					tap_mysql_sink_committed(sink, batch);
					return true;
				}
				send_packet(sink, batch);
				break;
		}
	}
}
