# Messages keep coming while workers, the hub and the broker are killed at random: the hub
# has each of them once, and the last one of each key; what this hub publishes by
# transactions and reads back is what it was.
#
# TAPDATA_CHAOS_KILLS sets the number of kills (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IO::Handle;
use POSIX ();
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
my $stop_file = PostgreSQL::Test::Utils::tempdir() . '/stop';

$kafka->create_topic('events', partitions => 3);
publish($hub, $kafka, 'out', ['ledger.account'], { topic => 'ledger' });
caught_up($hub, 'out');
my $producer = start_producer();
my @metadata = ('partition', 'offset');
pull($hub, $kafka, 'added', tables => ['events'],
	options => '{"columns": {"id": "bigint", "v": "text"}, "metadata": "partition, offset"}');
pull($hub, $kafka, 'newest', tables => ['events'],
	options => '{"columns": {"id": "bigint", "v": "text", "k": "int"}, "key": ["k"]}');
pull($hub, $kafka, 'back', tables => ['ledger'], options => '{"key": ["id"]}');
caught_up($hub, $_) foreach qw(added newest back);
$ledger->open(clients => 1, pause => 0.05);

my $worker = "backend_type = 'tapdata pipeline'";

# What can break, and how often relative to the others.
my @accidents = map { ($_) x $_->[2] } (
	['kill -9 of a worker', sub { signal_one($hub, $worker) }, 4],
	['a worker is terminated', sub { signal_one($hub, $worker, 'TERM') }, 4],
	['kill -9 of the hub', sub { kill_server($hub) }, 2],
	['kill -9 of the broker', \&kill_broker, 1],
	['the broker restarts', sub { $kafka->stop; $kafka->restart }, 1]);
for my $number (1 .. $kills)
{
	my ($name, $accident) = @{ $accidents[ rand @accidents ] };

	sleep rand 0.8;
	note "$number/$kills: $name";
	$accident->();
}

$ledger->close;
recovered($hub);
append_to_file($stop_file, '');
waitpid $producer, 0;
foreach my $pipeline (qw(out added newest back))
{
	$kafka->settle('ledger') if $pipeline eq 'back';
	ok(caught_up($hub, $pipeline, 120), "$pipeline catches up after $kills accidents");
}
check_added();
check_newest();
is( $hub->safe_psql('postgres', 'SELECT id, balance, version FROM back.ledger ORDER BY id'),
	$hub->safe_psql('postgres', 'SELECT id, balance, version FROM ledger.account ORDER BY id'),
	'what was published in transactions is what it was');
sql_becomes($hub, 'SELECT sum(dead_letters) FROM tapdata.status', '0', 'nothing was left out');
done_testing();

# What kcat cannot send it keeps until the broker is back.
sub start_producer
{
	my $pid = fork;

	die "fork: $!" unless defined $pid;
	return $pid if $pid;
	open my $kcat, '|-', $kafka->kcat('-P', '-E', '-q', '-t', 'events', '-K', "\t"),
	  '-X', 'enable.idempotence=true', '-X', 'partitioner=murmur2', '-X', 'reconnect.backoff.max.ms=500'
	  or POSIX::_exit(1);
	$kcat->autoflush(1);
	for (my $id = 1; !-e $stop_file; $id++)
	{
		my $key = $id % 97;

		print $kcat "$key\t{\"id\": $id, \"k\": $key, \"v\": \"value $id\"}\n";
		sleep 0.05 if $id % 10 == 0;
	}
	close $kcat;
	POSIX::_exit(0);
}

# ---------------------------------------------------------------------
# Accidents
# ---------------------------------------------------------------------

sub kill_broker
{
	$kafka->kill9;
	sleep rand 1;
	$kafka->restart;
	return;
}

# ---------------------------------------------------------------------
# Checks; the topic is read by kcat
# ---------------------------------------------------------------------

sub check_added
{
	my @topic = map { "$_->{partition}|$_->{offset}|" . from_json($_->{value})->{id} } $kafka->records('events');
	my @hub = split /\n/, $hub->safe_psql('postgres',
		'SELECT _partition, _offset, id FROM added.events ORDER BY _partition, _offset');

	cmp_ok(scalar @topic, '>', 100, 'there were messages');
	is(scalar @hub, scalar @topic, 'as many rows as messages');
	my ($wrong) = grep { ($hub[$_] || '') ne $topic[$_] } 0 .. $#topic;
	is($wrong, undef, 'each message is there once');
	return;
}

sub check_newest
{
	my %newest;

	$newest{ $_->{key} } = from_json($_->{value})->{v} for $kafka->records('events');
	is($hub->safe_psql('postgres', 'SELECT k, v FROM newest.events ORDER BY k'),
		join("\n", map { "$_|$newest{$_}" } sort { $a <=> $b } keys %newest), 'the newest one of each key');
	return;
}
