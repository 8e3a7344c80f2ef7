/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_types.c
 *	  MySQL's and MariaDB's column types as PostgreSQL types.
 *
 * The mapping with its reasons is described in doc/mysql-types.md.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Longest varchar(n) of PostgreSQL; beyond it, and for n = 0, it is text. */
#define MAX_VARCHAR_LENGTH	10485760

/* How numbers in parentheses behind a type are used. */
typedef enum Arguments
{
	ARGUMENTS_NONE,
	ARGUMENTS_LENGTH,			/* (length) */
	ARGUMENTS_SCALE,			/* (fraction digits) */
	ARGUMENTS_BOTH				/* (digits, scale) */
} Arguments;

typedef struct TypeMapping
{
	const char *type;			/* information_schema.COLUMNS.DATA_TYPE */
	TapMysqlKind kind;
	Oid			pg_type;
	Oid			pg_type_unsigned;
	Arguments	arguments;
	uint8		wire;			/* usual type in the log */
	uint8		wire_other;		/* another one that is read, too */
	uint8		prefix_bytes;	/* of blobs */
} TypeMapping;

#define WIRE(name) TAP_BINLOG_TYPE_##name

static const TypeMapping mappings[] = {
	{"tinyint", TAP_MYSQL_KIND_INT, INT2OID, INT2OID, ARGUMENTS_LENGTH, WIRE(TINY), 0, 0},
	{"smallint", TAP_MYSQL_KIND_INT, INT2OID, INT4OID, ARGUMENTS_NONE, WIRE(SHORT), 0, 0},
	{"mediumint", TAP_MYSQL_KIND_INT, INT4OID, INT4OID, ARGUMENTS_NONE, WIRE(INT24), 0, 0},
	{"int", TAP_MYSQL_KIND_INT, INT4OID, INT8OID, ARGUMENTS_NONE, WIRE(LONG), 0, 0},
	{"bigint", TAP_MYSQL_KIND_INT, INT8OID, NUMERICOID, ARGUMENTS_NONE, WIRE(LONGLONG), 0, 0},
	{"decimal", TAP_MYSQL_KIND_DECIMAL, NUMERICOID, NUMERICOID, ARGUMENTS_BOTH, WIRE(NEWDECIMAL), 0, 0},
	{"float", TAP_MYSQL_KIND_FLOAT, FLOAT4OID, FLOAT4OID, ARGUMENTS_NONE, WIRE(FLOAT), 0, 0},
	{"double", TAP_MYSQL_KIND_DOUBLE, FLOAT8OID, FLOAT8OID, ARGUMENTS_NONE, WIRE(DOUBLE), 0, 0},
	{"bit", TAP_MYSQL_KIND_BIT, BITOID, BITOID, ARGUMENTS_LENGTH, WIRE(BIT), 0, 0},
	{"year", TAP_MYSQL_KIND_YEAR, INT2OID, INT2OID, ARGUMENTS_NONE, WIRE(YEAR), 0, 0},
	{"date", TAP_MYSQL_KIND_DATE, DATEOID, DATEOID, ARGUMENTS_NONE, WIRE(DATE), WIRE(NEWDATE), 0},
	{"datetime", TAP_MYSQL_KIND_DATETIME, TIMESTAMPOID, TIMESTAMPOID, ARGUMENTS_SCALE, WIRE(DATETIME2), WIRE(DATETIME), 0},
	{"timestamp", TAP_MYSQL_KIND_TIMESTAMP, TIMESTAMPTZOID, TIMESTAMPTZOID, ARGUMENTS_SCALE, WIRE(TIMESTAMP2), WIRE(TIMESTAMP), 0},
	{"time", TAP_MYSQL_KIND_TIME, INTERVALOID, INTERVALOID, ARGUMENTS_SCALE, WIRE(TIME2), WIRE(TIME), 0},
	{"char", TAP_MYSQL_KIND_STRING, VARCHAROID, VARCHAROID, ARGUMENTS_LENGTH, WIRE(STRING), WIRE(VAR_STRING), 0},
	{"varchar", TAP_MYSQL_KIND_STRING, VARCHAROID, VARCHAROID, ARGUMENTS_LENGTH, WIRE(VARCHAR), WIRE(VARCHAR_COMPRESSED), 0},
	{"tinytext", TAP_MYSQL_KIND_STRING, TEXTOID, TEXTOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 1},
	{"text", TAP_MYSQL_KIND_STRING, TEXTOID, TEXTOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 2},
	{"mediumtext", TAP_MYSQL_KIND_STRING, TEXTOID, TEXTOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 3},
	{"longtext", TAP_MYSQL_KIND_STRING, TEXTOID, TEXTOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 4},
	{"binary", TAP_MYSQL_KIND_BINARY, BYTEAOID, BYTEAOID, ARGUMENTS_LENGTH, WIRE(STRING), WIRE(VAR_STRING), 0},
	{"varbinary", TAP_MYSQL_KIND_BYTES, BYTEAOID, BYTEAOID, ARGUMENTS_LENGTH, WIRE(VARCHAR), WIRE(VARCHAR_COMPRESSED), 0},
	{"tinyblob", TAP_MYSQL_KIND_BYTES, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 1},
	{"blob", TAP_MYSQL_KIND_BYTES, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 2},
	{"mediumblob", TAP_MYSQL_KIND_BYTES, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 3},
	{"longblob", TAP_MYSQL_KIND_BYTES, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(BLOB), WIRE(BLOB_COMPRESSED), 4},
	{"enum", TAP_MYSQL_KIND_ENUM, TEXTOID, TEXTOID, ARGUMENTS_NONE, WIRE(ENUM), 0, 0},
	{"set", TAP_MYSQL_KIND_SET, TEXTOID, TEXTOID, ARGUMENTS_NONE, WIRE(SET), 0, 0},
	{"json", TAP_MYSQL_KIND_JSON, JSONBOID, JSONBOID, ARGUMENTS_NONE, WIRE(JSON), WIRE(BLOB), 0},
	{"vector", TAP_MYSQL_KIND_VECTOR, FLOAT4ARRAYOID, FLOAT4ARRAYOID, ARGUMENTS_LENGTH, WIRE(VECTOR), WIRE(VARCHAR), 0},
	{"uuid", TAP_MYSQL_KIND_UUID, UUIDOID, UUIDOID, ARGUMENTS_NONE, WIRE(STRING), 0, 0},
	{"inet4", TAP_MYSQL_KIND_INET4, INETOID, INETOID, ARGUMENTS_NONE, WIRE(STRING), 0, 0},
	{"inet6", TAP_MYSQL_KIND_INET6, INETOID, INETOID, ARGUMENTS_NONE, WIRE(STRING), 0, 0},
	{"geometry", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"point", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"linestring", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"polygon", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"multipoint", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"multilinestring", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"multipolygon", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"geometrycollection", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
	{"geomcollection", TAP_MYSQL_KIND_GEOMETRY, BYTEAOID, BYTEAOID, ARGUMENTS_NONE, WIRE(GEOMETRY), 0, 0},
};

static const TypeMapping *
find_mapping(const char *type)
{
	for (int i = 0; i < lengthof(mappings); i++)
		if (strcmp(mappings[i].type, type) == 0)
			return &mappings[i];
	return NULL;
}

/* The numbers in parentheses of a column type. */
static void
read_arguments(TapMysqlColumn *column, Arguments arguments)
{
	const char *open = strchr(column->column_type, '(');
	int			first = 0;
	int			second = 0;

	column->length = 0;
	column->scale = 0;
	if (arguments == ARGUMENTS_NONE || open == NULL)
		return;
	(void) sscanf(open, "(%d,%d", &first, &second);
	if (arguments == ARGUMENTS_SCALE)
		column->scale = first;
	else
		column->length = first;
	if (arguments == ARGUMENTS_BOTH)
		column->scale = second;
}

/* The character that a backslash and this one stand for. */
static char
unescape(char c)
{
	switch (c)
	{
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		default:
			return c;
	}
}

/* The quoted labels of an ENUM or SET type, as information_schema writes them. */
static void
read_labels(TapMysqlColumn *column)
{
	const char *p = strchr(column->column_type, '(');
	List	   *labels = NIL;
	ListCell   *cell;
	int			n = 0;

	while (p != NULL && (p = strchr(p, '\'')) != NULL)
	{
		StringInfoData label;

		initStringInfo(&label);
		for (p++; *p; p++)
		{
			if (*p == '\'' && p[1] != '\'')
				break;
			if (*p == '\'')
				p++;
			if (*p == '\\' && p[1] != '\0')
				appendStringInfoChar(&label, unescape(*++p));
			else
				appendStringInfoChar(&label, *p);
		}
		labels = lappend(labels, label.data);
		if (*p)
			p++;
	}
	column->nlabels = list_length(labels);
	column->labels = palloc(sizeof(char *) * Max(1, column->nlabels));
	foreach(cell, labels)
		column->labels[n++] = lfirst(cell);
}

static int32
numeric_typmod(int precision, int scale)
{
	return ((precision << 16) | (scale & 0x7ff)) + VARHDRSZ;
}

/* The PostgreSQL type modifier, and types that depend on the length. */
static void
set_typmod(TapMysqlColumn *column)
{
	column->pg_typmod = -1;
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_UINT_NUMERIC:
			column->pg_typmod = numeric_typmod(20, 0);
			break;
		case TAP_MYSQL_KIND_DECIMAL:
			if (column->length == 0)
				column->length = 10;
			column->pg_typmod = numeric_typmod(column->length, column->scale);
			break;
		case TAP_MYSQL_KIND_BIT:
			if (column->length == 0)
				column->length = 1;
			column->pg_typmod = column->length;
			break;
		case TAP_MYSQL_KIND_STRING:
			if (column->pg_type != VARCHAROID)
				break;
			if (column->length < 1 || column->length > MAX_VARCHAR_LENGTH)
				column->pg_type = TEXTOID;
			else
				column->pg_typmod = column->length + VARHDRSZ;
			break;
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
			column->pg_typmod = column->scale;
			break;
		case TAP_MYSQL_KIND_TIME:
			column->pg_typmod = INTERVAL_TYPMOD(column->scale, INTERVAL_FULL_RANGE);
			break;
		default:
			break;
	}
}

