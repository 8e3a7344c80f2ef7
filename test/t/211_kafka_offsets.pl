# Where a topic's stream stands: starts, partitions, retention, compaction, transactions.

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

my $kafka = Tapdata::Kafka->start(arguments => ['log.cleaner.backoff.ms=200']);
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

foreach my $test (
	['where to start' => \&starts],
	['a pipeline goes on where it was' => \&goes_on],
	['partitions' => \&partitions],
	['transactions' => \&transactions],
	['compaction' => \&compaction],
	['retention took what comes next' => \&retention],
	['retention passes a pipeline that is behind' => \&passed],
	['a topic is deleted' => \&deleted],
	['a topic is made anew' => \&made_anew],
	['resync' => \&resync],
	['a broker that is away, or hangs' => \&broker_away],
	['a long position' => \&long_position])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

sub numbers
{
	my ($topic, @numbers) = @_;

	$kafka->produce($topic, map { [ "k$_", "{\"n\": $_}" ] } @numbers);
	return;
}

sub pull_topic
{
	my ($name, $options, $topic) = @_;

	pull($hub, $kafka, $name, tables => [ $topic || $name ], options => $options);
	return caught_up($hub, $name);
}

sub has
{
	my ($table, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($hub->safe_psql('postgres', qq(SELECT string_agg(n::text, ' ' ORDER BY n) FROM $table)),
		$expected, $name);
}

sub position_is
{
	my ($pipeline, $expected, $name) = @_;

	return is($hub->safe_psql('postgres', "SELECT position FROM tapdata.status WHERE name = '$pipeline'"),
		$expected, $name);
}

sub drop
{
	my ($name) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name', true); SELECT tapdata.disconnect('$name')");
	return;
}

sub restart_with
{
	my ($name, $options) = @_;

	$hub->safe_psql('postgres', qq(SELECT tapdata.stop('$name');
		SELECT tapdata.alter_pipeline('$name', '$options'); SELECT tapdata.start('$name');));
	return;
}

sub delete_records
{
	my ($topic, $offset, $partition) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/offsets.json';

	$partition ||= 0;
	append_to_file($file, qq({"version": 1, "partitions": [{"topic": "$topic", "partition": $partition, "offset": $offset}]}));
	$kafka->tool('org.apache.kafka.tools.DeleteRecordsCommand', '--offset-json-file', $file);
	return;
}

sub starts
{
	numbers('start', 1, 2);
	my ($last) = reverse $kafka->records('start');
	my $time = ($last->{ts} + 1) / 1000;
	sleep 0.05;
	numbers('start', 3);

	pull_topic('latest', '{"start": "latest"}', 'start');
	pull_topic('timed', qq({"start": "epoch"}), 'start');
	my $at = $hub->safe_psql('postgres', "SELECT to_timestamp($time)");
	pull_topic('after', qq({"start": "$at"}), 'start');
	pull_topic('future', qq({"start": "2999-01-01 00:00:00Z"}), 'start');
	pull_topic('given', '{"start": "latest", "start_offsets": {"start": {"0": 1}}}', 'start');
	pull_topic('never', '{"snapshot": "never"}', 'start');
	numbers('start', 4);
	caught_up($hub, $_) foreach qw(latest timed after future given never);
	has('latest.start', '4', 'latest');
	has('timed.start', '1 2 3 4', 'a time before all messages');
	has('after.start', '3 4', 'a time between messages');
	has('future.start', '4', 'a time behind all messages');
	has('given.start', '2 3 4', 'an offset');
	has('never.start', '4', 'snapshot never is latest');
	drop($_) foreach qw(latest timed after future given never);
	return;
}

sub goes_on
{
	numbers('goes', 1, 2);
	pull_topic('goes', '{}');
	stop_pipeline($hub, 'goes');
	numbers('goes', 3);
	$hub->restart;
	$hub->safe_psql('postgres', q(SELECT tapdata.start('goes')));
	caught_up($hub, 'goes');
	has('goes.goes', '1 2 3', 'each message once');
	position_is('goes', 'goes:0=3', 'and the position is behind them');
	restart_with('goes', '{"start": "earliest", "snapshot": "never"}');
	numbers('goes', 4);
	caught_up($hub, 'goes');
	has('goes.goes', '1 2 3 4', 'whatever options say of where to start');
	drop('goes');
	return;
}

sub partitions
{
	$kafka->create_topic('parts', partitions => 3);
	numbers('parts', 1 .. 50);
	pull_topic('parts', '{"refresh_ms": 200, "metadata": "partition, offset"}');
	is($hub->safe_psql('postgres', 'SELECT count(DISTINCT n), count(*), count(DISTINCT _partition) FROM parts.parts'),
		'50|50|3', 'all partitions are read');
	$kafka->add_partitions('parts', 5);
	numbers('parts', 51 .. 150);
	caught_up($hub, 'parts');
	is($hub->safe_psql('postgres', 'SELECT count(DISTINCT n), count(*), count(DISTINCT _partition) FROM parts.parts'),
		'150|150|5', 'new ones, too, from their beginning');
	is($hub->safe_psql('postgres', q(
		SELECT 'parts:' || string_agg(_partition || '=' || next, ',' ORDER BY _partition)
		FROM (SELECT _partition, max(_offset) + 1 AS next FROM parts.parts GROUP BY 1) AS s)),
		$hub->safe_psql('postgres', q(SELECT position FROM tapdata.status WHERE name = 'parts')),
		'the position has them all');
	drop('parts');
	return;
}

# A producer that dies within its transaction, which is open until the next one of the
# same id comes.
sub transactions
{
	my ($in, $err) = ('', '');
	my @producer = $kafka->kcat('-P', '-t', 'txn', '-X', 'transactional.id=producer', '-X', 'transaction.timeout.ms=600000');
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	numbers('txn', 1);
	pull_topic('txn', '{}');
	my $open = IPC::Run::start([@producer], '<', \$in, '2>', \$err);
	until (scalar $kafka->records('txn', isolation => 'read_uncommitted') > 1)
	{
		# it sends what fills its buffer
		$in .= "{\"n\": 1000}\n" x 2000;
		$open->pump_nb;
		sleep 0.1;
		die "kcat: $err" if time > $deadline;
	}
	numbers('txn', 2);
	caught_up($hub, 'txn');
	has('txn.txn', '1', 'what is behind an open transaction is not there yet, and is not waited for');
	$open->kill_kill(grace => 0);

	my $message = "{\"n\": 3}\n";
	IPC::Run::run([@producer], '<', \$message, '2>', \$err) or die "kcat: $err";
	wait_for_sql($hub, q(SELECT count(*) FROM txn.txn), 3);
	caught_up($hub, 'txn');
	has('txn.txn', '1 2 3', 'what was aborted is left out, what was committed is there');

	my $next = $hub->safe_psql('postgres', q(SELECT position FROM tapdata.status WHERE name = 'txn'));
	cmp_ok($next =~ s/.*=//r, '>', 3, 'the position passes what is no message');
	stop_pipeline($hub, 'txn');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('txn')));
	caught_up($hub, 'txn');
	has('txn.txn', '1 2 3', 'also after a restart');
	drop('txn');
	return;
}

