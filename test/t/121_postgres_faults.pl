
# A PostgreSQL target that is down, full, changed by others, or refuses rows: the
# pipeline waits, or says what is wrong; nothing is lost, nothing comes twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");
my $target = new_target('target');

connect_target($hub, $target, 'copy');
$hub->safe_psql('postgres', q(
	CREATE SCHEMA s; CREATE SCHEMA s2;
	CREATE TABLE s.t (id int PRIMARY KEY, v text, n int);
	CREATE TABLE s.u (id int PRIMARY KEY, v text);
	INSERT INTO s.t SELECT i, 'v' || i, i FROM generate_series(1, 100) i;));
publish($hub, 'p', 'copy', ['s.*']);
delivered($hub, 'p');

sub last_error
{
	my ($pipeline) = @_;

	return $hub->safe_psql('postgres',
		"SELECT coalesce(last_error, '') FROM tapdata.status WHERE name = '$pipeline'");
}

# ---------------------------------------------------------------------
# Down
# ---------------------------------------------------------------------

$target->stop('immediate');
$hub->safe_psql('postgres', 'INSERT INTO s.t SELECT i, NULL, i FROM generate_series(1001, 1100) i');
wait_for_state($hub, 'p', 'retrying');
error_becomes($hub, 'p', qr/target/, 'a target that went down is tried again');
$hub->safe_psql('postgres', 'UPDATE s.t SET v = n; DELETE FROM s.t WHERE id > 1050');
$target->start;
delivered($hub, 'p');
same_as_hub($hub, $target, 's.t', name => 'down in the middle');

$hub->safe_psql('postgres', "SELECT tapdata.stop('p')");
$target->stop('fast');
$hub->safe_psql('postgres', "UPDATE s.t SET n = 0; SELECT tapdata.start('p')");
wait_for_state($hub, 'p', 'retrying');
$target->start;
delivered($hub, 'p');
same_as_hub($hub, $target, 's.t', name => 'down at the start');

# sessions that are ended under the pipeline
for my $round (1 .. 3)
{
	$hub->safe_psql('postgres', "UPDATE s.t SET n = n + 1");
	$target->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tapdata p'");
	$hub->safe_psql('postgres', "INSERT INTO s.u VALUES ($round, 'x')");
}
delivered($hub, 'p');
same_as_hub($hub, $target, $_, name => "ended sessions, $_") for qw(s.t s.u);

# an earlier session that can still commit is waited for
my $key = $target->safe_psql('postgres', q(
	SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted));
