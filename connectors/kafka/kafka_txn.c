/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_txn.c
 *	  Transactions of Kafka, for delivery exactly_once.
 *
 * NOTES
 *	  A transaction of Kafka holds whole transactions of the hub and, as its
 *	  last message, the position behind them.  It is committed when nothing
 *	  more is to be written, or when it has had its time or bytes:
 *
 *				 first message			  idle, or full
 *		  NONE ----------------> OPEN -------------------> COMMITTING
 *			^											        |
 *			+--------------- the thread is done ----------------+
 *
 *	  While COMMITTING nothing can be produced: what is written then is kept
 *	  (TapKafkaPending).  Whatever fails ends the session with an error; the
 *	  next one fences this producer, which aborts what it left open.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

/* One round of waiting, between looks at whether to stop. */
#define ROUND_MS				200

/* How long to wait for the coordinator before the worker starts again. */
#define INIT_TIMEOUT_MS			30000

static void
run_init(TapKafkaJob *job, rd_kafka_t *rk)
{
	for (int waited = 0; waited < INIT_TIMEOUT_MS; waited += ROUND_MS)
	{
		tap_kafka_keep_error(&job->error, rd_kafka_init_transactions(rk, ROUND_MS));
		if (!job->error.retriable || *job->stop)
			return;
	}
}

static void
run_commit(TapKafkaJob *job, rd_kafka_t *rk)
{
	do
	{
		tap_kafka_keep_error(&job->error, rd_kafka_commit_transaction(rk, ROUND_MS));
	} while (job->error.retriable && !*job->stop);
}

void
tap_kafka_txn_init(TapSession *session)
{
	TapKafkaJob *job = tap_kafka_job_new(run_init);
	TapKafkaError error;

	tap_kafka_job_run(session->client, job);
	error = job->error;
	tap_kafka_job_free(session->client, job);
	if (error.code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	tap_kafka_explain(session->client, &error);
	tap_kafka_report(&error, "could not begin to use transactions of Kafka");
}

void
tap_kafka_txn_begin(TapSession *session)
{
	TapKafkaError error;

	if (session->txn_state == TAP_KAFKA_TXN_OPEN)
		return;
	Assert(session->txn_state == TAP_KAFKA_TXN_NONE);
	tap_kafka_keep_error(&error, rd_kafka_begin_transaction(session->client->rk));
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		tap_kafka_report(&error, "could not begin a transaction of Kafka");
	session->txn_state = TAP_KAFKA_TXN_OPEN;
	session->txn_bytes = 0;
	session->txn_troubled = session->client->last_error.code != RD_KAFKA_RESP_ERR_NO_ERROR;
	INSTR_TIME_SET_CURRENT(session->txn_begun);
}

bool
tap_kafka_txn_is_full(TapSession *session)
{
	instr_time	now;

	if (session->txn_bytes >= session->settings.transaction_bytes)
		return true;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, session->txn_begun);
	return INSTR_TIME_GET_MILLISEC(now) >= session->settings.transaction_ms;
}

void
tap_kafka_txn_commit(TapSession *session)
{
	Assert(session->txn_state == TAP_KAFKA_TXN_OPEN && session->pending == NIL);
	if (session->written_lsn > session->durable_lsn)
	{
		tap_kafka_write_position(session, session->written_lsn);
		if (session->pending != NIL)
			return;				/* the queue is full: later */
	}
	session->txn_lsn = session->written_lsn;
	session->commit_job = tap_kafka_job_new(run_commit);
	tap_kafka_job_post(session->client, session->commit_job);
	session->txn_state = TAP_KAFKA_TXN_COMMITTING;
}

void
tap_kafka_txn_check_age(TapSession *session)
{
	int			limit_ms = session->settings.transaction_timeout;
	instr_time	age;

	if (session->txn_state == TAP_KAFKA_TXN_NONE || session->txn_troubled)
		return;
	INSTR_TIME_SET_CURRENT(age);
	INSTR_TIME_SUBTRACT(age, session->txn_begun);
	if (INSTR_TIME_GET_MILLISEC(age) < limit_ms)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a transaction of Kafka took longer than the %d ms that it may", limit_ms),
			 errdetail("The brokers have aborted it; it holds at least one transaction of the hub as a whole."),
			 errhint("Raise the option \"transaction_timeout\", and transaction.max.timeout.ms of the brokers, or set the option \"delivery\" to at_least_once.")));
}

bool
tap_kafka_txn_finish(TapSession *session)
{
	TapKafkaError error;

	if (session->txn_state != TAP_KAFKA_TXN_COMMITTING)
		return true;
	if (!tap_kafka_job_done(session->client))
		return false;
	error = session->commit_job->error;
	tap_kafka_job_free(session->client, session->commit_job);
	session->commit_job = NULL;

	/* a message that failed says more than that the commit did */
	tap_kafka_serve(session->client);
	tap_kafka_check_failures(session);
	if (error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		tap_kafka_txn_check_age(session);
		tap_kafka_report(&error, "could not commit a transaction of Kafka");
	}
	session->txn_state = TAP_KAFKA_TXN_NONE;
	session->durable_lsn = Max(session->durable_lsn, session->txn_lsn);

	/* the brokers answer: whatever was wrong is over */
	session->client->last_error.code = RD_KAFKA_RESP_ERR_NO_ERROR;
	return true;
}
