# What goes wrong with a PostgreSQL source: rights and passwords that are taken away while it is
# streamed, connections that are cut and servers that crash in the middle of a copy and of a
# transaction, rows of 60 MB. A pipeline carries on by itself where it can, and says what to do
# where it cannot.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $source = new_source('source', "listen_addresses = '127.0.0.1'\nlogical_decoding_work_mem = 64kB\n");
my $proxy = Tapdata::Proxy->start(port => $source->port);
my $password_file = abs_path(PostgreSQL::Test::Utils::tempdir()) . '/password';
my $bytes = 60_000_000;

$source->safe_psql('postgres', q(
	CREATE ROLE reader LOGIN REPLICATION PASSWORD 'first';
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text);
	INSERT INTO s.t SELECT i, 'row ' || i FROM generate_series(1, 1000) i;
	CREATE TABLE s.huge (id int PRIMARY KEY, v bytea);
	ALTER TABLE s.huge ALTER v SET STORAGE EXTERNAL;
	GRANT USAGE ON SCHEMA s TO reader;
	GRANT SELECT ON ALL TABLES IN SCHEMA s TO reader;
	CREATE PUBLICATION hub FOR TABLE s.t, s.huge;
));
unlink $source->data_dir . '/pg_hba.conf';
append_to_file($source->data_dir . '/pg_hba.conf', "local all all trust\nhost all reader 127.0.0.1/32 scram-sha-256\n");
$source->reload;
new_password('first');
$hub->safe_psql('postgres', "SELECT tapdata.connect('src', 'postgres://reader\@127.0.0.1:${\ $proxy->port }/postgres', '{\"password_file\": \"$password_file\"}')");
pull_from($hub, 'p', 'src', ['s.*'], 's', '{"publication": "hub"}');
same('the beginning');

lost_select();
lost_logins();
passwords();
cut_copies();
cut_transactions();
lost_publication();
huge_rows();
done_testing();

# ---------------------------------------------------------------------

sub new_password
{
	unlink $password_file;
	append_to_file($password_file, "$_[0]\n");
	return;
}

sub same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	caught_up($hub, 'p');
	return same_as_source($hub, $source, 's.t', 's.t', $name);
}

sub last_error
{
	return $hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status WHERE name = 'p'));
}

sub start
{
	$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
	return;
}

sub restart
{
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('p')));
	wait_for_state($hub, 'p', 'stopped');
	start();
	return;
}

# Failed for good, and says so; what the source does meanwhile is not lost.
sub fails
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_state($hub, 'p', 'failed');
	like(last_error(), $pattern, $name);
	at_source($source, "UPDATE s.t SET v = v || '.' WHERE id % 10 = 0");
	return;
}

sub end_sessions
{
	at_source($source, q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'));
	return;
}

# ---------------------------------------------------------------------

# A stream needs no right to read tables, a copy does.
sub lost_select
{
	at_source($source, 'REVOKE SELECT ON s.t FROM reader', 'REVOKE USAGE ON SCHEMA s FROM reader', "UPDATE s.t SET v = v || '+' WHERE id % 7 = 0");
	same('without the right to read a table its stream goes on');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p', 's.t')));
	copy_is_refused('schema s');
	at_source($source, 'GRANT USAGE ON SCHEMA s TO reader', 'DELETE FROM s.t WHERE id % 100 = 0');

	# else it looks again after 10 seconds
	restart();
	copy_is_refused('table t');
	at_source($source, 'GRANT SELECT ON s.t TO reader');
	restart();
	same('it is copied when the rights are back');
	return;
}

sub copy_is_refused
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	sql_becomes($hub, qq(SELECT last_error ~ 'permission denied for $what;.*test_connection' FROM tapdata.tables WHERE source_table = 's.t'), 't', "a copy is refused: $what");
	is($hub->safe_psql('postgres', q(SELECT state FROM tapdata.tables WHERE source_table = 's.huge')), 'streaming', 'another table streams');
	return;
}

sub lost_logins
{
	for my $case (
		[ 'ALTER ROLE reader NOREPLICATION', 'ALTER ROLE reader REPLICATION', qr/replication/i ],
		[ 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC', qr/CONNECT/ ],
		[ 'ALTER ROLE reader NOLOGIN', 'ALTER ROLE reader LOGIN', qr/not permitted to log in/ ])
	{
		my ($revoke, $grant, $pattern) = @$case;

		at_source($source, $revoke);
		end_sessions();
		fails($pattern, $revoke);
		at_source($source, $grant);
		start();
		same($grant);
	}
	return;
}

sub passwords
{
	my $failures = q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'p' AND message ~ 'authentication');
	my $before = $hub->safe_psql('postgres', $failures);

	at_source($source, q(ALTER ROLE reader PASSWORD 'second'), "UPDATE s.t SET v = v || '-' WHERE id % 5 = 0");

	# wait() would log in anew
	wait_for_sql($hub, q(SELECT count(*) FROM s.t WHERE v LIKE '%-'), $source->safe_psql('postgres', q(SELECT count(*) FROM s.t WHERE v LIKE '%-')));
	pass('a session that has logged in needs no password');
	new_password('second');
	end_sessions();
	same('a new password in the file');
	is($hub->safe_psql('postgres', $failures), $before, 'it was not refused');

	# while the source is down
	$proxy->refuse;
	wait_for_state($hub, 'p', 'retrying');
	at_source($source, q(ALTER ROLE reader PASSWORD 'third'));
	$source->stop('immediate');
	$source->start;
	$proxy->resume;
	fails(qr/password authentication failed.*hint: Check user and password/s, 'a password that is not the one of the file');
	new_password('third');
	start();
	same('it goes on with the right one');
	return;
}

