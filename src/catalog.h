/*-------------------------------------------------------------------------
 *
 * src/catalog.h
 *	  The rows of tapdata's catalog tables.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_CATALOG_H
#define TAPDATA_CATALOG_H

#include "postgres.h"

#include "connector.h"
#include "utils/jsonb.h"

typedef enum TapDirection
{
	TAP_PULL,
	TAP_PUBLISH
} TapDirection;

/* A row of tapdata.connection. */
typedef struct TapConnectionRow
{
	int32		id;
	char	   *name;
	char	   *connector;
	char	   *uri;			/* with its password */
	Jsonb	   *options;
	Oid			owner;
} TapConnectionRow;

/* A row of tapdata.pipeline and of tapdata.pipeline_state. */
typedef struct TapPipelineRow
{
	int32		id;
	char	   *name;
	TapDirection direction;
	int32		connection;
	List	   *patterns;		/* of char * */
	char	   *into_schema;	/* NULL for publish */
	Jsonb	   *options;
	Oid			owner;
	bool		enabled;		/* shall run */
	bool		failed;			/* stopped by an error; last_error says which */
	char	   *last_error;		/* or NULL */
	int32		starts;			/* of workers in a row that came to nothing,
								 * not even to an error: the server crashed */
} TapPipelineRow;

/*
 * How far a table has come, named for what has been achieved.  The letters
 * are what tapdata.pipeline_table.state holds.
 */
typedef enum TapTableState
{
	TAP_TABLE_NEW = 'n',		/* nothing copied yet */
	TAP_TABLE_COPYING = 'c',	/* start_position is set, chunks are planned */
	TAP_TABLE_COPIED = 'd',		/* all chunks are done, key index missing */
	TAP_TABLE_CATCHUP = 'u',	/* a stream of its own replays the log from
								 * start_position until at least end_position */
	TAP_TABLE_READY = 'r',		/* that stream has ended at start_position,
								 * for the pipeline's to take over */
	TAP_TABLE_JOINED = 'j',		/* the pipeline's stream carries it: skips
								 * what start_position covers, and is lenient
								 * until end_position is covered */
	TAP_TABLE_STREAMING = 's',
	TAP_TABLE_DROPPED = 'x'		/* gone at the source; the hub keeps the rows */
} TapTableState;

/* A row of tapdata.pipeline_table. */
typedef struct TapTableRow
{
	int32		id;
	int32		pipeline;
	TapTableName source;
	Oid			hub_table;
	TapTableState state;
	bool		created;		/* the hub table was made by us */
	char	   *definition;		/* TapSourceTable.definition at the position */
	char	   *start_position; /* where its catch-up began, or is now; NULL
								 * before it is copied */
	char	   *end_position;	/* catch-up ends when this is covered */
	bool		exact;			/* start_position is exact: what it covers is
								 * in the copy, and must not be replayed */
	bool		unsure;			/* the process that catches up knows of rows
								 * that may be missing: when it is another
								 * now, that is lost; written by
								 * tap_catalog_set_unsure() alone */
	bool		published;		/* hub_table is published, not filled; source
								 * is its own name then, start_position the
								 * LSN (pg_lsn's text) of its copy, created
								 * tells that rows of a copy were sent, and
								 * state is one of NEW, COPYING, STREAMING,
								 * DROPPED */
	char	   *last_error;		/* or NULL */
} TapTableRow;

/* A row of tapdata.snapshot_chunk. */
typedef struct TapChunkRow
{
	int32		table;			/* pipeline_table.id */
	int32		number;
	TapChunk	chunk;
} TapChunkRow;

/* What the ledger says about one table's snapshot. */
typedef struct TapChunkTotals
{
	int32		table;			/* pipeline_table.id */
	int64		chunks;
	int64		chunks_done;
	int64		rows_done;
	int64		rows_estimated;
} TapChunkTotals;

/* A row of tapdata.dead_letter. */
typedef struct TapDeadLetterRow
{
	int64		id;
	char	   *source_table;	/* as tap_table_name_text() wrote it, or NULL */
	Jsonb	   *change;
} TapDeadLetterRow;

/*
 * All functions need a transaction.  Those that read return rows in the
 * current context, as of the newest committed state.  Those that write act
 * with the rights of the extension's owner, so that callers check
 * permissions first.  None of them touches the search_path.
 */

/* Whether the extension exists in this database, and is usable now. */
extern bool tap_catalog_exists(void);

/* The oid of an extension's table; raises an error when it is gone. */
extern Oid	tap_catalog_relid(const char *name);

extern int32 tap_catalog_insert_connection(const TapConnectionRow *row);
extern void tap_catalog_update_connection(const TapConnectionRow *row);
extern void tap_catalog_delete_connection(int32 id);

/*
 * Find a connection or pipeline by name or id.  missing_ok false raises
 * ERRCODE_UNDEFINED_OBJECT.  The *_owned forms raise
 * ERRCODE_INSUFFICIENT_PRIVILEGE too, unless the current user has the
 * privileges of the owner, and lock the row until the end of the transaction.
 */
extern TapConnectionRow *tap_catalog_connection(const char *name, bool missing_ok);
extern TapConnectionRow *tap_catalog_connection_by_id(int32 id);
extern TapConnectionRow *tap_catalog_connection_owned(const char *name);
extern TapPipelineRow *tap_catalog_pipeline(const char *name, bool missing_ok);
extern TapPipelineRow *tap_catalog_pipeline_by_id(int32 id, bool missing_ok);
extern TapPipelineRow *tap_catalog_pipeline_owned(const char *name);

