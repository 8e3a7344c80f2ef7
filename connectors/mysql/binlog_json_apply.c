/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_json_apply.c
 *	  Partial JSON updates: apply MySQL's diffs to a value that is text.
 *
 * NOTES
 *	  A diff is: operation (1 byte), length and text of the path, and unless it
 *	  removes, length and binary form of the new value.  The old text is parsed to a tree,
 *	  the diffs change the tree, and the tree is printed.  Numbers stay as they are
 *	  written.  All nodes live in one arena that is freed at the end; each node stands
 *	  for at least one byte of text, so that the text bounds the arena.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "binlog_json.h"
#include "binlog_private.h"

#define ARENA_CHUNK_SIZE	8192

enum
{
	DIFF_REPLACE = 0,
	DIFF_INSERT = 1,
	DIFF_REMOVE = 2
};

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

struct JsonNode
{
	NodeKind	kind;
	const char *text;
	size_t		length;
	size_t		count;
	size_t		capacity;
	JsonMember *members;
};

typedef struct ArenaChunk
{
	struct ArenaChunk *next;
	size_t		used;
	size_t		size;
} ArenaChunk;

typedef struct JsonTree
{
	const TapBinlogMemory *memory;
	ArenaChunk *chunks;
	JsonNode   *root;
	TapBinlogStatus status;		/* first failure */
} JsonTree;

typedef struct TextCursor
{
	const char *position;
	const char *end;
} TextCursor;

/* One step of a path */
typedef struct PathLeg
{
	bool		is_index;
	size_t		index;
	const char *key;
	size_t		key_length;
} PathLeg;

static JsonNode *parse_value(JsonTree *tree, TextCursor *cursor, int depth);

/* --- memory ------------------------------------------------------------------ */

static void *
fail(JsonTree *tree, TapBinlogStatus status)
{
	if (tree->status == TAP_BINLOG_OK)
		tree->status = status;
	return NULL;
}

static void *
allocate(JsonTree *tree, size_t size)
{
	ArenaChunk *chunk = tree->chunks;
	void	   *result;

	size = (size + 15) & ~(size_t) 15;
	if (chunk == NULL || size > chunk->size - chunk->used)
	{
		size_t		wanted = size > ARENA_CHUNK_SIZE / 4 ? size : ARENA_CHUNK_SIZE;

		chunk = tap_binlog_resize(tree->memory, NULL, sizeof(*chunk) + 16 + wanted);
		if (chunk == NULL)
			return fail(tree, TAP_BINLOG_NO_MEMORY);
		chunk->next = tree->chunks;
		chunk->used = 0;
		chunk->size = wanted;
		tree->chunks = chunk;
	}
	result = (char *) chunk + ((sizeof(*chunk) + 15) & ~(size_t) 15) + chunk->used;
	chunk->used += size;
	return result;
}

static void
free_tree(JsonTree *tree)
{
	while (tree->chunks)
	{
		ArenaChunk *chunk = tree->chunks;

		tree->chunks = chunk->next;
		tap_binlog_release(tree->memory, chunk);
	}
}

static JsonNode *
make_node(JsonTree *tree, NodeKind kind)
{
	JsonNode   *node = allocate(tree, sizeof(*node));

	if (node == NULL)
		return NULL;
	memset(node, 0, sizeof(*node));
	node->kind = kind;
	return node;
}

/* Insert a member before `index`, which is at most node->count. */
static bool
insert_member(JsonTree *tree, JsonNode *node, size_t index, JsonMember member)
{
	if (node->count == node->capacity)
	{
		size_t		capacity = node->capacity ? node->capacity * 2 : 4;
		JsonMember *members = allocate(tree, capacity * sizeof(*members));

		if (members == NULL)
			return false;
		if (node->count > 0)
			memcpy(members, node->members, node->count * sizeof(*members));
		node->members = members;
		node->capacity = capacity;
	}
	memmove(node->members + index + 1, node->members + index,
			(node->count - index) * sizeof(*node->members));
	node->members[index] = member;
	node->count++;
	return true;
}

/* --- members of objects -------------------------------------------------------- */

/* MySQL's order of keys: by length, then by bytes */
static int
compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return a_length == 0 ? 0 : memcmp(a, b, a_length);
}

