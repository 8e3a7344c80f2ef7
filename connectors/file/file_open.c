/*-------------------------------------------------------------------------
 *
 * connectors/file/file_open.c
 *	  Opens a file, if it may be read.
 *
 * NOTES
 *	  Whoever may write to the folder must not be able to have other files of
 *	  the server read by a link.  So what was opened must lie in the folder of
 *	  the URI, by the path that the kernel has for it.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/memutils.h"

/* Roles are looked up in catalogs, for which a transaction is needed. */
bool
tap_file_is_permitted(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_txn = !IsTransactionState();
	bool		result;

	if (own_txn)
		StartTransactionCommand();
	result = has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
	if (own_txn)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return result;
}

void
tap_file_check_privilege(void)
{
	if (!tap_file_is_permitted())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read files of the server"),
				 errdetail("Only superusers and members of pg_read_server_files may use file:// connections."),
				 errhint("GRANT pg_read_server_files TO the role, or let another role own the pipeline.")));
}

static void
close_handle(void *arg)
{
	TapFileHandle *handle = arg;

	if (handle->fd < 0)
		return;
	close(handle->fd);
	ReleaseExternalFD();
	handle->fd = -1;
}

void
tap_file_close(TapFileHandle *handle)
{
	close_handle(handle);
}

/* Where a path leads, without links; false if that cannot be told. */
static bool
resolve(const char *path, char *resolved)
{
	return realpath(path, resolved) != NULL;
}

/* The same of what is open, where the kernel tells; true if it does. */
static bool
resolve_open(int fd, char *resolved)
{
	char		link[64];
	ssize_t		length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, resolved, MAXPGPATH - 1);
	if (length <= 0)
		return false;
	resolved[length] = '\0';
	return true;
}

static bool
is_below(const char *path, const char *folder)
{
	Size		length = strlen(folder);

	if (strcmp(folder, "/") == 0)
		return true;
	return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static TapFileHandle *
make_handle(void)
{
	TapFileHandle *handle = palloc0(sizeof(TapFileHandle));

	handle->fd = -1;
	handle->callback.func = close_handle;
	handle->callback.arg = handle;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &handle->callback);
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many files are open"),
				 errhint("Raise max_files_per_process.")));
	return handle;
}

void
tap_file_find_base(TapSession *session)
{
	char	   *base = session->folder ? session->path : tap_file_base(session->path);
	char		resolved[PATH_MAX];

	if (realpath(base, resolved) != NULL)
		base = resolved;
	if (session->base == NULL || strcmp(session->base, base) != 0)
		session->base = MemoryContextStrdup(session->args->context, base);
}

/* The folder may be a link, which leads elsewhere by now. */
static bool
is_inside(TapSession *session, const char *resolved)
{
	if (is_below(resolved, session->base))
		return true;
	tap_file_find_base(session);
	return is_below(resolved, session->base);
}

static bool
check_opened(TapSession *session, TapFileHandle *handle, const char **reason)
{
	char		resolved[MAXPGPATH];
	struct stat status;

	if (resolve_open(handle->fd, resolved) && !is_inside(session, resolved))
	{
		*reason = "it is a link to a place outside of the folder";
		return false;
	}
	if (fstat(handle->fd, &status) < 0 || !S_ISREG(status.st_mode))
	{
		*reason = "it is not an ordinary file";
		return false;
	}
	tap_file_found_set(&handle->found, &status);
	return true;
}

TapFileHandle *
tap_file_open(TapSession *session, const char *path, const char **reason)
{
	char		resolved[PATH_MAX];
	TapFileHandle *handle;

	tap_file_check_privilege();
	*reason = "it is gone";
	if (!resolve(path, resolved))
		return NULL;

	/* once more, since the folder may have changed between the two */
	if (!is_inside(session, resolved) &&
		!(resolve(path, resolved) && is_inside(session, resolved)))
	{
		*reason = "it is a link to a place outside of the folder";
		return NULL;
	}
	handle = make_handle();

	/* a pipe would have us wait for somebody who writes to it */
	handle->fd = open(resolved, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (handle->fd < 0)
	{
		ReleaseExternalFD();
		if (errno == ENOENT || errno == ELOOP)
			return NULL;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path),
				 errhint("It must be readable by the server's operating system user.")));
	}
	if (check_opened(session, handle, reason))
	{
		handle->found.path = pstrdup(path);
		return handle;
	}
	tap_file_close(handle);
	return NULL;
}

Size
tap_file_read(TapFileHandle *handle, char *data, Size bytes, int64 offset)
{
	ssize_t		got;

	do
	{
		CHECK_FOR_INTERRUPTS();
		got = pread(handle->fd, data, bytes, offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", handle->found.path)));
	return got;
}
