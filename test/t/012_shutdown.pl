# Shutdown is quick, and neither it nor crashes lose anything; a standby runs
# pipelines only after its promotion.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('shutdown', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $source = Tapdata::Fake->new('t');
my $slow = Tapdata::Fake->new('t');

my $processes = q{SELECT coalesce(string_agg(replace(backend_type, 'tapdata ', ''), ' '
  ORDER BY backend_type), '') FROM pg_stat_activity WHERE backend_type LIKE 'tapdata %'};

# Nobody waits long for a shutdown.
sub quickly
{
	my ($what, $do) = @_;

	ok(within($hub, 5, $do), "$what takes less than 5 seconds");
	return;
}

$source->fill('t', 1, 1000);
$hub->safe_psql('postgres', $source->pull_sql('p'));
caught_up($hub, 'p');

# one whose copy hangs in a wait for its source
$slow->fill('t', 1, 100);
$hub->safe_psql('postgres',
	$slow->pull_sql('slow', '{"delay_ms": 60000, "chunk_rows": 1000, "workers": 2}'));
wait_for_state($hub, 'slow', 'snapshot');

quickly('a fast shutdown', sub { $hub->stop('fast') });
$source->fill('t', 1001, 1100);
$hub->start;
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*), count(DISTINCT id) FROM p.t', '1100|1100',
	'nothing is lost or repeated by a fast shutdown');
wait_for_state($hub, 'slow', 'snapshot');

# a worker that crashes the server again and again
$hub->safe_psql('postgres', q{ALTER SYSTEM SET tapdata.retry_min = '1h'});
$hub->safe_psql('postgres', q{ALTER SYSTEM SET tapdata.retry_max = '1h'});
$hub->reload;
wait_for_sql($hub, q{SELECT starts FROM tapdata.pipeline_state ORDER BY pipeline DESC LIMIT 1}, '2');
for my $starts (3, 4)
{
	my $slow_one = q{application_name = 'tapdata pipeline slow'};

	wait_for_sql($hub, "SELECT count(*) FROM pg_stat_activity WHERE $slow_one", '1');
	ok(kill_one($hub, $slow_one), "it is killed after $starts starts");
	wait_for_sql($hub, q{SELECT state FROM tapdata.status WHERE name = 'p'}, 'streaming');
	last if $starts == 4;
	wait_for_sql($hub,
		q{SELECT starts FROM tapdata.pipeline_state ORDER BY pipeline DESC LIMIT 1}, $starts);
}
caught_up($hub, 'p');
sql_ok($hub, q{SELECT count(*) FROM pg_stat_activity
	WHERE application_name = 'tapdata pipeline slow'}, '0',
	'a worker that came to nothing three times is not started at once');
sql_becomes($hub, q{SELECT starts FROM tapdata.pipeline_state ORDER BY pipeline LIMIT 1}, '0',
	'one that works is');
$hub->safe_psql('postgres', q{SELECT tapdata.start('slow')});
wait_for_state($hub, 'slow', 'snapshot');
$hub->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$hub->reload;

quickly('stopping a pipeline that waits for its source',
	sub {
		$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('slow', true)});
	});

wait_for_sql($hub, $processes, 'launcher pipeline supervisor');
sql_ok($hub, $processes, 'launcher pipeline supervisor', 'its helpers went with it');

$hub->stop('immediate');
$source->fill('t', 1101, 1200);
$hub->start;
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*), count(DISTINCT id) FROM p.t', '1200|1200',
	'nor by an immediate one');

my $rows = 1200;
for my $type ('pipeline', 'supervisor', 'launcher')
{
	my $pid = $hub->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'tapdata $type'");

	kill_process($hub, $pid);
	$source->fill('t', $rows + 1, $rows + 100);
	$rows += 100;
	wait_for_sql($hub,
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'tapdata $type' AND pid <> $pid");
	wait_for_sql($hub, $processes, 'launcher pipeline supervisor');
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT count(*), count(DISTINCT id) FROM p.t', "$rows|$rows",
		"nothing is lost or repeated by kill -9 of the $type");
}

# --- a standby ------------------------------------------------------------------

$hub->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($hub, 'base', has_streaming => 1);
$standby->start;
$source->txn('update t 1 before promotion');
caught_up($hub, 'p');
$hub->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT value FROM p.t WHERE id = 1'),
	'before promotion', 'a standby follows the hub');
is($standby->safe_psql('postgres', $processes), '', 'no pipeline runs on a standby');
like($standby->safe_psql('postgres', 'SELECT state FROM tapdata.status'),
	qr/^\w+$/, 'status can be read there');

$hub->stop('fast');
$standby->promote;
$source->txn('update t 1 after promotion', 'insert t 5000 new');
wait_for_sql($standby, $processes, 'launcher pipeline supervisor');
caught_up($standby, 'p');
is($standby->safe_psql('postgres', 'SELECT value FROM p.t WHERE id = 1'),
	'after promotion', 'pipelines carry on after the promotion');
is($standby->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM p.t'),
	($rows + 1) . '|' . ($rows + 1), 'with nothing lost or repeated');

done_testing();
