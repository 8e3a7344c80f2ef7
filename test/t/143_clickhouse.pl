# ClickHouse as a target. The engine is ClickHouse's own, in the Python package chdb; its HTTP
# interface is imitated by test/services/http_server.py as far as the connector uses it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;

Tapdata::Http->require_mode('clickhouse');

my $house = Tapdata::Http->start(arguments => ['clickhouse']);
my $hub = new_hub('house', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

sub drop
{
	my ($name) = @_;

	sql("SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	$house->faults();
	return;
}

sub uri
{
	return $house->uri('clickhouse+http', path => 'hub', @_);
}

sub same_items
{
	my ($name, $table) = @_;

	$table ||= 'items';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($house->query("SELECT id || '|' || ifNull(v, '') FROM hub.$table FINAL ORDER BY id"),
		sql(q{SELECT id || '|' || coalesce(v, '') FROM s.items ORDER BY id}), $name);
}

$house->query('CREATE DATABASE hub');
sql(q{
	CREATE SCHEMA s;
	CREATE TABLE s.items (id int PRIMARY KEY, v text);
	CREATE DOMAIN s.amount AS numeric(12,2);
	CREATE TABLE s."Odd `name\\" (a text, b int, flag bool, n numeric(20,4), any_n numeric, amount s.amount, big bigint, f float8, r real,
		at timestamptz, local timestamp, d date, t time, j jsonb, u uuid, bin bytea, tags text[], huge text, "Co`l" text, PRIMARY KEY (a, b));
	ALTER TABLE s."Odd `name\\" ALTER huge SET STORAGE external;
	INSERT INTO s.items SELECT n, 'item ' || n FROM generate_series(1, 2500) n;
	INSERT INTO s."Odd `name\\" VALUES (E'k''\t\\\\1', 1, true, 12345678901234.5678, 123456789012345678901234567890.123, 99.95, 9223372036854775807, 1.5, 0.1,
		'2026-01-02 03:04:05.678901+00', '1950-01-02 03:04:05.678901', '2026-02-03', '12:34:56.7', '{"x": [1, {"y": null}]}',
		'00000000-0000-0000-0000-000000000001', '\xdeadbeef', '{a,NULL,"b c"}', repeat('h', 9000), E'\u00e4\n'),
		('', 2, NULL, NULL, 'NaN', NULL, NULL, 'NaN', '-Infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);});
publish_http($hub, uri(), 'house', ['s.*'], {});
caught_up($hub, 'house');

# --- the copy, and types -------------------------------------------------------------------

same_items('the copy');
is($house->query(q{SELECT name || ' ' || type FROM system.columns WHERE table = 'Odd `name\\\\' ORDER BY position}), join("\n",
	'a String', 'b Int32', 'flag Nullable(Bool)', 'n Nullable(Decimal(20, 4))', 'any_n Nullable(String)', 'amount Nullable(Decimal(12, 2))',
	'big Nullable(Int64)', 'f Nullable(Float64)', 'r Nullable(Float32)', "at Nullable(DateTime64(6, 'UTC'))", "local Nullable(DateTime64(6, 'UTC'))",
	'd Nullable(Date32)', 't Nullable(String)', 'j Nullable(String)', 'u Nullable(UUID)', 'bin Nullable(String)', 'tags Nullable(String)',
	'huge Nullable(String)', 'Co`l Nullable(String)', '_version UInt64', '_deleted UInt8'), 'types');
is($house->query(q{SELECT a, flag, n, any_n, amount, big, f, r, at, local, d, t, j, u, bin, tags, length(huge), `Co``l` FROM hub.`Odd ``name\\\\` FINAL WHERE b = 1}),
	join("\t", "k'\t\\1", 'true', '12345678901234.5678', '123456789012345678901234567890.123', '99.95', '9223372036854775807', '1.5', '0.1',
		'2026-01-02 03:04:05.678901', '1950-01-02 03:04:05.678901', '2026-02-03', '12:34:56.7', '{"x": [1, {"y": null}]}',
		'00000000-0000-0000-0000-000000000001', '3q2+7w==', '["a",null,"b c"]', '9000', "\xc3\xa4\n"), 'values');
is($house->query(q{SELECT f, r, any_n, flag FROM hub.`Odd ``name\\\\` FINAL WHERE b = 2}), "nan\t-inf\tNaN\t\\N",
	'NaN, infinity and NULL');

# --- changes -------------------------------------------------------------------------------

sql(q{
	BEGIN; INSERT INTO s.items VALUES (3000, 'a'); UPDATE s.items SET v = 'b' WHERE id = 3000; COMMIT;
	UPDATE s.items SET v = v || '!' WHERE id <= 100;
	UPDATE s.items SET id = id + 10000 WHERE id IN (1, 2);
	DELETE FROM s.items WHERE id > 2000 AND id < 2600;
	BEGIN; DELETE FROM s.items WHERE id = 500; INSERT INTO s.items VALUES (500, 'again'); COMMIT;
	BEGIN; DELETE FROM s.items WHERE id = 501; INSERT INTO s.items VALUES (501, 'again'); DELETE FROM s.items WHERE id = 501; COMMIT;});
caught_up($hub, 'house');
same_items('changes');
sql(q{BEGIN; INSERT INTO s.items VALUES (4000, 'gone'); TRUNCATE s.items; INSERT INTO s.items SELECT n, 'new' FROM generate_series(1, 1500) n; COMMIT;});
caught_up($hub, 'house');
same_items('a truncate between changes of one transaction');
sql(q{ALTER TABLE s.items ADD COLUMN price numeric(10,2); INSERT INTO s.items VALUES (5000, 'x', 1.25);});
caught_up($hub, 'house');
is($house->query('SELECT price FROM hub.items FINAL WHERE id = 5000'), '1.25', 'a new column');

# --- a table that somebody dropped -----------------------------------------------------------

sql(q{SELECT tapdata.stop('house')});
wait_for_state($hub, 'house', 'stopped');
$house->query('DROP TABLE hub.items SYNC');
sql(q{INSERT INTO s.items VALUES (5001, 'y', 2); SELECT tapdata.start('house');});
wait_for_state($hub, 'house', 'failed');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'house'}), qr/table "items" of the target is gone.*resync\('<pipeline>', 's\.items'\)/s,
	'a table that is gone is not made again without its rows');
sql(q{SELECT tapdata.resync('house', 's.items')});
wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE pipeline = 'house' AND source_table = 's.items'}, 'streaming');
caught_up($hub, 'house');
same_items('but filled again when it is copied again');

