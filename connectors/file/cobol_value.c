/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_value.c
 *	  Values of mainframe records as those of PostgreSQL.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "cobol_plan.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "record_reader.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define MOST_SHOWN		24		/* bytes of a value in a message */
#define IDEOGRAPHIC_SPACE "\343\200\200"

/* A numeric's header in the short form; see numeric.c of PostgreSQL. */
#define NUMERIC_IS_SHORT			0x8000
#define NUMERIC_SHORT_NEGATIVE		0x2000
#define NUMERIC_SHORT_SCALE_SHIFT	7
#define NUMERIC_SHORT_WEIGHT		0x007f	/* with its sign */

#define MOST_SHORT_SCALE	16	/* a fraction that fits uint64 in whole digits */
#define MOST_WHOLE_DIGITS	5	/* of base 10000 in a uint64 */
#define MOST_NUMERIC_DIGITS (MOST_WHOLE_DIGITS + MOST_SHORT_SCALE / 4)

void
tap_cobol_report(const TapFormatReader *reader, const TapCobolOp *op, int sqlstate, const char *why)
{
	char		buffer[32];
	StringInfoData picture;

	initStringInfo(&picture);
	if (op->item->picture != NULL)
		appendStringInfo(&picture, ", picture %s", op->item->picture);
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("record " UINT64_FORMAT " at byte " UINT64_FORMAT ": field %s %s",
					reader->record, reader->offset,
					tap_copybook_name(op->item, buffer, sizeof(buffer)), why),
			 errdetail("The field begins at byte " INT64_FORMAT " of the record, with %u bytes (line %d of the copybook%s).",
					   (int64) reader->run.at, op->bytes, op->item->line, picture.data),
			 errhint("Does the copybook describe these records?  Under on_error = dead_letter the record is kept and left out.")));
}

/* Report what the bytes of a field are not. */
static void
report_bytes(const TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, int sqlstate,
			 const char *what)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s: X'", what);
	for (uint32 i = 0; i < Min(op->bytes, MOST_SHOWN); i++)
		appendStringInfo(&text, "%02X", data[i]);
	appendStringInfoString(&text, op->bytes > MOST_SHOWN ? "...'" : "'");
	tap_cobol_report(reader, op, sqlstate, text.data);
}

/* ---------------------------------------------------------------------
 * Text
 * ---------------------------------------------------------------------
 */

/* Narrow bytes to those without padding. */
static void
trim_bytes(const TapFormatReader *reader, const TapCobolOp *op, const uint8 **data, Size *length)
{
	TapCobolTrim trim = reader->plan->settings.trim;
	uint8		space = reader->plan->page->space;
	bool		right = trim == TAP_COBOL_TRIM_BOTH || (trim == TAP_COBOL_TRIM_RIGHT && !op->item->justified);
	bool		left = trim == TAP_COBOL_TRIM_BOTH || (trim == TAP_COBOL_TRIM_RIGHT && op->item->justified);

	while (*length > 0 && ((right && (*data)[*length - 1] == space) || (*data)[*length - 1] == 0))
		(*length)--;
	while (left && *length > 0 && **data == space)
	{
		(*data)++;
		(*length)--;
	}
}

/* The same of text in UTF-8, for items of double bytes. */
static void
trim_text(const TapFormatReader *reader, const char **text, Size *length)
{
	const Size	wide = strlen(IDEOGRAPHIC_SPACE);

	if (reader->plan->settings.trim == TAP_COBOL_TRIM_NONE)
		return;
	for (;;)
	{
		if (*length > 0 && (*text)[*length - 1] == ' ')
			(*length)--;
		else if (*length >= wide && memcmp(*text + *length - wide, IDEOGRAPHIC_SPACE, wide) == 0)
			*length -= wide;
		else
			break;
	}
}

/* What the database's encoding lacks is an error of this field. */
static void
report_encoding(const TapFormatReader *reader, const TapCobolOp *op, MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
		PG_RE_THROW();
	FlushErrorState();
	tap_cobol_report(reader, op, edata->sqlerrcode,
					 psprintf("cannot be stored in this database: %s", edata->message));
}

/* To the database's encoding, which needs a transaction if that is not UTF-8. */
static const char *
to_server(const TapFormatReader *reader, const TapCobolOp *op, const char *text, Size *length)
{
	MemoryContext context = CurrentMemoryContext;
	const char *volatile result = text;
	volatile bool begun = false;

	if (GetDatabaseEncoding() == PG_UTF8)
		return text;
	PG_TRY();
	{
		begun = !IsTransactionState();
		if (begun)
			StartTransactionCommand();
		MemoryContextSwitchTo(context);
		result = tap_record_to_server(text, length, PG_UTF8);
		if (begun)
			CommitTransactionCommand();
		MemoryContextSwitchTo(context);
	}
	PG_CATCH();
	{
		report_encoding(reader, op, context);
	}
	PG_END_TRY();
	return result;
}

