# Processes come and go as pipelines are started, stopped, broken and mended; the
# source is a file, so that nothing but the core is tested.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('processes', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $source = Tapdata::Fake->new('t');

# backend types of tapdata's processes, in order
my $processes = q{SELECT coalesce(string_agg(replace(backend_type, 'tapdata ', ''), ' '
  ORDER BY backend_type), '') FROM pg_stat_activity WHERE backend_type LIKE 'tapdata %'};

sub pid_of
{
	my ($type) = @_;

	return $hub->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'tapdata $type'");
}

# The process under SIGSTOP, which must not stay so whatever dies here; 0: all run.
my $stopped = 0;

END
{
	kill 'CONT', $stopped if $stopped;
}

# Stops the process while it has nothing to do, and so no lock that others wait for.
sub stop_process
{
	my ($type) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (1)
	{
		$stopped = pid_of($type) || 0;
		kill 'STOP', $stopped if $stopped;
		last if $stopped && slurp_file("/proc/$stopped/stat") =~ /\) T / && $hub->safe_psql('postgres',
			"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'tapdata $type' AND wait_event_type = 'Extension'") eq '1';
		resume_process();
		die "the $type never rests" if time > $deadline;
	}
	return;
}

sub resume_process
{
	kill 'CONT', $stopped if $stopped;
	$stopped = 0;
	return;
}

ok(wait_for_sql($hub, $processes, 'launcher'), 'nothing but the launcher runs without pipelines');

# --- start -----------------------------------------------------------------

$source->fill('t', 1, 10);
$hub->safe_psql('postgres', $source->pull_sql('p'));
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*) FROM p.t', '10', 'the copy is there');
sql_becomes($hub, $processes, 'launcher pipeline supervisor', 'a pipeline has its processes');
sql_ok($hub,
	q{SELECT application_name, usename = current_user FROM pg_stat_activity
	  WHERE backend_type = 'tapdata pipeline'},
	'tapdata pipeline p|t',
	'the worker shows its pipeline and runs as its owner');
wait_for_state($hub, 'p', 'streaming');

$hub->psql('postgres', 'BEGIN; SELECT tapdata.stop(\'p\'); ROLLBACK');
sql_ok($hub, $processes, 'launcher pipeline supervisor',
	'what is rolled back never happened');
sql_fails($hub, q{BEGIN; SELECT tapdata.stop('p'); PREPARE TRANSACTION 'x'},
	'0A000', qr/has changed pipelines/, 'pipelines cannot be changed by two-phase commit');

# --- terminated from outside ------------------------------------------------

# the lock keeps the supervisor from starting another one meanwhile
my $gone = pipeline_pid($hub, 'p');
is($hub->safe_psql('postgres', "BEGIN; LOCK TABLE tapdata.pipeline;
	SELECT pg_terminate_backend($gone, 60000); SELECT state FROM tapdata.status; COMMIT"),
	"t\nstarting", 'a pipeline does not stream without a worker');
wait_for_state($hub, 'p', 'streaming');

for my $type ('pipeline', 'supervisor', 'launcher')
{
	my $pid = pid_of($type);

	$hub->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	sql_becomes($hub, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'tapdata $type' AND pid <> $pid", '1',
		"a terminated $type is replaced");
	wait_for_sql($hub, $processes, 'launcher pipeline supervisor');
	$source->txn("update t 1 after $type");
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT value FROM p.t WHERE id = 1', "after $type",
		"changes flow after the $type was replaced");
}

# --- stop and start ---------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.stop('p')});
ok(wait_for_sql($hub, $processes, 'launcher'), 'nothing is left of a stopped pipeline');
sql_ok($hub, q{SELECT state FROM tapdata.status}, 'stopped', 'status says stopped');
sql_fails($hub, q{SELECT tapdata.wait('p', '5 s')}, '55000', qr/stopped|not running/,
	'wait() does not wait for a stopped pipeline');

$source->fill('t', 11, 20);
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*) FROM p.t', '20', 'it carries on where it stood');

# a supervisor that looks only when both are over
for my $way ('SELECT tapdata.stop(\'p\'); SELECT tapdata.start(\'p\')', 'BEGIN; SELECT tapdata.stop(\'p\'), tapdata.start(\'p\'); COMMIT')
{
	my $pid = pipeline_pid($hub, 'p');
	my $restarts = $hub->safe_psql('postgres', 'SELECT restarts FROM tapdata.status');

	stop_process('supervisor');
	my ($code, undef, $err) = $hub->psql('postgres', $way);
	resume_process();
	is($code, 0, 'a pipeline is stopped and started at once') or diag $err;
	caught_up($hub, 'p');
	isnt(pipeline_pid($hub, 'p'), $pid, 'which gives it another worker');
	sql_ok($hub, 'SELECT restarts FROM tapdata.status', $restarts, 'and is no restart after an error');
}

