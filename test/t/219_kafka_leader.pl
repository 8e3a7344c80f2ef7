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

	$kafka->tool('org.apache.kafka.tools.TopicCommand', '--create', '--topic', $topic,

		# the tool asks again when a busy broker has not answered yet, and has created it
		'--if-not-exists', '--replica-assignment', $brokers);
	return;
}

sub numbers
{
	my ($topic, $partition, @numbers) = @_;
	my ($in, $err) = (join('', map { qq({"n": $_}\n) } @numbers), '');

	IPC::Run::run([ $kafka->kcat('-P', '-t', $topic, '-p', $partition) ], '<', \$in, '2>', \$err)
	  or die "kcat: $err";
	return;
}

sub metadata
{
	my ($out, $err) = ('', '');

	IPC::Run::run([ $kafka->kcat('-L') ], '<', \undef, '>', \$out, '2>', \$err) or die "kcat: $err";
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
	return sql_becomes($hub, q(SELECT position FROM tapdata.status WHERE name = 'leader'), $expected, $name);
}

# The second broker is back, and all know.
sub broker_comes
{
	$second->thaw;
	wait_for_metadata(sub { $_[0] !~ /leader -1/ });
	return;
}

# A call that is made while the brokers do not know each leader never returns, the next one does.
sub wait_returns
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_becomes($hub, q(SELECT tapdata.wait('leader', '5 s')), '', $name);
}

my $streams = q(SELECT state FROM tapdata.status WHERE name = 'leader');

# the query of doc/kafka-source.md
my $lag = q(
	WITH at AS (
	    SELECT name, source, split_part(topic, ':', 1) AS topic, split_part(item, '=', 1)::int AS partition, nullif(nullif(split_part(item, '=', 2), '?'), '-')::bigint AS next
	      FROM tapdata.status, LATERAL (VALUES (false, position), (true, source_position)) AS p(source, positions),
	           string_to_table(nullif(positions, 'none'), ';') AS topic, string_to_table(split_part(topic, ':', 2), ',') AS item
	     WHERE name = 'leader')
	SELECT topic, partition, CASE WHEN messages IS NOT NULL THEN greatest(messages, 0) END AS messages
	  FROM (SELECT topic, partition, max(next) FILTER (WHERE source) - max(next) FILTER (WHERE NOT source) AS messages
	          FROM at GROUP BY topic, partition HAVING bool_or(NOT source)) AS partitions
	 ORDER BY 1, 2);

# each start writes one
my $event = q(SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'leader' AND kind = '%s' AND source_table = '%s' AND message ~ '%s');

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
wait_for_sql($hub, sprintf($event, 'warning', 'half', 'partition 1 has no leader'), 't');
wait_for_sql($hub, sprintf($event, 'warning', 'lost', 'partition 0 has no leader'), 't');
sql_fails($hub, q(SELECT tapdata.wait('leader', '1 s')), '55P03', qr/timeout/, 'wait() does not return without them');
numbers('half', 0, 3);
has('leader.half', '1 2 3', 'the others go on');
stop_pipeline($hub, 'leader');
$hub->safe_psql('postgres', q(SELECT tapdata.start('leader')));
numbers('half', 0, 4);
has('leader.half', '1 2 3 4', 'also after a restart');
wait_for_sql($hub, $lag, "half|0|0\nhalf|1|\nlost|0|");

# one that is stopped while they have none, and started when they have
$hub->safe_psql('postgres', q(SELECT tapdata.pull('later', 'leader', '{half}', 'later', '{"columns": {"n": "int"}}')));
has('later.half', '1 2 3 4', 'another pipeline begins without them');
sql_becomes($hub, q(SELECT position FROM tapdata.status WHERE name = 'later'), 'half:0=4,1=-', 'and has no place in them');
stop_pipeline($hub, 'later');

broker_comes();
has('leader.half', '1 2 3 4 11 12 13', 'when a partition has a leader again, it is read');
has('leader.lost', '21', 'of each topic');
wait_returns('and wait() returns');
position_is('half:0=4,1=3;lost:0=1', 'the position has them all');
wait_for_sql($hub, sprintf($event, 'partition begun', 'half', 'partition 1 .* from offset 0 on'), 't');
$hub->safe_psql('postgres', q(SELECT tapdata.start('later')));
has('later.half', '1 2 3 4 11 12 13', 'a partition that never had a leader is read from its start by a pipeline that starts when it has one');
sql_becomes($hub, q(SELECT position FROM tapdata.status WHERE name = 'later'), 'half:0=4,1=3', 'and has a place in the position then');
$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('later')));

wait_for_sql($hub, $lag, "half|0|0\nhalf|1|0\nlost|0|0");

# --- one that goes on ----------------------------------------------------------------------

stop_pipeline($hub, 'leader');
numbers('half', 1, 14);
broker_goes(2);
numbers('half', 0, 5);
$hub->safe_psql('postgres', q(SELECT tapdata.start('leader')));
has('leader.half', '1 2 3 4 5 11 12 13', 'a pipeline that goes on does so without them, too');
position_is('half:0=5,1=3;lost:0=1', 'their places are kept');
sql_fails($hub, q(SELECT tapdata.wait('leader', '1 s')), '55P03', qr/timeout/, 'and wait() does not pass them');
broker_comes();
numbers('half', 1, 15);
numbers('lost', 0, 22);
has('leader.half', '1 2 3 4 5 11 12 13 14 15', 'until they have a leader');
wait_returns('then wait() returns');
has('leader.lost', '21 22', 'with each message once');

# --- what comes back is another topic ----------------------------------------------------------

stop_pipeline($hub, 'leader');
$kafka->tool('org.apache.kafka.tools.TopicCommand', '--delete', '--if-exists', '--topic', 'lost');
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
wait_returns('or it is');
has('leader.lost', '21 22 31 32 33 34 35', 'beside what was there');

# --- a part of what is another topic cannot be asked ---------------------------------------------

$hub->safe_psql('postgres', q(SELECT tapdata.stop('leader'); SELECT tapdata.alter_pipeline('leader', '{"start": "latest"}')));
$kafka->tool('org.apache.kafka.tools.TopicCommand', '--delete', '--if-exists', '--topic', 'half');
wait_for_metadata(sub { $_[0] !~ /"half"/ });
create('half', '1,2');
numbers('half', 0, 41 .. 50);
numbers('half', 1, 51);
broker_goes(2);
$hub->safe_psql('postgres', q(SELECT tapdata.start('leader')));
has('leader.half', join(' ', 1 .. 6, 11 .. 15, 41 .. 50), 'a topic that is another one is read from its first message on');
position_is('half:0=10,1=0;lost:0=5', 'also in a partition without a leader');
broker_comes();
has('leader.half', join(' ', 1 .. 6, 11 .. 15, 41 .. 51), 'when it has one, whatever start is');

done_testing();
