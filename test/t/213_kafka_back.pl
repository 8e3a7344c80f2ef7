# What the sink writes the source reads: a table goes to Kafka in each format and comes
# back as another one, with the same rows, while it changes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::SchemaRegistry;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::SchemaRegistry->require;

my $kafka = Tapdata::Kafka->start;
my $registry = Tapdata::SchemaRegistry->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");

$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE shop.types (id bigint PRIMARY KEY,
	b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8,
	n numeric, n10_2 numeric(10, 2), n5 numeric(5, 0), n30 numeric(30, 10),
	c char(4), vc varchar(20), t text, by bytea,
	d date, ts timestamp, ts3 timestamp(3), tz timestamptz,
	ti time, ti3 time(3), tiz timetz, iv interval,
	u uuid, j json, jb jsonb, m shop.mood,
	ia int[], ta text[], na numeric(6, 2)[], da date[], ba bool[],
	ip inet, bi5 bit(5), pt point, big text);
ALTER TABLE shop.types ALTER big SET STORAGE EXTERNAL;
INSERT INTO shop.types VALUES (1,
	true, -1, 2, 9223372036854775807, 1.5, 2.25,
	123.456, 12345678.91, 12345, -12345678901234567890.0123456789,
	'ab', 'vc', 'tä "quoted" \ €𝄞', '\x00ff',
	'2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012+02',
	'12:34:56.789012', '12:34:56.789', '12:34:56.789012+02', '3 days 04:05:06.789',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, null, "x"]}', '{"b": "ä"}', 'happy',
	'{1,NULL,3}', '{a,"b c",NULL,"d,e"}', '{1.50,2}', '{2024-02-29}', '{t,f}',
	'10.0.0.1/24', B'00101', '(1.5,2)', repeat('long', 3000));
INSERT INTO shop.types (id) VALUES (2);
INSERT INTO shop.types (id, d, ts, tz, n, f8, i8, ia) VALUES (3, '0044-03-15 BC', '1969-12-31 23:59:59.999999',
	'1900-01-01 00:00:00+00', 1e20, 'NaN', -9223372036854775808, '{}');
INSERT INTO shop.types (id, n10_2) SELECT g, -0.01 * g FROM generate_series(10, 200) g;
SQL

my @columns = split /\n/, $hub->safe_psql('postgres', q(SELECT attname FROM pg_attribute
	WHERE attrelid = 'shop.types'::regclass AND attnum > 0 ORDER BY attnum));

# What Debezium's types do not tell: padding, the zone of a time of day, days of an interval.
my %compared = map { $_ => "a.$_\::text IS DISTINCT FROM b.$_\::text" } @columns;
$compared{c} = 'a.c IS DISTINCT FROM b.c::bpchar';
$compared{$_} = "extract(epoch FROM a.$_) IS DISTINCT FROM extract(epoch FROM b.$_)" foreach qw(tiz iv);

# Without a schema the columns that JSON has no types for are given.
my $given = '"columns": {"id": "bigint", "n": {"type": "numeric", "form": "scaled_decimal"},
	"n10_2": {"type": "numeric(10,2)", "form": "decimal", "scale": 2}, "n5": {"type": "numeric", "form": "decimal"},
	"n30": {"type": "numeric", "form": "decimal", "scale": 10}, "by": {"type": "bytea", "form": "base64"},
	"d": {"type": "date", "form": "days"}, "ts": {"type": "timestamp", "form": "microseconds"},
	"ts3": {"type": "timestamp", "form": "milliseconds"}, "ti": {"type": "time", "form": "microseconds"},
	"ti3": {"type": "time", "form": "milliseconds"}, "iv": {"type": "interval", "form": "interval_microseconds"},
	"tiz": "timetz", "ia": "int[]", "ta": "text[]", "na": {"type": "numeric[]", "form": "decimal", "scale": 2},
	"da": {"type": "date[]", "form": "days"}, "ba": "bool[]", "bi5": {"type": "bit(5)", "form": "bits"},
	"pt": {"type": "point", "form": "point"}}, "on_unknown_field": "add_column"';

foreach my $test (
	['debezium' => { format => 'debezium' }, 'debezium'],
	['payload' => { format => 'debezium', schemas_enable => 'false' }, 'debezium'],
	['envelope' => { format => 'debezium_avro', schema_registry => $registry->url }, 'debezium'],
	['avro' => { format => 'avro', schema_registry => $registry->url }, 'avro'])
{
	my ($name, $options, $format) = @$test;
	subtest $name => sub { there_and_back($name, $options, $format); };
}
done_testing();

# The columns whose text differs in any row, and rows that only one table has.
sub differences
{
	my ($back) = @_;
	my $lists = join ', ', map { "count(*) FILTER (WHERE $compared{$_}) AS $_" } @columns;

	return $hub->safe_psql('postgres', qq(
		SELECT string_agg(key || ' ' || value, ', ') FROM (
			SELECT count(*) FILTER (WHERE a.id IS NULL OR b.id IS NULL) AS rows, $lists
			FROM shop.types a FULL JOIN $back b ON a.id = b.id) counted, jsonb_each_text(to_jsonb(counted))
		WHERE value <> '0'));
}

sub there_and_back
{
	my ($name, $options, $format) = @_;
	my $topic = "$name-types";
	my $table = qq("back_$name"."$topic");
	my $pull_options = qq({"format": "$format", "schema_registry": ") . $registry->url . '"' .
	  ($name eq 'payload' ? ", $given}" : '}');

	publish($hub, $kafka, $name, ['shop.types'], { %$options, topic => $topic });
	caught_up($hub, $name);
	$kafka->settle($topic);
	pull($hub, $kafka, "back_$name", tables => [$topic], options => $pull_options);
	caught_up($hub, "back_$name");
	is(differences($table), '', 'what was there comes back');
	note $hub->safe_psql('postgres', qq(SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = '$table'::regclass AND attnum > 0));

	$hub->safe_psql('postgres', q(
		UPDATE shop.types SET t = 'updated', n10_2 = n10_2 + 1 WHERE id % 2 = 0 OR id = 1;
		DELETE FROM shop.types WHERE id BETWEEN 50 AND 60;
		UPDATE shop.types SET id = id + 1000 WHERE id BETWEEN 100 AND 110;
		INSERT INTO shop.types (id, t) VALUES (5000, 'new');));
	caught_up($hub, $name);
	$kafka->settle($topic);
	caught_up($hub, "back_$name");
	is(differences($table), '', 'changes too');
	$hub->safe_psql('postgres', qq(SELECT tapdata.drop_pipeline('back_$name'); SELECT tapdata.drop_pipeline('$name');
		DELETE FROM shop.types WHERE id = 5000; UPDATE shop.types SET id = id - 1000 WHERE id > 1000;));
	return;
}
