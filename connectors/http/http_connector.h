/*-------------------------------------------------------------------------
 *
 * connectors/http/http_connector.h
 *	  What the files of the HTTP connector share.
 *
 * NOTES
 *	  http_connector.c	options, URIs, the exported struct, open and close
 *	  http_options.c	checks of options, and what they mean together
 *	  http_client.c		requests by libcurl's multi interface and an epoll set
 *	  http_request.c	what libcurl is told of a request
 *	  http_headers.c	headers of a request: logging in, signature, the user's
 *	  http_answer.c		what an answer means: done, again, split, refused
 *	  http_batch.c		batches of changes
 *	  http_queue.c		batches on their way, in lanes; positions
 *	  http_settle.c		what becomes of a batch that was answered
 *	  http_sink.c		the sink's callbacks
 *	  http_name.c		names of targets from patterns
 *	  http_row.c		whole rows, ids, versions
 *	  http_webhook.c	dialect: changes as JSON
 *	  http_elastic.c	dialect: _bulk of Elasticsearch and OpenSearch
 *	  http_bulk.c		answers of searches and _bulk
 *	  http_json.c		JSON that a server sent
 *	  http_clickhouse.c	dialect: inserts into ClickHouse
 *	  http_clickhouse_table.c	its tables and types
 *	  http_truncate.c	empties indexes of Elasticsearch
 *	  http_test.c		the checks of test_connection()
 *	  http_source.h		says what the files of HTTP as a source are
 *
 *	  A session has lanes.  A lane is a queue of batches of which one is on its
 *	  way at a time, so that what is in a lane arrives in order.  Webhooks and
 *	  documents are spread over max_in_flight lanes by their key; ClickHouse has
 *	  one lane for each table.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_CONNECTOR_H
#define TAP_HTTP_CONNECTOR_H

#include "connector.h"

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "utils/hsearch.h"

#include "http_allowed.h"
#include "http_json.h"

#define TAP_HTTP_VERSION	"0.1.0"

/* What the core offers; set by tap_connector_init(). */
extern const TapCore *tap_http_core;

/* ---------------------------------------------------------------------
 * Requests
 * ---------------------------------------------------------------------
 */

typedef struct TapHttpClient TapHttpClient;
typedef struct TapHttpTransfer TapHttpTransfer;

/* One request; what it points to must live until it is answered. */
typedef struct TapHttpRequest
{
	const char *method;			/* GET, HEAD, POST, PUT, DELETE */
	const char *path;			/* appended to the base URL, escaped, with its
								 * leading slash; NULL: the URL as it is given */
	const char *query;			/* escaped, without "?"; or NULL */
	const char *content_type;	/* NULL without a body */
	const char *body;			/* NULL: none */
	Size		length;
	const char *idempotency_key;	/* or NULL */
	const char *url;			/* path and query at the session's host, as
								 * they stand in a URL, instead of the URI's
								 * path; or NULL */
	const char *foreign_url;	/* a whole URL, to which nothing of the
								 * session's login is sent; or NULL */
	List	   *headers;		/* of char *: further ones, "Name: value" */
	bool		compressed;		/* the answer may be; its limit is of what it
								 * is then */
	bool		headers_kept;	/* those of the answer */
	Size		answer_limit;	/* bytes of the answer that are kept; the
								 * request fails when there are more, unless
								 * answer_ignored */
	bool		answer_ignored; /* what does not fit is thrown away */
} TapHttpRequest;

/* What came of a request; lives as long as its transfer. */
typedef struct TapHttpAnswer
{
	bool		complete;		/* false: no (whole) answer, error says why */
	const char *error;			/* one line, without secrets */
	bool		for_good;		/* the error does not pass by itself */
	bool		too_long;		/* it was cut because of answer_limit */
	long		status;			/* of HTTP; 0: none came */
	const char *body;			/* ends with a NUL */
	Size		length;
	int64		retry_after;	/* seconds that the server asks for; 0: none */
	int			exception;		/* ClickHouse's error code; 0: none */
	const char *redirect;		/* where a 3xx points to, or NULL */
	const char *headers;		/* one a line, if they are kept; or NULL */
} TapHttpAnswer;

/* Make a client whose memory is the session's. */
extern TapHttpClient *tap_http_client_create(TapSession *session);

/* Ends what is under way and frees what libcurl holds; NULL is fine. */
extern void tap_http_client_free(TapHttpClient *client);

