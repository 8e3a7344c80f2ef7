# Every command on publish pipelines; the target is a file, so that nothing but the
# core is tested.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('publish_commands', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $target = Tapdata::Fake::Target->new;
my $uri = $target->uri;

$hub->safe_psql('postgres', qq(
	SELECT tapdata.connect('t', '$uri');
	CREATE SCHEMA erp;
	CREATE TABLE erp.orders (id int PRIMARY KEY, amount numeric, note text);
	CREATE TABLE erp.lines (id int PRIMARY KEY, ordered int);
	CREATE TABLE erp.customers (id int PRIMARY KEY, name text);
	CREATE UNLOGGED TABLE erp.scratch (id int PRIMARY KEY);
	CREATE VIEW erp.seen AS SELECT * FROM erp.orders;
	INSERT INTO erp.orders VALUES (1, 10, 'one'), (2, 20, NULL);
	INSERT INTO erp.lines VALUES (1, 1);
	INSERT INTO erp.customers VALUES (1, 'Zoë');));

# Waits until the target has what the hub has committed.
sub published
{
	my ($pipeline) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return caught_up($hub, $pipeline || 'p');
}

sub slots
{
	return $hub->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots');
}

sql_ok($hub, q{SELECT name, source, sink FROM tapdata.connectors WHERE name LIKE 'fake%' ORDER BY 1}, "fake|t|t\nfakestore|f|t",
	'the view tells where one can publish to');

# --- what is wrong at the call ----------------------------------------------------------

sub refused
{
	my ($options, $sqlstate, $pattern, $name, $tables) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$options =~ s/'/''/g;
	$tables ||= '{erp.orders, erp.lines}';
	return sql_fails($hub, "BEGIN; SELECT tapdata.publish('p', 't', '$tables', '$options'); ROLLBACK",
		$sqlstate, $pattern, $name);
}

refused('{"nosuch": 1}', '22023', qr/unknown option "nosuch".*snapshot, publish, where, columns, origins/s,
	'an unknown option is an error that lists the others');
refused('{"snapshot": "later"}', '22023', qr/initial, never/, 'snapshot has two values');
refused('{"publish": "insert, upsert"}', '22023', qr/insert, update, delete and truncate/, 'publish knows four kinds');
refused('{"publish": ""}', '22023', qr/insert, update, delete and truncate/, 'and wants one at least');
refused('{"where": 3}', '22023', qr/option "where".*"erp\.orders": "amount > 10"/s, 'where is no number');
refused('{"where": {"erp.orders": ["amount > 1"]}}', '22023', qr/option "where"/, 'nor an object of lists');
refused('{"where": {"erp.orders": " "}}', '22023', qr/option "where"/, 'nor empty');
refused('{"where": {"erp.nosuch": "amount > 1"}}', '42P01', qr/option "where" names "erp\.nosuch".*no table of the pipeline/,
	'where names tables of the pipeline only');
refused('{"where": {"erp.*": "id > 1", "*.orders": "id > 2"}}', '22023',
	qr/option "where" has two values for table erp\.orders/, 'two patterns for one table are an error');
refused('{"columns": "id"}', '22023', qr/option "columns".*\["id", "amount"\]/s, 'columns is no text');
refused('{"columns": {"erp.orders": []}}', '22023', qr/option "columns"/, 'nor an empty list');
refused('{"columns": {"erp.orders": [1]}}', '22023', qr/option "columns"/, 'nor a list of numbers');
refused('{"columns": {"erp.orders": ["id", "amount", "id"]}}', '42701', qr/column "id" more than once/, 'nor a list with one twice');
refused('{"columns": {"erp.nosuch": ["id"]}}', '42P01', qr/option "columns" names "erp\.nosuch"/,
	'columns names tables of the pipeline only');
refused('{"columns": {"erp.orders": ["id", "nosuch"]}}', '42703', qr/nosuch/, 'and columns that there are');
refused('{"origins": ["any", "local"]}', '22023', qr/option "origins"/, 'any origin, or some');
refused('{"origins": "local,,x"}', '22023', qr/option "origins"/, 'origins that are empty');
refused('{"origins": ["local", "nosuch"]}', '42704', qr/names "nosuch".*neither a pull pipeline nor a replication origin/,
	'origins that there are');
