
# PostgreSQL as a target: the first copy, every kind of change, whatever the
# batches they come in; at the end the target is what the hub is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');
my $target = new_target('target');

connect_target($hub, $target, 'copy');

# ---------------------------------------------------------------------
# The first copy and each kind of change
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.plain (id bigint PRIMARY KEY, a int, b text, c jsonb, d int[]);
	CREATE TABLE s.two_keys (k1 text, k2 uuid, k3 date, v text, PRIMARY KEY (k3, k1, k2));
	CREATE TABLE s.only_key (a int, b int, PRIMARY KEY (a, b));
	CREATE TABLE s.unique_too (id int PRIMARY KEY, email text UNIQUE, n int);
	CREATE TABLE s.scaled (id numeric PRIMARY KEY, v text);
	CREATE TABLE s.no_key (a int, b text, p point, j json, f float8);
	ALTER TABLE s.no_key REPLICA IDENTITY FULL;
	CREATE TABLE s.full_row (id int PRIMARY KEY, big text, small int);
	ALTER TABLE s.full_row REPLICA IDENTITY FULL;
	CREATE TABLE s.wide (id int PRIMARY KEY, big text, small int, other text);
	ALTER TABLE s.wide ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE s.parted (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE s.parted_a PARTITION OF s.parted FOR VALUES IN ('a');
	CREATE TABLE s.parted_b PARTITION OF s.parted FOR VALUES IN ('b');
	CREATE TABLE s."Odd ""name" ("Key" int PRIMARY KEY, "select" text, "a\b" text);
	INSERT INTO s.plain SELECT i, i, 'name ' || i, jsonb_build_object('i', i), ARRAY[i, NULL] FROM generate_series(1, 5000) i;
	INSERT INTO s.two_keys SELECT 'k' || i, gen_random_uuid(), '2024-01-01'::date + i, E'a\tb\\\\c\nd\re' FROM generate_series(1, 100) i;
	INSERT INTO s.no_key SELECT i / 2, 'x', point(i, 1), '{"b": 1,  "a": 2}', 1.1 FROM generate_series(1, 20) i;
	INSERT INTO s.no_key SELECT NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 3);
	INSERT INTO s.parted SELECT i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, 'v' FROM generate_series(1, 50) i;
	INSERT INTO s.wide SELECT i, repeat(md5(i::text), 500), i, 'other' FROM generate_series(1, 20) i;
	INSERT INTO s."Odd ""name" VALUES (1, 'first', '\\');
));
my @tables = (
	's.plain', 's.two_keys', 's.only_key', 's.unique_too', 's.scaled', 's.no_key',
	's.full_row', 's.wide', 's.parted', 's."Odd ""name"');

# s.parted_a is a part of the root
publish($hub, 'p', 'copy', ['s.*']);
delivered($hub, 'p');
same_as_hub($hub, $target, $_, name => "copy of $_") for @tables;
is($target->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname LIKE 'parted%' AND relkind IN ('r', 'p')"),
	1, 'a partitioned table is published as its root');
is($target->safe_psql('postgres',
		"SELECT string_agg(attname, ',' ORDER BY array_position(indkey::int2[], attnum)) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) WHERE indrelid = 's.two_keys'::regclass AND indisprimary"),
	'k3,k1,k2', 'the key keeps the order of its columns');

$hub->safe_psql('postgres', q(
	INSERT INTO s.plain VALUES (10001, 1, 'one', '{}', '{}'), (10002, NULL, NULL, NULL, NULL);
	UPDATE s.plain SET a = a + 1, c = NULL WHERE id < 100;
	DELETE FROM s.plain WHERE id BETWEEN 200 AND 300;
	UPDATE s.plain SET id = id + 100000 WHERE id BETWEEN 400 AND 450;
	UPDATE s.plain SET d = '{{1,2},{3,4}}' WHERE id = 500;
	UPDATE s.two_keys SET v = 'changed' WHERE k1 < 'k5';
	UPDATE s.two_keys SET k1 = 'new' || k1 WHERE k1 > 'k9';
	DELETE FROM s.two_keys WHERE k1 = 'k10';
	INSERT INTO s.only_key VALUES (1, 1), (1, 2), (2, 1);
	UPDATE s.only_key SET b = 3 WHERE b = 2;
	DELETE FROM s.only_key WHERE a = 2;
	INSERT INTO s.full_row VALUES (1, 'big', 1), (2, 'big', 2), (3, 'big', 3);
	UPDATE s.full_row SET small = 5 WHERE id = 1;
	UPDATE s.full_row SET id = 20 WHERE id = 2;
	DELETE FROM s.full_row WHERE id = 3;
	UPDATE s."Odd ""name" SET "select" = 'it''s', "a\b" = 'x';
	INSERT INTO s.parted VALUES (100, 'a', 'new'), (101, 'b', 'new');
	UPDATE s.parted SET v = 'changed' WHERE id < 10;
	UPDATE s.parted SET region = 'b' WHERE id = 12;
	DELETE FROM s.parted WHERE id = 20;));
