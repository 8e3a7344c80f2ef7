/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_format.c
 *	  Records of mainframe files as formats of files.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "cobol_plan.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

/* ---------------------------------------------------------------------
 * Plans
 * ---------------------------------------------------------------------
 */

static void
release_plan(void *arg)
{
	TapFormatPlan *plan = arg;

	tap_copybook_free(plan->copybook);
	tap_code_page_close(plan->page);
}

static void
report_copybook(const TapCopybookError *error)
{
	if (error->no_memory)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 error->line > 0 ?
			 errmsg("copybook, line %d, column %d: %s", error->line, error->column, error->message) :
			 errmsg("%s", error->message),
			 error->hint[0] != '\0' ? errhint("%s", error->hint) : 0));
}

static void
compile(TapFormatPlan *plan)
{
	TapCobolSettings *settings = &plan->settings;
	TapCopybookError error;

	tap_cobol_check_code_page(settings->code_page);
	plan->page = tap_code_page_open(settings->code_page);
	plan->copybook = tap_copybook_parse(settings->copybook, strlen(settings->copybook),
										&settings->layout, &error);
	if (plan->copybook != NULL)
		plan->programme = tap_cobol_compile(plan->copybook, plan->page, &settings->wish, &error);
	if (plan->page == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (plan->programme == NULL)
		report_copybook(&error);
}

static Oid
type_of(const TapCobolColumn *column)
{
	static const Oid types[][2] = {
		[TAP_COBOL_IS_TEXT] = {TEXTOID, TEXTARRAYOID},
		[TAP_COBOL_IS_SMALLINT] = {INT2OID, INT2ARRAYOID},
		[TAP_COBOL_IS_INT] = {INT4OID, INT4ARRAYOID},
		[TAP_COBOL_IS_BIGINT] = {INT8OID, INT8ARRAYOID},
		[TAP_COBOL_IS_NUMERIC] = {NUMERICOID, NUMERICARRAYOID},
		[TAP_COBOL_IS_REAL] = {FLOAT4OID, FLOAT4ARRAYOID},
		[TAP_COBOL_IS_DOUBLE] = {FLOAT8OID, FLOAT8ARRAYOID},
		[TAP_COBOL_IS_JSON] = {JSONBOID, JSONBARRAYOID}
	};

	return types[column->type][column->array];
}

static void
make_columns(TapFormatPlan *plan)
{
	const TapCobolProgramme *programme = plan->programme;

	plan->columns = palloc0(sizeof(TapRecordColumns));
	plan->columns->ncolumns = programme->ncolumns;
	plan->columns->columns = palloc0(sizeof(TapRecordColumn) * programme->ncolumns);
	for (int i = 0; i < programme->ncolumns; i++)
	{
		TapRecordColumn *column = &plan->columns->columns[i];
		const TapCobolColumn *from = &programme->columns[i];

		column->name = pstrdup(from->name);
		column->field = column->name;
		column->type = type_of(from);
		column->typmod = -1;
		if (from->type == TAP_COBOL_IS_NUMERIC)
			column->typmod = (from->precision << 16 | from->scale) + VARHDRSZ;
	}
}

static TapFormatPlan *
make_plan(TapFrameKind kind, TapFormatOption option, void *arg, const char *definition)
{
	TapFormatPlan *plan = palloc0(sizeof(TapFormatPlan));

	plan->kind = kind;
	plan->release.func = release_plan;
	plan->release.arg = plan;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &plan->release);
	tap_cobol_settings_take(&plan->settings, option, arg, definition);
	compile(plan);
	make_columns(plan);
	return plan;
}

/*
 * The copybook says what there is, but for the beginning of a file (a sample)
 * by what it says now: it may have changed since the definition was made.
 */
static const char *
definition_to_use(const char *definition, const char *sample)
{
	return sample == NULL ? definition : NULL;
}

static TapFormatPlan *
plan_fixed(TapFormatOption option, void *arg, const char *definition, const char *sample,
		   Size bytes, bool at_end)
{
	return make_plan(TAP_FRAME_FIXED, option, arg, definition_to_use(definition, sample));
}

static TapFormatPlan *
plan_rdw(TapFormatOption option, void *arg, const char *definition, const char *sample,
		 Size bytes, bool at_end)
{
	return make_plan(TAP_FRAME_RDW, option, arg, definition_to_use(definition, sample));
}

