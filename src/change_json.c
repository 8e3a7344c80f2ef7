/*-------------------------------------------------------------------------
 *
 * src/change_json.c
 *	  A change as JSON, for dead letters.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "change_json.h"
#include "mapping.h"

int
tap_change_json_modes(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "3"}
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static void
append_value(StringInfo out, Form_pg_attribute column, Datum value)
{
	Oid			function;
	bool		is_varlena;
	char	   *text;

	getTypeOutputInfo(column->atttypid, &function, &is_varlena);
	text = OidOutputFunctionCall(function, value);
	escape_json(out, text);
	pfree(text);
}

/* Returns whether a column was sent in part. */
static bool
append_image(StringInfo out, const char *label, const TapRowImage *image)
{
	TupleDesc	descriptor;
	bool		partial = false;
	const char *separator = "";

	if (image->slot == NULL)
		return false;
	descriptor = image->slot->tts_tupleDescriptor;
	slot_getallattrs(image->slot);
	appendStringInfo(out, ", \"%s\": {", label);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);

		if (image->partial != NULL && image->partial[i] != NULL)
			partial = true;
		else if (!column->attisdropped && (image->present == NULL || image->present[i]))
		{
			appendStringInfoString(out, separator);
			separator = ", ";
			escape_json(out, NameStr(column->attname));
			appendStringInfoString(out, ": ");
			if (image->slot->tts_isnull[i])
				appendStringInfoString(out, "null");
			else
				append_value(out, column, image->slot->tts_values[i]);
		}
	}
	appendStringInfoChar(out, '}');
	return partial;
}

char *
tap_change_json(const TapEvent *event)
{
	static const char *const names[] = {
		[TAP_CHANGE_INSERT] = "insert",
		[TAP_CHANGE_UPDATE] = "update",
		[TAP_CHANGE_DELETE] = "delete",
		[TAP_CHANGE_TRUNCATE] = "truncate",
		[TAP_CHANGE_READ] = "read"
	};
	int			level = tap_change_json_modes();
	StringInfoData out;
	bool		partial;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"op\": \"%s\", \"table\": ", names[event->change]);
	escape_json(&out, tap_table_name_text(&event->table->name));
	partial = append_image(&out, "old", &event->old_row);
	if (append_image(&out, "new", &event->new_row))
		partial = true;
	appendStringInfoString(&out, partial ? ", \"partial\": true}" : "}");
	AtEOXact_GUC(false, level);
	return out.data;
}

char *
tap_out_change_json(const TapOutChange *change)
{
	TapEvent	event = {
		.kind = TAP_EVENT_CHANGE,
		.change = change->kind,
		.table = unconstify(TapSourceTable *, change->table),
		.old_row = change->old_row,
		.new_row = change->new_row
	};

	return tap_change_json(&event);
}
