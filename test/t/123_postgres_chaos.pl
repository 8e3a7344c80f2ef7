
# Transfers run in the hub while workers, servers and sessions on both sides are
# killed at random: at every moment the target shows a state that the hub had, and
# at the end it is the hub's.
#
# TAPDATA_CHAOS_KILLS sets the number of kills (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $sum = 2 * 50 * 1000;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $target = new_target('target');
my %node_of = (hub => $hub, target => $target);
my $checks = 0;
my $stop_file = PostgreSQL::Test::Utils::tempdir() . '/stop';
my @clients;

# What can break, and how often relative to the others.
my @accidents = (
	[ 4, 'kill -9 of a worker', sub { kill_one($hub, "backend_type LIKE 'tapdata%'") } ],
	[ 2, 'kill -9 of the postmaster', sub { kill_server($hub) } ],
	[ 3, 'kill -9 of the session at the target', sub { kill_one($target, "application_name LIKE 'tapdata %'") } ],
	[ 3, 'end of the session at the target', sub { signal_one($target, "application_name LIKE 'tapdata %'", 'TERM') } ],
	[ 2, 'kill -9 of the target', sub { kill_server($target) } ],
	[ 2, 'terminated worker', sub { signal_one($hub, "backend_type LIKE 'tapdata%'", 'TERM') } ],
	[ 1, 'fast restart of the hub', sub { $hub->stop('fast'); $hub->start } ],
	[ 1, 'fast restart of the target', sub { $target->stop('fast'); $target->start } ],
	[ 1, 'resync of a table', sub { try_sql($hub, "SELECT tapdata.resync('bank', 'bank.history')") } ]);

connect_target($hub, $target, 'copy');
$hub->safe_psql('postgres', q(
	CREATE SCHEMA bank;
	CREATE TABLE bank.account (id int PRIMARY KEY, balance bigint NOT NULL);
	CREATE TABLE bank.savings (id int PRIMARY KEY, balance bigint NOT NULL);
	CREATE TABLE bank.history (id bigserial PRIMARY KEY, amount int, note text);
	CREATE TABLE bank.noise (a int, b text);
	ALTER TABLE bank.noise REPLICA IDENTITY FULL;
	INSERT INTO bank.account SELECT i, 1000 FROM generate_series(1, 50) i;
	INSERT INTO bank.savings SELECT i, 1000 FROM generate_series(1, 50) i;
	INSERT INTO bank.history (amount, note) SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 2000) i;));
publish($hub, 'bank', 'copy', ['bank.*']);
open_doors(2);

for my $number (1 .. $kills)
{
	my ($name, $accident) = choose();

	watch(0.2 + rand 0.8);
	note "$number/$kills: $name";
	$accident->();
	last unless check_sum();
}
close_doors();
delivered($hub, 'bank');
cmp_ok($checks, '>', 0, "the sum was constant in $checks states that were seen");
same_as_hub($hub, $target, "bank.$_", name => "$_ is the same at the end")
  for qw(account savings history noise);
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

sub open_doors
{
	my ($count) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/bank.sql';

	append_to_file($file, script());
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
				system 'pgbench', '-n', '-f', $file, '-T', '2', '--rate=100', '--max-tries=10',
				  '-h', $hub->host, '-p', $hub->port, '-U', 'postgres', 'postgres';
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

# Look at the target again and again for a while.
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

# A state that the hub never had is a failed test at once.
sub check_sum
{
	my $found = try_sql($target,
		'SELECT (SELECT sum(balance) FROM bank.account) + (SELECT sum(balance) FROM bank.savings)');

	# the target may be down just now, or not have the tables yet
	return 1 if !defined $found || $found eq '';
	$checks++;
	return 1 if $found eq $sum;
	fail('the sum over both tables is constant');
	diag "found $found, expected $sum";
	return 0;
}
