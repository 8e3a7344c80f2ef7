/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_table.c
 *	  Target tables: look up, create, and what is kept of them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

char *
tap_pg_table_text(const TapTableName *name)
{
	return psprintf("%s.%s", name->schema ? name->schema : "", name->name);
}

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

static char *
fill_pattern(const char *pattern, const TapTableName *name)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = pattern; *p != '\0';)
	{
		if (strncmp(p, "{schema}", 8) == 0)
		{
			appendStringInfoString(&out, name->schema ? name->schema : "public");
			p += 8;
		}
		else if (strncmp(p, "{table}", 7) == 0)
		{
			appendStringInfoString(&out, name->name);
			p += 7;
		}
		else
			appendStringInfoChar(&out, *p++);
	}
	return out.data;
}

static void
check_length(const char *name, const char *option)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("\"%s\" cannot be the name of a target", name),
				 errhint("Choose another pattern for the option \"%s\"; names have 1 to %d bytes.",
						 option, NAMEDATALEN - 1)));
}

void
tap_pg_target_names(TapSession *session, const TapSourceTable *table, TapPgTarget *target)
{
	target->schema = fill_pattern(tap_pg_option(session, "target_schema", "{schema}"),
								  &table->name);
	target->name = fill_pattern(tap_pg_option(session, "target_table", "{table}"),
								&table->name);
	check_length(target->schema, "target_schema");
	check_length(target->name, "target_table");
	target->quoted = psprintf("%s.%s", tap_pg_quote(target->schema),
							  tap_pg_quote(target->name));
}

/* ---------------------------------------------------------------------
 * Looking up
 * ---------------------------------------------------------------------
 */

static void
look_up_relation(TapSession *session, TapPgTarget *target)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "look a target table up",
						"SELECT c.oid, c.relkind, row_security_active(c.oid), "
						"EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND "
						"(t.tgenabled = 'A' OR t.tgenabled = CASE current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END)), "
						"EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f' AND (k.conrelid = c.oid OR k.confrelid = c.oid)) "
						"AND current_setting('session_replication_role') <> 'replica', "
						"EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = c.oid AND k.conrelid <> c.oid) "
						"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
						"WHERE n.nspname = %s AND c.relname = %s",
						quote_literal_cstr(target->schema), quote_literal_cstr(target->name));
	if (rows->nrows == 0)
		return;
	target->relid = strtoul(tap_pg_needed(rows, 0, 0), NULL, 10);
	target->kind = tap_pg_needed(rows, 0, 1)[0];
	target->row_security = tap_pg_is_true(rows, 0, 2);
	target->triggers = tap_pg_is_true(rows, 0, 3);
	target->foreign_keys = tap_pg_is_true(rows, 0, 4);
	target->referenced = tap_pg_is_true(rows, 0, 5);
}

