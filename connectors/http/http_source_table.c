/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source_table.c
 *	  Tables of endpoints: columns, definitions, samples, rows.
 *
 * NOTES
 *	  A definition is a JSON object: "columns" as the option of that name,
 *	  "key", and whether the columns were "inferred", for then new fields
 *	  become columns.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "json_text.h"

#define MOST_SAMPLE_RECORDS		10000
#define NAME_BYTES				256

/* ---------------------------------------------------------------------
 * Definitions
 * ---------------------------------------------------------------------
 */

static char *
print_definition(const TapRecordColumns *columns, bool inferred, List *key)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	appendStringInfo(&text, "{\"inferred\": %s, \"key\": [", inferred ? "true" : "false");
	foreach(cell, key)
	{
		if (cell != list_head(key))
			appendStringInfoString(&text, ", ");
		tap_json_append_cstring(&text, lfirst(cell));
	}
	appendStringInfo(&text, "], \"columns\": %s}", tap_record_columns_print(columns));
	return text.data;
}

/* Look-ups of types, and descriptors, need a transaction. */
static TapHttpTable *
make_table(const char *name, TapRecordColumns *columns, bool inferred, List *key)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	TapHttpTable *table = palloc0(sizeof(TapHttpTable));
	TapTableName source_name = {NULL, unconstify(char *, name)};

	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	table->columns = columns;
	table->inferred = inferred;
	table->source = tap_record_table(columns, &source_name, key);
	table->source->definition = print_definition(columns, inferred, key);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return table;
}

static TapHttpTable *
read_definition(const char *name, const char *definition)
{
	Size		length = strlen(definition);
	TapHttpSlice columns;
	TapHttpSlice inferred;
	TapHttpSlice key;
	TapHttpJson json;
	List	   *names = NIL;
	char		text[NAME_BYTES];

	if (!tap_http_json_find(definition, length, "columns", &columns) ||
		!tap_http_json_find(definition, length, "inferred", &inferred) ||
		!tap_http_json_find(definition, length, "key", &key))
		elog(ERROR, "definition of table \"%s\" is malformed", name);
	tap_http_json_init(&json, key.text, key.length);
	for (bool first = true; tap_http_json_element(&json, first); first = false)
	{
		(void) tap_http_json_string(&json, text, sizeof(text), NULL);
		names = lappend(names, pstrdup(text));
	}
	return make_table(name, tap_record_columns_given(pnstrdup(columns.text, columns.length)),
					  inferred.text[0] == 't', names);
}

TapSourceTable *
tap_http_table_from_definition(TapSession *session, const TapTableName *name,
							   const char *definition)
{
	(void) session;
	return read_definition(name->name, definition)->source;
}

/* ---------------------------------------------------------------------
 * Samples
 * ---------------------------------------------------------------------
 */

static int64
take_sample(TapRecordSample *sample, TapHttpPage *page)
{
	int64		nrecords = 0;

	while (nrecords < MOST_SAMPLE_RECORDS && tap_http_page_next_sound(page))
	{
		if (page->format == TAP_HTTP_FORMAT_CSV)
			tap_record_sample_fields(sample, Min(page->csv->nfields, page->nnames),
									 (const char *const *) page->names, page->csv->values,
									 page->csv->lengths);
		else
			tap_record_sample_json(sample, page->record.text, page->record.length);
		nrecords++;
	}
	return nrecords;
}

/* Of the first page; returns what it is to be said of. */
static TapRecordColumns *
sample_page(const TapHttpEndpoint *endpoint, TapHttpPage *page, int64 *nrecords)
{
	MemoryContext context = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	TapRecordSample *sample;
	TapRecordColumns *columns;

	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	sample = tap_record_sample_begin();
	*nrecords = take_sample(sample, page);
	if (*nrecords == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the columns of endpoint %s are not known", tap_http_endpoint_text(endpoint)),
				 page->missing ?
				 errdetail("The path \"records\" leads to nothing in its answer.") :
				 errdetail("Its answer has no record to tell them from."),
				 page->missing ? errhint("Correct the path; tapdata.test_connection() shows what the endpoint answers.") :
				 errhint("Give them by \"columns\", as {\"id\": \"bigint\", \"name\": \"text\"}.")));
	columns = tap_record_sample_end(sample, NULL);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return columns;
}

/* Ask the endpoint for its first page; raises an error for any but a success. */
static const TapHttpAnswer *
fetch_first(TapSession *session, const TapHttpEndpoint *endpoint)
{
	TapHttpPlace place;
	const TapHttpAnswer *answer;
	TapHttpFetch *fetch = session->source->fetch;

	tap_http_place_begin(endpoint, &place);
	tap_http_fetch_begin(fetch, tap_http_page_url(session, endpoint, &place),
						 tap_http_page_query(endpoint, &place, endpoint->cursor_start), NIL, false);
	answer = tap_http_fetch_await(fetch);
	if (answer->status < 200 || answer->status > 299)
		tap_http_fetch_raise(fetch, answer, endpoint);
	return answer;
}

static void
check_columns(const TapHttpEndpoint *endpoint, const TapRecordColumns *columns)
{
	for (int i = 0; endpoint->cursor != NULL; i++)
	{
		if (i == columns->ncolumns)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("endpoint %s has no column \"%s\" for its \"cursor\"",
							tap_http_endpoint_text(endpoint), endpoint->cursor)));
		if (strcmp(columns->columns[i].name, endpoint->cursor) == 0)
			break;
	}
}

