/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_alter.c
 *	  Schema changes of a hub table, made at its target.
 *
 * NOTES
 *	  What is to be done follows from what the target has, so that it is done
 *	  once, also when a crash comes between a change and the next position.
 *	  Only renamed columns and types that changed need the former format.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "utils/builtins.h"

typedef struct Changes
{
	TapSession *session;
	const TapSourceTable *table;
	const TapSourceTable *old;	/* or NULL */
	const TapPgTarget *target;
	StringInfoData sql;			/* empty: nothing is to be done */
	StringInfoData words;		/* the same for people */
} Changes;

static Form_pg_attribute
find_attribute(const TapSourceTable *table, const char *name, int *number)
{
	for (int i = 0; table != NULL && i < table->descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->descriptor, i);

		if (strcmp(NameStr(attribute->attname), name) == 0)
		{
			*number = i;
			return attribute;
		}
	}
	return NULL;
}

static void
pg_attribute_printf(2, 3)
note(Changes *changes, const char *format,...)
{
	va_list		args;
	char		text[3 * NAMEDATALEN + 200];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	appendStringInfo(&changes->words, "%s%s", changes->words.len > 0 ? ", " : "", text);
}

/* The n-th number of a definition, from 0; 0: there is none. */
static int
column_number(const TapSourceTable *table, int n)
{
	const char *text = table->definition ? table->definition : "";
	char	   *end;
	long		number = strtol(text, &end, 10);

	for (int i = 0; i < n && end != text; i++)
	{
		text = end;
		number = strtol(text, &end, 10);
	}
	return end != text ? (int) number : 0;
}

/* The name that a column had in the former format, if it was renamed since. */
static const char *
former_name(Changes *changes, int number)
{
	const TapSourceTable *old = changes->old;
	int			same = column_number(changes->table, number);

	for (int i = 0; old != NULL && same != 0 && i < old->descriptor->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(old->descriptor, i)->attname);
		int			ignored;

		if (column_number(old, i) == same)
			return find_attribute(changes->table, name, &ignored) == NULL ? name : NULL;
	}
	return NULL;
}

static bool
add_rename(Changes *changes, int number)
{
	const char *name = NameStr(TupleDescAttr(changes->table->descriptor, number)->attname);
	const char *before = former_name(changes, number);

	if (before == NULL || tap_pg_target_column(changes->target, before) == NULL)
		return false;
	appendStringInfo(&changes->sql, "ALTER TABLE %s RENAME COLUMN %s TO %s; ",
					 changes->target->quoted, tap_pg_quote(before), tap_pg_quote(name));
	note(changes, "column \"%s\" is now \"%s\"", before, name);
	return true;
}

/*
 * A column that is new.  Rows that are there get what the hub's rows got; a
 * column that may not be null needs such a value to be created so.
 */
static void
add_missing_column(Changes *changes, int number)
{
	const TapSourceTable *table = changes->table;
	Form_pg_attribute attribute = TupleDescAttr(table->descriptor, number);
	const char *value = table->column_defaults ? table->column_defaults[number] : NULL;
	char	   *name = tap_pg_quote(NameStr(attribute->attname));
	char	   *type = tap_pg_column_type(changes->session, table, changes->target, number);

	appendStringInfo(&changes->sql, "ALTER TABLE %s ADD COLUMN %s %s",
					 changes->target->quoted, name, type);
	if (value != NULL)
		appendStringInfo(&changes->sql, " DEFAULT %s::%s%s; ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT; ",
						 quote_literal_cstr(value), type,
						 attribute->attnotnull ? " NOT NULL" : "",
						 changes->target->quoted, name);
	else
		appendStringInfoString(&changes->sql, "; ");
	note(changes, "column \"%s\" added", NameStr(attribute->attname));
}

