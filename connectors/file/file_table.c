/*-------------------------------------------------------------------------
 *
 * connectors/file/file_table.c
 *	  Which tables a connection has, and what they look like.
 *
 * NOTES
 *	  The URI names a file or a pattern, which is one table; or a folder.  Of
 *	  a folder the option "tables" says which files are which table; without
 *	  it each file is a table of its own.
 *
 *	  A definition is the format's name, a blank, and what the format calls a
 *	  definition.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include "storage/fd.h"
#include "utils/memutils.h"

/* What the format asks for options of. */
typedef struct OptionSource
{
	TapSession *session;
	TapFileTable *table;
} OptionSource;

/* ---------------------------------------------------------------------
 * Names and patterns
 * ---------------------------------------------------------------------
 */

static Size
cut_suffix(const char *name, Size length, const char *suffix)
{
	Size		suffix_length = strlen(suffix);

	if (length > suffix_length &&
		pg_strncasecmp(name + length - suffix_length, suffix, suffix_length) == 0)
		return length - suffix_length;
	return length;
}

/* What is left of a file's name without its kind: "orders" of "orders.csv.gz". */
static char *
stem_of(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	Size		length = cut_suffix(name, strlen(name), ".gz");
	Size		dot;

	length = cut_suffix(name, length, ".zst");
	for (dot = length; dot > 0; dot--)
	{
		if (name[dot - 1] == '.')
			break;
	}
	return pnstrdup(name, dot > 1 ? dot - 1 : length);
}

/* A table's name by what comes before the pattern's first wildcard. */
static char *
name_of_pattern(const char *pattern)
{
	const char *name = strrchr(pattern, '/') + 1;
	Size		length = strcspn(name, "*?[\\");

	if (name[length] == '\0')
		return stem_of(pattern);
	while (length > 0 && strchr("_-. ", name[length - 1]) != NULL)
		length--;
	if (length > 0)
	{
		/* "app.log*" is app, too */
		for (Size dot = length - 1; dot > 0; dot--)
		{
			if (name[dot] == '.')
				length = dot;
		}
		return pnstrdup(name, length);
	}

	/* "*.csv": by its folder */
	name = strrchr(tap_file_base(pattern), '/');
	return pstrdup(name != NULL && name[1] != '\0' ? name + 1 : "file");
}

static bool
has_wildcard(const char *pattern)
{
	for (; *pattern != '\0'; pattern++)
	{
		if (*pattern == '\\' && pattern[1] != '\0')
			pattern++;
		else if (strchr("*?[", *pattern) != NULL)
			return true;
	}
	return false;
}

/* The pattern is absolute now: what the options say of the table. */
static TapFileTable *
complete_table(TapSession *session, TapFileTable *table)
{
	const char *key = tap_file_option(session, table, "key");
	const char *mode = tap_file_option(session, table, "mode");

	table->key = key != NULL ? tap_file_key_split(key) : NIL;
	if (mode != NULL)
		table->mode = tap_file_mode(mode);
	else if (table->key == NIL)
		table->mode = TAP_FILE_APPEND;
	else
		table->mode = has_wildcard(table->pattern) ? TAP_FILE_UPSERT : TAP_FILE_REPLACE;
	if (table->mode != TAP_FILE_APPEND && table->key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode \"%s\" of table \"%s\" needs a key", mode, table->name.name),
				 errhint("Name its columns with the option \"key\".")));
	return table;
}

TapFileTable *
tap_file_table_find(TapSession *session, const TapTableName *name)
{
	ListCell   *cell;

	foreach(cell, session->tables)
	{
		if (strcmp(((TapFileTable *) lfirst(cell))->name.name, name->name) == 0)
			return lfirst(cell);
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * The tables of a session
 * ---------------------------------------------------------------------
 */

static void
load_single(TapSession *session)
{
	const char *name = tap_file_core->option_text(session->args->options, "table");
	TapFileTable *table = palloc0(sizeof(TapFileTable));

	table->pattern = session->path;
	table->name.name = name ? pstrdup(name) : name_of_pattern(session->path);
	session->tables = list_make1(complete_table(session, table));
}

static void
load_given(TapSession *session, const char *json)
{
	ListCell   *cell;

	session->tables = tap_file_tables_given(json);
	foreach(cell, session->tables)
	{
		TapFileTable *table = lfirst(cell);

		if (table->pattern[0] == '/' || strstr(table->pattern, "..") != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("files of table \"%s\" are not below the folder of the URI",
							table->name.name),
					 errhint("Write their names relative to that folder.")));
		table->pattern = psprintf("%s/%s", tap_file_escape(session->path), table->pattern);
		(void) complete_table(session, table);
	}
}

static void
report_same_name(const TapFileTable *table, const char *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("files \"%s\" and \"%s\" would both be table \"%s\"", table->pattern,
					path, table->name.name),
			 errhint("Say which files are which table with the option \"tables\".")));
}

