/*-------------------------------------------------------------------------
 *
 * connectors/common/row_json.c
 *	  Rows of hub tables as JSON.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "row_json.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "json_text.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

typedef struct JsonType JsonType;

/* Appends one value that is not NULL. */
typedef void (*JsonWriter) (JsonType *type, StringInfo out, Datum value);

struct JsonType
{
	Oid			oid;			/* of a domain: its base type */
	JsonWriter	write;
	FmgrInfo	output;
	JsonType   *element;		/* of an array */
	int16		length;			/* of an element, as arrays store it */
	bool		by_value;
	char		alignment;
};

typedef struct JsonColumn
{
	char	   *prefix;			/* "name": with quotes and colon */
	int			prefix_length;
	JsonType   *type;
} JsonColumn;

struct TapRowJson
{
	const TapSourceTable *table;
	JsonColumn *columns;		/* natts of the descriptor */
	MemoryContext scratch;		/* reset for each row */
};

static JsonType *resolve_type(Oid oid);

void
tap_row_json_settle(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"bytea_output", "hex"},
		{"extra_float_digits", "1"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION);
}

/* ---------------------------------------------------------------------
 * One writer for each kind of type
 * ---------------------------------------------------------------------
 */

static void
write_bool(JsonType *type, StringInfo out, Datum value)
{
	if (DatumGetBool(value))
		appendBinaryStringInfo(out, "true", 4);
	else
		appendBinaryStringInfo(out, "false", 5);
}

static void
write_int2(JsonType *type, StringInfo out, Datum value)
{
	tap_json_append_int(out, DatumGetInt16(value));
}

static void
write_int4(JsonType *type, StringInfo out, Datum value)
{
	tap_json_append_int(out, DatumGetInt32(value));
}

static void
write_int8(JsonType *type, StringInfo out, Datum value)
{
	tap_json_append_int(out, DatumGetInt64(value));
}

static void
write_special_float(StringInfo out, double value)
{
	if (isnan(value))
		appendStringInfoString(out, "\"NaN\"");
	else
		appendStringInfoString(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

static void
write_float4(JsonType *type, StringInfo out, Datum value)
{
	float4		number = DatumGetFloat4(value);

	if (isnan(number) || isinf(number))
	{
		write_special_float(out, number);
		return;
	}
	enlargeStringInfo(out, FLOAT_SHORTEST_DECIMAL_LEN);
	out->len += float_to_shortest_decimal_buf(number, out->data + out->len);
}

static void
write_float8(JsonType *type, StringInfo out, Datum value)
{
	float8		number = DatumGetFloat8(value);

	if (isnan(number) || isinf(number))
	{
		write_special_float(out, number);
		return;
	}
	enlargeStringInfo(out, DOUBLE_SHORTEST_DECIMAL_LEN);
	out->len += double_to_shortest_decimal_buf(number, out->data + out->len);
}

static void
write_numeric(JsonType *type, StringInfo out, Datum value)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, value));

	/* its only letters are those of NaN and Infinity */
	if (isalpha((unsigned char) text[0]) || isalpha((unsigned char) text[1]))
		tap_json_append_cstring(out, text);
	else
		appendStringInfoString(out, text);
}

static void
write_text(JsonType *type, StringInfo out, Datum value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);
	Size		length = VARSIZE_ANY_EXHDR(text);
	const char *utf8 = tap_json_utf8(VARDATA_ANY(text), &length);

	tap_json_append_string(out, utf8, length);
}

static void
write_output(JsonType *type, StringInfo out, Datum value)
{
	char	   *text = OutputFunctionCall(&type->output, value);
	Size		length = strlen(text);
	const char *utf8 = tap_json_utf8(text, &length);

	tap_json_append_string(out, utf8, length);
}

/* Raw line breaks of valid JSON are white space between its tokens. */
static void
append_one_line(StringInfo out, const char *text, Size length)
{
	int			start = out->len;

	appendBinaryStringInfo(out, text, length);
	for (char *c = out->data + start; c < out->data + out->len; c++)
	{
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
}

static void
write_json(JsonType *type, StringInfo out, Datum value)
{
	const char *text;
	Size		length;

	if (type->oid == JSONOID)
	{
		struct varlena *json = PG_DETOAST_DATUM_PACKED(value);

		text = VARDATA_ANY(json);
		length = VARSIZE_ANY_EXHDR(json);
	}
	else
	{
		text = OutputFunctionCall(&type->output, value);
		length = strlen(text);
	}
	text = tap_json_utf8(text, &length);
	append_one_line(out, text, length);
}

static void
write_bytea(JsonType *type, StringInfo out, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);

	appendStringInfoCharMacro(out, '"');
	tap_json_append_base64(out, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	appendStringInfoCharMacro(out, '"');
}

static void
write_uuid(JsonType *type, StringInfo out, Datum value)
{
	static const char digits[] = "0123456789abcdef";
	const pg_uuid_t *uuid = DatumGetUUIDP(value);
	char		text[38];
	char	   *to = text;

	*to++ = '"';
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[uuid->data[i] >> 4];
		*to++ = digits[uuid->data[i] & 15];
	}
	*to++ = '"';
	appendBinaryStringInfo(out, text, to - text);
}

