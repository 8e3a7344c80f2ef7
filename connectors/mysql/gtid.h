/*-------------------------------------------------------------------------
 *
 * connectors/mysql/gtid.h
 *	  Sets of global transaction identifiers of MySQL and MariaDB.
 *
 * NOTES
 *	  Plain C.  Sets live in malloc'd memory and are freed by their own
 *	  functions.  A set that is all zero bytes is a valid empty set, so that
 *	  "TapGtidSet set = {0};" needs no further initialisation.  Sizes are
 *	  bounded by the input: decoding allocates no more than a small multiple of
 *	  it.  A set whose change failed stays valid and holds its former or a
 *	  partly changed content; parse and decode leave it as it was.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_GTID_H
#define TAP_GTID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Results of functions that can fail */
typedef enum TapGtidStatus
{
	TAP_GTID_OK = 0,
	TAP_GTID_BAD_FORMAT,		/* not a GTID set */
	TAP_GTID_NO_MEMORY
} TapGtidStatus;

#define TAP_GTID_TAG_SIZE	33	/* 32 characters and a NUL */
#define TAP_GTID_MAX_GNO	INT64_C(0x7fffffffffffffff)

/* Transactions first .. last, both included; first >= 1 */
typedef struct TapGtidInterval
{
	int64_t		first;
	int64_t		last;
} TapGtidInterval;

/* The transactions of one source uuid (and tag) */
typedef struct TapGtidSource
{
	uint8_t		uuid[16];
	char		tag[TAP_GTID_TAG_SIZE]; /* lower case, empty = no tag */
	size_t		count;			/* intervals: sorted, disjoint, not adjacent */
	size_t		capacity;
	TapGtidInterval *intervals;
} TapGtidSource;

/* A MySQL GTID set: sorted by uuid, then tag; no source is empty */
typedef struct TapGtidSet
{
	size_t		count;
	size_t		capacity;
	TapGtidSource *sources;
} TapGtidSet;

/* Free what the set holds; it is empty afterwards. */
extern void tap_gtid_set_free(TapGtidSet *set);

/*
 * Read MySQL's text form, e.g. @@gtid_executed, into *set, whose former
 * content is freed.  White space anywhere between tokens, upper case, empty
 * items and unordered or overlapping intervals are accepted.  "" is the empty
 * set.
 */
extern TapGtidStatus tap_gtid_set_parse(const char *text, size_t length, TapGtidSet *set);

/*
 * The canonical text as MySQL prints it, but without line breaks:
 * "uuid:1-5:7,uuid:tag:1".  The caller frees it with free(); NULL when out of
 * memory.
 */
extern char *tap_gtid_set_text(const TapGtidSet *set);

/* Add the transaction uuid:tag:gno; tag may be "" or NULL. */
extern TapGtidStatus tap_gtid_set_add(TapGtidSet *set, const uint8_t uuid[16],
									  const char *tag, int64_t gno);

/* Add first .. last; BAD_FORMAT unless 1 <= first <= last. */
extern TapGtidStatus tap_gtid_set_add_range(TapGtidSet *set, const uint8_t uuid[16],
											const char *tag,
											int64_t first, int64_t last);

/* Is the transaction in the set? */
extern bool tap_gtid_set_contains(const TapGtidSet *set, const uint8_t uuid[16],
								  const char *tag, int64_t gno);

/* Is each transaction of inner in outer, too? */
extern bool tap_gtid_set_is_subset(const TapGtidSet *inner, const TapGtidSet *outer);

/* Do both hold the same transactions? */
extern bool tap_gtid_set_equal(const TapGtidSet *a, const TapGtidSet *b);

/* set := set united with other */
extern TapGtidStatus tap_gtid_set_union(TapGtidSet *set, const TapGtidSet *other);

/* set := set without what is in other */
extern TapGtidStatus tap_gtid_set_subtract(TapGtidSet *set, const TapGtidSet *other);

/* *copy := set; the former content of *copy is freed */
extern TapGtidStatus tap_gtid_set_copy(TapGtidSet *copy, const TapGtidSet *set);

/* Does any source have a tag?  Then only the tagged encoding can hold it. */
extern bool tap_gtid_set_has_tags(const TapGtidSet *set);

/* Number of transactions, saturating at UINT64_MAX */
extern uint64_t tap_gtid_set_size(const TapGtidSet *set);

/*
 * Encode for COM_BINLOG_DUMP_GTID: the classic encoding, or the tagged one of
 * MySQL 8.3 up when the set has tags.  The caller frees *data with free().
 */
extern TapGtidStatus tap_gtid_set_encode(const TapGtidSet *set,
										 uint8_t **data, size_t *length);

/*
 * Read either encoding (PREVIOUS_GTIDS events) into *set, whose former
 * content is freed.
 */
extern TapGtidStatus tap_gtid_set_decode(const uint8_t *data, size_t length,
										 TapGtidSet *set);

/* uuid text of 36 characters and a NUL */
extern void tap_gtid_uuid_text(const uint8_t uuid[16], char text[37]);

/* One MariaDB GTID */
typedef struct TapMariaGtid
{
	uint32_t	domain_id;
	uint32_t	server_id;
	uint64_t	sequence;
} TapMariaGtid;

/* A MariaDB position: the last GTID of each domain, sorted by domain */
typedef struct TapMariaGtidList
{
	size_t		count;
	size_t		capacity;
	TapMariaGtid *gtids;
} TapMariaGtidList;

/* Free what the list holds; it is empty afterwards. */
extern void tap_maria_gtid_free(TapMariaGtidList *list);

/*
 * Read "0-1-100,2-1-5" (white space allowed) into *list, whose former content
 * is freed. BAD_FORMAT also when a domain occurs twice with other servers at
 * the same sequence; of two in one domain the higher sequence stays.
 */
extern TapGtidStatus tap_maria_gtid_parse(const char *text, size_t length,
										  TapMariaGtidList *list);

/*
 * "0-1-100,2-1-5"; the caller frees it with free(), NULL when out of memory.
 */
extern char *tap_maria_gtid_text(const TapMariaGtidList *list);

/* The domain's last GTID becomes this one, whatever it was before. */
extern TapGtidStatus tap_maria_gtid_update(TapMariaGtidList *list, TapMariaGtid gtid);

/* Has the domain reached this sequence number (of any server)? */
extern bool tap_maria_gtid_covers(const TapMariaGtidList *list, TapMariaGtid gtid);

/* Does outer cover each GTID of inner? */
extern bool tap_maria_gtid_is_subset(const TapMariaGtidList *inner,
									 const TapMariaGtidList *outer);

/* The same domains with the same servers and sequence numbers? */
extern bool tap_maria_gtid_equal(const TapMariaGtidList *a, const TapMariaGtidList *b);

/* *copy := list; the former content of *copy is freed */
extern TapGtidStatus tap_maria_gtid_copy(TapMariaGtidList *copy,
										 const TapMariaGtidList *list);

#endif							/* TAP_GTID_H */
