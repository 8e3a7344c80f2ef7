# Transfers run at a PostgreSQL source while workers, servers and sessions on both sides
# are killed, the network between them is cut, and columns change, at random: at every moment
# the hub shows a state that the source had, and at the end it is the source's.
#
# TAPDATA_CHAOS_KILLS sets the number of kills (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $sum = 2 * 50 * 1000;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");

# the least that can be set, so that large transactions come while they are in progress
my $source = new_source('source', "logical_decoding_work_mem = 64kB\nlisten_addresses = '127.0.0.1'\n");
my $proxy = Tapdata::Proxy->start(port => $source->port);
my $checks = 0;
my $columns = 0;
my $stop_file = PostgreSQL::Test::Utils::tempdir() . '/stop';
my @clients;

# What can break, and how often relative to the others.
my @accidents = (
	[ 4, 'kill -9 of a worker', sub { kill_one($hub, "backend_type LIKE 'tapdata%'") } ],
	[ 2, 'kill -9 of the postmaster', sub { kill_server($hub) } ],
	[ 3, 'kill -9 of a session at the source', sub { kill_one($source, "application_name LIKE 'tapdata %'") } ],
	[ 3, 'end of a session at the source', sub { signal_one($source, "application_name LIKE 'tapdata %'", 'TERM') } ],
	[ 2, 'kill -9 of the source', sub { kill_server($source) } ],
	[ 2, 'terminated worker', sub { signal_one($hub, "backend_type LIKE 'tapdata%'", 'TERM') } ],
	[ 1, 'fast restart of the hub', sub { $hub->stop('fast'); $hub->start } ],
	[ 1, 'fast restart of the source', sub { $source->stop('fast'); $source->start } ],
	[ 2, 'network that is cut', sub { $proxy->cut } ],
	[ 1, 'network that is cut for a while', sub { $proxy->refuse; watch(0.5); $proxy->resume } ],
	[ 1, 'new column', sub { $columns++; try_sql($source, "ALTER TABLE bank.history ADD extra$columns int DEFAULT $columns") } ],
	[ 1, 'renamed column', sub { try_sql($source, "ALTER TABLE bank.history RENAME extra$columns TO renamed$columns") } ],
	[ 1, 'dropped column', sub { try_sql($source, "ALTER TABLE bank.history DROP COLUMN IF EXISTS extra$columns") } ],
	[ 1, 'column of another type', sub { try_sql($source, 'ALTER TABLE bank.savings ALTER balance TYPE ' . (rand 2 < 1 ? 'numeric' : 'bigint')) } ],
	[ 1, 'resync of a table', sub { try_sql($hub, "SELECT tapdata.resync('bank', 'bank.history')") } ]);

$source->safe_psql('postgres', q(
	CREATE SCHEMA bank;
	CREATE TABLE bank.account (id int PRIMARY KEY, balance bigint NOT NULL);
	CREATE TABLE bank.savings (id int PRIMARY KEY, balance bigint NOT NULL);
	CREATE TABLE bank.history (id bigserial PRIMARY KEY, amount int, note text);
	CREATE TABLE bank.noise (a int, b text);
	ALTER TABLE bank.noise REPLICA IDENTITY FULL;
	INSERT INTO bank.account SELECT i, 1000 FROM generate_series(1, 50) i;
	INSERT INTO bank.savings SELECT i, 1000 FROM generate_series(1, 50) i;
	INSERT INTO bank.history (amount, note) SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 2000) i;));
open_doors(2);
$hub->safe_psql('postgres', "SELECT tapdata.connect('src', 'postgres://postgres\@127.0.0.1:${\ $proxy->port }/postgres', '{\"sslmode\": \"disable\"}')");
pull_from($hub, 'bank', 'src', ['bank.*'], 'bank', '{"chunk_rows": 500, "ddl_drop": true}');

for my $number (1 .. $kills)
{
	my ($name, $accident) = choose();

	watch(0.2 + rand 0.8);
	note "$number/$kills: $name";
	$accident->();
	last unless check_sum();
}
close_doors();

# a column that changed is followed with the table's next change
$source->safe_psql('postgres', "INSERT INTO bank.history (amount) VALUES (0); UPDATE bank.savings SET balance = balance WHERE id = 1");
ok(caught_up($hub, 'bank', 180), "the hub catches up after $kills accidents");
cmp_ok($checks, '>', 0, "the sum was constant in $checks states that were seen");
same_as_source($hub, $source, "bank.$_", "bank.$_", "$_ is the same at the end")
  for qw(account savings history noise);
