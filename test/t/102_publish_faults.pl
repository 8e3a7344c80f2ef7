# Faults around a publish pipeline: targets that fail or forget, slots that are lost,
# processes that are killed. At the end the target has what the hub has: each
# transaction once where it keeps the position, else at least once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 10;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $hub = new_hub('publish_faults', "tapdata.retry_min = 50ms\ntapdata.retry_max = 200ms\n");

sub sql
{
	my ($statements) = @_;

	return $hub->safe_psql('postgres', $statements);
}

sub failed_of
{
	my ($pipeline, $pattern, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for_state($hub, $pipeline, 'failed');
	return sql_ok($hub, "SELECT last_error ~ '$pattern' FROM tapdata.status WHERE name = '$pipeline'", 't', $name);
}

# The same rows at the target as in the hub.
sub same_as_hub
{
	my ($target, $table, $name) = @_;
	my %rows = map { my ($id, $v) = split /\|/; ($id => { id => $id, v => $v }) }
	  split /\n/, sql("SELECT id, v FROM $table");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply($target->rows($table, 'id'), \%rows, $name);
}

# Commits that the target has more than once.
sub repeated
{
	my ($target) = @_;
	my %times;

	$times{ $_->{lsn} }++ for grep { $_->{kind} eq 'commit' } $target->lines;
	return scalar grep { $_ > 1 } values %times;
}

sub workers
{
	my ($pipeline) = @_;

	return split /\n/, sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'tapdata pipeline $pipeline'");
}

sql(q{CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 200) n;
	CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u SELECT n, 'u' || n FROM generate_series(1, 50) n});

# --- the target fails in each call, with a position and without --------------------------------

for my $holds (0, 1)
{
	my $name = $holds ? 'held' : 'plain';
	my $target = Tapdata::Fake::Target->new(holds_position => $holds);

	for my $call (qw(prepare_table copy_begin write copy_end), $holds ? 'set_position' : ())
	{
		my $other = Tapdata::Fake::Target->new(holds_position => $holds);

		$other->fault($call, 1, '08006', "the line is cut in $call");
		sql($other->publish_sql("$name$call", ['public.t', 'public.u']));
		caught_up($hub, "$name$call");
		ok(!$other->faulty, "$name: $call has failed in the first copy");
		same_as_hub($other, 'public.t', "$name: and the copy is right");
		same_as_hub($other, 'public.u', "$name: of both tables");
		sql("SELECT tapdata.drop_pipeline('$name$call')");
	}

	sql($target->publish_sql($name, ['public.t', 'public.u']));
	caught_up($hub, $name);
	my $id = 1000 * (1 + $holds);
	for my $call (qw(open start begin write commit flush))
	{
		$target->fault($call, $call =~ /open|start/ ? 1 : 2, '08006', "the line is cut in $call");
		sql("SELECT pg_terminate_backend($_)") for $call =~ /open|start/ ? workers($name) : ();
		sql('BEGIN; INSERT INTO t VALUES (' . ++$id . ", 'a'); INSERT INTO u VALUES ($id, '$call'); COMMIT") for 1 .. 3;
		wait_for_sql($hub, "SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = '$name' AND message ~ 'cut in $call'");
		caught_up($hub, $name);
		same_as_hub($target, 'public.u', "$name: nothing is missing after an error in $call");
	}
	same_as_hub($target, 'public.t', "$name: nor in the other table");
	is(repeated($target), 0, "$name: no transaction is there twice") if $holds;
	sql_ok($hub, "SELECT restarts > 5 FROM tapdata.status WHERE name = '$name'", 't', "$name: it was started again");
	sql("SELECT tapdata.drop_pipeline('$name')");
}

# --- a target that forgets, or never confirms -----------------------------------------------------

my $target = Tapdata::Fake::Target->new(holds_position => 1);
sql($target->publish_sql('p', ['public.*']));
caught_up($hub, 'p');
sql(q{INSERT INTO t VALUES (5000, 'one')});
caught_up($hub, 'p');
my $backup = slurp_file($target->{path});
sql(q{INSERT INTO t VALUES (5001, 'two')});
caught_up($hub, 'p');
wait_for_sql($hub, 'SELECT position FROM tapdata.position', ($target->transactions)[-1][-1]{lsn});

