/*-------------------------------------------------------------------------
 *
 * test/fuzz/copybook_fuzz.c
 *	  Fuzz target for copybooks, the programmes made of them, and records.
 *
 * NOTES
 *	  An input is a byte of choices, the text of a copybook, a zero, the name
 *	  of an item, a zero, a condition, a zero, and the bytes of a file.  The
 *	  file is cut into records in each way, and each record is read.  All is in
 *	  memory of exactly its size.
 *
 *	  Built with -DTAP_FUZZ_REPLAY it has a main function of its own that reads
 *	  files, for compilers without libFuzzer.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cobol.h"
#include "cobol_frame.h"

#define INPUT_LIMIT ((size_t) 1024 * 1024)
#define MOST_RECORD ((size_t) 65536)
#define MOST_VALUE	((size_t) 4096)
#define MOST_FIELDS 100000

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Reading
{
	TapCodePage *page;
	size_t		sum;			/* so that no value is left unread */
	int			depth;
} Reading;

/* Copies of the parts of an input. */
typedef struct Parts
{
	uint8_t		choices;
	char	   *copybook;
	char	   *item;
	char	   *condition;
	uint8_t    *file;
	size_t		length;
} Parts;

static void
read_text(Reading *reading, const TapCobolOp *op, const uint8_t *data)
{
	size_t		length = op->bytes < MOST_VALUE ? op->bytes : MOST_VALUE;
	char	   *text = malloc(length * TAP_CODE_PAGE_GROWTH + TAP_CODE_PAGE_EXTRA);
	size_t		bad = 0;
	long		written;

	if (op->field == TAP_COBOL_TEXT)
		written = tap_code_page_decode(reading->page, data, length, text, &bad);
	else
		written = tap_code_page_decode_wide(reading->page, op->field == TAP_COBOL_NATIONAL,
											data, length, text, &bad);
	if (written < 0 && bad > length)
		abort();
	for (long i = 0; i < written; i++)
		reading->sum += (unsigned char) text[i];
	free(text);
}

static void
read_field(void *arg, const TapCobolOp *op, const uint8_t *data)
{
	Reading    *reading = arg;
	char		text[TAP_COBOL_NUMBER_BYTES];
	double		value;
	int64_t		number;

	switch (op->field)
	{
		case TAP_COBOL_TEXT:
		case TAP_COBOL_NATIONAL:
		case TAP_COBOL_DBCS:
			read_text(reading, op, data);
			break;
		case TAP_COBOL_FLOAT:
			reading->sum += tap_cobol_float(op, data, &value);
			break;
		default:
			if (tap_cobol_decimal(op, data, text) == TAP_NUMBER_OK)
				reading->sum += strlen(text);
			if (!op->wide && tap_cobol_integer(op, data, &number) == TAP_NUMBER_OK)
				reading->sum += (size_t) number;
	}
	for (const TapCobolLabel *label = op->labels; label != NULL; label = label->next)
		reading->sum += tap_cobol_test(label->test, NULL, data);
}

static void
begin_body(void *arg, const TapCobolOp *op, uint32_t count)
{
	Reading    *reading = arg;

	reading->sum += count;
	if (++reading->depth > 100 || (op->kind == TAP_COBOL_TABLE && count > op->most))
		abort();
}

static void
begin_element(void *arg, const TapCobolOp *op)
{
	((Reading *) arg)->sum += (size_t) op->nkeys;
}

static void
end_element(void *arg, const TapCobolOp *op)
{
	(void) arg;
	(void) op;
}

static void
end_body(void *arg, const TapCobolOp *op)
{
	(void) op;
	if (--((Reading *) arg)->depth < 0)
		abort();
}

static const TapCobolSink sink = {read_field, begin_body, begin_element, end_element, end_body};