TapHttpTable *
tap_http_sample_table(TapSession *session, TapHttpEndpoint *endpoint, int64 *nrecords)
{
	TapRecordColumns *columns;

	*nrecords = -1;
	if (endpoint->columns != NULL)
		columns = tap_record_columns_given(endpoint->columns);
	else
	{
		const TapHttpAnswer *answer = fetch_first(session, endpoint);
		TapHttpPage *page = tap_http_page_open(endpoint, session->source->fetch->url, answer,
											   CurrentMemoryContext);

		columns = sample_page(endpoint, page, nrecords);
		tap_http_page_close(page);
		tap_http_fetch_end(session->source->fetch);
	}
	check_columns(endpoint, columns);
	return make_table(endpoint->name, columns, endpoint->columns == NULL, endpoint->key);
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

static void
make_readable(const TapHttpEndpoint *endpoint, TapHttpTable *table)
{
	TupleDesc	descriptor = table->source->descriptor;

	table->reader = tap_record_reader_make(table->columns, descriptor);
	table->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
	check_columns(endpoint, table->columns);
	for (int i = 0; i < table->columns->ncolumns && endpoint->cursor != NULL; i++)
	{
		if (strcmp(table->columns->columns[i].name, endpoint->cursor) == 0)
			table->cursor = i + 1;
	}
}

TapHttpTable *
tap_http_table_open(const TapHttpEndpoint *endpoint, const char *definition)
{
	TapHttpTable *table = read_definition(endpoint->name, definition);

	make_readable(endpoint, table);
	return table;
}

void
tap_http_table_close(TapHttpTable *table)
{
	if (table != NULL && table->slot != NULL)
		ExecDropSingleTupleTableSlot(table->slot);
}

static AttrNumber
column_of_field(const TapHttpTable *table, const char *field)
{
	for (int i = 0; i < table->columns->ncolumns; i++)
	{
		if (strcmp(table->columns->columns[i].field, field) == 0)
			return i + 1;
	}
	return 0;
}

/* Find the columns of the page's fields; returns those that have none. */
static List *
match_fields(TapHttpTable *table, const TapHttpPage *page)
{
	List	   *unknown = NIL;

	if (table->fields != NULL)
		pfree(table->fields);
	table->fields = MemoryContextAllocZero(GetMemoryChunkContext(table),
										   sizeof(AttrNumber) * Max(page->nnames, 1));
	table->nfields = page->nnames;
	for (int i = 0; i < page->nnames; i++)
	{
		table->fields[i] = column_of_field(table, page->names[i]);
		if (table->fields[i] == 0)
			unknown = lappend(unknown, page->names[i]);
	}
	return unknown;
}

void
tap_http_table_forget_fields(TapHttpTable *table)
{
	if (table->fields != NULL)
		pfree(table->fields);
	table->fields = NULL;
	table->nfields = 0;
}

static void
raise_too_many_fields(const TapHttpPage *page)
{
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
			 errmsg("record " INT64_FORMAT " of %s has %d fields, but there are names for %d",
					page->nrecords, page->url, page->csv->nfields, page->nnames)));
}

List *
tap_http_table_read(TapHttpTable *table, const TapHttpPage *page)
{
	List	   *unknown = NIL;

	ExecClearTuple(table->slot);
	if (page->format == TAP_HTTP_FORMAT_CSV)
	{
		if (table->fields == NULL || page->nrecords == 1)
			unknown = match_fields(table, page);
		if (page->csv->nfields > table->nfields)
			raise_too_many_fields(page);
		tap_record_read_fields(table->reader, page->csv->nfields, page->csv->values,
							   page->csv->lengths, table->fields, table->slot);
	}
	else
		tap_record_read_json(table->reader, page->record.text, page->record.length,
							 table->slot, NULL, &unknown);
	return table->inferred ? unknown : NIL;
}

char *
tap_http_table_cursor(const TapHttpTable *table, const TapHttpPage *page)
{
	const char *field = table->columns->columns[table->cursor - 1].field;
	TapHttpSlice value;

	if (page->format != TAP_HTTP_FORMAT_CSV)
		return tap_http_json_find(page->record.text, page->record.length, field, &value) ?
			tap_http_json_text(value.text, value.length) : NULL;
	for (int i = 0; i < page->csv->nfields; i++)
	{
		if (table->fields[i] == table->cursor && page->csv->values[i] != NULL)
			return pnstrdup(page->csv->values[i], page->csv->lengths[i]);
	}
	return NULL;
}

TapHttpTable *
tap_http_table_extend(const TapHttpEndpoint *endpoint, const TapHttpTable *table,
					  const TapHttpPage *page)
{
	TapRecordSample *sample = tap_record_sample_begin();
	TapHttpTable *result;

	(void) take_sample(sample, tap_http_page_fork(page));
	result = make_table(endpoint->name, tap_record_sample_end(sample, table->columns), true,
						endpoint->key);
	make_readable(endpoint, result);
	return result;
}

/* ---------------------------------------------------------------------
 * Lists
 * ---------------------------------------------------------------------
 */

List *
tap_http_list_tables(TapSession *session)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, session->source->endpoints)
	{
		TapTableName *name = palloc0(sizeof(TapTableName));

		name->name = pstrdup(((TapHttpEndpoint *) lfirst(cell))->name);
		names = lappend(names, name);
	}
	return names;
}

List *
tap_http_describe_tables(TapSession *session, List *names)
{
	List	   *tables = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		TapTableName *name = lfirst(cell);
		TapHttpEndpoint *endpoint = tap_http_find_endpoint(session->source->endpoints, name->name);
		int64		nrecords;

		if (endpoint != NULL)
			tables = lappend(tables, tap_http_sample_table(session, endpoint, &nrecords)->source);
	}
	return tables;
}
