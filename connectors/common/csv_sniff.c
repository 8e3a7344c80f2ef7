/*-------------------------------------------------------------------------
 *
 * connectors/common/csv_sniff.c
 *	  What dialect of CSV a text is written in.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "csv.h"

#include "access/htup_details.h"
#include "utils/memutils.h"

/* How many records are looked at. */
#define SNIFF_RECORDS	200

/* Kinds of text that tell a header from a record. */
typedef enum SniffKind
{
	SNIFF_EMPTY,
	SNIFF_NUMBER,				/* or a date: nothing that a column is called */
	SNIFF_TEXT
} SniffKind;

/* What the sample is with one delimiter. */
typedef struct SniffTry
{
	int			nrecords;
	int			nfields;		/* of the first record */
	bool		even;			/* all records have as many */
	int			fitting;		/* records that have as many */
} SniffTry;

/* The first records, kept apart from the splitter. */
typedef struct SniffRecord
{
	int			nfields;
	char	  **fields;			/* zero-terminated, NULL as empty */
	int		   *lengths;
} SniffRecord;

static const char *
skip_first_lines(const char *p, const char *end, int lines)
{
	while (lines-- > 0 && p < end)
	{
		while (p < end && *p != '\n' && *p != '\r')
			p++;
		if (p < end && *p == '\r')
			p++;
		if (p < end && *p == '\n')
			p++;
	}
	return p;
}

/* The next record of the sample; false where there is none, or no sense in it. */
static bool
next_record(TapCsv *csv, const char **p, const char *end, bool at_end)
{
	MemoryContext context = CurrentMemoryContext;
	TapCsvResult result = TAP_CSV_END;
	Size		taken;

	do
	{
		PG_TRY();
		{
			result = tap_csv_next(csv, *p, end - *p, at_end, MaxAllocSize, &taken);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
			result = TAP_CSV_END;
			taken = 0;
		}
		PG_END_TRY();
		*p += taken;
	} while (result == TAP_CSV_EMPTY);
	return result == TAP_CSV_RECORD;
}

static SniffTry
try_delimiter(const TapCsvDialect *dialect, char delimiter,
			  const char *p, const char *end, bool at_end)
{
	TapCsvDialect tried = *dialect;
	SniffTry	result = {0, 0, true, 0};
	TapCsv	   *csv;

	tried.delimiter = delimiter;
	csv = tap_csv_make(&tried);
	while (result.nrecords < SNIFF_RECORDS && next_record(csv, &p, end, at_end))
	{
		if (result.nrecords++ == 0)
			result.nfields = csv->nfields;
		if (csv->nfields == result.nfields)
			result.fitting++;
		else
			result.even = false;
	}
	return result;
}

static bool
is_better(const SniffTry *a, const SniffTry *b)
{
	if ((a->nfields > 1) != (b->nfields > 1))
		return a->nfields > 1;
	if (a->even != b->even)
		return a->even;
	if (!a->even && a->fitting != b->fitting)
		return a->fitting > b->fitting;
	return a->nfields > b->nfields;
}

static char
guess_delimiter(const TapCsvDialect *dialect, const char *p, const char *end,
				bool at_end)
{
	static const char candidates[] = {',', ';', '\t', '|'};
	SniffTry	best = {0, 0, false, 0};
	char		result = candidates[0];

	for (int i = 0; i < lengthof(candidates); i++)
	{
		SniffTry	try = try_delimiter(dialect, candidates[i], p, end, at_end);

		if (try.nrecords > 0 && (i == 0 || is_better(&try, &best)))
		{
			best = try;
			result = candidates[i];
		}
	}
	return result;
}

/*
 * Whether inner quotes are escaped with a backslash.  Only where they are not
 * doubled anywhere: a doubled one says that a backslash is just one.
 */
static char
guess_escape(char quote, const char *p, const char *end)
{
	bool		backslash = false;

	if (quote == '\0')
		return '\0';
	for (; end - p >= 3; p++)
	{
		if (p[0] != quote && p[1] == quote && p[2] == quote && p[0] != '\\' &&
			p[0] != '\n' && p[0] != '\r' && p[0] != ',' && p[0] != ';' && p[0] != '\t' && p[0] != '|')
			return quote;
		if (p[0] == '\\' && p[1] == quote && p[2] != '\n' && p[2] != '\r' &&
			p[2] != ',' && p[2] != ';' && p[2] != '\t' && p[2] != '|')
			backslash = true;
	}
	return backslash ? '\\' : quote;
}

