# PostgreSQL as a source that loses what the hub still needs at a bad moment: while a table
# is caught up by itself, while a backlog is read in batches; and what the status says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $source = new_source('source', "log_statement = all\n");
my $batches = $source->pg_version >= 14;
my $from = 0;

at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.a (id int PRIMARY KEY, v text)',
	'CREATE TABLE s.b (id int PRIMARY KEY, v text)',
	'CREATE TABLE s.c (v text)',
	'ALTER TABLE s.c REPLICA IDENTITY FULL',
	'CREATE TABLE s.wide (id int PRIMARY KEY, big text)',
	'ALTER TABLE s.wide ALTER big SET STORAGE EXTERNAL',
	'CREATE TABLE other (big text)',
	'ALTER TABLE other ALTER big SET STORAGE EXTERNAL',
	(map { "INSERT INTO s.$_ SELECT i, 'v' FROM generate_series(1, 100) i" } qw(a b)),
	"INSERT INTO s.c SELECT i FROM generate_series(1, 100) i");
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.*'], 's', '{"on_gap": "compare"}');
caught_up($hub, 'p');

check_set_back();
if ($batches)
{
	check_lag();
	check_dropped();
	check_invalidated();
	check_no_temporary_files();
}
done_testing();

# ---------------------------------------------------------------------

sub start
{
	$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
	return;
}

sub all_same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	caught_up($hub, 'p');
	same_as_source($hub, $source, $_, $_, "$name: $_") for qw(s.a s.b s.c);
	same_as_source($hub, $source, 's.wide', 's.wide', "$name: s.wide", 'id, md5(big)');
	return;
}

# A session of the hub that holds what others have to wait for.
sub holder
{
	my ($sql) = @_;
	my $session = $hub->background_psql('postgres');

	$session->query_safe("BEGIN; $sql");
	return $session;
}

sub wait_for_lock
{
	my ($table) = @_;

	wait_for_sql($hub, "SELECT count(*) > 0 FROM pg_locks WHERE relation = '$table'::regclass AND NOT granted");
	return;
}

# The source's files become those of an older copy.
sub put_back
{
	my ($copy) = @_;
	my $folder = $source->data_dir;

	$source->stop('immediate');
	rename $folder, "$folder.newer" or die "rename: $!";
	PostgreSQL::Test::RecursiveCopy::copypath($copy, $folder);
	chmod 0700, $folder;
	$source->start;
	return;
}

# Two tables, one of them without a key, have been copied again and wait for the pipeline's
# stream, which stands still, when the source is set back.
sub check_set_back
{
	my $copy = $source->data_dir . '.copy';

	stop_pipeline($hub, 'p');
	$source->stop;
	PostgreSQL::Test::RecursiveCopy::copypath($source->data_dir, $copy);
	$source->start;
	start();
	caught_up($hub, 'p');
	my $slots = $source->background_psql('postgres');
	$slots->query_safe('BEGIN; SELECT pg_current_xact_id()');
	$hub->safe_psql('postgres', "SELECT tapdata.resync('p', 's.b'); SELECT tapdata.resync('p', 's.c')");
	wait_for_sql($source, "SELECT count(*) = 2 FROM pg_stat_activity WHERE query ~ 'pg_create_logical_replication_slot.*_t[0-9]+' AND pid <> pg_backend_pid()");
	my $streamed = holder('LOCK s.a IN SHARE MODE');
	at_source($source, "INSERT INTO s.a VALUES (1000, 'lost')");
	wait_for_lock('s.a');
	$slots->query_safe('COMMIT');
	$slots->quit;
	wait_for_sql($hub, "SELECT string_agg(source_table || ' ' || state, ',' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = 'p' AND source_table IN ('s.b', 's.c')",
		's.b catchup,s.c catchup');
	at_source($source, "INSERT INTO s.b VALUES (1000, 'lost')", "UPDATE s.b SET v = 'lost' WHERE id < 20", "INSERT INTO s.c VALUES ('lost')");
	put_back($copy);
	at_source($source, "UPDATE s.b SET v = 'kept' WHERE id > 90", "DELETE FROM s.c WHERE v = '7'", "INSERT INTO s.a VALUES (2000, 'kept')");
	$streamed->query('COMMIT');
	eval { $streamed->quit };
	all_same('set back while tables are caught up');
	is($hub->safe_psql('postgres', "SELECT string_agg(DISTINCT source_table, ',' ORDER BY source_table) FROM tapdata.events WHERE pipeline = 'p' AND message LIKE '%the table is copied again'"),
		's.b,s.c', 'tapdata.events tells which were copied again');
	at_source($source, map { "INSERT INTO s.$_ SELECT 3000" } qw(a b c));
	all_same('then they stream');
	sql_becomes($source, "SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_t[0-9]+\$'", 0, 'no slot of a table is left');
	return;
}

# A backlog of ours, and of others that the source only passes over.
sub make_backlog
{
	$from += 100_000;
	at_source($source,
		"INSERT INTO s.wide SELECT $from + i, repeat(md5(i::text), 100) FROM generate_series(1, 4000) i",
		"UPDATE s.b SET v = v || '.'",
		'INSERT INTO other SELECT repeat(md5(i::text), 100) FROM generate_series(1, 6000) i');
	return;
}

