/*-------------------------------------------------------------------------
 *
 * connectors/file/cobol_format.h
 *	  Records of mainframe files as formats of files.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_COBOL_FORMAT_H
#define TAPDATA_COBOL_FORMAT_H

#include "file_format.h"

/* Records of one length, with RDW, with BDW and RDW, and lines. */
extern const TapFormat tap_format_fixed;
extern const TapFormat tap_format_rdw;
extern const TapFormat tap_format_bdw;
extern const TapFormat tap_format_line_sequential;

/* The values of the options that have a list of them. */
extern const char *const tap_cobol_dialects[];
extern const char *const tap_cobol_forms[];
extern const char *const tap_cobol_lengths[];
extern const char *const tap_cobol_trims[];
extern const char *const tap_cobol_truncations[];
extern const char *const tap_cobol_floats[];
extern const char *const tap_cobol_orders[];
extern const char *const tap_cobol_empties[];
extern const char *const tap_cobol_conditions[];

/* The names of all these options; ends with NULL. */
extern const char *const tap_cobol_option_names[];

/* Checks of options, for TapOption.check. */
extern void tap_cobol_check_code_page(const char *value);
extern void tap_cobol_check_redefines(const char *value);
extern void tap_cobol_check_copybook(const char *value);

/* The options of these formats, for a connector's list; where: TAP_SCOPE_*. */
#define TAP_COBOL_OPTIONS(where) \
	{ \
		.name = "copybook", .type = TAP_OPTION_TEXT, .scope = where, .server_file = true, \
		.check = tap_cobol_check_copybook, \
		.help = "mainframe records: file of the server with the COBOL copybook that describes them" \
	}, \
	{ \
		.name = "copybook_text", .type = TAP_OPTION_TEXT, .scope = where, \
		.help = "mainframe records: text of the copybook, instead of its file" \
	}, \
	{ \
		.name = "copybook_form", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "auto", .values = tap_cobol_forms, \
		.help = "whether the copybook's text is in columns 8 to 72 (fixed) or anywhere (free)" \
	}, \
	{ \
		.name = "code_page", .type = TAP_OPTION_TEXT, .scope = where, \
		.default_value = "IBM1047", .check = tap_cobol_check_code_page, \
		.help = "mainframe records: code page as iconv calls it, such as IBM037, IBM273, IBM939 or ASCII" \
	}, \
	{ \
		.name = "dialect", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "ibm", .values = tap_cobol_dialects, \
		.help = "mainframe records: whose compiler laid them out (sizes, alignment, order of bytes, floating point)" \
	}, \
	{ \
		.name = "record", .type = TAP_OPTION_TEXT, .scope = where, \
		.help = "the one record of level 01 that is wanted; records of other kinds are left out" \
	}, \
	{ \
		.name = "redefines", .type = TAP_OPTION_JSON, .scope = where, \
		.check = tap_cobol_check_redefines, \
		.help = "when a record or a redefining item is there, as {\"ITEM\": \"REC-TYPE = 'B'\"}" \
	}, \
	{ \
		.name = "record_length", .type = TAP_OPTION_INT, .scope = where, \
		.minimum = 1, .maximum = 16777216, \
		.help = "bytes of each record of format fixed; by default those of the copybook" \
	}, \
	{ \
		.name = "rdw_counts_itself", .type = TAP_OPTION_BOOL, .scope = where, \
		.default_value = "true", \
		.help = "whether the length in a record descriptor word has the four bytes of that word in it" \
	}, \
	{ \
		.name = "lengths", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "strict", .values = tap_cobol_lengths, \
		.help = "strict: a record is as long as the copybook says; lenient: what is missing is NULL, what is more is left out" \
	}, \
	{ \
		.name = "truncation", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "std", .values = tap_cobol_truncations, \
		.help = "whether COMP items have the digits of their picture (std) or all values of their bytes (bin), as the compiler's TRUNC" \
	}, \
	{ \
		.name = "float_format", .type = TAP_OPTION_ENUM, .scope = where, .values = tap_cobol_floats, \
		.help = "floating point of COMP-1 and COMP-2; by default that of the dialect" \
	}, \
	{ \
		.name = "byte_order", .type = TAP_OPTION_ENUM, .scope = where, .values = tap_cobol_orders, \
		.help = "order of bytes of COMP-5 and of IEEE floating point; by default that of the dialect" \
	}, \
	{ \
		.name = "odo_slides", .type = TAP_OPTION_BOOL, .scope = where, \
		.help = "whether what follows a table with DEPENDING ON moves up when it is shorter; by default as the dialect does" \
	}, \
	{ \
		.name = "trim", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "right", .values = tap_cobol_trims, \
		.help = "mainframe records: which spaces around texts are left out" \
	}, \
	{ \
		.name = "empty_numbers", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "error", .values = tap_cobol_empties, \
		.help = "mainframe records: what a number is that is all spaces, X'00' or X'FF'" \
	}, \
	{ \
		.name = "conditions", .type = TAP_OPTION_ENUM, .scope = where, \
		.default_value = "comment", .values = tap_cobol_conditions, \
		.help = "level 88 as comments on columns, as columns of their own with the condition's name, or not at all" \
	}

#endif							/* TAPDATA_COBOL_FORMAT_H */