sub stop
{
	sql(q{SELECT tapdata.stop('p')});
	wait_for_sql($hub, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tapdata pipeline p'}, '0');
	return;
}

sub restore
{
	my ($content) = @_;

	stop();
	unlink $target->{path};
	append_to_file($target->{path}, $content) if $content ne '';
	sql(q{SELECT tapdata.start('p')});
	return;
}
restore($backup);
failed_of('p', 'had acknowledged.*restored to an earlier state.*resync', 'a target that was restored from a backup is found out');
sql(q{SELECT tapdata.resync('p')});
caught_up($hub, 'p');
same_as_hub($target, 'public.t', 'resync mends it');
restore('');
failed_of('p', 'does not remember.*resync', 'so is one that was emptied');
sql(q{SELECT tapdata.resync('p')});
caught_up($hub, 'p');
same_as_hub($target, 'public.t', 'resync mends that too');
restore(slurp_file($target->{path}) . "commit\tFF/0\n");
failed_of('p', 'the hub was restored to an earlier state.*resync', 'and a hub that is behind its target');
stop();
my $content = slurp_file($target->{path});
$content =~ s/commit\tFF.*\n//;
restore($content);
caught_up($hub, 'p');
same_as_hub($target, 'public.t', 'with the right target it goes on');

# --- slots that are lost ---------------------------------------------------------------------------

stop();
sql(q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; SELECT tapdata.start('p')});
failed_of('p', 'slot "tapdata_.*" is gone.*resync', 'a slot that was dropped');
sql(q{SELECT tapdata.resync('p')});
caught_up($hub, 'p');
same_as_hub($target, 'public.t', 'resync mends it');

stop();
$hub->append_conf('postgresql.conf', "max_slot_wal_keep_size = '1MB'\nmin_wal_size = '32MB'\nmax_wal_size = '48MB'\n");
$hub->reload;
sql(q{CREATE SCHEMA other; CREATE TABLE other.filler (v text)});
sql(q{INSERT INTO other.filler VALUES ('x'); SELECT pg_switch_wal(); CHECKPOINT}) for 1 .. 4;
wait_for_sql($hub, q{SELECT wal_status FROM pg_replication_slots}, 'lost');
sql(q{SELECT tapdata.start('p')});
failed_of('p', 'slot "tapdata_.*" was invalidated.*resync', 'a slot whose WAL was removed');
sql(q{SELECT tapdata.resync('p')});
caught_up($hub, 'p');
same_as_hub($target, 'public.t', 'resync mends it');
$hub->append_conf('postgresql.conf', "max_slot_wal_keep_size = '-1'\n");
$hub->reload;

# --- backpressure ------------------------------------------------------------------------------------

my $slow = Tapdata::Fake::Target->new;
sql($slow->publish_sql('slow', ['public.t'], '{"durable": false}'));
wait_for_state($hub, 'slow', 'streaming');
my $before = sql('SELECT pg_current_wal_insert_lsn()');
sql(q{INSERT INTO t VALUES (6000, 'never acknowledged')});
sql_fails($hub, q{SELECT tapdata.wait('slow', '1 s')}, '55P03', qr/timeout while waiting/, 'what is not acknowledged is waited for');
sql_ok($hub, "SELECT confirmed_flush_lsn <= '$before' FROM pg_replication_slots ORDER BY slot_name DESC LIMIT 1", 't',
	'and the slot keeps it');
sql_becomes($hub, q{SELECT lag_bytes > 0, lag_seconds BETWEEN 0.9 AND 60 FROM tapdata.status WHERE name = 'slow'}, 't|t', 'the lag shows it');
ok(within($hub, 2, sub {
	sql(q{SELECT tapdata.stop('slow')});
	wait_for_state($hub, 'slow', 'stopped');
}), 'stop does not wait for the target');
sql(q{SELECT tapdata.alter_pipeline('slow', '{"durable": null}'); SELECT tapdata.start('slow')});
caught_up($hub, 'slow');
same_as_hub($slow, 'public.t', 'it is sent again');
sql(q{SELECT tapdata.drop_pipeline('slow')});

# --- kill -9 ---------------------------------------------------------------------------------------

my $plain = Tapdata::Fake::Target->new;
sql($plain->publish_sql('q', ['public.t', 'public.u']));
caught_up($hub, 'q');
my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, <<'SQL');
\set id random(1, 300)
BEGIN;
INSERT INTO t VALUES (:id, 'x') ON CONFLICT (id) DO UPDATE SET v = t.v || 'x';
INSERT INTO u VALUES (:id, 'x') ON CONFLICT (id) DO UPDATE SET v = u.v || 'x';
DELETE FROM t WHERE id = 301 - :id;
UPDATE u SET v = left(v, 5) WHERE id < 30;
COMMIT;
SQL

