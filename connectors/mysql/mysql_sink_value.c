/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_value.c
 *	  Values of the hub as SQL literals, and as fields of LOAD DATA.
 *
 * A value that the target's column would round, cut or shift is refused here,
 * since the server does some of that with a note only.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varbit.h"

/* MySQL's TIME goes from -838:59:59 to 838:59:59. */
#define MAX_TIME_USECS	(INT64CONST(3020400) * USECS_PER_SEC - 1)

#define MAX_DATE_YEAR	9999
#define EWKB_SRID_FLAG	0x20000000

#ifdef WORDS_BIGENDIAN
#define HOST_IS_LITTLE	false
#else
#define HOST_IS_LITTLE	true
#endif

/* Integers of JSON that MySQL keeps as such have at most so many digits. */
#define SAFE_INTEGER_DIGITS	18
#define SAFE_FLOAT_DIGITS	15

typedef enum Form
{
	FORM_PLAIN,					/* a number */
	FORM_TEXT,
	FORM_BYTES
} Form;

/* A value on its way. */
typedef struct Text
{
	Form		form;
	const char *data;
	Size		length;
	char		buffer[128];
} Text;

static void refuse(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
				   int sqlstate, const char *what, const char *hint)
			__attribute__((noreturn));

static void
refuse(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, int sqlstate,
	   const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("a value of column \"%s\" cannot be stored in table \"%s\" of the target: %s",
					column->name, table->label, what),
			 hint ? errhint("%s", hint) : 0));
}

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

static void
write_integer(Text *text, int64 value)
{
	text->length = pg_lltoa(value, text->buffer);
	text->data = text->buffer;
}

static void
write_float(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, double value,
			Text *text)
{
	if (isnan(value) || isinf(value))
		refuse(table, column, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
			   isnan(value) ? "MySQL has no NaN" : "MySQL has no infinity", NULL);
	if (column->single_float && (double) (float) value != value)
		refuse(table, column, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
			   "FLOAT would round it", "Make the target's column a DOUBLE.");
	text->length = double_to_shortest_decimal_bufn(value, text->buffer);
	text->buffer[text->length] = '\0';

	/* without an exponent it would be a DECIMAL, and become a number twice */
	if (strchr(text->buffer, 'e') == NULL)
	{
		strcpy(text->buffer + text->length, "e0");
		text->length += 2;
	}
	text->data = text->buffer;
}

/* Whether the decimal digits fit; zeros at the end of a fraction do not count. */
static void
check_decimal(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
			  const char *digits)
{
	const char *point = strchr(digits, '.');
	const char *first = digits + strspn(digits, "-0");
	int			whole = (int) strspn(first, "0123456789");
	int			fraction = point ? (int) strlen(point + 1) : 0;

	while (fraction > 0 && point[fraction] == '0')
		fraction--;
	if (fraction > column->scale)
		refuse(table, column, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
			   psprintf("%s has more than %d decimal places", digits, column->scale),
			   "Give the target's column a larger scale, or publish with the option unbounded_numeric = text.");
	if (whole > column->precision - column->scale)
		refuse(table, column, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
			   psprintf("%s has more than %d digits before the decimal point", digits,
						column->precision - column->scale),
			   "Give the target's column a larger precision, or publish with the option unbounded_numeric = text.");
}

static void
write_numeric(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
			  Text *text)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	Size		length = strlen(digits);

	if (numeric_is_nan(DatumGetNumeric(value)) || numeric_is_inf(DatumGetNumeric(value)))
		refuse(table, column, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
			   psprintf("MySQL has no %s", digits), NULL);
	check_decimal(table, column, digits);
	if (strchr(digits, '.') != NULL)
	{
		/* a literal keeps zeros at the end and counts them as digits */
		while (digits[length - 1] == '0')
			length--;
		if (digits[length - 1] == '.')
			length--;
	}
	text->data = digits;
	text->length = length;
}

