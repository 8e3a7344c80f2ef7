/*-------------------------------------------------------------------------
 *
 * connectors/file/format_csv.c
 *	  CSV and TSV as a format of files.
 *
 * NOTES
 *	  A definition is what tap_record_columns_print() makes of the columns.  The
 *	  dialect and the order of the fields are a file's own: they are found in
 *	  its sample, and kept as the reader's state when it is read on later.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "csv.h"
#include "file_format.h"
#include "format_common.h"
#include "record_columns.h"
#include "record_reader.h"

struct TapFormatPlan
{
	TapRecordColumns *columns;
	TapSourceTable *table;
	int			encoding;
	TapCsvDialect dialect;
	int			nfields;		/* of each record; 0: a sample was not there */
	AttrNumber *fields;			/* the column of each */
};

struct TapFormatReader
{
	const TapFormatPlan *plan;
	TapCsv	   *csv;
	TapRecordReader *records;
	int			nfields;
	AttrNumber *fields;
	const char **values;		/* converted, where encodings differ */
	int		   *lengths;
	bool		convert;
	bool		at_begin;		/* a byte order mark may come */
	int			skip_lines;
	bool		header;			/* comes next */
};

/* ---------------------------------------------------------------------
 * Plans
 * ---------------------------------------------------------------------
 */

static char
one_character(TapFormatOption option, void *arg, const char *name, int flag, int *given)
{
	const char *value = option(arg, name);

	if (value == NULL)
		return '\0';
	*given |= flag;
	return value[0];
}

/* What options say of the dialect; returns which of it is given. */
static int
dialect_given(TapFormatOption option, void *arg, TapCsvDialect *dialect)
{
	const char *header = option(arg, "header");
	const char *skip = option(arg, "skip_rows");
	const char *null_text = option(arg, "null");
	int			given = 0;

	memset(dialect, 0, sizeof(TapCsvDialect));
	dialect->delimiter = one_character(option, arg, "delimiter", TAP_CSV_GIVEN_DELIMITER, &given);
	dialect->quote = one_character(option, arg, "quote", TAP_CSV_GIVEN_QUOTE, &given);
	dialect->escape = one_character(option, arg, "escape", TAP_CSV_GIVEN_ESCAPE, &given);
	dialect->null_text = pstrdup(null_text ? null_text : "");
	dialect->skip_lines = skip != NULL ? atoi(skip) : 0;
	if (header != NULL && parse_bool(header, &dialect->header))
		given |= TAP_CSV_GIVEN_HEADER;
	return given;
}

/* Bytes of a line and its end; 0: it has none yet. */
static Size
line_length(const char *data, Size bytes, bool at_end)
{
	const char *end = memchr(data, '\n', bytes);

	return end != NULL ? end + 1 - data : at_end ? bytes : 0;
}

/* The first record of a sample, or false. */
static bool
first_record(TapCsv *csv, const char **sample, Size *bytes, bool at_end)
{
	TapCsvResult result;
	Size		taken;

	for (int i = 0; i < csv->dialect.skip_lines; i++)
	{
		taken = line_length(*sample, *bytes, at_end);
		*sample += taken;
		*bytes -= taken;
	}
	do
	{
		result = tap_csv_next(csv, *sample, *bytes, at_end, MaxAllocSize, &taken);
		if (result == TAP_CSV_RECORD)
			return true;
		*sample += taken;
		*bytes -= taken;
	} while (result == TAP_CSV_EMPTY);
	return false;
}

static AttrNumber
column_of_field(const TapRecordColumns *columns, const char *field)
{
	for (int i = 0; i < (columns != NULL ? columns->ncolumns : 0); i++)
	{
		if (strcmp(columns->columns[i].field, field) == 0)
			return i + 1;
	}
	return 0;
}