delivered($hub, 'p');
same_as_hub($hub, $target, $_, name => "changes of $_") for @tables;

# rows without a key, the same row several times
$hub->safe_psql('postgres', q(
	UPDATE s.no_key SET b = 'one of them' WHERE ctid = (SELECT min(ctid) FROM s.no_key WHERE a = 3);
	DELETE FROM s.no_key WHERE ctid = (SELECT min(ctid) FROM s.no_key WHERE a IS NULL);
	UPDATE s.no_key SET j = '{"c":3}' WHERE a = 5;
	INSERT INTO s.no_key VALUES (1, 'x', '(0,0)', '1', 'NaN');
	UPDATE s.no_key SET f = '-0' WHERE f = 'NaN';));
delivered($hub, 'p');
same_as_hub($hub, $target, 's.no_key', name => 'rows are found by their whole');

# ---------------------------------------------------------------------
# TOAST: what did not change is not sent, and stays
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(
	UPDATE s.wide SET small = small + 100;
	UPDATE s.wide SET other = 'only other' WHERE id = 3;
	BEGIN;
	UPDATE s.wide SET small = 1 WHERE id = 4;
	UPDATE s.wide SET other = 'second' WHERE id = 4;
	UPDATE s.wide SET big = repeat('new', 3000) WHERE id = 5;
	UPDATE s.wide SET small = 7 WHERE id = 5;
	UPDATE s.wide SET id = 60 WHERE id = 6;
	UPDATE s.wide SET small = 6 WHERE id = 60;
	UPDATE s.wide SET id = 61 WHERE id = 60;
	INSERT INTO s.wide VALUES (70, repeat(md5('70'), 500), 1, 'x');
	UPDATE s.wide SET small = 70 WHERE id = 70;
	UPDATE s.wide SET big = NULL WHERE id = 7;
	UPDATE s.wide SET small = 1 WHERE id = 7;
	COMMIT;
	DELETE FROM s.wide WHERE id = 8;
	INSERT INTO s.full_row VALUES (50, repeat(md5('50'), 500), 1);
	UPDATE s.full_row SET small = 2 WHERE id = 50;
	UPDATE s.full_row SET id = 51 WHERE id = 50;));
delivered($hub, 'p');
same_as_hub($hub, $target, 's.wide', name => 'unchanged TOAST values stay');
same_as_hub($hub, $target, 's.full_row', name => 'unchanged TOAST values under REPLICA IDENTITY FULL');

