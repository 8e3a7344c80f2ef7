/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_thread.c
 *	  The thread that makes the blocking calls of a client.
 *
 * NOTES
 *	  run_thread() and what it calls run beside PostgreSQL: no palloc, no
 *	  ereport, no global of the server.  All signals are blocked in it, so
 *	  that they reach the server's own thread.
 *
 *	  The thread owns the client.  When it is told to end it aborts the
 *	  transaction that is open, destroys the client and frees itself; the
 *	  server's thread waits for that, but not for ever.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_client.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* How long the end of a client is waited for. */
#define END_TIMEOUT_SECONDS		3

/* How long an open transaction may take to be aborted at the end. */
#define ABORT_TIMEOUT_MS		400

struct TapKafkaThread
{
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	rd_kafka_t *rk;
	pgsocket	wakeup;			/* the write end of the pipe */
	TapKafkaJob *job;
	bool		done;			/* the job has ended */
	volatile bool stop;			/* jobs shall end soon */

	/* how to end */
	bool		end;
	bool		abort_transaction;
	rd_kafka_queue_t *queue;
	pgsocket	read_end;
	bool		ended;
	bool		abandoned;		/* nobody waits for the end any more */
};

static void
free_job(TapKafkaJob *job)
{
	if (job != NULL)
		free(job->data);
	free(job);
}

static void
free_thread(TapKafkaThread *thread)
{
	pthread_mutex_destroy(&thread->mutex);
	pthread_cond_destroy(&thread->changed);
	free_job(thread->job);
	free(thread);
}

static void
wake_server(TapKafkaThread *thread)
{
	char		byte = 0;

	/* a full pipe wakes, too */
	if (write(thread->wakeup, &byte, 1) < 0)
		return;
}

static void
destroy_client(TapKafkaThread *thread)
{
	if (thread->abort_transaction)
	{
		rd_kafka_error_t *error = rd_kafka_abort_transaction(thread->rk, ABORT_TIMEOUT_MS);

		if (error != NULL)
			rd_kafka_error_destroy(error);
	}
	rd_kafka_queue_io_event_enable(thread->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(thread->queue);
	rd_kafka_destroy(thread->rk);
	close(thread->wakeup);
	close(thread->read_end);
}

static void *
run_thread(void *arg)
{
	TapKafkaThread *thread = arg;
	bool		abandoned;

	pthread_mutex_lock(&thread->mutex);
	for (;;)
	{
		while (!thread->end && (thread->job == NULL || thread->done))
			pthread_cond_wait(&thread->changed, &thread->mutex);
		if (thread->end)
			break;
		pthread_mutex_unlock(&thread->mutex);
		thread->job->run(thread->job, thread->rk);
		pthread_mutex_lock(&thread->mutex);
		thread->done = true;
		wake_server(thread);
	}
	pthread_mutex_unlock(&thread->mutex);

	destroy_client(thread);

	pthread_mutex_lock(&thread->mutex);
	thread->ended = true;
	abandoned = thread->abandoned;
	pthread_cond_broadcast(&thread->changed);
	pthread_mutex_unlock(&thread->mutex);
	if (abandoned)
		free_thread(thread);
	return NULL;
}

TapKafkaThread *
tap_kafka_thread_start(rd_kafka_t *rk, pgsocket wakeup)
{
	TapKafkaThread *thread = calloc(1, sizeof(TapKafkaThread));
	pthread_attr_t attributes;
	pthread_t	id;
	sigset_t	all;
	sigset_t	before;
	bool		started;

	if (thread == NULL)
		return NULL;
	thread->rk = rk;
	thread->wakeup = wakeup;
	pthread_mutex_init(&thread->mutex, NULL);
	pthread_cond_init(&thread->changed, NULL);

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&id, &attributes, run_thread, thread) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (started)
		return thread;
	free_thread(thread);
	return NULL;
}

bool
tap_kafka_thread_end(TapKafkaThread *thread, rd_kafka_queue_t *queue, pgsocket read_end,
					 bool abort_transaction)
{
	struct timespec until;
	bool		ended;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_TIMEOUT_SECONDS;

	pthread_mutex_lock(&thread->mutex);
	thread->stop = true;
	thread->end = true;
	thread->queue = queue;
	thread->read_end = read_end;
	thread->abort_transaction = abort_transaction;
	pthread_cond_broadcast(&thread->changed);
	while (!thread->ended)
	{
		if (pthread_cond_timedwait(&thread->changed, &thread->mutex, &until) == ETIMEDOUT)
			break;
	}
	ended = thread->ended;
	thread->abandoned = !ended;
	pthread_mutex_unlock(&thread->mutex);
	if (ended)
		free_thread(thread);
	return ended;
}

/* ---------------------------------------------------------------------
 * Jobs, as the server's thread sees them
 * ---------------------------------------------------------------------
 */

TapKafkaJob *
tap_kafka_job_new(void (*run) (TapKafkaJob *job, rd_kafka_t *rk))
{
	TapKafkaJob *job = calloc(1, sizeof(TapKafkaJob));

	if (job == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	job->run = run;
	return job;
}

void
tap_kafka_job_post(TapKafkaClient *client, TapKafkaJob *job)
{
	TapKafkaThread *thread = client->thread;

	job->stop = &thread->stop;
	pthread_mutex_lock(&thread->mutex);
	Assert(thread->job == NULL);
	thread->job = job;
	thread->done = false;
	pthread_cond_broadcast(&thread->changed);
	pthread_mutex_unlock(&thread->mutex);
}

bool
tap_kafka_job_done(TapKafkaClient *client)
{
	TapKafkaThread *thread = client->thread;
	bool		done;

	pthread_mutex_lock(&thread->mutex);
	done = thread->job != NULL && thread->done;
	pthread_mutex_unlock(&thread->mutex);
	return done;
}

void
tap_kafka_job_free(TapKafkaClient *client, TapKafkaJob *job)
{
	TapKafkaThread *thread = client->thread;

	pthread_mutex_lock(&thread->mutex);
	if (thread->job == job)
		thread->job = NULL;
	pthread_mutex_unlock(&thread->mutex);
	free_job(job);
}

void
tap_kafka_job_run(TapKafkaClient *client, TapKafkaJob *job)
{
	tap_kafka_job_post(client, job);
	for (;;)
	{
		tap_kafka_clear_wakeup(client);
		tap_kafka_serve(client);
		if (tap_kafka_job_done(client))
			return;
		if (tap_kafka_is_refusal(&client->last_error))
			tap_kafka_report(&client->last_error, "could not connect to Kafka");
		tap_kafka_wait(client, -1);
	}
}