/* Position of a key, or where it belongs; *found tells which. */
static size_t
find_key(const JsonNode *object, const char *key, size_t key_length, bool *found)
{
	size_t		low = 0;
	size_t		high = object->count;

	*found = false;
	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;
		const JsonMember *member = &object->members[middle];
		int			order = compare_keys(member->key, member->key_length, key, key_length);

		if (order == 0)
		{
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
compare_members(const void *a, const void *b)
{
	const JsonMember *first = a;
	const JsonMember *second = b;
	int			order = compare_keys(first->key, first->key_length,
									 second->key, second->key_length);

	/* keys point into the text or arena; of equal ones the later shall win */
	if (order == 0)
		order = first->value->capacity < second->value->capacity ? -1 : 1;
	return order;
}

/*
 * Sort members as MySQL does and keep the last one of equal keys.  Most often the text
 * came from MySQL and is in order.
 */
static bool
sort_members(JsonTree *tree, JsonNode *object)
{
	bool		sorted = true;
	size_t		kept = 0;

	for (size_t i = 1; i < object->count && sorted; i++)
		sorted = compare_keys(object->members[i - 1].key, object->members[i - 1].key_length,
							  object->members[i].key, object->members[i].key_length) < 0;
	if (sorted)
		return true;

	/* wrap each value so that equal keys stay in order in an unstable sort */
	for (size_t i = 0; i < object->count; i++)
	{
		JsonNode   *wrapper = make_node(tree, NODE_TOKEN);

		if (wrapper == NULL)
			return false;
		wrapper->text = (const char *) object->members[i].value;
		wrapper->capacity = i;
		object->members[i].value = wrapper;
	}
	qsort(object->members, object->count, sizeof(*object->members), compare_members);
	for (size_t i = 0; i < object->count; i++)
	{
		JsonMember	member = object->members[i];

		member.value = (JsonNode *) member.value->text;
		if (kept > 0 && compare_keys(object->members[kept - 1].key,
									 object->members[kept - 1].key_length,
									 member.key, member.key_length) == 0)
			kept--;
		object->members[kept++] = member;
	}
	object->count = kept;
	return true;
}

/* --- parsing text -------------------------------------------------------------- */

static void
skip_space(TextCursor *cursor)
{
	while (cursor->position < cursor->end &&
		   (*cursor->position == ' ' || *cursor->position == '\t' ||
			*cursor->position == '\n' || *cursor->position == '\r'))
		cursor->position++;
}

static bool
skip_character(TextCursor *cursor, char c)
{
	if (cursor->position >= cursor->end || *cursor->position != c)
		return false;
	cursor->position++;
	return true;
}

static bool
get_hex4(TextCursor *cursor, uint32_t *value)
{
	*value = 0;
	if (cursor->end - cursor->position < 4)
		return false;
	for (int i = 0; i < 4; i++)
	{
		char		c = *cursor->position++;

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint32_t) (c - '0');
		else if (c >= 'a' && c <= 'f')
			*value = *value << 4 | (uint32_t) (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			*value = *value << 4 | (uint32_t) (c - 'A' + 10);
		else
			return false;
	}
	return true;
}

static char *
put_utf8(char *out, uint32_t code)
{
	if (code < 0x80)
		*out++ = (char) code;
	else if (code < 0x800)
	{
		*out++ = (char) (0xc0 | code >> 6);
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else if (code < 0x10000)
	{
		*out++ = (char) (0xe0 | code >> 12);
		*out++ = (char) (0x80 | (code >> 6 & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else
	{
		*out++ = (char) (0xf0 | code >> 18);
		*out++ = (char) (0x80 | (code >> 12 & 0x3f));
		*out++ = (char) (0x80 | (code >> 6 & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	return out;
}

/* After a backslash; NULL on a malformed escape.  Output is never longer. */
static char *
unescape(TextCursor *cursor, char *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *simple;
	uint32_t	code;
	uint32_t	low;

	if (cursor->position >= cursor->end)
		return NULL;
	if (*cursor->position != 'u')
	{
		simple = memchr(from, *cursor->position, sizeof(from) - 1);
		if (simple == NULL)
			return NULL;
		cursor->position++;
		*out = to[simple - from];
		return out + 1;
	}
	cursor->position++;
	if (!get_hex4(cursor, &code) || (code >= 0xdc00 && code < 0xe000))
		return NULL;
	if (code >= 0xd800 && code < 0xdc00)
	{
		if (!skip_character(cursor, '\\') || !skip_character(cursor, 'u') ||
			!get_hex4(cursor, &low) || low < 0xdc00 || low >= 0xe000)
			return NULL;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return put_utf8(out, code);
}

/* A string from its opening quote on.  Without escapes the text itself serves. */
static bool
parse_string(JsonTree *tree, TextCursor *cursor, const char **text, size_t *length)
{
	const char *start;
	const char *scan;
	char	   *out;
	bool		escaped = false;

	if (!skip_character(cursor, '"'))
		return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	start = cursor->position;
	for (scan = start; scan < cursor->end && *scan != '"'; scan++)
	{
		if (*scan == '\\')
		{
			escaped = true;
			scan++;
		}
	}
	if (scan >= cursor->end)
		return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	*text = start;
	*length = (size_t) (scan - start);
	if (!escaped)
	{
		cursor->position = scan + 1;
		return true;
	}
	if ((out = allocate(tree, *length)) == NULL)
		return false;
	*text = out;
	while (cursor->position < scan && out)
	{
		char		c = *cursor->position++;

		if (c != '\\')
			*out++ = c;
		else
			out = unescape(cursor, out);
	}
	if (out == NULL || cursor->position != scan)
		return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	*length = (size_t) (out - *text);
	cursor->position = scan + 1;
	return true;
}

static bool
is_token_character(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		c == '-' || c == '+' || c == '.';
}

static bool
token_is(const JsonNode *node, const char *word)
{
	return node->length == strlen(word) && memcmp(node->text, word, node->length) == 0;
}

static JsonNode *
parse_token(JsonTree *tree, TextCursor *cursor)
{
	JsonNode   *node = make_node(tree, NODE_TOKEN);

	if (node == NULL)
		return NULL;
	node->text = cursor->position;
	while (cursor->position < cursor->end && is_token_character(*cursor->position))
		cursor->position++;
	node->length = (size_t) (cursor->position - node->text);
	if (node->length == 0)
		return fail(tree, TAP_BINLOG_CORRUPT);
	if ((node->text[0] == '-' || (node->text[0] >= '0' && node->text[0] <= '9')) ||
		token_is(node, "null") || token_is(node, "true") || token_is(node, "false"))
		return node;
	return fail(tree, TAP_BINLOG_CORRUPT);
}

static bool
parse_member(JsonTree *tree, TextCursor *cursor, JsonNode *node, int depth)
{
	JsonMember	member = {NULL, 0, NULL};

	skip_space(cursor);
	if (node->kind == NODE_OBJECT)
	{
		if (!parse_string(tree, cursor, &member.key, &member.key_length))
			return false;
		skip_space(cursor);
		if (!skip_character(cursor, ':'))
			return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	}
	member.value = parse_value(tree, cursor, depth + 1);
	if (member.value == NULL || !insert_member(tree, node, node->count, member))
		return false;
	skip_space(cursor);
	return true;
}

static JsonNode *
parse_container(JsonTree *tree, TextCursor *cursor, int depth)
{
	bool		object = *cursor->position++ == '{';
	char		close = object ? '}' : ']';
	JsonNode   *node = make_node(tree, object ? NODE_OBJECT : NODE_ARRAY);

	if (node == NULL || depth >= TAP_BINLOG_JSON_DEPTH)
		return fail(tree, TAP_BINLOG_CORRUPT);
	skip_space(cursor);
	if (skip_character(cursor, close))
		return node;
	do
	{
		if (!parse_member(tree, cursor, node, depth))
			return NULL;
	} while (skip_character(cursor, ','));
	if (!skip_character(cursor, close))
		return fail(tree, TAP_BINLOG_CORRUPT);
	if (object && !sort_members(tree, node))
		return NULL;
	return node;
}

static JsonNode *
parse_value(JsonTree *tree, TextCursor *cursor, int depth)
{
	JsonNode   *node;

	skip_space(cursor);
	if (cursor->position >= cursor->end)
		return fail(tree, TAP_BINLOG_CORRUPT);
	if (*cursor->position == '{' || *cursor->position == '[')
		return parse_container(tree, cursor, depth);
	if (*cursor->position != '"')
		return parse_token(tree, cursor);
	node = make_node(tree, NODE_STRING);
	if (node == NULL || !parse_string(tree, cursor, &node->text, &node->length))
		return NULL;
	return node;
}

static JsonNode *
parse_text(JsonTree *tree, const char *text, size_t length)
{
	TextCursor	cursor = {text, text + length};
	JsonNode   *node = parse_value(tree, &cursor, 0);

	skip_space(&cursor);
	if (node && cursor.position != cursor.end)
		return fail(tree, TAP_BINLOG_CORRUPT);
	return node;
}

/* --- paths --------------------------------------------------------------------- */

static bool
parse_index(JsonTree *tree, TextCursor *path, PathLeg *leg)
{
	const char *start = path->position;

	leg->is_index = true;
	leg->index = 0;
	while (path->position < path->end && *path->position >= '0' && *path->position <= '9')
	{
		leg->index = leg->index * 10 + (size_t) (*path->position++ - '0');
		if (leg->index > UINT32_MAX)
			return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	}
	if (path->position == start || !skip_character(path, ']'))
		return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	return true;
}

/* Read `.key`, `."key"` or `[index]`. */
static bool
parse_leg(JsonTree *tree, TextCursor *path, PathLeg *leg)
{
	if (skip_character(path, '['))
		return parse_index(tree, path, leg);
	leg->is_index = false;
	if (!skip_character(path, '.'))
		return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	if (path->position < path->end && *path->position == '"')
		return parse_string(tree, path, &leg->key, &leg->key_length);
	leg->key = path->position;
	while (path->position < path->end && *path->position != '.' && *path->position != '[')
		path->position++;
	leg->key_length = (size_t) (path->position - leg->key);
	return leg->key_length > 0 || fail(tree, TAP_BINLOG_CORRUPT) != NULL;
}

/* The member that a leg means, or NULL; *index is where it is or belongs. */
static JsonMember *
find_member(JsonNode *node, const PathLeg *leg, size_t *index)
{
	bool		found = false;

	*index = 0;
	if (leg->is_index)
	{
		if (node->kind != NODE_ARRAY)
			return NULL;
		found = leg->index < node->count;
		*index = found ? leg->index : node->count;
	}
	else
	{
		if (node->kind != NODE_OBJECT)
			return NULL;
		*index = find_key(node, leg->key, leg->key_length, &found);
	}
	return found ? &node->members[*index] : NULL;
}

static bool
apply_last_leg(JsonTree *tree, JsonNode *parent, const PathLeg *leg, int operation,
			   JsonNode *value)
{
	size_t		index;
	JsonMember *member = find_member(parent, leg, &index);
	JsonMember	added = {leg->key, leg->key_length, value};

	switch (operation)
	{
		case DIFF_REPLACE:
			if (member == NULL)
				break;
			member->value = value;
			return true;
		case DIFF_INSERT:
			if (parent->kind != (leg->is_index ? NODE_ARRAY : NODE_OBJECT) ||
				(member && !leg->is_index))
				break;
			return insert_member(tree, parent, index, added);
		default:
			if (member == NULL)
				break;
			parent->count--;
			memmove(member, member + 1, (parent->count - index) * sizeof(*member));
			return true;
	}
	return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
}

static bool
apply_diff(JsonTree *tree, TextCursor *path, int operation, JsonNode *value)
{
	JsonNode   *node = tree->root;
	PathLeg		leg;

	if (!skip_character(path, '$'))
		return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	if (path->position == path->end)
	{
		if (operation != DIFF_REPLACE)
			return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
		tree->root = value;
		return true;
	}
	for (;;)
	{
		JsonMember *member;
		size_t		index;

		memset(&leg, 0, sizeof(leg));
		if (!parse_leg(tree, path, &leg))
			return false;
		if (path->position == path->end)
			return apply_last_leg(tree, node, &leg, operation, value);
		member = find_member(node, &leg, &index);
		if (member == NULL)
			return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
		node = member->value;
	}
}

/* --- diffs and result ------------------------------------------------------------ */

/* The tree of a binary value; its text goes into the arena. */
static JsonNode *
parse_binary(JsonTree *tree, const uint8_t *data, size_t length, size_t *text_left)
{
	TapBinlogBuffer text;
	TapBinlogStatus status;
	char	   *copy = NULL;
	size_t		text_length;

	tap_binlog_buffer_init(&text, *text_left, tree->memory);
	status = tap_binlog_json_text(data, (uint32_t) length, &text);
	text_length = text.length;
	if (status != TAP_BINLOG_OK)
		fail(tree, status);
	else if ((copy = allocate(tree, text_length)) != NULL)
		memcpy(copy, text.data, text_length);
	tap_binlog_buffer_free(&text);
	if (copy == NULL)
		return NULL;
	*text_left -= text_length;
	return parse_text(tree, copy, text_length);
}

static bool
apply_diffs(JsonTree *tree, const uint8_t *diffs, uint32_t length, size_t text_limit)
{
	TapBinlogCursor cursor = {diffs, diffs, false};

	if (length > 0)				/* diffs may be NULL, otherwise */
		cursor.end += length;
	while (cursor_left(&cursor) > 0)
	{
		uint8_t		operation = cursor_get8(&cursor);
		TapBinlogString path = cursor_get_string(&cursor, cursor_get_packed(&cursor));
		TextCursor	path_cursor = {path.data, path.data + path.length};
		JsonNode   *value = NULL;

		if (cursor.failed || operation > DIFF_REMOVE)
			return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
		if (operation != DIFF_REMOVE)
		{
			uint64_t	size = cursor_get_packed(&cursor);
			const uint8_t *data = cursor_take(&cursor, size);

			if (data == NULL)
				return fail(tree, TAP_BINLOG_CORRUPT) != NULL;
			if ((value = parse_binary(tree, data, size, &text_limit)) == NULL)
				return false;
		}
		if (!apply_diff(tree, &path_cursor, operation, value))
			return false;
	}
	return true;
}

/* Depth is bounded: old text and each new value have their own limit. */
static TapBinlogStatus
print_node(const JsonNode *node, TapBinlogBuffer *out, int depth)
{
	bool		object = node->kind == NODE_OBJECT;
	TapBinlogStatus status;

	if (node->kind == NODE_TOKEN)
		return tap_binlog_buffer_append(out, node->text, node->length);
	if (node->kind == NODE_STRING)
		return tap_binlog_json_quote(out, node->text, node->length);
	if (depth >= TAP_BINLOG_JSON_DEPTH)
		return TAP_BINLOG_CORRUPT;
	status = tap_binlog_buffer_append(out, object ? "{" : "[", 1);
	for (size_t i = 0; i < node->count && status == TAP_BINLOG_OK; i++)
	{
		const JsonMember *member = &node->members[i];

		if (i > 0)
			status = tap_binlog_buffer_append(out, ", ", 2);
		if (status == TAP_BINLOG_OK && object)
			status = tap_binlog_json_quote(out, member->key, member->key_length);
		if (status == TAP_BINLOG_OK && object)
			status = tap_binlog_buffer_append(out, ": ", 2);
		if (status == TAP_BINLOG_OK)
			status = print_node(member->value, out, depth + 1);
	}
	return status == TAP_BINLOG_OK ? tap_binlog_buffer_append(out, object ? "}" : "]", 1)
		: status;
}

TapBinlogStatus
tap_binlog_json_apply(const char *old_text, size_t old_length, const uint8_t *diffs,
					  uint32_t diffs_length, TapBinlogBuffer *out)
{
	JsonTree	tree = {&out->memory, NULL, NULL, TAP_BINLOG_OK};
	TapBinlogStatus status;

	tree.root = parse_text(&tree, old_text, old_length);
	if (tree.root && apply_diffs(&tree, diffs, diffs_length, out->limit))
		status = print_node(tree.root, out, 0);
	else
		status = tree.status;
	free_tree(&tree);
	return status;
}
