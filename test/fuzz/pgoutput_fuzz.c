/*-------------------------------------------------------------------------
 *
 * test/fuzz/pgoutput_fuzz.c
 *	  Fuzz target for the decoder of pgoutput's messages.
 *
 * NOTES
 *	  An input is a run of messages, each after two bytes of its length.  Each
 *	  is copied to memory of exactly its size, so that the sanitizer sees any
 *	  read beyond it; one decoder takes all, as it keeps memory and knows
 *	  whether it is within a streamed transaction.  Each is decoded again as
 *	  one that was kept of such a transaction, and as what an event trigger
 *	  wrote, which is also what the content of a LOGICAL message is taken for.
 *
 *	  Built with -DTAP_FUZZ_REPLAY it has a main function of its own that reads
 *	  files, for compilers without libFuzzer; without a file it decodes
 *	  messages that it makes up, from a seed.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgoutput.h"

/* What must hold for any input; a failure is a finding. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static volatile char sink;

static void
use_text(const char *text)
{
	if (text != NULL)
		sink = text[strlen(text)];
}

static void
use_tuple(const TapPgoutputTuple *tuple)
{
	REQUIRE(tuple->present || tuple->ncolumns == 0);
	for (int i = 0; i < tuple->ncolumns; i++)
	{
		const TapPgoutputValue *value = &tuple->values[i];
		bool		has_data = value->kind == TAP_PGOUTPUT_TEXT ||
		value->kind == TAP_PGOUTPUT_BINARY;

		REQUIRE(has_data || (value->data == NULL && value->bytes == 0));
		for (uint32_t j = 0; j < value->bytes; j++)
			sink = value->data[j];
	}
}

static void
use_message(const TapPgoutputMessage *message)
{
	use_text(message->gid);
	use_text(message->schema);
	use_text(message->name);
	use_text(message->prefix);
	for (int i = 0; i < message->ncolumns; i++)
		use_text(message->columns[i].name);
	for (int i = 0; i < message->nrelations; i++)
		sink = (char) message->relations[i];
	for (uint32_t i = 0; i < message->content_bytes; i++)
		sink = message->content[i];
	use_tuple(&message->old_tuple);
	use_tuple(&message->new_tuple);
}

static void
decode_ddl(TapPgoutputDecoder *decoder, const char *text, size_t length)
{
	TapPgoutputMessage message;
	const char *error = NULL;

	if (!tap_pgoutput_decode_ddl(decoder, text, length, &message, &error))
	{
		REQUIRE(error != NULL);
		return;
	}
	REQUIRE(error == NULL && message.announced);
	REQUIRE(message.kind == TAP_PGOUTPUT_RELATION || message.kind == TAP_PGOUTPUT_DROPPED);
	REQUIRE(message.schema != NULL && message.name != NULL);
	use_message(&message);
}

/* Decode one message in all ways; data is of exactly its length. */
static void
decode_all(TapPgoutputDecoder *decoder, const char *data, size_t length)
{
	TapPgoutputMessage message;
	const char *error = NULL;
	bool		in_stream = false;

	if (tap_pgoutput_decode(decoder, data, length, &message, &error))
	{
		use_message(&message);
		in_stream = message.kind == TAP_PGOUTPUT_STREAM_START;
		if (message.kind == TAP_PGOUTPUT_LOGICAL)
			decode_ddl(decoder, message.content, message.content_bytes);
	}
	else
		REQUIRE(error != NULL);
	decode_ddl(decoder, data, length);

	/* what comes next is of the stream that began, or is not */
	tap_pgoutput_set_in_stream(decoder, true);
	if (tap_pgoutput_decode(decoder, data, length, &message, &error))
		use_message(&message);
	tap_pgoutput_set_in_stream(decoder, in_stream);
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TapPgoutputDecoder *decoder = tap_pgoutput_create();

	REQUIRE(decoder != NULL);
	while (size >= 2)
	{
		size_t		length = (size_t) data[0] << 8 | data[1];
		char	   *copy;

		data += 2;
		size -= 2;
		if (length > size)
			length = size;
		copy = malloc(length ? length : 1);
		REQUIRE(copy != NULL);
		memcpy(copy, data, length);
		decode_all(decoder, copy, length);
		free(copy);
		data += length;
		size -= length;
	}
	tap_pgoutput_free(decoder);
	return 0;
}

#ifdef TAP_FUZZ_REPLAY
/* Lines of an event trigger, more or less. */
static size_t
make_up_ddl(uint8_t *to, size_t max)
{
	static const char *const words[] = {
		"altered\t", "dropped\t", "123\t", "d\t", "r\t", "t\t", "f\t", "s\t", "name\n", "name\t",
		"c\t1\t23\t-1\tt\tf\n", "-1\t", "\\", "\\t", "\\n", "\n", "\t", "4294967296\t", "\303\244"
	};
	size_t		size = 0;

	while (rand() % 24 != 0)
	{
		const char *word = words[(size_t) rand() % (sizeof(words) / sizeof(words[0]))];

		if (size == 0)
			word = "altered\t1\td\tr\tf\ts\tt\n";
		if (size + strlen(word) > max)
			break;
		memcpy(to + size, word, strlen(word));
		size += strlen(word);
	}
	return size;
}

/* Messages that begin like real ones, with small counts and lengths. */
static void
make_up(unsigned int seed)
{
	static const char kinds[] = "BCORYIUDTMbPKrSEcAp";
	static uint8_t input[4096];
	size_t		size = 0;

	srand(seed);
	while (size + 200 < sizeof(input))
	{
		size_t		length = (size_t) rand() % 160;

		input[size++] = 0;
		input[size++] = (uint8_t) length;
		for (size_t i = 0; i < length; i++)
			input[size + i] = rand() % 3 ? (uint8_t) (rand() % 4) : (uint8_t) "ntubKNO\377"[rand() % 8];
		if (length > 0)
			input[size] = (uint8_t) kinds[rand() % (sizeof(kinds) - 1)];
		if (rand() % 4 == 0)
		{
			length = make_up_ddl(input + size, 160);
			input[size - 1] = (uint8_t) length;
		}
		size += length;
	}
	LLVMFuzzerTestOneInput(input, size);
}

int
main(int argc, char **argv)
{
	static uint8_t input[1 << 20];

	for (int i = 1; i < argc; i++)
	{
		FILE	   *file = fopen(argv[i], "rb");
		size_t		size;

		REQUIRE(file != NULL);
		size = fread(input, 1, sizeof(input), file);
		fclose(file);
		LLVMFuzzerTestOneInput(input, size);
	}
	for (unsigned int seed = 0; argc == 1 && seed < 20000; seed++)
		make_up(seed);
	return 0;
}
#endif
