/*-------------------------------------------------------------------------
 *
 * connectors/mysql/gtid_codec.c
 *	  Sets of MySQL GTIDs as text and in the encodings of the protocol.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gtid_private.h"

#define UUID_TEXT_SIZE		36
#define INTERVAL_SIZE		16

typedef struct ByteReader
{
	const uint8_t *position;
	const uint8_t *end;
	bool		failed;
} ByteReader;

/* --- text ---------------------------------------------------------------- */

void
tap_gtid_skip_space(TextReader *reader)
{
	while (reader->position < reader->end &&
		   (*reader->position == ' ' || (*reader->position >= '\t' && *reader->position <= '\r')))
		reader->position++;
}

bool
tap_gtid_skip_character(TextReader *reader, char c)
{
	tap_gtid_skip_space(reader);
	if (reader->position >= reader->end || *reader->position != c)
		return false;
	reader->position++;
	tap_gtid_skip_space(reader);
	return true;
}

bool
tap_gtid_read_number(TextReader *reader, uint64_t limit, uint64_t *number)
{
	const char *start = reader->position;

	*number = 0;
	while (reader->position < reader->end &&
		   *reader->position >= '0' && *reader->position <= '9')
	{
		unsigned	digit = (unsigned) (*reader->position++ - '0');

		if (*number > (limit - digit) / 10)
			return false;
		*number = *number * 10 + digit;
	}
	return reader->position > start;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* 32 hexadecimal digits, with hyphens at the usual places or none */
static bool
read_uuid(TextReader *reader, uint8_t uuid[16])
{
	bool		hyphens = reader->end - reader->position > 8 && reader->position[8] == '-';

	for (int i = 0; i < 16; i++)
	{
		int			high;
		int			low;

		if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10))
		{
			if (reader->position >= reader->end || *reader->position != '-')
				return false;
			reader->position++;
		}
		if (reader->end - reader->position < 2)
			return false;
		high = hex_digit(reader->position[0]);
		low = hex_digit(reader->position[1]);
		if (high < 0 || low < 0)
			return false;
		uuid[i] = (uint8_t) (high << 4 | low);
		reader->position += 2;
	}
	return true;
}

static bool
is_tag_start(char c)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
read_tag(TextReader *reader, char tag[TAP_GTID_TAG_SIZE])
{
	size_t		length = 0;

	while (reader->position < reader->end &&
		   (is_tag_start(*reader->position) ||
			(*reader->position >= '0' && *reader->position <= '9')))
	{
		char		c = *reader->position++;

		if (length >= TAP_GTID_TAG_SIZE - 1)
			return false;
		tag[length++] = (char) (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	tag[length] = '\0';
	return length > 0;
}

/*
 * One item: uuid, then tags and intervals in any order, where a tag holds for
 * the intervals behind it.  An interval whose end is before its start is
 * empty, as in MySQL.
 */
static TapGtidStatus
read_item(TextReader *reader, TapGtidSet *set)
{
	uint8_t		uuid[16];
	char		tag[TAP_GTID_TAG_SIZE] = "";
	TapGtidStatus status;

	if (!read_uuid(reader, uuid))
		return TAP_GTID_BAD_FORMAT;
	while (tap_gtid_skip_character(reader, ':'))
	{
		uint64_t	first;
		uint64_t	last;

		if (reader->position < reader->end && is_tag_start(*reader->position))
		{
			if (!read_tag(reader, tag))
				return TAP_GTID_BAD_FORMAT;
			continue;
		}
		if (!tap_gtid_read_number(reader, TAP_GTID_MAX_GNO, &first) || first == 0)
			return TAP_GTID_BAD_FORMAT;
		last = first;
		if (tap_gtid_skip_character(reader, '-') && !tap_gtid_read_number(reader, TAP_GTID_MAX_GNO, &last))
			return TAP_GTID_BAD_FORMAT;
		if (last < first)
			continue;
		status = tap_gtid_set_add_range(set, uuid, tag, (int64_t) first, (int64_t) last);
		if (status != TAP_GTID_OK)
			return status;
	}
	return TAP_GTID_OK;
}

TapGtidStatus
tap_gtid_set_parse(const char *text, size_t length, TapGtidSet *set)
{
	TextReader	reader = {text, text + length};
	TapGtidSet	fresh = {0};
	TapGtidStatus status = TAP_GTID_OK;

	tap_gtid_skip_space(&reader);
	while (status == TAP_GTID_OK && reader.position < reader.end)
	{
		if (tap_gtid_skip_character(&reader, ','))
			continue;
		status = read_item(&reader, &fresh);
		tap_gtid_skip_space(&reader);
		if (status == TAP_GTID_OK && reader.position < reader.end && *reader.position != ',')
			status = TAP_GTID_BAD_FORMAT;
	}
	return tap_gtid_finish_set(set, &fresh, status);
}

void
tap_gtid_uuid_text(const uint8_t uuid[16], char text[37])
{
	static const char digits[] = "0123456789abcdef";
	char	   *out = text;

	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digits[uuid[i] >> 4];
		*out++ = digits[uuid[i] & 15];
	}
	*out = '\0';
}

char *
tap_gtid_set_text(const TapGtidSet *set)
{
	size_t		size = 1;
	char	   *text;
	char	   *out;

	for (size_t i = 0; i < set->count; i++)
		size += UUID_TEXT_SIZE + TAP_GTID_TAG_SIZE + 2 + set->sources[i].count * 42;
	text = out = malloc(size);
	if (text == NULL)
		return NULL;
	*out = '\0';
	for (size_t i = 0; i < set->count; i++)
	{
		const TapGtidSource *source = &set->sources[i];

		/* MySQL names a uuid once, with its tags behind it */
		if (i == 0 || memcmp(source->uuid, source[-1].uuid, 16) != 0)
		{
			if (i > 0)
				*out++ = ',';
			tap_gtid_uuid_text(source->uuid, out);
			out += UUID_TEXT_SIZE;
		}
		if (source->tag[0])
			out += sprintf(out, ":%s", source->tag);
		for (size_t j = 0; j < source->count; j++)
		{
			out += sprintf(out, ":%" PRId64, source->intervals[j].first);
			if (source->intervals[j].last > source->intervals[j].first)
				out += sprintf(out, "-%" PRId64, source->intervals[j].last);
		}
	}
	return text;
}

/* --- binary -------------------------------------------------------------- */

static void
store64(uint8_t *out, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t) (value >> 8 * i);
}