/* Begin a request.  The transfer is to be ended by tap_http_finish(). */
extern TapHttpTransfer *tap_http_begin(TapHttpClient *client,
									   const TapHttpRequest *request);

/* Let libcurl do what it can without waiting. */
extern void tap_http_pump(TapHttpClient *client);

/* The answer, or NULL when it is not there yet. */
extern const TapHttpAnswer *tap_http_answer(TapHttpTransfer *transfer);

/* Free a transfer, also one that is under way; its answer with it. */
extern void tap_http_finish(TapHttpTransfer *transfer);

/*
 * Where to wait for transfers: an epoll set as a socket, and for how long at
 * most.  PGINVALID_SOCKET and -1 when nothing is under way.
 */
extern void tap_http_client_wait(TapHttpClient *client, TapWait *wait);

/* Use the next of the URI's hosts from now on, after one did not answer. */
extern void tap_http_next_host(TapHttpClient *client);

/*
 * Send a request and wait for its answer, in the current context.  Raises no
 * error for an answer that is missing; does when the process is to stop.
 */
extern TapHttpAnswer *tap_http_call(TapSession *session, const TapHttpRequest *request);

struct curl_slist;

/*
 * Tell libcurl's easy handle of a request.  Returns the list of its headers,
 * which has to be freed after the handle.
 */
extern struct curl_slist *tap_http_set_request(TapSession *session, void *handle,
											   const TapHttpRequest *request);

/*
 * The value of a header of the answer, the values of several joined by commas;
 * NULL: it has none.  In the current context.
 */
extern char *tap_http_answer_header(const TapHttpAnswer *answer, const char *name);

/* "http://host:port" of the host in use, for messages. */
extern char *tap_http_place(TapSession *session);

/* ---------------------------------------------------------------------
 * Headers
 * ---------------------------------------------------------------------
 */

/*
 * The headers of a request but for those that libcurl makes by itself.
 * Secrets are read anew.  The list is libcurl's; NULL without memory.
 */
extern struct curl_slist *tap_http_headers(TapSession *session,
										   const TapHttpRequest *request);

/* A secret by the option itself or by one that names a file; NULL: neither. */
extern char *tap_http_secret(TapSession *session, const char *option, const char *file_option);

/* The lower case hexadecimal HMAC-SHA-256; in the current context. */
extern char *tap_http_hmac(const char *secret, const char *data, Size length);

/* ---------------------------------------------------------------------
 * Options
 * ---------------------------------------------------------------------
 */

typedef enum TapHttpBodyKind
{
	TAP_HTTP_BODY_ARRAY,
	TAP_HTTP_BODY_NDJSON,
	TAP_HTTP_BODY_SINGLE
} TapHttpBodyKind;

typedef struct TapHttpDialect TapHttpDialect;

/* The options of connection and pipeline, read once. */
typedef struct TapHttpSettings
{
	bool		tls;
	bool		verify_authority;
	bool		verify_host;
	const char *ssl_ca;
	const char *ssl_cert;
	const char *ssl_key;
	int64		connect_timeout_ms;
	int64		timeout_ms;		/* of a request as a whole */
	const char *query;			/* added to each URL, without "?"; or NULL */
	const char *method;
	TapHttpBodyKind body;
	int			batch_rows;
	Size		batch_bytes;
	int			max_in_flight;
	int64		retry_ms;		/* until a request that fails is an error */
	const char *target;			/* pattern of index or table names */
} TapHttpSettings;

/* Read the settings, in the current context. */
extern void tap_http_read_settings(const TapSessionArgs *args, TapHttpSettings *settings);

/* Checks for TapOption.check; each raises ERRCODE_INVALID_PARAMETER_VALUE. */
extern void tap_http_check_headers(const char *value);
extern void tap_http_check_secret_headers(const char *value);
extern void tap_http_check_header_name(const char *value);
extern void tap_http_check_query(const char *value);
extern void tap_http_check_token(const char *value);
extern void tap_http_check_pattern(const char *value);
extern void tap_http_check_column(const char *value);

/*
 * Names and values (alternating char *, in the current context) of a JSON
 * object of headers that was checked.
 */
extern List *tap_http_header_pairs(const char *json);

/* The dialect that scheme and option "dialect" name; raises an error. */
extern const TapHttpDialect *tap_http_dialect(const TapUri *uri, const TapOptions *options);

/* Whether the scheme stands for TLS. */
extern bool tap_http_scheme_is_tls(const char *scheme);

/*
 * What is wrong with the options of connection and pipeline together, or
 * NULL; *hint says how to mend it.
 */
