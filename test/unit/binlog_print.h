/*-------------------------------------------------------------------------
 *
 * test/unit/binlog_print.h
 *	  Events and rows of a binary log as lines of text, for binlog_unit.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BINLOG_PRINT_H
#define BINLOG_PRINT_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "binlog_private.h"
#include "gtid.h"

static void print_event(TapBinlogReader *reader, const uint8_t *packet, size_t length,
						bool inner, TapBinlogBuffer *out);

static void
put(TapBinlogBuffer *out, const char *format,...)
{
	char		text[1024];
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	tap_binlog_buffer_append(out, text, strlen(text));
}

static void
put_string(TapBinlogBuffer *out, TapBinlogString string)
{
	tap_binlog_buffer_append(out, string.data, string.length);
}

static void
put_hex(TapBinlogBuffer *out, const uint8_t *data, uint32_t length)
{
	put(out, "x");
	for (uint32_t i = 0; i < length; i++)
		put(out, "%02x", data[i]);
}

/* The column's bytes; a long run of one byte is told by its length. */
static void
put_bytes(const TapBinlogColumn *column, const uint8_t *data, uint32_t length,
		  TapBinlogBuffer *out)
{
	if (length > 64)
		put(out, "%u*%c", length, data[length / 2]);
	else if (column->collation == 63)
		put_hex(out, data, length);
	else
		put(out, "'%.*s'", (int) length, (const char *) data);
}

static void
put_value(const TapBinlogColumn *column, const uint8_t *data, uint32_t length,
		  TapBinlogBuffer *out)
{
	char		text[128];
	uint32_t	text_length;
	int64_t		number = 0;
	uint64_t	bits = 0;
	int			year = 0;
	TapBinlogTime time;

	switch (column->type)
	{
		case TAP_BINLOG_TYPE_LONG:
		case TAP_BINLOG_TYPE_LONGLONG:
			tap_binlog_get_int(data, length, &number);
			tap_binlog_get_uint(data, length, &bits);
			if (column->is_unsigned)
				put(out, "%" PRIu64, bits);
			else
				put(out, "%" PRId64, number);
			break;
		case TAP_BINLOG_TYPE_YEAR:
			tap_binlog_get_year(data, length, &year);
			put(out, "%d", year);
			break;
		case TAP_BINLOG_TYPE_BIT:
			tap_binlog_get_bit(data, length, &bits);
			put(out, "bit %" PRIu64, bits);
			break;
		case TAP_BINLOG_TYPE_ENUM:
		case TAP_BINLOG_TYPE_SET:
			tap_binlog_get_uint(data, length, &bits);
			put(out, "#%" PRIu64, bits);
			break;
		case TAP_BINLOG_TYPE_NEWDECIMAL:
			tap_binlog_get_decimal(data, length, column->precision, column->scale, text,
								   &text_length);
			put(out, "%s", text);
			break;
		case TAP_BINLOG_TYPE_TIME2:
		case TAP_BINLOG_TYPE_DATETIME2:
		case TAP_BINLOG_TYPE_TIMESTAMP2:
			tap_binlog_get_time(column, data, length, &time);
			tap_binlog_format_time(column->type, column->scale, &time, text);
			put(out, "%s", text);
			break;
		case TAP_BINLOG_TYPE_JSON:
			tap_binlog_json_text(data, length, out);
			break;
		default:
			put_bytes(column, data, length, out);
			break;
	}
}

static void
put_diffs(const TapBinlogCell *before, const TapBinlogCell *after, TapBinlogBuffer *out)
{
	TapBinlogBuffer old;

	tap_binlog_buffer_init(&old, 65536, NULL);
	tap_binlog_json_text(before->data, before->length, &old);
	put(out, "patched ");
	tap_binlog_json_apply(old.data, old.length, after->data, after->length, out);
	tap_binlog_buffer_free(&old);
}

