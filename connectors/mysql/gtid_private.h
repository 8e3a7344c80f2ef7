/*-------------------------------------------------------------------------
 *
 * connectors/mysql/gtid_private.h
 *	  What the files of the GTID sets share among themselves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_GTID_PRIVATE_H
#define TAP_GTID_PRIVATE_H

#include "gtid.h"

/* Text that is being read */
typedef struct TextReader
{
	const char *position;
	const char *end;
} TextReader;

/*
 * Make a malloc'd array hold `needed` elements of a size; false when out of
 * memory, and then the array is as it was.
 */
extern bool tap_gtid_grow(void **array, size_t *capacity, size_t needed, size_t element);

/* *set := *fresh if status is OK, else free *fresh; returns status. */
extern TapGtidStatus tap_gtid_finish_set(TapGtidSet *set, TapGtidSet *fresh,
										 TapGtidStatus status);

/* Pass over white space. */
extern void tap_gtid_skip_space(TextReader *reader);

/*
 * Pass over c and the white space around it; false if c is not what follows.
 */
extern bool tap_gtid_skip_character(TextReader *reader, char c);

/*
 * Read decimal digits; false if there are none, or the number exceeds limit.
 */
extern bool tap_gtid_read_number(TextReader *reader, uint64_t limit, uint64_t *number);

#endif							/* TAP_GTID_PRIVATE_H */
