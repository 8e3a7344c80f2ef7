/*-------------------------------------------------------------------------
 *
 * connectors/mysql/gtid_mariadb.c
 *	  Positions of MariaDB: the last GTID of each domain.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gtid_private.h"

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
		if (!tap_gtid_grow((void **) &list->gtids, &list->capacity, list->count + 1,
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

	if (!tap_gtid_read_number(reader, UINT32_MAX, &domain_id) || !tap_gtid_skip_character(reader, '-') ||
		!tap_gtid_read_number(reader, UINT32_MAX, &server_id) || !tap_gtid_skip_character(reader, '-') ||
		!tap_gtid_read_number(reader, UINT64_MAX, &gtid->sequence))
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

	tap_gtid_skip_space(&reader);
	more = reader.position < reader.end;
	while (more && status == TAP_GTID_OK)
	{
		TapMariaGtid gtid;

		status = read_maria_gtid(&reader, &gtid) ? add_parsed(&fresh, gtid)
			: TAP_GTID_BAD_FORMAT;
		more = tap_gtid_skip_character(&reader, ',');
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
