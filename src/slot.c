/*-------------------------------------------------------------------------
 *
 * src/slot.c
 *	  The replication slots of publish pipelines.
 *
 * NOTES
 *	  A server whose output_plugin_libraries does not name our plugin refuses
 *	  to use it.  Where tapdata.allow_output_plugin is on, our workers add it
 *	  for themselves alone: the plugin takes no other caller.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogutils.h"
#include "compat.h"
#include "decode_private.h"
#include "guc.h"
#include "miscadmin.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "replication/snapbuild.h"
#include "slot.h"
#include "slot_private.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#define PLUGIN_NAME			"tapdata"
#define PLUGIN_SETTING		"output_plugin_libraries"

char *
tap_slot_name(int32 pipeline)
{
	return psprintf("tapdata_%u_%d", MyDatabaseId, pipeline);
}

/* ---------------------------------------------------------------------
 * What the server allows
 * ---------------------------------------------------------------------
 */

/* Whether the server lets our output plugin be used as it is. */
static bool
plugin_is_allowed(void)
{
	const char *setting = GetConfigOption(PLUGIN_SETTING, true, false);
	List	   *names = NIL;
	ListCell   *cell;
	bool		allowed = false;

	/* Servers without the setting allow all. */
	if (setting == NULL)
		return true;
	if (!SplitIdentifierString(pstrdup(setting), ',', &names))
		return false;
	foreach(cell, names)
		allowed = allowed || strcmp(lfirst(cell), PLUGIN_NAME) == 0;
	return allowed;
}

static void
check_plugin(void)
{
	if (!plugin_is_allowed() && !tap_guc_allow_output_plugin)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("output plugin \"%s\" is not allowed on this server",
						PLUGIN_NAME),
				 errhint("Add %s to %s, or set tapdata.allow_output_plugin = on.",
						 PLUGIN_NAME, PLUGIN_SETTING)));
}

/* Let this process use the plugin, if the server's settings do not. */
static void
allow_plugin(void)
{
	const char *setting;

	check_plugin();
	if (plugin_is_allowed())
		return;
	setting = GetConfigOption(PLUGIN_SETTING, false, false);
	SetConfigOption(PLUGIN_SETTING,
					setting[0] != '\0' ? psprintf("%s, %s", setting, PLUGIN_NAME) :
					PLUGIN_NAME, PGC_SUSET, PGC_S_OVERRIDE);
}

/* How many replication slots could still be made. */
static int
free_slots(void)
{
	int			result = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		if (!ReplicationSlotCtl->replication_slots[i].in_use)
			result++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return result;
}

void
tap_slot_check_server(void)
{
	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("publishing needs wal_level = logical"),
				 errhint("Set wal_level = logical in postgresql.conf and restart the server.")));
	if (free_slots() == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("all replication slots are in use"),
				 errdetail("A publish pipeline needs one, and another one while it copies tables that were added."),
				 errhint("Drop one that is not needed, or raise max_replication_slots and restart the server.")));
	check_plugin();
}

/* ---------------------------------------------------------------------
 * Looking
 * ---------------------------------------------------------------------
 */

/* Copy what is kept of a slot of that name; false: there is none. */
static bool
read_slot(const char *name, ReplicationSlotPersistentData *data)
{
	bool		found = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && !found; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use || strcmp(NameStr(slot->data.name), name) != 0)
			continue;
		SpinLockAcquire(&slot->mutex);
		*data = slot->data;
		SpinLockRelease(&slot->mutex);
		found = true;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

/*
 * Whether slot data can be decoded from; else *reason is set, palloc'd.
 */
static bool
is_usable(const ReplicationSlotPersistentData *data, char **reason)
{
	const char *cause = tap_compat_slot_invalidation(data);

	if (cause == NULL && !XLogRecPtrIsInvalid(data->restart_lsn))
		return true;
	if (cause == NULL)
		cause = "wal_removed";
	if (reason == NULL)
		return false;
	if (strcmp(cause, "wal_removed") == 0)
		*reason = pstrdup("WAL that it needs was removed, as max_slot_wal_keep_size allows");
	else
		*reason = psprintf("it was invalidated by the server: %s", cause);
	return false;
}

TapSlotState
tap_slot_state(int32 pipeline, XLogRecPtr *confirmed, XLogRecPtr *restart,
			   char **reason)
{
	ReplicationSlotPersistentData data;

	if (!read_slot(tap_slot_name(pipeline), &data))
		return TAP_SLOT_MISSING;
	if (confirmed != NULL)
		*confirmed = data.confirmed_flush;
	if (restart != NULL)
		*restart = data.restart_lsn;
	return is_usable(&data, reason) ? TAP_SLOT_USABLE : TAP_SLOT_INVALIDATED;
}

