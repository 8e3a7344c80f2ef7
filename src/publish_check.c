/*-------------------------------------------------------------------------
 *
 * src/publish_check.c
 *	  What a hub table needs so that it can be published.
 *
 * NOTES
 *	  The rules are those of PostgreSQL's own publications: what an update or
 *	  delete says of the old row is its replica identity, and a filter is
 *	  evaluated where only catalogs can be read.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "compat.h"
#include "hub_describe.h"
#include "mapping.h"
#include "publish.h"
#include "publish_options.h"

/* One table while it is checked. */
typedef struct Check
{
	Relation	relation;
	TapTableName name;
	const char *filter;			/* NULL: none */
	Oid			owner;
	List	   *columns;		/* of char *; NIL: all */
	Bitmapset  *used;			/* columns of the filter, as attnum -
								 * FirstLowInvalidHeapAttributeNumber */
	TapPublishKinds kinds;
} Check;

/* ---------------------------------------------------------------------
 * The filter
 * ---------------------------------------------------------------------
 */

static void
filter_context(void *arg)
{
	const Check *check = arg;
	int			position = geterrposition();

	/* it is one in the filter, not in the user's statement */
	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(check->filter);
	}
	errcontext("option \"where\" for table %s", tap_table_name_text(&check->name));
}

static bool
is_refused_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId || func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static const char *
refusal_of_column(Relation relation, AttrNumber column)
{
	if (column < InvalidAttrNumber)
		return "System columns are not allowed.";
	if (column > InvalidAttrNumber &&
		tap_compat_is_virtual(TupleDescAttr(RelationGetDescr(relation), column - 1)))
		return "Virtual generated columns are not allowed.";
	return NULL;
}

/* What is not allowed about this node alone; NULL: nothing. */
static const char *
refusal_of_node(Node *node, Relation relation)
{
	switch (nodeTag(node))
	{
		case T_Var:
			return refusal_of_column(relation, ((Var *) node)->varattno);
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			return ((OpExpr *) node)->opno >= FirstNormalObjectId ?
				"User-defined operators are not allowed." : NULL;
		case T_ScalarArrayOpExpr:
			return ((ScalarArrayOpExpr *) node)->opno >= FirstNormalObjectId ?
				"User-defined operators are not allowed." : NULL;
		case T_Const:
		case T_FuncExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_List:
			return NULL;
		default:
			return "Only columns, constants, built-in operators and types, and immutable built-in functions are allowed.";
	}
}

static const char *
refusal_of_types(Node *node)
{
	if (IsA(node, List) || IsA(node, CaseWhen))
		return NULL;
	if (exprType(node) >= FirstNormalObjectId)
		return "User-defined types are not allowed.";
	if (check_functions_in_node(node, is_refused_function, NULL))
		return "User-defined functions and functions that are not immutable are not allowed.";
	if (exprCollation(node) >= FirstNormalObjectId ||
		exprInputCollation(node) >= FirstNormalObjectId)
		return "User-defined collations are not allowed.";
	return NULL;
}

/* context is the relation. */
static bool
refuse_walker(Node *node, void *context)
{
	const char *refusal;

	if (node == NULL)
		return false;
	refusal = refusal_of_node(node, context);
	if (refusal == NULL)
		refusal = refusal_of_types(node);
	if (refusal != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("invalid condition in option \"where\""),
				 errdetail_internal("%s", refusal)));
	return expression_tree_walker(node, refuse_walker, context);
}

/* The one expression that the text is. */
static Node *
parse_expression(const char *text)
{
	List	   *parsed = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	ResTarget  *target;

	if (!IsA(select, SelectStmt) || list_length(select->targetList) != 1 ||
		select->fromClause != NIL || select->whereClause != NULL ||
		select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->distinctClause != NIL ||
		select->sortClause != NIL || select->limitCount != NULL ||
		select->limitOffset != NULL || select->lockingClause != NIL ||
		select->op != SETOP_NONE)
		target = NULL;
	else
		target = linitial_node(ResTarget, select->targetList);
	if (target == NULL || target->name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid condition in option \"where\""),
				 errdetail("It is not a single expression."),
				 errhint("Write what would follow WHERE, as amount > 10.")));
	return target->val;
}

