/*-------------------------------------------------------------------------
 *
 * connectors/http/http_source.h
 *	  What the files of HTTP as a source share.
 *
 * NOTES
 *	  http_source.c		the stream: which endpoint is polled when, its events
 *	  http_source_table.c	tables of endpoints: columns, definitions, samples
 *	  http_source_options.c	endpoints from options
 *	  http_source_list.c	the options themselves
 *	  http_source_test.c	the checks of test_connection()
 *	  http_source_oauth.c	tokens by OAuth 2.0 client credentials
 *	  http_source_fetch.c	one GET: pace, login, attempts
 *	  http_poll.c		the poll of one endpoint, page after page
 *	  http_poll_state.c	what is kept of it between polls
 *	  http_poll_reject.c	records that are dead letters already
 *	  http_poll_cursor.c	how far an incremental endpoint was read
 *	  http_page.c		records in the body of an answer
 *	  http_page_next.c	where the next page is
 *	  http_page_link.c	the header Link
 *	  http_json_path.c	values in a JSON text by a path
 *
 *	  A poll reads all pages of one endpoint.  Where rows have a key and none
 *	  is to be deleted, each page is a transaction of its own, and the poll can
 *	  be gone on with behind any of them; else the whole poll is one.
 *
 *	  A position is the time, by the hub's clock in microseconds since 2000,
 *	  after which every endpoint was begun to be polled, and polled to its
 *	  end.  It never goes back.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_HTTP_SOURCE_H
#define TAP_HTTP_SOURCE_H

#include "http_connector.h"

#include "csv.h"
#include "json_split.h"
#include "record_columns.h"
#include "record_reader.h"


/* ---------------------------------------------------------------------
 * Endpoints
 * ---------------------------------------------------------------------
 */

typedef enum TapHttpFormat
{
	TAP_HTTP_FORMAT_AUTO,		/* by the answer's Content-Type */
	TAP_HTTP_FORMAT_JSON,
	TAP_HTTP_FORMAT_NDJSON,
	TAP_HTTP_FORMAT_CSV
} TapHttpFormat;

typedef enum TapHttpPagination
{
	TAP_HTTP_PAGES_NONE,
	TAP_HTTP_PAGES_LINK,
	TAP_HTTP_PAGES_PAGE,
	TAP_HTTP_PAGES_OFFSET,
	TAP_HTTP_PAGES_CURSOR
} TapHttpPagination;

typedef struct TapHttpPath TapHttpPath;

/* One endpoint, which is one table. */
typedef struct TapHttpEndpoint
{
	char	   *name;			/* of the table */
	char	   *path;			/* behind the URI's path, with its leading
								 * slash; NULL: the URI's path itself */
	char	   *query;			/* escaped, without "?"; or NULL */
	TapHttpFormat format;
	TapHttpPath *records;		/* NULL: the whole answer */
	List	   *key;			/* of char * */
	char	   *columns;		/* JSON; NULL: to be inferred */
	bool		compare;		/* what an answer lacks was deleted */

	TapHttpPagination pagination;
	char	   *page_parameter;
	char	   *page_size_parameter;
	int64		page_size;		/* 0: not asked for */
	int64		first_page;
	TapHttpPath *next;
	TapHttpPath *more;			/* NULL: an empty page is the last one */
	int64		max_pages;

	char	   *cursor;			/* a column; NULL: all is read by each poll */
	char	   *cursor_parameter;
	char	   *cursor_start;	/* or NULL */
	char	   *overlap;		/* or NULL */

	int64		interval_ms;
	Size		max_page_bytes;
	char		delimiter;		/* '\0': to be found out */
	bool		header_given;
	bool		header;
	char	   *null_text;
	char	   *settings;		/* a hash of them all, in hexadecimal */
} TapHttpEndpoint;

/*
 * The endpoints that the options of connection and pipeline (may be NULL)
 * name, in the current context: List of TapHttpEndpoint *.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE.
 */
extern List *tap_http_endpoints(const TapUri *uri, const TapOptions *connection,
								const TapOptions *pipeline);

/* The one of that name, or NULL. */
extern TapHttpEndpoint *tap_http_find_endpoint(List *endpoints, const char *name);

/* Whether any of the options of a source is given. */
extern bool tap_http_is_meant_as_source(const TapOptions *connection);

