# test/bench/Bench/PostgresCopy.pm
#	  (h) The snapshot of a PostgreSQL table, against the copy that built-in logical
#	  replication makes of it.
#
# Both read the same table of the same server. The snapshot's time runs from the call
# of tapdata.pull() until its table streams, indexes included; the other one from CREATE
# SUBSCRIPTION until its table is ready, into a table with its primary key there from
# the start, as table synchronisation wants it. The table without key is read by two
# connections, at an exact position, and stored by one worker; it gets an index of whole
# rows, which a subscription does without.

package Bench::PostgresCopy;

use strict;
use warnings;

use Bench::Rows qw(postgres_table postgres_rows ranges);
use Time::HiRes qw(time);

use constant TIMEOUT_SECONDS => 1800;

sub run
{
	my ($machine, $scale) = @_;
	my $count = int(2_000_000 * $scale);
	my @results;

	$machine->{hub}->run($machine->connect_postgres('taken', 'publisher', 'postgres'));
	for my $case ([ 'from PostgreSQL: snapshot', 1.5, 1 ], [ 'from PostgreSQL: without key', 0.75, 0 ])
	{
		my ($name, $wanted, $key) = @$case;

		_prepare($machine, $count, $key);
		my $ours = _time_snapshot($machine, $count);
		my $theirs = _time_subscription($machine, $count);
		_clean_up($machine);
		push @results, {
			name => $name,
			unit => 'rows/s',
			tapdata => $count / $ours,
			reference => $count / $theirs,
			reference_name => 'CREATE SUBSCRIPTION',
			wanted => $wanted,
			detail => "$count rows"
		};
	}
	$machine->{hub}->run("SELECT tapdata.disconnect('taken')");
	return @results;
}

sub _prepare
{
	my ($machine, $count, $key) = @_;

	for my $session ($machine->{pub}, $machine->{native})
	{
		$session->run('CREATE SCHEMA taken');
		$session->run(postgres_table('taken.items'));
		$session->run('ALTER TABLE taken.items DROP CONSTRAINT items_pkey, REPLICA IDENTITY FULL') if !$key;
	}
	$machine->{pub}->run(postgres_rows('taken.items', @$_)) for ranges($count, 100_000);
	$machine->{pub}->run('CREATE PUBLICATION taken FOR TABLE taken.items');
	$machine->{pub}->run('VACUUM ANALYZE taken.items');
	$machine->{pub}->run('CHECKPOINT');
	return;
}

sub _time_snapshot
{
	my ($machine, $count) = @_;
	my $hub = $machine->{hub};

	$machine->settle;
	my $began = time;
	$hub->run(q(SELECT tapdata.pull('taken', 'taken', ARRAY['taken.*'], options => '{"workers": 2}')));
	my $seconds = $machine->await_state('taken', 'streaming', TIMEOUT_SECONDS) - $began;
	my $found = $hub->value('SELECT count(*) FROM taken.items');
	die "the snapshot has $found rows instead of $count\n" if $found != $count;
	return $seconds;
}

sub _time_subscription
{
	my ($machine, $count) = @_;
	my $native = $machine->{native};

	$machine->settle;
	my $began = time;
	$native->run("CREATE SUBSCRIPTION taken CONNECTION '${\ $machine->conninfo}' PUBLICATION taken");
	my $seconds = $machine->await($native, "SELECT bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel", 't', TIMEOUT_SECONDS) - $began;
	my $found = $native->value('SELECT count(*) FROM taken.items');
	die "the subscription has $found rows instead of $count\n" if $found != $count;
	return $seconds;
}

sub _clean_up
{
	my ($machine) = @_;

	$machine->{native}->run('DROP SUBSCRIPTION taken');
	$machine->{hub}->run("SELECT tapdata.drop_pipeline('taken', drop_tables => true)");
	$_->run('DROP SCHEMA taken CASCADE') for $machine->{native}, $machine->{pub};
	$machine->{pub}->run('DROP PUBLICATION IF EXISTS taken');
	return;
}

1;