# --- errors that pass ---------------------------------------------------------

$source->break('08006', 'the line is cut');
$hub->safe_psql('postgres', 'SELECT pg_terminate_backend(' . pid_of('pipeline') . ', 5000)');
wait_for_state($hub, 'p', 'retrying');
wait_for_sql($hub, q{SELECT restarts >= 3 FROM tapdata.status});
sql_ok($hub, q{SELECT last_error FROM tapdata.status}, 'the line is cut',
	'status shows what is wrong');
sql_ok($hub, q{SELECT DISTINCT message FROM tapdata.events WHERE severity = 'error'},
	'the line is cut', 'each failure is an event');
$source->mend;
$source->fill('t', 21, 30);
caught_up($hub, 'p');
wait_for_state($hub, 'p', 'streaming');
sql_ok($hub, 'SELECT count(*) FROM p.t', '30', 'the pipeline mends itself');
sql_ok($hub, q{SELECT last_error IS NULL FROM tapdata.status}, 't',
	'status forgets the error');

# an internal error mostly comes of what others do at the same moment
$source->break('XX000', 'tuple concurrently updated');
$hub->safe_psql('postgres', 'SELECT pg_terminate_backend(' . pid_of('pipeline') . ', 5000)');
wait_for_sql($hub, q{SELECT count(*) > 0 FROM tapdata.events WHERE kind = 'retry' AND message ~ 'concurrently'});
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT kind, count(*) FROM tapdata.events WHERE message ~ 'concurrently' GROUP BY 1 ORDER BY 1},
	"failed|1\nretry|3", 'an internal error is tried again a few times');
$source->mend;
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
caught_up($hub, 'p');

# a pause ends when somebody changes something
$hub->safe_psql('postgres', q{ALTER SYSTEM SET tapdata.retry_min = '1h'});
$hub->safe_psql('postgres', q{ALTER SYSTEM SET tapdata.retry_max = '1h'});
$hub->reload;
wait_for_sql($hub, q{SHOW tapdata.retry_max}, '1h');
$source->break('08006', 'the line is cut again');
stop_process('supervisor');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('p', '{"workers": 3}')});
resume_process();
error_becomes($hub, 'p', qr/^the line is cut again$/, 'a worker that a command has ended is started anew at once');
wait_for_sql($hub, q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'tapdata pipeline'});
$source->mend;
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
wait_for_state($hub, 'p', 'streaming');
sql_becomes($hub, $processes, 'launcher pipeline supervisor', 'start() does not wait for the next try');

# also not of a supervisor that looks only when both are over
$hub->safe_psql('postgres', q{CREATE FUNCTION p.passes() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN RAISE EXCEPTION USING ERRCODE = ''40001'', MESSAGE = ''another time''; END';
	CREATE TRIGGER passes BEFORE UPDATE ON p.t FOR EACH ROW EXECUTE FUNCTION p.passes();
	ALTER TABLE p.t ENABLE ALWAYS TRIGGER passes});
stop_process('supervisor');
$source->txn('update t 1 in the end');
wait_for_state($hub, 'p', 'retrying');
wait_for_sql($hub, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'});
$hub->safe_psql('postgres', q{DROP FUNCTION p.passes() CASCADE; SELECT tapdata.start('p')});
resume_process();
caught_up($hub, 'p');
sql_ok($hub, 'SELECT value FROM p.t WHERE id = 1', 'in the end', 'nor for that of an error just before it');
$hub->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$hub->reload;

# --- errors that a person has to mend -------------------------------------------

$source->break('28P01', 'the password is wrong');
$hub->safe_psql('postgres', 'SELECT pg_terminate_backend(' . pid_of('pipeline') . ', 5000)');
wait_for_state($hub, 'p', 'failed');
ok(wait_for_sql($hub, $processes, 'launcher'), 'a failed pipeline is not tried again');
sql_fails($hub, q{SELECT tapdata.wait('p', '5 s')}, '[0-9A-Z]{5}', qr/the password is wrong/,
	'wait() says why the pipeline has failed');
$hub->restart;
wait_for_sql($hub, $processes, 'launcher');
sql_ok($hub, q{SELECT state, last_error FROM tapdata.status}, 'failed|the password is wrong',
	'it is still known after a restart');
$source->mend;
$source->fill('t', 31, 40);
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*) FROM p.t', '40', 'start() is a new try');

