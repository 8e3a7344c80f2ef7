# Tables without a key are copied whole at one point of the source's log, and large ones
# by several connections: while they are written to, when connections break or are not
# to be had, with partitions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 2;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $source = new_source('source', "autovacuum = off\nlog_statement = all\n");
my $stop_file = PostgreSQL::Test::Utils::tempdir() . '/stop';
my $writer;

# ranges of ctid are read from version 14 on
my $several = $source->pg_version >= 14;

# what copies at the source, and how much of the log is old
my $copying = q{FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT %' AND state = 'active'};
my $log_offset = 0;

# ---------------------------------------------------------------------
# Under load: some rows on each of many pages, of all that rows can be
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.big (a int, v bigint, b text, c text) WITH (fillfactor = 10);
	ALTER TABLE s.big REPLICA IDENTITY FULL, ALTER COLUMN c SET STORAGE EXTERNAL;
	INSERT INTO s.big SELECT i % 20000, 10, md5((i % 20000)::text), CASE WHEN i % 5 > 0 THEN 'c' END FROM generate_series(1, 50000) i;
	INSERT INTO s.big SELECT NULL, NULL, NULL, NULL FROM generate_series(1, 100);
	INSERT INTO s.big SELECT i, 0, NULL, repeat(md5(i::text), 1000) FROM generate_series(1, 30) i;
	DELETE FROM s.big WHERE a BETWEEN 100 AND 4000;
	UPDATE s.big SET b = b || '!' WHERE a % 7 = 0;
	CREATE INDEX ON s.big (a);));
cmp_ok($source->safe_psql('postgres', "SELECT pg_relation_size('s.big') / 8192"), '>', 4096, 'the table has several thousand blocks');
my $sum = $source->safe_psql('postgres', 'SELECT sum(v) FROM s.big');
start_writer();
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.big'], 'h', '{"workers": 3}');
watch(q(state = 'streaming'));
stop_writer();
caught_up($hub, 'p');
same_as_source($hub, $source, 's.big', 'h.big', 'a table that was written to while it was copied');
is(copies_of('big'), $several ? 3 : 1, 'three connections copied parts of it');

# ---------------------------------------------------------------------
# Something breaks in the middle of a copy of this table alone, by two connections
# ---------------------------------------------------------------------

# Whoever stores a row waits at this gate while it is closed.
$hub->safe_psql('postgres', q(
	CREATE FUNCTION public.gate(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql
	AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN i; END';
	CREATE INDEX ON h.big (public.gate(a));));
start_writer();
in_the_middle(sub {
	wait_for_sql($source, "SELECT count(*) $copying", $several ? 2 : 1);
	$source->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM (SELECT pid $copying ORDER BY random() LIMIT 1) x");
	wait_for_sql($source, "SELECT count(*) < 2 $copying"); });
wait_for_sql($hub, q(SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'p' AND kind = 'retry' AND message LIKE 'could not copy rows for table "s.big": %'));
watch(q(state = 'streaming'));

my @accidents = (
	[ 'end of a session at the source', sub { signal_one($source, "query LIKE 'COPY%'", 'TERM') } ],
	[ 'kill -9 of a session at the source', sub { kill_one($source, "query LIKE 'COPY%'") } ],
	[ 'kill -9 of a worker', sub { kill_one($hub, "backend_type LIKE 'tapdata%'") } ],
	[ 'a cancelled query at the source', sub { signal_one($source, "query LIKE 'COPY%'", 'INT') } ]);
for my $number (1 .. $kills)
{
	my ($name, $accident) = @{ $accidents[ $number % @accidents ] };

	note "$number/$kills: $name";
	in_the_middle(sub { ok($accident->(), 'there is something to break') });
	watch(q(state = 'streaming'));
}
stop_writer();
caught_up($hub, 'p');
same_as_source($hub, $source, 's.big', 'h.big', 'the copy was begun again each time, and is right');
sql_becomes($hub, "SELECT state, dead_letters FROM tapdata.status WHERE name = 'p'", 'streaming|0', 'nothing was left out');

# ---------------------------------------------------------------------
# Others want the table for themselves while connections are opened
# ---------------------------------------------------------------------

# Each slot, that of the catch-up and then that of the copy, waits twice for transactions
# that are older than it.  The first connection then waits for the table, and a TRUNCATE
# that queues behind it is before all others.
if ($several)
{
	my %session = map { $_ => $source->background_psql('postgres') } qw(0 1 2 3 owner truncate);
	my $waits = q{SELECT count(*) > 0 FROM pg_stat_activity JOIN pg_locks l USING (pid)
		WHERE NOT l.granted AND query LIKE '%s' AND l.locktype = 'relation'};
	my $begin = 'BEGIN; SELECT pg_current_xact_id();';
	my $xid = $session{0}->query_safe($begin);

	$log_offset = -s $source->logfile;
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p', 's.big')));
	for my $number (0 .. 3)
	{
		wait_for_sql($source, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND transactionid = '$xid'");
		$number < 3 ? $xid = $session{ $number + 1 }->query_safe($begin) : $session{owner}->query_safe('BEGIN; LOCK TABLE s.big;');
		$session{$number}->query_safe('COMMIT;');
	}
	wait_for_sql($source, sprintf($waits, 'SELECT 1 FROM%LIMIT 0', 'relation'));
	my $patience = int($PostgreSQL::Test::Utils::timeout_default / 2);
	$session{truncate}->query_until(qr/^started/m, "\\echo started\nSET lock_timeout = '${patience}s';\nTRUNCATE s.big;\n");
	wait_for_sql($source, sprintf($waits, 'TRUNCATE%', 'relation'));
	$session{owner}->query_safe('COMMIT;');
	wait_for_sql($source, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'TRUNCATE%' AND state = 'active'");
	is($source->safe_psql('postgres', 'SELECT count(*) FROM s.big'), 0, 'where a TRUNCATE is before the other connections it is not held up for ever');
	caught_up($hub, 'p');
	wait_for_sql($hub, q(SELECT state = 'streaming' FROM tapdata.tables WHERE pipeline = 'p'));
	is(copies_of('big'), 1, 'the first connection copies alone');
	same_as_source($hub, $source, 's.big', 'h.big', 'and the TRUNCATE is followed');
	$_->quit for values %session;
	$source->safe_psql('postgres', q(INSERT INTO s.big SELECT i, 0, md5(i::text), repeat('d', 1500) FROM generate_series(1, 20000) i));
}

$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('p', drop_tables => true)");
is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), 0, 'no slot is left behind');
wait_for_sql($source, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'tapdata %'");

# ---------------------------------------------------------------------
# No more connections than the user may have
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE ROLE copier LOGIN REPLICATION CONNECTION LIMIT 2;
	GRANT CREATE ON DATABASE postgres TO copier;
	GRANT USAGE ON SCHEMA s TO copier;
	ALTER TABLE s.big OWNER TO copier;));
