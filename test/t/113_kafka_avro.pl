# The format "avro" with a schema registry: values are read by Kafka's console consumer
# with the registry's own deserializer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Kafka;
use Tapdata::SchemaRegistry;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::SchemaRegistry->require;

my $kafka = Tapdata::Kafka->start;
my $registry = Tapdata::SchemaRegistry->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");
my %avro = (format => 'avro', schema_registry => $registry->url);

$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int PRIMARY KEY, customer text NOT NULL, note text, count bigint, paid bool,
	f4 float4, f8 float8, blob bytea, u uuid, tags text[], price numeric(10, 2), at timestamptz, day date);
INSERT INTO shop.orders VALUES (1, 'Änn', NULL, 9007199254740993, true, 1.5, -2.25e100, '\x0001ff',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{a,NULL}', 12.50,
	'2024-02-29 12:34:56.789012+00', '2024-02-29');
SQL

foreach my $test (
	['rows' => \&rows],
	['wire format' => \&wire_format],
	['a new column is a new version of the schema' => \&evolution],
	['a schema that the registry refuses' => \&refused],
	['a delete' => \&tombstone],
	["Debezium's envelope in Avro" => \&envelope],
	['someone else answers for the registry' => \&no_registry],
	['the registry is down' => \&registry_down])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

sub rows
{
	publish($hub, $kafka, 'out', ['shop.orders'], { %avro, topic => 'out' });
	caught_up($hub, 'out');
	$hub->safe_psql('postgres', q(INSERT INTO shop.orders (id, customer) VALUES (2, 'Bob');
		UPDATE shop.orders SET note = 'x' WHERE id = 2));
	caught_up($hub, 'out');
	my @records = $kafka->avro_records($registry, 'out', 3);
	is(@records, 3, 'all records');
	is_deeply($records[0][0], { id => 1 }, 'a key');
	my $row = $records[0][1];
	is($row->{customer}, "\x{c4}nn", 'text');
	is($row->{note}, undef, 'null');
	is($row->{count}, '9007199254740993', 'bigint');
	is($row->{paid}, 'true', 'bool');
	is($row->{f4}, 1.5, 'real');
	cmp_ok($row->{f8}, '==', -2.25e100, 'double precision');
	is($row->{blob}, "\x00\x01\xff", 'bytea');
	is($row->{u}, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'uuid');
	is_deeply($row->{tags}, [ 'a', undef ], 'an array');
	is(unpack('n', $row->{price}), 1250, 'a decimal');
	is($row->{at}, '2024-02-29T12:34:56.789012Z', 'timestamptz');
	is($row->{day}, 19782, 'a date');
	is($records[2][1]{note}, 'x', 'an update');
	return;
}

sub wire_format
{
	my ($record) = $kafka->settled_records('out');
	my ($magic, $id) = unpack 'CN', $record->{value};

	is($magic, 0, 'the magic byte');
	is($id, $registry->request(GET => '/subjects/out-value/versions/latest')->{id}, "the schema's id");
	($magic, $id) = unpack 'CN', $record->{key};
	is($id, $registry->request(GET => '/subjects/out-key/versions/latest')->{id}, '... of the key too');
	my $schema = $registry->schema('out-value');
	is($schema->{type}, 'record', 'a record');
	my %type = map { $_->{name} => $_->{type} } @{ $schema->{fields} };
	is($type{id}, 'int', 'a column that is never null');
	is_deeply($type{note}, [ 'null', 'string' ], 'and one that may be');
	is(join(',', map { $_->{logicalType}, $_->{precision}, $_->{scale} } $type{price}[1]), 'decimal,10,2', 'a decimal');
	return;
}

sub evolution
{
	$hub->safe_psql('postgres', q(ALTER TABLE shop.orders ADD COLUMN added int;
		INSERT INTO shop.orders (id, customer, added) VALUES (3, 'Eve', 7)));
	caught_up($hub, 'out');
	is_deeply($registry->request(GET => '/subjects/out-value/versions'), [ 1, 2 ], 'two versions');
	my @records = $kafka->avro_records($registry, 'out', 4);
	ok(!exists $records[0][1]{added}, 'records of the old one can be read');
	is($records[3][1]{added}, 7, 'and those of the new one');
	return;
}

