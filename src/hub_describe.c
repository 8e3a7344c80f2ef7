/*-------------------------------------------------------------------------
 *
 * src/hub_describe.c
 *	  Describes a hub table to a sink.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tupdesc_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/comment.h"
#include "compat.h"
#include "fmgr.h"
#include "hub_describe.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Whether rows of the relation carry the column, and it was asked for. */
static bool
is_published(Form_pg_attribute attribute, List *columns)
{
	ListCell   *cell;

	if (attribute->attisdropped || tap_compat_is_virtual(attribute))
		return false;
	foreach(cell, columns)
	{
		if (strcmp(NameStr(attribute->attname), lfirst(cell)) == 0)
			return true;
	}
	return columns == NIL;
}

/* Raise an error for a name that is not one of a column with values. */
static void
check_columns(Relation relation, List *columns)
{
	TupleDesc	physical = RelationGetDescr(relation);
	ListCell   *cell;

	foreach(cell, columns)
	{
		const char *name = lfirst(cell);
		bool		found = false;

		for (int i = 0; i < physical->natts && !found; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(physical, i);

			found = is_published(attribute, NIL) &&
				strcmp(NameStr(attribute->attname), name) == 0;
		}
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" has no stored column \"%s\"",
							RelationGetRelationName(relation), name),
					 errhint("Change the option \"columns\" of the table with tapdata.alter_pipeline().")));
	}
}

/* The key columns of an index, as physical columns in key order. */
static int
index_columns(Oid index, AttrNumber **columns)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	int			ncolumns;

	*columns = NULL;
	if (!HeapTupleIsValid(tuple))
		return 0;
	form = (Form_pg_index) GETSTRUCT(tuple);
	ncolumns = form->indnkeyatts;
	*columns = palloc(ncolumns * sizeof(AttrNumber));
	for (int i = 0; i < ncolumns; i++)
		(*columns)[i] = form->indkey.values[i];
	ReleaseSysCache(tuple);
	return ncolumns;
}

/* The columns of an index in the form of tap_hub_identity_columns(). */
static Bitmapset *
index_bitmap(Oid index)
{
	AttrNumber *columns;
	int			ncolumns = index_columns(index, &columns);
	Bitmapset  *result = NULL;

	for (int i = 0; i < ncolumns; i++)
		result = bms_add_member(result,
								columns[i] - FirstLowInvalidHeapAttributeNumber);
	return result;
}

