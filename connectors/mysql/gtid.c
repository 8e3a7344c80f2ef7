/*-------------------------------------------------------------------------
 *
 * connectors/mysql/gtid.c
 *	  Sets of MySQL GTIDs: what can be done with them.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gtid_private.h"

/* --- sources of a set ---------------------------------------------------- */

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

bool
tap_gtid_grow(void **array, size_t *capacity, size_t needed, size_t element)
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
	if (!tap_gtid_grow((void **) &set->sources, &set->capacity, set->count + 1, sizeof(*set->sources)))
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

/* --- intervals of a source ----------------------------------------------- */

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
	if (!tap_gtid_grow((void **) &source->intervals, &source->capacity, source->count + 1,
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
		bool		keep_behind = old->last > interval.last;
		TapGtidInterval behind = {keep_behind ? interval.last + 1 : 0, old->last};

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

/* --- operations on sets -------------------------------------------------- */

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

TapGtidStatus
tap_gtid_finish_set(TapGtidSet *set, TapGtidSet *fresh, TapGtidStatus status)
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
	return tap_gtid_finish_set(copy, &fresh, tap_gtid_set_union(&fresh, set));
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
