/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_json_apply.c
 *	  Partial JSON updates: apply MySQL's diffs to a value that is text.
 *
 * NOTES
 *	  A diff is: operation (1 byte), length and text of the path, and unless it
 *	  removes, length and binary form of the new value.
 *
 *-------------------------------------------------------------------------
 */
#include "binlog_json.h"

enum
{
	DIFF_REPLACE = 0,
	DIFF_INSERT = 1,
	DIFF_REMOVE = 2
};

/* One step of a path */
typedef struct PathLeg
{
	bool		is_index;
	size_t		index;
	const char *key;
	size_t		key_length;
} PathLeg;

/* --- paths --------------------------------------------------------------- */

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
			return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	}
	if (path->position == start || !tap_json_skip_character(path, ']'))
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	return true;
}

/* Read `.key`, `."key"` or `[index]`. */
static bool
parse_leg(JsonTree *tree, TextCursor *path, PathLeg *leg)
{
	if (tap_json_skip_character(path, '['))
		return parse_index(tree, path, leg);
	leg->is_index = false;
	if (!tap_json_skip_character(path, '.'))
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	if (path->position < path->end && *path->position == '"')
		return tap_json_parse_string(tree, path, &leg->key, &leg->key_length);
	leg->key = path->position;
	while (path->position < path->end && *path->position != '.' && *path->position != '[')
		path->position++;
	leg->key_length = (size_t) (path->position - leg->key);
	return leg->key_length > 0 || tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
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
		*index = tap_json_find_key(node, leg->key, leg->key_length, &found);
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
			return tap_json_insert_member(tree, parent, index, added);
		default:
			if (member == NULL)
				break;
			parent->count--;
			memmove(member, member + 1, (parent->count - index) * sizeof(*member));
			return true;
	}
	return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
}

static bool
apply_diff(JsonTree *tree, TextCursor *path, int operation, JsonNode *value)
{
	JsonNode   *node = tree->root;
	PathLeg		leg;

	if (!tap_json_skip_character(path, '$'))
		return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
	if (path->position == path->end)
	{
		if (operation != DIFF_REPLACE)
			return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
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
			return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
		node = member->value;
	}
}

/* --- diffs and result ---------------------------------------------------- */

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
		tap_json_fail(tree, status);
	else if ((copy = tap_json_allocate(tree, text_length)) != NULL)
		memcpy(copy, text.data, text_length);
	tap_binlog_buffer_free(&text);
	if (copy == NULL)
		return NULL;
	*text_left -= text_length;
	return tap_json_parse(tree, copy, text_length);
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
			return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
		if (operation != DIFF_REMOVE)
		{
			uint64_t	size = cursor_get_packed(&cursor);
			const uint8_t *data = cursor_take(&cursor, size);

			if (data == NULL)
				return tap_json_fail(tree, TAP_BINLOG_CORRUPT) != NULL;
			if ((value = parse_binary(tree, data, size, &text_limit)) == NULL)
				return false;
		}
		if (!apply_diff(tree, &path_cursor, operation, value))
			return false;
	}
	return true;
}

TapBinlogStatus
tap_binlog_json_apply(const char *old_text, size_t old_length, const uint8_t *diffs,
					  uint32_t diffs_length, TapBinlogBuffer *out)
{
	JsonTree	tree = {&out->memory, NULL, NULL, TAP_BINLOG_OK};
	TapBinlogStatus status;

	tree.root = tap_json_parse(&tree, old_text, old_length);
	if (tree.root && apply_diffs(&tree, diffs, diffs_length, out->limit))
		status = tap_json_print(tree.root, out, 0);
	else
		status = tree.status;
	tap_json_free(&tree);
	return status;
}
