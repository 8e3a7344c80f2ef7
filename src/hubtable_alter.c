/*-------------------------------------------------------------------------
 *
 * src/hubtable_alter.c
 *	  Makes a hub table follow from one format of its source to the next.
 *
 * NOTES
 *	  The hub table may differ from the source in what its users added, and in
 *	  columns kept after the source had dropped them.  So only what changed
 *	  between the two formats is changed in the hub.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "hubtable_private.h"

typedef struct TapAlter
{
	Oid			relid;
	const TapSourceTable *before;
	const TapSourceTable *after;
	List	   *renames;
	bool		drop_columns;
	char	   *table;			/* quoted */
	List	   *done;			/* of char *, what was done */
} TapAlter;

static void
note(TapAlter *alter, const char *format, const char *column, const char *detail)
{
	alter->done = lappend(alter->done, psprintf(format, column, detail));
}

static bool
hub_has(TapAlter *alter, const char *column)
{
	return get_attnum(alter->relid, column) != InvalidAttrNumber;
}

static bool
hub_not_null(TapAlter *alter, const char *column)
{
	HeapTuple	tuple = SearchSysCacheAttName(alter->relid, column);
	bool		result = HeapTupleIsValid(tuple) &&
	((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

static Form_pg_attribute
find_attribute(const TapSourceTable *source, const char *name)
{
	for (int i = 0; i < source->descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->descriptor, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att;
	}
	return NULL;
}

/* The name that a column of the old format has in the new. */
static const char *
new_name(const TapAlter *alter, const char *name)
{
	ListCell   *cell;

	foreach(cell, alter->renames)
	{
		const TapColumnRename *rename = lfirst(cell);

		if (strcmp(rename->from, name) == 0)
			return rename->to;
	}
	return name;
}

/* The column of the old format that has become this one; NULL: it is new. */
static Form_pg_attribute
old_attribute(const TapAlter *alter, const char *name)
{
	for (int i = 0; i < alter->before->descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(alter->before->descriptor, i);

		if (!att->attisdropped &&
			strcmp(new_name(alter, NameStr(att->attname)), name) == 0)
			return att;
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

static void
rename_column(TapAlter *alter, const char *from, const char *to)
{
	tap_hubtable_run(psprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", alter->table,
							  quote_identifier(from), quote_identifier(to)));
	note(alter, "renamed column \"%s\" to \"%s\"", from, to);
}

/*
 * Free a name for a new column of the source: a column of the hub that has it
 * was kept when the source dropped it, or is a user's.
 */
static void
move_away(TapAlter *alter, const char *name)
{
	char		base[NAMEDATALEN];
	char	   *other;

	snprintf(base, sizeof(base), "%s", name);
	base[pg_mbcliplen(base, strlen(base), NAMEDATALEN - 8)] = '\0';
	for (int i = 1;; i++)
	{
		other = psprintf("%s_old%d", base, i);
		if (!hub_has(alter, other))
			break;
	}
	rename_column(alter, name, other);
	if (hub_not_null(alter, other))
		tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL",
								  alter->table, quote_identifier(other)));
}

/*
 * Renames go by names of their own in between, for two columns may have
 * exchanged theirs.
 */
static void
follow_renames(TapAlter *alter)
{
	List	   *renames = NIL;
	ListCell   *cell;
	int			i = 0;

	foreach(cell, alter->renames)
	{
		const TapColumnRename *rename = lfirst(cell);

		if (hub_has(alter, rename->from) &&
			find_attribute(alter->before, rename->from) != NULL)
			renames = lappend(renames, (void *) rename);
	}
	if (list_length(renames) > 1)
	{
		foreach(cell, renames)
			tap_hubtable_run(psprintf("ALTER TABLE %s RENAME COLUMN %s TO %s",
									  alter->table,
									  quote_identifier(((TapColumnRename *) lfirst(cell))->from),
									  quote_identifier(psprintf("tapdata rename %d", i++))));
	}
	i = 0;
	foreach(cell, renames)
	{
		const TapColumnRename *rename = lfirst(cell);
		const char *now = list_length(renames) > 1 ?
		psprintf("tapdata rename %d", i++) : rename->from;

		if (hub_has(alter, rename->to))
			move_away(alter, rename->to);
		tap_hubtable_run(psprintf("ALTER TABLE %s RENAME COLUMN %s TO %s",
								  alter->table, quote_identifier(now),
								  quote_identifier(rename->to)));
		note(alter, "renamed column \"%s\" to \"%s\"", rename->from, rename->to);
	}
}

/* ---------------------------------------------------------------------
 * The key
 * ---------------------------------------------------------------------
 */

static bool
key_changed(const TapAlter *alter)
{
	const TapSourceTable *before = alter->before;
	const TapSourceTable *after = alter->after;

	if (before->nkeys != after->nkeys)
		return true;
	for (int i = 0; i < before->nkeys; i++)
	{
		Form_pg_attribute was = TupleDescAttr(before->descriptor, before->keys[i] - 1);
		Form_pg_attribute is = TupleDescAttr(after->descriptor, after->keys[i] - 1);

		if (strcmp(new_name(alter, NameStr(was->attname)), NameStr(is->attname)) != 0)
			return true;
	}
	return false;
}

static void
drop_key(TapAlter *alter)
{
	char	   *name = tap_hubtable_primary_key(alter->relid);
	Oid			row_hash = tap_hubtable_row_hash(alter->relid);

	if (alter->before->nkeys > 0 && name != NULL)
		tap_hubtable_run(psprintf("ALTER TABLE %s DROP CONSTRAINT %s", alter->table,
								  quote_identifier(name)));
	if (alter->before->nkeys == 0 && OidIsValid(row_hash))
		tap_hubtable_run(psprintf("DROP INDEX %s", tap_hubtable_name(row_hash)));
}

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

/*
 * Rows that are there have the source's default in a new column: no source
 * sends them once more.
 */
static void
add_column(TapAlter *alter, Form_pg_attribute att)
{
	const char *name = NameStr(att->attname);
	char	   *type = tap_hubtable_column_type(att);
	const char *fill = alter->after->column_defaults == NULL ? NULL :
	alter->after->column_defaults[att->attnum - 1];

	if (hub_has(alter, name))
		move_away(alter, name);
	if (fill == NULL)
		tap_hubtable_run(psprintf("ALTER TABLE %s ADD COLUMN %s %s", alter->table,
								  quote_identifier(name), type));
	else
	{
		tap_hubtable_run(psprintf("ALTER TABLE %s ADD COLUMN %s %s DEFAULT %s",
								  alter->table, quote_identifier(name), type,
								  quote_literal_cstr(fill)));
		tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT",
								  alter->table, quote_identifier(name)));
	}
	note(alter, "added column \"%s\" %s", name, type);
}

