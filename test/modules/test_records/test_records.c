/*-------------------------------------------------------------------------
 *
 * test/modules/test_records/test_records.c
 *	  SQL functions that call connectors/common, for tests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "csv.h"
#include "json_split.h"
#include "record_columns.h"
#include "record_reader.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(records_read_json);
PG_FUNCTION_INFO_V1(records_read_fields);
PG_FUNCTION_INFO_V1(records_columns);
PG_FUNCTION_INFO_V1(records_infer_json);
PG_FUNCTION_INFO_V1(records_infer_fields);
PG_FUNCTION_INFO_V1(records_repeat_json);
PG_FUNCTION_INFO_V1(records_repeat_csv);
PG_FUNCTION_INFO_V1(records_fuzz);

/* A reader, and a row for it. */
typedef struct Row
{
	TapRecordColumns *columns;
	TapSourceTable *table;
	TapRecordReader *reader;
	TupleTableSlot *slot;
} Row;

static void
make_row(Row *row, const char *columns)
{
	TapTableName name = {NULL, "records"};

	row->columns = tap_record_columns_given(columns);
	row->table = tap_record_table(row->columns, &name, NIL);
	row->reader = tap_record_reader_make(row->columns, row->table->descriptor);
	row->slot = MakeSingleTupleTableSlot(row->table->descriptor, &TTSOpsVirtual);
}

/* The values of the row by their output functions. */
static Datum
row_texts(Row *row)
{
	int			natts = row->table->descriptor->natts;
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	int			lower = 1;

	for (int i = 0; i < natts; i++)
	{
		Oid			function;
		bool		is_varlena;

		if (row->slot->tts_isnull[i])
			continue;
		getTypeOutputInfo(row->columns->columns[i].type, &function, &is_varlena);
		values[i] = CStringGetTextDatum(OidOutputFunctionCall(function, row->slot->tts_values[i]));
	}
	return PointerGetDatum(construct_md_array(values, row->slot->tts_isnull, 1, &natts, &lower,
											  TEXTOID, -1, false, TYPALIGN_INT));
}

/* records_read_json(columns text, object text, OUT row text[], OUT unknown text) */
Datum
records_read_json(PG_FUNCTION_ARGS)
{
	text	   *object = PG_GETARG_TEXT_PP(1);
	List	   *unknown;
	ListCell   *cell;
	Datum		row_array;
	Row			row;
	StringInfoData names;

	make_row(&row, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	tap_record_read_json(row.reader, VARDATA_ANY(object), VARSIZE_ANY_EXHDR(object),
						 row.slot, NULL, &unknown);
	row_array = row_texts(&row);
	initStringInfo(&names);
	foreach(cell, unknown)
		appendStringInfo(&names, ",%s", (char *) lfirst(cell));
	ExecDropSingleTupleTableSlot(row.slot);
	if (unknown != NIL)
	{
		int			place = row.columns->ncolumns + 1;

		row_array = array_set_element(row_array, 1, &place, CStringGetTextDatum(names.data),
									  false, -1, -1, false, TYPALIGN_INT);
	}
	PG_RETURN_DATUM(row_array);
}

/* The elements of a text[] as C strings, NULL for null. */
static char **
texts_of(ArrayType *array, int *count)
{
	Datum	   *values;
	bool	   *nulls;
	char	  **result;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, count);
	result = palloc0(sizeof(char *) * (*count + 1));
	for (int i = 0; i < *count; i++)
		result[i] = nulls[i] ? NULL : TextDatumGetCString(values[i]);
	return result;
}

static int *
lengths_of(char **texts, int count)
{
	int		   *lengths = palloc0(sizeof(int) * (count + 1));

	for (int i = 0; i < count; i++)
		lengths[i] = texts[i] ? strlen(texts[i]) : 0;
	return lengths;
}

/* records_read_fields(columns text, fields text[]) returns text[] */
Datum
records_read_fields(PG_FUNCTION_ARGS)
{
	int			nfields;
	char	  **fields = texts_of(PG_GETARG_ARRAYTYPE_P(1), &nfields);
	AttrNumber *numbers = palloc(sizeof(AttrNumber) * (nfields + 1));
	Datum		result;
	Row			row;

	make_row(&row, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	for (int i = 0; i < nfields; i++)
		numbers[i] = i < row.columns->ncolumns ? i + 1 : 0;
	tap_record_read_fields(row.reader, nfields, (const char *const *) fields,
						   lengths_of(fields, nfields), numbers, row.slot);
	result = row_texts(&row);
	ExecDropSingleTupleTableSlot(row.slot);
	PG_RETURN_DATUM(result);
}

/* records_columns(columns text) returns text */
Datum
records_columns(PG_FUNCTION_ARGS)
{
	char	   *columns = text_to_cstring(PG_GETARG_TEXT_PP(0));

	tap_record_columns_check(columns);
	PG_RETURN_TEXT_P(cstring_to_text(tap_record_columns_print(tap_record_columns_given(columns))));
}

/* records_infer_json(objects text[], given text) returns text */
Datum
records_infer_json(PG_FUNCTION_ARGS)
{
	int			count;
	char	  **objects = texts_of(PG_GETARG_ARRAYTYPE_P(0), &count);
	char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(1));
	TapRecordSample *sample = tap_record_sample_begin();

	for (int i = 0; i < count; i++)
		tap_record_sample_json(sample, objects[i], strlen(objects[i]));
	PG_RETURN_TEXT_P(cstring_to_text(tap_record_columns_print(
															  tap_record_sample_end(sample, given[0] ? tap_record_columns_given(given) : NULL))));
}

