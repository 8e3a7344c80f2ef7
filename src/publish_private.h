/*-------------------------------------------------------------------------
 *
 * src/publish_private.h
 *	  What the files of the publish worker share.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_PUBLISH_PRIVATE_H
#define TAPDATA_PUBLISH_PRIVATE_H

#include "postgres.h"

#include "catalog.h"

/* ---- publish_dead_letters.c ---- */

/* Set from the option on_error; read by tap_publish_dead_letter(). */
extern bool tap_publish_keeps_dead_letters;

/* Whether some wait to be stored. */
extern bool tap_publish_has_dead_letters(void);

/*
 * Store those that wait, in the current transaction; forget them only when
 * it has committed.
 */
extern void tap_publish_store_dead_letters(int32 pipeline, const char *pipeline_name);
extern void tap_publish_forget_dead_letters(void);

#endif							/* TAPDATA_PUBLISH_PRIVATE_H */
