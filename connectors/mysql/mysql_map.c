/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_map.c
 *	  The format of a table as a table map of the log describes it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include "utils/builtins.h"

#define COLLATION_BINARY	63

/* Bytes of a character, for lengths of columns that only the map knows. */
static int
bytes_of_character(const char *charset)
{
	if (strcmp(charset, "utf8mb4") == 0 || strncmp(charset, "utf16", 5) == 0 ||
		strcmp(charset, "utf32") == 0 || strcmp(charset, "gb18030") == 0)
		return 4;
	if (strncmp(charset, "utf8", 4) == 0 || strcmp(charset, "ujis") == 0 ||
		strcmp(charset, "eucjpms") == 0)
		return 3;
	if (strcmp(charset, "ucs2") == 0 || strcmp(charset, "gbk") == 0 ||
		strcmp(charset, "big5") == 0 || strcmp(charset, "gb2312") == 0 ||
		strcmp(charset, "sjis") == 0 || strcmp(charset, "cp932") == 0 ||
		strcmp(charset, "euckr") == 0)
		return 2;
	return 1;
}

static const char *
integer_type(uint8 type)
{
	switch (type)
	{
		case TAP_BINLOG_TYPE_TINY:
			return "tinyint";
		case TAP_BINLOG_TYPE_SHORT:
			return "smallint";
		case TAP_BINLOG_TYPE_INT24:
			return "mediumint";
		case TAP_BINLOG_TYPE_LONG:
			return "int";
		case TAP_BINLOG_TYPE_LONGLONG:
			return "bigint";
		default:
			return NULL;
	}
}

/* Types whose name and one number are all there is. */
static bool
simple_type(TapMysqlColumn *column, const TapBinlogColumn *wire)
{
	switch (wire->type)
	{
		case TAP_BINLOG_TYPE_FLOAT:
			column->type = column->column_type = "float";
			return true;
		case TAP_BINLOG_TYPE_DOUBLE:
			column->type = column->column_type = "double";
			return true;
		case TAP_BINLOG_TYPE_YEAR:
			column->type = column->column_type = "year";
			return true;
		case TAP_BINLOG_TYPE_DATE:
		case TAP_BINLOG_TYPE_NEWDATE:
			column->type = column->column_type = "date";
			return true;
		case TAP_BINLOG_TYPE_JSON:
			column->type = column->column_type = "json";
			return true;
		case TAP_BINLOG_TYPE_GEOMETRY:
			column->type = column->column_type = "geometry";
			return true;
		case TAP_BINLOG_TYPE_VECTOR:
			column->type = "vector";
			column->column_type = psprintf("vector(%u)", wire->vector_dimension);
			return true;
		case TAP_BINLOG_TYPE_NEWDECIMAL:
			column->type = "decimal";
			column->column_type = psprintf("decimal(%d,%d)", wire->precision, wire->scale);
			return true;
		case TAP_BINLOG_TYPE_BIT:
			column->type = "bit";
			column->column_type = psprintf("bit(%u)", wire->max_bytes);
			return true;
		case TAP_BINLOG_TYPE_DATETIME:
		case TAP_BINLOG_TYPE_DATETIME2:
			column->type = "datetime";
			break;
		case TAP_BINLOG_TYPE_TIMESTAMP:
		case TAP_BINLOG_TYPE_TIMESTAMP2:
			column->type = "timestamp";
			break;
		case TAP_BINLOG_TYPE_TIME:
		case TAP_BINLOG_TYPE_TIME2:
			column->type = "time";
			break;
		default:
			return false;
	}
	column->column_type = wire->scale ? psprintf("%s(%d)", column->type, wire->scale) :
		column->type;
	return true;
}

/* Strings and blobs: text or bytes, as the collation says. */
static bool
string_type(TapMysqlColumn *column, const TapBinlogColumn *wire)
{
	static const char *const texts[] = {"tinytext", "text", "mediumtext", "longtext"};
	static const char *const blobs[] = {"tinyblob", "blob", "mediumblob", "longblob"};
	bool		binary = column->charset == NULL;
	int			length = binary ? (int) wire->max_bytes :
	(int) wire->max_bytes / bytes_of_character(column->charset);

	switch (wire->type)
	{
		case TAP_BINLOG_TYPE_STRING:
		case TAP_BINLOG_TYPE_VAR_STRING:
			column->type = binary ? "binary" : "char";
			break;
		case TAP_BINLOG_TYPE_VARCHAR:
		case TAP_BINLOG_TYPE_VARCHAR_COMPRESSED:
			column->type = binary ? "varbinary" : "varchar";
			break;
		case TAP_BINLOG_TYPE_BLOB:
		case TAP_BINLOG_TYPE_BLOB_COMPRESSED:
			if (wire->prefix_bytes < 1 || wire->prefix_bytes > 4)
				return false;
			column->type = unconstify(char *, (binary ? blobs : texts)[wire->prefix_bytes - 1]);
			column->column_type = column->type;
			return true;
		default:
			return false;
	}
	column->column_type = psprintf("%s(%d)", column->type, length);
	return true;
}

