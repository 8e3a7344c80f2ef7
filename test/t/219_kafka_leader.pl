# Partitions whose broker is away: the others are read, these when it is back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

Tapdata::Kafka->require;

my $kafka = Tapdata::Kafka->start;
my $second = Tapdata::Kafka->start(arguments => ["joins=$kafka->{controller_port}"]);
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

sub create
{
	my ($topic, $brokers) = @_;

	$kafka->tool('org.apache.kafka.tools.TopicCommand', '--create', '--topic', $topic, '--replica-assignment', $brokers);
	return;
}

sub numbers
{
	my ($topic, $partition, @numbers) = @_;
	my ($in, $err) = (join('', map { qq({"n": $_}\n) } @numbers), '');

	IPC::Run::run([ 'kcat', '-P', '-b', $kafka->bootstrap, '-t', $topic, '-p', $partition ], '<', \$in, '2>', \$err)
	  or die "kcat: $err";
	return;
}

sub metadata
{
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'kcat', '-b', $kafka->bootstrap, '-L' ], '<', \undef, '>', \$out, '2>', \$err) or die "kcat: $err";
	return $out;
}

sub wait_for_metadata
{
	my ($condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->(metadata()))
	{
		die 'brokers do not say so: ' . metadata() if time > $deadline;
		sleep 0.1;
	}
	return;
}

# The second broker falls silent, and all know.
sub broker_goes
{
	my ($leaderless) = @_;

	$second->freeze;
	wait_for_metadata(sub { (() = $_[0] =~ /leader -1/g) == $leaderless });
	return;
}

sub has
{
	my ($table, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for_sql($hub, qq(SELECT string_agg(n::text, ' ' ORDER BY n) FROM $table), $expected)
	  && sql_ok($hub, qq(SELECT string_agg(n::text, ' ' ORDER BY n) FROM $table), $expected, $name);
}

sub position_is
{
	my ($expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_ok($hub, q(SELECT position FROM tapdata.status WHERE name = 'leader'), $expected, $name);
}

my $streams = q(SELECT state FROM tapdata.status WHERE name = 'leader');
my $events = q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'leader' AND kind = '%s' AND source_table = '%s' AND message ~ '%s');

create('half', '1,2');
create('lost', '2');
numbers('half', 0, 1, 2);
numbers('half', 1, 11, 12, 13);
numbers('lost', 0, 21);
broker_goes(2);

# --- a pipeline that begins --------------------------------------------------------------

my ($code, $out, $err) = $hub->psql('postgres', qq(SELECT tapdata.connect('leader', '${\ $kafka->uri }');
	SELECT tapdata.pull('leader', 'leader', '{half, lost}', options => '{"refresh_ms": 600000, "columns": {"n": "int"}}');));
is($code, 0, 'a pipeline is made');
like($err, qr/WARNING.*topic half.*WARNING.*topic lost/s, 'with a warning of topics that have partitions without a leader');
has('leader.half', '1 2', 'partitions that have a leader are read');
wait_for_sql($hub, $streams, 'streaming');
position_is('half:0=2,1=-;lost:0=-', 'the position shows which were not');
wait_for_sql($hub, sprintf($events, 'warning', 'half', 'partition 1 has no leader'), '1');
wait_for_sql($hub, sprintf($events, 'warning', 'lost', 'partition 0 has no leader'), '1');
sql_fails($hub, q(SELECT tapdata.wait('leader', '1 s')), '55P03', qr/timeout/, 'wait() does not return without them');
numbers('half', 0, 3);
has('leader.half', '1 2 3', 'the others go on');
$hub->safe_psql('postgres', q(SELECT tapdata.stop('leader'); SELECT tapdata.start('leader')));
numbers('half', 0, 4);
has('leader.half', '1 2 3 4', 'also after a restart');

$second->thaw;
has('leader.half', '1 2 3 4 11 12 13', 'when a partition has a leader again, it is read');
has('leader.lost', '21', 'of each topic');
ok(caught_up($hub, 'leader'), 'and wait() returns');
position_is('half:0=4,1=3;lost:0=1', 'the position has them all');
wait_for_sql($hub, sprintf($events, 'partition begun', 'half', 'partition 1 .* from offset 0 on'), '1');

# the query of doc/kafka-source.md
my $lag = q(
	WITH at AS (
	    SELECT name, source, split_part(topic, ':', 1) AS topic, split_part(item, '=', 1)::int AS partition, nullif(nullif(split_part(item, '=', 2), '?'), '-')::bigint AS next
	      FROM tapdata.status, LATERAL (VALUES (false, position), (true, source_position)) AS p(source, positions),
	           string_to_table(nullif(positions, 'none'), ';') AS topic, string_to_table(split_part(topic, ':', 2), ',') AS item
	     WHERE name = 'leader')
	SELECT topic, partition, greatest(max(next) FILTER (WHERE source) - max(next) FILTER (WHERE NOT source), 0) AS messages
	  FROM at GROUP BY topic, partition HAVING bool_or(NOT source) ORDER BY 1, 2);
wait_for_sql($hub, $lag, "half|0|0\nhalf|1|0\nlost|0|0");

# --- one that goes on ----------------------------------------------------------------------

$hub->safe_psql('postgres', q(SELECT tapdata.stop('leader')));
numbers('half', 1, 14);
broker_goes(2);
numbers('half', 0, 5);
$hub->safe_psql('postgres', q(SELECT tapdata.start('leader')));
has('leader.half', '1 2 3 4 5 11 12 13', 'a pipeline that goes on does so without them, too');
position_is('half:0=5,1=3;lost:0=1', 'their places are kept');
sql_fails($hub, q(SELECT tapdata.wait('leader', '1 s')), '55P03', qr/timeout/, 'and wait() does not pass them');
$second->thaw;
wait_for_metadata(sub { $_[0] !~ /leader -1/ });
numbers('half', 1, 15);
numbers('lost', 0, 22);
has('leader.half', '1 2 3 4 5 11 12 13 14 15', 'until they have a leader');
ok(caught_up($hub, 'leader'), 'then wait() returns');
has('leader.lost', '21 22', 'with each message once');

# --- what comes back is another topic ----------------------------------------------------------

$hub->safe_psql('postgres', q(SELECT tapdata.stop('leader')));
$kafka->tool('org.apache.kafka.tools.TopicCommand', '--delete', '--topic', 'lost');
wait_for_metadata(sub { $_[0] !~ /"lost"/ });
create('lost', '2');
numbers('lost', 0, 31 .. 35);
broker_goes(2);
numbers('half', 0, 6);
$hub->safe_psql('postgres', q(SELECT tapdata.start('leader')));
has('leader.half', '1 2 3 4 5 6 11 12 13 14 15', 'while it cannot be seen, the others are read');
$second->thaw;
wait_for_state($hub, 'leader', 'failed');
sql_ok($hub, q(SELECT last_error ~ 'topic "lost" is not the one that was read' FROM tapdata.status WHERE name = 'leader'), 't',
	'it is recognised when it can');
has('leader.lost', '21 22', 'and not read');
$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('leader', '{"on_gap": "earliest"}'); SELECT tapdata.start('leader')));
ok(caught_up($hub, 'leader'), 'or it is');
has('leader.lost', '21 22 31 32 33 34 35', 'beside what was there');

done_testing();