static void
put_cell(TapBinlogReader *reader, const TapBinlogColumn *column, const TapBinlogCell *cell,
		 const TapBinlogCell *before, TapBinlogBuffer *out)
{
	TapBinlogBuffer plain;
	const uint8_t *data = cell->data;
	uint32_t	length = cell->length;

	switch ((TapBinlogCellState) cell->state)
	{
		case TAP_BINLOG_CELL_ABSENT:
			put(out, "-");
			return;
		case TAP_BINLOG_CELL_NULL:
			put(out, "NULL");
			return;
		case TAP_BINLOG_CELL_PARTIAL_JSON:
			put_diffs(before, cell, out);
			return;
		case TAP_BINLOG_CELL_VALUE:
			break;
	}
	tap_binlog_buffer_init(&plain, 65536, NULL);
	if (!column->compressed ||
		tap_binlog_inflate_column(reader, cell, &plain, &data, &length) == TAP_BINLOG_OK)
		put_value(column, data, length, out);
	tap_binlog_buffer_free(&plain);
}

static void
put_rows(TapBinlogReader *reader, const TapBinlogEvent *event, TapBinlogBuffer *out)
{
	TapBinlogCell cells[2][32];
	TapBinlogRows rows;
	int			result;

	tap_binlog_rows_begin(reader, event, &rows);
	while ((result = tap_binlog_rows_next(&rows, cells[0], cells[1])) == 1)
	{
		for (int image = 0; image < 2; image++)
		{
			if ((image ? event->u.rows.after_columns : event->u.rows.before_columns) == NULL)
				continue;
			put(out, image ? " +(" : " -(");
			for (uint32_t i = 0; i < rows.table->column_count; i++)
			{
				put(out, i ? "|" : "");
				put_cell(reader, &rows.table->columns[i], &cells[image][i], &cells[0][i], out);
			}
			put(out, ")");
		}
	}
	if (result < 0)
		put(out, " error: %s", tap_binlog_message(reader));
}

static void
put_table(const TapBinlogTable *table, TapBinlogBuffer *out)
{
	put(out, " %s.%s", table->schema, table->name);
	for (uint32_t i = 0; i < table->column_count; i++)
	{
		const TapBinlogColumn *column = &table->columns[i];

		put(out, "%s%s %s", i ? ", " : " (", column->name, tap_binlog_type_name(column->type));
		if (column->is_unsigned && column->type != TAP_BINLOG_TYPE_YEAR)
			put(out, " unsigned");
		if (column->collation)
			put(out, " collation %u", column->collation);
		for (uint32_t j = 0; j < column->label_count; j++)
		{
			put(out, " ");
			put_string(out, column->labels[j]);
		}
	}
	put(out, ") key");
	for (uint32_t i = 0; i < table->key_count; i++)
		put(out, " %u", table->key_columns[i]);
}

static void
put_payload(TapBinlogReader *reader, const TapBinlogEvent *event, TapBinlogBuffer *out)
{
	TapBinlogPayload *payload;
	const uint8_t *packet;
	size_t		length;

	if (tap_binlog_payload_open(reader, event, &payload) != TAP_BINLOG_OK)
		return;
	while (tap_binlog_payload_next(payload, &packet, &length) == 1)
	{
		put(out, "\n  ");
		print_event(reader, packet, length, true, out);
	}
	tap_binlog_payload_close(payload);
}

static void
put_gtid_set(TapBinlogString encoded, TapBinlogBuffer *out)
{
	TapGtidSet	set = {0};
	char	   *text;

	if (tap_gtid_set_decode((const uint8_t *) encoded.data, encoded.length, &set) == TAP_GTID_OK &&
		(text = tap_gtid_set_text(&set)) != NULL)
	{
		put(out, " %s", text);
		free(text);
	}
	tap_gtid_set_free(&set);
}

