# test/bench/Bench/Latency.pm
#	  (c) From the commit at the source until the row is visible in the hub.
#
# A reader asks the hub for each client's newest row, over and over, and notes the time after
# the answer: what it sees at a time is visible since that time at the latest. The pause
# between two questions adds up to its own length; all this only makes the figures
# larger than the truth, never smaller.

package Bench::Latency;

use strict;
use warnings;

use Bench::Pace;
use Time::HiRes qw(sleep time);

use constant READER_PAUSE_SECONDS => 0.0003;

sub run
{
	my ($machine, $scale) = @_;
	my $seconds = $scale < 1 ? 8 : 33;
	my ($hub, $source) = @$machine{qw(hub mariadb)};

	$source->run('CREATE DATABASE latency; USE latency');
	$source->run('CREATE TABLE events (client int, n int, note varchar(80), PRIMARY KEY (client, n))');
	$hub->run("SELECT tapdata.connect('latency', '${\ $machine->uri}')");
	$hub->run("SELECT tapdata.pull('latency', 'latency', ARRAY['latency.*'])");
	$machine->await_state('latency', 'streaming', 120);
	my @results = Bench::Pace::measure($machine, 'latency', $seconds, 5, 25,
		sub { $machine->dbi('latency') },
		"INSERT INTO events VALUES (?, ?, repeat('x', 60))",
		sub { _watch($hub, @_) });
	$hub->run("SELECT tapdata.drop_pipeline('latency', drop_tables => true)");
	$source->run('DROP DATABASE latency');
	return @results;
}

# For each client, a list of [time, newest row then seen].
sub _watch
{
	my ($hub, $clients, $last, $deadline) = @_;
	my $query = 'SELECT ' . join ' || \' \' || ',
	  map { "coalesce((SELECT max(n) FROM latency.events WHERE client = $_), 0)" } 1 .. $clients;
	my @newest = (0) x $clients;
	my @seen = map { [] } 1 .. $clients;

	while (grep { $_ < $last } @newest)
	{
		my @now = split ' ', $hub->value($query);
		my $at = time;
		die "the hub did not get all rows: @now of $last each\n" if $at > $deadline;
		for my $i (0 .. $clients - 1)
		{
			push @{ $seen[$i] }, [ $at, $now[$i] ] if $now[$i] != $newest[$i];
		}
		@newest = @now;
		sleep READER_PAUSE_SECONDS;
	}
	return \@seen;
}

1;
