/*-------------------------------------------------------------------------
 *
 * src/dead_letters.c
 *	  SQL functions that store dead letters again, or discard them.
 *
 * NOTES
 *	  A dead letter is {"op": ..., "table": ..., "old": {...}, "new": {...}}
 *	  with column names and values as text.  It is stored by key over what the
 *	  row holds now, whatever has happened to the row since: who retries has
 *	  looked at it.
 *
 *	  Statements run as the pipeline's owner, as those of its worker do.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/resowner.h"

#include "commands.h"
#include "mapping.h"
#include "options.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_command_retry_dead_letters);
PG_FUNCTION_INFO_V1(tap_command_discard_dead_letters);

/* The hub table of a dead letter, and how to write to it. */
typedef struct HubShape
{
	char	   *qualified_name; /* quoted */
	List	   *keys;			/* column names of its primary key */
	List	   *columns;		/* names of columns that can be written */
} HubShape;

static HubShape *
hub_shape(Oid relid)
{
	HubShape   *shape = palloc0(sizeof(HubShape));
	Relation	relation = try_relation_open(relid, AccessShareLock);
	TupleDesc	descriptor;
	Oid			key_index;

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the hub table does not exist any more")));
	descriptor = RelationGetDescr(relation);
	shape->qualified_name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
													   RelationGetRelationName(relation));
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);

		if (!column->attisdropped && column->attgenerated == '\0')
			shape->columns = lappend(shape->columns, pstrdup(NameStr(column->attname)));
	}
	list_free(RelationGetIndexList(relation));
	key_index = relation->rd_pkindex;
	if (OidIsValid(key_index))
	{
		Relation	index = index_open(key_index, AccessShareLock);

		for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
			shape->keys = lappend(shape->keys,
								  get_attname(relid, index->rd_index->indkey.values[i], false));
		index_close(index, AccessShareLock);
	}
	relation_close(relation, NoLock);
	return shape;
}

/* A member of an object, which is an object itself; NULL: not there. */
static Jsonb *
object_member(Jsonb *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&object->root, name, strlen(name), &value) == NULL ||
		value.type != jbvBinary)
		return NULL;
	return JsonbValueToJsonb(&value);
}

static char *
text_member(Jsonb *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&object->root, name, strlen(name), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static bool
has_member(Jsonb *object, const char *name)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&object->root, name, strlen(name), &value) != NULL;
}

/* Names of the columns that the row has, quoted and with commas. */
static char *
columns_of_row(const HubShape *shape, Jsonb *row, const char *format)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, shape->columns)
	{
		const char *quoted = quote_identifier(lfirst(cell));

		if (!has_member(row, lfirst(cell)))
			continue;
		if (text.len > 0)
			appendStringInfoString(&text, ", ");
		appendStringInfo(&text, format, quoted, quoted);
	}
	return text.data;
}

static char *
key_columns(const HubShape *shape)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, shape->keys)
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", quote_identifier(lfirst(cell)));
	return text.data;
}

static void
run_with_row(const char *sql, Jsonb *row)
{
	Oid			type = JSONBOID;
	Datum		value = JsonbPGetDatum(row);

	if (SPI_execute_with_args(sql, 1, &type, &value, NULL, false, 0) < 0)
		elog(ERROR, "could not store a dead letter: %s", SPI_result_code_string(SPI_result));
}

static void
store_row(const HubShape *shape, Jsonb *row)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE "
					 "SELECT %s FROM pg_catalog.jsonb_populate_record(NULL::%s, $1) AS r",
					 shape->qualified_name, columns_of_row(shape, row, "%s"),
					 columns_of_row(shape, row, "r.%s"), shape->qualified_name);
	if (shape->keys != NIL)
		appendStringInfo(&sql, " ON CONFLICT (%s) DO UPDATE SET %s", key_columns(shape),
						 columns_of_row(shape, row, "%s = excluded.%s"));
	run_with_row(sql.data, row);
}

