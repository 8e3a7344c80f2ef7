/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_load.c
 *	  Copies rows by LOAD DATA LOCAL, whose file is a buffer of ours.
 *
 * NOTES
 *	  With LOCAL the server takes errors for warnings: it cuts what is too long
 *	  and leaves out what is there already.  So a load counts only when it had no
 *	  warning at all; else it is rolled back and its rows are loaded in halves,
 *	  down to the one that is refused.
 *
 *	  A server may ask for a file whenever it likes.  It gets the rows that are
 *	  being loaded, and nothing at other times.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* What the library's callbacks read; they must not raise errors. */
typedef struct LoadSource
{
	const char *data;
	Size		length;
} LoadSource;

static LoadSource source = {NULL, 0};

static int
load_init(void **handle, const char *name, void *data)
{
	(void) name;
	(void) data;
	*handle = &source;
	return source.data == NULL;
}

static int
load_read(void *handle, char *buffer, unsigned int size)
{
	LoadSource *from = handle;
	unsigned int n = (unsigned int) Min((Size) size, from->length);

	memcpy(buffer, from->data, n);
	from->data += n;
	from->length -= n;
	return (int) n;
}

static void
load_end(void *handle)
{
	(void) handle;
	source.data = NULL;
	source.length = 0;
}

static int
load_error(void *handle, char *buffer, unsigned int size)
{
	(void) handle;
	strlcpy(buffer, "no rows are being loaded", size);
	return 2000;
}

void
tap_mysql_sink_set_load(MYSQL *mysql)
{
	mysql_set_local_infile_handler(mysql, load_init, load_read, load_end, load_error, NULL);
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

void
tap_mysql_sink_load_row(TapMysqlSink *sink, TapMysqlSinkTable *table,
						const TapOutChange *change)
{
	const TupleTableSlot *slot = change->new_row.slot;
	bool		first = true;

	slot_getallattrs(change->new_row.slot);
	resetStringInfo(&sink->row);
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].not_written)
			continue;
		if (!first)
			appendStringInfoCharMacro(&sink->row, '\t');
		first = false;
		if (slot->tts_isnull[i])
			appendStringInfoString(&sink->row, "\\N");
		else
			tap_mysql_sink_field(table, &table->columns[i], slot->tts_values[i], &sink->row);
	}
	appendStringInfoCharMacro(&sink->row, '\n');

	if (sink->nload == sink->load_size)
	{
		sink->load_size = Max(1024, sink->load_size * 2);
		sink->load_rows = sink->load_rows ?
			repalloc_huge(sink->load_rows, sizeof(Size) * sink->load_size) :
			MemoryContextAlloc(sink->context, sizeof(Size) * sink->load_size);
	}
	sink->load_rows[sink->nload++] = sink->load.len;
	appendBinaryStringInfo(&sink->load, sink->row.data, sink->row.len);
	sink->copy_lsn = change->lsn;
}

static Size
row_end(const TapMysqlSink *sink, int row)
{
	return row + 1 < sink->nload ? sink->load_rows[row + 1] : sink->load.len;
}

/* ---------------------------------------------------------------------
 * Loading
 * ---------------------------------------------------------------------
 */

/* One LOAD DATA; false when anything about it was not right. */
static bool
load_range(TapMysqlSink *sink, int first, int end)
{
	const TapMysqlSinkTable *table = sink->copying;
	int			failed;

	source.data = sink->load.data + sink->load_rows[first];
	source.length = row_end(sink, end - 1) - sink->load_rows[first];
	(void) tap_mysql_wait_limit(tap_mysql_read_timeout_ms(sink->session));
	failed = mysql_real_query(sink->mysql, table->load_head, strlen(table->load_head));
	source.data = NULL;
	tap_mysql_check_interrupts();
	if (failed)
	{
		int			category = ERRCODE_TO_CATEGORY(tap_mysql_sink_sqlstate(mysql_errno(sink->mysql),
																		   mysql_error(sink->mysql)));

		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
			tap_mysql_sink_raise(sink, table, "copy to table");
		return false;
	}
	return mysql_warning_count(sink->mysql) == 0 &&
		mysql_affected_rows(sink->mysql) == (my_ulonglong) (end - first);
}

