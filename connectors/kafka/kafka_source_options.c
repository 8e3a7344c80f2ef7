/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_options.c
 *	  Options of a pull pipeline, and the properties its consumer gets.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* What there is without a pipeline: discover() and test_connection(). */
#define DEFAULT_SAMPLE_MESSAGES	1000
#define DEFAULT_REFRESH_MS		10000

/*
 * What the promises rest on comes last, where it wins.  librdkafka reads ahead
 * no more than this; less than what is read in the second that it rests when
 * that is full would make it stutter.
 */
static const char *const tuning[] = {
	"queued.min.messages", "250000",
	"queued.max.messages.kbytes", "65536",
	"fetch.error.backoff.ms", "100",
	"check.crcs", "true"
};
static const char *const promises[] = {
	"isolation.level", "read_committed",
	"enable.partition.eof", "true",
	"auto.offset.reset", "error",
	"enable.auto.commit", "false",
	"enable.auto.offset.store", "false",
	"allow.auto.create.topics", "false"
};

static List *
add_all(List *properties, const char *const *pairs, int count)
{
	for (int i = 0; i < count; i++)
		properties = lappend(properties, pstrdup(pairs[i]));
	return properties;
}

static List *
add_given(List *properties, const TapOptions *options)
{
	ListCell   *cell;

	tap_kafka_check_properties(options);
	foreach(cell, tap_kafka_core->option_keys(options, "kafka."))
	{
		char	   *key = lfirst(cell);

		properties = lappend(properties, pstrdup(key + strlen("kafka.")));
		properties = lappend(properties, pstrdup(tap_kafka_core->option_text(options, key)));
	}
	return properties;
}

/* The end of a partition is told when a request for more of it has timed out. */
static const char *const impatience[] = {
	"fetch.wait.max.ms", "10"
};

List *
tap_kafka_source_properties(TapSession *session)
{
	List	   *list = add_all(NIL, tuning, lengthof(tuning));

	if (session->args.purpose != TAP_PURPOSE_STREAM)
		list = add_all(list, impatience, lengthof(impatience));
	list = list_concat(list, tap_kafka_connection_properties(&session->args));
	if (session->args.pipeline_options != NULL)
		list = add_given(list, session->args.pipeline_options);
	return add_all(list, promises, lengthof(promises));
}

/* ---------------------------------------------------------------------
 * Where to start
 * ---------------------------------------------------------------------
 */

/* Wants a transaction, as commands have. */
void
tap_kafka_check_start(const char *value)
{
	MemoryContext context = CurrentMemoryContext;

	if (strcmp(value, "earliest") == 0 || strcmp(value, "latest") == 0)
		return;
	PG_TRY();
	{
		(void) DirectFunctionCall3(timestamptz_in, CStringGetDatum(value),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"start\""),
				 errdetail_internal("%s", edata->message),
				 errhint("It is earliest, latest, or a time with its zone, as 2026-01-31 00:00:00Z.")));
	}
	PG_END_TRY();
}

static void
report_start_offsets(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"start_offsets\""),
			 errhint("It is an object of offsets by partition for each topic, as {\"clicks\": {\"0\": 1200, \"1\": 0}}.")));
}

static bool
is_number(const JsonbValue *item)
{
	for (int i = 0; i < item->val.string.len; i++)
	{
		if (item->val.string.val[i] < '0' || item->val.string.val[i] > '9')
			return false;
	}
	return item->val.string.len > 0;
}

static void
check_partitions(JsonbContainer *partitions)
{
	JsonbIterator *iterator = JsonbIteratorInit(partitions);
	JsonbIteratorToken token;
	JsonbValue	item;

	if (!JsonContainerIsObject(partitions))
		report_start_offsets();
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if ((token == WJB_KEY && !is_number(&item)) ||
			(token == WJB_VALUE && item.type != jbvNumeric))
			report_start_offsets();
		if (token == WJB_VALUE &&
			DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(item.val.numeric))) < 0)
			report_start_offsets();
	}
}

void
tap_kafka_check_start_offsets(const char *value)
{
	Jsonb	   *jsonb = tap_kafka_parse_json(value);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		report_start_offsets();
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token != WJB_VALUE)
			continue;
		if (item.type != jbvBinary)
			report_start_offsets();
		check_partitions(item.val.binary.data);
	}
}

int64
tap_kafka_start_offset(const TapKafkaSource *source, const char *topic, int32 partition)
{
	JsonbValue *partitions;
	JsonbValue *offset;

	if (source->start_offsets == NULL)
		return -1;
	partitions = tap_kafka_find_value(&tap_kafka_parse_json(source->start_offsets)->root, topic);
	if (partitions == NULL)
		return -1;
	offset = tap_kafka_find_value(partitions->val.binary.data, psprintf("%d", partition));
	if (offset == NULL)
		return -1;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(offset->val.numeric)));
}

/* ---------------------------------------------------------------------
 * All of them
 * ---------------------------------------------------------------------
 */

static TapKafkaOnGap
parse_on_gap(const char *value)
{
	if (strcmp(value, "earliest") == 0)
		return TAP_KAFKA_GAP_EARLIEST;
	if (strcmp(value, "latest") == 0)
		return TAP_KAFKA_GAP_LATEST;
	return TAP_KAFKA_GAP_STOP;
}

void
tap_kafka_read_source_options(TapSession *session)
{
	const TapCore *core = tap_kafka_core;
	const TapOptions *given = session->args.pipeline_options;
	TapKafkaSource *source = session->source;

	source->decode = tap_kafka_decode_options(given);
	source->start = "earliest";
	source->sample_messages = DEFAULT_SAMPLE_MESSAGES;
	source->refresh_ms = DEFAULT_REFRESH_MS;
	if (given == NULL)
		return;
	source->start = core->option_text(given, "start");
	if (strcmp(core->option_text(given, "snapshot"), "never") == 0)
	{
		bool		both = core->option_given(given, "start");

		/*
		 * what is asked of pull(); alter_pipeline() may have made it so of a
		 * pipeline that runs, which is no reason to fail
		 */
		if (both && session->args.purpose == TAP_PURPOSE_TEST)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"snapshot\" has no effect beside \"start\""),
					 errdetail("\"start\" says where topics begin; \"snapshot\" = \"never\" is another way to say \"latest\"."),
					 errhint("Give one of the two.")));
		if (!both)
			source->start = "latest";
	}
	source->start_offsets = core->option_text(given, "start_offsets");
	source->on_gap = parse_on_gap(core->option_text(given, "on_gap"));
	source->sample_messages = core->option_int(given, "sample_messages");
	source->refresh_ms = core->option_int(given, "refresh_ms");
}
