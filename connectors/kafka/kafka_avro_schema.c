/*-------------------------------------------------------------------------
 *
 * connectors/kafka/kafka_avro_schema.c
 *	  Avro's schemas, compiled.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "kafka_avro_read.h"

#include "json_scan.h"
#include "json_text.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#define MOST_DEPTH		64
#define MOST_PARTS		10000

/* A type with a name, for what refers to it. */
typedef struct NamedType
{
	char	   *name;			/* with its namespace */
	TapAvroNode *node;
} NamedType;

typedef struct AvroParse
{
	List	   *named;			/* of NamedType * */
	int			depth;
} AvroParse;

/* What an object of a schema has in it; kind NULL: not there. */
typedef struct AvroFields
{
	TapJsonValue type;
	TapJsonValue name;
	TapJsonValue namespace;
	TapJsonValue fields;
	TapJsonValue symbols;
	TapJsonValue items;
	TapJsonValue values;
	TapJsonValue size;
	TapJsonValue logical;
	TapJsonValue scale;
	TapJsonValue precision;
	TapJsonValue connect_name;
	TapJsonValue connect_type;
	TapJsonValue parameters;
} AvroFields;

static const char *const primitive_names[] = {
	[TAP_AVRO_NULL] = "null",
	[TAP_AVRO_BOOLEAN] = "boolean",
	[TAP_AVRO_INT] = "int",
	[TAP_AVRO_LONG] = "long",
	[TAP_AVRO_FLOAT] = "float",
	[TAP_AVRO_DOUBLE] = "double",
	[TAP_AVRO_BYTES] = "bytes",
	[TAP_AVRO_STRING] = "string",
};

static TapAvroNode *parse_type(AvroParse *parse, const TapJsonValue *value,
							   const char *namespace);

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("a schema is not one of Avro: %s", what)));
}

static char *
text_of(const TapJsonValue *value)
{
	Size		length;
	const char *text;

	if (value->kind != TAP_JSON_STRING)
		refuse("a name is no string");
	text = tap_json_unescape(value, &length);
	return pnstrdup(text, length);
}

/* A whole number that is a number or a string; 0 if it is none. */
static int64
number_of(const TapJsonValue *value)
{
	char		digits[20] = "";

	if ((value->kind != TAP_JSON_NUMBER && value->kind != TAP_JSON_STRING) ||
		value->length >= sizeof(digits))
		return 0;
	memcpy(digits, value->text, value->length);
	return strtoi64(digits, NULL, 10);
}

static void
read_fields(const TapJsonValue *object, AvroFields *fields)
{
	const struct
	{
		const char *name;
		TapJsonValue *value;
	}			known[] = {
		{"type", &fields->type}, {"name", &fields->name}, {"namespace", &fields->namespace},
		{"fields", &fields->fields}, {"symbols", &fields->symbols}, {"items", &fields->items},
		{"values", &fields->values}, {"size", &fields->size}, {"logicalType", &fields->logical},
		{"scale", &fields->scale}, {"precision", &fields->precision},
		{"connect.name", &fields->connect_name}, {"connect.type", &fields->connect_type},
		{"connect.parameters", &fields->parameters},
	};
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	memset(fields, 0, sizeof(AvroFields));
	tap_json_scan_begin(&scan, object->text, object->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		for (int i = 0; i < lengthof(known); i++)
		{
			if (tap_json_is(&name, known[i].name, strlen(known[i].name)))
				*known[i].value = value;
		}
	}
	if (scan.error != NULL)
		refuse(scan.error);
}

static TapAvroNode *
make_node(TapAvroKind kind)
{
	TapAvroNode *node = palloc0(sizeof(TapAvroNode));

	node->kind = kind;
	return node;
}

static char *
full_name(const char *name, const char *namespace)
{
	if (strchr(name, '.') != NULL || namespace == NULL || namespace[0] == '\0')
		return pstrdup(name);
	return psprintf("%s.%s", namespace, name);
}

static TapAvroNode *
find_named(const AvroParse *parse, const char *name)
{
	ListCell   *cell;

	foreach(cell, parse->named)
	{
		NamedType  *type = lfirst(cell);

		if (strcmp(type->name, name) == 0)
			return type->node;
	}
	return NULL;
}

