/*-------------------------------------------------------------------------
 *
 * src/utility_hook.c
 *	  Commands of PostgreSQL that need a database's pipelines out of the way.
 *
 * NOTES
 *	  DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, CREATE DATABASE
 *	  from a template, and DROP EXTENSION would fail or wait for ever while
 *	  pipelines work in the database.  All are treated alike: keep tapdata's
 *	  processes out until the transaction ends, wait for those there to go,
 *	  let PostgreSQL do the command.  Whether it succeeds or not, the end of
 *	  the transaction has the launcher look at the database again.
 *
 *	  Who is not allowed the command must not be able to disturb pipelines by
 *	  it, so permissions are checked here too; complaining is left to
 *	  PostgreSQL.
 *
 *	  Replication origins belong to the whole server; those of a database or
 *	  extension that is dropped are dropped with it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_replication_origin.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "process.h"
#include "replication/origin.h"
#include "tcop/utility.h"
#include "utility_hook.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#define EXTENSION_NAME		"tapdata"
#define DEFAULT_TEMPLATE	"template1"

/*
 * How long to wait for processes to go.  PostgreSQL itself waits 5 s for
 * others to leave a database, and then says who is there.
 */
#define HOLD_TIMEOUT_MS		30000

static ProcessUtility_hook_type previous_utility_hook = NULL;
static object_access_hook_type previous_object_access_hook = NULL;

/* Drop the replication origins of a database's pipelines. */
static void
drop_origins(Oid database)
{
	char	   *prefix = psprintf("tapdata_%u_", database);
	List	   *names = NIL;
	ListCell   *cell;
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;

	relation = table_open(ReplicationOriginRelationId, AccessShareLock);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_replication_origin_roname,
										 RelationGetDescr(relation), &isnull);
		char	   *name = TextDatumGetCString(value);

		if (strncmp(name, prefix, strlen(prefix)) == 0)
			names = lappend(names, name);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	foreach(cell, names)
		replorigin_drop_by_name(lfirst(cell), true, false);
}

/*
 * As have_createdb_privilege(), which only the newer minor releases of 15
 * export.
 */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may_create;

	if (superuser())
		return true;

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	may_create = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return may_create;
}

/* Whether the current user may copy a database; as createdb() has it. */
static bool
may_copy(Oid database)
{
	HeapTuple	tuple;
	bool		is_template;

	if (tap_compat_owns_database(database, GetUserId()))
		return true;

	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return false;
	is_template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return is_template && may_create_databases();
}

/* The value of a command's option as text; NULL when it is not given. */
static char *
option_value(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* Keep pipelines out of the database of that name, if it is there. */
static void
hold_database(const char *name, bool copy, bool drop)
{
	Oid			database = get_database_oid(name, true);

	/* PostgreSQL refuses all of these for the current database. */
	if (!OidIsValid(database) || database == MyDatabaseId)
		return;
	if (copy ? !may_copy(database) :
		!tap_compat_owns_database(database, GetUserId()))
		return;

	(void) tap_hold_database(database, HOLD_TIMEOUT_MS);
	if (drop)
		drop_origins(database);
}

/* DROP EXTENSION: the whole list is dropped by the same command. */
static void
hold_for_drop(DropStmt *statement)
{
	ListCell   *cell;

	if (statement->removeType != OBJECT_EXTENSION)
		return;

	foreach(cell, statement->objects)
	{
		Oid			extension;

		if (strcmp(strVal(lfirst(cell)), EXTENSION_NAME) != 0)
			continue;
		extension = get_extension_oid(EXTENSION_NAME, true);
		if (OidIsValid(extension) &&
			tap_compat_owns_extension(extension, GetUserId()))
			(void) tap_hold_database(MyDatabaseId, HOLD_TIMEOUT_MS);
	}
}

/* Commands that PostgreSQL refuses in a transaction block need no hold. */
static void
hold_for(Node *statement, bool in_block)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			if (!in_block)
				hold_database(((DropdbStmt *) statement)->dbname, false, true);
			break;
		case T_CreatedbStmt:
			if (!in_block)
			{
				List	   *options = ((CreatedbStmt *) statement)->options;
				char	   *template = option_value(options, "template");

				hold_database(template ? template : DEFAULT_TEMPLATE, true, false);
			}
			break;
		case T_AlterDatabaseStmt:
			if (!in_block &&
				option_value(((AlterDatabaseStmt *) statement)->options,
							 "tablespace") != NULL)
				hold_database(((AlterDatabaseStmt *) statement)->dbname, false, false);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				hold_database(((RenameStmt *) statement)->subname, false, false);
			break;
		case T_DropStmt:
			hold_for_drop((DropStmt *) statement);
			break;
		default:
			break;
	}
}

static void
process_utility(PlannedStmt *planned, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	if (tap_shmem_available())
		hold_for(planned->utilityStmt,
				 IsInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL));

	if (previous_utility_hook)
		previous_utility_hook(planned, query, read_only_tree, context, params,
							  environment, destination, completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context, params,
								environment, destination, completion);
}

/*
 * The extension goes, by whatever command: DROP SCHEMA ... CASCADE and DROP
 * OWNED come here without having been seen by the hook above.
 */
static void
object_access(ObjectAccessType access, Oid class, Oid object, int subobject,
			  void *arg)
{
	if (previous_object_access_hook)
		previous_object_access_hook(access, class, object, subobject, arg);

	if (access == OAT_DROP && class == ExtensionRelationId &&
		tap_shmem_available() && object == get_extension_oid(EXTENSION_NAME, true))
	{
		(void) tap_hold_database(MyDatabaseId, HOLD_TIMEOUT_MS);
		drop_origins(MyDatabaseId);
	}
}

void
tap_utility_hook_install(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_object_access_hook = object_access_hook;
	object_access_hook = object_access;
}
