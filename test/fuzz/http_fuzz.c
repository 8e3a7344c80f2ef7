/*-------------------------------------------------------------------------
 *
 * test/fuzz/http_fuzz.c
 *	  Fuzz target for answers of HTTP servers.
 *
 * NOTES
 *	  The first byte of an input says how many items were asked for; the rest
 *	  is the answer, in memory of exactly its size.
 *
 *	  Built with -DTAP_FUZZ_REPLAY it has a main function of its own that reads
 *	  files, for compilers without libFuzzer.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_bulk.h"
#include "http_json.h"
#include "http_page_link.h"

#define INPUT_LIMIT ((size_t) 1024 * 1024)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
take_hit(void *data, const char *id, int64_t version)
{
	size_t	   *sum = data;

	*sum += strlen(id) + (size_t) version;
}

/* A target that is found lies within the header. */
static void
check_link(const char *header, size_t size)
{
	const char *target;
	size_t		length;

	if (tap_http_link_find(header, size, "next", &target, &length) &&
		(target < header || length > size || target + length > header + size))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TapHttpJson json;
	TapHttpBulkItem *items;
	char		scroll[64];
	char	   *answer;
	size_t		sum = 0;
	int			nitems;

	if (size < 1)
		return 0;
	nitems = data[0] % 8;
	size--;
	answer = malloc(size ? size : 1);
	memcpy(answer, data + 1, size);
	items = malloc(sizeof(TapHttpBulkItem) * (nitems ? nitems : 1));

	if (tap_http_parse_bulk(answer, size, items, nitems))
	{
		for (int i = 0; i < nitems; i++)
			sum += strlen(items[i].type) + strlen(items[i].reason) + items[i].status;
	}
	(void) tap_http_parse_hits(answer, size, scroll, sizeof(scroll), take_hit, &sum);
	tap_http_json_init(&json, answer, size);
	if (tap_http_json_skip(&json) && !tap_http_json_at_end(&json) && json.next > json.end)
		abort();
	check_link(answer, size);
	free(items);
	free(answer);
	return 0;
}

#ifdef TAP_FUZZ_REPLAY
int
main(int argc, char **argv)
{
	uint8_t    *data = malloc(INPUT_LIMIT);

	for (int i = 1; i < argc; i++)
	{
		FILE	   *file = fopen(argv[i], "rb");

		if (file == NULL)
		{
			perror(argv[i]);
			return 1;
		}
		(void) LLVMFuzzerTestOneInput(data, fread(data, 1, INPUT_LIMIT, file));
		fclose(file);
	}
	free(data);
	return 0;
}
#endif
