/*-------------------------------------------------------------------------
 *
 * connectors/file/file_watch.c
 *	  Being told by the kernel that a folder changed.
 *
 * What it tells is only a reason to look: which file it was, and whether all
 * was told, does not matter.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include <unistd.h>

#ifdef __linux__
#include <sys/inotify.h>
#endif

#include "storage/fd.h"
#include "utils/memutils.h"

struct TapFileWatch
{
	int			fd;				/* -1: the kernel tells nothing */
	MemoryContextCallback callback;
};

static void
close_watch(void *arg)
{
	TapFileWatch *watch = arg;

	if (watch->fd < 0)
		return;
	close(watch->fd);
	ReleaseExternalFD();
	watch->fd = -1;
}

TapFileWatch *
tap_file_watch_begin(void)
{
	TapFileWatch *watch = palloc0(sizeof(TapFileWatch));

	watch->fd = -1;
#ifdef __linux__
	watch->callback.func = close_watch;
	watch->callback.arg = watch;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &watch->callback);
	if (AcquireExternalFD())
	{
		watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (watch->fd < 0)
			ReleaseExternalFD();
	}
#endif
	return watch;
}

/* A folder that cannot be watched is found changed when it is looked at. */
void
tap_file_watch_folder(TapFileWatch *watch, const char *folder)
{
#ifdef __linux__
	if (watch->fd >= 0)
		(void) inotify_add_watch(watch->fd, folder,
								 IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE |
								 IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE);
#endif
}

pgsocket
tap_file_watch_socket(const TapFileWatch *watch)
{
	return watch->fd >= 0 ? watch->fd : PGINVALID_SOCKET;
}

bool
tap_file_watch_changed(TapFileWatch *watch)
{
	char		events[4096];
	bool		changed = false;

	if (watch->fd < 0)
		return false;
	while (read(watch->fd, events, sizeof(events)) > 0)
		changed = true;
	return changed;
}