/* The first thing that a load was not right for. */
static void
read_warning(TapMysqlSink *sink, int *sqlstate, char **message)
{
	unsigned int number = mysql_errno(sink->mysql);
	TapMysqlRows *rows;

	*message = pstrdup(mysql_error(sink->mysql));
	if (number == 0)
	{
		rows = tap_mysql_try_query(sink->mysql, "SHOW WARNINGS LIMIT 1");
		if (rows != NULL && rows->nrows > 0)
		{
			number = (unsigned int) strtoul(tap_mysql_value(rows, 0, 1), NULL, 10);
			*message = tap_mysql_value(rows, 0, 2);
		}
		else
			*message = pstrdup("the row was not stored");
	}
	*sqlstate = tap_mysql_sink_sqlstate(number, *message);
	if (ERRCODE_TO_CATEGORY(*sqlstate) != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		*sqlstate = ERRCODE_DATA_EXCEPTION;
}

/* A line of LOAD DATA as JSON. */
static char *
line_json(const TapMysqlSink *sink, int row)
{
	const TapMysqlSinkTable *table = sink->copying;
	const char *p = sink->load.data + sink->load_rows[row];
	StringInfoData out;
	const char *separator = "";

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"op\": \"insert\", \"table\": ");
	escape_json(&out, tap_mysql_table_text(&table->hub));
	appendStringInfoString(&out, ", \"new\": {");
	for (int i = 0; i < table->ncolumns; i++)
	{
		StringInfoData value;
		bool		isnull = p[0] == '\\' && p[1] == 'N';

		if (table->columns[i].not_written)
			continue;
		initStringInfo(&value);
		for (; *p != '\t' && *p != '\n'; p++)
		{
			if (*p == '\\')
				p++;
			appendStringInfoChar(&value, *p);
		}
		p++;
		appendStringInfoString(&out, separator);
		separator = ", ";
		escape_json(&out, table->columns[i].name);
		appendStringInfoString(&out, ": ");
		if (isnull)
			appendStringInfoString(&out, "null");
		else
			escape_json(&out, psprintf("%s%s", table->columns[i].as_bytes ? "\\x" : "",
									   tap_mysql_from_utf8(value.data, value.len)));
	}
	appendStringInfoString(&out, "}}");
	return out.data;
}

static void
refuse_row(TapMysqlSink *sink, int row)
{
	int			sqlstate;
	char	   *message;

	read_warning(sink, &sqlstate, &message);
	tap_mysql_sink_run(sink, NULL, "ROLLBACK TO SAVEPOINT tapdata", "roll back");
	tap_mysql_core->dead_letter(&sink->copying->hub, line_json(sink, row), sink->copy_lsn, sqlstate,
								psprintf("table \"%s\": %s", sink->copying->label, message));
}

/* Load rows by halves when they are not right together. */
static void
load_carefully(TapMysqlSink *sink, int first, int end)
{
	CHECK_FOR_INTERRUPTS();
	tap_mysql_sink_run(sink, NULL, "SAVEPOINT tapdata", "set a savepoint");
	if (load_range(sink, first, end))
		return;
	if (end - first == 1)
	{
		refuse_row(sink, first);
		return;
	}
	tap_mysql_sink_run(sink, NULL, "ROLLBACK TO SAVEPOINT tapdata", "roll back");
	load_carefully(sink, first, first + (end - first) / 2);
	load_carefully(sink, first + (end - first) / 2, end);
}

void
tap_mysql_sink_load_rows(TapMysqlSink *sink)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tapdata mysql load",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	StringInfoData progress;

	initStringInfo(&progress);
	tap_mysql_sink_append_progress(sink, &progress, 0, 0);
	tap_mysql_sink_run(sink, NULL, "START TRANSACTION", "begin");
	tap_mysql_sink_run(sink, NULL, progress.data, "note the copy");
	load_carefully(sink, 0, sink->nload);
	tap_mysql_sink_run(sink, NULL, "COMMIT", "commit");
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	sink->nload = 0;
	resetStringInfo(&sink->load);
}
