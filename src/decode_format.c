/*-------------------------------------------------------------------------
 *
 * src/decode_format.c
 *	  Which relations are published, and how their rows look.
 *
 * NOTES
 *	  A relation is described with the catalogs as they were when the change
 *	  was made: everything here runs under the historic snapshot.  Invalidation
 *	  messages, of the transaction being decoded as well as of others, only
 *	  mark an entry; the next change looks again and keeps what is the same.
 *
 *	  Rows of a partition are published as rows of its root: the format is the
 *	  root's, the layout maps the partition's columns to it by name.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "decode_private.h"
#include "hub_describe.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* So many entries for relations that are not ours are kept. */
#define FOREIGN_MAX		10000

/* An entry of TapDecoder.tables. */
typedef struct TableEntry
{
	Oid			relid;			/* the key */
	TapDecodeTable *table;
} TableEntry;

/* Whose entries invalidations are for; NULL: none. */
static TapDecoder *listener = NULL;

/* A catalog says something new of a relation; InvalidOid: of any. */
static void
relation_invalidated(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	TapDecodeRelation *entry;

	if (listener == NULL)
		return;
	if (OidIsValid(relid) &&
		hash_search(listener->relations, &relid, HASH_FIND, NULL) == NULL &&
		hash_search(listener->tables, &relid, HASH_FIND, NULL) == NULL)
		return;

	/* A root may have changed as well as a leaf: look at all again. */
	hash_seq_init(&scan, listener->relations);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->valid = false;
	listener->last_relation = NULL;
}

