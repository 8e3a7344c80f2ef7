/*-------------------------------------------------------------------------
 *
 * src/compat.h
 *	  Differences between the versions of PostgreSQL, all of them.
 *
 * Wrappers have names of their own (tap_compat_*), so that a reader can trust
 * a call of a PostgreSQL function to be just that.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COMPAT_H
#define TAPDATA_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "replication/message.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 200000
#error "tapdata needs PostgreSQL 15 to 19"
#endif

/*
 * The number of a named wait event; before 17 extensions share one that has
 * no name.  Looked up at each call: not for hot paths.
 */
static inline uint32
tap_compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* Ownership checks; one function for all kinds of object since 16. */
static inline bool
tap_compat_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

static inline bool
tap_compat_owns_extension(Oid extension, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, role);
#else
	return pg_extension_ownercheck(extension, role);
#endif
}

/* Since 17 a worker can connect as a role without LOGIN. */
#if PG_VERSION_NUM >= 170000
#define TAP_COMPAT_CONNECT_FLAGS	BGWORKER_BYPASS_ROLELOGINCHECK
#define TAP_COMPAT_OWNER_HINT		"The owner of a pipeline must exist."
#else
#define TAP_COMPAT_CONNECT_FLAGS	0
#define TAP_COMPAT_OWNER_HINT		"The owner of a pipeline must exist and, before PostgreSQL 17, have LOGIN."
#endif

/* ----------------
 * Roles
 * ----------------
 */

/* Whether the member could SET ROLE to the other. */
static inline bool
tap_compat_can_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

static inline bool
tap_compat_can_use_schema(Oid schema, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/* ----------------
 * Table and index access
 * ----------------
 */

/* Which indexes need a new entry after an update. */
typedef enum TapIndexUpdate
{
	TAP_INDEX_UPDATE_NONE,
	TAP_INDEX_UPDATE_ALL,
	TAP_INDEX_UPDATE_SUMMARIZING	/* BRIN and its like only; 16 and later */
} TapIndexUpdate;

static inline TM_Result
tap_compat_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot,
						CommandId cid, Snapshot snapshot,
						TM_FailureData *failure, TapIndexUpdate *indexes)
{
	LockTupleMode lockmode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update = TU_None;
#else
	bool		update = false;
#endif

#if PG_VERSION_NUM >= 190000
	result = table_tuple_update(rel, tid, slot, cid, 0, snapshot,
								InvalidSnapshot, true, failure, &lockmode,
								&update);
#else
	result = table_tuple_update(rel, tid, slot, cid, snapshot,
								InvalidSnapshot, true, failure, &lockmode,
								&update);
#endif
#if PG_VERSION_NUM >= 160000
	*indexes = update == TU_All ? TAP_INDEX_UPDATE_ALL :
		update == TU_Summarizing ? TAP_INDEX_UPDATE_SUMMARIZING :
		TAP_INDEX_UPDATE_NONE;
#else
	*indexes = update ? TAP_INDEX_UPDATE_ALL : TAP_INDEX_UPDATE_NONE;
#endif
	return result;
}

static inline TM_Result
tap_compat_tuple_delete(Relation rel, ItemPointer tid, CommandId cid,
						Snapshot snapshot, TM_FailureData *failure)
{
#if PG_VERSION_NUM >= 190000
	return table_tuple_delete(rel, tid, cid, 0, snapshot, InvalidSnapshot,
							  true, failure);
#else
	return table_tuple_delete(rel, tid, cid, snapshot, InvalidSnapshot, true,
							  failure, false);
#endif
}

static inline List *
tap_compat_insert_index_tuples(ResultRelInfo *result, EState *estate,
							   TupleTableSlot *slot, TapIndexUpdate indexes,
							   bool update)
{
#if PG_VERSION_NUM >= 190000
	uint32		flags = (update ? EIIT_IS_UPDATE : 0) |
	(indexes == TAP_INDEX_UPDATE_SUMMARIZING ? EIIT_ONLY_SUMMARIZING : 0);

	return ExecInsertIndexTuples(result, estate, flags, slot, NIL, NULL);
#elif PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(result, slot, estate, update, false, NULL,
								 NIL, indexes == TAP_INDEX_UPDATE_SUMMARIZING);
#else
	(void) indexes;
	return ExecInsertIndexTuples(result, slot, estate, update, false, NULL,
								 NIL);
#endif
}