/* records_infer_fields(names text[], fields text[]) returns text: fields of all records after each other */
Datum
records_infer_fields(PG_FUNCTION_ARGS)
{
	int			nnames;
	int			nfields;
	char	  **names = texts_of(PG_GETARG_ARRAYTYPE_P(0), &nnames);
	char	  **fields = texts_of(PG_GETARG_ARRAYTYPE_P(1), &nfields);
	int		   *lengths = lengths_of(fields, nfields);
	TapRecordSample *sample = tap_record_sample_begin();

	for (int i = 0; i + nnames <= nfields; i += nnames)
		tap_record_sample_fields(sample, nnames, (const char *const *) names,
								 (const char *const *) fields + i, lengths + i);
	PG_RETURN_TEXT_P(cstring_to_text(tap_record_columns_print(tap_record_sample_end(sample, NULL))));
}

/* records_repeat_json(columns text, object text, times int) returns int: to measure */
Datum
records_repeat_json(PG_FUNCTION_ARGS)
{
	text	   *object = PG_GETARG_TEXT_PP(1);
	int			times = PG_GETARG_INT32(2);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "record", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context;
	Row			row;

	make_row(&row, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	old_context = MemoryContextSwitchTo(context);
	for (int i = 0; i < times; i++)
	{
		ExecClearTuple(row.slot);
		tap_record_read_json(row.reader, VARDATA_ANY(object), VARSIZE_ANY_EXHDR(object),
							 row.slot, NULL, NULL);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old_context);
	ExecDropSingleTupleTableSlot(row.slot);
	PG_RETURN_INT32(times);
}

/* records_repeat_csv(columns text, csv text, times int) returns int: to measure */
Datum
records_repeat_csv(PG_FUNCTION_ARGS)
{
	text	   *record = PG_GETARG_TEXT_PP(1);
	int			times = PG_GETARG_INT32(2);
	TapCsvDialect dialect = {',', '"', '"', "", false, 0};
	TapCsv	   *csv = tap_csv_make(&dialect);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "record", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context;
	AttrNumber	numbers[64];
	Row			row;

	make_row(&row, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	for (int i = 0; i < lengthof(numbers); i++)
		numbers[i] = i < row.columns->ncolumns ? i + 1 : 0;
	old_context = MemoryContextSwitchTo(context);
	for (int i = 0; i < times; i++)
	{
		Size		taken;

		ExecClearTuple(row.slot);
		if (tap_csv_next(csv, VARDATA_ANY(record), VARSIZE_ANY_EXHDR(record), true,
						 1000000, &taken) != TAP_CSV_RECORD || csv->nfields > lengthof(numbers))
			elog(ERROR, "no record");
		tap_record_read_fields(row.reader, csv->nfields, csv->values, csv->lengths, numbers, row.slot);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old_context);
	ExecDropSingleTupleTableSlot(row.slot);
	PG_RETURN_INT32(times);
}

/* Change some bytes of text; what is cut off or doubled is part of it. */
static Size
mutate(pg_prng_state *random, const char *seed, Size length, char *to)
{
	static const char interesting[] = "{}[]\",:\\/0123456789-+.eEtrufalsn \n\t\x01\x1f\x7f\xc3\xa4\xe2\xf0";
	int			changes = 1 + (int) pg_prng_uint64_range(random, 0, 5);

	memcpy(to, seed, length);
	for (int i = 0; i < changes && length > 0; i++)
	{
		Size		at = pg_prng_uint64_range(random, 0, length - 1);
		Size		count = pg_prng_uint64_range(random, 1, Min(8, length - at));

		switch (pg_prng_uint64_range(random, 0, 3))
		{
			case 0:
				to[at] = interesting[pg_prng_uint64_range(random, 0, sizeof(interesting) - 2)];
				break;
			case 1:
				memmove(to + at, to + at + count, length - at - count);
				length -= count;
				break;
			case 2:
				memmove(to + at + count, to + at, length - at);
				length += count;
				break;
			default:
				to[at] ^= 1 << pg_prng_uint64_range(random, 0, 7);
				break;
		}
	}
	return length;
}

/*
 * records_fuzz(columns text, object text, times int, seed bigint) returns int
 *
 * Reads the object, changed at random, and returns how often that was a row.
 * Any error but one of the data is raised.
 */
Datum
records_fuzz(PG_FUNCTION_ARGS)
{
	text	   *object = PG_GETARG_TEXT_PP(1);
	int			times = PG_GETARG_INT32(2);
	pg_prng_state random;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "record", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context;
	volatile int read = 0;
	char	   *buffer = palloc(VARSIZE_ANY_EXHDR(object) + 64);
	Row			row;

	pg_prng_seed(&random, PG_GETARG_INT64(3));
	make_row(&row, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	old_context = MemoryContextSwitchTo(context);
	for (volatile int i = 0; i < times; i++)
	{
		Size		length = mutate(&random, VARDATA_ANY(object), VARSIZE_ANY_EXHDR(object), buffer);
		const char *text;
		List	   *unknown;

		ExecClearTuple(row.slot);
		PG_TRY();
		{
			/* memory of its size, so that a sanitizer sees what reads beyond */
			text = memcpy(palloc(length + 1), buffer, length);
			text = tap_record_to_server(text, &length, PG_UTF8);
			tap_record_read_json(row.reader, text, length, row.slot, NULL, &unknown);
			read++;
		}
		PG_CATCH();
		{
			ErrorData  *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
				PG_RE_THROW();
			FlushErrorState();
		}
		PG_END_TRY();
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old_context);
	ExecDropSingleTupleTableSlot(row.slot);
	PG_RETURN_INT32(read);
}
