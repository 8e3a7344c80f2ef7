/*-------------------------------------------------------------------------
 *
 * connectors/http/http_page.c
 *	  Records in the body of an answer: JSON, a JSON text a line, or CSV.
 *
 * NOTES
 *	  JSON is checked as a whole first, for nesting too; its records are then
 *	  read one by one, so that one with a value that cannot be stored, or in a
 *	  wrong encoding, is the fault of that record alone.
 *
 *	  An answer that is no JSON at all is an error of the connection, not of
 *	  the data: another attempt, later, may find a server that is well again.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "http_source.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "decompress.h"
#include "json_text.h"

#define BOM				"\xEF\xBB\xBF"
#define SHOWN_BYTES		8192
#define SNIFFED_BYTES	65536
#define PIECE_BYTES		65536

void
tap_http_page_raise(const char *url, char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the answer of %s makes no sense", url),
			 errdetail("%s", detail),
			 errhint("Check the endpoint's \"path\", \"format\" and \"records\".")));
}

/* ---------------------------------------------------------------------
 * What an answer is
 * ---------------------------------------------------------------------
 */

static bool
has_word(const char *type, const char *word)
{
	return pg_strncasecmp(type, word, strlen(word)) == 0;
}

static TapHttpFormat
sniff(const char *body, Size length)
{
	Size		sample = Min(length, SNIFFED_BYTES);
	Size		start = 0;

	while (start < sample && strchr(" \t\r\n", body[start]) != NULL && body[start] != '\0')
		start++;
	if (start == sample || (body[start] != '{' && body[start] != '['))
		return TAP_HTTP_FORMAT_CSV;
	return tap_json_split_sniff(body + start, sample - start, sample == length) == TAP_JSON_ARRAY ||
		memchr(body + start, '\n', sample - start) == NULL ? TAP_HTTP_FORMAT_JSON :
		TAP_HTTP_FORMAT_AUTO;
}

/* Objects one after the other are lines; one alone is JSON. */
static TapHttpFormat
sniff_objects(const char *body, Size length)
{
	TapHttpJson json;

	tap_http_json_init(&json, body, length);
	return tap_http_json_skip(&json) && !tap_http_json_at_end(&json) ?
		TAP_HTTP_FORMAT_NDJSON : TAP_HTTP_FORMAT_JSON;
}

static TapHttpFormat
format_of(const TapHttpEndpoint *endpoint, const TapHttpPage *page, const char *type)
{
	static const char *const lines[] = {"application/x-ndjson", "application/ndjson",
		"application/jsonl", "application/x-jsonlines", "application/jsonlines",
	"application/json-lines", "text/x-ndjson"};
	TapHttpFormat found;

	if (has_word(type, "text/html") || has_word(type, "application/xhtml"))
		tap_http_page_raise(page->url, "It is a page of HTML, as servers send it to say that one must log in, or that they are being mended.");
	if (endpoint->format != TAP_HTTP_FORMAT_AUTO)
		return endpoint->format;
	for (int i = 0; i < lengthof(lines); i++)
	{
		if (has_word(type, lines[i]))
			return TAP_HTTP_FORMAT_NDJSON;
	}
	if (has_word(type, "text/csv") || has_word(type, "text/tab-separated-values"))
		return TAP_HTTP_FORMAT_CSV;
	if (has_word(type, "application/json") || strstr(type, "+json") != NULL)
		return TAP_HTTP_FORMAT_JSON;
	if (type[0] != '\0' && !page->decompressed && !has_word(type, "text/") &&
		!has_word(type, "application/octet-stream"))
		tap_http_page_raise(page->url, psprintf("Its type is \"%s\", which is none of JSON, NDJSON and CSV.",
												pnstrdup(type, strcspn(type, ";"))));
	found = sniff(page->body, page->length);
	return found == TAP_HTTP_FORMAT_AUTO ? sniff_objects(page->body, page->length) : found;
}

/* By the parameter "charset" of the type. */
static int
encoding_of(const char *type)
{
	const char *charset = strstr(type, "charset=");
	int			encoding;
	char	   *name;

	if (charset == NULL)
		return PG_UTF8;
	charset += strlen("charset=");
	charset += (*charset == '"');
	name = pnstrdup(charset, strcspn(charset, "\"; \t,"));
	encoding = pg_char_to_encoding(name);
	return encoding < 0 || encoding == PG_SQL_ASCII ? PG_UTF8 : encoding;
}