refused('{"batch_bytes": 1}', '22023', qr/1024/, 'numbers have limits');
refused('{"where": {"erp.orders": "nosuch > 1"}}', '42703', qr/nosuch/, 'a condition over what is not there');
refused('{"where": {"erp.orders": "amount >"}}', '42601', qr/./, 'a condition that is no SQL');
refused('{"where": {"erp.orders": "random() > 0.5"}}', '0A000', qr/./, 'a condition that is volatile');
refused('{"where": {"erp.orders": "id IN (SELECT id FROM erp.lines)"}}', '0A000', qr/./, 'a condition with a query');
refused('{"where": {"erp.orders": "id > 1 AND amount > 10"}}', '55000', qr/needs column "amount" of old rows.*REPLICA IDENTITY FULL/s,
	'a condition on what is not told of old rows');
refused('{"columns": {"erp.orders": ["amount"]}}', '55000', qr/lack "id" of its replica identity/, 'columns without the key');
refused('{"where": {"erp.orders": "amount"}}', '42804', qr/boolean/, 'a condition that is none');
refused('{"failover": true}', '0A000', qr/PostgreSQL 17/, 'failover slots need PostgreSQL 17')
  if $hub->safe_psql('postgres', 'SHOW server_version_num') < 170000;

refused('{}', '42P01', qr/no hub table matches "erp\.nosuch"/, 'a pattern that matches nothing', '{erp.orders, erp.nosuch}');
refused('{}', '42P01', qr/no hub table matches "erp\.scratch"/, 'unlogged tables cannot be published', '{erp.scratch}');
refused('{}', '42P01', qr/no hub table matches "erp\.seen"/, 'nor views', '{erp.seen}');
refused('{}', '42P01', qr/no hub table matches "pg_catalog\.pg_class"/, 'nor those of PostgreSQL', '{pg_catalog.pg_class}');
refused('{}', '42P01', qr/no hub table matches "tapdata\.connection"/, 'nor those of tapdata', '{tapdata.connection}');
refused('{}', '42P01', qr/exclude every table/, 'patterns that exclude everything', '{erp.orders, !erp.*}');
refused('{}', '42602', qr/malformed table pattern/, 'a malformed pattern', '{a.b.c}');

$hub->safe_psql('postgres', 'CREATE TABLE erp.keyless (id int)');
refused('{}', '55000', qr/keyless.*REPLICA IDENTITY FULL/s, 'a table whose updates could not be told', '{erp.keyless}');
$hub->safe_psql('postgres', 'DROP TABLE erp.keyless');

$hub->safe_psql('postgres', q{SELECT tapdata.connect('nowhere', 'fake:///nosuch/folder/file')});
sql_fails($hub, q{SELECT tapdata.publish('p', 'nowhere', '{erp.orders}')}, '08006',
	qr/does not pass the check "file".*Create the folder/s, 'the checks of the target are made');
sql_fails($hub, q{SELECT tapdata.publish('p', 'nosuch', '{erp.orders}')}, '42704', qr/"nosuch" does not exist/,
	'a connection that is not there');
sql_fails($hub, q{SELECT tapdata.publish(NULL, 't', '{erp.orders}')}, '22004', qr/"name" must not be null/, 'no name');

$hub->safe_psql('postgres', q{BEGIN; SELECT tapdata.publish('p', 't', '{erp.*}'); ROLLBACK});
sql_ok($hub, q{SELECT (SELECT count(*) FROM tapdata.pipelines), (SELECT count(*) FROM tapdata.tables),
	(SELECT count(*) FROM pg_replication_slots)}, '0|0|0', 'nothing half made, also when rolled back');

# --- publish, with a table left out -----------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.publish('p', 't', '{erp.*, !erp.customers}')});
published();
sql_ok($hub, q{SELECT name, direction, connection, tables, into_schema IS NULL, enabled FROM tapdata.pipelines},
	'p|publish|t|{erp.*,!erp.customers}|t|t', 'the pipeline is there');
