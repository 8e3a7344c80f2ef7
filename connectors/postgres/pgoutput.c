/*-------------------------------------------------------------------------
 *
 * connectors/postgres/pgoutput.c
 *	  Decodes messages of PostgreSQL's output plugin pgoutput.
 *
 * NOTES
 *	  A reading function that meets the end of the message sets "error" and
 *	  returns zero; callers go on, and the whole is found wrong at the end.
 *	  Counts are held against the bytes that are left before anything is
 *	  allocated for them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "pgoutput.h"

/* PostgreSQL's tables have fewer columns (MaxTupleAttributeNumber). */
#define MAX_COLUMNS		1664

typedef struct Reader
{
	const char *next;
	const char *end;
	const char *error;			/* NULL: all is well so far */
} Reader;

struct TapPgoutputDecoder
{
	bool		in_stream;
	TapPgoutputColumn *columns;
	int			max_columns;
	TapPgoutputValue *values[2];
	int			max_values[2];
	uint32_t   *relations;
	int			max_relations;
	char	   *text;			/* of DDL; cut into its fields */
	int			max_text;
};

TapPgoutputDecoder *
tap_pgoutput_create(void)
{
	return calloc(1, sizeof(TapPgoutputDecoder));
}

void
tap_pgoutput_free(TapPgoutputDecoder *decoder)
{
	free(decoder->columns);
	free(decoder->values[0]);
	free(decoder->values[1]);
	free(decoder->relations);
	free(decoder->text);
	free(decoder);
}