/* As information_schema writes it. */
static void
append_label_character(StringInfo text, char c)
{
	if (c == '\n')
		appendStringInfoString(text, "\\n");
	else if (c == '\r')
		appendStringInfoString(text, "\\r");
	else
	{
		if (c == '\'' || c == '\\')
			appendStringInfoChar(text, c);
		appendStringInfoChar(text, c);
	}
}

/* "enum('a','b')" of the labels in the map. */
static bool
label_type(TapSession *session, TapMysqlColumn *column, const TapBinlogColumn *wire)
{
	StringInfoData text;
	TapMysqlCharset *charset;

	if (wire->type != TAP_BINLOG_TYPE_ENUM && wire->type != TAP_BINLOG_TYPE_SET)
		return false;
	column->type = wire->type == TAP_BINLOG_TYPE_ENUM ? "enum" : "set";
	charset = tap_mysql_charset(session, column->charset ? column->charset : "utf8mb4");
	initStringInfo(&text);
	appendStringInfo(&text, "%s(", column->type);
	for (uint32 i = 0; i < wire->label_count; i++)
	{
		StringInfoData label;

		initStringInfo(&label);
		tap_mysql_charset_convert(charset, &session->mapping, wire->labels[i].data,
								  wire->labels[i].length, &label);
		appendStringInfoString(&text, i ? ",'" : "'");
		for (int j = 0; j < label.len; j++)
		{
			append_label_character(&text, label.data[j]);
		}
		appendStringInfoChar(&text, '\'');
	}
	appendStringInfoChar(&text, ')');
	column->column_type = text.data;
	return true;
}

/* The character set that the map says, NULL for bytes. */
static char *
charset_of(TapSession *session, const TapBinlogColumn *wire)
{
	const TapMysqlCollation *collation;

	if (wire->collation == 0 || wire->collation == COLLATION_BINARY)
		return NULL;
	collation = tap_mysql_collation(session, (int) wire->collation);
	return collation ? collation->charset : NULL;
}

/* A column of which only the map is known. */
static bool
column_from_map(TapSession *session, TapMysqlColumn *column,
				const TapBinlogColumn *wire, const char *name)
{
	const char *integer = integer_type(wire->type);

	memset(column, 0, sizeof(*column));
	column->name = pstrdup(name);
	column->nullable = wire->nullable;
	column->invisible = !wire->visible;
	column->charset = charset_of(session, wire);
	if (integer != NULL)
	{
		column->type = pstrdup(integer);
		column->column_type = psprintf("%s%s", integer, wire->is_unsigned ? " unsigned" : "");
	}
	else if (!simple_type(column, wire) && !label_type(session, column, wire) &&
			 !string_type(column, wire))
		return false;
	tap_mysql_resolve_column(session, column, session->server.is_mariadb);
	return true;
}

/* What the map knows better than any format that was read elsewhere. */
static void
refine_column(TapSession *session, TapMysqlColumn *column,
			  const TapBinlogColumn *wire, const TapBinlogTable *map)
{
	char	   *charset = charset_of(session, wire);

	column->nullable = wire->nullable;
	if (charset != NULL && column->charset != NULL &&
		strcmp(charset, column->charset) != 0)
	{
		column->charset = charset;
		column->collation = NULL;
	}
	if (map->has_labels && wire->label_count > 0 &&
		(column->kind == TAP_MYSQL_KIND_ENUM || column->kind == TAP_MYSQL_KIND_SET))
	{
		TapMysqlColumn labels = *column;

		if (label_type(session, &labels, wire))
		{
			tap_mysql_resolve_column(session, &labels, session->server.is_mariadb);
			for (int i = 0; i < labels.nlabels; i++)
				if (i >= column->nlabels || strcmp(labels.labels[i], column->labels[i]) != 0)
				{
					*column = labels;
					break;
				}
		}
	}
}

