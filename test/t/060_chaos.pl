# Transfers run at the source while workers, servers and connections are killed
# at random: at every moment the hub shows a state that the source really had.
#
# TAPDATA_CHAOS_KILLS sets the number of kills per source (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Bank;
use Tapdata::MySQL;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 10;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $worker = "backend_type LIKE 'tapdata%'";

# What can break, and how often relative to the others.
my @accidents = (
	[ 4, 'kill -9 of a worker', sub { kill_one($_[0]{hub}, $worker) } ],
	[ 2, 'kill -9 of the postmaster', sub { kill_server($_[0]{hub}) } ],
	[ 2, 'kill -9 of the source', \&kill_source ],
	[ 4, 'connections cut', \&cut_connections ],
	[ 2, 'terminated worker', sub { signal_one($_[0]{hub}, $worker, 'TERM') } ],
	[ 1, 'fast restart of the hub', \&restart_hub ],
	[ 1, 'resync of a table', \&resync_table ],
	[ 3, 'schema change', \&change_schema ]);

for my $flavour (usable_flavours())
{
	run_chaos($flavour);
}
done_testing();

sub run_chaos
{
	my ($flavour) = @_;
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $proxy = Tapdata::Proxy->start(port => $source->port);
	my $hub = new_hub("hub_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
	my $bank = Tapdata::Bank->new($source, rows => 100_000);
	my %world = (
		source => $source,
		proxy => $proxy,
		hub => $hub,
		bank => $bank,
		columns => 0,
		checks => 0);

	$bank->open_doors(clients => 3);
	pull($hub, $source, 'bank', port => $proxy->port,
		options => '{"chunk_rows": 5000}');

	for my $number (1 .. $kills)
	{
		my ($name, $accident) = choose();

		watch(\%world, 0.3 + rand 1.5);
		note sprintf('%s %d/%d: %s', $flavour, $number, $kills, $name);
		$accident->(\%world);
		last unless check_sum(\%world);
	}

	# on a slow machine there was no time to stream between the accidents
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	watch(\%world, 0.3) until $world{checks} || time > $deadline;

	$bank->close_doors;
	ok(caught_up($hub, 'bank', 180), "$flavour: the hub catches up after $kills accidents");
	ok($world{checks} > 0, "$flavour: the sum was constant in $world{checks} states that were seen")
	  or diag 'the pipeline never streamed while it was watched';
	for my $table ($bank->tables)
	{
		same_rows($source, "bank.$table", $hub, "bank.$table",
			"$flavour: $table is the same at the end",
			columns_of(\%world, $table));
	}
	$hub->stop('fast');
	$proxy->stop;
	$source->stop;
}

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

# Look at the hub again and again for a while.
sub watch
{
	my ($world, $seconds) = @_;
	my $end = time + $seconds;

	while (time < $end)
	{
		last unless check_sum($world);
		sleep 0.02;
	}
	return;
}

# A state that is not the source's is a failed test at once.
sub check_sum
{
	my ($world) = @_;
	my $sum = try_sql($world->{hub}, q(
		SELECT (SELECT sum(balance) FROM bank.current_account)
		     + (SELECT sum(balance) FROM bank.savings_account)
		 WHERE (SELECT count(*) FROM tapdata.pipeline_table
		         WHERE source_name IN ('current_account', 'savings_account')
		           AND state = 's') = 2));

	# the hub may be down just now, and nothing is promised before it streams
	return 1 if !defined $sum || $sum eq '';
	$world->{checks}++;
	return 1 if $sum eq $world->{bank}->sum;
	fail("the sum over both accounts is constant");
	diag "found $sum, expected " . $world->{bank}->sum;
	return 0;
}

sub restart_hub
{
	my ($world) = @_;

	ok(within($world->{hub}, 20, sub { $world->{hub}->stop('fast') }), 'a fast shutdown is not held up');
	$world->{hub}->start;
	return;
}

sub kill_source
{
	my ($world) = @_;

	$world->{source}->kill9;
	$world->{source}->restart;
	return;
}

sub cut_connections
{
	my ($world) = @_;

	$world->{proxy}->cut;
	return;
}

sub resync_table
{
	my ($world) = @_;

	try_sql($world->{hub}, "SELECT tapdata.resync('bank', 'bank.history')");
	return;
}

# Columns come and go; those that went stay in the hub, so they are not compared.
sub change_schema
{
	my ($world) = @_;
	my $source = $world->{source};
	my $number = ++$world->{columns};

	$source->do("ALTER TABLE bank.history ADD COLUMN extra_$number int DEFAULT $number"
		  . ($number % 2 ? ' FIRST' : ''));
	$source->do("UPDATE bank.history SET extra_$number = id WHERE id % 1000 = 0");
	$source->do("ALTER TABLE bank.history DROP COLUMN extra_" . ($number - 1))
	  if $number > 1;
	return;
}

sub columns_of
{
	my ($world, $table) = @_;
	my $columns = $table eq 'history' ? 'id, amount, note' :
	  $table eq 'noise' ? 'a, b' : 'id, balance';

	$columns .= ", extra_$world->{columns}"
	  if $table eq 'history' && $world->{columns} > 0;
	return (source_columns => $columns, hub_columns => $columns);
}
