/*-------------------------------------------------------------------------
 *
 * test/connectors/fake/tapdata_fakestore.c
 *	  A target that is a text file and holds the position: for tests of the
 *	  core.
 *
 * See fake_sink.h; the URI is fakestore:///path.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "connector.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

static const TapCore *core;

#include "fake_sink.h"

struct TapSession
{
	FakeSink   *sink;
};

static FakeSink *
fake_sink_of(TapSession *session)
{
	return session->sink;
}

static TapSession *
fakestore_open(const TapSessionArgs *args)
{
	TapSession *session = MemoryContextAllocZero(args->context, sizeof(TapSession));

	session->sink = fake_sink_open(args, true);
	return session;
}

static void
fakestore_close(TapSession *session)
{
	if (session->sink != NULL)
		fake_sink_close(session->sink);
}

static List *
fakestore_test(const TapSessionArgs *args, List *tables)
{
	return fake_sink_test(args);
}

static void
fakestore_check_uri(const TapUri *uri, const TapOptions *options)
{
	if (uri->path == NULL || uri->path[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URI of a fake target needs a path")));
}

static const TapOption options[] = {
	FAKE_SINK_OPTIONS,
	{.name = NULL}
};

static const char *const uri_schemes[] = {"fakestore", NULL};

static const TapConnector connector = {
	.magic = TAP_CONNECTOR_MAGIC,
	.abi = TAP_CONNECTOR_ABI,
	.size = sizeof(TapConnector),
	.name = "fakestore",
	.description = "a text file that holds its position, for tests",
	.version = "1",
	.uri_schemes = uri_schemes,
	.options = options,
	.capabilities = TAP_HOLDS_POSITION,
	.check_uri = fakestore_check_uri,
	.open = fakestore_open,
	.close = fakestore_close,
	.test = fakestore_test,
	.sink = &fake_sink_callbacks
};

const TapConnector *
tap_connector_init(const TapCore *tapdata)
{
	core = tapdata;
	return &connector;
}
