/*-------------------------------------------------------------------------
 *
 * connectors/common/json_scan.h
 *	  JSON text read forward, once, without making anything of it.
 *
 * The caller asks for what it expects next; values are spans of the text.
 *
 * NOTES
 *	  PostgreSQL's pg_parse_json() allocates each name and each value and calls
 *	  a function for each token.  Where it takes 0.4 microseconds for an object
 *	  of ten fields without doing anything with them, this and the making of
 *	  ten datums take about as much together.
 *
 *	  Needs nothing of a server but tap_json_unescape().  After the first error
 *	  all functions return false, and TapJsonScan.error says why.  Strings are
 *	  not checked for their encoding.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_JSON_SCAN_H
#define TAPDATA_JSON_SCAN_H

#include "postgres.h"

/* Objects and arrays within each other, beyond which a text is refused. */
#define TAP_JSON_MAX_DEPTH		128

typedef enum TapJsonKind
{
	TAP_JSON_NULL,
	TAP_JSON_FALSE,
	TAP_JSON_TRUE,
	TAP_JSON_NUMBER,
	TAP_JSON_STRING,
	TAP_JSON_OBJECT,
	TAP_JSON_LIST
} TapJsonKind;

/* A value, within the text that is scanned. */
typedef struct TapJsonValue
{
	TapJsonKind kind;
	bool		escaped;		/* string: there are escapes in it */
	bool		whole;			/* number: no fraction and no exponent */
	const char *text;			/* string: what is between the quotes */
	Size		length;
} TapJsonValue;

typedef struct TapJsonScan
{
	const char *begin;
	const char *next;			/* what was not read yet */
	const char *end;
	int			depth;
	bool		fresh;			/* no field or element of the innermost yet */
	const char *error;			/* a constant text, or NULL */
} TapJsonScan;

extern void tap_json_scan_begin(TapJsonScan *scan, const char *text,
								Size length);

/* The next value whole, with all that is in it. */
extern bool tap_json_scan_value(TapJsonScan *scan, TapJsonValue *value);

/* What the next value is, by its first byte. */
extern bool tap_json_scan_peek(TapJsonScan *scan, TapJsonKind *kind);

/* Go into the next value, which has to be of kind object or list. */
extern bool tap_json_scan_enter(TapJsonScan *scan, TapJsonKind kind);

/*
 * The name of the object's next field; its value is to be read next.  False
 * behind the last one: the scan is behind the object then.
 */
extern bool tap_json_scan_field(TapJsonScan *scan, TapJsonValue *name);

/* Whether there is another element; false too: the scan is behind the list. */
extern bool tap_json_scan_element(TapJsonScan *scan);

/* Whether nothing follows but blanks. */
extern bool tap_json_scan_end(TapJsonScan *scan);

/* Whether a string without escapes, such as a name, is this text. */
static inline bool
tap_json_is(const TapJsonValue *value, const char *text, Size length)
{
	return value->length == length && memcmp(value->text, text, length) == 0;
}

/*
 * What a string stands for, in the database's encoding: the text itself where
 * it has no escapes, else palloc'd.  Raises ERRCODE_UNTRANSLATABLE_CHARACTER
 * for characters that the database cannot store, zero among them, and
 * ERRCODE_INVALID_TEXT_REPRESENTATION for halves of surrogate pairs.
 */
extern const char *tap_json_unescape(const TapJsonValue *value, Size *length);

#endif							/* TAPDATA_JSON_SCAN_H */
