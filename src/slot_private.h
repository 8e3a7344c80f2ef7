/*-------------------------------------------------------------------------
 *
 * src/slot_private.h
 *	  What the decoder needs of slot.c.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_SLOT_PRIVATE_H
#define TAPDATA_SLOT_PRIVATE_H

#include "postgres.h"

/*
 * Acquire the pipeline's slot for this process, and see to it that our output
 * plugin may be used.  Raises the errors of tap_decode_start().
 */
extern void tap_slot_acquire(int32 pipeline);

#endif							/* TAPDATA_SLOT_PRIVATE_H */