static void
check_conversion(TapAlter *alter, const char *name, Oid from, Form_pg_attribute to)
{
	Oid			function;

	if (from == to->atttypid ||
		find_coercion_pathway(to->atttypid, from, COERCION_EXPLICIT,
							  &function) != COERCION_PATH_NONE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_COERCE),
			 errmsg("column \"%s\" of hub table %s cannot be converted from type %s to %s",
					name, alter->table, format_type_be(from),
					tap_hubtable_column_type(to)),
			 errdetail("The source changed the column's type."),
			 errhint("Call tapdata.resync() for the table, or alter the column with an expression of your own.")));
}

static void
change_type(TapAlter *alter, Form_pg_attribute was, Form_pg_attribute is)
{
	const char *name = NameStr(is->attname);
	char	   *type = tap_hubtable_column_type(is);
	Oid			hub_type;
	int32		hub_typmod;
	Oid			hub_collation;

	if (was->atttypid == is->atttypid && was->atttypmod == is->atttypmod &&
		was->attcollation == is->attcollation)
		return;
	get_atttypetypmodcoll(alter->relid, get_attnum(alter->relid, name), &hub_type,
						  &hub_typmod, &hub_collation);
	if (hub_type == is->atttypid && hub_typmod == is->atttypmod &&
		hub_collation == is->attcollation)
		return;

	check_conversion(alter, name, hub_type, is);
	tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::%s",
							  alter->table, quote_identifier(name), type,
							  quote_identifier(name),
							  format_type_with_typemod(is->atttypid, is->atttypmod)));
	note(alter, "changed column \"%s\" to %s", name, type);
}

