/*-------------------------------------------------------------------------
 *
 * connectors/file/copybook_layout.c
 *	  Places of a copybook's items: sizes, offsets, slack bytes.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copybook_private.h"

const char *
tap_copybook_name(const TapCobolItem *item, char *buffer, size_t size)
{
	if (item->name != NULL)
		return item->name;
	snprintf(buffer, size, "FILLER-%d", item->filler);
	return buffer;
}

uint32_t
tap_copybook_total(const TapCobolItem *item)
{
	return item->bytes * (item->occurs_max > 0 ? item->occurs_max : 1);
}

static void
fail_item(CopybookParser *parser, const TapCobolItem *item, const char *why)
{
	char		buffer[32];

	tap_copybook_fail(parser, item->line, item->column, NULL, "%.60s %s",
					  tap_copybook_name(item, buffer, sizeof(buffer)), why);
}

/* The next item in the order of the text; NULL behind the last one. */
static TapCobolItem *
item_behind(const TapCobolItem *item)
{
	if (item->first != NULL)
		return item->first;
	while (item->next == NULL)
	{
		if (item->parent == NULL)
			return NULL;
		item = item->parent;
	}
	return item->next;
}

/* ---------------------------------------------------------------------
 * Names
 * ---------------------------------------------------------------------
 */

static bool
has_name(const TapCobolItem *item, const char *name)
{
	char		buffer[32];

	return strcmp(tap_copybook_name(item, buffer, sizeof(buffer)), name) == 0;
}

static bool
is_within(const TapCobolItem *item, const char *const *names, int nnames)
{
	for (item = item->parent; item != NULL && nnames > 0; item = item->parent)
	{
		if (has_name(item, names[0]))
		{
			names++;
			nnames--;
		}
	}
	return nnames == 0;
}

TapCobolItem *
tap_copybook_find(const TapCopybook *copybook, const char *const *names, int nnames, int *count)
{
	TapCobolItem *found = NULL;

	*count = 0;
	for (TapCobolItem *item = copybook->records; item != NULL; item = item_behind(item))
	{
		if (!has_name(item, names[0]) || !is_within(item, names + 1, nnames - 1))
			continue;
		if ((*count)++ == 0)
			found = item;
	}
	return found;
}

const TapCobolCondition *
tap_copybook_condition(const TapCopybook *copybook, const char *name, TapCobolItem **item)
{
	for (*item = copybook->records; *item != NULL; *item = item_behind(*item))
	{
		for (const TapCobolCondition *condition = (*item)->conditions; condition; condition = condition->next)
		{
			if (strcmp(condition->name, name) == 0)
				return condition;
		}
	}
	return NULL;
}

/* ---------------------------------------------------------------------
 * Elementary items
 * ---------------------------------------------------------------------
 */

static uint32_t
binary_bytes(TapCobolBinarySize rule, int digits, bool is_signed)
{
	/* the most digits that so many bytes hold, unsigned and signed */
	static const int most_unsigned[] = {2, 4, 7, 9, 12, 14, 16, 19};
	static const int most_signed[] = {2, 4, 6, 9, 11, 14, 16, 18};

	switch (rule)
	{
		case TAP_BINARY_1_TO_8:
			for (uint32_t i = 0; i < 8; i++)
			{
				if (digits <= (is_signed ? most_signed[i] : most_unsigned[i]))
					return i + 1;
			}
			return 8;
		case TAP_BINARY_1_2_4_8:
			if (digits <= 2)
				return 1;
			break;
		default:
			break;
	}
	return digits <= 4 ? 2 : digits <= 9 ? 4 : 8;
}

static void
set_without_picture(CopybookParser *parser, TapCobolItem *item)
{
	switch (item->usage)
	{
		case TAP_USAGE_FLOAT:
			item->bytes = 4;
			break;
		case TAP_USAGE_DOUBLE:
			item->bytes = 8;
			break;
		case TAP_USAGE_INDEX:
		case TAP_USAGE_POINTER:
			item->bytes = 4;
			item->digits = 9;
			item->is_signed = item->usage == TAP_USAGE_INDEX;
			break;
		default:
			fail_item(parser, item, "has neither a picture nor items below it");
	}
	item->hex_float = parser->layout->hex_float &&
		(item->usage == TAP_USAGE_FLOAT || item->usage == TAP_USAGE_DOUBLE);
	item->little_endian = parser->layout->little_endian && !item->hex_float;
}