static void
write_bit(Datum value, Text *text)
{
	VarBit	   *bits = DatumGetVarBitP(value);
	uint64		number = 0;

	for (int i = 0; i < VARBITBYTES(bits); i++)
		number = (number << 8) | VARBITS(bits)[i];
	number >>= VARBITPAD(bits);
	text->length = pg_ulltoa_n(number, text->buffer);
	text->data = text->buffer;
}

/* ---------------------------------------------------------------------
 * Dates and times
 * ---------------------------------------------------------------------
 */

/* Refuse digits of seconds that the column would round away. */
static void
check_seconds(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, int64 usecs)
{
	int64		unit = 1;

	for (int i = column->scale; i < 6; i++)
		unit *= 10;
	if (usecs % unit != 0)
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW,
			   psprintf("it has more than %d digits of seconds", column->scale),
			   "Give the target's column six digits, as in DATETIME(6).");
}

static void
check_year(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, int year)
{
	if (year < 1 || year > MAX_DATE_YEAR)
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW,
			   year < 1 ? "its year is before Christ" : "its year is after 9999", NULL);
}

static void
append_seconds(Text *text, int64 usecs)
{
	int64		seconds = usecs / USECS_PER_SEC;
	int			fraction = (int) (usecs % USECS_PER_SEC);
	char	   *at = text->buffer + text->length;

	at += sprintf(at, "%02d:%02d:%02d", (int) (seconds / SECS_PER_HOUR),
				  (int) (seconds / SECS_PER_MINUTE % 60), (int) (seconds % 60));
	if (fraction != 0)
		at += sprintf(at, ".%06d", fraction);
	text->length = at - text->buffer;
	text->data = text->buffer;
}

static void
write_date(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, DateADT date,
		   Text *text)
{
	int			year;
	int			month;
	int			day;

	if (DATE_NOT_FINITE(date))
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW, "MySQL has no infinite date", NULL);
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	check_year(table, column, year);
	text->length = sprintf(text->buffer, "%04d-%02d-%02d", year, month, day);
	text->data = text->buffer;
}

static void
write_timestamp(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
				Timestamp value, Text *text)
{
	int64		days;
	int64		usecs;

	if (TIMESTAMP_NOT_FINITE(value))
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW,
			   "MySQL has no infinite time", NULL);
	days = value / USECS_PER_DAY;
	usecs = value % USECS_PER_DAY;
	if (usecs < 0)
	{
		usecs += USECS_PER_DAY;
		days--;
	}
	check_seconds(table, column, usecs);
	write_date(table, column, (DateADT) days, text);
	text->buffer[text->length++] = ' ';
	append_seconds(text, usecs);
}

static void
write_time(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, int64 usecs,
		   Text *text)
{
	check_seconds(table, column, usecs);
	text->length = 0;
	if (usecs < 0)
		text->buffer[text->length++] = '-';
	append_seconds(text, usecs < 0 ? -usecs : usecs);
}

static void
write_interval(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
			   const Interval *interval, Text *text)
{
	int64		limit = MAX_TIME_USECS / USECS_PER_DAY + 1;
	int64		usecs;

	if (interval->month != 0)
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW,
			   "TIME has no months and years", NULL);
	if (interval->day > limit || interval->day < -limit ||
		interval->time > MAX_TIME_USECS * 2 || interval->time < -MAX_TIME_USECS * 2)
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW,
			   "TIME ends at 838:59:59", NULL);
	usecs = interval->time + interval->day * USECS_PER_DAY;
	if (usecs > MAX_TIME_USECS || usecs < -MAX_TIME_USECS)
		refuse(table, column, ERRCODE_DATETIME_FIELD_OVERFLOW,
			   "TIME ends at 838:59:59", NULL);
	write_time(table, column, usecs, text);
}

/* ---------------------------------------------------------------------
 * JSON
 * ---------------------------------------------------------------------
 */