static TapFormatPlan *
plan_bdw(TapFormatOption option, void *arg, const char *definition, const char *sample,
		 Size bytes, bool at_end)
{
	return make_plan(TAP_FRAME_BDW, option, arg, definition_to_use(definition, sample));
}

static TapFormatPlan *
plan_lines(TapFormatOption option, void *arg, const char *definition, const char *sample,
		   Size bytes, bool at_end)
{
	return make_plan(TAP_FRAME_LINES, option, arg, definition_to_use(definition, sample));
}

static char *
define(const TapFormatPlan *plan)
{
	return tap_cobol_define(&plan->settings);
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

static const char *
usage_text(const TapCobolItem *item)
{
	static const char *const texts[] = {
		[TAP_USAGE_NONE] = "",[TAP_USAGE_DISPLAY] = "",[TAP_USAGE_NATIONAL] = " NATIONAL",
		[TAP_USAGE_DBCS] = " DISPLAY-1",[TAP_USAGE_BINARY] = " COMP",[TAP_USAGE_NATIVE] = " COMP-5",
		[TAP_USAGE_PACKED] = " COMP-3",[TAP_USAGE_FLOAT] = "COMP-1",[TAP_USAGE_DOUBLE] = "COMP-2",
		[TAP_USAGE_INDEX] = "INDEX",[TAP_USAGE_POINTER] = "POINTER"
	};

	return texts[item->usage];
}

/* As the copybook has it, for tapdata.discover(). */
static char *
source_type(const TapCobolColumn *column)
{
	StringInfoData text;

	initStringInfo(&text);
	if (column->item->first != NULL)
		appendStringInfoString(&text, "group");
	if (column->item->picture != NULL)
		appendStringInfo(&text, "PIC %s", column->item->picture);
	appendStringInfoString(&text, usage_text(column->item));
	if (column->item->occurs_max > 0)
		appendStringInfo(&text, " OCCURS %u", column->item->occurs_max);
	return text.data;
}

static void
append_literal(StringInfo text, const TapCobolLiteral *literal)
{
	static const char *const figuratives[] = {
		[TAP_LITERAL_SPACES] = "SPACES",[TAP_LITERAL_ZEROS] = "ZEROS",
		[TAP_LITERAL_LOW] = "LOW-VALUES",[TAP_LITERAL_HIGH] = "HIGH-VALUES"
	};

	if (literal->all)
		appendStringInfoString(text, "ALL ");
	switch (literal->kind)
	{
		case TAP_LITERAL_NUMBER:
			appendStringInfoString(text, literal->text);
			break;
		case TAP_LITERAL_TEXT:
			appendStringInfo(text, "'%s'", literal->text);
			break;
		case TAP_LITERAL_HEX:
			appendStringInfoString(text, "X'");
			for (Size i = 0; i < literal->length; i++)
				appendStringInfo(text, "%02X", (unsigned char) literal->text[i]);
			appendStringInfoChar(text, '\'');
			break;
		default:
			appendStringInfoString(text, figuratives[literal->kind]);
	}
}

/* Level 88: "ACTIVE 'A', CLOSED 'C' THRU 'D'"; NULL: there is none. */
static char *
conditions_text(const TapCobolItem *item)
{
	StringInfoData text;

	if (item->conditions == NULL)
		return NULL;
	initStringInfo(&text);
	for (const TapCobolCondition *condition = item->conditions; condition; condition = condition->next)
	{
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", condition->name);
		for (const TapCobolRange *range = condition->ranges; range; range = range->next)
		{
			appendStringInfoChar(&text, ' ');
			append_literal(&text, &range->low);
			if (range->through)
			{
				appendStringInfoString(&text, " THRU ");
				append_literal(&text, &range->high);
			}
		}
	}
	return text.data;
}

static TapSourceTable *
describe(const TapFormatPlan *plan)
{
	TapTableName name = {.name = ""};
	TapSourceTable *table = tap_record_table(plan->columns, &name, NIL);
	int			ncolumns = plan->programme->ncolumns;

	table->column_types = palloc0(sizeof(char *) * ncolumns);
	table->column_comments = palloc0(sizeof(char *) * ncolumns);
	for (int i = 0; i < ncolumns; i++)
	{
		const TapCobolColumn *column = &plan->programme->columns[i];

		table->column_types[i] = source_type(column);
		if (plan->settings.comments)
			table->column_comments[i] = conditions_text(column->item);
	}
	return table;
}

/* ---------------------------------------------------------------------
 * Readers
 * ---------------------------------------------------------------------
 */

static void
release_reader(void *arg)
{
	tap_frame_release(&((TapFormatReader *) arg)->frame);
}

/* Bytes of the longest record, whichever is wanted. */
static uint32
longest_record(const TapFormatPlan *plan)
{
	uint32		longest = 0;

	for (const TapCobolItem *record = tap_copybook_records(plan->copybook); record; record = record->next)
	{
		if (record->level != 77 || record->bytes == plan->programme->longest)
			longest = Max(longest, record->bytes);
	}
	return longest;
}

static TapFormatReader *
open_reader(const TapFormatPlan *plan, uint64 offset, const char *state)
{
	TapFormatReader *reader = palloc0(sizeof(TapFormatReader));
	unsigned long long record = 0;
	unsigned long long block_left = 0;

	if (state != NULL && sscanf(state, "%llu %llu", &record, &block_left) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("place in a mainframe file is not understood: \"%s\"", state)));
	reader->plan = plan;
	reader->records = record;
	reader->bytes = offset;
	reader->frame.kind = plan->kind;
	reader->frame.block_left = block_left;
	reader->frame.counts_itself = plan->settings.counts_itself;
	reader->frame.ebcdic = plan->page->ebcdic;
	reader->frame.record_length = plan->settings.record_length ?
		plan->settings.record_length : longest_record(plan);
	reader->run.programme = plan->programme;
	reader->run.sink = &tap_cobol_row_sink;
	reader->run.arg = reader;
	reader->run.lenient = plan->settings.lenient;
	reader->run.marks = palloc0(sizeof(int64) * (plan->programme->nmarks + 1));
	if (plan->kind == TAP_FRAME_LINES)
		reader->padded = palloc(plan->programme->longest + 1);
	reader->release.func = release_reader;
	reader->release.arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reader->release);
	return reader;
}

