/*-------------------------------------------------------------------------
 *
 * src/publish_format.c
 *	  The formats of a table that a sink is told of, one after the other.
 *
 * NOTES
 *	  A sink that follows a renamed column has to know the format before.  So
 *	  the newest that it was told is kept in pipeline_table.definition, for the
 *	  next session to go on from.  It is stored after the sink has followed: a
 *	  crash in between has it asked to follow once more.  That there is one
 *	  also tells that the sink has made a target, which must not be made again
 *	  without the rows that were sent to it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "publish_private.h"
#include "worker.h"

/* ---------------------------------------------------------------------
 * As text: a list of nodes in PostgreSQL's own notation
 *
 *	definition, keys (integers), columns: of each
 *		name, type's name, type's oid, {type modifier, not null}
 * ---------------------------------------------------------------------
 */

static List *
column_nodes(const TapSourceTable *table, int number)
{
	Form_pg_attribute column = TupleDescAttr(table->descriptor, number);
	const char *type = table->column_types ? table->column_types[number] : NULL;

	return list_make4(makeString(pstrdup(NameStr(column->attname))),
					  makeString(pstrdup(type ? type : "")),
					  list_make1_oid(column->atttypid),
					  list_make2_int(column->atttypmod, column->attnotnull));
}

/* In the current context. */
static char *
format_text(const TapSourceTable *table)
{
	List	   *keys = NIL;
	List	   *columns = NIL;

	for (int i = 0; i < table->nkeys; i++)
		keys = lappend_int(keys, table->keys[i]);
	for (int i = 0; i < table->descriptor->natts; i++)
		columns = lappend(columns, column_nodes(table, i));
	return nodeToString(list_make3(makeString(table->definition ? table->definition : ""),
								   keys, columns));
}

/* False when its type is gone. */
static bool
read_column(TapSourceTable *table, int number, List *nodes)
{
	Oid			type = linitial_oid(lthird(nodes));
	List	   *numbers = lfourth(nodes);

	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		return false;
	TupleDescInitEntry(table->descriptor, number + 1, strVal(linitial(nodes)), type,
					   linitial_int(numbers), 0);
	TupleDescAttr(table->descriptor, number)->attnotnull = lsecond_int(numbers) != 0;
	table->column_types[number] = strVal(lsecond(nodes));
	return true;
}

/*
 * In the current context; NULL when a type is gone.  Needs a transaction.
 */
static TapSourceTable *
read_format(const char *text, const TapTableName *name)
{
	List	   *nodes = stringToNode(text);
	List	   *columns = lthird(nodes);
	TapSourceTable *table = palloc0(sizeof(TapSourceTable));
	int			ncolumns = list_length(columns);
	ListCell   *cell;

	table->name.schema = name->schema ? pstrdup(name->schema) : NULL;
	table->name.name = pstrdup(name->name);
	table->definition = strVal(linitial(nodes));
	table->descriptor = CreateTemplateTupleDesc(ncolumns);
	table->column_types = palloc0((ncolumns + 1) * sizeof(char *));
	table->column_comments = palloc0((ncolumns + 1) * sizeof(char *));
	table->estimated_rows = table->estimated_bytes = -1;
	table->keys = palloc((list_length(lsecond(nodes)) + 1) * sizeof(AttrNumber));
	foreach(cell, (List *) lsecond(nodes))
		table->keys[table->nkeys++] = lfirst_int(cell);
	foreach(cell, columns)
	{
		if (!read_column(table, foreach_current_index(cell), lfirst(cell)))
			return NULL;
	}
	return table;
}

/* ---------------------------------------------------------------------
 * Telling the sink
 * ---------------------------------------------------------------------
 */

static bool
same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Whether a sink could not tell the two apart. */
static bool
same_format(const TapSourceTable *a, const TapSourceTable *b)
{
	int			ncolumns = a->descriptor->natts;

	if (ncolumns != b->descriptor->natts || a->nkeys != b->nkeys ||
		memcmp(a->keys, b->keys, a->nkeys * sizeof(AttrNumber)) != 0 ||
		!same_text(a->definition, b->definition))
		return false;
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute column_a = TupleDescAttr(a->descriptor, i);
		Form_pg_attribute column_b = TupleDescAttr(b->descriptor, i);

		if (strcmp(NameStr(column_a->attname), NameStr(column_b->attname)) != 0 ||
			column_a->atttypid != column_b->atttypid ||
			column_a->atttypmod != column_b->atttypmod ||
			column_a->attnotnull != column_b->attnotnull ||
			!same_text(a->column_types ? a->column_types[i] : NULL,
					   b->column_types ? b->column_types[i] : NULL))
			return false;
	}
	return true;
}

/*
 * What an earlier session was told last, if that is another format than this
 * one; in the session's memory.
 */
static TapSourceTable *
former_format(TapPublish *publish, const TapPublishTable *table,
			  const TapSourceTable *source)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context;
	bool		own_txn = !IsTransactionState();
	TapSourceTable *result;

	if (table->row.definition == NULL)
		return NULL;
	context = AllocSetContextCreate(publish->context, "tapdata former format",
									ALLOCSET_SMALL_SIZES);
	if (own_txn)
		tap_worker_begin();
	MemoryContextSwitchTo(context);
	result = read_format(table->row.definition, &table->row.source);
	MemoryContextSwitchTo(old);
	if (own_txn)
		tap_worker_commit();
	MemoryContextSwitchTo(old);
	if (result != NULL && !same_format(result, source))
		return result;
	MemoryContextDelete(context);
	return NULL;
}

/*
 * During a copy nothing can be written: then the row is stored at its end.
 */
static void
remember(TapPublish *publish, TapPublishTable *table, const TapSourceTable *source)
{
	MemoryContext old = MemoryContextSwitchTo(publish->tables_context);
	char	   *text = format_text(source);

	if (!same_text(text, table->row.definition))
	{
		table->row.definition = text;
		if (!IsTransactionState())
		{
			tap_worker_begin();
			tap_catalog_update_table(&table->row);
			tap_worker_commit();
		}
	}
	MemoryContextSwitchTo(old);
}

TapPublishFormat *
tap_publish_prepare(TapPublish *publish, TapPublishTable *table,
					const TapSourceTable *source, TapPublishFormat *previous)
{
	MemoryContext old = CurrentMemoryContext;
	TapPublishFormat *format;
	TapSourceTable *former;
	bool		known = table->row.state == TAP_TABLE_STREAMING && table->row.definition != NULL;

	if (previous == NULL)
		previous = table->format;
	if (previous != NULL && same_format(previous->source, source))
		return previous;

	former = previous ? previous->source : former_format(publish, table, source);
	MemoryContextSwitchTo(publish->context);
	format = palloc0(sizeof(TapPublishFormat));
	format->source = tap_source_table_copy(source);
	MemoryContextSwitchTo(publish->entry_context);
	format->data = publish->sink->prepare_table(publish->session->session, format->source,
												former, previous ? previous->data : NULL, known);
	MemoryContextSwitchTo(old);
	remember(publish, table, format->source);
	table->format = format;
	return format;
}
