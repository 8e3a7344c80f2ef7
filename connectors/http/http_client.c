/*-------------------------------------------------------------------------
 *
 * connectors/http/http_client.c
 *	  Requests by libcurl's multi interface.
 *
 * NOTES
 *	  libcurl never waits: it tells which sockets it wants to hear of
 *	  (watch_socket) and when it wants to be called again (set_timer).  The
 *	  sockets are kept in an epoll set, which is itself something to wait for,
 *	  so that the process's latch and any number of requests are waited for
 *	  together.
 *
 *	  libcurl looks up host names in a thread.  Signals are blocked while it may
 *	  start one, so that PostgreSQL's handlers never run there.
 *
 *	  Its callbacks (watch_socket, set_timer, take_body, take_header) raise no
 *	  error and allocate by malloc() only.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include <curl/curl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MAX_REDIRECTS		5
#define MAX_EVENTS			16
#define MOST_HEADER_BYTES	(64 * 1024)
#define EXCEPTION_HEADER	"x-clickhouse-exception-code:"

struct TapHttpClient
{
	TapSession *session;
	CURLM	   *multi;
	int			epoll;			/* -1: not made */
	int			host;			/* the URI's host in use */
	TimestampTz timer_at;		/* when libcurl wants to be called; 0: not */
	int			running;		/* transfers that are under way */
	dlist_head	transfers;
};

struct TapHttpTransfer
{
	dlist_node	node;
	TapHttpClient *client;
	CURL	   *easy;
	struct curl_slist *headers;
	TapHttpRequest request;
	char		message[CURL_ERROR_SIZE];
	char	   *body;			/* by malloc() */
	Size		length;
	Size		capacity;
	bool		out_of_memory;
	int			redirects;
	bool		finished;
	TapHttpAnswer answer;
	char	   *error;			/* by malloc(), as the next two */
	char	   *redirect;
	char	   *answer_headers;
	Size		header_bytes;
};

/* ---------------------------------------------------------------------
 * What libcurl calls
 * ---------------------------------------------------------------------
 */

