/*-------------------------------------------------------------------------
 *
 * connectors/common/row_copy.h
 *	  Copies of tables, of which rows that cannot be converted are set aside.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_ROW_COPY_H
#define TAPDATA_ROW_COPY_H

#include "postgres.h"

#include "connector.h"

typedef struct TapRowCopyCallbacks
{
	/*
	 * Give rows to the receiver up to the end.  Leaves by an error at a row
	 * that is bad; called again it goes on behind that row.
	 */
	void		(*copy) (void *arg);

	/* Whether an error now would be one of a row's data. */
	bool		(*is_converting) (const void *arg);

	/* The row that is bad as JSON, in the current context; it is done with. */
	char	   *(*reject) (void *arg);
} TapRowCopyCallbacks;

/*
 * Copy rows, handing those whose data raise an error of class 22 or 23 while
 * they are converted to receiver->reject_row().  Other errors are raised.
 */
extern void tap_row_copy(const TapRowCopyCallbacks *callbacks, void *arg,
						 TapRowReceiver *receiver);

#endif							/* TAPDATA_ROW_COPY_H */
