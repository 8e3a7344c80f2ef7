/*-------------------------------------------------------------------------
 *
 * src/publish_copy.c
 *	  Copies of hub tables, as of a point of WAL from which on they stream.
 *
 * NOTES
 *	  A slot gives the point and a snapshot of exactly that moment.  The first
 *	  copy makes the pipeline's own slot; tables that are added later are
 *	  copied under the snapshot of a temporary one, while the others pause, and
 *	  the decoder leaves out what was committed before their point.
 *
 *	  The states of a table:
 *
 *	  NEW		 nothing was sent
 *	  COPYING	 a copy was begun; found after a crash it begins anew, and
 *				 replaces what the target has of it
 *	  STREAMING	 start_position is the point
 *
 *	  The copy is the one place where a transaction and a snapshot are held
 *	  while the network is used: there is no other way to read one state of
 *	  the tables.  The target is told the point before the states change, so
 *	  that a target with a position has one as soon as the tables stream.
 *
 *	  A snapshot does not see what ALTER TABLE does to a table: a table that
 *	  was altered between the point and the moment when it is locked here
 *	  would be copied in a format that it did not have at the point.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "change_json.h"
#include "errors.h"
#include "hub_describe.h"
#include "options.h"
#include "publish.h"
#include "publish_private.h"
#include "slot.h"
#include "worker.h"

/* Takes the rows of a query and hands them to the sink. */
typedef struct CopyReceiver
{
	DestReceiver receiver;
	TapPublish *publish;
	TapPublishTable *table;
	TapOutChange change;		/* of the row to be sent next */
	TupleTableSlot *slots[2];	/* that row is in slots[number % 2] */
	bool		pending;		/* there is one */
} CopyReceiver;

static List *tables_to_copy(const TapPublish *publish);
static void mark_copying(TapPublish *publish, List *tables);
static XLogRecPtr copy_tables(TapPublish *publish, List *tables, bool first);
static void lock_tables(List *tables);
static void check_unaltered(TapPublishTable *table);
static void copy_table(TapPublish *publish, TapPublishTable *table, XLogRecPtr point);
static void finish(TapPublish *publish, List *tables, XLogRecPtr point, bool first);

static bool
is_to_copy(const TapPublishTable *table)
{
	return table->row.state == TAP_TABLE_NEW || table->row.state == TAP_TABLE_COPYING;
}

bool
tap_publish_copy_needed(const TapPublish *publish)
{
	ListCell   *cell;

	foreach(cell, publish->tables)
	{
		if (is_to_copy(lfirst(cell)))
			return true;
	}
	return false;
}

static List *
tables_to_copy(const TapPublish *publish)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, publish->tables)
	{
		if (is_to_copy(lfirst(cell)))
			result = lappend(result, lfirst(cell));
	}
	return result;
}

