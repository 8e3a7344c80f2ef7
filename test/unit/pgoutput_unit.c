/*-------------------------------------------------------------------------
 *
 * test/unit/pgoutput_unit.c
 *	  Unit tests of the decoder of PostgreSQL's logical replication messages.
 *
 * NOTES
 *	  Messages are written here byte by byte as the manual describes them.
 *	  Each is decoded whole, cut at every byte, and with every byte changed,
 *	  always in memory of exactly its size.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "pgoutput.h"
#include "tap_unit.h"

#define MOST_BYTES		65536
#define MOST_COLUMNS	1664

typedef struct Bytes
{
	size_t		length;
	char		data[MOST_BYTES];
} Bytes;

/* --- writing ------------------------------------------------------------- */

static void
put_number(Bytes *bytes, uint64_t number, int size)
{
	while (size-- > 0)
		bytes->data[bytes->length++] = (char) (number >> 8 * size);
}

static void
put_text(Bytes *bytes, const char *text, size_t length)
{
	memcpy(bytes->data + bytes->length, text, length);
	bytes->length += length;
}

/*
 * Append fields: 1, 2 and 4 are numbers of so many bytes, 8 a uint64_t, s a
 * terminated text, v a text after four bytes of its length.
 */
static void
put_fields(Bytes *bytes, const char *format, va_list arguments)
{
	const char *text;

	for (; *format != '\0'; format++)
	{
		switch (*format)
		{
			case '8':
				put_number(bytes, va_arg(arguments, uint64_t), 8);
				break;
			case 's':
				text = va_arg(arguments, const char *);
				put_text(bytes, text, strlen(text) + 1);
				break;
			case 'v':
				text = va_arg(arguments, const char *);
				put_number(bytes, strlen(text), 4);
				put_text(bytes, text, strlen(text));
				break;
			default:
				put_number(bytes, va_arg(arguments, unsigned int), *format - '0');
		}
	}
}

static void
put(Bytes *bytes, const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	put_fields(bytes, format, arguments);
	va_end(arguments);
}

/* The fields of a message; the result stays until the next call. */
static const Bytes *
message_of(const char *format,...)
{
	static Bytes bytes;
	va_list		arguments;

	bytes.length = 0;
	va_start(arguments, format);
	put_fields(&bytes, format, arguments);
	va_end(arguments);
	return &bytes;
}

/* --- decoding and showing ------------------------------------------------ */

static void
show_tuple(FILE *file, const char *name, const TapPgoutputTuple *tuple)
{
	if (!tuple->present)
		return;
	fprintf(file, " %s(", name);
	for (int i = 0; i < tuple->ncolumns; i++)
	{
		fprintf(file, "%s%c", i ? "," : "", tuple->values[i].kind);
		if (tuple->values[i].data != NULL)
		{
			fprintf(file, ":");
			fwrite(tuple->values[i].data, 1, tuple->values[i].bytes, file);
		}
	}
	fprintf(file, ")");
}

static void
show_columns(FILE *file, const TapPgoutputMessage *message)
{
	fprintf(file, " identity=%c", message->replica_identity);
	for (int i = 0; i < message->ncolumns; i++)
	{
		const TapPgoutputColumn *column = &message->columns[i];

		fprintf(file, " %s%s:%u:%d", column->key ? "*" : "", column->name, column->type, column->typmod);
		if (message->announced)
			fprintf(file, "#%d%s", column->number, column->generated ? "g" : "");
	}
}

static void
show_rest(FILE *file, const TapPgoutputMessage *message)
{
	if (message->first_segment)
		fprintf(file, " first");
	if (message->transactional)
		fprintf(file, " transactional");
	if (message->cascade)
		fprintf(file, " cascade");
	if (message->restart_identity)
		fprintf(file, " restart");
	for (int i = 0; i < message->nrelations; i++)
		fprintf(file, " %u", message->relations[i]);
	if (message->prefix != NULL)
	{
		fprintf(file, " %s=", message->prefix);
		fwrite(message->content, 1, message->content_bytes, file);
	}
	if (message->announced)
		fprintf(file, " announced kind=%c%s", message->relation_kind, message->partition ? " partition" : "");
}

