/*-------------------------------------------------------------------------
 *
 * connectors/common/record_sample.c
 *	  Columns and types found in a sample of records.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "record_columns.h"

#include "access/htup_details.h"
#include "catalog/heap.h"
#include "catalog/pg_type.h"
#include "json_scan.h"
#include "mb/pg_wchar.h"
#include "record_names.h"
#include "record_time.h"
#include "utils/memutils.h"

/* What values of a field were, a bit mask. */
#define SEEN_INT			0x0001	/* fits bigint, whatever its digits */
#define SEEN_LONG_INT		0x0002
#define SEEN_DECIMAL		0x0004
#define SEEN_BOOL			0x0008
#define SEEN_DATE			0x0010
#define SEEN_TIMESTAMP		0x0020
#define SEEN_TIMESTAMPTZ	0x0040
#define SEEN_UUID			0x0080
#define SEEN_NESTED			0x0100
#define SEEN_TEXT			0x0200	/* and whatever else */

/* More digits, or a larger exponent, and a number is text. */
#define MOST_DIGITS			1000

struct TapRecordSample
{
	TapRecordNames *names;
	int		   *seen;			/* of each name, SEEN_* */
	int			allocated;
	MemoryContext context;
};

TapRecordSample *
tap_record_sample_begin(void)
{
	TapRecordSample *sample = palloc0(sizeof(TapRecordSample));

	sample->names = tap_record_names_make();
	sample->allocated = 16;
	sample->seen = palloc0(sizeof(int) * sample->allocated);
	sample->context = CurrentMemoryContext;
	return sample;
}

static void
note(TapRecordSample *sample, int number, int seen)
{
	if (number >= sample->allocated)
	{
		int			wanted = Max(number + 1, sample->allocated * 2);

		sample->seen = repalloc(sample->seen, sizeof(int) * wanted);
		memset(sample->seen + sample->allocated, 0, sizeof(int) * (wanted - sample->allocated));
		sample->allocated = wanted;
	}
	sample->seen[number] |= seen;
}

/* Whether the number's exponent is one that numeric can stand. */
static bool
has_small_exponent(const char *text, Size length)
{
	for (Size i = 0; i < length; i++)
	{
		if (text[i] == 'e' || text[i] == 'E')
		{
			Size		digits = length - i - 1;

			if (digits > 0 && (text[i + 1] == '+' || text[i + 1] == '-'))
				digits--;
			return digits <= 3;
		}
	}
	return true;
}

static int
number_kind(const TapJsonValue *value)
{
	if (value->length > MOST_DIGITS || !has_small_exponent(value->text, value->length))
		return SEEN_TEXT;
	if (!value->whole)
		return SEEN_DECIMAL;
	return value->length - (value->text[0] == '-') <= 18 ? SEEN_INT : SEEN_LONG_INT;
}

static bool
is_uuid(const char *text, Size length)
{
	if (length != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' :
			!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	}
	return true;
}

/* Of a string of JSON, or of a field that is no number. */
static int
text_kind(const char *text, Size length)
{
	TapRecordTime time;

	if (tap_record_parse_time(text, length, &time))
		return !time.has_clock ? SEEN_DATE : time.has_zone ? SEEN_TIMESTAMPTZ : SEEN_TIMESTAMP;
	return is_uuid(text, length) ? SEEN_UUID : SEEN_TEXT;
}

static int
json_kind(const TapJsonValue *value)
{
	switch (value->kind)
	{
		case TAP_JSON_NULL:
			return 0;
		case TAP_JSON_TRUE:
		case TAP_JSON_FALSE:
			return SEEN_BOOL;
		case TAP_JSON_NUMBER:
			return number_kind(value);
		case TAP_JSON_OBJECT:
		case TAP_JSON_LIST:
			return SEEN_NESTED;
		case TAP_JSON_STRING:
			break;
	}
	return text_kind(value->text, value->length);
}

/* Minus zero would lose its sign. */
static bool
is_negative_zero(const char *text, Size length)
{
	if (text[0] != '-')
		return false;
	for (Size i = 1; i < length && text[i] != 'e' && text[i] != 'E'; i++)
	{
		if (text[i] != '0' && text[i] != '.')
			return false;
	}
	return true;
}

static int
field_kind(const char *text, Size length)
{
	TapJsonScan scan;
	TapJsonValue value;

	/* what JSON calls a number or a word is what keeps its text */
	tap_json_scan_begin(&scan, text, length);
	if (length > 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) &&
		tap_json_scan_value(&scan, &value) && value.length == length)
		return is_negative_zero(text, length) ? SEEN_TEXT : number_kind(&value);
	if ((length == 4 && memcmp(text, "true", 4) == 0) || (length == 5 && memcmp(text, "false", 5) == 0))
		return SEEN_BOOL;
	return text_kind(text, length);
}

