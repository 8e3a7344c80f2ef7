/*-------------------------------------------------------------------------
 *
 * connectors/http/http_clickhouse_table.c
 *	  Tables and types of ClickHouse.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_clickhouse.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "utils/date.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#define MOST_DECIMAL_DIGITS 76

/* ---------------------------------------------------------------------
 * Types
 * ---------------------------------------------------------------------
 */

/* Digits of numeric(p,s), else false. */
static bool
decimal_digits(int32 typmod, int *precision, int *scale)
{
	if (typmod < (int32) VARHDRSZ)
		return false;
	*precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	*scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	return *precision <= MOST_DECIMAL_DIGITS && *scale >= 0 && *scale <= *precision;
}

/* The type that holds all values of a column's, as String where none does. */
static const char *
column_type(Oid type, int32 typmod)
{
	int			precision;
	int			scale;

	switch (type)
	{
		case BOOLOID:
			return "Bool";
		case INT2OID:
			return "Int16";
		case INT4OID:
			return "Int32";
		case INT8OID:
			return "Int64";
		case OIDOID:
			return "UInt32";
		case FLOAT4OID:
			return "Float32";
		case FLOAT8OID:
			return "Float64";
		case UUIDOID:
			return "UUID";
		case DATEOID:
			return "Date32";
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return "DateTime64(6, 'UTC')";
		case NUMERICOID:
			return decimal_digits(typmod, &precision, &scale) ?
				psprintf("Decimal(%d, %d)", precision, scale) : "String";
		default:
			return "String";
	}
}

static bool
is_key(const TapSourceTable *table, AttrNumber column)
{
	for (int i = 0; i < table->nkeys; i++)
	{
		if (table->keys[i] == column)
			return true;
	}
	return false;
}

static void
append_column(StringInfo out, const TapSourceTable *table, const TapClickhouseTable *target,
			  int column)
{
	const TapHttpColumn *given = &target->columns[column];
	const char *mapped = column_type(given->type, given->typmod);

	tap_clickhouse_append_name(out, given->name);

	/* a hub column's NOT NULL can be dropped later; a key's cannot */
	if (is_key(table, column + 1))
		appendStringInfo(out, " %s", mapped);
	else
		appendStringInfo(out, " Nullable(%s)", mapped);
}

/* DateTime64(6) and Date32 clip what is outside of 1900 to 2299. */
static bool
is_in_range(Oid type, Datum value)
{
	static const int first_day = -36524;	/* 1900-01-01, from 2000-01-01 */
	static const int last_day = 109572; /* 2299-12-31 */

	if (type == DATEOID)
		return DatumGetDateADT(value) >= first_day && DatumGetDateADT(value) <= last_day;
	return DatumGetTimestamp(value) >= (Timestamp) first_day * USECS_PER_DAY &&
		DatumGetTimestamp(value) < (Timestamp) (last_day + 1) * USECS_PER_DAY;
}

char *
tap_clickhouse_misfit(const TapClickhouseTable *target, const TapOutChange *change)
{
	const TapRowImage *row = change->new_row.slot ? &change->new_row : &change->old_row;
	TupleDesc	descriptor = change->table->descriptor;

	for (int i = 0; i < descriptor->natts; i++)
	{
		bool		isnull;
		Datum		value;
		Oid			type = target->columns[i].type;

		if (type != DATEOID && type != TIMESTAMPOID && type != TIMESTAMPTZOID)
			continue;
		if (row->present != NULL && !row->present[i])
			continue;
		value = slot_getattr(row->slot, i + 1, &isnull);
		if (!isnull && !is_in_range(type, value))
			return psprintf("the value of column \"%s\" is not between the years 1900 and 2299, which is all that ClickHouse can hold",
							NameStr(TupleDescAttr(descriptor, i)->attname));
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Statements
 * ---------------------------------------------------------------------
 */

void
tap_clickhouse_append_name(StringInfo out, const char *name)
{
	appendStringInfoChar(out, '`');
	for (const char *c = name; *c != '\0'; c++)
	{
		if (*c == '`' || *c == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '`');
}

static void
append_literal(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '\'');
	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '\'' || *c == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '\'');
}

static char *
create_statement(const TapSourceTable *table, const TapClickhouseTable *target)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "CREATE TABLE IF NOT EXISTS ");
	tap_clickhouse_append_name(&sql, target->table);
	appendStringInfoString(&sql, " (");
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		if (target->columns[i].name == NULL)
			continue;
		append_column(&sql, table, target, i);
		appendStringInfoString(&sql, ", ");
	}
	tap_clickhouse_append_name(&sql, target->version);
	appendStringInfoString(&sql, " UInt64, ");
	tap_clickhouse_append_name(&sql, target->deleted);
	appendStringInfoString(&sql, " UInt8) ENGINE = ReplacingMergeTree(");
	tap_clickhouse_append_name(&sql, target->version);
	appendStringInfoString(&sql, ", ");
	tap_clickhouse_append_name(&sql, target->deleted);
	appendStringInfoString(&sql, ") ORDER BY (");
	for (int i = 0; i < table->nkeys; i++)
	{
		appendStringInfoString(&sql, i > 0 ? ", " : "");
		tap_clickhouse_append_name(&sql, target->columns[table->keys[i] - 1].name);
	}
	appendStringInfoString(&sql, ") SETTINGS non_replicated_deduplication_window = 100");
	return sql.data;
}

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