/* All that is in a message; the caller frees it. */
static char *
show_message(const TapPgoutputMessage *message)
{
	char	   *text;
	size_t		length;
	FILE	   *file = open_memstream(&text, &length);

	if (message->kind == TAP_PGOUTPUT_DROPPED)
		fprintf(file, "dropped");
	else
		fprintf(file, "%c", message->kind);
	if (message->xid != 0)
		fprintf(file, " xid=%u", message->xid);
	if (message->subxid != 0)
		fprintf(file, " subxid=%u", message->subxid);
	if (message->lsn != 0)
		fprintf(file, " lsn=%llx", (unsigned long long) message->lsn);
	if (message->end_lsn != 0)
		fprintf(file, " end=%llx", (unsigned long long) message->end_lsn);
	if (message->time_us != 0)
		fprintf(file, " time=%lld", (long long) message->time_us);
	if (message->gid != NULL)
		fprintf(file, " gid=%s", message->gid);
	if (message->relation != 0)
		fprintf(file, " relation=%u", message->relation);
	if (message->schema != NULL)
		fprintf(file, " schema=%s", message->schema);
	if (message->name != NULL)
		fprintf(file, " name=%s", message->name);
	if (message->replica_identity != '\0')
		show_columns(file, message);
	if (message->old_kind != '\0')
		fprintf(file, " %c", message->old_kind);
	show_tuple(file, "old", &message->old_tuple);
	show_tuple(file, "new", &message->new_tuple);
	show_rest(file, message);
	fclose(file);
	return text;
}

/* Decode and show; NULL: it was refused, and *error says why. */
static char *
decode_by(TapPgoutputDecoder *decoder, const char *data, size_t length, const char **error)
{
	TapPgoutputMessage message;
	char	   *copy = malloc(length ? length : 1);
	char	   *text = NULL;

	memcpy(copy, data, length);
	if (tap_pgoutput_decode(decoder, copy, length, &message, error))
		text = show_message(&message);
	free(copy);
	return text;
}

static char *
decode(bool in_stream, const char *data, size_t length, const char **error)
{
	TapPgoutputDecoder *decoder = tap_pgoutput_create();
	char	   *text;

	tap_pgoutput_set_in_stream(decoder, in_stream);
	text = decode_by(decoder, data, length, error);
	tap_pgoutput_free(decoder);
	return text;
}

/* --- messages that are right --------------------------------------------- */

/* No beginning of a message is taken for one. */
static void
check_cuts(bool in_stream, const Bytes *bytes, const char *name)
{
	size_t		refused = 0;

	for (size_t length = 0; length < bytes->length; length++)
	{
		const char *error = NULL;
		char	   *text = decode(in_stream, bytes->data, length, &error);

		refused += text == NULL && error != NULL;
		free(text);
	}
	ok(refused == bytes->length, "%s: cut at each of its bytes", name);
}

/* Whatever a byte is, the message is read or refused with an error, and nothing else is read. */
static void
check_changed(bool in_stream, const Bytes *bytes, const char *name)
{
	static const unsigned char values[] = {0, 1, 2, 'K', 'N', 'b', 't', 0x7f, 0x80, 0xff};
	static Bytes changed;
	int			wrong = 0;

	changed = *bytes;
	for (size_t at = 0; at < bytes->length; at++)
	{
		for (size_t i = 0; i < sizeof(values); i++)
		{
			const char *error = NULL;
			char	   *text;

			changed.data[at] = (char) values[i];
			text = decode(in_stream, changed.data, changed.length, &error);
			wrong += (text == NULL) != (error != NULL);
			free(text);
		}
		changed.data[at] = bytes->data[at];
	}
	ok(wrong == 0, "%s: each of its bytes changed", name);
}

static void
check(bool in_stream, const char *expected, const Bytes *bytes)
{
	const char *error = NULL;
	char	   *text = decode(in_stream, bytes->data, bytes->length, &error);

	is_text(text ? text : error, expected, "%s", expected);
	check_cuts(in_stream, bytes, expected);
	check_changed(in_stream, bytes, expected);
	free(text);
}

