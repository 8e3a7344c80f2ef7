/*-------------------------------------------------------------------------
 *
 * connectors/http/http_json_path.c
 *	  Values in a JSON text by a path.
 *
 * NOTES
 *	  Paths of members and [*] alone, as $.data.items[*], are followed in the
 *	  text itself: what is found is as the server wrote it, with its order of
 *	  members and its digits.  Arrays are entered where a member is asked for,
 *	  as the lax mode of SQL/JSON does.  All other paths are PostgreSQL's.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/jsonpath.h"

#define NAME_BYTES		256

/* One step; name NULL: all elements. */
typedef struct PathStep
{
	char	   *name;
} PathStep;

struct TapHttpPath
{
	char	   *text;
	bool		simple;
	int			nsteps;
	PathStep   *steps;
	JsonPath   *compiled;		/* unless simple */
	TapHttpPath *unfiltered;	/* what is before its first condition; NULL:
								 * it has none */
	bool		filter_is_last; /* nothing but others is behind it */
};

/* ---------------------------------------------------------------------
 * Compiling
 * ---------------------------------------------------------------------
 */

static bool
is_word(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		(!first && c >= '0' && c <= '9');
}

/* Read one step of a simple path; false: it is not one. */
static bool
read_step(const char **text, PathStep *step)
{
	const char *start;

	if (strncmp(*text, "[*]", 3) == 0)
	{
		step->name = NULL;
		*text += 3;
		return true;
	}
	if (**text != '.')
		return false;
	start = ++(*text);
	if (*start == '"')
	{
		const char *end = strchr(start + 1, '"');

		if (end == NULL || memchr(start, '\\', end - start) != NULL)
			return false;
		step->name = pnstrdup(start + 1, end - start - 1);
		*text = end + 1;
	}
	else
	{
		while (is_word(**text, *text == start))
			(*text)++;
		if (*text == start || **text == '(')
			return false;
		step->name = pnstrdup(start, *text - start);
	}
	return strlen(step->name) < NAME_BYTES;
}

static bool
read_steps(TapHttpPath *path)
{
	const char *text = path->text;

	path->steps = palloc(sizeof(PathStep) * (strlen(text) + 1));
	if (*text++ != '$')
		return false;
	while (*text != '\0')
	{
		if (!read_step(&text, &path->steps[path->nsteps]))
			return false;
		path->nsteps++;
	}
	return true;
}

/*
 * Where a path's first condition begins, outside of strings and parentheses;
 * NULL: it has none.  is_last: nothing but conditions follows.
 */
static const char *
find_filter(const char *path, bool *is_last)
{
	const char *filter = NULL;
	int			depth = 0;
	bool		quoted = false;

	*is_last = true;
	for (const char *c = path; *c != '\0'; c++)
	{
		if (quoted && *c == '\\' && c[1] != '\0')
			c++;
		else if (*c == '"')
			quoted = !quoted;
		else if (quoted)
			continue;
		else if (*c == '(' || *c == '[')
			depth++;
		else if (*c == ')' || *c == ']')
			depth--;
		else if (*c == '?' && depth == 0 && filter == NULL)
			filter = c;
		else if (filter != NULL && depth == 0 && strchr(" \t\r\n?", *c) == NULL)
			*is_last = false;
	}
	return filter;
}

static void
read_filter(TapHttpPath *path)
{
	const char *filter = find_filter(path->text, &path->filter_is_last);
	Size		length;

	if (filter == NULL)
		return;
	length = filter - path->text;
	while (length > 0 && strchr(" \t\r\n", path->text[length - 1]) != NULL)
		length--;
	path->unfiltered = tap_http_path_compile(pnstrdup(path->text, length));
}

TapHttpPath *
tap_http_path_compile(const char *path)
{
	TapHttpPath *result = palloc0(sizeof(TapHttpPath));

	result->text = pstrdup(path);
	result->simple = read_steps(result);
	if (!result->simple)
		result->compiled = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in,
																 CStringGetDatum(path)));
	if (!result->simple)
		read_filter(result);
	return result;
}

const TapHttpPath *
tap_http_path_unfiltered(const TapHttpPath *path, bool *filter_is_last)
{
	*filter_is_last = path->unfiltered == NULL || path->filter_is_last;
	return path->unfiltered ? path->unfiltered : path;
}

/* ---------------------------------------------------------------------
 * Following the text
 * ---------------------------------------------------------------------
 */

static void
add_slice(TapHttpSlices *found, const char *text, Size length)
{
	if (found->nitems == found->allocated)
	{
		found->allocated = Max(found->allocated * 2, 64);
		if (found->items == NULL)
			found->items = palloc(found->allocated * sizeof(TapHttpSlice));
		else
			found->items = repalloc_huge(found->items, found->allocated * sizeof(TapHttpSlice));
	}
	found->items[found->nitems].text = text;
	found->items[found->nitems].length = length;
	found->nitems++;
}