/* Whether a number of JSON is the same as a DOUBLE. */
static bool
is_same_double(const char *number)
{
	double		value = strtod(number, NULL);
	char		shortest[DOUBLE_SHORTEST_DECIMAL_LEN];
	Datum		a;
	Datum		b;

	if (isinf(value))
		return false;
	double_to_shortest_decimal_buf(value, shortest);
	a = DirectFunctionCall3(numeric_in, CStringGetDatum(number), ObjectIdGetDatum(InvalidOid),
							Int32GetDatum(-1));
	b = DirectFunctionCall3(numeric_in, CStringGetDatum(shortest), ObjectIdGetDatum(InvalidOid),
							Int32GetDatum(-1));
	return DatumGetBool(DirectFunctionCall2(numeric_eq, a, b));
}

static bool
is_safe_number(const char *number, Size length)
{
	int			digits = 0;
	bool		is_float = false;

	for (Size i = 0; i < length; i++)
	{
		if (isdigit((unsigned char) number[i]))
			digits++;
		else if (number[i] != '-' && number[i] != '+')
			is_float = true;
	}
	if (digits <= (is_float ? SAFE_FLOAT_DIGITS : SAFE_INTEGER_DIGITS) &&
		memchr(number, 'e', length) == NULL && memchr(number, 'E', length) == NULL)
		return true;
	return is_same_double(pnstrdup(number, length));
}

/* MySQL's own JSON has no numbers but 64-bit integers and DOUBLE. */
static void
check_json(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
		   const char *json, Size length)
{
	const char *end = json + length;
	bool		in_string = false;

	for (const char *p = json; p < end; p++)
	{
		const char *start = p;

		if (in_string && *p == '\\')
			p++;
		else if (*p == '"')
			in_string = !in_string;
		else if (!in_string && (*p == '-' || isdigit((unsigned char) *p)))
		{
			while (p < end && (isdigit((unsigned char) *p) || strchr("+-.eE", *p) != NULL))
				p++;
			if (!is_safe_number(start, p - start))
				refuse(table, column, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					   psprintf("MySQL's JSON would round the number %s",
								pnstrdup(start, Min(p - start, 60))),
					   "Publish with the option json = text, or make the target's column a LONGTEXT.");
			p--;
		}
	}
}

/* ---------------------------------------------------------------------
 * Text and bytes
 * ---------------------------------------------------------------------
 */

/* Text in the database's encoding: check what its column can hold. */
static void
finish_text(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Text *text)
{
	text->form = FORM_TEXT;
	if (column->max_chars > 0 && text->length > column->max_chars &&
		pg_mbstrlen_with_len(text->data, (int) text->length) > column->max_chars)
		refuse(table, column, ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
			   psprintf("it has more than %d characters", column->max_chars),
			   "Make the target's column longer.");
	if (column->strips_spaces && text->length > 0 && text->data[text->length - 1] == ' ')
		refuse(table, column, ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
			   "CHAR would lose the spaces at its end", "Make the target's column a VARCHAR.");
	if (column->json_numbers)
		check_json(table, column, text->data, text->length);
	if (GetDatabaseEncoding() != PG_UTF8)
	{
		char	   *utf8 = pg_server_to_any(text->data, (int) text->length, PG_UTF8);

		if (utf8 != text->data)
		{
			text->data = utf8;
			text->length = strlen(utf8);
		}
	}
}

static void
write_text(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
		   Text *text)
{
	struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);

	text->data = VARDATA_ANY(plain);
	text->length = VARSIZE_ANY_EXHDR(plain);
	if (column->type == BPCHAROID)
		text->length = bpchartruelen((char *) text->data, (int) text->length);
	finish_text(table, column, text);
}

static void
write_output(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
			 Text *text)
{
	text->data = OutputFunctionCall(unconstify(FmgrInfo *, &column->output), value);
	text->length = strlen(text->data);
	finish_text(table, column, text);
}