static uint64_t
get64(ByteReader *reader)
{
	uint64_t	value = 0;

	if (reader->failed || reader->end - reader->position < 8)
	{
		reader->failed = true;
		return 0;
	}
	for (int i = 8; i-- > 0;)
		value = value << 8 | reader->position[i];
	reader->position += 8;
	return value;
}

/*
 * The first word of the classic encoding is the number of sources.  The tagged
 * one has 1 in its highest byte and in its lowest, and the number between
 * them.  Lengths of tags are below 128 and so take one byte, shifted by one.
 */
TapGtidStatus
tap_gtid_set_encode(const TapGtidSet *set, uint8_t **data, size_t *length)
{
	bool		tagged = tap_gtid_set_has_tags(set);
	size_t		size = 8;
	uint8_t    *out;

	for (size_t i = 0; i < set->count; i++)
		size += 16 + (tagged ? 1 + strlen(set->sources[i].tag) : 0) + 8 +
			set->sources[i].count * INTERVAL_SIZE;
	*data = out = malloc(size);
	if (out == NULL)
		return TAP_GTID_NO_MEMORY;
	*length = size;
	store64(out, tagged ? UINT64_C(1) << 56 | (uint64_t) set->count << 8 | 1 : set->count);
	out += 8;
	for (size_t i = 0; i < set->count; i++)
	{
		const TapGtidSource *source = &set->sources[i];

		memcpy(out, source->uuid, 16);
		out += 16;
		if (tagged)
		{
			size_t		tag_length = strlen(source->tag);

			*out++ = (uint8_t) (tag_length << 1);
			memcpy(out, source->tag, tag_length);
			out += tag_length;
		}
		store64(out, source->count);
		out += 8;
		for (size_t j = 0; j < source->count; j++)
		{
			store64(out, (uint64_t) source->intervals[j].first);
			store64(out + 8, (uint64_t) source->intervals[j].last + 1);
			out += INTERVAL_SIZE;
		}
	}
	return TAP_GTID_OK;
}

static bool
decode_tag(ByteReader *reader, char tag[TAP_GTID_TAG_SIZE])
{
	size_t		length;

	if (reader->position >= reader->end || *reader->position & 1)
		return false;
	length = *reader->position++ >> 1;
	if (length >= TAP_GTID_TAG_SIZE || (size_t) (reader->end - reader->position) < length ||
		memchr(reader->position, 0, length))
		return false;
	memcpy(tag, reader->position, length);
	tag[length] = '\0';
	reader->position += length;
	return true;
}

static TapGtidStatus
decode_source(ByteReader *reader, bool tagged, TapGtidSet *set)
{
	uint8_t		uuid[16];
	char		tag[TAP_GTID_TAG_SIZE] = "";
	uint64_t	count;

	if (reader->end - reader->position < 16)
		return TAP_GTID_BAD_FORMAT;
	memcpy(uuid, reader->position, 16);
	reader->position += 16;
	if (tagged && !decode_tag(reader, tag))
		return TAP_GTID_BAD_FORMAT;
	count = get64(reader);
	while (count-- > 0 && !reader->failed)
	{
		uint64_t	first = get64(reader);
		uint64_t	next = get64(reader);
		TapGtidStatus status;

		if (reader->failed || first < 1 || next <= first || next > UINT64_C(1) << 63)
			return TAP_GTID_BAD_FORMAT;
		status = tap_gtid_set_add_range(set, uuid, tag, (int64_t) first, (int64_t) (next - 1));
		if (status != TAP_GTID_OK)
			return status;
	}
	return reader->failed ? TAP_GTID_BAD_FORMAT : TAP_GTID_OK;
}

TapGtidStatus
tap_gtid_set_decode(const uint8_t *data, size_t length, TapGtidSet *set)
{
	ByteReader	reader = {data, data + length, false};
	TapGtidSet	fresh = {0};
	uint64_t	word = get64(&reader);
	bool		tagged = word >> 56 != 0;
	uint64_t	count = tagged ? word >> 8 & UINT64_C(0xffffffffffff) : word;
	TapGtidStatus status = TAP_GTID_OK;

	if (reader.failed || word >> 56 > 1)
		return TAP_GTID_BAD_FORMAT;
	while (count-- > 0 && status == TAP_GTID_OK)
		status = decode_source(&reader, tagged, &fresh);
	if (status == TAP_GTID_OK && reader.position != reader.end)
		status = TAP_GTID_BAD_FORMAT;
	return tap_gtid_finish_set(set, &fresh, status);
}