static void
put_maria_gtid(const TapBinlogMariaGtid *gtid, TapBinlogBuffer *out)
{
	put(out, " %u-%u-%" PRIu64 " flags %02x", gtid->domain_id, gtid->server_id, gtid->sequence,
		gtid->flags);
	if (gtid->alter_sequence)
		put(out, " alter %" PRIu64, gtid->alter_sequence);
	if (gtid->xid.data)
		put(out, " xid %.*s/%u", gtid->xid.gtrid_length + gtid->xid.bqual_length,
			(const char *) gtid->xid.data, gtid->xid.format_id);
}

static void
put_body(TapBinlogReader *reader, const TapBinlogEvent *event, TapBinlogBuffer *out)
{
	char		uuid[37];
	uint32_t	domain_id;
	uint32_t	server_id;
	uint64_t	sequence;

	switch (event->kind)
	{
		case TAP_BINLOG_KIND_FORMAT_DESCRIPTION:
			put(out, " %s checksum %d", event->u.format.server_version, event->u.format.checksum);
			break;
		case TAP_BINLOG_KIND_ROTATE:
			put(out, " to position %" PRIu64 " of ", event->u.rotate.position);
			put_string(out, event->u.rotate.file);
			break;
		case TAP_BINLOG_KIND_QUERY:
			put(out, " %s: ", event->u.query.schema.data);
			put_string(out, event->u.query.statement);
			break;
		case TAP_BINLOG_KIND_GTID:
			tap_gtid_uuid_text(event->u.gtid.uuid, uuid);
			put(out, " %.8s:%s:%" PRIu64 " %" PRIu64 " bytes", uuid, event->u.gtid.tag,
				event->u.gtid.gno, event->u.gtid.transaction_bytes);
			break;
		case TAP_BINLOG_KIND_MARIADB_GTID:
			put_maria_gtid(&event->u.maria_gtid, out);
			break;
		case TAP_BINLOG_KIND_MARIADB_GTID_LIST:
			tap_binlog_gtid_list_get(&event->u.gtid_list, 0, &domain_id, &server_id, &sequence);
			put(out, " %u-%u-%" PRIu64, domain_id, server_id, sequence);
			break;
		case TAP_BINLOG_KIND_PREVIOUS_GTIDS:
			put_gtid_set(event->u.previous_gtids, out);
			break;
		case TAP_BINLOG_KIND_TABLE_MAP:
			put_table(event->u.table, out);
			break;
		case TAP_BINLOG_KIND_WRITE_ROWS:
		case TAP_BINLOG_KIND_UPDATE_ROWS:
		case TAP_BINLOG_KIND_DELETE_ROWS:
			put_rows(reader, event, out);
			break;
		case TAP_BINLOG_KIND_XID:
			put(out, " %" PRIu64, event->u.xid);
			break;
		case TAP_BINLOG_KIND_XA_PREPARE:
			put(out, " %d %.*s/%u", event->u.xa_prepare.one_phase,
				event->u.xa_prepare.xid.gtrid_length + event->u.xa_prepare.xid.bqual_length,
				(const char *) event->u.xa_prepare.xid.data, event->u.xa_prepare.xid.format_id);
			break;
		case TAP_BINLOG_KIND_ROWS_QUERY:
			put(out, " ");
			put_string(out, event->u.rows_query);
			break;
		case TAP_BINLOG_KIND_PAYLOAD:
			put(out, " of %" PRIu64 " bytes", event->u.payload.uncompressed_bytes);
			put_payload(reader, event, out);
			break;
		default:
			break;
	}
}

static void
print_event(TapBinlogReader *reader, const uint8_t *packet, size_t length, bool inner,
			TapBinlogBuffer *out)
{
	TapBinlogEvent event;
	TapBinlogStatus status = inner ? tap_binlog_parse_inner(reader, packet, length, &event)
	: tap_binlog_parse_event(reader, packet, length, &event);

	put(out, "%s", tap_binlog_event_name(event.type));
	if (status != TAP_BINLOG_OK)
		put(out, " error: %s", tap_binlog_message(reader));
	else
		put_body(reader, &event, out);
}

#endif							/* BINLOG_PRINT_H */
