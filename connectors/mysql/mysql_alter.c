/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_alter.c
 *	  ALTER TABLE applied to a known format.
 *
 * Where the log carries no column names, an ALTER TABLE in it is the only
 * word about which columns the rows behind it have: information_schema may
 * already show a later format.  Clauses about columns are applied, others
 * are passed over; what is not understood makes the result incomplete.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "mysql_ddl.h"

#include "utils/builtins.h"

typedef struct AlterState
{
	TapSession *session;
	TapMysqlLexer *lexer;
	const TapMysqlTable *before;
	const TapMysqlTable *present;
	List	   *columns;		/* of TapMysqlColumn * */
	List	   *key;			/* names of the key's columns, char * */
	TapMysqlAlter *alter;
} AlterState;

/* Other names of types, and the name that information_schema uses. */
static const struct
{
	const char *synonym;
	const char *type;
}			synonyms[] =

{
	{"integer", "int"}, {"int1", "tinyint"}, {"int2", "smallint"},
	{"int3", "mediumint"}, {"middleint", "mediumint"}, {"int4", "int"},
	{"int8", "bigint"}, {"bool", "tinyint"}, {"boolean", "tinyint"},
	{"dec", "decimal"}, {"numeric", "decimal"}, {"fixed", "decimal"},
	{"number", "decimal"}, {"real", "double"}, {"float4", "float"},
	{"float8", "double"}, {"character", "char"}, {"nchar", "char"},
	{"varcharacter", "varchar"}, {"varchar2", "varchar"}, {"nvarchar", "varchar"},
	{"long", "mediumtext"}, {"clob", "longtext"}, {"raw", "varbinary"},
	{"serial", "bigint"}
};

static const char *
type_name(const char *word)
{
	char	   *lower = pstrdup(word);

	for (char *p = lower; *p; p++)
		*p = (char) pg_tolower((unsigned char) *p);
	for (int i = 0; i < lengthof(synonyms); i++)
		if (strcmp(synonyms[i].synonym, lower) == 0)
			return synonyms[i].type;
	return lower;
}

static int
find_column(List *columns, const char *name)
{
	for (int i = 0; i < list_length(columns); i++)
		if (pg_strcasecmp(((TapMysqlColumn *) list_nth(columns, i))->name, name) == 0)
			return i;
	return -1;
}

static const TapMysqlColumn *
present_column(const AlterState *state, const char *name)
{
	if (state->present == NULL)
		return NULL;
	for (int i = 0; i < state->present->ncolumns; i++)
		if (pg_strcasecmp(state->present->columns[i].name, name) == 0)
			return &state->present->columns[i];
	return NULL;
}

/* Go to the end of the clause: its comma, or what closes a list around it. */
static void
skip_clause(TapMysqlLexer *lexer)
{
	while (lexer->token.kind != TAP_MYSQL_TOKEN_END)
	{
		if (tap_mysql_lexer_is_sign(lexer, '('))
			tap_mysql_lexer_skip_parentheses(lexer);
		else if (tap_mysql_lexer_is_sign(lexer, ',') ||
				 tap_mysql_lexer_is_sign(lexer, ')'))
			return;
		else
			tap_mysql_lexer_next(lexer);
	}
}

/* ---------------------------------------------------------------------
 * The definition of a column
 * ---------------------------------------------------------------------
 */

/* The type's name and what stands in parentheses behind it. */
static void
read_type(AlterState *state, TapMysqlColumn *column)
{
	TapMysqlLexer *lexer = state->lexer;
	bool		is_boolean = tap_mysql_lexer_is(lexer, "BOOL") ||
	tap_mysql_lexer_is(lexer, "BOOLEAN");
	char	   *word;

	(void) tap_mysql_lexer_accept(lexer, "NATIONAL");
	word = tap_mysql_lexer_name(lexer);
	column->type = pstrdup(type_name(word ? word : ""));
	if (tap_mysql_lexer_accept(lexer, "VARYING"))
		column->type = "varchar";
	(void) tap_mysql_lexer_accept(lexer, "PRECISION");
	column->column_type = column->type;
	if (tap_mysql_lexer_is_sign(lexer, '('))
	{
		const char *open = lexer->token.start;
		const char *end = open;

		while (lexer->token.kind != TAP_MYSQL_TOKEN_END &&
			   !tap_mysql_lexer_is_sign(lexer, ')'))
			tap_mysql_lexer_next(lexer);
		end = lexer->token.end;
		tap_mysql_lexer_next(lexer);
		column->column_type = psprintf("%s%s", column->type,
									   tap_mysql_from_utf8(open, end - open));
	}
	else if (is_boolean)
		column->column_type = "tinyint(1)";
	else if (strcmp(column->type, "bigint") == 0 && word &&
			 pg_strcasecmp(word, "serial") == 0)
	{
		column->column_type = "bigint unsigned";
		column->nullable = false;
	}
}