connect_source($hub, $source, 'few', user => 'copier');

# connections for replication are not counted
for my $limit (2, 1)
{
	$source->safe_psql('postgres', "ALTER ROLE copier CONNECTION LIMIT $limit");
	$log_offset = -s $source->logfile;
	if ($limit == 2)
	{
		# the slot waits until the session of the call, which the source counts, too, is gone
		my $holder = $source->background_psql('postgres');

		$holder->query_safe('BEGIN; SELECT pg_current_xact_id()');
		pull_from($hub, 'few', 'few', ['s.big'], 'few', '{"workers": 4}');
		wait_for_sql($source, q(SELECT string_agg(wait_event, ' ') FROM pg_stat_activity WHERE usename = 'copier' AND backend_type = 'client backend'), 'transactionid');
		$holder->query_safe('COMMIT');
		$holder->quit;
	}
	else
	{
		$hub->safe_psql('postgres', "SELECT tapdata.stop('few'); SELECT tapdata.resync('few'); SELECT tapdata.start('few')");
	}
	wait_for_sql($hub, "SELECT state IN ('catchup', 'streaming') FROM tapdata.tables WHERE pipeline = 'few'");
	is(copies_of('big'), $several ? $limit : 1, "$limit copied, as the user may have no more connections");
	like(slurp_file($source->logfile, $log_offset), qr/too many connections for role "copier"/, 'which was tried') if $several;
	$source->safe_psql('postgres', 'ALTER ROLE copier CONNECTION LIMIT -1');
	caught_up($hub, 'few');
	same_as_source($hub, $source, 's.big', 'few.big', 'the copy is right');
}
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('few', drop_tables => true)");

# ---------------------------------------------------------------------
# Partitions, of which the user may read none by itself
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE TABLE s.cut (k int, v text) PARTITION BY RANGE (k);
	CREATE TABLE s.cut_large PARTITION OF s.cut FOR VALUES FROM (0) TO (100) WITH (fillfactor = 10);
	CREATE TABLE s.cut_more PARTITION OF s.cut FOR VALUES FROM (100) TO (200) PARTITION BY LIST (k);
	CREATE TABLE s.cut_small PARTITION OF s.cut_more FOR VALUES IN (100) WITH (fillfactor = 10);
	CREATE TABLE s.cut_empty PARTITION OF s.cut_more DEFAULT;
	CREATE TABLE s.cut_swapped (v text, gone int, k int);
	ALTER TABLE s.cut_swapped DROP COLUMN gone;
	ALTER TABLE s.cut ATTACH PARTITION s.cut_swapped DEFAULT;
	ALTER TABLE s.cut REPLICA IDENTITY FULL;
	ALTER TABLE s.cut_large REPLICA IDENTITY FULL;
	ALTER TABLE s.cut_small REPLICA IDENTITY FULL;
	ALTER TABLE s.cut_empty REPLICA IDENTITY FULL;
	ALTER TABLE s.cut_swapped REPLICA IDENTITY FULL;
	INSERT INTO s.cut SELECT i % 90, md5((i / 2)::text) FROM generate_series(1, 30000) i;
	INSERT INTO s.cut SELECT 100, md5(i::text) FROM generate_series(1, 9000) i;
	INSERT INTO s.cut VALUES (1000, 'far'), (NULL, NULL);
	ALTER TABLE s.cut OWNER TO copier;));
