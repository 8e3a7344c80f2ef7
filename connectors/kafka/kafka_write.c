/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_write.c
 *	  A change becomes messages.
 *
 * An insert is one message.  So is an update, unless it changed the key: then
 * the old key is deleted and the new one inserted.  A delete is one message,
 * in Debezium's formats followed by a tombstone; in the others the tombstone
 * is the message.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_connector.h"

#include "kafka_format.h"
#include "utils/memutils.h"

/* Events are taken after so many messages, so that they do not pile up. */
#define SERVE_INTERVAL		512

/* A change on its way: what its messages have in common. */
typedef struct Outgoing
{
	TapSession *session;
	TapKafkaTable *table;
	const TapOutChange *change;
} Outgoing;

/* ---------------------------------------------------------------------
 * Handing messages to librdkafka
 * ---------------------------------------------------------------------
 */

static rd_kafka_resp_err_t
produce(TapSession *session, const TapKafkaPending *message)
{
	rd_kafka_error_t *error;
	rd_kafka_resp_err_t code;
	rd_kafka_vu_t parts[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT,.u.rkt = message->topic->handle},
		{.vtype = RD_KAFKA_VTYPE_PARTITION,.u.i32 = message->partition},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS,.u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_KEY,.u.mem = {message->key, message->key_bytes}},
		{.vtype = RD_KAFKA_VTYPE_VALUE,.u.mem = {message->value, message->value_bytes}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE,.u.ptr = message->opaque},
		{.vtype = RD_KAFKA_VTYPE_HEADERS,.u.headers = message->headers}
	};

	if (message->headers == NULL)
	{
		if (rd_kafka_produce(message->topic->handle, message->partition, RD_KAFKA_MSG_F_COPY,
							 message->value, message->value_bytes, message->key,
							 message->key_bytes, message->opaque) == 0)
			return RD_KAFKA_RESP_ERR_NO_ERROR;
		return rd_kafka_last_error();
	}
	error = rd_kafka_produceva(session->client->rk, parts, lengthof(parts));
	if (error == NULL)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	code = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	return code;
}

static char *
copy_or_null(const char *bytes, Size length)
{
	char	   *copy;

	if (bytes == NULL)
		return NULL;
	copy = palloc(length + 1);
	memcpy(copy, bytes, length);
	return copy;
}

static List *
keep_message(List *list, MemoryContext context, const TapKafkaPending *message)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	TapKafkaPending *copy = palloc(sizeof(TapKafkaPending));

	*copy = *message;
	copy->key = copy_or_null(message->key, message->key_bytes);
	copy->value = copy_or_null(message->value, message->value_bytes);
	list = lappend(list, copy);
	MemoryContextSwitchTo(before);
	return list;
}

/* Whether messages can be produced at all now. */
static bool
may_produce(TapSession *session)
{
	if (!session->settings.exactly_once)
		return true;
	if (session->txn_state == TAP_KAFKA_TXN_COMMITTING)
		return false;
	tap_kafka_txn_begin(session);
	return true;
}

static void
report_produce(TapSession *session, const TapKafkaPending *message, rd_kafka_resp_err_t code)
{
	TapKafkaError error;

	tap_kafka_serve(session->client);
	tap_kafka_check_failures(session);
	tap_kafka_txn_check_age(session);
	tap_kafka_keep_code(&error, code, NULL);
	tap_kafka_report(&error, psprintf("could not produce to topic \"%s\"", message->topic->name));
}

bool
tap_kafka_send_pending(TapSession *session)
{
	if (session->pending == NIL)
		return true;
	if (!may_produce(session))
		return false;
	while (session->pending != NIL)
	{
		TapKafkaPending *message = linitial(session->pending);
		rd_kafka_resp_err_t code = produce(session, message);

		if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
			return false;
		if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
			report_produce(session, message, code);
		session->txn_bytes += message->key_bytes + message->value_bytes;
		session->pending = list_delete_first(session->pending);
	}
	MemoryContextReset(session->pending_context);
	return true;
}

/* ---------------------------------------------------------------------
 * Messages that are too large
 * ---------------------------------------------------------------------
 */

static bool
keeps_dead_letters(TapSession *session)
{
	return strcmp(tap_kafka_core->option_text(session->args.pipeline_options, "on_error"),
				  "dead_letter") == 0;
}

static const TapRowImage *
newest_image(const TapOutChange *change)
{
	return change->new_row.slot ? &change->new_row : &change->old_row;
}

