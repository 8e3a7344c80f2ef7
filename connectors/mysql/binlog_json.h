/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_json.h
 *	  What the two JSON files of the binlog decoder share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_BINLOG_JSON_H
#define TAP_BINLOG_JSON_H

#include "binlog.h"

/* Containers in containers that MySQL allows (JSON_DOCUMENT_MAX_DEPTH) */
#define TAP_BINLOG_JSON_DEPTH	100

/* Append text as a JSON string, with quotes, escaped as MySQL does. */
extern TapBinlogStatus tap_binlog_json_quote(TapBinlogBuffer *out, const char *text,
											 size_t length);

#endif							/* TAP_BINLOG_JSON_H */