void
tap_record_sample_json(TapRecordSample *sample, const char *object,
					   Size length)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	tap_json_scan_begin(&scan, object, length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		Size		name_length;
		const char *text = tap_json_unescape(&name, &name_length);

		note(sample, tap_record_names_add(sample->names, text, name_length), json_kind(&value));
	}
	if (!tap_json_scan_end(&scan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("a record is no JSON object: %s", scan.error),
				 errdetail("Byte %zu of %zu.", (Size) (scan.next - scan.begin), length)));
}

void
tap_record_sample_fields(TapRecordSample *sample, int nfields,
						 const char *const *names, const char *const *values,
						 const int *lengths)
{
	for (int i = 0; i < nfields; i++)
	{
		int			number = tap_record_names_add(sample->names, names[i], strlen(names[i]));

		note(sample, number, values[i] != NULL ? field_kind(values[i], lengths[i]) : 0);
	}
}

static Oid
type_of(int seen)
{
	switch (seen)
	{
		case SEEN_INT:
			return INT8OID;
		case SEEN_BOOL:
			return BOOLOID;
		case SEEN_DATE:
			return DATEOID;
		case SEEN_TIMESTAMP:
			return TIMESTAMPOID;
		case SEEN_TIMESTAMPTZ:
			return TIMESTAMPTZOID;
		case SEEN_UUID:
			return UUIDOID;
		default:
			break;
	}
	if (seen & SEEN_NESTED)
		return JSONBOID;
	if (seen != 0 && (seen & ~(SEEN_INT | SEEN_LONG_INT | SEEN_DECIMAL)) == 0)
		return NUMERICOID;
	return TEXTOID;
}

static bool
is_used(const TapRecordColumns *columns, const char *name)
{
	for (int i = 0; i < columns->ncolumns; i++)
	{
		if (strcmp(columns->columns[i].name, name) == 0)
			return true;
	}
	return SystemAttributeByName(name) != NULL;
}

char *
tap_record_column_name(const TapRecordColumns *columns, const char *field)
{
	int			length = strlen(field);
	char	   *name;

	if (length == 0)
	{
		field = "column";
		length = strlen(field);
	}
	name = pnstrdup(field, pg_mbcliplen(field, length, NAMEDATALEN - 1));
	for (int i = 1; is_used(columns, name); i++)
	{
		char		suffix[16];
		int			suffix_length = snprintf(suffix, sizeof(suffix), "_%d", i);

		name = psprintf("%.*s%s", pg_mbcliplen(field, length, NAMEDATALEN - 1 - suffix_length),
						field, suffix);
	}
	return name;
}

static bool
is_given(const TapRecordColumns *given, const char *field)
{
	for (int i = 0; given != NULL && i < given->ncolumns; i++)
	{
		if (strcmp(given->columns[i].field, field) == 0)
			return true;
	}
	return false;
}

TapRecordColumns *
tap_record_sample_end(TapRecordSample *sample, const TapRecordColumns *given)
{
	const TapRecordNames *names = sample->names;
	TapRecordColumns *result = palloc(sizeof(TapRecordColumns));
	int			ngiven = given != NULL ? given->ncolumns : 0;
	int			nnew = 0;

	/* each name is looked up, so stop where it is too many anyway */
	for (int i = 0; i < names->nnames && ngiven + nnew <= MaxHeapAttributeNumber; i++)
		nnew += !is_given(given, names->names[i].text);
	if (ngiven + nnew > MaxHeapAttributeNumber)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("records have more than %d fields together", MaxHeapAttributeNumber),
				 errhint("Give the columns that you want with the option \"columns\".")));
	result->columns = palloc0(sizeof(TapRecordColumn) * (ngiven + names->nnames + 1));
	result->ncolumns = ngiven;
	for (int i = 0; i < ngiven; i++)
	{
		result->columns[i] = given->columns[i];
		result->columns[i].name = pstrdup(given->columns[i].name);
		result->columns[i].field = pstrdup(given->columns[i].field);
	}
	for (int i = 0; i < names->nnames; i++)
	{
		TapRecordColumn *column = &result->columns[result->ncolumns];

		if (is_given(given, names->names[i].text))
			continue;
		column->field = pstrdup(names->names[i].text);
		column->name = tap_record_column_name(result, column->field);
		column->type = type_of(i < sample->allocated ? sample->seen[i] : 0);
		column->typmod = -1;
		result->ncolumns++;
	}
	return result;
}
