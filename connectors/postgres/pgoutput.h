/*-------------------------------------------------------------------------
 *
 * connectors/postgres/pgoutput.h
 *	  Decodes messages of PostgreSQL's output plugin pgoutput.
 *
 * Plain C, without PostgreSQL's headers, so that it can be tested and fuzzed
 * by itself.  The bytes come from the network: every length is checked.
 *
 * The format is described in the manual, "Logical Replication Message
 * Formats"; src/backend/replication/logical/proto.c writes it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PGOUTPUT_H
#define TAPDATA_PGOUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum TapPgoutputKind
{
	TAP_PGOUTPUT_BEGIN = 'B',
	TAP_PGOUTPUT_COMMIT = 'C',
	TAP_PGOUTPUT_ORIGIN = 'O',
	TAP_PGOUTPUT_RELATION = 'R',
	TAP_PGOUTPUT_TYPE = 'Y',
	TAP_PGOUTPUT_INSERT = 'I',
	TAP_PGOUTPUT_UPDATE = 'U',
	TAP_PGOUTPUT_DELETE = 'D',
	TAP_PGOUTPUT_TRUNCATE = 'T',
	TAP_PGOUTPUT_LOGICAL = 'M', /* pg_logical_emit_message() */
	TAP_PGOUTPUT_BEGIN_PREPARE = 'b',
	TAP_PGOUTPUT_PREPARE = 'P',
	TAP_PGOUTPUT_COMMIT_PREPARED = 'K',
	TAP_PGOUTPUT_ROLLBACK_PREPARED = 'r',
	TAP_PGOUTPUT_STREAM_START = 'S',
	TAP_PGOUTPUT_STREAM_STOP = 'E',
	TAP_PGOUTPUT_STREAM_COMMIT = 'c',
	TAP_PGOUTPUT_STREAM_ABORT = 'A',
	TAP_PGOUTPUT_STREAM_PREPARE = 'p',

	/* not of the protocol, but of tap_pgoutput_decode_ddl() */
	TAP_PGOUTPUT_DROPPED = -1
} TapPgoutputKind;

/* How a column's value was sent. */
typedef enum TapPgoutputValueKind
{
	TAP_PGOUTPUT_NULL = 'n',
	TAP_PGOUTPUT_UNCHANGED = 'u',	/* TOASTed, and not changed: not sent */
	TAP_PGOUTPUT_TEXT = 't',
	TAP_PGOUTPUT_BINARY = 'b'
} TapPgoutputValueKind;

typedef struct TapPgoutputValue
{
	TapPgoutputValueKind kind;
	const char *data;			/* into the message; not terminated */
	uint32_t	bytes;
} TapPgoutputValue;

typedef struct TapPgoutputTuple
{
	bool		present;
	int			ncolumns;
	TapPgoutputValue *values;	/* the decoder's memory, until its next call */
} TapPgoutputTuple;

typedef struct TapPgoutputColumn
{
	bool		key;			/* part of the replica identity */
	const char *name;			/* into the message, terminated */
	uint32_t	type;
	int32_t		typmod;

	/* of tap_pgoutput_decode_ddl() only */
	int			number;			/* pg_attribute.attnum */
	bool		generated;
} TapPgoutputColumn;

/* One message; pointers go into it, or into the decoder's memory. */
typedef struct TapPgoutputMessage
{
	TapPgoutputKind kind;
	uint32_t	xid;			/* BEGIN, prepared and streamed transactions;
								 * in a stream, also of each change: the
								 * subtransaction's */
	uint32_t	subxid;			/* STREAM_ABORT */
	uint64_t	lsn;			/* BEGIN: of the commit; COMMIT and PREPARE:
								 * of the record; LOGICAL: of the message */
	uint64_t	end_lsn;		/* COMMIT and the like: behind the record */
	int64_t		time_us;		/* since 2000-01-01 UTC */
	bool		first_segment;	/* STREAM_START */
	const char *gid;			/* prepared transactions */

	uint32_t	relation;		/* oid at the source */
	const char *schema;			/* RELATION, TYPE; "" stands for pg_catalog */
	const char *name;			/* RELATION, TYPE, ORIGIN */
	char		replica_identity;	/* RELATION: d, n, f or i */
	int			ncolumns;
	TapPgoutputColumn *columns; /* RELATION */

	char		old_kind;		/* UPDATE and DELETE: 'K', 'O', or 0: none */
	TapPgoutputTuple old_tuple;
	TapPgoutputTuple new_tuple;

	int			nrelations;		/* TRUNCATE */
	uint32_t   *relations;
	bool		cascade;
	bool		restart_identity;

	const char *prefix;			/* LOGICAL */
	const char *content;
	uint32_t	content_bytes;
	bool		transactional;

	/* of tap_pgoutput_decode_ddl() */
	bool		announced;		/* no change of the table follows */
	bool		partition;		/* it is one of another table */
	char		relation_kind;	/* pg_class.relkind */
} TapPgoutputMessage;

/* Holds the memory of one message. */
typedef struct TapPgoutputDecoder TapPgoutputDecoder;

/* NULL: out of memory. */
extern TapPgoutputDecoder *tap_pgoutput_create(void);
extern void tap_pgoutput_free(TapPgoutputDecoder *decoder);

/*
 * Whether the messages that follow are of a streamed transaction, for those
 * that were kept and are decoded again.
 */
extern void tap_pgoutput_set_in_stream(TapPgoutputDecoder *decoder, bool in_stream);

/*
 * Decode one message.  False when it is malformed, or of a kind that is not
 * known: *error says why, a constant.  Between STREAM_START and STREAM_STOP
 * messages have an xid more; the decoder keeps track of that.
 */
extern bool tap_pgoutput_decode(TapPgoutputDecoder *decoder, const char *data, size_t bytes,
								TapPgoutputMessage *message, const char **error);

/*
 * Decode what the source's event trigger wrote by pg_logical_emit_message():
 * the content of a LOGICAL message, in the caller's encoding.  The result is
 * a RELATION that was announced, or DROPPED; its pointers go into the
 * decoder's memory, until its next call.  False and *error as above.
 *
 * Fields end with a tab, lines with a newline; both, and the backslash, are
 * written as \t, \n and \\ in names.  A table: what happened (altered or
 * dropped), oid, replica identity, kind, t if it is a partition, schema, name.
 * A line for each of its columns: name, number, type's oid, modifier, t if it
 * is of the replica identity, t if it is generated.
 */
extern bool tap_pgoutput_decode_ddl(TapPgoutputDecoder *decoder, const char *text, size_t bytes,
									TapPgoutputMessage *message, const char **error);

#endif							/* TAPDATA_PGOUTPUT_H */
