/*-------------------------------------------------------------------------
 *
 * src/apply_direct.c
 *	  Writes plain heap tables without planner, SPI and per-row set-up.
 *
 * NOTES
 *	  Rows are not locked before they are changed: the lock would be a WAL
 *	  record for each row.  table_tuple_update() and table_tuple_delete() wait
 *	  for other transactions and say when the row has moved on; then it is
 *	  looked up again.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply_private.h"
#include "compat.h"

/* ---------------------------------------------------------------------
 * Which tables
 * ---------------------------------------------------------------------
 */

bool
tap_direct_has_triggers(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;
	char		ignored = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ?
	TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;

	if (triggers == NULL)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgenabled != TRIGGER_DISABLED &&
			trigger->tgenabled != ignored)
			return true;
	}
	return false;
}

bool
tap_direct_possible(TapTarget *target)
{
	Relation	rel = target->rel;

	return rel->rd_rel->relkind == RELKIND_RELATION &&
		rel->rd_tableam == GetHeapamTableAmRoutine() &&
		rel->rd_rules == NULL &&
		!tap_direct_has_triggers(rel);
}

/* ---------------------------------------------------------------------
 * Opening and closing
 * ---------------------------------------------------------------------
 */

/* Defaults of columns that the source does not fill; in open_context. */
static void
open_defaults(TapTarget *target)
{
	TupleDesc	descriptor = RelationGetDescr(target->rel);

	target->defaults = palloc0(sizeof(ExprState *) * Max(descriptor->natts, 1));
	if (target->mapping->identity)
		return;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(descriptor, i);
		Node	   *expression;

		if (att->attisdropped || att->attgenerated != '\0' ||
			target->mapping->source_of_hub[i] != InvalidAttrNumber)
			continue;
		expression = build_column_default(target->rel, i + 1);
		if (expression != NULL)
			target->defaults[i] = ExecInitExpr(expression_planner((Expr *) expression),
											   NULL);
	}
}

void
tap_direct_open(TapTarget *target)
{
	target->estate = CreateExecutorState();
	target->result = makeNode(ResultRelInfo);
	InitResultRelInfo(target->result, target->rel, 0, NULL, 0);
	ExecOpenIndices(target->result, false);
	tap_index_open(target);

	target->descriptor = CreateTupleDescCopyConstr(RelationGetDescr(target->rel));
	target->work = MakeSingleTupleTableSlot(target->descriptor, &TTSOpsVirtual);
	target->work->tts_tableOid = target->relid;
	target->found = table_slot_create(target->rel, NULL);
	memset(&target->buffer, 0, sizeof(TapInsertBuffer));
	open_defaults(target);
	tap_lookup_open(target);
}

void
tap_direct_close(TapTarget *target)
{
	tap_insert_close(target);
	tap_lookup_close(target);
	ExecDropSingleTupleTableSlot(target->found);
	ExecCloseIndices(target->result);
	FreeExecutorState(target->estate);
	target->estate = NULL;
}

void
tap_direct_unpin(TapTarget *target)
{
	ExecClearTuple(target->found);
	if (target->buffer.bulk != NULL)
		ReleaseBulkInsertStatePin(target->buffer.bulk);
	tap_lookup_unpin(target);
}

/* ---------------------------------------------------------------------
 * Building rows
 * ---------------------------------------------------------------------
 */

/* Generated columns and constraints of target->work. */
static void
finish_work(TapTarget *target)
{
	TupleConstr *constraints = RelationGetDescr(target->rel)->constr;

	/* A row that was routed to its partition fits it. */
	if (target->rel->rd_rel->relispartition && !target->is_leaf)
		ExecPartitionCheck(target->result, target->work, target->estate, true);

	if (constraints == NULL)
		return;

	/*
	 * Always as for an insert, which computes all generated columns; for an
	 * update the executor wants to know in advance which columns change.
	 */
	if (constraints->has_generated_stored)
		ExecComputeStoredGenerated(target->result, target->estate, target->work,
								   CMD_INSERT);
	ExecConstraints(target->result, target->work, target->estate);
}

