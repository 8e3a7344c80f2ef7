/*-------------------------------------------------------------------------
 *
 * test/connectors/fake/fake_lines.h
 *	  Lines of a target's file, and the faults that a test asks for.
 *
 * A part of fake_sink.h, which has what the lines and faults are.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef FAKE_LINES_H
#define FAKE_LINES_H

/* ---------------------------------------------------------------------
 * Faults
 * ---------------------------------------------------------------------
 */

/* Fail as the test wants it. */
static void
fake_fault(FakeSink *sink, const char *call)
{
	char		path[MAXPGPATH];
	char		name[32];
	char		sqlstate[6];
	char		message[256];
	int			number;
	bool		always;
	FILE	   *file;
	struct stat status;

	if (sink->discard)
		return;
	snprintf(path, sizeof(path), "%s.fault", sink->path);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	always = fscanf(file, "always%1[ ]", name) == 1;
	if (!always)
		rewind(file);
	if (fstat(fileno(file), &status) != 0 ||
		fscanf(file, "%31s %d %5s %255[^\n]", name, &number, sqlstate, message) != 4)
		message[0] = '\0';
	fclose(file);
	if (message[0] == '\0' || strcmp(name, call) != 0)
		return;
	if (status.st_ctim.tv_sec != sink->fault_since.tv_sec ||
		status.st_ctim.tv_nsec != sink->fault_since.tv_nsec)
		sink->fault_calls = 0;
	sink->fault_since = status.st_ctim;
	if (++sink->fault_calls < number)
		return;
	if (!always)
		unlink(path);
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
								   sqlstate[3], sqlstate[4])),
			 errmsg("%s", message)));
}

/* ---------------------------------------------------------------------
 * Lines
 * ---------------------------------------------------------------------
 */

static void
fake_append_escaped(StringInfo line, const char *text)
{
	for (; *text != '\0'; text++)
	{
		switch (*text)
		{
			case '\\':
				appendStringInfoString(line, "\\\\");
				break;
			case '\t':
				appendStringInfoString(line, "\\t");
				break;
			case '\n':
				appendStringInfoString(line, "\\n");
				break;
			case '\r':
				appendStringInfoString(line, "\\r");
				break;
			default:
				appendStringInfoChar(line, *text);
		}
	}
}

static void
fake_append_field(StringInfo line, const char *text)
{
	appendStringInfoChar(line, '\t');
	fake_append_escaped(line, text);
}

static void
fake_append_name(StringInfo line, const TapTableName *name)
{
	appendStringInfoChar(line, '\t');
	if (name->schema != NULL)
	{
		fake_append_escaped(line, name->schema);
		appendStringInfoChar(line, '.');
	}
	fake_append_escaped(line, name->name);
}

static char *
fake_value_text(Form_pg_attribute column, Datum value)
{
	Oid			function;
	bool		is_varlena;

	getTypeOutputInfo(column->atttypid, &function, &is_varlena);
	return OidOutputFunctionCall(function, value);
}

/* All columns of an image; returns whether one has the refused value. */
static bool
fake_append_image(FakeSink *sink, StringInfo line, const TapRowImage *image)
{
	TupleDesc	descriptor = image->slot->tts_tupleDescriptor;
	bool		refused = false;

	slot_getallattrs(image->slot);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);
		char	   *text;

		fake_append_field(line, NameStr(column->attname));
		if (image->present != NULL && !image->present[i])
			appendStringInfoString(line, "\t\\?");
		else if (image->slot->tts_isnull[i])
			appendStringInfoString(line, "\t\\N");
		else
		{
			text = fake_value_text(column, image->slot->tts_values[i]);
			fake_append_field(line, text);
			refused = refused || (sink->refuse != NULL && strcmp(text, sink->refuse) == 0);
			pfree(text);
		}
	}
	return refused;
}

/* Write what is pending, and wait for the disk. */
static void
fake_write_pending(FakeSink *sink)
{
	const char *data = sink->pending.data;
	Size		left = sink->pending.len;

	while (left > 0)
	{
		ssize_t		written = write(sink->file, data, left);

		if (written < 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("could not write to \"%s\": %m", sink->path)));
		data += written;
		left -= written;
	}
	if (sink->pending.len > 0 && fsync(sink->file) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not write \"%s\" to disk: %m", sink->path)));
	resetStringInfo(&sink->pending);
}

#endif							/* FAKE_LINES_H */