static void
read_charset(AlterState *state, TapMysqlColumn *column)
{
	(void) tap_mysql_lexer_accept_sign(state->lexer, '=');
	column->charset = pstrdup(state->lexer->token.text);
	tap_mysql_lexer_next(state->lexer);
}

/* One attribute behind the type; false at FIRST, AFTER and at the end. */
static bool
read_attribute(AlterState *state, TapMysqlColumn *column)
{
	TapMysqlLexer *lexer = state->lexer;

	if (lexer->token.kind == TAP_MYSQL_TOKEN_END ||
		tap_mysql_lexer_is_sign(lexer, ',') || tap_mysql_lexer_is_sign(lexer, ')') ||
		tap_mysql_lexer_is(lexer, "FIRST") || tap_mysql_lexer_is(lexer, "AFTER"))
		return false;
	if (tap_mysql_lexer_accept(lexer, "UNSIGNED"))
		column->column_type = psprintf("%s unsigned", column->column_type);
	else if (tap_mysql_lexer_accept(lexer, "NOT"))
		column->nullable = !tap_mysql_lexer_accept(lexer, "NULL");
	else if (tap_mysql_lexer_accept(lexer, "CHARSET"))
		read_charset(state, column);
	else if (tap_mysql_lexer_accept(lexer, "CHARACTER"))
	{
		(void) tap_mysql_lexer_accept(lexer, "SET");
		read_charset(state, column);
	}
	else if (tap_mysql_lexer_accept(lexer, "COLLATE"))
	{
		column->collation = pstrdup(lexer->token.text);
		if (column->charset == NULL)
			column->charset = pnstrdup(lexer->token.text,
									   strcspn(lexer->token.text, "_"));
		tap_mysql_lexer_next(lexer);
	}
	else if (tap_mysql_lexer_accept(lexer, "AS"))
		column->generated = true;
	else if (tap_mysql_lexer_accept(lexer, "DEFAULT"))
		tap_mysql_read_default(lexer, column);
	else if (tap_mysql_lexer_accept(lexer, "INVISIBLE"))
		column->invisible = true;
	else if (tap_mysql_lexer_accept(lexer, "PRIMARY"))
	{
		column->nullable = false;
		state->key = list_make1(column->name);
	}
	else if (tap_mysql_lexer_accept(lexer, "COMMENT"))
	{
		column->comment = tap_mysql_from_utf8(lexer->token.text,
											  strlen(lexer->token.text));
		tap_mysql_lexer_next(lexer);
	}
	else if (tap_mysql_lexer_is_sign(lexer, '('))
		tap_mysql_lexer_skip_parentheses(lexer);
	else
		tap_mysql_lexer_next(lexer);
	return true;
}

static bool
is_text_type(const char *type)
{
	return strstr(type, "char") != NULL || strstr(type, "text") != NULL ||
		strcmp(type, "enum") == 0 || strcmp(type, "set") == 0;
}

/* The character set of a new text column without one: the table's. */
static char *
default_charset(const AlterState *state)
{
	for (int i = 0; i < state->before->ncolumns; i++)
		if (state->before->columns[i].charset != NULL)
			return state->before->columns[i].charset;
	return NULL;
}

/* The words of a definition are those of a column that exists now. */
static bool
agrees(TapMysqlColumn *column, const TapMysqlColumn *present)
{
	if (strcmp(column->type, present->type) != 0 ||
		column->is_unsigned != present->is_unsigned ||
		column->nlabels != present->nlabels)
		return false;
	if (column->charset != NULL && present->charset != NULL &&
		pg_strcasecmp(column->charset, present->charset) != 0)
		return false;
	return strchr(column->column_type, '(') == NULL ||
		(column->length == present->length && column->scale == present->scale);
}

