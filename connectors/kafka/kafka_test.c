/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_test.c
 *	  The checks of test_connection(): what a pipeline needs of the brokers.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

List *
tap_kafka_test(const TapSessionArgs *args, List *tables)
{
	return NIL;
}
