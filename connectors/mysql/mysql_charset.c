/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_charset.c
 *	  MySQL's character sets to the encoding of the database.
 *
 * NOTES
 *	  Texts come as bytes in their column's character set, from snapshots and
 *	  from the log alike, and go through this one conversion.  Character sets
 *	  of one byte are converted by a table that the source itself made, so
 *	  that it is MySQL's idea of them (its latin1 is cp1252 with all 256
 *	  codes).  UTF-16 and UTF-32 are decoded here, the East Asian ones by
 *	  iconv.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include <errno.h>
#include <iconv.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define REPLACEMENT_CHARACTER	0xFFFD
#define MAX_UTF8_BYTES			4

typedef enum CharsetKind
{
	CHARSET_UTF8,				/* utf8mb3, utf8mb4, ascii */
	CHARSET_UTF16_BE,			/* utf16, ucs2 */
	CHARSET_UTF16_LE,
	CHARSET_UTF32,
	CHARSET_TABLE,				/* one byte a character */
	CHARSET_ICONV
} CharsetKind;

struct TapMysqlCharset
{
	char	   *name;
	CharsetKind kind;
	pg_wchar	table[256];		/* code points; 0 beyond the first: none */
	bool		ascii_below_128;	/* bytes below 128 are ASCII */
	const char *iconv_name;
	iconv_t		handle;
};

/* The character sets that are not of one byte, and how to read them. */
static const struct
{
	const char *name;
	CharsetKind kind;
	const char *iconv_name;
}			wide_charsets[] =

{
	{"utf8", CHARSET_UTF8, NULL},
	{"utf8mb3", CHARSET_UTF8, NULL},
	{"utf8mb4", CHARSET_UTF8, NULL},
	{"ascii", CHARSET_UTF8, NULL},
	{"ucs2", CHARSET_UTF16_BE, NULL},
	{"utf16", CHARSET_UTF16_BE, NULL},
	{"utf16le", CHARSET_UTF16_LE, NULL},
	{"utf32", CHARSET_UTF32, NULL},
	{"big5", CHARSET_ICONV, "BIG5"},
	{"gbk", CHARSET_ICONV, "CP936"},
	{"gb2312", CHARSET_ICONV, "EUC-CN"},
	{"gb18030", CHARSET_ICONV, "GB18030"},
	{"sjis", CHARSET_ICONV, "CP932"},
	{"cp932", CHARSET_ICONV, "CP932"},
	{"ujis", CHARSET_ICONV, "EUC-JP"},
	{"eucjpms", CHARSET_ICONV, "EUC-JP-MS"},
	{"euckr", CHARSET_ICONV, "CP949"},
};

/* ---------------------------------------------------------------------
 * Making conversions
 * ---------------------------------------------------------------------
 */

/* Ask the server what the 256 codes of a character set are. */
static void
read_table(TapSession *session, TapMysqlCharset *charset)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	StringInfoData sql;
	char	   *utf8;
	const char *p;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT HEX(CONVERT(_%s X'", charset->name);
	for (int i = 1; i < 256; i++)
		appendStringInfo(&sql, "%02X", i);
	appendStringInfoString(&sql, "' USING utf8mb4))");
	utf8 = tap_mysql_query_value(mysql, sql.data);
	charset->ascii_below_128 = true;
	p = utf8;
	for (int i = 1; i < 256 && p != NULL && *p; i++)
	{
		unsigned char bytes[MAX_UTF8_BYTES + 1] = {0};
		unsigned int byte;
		int			length;

		if (sscanf(p, "%2x", &byte) != 1)
			break;
		bytes[0] = (unsigned char) byte;
		length = pg_utf_mblen(bytes);
		for (int j = 0; j < length && *p; j++, p += 2)
			if (sscanf(p, "%2x", &byte) == 1)
				bytes[j] = (unsigned char) byte;
		charset->table[i] = utf8_to_unicode(bytes);
		if (charset->table[i] == '?' && i != '?')
			charset->table[i] = 0;	/* MySQL's sign for "none" */
		if (i < 128 && charset->table[i] != (pg_wchar) i)
			charset->ascii_below_128 = false;
	}
}

static void
close_iconv(void *handle)
{
	(void) iconv_close((iconv_t) handle);
}

static void
open_iconv(TapMysqlCharset *charset, MemoryContext context)
{
	MemoryContextCallback *callback;

	charset->handle = iconv_open("UTF-8", charset->iconv_name);
	if (charset->handle == (iconv_t) -1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this system has no conversion from character set \"%s\"",
						charset->iconv_name),
				 errhint("Install the system's additional iconv modules (on Debian the package libc6 has them, on Fedora glibc-gconv-extra).")));
	callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));
	callback->func = close_iconv;
	callback->arg = charset->handle;
	MemoryContextRegisterResetCallback(context, callback);
}

