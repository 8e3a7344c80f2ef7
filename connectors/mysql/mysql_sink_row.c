/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_row.c
 *	  Changes as the parts of statements: rows, keys, assignments.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"

static bool
is_present(const TapRowImage *image, int column)
{
	return image->present == NULL || image->present[column];
}

static void
append_value(const TapMysqlSinkTable *table, int i, const TupleTableSlot *slot,
			 StringInfo out)
{
	if (slot->tts_isnull[i])
		appendStringInfoString(out, "NULL");
	else
		tap_mysql_sink_literal(table, &table->columns[i], slot->tts_values[i], out);
}

/* (1,'a',NULL) */
static void
append_tuple(const TapMysqlSinkTable *table, const TupleTableSlot *slot, StringInfo out)
{
	char		separator = '(';

	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].not_written)
			continue;
		appendStringInfoCharMacro(out, separator);
		separator = ',';
		append_value(table, i, slot, out);
	}
	appendStringInfoCharMacro(out, ')');
}

/* `a`=1,`b`='x' of the columns that are there. */
static void
append_assignments(const TapMysqlSinkTable *table, const TapRowImage *image, StringInfo out)
{
	const char *separator = "";

	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].not_written || !is_present(image, i))
			continue;
		appendStringInfo(out, "%s%s=", separator, table->columns[i].quoted);
		separator = ",";
		append_value(table, i, image->slot, out);
	}
}

/* 1, or (1,'a') for a key of several columns */
static void
append_key(const TapMysqlSinkTable *table, const TupleTableSlot *slot, StringInfo out)
{
	if (table->nkeys == 1)
	{
		append_value(table, table->keys[0], slot, out);
		return;
	}
	for (int i = 0; i < table->nkeys; i++)
	{
		appendStringInfoCharMacro(out, i == 0 ? '(' : ',');
		append_value(table, table->keys[i], slot, out);
	}
	appendStringInfoCharMacro(out, ')');
}

/* `a`<=>1 and, where the collation is not exact, once more exactly. */
static void
append_equal(TapMysqlSink *sink, const TapMysqlSinkTable *table, int i,
			 const TupleTableSlot *slot, StringInfo out)
{
	const TapMysqlSinkColumn *column = &table->columns[i];
	bool		cast = column->is_json && !sink->session->server.is_mariadb &&
	!slot->tts_isnull[i];

	appendStringInfo(out, "%s<=>%s", column->quoted, cast ? "CAST(" : "");
	append_value(table, i, slot, out);
	if (cast)
		appendStringInfoString(out, " AS JSON)");
	if (!column->inexact || column->is_json || slot->tts_isnull[i])
		return;
	appendStringInfo(out, " AND CAST(CONVERT(%s USING utf8mb4) AS BINARY)=CAST(", column->quoted);
	append_value(table, i, slot, out);
	appendStringInfoString(out, " AS BINARY)");
}

/* A condition that is true for the row alone. */
static void
append_condition(TapMysqlSink *sink, const TapMysqlSinkTable *table,
				 const TapRowImage *image, StringInfo out)
{
	const char *separator = "";

	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->nkeys > 0 ? !table->is_key[i] : !is_present(image, i))
			continue;
		appendStringInfoString(out, separator);
		separator = " AND ";
		append_equal(sink, table, i, image->slot, out);
	}
}

static void
append_which(TapMysqlSink *sink, const TapMysqlSinkTable *table, const TapRowImage *image,
			 StringInfo out)
{
	if (table->in_order)
		append_condition(sink, table, image, out);
	else
		append_key(table, image->slot, out);
}

static bool
is_whole(const TapMysqlSinkTable *table, const TapRowImage *image)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (!table->columns[i].not_written && !is_present(image, i))
			return false;
	return true;
}

