# PostgreSQL as a source: tables that change, TRUNCATE, partitions as leaves, tables
# without replica identity, prepared transactions, rows that the hub cannot take.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');

# sessions that ask for it wait for a standby that never comes
my $source = new_source('source', "max_prepared_transactions = 5\nsynchronous_commit = local\nsynchronous_standby_names = 'nobody'\n");

sub columns_of
{
	my ($node, $table) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");
}

# Let the hub's stream have a commit that is in the log, but waits to be visible at the source.
sub commit_unseen
{
	my ($sql) = @_;
	my $session = $source->background_psql('postgres');

	$session->query_safe('SET synchronous_commit = on');
	$session->query_until(qr/^started/m, "\\echo started\n$sql;\n");
	wait_for_sql($source, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'", '1');
	wait_for_sql($source, "SELECT bool_and(sent_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication WHERE application_name LIKE 'tapdata%'", 't');

	# it is committed all the same
	$source->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
	$session->quit;
	return;
}

$source->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, a int, b text, c date);
	INSERT INTO s.t SELECT i, i, 'b' || i, '2024-01-01' FROM generate_series(1, 100) i;
	CREATE TABLE s.moved (id int PRIMARY KEY, v text);
	INSERT INTO s.moved VALUES (1, 'one');
	CREATE TABLE s.rekeyed (a int NOT NULL, b int NOT NULL, v text, CONSTRAINT k PRIMARY KEY (a));
	INSERT INTO s.rekeyed VALUES (1, 10, 'x'), (2, 20, 'y');
	CREATE TABLE s.parent (id int PRIMARY KEY);
	CREATE TABLE s.child (id int PRIMARY KEY, parent int REFERENCES s.parent);
	INSERT INTO s.parent VALUES (1), (2);
	INSERT INTO s.child VALUES (1, 1), (2, 2);
	CREATE TABLE s.wide (id int PRIMARY KEY, big text, n int);
	ALTER TABLE s.wide ALTER big SET STORAGE EXTERNAL;
	INSERT INTO s.wide SELECT i, repeat(md5(i::text), 300), i FROM generate_series(1, 5) i;
));
connect_source($hub, $source, 'src');

# a worker opens sessions outside of any transaction, and has to look up its role to know whether
# it may use a socket
$source->safe_psql('postgres', 'CREATE SCHEMA r; CREATE TABLE r.t (id int PRIMARY KEY); INSERT INTO r.t VALUES (1)');
$source->safe_psql('postgres', "CREATE ROLE login SUPERUSER LOGIN PASSWORD 'secret'");
my $hba = $source->data_dir . '/pg_hba.conf';
my $trusted = slurp_file($hba);
unlink $hba;
append_to_file($hba, "local all,replication login scram-sha-256\n$trusted");
$source->reload;
$hub->safe_psql('postgres', 'CREATE ROLE reader LOGIN IN ROLE pg_read_server_files; GRANT USAGE ON SCHEMA tapdata TO reader; GRANT CREATE ON DATABASE postgres TO reader');
$hub->safe_psql('postgres', "SET ROLE reader; SELECT tapdata.connect('reader', '" . Tapdata::Postgres::target_uri($source, user => 'login', password => 'secret') . "', '{\"socket\": \"" . $source->host . "\"}')");
$hub->safe_psql('postgres', "SET ROLE reader; SELECT tapdata.pull('r', 'reader', ARRAY['r.t'], 'r')");
caught_up($hub, 'r');
at_source($source, 'INSERT INTO r.t VALUES (2)');
caught_up($hub, 'r');
same_as_source($hub, $source, 'r.t', 'r.t', 'a pipeline of a member of pg_read_server_files');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('r', true)");

pull_from($hub, 'p', 'src', ['s.*'], 's', '{"ddl_drop": true}');
caught_up($hub, 'p');