/* The change as JSON, for a dead letter. */
static char *
describe_change(const TapOutChange *change)
{
	static const char *const names[] = {
		[TAP_CHANGE_INSERT] = "insert",
		[TAP_CHANGE_UPDATE] = "update",
		[TAP_CHANGE_DELETE] = "delete",
		[TAP_CHANGE_TRUNCATE] = "truncate",
		[TAP_CHANGE_READ] = "insert"
	};
	TapKafkaTable *table = change->table_data;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "{\"op\": \"%s\", \"table\": ", names[change->kind]);
	tap_json_append_cstring(&text, table->collection);
	if (change->old_row.slot != NULL)
	{
		appendStringInfoString(&text, ", \"old\": ");
		tap_row_json_append(table->json, &text, &change->old_row, TAP_ROW_JSON_ALL);
	}
	if (change->new_row.slot != NULL)
	{
		appendStringInfoString(&text, ", \"new\": ");
		tap_row_json_append(table->json, &text, &change->new_row, TAP_ROW_JSON_ALL);
	}
	appendStringInfoChar(&text, '}');
	return tap_kafka_from_utf8(text.data);
}

static void
refuse_large(TapSession *session, const TapKafkaPending *message, const TapOutChange *change)
{
	TapKafkaTable *table = change ? change->table_data : NULL;
	StringInfoData key;
	char	   *reason;

	initStringInfo(&key);
	if (table != NULL && table->source.nkeys > 0 && newest_image(change)->slot != NULL)
		tap_row_json_append(table->json, &key, newest_image(change), TAP_ROW_JSON_KEY);
	else
		appendStringInfoString(&key, "(none)");
	reason = psprintf("a message of %zu bytes with key %s is larger than the %lld bytes that one may have",
					  message->key_bytes + message->value_bytes, key.data,
					  (long long) session->settings.message_max_bytes);
	if (change != NULL && keeps_dead_letters(session))
	{
		tap_kafka_core->dead_letter(&change->table->name, describe_change(change),
									change->txn ? change->txn->end_lsn : change->lsn,
									ERRCODE_PROGRAM_LIMIT_EXCEEDED, reason);
		session->set_aside = true;
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("%s", reason),
			 errdetail("It is for topic \"%s\"%s%s.", message->topic->name,
					   table ? " and of table " : "", table ? table->full_name : ""),
			 errhint("Raise the option \"kafka.message.max.bytes\" and the topic's max.message.bytes, leave large columns out with the option \"columns\", or set the option \"on_error\" to dead_letter.")));
}

static bool
is_too_large(const TapSession *session, const TapKafkaPending *message)
{
	return message->key_bytes + message->value_bytes > session->settings.message_max_bytes;
}

static void
send_message(TapSession *session, TapKafkaPending *message, const TapOutChange *change)
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__QUEUE_FULL;
	bool		producing = session->pending == NIL && may_produce(session);

	if (is_too_large(session, message))
		code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
	else
	{
		message->opaque = tap_kafka_batch_opaque(session);
		if (producing)
			code = produce(session, message);
		if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
			tap_kafka_batch_forget(session);
	}

	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		session->txn_bytes += message->key_bytes + message->value_bytes;
	else if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		session->pending = keep_message(session->pending, session->pending_context, message);
	else
	{
		if (message->headers != NULL)
			rd_kafka_headers_destroy(message->headers);
		if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
			refuse_large(session, message, change);
		else
			report_produce(session, message, code);
	}
}

void
tap_kafka_emit(TapSession *session, TapKafkaTopic *topic, int32 partition, StringInfo key,
			   StringInfo value, rd_kafka_headers_t *headers, const TapOutChange *change)
{
	TapKafkaPending message = {
		.topic = topic,
		.partition = partition,
		.key = key ? key->data : NULL,
		.key_bytes = key ? key->len : 0,
		.value = value ? value->data : NULL,
		.value_bytes = value ? value->len : 0,
		.headers = headers
	};

	if (session->holding)
		session->held = keep_message(session->held, session->row_context, &message);
	else
		send_message(session, &message, change);
}

/* ---------------------------------------------------------------------
 * Changes of several messages: all of them are sent, or none
 * ---------------------------------------------------------------------
 */

/* Also what a change left that could not be encoded to its end. */
static void
discard_held(TapSession *session)
{
	ListCell   *cell;

	foreach(cell, session->held)
	{
		TapKafkaPending *message = lfirst(cell);

		if (message->headers != NULL)
			rd_kafka_headers_destroy(message->headers);
	}
	session->held = NIL;
	session->holding = false;
}

