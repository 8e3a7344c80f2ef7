/*-------------------------------------------------------------------------
 *
 * connectors/common/json_text.h
 *	  Strings and numbers as JSON.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_JSON_TEXT_H
#define TAPDATA_JSON_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"

/*
 * Append text that is UTF-8 already as a JSON string, with its quotes.
 * Control characters, quotes and backslashes are escaped, nothing else.
 */
extern void tap_json_append_string(StringInfo out, const char *text, Size length);

/* The same of a C string. */
extern void tap_json_append_cstring(StringInfo out, const char *text);

/* The inside of such a string, without the quotes. */
extern void tap_json_append_escaped(StringInfo out, const char *text, Size length);

/*
 * Text in the database's encoding as UTF-8: text itself where nothing is to
 * be done, else palloc'd, with *length set anew.  Needs a transaction unless
 * the database is UTF-8.  Raises ERRCODE_CHARACTER_NOT_IN_REPERTOIRE or
 * ERRCODE_UNTRANSLATABLE_CHARACTER.
 */
extern const char *tap_json_utf8(const char *text, Size *length);

/* Append a whole number. */
extern void tap_json_append_int(StringInfo out, int64 value);

/*
 * Append the shortest number that reads back the same, as a float4 if is_float;
 * NaN and the infinities as strings.
 */
extern void tap_json_append_double(StringInfo out, double number, bool is_float);

/* Append bytes in base64, without quotes or line breaks. */
extern void tap_json_append_base64(StringInfo out, const void *bytes, Size length);

#endif							/* TAPDATA_JSON_TEXT_H */