# ---------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	ALTER TABLE s.t ADD d numeric(8, 2), ADD e text DEFAULT 'was there';
	UPDATE s.t SET d = 1.5 WHERE id = 1;
	ALTER TABLE s.t DROP c;
	UPDATE s.t SET a = a + 1 WHERE id = 2;
	ALTER TABLE s.t RENAME b TO renamed;
	INSERT INTO s.t VALUES (1000, 1, 'after');
));
caught_up($hub, 'p');

# a rewrite of the table makes the source forget what old rows have in a new column
$source->safe_psql('postgres', q(
	ALTER TABLE s.t ALTER a TYPE bigint;
	INSERT INTO s.t VALUES (1001, 5000000000, 'wide');
));
caught_up($hub, 'p');
is(columns_of($hub, 's.t'), columns_of($source, 's.t'), 'columns that were added, dropped, renamed and widened');
same_as_source($hub, $source, 's.t', 's.t', 'and their rows', 'id, a, renamed, d, e');

$source->safe_psql('postgres', q(
	ALTER TABLE s.moved RENAME TO was_moved;
	UPDATE s.was_moved SET v = 'two';
	INSERT INTO s.was_moved VALUES (2, 'new');
));
caught_up($hub, 'p');
same_as_source($hub, $source, 's.was_moved', 's.was_moved', 'a renamed table');

$source->safe_psql('postgres', q(
	ALTER TABLE s.rekeyed DROP CONSTRAINT k, ADD CONSTRAINT k PRIMARY KEY (b);
	UPDATE s.rekeyed SET a = 7 WHERE b = 10;
	UPDATE s.rekeyed SET b = 21 WHERE b = 20;
	DELETE FROM s.rekeyed WHERE b = 10;
	INSERT INTO s.rekeyed VALUES (7, 30, 'z'), (7, 31, 'same a');
));
caught_up($hub, 'p');
same_as_source($hub, $source, 's.rekeyed', 's.rekeyed', 'another primary key');

# altered while the pipeline does not read, and before what it reads next
stop_pipeline($hub, 'p');
$source->safe_psql('postgres', q(
	INSERT INTO s.t (id, a) VALUES (1002, 1);
	ALTER TABLE s.t ADD f int DEFAULT 3;
	INSERT INTO s.t (id, a) VALUES (1003, 1);
	ALTER TABLE s.t DROP COLUMN e;
	INSERT INTO s.t (id, a) VALUES (1004, 1);
));
$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
caught_up($hub, 'p');
same_as_source($hub, $source, 's.t', 's.t', 'changes of the format that were far behind', 'id, a, renamed, d, f');

commit_unseen("BEGIN; ALTER TABLE s.t ADD g text; INSERT INTO s.t (id, g) VALUES (1005, 'not lost'); COMMIT");
caught_up($hub, 'p');
same_as_source($hub, $source, 's.t', 's.t', 'a new column of a transaction that was not visible yet', 'id, a, renamed, d, f, g');

# ---------------------------------------------------------------------
# TRUNCATE, long values, prepared transactions, subtransactions
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	TRUNCATE s.parent CASCADE;
	INSERT INTO s.parent VALUES (5);
	UPDATE s.wide SET n = n + 10;
	UPDATE s.wide SET id = id + 10 WHERE id < 3;
	UPDATE s.wide SET big = big || 'x' WHERE id = 4;
	BEGIN;
	INSERT INTO s.child VALUES (7, 5);
	PREPARE TRANSACTION 'one';
	BEGIN;
	INSERT INTO s.child VALUES (8, 5);
	PREPARE TRANSACTION 'two';
));
caught_up($hub, 'p');
same_as_source($hub, $source, "s.$_", "s.$_", "$_ after TRUNCATE ... CASCADE") for ('parent', 'child');
same_as_source($hub, $source, 's.wide', 's.wide', 'long values that did not change');
$source->safe_psql('postgres', q(COMMIT PREPARED 'one'; ROLLBACK PREPARED 'two'));
caught_up($hub, 'p');
same_as_source($hub, $source, 's.child', 's.child', 'prepared transactions');
is($hub->safe_psql('postgres', 'SELECT string_agg(id::text, chr(44)) FROM s.child'), '7', 'the one that was committed');