static void
write_datetime(JsonType *type, StringInfo out, Datum value)
{
	static const int utc = 0;
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, value, type->oid, &utc);
	appendStringInfoCharMacro(out, '"');
	appendStringInfoString(out, text);
	appendStringInfoCharMacro(out, '"');
}

/* One dimension of an array; next is the element to write next. */
static void
write_dimension(JsonType *element, StringInfo out, int dimension, int ndim, const int *lengths,
				const Datum *values, const bool *nulls, int *next)
{
	appendStringInfoCharMacro(out, '[');
	for (int i = 0; i < lengths[dimension]; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		if (dimension + 1 < ndim)
			write_dimension(element, out, dimension + 1, ndim, lengths, values, nulls, next);
		else
		{
			if (nulls[*next])
				appendBinaryStringInfo(out, "null", 4);
			else
				element->write(element, out, values[*next]);
			(*next)++;
		}
	}
	appendStringInfoCharMacro(out, ']');
}

static void
write_array(JsonType *type, StringInfo out, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	JsonType   *element = type->element;
	Datum	   *values;
	bool	   *nulls;
	int			count;
	int			next = 0;

	if (ARR_NDIM(array) == 0)
	{
		appendStringInfoString(out, "[]");
		return;
	}
	deconstruct_array(array, ARR_ELEMTYPE(array), element->length, element->by_value,
					  element->alignment, &values, &nulls, &count);
	write_dimension(element, out, 0, ARR_NDIM(array), ARR_DIMS(array), values, nulls, &next);
}

/* The types of a composite are those of this value: they can be altered. */
static void
write_composite(JsonType *type, StringInfo out, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc	descriptor = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
													HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	bool		first = true;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	appendStringInfoCharMacro(out, '{');
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		JsonType   *field;
		Datum		datum;
		Size		length = strlen(NameStr(attribute->attname));
		const char *name;
		bool		isnull;

		if (attribute->attisdropped)
			continue;
		if (!first)
			appendStringInfoCharMacro(out, ',');
		first = false;
		name = tap_json_utf8(NameStr(attribute->attname), &length);
		tap_json_append_string(out, name, length);
		appendStringInfoCharMacro(out, ':');
		datum = heap_getattr(&tuple, i + 1, descriptor, &isnull);
		if (isnull)
		{
			appendBinaryStringInfo(out, "null", 4);
			continue;
		}
		field = resolve_type(attribute->atttypid);
		field->write(field, out, datum);
	}
	appendStringInfoCharMacro(out, '}');
	ReleaseTupleDesc(descriptor);
}

/* ---------------------------------------------------------------------
 * Making types and tables ready
 * ---------------------------------------------------------------------
 */

static const struct
{
	Oid			oid;
	JsonWriter	write;
}			writers[] =

{
	{BOOLOID, write_bool},
	{INT2OID, write_int2},
	{INT4OID, write_int4},
	{INT8OID, write_int8},
	{FLOAT4OID, write_float4},
	{FLOAT8OID, write_float8},
	{NUMERICOID, write_numeric},
	{TEXTOID, write_text},
	{VARCHAROID, write_text},
	{BPCHAROID, write_text},
	{JSONOID, write_json},
	{JSONBOID, write_json},
	{BYTEAOID, write_bytea},
	{UUIDOID, write_uuid},
	{DATEOID, write_datetime},
	{TIMEOID, write_datetime},
	{TIMETZOID, write_datetime},
	{TIMESTAMPOID, write_datetime},
	{TIMESTAMPTZOID, write_datetime}
};

static JsonWriter
find_writer(Oid oid)
{
	for (int i = 0; i < lengthof(writers); i++)
	{
		if (writers[i].oid == oid)
			return writers[i].write;
	}
	return NULL;
}

static JsonType *
resolve_type(Oid oid)
{
	JsonType   *type = palloc0(sizeof(JsonType));
	Oid			element;
	Oid			function;
	bool		is_varlena;

	type->oid = getBaseType(oid);
	type->write = find_writer(type->oid);
	if (type->write == NULL)
	{
		element = get_element_type(type->oid);
		if (OidIsValid(element))
		{
			type->write = write_array;
			type->element = resolve_type(element);
			get_typlenbyvalalign(element, &type->element->length, &type->element->by_value,
								 &type->element->alignment);
			return type;
		}
		type->write = type_is_rowtype(type->oid) ? write_composite : write_output;
	}
	getTypeOutputInfo(type->oid, &function, &is_varlena);
	fmgr_info_cxt(function, &type->output, CurrentMemoryContext);
	return type;
}