/* A column's definition, from its type on. */
static TapMysqlColumn *
read_definition(AlterState *state, const char *name)
{
	TapMysqlColumn *column = palloc0(sizeof(TapMysqlColumn));
	const TapMysqlColumn *present = present_column(state, name);
	bool		is_mariadb = state->session->server.is_mariadb;

	column->name = pstrdup(name);
	column->nullable = true;
	read_type(state, column);
	while (read_attribute(state, column))
		 /* until the end of the clause */ ;
	if (is_text_type(column->type))
	{
		if (column->charset == NULL)
			column->charset = default_charset(state);
		if (column->charset == NULL)
			column->charset = "utf8mb4";
	}
	else
		column->charset = NULL;
	if (strcmp(column->type, "json") == 0 && is_mariadb)
		column->charset = "utf8mb4";
	tap_mysql_resolve_column(state->session, column, is_mariadb);
	if (present != NULL && agrees(column, present))
	{
		const TapMysqlColumn read = *column;

		*column = *present;
		column->name = pstrdup(name);
		column->conversion = NULL;
		tap_mysql_keep_default(column, &read);
	}
	return column;
}

/* ---------------------------------------------------------------------
 * Clauses
 * ---------------------------------------------------------------------
 */

/* Put a column in its place: FIRST, AFTER x, or at position (-1: last). */
static void
place_column(AlterState *state, TapMysqlColumn *column, int position)
{
	TapMysqlLexer *lexer = state->lexer;

	if (tap_mysql_lexer_accept(lexer, "FIRST"))
		position = 0;
	else if (tap_mysql_lexer_accept(lexer, "AFTER"))
	{
		char	   *name = tap_mysql_lexer_name(lexer);
		int			after = name ? find_column(state->columns, name) : -1;

		if (after < 0)
			state->alter->complete = false;
		position = after + 1;
	}
	if (position < 0 || position > list_length(state->columns))
		position = list_length(state->columns);
	state->columns = list_insert_nth(state->columns, position, column);
}

static void
skip_if(TapMysqlLexer *lexer)
{
	if (tap_mysql_lexer_accept(lexer, "IF"))
	{
		(void) tap_mysql_lexer_accept(lexer, "NOT");
		(void) tap_mysql_lexer_accept(lexer, "EXISTS");
	}
}

/* Words behind ADD or DROP that are not about a column. */
static bool
is_not_column(const TapMysqlLexer *lexer)
{
	static const char *const words[] = {
		"INDEX", "KEY", "UNIQUE", "PRIMARY", "FULLTEXT", "SPATIAL", "CONSTRAINT",
		"FOREIGN", "CHECK", "PARTITION", "PERIOD", "SYSTEM", "VECTOR"
	};

	for (int i = 0; i < lengthof(words); i++)
		if (tap_mysql_lexer_is(lexer, words[i]))
			return true;
	return false;
}

/* ADD PRIMARY KEY (a, b); the lexer stands somewhere before PRIMARY. */
static void
add_key(AlterState *state)
{
	TapMysqlLexer *lexer = state->lexer;

	while (lexer->token.kind != TAP_MYSQL_TOKEN_END &&
		   !tap_mysql_lexer_is_sign(lexer, ',') &&
		   !tap_mysql_lexer_is_sign(lexer, '('))
	{
		if (!tap_mysql_lexer_accept(lexer, "PRIMARY"))
		{
			tap_mysql_lexer_next(lexer);
			continue;
		}
		while (lexer->token.kind != TAP_MYSQL_TOKEN_END &&
			   !tap_mysql_lexer_accept_sign(lexer, '('))
			tap_mysql_lexer_next(lexer);
		state->key = NIL;
		do
		{
			char	   *name = tap_mysql_lexer_name(lexer);

			if (name != NULL)
				state->key = lappend(state->key, name);
			while (lexer->token.kind != TAP_MYSQL_TOKEN_END &&
				   !tap_mysql_lexer_is_sign(lexer, ',') &&
				   !tap_mysql_lexer_is_sign(lexer, ')'))
			{
				if (tap_mysql_lexer_is_sign(lexer, '('))
					tap_mysql_lexer_skip_parentheses(lexer);
				else
					tap_mysql_lexer_next(lexer);
			}
		} while (tap_mysql_lexer_accept_sign(lexer, ','));
		(void) tap_mysql_lexer_accept_sign(lexer, ')');
	}
	skip_clause(lexer);
}