# a table that was dropped, and another one under its name
$source->safe_psql('postgres', q(
	DROP TABLE s.rekeyed;
	CREATE TABLE s.rekeyed (id uuid PRIMARY KEY, n int);
	INSERT INTO s.rekeyed SELECT gen_random_uuid(), i FROM generate_series(1, 10) i;
));
$hub->safe_psql('postgres', "SELECT tapdata.resync('p', 's.rekeyed')");
caught_up($hub, 'p');
same_as_source($hub, $source, 's.rekeyed', 's.rekeyed', 'a table that was made anew, after resync()', 'id, n');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('p', true)");

# ---------------------------------------------------------------------
# Partitions as leaves; tables without replica identity
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE SCHEMA q;
	CREATE TABLE q.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE q.low PARTITION OF q.parted FOR VALUES FROM (0) TO (100);
	CREATE TABLE q.high PARTITION OF q.parted FOR VALUES FROM (100) TO (200);
	INSERT INTO q.parted SELECT i, 'v' FROM generate_series(0, 199) i;
	CREATE TABLE q.log (at int, what text);
	INSERT INTO q.log SELECT i, 'w' FROM generate_series(1, 10) i;
));
sql_fails($hub, q(SELECT tapdata.pull('q', 'src', ARRAY['q.*'], 'q')), '55000',
	qr/no replica identity.*ALTER TABLE .*REPLICA IDENTITY FULL.*without_identity/s,
	'a table without replica identity is refused, with the ways out');
is($source->safe_psql('postgres', "UPDATE q.log SET what = 'x' WHERE at = 1; SELECT count(*) FROM pg_publication"), '0',
	'and its updates at the source are not');
pull_from($hub, 'q', 'src', ['q.*'], 'q', '{"partitions": "leaf", "without_identity": "inserts"}');
caught_up($hub, 'q');
$source->safe_psql('postgres', q(
	UPDATE q.parted SET v = 'w' WHERE id < 10 OR id > 190;
	DELETE FROM q.parted WHERE id = 150;
	UPDATE q.parted SET id = 150 WHERE id = 50;
	INSERT INTO q.log VALUES (11, 'new');
	UPDATE q.log SET what = 'changed' WHERE at = 2;
));
caught_up($hub, 'q');
same_as_source($hub, $source, "q.$_", "q.$_", "leaf $_") for ('low', 'high');
is($hub->safe_psql('postgres', "SELECT to_regclass('q.parted') IS NULL"), 't', 'the root is no table then');
is($hub->safe_psql('postgres', "SELECT count(*), max(at), count(*) FILTER (WHERE what = 'changed') FROM q.log"), '11|11|0',
	'of a table without identity the inserts are followed');
is($source->safe_psql('postgres', "SELECT what FROM q.log WHERE at = 2"), 'changed', 'whose updates go on at the source');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('q', true)");

# ---------------------------------------------------------------------
# A publication and a slot of the user's; a hub that cannot take a row
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE SCHEMA g;
	CREATE TABLE g.t (id int PRIMARY KEY, v text);
	INSERT INTO g.t SELECT i, 'v' FROM generate_series(1, 5) i;
	CREATE TABLE g.some (id int PRIMARY KEY, a text, secret text);
	INSERT INTO g.some SELECT i, 'a' || i, 'hidden' FROM generate_series(1, 3000) i;
	CREATE PUBLICATION mine FOR TABLE s.t;
));
sql_ok($hub, "SELECT count(*) FROM tapdata.test_connection('src')");
sql_fails($hub, q(SELECT tapdata.pull('g', 'src', ARRAY['g.*'], 'g', '{"publication": "mine", "slot": "my_slot"}')), '55000',
	qr/"source_publication".*"g\.\w+" is not in publication "mine".*ALTER PUBLICATION "mine" ADD TABLE/s,
	'a table that the given publication lacks is an error that says so');
