/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_echo.c
 *	  Knows transactions of the log that a publish pipeline has made.
 *
 * The first row that such a transaction changes is that of the progress table;
 * what it holds besides came from a hub.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

/*
 * Whether the progress row is one of a pipeline of this database: its
 * identity is ours but for the pipeline's number behind the last slash.
 */
static bool
is_own_row(TapMysqlStream *stream, TapBinlogReader *reader)
{
	const char *identity = stream->session->args.pipeline_identity;
	const char *slash = identity ? strrchr(identity, '/') : NULL;
	uint32		ncolumns = stream->event.u.rows.table->column_count;
	TapBinlogCell *before = palloc0(sizeof(TapBinlogCell) * ncolumns);
	TapBinlogCell *after = palloc0(sizeof(TapBinlogCell) * ncolumns);
	TapBinlogCell *cell = before;
	TapBinlogRows rows;
	Size		length;

	if (slash == NULL)
		return false;
	if (tap_binlog_rows_begin(reader, &stream->event, &rows) != TAP_BINLOG_OK ||
		tap_binlog_rows_next(&rows, before, after) != 1)
		tap_mysql_raise_binlog(stream, reader, &stream->event, tap_binlog_status(reader));
	if (stream->event.kind == TAP_BINLOG_KIND_WRITE_ROWS)
		cell = after;
	length = slash - identity + 1;
	return cell[0].state == TAP_BINLOG_CELL_VALUE && cell[0].length > length &&
		memcmp(cell[0].data, identity, length) == 0;
}

bool
tap_mysql_is_echo(TapMysqlStream *stream, TapBinlogReader *reader)
{
	const TapBinlogTable *table = stream->event.u.rows.table;
	TapMysqlTxn *txn = &stream->txn;

	if (txn->judged)
		return txn->is_echo;
	txn->judged = true;
	if (stream->session->ignores == TAP_MYSQL_IGNORE_NONE || table == NULL ||
		strcmp(table->name, TAP_MYSQL_PROGRESS_TABLE) != 0)
		return false;
	txn->is_echo = stream->session->ignores == TAP_MYSQL_IGNORE_ALL ||
		is_own_row(stream, reader);
	return txn->is_echo;
}