sql_becomes($hub, q{SELECT source_table, hub_table, state, rows_copied FROM tapdata.tables ORDER BY 1},
	"erp.lines|erp.lines|streaming|1\nerp.orders|erp.orders|streaming|2", 'so are its tables');
sql_becomes($hub, q{SELECT direction, state, tables, position IS NOT NULL, source_position IS NOT NULL, lag_seconds,
	last_error IS NULL, since IS NOT NULL FROM tapdata.status}, 'publish|streaming|2|t|t|0|t|t',
	'status of a pipeline at rest');
sql_ok($hub, q{SELECT position::pg_lsn <= source_position::pg_lsn FROM tapdata.status}, 't', 'its positions are LSNs');
is(slots(), 1, 'it has a slot');
is_deeply($target->rows('erp.orders', 'id'),
	{ 1 => { id => 1, amount => 10, note => 'one' }, 2 => { id => 2, amount => 20, note => undef } },
	'the target has the rows');

$hub->safe_psql('postgres', q{
	INSERT INTO erp.orders VALUES (3, 30, 'three');
	UPDATE erp.orders SET note = 'uno' WHERE id = 1;
	DELETE FROM erp.orders WHERE id = 2;
	INSERT INTO erp.customers VALUES (2, 'nobody');});
published();
is_deeply([ sort keys %{ $target->rows('erp.orders', 'id') } ], [ 1, 3 ], 'and the changes');
is_deeply($target->rows('erp.customers', 'id'), {}, 'but not those of the table that is left out');
sql_becomes($hub, q{SELECT inserts, updates, deletes, transactions, bytes > 0 FROM tapdata.status}, '1|1|1|3|t',
	'changes are counted');
sql_becomes($hub, q{SELECT inserts, updates, deletes, truncates FROM tapdata.tables WHERE source_table = 'erp.orders'},
	'1|1|1|0', 'also by table');
sql_ok($hub, q{SELECT count(*) FROM tapdata.events WHERE pipeline = 'p' AND severity <> 'info'}, '0',
	'nothing else has happened');

sql_fails($hub, q{SELECT tapdata.publish('p', 't', '{erp.*}')}, '42710', qr/already exists/, 'a name is used once');
sql_fails($hub, q{SELECT tapdata.disconnect('t')}, '2BP01', qr/Pipeline "p" uses it/, 'so is its connection');

# --- add_tables, remove_tables ----------------------------------------------------------------

sql_fails($hub, q{SELECT tapdata.add_tables('p', '{erp.nosuch}')}, '42P01', qr/no hub table matches "erp\.nosuch"/,
	'only tables that there are can be added');
$hub->safe_psql('postgres', q{SELECT tapdata.add_tables('p', '{erp.customers}')});
published();
is($target->rows('erp.customers', 'id')->{1}{name}, 'Zoë', 'a table that is added is copied')
  or diag explain $target->rows('erp.customers', 'id');
$hub->safe_psql('postgres', q{UPDATE erp.customers SET name = 'Ann' WHERE id = 1});
published();
is($target->rows('erp.customers', 'id')->{1}{name}, 'Ann', 'and streams');

sql_fails($hub, q{SELECT tapdata.remove_tables('p', '{erp.nosuch}')}, '42P01', qr/no table that matches/,
	'only tables that it has can be removed');
$hub->safe_psql('postgres', q{SELECT tapdata.remove_tables('p', '{erp.lines}')});
$hub->safe_psql('postgres', q{INSERT INTO erp.lines VALUES (2, 3); INSERT INTO erp.orders VALUES (4, 40, 'four')});
published();
sql_ok($hub, q{SELECT string_agg(source_table, ' ' ORDER BY source_table) FROM tapdata.tables}, 'erp.customers erp.orders',
	'a table that was removed is gone');
is_deeply([ keys %{ $target->rows('erp.lines', 'id') } ], [1], 'and its changes are not sent');
is($target->rows('erp.orders', 'id')->{4}{note}, 'four', 'those of the others are');
sql_fails($hub, q{SELECT tapdata.remove_tables('p', '{erp.*, erp.customers}')}, '22023', qr/no table would be left/, 'not all can be removed');

# --- a table that comes later -------------------------------------------------------------------