static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *data, void *known)
{
	TapHttpClient *client = data;
	struct epoll_event event = {0};

	(void) easy;
	(void) known;
	event.data.fd = socket;
	if (what == CURL_POLL_REMOVE)
	{
		(void) epoll_ctl(client->epoll, EPOLL_CTL_DEL, socket, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(client->epoll, EPOLL_CTL_MOD, socket, &event) != 0 &&
		epoll_ctl(client->epoll, EPOLL_CTL_ADD, socket, &event) != 0)
		return -1;
	return 0;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *data)
{
	TapHttpClient *client = data;

	(void) multi;
	client->timer_at = (timeout_ms < 0) ? 0 :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	return 0;
}

static bool
make_room(TapHttpTransfer *transfer, Size more)
{
	Size		needed = transfer->length + more + 1;
	Size		capacity = Max(transfer->capacity, 1024);
	char	   *larger;

	if (needed <= transfer->capacity)
		return true;
	while (capacity < needed)
		capacity *= 2;
	larger = realloc(transfer->body, capacity);
	if (larger == NULL)
		return false;
	transfer->body = larger;
	transfer->capacity = capacity;
	return true;
}

static size_t
take_body(char *bytes, size_t size, size_t count, void *data)
{
	TapHttpTransfer *transfer = data;
	Size		more = size * count;
	Size		room = transfer->request.answer_limit - transfer->length;

	if (more > room)
	{
		/* enough is known; the rest of it is not even read */
		transfer->answer.too_long = true;
		more = room;
	}
	if (!make_room(transfer, more))
	{
		transfer->out_of_memory = true;
		return 0;
	}
	memcpy(transfer->body + transfer->length, bytes, more);
	transfer->length += more;
	transfer->body[transfer->length] = '\0';
	return transfer->answer.too_long ? 0 : size * count;
}

/* Keep a line of the answer's headers; those of a redirect make room for it. */
static bool
keep_header(TapHttpTransfer *transfer, const char *line, Size length)
{
	char	   *larger;

	if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
		transfer->header_bytes = 0;
	if (transfer->header_bytes + length > MOST_HEADER_BYTES)
		return false;
	larger = realloc(transfer->answer_headers, transfer->header_bytes + length + 1);
	if (larger == NULL)
		return false;
	memcpy(larger + transfer->header_bytes, line, length);
	transfer->header_bytes += length;
	larger[transfer->header_bytes] = '\0';
	transfer->answer_headers = larger;
	return true;
}

static size_t
take_header(char *bytes, size_t size, size_t count, void *data)
{
	TapHttpTransfer *transfer = data;
	Size		length = size * count;
	Size		name = strlen(EXCEPTION_HEADER);

	if (transfer->request.headers_kept && !keep_header(transfer, bytes, length))
	{
		transfer->answer.too_long = true;
		return 0;
	}
	if (length > name && length < name + 32 &&
		pg_strncasecmp(bytes, EXCEPTION_HEADER, name) == 0)
	{
		char		number[32];

		memcpy(number, bytes + name, length - name);
		number[length - name] = '\0';
		transfer->answer.exception = (int) strtol(number, NULL, 10);
	}
	return length;
}

/* ---------------------------------------------------------------------
 * The client
 * ---------------------------------------------------------------------
 */

TapHttpClient *
tap_http_client_create(TapSession *session)
{
	TapHttpClient *client = MemoryContextAllocZero(session->context, sizeof(TapHttpClient));

	client->session = session;
	client->epoll = -1;
	dlist_init(&client->transfers);
	session->client = client;	/* for tap_http_client_free() after an error */
	client->multi = curl_multi_init();
	if (client->multi == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create an epoll set: %m")));
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	return client;
}

void
tap_http_client_free(TapHttpClient *client)
{
	if (client == NULL)
		return;
	while (!dlist_is_empty(&client->transfers))
		tap_http_finish(dlist_container(TapHttpTransfer, node,
										dlist_head_node(&client->transfers)));
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	client->multi = NULL;
	if (client->epoll >= 0)
		close(client->epoll);
	client->epoll = -1;
}

void
tap_http_next_host(TapHttpClient *client)
{
	int			nhosts = client->session->args.uri->nhosts;

	client->host = (client->host + 1) % nhosts;
}

char *
tap_http_place(TapSession *session)
{
	const TapUriHost *host = &session->args.uri->hosts[session->client->host];
	bool		ipv6 = strchr(host->host, ':') != NULL;
	StringInfoData place;

	initStringInfo(&place);
	appendStringInfo(&place, "http%s://%s%s%s", session->settings.tls ? "s" : "",
					 ipv6 ? "[" : "", host->host, ipv6 ? "]" : "");
	if (host->port != 0)
		appendStringInfo(&place, ":%d", host->port);
	return place.data;
}

/* ---------------------------------------------------------------------
 * Transfers
 * ---------------------------------------------------------------------
 */

static void
set_up(TapHttpTransfer *transfer)
{
	CURL	   *easy = transfer->easy;
	TapSession *session = transfer->client->session;

	transfer->headers = tap_http_set_request(session, easy, &transfer->request);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->message);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
}

TapHttpTransfer *
tap_http_begin(TapHttpClient *client, const TapHttpRequest *request)
{
	const TapUriHost *host = &client->session->args.uri->hosts[client->host];
	TapHttpTransfer *transfer;

	/* the list may have changed since the connection was made */
	if (request->foreign_url == NULL)
		tap_http_check_allowed(host->host, host->port, client->session->settings.tls);
	transfer = MemoryContextAllocZero(client->session->context, sizeof(TapHttpTransfer));
	transfer->client = client;
	transfer->request = *request;
	dlist_push_tail(&client->transfers, &transfer->node);
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	set_up(transfer);
	if (curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not begin a request")));
	client->running++;
	return transfer;
}

void
tap_http_finish(TapHttpTransfer *transfer)
{
	TapHttpClient *client = transfer->client;

	dlist_delete(&transfer->node);
	if (transfer->easy != NULL)
	{
		(void) curl_multi_remove_handle(client->multi, transfer->easy);
		curl_easy_cleanup(transfer->easy);
		if (!transfer->finished)
			client->running--;
	}
	curl_slist_free_all(transfer->headers);
	free(transfer->body);
	free(transfer->error);
	free(transfer->redirect);
	free(transfer->answer_headers);
	pfree(transfer);
}

/* ---------------------------------------------------------------------
 * Answers
 * ---------------------------------------------------------------------
 */

static bool
fails_for_good(CURLcode code)
{
	switch (code)
	{
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_ISSUER_ERROR:
			return true;
		default:
			return false;
	}
}

/* Of the same scheme, host and port as the request was sent to. */
static bool
is_same_place(CURL *easy, const char *target)
{
	static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
	char	   *from = NULL;
	CURLU	   *a = curl_url();
	CURLU	   *b = curl_url();
	bool		same = curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &from) == CURLE_OK &&
	a != NULL && b != NULL && from != NULL &&
	curl_url_set(a, CURLUPART_URL, from, 0) == CURLUE_OK &&
	curl_url_set(b, CURLUPART_URL, target, 0) == CURLUE_OK;

	for (int i = 0; i < lengthof(parts) && same; i++)
	{
		char	   *one = NULL;
		char	   *other = NULL;

		same = curl_url_get(a, parts[i], &one, CURLU_DEFAULT_PORT) == CURLUE_OK &&
			curl_url_get(b, parts[i], &other, CURLU_DEFAULT_PORT) == CURLUE_OK &&
			pg_strcasecmp(one, other) == 0;
		curl_free(one);
		curl_free(other);
	}
	curl_url_cleanup(a);
	curl_url_cleanup(b);
	return same;
}

/* Whether a redirect has the same method again, as all have for GET. */
static bool
keeps_method(const TapHttpTransfer *transfer)
{
	long		status = transfer->answer.status;

	return status == 307 || status == 308 ||
		(strcmp(transfer->request.method, "GET") == 0 && status >= 301 && status <= 303);
}

/*
 * A redirect that keeps the method and stays at the place is followed; true
 * when the request is under way again.
 */
static bool
follow_redirect(TapHttpTransfer *transfer)
{
	char	   *target = NULL;
	char	   *copy;

	if (transfer->answer.status < 300 || transfer->answer.status > 399)
		return false;
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &target);
	if (target == NULL)
		return false;
	copy = strdup(target);
	free(transfer->redirect);
	transfer->redirect = copy;
	if (copy == NULL || !keeps_method(transfer) || transfer->redirects >= MAX_REDIRECTS || !is_same_place(transfer->easy, copy))
		return false;

	(void) curl_multi_remove_handle(transfer->client->multi, transfer->easy);
	transfer->redirects++;
	transfer->length = 0;
	memset(&transfer->answer, 0, sizeof(TapHttpAnswer));
	curl_easy_setopt(transfer->easy, CURLOPT_URL, copy);
	return curl_multi_add_handle(transfer->client->multi, transfer->easy) == CURLM_OK;
}

