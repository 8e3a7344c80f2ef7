# What pull() refuses at the call, and leaves nothing behind: a source that lacks something, a
# publication or a slot that is not what the pipeline needs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $source = new_source('source');

# the pipeline p of these tables, into the schema h
sub pull_call
{
	my ($connection, $tables, $options) = @_;
	my $list = join ',', map { "'$_'" } @$tables;

	return "SELECT tapdata.pull('p', '$connection', ARRAY[$list], 'h', '" . ($options || '{}') . "')";
}

sub made
{
	return $hub->safe_psql('postgres', q(SELECT count(*) || ' pipelines, ' || (SELECT count(*) FROM pg_namespace WHERE nspname = 'h') || ' schemas, ' FROM tapdata.status))
	  . $source->safe_psql('postgres', q(SELECT string_agg(n, ' ' ORDER BY n) FROM (SELECT pubname FROM pg_publication UNION ALL SELECT slot_name FROM pg_replication_slots) x (n)));
}

# The error's text.
sub refused
{
	my ($call, $sqlstate, $pattern, $name) = @_;
	my $before = made();
	my ($code, $out, $err) = $hub->psql('postgres', "\\set VERBOSITY verbose\n$call");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($code != 0 && $err =~ /ERROR:\s+$sqlstate:/ && $err =~ $pattern, $name)
	  or diag "expected $sqlstate $pattern, got: " . ($code ? $err : 'success');
	is(made(), $before, "$name: nothing was made");
	return $err;
}

sub pulled
{
	my ($connection, $tables, $options) = @_;

	$hub->safe_psql('postgres', pull_call($connection, $tables, $options));
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return caught_up($hub, 'p');
}

sub dropped
{
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true)));
	$hub->safe_psql('postgres', 'DROP SCHEMA h CASCADE');
	return;
}

at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.t (id int PRIMARY KEY, v text)',
	q{INSERT INTO s.t SELECT i, 'v' FROM generate_series(1, 10) i},
	'CREATE TABLE s.log (what text)',
	'CREATE TABLE s.hidden (id int PRIMARY KEY)',
	'ALTER TABLE s.hidden ENABLE ROW LEVEL SECURITY',
	'CREATE TABLE s.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)',
	'CREATE TABLE s.low PARTITION OF s.parted FOR VALUES FROM (0) TO (100)',
	'CREATE TABLE s.high PARTITION OF s.parted FOR VALUES FROM (100) TO (200)',
	q{INSERT INTO s.parted SELECT i, 'v' FROM generate_series(50, 150, 2) i});
connect_source($hub, $source, 'src');

# ---------------------------------------------------------------------
# Roles that may not do all that it takes
# ---------------------------------------------------------------------

at_source($source, 'CREATE ROLE maker LOGIN REPLICATION', 'GRANT CREATE ON DATABASE postgres TO maker',
	'CREATE ROLE reader LOGIN REPLICATION', 'CREATE ROLE plain LOGIN', 'GRANT CREATE ON DATABASE postgres TO plain',
	'CREATE ROLE stranger LOGIN REPLICATION', 'GRANT CREATE ON DATABASE postgres TO stranger');
for my $role (qw(maker reader plain stranger))
{
	at_source($source, "GRANT USAGE ON SCHEMA s TO $role");
	at_source($source, "GRANT SELECT ON s.t, s.hidden TO $role") if $role ne 'stranger';
	connect_source($hub, $source, $role, user => $role);
}
for my $case (
	[ 'plain', 's.t', '42501', 'source_replication', 'ALTER ROLE "plain" REPLICATION', 'no attribute REPLICATION' ],
	[ 'reader', 's.t', '42501', 'source_publication', 'GRANT CREATE ON DATABASE "postgres" TO "reader"', 'no right to make a publication' ],
	[ 'maker', 's.t', '42501', 'source_owner', 'GRANT "postgres" TO "maker"', 'no ownership' ],
	[ 'maker', 's.hidden', '42501', 'source_row_security', 'ALTER ROLE "maker" BYPASSRLS', 'rows that a policy hides' ],
	[ 'stranger', 's.t', '42P01', '', 'can read no table', 'no right to read' ],
	[ 'src', 's.log', '55000', 'source_identity', 'ALTER TABLE "s"."log" REPLICA IDENTITY FULL', 'no replica identity' ])
{
	my ($connection, $table, $sqlstate, $check, $hint, $name) = @$case;

	refused(pull_call($connection, [$table]), $sqlstate, $check ? qr/"$check".*\Q$hint\E/s : qr/\Q$hint\E/, $name);
	next if $check !~ /source_(replication|publication)/;
	like($hub->safe_psql('postgres', "SELECT ok, hint FROM tapdata.test_connection('$connection', 'source') WHERE check_name = '$check'"),
		qr/^f\|.*\Q$hint\E/, "$name: test_connection() tells, too");
}

