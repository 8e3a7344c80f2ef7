# test/bench/Bench/Backlog.pm
#	  (b) A backlog of changes, against PostgreSQL's logical replication of the same.
#
# Both sides get the same statements while nothing follows them. Then each in turn is
# let go, and its time runs from that call until its last transaction, which changes a
# marker, is visible. Both sides are polled by the same query at the same pace.

package Bench::Backlog;

use strict;
use warnings;

use Bench::Rows qw(mariadb_table postgres_table mariadb_rows postgres_rows ranges);
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
	push @results, _measure($machine, 'inserts', $rows, 3.0, sub { _in_ranges($rows, \&mariadb_rows, \&postgres_rows) });
	push @results, _measure($machine, 'updates', $rows, 2.5, sub { _in_ranges($rows, \&_update, \&_update) });
	push @results, _measure($machine, 'single-row transactions', $single, 5.0,
		sub { ([ "CALL single($single)" ], [ "CALL single($single)" ]) });
	push @results, _measure($machine, 'deletes', $deletes, 2.5, sub { _in_ranges($deletes, \&_delete, \&_delete) });
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

# Two lists of statements, MariaDB's and PostgreSQL's, each statement a transaction.
sub _in_ranges
{
	my ($count, $mariadb, $postgres) = @_;
	my @ranges = ranges($count, ROWS_PER_TRANSACTION);

	return ([ map { $mariadb->('items', @$_) } @ranges ],
		[ map { $postgres->('backlog.items', @$_) } @ranges ]);
}

sub _prepare
{
	my ($machine) = @_;
	my ($hub, $native, $pub, $source) = @$machine{qw(hub native pub mariadb)};

	$source->run('CREATE DATABASE backlog; USE backlog');
	$source->run(mariadb_table('items'));
	$source->run('CREATE TABLE marker (id int PRIMARY KEY, n int); INSERT INTO marker VALUES (1, 0)');
	$source->run("DELIMITER //\n"
		  . 'CREATE PROCEDURE single(n int) BEGIN DECLARE i int DEFAULT 1; '
		  . "WHILE i <= n DO UPDATE items SET amount = amount + 1 WHERE id = i; SET i = i + 1; END WHILE; END //\nDELIMITER ");
	for my $session ($pub, $native)
	{
		$session->run('CREATE SCHEMA backlog');
		$session->run(postgres_table('backlog.items'));
		$session->run('CREATE TABLE backlog.marker (id int PRIMARY KEY, n int)');
	}
	$pub->run('INSERT INTO backlog.marker VALUES (1, 0)');
	$pub->run('SET synchronous_commit = off');
	$pub->run(
		'CREATE PROCEDURE single(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP '
		  . 'UPDATE backlog.items SET amount = amount + 1 WHERE id = i; COMMIT; END LOOP; END $$');
	$pub->run('CREATE PUBLICATION backlog FOR ALL TABLES');
	$native->run("CREATE SUBSCRIPTION backlog CONNECTION '${\ $machine->conninfo}' PUBLICATION backlog");
	$hub->run("SELECT tapdata.connect('backlog', '${\ $machine->uri}')");
	$hub->run("SELECT tapdata.pull('backlog', 'backlog', ARRAY['backlog.*'])");
	$machine->await_state('backlog', 'streaming', 120);
	$machine->await($native, 'SELECT n FROM backlog.marker', 0, 120);
	$machine->await($native, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel", 't', 120);
	return;
}

sub _measure
{
	my ($machine, $name, $count, $wanted, $statements) = @_;
	my ($hub, $native, $pub, $source) = @$machine{qw(hub native pub mariadb)};
	my ($for_mariadb, $for_postgres) = $statements->();
	my $marker = ++$machine->{marker};

	$hub->run("SELECT tapdata.stop('backlog')");
	$machine->await_state('backlog', 'stopped', 60);
	$native->run('ALTER SUBSCRIPTION backlog DISABLE');

	# MariaDB looks for a position from the beginning of its log file on
	$source->run('FLUSH BINARY LOGS');
	$source->run($_) for @$for_mariadb;
	$source->run("UPDATE marker SET n = $marker");
	$pub->run($_) for @$for_postgres;
	$pub->run("UPDATE backlog.marker SET n = $marker");
	$pub->run('CHECKPOINT');

	$machine->settle;
	my $ours = _time_until($machine, $hub, "SELECT tapdata.start('backlog')", $marker);
	$machine->settle;
	my $theirs = _time_until($machine, $native, 'ALTER SUBSCRIPTION backlog ENABLE', $marker);
	_check_same($machine);
	return {
		name => $name,
		unit => $name =~ /transactions/ ? 'tx/s' : 'rows/s',
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
	return $machine->await($session, 'SELECT n FROM backlog.marker', $marker, TIMEOUT_SECONDS) - $began;
}

# A rate is worth nothing unless both have the same rows.
sub _check_same
{
	my ($machine) = @_;
	my $query = 'SELECT count(*), sum(amount), sum(hashtext(note)::bigint) FROM backlog.items';
	my ($ours, $theirs) = map { $machine->{$_}->value($query) } qw(hub native);

	die "hub and subscriber differ: $ours and $theirs\n" if $ours ne $theirs;
	return;
}

sub _clean_up
{
	my ($machine) = @_;

	$machine->{native}->run('DROP SUBSCRIPTION backlog');
	$machine->{pub}->run('DROP PUBLICATION backlog');
	$machine->{hub}->run("SELECT tapdata.drop_pipeline('backlog', drop_tables => true)");
	$machine->{mariadb}->run('DROP DATABASE backlog');
	return;
}

1;
