/*-------------------------------------------------------------------------
 *
 * connectors/file/format_json.c
 *	  JSON lines, and JSON values or an array of them, as formats of files.
 *
 * NOTES
 *	  A field that no column has adds a column, in the middle of a file too.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "file_format.h"
#include "format_common.h"
#include "json_split.h"
#include "record_columns.h"
#include "record_reader.h"

struct TapFormatPlan
{
	TapRecordColumns *columns;
	TapSourceTable *table;
	int			encoding;
	TapJsonLayout layout;		/* of the file of the sample */
};

struct TapFormatReader
{
	TapFormatPlan plan;			/* its own: it grows */
	MemoryContext context;
	TapRecordReader *records;
	TapJsonSplit split;
	bool		at_begin;		/* a byte order mark may come */
};

/* ---------------------------------------------------------------------
 * Plans
 * ---------------------------------------------------------------------
 */

/* The next value of a sample in the database's encoding; NULL: no more. */
static const char *
next_value(TapJsonSplit *split, const char **data, Size *bytes, bool at_end,
		   int encoding, Size *length)
{
	TapJsonSplitResult result;
	const char *value = NULL;
	Size		taken;

	do
	{
		result = tap_json_split_next(split, *data, *bytes, at_end, MaxAllocSize,
									 &value, length, &taken);
		if (result == TAP_JSON_SPLIT_MORE || result == TAP_JSON_SPLIT_END)
			return NULL;
		*data += taken;
		*bytes -= taken;
	} while (result != TAP_JSON_SPLIT_VALUE);
	return tap_record_to_server(value, length, encoding);
}

static void
sample_all(TapFormatPlan *plan, TapRecordSample *sample,
		   const char *data, Size bytes, bool at_end)
{
	TapJsonSplit split;
	const char *value;
	Size		length;

	tap_json_split_begin(&split, plan->layout);
	while ((value = next_value(&split, &data, &bytes, at_end, plan->encoding,
							   &length)) != NULL)
		tap_record_sample_json(sample, value, length);
}

/* A value that makes no sense ends the sample; reading will report it. */
static void
sample_values(TapFormatPlan *plan, TapRecordSample *sample,
			  const char *data, Size bytes, bool at_end)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		sample_all(plan, sample, data, bytes, at_end);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		tap_format_forgive();
	}
	PG_END_TRY();
}

static TapFormatPlan *
make_plan(TapFormatOption option, void *arg, const char *definition, const char *data,
		  Size bytes, bool at_end, bool lines)
{
	TapFormatPlan *plan = palloc0(sizeof(TapFormatPlan));
	TapRecordColumns *base = tap_format_columns(option, arg, definition);

	plan->encoding = tap_format_encoding(option, arg);
	plan->columns = base;
	if (data != NULL)
	{
		Size		mark = tap_format_byte_order_mark(data, bytes, plan->encoding);
		TapRecordSample *sample = tap_record_sample_begin();

		data += mark;
		bytes -= mark;
		plan->layout = lines ? TAP_JSON_LINES : tap_json_split_sniff(data, bytes, at_end);
		sample_values(plan, sample, data, bytes, at_end);
		plan->columns = tap_record_sample_end(sample, base);
	}
	plan->table = tap_format_table(plan->columns);
	return plan;
}

static TapFormatPlan *
plan_lines(TapFormatOption option, void *arg, const char *definition,
		   const char *sample, Size bytes, bool at_end)
{
	return make_plan(option, arg, definition, sample, bytes, at_end, true);
}

static TapFormatPlan *
plan_values(TapFormatOption option, void *arg, const char *definition,
			const char *sample, Size bytes, bool at_end)
{
	return make_plan(option, arg, definition, sample, bytes, at_end, false);
}

static TapSourceTable *
describe(const TapFormatPlan *plan)
{
	return tap_format_table(plan->columns);
}