/* A type that the hub changed, from a former one that the target still has. */
static void
add_type_change(Changes *changes, int number, const TapPgTargetColumn *column)
{
	Form_pg_attribute attribute = TupleDescAttr(changes->table->descriptor, number);
	int			old_number;
	Form_pg_attribute before = find_attribute(changes->old, NameStr(attribute->attname),
											  &old_number);
	char	   *name = tap_pg_quote(NameStr(attribute->attname));
	char	   *type;

	if (before == NULL || column->generated ||
		(before->atttypid == attribute->atttypid && before->atttypmod == attribute->atttypmod))
		return;
	type = tap_pg_column_type(changes->session, changes->table, changes->target, number);
	appendStringInfo(&changes->sql, "ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::%s; ",
					 changes->target->quoted, name, type, name, type);
	note(changes, "column \"%s\" is now %s", NameStr(attribute->attname), type);
}

static void
follow_column(Changes *changes, int number)
{
	Form_pg_attribute attribute = TupleDescAttr(changes->table->descriptor, number);
	const TapPgTargetColumn *column = tap_pg_target_column(changes->target,
														   NameStr(attribute->attname));

	if (column == NULL)
	{
		if (!add_rename(changes, number))
			add_missing_column(changes, number);
		return;
	}
	add_type_change(changes, number, column);
	if (changes->old != NULL && column->not_null && !attribute->attnotnull)
	{
		appendStringInfo(&changes->sql, "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL; ",
						 changes->target->quoted, tap_pg_quote(column->name));
		note(changes, "column \"%s\" may be null", column->name);
	}
}

/* What was dropped in the hub keeps its data, and must do without new ones. */
static void
follow_dropped(Changes *changes)
{
	const TapPgTarget *target = changes->target;
	int			ignored;

	for (int i = 0; i < target->ncolumns; i++)
	{
		const TapPgTargetColumn *column = &target->columns[i];

		if (column->not_null && !column->has_default && !column->generated &&
			find_attribute(changes->old, column->name, &ignored) != NULL &&
			find_attribute(changes->table, column->name, &ignored) == NULL &&
			strstr(changes->sql.data, psprintf("RENAME COLUMN %s TO", tap_pg_quote(column->name))) == NULL)
		{
			appendStringInfo(&changes->sql, "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL; ",
							 target->quoted, tap_pg_quote(column->name));
			note(changes, "column \"%s\" is no longer written", column->name);
		}
	}
}

static void
follow_key(Changes *changes)
{
	const TapSourceTable *table = changes->table;

	if (changes->old == NULL || table->nkeys == 0 || changes->target->key_found)
		return;
	appendStringInfo(&changes->sql, "CREATE UNIQUE INDEX ON %s (", changes->target->quoted);
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&changes->sql, "%s%s", i > 0 ? ", " : "",
						 tap_pg_quote(NameStr(TupleDescAttr(table->descriptor,
															table->keys[i] - 1)->attname)));
	appendStringInfoString(&changes->sql, "); ");
	note(changes, "a unique index on the key");
}

static void
make_changes(Changes *changes)
{
	const TapPgTarget *target = changes->target;
	char	   *message = psprintf("target \"%s.%s\": %s", target->schema, target->name,
								   changes->words.data);
	TapPgError *error;

	if (strcmp(tap_pg_option(changes->session, "ddl", "stop"), "stop") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the hub table \"%s\" has another format than its target",
						tap_pg_table_text(&changes->table->name)),
				 errdetail("To do: %s.", changes->words.data),
				 errhint("Run at the target: %sThen start the pipeline again; ddl = apply does this by itself.",
						 changes->sql.data)));
	if (tap_pg_try_query(changes->session, &error, "%s", changes->sql.data) == NULL)
		tap_pg_raise(error, psprintf("change the target table \"%s.%s\"",
									 target->schema, target->name), NULL,
					 psprintf("The statements are: %s", changes->sql.data));
	tap_pg_core->event("schema changed", &changes->table->name, message);
}

bool
tap_pg_follow_format(TapSession *session, const TapSourceTable *table,
					 const TapSourceTable *old, const TapPgTarget *target)
{
	Changes		changes = {.session = session,.table = table,.old = old,.target = target};

	if (strcmp(tap_pg_option(session, "ddl", "stop"), "ignore") == 0)
		return false;
	initStringInfo(&changes.sql);
	initStringInfo(&changes.words);
	for (int i = 0; i < table->descriptor->natts; i++)
		follow_column(&changes, i);
	follow_dropped(&changes);
	follow_key(&changes);
	if (changes.sql.len == 0)
		return false;
	make_changes(&changes);
	return true;
}
