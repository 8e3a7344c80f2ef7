/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_row.c
 *	  From a mainframe record to a row.
 *
 * NOTES
 *	  A field outside of tables is a column; a table of elementary items is an
 *	  array; a table of groups is jsonb (see cobol_json.c).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "cobol_plan.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* How arrays have their elements; no lookup is needed for built-in types. */
static const struct
{
	Oid			type;
	int			length;
	bool		by_value;
	char		align;
}			elements[] =

{
	[TAP_COBOL_IS_TEXT] = {TEXTOID, -1, false, TYPALIGN_INT},
	[TAP_COBOL_IS_SMALLINT] = {INT2OID, 2, true, TYPALIGN_SHORT},
	[TAP_COBOL_IS_INT] = {INT4OID, 4, true, TYPALIGN_INT},
	[TAP_COBOL_IS_BIGINT] = {INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE},
	[TAP_COBOL_IS_NUMERIC] = {NUMERICOID, -1, false, TYPALIGN_INT},
	[TAP_COBOL_IS_REAL] = {FLOAT4OID, 4, true, TYPALIGN_INT},
	[TAP_COBOL_IS_DOUBLE] = {FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE}
};

static void
put_column(TapFormatReader *reader, int column, Datum value, bool isnull)
{
	reader->slot->tts_values[column] = value;
	reader->slot->tts_isnull[column] = isnull;
}

const char *
tap_cobol_label(const TapCobolOp *op, const uint8 *data)
{
	for (const TapCobolLabel *label = op->labels; label != NULL; label = label->next)
	{
		if (tap_cobol_test(label->test, NULL, data))
			return label->name;
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Arrays
 * ---------------------------------------------------------------------
 */

static void
put_in_array(TapFormatReader *reader, const TapCobolOp *op, const uint8 *data)
{
	TapCobolArray *array = &reader->array;
	int			at = array->count++;

	array->values[at] = tap_cobol_value(reader, op, data, &array->nulls[at]);
}

static void
begin_array(TapFormatReader *reader, uint32 count)
{
	TapCobolArray *array = &reader->array;

	array->count = 0;
	if (count <= array->allocated)
		return;
	if (array->values != NULL)
	{
		pfree(array->values);
		pfree(array->nulls);
	}
	array->allocated = 0;
	array->values = MemoryContextAlloc(GetMemoryChunkContext(reader), sizeof(Datum) * count);
	array->nulls = MemoryContextAlloc(GetMemoryChunkContext(reader), sizeof(bool) * count);
	array->allocated = count;
}

static void
end_array(TapFormatReader *reader, const TapCobolOp *op)
{
	TapCobolArray *array = &reader->array;
	int			lower = 1;
	ArrayType  *result;

	if (array->count == 0)
		result = construct_empty_array(elements[op->type].type);
	else
		result = construct_md_array(array->values, array->nulls, 1, &array->count, &lower,
									elements[op->type].type, elements[op->type].length,
									elements[op->type].by_value, elements[op->type].align);
	put_column(reader, op->column, PointerGetDatum(result), false);
}

/* ---------------------------------------------------------------------
 * What the programme calls
 * ---------------------------------------------------------------------
 */

static void
put_field(void *arg, const TapCobolOp *op, const uint8_t *data)
{
	TapFormatReader *reader = arg;
	bool		isnull;
	Datum		value;

	if (reader->depth > 0)
		tap_cobol_json_field(reader, op, data);
	else if (op->element)
		put_in_array(reader, op, data);
	else
	{
		value = tap_cobol_value(reader, op, data, &isnull);
		put_column(reader, op->column, value, isnull);
		if (op->label >= 0)
		{
			const char *label = tap_cobol_label(op, data);

			put_column(reader, op->label, label ? CStringGetTextDatum(label) : (Datum) 0, label == NULL);
		}
	}
}

static void
begin_body(void *arg, const TapCobolOp *op, uint32_t count)
{
	TapFormatReader *reader = arg;

	if (reader->depth == 0 && !op->of_groups)
		begin_array(reader, count);
	else
		tap_cobol_json_begin(reader, op, count);
}

static void
end_body(void *arg, const TapCobolOp *op)
{
	TapFormatReader *reader = arg;
	Jsonb	   *json;

	if (reader->depth == 0)
		end_array(reader, op);
	else if ((json = tap_cobol_json_end(reader, op)) != NULL)
		put_column(reader, op->column, JsonbPGetDatum(json), false);
}

static void
begin_element(void *arg, const TapCobolOp *op)
{
	tap_cobol_json_element(arg, op);
}

static void
end_element(void *arg, const TapCobolOp *op)
{
	tap_cobol_json_element_end(arg);
}

const TapCobolSink tap_cobol_row_sink = {
	.field = put_field,
	.begin = begin_body,
	.element = begin_element,
	.element_end = end_element,
	.end = end_body
};