void
tap_pgoutput_set_in_stream(TapPgoutputDecoder *decoder, bool in_stream)
{
	decoder->in_stream = in_stream;
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

static inline const char *
read_bytes(Reader *reader, size_t bytes)
{
	const char *result = reader->next;

	if ((size_t) (reader->end - reader->next) < bytes)
	{
		reader->error = "the message is too short";
		reader->next = reader->end;
		return NULL;
	}
	reader->next += bytes;
	return result;
}

/* Big-endian numbers; zero where there are not so many bytes. */

static inline uint32_t
load_uint32(const unsigned char *data)
{
	return (uint32_t) data[0] << 24 | (uint32_t) data[1] << 16 |
		(uint32_t) data[2] << 8 | (uint32_t) data[3];
}

static uint8_t
read_uint8(Reader *reader)
{
	const unsigned char *data = (const unsigned char *) read_bytes(reader, 1);

	return data ? data[0] : 0;
}

static uint16_t
read_uint16(Reader *reader)
{
	const unsigned char *data = (const unsigned char *) read_bytes(reader, 2);

	return data ? (uint16_t) (data[0] << 8 | data[1]) : 0;
}

static uint32_t
read_uint32(Reader *reader)
{
	const unsigned char *data = (const unsigned char *) read_bytes(reader, 4);

	return data ? load_uint32(data) : 0;
}

static uint64_t
read_uint64(Reader *reader)
{
	const unsigned char *data = (const unsigned char *) read_bytes(reader, 8);

	return data ? (uint64_t) load_uint32(data) << 32 | load_uint32(data + 4) : 0;
}

static const char *
read_string(Reader *reader)
{
	const char *result = reader->next;
	const char *end = memchr(result, '\0', reader->end - result);

	if (end == NULL)
	{
		reader->error = "a name in the message has no end";
		reader->next = reader->end;
		return "";
	}
	reader->next = end + 1;
	return result;
}

/* Have room for count entries; false: out of memory. */
static bool
make_room(void **array, int *max, int count, size_t size)
{
	void	   *grown;

	if (count <= *max)
		return true;
	grown = realloc(*array, count * size);
	if (grown == NULL)
		return false;
	*array = grown;
	*max = count;
	return true;
}

/* ---------------------------------------------------------------------
 * Parts of messages
 * ---------------------------------------------------------------------
 */

static void
read_value(Reader *reader, TapPgoutputValue *value)
{
	value->kind = read_uint8(reader);
	value->data = NULL;
	value->bytes = 0;
	switch (value->kind)
	{
		case TAP_PGOUTPUT_NULL:
		case TAP_PGOUTPUT_UNCHANGED:
			break;
		case TAP_PGOUTPUT_TEXT:
		case TAP_PGOUTPUT_BINARY:
			value->bytes = read_uint32(reader);
			value->data = read_bytes(reader, value->bytes);
			break;
		default:
			reader->error = "a value of the message is of an unknown kind";
	}
}

static void
read_tuple(TapPgoutputDecoder *decoder, Reader *reader, int which, TapPgoutputTuple *tuple)
{
	int			count = read_uint16(reader);

	/* each takes a byte at least */
	if (count > MAX_COLUMNS || count > reader->end - reader->next)
	{
		reader->error = "a row of the message has too many columns";
		return;
	}
	if (!make_room((void **) &decoder->values[which], &decoder->max_values[which], count,
				   sizeof(TapPgoutputValue)))
	{
		reader->error = "out of memory";
		return;
	}
	tuple->present = true;
	tuple->ncolumns = count;
	tuple->values = decoder->values[which];
	for (int i = 0; i < count && reader->error == NULL; i++)
		read_value(reader, &tuple->values[i]);
}

static void
read_relation(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	int			count;

	message->relation = read_uint32(reader);
	message->schema = read_string(reader);
	message->name = read_string(reader);
	message->replica_identity = (char) read_uint8(reader);
	count = read_uint16(reader);

	/* flags, an empty name, type and modifier */
	if (count > MAX_COLUMNS || count * 10 > reader->end - reader->next)
	{
		reader->error = "a relation of the message has too many columns";
		return;
	}
	if (!make_room((void **) &decoder->columns, &decoder->max_columns, count,
				   sizeof(TapPgoutputColumn)))
	{
		reader->error = "out of memory";
		return;
	}
	message->ncolumns = count;
	message->columns = decoder->columns;
	for (int i = 0; i < count && reader->error == NULL; i++)
	{
		TapPgoutputColumn *column = &decoder->columns[i];

		column->key = (read_uint8(reader) & 1) != 0;
		column->name = read_string(reader);
		column->type = read_uint32(reader);
		column->typmod = (int32_t) read_uint32(reader);
		column->number = 0;
		column->generated = false;
	}
}

static void
read_insert(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	message->relation = read_uint32(reader);
	if (read_uint8(reader) != 'N')
		reader->error = "an insert has no new row";
	else
		read_tuple(decoder, reader, 0, &message->new_tuple);
}

static void
read_update(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	char		kind;

	message->relation = read_uint32(reader);
	kind = (char) read_uint8(reader);
	if (kind == 'K' || kind == 'O')
	{
		message->old_kind = kind;
		read_tuple(decoder, reader, 1, &message->old_tuple);
		if (reader->error != NULL)
			return;
		kind = (char) read_uint8(reader);
	}
	if (kind != 'N')
		reader->error = "an update has no new row";
	else
		read_tuple(decoder, reader, 0, &message->new_tuple);
}

static void
read_delete(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	message->relation = read_uint32(reader);
	message->old_kind = (char) read_uint8(reader);
	if (message->old_kind != 'K' && message->old_kind != 'O')
		reader->error = "a delete has no old row";
	else
		read_tuple(decoder, reader, 1, &message->old_tuple);
}

static void
read_truncate(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	uint32_t	count = read_uint32(reader);
	uint8_t		flags = read_uint8(reader);

	if (count > (size_t) (reader->end - reader->next) / 4)
	{
		reader->error = "a truncate has fewer relations than it says";
		return;
	}
	if (!make_room((void **) &decoder->relations, &decoder->max_relations, (int) count,
				   sizeof(uint32_t)))
	{
		reader->error = "out of memory";
		return;
	}
	message->cascade = (flags & 1) != 0;
	message->restart_identity = (flags & 2) != 0;
	message->nrelations = (int) count;
	message->relations = decoder->relations;
	for (uint32_t i = 0; i < count; i++)
		decoder->relations[i] = read_uint32(reader);
}

static void
read_logical(Reader *reader, TapPgoutputMessage *message)
{
	message->transactional = (read_uint8(reader) & 1) != 0;
	message->lsn = read_uint64(reader);
	message->prefix = read_string(reader);
	message->content_bytes = read_uint32(reader);
	message->content = read_bytes(reader, message->content_bytes);
}

/* Flags, two positions and a time, as COMMIT and PREPARE have them. */
static void
read_end(Reader *reader, TapPgoutputMessage *message)
{
	(void) read_uint8(reader);
	message->lsn = read_uint64(reader);
	message->end_lsn = read_uint64(reader);
	message->time_us = (int64_t) read_uint64(reader);
}

static void
read_rollback_prepared(Reader *reader, TapPgoutputMessage *message)
{
	read_end(reader, message);
	message->time_us = (int64_t) read_uint64(reader);	/* of the rollback */
	message->xid = read_uint32(reader);
	message->gid = read_string(reader);
}

/* ---------------------------------------------------------------------
 * Messages
 * ---------------------------------------------------------------------
 */

/* Messages that carry the xid of their subtransaction within a stream. */
static bool
has_stream_xid(TapPgoutputKind kind)
{
	switch (kind)
	{
		case TAP_PGOUTPUT_RELATION:
		case TAP_PGOUTPUT_TYPE:
		case TAP_PGOUTPUT_INSERT:
		case TAP_PGOUTPUT_UPDATE:
		case TAP_PGOUTPUT_DELETE:
		case TAP_PGOUTPUT_TRUNCATE:
		case TAP_PGOUTPUT_LOGICAL:
			return true;
		default:
			return false;
	}
}

static void
read_transaction(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	switch (message->kind)
	{
		case TAP_PGOUTPUT_BEGIN:
			message->lsn = read_uint64(reader);
			message->time_us = (int64_t) read_uint64(reader);
			message->xid = read_uint32(reader);
			break;
		case TAP_PGOUTPUT_COMMIT:
			read_end(reader, message);
			break;
		case TAP_PGOUTPUT_ORIGIN:
			message->lsn = read_uint64(reader);
			message->name = read_string(reader);
			break;
		case TAP_PGOUTPUT_BEGIN_PREPARE:
			message->lsn = read_uint64(reader);
			message->end_lsn = read_uint64(reader);
			message->time_us = (int64_t) read_uint64(reader);
			message->xid = read_uint32(reader);
			message->gid = read_string(reader);
			break;
		case TAP_PGOUTPUT_PREPARE:
		case TAP_PGOUTPUT_COMMIT_PREPARED:
		case TAP_PGOUTPUT_STREAM_PREPARE:
			read_end(reader, message);
			message->xid = read_uint32(reader);
			message->gid = read_string(reader);
			break;
		case TAP_PGOUTPUT_ROLLBACK_PREPARED:
			read_rollback_prepared(reader, message);
			break;
		case TAP_PGOUTPUT_STREAM_START:
			message->xid = read_uint32(reader);
			message->first_segment = read_uint8(reader) == 1;
			decoder->in_stream = true;
			break;
		case TAP_PGOUTPUT_STREAM_STOP:
			decoder->in_stream = false;
			break;
		case TAP_PGOUTPUT_STREAM_COMMIT:
			message->xid = read_uint32(reader);
			read_end(reader, message);
			break;
		case TAP_PGOUTPUT_STREAM_ABORT:
			message->xid = read_uint32(reader);
			message->subxid = read_uint32(reader);
			break;
		default:
			reader->error = "the message is of an unknown kind";
	}
}

static void
read_message(TapPgoutputDecoder *decoder, Reader *reader, TapPgoutputMessage *message)
{
	if (decoder->in_stream && has_stream_xid(message->kind))
		message->xid = read_uint32(reader);
	switch (message->kind)
	{
		case TAP_PGOUTPUT_RELATION:
			read_relation(decoder, reader, message);
			break;
		case TAP_PGOUTPUT_TYPE:
			message->relation = read_uint32(reader);
			message->schema = read_string(reader);
			message->name = read_string(reader);
			break;
		case TAP_PGOUTPUT_INSERT:
			read_insert(decoder, reader, message);
			break;
		case TAP_PGOUTPUT_UPDATE:
			read_update(decoder, reader, message);
			break;
		case TAP_PGOUTPUT_DELETE:
			read_delete(decoder, reader, message);
			break;
		case TAP_PGOUTPUT_TRUNCATE:
			read_truncate(decoder, reader, message);
			break;
		case TAP_PGOUTPUT_LOGICAL:
			read_logical(reader, message);
			break;
		default:
			read_transaction(decoder, reader, message);
	}
}

bool
tap_pgoutput_decode(TapPgoutputDecoder *decoder, const char *data, size_t bytes,
					TapPgoutputMessage *message, const char **error)
{
	Reader		reader = {.next = data,.end = data + bytes};

	memset(message, 0, sizeof(*message));
	message->kind = read_uint8(&reader);
	if (reader.error == NULL)
		read_message(decoder, &reader, message);
	*error = reader.error;
	return reader.error == NULL;
}

/* ---------------------------------------------------------------------
 * DDL
 * ---------------------------------------------------------------------
 */

/* Cut the next field off, in place; *end_of becomes the byte that it ended with. */
static char *
cut_field(char **next, char *end_of)
{
	char	   *field = *next;
	char	   *from = field;
	char	   *to = field;

	while (*from != '\0' && *from != '\t' && *from != '\n')
	{
		if (*from == '\\' && from[1] != '\0')
		{
			from++;
			*to++ = *from == 't' ? '\t' : *from == 'n' ? '\n' : *from;
			from++;
		}
		else
			*to++ = *from++;
	}
	*end_of = *from;
	*next = *from == '\0' ? from : from + 1;
	*to = '\0';
	return field;
}

/* Cut a line into exactly so many fields. */
static bool
cut_line(char **next, char **fields, int count)
{
	char		end = '\t';

	for (int i = 0; i < count; i++)
	{
		if (end != '\t')
			return false;
		fields[i] = cut_field(next, &end);
	}
	return end != '\t';
}

static bool
read_ddl_column(TapPgoutputDecoder *decoder, char **next, TapPgoutputMessage *message,
				const char **error)
{
	TapPgoutputColumn *column;
	char	   *fields[6];

	if (message->ncolumns == MAX_COLUMNS || !cut_line(next, fields, 6))
	{
		*error = "a column of the table is malformed, or there are too many";
		return false;
	}
	if (message->ncolumns == decoder->max_columns &&
		!make_room((void **) &decoder->columns, &decoder->max_columns,
				   message->ncolumns * 2 + 16, sizeof(TapPgoutputColumn)))
	{
		*error = "out of memory";
		return false;
	}
	column = &decoder->columns[message->ncolumns++];
	column->name = fields[0];
	column->number = (int) strtol(fields[1], NULL, 10);
	column->type = (uint32_t) strtoul(fields[2], NULL, 10);
	column->typmod = (int32_t) strtol(fields[3], NULL, 10);
	column->key = fields[4][0] == 't';
	column->generated = fields[5][0] == 't';
	return true;
}

bool
tap_pgoutput_decode_ddl(TapPgoutputDecoder *decoder, const char *text, size_t bytes,
						TapPgoutputMessage *message, const char **error)
{
	char	   *fields[7];
	char	   *next;

	memset(message, 0, sizeof(*message));
	*error = "what happened to the table is malformed";
	if (bytes >= INT32_MAX || memchr(text, '\0', bytes) != NULL)
		return false;
	if (!make_room((void **) &decoder->text, &decoder->max_text, (int) bytes + 1, 1))
	{
		*error = "out of memory";
		return false;
	}
	memcpy(decoder->text, text, bytes);
	decoder->text[bytes] = '\0';
	next = decoder->text;
	if (!cut_line(&next, fields, 7))
		return false;
	message->kind = strcmp(fields[0], "dropped") == 0 ? TAP_PGOUTPUT_DROPPED :
		TAP_PGOUTPUT_RELATION;
	message->announced = true;
	message->relation = (uint32_t) strtoul(fields[1], NULL, 10);
	message->replica_identity = fields[2][0];
	message->relation_kind = fields[3][0];
	message->partition = fields[4][0] == 't';
	message->schema = fields[5];
	message->name = fields[6];
	while (*next != '\0')
		if (!read_ddl_column(decoder, &next, message, error))
			return false;
	message->columns = decoder->columns;
	*error = NULL;
	return true;
}