static void
build_mapped_insert(TapTarget *target, const TapRowImage *image)
{
	const TapMapping *mapping = target->mapping;
	TupleTableSlot *work = target->work;

	for (int i = 0; i < mapping->nhub; i++)
	{
		AttrNumber	source = mapping->source_of_hub[i];

		work->tts_values[i] = (Datum) 0;
		work->tts_isnull[i] = true;
		if (source != InvalidAttrNumber && tap_image_has(image, source))
		{
			work->tts_isnull[i] = image->slot->tts_isnull[source - 1];
			work->tts_values[i] =
				tap_mapping_value(mapping, source,
								  image->slot->tts_values[source - 1],
								  &work->tts_isnull[i]);
		}
		else if (target->defaults[i] != NULL)
			work->tts_values[i] =
				ExecEvalExpr(target->defaults[i],
							 GetPerTupleExprContext(target->estate),
							 &work->tts_isnull[i]);
	}
}

void
tap_direct_build_insert(TapTarget *target, const TapRowImage *image)
{
	TupleTableSlot *work = target->work;

	ResetPerTupleExprContext(target->estate);
	ExecClearTuple(work);
	if (target->mapping->identity && image->present == NULL)
	{
		int			natts = target->mapping->nhub;

		memcpy(work->tts_values, image->slot->tts_values, sizeof(Datum) * natts);
		memcpy(work->tts_isnull, image->slot->tts_isnull, sizeof(bool) * natts);
	}
	else
		build_mapped_insert(target, image);
	ExecStoreVirtualTuple(work);
	finish_work(target);
}

/*
 * Whether the source says that a column did not change: then an out-of-line
 * value of the hub need not be stored again.
 */
static bool
column_unchanged(const TapEvent *event, AttrNumber source, Form_pg_attribute att)
{
	TupleTableSlot *old_slot = event->old_row.slot;
	TupleTableSlot *new_slot = event->new_row.slot;

	return tap_image_has(&event->old_row, source) &&
		!old_slot->tts_isnull[source - 1] &&
		!new_slot->tts_isnull[source - 1] &&
		datum_image_eq(old_slot->tts_values[source - 1],
					   new_slot->tts_values[source - 1],
					   att->attbyval, att->attlen);
}

static void
build_updated_column(TapTarget *target, const TapEvent *event, int i,
					 TupleTableSlot *old_row)
{
	TupleTableSlot *work = target->work;
	const TapRowImage *image = &event->new_row;
	AttrNumber	source = target->mapping->source_of_hub[i];
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(target->rel), i);
	Datum		value;
	bool		isnull;

	work->tts_values[i] = old_row->tts_values[i];
	work->tts_isnull[i] = old_row->tts_isnull[i];
	if (source == InvalidAttrNumber)
		return;

	if (image->partial != NULL && image->partial[source - 1] != NULL)
		value = tap_apply_complete(target, event, source, old_row->tts_values[i],
								   old_row->tts_isnull[i], &isnull);
	else if (tap_image_has(image, source))
	{
		if (att->attlen == -1 && !old_row->tts_isnull[i] &&
			VARATT_IS_EXTERNAL(DatumGetPointer(old_row->tts_values[i])) &&
			column_unchanged(event, source, att))
			return;
		value = image->slot->tts_values[source - 1];
		isnull = image->slot->tts_isnull[source - 1];
	}
	else
		return;

	work->tts_values[i] = tap_mapping_value(target->mapping, source, value, &isnull);
	work->tts_isnull[i] = isnull;
}

