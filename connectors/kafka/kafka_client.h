/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_client.h
 *	  A client of librdkafka within a PostgreSQL process.
 *
 * NOTES
 *	  Threads.  librdkafka has its own, which block all signals and never
 *	  touch anything of PostgreSQL: whatever they have to say is an event on
 *	  the client's main queue, served by tap_kafka_serve() in our thread.
 *	  Calls that may block (transactions, metadata, topics) are made by a
 *	  thread of ours, one for each client, which likewise touches nothing of
 *	  PostgreSQL.  It takes one job at a time; our thread waits for the job
 *	  through the core, so that it can be interrupted.  A job that is given up
 *	  belongs to the thread until it ends, as does the client itself.
 *
 *	  Both write a byte to a pipe, the one thing that is waited for.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_KAFKA_CLIENT_H
#define TAPDATA_KAFKA_CLIENT_H

#include "postgres.h"

#include <librdkafka/rdkafka.h>

#include "connector.h"

/* Texts of errors are cut to this. */
#define TAP_KAFKA_ERROR_BYTES	512

/* What went wrong, as the thread and librdkafka tell it. */
typedef struct TapKafkaError
{
	rd_kafka_resp_err_t code;	/* RD_KAFKA_RESP_ERR_NO_ERROR: nothing */
	bool		abortable;		/* the transaction must be aborted */
	bool		fatal;			/* the client is of no use any more */
	bool		retriable;
	char		text[TAP_KAFKA_ERROR_BYTES];
} TapKafkaError;

/*
 * A job of the thread.  Made by tap_kafka_job_new(); run() is called in the
 * thread and must use neither PostgreSQL's functions nor its memory.
 */
typedef struct TapKafkaJob TapKafkaJob;
struct TapKafkaJob
{
	void		(*run) (TapKafkaJob *job, rd_kafka_t *rk);
	volatile bool *stop;		/* set when run() shall return soon */
	TapKafkaError error;		/* left by run() */

	/* arguments and results, as the job needs them */
	int			timeout_ms;
	char		topic[256];
	int			partitions;		/* in: to create; out: that there are */
	int			replication;
	bool		create;			/* a topic that is missing */
	bool		known;			/* the topic has been there */
	bool		pretend;		/* only ask whether it could be created */
	bool		compact;
	void	   *data;			/* freed with the job, by free() */
	char		key[128];		/* of the message that is looked for */
	char		value[512];		/* out: its value, cut */
	bool		found;
};

/* One message that could not be delivered. */
typedef struct TapKafkaFailure
{
	TapKafkaError error;
	void	   *opaque;			/* the message's */
	rd_kafka_topic_t *topic;
	char	   *key;			/* in the context of the client */
	Size		key_bytes;
	char	   *value;
	Size		value_bytes;
} TapKafkaFailure;

typedef struct TapKafkaThread TapKafkaThread;

typedef struct TapKafkaClient
{
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;	/* its main queue */
	TapKafkaThread *thread;
	pgsocket	wakeup;			/* readable when there is something to serve */
	MemoryContext context;

	/*
	 * Called for each message that was delivered, with its opaque; NULL: not
	 * of interest.
	 */
	void		(*delivered) (void *arg, void *opaque);
	void	   *arg;

	List	   *failures;		/* of TapKafkaFailure *, in order */
	TapKafkaError last_error;	/* that brokers could not be reached, ... */
	TapKafkaError fatal_error;
	bool		all_down;		/* said by librdkafka; reset by who looks at
								 * it */
	rd_kafka_queue_t *messages; /* tap_kafka_receive() made it; else NULL */
} TapKafkaClient;

/* ---- kafka_client.c ---- */

/*
 * Make a client of this type in the current context.  Does not connect.
 * properties is a List of char *: names and values by turns.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE for a property that librdkafka refuses, its
 * value not shown.
 */
extern TapKafkaClient *tap_kafka_client_new(rd_kafka_type_t type, List *properties);

