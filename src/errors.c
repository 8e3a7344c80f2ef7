/*-------------------------------------------------------------------------
 *
 * src/errors.c
 *	  What an error means for a pipeline.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "errors.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

/* A context may hold a whole row. */
#define CONTEXT_MAX_BYTES	400

/* Single codes that do not follow their class. */
static const struct
{
	int			sqlerrcode;
	TapErrorClass class;
}			exceptions[] =

{
	/* somebody else holds what we need, for now */
	{ERRCODE_LOCK_NOT_AVAILABLE, TAP_ERROR_RETRY},
	{ERRCODE_OBJECT_IN_USE, TAP_ERROR_RETRY},

	/* a limit of a session, not of the data */
	{ERRCODE_IDLE_IN_TRANSACTION_SESSION_TIMEOUT, TAP_ERROR_RETRY},

	/* a disk that is full or failing is class 53 or 58 */
	{ERRCODE_SYSTEM_ERROR, TAP_ERROR_RETRY},
	{ERRCODE_IO_ERROR, TAP_ERROR_RETRY},

	/* a user's trigger, check option or size limit refuses this row */
	{ERRCODE_RAISE_EXCEPTION, TAP_ERROR_DATA},
	{ERRCODE_WITH_CHECK_OPTION_VIOLATION, TAP_ERROR_DATA},
	{ERRCODE_PROGRAM_LIMIT_EXCEEDED, TAP_ERROR_DATA}
};

TapErrorClass
tap_error_class(int sqlerrcode)
{
	for (int i = 0; i < lengthof(exceptions); i++)
	{
		if (exceptions[i].sqlerrcode == sqlerrcode)
			return exceptions[i].class;
	}

	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):	/* connection */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* rollback, deadlock */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* intervention */
			return TAP_ERROR_RETRY;
		case MAKE_SQLSTATE('2', '2', '0', '0', '0'):	/* data exception */
		case MAKE_SQLSTATE('2', '3', '0', '0', '0'):	/* constraint */
			return TAP_ERROR_DATA;
		default:
			return TAP_ERROR_STOP;
	}
}

void
tap_error_make_valid(char *text)
{
	int			left = strlen(text);

	while (left > 0)
	{
		int			valid = pg_encoding_verifymbstr(GetDatabaseEncoding(), text, left);

		text += valid;
		left -= valid;
		if (left > 0)
		{
			*text++ = '?';
			left--;
		}
	}
}

char *
tap_error_text(const ErrorData *edata)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, edata->message ? edata->message : "unknown error");
	if (edata->detail != NULL)
		appendStringInfo(&text, "; detail: %s", edata->detail);
	if (edata->hint != NULL)
		appendStringInfo(&text, "; hint: %s", edata->hint);

	tap_error_make_valid(text.data);
	for (char *c = text.data; *c != '\0'; c++)
	{
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	}
	return text.data;
}

char *
tap_error_report(const ErrorData *edata)
{
	StringInfoData report;
	int			before;
	int			length;

	initStringInfo(&report);
	appendStringInfoString(&report, tap_error_text(edata));
	if (edata->context == NULL || tap_error_class(edata->sqlerrcode) != TAP_ERROR_DATA)
		return report.data;

	appendStringInfoString(&report, "; context: ");
	before = report.len;
	length = pg_mbcliplen(edata->context, strlen(edata->context), CONTEXT_MAX_BYTES);
	for (int i = 0; i < length; i++)
	{
		if (edata->context[i] == '\n')
			appendStringInfoString(&report, "; ");
		else
			appendStringInfoChar(&report, edata->context[i] == '\t' ? ' ' : edata->context[i]);
	}
	tap_error_make_valid(report.data + before);
	return report.data;
}