#define LSN		UINT64_C(0x16B374D848)
#define END		UINT64_C(0xFEDCBA9876543210)
#define TIME	UINT64_C(712345678901234)

static void
test_transactions(void)
{
	check(false, "B xid=4294967295 lsn=16b374d848 time=712345678901234",
		  message_of("1884", 'B', LSN, TIME, UINT32_MAX));
	check(false, "C lsn=16b374d848 end=fedcba9876543210 time=712345678901234",
		  message_of("11888", 'C', 0, LSN, END, TIME));
	check(false, "O lsn=16b374d848 name=other", message_of("18s", 'O', LSN, "other"));
	check(false, "C lsn=1 end=2 time=-1", message_of("11888", 'C', 0, UINT64_C(1), UINT64_C(2), UINT64_MAX));
}

static void
test_prepared(void)
{
	check(false, "b xid=7 lsn=16b374d848 end=fedcba9876543210 time=712345678901234 gid=two",
		  message_of("18884s", 'b', LSN, END, TIME, 7, "two"));
	check(false, "P xid=7 lsn=16b374d848 end=fedcba9876543210 time=712345678901234 gid=two",
		  message_of("118884s", 'P', 0, LSN, END, TIME, 7, "two"));
	check(false, "K xid=7 lsn=16b374d848 end=fedcba9876543210 time=712345678901234 gid=",
		  message_of("118884s", 'K', 0, LSN, END, TIME, 7, ""));
	check(false, "r xid=7 lsn=16b374d848 end=fedcba9876543210 time=9 gid=two",
		  message_of("1188884s", 'r', 0, LSN, END, TIME, UINT64_C(9), 7, "two"));
	check(false, "p xid=7 lsn=16b374d848 end=fedcba9876543210 time=712345678901234 gid=two",
		  message_of("118884s", 'p', 0, LSN, END, TIME, 7, "two"));
}

static void
test_streamed(void)
{
	check(false, "S xid=7 first", message_of("141", 'S', 7, 1));
	check(true, "S xid=7", message_of("141", 'S', 7, 0));
	check(true, "E", message_of("1", 'E'));
	check(false, "c xid=7 lsn=16b374d848 end=fedcba9876543210 time=712345678901234",
		  message_of("141888", 'c', 7, 0, LSN, END, TIME));
	check(false, "A xid=7 subxid=8", message_of("144", 'A', 7, 8));
}

/* Changes have an xid more within a stream; the rest of them is the same. */
static void
test_changes(void)
{
	check(false, "R relation=16384 schema=s name=t identity=d *id:23:-1 text:1043:14",
		  message_of("14ss121s441s44", 'R', 16384, "s", "t", 'd', 2, 1, "id", 23, UINT32_MAX, 0, "text", 1043, 14));
	check(true, "R xid=9 relation=16384 schema= name=t identity=n",
		  message_of("144ss12", 'R', 9, 16384, "", "t", 'n', 0));
	check(false, "Y relation=16390 schema=s name=mood", message_of("14ss", 'Y', 16390, "s", "mood"));
	check(true, "Y xid=9 relation=16390 schema=s name=mood", message_of("144ss", 'Y', 9, 16390, "s", "mood"));
	check(false, "I relation=16384 new(n,u,t:one,b:\1\2,t:)",
		  message_of("1412111v1v1v", 'I', 16384, 'N', 5, 'n', 'u', 't', "one", 'b', "\1\2", 't', ""));
	check(true, "I xid=9 relation=16384 new(t:one)", message_of("144121v", 'I', 9, 16384, 'N', 1, 't', "one"));
	check(false, "I relation=16384 new()", message_of("1412", 'I', 16384, 'N', 0));
	check(false, "U relation=16384 new(t:1,u)", message_of("14121v1", 'U', 16384, 'N', 2, 't', "1", 'u'));
	check(false, "U relation=16384 K old(t:1,n) new(t:2,u)",
		  message_of("14121v1121v1", 'U', 16384, 'K', 2, 't', "1", 'n', 'N', 2, 't', "2", 'u'));
	check(true, "U xid=9 relation=16384 O old(t:1) new(t:2,n)",
		  message_of("144121v121v1", 'U', 9, 16384, 'O', 1, 't', "1", 'N', 2, 't', "2", 'n'));
	check(false, "D relation=16384 K old(t:1,n)", message_of("14121v1", 'D', 16384, 'K', 2, 't', "1", 'n'));
	check(true, "D xid=9 relation=16384 O old(b:x)", message_of("144121v", 'D', 9, 16384, 'O', 1, 'b', "x"));
	check(false, "T", message_of("141", 'T', 0, 0));
	check(false, "T cascade 16384", message_of("1414", 'T', 1, 1, 16384));
	check(true, "T xid=9 restart 16384 4294967295", message_of("144144", 'T', 9, 2, 2, 16384, UINT32_MAX));
	check(false, "M lsn=16b374d848 tapdata=hello", message_of("118sv", 'M', 0, LSN, "tapdata", "hello"));
	check(true, "M xid=9 lsn=16b374d848 transactional =", message_of("1418sv", 'M', 9, 1, LSN, "", ""));
}