like($key, qr/^-?\d+$/, 'a pipeline holds one lock at its target');
$hub->safe_psql('postgres', "SELECT tapdata.stop('p')");
wait_for_sql($target, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", '0');
my $other = $target->background_psql('postgres');
$other->query_safe("SET application_name = 'holder'; SELECT pg_advisory_lock($key)") if $other->can('query_safe');
SKIP:
{
	skip 'this version of the test modules has another way to talk to psql', 1 unless $other->can('query_safe');
	$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
	wait_for_sql($target, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder'", '0');
	delivered($hub, 'p');
	pass('a session that holds the pipeline up is ended');
}
eval { $other->quit };
$hub->safe_psql('postgres', "SELECT tapdata.start('p')") unless $other->can('query_safe');
delivered($hub, 'p');

# ---------------------------------------------------------------------
# Full
# ---------------------------------------------------------------------

$target->safe_psql('postgres', q(
	CREATE FUNCTION s.full() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END';
	CREATE TRIGGER full_disk BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.full();
	ALTER TABLE s.t ENABLE ALWAYS TRIGGER full_disk;));
$hub->safe_psql('postgres', "INSERT INTO s.t VALUES (2000, 'full', 1)");
wait_for_state($hub, 'p', 'retrying');
error_becomes($hub, 'p', qr/No space left.*Free space at the target/, 'a full disk is waited for');
$target->safe_psql('postgres', 'DROP TRIGGER full_disk ON s.t');
delivered($hub, 'p');
same_as_hub($hub, $target, 's.t', name => 'after space was made');

# ---------------------------------------------------------------------
# Statements that are prepared at the target, of which there may be any number
# ---------------------------------------------------------------------

my @large = map { "c$_" } 1 .. 8;
$hub->safe_psql('postgres', 'CREATE TABLE s2.wide (id int PRIMARY KEY, ' . join(', ', map { "$_ text" } @large) . ', n int);'
	. join('', map { "ALTER TABLE s2.wide ALTER $_ SET STORAGE external;" } @large)
	. "INSERT INTO s2.wide SELECT i, @{[ join ', ', map { q{repeat('x', 2500)} } @large ]}, 0 FROM generate_series(0, 255) i");
$target->safe_psql('postgres', q(ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()));
publish($hub, 'wide', 'copy', ['s2.wide'], '{"on_error": "dead_letter"}');
delivered($hub, 'wide');
my $log_begins = -s $target->logfile;
$hub->safe_psql('postgres', join ';', map { my $set = $_; "UPDATE s2.wide SET "
	. join(', ', 'n = n + 1', map { "$large[$_] = repeat('y', 2600)" } grep { $set & 1 << $_ } 0 .. $#large) . " WHERE id = $set" } 0 .. 255);
delivered($hub, 'wide');
same_as_hub($hub, $target, 's2.wide', name => 'updates of any set of columns');
my %kept;
my $most = 0;
for (split /\n/, slurp_file($target->logfile, $log_begins))
{
	$kept{$1} = 1 if /execute (tap_\d+):/;
	delete $kept{$1} if /DEALLOCATE (tap_\d+)/;
	$most = keys %kept if keys %kept > $most;
}
cmp_ok($most, '<=', 200, 'the target keeps few of their statements');
cmp_ok($most, '>', 100, '... but some');

$target->safe_psql('postgres', 'ALTER TABLE s2.wide ADD CHECK (n < 5)');
for my $round (1 .. 3)
{
	$hub->safe_psql('postgres', "UPDATE s2.wide SET n = 10 + $round WHERE id = $round; UPDATE s2.wide SET n = $round WHERE id > 250");
	delivered($hub, 'wide');
}
is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'wide')), 3, 'rows that are refused are set aside');
is($target->safe_psql('postgres', 'SELECT min(n), max(n), count(*) FROM s2.wide WHERE id > 250'), '3|3|5', '... and no others');
$target->safe_psql('postgres', 'ALTER SYSTEM RESET log_statement; SELECT pg_reload_conf()');
$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('wide'); SELECT tapdata.drop_pipeline('wide'); DROP TABLE s2.wide");

# ---------------------------------------------------------------------
# A row that comes to meet the condition, of which WAL has not all
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(CREATE TABLE s2.part (id int PRIMARY KEY, v text); ALTER TABLE s2.part ALTER v SET STORAGE external));
publish($hub, 'part', 'copy', ['s2.part'], '{"where": "id > 100"}');
delivered($hub, 'part');
$hub->safe_psql('postgres', q(INSERT INTO s2.part VALUES (1, repeat('x', 3000)), (2, 'small'); UPDATE s2.part SET id = 102 WHERE id = 2));
delivered($hub, 'part');
is($target->safe_psql('postgres', 'SELECT * FROM s2.part'), '102|small', 'a row that comes to meet the condition is inserted');
$hub->safe_psql('postgres', 'UPDATE s2.part SET id = 101 WHERE id = 1');
wait_for_state($hub, 'part', 'failed');
like(last_error('part'), qr/inserted row of table "s2\.part" is not known whole.*REPLICA IDENTITY FULL/s, 'not without a value that WAL does not have');
$hub->safe_psql('postgres', "ALTER TABLE s2.part REPLICA IDENTITY FULL; SELECT tapdata.resync('part', 's2.part')");
wait_for_sql($hub, "SELECT state FROM tapdata.tables WHERE pipeline = 'part'", 'streaming');
$hub->safe_psql('postgres', q(INSERT INTO s2.part VALUES (3, repeat('y', 3000)); UPDATE s2.part SET id = 103 WHERE id = 3));
delivered($hub, 'part');
is($target->safe_psql('postgres', 'SELECT id, length(v) FROM s2.part ORDER BY id'), "101|3000\n102|5\n103|3000", 'and with the remedy');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('part')");

# ---------------------------------------------------------------------
# A copy that does not go on: its snapshot is not held for ever
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(CREATE TABLE s2.big (id int PRIMARY KEY, v text); INSERT INTO s2.big SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i));
$target->safe_psql('postgres', q(
	CREATE TABLE s2.big (id int PRIMARY KEY, v text);
	CREATE FUNCTION s2.halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$;
	CREATE TRIGGER halt BEFORE INSERT ON s2.big FOR EACH ROW EXECUTE FUNCTION s2.halt();
	ALTER TABLE s2.big ENABLE ALWAYS TRIGGER halt));
