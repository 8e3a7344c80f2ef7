# Every command on a pipeline that runs; the source is a file, so that nothing but the
# core is tested.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('commands', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $source = Tapdata::Fake->new('a', 'b', 'c');

$source->txn('insert a 1 one', 'insert b 1 eins', 'insert c 1 un');
$hub->safe_psql('postgres', "SELECT tapdata.connect('f', '" . $source->uri . "')");

# --- what a source has --------------------------------------------------------

sql_ok($hub, q{SELECT source_table, key_columns, columns->0->>'type' FROM tapdata.discover('f')},
	"fake.a|{id}|bigint\nfake.b|{id}|bigint\nfake.c|{id}|bigint", 'discover lists all tables');
sql_ok($hub, q{SELECT source_table FROM tapdata.discover('f', '?') WHERE source_table = 'fake.b'},
	'fake.b', 'discover takes a pattern');
sql_ok($hub, q{SELECT count(*) FROM tapdata.discover('f', 'other.*')}, '0',
	'a pattern that matches nothing gives no rows');
sql_ok($hub, q{SELECT check_name, ok FROM tapdata.test_connection('f')}, 'file|t',
	'test_connection shows the checks');

# --- what is wrong at the call --------------------------------------------------

sub nothing_half_made
{
	my ($name) = @_;

	sql_ok($hub,
		q{SELECT (SELECT count(*) FROM tapdata.pipelines), to_regnamespace('f') IS NULL,
		    (SELECT count(*) FROM pg_replication_origin)},
		'0|t|0', "nothing half made: $name");
	return;
}

sql_fails($hub, q{SELECT tapdata.pull('p', 'f', '{fake.a, fake.nosuch}')}, '42P01',
	qr/no table of the source matches "fake\.nosuch".*fake\.a, fake\.b, fake\.c/s,
	'a pattern that matches nothing is an error that lists tables');
nothing_half_made('unmatched pattern');
sql_fails($hub, q{SELECT tapdata.pull('p', 'f', '{fake.*, !fake.?}')}, '42P01',
	qr/exclude every table/, 'patterns that exclude everything are an error');
nothing_half_made('all excluded');

$hub->safe_psql('postgres', 'CREATE SCHEMA taken; CREATE TABLE taken.b (x int)');
sql_fails($hub, q{SELECT tapdata.pull('p', 'f', '{fake.*}', 'taken')}, '42P07',
	qr/relation taken\.b already exists.*No pipeline fills it/s,
	'a table that is not ours is not touched');
nothing_half_made('hub table taken');
sql_ok($hub, q{SELECT to_regclass('taken.a') IS NULL}, 't', 'and none of the others was made');

$source->break('28P01', 'wrong password');
sql_fails($hub, q{SELECT tapdata.pull('p', 'f', '{fake.*}')}, '28P01', qr/wrong password/,
	'an error of the source comes through');
nothing_half_made('source fails');
$source->mend;

$hub->safe_psql('postgres', q{BEGIN; SELECT tapdata.pull('p', 'f', '{fake.*}'); ROLLBACK});
nothing_half_made('rolled back');

# --- pull, with a table left out ---------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.pull('p', 'f', '{fake.*, !fake.c}')});
caught_up($hub, 'p');
sql_becomes($hub, q{SELECT source_table, hub_table, state FROM tapdata.tables ORDER BY 1},
	"fake.a|f.a|streaming\nfake.b|f.b|streaming", 'an excluded table is not pulled');
sql_becomes($hub, q{SELECT state, tables, position = source_position, lag_seconds, last_error IS NULL,
	since IS NOT NULL FROM tapdata.status}, 'streaming|2|t|0|t|t', 'status of a pipeline at rest');
sql_fails($hub, q{SELECT tapdata.pull('q', 'f', '{fake.a}')}, '42P07',
	qr/Pipeline "p" fills it from fake\.a/, 'two pipelines on one hub table are an error');

$source->txn('insert a 2 two', 'update b 1 uno');
caught_up($hub, 'p');
sql_ok($hub, 'SELECT a.value, b.value FROM f.a, f.b WHERE a.id = 2', 'two|uno', 'changes arrive');
sql_becomes($hub, 'SELECT inserts, updates, deletes, transactions FROM tapdata.status', '1|1|0|1',
	'changes are counted');

# --- tables come and go ---------------------------------------------------------------

sql_fails($hub, q{SELECT tapdata.add_tables('p', '{fake.nosuch}')}, '42P01', qr/matches "fake\.nosuch"/,
	'adding a table that is not there is an error');
$hub->safe_psql('postgres', q{SELECT tapdata.add_tables('p', '{fake.c}')});
caught_up($hub, 'p');
sql_ok($hub, 'SELECT value FROM f.c', 'un', 'an added table is copied');
sql_ok($hub, 'SELECT tables FROM tapdata.pipelines', '{fake.*,fake.c}',
	'adding takes the exclusion away');

