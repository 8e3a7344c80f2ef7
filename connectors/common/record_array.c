/*-------------------------------------------------------------------------
 *
 * connectors/common/record_array.c
 *	  Arrays of JSON to arrays of PostgreSQL.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_private.h"

#include "utils/array.h"

/* Elements in the order of storage, and how many there are on each level. */
typedef struct ArrayBuild
{
	TapRecordReader *reader;
	TapRecordField *field;
	Datum	   *values;
	bool	   *nulls;
	int			nvalues;
	int			allocated;
	int			ndims;			/* 0: not known yet */
	int			dims[MAXDIM];	/* -1: not known yet */
} ArrayBuild;

static void
refuse(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("a JSON array does not make an array"),
			 errdetail("%s", detail)));
}

static void
add_element(ArrayBuild *build, const TapJsonValue *value, int depth)
{
	if (build->ndims == 0)
		build->ndims = depth;
	if (build->ndims != depth)
		refuse("Some elements are nested and others are not.");
	if (build->nvalues >= build->allocated)
	{
		build->allocated *= 2;
		build->values = repalloc(build->values, sizeof(Datum) * build->allocated);
		build->nulls = repalloc(build->nulls, sizeof(bool) * build->allocated);
	}
	build->nulls[build->nvalues] = value->kind == TAP_JSON_NULL;
	build->values[build->nvalues] = value->kind == TAP_JSON_NULL ? (Datum) 0 :
		tap_record_from_json(build->reader, build->field->element, value);
	build->nvalues++;
}

/* The list at the scan, of the given depth from 1. */
static void
add_list(ArrayBuild *build, TapJsonScan *scan, int depth)
{
	bool		nests = build->field->element->kind != TAP_RECORD_KIND_JSON;
	int			count = 0;
	TapJsonKind kind;
	TapJsonValue value;

	if (depth > MAXDIM)
		refuse("It is nested deeper than an array can be.");
	(void) tap_json_scan_enter(scan, TAP_JSON_LIST);
	while (tap_json_scan_element(scan) && tap_json_scan_peek(scan, &kind))
	{
		count++;
		if (kind == TAP_JSON_LIST && nests)
			add_list(build, scan, depth + 1);
		else if (tap_json_scan_value(scan, &value))
			add_element(build, &value, depth);
	}
	if (build->dims[depth - 1] < 0)
		build->dims[depth - 1] = count;
	if (build->dims[depth - 1] != count)
		refuse("Nested arrays are not all of the same length.");
}

Datum
tap_record_array(TapRecordReader *reader, TapRecordField *field,
				 const TapJsonValue *value)
{
	ArrayBuild	build = {reader, field, NULL, NULL, 0, 16, 0, {-1, -1, -1, -1, -1, -1}};
	int			lower_bounds[MAXDIM] = {1, 1, 1, 1, 1, 1};
	TapJsonScan scan;
	ArrayType  *array;

	build.values = palloc(sizeof(Datum) * build.allocated);
	build.nulls = palloc(sizeof(bool) * build.allocated);
	tap_json_scan_begin(&scan, value->text, value->length);
	add_list(&build, &scan, 1);
	if (build.nvalues == 0)
		return PointerGetDatum(construct_empty_array(field->element->type));

	/* an empty list among values was counted, but is no element */
	if (ArrayGetNItems(build.ndims, build.dims) != build.nvalues)
		refuse("Some elements are nested and others are not.");
	array = construct_md_array(build.values, build.nulls, build.ndims, build.dims,
							   lower_bounds, field->element->type, field->element_bytes,
							   field->element_by_value, field->element_align);
	return PointerGetDatum(array);
}