/* Text that has more than ASCII in it, or is of double bytes. */
static const char *
decode(TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, const uint8 *from, Size *length)
{
	char	   *text = palloc(*length * TAP_CODE_PAGE_GROWTH + TAP_CODE_PAGE_EXTRA);
	size_t		bad = 0;
	const char *result = text;
	long		written;

	if (op->field == TAP_COBOL_TEXT)
		written = tap_code_page_decode(reader->plan->page, from, *length, text, &bad);
	else
		written = tap_code_page_decode_wide(reader->plan->page, op->field == TAP_COBOL_NATIONAL,
											from, *length, text, &bad);
	if (written < 0)
		report_bytes(reader, op, data, ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
					 psprintf("has no character of code page %s at byte " UINT64_FORMAT " of it",
							  op->field == TAP_COBOL_NATIONAL ? "UTF-16" : reader->plan->settings.code_page,
							  (uint64) (from - data + bad)));
	*length = written;
	if (op->field != TAP_COBOL_TEXT)
		trim_text(reader, &result, length);
	return to_server(reader, op, result, length);
}

static Datum
text_value(TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, bool *isnull)
{
	const uint8 *from = data;
	Size		length = op->bytes;
	const char *decoded;
	text	   *result;

	if (op->field == TAP_COBOL_TEXT)
	{
		trim_bytes(reader, op, &from, &length);
		/* LOW-VALUES throughout: nothing was ever moved there */
		if (length == 0 && op->bytes > 0 && data[op->bytes - 1] == 0 && data[0] == 0)
		{
			*isnull = true;
			return (Datum) 0;
		}
		result = palloc(VARHDRSZ + length);
		if (tap_code_page_ascii(reader->plan->page, from, length, VARDATA(result)))
		{
			SET_VARSIZE(result, VARHDRSZ + length);
			return PointerGetDatum(result);
		}
		pfree(result);
	}
	decoded = decode(reader, op, data, from, &length);
	return PointerGetDatum(cstring_to_text_with_len(decoded, length));
}

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

static const char *
kind_of_number(const TapCobolOp *op)
{
	switch (op->field)
	{
		case TAP_COBOL_ZONED:
			return "is no zoned decimal number";
		case TAP_COBOL_PACKED:
			return "is no packed decimal number";
		default:
			return "is no number";
	}
}

/* Whether there is a number; raises an error if there should be. */
static bool
check_number(const TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, TapCobolNumber result)
{
	if (result == TAP_NUMBER_OK)
		return true;
	if (result == TAP_NUMBER_BLANK && reader->plan->settings.empty_is_null)
		return false;
	if (result == TAP_NUMBER_RANGE)
		report_bytes(reader, op, data, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					 "has more digits than its picture");
	report_bytes(reader, op, data, ERRCODE_INVALID_TEXT_REPRESENTATION, kind_of_number(op));
	return false;
}

static Datum
long_number(const TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, bool *isnull)
{
	char		text[TAP_COBOL_NUMBER_BYTES];

	*isnull = !check_number(reader, op, data, tap_cobol_decimal(op, data, text));
	if (*isnull)
		return (Datum) 0;
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
}

/*
 * A numeric as PostgreSQL stores it, in the short form: a header with sign,
 * scale and weight, and digits of base 10000.  Its own functions make it of a
 * text or a number by way of several allocations, which took more time than
 * all else of a record.
 */
static Datum
short_numeric(int64 value, int scale)
{
	uint64		magnitude = value < 0 ? 0 - (uint64) value : (uint64) value;
	uint64		power = (uint64) tap_cobol_powers[scale];
	uint64		whole = magnitude / power;
	uint64		fraction = magnitude % power * (uint64) tap_cobol_powers[(4 - scale % 4) % 4];
	int16		digits[MOST_NUMERIC_DIGITS];
	int			first = MOST_WHOLE_DIGITS;
	int			count = (scale + 3) / 4;
	int			last = MOST_WHOLE_DIGITS + count;
	uint16		header = NUMERIC_IS_SHORT | (uint16) (scale << NUMERIC_SHORT_SCALE_SHIFT);
	int			weight;
	char	   *result;

	for (int i = last; i > MOST_WHOLE_DIGITS; fraction /= 10000)
		digits[--i] = (int16) (fraction % 10000);
	for (; whole > 0; whole /= 10000)
		digits[--first] = (int16) (whole % 10000);
	weight = MOST_WHOLE_DIGITS - first - 1;
	while (last > first && digits[last - 1] == 0)
		last--;
	for (; first < last && digits[first] == 0; first++)
		weight--;
	if (first == last)
		weight = 0;
	if (value < 0)
		header |= NUMERIC_SHORT_NEGATIVE;
	header |= (uint16) weight & NUMERIC_SHORT_WEIGHT;

	result = palloc(VARHDRSZ + sizeof(uint16) + sizeof(int16) * (last - first));
	SET_VARSIZE(result, VARHDRSZ + sizeof(uint16) + sizeof(int16) * (last - first));
	memcpy(result + VARHDRSZ, &header, sizeof(uint16));
	memcpy(result + VARHDRSZ + sizeof(uint16), digits + first, sizeof(int16) * (last - first));
	return PointerGetDatum(result);
}