static void
look_up_columns(TapSession *session, TapPgTarget *target)
{
	TapPgRows  *rows;

	rows = tap_pg_query(session, "look the columns of a target table up",
						"SELECT a.attname, b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, "
						"t.typtype = 'd', format_type(b.oid, -1), format_type(t.oid, -1), "
						"format_type(a.atttypid, a.atttypmod), n.nspname, b.typname, a.attnotnull, "
						"a.atthasdef OR a.attidentity <> '', a.attidentity = 'a', a.attgenerated <> '' "
						"FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
						"JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END "
						"JOIN pg_namespace n ON n.oid = b.typnamespace "
						"WHERE a.attrelid = %u AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
						target->relid);
	target->ncolumns = rows->nrows;
	target->columns = palloc0(sizeof(TapPgTargetColumn) * Max(rows->nrows, 1));
	for (int i = 0; i < rows->nrows; i++)
	{
		TapPgTargetColumn *column = &target->columns[i];

		column->name = tap_pg_needed(rows, i, 0);
		column->base = strtoul(tap_pg_needed(rows, i, 1), NULL, 10);
		column->typmod = atoi(tap_pg_needed(rows, i, 2));
		column->is_domain = tap_pg_is_true(rows, i, 3);
		column->cast = tap_pg_needed(rows, i, 4);
		column->exact = tap_pg_needed(rows, i, 5);
		column->shown = tap_pg_needed(rows, i, 6);
		column->type_schema = tap_pg_needed(rows, i, 7);
		column->type_name = tap_pg_needed(rows, i, 8);
		column->not_null = tap_pg_is_true(rows, i, 9);
		column->has_default = tap_pg_is_true(rows, i, 10);
		column->always_identity = tap_pg_is_true(rows, i, 11);
		column->generated = tap_pg_is_true(rows, i, 12);
	}
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The key's columns in one text, sorted, as the query below makes it. */
static char *
key_text(const TapSourceTable *table)
{
	char	  **names = palloc(sizeof(char *) * Max(table->nkeys, 1));
	StringInfoData out;

	for (int i = 0; i < table->nkeys; i++)
		names[i] = NameStr(TupleDescAttr(table->descriptor, table->keys[i] - 1)->attname);
	qsort(names, table->nkeys, sizeof(char *), compare_names);
	initStringInfo(&out);
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? "\x01" : "", names[i]);
	return out.data;
}

static void
look_up_indexes(TapSession *session, const TapSourceTable *table, TapPgTarget *target)
{
	char	   *key = key_text(table);
	TapPgRows  *rows;

	rows = tap_pg_query(session, "look the indexes of a target table up",
						"SELECT i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL, "
						"(SELECT string_agg(a.attname, E'\\x01' ORDER BY a.attname COLLATE \"C\") "
						"FROM generate_series(0, i.indnkeyatts - 1) s JOIN pg_attribute a "
						"ON a.attrelid = i.indrelid AND a.attnum = i.indkey[s]) "
						"FROM pg_index i WHERE i.indrelid = %u AND (i.indisunique OR i.indisexclusion)",
						target->relid);
	for (int i = 0; i < rows->nrows; i++)
	{
		char	   *columns = tap_pg_value(rows, i, 1);

		if (tap_pg_is_true(rows, i, 0) && columns != NULL && table->nkeys > 0 &&
			strcmp(columns, key) == 0)
			target->key_found = true;
		else
			target->other_unique = true;
	}
}

/* Types by the names that they have whatever search_path is. */
static void
name_types(const TapSourceTable *table, TapPgTarget *target)
{
	bool		in_transaction = IsTransactionState();
	MemoryContext context = CurrentMemoryContext;

	if (!in_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	target->types = palloc0(sizeof(char *) * Max(table->descriptor->natts, 1));
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->descriptor, i);

		target->types[i] = format_type_extended(attribute->atttypid, attribute->atttypmod,
												FORMAT_TYPE_TYPEMOD_GIVEN |
												FORMAT_TYPE_FORCE_QUALIFY);
	}
	if (!in_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

TapPgTarget *
tap_pg_look_up(TapSession *session, const TapSourceTable *table)
{
	TapPgTarget *target = palloc0(sizeof(TapPgTarget));

	tap_pg_target_names(session, table, target);
	name_types(table, target);
	look_up_relation(session, target);
	if (OidIsValid(target->relid))
	{
		look_up_columns(session, target);
		look_up_indexes(session, table, target);
	}
	return target;
}

TapPgTargetColumn *
tap_pg_target_column(const TapPgTarget *target, const char *name)
{
	for (int i = 0; i < target->ncolumns; i++)
	{
		if (strcmp(target->columns[i].name, name) == 0)
			return &target->columns[i];
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Creating
 * ---------------------------------------------------------------------
 */

char *
tap_pg_column_type(TapSession *session, const TapSourceTable *table,
				   const TapPgTarget *target, int column)
{
	const char *type = target->types[column];
	const char *name = NameStr(TupleDescAttr(table->descriptor, column)->attname);
	TapPgError *error;
	TapPgRows  *rows = tap_pg_try_query(session, &error, "SELECT to_regtype(%s) IS NOT NULL",
										quote_literal_cstr(type));

	if (error != NULL && ERRCODE_TO_CATEGORY(error->sqlstate) == ERRCODE_CONNECTION_EXCEPTION)
		tap_pg_raise(error, "look a type up at the target", NULL, NULL);
	if (rows != NULL && tap_pg_is_true(rows, 0, 0))
		return pstrdup(type);
	if (strcmp(tap_pg_option(session, "unknown_types", "error"), "text") == 0)
		return pstrdup("pg_catalog.text");
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the target does not have the type %s of column \"%s\" of table \"%s\"",
					type, name, tap_pg_table_text(&table->name)),
			 errhint("Create the type at the target, or have such columns created as text with the option {\"unknown_types\": \"text\"}.")));
}