static bool
has_nulls(TapAlter *alter, const char *name)
{
	bool		result;

	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(psprintf("SELECT FROM %s WHERE %s IS NULL LIMIT 1",
							 alter->table, quote_identifier(name)),
					false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for nulls in column \"%s\"", name);
	result = SPI_processed > 0;
	SPI_finish();
	PopActiveSnapshot();
	return result;
}

/*
 * NOT NULL is taken over only if the rows allow it: it is of use to readers,
 * but no reason to stop.
 */
static void
change_null(TapAlter *alter, Form_pg_attribute was, Form_pg_attribute is)
{
	const char *name = NameStr(is->attname);
	bool		before = was != NULL && was->attnotnull;

	if (before == is->attnotnull || hub_not_null(alter, name) == is->attnotnull)
		return;
	if (is->attnotnull && has_nulls(alter, name))
		return;
	tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s %s NOT NULL",
							  alter->table, quote_identifier(name),
							  is->attnotnull ? "SET" : "DROP"));
	note(alter, is->attnotnull ? "column \"%s\" is not null%s" :
		 "column \"%s\" may be null%s", name, "");
}

static void
follow_column(TapAlter *alter, Form_pg_attribute is)
{
	Form_pg_attribute was = old_attribute(alter, NameStr(is->attname));

	if (was == NULL || !hub_has(alter, NameStr(is->attname)))
		add_column(alter, is);
	else
		change_type(alter, was, is);
	change_null(alter, was, is);
}

static void
lose_column(TapAlter *alter, Form_pg_attribute was)
{
	const char *name = NameStr(was->attname);

	if (strcmp(new_name(alter, name), name) != 0 ||
		find_attribute(alter->after, name) != NULL || !hub_has(alter, name))
		return;
	if (alter->drop_columns)
	{
		tap_hubtable_run(psprintf("ALTER TABLE %s DROP COLUMN %s", alter->table,
								  quote_identifier(name)));
		note(alter, "dropped column \"%s\"%s", name, "");
		return;
	}
	if (hub_not_null(alter, name))
		tap_hubtable_run(psprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL",
								  alter->table, quote_identifier(name)));
	note(alter, "kept column \"%s\", which the source dropped%s", name, "");
}

/* ---------------------------------------------------------------------
 * Interface
 * ---------------------------------------------------------------------
 */

List *
tap_hubtable_alter(Oid relid, const TapSourceTable *before,
				   const TapSourceTable *after, List *renames,
				   bool drop_columns)
{
	TapAlter	alter = {
		.relid = relid,
		.before = before,
		.after = after,
		.renames = renames,
		.drop_columns = drop_columns,
		.table = tap_hubtable_name(relid)
	};
	bool		other_key = key_changed(&alter);
	bool		had_row_hash = after->nkeys == 0 && OidIsValid(tap_hubtable_row_hash(relid));

	if (other_key)
		drop_key(&alter);
	for (int i = 0; i < before->descriptor->natts; i++)
	{
		if (!TupleDescAttr(before->descriptor, i)->attisdropped)
			lose_column(&alter, TupleDescAttr(before->descriptor, i));
	}
	follow_renames(&alter);
	for (int i = 0; i < after->descriptor->natts; i++)
	{
		if (!TupleDescAttr(after->descriptor, i)->attisdropped)
			follow_column(&alter, TupleDescAttr(after->descriptor, i));
	}

	/* The index of a table without a key goes with a column it is made of. */
	if (other_key || had_row_hash)
		tap_hubtable_create_key(relid, after);
	if (other_key)
		note(&alter, "changed the key%s%s", "", "");
	return alter.done;
}