# --- large values that did not change --------------------------------------------------------

sql(q{ALTER TABLE s."Odd `name\\" REPLICA IDENTITY FULL; UPDATE s."Odd `name\\" SET flag = false WHERE b = 1;});
caught_up($hub, 'house');
is($house->query('SELECT length(huge) FROM hub.`Odd ``name\\\\` FINAL WHERE b = 1'), 9000, 'a large value that did not change is kept');
drop('house');

# --- what ClickHouse cannot hold ---------------------------------------------------------------

sql(q{CREATE TABLE s.dates (id int PRIMARY KEY, at timestamp, d date)});
publish_http($hub, uri(), 'dates', ['s.dates'], { on_error => 'dead_letter' });
caught_up($hub, 'dates');
sql(q{INSERT INTO s.dates VALUES (1, '1899-12-31 23:59:59', NULL), (2, '1900-01-01', '2299-12-31'), (3, NULL, '2300-01-01'), (4, 'infinity', NULL), (5, NULL, NULL)});
caught_up($hub, 'dates');
is($house->query('SELECT groupArray(id) FROM (SELECT id FROM hub.dates FINAL ORDER BY id)'), '[2,5]', 'dates of its range are stored');
is(sql(q{SELECT string_agg(change->'after'->>'id', ' ' ORDER BY change->'after'->>'id'), min(sqlstate) FROM tapdata.dead_letters WHERE pipeline = 'dates'}),
	'1 3 4|22008', 'others are dead letters, not clipped');
drop('dates');

# the target's own types: a row that is refused does not take the others with it
sql(q{CREATE TABLE s.strict (id int PRIMARY KEY, v text)});
$house->query('CREATE TABLE hub.strict (id Int32, v Nullable(UInt8), _version UInt64, _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id');
publish_http($hub, uri(), 'strict', ['s.strict'], { on_error => 'dead_letter' });
caught_up($hub, 'strict');
sql(q{INSERT INTO s.strict SELECT n, CASE WHEN n IN (13, 14, 77) THEN 'no number' ELSE n::text END FROM generate_series(1, 100) n});
caught_up($hub, 'strict');
is($house->query('SELECT count(), sum(v) FROM hub.strict FINAL'), "97\t4946", 'rows that the target takes are stored');
is(sql(q{SELECT string_agg(change->'after'->>'id', ' ' ORDER BY change->'after'->>'id') FROM tapdata.dead_letters WHERE pipeline = 'strict'}), '13 14 77',
	'those that it refuses are dead letters');
