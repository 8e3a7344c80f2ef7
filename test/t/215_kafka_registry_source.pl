# Messages with schemas of a registry: Avro of all types, schemas that evolve, JSON schemas,
# and bytes that are not what their schema says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Kafka;
use Tapdata::Proxy;
use Tapdata::SchemaRegistry;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::SchemaRegistry->require;

my $json = JSON::PP->new->canonical->allow_nonref;
my $kafka = Tapdata::Kafka->start;
my $registry = Tapdata::SchemaRegistry->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");

foreach my $test (
	['types of Avro' => \&avro_types],
	['a schema that evolves' => \&avro_evolution],
	['bytes that are not what the schema says' => \&avro_malformed],
	['JSON schemas' => \&json_schema],
	['hosts that are allowed' => \&allowed_hosts],
	['test_connection() asks the registry' => \&asked],
	['the registry is away' => \&registry_away],
	['something else answers' => \&another_answers])
{
	my ($topic, $check) = @$test;
	subtest $topic => $check;
}
done_testing();

# Registers a schema and returns the frame of its messages. Lines are messages for kcat,
# so that an id with a line's end or a tab in it is passed over.
sub frame
{
	my ($subject, $schema, $type) = @_;
	my $id = $registry->request(POST => "/subjects/$subject/versions",
		{ schema => $json->encode($schema), ($type ? (schemaType => $type) : ()) })->{id};

	die "id $id cannot be produced" if pack('N', $id) =~ /[\t\n]/;
	return "\0" . pack('N', $id);
}

sub avro_long
{
	my ($value) = @_;
	my $bits = $value < 0 ? -2 * $value - 1 : 2 * $value;
	my $bytes = '';

	for (; $bits > 127; $bits >>= 7)
	{
		$bytes .= chr($bits & 127 | 128);
	}
	return $bytes . chr $bits;
}

sub avro_string { return avro_long(length $_[0]) . $_[0]; }

sub follow
{
	my ($topic, $format, $options) = @_;

	pull($hub, $kafka, $topic, tables => [$topic], options =>
		$json->encode({ format => $format, schema_registry => $registry->url, key => ['id'], %{ $options || {} } }));
	return caught_up($hub, $topic);
}