static char *
save(const TapFormatReader *reader)
{
	return psprintf(UINT64_FORMAT " " UINT64_FORMAT, reader->records, (uint64) reader->frame.block_left);
}

static void
report_record(const TapFormatReader *reader, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
			 errmsg("record " UINT64_FORMAT " at byte " UINT64_FORMAT ": %s",
					reader->record, reader->offset, what),
			 errhint("Do format and copybook describe this file?")));
}

static void
report_frame(const TapFormatReader *reader, TapFrameResult result, Size most)
{
	switch (result)
	{
		case TAP_FRAME_CUT:
			report_record(reader, psprintf("the file ends within it, after %zu bytes", reader->frame.length));
			break;
		case TAP_FRAME_BAD:
			report_record(reader, psprintf("X'%08X' is no descriptor word of a record or block",
										   reader->frame.word));
			break;
		case TAP_FRAME_LIMIT:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("record " UINT64_FORMAT " at byte " UINT64_FORMAT " is longer than %zu bytes",
							reader->record, reader->offset, most),
					 errhint("Set the option \"max_record_bytes\" higher if that is right.")));
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
}

/* Why the copybook does not describe a record. */
static void
report_run(const TapFormatReader *reader, TapCobolResult result)
{
	const TapCobolRun *run = &reader->run;

	switch (result)
	{
		case TAP_COBOL_SHORT:
			tap_cobol_report(reader, run->op, ERRCODE_BAD_COPY_FILE_FORMAT,
							 psprintf("is behind the end of the record, which has %zu bytes", reader->frame.length));
			break;
		case TAP_COBOL_BAD_COUNT:
			if (run->count_is_number)
				tap_cobol_report(reader, run->op, ERRCODE_BAD_COPY_FILE_FORMAT,
								 psprintf("occurs " INT64_FORMAT " times by %s, but %u to %u times by the copybook",
										  (int64) run->count, run->op->item->depending->name,
										  run->op->least, run->op->most));
			tap_cobol_report(reader, run->op, ERRCODE_BAD_COPY_FILE_FORMAT,
							 psprintf("depends on %s, which is no number", run->op->item->depending->name));
			break;
		case TAP_COBOL_LONG:
			report_record(reader, psprintf("it has %zu bytes, but the copybook describes " INT64_FORMAT,
										   reader->frame.length, (int64) run->described));
			break;
		default:
			report_record(reader, "it is none of the copybook's records, by the option \"redefines\"");
	}
}

