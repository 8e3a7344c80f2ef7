/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_client.c
 *	  Makes, serves and ends clients of librdkafka.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include <fcntl.h>
#include <signal.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"

/* A client that is there, whatever becomes of the memory it was made in. */
typedef struct LiveClient
{
	dlist_node	node;
	TapKafkaClient client;
	bool		transactional;
	pgsocket	write_end;
} LiveClient;

static dlist_head live_clients = DLIST_STATIC_INIT(live_clients);

/* Some client's threads did not end when they were told to. */
static bool some_linger = false;

/* ---------------------------------------------------------------------
 * The end of a client
 * ---------------------------------------------------------------------
 */

static void
end_client(LiveClient *live)
{
	if (live->client.rk == NULL)
		return;
	dlist_delete(&live->node);
	if (live->client.messages != NULL)
	{
		rd_kafka_queue_io_event_enable(live->client.messages, -1, NULL, 0);
		rd_kafka_queue_destroy(live->client.messages);
		live->client.messages = NULL;
	}
	if (!tap_kafka_thread_end(live->client.thread, live->client.queue, live->client.wakeup,
							  live->transactional))
		some_linger = true;
	live->client.rk = NULL;
}

/*
 * The threads of librdkafka must be gone before the process runs what
 * libraries do at its exit.  Where one is not, as in the lookup of a name that
 * takes long, leave that out: it would crash, and the server restart.  The
 * server's own cleaning up has been done before.
 */
static void
end_clients_at_exit(int code, Datum arg)
{
	while (!dlist_is_empty(&live_clients))
		end_client(dlist_head_element(LiveClient, node, &live_clients));
	if (some_linger)
		_exit(code);
}

static void
end_client_of_context(void *arg)
{
	end_client(arg);
}

void
tap_kafka_client_free(TapKafkaClient *client)
{
	if (client != NULL)
		end_client((LiveClient *) ((char *) client - offsetof(LiveClient, client)));
}

/* ---------------------------------------------------------------------
 * Making one
 * ---------------------------------------------------------------------
 */

/* Text that librdkafka makes of a property may repeat its value. */
static void
set_property(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		reason[TAP_KAFKA_ERROR_BYTES];

	if (rd_kafka_conf_set(conf, name, value, reason, sizeof(reason)) == RD_KAFKA_CONF_OK)
		return;
	rd_kafka_conf_destroy(conf);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("librdkafka does not accept property \"%s\"", name),
			 tap_kafka_property_is_secret(name) ? 0 : errdetail("%s.", reason),
			 errhint("Properties are listed in librdkafka's CONFIGURATION.md; give them as options \"kafka.NAME\".")));
}

static rd_kafka_conf_t *
make_conf(List *properties, bool *transactional)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	*transactional = false;
	for (int i = 0; i + 1 < list_length(properties); i += 2)
	{
		const char *name = list_nth(properties, i);

		if (strcmp(name, "transactional.id") == 0)
			*transactional = true;
		set_property(conf, name, list_nth(properties, i + 1));
	}
	set_property(conf, "log.queue", "true");
	rd_kafka_conf_set_events(conf,
							 RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
	return conf;
}

static rd_kafka_t *
make_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
	char		reason[TAP_KAFKA_ERROR_BYTES];
	rd_kafka_t *rk;
	sigset_t	all;
	sigset_t	before;

	/* its threads inherit the mask: signals are the server's thread's alone */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rk = rd_kafka_new(type, conf, reason, sizeof(reason));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rk != NULL)
		return rk;
	rd_kafka_conf_destroy(conf);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("could not make a client of Kafka"),
			 errdetail("%s.", reason),
			 errhint("Check the options \"ssl_*\", \"sasl_mechanism\" and \"kafka.*\" of the connection.")));
	return NULL;
}