static Datum
number_value(const TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, bool *isnull)
{
	int64		value;

	if (op->wide || (op->type == TAP_COBOL_IS_NUMERIC && op->scale < 0))
		return long_number(reader, op, data, isnull);
	*isnull = !check_number(reader, op, data, tap_cobol_integer(op, data, &value));
	if (*isnull)
		return (Datum) 0;
	if (op->scale < 0)
		value *= tap_cobol_powers[-op->scale];
	switch (op->type)
	{
		case TAP_COBOL_IS_SMALLINT:
			return Int16GetDatum((int16) value);
		case TAP_COBOL_IS_INT:
			return Int32GetDatum((int32) value);
		case TAP_COBOL_IS_BIGINT:
			return Int64GetDatum(value);
		default:
			if (op->scale <= MOST_SHORT_SCALE)
				return short_numeric(value, op->scale);
			return NumericGetDatum(int64_div_fast_to_numeric(value, op->scale));
	}
}

static Datum
float_value(const TapFormatReader *reader, const TapCobolOp *op, const uint8 *data)
{
	double		value;

	if (!tap_cobol_float(op, data, &value))
		report_bytes(reader, op, data, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					 "is more than the type real can hold");
	return op->type == TAP_COBOL_IS_REAL ? Float4GetDatum((float4) value) : Float8GetDatum(value);
}

Datum
tap_cobol_value(TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, bool *isnull)
{
	*isnull = false;
	switch (op->field)
	{
		case TAP_COBOL_TEXT:
		case TAP_COBOL_NATIONAL:
		case TAP_COBOL_DBCS:
			return text_value(reader, op, data, isnull);
		case TAP_COBOL_FLOAT:
			return float_value(reader, op, data);
		default:
			return number_value(reader, op, data, isnull);
	}
}

/* ---------------------------------------------------------------------
 * JSON
 * ---------------------------------------------------------------------
 */

static void
set_text(JsonbValue *value, const char *text, Size length)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, text);
	value->val.string.len = length;
}

/* NaN and infinity are no numbers to JSON. */
static void
set_float(JsonbValue *value, const TapCobolOp *op, Datum number)
{
	char	   *text = op->type == TAP_COBOL_IS_REAL ?
	DatumGetCString(DirectFunctionCall1(float4out, number)) :
	DatumGetCString(DirectFunctionCall1(float8out, number));

	if (text[0] == 'N' || text[0] == 'I' || text[1] == 'I')
	{
		set_text(value, text, strlen(text));
		return;
	}
	value->type = jbvNumeric;
	value->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
															 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
set_number(JsonbValue *value, const TapCobolOp *op, Datum number)
{
	value->type = jbvNumeric;
	switch (op->type)
	{
		case TAP_COBOL_IS_SMALLINT:
			number = short_numeric(DatumGetInt16(number), 0);
			break;
		case TAP_COBOL_IS_INT:
			number = short_numeric(DatumGetInt32(number), 0);
			break;
		case TAP_COBOL_IS_BIGINT:
			number = short_numeric(DatumGetInt64(number), 0);
			break;
		default:
			break;
	}
	value->val.numeric = DatumGetNumeric(number);
}

void
tap_cobol_json_value(TapFormatReader *reader, const TapCobolOp *op, const uint8 *data, JsonbValue *value)
{
	bool		isnull;
	Datum		number = tap_cobol_value(reader, op, data, &isnull);

	if (isnull)
		value->type = jbvNull;
	else if (op->type == TAP_COBOL_IS_TEXT)
		set_text(value, VARDATA_ANY(DatumGetPointer(number)), VARSIZE_ANY_EXHDR(DatumGetPointer(number)));
	else if (op->field == TAP_COBOL_FLOAT)
		set_float(value, op, number);
	else
		set_number(value, op, number);
}