/* Whether its rows are stored by the whole poll at once. */
extern bool tap_http_is_atomic(const TapHttpEndpoint *endpoint);

/* "'orders' (/api/orders)" and so on, for messages; in the current context. */
extern char *tap_http_endpoint_text(const TapHttpEndpoint *endpoint);

/* Checks for TapOption.check; each raises ERRCODE_INVALID_PARAMETER_VALUE. */
extern void tap_http_check_endpoints(const char *value);
extern void tap_http_check_json_path(const char *value);
extern void tap_http_check_interval(const char *value);
extern void tap_http_check_parameter(const char *value);
extern void tap_http_check_delimiter(const char *value);

/* ---------------------------------------------------------------------
 * Paths in JSON
 * ---------------------------------------------------------------------
 */

/* A piece of a text. */
typedef struct TapHttpSlice
{
	const char *text;
	Size		length;
} TapHttpSlice;

typedef struct TapHttpSlices
{
	TapHttpSlice *items;
	Size		nitems;
	Size		allocated;
	bool		missing;		/* the path leads to nothing, not even null */
} TapHttpSlices;

/*
 * Compile a path, in the current context.  Members and [*] alone are followed
 * in the text; any other SQL/JSON path by PostgreSQL.  Raises an error for
 * what is none.
 */
extern TapHttpPath *tap_http_path_compile(const char *path);

/*
 * The path without its conditions and what is behind them: what it finds is
 * what the server has sent, wanted or not.  The path itself if it has none.
 */
extern const TapHttpPath *tap_http_path_unfiltered(const TapHttpPath *path,
												   bool *filter_is_last);

/*
 * What a path finds in a JSON text that is valid, and in the database's
 * encoding; values found point into it, or are in the current context.
 * unwrap: the elements of arrays that are found, instead of these.  Needs a
 * transaction.
 */
extern void tap_http_path_find(const TapHttpPath *path, const char *text, Size length,
							   bool unwrap, TapHttpSlices *found);

/* A member of an object as it stands there; false: it has no such one. */
extern bool tap_http_json_find(const char *object, Size length, const char *name,
							   TapHttpSlice *value);

/*
 * The text of a scalar: a string without its quotes, a number or true and
 * false as they are.  NULL for null and all else.  In the current context.
 */
extern char *tap_http_json_text(const char *value, Size length);

/* ---------------------------------------------------------------------
 * Requests
 * ---------------------------------------------------------------------
 */

/* A GET under way, with its pauses and attempts. */
typedef struct TapHttpFetch
{
	TapSession *session;
	MemoryContext context;		/* of the request; reset for each */
	TapHttpRequest request;
	TapHttpTransfer *transfer;	/* NULL: not on its way */
	bool		for_token;		/* it is the request for a token */
	bool		token_renewed;	/* after a 401 */
	bool		patient;		/* false: no attempts but one */
	int			attempts;		/* that failed */
	TimestampTz first_failed_at;
	TimestampTz not_before;		/* 0: at once */
	TimestampTz pause_until;	/* when the last pause ends that is not for
								 * our own pace; 0: there is none */
	char	   *pause_reason;	/* why that is, in the session's memory, or
								 * NULL */
	TimestampTz pause_told;		/* not_before when tapdata.status was told; 0:
								 * it shows none */
	TimestampTz started_at;		/* of the last request; 0: none */
	TapHttpRequest token_request;
	const char *url;			/* of the request, without the query */
} TapHttpFetch;

extern TapHttpFetch *tap_http_fetch_create(TapSession *session);

/*
 * Begin.  url: path and query as they stand in a URL of the session's host;
 * query: further parameters, or NULL.  headers: List of char *, or NIL.
 */
extern void tap_http_fetch_begin(TapHttpFetch *fetch, const char *url, const char *query,
								 List *headers, bool patient);

/*
 * The answer, or NULL when it is not there yet.  It lives until the next begin
 * or end.  Its status is a success, 304, or one of 4xx that another attempt
 * would not mend; all else is tried again for a while, then raised.
 */
extern const TapHttpAnswer *tap_http_fetch_answer(TapHttpFetch *fetch);

/* Where to wait for it. */
extern void tap_http_fetch_wait(TapHttpFetch *fetch, TapWait *wait);

/* Forget the request and its answer; tapdata.status shows no pause of it. */
extern void tap_http_fetch_end(TapHttpFetch *fetch);

