/*-------------------------------------------------------------------------
 *
 * src/commands_source.c
 *	  SQL functions that act on what a pull pipeline has at its source.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "commands.h"
#include "compat.h"
#include "hubtable_private.h"
#include "mapping.h"

PG_FUNCTION_INFO_V1(tap_command_sync_sequences);

/* ---------------------------------------------------------------------
 * Leaving a source
 * ---------------------------------------------------------------------
 */

/* In a subtransaction, whose errors become warnings. */
static void
forget(const TapPipelineRow *row, const TapConnectionRow *connection)
{
	TapOpenSession *session = tap_session_open(connection, row, TAP_PURPOSE_DISCOVER);

	PG_TRY();
	{
		session->source->forget(session->session, true);
	}
	PG_FINALLY();
	{
		tap_session_close(session);
	}
	PG_END_TRY();
}

void
tap_commands_forget_source(const TapPipelineRow *row)
{
	TapConnectionRow *connection = tap_catalog_connection_by_id(row->connection);
	const TapConnector *connector = tap_connector_find(connection->connector);
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	if (connector == NULL || connector->source == NULL || connector->source->forget == NULL)
		return;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		forget(row, connection);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();

		/* the command was cancelled, not refused by the source */
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(edata);
		ereport(WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("what pipeline \"%s\" has made at its source could not be removed: %s",
						row->name, edata->message),
				 errhint("Remove it there by hand, above all replication slots: they keep the source's log.")));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/* ---------------------------------------------------------------------
 * Sequences
 * ---------------------------------------------------------------------
 */

static FormData_pg_sequence
sequence_form(Oid sequence)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	FormData_pg_sequence form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	form = *(Form_pg_sequence) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);
	return form;
}

/* A sequence that the column's default names; it may serve others, too. */
static Oid
default_sequence(Oid relid, AttrNumber column)
{
	Oid			default_oid = GetAttrDefaultOid(relid, column);
	Oid			sequence = InvalidOid;
	Relation	depends;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(default_oid))
		return InvalidOid;
	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(AttrDefaultRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(default_oid));
	depends = table_open(DependRelationId, AccessShareLock);
	scan = systable_beginscan(depends, DependDependerIndexId, true, NULL, 2, keys);
	while (!OidIsValid(sequence) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->refclassid == RelationRelationId &&
			get_rel_relkind(depend->refobjid) == RELKIND_SEQUENCE)
			sequence = depend->refobjid;
	}
	systable_endscan(scan);
	table_close(depends, AccessShareLock);
	return sequence;
}

/*
 * The sequence that fills a hub column: of an identity, owned, or of its
 * default; else none.  One of a default may count for others, too.
 */
static Oid
column_sequence(Oid relid, AttrNumber column, bool *may_be_shared)
{
	List	   *sequences = getOwnedSequences(relid);
	ListCell   *cell;

	*may_be_shared = false;
	foreach(cell, sequences)
	{
		Oid			table;
		int32		of_column;

		if ((sequenceIsOwned(lfirst_oid(cell), DEPENDENCY_INTERNAL, &table, &of_column) ||
			 sequenceIsOwned(lfirst_oid(cell), DEPENDENCY_AUTO, &table, &of_column)) &&
			table == relid && of_column == column)
			return lfirst_oid(cell);
	}
	*may_be_shared = true;
	return default_sequence(relid, column);
}

/* Whether a sequence has counted further than that already. */
static bool
is_beyond(Oid sequence, int64 value)
{
	LOCAL_FCINFO(fcinfo, 1);
	int64		increment = sequence_form(sequence).seqincrement;
	int64		last;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(sequence);
	fcinfo->args[0].isnull = false;
	last = DatumGetInt64(pg_sequence_last_value(fcinfo));
	return !fcinfo->isnull && (increment > 0 ? last > value : last < value);
}

static int64
within(int64 value, int64 low, int64 high)
{
	return value < low ? low : value > high ? high : value;
}

/* What a sequence of an integer type can count to. */
static int64
highest_of(Oid type)
{
	return type == INT2OID ? PG_INT16_MAX : type == INT4OID ? PG_INT32_MAX : PG_INT64_MAX;
}

static int64
lowest_of(Oid type)
{
	return -highest_of(type) - 1;
}

/*
 * The hub column becomes one that gives out numbers, as at the source.  There
 * a sequence may count further than its column can hold.
 */
static Oid
make_identity(Oid relid, AttrNumber column, const TapSourceSequence *source,
			  bool *may_be_shared)
{
	Oid			type = get_atttype(relid, column);
	const char *table = tap_hubtable_name(relid);
	const char *name = quote_identifier(source->column);
	int64		low = within(source->minimum, lowest_of(type), highest_of(type));
	int64		high = within(source->maximum, lowest_of(type), highest_of(type));

	if (type != INT2OID && type != INT4OID && type != INT8OID)
	{
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of hub table %s is filled by a sequence at the source, but not here",
						source->column, table),
				 errdetail("Its type is %s, which no identity column can have.", format_type_be(type)),
				 errhint("Make a sequence and a default that uses it, and call this function again.")));
		return InvalidOid;
	}
	tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", table, name));
	tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s ADD GENERATED BY DEFAULT AS IDENTITY (INCREMENT BY " INT64_FORMAT
							  " MINVALUE " INT64_FORMAT " MAXVALUE " INT64_FORMAT " START WITH " INT64_FORMAT " %sCYCLE)",
							  table, name, source->increment, low, high, within(source->start, low, high),
							  source->cycles ? "" : "NO "));
	return column_sequence(relid, column, may_be_shared);
}

