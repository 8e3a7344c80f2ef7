/*-------------------------------------------------------------------------
 *
 * connectors/file/ebcdic.c
 *	  Code pages of mainframes, and others that iconv knows.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ebcdic.h"

#define SHIFT_OUT		0x0e
#define SHIFT_IN		0x0f
#define NOT_ASCII		0x80
#define EBCDIC_ZERO		0xf0
#define NO_ICONV		((iconv_t) -1)
#define WIDE_PIECE		1024	/* bytes between shifts at a time */

/* Convert all; returns the bytes that were written, or -1 with *bad. */
static long
convert(iconv_t converter, const uint8_t *text, size_t length, char *out, size_t room, size_t *bad)
{
	char	   *in = (char *) (uintptr_t) text;
	char	   *next = out;
	size_t		left = length;

	iconv(converter, NULL, NULL, NULL, NULL);
	if (iconv(converter, &in, &left, &next, &room) == (size_t) -1 ||
		iconv(converter, NULL, NULL, &next, &room) == (size_t) -1)
	{
		*bad = length - left;
		return -1;
	}
	return next - out;
}

/* Fill the table; false: some byte needs those behind it. */
static bool
fill_table(TapCodePage *page)
{
	bool		single = true;

	for (int i = 0; i < 256; i++)
	{
		uint8_t		byte = (uint8_t) i;
		size_t		bad;
		long		width;

		errno = 0;
		width = convert(page->from, &byte, 1, page->utf8[i], TAP_CODE_PAGE_GROWTH, &bad);
		if ((width < 0 && errno == EINVAL) || width == 0)
			single = false;
		page->width[i] = (width > 0) ? (uint8_t) width : 0;
		page->ascii[i] = NOT_ASCII;
		if (width == 1 && page->utf8[i][0] > 0)
			page->ascii[i] = (uint8_t) page->utf8[i][0];
	}
	return single;
}

static bool
set_characters(TapCodePage *page)
{
	page->ascii_below_80 = true;
	for (int i = 1; i < 0x80; i++)
	{
		if (page->ascii[i] != i)
			page->ascii_below_80 = false;
	}
	if (tap_code_page_encode(page, " ", 1, &page->space, 1) != 1 ||
		tap_code_page_encode(page, "0", 1, &page->zero, 1) != 1)
		return false;
	page->ebcdic = page->zero == EBCDIC_ZERO;
	return page->ebcdic || page->ascii_below_80;
}

TapCodePage *
tap_code_page_open(const char *name)
{
	TapCodePage *page = calloc(1, sizeof(TapCodePage));

	if (page == NULL)
		return NULL;
	page->from = iconv_open("UTF-8", name);
	page->to = iconv_open(name, "UTF-8");
	page->national = iconv_open("UTF-8", "UTF-16BE");
	if (page->from != NO_ICONV && page->to != NO_ICONV && page->national != NO_ICONV)
	{
		page->by_table = fill_table(page);
		if (set_characters(page))
			return page;
	}
	tap_code_page_close(page);
	return NULL;
}

void
tap_code_page_close(TapCodePage *page)
{
	if (page == NULL)
		return;
	if (page->from != NO_ICONV)
		iconv_close(page->from);
	if (page->to != NO_ICONV)
		iconv_close(page->to);
	if (page->national != NO_ICONV)
		iconv_close(page->national);
	free(page);
}

static long
decode_by_table(const TapCodePage *page, const uint8_t *text, size_t length, char *out, size_t *bad)
{
	char	   *next = out;

	for (size_t i = 0; i < length; i++)
	{
		uint8_t		width = page->width[text[i]];

		if (width == 0 || text[i] == 0)
		{
			*bad = i;
			return -1;
		}
		memcpy(next, page->utf8[text[i]], TAP_CODE_PAGE_GROWTH);
		next += width;
	}
	return next - out;
}

long
tap_code_page_decode(TapCodePage *page, const uint8_t *text, size_t length, char *out, size_t *bad)
{
	const uint8_t *zero;

	if (page->by_table || page->ascii_below_80)
	{
		if (tap_code_page_ascii(page, text, length, out))
			return (long) length;
		if (page->by_table)
			return decode_by_table(page, text, length, out, bad);
	}
	zero = memchr(text, 0, length);
	if (zero != NULL)
	{
		*bad = (size_t) (zero - text);
		return -1;
	}
	return convert(page->from, text, length, out,
				   length * TAP_CODE_PAGE_GROWTH + TAP_CODE_PAGE_EXTRA, bad);
}

/* Double bytes of the page itself: as they stand between its shifts. */
static long
decode_double(TapCodePage *page, const uint8_t *text, size_t length, char *out, size_t *bad)
{
	uint8_t		piece[WIDE_PIECE + 2];
	char	   *next = out;

	for (size_t done = 0; done < length;)
	{
		size_t		bytes = length - done < WIDE_PIECE ? length - done : WIDE_PIECE;
		long		written;

		piece[0] = SHIFT_OUT;
		memcpy(piece + 1, text + done, bytes);
		piece[bytes + 1] = SHIFT_IN;
		written = convert(page->from, piece, bytes + 2, next,
						  bytes * TAP_CODE_PAGE_GROWTH + TAP_CODE_PAGE_EXTRA, bad);
		if (written < 0)
		{
			*bad += done > 0 || *bad > 0 ? done - 1 : 0;
			return -1;
		}
		next += written;
		done += bytes;
	}
	return next - out;
}

long
tap_code_page_decode_wide(TapCodePage *page, bool national, const uint8_t *text, size_t length,
						  char *out, size_t *bad)
{
	for (size_t i = 0; i + 1 < length; i += 2)
	{
		if (text[i] == 0 && text[i + 1] == 0)
		{
			*bad = i;
			return -1;
		}
	}
	if (!national && page->ebcdic)
		return decode_double(page, text, length, out, bad);
	return convert(national ? page->national : page->from, text, length, out,
				   length * TAP_CODE_PAGE_GROWTH + TAP_CODE_PAGE_EXTRA, bad);
}

long
tap_code_page_encode(TapCodePage *page, const char *text, size_t length, uint8_t *out, size_t size)
{
	size_t		bad;

	return convert(page->to, (const uint8_t *) text, length, (char *) out, size, &bad);
}
