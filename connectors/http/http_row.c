/*-------------------------------------------------------------------------
 *
 * connectors/http/http_row.c
 *	  Whole rows, ids and versions, for the targets that store rows.
 *
 * NOTES
 *	  The version of a row is the position of its commit, not of its change: of
 *	  two changes to one key the later one always has the later commit, but
 *	  it need not have the later place in the log (an insert that waits for a
 *	  delete of the same key to commit has been logged already).
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

#include "access/xact.h"
#include "access/xlogdefs.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "json_text.h"
#include "row_json.h"

/* Elasticsearch takes no longer one. */
#define LONGEST_ID	512

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

/* Begin a transaction for catalog lookups; false when there is one. */
static bool
begin_lookups(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (IsTransactionState())
		return false;
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	return true;
}

static void
end_lookups(bool begun)
{
	MemoryContext context = CurrentMemoryContext;

	if (!begun)
		return;
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

char *
tap_http_utf8(const char *text)
{
	bool		begun = (GetDatabaseEncoding() != PG_UTF8) && begin_lookups();
	Size		length = strlen(text);
	const char *utf8 = tap_json_utf8(text, &length);
	char	   *copy = pnstrdup(utf8, length);

	end_lookups(begun);
	return copy;
}

TapHttpColumn *
tap_http_columns(const TapSourceTable *table)
{
	TupleDesc	descriptor = table->descriptor;
	TapHttpColumn *columns = palloc0(sizeof(TapHttpColumn) * Max(descriptor->natts, 1));
	bool		begun = begin_lookups();

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped)
			continue;
		columns[i].typmod = attribute->atttypmod;
		columns[i].type = getBaseTypeAndTypmod(attribute->atttypid, &columns[i].typmod);
		columns[i].name = tap_http_utf8(NameStr(attribute->attname));
	}
	end_lookups(begun);
	return columns;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

static bool
has_column(const TapRowImage *image, int column)
{
	return image->slot != NULL && (image->present == NULL || image->present[column]);
}

static void
append_old_column(TapRowJson *json, StringInfo out, const TapOutChange *change, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(change->old_row.slot, column + 1, &isnull);

	tap_json_append_cstring(out, tap_http_utf8(NameStr(TupleDescAttr(change->table->descriptor,
																	 column)->attname)));
	appendStringInfoChar(out, ':');
	if (isnull)
		appendStringInfoString(out, "null");
	else
		tap_row_json_append_value(json, out, column + 1, value);
}

const char *
tap_http_append_whole_row(TapRowJson *json, StringInfo out, const TapOutChange *change)
{
	TupleDesc	descriptor = change->table->descriptor;
	int			written = tap_row_json_append_columns(json, out, &change->new_row,
													  TAP_ROW_JSON_ALL);

	if (change->new_row.present == NULL)
		return NULL;
	for (int i = 0; i < descriptor->natts; i++)
	{
		if (TupleDescAttr(descriptor, i)->attisdropped || has_column(&change->new_row, i))
			continue;
		if (!has_column(&change->old_row, i))
			return NameStr(TupleDescAttr(descriptor, i)->attname);
		if (written++ > 0)
			appendStringInfoChar(out, ',');
		append_old_column(json, out, change, i);
	}
	return NULL;
}

void
tap_http_refuse_change(TapRowJson *json, const TapOutChange *change, int sqlstate,
					   const char *message)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "{\"op\":\"%s\",\"key\":", tap_http_kind_name(change->kind));
	tap_row_json_append(json, &text, change->kind == TAP_CHANGE_DELETE ? &change->old_row :
						&change->new_row, TAP_ROW_JSON_KEY);
	appendStringInfoString(&text, ",\"after\":");
	tap_row_json_append(json, &text, &change->new_row, TAP_ROW_JSON_ALL);
	appendStringInfoChar(&text, '}');
	tap_http_core->dead_letter(&change->table->name, tap_http_database_json(text.data, text.len),
							   change->lsn, sqlstate, message);
}

void
tap_http_refuse_partial(TapRowJson *json, const TapOutChange *change, const char *column)
{
	const TapTableName *name = &change->table->name;

	tap_http_refuse_change(json, change, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("the log does not repeat the large value of column \"%s\", which the change left as it was, and the target replaces whole rows; "
									"run ALTER TABLE %s REPLICA IDENTITY FULL", column,
									quote_qualified_identifier(name->schema, name->name)));
}

/* ---------------------------------------------------------------------
 * Ids and versions
 * ---------------------------------------------------------------------
 */

/*
 * One part of an id.  The separator and the escape are escaped, and an empty
 * text is "\e", so that no two keys share an id.
 */
static void
append_part(StringInfo out, const char *text)
{
	if (text[0] == '\0')
		appendStringInfoString(out, "\\e");
	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '\\' || *c == '|')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *c);
	}
}

/* What is too long for an id is told by its hash. */
static void
shorten(StringInfo out)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context;
	bool		done;

	if (out->len <= LONGEST_ID)
		return;
	context = pg_cryptohash_create(PG_SHA256);
	done = context != NULL && pg_cryptohash_init(context) >= 0 &&
		pg_cryptohash_update(context, (const uint8 *) out->data, out->len) >= 0 &&
		pg_cryptohash_final(context, digest, sizeof(digest)) >= 0;
	pg_cryptohash_free(context);
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the hash of a key")));
	resetStringInfo(out);
	appendStringInfoString(out, "\\sha256:");
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		appendStringInfo(out, "%02x", digest[i]);
}

bool
tap_http_append_id(TapRowJson *json, StringInfo out, const TapSourceTable *table,
				   const TapRowImage *image)
{
	StringInfoData part;

	initStringInfo(&part);
	for (int i = 0; i < table->nkeys; i++)
	{
		bool		isnull = true;
		Datum		value = 0;

		if (has_column(image, table->keys[i] - 1))
			value = slot_getattr(image->slot, table->keys[i], &isnull);
		if (isnull)
			return false;
		if (i > 0)
			appendStringInfoChar(out, '|');
		resetStringInfo(&part);
		tap_row_json_append_plain(json, &part, table->keys[i], value);
		append_part(out, part.data);
	}
	pfree(part.data);
	shorten(out);
	return true;
}

uint64
tap_http_version(const TapOutChange *change)
{
	return change->txn ? change->txn->commit_lsn : change->lsn;
}

void
tap_http_require_key(const TapSourceTable *table, const char *kind)
{
	if (table->nkeys > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table %s.%s has no key", table->name.schema ? table->name.schema : "",
					table->name.name),
			 errdetail("%s replaces rows by their key.", kind),
			 errhint("Add a primary key to the table, or set one of its unique indexes as REPLICA IDENTITY.")));
}

void
tap_http_raise_gone(const char *kind, const char *target, const TapTableName *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("%s \"%s\" of the target is gone", kind, target),
			 errdetail("Rows of table %s.%s were sent to it before.", table->schema, table->name),
			 errhint("Bring it back with its rows, or have it made and filled again with tapdata.resync('<pipeline>', '%s.%s').",
					 table->schema, table->name)));
}
