/*-------------------------------------------------------------------------
 *
 * connectors/file/file_list.c
 *	  Which files there are.
 *
 * NOTES
 *	  The time of the last change (ctime) cannot be set by those who write
 *	  files.  The newest one of all files of a table and of their folders
 *	  stands for the state of all of them: whatever is written, moved or
 *	  removed later makes it newer.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "file_connector.h"

#include <fnmatch.h>
#include <glob.h>
#include <time.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#define WILDCARDS	"*?["

int64
tap_file_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
}

int64
tap_file_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000) + now.tv_nsec / 1000000;
}

char *
tap_file_base(const char *pattern)
{
	const char *wildcard = pattern + strcspn(pattern, WILDCARDS "\\");

	while (wildcard > pattern && *wildcard != '/')
		wildcard--;
	return wildcard == pattern ? pstrdup("/") : pnstrdup(pattern, wildcard - pattern);
}

char *
tap_file_escape(const char *text)
{
	char	   *result = palloc(strlen(text) * 2 + 1);
	char	   *out = result;

	for (; *text != '\0'; text++)
	{
		if (strchr(WILDCARDS "]\\", *text) != NULL)
			*out++ = '\\';
		*out++ = *text;
	}
	*out = '\0';
	return result;
}

/* What matches, as List of char *; nothing of it need be a file. */
static List *
run_glob(const char *pattern)
{
	glob_t		found = {0};
	List	   *volatile paths = NIL;
	int			result = glob(pattern, GLOB_ERR, NULL, &found);

	PG_TRY();
	{
		if (result == GLOB_NOSPACE)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
		if (result == GLOB_ABORTED)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not list the files of \"%s\": %m", pattern),
					 errhint("The folders must be readable by the server's operating system user.")));
		for (size_t i = 0; i < found.gl_pathc; i++)
			paths = lappend(paths, pstrdup(found.gl_pathv[i]));
	}
	PG_FINALLY();
	{
		globfree(&found);
	}
	PG_END_TRY();
	return paths;
}

/* Split at the last slash; *name points into pattern. */
static char *
folder_of(const char *pattern, const char **name)
{
	const char *slash = strrchr(pattern, '/');

	*name = slash + 1;
	return slash == pattern ? pstrdup("/") : pnstrdup(pattern, slash - pattern);
}

List *
tap_file_list_folders(const TapFileTable *table)
{
	const char *name;
	char	   *folder = folder_of(table->pattern, &name);

	return run_glob(folder);
}

/* Whether a file that is called so is for others to use. */
static bool
is_temporary(const char *path, const char *ignored)
{
	const char *name = strrchr(path, '/') + 1;
	char	   *rest = pstrdup(ignored);
	char	   *pattern;

	while ((pattern = strsep(&rest, ", ")) != NULL)
	{
		if (*pattern != '\0' && fnmatch(pattern, name, 0) == 0)
			return true;
	}
	return false;
}

static bool
exists_with(const char *path, const char *suffix, struct stat *status)
{
	char	   *other = psprintf("%s%s", path, suffix);
	bool		result = stat(other, status) == 0;

	pfree(other);
	return result;
}

static int64
nanoseconds(const struct timespec *time)
{
	return time->tv_sec * INT64CONST(1000000000) + time->tv_nsec;
}

void
tap_file_found_set(TapFileFound *found, const struct stat *status)
{
	found->inode = status->st_ino;
	found->size = status->st_size;
	found->mtime = nanoseconds(&status->st_mtim);
	found->ctime = nanoseconds(&status->st_ctim);
}

/* A file that may be read now, or NULL. */
static TapFileFound *
look_at(TapSession *session, char *path, int64 *newest)
{
	const char *done = tap_file_option(session, NULL, "done_suffix");
	const char *lock = tap_file_option(session, NULL, "lock_suffix");
	struct stat status;
	struct stat other;
	TapFileFound *found;

	if (is_temporary(path, tap_file_option(session, NULL, "ignore")) ||
		stat(path, &status) < 0 || !S_ISREG(status.st_mode))
		return NULL;
	if (lock != NULL && exists_with(path, lock, &other))
		return NULL;
	if (done != NULL)
	{
		if (!exists_with(path, done, &other))
			return NULL;
		*newest = Max(*newest, nanoseconds(&other.st_ctim));
	}
	found = palloc0(sizeof(TapFileFound));
	found->path = path;
	tap_file_found_set(found, &status);
	*newest = Max(*newest, found->ctime);
	return found;
}

/* The marks of other files are no files of the table. */
static bool
is_mark(TapSession *session, const char *path)
{
	static const char *const options[] = {"done_suffix", "lock_suffix"};
	Size		length = strlen(path);

	for (int i = 0; i < lengthof(options); i++)
	{
		const char *suffix = tap_file_option(session, NULL, options[i]);

		if (suffix != NULL && strlen(suffix) < length &&
			strcmp(path + length - strlen(suffix), suffix) == 0)
			return true;
	}
	return false;
}

/* Names become text of the hub: of tables, notes and messages. */
static void
check_name(const char *pattern, const char *path)
{
	if (!pg_verify_mbstr(GetDatabaseEncoding(), path, strlen(path), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("a file of \"%s\" has a name that is not valid in encoding \"%s\"",
						pattern, GetDatabaseEncodingName()),
				 errhint("Rename it, or have it left out with the option \"ignore\".")));
}

List *
tap_file_list(TapSession *session, const TapFileTable *table, int64 *newest)
{
	List	   *result = NIL;
	ListCell   *cell;
	struct stat status;

	foreach(cell, tap_file_list_folders(table))
	{
		if (stat(lfirst(cell), &status) == 0)
			*newest = Max(*newest, nanoseconds(&status.st_ctim));
	}
	foreach(cell, run_glob(table->pattern))
	{
		TapFileFound *found;

		CHECK_FOR_INTERRUPTS();
		if (is_mark(session, lfirst(cell)))
			continue;
		found = look_at(session, lfirst(cell), newest);
		if (found == NULL)
			continue;
		check_name(table->pattern, found->path);
		result = lappend(result, found);
	}
	return result;
}
