/*-------------------------------------------------------------------------
 *
 * test/fuzz/pgoutput_fuzz.c
 *	  Fuzz target for the decoder of pgoutput's messages.
 *
 * NOTES
 *	  An input is a run of messages, each after two bytes of its length.  Each
 *	  is copied to memory of exactly its size, so that the sanitizer sees any
 *	  read beyond it; one decoder takes all, as it keeps memory and knows
 *	  whether it is within a streamed transaction.
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

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TapPgoutputDecoder *decoder = tap_pgoutput_create();

	REQUIRE(decoder != NULL);
	while (size >= 2)
	{
		size_t		length = (size_t) data[0] << 8 | data[1];
		TapPgoutputMessage message;
		const char *error = NULL;
		char	   *copy;

		data += 2;
		size -= 2;
		if (length > size)
			length = size;
		copy = malloc(length ? length : 1);
		REQUIRE(copy != NULL);
		memcpy(copy, data, length);
		if (tap_pgoutput_decode(decoder, copy, length, &message, &error))
			use_message(&message);
		else
			REQUIRE(error != NULL);
		free(copy);
		data += length;
		size -= length;
	}
	tap_pgoutput_free(decoder);
	return 0;
}

#ifdef TAP_FUZZ_REPLAY
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
