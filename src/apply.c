/*-------------------------------------------------------------------------
 *
 * src/apply.c
 *	  Interface of the apply engine: targets, choice of path, error context.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "apply_private.h"
#include "compat.h"
#include "hubtable.h"

/* All engines of this process, for the relcache callback. */
static TapApply *engines = NULL;

/* ---------------------------------------------------------------------
 * Engines and targets
 * ---------------------------------------------------------------------
 */

static void
relcache_callback(Datum arg, Oid relid)
{
	for (TapApply *apply = engines; apply != NULL; apply = apply->next)
	{
		ListCell   *cell;

		foreach(cell, apply->targets)
		{
			TapTarget  *target = lfirst(cell);

			if (relid == InvalidOid || target->relid == relid)
				target->mapping_valid = false;
		}
	}
}

static void
engine_deleted(void *arg)
{
	for (TapApply **link = &engines; *link != NULL; link = &(*link)->next)
	{
		if (*link == arg)
		{
			*link = (*link)->next;
			return;
		}
	}
}

TapApply *
tap_apply_create(const TapSourceCallbacks *source, TapSession *session)
{
	static bool callback_registered = false;
	MemoryContext context;
	MemoryContext oldcontext;
	MemoryContextCallback *callback;
	TapApply   *apply;

	context = AllocSetContextCreate(CurrentMemoryContext, "tapdata apply",
									ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(context);

	apply = palloc0(sizeof(TapApply));
	apply->source = source;
	apply->session = session;
	apply->context = context;
	apply->row_context = AllocSetContextCreate(context, "tapdata apply row",
											   ALLOCSET_DEFAULT_SIZES);

	callback = palloc0(sizeof(MemoryContextCallback));
	callback->func = engine_deleted;
	callback->arg = apply;
	MemoryContextRegisterResetCallback(context, callback);
	apply->next = engines;
	engines = apply;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		callback_registered = true;
	}

	MemoryContextSwitchTo(oldcontext);
	return apply;
}

void
tap_apply_set_session(TapApply *apply, TapSession *session)
{
	apply->session = session;
}

TapTarget *
tap_apply_target(TapApply *apply, Oid hub_table, const TapSourceTable *source,
				 const char *source_name, bool ignore_missing)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(apply->context);
	TapTarget  *target = palloc0(sizeof(TapTarget));

	target->apply = apply;
	target->relid = hub_table;
	target->source = source;
	target->source_name = pstrdup(source_name);
	target->ignore_missing = ignore_missing;
	target->mapping_context = AllocSetContextCreate(apply->context,
													"tapdata mapping",
													ALLOCSET_SMALL_SIZES);
	target->open_context = AllocSetContextCreate(apply->context,
												 "tapdata target",
												 ALLOCSET_START_SMALL_SIZES);
	apply->targets = lappend(apply->targets, target);
	MemoryContextSwitchTo(oldcontext);
	return target;
}

void
tap_apply_track(TapTarget *target, TapMoved *moved)
{
	target->moved = moved;
}

static void
forget_mapping(TapTarget *target)
{
	tap_sql_forget(target);
	MemoryContextReset(target->mapping_context);
	target->mapping = NULL;
	target->mapping_valid = false;
}

/* ---------------------------------------------------------------------
 * Opening and closing
 * ---------------------------------------------------------------------
 */

void
tap_apply_enter(TapTarget *target, TapSavedUser *saved)
{
	saved->switched = OidIsValid(target->other_owner);
	if (!saved->switched)
		return;
	GetUserIdAndSecContext(&saved->userid, &saved->context);
	SetUserIdAndSecContext(target->other_owner,
						   saved->context | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_LOCAL_USERID_CHANGE);
}

void
tap_apply_leave(const TapSavedUser *saved)
{
	if (saved->switched)
		SetUserIdAndSecContext(saved->userid, saved->context);
}