static void
add_one_column(AlterState *state)
{
	char	   *name;

	skip_if(state->lexer);
	name = tap_mysql_lexer_name(state->lexer);
	if (name == NULL)
	{
		state->alter->complete = false;
		return;
	}
	if (find_column(state->columns, name) >= 0)
		skip_clause(state->lexer);	/* IF NOT EXISTS, and it does */
	else
		place_column(state, read_definition(state, name), -1);
}

/* (column, key, column ...) */
static void
add_list(AlterState *state)
{
	TapMysqlLexer *lexer = state->lexer;

	do
	{
		tap_mysql_lexer_next(lexer);
		if (is_not_column(lexer))
			add_key(state);
		else
			add_one_column(state);
		skip_clause(lexer);
	} while (tap_mysql_lexer_is_sign(lexer, ','));
	(void) tap_mysql_lexer_accept_sign(lexer, ')');
}

static void
clause_add(AlterState *state)
{
	TapMysqlLexer *lexer = state->lexer;

	if (is_not_column(lexer))
	{
		add_key(state);
		return;
	}
	(void) tap_mysql_lexer_accept(lexer, "COLUMN");
	if (tap_mysql_lexer_is_sign(lexer, '('))
		add_list(state);
	else
		add_one_column(state);
}

static void
clause_drop(AlterState *state)
{
	TapMysqlLexer *lexer = state->lexer;
	char	   *name;
	int			index;

	if (tap_mysql_lexer_accept(lexer, "PRIMARY"))
		state->key = NIL;
	else if (tap_mysql_lexer_is(lexer, "PARTITION"))
		tap_mysql_core->event("warning", &state->before->name,
							  "a partition was dropped at the source; its rows stay in the hub until tapdata.resync()");
	else if (!is_not_column(lexer))
	{
		(void) tap_mysql_lexer_accept(lexer, "COLUMN");
		skip_if(lexer);
		name = tap_mysql_lexer_name(lexer);
		index = name ? find_column(state->columns, name) : -1;
		if (index >= 0)
			state->columns = list_delete_nth_cell(state->columns, index);
	}
	skip_clause(lexer);
}

static void
note_rename(AlterState *state, const char *from, const char *to)
{
	TapColumnRename *rename;
	ListCell   *cell;

	if (strcmp(from, to) == 0)
		return;
	foreach(cell, state->key)
	{
		if (pg_strcasecmp(lfirst(cell), from) == 0)
			lfirst(cell) = pstrdup(to);
	}
	rename = palloc(sizeof(TapColumnRename));
	rename->from = pstrdup(from);
	rename->to = pstrdup(to);
	state->alter->renames = lappend(state->alter->renames, rename);
}

/* CHANGE [COLUMN] old new definition; MODIFY [COLUMN] name definition */
static void
clause_change(AlterState *state, bool with_new_name)
{
	TapMysqlLexer *lexer = state->lexer;
	char	   *old_name;
	char	   *new_name;
	int			index;
	TapMysqlColumn *column;

	(void) tap_mysql_lexer_accept(lexer, "COLUMN");
	skip_if(lexer);
	old_name = tap_mysql_lexer_name(lexer);
	new_name = with_new_name ? tap_mysql_lexer_name(lexer) : old_name;
	index = old_name ? find_column(state->columns, old_name) : -1;
	if (index < 0 || new_name == NULL)
	{
		state->alter->complete = false;
		skip_clause(lexer);
		return;
	}
	old_name = ((TapMysqlColumn *) list_nth(state->columns, index))->name;
	/* MODIFY keeps the case that the name has */
	column = read_definition(state, with_new_name ? new_name : old_name);
	note_rename(state, old_name, column->name);
	state->columns = list_delete_nth_cell(state->columns, index);
	place_column(state, column, index);
}

static void
clause_rename(AlterState *state, const char *default_schema)
{
	TapMysqlLexer *lexer = state->lexer;
	char	   *from;
	char	   *to;
	int			index;

	if (tap_mysql_lexer_is(lexer, "INDEX") || tap_mysql_lexer_is(lexer, "KEY"))
		skip_clause(lexer);
	else if (tap_mysql_lexer_accept(lexer, "COLUMN"))
	{
		skip_if(lexer);
		from = tap_mysql_lexer_name(lexer);
		(void) tap_mysql_lexer_accept(lexer, "TO");
		to = tap_mysql_lexer_name(lexer);
		index = (from && to) ? find_column(state->columns, from) : -1;
		if (index < 0)
			state->alter->complete = false;
		else
		{
			TapMysqlColumn *column = list_nth(state->columns, index);

			note_rename(state, column->name, to);
			column->name = to;
		}
	}
	else
	{
		TapTableName *name = palloc(sizeof(TapTableName));

		if (!tap_mysql_lexer_accept(lexer, "TO"))
			(void) tap_mysql_lexer_accept(lexer, "AS");
		(void) tap_mysql_lexer_accept_sign(lexer, '=');
		name->schema = pstrdup(default_schema);
		name->name = tap_mysql_lexer_name(lexer);
		if (tap_mysql_lexer_accept_sign(lexer, '.'))
		{
			name->schema = name->name;
			name->name = tap_mysql_lexer_name(lexer);
		}
		if (name->name != NULL)
			state->alter->new_name = name;
	}
}