/* ---------------------------------------------------------------------
 * Opening
 * ---------------------------------------------------------------------
 */

/* {"items": null}, as an empty list is written by some. */
static bool
is_null(const TapHttpSlices *found)
{
	return found->nitems == 1 && found->items[0].length == 4 &&
		memcmp(found->items[0].text, "null", 4) == 0;
}

static void
open_json(const TapHttpEndpoint *endpoint, TapHttpPage *page)
{
	const TapHttpPath *path = endpoint->records ? endpoint->records : tap_http_path_compile("$");
	bool		filter_is_last;
	const TapHttpPath *unfiltered = tap_http_path_unfiltered(path, &filter_is_last);
	TapHttpSlices served;
	TapHttpJson json;

	tap_http_json_init(&json, page->body, page->length);
	if (!tap_http_json_skip(&json) || !tap_http_json_at_end(&json))
		tap_http_page_raise(page->url,
							psprintf("It is no JSON, ends too early, or is nested deeper than %d: at byte %zu of %zu.",
									 TAP_HTTP_JSON_DEPTH, (Size) (json.next - page->body), page->length));
	tap_http_path_find(path, page->body, page->length, true, &page->values);

	/*
	 * where a condition is not the path's end, what is before it are no
	 * records
	 */
	served = page->values;
	if (unfiltered != path && filter_is_last)
		tap_http_path_find(unfiltered, page->body, page->length, true, &served);
	page->nserved = is_null(&served) ? 0 : served.nitems;
	page->missing = served.missing && served.nitems == 0;
	if (endpoint->compare && page->missing)
		tap_http_page_raise(page->url, "The path \"records\" leads to nothing in it, and all rows would be deleted.");
}

/* The fields of a record as names. */
static void
take_names(TapHttpPage *page, bool header)
{
	page->nnames = page->csv->nfields;
	page->names = palloc0(sizeof(char *) * Max(page->nnames, 1));
	for (int i = 0; i < page->nnames; i++)
	{
		if (header && page->csv->values[i] != NULL && page->csv->lengths[i] > 0)
			page->names[i] = pnstrdup(page->csv->values[i], page->csv->lengths[i]);
		else
			page->names[i] = psprintf("column%d", i + 1);
	}
}

static void
open_csv(const TapHttpEndpoint *endpoint, TapHttpPage *page, const char *type)
{
	TapCsvDialect dialect = {.delimiter = ',',.quote = '"',.escape = '"',.null_text = ""};
	int			given = TAP_CSV_GIVEN_QUOTE | TAP_CSV_GIVEN_ESCAPE;
	Size		sample = Min(page->length, SNIFFED_BYTES);

	page->body = tap_record_to_server(page->body, &page->length, page->encoding);
	page->encoding = GetDatabaseEncoding();
	if (endpoint->delimiter != '\0' || has_word(type, "text/tab"))
	{
		dialect.delimiter = endpoint->delimiter ? endpoint->delimiter : '\t';
		given |= TAP_CSV_GIVEN_DELIMITER;
	}
	if (endpoint->header_given)
	{
		dialect.header = endpoint->header;
		given |= TAP_CSV_GIVEN_HEADER;
	}
	if (endpoint->null_text != NULL)
		dialect.null_text = endpoint->null_text;
	sample = Min(page->length, SNIFFED_BYTES);
	tap_csv_sniff(&dialect, given, page->body, sample, sample == page->length);
	page->csv = tap_csv_make(&dialect);
}

/* A file that is compressed by itself, whatever the server says of it. */
static void
decompress(const TapHttpEndpoint *endpoint, TapHttpPage *page)
{
	TapCompression compression = tap_compression_of(page->body, page->length);
	TapDecompress *state;
	StringInfoData out;
	Size		taken = 0;

	if (compression == TAP_COMPRESSION_NONE)
		return;
	state = tap_decompress_make(compression, 0);
	initStringInfo(&out);
	for (;;)
	{
		Size		used;
		Size		written;

		enlargeStringInfo(&out, PIECE_BYTES);
		tap_decompress_run(state, page->body + taken, page->length - taken, &used,
						   out.data + out.len, PIECE_BYTES, &written);
		taken += used;
		out.len += written;
		if ((Size) out.len > endpoint->max_page_bytes)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the answer of %s is too long", page->url),
					 errdetail("It has more than %zu bytes when it is decompressed.",
							   endpoint->max_page_bytes),
					 errhint("Allow more with the connection's option \"max_page_bytes\".")));
		if (used == 0 && written == 0)
			break;
	}
	if (!tap_decompress_complete(state))
		tap_http_page_raise(page->url, "It is compressed, and ends too early.");
	out.data[out.len] = '\0';
	page->body = out.data;
	page->length = out.len;
	page->decompressed = true;
}