static TapAvroNode *
parse_name(AvroParse *parse, const TapJsonValue *value, const char *namespace)
{
	char	   *name = text_of(value);
	TapAvroNode *node;

	for (int i = 0; i < lengthof(primitive_names); i++)
	{
		if (strcmp(name, primitive_names[i]) == 0)
			return make_node((TapAvroKind) i);
	}
	node = find_named(parse, full_name(name, namespace));
	if (node == NULL)
		node = find_named(parse, name);
	if (node == NULL)
		refuse(psprintf("type \"%s\" is not known", name));
	return node;
}

static void
add_part(TapAvroNode *node, TapAvroNode *part, char *name)
{
	if (node->nparts >= MOST_PARTS)
		refuse("a type has too many parts");
	if ((node->nparts & (node->nparts - 1)) == 0)
	{
		Size		room = sizeof(void *) * Max(node->nparts * 2, 4);

		node->parts = node->parts ? repalloc(node->parts, room) : palloc(room);
		node->names = node->names ? repalloc(node->names, room) : palloc(room);
	}
	node->parts[node->nparts] = part;
	node->names[node->nparts++] = name;
}

/* Names as they stand in JSON, with what follows. */
static void
set_json_names(TapAvroNode *node, const char *suffix)
{
	node->json_names = palloc(sizeof(char *) * (node->nparts + 1));
	for (int i = 0; i < node->nparts; i++)
	{
		StringInfoData text;

		initStringInfo(&text);
		tap_json_append_cstring(&text, node->names[i]);
		appendStringInfoString(&text, suffix);
		node->json_names[i] = text.data;
	}
}