sub avro_types
{
	my @cases = (
		[ 'id', 'int', avro_long(-3), 'integer', '-3' ],
		[ 'l', 'long', avro_long(4611686018427387903), 'bigint', '4611686018427387903' ],
		[ 'b', 'boolean', "\1", 'boolean', 't' ],
		[ 'f', 'float', pack('f<', 1.5), 'real', '1.5' ],
		[ 'd', 'double', pack('d<', -0.1), 'double precision', '-0.1' ],
		[ 's', 'string', avro_string("\xc3\xa4\"\\"), 'text', "\xc3\xa4\"\\" ],
		[ 'bytes', 'bytes', avro_string("\x00\x01\xff"), 'bytea', '\x0001ff' ],
		[ 'fixed', { type => 'fixed', name => 'four', size => 4 }, "abcd", 'bytea', '\x61626364' ],
		[ 'mood', { type => 'enum', name => 'mood', symbols => [qw(SAD OK)] }, avro_long(1), 'text', 'OK' ],
		[ 'price', { type => 'bytes', logicalType => 'decimal', precision => 6, scale => 2 },
			avro_string("\xff\x38"), 'numeric(6,2)', '-2.00' ],
		[ 'fixed_price', { type => 'fixed', name => 'price', size => 12, logicalType => 'decimal', precision => 25, scale => 3 },
			"\0\0\1" . ("\0" x 9), 'numeric(25,3)', '4722366482869645213.696' ],
		[ 'day', { type => 'int', logicalType => 'date' }, avro_long(19782), 'date', '2024-02-29' ],
		[ 'ms', { type => 'int', logicalType => 'time-millis' }, avro_long(1001), 'time without time zone', '00:00:01.001' ],
		[ 'us', { type => 'long', logicalType => 'time-micros' }, avro_long(1000001), 'time without time zone', '00:00:01.000001' ],
		[ 'at', { type => 'long', logicalType => 'timestamp-millis' }, avro_long(-1), 'timestamp with time zone', '1969-12-31 23:59:59.999+00' ],
		[ 'at_us', { type => 'long', logicalType => 'timestamp-micros' }, avro_long(1000001), 'timestamp with time zone', '1970-01-01 00:00:01.000001+00' ],
		[ 'here', { type => 'long', logicalType => 'local-timestamp-micros' }, avro_long(-1), 'timestamp without time zone', '1969-12-31 23:59:59.999999' ],
		[ 'u', { type => 'string', logicalType => 'uuid' }, avro_string('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' ],
		[ 'maybe', [ 'null', 'int' ], avro_long(1) . avro_long(7), 'integer', '7' ],
		[ 'either', [ 'null', 'int', 'string' ], avro_long(2) . avro_string('x'), 'jsonb', '"x"' ],
		[ 'tags', { type => 'array', items => [ 'null', 'string' ] },
			avro_long(2) . avro_long(1) . avro_string('a') . avro_long(0) . avro_long(-1) . avro_long(3) . avro_long(1) . avro_string('b') . avro_long(0),
			'text[]', '{a,NULL,b}' ],
		[ 'map', { type => 'map', values => 'long' }, avro_long(1) . avro_string('k') . avro_long(6) . avro_long(0), 'jsonb', '{"k": 6}' ],
		[ 'tree', { type => 'record', name => 'node', fields => [
				{ name => 'v', type => 'int' }, { name => 'next', type => [ 'null', 'node' ] } ] },
			avro_long(1) . avro_long(1) . avro_long(2) . avro_long(0), 'jsonb', '{"v": 1, "next": {"v": 2, "next": null}}' ]);
	my $frame = frame('types-value', { type => 'record', name => 'row', namespace => 'test',
		fields => [ map { { name => $_->[0], type => $_->[1] } } @cases ] });

	$kafka->produce('types', [ '-3', $frame . join '', map { $_->[2] } @cases ]);
	follow('types', 'avro');
	is(column_types($hub, 'types.types'), join(', ', map { "$_->[0] $_->[3]" } @cases), 'types');
	sql_ok($hub, qq(SELECT "$_->[0]" FROM types.types), $_->[4], "value of $_->[0]") foreach @cases;
	return;
}

sub avro_evolution
{
	my @fields = ({ name => 'id', type => 'int' }, { name => 'name', type => 'string' });
	my $first = frame('grow-value', { type => 'record', name => 'row', fields => \@fields });

	$kafka->produce('grow', [ '1', $first . avro_long(1) . avro_string('a') ]);
	follow('grow', 'avro');
	push @fields, { name => 'note', type => [ 'null', 'string' ], default => undef },
	  { name => 'count', type => 'long', default => 7 };
	my $second = frame('grow-value', { type => 'record', name => 'row', fields => \@fields });
	$kafka->produce('grow', [ '2', $second . avro_long(2) . avro_string('b') . avro_long(1) . avro_string('n') . avro_long(8) ],
		[ '3', $first . avro_long(3) . avro_string('c') ], [ '1', undef ],
		[ '2', $second . avro_long(2) . avro_string('d') . avro_long(0) . avro_long(9) ]);
	caught_up($hub, 'grow');
	is(column_types($hub, 'grow.grow'), 'id integer, name text, note text, count bigint', 'columns come');
	sql_ok($hub, 'SELECT * FROM grow.grow ORDER BY id', "2|d||9\n3|c||", 'messages of both schemas, and a tombstone');
	return;
}

sub avro_malformed
{
	my $frame = frame('bad-value', { type => 'record', name => 'row', fields => [
		{ name => 'id', type => 'int' }, { name => 's', type => [ 'null', 'string' ] } ] });

	$kafka->produce('bad', [ '1', $frame . avro_long(1) . avro_long(1) . avro_string('good') ],
		[ '2', $frame . avro_long(2) . avro_long(1) . avro_long(99) . 'short' ],
		[ '3', $frame . avro_long(3) . avro_long(2) ], [ '4', $frame . avro_long(4) . avro_long(0) . 'more' ],
		[ '5', $frame . ("\xff" x 12) ], [ '6', "\0\0" ], [ '7', "\0\x7f\xff\xff\xff\0" ], [ '8', $frame ],
		[ '9', $frame . avro_long(11) . avro_long(1) . avro_string("\xff\xfe") ],
		[ '12', $frame . avro_long(12) . avro_long(0) ]);
	follow('bad', 'avro', { on_error => 'dead_letter' });
	sql_ok($hub, 'SELECT * FROM bad.bad ORDER BY id', "1|good\n12|", 'what can be read is');
	sql_ok($hub, q(SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'bad'), '8', 'the rest is kept');
	note $hub->safe_psql('postgres', q(SELECT error FROM tapdata.dead_letters WHERE pipeline = 'bad'));
	return;
}

sub json_schema
{
	my %properties = (id => { type => 'integer', 'connect.type' => 'int32' }, name => { type => 'string' },
		at => { oneOf => [ { type => 'null' }, { type => 'integer', title => 'io.debezium.time.MicroTimestamp', 'connect.type' => 'int64' } ] },
		amount => { type => [ 'number', 'null' ] }, day => { type => 'string', format => 'date' },
		list => { type => 'array', items => { type => 'integer' } }, any => { type => 'object' });
	my $frame = frame('js-value', { type => 'object', properties => \%properties }, 'JSON');

	$kafka->produce('js', [ '1', $frame . '{"id": 1, "name": "a", "at": 1000001, "amount": 1.50, "day": "2024-02-29", "list": [1, 2], "any": {"x": 1}}' ],
		[ '2', $frame . '{"id": 2, "at": null, "amount": null}' ]);
	follow('js', 'json_schema');
	is(column_types($hub, 'js.js'), 'amount numeric, any jsonb'
		. ', at timestamp without time zone, day date, id integer, list bigint[], name text', 'types');
	sql_ok($hub, 'SELECT id, name, at, amount, day, list, "any" FROM js.js ORDER BY id',
		"1|a|1970-01-01 00:00:01.000001|1.50|2024-02-29|{1,2}|{\"x\": 1}\n2||||||", 'rows');
	return;
}

sub allowed_hosts
{
	my $frame = frame('held-value', { type => 'record', name => 'row', fields => [ { name => 'id', type => 'int' } ] });
	my ($url, $port) = ($registry->url, $registry->port);
	my $refused = qr/host "127\.0\.0\.1", port $port, is not one that may be spoken to/;
	my $held = q(SELECT state, last_error FROM tapdata.status WHERE name = 'held');

	$kafka->produce('held', [ '1', $frame . avro_long(1) ]);
	follow('held', 'avro');
	allow('*.example.com');
	sql_fails($hub, "SELECT tapdata.connect('c', '${\ $kafka->uri }', '{\"schema_registry\": \"$url\"}')", '42501', $refused,
		'no connection with another registry');
	sql_fails($hub, "SELECT tapdata.connect('c', '${\ $kafka->uri }', '{\"kafka.sasl.oauthbearer.token.endpoint.url\": \"$url\"}')",
		'42501', $refused, '... or server of tokens');
	sql_fails($hub, "SELECT tapdata.pull('again', 'held', ARRAY['held'], into_schema => 'again', options => '{\"format\": \"avro\", \"schema_registry\": \"$url\"}')",
		'42501', $refused, 'no pipeline');
	stop_pipeline($hub, 'held');
	$kafka->produce('held', [ '2', $frame . avro_long(2) ]);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('held')));
	wait_for_state($hub, 'held', 'failed');
	like($hub->safe_psql('postgres', $held), $refused, 'those that are there are held to it');
	sql_ok($hub, 'SELECT id FROM held.held', '1', 'nothing was asked');
	allow("127.0.0.1:$port");
	$hub->safe_psql('postgres', q(SELECT tapdata.start('held')));
	caught_up($hub, 'held');
	sql_ok($hub, 'SELECT id FROM held.held ORDER BY id', "1\n2", 'a host of the list is asked');
	allow('');
	return;
}