/* CONVERT TO CHARACTER SET x: of all text columns, and some change their type. */
static void
clause_convert(AlterState *state)
{
	TapMysqlLexer *lexer = state->lexer;
	ListCell   *cell;

	(void) tap_mysql_lexer_accept(lexer, "TO");
	if (tap_mysql_lexer_accept(lexer, "CHARACTER"))
		(void) tap_mysql_lexer_accept(lexer, "SET");
	else
		(void) tap_mysql_lexer_accept(lexer, "CHARSET");
	foreach(cell, state->columns)
	{
		TapMysqlColumn *column = lfirst(cell);
		const TapMysqlColumn *present = present_column(state, column->name);

		if (column->charset == NULL || strcmp(column->type, "json") == 0)
			continue;
		column->charset = pstrdup(lexer->token.text);
		column->collation = NULL;
		if (present != NULL && present->charset != NULL &&
			pg_strcasecmp(present->charset, column->charset) == 0)
			*column = *present;
	}
	skip_clause(lexer);
}

/* ALTER [COLUMN] name SET DEFAULT ..., or DROP DEFAULT */
static void
clause_alter(AlterState *state)
{
	TapMysqlLexer *lexer = state->lexer;
	char	   *name;
	int			index;

	if (!tap_mysql_lexer_accept(lexer, "COLUMN") && is_not_column(lexer))
		return;
	skip_if(lexer);
	name = tap_mysql_lexer_name(lexer);
	index = name ? find_column(state->columns, name) : -1;
	if (index < 0)
		return;
	if (tap_mysql_lexer_accept(lexer, "SET") && tap_mysql_lexer_accept(lexer, "DEFAULT"))
		tap_mysql_read_default(lexer, list_nth(state->columns, index));
	else if (tap_mysql_lexer_accept(lexer, "DROP") && tap_mysql_lexer_accept(lexer, "DEFAULT"))
	{
		TapMysqlColumn *column = list_nth(state->columns, index);

		column->default_value = NULL;
		column->default_unknown = false;
	}
}

static void
clause(AlterState *state, const char *default_schema)
{
	TapMysqlLexer *lexer = state->lexer;

	if (tap_mysql_lexer_accept(lexer, "ADD"))
		clause_add(state);
	else if (tap_mysql_lexer_accept(lexer, "DROP"))
		clause_drop(state);
	else if (tap_mysql_lexer_accept(lexer, "CHANGE"))
		clause_change(state, true);
	else if (tap_mysql_lexer_accept(lexer, "MODIFY"))
		clause_change(state, false);
	else if (tap_mysql_lexer_accept(lexer, "RENAME"))
		clause_rename(state, default_schema);
	else if (tap_mysql_lexer_accept(lexer, "CONVERT"))
		clause_convert(state);
	else if (tap_mysql_lexer_accept(lexer, "ALTER"))
	{
		clause_alter(state);
		skip_clause(lexer);
	}
	else if (tap_mysql_lexer_is(lexer, "TRUNCATE") || tap_mysql_lexer_is(lexer, "EXCHANGE") ||
			 tap_mysql_lexer_is(lexer, "IMPORT"))
	{
		tap_mysql_core->event("warning", &state->before->name,
							  "rows were changed at the source by an ALTER TABLE, which the log does not hold; the hub keeps its rows until tapdata.resync()");
		skip_clause(lexer);
	}
	else
		skip_clause(lexer);
}

/* ---------------------------------------------------------------------
 * The new format
 * ---------------------------------------------------------------------
 */

static AttrNumber
attribute_of(const TapMysqlTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (pg_strcasecmp(table->columns[i].name, name) == 0)
			return (AttrNumber) (i + 1);
	return InvalidAttrNumber;
}

