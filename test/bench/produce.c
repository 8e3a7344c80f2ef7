/*-------------------------------------------------------------------------
 *
 * test/bench/produce.c
 *	  Produces messages as fast as librdkafka can, and prints the seconds.
 *
 * usage: produce BROKERS TOPIC FILE TRANSACTIONAL [NAME=VALUE...]
 *
 * FILE holds messages as kcat -f '%K %S\n%k%s' writes them; it is read into
 * memory first.  TRANSACTIONAL 1: in transactions of 10,000 messages, else
 * idempotent only.  NAME=VALUE are settings of librdkafka.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define TRANSACTION_MESSAGES	10000

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static char *
read_file(const char *path, size_t *length)
{
	FILE	   *file = fopen(path, "rb");
	struct stat info;
	char	   *data;

	if (file == NULL || fstat(fileno(file), &info) != 0)
		fail(path, "cannot be read");
	data = malloc(info.st_size + 1);
	*length = fread(data, 1, info.st_size, file);
	data[*length] = '\0';
	fclose(file);
	return data;
}

static void
check(rd_kafka_error_t *error, const char *what)
{
	if (error != NULL)
		fail(what, rd_kafka_error_string(error));
}

static rd_kafka_t *
make_producer(const char *brokers, int transactional, int nsettings, char **settings)
{
	char		errstr[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *producer;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
	rd_kafka_conf_set(conf, "queue.buffering.max.messages", "1000000", NULL, 0);
	if (transactional)
		rd_kafka_conf_set(conf, "transactional.id", "produce", NULL, 0);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *value = strchr(settings[i], '=');

		if (value == NULL)
			fail(settings[i], "is not NAME=VALUE");
		*value = '\0';
		if (rd_kafka_conf_set(conf, settings[i], value + 1, errstr,
							  sizeof(errstr)) != RD_KAFKA_CONF_OK)
			fail(settings[i], errstr);
	}
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (producer == NULL)
		fail("producer", errstr);
	if (transactional)
		check(rd_kafka_init_transactions(producer, 30000), "init_transactions");
	return producer;
}

static void
produce_one(rd_kafka_t *producer, rd_kafka_topic_t *topic, char *key, long key_length,
			char *value, long value_length)
{
	while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
							value_length < 0 ? NULL : value,
							value_length < 0 ? 0 : value_length,
							key_length < 0 ? NULL : key,
							key_length < 0 ? 0 : key_length, NULL) != 0)
	{
		if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
		rd_kafka_poll(producer, 10);
	}
}

int
main(int argc, char **argv)
{
	size_t		length;
	char	   *data;
	char	   *next;
	long		count = 0;
	int			transactional;
	rd_kafka_t *producer;
	rd_kafka_topic_t *topic;
	struct timespec began;
	struct timespec ended;

	if (argc < 5)
		fail("usage", "produce BROKERS TOPIC FILE TRANSACTIONAL [NAME=VALUE...]");
	data = read_file(argv[3], &length);
	transactional = atoi(argv[4]);
	producer = make_producer(argv[1], transactional, argc - 5, argv + 5);
	topic = rd_kafka_topic_new(producer, argv[2], NULL);

	clock_gettime(CLOCK_MONOTONIC, &began);
	if (transactional)
		check(rd_kafka_begin_transaction(producer), "begin_transaction");
	for (next = data; next < data + length; count++)
	{
		long		key_length = strtol(next, &next, 10);
		long		value_length = strtol(next, &next, 10);
		char	   *key = next + 1;
		char	   *value = key + (key_length < 0 ? 0 : key_length);

		produce_one(producer, topic, key, key_length, value, value_length);
		next = value + (value_length < 0 ? 0 : value_length);
		if (transactional && count % TRANSACTION_MESSAGES == TRANSACTION_MESSAGES - 1)
		{
			check(rd_kafka_commit_transaction(producer, -1), "commit_transaction");
			check(rd_kafka_begin_transaction(producer), "begin_transaction");
		}
		if (count % 1000 == 0)
			rd_kafka_poll(producer, 0);
	}
	if (transactional)
		check(rd_kafka_commit_transaction(producer, -1), "commit_transaction");
	else if (rd_kafka_flush(producer, 600000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		fail("flush", "timeout");
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%ld %.6f\n", count, (double) (ended.tv_sec - began.tv_sec) +
		   (ended.tv_nsec - began.tv_nsec) / 1e9);
	rd_kafka_topic_destroy(topic);
	rd_kafka_destroy(producer);
	return 0;
}
