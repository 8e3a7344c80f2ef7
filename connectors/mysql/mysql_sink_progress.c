/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_progress.c
 *	  The position that the target holds, and the one session that may move it.
 *
 * NOTES
 *	  A user lock of the target, named after the pipeline, is held as long as
 *	  the connection lives: the server releases it after it has rolled back
 *	  what the connection had not committed.  So whoever gets the lock reads a
 *	  position that no earlier session can still move.  An earlier session that
 *	  the server believes alive, since its end of the network vanished, is
 *	  killed.
 *
 *	  User locks are those of one server.  Where several accept writes (Galera,
 *	  group replication) the position is guarded once more: each update names the
 *	  position that it found, and fails when the row has another one.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "miscadmin.h"
#include "utils/builtins.h"

/* Seconds to wait for the lock, in rounds of one. */
#define LOCK_ROUNDS		60

/* Where neither URI nor options name a database. */
#define DEFAULT_DATABASE	"tapdata"

char *
tap_mysql_sink_progress_schema(const TapSessionArgs *args)
{
	const char *given = args->pipeline_options ?
	tap_mysql_core->option_text(args->pipeline_options, "progress_schema") : NULL;

	if (given != NULL)
		return pstrdup(given);
	if (args->uri->path != NULL && args->uri->path[0] != '\0')
		return pstrdup(args->uri->path);
	return pstrdup(DEFAULT_DATABASE);
}

/* The lock's name; user locks of MySQL have at most 64 characters. */
static char *
lock_name(TapMysqlSink *sink)
{
	return psprintf("CONCAT('tapdata.', LEFT(SHA2(%s, 256), 40))", sink->identity);
}

/* End whoever holds the lock; only users with that right can end others'. */
static void
kill_holder(TapMysqlSink *sink)
{
	char	   *holder = tap_mysql_query_value(sink->mysql,
											   psprintf("SELECT IS_USED_LOCK(%s)", lock_name(sink)));

	if (holder != NULL)
		(void) tap_mysql_try_query(sink->mysql, psprintf("KILL %s", holder));
}

static void
take_lock(TapMysqlSink *sink)
{
	char	   *sql = psprintf("SELECT GET_LOCK(%s, 1)", lock_name(sink));

	for (int round = 0; round < LOCK_ROUNDS; round++)
	{
		char	   *answer = tap_mysql_query_value(sink->mysql, sql);

		if (answer != NULL && strcmp(answer, "1") == 0)
			return;
		CHECK_FOR_INTERRUPTS();
		kill_holder(sink);
	}
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("an earlier session of pipeline \"%s\" is still connected to the target",
					sink->session->args.pipeline_name),
			 errhint("End it there with KILL; its id is SELECT IS_USED_LOCK(%s).",
					 lock_name(sink))));
}

static void
create_table(TapMysqlSink *sink, const char *database)
{
	/* a user without the right to create it may still find it there */
	if (tap_mysql_try_query(sink->mysql,
							psprintf("SELECT position FROM %s LIMIT 0",
									 sink->progress_table)) != NULL)
		return;
	(void) tap_mysql_try_query(sink->mysql,
							   psprintf("CREATE DATABASE IF NOT EXISTS %s",
										tap_mysql_quote_identifier(database)));
	tap_mysql_sink_run(sink, NULL,
					   psprintf("CREATE TABLE IF NOT EXISTS %s ("
								"pipeline varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, "
								"position bigint unsigned NOT NULL COMMENT 'LSN of the hub', "
								"writes bigint unsigned NOT NULL COMMENT 'transactions of copies', "
								"updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) "
								"ON UPDATE CURRENT_TIMESTAMP(6)) "
								"ENGINE = InnoDB COMMENT = 'What tapdata has published'",
								sink->progress_table),
					   "create the table of positions");
}

uint64
tap_mysql_sink_lock(TapMysqlSink *sink)
{
	char	   *database = tap_mysql_sink_progress_schema(&sink->session->args);
	MemoryContext old = MemoryContextSwitchTo(sink->context);
	char	   *value;

	sink->progress_table = psprintf("%s.%s", tap_mysql_quote_identifier(database),
									tap_mysql_quote_identifier(TAP_MYSQL_PROGRESS_TABLE));
	sink->identity = psprintf("'%s'", sink->session->args.pipeline_identity);
	MemoryContextSwitchTo(old);
	take_lock(sink);
	create_table(sink, database);
	tap_mysql_sink_run(sink, NULL,
					   psprintf("INSERT IGNORE INTO %s (pipeline, position, writes) VALUES (%s, 0, 0)",
								sink->progress_table, sink->identity),
					   "note the pipeline's position");
	value = tap_mysql_query_value(sink->mysql,
								  psprintf("SELECT position FROM %s WHERE pipeline = %s",
										   sink->progress_table, sink->identity));
	if (value == NULL)
		tap_mysql_sink_progress_lost(sink);
	sink->position = strtou64(value, NULL, 10);
	return sink->position;
}

void
tap_mysql_sink_append_progress(TapMysqlSink *sink, StringInfo sql, uint64 from, uint64 to)
{
	if (to == 0)
		appendStringInfo(sql, "UPDATE %s SET writes=writes+1 WHERE pipeline=%s",
						 sink->progress_table, sink->identity);
	else
		appendStringInfo(sql, "UPDATE %s SET position=IF(position=" UINT64_FORMAT ","
						 UINT64_FORMAT ",NULL) WHERE pipeline=%s",
						 sink->progress_table, from, to, sink->identity);
}

void
tap_mysql_sink_progress_lost(TapMysqlSink *sink)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the position of pipeline \"%s\" at the target was changed by somebody else",
					sink->session->args.pipeline_name),
			 errdetail("It is kept in table %s under %s.", sink->progress_table,
					   sink->identity ? sink->identity : ""),
			 errhint("Copy the tables again with tapdata.resync('%s').",
					 sink->session->args.pipeline_name)));
}