$hub->safe_psql('postgres', q{SELECT tapdata.remove_tables('p', '{fake.b}')});
$source->txn('update b 1 due', 'insert a 3 three');
caught_up($hub, 'p');
sql_ok($hub, 'SELECT value FROM f.b', 'uno', 'a removed table stays as it is');
sql_ok($hub, 'SELECT value FROM f.a WHERE id = 3', 'three', 'while the others go on');
sql_ok($hub, 'SELECT tables FROM tapdata.pipelines', '{fake.*,fake.c,!fake.b}',
	'a removed table is excluded');

# --- stop and start -----------------------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.stop('p')});
sql_ok($hub, 'SELECT state FROM tapdata.status', 'stopped', 'stop stops');
$source->txn('insert a 4 four');
sql_fails($hub, q{SELECT tapdata.wait('p')}, '55000', qr/is stopped.*tapdata\.start/s,
	'nobody can wait for a stopped pipeline');
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
caught_up($hub, 'p');
sql_ok($hub, 'SELECT value FROM f.a WHERE id = 4', 'four', 'start goes on where stop left off');

# --- wait ---------------------------------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"workers": 1}')});
caught_up($hub, 'p');
my $holder = $hub->background_psql('postgres', on_error_stop => 1);
$holder->query_safe('BEGIN; LOCK TABLE f.a IN ACCESS EXCLUSIVE MODE');
$source->txn('insert a 5 five');
sql_fails($hub, q{SELECT tapdata.wait('p', '1 s')}, '55P03',
	qr/timeout while waiting.*the source was at/s, 'wait gives up in time');
sql_fails($hub, q{SET statement_timeout = 500; SELECT tapdata.wait('p', '1 min')}, '57014',
	qr/statement timeout/, 'wait can be interrupted');
$holder->query_safe('ROLLBACK');
$holder->quit;
caught_up($hub, 'p');
sql_ok($hub, 'SELECT value FROM f.a WHERE id = 5', 'five', 'and goes on when the way is free');

# --- failure --------------------------------------------------------------------------------

$hub->safe_psql('postgres', q{DELETE FROM f.a WHERE id = 1});
$source->txn('update a 1 gone');
wait_for_state($hub, 'p', 'failed');
sql_fails($hub, q{SELECT tapdata.wait('p')}, '55000', qr/has failed.*tapdata\.start/s,
	'waiting for a failed pipeline is an error');
sql_ok($hub, q{SELECT last_error <> '', since > now() - interval '1 min' FROM tapdata.status}, 't|t',
	'status has the error');
sql_ok($hub, q{SELECT count(*) > 0 FROM tapdata.events WHERE severity = 'error'}, 't',
	'so have the events');

# --- resync ---------------------------------------------------------------------------------

sql_fails($hub, q{SELECT tapdata.resync('p', 'fake.b')}, '42P01', qr/has no table "fake\.b"/,
	'a table of another pipeline, or none, cannot be synchronized');
$hub->safe_psql('postgres', q{SELECT tapdata.resync('p', 'f.a')});
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*), min(value) FROM f.a', '5|five', 'resync mends a table');
$hub->safe_psql('postgres', 'TRUNCATE f.c');
$hub->safe_psql('postgres', q{SELECT tapdata.resync('p')});
caught_up($hub, 'p');
sql_ok($hub, 'SELECT (SELECT count(*) FROM f.a), (SELECT count(*) FROM f.c)', '5|1',
	'resync of everything, too');
$source->txn('delete a 5', 'insert c 2 deux');
caught_up($hub, 'p');
sql_ok($hub, 'SELECT (SELECT count(*) FROM f.a), (SELECT count(*) FROM f.c)', '4|2',
	'and the stream goes on after it');

# --- drop ------------------------------------------------------------------------------------

sql_fails($hub, q{SELECT tapdata.disconnect('f')}, '2BP01', qr/Pipeline "p" uses it/,
	'a connection in use cannot be removed');
$hub->safe_psql('postgres', q{BEGIN; SELECT tapdata.drop_pipeline('p', true); ROLLBACK});
$source->txn('insert c 3 trois');
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*) FROM f.c', '3', 'a drop that is rolled back never happened');
$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('p', drop_tables => true)});
sql_ok($hub, q{SELECT to_regclass('f.a') IS NULL, to_regclass('f.b') IS NOT NULL, to_regclass('f.c') IS NULL},
	't|t|t', 'drop_pipeline drops its hub tables, and no others');
wait_for_sql($hub, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'tapdata pipeline%'}, '0');
sql_ok($hub, 'SELECT count(*) FROM pg_replication_origin', '0', 'and its replication origin');
$hub->safe_psql('postgres', q{SELECT tapdata.disconnect('f')});

$hub->stop;
done_testing();