$hub->safe_psql('postgres', q{CREATE TABLE erp.later (id int PRIMARY KEY); INSERT INTO erp.later VALUES (1), (2)});
wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE source_table = 'erp.later'}, 'streaming');
published();
is(scalar keys %{ $target->rows('erp.later', 'id') }, 2, 'a table that comes to match is published by itself');

# --- stop, start, options ---------------------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.stop('p')});
wait_for_state($hub, 'p', 'stopped');
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (5, 50, 'five')});
sql_fails($hub, q{SELECT tapdata.wait('p')}, '55000', qr/"p" is stopped/, 'nobody waits for a stopped pipeline');
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
published();
is($target->rows('erp.orders', 'id')->{5}{note}, 'five', 'it goes on where it was stopped');

sql_fails($hub, q{SELECT tapdata.alter_pipeline('p', '{"where": {"erp.nosuch": "id > 1"}}')}, '42P01',
	qr/names "erp\.nosuch"/, 'altered options are checked with the tables');
sql_fails($hub, q{SELECT tapdata.alter_pipeline('p', '{"workers": 2}')}, '22023', qr/unknown option "workers"/,
	'options of pull pipelines are not known here');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"where": {"erp.orders": "id <> 6"}, "columns": {"erp.customers": ["id"]}}')});
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (6, 60, 'left out'), (7, 70, 'seven'); INSERT INTO erp.customers VALUES (7, 'secret')});
published();
is_deeply([ grep { $_ >= 6 } sort keys %{ $target->rows('erp.orders', 'id') } ], [7], 'a condition holds from then on');
is_deeply($target->rows('erp.customers', 'id')->{7}, { id => 7 }, 'so does a list of columns');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"where": null, "columns": null}')});

$target->fault('flush', 1, '28000', 'the password has expired', always => 1);
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (8, 80, 'eight')});
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'the password has expired' FROM tapdata.status}, 't', 'it fails and says of what');
$target->mend;
my $other = Tapdata::Fake::Target->new;
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('t', '" . $other->uri . "'); SELECT tapdata.start('p')");
published();
is($other->rows('erp.orders', 'id')->{8}{note}, 'eight', 'the target can move');
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('t', '$uri')");
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (9, 90, 'nine')});
published();
is($target->rows('erp.orders', 'id')->{9}{note}, 'nine', 'and back, which a running worker follows');

# --- a target that is slow to acknowledge --------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"ack_delay_ms": 60000}')});
$hub->safe_psql('postgres', q{UPDATE erp.orders SET note = 'late' WHERE id = 9});
wait_for_sql($hub, q{SELECT lag_bytes > 0 AND position::pg_lsn < source_position::pg_lsn FROM tapdata.status});
sql_fails($hub, q{SELECT tapdata.wait('p', '300 ms')}, '55P03', qr/p/, 'one waits until the target has acknowledged');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"ack_delay_ms": null}')});
published();
sql_becomes($hub, q{SELECT lag_bytes, lag_seconds FROM tapdata.status}, '0|0', 'no lag is left then');

# --- resync -----------------------------------------------------------------------------------

sub copies
{
	my ($table) = @_;

	return join ' ', map { $_->{again} } grep { $_->{kind} eq 'copy' && $_->{table} eq $table } $target->lines;
}

sql_fails($hub, q{SELECT tapdata.resync('p', 'erp.nosuch')}, '42P01', qr/has no table "erp\.nosuch"/, 'resync of a table it lacks');
$hub->safe_psql('postgres', q{SELECT tapdata.resync('p', 'erp.orders')});
published();
is(copies('erp.orders'), '0 1', 'resync copies a table again, and says so');
is(copies('erp.customers'), '0', 'only that one');
sql_ok($hub, q{SELECT count(*) FROM erp.orders}, '8', 'the hub table is as it was');
is(scalar keys %{ $target->rows('erp.orders', 'id') }, 8, 'so is the target');
$hub->safe_psql('postgres', q{SELECT tapdata.resync('p')});
published();
is(copies('erp.orders') . copies('erp.customers'), '0 1 10 1', 'resync copies all of them');
is(slots(), 1, 'there is one slot still');
$hub->safe_psql('postgres', q{DELETE FROM erp.orders WHERE id > 5});
published();
is_deeply([ sort keys %{ $target->rows('erp.orders', 'id') } ], [ 1, 3, 4, 5 ], 'and goes on');

