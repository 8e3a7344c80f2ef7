/*-------------------------------------------------------------------------
 *
 * src/mapping.c
 *	  From a source's row to a hub table's row.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "mapping.h"

/*
 * The assignment cast of one column.  The expression reads its argument from
 * the expression context's case value, as the casts inside of ArrayCoerceExpr
 * do.
 */
typedef struct TapMappingCast
{
	ExprState  *state;
	ExprContext *econtext;
	const char *column;			/* of the hub table, for error contexts */
	const char *table;
} TapMappingCast;

static AttrNumber
find_column(TupleDesc descriptor, const char *name)
{
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(descriptor, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return InvalidAttrNumber;
}

static void
report_missing_column(const TapSourceTable *source, Relation hub,
					  Form_pg_attribute att)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("hub table \"%s\" has no column \"%s\"",
					RelationGetRelationName(hub), NameStr(att->attname)),
			 errdetail("Table %s has it at the source.",
					   tap_table_name_text(&source->name)),
			 errhint("Add the column with type %s, or call tapdata.resync() for the table.",
					 format_type_with_typemod(att->atttypid, att->atttypmod)),
			 errtable(hub)));
}

static void
report_missing_cast(Relation hub, Form_pg_attribute from, Form_pg_attribute to)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of hub table \"%s\" is of type %s but the source has type %s",
					NameStr(to->attname), RelationGetRelationName(hub),
					format_type_with_typemod(to->atttypid, to->atttypmod),
					format_type_with_typemod(from->atttypid, from->atttypmod)),
			 errdetail("There is no assignment cast between these types."),
			 errhint("Give the column the source's type; or drop the table and call tapdata.resync(), which creates it again."),
			 errtablecol(hub, to->attnum)));
}

/*
 * The cast that an assignment from one column to the other needs, or NULL
 * when values can be stored as they are.
 */
static TapMappingCast *
create_cast(Relation hub, Form_pg_attribute from, Form_pg_attribute to)
{
	CaseTestExpr *argument;
	Node	   *expression;
	TapMappingCast *cast;

	if (from->atttypid == to->atttypid &&
		(from->atttypmod == to->atttypmod || to->atttypmod < 0))
		return NULL;

	argument = makeNode(CaseTestExpr);
	argument->typeId = from->atttypid;
	argument->typeMod = from->atttypmod;
	argument->collation = from->attcollation;

	expression = coerce_to_target_type(NULL, (Node *) argument, from->atttypid,
									   to->atttypid, to->atttypmod,
									   COERCION_ASSIGNMENT,
									   COERCE_IMPLICIT_CAST, -1);
	if (expression == NULL)
		report_missing_cast(hub, from, to);
	if (expression == (Node *) argument)
		return NULL;

	cast = palloc0(sizeof(TapMappingCast));
	cast->state = ExecInitExpr((Expr *) expression_planner((Expr *) expression),
							   NULL);
	cast->econtext = CreateStandaloneExprContext();
	cast->column = pstrdup(NameStr(to->attname));
	cast->table = pstrdup(RelationGetRelationName(hub));
	return cast;
}

static void
map_column(TapMapping *mapping, const TapSourceTable *source, Relation hub,
		   AttrNumber column, bool ignore_missing)
{
	Form_pg_attribute from = TupleDescAttr(source->descriptor, column - 1);
	Form_pg_attribute to;
	AttrNumber	number;

	number = find_column(RelationGetDescr(hub), NameStr(from->attname));
	if (number == InvalidAttrNumber && ignore_missing)
	{
		mapping->identity = false;
		return;
	}
	if (number == InvalidAttrNumber)
		report_missing_column(source, hub, from);

	to = TupleDescAttr(RelationGetDescr(hub), number - 1);
	if (to->attgenerated != '\0')
	{
		mapping->identity = false;
		return;
	}

	mapping->hub_of_source[column - 1] = number;
	mapping->source_of_hub[number - 1] = column;
	mapping->casts[column - 1] = create_cast(hub, from, to);
	if (mapping->casts[column - 1] != NULL || number != column)
		mapping->identity = false;
}

static void
map_key(TapMapping *mapping, const TapSourceTable *source, Relation hub)
{
	mapping->nkeys = source->nkeys;
	mapping->keys = palloc0(sizeof(AttrNumber) * Max(source->nkeys, 1));
	for (int i = 0; i < source->nkeys; i++)
	{
		AttrNumber	column = source->keys[i];

		mapping->keys[i] = mapping->hub_of_source[column - 1];
		if (mapping->keys[i] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_GENERATED_ALWAYS),
					 errmsg("key column \"%s\" cannot be stored in hub table \"%s\"",
							NameStr(TupleDescAttr(source->descriptor, column - 1)->attname),
							RelationGetRelationName(hub)),
					 errdetail("The hub table lacks the column, or generates it."),
					 errhint("Make it an ordinary column, or call tapdata.resync() for the table."),
					 errtable(hub)));
	}
}

TapMapping *
tap_mapping_create(const TapSourceTable *source, Relation hub,
				   bool ignore_missing)
{
	TapMapping *mapping = palloc0(sizeof(TapMapping));
	int			nsource = source->descriptor->natts;
	int			nhub = RelationGetNumberOfAttributes(hub);

	mapping->nsource = nsource;
	mapping->nhub = nhub;
	mapping->hub_of_source = palloc0(sizeof(AttrNumber) * Max(nsource, 1));
	mapping->source_of_hub = palloc0(sizeof(AttrNumber) * Max(nhub, 1));
	mapping->casts = palloc0(sizeof(TapMappingCast *) * Max(nsource, 1));
	mapping->identity = (nsource == nhub);

	for (int i = 0; i < nsource; i++)
	{
		if (TupleDescAttr(source->descriptor, i)->attisdropped)
			mapping->identity = false;
		else
			map_column(mapping, source, hub, i + 1, ignore_missing);
	}

	/* A dropped, generated or additional hub column spoils the identity. */
	for (int i = 0; i < nhub; i++)
	{
		if (mapping->source_of_hub[i] == InvalidAttrNumber)
			mapping->identity = false;
	}

	map_key(mapping, source, hub);
	return mapping;
}

static void
cast_error_context(void *arg)
{
	TapMappingCast *cast = arg;

	errcontext("storing a value in column \"%s\" of hub table \"%s\"",
			   cast->column, cast->table);
}

Datum
tap_mapping_value(const TapMapping *mapping, AttrNumber source_column,
				  Datum value, bool *isnull)
{
	TapMappingCast *cast = mapping->casts[source_column - 1];
	ErrorContextCallback callback;
	Datum		result;

	if (cast == NULL)
		return value;

	callback.callback = cast_error_context;
	callback.arg = cast;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	cast->econtext->caseValue_datum = value;
	cast->econtext->caseValue_isNull = *isnull;
	result = ExecEvalExpr(cast->state, cast->econtext, isnull);

	error_context_stack = callback.previous;
	return result;
}