sub load
{
	my ($seconds) = @_;

	# the server may go away under it
	return IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-R', 300, '-T', $seconds, '-f', $script, '-d', $hub->connstr('postgres') ],
		'>', \my $out, '2>', \my $err);
}

# Copies are made while it rains.
sub change_tables
{
	my ($number) = @_;

	sql(q{SELECT tapdata.resync('p', 'public.u')}) if $number % 4 == 0;
	return unless $number % 4 == 1;
	sql("CREATE TABLE extra$number (id int PRIMARY KEY, v text); INSERT INTO extra$number SELECT n, 'x' FROM generate_series(1, 1000) n");
	sql("UPDATE extra$number SET v = 'y' WHERE id <= 10; DELETE FROM extra$number WHERE id = 500");
	return;
}

my $rounds = 0;
for my $number (1 .. $kills)
{
	my $load = load(2);

	sleep 0.2 + rand 1;
	change_tables($number);
	if ($number % 3 == 0)
	{
		kill_server($hub);
	}
	else
	{
		kill_one($hub, "application_name = 'tapdata pipeline " . ($number % 2 ? 'p' : 'q') . "'");
	}
	$load->finish;
	$rounds++;
}
is($rounds, $kills, "$kills kills were survived");
for my $pipeline (qw(p q))
{
	caught_up($hub, $pipeline);
	my $at = $pipeline eq 'p' ? $target : $plain;
	same_as_hub($at, 'public.t', "$pipeline: the target has what the hub has");
	same_as_hub($at, 'public.u', "$pipeline: in both tables");
}
for my $number (grep { $_ % 4 == 1 } 1 .. $kills)
{
	same_as_hub($target, "public.extra$number", "p: table $number that came meanwhile is there");
}
is(repeated($target), 0, 'the target that keeps the position has each transaction once');
my @lsns = map { hex((split m{/}, $_)[1]) + (hex((split m{/}, $_)[0]) << 32) }
  map { $_->{lsn} } grep { $_->{kind} eq 'commit' } $target->lines;
my @sorted = sort { $a <=> $b } @lsns;
is_deeply(\@lsns, \@sorted, 'and in commit order');

# --- crashes in the middle of a copy ------------------------------------------------------------------

my $big = Tapdata::Fake::Target->new;
sql(q{CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT n, 'b' || n FROM generate_series(1, 20000) n});
$big->fault('write', 10000, '57P01', 'gone in the middle');
sql($big->publish_sql('big', ['public.big']));
caught_up($hub, 'big');
is((grep { $_->{kind} eq 'copy' } $big->lines)[-1]{again}, 1, 'a copy that was cut off begins again');
same_as_hub($big, 'public.big', 'and is right');

# --- dead letters of what cannot be encoded -----------------------------------------------------------

for my $holds (0, 1)
{
	my $name = $holds ? 'letters held' : 'letters plain';
	my $odd = Tapdata::Fake::Target->new(holds_position => $holds);

	$odd->fault('write', 3, '22P02', 'what is this?');
	sql($odd->publish_sql($name, ['public.t'], '{"on_error": "dead_letter"}'));
	caught_up($hub, $name);
	sql_ok($hub, "SELECT count(*), min(sqlstate), min(change->>'op') FROM tapdata.dead_letters WHERE pipeline = '$name'",
		'1|22P02|read', "$name: a row of the copy that cannot be sent is set aside");
	is(scalar keys %{ $odd->rows('public.t', 'id') }, sql('SELECT count(*) - 1 FROM t'), "$name: all others are sent");
	$odd->fault('write', 2, '22003', 'too much');
	sql(q{BEGIN; INSERT INTO t VALUES (9001, 'a'), (9002, 'b'), (9003, 'c'); COMMIT});
	caught_up($hub, $name);
	sql_ok($hub, "SELECT sqlstate, change->'new'->>'id', message, position::pg_lsn IS NOT NULL FROM
		(SELECT sqlstate, change, error AS message, position FROM tapdata.dead_letters WHERE pipeline = '$name' ORDER BY at DESC LIMIT 1) x",
		'22003|9002|too much|t', "$name: so is a change of the stream");
	is(join(' ', map { $odd->rows('public.t', 'id')->{$_} ? 1 : 0 } 9001 .. 9003), '1 0 1', "$name: the rest of its transaction is sent");
	sql("SELECT tapdata.drop_pipeline('$name'); DELETE FROM t WHERE id > 9000");
}

$hub->stop;
done_testing();
