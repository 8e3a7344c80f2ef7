/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_types.c
 *	  Values in PostgreSQL's binary or text format.
 *
 * NOTES
 *	  Built-in types have the same binary format and the same oid in all
 *	  supported versions; their values are sent as they are.  All others
 *	  (arrays, which unnest() would take apart; types made by users, whose oids
 *	  differ; names of objects, whose binary format is an oid) are sent as text
 *	  and cast at the target.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_connector.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"

/* numeric's modifier is ((precision << 16) | scale) + 4, scale in 11 bits */
#define NUMERIC_SCALE(typmod)	(((((typmod) - VARHDRSZ) & 0x7ff) ^ 1024) - 1024)

#define FULL_PRECISION	6		/* digits of a second's fraction */

static Oid
base_type(Form_pg_attribute attribute, int32 *typmod)
{
	*typmod = attribute->atttypmod;
	return getBaseTypeAndTypmod(attribute->atttypid, typmod);
}

/* ---------------------------------------------------------------------
 * Choosing
 * ---------------------------------------------------------------------
 */

/* Whether the binary format of the type means the same at any server. */
static bool
is_portable(Oid type)
{
	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
		case XMLOID:			/* changes its declaration of the encoding */
			return false;
		default:
			return type < FirstUnpinnedObjectId &&
				get_typtype(type) != TYPTYPE_COMPOSITE;
	}
}

static TapPgCodec
binary_codec(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case CHAROID:
			return TAP_PG_INT8;
		case INT2OID:
			return TAP_PG_INT16;
		case INT4OID:
		case OIDOID:
		case DATEOID:
		case FLOAT4OID:
			return TAP_PG_INT32;
#ifdef USE_FLOAT8_BYVAL
		case INT8OID:
		case FLOAT8OID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return TAP_PG_INT64;
#endif
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case JSONOID:
		case BYTEAOID:
			return TAP_PG_BYTES;
		case UUIDOID:
			return TAP_PG_UUID;
		default:
			return TAP_PG_SEND;
	}
}

static bool
has_binary_format(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	result = OidIsValid(((Form_pg_type) GETSTRUCT(tuple))->typsend) &&
		OidIsValid(((Form_pg_type) GETSTRUCT(tuple))->typreceive);
	ReleaseSysCache(tuple);
	return result;
}

/* The operator that the key's index knows, whatever search_path is. */
static char *
equality_operator(const TapPgTargetColumn *target, Oid type)
{
	if (type < FirstUnpinnedObjectId || get_typtype(type) != TYPTYPE_BASE ||
		OidIsValid(get_element_type(type)))
		return pstrdup("OPERATOR(pg_catalog.=)");
	return psprintf("OPERATOR(%s.=)", tap_pg_quote(target->type_schema));
}

void
tap_pg_choose_codec(TapPgColumn *column, Form_pg_attribute attribute,
					const TapPgTargetColumn *target)
{
	int32		typmod;
	Oid			type = base_type(attribute, &typmod);
	Oid			element = get_element_type(type);
	bool		same = tap_pg_same_type(attribute, target);
	bool		binary = same && is_portable(type) && has_binary_format(type);
	Oid			function;
	bool		is_varlena;

	column->type = type;
	column->codec = TAP_PG_OUTPUT;
	column->copy_codec = TAP_PG_OUTPUT;
	if (binary && (!OidIsValid(element) || is_portable(element)))
	{
		column->copy_codec = binary_codec(type);
		if (!OidIsValid(element))
			column->codec = column->copy_codec;
		getTypeBinaryOutputInfo(type, &function, &is_varlena);
		fmgr_info(function, &column->send);
	}
	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info(function, &column->output);

	column->element = column->codec == TAP_PG_OUTPUT ? TEXTOID : type;
	column->array = get_array_type(column->element);
	if (!OidIsValid(column->array))
	{
		column->codec = TAP_PG_OUTPUT;
		column->element = TEXTOID;
		column->array = TEXTARRAYOID;
	}
	column->cast = column->codec == TAP_PG_OUTPUT ? pstrdup(target->cast) : NULL;
	column->exact = pstrdup(target->exact);
	column->equals = equality_operator(target, type);
}

/* ---------------------------------------------------------------------
 * Types that differ
 * ---------------------------------------------------------------------
 */

