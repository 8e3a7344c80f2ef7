/*-------------------------------------------------------------------------
 *
 * src/apply_sql.c
 *	  Writes hub tables by prepared SQL: partitioned and foreign tables, views,
 *	  tables with triggers, rules or row-level security.
 *
 * NOTES
 *	  One plan for each shape of change: what is stored, and what finds the
 *	  row.  While catching up a row is updated first and inserted if it was
 *	  not there; with one writer that needs no ON CONFLICT, which not all
 *	  kinds of table have.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "apply_private.h"

/* Plans of one target; sources of minimal images send many shapes. */
#define MAX_PLANS	64

/* Where the values of a statement come from. */
typedef struct TapSqlRow
{
	const TapRowImage *image;	/* what is stored; NULL: nothing */
	const TapRowImage *match;	/* what finds the row; NULL: nothing */
	Datum	   *completed;		/* values made of parts, by source column, in
								 * the source's type; NULL: none */
	bool	   *completed_null;
} TapSqlRow;

/* A statement while it is put together. */
typedef struct TapSqlBuilder
{
	TapTarget  *target;
	StringInfoData text;
	int			nparameters;
	AttrNumber *parameters;
	Oid		   *types;
} TapSqlBuilder;

/* ---------------------------------------------------------------------
 * Statements
 * ---------------------------------------------------------------------
 */

static Form_pg_attribute
hub_attribute(TapTarget *target, AttrNumber source_column)
{
	AttrNumber	column = target->mapping->hub_of_source[source_column - 1];

	return TupleDescAttr(RelationGetDescr(target->rel), column - 1);
}

static const char *
column_name(TapTarget *target, AttrNumber source_column)
{
	return quote_identifier(NameStr(hub_attribute(target, source_column)->attname));
}

static int
add_parameter(TapSqlBuilder *builder, AttrNumber source_column, bool match)
{
	int			n = builder->nparameters++;

	builder->parameters[n] = match ? -source_column : source_column;
	builder->types[n] = hub_attribute(builder->target, source_column)->atttypid;
	return n + 1;
}

static void
append_columns(TapSqlBuilder *builder, Bitmapset *columns, const char *separator)
{
	int			column = -1;
	const char *before = "";

	while ((column = bms_next_member(columns, column)) >= 0)
	{
		appendStringInfo(&builder->text, "%s%s", before,
						 column_name(builder->target, column));
		before = separator;
	}
}

static void
append_parameters(TapSqlBuilder *builder, Bitmapset *columns, bool match)
{
	int			column = -1;
	const char *before = "";

	while ((column = bms_next_member(columns, column)) >= 0)
	{
		appendStringInfo(&builder->text, "%s$%d", before,
						 add_parameter(builder, column, match));
		before = ", ";
	}
}

static void
append_assignments(TapSqlBuilder *builder, Bitmapset *columns)
{
	int			column = -1;
	const char *before = "";

	while ((column = bms_next_member(columns, column)) >= 0)
	{
		appendStringInfo(&builder->text, "%s%s = $%d", before,
						 column_name(builder->target, column),
						 add_parameter(builder, column, false));
		before = ", ";
	}
}

static void
append_key_match(TapSqlBuilder *builder, Bitmapset *match)
{
	int			column = -1;
	const char *before = "";

	while ((column = bms_next_member(match, column)) >= 0)
	{
		Form_pg_attribute att = hub_attribute(builder->target, column);
		TypeCacheEntry *type = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR);
		char		parameter[16];

		if (!OidIsValid(type->eq_opr))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("could not identify an equality operator for type %s",
							format_type_be(att->atttypid)),
					 errtablecol(builder->target->rel, att->attnum)));
		appendStringInfoString(&builder->text, before);
		snprintf(parameter, sizeof(parameter), "$%d",
				 add_parameter(builder, column, true));
		generate_operator_clause(&builder->text,
								 column_name(builder->target, column),
								 att->atttypid, type->eq_opr, parameter,
								 att->atttypid);
		before = " AND ";
	}
}