my $blocker = $target->background_psql('postgres');
$blocker->query_safe('SELECT pg_advisory_lock(42)');
publish($hub, 'big', 'copy', ['s2.big'], '{"copy_timeout": 1}');
wait_for_state($hub, 'big', 'retrying');
error_becomes($hub, 'big', qr/took nothing of the copy of table "s2\.big" for 1 s.*copy_timeout/s, 'a copy that does not go on is given up');
$blocker->query_safe('SELECT pg_advisory_unlock(42)');
$blocker->quit;
delivered($hub, 'big');
is($target->safe_psql('postgres', 'SELECT count(*) FROM s2.big'), 20000, 'and begins again');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('big')");

# ---------------------------------------------------------------------
# Changed by others
# ---------------------------------------------------------------------

# without a copy the first change makes the target, but no later one does
$hub->safe_psql('postgres', 'CREATE TABLE s2.n (id int PRIMARY KEY)');
publish($hub, 'never', 'copy', ['s2.n'], '{"snapshot": "never"}');
wait_for_state($hub, 'never', 'streaming');
$hub->safe_psql('postgres', 'INSERT INTO s2.n VALUES (1)');
delivered($hub, 'never');
is($target->safe_psql('postgres', 'SELECT id FROM s2.n'), 1, 'the first change makes the target');
$hub->safe_psql('postgres', "SELECT tapdata.stop('never')");
wait_for_state($hub, 'never', 'stopped');
$target->safe_psql('postgres', 'DROP TABLE s2.n');
$hub->safe_psql('postgres', "INSERT INTO s2.n VALUES (2); SELECT tapdata.start('never')");
wait_for_state($hub, 'never', 'failed');
like(last_error('never'), qr/target of table "s2\.n" is no longer there.*resync/s, 'a target that is gone is not made again');
$hub->safe_psql('postgres', "SELECT tapdata.resync('never')");
wait_for_state($hub, 'never', 'streaming');
$hub->safe_psql('postgres', 'INSERT INTO s2.n VALUES (3)');
delivered($hub, 'never');
is($target->safe_psql('postgres', 'SELECT id FROM s2.n'), 3, 'but when all begins anew');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('never')");

# each of these is to fail with words that help, and to go on when mended
my @accidents = (
	[
		'a row that is there already',
		"INSERT INTO s.t VALUES (3000, 'theirs', 0)",
		"INSERT INTO s.t VALUES (3000, 'ours', 1), (3001, 'ours', 1)",
		qr/insert rows at the target for table "s\.t".*\(id\)=\(3000\).*conflicts/,
		'DELETE FROM s.t WHERE id = 3000'
	],
	[
		'a row that is missing for an update',
		'DELETE FROM s.t WHERE id = 10',
		"UPDATE s.t SET v = 'changed' WHERE id BETWEEN 9 AND 11",
		qr/update rows at the target for table "s\.t": a row is not there.*resync/,
		"INSERT INTO s.t SELECT 10, 'x', 0"
	],
	[
		'a row that is missing for a delete',
		'DELETE FROM s.t WHERE id = 20',
		'DELETE FROM s.t WHERE id BETWEEN 19 AND 21',
		qr/delete rows at the target for table "s\.t": a row is not there/,
		'INSERT INTO s.t VALUES (20)'
	],
	[
		'a column that was dropped',
		'ALTER TABLE s.t RENAME v TO w',
		"INSERT INTO s.t VALUES (3002, 'new', 1)",
		qr/column "v" .*does not exist.*Change it back/,
		'ALTER TABLE s.t RENAME w TO v'
	],
	[
		'a table that was dropped',
		'ALTER TABLE s.u RENAME TO gone',
		"INSERT INTO s.u VALUES (3000, 'new')",
		qr/relation "s\.u" does not exist|the target of table "s\.u" is no longer there/,
		'ALTER TABLE s.gone RENAME TO u'
	],
	[
		'a check that the row fails',
		"ALTER TABLE s.u ADD CONSTRAINT long CHECK (length(v) < 100) NOT VALID",
		"INSERT INTO s.u VALUES (3003, repeat('x', 200))",
		qr/violates check constraint "long".*3003.*dead_letter/,
		'ALTER TABLE s.u DROP CONSTRAINT long'
	],
	[
		'a position that somebody moved',
		"UPDATE tapdata_target.tapdata_progress SET lsn = '0/1' WHERE name = 'p'",
		"INSERT INTO s.u VALUES (3004, 'x')",
		qr/another session moved the pipeline's position|resync/,
		undef
	],
);
for my $accident (@accidents)
{
	my ($name, $theirs, $ours, $pattern, $remedy) = @$accident;

	$target->safe_psql('postgres', $theirs);
	$hub->safe_psql('postgres', $ours);
	wait_for_state($hub, 'p', 'failed');
	like(last_error('p'), $pattern, $name);
	if ($remedy)
	{
		$target->safe_psql('postgres', $remedy);
		$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
	}
	else
	{
		$hub->safe_psql('postgres', "SELECT tapdata.resync('p')");
	}
	delivered($hub, 'p');
	same_as_hub($hub, $target, $_, name => "$name, then mended: $_") for qw(s.t s.u);
}

