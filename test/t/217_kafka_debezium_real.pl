# Debezium itself writes the topics: its connector for PostgreSQL reads tables of the hub,
# which come back from Kafka as other tables with the same rows, while they change.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::KafkaConnect;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::KafkaConnect->require;

my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "listen_addresses = '127.0.0.1'\n");
my $user = getpwuid $<;

$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE shop.two_keys (a int, b text, v text, PRIMARY KEY (b, a));
CREATE TABLE shop.types (id bigint PRIMARY KEY,
	b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8,
	n numeric, n10_2 numeric(10, 2), t text, by bytea,
	d date, ts timestamp, ts3 timestamp(3), tz timestamptz, ti time, ti3 time(3),
	u uuid, jb jsonb, x xml, m shop.mood, ia int[], ta text[],
	ip inet, bi5 bit(5), pt point, big text);
ALTER TABLE shop.types ALTER big SET STORAGE EXTERNAL;
INSERT INTO shop.two_keys VALUES (1, 'x', 'v'), (2, 'y', NULL);
INSERT INTO shop.types VALUES (1,
	true, -1, 2, 9223372036854775807, 1.5, 2.25,
	123.456, 12345678.91, 'tä "quoted" \ €𝄞', '\x00ff',
	'2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012+02',
	'12:34:56.789012', '12:34:56.789',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b": "ä"}', '<a>b</a>', 'happy', '{1,NULL,3}', '{a,"b c",NULL}',
	'10.0.0.1/24', B'00101', '(1.5,2)', repeat('long', 3000));
INSERT INTO shop.types (id) VALUES (2);
SQL

my $connect = Tapdata::KafkaConnect->start_with($kafka, {
	name => 'ref',
	'connector.class' => 'io.debezium.connector.postgresql.PostgresConnector',
	'database.hostname' => '127.0.0.1',
	'database.port' => $hub->port,
	'database.user' => $user,
	'database.password' => 'none',
	'database.dbname' => 'postgres',
	'topic.prefix' => 'ref',
	'plugin.name' => 'pgoutput',
	'slot.name' => 'debezium_ref',
	'publication.name' => 'debezium_ref',
	'schema.include.list' => 'shop'
});

$kafka->wait_for_records("ref.shop.$_", 2) foreach qw(types two_keys);
pull($hub, $kafka, 'back', tables => ['ref.shop.*'], options => '{"format": "debezium", "refresh_ms": 500}');
is_same('what was there');

$hub->safe_psql('postgres', <<'SQL');
UPDATE shop.types SET t = 'updated', i4 = 5 WHERE id = 1;
INSERT INTO shop.types (id, n, d, ts, tz, i8) VALUES (3, -0.001, '0044-03-15', '1500-01-01', '9999-12-31 23:59:59+00', -1);
UPDATE shop.types SET id = 20 WHERE id = 2;
INSERT INTO shop.two_keys SELECT g, 'many', g::text FROM generate_series(1, 500) g;
UPDATE shop.two_keys SET v = 'w' WHERE a = 1;
DELETE FROM shop.two_keys WHERE a % 7 = 0;
SQL
is_same('changes');

$hub->safe_psql('postgres', <<'SQL');
ALTER TABLE shop.two_keys ADD price numeric(6, 2);
ALTER TABLE shop.two_keys ALTER a TYPE bigint;
INSERT INTO shop.two_keys VALUES (5000000000, 'new', 'v', 12.50);
UPDATE shop.two_keys SET price = a WHERE a < 10;
SQL
is_same('changes of a table', 'two_keys');
is($hub->safe_psql('postgres', q(SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'back."ref.shop.two_keys"'::regclass AND attnum > 0)),
	'a bigint, b text, v text, price numeric(6,2)', 'with their types');
is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.dead_letters)), '0', 'nothing was put aside');
done_testing();

# Every row of one is a row of the other, by the text of its columns.
sub is_same
{
	my ($name, @tables) = @_;

	foreach my $table (@tables ? @tables : qw(types two_keys))
	{
		my $columns = $hub->safe_psql('postgres', qq(SELECT string_agg(quote_ident(attname) || '::text', ', ') FROM pg_attribute
			WHERE attrelid = 'shop.$table'::regclass AND attnum > 0 AND NOT attisdropped));

		ok(wait_for_sql($hub, qq(SELECT count(*) FROM (
			(SELECT $columns FROM shop.$table EXCEPT ALL SELECT $columns FROM back."ref.shop.$table") UNION ALL
			(SELECT $columns FROM back."ref.shop.$table" EXCEPT ALL SELECT $columns FROM shop.$table)) d), '0'), "$name: $table");
	}
	return;
}