/* --- messages that are wrong --------------------------------------------- */

static void
check_refused(const char *expected, const char *name, const Bytes *bytes)
{
	const char *error = NULL;
	char	   *text = decode(false, bytes->data, bytes->length, &error);

	is_text(text ? text : error, expected, "%s", name);
	free(text);
}

static void
test_kinds(void)
{
	char		read[257] = "";
	char		malformed[257] = "";

	for (int kind = 0; kind < 256; kind++)
	{
		const Bytes *bytes = message_of("1888888", kind, UINT64_C(0), UINT64_C(0), UINT64_C(0), UINT64_C(0),
										UINT64_C(0), UINT64_C(0));
		const char *error = NULL;
		char	   *text = decode(false, bytes->data, bytes->length, &error);

		if (text != NULL)
			read[strlen(read)] = (char) kind;
		else if (strcmp(error, "the message is of an unknown kind") != 0)
			malformed[strlen(malformed)] = (char) kind;
		free(text);
	}
	is_text(read, "ABCEKMOPRSTYbcpr", "these kinds are read of zeros");
	is_text(malformed, "DIU", "these lack their row, and no others are known");
	check_refused("the message is too short", "no message at all", message_of(""));
	check_refused("a value of the message is of an unknown kind", "a value of an unknown kind",
				  message_of("141211", 'I', 1, 'N', 2, 'n', 'x'));
	check_refused("an insert has no new row", "an insert of an old row", message_of("14121", 'I', 1, 'K', 1, 'n'));
	check_refused("an update has no new row", "an update with two old rows",
				  message_of("14121121", 'U', 1, 'K', 1, 'n', 'O', 1, 'n'));
	check_refused("a delete has no old row", "a delete of a new row", message_of("14121", 'D', 1, 'N', 1, 'n'));
}

/* Lengths and counts that no message can hold, whose sums and products overflow. */
static void
test_lengths(void)
{
	static const unsigned int absurd[] = {5, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffc, 0xffffffff};
	static const unsigned int counts[] = {2, 0x3fffffff, 0x40000000, 0x40000001, 0x7fffffff, 0x80000001, 0xffffffff};

	for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++)
	{
		check_refused("the message is too short", "a value longer than its message",
					  message_of("1412144", 'I', 1, 'N', 1, 't', absurd[i], 0));
		check_refused("the message is too short", "a binary value longer than its message",
					  message_of("1412144", 'D', 1, 'K', 1, 'b', absurd[i], 0));
		check_refused("the message is too short", "a content longer than its message",
					  message_of("118s44", 'M', 0, LSN, "p", absurd[i], 0));
		check_refused("a truncate has fewer relations than it says", "relations that are not there",
					  message_of("1414", 'T', counts[i], 0, 1));
	}
	for (unsigned int count = 2; count < 65536; count = count * 2 + 1)
		check_refused("a row of the message has too many columns", "columns that are not there",
					  message_of("14121", 'I', 1, 'N', count, 'n'));
	for (unsigned int count = 2; count < 65536; count = count * 2 + 1)
		check_refused("a relation of the message has too many columns", "columns of a relation that are not there",
					  message_of("14ss121s44", 'R', 1, "s", "t", 'd', count, 0, "", 23, 0));
	check_refused("the message is too short", "a schema without an end", message_of("144", 'R', 1, 0x61616161));
	check_refused("a name in the message has no end", "an origin without an end", message_of("184", 'O', LSN, 0x61616161));
	check_refused("the message is too short", "a prefix without an end",
				  message_of("1184", 'M', 0, LSN, 0x61616161));
}

