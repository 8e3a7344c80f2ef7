/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_json_tree.c
 *	  JSON text to a tree that can be changed, and back.
 *
 * NOTES
 *	  Numbers stay as they are written.  All nodes live in one arena that is
 *	  freed at the end; each node stands for at least one byte of text, so
 *	  that the text bounds the arena.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "binlog_json.h"

#define ARENA_CHUNK_SIZE	8192

typedef struct ArenaChunk
{
	struct ArenaChunk *next;
	size_t		used;
	size_t		size;
} ArenaChunk;

static JsonNode *parse_value(JsonTree *tree, TextCursor *cursor, int depth);

/* --- memory -------------------------------------------------------------- */

void *
tap_json_fail(JsonTree *tree, TapBinlogStatus status)
{
	if (tree->status == TAP_BINLOG_OK)
		tree->status = status;
	return NULL;
}

void *
tap_json_allocate(JsonTree *tree, size_t size)
{
	ArenaChunk *chunk = tree->chunks;
	void	   *result;

	size = (size + 15) & ~(size_t) 15;
	if (chunk == NULL || size > chunk->size - chunk->used)
	{
		size_t		wanted = size > ARENA_CHUNK_SIZE / 4 ? size : ARENA_CHUNK_SIZE;

		chunk = tap_binlog_resize(tree->memory, NULL, sizeof(*chunk) + 16 + wanted);
		if (chunk == NULL)
			return tap_json_fail(tree, TAP_BINLOG_NO_MEMORY);
		chunk->next = tree->chunks;
		chunk->used = 0;
		chunk->size = wanted;
		tree->chunks = chunk;
	}
	result = (char *) chunk + ((sizeof(*chunk) + 15) & ~(size_t) 15) + chunk->used;
	chunk->used += size;
	return result;
}

void
tap_json_free(JsonTree *tree)
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
	JsonNode   *node = tap_json_allocate(tree, sizeof(*node));

	if (node == NULL)
		return NULL;
	memset(node, 0, sizeof(*node));
	node->kind = kind;
	return node;
}

bool
tap_json_insert_member(JsonTree *tree, JsonNode *node, size_t index, JsonMember member)
{
	if (node->count == node->capacity)
	{
		size_t		capacity = node->capacity ? node->capacity * 2 : 4;
		JsonMember *members = tap_json_allocate(tree, capacity * sizeof(*members));

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

/* --- members of objects -------------------------------------------------- */

/* MySQL's order of keys: by length, then by bytes */
static int
compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return a_length == 0 ? 0 : memcmp(a, b, a_length);
}

size_t
tap_json_find_key(const JsonNode *object, const char *key, size_t key_length, bool *found)
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
 * Sort members as MySQL does and keep the last one of equal keys.  Most often
 * the text came from MySQL and is in order.
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

/* --- parsing text -------------------------------------------------------- */

static void
skip_space(TextCursor *cursor)
{
	while (cursor->position < cursor->end &&
		   (*cursor->position == ' ' || *cursor->position == '\t' ||
			*cursor->position == '\n' || *cursor->position == '\r'))
		cursor->position++;
}

bool
tap_json_skip_character(TextCursor *cursor, char c)
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
		if (!tap_json_skip_character(cursor, '\\') || !tap_json_skip_character(cursor, 'u') ||
			!get_hex4(cursor, &low) || low < 0xdc00 || low >= 0xe000)
			return NULL;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return put_utf8(out, code);
}

bool
tap_json_parse_string(JsonTree *tree, TextCursor *cursor, const char **text, size_t *length)
{
	const char *start;
	const char *scan;
	char	   *out;
	bool		escaped = false;

	if (!tap_json_skip_character(cursor, '"'))
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
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
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	*text = start;
	*length = (size_t) (scan - start);
	if (!escaped)
	{
		cursor->position = scan + 1;
		return true;
	}
	if ((out = tap_json_allocate(tree, *length)) == NULL)
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
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
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
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT);
	if ((node->text[0] == '-' || (node->text[0] >= '0' && node->text[0] <= '9')) ||
		token_is(node, "null") || token_is(node, "true") || token_is(node, "false"))
		return node;
	return tap_json_fail(tree, TAP_BINLOG_CORRUPT);
}

static bool
parse_member(JsonTree *tree, TextCursor *cursor, JsonNode *node, int depth)
{
	JsonMember	member = {NULL, 0, NULL};

	skip_space(cursor);
	if (node->kind == NODE_OBJECT)
	{
		if (!tap_json_parse_string(tree, cursor, &member.key, &member.key_length))
			return false;
		skip_space(cursor);
		if (!tap_json_skip_character(cursor, ':'))
			return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	}
	member.value = parse_value(tree, cursor, depth + 1);
	if (member.value == NULL || !tap_json_insert_member(tree, node, node->count, member))
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
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT);
	skip_space(cursor);
	if (tap_json_skip_character(cursor, close))
		return node;
	do
	{
		if (!parse_member(tree, cursor, node, depth))
			return NULL;
	} while (tap_json_skip_character(cursor, ','));
	if (!tap_json_skip_character(cursor, close))
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT);
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
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT);
	if (*cursor->position == '{' || *cursor->position == '[')
		return parse_container(tree, cursor, depth);
	if (*cursor->position != '"')
		return parse_token(tree, cursor);
	node = make_node(tree, NODE_STRING);
	if (node == NULL || !tap_json_parse_string(tree, cursor, &node->text, &node->length))
		return NULL;
	return node;
}

JsonNode *
tap_json_parse(JsonTree *tree, const char *text, size_t length)
{
	TextCursor	cursor = {text, text + length};
	JsonNode   *node = parse_value(tree, &cursor, 0);

	skip_space(&cursor);
	if (node && cursor.position != cursor.end)
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT);
	return node;
}

/* --- printing ------------------------------------------------------------ */

/* Depth is bounded: old text and each new value have their own limit. */
TapBinlogStatus
tap_json_print(const JsonNode *node, TapBinlogBuffer *out, int depth)
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
			status = tap_json_print(member->value, out, depth + 1);
	}
	return status == TAP_BINLOG_OK ? tap_binlog_buffer_append(out, object ? "}" : "]", 1)
		: status;
}