# also before the supervisor has taken note of the end
wait_for_state($hub, 'p', 'streaming');
stop_process('supervisor');
$source->txn('insert t 1 again');
wait_for_state($hub, 'p', 'failed');
wait_for_sql($hub, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'});
$hub->safe_psql('postgres', q{DELETE FROM p.t WHERE id = 1; SELECT tapdata.start('p')});
resume_process();
ok(caught_up($hub, 'p'), 'start() of a pipeline that failed a moment ago');
sql_ok($hub, 'SELECT value FROM p.t WHERE id = 1', 'again', 'goes on where it failed');

# --- owners -------------------------------------------------------------------

$hub->safe_psql('postgres', q{
	CREATE ROLE owner LOGIN;
	GRANT USAGE ON SCHEMA tapdata TO owner;
	GRANT CREATE ON DATABASE postgres TO owner});
my $other = Tapdata::Fake->new('t');
$other->fill('t', 1, 3);
$hub->safe_psql('postgres', 'SET ROLE owner; ' . $other->pull_sql('o'));
caught_up($hub, 'o');
sql_ok($hub,
	q{SELECT usename FROM pg_stat_activity WHERE application_name = 'tapdata pipeline o'},
	'owner', 'the worker runs as the owner');

# before 17 a worker can only connect as a role with LOGIN
$hub->safe_psql('postgres', q{ALTER ROLE owner NOLOGIN;
	SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
	WHERE application_name = 'tapdata pipeline o'});
if ($hub->pg_version >= 17)
{
	$other->fill('t', 4, 6);
	caught_up($hub, 'o');
	sql_ok($hub, 'SELECT count(*) FROM o.t', '6', 'an owner needs no LOGIN');
}
else
{
	wait_for_state($hub, 'o', 'failed');
	like($hub->safe_psql('postgres', q{SELECT last_error FROM tapdata.status WHERE name = 'o'}),
		qr/"owner" is not permitted to log in; hint: .*LOGIN/,
		'a worker that cannot log in says why');
}
$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('o', true)});

# --- a server without room ------------------------------------------------------

# 3: launcher, PostgreSQL's own logical launcher and a supervisor; 2: not even that
for my $slots (3, 2)
{
	$hub->append_conf('postgresql.conf', "max_worker_processes = $slots\n");
	$hub->restart;
	wait_for_sql($hub, q{SELECT last_error ~ 'no background worker slot is free.*max_worker_processes'
		FROM tapdata.status});
	sql_ok($hub, q{SELECT state IN ('starting', 'retrying') FROM tapdata.status}, 't',
		"status says what is missing with max_worker_processes = $slots");
}
$hub->append_conf('postgresql.conf', "max_worker_processes = 64\n");
$hub->restart;
caught_up($hub, 'p');

# --- all off -----------------------------------------------------------------

$hub->append_conf('postgresql.conf', "tapdata.enabled = off\n");
$hub->reload;
ok(wait_for_sql($hub, $processes, 'launcher'), 'tapdata.enabled = off pauses all pipelines');
$hub->append_conf('postgresql.conf', "tapdata.enabled = on\n");
$hub->reload;
wait_for_sql($hub, $processes, 'launcher pipeline supervisor');
$source->fill('t', 41, 50);
caught_up($hub, 'p');
sql_ok($hub, 'SELECT count(*) FROM p.t', '50', 'and lets them run again');
wait_for_state($hub, 'p', 'streaming');
stop_process('launcher');
$hub->append_conf('postgresql.conf', "tapdata.enabled = off\n");
$hub->reload;
wait_for_sql($hub, $processes, 'launcher');
$hub->append_conf('postgresql.conf', "tapdata.enabled = on\n");
$hub->reload;
resume_process();
sql_becomes($hub, $processes, 'launcher pipeline supervisor', 'also where the launcher has not seen that it was off');

# --- the end --------------------------------------------------------------------

$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('p')});
wait_for_sql($hub, $processes, 'launcher');
sql_ok($hub, 'SELECT count(*) FROM p.t', '50', 'a dropped pipeline leaves its tables');
sql_ok($hub, q{SELECT count(*) FROM pg_replication_origin}, '0', 'and nothing else');

done_testing();