sub compaction
{
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	$kafka->create_topic('compact', config => {
			'cleanup.policy' => 'compact', 'segment.ms' => 200, 'min.cleanable.dirty.ratio' => 0.01,
			'max.compaction.lag.ms' => 400, 'delete.retention.ms' => 100 });
	$kafka->produce('compact', map { [ 'k' . $_ % 3, "{\"n\": $_}" ] } 1 .. 30);
	until ($kafka->records('compact') < 30)
	{
		die 'the topic is not compacted' if time > $deadline;
		sleep 0.3;

		# only segments that are not the last one are compacted
		$kafka->produce('compact', [ 'k0', '{"n": 100}' ]);
	}
	pull_topic('compact', '{"key": ["_key"]}');
	is($hub->safe_psql('postgres', q(SELECT string_agg(_key || '=' || n, ' ' ORDER BY _key) FROM compact.compact)),
		'k0=100 k1=28 k2=29', 'gaps between offsets are none');
	drop('compact');
	return;
}

sub retention
{
	numbers('gap', 1 .. 5);
	pull_topic('gap', '{}');
	stop_pipeline($hub, 'gap');
	numbers('gap', 6 .. 9);
	delete_records('gap', 8);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('gap')));
	wait_for_state($hub, 'gap', 'failed');
	like($hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status WHERE name = 'gap')),
		qr/offset 5.*from 8 up to 9.*on_gap.*resync/s, 'the error says what is missing and what to do');
	restart_with('gap', '{"on_gap": "earliest"}');
	caught_up($hub, 'gap');
	has('gap.gap', '1 2 3 4 5 9', 'on with what is there');
	is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.events
			WHERE pipeline = 'gap' AND message ~ 'partition 0 no longer has offset 5; reading goes on at 8')),
		'1', 'which is told');
	stop_pipeline($hub, 'gap');
	numbers('gap', 10, 11);
	unlink PostgreSQL::Test::Utils::tempdir() . '/offsets.json';
	delete_records('gap', 10);
	restart_with('gap', '{"on_gap": "latest"}');
	caught_up($hub, 'gap');
	numbers('gap', 12);
	caught_up($hub, 'gap');
	has('gap.gap', '1 2 3 4 5 9 12', 'or with what comes');
	drop('gap');
	return;
}

