/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_options.c
 *	  Options of mainframe files.
 *
 * NOTES
 *	  A definition is all options that are given with the text of the
 *	  copybook: for each a line with its name and the number of bytes of its
 *	  value, the value, and a line's end.  So a table keeps the columns that it
 *	  has, whatever becomes of the copybook's file.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "cobol_plan.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json_scan.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"

const char *const tap_cobol_dialects[] = {"ibm", "gnucobol", "microfocus", NULL};
const char *const tap_cobol_forms[] = {"auto", "fixed", "free", NULL};
const char *const tap_cobol_lengths[] = {"strict", "lenient", NULL};
const char *const tap_cobol_trims[] = {"right", "both", "none", NULL};
const char *const tap_cobol_truncations[] = {"std", "bin", NULL};
const char *const tap_cobol_floats[] = {"ibm", "ieee", NULL};
const char *const tap_cobol_orders[] = {"big", "little", NULL};
const char *const tap_cobol_empties[] = {"error", "null", NULL};
const char *const tap_cobol_conditions[] = {"comment", "label", "none", NULL};

/* In the order of tap_cobol_option_names. */
typedef enum Setting
{
	SETTING_COPYBOOK,
	SETTING_COPYBOOK_TEXT,
	SETTING_COPYBOOK_FORM,
	SETTING_CODE_PAGE,
	SETTING_DIALECT,
	SETTING_RECORD,
	SETTING_REDEFINES,
	SETTING_RECORD_LENGTH,
	SETTING_RDW_COUNTS_ITSELF,
	SETTING_LENGTHS,
	SETTING_TRUNCATION,
	SETTING_FLOAT_FORMAT,
	SETTING_BYTE_ORDER,
	SETTING_ODO_SLIDES,
	SETTING_TRIM,
	SETTING_EMPTY_NUMBERS,
	SETTING_CONDITIONS,
	SETTING_COUNT
} Setting;

const char *const tap_cobol_option_names[] = {
	"copybook", "copybook_text", "copybook_form", "code_page", "dialect", "record", "redefines",
	"record_length", "rdw_counts_itself", "lengths", "truncation", "float_format", "byte_order",
	"odo_slides", "trim", "empty_numbers", "conditions", NULL
};

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

void
tap_cobol_check_code_page(const char *value)
{
	TapCodePage *page = tap_code_page_open(value);

	if (page == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a code page that records can be read in", value),
				 errhint("The server's \"iconv -l\" lists names; examples are IBM037, IBM273, IBM1047, IBM939 and ASCII.")));
	tap_code_page_close(page);
}

void
tap_cobol_check_copybook(const char *value)
{
	if (!is_absolute_path(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not an absolute path", value),
				 errhint("Name the copybook's file from the root of the server's file system.")));
}

static void
report_redefines(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"redefines\" is not valid"),
			 errhint("Give an object such as {\"RECORD-B\": \"REC-TYPE = 'B'\", \"AMOUNT-X\": true}.")));
}

/* Names and conditions of the option; returns how many. */
static int
read_redefines(const char *json, const char ***names, const char ***conditions)
{
	TapJsonScan scan;
	TapJsonValue key;
	TapJsonValue value;
	int			allocated = 8;
	int			count = 0;

	*names = palloc(sizeof(char *) * allocated);
	*conditions = palloc(sizeof(char *) * allocated);
	tap_json_scan_begin(&scan, json, strlen(json));
	if (!tap_json_scan_enter(&scan, TAP_JSON_OBJECT))
		report_redefines();
	while (tap_json_scan_field(&scan, &key))
	{
		Size		length;
		const char *text;

		if (!tap_json_scan_value(&scan, &value) ||
			(value.kind != TAP_JSON_STRING && value.kind != TAP_JSON_TRUE))
			report_redefines();
		if (count == allocated)
		{
			allocated *= 2;
			*names = repalloc(*names, sizeof(char *) * allocated);
			*conditions = repalloc(*conditions, sizeof(char *) * allocated);
		}
		text = tap_json_unescape(&key, &length);
		(*names)[count] = pnstrdup(text, length);
		if (value.kind == TAP_JSON_TRUE)
			(*conditions)[count++] = "true";
		else
		{
			text = tap_json_unescape(&value, &length);
			(*conditions)[count++] = pnstrdup(text, length);
		}
	}
	if (scan.error != NULL)
		report_redefines();
	return count;
}

