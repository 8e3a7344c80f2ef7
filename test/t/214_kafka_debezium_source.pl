# Debezium's envelopes as a source: what other producers than our own write.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;

my $json = JSON::PP->new->canonical->allow_nonref;
my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");

my %id = (type => 'int32', optional => JSON::PP::false, field => 'id');
my %name = (type => 'string', optional => JSON::PP::true, field => 'name');

foreach my $test (
	['types by the schema' => \&types],
	['a schema that changes' => \&evolution],
	['without a schema' => \&plain],
	['deletes and tombstones' => \&deletes],
	['a table without a key' => \&keyless],
	['values that did not change' => \&unavailable],
	['fields that nobody wants' => \&unknown_fields],
	['snapshots read twice, truncates, messages' => \&operations],
	['rows that were taken out of their envelope' => \&unwrapped],
	['a history' => \&append],
	['a topic that was empty' => \&blank],
	['changes of schemas' => \&schema_topic],
	['a hub in another encoding' => \&encoding],
	['what is no change' => \&malformed])
{
	my ($topic, $check) = @$test;
	subtest $topic => $check;
}
done_testing();

# A message: topic, key fields, op, before, after, and the fields of the row's schema.
sub change
{
	my ($topic, $key, $op, $before, $after, $fields) = @_;
	my $payload = { before => $before, after => $after, op => $op, source => { table => 't' }, ts_ms => 1 };

	$kafka->produce($topic, [ $json->encode($key), $json->encode(
		$fields ? { schema => envelope($fields), payload => $payload } : $payload) ]);
	return;
}

sub envelope
{
	my ($fields) = @_;
	my @rows = map { { type => 'struct', optional => JSON::PP::true, field => $_, fields => $fields } } qw(before after);

	return { type => 'struct', name => 'x.Envelope', fields => [ @rows, { type => 'string', field => 'op' } ] };
}

sub follow
{
	my ($topic, $options) = @_;

	pull($hub, $kafka, $topic, tables => [$topic],
		options => $json->encode({ format => 'debezium', %{ $options || {} } }));
	return caught_up($hub, $topic);
}

sub key_of
{
	my ($table) = @_;

	return $hub->safe_psql('postgres', qq(SELECT pg_get_constraintdef(oid) FROM pg_constraint
		WHERE conrelid = '$table'::regclass AND contype = 'p'));
}

sub drop
{
	my ($name) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	return;
}

