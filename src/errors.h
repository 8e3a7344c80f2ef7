/*-------------------------------------------------------------------------
 *
 * src/errors.h
 *	  What an error means for a pipeline.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_ERRORS_H
#define TAPDATA_ERRORS_H

#include "postgres.h"

/* What to do about an error that ended a pipeline worker. */
typedef enum TapErrorClass
{
	TAP_ERROR_RETRY,			/* passes by itself: connection, resources,
								 * deadlock, shutdown */
	TAP_ERROR_DATA,				/* this row cannot be stored: on_error decides */
	TAP_ERROR_STOP				/* a person has to act */
} TapErrorClass;

/* The class of a SQLSTATE in its packed form (ErrorData.sqlerrcode). */
extern TapErrorClass tap_error_class(int sqlerrcode);

/*
 * Replace bytes that are no characters of the database's encoding, in place:
 * other systems say what they like, and it is going to be stored.
 */
extern void tap_error_make_valid(char *text);

/*
 * One line of an ErrorData: message, detail and hint, in the current context.
 * Valid in the database's encoding.
 */
extern char *tap_error_text(const ErrorData *edata);

/*
 * The same, and for an error of data the beginning of its context, which names
 * the table and tells the row.
 */
extern char *tap_error_report(const ErrorData *edata);

#endif							/* TAPDATA_ERRORS_H */
