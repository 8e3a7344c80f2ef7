# What sources of JSON and CSV share: columns given and found, values converted, bad ones named.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "DateStyle = 'SQL, DMY'\nTimeZone = 'America/New_York'\nIntervalStyle = sql_standard\n");

$hub->safe_psql('postgres', <<'SQL');
CREATE FUNCTION records_read_json(text, text) RETURNS text[] LANGUAGE c AS 'test_records';
CREATE FUNCTION records_read_fields(text, text[]) RETURNS text[] LANGUAGE c AS 'test_records';
CREATE FUNCTION records_columns(text) RETURNS text LANGUAGE c AS 'test_records';
CREATE FUNCTION records_infer_json(text[], text) RETURNS text LANGUAGE c AS 'test_records';
CREATE FUNCTION records_infer_fields(text[], text[]) RETURNS text LANGUAGE c AS 'test_records';
CREATE FUNCTION records_fuzz(text, text, int, bigint) RETURNS int LANGUAGE c AS 'test_records';
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'ok');
SQL

foreach my $test (
	['types found in JSON' => \&infer_json],
	['types found in CSV' => \&infer_fields],
	['names of columns' => \&names],
	['columns given' => \&given],
	['values are what input functions make of them' => \&values],
	['values of JSON' => \&json_values],
	['errors name the field' => \&errors],
	['text that is changed at random' => \&random_text])
{
	my ($topic, $check) = @$test;
	subtest $topic => $check;
}
done_testing();