sub types
{
	my @fields = (\%id);
	my %row = (id => 1);
	my @cases = (
		[ 'i8', 'int8', undef, -5, 'smallint', '-5' ],
		[ 'flag', 'boolean', undef, JSON::PP::true, 'boolean', 't' ],
		[ 'f', 'float', undef, 1.5, 'real', '1.5' ],
		[ 'day', 'int32', 'io.debezium.time.Date', -1, 'date', '1969-12-31' ],
		[ 'day2', 'int32', 'org.apache.kafka.connect.data.Date', 19782, 'date', '2024-02-29' ],
		[ 'ms', 'int32', 'io.debezium.time.Time', 1001, 'time without time zone', '00:00:01.001' ],
		[ 'ns', 'int64', 'io.debezium.time.NanoTime', 1000001999, 'time without time zone', '00:00:01.000001' ],
		[ 'at', 'int64', 'io.debezium.time.Timestamp', -1, 'timestamp without time zone', '1969-12-31 23:59:59.999' ],
		[ 'at_ns', 'int64', 'io.debezium.time.NanoTimestamp', 1709210096789012345, 'timestamp without time zone', '2024-02-29 12:34:56.789012' ],
		[ 'zoned', 'string', 'io.debezium.time.ZonedTimestamp', '2024-02-29T12:34:56.789012Z', 'timestamp with time zone', '2024-02-29 12:34:56.789012+00' ],
		[ 'long', 'int64', 'io.debezium.time.MicroDuration', 3600000001, 'interval', '01:00:00.000001' ],
		[ 'iso', 'string', 'io.debezium.time.Interval', 'P1Y2M3DT4H5M6.789S', 'interval', '1 year 2 mons 3 days 04:05:06.789' ],
		[ 'year', 'int32', 'io.debezium.time.Year', 2024, 'integer', '2024' ],
		[ 'price', 'bytes', 'org.apache.kafka.connect.data.Decimal', '/gw=', 'numeric(8,2)', '-5.00',
			{ scale => '2', 'connect.decimal.precision' => '8' } ],
		[ 'scaled', 'struct', 'io.debezium.data.VariableScaleDecimal', { scale => 3, value => 'AN6tvu8=' }, 'numeric', '3735928.559' ],
		[ 'doc', 'string', 'io.debezium.data.Json', '{"a": [1, "b"]}', 'jsonb', '{"a": [1, "b"]}' ],
		[ 'uid', 'string', 'io.debezium.data.Uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' ],
		[ 'mood', 'string', 'io.debezium.data.Enum', 'ok', 'text', 'ok', { allowed => 'sad,ok' } ],
		[ 'bits', 'bytes', 'io.debezium.data.Bits', 'gQE=', 'bit(10)', '0110000001', { length => '10' } ],
		[ 'raw', 'bytes', undef, 'AAH/', 'bytea', '\x0001ff' ],
		[ 'point', 'struct', 'io.debezium.data.geometry.Point', { x => 1.5, y => -2, wkb => 'AAA=', srid => undef }, 'point', '(1.5,-2)' ],
		[ 'nested', 'struct', undef, { a => 1, b => [ 2 ] }, 'jsonb', '{"a": 1, "b": [2]}' ],
		[ 'tags', 'array', undef, [ 'a', undef, 'b"c' ], 'text[]', '{a,NULL,"b\\"c"}', undef, { type => 'string' } ],
		[ 'days', 'array', undef, [ 0, 1 ], 'date[]', '{1970-01-01,1970-01-02}', undef,
			{ type => 'int32', name => 'io.debezium.time.Date' } ],
		[ 'structs', 'array', undef, [ { x => 1 } ], 'jsonb', '[{"x": 1}]', undef, { type => 'struct', fields => [] } ]);

	foreach my $case (@cases)
	{
		my ($field, $type, $logical, $value, undef, undef, $parameters, $items) = @$case;
		push @fields, { field => $field, type => $type, optional => JSON::PP::true, ($logical ? (name => $logical) : ()),
			($parameters ? (parameters => $parameters) : ()), ($items ? (items => $items) : ()) };
		$row{$field} = $value;
	}
	change('types', { id => 1 }, 'c', undef, \%row, \@fields);
	change('types', { id => 2 }, 'c', undef, { id => 2, map { $_->[0] => undef } @cases }, \@fields);
	follow('types');
	is(column_types($hub, 'types.types'), join(', ', 'id integer', map { "$_->[0] $_->[4]" } @cases), 'types');
	foreach my $case (@cases)
	{
		sql_ok($hub, "SELECT $case->[0] FROM types.types WHERE id = 1", $case->[5], "value of $case->[0]");
	}
	sql_ok($hub, 'SELECT count(*) FROM types.types t WHERE id = 2 AND num_nulls(VARIADIC ARRAY[' .
		join(',', map { "$_->[0]::text" } @cases) . ']) = ' . @cases, '1', 'NULLs');
	is(key_of('types.types'), 'PRIMARY KEY (id)', 'the key is that of the messages');
	drop('types');
	return;
}

sub evolution
{
	my @wide = ({ %id, type => 'int64' }, \%name,
		{ type => 'int64', name => 'io.debezium.time.MicroTimestamp', field => 'at', optional => JSON::PP::true },
		{ type => 'bytes', name => 'org.apache.kafka.connect.data.Decimal', parameters => { scale => '2' },
			field => 'price', optional => JSON::PP::true });

	change('grow', { id => 1 }, 'c', undef, { id => 1, name => 'a', at => 1000 }, [ \%id, \%name,
		{ type => 'int64', name => 'io.debezium.time.Timestamp', field => 'at', optional => JSON::PP::true } ]);
	follow('grow');
	is(column_types($hub, 'grow.grow'), 'id integer, name text, at timestamp without time zone', 'before');
	change('grow', { id => 5000000000 }, 'c', undef,
		{ id => 5000000000, name => 'b', at => 1000000, price => 'AMg=' }, \@wide);
	change('grow', { id => 3 }, 'c', undef, { id => 3, name => 'c' }, [ \%id, \%name ]);
	change('grow', { id => 1 }, 'u', { id => 1 }, { id => 1, name => 'd', at => 2000000, price => 'AQ==' }, \@wide);
	caught_up($hub, 'grow');
	is(column_types($hub, 'grow.grow'), 'id bigint, name text, at timestamp without time zone, price numeric', 'columns come and widen');
	sql_ok($hub, 'SELECT * FROM grow.grow ORDER BY id',
		"1|d|1970-01-01 00:00:02|0.01\n3|c||\n5000000000|b|1970-01-01 00:00:01|2.00", 'rows of all schemas');
	drop('grow');
	return;
}