static char *
define(const TapFormatPlan *plan)
{
	return tap_record_columns_print(plan->columns);
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

static TapFormatReader *
open_reader(const TapFormatPlan *plan, uint64 offset, const char *state)
{
	TapFormatReader *reader = palloc0(sizeof(TapFormatReader));
	int			layout = plan->layout;
	int			place = TAP_JSON_PLACE_BEGIN;

	if (state != NULL && sscanf(state, "%d %d", &layout, &place) != 2)
		elog(ERROR, "state of a JSON file is not understood: %s", state);
	reader->plan = *plan;
	reader->context = CurrentMemoryContext;
	reader->records = tap_record_reader_make(plan->columns, plan->table->descriptor);
	tap_json_split_begin(&reader->split, (TapJsonLayout) layout);
	reader->split.place = place;
	reader->at_begin = state == NULL;
	return reader;
}

static char *
save(const TapFormatReader *reader)
{
	if (reader->at_begin)
		return NULL;
	return psprintf("%d %d", (int) reader->split.layout, reader->split.place);
}

/* Add the columns that only this record has. */
static void
grow(TapFormatReader *reader, const char *value, Size length)
{
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	TapRecordSample *sample = tap_record_sample_begin();

	tap_record_sample_json(sample, value, length);
	reader->plan.columns = tap_record_sample_end(sample, reader->plan.columns);
	reader->plan.table = tap_format_table(reader->plan.columns);
	reader->records = tap_record_reader_make(reader->plan.columns,
											 reader->plan.table->descriptor);
	MemoryContextSwitchTo(old);
}

/* False if the record needs more columns, which are there now. */
static bool
read_value(TapFormatReader *reader, const char *value, Size length, TupleTableSlot *slot)
{
	List	   *unknown = NIL;

	value = tap_record_to_server(value, &length, reader->plan.encoding);
	tap_record_read_json(reader->records, value, length, slot, NULL, &unknown);
	if (unknown == NIL)
		return true;
	grow(reader, value, length);
	return false;
}

static TapFormatResult
next(TapFormatReader *reader, const char *data, Size bytes, bool at_end, Size max_bytes,
	 TupleTableSlot *slot, Size *taken)
{
	TapJsonSplit before;
	const char *value;
	Size		length;

	if (reader->at_begin && bytes > 0)
	{
		reader->at_begin = false;
		*taken = tap_format_byte_order_mark(data, bytes, reader->plan.encoding);
		if (*taken > 0)
			return TAP_FORMAT_SKIP;
	}
	before = reader->split;
	switch (tap_json_split_next(&reader->split, data, bytes, at_end, max_bytes,
								&value, &length, taken))
	{
		case TAP_JSON_SPLIT_VALUE:
			break;
		case TAP_JSON_SPLIT_SKIP:
			return TAP_FORMAT_SKIP;
		case TAP_JSON_SPLIT_MORE:
			return TAP_FORMAT_MORE;
		case TAP_JSON_SPLIT_END:
			return TAP_FORMAT_END;
	}
	if (read_value(reader, value, length, slot))
		return TAP_FORMAT_ROW;
	reader->split = before;
	*taken = 0;
	return TAP_FORMAT_ALTERED;
}

static const TapFormatPlan *
altered(const TapFormatReader *reader)
{
	return &reader->plan;
}

static bool
complete(const TapFormatReader *reader)
{
	return reader->split.layout != TAP_JSON_ARRAY ||
		reader->split.place == TAP_JSON_PLACE_END;
}

static char *
show(const TapFormatReader *reader, const char *data, Size bytes)
{
	return tap_format_show_text(data, bytes);
}

const TapFormat tap_format_jsonl = {
	.name = "jsonl",
	.lines = true,
	.plan = plan_lines,
	.describe = describe,
	.define = define,
	.open = open_reader,
	.next = next,
	.altered = altered,
	.complete = complete,
	.save = save,
	.show = show
};

const TapFormat tap_format_json = {
	.name = "json",
	.lines = true,
	.plan = plan_values,
	.describe = describe,
	.define = define,
	.open = open_reader,
	.next = next,
	.altered = altered,
	.complete = complete,
	.save = save,
	.show = show
};