# The next messages are within the worker already: nothing but the event tells what is gone behind them.
sub passed
{
	my $locker;

	numbers('passed', 1 .. 5);
	pull_topic('passed', '{"batch_bytes": 1024}');
	stop_pipeline($hub, 'passed');
	numbers('passed', 6 .. 6000);
	$locker = $hub->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE passed.passed IN EXCLUSIVE MODE');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('passed')));
	wait_for_sql($hub, q(SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'passed.passed'::regclass));
	unlink PostgreSQL::Test::Utils::tempdir() . '/offsets.json';
	delete_records('passed', 6000);
	$locker->query_safe('COMMIT');
	$locker->quit;
	wait_for_sql($hub, q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'passed' AND kind = 'log purged' AND severity = 'warning'
		AND message ~ 'begins with offset 6000 in partition 0, the next message to read is'), '1');
	pass('an event says so');
	drop('passed');
	return;
}

sub deleted
{
	numbers('gone', 1);
	pull_topic('gone', '{}');
	stop_pipeline($hub, 'gone');
	delete_topic('gone');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('gone')));
	wait_for_state($hub, 'gone', 'failed');
	like($hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status WHERE name = 'gone')),
		qr/topic "gone".*remove_tables.*resync/s, 'the pipeline says so');
	has('gone.gone', '1', 'rows stay');
	drop('gone');
	return;
}

sub delete_topic
{
	my ($topic) = @_;

	# the tool asks again when a busy broker has not answered yet, and has deleted it
	$kafka->tool('org.apache.kafka.tools.TopicCommand', '--delete', '--if-exists', '--topic', $topic);

	# its name is free when the brokers are done with it
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (grep { $_ eq $topic } $kafka->topics)
	{
		die "topic $topic stays" if time > $deadline;
		sleep 0.1;
	}
	return;
}