sub plain
{
	change('plain', { id => 1 }, 'c', undef, { id => 1, name => 'a', day => '2024-02-29' });
	follow('plain');
	change('plain', { id => 1 }, 'u', undef, { id => 1, name => 'b', day => undef, more => [ 1 ], nothing => undef });
	caught_up($hub, 'plain');
	is(column_types($hub, 'plain.plain'), 'day date, id bigint, name text, more jsonb', 'types are found, fields added');
	sql_ok($hub, 'SELECT id, name, day, more FROM plain.plain', '1|b||[1]', 'an update without the row before');
	is(key_of('plain.plain'), 'PRIMARY KEY (id)', 'with the key of the messages');
	drop('plain');
	return;
}

sub deletes
{
	my @fields = (\%id, \%name);

	change('gone', { id => $_ }, 'c', undef, { id => $_, name => 'n' }, \@fields) foreach 1 .. 6;
	change('gone', { id => 1 }, 'd', { id => 1, name => undef }, undef, \@fields);
	$kafka->produce('gone', [ '{"id":1}', undef ], [ '{"id":2}', undef ]);
	$kafka->produce('gone', [ '{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":3}}', undef ]);
	change('gone', { id => 4 }, 'd', undef, undef, \@fields);
	change('gone', { id => 99 }, 'd', { id => 99, name => 'never' }, undef, \@fields);
	change('gone', { id => 5 }, 'd', { id => 5, name => 'n' }, undef, \@fields);
	$kafka->produce('gone', [ '{"id":5}', undef ]);
	change('gone', { id => 50 }, 'c', undef, { id => 50, name => 'moved' }, \@fields);
	follow('gone');
	sql_ok($hub, 'SELECT * FROM gone.gone ORDER BY id', "6|n\n50|moved", 'deletes in all their forms');
	drop('gone');
	return;
}

sub keyless
{
	my @fields = (\%id, \%name);
	my @changes = ([ 'c', undef, { id => 1, name => 'a' } ], [ 'c', undef, { id => 1, name => 'a' } ],
		[ 'c', undef, { id => 2, name => undef } ], [ 'u', { id => 1, name => 'a' }, { id => 1, name => 'b' } ],
		[ 'd', { id => 2, name => undef }, undef ]);

	foreach my $change (@changes)
	{
		my ($op, $before, $after) = @$change;
		$kafka->produce('keyless', [ '', $json->encode({ schema => envelope(\@fields),
			payload => { op => $op, before => $before, after => $after } }) ]);
	}
	follow('keyless');
	sql_ok($hub, 'SELECT * FROM keyless.keyless ORDER BY name', "1|a\n1|b", 'whole rows before changes say which they are of');

	# a conversion that takes as much memory as the search for the row has given back
	$hub->safe_psql('postgres', 'ALTER TABLE keyless.keyless ALTER name TYPE char(700)');
	$kafka->produce('keyless', [ '', $json->encode({ schema => envelope(\@fields),
		payload => { op => 'u', before => { id => 1, name => 'b' }, after => { id => 1, name => 'c' } } }) ]);
	caught_up($hub, 'keyless');
	sql_ok($hub, 'SELECT id, rtrim(name) FROM keyless.keyless ORDER BY name', "1|a\n1|c", 'also where values are converted');
	drop('keyless');
	return;
}