static void
read_file(Reading *reading, const TapCobolProgramme *programme, const Parts *parts, TapFrameKind kind)
{
	TapFrame	frame = {.kind = kind,.counts_itself = !(parts->choices & 1),.ebcdic = reading->page->ebcdic};
	TapCobolRun run = {.programme = programme,.sink = &sink,.arg = reading,.lenient = parts->choices & 2};
	size_t		from = 0;

	frame.record_length = programme->longest;
	run.marks = calloc((size_t) programme->nmarks + 1, sizeof(int64_t));
	for (;;)
	{
		TapFrameResult result = tap_frame_next(&frame, parts->file + from, parts->length - from, true, MOST_RECORD);

		if (frame.taken > parts->length - from)
			abort();
		if (result == TAP_FRAME_RECORD)
		{
			reading->depth = 0;
			reading->sum += tap_cobol_run(&run, frame.data, frame.length, 0);
		}
		from += frame.taken;
		if (frame.taken == 0 || result == TAP_FRAME_END)
			break;
	}
	free(run.marks);
	tap_frame_release(&frame);
}

/* How much there is to do for a record, so that slow is not taken for endless. */
static uint64_t
fields_of(const TapCobolItem *item)
{
	uint64_t	count = item->first == NULL;

	for (const TapCobolItem *child = item->first; child != NULL; child = child->next)
		count += fields_of(child);
	return count * (item->occurs_max ? item->occurs_max : 1);
}

static void
read_all(TapCopybook *copybook, const Parts *parts)
{
	static TapCodePage *pages[3];
	static const char *const names[] = {"IBM037", "ASCII", "IBM939"};
	int			which = (parts->choices >> 4) % 3;
	const char *items[] = {parts->item};
	const char *conditions[] = {parts->condition};
	TapCobolWish wish = {.slides = parts->choices & 4,.labels = parts->choices & 8,.whole_range = parts->choices & 1};
	TapCopybookError error;
	TapCobolProgramme *programme;
	Reading		reading = {0};

	if (pages[which] == NULL)
		pages[which] = tap_code_page_open(names[which]);
	reading.page = pages[which];
	wish.nredefines = parts->item[0] != '\0';
	wish.redefines = items;
	wish.conditions = conditions;
	programme = tap_cobol_compile(copybook, reading.page, &wish, &error);
	if (programme == NULL && error.message[0] == '\0')
		abort();
	if (programme == NULL || fields_of(tap_copybook_records(copybook)) > MOST_FIELDS)
		return;
	for (int kind = TAP_FRAME_FIXED; kind <= TAP_FRAME_LINES; kind++)
		read_file(&reading, programme, parts, (TapFrameKind) kind);
}

/* The next part as a text of its own; moves behind it. */
static char *
take_part(const uint8_t **data, size_t *size)
{
	const uint8_t *end = memchr(*data, 0, *size);
	size_t		length = end ? (size_t) (end - *data) : *size;
	char	   *part = malloc(length + 1);

	memcpy(part, *data, length);
	part[length] = '\0';
	*data += end ? length + 1 : length;
	*size -= end ? length + 1 : length;
	return part;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Parts		parts = {0};
	TapCobolLayout layout = {0};
	TapCopybookError error;
	TapCopybook *copybook;

	if (size < 1)
		return 0;
	parts.choices = *data++;
	size--;
	parts.copybook = take_part(&data, &size);
	parts.item = take_part(&data, &size);
	parts.condition = take_part(&data, &size);
	parts.length = size;
	parts.file = malloc(size ? size : 1);
	memcpy(parts.file, data, size);

	layout.binary_size = (TapCobolBinarySize) (parts.choices % 3);
	layout.form = (TapCopybookForm) (parts.choices / 3 % 3);
	layout.align_8 = layout.little_endian = parts.choices & 64;
	layout.hex_float = parts.choices & 128;
	copybook = tap_copybook_parse(parts.copybook, strlen(parts.copybook), &layout, &error);
	if (copybook != NULL)
		read_all(copybook, &parts);
	else if (error.message[0] == '\0')
		abort();
	tap_copybook_free(copybook);
	free(parts.copybook);
	free(parts.item);
	free(parts.condition);
	free(parts.file);
	return 0;
}

#ifdef TAP_FUZZ_REPLAY
int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		FILE	   *file = fopen(argv[i], "rb");
		uint8_t    *data = malloc(INPUT_LIMIT);
		size_t		size;

		if (file == NULL || data == NULL)
			return 1;
		size = fread(data, 1, INPUT_LIMIT, file);
		fclose(file);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	return 0;
}
#endif
