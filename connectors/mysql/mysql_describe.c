/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_describe.c
 *	  A change as JSON without converting its values, for dead letters and
 *	  messages; and whether a part of the log touches a table.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

/* Longer values are cut in what is printed. */
#define MAX_SHOWN_BYTES		(64 * 1024)

/* Bytes as text where they are text, else in hexadecimal. */
static void
append_bytes(StringInfo out, const char *data, Size length)
{
	Size		shown = Min(length, MAX_SHOWN_BYTES);

	if (memchr(data, '\0', shown) == NULL &&
		pg_verify_mbstr(GetDatabaseEncoding(), data, (int) shown, true))
	{
		escape_json(out, pnstrdup(data, shown));
		return;
	}
	appendStringInfoString(out, "\"\\\\x");
	for (Size i = 0; i < shown; i++)
		appendStringInfo(out, "%02x", (unsigned char) data[i]);
	appendStringInfoChar(out, '"');
}

static bool
integer_wire(uint8 type)
{
	return type == TAP_BINLOG_TYPE_TINY || type == TAP_BINLOG_TYPE_SHORT ||
		type == TAP_BINLOG_TYPE_INT24 || type == TAP_BINLOG_TYPE_LONG ||
		type == TAP_BINLOG_TYPE_LONGLONG;
}

static bool
temporal_wire(uint8 type)
{
	return type == TAP_BINLOG_TYPE_DATE || type == TAP_BINLOG_TYPE_NEWDATE ||
		type == TAP_BINLOG_TYPE_TIME || type == TAP_BINLOG_TYPE_TIME2 ||
		type == TAP_BINLOG_TYPE_DATETIME || type == TAP_BINLOG_TYPE_DATETIME2 ||
		type == TAP_BINLOG_TYPE_TIMESTAMP || type == TAP_BINLOG_TYPE_TIMESTAMP2;
}

static void
append_cell(StringInfo out, const TapMysqlColumn *column,
			const TapBinlogColumn *wire, const TapBinlogCell *cell)
{
	char		text[TAP_BINLOG_DECIMAL_SIZE];
	uint32_t	length;
	int64_t		number;
	uint64_t	magnitude;
	double		real;
	float		single;
	TapBinlogTime time;

	if (cell->state == TAP_BINLOG_CELL_NULL)
		appendStringInfoString(out, "null");
	else if (integer_wire(wire->type) && column->is_unsigned &&
			 tap_binlog_get_uint(cell->data, cell->length, &magnitude))
		appendStringInfo(out, UINT64_FORMAT, (uint64) magnitude);
	else if (integer_wire(wire->type) &&
			 tap_binlog_get_int(cell->data, cell->length, &number))
		appendStringInfo(out, INT64_FORMAT, (int64) number);
	else if ((wire->type == TAP_BINLOG_TYPE_ENUM || wire->type == TAP_BINLOG_TYPE_SET) &&
			 tap_binlog_get_uint(cell->data, cell->length, &magnitude))
		appendStringInfo(out, UINT64_FORMAT, (uint64) magnitude);
	else if (wire->type == TAP_BINLOG_TYPE_NEWDECIMAL &&
			 tap_binlog_get_decimal(cell->data, cell->length, wire->precision,
									wire->scale, text, &length))
		appendStringInfo(out, "%s", text);
	else if (wire->type == TAP_BINLOG_TYPE_DOUBLE &&
			 tap_binlog_get_double(cell->data, cell->length, &real))
		appendStringInfo(out, "\"%.17g\"", real);
	else if (wire->type == TAP_BINLOG_TYPE_FLOAT &&
			 tap_binlog_get_float(cell->data, cell->length, &single))
		appendStringInfo(out, "\"%.9g\"", single);
	else if (temporal_wire(wire->type) &&
			 tap_binlog_get_time(wire, cell->data, cell->length, &time))
	{
		length = tap_binlog_format_time(wire->type, wire->scale, &time, text);
		appendStringInfo(out, "\"%.*s\"", (int) length, text);
	}
	else
		append_bytes(out, (const char *) cell->data, cell->length);
}