is($hub->safe_psql('postgres', "SELECT count(*), to_regnamespace('g') IS NULL FROM tapdata.status WHERE name = 'g'"), '0|t', 'nothing was made');
$source->safe_psql('postgres', 'ALTER PUBLICATION mine ADD TABLE g.t, '
	  . ($source->pg_version >= 15 ? 'TABLE g.some (id, a) WHERE (id % 3 <> 0)' : 'g.some'));
pull_from($hub, 'g', 'src', ['g.*'], 'g', '{"publication": "mine", "slot": "my_slot"}');
caught_up($hub, 'g');
if ($source->pg_version >= 15)
{
	$source->safe_psql('postgres', "UPDATE g.some SET a = 'b', secret = 'c' WHERE id % 7 = 0; UPDATE g.some SET id = id + 9001 WHERE id % 10 = 0; INSERT INTO g.some VALUES (20001, 'x', 'y'), (20002, 'x', 'y')");
	caught_up($hub, 'g');
	is($hub->safe_psql('postgres', "SELECT count(*) || md5(string_agg(x::text, ',' ORDER BY id)) FROM (SELECT id, a FROM g.some) x"),
		$source->safe_psql('postgres', "SELECT count(*) || md5(string_agg(x::text, ',' ORDER BY id)) FROM (SELECT id, a FROM g.some WHERE id % 3 <> 0) x"),
		'copy and stream have the rows that the publication lets through');
	is(columns_of($hub, 'g.some'), 'a text, id integer', 'and its columns only');
}
$source->safe_psql('postgres', "UPDATE g.t SET v = 'w'");
caught_up($hub, 'g');
same_as_source($hub, $source, 'g.t', 'g.t', 'by a given publication and slot');
$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('g', '{\"on_error\": \"dead_letter\"}')");
$hub->safe_psql('postgres', "ALTER TABLE g.t ADD CHECK (v <> 'bad')");
$source->safe_psql('postgres', "BEGIN; INSERT INTO g.t VALUES (10, 'good'), (11, 'bad'), (12, 'good'); COMMIT");
caught_up($hub, 'g');
is($hub->safe_psql('postgres', 'SELECT string_agg(id::text, chr(44) ORDER BY id) FROM g.t WHERE id >= 10'), '10,12',
	'what the hub refuses is left out');
like($hub->safe_psql('postgres', 'SELECT change FROM tapdata.dead_letters'), qr/"id": "?11"?/, 'and is a dead letter that names its key');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('g', true)");
is($source->safe_psql('postgres', "SELECT (SELECT string_agg(slot_name, '') FROM pg_replication_slots), (SELECT string_agg(pubname, '') FROM pg_publication)"),
	'my_slot|mine', 'what was given is not dropped');

# ---------------------------------------------------------------------
# New tables that are looked for
# ---------------------------------------------------------------------

sub tables_become
{
	my ($pipeline, @names) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	sql_becomes($hub, "SELECT string_agg(source_table || ' ' || state, ', ' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = '$pipeline'",
		join(', ', map { "$_ streaming" } @names), "$pipeline follows @names");
	caught_up($hub, $pipeline);
	same_as_source($hub, $source, $_, s/n\./$pipeline./r, "$_ in $pipeline") for @names;
	return;
}

