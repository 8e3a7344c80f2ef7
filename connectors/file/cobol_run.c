/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_run.c
 *	  Runs the programme over a record.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "cobol_private.h"

static TapCobolResult run_body(TapCobolRun *run, uint32_t next, uint32_t end, int64_t *shift,
							   bool *matched);

static TapCobolResult
run_field(TapCobolRun *run, const TapCobolOp *op, int64_t shift)
{
	int64_t		at = (int64_t) op->offset + shift;

	if (at < 0 || at + (int64_t) op->bytes > (int64_t) run->length)
	{
		if (run->lenient)
			return TAP_COBOL_READ;
		run->op = op;
		run->at = at;
		return TAP_COBOL_SHORT;
	}
	run->op = op;
	run->at = at;
	run->sink->field(run->arg, op, run->data + at);
	return TAP_COBOL_READ;
}

/* How long a table is that depends on an item. */
static TapCobolResult
read_count(TapCobolRun *run, const TapCobolOp *op, int64_t *count)
{
	TapCobolOp	depends = {0};
	int64_t		at = run->marks[op->mark];

	depends.item = run->programme->marks[op->mark];
	depends.bytes = depends.item->bytes;
	depends.ebcdic = op->ebcdic;
	depends.whole_range = true;
	depends.field = op->field;
	run->op = op;
	run->at = at;
	if (at < 0 || at + (int64_t) depends.bytes > (int64_t) run->length)
	{
		*count = 0;
		return run->lenient ? TAP_COBOL_READ : TAP_COBOL_SHORT;
	}
	run->count_is_number = tap_cobol_integer(&depends, run->data + at, count) == TAP_NUMBER_OK;
	run->count = *count;
	if (!run->count_is_number || *count < (int64_t) op->least || *count > (int64_t) op->most)
		return TAP_COBOL_BAD_COUNT;
	return TAP_COBOL_READ;
}

static TapCobolResult
run_table(TapCobolRun *run, uint32_t at, int64_t *shift)
{
	const TapCobolOp *op = &run->programme->ops[at];
	TapCobolResult result = TAP_COBOL_READ;
	int64_t		before = *shift;
	int64_t		count = op->most;
	bool		matched = false;

	if (op->mark >= 0)
		result = read_count(run, op, &count);
	if (result != TAP_COBOL_READ)
		return result;
	if (!op->silent)
		run->sink->begin(run->arg, op, (uint32_t) count);
	for (int64_t i = 0; i < count && result == TAP_COBOL_READ; i++)
	{
		if (op->of_groups && !op->silent)
			run->sink->element(run->arg, op);
		result = run_body(run, at + 1, op->end, shift, &matched);
		if (op->of_groups && !op->silent && result == TAP_COBOL_READ)
			run->sink->element_end(run->arg, op);
		*shift += op->bytes;
	}
	if (result != TAP_COBOL_READ)
		return result;
	if (!op->silent)
		run->sink->end(run->arg, op);
	*shift = run->programme->slides ? *shift - (int64_t) op->most * op->bytes : before;
	return TAP_COBOL_READ;
}

static TapCobolResult
run_group(TapCobolRun *run, uint32_t at, int64_t *shift)
{
	const TapCobolOp *op = &run->programme->ops[at];
	TapCobolResult result;
	bool		matched = false;

	run->sink->begin(run->arg, op, 1);
	result = run_body(run, at + 1, op->end, shift, &matched);
	if (result == TAP_COBOL_READ)
		run->sink->end(run->arg, op);
	return result;
}

/* What stands behind is where it would be if this were as long as it can be. */
static TapCobolResult
run_case(TapCobolRun *run, uint32_t at, int64_t shift, bool *matched)
{
	const TapCobolOp *op = &run->programme->ops[at];
	TapCobolResult result;
	bool		inner = false;

	if (!tap_cobol_test(op->test, run, NULL))
		return TAP_COBOL_READ;
	result = run_body(run, at + 1, op->end, &shift, &inner);
	if (op->record)
	{
		*matched = true;
		run->described = (int64_t) op->bytes + shift;
	}
	return result;
}

static TapCobolResult
run_body(TapCobolRun *run, uint32_t next, uint32_t end, int64_t *shift, bool *matched)
{
	TapCobolResult result = TAP_COBOL_READ;

	while (next < end && result == TAP_COBOL_READ)
	{
		const TapCobolOp *op = &run->programme->ops[next];

		switch (op->kind)
		{
			case TAP_COBOL_FIELD:
				result = run_field(run, op, *shift);
				next++;
				break;
			case TAP_COBOL_MARK:
				run->marks[op->mark] = (int64_t) op->offset + *shift;
				next++;
				break;
			case TAP_COBOL_TABLE:
				result = run_table(run, next, shift);
				next = op->end;
				break;
			case TAP_COBOL_GROUP:
				result = run_group(run, next, shift);
				next = op->end;
				break;
			case TAP_COBOL_CASE:
				result = run_case(run, next, *shift, matched);
				next = op->end;
				break;
		}
	}
	return result;
}

TapCobolResult
tap_cobol_run(TapCobolRun *run, const uint8_t *data, size_t length, size_t limit)
{
	const TapCobolProgramme *programme = run->programme;
	TapCobolResult result;
	int64_t		shift = 0;
	bool		matched = false;

	run->data = data;
	run->length = length;
	run->op = NULL;
	run->described = 0;
	/* a CASE may depend on what stands behind it */
	for (int i = 0; i < programme->nmarks; i++)
		run->marks[i] = programme->marks[i]->offset;
	result = run_body(run, 0, programme->nops, &shift, &matched);
	if (result != TAP_COBOL_READ)
		return result;
	if (!matched)
		return TAP_COBOL_OTHER;
	if (!run->lenient && length > (limit > 0 ? limit : (size_t) run->described))
		return TAP_COBOL_LONG;
	return TAP_COBOL_READ;
}
