/*-------------------------------------------------------------------------
 *
 * src/decode_wait.c
 *	  Waits for WAL; woken at commit.
 *
 * NOTES
 *	  A decoder that is about to sleep raises its flag in shared memory, looks
 *	  once more whether WAL was flushed, and sleeps.  A backend that has
 *	  committed, and flushed, takes down the flags of its database and sets the
 *	  latches.  Each side writes before it reads, with a barrier in between, so
 *	  that no commit is missed.
 *
 *	  A commit that did not wait for its flush (synchronous_commit = off) comes
 *	  too early: nothing can be read yet.  The decoder then naps for a short
 *	  time that doubles, without its flag, until something is flushed: the WAL
 *	  writer does it soon, and many such commits a second wake nobody.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "decode_private.h"
#include "miscadmin.h"
#include "process.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "worker.h"

/* WAL that is flushed without a commit of this database is read after that. */
#define IDLE_MS		1000

/* While standbys are behind. */
#define STANDBY_NAP_MS	20

#define NAP_MIN_MS	2
#define NAP_MAX_MS	512

/* This process's place; NULL: none. */
static TapWalWaiter *my_place = NULL;

/* Wake the decoders of this database that sleep. */
static void
wake_waiters(void)
{
	int			nused = tap_shared->nwaiters_used;

	for (int i = 0; i < nused; i++)
	{
		TapWalWaiter *waiter = &tap_shared->waiters[i];

		if (pg_atomic_read_u32(&waiter->waiting) != 0 &&
			waiter->database == MyDatabaseId &&
			pg_atomic_exchange_u32(&waiter->waiting, 0) != 0)
		{
			pg_atomic_fetch_sub_u32(&tap_shared->waiting, 1);
			SetLatch(waiter->latch);
		}
	}
}

void
tap_decode_wake(void)
{
	if (tap_shared == NULL)
		return;
	pg_memory_barrier();
	if (pg_atomic_read_u32(&tap_shared->waiting) != 0)
		wake_waiters();
}

/* At the end of each transaction of each backend. */
static void
transaction_ended(XactEvent event, void *arg)
{
	static XLogRecPtr last_commit = InvalidXLogRecPtr;

	/* It moves only when the transaction wrote WAL. */
	if (event != XACT_EVENT_COMMIT || XactLastCommitEnd == last_commit)
		return;
	last_commit = XactLastCommitEnd;
	tap_decode_wake();
}

void
tap_decode_install(void)
{
	RegisterXactCallback(transaction_ended, NULL);
}

/* Take down the flag; false: somebody has done so to wake us. */
static bool
lower_flag(void)
{
	if (my_place == NULL || pg_atomic_exchange_u32(&my_place->waiting, 0) == 0)
		return false;
	pg_atomic_fetch_sub_u32(&tap_shared->waiting, 1);
	return true;
}

static void
raise_flag(void)
{
	if (my_place == NULL)
		return;
	pg_atomic_fetch_add_u32(&tap_shared->waiting, 1);
	pg_atomic_exchange_u32(&my_place->waiting, 1);
}

static void
leave_place(int code, Datum arg)
{
	tap_decode_wait_stop();
}

void
tap_decode_wait_start(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(leave_place, (Datum) 0);
	registered = true;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < tap_shared->npipelines && my_place == NULL; i++)
	{
		TapWalWaiter *waiter = &tap_shared->waiters[i];

		if (waiter->pid != 0)
			continue;
		waiter->pid = MyProcPid;
		waiter->database = MyDatabaseId;
		waiter->latch = &MyProc->procLatch;
		tap_shared->nwaiters_used = Max(tap_shared->nwaiters_used, i + 1);
		my_place = waiter;
	}
	LWLockRelease(tap_shared->lock);
}

void
tap_decode_wait_stop(void)
{
	if (my_place == NULL)
		return;
	(void) lower_flag();
	my_place->pid = 0;
	my_place = NULL;
}

/* Whether there is WAL that was not tried yet. */
static bool
wal_is_there(TapDecoder *decoder)
{
	return tap_decode_readable(decoder) > decoder->tried;
}

/* Sleep once, at most so long; *woken: by a commit. */
static int
sleep_once(TapDecoder *decoder, pgsocket socket, int events, long timeout_ms,
		   bool *woken)
{
	bool		armed = decoder->nap_ms == 0;
	long		sleep_ms = armed ? IDLE_MS : decoder->nap_ms;
	int			happened;

	/* No standby wakes us. */
	if (decoder->allowed < decoder->awaited)
		sleep_ms = Min(sleep_ms, STANDBY_NAP_MS);
	if (timeout_ms >= 0)
		sleep_ms = Min(sleep_ms, timeout_ms);
	*woken = false;
	if (armed)
	{
		raise_flag();
		if (wal_is_there(decoder))
		{
			(void) lower_flag();
			return WL_LATCH_SET;
		}
	}
	happened = tap_worker_wait(socket, events, sleep_ms);
	if (armed)
		*woken = !lower_flag();
	else if (happened & WL_TIMEOUT)
		decoder->nap_ms = decoder->nap_ms >= NAP_MAX_MS ? 0 : decoder->nap_ms * 2;
	return happened;
}

int
tap_decode_wait(TapDecoder *decoder, pgsocket socket, int events, long timeout_ms)
{
	TimestampTz deadline = timeout_ms < 0 ? 0 :
	TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	for (;;)
	{
		long		left = timeout_ms;
		bool		woken;
		int			happened;

		if (wal_is_there(decoder))
		{
			decoder->nap_ms = 0;
			return WL_LATCH_SET;
		}
		if (timeout_ms >= 0)
		{
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
			if (left <= 0)
				return WL_TIMEOUT;
		}
		happened = sleep_once(decoder, socket, events, left, &woken);
		if (woken && !wal_is_there(decoder))
			decoder->nap_ms = NAP_MIN_MS;

		/* The latch may have been set for more reasons than a commit. */
		if (happened & ~WL_TIMEOUT)
			return happened;
	}
}
