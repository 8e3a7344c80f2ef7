/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_value.c
 *	  Values of the source, in binary or text form, as Datums.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static bool
find_receive(Oid type, FmgrInfo *receive, Oid *ioparam, MemoryContext context)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			function;

	if (!HeapTupleIsValid(tuple))
		return false;
	function = ((Form_pg_type) GETSTRUCT(tuple))->typreceive;
	*ioparam = getTypeIOParam(tuple);
	ReleaseSysCache(tuple);
	if (!OidIsValid(function))
		return false;
	fmgr_info_cxt(function, receive, context);
	return true;
}

void
tap_pg_reader_init(TapPgReader *reader, const TapPgSourceColumn *column,
				   Oid sent, MemoryContext context)
{
	Oid			function;
	bool		varlena;

	memset(reader, 0, sizeof(*reader));
	reader->type = column->type;
	reader->typmod = column->typmod;
	getTypeInputInfo(column->type, &function, &reader->ioparam);
	fmgr_info_cxt(function, &reader->input, context);
	reader->has_receive = column->binary_safe &&
		find_receive(column->type, &reader->receive, &reader->ioparam, context);
	if (sent == column->source_type)
	{
		if (reader->has_receive)
			reader->fast = tap_pg_fast_of(column->type);
		return;
	}

	/* the source had another type for the column when this was written */
	reader->other = true;
	reader->has_receive = false;
	reader->other_typmod = -1;
	if (sent < 10000 && find_receive(sent, &reader->other_receive, &reader->other_ioparam, context))
	{
		getTypeOutputInfo(sent, &function, &varlena);
		fmgr_info_cxt(function, &reader->other_output, context);
		reader->has_receive = true;
	}
}

static Datum
read_binary(TapPgReader *reader, char *data, int bytes)
{
	StringInfoData value = {.data = data,.len = bytes,.maxlen = bytes + 1};
	Datum		result;

	if (reader->other)
		result = ReceiveFunctionCall(&reader->other_receive, &value,
									 reader->other_ioparam, reader->other_typmod);
	else
		result = ReceiveFunctionCall(&reader->receive, &value, reader->ioparam,
									 reader->typmod);
	if (value.cursor != bytes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("the source sent a value of type %s in an unknown binary form",
						format_type_be(reader->type))));
	if (reader->other)
		result = InputFunctionCall(&reader->input,
								   OutputFunctionCall(&reader->other_output, result),
								   reader->ioparam, reader->typmod);
	return result;
}

Datum
tap_pg_read_value(TapPgReader *reader, bool binary, char *data, int bytes)
{
	Datum		value;

	if (binary && tap_pg_read_fast(reader, data, bytes, &value))
		return value;
	data[bytes] = '\0';
	if (!binary)
		return InputFunctionCall(&reader->input, data, reader->ioparam, reader->typmod);
	if (!reader->has_receive)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the source sent a value in a binary form that is not known here"),
				 errdetail("The stream begins again, in text form where a published column needs that."),
				 errhint("If this comes back, set the pipeline's option \"binary\" to off.")));
	return read_binary(reader, data, bytes);
}

void
tap_pg_append_json(StringInfo out, const char *data, int bytes)
{
	if (memchr(data, '\0', bytes) == NULL &&
		pg_verify_mbstr(GetDatabaseEncoding(), data, bytes, true))
	{
		escape_json(out, pnstrdup(data, bytes));
		return;
	}
	appendStringInfoString(out, "\"\\\\x");
	for (int i = 0; i < bytes; i++)
		appendStringInfo(out, "%02x", (unsigned char) data[i]);
	appendStringInfoChar(out, '"');
}