/*
 * Names are looked up as the worker does it, wherever the user would find
 * them.
 */
static Node *
transform_filter(const char *text, Relation relation)
{
	ParseState *pstate = make_parsestate(NULL);
	int			level = NewGUCNestLevel();
	Node	   *result;

	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	addNSItemToQuery(pstate,
					 addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
												   NULL, false, false),
					 false, true, true);
	result = transformWhereClause(pstate, parse_expression(text), EXPR_KIND_WHERE, "where");
	assign_expr_collations(pstate, result);
	free_parsestate(pstate);
	AtEOXact_GUC(true, level);
	return result;
}

static void
check_filter(Check *check, const char *text)
{
	ErrorContextCallback callback;
	Node	   *expression;

	callback.callback = filter_context;
	callback.arg = check;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	check->filter = text;
	expression = transform_filter(text, check->relation);
	(void) refuse_walker(expression, check->relation);
	pull_varattnos(expression, 1, &check->used);
	error_context_stack = callback.previous;
}

/* ---------------------------------------------------------------------
 * Columns and privileges
 * ---------------------------------------------------------------------
 */

/* The published columns, in the form of Check.used. */
static Bitmapset *
published_columns(const Check *check)
{
	TupleDesc	descriptor = RelationGetDescr(check->relation);
	Bitmapset  *result = NULL;
	ListCell   *cell;

	for (int i = 0; check->columns == NIL && i < descriptor->natts; i++)
	{
		if (!TupleDescAttr(descriptor, i)->attisdropped &&
			!tap_compat_is_virtual(TupleDescAttr(descriptor, i)))
			result = bms_add_member(result, i + 1 - FirstLowInvalidHeapAttributeNumber);
	}
	foreach(cell, check->columns)
	{
		AttrNumber	column = get_attnum(RelationGetRelid(check->relation), lfirst(cell));

		if (column <= InvalidAttrNumber ||
			tap_compat_is_virtual(TupleDescAttr(descriptor, column - 1)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table %s has no column \"%s\" that could be published",
							tap_table_name_text(&check->name), (char *) lfirst(cell)),
					 errhint("Mend the option \"columns\".")));
		result = bms_add_member(result, column - FirstLowInvalidHeapAttributeNumber);
	}
	return result;
}

static void
report_privilege(const Check *check, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for table %s", tap_table_name_text(&check->name)),
			 errdetail("%s", detail),
			 errhint("The owner of the pipeline, \"%s\", needs SELECT on all that is published, and USAGE on the schema.",
					 GetUserNameFromId(check->owner, false))));
}

static void
check_privileges(const Check *check)
{
	Oid			relid = RelationGetRelid(check->relation);
	Bitmapset  *needed;
	int			member = -1;

	if (!tap_compat_can_use_schema(RelationGetNamespace(check->relation), check->owner))
		report_privilege(check, "The schema may not be used.");
	if (check_enable_rls(relid, check->owner, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security hides rows of table %s from role \"%s\"",
						tap_table_name_text(&check->name),
						GetUserNameFromId(check->owner, false)),
				 errhint("Have the pipeline owned by a role with BYPASSRLS, or by the owner of the table.")));
	if (pg_class_aclcheck(relid, check->owner, ACL_SELECT) == ACLCHECK_OK)
		return;
	needed = bms_union(published_columns(check), check->used);
	while ((member = bms_next_member(needed, member)) >= 0)
	{
		AttrNumber	column = member + FirstLowInvalidHeapAttributeNumber;

		if (pg_attribute_aclcheck(relid, column, check->owner, ACL_SELECT) != ACLCHECK_OK)
			report_privilege(check,
							 psprintf("Column \"%s\" may not be read.",
									  get_attname(relid, column, true)));
	}
}

/* ---------------------------------------------------------------------
 * Old rows
 * ---------------------------------------------------------------------
 */

static char *
qualified_name(Relation relation)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									  RelationGetRelationName(relation));
}