TapMysqlCharset *
tap_mysql_charset(TapSession *session, const char *name)
{
	ListCell   *cell;
	TapMysqlCharset *charset;
	MemoryContext old;

	foreach(cell, session->charsets)
	{
		charset = lfirst(cell);
		if (strcmp(charset->name, name) == 0)
			return charset;
	}
	old = MemoryContextSwitchTo(session->charset_context);
	charset = palloc0(sizeof(TapMysqlCharset));
	charset->name = pstrdup(name);
	charset->kind = CHARSET_TABLE;
	for (int i = 0; i < lengthof(wide_charsets); i++)
		if (strcmp(wide_charsets[i].name, name) == 0)
		{
			charset->kind = wide_charsets[i].kind;
			charset->iconv_name = wide_charsets[i].iconv_name;
		}
	if (charset->kind == CHARSET_TABLE)
		read_table(session, charset);
	else if (charset->kind == CHARSET_ICONV)
		open_iconv(charset, session->charset_context);
	charset->ascii_below_128 |= charset->kind == CHARSET_UTF8 ||
		charset->kind == CHARSET_ICONV;
	session->charsets = lappend(session->charsets, charset);
	MemoryContextSwitchTo(old);
	return charset;
}

static void
read_collations(TapSession *session)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	TapMysqlRows *rows = NULL;
	MemoryContext old;

	/* MariaDB 10.10 has collations of several character sets and ids */
	if (session->server.is_mariadb && session->server.version >= 101000)
		rows = tap_mysql_try_query(mysql, "SELECT ID, FULL_COLLATION_NAME, CHARACTER_SET_NAME "
								   "FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY");
	if (rows == NULL)
		rows = tap_mysql_query(mysql, "SELECT ID, COLLATION_NAME, CHARACTER_SET_NAME "
							   "FROM information_schema.COLLATIONS");
	old = MemoryContextSwitchTo(session->context);
	session->collations = palloc0(sizeof(TapMysqlCollation) * Max(1, rows->nrows));
	for (int i = 0; i < rows->nrows; i++)
	{
		TapMysqlCollation *collation = &session->collations[session->ncollations];

		if (tap_mysql_value(rows, i, 0) == NULL || tap_mysql_value(rows, i, 2) == NULL)
			continue;
		collation->id = atoi(tap_mysql_value(rows, i, 0));
		collation->name = pstrdup(tap_mysql_value(rows, i, 1));
		collation->charset = pstrdup(tap_mysql_value(rows, i, 2));
		session->ncollations++;
	}
	MemoryContextSwitchTo(old);
}

const TapMysqlCollation *
tap_mysql_collation(TapSession *session, int id)
{
	if (session->collations == NULL)
		read_collations(session);
	for (int i = 0; i < session->ncollations; i++)
		if (session->collations[i].id == id)
			return &session->collations[i];
	return NULL;
}

/* ---------------------------------------------------------------------
 * Converting
 * ---------------------------------------------------------------------
 */

bool
tap_mysql_charset_is_plain(TapMysqlCharset *charset, const char *data,
						   Size length)
{
	if (!charset->ascii_below_128)
		return false;
	if (charset->kind == CHARSET_UTF8 && GetDatabaseEncoding() == PG_UTF8)
		return pg_verify_mbstr(PG_UTF8, data, (int) length, true);
	for (Size i = 0; i < length; i++)
		if (data[i] <= 0)
			return false;
	return true;
}

/* Append a character as UTF-8, with what the mapping says about NUL. */
static void
append_character(StringInfo out, const TapMysqlMapping *mapping, pg_wchar c)
{
	unsigned char bytes[MAX_UTF8_BYTES];

	if (c == 0)
	{
		if (mapping->nul_in_text == TAP_MYSQL_NUL_ERROR)
			ereport(ERROR,
					(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
					 errmsg("the source's text has a NUL byte, which PostgreSQL's text cannot hold"),
					 errhint("Set the pipeline's option \"nul_in_text\" to \"remove\" or \"replace\".")));
		if (mapping->nul_in_text == TAP_MYSQL_NUL_REMOVE)
			return;
		c = REPLACEMENT_CHARACTER;
	}
	(void) unicode_to_utf8(c, bytes);
	appendBinaryStringInfo(out, (char *) bytes, pg_utf_mblen(bytes));
}

/* Bytes that are no character: an error or the replacement character. */
static void
append_invalid(StringInfo out, const TapMysqlMapping *mapping,
			   const TapMysqlCharset *charset, const unsigned char *bytes,
			   Size length)
{
	if (!mapping->replace_invalid_text)
	{
		char		hex[2 * MAX_UTF8_BYTES + 1] = "";

		for (Size i = 0; i < Min(length, MAX_UTF8_BYTES); i++)
			snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("the source's text has bytes that are invalid in its character set \"%s\": 0x%s",
						charset->name, hex),
				 errhint("Mend the text at the source, or set the pipeline's option \"invalid_text\" to \"replace\".")));
	}
	append_character(out, mapping, REPLACEMENT_CHARACTER);
}

