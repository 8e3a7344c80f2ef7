/*-------------------------------------------------------------------------
 *
 * src/dead_letters.c
 *	  SQL functions that store dead letters again, or discard them.
 *
 * NOTES
 *	  A dead letter is what tap_change_json() has made.  It is stored by key over what the
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
#include "utils/syscache.h"

#include "change_json.h"
#include "commands.h"
#include "mapping.h"
#include "options.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(tap_command_retry_dead_letters);
PG_FUNCTION_INFO_V1(tap_command_discard_dead_letters);

typedef struct HubColumn
{
	char	   *name;
	char	   *quoted;			/* name, for SQL */
	char	   *value;			/* SQL that makes its value of the row $1 */
} HubColumn;

/* The hub table of a dead letter, and how to write to it. */
typedef struct HubShape
{
	char	   *qualified_name; /* quoted */
	List	   *columns;		/* of HubColumn *: those that can be written */
	List	   *keys;			/* of HubColumn *: those of the primary key */
} HubShape;

/*
 * The type goes by its catalog name and without a modifier: the standard's
 * names of some types imply one, and a cast, unlike an assignment, would cut
 * off what is too long.
 */
static HubColumn *
hub_column(Form_pg_attribute attribute)
{
	HubColumn  *column = palloc(sizeof(HubColumn));
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(attribute->atttypid));
	Form_pg_type type;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", attribute->atttypid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	column->name = pstrdup(NameStr(attribute->attname));
	column->quoted = pstrdup(quote_identifier(column->name));
	column->value = psprintf("CAST($1 ->> %s AS %s)", quote_literal_cstr(column->name),
							 quote_qualified_identifier(get_namespace_name(type->typnamespace),
														NameStr(type->typname)));
	ReleaseSysCache(tuple);
	return column;
}

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
			shape->columns = lappend(shape->columns, hub_column(column));
	}
	list_free(RelationGetIndexList(relation));
	key_index = relation->rd_pkindex;
	if (OidIsValid(key_index))
	{
		Relation	index = index_open(key_index, AccessShareLock);

		for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
			shape->keys = lappend(shape->keys,
								  hub_column(TupleDescAttr(descriptor,
														   index->rd_index->indkey.values[i] - 1)));
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

/* Append what the format makes of a column's name, or value, for each that the row has. */
static void
append_columns(StringInfo sql, const HubShape *shape, Jsonb *row, const char *format,
			   bool values)
{
	const char *separator = "";
	ListCell   *cell;

	foreach(cell, shape->columns)
	{
		const HubColumn *column = lfirst(cell);
		const char *text = values ? column->value : column->quoted;

		if (!has_member(row, column->name))
			continue;
		appendStringInfoString(sql, separator);
		appendStringInfo(sql, format, text, text);
		separator = ", ";
	}
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
	const char *separator = "";
	ListCell   *cell;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (", shape->qualified_name);
	append_columns(&sql, shape, row, "%s", false);
	appendStringInfoString(&sql, ") OVERRIDING SYSTEM VALUE SELECT ");
	append_columns(&sql, shape, row, "%s", true);
	if (shape->keys != NIL)
	{
		appendStringInfoString(&sql, " ON CONFLICT (");
		foreach(cell, shape->keys)
		{
			appendStringInfo(&sql, "%s%s", separator, ((HubColumn *) lfirst(cell))->quoted);
			separator = ", ";
		}
		appendStringInfoString(&sql, ") DO UPDATE SET ");
		append_columns(&sql, shape, row, "%s = excluded.%s", false);
	}
	run_with_row(sql.data, row);
}

static void
delete_row(const HubShape *shape, Jsonb *row)
{
	StringInfoData sql;
	const char *separator = "";
	ListCell   *cell;

	if (shape->keys == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s has no primary key to find the row by", shape->qualified_name),
				 errhint("Change the row by hand, and discard the dead letter.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s AS t WHERE ", shape->qualified_name);
	foreach(cell, shape->keys)
	{
		const HubColumn *key = lfirst(cell);

		appendStringInfo(&sql, "%st.%s = %s", separator, key->quoted, key->value);
		separator = " AND ";
	}
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
		const char *name = ((HubColumn *) lfirst(cell))->name;

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

	if (op == NULL || (old_row == NULL && new_row == NULL) || has_member(change, "partial"))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the dead letter does not hold a whole row")));
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

/*
 * What the connector could not read has no table here, and holds values in
 * whatever form the source has them.
 */
static void
check_is_decoded(const TapDeadLetterRow *letter)
{
	if (letter->source_table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("it could not be read, so that there is no row to store"),
				 errhint("See its change and error in tapdata.dead_letters.  Mend the cause and have the source send it again, copy the table again with tapdata.resync(), or insert the row by hand; then call tapdata.discard_dead_letters().")));
}

static Oid
hub_table_of(List *tables, const char *source_table)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		TapTableRow *table = lfirst(cell);

		if (strcmp(tap_table_name_text(&table->source), source_table) == 0)
			return table->hub_table;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the pipeline has no table %s any more", source_table)));
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
		check_is_decoded(letter);
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
				 errmsg("a dead letter of pipeline \"%s\" could not be stored again",
						pipeline->name),
				 letter->source_table != NULL ?
				 errdetail_internal("%s: %s", letter->source_table, edata->message) :
				 errdetail_internal("%s", edata->message),
				 edata->hint != NULL ? errhint("%s", edata->hint) :
				 errhint("Mend the cause and try again; or copy the table again with tapdata.resync(), and call tapdata.discard_dead_letters().")));
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
	guc_level = tap_change_json_modes();
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("session_replication_role", role, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	stored = retry_one(pipeline, tables, letter);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security_context);
	return stored;
}

/*
 * What a target refused is older than what it may hold of the row by now, and
 * nothing but the row's own next change is in order with that.
 */
static void
check_is_pull(const TapPipelineRow *pipeline)
{
	if (pipeline->direction != TAP_PULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("dead letters of publish pipeline \"%s\" cannot be sent again", pipeline->name),
				 errhint("Mend the cause, send the newest state of the rows by an UPDATE of them or of the whole table by tapdata.resync(), and call tapdata.discard_dead_letters().")));
}

/* The option replication_role of the pipeline's worker. */
static const char *
replication_role(const TapPipelineRow *pipeline)
{
	TapConnectionRow *connection = tap_catalog_connection_by_id(pipeline->connection);
	TapOptions *options = tap_options_parse(pipeline->options, NULL,
											tap_connector_load(connection->connector),
											TAP_SCOPE_PULL, CurrentMemoryContext);

	return tap_options_text(options, "replication_role");
}

Datum
tap_command_retry_dead_letters(PG_FUNCTION_ARGS)
{
	char	   *name = tap_argument_name(fcinfo, 0, "pipeline");
	TapPipelineRow *pipeline = tap_catalog_pipeline_owned(name);
	List	   *tables;
	const char *role;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata dead letter",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before;
	TapDeadLetterRow *letter;
	int64		last = 0;
	int64		count = 0;

	check_is_pull(pipeline);
	tables = tap_catalog_tables(pipeline->id);
	role = replication_role(pipeline);
	before = MemoryContextSwitchTo(context);
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