# --- tables that go ------------------------------------------------------------------------------

$hub->safe_psql('postgres', q{DROP TABLE erp.later; INSERT INTO erp.orders VALUES (10, 100, 'ten')});
published();
is($target->rows('erp.orders', 'id')->{10}{note}, 'ten', 'a table that is dropped does not stop the others');

# --- wal_level, dead letters ------------------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"refuse": "evil"}')});
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (11, 110, 'evil')});
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'erp.*orders|orders.*does not like' FROM tapdata.status}, 't',
	'a change that the target refuses stops the pipeline');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"on_error": "dead_letter"}'); SELECT tapdata.start('p')});
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (12, 120, 'good')});
published();
is_deeply([ grep { $_ > 10 } sort keys %{ $target->rows('erp.orders', 'id') } ], [12], 'or becomes a dead letter');
sql_ok($hub, q{SELECT pipeline, "table", sqlstate, change->>'line' LIKE 'insert%evil', position::pg_lsn IS NOT NULL FROM tapdata.dead_letters},
	'p|erp.orders|23514|t|t', 'that holds it whole');
sql_becomes($hub, q{SELECT state, dead_letters FROM tapdata.status}, 'streaming|1', 'the status counts it');
sql_fails($hub, q{SELECT tapdata.retry_dead_letters('p')}, '0A000', qr/UPDATE.*discard_dead_letters/s,
	'dead letters of a target are not sent again');
sql_ok($hub, q{SELECT tapdata.discard_dead_letters('p')}, '1', 'but can be discarded');

# --- dropping ---------------------------------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('p', drop_tables => true)});
sql_ok($hub, q{SELECT count(*) FROM erp.orders}, '7', 'drop_pipeline never drops tables that are published');
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', '0');
sql_ok($hub, q{SELECT (SELECT count(*) FROM tapdata.pipelines), (SELECT count(*) FROM tapdata.pipeline_table),
	(SELECT count(*) FROM tapdata.position)}, '0|0|0', 'nothing is left');
sql_ok($hub, q{SELECT tapdata.disconnect('t')}, '', 'the connection can go');

# --- origins ------------------------------------------------------------------------------

my $source = Tapdata::Fake->new('a');
my %of = map { $_ => Tapdata::Fake::Target->new } qw(all local pulled both);

$source->txn('insert a 1 one');
$hub->safe_psql('postgres', $source->pull_sql('shop'));
caught_up($hub, 'shop');
$hub->safe_psql('postgres', $of{$_}->publish_sql("o_$_", ['shop.a'],
	qq({"snapshot": "never", "origins": ) . { all => '"any"', local => '"local"', pulled => '"shop"', both => '["shop", "local"]' }->{$_} . '}'))
  for sort keys %of;
published("o_$_") for sort keys %of;
$source->txn('insert a 2 pulled');
caught_up($hub, 'shop');
$hub->safe_psql('postgres', q{INSERT INTO shop.a VALUES (3, 'local')});
published("o_$_") for sort keys %of;
is_deeply([ map { join ' ', sort keys %{ $of{$_}->rows('shop.a', 'id') } } qw(all local pulled both) ],
	[ '2 3', '3', '2', '2 3' ], 'origins choose whose changes are sent');
is_deeply([ map { defined $_->[0]{origin} ? 'origin' : 'local' } $of{all}->transactions ], [ 'origin', 'local' ],
	'the target is told the origin');
my ($code, $out, $err) = $hub->psql('postgres', q{SELECT tapdata.publish('loop', 'shop', '{shop.a}', '{"snapshot": "never"}')});
like($err, qr/WARNING:  table shop\.a is published to where it comes from.*Pipeline "shop" pulls it.*origins set to local/s,
	'a loop is warned of');
($code, $out, $err) = $hub->psql('postgres', q{SELECT tapdata.alter_pipeline('loop', '{"origins": "local"}'); SELECT tapdata.drop_pipeline('loop')});
is("$code$err", '0', 'but not when it is cut');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$_')") for 'shop', map { "o_$_" } sort keys %of;
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', '0');

# --- failover ------------------------------------------------------------------------------

if ($hub->safe_psql('postgres', 'SHOW server_version_num') >= 170000)
{
	my $safe = Tapdata::Fake::Target->new;

	$hub->safe_psql('postgres', $safe->publish_sql('safe', ['erp.orders'], '{"failover": true}'));
	published('safe');
	sql_ok($hub, 'SELECT failover FROM pg_replication_slots', 't', 'the slot is one for standbys, too');
	$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('safe')});
	wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', '0');
}