sub unknown_fields
{
	my @more = (\%id, \%name, { type => 'string', field => 'more', optional => JSON::PP::true });

	change('few', { id => 1 }, 'c', undef, { id => 1, name => 'a', more => 'x' }, \@more);
	follow('few', { columns => { id => 'bigint', name => 'varchar(5)' } });
	is(column_types($hub, 'few.few'), 'id bigint, name character varying(5)', 'only columns that are given');
	change('few', { id => 2 }, 'c', undef, { id => 2, name => 'b' }, [ \%id, \%name ]);
	caught_up($hub, 'few');
	sql_ok($hub, 'SELECT * FROM few.few ORDER BY id', "1|a\n2|b", 'their values');
	drop('few');

	change('closed', { id => 1 }, 'c', undef, { id => 1, name => 'a' }, [ \%id, \%name ]);
	follow('closed', { on_unknown_field => 'stop' });
	change('closed', { id => 2 }, 'c', undef, { id => 2, name => 'b', more => 'x' }, \@more);
	wait_for_state($hub, 'closed', 'failed');
	sql_ok($hub, q(SELECT last_error ~ 'field "more"' FROM tapdata.status WHERE name = 'closed'), 't', 'or the pipeline stops');
	drop('closed');
	return;
}

sub unavailable
{
	my $placeholder = '__debezium_unavailable_value';
	my @fields = (\%id, \%name, { type => 'string', name => 'io.debezium.data.Json', field => 'doc', optional => JSON::PP::true },
		{ type => 'bytes', field => 'raw', optional => JSON::PP::true });

	change('big', { id => 1 }, 'c', undef, { id => 1, name => 'long', doc => '{"a":1}', raw => 'AAE=' }, \@fields);
	change('big', { id => 1 }, 'u', undef, { id => 1, name => $placeholder, doc => '[2]', raw => 'X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==' }, \@fields);
	follow('big');
	sql_ok($hub, 'SELECT * FROM big.big', '1|long|[2]|\x0001', 'they stay');
	change('big', { id => 1 }, 'u', undef, { id => 1, name => 'short', doc => $placeholder, raw => undef }, \@fields);
	caught_up($hub, 'big');
	sql_ok($hub, 'SELECT * FROM big.big', '1|short|[2]|', 'and others change');
	drop('big');
	return;
}

sub operations
{
	my @fields = (\%id, \%name);

	change('ops', { id => 1 }, 'r', undef, { id => 1, name => 'a' }, \@fields);
	change('ops', { id => 1 }, 'r', undef, { id => 1, name => 'b' }, \@fields);
	$kafka->produce('ops', [ '{"id":1}', '{"op":"m","message":{"prefix":"p","content":"AA=="},"source":{}}' ]);
	follow('ops');
	sql_ok($hub, 'SELECT * FROM ops.ops', '1|b', 'a row that is read twice is one');
	change('ops', {}, 't', undef, undef, \@fields);
	change('ops', { id => 2 }, 'c', undef, { id => 2, name => 'c' }, \@fields);
	caught_up($hub, 'ops');
	sql_ok($hub, 'SELECT * FROM ops.ops', '2|c', 'a truncate');
	drop('ops');
	return;
}

sub unwrapped
{
	$kafka->produce('rows', [ '{"id":1}', '{"id":1,"name":"a","__deleted":"false"}' ], [ '{"id":2}', '{"id":2,"name":"b","__deleted":"false"}' ],
		[ '{"id":1}', '{"id":1,"name":"a","__deleted":"true"}' ], [ '{"id":3}', '{"name":"key in the key","__deleted":"false"}' ]);
	follow('rows');
	sql_ok($hub, 'SELECT id, name FROM rows.rows ORDER BY id', "2|b\n3|key in the key", 'rows');
	drop('rows');
	return;
}

sub append
{
	my @fields = (\%id, \%name);

	change('log', { id => 1 }, 'c', undef, { id => 1, name => 'a' }, \@fields);
	change('log', { id => 1 }, 'u', undef, { id => 1, name => 'b' }, \@fields);
	change('log', { id => 1 }, 'd', { id => 1, name => 'b' }, undef, \@fields);
	$kafka->produce('log', [ '{"id":1}', undef ]);
	follow('log', { mode => 'append', metadata => 'offset' });
	sql_ok($hub, 'SELECT id, name, _offset FROM log.log ORDER BY 3', "1|a|0\n1|b|1", 'every version of a row');
	drop('log');
	return;
}