like($hub->safe_psql('postgres', q(SELECT ok, detail, hint FROM tapdata.test_connection('plain', 'source') WHERE check_name = 'source_stream')),
	qr/^f\|.*(must be|REPLICATION).*\|Check the attribute REPLICATION, max_wal_senders and pg_hba.conf/s, 'the server lets nobody in for replication without it');

# ---------------------------------------------------------------------
# A slot of the user's
# ---------------------------------------------------------------------

at_source($source, q{SELECT pg_create_physical_replication_slot('physical')}, 'CREATE DATABASE other');
$source->safe_psql('other', q{SELECT pg_create_logical_replication_slot('other', 'pgoutput')});
for my $case (
	[ 'physical', '55000', qr/"source_slot".*"physical" is: physical.*Name another one by the option "slot"/s, 'a physical slot' ],
	[ 'other', '55000', qr/"source_slot".*logical pgoutput in database other.*Name another one/s, 'a slot of another database' ],
	[ 'No-Name', '42602', qr/"source_slot".*lower-case letters, digits and underscores/s, 'what no slot can be called' ],
	[ 'a' x 64, '42602', qr/"source_slot".*63 at most/s, 'a name that is too long' ])
{
	my ($slot, @expected) = @$case;

	refused(pull_call('src', ['s.t'], qq({"slot": "$slot"})), @expected);
}

# ---------------------------------------------------------------------
# A publication of the user's: kinds of change
# ---------------------------------------------------------------------

refused(pull_call('src', ['s.t'], '{"publication": "nope"}'), '42704',
	qr/"source_publication".*publication "nope" does not exist.*Create it there.*leave the option/s, 'a publication that is not there');
at_source($source, q{CREATE PUBLICATION few FOR TABLE s.t WITH (publish = 'insert')},
	q{CREATE PUBLICATION late FOR TABLE s.t WITH (publish = 'update, delete')},
	q{CREATE PUBLICATION log FOR TABLE s.log WITH (publish = 'insert')});
refused(pull_call('src', ['s.t'], '{"publication": "few"}'), '55000',
	qr/does not publish: update, delete, truncate.*SET \(publish = 'insert, update, delete, truncate'\);.*changes = published/s,
	'a publication of inserts');
refused(pull_call('src', ['s.t'], '{"publication": "late", "changes": "published"}'), '55000',
	qr/does not publish: insert.*SET \(publish = 'insert, update, delete'\);/s, 'a publication without inserts');
refused(pull_call('src', ['s.log'], '{"publication": "log", "without_identity": "inserts"}'), '55000',
	qr/does not publish: truncate.*SET \(publish = 'insert, truncate'\);/s, 'a table that is followed by its inserts is emptied, too');
at_source($source, q{ALTER PUBLICATION log SET (publish = 'insert, truncate')});
pulled('src', ['s.log'], '{"publication": "log", "without_identity": "inserts"}');
at_source($source, q{INSERT INTO s.log VALUES ('new')});
caught_up($hub, 'p');
same_as_source($hub, $source, 's.log', 'h.log', 'inserts and TRUNCATE are all that such a table needs');
dropped();

# the statements of the hint leave no table behind whose updates the source would refuse
at_source($source, 'CREATE TABLE s.keyless (id int, v text)', 'CREATE TABLE s.keyless_parted (id int, v text) PARTITION BY RANGE (id)',
	'CREATE TABLE s.keyless_low PARTITION OF s.keyless_parted FOR VALUES FROM (0) TO (100)',
	q{INSERT INTO s.keyless VALUES (1, 'v')}, q{INSERT INTO s.keyless_parted VALUES (1, 'v')},
	q{CREATE PUBLICATION mixed FOR TABLE s.t, s.keyless, s.keyless_parted WITH (publish = 'insert', publish_via_partition_root = true)});
my @mixed = ('s.t', 's.keyless', 's.keyless_parted');
my $full = 'REPLICA IDENTITY FULL';
my $mixed = refused(pull_call('src', \@mixed, '{"publication": "mixed", "without_identity": "inserts"}'), '55000',
	qr/ALTER TABLE "s"."keyless" $full; ALTER TABLE "s"."keyless_low" $full; ALTER TABLE "s"."keyless_parted" $full; ALTER PUBLICATION "mixed" SET/,
	'a publication that cannot publish updates of all of its tables');