# ---------------------------------------------------------------------
# Several changes of one key in one transaction
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(
	BEGIN;
	INSERT INTO s.plain (id, a) VALUES (1000000, 1);
	UPDATE s.plain SET a = 2 WHERE id = 1000000;
	UPDATE s.plain SET b = 'x' WHERE id = 1000000;
	INSERT INTO s.plain (id, a) VALUES (1000001, 1);
	DELETE FROM s.plain WHERE id = 1000001;
	INSERT INTO s.plain (id, a) VALUES (1000001, 2);
	DELETE FROM s.plain WHERE id = 1000001;
	DELETE FROM s.plain WHERE id = 1000;
	INSERT INTO s.plain (id, b) VALUES (1000, 'again');
	UPDATE s.plain SET a = 5 WHERE id = 1000;
	DELETE FROM s.plain WHERE id = 1001;
	INSERT INTO s.plain (id, b) VALUES (1001, 'again');
	DELETE FROM s.plain WHERE id = 1001;
	UPDATE s.plain SET id = -1 WHERE id = 1002;
	UPDATE s.plain SET id = 1002 WHERE id = 1003;
	UPDATE s.plain SET id = 1003 WHERE id = -1;
	COMMIT;
	BEGIN;
	INSERT INTO s.unique_too VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
	DELETE FROM s.unique_too WHERE id = 1;
	INSERT INTO s.unique_too VALUES (4, 'a', 4);
	UPDATE s.unique_too SET email = 'tmp' WHERE id = 2;
	UPDATE s.unique_too SET email = 'b' WHERE id = 3;
	UPDATE s.unique_too SET email = 'c' WHERE id = 2;
	UPDATE s.unique_too SET n = 10 WHERE id = 2;
	UPDATE s.unique_too SET n = 11 WHERE id = 2;
	UPDATE s.unique_too SET id = 5 WHERE id = 2;
	UPDATE s.unique_too SET id = 2 WHERE id = 3;
	COMMIT;
	BEGIN;
	INSERT INTO s.scaled VALUES (1.0, 'a'), (2, 'b');
	UPDATE s.scaled SET id = 1.00 WHERE id = 1;
	UPDATE s.scaled SET v = 'c' WHERE id = 1;
	DELETE FROM s.scaled WHERE id = 2;
	INSERT INTO s.scaled VALUES (2.000, 'd');
	COMMIT;));
delivered($hub, 'p');
same_as_hub($hub, $target, $_, name => "one key often in one transaction, $_")
  for qw(s.plain s.unique_too s.scaled);

# ---------------------------------------------------------------------
# TRUNCATE, rollback, a transaction that is larger than a batch
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(
	BEGIN;
	INSERT INTO s.only_key VALUES (7, 7);
	TRUNCATE s.only_key, s.two_keys;
	INSERT INTO s.only_key VALUES (8, 8);
	COMMIT;
	TRUNCATE s.parted;
	INSERT INTO s.parted VALUES (1, 'a', 'after');
	BEGIN;
	INSERT INTO s.plain (id) VALUES (77777777);
	ROLLBACK;
	BEGIN;
	SAVEPOINT a;
	DELETE FROM s.plain WHERE id = 1;
	ROLLBACK TO a;
	UPDATE s.plain SET b = 'kept' WHERE id = 1;
	COMMIT;));
delivered($hub, 'p');
same_as_hub($hub, $target, $_, name => "truncate, $_") for qw(s.only_key s.two_keys s.parted s.plain);

$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{"batch_bytes": 100000}')));
$hub->safe_psql('postgres', q(
	BEGIN;
	INSERT INTO s.plain SELECT i, i, repeat('x', 100) FROM generate_series(2000000, 2030000) i;
	UPDATE s.plain SET a = -a WHERE id BETWEEN 2000000 AND 2020000;
	DELETE FROM s.plain WHERE id % 3 = 0;
	COMMIT;));
delivered($hub, 'p');
same_as_hub($hub, $target, 's.plain', name => 'a transaction of many batches');
$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('p', '{}')));

# ---------------------------------------------------------------------
# At random
# ---------------------------------------------------------------------

srand(42);
my @random = map { random_transaction() } 1 .. 400;
$hub->safe_psql('postgres', join "\n", @random);
delivered($hub, 'p');
same_as_hub($hub, $target, $_, name => "at random, $_") for @tables;

# Values of the keys are few, so that changes of one key meet in a batch.
sub random_transaction
{
	my @statements = map { random_change() } 1 .. 1 + int rand 8;

	return join "\n", 'BEGIN;', @statements, rand() < 0.1 ? 'ROLLBACK;' : 'COMMIT;';
}

