# PostgreSQL as a source: transactions that are received while they are in progress,
# with savepoints that are rolled back, several at a time, under kills, prepared,
# large; by memory that does not grow with them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");

# the least that can be set: every transaction here is larger
my $source = new_source('source', "logical_decoding_work_mem = 64kB\nmax_prepared_transactions = 5\n");
my @tables = qw(s.t s.late s.keyless s.long);

plan skip_all => 'before PostgreSQL 14 no transaction comes while it is in progress' if $source->pg_version < 14;

$source->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text);
	INSERT INTO s.t SELECT i, 'old' FROM generate_series(1, 100) i;
	CREATE TABLE s.late (id int PRIMARY KEY, v text);
	CREATE TABLE s.keyless (a int, b text);
	ALTER TABLE s.keyless REPLICA IDENTITY FULL;
	CREATE TABLE s.long (id int PRIMARY KEY, big text, n int);
	ALTER TABLE s.long ALTER big SET STORAGE EXTERNAL;
	INSERT INTO s.long SELECT i, repeat(md5(i::text), 300), 0 FROM generate_series(1, 20) i;
));
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.*'], 's');
caught_up($hub, 'p');

check_subtransactions();
check_several();
check_kills();
check_prepared();
check_joining();
check_dead_letters();
check_memory();
sql_becomes($hub, "SELECT state FROM tapdata.status", 'streaming', 'the pipeline streams');
$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('p', '{\"streaming\": \"off\"}')");
check_off();
done_testing();

# ---------------------------------------------------------------------

# What the source's slot says of transactions that it sent in parts.
sub streamed
{
	return $source->safe_psql('postgres', "SELECT coalesce(sum(stream_$_[0]), 0) FROM pg_stat_replication_slots");
}

sub all_same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	caught_up($hub, 'p');
	same_as_source($hub, $source, $_, $_, "$name: $_") for @tables;
	return;
}

# Rows enough to be sent before the transaction's end.
sub many
{
	my ($from, $text) = @_;

	return "INSERT INTO s.t SELECT i, '$text' || repeat(i::text, 10) FROM generate_series($from, $from + 2999) i;";
}

# A session whose transaction stays open until it is told otherwise.
sub open_session
{
	my ($sql) = @_;
	my $session = $source->background_psql('postgres', on_error_stop => 1);

	$session->query_safe("BEGIN; $sql");
	return $session;
}

# Wait until a part of a transaction in progress was sent.
sub wait_for_part
{
	my ($before) = @_;

	# the statistics of a slot are told at the next transaction, too
	wait_for_sql($source, "SELECT coalesce(sum(stream_count), 0) > $before FROM pg_stat_replication_slots", 't');
	return;
}

# ---------------------------------------------------------------------

sub check_subtransactions
{
	my $before = streamed('txns');
	my $nested = join ' ', map { "SAVEPOINT n$_; UPDATE s.t SET v = 'n$_' WHERE id = $_;" . ($_ % 3 ? "RELEASE n$_;" : "ROLLBACK TO n$_;") } 1 .. 60;

	$source->safe_psql('postgres', 'BEGIN;' . many(1000, 'kept') . '
		SAVEPOINT a;' . many(10000, 'lost') . q(
		INSERT INTO s.late SELECT i, 'lost' FROM generate_series(1, 2000) i;
		SAVEPOINT b;) . many(20000, 'lost, released') . '
		RELEASE b;
		ROLLBACK TO a;' . many(10000, 'in its place') . q(
		INSERT INTO s.late SELECT i, 'kept' FROM generate_series(1, 500) i;
		SAVEPOINT c;
		ALTER TABLE s.t ADD extra int DEFAULT 7;) . many(30000, 'with a column that never was') =~ s/INTO s.t/INTO s.t (id, v)/r . '
		ROLLBACK TO c;' . many(40000, 'behind it') . qq(
		$nested
		SAVEPOINT d;
		UPDATE s.long SET n = n + 1;
		RELEASE d;
		UPDATE s.long SET id = id + 100 WHERE id < 5;
		INSERT INTO s.keyless SELECT i % 10, 'x' FROM generate_series(1, 2000) i;
		DELETE FROM s.keyless WHERE a = 3;
		SAVEPOINT e;
		TRUNCATE s.keyless;
		ROLLBACK TO e;
		DELETE FROM s.t WHERE id < 50;
		COMMIT));
	all_same('savepoints rolled back');
	cmp_ok(streamed('txns'), '>', $before, 'the source did send it in parts');

	# one within another, which writes first
	$source->safe_psql('postgres', 'BEGIN;' . many(70000, 'kept') . 'SAVEPOINT f; SAVEPOINT g;' . many(75000, 'lost, within')
		  . 'RELEASE g;' . many(80000, 'lost') . 'ROLLBACK TO f;' . many(85000, 'kept') . 'COMMIT');
	all_same('a savepoint within one');

	$source->safe_psql('postgres', 'BEGIN;' . many(50000, 'never') . 'ROLLBACK');
	$source->safe_psql('postgres', 'BEGIN; TRUNCATE s.keyless; ALTER TABLE s.t ADD extra int;' . many(60000, 'x') =~ s/INTO s.t/INTO s.t (id, v)/r . 'UPDATE s.t SET extra = 3; ALTER TABLE s.t DROP extra; UPDATE s.t SET v = v || 1 WHERE id % 10 = 0; COMMIT');
	all_same('one rolled back, and tables that change in one');
	return;
}