static void
set_numeric(CopybookParser *parser, TapCobolItem *item)
{
	switch (item->usage)
	{
		case TAP_USAGE_NONE:
		case TAP_USAGE_DISPLAY:
			if (!item->is_signed)
				item->sign_leading = item->sign_separate = false;
			item->bytes = (uint32_t) item->digits + (item->sign_separate ? 1 : 0);
			break;
		case TAP_USAGE_BINARY:
		case TAP_USAGE_NATIVE:
			if (item->digits > 18)
				fail_item(parser, item, "is binary with more than 18 digits");
			item->bytes = binary_bytes(parser->layout->binary_size, item->digits, item->is_signed);
			item->little_endian = item->usage == TAP_USAGE_NATIVE && parser->layout->little_endian;
			break;
		case TAP_USAGE_PACKED:
			item->bytes = (uint32_t) item->digits / 2 + 1;
			break;
		default:
			fail_item(parser, item, "has a picture that does not go with its usage");
	}
}

static void
set_elementary(CopybookParser *parser, TapCobolItem *item)
{
	bool		display = item->usage == TAP_USAGE_NONE || item->usage == TAP_USAGE_DISPLAY;
	uint32_t	width = 1;

	if (item->picture == NULL)
	{
		set_without_picture(parser, item);
		return;
	}
	switch (item->category)
	{
		case TAP_CATEGORY_NUMERIC:
			set_numeric(parser, item);
			return;
		case TAP_CATEGORY_NATIONAL:
			if (display)
				item->usage = TAP_USAGE_NATIONAL;
			width = 2;
			break;
		case TAP_CATEGORY_DBCS:
			if (display)
				item->usage = TAP_USAGE_DBCS;
			width = 2;
			break;
		default:
			break;
	}
	if ((width == 1 && !display) ||
		(width == 2 && item->usage != TAP_USAGE_NATIONAL && item->usage != TAP_USAGE_DBCS))
		fail_item(parser, item, "has a picture that does not go with its usage");
	item->bytes = item->characters * width;
}

/* SYNCHRONIZED: what the offset is a multiple of. */
static uint32_t
alignment_of(const CopybookParser *parser, const TapCobolItem *item)
{
	if (!item->synchronized)
		return 1;
	switch (item->usage)
	{
		case TAP_USAGE_BINARY:
		case TAP_USAGE_NATIVE:
			if (item->bytes == 8)
				return parser->layout->align_8 ? 8 : 4;
			return item->bytes == 2 || item->bytes == 4 ? item->bytes : 1;
		case TAP_USAGE_FLOAT:
		case TAP_USAGE_INDEX:
		case TAP_USAGE_POINTER:
			return 4;
		case TAP_USAGE_DOUBLE:
			return 8;
		default:
			return 1;
	}
}

/* What a group says of usage, sign and alignment holds for its items. */
static void
inherit(CopybookParser *parser, TapCobolItem *item)
{
	const TapCobolItem *group = item->parent;

	if (group == NULL)
		return;
	if (group->usage != TAP_USAGE_NONE)
	{
		if (item->usage != TAP_USAGE_NONE && item->usage != group->usage)
			fail_item(parser, item, "has another usage than its group");
		item->usage = group->usage;
	}
	if (group->sign_given && !item->sign_given)
	{
		item->sign_given = true;
		item->sign_leading = group->sign_leading;
		item->sign_separate = group->sign_separate;
	}
	item->synchronized |= group->synchronized;
}

/* ---------------------------------------------------------------------
 * Offsets
 * ---------------------------------------------------------------------
 */

static uint64_t
rounded(uint64_t offset, uint32_t alignment)
{
	return (offset + alignment - 1) / alignment * alignment;
}

static void place_item(CopybookParser *parser, TapCobolItem *item, uint64_t offset);