void
tap_publish_copy(TapPublish *publish, bool first)
{
	MemoryContext context = AllocSetContextCreate(publish->context, "tapdata publish copy",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *tables;
	XLogRecPtr	point;

	tap_shmem_set_state(tap_worker_shared, TAP_STATE_SNAPSHOT);
	if (first)
	{
		/* of a first copy that did not come to its end, or before a resync */
		tap_slot_drop(publish->pipeline->id);
	}
	tables = first ? publish->tables : tables_to_copy(publish);
	if (first || publish->copy)
	{
		mark_copying(publish, tables);
		point = copy_tables(publish, tables, first);
	}
	else
		point = publish->resume;
	if (first && publish->sink->set_position != NULL)
		publish->sink->set_position(publish->session->session, point);
	finish(publish, tables, point, first);
	tap_shmem_set_state(tap_worker_shared, TAP_STATE_CATCHUP);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Before the target gets to see anything. */
static void
mark_copying(TapPublish *publish, List *tables)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	tap_worker_begin();
	foreach(cell, tables)
	{
		TapPublishTable *table = lfirst(cell);

		table->again = table->row.created;
		table->row.state = TAP_TABLE_COPYING;
		table->row.created = table->row.created || publish->copy;
		table->row.start_position = NULL;
		tap_catalog_update_table(&table->row);
	}
	tap_worker_commit();
	MemoryContextSwitchTo(old);
}

static XLogRecPtr
copy_tables(TapPublish *publish, List *tables, bool first)
{
	MemoryContext old = CurrentMemoryContext;
	XLogRecPtr	point;
	ListCell   *cell;

	StartTransactionCommand();
	point = tap_slot_create_snapshot(publish->pipeline->id, !first,
									 tap_options_bool(publish->options, "failover"));
	if (publish->copy)
	{
		MemoryContextSwitchTo(old);
		PushActiveSnapshot(GetTransactionSnapshot());
		lock_tables(tables);
		foreach(cell, tables)
			copy_table(publish, lfirst(cell), point);
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return point;
}

/* What is left of it at the target is complete now. */
static void
finish(TapPublish *publish, List *tables, XLogRecPtr point, bool first)
{
	MemoryContext old = CurrentMemoryContext;
	char	   *position = MemoryContextStrdup(publish->tables_context,
											   tap_publish_lsn_text(point));
	ListCell   *cell;

	tap_worker_begin();
	foreach(cell, tables)
	{
		TapPublishTable *table = lfirst(cell);

		table->row.state = TAP_TABLE_STREAMING;
		table->row.start_position = position;

		/* without a copy the target may be one that is still to be made */
		if (!publish->copy)
			table->row.definition = NULL;
		table->decode.start_lsn = point;
		tap_catalog_update_table(&table->row);
		tap_catalog_insert_event(publish->pipeline->name, &table->row.source, "info",
								 "snapshot done",
								 publish->copy ? "the table is copied and streams" :
								 "the table streams from here on");
	}
	if (first)
		tap_publish_position_write(publish, point);
	tap_publish_store_dead_letters();
	tap_worker_commit();
	tap_publish_forget_dead_letters();
	MemoryContextSwitchTo(old);
	if (first)
		publish->resume = publish->written = publish->durable = publish->stored = point;
}

/* ---------------------------------------------------------------------
 * One table
 * ---------------------------------------------------------------------
 */

static void
lock_tables(List *tables)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapPublishTable *table = lfirst(cell);

		LockRelationOid(table->row.hub_table, AccessShareLock);
	}
	AcceptInvalidationMessages();
	foreach(cell, tables)
		check_unaltered(lfirst(cell));
}

/* What tells one definition of a table from another, as the snapshot sees it. */
static char *
definition_versions(Oid relid, Snapshot snapshot)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	char	   *result = NULL;
	MemoryContext caller = CurrentMemoryContext;

	PushActiveSnapshot(snapshot);
	SPI_connect();
	if (SPI_execute_with_args("SELECT c.xmin::text || ' ' || "
							  "(SELECT string_agg(a.xmin::text, ' ' ORDER BY a.attnum) "
							  "FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid) "
							  "FROM pg_catalog.pg_class c WHERE c.oid = $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the definition of table %u", relid);
	if (SPI_processed > 0)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		result = text ? MemoryContextStrdup(caller, text) : NULL;
	}
	SPI_finish();
	PopActiveSnapshot();
	return result;
}

static void
check_unaltered(TapPublishTable *table)
{
	Oid			relid = table->row.hub_table;
	char	   *at_point = definition_versions(relid, GetActiveSnapshot());
	char	   *now = definition_versions(relid, GetLatestSnapshot());

	if (at_point == NULL || now == NULL || strcmp(at_point, now) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" was altered while its copy began",
						tap_table_name_text(&table->row.source))));
}

/* Rows of children of a table that is no partition are not its own. */
static char *
copy_query(TapPublishTable *table, Relation relation, const TapSourceTable *source)
{
	StringInfoData query;
	TupleDesc	descriptor = source->descriptor;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	for (int i = 0; i < descriptor->natts; i++)
		appendStringInfo(&query, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(descriptor, i)->attname)));
	appendStringInfo(&query, " FROM %s%s",
					 relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
												RelationGetRelationName(relation)));

	/* the filter may end with a comment */
	if (table->decode.filter != NULL)
		appendStringInfo(&query, " WHERE (%s\n)", table->decode.filter);
	return query.data;
}

/*
 * Under on_error = dead_letter: in a subtransaction, so that the snapshot
 * survives an error.
 */
