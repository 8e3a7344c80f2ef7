/*-------------------------------------------------------------------------
 *
 * src/catalog_log.c
 *	  The rows of tapdata.event, tapdata.dead_letter and tapdata.staged.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "catalog_private.h"
#include "errors.h"
#include "guc.h"
#include "mapping.h"

void
tap_catalog_insert_event(const char *pipeline, const TapTableName *table,
						 const char *severity, const char *kind, const char *message)
{
	TapCatalogCall call;
	char	   *text = message ? pstrdup(message) : NULL;

	if (text != NULL)
		tap_error_make_valid(text);
	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.event (pipeline, source_table, severity, kind, message) "
					  "VALUES ($1, $2, $3, $4, $5)",
					  TAP_PARAMS(tap_param_name(pipeline),
								 tap_param_text(table ? tap_table_name_text(table) : NULL),
								 tap_param_text(severity), tap_param_text(kind),
								 tap_param_text(text)));
	tap_catalog_leave(&call);
}

void
tap_catalog_trim_events(void)
{
	TapCatalogCall call;

	if (tap_guc_event_retention_min <= 0)
		return;
	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.event "
					  "WHERE at < clock_timestamp() - make_interval(mins => $1)",
					  TAP_PARAMS(tap_param_int4(tap_guc_event_retention_min)));
	tap_catalog_leave(&call);
}

/* ---------------------------------------------------------------------
 * Dead letters
 * ---------------------------------------------------------------------
 */

/*
 * jsonb cannot hold the character zero, which may be just what made the row a
 * dead letter: its escape is kept as text.
 */
static char *
without_zero_characters(const char *json)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = json; *p != '\0'; p++)
	{
		if (*p != '\\' || p[1] == '\0')
			appendStringInfoChar(&out, *p);
		else if (strncmp(p, "\\u0000", 6) == 0)
		{
			appendStringInfoString(&out, "\\\\u0000");
			p += 5;
		}
		else
		{
			appendBinaryStringInfo(&out, p, 2);
			p++;
		}
	}
	return out.data;
}

void
tap_catalog_insert_dead_letter(int32 pipeline, const TapTableName *table,
							   const char *change, const ErrorData *edata,
							   const char *position)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("INSERT INTO tapdata.dead_letter "
					  "(pipeline, source_table, change, error, sqlstate, position) "
					  "VALUES ($1, $2, $3::jsonb, $4, $5, $6)",
					  TAP_PARAMS(tap_param_int4(pipeline),
								 tap_param_text(table ? tap_table_name_text(table) : NULL),
								 tap_param_text(without_zero_characters(change)),
								 tap_param_text(tap_error_text(edata)),
								 tap_param_text(unpack_sql_state(edata->sqlerrcode)),
								 tap_param_text(position)));
	tap_catalog_leave(&call);
}

int64
tap_catalog_dead_letters(int32 pipeline)
{
	TapCatalogCall call;
	int64		result;

	tap_catalog_enter(&call);
	tap_catalog_read("SELECT count(*) FROM tapdata.dead_letter WHERE pipeline = $1",
					 TAP_PARAMS(tap_param_int4(pipeline)));
	result = tap_column_int8(0, 1);
	tap_catalog_leave(&call);
	return result;
}

TapDeadLetterRow *
tap_catalog_next_dead_letter(int32 pipeline, int64 after)
{
	TapCatalogCall call;
	TapDeadLetterRow *row = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_write("SELECT id, source_table, change FROM tapdata.dead_letter "
						  "WHERE pipeline = $1 AND id > $2 ORDER BY id LIMIT 1 FOR UPDATE",
						  TAP_PARAMS(tap_param_int4(pipeline), tap_param_int8(after))) > 0)
	{
		MemoryContext before = MemoryContextSwitchTo(call.caller);

		row = palloc0(sizeof(TapDeadLetterRow));
		row->id = tap_column_int8(0, 1);
		row->source_table = tap_column_text(0, 2);
		row->change = tap_column_jsonb(0, 3);
		MemoryContextSwitchTo(before);
	}
	tap_catalog_leave(&call);
	return row;
}

void
tap_catalog_delete_dead_letter(int64 id)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.dead_letter WHERE id = $1",
					  TAP_PARAMS(tap_param_int8(id)));
	tap_catalog_leave(&call);
}

int64
tap_catalog_delete_dead_letters(int32 pipeline)
{
	TapCatalogCall call;
	int64		count;

	tap_catalog_enter(&call);
	count = (int64) tap_catalog_write("DELETE FROM tapdata.dead_letter WHERE pipeline = $1",
									  TAP_PARAMS(tap_param_int4(pipeline)));
	tap_catalog_leave(&call);
	return count;
}