/* The value that a reader stands before; it stands behind it then. */
static TapHttpSlice
take_value(TapHttpJson *json)
{
	TapHttpSlice value;

	(void) tap_http_json_peek(json);
	value.text = json->next;
	(void) tap_http_json_skip(json);
	value.length = json->next - value.text;
	return value;
}

bool
tap_http_json_find(const char *object, Size length, const char *name, TapHttpSlice *value)
{
	TapHttpJson json;
	char		key[NAME_BYTES];
	bool		found = false;
	bool		first = true;

	tap_http_json_init(&json, object, length);
	if (tap_http_json_peek(&json) != '{')
		return false;
	for (; tap_http_json_member(&json, first, key, sizeof(key)); first = false)
	{
		TapHttpSlice member = take_value(&json);

		/* of several the last one counts, as everywhere */
		if (!json.bad && strcmp(key, name) == 0)
		{
			*value = member;
			found = true;
		}
	}
	return found && !json.bad;
}

static void follow(const PathStep *steps, int nsteps, TapHttpSlice value, bool unwrap,
				   TapHttpSlices *found);

static void
follow_elements(const PathStep *steps, int nsteps, TapHttpSlice value, bool unwrap,
				TapHttpSlices *found)
{
	TapHttpJson json;
	bool		first = true;

	tap_http_json_init(&json, value.text, value.length);
	for (; tap_http_json_element(&json, first); first = false)
	{
		TapHttpSlice element = take_value(&json);

		if (json.bad)
			break;
		if (nsteps == 0)
			add_slice(found, element.text, element.length);
		else
			follow(steps, nsteps, element, unwrap, found);
	}
}

/* It recurses once a step, of which the user's own path has few. */
static void
follow(const PathStep *steps, int nsteps, TapHttpSlice value, bool unwrap,
	   TapHttpSlices *found)
{
	bool		is_array = value.length > 0 && value.text[0] == '[';

	check_stack_depth();
	if (nsteps == 0)
	{
		if (unwrap && is_array)
			follow_elements(steps, 0, value, unwrap, found);
		else
			add_slice(found, value.text, value.length);
	}
	else if (steps[0].name == NULL)
	{
		if (is_array)
			follow_elements(steps + 1, nsteps - 1, value, unwrap, found);
		else
			follow(steps + 1, nsteps - 1, value, unwrap, found);
	}
	else if (is_array)
		follow_elements(steps, nsteps, value, unwrap, found);
	else
	{
		TapHttpSlice member;

		if (tap_http_json_find(value.text, value.length, steps[0].name, &member))
			follow(steps + 1, nsteps - 1, member, unwrap, found);
		else
			found->missing = true;
	}
}

/* ---------------------------------------------------------------------
 * PostgreSQL's paths
 * ---------------------------------------------------------------------
 */

static char *
value_text(JsonbValue *value, Size *length)
{
	StringInfoData text;
	Jsonb	   *jsonb = JsonbValueToJsonb(value);

	initStringInfo(&text);
	(void) JsonbToCString(&text, &jsonb->root, VARSIZE(jsonb));
	*length = text.len;
	return text.data;
}

static void
add_elements(Jsonb *array, bool unwrap, TapHttpSlices *found)
{
	JsonbIterator *iterator = JsonbIteratorInit(&array->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		Size		length;
		char	   *text;

		if (token != WJB_ELEM)
			continue;
		text = value_text(&value, &length);
		if (unwrap && text[0] == '[')
			add_elements(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))),
						 false, found);
		else
			add_slice(found, text, length);
	}
}

static void
find_by_jsonpath(const TapHttpPath *path, const char *text, Size length, bool unwrap,
				 TapHttpSlices *found)
{
	Datum		json = DirectFunctionCall1(jsonb_in, CStringGetDatum(pnstrdup(text, length)));
	Datum		none = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	Datum		values = DirectFunctionCall4(jsonb_path_query_array, json,
											 PointerGetDatum(path->compiled), none,
											 BoolGetDatum(false));

	add_elements(DatumGetJsonbP(values), unwrap, found);
	found->missing = found->nitems == 0;
}

void
tap_http_path_find(const TapHttpPath *path, const char *text, Size length, bool unwrap,
				   TapHttpSlices *found)
{
	TapHttpJson json;

	memset(found, 0, sizeof(*found));
	if (!path->simple)
	{
		find_by_jsonpath(path, text, length, unwrap, found);
		return;
	}
	tap_http_json_init(&json, text, length);
	follow(path->steps, path->nsteps, take_value(&json), unwrap, found);
}

char *
tap_http_json_text(const char *value, Size length)
{
	Jsonb	   *jsonb;
	JsonbValue	scalar;

	if (length == 0 || value[0] == '{' || value[0] == '[')
		return NULL;

	/* digits as the server wrote them */
	if (value[0] != '"')
		return value[0] == 'n' ? NULL : pnstrdup(value, length);
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											   CStringGetDatum(pnstrdup(value, length))));
	if (!JsonbExtractScalar(&jsonb->root, &scalar) || scalar.type != jbvString)
		return NULL;
	return pnstrdup(scalar.val.string.val, scalar.val.string.len);
}
