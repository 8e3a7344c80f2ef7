/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_json.c
 *	  Tables of groups in mainframe records as jsonb.
 *
 * NOTES
 *	  The value is made as a tree with the keys of each object in their final
 *	  order, which the programme knows, and not of JSON text: reading that
 *	  again took half of the time of a record.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "cobol_plan.h"

static TapCobolLevel *
push_level(TapFormatReader *reader)
{
	if (reader->depth == TAP_COBOL_MOST_DEPTH)
		elog(ERROR, "tables of a copybook are nested too deep");
	return &reader->levels[reader->depth++];
}

static void
push_object(TapFormatReader *reader, const TapCobolOp *op)
{
	TapCobolLevel *level = push_level(reader);

	level->array = false;
	level->count = op->nkeys;
	level->pairs = palloc(sizeof(JsonbPair) * Max(op->nkeys, 1));
	for (int i = 0; i < op->nkeys; i++)
		level->pairs[i].key.val.string.val = NULL;
}

static void
set_string(JsonbValue *value, const char *text)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, text);
	value->val.string.len = strlen(text);
}

/* Where the value of a key of the innermost object goes. */
static JsonbValue *
value_of(TapCobolLevel *level, int place, const char *key)
{
	JsonbPair  *pair = &level->pairs[place];

	set_string(&pair->key, key);
	pair->order = place;
	return &pair->value;
}

/* The innermost level as a value; it is none any more. */
static void
pop_level(TapFormatReader *reader, JsonbValue *value)
{
	TapCobolLevel *level = &reader->levels[--reader->depth];
	int			npairs = 0;

	if (level->array)
	{
		value->type = jbvArray;
		value->val.array.nElems = level->count;
		value->val.array.elems = level->elements;
		value->val.array.rawScalar = false;
		return;
	}
	for (int i = 0; i < level->count; i++)
	{
		if (level->pairs[i].key.val.string.val == NULL)
			continue;
		if (npairs < i)
			level->pairs[npairs] = level->pairs[i];
		npairs++;
	}
	value->type = jbvObject;
	value->val.object.nPairs = npairs;
	value->val.object.pairs = level->pairs;
}

void
tap_cobol_json_begin(TapFormatReader *reader, const TapCobolOp *op, uint32 count)
{
	TapCobolLevel *level;

	if (op->kind == TAP_COBOL_GROUP)
	{
		push_object(reader, op);
		return;
	}
	level = push_level(reader);
	level->array = true;
	level->count = 0;
	level->elements = palloc(sizeof(JsonbValue) * Max(count, 1));
}

void
tap_cobol_json_element(TapFormatReader *reader, const TapCobolOp *op)
{
	push_object(reader, op);
}

void
tap_cobol_json_element_end(TapFormatReader *reader)
{
	TapCobolLevel *array = &reader->levels[reader->depth - 2];

	pop_level(reader, &array->elements[array->count++]);
}

void
tap_cobol_json_field(TapFormatReader *reader, const TapCobolOp *op, const uint8 *data)
{
	TapCobolLevel *level = &reader->levels[reader->depth - 1];
	const char *label;

	if (op->element)
	{
		tap_cobol_json_value(reader, op, data, &level->elements[level->count++]);
		return;
	}
	tap_cobol_json_value(reader, op, data, value_of(level, op->place, op->key));
	label = tap_cobol_label(op, data);
	if (label != NULL)
		set_string(value_of(level, op->label_place, op->label_key), label);
}

Jsonb *
tap_cobol_json_end(TapFormatReader *reader, const TapCobolOp *op)
{
	JsonbValue	value;

	pop_level(reader, &value);
	if (reader->depth == 0)
		return JsonbValueToJsonb(&value);
	*value_of(&reader->levels[reader->depth - 1], op->place, op->key) = value;
	return NULL;
}