/* One that was there keeps what it is, but must be able to stand where the source's does. */
static void
make_room(Oid sequence, int64 value)
{
	FormData_pg_sequence form = sequence_form(sequence);

	if (value >= form.seqmin && value <= form.seqmax)
		return;
	if (value < lowest_of(form.seqtypid) || value > highest_of(form.seqtypid))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("sequence \"%s\" cannot stand at " INT64_FORMAT ", where the source's does",
						get_rel_name(sequence), value),
				 errdetail("Its type is %s.", format_type_be(form.seqtypid)),
				 errhint("Give it a larger one: ALTER SEQUENCE %s AS bigint;", tap_hubtable_name(sequence))));
	tap_hubtable_run(psprintf("ALTER SEQUENCE %s MINVALUE " INT64_FORMAT " MAXVALUE " INT64_FORMAT,
							  tap_hubtable_name(sequence), Min(value, form.seqmin), Max(value, form.seqmax)));
}

static void
set_sequence(Oid sequence, Oid column_type, const TapSourceSequence *source)
{
	int64		value = within(source->last_value, lowest_of(column_type), highest_of(column_type));

	make_room(sequence, value);
	DirectFunctionCall3(setval3_oid, ObjectIdGetDatum(sequence), Int64GetDatum(value),
						BoolGetDatum(!source->is_next));
}

static TapTableRow *
table_of(List *tables, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapTableRow *row = lfirst(cell);

		if (strcmp(tap_table_name_text(&row->source), tap_table_name_text(name)) == 0)
			return row;
	}
	return NULL;
}

/* Bring one sequence of the hub to where the source's stands; a result row. */
static void
sync_sequence(ReturnSetInfo *result, const TapTableRow *table,
			  const TapSourceSequence *source)
{
	Oid			relid = table->hub_table;
	AttrNumber	column;
	Oid			sequence;
	bool		may_be_shared;
	Datum		values[4];
	bool		nulls[4] = {false};
	NameData	column_name;

	if (get_rel_name(relid) == NULL)
		return;
	column = get_attnum(relid, source->column);
	if (column == InvalidAttrNumber)
		return;
	sequence = column_sequence(relid, column, &may_be_shared);
	if (!OidIsValid(sequence))
		sequence = make_identity(relid, column, source, &may_be_shared);
	if (!OidIsValid(sequence) || (may_be_shared && is_beyond(sequence, source->last_value)))
		return;
	set_sequence(sequence, get_atttype(relid, column), source);

	namestrcpy(&column_name, source->column);
	values[0] = ObjectIdGetDatum(relid);
	values[1] = NameGetDatum(&column_name);
	values[2] = ObjectIdGetDatum(sequence);
	values[3] = Int64GetDatum(source->last_value);
	nulls[3] = source->is_next;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static List *
source_names(List *tables)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, tables)
		names = lappend(names, &((TapTableRow *) lfirst(cell))->source);
	return names;
}

/* What the source says; the session is closed again. */
static List *
ask_sequences(const TapPipelineRow *row, const TapConnectionRow *connection, List *names)
{
	TapOpenSession *session = tap_session_open(connection, row, TAP_PURPOSE_DISCOVER);
	List	   *volatile sequences = NIL;

	PG_TRY();
	{
		sequences = session->source->list_sequences(session->session, names);
	}
	PG_FINALLY();
	{
		tap_session_close(session);
	}
	PG_END_TRY();
	return sequences;
}

Datum
tap_command_sync_sequences(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	TapPipelineRow *row = tap_catalog_pipeline_owned(name);
	TapConnectionRow *connection = tap_catalog_connection_by_id(row->connection);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *tables;
	ListCell   *cell;

	PreventCommandIfReadOnly("tapdata.sync_sequences()");
	InitMaterializedSRF(fcinfo, 0);
	if (row->direction != TAP_PULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("pipeline \"%s\" is not a pull pipeline", name)));
	tap_check_is_source(connection);
	if (tap_connector_load(connection->connector)->source->list_sequences == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("connector \"%s\" of connection \"%s\" knows no sequences",
						connection->connector, connection->name)));
	tables = tap_catalog_tables(row->id);
	foreach(cell, ask_sequences(row, connection, source_names(tables)))
	{
		TapSourceSequence *sequence = lfirst(cell);
		TapTableRow *table = table_of(tables, &sequence->table);

		if (table != NULL)
			sync_sequence(result, table, sequence);
	}
	return (Datum) 0;
}
