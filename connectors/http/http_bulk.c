/*-------------------------------------------------------------------------
 *
 * connectors/http/http_bulk.c
 *	  Answers of Elasticsearch and OpenSearch.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_bulk.h"

#include <string.h>

#include "http_json.h"

#define KEY_BYTES	64
#define ID_BYTES	1024		/* both servers take 512 */

/* For messages: whatever the encodings are, this fits. */
static void
make_printable(char *text)
{
	for (char *c = text; *c != '\0'; c++)
	{
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	}
}

static bool
parse_error(TapHttpJson *json, TapHttpBulkItem *item)
{
	char		key[KEY_BYTES];

	/* very old servers have a text here */
	if (tap_http_json_peek(json) == '"')
	{
		strcpy(item->type, "error");
		return tap_http_json_string(json, item->reason, sizeof(item->reason), NULL);
	}
	for (bool first = true; tap_http_json_member(json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "type") == 0 && tap_http_json_peek(json) == '"')
			(void) tap_http_json_string(json, item->type, sizeof(item->type), NULL);
		else if (strcmp(key, "reason") == 0 && tap_http_json_peek(json) == '"')
			(void) tap_http_json_string(json, item->reason, sizeof(item->reason), NULL);
		else
			(void) tap_http_json_skip(json);
	}
	return !json->bad;
}

static bool
parse_outcome(TapHttpJson *json, TapHttpBulkItem *item)
{
	char		key[KEY_BYTES];
	int64_t		status;

	for (bool first = true; tap_http_json_member(json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "status") == 0)
		{
			if (tap_http_json_int(json, &status) && status >= 100 && status <= 999)
				item->status = (int) status;
		}
		else if (strcmp(key, "error") == 0 && strchr("{\"", tap_http_json_peek(json)) != NULL)
			(void) parse_error(json, item);
		else
			(void) tap_http_json_skip(json);
	}
	make_printable(item->type);
	make_printable(item->reason);
	return !json->bad;
}

/* {"index":{...}}, whatever the action is called. */
static bool
parse_item(TapHttpJson *json, TapHttpBulkItem *item)
{
	char		key[KEY_BYTES];

	memset(item, 0, sizeof(TapHttpBulkItem));
	for (bool first = true; tap_http_json_member(json, first, key, sizeof(key)); first = false)
		(void) parse_outcome(json, item);
	return !json->bad && item->status != 0;
}

static bool
parse_items(TapHttpJson *json, TapHttpBulkItem *items, int nitems)
{
	int			n = 0;

	for (bool first = true; tap_http_json_element(json, first); first = false)
	{
		if (n == nitems || !parse_item(json, &items[n]))
			return false;
		n++;
	}
	return !json->bad && n == nitems;
}

bool
tap_http_parse_bulk(const char *bytes, size_t length, TapHttpBulkItem *items, int nitems)
{
	TapHttpJson json;
	char		key[KEY_BYTES];
	bool		found = false;

	tap_http_json_init(&json, bytes, length);
	for (bool first = true; tap_http_json_member(&json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "items") != 0)
			(void) tap_http_json_skip(&json);
		else if (found || !parse_items(&json, items, nitems))
			return false;
		else
			found = true;
	}
	return found && tap_http_json_at_end(&json);
}

/* ---------------------------------------------------------------------
 * Searches
 * ---------------------------------------------------------------------
 */

static bool
parse_hit(TapHttpJson *json, void (*hit) (void *data, const char *id, int64_t version),
		  void *data)
{
	char		key[KEY_BYTES];
	char		id[ID_BYTES] = "";
	int64_t		version = 0;
	bool		cut = false;

	for (bool first = true; tap_http_json_member(json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "_id") == 0)
			(void) tap_http_json_string(json, id, sizeof(id), &cut);
		else if (strcmp(key, "_version") == 0)
			(void) tap_http_json_int(json, &version);
		else
			(void) tap_http_json_skip(json);
	}
	if (json->bad || cut || id[0] == '\0')
		return false;
	hit(data, id, version);
	return true;
}

static bool
parse_hits(TapHttpJson *json, void (*hit) (void *data, const char *id, int64_t version),
		   void *data)
{
	char		key[KEY_BYTES];

	for (bool first = true; tap_http_json_member(json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "hits") != 0)
		{
			(void) tap_http_json_skip(json);
			continue;
		}
		for (bool head = true; tap_http_json_element(json, head); head = false)
		{
			if (!parse_hit(json, hit, data))
				return false;
		}
	}
	return !json->bad;
}

bool
tap_http_parse_hits(const char *bytes, size_t length, char *scroll, size_t size,
					void (*hit) (void *data, const char *id, int64_t version), void *data)
{
	TapHttpJson json;
	char		key[KEY_BYTES];
	bool		cut = false;

	scroll[0] = '\0';
	tap_http_json_init(&json, bytes, length);
	for (bool first = true; tap_http_json_member(&json, first, key, sizeof(key)); first = false)
	{
		if (strcmp(key, "_scroll_id") == 0)
			(void) tap_http_json_string(&json, scroll, size, &cut);
		else if (strcmp(key, "hits") == 0)
		{
			if (!parse_hits(&json, hit, data))
				return false;
		}
		else
			(void) tap_http_json_skip(&json);
	}
	return !cut && tap_http_json_at_end(&json);
}
