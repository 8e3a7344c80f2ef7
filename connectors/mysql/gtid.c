/*-------------------------------------------------------------------------
 *
 * connectors/mysql/gtid.c
 *	  Sets of global transaction identifiers of MySQL and MariaDB.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gtid.h"

#define UUID_TEXT_SIZE		36
#define INTERVAL_SIZE		16

typedef struct TextReader
{
	const char *position;
	const char *end;
} TextReader;

typedef struct ByteReader
{
	const uint8_t *position;
	const uint8_t *end;
	bool		failed;
} ByteReader;

/* --- sources of a set ------------------------------------------------------ */

static int
compare_source(const TapGtidSource *source, const uint8_t uuid[16], const char *tag)
{
	int			order = memcmp(source->uuid, uuid, 16);

	return order != 0 ? order : strcmp(source->tag, tag);
}

/* Index of the source, or where it belongs */
static size_t
find_source(const TapGtidSet *set, const uint8_t uuid[16], const char *tag, bool *found)
{
	size_t		low = 0;
	size_t		high = set->count;

	*found = false;
	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;
		int			order = compare_source(&set->sources[middle], uuid, tag);

		if (order == 0)
		{
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
grow(void **array, size_t *capacity, size_t needed, size_t element)
{
	size_t		wanted = *capacity ? *capacity : 4;
	void	   *larger;

	if (needed <= *capacity)
		return true;
	while (wanted < needed)
		wanted *= 2;
	if (wanted > SIZE_MAX / element)
		return false;
	larger = realloc(*array, wanted * element);
	if (larger == NULL)
		return false;
	*array = larger;
	*capacity = wanted;
	return true;
}

/* The source, made when missing; NULL when out of memory. */
static TapGtidSource *
get_source(TapGtidSet *set, const uint8_t uuid[16], const char *tag)
{
	bool		found;
	size_t		index = find_source(set, uuid, tag, &found);
	TapGtidSource *source;

	if (found)
		return &set->sources[index];
	if (!grow((void **) &set->sources, &set->capacity, set->count + 1, sizeof(*set->sources)))
		return NULL;
	source = &set->sources[index];
	memmove(source + 1, source, (set->count - index) * sizeof(*source));
	set->count++;
	memset(source, 0, sizeof(*source));
	memcpy(source->uuid, uuid, 16);
	memcpy(source->tag, tag, strlen(tag) + 1);
	return source;
}

static void
drop_source(TapGtidSet *set, size_t index)
{
	free(set->sources[index].intervals);
	set->count--;
	memmove(&set->sources[index], &set->sources[index + 1],
			(set->count - index) * sizeof(*set->sources));
}

void
tap_gtid_set_free(TapGtidSet *set)
{
	for (size_t i = 0; i < set->count; i++)
		free(set->sources[i].intervals);
	free(set->sources);
	memset(set, 0, sizeof(*set));
}

/* --- intervals of a source --------------------------------------------------- */

/* Index of the first interval whose end is at or behind gno */
static size_t
find_interval(const TapGtidSource *source, int64_t gno)
{
	size_t		low = 0;
	size_t		high = source->count;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;

		if (source->intervals[middle].last < gno)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
insert_interval(TapGtidSource *source, size_t index, TapGtidInterval interval)
{
	if (!grow((void **) &source->intervals, &source->capacity, source->count + 1,
			  sizeof(*source->intervals)))
		return false;
	memmove(&source->intervals[index + 1], &source->intervals[index],
			(source->count - index) * sizeof(interval));
	source->intervals[index] = interval;
	source->count++;
	return true;
}

static void
remove_intervals(TapGtidSource *source, size_t index, size_t count)
{
	source->count -= count;
	memmove(&source->intervals[index], &source->intervals[index + count],
			(source->count - index) * sizeof(*source->intervals));
}

static bool
add_interval(TapGtidSource *source, TapGtidInterval interval)
{
	size_t		index = find_interval(source, interval.first - 1);	/* adjacent, too */
	size_t		merged = 0;

	while (index + merged < source->count &&
		   (interval.last == TAP_GTID_MAX_GNO ||
			source->intervals[index + merged].first <= interval.last + 1))
	{
		const TapGtidInterval *old = &source->intervals[index + merged];

		if (old->first < interval.first)
			interval.first = old->first;
		if (old->last > interval.last)
			interval.last = old->last;
		merged++;
	}
	if (merged == 0)
		return insert_interval(source, index, interval);
	source->intervals[index] = interval;
	remove_intervals(source, index + 1, merged - 1);
	return true;
}

static bool
subtract_interval(TapGtidSource *source, TapGtidInterval interval)
{
	size_t		index = find_interval(source, interval.first);

	while (index < source->count && source->intervals[index].first <= interval.last)
	{
		TapGtidInterval *old = &source->intervals[index];
		TapGtidInterval behind = {interval.last + 1, old->last};
		bool		keep_behind = old->last > interval.last;

		if (old->first >= interval.first)
		{
			if (!keep_behind)
			{
				remove_intervals(source, index, 1);
				continue;
			}
			old->first = behind.first;
			return true;
		}
		old->last = interval.first - 1;
		index++;
		if (keep_behind)
			return insert_interval(source, index, behind);
	}
	return true;
}

static bool
covers_interval(const TapGtidSource *source, TapGtidInterval interval)
{
	size_t		index = find_interval(source, interval.first);

	return index < source->count && source->intervals[index].first <= interval.first &&
		source->intervals[index].last >= interval.last;
}

/* --- operations on sets -------------------------------------------------------- */

TapGtidStatus
tap_gtid_set_add_range(TapGtidSet *set, const uint8_t uuid[16], const char *tag,
					   int64_t first, int64_t last)
{
	TapGtidInterval interval = {first, last};
	TapGtidSource *source;

	if (tag == NULL)
		tag = "";
	if (first < 1 || last < first || strlen(tag) >= TAP_GTID_TAG_SIZE)
		return TAP_GTID_BAD_FORMAT;
	source = get_source(set, uuid, tag);
	if (source == NULL)
		return TAP_GTID_NO_MEMORY;
	if (add_interval(source, interval))
		return TAP_GTID_OK;
	if (source->count == 0)
		drop_source(set, (size_t) (source - set->sources));
	return TAP_GTID_NO_MEMORY;
}

TapGtidStatus
tap_gtid_set_add(TapGtidSet *set, const uint8_t uuid[16], const char *tag, int64_t gno)
{
	return tap_gtid_set_add_range(set, uuid, tag, gno, gno);
}

bool
tap_gtid_set_contains(const TapGtidSet *set, const uint8_t uuid[16], const char *tag,
					  int64_t gno)
{
	TapGtidInterval interval = {gno, gno};
	bool		found;
	size_t		index = find_source(set, uuid, tag ? tag : "", &found);

	return found && covers_interval(&set->sources[index], interval);
}

bool
tap_gtid_set_is_subset(const TapGtidSet *inner, const TapGtidSet *outer)
{
	for (size_t i = 0; i < inner->count; i++)
	{
		const TapGtidSource *source = &inner->sources[i];
		bool		found;
		size_t		index = find_source(outer, source->uuid, source->tag, &found);

		if (!found)
			return false;
		for (size_t j = 0; j < source->count; j++)
		{
			if (!covers_interval(&outer->sources[index], source->intervals[j]))
				return false;
		}
	}
	return true;
}

bool
tap_gtid_set_equal(const TapGtidSet *a, const TapGtidSet *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
	{
		const TapGtidSource *x = &a->sources[i];
		const TapGtidSource *y = &b->sources[i];

		if (compare_source(x, y->uuid, y->tag) != 0 || x->count != y->count ||
			memcmp(x->intervals, y->intervals, x->count * sizeof(*x->intervals)) != 0)
			return false;
	}
	return true;
}

TapGtidStatus
tap_gtid_set_union(TapGtidSet *set, const TapGtidSet *other)
{
	if (set == other)
		return TAP_GTID_OK;
	for (size_t i = 0; i < other->count; i++)
	{
		const TapGtidSource *source = &other->sources[i];

		for (size_t j = 0; j < source->count; j++)
		{
			TapGtidStatus status = tap_gtid_set_add_range(set, source->uuid, source->tag,
														  source->intervals[j].first,
														  source->intervals[j].last);

			if (status != TAP_GTID_OK)
				return status;
		}
	}
	return TAP_GTID_OK;
}

TapGtidStatus
tap_gtid_set_subtract(TapGtidSet *set, const TapGtidSet *other)
{
	if (set == other)
	{
		tap_gtid_set_free(set);
		return TAP_GTID_OK;
	}
	for (size_t i = 0; i < other->count; i++)
	{
		const TapGtidSource *source = &other->sources[i];
		bool		found;
		size_t		index = find_source(set, source->uuid, source->tag, &found);

		for (size_t j = 0; found && j < source->count; j++)
		{
			if (!subtract_interval(&set->sources[index], source->intervals[j]))
				return TAP_GTID_NO_MEMORY;
		}
		if (found && set->sources[index].count == 0)
			drop_source(set, index);
	}
	return TAP_GTID_OK;
}

/* *set := *fresh on success, else drop what was made. */
static TapGtidStatus
finish_set(TapGtidSet *set, TapGtidSet *fresh, TapGtidStatus status)
{
	if (status != TAP_GTID_OK)
		tap_gtid_set_free(fresh);
	else
	{
		tap_gtid_set_free(set);
		*set = *fresh;
	}
	return status;
}

TapGtidStatus
tap_gtid_set_copy(TapGtidSet *copy, const TapGtidSet *set)
{
	TapGtidSet	fresh = {0};

	if (copy == set)
		return TAP_GTID_OK;
	return finish_set(copy, &fresh, tap_gtid_set_union(&fresh, set));
}

bool
tap_gtid_set_has_tags(const TapGtidSet *set)
{
	for (size_t i = 0; i < set->count; i++)
	{
		if (set->sources[i].tag[0] != '\0')
			return true;
	}
	return false;
}

uint64_t
tap_gtid_set_size(const TapGtidSet *set)
{
	uint64_t	size = 0;

	for (size_t i = 0; i < set->count; i++)
	{
		const TapGtidSource *source = &set->sources[i];

		for (size_t j = 0; j < source->count; j++)
		{
			uint64_t	more = (uint64_t) (source->intervals[j].last -
										   source->intervals[j].first) + 1;

			size = size > UINT64_MAX - more ? UINT64_MAX : size + more;
		}
	}
	return size;
}

/* --- text ------------------------------------------------------------------------ */

static void
skip_space(TextReader *reader)
{
	while (reader->position < reader->end &&
		   (*reader->position == ' ' || (*reader->position >= '\t' && *reader->position <= '\r')))
		reader->position++;
}

static bool
skip_character(TextReader *reader, char c)
{
	skip_space(reader);
	if (reader->position >= reader->end || *reader->position != c)
		return false;
	reader->position++;
	skip_space(reader);
	return true;
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
read_number(TextReader *reader, uint64_t limit, uint64_t *number)
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
 * the intervals behind it.  An interval whose end is before its start is empty, as in MySQL.
 */
static TapGtidStatus
read_item(TextReader *reader, TapGtidSet *set)
{
	uint8_t		uuid[16];
	char		tag[TAP_GTID_TAG_SIZE] = "";
	TapGtidStatus status;

	if (!read_uuid(reader, uuid))
		return TAP_GTID_BAD_FORMAT;
	while (skip_character(reader, ':'))
	{
		uint64_t	first;
		uint64_t	last;

		if (reader->position < reader->end && is_tag_start(*reader->position))
		{
			if (!read_tag(reader, tag))
				return TAP_GTID_BAD_FORMAT;
			continue;
		}
		if (!read_number(reader, TAP_GTID_MAX_GNO, &first) || first == 0)
			return TAP_GTID_BAD_FORMAT;
		last = first;
		if (skip_character(reader, '-') && !read_number(reader, TAP_GTID_MAX_GNO, &last))
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

	skip_space(&reader);
	while (status == TAP_GTID_OK && reader.position < reader.end)
	{
		if (skip_character(&reader, ','))
			continue;
		status = read_item(&reader, &fresh);
		skip_space(&reader);
		if (status == TAP_GTID_OK && reader.position < reader.end && *reader.position != ',')
			status = TAP_GTID_BAD_FORMAT;
	}
	return finish_set(set, &fresh, status);
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

/* --- binary ---------------------------------------------------------------------- */

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
 * The first word of the classic encoding is the number of sources.  The tagged one has
 * 1 in its highest byte and in its lowest, and the number between them.  Lengths of tags
 * are below 128 and so take one byte, shifted by one.
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
	return finish_set(set, &fresh, status);
}

/* --- MariaDB ----------------------------------------------------------------------- */

void
tap_maria_gtid_free(TapMariaGtidList *list)
{
	free(list->gtids);
	memset(list, 0, sizeof(*list));
}

static size_t
find_domain(const TapMariaGtidList *list, uint32_t domain_id, bool *found)
{
	size_t		index = 0;

	while (index < list->count && list->gtids[index].domain_id < domain_id)
		index++;
	*found = index < list->count && list->gtids[index].domain_id == domain_id;
	return index;
}

TapGtidStatus
tap_maria_gtid_update(TapMariaGtidList *list, TapMariaGtid gtid)
{
	bool		found;
	size_t		index = find_domain(list, gtid.domain_id, &found);

	if (!found)
	{
		if (!grow((void **) &list->gtids, &list->capacity, list->count + 1,
				  sizeof(*list->gtids)))
			return TAP_GTID_NO_MEMORY;
		memmove(&list->gtids[index + 1], &list->gtids[index],
				(list->count - index) * sizeof(gtid));
		list->count++;
	}
	list->gtids[index] = gtid;
	return TAP_GTID_OK;
}

/* A domain may occur twice, as in @@gtid_binlog_state: the later one stays. */
static TapGtidStatus
add_parsed(TapMariaGtidList *list, TapMariaGtid gtid)
{
	bool		found;
	size_t		index = find_domain(list, gtid.domain_id, &found);

	if (found && list->gtids[index].sequence == gtid.sequence)
		return list->gtids[index].server_id == gtid.server_id ? TAP_GTID_OK
			: TAP_GTID_BAD_FORMAT;
	if (found && list->gtids[index].sequence > gtid.sequence)
		return TAP_GTID_OK;
	return tap_maria_gtid_update(list, gtid);
}

static bool
read_maria_gtid(TextReader *reader, TapMariaGtid *gtid)
{
	uint64_t	domain_id;
	uint64_t	server_id;

	if (!read_number(reader, UINT32_MAX, &domain_id) || !skip_character(reader, '-') ||
		!read_number(reader, UINT32_MAX, &server_id) || !skip_character(reader, '-') ||
		!read_number(reader, UINT64_MAX, &gtid->sequence))
		return false;
	gtid->domain_id = (uint32_t) domain_id;
	gtid->server_id = (uint32_t) server_id;
	return true;
}

TapGtidStatus
tap_maria_gtid_parse(const char *text, size_t length, TapMariaGtidList *list)
{
	TextReader	reader = {text, text + length};
	TapMariaGtidList fresh = {0};
	TapGtidStatus status = TAP_GTID_OK;
	bool		more;

	skip_space(&reader);
	more = reader.position < reader.end;
	while (more && status == TAP_GTID_OK)
	{
		TapMariaGtid gtid;

		status = read_maria_gtid(&reader, &gtid) ? add_parsed(&fresh, gtid)
			: TAP_GTID_BAD_FORMAT;
		more = skip_character(&reader, ',');
	}
	if (status == TAP_GTID_OK && reader.position != reader.end)
		status = TAP_GTID_BAD_FORMAT;
	if (status != TAP_GTID_OK)
	{
		tap_maria_gtid_free(&fresh);
		return status;
	}
	tap_maria_gtid_free(list);
	*list = fresh;
	return TAP_GTID_OK;
}

char *
tap_maria_gtid_text(const TapMariaGtidList *list)
{
	char	   *text = malloc(list->count * 44 + 1);
	char	   *out = text;

	if (text == NULL)
		return NULL;
	*out = '\0';
	for (size_t i = 0; i < list->count; i++)
		out += sprintf(out, "%s%" PRIu32 "-%" PRIu32 "-%" PRIu64, i > 0 ? "," : "",
					   list->gtids[i].domain_id, list->gtids[i].server_id,
					   list->gtids[i].sequence);
	return text;
}

bool
tap_maria_gtid_covers(const TapMariaGtidList *list, TapMariaGtid gtid)
{
	bool		found;
	size_t		index = find_domain(list, gtid.domain_id, &found);

	return found && list->gtids[index].sequence >= gtid.sequence;
}

bool
tap_maria_gtid_is_subset(const TapMariaGtidList *inner, const TapMariaGtidList *outer)
{
	for (size_t i = 0; i < inner->count; i++)
	{
		if (!tap_maria_gtid_covers(outer, inner->gtids[i]))
			return false;
	}
	return true;
}

bool
tap_maria_gtid_equal(const TapMariaGtidList *a, const TapMariaGtidList *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
	{
		if (a->gtids[i].domain_id != b->gtids[i].domain_id ||
			a->gtids[i].server_id != b->gtids[i].server_id ||
			a->gtids[i].sequence != b->gtids[i].sequence)
			return false;
	}
	return true;
}

TapGtidStatus
tap_maria_gtid_copy(TapMariaGtidList *copy, const TapMariaGtidList *list)
{
	TapMariaGtidList fresh = {0};

	if (copy == list)
		return TAP_GTID_OK;
	for (size_t i = 0; i < list->count; i++)
	{
		TapGtidStatus status = tap_maria_gtid_update(&fresh, list->gtids[i]);

		if (status != TAP_GTID_OK)
		{
			tap_maria_gtid_free(&fresh);
			return status;
		}
	}
	tap_maria_gtid_free(copy);
	*copy = fresh;
	return TAP_GTID_OK;
}