static void
set_key(TapMysqlTable *table, List *names)
{
	ListCell   *cell;

	table->nkeys = 0;
	table->keys = palloc(sizeof(AttrNumber) * Max(1, list_length(names)));
	foreach(cell, names)
	{
		AttrNumber	number = attribute_of(table, lfirst(cell));

		if (number == InvalidAttrNumber)
		{
			table->nkeys = 0;
			return;
		}
		table->keys[table->nkeys++] = number;
	}
}

/* Whether information_schema shows the same columns now. */
static bool
is_present(const TapMysqlTable *table, const TapMysqlTable *present)
{
	if (present == NULL || present->ncolumns != table->ncolumns)
		return false;
	for (int i = 0; i < table->ncolumns; i++)
	{
		const TapMysqlColumn *a = &table->columns[i];
		const TapMysqlColumn *b = &present->columns[i];

		if (strcmp(a->name, b->name) != 0 || strcmp(a->type, b->type) != 0 ||
			a->pg_type != b->pg_type || a->pg_typmod != b->pg_typmod)
			return false;
	}
	return true;
}

/* The table that the clauses have made. */
static void
finish(AlterState *state)
{
	TapMysqlTable *table = palloc(sizeof(TapMysqlTable));

	*table = *state->before;
	table->prepared = false;
	table->ncolumns = list_length(state->columns);
	table->columns = palloc(sizeof(TapMysqlColumn) * Max(1, table->ncolumns));
	for (int i = 0; i < table->ncolumns; i++)
		table->columns[i] = *(TapMysqlColumn *) list_nth(state->columns, i);
	table->nindexes = 0;		/* they are known only where they are present */
	set_key(table, state->key);
	if (is_present(table, state->present))
	{
		const TapMysqlColumn *columns = table->columns;

		*table = *state->present;
		table->prepared = false;
		tap_mysql_keep_defaults(table, columns);
	}
	state->alter->table = table;
}

void
tap_mysql_alter_apply(TapSession *session, const TapMysqlStatement *statement,
					  const TapMysqlTable *before, const TapMysqlTable *present,
					  const char *default_schema, TapMysqlAlter *alter)
{
	TapMysqlLexer lexer = statement->rest;
	AlterState	state = {session, &lexer, before, present, NIL, NIL, alter};

	memset(alter, 0, sizeof(*alter));
	alter->complete = true;
	for (int i = 0; i < before->ncolumns; i++)
	{
		TapMysqlColumn *column = palloc(sizeof(TapMysqlColumn));

		*column = before->columns[i];
		state.columns = lappend(state.columns, column);
	}
	for (int i = 0; i < before->nkeys; i++)
		state.key = lappend(state.key, before->columns[before->keys[i] - 1].name);
	while (lexer.token.kind != TAP_MYSQL_TOKEN_END)
	{
		clause(&state, default_schema);
		skip_clause(&lexer);
		if (lexer.token.kind != TAP_MYSQL_TOKEN_END)
			tap_mysql_lexer_next(&lexer);
	}
	finish(&state);
}

bool
tap_mysql_create_apply(TapSession *session, const TapMysqlStatement *statement,
					   const TapTableName *name, const TapMysqlTable *present,
					   TapMysqlAlter *alter)
{
	TapMysqlLexer lexer = statement->rest;
	TapMysqlLexer inside = lexer;
	TapMysqlTable empty = {0};
	AlterState	state = {session, &lexer, &empty, present, NIL, NIL, alter};

	memset(alter, 0, sizeof(*alter));
	alter->complete = true;
	empty.name = *name;
	empty.is_mariadb = session->server.is_mariadb;
	empty.estimated_rows = empty.estimated_bytes = -1;
	if (!tap_mysql_lexer_is_sign(&lexer, '('))
		return false;			/* LIKE, SELECT */
	tap_mysql_lexer_next(&inside);
	if (tap_mysql_lexer_is(&inside, "LIKE") || tap_mysql_lexer_is(&inside, "SELECT"))
		return false;
	add_list(&state);
	while (lexer.token.kind != TAP_MYSQL_TOKEN_END)
	{
		/* columns of a query come behind or among those in parentheses */
		if (tap_mysql_lexer_is(&lexer, "SELECT") || tap_mysql_lexer_is(&lexer, "AS"))
			return false;
		tap_mysql_lexer_next(&lexer);
	}
	finish(&state);
	return alter->complete && alter->table->ncolumns > 0;
}