/* Whether a line of text is the name; both as the server escapes them. */
static bool
has_line(const char *lines, const char *name)
{
	Size		length = strlen(name);

	for (const char *line = lines; *line != '\0';)
	{
		const char *end = strchrnul(line, '\n');

		if (end - line == length && memcmp(line, name, length) == 0)
			return true;
		line = (*end == '\n') ? end + 1 : end;
	}
	return false;
}

static void
check_engine(TapSession *session, const TapClickhouseTable *target)
{
	StringInfoData sql;
	char	   *engine;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = ");
	append_literal(&sql, target->table);
	appendStringInfoString(&sql, " FORMAT TabSeparatedRaw");
	engine = tap_clickhouse_run(session, sql.data, "look for the target table");
	engine[strcspn(engine, "\n")] = '\0';
	if (strstr(engine, "ReplacingMergeTree") != NULL || strcmp(engine, "Distributed") == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the target of table %s.%s cannot replace rows", target->name.schema,
					target->name.name),
			 errdetail("The engine of the table in ClickHouse is \"%s\".", engine),
			 errhint("Drop the table in ClickHouse so that it is created anew, or create it with ENGINE = ReplacingMergeTree(version, deleted).")));
}

static char *
existing_columns(TapSession *session, const TapClickhouseTable *target)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = ");
	append_literal(&sql, target->table);
	appendStringInfoString(&sql, " FORMAT TabSeparatedRaw");
	return tap_clickhouse_run(session, sql.data, "read the columns of the target table");
}

static void
report_missing(const TapClickhouseTable *target, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the target of table %s.%s has no column \"%s\"", target->name.schema,
					target->name.name, column),
			 errhint("Add the column to the table in ClickHouse, or see the options version_column, deleted_column and ddl.")));
}

static void
add_column(TapSession *session, const TapSourceTable *table, const TapClickhouseTable *target,
		   int column)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "ALTER TABLE ");
	tap_clickhouse_append_name(&sql, target->table);
	appendStringInfoString(&sql, " ADD COLUMN IF NOT EXISTS ");
	append_column(&sql, table, target, column);
	(void) tap_clickhouse_run(session, sql.data, "add a column to the target table");
}

static void
check_columns(TapSession *session, const TapSourceTable *table, const TapClickhouseTable *target)
{
	const char *ddl = tap_http_core->option_text(session->args.pipeline_options, "ddl");
	char	   *columns = existing_columns(session, target);

	if (!has_line(columns, target->version))
		report_missing(target, target->version);
	if (!has_line(columns, target->deleted))
		report_missing(target, target->deleted);
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		const char *name = target->columns[i].name;

		if (name == NULL || has_line(columns, name))
			continue;
		if (strcmp(ddl, "apply") == 0 && !is_key(table, i + 1))
			add_column(session, table, target, i);
		else if (strcmp(ddl, "ignore") != 0 || is_key(table, i + 1))
			report_missing(target, name);
	}
}

/* The connector's own columns must not be the hub table's. */
static void
check_names(const TapSourceTable *table, const TapClickhouseTable *target)
{
	for (int i = 0; i < table->descriptor->natts; i++)
	{
		const char *name = target->columns[i].name;

		if (name == NULL ||
			(strcmp(name, target->version) != 0 && strcmp(name, target->deleted) != 0))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("table %s.%s has a column \"%s\" itself", target->name.schema,
						target->name.name, name),
				 errhint("Set the options \"version_column\" and \"deleted_column\" to names that the table does not have.")));
	}
}

void
tap_clickhouse_prepare(TapSession *session, const TapSourceTable *table,
					   const TapClickhouseTable *target, bool known)
{
	check_names(table, target);
	if (known && existing_columns(session, target)[0] == '\0')
		tap_http_raise_gone("table", target->table, &target->name);
	(void) tap_clickhouse_run(session, create_statement(table, target), "create the target table");
	check_engine(session, target);
	check_columns(session, table, target);
}
