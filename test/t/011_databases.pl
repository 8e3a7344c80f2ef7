# Commands on databases and the extension behave as if no pipeline ran in them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Cwd qw(abs_path);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('databases', "tapdata.retry_min = 100ms\n");
my %source;

my $running = q{SELECT count(*) FROM pg_stat_activity
  WHERE backend_type = 'tapdata pipeline' AND datname = '%s'};

# A database with a running pipeline "p" and its source.
sub make_database
{
	my ($name) = @_;

	$source{$name} = Tapdata::Fake->new('t');
	$source{$name}->fill('t', 1, 5);
	$hub->safe_psql('postgres', "CREATE DATABASE $name");
	$hub->safe_psql($name, 'CREATE EXTENSION tapdata; ' . $source{$name}->pull_sql('p'));
	caught_up($hub, 'p', undef, $name);
	return;
}

# The pipeline of a database follows its source.
sub follows
{
	my ($name, $source, $id, $what) = @_;

	wait_for_sql($hub, sprintf($running, $name), '1');
	$source->txn("insert t $id $what");
	caught_up($hub, 'p', undef, $name);
	is($hub->safe_psql($name, "SELECT value FROM p.t WHERE id = $id"), $what, $what);
	return;
}

make_database('one');
make_database('two');
sql_ok($hub, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'tapdata supervisor'},
	'2', 'each database has its supervisor');
follows('one', $source{one}, 6, 'the first database follows its source');
follows('two', $source{two}, 6, 'so does the second');

# --- who is not allowed a command does not disturb pipelines -----------------

$hub->safe_psql('postgres', 'CREATE ROLE nobody LOGIN CREATEDB');
my $pids = q{SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity
  WHERE backend_type = 'tapdata pipeline'};
my $before = $hub->safe_psql('postgres', $pids);
for my $command (
	'DROP DATABASE one',
	'ALTER DATABASE one RENAME TO three',
	'CREATE DATABASE three TEMPLATE one')
{
	my ($code, $out, $err) = $hub->psql('postgres', "SET ROLE nobody; $command");
	my ($other_code, $other_out, $other_err) =
	  $hub->psql('postgres', $command, extra_params => [ '-U', 'nobody' ]);

	isnt($other_code, 0, "$command is refused");
}
my ($code) = $hub->psql('one', 'DROP EXTENSION tapdata', extra_params => [ '-U', 'nobody' ]);
isnt($code, 0, 'DROP EXTENSION is refused');
($code) = $hub->psql('postgres', 'BEGIN; DROP DATABASE one');
isnt($code, 0, 'DROP DATABASE is refused in a transaction block');
sql_ok($hub, $pids, $before, 'the workers were left alone');

# --- the commands -----------------------------------------------------------

$hub->safe_psql('postgres', 'ALTER DATABASE one RENAME TO uno');
follows('uno', $source{one}, 7, 'pipelines carry on in a renamed database');

$hub->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE uno');
follows('uno', $source{one}, 8, 'pipelines carry on in a database that was copied');
is($hub->safe_psql('copy', 'SELECT count(*) FROM p.t'), 7, 'the copy has the rows');
is($hub->safe_psql('copy', 'SELECT state FROM tapdata.status'), 'stopped',
	'the pipelines of the copy are stopped');
$hub->restart;
wait_for_sql($hub, sprintf($running, 'uno'), '1');
wait_for_sql($hub, sprintf($running, 'two'), '1');
sql_ok($hub, sprintf($running, 'copy'), '0', 'also after a restart');
$hub->safe_psql('copy', q{SELECT tapdata.start('p')});
follows('copy', $source{one}, 9, 'they can be started there');
follows('uno', $source{one}, 10, 'beside those of the first');

my $folder = abs_path(PostgreSQL::Test::Utils::tempdir('tablespace'));
$hub->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$folder'");
$hub->safe_psql('postgres', 'ALTER DATABASE uno SET TABLESPACE elsewhere');
follows('uno', $source{one}, 11, 'pipelines carry on in another tablespace');

# a command that fails
my $session = IPC::Run::start(
	[ 'psql', '-X', '-d', $hub->connstr('copy'), '-c', 'SELECT pg_sleep(600)' ]);
wait_for_sql($hub, q{SELECT count(*) FROM pg_stat_activity
	WHERE datname = 'copy' AND query = 'SELECT pg_sleep(600)'}, '1');
($code) = $hub->psql('postgres', 'DROP DATABASE copy');
isnt($code, 0, 'DROP DATABASE is refused while users are there');
$session->kill_kill;
$hub->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
	WHERE datname = 'copy' AND backend_type = 'client backend'});
follows('copy', $source{one}, 12, 'then its pipelines carry on');

$hub->safe_psql('postgres', 'DROP DATABASE copy');
$hub->safe_psql('postgres', 'DROP DATABASE uno');
sql_ok($hub, q{SELECT count(*) FROM pg_database WHERE datname IN ('copy', 'uno')}, '0',
	'databases with running pipelines can be dropped');
sql_ok($hub, q{SELECT count(*) FROM pg_replication_origin}, '1',
	'their replication origins are gone');

# --- the extension ------------------------------------------------------------

$hub->psql('two', 'BEGIN; DROP EXTENSION tapdata; ROLLBACK');
follows('two', $source{two}, 7, 'pipelines carry on when DROP EXTENSION is rolled back');
$hub->safe_psql('two', 'DROP EXTENSION tapdata');
sql_ok($hub, sprintf($running, 'two'), '0', 'DROP EXTENSION ends pipelines');
is($hub->safe_psql('two', 'SELECT count(*) FROM p.t'), 7, 'hub tables stay');
sql_ok($hub, q{SELECT count(*) FROM pg_replication_origin}, '0', 'origins do not');
$hub->safe_psql('two', 'DROP SCHEMA p CASCADE; CREATE ROLE other SUPERUSER; SET ROLE other; '
	  . 'CREATE EXTENSION tapdata; RESET ROLE; ' . $source{two}->pull_sql('p'));
follows('two', $source{two}, 8, 'the extension can be created again');
$hub->safe_psql('two', 'DROP OWNED BY other CASCADE');
is($hub->safe_psql('two', q{SELECT count(*) FROM pg_extension WHERE extname = 'tapdata'}), 0,
	'DROP OWNED drops it, too');
sql_ok($hub, sprintf($running, 'two'), '0', 'and ends pipelines');
sql_ok($hub, q{SELECT count(*) FROM pg_replication_origin}, '0', 'and drops their origins');

done_testing();
