/*-------------------------------------------------------------------------
 *
 * src/apply_index.c
 *	  Index entries of updated rows, for the direct path.
 *
 * NOTES
 *	  ExecInsertIndexTuples() looks for duplicates in each unique index, also
 *	  when the indexed columns are as they were: that reads all older versions
 *	  of the row, and a transaction that changes one row a thousand times has
 *	  a thousand of them.  The old version of the row had these values, was
 *	  the only one to have them, and is ours; so there is nothing to look for.
 *
 *	  An index is told of an entry that only repeats an older one: before it
 *	  splits a page for that, it looks whether the rows of the page's other
 *	  entries are dead.  Where one transaction sweeps over a table they are not:
 *	  their successors are its own.  Then it is not told, and need not look.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/index.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "apply_private.h"
#include "compat.h"

/* Whether one of the indexes needs more than an insertion. */
static bool
has_special_index(const ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		if (result->ri_IndexRelationInfo[i]->ii_ExclusionOps != NULL ||
			!result->ri_IndexRelationDescs[i]->rd_index->indimmediate)
			return true;
	}
	return false;
}

void
tap_index_open(TapTarget *target)
{
	target->special_index = has_special_index(target->result);
}

/* Whether the columns of an index are the same in both rows. */
static bool
columns_unchanged(TapTarget *target, const IndexInfo *info, TupleTableSlot *old_row)
{
	if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
		return false;
	for (int i = 0; i < info->ii_NumIndexKeyAttrs; i++)
	{
		AttrNumber	column = info->ii_IndexAttrNumbers[i];
		Form_pg_attribute att = TupleDescAttr(target->descriptor, column - 1);
		TupleTableSlot *work = target->work;
		bool		old_isnull;
		Datum		old_value = slot_getattr(old_row, column, &old_isnull);

		if (old_isnull != work->tts_isnull[column - 1] ||
			(!old_isnull &&
			 !datum_image_eq(old_value, work->tts_values[column - 1],
							 att->attbyval, att->attlen)))
			return false;
	}
	return true;
}

/* Whether the new row belongs into the index. */
static bool
meets_predicate(TapTarget *target, IndexInfo *info)
{
	if (info->ii_Predicate == NIL)
		return true;
	if (info->ii_PredicateState == NULL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate,
												  target->estate);
	return ExecQual(info->ii_PredicateState,
					GetPerTupleExprContext(target->estate));
}

/*
 * Whether entries near that of an updated row may be of dead rows.  A row that
 * was updated before has older versions, which others may have done with.
 */
static bool
may_be_dead_nearby(const TapTarget *target, TupleTableSlot *old_row)
{
	HeapTuple	tuple = ((HeapTupleTableSlot *) old_row)->tuple;

	return target->sweep < TAP_SWEEP_ROWS ||
		(tuple->t_data->t_infomask & HEAP_UPDATED) != 0;
}

static void
insert_entry(TapTarget *target, Relation index, IndexInfo *info,
			 TupleTableSlot *old_row)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	bool		unchanged;

	if (!info->ii_ReadyForInserts || !meets_predicate(target, info))
		return;
	unchanged = columns_unchanged(target, info, old_row);
	FormIndexDatum(info, target->work, target->estate, values, isnull);
	index_insert(index, values, isnull, &target->work->tts_tid, target->rel,
				 index->rd_index->indisunique && !unchanged ?
				 UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
				 unchanged && may_be_dead_nearby(target, old_row), info);
}

void
tap_index_update(TapTarget *target, TupleTableSlot *old_row, TapIndexUpdate indexes)
{
	ResultRelInfo *result = target->result;

	if (indexes == TAP_INDEX_UPDATE_NONE || result->ri_NumIndices == 0)
		return;
	if (target->special_index || indexes == TAP_INDEX_UPDATE_SUMMARIZING)
	{
		list_free(tap_compat_insert_index_tuples(result, target->estate,
												 target->work, indexes, true));
		return;
	}

	GetPerTupleExprContext(target->estate)->ecxt_scantuple = target->work;
	for (int i = 0; i < result->ri_NumIndices; i++)
		insert_entry(target, result->ri_IndexRelationDescs[i],
					 result->ri_IndexRelationInfo[i], old_row);
}
