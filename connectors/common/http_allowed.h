/*-------------------------------------------------------------------------
 *
 * connectors/common/http_allowed.h
 *	  Hosts that may be spoken to by HTTP: the setting
 *	  tapdata.http_allowed_hosts.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_HTTP_ALLOWED_H
#define TAPDATA_HTTP_ALLOWED_H

#include "postgres.h"

/*
 * Raise ERRCODE_INSUFFICIENT_PRIVILEGE if tapdata.http_allowed_hosts does not
 * have the host.  port 0: the usual one of the scheme.
 */
extern void tap_http_check_allowed(const char *host, int port, bool tls);

/*
 * The same for the host and port of a URL.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE, which names the option that gave it, if it
 * is none of http or https.
 */
extern void tap_http_check_allowed_url(const char *option, const char *url);

#endif							/* TAPDATA_HTTP_ALLOWED_H */