# Offsets of the new topic fit the stored position; only its messages tell.
sub made_anew
{
	my $last_error = q(SELECT last_error FROM tapdata.status WHERE name = 'anew');

	$kafka->create_topic('anew', partitions => 2);
	numbers('anew', 1 .. 20);
	pull_topic('anew', '{}');
	stop_pipeline($hub, 'anew');
	numbers('anew', 21);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('anew')));
	caught_up($hub, 'anew');
	has('anew.anew', join(' ', 1 .. 21), 'the same topic goes on');

	stop_pipeline($hub, 'anew');
	delete_topic('anew');
	$kafka->create_topic('anew', partitions => 2);
	numbers('anew', 101 .. 160);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('anew')));
	wait_for_state($hub, 'anew', 'failed');
	like($hub->safe_psql('postgres', $last_error),
		qr/topic "anew" is not the one that was read.*offset \d+ of partition [01] was one of.*on_gap.*resync/s, 'another topic is recognised');
	has('anew.anew', join(' ', 1 .. 21), 'nothing of it is read');
	restart_with('anew', '{"on_gap": "earliest"}');
	caught_up($hub, 'anew');
	has('anew.anew', join(' ', 1 .. 21, 101 .. 160), 'one way out is to read it beside what is there');
	is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'anew' AND message ~ 'not the one that was read; reading begins at the first')),
		'1', 'which is told');
	restart_with('anew', '{"on_gap": null}');
	numbers('anew', 161);
	caught_up($hub, 'anew');
	has('anew.anew', join(' ', 1 .. 21, 101 .. 161), 'it is the topic that was read from now on');

	# without the message that was noted nothing can be said
	stop_pipeline($hub, 'anew');
	my ($last) = grep { $_->{partition} == 1 } reverse $kafka->records('anew');
	delete_records('anew', $last->{offset} + 1, 1);
	numbers('anew', 162 .. 170);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('anew')));
	caught_up($hub, 'anew');
	has('anew.anew', join(' ', 1 .. 21, 101 .. 170), 'what retention took after it was read is not missed');
	drop('anew');
	return;
}

sub resync
{
	numbers('again', 1, 2);
	numbers('other', 7);
	pull($hub, $kafka, 'again', tables => [ 'again', 'other' ]);
	caught_up($hub, 'again');
	$hub->safe_psql('postgres', 'INSERT INTO again.again VALUES (99)');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('again', 'again')));
	caught_up($hub, 'again');
	has('again.again', '1 2', 'a topic is read anew');
	has('again.other', '7', 'the others are not');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('again')));
	caught_up($hub, 'again');
	has('again.other', '7', 'or all of them');
	drop('again');
	return;
}

sub broker_away
{
	numbers('away', 1);
	pull_topic('away', '{}');
	$kafka->kill9;
	wait_for_sql($hub, q(SELECT last_error ~ 'Kafka' FROM tapdata.status WHERE name = 'away'), 't');
	sql_becomes($hub, q(SELECT state IN ('retrying', 'starting', 'catchup') FROM tapdata.status WHERE name = 'away'),
		't', 'the pipeline tries again while no broker is there');
	$kafka->restart;
	numbers('away', 2);
	caught_up($hub, 'away');
	has('away.away', '1 2', 'and goes on');

	$kafka->freeze;
	stop_pipeline($hub, 'away');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('away')));
	pipeline_pid($hub, 'away');
	stop_pipeline($hub, 'away');
	pass('a worker ends beside a broker that hangs, also while it asks for something');
	$kafka->thaw;
	numbers('away', 3);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('away')));
	caught_up($hub, 'away');
	has('away.away', '1 2 3', 'and goes on when it is back');
	drop('away');
	return;
}

sub long_position
{
	$kafka->create_topic('long', partitions => 800);
	pull_topic('long', '{"columns": {"n": "int"}}');
	numbers('long', 1 .. 300);
	caught_up($hub, 'long');
	is($hub->safe_psql('postgres', 'SELECT count(*), count(DISTINCT n) FROM long.long'), '300|300',
		'a topic of 800 partitions');
	cmp_ok($hub->safe_psql('postgres', q(SELECT length(position) FROM tapdata.status WHERE name = 'long')), '>', 4096,
		'has a long position');
	stop_pipeline($hub, 'long');
	numbers('long', 301);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('long')));
	caught_up($hub, 'long');
	is($hub->safe_psql('postgres', 'SELECT count(*), count(DISTINCT n) FROM long.long'), '301|301', 'and goes on from it');
	drop('long');
	return;
}