$source->safe_psql('postgres', 'CREATE SCHEMA n; CREATE TABLE n.first (id int PRIMARY KEY); INSERT INTO n.first VALUES (1); CREATE PUBLICATION of_n FOR TABLE n.first');
pull_from($hub, 'n', 'src', ['n.*'], 'n', '{"refresh_ms": 200}');
pull_from($hub, 'm', 'src', [ 'n.*', '!n.keyless' ], 'm', '{"refresh_ms": 200, "publication": "of_n"}');
caught_up($hub, $_) for qw(n m);
$source->safe_psql('postgres', q(
	BEGIN;
	CREATE TABLE n.keyless (v int);
	CREATE TABLE n.second (id int PRIMARY KEY, v text);
	INSERT INTO n.second SELECT i, 'v' FROM generate_series(1, 1000) i;
	INSERT INTO n.keyless VALUES (1);
	COMMIT;
));
tables_become('n', 'n.first', 'n.second');
$source->safe_psql('postgres', q(
	ALTER TABLE n.keyless ADD id int PRIMARY KEY DEFAULT 1;
	INSERT INTO n.keyless VALUES (2, 2);
	UPDATE n.second SET v = 'w' WHERE id % 3 = 0;
	CREATE TABLE n.third (id int PRIMARY KEY);
	INSERT INTO n.third VALUES (1), (2);
	ALTER PUBLICATION of_n ADD TABLE n.third;
));
tables_become('n', 'n.first', 'n.keyless', 'n.second', 'n.third');
tables_become('m', 'n.first', 'n.third');
$source->safe_psql('postgres', 'DELETE FROM n.third WHERE id = 1; INSERT INTO n.keyless VALUES (3, 3)');
tables_become('n', 'n.first', 'n.keyless', 'n.second', 'n.third');
tables_become('m', 'n.first', 'n.third');
# one that has a new name is not new
$source->safe_psql('postgres', 'ALTER TABLE n.first RENAME TO a; CREATE TABLE n.z (id int PRIMARY KEY); ALTER PUBLICATION of_n ADD TABLE n.z');
wait_for_sql($hub, "SELECT count(*) FROM tapdata.tables WHERE source_table::text = 'n.z' AND state = 'streaming'", 2);
$source->safe_psql('postgres', 'INSERT INTO n.a VALUES (7)');
tables_become('n', 'n.a', 'n.keyless', 'n.second', 'n.third', 'n.z');
tables_become('m', 'n.a', 'n.third', 'n.z');

# nor may a look wait for a table that somebody has locked
$source->safe_psql('postgres', 'CREATE TABLE n.held (id int PRIMARY KEY); INSERT INTO n.held VALUES (1)');
tables_become('n', 'n.a', 'n.held', 'n.keyless', 'n.second', 'n.third', 'n.z');
if ($source->pg_version >= 15)
{
	my $holder = $source->background_psql('postgres');

	$holder->query_safe('BEGIN; LOCK n.held');
	$source->safe_psql('postgres', 'ALTER PUBLICATION of_n ADD TABLES IN SCHEMA n');

	# over more than one look
	for my $id (100 .. 119)
	{
		$source->safe_psql('postgres', "INSERT INTO n.z VALUES ($id)");
		wait_for_sql($hub, "SELECT count(*) FROM m.z WHERE id = $id", 1) or last;
	}
	sql_ok($hub, 'SELECT count(*) FROM m.z WHERE id >= 100', 20, 'changes come while a table is locked');
	$holder->query_safe('COMMIT');
	$holder->quit;
	tables_become('m', 'n.a', 'n.held', 'n.second', 'n.third', 'n.z');
}

# what the hub has already is told, and stops nothing
$hub->safe_psql('postgres', 'CREATE TABLE n.taken (other text)');
$source->safe_psql('postgres', 'CREATE TABLE n.taken (id int PRIMARY KEY)');
wait_for_sql($hub, "SELECT count(*) FROM tapdata.events WHERE pipeline = 'n' AND kind = 'table left out' AND message LIKE '%taken\" is in the hub already: rename%'", 1);
$source->safe_psql('postgres', 'INSERT INTO n.z VALUES (2)');
tables_become('n', 'n.a', 'n.held', 'n.keyless', 'n.second', 'n.third', 'n.z');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$_', true)") for qw(n m);

# ---------------------------------------------------------------------
# DDL as the source's event triggers tell it
# ---------------------------------------------------------------------

my ($share) = run_command([ 'pg_config', '--sharedir' ]);

