/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_parameters.c
 *	  Rows of a run as the arrays that its statement takes.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "port/pg_bswap.h"

/* An array's header in binary format. */
typedef struct ArrayHeader
{
	uint32		ndim;
	uint32		has_null;
	uint32		element;
	uint32		length;
	uint32		lower_bound;
} ArrayHeader;

/* Which values of a row go where. */
typedef struct Plan
{
	int			nvalues;		/* in a row, as far as it is read */
	int		   *parameter;		/* [nvalues]; -1: not sent */
	int			count;			/* of arrays */
	bool	   *has_null;		/* [count] */
} Plan;

static void
plan_values(const TapPgShape *shape, Plan *plan, bool old)
{
	const TapPgTable *table = shape->table;
	int			ncolumns = table->ncolumns;

	if (shape->action == TAP_PG_DELETE || (shape->action == TAP_PG_MOVE && old))
		ncolumns = table->nkeys;
	for (int i = 0; i < ncolumns; i++)
	{
		bool		sent = old || shape->action == TAP_PG_DELETE ||
		shape->present == NULL || shape->present[i];

		plan->parameter[plan->nvalues++] = sent ? plan->count++ : -1;
	}
}

static void
make_plan(const TapPgShape *shape, Plan *plan)
{
	int			most = 2 * shape->table->ncolumns;

	plan->parameter = palloc(sizeof(int) * Max(most, 1));
	plan->nvalues = 0;
	plan->count = 0;
	if (shape->action == TAP_PG_MOVE || shape->action == TAP_PG_UPDATE_WHOLE)
		plan_values(shape, plan, true);
	plan_values(shape, plan, false);
	plan->has_null = palloc0(sizeof(bool) * Max(plan->count, 1));
}

static void
append_row(TapPgParameters *parameters, const Plan *plan, const char *row)
{
	for (int i = 0; i < plan->nvalues; i++)
	{
		const char *start = row;
		int			parameter = plan->parameter[i];
		int32		length;

		(void) tap_pg_next_value(&row, &length);
		if (parameter < 0)
			continue;
		appendBinaryStringInfo(&parameters->data[parameter], start, row - start);
		if (length < 0)
			plan->has_null[parameter] = true;
	}
}

static void
write_headers(TapPgParameters *parameters, const Plan *plan, const Oid *elements, int nrows)
{
	for (int i = 0; i < plan->count; i++)
	{
		ArrayHeader header = {
			.ndim = pg_hton32(1),
			.has_null = pg_hton32(plan->has_null[i] ? 1 : 0),
			.element = pg_hton32(elements[i]),
			.length = pg_hton32(nrows),
			.lower_bound = pg_hton32(1)
		};

		memcpy(parameters->data[i].data, &header, sizeof(header));
	}
}

static void
find_elements(const TapPgShape *shape, const Plan *plan, Oid *elements)
{
	const TapPgTable *table = shape->table;
	int			nold = 0;

	if (shape->action == TAP_PG_MOVE)
		nold = table->nkeys;
	else if (shape->action == TAP_PG_UPDATE_WHOLE)
		nold = table->ncolumns;
	for (int i = 0; i < plan->nvalues; i++)
	{
		if (plan->parameter[i] >= 0)
			elements[plan->parameter[i]] = table->columns[i < nold ? i : i - nold].element;
	}
}

TapPgParameters *
tap_pg_parameters(const TapPgRun *run, int first, int last, bool must_find)
{
	TapPgParameters *result = palloc0(sizeof(TapPgParameters));
	const TapPgShape *shape = run->shape;
	Oid			elements[2 * MaxHeapAttributeNumber];
	Plan		plan;
	int			nrows = 0;
	uint64		expected;

	make_plan(shape, &plan);
	result->count = plan.count + (shape->action == TAP_PG_INSERT || shape->upsert ? 0 : 1);
	result->data = palloc(sizeof(StringInfoData) * result->count);
	for (int i = 0; i < result->count; i++)
	{
		initStringInfo(&result->data[i]);
		result->data[i].len = i < plan.count ? sizeof(ArrayHeader) : 0;
	}
	for (int i = first; i < last; i++)
	{
		if (run->rows[i].dead)
			continue;
		append_row(result, &plan, run->data.data + run->rows[i].offset);
		nrows++;
	}
	find_elements(shape, &plan, elements);
	write_headers(result, &plan, elements, nrows);
	if (result->count > plan.count)
	{
		expected = pg_hton64(must_find ? (uint64) nrows : (uint64) -1);
		appendBinaryStringInfo(&result->data[plan.count], (char *) &expected, sizeof(expected));
	}

	result->values = palloc(sizeof(char *) * result->count);
	result->lengths = palloc(sizeof(int) * result->count);
	result->formats = palloc(sizeof(int) * result->count);
	for (int i = 0; i < result->count; i++)
	{
		result->values[i] = result->data[i].data;
		result->lengths[i] = result->data[i].len;
		result->formats[i] = 1;
	}
	return result;
}
