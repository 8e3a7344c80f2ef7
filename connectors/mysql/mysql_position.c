/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_position.c
 *	  Positions as text, and those of the server.
 *
 * NOTES
 *	  Three forms: a GTID set of MySQL ("uuid:1-5"), the last GTID of each
 *	  domain of MariaDB ("0-1-100"), and file and offset where GTIDs are off
 *	  ("mysql-bin.000003:1234").
 *
 *	  A position is safe when all it covers can be seen by a snapshot taken
 *	  later.  MySQL adds to @@gtid_executed after the engine's commit, so it
 *	  is.  MariaDB sets @@gtid_binlog_pos before, so there the position of a
 *	  consistent snapshot is taken.  The end of a log file of MySQL without
 *	  GTIDs may be ahead of the engine as well, but a new file is begun only
 *	  when all transactions of the former are committed.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_connector.h"

#include <ctype.h>

#include "utils/builtins.h"

/* Where the events of a log file begin. */
#define FIRST_OFFSET	4

/* ---------------------------------------------------------------------
 * Text
 * ---------------------------------------------------------------------
 */

/* "name.000003:1234" */
static bool
parse_file(const char *text, TapMysqlPosition *position)
{
	const char *colon = strrchr(text, ':');
	const char *dot;
	char	   *end;

	if (colon == NULL || colon == text || !isdigit((unsigned char) colon[1]) ||
		colon - text >= TAP_BINLOG_FILE_SIZE)
		return false;
	position->offset = strtoull(colon + 1, &end, 10);
	if (*end != '\0')
		return false;
	memcpy(position->file, text, colon - text);
	position->file[colon - text] = '\0';
	dot = strrchr(position->file, '.');
	return dot != NULL && isdigit((unsigned char) dot[1]);
}

/* Read a position of any form; false when it is none. */
static bool
parse_any(const char *text, bool hint_mariadb, TapMysqlPosition *position)
{
	memset(position, 0, sizeof(*position));
	position->kind = TAP_MYSQL_POSITION_FILE;
	if (parse_file(text, position))
		return true;
	position->kind = TAP_MYSQL_POSITION_MARIADB;
	if ((text[0] != '\0' || hint_mariadb) &&
		tap_maria_gtid_parse(text, strlen(text), &position->list) == TAP_GTID_OK)
		return true;
	position->kind = TAP_MYSQL_POSITION_GTID;
	return tap_gtid_set_parse(text, strlen(text), &position->gtids) == TAP_GTID_OK;
}

void
tap_mysql_position_parse(const char *text, bool hint_mariadb,
						 TapMysqlPosition *position)
{
	if (!parse_any(text, hint_mariadb, position))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("\"%s\" is not a position of MySQL or MariaDB", text)));
}

char *
tap_mysql_position_text(const TapMysqlPosition *position)
{
	char	   *text;
	char	   *copy;

	if (position->kind == TAP_MYSQL_POSITION_FILE)
		return psprintf("%s:" UINT64_FORMAT, position->file, position->offset);
	if (position->kind == TAP_MYSQL_POSITION_MARIADB)
		text = tap_maria_gtid_text(&position->list);
	else
		text = tap_gtid_set_text(&position->gtids);
	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(text);
	free(text);
	return copy;
}

void
tap_mysql_position_free(TapMysqlPosition *position)
{
	tap_gtid_set_free(&position->gtids);
	tap_maria_gtid_free(&position->list);
}

/* Order of two files by their number; the names before it must be the same. */
static TapPositionOrder
compare_files(const TapMysqlPosition *a, const TapMysqlPosition *b)
{
	const char *dot_a = strrchr(a->file, '.');
	const char *dot_b = strrchr(b->file, '.');
	uint64		number_a = strtoull(dot_a + 1, NULL, 10);
	uint64		number_b = strtoull(dot_b + 1, NULL, 10);

	if (dot_a - a->file != dot_b - b->file ||
		strncmp(a->file, b->file, dot_a - a->file) != 0)
		return TAP_POSITION_UNRELATED;
	if (number_a == number_b)
	{
		if (a->offset == b->offset)
			return TAP_POSITION_EQUAL;
		return a->offset < b->offset ? TAP_POSITION_BEFORE : TAP_POSITION_AFTER;
	}
	return number_a < number_b ? TAP_POSITION_BEFORE : TAP_POSITION_AFTER;
}

bool
tap_mysql_position_before(const TapMysqlPosition *a, const TapMysqlPosition *b)
{
	return compare_files(a, b) == TAP_POSITION_BEFORE;
}

static TapPositionOrder
order_of(bool a_in_b, bool b_in_a)
{
	if (a_in_b && b_in_a)
		return TAP_POSITION_EQUAL;
	if (a_in_b)
		return TAP_POSITION_BEFORE;
	if (b_in_a)
		return TAP_POSITION_AFTER;
	return TAP_POSITION_UNRELATED;
}