# What tapdata.status says while the source refuses a batch, and sends the rest as a stream.
sub check_lag
{
	at_source($source, 'CREATE ROLE reader LOGIN REPLICATION', 'GRANT USAGE ON SCHEMA s TO reader',
		'GRANT SELECT ON ALL TABLES IN SCHEMA s TO reader',
		'REVOKE EXECUTE ON FUNCTION pg_logical_slot_get_binary_changes FROM PUBLIC');
	stop_pipeline($hub, 'p');
	my $uri = Tapdata::Postgres::target_uri($source, user => 'reader');
	$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', '$uri', '{\"socket\": \"${\ $source->host }\"}')");
	make_backlog();
	at_source($source, "INSERT INTO s.a VALUES ($from, 'last')");
	my $session = $hub->background_psql('postgres');
	my ($early, $seen) = (0, 0);

	start();
	for (my $until = time + $PostgreSQL::Test::Utils::timeout_default; time < $until;)
	{
		my $done = $session->query_safe("SELECT state = 'streaming' FROM tapdata.status WHERE name = 'p'");
		my $last = $session->query_safe("SELECT count(*) FROM s.a WHERE id = $from");

		$seen++;
		$early++ if $done eq 't' && !$last;
		last if $last;
	}
	$session->quit;
	is($early, 0, "the pipeline is not said to stream before it has what was there when it began, in $seen looks");
	wait_for_sql($hub, "SELECT state = 'streaming' AND lag_bytes = 0 FROM tapdata.status WHERE name = 'p'");
	all_same('a backlog that is refused');
	at_source($source, 'GRANT EXECUTE ON FUNCTION pg_logical_slot_get_binary_changes TO PUBLIC');
	reconnect_source($hub, $source, 'src');
	return;
}

# The hub waits for a lock in the middle of a batch while something is done to the slot.
sub in_a_batch
{
	my ($what) = @_;

	stop_pipeline($hub, 'p');
	make_backlog();
	my $lock = holder('LOCK s.b IN SHARE MODE');
	start();
	wait_for_lock('s.b');
	wait_for_sql($source, "SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name ~ '_backlog_' AND temporary");
	$what->($source->safe_psql('postgres', "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary"));
	$lock->query_safe('COMMIT');
	$lock->quit;
	return;
}

sub stops_and_heals
{
	my ($name, $what, $pattern) = @_;

	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"on_gap": "stop"}')));
	in_a_batch($what);
	wait_for_state($hub, 'p', 'failed');
	like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = 'p'"), $pattern, "$name: the error says so");
	at_source($source, "DELETE FROM s.b WHERE id = $from / 100000");
	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"on_gap": "compare"}'); SELECT tapdata.start('p')));
	all_same("$name, and healed");
	return;
}

sub check_dropped
{
	stops_and_heals('the slot is dropped behind a batch',
		sub { $source->safe_psql('postgres', "SELECT pg_drop_replication_slot('$_[0]')") },
		qr/replication slot "\w+" is gone from the source/);
	return;
}

sub check_invalidated
{
	stops_and_heals('the slot is invalidated while a batch is read', sub {
			at_source($source, "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'", 'SELECT pg_reload_conf()',
				(map { ('INSERT INTO other SELECT repeat(md5(i::text), 100) FROM generate_series(1, 1000) i', 'SELECT pg_switch_wal()') } 1 .. 4));

			# the checkpointer may not have seen the setting yet
			wait_for_sql($source, "CHECKPOINT; SELECT bool_and(wal_status = 'lost') FROM pg_replication_slots WHERE slot_name = '$_[0]'");
			at_source($source, 'ALTER SYSTEM RESET max_slot_wal_keep_size', 'SELECT pg_reload_conf()');
		}, qr/the source has invalidated replication slot "\w+"/);
	return;
}

# A transaction that is more than a batch is to keep in memory, and no room on the disk.
sub check_no_temporary_files
{
	at_source($source, 'TRUNCATE s.wide');
	caught_up($hub, 'p');
	stop_pipeline($hub, 'p');
	at_source($source, "ALTER SYSTEM SET temp_file_limit = '1MB'", 'SELECT pg_reload_conf()',
		'BEGIN; INSERT INTO s.wide SELECT -i, repeat(md5(i::text), 30000) FROM generate_series(1, 150) i; UPDATE s.b SET v = v || \'+\'; COMMIT');
	start();
	caught_up($hub, 'p');
	at_source($source, 'ALTER SYSTEM RESET temp_file_limit', 'SELECT pg_reload_conf()');
	all_same('a transaction for which the source has no temporary files');
	like(slurp_file($hub->logfile), qr/the source does not give its log in batches: temporary file size exceeds/, 'it came as a stream');
	is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.events WHERE pipeline = 'p' AND message LIKE '%temporary file size%'"), 0, 'it is no error of the pipeline');
	return;
}
