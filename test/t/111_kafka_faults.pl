# What goes wrong with a Kafka broker: it is down, hangs, is killed, refuses. A pipeline
# carries on by itself where it can, and says what to do where it cannot.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Ledger;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

Tapdata::Kafka->require;

# what is not there has to be asked for
my $kafka = Tapdata::Kafka->start(arguments => ['auto.create.topics.enable=false']);
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");

$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA shop;
CREATE TABLE shop.t (id int PRIMARY KEY, v text);
INSERT INTO shop.t VALUES (1, 'one');
SQL
publish($hub, $kafka, 'out', ['shop.t'], { topic => 'out' });
caught_up($hub, 'out');

foreach my $test (
	['the broker is down' => \&broker_down],
	['the broker is killed while it is written to' => \&broker_killed],
	['the broker hangs' => \&broker_hangs],
	['the worker and the hub are killed' => \&killed],
	['memory through a transaction of 100 MB' => \&large_transaction],
	['a row that is too large' => \&too_large],
	['a topic that is not there and may not be made' => \&unknown_topic],
	['the topic with the positions is lost' => \&lost_position],
	['nobody answers at the call' => \&nobody])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

sub status
{
	my ($column, $pipeline) = @_;

	return $hub->safe_psql('postgres',
		"SELECT $column FROM tapdata.status WHERE name = '${\ ($pipeline || 'out') }'");
}

# The topic has the table's rows, each of them once.
sub compare
{
	my ($when, $topic) = @_;

	caught_up($hub, 'out');
	my @records = $kafka->settled_records($topic || 'out');
	my $rows = folded(@records);
	my $found = join "\n", map { my $row = from_json($_); "$row->{id}|" . (defined $row->{v} ? $row->{v} : '') }
	  sort { from_json($a)->{id} <=> from_json($b)->{id} } values %$rows;
	my %count;

	is($found, $hub->safe_psql('postgres', 'SELECT * FROM shop.t ORDER BY id'), "$when: the same rows");
	$count{ $_->{key} . (defined $_->{value} ? $_->{value} : '') }++ foreach @records;
	is_deeply([ grep { $count{$_} > 1 } sort keys %count ], [], "$when: none of them twice");
	return;
}

sub broker_down
{
	$kafka->stop;
	$hub->safe_psql('postgres', q(INSERT INTO shop.t VALUES (2, 'while it was down')));
	wait_for_sql($hub, "SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'out' AND kind = 'warning' AND message LIKE '%127.0.0.1%'");
	sql_becomes($hub, "SELECT lag_bytes > 0 FROM tapdata.status WHERE name = 'out'", 't', 'it lags behind meanwhile');

	# a worker that is started now cannot begin
	$hub->safe_psql('postgres', "SELECT tapdata.stop('out')");
	wait_for_state($hub, 'out', 'stopped');
	$hub->safe_psql('postgres', "SELECT tapdata.start('out')");
	wait_for_state($hub, 'out', 'retrying');
	error_becomes($hub, 'out', qr/127\.0\.0\.1:\d+|broker/i, 'the error names the broker');
	$kafka->restart;
	compare('when it is back');
	return;
}

sub broker_killed
{
	my $writer = Tapdata::Ledger->new($hub);

	publish($hub, $kafka, 'ledger', ['ledger.account'], { topic => 'ledger' });
	caught_up($hub, 'ledger');
	$writer->open(clients => 2, pause => 0.005);
	wait_for_sql($hub, "SELECT transactions > 10 FROM tapdata.status WHERE name = 'ledger'");
	$kafka->kill9;
	sleep 0.3;
	$kafka->restart;
	my $before = status('transactions', 'ledger');
	wait_for_sql($hub, "SELECT transactions > $before FROM tapdata.status WHERE name = 'ledger'");
	$writer->close;
	caught_up($hub, 'ledger');

	my (%version, @wrong);
	foreach my $row (map { from_json($_->{value}) } $kafka->settled_records('ledger'))
	{
		push @wrong, "$row->{id}: $row->{version}"
		  if exists $version{ $row->{id} } && $row->{version} != $version{ $row->{id} } + 1;
		$version{ $row->{id} } = $row->{version};
	}
	is_deeply(\@wrong, [], 'each change once and in order');
	is(join(',', map { $version{$_} } sort { $a <=> $b } keys %version),
		$hub->safe_psql('postgres', "SELECT string_agg(version::text, ',' ORDER BY id) FROM ledger.account"), 'up to the last one');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('ledger'); DROP SCHEMA ledger CASCADE));
	return;
}