static void
convert_utf8(TapMysqlCharset *charset, const TapMysqlMapping *mapping,
			 const unsigned char *p, const unsigned char *end, StringInfo out)
{
	while (p < end)
	{
		int			length = pg_utf_mblen(p);

		if (*p == 0)
		{
			append_character(out, mapping, 0);
			p++;
		}
		else if (length > end - p || !pg_utf8_islegal(p, length))
		{
			append_invalid(out, mapping, charset, p, 1);
			p++;
		}
		else
		{
			appendBinaryStringInfo(out, (const char *) p, length);
			p += length;
		}
	}
}

/* UTF-16 of either byte order; a lone surrogate is invalid. */
static void
convert_utf16(TapMysqlCharset *charset, const TapMysqlMapping *mapping,
			  const unsigned char *p, const unsigned char *end, StringInfo out)
{
	int			high = charset->kind == CHARSET_UTF16_BE ? 0 : 1;

	while (p < end)
	{
		pg_wchar	c;

		if (end - p < 2)
		{
			append_invalid(out, mapping, charset, p, 1);
			return;
		}
		c = (p[high] << 8) | p[1 - high];
		if (is_utf16_surrogate_first(c) && end - p >= 4)
		{
			pg_wchar	second = (p[2 + high] << 8) | p[3 - high];

			if (is_utf16_surrogate_second(second))
			{
				append_character(out, mapping, surrogate_pair_to_codepoint(c, second));
				p += 4;
				continue;
			}
		}
		if (is_utf16_surrogate_first(c) || is_utf16_surrogate_second(c))
			append_invalid(out, mapping, charset, p, 2);
		else
			append_character(out, mapping, c);
		p += 2;
	}
}

static void
convert_utf32(TapMysqlCharset *charset, const TapMysqlMapping *mapping,
			  const unsigned char *p, const unsigned char *end, StringInfo out)
{
	for (; end - p >= 4; p += 4)
	{
		pg_wchar	c = ((pg_wchar) p[0] << 24) | (p[1] << 16) | (p[2] << 8) | p[3];

		if (c > 0x10FFFF || is_utf16_surrogate_first(c) ||
			is_utf16_surrogate_second(c))
			append_invalid(out, mapping, charset, p, 4);
		else
			append_character(out, mapping, c);
	}
	if (p < end)
		append_invalid(out, mapping, charset, p, end - p);
}

static void
convert_table(TapMysqlCharset *charset, const TapMysqlMapping *mapping,
			  const unsigned char *p, const unsigned char *end, StringInfo out)
{
	for (; p < end; p++)
	{
		if (*p != 0 && charset->table[*p] == 0)
			append_invalid(out, mapping, charset, p, 1);
		else
			append_character(out, mapping, charset->table[*p]);
	}
}

static void
convert_iconv(TapMysqlCharset *charset, const TapMysqlMapping *mapping,
			  const unsigned char *data, const unsigned char *end, StringInfo out)
{
	char	   *p = unconstify(char *, (const char *) data);
	Size		left = end - data;

	(void) iconv(charset->handle, NULL, NULL, NULL, NULL);
	while (left > 0)
	{
		char	   *target;
		Size		room;
		Size		result;

		if (*p == 0)
		{
			append_character(out, mapping, 0);
			p++;
			left--;
			continue;
		}
		/* up to the next NUL, which iconv would take for a character */
		{
			Size		run = strnlen(p, left);
			Size		before = run;

			enlargeStringInfo(out, (int) (run * MAX_UTF8_BYTES));
			target = out->data + out->len;
			room = run * MAX_UTF8_BYTES;
			result = iconv(charset->handle, &p, &run, &target, &room);
			out->len = (int) (target - out->data);
			out->data[out->len] = '\0';
			left -= before - run;
		}
		if (result == (Size) -1)
		{
			if (errno == E2BIG)
				continue;
			append_invalid(out, mapping, charset, (unsigned char *) p, 1);
			p++;
			left--;
		}
	}
}

void
tap_mysql_charset_convert(TapMysqlCharset *charset,
						  const TapMysqlMapping *mapping,
						  const char *data, Size length, StringInfo out)
{
	const unsigned char *p = (const unsigned char *) data;
	int			start = out->len;
	char	   *converted;

	switch (charset->kind)
	{
		case CHARSET_UTF8:
			convert_utf8(charset, mapping, p, p + length, out);
			break;
		case CHARSET_UTF16_BE:
		case CHARSET_UTF16_LE:
			convert_utf16(charset, mapping, p, p + length, out);
			break;
		case CHARSET_UTF32:
			convert_utf32(charset, mapping, p, p + length, out);
			break;
		case CHARSET_TABLE:
			convert_table(charset, mapping, p, p + length, out);
			break;
		case CHARSET_ICONV:
			convert_iconv(charset, mapping, p, p + length, out);
			break;
	}
	if (GetDatabaseEncoding() == PG_UTF8)
		return;
	converted = tap_mysql_from_utf8(out->data + start, out->len - start);
	out->len = start;
	appendStringInfoString(out, converted);
	pfree(converted);
}
