/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_source_offsets.c
 *	  Positions of the source: offsets as text, and their order.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_source.h"

/* The text of no offsets at all, as an empty text is no position. */
#define NO_OFFSETS	"none"

static void
report_malformed(const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("\"%s\" is not a position of a Kafka source", text)));
}

static int
compare_items(const void *a, const void *b)
{
	const TapKafkaOffset *left = a;
	const TapKafkaOffset *right = b;
	int			order = strcmp(left->topic, right->topic);

	if (order != 0)
		return order;
	return left->partition < right->partition ? -1 : left->partition > right->partition;
}

void
tap_kafka_sort_offsets(TapKafkaOffsets *offsets)
{
	qsort(offsets->items, offsets->count, sizeof(TapKafkaOffset), compare_items);
}

/* "partition=offset" at p; returns what is behind it. */
static const char *
parse_item(const char *text, const char *p, TapKafkaOffset *item)
{
	char	   *end;

	item->partition = strtol(p, &end, 10);
	if (end == p || *end != '=')
		report_malformed(text);
	p = end + 1;
	if (*p == '?')
	{
		item->offset = TAP_KAFKA_OFFSET_UNKNOWN;
		return p + 1;
	}
	if (*p == '-')
	{
		item->offset = TAP_KAFKA_OFFSET_NONE;
		return p + 1;
	}
	item->offset = strtoll(p, &end, 10);
	if (end == p)
		report_malformed(text);
	return end;
}

TapKafkaOffsets *
tap_kafka_parse_offsets(const char *text)
{
	TapKafkaOffsets *offsets = palloc0(sizeof(TapKafkaOffsets));
	int			room = 1;
	const char *p = text;

	for (const char *c = text; *c != '\0'; c++)
		room += *c == '=';
	offsets->items = palloc0(sizeof(TapKafkaOffset) * room);
	if (strcmp(text, NO_OFFSETS) == 0)
		return offsets;
	while (*p != '\0')
	{
		const char *colon = strchr(p, ':');
		Size		length = colon ? colon - p : 0;

		if (length == 0 || length >= TAP_KAFKA_TOPIC_BYTES)
			report_malformed(text);
		do
		{
			TapKafkaOffset *item = &offsets->items[offsets->count];

			memcpy(item->topic, p, length);
			colon = parse_item(text, colon + 1, item);
			offsets->count++;
		} while (*colon == ',');
		if (*colon != ';' && *colon != '\0')
			report_malformed(text);
		p = *colon == ';' ? colon + 1 : colon;
	}
	return offsets;
}

char *
tap_kafka_print_offsets(const TapKafkaOffsets *offsets)
{
	StringInfoData text;
	const char *topic = "";

	if (offsets->count == 0)
		return pstrdup(NO_OFFSETS);
	initStringInfo(&text);
	for (int i = 0; i < offsets->count; i++)
	{
		const TapKafkaOffset *item = &offsets->items[i];

		if (strcmp(topic, item->topic) == 0)
			appendStringInfoChar(&text, ',');
		else
			appendStringInfo(&text, "%s%s:", i > 0 ? ";" : "", item->topic);
		topic = item->topic;
		tap_json_append_int(&text, item->partition);
		appendStringInfoChar(&text, '=');
		if (item->offset == TAP_KAFKA_OFFSET_UNKNOWN)
			appendStringInfoChar(&text, '?');
		else if (item->offset == TAP_KAFKA_OFFSET_NONE)
			appendStringInfoChar(&text, '-');
		else
			tap_json_append_int(&text, item->offset);
	}
	return text.data;
}

const TapKafkaOffset *
tap_kafka_find_offset(const TapKafkaOffsets *offsets, const char *topic, int32 partition)
{
	TapKafkaOffset key = {.partition = partition};

	strlcpy(key.topic, topic, sizeof(key.topic));
	return bsearch(&key, offsets->items, offsets->count, sizeof(TapKafkaOffset), compare_items);
}

bool
tap_kafka_has_topic(const TapKafkaOffsets *offsets, const char *topic)
{
	int			low = 0;
	int			high = offsets->count;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = strcmp(offsets->items[middle].topic, topic);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Whether all of what a has read was read by b. */
static bool
is_covered(const TapKafkaOffsets *a, const TapKafkaOffsets *b)
{
	for (int i = 0; i < a->count; i++)
	{
		const TapKafkaOffset *item = &a->items[i];
		const TapKafkaOffset *other;

		if (!tap_kafka_has_topic(b, item->topic))
			continue;
		other = tap_kafka_find_offset(b, item->topic, item->partition);
		if (item->offset > (other ? other->offset : 0))
			return false;
	}
	return true;
}

TapPositionOrder
tap_kafka_compare_positions(const char *a, const char *b)
{
	TapKafkaOffsets *left;
	TapKafkaOffsets *right;
	bool		before;
	bool		after;

	if (strcmp(a, b) == 0)
		return TAP_POSITION_EQUAL;
	left = tap_kafka_parse_offsets(a);
	right = tap_kafka_parse_offsets(b);
	before = is_covered(left, right);
	after = is_covered(right, left);
	pfree(left->items);
	pfree(left);
	pfree(right->items);
	pfree(right);
	if (before)
		return after ? TAP_POSITION_EQUAL : TAP_POSITION_BEFORE;
	return after ? TAP_POSITION_AFTER : TAP_POSITION_UNRELATED;
}
