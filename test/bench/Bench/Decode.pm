# test/bench/Bench/Decode.pm
#	  (d) Decoding changes of the hub to a sink that discards them, against
#	  pg_recvlogical with pgoutput to /dev/null; and ten such pipelines at once.
#
# Changes are made while nothing reads them. The pipeline's time runs from the call that
# starts it until tapdata.wait() returns, worker start included; that of pg_recvlogical is
# the program's own, from its start until it ends at the position of the last change.

package Bench::Decode;

use strict;
use warnings;

use Bench::Rows qw(postgres_table postgres_rows ranges);
use Time::HiRes qw(time);

use constant ROWS_PER_TRANSACTION => 10_000;
use constant FAN_OUT => 10;

sub run
{
	my ($machine, $scale) = @_;
	my $rows = int(400_000 * $scale);
	my $hub = $machine->{hub};
	my @results;

	$hub->run('CREATE SCHEMA decoded');
	$hub->run(postgres_table('decoded.items'));
	$hub->run("SELECT tapdata.connect('discard', 'fake:///dev/null')");
	$hub->run('CREATE PUBLICATION decoded FOR TABLE decoded.items');
	push @results, _measure($machine, $rows);
	push @results, _fan_out($machine, int(200_000 * $scale));
	$hub->run('DROP PUBLICATION decoded');
	$hub->run("SELECT tapdata.disconnect('discard')");
	$hub->run('DROP SCHEMA decoded CASCADE');
	return @results;
}

sub publish
{
	my ($hub, $name) = @_;

	$hub->run("SELECT tapdata.publish('$name', 'discard', ARRAY['decoded.items'], '{\"snapshot\":\"never\", \"mode\":\"discard\"}')");
	$hub->run("SELECT tapdata.wait('$name', '2 min')");
	return;
}

# 40 % inserts, 30 % updates, 30 % deletes; returns how many changes.
sub _change
{
	my ($hub, $rows) = @_;
	my $part = int($rows * 3 / 4);

	for my $range (ranges($rows, ROWS_PER_TRANSACTION))
	{
		$hub->run(postgres_rows('decoded.items', @$range));
	}
	for my $range (ranges($part, ROWS_PER_TRANSACTION))
	{
		$hub->run("UPDATE decoded.items SET amount = amount + 1, status = 'paid' WHERE id BETWEEN $range->[0] AND $range->[1]");
	}
	for my $range (ranges($part, ROWS_PER_TRANSACTION))
	{
		$hub->run("DELETE FROM decoded.items WHERE id BETWEEN $range->[0] AND $range->[1]");
	}
	return $rows + 2 * $part;
}

sub _measure
{
	my ($machine, $rows) = @_;
	my $hub = $machine->{hub};

	publish($hub, 'discarded');
	$hub->run("SELECT tapdata.stop('discarded')");
	$machine->await_state('discarded', 'stopped', 60);
	$hub->run("SELECT pg_create_logical_replication_slot('reference', 'pgoutput')");
	my $changes = _change($hub, $rows);
	my $end = $hub->value('SELECT pg_current_wal_insert_lsn()');
	$machine->settle;

	my $ours = _time_start($machine, 'discarded');
	_check_counts($hub, 'discarded', $changes);
	$machine->settle;
	my $theirs = _time_recvlogical($machine, $end);
	$hub->run("SELECT tapdata.drop_pipeline('discarded')");
	$hub->run("SELECT pg_drop_replication_slot('reference')");
	return {
		name => 'decoding',
		unit => 'rows/s',
		tapdata => $changes / $ours,
		reference => $changes / $theirs,
		reference_name => 'pg_recvlogical, pgoutput',
		wanted => 2.0,
		detail => $changes
	};
}

sub _time_start
{
	my ($machine, @names) = @_;
	my $hub = $machine->{hub};
	my $began = time;

	$hub->run('SELECT ' . join ', ', map { "tapdata.start('$_')" } @names);
	$hub->run("SELECT tapdata.wait('$_', '30 min')") for @names;
	return time - $began;
}

sub _check_counts
{
	my ($hub, $name, $changes) = @_;
	my $counted = $hub->value("SELECT inserts + updates + deletes FROM tapdata.status WHERE name = '$name'");

	die "$counted changes were published instead of $changes\n" if $counted != $changes;
	return;
}

sub _time_recvlogical
{
	my ($machine, $end) = @_;
	my $began = time;

	system($machine->program('pg_recvlogical'), '-h', $machine->{server}{host}, '-p', $machine->{server}{port},
		'-U', 'postgres', '-d', 'hub', '--slot=reference', '--start', '--no-loop',
		'-o', 'proto_version=1', '-o', 'publication_names=decoded', "--endpos=$end",
		'--fsync-interval=0', '-f', '/dev/null') == 0
	  or die "pg_recvlogical failed\n";
	return time - $began;
}

# What ten pipelines of the same table take, together, against what one takes.
sub _fan_out
{
	my ($machine, $rows) = @_;
	my $hub = $machine->{hub};
	my @names = map { "discarded_$_" } 1 .. FAN_OUT;

	publish($hub, $_) for @names;
	for my $name (@names)
	{
		$hub->run("SELECT tapdata.stop('$name')");
		$machine->await_state($name, 'stopped', 60);
	}
	my $changes = _change($hub, $rows);
	$machine->settle;
	my $one = _time_start($machine, $names[0]);
	my $rest = _time_start($machine, @names[ 1 .. $#names ]);
	$hub->run("SELECT tapdata.drop_pipeline('$_')") for @names;
	return {
		name => 'ten pipelines',
		unit => 'rows/s each',
		tapdata => $changes / $rest,
		reference => $changes / $one,
		reference_name => 'one pipeline',
		wanted => 0,
		detail => (FAN_OUT - 1) . " at once, $changes"
	};
}

1;
