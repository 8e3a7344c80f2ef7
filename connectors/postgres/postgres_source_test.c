/*-------------------------------------------------------------------------
 *
 * connectors/postgres/postgres_source_test.c
 *	  What a source needs, and how to mend what is not so.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_source.h"

#include "utils/builtins.h"

/* An open transaction of this age may stay open for long. */
#define OLD_SECONDS		300

typedef struct CheckState
{
	TapSession *session;
	List	   *checks;
} CheckState;

static TapCheck *
add_check(CheckState *state, const char *name, bool ok, char *detail, char *hint, int sqlstate)
{
	TapCheck   *check = palloc0(sizeof(TapCheck));

	check->name = name;
	check->ok = ok;
	check->required = true;
	check->detail = detail;
	check->hint = ok ? NULL : hint;
	check->sqlstate = ok ? 0 : sqlstate;
	check->side = TAP_SIDE_SOURCE;
	state->checks = lappend(state->checks, check);
	return check;
}

/* A check that a pipeline can do without. */
static void
add_advice(CheckState *state, const char *name, bool ok, char *detail, char *hint)
{
	add_check(state, name, ok, detail, hint, 0)->required = false;
}

static void
check_settings(CheckState *state)
{
	TapPgRows  *rows;

	rows = tap_pg_query(state->session, "check the source",
						"SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int, "
						"(SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders')::int, "
						"(SELECT count(*) FROM pg_stat_replication), current_setting('max_slot_wal_keep_size'), "
						"pg_is_in_recovery()");
	add_check(state, "source_version", state->session->version >= 130000,
			  psprintf("PostgreSQL %s", PQparameterStatus(state->session->conn, "server_version")),
			  "Upgrade the source to PostgreSQL 13 at least.", ERRCODE_FEATURE_NOT_SUPPORTED);
	add_check(state, "source_wal_level", strcmp(tap_pg_needed(rows, 0, 0), "logical") == 0,
			  psprintf("wal_level is %s", tap_pg_needed(rows, 0, 0)),
			  "Run at the source: ALTER SYSTEM SET wal_level = 'logical'; and restart it.",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	add_check(state, "source_slots", atoi(tap_pg_needed(rows, 0, 1)) > atoi(tap_pg_needed(rows, 0, 2)),
			  psprintf("%s of %s replication slots are in use", tap_pg_needed(rows, 0, 2), tap_pg_needed(rows, 0, 1)),
			  "Raise max_replication_slots at the source and restart it, or drop slots that nobody uses.",
			  ERRCODE_CONFIGURATION_LIMIT_EXCEEDED);
	add_check(state, "source_senders", atoi(tap_pg_needed(rows, 0, 3)) > atoi(tap_pg_needed(rows, 0, 4)),
			  psprintf("%s of %s WAL senders are in use", tap_pg_needed(rows, 0, 4), tap_pg_needed(rows, 0, 3)),
			  "Raise max_wal_senders at the source and restart it.", ERRCODE_CONFIGURATION_LIMIT_EXCEEDED);
	add_advice(state, "source_retention", strcmp(tap_pg_needed(rows, 0, 5), "-1") != 0,
			   psprintf("max_slot_wal_keep_size is %s", tap_pg_needed(rows, 0, 5)),
			   "While a pipeline is stopped the source keeps its log without limit; max_slot_wal_keep_size sets one, at the price of a new copy when it is passed.");
	add_check(state, "source_primary", !tap_pg_is_true(rows, 0, 6) || state->session->version >= 160000,
			  tap_pg_is_true(rows, 0, 6) ? "the server is a standby" : "the server is no standby",
			  "Before PostgreSQL 16 only the primary has logical replication: connect to that.",
			  ERRCODE_FEATURE_NOT_SUPPORTED);
}

/* Whether a publication can be made; a pipeline that is not known yet may name one instead. */
static void
check_publication(CheckState *state, bool permitted, bool standby, const char *grant)
{
	TapCheck   *check;

	check = add_check(state, "source_publication", permitted && !standby,
					  permitted && !standby ? "a publication can be made" :
					  standby ? "no publication can be made: the server is a standby" :
					  "no publication can be made",
					  standby ? "Create a publication of the tables at the primary and name it by the option \"publication\"." :
					  psprintf("Run at the source: %s or create a publication of the tables and name it by the option \"publication\".", grant),
					  standby ? ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE : ERRCODE_INSUFFICIENT_PRIVILEGE);
	check->required = state->session->args.pipeline_options != NULL;
}

/* Whether the publication that the option names has what the tables need. */
static bool
check_given_publication(CheckState *state, List *tables)
{
	const TapPgFault *fault = tap_pg_publication_fault(state->session, tables);

	if (fault == NULL)
		add_check(state, "source_publication", true,
				  psprintf("publication \"%s\" is there", tap_pg_given(state->session, "publication")), NULL, 0);
	else
		add_check(state, "source_publication", false,
				  psprintf("%s%s%s", fault->message, fault->detail ? ". " : "", fault->detail ? fault->detail : ""),
				  psprintf("%s%s%s", fault->hint, fault->otherwise ? " " : "", fault->otherwise ? fault->otherwise : ""),
				  fault->sqlstate);
	return fault == NULL;
}

/* A slot that the option names is made if it is missing, and else must be one to read from. */
static void
check_slot(CheckState *state)
{
	const char *name = tap_pg_given(state->session, "slot");
	TapPgRows  *rows;

	if (name == NULL)
		return;
	rows = tap_pg_query(state->session, "check the source",
						"SELECT slot_type = 'logical' AND plugin = 'pgoutput' AND database = current_database(), "
						"concat_ws(' ', slot_type, plugin, 'in database ' || quote_ident(database)) "
						"FROM pg_replication_slots WHERE slot_name = %s",
						quote_literal_cstr(name));
	if (rows->nrows > 0)
		add_check(state, "source_slot", tap_pg_is_true(rows, 0, 0),
				  psprintf("replication slot \"%s\" is: %s", name, tap_pg_needed(rows, 0, 1)),
				  "It must be a logical one of pgoutput in this database. Name another one by the option \"slot\", or leave it out.",
				  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	else
		add_check(state, "source_slot",
				  strlen(name) < NAMEDATALEN && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name),
				  psprintf("replication slot \"%s\" is to be made", name),
				  "The name may have lower-case letters, digits and underscores, 63 at most.",
				  ERRCODE_INVALID_NAME);
}

static void
check_role(CheckState *state)
{
	char	   *user = tap_pg_quote(PQuser(state->session->conn));
	TapPgRows  *rows;
	bool		made = tap_pg_given(state->session, "publication") == NULL;

	rows = tap_pg_query(state->session, "check the source",
						"SELECT rolreplication OR rolsuper, has_database_privilege(current_database(), 'CREATE'), "
						"current_database(), pg_is_in_recovery() FROM pg_roles WHERE rolname = current_user");
	add_check(state, "source_replication", tap_pg_is_true(rows, 0, 0),
			  psprintf("user %s has %sthe attribute REPLICATION", user, tap_pg_is_true(rows, 0, 0) ? "" : "not "),
			  psprintf("Run at the source as superuser: ALTER ROLE %s REPLICATION; (on managed services, grant the role that stands for it, such as rds_replication).", user),
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
	if (made)
		check_publication(state, tap_pg_is_true(rows, 0, 1), tap_pg_is_true(rows, 0, 3),
						  psprintf("GRANT CREATE ON DATABASE %s TO %s;", tap_pg_quote(tap_pg_needed(rows, 0, 2)), user));
}

/* A new slot waits for all that is open, as tables wait that join. */
static void
check_transactions(CheckState *state)
{
	int64		seconds;
	char	   *oldest = tap_pg_oldest_transaction(state->session, &seconds);

	add_advice(state, "source_transactions", seconds < OLD_SECONDS,
			   oldest ? psprintf("the oldest open transaction is that of %s", oldest) :
			   "no open transaction is to be seen",
			   "A new replication slot waits until every transaction has ended that is open when it is made: look at pg_stat_activity and pg_prepared_xacts of the source.");
}

/* Whether the server lets us in for replication, as pg_hba.conf may not. */
static void
check_replication(CheckState *state)
{
	MemoryContext context = CurrentMemoryContext;
	TapSession	replication = {0};
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		tap_pg_open_another(state->session, &replication, true);
		tap_pg_close(&replication);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED || edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	add_check(state, "source_stream", edata == NULL,
			  edata == NULL ? "a replication connection can be made" :
			  edata->detail ? edata->detail : edata->message,
			  "Check the attribute REPLICATION, max_wal_senders and pg_hba.conf of the source.",
			  edata ? edata->sqlerrcode : 0);
}

/* Row-level security would hide rows from the copy; a key is what changes go by. */
static void
check_table(CheckState *state, const TapPgFormat *format)
{
	bool		inserts = strcmp(tap_pg_option(state->session, "without_identity", "error"), "inserts") == 0;
	bool		made = tap_pg_given(state->session, "publication") == NULL;
	const char *shown = tap_pg_table_text(&format->name);
	char	   *quoted = tap_pg_quote_table(&format->name);
	char	   *user = tap_pg_quote(PQuser(state->session->conn));
	TapPgRows  *rows;

	rows = tap_pg_query(state->session, "check the source",
						"SELECT has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid), "
						"pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = %u",
						format->relid);
	if (rows->nrows == 0)
		return;
	add_check(state, "source_identity", format->identified || inserts,
			  format->identified ? psprintf("table \"%s\" has a replica identity", shown) :
			  psprintf("table \"%s\" has no replica identity", shown),
			  psprintf("Give it a primary key, or run at the source: ALTER TABLE %s REPLICA IDENTITY FULL; or follow only its inserts by the option without_identity = inserts.", quoted),
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	add_check(state, "source_select", tap_pg_is_true(rows, 0, 0),
			  psprintf("table \"%s\" can%s be read", shown, tap_pg_is_true(rows, 0, 0) ? "" : "not"),
			  psprintf("Run at the source: GRANT SELECT ON %s TO %s;", quoted, user),
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
	add_check(state, "source_row_security", !tap_pg_is_true(rows, 0, 1),
			  psprintf("table \"%s\" %s", shown, tap_pg_is_true(rows, 0, 1) ?
					   "hides rows by row-level security" : "shows all of its rows"),
			  psprintf("Run at the source as superuser: ALTER ROLE %s BYPASSRLS;", user),
			  ERRCODE_INSUFFICIENT_PRIVILEGE);
	if (made)
		add_check(state, "source_owner", tap_pg_is_true(rows, 0, 2),
				  psprintf("table \"%s\" is owned by %s", shown, tap_pg_needed(rows, 0, 3)),
				  psprintf("Only an owner can publish a table. Run at the source: GRANT %s TO %s; or create a publication and name it by the option \"publication\".",
						   tap_pg_quote(tap_pg_needed(rows, 0, 3)), user),
				  ERRCODE_INSUFFICIENT_PRIVILEGE);
}

static void
check_failover(CheckState *state)
{
	const TapOptions *given = state->session->args.pipeline_options;

	if (given != NULL && tap_pg_core->option_bool(given, "failover"))
		add_check(state, "source_failover", state->session->version >= 170000,
				  "standbys keep replication slots from PostgreSQL 17 on",
				  "Leave out the option \"failover\"; after a promotion on_gap = compare has the tables compared.",
				  ERRCODE_FEATURE_NOT_SUPPORTED);
}

/* The option alone does nothing: the source must have the triggers. */
static void
check_ddl_messages(CheckState *state)
{
	const TapOptions *given = state->session->args.pipeline_options;
	TapPgRows  *rows;

	if (given == NULL || !tap_pg_core->option_bool(given, "ddl_messages"))
		return;
	if (state->session->version < 140000)
	{
		add_check(state, "source_ddl_messages", false, "before PostgreSQL 14 the stream has no messages of event triggers",
				  "Leave out the option \"ddl_messages\": added and dropped columns are followed at a table's next change.",
				  ERRCODE_FEATURE_NOT_SUPPORTED);
		return;
	}
	rows = tap_pg_query(state->session, "check the source",
						"SELECT count(*) FROM pg_event_trigger WHERE evtname IN ('tapdata_altered', 'tapdata_dropped') AND evtenabled <> 'D'");
	add_check(state, "source_ddl_messages", strcmp(tap_pg_needed(rows, 0, 0), "2") == 0,
			  psprintf("%s of 2 event triggers are there", tap_pg_needed(rows, 0, 0)),
			  "Run the file tapdata/source_ddl.sql of the hub's pg_config --sharedir at the source, as a superuser; or leave out the option \"ddl_messages\".",
			  ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
}

void
tap_pg_source_checks(TapSession *session, List *tables, List **checks)
{
	CheckState	state = {.session = session,.checks = *checks};
	bool		described = true;
	ListCell   *cell;

	check_settings(&state);
	check_role(&state);
	check_transactions(&state);
	check_replication(&state);
	check_failover(&state);
	check_ddl_messages(&state);
	check_slot(&state);

	/* tables are described as the publication has them */
	if (tap_pg_given(session, "publication") != NULL)
		described = check_given_publication(&state, tables);
	if (described)
	{
		foreach(cell, tap_pg_read_formats(session, tables))
			check_table(&state, lfirst(cell));
	}
	*checks = state.checks;
}
