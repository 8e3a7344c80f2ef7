# test/bench/Bench/Latency.pm
#	  (c) From the commit at the source until the row is visible in the hub.
#
# Clients insert rows at a fixed pace, each transaction of its own, and note the time
# just before they send COMMIT; so the source's own commit is part of the latency. A reader
# asks the hub for each client's newest row, over and over, and notes the time after
# the answer: what it sees at a time is visible since that time at the latest, for a
# client's rows become visible in order. The pause between two questions adds up to
# its own length; all this only makes the figures larger than the truth, never smaller.
#
# All processes use the same clock. The first seconds are left out.

package Bench::Latency;

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);

use constant CLIENTS => 4;
use constant TRANSACTIONS_PER_SECOND => 1000;
use constant WARM_UP_SECONDS => 3;
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

	my $begin = time + 1;
	my @pids = map { _fork_client($machine, $_, $begin, $seconds) } 1 .. CLIENTS;
	my $seen = _watch($hub, $begin + $seconds + 30,
		int($seconds * TRANSACTIONS_PER_SECOND / CLIENTS));
	for my $pid (@pids)
	{
		waitpid $pid, 0;
		die "a client failed\n" if $?;
	}
	my ($late, @latencies) = _match($machine, $seen, $begin + WARM_UP_SECONDS);
	$hub->run("SELECT tapdata.drop_pipeline('latency', drop_tables => true)");
	$source->run('DROP DATABASE latency');
	return _results($late, @latencies);
}

# A client keeps its pace by the clock: one that was late hurries.
sub _fork_client
{
	my ($machine, $client, $begin, $seconds) = @_;
	my $pid = fork();

	die "fork: $!\n" unless defined $pid;
	return $pid if $pid;
	my $done = eval { _write_rows($machine, $client, $begin, $seconds); 1 };
	print STDERR $@ unless $done;
	POSIX::_exit($done ? 0 : 1);
}

sub _write_rows
{
	my ($machine, $client, $begin, $seconds) = @_;
	my $interval = CLIENTS / TRANSACTIONS_PER_SECOND;
	my $count = int($seconds / $interval);
	my $dbh = $machine->dbi('latency');
	my $insert = $dbh->prepare('INSERT INTO events VALUES (?, ?, repeat(\'x\', 60))');
	my @committed;

	# so that clients do not commit at the same instants
	$begin += $interval * $client / CLIENTS;
	$dbh->{AutoCommit} = 0;
	for my $n (1 .. $count)
	{
		my $wait = $begin + $n * $interval - time;
		sleep $wait if $wait > 0;
		$insert->execute($client, $n);
		push @committed, time;
		$dbh->commit;
	}
	open my $file, '>', "$machine->{folder}/latency.$client" or die "$!\n";
	print $file "$_\n" for @committed;
	close $file;
	return;
}

# For each client, a list of [time, newest row then seen].
sub _watch
{
	my ($hub, $deadline, $last) = @_;
	my $query = 'SELECT ' . join ' || \' \' || ',
	  map { "coalesce((SELECT max(n) FROM latency.events WHERE client = $_), 0)" } 1 .. CLIENTS;
	my @newest = (0) x CLIENTS;
	my @seen = map { [] } 1 .. CLIENTS;

	while (grep { $_ < $last } @newest)
	{
		my @now = split ' ', $hub->value($query);
		my $at = time;
		die "the hub did not get all rows: @now of $last each\n" if $at > $deadline;
		for my $i (0 .. CLIENTS - 1)
		{
			push @{ $seen[$i] }, [ $at, $now[$i] ] if $now[$i] != $newest[$i];
		}
		@newest = @now;
		sleep READER_PAUSE_SECONDS;
	}
	return \@seen;
}

# Seconds by which the last client ended late, and all latencies in order.
sub _match
{
	my ($machine, $seen, $from) = @_;
	my @latencies;
	my $late = 0;

	for my $client (1 .. CLIENTS)
	{
		open my $file, '<', "$machine->{folder}/latency.$client" or die "$!\n";
		chomp(my @committed = <$file>);
		my $n = 0;
		for my $step (@{ $seen->[ $client - 1 ] })
		{
			my ($at, $newest) = @$step;
			for (; $n < $newest; $n++)
			{
				push @latencies, $at - $committed[$n] if $committed[$n] >= $from;
			}
		}
		my $span = $committed[-1] - $committed[0];
		my $pace = $span - (@committed - 1) * CLIENTS / TRANSACTIONS_PER_SECOND;
		$late = $pace if $pace > $late;
	}
	return ($late, sort { $a <=> $b } @latencies);
}

sub _results
{
	my ($late, @latencies) = @_;
	my $detail = sprintf '%d transactions at %d a second%s', scalar @latencies,
	  TRANSACTIONS_PER_SECOND, $late > 0.1 ? sprintf(', clients %.1f s late', $late) : '';
	my $at = sub { 1000 * $latencies[ int($_[0] * $#latencies) ] };

	return (
		{
			name => 'latency, median',
			unit => 'ms',
			tapdata => $at->(0.5),
			below => 5,
			detail => $detail
		},
		{
			name => 'latency, 99th percentile',
			unit => 'ms',
			tapdata => $at->(0.99),
			below => 25,
			detail => sprintf('longest %.1f ms', 1000 * $latencies[-1])
		});
}

1;
