/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sequence.c
 *	  Where the AUTO_INCREMENT columns of tables stand.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

List *
tap_mysql_list_sequences(TapSession *session, List *tables)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	StringInfoData sql;
	TapMysqlRows *rows;
	List	   *result = NIL;
	ListCell   *cell;

	if (tables == NIL)
		return NIL;

	/*
	 * MySQL 8 answers from statistics that may be a day old, unless told not
	 * to
	 */
	tap_mysql_execute(mysql, "/*!80000 SET SESSION information_schema_stats_expiry = 0 */");
	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, c.COLUMN_NAME, t.AUTO_INCREMENT, @@auto_increment_increment "
						   "FROM information_schema.TABLES t JOIN information_schema.COLUMNS c "
						   "ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME "
						   "WHERE c.EXTRA LIKE '%auto_increment%' AND (");
	foreach(cell, tables)
	{
		const TapTableName *name = lfirst(cell);

		appendStringInfo(&sql, "%st.TABLE_SCHEMA = %s AND t.TABLE_NAME = %s",
						 foreach_current_index(cell) > 0 ? " OR " : "",
						 tap_mysql_quote_literal(name->schema),
						 tap_mysql_quote_literal(name->name));
	}
	appendStringInfoChar(&sql, ')');
	rows = tap_mysql_query(mysql, sql.data);
	for (int i = 0; i < rows->nrows; i++)
	{
		TapSourceSequence *sequence = palloc0(sizeof(TapSourceSequence));
		const char *next = tap_mysql_value(rows, i, 3);

		sequence->table.schema = pstrdup(tap_mysql_value(rows, i, 0));
		sequence->table.name = pstrdup(tap_mysql_value(rows, i, 1));
		sequence->column = pstrdup(tap_mysql_value(rows, i, 2));
		sequence->last_value = next ? (int64) Min(strtoull(next, NULL, 10), PG_INT64_MAX) : 1;
		sequence->is_next = sequence->last_value <= 1;
		if (!sequence->is_next)
			sequence->last_value--;
		sequence->start = sequence->minimum = 1;
		sequence->maximum = PG_INT64_MAX;
		sequence->increment = strtoll(tap_mysql_value(rows, i, 4), NULL, 10);
		result = lappend(result, sequence);
	}
	return result;
}