extern char *tap_http_options_conflict(const TapSessionArgs *args, char **hint);

/* ---------------------------------------------------------------------
 * Batches
 * ---------------------------------------------------------------------
 */

/* One change in a batch. */
typedef struct TapHttpItem
{
	Size		offset;			/* in TapHttpBatch.data */
	Size		length;
	Size		row_offset;		/* of the row as a JSON object, in data */
	Size		row_length;		/* 0: the item itself is the change as JSON */
	const TapSourceTable *table;
	TapChangeKind kind;
	uint64		lsn;
	uint64		commit_lsn;		/* 0 for a row of a copy */
	int64		number;			/* in its transaction or copy */
	bool		settled;		/* stored, superseded or a dead letter */
} TapHttpItem;

/* Changes that are sent in one request, or a TRUNCATE. */
typedef struct TapHttpBatch
{
	dlist_node	node;			/* in its lane's queue */
	MemoryContext context;
	int64		sequence;		/* of all batches, in the order of changes */
	bool		barrier;		/* overtakes none and is overtaken by none */
	bool		truncate;		/* of target, without items */
	uint64		version;		/* of a truncate: it leaves what is newer; 0:
								 * nothing is */
	void	   *target;			/* the dialect's, where a request has one */
	uint64		covered_before; /* position that is durable without it */
	StringInfoData data;
	TapHttpItem *items;
	int			nitems;
	int			max_items;
	int			open_txn;		/* first item of a transaction that has not
								 * ended, or -1 */
	HTAB	   *by_id;			/* last item of each id; NULL: ids do not
								 * matter */
	TimestampTz created_at;

	TapHttpTransfer *transfer;	/* NULL: not on its way */
	TapHttpRequest request;
	StringInfoData body;		/* of the request; data NULL: not made */
	int			step;			/* the dialect's own, of a truncate */
	char	   *step_data;		/* the same; in context */
	int			step_items;
	int			attempts;		/* that failed, since the last success */
	char	   *failure;		/* of the last one; in context */
	bool		given_up;		/* raise an error instead of another attempt */
	TimestampTz first_failed_at;
	TimestampTz retry_at;		/* not to be sent before; 0: now */
} TapHttpBatch;

/* A change to be added. */
typedef struct TapHttpAddition
{
	const TapOutChange *change;
	uint32		hash;			/* decides the lane */
	void	   *target;			/* the batch must be for this one; NULL: any */
	const char *id;				/* supersedes what the batch has of the id; or
								 * NULL */
	const char *data;
	Size		length;
	Size		row_offset;		/* as in TapHttpItem */
	Size		row_length;
	bool		barrier;
} TapHttpAddition;

/* A new, empty batch. */
extern TapHttpBatch *tap_http_batch_create(TapSession *session, void *target);

/* Ends its request, too. */
extern void tap_http_batch_free(TapHttpBatch *batch);

extern void tap_http_batch_add(TapHttpBatch *batch, const TapHttpAddition *addition);

/* Move the items from first on into a new batch of the same kind. */
extern TapHttpBatch *tap_http_batch_cut(TapSession *session, TapHttpBatch *batch, int first);

/* "insert", "update" and so on; constant. */
extern const char *tap_http_kind_name(TapChangeKind kind);

/* How many items are not settled. */
extern int	tap_http_batch_pending(const TapHttpBatch *batch);

/* An item as the JSON text of a change, for a dead letter; current context. */
extern char *tap_http_item_change(const TapHttpBatch *batch, const TapHttpItem *item);

/*
 * JSON in UTF-8 as JSON in the database's encoding, escaped where that is
 * another; in the current context.
 */
extern char *tap_http_database_json(const char *json, int length);

/* Let all items that are not settled be dead letters (or raise the error). */
extern void tap_http_batch_refused(TapHttpBatch *batch, int sqlstate, const char *message);

/* Let one item be a dead letter (or raise the error). */
extern void tap_http_item_refused(TapHttpBatch *batch, TapHttpItem *item, int sqlstate,
								  const char *message);

/*
 * What the same request has again, and no other: the first and the last
 * change that is not settled.  In the current context.
 */
extern char *tap_http_batch_key(TapSession *session, const TapHttpBatch *batch);

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