static TapPositionOrder
compare_parsed(const TapMysqlPosition *a, const TapMysqlPosition *b)
{
	if (a->kind != b->kind)
		return TAP_POSITION_UNRELATED;
	switch (a->kind)
	{
		case TAP_MYSQL_POSITION_FILE:
			return compare_files(a, b);
		case TAP_MYSQL_POSITION_MARIADB:
			return order_of(tap_maria_gtid_is_subset(&a->list, &b->list),
							tap_maria_gtid_is_subset(&b->list, &a->list));
		case TAP_MYSQL_POSITION_GTID:
			return order_of(tap_gtid_set_is_subset(&a->gtids, &b->gtids),
							tap_gtid_set_is_subset(&b->gtids, &a->gtids));
	}
	return TAP_POSITION_UNRELATED;
}

TapPositionOrder
tap_mysql_position_compare(const char *a, const char *b)
{
	TapMysqlPosition x;
	TapMysqlPosition y;
	TapPositionOrder order = TAP_POSITION_UNRELATED;

	/* an empty text has no form of its own: it takes the other's */
	tap_mysql_position_parse(a, false, &x);
	tap_mysql_position_parse(b, x.kind == TAP_MYSQL_POSITION_MARIADB, &y);
	if (a[0] == '\0')
		x.kind = y.kind;
	order = compare_parsed(&x, &y);
	tap_mysql_position_free(&x);
	tap_mysql_position_free(&y);
	return order;
}

/* ---------------------------------------------------------------------
 * Positions of the server
 * ---------------------------------------------------------------------
 */

TapMysqlRows *
tap_mysql_log_status(TapSession *session, MYSQL *mysql)
{
	TapMysqlRows *rows;
	bool		new_name = !session->server.is_mariadb &&
	session->server.version >= 80200;

	rows = tap_mysql_query(mysql, new_name ? "SHOW BINARY LOG STATUS" :
						   "SHOW MASTER STATUS");
	if (rows->nrows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source writes no binary log"),
				 errhint("Start the source with log_bin and binlog_format=ROW.")));
	return rows;
}

/* The canonical text of a GTID position that the server printed. */
static char *
canonical(TapSession *session, const char *text)
{
	TapMysqlPosition position;
	char	   *result;

	tap_mysql_position_parse(text ? text : "", session->server.is_mariadb, &position);
	result = tap_mysql_position_text(&position);
	tap_mysql_position_free(&position);
	return result;
}

char *
tap_mysql_current_position(TapSession *session)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	TapMysqlRows *rows = tap_mysql_log_status(session, mysql);

	if (session->server.is_mariadb)
		return canonical(session,
						 tap_mysql_query_value(mysql, "SELECT @@global.gtid_binlog_pos"));
	if (session->server.gtid)
		return canonical(session,
						 tap_mysql_query_value(mysql, "SELECT @@global.gtid_executed"));
	return psprintf("%s:%s", tap_mysql_value(rows, 0, 0), tap_mysql_value(rows, 0, 1));
}

char *
tap_mysql_begin_snapshot_mariadb(TapSession *session)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	TapMysqlRows *rows;
	char	   *file = NULL;
	char	   *offset = NULL;
	char	   *gtid;

	tap_mysql_execute(mysql, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
	tap_mysql_execute(mysql, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
	rows = tap_mysql_query(mysql, "SHOW STATUS LIKE 'binlog_snapshot_%'");
	for (int i = 0; i < rows->nrows; i++)
	{
		if (pg_strcasecmp(tap_mysql_value(rows, i, 0), "binlog_snapshot_file") == 0)
			file = tap_mysql_value(rows, i, 1);
		else if (pg_strcasecmp(tap_mysql_value(rows, i, 0), "binlog_snapshot_position") == 0)
			offset = tap_mysql_value(rows, i, 1);
	}
	if (file == NULL || file[0] == '\0' || offset == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source does not tell the position of a consistent snapshot"),
				 errhint("Start the source with log_bin and binlog_format=ROW.")));
	gtid = tap_mysql_query_value(mysql, psprintf("SELECT BINLOG_GTID_POS(%s, %s)",
												 tap_mysql_quote_literal(file), offset));
	if (gtid == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the source could not tell the GTID of %s:%s", file, offset)));
	return canonical(session, gtid);
}

char *
tap_mysql_safe_position(TapSession *session)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	TapMysqlRows *rows = tap_mysql_log_status(session, mysql);
	char	   *position;

	if (session->server.is_mariadb)
	{
		position = tap_mysql_begin_snapshot_mariadb(session);
		tap_mysql_execute(mysql, "COMMIT");
		return position;
	}
	if (session->server.gtid)
		return canonical(session,
						 tap_mysql_query_value(mysql, "SELECT @@global.gtid_executed"));
	return psprintf("%s:%d", tap_mysql_value(rows, 0, 0), FIRST_OFFSET);
}

/* ---------------------------------------------------------------------
 * How far behind, and whether the log is still there
 * ---------------------------------------------------------------------
 */