static void
delete_row(const HubShape *shape, Jsonb *row)
{
	StringInfoData sql;
	ListCell   *cell;

	if (shape->keys == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s has no primary key to find the row by", shape->qualified_name),
				 errhint("Change the row by hand, and discard the dead letter.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s AS t USING pg_catalog.jsonb_populate_record(NULL::%s, $1) AS r WHERE ",
					 shape->qualified_name, shape->qualified_name);
	foreach(cell, shape->keys)
		appendStringInfo(&sql, "%st.%s = r.%s", cell == list_head(shape->keys) ? "" : " AND ",
						 quote_identifier(lfirst(cell)), quote_identifier(lfirst(cell)));
	run_with_row(sql.data, row);
}

static bool
same_key(const HubShape *shape, Jsonb *old_row, Jsonb *new_row)
{
	ListCell   *cell;

	foreach(cell, shape->keys)
	{
		JsonbValue	old_value;
		JsonbValue	new_value;
		const char *name = lfirst(cell);

		if (getKeyJsonValueFromContainer(&old_row->root, name, strlen(name), &old_value) == NULL ||
			getKeyJsonValueFromContainer(&new_row->root, name, strlen(name), &new_value) == NULL)
			continue;
		if (compareJsonbContainers(&JsonbValueToJsonb(&old_value)->root,
								   &JsonbValueToJsonb(&new_value)->root) != 0)
			return false;
	}
	return true;
}

static void
store_change(const HubShape *shape, Jsonb *change)
{
	char	   *op = text_member(change, "op");
	Jsonb	   *old_row = object_member(change, "old");
	Jsonb	   *new_row = object_member(change, "new");

	if (op == NULL || (old_row == NULL && new_row == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the dead letter does not hold a row")));
	if (strcmp(op, "delete") == 0)
	{
		delete_row(shape, old_row ? old_row : new_row);
		return;
	}
	if (new_row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the dead letter does not hold a new row")));
	if (old_row != NULL && !same_key(shape, old_row, new_row))
		delete_row(shape, old_row);
	store_row(shape, new_row);
}

static Oid
hub_table_of(List *tables, const char *source_table)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapTableRow *table = lfirst(cell);

		if (source_table != NULL && strcmp(tap_table_name_text(&table->source), source_table) == 0)
			return table->hub_table;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the pipeline has no table %s any more", source_table ? source_table : "")));
	return InvalidOid;
}

/* Store one dead letter; false after a warning when that fails again. */
static bool
retry_one(const TapPipelineRow *pipeline, List *tables, const TapDeadLetterRow *letter)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool stored = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "could not connect to the SPI manager");
		store_change(hub_shape(hub_table_of(tables, letter->source_table)), letter->change);
		SPI_finish();
		ReleaseCurrentSubTransaction();
		stored = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		ereport(WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("a dead letter of pipeline \"%s\", table %s, could not be stored again",
						pipeline->name, letter->source_table ? letter->source_table : "?"),
				 errdetail_internal("%s", edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return stored;
}

/*
 * As the owner, and with the settings of the pipeline's worker, so that the
 * same triggers fire.
 */
static bool
retry_as_owner(const TapPipelineRow *pipeline, const char *role, List *tables,
			   const TapDeadLetterRow *letter)
{
	Oid			user;
	int			security_context;
	int			guc_level;
	bool		stored;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(pipeline->owner, security_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("session_replication_role", role, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	stored = retry_one(pipeline, tables, letter);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security_context);
	return stored;
}

Datum
tap_command_retry_dead_letters(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	TapPipelineRow *pipeline = tap_catalog_pipeline_owned(name);
	List	   *tables = tap_catalog_tables(pipeline->id);
	TapOptions *options = tap_options_parse(pipeline->options, NULL, tap_connector_load(tap_catalog_connection_by_id(pipeline->connection)->connector),
											TAP_SCOPE_PULL, CurrentMemoryContext);
	const char *role = tap_options_text(options, "replication_role");
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata dead letter",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	TapDeadLetterRow *letter;
	int64		last = 0;
	int64		count = 0;

	while ((letter = tap_catalog_next_dead_letter(pipeline->id, last)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		last = letter->id;
		if (retry_as_owner(pipeline, role, tables, letter))
		{
			tap_catalog_delete_dead_letter(letter->id);
			count++;
		}
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(before);
	if (count > 0)
		tap_catalog_insert_event(name, NULL, "info", "dead letters retried",
								 psprintf(INT64_FORMAT " stored", count));
	PG_RETURN_INT64(count);
}

Datum
tap_command_discard_dead_letters(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	TapPipelineRow *pipeline = tap_catalog_pipeline_owned(name);
	int64		count = tap_catalog_delete_dead_letters(pipeline->id);

	if (count > 0)
		tap_catalog_insert_event(name, NULL, "info", "dead letters discarded",
								 psprintf(INT64_FORMAT " deleted", count));
	PG_RETURN_INT64(count);
}
