/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_read_columns.c
 *	  Columns that agree with a schema, or with the fields of a row.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_read.h"

#include "catalog/pg_type.h"
#include "utils/numeric.h"

TapRecordColumns *
tap_kafka_copy_columns(const TapRecordColumns *columns, int room)
{
	TapRecordColumns *result = palloc(sizeof(TapRecordColumns));

	result->ncolumns = columns != NULL ? columns->ncolumns : 0;
	result->columns = palloc0(sizeof(TapRecordColumn) * (result->ncolumns + room + 1));
	for (int i = 0; i < result->ncolumns; i++)
	{
		result->columns[i] = columns->columns[i];
		result->columns[i].name = pstrdup(columns->columns[i].name);
		result->columns[i].field = pstrdup(columns->columns[i].field);
	}
	return result;
}

TapRecordColumn *
tap_kafka_find_field(const TapRecordColumns *columns, const char *field)
{
	for (int i = 0; columns != NULL && i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].field, field) == 0)
			return &columns->columns[i];
	}
	return NULL;
}

static int
number_rank(Oid type)
{
	switch (type)
	{
		case INT2OID:
			return 1;
		case INT4OID:
			return 2;
		case INT8OID:
			return 3;
		case NUMERICOID:
			return 4;
		default:
			return 0;
	}
}

/* Whether values of the one type fit the other as well. */
static bool
is_wide_enough(const TapRecordColumn *column, const TapRecordColumn *value)
{
	if (column->type != value->type)
		return column->type == TEXTOID ||
			(column->typmod == -1 && number_rank(value->type) > 0 &&
			 number_rank(column->type) >= number_rank(value->type)) ||
			(column->type == FLOAT8OID && value->type == FLOAT4OID);
	if (column->typmod == -1 || column->typmod == value->typmod)
		return true;
	if (column->type == NUMERICOID && value->typmod != -1)
	{
		int			digits = ((column->typmod - VARHDRSZ) >> 16) - column->scale;

		return column->scale >= value->scale &&
			digits >= ((value->typmod - VARHDRSZ) >> 16) - value->scale;
	}
	return false;
}

/* Values are in the schema's form if it is one of the column's type. */
static void
set_form(TapRecordColumn *column, const TapRecordColumn *value)
{
	column->form = column->type == value->type ? value->form : TAP_RECORD_PLAIN;
	column->scale = column->type == value->type ? value->scale : 0;
}

/*
 * Add to columns what a schema has more, and widen types; given (NULL: none)
 * keep theirs.  Whether the table is another one by that.
 */
bool
tap_kafka_agree(TapRecordColumns *columns, const TapRecordColumns *schema,
				const TapRecordColumns *given)
{
	bool		changed = false;

	for (int i = 0; i < schema->ncolumns; i++)
	{
		const TapRecordColumn *new = &schema->columns[i];
		TapRecordColumn *column = tap_kafka_find_field(columns, new->field);

		if (column == NULL)
		{
			column = &columns->columns[columns->ncolumns];
			*column = *new;
			column->field = pstrdup(new->field);
			column->name = tap_record_column_name(columns, new->field);
			columns->ncolumns++;
			changed = true;
			continue;
		}
		if (tap_kafka_find_field(given, new->field) != NULL)
		{
			if (column->type == new->type)
				set_form(column, new);
			continue;
		}
		if (!is_wide_enough(column, new))
		{
			column->type = new->type;
			column->typmod = new->typmod;
			changed = true;
		}
		set_form(column, new);
	}
	return changed;
}

/* The columns that the option "columns" gives; NULL: none. */
TapRecordColumns *
tap_kafka_given_columns(const TapKafkaDecodeOptions *options)
{
	return options->columns != NULL ? tap_record_columns_given(options->columns) : NULL;
}

static bool
is_null_field(const TapJsonValue *object, const char *field)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;
	bool		result = false;

	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		Size		length;
		const char *text = tap_json_unescape(&name, &length);

		if (length == strlen(field) && memcmp(text, field, length) == 0)
			result = value.kind == TAP_JSON_NULL;
	}
	return result;
}

/*
 * Columns for the fields of an object that no column has, as far as they have
 * a value that tells a type.
 */
TapRecordColumns *
tap_kafka_infer_more(const TapRecordColumns *columns, const TapJsonValue *object)
{
	TapRecordSample *sample = tap_record_sample_begin();
	TapRecordColumns *all;
	TapRecordColumns *result = tap_kafka_copy_columns(columns, 0);

	tap_record_sample_json(sample, object->text, object->length);
	all = tap_record_sample_end(sample, columns);
	result->columns = repalloc(result->columns, sizeof(TapRecordColumn) * (all->ncolumns + 1));
	for (int i = columns->ncolumns; i < all->ncolumns; i++)
	{
		if (!is_null_field(object, all->columns[i].field))
			result->columns[result->ncolumns++] = all->columns[i];
	}
	return result;
}