static char *
field_text(const TapCsv *csv, int i, int encoding)
{
	Size		length = csv->values[i] != NULL ? csv->lengths[i] : 0;
	const char *text = length > 0 ? tap_record_to_server(csv->values[i], &length, encoding) : "";

	return pnstrdup(text, length);
}

/*
 * Whether the first record, of fields that columns are called by, is a header:
 * the names that are known weigh more than what it looks like.
 */
static bool
is_header(const TapCsv *csv, const TapRecordColumns *base, int encoding, bool looks)
{
	int			known = 0;

	for (int i = 0; i < csv->nfields; i++)
		known += column_of_field(base, field_text(csv, i, encoding)) > 0;
	return looks || (known > 0 && known * 2 >= csv->nfields);
}

/* What the fields are called, by the header or their places. */
static const char **
field_names(const TapFormatPlan *plan, const TapCsv *csv, const TapRecordColumns *base)
{
	const char **names = palloc(sizeof(char *) * (csv->nfields + 1));

	for (int i = 0; i < csv->nfields; i++)
	{
		char	   *name = plan->dialect.header ? field_text(csv, i, plan->encoding) : NULL;

		if (name != NULL && name[0] != '\0')
			names[i] = name;
		else if (!plan->dialect.header && base != NULL && i < base->ncolumns)
			names[i] = base->columns[i].field;
		else
			names[i] = psprintf("column%d", i + 1);
		for (int j = 0; j < i; j++)
		{
			if (strcmp(names[j], names[i]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
						 errmsg("header names column \"%s\" twice", names[i]),
						 errhint("Give the columns with the option \"columns\", and leave the header out with \"header\": false and \"skip_rows\": 1.")));
		}
	}
	return names;
}

/* A record that makes no sense tells nothing; reading will report it. */
static bool
sample_record(TapFormatPlan *plan, TapCsv *csv, TapRecordSample *sample, const char **names)
{
	MemoryContext context = CurrentMemoryContext;
	const char **values = palloc(sizeof(char *) * (plan->nfields + 1));
	int		   *lengths = palloc(sizeof(int) * (plan->nfields + 1));
	volatile bool done = true;

	if (csv->nfields != plan->nfields)
		return true;
	PG_TRY();
	{
		for (int i = 0; i < csv->nfields; i++)
		{
			Size		length = csv->lengths[i];

			values[i] = csv->values[i] == NULL ? NULL :
				tap_record_to_server(csv->values[i], &length, plan->encoding);
			lengths[i] = length;
		}
		tap_record_sample_fields(sample, csv->nfields, names, values, lengths);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		tap_format_forgive();
		done = false;
	}
	PG_END_TRY();
	return done;
}

static bool
next_sample(TapCsv *csv, const char **data, Size *bytes, bool at_end)
{
	MemoryContext context = CurrentMemoryContext;
	volatile TapCsvResult result = TAP_CSV_END;
	Size		taken = 0;

	PG_TRY();
	{
		result = tap_csv_next(csv, *data, *bytes, at_end, MaxAllocSize, &taken);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		tap_format_forgive();
		taken = 0;
	}
	PG_END_TRY();
	*data += taken;
	*bytes -= taken;
	return result == TAP_CSV_RECORD || result == TAP_CSV_EMPTY;
}