sub copy_is_under_way
{
	return wait_for_sql($source, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'reader' AND query LIKE 'COPY (SELECT%' AND wait_event = 'ClientWrite'});
}

# A table with a key, and one without, which is copied as of one moment.
sub cut_copies
{
	for my $case ([ 's.wide', 'PRIMARY KEY' ], [ 's.keyless', '' ])
	{
		my ($table, $key) = @$case;

		$source->safe_psql('postgres', qq(
			CREATE TABLE $table (id int $key, v text);
			ALTER TABLE $table REPLICA IDENTITY ${\ ($key ? 'DEFAULT' : 'FULL') };
			INSERT INTO $table SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 3000) i;
			GRANT SELECT ON $table TO reader;
			ALTER PUBLICATION hub ADD TABLE $table;));
		$proxy->slow(1_000_000);
		$hub->safe_psql('postgres', "SELECT tapdata.add_tables('p', ARRAY['$table'])");
		ok(copy_is_under_way(), "a copy of $table is under way");
		$proxy->cut;
		ok(copy_is_under_way(), 'and once more, when its connections were cut');
		at_source($source, "UPDATE $table SET v = 'meanwhile ' || v WHERE id < 50");
		$source->stop('immediate');
		$source->start;
		$proxy->resume;
		same("the source crashed while $table was copied");
		same_as_source($hub, $source, $table, $table, "$table is copied");
	}
	return;
}

# The hub waits for a lock with a part of the transaction in its hands.
sub cut_transactions
{
	for my $what ('the connection is cut', 'the source crashes')
	{
		my $lock = $hub->background_psql('postgres');
		my $count = "count(*) FROM s.wide WHERE v = '$what'";

		$lock->query_safe('BEGIN; LOCK s.wide');
		$source->safe_psql('postgres', qq(
			BEGIN;
			UPDATE s.t SET v = '$what' WHERE id < 10;
			INSERT INTO s.wide SELECT (SELECT max(id) FROM s.wide) + i, '$what' FROM generate_series(1, 5000) i;
			DELETE FROM s.keyless WHERE id % 500 = 0;
			COMMIT));
		wait_for_sql($hub, q(SELECT count(*) > 0 FROM pg_locks WHERE relation = 's.wide'::regclass AND NOT granted));
		if ($what eq 'the source crashes')
		{
			$source->stop('immediate');
			$source->start;
		}
		else
		{
			$proxy->cut;
		}
		$lock->query_safe('COMMIT');
		$lock->quit;
		same("$what in the middle of a transaction");
		is($hub->safe_psql('postgres', "SELECT $count"), 5000, 'the transaction is there, once');
		same_as_source($hub, $source, $_, $_, "$what: $_") for qw(s.wide s.keyless);
	}
	return;
}

sub lost_publication
{
	at_source($source, 'DROP PUBLICATION hub');
	end_sessions();
	fails(qr/publication "hub" does not exist.*hint: Create it there.*resync/s, 'a publication that was dropped');
	at_source($source, 'CREATE PUBLICATION hub FOR TABLE s.t, s.huge, s.wide, s.keyless');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p')));
	same('after what the hint says');
	at_source($source, "UPDATE s.t SET v = v || '/' WHERE id % 3 = 0");
	same('and it streams');
	return;
}

# The most memory that a process has had, in kB.
sub high_water
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/status" or return 0;
	my ($most) = map { /^VmHWM:\s+(\d+) kB/ ? $1 : () } <$file>;
	close $file;
	return $most || 0;
}

sub insert_huge
{
	my ($first, $last) = @_;

	at_source($source, "INSERT INTO s.huge SELECT i, convert_to(repeat(md5(i::text), $bytes / 32), 'UTF8') FROM generate_series($first, $last) i");
	return;
}

# A worker may hold a row several times: as it came, as values, and on its way to the disk; and
# so it is with two of them, one after the other.
sub huge_rows
{
	my $digest = q(t.id, length(t.v), md5(t.v));
	my $limit = 7 * $bytes / 1024;
	my $most = 0;

	restart();
	same('begun again');
	my $pid = pipeline_pid($hub, 'p');
	insert_huge(1, 2);
	caught_up($hub, 'p');
	same_as_source($hub, $source, 's.huge', 's.huge', 'rows of 60 MB by the stream', $digest);
	note high_water($pid) . " kB, the limit is $limit kB";
	cmp_ok(high_water($pid), '>', $bytes / 1024, 'measured');
	cmp_ok(high_water($pid), '<', $limit, 'memory is bounded');

	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p', 's.huge')));
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($hub->safe_psql('postgres', q(SELECT state FROM tapdata.tables WHERE source_table = 's.huge')) eq 'streaming' || time > $end)
	{
		for my $now (map { high_water($_) } worker_pids($hub))
		{
			$most = $now if $now > $most;
		}
	}
	same_as_source($hub, $source, 's.huge', 's.huge', 'by the copy', $digest);
	note "$most kB";
	cmp_ok($most, '<', $limit, 'memory of those who copy is bounded, too');
	return;
}