static void
send_held(TapSession *session, const TapOutChange *change)
{
	List	   *held = session->held;
	ListCell   *cell;

	foreach(cell, held)
	{
		TapKafkaPending *message = lfirst(cell);

		if (!is_too_large(session, message))
			continue;
		discard_held(session);
		refuse_large(session, message, change);
		return;
	}
	session->held = NIL;
	session->holding = false;
	foreach(cell, held)
		send_message(session, lfirst(cell), change);
}

/* ---------------------------------------------------------------------
 * Headers
 * ---------------------------------------------------------------------
 */

static void
add_header(rd_kafka_headers_t *headers, const char *name, const char *value)
{
	(void) rd_kafka_header_add(headers, name, -1, value, -1);
}

static rd_kafka_headers_t *
make_headers(const Outgoing *out, char op, int wanted)
{
	const TapOutTxn *txn = out->change->txn;
	char		op_text[2] = {op, '\0'};
	rd_kafka_headers_t *headers;

	if (wanted == 0)
		return NULL;
	headers = rd_kafka_headers_new(8);
	if (wanted & TAP_KAFKA_HEADER_OP)
		add_header(headers, "op", op_text);
	if (wanted & TAP_KAFKA_HEADER_TABLE)
		add_header(headers, "table", out->table->collection);
	if (wanted & TAP_KAFKA_HEADER_LSN)
		add_header(headers, "lsn", psprintf("%X/%X", LSN_FORMAT_ARGS(out->change->lsn)));
	if ((wanted & TAP_KAFKA_HEADER_XID) && txn != NULL)
		add_header(headers, "xid", psprintf("%u", txn->xid));
	if ((wanted & TAP_KAFKA_HEADER_ORIGIN) && txn != NULL && txn->origin != NULL)
		add_header(headers, "origin", txn->origin);
	if ((wanted & TAP_KAFKA_HEADER_COMMIT_TIME) && txn != NULL)
		add_header(headers, "commit_time", tap_kafka_timestamp_text(txn->commit_time));
	return headers;
}

/* ---------------------------------------------------------------------
 * One message for each step of a change
 * ---------------------------------------------------------------------
 */

/* Encode the key of an image; NULL when the table has none. */
static StringInfo
encode_key(const Outgoing *out, const TapRowImage *image, StringInfo into)
{
	const TapKafkaTable *table = out->table;

	if (table->source.nkeys == 0 || image == NULL)
		return NULL;
	slot_getallattrs(image->slot);
	for (int i = 0; i < table->source.nkeys; i++)
	{
		if (image->present != NULL && !image->present[table->source.keys[i] - 1])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("column \"%s\" of the key is not known of an old row of table %s",
							NameStr(TupleDescAttr(table->source.descriptor,
												  table->source.keys[i] - 1)->attname),
							table->full_name),
					 errhint("Run ALTER TABLE %s REPLICA IDENTITY FULL, or take the column out of the option \"key_columns\".",
							 table->full_name)));
	}
	resetStringInfo(into);
	tap_kafka_encode_key(out->session, out->table, image, into);
	return into;
}

static void
emit(const Outgoing *out, StringInfo key, StringInfo value, rd_kafka_headers_t *headers)
{
	tap_kafka_emit(out->session, out->table->topic, RD_KAFKA_PARTITION_UA, key, value, headers,
				   out->change);
}

/* A row that is there now. */
static void
emit_row(const Outgoing *out, char op, const TapRowImage *before, const TapRowImage *after,
		 StringInfo key, rd_kafka_headers_t *headers)
{
	StringInfo	value = &out->session->value;

	resetStringInfo(value);
	tap_kafka_encode_value(out->session, out->table, out->change, op, before, after, value);
	emit(out, key, value, headers);
}

/* As Debezium has it: the key without its schema, whatever the format is. */
static void
add_key_header(const Outgoing *out, rd_kafka_headers_t **headers, const char *name,
			   const TapRowImage *image)
{
	StringInfoData key;

	if (!tap_kafka_format_has_envelope(out->session->settings.format))
		return;
	initStringInfo(&key);
	tap_row_json_append(out->table->json, &key, image, TAP_ROW_JSON_KEY);
	if (*headers == NULL)
		*headers = rd_kafka_headers_new(1);
	(void) rd_kafka_header_add(*headers, name, -1, key.data, key.len);
}

static rd_kafka_headers_t *
delete_headers(const Outgoing *out, const TapRowImage *new_row, int wanted)
{
	rd_kafka_headers_t *headers = make_headers(out, 'd', wanted);

	if (new_row != NULL)
		add_key_header(out, &headers, "__debezium.newkey", new_row);
	return headers;
}