/* Each file is a table; those that are known stay. */
static void
load_folder(TapSession *session)
{
	TapFileTable any = {0};
	int64		newest = 0;
	ListCell   *cell;

	any.pattern = psprintf("%s/*", tap_file_escape(session->path));
	foreach(cell, tap_file_list(session, &any, &newest))
	{
		TapFileFound *found = lfirst(cell);
		TapTableName name = {.name = stem_of(found->path)};
		char	   *pattern = tap_file_escape(found->path);
		TapFileTable *table = tap_file_table_find(session, &name);

		if (table != NULL)
		{
			if (strcmp(table->pattern, pattern) != 0)
				report_same_name(table, found->path);
			continue;
		}
		table = palloc0(sizeof(TapFileTable));
		table->name = name;
		table->pattern = pattern;
		session->tables = lappend(session->tables, complete_table(session, table));
	}
}

void
tap_file_tables_load(TapSession *session)
{
	const char *given = tap_file_core->option_text(session->args->options, "tables");
	MemoryContext old;

	if (session->tables != NIL && (!session->folder || given != NULL))
		return;
	old = MemoryContextSwitchTo(session->args->context);
	if (!session->folder)
		load_single(session);
	else if (given != NULL)
		load_given(session, given);
	else
		load_folder(session);
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------------
 * What a table looks like
 * ---------------------------------------------------------------------
 */

const TapFormat *
tap_file_table_format(TapSession *session, const TapFileTable *table)
{
	const char *name = tap_file_option(session, table, "format");

	if (name == NULL &&
		(tap_file_option(session, table, "copybook") != NULL ||
		 tap_file_option(session, table, "copybook_text") != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" has a copybook, but no \"format\"", table->name.name),
				 errhint("The option \"format\" says where records begin: fixed, rdw, bdw or line_sequential.")));
	return name != NULL ? tap_format_find(name) : NULL;
}

static const char *
format_option(void *arg, const char *name)
{
	OptionSource *source = arg;

	return tap_file_option(source->session, source->table, name);
}

TapFormatPlan *
tap_file_table_plan(TapSession *session, TapFileTable *table, const TapFormat *format,
					const char *format_definition, const char *sample, Size bytes, bool at_end)
{
	OptionSource source = {.session = session,.table = table};

	return format->plan(format_option, &source, format_definition, sample, bytes, at_end);
}

static AttrNumber
find_column(const TapSourceTable *source, const TapFileTable *table, const char *name)
{
	for (int i = 0; i < source->descriptor->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(source->descriptor, i)->attname), name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("key column \"%s\" of table \"%s\" does not exist", name, table->name.name),
			 errhint("tapdata.discover() shows the columns.")));
	return 0;
}

TapSourceTable *
tap_file_table_describe(const TapFileTable *table, const TapFormat *format,
						const TapFormatPlan *plan)
{
	TapSourceTable *source = format->describe(plan);
	ListCell   *cell;

	source->name = table->name;
	source->nkeys = 0;
	source->keys = palloc(sizeof(AttrNumber) * (list_length(table->key) + 1));
	foreach(cell, table->key)
		source->keys[source->nkeys++] = find_column(source, table, lfirst(cell));
	source->definition = psprintf("%s %s", format->name, format->define(plan));
	return source;
}

const TapFormat *
tap_file_definition_parse(const char *definition, const char **format_definition)
{
	const char *blank = strchr(definition, ' ');
	const TapFormat *format = blank == NULL ? NULL :
	tap_format_find(pnstrdup(definition, blank - definition));

	if (format == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("definition of a file's table is not understood"),
				 errhint("Was it made by another version?  Call tapdata.resync().")));
	*format_definition = blank + 1;
	return format;
}