# ---------------------------------------------------------------------
# The hub wins
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"conflicts": "overwrite"}')));
$target->safe_psql('postgres', q(
	INSERT INTO s.t VALUES (4000, 'theirs', 0);
	DELETE FROM s.t WHERE id IN (40, 41);
	UPDATE s.t SET v = 'theirs' WHERE id = 42;));
$hub->safe_psql('postgres', q(
	BEGIN;
	INSERT INTO s.t VALUES (4000, 'ours', 1), (4001, 'ours', 1);
	UPDATE s.t SET v = 'ours' WHERE id IN (40, 42);
	DELETE FROM s.t WHERE id = 41;
	INSERT INTO s.t VALUES (4002, 'x', 1);
	DELETE FROM s.t WHERE id = 4002;
	COMMIT;));
delivered($hub, 'p');
same_as_hub($hub, $target, 's.t', name => 'conflicts = overwrite');
$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"conflicts": "error"}')));

# ---------------------------------------------------------------------
# Dead letters
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"on_error": "dead_letter"}')));
$target->safe_psql('postgres', q(ALTER TABLE s.t ADD CONSTRAINT odd CHECK (n % 1000 <> 7) NOT VALID));
$hub->safe_psql('postgres', q(
	INSERT INTO s.t SELECT i, 'bulk', i FROM generate_series(10000, 14999) i;
	UPDATE s.t SET n = 7 WHERE id = 50;
	UPDATE s.t SET v = 'after' WHERE id = 51;
	BEGIN;
	INSERT INTO s.t VALUES (20001, 'good', 1), (20002, 'bad', 7);
	INSERT INTO s.u VALUES (20001, 'good');
	COMMIT;));
delivered($hub, 'p');
is($target->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE v = \'bad\') FROM s.t WHERE id >= 10000'),
	'4996|0', 'all rows but those that were refused are there');
is($target->safe_psql('postgres', 'SELECT v FROM s.t WHERE id = 51'), 'after', 'and those behind them');
is($target->safe_psql('postgres', 'SELECT v FROM s.u WHERE id = 20001'), 'good', 'and the rest of the transaction');
is($hub->safe_psql('postgres', q(
	SELECT count(*), count(DISTINCT sqlstate), min(sqlstate), bool_and(change ->> 'op' IN ('insert', 'update')),
		count(*) FILTER (WHERE change #>> '{new,id}' = '20002' AND change #>> '{new,v}' = 'bad')
	FROM tapdata.dead_letters)), '7|1|23514|t|1', 'the refused rows are dead letters');
sql_becomes($hub, "SELECT state, dead_letters FROM tapdata.status WHERE name = 'p'", 'streaming|7',
	'the pipeline goes on');

# a transaction of many batches, refused in the middle
$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"on_error": "dead_letter", "batch_bytes": 50000}')));
$hub->safe_psql('postgres', q(
	BEGIN;
	INSERT INTO s.t SELECT i, 'large', i FROM generate_series(30000, 49999) i;
	UPDATE s.t SET v = 'updated' WHERE id BETWEEN 30000 AND 31000;
	COMMIT;));
delivered($hub, 'p');
is($target->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE v = 'updated') FROM s.t WHERE id >= 30000"),
	'19980|1000', 'a large transaction without the refused rows');
cmp_ok($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.dead_letters"), '>=', 27, 'which are dead letters');

done_testing();