typedef enum TapHttpVerdict
{
	TAP_HTTP_DONE,				/* no item is left */
	TAP_HTTP_AGAIN,				/* send what is left once more, later */
	TAP_HTTP_AT_ONCE,			/* send what is left once more, now */
	TAP_HTTP_SPLIT,				/* it was too large */
	TAP_HTTP_REFUSED			/* it will never be taken */
} TapHttpVerdict;

/*
 * What an answer means by its status alone.  Raises an error for those that
 * do not depend on what was sent: a login that failed, a redirect elsewhere.
 */
extern TapHttpVerdict tap_http_judge_status(TapSession *session, const TapHttpAnswer *answer);

/*
 * One line about an answer that is no success, without the session's secrets;
 * in the current context.
 */
extern char *tap_http_describe_answer(TapSession *session, const TapHttpAnswer *answer);

/*
 * Where all of these parameters stand, one after the other, in a URL or its
 * query; NULL: they do not.
 */
extern char *tap_http_find_parameters(char *url, const char *parameters);

/* Remember a secret that was sent, so that no message shows it. */
extern void tap_http_note_secret(TapSession *session, const char *secret);

/* Raise the error of an answer that is no success. */
extern void tap_http_raise_answer(TapSession *session, const TapHttpAnswer *answer,
								  const char *doing) __attribute__((noreturn));

/* How long to wait before the next attempt, in milliseconds. */
extern int64 tap_http_retry_delay(int attempts, int64 retry_after);

/* ---------------------------------------------------------------------
 * Dialects
 * ---------------------------------------------------------------------
 */

/* What differs between the kinds of server. */
struct TapHttpDialect
{
	const char *name;
	bool		needs_key;		/* refuses tables without one */
	bool		lane_per_table;
	bool		has_ids;		/* items supersede others of their id */

	/* See TapSinkCallbacks; may use tap_http_call(). */
	void	   *(*prepare_table) (TapSession *session, const TapSourceTable *table,
								  const TapSourceTable *old, bool known);

	/* Encode a change and add it by tap_http_queue_add(). */
	void		(*write) (TapSession *session, const TapOutChange *change);

	/* Make batch->request, with batch->body, of the unsettled items. */
	void		(*make_request) (TapSession *session, TapHttpBatch *batch);

	/* The same for a truncate; NULL: a copy that begins anew empties nothing. */
	void		(*make_truncate) (TapSession *session, TapHttpBatch *batch);

	/* What an answer to either means; settles items. */
	TapHttpVerdict (*judge) (TapSession *session, TapHttpBatch *batch,
							 const TapHttpAnswer *answer);

	/*
	 * Ask the server who it is: NULL when it is what it should be, else what
	 * is wrong; *detail describes the server.
	 */
	const char *(*recognize) (TapSession *session, char **detail);
};

extern const TapHttpDialect tap_http_webhook;
extern const TapHttpDialect tap_http_elasticsearch;
extern const TapHttpDialect tap_http_clickhouse;

/* ---------------------------------------------------------------------
 * The queue
 * ---------------------------------------------------------------------
 */

typedef struct TapHttpLane
{
	dlist_head	batches;		/* closed ones in order; only the first may be
								 * on its way */
	TapHttpBatch *open;			/* being filled, or NULL */
	const void *owner;			/* the target it is for, or NULL */
} TapHttpLane;

typedef struct TapHttpQueue
{
	TapHttpLane *lanes;
	int			nlanes;
	int			max_lanes;
	int64		sequence;		/* of the batch made last */
	int			in_flight;
	int			nclosed;		/* batches in the lanes, without open ones */
	Size		bytes;			/* of all batches */
	uint64		last_end;		/* position behind the last commit; 0: none */
	int64		txn_changes;	/* in the open transaction; 0: none is open */
	bool		force;			/* close batches also within a transaction */
} TapHttpQueue;

struct TapSession
{
	TapSessionArgs args;
	MemoryContext context;		/* as long as the session */
	const TapHttpDialect *dialect;
	TapHttpSettings settings;
	TapHttpClient *client;
	TapHttpQueue queue;
	List	   *targets;		/* of void *: the dialect's, one a table */
	List	   *secrets;		/* of char *: those that were sent */
	bool		told_newer;		/* that the target has newer documents */
	struct TapHttpSource *source;	/* NULL: the session is a sink's */
	char	   *oauth_token;	/* NULL: none was fetched, or none is needed */
	TimestampTz oauth_until;	/* when it has to be fetched anew; 0: never */
};

extern void tap_http_queue_init(TapSession *session);

/* Ends all requests; also after an error. */
extern void tap_http_queue_free(TapSession *session);