/* What the options change. */
static void
apply_mapping(const TapMysqlMapping *mapping, TapMysqlColumn *column)
{
	switch (column->kind)
	{
		case TAP_MYSQL_KIND_INT:
			if (mapping->tinyint1_boolean && column->length == 1 &&
				!column->is_unsigned && strcmp(column->type, "tinyint") == 0)
			{
				column->kind = TAP_MYSQL_KIND_BOOLEAN;
				column->pg_type = BOOLOID;
			}
			else if (column->pg_type == NUMERICOID)
			{
				column->kind = mapping->unsigned_bigint_wraps ?
					TAP_MYSQL_KIND_UINT : TAP_MYSQL_KIND_UINT_NUMERIC;
				if (mapping->unsigned_bigint_wraps)
					column->pg_type = INT8OID;
			}
			break;
		case TAP_MYSQL_KIND_SET:
			if (mapping->set_array)
				column->pg_type = TEXTARRAYOID;
			break;
		case TAP_MYSQL_KIND_JSON:
			column->pg_type = mapping->json_type;
			break;
		default:
			break;
	}
}

void
tap_mysql_resolve_column(TapSession *session, TapMysqlColumn *column,
						 bool is_mariadb)
{
	const TypeMapping *found = find_mapping(column->type);

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of the source has the type \"%s\", which is not known",
						column->name, column->column_type),
				 errhint("Leave the table out, or report the type.")));
	column->is_unsigned = strstr(column->column_type, "unsigned") != NULL &&
		found->kind != TAP_MYSQL_KIND_ENUM && found->kind != TAP_MYSQL_KIND_SET;
	column->kind = found->kind;
	column->pg_type = column->is_unsigned ? found->pg_type_unsigned : found->pg_type;
	read_arguments(column, found->arguments);
	if (column->kind == TAP_MYSQL_KIND_BINARY && column->length == 0)
		column->kind = TAP_MYSQL_KIND_BYTES;
	column->nlabels = 0;
	if (column->kind == TAP_MYSQL_KIND_ENUM || column->kind == TAP_MYSQL_KIND_SET)
		read_labels(column);
	apply_mapping(&session->mapping, column);
	if (column->kind == TAP_MYSQL_KIND_JSON && is_mariadb)
	{
		/* a text with a check, whose spelling is the user's */
		column->kind = TAP_MYSQL_KIND_JSON_TEXT;
		column->pg_type = JSONOID;
	}
	set_typmod(column);
}

