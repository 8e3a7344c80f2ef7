/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_snapshot.h
 *	  What the files of the first copy from PostgreSQL share.
 *
 * NOTES
 *	  postgres_snapshot.c		chunks of tables with a key
 *	  postgres_snapshot_exact.c	whole tables without one, read by several connections
 *	  postgres_snapshot_lock.c	locks that have a copy see the rows
 *	  postgres_snapshot_merge.c	rows of several connections, to one receiver
 *	  postgres_snapshot_read.c	rows that come by one COPY
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_POSTGRES_SNAPSHOT_H
#define TAP_POSTGRES_SNAPSHOT_H

#include "postgres_source.h"

/* ---- postgres_snapshot_read.c ---- */

/*
 * The fields of the row in a message of COPY ... (FORMAT binary), of which the
 * first has a header; count is how many there have to be.  NULL: it holds no
 * row.  Raises an error for anything else.
 */
extern char *tap_pg_copy_fields(char *data, const char *end, bool *header_seen, int count);

typedef enum TapPgCopyStep
{
	TAP_PG_COPY_WAIT,			/* nothing more has come yet */
	TAP_PG_COPY_ROW,			/* a row: store it, or show it */
	TAP_PG_COPY_END				/* the copy is done; another one may be begun */
} TapPgCopyStep;

/*
 * Reads rows that come over the session's connection, in the current context,
 * with which libpq's memory is freed too.  Session and format must outlive
 * it.  Needs a transaction.
 */
extern TapPgCopyReader *tap_pg_copy_reader_create(TapSession *session, const TapPgFormat *format);

/* The table as FROM has it: a partitioned one with its partitions, no other's children. */
extern void tap_pg_copy_append_from(StringInfo sql, const TapPgFormat *format);

/*
 * Send the statement that copies the rows of a condition.  The connection must
 * have nothing else under way.
 */
extern void tap_pg_copy_start(TapPgCopyReader *reader, const char *condition);

/* Take in what has come over the network, without waiting. */
extern void tap_pg_copy_consume(TapPgCopyReader *reader);

/* One step further in what was taken in.  Raises the server's error, or that it is gone. */
extern TapPgCopyStep tap_pg_copy_step(TapPgCopyReader *reader);

/*
 * Fill the slot, with values in the current context.  Raises an error of data
 * for a value that cannot be converted, and is_converting() is true then.
 */
extern void tap_pg_copy_store(TapPgCopyReader *reader, TupleTableSlot *slot);
extern bool tap_pg_copy_is_converting(const TapPgCopyReader *reader);

/*
 * The row, for a dead letter: text as text, what is binary in hexadecimal.
 * Ends the conversion.  In the current context.
 */
extern char *tap_pg_copy_reject(TapPgCopyReader *reader);

/* ---- postgres_snapshot_lock.c ---- */

/*
 * A query that takes all locks that a copy of the table will need, on
 * partitions and indexes, too; in the current context.
 */
extern char *tap_pg_lock_query(const TapPgFormat *format);

/* ---- postgres_snapshot_merge.c ---- */

/*
 * Have all connections copy, each one part after the other: next_condition()
 * returns which rows, in the current context, and NULL when no part is left.
 * All rows go to the one receiver.  Raises the first error of any connection;
 * all of them are to be closed then.
 */
extern void tap_pg_merge_copies(TapSession *sessions, int count, const TapPgFormat *format,
								char *(*next_condition) (void *arg), void *arg,
								TapRowReceiver *receiver);

#endif							/* TAP_POSTGRES_SNAPSHOT_H */