static void
make_update(TapMysqlSink *sink, const TapOutChange *change, TapMysqlSinkChange *made,
			bool *changes_key)
{
	TapMysqlSinkTable *table = made->table;
	const TapRowImage *old = change->old_row.slot ? &change->old_row : &change->new_row;

	append_which(sink, table, old, &sink->key);
	resetStringInfo(&sink->scratch);
	if (change->old_row.slot != NULL && !table->in_order)
	{
		append_key(table, change->new_row.slot, &sink->scratch);
		*changes_key = strcmp(sink->scratch.data, sink->key.data) != 0;
	}
	made->whole = is_whole(table, &change->new_row);
	made->op = made->whole && table->upserts && !*changes_key ?
		TAP_MYSQL_OP_UPSERT : TAP_MYSQL_OP_UPDATE;
	if (made->op == TAP_MYSQL_OP_UPSERT)
		append_tuple(table, change->new_row.slot, &sink->row);
	else
		append_assignments(table, &change->new_row, &sink->row);
}

/*
 * An update that brings a row into the condition of option "where" comes as an
 * insert, without the large values that it left as they were.
 */
static void
refuse_incomplete(const TapMysqlSinkTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("an inserted row of table \"%s\" is not known whole",
					tap_mysql_table_text(&table->hub)),
			 errdetail("It was updated so that it meets the option \"where\" now; large values that did not change are not in WAL."),
			 errhint("Run ALTER TABLE ... REPLICA IDENTITY FULL for the hub table, then copy it again with tapdata.resync().")));
}

/* Whether a row that is there already gives way to the one that is inserted. */
static bool
may_merge(const TapMysqlSink *sink, const TapOutChange *change)
{
	return change->kind == TAP_CHANGE_READ ? sink->keeps_existing : sink->overwrites;
}

void
tap_mysql_sink_make_row(TapMysqlSink *sink, const TapOutChange *change,
						TapMysqlSinkChange *made, bool *changes_key)
{
	TapMysqlSinkTable *table = change->table_data;

	memset(made, 0, sizeof(*made));
	made->table = table;
	made->lsn = change->lsn;
	*changes_key = false;
	resetStringInfo(&sink->row);
	resetStringInfo(&sink->key);
	if (change->new_row.slot != NULL)
		slot_getallattrs(change->new_row.slot);
	if (change->old_row.slot != NULL)
		slot_getallattrs(change->old_row.slot);
	switch (change->kind)
	{
		case TAP_CHANGE_READ:
		case TAP_CHANGE_INSERT:
			if (!is_whole(table, &change->new_row))
				refuse_incomplete(table);
			made->op = may_merge(sink, change) && table->upserts ?
				TAP_MYSQL_OP_MERGE : TAP_MYSQL_OP_INSERT;
			made->merges = may_merge(sink, change) && table->nkeys > 0;
			append_tuple(table, change->new_row.slot, &sink->row);
			if (table->nkeys > 0)
				append_which(sink, table, &change->new_row, &sink->key);
			break;
		case TAP_CHANGE_UPDATE:
			make_update(sink, change, made, changes_key);
			break;
		case TAP_CHANGE_DELETE:
			made->op = TAP_MYSQL_OP_DELETE;
			append_which(sink, table, &change->old_row, &sink->key);
			break;
		case TAP_CHANGE_TRUNCATE:
			made->op = TAP_MYSQL_OP_TRUNCATE;
			break;
	}
}

/* ---------------------------------------------------------------------
 * Back to JSON, for dead letters
 * ---------------------------------------------------------------------
 */

/* A quoted literal behind its first quote; returns what follows the last. */
static const char *
unquote(const char *p, StringInfo out)
{
	for (; *p != '\'' && *p != '\0'; p++)
	{
		if (*p == '\\')
		{
			p++;
			appendStringInfoChar(out, *p == '0' ? '\0' : *p);
		}
		else
			appendStringInfoChar(out, *p);
	}
	return *p ? p + 1 : p;
}

static void
append_hex_json(StringInfo out, const char *data, int length)
{
	appendStringInfoString(out, "\"\\\\x");
	for (int i = 0; i < length; i++)
		appendStringInfo(out, "%02x", (unsigned char) data[i]);
	appendStringInfoChar(out, '"');
}