extern void tap_http_queue_begin(TapSession *session, const TapOutTxn *txn);
extern void tap_http_queue_commit(TapSession *session, const TapOutTxn *txn);
extern void tap_http_queue_add(TapSession *session, const TapHttpAddition *addition);

/*
 * A truncate of one target of the dialect, in order with all else.  What has a
 * newer version may be left (0: none is).
 */
extern void tap_http_queue_truncate(TapSession *session, void *target, uint64 version);

/* Whether no more should be added before some of it has been sent. */
extern bool tap_http_queue_is_full(TapSession *session);

/*
 * Send, and read answers, as far as can be had without waiting.  all: also
 * batches that could still grow.
 */
extern void tap_http_queue_pump(TapSession *session, bool all);

/* Wait until the queue has progressed, or could. */
extern void tap_http_queue_await(TapSession *session);

extern void tap_http_queue_wait(TapSession *session, TapWait *wait);

/* Wait until everything is settled at the target. */
extern void tap_http_queue_drain(TapSession *session);

/* The position up to which all is settled at the target; 0: none. */
extern uint64 tap_http_queue_position(TapSession *session);

/* The first of a lane's closed batches, or NULL. */
extern TapHttpBatch *tap_http_first_batch(TapHttpLane *lane);

/*
 * Do what an answer to the lane's first batch says; false when there is none.
 */
extern bool tap_http_read_answer(TapSession *session, TapHttpLane *lane);

/* Raise the error of a batch that failed for too long. */
extern void tap_http_raise_given_up(TapSession *session, TapHttpBatch *batch);

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

/* "{schema}-{table}" with a table's names; in the current context. */
extern char *tap_http_expand(const char *pattern, const TapTableName *name);

/* Escape for one segment of a path or a value of a query. */
extern void tap_http_append_escaped(StringInfo out, const char *text, const char *also_safe);

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

struct TapRowJson;

/* A column as the dialects look at it. */
typedef struct TapHttpColumn
{
	char	   *name;			/* UTF-8; NULL: the column was dropped */
	Oid			type;			/* domains resolved */
	int32		typmod;
} TapHttpColumn;

/*
 * The columns of a table (natts entries), in the current context.  Looks types
 * up: begins and commits a transaction of its own when there is none.
 */
extern TapHttpColumn *tap_http_columns(const TapSourceTable *table);

/* A text in UTF-8, in the current context; with a transaction likewise. */
extern char *tap_http_utf8(const char *text);

/*
 * The row after an insert, update or of a copy: each column's value from the
 * new row or, where the log does not repeat it, from the old one.  Append the
 * columns as "name":value,... and return NULL, or the name of a column that
 * neither has.
 */
extern const char *tap_http_append_whole_row(struct TapRowJson *json, StringInfo out,
											 const TapOutChange *change);

/* Let a change be a dead letter (or raise the error) before it is sent. */
extern void tap_http_refuse_change(struct TapRowJson *json, const TapOutChange *change,
								   int sqlstate, const char *message);

/* The same for a change whose column is unknown. */
extern void tap_http_refuse_partial(struct TapRowJson *json, const TapOutChange *change,
									const char *column);

/*
 * The key's columns as one text; false when a column is not known or NULL.
 * The texts of several columns are joined by "|".
 */
extern bool tap_http_append_id(struct TapRowJson *json, StringInfo out,
							   const TapSourceTable *table, const TapRowImage *image);

/* The version of a change: its commit's position, or that of its copy. */
extern uint64 tap_http_version(const TapOutChange *change);

/* Raise the error for a table without a key. */
extern void tap_http_require_key(const TapSourceTable *table, const char *kind);

/*
 * Raise the error for a target that was filled before and is gone: an empty
 * one in its place would hide that.  kind: what such a target is called.
 */
extern void tap_http_raise_gone(const char *kind, const char *target,
								const TapTableName *table) __attribute__((noreturn));

/* ---------------------------------------------------------------------
 * test_connection()
 * ---------------------------------------------------------------------
 */

extern TapSession *tap_http_open(const TapSessionArgs *args);
extern void tap_http_close(TapSession *session);
extern List *tap_http_test(const TapSessionArgs *args, List *tables);

/* One more check for a list of TapCheck *. */
extern List *tap_http_add_check(List *checks, const char *name, bool ok, bool required,
								char *detail, const char *hint, int sqlstate);

extern const TapSinkCallbacks tap_http_sink;

#endif							/* TAP_HTTP_CONNECTOR_H */