void
tap_cobol_check_redefines(const char *value)
{
	const char **names;
	const char **conditions;

	(void) read_redefines(value, &names, &conditions);
}

/* ---------------------------------------------------------------------
 * The copybook's file
 * ---------------------------------------------------------------------
 */

static void
report_file(const char *path, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("copybook \"%s\" cannot be read", path),
			 errdetail_internal("%s", detail)));
}

/* What is not text of the database's encoding can only be in comments. */
static void
mend_encoding(char *text, Size length)
{
	if (pg_verify_mbstr(GetDatabaseEncoding(), text, length, true))
		return;
	for (Size i = 0; i < length; i++)
	{
		if (IS_HIGHBIT_SET(text[i]) || text[i] == '\0')
			text[i] = '?';
	}
}

static const char *
read_copybook(const char *path)
{
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY | O_NONBLOCK);
	struct stat status;
	char	   *text;
	Size		length = 0;
	ssize_t		got;

	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open copybook \"%s\": %m", path),
				 errhint("The server's operating system user must be able to read it.")));
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		report_file(path, "It is no regular file.");
	if (status.st_size > TAP_COPYBOOK_MOST_BYTES)
		report_file(path, "It is larger than 4 MB.");
	text = palloc(status.st_size + 1);
	while (length < status.st_size && (got = read(fd, text + length, status.st_size - length)) > 0)
		length += got;
	CloseTransientFile(fd);
	text[length] = '\0';
	mend_encoding(text, length);
	return text;
}

/* ---------------------------------------------------------------------
 * Definitions
 * ---------------------------------------------------------------------
 */

char *
tap_cobol_define(const TapCobolSettings *settings)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		if (settings->values[i] != NULL && i != SETTING_COPYBOOK)
			appendStringInfo(&text, "%s %zu\n%s\n", tap_cobol_option_names[i],
							 strlen(settings->values[i]), settings->values[i]);
	}
	return text.data;
}

/* One option of a definition; returns what is behind it, NULL: no such thing. */
static const char *
read_defined(const char **values, const char *text)
{
	const char *blank = strchr(text, ' ');
	const char *left = text + strlen(text);
	char	   *end;
	unsigned long length;

	if (blank == NULL)
		return NULL;
	length = strtoul(blank + 1, &end, 10);
	if (*end != '\n' || length >= left - end)
		return NULL;
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		if (strlen(tap_cobol_option_names[i]) == blank - text &&
			strncmp(tap_cobol_option_names[i], text, blank - text) == 0)
			values[i] = pnstrdup(end + 1, length);
	}
	return end[1 + length] == '\n' ? end + length + 2 : NULL;
}

static void
take_definition(const char **values, const char *definition)
{
	while (definition != NULL && *definition != '\0')
		definition = read_defined(values, definition);
	if (definition == NULL || values[SETTING_COPYBOOK_TEXT] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("definition of a table of mainframe records is not understood"),
				 errhint("Was it made by another version?  Call tapdata.resync().")));
}

static void
take_options(const char **values, TapFormatOption option, void *arg)
{
	for (int i = 0; i < SETTING_COUNT; i++)
	{
		const char *value = option(arg, tap_cobol_option_names[i]);

		values[i] = value != NULL ? pstrdup(value) : NULL;
	}
	if ((values[SETTING_COPYBOOK] == NULL) == (values[SETTING_COPYBOOK_TEXT] == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mainframe records need one copybook"),
				 errhint("Name its file with the option \"copybook\", or give its text with \"copybook_text\".")));
	if (values[SETTING_COPYBOOK] != NULL)
	{
		tap_cobol_check_copybook(values[SETTING_COPYBOOK]);
		values[SETTING_COPYBOOK_TEXT] = read_copybook(values[SETTING_COPYBOOK]);
	}
}

/* ---------------------------------------------------------------------
 * Meaning
 * ---------------------------------------------------------------------
 */

