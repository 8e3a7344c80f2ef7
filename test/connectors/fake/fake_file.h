/*-------------------------------------------------------------------------
 *
 * test/connectors/fake/fake_file.h
 *	  Reads the file that is the log of a fake source.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef FAKE_FILE_H
#define FAKE_FILE_H

/* One line of a transaction. */
typedef struct Change
{
	TapChangeKind kind;
	char	   *table;
	int64		id;
	int64		new_id;			/* of an update; else the same */
	char	   *value;			/* NULL: delete or truncate */
} Change;

/* ---------------------------------------------------------------------
 * Reading the file
 * ---------------------------------------------------------------------
 */

/* The path of a session's file. */
static char *
file_path(const TapUri *uri)
{
	return psprintf("/%s", uri->path ? uri->path : "");
}

/* Fail as the test wants it. */
static void
fail_on_request(const char *path)
{
	FILE	   *file = fopen(psprintf("%s.error", path), "r");
	char		sqlstate[6];
	char		message[256];
	int			fields;

	if (file == NULL)
		return;
	fields = fscanf(file, "%5s %255[^\n]", sqlstate, message);
	fclose(file);
	if (fields == 2)
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
									   sqlstate[3], sqlstate[4])),
				 errmsg("%s", message)));
}

/* The next whole line in line, without its end; false when there is none. */
static bool
read_line(FILE *file, StringInfo line)
{
	off_t		start = ftello(file);
	int			c;

	clearerr(file);
	resetStringInfo(line);
	while ((c = getc(file)) != EOF)
	{
		if (c == '\n')
			return true;
		appendStringInfoChar(line, c);
	}
	fseeko(file, start, SEEK_SET);
	return false;
}

/* A line as a change; NULL: it is none. */
static Change *
parse_change(char *line)
{
	static const char *const words[] = {"insert", "update", "delete", "truncate", "move"};
	Change	   *change = palloc0(sizeof(Change));
	char	   *word = strsep(&line, " ");
	char	   *id;

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(word, words[i]) != 0)
			continue;
		change->kind = i < 4 ? TAP_CHANGE_INSERT + i : TAP_CHANGE_UPDATE;
		change->table = pstrdup(line ? strsep(&line, " ") : "");
		id = line ? strsep(&line, " ") : NULL;
		change->id = id ? strtoll(id, NULL, 10) : 0;
		change->new_id = change->id;
		if (i == 4 && line != NULL)
			change->new_id = strtoll(strsep(&line, " "), NULL, 10);
		change->value = line ? pstrdup(line) : NULL;
		return change;
	}
	pfree(change);
	return NULL;
}

/*
 * Read the next whole transaction from the file's position.  Returns false
 * when there is none yet; else *end is the position behind it.
 */
static bool
read_txn(FILE *file, List **changes, int64 *begin, int64 *end)
{
	off_t		start = ftello(file);
	StringInfoData line;

	initStringInfo(&line);
	*changes = NIL;
	*begin = start;
	while (read_line(file, &line))
	{
		Change	   *change = parse_change(line.data);

		if (change != NULL)
			*changes = lappend(*changes, change);
		else if (strcmp(line.data, "commit") == 0)
		{
			*end = ftello(file);
			return true;
		}
	}
	fseeko(file, start, SEEK_SET);
	return false;
}

#endif							/* FAKE_FILE_H */
