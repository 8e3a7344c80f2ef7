# test/bench/Bench/Memory.pm
#	  (d) Private memory of the pipeline's worker through one large transaction.

package Bench::Memory;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use constant ROW_BYTES => 1024;
use constant TIMEOUT_SECONDS => 900;

sub run
{
	my ($machine, $scale) = @_;
	my $rows = int(1024 * 1024 * $scale);
	my ($hub, $source) = @$machine{qw(hub mariadb)};

	$source->run('CREATE DATABASE memory; USE memory');
	$source->run('CREATE TABLE large (id int PRIMARY KEY, note text)');
	$hub->run("SELECT tapdata.connect('memory', '${\ $machine->uri}')");
	$hub->run("SELECT tapdata.pull('memory', 'memory', ARRAY['memory.*'])");
	$machine->await_state('memory', 'streaming', 120);
	my ($worker, @more) = $machine->workers('tapdata pipeline%');
	die "there is no single pipeline worker\n" if !$worker || @more;
	my $before = $machine->private_bytes($worker);

	my $times = ROW_BYTES / 32;
	$source->run("INSERT INTO large SELECT seq, repeat(md5(seq), $times) FROM seq_1_to_$rows");
	my $peak = _watch($machine, $worker, $rows);
	$hub->run("SELECT tapdata.drop_pipeline('memory', drop_tables => true)");
	$source->run('DROP DATABASE memory');
	return {
		name => 'private memory of a worker',
		unit => 'MB',
		tapdata => $peak / 1024 / 1024,
		below => 64,
		detail => sprintf('transaction of %d MB, %.1f MB before it',
			$rows * ROW_BYTES / 1024 / 1024, $before / 1024 / 1024)
	};
}

# The largest amount seen until all rows are visible.
sub _watch
{
	my ($machine, $worker, $rows) = @_;
	my $deadline = time + TIMEOUT_SECONDS;
	my ($peak, $asked) = (0, 0);

	while (1)
	{
		my $bytes = $machine->private_bytes($worker);
		die "the worker ended\n" unless defined $bytes;
		$peak = $bytes if $bytes > $peak;

		# a count takes time in which nothing is sampled, so it is rare
		if (time - $asked > 0.5)
		{
			return $peak
			  if $machine->{hub}->value("SELECT max(id) FROM memory.large") eq $rows;
			$asked = time;
		}
		die "the transaction did not arrive\n" if time > $deadline;
		sleep 0.02;
	}
	return;
}

1;