/* Fill target->work with what the event makes of the hub row. */
static void
build_update(TapTarget *target, const TapEvent *event, TupleTableSlot *old_row)
{
	TupleTableSlot *work = target->work;
	const TapRowImage *image = &event->new_row;
	int			natts = target->mapping->nhub;
	HeapTuple	old_tuple = ((HeapTupleTableSlot *) old_row)->tuple;

	ResetPerTupleExprContext(target->estate);
	ExecClearTuple(work);
	if (target->mapping->identity && image->present == NULL &&
		image->partial == NULL && !HeapTupleHasExternal(old_tuple))
	{
		memcpy(work->tts_values, image->slot->tts_values, sizeof(Datum) * natts);
		memcpy(work->tts_isnull, image->slot->tts_isnull, sizeof(bool) * natts);
	}
	else
	{
		slot_getallattrs(old_row);
		for (int i = 0; i < natts; i++)
			build_updated_column(target, event, i, old_row);
	}
	ExecStoreVirtualTuple(work);
	finish_work(target);
}

/* Whether the hub row is already what target->work would make it. */
static bool
same_as_work(TapTarget *target, TupleTableSlot *row)
{
	TupleDesc	descriptor = RelationGetDescr(target->rel);
	TupleTableSlot *work = target->work;

	slot_getallattrs(row);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(descriptor, i);

		if (att->attisdropped)
			continue;
		if (work->tts_isnull[i] != row->tts_isnull[i])
			return false;
		if (!work->tts_isnull[i] &&
			!datum_image_eq(work->tts_values[i], row->tts_values[i],
							att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

/* Whether this transaction has written the row. */
static bool
is_own_row(TupleTableSlot *row)
{
	HeapTupleHeader header = ((HeapTupleTableSlot *) row)->tuple->t_data;

	return !HeapTupleHeaderXminCommitted(header) &&
		TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(header));
}

/*
 * A row that this very command has written can be changed only by a later
 * command.
 */
static void
step_behind_own_write(TupleTableSlot *row)
{
	HeapTupleHeader header = ((HeapTupleTableSlot *) row)->tuple->t_data;

	if (HeapTupleHeaderGetCmin(header) >= GetCurrentCommandId(false))
		CommandCounterIncrement();
}

/* Whether the write is done; false: the row has moved on, look again. */
static bool
written(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_SelfModified:
			CommandCounterIncrement();
			return false;
		case TM_Updated:
		case TM_Deleted:
			CHECK_FOR_INTERRUPTS();
			return false;
		default:
			elog(ERROR, "unexpected result of a row change: %d", (int) result);
	}
	return false;
}

/* Make the hub row what target->work holds. */
static bool
write_update(TapTarget *target, TupleTableSlot *row)
{
	TM_FailureData failure;
	TapIndexUpdate indexes;
	TM_Result	result;
	bool		own = is_own_row(row);

	if (own)
		step_behind_own_write(row);
	result = tap_compat_tuple_update(target->rel, &row->tts_tid, target->work,
									 GetCurrentCommandId(true),
									 GetActiveSnapshot(), &failure, &indexes);
	if (!written(result))
		return false;
	tap_index_update(target, row, indexes);
	if (own)
		tap_lookup_remember(target);
	return true;
}

static bool
write_delete(TapTarget *target, TupleTableSlot *row)
{
	TM_FailureData failure;

	if (is_own_row(row))
		step_behind_own_write(row);
	return written(tap_compat_tuple_delete(target->rel, &row->tts_tid,
										   GetCurrentCommandId(true),
										   GetActiveSnapshot(), &failure));
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

static bool
find_row(TapTarget *target, const TapRowImage *image)
{
	return tap_lookup_row(target, image, target->found) ||
		tap_lookup_again(target, image, target->found);
}

static void
insert_strict(TapTarget *target, const TapEvent *event)
{
	tap_direct_build_insert(target, &event->new_row);
	tap_insert_add(target);
}

static void
update_strict(TapTarget *target, const TapEvent *event)
{
	const TapRowImage *image = tap_apply_key_image(target, event);

	do
	{
		if (!find_row(target, image))
			tap_apply_report_missing(target, "update", image->slot);
		build_update(target, event, target->found);
	} while (!write_update(target, target->found));
}

static void
delete_strict(TapTarget *target, const TapEvent *event)
{
	do
	{
		if (!find_row(target, &event->old_row))
			tap_apply_report_missing(target, "delete", event->old_row.slot);
	} while (!write_delete(target, target->found));
}

static void
delete_if_there(TapTarget *target, const TapRowImage *image)
{
	while (find_row(target, image) && !write_delete(target, target->found))
		;
}

/*
 * A part of a row that is not there.  Mostly the row was deleted before it was
 * copied, and the log will come to that; see apply_moved.c for the others.
 */
static void
insert_if_complete(TapTarget *target, const TapEvent *event)
{
	if (!tap_image_complete(target, &event->new_row))
	{
		target->apply->found = TAP_APPLY_FOUND_NOTHING;
		return;
	}
	tap_direct_build_insert(target, &event->new_row);
	tap_insert_add(target);
}

/* Make the row with this key what the new image says, if it is there. */
static bool
update_if_there(TapTarget *target, const TapEvent *event, const TapRowImage *key)
{
	while (tap_lookup_row(target, key, target->found))
	{
		build_update(target, event, target->found);
		if (same_as_work(target, target->found) ||
			write_update(target, target->found))
			return true;
	}
	return false;
}

/* Give the row another key, if it is there. */
static bool
move_if_there(TapTarget *target, const TapEvent *event, const TapRowImage *key)
{
	while (find_row(target, key))
	{
		build_update(target, event, target->found);
		if (write_update(target, target->found))
			return true;
	}
	return false;
}

/*
 * Update that changed the key, while catching up.  After it the row has the
 * new key, and none has the old: a row that was copied with the old key later
 * on is in the log once more.  What the source did not send is that of the
 * row with the new key, if there is one: it was copied behind this change,
 * and the one with the old key may be another by then.
 */
static void
move_catchup(TapTarget *target, const TapEvent *event, const TapRowImage *image)
{
	TapRowImage new_key;

	tap_apply_new_key(target, event, &new_key);
	if (update_if_there(target, event, &new_key))
		delete_if_there(target, image);
	else if (!move_if_there(target, event, image))
		insert_if_complete(target, event);
	else if (!tap_image_complete(target, &event->new_row))
		target->apply->found = TAP_APPLY_FOUND_OLD_KEY;
}

static void
update_catchup(TapTarget *target, const TapEvent *event)
{
	const TapRowImage *image = tap_apply_key_image(target, event);

	if (tap_apply_key_changed(target, event))
		move_catchup(target, event, image);
	else if (!update_if_there(target, event, image) &&
			 !(tap_lookup_again(target, image, target->found) &&
			   update_if_there(target, event, image)))
		insert_if_complete(target, event);
}

static void
insert_catchup(TapTarget *target, const TapEvent *event)
{
	if (!update_if_there(target, event, &event->new_row))
		insert_if_complete(target, event);
}

void
tap_direct_change(TapTarget *target, const TapEvent *event, TapApplyMode mode)
{
	if (event->change != TAP_CHANGE_INSERT && !target->identity_checked)
	{
		CheckCmdReplicaIdentity(target->rel, CMD_UPDATE);
		CheckCmdReplicaIdentity(target->rel, CMD_DELETE);
		target->identity_checked = true;
	}

	switch (event->change)
	{
		case TAP_CHANGE_INSERT:
			if (mode == TAP_APPLY_STRICT || target->mapping->nkeys == 0)
				insert_strict(target, event);
			else
				insert_catchup(target, event);
			break;
		case TAP_CHANGE_UPDATE:
			if (mode == TAP_APPLY_STRICT || target->mapping->nkeys == 0)
				update_strict(target, event);
			else
				update_catchup(target, event);
			break;
		case TAP_CHANGE_DELETE:
			if (mode == TAP_APPLY_STRICT || target->mapping->nkeys == 0)
				delete_strict(target, event);
			else
				delete_if_there(target, &event->old_row);
			break;
		case TAP_CHANGE_TRUNCATE:
		case TAP_CHANGE_READ:
			elog(ERROR, "unexpected kind of change");
	}
}
