# Accounts change in the hub while workers, the hub and the broker are killed at random:
# a consumer at read_committed sees each change once, in order, and only whole
# transactions. Where a pipeline promises less, nothing is lost at least.
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

publish($hub, $kafka, 'out', ['ledger.account'], { topic => 'ledger' });
publish($hub, $kafka, 'other', ['ledger.entry'], { topic => 'entries' });
publish($hub, $kafka, 'least', ['ledger.account'], { topic => 'least', delivery => 'at_least_once' });
my @pipelines = qw(out other least);
caught_up($hub, $_) foreach @pipelines;
$ledger->open(clients => 2, pause => 0.04);

my $worker = "backend_type = 'tapdata pipeline'";

# What can break, and how often relative to the others.
my @accidents = map { ($_) x $_->[2] } (
	['kill -9 of a worker', sub { signal_one($hub, $worker) }, 4],
	['a worker is terminated', sub { signal_one($hub, $worker, 'TERM') }, 4],
	['kill -9 of the hub', sub { kill_server($hub) }, 2],
	['kill -9 of the broker', \&kill_broker, 1]);
for my $number (1 .. $kills)
{
	my ($name, $accident) = @{ $accidents[ rand @accidents ] };

	sleep rand 0.8;
	note "$number/$kills: $name";
	$accident->();
	last unless $number % 5 || check_sum();
}

$ledger->close;
recovered($hub);
ok(caught_up($hub, $_, 120), "$_ catches up after $kills accidents") foreach @pipelines;
ok($states > 0, "the sum was constant in $states states that were seen");
check_all();
check_entries();
check_least();
done_testing();

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

	is_table('the topic, folded by key, is the table', @records);
	return;
}

sub is_table
{
	my ($name, @records) = @_;
	my %rows = map { my $row = from_json($_); ($row->{id} => "$row->{id}|$row->{balance}|$row->{version}") }
	  values %{ folded(@records) };

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(join("\n", map { $rows{$_} } sort { $a <=> $b } keys %rows),
		$hub->safe_psql('postgres', 'SELECT * FROM ledger.account ORDER BY id'), $name);
}

# Another pipeline, whose position is in the same topic.
sub check_entries
{
	my %count;

	$count{ from_json($_->{key})->{id} }++ foreach $kafka->settled_records('entries');
	is(join(',', sort { $a <=> $b } keys %count),
		$hub->safe_psql('postgres', "SELECT string_agg(id::text, ',' ORDER BY id) FROM ledger.entry"),
		'each of ' . keys(%count) . ' entries is there');
	is_deeply([ grep { $count{$_} > 1 } keys %count ], [], 'once');
	return;
}

# What was sent twice comes in the same order again: no version is left out.
sub check_least
{
	my @records = $kafka->settled_records('least');
	my (%highest, @wrong);

	foreach my $row (map { from_json($_->{value}) } @records)
	{
		my $highest = $highest{ $row->{id} };

		push @wrong, "account $row->{id}: version $row->{version} behind $highest"
		  if defined $highest && $row->{version} > $highest + 1;
		$highest{ $row->{id} } = $row->{version} if !defined $highest || $row->{version} > $highest;
	}
	ok(!@wrong, 'at least once: nothing is left out of ' . @records . ' records');
	diag join "\n", @wrong > 10 ? @wrong[ 0 .. 9 ] : @wrong if @wrong;
	is_table('and the last ones are the table', @records);
	return;
}
