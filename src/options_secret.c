/*-------------------------------------------------------------------------
 *
 * src/options_secret.c
 *	  Passwords, and files of the server that options name.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"

#include "options.h"

/* Workers open sessions outside of any transaction, too. */
static bool
may_read_server_files(void)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	bool		result;

	if (own_transaction)
		StartTransactionCommand();
	result = has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	return result;
}

void
tap_options_check_server_file(const char *key)
{
	if (!may_read_server_files())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for option \"%s\"", key),
				 errdetail("It names a file or socket of the server, which only superusers and "
						   "members of pg_read_server_files may use.")));
}

char *
tap_read_secret_file(const char *option, const char *path)
{
	FILE	   *file;
	char		line[8192];
	char	   *result;

	tap_options_check_server_file(option);
	file = AllocateFile(path, "r");
	if (file == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PASSWORD),
				 errmsg("could not open file \"%s\" of option \"%s\": %m", path, option),
				 errhint("The user that the server runs as must be able to read it.")));
	if (fgets(line, sizeof(line), file) == NULL)
		line[0] = '\0';
	FreeFile(file);
	line[strcspn(line, "\r\n")] = '\0';
	result = pstrdup(line);
	explicit_bzero(line, sizeof(line));
	if (result[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PASSWORD),
				 errmsg("file \"%s\" of option \"%s\" is empty", path, option),
				 errhint("Its first line must be the secret.")));
	return result;
}

char *
tap_password(const TapUri *uri, const TapOptions *options)
{
	const char *value;

	if (uri->password != NULL)
		return pstrdup(uri->password);
	value = tap_options_text(options, "password");
	if (value != NULL)
		return pstrdup(value);
	value = tap_options_text(options, "password_file");
	return value ? tap_read_secret_file("password_file", value) : NULL;
}
