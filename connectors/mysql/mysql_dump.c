/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_dump.c
 *	  Asks the server for its log, as a replica does.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_stream.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define COM_BINLOG_DUMP_GTID_NUMBER		0x1e
#define DUMP_FLAG_THROUGH_GTID			0x04
/* How long a server may take to count a transaction that it has sent. */
#define EXECUTED_WAIT_SECONDS			3

#define FIRST_OFFSET					4

/*
 * An id that no other replica has: by the pipeline and by the process, since a
 * pipeline has several streams while it catches up.  An id that was asked for
 * is the pipeline's own stream's alone: of two streams with one id the server
 * ends the older.
 */
static uint32
server_id(TapSession *session)
{
	int64		parts[] = {session->args.pipeline_seed, MyProcPid};
	uint64		hash;

	if (tap_mysql_core->option_given(session->args.options, "server_id") &&
		session->args.purpose == TAP_PURPOSE_STREAM)
		return (uint32) tap_mysql_core->option_int(session->args.options, "server_id");
	hash = hash_bytes_extended((unsigned char *) parts, sizeof(parts), 0);
	return 1000 + (uint32) (hash % (PG_UINT32_MAX - 1000));
}

/* Variables of the session that the server's dump thread looks at. */
static void
set_dump_variables(TapMysqlStream *stream)
{
	TapSession *session = stream->session;
	bool		is_mariadb = session->server.is_mariadb;
	int64		heartbeat = tap_mysql_core->option_int(session->args.options, "heartbeat");
	char	   *nanoseconds = psprintf(INT64_FORMAT, heartbeat * INT64CONST(1000000000));
	uint32		id = server_id(session);

	stream->heartbeat_ms = (long) heartbeat * 1000;
	tap_mysql_execute(stream->mysql,
					  "SET @master_binlog_checksum = @@global.binlog_checksum, "
					  "@source_binlog_checksum = @@global.binlog_checksum");
	tap_mysql_execute(stream->mysql,
					  psprintf("SET @master_heartbeat_period = %s, @source_heartbeat_period = %s",
							   nanoseconds, nanoseconds));
	if (!is_mariadb)
	{
		tap_mysql_execute(stream->mysql,
						  psprintf("SET @slave_uuid = '%08x-7461-7064-6174-%012x', @replica_uuid = @slave_uuid",
								   id, id));
		return;
	}
	tap_mysql_execute(stream->mysql, "SET @mariadb_slave_capability = 4");
	if (stream->position.kind == TAP_MYSQL_POSITION_MARIADB)
		tap_mysql_execute(stream->mysql,
						  psprintf("SET @slave_connect_state = '%s', @slave_gtid_strict_mode = 0, "
								   "@slave_gtid_ignore_duplicates = 0",
								   tap_mysql_position_text(&stream->position)));
}

static void
append_little(StringInfo out, uint64 value, int bytes)
{
	for (int i = 0; i < bytes; i++, value >>= 8)
		appendStringInfoCharMacro(out, (char) (value & 0xFF));
}

static void
send_dump(TapMysqlStream *stream, int command, StringInfo packet)
{
	if (stream->mysql->methods->db_command(stream->mysql,
										   (enum enum_server_command) command,
										   packet->data, packet->len, 1, NULL) != 0)
		tap_mysql_raise(stream->mysql, "ask the source for its log");
	tap_mysql_check_interrupts();
}

static void
dump_gtid(TapMysqlStream *stream)
{
	StringInfoData packet;
	uint8_t    *set = NULL;
	size_t		length = 0;

	if (tap_gtid_set_encode(&stream->position.gtids, &set, &length) != TAP_GTID_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	initStringInfo(&packet);
	append_little(&packet, DUMP_FLAG_THROUGH_GTID, 2);
	append_little(&packet, server_id(stream->session), 4);
	append_little(&packet, 0, 4);
	append_little(&packet, FIRST_OFFSET, 8);
	append_little(&packet, length, 4);
	appendBinaryStringInfo(&packet, (char *) set, (int) length);
	free(set);
	send_dump(stream, COM_BINLOG_DUMP_GTID_NUMBER, &packet);
}

/* By file and offset; offsets beyond 4 GB need the newer command. */
static void
dump_file(TapMysqlStream *stream, const char *file, uint64 offset)
{
	StringInfoData packet;

	initStringInfo(&packet);
	if (offset <= PG_UINT32_MAX)
	{
		append_little(&packet, offset, 4);
		append_little(&packet, 0, 2);
		append_little(&packet, server_id(stream->session), 4);
		appendStringInfoString(&packet, file);
		send_dump(stream, COM_BINLOG_DUMP, &packet);
		return;
	}
	append_little(&packet, 0, 2);
	append_little(&packet, server_id(stream->session), 4);
	append_little(&packet, strlen(file), 4);
	appendStringInfoString(&packet, file);
	append_little(&packet, offset, 8);
	append_little(&packet, 0, 4);
	send_dump(stream, COM_BINLOG_DUMP_GTID_NUMBER, &packet);
}

static void
check_position_kind(TapMysqlStream *stream)
{
	const TapMysqlServer *server = &stream->session->server;
	TapMysqlPositionKind kind = stream->position.kind;

	if ((server->is_mariadb && kind == TAP_MYSQL_POSITION_MARIADB) ||
		(!server->is_mariadb && kind == TAP_MYSQL_POSITION_GTID && server->gtid) ||
		(!server->is_mariadb && kind == TAP_MYSQL_POSITION_FILE))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the source cannot continue from position \"%s\"", stream->args.position),
			 errdetail("The source is %s %s with GTIDs %s.",
					   server->is_mariadb ? "MariaDB" : "MySQL", server->version_text,
					   server->gtid ? "on" : "off"),
			 errhint("Point the connection to a server of the same replication topology, or copy the tables again with tapdata.resync().")));
}

/*
 * A server that lacks transactions which the hub has would go on without a
 * word, unless they are its own: MySQL looks for those of its own UUID alone.
 * A transaction may be sent a moment before the server counts it as executed.
 */
static void
check_history(TapMysqlStream *stream)
{
	char	   *position;
	char	   *missing;

	if (stream->position.kind != TAP_MYSQL_POSITION_GTID)
		return;
	position = tap_mysql_position_text(&stream->position);
	missing = tap_mysql_query_value(stream->mysql,
									psprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', %d)",
											 position, EXECUTED_WAIT_SECONDS));
	if (missing == NULL || strcmp(missing, "0") == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the pipeline has seen transactions that the source does not have"),
			 errdetail("The pipeline stands at %s, the source at %s.", position,
					   tap_mysql_query_value(stream->mysql, "SELECT @@global.gtid_executed")),
			 errhint("Point the connection to a server of the same replication topology that has them, or copy the tables again with tapdata.resync().")));
}

void
tap_mysql_start_dump(TapMysqlStream *stream)
{
	check_position_kind(stream);
	check_history(stream);
	set_dump_variables(stream);
	switch (stream->position.kind)
	{
		case TAP_MYSQL_POSITION_GTID:
			dump_gtid(stream);
			break;
		case TAP_MYSQL_POSITION_MARIADB:
			dump_file(stream, "", FIRST_OFFSET);
			break;
		case TAP_MYSQL_POSITION_FILE:
			strlcpy(stream->file, stream->position.file, sizeof(stream->file));
			stream->offset = stream->position.offset;
			dump_file(stream, stream->file, stream->offset);
			break;
	}
	stream->last_packet = GetCurrentTimestamp();
}