static void
report_identity(const Check *check, Relation relation)
{
	char	   *name = qualified_name(relation);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("updates and deletes of table %s cannot be published", name),
			 errdetail("It has no primary key, or no replica identity, that would say which row it was."),
			 errhint("Add a primary key, or run ALTER TABLE %s REPLICA IDENTITY FULL, or set the option publish to 'insert, truncate'.",
					 name)));
}

/*
 * The first of the root's columns that is not among those of one of its
 * partitions, or of the other way round; NULL: none.  Columns have the same
 * names in both.
 */
static char *
first_missing(Relation relation, const Bitmapset *columns, Relation other,
			  const Bitmapset *among)
{
	int			member = -1;

	while ((member = bms_next_member(columns, member)) >= 0)
	{
		char	   *name = get_attname(RelationGetRelid(relation),
									   member + FirstLowInvalidHeapAttributeNumber, false);
		AttrNumber	column = get_attnum(RelationGetRelid(other), name);

		if (!bms_is_member(column - FirstLowInvalidHeapAttributeNumber, among))
			return name;
	}
	return NULL;
}

/* A table or leaf partition that rows are stored in. */
static void
check_identity(const Check *check, Relation relation)
{
	Bitmapset  *identity;
	char	   *missing;

	if (tap_hub_identity(relation) == TAP_HUB_IDENTITY_NONE)
		report_identity(check, relation);
	if (tap_hub_identity(relation) == TAP_HUB_IDENTITY_FULL)
		return;

	identity = tap_hub_identity_columns(relation);
	missing = first_missing(check->relation, check->used, relation, identity);
	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the condition for table %s needs column \"%s\" of old rows",
						tap_table_name_text(&check->name), missing),
				 errdetail("Updates and deletes tell the old values of the replica identity only."),
				 errhint("Run ALTER TABLE %s REPLICA IDENTITY FULL, or use columns of the key only.",
						 qualified_name(relation))));
	missing = first_missing(relation, identity, check->relation, published_columns(check));
	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the columns that are published of table %s lack \"%s\" of its replica identity",
						tap_table_name_text(&check->name), missing),
				 errhint("Add it to the option \"columns\".")));
}

static void
check_kind(const Check *check, Relation relation)
{
	Form_pg_class class = relation->rd_rel;

	if (class->relkind != RELKIND_RELATION && class->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be published", RelationGetRelationName(relation)),
				 errdetail("Only tables and partitioned tables can be, whose partitions are not foreign.")));
	if (class->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" cannot be published", RelationGetRelationName(relation)),
				 errdetail("What is temporary or unlogged leaves no changes in WAL.")));
}

/* The table and all of its partitions, or it alone. */
static void
check_storage(const Check *check)
{
	List	   *relids = list_make1_oid(RelationGetRelid(check->relation));
	ListCell   *cell;

	if (check->relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		relids = find_all_inheritors(linitial_oid(relids), AccessShareLock, NULL);
	foreach(cell, relids)
	{
		Relation	relation = table_open(lfirst_oid(cell), AccessShareLock);

		check_kind(check, relation);
		if (relation->rd_rel->relkind == RELKIND_RELATION &&
			(check->kinds.update || check->kinds.delete))
			check_identity(check, relation);
		table_close(relation, NoLock);
	}
}

void
tap_publish_check_table(Oid relid, Oid owner, const TapOptions *options)
{
	Check		check = {.owner = owner};
	char	   *filter;

	check.relation = table_open(relid, AccessShareLock);
	check.name.schema = get_namespace_name(RelationGetNamespace(check.relation));
	check.name.name = RelationGetRelationName(check.relation);
	check.columns = tap_publish_columns(options, &check.name);
	check.kinds = tap_publish_kinds(options);
	check_kind(&check, check.relation);
	(void) published_columns(&check);
	filter = tap_publish_filter(options, &check.name);
	if (filter != NULL)
		check_filter(&check, filter);
	check_privileges(&check);
	check_storage(&check);
	table_close(check.relation, NoLock);
}