sub random_change
{
	my ($key, $other, $number) = map { 9000000 + int rand 30 } 1 .. 3;
	my @changes = (
		"INSERT INTO s.plain (id, a) VALUES ($key, $number) ON CONFLICT DO NOTHING;",
		"UPDATE s.plain SET a = $number WHERE id = $key;",
		"DELETE FROM s.plain WHERE id = $key;",
		"UPDATE s.plain SET id = $other WHERE id = $key AND NOT EXISTS (SELECT FROM s.plain WHERE id = $other);",
		"INSERT INTO s.wide VALUES ($key, repeat(md5('$number'), 200), $number, 'r') ON CONFLICT DO NOTHING;",
		"UPDATE s.wide SET small = $number WHERE id = $key;",
		"UPDATE s.wide SET big = repeat(md5('$number'), 200) WHERE id = $key;",
		"UPDATE s.wide SET id = $other WHERE id = $key AND NOT EXISTS (SELECT FROM s.wide WHERE id = $other);",
		"DELETE FROM s.wide WHERE id = $key;",
		"INSERT INTO s.unique_too VALUES ($key, '$other', $number) ON CONFLICT DO NOTHING;",
		"UPDATE s.unique_too SET email = '$other' WHERE id = $key AND NOT EXISTS (SELECT FROM s.unique_too WHERE email = '$other');",
		"DELETE FROM s.unique_too WHERE id = $key;",
		"INSERT INTO s.only_key VALUES ($key, $other) ON CONFLICT DO NOTHING;",
		"UPDATE s.only_key SET b = $number WHERE a = $key AND b = $other AND NOT EXISTS (SELECT FROM s.only_key WHERE a = $key AND b = $number);",
		"DELETE FROM s.only_key WHERE a = $key;",
		"INSERT INTO s.no_key VALUES ($key, '$other', point($number, 1), '{}', $number);",
		"UPDATE s.no_key SET b = '$number' WHERE a = $key;",
		"DELETE FROM s.no_key WHERE a = $key;",
		rand() < 0.05 ? 'TRUNCATE s.only_key;' : '');

	return $changes[ int rand @changes ];
}

# ---------------------------------------------------------------------
# Filters, columns, names
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', q(
	CREATE SCHEMA f;
	CREATE TABLE f.orders (id int PRIMARY KEY, amount int, secret text);
	ALTER TABLE f.orders REPLICA IDENTITY FULL;
	INSERT INTO f.orders SELECT i, i, 'secret' FROM generate_series(1, 20) i;));
publish($hub, 'f', 'copy', ['f.orders'],
	'{"target_schema": "out_{schema}", "target_table": "{table}_copy", "where": "amount > 10", "columns": ["id", "amount"]}');
delivered($hub, 'f');
$hub->safe_psql('postgres', q(
	UPDATE f.orders SET amount = 100 WHERE id = 1;
	UPDATE f.orders SET amount = 0 WHERE id = 20;
	UPDATE f.orders SET amount = amount + 1 WHERE id = 15;
	DELETE FROM f.orders WHERE id = 12;
	UPDATE f.orders SET id = 30 WHERE id = 13;
	INSERT INTO f.orders VALUES (21, 21, 'secret'), (22, 2, 'secret');));
delivered($hub, 'f');
is($target->safe_psql('postgres', 'SELECT * FROM out_f.orders_copy ORDER BY id'),
	$hub->safe_psql('postgres', 'SELECT id, amount FROM f.orders WHERE amount > 10 ORDER BY id'),
	'conditions, columns and names of targets');

# ---------------------------------------------------------------------
# It goes on where it was, and says where that is
# ---------------------------------------------------------------------

$hub->safe_psql('postgres', "SELECT tapdata.stop('p')");
wait_for_state($hub, 'p', 'stopped');
$hub->safe_psql('postgres', 'UPDATE s.plain SET a = 99 WHERE id < 50');
$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
delivered($hub, 'p');
same_as_hub($hub, $target, 's.plain', name => 'after a stop');
is($target->safe_psql('postgres', 'SELECT count(*) FROM tapdata_target.tapdata_progress'), 2,
	'a position for each pipeline');
sql_becomes($hub, "SELECT string_agg(DISTINCT state || ':' || dead_letters || ':' || coalesce(last_error, ''), ',') FROM tapdata.status",
	'streaming:0:', 'nothing failed on the way');

# copied again
$target->safe_psql('postgres', 'DELETE FROM s.plain WHERE id < 10; UPDATE s.plain SET b = NULL');
$hub->safe_psql('postgres', "SELECT tapdata.resync('p', 's.plain')");
delivered($hub, 'p');
same_as_hub($hub, $target, 's.plain', name => 'after a resync');

done_testing();
