/*-------------------------------------------------------------------------
 *
 * connectors/http/http_name.c
 *	  Names of targets from patterns, and texts within URLs.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_connector.h"

/* Append what a word in braces stands for; false when it is none. */
static bool
append_word(StringInfo out, const char *word, const TapTableName *name)
{
	if (strncmp(word, "{schema}", 8) == 0)
		appendStringInfoString(out, name->schema ? name->schema : "");
	else if (strncmp(word, "{table}", 7) == 0)
		appendStringInfoString(out, name->name);
	else
		return false;
	return true;
}

char *
tap_http_expand(const char *pattern, const TapTableName *name)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *c = pattern; *c != '\0'; c++)
	{
		if (*c == '{' && append_word(&out, c, name))
			c = strchr(c, '}');
		else
			appendStringInfoChar(&out, *c);
	}
	return out.data;
}

void
tap_http_append_escaped(StringInfo out, const char *text, const char *also_safe)
{
	for (const unsigned char *c = (const unsigned char *) text; *c != '\0'; c++)
	{
		bool		safe = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		(*c >= '0' && *c <= '9') || strchr("-._~", *c) != NULL ||
		strchr(also_safe, *c) != NULL;

		if (safe)
			appendStringInfoChar(out, *c);
		else
			appendStringInfo(out, "%%%02X", *c);
	}
}
