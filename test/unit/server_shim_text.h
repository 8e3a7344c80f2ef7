/*-------------------------------------------------------------------------
 *
 * test/unit/server_shim_text.h
 *	  The functions for text and lists beside test/unit/server_shim.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SERVER_SHIM_TEXT_H
#define SERVER_SHIM_TEXT_H

#include "server_shim.h"

#undef sprintf

#include "common/base64.h"
#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"

#if PG_VERSION_NUM >= 160000
typedef void ShimBytes;
#else
typedef char ShimBytes;
#endif
#if PG_VERSION_NUM >= 180000
typedef uint8 ShimBinary;
#else
typedef char ShimBinary;
#endif

char *
pnstrdup(const char *text, Size length)
{
	char	   *copy = palloc(length + 1);

	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
pstrdup(const char *text)
{
	return pnstrdup(text, strlen(text));
}

char *
psprintf(const char *format,...)
{
	char		text[1024];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return pstrdup(text);
}

void
initStringInfo(StringInfo text)
{
	text->maxlen = 64;
	text->data = palloc(text->maxlen);
	text->len = 0;
	text->cursor = 0;
	text->data[0] = '\0';
}

void
enlargeStringInfo(StringInfo text, int needed)
{
	if (text->len + needed < text->maxlen)
		return;
	text->maxlen = (text->len + needed) * 2;
	text->data = repalloc(text->data, text->maxlen);
}

void
appendBinaryStringInfo(StringInfo text, const ShimBytes *data, int length)
{
	enlargeStringInfo(text, length + 1);
	memcpy(text->data + text->len, data, length);
	text->len += length;
	text->data[text->len] = '\0';
}

void
appendStringInfoString(StringInfo text, const char *more)
{
	appendBinaryStringInfo(text, more, strlen(more));
}

void
appendStringInfoChar(StringInfo text, char c)
{
	appendBinaryStringInfo(text, &c, 1);
}

List *
lappend(List *list, void *item)
{
	if (list == NIL)
	{
		list = palloc0(sizeof(List));
		list->type = T_List;
		list->max_length = 16;
		list->elements = palloc(sizeof(ListCell) * list->max_length);
	}
	if (list->length == list->max_length)
	{
		list->max_length *= 2;
		list->elements = repalloc(list->elements, sizeof(ListCell) * list->max_length);
	}
	list->elements[list->length++].ptr_value = item;
	return list;
}

int
pg_lltoa(int64 value, char *text)
{
	return sprintf(text, "%lld", (long long) value);
}

int
float_to_shortest_decimal_buf(float number, char *text)
{
	return sprintf(text, "%.9g", number);
}

int
double_to_shortest_decimal_buf(double number, char *text)
{
	return sprintf(text, "%.17g", number);
}

int
pg_b64_enc_len(int length)
{
	return (length + 2) / 3 * 4;
}

/* Not base64, but as long. */
int
pg_b64_encode(const ShimBinary *from, int length, char *to, int room)
{
	for (int i = 0; i < length; i++)
		to[i] = 'A' + (from[i] & 15);
	memset(to + length, '=', pg_b64_enc_len(length) - length);
	return pg_b64_enc_len(length);
}

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

char *
pg_server_to_any(const char *text, int length, int encoding)
{
	return unconstify(char *, text);
}

int
errmsg_internal(const char *format,...)
{
	return errmsg("%s", format);
}

#endif							/* SERVER_SHIM_TEXT_H */