# --- a table that is made in the same transaction -----------------------------------------------

my $fresh = Tapdata::Fake::Target->new(holds_position => 1);
$hub->safe_psql('postgres', 'BEGIN; CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (1); ' . $fresh->publish_sql('fresh', ['fresh']) . 'COMMIT');
published('fresh');
$hub->safe_psql('postgres', 'INSERT INTO fresh VALUES (2); TRUNCATE fresh; INSERT INTO fresh VALUES (3)');
published('fresh');
is_deeply([ keys %{ $fresh->rows('public.fresh', 'id') } ], [3], 'is published from its first row on');
sql_becomes($hub, q{SELECT truncates FROM tapdata.tables WHERE pipeline = 'fresh'}, '1', 'and its truncate counted');
$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('fresh')});
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', '0');

# --- two pipelines of one table, and what a dump holds ---------------------------------------------

my @targets = map { Tapdata::Fake::Target->new } 1 .. 2;
$hub->safe_psql('postgres', $targets[$_]->publish_sql("d$_", ['erp.orders'])) for 0 .. 1;
published("d$_") for 0 .. 1;
is(scalar keys %{ $_->rows('erp.orders', 'id') }, 7, 'a table can be published more than once') for @targets;
my $dump = PostgreSQL::Test::Utils::tempdir() . '/hub.sql';
$hub->command_ok([ 'pg_dump', '--file', $dump, $hub->connstr('postgres') ], 'a dump');
$hub->safe_psql('postgres', 'CREATE DATABASE restored');
$hub->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $hub->connstr('restored'), '-f', $dump ], 'can be restored');
is($hub->safe_psql('restored', 'SELECT name, state FROM tapdata.status ORDER BY 1'), "d0|stopped\nd1|stopped",
	'with its pipelines stopped');
is($hub->safe_psql('restored', 'SELECT pipeline, source_table, hub_table FROM tapdata.tables ORDER BY 1'),
	"d0|erp.orders|erp.orders\nd1|erp.orders|erp.orders", 'and their tables');
$hub->safe_psql('postgres', q{SELECT tapdata.stop('d0')});
$hub->safe_psql('restored', q{SELECT tapdata.start('d0')});
wait_for_state($hub, 'd0', 'failed', undef, 'restored');
like($hub->safe_psql('restored', q{SELECT last_error FROM tapdata.status WHERE name = 'd0'}), qr/resync/,
	'started, it says that it has to begin anew');
$hub->safe_psql('restored', q{SELECT tapdata.resync('d0')});
caught_up($hub, 'd0', undef, 'restored');
is(slots(), 3, 'as it then does');

# --- databases and extensions that go ----------------------------------------------------------------

$hub->safe_psql('postgres', 'DROP DATABASE restored');
is(slots(), 2, 'DROP DATABASE takes its slots');
sql_ok($hub, q{DROP EXTENSION tapdata}, '', 'DROP EXTENSION');
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', '0');

# --- a server that cannot decode -----------------------------------------------------------------------

$hub->safe_psql('postgres', 'CREATE EXTENSION tapdata');
$hub->append_conf('postgresql.conf', 'wal_level = replica');
$hub->restart;
$hub->safe_psql('postgres', "SELECT tapdata.connect('t', '$uri')");
sql_fails($hub, q{SELECT tapdata.publish('p', 't', '{erp.orders}')}, '55000', qr/wal_level/, 'wal_level is checked at the call');

$hub->stop;
done_testing();
