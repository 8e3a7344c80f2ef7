/*-------------------------------------------------------------------------
 *
 * test/fuzz/records_fuzz.c
 *	  Fuzz target for what takes records apart: JSON, CSV, Avro, Debezium's
 *	  envelope, and the schemas of all of them.
 *
 * NOTES
 *	  The first byte of an input says what it is, the second how CSV and splits
 *	  are cut into pieces; the rest is the text, in memory of exactly its size.
 *	  Avro is decoded by a schema that has all types in it.
 *
 *	  Built with -DTAP_FUZZ_REPLAY it has a main function of its own that reads
 *	  files, for compilers without libFuzzer; without a file it takes inputs
 *	  that it makes up, from a seed.
 *
 *-------------------------------------------------------------------------
 */
#include "server_shim_text.h"

#include "csv.h"
#include "json_scan.h"
#include "json_split.h"
#include "kafka_avro_read.h"
#include "kafka_read.h"

#define INPUT_LIMIT ((size_t) 1024 * 1024)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for any input; a failure is a finding. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static const char all_types[] =
"{\"type\":\"record\",\"name\":\"r\",\"fields\":["
"{\"name\":\"a\",\"type\":[\"null\",\"int\",\"string\",\"r\"]},"
"{\"name\":\"b\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"long\",\"bytes\"]}},"
"{\"name\":\"c\",\"type\":{\"type\":\"map\",\"values\":\"boolean\"}},"
"{\"name\":\"d\",\"type\":{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"x\",\"y\"]}},"
"{\"name\":\"e\",\"type\":{\"type\":\"fixed\",\"name\":\"f\",\"size\":3}},"
"{\"name\":\"g\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},"
"{\"name\":\"h\",\"type\":\"float\"},{\"name\":\"i\",\"type\":\"double\"}]}";

static volatile char sink;

/* No catalog is there. */
Oid
get_array_type(Oid type)
{
	return type + 1;
}

static void
use_bytes(const char *bytes, Size length)
{
	for (Size i = 0; i < length; i++)
		sink = bytes[i];
}

static void
fuzz_json(const char *text, Size length)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	tap_json_scan_begin(&scan, text, length);
	if (tap_json_scan_enter(&scan, TAP_JSON_OBJECT))
	{
		while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
		{
			Size		plain;
			const char *unescaped;

			REQUIRE(value.text >= text && value.text + value.length <= text + length);
			if (value.kind == TAP_JSON_STRING)
			{
				unescaped = tap_json_unescape(&value, &plain);
				use_bytes(unescaped, plain);
			}
		}
		REQUIRE(scan.next <= scan.end);
	}
	REQUIRE(tap_json_scan_end(&scan) == (scan.error == NULL));
}

static void
fuzz_split(const char *text, Size length, int mode, Size window)
{
	TapJsonSplit split;
	Size		at = 0;
	Size		have = Min(window, length);

	tap_json_split_begin(&split, mode < 0 ? tap_json_split_sniff(text, length, true) : (TapJsonLayout) mode);
	for (;;)
	{
		const char *value;
		Size		value_length;
		Size		taken;
		TapJsonSplitResult result = tap_json_split_next(&split, text + at, have, at + have == length,
														4096, &value, &value_length, &taken);

		if (result == TAP_JSON_SPLIT_END)
			break;
		if (result == TAP_JSON_SPLIT_MORE)
		{
			REQUIRE(at + have < length);
			have = Min(have + window, length - at);
			continue;
		}
		REQUIRE(taken > 0 && taken <= have);
		if (result == TAP_JSON_SPLIT_VALUE)
			use_bytes(value, value_length);
		at += taken;
		have = Min(window, length - at);
	}
}

static void
fuzz_csv(const char *text, Size length, Size window)
{
	TapCsvDialect dialect = {',', '"', '"', "", false, 0};
	TapCsv	   *csv;
	Size		at = 0;
	Size		have = Min(window, length);

	tap_csv_sniff(&dialect, 0, text, length, true);
	csv = tap_csv_make(&dialect);
	for (;;)
	{
		Size		taken;
		TapCsvResult result = tap_csv_next(csv, text + at, have, at + have == length, 4096, &taken);

		if (result == TAP_CSV_END)
			break;
		if (result == TAP_CSV_MORE)
		{
			REQUIRE(at + have < length);
			have = Min(have + window, length - at);
			continue;
		}
		REQUIRE(taken > 0 && taken <= have && csv->nfields > 0);
		for (int i = 0; i < csv->nfields; i++)
		{
			if (csv->values[i] != NULL)
				use_bytes(csv->values[i], csv->lengths[i]);
		}
		at += taken;
		have = Min(window, length - at);
	}
}

