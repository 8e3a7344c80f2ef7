/*-------------------------------------------------------------------------
 *
 * src/decode_buffer.h
 *	  A queue of records that goes to a temporary file when it is long.
 *
 * NOTES
 *	  Filling and emptying take turns: records are put until somebody begins
 *	  to take, and none are put then until all are taken.  What was put after
 *	  the memory was full is in the file, so that order is kept.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_DECODE_BUFFER_H
#define TAPDATA_DECODE_BUFFER_H

#include "postgres.h"

typedef struct TapDecodeBuffer TapDecodeBuffer;

/* In a child of the current context, that is, freed with it. */
extern TapDecodeBuffer *tap_decode_buffer_create(Size memory_bytes);

/* Room for a record of so many bytes, aligned; to be filled before put. */
extern void *tap_decode_buffer_reserve(TapDecodeBuffer *buffer, Size bytes);

/*
 * The record that was reserved last is complete.  Raises errors of file
 * access, and ERRCODE_CONFIGURATION_LIMIT_EXCEEDED beyond temp_file_limit.
 */
extern void tap_decode_buffer_put(TapDecodeBuffer *buffer);

/* The next record, valid until the next call; NULL: there is none. */
extern void *tap_decode_buffer_take(TapDecodeBuffer *buffer);

/* Forget all records, keep some memory for the next ones. */
extern void tap_decode_buffer_reset(TapDecodeBuffer *buffer);

/* Forget all records and close the file. */
extern void tap_decode_buffer_free(TapDecodeBuffer *buffer);

/* Bytes of the records that were not taken yet. */
extern Size tap_decode_buffer_bytes(const TapDecodeBuffer *buffer);

/* Bytes that went to the file since the last reset. */
extern uint64 tap_decode_buffer_spilled(const TapDecodeBuffer *buffer);

#endif							/* TAPDATA_DECODE_BUFFER_H */