/* Columns of the sample's records, and which field is which. */
static void
plan_fields(TapFormatPlan *plan, const TapRecordColumns *base,
			const char *data, Size bytes, bool at_end, int given)
{
	TapCsv	   *csv = tap_csv_make(&plan->dialect);
	TapRecordSample *sample = tap_record_sample_begin();
	const char **names;

	if (!first_record(csv, &data, &bytes, at_end))
	{
		plan->columns = tap_record_sample_end(sample, base);
		return;
	}
	if ((given & TAP_CSV_GIVEN_HEADER) == 0)
		plan->dialect.header = is_header(csv, base, plan->encoding, plan->dialect.header);
	plan->nfields = csv->nfields;
	names = field_names(plan, csv, base);

	/* so that a column without any value is there too */
	tap_record_sample_fields(sample, csv->nfields, names,
							 palloc0(sizeof(char *) * (csv->nfields + 1)),
							 palloc0(sizeof(int) * (csv->nfields + 1)));
	if (plan->dialect.header)
		(void) next_sample(csv, &data, &bytes, at_end);
	while (next_sample(csv, &data, &bytes, at_end))
	{
		if (csv->nfields > 0 && !sample_record(plan, csv, sample, names))
			break;
	}
	plan->columns = tap_record_sample_end(sample, base);
	plan->fields = palloc(sizeof(AttrNumber) * (plan->nfields + 1));
	for (int i = 0; i < plan->nfields; i++)
		plan->fields[i] = column_of_field(plan->columns, names[i]);
}

static TapFormatPlan *
plan(TapFormatOption option, void *arg, const char *definition,
	 const char *sample, Size bytes, bool at_end)
{
	TapFormatPlan *plan = palloc0(sizeof(TapFormatPlan));
	TapRecordColumns *base = tap_format_columns(option, arg, definition);
	int			given = dialect_given(option, arg, &plan->dialect);

	plan->encoding = tap_format_encoding(option, arg);
	if (sample != NULL)
	{
		Size		mark = tap_format_byte_order_mark(sample, bytes, plan->encoding);

		tap_csv_sniff(&plan->dialect, given, sample + mark, bytes - mark, at_end);
		plan_fields(plan, base, sample + mark, bytes - mark, at_end, given);
	}
	else
		plan->columns = base;
	plan->table = tap_format_table(plan->columns);
	return plan;
}

static TapSourceTable *
describe(const TapFormatPlan *plan)
{
	return tap_format_table(plan->columns);
}

static char *
define(const TapFormatPlan *plan)
{
	return tap_record_columns_print(plan->columns);
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

/* The state: three characters in hex and the columns of the fields. */
static char *
save(const TapFormatReader *reader)
{
	const TapCsvDialect *dialect = &reader->csv->dialect;
	StringInfoData state;

	if (reader->at_begin || reader->header || reader->skip_lines > 0)
		return NULL;
	initStringInfo(&state);
	appendStringInfo(&state, "%02x %02x %02x %d", (unsigned char) dialect->delimiter,
					 (unsigned char) dialect->quote, (unsigned char) dialect->escape,
					 reader->nfields);
	for (int i = 0; i < reader->nfields; i++)
		appendStringInfo(&state, " %d", reader->fields[i]);
	return state.data;
}

static void
restore(TapFormatReader *reader, TapCsvDialect *dialect, const char *state)
{
	unsigned int characters[3];
	int			used = 0;

	if (sscanf(state, "%x %x %x %d%n", &characters[0], &characters[1], &characters[2],
			   &reader->nfields, &used) != 4 || reader->nfields < 0 ||
		reader->nfields > MaxAllocSize / sizeof(AttrNumber) / 2)
		elog(ERROR, "state of a CSV file is not understood: %s", state);
	dialect->delimiter = characters[0];
	dialect->quote = characters[1];
	dialect->escape = characters[2];
	reader->fields = palloc(sizeof(AttrNumber) * (reader->nfields + 1));
	for (int i = 0; i < reader->nfields; i++)
	{
		char	   *end;

		reader->fields[i] = strtol(state + used, &end, 10);
		used = end - state;
	}
}

static TapFormatReader *
open_reader(const TapFormatPlan *plan, uint64 offset, const char *state)
{
	TapFormatReader *reader = palloc0(sizeof(TapFormatReader));
	TapCsvDialect dialect = plan->dialect;

	reader->plan = plan;
	reader->nfields = plan->nfields;
	reader->fields = plan->fields;
	if (state != NULL)
		restore(reader, &dialect, state);
	else
	{
		reader->at_begin = true;
		reader->skip_lines = dialect.skip_lines;
		reader->header = dialect.header;
	}
	reader->csv = tap_csv_make(&dialect);
	reader->records = tap_record_reader_make(plan->columns, plan->table->descriptor);
	reader->convert = plan->encoding != GetDatabaseEncoding();
	reader->values = palloc(sizeof(char *) * (reader->nfields + 1));
	reader->lengths = palloc(sizeof(int) * (reader->nfields + 1));
	return reader;
}

/* What comes before the records; true if *taken bytes of it were there. */
static bool
skip_begin(TapFormatReader *reader, const char *data, Size bytes, bool at_end, Size *taken)
{
	if (reader->at_begin)
	{
		reader->at_begin = false;
		*taken = tap_format_byte_order_mark(data, bytes, reader->plan->encoding);
		if (*taken > 0 || reader->skip_lines == 0)
			return *taken > 0;
	}
	*taken = line_length(data, bytes, at_end);
	if (*taken > 0)
		reader->skip_lines--;
	return *taken > 0;
}

static void
check_fields(const TapFormatReader *reader)
{
	if (reader->csv->nfields != reader->nfields)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("record has %d fields instead of %d", reader->csv->nfields,
						reader->nfields)));
}

