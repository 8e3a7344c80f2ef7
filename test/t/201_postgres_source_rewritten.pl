# Tables of a PostgreSQL source that are written anew, or emptied, between the snapshot of a
# copy and its lock on them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $source = new_source('source', "max_prepared_transactions = 10\n");

# another file, with the same values
my $rewrite = "ALTER v TYPE text USING v || ''";

at_source($source,
	'CREATE SCHEMA s',
	(map { ("CREATE TABLE s.$_ (id int PRIMARY KEY, v text)", "INSERT INTO s.$_ SELECT i, 'v' || i FROM generate_series(1, 1000) i") } qw(a chunks emptied full t)),
	'CREATE TABLE s.exact (v text)',
	'ALTER TABLE s.exact REPLICA IDENTITY FULL',
	"INSERT INTO s.exact SELECT 'v' || i FROM generate_series(1, 1000) i",
	'CREATE TABLE s.parted (id int PRIMARY KEY, v text) PARTITION BY HASH (id)',
	(map { "CREATE TABLE s.parted$_ PARTITION OF s.parted FOR VALUES WITH (MODULUS 2, REMAINDER $_)" } 0, 1),
	"INSERT INTO s.parted SELECT i, 'v' FROM generate_series(1, 100) i");
connect_source($hub, $source, 'src');
check_chunks();
pull_from($hub, 'p', 'src', [qw(s.a s.emptied s.full s.parted s.t)], 'h', '{"on_gap": "compare"}');
caught_up($hub, 'p');
check_exact();
check_compared();
done_testing();

# ---------------------------------------------------------------------

# A process of the pipeline waits at the source for the table.
sub wait_for_lock
{
	my ($table) = @_;

	return wait_for_sql($source, "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = '$table'::regclass AND NOT l.granted AND a.application_name ~ '^tapdata '");
}

# A transaction that is open.
sub alter
{
	my ($table) = @_;
	my $session = $source->background_psql('postgres');

	$session->query_safe("BEGIN; ALTER TABLE $table $rewrite");
	return $session;
}

sub commit
{
	my ($session) = @_;

	$session->query_safe('COMMIT');
	$session->quit;
	return;
}

# What was begun with a snapshot that is too old has told so.
sub begun_anew
{
	my ($table) = @_;

	like(slurp_file($hub->logfile), qr/table "s\.$table" of the source was altered or emptied/, "a copy of $table began anew");
	return;
}

# The second of several chunks waits for the table.
sub check_chunks
{
	my $turnstile = $hub->background_psql('postgres');

	$turnstile->query_safe('SELECT pg_advisory_lock(1)');
	$hub->safe_psql('postgres', q(
		BEGIN;
		SELECT tapdata.pull('c', 'src', ARRAY['s.chunks'], 'c', '{"chunk_rows": 100, "workers": 1}');
		CREATE FUNCTION c.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN new; END';
		CREATE TRIGGER pass BEFORE INSERT ON c.chunks FOR EACH ROW EXECUTE FUNCTION c.pass();
		ALTER TABLE c.chunks ENABLE ALWAYS TRIGGER pass;
		COMMIT));
	wait_for_sql($hub, q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted), 1);
	my $session = $source->background_psql('postgres');
	$session->query_until(qr/begun/, "\\echo begun\nBEGIN; ALTER TABLE s.chunks $rewrite; SELECT 'altered';\n");
	wait_for_sql($source, q(SELECT count(*) > 0 FROM pg_locks WHERE relation = 's.chunks'::regclass AND mode = 'AccessExclusiveLock'));
	$turnstile->quit;
	wait_for_lock('s.chunks');
	commit($session);
	caught_up($hub, 'c');
	same_as_source($hub, $source, 's.chunks', 'c.chunks', 'a chunk that waited for a table has its rows');
	return;
}

# A table without a key: the lock comes after the slot with whose snapshot it is read.
sub check_exact
{
	prepare_transaction($source, 'a');
	$hub->safe_psql('postgres', q(SELECT tapdata.add_tables('p', ARRAY['s.exact'])));

	# the slot of the table's catch-up, and then the one that gives the snapshot
	next_prepared($source, 'a', 'b');
	next_prepared($source, 'b', 'c');
	next_prepared($source, 'c', 'd');
	next_prepared($source, 'd');
	my $session = alter('s.exact');
	at_source($source, q(COMMIT PREPARED 'd'));
	wait_for_lock('s.exact');
	commit($session);
	caught_up($hub, 'p');
	begun_anew('exact');
	same_as_source($hub, $source, 's.exact', 'h.exact', 'a table without a key has its rows');
	at_source($source, q(UPDATE s.exact SET v = 'w' WHERE v < 'v5'), q(DELETE FROM s.exact WHERE v = 'v700'));
	caught_up($hub, 'p');
	same_as_source($hub, $source, 's.exact', 'h.exact', 'and is followed');
	return;
}

# All tables are compared, with one snapshot.
sub check_compared
{
	my $slot = $source->safe_psql('postgres', q(SELECT slot_name FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid
		WHERE application_name = 'tapdata p' AND slot_name !~ '_t[0-9]+$'));

	stop_pipeline($hub, 'p');
	wait_for_sql($source, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	at_source($source, "SELECT pg_drop_replication_slot('$slot')",
		q(UPDATE s.t SET v = 'missed' WHERE id < 10));
	prepare_transaction($source, 'e');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
	next_prepared($source, 'e', 'f');
	next_prepared($source, 'f');
	my @sessions = (alter('s.a'), alter('s.parted'), alter('s.t'));
	at_source($source, q(COMMIT PREPARED 'f'));
	wait_for_lock('s.a');
	at_source($source,
		q(UPDATE s.emptied SET v = 'old'),
		q(TRUNCATE s.emptied),
		q(INSERT INTO s.emptied VALUES (1, 'new')),
		q(VACUUM FULL s.full));
	commit($_) for @sessions;
	caught_up($hub, 'p');
	begun_anew('(a|parted|t)');
	same_as_source($hub, $source, "s.$_", "h.$_", "compared: $_") for qw(a emptied exact full parted t);
	at_source($source, map { "UPDATE s.$_ SET v = 'w' WHERE id < 100" } qw(a emptied full parted t));
	caught_up($hub, 'p');
	same_as_source($hub, $source, "s.$_", "h.$_", "followed: $_") for qw(a emptied exact full parted t);
	return;
}
