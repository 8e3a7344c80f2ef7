/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_test.c
 *	  The checks of test_connection(): what a pipeline needs of the brokers.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_registry.h"
#include "kafka_source.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* How long the brokers may take to answer. */
#define ANSWER_TIMEOUT_MS		10000

/* One round of waiting, between looks at whether to stop. */
#define ROUND_MS				500

/* How long to try transactions, once a broker has answered. */
#define TXN_TIMEOUT_MS			10000

/* What is found out of the cluster, in memory that the thread may use. */
typedef struct ClusterFacts
{
	int			brokers;
	char		cluster[128];
} ClusterFacts;

typedef struct CheckState
{
	TapSession *session;
	List	   *checks;
} CheckState;

static void
add_check(CheckState *state, const char *name, const TapKafkaError *error, bool required,
		  char *detail, const char *hint)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));

	check->name = name;
	check->ok = error->code == RD_KAFKA_RESP_ERR_NO_ERROR;
	check->required = required;
	check->detail = check->ok ? detail : pstrdup(error->text);
	if (!check->ok)
	{
		const char *own_hint = tap_kafka_hint(error);

		check->hint = pstrdup(own_hint ? own_hint : hint);
		check->sqlstate = tap_kafka_sqlstate(error);
	}
	state->checks = lappend(state->checks, check);
}

/* ---------------------------------------------------------------------
 * In the thread
 * ---------------------------------------------------------------------
 */

static void
run_metadata(TapKafkaJob *job, rd_kafka_t *rk)
{
	ClusterFacts *facts = job->data;
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;

	for (int waited = 0; waited < ANSWER_TIMEOUT_MS && !*job->stop; waited += ROUND_MS)
	{
		code = rd_kafka_metadata(rk, 0, NULL, &metadata, ROUND_MS);
		if (code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT)
			break;
	}
	tap_kafka_keep_code(&job->error, code, NULL);
	if (metadata == NULL)
		return;
	facts->brokers = metadata->broker_cnt;
	snprintf(facts->cluster, sizeof(facts->cluster), "%s:%d",
			 metadata->broker_cnt > 0 ? metadata->brokers[0].host : "",
			 metadata->broker_cnt > 0 ? metadata->brokers[0].port : 0);
	rd_kafka_metadata_destroy(metadata);
}

static void
run_transactions(TapKafkaJob *job, rd_kafka_t *rk)
{
	for (int waited = 0; waited < TXN_TIMEOUT_MS; waited += ROUND_MS)
	{
		tap_kafka_keep_error(&job->error, rd_kafka_init_transactions(rk, ROUND_MS));
		if (!job->error.retriable || *job->stop)
			return;
	}
}

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

/*
 * Run a job; a refusal of the login ends it early, and is the better error
 * of the two where there is one.
 */
static TapKafkaError
run_job(TapKafkaClient *client, TapKafkaJob *job)
{
	tap_kafka_job_post(client, job);
	for (;;)
	{
		tap_kafka_clear_wakeup(client);
		tap_kafka_serve(client);
		if (tap_kafka_is_refusal(&client->last_error))
			return client->last_error;
		if (tap_kafka_job_done(client))
			break;
		tap_kafka_wait(client, -1);
	}
	tap_kafka_explain(client, &job->error);
	return job->error;
}

static bool
check_brokers(CheckState *state)
{
	TapKafkaClient *client = state->session->client;
	TapKafkaJob *job = tap_kafka_job_new(run_metadata);
	ClusterFacts *facts = calloc(1, sizeof(ClusterFacts));
	TapKafkaError error;
	bool		refused;

	job->data = facts;
	error = run_job(client, job);
	refused = tap_kafka_is_refusal(&error);
	if (!refused)
	{
		TapKafkaError none = {0};

		add_check(state, "brokers", &error, true,
				  psprintf("%d broker%s, the first is %s", facts->brokers,
						   facts->brokers == 1 ? "" : "s", facts->cluster),
				  "Check hosts and ports of the URI, that the brokers run, and that their advertised.listeners can be reached from the hub.");
		if (error.code == RD_KAFKA_RESP_ERR_NO_ERROR && state->session->args.uri->user != NULL)
			add_check(state, "login", &none, true,
					  psprintf("as \"%s\"", state->session->args.uri->user), NULL);
		tap_kafka_job_free(client, job);
	}
	else
		add_check(state, "login", &error, true, NULL, "Check user and password of the URI.");
	return error.code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void
check_topic(CheckState *state, const char *name, bool compact)
{
	const TapKafkaSettings *settings = &state->session->settings;
	TapKafkaJob *job = tap_kafka_job_new(tap_kafka_run_topic_job);
	TapKafkaError error;

	strlcpy(job->topic, name, sizeof(job->topic));
	job->create = settings->create_topics || compact;
	job->pretend = true;
	job->compact = compact;
	job->partitions = settings->partitions;
	job->replication = settings->replication;
	error = run_job(state->session->client, job);
	add_check(state, psprintf("topic %s", name), &error, true,
			  job->partitions > 0 ? psprintf("%d partition%s", job->partitions,
											 job->partitions == 1 ? "" : "s") : "can be created",
			  "Create the topic, or let the user do so.");
	tap_kafka_job_free(state->session->client, job);
}

static void
check_topics(CheckState *state, List *tables)
{
	const TapKafkaSettings *settings = &state->session->settings;
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		char	   *name = tap_kafka_topic_name(settings->topic, settings->database, lfirst(cell));
		ListCell   *other;
		bool		seen = false;

		foreach(other, names)
			seen = seen || strcmp(lfirst(other), name) == 0;
		if (seen)
			continue;
		names = lappend(names, name);
		check_topic(state, name, false);
	}
	if (settings->exactly_once)
		check_topic(state, settings->position_topic, true);
	if (settings->transaction_topic != NULL)
		check_topic(state, settings->transaction_topic, false);
	if (settings->heartbeat_topic != NULL)
		check_topic(state, settings->heartbeat_topic, false);
}