/* Wait for the answer. */
extern const TapHttpAnswer *tap_http_fetch_await(TapHttpFetch *fetch);

/* Raise the error of an answer that is no success. */
extern void tap_http_fetch_raise(TapHttpFetch *fetch, const TapHttpAnswer *answer,
								 const TapHttpEndpoint *endpoint) __attribute__((noreturn));

/*
 * Path and query of a URL that a server gave, which is relative to current or
 * of the session's own scheme, host and port; in the current context.  Raises
 * an error for others.
 */
extern char *tap_http_local_url(TapSession *session, const char *current, const char *url);

/* ---------------------------------------------------------------------
 * OAuth
 * ---------------------------------------------------------------------
 */

/* Whether a token has to be fetched before the next request. */
extern bool tap_http_oauth_needed(TapSession *session);

/* The request for it, in the current context. */
extern void tap_http_oauth_request(TapSession *session, TapHttpRequest *request);

/* Take the answer; raises an error when there is no token in it. */
extern void tap_http_oauth_take(TapSession *session, const TapHttpAnswer *answer);

/* The token was refused; false when there is none. */
extern bool tap_http_oauth_forget(TapSession *session);

/* What is wrong with its options, or NULL. */
extern char *tap_http_oauth_conflict(const TapOptions *options);

/* ---------------------------------------------------------------------
 * Pages
 * ---------------------------------------------------------------------
 */

/* The body of an answer, on the way to be records. */
typedef struct TapHttpPage
{
	MemoryContext context;
	const char *url;			/* for messages */
	TapHttpFormat format;
	int			encoding;		/* of the body */
	const char *body;
	Size		length;
	bool		decompressed;	/* it was a compressed file */
	TapHttpSlices values;		/* JSON: the records; else none */
	int64		nserved;		/* JSON: records before conditions choose */
	TapJsonSplit split;			/* NDJSON */
	TapCsv	   *csv;
	char	  **names;			/* of CSV's fields */
	int			nnames;
	Size		offset;			/* NDJSON and CSV: of the record read last */
	Size		taken;			/* bytes of it */
	bool		failed;			/* reading it was an error */
	int64		nrecords;		/* read so far */
	TapHttpSlice raw;			/* JSON and NDJSON: the record read last */
	TapHttpSlice record;		/* the same in the database's encoding, when
								 * it was converted */
	bool		missing;		/* the path of records leads to nothing */
} TapHttpPage;

/*
 * Make a page of an answer, which must live as long; it lives in a context of
 * its own under parent.  Begins and commits a transaction of its own when
 * there is none.  Raises ERRCODE_PROTOCOL_VIOLATION for what is not of the
 * format.
 */
extern TapHttpPage *tap_http_page_open(const TapHttpEndpoint *endpoint, const char *url,
									   const TapHttpAnswer *answer, MemoryContext parent);

/*
 * The next record; false: there is none left.  Errors of class 22, upon which
 * the next call goes on behind the record.  Needs a transaction.
 */
extern bool tap_http_page_next(TapHttpPage *page);

/* Have the record in the database's encoding; errors of class 22. */
extern void tap_http_page_convert(TapHttpPage *page);

/* The record as it stands in the body. */
extern const char *tap_http_page_raw(const TapHttpPage *page, Size *length);

/*
 * A reader of the same records beside the page, from the one read last on, in
 * the current context.
 */
extern TapHttpPage *tap_http_page_fork(const TapHttpPage *page);

/* The next record that is well formed, for a sample. */
extern bool tap_http_page_next_sound(TapHttpPage *page);

/* Whether there is one more, without reading it. */
extern bool tap_http_page_has_more(TapHttpPage *page);

/* JSON text of the record read last, for a dead letter; current context. */
extern char *tap_http_page_describe(const TapHttpPage *page);

extern void tap_http_page_close(TapHttpPage *page);

/* The error for an answer that makes no sense. */
extern void tap_http_page_raise(const char *url, char *detail) __attribute__((noreturn));

/* Where a poll is among its pages. */
typedef struct TapHttpPlace
{
	char	   *url;			/* of the page as a whole; NULL: the
								 * endpoint's */
	char	   *token;			/* of pagination by cursor; NULL: the first
								 * page */
	int64		number;			/* of the page, or offset of the first record */
	int64		pages;			/* read before */
} TapHttpPlace;