if ($source->pg_version < 14)
{
	sql_fails($hub, q(SELECT tapdata.pull('e', 'src', ARRAY['s.parent'], 'e', '{"ddl_messages": true}')), '0A000',
		qr/source_ddl_messages.*before PostgreSQL 14.*[Ll]eave out the option/s, 'before PostgreSQL 14 the option is refused');
	done_testing();
	exit;
}
sql_fails($hub, q(SELECT tapdata.pull('e', 'src', ARRAY['s.parent'], 'e', '{"ddl_messages": true}')), '55000',
	qr/source_ddl_messages.*0 of 2 event triggers.*source_ddl.sql/s, 'without the event triggers the option is refused');
$source->safe_psql('postgres', slurp_file("$share/tapdata/source_ddl.sql"));
$source->safe_psql('postgres', q(
	CREATE SCHEMA e;
	CREATE TABLE e.t (id int PRIMARY KEY, a int, b text);
	INSERT INTO e.t VALUES (1, 1, 'one');
	CREATE TABLE e.gone (id int PRIMARY KEY);
	INSERT INTO e.gone VALUES (1);
	CREATE TABLE e.again (id int PRIMARY KEY);
	CREATE TABLE e.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE e.low PARTITION OF e.parted FOR VALUES FROM (0) TO (100);
));
pull_from($hub, 'e', 'src', ['e.*'], 'e', '{"ddl_messages": true, "ddl_drop": true}');
caught_up($hub, 'e');

# nobody writes to these tables
$source->safe_psql('postgres', q(
	ALTER TABLE e.t ADD "odd	\\ name" text DEFAULT 'x', ADD doubled int GENERATED ALWAYS AS (id * 2) STORED;
	ALTER TABLE e.t RENAME b TO c;
	ALTER TABLE e.t ALTER a TYPE bigint;
	ALTER TABLE e.parted ADD w date;
	BEGIN;
	ALTER TABLE e.t ADD never int;
	ROLLBACK;
));
caught_up($hub, 'e');
is(columns_of($hub, 'e.t'), columns_of($source, 'e.t') =~ s/doubled integer, //r, 'columns of a table that is not written to');
like(columns_of($hub, 'e.t'), qr/a bigint, c text, id integer, odd\t\\ name text/, 'whatever they are named');
is(columns_of($hub, 'e.parted'), 'id integer, v text, w date', 'a partitioned table');
same_as_source($hub, $source, 'e.t', 'e.t', 'rows', 'id, a, c');
commit_unseen('DROP TABLE e.gone');
caught_up($hub, 'e');
is($hub->safe_psql('postgres', "SELECT to_regclass('e.gone') IS NULL"), 't', 'a table that was dropped');

$source->safe_psql('postgres', q(
	ALTER TABLE e.t RENAME TO renamed;
	CREATE TABLE e.new (id int, v text);
	INSERT INTO e.new VALUES (1, 'before it has a key');
	ALTER TABLE e.new ADD PRIMARY KEY (id);
	INSERT INTO e.new VALUES (2, 'behind that');
	BEGIN;
	CREATE TABLE e.copied AS SELECT 1 AS id, 'c' AS v;
	ALTER TABLE e.copied ADD PRIMARY KEY (id);
	COMMIT;
	CREATE TABLE e.high PARTITION OF e.parted FOR VALUES FROM (100) TO (200);
	CREATE UNLOGGED TABLE e.unlogged (id int PRIMARY KEY);
	CREATE TEMP TABLE temporary (id int PRIMARY KEY);
	INSERT INTO e.parted VALUES (150, 'high');
));
wait_for_sql($hub, "SELECT string_agg(source_table || ' ' || state, ', ' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = 'e'",
	'e.again streaming, e.copied streaming, e.new streaming, e.parted streaming, e.renamed streaming');
caught_up($hub, 'e');
same_as_source($hub, $source, "e.$_", "e.$_", "$_") for qw(new parted copied);
is($hub->safe_psql('postgres', "SELECT to_regclass('e.t') IS NULL, to_regclass('e.renamed') IS NOT NULL"), 't|t', 'a new name');

# dropped and made anew, in one transaction
$source->safe_psql('postgres', q(
	BEGIN;
	DROP TABLE e.again;
	CREATE TABLE e.again (k text PRIMARY KEY, n numeric);
	INSERT INTO e.again VALUES ('a', 1);
	COMMIT;
	DROP TABLE e.copied;
));
wait_for_sql($hub, "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM information_schema.columns WHERE table_schema = 'e' AND table_name = 'again'", 'k,n');
caught_up($hub, 'e');
same_as_source($hub, $source, 'e.again', 'e.again', 'a table that was dropped and made anew');

# far behind, and words that are not the trigger's
stop_pipeline($hub, 'e');
$source->safe_psql('postgres', q(
	SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure) FROM pg_proc WHERE proname = 'pg_logical_emit_message'
	\gexec));