/*
 * End a client: aborts a transaction that is open, as far as that can be had
 * soon.  Never raises an error; NULL is ignored.
 */
extern void tap_kafka_client_free(TapKafkaClient *client);

/*
 * Take all events of the main queue without waiting: delivered messages are
 * told to client->delivered, failed ones kept in client->failures, errors in
 * last_error and fatal_error, log lines written to the server's log.
 */
extern void tap_kafka_serve(TapKafkaClient *client);

/*
 * A queue that wakes as the main queue does.  The caller has it forget that and
 * destroys it, before the client ends.
 */
extern rd_kafka_queue_t *tap_kafka_queue_new(TapKafkaClient *client);

/*
 * Make the queue for consumed messages, which wakes as the main queue does: it
 * must have been read until it was empty before it is waited for.
 */
extern void tap_kafka_receive(TapKafkaClient *client);

/* Empty the pipe; to be called before tap_kafka_serve(). */
extern void tap_kafka_clear_wakeup(TapKafkaClient *client);

/* Wait until there is something to serve, at most timeout_ms (-1: no limit). */
extern void tap_kafka_wait(TapKafkaClient *client, long timeout_ms);

/* ---- kafka_thread.c ---- */

/*
 * Start a thread that makes calls for rk, and owns it from then on.  Writes
 * to wakeup when a job is done.  NULL when there can be none.
 */
extern TapKafkaThread *tap_kafka_thread_start(rd_kafka_t *rk, pgsocket wakeup);

/*
 * Have the thread destroy the client and end; waits for it for a short while.
 * The thread closes both ends of the pipe.  False when it goes on beside us:
 * a library call does not return.
 */
extern bool tap_kafka_thread_end(TapKafkaThread *thread, rd_kafka_queue_t *queue,
								 pgsocket read_end, bool abort_transaction);

/* A job in memory of its own; run() is as said above. */
extern TapKafkaJob *tap_kafka_job_new(void (*run) (TapKafkaJob *job, rd_kafka_t *rk));

/* Give a job to the thread, which must have none. */
extern void tap_kafka_job_post(TapKafkaClient *client, TapKafkaJob *job);

/* Whether the job that was posted has ended. */
extern bool tap_kafka_job_done(TapKafkaClient *client);

/*
 * Free a job that has ended, or that was never posted.
 */
extern void tap_kafka_job_free(TapKafkaClient *client, TapKafkaJob *job);

/*
 * Post a job and wait for its end, serving events.  Raises an error when
 * the process is told to stop, and tap_kafka_report() of fatal errors such as
 * a failed login.
 */
extern void tap_kafka_job_run(TapKafkaClient *client, TapKafkaJob *job);

/* ---- kafka_error.c ---- */

/* Keep an error of librdkafka's; frees it.  NULL: no error. */
extern void tap_kafka_keep_error(TapKafkaError *to, rd_kafka_error_t *error);

/* Keep a code, with a text or the code's own (NULL). */
extern void tap_kafka_keep_code(TapKafkaError *to, rd_kafka_resp_err_t code, const char *text);

/* The SQLSTATE for an error; its class says whether to try again. */
extern int	tap_kafka_sqlstate(const TapKafkaError *error);

/* What to do about it, or NULL; palloc'd or constant. */
extern const char *tap_kafka_hint(const TapKafkaError *error);

/* Raise the error; doing is what failed, as "could not commit a transaction". */
extern void tap_kafka_report(const TapKafkaError *error, const char *doing) __attribute__((noreturn));

/*
 * That nothing was heard of the brokers is better told by what happened to
 * the connections.
 */
extern void tap_kafka_explain(const TapKafkaClient *client, TapKafkaError *error);

/* Whether waiting longer will not help: a login or TLS was refused. */
extern bool tap_kafka_is_refusal(const TapKafkaError *error);

#endif							/* TAPDATA_KAFKA_CLIENT_H */
