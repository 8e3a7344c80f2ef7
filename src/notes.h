/*-------------------------------------------------------------------------
 *
 * src/notes.h
 *	  What connectors keep of a pipeline beside its position.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_NOTES_H
#define TAPDATA_NOTES_H

#include "postgres.h"

/* The functions behind TapCore.remember and TapCore.recall; see connector.h. */
extern void tap_notes_remember(const char *key, const char *value);
extern void tap_notes_recall(const char *prefix,
							 void (*note) (void *arg, const char *key, const char *value),
							 void *arg);

/*
 * Write what was remembered, in the transaction that stores the position; it
 * is remembered still until tap_notes_written() says that this has
 * committed, or tap_notes_forget() that it never will.
 */
extern void tap_notes_write(int32 pipeline);
extern void tap_notes_written(void);
extern void tap_notes_forget(void);

#endif							/* TAPDATA_NOTES_H */
