/*-------------------------------------------------------------------------
 *
 * connectors/file/format_common.h
 *	  What formats of text share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_FORMAT_COMMON_H
#define TAPDATA_FORMAT_COMMON_H

#include "postgres.h"

#include "file_format.h"
#include "record_columns.h"

/*
 * The columns that a plan begins with: of the definition, or of the option
 * "columns", or NULL.  Current context.
 */
extern TapRecordColumns *tap_format_columns(TapFormatOption option, void *arg,
											const char *definition);

/*
 * The table of a plan's columns.  Raises ERRCODE_INVALID_PARAMETER_VALUE if
 * there is no column, or columns is NULL.  Current context.
 */
extern TapSourceTable *tap_format_table(const TapRecordColumns *columns);

/* The option "encoding" (pg_enc); UTF-8 is the default. */
extern int	tap_format_encoding(TapFormatOption option, void *arg);

/*
 * The bytes of a byte order mark at the beginning of a file; 0: there is none.
 * Raises ERRCODE_FEATURE_NOT_SUPPORTED for one of UTF-16.
 */
extern Size tap_format_byte_order_mark(const char *data, Size bytes, int encoding);

/* A JSON string of bytes in whatever encoding, for a dead letter. */
extern char *tap_format_show_text(const char *data, Size bytes);

/*
 * In PG_CATCH, in the context of before: an error of data is over, all others
 * are raised again.
 */
extern void tap_format_forgive(void);

#endif							/* TAPDATA_FORMAT_COMMON_H */