static void
write_json_array(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
				 Datum value, Text *text)
{
	Datum		json = OidFunctionCall1(F_ARRAY_TO_JSON_ANYARRAY, value);

	text->data = VARDATA_ANY(DatumGetPointer(json));
	text->length = VARSIZE_ANY_EXHDR(DatumGetPointer(json));
	finish_text(table, column, text);
}

static void
write_set(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
		  Text *text)
{
	StringInfoData labels;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	initStringInfo(&labels);
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *label = nulls[i] ? NULL :
		text_to_cstring((struct varlena *) DatumGetPointer(elements[i]));

		if (label == NULL || label[0] == '\0' || strchr(label, ',') != NULL)
			refuse(table, column, ERRCODE_INVALID_TEXT_REPRESENTATION,
				   "a label of a SET is neither NULL nor empty and has no comma", NULL);
		appendStringInfo(&labels, "%s%s", i > 0 ? "," : "", label);
	}
	text->data = labels.data;
	text->length = labels.len;
	finish_text(table, column, text);
}

static void
write_bytes(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
			Text *text)
{
	struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);

	text->form = FORM_BYTES;
	text->data = VARDATA_ANY(plain);
	text->length = VARSIZE_ANY_EXHDR(plain);
	if (column->exact_bytes > 0 && text->length != column->exact_bytes)
		refuse(table, column, ERRCODE_STRING_DATA_LENGTH_MISMATCH,
			   psprintf("BINARY(%d) would change its length of %zu bytes",
						column->exact_bytes, text->length),
			   "Make the target's column a VARBINARY or a LONGBLOB.");
}

/* EWKB to MySQL's form: the SRID first, little-endian, then WKB. */
static void
write_geometry(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
			   Text *text)
{
	uint32		type;
	uint32		srid = 0;
	int			header = 5;
	char	   *out;

	write_bytes(table, column, value, text);
	if (text->length < 9)
		refuse(table, column, ERRCODE_INVALID_BINARY_REPRESENTATION, "it is not a geometry", NULL);
	memcpy(&type, text->data + 1, sizeof(type));
	if ((text->data[0] == 1) != HOST_IS_LITTLE)
		type = pg_bswap32(type);
	if (type & EWKB_SRID_FLAG)
	{
		type &= ~EWKB_SRID_FLAG;
		memcpy(&srid, text->data + 5, sizeof(srid));
		if (text->data[0] == 0)
			srid = pg_bswap32(srid);
		header = 9;
	}
	if (text->data[0] == 0)
		type = pg_bswap32(type);
	out = palloc(text->length + 4);
	memcpy(out, &srid, sizeof(srid));
	out[4] = text->data[0];
	memcpy(out + 5, &type, sizeof(type));
	memcpy(out + 9, text->data + header, text->length - header);
	text->length = 9 + text->length - header;
	text->data = out;
}

static void
write_vector(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
			 Text *text)
{
	ArrayType  *array = DatumGetArrayTypeP(value);

	if (ARR_NDIM(array) != 1 || array_contains_nulls(array))
		refuse(table, column, ERRCODE_INVALID_BINARY_REPRESENTATION,
			   "a VECTOR is one list without NULLs", NULL);
	text->form = FORM_BYTES;
	text->data = ARR_DATA_PTR(array);
	text->length = ArrayGetNItems(1, ARR_DIMS(array)) * sizeof(float4);
}

/* ---------------------------------------------------------------------
 * All of them
 * ---------------------------------------------------------------------
 */