sub quote
{
	my ($text) = @_;

	return defined $text ? q(') . $text =~ s/'/''/gr . q(') : 'NULL';
}

sub array { return 'ARRAY[' . join(',', map { quote($_) } @_) . ']::text[]'; }

sub sql { return $hub->safe_psql('postgres', "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'America/New_York'; $_[0]"); }

# Of one field: its values as they stand in JSON, and the type that is found.
sub infer_json
{
	my @cases = (
		[ 'bigint', '1', '-999999999999999999', 'null' ], [ 'numeric', '1', '9223372036854775808' ],
		[ 'numeric', '1', '1.0' ], [ 'numeric', '1e3' ], [ 'text', '1e99999' ], [ 'text', '1' x 1001 ],
		[ 'boolean', 'true', 'null', 'false' ], [ 'text', 'true', '1' ], [ 'text', '1', '"1"' ], [ 'text', 'null' ],
		[ 'date', '"2024-02-29"' ], [ 'text', '"2023-02-29"' ], [ 'text', '"29.02.2024"' ],
		[ 'timestamp without time zone', '"2024-02-29T12:00:00"', '"2024-02-29 12:00:00.123456"' ],
		[ 'timestamp with time zone', '"2024-02-29T12:00:00Z"', '"2024-02-29T12:00:00+02:00"' ],
		[ 'text', '"2024-02-29T12:00:00Z"', '"2024-02-29T12:00:00"' ], [ 'text', '"2024-02-29T12:00:00.1234567Z"' ],
		[ 'text', '"2024-02-29T24:00:00Z"' ], [ 'text', '"2024-02-29"', '""' ],
		[ 'uuid', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"' ], [ 'text', '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"' ],
		[ 'jsonb', '[1]', '"x"' ], [ 'jsonb', '{}', '1' ], [ 'text', '"a"' ]);

	foreach my $case (@cases)
	{
		my ($type, @values) = @$case;

		is(sql('SELECT records_infer_json(' . array(map { "{\"f\": $_}" } @values) . ", '')"), "{\"f\": \"$type\"}",
			substr "$type: " . join(' ', @values), 0, 60);
	}
	return;
}

sub infer_fields
{
	my @cases = (
		[ 'bigint', '1', '-5', undef ], [ 'text', '007' ], [ 'text', '+1' ], [ 'text', '-0' ], [ 'numeric', '1.50', '2' ],
		[ 'text', '1.' ], [ 'text', '.5' ], [ 'numeric', '1e3' ], [ 'text', '1,5' ], [ 'text', ' 1' ], [ 'boolean', 'true', 'false' ],
		[ 'text', 'TRUE' ], [ 'text', '' ], [ 'text', undef ], [ 'date', '2024-02-29' ], [ 'text', 'NaN' ], [ 'text', '12345678901234567890a' ]);

	foreach my $case (@cases)
	{
		my ($type, @values) = @$case;

		is(sql("SELECT records_infer_fields(ARRAY['f'], " . array(@values) . ')'), "{\"f\": \"$type\"}",
			"$type: " . join ' ', map { defined $_ ? $_ : 'NULL' } @values);
	}
	return;
}

sub names
{
	my $long = 'x' x 70;

	is(sql("SELECT records_infer_json(ARRAY['{\"\": 1, \"ctid\": 2, \"${long}a\": 3, \"${long}b\": 4, \"\\u00e4\\\"\": 5}'], '')"),
		'{"column": {"type": "bigint", "field": ""}, "ctid_1": {"type": "bigint", "field": "ctid"}, '
		. '"' . 'x' x 63 . "\": {\"type\": \"bigint\", \"field\": \"${long}a\"}, "
		. '"' . 'x' x 61 . "_1\": {\"type\": \"bigint\", \"field\": \"${long}b\"}, \"\xc3\xa4\\\"\": \"bigint\"}",
		'names are made such as a column can have');
	is(sql(q(SELECT records_infer_json(ARRAY['{"a": 1, "b": "x", "c": 2}'], '{"id": {"type": "int", "field": "c"}}'))),
		'{"id": {"type": "integer", "field": "c"}, "a": "bigint", "b": "text"}', 'those that are given come first');
	is_error('SELECT records_infer_json(ARRAY[(SELECT json_object_agg(g::text, 1) FROM generate_series(1, 1601) g)::text], $$$$)',
		qr/more than 1600 fields/, 'more than a table can have');
	return;
}

sub is_error
{
	my ($query, $expected, $name) = @_;
	my ($code, $out, $err) = $hub->psql('postgres', $query);

	ok($code != 0, "$name is an error");
	return like($err, $expected, $name);
}

sub given
{
	my $columns = '{"id": "bigint", "n": {"type": "numeric(10,2)", "field": "N"}, "m": "public.mood", '
	  . '"d": {"type": "date", "field": "d", "form": "days", "scale": 0}, "t": "text[]"}';

	is(sql('SELECT records_columns(' . quote($columns) . ')'), $columns, 'they are printed as they were given');
	foreach my $bad ('[]', '{}', '{"a"}', '{"a": 1}', '{"a": {"field": "x"}}', '{"a": "int", "a": "int"}', '{"": "int"}',
		'{"a": {"type": "int", "more": "x"}}', '{"a": {"type": "int", "form": "x"}}', '{"a": "int"} x')
	{
		is_error('SELECT records_columns(' . quote($bad) . ')', qr/option "columns" is not valid/, $bad);
	}
	is_error(q(SELECT records_columns('{"a": "no_such_type"}')), qr/type "no_such_type" does not exist/, 'a type that is not there');
	is_error(q(SELECT records_columns('{"a": "record"}')), qr/pseudo-type/, 'a type of no value');
	return;
}

# The fast ways against the input functions, which know DateStyle and TimeZone as this reader must not.
sub values
{
	my %texts = (
		int2 => [ '0', '-32768', '32767', '+1', ' 7 ', '007' ], int4 => [ '2147483647', '-2147483648', '1' ],
		int8 => [ '9223372036854775807', '-9223372036854775808', '123456789012345678' ],
		numeric => [ '0', '-0.00', '1.50', '123456789012345678', '0.000000000000000001', '1234567890.12345678', '1e5', 'NaN', '-1.', '.5', '00012.30',
			'12345678901234567890.123456789' ],
		'numeric(6,2)' => [ '1.005', '-9999.99', '7' ], float8 => [ '0.1', '-1e300', 'NaN', 'infinity' ], float4 => [ '0.1' ],
		bool => [ 't', 'false', '1', '0', 'yes', 'TRUE' ], text => [ '', 'a b ' ], 'varchar(3)' => [ 'abc' ], 'char(4)' => [ 'a' ],
		uuid => [ 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc999c0b4ef8bb6d6bb9bd380a11' ],
		date => [ '2024-02-29', '0001-01-01', '9999-12-31', 'infinity', '0044-03-15 BC', '20240229' ],
		timestamp => [ '2024-02-29T12:34:56.789', '2024-02-29 12:34:56', '2024-02-29', '2024-02-29T12:34:56+05:00', '2024-02-29T12:34:56.1234567' ],
		'timestamp(0)' => [ '2024-02-29T12:34:56.789' ],
		timestamptz => [ '2024-02-29T12:34:56.789Z', '2024-02-29 12:34:56+05:30', '2024-02-29T12:34:56-0800', '2024-02-29T12:34:56+02',
			'2024-06-30T12:00:00', '2024-06-30', '2024-06-30 12:00:00 Europe/Berlin', '-infinity' ],
		time => [ '12:34:56.5', '24:00:00' ], interval => [ '1 day 2 hours', 'P1Y2M' ], bytea => [ '\x00ff', 'a\\\\b' ],
		jsonb => [ '{"a": [1]}', 'null' ], 'int[]' => [ '{1,NULL}' ], mood => [ 'ok' ], positive => [ '5' ], inet => [ '10.0.0.1/8' ]);

	foreach my $type (sort keys %texts)
	{
		foreach my $text (@{ $texts{$type} })
		{
			my $got = sql("SET IntervalStyle = postgres; SET DateStyle = 'ISO, YMD'; SELECT (records_read_fields('{\"f\": \"$type\"}', " . array($text) . '))[1]');
			my $expected = sql("SET IntervalStyle = postgres; SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SELECT " . quote($text) . "::$type AS v");

			$expected =~ s/^(.*)$/$1/;
			$got = sql("SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SELECT " . quote($got) . "::$type") if $type eq 'timestamptz';
			$expected = $expected eq 't' ? 'true' : 'false', $got = $got eq 't' ? 'true' : 'false' if $type eq 'bool';
			is($got, $expected, "$type $text");
		}
	}
	is(sql("SET DateStyle = 'SQL, DMY'; SELECT (records_read_fields('{\"f\": \"date\"}', ARRAY['2024-03-04 00:00']))[1]"), '04/03/2024',
		'a date is read by ISO 8601 whatever is set');
	return;
}

sub json_values
{
	my @cases = (
		[ 'text', '"a\u00e4\n\ud83d\ude00"', "{\"a\xc3\xa4\n\xf0\x9f\x98\x80\"}" ], [ 'text', '12.50', '{12.50}' ], [ 'text', '{"a": 1}', '{"{\\"a\\": 1}"}' ],
		[ 'text', 'true', '{true}' ], [ 'int', '"7"', '{7}' ], [ 'jsonb', '"x"', '{"\\"x\\""}' ], [ 'jsonb', 'null', '{NULL}' ],
		[ 'int[]', '[1, null, 3]', '{"{1,NULL,3}"}' ], [ 'int[]', '[[1,2],[3,4]]', '{"{{1,2},{3,4}}"}' ], [ 'text[]', '[]', '{"{}"}' ],
		[ 'jsonb[]', '[{"a": 1}, [2]]', '{"{\\"{\\\\\\"a\\\\\\": 1}\\",[2]}"}' ], [ 'text', '"a", "f": "b"', '{b}' ], [ 'text', '1, "other": {"deep": [1]}', '{1,",other"}' ]);

	foreach my $case (@cases)
	{
		my ($type, $value, $expected) = @$case;

		is(sql("SELECT records_read_json('{\"f\": \"$type\"}', " . quote("{\"f\": $value}") . ')'), $expected, "$type of $value");
	}
	return;
}

sub errors
{
	my @cases = (
		[ 'int', '"x"', qr/field "f": invalid input syntax for type integer: "x"/ ], [ 'int', '99999999999', qr/field "f": .*out of range/ ],
		[ 'varchar(2)', '"abc"', qr/field "f": value too long/ ], [ 'date', '"2023-02-30"', qr/field "f": date\/time field value out of range/ ],
		[ 'positive', '-1', qr/field "f": value for domain positive violates/ ], [ 'mood', '"glad"', qr/field "f": invalid input value for enum/ ],
		[ 'text', '"a\u0000b"', qr/field "f": .*zero character/ ], [ 'text', '"\ud83d"', qr/surrogate/ ], [ 'int[]', '[1,[2]]', qr/field "f": a JSON array does not make an array/ ],
		[ 'text[]', '["a", []]', qr/field "f": a JSON array does not make an array/ ], [ 'int[]', '[[1],[[]]]', qr/field "f": a JSON array does not make an array/ ],
		[ 'int', '1', qr/no JSON object/, '[1]' ], [ 'int', '1', qr/something follows/, '{"f": 1} 2' ], [ 'int', '1', qr/nested too deeply/, '{"f":' x 200 ],
		[ 'int', '1', qr/no JSON object: it ends/, '{"f":' ], [ 'numeric', '1e200000', qr/field "f"/ ]);

	foreach my $case (@cases)
	{
		my ($type, $value, $expected, $object) = @$case;
		my ($code, $out, $err) = $hub->psql('postgres', "\\set VERBOSITY verbose\nSELECT records_read_json('{\"f\": \"$type\"}', "
			. quote($object || "{\"f\": $value}") . ')');

		like($err, $expected, "$type of " . ($object ? substr $object, 0, 20 : $value));
		like($err, qr/ERROR:  2[23]/, 'is an error of data');
	}
	return;
}

sub random_text
{
	my $columns = '{"id": "bigint", "n": "numeric(12,2)", "t": "text", "d": "date", "at": "timestamptz", "u": "uuid", "j": "jsonb", "a": "int[]", "b": "boolean", "f": "float8"}';
	my $object = '{"id": 12, "n": 12.50, "t": "x\u00e4\ud83d\ude00", "d": "2024-02-29", "at": "2024-02-29T12:34:56.789Z", '
	  . '"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": {"a": [1, null, {"b": "c"}]}, "a": [1, 2], "b": true, "f": 1e5}';
	my $read = sql('SELECT records_fuzz(' . quote($columns) . ', ' . quote($object) . ', 100000, 1)');

	ok($read > 0 && $read < 100000, "$read of 100000 are rows, all others errors of data");
	return;
}