sub allow
{
	my ($list) = @_;

	$hub->safe_psql('postgres', "ALTER SYSTEM SET tapdata.http_allowed_hosts = '$list'; SELECT pg_reload_conf()");
	wait_for_sql($hub, 'SHOW tapdata.http_allowed_hosts', $list);
	return;
}

# Whatever the connection is used as.
sub asked
{
	my $guarded = Tapdata::Http->start(arguments => ['api']);

	# a port that is taken, but not listened on
	my $nobody = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp') or die "socket: $!";

	$guarded->api('/subjects' => { rows => [], login => 'hub:s3cret' }, '/page/subjects' => { type => 'text/html', raw => '<html>' });
	my %login = (schema_registry_user => 'hub', schema_registry_password => 's3cret');
	foreach my $case (
		['fine' => { schema_registry => $registry->url }, qr/^true \Q${\ $registry->url }\E/],
		['with a slash' => { schema_registry => $registry->url . '/' }, qr/^true /],
		['away' => { schema_registry => 'http://127.0.0.1:' . $nobody->sockport }, qr/^false could not reach the schema registry: .*\nCheck the option "schema_registry"/],
		['no login' => { schema_registry => $guarded->url }, qr/^false .*with status 401.*\nCheck .*"schema_registry_password"/],
		['a wrong password' => { schema_registry => $guarded->url, %login, schema_registry_password => 'w' }, qr/^false .*with status 401/],
		['the right one' => { schema_registry => $guarded->url, %login }, qr/^true /],
		['another path' => { schema_registry => $guarded->url . '/none' }, qr/^false .*with status 404/],
		['a page' => { schema_registry => $guarded->url . '/page' }, qr/^false what answers is no schema registry: It said: <html>/])
	{
		my ($name, $options, $expected) = @$case;

		$hub->safe_psql('postgres', "SELECT tapdata.connect('asked', '${\ $kafka->uri }', '${\ $json->encode($options) }')");
		foreach my $purpose (qw(source target))
		{
			like($hub->safe_psql('postgres', qq(SELECT ok || ' ' || detail || coalesce(E'\\n' || hint, '')
				FROM tapdata.test_connection('asked', '$purpose') WHERE check_name = 'schema registry')), $expected, "$name, as a $purpose");
		}
		$hub->safe_psql('postgres', q(SELECT tapdata.disconnect('asked')));
	}
	return;
}