extern void tap_http_place_begin(const TapHttpEndpoint *endpoint, TapHttpPlace *place);

/*
 * The URL of a page, and further parameters of it; since: of an incremental
 * endpoint, or NULL.  In the current context.
 */
extern char *tap_http_page_url(TapSession *session, const TapHttpEndpoint *endpoint,
							   const TapHttpPlace *place);
extern char *tap_http_page_query(const TapHttpEndpoint *endpoint, const TapHttpPlace *place,
								 const char *since);

/*
 * Move on to the page behind one; false: it was the last.  nrecords: those of
 * the page.  Strings are allocated in the current context.  Needs a
 * transaction if the page is JSON.
 */
extern bool tap_http_place_next(TapSession *session, const TapHttpEndpoint *endpoint,
								TapHttpPlace *place, const TapHttpPage *page,
								const TapHttpAnswer *answer);

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

/* The format of an endpoint's rows; lives in the context of its making. */
typedef struct TapHttpTable
{
	TapRecordColumns *columns;
	bool		inferred;		/* new fields become columns */
	TapSourceTable *source;
	TapRecordReader *reader;	/* NULL: not for reading */
	TupleTableSlot *slot;
	AttrNumber *fields;			/* CSV: the column of each of nfields fields;
								 * 0: none */
	int			nfields;
	AttrNumber	cursor;			/* column of the cursor; 0: none */
} TapHttpTable;

extern List *tap_http_list_tables(TapSession *session);
extern List *tap_http_describe_tables(TapSession *session, List *names);
extern TapSourceTable *tap_http_table_from_definition(TapSession *session,
													  const TapTableName *name,
													  const char *definition);

/*
 * The columns of an endpoint, given or of a sample that is fetched, as a
 * table that cannot read; *nrecords is set to the size of the sample, -1:
 * none was needed.  In the current context.
 */
extern TapHttpTable *tap_http_sample_table(TapSession *session, TapHttpEndpoint *endpoint,
										   int64 *nrecords);

/* A table that can read, of its definition; in the current context. */
extern TapHttpTable *tap_http_table_open(const TapHttpEndpoint *endpoint,
										 const char *definition);

/*
 * Read the record that the page is at into the table's slot.  Returns fields
 * that are no columns and shall become some.  Errors of class 22.
 */
extern List *tap_http_table_read(TapHttpTable *table, const TapHttpPage *page);

/* Another page of CSV begins: which field is which is to be found out again. */
extern void tap_http_table_forget_fields(TapHttpTable *table);

/*
 * The text of the cursor's field in the record read last, or NULL; in the
 * current context.
 */
extern char *tap_http_table_cursor(const TapHttpTable *table, const TapHttpPage *page);

/*
 * The table with columns for what the rest of the page has in addition, in
 * the current context.
 */
extern TapHttpTable *tap_http_table_extend(const TapHttpEndpoint *endpoint,
										   const TapHttpTable *table, const TapHttpPage *page);

/* Free what is not memory. */
extern void tap_http_table_close(TapHttpTable *table);

/* ---------------------------------------------------------------------
 * Polls
 * ---------------------------------------------------------------------
 */

/* How far an endpoint was read; texts are in the poll's context. */
typedef struct TapHttpState
{
	char	   *cursor;			/* the largest of all polls that ended; or
								 * NULL */
	char	   *largest;		/* of the poll under way and before; or NULL */
	char	   *since;			/* parameter of the poll under way; or NULL */
	char	   *etag;			/* of the last answer that was all of it */
	char	   *modified;
	char	   *validated;		/* what was asked for then */
	TimestampTz polled_at;		/* when the last poll that ended began; 0:
								 * none */
	bool		under_way;		/* place is where the poll goes on */
	TapHttpPlace place;
} TapHttpState;

typedef enum TapHttpStep
{
	TAP_HTTP_STEP_IDLE,			/* waits for its time */
	TAP_HTTP_STEP_FETCH,		/* a page is on its way */
	TAP_HTTP_STEP_ROWS,			/* its rows are told */
	TAP_HTTP_STEP_PAGE,			/* they are; what comes next? */
	TAP_HTTP_STEP_END			/* there is no further page */
} TapHttpStep;