my $filter = $source->pg_version >= 15 ? 'WHERE (k IS NULL OR k <> 5)' : '';
at_source($source, "CREATE PUBLICATION cut FOR TABLE s.cut $filter WITH (publish_via_partition_root = true)",
	"CREATE VIEW s.sent AS SELECT * FROM s.cut $filter");
$log_offset = -s $source->logfile;
pull_from($hub, 'cut', 'few', ['s.cut'], 'cut', '{"workers": 2, "publication": "cut"}');
caught_up($hub, 'cut');
same_as_source($hub, $source, 's.sent', 'cut.cut', 'a partitioned table, as far as it is published');
is(copies_of('cut'), $several ? 2 : 1, 'two connections copied it');
at_source($source, 'UPDATE s.cut SET v = v || k WHERE k = 100', 'DELETE FROM s.cut WHERE k = 7', 'UPDATE s.cut SET k = 8 WHERE k = 1000');
caught_up($hub, 'cut');
same_as_source($hub, $source, 's.sent', 'cut.cut', 'and it is followed');
done_testing();

# How many connections copied a table, by the source's log.
sub copies_of
{
	my ($table) = @_;
	my $log = slurp_file($source->logfile, $log_offset);
	my %pids = map { $_ => 1 } $log =~ /\[(\d+)\] .*? LOG:  statement: COPY \(SELECT .* FROM (?:ONLY )?"s"\."$table" /g;

	return scalar keys %pids;
}

# Copy the table again, and do something at the source when all connections are at it.
sub in_the_middle
{
	my ($do) = @_;
	my $gate = $hub->background_psql('postgres', on_error_stop => 0);

	$gate->query_safe('SELECT pg_advisory_lock(42)');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p', 's.big')));

	# ANALYZE comes to the gate, too
	wait_for_sql($hub, q(SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE locktype = 'advisory' AND NOT granted AND backend_type LIKE 'tapdata%'));
	$do->();
	eval { $gate->quit };
	return;
}

# Until the table's state is as wanted it is empty or whole whenever it can be seen.
sub watch
{
	my ($wanted) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $end)
	{
		my ($code, $out) = (-1, '');

		# the hub may be down for a moment
		eval { ($code, $out) = $hub->psql('postgres', qq(
			SELECT coalesce(bool_or($wanted), false) FROM tapdata.tables WHERE pipeline = 'p';
			SET lock_timeout = '1s';
			SELECT sum(v) FROM h.big;)); };
		my ($done, $found) = split /\n/, $out;

		if (defined $found && $found ne '' && $found ne $sum)
		{
			fail('the table is seen as a whole');
			diag "found $found, expected $sum";
			return;
		}
		return if $code == 0 && $done eq 't';
		sleep 0.02;
	}
	fail("the table's $wanted");
	return;
}

# ---------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------

# Moves amounts between rows, and lets the table grow and shrink.
sub start_writer
{
	my $script = PostgreSQL::Test::Utils::tempdir() . '/move.sql';

	unlink $stop_file;
	append_to_file($script, q(
\set a random(4001, 19999)
\set b random(4001, 19999)
BEGIN;
UPDATE s.big SET v = v - 1 WHERE ctid = (SELECT min(ctid) FROM s.big WHERE a = :a);
UPDATE s.big SET v = v + 1 WHERE ctid = (SELECT max(ctid) FROM s.big WHERE a = :b);
INSERT INTO s.big SELECT :a, 0, 'new', repeat('t', 3000) FROM generate_series(1, 3);
DELETE FROM s.big WHERE ctid = (SELECT min(ctid) FROM s.big WHERE v = 0 AND a = :b);
COMMIT;
));
	$writer = fork();
	die "fork: $!" unless defined $writer;
	return if $writer > 0;
	$SIG{TERM} = 'DEFAULT';
	open STDOUT, '>', '/dev/null';
	open STDERR, '>', '/dev/null';
	until (-e $stop_file)
	{
		# again when the source was down for a moment
		system 'pgbench', '-n', '-f', $script, '-T', '2', '--rate=150', '-h', $source->host, '-p', $source->port,
		  '-U', 'postgres', 'postgres';
		sleep 0.1;
	}
	POSIX::_exit(0);
}

sub stop_writer
{
	append_to_file($stop_file, 'stop');
	waitpid $writer, 0;
	$writer = undef;
	return;
}

END
{
	local $?;
	kill 'KILL', $writer if $writer;
}