static void
fill_page(const TapHttpEndpoint *endpoint, TapHttpPage *page, const TapHttpAnswer *answer)
{
	char	   *type = tap_http_answer_header(answer, "Content-Type");

	if (type == NULL)
		type = "";
	page->body = answer->body;
	page->length = answer->length;
	decompress(endpoint, page);
	if (page->length >= 3 && memcmp(page->body, BOM, 3) == 0)
	{
		page->body += 3;
		page->length -= 3;
	}
	page->encoding = encoding_of(type);
	page->format = (answer->status == 204) ? TAP_HTTP_FORMAT_NDJSON :
		format_of(endpoint, page, type);
	if (page->format == TAP_HTTP_FORMAT_JSON)
		open_json(endpoint, page);
	else if (page->format == TAP_HTTP_FORMAT_CSV)
		open_csv(endpoint, page, type);
	else
		tap_json_split_begin(&page->split, TAP_JSON_LINES);
}

/* What is wrong with an answer as a whole is no fault of a row. */
static void
raise_as_senseless(const TapHttpPage *page, MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
		PG_RE_THROW();
	FlushErrorState();
	tap_http_page_raise(page->url, edata->message);
}

TapHttpPage *
tap_http_page_open(const TapHttpEndpoint *endpoint, const char *url,
				   const TapHttpAnswer *answer, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "tapdata http page",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();
	TapHttpPage *page;

	if (own_transaction)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
	page = palloc0(sizeof(TapHttpPage));
	page->context = context;
	page->url = pstrdup(url);
	PG_TRY();
	{
		fill_page(endpoint, page, answer);
	}
	PG_CATCH();
	{
		raise_as_senseless(page, context);
	}
	PG_END_TRY();
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	return page;
}

void
tap_http_page_close(TapHttpPage *page)
{
	if (page != NULL)
		MemoryContextDelete(page->context);
}

/* ---------------------------------------------------------------------
 * Records
 * ---------------------------------------------------------------------
 */

/* Behind the record read last, at what is no blank line. */
static void
move_on(TapHttpPage *page)
{
	if (page->failed && page->taken == 0 && page->format != TAP_HTTP_FORMAT_JSON)
		tap_http_page_raise(page->url, psprintf("What follows byte %zu cannot be made sense of.",
												page->offset));
	page->offset += page->taken;
	page->taken = 0;
	while (page->offset < page->length &&
		   (page->body[page->offset] == '\n' || page->body[page->offset] == '\r'))
		page->offset++;
}

static bool
next_line(TapHttpPage *page)
{
	for (;;)
	{
		const char *value;
		Size		length;

		move_on(page);
		page->failed = true;
		switch (tap_json_split_next(&page->split, page->body + page->offset,
									page->length - page->offset, true, page->length + 1,
									&value, &length, &page->taken))
		{
			case TAP_JSON_SPLIT_VALUE:
				page->raw.text = value;
				page->raw.length = length;
				page->nrecords++;
				return true;
			case TAP_JSON_SPLIT_SKIP:
				page->failed = false;
				break;
			default:
				page->failed = false;
				return false;
		}
	}
}

static bool
next_fields(TapHttpPage *page)
{
	for (;;)
	{
		move_on(page);
		page->failed = true;
		switch (tap_csv_next(page->csv, page->body + page->offset,
							 page->length - page->offset, true, page->length + 1, &page->taken))
		{
			case TAP_CSV_RECORD:
				page->nrecords++;
				return true;
			case TAP_CSV_EMPTY:
				page->failed = false;
				break;
			default:
				page->failed = false;
				return false;
		}
	}
}

static bool
next_value(TapHttpPage *page)
{
	if ((Size) page->nrecords >= page->values.nitems)
		return false;
	page->raw = page->values.items[page->nrecords++];
	return true;
}