bool
tap_pg_same_type(Form_pg_attribute attribute, const TapPgTargetColumn *target)
{
	int32		typmod;
	Oid			type = base_type(attribute, &typmod);
	HeapTuple	tuple;
	Form_pg_type form;
	bool		same;

	if (type < FirstUnpinnedObjectId)
		return type == target->base;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	same = strcmp(NameStr(form->typname), target->type_name) == 0 &&
		strcmp(get_namespace_name(form->typnamespace), target->type_schema) == 0;
	ReleaseSysCache(tuple);
	return same;
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

static bool
is_exact_in_double(Oid type)
{
	return type == INT2OID || type == INT4OID || type == FLOAT4OID || type == FLOAT8OID;
}

/* Digits behind the second, of a type's modifier. */
static int
precision_of(int32 typmod)
{
	return typmod < 0 || typmod > FULL_PRECISION ? FULL_PRECISION : typmod;
}

static bool
loses_digits(Oid type, int32 typmod, int32 target_typmod)
{
	if (target_typmod < 0 || is_integer(type))
		return false;
	return type != NUMERICOID || typmod < 0 ||
		NUMERIC_SCALE(typmod) > NUMERIC_SCALE(target_typmod);
}

bool
tap_pg_loses(Form_pg_attribute attribute, const TapPgTargetColumn *target)
{
	int32		typmod;
	Oid			type = base_type(attribute, &typmod);
	bool		same = type == target->base;

	switch (target->base)
	{
		case FLOAT4OID:
			return !same && type != INT2OID;
		case FLOAT8OID:
			return !is_exact_in_double(type);
		case NUMERICOID:
			return loses_digits(type, typmod, target->typmod);
		case DATEOID:
			return !same;
		case TIMEOID:
		case TIMETZOID:
			return !same || precision_of(typmod) > precision_of(target->typmod);
		case TIMESTAMPOID:
			return (!same && type != DATEOID) ||
				(same && precision_of(typmod) > precision_of(target->typmod));
		case TIMESTAMPTZOID:
			return (!same && type != DATEOID && type != TIMESTAMPOID) ||
				(type != DATEOID && precision_of(typmod) > precision_of(target->typmod));
		case INTERVALOID:
			return target->typmod >= 0 && (!same || typmod != target->typmod);
		case BPCHAROID:
			return !same || (target->typmod >= 0 && (typmod < 0 || typmod > target->typmod));
		case BITOID:
			return !same || typmod != target->typmod;
		case NAMEOID:
		case CHAROID:
			return !same;
		default:
			return false;
	}
}

bool
tap_pg_equal_means_same(Form_pg_attribute attribute)
{
	int32		typmod;

	switch (base_type(attribute, &typmod))
	{
		case BOOLOID:
		case CHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
		case BYTEAOID:
		case NAMEOID:
			return true;
		case NUMERICOID:
			/* the scale is the column's, so 1.0 and 1.00 cannot both be there */
			return typmod >= 0;
		case TEXTOID:
		case VARCHAROID:
			return !OidIsValid(attribute->attcollation) ||
				get_collation_isdeterministic(attribute->attcollation);
		default:
			return false;
	}
}

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

static inline void
append_sized(StringInfo out, const void *bytes, int32 length)
{
	uint32		network = pg_hton32(length);

	enlargeStringInfo(out, length + sizeof(network));
	memcpy(out->data + out->len, &network, sizeof(network));
	memcpy(out->data + out->len + sizeof(network), bytes, length);
	out->len += length + sizeof(network);
}

static void
append_varlena(StringInfo out, Datum value)
{
	struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);

	append_sized(out, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
}

void
tap_pg_append_value(StringInfo out, TapPgColumn *column, TapPgCodec codec,
					Datum value, bool isnull)
{
	uint32		null = pg_hton32((uint32) -1);
	uint16		two;
	uint32		four;
	uint64		eight;
	uint8		one;
	bytea	   *sent;
	char	   *text;

	if (isnull)
	{
		appendBinaryStringInfo(out, (char *) &null, sizeof(null));
		return;
	}
	switch (codec)
	{
		case TAP_PG_INT8:
			one = DatumGetUInt8(value);
			append_sized(out, &one, sizeof(one));
			break;
		case TAP_PG_INT16:
			two = pg_hton16(DatumGetUInt16(value));
			append_sized(out, &two, sizeof(two));
			break;
		case TAP_PG_INT32:
			four = pg_hton32(DatumGetUInt32(value));
			append_sized(out, &four, sizeof(four));
			break;
		case TAP_PG_INT64:
			eight = pg_hton64(DatumGetUInt64(value));
			append_sized(out, &eight, sizeof(eight));
			break;
		case TAP_PG_BYTES:
			append_varlena(out, value);
			break;
		case TAP_PG_UUID:
			append_sized(out, DatumGetPointer(value), 16);
			break;
		case TAP_PG_SEND:
			sent = SendFunctionCall(&column->send, value);
			append_sized(out, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
			break;
		case TAP_PG_OUTPUT:
			text = OutputFunctionCall(&column->output, value);
			append_sized(out, text, strlen(text));
			break;
	}
}
