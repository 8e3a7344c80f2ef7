/*-------------------------------------------------------------------------
 *
 * src/guc.c
 *	  The settings tapdata.*.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "utils/guc.h"

int			tap_guc_max_pipelines = 128;
int			tap_guc_max_tables = 10000;
int			tap_guc_event_retention_min = 7 * 24 * 60;
int			tap_guc_retry_min_ms = 1000;
int			tap_guc_retry_max_ms = 5 * 60 * 1000;
bool		tap_guc_enabled = true;
bool		tap_guc_allow_output_plugin = true;
char	   *tap_guc_http_allowed_hosts = NULL;

/* Define the settings that size shared memory. */
static void
define_sizes(void)
{
	DefineCustomIntVariable("tapdata.max_pipelines",
							"Sets the number of pipelines the server has room for.",
							NULL,
							&tap_guc_max_pipelines,
							128, 1, 10000,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("tapdata.max_tables",
							"Sets the number of tables whose counters are kept.",
							"Tables beyond it are followed, but not counted one by one.",
							&tap_guc_max_tables,
							10000, 1, 10000000,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
}

void
tap_guc_define(void)
{
	define_sizes();

	DefineCustomBoolVariable("tapdata.allow_output_plugin",
							 "Lets publish pipelines decode although output_plugin_libraries does not name tapdata.",
							 "The workers of pipelines, and no other process, then use the output plugin.",
							 &tap_guc_allow_output_plugin,
							 true,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("tapdata.enabled",
							 "Lets pipelines run.",
							 "When off, all pipelines of the server pause.",
							 &tap_guc_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("tapdata.event_retention",
							"Sets how long rows of tapdata.events are kept.",
							"Zero keeps them for ever.",
							&tap_guc_event_retention_min,
							7 * 24 * 60, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MIN,
							NULL, NULL, NULL);

	DefineCustomStringVariable("tapdata.http_allowed_hosts",
							   "Sets the hosts that may be spoken to by HTTP.",
							   "Names or addresses, *.example.com for all within a domain, each with :port if only that one; empty for any host.",
							   &tap_guc_http_allowed_hosts,
							   "",
							   PGC_SUSET, GUC_LIST_INPUT,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("tapdata.retry_max",
							"Sets the longest pause before a pipeline is tried again.",
							NULL,
							&tap_guc_retry_max_ms,
							5 * 60 * 1000, 100, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("tapdata.retry_min",
							"Sets the first pause before a pipeline is tried again.",
							"The pause doubles with each failure, up to tapdata.retry_max.",
							&tap_guc_retry_min_ms,
							1000, 10, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("tapdata");
}