/* The text for a transfer without a whole answer. */
static const char *
failure_text(TapHttpTransfer *transfer, CURLcode code)
{
	if (transfer->out_of_memory)
		return "out of memory";
	if (transfer->answer.too_long)
		return "the answer is longer than any that was to be expected";
	return transfer->message[0] != '\0' ? transfer->message : curl_easy_strerror(code);
}

static void
take_answer(TapHttpTransfer *transfer, CURLcode code)
{
	TapHttpAnswer *answer = &transfer->answer;
	curl_off_t	retry_after = 0;
	bool		ignored = answer->too_long && transfer->request.answer_ignored;

	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &answer->status);
	answer->complete = (code == CURLE_OK || (code == CURLE_WRITE_ERROR && ignored));
	if (answer->complete && follow_redirect(transfer))
		return;
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	answer->retry_after = Max((int64) retry_after, 0);
	answer->body = transfer->body ? transfer->body : "";
	answer->length = transfer->length;
	answer->redirect = transfer->redirect;
	answer->headers = transfer->answer_headers;
	if (!answer->complete)
	{
		transfer->error = strdup(failure_text(transfer, code));
		answer->error = transfer->error ? transfer->error : "out of memory";
		answer->for_good = fails_for_good(code);
	}
	transfer->finished = true;
	transfer->client->running--;
}

