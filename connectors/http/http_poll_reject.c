/*-------------------------------------------------------------------------
 *
 * connectors/http/http_poll_reject.c
 *	  Records that are dead letters already.
 *
 * NOTES
 *	  What a poll finds in a list the next one finds there again.  A record that
 *	  became a dead letter is noted by its hash, with that dead letter, and left
 *	  out from then on, as long as it is the same.  Where each poll reads all,
 *	  notes of records that are gone are deleted.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#define KEY_PREFIX		"http reject "
#define HASH_DIGITS		16

/* Further ones are dead letters by each poll. */
#define MOST_REJECTS	10000

typedef struct Reject
{
	uint64		hash;
	bool		seen;			/* by the poll under way */
} Reject;

static char *
prefix_of(const TapHttpPoll *poll)
{
	return psprintf(KEY_PREFIX "%s ", poll->endpoint->name);
}

static char *
key_of(const TapHttpPoll *poll, uint64 hash)
{
	return psprintf("%s%016llx", prefix_of(poll), (unsigned long long) hash);
}

static Reject *
find_reject(const TapHttpPoll *poll, uint64 hash)
{
	ListCell   *cell;

	foreach(cell, poll->rejects)
	{
		Reject	   *reject = lfirst(cell);

		if (reject->hash == hash)
			return reject;
	}
	return NULL;
}

static void
add_reject(TapHttpPoll *poll, uint64 hash)
{
	MemoryContext before = MemoryContextSwitchTo(poll->context);
	Reject	   *reject = palloc(sizeof(Reject));

	reject->hash = hash;
	reject->seen = true;
	poll->rejects = lappend(poll->rejects, reject);
	MemoryContextSwitchTo(before);
}

static uint64
hash_of(const TapHttpPage *page)
{
	Size		length;
	const char *text = tap_http_page_raw(page, &length);

	return hash_bytes_extended((const unsigned char *) text, (int) length, 0);
}

bool
tap_http_reject_known(TapHttpPoll *poll)
{
	Reject	   *reject = poll->rejects ? find_reject(poll, hash_of(poll->page)) : NULL;

	if (reject == NULL)
		return false;
	reject->seen = true;
	return true;
}

void
tap_http_reject_add(TapHttpPoll *poll)
{
	uint64		hash = hash_of(poll->page);

	if (list_length(poll->rejects) >= MOST_REJECTS || find_reject(poll, hash) != NULL)
		return;
	add_reject(poll, hash);
	tap_http_core->remember(key_of(poll, hash), "");
}

void
tap_http_reject_end(TapHttpPoll *poll)
{
	ListCell   *cell;

	foreach(cell, poll->rejects)
	{
		Reject	   *reject = lfirst(cell);

		if (!reject->seen && poll->endpoint->cursor == NULL && !poll->unchanged)
		{
			tap_http_core->remember(key_of(poll, reject->hash), NULL);
			poll->rejects = foreach_delete_current(poll->rejects, cell);
			pfree(reject);
		}
		else
			reject->seen = false;
	}
}

/* The key of another endpoint may begin with the same prefix. */
static void
take_note(void *arg, const char *key, const char *value)
{
	TapHttpPoll *poll = arg;
	const char *digits = key + strlen(KEY_PREFIX) + strlen(poll->endpoint->name) + 1;

	(void) value;
	if (strlen(digits) == HASH_DIGITS)
		add_reject(poll, strtoull(digits, NULL, 16));
}

void
tap_http_reject_read(TapHttpPoll *poll)
{
	ListCell   *cell;

	tap_http_core->recall(prefix_of(poll), take_note, poll);
	foreach(cell, poll->rejects)
		((Reject *) lfirst(cell))->seen = false;
}

void
tap_http_reject_forget(TapHttpPoll *poll)
{
	ListCell   *cell;

	tap_http_reject_read(poll);
	foreach(cell, poll->rejects)
		tap_http_core->remember(key_of(poll, ((Reject *) lfirst(cell))->hash), NULL);
	list_free_deep(poll->rejects);
	poll->rejects = NIL;
}