/* One of the rows that equal the old one byte by byte. */
static void
append_row_match(TapSqlBuilder *builder, const char *table, Bitmapset *match)
{
	appendStringInfo(&builder->text,
					 "(tableoid, ctid) = (SELECT tableoid, ctid FROM %s WHERE ROW(",
					 table);
	append_columns(builder, match, ", ");
	appendStringInfoString(&builder->text,
						   ")::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(");
	append_parameters(builder, match, true);
	appendStringInfoString(&builder->text, ")::pg_catalog.record LIMIT 1)");
}

static void
append_where(TapSqlBuilder *builder, const char *table, Bitmapset *match)
{
	appendStringInfoString(&builder->text, " WHERE ");
	if (builder->target->mapping->nkeys > 0)
		append_key_match(builder, match);
	else
		append_row_match(builder, table, match);
}

static void
build_statement(TapSqlBuilder *builder, const TapSqlPlan *shape)
{
	Relation	rel = builder->target->rel;
	char	   *table;

	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									   RelationGetRelationName(rel));
	if (shape->select)
	{
		appendStringInfoString(&builder->text, "SELECT ");
		append_columns(builder, shape->set, ", ");
		appendStringInfo(&builder->text, " FROM %s", table);
		append_where(builder, table, shape->match);
		return;
	}

	switch (shape->kind)
	{
		case TAP_CHANGE_INSERT:
			appendStringInfo(&builder->text, "INSERT INTO %s (", table);
			append_columns(builder, shape->set, ", ");
			appendStringInfoString(&builder->text,
								   ") OVERRIDING SYSTEM VALUE VALUES (");
			append_parameters(builder, shape->set, false);
			appendStringInfoChar(&builder->text, ')');
			break;
		case TAP_CHANGE_UPDATE:
			appendStringInfo(&builder->text, "UPDATE %s SET ", table);
			append_assignments(builder, shape->set);
			append_where(builder, table, shape->match);
			break;
		case TAP_CHANGE_DELETE:
			appendStringInfo(&builder->text, "DELETE FROM %s", table);
			append_where(builder, table, shape->match);
			break;
		case TAP_CHANGE_TRUNCATE:
		case TAP_CHANGE_READ:
			elog(ERROR, "unexpected kind of change");
	}
}

/* ---------------------------------------------------------------------
 * Plans
 * ---------------------------------------------------------------------
 */

void
tap_sql_forget(TapTarget *target)
{
	while (target->plans != NULL)
	{
		TapSqlPlan *plan = target->plans;

		target->plans = plan->next;
		SPI_freeplan(plan->plan);
	}
}

/* Prepare a statement; the plan lives as long as the mapping. */
static TapSqlPlan *
make_plan(TapTarget *target, const TapSqlPlan *shape)
{
	MemoryContext oldcontext;
	TapSqlBuilder builder = {.target = target};
	TapSqlPlan *plan;
	SPIPlanPtr	prepared;

	initStringInfo(&builder.text);
	builder.parameters = palloc(sizeof(AttrNumber) * 2 * target->mapping->nsource);
	builder.types = palloc(sizeof(Oid) * 2 * target->mapping->nsource);
	build_statement(&builder, shape);

	prepared = SPI_prepare(builder.text.data, builder.nparameters, builder.types);
	if (prepared == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", builder.text.data,
			 SPI_result_code_string(SPI_result));

	oldcontext = MemoryContextSwitchTo(target->mapping_context);
	plan = palloc0(sizeof(TapSqlPlan));
	plan->kind = shape->kind;
	plan->select = shape->select;
	plan->set = bms_copy(shape->set);
	plan->match = bms_copy(shape->match);
	plan->nparameters = builder.nparameters;
	plan->parameters = palloc(sizeof(AttrNumber) * Max(builder.nparameters, 1));
	memcpy(plan->parameters, builder.parameters,
		   sizeof(AttrNumber) * builder.nparameters);
	MemoryContextSwitchTo(oldcontext);

	SPI_keepplan(prepared);
	plan->plan = prepared;
	plan->next = target->plans;
	target->plans = plan;
	return plan;
}

static TapSqlPlan *
get_plan(TapTarget *target, const TapSqlPlan *shape)
{
	int			nplans = 0;

	for (TapSqlPlan *plan = target->plans; plan != NULL; plan = plan->next)
	{
		if (plan->kind == shape->kind && plan->select == shape->select &&
			bms_equal(plan->set, shape->set) &&
			bms_equal(plan->match, shape->match))
			return plan;
		nplans++;
	}
	if (nplans >= MAX_PLANS)
		tap_sql_forget(target);
	return make_plan(target, shape);
}