void
tap_decode_format_start(TapDecoder *decoder)
{
	static bool registered = false;
	HASHCTL		info = {0};
	ListCell   *cell;

	info.keysize = sizeof(Oid);
	info.entrysize = sizeof(TableEntry);
	info.hcxt = decoder->context;
	decoder->tables = hash_create("tapdata published tables", 64, &info,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	foreach(cell, decoder->args.tables)
	{
		TapDecodeTable *table = lfirst(cell);
		TableEntry *entry = hash_search(decoder->tables, &table->relid,
										HASH_ENTER, NULL);

		entry->table = table;
	}

	info.entrysize = sizeof(TapDecodeRelation);
	decoder->relations = hash_create("tapdata decoded relations", 256, &info,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	/* There is no way to take a callback back. */
	if (!registered)
		CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	registered = true;
	listener = decoder;
}

void
tap_decode_format_stop(TapDecoder *decoder)
{
	HASH_SEQ_STATUS scan;
	TapDecodeRelation *entry;

	if (listener != decoder)
		return;
	listener = NULL;

	/* Their descriptors and slots are in contexts of the decoder. */
	hash_seq_init(&scan, decoder->relations);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->layout = NULL;
}

void
tap_decode_format_sweep(TapDecoder *decoder)
{
	ListCell   *cell;

	foreach(cell, decoder->dead_layouts)
		MemoryContextDelete(((TapDecodeLayout *) lfirst(cell))->context);
	list_free(decoder->dead_layouts);
	decoder->dead_layouts = NIL;

	/* A server that makes and drops tables all the time has many. */
	if (hash_get_num_entries(decoder->relations) > FOREIGN_MAX)
	{
		HASH_SEQ_STATUS scan;
		TapDecodeRelation *entry;

		hash_seq_init(&scan, decoder->relations);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			if (entry->layout == NULL)
				hash_search(decoder->relations, &entry->relid, HASH_REMOVE, NULL);
		}
		decoder->last_relation = NULL;
	}
}

static TapDecodeTable *
find_table(TapDecoder *decoder, Oid relid)
{
	TableEntry *entry = hash_search(decoder->tables, &relid, HASH_FIND, NULL);

	return entry != NULL ? entry->table : NULL;
}

/*
 * What a relation is published as: the topmost of its ancestors that is
 * published, or itself.  *root is that of a table nobody knows, for the
 * caller to be told of.
 */
static TapDecodeTable *
published_as(TapDecoder *decoder, Relation relation, Oid *root)
{
	TapDecodeTable *result = find_table(decoder, RelationGetRelid(relation));

	*root = RelationGetRelid(relation);
	if (relation->rd_rel->relispartition)
	{
		List	   *ancestors = get_partition_ancestors(*root);
		ListCell   *cell;

		/* from the parent up */
		foreach(cell, ancestors)
		{
			TapDecodeTable *table = find_table(decoder, lfirst_oid(cell));

			*root = lfirst_oid(cell);
			if (table != NULL)
				result = table;
		}
	}
	return result;
}

/* Whether rows of two descriptions look alike to a sink. */
static bool
same_description(const TapSourceTable *a, const TapSourceTable *b)
{
	if (a->descriptor->natts != b->descriptor->natts || a->nkeys != b->nkeys ||
		strcmp(a->definition, b->definition) != 0 ||
		(a->nkeys > 0 &&
		 memcmp(a->keys, b->keys, a->nkeys * sizeof(AttrNumber)) != 0))
		return false;
	for (int i = 0; i < a->descriptor->natts; i++)
	{
		Form_pg_attribute left = TupleDescAttr(a->descriptor, i);
		Form_pg_attribute right = TupleDescAttr(b->descriptor, i);

		if (strcmp(NameStr(left->attname), NameStr(right->attname)) != 0 ||
			left->atttypid != right->atttypid ||
			left->atttypmod != right->atttypmod ||
			left->attnotnull != right->attnotnull)
			return false;
	}
	return true;
}

/* The newest format of a table that was met; NULL: none yet. */
static TapDecodeFormat *
newest_format(TapDecoder *decoder, TapDecodeTable *table)
{
	ListCell   *cell;

	foreach(cell, decoder->formats)
	{
		TapDecodeFormat *format = lfirst(cell);

		if (format->public.table == table)
			return format;
	}
	return NULL;
}

/* The format of a published relation as it is now; a new one if it changed. */
static TapDecodeFormat *
find_format(TapDecoder *decoder, TapDecodeTable *table, Relation relation)
{
	TapDecodeFormat *format = newest_format(decoder, table);
	TapHubDescription *description;
	TapDecodeFormat *result;
	MemoryContext caller;
	int			natts;

	description = tap_hub_describe(relation, table->columns, &table->name);
	if (format != NULL &&
		same_description(format->public.source, description->table))
		return format;

	caller = MemoryContextSwitchTo(decoder->context);
	description = tap_hub_describe(relation, table->columns, &table->name);
	natts = description->table->descriptor->natts;
	result = palloc0(sizeof(TapDecodeFormat));
	result->public.table = table;
	result->public.source = description->table;
	result->public.previous = format != NULL ? &format->public : NULL;
	result->old_slot = MakeSingleTupleTableSlot(description->table->descriptor,
												&TTSOpsVirtual);
	result->new_slot = MakeSingleTupleTableSlot(description->table->descriptor,
												&TTSOpsVirtual);
	result->old_present = palloc0(Max(natts, 1) * sizeof(bool));
	result->new_present = palloc0(Max(natts, 1) * sizeof(bool));
	decoder->formats = lcons(result, decoder->formats);

	decoder->new_formats = lappend(decoder->new_formats, &result->public);
	MemoryContextSwitchTo(caller);
	return result;
}

/* Map published columns to those of the relation, by name. */
static void
map_columns(TapDecodeLayout *layout, Relation relation)
{
	TupleDesc	published = layout->format->public.source->descriptor;
	TupleDesc	physical = layout->physical;

	layout->map = palloc0(Max(published->natts, 1) * sizeof(AttrNumber));
	layout->identity = published->natts == physical->natts;
	for (int i = 0; i < published->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(published, i)->attname);
		int			found = -1;

		for (int j = 0; j < physical->natts && found < 0; j++)
		{
			Form_pg_attribute attribute = TupleDescAttr(physical, j);

			if (!attribute->attisdropped &&
				strcmp(NameStr(attribute->attname), name) == 0)
				found = j;
		}
		if (found < 0)
			elog(ERROR, "partition \"%s\" has no column \"%s\"",
				 RelationGetRelationName(relation), name);
		layout->map[i] = found;
		if (found != i)
			layout->identity = false;
	}
}

/* Note which columns WAL tells of old rows. */
static void
describe_old_rows(TapDecodeLayout *layout, Relation relation)
{
	const TapSourceTable *source = layout->format->public.source;
	bool	   *present;

	layout->identity_kind = relation->rd_rel->relreplident;
	layout->old_full = tap_hub_identity(relation) == TAP_HUB_IDENTITY_FULL;
	if (layout->old_full)
	{
		layout->old_has_key = true;
		return;
	}

	layout->identity_columns = tap_hub_identity_columns(relation);
	present = palloc0(Max(source->descriptor->natts, 1) * sizeof(bool));
	for (int i = 0; i < source->descriptor->natts; i++)
		present[i] = bms_is_member(layout->map[i] + 1 -
								   FirstLowInvalidHeapAttributeNumber,
								   layout->identity_columns);
	layout->old_image.present = present;
	layout->old_has_key = source->nkeys > 0;
	for (int i = 0; i < source->nkeys; i++)
	{
		if (!present[source->keys[i] - 1])
			layout->old_has_key = false;
	}
}