/* Lines lack the spaces at their end. */
static const uint8 *
pad_line(TapFormatReader *reader, Size *length)
{
	Size		longest = reader->plan->programme->longest;
	const uint8 *data = reader->frame.data;

	while (*length > longest && data[*length - 1] == reader->plan->page->space)
		(*length)--;
	if (*length >= longest)
		return data;
	memcpy(reader->padded, data, *length);
	memset(reader->padded + *length, reader->plan->page->space, longest - *length);
	*length = longest;
	return reader->padded;
}

/* A record: into the slot.  False: it is one that is not wanted. */
static bool
read_record(TapFormatReader *reader, TupleTableSlot *slot)
{
	const uint8 *data = reader->frame.data;
	Size		length = reader->frame.length;
	TapCobolResult result;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	reader->slot = slot;
	reader->depth = 0;
	if (reader->plan->kind == TAP_FRAME_LINES)
		data = pad_line(reader, &length);
	result = tap_cobol_run(&reader->run, data, length,
						   reader->plan->kind == TAP_FRAME_FIXED ? length :
						   reader->plan->kind == TAP_FRAME_LINES ? reader->plan->programme->longest : 0);
	if (result == TAP_COBOL_OTHER && reader->plan->settings.wish.record != NULL)
		return false;
	if (result != TAP_COBOL_READ)
		report_run(reader, result);
	ExecStoreVirtualTuple(slot);
	return true;
}

static TapFormatResult
next(TapFormatReader *reader, const char *data, Size bytes, bool at_end, Size max_bytes,
	 TupleTableSlot *slot, Size *taken)
{
	TapFrameResult result = tap_frame_next(&reader->frame, (const uint8 *) data, bytes, at_end, max_bytes);

	*taken = reader->frame.taken;
	if (result == TAP_FRAME_MORE)
		return TAP_FORMAT_MORE;
	if (result == TAP_FRAME_END)
		return TAP_FORMAT_END;
	reader->record = reader->records + 1;
	reader->offset = reader->bytes;
	reader->records += *taken > 0;
	reader->bytes += *taken;
	if (result == TAP_FRAME_EMPTY)
		return TAP_FORMAT_SKIP;
	if (result != TAP_FRAME_RECORD)
		report_frame(reader, result, max_bytes);
	return read_record(reader, slot) ? TAP_FORMAT_ROW : TAP_FORMAT_SKIP;
}

static const TapFormatPlan *
altered(const TapFormatReader *reader)
{
	return reader->plan;
}

static char *
show(const TapFormatReader *reader, const char *data, Size bytes)
{
	static const char digits[] = "0123456789ABCDEF";
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"record\": " UINT64_FORMAT ", \"byte\": " UINT64_FORMAT ", \"hex\": \"",
					 reader->record, reader->offset);
	for (Size i = 0; i < bytes; i++)
	{
		appendStringInfoCharMacro(&json, digits[(uint8) data[i] >> 4]);
		appendStringInfoCharMacro(&json, digits[(uint8) data[i] & 0x0f]);
	}
	appendStringInfoString(&json, "\"}");
	return json.data;
}

#define COBOL_FORMAT(format_name, format_plan, in_lines) \
{ \
	.name = format_name, \
	.lines = in_lines, \
	.plan = format_plan, \
	.describe = describe, \
	.define = define, \
	.open = open_reader, \
	.next = next, \
	.altered = altered, \
	.save = save, \
	.show = show \
}

const TapFormat tap_format_fixed = COBOL_FORMAT("fixed", plan_fixed, false);
const TapFormat tap_format_rdw = COBOL_FORMAT("rdw", plan_rdw, false);
const TapFormat tap_format_bdw = COBOL_FORMAT("bdw", plan_bdw, false);
const TapFormat tap_format_line_sequential = COBOL_FORMAT("line_sequential", plan_lines, true);