/* Fields in the database's encoding, checked. */
static void
convert_fields(TapFormatReader *reader)
{
	TapCsv	   *csv = reader->csv;

	for (int i = 0; i < csv->nfields; i++)
	{
		Size		length = csv->lengths[i];

		reader->values[i] = csv->values[i] == NULL ? NULL :
			tap_record_to_server(csv->values[i], &length, reader->plan->encoding);
		reader->lengths[i] = length;
	}
}

static void
read_fields(TapFormatReader *reader, const char *data, Size bytes, TupleTableSlot *slot)
{
	TapCsv	   *csv = reader->csv;

	check_fields(reader);
	if (reader->convert)
	{
		convert_fields(reader);
		tap_record_read_fields(reader->records, csv->nfields, reader->values,
							   reader->lengths, reader->fields, slot);
		return;
	}

	/* all at once is quicker */
	(void) tap_record_to_server(data, &bytes, reader->plan->encoding);
	tap_record_read_fields(reader->records, csv->nfields, csv->values, csv->lengths,
						   reader->fields, slot);
}

static TapFormatResult
next(TapFormatReader *reader, const char *data, Size bytes, bool at_end, Size max_bytes,
	 TupleTableSlot *slot, Size *taken)
{
	if (reader->at_begin || reader->skip_lines > 0)
	{
		if (bytes == 0)
			return at_end ? TAP_FORMAT_END : TAP_FORMAT_MORE;
		if (skip_begin(reader, data, bytes, at_end, taken))
			return TAP_FORMAT_SKIP;
		if (reader->skip_lines > 0)
			return TAP_FORMAT_MORE;
	}
	switch (tap_csv_next(reader->csv, data, bytes, at_end, max_bytes, taken))
	{
		case TAP_CSV_RECORD:
			break;
		case TAP_CSV_EMPTY:
			return TAP_FORMAT_SKIP;
		case TAP_CSV_MORE:
			return TAP_FORMAT_MORE;
		case TAP_CSV_END:
			return TAP_FORMAT_END;
	}
	if (reader->header)
	{
		reader->header = false;
		return TAP_FORMAT_SKIP;
	}
	read_fields(reader, data, *taken, slot);
	return TAP_FORMAT_ROW;
}

static const TapFormatPlan *
altered(const TapFormatReader *reader)
{
	return reader->plan;
}

static char *
show(const TapFormatReader *reader, const char *data, Size bytes)
{
	return tap_format_show_text(data, bytes);
}

const TapFormat tap_format_csv = {
	.name = "csv",
	.lines = true,
	.plan = plan,
	.describe = describe,
	.define = define,
	.open = open_reader,
	.next = next,
	.altered = altered,
	.save = save,
	.show = show
};