sub refused
{
	$registry->request(PUT => '/config/out-value', { compatibility => 'FULL' });
	$hub->safe_psql('postgres', q(ALTER TABLE shop.orders ADD COLUMN must int NOT NULL DEFAULT 1;
		INSERT INTO shop.orders (id, customer) VALUES (4, 'Fay')));
	my $error = error_becomes($hub, 'out', qr/out-value/, 'the error names the subject');
	like($error, qr/compatib/i, '... and has what the registry said');
	$registry->request(PUT => '/config/out-value', { compatibility => 'NONE' });
	$hub->safe_psql('postgres', "SELECT tapdata.start('out')");
	caught_up($hub, 'out');
	is(($kafka->avro_records($registry, 'out', 5))[4][1]{must}, 1, 'allowed, it goes on');
	return;
}

# The console consumer cannot show what has no value.
sub tombstone
{
	$hub->safe_psql('postgres', 'DELETE FROM shop.orders WHERE id = 2');
	caught_up($hub, 'out');
	my ($second, $last) = ($kafka->settled_records('out'))[ 1, -1 ];
	is($last->{key}, $second->{key}, 'the key');
	is($last->{value}, undef, 'and no value');
	return;
}

sub envelope
{
	publish($hub, $kafka, 'wrapped', ['shop.orders'], { %avro, format => 'debezium_avro', topic => 'wrapped' });
	caught_up($hub, 'wrapped');
	$hub->safe_psql('postgres', q(UPDATE shop.orders SET note = 'y' WHERE id = 3));
	caught_up($hub, 'wrapped');
	my $count = $kafka->settled_records('wrapped');
	my @values = map { $_->[1] } $kafka->avro_records($registry, 'wrapped', $count);
	my ($copied) = grep { $_->{after}{id} == 1 } @values;
	is($copied->{op}, 'r', 'a row of the copy');
	is($copied->{after}{customer}, "\x{c4}nn", 'its values');
	is($values[-1]{op}, 'u', 'an update');
	is($values[-1]{after}{note}, 'y', 'its values');
	is($values[-1]{source}{table}, 'orders', 'the source');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('wrapped')");
	return;
}

sub no_registry
{
	my $proxy = Tapdata::Http->start(name => 'proxy', arguments => ['webhook']);

	$proxy->faults({ status => 200, body => "<html>\n" . '<p>Sign in</p>' x 1000, times => 1_000_000 });
	publish($hub, $kafka, 'proxied', ['shop.orders'], { %avro, schema_registry => $proxy->url, topic => 'proxied', on_error => 'dead_letter' });
	wait_for_state($hub, 'proxied', 'retrying');
	my $error = error_becomes($hub, 'proxied', qr/gave no id for subject.*<html> <p>Sign in.*schema_registry/s, 'a page is no schema id');
	cmp_ok(length $error, '<', 1000, 'and is not shown as a whole');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('proxied')");
	$proxy->stop;
	return;
}

sub registry_down
{
	$registry->kill9;
	$hub->safe_psql('postgres', q(INSERT INTO shop.orders (id, customer) VALUES (5, 'Gil')));
	caught_up($hub, 'out');
	is(scalar $kafka->settled_records('out'), 8, 'schemas that are known need no registry');

	$hub->safe_psql('postgres', "SELECT tapdata.stop('out')");
	wait_for_state($hub, 'out', 'stopped');
	$hub->safe_psql('postgres', "SELECT tapdata.start('out')");
	$hub->safe_psql('postgres', q(INSERT INTO shop.orders (id, customer) VALUES (6, 'Hal')));
	wait_for_state($hub, 'out', 'retrying');
	error_becomes($hub, 'out',
		qr/127\.0\.0\.1|registry/i, 'the error names the registry');
	$registry->restart;
	caught_up($hub, 'out');
	is(scalar $kafka->settled_records('out'), 9, 'it goes on when the registry is back');
	return;
}
