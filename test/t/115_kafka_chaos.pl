# Accounts change in the hub while workers, the hub and the broker are killed at random:
# a consumer at read_committed sees each change once, in order, and only whole
# transactions.
#
# TAPDATA_CHAOS_KILLS sets the number of kills (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Ledger;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

Tapdata::Kafka->require;

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $ledger = Tapdata::Ledger->new($hub);
my $states = 0;

publish($hub, $kafka, 'out', ['ledger.account'], { topic => 'ledger', format => 'json' });
caught_up($hub, 'out');
$ledger->open(clients => 2, pause => 0.02);

my @accidents = (
	['kill -9 of the worker', \&kill_worker],
	['kill -9 of the worker', \&kill_worker],
	['kill -9 of the hub', \&kill_hub],
	['kill -9 of the broker', \&kill_broker],
	['the worker is terminated', \&terminate_worker],
	['the worker is terminated', \&terminate_worker]);
for my $number (1 .. $kills)
{
	my ($name, $accident) = @{ $accidents[ rand @accidents ] };

	sleep rand 0.8;
	note "$number/$kills: $name";
	$accident->();
	last unless $number % 5 || check_sum();
}

$ledger->close;
ok(caught_up($hub, 'out', 120), "the target catches up after $kills accidents");
ok($states > 0, "the sum was constant in $states states that were seen");
check_all();
done_testing();

sub worker
{
	my ($code, $out) = $hub->psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'");

	return $code == 0 && $out =~ /^\d+$/ ? $out : undef;
}

sub kill_worker
{
	my $pid = worker();

	kill 'KILL', $pid if $pid;
	return;
}

sub terminate_worker
{
	my $pid = worker();

	kill 'TERM', $pid if $pid;
	return;
}

sub kill_hub
{
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	$hub->kill9;

	# orphaned backends keep the data directory in use for a moment
	until ($hub->start(fail_ok => 1))
	{
		die 'the hub does not start again' if time > $end;

		# the module takes the killed postmaster's pid file for a live one
		$hub->{_pid} = undef;
		sleep 0.2;
	}
	return;
}

sub kill_broker
{
	$kafka->kill9;
	sleep rand 1;
	$kafka->restart;
	return;
}

# What a consumer makes of the topic at some moment is a state that the hub really had.
sub check_sum
{
	my @records = eval { $kafka->records('ledger') };

	return 1 unless @records;
	$states++;
	my $rows = folded(@records);
	my $sum = 0;
	$sum += from_json($_)->{balance} for values %$rows;
	return 1 if $sum == $ledger->sum;
	fail('the sum over all accounts is constant');
	diag "found $sum, expected ${\ $ledger->sum }";
	return 0;
}

sub check_all
{
	my @records = $kafka->settled_records('ledger');
	my (%version, @wrong);

	foreach my $record (@records)
	{
		my $row = from_json($record->{value});
		my $expected = $version{ $row->{id} };

		push @wrong, "account $row->{id}: version $row->{version} behind $expected"
		  if defined $expected && $row->{version} != $expected + 1;
		$version{ $row->{id} } = $row->{version};
	}
	ok(!@wrong, 'each of ' . @records . ' changes is there once and in order');
	diag join "\n", @wrong > 10 ? @wrong[ 0 .. 9 ] : @wrong if @wrong;

	my $rows = folded(@records);
	is(join("\n", map { my $row = from_json($_); "$row->{id}|$row->{balance}|$row->{version}" }
			sort { from_json($a)->{id} <=> from_json($b)->{id} } values %$rows),
		$hub->safe_psql('postgres', 'SELECT * FROM ledger.account ORDER BY id'),
		'the topic, folded by key, is the table');
	return;
}