const TapHttpAnswer *
tap_http_answer(TapHttpTransfer *transfer)
{
	return transfer->finished ? &transfer->answer : NULL;
}

/* ---------------------------------------------------------------------
 * Making progress
 * ---------------------------------------------------------------------
 */

/* Signals that are handled wait meanwhile; see the notes. */
static void
act_on_socket(TapHttpClient *client, curl_socket_t socket, int events)
{
	sigset_t	all;
	sigset_t	before;
	int			running;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	sigprocmask(SIG_SETMASK, &all, &before);
	(void) curl_multi_socket_action(client->multi, socket, events, &running);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void
act_on_timer(TapHttpClient *client)
{
	/* each turn can set it anew to "at once" */
	for (int turns = 0; turns < 100 && client->timer_at != 0 &&
		 client->timer_at <= GetCurrentTimestamp(); turns++)
	{
		client->timer_at = 0;
		act_on_socket(client, CURL_SOCKET_TIMEOUT, 0);
	}
}

static bool
act_on_events(TapHttpClient *client)
{
	struct epoll_event events[MAX_EVENTS];
	int			nevents = epoll_wait(client->epoll, events, MAX_EVENTS, 0);

	for (int i = 0; i < nevents; i++)
	{
		int			what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		act_on_socket(client, events[i].data.fd, what);
	}
	return nevents > 0;
}

static void
take_answers(TapHttpClient *client)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
	{
		char	   *transfer = NULL;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void) curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		take_answer((TapHttpTransfer *) transfer, code);
	}
}

void
tap_http_pump(TapHttpClient *client)
{
	/* bounded, for a server that always has more to say */
	for (int turns = 0; turns < 100; turns++)
	{
		bool		any;

		act_on_timer(client);
		any = act_on_events(client);
		take_answers(client);
		if (!any)
			break;
	}
}

void
tap_http_client_wait(TapHttpClient *client, TapWait *wait)
{
	wait->socket = PGINVALID_SOCKET;
	wait->events = 0;
	wait->timeout_ms = -1;
	if (client->running == 0)
		return;
	wait->socket = client->epoll;
	wait->events = WL_SOCKET_READABLE;
	if (client->timer_at != 0)
		wait->timeout_ms = Max(0, TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
																  client->timer_at));
}

/* ---------------------------------------------------------------------
 * One request by itself
 * ---------------------------------------------------------------------
 */

static TapHttpAnswer *
copy_answer(const TapHttpAnswer *answer)
{
	TapHttpAnswer *copy = palloc(sizeof(TapHttpAnswer));
	char	   *body = palloc(answer->length + 1);

	*copy = *answer;
	if (answer->length > 0)
		memcpy(body, answer->body, answer->length);
	body[answer->length] = '\0';
	copy->body = body;
	copy->error = answer->error ? pstrdup(answer->error) : NULL;
	copy->redirect = answer->redirect ? pstrdup(answer->redirect) : NULL;
	copy->headers = answer->headers ? pstrdup(answer->headers) : NULL;
	return copy;
}

TapHttpAnswer *
tap_http_call(TapSession *session, const TapHttpRequest *request)
{
	TapHttpTransfer *transfer;
	TapHttpAnswer *answer;

	/* another host may answer */
	for (int attempt = 1;; attempt++)
	{
		transfer = tap_http_begin(session->client, request);
		tap_http_pump(session->client);
		while (tap_http_answer(transfer) == NULL)
		{
			TapWait		wait;

			tap_http_client_wait(session->client, &wait);
			(void) tap_http_core->wait_socket(wait.socket, wait.events, wait.timeout_ms);
			CHECK_FOR_INTERRUPTS();
			tap_http_pump(session->client);
		}
		answer = copy_answer(tap_http_answer(transfer));
		tap_http_finish(transfer);
		if (answer->status != 0 || attempt >= session->args.uri->nhosts)
			return answer;
		tap_http_next_host(session->client);
	}
}