TapHubIdentity
tap_hub_identity(Relation relation)
{
	if (relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return TAP_HUB_IDENTITY_FULL;
	if (relation->rd_rel->relreplident == REPLICA_IDENTITY_NOTHING)
		return TAP_HUB_IDENTITY_NONE;
	list_free(RelationGetIndexList(relation));
	return OidIsValid(relation->rd_replidindex) ? TAP_HUB_IDENTITY_KEY :
		TAP_HUB_IDENTITY_NONE;
}

Bitmapset *
tap_hub_identity_columns(Relation relation)
{
	if (tap_hub_identity(relation) != TAP_HUB_IDENTITY_KEY)
		return NULL;
	return index_bitmap(relation->rd_replidindex);
}

/*
 * The index whose columns are the key: the primary key's, unless WAL tells
 * other columns of old rows.
 */
static Oid
key_index(Relation relation)
{
	Oid			primary;

	list_free(RelationGetIndexList(relation));
	primary = relation->rd_pkindex;
	if (relation->rd_rel->relreplident == REPLICA_IDENTITY_INDEX &&
		OidIsValid(relation->rd_replidindex) &&
		(!OidIsValid(primary) ||
		 !bms_is_subset(index_bitmap(primary),
						index_bitmap(relation->rd_replidindex))))
		return relation->rd_replidindex;
	return primary;
}

/* Set the key, if all of its columns are published. */
static void
describe_key(TapHubDescription *description, Relation relation)
{
	TapSourceTable *table = description->table;
	Oid			index = key_index(relation);
	AttrNumber *columns;
	int			ncolumns;

	if (!OidIsValid(index))
		return;
	ncolumns = index_columns(index, &columns);
	for (int i = 0; i < ncolumns; i++)
	{
		AttrNumber	found = 0;

		for (int j = 0; j < table->descriptor->natts; j++)
		{
			if (description->physical[j] == columns[i])
				found = j + 1;
		}
		if (found == 0)
			return;
		columns[i] = found;
	}
	table->keys = columns;
	table->nkeys = ncolumns;
}

/* What rows that are older than the column have in it, as text; or NULL. */
static char *
missing_value(TupleDesc physical, AttrNumber attnum)
{
	Form_pg_attribute attribute = TupleDescAttr(physical, attnum - 1);
	AttrMissing *missing;
	Oid			output;
	bool		is_varlena;

	if (physical->constr == NULL || physical->constr->missing == NULL)
		return NULL;
	missing = &physical->constr->missing[attnum - 1];
	if (!missing->am_present)
		return NULL;
	getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
	return OidOutputFunctionCall(output, missing->am_value);
}

/* Describe one published column, that of the description's index i. */
static void
describe_column(TapHubDescription *description, Relation relation, int i)
{
	TapSourceTable *table = description->table;
	TupleDesc	physical = RelationGetDescr(relation);
	AttrNumber	attnum = description->physical[i];
	Form_pg_attribute attribute = TupleDescAttr(physical, attnum - 1);

	TupleDescCopyEntry(table->descriptor, i + 1, physical, attnum);
	tap_compat_set_not_null(table->descriptor, i, attribute->attnotnull);
	table->column_types[i] = format_type_with_typemod(attribute->atttypid,
													  attribute->atttypmod);
	table->column_comments[i] = GetComment(RelationGetRelid(relation),
										   RelationRelationId, attnum);
	table->column_defaults[i] = missing_value(physical, attnum);
}

/* A column that was renamed keeps its number. */
static char *
column_numbers(const TapHubDescription *description, int natts)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < natts; i++)
		appendStringInfo(&out, "%s%d", i > 0 ? " " : "", description->physical[i]);
	return out.data;
}

TapHubDescription *
tap_hub_describe(Relation relation, List *columns, const TapTableName *name)
{
	TupleDesc	physical = RelationGetDescr(relation);
	TapHubDescription *description = palloc0(sizeof(TapHubDescription));
	TapSourceTable *table = palloc0(sizeof(TapSourceTable));
	int			natts = 0;

	check_columns(relation, columns);
	description->table = table;
	description->nphysical = physical->natts;
	description->physical = palloc0(sizeof(AttrNumber) * Max(physical->natts, 1));
	for (int i = 0; i < physical->natts; i++)
	{
		if (is_published(TupleDescAttr(physical, i), columns))
			description->physical[natts++] = i + 1;
	}
	description->identity = natts == physical->natts;

	if (name != NULL)
	{
		table->name.schema = name->schema ? pstrdup(name->schema) : NULL;
		table->name.name = pstrdup(name->name);
	}
	else
	{
		table->name.schema = get_namespace_name(RelationGetNamespace(relation));
		table->name.name = pstrdup(RelationGetRelationName(relation));
	}
	table->descriptor = CreateTemplateTupleDesc(natts);
	table->column_types = palloc0(sizeof(char *) * Max(natts, 1));
	table->column_comments = palloc0(sizeof(char *) * Max(natts, 1));
	table->column_defaults = palloc0(sizeof(char *) * Max(natts, 1));
	for (int i = 0; i < natts; i++)
		describe_column(description, relation, i);
	describe_key(description, relation);
	table->definition = column_numbers(description, natts);
	table->comment = GetComment(RelationGetRelid(relation), RelationRelationId, 0);
	table->estimated_rows = relation->rd_rel->reltuples;
	table->estimated_bytes = table->estimated_rows < 0 ? -1 :
		(double) relation->rd_rel->relpages * BLCKSZ;
	return description;
}