sub registry_away
{
	my $schema = { type => 'record', name => 'row', fields => [ { name => 'id', type => 'int' }, { name => 'v', type => 'string' } ] };
	my $frame = frame('away-value', $schema);
	my $proxy = Tapdata::Proxy->start(port => $registry->port);

	$kafka->produce('away', [ '1', $frame . avro_long(1) . avro_string('a') ]);
	follow('away', 'avro', { schema_registry => $registry->url =~ s/:\d+/:${\ $proxy->port }/r });
	push @{ $schema->{fields} }, { name => 'w', type => 'string', default => '' };
	$frame = frame('away-value', $schema);
	$proxy->refuse;
	$kafka->produce('away', [ '2', $frame . avro_long(2) . avro_string('b') . avro_string('c') ]);
	wait_for_sql($hub, q(SELECT last_error ~ 'schema registry' FROM tapdata.status WHERE name = 'away'));
	sql_ok($hub, 'SELECT count(*) FROM away.away', '1', 'a schema that is not known is waited for');
	$proxy->resume;
	caught_up($hub, 'away');
	sql_ok($hub, 'SELECT * FROM away.away ORDER BY id', "1|a|\n2|b|c", 'reading goes on when the registry is back');
	return;
}

# A proxy before the registry says nothing of the messages: none of them is a dead letter.
sub another_answers
{
	my $registry = Tapdata::Http->start(name => 'stands_in', arguments => ['api']);
	my $schema = { type => 'record', name => 'row', fields => [ { name => 'id', type => 'long' } ] };
	my $number = 1;

	# no value is a line's end, which would end a message
	my $message = sub { my ($schema, $id) = @_; return [ $id, "\0" . pack('N', $schema) . avro_long($id + 1000) ]; };

	$registry->api(map { ("/schemas/ids/$_" => { raw => $json->encode({ schema => $json->encode($schema) }) }) } 1 .. 8);
	$kafka->produce('proxied', $message->(1, 1));
	pull($hub, $kafka, 'proxied', tables => ['proxied'], options => $json->encode({ format => 'avro', schema_registry => $registry->url,
		key => ['id'], on_error => 'dead_letter' }));
	caught_up($hub, 'proxied');
	foreach my $case (
		['a redirect' => { status => 302, headers => { Location => '/login' } }, qr/status 302/],
		['a page' => { status => 200, body => '<html>Sign in' }, qr/gave no schema for id \d+.*<html>Sign in/s],
		['another page' => { status => 200, body => '{}' }, qr/gave no schema for id/],
		['a path that is not there' => { status => 404, body => '<html>not here' }, qr/status 404.*not here/s],
		['a refusal of another' => { status => 400, body => '{"error": "bad host"}' }, qr/status 400/])
	{
		my ($name, $answer, $expected) = @$case;

		$number++;
		$registry->faults({ path => "/schemas/ids/$number", times => 1_000_000, %$answer });
		$kafka->produce('proxied', $message->($number, $number));
		error_becomes($hub, 'proxied', $expected, $name);
		$registry->faults();
		caught_up($hub, 'proxied');
		sql_ok($hub, 'SELECT max(id) - 1000 FROM proxied.proxied', $number, 'the message is read when the registry is back');
	}
	sql_ok($hub, q{SELECT dead_letters FROM tapdata.status WHERE name = 'proxied'}, '0', 'none is a dead letter');

	$registry->faults({ path => '/schemas/ids/99', status => 404, body => '{"error_code": 40403, "message": "Schema not found"}', times => 1_000_000 });
	$kafka->produce('proxied', $message->(99, 99), $message->(1, 100));
	caught_up($hub, 'proxied');
	sql_ok($hub, q{SELECT max(id) - 1000, (SELECT dead_letters FROM tapdata.status WHERE name = 'proxied') FROM proxied.proxied}, '100|1',
		'one whose schema the registry does not have is');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('proxied')));
	return;
}