static void
append_image(StringInfo out, const char *label, const TapMysqlStream *stream,
			 const TapBinlogCell *cells)
{
	const TapMysqlMap *map = stream->map;
	const char *separator = "";

	appendStringInfo(out, ", \"%s\": {", label);
	for (int i = 0; i < map->natts; i++)
	{
		const TapBinlogCell *cell = &cells[map->wire[i]];

		if (cell->state == TAP_BINLOG_CELL_ABSENT)
			continue;
		appendStringInfoString(out, separator);
		separator = ", ";
		escape_json(out, map->table->table->columns[i].name);
		appendStringInfoString(out, ": ");
		append_cell(out, &map->table->table->columns[i],
					&stream->rows.table->columns[map->wire[i]], cell);
	}
	appendStringInfoChar(out, '}');
}

char *
tap_mysql_describe_event(TapSession *session)
{
	TapMysqlStream *stream = session->stream;
	StringInfoData out;

	initStringInfo(&out);
	if (stream == NULL || stream->last_kind != TAP_EVENT_CHANGE || stream->map == NULL)
	{
		appendStringInfoString(&out, "{}");
		return out.data;
	}
	appendStringInfoString(&out, "{\"table\": ");
	escape_json(&out, tap_mysql_table_text(&stream->map->table->name));
	appendStringInfo(&out, ", \"op\": \"%s\"",
					 stream->rows.kind == TAP_BINLOG_KIND_WRITE_ROWS ? "insert" :
					 stream->rows.kind == TAP_BINLOG_KIND_UPDATE_ROWS ? "update" : "delete");
	if (stream->rows.kind != TAP_BINLOG_KIND_WRITE_ROWS)
		append_image(&out, "old", stream, stream->map->before);
	if (stream->rows.kind != TAP_BINLOG_KIND_DELETE_ROWS)
		append_image(&out, "new", stream, stream->map->after);
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* ---------------------------------------------------------------------
 * Whether the log touches a table
 * ---------------------------------------------------------------------
 */

/* Answers for the one table that is looked for. */
static void *
only_table(void *core_data, const TapTableName *name, bool created,
		   const char **definition)
{
	const TapTableName *wanted = core_data;

	*definition = NULL;
	if (strcmp(name->schema, wanted->schema) != 0 ||
		strcmp(name->name, wanted->name) != 0)
		return NULL;
	return core_data;
}

/* Read on until the table is met (true) or the position is reached (false). */
static bool
read_until(TapSession *session, const char *to)
{
	TapEvent	event;
	TapWait		wait;

	for (;;)
	{
		TapEventKind kind = tap_mysql_stream_next(session, &event);
		TapPositionOrder order;

		CHECK_FOR_INTERRUPTS();
		if (kind == TAP_EVENT_BEGIN)
			return tap_mysql_txn_covered(session, to);
		if (kind != TAP_EVENT_NONE && kind != TAP_EVENT_HEARTBEAT)
			continue;
		order = tap_mysql_position_compare(to, tap_mysql_stream_position(session));
		if (order == TAP_POSITION_EQUAL || order == TAP_POSITION_BEFORE)
			return false;
		if (kind == TAP_EVENT_HEARTBEAT)
			continue;
		tap_mysql_stream_wait(session, &wait);
		(void) tap_mysql_core->wait_socket(wait.socket, wait.events, wait.timeout_ms);
	}
}

bool
tap_mysql_log_touches(TapSession *session, const char *from, const char *to,
					  const TapTableName *table)
{
	TapSessionArgs args = session->args;
	TapStreamArgs stream_args = {0};
	TapSession *reader;
	volatile bool touched = true;

	args.context = AllocSetContextCreate(CurrentMemoryContext,
										 "tapdata mysql log window",
										 ALLOCSET_DEFAULT_SIZES);
	reader = tap_mysql_open(&args);
	PG_TRY();
	{
		stream_args.position = from;
		stream_args.table_followed = only_table;
		stream_args.core_data = unconstify(TapTableName *, table);
		tap_mysql_stream_start(reader, &stream_args);
		touched = read_until(reader, to);
	}
	PG_FINALLY();
	{
		tap_mysql_close(reader);
	}
	PG_END_TRY();
	MemoryContextDelete(args.context);
	return touched;
}
