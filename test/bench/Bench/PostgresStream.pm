# test/bench/Bench/PostgresStream.pm
#	  (i) A backlog of changes of a PostgreSQL source, against built-in logical
#	  replication of the same.
#
# One server publishes to a tapdata pipeline of the database "hub" and to a subscription
# of the database "native" of another server. Changes are made while neither is followed;
# then each in turn is let go, and its time runs until the marker that the last
# transaction changes is visible, as in Backlog.pm.

package Bench::PostgresStream;

use strict;
use warnings;

use Bench::Rows qw(postgres_table postgres_rows ranges);
use Time::HiRes qw(time);

use constant ROWS_PER_TRANSACTION => 10_000;
use constant TIMEOUT_SECONDS => 1800;

sub run
{
	my ($machine, $scale) = @_;
	my $rows = int(1_000_000 * $scale);
	my $deletes = int(500_000 * $scale);
	my $single = int(200_000 * $scale);
	my @results;

	_prepare($machine);
	push @results, _measure($machine, 'inserts', $rows, 3.0, _in_ranges($rows, \&postgres_rows));
	push @results, _measure($machine, 'updates', $rows, 2.5, _in_ranges($rows, \&_update));
	push @results, _measure($machine, 'single-row', $single, 5.0, "CALL taken_single($single)");
	push @results, _measure($machine, 'deletes', $deletes, 2.5, _in_ranges($deletes, \&_delete));
	_clean_up($machine);
	return @results;
}

sub _update
{
	my ($table, $first, $last) = @_;

	return "UPDATE $table SET amount = amount + 1, status = 'paid' WHERE id BETWEEN $first AND $last";
}

sub _delete
{
	my ($table, $first, $last) = @_;

	return "DELETE FROM $table WHERE id BETWEEN $first AND $last";
}

sub _in_ranges
{
	my ($count, $statement) = @_;

	return map { $statement->('taken.items', @$_) } ranges($count, ROWS_PER_TRANSACTION);
}

sub _prepare
{
	my ($machine) = @_;
	my ($hub, $native, $pub) = @$machine{qw(hub native pub)};

	for my $session ($pub, $native)
	{
		$session->run('CREATE SCHEMA taken');
		$session->run(postgres_table('taken.items'));
		$session->run('CREATE TABLE taken.marker (id int PRIMARY KEY, n int)');
	}
	$pub->run('INSERT INTO taken.marker VALUES (1, 0)');
	$pub->run('SET synchronous_commit = off');
	$pub->run('CREATE PROCEDURE taken_single(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP '
		  . 'UPDATE taken.items SET amount = amount + 1 WHERE id = i; COMMIT; END LOOP; END $$');
	$pub->run('CREATE PUBLICATION taken FOR TABLES IN SCHEMA taken');
	$native->run("CREATE SUBSCRIPTION taken CONNECTION '${\ $machine->conninfo}' PUBLICATION taken");
	$hub->run($machine->connect_postgres('taken', 'publisher', 'postgres'));
	$hub->run("SELECT tapdata.pull('taken', 'taken', ARRAY['taken.*'])");
	$machine->await_state('taken', 'streaming', 120);
	$machine->await($native, 'SELECT n FROM taken.marker', 0, 120);
	$machine->await($native, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel", 't', 120);
	return;
}

sub _measure
{
	my ($machine, $name, $count, $wanted, @statements) = @_;
	my ($hub, $native, $pub) = @$machine{qw(hub native pub)};
	my $marker = ++$machine->{taken_marker};

	$hub->run("SELECT tapdata.stop('taken')");
	$machine->await_state('taken', 'stopped', 60);
	$native->run('ALTER SUBSCRIPTION taken DISABLE');
	$machine->await($pub, 'SELECT count(*) FROM pg_replication_slots WHERE active', 0, 60);
	$pub->run($_) for @statements;
	$pub->run("UPDATE taken.marker SET n = $marker");
	$pub->run('CHECKPOINT');

	$machine->settle;
	my $ours = _time_until($machine, $hub, "SELECT tapdata.start('taken')", $marker);
	$machine->settle;
	my $theirs = _time_until($machine, $native, 'ALTER SUBSCRIPTION taken ENABLE', $marker);
	_check_same($machine);
	return {
		name => "from PostgreSQL: $name",
		unit => $name =~ /single/ ? 'tx/s' : 'rows/s',
		tapdata => $count / $ours,
		reference => $count / $theirs,
		reference_name => 'logical replication',
		wanted => $wanted,
		detail => $count
	};
}

sub _time_until
{
	my ($machine, $session, $start, $marker) = @_;
	my $began = time;

	$session->run($start);
	return $machine->await($session, 'SELECT n FROM taken.marker', $marker, TIMEOUT_SECONDS) - $began;
}

sub _check_same
{
	my ($machine) = @_;
	my $query = 'SELECT count(*), sum(amount), sum(hashtext(note)::bigint) FROM taken.items';
	my ($source, $ours, $theirs) = map { $machine->{$_}->value($query) } qw(pub hub native);

	die "they differ: $source, $ours and $theirs\n" if $ours ne $source || $theirs ne $source;
	return;
}

sub _clean_up
{
	my ($machine) = @_;

	$machine->{native}->run('DROP SUBSCRIPTION taken');
	$machine->{pub}->run('DROP PUBLICATION taken');
	$machine->{hub}->run("SELECT tapdata.drop_pipeline('taken', drop_tables => true)");
	$machine->{hub}->run("SELECT tapdata.disconnect('taken')");
	$_->run('DROP SCHEMA taken CASCADE') for $machine->{native}, $machine->{pub};
	return;
}

1;
