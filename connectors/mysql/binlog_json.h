/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_json.h
 *	  What the JSON files of the binlog decoder share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_BINLOG_JSON_H
#define TAP_BINLOG_JSON_H

#include "binlog_private.h"

/* Containers in containers that MySQL allows (JSON_DOCUMENT_MAX_DEPTH) */
#define TAP_BINLOG_JSON_DEPTH	100

/* What a node of a JSON value is */
typedef enum NodeKind
{
	NODE_TOKEN,					/* number or literal, as written */
	NODE_STRING,				/* text without escapes */
	NODE_ARRAY,
	NODE_OBJECT
} NodeKind;

typedef struct JsonNode JsonNode;

/* An element of an array (without key) or a member of an object */
typedef struct JsonMember
{
	const char *key;
	size_t		key_length;
	JsonNode   *value;
} JsonMember;

/* A node; objects have their members in the order of MySQL */
struct JsonNode
{
	NodeKind	kind;
	const char *text;
	size_t		length;
	size_t		count;
	size_t		capacity;
	JsonMember *members;
};

/* All nodes of a value; the arena is freed with it. */
typedef struct JsonTree
{
	const TapBinlogMemory *memory;
	struct ArenaChunk *chunks;
	JsonNode   *root;
	TapBinlogStatus status;		/* first failure */
} JsonTree;

/* Text that is being parsed */
typedef struct TextCursor
{
	const char *position;
	const char *end;
} TextCursor;

/* Append text as a JSON string, with quotes, escaped as MySQL does. */
extern TapBinlogStatus tap_binlog_json_quote(TapBinlogBuffer *out, const char *text,
											 size_t length);

/* Note the first failure of a tree; returns NULL. */
extern void *tap_json_fail(JsonTree *tree, TapBinlogStatus status);

/*
 * Memory from the tree's arena; NULL (and the tree has failed) if none is
 * left.
 */
extern void *tap_json_allocate(JsonTree *tree, size_t size);

/* Free all nodes. */
extern void tap_json_free(JsonTree *tree);

/* Insert a member before `index`, which is at most node->count. */
extern bool tap_json_insert_member(JsonTree *tree, JsonNode *node, size_t index,
								   JsonMember member);

/* Position of a key in an object, or where it belongs; *found tells which. */
extern size_t tap_json_find_key(const JsonNode *object, const char *key,
								size_t key_length, bool *found);

/* Pass over c; false if it is not what follows. */
extern bool tap_json_skip_character(TextCursor *cursor, char c);

/*
 * Read a string from its opening quote on, without its escapes.  The result
 * points into the text, or into the arena.
 */
extern bool tap_json_parse_string(JsonTree *tree, TextCursor *cursor,
								  const char **text, size_t *length);

/* Parse a whole text, which must outlive the tree; NULL if it is not JSON. */
extern JsonNode *tap_json_parse(JsonTree *tree, const char *text, size_t length);

/* Append a node as text, spaced as MySQL does; depth is 0 for the root. */
extern TapBinlogStatus tap_json_print(const JsonNode *node, TapBinlogBuffer *out, int depth);

#endif							/* TAP_BINLOG_JSON_H */
