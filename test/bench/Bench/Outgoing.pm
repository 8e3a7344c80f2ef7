# test/bench/Bench/Outgoing.pm
#	  (f) A backlog of changes of the hub into another PostgreSQL, against built-in
#	  logical replication of the same.
#
# The publishing server has both: a tapdata pipeline to the database "copy" of the other
# server, and a publication that the database "native" there subscribes to. Changes
# are made while neither is followed; then each in turn is let go, and its time runs until the
# marker that the last transaction changes is visible, as in Backlog.pm.

package Bench::Outgoing;

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
	my $single = int(100_000 * $scale);
	my @results;

	_prepare($machine);
	push @results, _measure($machine, 'to PostgreSQL: inserts', $rows, _in_ranges($rows, \&postgres_rows));
	push @results, _measure($machine, 'to PostgreSQL: updates', $rows, _in_ranges($rows, \&_update));
	push @results, _measure($machine, 'to PostgreSQL: single-row', $single, "CALL outgoing_single($single)");
	push @results, _measure($machine, 'to PostgreSQL: deletes', $deletes, _in_ranges($deletes, \&_delete));
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

	return map { $statement->('outgoing.items', @$_) } ranges($count, ROWS_PER_TRANSACTION);
}

sub _prepare
{
	my ($machine) = @_;
	my ($pub, $native) = @$machine{qw(pub native)};

	$machine->psql('server', 'postgres')->run('CREATE DATABASE copy');
	$machine->{copy} = $machine->psql('server', 'copy');
	for my $session ($pub, $native)
	{
		$session->run('CREATE SCHEMA outgoing');
		$session->run(postgres_table('outgoing.items'));
		$session->run('CREATE TABLE outgoing.marker (id int PRIMARY KEY, n int)');
	}
	$pub->run('INSERT INTO outgoing.marker VALUES (1, 0)');
	$pub->run('SET synchronous_commit = off');
	$pub->run('CREATE PROCEDURE outgoing_single(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP '
		  . 'UPDATE outgoing.items SET amount = amount + 1 WHERE id = i; COMMIT; END LOOP; END $$');
	$pub->run('CREATE PUBLICATION outgoing FOR TABLES IN SCHEMA outgoing');
	$native->run("CREATE SUBSCRIPTION outgoing CONNECTION '${\ $machine->conninfo}' PUBLICATION outgoing");
	$pub->run('CREATE EXTENSION IF NOT EXISTS tapdata');
	$pub->run($machine->connect_postgres('copy', 'server', 'copy'));
	$pub->run("SELECT tapdata.publish('outgoing', 'copy', ARRAY['outgoing.*'])");
	$pub->run("SELECT tapdata.wait('outgoing', '2 min')");
	$machine->await($native, 'SELECT n FROM outgoing.marker', 0, 120);
	$machine->await($native, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel", 't', 120);
	return;
}

sub _measure
{
	my ($machine, $name, $count, @statements) = @_;
	my ($pub, $native, $copy) = @$machine{qw(pub native copy)};
	my $marker = ++$machine->{outgoing_marker};

	$pub->run("SELECT tapdata.stop('outgoing')");
	$machine->await($pub, "SELECT state FROM tapdata.status WHERE name = 'outgoing'", 'stopped', 60);
	$native->run('ALTER SUBSCRIPTION outgoing DISABLE');
	$pub->run($_) for @statements;
	$pub->run("UPDATE outgoing.marker SET n = $marker");
	$pub->run('CHECKPOINT');

	my $ours = _time_until($machine, $copy, $pub, "SELECT tapdata.start('outgoing')", $marker);
	my $theirs = _time_until($machine, $native, $native, 'ALTER SUBSCRIPTION outgoing ENABLE', $marker);
	_check_same($machine);
	return {
		name => $name,
		unit => $name =~ /single/ ? 'tx/s' : 'rows/s',
		tapdata => $count / $ours,
		reference => $count / $theirs,
		reference_name => 'logical replication',
		wanted => 2.0,
		detail => $count
	};
}

sub _time_until
{
	my ($machine, $target, $starter, $start, $marker) = @_;

	$target->run('VACUUM ANALYZE');
	$target->run('CHECKPOINT');
	my $began = time;
	$starter->run($start);
	return $machine->await($target, 'SELECT n FROM outgoing.marker', $marker, TIMEOUT_SECONDS) - $began;
}

sub _check_same
{
	my ($machine) = @_;
	my $query = 'SELECT count(*), sum(amount), sum(hashtext(note)::bigint) FROM outgoing.items';
	my ($source, $ours, $theirs) = map { $machine->{$_}->value($query) } qw(pub copy native);

	die "the targets differ: $source, $ours and $theirs\n" if $ours ne $source || $theirs ne $source;
	return;
}

sub _clean_up
{
	my ($machine) = @_;

	$machine->{native}->run('DROP SUBSCRIPTION outgoing');
	$machine->{pub}->run('DROP PUBLICATION outgoing');
	$machine->{pub}->run("SELECT tapdata.drop_pipeline('outgoing')");
	return;
}

1;
