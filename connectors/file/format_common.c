/*-------------------------------------------------------------------------
 *
 * connectors/file/format_common.c
 *	  What formats of text share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/json.h"

#include "format_common.h"

TapRecordColumns *
tap_format_columns(TapFormatOption option, void *arg, const char *definition)
{
	const char *columns = definition != NULL ? definition : option(arg, "columns");

	return columns != NULL ? tap_record_columns_given(columns) : NULL;
}

TapSourceTable *
tap_format_table(const TapRecordColumns *columns)
{
	static const TapTableName nobody = {.name = ""};

	if (columns == NULL || columns->ncolumns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no file yet that shows the columns"),
				 errhint("Wait for the first file, or give them with the option \"columns\", as {\"id\": \"bigint\", \"name\": \"text\"}.")));
	return tap_record_table(columns, &nobody, NIL);
}

int
tap_format_encoding(TapFormatOption option, void *arg)
{
	const char *name = option(arg, "encoding");

	return name != NULL ? pg_char_to_encoding(name) : PG_UTF8;
}

Size
tap_format_byte_order_mark(const char *data, Size bytes, int encoding)
{
	if (bytes >= 2 && (memcmp(data, "\xff\xfe", 2) == 0 || memcmp(data, "\xfe\xff", 2) == 0))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("file is in UTF-16"),
				 errhint("Convert it, for example with iconv -f UTF-16 -t UTF-8.")));
	return encoding == PG_UTF8 && bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

char *
tap_format_show_text(const char *data, Size bytes)
{
	StringInfoData text;
	StringInfoData json;

	/* what was cut off may have been the rest of a character */
	int			valid = pg_encoding_verifymbstr(GetDatabaseEncoding(), data, bytes);

	initStringInfo(&text);
	initStringInfo(&json);
	if (bytes - valid < MAX_MULTIBYTE_CHAR_LEN)
		appendBinaryStringInfo(&text, data, valid);
	for (Size i = 0; bytes - valid >= MAX_MULTIBYTE_CHAR_LEN && i < bytes; i++)
	{
		if (data[i] == '\0' || IS_HIGHBIT_SET(data[i]))
			appendStringInfo(&text, "\\x%02x", (unsigned char) data[i]);
		else
			appendStringInfoChar(&text, data[i]);
	}
	escape_json(&json, text.data);
	return json.data;
}

void
tap_format_forgive(void)
{
	int			sqlstate = geterrcode();

	if (ERRCODE_TO_CATEGORY(sqlstate) != MAKE_SQLSTATE('2', '2', '0', '0', '0') &&
		sqlstate != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		PG_RE_THROW();
	FlushErrorState();
}