TapSourceTable *
tap_file_table_from_definition(TapSession *session, const TapTableName *name,
							   const char *definition)
{
	const char *format_definition;
	const TapFormat *format = tap_file_definition_parse(definition, &format_definition);
	TapFileTable *table = tap_file_table_find(session, name);

	/* its files are gone, and with them the table */
	if (table == NULL)
	{
		table = palloc0(sizeof(TapFileTable));
		table->name.name = pstrdup(name->name);
	}
	return tap_file_table_describe(table, format,
								   tap_file_table_plan(session, table, format,
													   format_definition, NULL, 0, false));
}

/* ---------------------------------------------------------------------
 * What is there
 * ---------------------------------------------------------------------
 */

/* Of a folder, an empty file is no table yet: nothing tells its columns. */
static bool
is_there(TapSession *session, List *found)
{
	ListCell   *cell;

	if (!session->folder ||
		tap_file_core->option_text(session->args->options, "tables") != NULL)
		return found != NIL;
	foreach(cell, found)
	{
		if (((TapFileFound *) lfirst(cell))->size > 0)
			return true;
	}
	return false;
}

List *
tap_file_list_tables(TapSession *session)
{
	List	   *names = NIL;
	int64		newest = 0;
	ListCell   *cell;

	tap_file_check_privilege();
	tap_file_tables_load(session);
	foreach(cell, session->tables)
	{
		TapFileTable *table = lfirst(cell);

		if (tap_file_option(session, table, "columns") != NULL ||
			is_there(session, tap_file_list(session, table, &newest)))
			names = lappend(names, &table->name);
	}
	return names;
}

static void
sample_context(void *arg)
{
	errcontext("beginning of file \"%s\"", (const char *) arg);
}

static TapSourceTable *
describe_by_sample(TapSession *session, TapFileTable *table, TapFileHandle *handle)
{
	const TapFormat *format = tap_file_table_format(session, table);
	ErrorContextCallback context = {
		.callback = sample_context,
		.arg = handle->found.path,
		.previous = error_context_stack
	};
	TapFileBytes *bytes;
	TapSourceTable *source;

	error_context_stack = &context;
	bytes = tap_file_bytes_begin(handle, tap_file_compression(session, table, handle), 0,
								 handle->found.size);
	while (bytes->bytes < TAP_FILE_SAMPLE_BYTES && !bytes->exhausted)
		tap_file_bytes_more(bytes);
	if (format == NULL)
		format = tap_format_guess(handle->found.path, bytes->data, bytes->bytes);
	source = tap_file_table_describe(table, format,
									 tap_file_table_plan(session, table, format, NULL, bytes->data,
														 bytes->bytes, bytes->exhausted));
	error_context_stack = context.previous;
	return source;
}

/* The newest file that has anything in it tells how they are. */
static TapFileHandle *
open_newest(TapSession *session, List *found, double *total)
{
	TapFileFound *newest = NULL;
	ListCell   *cell;
	const char *reason;

	*total = 0;
	foreach(cell, found)
	{
		TapFileFound *file = lfirst(cell);

		*total += file->size;
		if (file->size > 0 && (newest == NULL || file->mtime > newest->mtime))
			newest = file;
	}
	return newest != NULL ? tap_file_open(session, newest->path, &reason) : NULL;
}

static TapSourceTable *
describe_table(TapSession *session, TapFileTable *table)
{
	const TapFormat *format = tap_file_table_format(session, table);
	int64		changed = 0;
	double		total;
	TapFileHandle *handle = open_newest(session, tap_file_list(session, table, &changed), &total);
	TapSourceTable *source;

	if (handle != NULL)
		source = describe_by_sample(session, table, handle);
	else
	{
		if (format == NULL)
			format = tap_format_guess(table->pattern, NULL, 0);
		source = tap_file_table_describe(table, format,
										 tap_file_table_plan(session, table, format,
															 NULL, NULL, 0, true));
	}
	source->estimated_rows = -1;
	source->estimated_bytes = total;
	if (handle != NULL)
		tap_file_close(handle);
	return source;
}

List *
tap_file_describe_tables(TapSession *session, List *names)
{
	List	   *result = NIL;
	ListCell   *cell;

	tap_file_check_privilege();
	tap_file_tables_load(session);
	foreach(cell, names)
	{
		TapFileTable *table = tap_file_table_find(session, lfirst(cell));

		if (table != NULL)
			result = lappend(result, describe_table(session, table));
	}
	return result;
}