static inline IndexScanDesc
tap_compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot,
						   int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0, 0);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/* A pipeline's owner must have LOGIN where that cannot be bypassed. */
#define TAP_COMPAT_OWNER_NEEDS_LOGIN	(PG_VERSION_NUM < 170000)

/* Since 16 one origin can be shared by processes; we do not. */
#if PG_VERSION_NUM >= 160000
#define tap_compat_replorigin_session_setup(origin) \
	replorigin_session_setup((origin), 0)
#else
#define tap_compat_replorigin_session_setup(origin) \
	replorigin_session_setup(origin)
#endif

/* Slots that are synchronized to standbys. */
#define TAP_COMPAT_HAS_FAILOVER_SLOTS	(PG_VERSION_NUM >= 170000)

/* ----------------
 * WAL
 * ----------------
 */

/* Log a message that is no part of the transaction; returns where it ends. */
static inline XLogRecPtr
tap_compat_log_message(const char *prefix, const char *message, Size bytes)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, message, bytes, false, false);
#else
	return LogLogicalMessage(prefix, message, bytes, false);
#endif
}

/* ----------------
 * Logical decoding
 * ----------------
 */

/* A tuple of a decoded change, as a HeapTuple; NULL: none. */
#if PG_VERSION_NUM >= 170000
#define tap_compat_changed_tuple(decoded) (decoded)
#else
#define tap_compat_changed_tuple(decoded) ((decoded) != NULL ? &(decoded)->tuple : NULL)
#endif

/* Create a logical slot; failover is of no effect before 17. */
static inline void
tap_compat_slot_create(const char *name, ReplicationSlotPersistency persistency,
					   bool failover)
{
#if PG_VERSION_NUM >= 190000
	ReplicationSlotCreate(name, true, persistency, false, false, failover, false);
#elif PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, true, persistency, false, failover, false);
#else
	(void) failover;
	ReplicationSlotCreate(name, true, persistency, false);
#endif
}

/* Acquire a slot without waiting; one that was invalidated too. */
static inline void
tap_compat_slot_acquire(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, true, false);
#else
	ReplicationSlotAcquire(name, true);
#endif
}

/* Why a slot was invalidated, a constant; NULL: it was not. */
static inline const char *
tap_compat_slot_invalidation(const ReplicationSlotPersistentData *data)
{
#if PG_VERSION_NUM >= 180000
	return data->invalidated == RS_INVAL_NONE ? NULL :
		GetSlotInvalidationCauseName(data->invalidated);
#elif PG_VERSION_NUM >= 170000
	return data->invalidated == RS_INVAL_NONE ? NULL :
		SlotInvalidationCauses[data->invalidated];
#elif PG_VERSION_NUM >= 160000
	switch (data->invalidated)
	{
		case RS_INVAL_NONE:
			return NULL;
		case RS_INVAL_WAL_REMOVED:
			return "wal_removed";
		case RS_INVAL_HORIZON:
			return "rows_removed";
		case RS_INVAL_WAL_LEVEL:
			return "wal_level_insufficient";
	}
	return "invalidated";
#else
	return data->invalidated_at == InvalidXLogRecPtr ? NULL : "wal_removed";
#endif
}

/*
 * Whether a slot is one with failover, whose changes are not to be handed out
 * before the standbys of synchronized_standby_slots have them; and whether
 * they have WAL up to lsn.
 */
static inline bool
tap_compat_waits_for_standbys(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 170000
	return slot->data.failover;
#else
	(void) slot;
	return false;
#endif
}

static inline bool
tap_compat_standbys_have(XLogRecPtr lsn)
{
#if PG_VERSION_NUM >= 170000
	return StandbySlotsHaveCaughtup(lsn, DEBUG1);
#else
	(void) lsn;
	return true;
#endif
}

/* Whether a column has no stored values; since 18. */
static inline bool
tap_compat_is_virtual(Form_pg_attribute attribute)
{
#if PG_VERSION_NUM >= 180000
	return attribute->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
#else
	(void) attribute;
	return false;
#endif
}

/* Set attnotnull of a descriptor that nobody uses yet; i is from 0. */
static inline void
tap_compat_set_not_null(TupleDesc descriptor, int i, bool not_null)
{
	TupleDescAttr(descriptor, i)->attnotnull = not_null;
#if PG_VERSION_NUM >= 180000
	populate_compact_attribute(descriptor, i);
#endif
}

#endif							/* TAPDATA_COMPAT_H */