static void
place_group(CopybookParser *parser, TapCobolItem *group)
{
	uint64_t	end = group->offset;

	group->alignment = 1;
	for (TapCobolItem *item = group->first; item != NULL; item = item->next)
	{
		uint64_t	behind;

		place_item(parser, item, item->redefines ? item->redefines->offset : end);
		behind = (uint64_t) item->offset + (uint64_t) item->bytes * (item->occurs_max ? item->occurs_max : 1);
		if (behind > end)
			end = behind;
		if (item->alignment > group->alignment)
			group->alignment = item->alignment;
	}
	group->bytes = (uint32_t) (end - group->offset);
}

static void
place_item(CopybookParser *parser, TapCobolItem *item, uint64_t offset)
{
	inherit(parser, item);
	item->offset = (uint32_t) offset;
	if (item->first != NULL)
		place_group(parser, item);
	else
	{
		set_elementary(parser, item);
		item->alignment = alignment_of(parser, item);
		if (item->redefines == NULL)
			item->offset = (uint32_t) rounded(offset, item->alignment);
	}
	if (item->occurs_max > 0)
		item->bytes = (uint32_t) rounded(item->bytes, item->alignment);
	if ((uint64_t) item->offset + (uint64_t) item->bytes * (item->occurs_max ? item->occurs_max : 1) >
		TAP_COPYBOOK_MOST_RECORD)
		fail_item(parser, item, "does not fit: a record can have at most 16 megabytes");
}

/* How many fields there are in all occurrences. */
static uint64_t
count_fields(const TapCobolItem *item)
{
	uint64_t	count = item->first == NULL;

	for (const TapCobolItem *child = item->first; child != NULL; child = child->next)
		count += count_fields(child);
	return count * (item->occurs_max ? item->occurs_max : 1);
}

/* ---------------------------------------------------------------------
 * OCCURS DEPENDING ON
 * ---------------------------------------------------------------------
 */

static const TapCobolItem *
record_of(const TapCobolItem *item)
{
	while (item->parent != NULL)
		item = item->parent;
	return item;
}

/* Whether each table that item is in also has other in it. */
static bool
tables_are_shared(const TapCobolItem *item, const TapCobolItem *other)
{
	for (; item != NULL; item = item->parent)
	{
		const TapCobolItem *above = other->parent;

		if (item->occurs_max == 0)
			continue;
		while (above != NULL && above != item)
			above = above->parent;
		if (above == NULL)
			return false;
	}
	return true;
}

static void
resolve(CopybookParser *parser, const CopybookReference *reference)
{
	TapCobolItem *item = NULL;
	const TapCobolItem *record = record_of(reference->item);
	int			count = 0;

	for (TapCobolItem *other = item_behind(record); other != NULL && record_of(other) == record;
		 other = item_behind(other))
	{
		if (has_name(other, reference->names[0]) &&
			is_within(other, reference->names + 1, reference->nnames - 1))
		{
			item = other;
			count++;
		}
	}
	if (count > 1)
		tap_copybook_fail(parser, reference->line, reference->column, "Qualify it: name OF group.",
						  "there is more than one %.60s", reference->names[0]);
	if (item == NULL)
		tap_copybook_fail(parser, reference->line, reference->column, NULL,
						  "there is no item %.60s in this record", reference->names[0]);
	if (item->first != NULL || item->category != TAP_CATEGORY_NUMERIC || item->scale != 0 ||
		item->digits > 18)
		tap_copybook_fail(parser, reference->line, reference->column, NULL,
						  "%.60s is no whole number", reference->names[0]);
	if (item->number >= reference->item->number || !tables_are_shared(item, reference->item))
		tap_copybook_fail(parser, reference->line, reference->column, NULL,
						  "%.60s must stand before the table that depends on it, outside of other tables",
						  reference->names[0]);
	reference->item->depending = item;
}

void
tap_copybook_lay_out(CopybookParser *parser)
{
	for (TapCobolItem *record = parser->copybook->records; record != NULL; record = record->next)
	{
		place_item(parser, record, 0);
		if (record->bytes == 0)
			fail_item(parser, record, "has no bytes");
		if (count_fields(record) > TAP_COPYBOOK_MOST_FIELDS)
			fail_item(parser, record, "has more than a million fields, those in tables counted");
	}
	for (const CopybookReference *reference = parser->references; reference; reference = reference->next)
		resolve(parser, reference);
}