static int64
behind_file(MYSQL *mysql, const TapMysqlPosition *position, bool *purged,
			char **detail)
{
	TapMysqlRows *rows = tap_mysql_query(mysql, "SHOW BINARY LOGS");
	int64		bytes = 0;
	bool		found = false;

	for (int i = 0; i < rows->nrows; i++)
	{
		int64		size = strtoll(tap_mysql_value(rows, i, 1), NULL, 10);

		if (found)
			bytes += size;
		else if (strcmp(tap_mysql_value(rows, i, 0), position->file) == 0)
		{
			found = true;
			bytes = Max(0, size - (int64) position->offset);
		}
	}
	if (!found)
	{
		*purged = true;
		*detail = psprintf("The file \"%s\" is no longer among the source's logs.",
						   position->file);
	}
	return bytes;
}

static int64
behind_gtid(TapSession *session, MYSQL *mysql, const TapMysqlPosition *position,
			bool *purged, char **detail)
{
	TapMysqlPosition gone;
	TapMysqlPosition all;
	TapMysqlRows *rows = tap_mysql_query(mysql,
										 "SELECT @@global.gtid_purged, @@global.gtid_executed");
	int64		bytes = -1;

	tap_mysql_position_parse(tap_mysql_value(rows, 0, 0), false, &gone);
	tap_mysql_position_parse(tap_mysql_value(rows, 0, 1), false, &all);
	if (!tap_gtid_set_is_subset(&position->gtids, &all.gtids))
	{
		*purged = true;
		*detail = psprintf("The pipeline has seen transactions that the source does not have: it stands at %s, the source at %s.",
						   tap_mysql_position_text(position),
						   tap_mysql_position_text(&all));
	}
	else if (!tap_gtid_set_is_subset(&gone.gtids, &position->gtids))
	{
		*purged = true;
		*detail = psprintf("The source has discarded the log of the transactions %s, of which the pipeline lacks some.",
						   tap_mysql_position_text(&gone));
	}
	else if (tap_gtid_set_equal(&position->gtids, &all.gtids))
		bytes = 0;
	tap_mysql_position_free(&gone);
	tap_mysql_position_free(&all);
	return bytes;
}

static int64
behind_mariadb(TapSession *session, MYSQL *mysql, const TapMysqlPosition *position,
			   bool *purged, char **detail)
{
	TapMysqlRows *files = tap_mysql_query(mysql, "SHOW BINARY LOGS");
	TapMysqlPosition oldest;
	TapMysqlPosition newest;
	char	   *start;
	int64		bytes = -1;

	if (files->nrows == 0)
		return -1;
	start = tap_mysql_query_value(mysql,
								  psprintf("SELECT BINLOG_GTID_POS(%s, %d)",
										   tap_mysql_quote_literal(tap_mysql_value(files, 0, 0)),
										   FIRST_OFFSET));
	tap_mysql_position_parse(start ? start : "", true, &oldest);
	tap_mysql_position_parse(tap_mysql_query_value(mysql, "SELECT @@global.gtid_binlog_pos"),
							 true, &newest);
	if (!tap_maria_gtid_is_subset(&oldest.list, &position->list))
	{
		*purged = true;
		*detail = psprintf("The source's log begins behind %s, the pipeline stands at %s.",
						   tap_mysql_position_text(&oldest),
						   tap_mysql_position_text(position));
	}
	else if (!tap_maria_gtid_is_subset(&position->list, &newest.list))
	{
		*purged = true;
		*detail = psprintf("The pipeline has seen transactions that the source does not have: it stands at %s, the source at %s.",
						   tap_mysql_position_text(position),
						   tap_mysql_position_text(&newest));
	}
	else if (tap_maria_gtid_equal(&position->list, &newest.list))
		bytes = 0;
	tap_mysql_position_free(&oldest);
	tap_mysql_position_free(&newest);
	return bytes;
}

int64
tap_mysql_log_behind(TapSession *session, const char *text, bool *purged,
					 char **detail, char **hint)
{
	MYSQL	   *mysql = tap_mysql_connection(session);
	TapMysqlPosition position;
	int64		bytes = -1;

	*purged = false;
	*detail = NULL;
	*hint = NULL;
	tap_mysql_position_parse(text, session->server.is_mariadb, &position);
	if (position.kind == TAP_MYSQL_POSITION_FILE)
		bytes = behind_file(mysql, &position, purged, detail);
	else if (position.kind == TAP_MYSQL_POSITION_MARIADB && session->server.is_mariadb)
		bytes = behind_mariadb(session, mysql, &position, purged, detail);
	else if (position.kind == TAP_MYSQL_POSITION_GTID && session->server.gtid &&
			 !session->server.is_mariadb)
		bytes = behind_gtid(session, mysql, &position, purged, detail);
	else
	{
		*purged = true;
		*detail = psprintf("The position \"%s\" is not of the kind that the source has now.", text);
	}
	if (*purged)
		*hint = pstrdup("Copy the tables again with tapdata.resync(), and keep the source's log longer (binlog_expire_logs_seconds).");
	tap_mysql_position_free(&position);
	return bytes;
}
