/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_sink_batch.c
 *	  Collects changes, and makes statements of many rows of them.
 *
 * NOTES
 *	  The changes of a table form a group as long as no key comes twice: then
 *	  their order does not matter, and they become a few statements, first the
 *	  deletes.  A key that comes again ends the group, unless an update replaces
 *	  a row that the group has already.  Tables do not wait for each other, but
 *	  when foreign keys are checked.
 *
 *	  Tables that are in_order form no groups, but for runs of inserts.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_sink.h"

#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A statement takes at most so many rows, and so many keys. */
#define MAX_ROWS			4096
#define MAX_KEYS			500

/* Room in a packet for what stands around rows. */
#define STATEMENT_BYTES		256

/* Forget keys of closed groups when there are so many. */
#define MANY_KEYS			65536

/* Where the change with a key stands in its group. */
typedef struct KeyEntry
{
	uint64		hash;			/* of table and key */
	uint64		group;
	int			place;			/* in inserts or upserts_list; -1: other lists */
	bool		is_insert;
	char		status;
} KeyEntry;

#define SH_PREFIX TapMysqlKeys
#define SH_ELEMENT_TYPE KeyEntry
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(tb, key) ((uint32) ((key) ^ ((key) >> 32)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

void
tap_mysql_batch_init(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	MemoryContext old;

	batch->context = AllocSetContextCreate(sink->context, "tapdata mysql batch",
										   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch->context);
	initStringInfo(&batch->arena);
	initStringInfo(&batch->sql);
	batch->changes_size = 256;
	batch->changes = palloc(sizeof(TapMysqlSinkChange) * batch->changes_size);
	batch->statements_size = 64;
	batch->statements = palloc(sizeof(TapMysqlSinkStatement) * batch->statements_size);
	batch->packets_size = 4;
	batch->packets = palloc(sizeof(TapMysqlSinkPacket) * batch->packets_size);
	batch->keys = TapMysqlKeys_create(batch->context, 256, NULL);
	MemoryContextSwitchTo(old);
	tap_mysql_batch_reset(batch);
}

/* A buffer that one huge row has grown is not kept. */
static void
shrink(StringInfo buffer)
{
	resetStringInfo(buffer);
	if (buffer->maxlen <= 64 * 1024 * 1024)
		return;
	buffer->data = repalloc(buffer->data, 1024);
	buffer->maxlen = 1024;
}

void
tap_mysql_batch_reset(TapMysqlSinkBatch *batch)
{
	ListCell   *cell;

	shrink(&batch->arena);
	shrink(&batch->sql);
	appendStringInfoSpaces(&batch->sql, TAP_MYSQL_PREFIX_BYTES);
	batch->nchanges = 0;
	batch->nstatements = 2;		/* those of the prefix */
	batch->npackets = 1;
	memset(&batch->packets[0], 0, sizeof(TapMysqlSinkPacket));
	batch->packets[0].nstatements = 2;
	if (batch->keys->members > MANY_KEYS)
		TapMysqlKeys_reset(batch->keys);
	foreach(cell, batch->tables)
		((TapMysqlSinkTable *) lfirst(cell))->batch = NULL;
	list_free(batch->tables);
	batch->tables = NIL;
	batch->last_table = NULL;
	batch->used = batch->first = batch->commits = batch->copies = batch->has_letters = false;
	batch->lsn = batch->known_lsn = 0;
	batch->next_packet = batch->next_statement = batch->next_in_packet = 0;
	batch->retries = 0;
}

Size
tap_mysql_batch_bytes(const TapMysqlSinkBatch *batch)
{
	return batch->arena.len;
}

/* ---------------------------------------------------------------------
 * Statements and packets
 * ---------------------------------------------------------------------
 */

static void
new_packet(TapMysqlSinkBatch *batch)
{
	TapMysqlSinkPacket *packet;

	if (batch->npackets == batch->packets_size)
	{
		batch->packets_size *= 2;
		batch->packets = repalloc(batch->packets,
								  sizeof(TapMysqlSinkPacket) * batch->packets_size);
	}
	batch->packets[batch->npackets - 1].end = batch->sql.len;
	packet = &batch->packets[batch->npackets++];
	packet->start = batch->sql.len;
	packet->nstatements = 0;
}

/* A statement begins; need: how many bytes it has at least. */
static void
begin_statement(TapMysqlSink *sink, TapMysqlSinkBatch *batch, TapMysqlStatementKind kind,
				TapMysqlSinkTable *table, Size need)
{
	TapMysqlSinkPacket *packet = &batch->packets[batch->npackets - 1];
	TapMysqlSinkStatement *statement;

	if (batch->sql.len - packet->start + need + STATEMENT_BYTES > sink->packet_bytes)
	{
		new_packet(batch);
		packet = &batch->packets[batch->npackets - 1];
	}
	else if (packet->nstatements > 0)
		appendStringInfoCharMacro(&batch->sql, ';');
	packet->nstatements++;
	if (batch->nstatements == batch->statements_size)
	{
		batch->statements_size *= 2;
		batch->statements = repalloc(batch->statements,
									 sizeof(TapMysqlSinkStatement) * batch->statements_size);
	}
	statement = &batch->statements[batch->nstatements++];
	statement->kind = kind;
	statement->table = table;
	statement->rows = 0;
}

/* Whether the packet has room for so many more bytes. */
static bool
has_room(const TapMysqlSink *sink, const TapMysqlSinkBatch *batch, Size need)
{
	return batch->sql.len - batch->packets[batch->npackets - 1].start + need +
		STATEMENT_BYTES <= sink->packet_bytes;
}

static void
append_part(StringInfo sql, const TapMysqlSinkBatch *batch, Size start, Size length)
{
	appendBinaryStringInfo(sql, batch->arena.data + start, (int) length);
}

/* WHERE that finds the row of a change. */
static void
append_where(const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change, StringInfo sql)
{
	const TapMysqlSinkTable *table = change->table;

	appendStringInfoString(sql, " WHERE ");
	if (!table->in_order)
		appendStringInfo(sql, "%s=", table->key_columns);
	append_part(sql, batch, change->key, change->key_length);
	if (table->nkeys == 0)
		appendStringInfoString(sql, " LIMIT 1");
}

void
tap_mysql_batch_single(const TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change,
					   StringInfo sql)
{
	const TapMysqlSinkTable *table = change->table;

	switch (change->op)
	{
		case TAP_MYSQL_OP_INSERT:
		case TAP_MYSQL_OP_MERGE:
		case TAP_MYSQL_OP_UPSERT:
			appendStringInfoString(sql, table->insert_head);
			append_part(sql, batch, change->row, change->row_length);
			if (change->op != TAP_MYSQL_OP_INSERT)
				appendStringInfoString(sql, table->upsert_tail);
			break;
		case TAP_MYSQL_OP_UPDATE:
			appendStringInfo(sql, "UPDATE %s SET ", table->quoted);
			append_part(sql, batch, change->row, change->row_length);
			append_where(batch, change, sql);
			break;
		case TAP_MYSQL_OP_DELETE:
			appendStringInfo(sql, "DELETE FROM %s", table->quoted);
			append_where(batch, change, sql);
			break;
		case TAP_MYSQL_OP_TRUNCATE:
			/* TRUNCATE would end the transaction */
			appendStringInfo(sql, "DELETE FROM %s", table->quoted);
			break;
	}
}

static void
emit_single(TapMysqlSink *sink, TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	Size		table_bytes = strlen(change->table->insert_head) +
	strlen(change->table->upsert_tail);

	begin_statement(sink, batch, change->op == TAP_MYSQL_OP_UPDATE ? TAP_MYSQL_SINK_UPDATE :
					change->op == TAP_MYSQL_OP_DELETE ? TAP_MYSQL_SINK_DELETE :
					TAP_MYSQL_SINK_CHANGE, change->table,
					table_bytes + change->row_length + change->key_length);
	batch->statements[batch->nstatements - 1].rows = 1;
	tap_mysql_batch_single(batch, change, &batch->sql);
}

/*
 * The end of an upsert.  The server tells how many of the rows it met only
 * when there are several, so that one alone is written twice.
 */
static void
end_upsert(TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change, int rows)
{
	if (rows == 1)
	{
		appendStringInfoCharMacro(&batch->sql, ',');
		append_part(&batch->sql, batch, change->row, change->row_length);
	}
	appendStringInfoString(&batch->sql, change->table->upsert_tail);
}

/* INSERT of many rows, or the same as an upsert. */
static void
emit_rows(TapMysqlSink *sink, TapMysqlSinkBatch *batch, TapMysqlSinkTable *table,
		  const int *list, int n, bool upsert)
{
	Size		tail_bytes = strlen(table->upsert_tail);
	TapMysqlStatementKind kind = upsert ? TAP_MYSQL_SINK_UPSERT : TAP_MYSQL_SINK_CHANGE;
	int			rows = 0;

	for (int i = 0; i < n; i++)
	{
		const TapMysqlSinkChange *change = &batch->changes[list[i]];

		if (rows > 0 && (rows == MAX_ROWS ||
						 !has_room(sink, batch, change->row_length + tail_bytes)))
		{
			if (upsert)
				end_upsert(batch, &batch->changes[list[i - 1]], rows);
			rows = 0;
		}
		if (rows++ == 0)
		{
			begin_statement(sink, batch, kind, table,
							strlen(table->insert_head) + change->row_length * 2 + tail_bytes);
			appendStringInfoString(&batch->sql, table->insert_head);
		}
		else
			appendStringInfoCharMacro(&batch->sql, ',');
		append_part(&batch->sql, batch, change->row, change->row_length);
	}
	if (rows > 0 && upsert)
		end_upsert(batch, &batch->changes[list[n - 1]], rows);
}

/* DELETE by a list of keys, of a single column. */
static void
emit_deletes(TapMysqlSink *sink, TapMysqlSinkBatch *batch, TapMysqlSinkTable *table)
{
	int			keys = 0;

	for (int i = 0; i < table->ndeletes; i++)
	{
		const TapMysqlSinkChange *change = &batch->changes[table->deletes[i]];

		if (keys > 0 && (keys == MAX_KEYS || !has_room(sink, batch, change->key_length)))
		{
			appendStringInfoCharMacro(&batch->sql, ')');
			keys = 0;
		}
		if (keys++ == 0)
		{
			begin_statement(sink, batch, TAP_MYSQL_SINK_DELETE, table,
							strlen(table->insert_head) + change->key_length);
			appendStringInfo(&batch->sql, "DELETE FROM %s WHERE %s IN (", table->quoted,
							 table->key_columns);
		}
		else
			appendStringInfoCharMacro(&batch->sql, ',');
		append_part(&batch->sql, batch, change->key, change->key_length);
		batch->statements[batch->nstatements - 1].rows = keys;
	}
	if (keys > 0)
		appendStringInfoCharMacro(&batch->sql, ')');
}

/* ---------------------------------------------------------------------
 * Groups
 * ---------------------------------------------------------------------
 */

/* Make the statements of a table's group; the next one is open. */
static void
close_group(TapMysqlSink *sink, TapMysqlSinkBatch *batch, TapMysqlSinkTable *table)
{
	if (table->nkeys == 1)
		emit_deletes(sink, batch, table);
	else
		for (int i = 0; i < table->ndeletes; i++)
			emit_single(sink, batch, &batch->changes[table->deletes[i]]);
	for (int i = 0; i < table->nupdates; i++)
		emit_single(sink, batch, &batch->changes[table->updates[i]]);
	emit_rows(sink, batch, table, table->upserts_list, table->nupserts, true);
	emit_rows(sink, batch, table, table->inserts, table->ninserts, false);
	table->ndeletes = table->nupdates = table->nupserts = table->ninserts = 0;
	table->group = ++sink->groups;
}

static void
close_other_groups(TapMysqlSink *sink, TapMysqlSinkBatch *batch, const TapMysqlSinkTable *but)
{
	ListCell   *cell;

	foreach(cell, batch->tables)
	{
		if (lfirst(cell) != but)
			close_group(sink, batch, lfirst(cell));
	}
}

static void
enter_table(TapMysqlSink *sink, TapMysqlSinkBatch *batch, TapMysqlSinkTable *table)
{
	MemoryContext old;

	if (sink->checks_foreign_keys && batch->last_table != table)
		close_other_groups(sink, batch, table);
	batch->last_table = table;
	if (table->batch == batch)
		return;
	old = MemoryContextSwitchTo(batch->context);
	batch->tables = lappend(batch->tables, table);
	MemoryContextSwitchTo(old);
	table->batch = batch;
	table->group = ++sink->groups;
}

/* Append a change's number to one of the table's lists; returns its place. */
static int
push(TapMysqlSink *sink, TapMysqlSinkTable *table, int **list, int *n, int number)
{
	if (*n == table->room)
	{
		int			room = Max(64, table->room * 2);
		int		  **lists[] = {&table->inserts, &table->upserts_list, &table->updates,
		&table->deletes};

		for (int i = 0; i < lengthof(lists); i++)
			*lists[i] = *lists[i] ? repalloc(*lists[i], sizeof(int) * room) :
				MemoryContextAlloc(sink->context, sizeof(int) * room);
		table->room = room;
	}
	(*list)[*n] = number;
	return (*n)++;
}

static uint64
hash_key(const TapMysqlSinkTable *table, const char *key, Size length)
{
	return hash_bytes_extended((const unsigned char *) key, (int) length,
							   (uint64) (uintptr_t) table);
}

/* Whether the open group of the table has the key; *entry is then its own. */
static bool
find_key(TapMysqlSinkBatch *batch, const TapMysqlSinkTable *table, uint64 hash,
		 KeyEntry **entry)
{
	*entry = TapMysqlKeys_lookup(batch->keys, hash);
	return *entry != NULL && (*entry)->group == table->group;
}

static KeyEntry *
enter_key(TapMysqlSinkBatch *batch, const TapMysqlSinkTable *table, uint64 hash)
{
	bool		found;
	KeyEntry   *entry = TapMysqlKeys_insert(batch->keys, hash, &found);

	entry->group = table->group;
	entry->place = -1;
	entry->is_insert = false;
	return entry;
}

/* An update of a row that the group has whole takes that one's place. */
static bool
replace_row(TapMysqlSinkBatch *batch, TapMysqlSinkTable *table, const KeyEntry *entry,
			int number)
{
	const TapMysqlSinkChange *change = &batch->changes[number];
	const TapMysqlSinkChange *before;
	int		   *list = entry->is_insert ? table->inserts : table->upserts_list;

	if (change->op != TAP_MYSQL_OP_UPSERT || entry->place < 0)
		return false;			/* an insert of what is there must be refused */
	before = &batch->changes[list[entry->place]];
	if (before->key_length != change->key_length ||
		memcmp(batch->arena.data + before->key, batch->arena.data + change->key,
			   change->key_length) != 0)
		return false;			/* the hashes are the same by chance */
	list[entry->place] = number;
	return true;
}

static void
put_in_list(TapMysqlSink *sink, TapMysqlSinkTable *table, const TapMysqlSinkChange *change,
			int number, KeyEntry *entry)
{
	int			place = -1;

	switch (change->op)
	{
		case TAP_MYSQL_OP_INSERT:
			place = push(sink, table, &table->inserts, &table->ninserts, number);
			break;
		case TAP_MYSQL_OP_MERGE:
		case TAP_MYSQL_OP_UPSERT:
			place = push(sink, table, &table->upserts_list, &table->nupserts, number);
			break;
		case TAP_MYSQL_OP_UPDATE:
			(void) push(sink, table, &table->updates, &table->nupdates, number);
			break;
		case TAP_MYSQL_OP_DELETE:
			(void) push(sink, table, &table->deletes, &table->ndeletes, number);
			break;
		case TAP_MYSQL_OP_TRUNCATE:
			break;
	}
	if (entry != NULL)
	{
		entry->place = place;
		entry->is_insert = change->op == TAP_MYSQL_OP_INSERT;
	}
}

/*
 * Put a change into the table's group; new_key is the key that the row has
 * behind an update that changes it, else NULL.
 */
static void
add_by_key(TapMysqlSink *sink, TapMysqlSinkBatch *batch, int number, const StringInfo new_key)
{
	const TapMysqlSinkChange *change = &batch->changes[number];
	TapMysqlSinkTable *table = change->table;
	uint64		hash = hash_key(table, batch->arena.data + change->key, change->key_length);
	uint64		new_hash = new_key ? hash_key(table, new_key->data, new_key->len) : hash;
	KeyEntry   *entry;

	if (find_key(batch, table, hash, &entry))
	{
		if (replace_row(batch, table, entry, number))
			return;
		close_group(sink, batch, table);
	}
	if (new_key != NULL && find_key(batch, table, new_hash, &entry))
		close_group(sink, batch, table);
	if (new_key != NULL)
		(void) enter_key(batch, table, new_hash);
	entry = enter_key(batch, table, hash);
	put_in_list(sink, table, change, number, entry);
}

static void
add_in_order(TapMysqlSink *sink, TapMysqlSinkBatch *batch, int number)
{
	const TapMysqlSinkChange *change = &batch->changes[number];

	if (change->op == TAP_MYSQL_OP_INSERT)
		put_in_list(sink, change->table, change, number, NULL);
	else
	{
		close_group(sink, batch, change->table);
		emit_single(sink, batch, change);
	}
}

/* A row that no packet can hold. */
static bool
is_too_large(TapMysqlSink *sink, TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	Size		bytes = strlen(change->table->insert_head) + strlen(change->table->upsert_tail) +
	sink->row.len * 2 + sink->key.len + STATEMENT_BYTES + TAP_MYSQL_PREFIX_BYTES;
	TapMysqlSinkChange copy = *change;

	if (bytes <= sink->packet_bytes)
		return false;

	/* its text tells the key only, or the letter would be as large */
	copy.op = TAP_MYSQL_OP_DELETE;
	copy.key = batch->arena.len;
	copy.key_length = sink->key.len;
	copy.row_length = 0;
	appendBinaryStringInfo(&batch->arena, sink->key.data, sink->key.len);
	batch->has_letters = true;
	tap_mysql_core->dead_letter(&change->table->hub,
								tap_mysql_sink_row_json(batch, &copy), change->lsn,
								ERRCODE_PROGRAM_LIMIT_EXCEEDED,
								psprintf("the row needs %zu bytes, but max_allowed_packet of the target allows %zu",
										 bytes, sink->packet_bytes));
	return true;
}

static int
store(TapMysqlSink *sink, TapMysqlSinkBatch *batch, const TapMysqlSinkChange *change)
{
	TapMysqlSinkChange *stored;

	if (batch->nchanges == batch->changes_size)
	{
		batch->changes_size *= 2;
		batch->changes = repalloc_huge(batch->changes,
									   sizeof(TapMysqlSinkChange) * batch->changes_size);
	}
	stored = &batch->changes[batch->nchanges];
	*stored = *change;
	stored->row = batch->arena.len;
	stored->row_length = sink->row.len;
	appendBinaryStringInfo(&batch->arena, sink->row.data, sink->row.len);
	stored->key = batch->arena.len;
	stored->key_length = sink->key.len;
	appendBinaryStringInfo(&batch->arena, sink->key.data, sink->key.len);
	return batch->nchanges++;
}

void
tap_mysql_batch_add(TapMysqlSink *sink, TapMysqlSinkBatch *batch,
					const TapMysqlSinkChange *change, bool changes_key)
{
	int			number;

	if (!batch->used)
		batch->since = GetCurrentTimestamp();
	batch->used = true;
	batch->known_lsn = change->lsn;
	if (is_too_large(sink, batch, change))
		return;
	enter_table(sink, batch, change->table);
	number = store(sink, batch, change);
	if (change->op == TAP_MYSQL_OP_TRUNCATE)
	{
		close_group(sink, batch, change->table);
		emit_single(sink, batch, &batch->changes[number]);
	}
	else if (change->table->in_order)
		add_in_order(sink, batch, number);
	else
		add_by_key(sink, batch, number, changes_key ? &sink->scratch : NULL);
}

/* ---------------------------------------------------------------------
 * Sealing
 * ---------------------------------------------------------------------
 */

/* What goes before the changes, into the room that was left for it. */
static void
write_prefix(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	StringInfoData prefix;

	initStringInfo(&prefix);
	if (batch->first)
	{
		appendStringInfoString(&prefix, "START TRANSACTION;");
		tap_mysql_sink_append_progress(sink, &prefix, batch->from,
									   batch->copies ? 0 : batch->lsn);
	}
	else
		appendStringInfoString(&prefix, "SAVEPOINT tapdata;DO 0");
	if (prefix.len >= TAP_MYSQL_PREFIX_BYTES)
		elog(ERROR, "the first statements of a batch are too long");
	memcpy(batch->sql.data, prefix.data, prefix.len);
	memset(batch->statements, 0, sizeof(TapMysqlSinkStatement) * 2);
	batch->statements[0].kind = TAP_MYSQL_SINK_CONTROL;
	batch->statements[1].kind = batch->first ? TAP_MYSQL_SINK_PROGRESS : TAP_MYSQL_SINK_CONTROL;
	pfree(prefix.data);
}

/* Whether answers have to be looked at before the batch may be committed. */
static bool
has_checks(const TapMysqlSink *sink, const TapMysqlSinkBatch *batch)
{
	for (int i = 2; i < batch->nstatements; i++)
	{
		TapMysqlStatementKind kind = batch->statements[i].kind;

		if (kind == TAP_MYSQL_SINK_UPDATE ||
			(!sink->overwrites && !batch->copies &&
			 (kind == TAP_MYSQL_SINK_UPSERT || kind == TAP_MYSQL_SINK_DELETE)))
			return true;
	}
	return false;
}

void
tap_mysql_batch_seal(TapMysqlSink *sink, TapMysqlSinkBatch *batch)
{
	close_other_groups(sink, batch, NULL);
	batch->from = sink->position;
	write_prefix(sink, batch);
	if (batch->commits)
	{
		/* the row has the position of the transaction that is being ended */
		if (!batch->first && batch->lsn != batch->from)
		{
			begin_statement(sink, batch, TAP_MYSQL_SINK_PROGRESS, NULL, TAP_MYSQL_PREFIX_BYTES);
			tap_mysql_sink_append_progress(sink, &batch->sql, batch->from, batch->lsn);
		}

		/* a row that is missing is no error that would stop the packet */
		if (has_checks(sink, batch))
			new_packet(batch);
		begin_statement(sink, batch, TAP_MYSQL_SINK_CONTROL, NULL, 0);
		appendStringInfoString(&batch->sql, "COMMIT");
	}
	batch->packets[batch->npackets - 1].end = batch->sql.len;
	if (!batch->copies && (batch->first || batch->commits))
		sink->position = batch->lsn;
}
