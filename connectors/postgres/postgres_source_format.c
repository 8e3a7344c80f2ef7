/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_format.c
 *	  Formats of source tables as text, and back.
 *
 * NOTES
 *	  The text of a format is lines of fields divided by tabs, with COPY's
 *	  escapes: one "T" for the table, a "C" for each column, a "K" for the
 *	  key, an "I" for each index.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "parser/parse_type.h"
#include "utils/builtins.h"

#define MAX_FIELDS	16

/* ---------------------------------------------------------------------
 * As text
 * ---------------------------------------------------------------------
 */

static void
append_field(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '\t');
	if (text == NULL)
	{
		appendStringInfoString(out, "\\N");
		return;
	}
	for (const char *c = text; *c != '\0'; c++)
	{
		switch (*c)
		{
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			default:
				appendStringInfoChar(out, *c);
		}
	}
}

static void
append_numbers(StringInfo out, const AttrNumber *numbers, int count)
{
	appendStringInfoChar(out, '\t');
	for (int i = 0; i < count; i++)
		appendStringInfo(out, "%s%d", i ? "," : "", numbers[i]);
}

/* The hub's type by its name: its number need not survive a dump. */
static char *
type_name(const TapPgSourceColumn *column)
{
	return format_type_extended(column->type, -1, FORMAT_TYPE_FORCE_QUALIFY);
}

static void
append_column(StringInfo out, const TapPgSourceColumn *column)
{
	appendStringInfoChar(out, 'C');
	append_field(out, column->name);
	appendStringInfo(out, "\t%d\t%u\t%d", column->number, column->source_type,
					 column->source_typmod);
	append_field(out, column->shown);
	append_field(out, type_name(column));
	appendStringInfo(out, "\t%d\t%s%s%s-", column->typmod, column->not_null ? "n" : "",
					 column->as_text ? "t" : "", column->binary_safe ? "b" : "");
	append_field(out, column->comment);
	append_field(out, column->missing);
	appendStringInfoChar(out, '\n');
}

char *
tap_pg_format_text(const TapPgFormat *format)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "T\t%u\t%c\t%c\t%c", format->relid, format->kind,
					 format->identity, format->identified ? 'y' : 'n');
	append_field(&out, format->comment);
	append_field(&out, format->filter);
	appendStringInfoChar(&out, '\n');
	for (int i = 0; i < format->ncolumns; i++)
		append_column(&out, &format->columns[i]);
	appendStringInfoChar(&out, 'K');
	append_numbers(&out, format->keys, format->nkeys);
	appendStringInfoChar(&out, '\n');
	for (int i = 0; i < format->nindexes; i++)
	{
		appendStringInfoChar(&out, 'I');
		append_field(&out, format->indexes[i].name);
		appendStringInfo(&out, "\t%c", format->indexes[i].unique ? 'u' : '-');
		append_numbers(&out, format->indexes[i].columns, format->indexes[i].ncolumns);
		appendStringInfoChar(&out, '\n');
	}
	return out.data;
}

/* ---------------------------------------------------------------------
 * And back
 * ---------------------------------------------------------------------
 */

/* Undo the escapes, in place; NULL for \N. */
static char *
unescape(char *field)
{
	char	   *to = field;

	if (strcmp(field, "\\N") == 0)
		return NULL;
	for (const char *from = field; *from != '\0'; from++)
	{
		if (*from == '\\' && from[1] != '\0')
		{
			from++;
			*to++ = *from == 't' ? '\t' : *from == 'n' ? '\n' : *from;
		}
		else
			*to++ = *from;
	}
	*to = '\0';
	return field;
}

static int
split_line(char *line, char **fields)
{
	int			count = 0;

	for (char *p = line; p != NULL && count < MAX_FIELDS;)
	{
		char	   *tab = strchr(p, '\t');

		if (tab != NULL)
			*tab = '\0';
		fields[count++] = p;
		p = tab ? tab + 1 : NULL;
	}
	for (int i = 1; i < count; i++)
		fields[i] = unescape(fields[i]);
	return count;
}