static void
check_relation_kind(Relation rel)
{
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
		case RELKIND_VIEW:
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" cannot be a hub table",
							RelationGetRelationName(rel)),
					 errdetail("It is neither a table nor a view."),
					 errtable(rel)));
	}
}

/*
 * A pipeline writes with the rights of the table's owner, so its own user
 * must be able to become that.
 */
static void
check_owner(TapTarget *target)
{
	Oid			owner = target->rel->rd_rel->relowner;

	target->other_owner = InvalidOid;
	if (owner == GetUserId())
		return;
	if (!tap_compat_can_set_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("hub table \"%s\" belongs to role \"%s\", which role \"%s\" cannot become",
						RelationGetRelationName(target->rel),
						GetUserNameFromId(owner, false),
						GetUserNameFromId(GetUserId(), false)),
				 errhint("Make the pipeline's owner a member of that role, or the owner of the table."),
				 errtable(target->rel)));
	target->other_owner = owner;
}

static void
check_privileges(Relation rel)
{
	AclMode		wanted = ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE;
	Oid			relid = RelationGetRelid(rel);

	if (pg_class_aclmask(relid, GetUserId(), wanted, ACLMASK_ALL) != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for hub table \"%s\"",
						RelationGetRelationName(rel)),
				 errhint("Grant SELECT, INSERT, UPDATE and DELETE on it to role \"%s\".",
						 GetUserNameFromId(GetUserId(), false)),
				 errtable(rel)));
}

static void
open_mapping(TapTarget *target)
{
	MemoryContext oldcontext;

	if (target->mapping_valid && target->mapping != NULL)
		return;
	forget_mapping(target);

	/*
	 * Valid from here on: an invalidation that comes while the mapping is
	 * built can only be one of the past, for the table is locked.
	 */
	target->mapping_valid = true;
	oldcontext = MemoryContextSwitchTo(target->mapping_context);
	target->mapping = tap_mapping_create(target->source, target->rel,
										 target->ignore_missing);
	MemoryContextSwitchTo(oldcontext);
}

static void
unpin_all(TapApply *apply)
{
	for (TapTarget *target = apply->open_targets; target; target = target->next_open)
	{
		if (target->pinned)
			tap_direct_unpin(target);
		target->pinned = false;
	}
	apply->npinned = 0;
}

/*
 * A target is about to read or write, and will keep pages pinned: no more of
 * them do than this process's share of the buffers allows.
 */
static void
may_pin(TapTarget *target)
{
	TapApply   *apply = target->apply;

	if (target->pinned || !target->direct)
		return;
	if (apply->npinned >= Max(NBuffers / (MaxBackends * TAP_TARGET_PINS), 1))
		unpin_all(apply);
	target->pinned = true;
	apply->npinned++;
}

/* What is waiting must have been written. */
static void
close_target(TapTarget *target)
{
	TapApply   *apply = target->apply;
	TapTarget **link = &apply->open_targets;

	if (target->direct)
		tap_direct_close(target);
	if (target->pinned)
		apply->npinned--;
	target->pinned = false;
	if (target->routing != NULL)
		tap_partition_close(target);
	table_close(target->rel, NoLock);
	target->rel = NULL;
	target->open = false;
	MemoryContextReset(target->open_context);

	while (*link != target)
		link = &(*link)->next_open;
	*link = target->next_open;
	apply->nopen--;
}

static void
flush_target(TapTarget *target)
{
	TapSavedUser saved;

	if (target->buffer.nrows == 0)
		return;
	may_pin(target);
	tap_apply_enter(target, &saved);
	target->apply->current_target = target;
	tap_insert_flush(target);
	target->apply->current_target = NULL;
	tap_apply_leave(&saved);
}

static void
flush_all(TapApply *apply)
{
	for (TapTarget *target = apply->open_targets; target; target = target->next_open)
		flush_target(target);
}

static void
close_all(TapApply *apply)
{
	flush_all(apply);
	while (apply->open_targets != NULL)
		close_target(apply->open_targets);
}