cmp_ok($source->safe_psql('postgres', "SELECT count(*) FROM bank.noise WHERE b = 'large'"), '>', 0, 'there were large transactions');
sql_becomes($hub, "SELECT state, dead_letters FROM tapdata.status", 'streaming|0',
	'nothing was left out');
done_testing();

sub choose
{
	my $total = 0;
	$total += $_->[0] for @accidents;
	my $pick = rand $total;

	for my $accident (@accidents)
	{
		$pick -= $accident->[0];
		return @$accident[ 1, 2 ] if $pick < 0;
	}
	die 'unreachable';
}

# ---------------------------------------------------------------------
# The bank
# ---------------------------------------------------------------------

sub script
{
	return q(
\set a random(1, 50)
\set b random(1, 50)
\set n random(1, 100)
\set h random(1, 20000)
BEGIN;
UPDATE bank.account SET balance = balance - :n WHERE id = :a;
INSERT INTO bank.history (amount, note) VALUES (:n, repeat('x', :n * 40));
UPDATE bank.savings SET balance = balance + :n WHERE id = :b;
UPDATE bank.history SET amount = -amount WHERE id = :h;
DELETE FROM bank.history WHERE id = :h + 7;
INSERT INTO bank.noise VALUES (:a, 'x'), (:a, 'x');
DELETE FROM bank.noise WHERE ctid = (SELECT min(ctid) FROM bank.noise WHERE a = :b);
COMMIT;
);
}

# One in fifty is large, and a part of it is taken back.
sub large_script
{
	return q(
\set a random(1, 50)
\set b random(1, 50)
\set n random(1, 100)
BEGIN;
UPDATE bank.account SET balance = balance - :n WHERE id = :a;
INSERT INTO bank.history (amount, note) SELECT :n, repeat('l', 300) FROM generate_series(1, 300);
SAVEPOINT a;
UPDATE bank.account SET balance = balance + 1000;
INSERT INTO bank.history (amount, note) SELECT :n, repeat('lost', 100) FROM generate_series(1, 200);
ROLLBACK TO a;
INSERT INTO bank.noise SELECT :b, 'large' FROM generate_series(1, 50);
UPDATE bank.savings SET balance = balance + :n WHERE id = :b;
COMMIT;
);
}

sub open_doors
{
	my ($count) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/bank.sql';
	my $large = PostgreSQL::Test::Utils::tempdir() . '/large.sql';

	append_to_file($file, script());
	append_to_file($large, large_script());
	for (1 .. $count)
	{
		my $pid = fork();
		die "fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			$SIG{TERM} = 'DEFAULT';
			open STDOUT, '>', '/dev/null';
			open STDERR, '>', '/dev/null';
			until (-e $stop_file)
			{
				system 'pgbench', '-n', '-f', "$file\@49", '-f', "$large\@1", '-T', '2', '--rate=100', '--max-tries=10',
				  '-h', $source->host, '-p', $source->port, '-U', 'postgres', 'postgres';
				sleep 0.1;
			}
			POSIX::_exit(0);
		}
		push @clients, $pid;
	}
	return;
}

sub close_doors
{
	append_to_file($stop_file, 'stop');
	waitpid $_, 0 for @clients;
	@clients = ();
	return;
}

END
{
	local $?;
	kill 'KILL', @clients if @clients;
}

# Look at the hub again and again for a while.
sub watch
{
	my ($seconds) = @_;
	my $end = time + $seconds;

	while (time < $end)
	{
		last unless check_sum();
		sleep 0.02;
	}
	return;
}

# A state that the source never had is a failed test at once. That the tables stream
# must be so before the state is looked at.
sub check_sum
{
	my $out = try_sql($hub, q(
		SELECT NOT EXISTS (SELECT FROM tapdata.tables WHERE source_table IN ('bank.account', 'bank.savings') AND state <> 'streaming');
		SELECT (SELECT sum(balance) FROM bank.account) + (SELECT sum(balance) FROM bank.savings);));

	# the hub may be down just now, or not stream yet
	return 1 if !defined $out || $out !~ /^t\n(\d+)$/;
	$checks++;
	return 1 if $1 == $sum;
	fail('the sum over both tables is constant');
	diag "found $1, expected $sum";
	return 0;
}