static char *
create_statement(TapSession *session, const TapSourceTable *table, const TapPgTarget *target)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", target->quoted);
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->descriptor, i);

		appendStringInfo(&sql, "%s%s %s%s", i > 0 ? ", " : "",
						 tap_pg_quote(NameStr(attribute->attname)),
						 tap_pg_column_type(session, table, target, i),
						 attribute->attnotnull ? " NOT NULL" : "");
	}
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : ", PRIMARY KEY (",
						 tap_pg_quote(NameStr(TupleDescAttr(table->descriptor,
															table->keys[i] - 1)->attname)));
	appendStringInfoString(&sql, table->nkeys > 0 ? "))" : ")");
	return sql.data;
}

static void
create_target(TapSession *session, const TapSourceTable *table, TapPgTarget *target)
{
	TapPgRows  *rows = tap_pg_query(session, "look a schema up at the target",
									"SELECT FROM pg_namespace WHERE nspname = %s",
									quote_literal_cstr(target->schema));
	TapPgError *error;

	if (rows->nrows == 0)
		(void) tap_pg_query(session,
							psprintf("create the schema \"%s\" at the target", target->schema),
							"CREATE SCHEMA IF NOT EXISTS %s", tap_pg_quote(target->schema));
	if (tap_pg_try_query(session, &error, "%s", create_statement(session, table, target)) == NULL)
		tap_pg_raise(error, psprintf("create the target table \"%s.%s\"",
									 target->schema, target->name),
					 NULL, error->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ?
					 psprintf("Create the table yourself, or run at the target: GRANT CREATE ON SCHEMA %s TO the connection's user.",
							  tap_pg_quote(target->schema)) : NULL);
}

/* ---------------------------------------------------------------------
 * What prepare_table() returns
 * ---------------------------------------------------------------------
 */

static bool
is_key(const TapSourceTable *table, int column)
{
	for (int i = 0; i < table->nkeys; i++)
	{
		if (table->keys[i] - 1 == column)
			return true;
	}
	return false;
}

static void
add_column(TapPgTable *result, const TapSourceTable *table, const TapPgTarget *target,
		   int number)
{
	Form_pg_attribute attribute = TupleDescAttr(table->descriptor, number);
	const TapPgTargetColumn *there = tap_pg_target_column(target, NameStr(attribute->attname));
	TapPgColumn *column;

	/* the target computes it, or does not have it (ddl = ignore) */
	if (there == NULL || there->generated)
		return;
	column = &result->columns[result->ncolumns++];
	column->name = pstrdup(NameStr(attribute->attname));
	column->quoted = tap_pg_quote(column->name);
	column->number = number;
	tap_pg_choose_codec(column, attribute, there);
	if (column->copy_codec == TAP_PG_OUTPUT)
		result->binary_copy = false;
}

