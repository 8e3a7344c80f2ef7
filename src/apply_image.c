/*-------------------------------------------------------------------------
 *
 * src/apply_image.c
 *	  What a change's row images hold, and how they are named in messages.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "apply_private.h"

/* Bytes of a value in a described key. */
#define DESCRIBED_VALUE_BYTES	64

/* ---------------------------------------------------------------------
 * Row images
 * ---------------------------------------------------------------------
 */

bool
tap_image_complete(const TapTarget *target, const TapRowImage *image)
{
	int			natts = target->source->descriptor->natts;

	if (image->slot == NULL)
		return false;
	if (image->present == NULL && image->partial == NULL)
		return true;
	for (int i = 0; i < natts; i++)
	{
		if (image->present != NULL && !image->present[i])
			return false;
		if (image->partial != NULL && image->partial[i] != NULL)
			return false;
	}
	return true;
}

const TapRowImage *
tap_apply_key_image(const TapTarget *target, const TapEvent *event)
{
	const TapSourceTable *source = target->source;

	if (event->change == TAP_CHANGE_INSERT || event->old_row.slot == NULL)
		return &event->new_row;
	if (event->change == TAP_CHANGE_UPDATE)
	{
		for (int i = 0; i < source->nkeys; i++)
		{
			if (!tap_image_has(&event->old_row, source->keys[i]))
				return &event->new_row;
		}
	}
	return &event->old_row;
}

/*
 * Whether the hub finds the same row by both values, such as 1.0 and 1.00.  A
 * column of another type there may tell them apart.
 */
static bool
is_same_key(const TapTarget *target, AttrNumber column, Datum a, Datum b)
{
	Form_pg_attribute att = TupleDescAttr(target->source->descriptor, column - 1);
	Oid			collation = att->attcollation;
	TypeCacheEntry *type;

	if (datum_image_eq(a, b, att->attbyval, att->attlen))
		return true;
	if (target->mapping->casts[column - 1] != NULL)
		return false;
	type = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR_FINFO);
	if (!OidIsValid(type->eq_opr))
		return false;
	if (!OidIsValid(collation) && OidIsValid(type->typcollation))
		collation = DEFAULT_COLLATION_OID;
	return DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, collation, a, b));
}

bool
tap_apply_key_changed(const TapTarget *target, const TapEvent *event)
{
	const TapSourceTable *source = target->source;
	const TapRowImage *old_image = tap_apply_key_image(target, event);

	if (old_image == &event->new_row)
		return false;
	for (int i = 0; i < source->nkeys; i++)
	{
		AttrNumber	column = source->keys[i];

		if (tap_image_has(&event->new_row, column) &&
			!is_same_key(target, column, old_image->slot->tts_values[column - 1],
						 event->new_row.slot->tts_values[column - 1]))
			return true;
	}
	return false;
}

void
tap_apply_new_key(const TapTarget *target, const TapEvent *event,
				  TapRowImage *key)
{
	const TapSourceTable *source = target->source;
	const TapRowImage *old_image = tap_apply_key_image(target, event);
	bool		complete = true;

	for (int i = 0; i < source->nkeys; i++)
	{
		if (!tap_image_has(&event->new_row, source->keys[i]))
			complete = false;
	}
	*key = event->new_row;
	if (complete)
		return;

	memset(key, 0, sizeof(TapRowImage));
	key->slot = MakeTupleTableSlot(source->descriptor, &TTSOpsVirtual);
	ExecStoreAllNullTuple(key->slot);
	for (int i = 0; i < source->nkeys; i++)
	{
		AttrNumber	column = source->keys[i];
		bool		is_new = tap_image_has(&event->new_row, column);
		TupleTableSlot *from = is_new ? event->new_row.slot : old_image->slot;

		key->slot->tts_values[column - 1] = from->tts_values[column - 1];
		key->slot->tts_isnull[column - 1] = from->tts_isnull[column - 1];
	}
}