sub check_several
{
	my $count = streamed('count');
	my $one = open_session(many(100000, 'one'));
	my $two = open_session(many(200000, 'two'));
	my $three = open_session(many(300000, 'three'));

	wait_for_part($count);
	$source->safe_psql('postgres', "INSERT INTO s.late VALUES (10001, 'between')");
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT (SELECT count(*) FROM s.t WHERE id >= 100000), (SELECT count(*) FROM s.late WHERE id = 10001)', '0|1',
		'what is in progress is not seen; what was committed meanwhile is');
	$_->query_safe("UPDATE s.t SET v = v || ' again' WHERE id >= 100000") for $two, $one;
	$three->query_safe(many(310000, 'three'));
	$two->query_safe('COMMIT');
	$three->query_safe('ROLLBACK');
	$one->query_safe(many(110000, 'one') . 'COMMIT');
	$_->quit for $one, $two, $three;
	all_same('three at a time');
	return;
}

sub check_kills
{
	for my $victim ('the worker', 'its session at the source')
	{
		my $count = streamed('count');
		my $from = $victim eq 'the worker' ? 400000 : 450000;
		my $session = open_session(many($from, $victim) . 'SAVEPOINT a;' . many($from + 10000, 'lost'));
		my ($node, $condition) =
		  $victim eq 'the worker' ? ($hub, "backend_type = 'tapdata pipeline'") : ($source, "backend_type = 'walsender'");

		wait_for_part($count);
		ok(kill_one($node, $condition), "$victim was there");
		if ($node eq $source)
		{
			eval { $session->quit };
			all_same("$victim was killed, and all sessions with it");
			next;
		}
		wait_for_sql($hub, q(SELECT state FROM tapdata.status), 'streaming');
		$session->query_safe('ROLLBACK TO a;' . many(420000, 'after the kill'));
		$source->safe_psql('postgres', "UPDATE s.late SET v = 'during' WHERE id < 10");
		caught_up($hub, 'p');
		sql_ok($hub, 'SELECT count(*) FROM s.t WHERE id >= 400000', 0, 'nothing of it is seen');
		$session->query_safe('DELETE FROM s.t WHERE id = 420001; COMMIT');
		$session->quit;
		all_same("$victim was killed in the middle");
	}
	return;
}