static void
report_dropped(const TapTarget *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the hub table of %s does not exist any more",
					target->source_name),
			 errhint("Call tapdata.resync() for the table, or tapdata.remove_tables().")));
}

/* By which path the target is written. */
static void
open_path(TapTarget *target)
{
	bool		row_security =
	check_enable_rls(target->relid, InvalidOid, true) == RLS_ENABLED;

	target->direct = !row_security && tap_direct_possible(target);
	if (target->direct)
		tap_direct_open(target);
	else if (!row_security && tap_partition_possible(target))
		tap_partition_open(target);
}

void
tap_apply_open_target(TapTarget *target)
{
	TapApply   *apply = target->apply;
	TapSavedUser saved;
	MemoryContext oldcontext;

	if (!apply->active)
		elog(ERROR, "tap_apply_begin() was not called");

	if (apply->nopen >= TAP_OPEN_TARGETS)
		close_all(apply);

	oldcontext = MemoryContextSwitchTo(target->open_context);
	target->direct = false;
	target->routing = NULL;
	target->rel = try_table_open(target->relid, RowExclusiveLock);
	if (target->rel == NULL)
		report_dropped(target);
	target->open = true;
	target->next_open = apply->open_targets;
	apply->open_targets = target;
	apply->nopen++;

	check_relation_kind(target->rel);
	check_owner(target);
	tap_apply_enter(target, &saved);
	check_privileges(target->rel);
	open_mapping(target);
	target->identity_checked = false;
	open_path(target);
	tap_apply_leave(&saved);
	MemoryContextSwitchTo(oldcontext);
}

void
tap_apply_forget_target(TapApply *apply, TapTarget *target)
{
	if (target->open)
	{
		flush_target(target);
		close_target(target);
	}
	tap_partition_forget(target);
	forget_mapping(target);
	apply->targets = list_delete_ptr(apply->targets, target);
	MemoryContextDelete(target->mapping_context);
	MemoryContextDelete(target->open_context);
	pfree(target->source_name);
	pfree(target);
}

void
tap_apply_begin(TapApply *apply)
{
	Assert(!apply->active && apply->open_targets == NULL);

	/* Functions of expressions, and TOAST, want an active snapshot. */
	PushActiveSnapshot(GetTransactionSnapshot());
	apply->active = true;
	apply->buffered_bytes = 0;
	apply->current_target = NULL;
}

void
tap_apply_flush(TapApply *apply)
{
	if (!apply->active)
		return;
	flush_all(apply);
	unpin_all(apply);
}

void
tap_apply_end(TapApply *apply)
{
	if (!apply->active)
		return;
	close_all(apply);
	PopActiveSnapshot();
	apply->active = false;
}