sub blank
{
	$kafka->create_topic('blank');
	follow('blank');
	change('blank', { id => 1 }, 'c', undef, { id => 1, name => 'a' }, [ \%id, \%name ]);
	change('blank', { id => 1 }, 'u', undef, { id => 1, name => 'b' }, [ \%id, \%name ]);
	caught_up($hub, 'blank');
	sql_ok($hub, 'SELECT * FROM blank.blank', '1|b', 'the first message tells columns');
	is(key_of('blank.blank'), 'PRIMARY KEY (id)', 'and the key');
	drop('blank');
	return;
}

sub schema_topic
{
	$kafka->produce('ddl', [ '{}', '{"source":{"db":"shop"},"databaseName":"shop","ddl":"CREATE TABLE a (b int)","tableChanges":[]}' ]);
	follow('ddl');
	sql_ok($hub, 'SELECT count(*) FROM ddl.ddl', '0', 'they are no rows');
	sql_ok($hub, q(SELECT kind, message FROM tapdata.events WHERE pipeline = 'ddl' AND kind = 'schema changed'),
		'schema changed|CREATE TABLE a (b int)', 'but events');
	drop('ddl');
	return;
}

sub encoding
{
	my @fields = (\%id, { type => 'string', field => "gr\x{f6}\x{df}e", optional => JSON::PP::true });
	my $bytes = JSON::PP->new->canonical->utf8;

	$hub->safe_psql('postgres', q(CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'));
	$hub->safe_psql('latin', 'CREATE EXTENSION tapdata');
	foreach my $row ([ 1, "\x{e9}" ], [ 2, "\x{20ac}" ], [ 3, 'last' ])
	{
		$kafka->produce('latin', [ "{\"id\":$row->[0]}", $bytes->encode({ schema => envelope(\@fields),
			payload => { op => 'c', before => undef, after => { id => $row->[0], "gr\x{f6}\x{df}e" => $row->[1] } } }) ]);
	}
	pull($hub, $kafka, 'latin', tables => ['latin'], database => 'latin',
		options => '{"format": "debezium", "on_error": "dead_letter"}');
	caught_up($hub, 'latin', undef, 'latin');
	is($hub->safe_psql('latin', q(SET client_encoding = 'UTF8'; SELECT * FROM latin.latin ORDER BY id)),
		"1|\xc3\xa9\n3|last", 'what it can store');
	is($hub->safe_psql('latin', q(SET client_encoding = 'UTF8'; SELECT attname FROM pg_attribute
		WHERE attrelid = 'latin.latin'::regclass AND attnum = 2)), "gr\xc3\xb6\xc3\x9fe", 'names too');
	is($hub->safe_psql('latin', q(SELECT change->>'offset' FROM tapdata.dead_letters)), '1', 'or a dead letter');
	$hub->safe_psql('latin', q(SELECT tapdata.drop_pipeline('latin')));
	return;
}

sub malformed
{
	my @fields = (\%id, { type => 'int32', name => 'io.debezium.time.Date', field => 'day', optional => JSON::PP::true });

	change('bad', { id => 1 }, 'c', undef, { id => 1, day => 1 }, \@fields);
	change('bad', { id => 2 }, 'x', undef, { id => 2, day => 1 }, \@fields);
	change('bad', { id => 3 }, 'c', undef, undef, \@fields);
	change('bad', { id => 4 }, 'c', undef, { id => 'four', day => 1 }, \@fields);
	change('bad', { id => 5 }, 'c', undef, { id => 5, day => '9999999999999' }, \@fields);
	$kafka->produce('bad', [ '{"id":6}', '{"op":"c","after":{"id":' ], [ '{"id":7}', '[1]' ], [ '{"id":8}', "\xff" ],
		[ '{"id":9}', '{"op":"c","after":' . ('{"a":' x 500) . '1' . ('}' x 500) . '}' ], [ '{', undef ]);
	change('bad', { id => 10 }, 'c', undef, { id => 10, day => 1 }, \@fields);
	follow('bad', { on_error => 'dead_letter' });
	sql_ok($hub, 'SELECT id FROM bad.bad ORDER BY id', "1\n10", 'what can be read is');
	sql_ok($hub, q(SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'bad'), '9', 'the rest is kept');
	note $hub->safe_psql('postgres', q(SELECT error FROM tapdata.dead_letters WHERE pipeline = 'bad' ORDER BY 1));
	drop('bad');
	return;
}