# Nothing in the worker may wait for a broker in a way that cannot be interrupted.
sub broker_hangs
{
	$kafka->freeze;
	$hub->safe_psql('postgres', q(INSERT INTO shop.t SELECT g, 'while it hung' FROM generate_series(100, 399) g));
	sleep 0.5;
	my $pid = pipeline_pid($hub, 'out');
	ok(within($hub, 3, sub {
		$hub->safe_psql('postgres', "SELECT tapdata.stop('out')");
		wait_for_sql($hub, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
	}), 'the worker stops all the same');
	$hub->safe_psql('postgres', "SELECT tapdata.start('out')");
	sleep 0.5;
	ok(within($hub, 5, sub { $hub->stop('fast') }), 'and so does the hub');
	$hub->start;
	$kafka->thaw;
	compare('when it answers again');
	return;
}

sub killed
{
	for my $round (1 .. 4)
	{
		$hub->safe_psql('postgres', "INSERT INTO shop.t SELECT g, 'round $round' FROM generate_series($round * 10000, $round * 10000 + 500) g");
		my ($pid) = worker_pids($hub, 'tapdata pipeline');
		sleep rand 0.1;
		if ($round % 2)
		{
			kill_process($hub, $pid) if $pid;
		}
		else
		{
			$hub->stop('immediate');
			$hub->start;
		}
	}
	compare('after kill -9');
	return;
}

sub large_transaction
{
	my $rows = 60_000;

	$hub->safe_psql('postgres', 'CREATE TABLE shop.large (id int PRIMARY KEY, v text)');
	publish($hub, $kafka, 'large', ['shop.large'], { topic => 'large' });
	caught_up($hub, 'large');
	$hub->safe_psql('postgres',
		"INSERT INTO shop.large SELECT g, repeat(md5(g::text), 50) FROM generate_series(1, $rows) g");
	caught_up($hub, 'large');
	my $pid = pipeline_pid($hub, 'large');
	my ($peak) = slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m;
	cmp_ok($peak, '<', 350_000, "the worker never had more than $peak kB");
	is($kafka->count('large'), $rows, 'all rows are there');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('large'); DROP TABLE shop.large");
	return;
}

sub too_large
{
	$hub->safe_psql('postgres', q(INSERT INTO shop.t VALUES (5001, 'small'), (5002, repeat('x', 2000000)), (5003, 'small')));
	wait_for_state($hub, 'out', 'failed');
	my $error = status('last_error');
	like($error, qr/shop\.t\b/, 'the error names the table');
	like($error, qr/5002/, '... and the key');
	like($error, qr/message\.max\.bytes|max_message|larger|too large/i, '... and the limit');

	# the remedy of one who does not need that row
	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('out', '{"on_error": "dead_letter"}'); SELECT tapdata.start('out')));
	caught_up($hub, 'out');
	is($hub->safe_psql('postgres', q(SELECT count(*), min(change::text) ~ '5002' FROM tapdata.dead_letters WHERE pipeline = 'out')),
		'1|t', 'a dead letter instead');
	my $rows = folded($kafka->settled_records('out'));
	is_deeply([ map { exists $rows->{"{\"id\":$_}"} ? 1 : 0 } 5001 .. 5003 ], [ 1, 0, 1 ], 'its neighbours are there');
	$hub->safe_psql('postgres', q(SELECT tapdata.discard_dead_letters('out'); DELETE FROM shop.t WHERE id = 5002));
	compare('after that');

	# a row that changes its key is two messages: all or none of them
	$hub->safe_psql('postgres', "UPDATE shop.t SET id = 5004, v = repeat('x', 2000000) WHERE id = 5003");
	caught_up($hub, 'out');
	is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'out')), 1, 'a key change is set aside');
	ok(exists folded($kafka->settled_records('out'))->{'{"id":5003}'}, 'as a whole');
	$hub->safe_psql('postgres', q(SELECT tapdata.discard_dead_letters('out'); UPDATE shop.t SET id = 5003, v = 'and back' WHERE id = 5004));
	compare('and back');
	return;
}

sub unknown_topic
{
	$hub->safe_psql('postgres', 'CREATE TABLE shop.second (id int PRIMARY KEY)');
	my ($code, $out, $error) = $hub->psql('postgres', qq(
		SELECT tapdata.connect('strict', '${\ $kafka->uri }');
		SELECT tapdata.publish('strict', 'strict', ARRAY['shop.second'], '{"topic": "not.there", "create_topics": false}')));

	# said at the call, or by the worker
	my @named = (qr/not\.there/, 'the error names the topic');
	$code == 0 ? error_becomes($hub, 'strict', @named) : like($error, $named[0], $named[1]);
	$kafka->create_topic('not.there');
	$hub->safe_psql('postgres', $code == 0 ? "SELECT tapdata.start('strict')" : qq(
		SELECT tapdata.connect('strict', '${\ $kafka->uri }') WHERE NOT EXISTS (SELECT FROM tapdata.connections WHERE name = 'strict');
		SELECT tapdata.publish('strict', 'strict', ARRAY['shop.second'], '{"topic": "not.there", "create_topics": false}')));
	$hub->safe_psql('postgres', 'INSERT INTO shop.second VALUES (1)');
	caught_up($hub, 'strict');
	is(scalar $kafka->settled_records('not.there'), 1, 'once it is there it is written to');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('strict'); SELECT tapdata.disconnect('strict')");
	return;
}

sub lost_position
{
	my ($positions) = grep { /position/ } $kafka->topics;

	ok($positions, 'positions are kept in a topic') or return;
	$hub->safe_psql('postgres', "SELECT tapdata.stop('out')");
	wait_for_state($hub, 'out', 'stopped');
	$kafka->tool('org.apache.kafka.tools.TopicCommand', '--delete', '--topic', $positions);
	$hub->safe_psql('postgres', "SELECT tapdata.start('out')");
	wait_for_state($hub, 'out', 'failed');
	like(status('last_error'), qr/position|progress/i, 'the error says what is lost');
	$hub->safe_psql('postgres', "SELECT tapdata.resync('out'); SELECT tapdata.start('out')");
	caught_up($hub, 'out');
	my $rows = folded($kafka->settled_records('out'));
	is(scalar keys %$rows, $hub->safe_psql('postgres', 'SELECT count(*) FROM shop.t'), 'resync mends it');
	return;
}

sub nobody
{
	$hub->safe_psql('postgres', "SELECT tapdata.connect('nobody', 'kafka://127.0.0.1:1')");
	my $begin = time;
	sql_fails($hub, "SELECT tapdata.publish('nobody', 'nobody', ARRAY['shop.t'])", '08\w\w\w', qr/127\.0\.0\.1:1\b/,
		'a broker that is not there is an error of the call');
	cmp_ok(time - $begin, '<', 20, 'that comes soon');
	return;
}