/* Source columns that are both in the image and stored in the hub. */
static Bitmapset *
stored_columns(TapTarget *target, const TapRowImage *image)
{
	Bitmapset  *columns = NULL;

	for (int i = 1; i <= target->mapping->nsource; i++)
	{
		if (target->mapping->hub_of_source[i - 1] != InvalidAttrNumber &&
			(tap_image_has(image, i) ||
			 (image->partial != NULL && image->partial[i - 1] != NULL)))
			columns = bms_add_member(columns, i);
	}
	return columns;
}

/* Source columns that find the row. */
static Bitmapset *
match_columns(TapTarget *target, const TapRowImage *image)
{
	Bitmapset  *columns = NULL;

	if (target->source->nkeys == 0)
		return stored_columns(target, image);
	for (int i = 0; i < target->source->nkeys; i++)
		columns = bms_add_member(columns, target->source->keys[i]);
	return columns;
}

/* ---------------------------------------------------------------------
 * Execution
 * ---------------------------------------------------------------------
 */

static Datum
parameter_value(TapTarget *target, const TapSqlRow *row, AttrNumber parameter,
				bool *isnull)
{
	AttrNumber	column = parameter < 0 ? -parameter : parameter;
	const TapRowImage *image = parameter < 0 ? row->match : row->image;
	Datum		value;

	if (parameter > 0 && image->partial != NULL &&
		image->partial[column - 1] != NULL)
	{
		value = row->completed[column - 1];
		*isnull = row->completed_null[column - 1];
	}
	else
	{
		value = image->slot->tts_values[column - 1];
		*isnull = image->slot->tts_isnull[column - 1];
	}
	return tap_mapping_value(target->mapping, column, value, isnull);
}