/* One literal as a JSON value; returns what follows it. */
static const char *
append_literal_json(StringInfo out, const TapMysqlSinkColumn *column, const char *p)
{
	StringInfoData text;

	initStringInfo(&text);
	if (strncmp(p, "_binary'", 8) == 0)
	{
		p = unquote(p + 8, &text);
		append_hex_json(out, text.data, text.len);
		return p;
	}
	if (*p == '\'')
	{
		p = unquote(p + 1, &text);
		escape_json(out, tap_mysql_from_utf8(text.data, text.len));
		return p;
	}
	while (*p != ',' && *p != ')' && *p != '\0')
		appendStringInfoChar(&text, *p++);
	if (strcmp(text.data, "NULL") == 0)
		appendStringInfoString(out, "null");
	else if (column->type == BOOLOID)
		appendStringInfoString(out, text.data[0] == '1' ? "\"t\"" : "\"f\"");
	else
		escape_json(out, text.data);
	return p;
}

/* A tuple's values with their names; the columns are those of the key or all. */
static void
append_tuple_json(StringInfo out, const TapMysqlSinkTable *table, const char *p, bool key)
{
	int			n = key ? table->nkeys : table->ncolumns;
	const char *separator = "";

	if (*p == '(')
		p++;
	for (int i = 0; i < n; i++)
	{
		const TapMysqlSinkColumn *column = &table->columns[key ? table->keys[i] : i];

		if (!key && column->not_written)
			continue;
		appendStringInfoString(out, separator);
		separator = ", ";
		escape_json(out, column->name);
		appendStringInfoString(out, ": ");
		p = append_literal_json(out, column, p);
		if (*p == ',')
			p++;
	}
}

static void
append_assignments_json(StringInfo out, const TapMysqlSinkTable *table, const char *p)
{
	const char *separator = "";

	for (int i = 0; i < table->ncolumns; i++)
	{
		const TapMysqlSinkColumn *column = &table->columns[i];
		Size		length = strlen(column->quoted);

		/* they come in the order of the columns, some of which are left out */
		if (strncmp(p, column->quoted, length) != 0 || p[length] != '=')
			continue;
		appendStringInfoString(out, separator);
		separator = ", ";
		escape_json(out, column->name);
		appendStringInfoString(out, ": ");
		p = append_literal_json(out, column, p + length + 1);
		if (*p == ',')
			p++;
	}
}

static char *
part(const TapMysqlSinkBatch *batch, Size start, Size length)
{
	return pnstrdup(batch->arena.data + start, length);
}

char *
tap_mysql_sink_key_text(const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	char	   *key = part(batch, change->key, change->key_length);
	char	   *text = psprintf("%s%s%s", change->table->in_order ? "" : change->table->key_columns,
								change->table->in_order ? "" : " = ", key);

	return tap_mysql_from_utf8(text, strlen(text));
}

char *
tap_mysql_sink_row_json(const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	static const char *const names[] = {
		[TAP_MYSQL_OP_INSERT] = "insert",
		[TAP_MYSQL_OP_MERGE] = "insert",
		[TAP_MYSQL_OP_UPSERT] = "update",
		[TAP_MYSQL_OP_UPDATE] = "update",
		[TAP_MYSQL_OP_DELETE] = "delete",
		[TAP_MYSQL_OP_TRUNCATE] = "truncate"
	};
	const TapMysqlSinkTable *table = change->table;
	char	   *key = part(batch, change->key, change->key_length);
	char	   *row = part(batch, change->row, change->row_length);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"op\": \"%s\", \"table\": ", names[change->op]);
	escape_json(&out, tap_mysql_table_text(&table->hub));
	if (change->key_length > 0 && table->in_order)
	{
		appendStringInfoString(&out, ", \"condition\": ");
		escape_json(&out, tap_mysql_from_utf8(key, strlen(key)));
	}
	else if (change->key_length > 0 && change->op != TAP_MYSQL_OP_INSERT &&
			 change->op != TAP_MYSQL_OP_MERGE)
	{
		appendStringInfoString(&out, ", \"old\": {");
		append_tuple_json(&out, table, key, true);
		appendStringInfoChar(&out, '}');
	}
	if (change->row_length > 0)
	{
		appendStringInfoString(&out, ", \"new\": {");
		if (change->op == TAP_MYSQL_OP_UPDATE)
			append_assignments_json(&out, table, row);
		else
			append_tuple_json(&out, table, row, false);
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}
