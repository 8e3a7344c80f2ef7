/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_error.c
 *	  What errors of Kafka mean for a pipeline.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_client.h"

/* Those that are not on the list are of the connection: tried again. */
static const struct
{
	rd_kafka_resp_err_t code;
	int			sqlstate;
	const char *hint;
}			meanings[] =

{
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, ERRCODE_INVALID_PASSWORD,
	"Check the user and password of the URI, and the option \"sasl_mechanism\"."},
	{RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ERRCODE_INVALID_PASSWORD,
	"Check the user and password of the URI, and the option \"sasl_mechanism\"."},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, ERRCODE_INVALID_PARAMETER_VALUE,
	"Set the option \"sasl_mechanism\" to one that the brokers offer."},
	{RD_KAFKA_RESP_ERR__SSL, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
	"Check that the brokers' port speaks TLS, and the options \"ssl_ca\", \"ssl_cert\" and \"ssl_key\"."},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERRCODE_INSUFFICIENT_PRIVILEGE,
	"Allow the user to WRITE and DESCRIBE the topic, and to CREATE it if it is not there."},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ERRCODE_INSUFFICIENT_PRIVILEGE,
	"Allow the user IDEMPOTENT_WRITE on the cluster, and CREATE if topics are to be created."},
	{RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ERRCODE_INSUFFICIENT_PRIVILEGE,
	"Allow the user to WRITE and DESCRIBE transactional ids that begin with \"tapdata-\", or set the option \"delivery\" to at_least_once."},
	{RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, ERRCODE_INVALID_PARAMETER_VALUE,
	"Set the option \"transaction_timeout\" to no more than the brokers' transaction.max.timeout.ms."},
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERRCODE_UNDEFINED_OBJECT,
	"Create the topic, or set the option \"create_topics\" to true."},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ERRCODE_UNDEFINED_OBJECT,
	"Create the topic, or set the option \"create_topics\" to true."},
	{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ERRCODE_INVALID_NAME,
	"Change the option \"topic\"."},
	{RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, ERRCODE_INVALID_PARAMETER_VALUE,
	"Set the option \"replication_factor\" to no more than there are brokers."},
	{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, ERRCODE_INVALID_PARAMETER_VALUE,
	"Create the topic by hand, or change the options \"partitions\" and \"replication_factor\"."},
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
	"Raise the topic's max.message.bytes and the option \"kafka.message.max.bytes\", or leave large columns out with the option \"columns\"."},
	{RD_KAFKA_RESP_ERR_INVALID_RECORD, ERRCODE_DATA_EXCEPTION,
	"A compacted topic takes no message without a key: add a primary key, or set the option \"key_columns\"."},
	{RD_KAFKA_RESP_ERR_INVALID_MSG, ERRCODE_DATA_EXCEPTION, NULL},
	{RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, ERRCODE_FEATURE_NOT_SUPPORTED,
	"Kafka 0.11 or later is needed for delivery exactly_once; set the option \"delivery\" to at_least_once."},
	{RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, ERRCODE_OBJECT_IN_USE, NULL},
	{RD_KAFKA_RESP_ERR_PRODUCER_FENCED, ERRCODE_OBJECT_IN_USE, NULL},
	{RD_KAFKA_RESP_ERR__FENCED, ERRCODE_OBJECT_IN_USE, NULL}
};

void
tap_kafka_keep_code(TapKafkaError *to, rd_kafka_resp_err_t code, const char *text)
{
	memset(to, 0, sizeof(*to));
	to->code = code;
	strlcpy(to->text, text ? text : rd_kafka_err2str(code), sizeof(to->text));
}

void
tap_kafka_keep_error(TapKafkaError *to, rd_kafka_error_t *error)
{
	if (error == NULL)
	{
		memset(to, 0, sizeof(*to));
		return;
	}
	tap_kafka_keep_code(to, rd_kafka_error_code(error), rd_kafka_error_string(error));
	to->abortable = rd_kafka_error_txn_requires_abort(error);
	to->fatal = rd_kafka_error_is_fatal(error);
	to->retriable = rd_kafka_error_is_retriable(error);
	rd_kafka_error_destroy(error);
}

int
tap_kafka_sqlstate(const TapKafkaError *error)
{
	for (int i = 0; i < lengthof(meanings); i++)
	{
		if (meanings[i].code == error->code)
			return meanings[i].sqlstate;
	}
	return ERRCODE_CONNECTION_FAILURE;
}

/* librdkafka's SCRAM is one that Kafka 4 refuses, up to that version. */
static bool
refuses_scram(void)
{
	return rd_kafka_version() < 0x020601ff;
}

const char *
tap_kafka_hint(const TapKafkaError *error)
{
	if ((error->code == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
		 error->code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED) &&
		strstr(error->text, "SCRAM") != NULL && refuses_scram())
		return psprintf("Check the user and password of the URI. Kafka 4 takes SCRAM from librdkafka 2.6.1 and later only, this is %s: then use PLAIN with TLS, or a newer librdkafka.",
						rd_kafka_version_str());
	for (int i = 0; i < lengthof(meanings); i++)
	{
		if (meanings[i].code == error->code)
			return meanings[i].hint;
	}
	return NULL;
}

void
tap_kafka_report(const TapKafkaError *error, const char *doing)
{
	const char *hint = tap_kafka_hint(error);

	ereport(ERROR,
			(errcode(tap_kafka_sqlstate(error)),
			 errmsg("%s: %s", doing, error->text),
			 hint ? errhint("%s", hint) : 0));
	pg_unreachable();
}

void
tap_kafka_explain(const TapKafkaClient *client, TapKafkaError *error)
{
	bool		silence = error->retriable || error->code == RD_KAFKA_RESP_ERR__TIMED_OUT ||
	error->code == RD_KAFKA_RESP_ERR__TRANSPORT;

	if (silence && client->last_error.code != RD_KAFKA_RESP_ERR_NO_ERROR)
		*error = client->last_error;
}

bool
tap_kafka_is_refusal(const TapKafkaError *error)
{
	switch (error->code)
	{
		case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
		case RD_KAFKA_RESP_ERR__SSL:
			return true;
		default:
			return false;
	}
}