/* ---------------------------------------------------------------------
 * Tables for the core
 * ---------------------------------------------------------------------
 */

static bool
is_key_column(const TapMysqlTable *table, int ordinal)
{
	for (int i = 0; i < table->nkeys; i++)
		if (table->keys[i] == ordinal + 1)
			return true;
	return false;
}

/* Whether the hub's column must take NULL although the source's does not. */
static bool
hub_nullable(TapSession *session, const TapMysqlTable *table, int ordinal)
{
	const TapMysqlColumn *column = &table->columns[ordinal];

	if (column->nullable)
		return true;
	if (session->mapping.zero_date != TAP_MYSQL_ZERO_DATE_NULL)
		return false;
	if (column->kind != TAP_MYSQL_KIND_DATE &&
		column->kind != TAP_MYSQL_KIND_DATETIME &&
		column->kind != TAP_MYSQL_KIND_TIMESTAMP)
		return false;
	return !is_key_column(table, ordinal);
}

char *
tap_mysql_fit_name(const char *name)
{
	char	   *fitting = pstrdup(name);

	/* as PostgreSQL's parser does, never in the middle of a character */
	truncate_identifier(fitting, (int) strlen(fitting), false);
	return fitting;
}

TapSourceTable *
tap_mysql_source_table(TapSession *session, TapMysqlTable *table)
{
	TapSourceTable *source = palloc0(sizeof(TapSourceTable));
	TupleDesc	descriptor = CreateTemplateTupleDesc(table->ncolumns);
	MemoryContext caller = CurrentMemoryContext;
	bool		own_txn = !IsTransactionState();

	/* The types are looked up in the catalog. */
	if (own_txn)
		StartTransactionCommand();
	MemoryContextSwitchTo(caller);

	source->name = table->name;
	source->descriptor = descriptor;
	source->column_comments = palloc0(sizeof(char *) * Max(1, table->ncolumns));
	source->column_types = palloc0(sizeof(char *) * Max(1, table->ncolumns));
	source->column_defaults = palloc0(sizeof(char *) * Max(1, table->ncolumns));
	for (int i = 0; i < table->ncolumns; i++)
	{
		const TapMysqlColumn *column = &table->columns[i];

		TupleDescInitEntry(descriptor, (AttrNumber) (i + 1),
						   tap_mysql_fit_name(column->name),
						   column->pg_type, column->pg_typmod, 0);
		TupleDescAttr(descriptor, i)->attnotnull = !hub_nullable(session, table, i);
		source->column_comments[i] = column->comment;
		source->column_types[i] = column->column_type;
		source->column_defaults[i] = tap_mysql_default_input(session, column);
	}
	if (own_txn)
		CommitTransactionCommand();
	MemoryContextSwitchTo(caller);

	source->nkeys = table->nkeys;
	source->keys = table->keys;
	source->nindexes = table->nindexes;
	source->indexes = table->indexes;
	source->comment = table->comment;
	source->estimated_rows = table->estimated_rows;
	source->estimated_bytes = table->estimated_bytes;
	source->definition = tap_mysql_definition_text(table);
	source->connector_data = table;
	return source;
}