Datum
tap_apply_complete(TapTarget *target, const TapEvent *event, AttrNumber column,
				   Datum old_value, bool old_isnull, bool *isnull)
{
	TapApply   *apply = target->apply;
	void	   *partial = event->new_row.partial[column - 1];
	Form_pg_attribute att = TupleDescAttr(target->source->descriptor, column - 1);

	if (tap_image_has(&event->old_row, column))
	{
		old_value = event->old_row.slot->tts_values[column - 1];
		old_isnull = event->old_row.slot->tts_isnull[column - 1];
	}
	else if (apply->mode == TAP_APPLY_CATCHUP)

		/*
		 * The hub's value may have this change already, and to make a change
		 * to a part twice is not harmless.
		 */
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of %s was changed in part while the table was copied",
						NameStr(att->attname), target->source_name),
				 errdetail("The source sent neither the new value nor the old one."),
				 errhint("Let the source log whole rows while tables are copied (MySQL: binlog_row_image = FULL, or binlog_row_value_options = '').")));
	else if (target->mapping->casts[column - 1] != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of hub table \"%s\" must have the source's type %s",
						NameStr(att->attname), RelationGetRelationName(target->rel),
						format_type_with_typemod(att->atttypid, att->atttypmod)),
				 errdetail("The source sends changes to a part of its value."),
				 errtable(target->rel)));
	else if (!old_isnull && att->attlen == -1)
		old_value = PointerGetDatum(PG_DETOAST_DATUM(old_value));

	return apply->source->complete_value(apply->session, event->table, column,
										 old_value, old_isnull, partial, isnull);
}

/* ---------------------------------------------------------------------
 * Messages
 * ---------------------------------------------------------------------
 */

static void
append_value(StringInfo text, Form_pg_attribute att, Datum value, bool isnull)
{
	Oid			function;
	bool		varlena;
	char	   *string;
	int			length;

	if (isnull)
	{
		appendStringInfoString(text, "null");
		return;
	}
	getTypeOutputInfo(att->atttypid, &function, &varlena);
	string = OidOutputFunctionCall(function, value);
	length = strlen(string);
	if (length <= DESCRIBED_VALUE_BYTES)
		appendStringInfoString(text, string);
	else
	{
		length = pg_mbcliplen(string, length, DESCRIBED_VALUE_BYTES);
		appendBinaryStringInfo(text, string, length);
		appendStringInfoString(text, "...");
	}
}

char *
tap_apply_describe_key(TapTarget *target, TupleTableSlot *slot, bool hub)
{
	const TapSourceTable *source = target->source;
	TupleDesc	descriptor = slot->tts_tupleDescriptor;
	int			ncolumns = source->nkeys > 0 ? source->nkeys : descriptor->natts;
	StringInfoData names;
	StringInfoData values;

	initStringInfo(&names);
	initStringInfo(&values);
	slot_getallattrs(slot);
	for (int i = 0; i < ncolumns; i++)
	{
		AttrNumber	column = i + 1;
		Form_pg_attribute att;

		if (source->nkeys > 0)
			column = hub ? target->mapping->keys[i] : source->keys[i];
		att = TupleDescAttr(descriptor, column - 1);
		if (att->attisdropped)
			continue;
		if (names.len > 0)
		{
			appendStringInfoString(&names, ", ");
			appendStringInfoString(&values, ", ");
		}
		appendStringInfoString(&names, NameStr(att->attname));
		append_value(&values, att, slot->tts_values[column - 1],
					 slot->tts_isnull[column - 1]);
	}
	return psprintf("(%s)=(%s)", names.data, values.data);
}

void
tap_apply_report_missing(TapTarget *target, const char *verb,
						 TupleTableSlot *slot)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION),
			 errmsg("row to %s is missing in hub table \"%s\"",
					verb, RelationGetRelationName(target->rel)),
			 errdetail("%s %s.", target->source->nkeys > 0 ? "Key" : "Row",
					   tap_apply_describe_key(target, slot, false)),
			 errhint("Somebody else changed the hub table; call tapdata.resync() to copy it again."),
			 errtable(target->rel)));
}

char *
tap_apply_current(TapApply *apply)
{
	TapTarget  *target = apply->current_target;
	TupleTableSlot *slot = apply->current_slot;

	if (target == NULL)
		return NULL;
	if (slot == NULL || TTS_EMPTY(slot))
		return psprintf("table %s", target->source_name);
	return psprintf("table %s, %s %s", target->source_name,
					target->source->nkeys > 0 ? "key" : "row",
					tap_apply_describe_key(target, slot, apply->current_is_hub));
}
