# test/bench/Bench/Pace.pm
#	  Clients that commit at a fixed pace, and how long each commit takes to be seen.
#
# Clients insert rows (client, n), each transaction of its own, and note the time
# just before they send COMMIT; so the commit itself is part of the latency. A watcher returns
# for each client a list of [time, newest row seen by then]: a client's rows are
# seen in order.
#
# All processes use the same clock. The first seconds are left out.

package Bench::Pace;

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);

use constant CLIENTS => 4;
use constant TRANSACTIONS_PER_SECOND => 1000;
use constant WARM_UP_SECONDS => 3;

# measure($machine, $name, $seconds, $median_below_ms, $p99_below_ms, $connect, $insert, $watch)
#
# $connect->() makes a database handle for a forked client; $watch->($clients, $last,
# $deadline) watches until it has seen row $last of each client.
sub measure
{
	my ($machine, $name, $seconds, $median_below, $p99_below, $connect, $insert, $watch) = @_;
	my $begin = time + 1;
	my @pids = map { _fork_client($machine, $_, $begin, $seconds, $connect, $insert) } 1 .. CLIENTS;
	my $seen = $watch->(CLIENTS, int($seconds * TRANSACTIONS_PER_SECOND / CLIENTS),
		$begin + $seconds + 30);

	for my $pid (@pids)
	{
		waitpid $pid, 0;
		die "a client failed\n" if $?;
	}
	return _results($name, $median_below, $p99_below,
		_match($machine, $seen, $begin + WARM_UP_SECONDS));
}

# A client keeps its pace by the clock: one that was late hurries.
sub _fork_client
{
	my ($machine, $client, $begin, $seconds, $connect, $insert) = @_;
	my $pid = fork();

	die "fork: $!\n" unless defined $pid;
	return $pid if $pid;
	my $done = eval { _write_rows($machine, $client, $begin, $seconds, $connect->(), $insert); 1 };
	print STDERR $@ unless $done;
	POSIX::_exit($done ? 0 : 1);
}

sub _write_rows
{
	my ($machine, $client, $begin, $seconds, $dbh, $statement) = @_;
	my $interval = CLIENTS / TRANSACTIONS_PER_SECOND;
	my $count = int($seconds / $interval);
	my $insert = $dbh->prepare($statement);
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
	my ($name, $median_below, $p99_below, $late, @latencies) = @_;
	my $detail = sprintf '%d transactions at %d a second%s', scalar @latencies,
	  TRANSACTIONS_PER_SECOND, $late > 0.1 ? sprintf(', clients %.1f s late', $late) : '';
	my $at = sub { 1000 * $latencies[ int($_[0] * $#latencies) ] };

	return (
		{
			name => "$name, median",
			unit => 'ms',
			tapdata => $at->(0.5),
			below => $median_below,
			detail => $detail
		},
		{
			name => "$name, 99th percentile",
			unit => 'ms',
			tapdata => $at->(0.99),
			below => $p99_below,
			detail => sprintf('longest %.1f ms', 1000 * $latencies[-1])
		});
}

1;