TapMysqlTable *
tap_mysql_table_of(TapSession *session, TapSourceTable *source)
{
	if (source->connector_data != NULL)
		return source->connector_data;
	return tap_mysql_definition_parse(session, &source->name, source->definition);
}

void
tap_mysql_prepare_columns(TapSession *session, TapMysqlTable *table,
						  MemoryContext context)
{
	MemoryContext old;

	if (table->prepared)
		return;
	old = MemoryContextSwitchTo(context);
	for (int i = 0; i < table->ncolumns; i++)
	{
		TapMysqlColumn *column = &table->columns[i];

		if (column->kind == TAP_MYSQL_KIND_STRING ||
			column->kind == TAP_MYSQL_KIND_JSON_TEXT)
			column->conversion = tap_mysql_charset(session, column->charset ?
												   column->charset : "utf8mb4");
		column->label_values = palloc(sizeof(Datum) * Max(1, column->nlabels));
		for (int j = 0; j < column->nlabels; j++)
			column->label_values[j] = CStringGetTextDatum(column->labels[j]);
	}
	table->prepared = true;
	MemoryContextSwitchTo(old);
}

/* ---------------------------------------------------------------------
 * Columns of the log
 * ---------------------------------------------------------------------
 */

static bool
is_integer(const TypeMapping *mapping)
{
	return mapping->kind == TAP_MYSQL_KIND_INT;
}

