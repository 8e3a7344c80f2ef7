/*-------------------------------------------------------------------------
 *
 * connectors/common/csv.c
 *	  CSV and its relatives: from bytes to fields.
 *
 * NOTES
 *	  A quote within a field that does not begin with one is a character like
 *	  any other: COPY would go on to the next quote over the ends of lines, and
 *	  with 5" in a file swallow records.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "csv.h"

#include "utils/memutils.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Reading one record; what tap_csv_next() was given, and how far it is. */
typedef struct CsvRead
{
	TapCsv	   *csv;
	const char *begin;
	const char *end;
	bool		at_end;
	Size		max_bytes;
	const char *next;
	Size		copied;			/* bytes of csv->buffer in use */
} CsvRead;

/* How a field ended. */
typedef enum CsvStop
{
	CSV_STOP_DELIMITER,
	CSV_STOP_LINE,
	CSV_STOP_MORE				/* it is not there to its end */
} CsvStop;

TapCsv *
tap_csv_make(const TapCsvDialect *dialect)
{
	TapCsv	   *csv = palloc0(sizeof(TapCsv));

	csv->dialect = *dialect;
	csv->context = CurrentMemoryContext;
	csv->allocated = 16;
	csv->values = palloc(sizeof(char *) * csv->allocated);
	csv->lengths = palloc(sizeof(int) * csv->allocated);
	csv->quoted = palloc(sizeof(bool) * csv->allocated);
	return csv;
}

/* The first delimiter or end of line. */
static inline const char *
find_field_end(const char *p, const char *end, char delimiter)
{
#ifdef __SSE2__
	__m128i		delimiters = _mm_set1_epi8(delimiter);
	__m128i		feeds = _mm_set1_epi8('\n');
	__m128i		returns = _mm_set1_epi8('\r');

	for (; end - p >= 16; p += 16)
	{
		__m128i		bytes = _mm_loadu_si128((const __m128i *) p);
		__m128i		found = _mm_or_si128(_mm_cmpeq_epi8(bytes, delimiters),
										 _mm_or_si128(_mm_cmpeq_epi8(bytes, feeds),
													  _mm_cmpeq_epi8(bytes, returns)));
		int			mask = _mm_movemask_epi8(found);

		if (mask != 0)
			return p + __builtin_ctz(mask);
	}
#endif
	while (p < end && *p != delimiter && *p != '\n' && *p != '\r')
		p++;
	return p;
}

/* Takes the end of line at *p; false: it might go on behind the bytes. */
static inline bool
take_line_end(const char **p, const char *end, bool at_end)
{
	if (**p == '\r')
	{
		if (end - *p < 2 && !at_end)
			return false;
		(*p)++;
		if (*p < end && **p == '\n')
			(*p)++;
	}
	else
		(*p)++;
	return true;
}

static void
refuse_size(Size max_bytes)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a CSV record is longer than %zu bytes", max_bytes),
			 errhint("Is a quote not closed, or are quote and delimiter others?")));
}

static void
grow_fields(TapCsv *csv)
{
	csv->allocated *= 2;
	csv->values = repalloc(csv->values, sizeof(char *) * csv->allocated);
	csv->lengths = repalloc(csv->lengths, sizeof(int) * csv->allocated);
	csv->quoted = repalloc(csv->quoted, sizeof(bool) * csv->allocated);
}

static inline void
add_field(TapCsv *csv, const char *value, Size length, bool quoted)
{
	if (csv->nfields >= csv->allocated)
		grow_fields(csv);
	csv->values[csv->nfields] = value;
	csv->lengths[csv->nfields] = (int) length;
	csv->quoted[csv->nfields++] = quoted;
}

/* What ends a field at read->next; it is taken. */
static inline CsvStop
take_stop(CsvRead *read)
{
	if (read->next >= read->end)
		return read->at_end ? CSV_STOP_LINE : CSV_STOP_MORE;
	if (*read->next == read->csv->dialect.delimiter)
	{
		read->next++;
		return CSV_STOP_DELIMITER;
	}
	return take_line_end(&read->next, read->end, read->at_end) ? CSV_STOP_LINE : CSV_STOP_MORE;
}

static inline CsvStop
read_plain(CsvRead *read)
{
	TapCsv	   *csv = read->csv;
	const char *begin = read->next;
	const char *null_text = csv->dialect.null_text;
	Size		length;

	read->next = find_field_end(begin, read->end, csv->dialect.delimiter);
	length = read->next - begin;
	if (null_text != NULL && null_text[0] == (length > 0 ? begin[0] : '\0') &&
		strlen(null_text) == length && memcmp(null_text, begin, length) == 0)
		add_field(csv, NULL, 0, false);
	else
		add_field(csv, begin, length, false);
	return take_stop(read);
}