void
tap_apply_abort(TapApply *apply)
{
	/* Relations, scans, pins and the snapshot went with the transaction. */
	while (apply->open_targets != NULL)
	{
		TapTarget  *target = apply->open_targets;

		apply->open_targets = target->next_open;
		target->open = false;
		target->rel = NULL;
		target->pinned = false;
		memset(&target->buffer, 0, sizeof(TapInsertBuffer));
		MemoryContextReset(target->open_context);
	}
	apply->active = false;
	apply->nopen = 0;
	apply->npinned = 0;
	apply->buffered_bytes = 0;
	apply->buffer_slots = 0;
	apply->current_target = NULL;
	apply->current_slot = NULL;
	MemoryContextReset(apply->row_context);
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

static void
truncate_target(TapTarget *target)
{
	TapSavedUser saved;

	if (!target->open)
		tap_apply_open_target(target);
	close_all(target->apply);	/* TRUNCATE refuses a table that is in use */
	tap_apply_enter(target, &saved);
	tap_hubtable_truncate(target->relid);
	tap_apply_leave(&saved);
}

/* Many tables that take turns must not keep room for many rows each. */
static void
free_buffers(TapApply *apply)
{
	for (TapTarget *target = apply->open_targets; target; target = target->next_open)
	{
		if (target->direct)
			tap_insert_close(target);
	}
}

/*
 * The target itself, or the partition that a row goes to.  image: with the
 * row's key; NULL: there is no single partition.
 */
static TapTarget *
route(TapTarget *target, const TapRowImage *image)
{
	TapTarget  *leaf;

	if (!target->open)
		tap_apply_open_target(target);
	if (target->routing == NULL || image == NULL)
		return target;
	leaf = tap_partition_leaf(target, image);
	if (leaf != NULL)
		return leaf;
	if (!target->open)
		tap_apply_open_target(target);
	return target;
}

/* Before a change: bound what waits and what is pinned; SQL gets to see all. */
static void
prepare_change(TapTarget *target)
{
	TapApply   *apply = target->apply;

	if (!target->direct)
		flush_all(apply);		/* SQL may look at any hub table */
	else if (apply->buffered_bytes > TAP_INSERT_TOTAL_BYTES ||
			 apply->buffer_slots > TAP_INSERT_TOTAL_ROWS)
	{
		flush_all(apply);
		free_buffers(apply);
	}
	may_pin(target);
}

static void
get_all_attributes(const TapRowImage *image)
{
	if (image->slot != NULL)
		slot_getallattrs(image->slot);
}

static void
change_target(TapTarget *target, const TapEvent *event, TapApplyMode mode)
{
	TapApply   *apply = target->apply;
	TapTarget  *root = target;
	const TapRowImage *key;
	TapSavedUser saved;

	get_all_attributes(&event->old_row);
	get_all_attributes(&event->new_row);
	if (!target->open)
		tap_apply_open_target(target);
	key = tap_apply_key_image(target, event);
	target = route(target, event->change == TAP_CHANGE_UPDATE &&
				   tap_apply_key_changed(target, event) ? NULL : key);
	prepare_change(target);

	apply->mode = mode;
	apply->found = TAP_APPLY_FOUND_ALL;
	apply->current_target = target;
	apply->current_slot = key->slot;
	apply->current_is_hub = false;

	tap_apply_enter(target, &saved);
	if (target->direct)
		tap_direct_change(target, event, mode);
	else
		tap_sql_change(target, event, mode);
	tap_apply_leave(&saved);
	if (mode == TAP_APPLY_CATCHUP && root->moved != NULL && root->source->nkeys > 0)
		tap_moved_note(root->moved, root, event, apply->found);
}

/*
 * Let the WAL writer begin with what a long transaction has logged: else all
 * of it is written and flushed at the commit, which waits for that.
 */
static void
hand_over_wal(TapApply *apply)
{
	apply->wal_handed_over = XactLastRecEnd;
	XLogSetAsyncXactLSN(XactLastRecEnd);
}

void
tap_apply_change(TapApply *apply, TapTarget *target, const TapEvent *event,
				 TapApplyMode mode)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(apply->row_context);

	if (event->change == TAP_CHANGE_TRUNCATE)
		truncate_target(target);
	else
		change_target(target, event, mode);
	if (XactLastRecEnd > apply->wal_handed_over + TAP_WAL_HAND_OVER_BYTES)
		hand_over_wal(apply);

	apply->current_target = NULL;
	apply->current_slot = NULL;
	MemoryContextSwitchTo(oldcontext);
	MemoryContextReset(apply->row_context);
}

void
tap_apply_store(TapTarget *target, TupleTableSlot *slot)
{
	TapApply   *apply = target->apply;
	TapRowImage image = {.slot = slot};
	TapSavedUser saved;

	target = route(target, &image);
	prepare_change(target);

	apply->current_target = target;
	apply->current_slot = slot;
	apply->current_is_hub = false;

	tap_apply_enter(target, &saved);
	if (target->direct)
	{
		tap_direct_build_insert(target, &image);
		tap_insert_add(target);
	}
	else
		tap_sql_insert(target, &image);
	tap_apply_leave(&saved);

	apply->current_target = NULL;
	apply->current_slot = NULL;
}