/* The first record of CSV gives the names, or at least their number. */
static bool
read_names(TapHttpPage *page)
{
	MemoryContext before;
	bool		header = page->csv->dialect.header;

	if (!next_fields(page))
		return false;
	before = MemoryContextSwitchTo(page->context);
	take_names(page, header);
	MemoryContextSwitchTo(before);
	if (header)
	{
		page->nrecords--;
		return next_fields(page);
	}
	return true;
}

bool
tap_http_page_next(TapHttpPage *page)
{
	bool		found;

	if (page->format == TAP_HTTP_FORMAT_CSV)
		found = page->names == NULL ? read_names(page) : next_fields(page);
	else
		found = page->format == TAP_HTTP_FORMAT_JSON ? next_value(page) : next_line(page);
	page->failed = false;
	return found;
}

void
tap_http_page_convert(TapHttpPage *page)
{
	if (page->format == TAP_HTTP_FORMAT_CSV)
		return;
	page->record.length = page->raw.length;
	page->record.text = tap_record_to_server(page->raw.text, &page->record.length, page->encoding);
}

const char *
tap_http_page_raw(const TapHttpPage *page, Size *length)
{
	Size		start = Min(page->offset, page->length);

	if (page->format == TAP_HTTP_FORMAT_JSON)
	{
		*length = page->raw.text ? page->raw.length : 0;
		return page->raw.text ? page->raw.text : "";
	}
	*length = Min(page->taken, page->length - start);
	return page->body + start;
}

TapHttpPage *
tap_http_page_fork(const TapHttpPage *page)
{
	TapHttpPage *fork = palloc(sizeof(TapHttpPage));

	*fork = *page;
	fork->failed = false;
	fork->taken = 0;
	fork->nrecords = Max(page->nrecords - 1, 0);
	if (page->csv != NULL)
	{
		TapCsvDialect dialect = page->csv->dialect;

		/* they were read already */
		if (page->names != NULL)
		{
			dialect.header = false;
			dialect.skip_lines = 0;
		}
		fork->csv = tap_csv_make(&dialect);
	}
	else if (page->format == TAP_HTTP_FORMAT_NDJSON)
		tap_json_split_begin(&fork->split, TAP_JSON_LINES);
	return fork;
}

static bool
is_sound(const TapHttpPage *page)
{
	TapHttpJson json;

	tap_http_json_init(&json, page->raw.text, page->raw.length);
	return tap_http_json_peek(&json) == '{' && tap_http_json_skip(&json) &&
		tap_http_json_at_end(&json) &&
		pg_verify_mbstr(page->encoding, page->raw.text, page->raw.length, true) &&
		strstr(pnstrdup(page->raw.text, page->raw.length), "\\u0000") == NULL;
}

bool
tap_http_page_next_sound(TapHttpPage *page)
{
	if (page->format == TAP_HTTP_FORMAT_CSV)
		return tap_http_page_next(page);
	while (page->format == TAP_HTTP_FORMAT_JSON ? next_value(page) : next_line(page))
	{
		page->failed = false;
		if (!is_sound(page))
			continue;
		tap_http_page_convert(page);
		return true;
	}
	return false;
}

bool
tap_http_page_has_more(TapHttpPage *page)
{
	if (page->format == TAP_HTTP_FORMAT_JSON)
		return (Size) page->nrecords < page->values.nitems;
	move_on(page);
	return page->offset < page->length;
}

char *
tap_http_page_describe(const TapHttpPage *page)
{
	StringInfoData out;
	char	   *copy;
	Size		length;
	const char *text = tap_http_page_raw(page, &length);

	length = Min(length, SHOWN_BYTES);
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"url\":");
	tap_json_append_cstring(&out, page->url);
	appendStringInfo(&out, ",\"record\":" INT64_FORMAT, page->nrecords);
	if (page->format != TAP_HTTP_FORMAT_JSON)
		appendStringInfo(&out, ",\"byte\":%zu", page->offset);
	appendStringInfoString(&out, ",\"data\":");

	/* it may be of another encoding, or none: then only its ASCII is shown */
	copy = palloc(length + 1);
	memcpy(copy, text, length);
	if (GetDatabaseEncoding() != PG_UTF8 || !pg_verify_mbstr(PG_UTF8, copy, length, true))
	{
		for (char *c = copy; c < copy + length; c++)
			*c = IS_HIGHBIT_SET(*c) || *c == '\0' ? '?' : *c;
	}
	tap_json_append_string(&out, copy, length);
	appendStringInfoChar(&out, '}');
	return out.data;
}