static void
make_pipe(int ends[2])
{
	if (pipe(ends) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not make a pipe: %m")));
	for (int i = 0; i < 2; i++)
	{
		(void) pg_set_noblock(ends[i]);
		(void) fcntl(ends[i], F_SETFD, FD_CLOEXEC);
	}
}

TapKafkaClient *
tap_kafka_client_new(rd_kafka_type_t type, List *properties)
{
	static bool registered = false;
	LiveClient *live = palloc0(sizeof(LiveClient));
	TapKafkaClient *client = &live->client;
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	rd_kafka_conf_t *conf = make_conf(properties, &live->transactional);
	int			ends[2];

	if (!registered)
		on_proc_exit(end_clients_at_exit, (Datum) 0);
	registered = true;

	client->context = CurrentMemoryContext;
	client->rk = make_handle(type, conf);
	client->queue = rd_kafka_queue_get_main(client->rk);
	(void) rd_kafka_set_log_queue(client->rk, NULL);
	make_pipe(ends);
	client->wakeup = ends[0];
	live->write_end = ends[1];
	rd_kafka_queue_io_event_enable(client->queue, ends[1], "", 1);
	client->thread = tap_kafka_thread_start(client->rk, ends[1]);
	if (client->thread == NULL)
	{
		rd_kafka_queue_destroy(client->queue);
		rd_kafka_destroy(client->rk);
		close(ends[0]);
		close(ends[1]);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a thread for Kafka")));
	}
	dlist_push_tail(&live_clients, &live->node);
	callback->func = end_client_of_context;
	callback->arg = live;
	MemoryContextRegisterResetCallback(client->context, callback);
	return client;
}

rd_kafka_queue_t *
tap_kafka_queue_new(TapKafkaClient *client)
{
	LiveClient *live = (LiveClient *) ((char *) client - offsetof(LiveClient, client));
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client->rk);

	rd_kafka_queue_io_event_enable(queue, live->write_end, "", 1);
	return queue;
}

void
tap_kafka_receive(TapKafkaClient *client)
{
	client->messages = tap_kafka_queue_new(client);
}

/* ---------------------------------------------------------------------
 * Events
 * ---------------------------------------------------------------------
 */

static char *
copy_bytes(TapKafkaClient *client, const void *bytes, Size length)
{
	char	   *copy;

	if (bytes == NULL)
		return NULL;
	copy = MemoryContextAlloc(client->context, length + 1);
	memcpy(copy, bytes, length);
	copy[length] = '\0';
	return copy;
}

static void
keep_failure(TapKafkaClient *client, const rd_kafka_message_t *message)
{
	MemoryContext before = MemoryContextSwitchTo(client->context);
	TapKafkaFailure *failure = palloc0(sizeof(TapKafkaFailure));

	tap_kafka_keep_code(&failure->error, message->err, NULL);
	failure->opaque = message->_private;
	failure->topic = message->rkt;
	failure->key = copy_bytes(client, message->key, message->key_len);
	failure->key_bytes = message->key_len;
	failure->value = copy_bytes(client, message->payload, message->len);
	failure->value_bytes = message->len;
	client->failures = lappend(client->failures, failure);
	MemoryContextSwitchTo(before);
}

static void
serve_reports(TapKafkaClient *client, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	while ((message = rd_kafka_event_message_next(event)) != NULL)
	{
		if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			keep_failure(client, message);
		else
		{
			client->last_error.code = RD_KAFKA_RESP_ERR_NO_ERROR;
			if (client->delivered != NULL)
				client->delivered(client->arg, message->_private);
		}
	}
}

static void
serve_error(TapKafkaClient *client, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	TapKafkaError *kept = &client->last_error;

	if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		client->all_down = true;
	if (rd_kafka_event_error_is_fatal(event))
	{
		kept = &client->fatal_error;
		code = rd_kafka_fatal_error(client->rk, NULL, 0);
	}
	/* that all brokers are down says less than what was said of one of them */
	else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN &&
			 kept->code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	else if (tap_kafka_is_refusal(kept))
		return;
	tap_kafka_keep_code(kept, code, rd_kafka_event_error_string(event));
	kept->fatal = kept == &client->fatal_error;
}

static void
serve_log(rd_kafka_event_t *event)
{
	const char *facility;
	const char *text;
	int			level;

	if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
		ereport(level <= LOG_ERR ? LOG : DEBUG1,
				(errmsg_internal("Kafka: %s: %s", facility, text)));
}

/*
 * Nothing here raises an error but for lack of memory; the event is freed by
 * librdkafka with the client then.
 */
void
tap_kafka_serve(TapKafkaClient *client)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(client->queue, 0)) != NULL)
	{
		switch (rd_kafka_event_type(event))
		{
			case RD_KAFKA_EVENT_DR:
				serve_reports(client, event);
				break;
			case RD_KAFKA_EVENT_ERROR:
				serve_error(client, event);
				break;
			case RD_KAFKA_EVENT_LOG:
				serve_log(event);
				break;
			default:
				break;
		}
		rd_kafka_event_destroy(event);
	}
}

void
tap_kafka_clear_wakeup(TapKafkaClient *client)
{
	char		bytes[64];

	while (read(client->wakeup, bytes, sizeof(bytes)) == sizeof(bytes))
		continue;
}

void
tap_kafka_wait(TapKafkaClient *client, long timeout_ms)
{
	(void) tap_kafka_core->wait_socket(client->wakeup, WL_SOCKET_READABLE, timeout_ms);
}
