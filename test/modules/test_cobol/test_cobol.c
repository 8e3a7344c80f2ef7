/*-------------------------------------------------------------------------
 *
 * test/modules/test_cobol/test_cobol.c
 *	  An SQL function that makes rows of mainframe records and forgets them, to
 *	  measure that alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "cobol_format.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(cobol_read);

#define MOST_RECORD	65536

/* Names and values, one behind the other. */
typedef struct Options
{
	int			count;
	Datum	   *texts;
} Options;

static const char *
option(void *arg, const char *name)
{
	Options    *options = arg;

	for (int i = 0; i + 1 < options->count; i += 2)
	{
		if (strcmp(TextDatumGetCString(options->texts[i]), name) == 0)
			return TextDatumGetCString(options->texts[i + 1]);
	}
	return NULL;
}

static double
cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Read all; returns how many records there were. */
static int64
read_records(const TapFormat *format, const TapFormatPlan *plan, const char *data, Size bytes)
{
	TapSourceTable *table = format->describe(plan);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(table->descriptor, &TTSOpsVirtual);
	TapFormatReader *reader = format->open(plan, 0, NULL);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row);
	int64		records = 0;
	Size		taken;

	for (Size at = 0; at < bytes; at += taken)
	{
		if (format->next(reader, data + at, bytes - at, true, MOST_RECORD, slot, &taken) == TAP_FORMAT_END)
			break;
		records++;
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	ExecDropSingleTupleTableSlot(slot);
	return records;
}

/*
 * cobol_read(format text, content bytea, options text[]) returns float8[]: the
 * number of records, and the seconds of CPU that they took.
 */
Datum
cobol_read(PG_FUNCTION_ARGS)
{
	const TapFormat *formats[] = {
		&tap_format_fixed, &tap_format_rdw, &tap_format_bdw, &tap_format_line_sequential
	};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bytea	   *content = PG_GETARG_BYTEA_PP(1);
	Options		options;
	Datum		result[2];

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT,
					  &options.texts, NULL, &options.count);
	for (int i = 0; i < lengthof(formats); i++)
	{
		const TapFormatPlan *plan;
		double		begin;
		int64		records;

		if (strcmp(formats[i]->name, name) != 0)
			continue;
		plan = formats[i]->plan(option, &options, NULL, NULL, 0, true);
		begin = cpu_seconds();
		records = read_records(formats[i], plan, VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content));
		result[0] = Float8GetDatum((double) records);
		result[1] = Float8GetDatum(cpu_seconds() - begin);
		PG_RETURN_ARRAYTYPE_P(construct_array(result, 2, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	}
	elog(ERROR, "there is no format %s", name);
	PG_RETURN_NULL();
}