/* Make the layout of a relation; in a context of its own. */
static TapDecodeLayout *
make_layout(TapDecoder *decoder, TapDecodeFormat *format, Relation relation)
{
	const char *filter = format->public.table->filter;
	MemoryContext context = AllocSetContextCreate(decoder->context,
												  "tapdata decode layout",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	TapDecodeLayout *layout = palloc0(sizeof(TapDecodeLayout));
	int			natts;

	layout->context = context;
	layout->format = format;
	layout->physical = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	natts = Max(layout->physical->natts, 1);
	map_columns(layout, relation);
	describe_old_rows(layout, relation);
	layout->values = palloc0(natts * sizeof(Datum));
	layout->isnull = palloc0(natts * sizeof(bool));
	layout->old_values = palloc0(natts * sizeof(Datum));
	layout->old_isnull = palloc0(natts * sizeof(bool));
	if (filter != NULL)
		layout->filter = tap_decode_filter_prepare(filter, relation,
												   layout->physical);
	MemoryContextSwitchTo(caller);
	return layout;
}

/* Whether a layout made earlier fits the relation as it is now. */
static bool
layout_fits(TapDecodeLayout *layout, TapDecodeFormat *format, Relation relation)
{
	return layout->format == format &&
		layout->identity_kind == relation->rd_rel->relreplident &&
		equalTupleDescs(layout->physical, RelationGetDescr(relation)) &&
		bms_equal(layout->identity_columns, tap_hub_identity_columns(relation));
}

/* Tell the caller of a table it did not name. */
static void
report_unknown(TapDecoder *decoder, Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = get_namespace_name(get_rel_namespace(relid));

	if (decoder->args.unknown_table != NULL && name != NULL && schema != NULL &&
		decoder->args.unknown_table(decoder->args.arg, relid, schema, name))
	{
		decoder->halted_lsn = decoder->beginning.commit_lsn;
		decoder->skip = true;
	}
}

/*
 * Look at a relation that is new, or may have changed.  Nothing is learned of
 * a table before its copy: that has other formats.
 */
static void
look_at(TapDecoder *decoder, TapDecodeRelation *entry, Relation relation)
{
	Oid			root;
	TapDecodeTable *table = published_as(decoder, relation, &root);
	TapDecodeLayout *layout = entry->layout;
	TapDecodeFormat *format;

	if (table != NULL && decoder->beginning.commit_lsn < table->start_lsn)
		return;

	/* Set before the catalogs are read: what comes meanwhile counts. */
	entry->valid = true;
	if (table == NULL)
	{
		report_unknown(decoder, root);
		format = NULL;
	}
	else if (table->relid == RelationGetRelid(relation))
		format = find_format(decoder, table, relation);
	else
	{
		Relation	ancestor = RelationIdGetRelation(table->relid);

		if (!RelationIsValid(ancestor))
			elog(ERROR, "could not open relation with OID %u", table->relid);
		format = find_format(decoder, table, ancestor);
		RelationClose(ancestor);
	}

	if (layout != NULL && format != NULL && layout_fits(layout, format, relation))
		return;
	if (layout != NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(decoder->context);

		decoder->dead_layouts = lappend(decoder->dead_layouts, layout);
		MemoryContextSwitchTo(caller);
		entry->layout = NULL;
	}
	if (format != NULL)
		entry->layout = make_layout(decoder, format, relation);
}

TapDecodeLayout *
tap_decode_layout(TapDecoder *decoder, Relation relation)
{
	TapDecodeRelation *entry = decoder->last_relation;
	Oid			relid = RelationGetRelid(relation);
	bool		found;

	if (entry == NULL || entry->relid != relid || !entry->valid)
	{
		entry = hash_search(decoder->relations, &relid, HASH_ENTER, &found);
		if (!found)
		{
			entry->valid = false;
			entry->layout = NULL;
		}
		if (!entry->valid)
			look_at(decoder, entry, relation);
		decoder->last_relation = entry->valid ? entry : NULL;
	}
	if (entry->layout == NULL ||
		decoder->beginning.commit_lsn < entry->layout->format->public.table->start_lsn)
		return NULL;
	return entry->layout;
}