void
tap_slot_acquire(int32 pipeline)
{
	char	   *name = tap_slot_name(pipeline);
	char	   *reason = NULL;

	allow_plugin();
	CheckLogicalDecodingRequirements();
	tap_compat_slot_acquire(name);
	if (!is_usable(&MyReplicationSlot->data, &reason))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" can no longer be used", name),
				 errdetail("%s.", reason),
				 errhint("Copy the tables again with tapdata.resync().")));
}

/* ---------------------------------------------------------------------
 * Making and dropping
 * ---------------------------------------------------------------------
 */

/*
 * Have the current transaction see what was committed before the point that
 * the new slot of this process begins at.
 */
static XLogRecPtr
take_snapshot(void)
{
	LogicalDecodingContext *logical;
	XLogRecPtr	point;

	tap_decode_plugin_allowed = true;
	logical = CreateInitDecodingContext(PLUGIN_NAME, NIL, true, InvalidXLogRecPtr,
										XL_ROUTINE(.page_read = read_local_xlog_page,
												   .segment_open = wal_segment_open,
												   .segment_close = wal_segment_close),
										NULL, NULL, NULL);
	tap_decode_plugin_allowed = false;
	DecodingContextFindStartpoint(logical);

	/* A look into the catalogs would count as a snapshot of ours. */
	InvalidateCatalogSnapshot();
	RestoreTransactionSnapshot(SnapBuildInitialSnapshot(logical->snapshot_builder),
							   MyProc);
	point = MyReplicationSlot->data.confirmed_flush;
	FreeDecodingContext(logical);
	return point;
}

XLogRecPtr
tap_slot_create_snapshot(int32 pipeline, bool temporary, bool failover)
{
	char	   *name = tap_slot_name(pipeline);
	XLogRecPtr	point;

	if (temporary)
		name = psprintf("%s_copy", name);
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	tap_slot_check_server();
	allow_plugin();
	CheckLogicalDecodingRequirements();

	/* An ephemeral slot is dropped when it is released, or after an error. */
	tap_compat_slot_create(name, RS_EPHEMERAL, failover && !temporary);
	point = take_snapshot();
	if (!temporary)
		ReplicationSlotPersist();
	ReplicationSlotRelease();
	return point;
}

void
tap_slot_drop(int32 pipeline)
{
	ReplicationSlotPersistentData data;
	char	   *name = tap_slot_name(pipeline);

	if (read_slot(name, &data))
		ReplicationSlotDrop(name, true);
}

/* The pipeline a slot of this database was made for; 0: it is none of ours. */
static int32
slot_pipeline(const ReplicationSlotPersistentData *data)
{
	unsigned int database;
	int			pipeline;
	char		rest;

	if (data->database != MyDatabaseId || data->persistency != RS_PERSISTENT ||
		strcmp(NameStr(data->plugin), PLUGIN_NAME) != 0 ||
		sscanf(NameStr(data->name), "tapdata_%u_%d%c", &database, &pipeline,
			   &rest) != 2 || database != MyDatabaseId)
		return 0;
	return pipeline;
}

/* List of int32: pipelines of this database that have a slot. */
static List *
pipelines_with_slots(void)
{
	List	   *result = NIL;
	int32	   *found = palloc(sizeof(int32) * Max(max_replication_slots, 1));
	int			nfound = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		ReplicationSlotPersistentData data;

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		data = slot->data;
		SpinLockRelease(&slot->mutex);
		found[nfound] = slot_pipeline(&data);
		if (found[nfound] != 0)
			nfound++;
	}
	LWLockRelease(ReplicationSlotControlLock);

	for (int i = 0; i < nfound; i++)
		result = lappend_int(result, found[i]);
	pfree(found);
	return result;
}

/* Drop a slot; false: it is in use, or gone meanwhile. */
static bool
try_drop(int32 pipeline)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool dropped = false;

	PG_TRY();
	{
		tap_slot_drop(pipeline);
		dropped = true;
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (code != ERRCODE_OBJECT_IN_USE && code != ERRCODE_UNDEFINED_OBJECT)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
	return dropped;
}

bool
tap_slot_sweep(List *pipelines)
{
	bool		all = true;
	ListCell   *cell;

	foreach(cell, pipelines_with_slots())
	{
		int32		pipeline = lfirst_int(cell);

		if (!list_member_int(pipelines, pipeline) && !try_drop(pipeline))
			all = false;
	}
	return all;
}