/* One endpoint that is followed. */
typedef struct TapHttpPoll
{
	TapHttpEndpoint *endpoint;
	MemoryContext context;		/* as long as it is followed */
	MemoryContext state_context;
	void	   *table_data;		/* the core's */
	char	   *definition;		/* in state_context */
	TapHttpState state;
	char	   *noted;			/* the note that the core has */

	TapHttpTable *table;		/* NULL: not opened */
	MemoryContext table_context;
	TapHttpTable *later;		/* with columns that the rest of a comparison
								 * cannot have; or NULL */
	MemoryContext later_context;
	Datum		largest;		/* state.largest as a value of the column */
	bool		largest_known;

	TapHttpStep step;
	TimestampTz next_at;
	TimestampTz began_at;		/* of the poll under way */
	TimestampTz covered;		/* began_at of the last poll that ended; 0:
								 * none is known of */
	bool		resumed;		/* goes on where a former session was */
	bool		unchanged;		/* 304 */
	bool		asked_again;	/* for the page that was not there */
	bool		in_txn;
	bool		comparing;
	bool		compared;
	bool		extended;		/* columns came, and what is in them is not
								 * read */
	List	   *rejects;		/* records that are dead letters already */
	bool		record_is_due;	/* read, and to be told behind a SCHEMA event */
	TapHttpPage *page;			/* NULL: there is none */
	const TapHttpAnswer *answer;	/* of the page */
	char	   *asked;			/* for the first page; in state_context */
} TapHttpPoll;

typedef struct TapHttpSource
{
	MemoryContext context;
	List	   *endpoints;		/* of TapHttpEndpoint * */
	TapStreamArgs args;
	List	   *polls;			/* of TapHttpPoll * */
	TapHttpPoll *active;		/* the one under way, or NULL */
	TapHttpFetch *fetch;
	int64		position;		/* told */
	int64		reported;		/* what the core was told of it */
	TapHttpPoll *described;		/* whose record was read last, or NULL */
} TapHttpSource;

/* A table that begins to be followed; note is NULL if it is fresh. */
extern TapHttpPoll *tap_http_poll_create(TapSession *session, TapHttpEndpoint *endpoint,
										 const char *note);
extern void tap_http_poll_free(TapHttpPoll *poll);

/* The definition that the core has; the table is opened anew if it differs. */
extern void tap_http_poll_define(TapHttpPoll *poll, const char *definition);

/* Begin a poll now. */
extern void tap_http_poll_begin(TapSession *session, TapHttpPoll *poll);

/*
 * The next event of a poll that is under way; TAP_EVENT_NONE when the answer
 * is not there yet, or when the poll has ended (step IDLE) without a row.
 */
extern TapEventKind tap_http_poll_next(TapSession *session, TapHttpPoll *poll,
									   TapEvent *event);

/* Read the note of a poll, and write it with the next commit. */
extern void tap_http_state_read(TapHttpPoll *poll, const char *note);
extern void tap_http_state_note(TapHttpPoll *poll);

/* Replace a text of the state. */
extern void tap_http_state_set(TapHttpPoll *poll, char **text, const char *value);

/* The key of an endpoint's note, in the current context. */
extern char *tap_http_state_key(const char *name);

/*
 * The parameter of the next poll of an incremental endpoint; NULL: none.  In
 * the current context.  Begins and commits a transaction of its own when
 * there is none.
 */
extern char *tap_http_cursor_parameter(const TapHttpPoll *poll);

/* Take the cursor column of the row that was just read into account. */
extern void tap_http_cursor_take(TapHttpPoll *poll);

/*
 * Records that are dead letters already: whether the one read last is, that it
 * is one now, that the poll has ended, and what notes say.  forget is for a
 * table that begins anew.
 */
extern bool tap_http_reject_known(TapHttpPoll *poll);
extern void tap_http_reject_add(TapHttpPoll *poll);
extern void tap_http_reject_end(TapHttpPoll *poll);
extern void tap_http_reject_read(TapHttpPoll *poll);
extern void tap_http_reject_forget(TapHttpPoll *poll);

extern void tap_http_source_open(TapSession *session);
extern void tap_http_source_close(TapSession *session);

extern const TapSourceCallbacks tap_http_source;
extern const TapOption tap_http_source_options[];

/* The checks of a source; see TapConnector.test. */
extern List *tap_http_test_source(TapSession *session, List *tables, List *checks);

#endif							/* TAP_HTTP_SOURCE_H */