static void
prepare_columns(TapRowJson *json)
{
	TupleDesc	descriptor = json->table->descriptor;

	json->columns = palloc0(sizeof(JsonColumn) * (descriptor->natts + 1));
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		StringInfoData prefix;
		Size		length = strlen(NameStr(attribute->attname));
		const char *name;

		if (attribute->attisdropped)
			continue;
		name = tap_json_utf8(NameStr(attribute->attname), &length);
		initStringInfo(&prefix);
		tap_json_append_string(&prefix, name, length);
		appendStringInfoChar(&prefix, ':');
		json->columns[i].prefix = prefix.data;
		json->columns[i].prefix_length = prefix.len;
		json->columns[i].type = resolve_type(attribute->atttypid);
	}
}

TapRowJson *
tap_row_json_prepare(const TapSourceTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	TapRowJson *json = palloc0(sizeof(TapRowJson));
	bool		own_transaction = !IsTransactionState();

	json->table = table;
	json->scratch = AllocSetContextCreate(context, "tapdata row as JSON",
										  ALLOCSET_DEFAULT_SIZES);
	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	prepare_columns(json);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return json;
}

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

/* out must not be allocated in the scratch context. */
static inline void
append_column(TapRowJson *json, StringInfo out, const TupleTableSlot *slot, int column)
{
	JsonType   *type = json->columns[column].type;

	if (slot->tts_isnull[column])
		appendBinaryStringInfo(out, "null", 4);
	else
		type->write(type, out, slot->tts_values[column]);
}

static int
append_known(TapRowJson *json, StringInfo out, const TapRowImage *image)
{
	int			natts = json->table->descriptor->natts;
	int			written = 0;

	for (int i = 0; i < natts; i++)
	{
		const JsonColumn *column = &json->columns[i];

		if (column->prefix == NULL || (image->present != NULL && !image->present[i]))
			continue;
		if (written++ > 0)
			appendStringInfoCharMacro(out, ',');
		appendBinaryStringInfo(out, column->prefix, column->prefix_length);
		append_column(json, out, image->slot, i);
	}
	return written;
}

static int
append_key(TapRowJson *json, StringInfo out, const TapRowImage *image)
{
	for (int i = 0; i < json->table->nkeys; i++)
	{
		const JsonColumn *column = &json->columns[json->table->keys[i] - 1];

		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		appendBinaryStringInfo(out, column->prefix, column->prefix_length);
		append_column(json, out, image->slot, json->table->keys[i] - 1);
	}
	return json->table->nkeys;
}

int
tap_row_json_append_columns(TapRowJson *json, StringInfo out, const TapRowImage *image,
							TapRowJsonColumns columns)
{
	MemoryContext before = MemoryContextSwitchTo(json->scratch);
	int			written;

	slot_getallattrs(image->slot);
	if (columns == TAP_ROW_JSON_KEY)
		written = append_key(json, out, image);
	else
		written = append_known(json, out, image);
	MemoryContextSwitchTo(before);
	MemoryContextReset(json->scratch);
	return written;
}

void
tap_row_json_append(TapRowJson *json, StringInfo out, const TapRowImage *image,
					TapRowJsonColumns columns)
{
	if (image->slot == NULL)
	{
		appendBinaryStringInfo(out, "null", 4);
		return;
	}
	appendStringInfoCharMacro(out, '{');
	(void) tap_row_json_append_columns(json, out, image, columns);
	appendStringInfoCharMacro(out, '}');
}

void
tap_row_json_append_value(TapRowJson *json, StringInfo out, AttrNumber column, Datum value)
{
	MemoryContext before = MemoryContextSwitchTo(json->scratch);
	JsonType   *type = json->columns[column - 1].type;

	type->write(type, out, value);
	MemoryContextSwitchTo(before);
	MemoryContextReset(json->scratch);
}

void
tap_row_json_append_plain(TapRowJson *json, StringInfo out, AttrNumber column, Datum value)
{
	MemoryContext before = MemoryContextSwitchTo(json->scratch);
	JsonType   *type = json->columns[column - 1].type;
	StringInfoData quoted;
	Size		length;
	const char *utf8;

	if (type->write == write_text || type->write == write_output)
	{
		char	   *plain = type->write == write_text ? TextDatumGetCString(value) :
		OutputFunctionCall(&type->output, value);

		length = strlen(plain);
		utf8 = tap_json_utf8(plain, &length);
		appendBinaryStringInfo(out, utf8, length);
	}
	else
	{
		initStringInfo(&quoted);
		type->write(type, &quoted, value);

		/* what is quoted here is never escaped */
		if (quoted.data[0] == '"' && type->write != write_json)
			appendBinaryStringInfo(out, quoted.data + 1, quoted.len - 2);
		else
			appendBinaryStringInfo(out, quoted.data, quoted.len);
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(json->scratch);
}
