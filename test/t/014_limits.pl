# A server that was not set up for tapdata, or not for so much of it, says so at the
# call, and what it can do it does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('limits', "tapdata.max_pipelines = 2\ntapdata.max_tables = 2\ntapdata.retry_min = 100ms\n");
my @source = map { Tapdata::Fake->new('t', 'u') } 0 .. 3;

$_->fill('t', 1, 10) for @source;
$hub->safe_psql('postgres', $source[1]->pull_sql('p1'));
$hub->safe_psql('postgres', $source[2]->pull_sql('p2'));
caught_up($hub, 'p1');
caught_up($hub, 'p2');

# --- tapdata.max_pipelines ----------------------------------------------------

sql_fails($hub, $source[3]->pull_sql('p3'), '53400', qr/tapdata\.max_pipelines/,
	'one pipeline too many is an error at the call');
sql_ok($hub, q{SELECT string_agg(name, ' ' ORDER BY name) FROM tapdata.pipelines}, 'p1 p2',
	'and leaves nothing behind');

$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('p2', true); SELECT tapdata.disconnect('p2')});
$hub->safe_psql('postgres', 'SELECT tapdata.disconnect(\'p3\')')
  if $hub->safe_psql('postgres', q{SELECT count(*) FROM tapdata.connections WHERE name = 'p3'});
for my $round (1 .. 3)
{
	# room that an aborted transaction took is free again
	$hub->psql('postgres', 'BEGIN; ' . $source[2]->pull_sql('p2') . ' ROLLBACK');
	$hub->safe_psql('postgres', 'DO $$BEGIN
		PERFORM tapdata.connect(\'x\', \'' . $source[3]->uri . '\');
		PERFORM tapdata.pull(\'x\', \'x\', ARRAY[\'fake.*\']);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
	END$$');
	$hub->safe_psql('postgres', $source[2]->pull_sql('p2'));
	caught_up($hub, 'p2');
	sql_ok($hub, 'SELECT count(*) FROM p2.t', '10', "round $round: there is room again");
	$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('p2', true); SELECT tapdata.disconnect('p2')});
}

# more than there is room for, after a change of configuration
$hub->safe_psql('postgres', $source[2]->pull_sql('p2'));
caught_up($hub, 'p2');
$hub->append_conf('postgresql.conf', "tapdata.max_pipelines = 1\n");
$hub->restart;
$source[1]->fill('t', 11, 20);
caught_up($hub, 'p1');
sql_ok($hub, 'SELECT count(*) FROM p1.t', '20', 'those that there is room for run');
wait_for_sql($hub, q{SELECT last_error ~ 'tapdata.max_pipelines' FROM tapdata.status WHERE name = 'p2'});
pass('the others say what is missing');
sql_fails($hub, q{SELECT tapdata.start('p2')}, '53400', qr/tapdata\.max_pipelines/,
	'start() says it too');
$hub->append_conf('postgresql.conf', "tapdata.max_pipelines = 2\n");
$hub->restart;
caught_up($hub, 'p2');

# --- tapdata.max_tables ---------------------------------------------------------

$_->txn('insert u 1 one', 'update t 1 uno') for @source[ 1, 2 ];
for my $name ('p1', 'p2')
{
	caught_up($hub, $name);
	sql_ok($hub, "SELECT value FROM $name.u", 'one', "$name: tables without counters are followed");
}
sql_ok($hub, q{SELECT count(*) FROM tapdata.tables}, '4', 'and shown');

# --- without shared_preload_libraries ---------------------------------------------

$hub->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$hub->restart;
sql_ok($hub, q{SELECT DISTINCT state FROM tapdata.status}, 'stopped',
	'status can be read without the library');
sql_fails($hub, q{SELECT tapdata.start('p1')}, '55000', qr/shared_preload_libraries/,
	'but nothing can be started');
sql_fails($hub, q{SELECT tapdata.connect('p0', '} . $source[0]->uri . q{');
	SELECT tapdata.pull('p0', 'p0', ARRAY['fake.*'])}, '55000', qr/shared_preload_libraries/,
	'nor pulled');
sql_ok($hub, q{SELECT tapdata.drop_pipeline('p2', true)}, undef, 'a pipeline can be dropped');
$hub->safe_psql('postgres', 'CREATE DATABASE other');
$hub->safe_psql('other', 'CREATE EXTENSION tapdata; DROP EXTENSION tapdata');
$hub->append_conf('postgresql.conf', "shared_preload_libraries = 'tapdata'\n");
$hub->restart;
$source[1]->fill('t', 21, 30);
caught_up($hub, 'p1');
sql_ok($hub, 'SELECT count(*) FROM p1.t', '30', 'with it they carry on');

done_testing();