$source->safe_psql('postgres', q(
	INSERT INTO e.renamed (id, a) VALUES (2, 2);
	CREATE ROLE plain;
	ALTER TABLE e.renamed OWNER TO plain;
	GRANT USAGE ON SCHEMA e TO plain;
	SET SESSION AUTHORIZATION plain;
	ALTER TABLE e.renamed ADD z int;
	RESET SESSION AUTHORIZATION;
	INSERT INTO e.renamed (id, z) VALUES (3, 3);
	ALTER TABLE e.renamed DROP z;
	ALTER TABLE e.renamed ADD z text;
	SELECT pg_logical_emit_message(true, 'tapdata', m) FROM unnest(ARRAY['', 'dropped', E'dropped\t1', E'altered\t1\td\tr\tf\te\tt\nx',
		E'dropped\t' || 'e.renamed'::regclass::oid || E'\td\tr\tf\te\trenamed']) m;
	SELECT pg_logical_emit_message(true, 'tapdata', '\xff00'::bytea), pg_logical_emit_message(false, 'tapdata', 'x'), pg_logical_emit_message(true, 'other', repeat('x', 100000));
	INSERT INTO e.renamed (id, z) VALUES (4, 'four');
));
$hub->safe_psql('postgres', "SELECT tapdata.start('e')");
caught_up($hub, 'e');
same_as_source($hub, $source, 'e.renamed', 'e.renamed', 'far behind, with messages that make no sense', 'id, a, c, z');
cmp_ok($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.events WHERE message ~ 'event trigger was passed over'"), '>=', 4, 'which are told');

# a schema under another name: its tables are as if dropped, or come to be
$source->safe_psql('postgres', 'ALTER SCHEMA e RENAME TO f');
wait_for_sql($hub, "SELECT count(*) FROM tapdata.tables WHERE pipeline = 'e' AND state <> 'dropped'", '0');
$source->safe_psql('postgres', 'ALTER SCHEMA f RENAME TO e');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('e', true)");
$source->safe_psql('postgres', 'DROP SCHEMA e, tapdata_source CASCADE');

# a view in place of a followed table, noticed at no change yet, when the stream begins
$source->safe_psql('postgres', 'CREATE SCHEMA v; CREATE TABLE v.t (id int PRIMARY KEY); INSERT INTO v.t VALUES (1)');
pull_from($hub, 'v', 'src', ['v.t'], 'v');
caught_up($hub, 'v');
stop_pipeline($hub, 'v');
$source->safe_psql('postgres', 'ALTER TABLE v.t RENAME TO kept; CREATE VIEW v.t AS SELECT * FROM v.kept');
$hub->safe_psql('postgres', "SELECT tapdata.start('v')");
caught_up($hub, 'v');
sql_becomes($hub, "SELECT state FROM tapdata.status WHERE name = 'v'", 'streaming', 'a view with the name of a followed table is passed over');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('v', true)");

done_testing();