static bool
write_carefully(CopyReceiver *copy)
{
	TapPublish *publish = copy->publish;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool full = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		full = publish->sink->write(publish->session->session, &copy->change);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (tap_error_class(edata->sqlerrcode) != TAP_ERROR_DATA)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		tap_publish_dead_letter(&copy->change.table->name,
								tap_out_change_json(&copy->change), copy->change.lsn,
								edata->sqlerrcode, edata->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return full;
}

static void
send_row(CopyReceiver *copy, bool last)
{
	TapPublish *publish = copy->publish;
	MemoryContext old = MemoryContextSwitchTo(publish->entry_context);
	bool		full;

	MemoryContextReset(publish->entry_context);
	copy->change.last = last;
	copy->change.new_row.slot = copy->slots[copy->change.number % 2];
	if (tap_publish_keeps_dead_letters)
		full = write_carefully(copy);
	else
		full = publish->sink->write(publish->session->session, &copy->change);
	if (full)
		tap_publish_flush(publish, true, false);
	copy->change.number++;
	copy->pending = false;
	pg_atomic_fetch_add_u64(&tap_worker_shared->rows_copied, 1);
	if (copy->table->shared != NULL)
		pg_atomic_fetch_add_u64(&copy->table->shared->rows_copied, 1);
	MemoryContextSwitchTo(old);
}

/* A row is sent when the next one, or the end, tells whether it is the last. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	CopyReceiver *copy = (CopyReceiver *) self;

	CHECK_FOR_INTERRUPTS();
	if (copy->pending)
		send_row(copy, false);
	ExecCopySlot(copy->slots[copy->change.number % 2], slot);
	copy->pending = true;
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
receiver_shutdown(DestReceiver *self)
{
}

static void
run_copy(TapPublish *publish, TapPublishTable *table, const TapPublishFormat *format,
		 const char *query, XLogRecPtr point)
{
	CopyReceiver copy = {
		.receiver = {
			.receiveSlot = receive_row,
			.rStartup = receiver_startup,
			.rShutdown = receiver_shutdown,
			.rDestroy = receiver_shutdown,
			/* any but DestNone and DestSPI, which SPI treats apart */
			.mydest = DestTuplestore
		},
		.publish = publish,
		.table = table,
		.change = {
			.kind = TAP_CHANGE_READ,
			.table = format->source,
			.table_data = format->data,
			.lsn = point
		}
	};
	SPIExecuteOptions options = {
		.read_only = true,
		.dest = &copy.receiver
	};

	for (int i = 0; i < lengthof(copy.slots); i++)
		copy.slots[i] = MakeSingleTupleTableSlot(format->source->descriptor, &TTSOpsVirtual);
	SPI_connect();
	if (SPI_execute_extended(query, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not read table %u", table->row.hub_table);
	if (copy.pending)
		send_row(&copy, true);
	SPI_finish();
	for (int i = 0; i < lengthof(copy.slots); i++)
		ExecDropSingleTupleTableSlot(copy.slots[i]);
}

static void
estimate_rows(TapPublishTable *table, double rows)
{
	uint64		estimated = rows > 0 ? (uint64) rows : 0;

	pg_atomic_fetch_add_u64(&tap_worker_shared->rows_estimated, estimated);
	if (table->shared == NULL)
		return;
	pg_atomic_write_u64(&table->shared->rows_estimated, estimated);
	pg_atomic_write_u64(&table->shared->rows_copied, 0);
}

static void
copy_table(TapPublish *publish, TapPublishTable *table, XLogRecPtr point)
{
	const TapSinkCallbacks *sink = publish->sink;
	TapSession *session = publish->session->session;
	Relation	relation = table_open(table->row.hub_table, NoLock);
	TapHubDescription *description = tap_hub_describe(relation, table->decode.columns,
													  &table->decode.name);
	TapPublishFormat *format = tap_publish_prepare(publish, table, description->table, NULL);
	char	   *query = copy_query(table, relation, description->table);

	estimate_rows(table, description->table->estimated_rows);
	if (sink->copy_begin != NULL)
		sink->copy_begin(session, format->source, format->data, table->again);
	run_copy(publish, table, format, query, point);
	if (sink->copy_end != NULL)
		sink->copy_end(session, format->source, format->data);
	else
		tap_publish_flush(publish, true, true);
	table_close(relation, NoLock);
}