static void
parse_record(AvroParse *parse, TapAvroNode *node, const TapJsonValue *list,
			 const char *namespace)
{
	TapJsonScan scan;
	TapJsonValue value;

	tap_json_scan_begin(&scan, list->text, list->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
	{
		AvroFields	field;

		if (value.kind != TAP_JSON_OBJECT)
			refuse("a field is no object");
		read_fields(&value, &field);
		add_part(node, parse_type(parse, &field.type, namespace), text_of(&field.name));
	}
	if (scan.error != NULL || list->kind != TAP_JSON_LIST)
		refuse("a record has no list of fields");
	set_json_names(node, ":");
}

static void
parse_symbols(TapAvroNode *node, const TapJsonValue *list)
{
	TapJsonScan scan;
	TapJsonValue value;

	tap_json_scan_begin(&scan, list->text, list->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
		add_part(node, NULL, text_of(&value));
	if (scan.error != NULL || list->kind != TAP_JSON_LIST)
		refuse("an enum has no list of symbols");
	set_json_names(node, "");
}

static TapAvroNode *
parse_union(AvroParse *parse, const TapJsonValue *list, const char *namespace)
{
	TapAvroNode *node = make_node(TAP_AVRO_UNION);
	TapJsonScan scan;
	TapJsonValue value;

	tap_json_scan_begin(&scan, list->text, list->length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_LIST);
	while (tap_json_scan_element(&scan) && tap_json_scan_value(&scan, &value))
	{
		if (value.kind == TAP_JSON_LIST)
			refuse("a union is within a union");
		add_part(node, parse_type(parse, &value, namespace), NULL);
	}
	if (node->nparts == 0)
		refuse("a union has no branches");
	return node;
}

static TapAvroKind
kind_of(const TapJsonValue *type)
{
	static const char *const names[] = {
		[TAP_AVRO_RECORD] = "record",
		[TAP_AVRO_ENUM] = "enum",
		[TAP_AVRO_ARRAY] = "array",
		[TAP_AVRO_MAP] = "map",
		[TAP_AVRO_FIXED] = "fixed",
	};

	for (int i = TAP_AVRO_RECORD; i < lengthof(names); i++)
	{
		if (names[i] != NULL && tap_json_is(type, names[i], strlen(names[i])))
			return (TapAvroKind) i;
	}
	return tap_json_is(type, "error", 5) ? TAP_AVRO_RECORD : TAP_AVRO_NULL;
}

/* What a schema says beside the type, which is for whoever makes columns. */
static void
set_annotations(TapAvroNode *node, const AvroFields *fields)
{
	TapJsonScan scan;
	TapJsonValue name;
	TapJsonValue value;

	node->scale = (int) number_of(&fields->scale);
	node->precision = (int) number_of(&fields->precision);
	if (fields->logical.kind == TAP_JSON_STRING)
		node->logical = text_of(&fields->logical);
	if (fields->connect_name.kind == TAP_JSON_STRING)
		node->connect_name = text_of(&fields->connect_name);
	node->is_int16 = tap_json_is(&fields->connect_type, "int16", 5) || tap_json_is(&fields->connect_type, "int8", 4);
	if (fields->parameters.kind != TAP_JSON_OBJECT)
		return;
	tap_json_scan_begin(&scan, fields->parameters.text, fields->parameters.length);
	(void) tap_json_scan_enter(&scan, TAP_JSON_OBJECT);
	while (tap_json_scan_field(&scan, &name) && tap_json_scan_value(&scan, &value))
	{
		if (tap_json_is(&name, "scale", 5))
			node->scale = (int) number_of(&value);
		else if (tap_json_is(&name, "connect.decimal.precision", 25))
			node->precision = (int) number_of(&value);
		else if (tap_json_is(&name, "length", 6))
			node->length = (int) number_of(&value);
	}
}

static TapAvroNode *
parse_object(AvroParse *parse, const TapJsonValue *object, const char *namespace)
{
	AvroFields	fields;
	TapAvroKind kind;
	TapAvroNode *node;
	NamedType  *named;

	read_fields(object, &fields);
	kind = fields.type.kind == TAP_JSON_STRING ? kind_of(&fields.type) : TAP_AVRO_NULL;
	if (kind == TAP_AVRO_NULL)
	{
		/*
		 * a name or a nested schema, with something more to say of a
		 * primitive
		 */
		node = parse_type(parse, &fields.type, namespace);
		if (node->kind <= TAP_AVRO_STRING && node->logical == NULL && node->connect_name == NULL)
			set_annotations(node, &fields);
		return node;
	}
	node = make_node(kind);
	set_annotations(node, &fields);
	if (kind == TAP_AVRO_ARRAY || kind == TAP_AVRO_MAP)
	{
		add_part(node, parse_type(parse, kind == TAP_AVRO_MAP ? &fields.values : &fields.items, namespace), NULL);
		return node;
	}
	if (fields.namespace.kind == TAP_JSON_STRING)
		namespace = text_of(&fields.namespace);
	named = palloc(sizeof(NamedType));
	named->name = full_name(text_of(&fields.name), namespace);
	named->node = node;
	if (strrchr(named->name, '.') != NULL)
		namespace = pnstrdup(named->name, strrchr(named->name, '.') - named->name);
	parse->named = lappend(parse->named, named);
	if (kind == TAP_AVRO_RECORD)
		parse_record(parse, node, &fields.fields, namespace);
	else if (kind == TAP_AVRO_ENUM)
		parse_symbols(node, &fields.symbols);
	else
	{
		node->size = number_of(&fields.size);
		if (node->size < 0 || fields.size.kind != TAP_JSON_NUMBER)
			refuse("the size of a fixed is no number");
	}
	return node;
}

static TapAvroNode *
parse_type(AvroParse *parse, const TapJsonValue *value, const char *namespace)
{
	TapAvroNode *node = NULL;

	if (++parse->depth > MOST_DEPTH)
		refuse("it is nested too deeply");
	switch (value->kind)
	{
		case TAP_JSON_STRING:
			node = parse_name(parse, value, namespace);
			break;
		case TAP_JSON_LIST:
			node = parse_union(parse, value, namespace);
			break;
		case TAP_JSON_OBJECT:
			node = parse_object(parse, value, namespace);
			break;
		default:
			refuse("a type is missing");
	}
	parse->depth--;
	return node;
}

TapAvroSchema *
tap_avro_parse(const char *text, Size length)
{
	TapAvroSchema *schema = palloc(sizeof(TapAvroSchema));
	AvroParse	parse = {NIL, 0};
	TapJsonScan scan;
	TapJsonValue value;

	tap_json_scan_begin(&scan, text, length);
	if (!tap_json_scan_value(&scan, &value) || !tap_json_scan_end(&scan))
		refuse(scan.error);
	schema->root = parse_type(&parse, &value, NULL);
	return schema;
}
