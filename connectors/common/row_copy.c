/*-------------------------------------------------------------------------
 *
 * connectors/common/row_copy.c
 *	  Copies of tables, of which rows that cannot be converted are set aside.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "row_copy.h"

/* Values that are refused, by a type or by the checks of a domain. */
static bool
is_of_data(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION;
}

/* Copy up to a row that is bad, whose error is returned; NULL: to the end. */
static ErrorData *
copy_to_bad_row(const TapRowCopyCallbacks *callbacks, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		callbacks->copy(arg);
	}
	PG_CATCH();
	{
		if (!callbacks->is_converting(arg) || !is_of_data(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	return edata;
}

void
tap_row_copy(const TapRowCopyCallbacks *callbacks, void *arg, TapRowReceiver *receiver)
{
	ErrorData  *edata;

	while ((edata = copy_to_bad_row(callbacks, arg)) != NULL)
		receiver->reject_row(receiver, edata, callbacks->reject(arg));
}