static void
write_value(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column, Datum value,
			Text *text)
{
	text->form = FORM_PLAIN;
	switch (column->encode)
	{
		case TAP_MYSQL_ENCODE_BOOL:
			write_integer(text, DatumGetBool(value) ? 1 : 0);
			break;
		case TAP_MYSQL_ENCODE_INT2:
			write_integer(text, DatumGetInt16(value));
			break;
		case TAP_MYSQL_ENCODE_INT4:
			write_integer(text, DatumGetInt32(value));
			break;
		case TAP_MYSQL_ENCODE_INT8:
			write_integer(text, DatumGetInt64(value));
			break;
		case TAP_MYSQL_ENCODE_OID:
			write_integer(text, (int64) DatumGetObjectId(value));
			break;
		case TAP_MYSQL_ENCODE_FLOAT4:
			write_float(table, column, DatumGetFloat4(value), text);
			break;
		case TAP_MYSQL_ENCODE_FLOAT8:
			write_float(table, column, DatumGetFloat8(value), text);
			break;
		case TAP_MYSQL_ENCODE_NUMERIC:
			write_numeric(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_BIT:
			write_bit(value, text);
			break;
		case TAP_MYSQL_ENCODE_DATE:
			write_date(table, column, DatumGetDateADT(value), text);
			text->form = FORM_TEXT;
			break;
		case TAP_MYSQL_ENCODE_TIMESTAMP:
			write_timestamp(table, column, DatumGetTimestamp(value), text);
			text->form = FORM_TEXT;
			break;
		case TAP_MYSQL_ENCODE_TIME:
			write_time(table, column, DatumGetTimeADT(value), text);
			text->form = FORM_TEXT;
			break;
		case TAP_MYSQL_ENCODE_INTERVAL:
			write_interval(table, column, DatumGetIntervalP(value), text);
			text->form = FORM_TEXT;
			break;
		case TAP_MYSQL_ENCODE_TEXT:
			write_text(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_OUTPUT:
			write_output(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_JSON_ARRAY:
			write_json_array(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_SET:
			write_set(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_BYTES:
			write_bytes(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_GEOMETRY:
			write_geometry(table, column, value, text);
			break;
		case TAP_MYSQL_ENCODE_VECTOR:
			write_vector(table, column, value, text);
			break;
	}
}

/* Append text with a backslash before each of the special characters. */
static void
append_escaped(StringInfo out, const char *data, Size length, const char *special)
{
	bool		is_special[256] = {false};
	Size		n = 0;
	char	   *at;

	/* the first one is NUL, written as \0 */
	is_special[0] = true;
	for (const char *p = special; *p; p++)
		is_special[(unsigned char) *p] = true;
	for (Size i = 0; i < length; i++)
		n += is_special[(unsigned char) data[i]];
	enlargeStringInfo(out, (int) Min(length + n, MaxAllocSize));
	at = out->data + out->len;
	if (n == 0)
		memcpy(at, data, length);
	else
		for (Size i = 0; i < length; i++)
		{
			if (is_special[(unsigned char) data[i]])
				*at++ = '\\';
			*at++ = data[i] == '\0' ? '0' : data[i];
		}
	out->len += (int) (length + n);
	out->data[out->len] = '\0';
}

void
tap_mysql_sink_literal(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
					   Datum value, StringInfo out)
{
	Text		text;

	write_value(table, column, value, &text);
	if (text.form == FORM_PLAIN)
	{
		appendBinaryStringInfo(out, text.data, (int) text.length);
		return;
	}
	appendStringInfoString(out, text.form == FORM_BYTES ? "_binary'" : "'");
	append_escaped(out, text.data, text.length, "\\'");
	appendStringInfoChar(out, '\'');
}

void
tap_mysql_sink_field(const TapMysqlSinkTable *table, const TapMysqlSinkColumn *column,
					 Datum value, StringInfo out)
{
	static const char digits[] = "0123456789ABCDEF";
	Text		text;

	write_value(table, column, value, &text);
	if (text.form == FORM_PLAIN)
		appendBinaryStringInfo(out, text.data, (int) text.length);
	else if (text.form == FORM_TEXT)
		append_escaped(out, text.data, text.length, "\\\t\n");
	else
		for (Size i = 0; i < text.length; i++)
		{
			appendStringInfoCharMacro(out, digits[(unsigned char) text.data[i] >> 4]);
			appendStringInfoCharMacro(out, digits[text.data[i] & 0xF]);
		}
}