/* ---------------------------------------------------------------------
 * Staged bytes of prepared transactions
 * ---------------------------------------------------------------------
 */

static TapParam
table_param(int32 table)
{
	TapParam	param = tap_param_int4(table);

	param.isnull = table == 0;
	return param;
}

void
tap_catalog_stage(int32 pipeline, int32 table, const char *staged_id,
				  const char *data, Size bytes)
{
	TapCatalogCall call;
	bytea	   *value;
	TapParam	piece = {BYTEAOID, (Datum) 0, false};

	tap_catalog_enter(&call);
	value = palloc(VARHDRSZ + bytes);
	SET_VARSIZE(value, VARHDRSZ + bytes);
	memcpy(VARDATA(value), data, bytes);
	piece.value = PointerGetDatum(value);
	tap_catalog_write("INSERT INTO tapdata.staged (pipeline, pipeline_table, staged_id, data) "
					  "VALUES ($1, $2, $3, $4)",
					  TAP_PARAMS(tap_param_int4(pipeline), table_param(table),
								 tap_param_text(staged_id), piece));
	tap_catalog_leave(&call);
}

/*
 * The piece after a number, in the caller's context; NULL: none.  *number
 * becomes its own.
 */
static bytea *
next_piece(int32 pipeline, int32 table, const char *staged_id, bool applied,
		   int64 *number)
{
	TapCatalogCall call;
	bytea	   *piece = NULL;

	tap_catalog_enter(&call);
	if (tap_catalog_read("SELECT number, data FROM tapdata.staged "
						 "WHERE pipeline = $1 AND pipeline_table IS NOT DISTINCT FROM $2 "
						 "AND staged_id = $3 AND applied = $4 AND number > $5 "
						 "ORDER BY number LIMIT 1",
						 TAP_PARAMS(tap_param_int4(pipeline), table_param(table),
									tap_param_text(staged_id), tap_param_bool(applied),
									tap_param_int8(*number))) > 0)
	{
		MemoryContext before = MemoryContextSwitchTo(call.caller);
		bool		isnull;

		*number = tap_column_int8(0, 1);
		piece = DatumGetByteaPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												 2, &isnull));
		MemoryContextSwitchTo(before);
	}
	tap_catalog_leave(&call);
	return piece;
}

bool
tap_catalog_unstage(int32 pipeline, int32 table, const char *staged_id, bool applied,
					void (*chunk) (void *arg, const char *data, Size bytes), void *arg)
{
	int64		number = PG_INT64_MIN;
	bool		found = false;
	bytea	   *piece;

	while ((piece = next_piece(pipeline, table, staged_id, applied, &number)) != NULL)
	{
		found = true;
		chunk(arg, VARDATA(piece), VARSIZE(piece) - VARHDRSZ);
		pfree(piece);
	}
	return found;
}

void
tap_catalog_delete_staged(int32 pipeline, int32 table, const char *staged_id)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.staged "
					  "WHERE pipeline = $1 AND pipeline_table IS NOT DISTINCT FROM $2 "
					  "AND staged_id = $3 AND NOT applied",
					  TAP_PARAMS(tap_param_int4(pipeline), table_param(table),
								 tap_param_text(staged_id)));
	tap_catalog_leave(&call);
}

void
tap_catalog_keep_staged(int32 pipeline, const char *staged_id)
{
	TapCatalogCall call;

	/* one by the same name that ended before is not meant any more */
	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.staged WHERE pipeline = $1 AND staged_id = $2 AND applied",
					  TAP_PARAMS(tap_param_int4(pipeline), tap_param_text(staged_id)));
	tap_catalog_write("UPDATE tapdata.staged SET applied = true "
					  "WHERE pipeline = $1 AND pipeline_table IS NULL AND staged_id = $2",
					  TAP_PARAMS(tap_param_int4(pipeline), tap_param_text(staged_id)));
	tap_catalog_leave(&call);
}

void
tap_catalog_delete_applied(int32 pipeline)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.staged WHERE pipeline = $1 AND applied",
					  TAP_PARAMS(tap_param_int4(pipeline)));
	tap_catalog_leave(&call);
}

void
tap_catalog_delete_staged_of_table(int32 table)
{
	TapCatalogCall call;

	tap_catalog_enter(&call);
	tap_catalog_write("DELETE FROM tapdata.staged WHERE pipeline_table = $1",
					  TAP_PARAMS(tap_param_int4(table)));
	tap_catalog_leave(&call);
}
