/*-------------------------------------------------------------------------
 *
 * src/catalog.c
 *	  Access to the catalog tables, and the rows of tapdata.connection.
 *
 * The other tables are in catalog_pipeline.c, catalog_table.c and
 * catalog_log.c.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "catalog_private.h"

#define TAP_SAFE_SEARCH_PATH	"pg_catalog"

/* ---------------------------------------------------------------------
 * Where the tables are
 * ---------------------------------------------------------------------
 */

bool
tap_catalog_exists(void)
{
	return OidIsValid(get_extension_oid("tapdata", true)) && !creating_extension;
}

Oid
tap_catalog_relid(const char *name)
{
	Oid			schema = get_namespace_oid("tapdata", true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"tapdata.%s\" does not exist", name),
				 errhint("Run CREATE EXTENSION tapdata in this database.")));
	return relid;
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* ---------------------------------------------------------------------
 * Running statements
 * ---------------------------------------------------------------------
 */

void
tap_catalog_enter(TapCatalogCall *call)
{
	Oid			owner = relation_owner(tap_catalog_relid("connection"));

	call->caller = CurrentMemoryContext;
	call->guc_level = 0;
	GetUserIdAndSecContext(&call->user, &call->security_context);
	SetUserIdAndSecContext(owner, call->security_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);

	/* workers have this path already, and come here often */
	if (strcmp(namespace_search_path, TAP_SAFE_SEARCH_PATH) != 0)
	{
		call->guc_level = NewGUCNestLevel();
		(void) set_config_option("search_path", TAP_SAFE_SEARCH_PATH, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to the SPI manager");
}

void
tap_catalog_leave(TapCatalogCall *call)
{
	SPI_finish();
	if (call->guc_level > 0)
		AtEOXact_GUC(false, call->guc_level);
	SetUserIdAndSecContext(call->user, call->security_context);
	MemoryContextSwitchTo(call->caller);
}

static uint64
run_statement(const char *sql, int nparams, TapParam *params, Snapshot snapshot)
{
	Oid		   *types = palloc(sizeof(Oid) * (nparams + 1));
	Datum	   *values = palloc(sizeof(Datum) * (nparams + 1));
	char	   *nulls = palloc(nparams + 1);
	SPIPlanPtr	plan;
	int			result;

	for (int i = 0; i < nparams; i++)
	{
		types[i] = params[i].type;
		values[i] = params[i].value;
		nulls[i] = params[i].isnull ? 'n' : ' ';
	}
	plan = SPI_prepare(sql, nparams, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare a catalog statement: %s",
			 SPI_result_code_string(SPI_result));
	result = SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot,
								  snapshot != InvalidSnapshot, true, 0);
	if (result < 0)
		elog(ERROR, "could not run a catalog statement: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

uint64
tap_catalog_write(const char *sql, int nparams, TapParam *params)
{
	return run_statement(sql, nparams, params, InvalidSnapshot);
}

uint64
tap_catalog_read(const char *sql, int nparams, TapParam *params)
{
	Snapshot	snapshot;
	uint64		rows;

	/* our own writes that did not go through SPI shall be seen, too */
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	rows = run_statement(sql, nparams, params, snapshot);
	UnregisterSnapshot(snapshot);
	return rows;
}

/* ---------------------------------------------------------------------
 * Parameters and columns
 * ---------------------------------------------------------------------
 */

static TapParam
make_param(Oid type, Datum value, bool isnull)
{
	TapParam	param = {type, value, isnull};

	return param;
}

TapParam
tap_param_int4(int32 value)
{
	return make_param(INT4OID, Int32GetDatum(value), false);
}

TapParam
tap_param_int8(int64 value)
{
	return make_param(INT8OID, Int64GetDatum(value), false);
}

TapParam
tap_param_float8(double value)
{
	return make_param(FLOAT8OID, Float8GetDatum(value), false);
}

TapParam
tap_param_bool(bool value)
{
	return make_param(BOOLOID, BoolGetDatum(value), false);
}

TapParam
tap_param_char(char value)
{
	return make_param(CHAROID, CharGetDatum(value), false);
}

TapParam
tap_param_oid(Oid value)
{
	return make_param(OIDOID, ObjectIdGetDatum(value), false);
}

TapParam
tap_param_text(const char *value)
{
	return make_param(TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

TapParam
tap_param_name(const char *value)
{
	Datum		name = (Datum) 0;

	if (value != NULL)
		name = DirectFunctionCall1(namein, CStringGetDatum(value));
	return make_param(NAMEOID, name, value == NULL);
}

TapParam
tap_param_jsonb(Jsonb *value)
{
	return make_param(JSONBOID, value ? JsonbPGetDatum(value) : (Datum) 0, value == NULL);
}

TapParam
tap_param_texts(List *values)
{
	Datum	   *elements = palloc(sizeof(Datum) * (list_length(values) + 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, values)
		elements[count++] = CStringGetTextDatum((char *) lfirst(cell));
	return make_param(TEXTARRAYOID,
					  PointerGetDatum(construct_array(elements, count, TEXTOID, -1,
													  false, TYPALIGN_INT)),
					  false);
}

static Datum
column_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

char *
tap_column_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

int32
tap_column_int4(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

int64
tap_column_int8(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

bool
tap_column_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? false : DatumGetBool(value);
}

char
tap_column_char(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? '\0' : DatumGetChar(value);
}

Oid
tap_column_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

double
tap_column_float8(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? 0 : DatumGetFloat8(value);
}

Jsonb *
tap_column_jsonb(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

List *
tap_column_texts(uint64 row, int column)
{
	bool		isnull;
	Datum		value = column_value(row, column, &isnull);
	List	   *result = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (isnull)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			result = lappend(result, TextDatumGetCString(elements[i]));
	}
	return result;
}

/* ---------------------------------------------------------------------
 * Connections
 * ---------------------------------------------------------------------
 */

#define CONNECTION_COLUMNS	"SELECT id, name, connector, uri, options, owner::oid FROM tapdata.connection "

static TapConnectionRow *
connection_row(TapCatalogCall *call)
{
	MemoryContext before = MemoryContextSwitchTo(call->caller);
	TapConnectionRow *row = palloc0(sizeof(TapConnectionRow));

	row->id = tap_column_int4(0, 1);
	row->name = tap_column_text(0, 2);
	row->connector = tap_column_text(0, 3);
	row->uri = tap_column_text(0, 4);
	row->options = tap_column_jsonb(0, 5);
	row->owner = tap_column_oid(0, 6);
	MemoryContextSwitchTo(before);
	return row;
}

static void
report_no_connection(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("connection \"%s\" does not exist", name),
			 errhint("See tapdata.connections, or create it with tapdata.connect().")));
}

TapConnectionRow *
tap_catalog_connection(const char *name, bool missing_ok)
{
	TapCatalogCall call;
	TapConnectionRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read(CONNECTION_COLUMNS "WHERE name = $1",
						 TAP_PARAMS(tap_param_name(name))) > 0)
		row = connection_row(&call);
	tap_catalog_leave(&call);
	if (row == NULL && !missing_ok)
		report_no_connection(name);
	return row;
}

TapConnectionRow *
tap_catalog_connection_by_id(int32 id)
{
	TapCatalogCall call;
	TapConnectionRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read(CONNECTION_COLUMNS "WHERE id = $1",
						 TAP_PARAMS(tap_param_int4(id))) > 0)
		row = connection_row(&call);
	tap_catalog_leave(&call);
	if (row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("connection with number %d does not exist", id)));
	return row;
}

TapConnectionRow *
tap_catalog_connection_owned(const char *name)
{
	TapCatalogCall call;
	TapConnectionRow *row = tap_catalog_connection(name, false);

	tap_catalog_check_owner(row->owner, "connection", name);

	tap_catalog_enter(&call);
	row = NULL;
	if (tap_catalog_write(CONNECTION_COLUMNS "WHERE name = $1 FOR UPDATE",
						  TAP_PARAMS(tap_param_name(name))) > 0)
		row = connection_row(&call);
	tap_catalog_leave(&call);

	/* it may have been changed while we waited for the lock */
	if (row == NULL)
		report_no_connection(name);
	tap_catalog_check_owner(row->owner, "connection", name);
	return row;
}

int32
tap_catalog_insert_connection(const TapConnectionRow *row)
{
	TapCatalogCall call;
	int32		id;

	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.connection (name, connector, uri, options, owner) "
					  "VALUES ($1, $2, $3, $4, $5) RETURNING id",
					  TAP_PARAMS(tap_param_name(row->name), tap_param_name(row->connector),
								 tap_param_text(row->uri), tap_param_jsonb(row->options),
								 tap_param_oid(row->owner)));
	id = tap_column_int4(0, 1);
	tap_catalog_leave(&call);
	return id;
}

void
tap_catalog_update_connection(const TapConnectionRow *row)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("UPDATE tapdata.connection SET connector = $2, uri = $3, options = $4 "
					  "WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(row->id), tap_param_name(row->connector),
								 tap_param_text(row->uri), tap_param_jsonb(row->options)));
	tap_catalog_leave(&call);
}

void
tap_catalog_delete_connection(int32 id)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.connection WHERE id = $1",
					  TAP_PARAMS(tap_param_int4(id)));
	tap_catalog_leave(&call);
}

void
tap_catalog_check_owner(Oid owner, const char *kind, const char *name)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of %s \"%s\"", kind, name)));
}