static SniffKind
field_kind(const char *text, int length)
{
	bool		digit = false;

	if (length == 0)
		return SNIFF_EMPTY;
	for (int i = 0; i < length; i++)
	{
		if (text[i] >= '0' && text[i] <= '9')
			digit = true;
		else if (text[i] == '\0' || strchr("+-.,:/ eETZ%", text[i]) == NULL)
			return SNIFF_TEXT;
	}
	return digit ? SNIFF_NUMBER : SNIFF_TEXT;
}

static SniffRecord *
keep_record(const TapCsv *csv)
{
	SniffRecord *record = palloc(sizeof(SniffRecord));

	record->nfields = csv->nfields;
	record->fields = palloc(sizeof(char *) * csv->nfields);
	record->lengths = palloc(sizeof(int) * csv->nfields);
	for (int i = 0; i < csv->nfields; i++)
	{
		record->lengths[i] = csv->values[i] != NULL ? csv->lengths[i] : 0;
		record->fields[i] = palloc(record->lengths[i] + 1);
		if (record->lengths[i] > 0)
			memcpy(record->fields[i], csv->values[i], record->lengths[i]);
		record->fields[i][record->lengths[i]] = '\0';
	}
	return record;
}

static bool
has_same_twice(const SniffRecord *record)
{
	for (int i = 1; i < record->nfields; i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (strcmp(record->fields[i], record->fields[j]) == 0)
				return true;
		}
	}
	return false;
}

/* Whether a column of text has something of its header's form in it again. */
static bool
guess_header(const TapCsvDialect *dialect, const char *p, const char *end,
			 bool at_end)
{
	TapCsv	   *csv = tap_csv_make(dialect);
	SniffRecord *first;
	int			nrecords = 0;
	int			unlike = 0;
	int			alike = 0;

	if (!next_record(csv, &p, end, at_end))
		return false;
	first = keep_record(csv);
	for (int i = 0; i < first->nfields; i++)
	{
		if (field_kind(first->fields[i], first->lengths[i]) != SNIFF_TEXT)
			return false;
	}
	if (first->nfields > MaxHeapAttributeNumber || has_same_twice(first))
		return false;
	while (nrecords < SNIFF_RECORDS && next_record(csv, &p, end, at_end))
	{
		nrecords++;
		for (int i = 0; i < Min(csv->nfields, first->nfields); i++)
		{
			int			length = csv->values[i] != NULL ? csv->lengths[i] : 0;

			if (field_kind(csv->values[i], length) != SNIFF_TEXT)
				unlike++;
			else if (length == first->lengths[i] && memcmp(csv->values[i], first->fields[i], length) == 0)
				alike++;
		}
	}
	if (nrecords == 0 || unlike > 0)
		return true;

	/*
	 * text only: names of columns do not come back as values, and look like
	 * names
	 */
	if (alike > 0)
		return false;
	for (int i = 0; i < first->nfields; i++)
	{
		for (const char *c = first->fields[i]; *c != '\0'; c++)
		{
			if (!IS_HIGHBIT_SET(*c) && !(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') &&
				!(*c >= '0' && *c <= '9') && strchr("_-. ", *c) == NULL)
				return false;
		}
	}
	return true;
}

void
tap_csv_sniff(TapCsvDialect *dialect, int given, const char *sample,
			  Size bytes, bool at_end)
{
	const char *end = sample + bytes;
	const char *begin = skip_first_lines(sample, end, dialect->skip_lines);
	MemoryContext old_context;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "csv sniff",
												  ALLOCSET_DEFAULT_SIZES);

	old_context = MemoryContextSwitchTo(context);
	if (!(given & TAP_CSV_GIVEN_QUOTE))
		dialect->quote = '"';
	if (!(given & TAP_CSV_GIVEN_ESCAPE))
		dialect->escape = guess_escape(dialect->quote, begin, end);
	if (!(given & TAP_CSV_GIVEN_DELIMITER))
		dialect->delimiter = guess_delimiter(dialect, begin, end, at_end);
	if (!(given & TAP_CSV_GIVEN_HEADER))
		dialect->header = guess_header(dialect, begin, end, at_end);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}