at_source($source, grep { /\S/ } split /;/, ($mixed =~ /Run at the source: (.*;)/)[0]);
pulled('src', \@mixed, '{"publication": "mixed", "without_identity": "inserts"}');
at_source($source, map { "UPDATE $_ SET v = v || '!' WHERE id = 1" } @mixed);
caught_up($hub, 'p');
same_as_source($hub, $source, $_, s/^s/h/r, "$_ after the statements of the hint") for @mixed;
dropped();
at_source($source, q{UPDATE s.t SET v = 'v'}, 'DROP TABLE s.keyless, s.keyless_parted', 'DROP PUBLICATION mixed');

# an archive: what is deleted at the source stays, and may be made anew there
pulled('src', ['s.t'], '{"publication": "few", "changes": "published"}');
at_source($source, 'DELETE FROM s.t WHERE id <= 2', q{INSERT INTO s.t VALUES (1, 'anew'), (11, 'new')});
caught_up($hub, 'p');
is($hub->safe_psql('postgres', q(SELECT count(*), string_agg(id || v, ' ' ORDER BY id) FILTER (WHERE id < 3 OR v <> 'v') FROM h.t)),
	'11|1anew 2v 11new', 'an archive keeps what the source deletes');
dropped();

# ---------------------------------------------------------------------
# What changes later
# ---------------------------------------------------------------------

at_source($source, 'CREATE PUBLICATION hub FOR TABLE s.t');
pulled('src', ['s.t'], '{"publication": "hub", "slot": "hub"}');
refused(q(SELECT tapdata.add_tables('p', ARRAY['s.parted'])), '55000', qr/"source_publication".*"s.parted" is not in publication|"source_publication".*"s.parted" as one table/s,
	'add_tables() of a table that is not in the publication');
is($hub->safe_psql('postgres', q(SELECT string_agg(source_table, ' ') FROM tapdata.tables)), 's.t', 'the pipeline has not got it');
stop_pipeline($hub, 'p');
at_source($source, q{ALTER PUBLICATION hub SET (publish = 'insert, update')});
$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
wait_for_state($hub, 'p', 'failed');
like($hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status)),
	qr/does not publish: delete, truncate.*SET \(publish = 'insert, update, delete, truncate'\); Then call tapdata.resync\('p'\)/s,
	'what a publication does no longer publish is an error at the next start');
at_source($source, q{ALTER PUBLICATION hub SET (publish = 'insert, update, delete, truncate')}, 'DELETE FROM s.t WHERE id = 3');
$hub->safe_psql('postgres', q(SELECT tapdata.resync('p')));
caught_up($hub, 'p');
same_as_source($hub, $source, 's.t', 'h.t', 'mended as the hint says');

# what alter_pipeline() names wrong changes nothing
sub not_altered
{
	my ($options, $sqlstate, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = $hub->safe_psql('postgres', q(SELECT options FROM tapdata.pipelines WHERE name = 'p'));

	sql_fails($hub, "SELECT tapdata.alter_pipeline('p', '$options')", $sqlstate, $pattern, $name);
	is($hub->safe_psql('postgres', q(SELECT options FROM tapdata.pipelines WHERE name = 'p')), $before, 'and is refused');
	return;
}

my $pid = pipeline_pid($hub, 'p');
at_source($source, 'CREATE TABLE s.beside (id int PRIMARY KEY)', 'CREATE PUBLICATION beside FOR TABLE s.beside');
not_altered('{"publication": "nowhere"}', '42704', qr/"source_publication".*publication "nowhere" does not exist/s, 'another publication, which is not there');
not_altered('{"publication": "beside", "on_gap": "compare"}', '55000', qr/"source_publication".*ALTER PUBLICATION "beside" ADD TABLE/s, 'one that lacks a table');
not_altered('{"slot": "physical"}', '55000', qr/"source_slot".*physical/s, 'a slot of another kind');
is(pipeline_pid($hub, 'p'), $pid, 'the pipeline goes on');
at_source($source, 'DROP PUBLICATION beside', 'DROP TABLE s.beside');
$hub->safe_psql('postgres', q(SELECT tapdata.stop('p')));
wait_for_state($hub, 'p', 'stopped');
$source->stop;
not_altered('{"publication": "hub"}', '08001', qr/"connect"/, 'a source that cannot be asked');
sql_ok($hub, q(SELECT tapdata.alter_pipeline('p', '{"on_gap": "compare"}')), '', 'what the source need not be asked about');
$source->start;

# a comparison replaces the slot, but not one that is somebody else's
$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"slot": "later"}')));
at_source($source, q(SELECT pg_create_physical_replication_slot('later')));
$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
wait_for_state($hub, 'p', 'failed');
like($hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status)), qr/slot "later" of the source is not one of pgoutput/, 'a slot of another kind');
is($source->safe_psql('postgres', q(SELECT slot_type FROM pg_replication_slots WHERE slot_name = 'later')), 'physical', 'is left alone');
at_source($source, q(SELECT pg_drop_replication_slot('later')));
dropped();