/* The parts of the wire type that say how bytes are read. */
static bool
details_fit(const TapMysqlColumn *column, const TapBinlogColumn *wire,
			const TypeMapping *mapping)
{
	switch (mapping->kind)
	{
		case TAP_MYSQL_KIND_DECIMAL:
			return wire->precision == column->length && wire->scale == column->scale;
		case TAP_MYSQL_KIND_BIT:
			return (int) wire->max_bytes == column->length;
		case TAP_MYSQL_KIND_DATETIME:
		case TAP_MYSQL_KIND_TIMESTAMP:
		case TAP_MYSQL_KIND_TIME:
			return wire->scale == column->scale;
		case TAP_MYSQL_KIND_BINARY:
			return (int) wire->max_bytes == column->length;
		case TAP_MYSQL_KIND_UUID:
		case TAP_MYSQL_KIND_INET6:
			return wire->max_bytes == 16;
		case TAP_MYSQL_KIND_INET4:
			return wire->max_bytes == 4;
		case TAP_MYSQL_KIND_JSON:
			return wire->type == TAP_BINLOG_TYPE_JSON || wire->prefix_bytes == 4;
		default:
			return mapping->prefix_bytes == 0 ||
				mapping->prefix_bytes == wire->prefix_bytes;
	}
}

bool
tap_mysql_column_fits(const TapMysqlColumn *column, const TapBinlogColumn *wire,
					  const TapBinlogTable *map)
{
	const TypeMapping *mapping = find_mapping(column->type);
	bool		binary;

	if (mapping == NULL)
		return false;
	if (wire->type != mapping->wire &&
		(mapping->wire_other == 0 || wire->type != mapping->wire_other))
		return false;
	if (map->has_signedness && is_integer(mapping) &&
		wire->is_unsigned != column->is_unsigned)
		return false;
	binary = column->charset == NULL;
	if (map->has_collations && wire->collation != 0 &&
		(mapping->kind == TAP_MYSQL_KIND_STRING ||
		 mapping->kind == TAP_MYSQL_KIND_BYTES ||
		 mapping->kind == TAP_MYSQL_KIND_BINARY) &&
		(wire->collation == 63) != binary)
		return false;
	if (map->has_labels && column->nlabels != 0 &&
		column->nlabels != (int) wire->label_count)
		return false;
	return details_fit(column, wire, mapping);
}
