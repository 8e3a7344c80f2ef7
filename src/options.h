/*-------------------------------------------------------------------------
 *
 * src/options.h
 *	  Options given as jsonb, and URIs.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_OPTIONS_H
#define TAPDATA_OPTIONS_H

#include "postgres.h"

#include "connector.h"
#include "utils/jsonb.h"

/* The core's own options of any connection, ends with a NULL name. */
extern const TapOption tap_connection_options[];

/* The core's own options of a pull pipeline, ends with a NULL name. */
extern const TapOption tap_pull_options[];

/* The core's own options of a publish pipeline. */
extern const TapOption tap_publish_options[];

/*
 * Check options against the core's table for the scope and the connector's,
 * and keep them in context.  query adds a URI's "key=value&..." where given;
 * a key in both is an error.  An unknown key is an error whose hint lists the
 * valid ones.  scope is one of TAP_SCOPE_*.
 */
extern TapOptions *tap_options_parse(Jsonb *options, const char *query,
									 const TapConnector *connector, int scope,
									 MemoryContext context);

/* The functions behind TapCore; see connector.h. */
extern const char *tap_options_text(const TapOptions *options, const char *name);
extern int64 tap_options_int(const TapOptions *options, const char *name);
extern bool tap_options_bool(const TapOptions *options, const char *name);
extern bool tap_options_given(const TapOptions *options, const char *name);
extern List *tap_options_keys(const TapOptions *options, const char *prefix);

/*
 * Merge changes into options: a null value takes a key away.  In the current
 * context.
 */
extern Jsonb *tap_options_merge(Jsonb *options, Jsonb *changes);

/* The options as jsonb with the secret ones replaced by "********". */
extern Jsonb *tap_options_masked(Jsonb *options, const TapConnector *connector);

/*
 * Parse a URI, in the current context.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE, without the password in the message.
 */
extern TapUri *tap_uri_parse(const char *uri);

/* The scheme alone, lower case; raises the same error when there is none. */
extern char *tap_uri_scheme(const char *uri);

/* The URI with its password replaced by "********". */
extern char *tap_uri_masked(const char *uri);

/*
 * Raise ERRCODE_INSUFFICIENT_PRIVILEGE unless the current user may read files
 * of the server: what an option names there is read with the server's rights,
 * and sent to a host that the user names.
 */
extern void tap_options_check_server_file(const char *option);

/* See TapCore.read_secret_file. */
extern char *tap_read_secret_file(const char *option, const char *path);

/* See TapCore.password. */
extern char *tap_password(const TapUri *uri, const TapOptions *options);

#endif							/* TAPDATA_OPTIONS_H */
