/*-------------------------------------------------------------------------
 *
 * connectors/http/http_poll_cursor.c
 *	  How far an incremental endpoint was read.
 *
 * NOTES
 *	  The largest value of the cursor column counts, by the order of its type,
 *	  whatever the order of the records is; it becomes the parameter of the
 *	  next poll when the poll has ended.  It is kept as the server wrote it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

static Form_pg_attribute
cursor_attribute(const TapHttpPoll *poll)
{
	return TupleDescAttr(poll->table->source->descriptor, poll->table->cursor - 1);
}

static bool
is_larger(const TapHttpPoll *poll, Datum value)
{
	TypeCacheEntry *type = lookup_type_cache(cursor_attribute(poll)->atttypid,
											 TYPECACHE_CMP_PROC_FINFO);

	if (!OidIsValid(type->cmp_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of endpoint %s cannot be its \"cursor\"",
						poll->endpoint->cursor, tap_http_endpoint_text(poll->endpoint)),
				 errdetail("Values of its type have no order.")));
	return DatumGetInt32(FunctionCall2Coll(&type->cmp_proc_finfo, C_COLLATION_OID, value,
										   poll->largest)) > 0;
}

static void
keep_largest(TapHttpPoll *poll, Datum value)
{
	Form_pg_attribute attribute = cursor_attribute(poll);
	MemoryContext before = MemoryContextSwitchTo(poll->state_context);

	if (poll->largest_known && !attribute->attbyval)
		pfree(DatumGetPointer(poll->largest));
	poll->largest = datumCopy(value, attribute->attbyval, attribute->attlen);
	poll->largest_known = true;
	MemoryContextSwitchTo(before);
}

void
tap_http_cursor_take(TapHttpPoll *poll)
{
	TapHttpTable *table = poll->table;
	Datum		value;
	bool		isnull;
	char	   *text;

	if (table->cursor == 0)
		return;
	value = slot_getattr(table->slot, table->cursor, &isnull);
	if (isnull)
		return;
	if (!poll->largest_known && poll->state.largest != NULL)
		keep_largest(poll, tap_record_read_value(table->reader, table->cursor,
												 poll->state.largest, strlen(poll->state.largest)));
	if (poll->largest_known && !is_larger(poll, value))
		return;
	text = tap_http_table_cursor(table, poll->page);
	if (text == NULL)
		return;
	keep_largest(poll, value);
	tap_http_state_set(poll, &poll->state.largest, text);
}

/* ---------------------------------------------------------------------
 * The parameter
 * ---------------------------------------------------------------------
 */

static char *
print_time(Datum value, Oid type)
{
	char	   *buffer = palloc(MAXDATELEN + 1);
	int			utc = 0;

	return JsonEncodeDateTime(buffer, value, type, type == TIMESTAMPTZOID ? &utc : NULL);
}

static char *
time_before(Datum value, Oid type, const char *overlap)
{
	Datum		interval = DirectFunctionCall3(interval_in, CStringGetDatum(overlap),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	switch (type)
	{
		case DATEOID:
			value = DirectFunctionCall1(timestamp_date,
										DirectFunctionCall2(date_mi_interval, value, interval));
			break;
		case TIMESTAMPOID:
			value = DirectFunctionCall2(timestamp_mi_interval, value, interval);
			break;
		default:
			value = DirectFunctionCall2(timestamptz_mi_interval, value, interval);
			break;
	}
	return print_time(value, type);
}

static char *
number_before(const char *text, const char *overlap)
{
	Datum		numbers[2];
	const char *texts[2] = {text, overlap};

	for (int i = 0; i < 2; i++)
		numbers[i] = DirectFunctionCall3(numeric_in, CStringGetDatum(texts[i]),
										 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   DirectFunctionCall2(numeric_sub, numbers[0],
																   numbers[1])));
}

static char *
value_before(const TapHttpPoll *poll, const char *text, const char *overlap)
{
	Oid			type = cursor_attribute(poll)->atttypid;

	switch (type)
	{
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return time_before(tap_record_read_value(poll->table->reader, poll->table->cursor,
													 text, strlen(text)), type, overlap);
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
			return number_before(text, overlap);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"overlap\" of endpoint %s has no meaning for its \"cursor\"",
							tap_http_endpoint_text(poll->endpoint)),
					 errhint("It is for columns of dates, time stamps and numbers; \"columns\" gives a column another type.")));
	}
	return NULL;
}

char *
tap_http_cursor_parameter(const TapHttpPoll *poll)
{
	const TapHttpEndpoint *endpoint = poll->endpoint;
	const char *cursor = poll->state.cursor;
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	char	   *result;

	if (endpoint->cursor == NULL)
		return NULL;
	if (cursor == NULL)
		return endpoint->cursor_start ? pstrdup(endpoint->cursor_start) : NULL;
	if (endpoint->overlap == NULL)
		return pstrdup(cursor);
	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	result = value_before(poll, cursor, endpoint->overlap);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}