# ---------------------------------------------------------------------
# Partitioned tables: each hint does what it promises
# ---------------------------------------------------------------------

sub mended
{
	my ($publication, $tables, $options, $statement, $name) = @_;
	my $all = qq({"publication": "$publication"$options});
	my $error = refused(pull_call('src', $tables, $all), '55000', qr/\Q$statement\E/, $name);
	my ($statements) = $error =~ /Run at the source: (.*;)/;

	at_source($source, grep { /\S/ } split /;/, $statements);
	pulled('src', $tables, $all);
	at_source($source, q{UPDATE s.parted SET v = v || '!' WHERE id % 3 = 0}, 'UPDATE s.parted SET id = 199 - id WHERE id % 10 IN (0, 9)');
	caught_up($hub, 'p');
	same_as_source($hub, $source, $_, $_ =~ s/^s/h/r, "$name: $_ after the statement of the hint") for @$tables;
	dropped();
	return $error;
}

my $set = 'ALTER PUBLICATION %s SET (publish_via_partition_root = %s);';
at_source($source, 'CREATE PUBLICATION root FOR TABLE s.parted', 'CREATE PUBLICATION leaves FOR TABLE s.low, s.high',
	'CREATE PUBLICATION one FOR TABLE s.low', 'CREATE PUBLICATION everything FOR ALL TABLES');
like(mended('root', ['s.parted'], '', sprintf($set, '"root"', 'true'), 'a root by its partitions'),
	qr/Or set the option partitions = leaf/, 'or by the option');
like(mended('root', [ 's.low', 's.high' ], ', "partitions": "leaf"', sprintf($set, '"root"', 'false'), 'partitions by their root'),
	qr/Or set the option partitions = root/, 'or by the option');
mended('leaves', ['s.parted'], '', 'ALTER PUBLICATION "leaves" ADD TABLE "s"."parted"; ' . sprintf($set, '"leaves"', 'true'), 'a root of which the partitions are members');
mended('one', [ 's.low', 's.high' ], ', "partitions": "leaf"', 'ALTER PUBLICATION "one" ADD TABLE "s"."high";', 'a partition that is no member');
mended('everything', ['s.parted'], '', sprintf($set, '"everything"', 'true'), 'a publication of all tables');

# ---------------------------------------------------------------------
# A server that is not set up for it
# ---------------------------------------------------------------------

sub not_set_up
{
	my ($check, $sqlstate, $detail, $hint) = @_;

	like($hub->safe_psql('postgres', "SELECT ok, detail, hint FROM tapdata.test_connection('src', 'source') WHERE check_name = '$check'"),
		qr/^f\|$detail\|.*\Q$hint\E/, "$check: test_connection() tells");
	refused(pull_call('src', ['s.t']), $sqlstate, qr/"$check".*\Q$hint\E/s, "$check: pull()");
	return;
}

sub restart_with
{
	my ($name, $value) = @_;

	at_source($source, "ALTER SYSTEM SET $name = $value");
	$source->stop;
	$source->start;
	at_source($source, "ALTER SYSTEM RESET $name");
	return;
}

at_source($source, q{SELECT pg_create_physical_replication_slot('x' || i) FROM generate_series(1, current_setting('max_replication_slots')::int
	- (SELECT count(*) FROM pg_replication_slots)::int) i});
not_set_up('source_slots', '53400', '20 of 20 replication slots are in use', 'Raise max_replication_slots at the source and restart it, or drop slots');
at_source($source, 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
restart_with('max_wal_senders', 0);
not_set_up('source_senders', '53400', '0 of 0 WAL senders are in use', 'Raise max_wal_senders at the source and restart it.');
restart_with('wal_level', 'replica');
not_set_up('source_wal_level', '55000', 'wal_level is replica', q(Run at the source: ALTER SYSTEM SET wal_level = 'logical'; and restart it.));

done_testing();