static void
fuzz_avro(const char *bytes, Size length)
{
	TapAvroSchema *schema = tap_avro_parse(all_types, strlen(all_types));
	TapJsonScan scan;
	TapJsonValue value;
	const char *text = tap_avro_to_json(schema, bytes, &length);

	/* whatever the bytes were, what comes of them is JSON */
	tap_json_scan_begin(&scan, text, length);
	REQUIRE(tap_json_scan_value(&scan, &value) && tap_json_scan_end(&scan));
}

/* A schema, and a few bytes by it. */
static void
fuzz_avro_schema(const char *text, Size length)
{
	TapAvroSchema *schema = tap_avro_parse(text, length);
	Size		count = 16;

	use_bytes(tap_avro_to_json(schema, "\2\2\2\2\0\0\0\0\0\0\0\0\0\0\0\0", &count), count);
}

static void
use_columns(const TapRecordColumns *columns)
{
	for (int i = 0; columns != NULL && i < columns->ncolumns; i++)
		use_bytes(columns->columns[i].field, strlen(columns->columns[i].field));
}

static void
fuzz_envelope(const char *text, Size length)
{
	TapKafkaEnvelope envelope;
	TapJsonValue whole = {TAP_JSON_OBJECT, false, false, text, length};

	use_columns(tap_kafka_connect_columns(&whole, "after"));
	use_columns(tap_kafka_connect_columns(&whole, NULL));
	use_columns(tap_kafka_json_schema_columns(&whole, NULL));
	tap_kafka_read_key_payload(text, length, &envelope);
	tap_kafka_read_envelope(text, length, &envelope);
	use_bytes(envelope.before.text, envelope.before.length);
	use_bytes(envelope.after.text, envelope.after.length);
	REQUIRE(envelope.op == '\0' || strchr("cudrtms", envelope.op) != NULL);
	if (envelope.schema.kind == TAP_JSON_OBJECT)
		use_columns(tap_kafka_connect_columns(&envelope.schema, "after"));
}

static void
run(int kind, int cut, const char *text, Size length)
{
	switch (kind % 7)
	{
		case 0:
			fuzz_json(text, length);
			break;
		case 1:
			fuzz_split(text, length, cut % 4 - 1, 1 + cut / 4);
			break;
		case 2:
			fuzz_csv(text, length, 1 + cut);
			break;
		case 3:
			fuzz_avro(text, length);
			break;
		case 4:
			fuzz_avro_schema(text, length);
			break;
		case 5:
			fuzz_envelope(text, length);
			break;
		default:
			fuzz_csv(text, length, length + 1);
			break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text;

	if (size < 2)
		return 0;
	text = malloc(size - 2 ? size - 2 : 1);
	memcpy(text, data + 2, size - 2);
	PG_TRY();
	{
		run(data[0], data[1], text, size - 2);
	}
	PG_CATCH();
	{
		REQUIRE(ERRCODE_TO_CATEGORY(shim_sqlstate) == ERRCODE_DATA_EXCEPTION ||
				shim_sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED);
	}
	PG_END_TRY();
	shim_reset();
	free(text);
	return 0;
}

#ifdef TAP_FUZZ_REPLAY

/* Inputs that are near to what is right. */
static void
run_made_up(unsigned int seed, int count)
{
	static const char *const seeds[] = {
		"{\"a\":[1.5e3,true,null,\"x\\u00e4\\n\"],\"b\":{\"c\":false}}",
		"[{\"a\":1},{\"b\":\"]\"} , 2]", "{\"a\":1}\n{\"b\":2}\n",
		"a,b,c\n1,\"x \"\"y\"\"\",3\r\n;;\n", "\2\2\4\2\4ab\0\2\2k\1\0\2abc\4\0\1\2\3\4\1\2\3\4\5\6\7\10",
		all_types, "{\"type\":\"enum\",\"name\":\"e\"}",
		"{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"struct\",\"field\":\"after\",\"fields\":[{\"type\":\"int32\","
		"\"field\":\"a\"}]}]},\"payload\":{\"op\":\"c\",\"before\":null,\"after\":{\"a\":1}}}",
		"{\"type\":\"object\",\"properties\":{\"a\":{\"oneOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}]}}}",
	};

	srand(seed);
	for (int i = 0; i < count; i++)
	{
		const char *text = seeds[rand() % lengthof(seeds)];
		size_t		length = Max(strlen(text), 30);
		uint8_t		input[4096] = {0};

		memcpy(input + 2, text, strlen(text));
		input[0] = (uint8_t) rand();
		input[1] = (uint8_t) rand();
		for (int j = rand() % 6; j > 0; j--)
			input[2 + rand() % length] = (uint8_t) (rand() % 3 ? text[rand() % strlen(text)] : rand());
		(void) LLVMFuzzerTestOneInput(input, 2 + (rand() % 4 ? strlen(text) : (size_t) rand() % length));
	}
}

int
main(int argc, char **argv)
{
	uint8_t    *data = malloc(INPUT_LIMIT);

	if (argc < 2)
		run_made_up(1, 200000);
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