/*
 * Raise ERRCODE_INSUFFICIENT_PRIVILEGE unless the current user has the
 * privileges of owner.
 */
extern void tap_catalog_check_owner(Oid owner, const char *kind, const char *name);

/* List of TapPipelineRow *: all that are enabled and have not failed. */
extern List *tap_catalog_pipelines_to_run(void);

/* List of TapPipelineRow *: all of this database, by name. */
extern List *tap_catalog_pipelines(void);

/* Names (char *) of the pipelines that use a connection. */
extern List *tap_catalog_pipelines_of_connection(int32 connection);

extern int32 tap_catalog_insert_pipeline(const TapPipelineRow *row);
extern void tap_catalog_update_pipeline(const TapPipelineRow *row);
extern void tap_catalog_delete_pipeline(int32 id);

/* Set pipeline_state: enabled, and forget or note an error (NULL: none). */
extern void tap_catalog_set_enabled(int32 pipeline, bool enabled);
extern void tap_catalog_set_failed(int32 pipeline, const char *error);

/*
 * Set pipeline_state.starts; not while somebody else has the row locked, since
 * a pipeline must not wait for a user's open transaction.
 */
extern void tap_catalog_set_starts(int32 pipeline, int32 starts);

/* When the pipeline failed; 0: it has not. */
extern TimestampTz tap_catalog_failed_at(int32 pipeline);

/* Whether the current transaction itself has started or stopped it. */
extern bool tap_catalog_state_is_uncommitted(int32 pipeline);

/* List of TapTableRow *, in order of id. */
extern List *tap_catalog_tables(int32 pipeline);

/* NULL when it was removed from its pipeline. */
extern TapTableRow *tap_catalog_table_by_id(int32 id);

/* The row of a pull pipeline that fills this hub table, or NULL. */
extern TapTableRow *tap_catalog_table_by_hub(Oid hub_table);
extern int32 tap_catalog_insert_table(const TapTableRow *row);
extern void tap_catalog_update_table(const TapTableRow *row);
extern void tap_catalog_set_unsure(int32 id, bool unsure);
extern void tap_catalog_delete_table(int32 id);

/*
 * The chunk ledger.  claim returns NULL when no chunk is left that is neither
 * done nor being copied; a claim lasts as long as the transaction.
 */
extern void tap_catalog_insert_chunk(int32 table, int32 number, const TapChunk *chunk);
extern TapChunkRow *tap_catalog_claim_chunk(int32 table);
extern void tap_catalog_finish_chunk(const TapChunkRow *chunk, int64 rows);
extern int64 tap_catalog_chunks_left(int32 table);
extern void tap_catalog_delete_chunks(int32 table);

/* What the done chunks of a table hold, for progress after a restart. */
extern int64 tap_catalog_rows_copied(int32 table);

/*
 * List of TapChunkTotals *, in order of table, of all tables of the pipeline
 * that have chunks.
 */
extern List *tap_catalog_chunk_totals(int32 pipeline);

/* A row of tapdata.event; pipeline and table may be NULL. */
extern void tap_catalog_insert_event(const char *pipeline, const TapTableName *table,
									 const char *severity, const char *kind,
									 const char *message);

/* Delete events older than tapdata.event_retention. */
extern void tap_catalog_trim_events(void);

/* A row of tapdata.dead_letter; change is JSON text. */
extern void tap_catalog_insert_dead_letter(int32 pipeline, const TapTableName *table,
										   const char *change, const ErrorData *edata,
										   const char *position);
extern int64 tap_catalog_dead_letters(int32 pipeline);

/* The oldest one with a larger id than after, locked; NULL: none. */
extern TapDeadLetterRow *tap_catalog_next_dead_letter(int32 pipeline, int64 after);
extern void tap_catalog_delete_dead_letter(int64 id);

/* Delete all of a pipeline; returns how many there were. */
extern int64 tap_catalog_delete_dead_letters(int32 pipeline);

/*
 * Bytes of prepared source transactions, kept until they end.  table: the one
 * whose sync worker keeps them; 0: the pipeline's own stream does.
 */
extern void tap_catalog_stage(int32 pipeline, int32 table, const char *staged_id,
							  const char *data, Size bytes);

/*
 * Calls chunk() for each piece in order, one in memory at a time.  False:
 * nothing is staged under the id.  applied: see tap_catalog_keep_staged().
 */
extern bool tap_catalog_unstage(int32 pipeline, int32 table, const char *staged_id,
								bool applied,
								void (*chunk) (void *arg, const char *data, Size bytes),
								void *arg);
extern void tap_catalog_delete_staged(int32 pipeline, int32 table,
									  const char *staged_id);

/*
 * The pipeline's stream has applied them; tables that join can need them
 * still, until they are deleted all together.
 */
extern void tap_catalog_keep_staged(int32 pipeline, const char *staged_id);
extern void tap_catalog_delete_applied(int32 pipeline);

/*
 * The notes of a pipeline's connector; see TapCore.remember.  A NULL value
 * deletes the note.  Each calls note() in the order of the keys.
 */
extern void tap_catalog_set_note(int32 pipeline, const char *key, const char *value);
extern void tap_catalog_each_note(int32 pipeline, const char *prefix,
								  void (*note) (void *arg, const char *key, const char *value),
								  void *arg);
extern void tap_catalog_delete_notes(int32 pipeline);

/* Delete what the sync worker of a table has kept. */
extern void tap_catalog_delete_staged_of_table(int32 table);

#endif							/* TAPDATA_CATALOG_H */