static void raise_bad_definition(const TapTableName *name) __attribute__((noreturn));

static void
raise_bad_definition(const TapTableName *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the stored definition of table \"%s\" cannot be read", tap_pg_table_text(name)),
			 errhint("Copy the table again with tapdata.resync().")));
}

static void
parse_column(TapPgFormat *format, char **fields, int count)
{
	TapPgSourceColumn *column;

	if (count != 11 || fields[1] == NULL || fields[6] == NULL || fields[8] == NULL)
		raise_bad_definition(&format->name);
	column = &format->columns[format->ncolumns++];
	column->name = fields[1];
	column->number = atoi(fields[2]);
	column->source_type = strtoul(fields[3], NULL, 10);
	column->source_typmod = atoi(fields[4]);
	column->shown = fields[5];
	parseTypeString(fields[6], &column->type, &column->typmod, false);
	column->typmod = atoi(fields[7]);
	column->not_null = strchr(fields[8], 'n') != NULL;
	column->as_text = strchr(fields[8], 't') != NULL;
	column->binary_safe = strchr(fields[8], 'b') != NULL;
	column->comment = fields[9];
	column->missing = fields[10];
}

static AttrNumber *
parse_numbers(const TapPgFormat *format, const char *text, int *count)
{
	AttrNumber *result = palloc0(sizeof(AttrNumber) * (strlen(text) + 1));

	*count = 0;
	for (const char *p = text; p != NULL && *p != '\0'; p = strchr(p, ','))
	{
		int			number;

		if (*p == ',')
			p++;
		number = atoi(p);
		if (number < 1 || number > format->ncolumns)
			raise_bad_definition(&format->name);
		result[(*count)++] = number;
	}
	return result;
}

static void
parse_line(TapPgFormat *format, char *line)
{
	char	   *fields[MAX_FIELDS];
	int			count = split_line(line, fields);

	switch (line[0])
	{
		case 'T':
			if (count != 7)
				raise_bad_definition(&format->name);
			format->relid = strtoul(fields[1], NULL, 10);
			format->kind = fields[2][0];
			format->identity = fields[3][0];
			format->identified = fields[4][0] == 'y';
			format->comment = fields[5];
			format->filter = fields[6];
			break;
		case 'C':
			parse_column(format, fields, count);
			break;
		case 'K':
			if (count != 2)
				raise_bad_definition(&format->name);
			format->keys = parse_numbers(format, fields[1], &format->nkeys);
			break;
		case 'I':
			if (count != 4)
				raise_bad_definition(&format->name);
			format->indexes[format->nindexes].name = fields[1];
			format->indexes[format->nindexes].unique = fields[2][0] == 'u';
			format->indexes[format->nindexes].columns =
				parse_numbers(format, fields[3], &format->indexes[format->nindexes].ncolumns);
			format->nindexes++;
			break;
		default:
			raise_bad_definition(&format->name);
	}
}

TapPgFormat *
tap_pg_format_parse(const TapTableName *name, const char *text)
{
	TapPgFormat *format = palloc0(sizeof(TapPgFormat));
	char	   *copy = pstrdup(text);
	int			lines = 0;
	bool		begun = tap_pg_begin_lookups();

	format->name.schema = pstrdup(name->schema);
	format->name.name = pstrdup(name->name);
	format->estimated_rows = -1;
	format->estimated_bytes = -1;
	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n';
	format->columns = palloc0(sizeof(TapPgSourceColumn) * Max(lines, 1));
	format->indexes = palloc0(sizeof(TapPgSourceIndex) * Max(lines, 1));
	for (char *line = copy; *line != '\0';)
	{
		char	   *end = strchr(line, '\n');

		if (end == NULL)
			raise_bad_definition(name);
		*end = '\0';
		parse_line(format, line);
		line = end + 1;
	}
	tap_pg_end_lookups(begun);
	return format;
}