static void
choose_columns(TapPgTable *result, const TapSourceTable *table, const TapPgTarget *target)
{
	result->columns = palloc0(sizeof(TapPgColumn) * Max(table->descriptor->natts, 1));
	result->binary_copy = true;
	for (int i = 0; i < table->nkeys; i++)
		add_column(result, table, target, table->keys[i] - 1);
	result->nkeys = result->ncolumns;
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		if (!is_key(table, i))
			add_column(result, table, target, i);
	}
}

/*
 * Whether changes of different rows may not change places: something else
 * than the key relates rows to each other, or changes are collapsed into
 * others that would mean something else here.
 */
static bool
needs_order(const TapSourceTable *table, const TapPgTarget *target, const TapPgTable *result)
{
	if (target->other_unique || target->triggers || result->nkeys == 0)
		return true;
	if (target->ncolumns != result->ncolumns || result->ncolumns == result->nkeys)
		return true;
	for (int i = 0; i < table->nkeys; i++)
	{
		if (!tap_pg_equal_means_same(TupleDescAttr(table->descriptor, table->keys[i] - 1)))
			return true;
	}
	return false;
}

static void
fill_table(TapSession *session, TapPgTable *result, const TapPgTarget *target)
{
	MemoryContext old = MemoryContextSwitchTo(session->args.context);
	const TapSourceTable *table = result->source;
	bool		overwrite = session->sink->overwrite;

	result->schema = pstrdup(target->schema);
	result->name = pstrdup(target->name);
	result->quoted = pstrdup(target->quoted);
	result->referenced = target->referenced;
	choose_columns(result, table, target);
	result->ordered = needs_order(table, target, result);
	if (target->foreign_keys)
		session->sink->ordered = true;
	result->insert = tap_pg_shape(session, result, TAP_PG_INSERT, NULL,
								  overwrite && result->nkeys > 0);
	if (result->nkeys > 0)
	{
		result->update = tap_pg_shape(session, result, TAP_PG_UPDATE, NULL, overwrite);
		result->delete = tap_pg_shape(session, result, TAP_PG_DELETE, NULL, false);
	}
	else
	{
		result->update = tap_pg_shape(session, result, TAP_PG_UPDATE_WHOLE, NULL, false);
		result->delete = tap_pg_shape(session, result, TAP_PG_DELETE_WHOLE, NULL, false);
	}
	MemoryContextSwitchTo(old);
}

static void
check_and_fill(TapSession *session, TapPgTable *result, const TapPgTarget *target)
{
	bool		in_transaction = IsTransactionState();
	MemoryContext context = CurrentMemoryContext;

	if (!in_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	tap_pg_check_target(session, result->source, target);
	fill_table(session, result, target);
	if (!in_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

void
tap_pg_create_table(TapSession *session, TapPgTable *table)
{
	TapPgTarget *target = tap_pg_look_up(session, table->source);

	if (!OidIsValid(target->relid))
	{
		create_target(session, table->source, target);
		table->created = true;
		tap_pg_core->event("target created", &table->source->name,
						   psprintf("table \"%s.%s\" was created at the target", target->schema, target->name));
		target = tap_pg_look_up(session, table->source);
	}
	check_and_fill(session, table, target);
	table->missing = false;
}

void *
tap_pg_prepare_table(TapSession *session, const TapSourceTable *table,
					 const TapSourceTable *old, void *old_data, bool known)
{
	TapPgTable *result = MemoryContextAllocZero(session->args.context, sizeof(TapPgTable));
	TapPgTarget *target;

	(void) old_data;
	result->source = table;
	result->shown = MemoryContextStrdup(session->args.context, tap_pg_table_text(&table->name));
	tap_pg_leave_pipeline(session);
	target = tap_pg_look_up(session, table);
	if (!OidIsValid(target->relid))
	{
		result->missing = true;
		if (!known)
			tap_pg_create_table(session, result);
		return result;
	}
	tap_pg_check_kind(target);
	if (tap_pg_follow_format(session, table, old, target))
		target = tap_pg_look_up(session, table);
	check_and_fill(session, result, target);
	return result;
}
