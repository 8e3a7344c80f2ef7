/*-------------------------------------------------------------------------
 *
 * connectors/file/ebcdic.h
 *	  Code pages of mainframes, and others that iconv knows.
 *
 * NOTES
 *	  Plain C with libc only.  A page of single bytes is a table made once by
 *	  iconv; pages that shift between single and double bytes are converted by
 *	  iconv value by value.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_EBCDIC_H
#define TAPDATA_EBCDIC_H

#include <iconv.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most bytes of UTF-8 that one byte of a page can become. */
#define TAP_CODE_PAGE_GROWTH	4

/* What a text may grow by beside, when it is converted by iconv. */
#define TAP_CODE_PAGE_EXTRA		16

typedef struct TapCodePage
{
	bool		ebcdic;			/* '0' is X'F0' */
	bool		by_table;		/* single bytes only */
	bool		ascii_below_80; /* bytes below X'80' are ASCII */
	uint8_t		space;
	uint8_t		zero;

	/* The character of a byte where it is ASCII and not X'00', else X'80'. */
	uint8_t		ascii[256];
	uint8_t		width[256];		/* bytes of utf8; 0: no character */
	char		utf8[256][TAP_CODE_PAGE_GROWTH];

	iconv_t		from;			/* to UTF-8 */
	iconv_t		to;				/* from UTF-8 */
	iconv_t		national;		/* UTF-16, most significant byte first */
} TapCodePage;

/*
 * The code page that iconv calls so; NULL: it does not know it, it is not
 * one that COBOL's characters can be read in, or there is no memory.
 */
extern TapCodePage *tap_code_page_open(const char *name);

extern void tap_code_page_close(TapCodePage *page);

/*
 * Text of ASCII characters as such, into out of the same length; false: it has
 * others too, and out is not it.
 */
static inline bool
tap_code_page_ascii(const TapCodePage *page, const uint8_t *text, size_t length, char *out)
{
	uint8_t		all = 0;

	for (size_t i = 0; i < length; i++)
	{
		uint8_t		c = page->ascii[text[i]];

		out[i] = (char) c;
		all |= c;
	}
	return !(all & 0x80);
}

/*
 * Text in UTF-8.  out must have room for TAP_CODE_PAGE_GROWTH times length and
 * TAP_CODE_PAGE_EXTRA bytes.  Returns the bytes that were written; -1: there
 * is no character for the byte at *bad.  X'00' is none.
 */
extern long tap_code_page_decode(TapCodePage *page, const uint8_t *text,
								 size_t length, char *out, size_t *bad);

/*
 * The same of double bytes without shifts, of UTF-16 (national), or of the
 * page's own (DISPLAY-1).
 */
extern long tap_code_page_decode_wide(TapCodePage *page, bool national,
									  const uint8_t *text, size_t length,
									  char *out, size_t *bad);

/*
 * UTF-8 in the page.  Returns the bytes that were written, -1: a character
 * is not in it, or size is too small.
 */
extern long tap_code_page_encode(TapCodePage *page, const char *text,
								 size_t length, uint8_t *out, size_t size);

#endif							/* TAPDATA_EBCDIC_H */