static int
find_value(const char *const *list, const char *value, Setting setting, int missing)
{
	if (value == NULL)
		return missing;
	for (int i = 0; list[i] != NULL; i++)
	{
		if (strcmp(list[i], value) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a value of option \"%s\"", value, tap_cobol_option_names[setting]),
			 errhint("The options are listed in doc/options.md.")));
	return missing;
}

static bool
bool_value(const char *value, Setting setting, bool missing)
{
	bool		result = missing;

	if (value != NULL && !parse_bool(value, &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be true or false", tap_cobol_option_names[setting])));
	return result;
}

static uint32
length_value(const char *value)
{
	char	   *end;
	unsigned long length;

	if (value == NULL)
		return 0;
	length = strtoul(value, &end, 10);
	if (*end != '\0' || length < 1 || length > TAP_COPYBOOK_MOST_RECORD)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"record_length\" must be between 1 and %d", TAP_COPYBOOK_MOST_RECORD)));
	return length;
}

/* A dialect sets what is not given. */
static void
set_layout(TapCobolSettings *settings)
{
	const char **values = settings->values;
	int			dialect = find_value(tap_cobol_dialects, values[SETTING_DIALECT], SETTING_DIALECT, 0);
	bool		ibm = dialect == 0;

	settings->layout.form = (TapCopybookForm) find_value(tap_cobol_forms, values[SETTING_COPYBOOK_FORM], SETTING_COPYBOOK_FORM, 0);
	settings->layout.binary_size = ibm ? TAP_BINARY_2_4_8 :
		dialect == 1 ? TAP_BINARY_1_2_4_8 : TAP_BINARY_1_TO_8;
	settings->layout.align_8 = !ibm;
	settings->layout.little_endian =
		find_value(tap_cobol_orders, values[SETTING_BYTE_ORDER], SETTING_BYTE_ORDER, ibm ? 0 : 1) == 1;
	settings->layout.hex_float =
		find_value(tap_cobol_floats, values[SETTING_FLOAT_FORMAT], SETTING_FLOAT_FORMAT, ibm ? 0 : 1) == 0;
	settings->wish.slides = bool_value(values[SETTING_ODO_SLIDES], SETTING_ODO_SLIDES, ibm);
}

void
tap_cobol_settings_take(TapCobolSettings *settings, TapFormatOption option, void *arg,
						const char *definition)
{
	const char **values = palloc0(sizeof(char *) * SETTING_COUNT);
	int			conditions;

	if (definition != NULL)
		take_definition(values, definition);
	else
		take_options(values, option, arg);
	memset(settings, 0, sizeof(*settings));
	settings->values = values;
	set_layout(settings);
	if (values[SETTING_REDEFINES] != NULL)
	{
		const char **names;
		const char **tests;

		settings->wish.nredefines = read_redefines(values[SETTING_REDEFINES], &names, &tests);
		settings->wish.redefines = names;
		settings->wish.conditions = tests;
	}
	settings->wish.record = values[SETTING_RECORD];
	settings->wish.whole_range =
		find_value(tap_cobol_truncations, values[SETTING_TRUNCATION], SETTING_TRUNCATION, 0) == 1;
	conditions = find_value(tap_cobol_conditions, values[SETTING_CONDITIONS], SETTING_CONDITIONS, 0);
	settings->comments = conditions == 0;
	settings->wish.labels = conditions == 1;
	settings->trim = (TapCobolTrim) find_value(tap_cobol_trims, values[SETTING_TRIM], SETTING_TRIM, 0);
	settings->lenient = find_value(tap_cobol_lengths, values[SETTING_LENGTHS], SETTING_LENGTHS, 0) == 1;
	settings->empty_is_null = find_value(tap_cobol_empties, values[SETTING_EMPTY_NUMBERS], SETTING_EMPTY_NUMBERS, 0) == 1;
	settings->counts_itself = bool_value(values[SETTING_RDW_COUNTS_ITSELF], SETTING_RDW_COUNTS_ITSELF, true);
	settings->record_length = length_value(values[SETTING_RECORD_LENGTH]);
	settings->copybook = values[SETTING_COPYBOOK_TEXT];
	settings->code_page = values[SETTING_CODE_PAGE] ? values[SETTING_CODE_PAGE] : "IBM1047";
}
