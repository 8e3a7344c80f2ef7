/*-------------------------------------------------------------------------
 *
 * connectors/common/record_reader.c
 *	  From a record's text to a row.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_reader.h"

#include "access/htup_details.h"
#include "mb/pg_wchar.h"
#include "record_private.h"
#include "utils/memutils.h"

TapRecordReader *
tap_record_reader_make(const TapRecordColumns *columns, TupleDesc descriptor)
{
	TapRecordReader *reader = palloc0(sizeof(TapRecordReader));
	bool		begun;

	if (descriptor->natts != columns->ncolumns)
		elog(ERROR, "a row of %d columns cannot be read by %d", descriptor->natts, columns->ncolumns);
	reader->context = CurrentMemoryContext;
	reader->columns = columns;
	reader->ncolumns = columns->ncolumns;
	reader->fields = palloc0(sizeof(TapRecordField) * Max(columns->ncolumns, 1));
	reader->numbers = palloc0(sizeof(AttrNumber) * Max(columns->ncolumns, 1));
	reader->names = tap_record_names_make();
	initStringInfo(&reader->scratch);
	begun = tap_record_begin_lookup();
	for (int i = 0; i < columns->ncolumns; i++)
	{
		const char *field = columns->columns[i].field;
		int			number = tap_record_names_add(reader->names, field, strlen(field));

		/* of two columns of one field the first has it */
		if (reader->numbers[number] == 0)
			reader->numbers[number] = i + 1;
		tap_record_field_init(&reader->fields[i], &columns->columns[i]);
	}
	tap_record_end_lookup(begun);
	return reader;
}

/*
 * Whether an error is one of the data.  Limits that a value exceeds, and what
 * a type does not support, are too: the next record may be different.
 */
static bool
is_error_of_data(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			return true;
		default:
			return sqlstate == ERRCODE_DATATYPE_MISMATCH;
	}
}

/* Within PG_CATCH(): raise the error again, with the name of the field. */
static void
rethrow(TapRecordReader *reader, MemoryContext context)
{
	ErrorData  *error;
	int			sqlstate;

	tap_record_settings_back(reader);
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	sqlstate = error->sqlerrcode;
	if (reader->current == NULL || !is_error_of_data(sqlstate))
		PG_RE_THROW();
	FlushErrorState();
	if (ERRCODE_TO_CATEGORY(sqlstate) != ERRCODE_DATA_EXCEPTION &&
		ERRCODE_TO_CATEGORY(sqlstate) != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		sqlstate = ERRCODE_DATA_EXCEPTION;
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("field \"%s\": %s", reader->current, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
}

static void
refuse_json(const TapJsonScan *scan)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("a record is no JSON object: %s", scan->error),
			 errdetail("Byte %zu of %zu.", (Size) (scan->next - scan->begin),
					   (Size) (scan->end - scan->begin))));
}

static List *
add_unknown(List *unknown, const char *name, Size length)
{
	ListCell   *cell;

	/* a table cannot have more columns, and this is quadratic */
	if (list_length(unknown) > MaxHeapAttributeNumber)
		return unknown;
	foreach(cell, unknown)
	{
		if (strncmp(lfirst(cell), name, length) == 0 && ((char *) lfirst(cell))[length] == '\0')
			return unknown;
	}
	return lappend(unknown, pnstrdup(name, length));
}

static void
fill_from_json(TapRecordReader *reader, TapJsonScan *scan,
			   TupleTableSlot *slot, bool *present, List **unknown)
{
	int			expected = 0;
	TapJsonValue name;
	TapJsonValue value;

	(void) tap_json_scan_enter(scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(scan, &name) && tap_json_scan_value(scan, &value))
	{
		Size		length;
		const char *text = tap_json_unescape(&name, &length);
		int			number = tap_record_names_expect(reader->names, expected, text, length);
		int			i;

		if (number < 0)
		{
			if (unknown != NULL)
				*unknown = add_unknown(*unknown, text, length);
			continue;
		}
		expected = number + 1;
		i = reader->numbers[number] - 1;
		slot->tts_isnull[i] = value.kind == TAP_JSON_NULL;
		if (present != NULL)
			present[i] = true;
		if (value.kind == TAP_JSON_NULL)
			continue;
		reader->current = reader->names->names[number].text;
		slot->tts_values[i] = tap_record_from_json(reader, &reader->fields[i], &value);
		reader->current = NULL;
	}
	if (!tap_json_scan_end(scan))
		refuse_json(scan);
}

static void
clear_row(TapRecordReader *reader, TupleTableSlot *slot)
{
	memset(slot->tts_values, 0, sizeof(Datum) * reader->ncolumns);
	memset(slot->tts_isnull, true, sizeof(bool) * reader->ncolumns);
	reader->current = NULL;
}

void
tap_record_read_json(TapRecordReader *reader, const char *object, Size length,
					 TupleTableSlot *slot, bool *present, List **unknown)
{
	MemoryContext context = CurrentMemoryContext;
	TapJsonScan scan;

	clear_row(reader, slot);
	if (present != NULL)
		memset(present, false, sizeof(bool) * reader->ncolumns);
	if (unknown != NULL)
		*unknown = NIL;
	tap_json_scan_begin(&scan, object, length);
	PG_TRY();
	{
		fill_from_json(reader, &scan, slot, present, unknown);
	}
	PG_CATCH();
	{
		rethrow(reader, context);
	}
	PG_END_TRY();
	ExecStoreVirtualTuple(slot);
}

void
tap_record_read_fields(TapRecordReader *reader, int nfields,
					   const char *const *values, const int *lengths,
					   const AttrNumber *columns, TupleTableSlot *slot)
{
	MemoryContext context = CurrentMemoryContext;

	clear_row(reader, slot);
	PG_TRY();
	{
		for (int i = 0; i < nfields; i++)
		{
			int			column = columns[i] - 1;

			if (column < 0 || values[i] == NULL)
				continue;
			reader->current = reader->columns->columns[column].field;
			slot->tts_values[column] = tap_record_from_text(reader, &reader->fields[column],
															values[i], lengths[i]);
			slot->tts_isnull[column] = false;
		}
	}
	PG_CATCH();
	{
		rethrow(reader, context);
	}
	PG_END_TRY();
	ExecStoreVirtualTuple(slot);
}

Datum
tap_record_read_value(TapRecordReader *reader, AttrNumber column,
					  const char *value, Size length)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		result = (Datum) 0;

	reader->current = reader->columns->columns[column - 1].field;
	PG_TRY();
	{
		result = tap_record_from_text(reader, &reader->fields[column - 1], value, length);
	}
	PG_CATCH();
	{
		rethrow(reader, context);
	}
	PG_END_TRY();
	return result;
}

const char *
tap_record_to_server(const char *text, Size *length, int encoding)
{
	char	   *converted;

	if (*length > MaxAllocSize / MAX_CONVERSION_GROWTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a text of %zu bytes is too long to be converted", *length)));
	if (encoding == GetDatabaseEncoding())
	{
		(void) pg_verify_mbstr(encoding, text, (int) *length, false);
		return text;
	}
	converted = pg_any_to_server(text, (int) *length, encoding);
	if (converted != text)
		*length = strlen(converted);
	return converted;
}