/* As many columns as a table may have, and one more. */
static void
test_most_columns(void)
{
	static Bytes row;
	static Bytes relation;
	const char *error = NULL;

	for (unsigned int count = MOST_COLUMNS; count <= MOST_COLUMNS + 1; count++)
	{
		char	   *text;

		row.length = relation.length = 0;
		put(&row, "1412", 'I', 1, 'N', count);
		put(&relation, "14ss12", 'R', 1, "s", "t", 'd', count);
		for (unsigned int i = 0; i < count; i++)
		{
			put(&row, "1", 'n');
			put(&relation, "1s44", 0, "c", 23, 0);
		}
		text = decode(false, row.data, row.length, &error);
		ok((text != NULL) == (count == MOST_COLUMNS), "a row of %u columns", count);
		free(text);
		text = decode(false, relation.data, relation.length, &error);
		ok((text != NULL) == (count == MOST_COLUMNS), "a relation of %u columns", count);
		free(text);
	}
}

/* --- one decoder for many messages --------------------------------------- */

static void
check_next(TapPgoutputDecoder *decoder, const char *expected, const Bytes *bytes)
{
	const char *error = NULL;
	char	   *text = decode_by(decoder, bytes->data, bytes->length, &error);

	is_text(text ? text : error, expected, "then %s", expected);
	free(text);
}

static void
test_run(void)
{
	TapPgoutputDecoder *decoder = tap_pgoutput_create();

	check_next(decoder, "I relation=1 new(n)", message_of("14121", 'I', 1, 'N', 1, 'n'));
	check_next(decoder, "S xid=7 first", message_of("141", 'S', 7, 1));
	check_next(decoder, "I xid=8 relation=1 new(n,u,n)", message_of("14412111", 'I', 8, 1, 'N', 3, 'n', 'u', 'n'));
	check_next(decoder, "M xid=7 lsn=1 transactional p=x", message_of("1418sv", 'M', 7, 1, UINT64_C(1), "p", "x"));
	check_next(decoder, "O lsn=1 name=o", message_of("18s", 'O', UINT64_C(1), "o"));
	check_next(decoder, "E", message_of("1", 'E'));
	check_next(decoder, "I relation=1 new(u)", message_of("14121", 'I', 1, 'N', 1, 'u'));
	check_next(decoder, "an insert has no new row", message_of("1412", 'I', 1, 'X', 0));
	check_next(decoder, "T 1 2 3", message_of("141444", 'T', 3, 0, 1, 2, 3));
	check_next(decoder, "T 4", message_of("1414", 'T', 1, 0, 4));
	check_next(decoder, "c xid=7 lsn=1 end=2 time=3",
			   message_of("141888", 'c', 7, 0, UINT64_C(1), UINT64_C(2), UINT64_C(3)));
	check_next(decoder, "A xid=7 subxid=8", message_of("14488", 'A', 7, 8, LSN, TIME));
	tap_pgoutput_set_in_stream(decoder, true);
	check_next(decoder, "D xid=8 relation=1 K old(t:1)", message_of("144121v", 'D', 8, 1, 'K', 1, 't', "1"));
	tap_pgoutput_set_in_stream(decoder, false);
	check_next(decoder, "D relation=1 K old(t:1)", message_of("14121v", 'D', 1, 'K', 1, 't', "1"));
	tap_pgoutput_free(decoder);
}

/* --- what an event trigger wrote ----------------------------------------- */

