/*-------------------------------------------------------------------------
 *
 * connectors/common/http_allowed.c
 *	  Hosts that may be spoken to: the setting tapdata.http_allowed_hosts.
 *
 * NOTES
 *	  Names are compared as they are written.  What a name leads to is not
 *	  looked at, so that the list is as good as the names in it are.  URLs are
 *	  taken apart by libcurl, as when it makes the request.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_allowed.h"

#include <curl/curl.h>

#include "utils/guc.h"

#define SETTING		"tapdata.http_allowed_hosts"

/* The host of an entry, without brackets; *port is 0 when it has none. */
static char *
split_entry(const char *entry, Size length, int *port)
{
	char	   *host = pnstrdup(entry, length);
	char	   *colon;

	*port = 0;
	if (host[0] == '[')
	{
		char	   *end = strchr(host, ']');

		if (end == NULL)
			return host;
		*end = '\0';
		if (end[1] == ':')
			*port = atoi(end + 2);
		return host + 1;
	}

	/* an address of IPv6 has more than one */
	colon = strchr(host, ':');
	if (colon != NULL && strchr(colon + 1, ':') == NULL)
	{
		*colon = '\0';
		*port = atoi(colon + 1);
	}
	return host;
}

static bool
matches(const char *pattern, const char *host)
{
	Size		length = strlen(host);
	Size		suffix;

	if (pattern[0] != '*' || pattern[1] != '.')
		return pg_strcasecmp(pattern, host) == 0;
	suffix = strlen(pattern + 1);
	return length > suffix && pg_strcasecmp(pattern + 1, host + length - suffix) == 0;
}

void
tap_http_check_allowed(const char *host, int port, bool tls)
{
	const char *list = GetConfigOption(SETTING, true, false);
	const char *separators = ", \t\r\n";

	if (list == NULL || list[strspn(list, separators)] == '\0')
		return;
	if (port == 0)
		port = tls ? 443 : 80;
	while (*(list += strspn(list, separators)) != '\0')
	{
		Size		length = strcspn(list, separators);
		int			entry_port;
		char	   *entry = split_entry(list, length, &entry_port);

		if (matches(entry, host) && (entry_port == 0 || entry_port == port))
			return;
		list += length;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("host \"%s\", port %d, is not one that may be spoken to by HTTP", host, port),
			 errhint("A superuser can add it to the setting \"%s\".", SETTING)));
}

void
tap_http_check_allowed_url(const char *option, const char *url)
{
	CURLU	   *parsed = curl_url();
	char	   *host = NULL;
	char	   *port = NULL;
	bool		tls = pg_strncasecmp(url, "https:", 6) == 0;
	char	   *name;
	int			number;

	if (parsed == NULL || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
		curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
		(!tls && pg_strncasecmp(url, "http:", 5) != 0))
	{
		curl_free(host);
		curl_url_cleanup(parsed);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", option),
				 errdetail("It is not a URL that begins with https:// or http://.")));
	}
	name = pstrdup(host);
	number = atoi(port);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(parsed);
	tap_http_check_allowed(name, number, tls);
}