drop('strict');

# --- tables that do not fit ----------------------------------------------------------------------

sub refused
{
	my ($options, $pattern, $table) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql("SELECT tapdata.connect('refused', '" . uri() . "')");
	my ($code, undef, $error) = $hub->psql('postgres', "SELECT tapdata.publish('refused', 'refused', ARRAY['$table'], '$options')");
	if ($code == 0)
	{
		wait_for_state($hub, 'refused', 'failed');
		$error = sql(q{SELECT last_error FROM tapdata.status WHERE name = 'refused'});
		sql(q{SELECT tapdata.drop_pipeline('refused')});
	}
	like($error, $pattern, "$table $options");
	sql(q{SELECT tapdata.disconnect('refused')});
	return;
}

$house->query('CREATE TABLE hub.merge (id Int32, v String) ENGINE = MergeTree ORDER BY id');
$house->query('CREATE TABLE hub.less (id Int32, _version UInt64, _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id');
refused('{"table": "merge"}', qr/cannot replace rows.*MergeTree.*ReplacingMergeTree/s, 's.items');
refused('{"table": "less", "ddl": "stop"}', qr/no column "v"/, 's.items');
refused('{"table": "less", "version_column": "v"}', qr/has a column "v" itself/, 's.items');
refused('{"version_column": "x", "deleted_column": "x"}', qr/same column/, 's.items');
refused('{"index": "x"}', qr/no meaning for a target of the kind clickhouse/, 's.items');
sql('CREATE TABLE s.nokey (a int); ALTER TABLE s.nokey REPLICA IDENTITY FULL');
refused('{}', qr/has no key.*primary key/s, 's.nokey');
like(sql("SELECT tapdata.connect('c', '" . uri() . q{'); SELECT check_name, ok, detail FROM tapdata.test_connection('c')}),
	qr/^kind\|t\|ClickHouse \d/m, 'test_connection() tells the server');
publish_http($hub, uri(), 'ignore', ['s.items'], { table => 'less', ddl => 'ignore' });
caught_up($hub, 'ignore');
is($house->query('SELECT count() FROM hub.less FINAL'), sql('SELECT count(*) FROM s.items'), 'ddl = ignore leaves out what the target does not have');
drop('ignore');

# --- faults of the server ----------------------------------------------------------------------

publish_http($hub, uri(), 'faults', ['s.items'], { table => 'faults' });
caught_up($hub, 'faults');
for my $case (
	[ 'too many parts', { status => 500, headers => { 'X-ClickHouse-Exception-Code' => 252 }, body => 'Code: 252. TOO_MANY_PARTS', times => 2 } ],
	[ 'no more space', { status => 500, headers => { 'X-ClickHouse-Exception-Code' => 243 } } ],
	[ 'read only for now', { status => 400, headers => { 'X-ClickHouse-Exception-Code' => 242 } } ],
	[ 'an answer that gets lost', { do => 'forget' } ])
{
	my ($name, $fault) = @$case;

	$house->faults($fault);
	sql(q{INSERT INTO s.items SELECT max(id) + 1, 'after a fault' FROM s.items});
	caught_up($hub, 'faults');
	same_items("$name: nothing is lost", 'faults');
}
is(sql(q{SELECT restarts FROM tapdata.status WHERE name = 'faults'}), 0, 'without a new session');
sql(q{SELECT tapdata.stop('faults')});
wait_for_state($hub, 'faults', 'stopped');
$house->stop;
sql(q{SELECT tapdata.start('faults'); INSERT INTO s.items SELECT max(id) + 1, 'while it was down' FROM s.items});
wait_for_sql($hub, q{SELECT state = 'retrying' AND last_error LIKE '%could not read the columns of the target table at http://%' FROM tapdata.status WHERE name = 'faults'});
$house->restart;
caught_up($hub, 'faults');
same_items('a target that is down at the start', 'faults');
sql(q{SELECT tapdata.resync('faults', 's.items')});
wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE pipeline = 'faults'}, 'streaming');
caught_up($hub, 'faults');
same_items('resync', 'faults');
drop('faults');

done_testing();