static const TapMysqlColumn *
column_named(const TapMysqlTable *table, const char *name)
{
	for (int i = 0; table != NULL && i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return &table->columns[i];
	return NULL;
}

/* The number of a column by another format's column, or 0. */
static AttrNumber
same_column(const TapMysqlTable *table, const TapMysqlTable *other, AttrNumber number)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, other->columns[number - 1].name) == 0)
			return (AttrNumber) (i + 1);
	return InvalidAttrNumber;
}

/* Take the key over from another format, as far as its columns are there. */
static void
inherit_key(TapMysqlTable *table, const TapMysqlTable *other)
{
	table->nkeys = 0;
	table->keys = palloc(sizeof(AttrNumber) * Max(1, other->nkeys));
	table->key_index = other->key_index;
	for (int i = 0; i < other->nkeys; i++)
	{
		AttrNumber	number = same_column(table, other, other->keys[i]);

		if (number == InvalidAttrNumber || table->columns[number - 1].nullable)
		{
			table->nkeys = 0;
			return;
		}
		table->keys[table->nkeys++] = number;
	}
}

static void
inherit_indexes(TapMysqlTable *table, const TapMysqlTable *other)
{
	table->nindexes = 0;
	table->indexes = palloc0(sizeof(TapSourceIndex) * Max(1, other->nindexes));
	for (int i = 0; i < other->nindexes; i++)
	{
		TapSourceIndex *index = &table->indexes[table->nindexes];
		bool		whole = true;

		*index = other->indexes[i];
		index->columns = palloc(sizeof(AttrNumber) * index->ncolumns);
		for (int j = 0; j < index->ncolumns; j++)
		{
			index->columns[j] = same_column(table, other, other->indexes[i].columns[j]);
			whole &= index->columns[j] != InvalidAttrNumber;
		}
		table->nindexes += whole;
	}
}

static void
set_key(TapMysqlTable *table, const TapBinlogTable *map, const TapMysqlTable *known,
		const TapMysqlTable *present)
{
	if (!map->has_primary_key)
	{
		const TapMysqlTable *from = known;

		/* FULL metadata would have named a primary key */
		if (known->key_index != NULL && strcmp(known->key_index, "PRIMARY") == 0 &&
			present != NULL)
			from = present;
		inherit_key(table, from);
		return;
	}
	table->key_index = "PRIMARY";
	table->nkeys = (int) map->key_count;
	table->keys = palloc(sizeof(AttrNumber) * Max(1, table->nkeys));
	for (int i = 0; i < table->nkeys; i++)
		table->keys[i] = (AttrNumber) (map->key_columns[i] + 1);
}

TapMysqlTable *
tap_mysql_format_by_name(TapMysqlStream *stream, TapMysqlStreamTable *entry,
						 const TapBinlogTable *map)
{
	TapSession *session = stream->session;
	const TapMysqlTable *known = entry->table;
	TapMysqlTable *present = NULL;
	TapMysqlTable *table = palloc0(sizeof(TapMysqlTable));
	bool		asked = false;

	*table = *known;
	table->ncolumns = (int) map->column_count;
	table->columns = palloc0(sizeof(TapMysqlColumn) * Max(1, table->ncolumns));
	for (int i = 0; i < table->ncolumns; i++)
	{
		const TapBinlogColumn *wire = &map->columns[i];
		char	   *name = tap_mysql_from_utf8(wire->name, wire->name_length);
		const TapMysqlColumn *column = column_named(known, name);

		if (column == NULL || !tap_mysql_column_fits(column, wire, map))
		{
			if (!asked)
				present = tap_mysql_read_table(session, &entry->name);
			asked = true;
			column = column_named(present, name);
		}
		if (column != NULL && tap_mysql_column_fits(column, wire, map))
		{
			table->columns[i] = *column;
			refine_column(session, &table->columns[i], wire, map);
		}
		else if (!column_from_map(session, &table->columns[i], wire, name))
			return NULL;
	}
	set_key(table, map, known, present);
	inherit_indexes(table, present ? present : known);
	return table;
}

TapMysqlTable *
tap_mysql_format_by_position(TapSession *session, const TapMysqlTable *known,
							 const TapBinlogTable *map)
{
	TapMysqlTable *table;

	if (known == NULL || known->ncolumns != (int) map->column_count)
		return NULL;
	table = palloc(sizeof(TapMysqlTable));
	*table = *known;
	table->columns = palloc(sizeof(TapMysqlColumn) * Max(1, table->ncolumns));
	for (int i = 0; i < table->ncolumns; i++)
	{
		table->columns[i] = known->columns[i];
		if (!tap_mysql_column_fits(&table->columns[i], &map->columns[i], map))
			return NULL;
		refine_column(session, &table->columns[i], &map->columns[i], map);
	}
	return table;
}
