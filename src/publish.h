/*-------------------------------------------------------------------------
 *
 * src/publish.h
 *	  The publish pipeline worker.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PUBLISH_H
#define TAPDATA_PUBLISH_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "catalog.h"

/* Run a publish pipeline until the process is told to stop. */
extern void tap_publish_main(int32 pipeline);

/* See TapCore.dead_letter. */
extern void tap_publish_dead_letter(const TapTableName *table, const char *change,
									uint64 lsn, int sqlstate, const char *message);

/*
 * The hub tables (List of Oid, in order of name) that match patterns (List of
 * char *) and can be published: plain tables and roots of partitions that are
 * logged, neither tapdata's own nor the system's.  Needs a transaction.
 */
extern List *tap_publish_matching_tables(List *patterns);

/*
 * Check that the owner may publish a table, and that filter and columns of
 * the options fit it; raises an error whose hint says what to do.  Used by
 * the commands and at each start of a worker.  Needs a transaction.
 */
extern void tap_publish_check_table(Oid relid, Oid owner, const TapOptions *options);

/*
 * The rows of tapdata.pipeline_table for tables that match the pipeline's
 * patterns and are not yet part of it.  Returns how many were added.
 */
extern int	tap_publish_add_matching(const TapPipelineRow *pipeline);

/*
 * An LSN as text, in the current context, and back; InvalidXLogRecPtr for NULL
 * or what is none.
 */
extern char *tap_publish_lsn_text(XLogRecPtr lsn);
extern XLogRecPtr tap_publish_lsn_parse(const char *text);

#endif							/* TAPDATA_PUBLISH_H */
