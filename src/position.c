/*-------------------------------------------------------------------------
 *
 * src/position.c
 *	  Where a pipeline stands, updated with the rows it covers.
 *
 * NOTES
 *	  The row of tapdata.position has one writer, the pipeline's worker, and is
 *	  written in each hub transaction; so it is changed without SPI, found
 *	  under SnapshotSelf, which needs no look at other processes.
 *
 *	  Replication origins only mark WAL.  A process can own an origin only
 *	  while one of the server's slots for them is free, and, before PostgreSQL
 *	  16, only alone.  Where that fails, rows are marked with the one origin
 *	  that stands for "replicated, by whomever" and needs no slot.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "position.h"

/* The columns of tapdata.position. */
enum
{
	POSITION_PIPELINE = 1,
	POSITION_POSITION,
	POSITION_UPDATED_AT,
	POSITION_COLUMNS = POSITION_UPDATED_AT
};

static SysScanDesc
begin_scan(Relation relation, int32 pipeline, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, POSITION_PIPELINE, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(pipeline));
	return systable_beginscan(relation, tap_catalog_relid("position_pkey"), true, snapshot,
							  1, &key);
}

char *
tap_position_read(int32 pipeline)
{
	Relation	relation = table_open(tap_catalog_relid("position"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = begin_scan(relation, pipeline, snapshot);
	HeapTuple	tuple = systable_getnext(scan);
	char	   *result = NULL;

	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, POSITION_POSITION,
										 RelationGetDescr(relation), &isnull);

		result = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return result;
}

void
tap_position_write(int32 pipeline, const char *position)
{
	Relation	relation = table_open(tap_catalog_relid("position"), RowExclusiveLock);
	SysScanDesc scan = begin_scan(relation, pipeline, SnapshotSelf);
	HeapTuple	before = systable_getnext(scan);
	HeapTuple	after;
	Datum		values[POSITION_COLUMNS];
	bool		nulls[POSITION_COLUMNS] = {false};

	values[POSITION_PIPELINE - 1] = Int32GetDatum(pipeline);
	values[POSITION_POSITION - 1] = CStringGetTextDatum(position);
	values[POSITION_UPDATED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	after = heap_form_tuple(RelationGetDescr(relation), values, nulls);

	/* a second write in one command would not see the first */
	CommandCounterIncrement();
	if (HeapTupleIsValid(before))
		CatalogTupleUpdate(relation, &before->t_self, after);
	else
		CatalogTupleInsert(relation, after);

	systable_endscan(scan);
	heap_freetuple(after);
	pfree(DatumGetPointer(values[POSITION_POSITION - 1]));
	table_close(relation, RowExclusiveLock);
}

/* ---------------------------------------------------------------------
 * Replication origins
 * ---------------------------------------------------------------------
 */

char *
tap_position_origin_name(int32 pipeline)
{
	return psprintf("tapdata_%u_%d", MyDatabaseId, pipeline);
}

/*
 * Try to own the origin's state for this process; false when it cannot be
 * had.  In a subtransaction, whose end releases the locks that an error of
 * replorigin_session_setup() leaves behind.
 */
static bool
try_session_setup(RepOriginId origin)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		tap_compat_replorigin_session_setup(origin);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (edata->sqlerrcode != ERRCODE_OBJECT_IN_USE &&
			edata->sqlerrcode != ERRCODE_CONFIGURATION_LIMIT_EXCEEDED)
			ReThrowError(edata);
		ereport(DEBUG1,
				(errmsg_internal("rows are marked without a replication origin of their own: %s",
								 edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

void
tap_position_setup_origin(int32 pipeline)
{
	char	   *name = tap_position_origin_name(pipeline);
	RepOriginId origin;

	if (replorigin_session_origin != InvalidRepOriginId)
		return;
	origin = replorigin_by_name(name, true);
	if (origin == InvalidRepOriginId)
		origin = replorigin_create(name);
	if (!try_session_setup(origin))
		origin = DoNotReplicateId;
	replorigin_session_origin = origin;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

void
tap_position_drop(int32 pipeline)
{
	replorigin_drop_by_name(tap_position_origin_name(pipeline), true, false);
	tap_position_forget(pipeline);
}

void
tap_position_forget(int32 pipeline)
{
	Relation	relation = table_open(tap_catalog_relid("position"), RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	tuple;

	scan = begin_scan(relation, pipeline, SnapshotSelf);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(relation, &tuple->t_self);
	systable_endscan(scan);
	table_close(relation, RowExclusiveLock);
	CommandCounterIncrement();
	tap_catalog_delete_notes(pipeline);
}