/* SPI must be connected.  Returns the number of rows. */
static uint64
execute_connected(TapTarget *target, const TapSqlPlan *shape, const TapSqlRow *row)
{
	TapSqlPlan *plan = get_plan(target, shape);
	Datum	   *values = palloc(sizeof(Datum) * Max(plan->nparameters, 1));
	char	   *nulls = palloc(Max(plan->nparameters, 1));
	int			expected;
	int			result;

	for (int i = 0; i < plan->nparameters; i++)
	{
		bool		isnull;

		values[i] = parameter_value(target, row, plan->parameters[i], &isnull);
		nulls[i] = isnull ? 'n' : ' ';
	}

	expected = shape->select ? SPI_OK_SELECT :
		shape->kind == TAP_CHANGE_INSERT ? SPI_OK_INSERT :
		shape->kind == TAP_CHANGE_UPDATE ? SPI_OK_UPDATE : SPI_OK_DELETE;
	result = SPI_execute_plan(plan->plan, values, nulls, false, 0);
	if (result != expected && result != SPI_OK_REWRITTEN)
		elog(ERROR, "unexpected result of a hub table's statement: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

static uint64
execute_plan(TapTarget *target, const TapSqlPlan *shape, const TapSqlRow *row)
{
	uint64		nrows;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	nrows = execute_connected(target, shape, row);
	SPI_finish();
	return nrows;
}

static void
insert_row(TapTarget *target, const TapRowImage *image)
{
	TapSqlPlan	shape = {.kind = TAP_CHANGE_INSERT};
	TapSqlRow	row = {.image = image};

	shape.set = stored_columns(target, image);
	execute_plan(target, &shape, &row);
}

void
tap_sql_insert(TapTarget *target, const TapRowImage *image)
{
	insert_row(target, image);
}

/*
 * Whether the row is there.  A trigger or a rule may have done something else
 * than what was asked for, and then no row was reported.
 */
static bool
row_exists(TapTarget *target, const TapRowImage *match)
{
	TapSqlPlan	shape = {.kind = TAP_CHANGE_UPDATE,.select = true};
	TapSqlRow	row = {.match = match};

	shape.match = match_columns(target, match);
	return execute_plan(target, &shape, &row) > 0;
}

static bool
delete_row(TapTarget *target, const TapRowImage *match)
{
	TapSqlPlan	shape = {.kind = TAP_CHANGE_DELETE};
	TapSqlRow	row = {.match = match};

	shape.match = match_columns(target, match);
	return execute_plan(target, &shape, &row) > 0 || row_exists(target, match);
}

/*
 * Read the columns that were sent in part and complete them.  Returns false
 * if the row is not there.
 */
static bool
complete_columns(TapTarget *target, const TapEvent *event, TapSqlRow *row)
{
	TapSqlPlan	shape = {.kind = TAP_CHANGE_UPDATE,.select = true};
	MemoryContext outer = CurrentMemoryContext;
	int			natts = target->mapping->nsource;
	int			column = -1;
	int			at = 0;
	bool		found;

	for (int i = 1; i <= natts; i++)
	{
		if (event->new_row.partial[i - 1] != NULL &&
			target->mapping->hub_of_source[i - 1] != InvalidAttrNumber)
			shape.set = bms_add_member(shape.set, i);
	}
	shape.match = match_columns(target, row->match);
	row->completed = palloc0(sizeof(Datum) * natts);
	row->completed_null = palloc0(sizeof(bool) * natts);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	found = execute_connected(target, &shape, row) > 0;
	while (found && (column = bms_next_member(shape.set, column)) >= 0)
	{
		Datum		value;
		bool		isnull;
		MemoryContext oldcontext;

		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, ++at,
							  &isnull);
		oldcontext = MemoryContextSwitchTo(outer);
		if (!isnull)
		{
			Form_pg_attribute att = hub_attribute(target, column);

			value = datumCopy(value, att->attbyval, att->attlen);
		}
		row->completed[column - 1] =
			tap_apply_complete(target, event, column, value, isnull,
							   &row->completed_null[column - 1]);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return found;
}

static bool
update_row(TapTarget *target, const TapEvent *event, const TapRowImage *match)
{
	TapSqlPlan	shape = {.kind = TAP_CHANGE_UPDATE};
	TapSqlRow	row = {.image = &event->new_row,.match = match};

	if (event->new_row.partial != NULL && !complete_columns(target, event, &row))
		return false;
	shape.set = stored_columns(target, &event->new_row);
	shape.match = match_columns(target, match);
	if (bms_is_empty(shape.set))
		return row_exists(target, match);
	return execute_plan(target, &shape, &row) > 0 || row_exists(target, match);
}

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */

static void
insert_if_complete(TapTarget *target, const TapEvent *event)
{
	if (tap_image_complete(target, &event->new_row))
		insert_row(target, &event->new_row);
	else
		target->apply->found = TAP_APPLY_FOUND_NOTHING;
}

/* While catching up; the cases are those of apply_direct.c. */
static void
update_catchup(TapTarget *target, const TapEvent *event, const TapRowImage *match)
{
	TapRowImage new_key;

	if (!tap_apply_key_changed(target, event))
	{
		if (!update_row(target, event, match))
			insert_if_complete(target, event);
		return;
	}

	tap_apply_new_key(target, event, &new_key);
	if (row_exists(target, &new_key))
	{
		update_row(target, event, &new_key);
		delete_row(target, match);
	}
	else if (!update_row(target, event, match))
		insert_if_complete(target, event);
	else if (!tap_image_complete(target, &event->new_row))
		target->apply->found = TAP_APPLY_FOUND_OLD_KEY;
}

void
tap_sql_change(TapTarget *target, const TapEvent *event, TapApplyMode mode)
{
	const TapRowImage *match = tap_apply_key_image(target, event);
	bool		strict = mode == TAP_APPLY_STRICT || target->source->nkeys == 0;

	switch (event->change)
	{
		case TAP_CHANGE_INSERT:
			if (strict)
				insert_row(target, &event->new_row);
			else if (!update_row(target, event, &event->new_row))
				insert_if_complete(target, event);
			break;
		case TAP_CHANGE_UPDATE:
			if (!strict)
				update_catchup(target, event, match);
			else if (!update_row(target, event, match))
				tap_apply_report_missing(target, "update", match->slot);
			break;
		case TAP_CHANGE_DELETE:
			if (!delete_row(target, match) && strict)
				tap_apply_report_missing(target, "delete", match->slot);
			break;
		case TAP_CHANGE_TRUNCATE:
		case TAP_CHANGE_READ:
			elog(ERROR, "unexpected kind of change");
	}
}
