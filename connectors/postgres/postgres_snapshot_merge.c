/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot_merge.c
 *	  Rows that several connections copy at once, to one receiver.
 *
 * NOTES
 *	  Each connection in turn gives what has come over it; only when that was
 *	  nothing in a whole round all of them are waited for.  What is not taken
 *	  yet waits in the sockets, so memory does not grow.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_snapshot.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "row_copy.h"

typedef struct Copier
{
	TapSession *session;
	TapPgCopyReader *reader;
	bool		active;			/* a copy is under way */
} Copier;

typedef struct Merge
{
	const TapPgFormat *format;
	Copier	   *copiers;
	int			count;
	int			turn;			/* whose row it is */
	int			active;
	int			epoll;			/* -1: one connection needs none */
	MemoryContext statement_context;
	char	   *(*next_condition) (void *arg);
	void	   *arg;
	TapRowReceiver *receiver;
} Merge;

/* ---------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------
 */

static void
watch(Merge *merge, Copier *copier, int operation)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (merge->epoll < 0)
		return;
	if (epoll_ctl(merge->epoll, operation, PQsocket(copier->session->conn), &event) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not wait for several connections: %m")));
}

static void
begin_waiting(Merge *merge)
{
	merge->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (merge->epoll < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not create an epoll set: %m")));
}

static void
wait_for_any(Merge *merge)
{
	pgsocket	socket = merge->epoll >= 0 ? merge->epoll :
	PQsocket(merge->copiers[0].session->conn);

	tap_pg_wait_socket(merge->copiers[0].session, socket, WL_SOCKET_READABLE, "copy rows");
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

/* Copy the next part over a connection; false: none is left. */
static bool
start_next(Merge *merge, Copier *copier)
{
	MemoryContext old = MemoryContextSwitchTo(merge->statement_context);
	char	   *condition;

	MemoryContextReset(merge->statement_context);
	condition = merge->next_condition(merge->arg);
	if (condition != NULL)
		tap_pg_copy_start(copier->reader, condition);
	MemoryContextSwitchTo(old);
	return condition != NULL;
}

static void
stop(Merge *merge, Copier *copier)
{
	copier->active = false;
	merge->active--;

	/* what is said to a connection at rest would wake us all the time */
	watch(merge, copier, EPOLL_CTL_DEL);
}

/* Hand on what came over a connection; false: nothing. */
static bool
take_rows(Merge *merge, Copier *copier)
{
	TapRowReceiver *receiver = merge->receiver;
	TapPgCopyStep step;
	bool		any = false;

	tap_pg_copy_consume(copier->reader);
	while ((step = tap_pg_copy_step(copier->reader)) == TAP_PG_COPY_ROW)
	{
		TupleTableSlot *slot = receiver->next_slot(receiver);

		tap_pg_copy_store(copier->reader, slot);
		receiver->put_slot(receiver, slot);
		any = true;
	}
	if (step == TAP_PG_COPY_END && !start_next(merge, copier))
		stop(merge, copier);
	return any || step == TAP_PG_COPY_END;
}

static void
merge_rows(void *arg)
{
	Merge	   *merge = arg;

	while (merge->active > 0)
	{
		bool		any = false;

		for (merge->turn = 0; merge->turn < merge->count; merge->turn++)
		{
			Copier	   *copier = &merge->copiers[merge->turn];

			if (copier->active)
				any |= take_rows(merge, copier);
		}
		CHECK_FOR_INTERRUPTS();
		if (!any)
			wait_for_any(merge);
	}
}

/* Whether an error now is one of the data of the row whose turn it is. */
static bool
is_converting(const void *arg)
{
	const Merge *merge = arg;

	return merge->turn < merge->count &&
		tap_pg_copy_is_converting(merge->copiers[merge->turn].reader);
}

static char *
reject_row(void *arg)
{
	Merge	   *merge = arg;

	return tap_pg_copy_reject(merge->copiers[merge->turn].reader);
}

/* Names the table where an error of a value does not. */
static void
merge_error_context(void *arg)
{
	const Merge *merge = arg;

	if (is_converting(merge))
		errcontext("source table \"%s\"", tap_pg_table_text(&merge->format->name));
}

/* Begin a copy over each connection, as far as there is something to copy. */
static void
start_copiers(Merge *merge, TapSession *sessions, int count)
{
	merge->copiers = palloc0(sizeof(Copier) * count);
	for (int i = 0; i < count; i++)
	{
		Copier	   *copier = &merge->copiers[i];

		copier->session = &sessions[i];
		copier->reader = tap_pg_copy_reader_create(copier->session, merge->format);
		merge->count++;
		if (!start_next(merge, copier))
			return;
		copier->active = true;
		merge->active++;
		watch(merge, copier, EPOLL_CTL_ADD);
	}
}

void
tap_pg_merge_copies(TapSession *sessions, int count, const TapPgFormat *format,
					char *(*next_condition) (void *arg), void *arg,
					TapRowReceiver *receiver)
{
	static const TapRowCopyCallbacks callbacks = {merge_rows, is_converting, reject_row};
	Merge		merge = {.format = format,.next_condition = next_condition,.arg = arg,
		.receiver = receiver,.epoll = -1
	};
	ErrorContextCallback callback;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tapdata postgres copy",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	callback.callback = merge_error_context;
	callback.arg = &merge;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	PG_TRY();
	{
		if (count > 1)
			begin_waiting(&merge);
		merge.statement_context = AllocSetContextCreate(context, "tapdata postgres copy statement",
														ALLOCSET_SMALL_SIZES);
		start_copiers(&merge, sessions, count);
		tap_row_copy(&callbacks, &merge, receiver);
	}
	PG_FINALLY();
	{
		if (merge.epoll >= 0)
			close(merge.epoll);
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
