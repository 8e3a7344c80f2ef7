/*-------------------------------------------------------------------------
 *
 * connectors/common/json_text.c
 *	  Strings and numbers as JSON.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "json_text.h"

#include <math.h>

#include "common/base64.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

static inline bool
needs_escape(unsigned char c)
{
	return c < ' ' || c == '"' || c == '\\';
}

static void
append_escape(StringInfo out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	char		escape[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};

	switch (c)
	{
		case '"':
		case '\\':
			escape[1] = c;
			break;
		case '\b':
			escape[1] = 'b';
			break;
		case '\f':
			escape[1] = 'f';
			break;
		case '\n':
			escape[1] = 'n';
			break;
		case '\r':
			escape[1] = 'r';
			break;
		case '\t':
			escape[1] = 't';
			break;
		default:
			break;
	}
	appendBinaryStringInfo(out, escape, escape[1] == 'u' ? 6 : 2);
}

void
tap_json_append_escaped(StringInfo out, const char *text, Size length)
{
	const char *end = text + length;

	while (text < end)
	{
		const char *run = text;

		while (text < end && !needs_escape((unsigned char) *text))
			text++;
		if (text > run)
			appendBinaryStringInfo(out, run, text - run);
		if (text < end)
			append_escape(out, (unsigned char) *text++);
	}
}

void
tap_json_append_string(StringInfo out, const char *text, Size length)
{
	appendStringInfoCharMacro(out, '"');
	tap_json_append_escaped(out, text, length);
	appendStringInfoCharMacro(out, '"');
}

void
tap_json_append_cstring(StringInfo out, const char *text)
{
	tap_json_append_string(out, text, strlen(text));
}

const char *
tap_json_utf8(const char *text, Size *length)
{
	char	   *converted;

	if (GetDatabaseEncoding() == PG_UTF8)
		return text;
	converted = pg_server_to_any(text, *length, PG_UTF8);
	if (converted != text)
		*length = strlen(converted);
	return converted;
}

void
tap_json_append_int(StringInfo out, int64 value)
{
	enlargeStringInfo(out, MAXINT8LEN + 1);
	out->len += pg_lltoa(value, out->data + out->len);
}

void
tap_json_append_double(StringInfo out, double number, bool is_float)
{
	if (isnan(number))
		appendStringInfoString(out, "\"NaN\"");
	else if (isinf(number))
		appendStringInfoString(out, number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else
	{
		enlargeStringInfo(out, DOUBLE_SHORTEST_DECIMAL_LEN);
		if (is_float)
			out->len += float_to_shortest_decimal_buf((float) number, out->data + out->len);
		else
			out->len += double_to_shortest_decimal_buf(number, out->data + out->len);
	}
}

void
tap_json_append_base64(StringInfo out, const void *bytes, Size length)
{
	int			room = pg_b64_enc_len(length);
	int			written;

	enlargeStringInfo(out, room + 1);
	written = pg_b64_encode(bytes, length, out->data + out->len, room);
	if (written < 0)
		elog(ERROR, "could not encode %zu bytes in base64", length);
	out->len += written;
	out->data[out->len] = '\0';
}