static char *
decode_ddl(const char *ddl, size_t length, const char **error)
{
	TapPgoutputDecoder *decoder = tap_pgoutput_create();
	TapPgoutputMessage message;
	char	   *copy = malloc(length ? length : 1);
	char	   *text = NULL;

	memcpy(copy, ddl, length);
	if (tap_pgoutput_decode_ddl(decoder, copy, length, &message, error))
		text = show_message(&message);
	free(copy);
	tap_pgoutput_free(decoder);
	return text;
}

static void
check_ddl(const char *expected, const char *ddl)
{
	const char *error = NULL;
	char	   *text = decode_ddl(ddl, strlen(ddl), &error);

	is_text(text ? text : error, expected, "DDL: %s", expected);
	free(text);
}

/* Whether all lines have as many fields as they must, for text that may be cut. */
static bool
has_fields(const char *ddl, size_t length)
{
	int			wanted = 6;
	int			tabs = 0;
	bool		in_line = true;

	for (size_t i = 0; i < length; i++)
	{
		in_line = true;
		tabs += ddl[i] == '\t';
		if (ddl[i] != '\n')
			continue;
		if (tabs != wanted)
			return false;
		wanted = 5;
		tabs = 0;
		in_line = false;
	}
	return !in_line || tabs == wanted;
}

static void
test_ddl(void)
{
	static const char ddl[] = "altered\t16384\tf\tp\tt\ts\\t1\tt\\\\\\n\n"
	"id\t1\t23\t-1\tt\tf\nsum\t4\t1700\t655366\tf\tt\n";
	size_t		right = 0;

	check_ddl("R relation=16384 schema=s\t1 name=t\\\n identity=f *id:23:-1#1 sum:1700:655366#4g announced kind=p partition",
			  ddl);
	check_ddl("dropped relation=4294967295 schema=s name=t identity=d announced kind=r",
			  "dropped\t4294967295\td\tr\tf\ts\tt\n");
	check_ddl("what happened to the table is malformed", "");
	check_ddl("what happened to the table is malformed", "altered\t1\td\tr\tf\ts\n");
	check_ddl("what happened to the table is malformed", "altered\t1\td\tr\tf\ts\tt\tmore\n");
	check_ddl("a column of the table is malformed, or there are too many", "altered\t1\td\tr\tf\ts\tt\n\n");
	check_ddl("a column of the table is malformed, or there are too many", "altered\t1\td\tr\tf\ts\tt\na\t1\t23\t-1\tt\n");
	check_ddl("a column of the table is malformed, or there are too many",
			  "altered\t1\td\tr\tf\ts\tt\na\t1\t23\t-1\tt\tf\tf\n");
	for (size_t length = 0; length < sizeof(ddl); length++)
	{
		const char *error = NULL;
		char	   *text = decode_ddl(ddl, length, &error);

		right += (text != NULL) == has_fields(ddl, length) && (text != NULL) == (error == NULL);
		free(text);
	}
	ok(right == sizeof(ddl), "DDL: cut at each of its bytes");
}

static void
test_ddl_columns(void)
{
	static const char table[] = "altered\t1\td\tr\tf\ts\tt\n";
	static const char column[] = "c\t1\t23\t-1\tf\tf\n";
	static Bytes ddl;
	const char *error = NULL;
	char	   *text;

	put_text(&ddl, table, strlen(table));
	for (int i = 0; i < MOST_COLUMNS; i++)
		put_text(&ddl, column, strlen(column));
	text = decode_ddl(ddl.data, ddl.length, &error);
	ok(text != NULL && error == NULL, "DDL: %d columns", MOST_COLUMNS);
	free(text);
	put_text(&ddl, column, strlen(column));
	ok(decode_ddl(ddl.data, ddl.length, &error) == NULL && error != NULL, "DDL: one column more");
	ddl.length = strlen(table);
	ddl.data[8] = '\0';
	ok(decode_ddl(ddl.data, ddl.length, &error) == NULL && error != NULL, "DDL: a NUL");
}

int
main(void)
{
	test_transactions();
	test_prepared();
	test_streamed();
	test_changes();
	test_kinds();
	test_lengths();
	test_most_columns();
	test_run();
	test_ddl();
	test_ddl_columns();
	return done_testing();
}
