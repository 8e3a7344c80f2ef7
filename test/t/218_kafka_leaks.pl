# A Kafka source that fails again and again within one process leaves nothing behind: neither
# sessions that are given up nor schemas that cannot be had.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Kafka;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::Http->require;

my $json = JSON::PP->new->canonical->allow_nonref;
my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

foreach my $test (
	['sessions of a worker that are given up' => \&sessions],
	['sessions of a client that fail' => \&client_sessions],
	['schemas that cannot be had' => \&schemas])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

# What a process has: threads, open files, and kilobytes of memory, used or not (stacks of
# threads, too).
sub held_by
{
	my ($pid) = @_;
	my $status = slurp_file("/proc/$pid/status");
	my ($threads) = $status =~ /^Threads:\s*(\d+)/m;
	my ($memory) = $status =~ /^VmData:\s*(\d+)/m;
	my @files = glob "/proc/$pid/fd/*";

	return { threads => $threads, files => scalar @files, memory => $memory };
}

# Less than one of each for a failure: PostgreSQL itself opens a file now and then, and a
# session that is under way has threads of its own.
sub nothing_is_left
{
	my ($before, $after, $failures) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok($after->{threads}, '<', $before->{threads} + $failures, 'no threads');
	cmp_ok($after->{files}, '<', $before->{files} + $failures, 'no files');
	return;
}

# A row that cannot be stored has the worker read again, by another session.
sub sessions
{
	my $id = 0;
	my $fail = sub {
		$kafka->produce('refused', [ '', '{"id": ' . -++$id . '}' ], [ '', "{\"id\": $id}" ]);
		caught_up($hub, 'refused');
	};

	$kafka->produce('refused', [ '', '{"id": 0}' ]);
	pull($hub, $kafka, 'refused', tables => ['refused'], options => '{"columns": {"id": "int"}, "on_error": "dead_letter"}');
	caught_up($hub, 'refused');
	$hub->safe_psql('postgres', 'ALTER TABLE refused.refused ADD CHECK (id >= 0)');
	$fail->() for 1 .. 4;
	my $pid = pipeline_pid($hub, 'refused');
	my $before = held_by($pid);
	$fail->() for 1 .. 12;
	my $after = held_by($pid);
	is(pipeline_pid($hub, 'refused'), $pid, 'the process is the same');
	sql_ok($hub, q{SELECT count(*), max(id), (SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'refused') FROM refused.refused},
		"17|16|16", 'each row is there, or a dead letter');
	nothing_is_left($before, $after, 12);
	stop_pipeline($hub, 'refused');
	return;
}

# All within one connection: a pull() that fails when it has looked at the messages.
sub client_sessions
{
	my $held = q{SELECT (regexp_match(pg_read_file('/proc/self/status'), 'Threads:\s*(\d+)'))[1],
		(SELECT count(*) FROM pg_ls_dir('/proc/self/fd'))};
	my $fail = q{SELECT tapdata.pull('senseless', 'senseless', '{senseless}');};

	$kafka->produce('senseless', map { [ '', "no JSON $_" ] } 1 .. 3);
	$hub->safe_psql('postgres', "SELECT tapdata.connect('senseless', '" . $kafka->uri . q{', '{}')});
	my ($code, $out, $err) = $hub->psql('postgres', "\\set ON_ERROR_STOP 0\n" . "$fail\n" x 3 . "$held;\n" . "$fail\n" x 8 . "$held;\n",
		on_error_stop => 0);
	my @errors = $err =~ /is a JSON object/g;
	is(scalar @errors, 11, 'all of them fail');
	my ($before, $after) = map { my @numbers = split /\|/; { threads => $numbers[0], files => $numbers[1] } } split /\n/, $out;
	nothing_is_left($before, $after, 8);
	return;
}

# The registry has one schema, and no other.
sub schemas
{
	my $registry = Tapdata::Http->start(arguments => ['api']);
	my $schema = { type => 'record', name => 'r', fields => [ { name => 'id', type => 'long' } ] };
	my $message = sub { my ($id, $value) = @_; return [ '', "\0" . pack('N', $id) . chr($value * 2) ]; };

	$registry->api('/schemas/ids/1' => { raw => $json->encode({ schema => $json->encode($schema) }) });
	$kafka->produce('unknown', $message->(1, 20));
	pull($hub, $kafka, 'unknown', tables => ['unknown'],
		options => $json->encode({ format => 'avro', schema_registry => $registry->url, on_error => 'dead_letter', mode => 'append' }));
	caught_up($hub, 'unknown');
	$registry->faults({ path => '/schemas/ids/', status => 404, body => '{"error_code": 40403, "message": "Schema not found"}', times => 1_000_000 });
	my $fail = sub { $kafka->produce('unknown', map { $message->($_, 21) } @_); caught_up($hub, 'unknown'); };
	$fail->(33 .. 40);
	my $pid = pipeline_pid($hub, 'unknown');
	my $before = held_by($pid);
	$fail->(41 .. 80);
	my $after = held_by($pid);
	is(pipeline_pid($hub, 'unknown'), $pid, 'the process is the same');
	sql_ok($hub, q{SELECT (SELECT count(*) FROM unknown.unknown), dead_letters FROM tapdata.status WHERE name = 'unknown'}, '1|48',
		'each message is a dead letter');
	nothing_is_left($before, $after, 40);

	# an answer has room for 4 MB
	cmp_ok($after->{memory} - $before->{memory}, '<', 80 * 1024, 'no memory');
	return;
}