sub check_prepared
{
	$source->safe_psql('postgres', 'BEGIN;' . many(500000, 'prepared') . "PREPARE TRANSACTION 'one'");
	$source->safe_psql('postgres', 'BEGIN;' . many(510000, 'given up') . "PREPARE TRANSACTION 'two'");
	$source->safe_psql('postgres', "BEGIN; INSERT INTO s.late VALUES (20001, 'small'); PREPARE TRANSACTION 'three'");
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT (SELECT count(*) FROM s.t WHERE id >= 500000) + (SELECT count(*) FROM s.late WHERE id > 20000)', 0, 'what is prepared is not seen');
	$hub->stop('immediate');
	$source->stop;
	$source->start;
	$hub->start;
	$source->safe_psql('postgres', "COMMIT PREPARED 'one'");
	$source->safe_psql('postgres', "ROLLBACK PREPARED 'two'");
	$source->safe_psql('postgres', "COMMIT PREPARED 'three'");
	all_same('prepared transactions');
	sql_ok($hub, 'SELECT count(*) FROM s.t WHERE id >= 500000', 3000, 'the one that was committed is there');
	return;
}

# A table that is copied again while a transaction that changes it is in progress.
sub check_joining
{
	my $count = streamed('count');
	my $session = open_session(many(600000, 'copied') . "UPDATE s.t SET v = 'while it is copied' WHERE id BETWEEN 60 AND 80;");

	wait_for_part($count);

	# a slot can only begin where no transaction is under way
	$hub->safe_psql('postgres', "SELECT tapdata.resync('p', 's.t')");
	wait_for_sql($source, "SELECT count(*) > 1 FROM pg_replication_slots", 't');
	$session->query_safe(many(610000, 'copied') . 'COMMIT');
	$session->quit;
	$source->safe_psql('postgres', 'BEGIN;' . many(620000, 'while it joins') . 'COMMIT');
	all_same('a table that joined meanwhile');
	return;
}

sub check_dead_letters
{
	$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('p', '{\"on_error\": \"dead_letter\"}')");
	$hub->safe_psql('postgres', "ALTER TABLE s.t ADD CHECK (v <> 'bad')");
	$source->safe_psql('postgres', 'BEGIN;' . many(700000, 'good') . "INSERT INTO s.t VALUES (710000, 'bad'); COMMIT");
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT count(*) FROM s.t WHERE id BETWEEN 700000 AND 710000', 3000, 'a row that the hub refuses is left out');
	like($hub->safe_psql('postgres', 'SELECT change FROM tapdata.dead_letters'), qr/710000/, 'and is a dead letter');
	$source->safe_psql('postgres', 'DELETE FROM s.t WHERE id = 710000');
	caught_up($hub, 'p');
	$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('p')");
	all_same('after that');
	return;
}

sub private_kilobytes
{
	my ($pid) = @_;

	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : 0;
}

sub check_memory
{
	my $wide = sub { my ($from) = @_; "INSERT INTO s.t SELECT i, repeat('w', 1000) FROM generate_series($from, $from + 49999) i;" };
	my $session = open_session($wide->(1000000));
	my $pid = pipeline_pid($hub, 'p');
	my $most = 0;
	my $end = time + 240;

	# 300 MB, of which a third is rolled back
	$session->query_safe($_) for $wide->(1050000), 'SAVEPOINT a', $wide->(2000000), $wide->(2050000), 'ROLLBACK TO a',
	  $wide->(1100000), $wide->(1150000);
	cmp_ok(private_kilobytes($pid), '<', 64 * 1024, 'private memory of the worker stays below 64 MB before the commit');
	$session->query_safe('COMMIT');
	until ($hub->safe_psql('postgres', 'SELECT EXISTS (SELECT FROM s.t WHERE id = 1150000)') eq 't' || time > $end)
	{
		my $now = private_kilobytes($pid);

		$most = $now if $now > $most;
		sleep 0.05;
	}
	$session->quit;
	note "$most kB";
	cmp_ok($most, '>', 0, 'measured');
	cmp_ok($most, '<', 64 * 1024, 'and below 64 MB behind it');
	all_same('300 MB');
	is($hub->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, 'nothing is left of it on the disk');
	return;
}

sub check_off
{
	my $before;

	wait_for_sql($hub, q(SELECT state FROM tapdata.status), 'streaming');
	caught_up($hub, 'p');
	$before = streamed('txns');
	$source->safe_psql('postgres', 'BEGIN;' . many(800000, 'x') . 'SAVEPOINT a;' . many(810000, 'x') . 'ROLLBACK TO a; COMMIT');
	all_same('streaming = off');
	is(streamed('txns'), $before, 'nothing was sent before its commit');
	return;
}
