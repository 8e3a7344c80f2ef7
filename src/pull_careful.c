/*-------------------------------------------------------------------------
 *
 * src/pull_careful.c
 *	  Stores changes one by one, so that those that cannot be stored become
 *	  dead letters (option on_error = dead_letter).
 *
 * A stream goes on without this until an error of data is met; then the hub
 * transaction is undone, the log read again from the last commit, and each
 * change gets a subtransaction of its own until the one at fault was found.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "change_json.h"
#include "errors.h"
#include "pull_private.h"
#include "worker.h"

static ErrorData *undo_subtransaction(MemoryContext context, ResourceOwner owner);
static void dead_letter(TapPull *pull, const TapTableName *name,
						const char *change, const ErrorData *edata);

void
tap_pull_change_carefully(TapPull *pull, const TapEvent *event)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	TapPullTable *table = event->table_data;

	/* open executors belong to the transaction that opened them */
	tap_apply_end(pull->apply);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		tap_apply_begin(pull->apply);
		tap_pull_change(pull, event);
		tap_apply_end(pull->apply);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *edata = undo_subtransaction(context, owner);

		tap_apply_abort(pull->apply);
		dead_letter(pull, &table->row.source, tap_change_json(event), edata);
	}
	PG_END_TRY();
	tap_apply_begin(pull->apply);
}

TapEventKind
tap_pull_next_carefully(TapPull *pull, TapEvent *event)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool rejected;
	volatile TapEventKind kind = TAP_EVENT_NONE;

	/* no row is decoded outside of a source transaction */
	if (pull->state != TAP_PULL_TXN)
		return pull->source->stream_next(pull->session->session, event);

	do
	{
		rejected = false;
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			kind = pull->source->stream_next(pull->session->session, event);
			ReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
		}
		PG_CATCH();
		{
			ErrorData  *edata = undo_subtransaction(context, owner);

			dead_letter(pull, NULL,
						pull->source->describe_event(pull->session->session),
						edata);
			rejected = true;
		}
		PG_END_TRY();
	} while (rejected);
	return kind;
}

/*
 * Roll back to before the change.  Errors that are not the data's fault go on
 * to the caller.
 */
static ErrorData *
undo_subtransaction(MemoryContext context, ResourceOwner owner)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (tap_error_class(edata->sqlerrcode) != TAP_ERROR_DATA)
		ReThrowError(edata);
	return edata;
}

static void
dead_letter(TapPull *pull, const TapTableName *name, const char *change,
			const ErrorData *edata)
{
	tap_catalog_insert_dead_letter(pull->pipeline->id, name, change, edata,
								   pull->position);
	tap_catalog_insert_event(pull->pipeline->name, name, "warning", "dead letter",
							 tap_error_text(edata));
	pull->careful_rejects++;
}
