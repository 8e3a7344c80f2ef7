/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_avro_read.c
 *	  Avro's binary encoding to JSON.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_avro_read.h"

#include "json_text.h"
#include "lib/stringinfo.h"

#define MOST_DEPTH		64

/*
 * What the JSON may be long, for items of an array can be no bytes at all: a
 * few bytes could say that there are billions.
 */
#define FREE_JSON		(1024 * 1024)
#define JSON_BY_BYTE	256
#define MOST_JSON		(256 * 1024 * 1024)

typedef struct AvroRead
{
	const char *next;
	const char *end;
	int			depth;
	Size		most_json;
	StringInfoData out;
} AvroRead;

static void read_value(AvroRead *read, const TapAvroNode *node);

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("a value is not what its Avro schema says: %s", what)));
}

static int64
read_long(AvroRead *read)
{
	uint64		result = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		unsigned char byte;

		if (read->next >= read->end)
			refuse("it ends within a number");
		byte = *read->next++;
		if (shift == 63 && byte > 1)
			break;
		result |= (uint64) (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return (int64) (result >> 1) ^ -(int64) (result & 1);
	}
	refuse("a number has more than 64 bits");
	return 0;
}

static const char *
read_bytes(AvroRead *read, int64 count)
{
	const char *bytes = read->next;

	if (count < 0 || count > read->end - read->next)
		refuse("it ends within a string");
	read->next += count;
	return bytes;
}

/* Floating-point numbers are little endian, whatever the machine is. */
static uint64
read_little_endian(AvroRead *read, int count)
{
	const unsigned char *bytes = (const unsigned char *) read_bytes(read, count);
	uint64		result = 0;

	for (int i = count - 1; i >= 0; i--)
		result = result << 8 | bytes[i];
	return result;
}

static void
read_float(AvroRead *read)
{
	uint32		bits = (uint32) read_little_endian(read, 4);
	float		number;

	memcpy(&number, &bits, sizeof(number));
	tap_json_append_double(&read->out, number, true);
}

static void
read_double(AvroRead *read)
{
	uint64		bits = read_little_endian(read, 8);
	double		number;

	memcpy(&number, &bits, sizeof(number));
	tap_json_append_double(&read->out, number, false);
}

static void
read_base64(AvroRead *read, int64 count)
{
	const char *bytes = read_bytes(read, count);

	appendStringInfoCharMacro(&read->out, '"');
	tap_json_append_base64(&read->out, bytes, count);
	appendStringInfoCharMacro(&read->out, '"');
}

static void
read_string(AvroRead *read)
{
	int64		count = read_long(read);
	const char *bytes = read_bytes(read, count);

	tap_json_append_string(&read->out, bytes, count);
}

static void
read_record(AvroRead *read, const TapAvroNode *node)
{
	appendStringInfoCharMacro(&read->out, '{');
	for (int i = 0; i < node->nparts; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(&read->out, ',');
		appendStringInfoString(&read->out, node->json_names[i]);
		read_value(read, node->parts[i]);
	}
	appendStringInfoCharMacro(&read->out, '}');
}

/* Items come in blocks; a negative count is followed by the block's bytes. */
static int64
read_block(AvroRead *read)
{
	int64		count = read_long(read);

	if (count >= 0)
		return count;
	if (count == PG_INT64_MIN || read_long(read) < 0)
		refuse("a block's size is negative");
	return -count;
}

static void
read_items(AvroRead *read, const TapAvroNode *node)
{
	bool		is_map = node->kind == TAP_AVRO_MAP;
	bool		first = true;
	int64		count;

	appendStringInfoCharMacro(&read->out, is_map ? '{' : '[');
	while ((count = read_block(read)) > 0)
	{
		for (; count > 0; count--)
		{
			if (!first)
				appendStringInfoCharMacro(&read->out, ',');
			first = false;
			if (is_map)
			{
				read_string(read);
				appendStringInfoCharMacro(&read->out, ':');
			}
			read_value(read, node->parts[0]);
		}
	}
	appendStringInfoCharMacro(&read->out, is_map ? '}' : ']');
}

static int
read_choice(AvroRead *read, const TapAvroNode *node)
{
	int64		choice = read_long(read);

	if (choice < 0 || choice >= node->nparts)
		refuse("a union has no such branch, or an enum no such symbol");
	return (int) choice;
}

static void
read_boolean(AvroRead *read)
{
	char		byte = *read_bytes(read, 1);

	if (byte != 0 && byte != 1)
		refuse("a boolean is neither true nor false");
	appendStringInfoString(&read->out, byte ? "true" : "false");
}

static void
read_value(AvroRead *read, const TapAvroNode *node)
{
	if (++read->depth > MOST_DEPTH)
		refuse("it is nested too deeply");
	if (read->out.len > read->most_json)
		refuse("it is too large");
	switch (node->kind)
	{
		case TAP_AVRO_NULL:
			appendStringInfoString(&read->out, "null");
			break;
		case TAP_AVRO_BOOLEAN:
			read_boolean(read);
			break;
		case TAP_AVRO_INT:
		case TAP_AVRO_LONG:
			tap_json_append_int(&read->out, read_long(read));
			break;
		case TAP_AVRO_FLOAT:
			read_float(read);
			break;
		case TAP_AVRO_DOUBLE:
			read_double(read);
			break;
		case TAP_AVRO_BYTES:
			read_base64(read, read_long(read));
			break;
		case TAP_AVRO_FIXED:
			read_base64(read, node->size);
			break;
		case TAP_AVRO_STRING:
			read_string(read);
			break;
		case TAP_AVRO_RECORD:
			read_record(read, node);
			break;
		case TAP_AVRO_ENUM:
			appendStringInfoString(&read->out, node->json_names[read_choice(read, node)]);
			break;
		case TAP_AVRO_ARRAY:
		case TAP_AVRO_MAP:
			read_items(read, node);
			break;
		case TAP_AVRO_UNION:
			read_value(read, node->parts[read_choice(read, node)]);
			break;
	}
	read->depth--;
}

const char *
tap_avro_to_json(const TapAvroSchema *schema, const char *bytes, Size *length)
{
	AvroRead	read = {.next = bytes,.end = bytes + *length};

	read.most_json = Min(FREE_JSON + *length * JSON_BY_BYTE, MOST_JSON);
	initStringInfo(&read.out);
	read_value(&read, schema->root);
	if (read.next != read.end)
		refuse("something follows behind it");
	*length = read.out.len;
	return read.out.data;
}