/* A row that is gone; new_row is what it became under another key, or NULL. */
static void
emit_delete(const Outgoing *out, const TapRowImage *before, StringInfo key,
			const TapRowImage *new_row)
{
	const TapKafkaSettings *settings = &out->session->settings;
	bool		tombstone = settings->tombstones && key != NULL;
	int			wanted = settings->headers;

	if (!tap_kafka_format_has_envelope(settings->format))
	{
		if (tombstone)
		{
			emit(out, key, NULL, delete_headers(out, new_row, wanted));
			return;
		}
		/* what is gone is told by the header */
		wanted |= TAP_KAFKA_HEADER_OP;
	}
	emit_row(out, 'd', before, NULL, key, delete_headers(out, new_row, wanted));
	if (tombstone)
		emit(out, key, NULL, delete_headers(out, new_row, wanted));
}

/* An update that changed the key: one row is gone, another is there. */
static void
emit_key_change(const Outgoing *out, StringInfo old_key, StringInfo new_key)
{
	const TapOutChange *change = out->change;
	rd_kafka_headers_t *there;

	emit_delete(out, &change->old_row, old_key, &change->new_row);
	there = make_headers(out, 'c', out->session->settings.headers);
	add_key_header(out, &there, "__debezium.oldkey", &change->old_row);
	tap_kafka_extra_change(out->session, change);	/* another event */
	emit_row(out, 'c', NULL, &change->new_row, new_key, there);
}

/* A row in Avro has no way to say it but the header. */
static void
emit_truncate(const Outgoing *out)
{
	const TapKafkaSettings *settings = &out->session->settings;
	rd_kafka_headers_t *headers = make_headers(out, 't', settings->headers | TAP_KAFKA_HEADER_OP);

	if (settings->format == TAP_KAFKA_FORMAT_AVRO)
		emit(out, NULL, NULL, headers);
	else
		emit_row(out, 't', NULL, NULL, NULL, headers);
}

static bool
keys_differ(const StringInfoData *a, const StringInfoData *b)
{
	return a != NULL && b != NULL && (a->len != b->len || memcmp(a->data, b->data, a->len) != 0);
}

static void
write_update(const Outgoing *out)
{
	TapSession *session = out->session;
	const TapOutChange *change = out->change;
	const TapRowImage *before = change->old_row.slot ? &change->old_row : NULL;
	StringInfo	new_key = encode_key(out, &change->new_row, &session->key);
	StringInfo	old_key = encode_key(out, before, &session->scratch);

	if (keys_differ(old_key, new_key))
	{
		session->holding = true;
		emit_key_change(out, old_key, new_key);
	}
	else
		emit_row(out, 'u', before, &change->new_row, new_key,
				 make_headers(out, 'u', session->settings.headers));
}

bool
tap_kafka_write_change(TapSession *session, const TapOutChange *change)
{
	Outgoing	out = {session, change->table_data, change};
	MemoryContext before = MemoryContextSwitchTo(session->row_context);
	int			headers = session->settings.headers;
	bool		flush;

	discard_held(session);
	switch (change->kind)
	{
		case TAP_CHANGE_INSERT:
			emit_row(&out, 'c', NULL, &change->new_row,
					 encode_key(&out, &change->new_row, &session->key),
					 make_headers(&out, 'c', headers));
			break;
		case TAP_CHANGE_READ:
			emit_row(&out, 'r', NULL, &change->new_row,
					 encode_key(&out, &change->new_row, &session->key),
					 make_headers(&out, 'r', headers));
			break;
		case TAP_CHANGE_UPDATE:
			write_update(&out);
			break;
		case TAP_CHANGE_DELETE:
			session->holding = session->settings.tombstones;
			emit_delete(&out, &change->old_row,
						encode_key(&out, &change->old_row, &session->key), NULL);
			break;
		case TAP_CHANGE_TRUNCATE:
			emit_truncate(&out);
			break;
	}
	if (session->holding)
		send_held(session, change);
	MemoryContextSwitchTo(before);
	MemoryContextReset(session->row_context);
	if (++session->unserved >= SERVE_INTERVAL)
	{
		session->unserved = 0;
		tap_kafka_serve(session->client);
	}

	/* the hub stores dead letters at a flush: before our position passes them */
	flush = session->set_aside || session->pending != NIL || session->client->failures != NIL;
	session->set_aside = false;
	return flush;
}