/*
 * Room for a field without its escapes.  The buffer must not move while fields
 * of this record point into it, so it is made as large as all bytes there are.
 */
static char *
make_room(CsvRead *read)
{
	TapCsv	   *csv = read->csv;
	Size		wanted = read->end - read->begin;

	if (csv->buffer_bytes < wanted)
	{
		if (csv->buffer != NULL)
			pfree(csv->buffer);
		csv->buffer = NULL;
		csv->buffer_bytes = 0;
		csv->buffer = MemoryContextAllocHuge(csv->context, wanted);
		csv->buffer_bytes = wanted;
	}
	return csv->buffer + read->copied;
}

/*
 * Where the quoted field ends whose inside begins at p: its closing quote, or
 * NULL.  *escapes is the number of escapes in it.
 */
static const char *
find_closing_quote(const CsvRead *read, const char *p, int *escapes)
{
	char		quote = read->csv->dialect.quote;
	char		escape = read->csv->dialect.escape;

	*escapes = 0;
	for (;;)
	{
		if (escape == quote || escape == '\0')
			p = memchr(p, quote, read->end - p);
		else
			while (p < read->end && *p != quote && *p != escape)
				p++;
		if (p == NULL || p >= read->end)
			return NULL;
		if (*p == escape && read->end - p >= 2 && (p[1] == quote || p[1] == escape))
		{
			(*escapes)++;
			p += 2;
		}
		else if (*p == quote)
			return p;
		else
			p++;
	}
}

/* A field with escapes, without them. */
static char *
copy_unescaped(CsvRead *read, const char *from, const char *end, Size length)
{
	char		quote = read->csv->dialect.quote;
	char		escape = read->csv->dialect.escape;
	char	   *result = make_room(read);
	char	   *to = result;

	while (from < end)
	{
		if (*from == escape && end - from >= 2 && (from[1] == quote || from[1] == escape))
			from++;
		*to++ = *from++;
	}
	read->copied += length;
	return result;
}

/* Go on to the end of the line: the record is broken. */
static CsvStop
refuse_record(CsvRead *read, Size *taken)
{
	const char *p = read->next;

	while (p < read->end && *p != '\n' && *p != '\r')
		p++;
	if (p < read->end ? !take_line_end(&p, read->end, read->at_end) : !read->at_end)
		return CSV_STOP_MORE;
	*taken = p - read->begin;
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
			 errmsg("field %d of a CSV record goes on behind its closing quote",
					read->csv->nfields + 1)));
	return CSV_STOP_MORE;
}

static CsvStop
read_quoted(CsvRead *read, Size *taken)
{
	TapCsv	   *csv = read->csv;
	const char *begin = read->next + 1;
	int			escapes;
	const char *closing = find_closing_quote(read, begin, &escapes);
	Size		length;

	/* at the end of the bytes the quote may be the first of two */
	if (closing == NULL || (closing + 1 == read->end && !read->at_end))
	{
		if (read->at_end)
			ereport(ERROR,
					(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
					 errmsg("field %d of a CSV record has a quote that is never closed",
							csv->nfields + 1)));
		return CSV_STOP_MORE;
	}
	read->next = closing + 1;
	if (read->next < read->end && *read->next != csv->dialect.delimiter &&
		*read->next != '\n' && *read->next != '\r')
		return refuse_record(read, taken);
	length = closing - begin - escapes;
	add_field(csv, escapes > 0 ? copy_unescaped(read, begin, closing, length) : begin, length, true);
	return take_stop(read);
}

TapCsvResult
tap_csv_next(TapCsv *csv, const char *data, Size bytes, bool at_end,
			 Size max_bytes, Size *taken)
{
	CsvRead		read = {csv, data, data + bytes, at_end, max_bytes, data, 0};
	char		quote = csv->dialect.quote;
	CsvStop		stop = CSV_STOP_DELIMITER;
	bool		empty;

	*taken = 0;
	csv->nfields = 0;
	if (bytes == 0)
		return at_end ? TAP_CSV_END : TAP_CSV_MORE;
	empty = data[0] == '\n' || data[0] == '\r';
	while (stop == CSV_STOP_DELIMITER)
	{
		if (quote != '\0' && read.next < read.end && *read.next == quote)
			stop = read_quoted(&read, taken);
		else
			stop = read_plain(&read);
	}
	if (stop == CSV_STOP_MORE)
	{
		if (bytes > max_bytes)
			refuse_size(max_bytes);
		return TAP_CSV_MORE;
	}
	*taken = read.next - data;
	if (*taken > max_bytes || *taken > MaxAllocSize)
		refuse_size(Min(max_bytes, MaxAllocSize));
	return empty ? TAP_CSV_EMPTY : TAP_CSV_RECORD;
}
