/*-------------------------------------------------------------------------
 *
 * src/decode_filter.c
 *	  Row filters of published tables.
 *
 * NOTES
 *	  A filter is evaluated on rows in the shape they have in WAL, those of a
 *	  partition too: its column names are resolved in the relation's own
 *	  descriptor.  So no lock on the table is taken, and no row is converted
 *	  before it is known to be wanted.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "decode_private.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "utils/rel.h"

struct TapDecodeFilter
{
	ExprState  *state;
	ExprContext *context;
	TupleTableSlot *slot;		/* virtual, of the physical descriptor */
	TupleDesc	physical;
	Bitmapset  *columns;		/* used; attnum - FirstLowInvalid... */
	char	   *table;			/* for messages */
};

/* Resolve a column's name; the table's own name may stand before it. */
static Node *
resolve_column(ParseState *parse, ColumnRef *reference)
{
	TupleDesc	physical = parse->p_ref_hook_state;
	Node	   *last = llast(reference->fields);

	if (!IsA(last, String))
		return NULL;
	for (int i = 0; i < physical->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(physical, i);

		if (!attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), strVal(last)) == 0)
			return (Node *) makeVar(1, attribute->attnum, attribute->atttypid,
									attribute->atttypmod,
									attribute->attcollation, 0);
	}
	return NULL;
}

/* Parse SQL text that must be nothing but an expression. */
static Node *
parse_expression(const char *filter)
{
	List	   *statements = raw_parser(filter, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt,
								  linitial_node(RawStmt, statements)->stmt);

	if (list_length(select->targetList) != 1 || select->distinctClause != NIL ||
		select->fromClause != NIL || select->whereClause != NULL ||
		select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->sortClause != NIL ||
		select->limitCount != NULL || select->limitOffset != NULL ||
		select->lockingClause != NIL || select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("row filter \"%s\" is not an expression", filter)));
	return linitial_node(ResTarget, select->targetList)->val;
}

/* A boolean expression over Vars of the physical columns. */
static Node *
analyze_expression(const char *filter, TupleDesc physical)
{
	ParseState *parse = make_parsestate(NULL);
	Node	   *result;

	parse->p_sourcetext = filter;
	parse->p_pre_columnref_hook = resolve_column;
	parse->p_ref_hook_state = physical;
	result = transformExpr(parse, parse_expression(filter), EXPR_KIND_WHERE);
	result = coerce_to_boolean(parse, result, "row filter");
	assign_expr_collations(parse, result);
	if (parse->p_hasSubLinks)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row filter \"%s\" has a subquery", filter)));
	free_parsestate(parse);
	return result;
}

struct TapDecodeFilter *
tap_decode_filter_prepare(const char *filter, Relation relation, TupleDesc physical)
{
	struct TapDecodeFilter *result = palloc0(sizeof(struct TapDecodeFilter));
	Node	   *expression = analyze_expression(filter, physical);

	pull_varattnos(expression, 1, &result->columns);
	result->state = ExecInitExpr(expression_planner((Expr *) expression), NULL);
	result->context = CreateStandaloneExprContext();
	result->physical = physical;
	result->slot = MakeSingleTupleTableSlot(physical, &TTSOpsVirtual);
	result->table = pstrdup(RelationGetRelationName(relation));
	return result;
}

/* The filter must not use a value that is not in WAL. */
static void
check_value(struct TapDecodeFilter *filter, int column, const Datum *values,
			const bool *isnull)
{
	Form_pg_attribute attribute = TupleDescAttr(filter->physical, column);

	if (attribute->attlen == -1 && !isnull[column] &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(values[column])))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row filter of table \"%s\" needs column \"%s\", which is not in the WAL",
						filter->table, NameStr(attribute->attname)),
				 errhint("Set the table's replica identity (ALTER TABLE ... REPLICA IDENTITY FULL), then copy it again with tapdata.resync().")));
}

bool
tap_decode_filter_passes(struct TapDecodeFilter *filter, const Datum *values,
						 const bool *isnull)
{
	TupleTableSlot *slot = filter->slot;
	int			natts = filter->physical->natts;
	int			member = -1;
	Datum		result;
	bool		result_isnull;

	while ((member = bms_next_member(filter->columns, member)) >= 0)
		check_value(filter, member + FirstLowInvalidHeapAttributeNumber - 1,
					values, isnull);

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, isnull, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	filter->context->ecxt_scantuple = slot;
	ResetExprContext(filter->context);
	result = ExecEvalExprSwitchContext(filter->state, filter->context,
									   &result_isnull);
	return !result_isnull && DatumGetBool(result);
}