/*
 * With an id of its own: that of the pipeline would fence a worker that
 * runs.
 */
static void
check_transactions(CheckState *state)
{
	TapSession *session = state->session;
	TapKafkaClient *client;
	TapKafkaJob *job;
	TapKafkaError error;
	List	   *properties = tap_kafka_producer_properties(session);

	properties = lappend(properties, "transactional.id");
	properties = lappend(properties, psprintf("tapdata-test-%d", MyProcPid));
	/* the last one of a name counts */
	client = tap_kafka_client_new(RD_KAFKA_PRODUCER, properties);
	job = tap_kafka_job_new(run_transactions);
	error = run_job(client, job);
	add_check(state, "transactions", &error, true, "can be used",
			  "Check transaction.state.log.replication.factor and min.isr of the brokers, or set the option \"delivery\" to at_least_once.");
	tap_kafka_client_free(client);
}

static void
check_registry(CheckState *state)
{
	const TapKafkaSettings *settings = &state->session->settings;

	if (settings->format != TAP_KAFKA_FORMAT_AVRO && settings->format != TAP_KAFKA_FORMAT_DEBEZIUM_AVRO)
		return;
	if (tap_kafka_registry_url(state->session) == NULL)
	{
		TapKafkaError error;

		tap_kafka_keep_code(&error, RD_KAFKA_RESP_ERR__INVALID_ARG,
							"the option \"schema_registry\" is not set");
		add_check(state, "schema registry", &error, true, NULL,
				  "Set the option \"schema_registry\" to the registry's URL, as http://registry:8081.");
		((TapCheck *) llast(state->checks))->sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
	}
}

static TapCheck *
registry_error(MemoryContext context)
{
	TapCheck   *check;
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED))
		PG_RE_THROW();
	FlushErrorState();
	check = palloc0(sizeof(TapCheck));
	check->detail = edata->detail ? psprintf("%s: %s", edata->message, edata->detail) : edata->message;
	check->hint = edata->hint;
	check->sqlstate = edata->sqlerrcode;
	return check;
}

/*
 * No pipeline waits for it: the registry may be back when a schema is needed
 * that is not known.
 */
static void
ask_registry(CheckState *state)
{
	MemoryContext context = CurrentMemoryContext;
	TapCheck   *volatile check = NULL;

	if (tap_kafka_registry_url(state->session) == NULL)
		return;
	PG_TRY();
	{
		tap_kafka_ask_registry(state->session);
		check = palloc0(sizeof(TapCheck));
		check->ok = true;
		check->detail = pstrdup(tap_kafka_registry_url(state->session));
	}
	PG_CATCH();
	{
		check = registry_error(context);
	}
	PG_END_TRY();
	check->name = "schema registry";
	state->checks = lappend(state->checks, check);
}

/* Each topic must be there, and its partitions should have leaders. */
static void
check_sources(CheckState *state, List *tables)
{
	List	   *topics = tables ? tap_kafka_cluster_topics(state->session) : NIL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		const char *name = ((TapTableName *) lfirst(cell))->name;
		const TapKafkaTopicFacts *facts = tap_kafka_find_topic(topics, name);
		TapKafkaError error = {0};

		if (facts == NULL)
			tap_kafka_keep_code(&error, RD_KAFKA_RESP_ERR__STATE, "it is not there, or may not be described");
		for (int i = 0; facts != NULL && i < facts->npartitions; i++)
		{
			if (!facts->has_leader[i])
				tap_kafka_keep_code(&error, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, NULL);
		}
		add_check(state, psprintf("topic %s", name), &error, facts == NULL,
				  facts ? psprintf("%d partition%s", facts->npartitions,
								   facts->npartitions == 1 ? "" : "s") : NULL,
				  facts ? "Check that the brokers of all partitions run; a partition without a leader is read when it has one." :
				  "Create the topic, or allow the user to READ and DESCRIBE it.");
		if (facts == NULL)
			((TapCheck *) llast(state->checks))->sqlstate = ERRCODE_UNDEFINED_OBJECT;
	}
}

static void
run_checks(CheckState *state, List *tables)
{
	if (state->session->source != NULL)
	{
		if (!check_brokers(state))
			return;
		ask_registry(state);
		check_sources(state, tables);
		return;
	}
	check_registry(state);
	if (!check_brokers(state))
		return;
	ask_registry(state);
	if (state->session->args.pipeline_options == NULL)
		return;
	check_topics(state, tables);
	if (state->session->settings.exactly_once)
		check_transactions(state);
}

List *
tap_kafka_test(const TapSessionArgs *args, List *tables)
{
	CheckState	state = {0};

	state.session = tap_kafka_open(args);
	PG_TRY();
	{
		run_checks(&state, tables);
	}
	PG_FINALLY();
	{
		tap_kafka_close(state.session);
	}
	PG_END_TRY();
	return state.checks;
}
