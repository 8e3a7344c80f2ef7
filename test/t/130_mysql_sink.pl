# MySQL and MariaDB as targets: tables that are created and checked, types, the
# first copy, every kind of change in the stream, schema changes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# column => type, values; what the target shows, where it is not the hub's text
my @types = (
	['c_bool', 'boolean', 'true', 'false', '1', '0'],
	['c_int2', 'smallint', '-32768', '32767'],
	['c_int4', 'integer', '-2147483648', '2147483647'],
	['c_int8', 'bigint', '-9223372036854775808', '9223372036854775807'],
	['c_oid', 'oid', '0', '4294967295'],
	['c_numeric', 'numeric(30,10)', '-12345678901234567890.1234567891', '0.0000000001'],
	['c_whole', 'numeric(20)', '18446744073709551615', '0'],
	['c_left', 'numeric(3,-2)', '12300', '-99900'],
	['c_digits', 'numeric(70,5)', '1' x 60 . '.00001', '-1.50000'],
	['c_free', 'numeric', '3.14159265358979323846264338327', '-7', '3.141592653589793238462643383270', '-7.000000000000000000000000000000'],
	['c_float8', 'double precision', '0.1', '-1.7976931348623157e+308', '0.1', '-1.7976931348623157e308'],
	['c_text', 'text', q{it's "quoted" \\ and 日本語 🐘}, ' spaces  '],
	['c_long', 'text', 'x' x 70000, ''],
	['c_varchar', 'varchar(20)', 'ünïcödé', 'twenty characters ok'],
	['c_char', 'char(5)', 'ab', 'abcde'],
	['c_bytea', 'bytea', '\x00ff27225c0a1a', '\x', '00FF27225C0A1A', ''],
	['c_date', 'date', '0001-01-01', '9999-12-31'],
	['c_time', 'time', '00:00:00', '23:59:59.999999', '00:00:00.000000', '23:59:59.999999'],
	['c_time2', 'time(2)', '24:00:00', '12:34:56.78', '24:00:00.00', '12:34:56.78'],
	['c_timetz', 'timetz', '12:34:56.789+02', '00:00:00-08'],
	['c_timestamp', 'timestamp', '2024-02-29 12:34:56.123456', '1000-01-01 00:00:00', '2024-02-29 12:34:56.123456', '1000-01-01 00:00:00.000000'],
	['c_timestamp0', 'timestamp(0)', '2024-02-29 12:34:56', '1969-12-31 23:59:59'],
	['c_timestamptz', 'timestamptz', '2024-07-01 12:00:00+02', '1899-12-31 00:00:00+00', '2024-07-01 10:00:00.000000', '1899-12-31 00:00:00.000000'],
	['c_interval', 'interval', '1 year 2 mons 3 days 04:05:06.789', '-00:00:01'],
	['c_uuid', 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'],
	['c_bit', 'bit(10)', '1010101010', '0000000001', '682', '1'],
	['c_varbit', 'bit varying(100)', '101', '1' x 100],
	['c_inet', 'inet', '192.168.0.1/24', '::1'],
	['c_cidr', 'cidr', '10.0.0.0/8', '2001:db8::/32'],
	['c_macaddr', 'macaddr', '08:00:2b:01:02:03', 'ff:ff:ff:ff:ff:ff'],
	['c_json', 'json', '{"b" : 1, "a": [1.10, 2]}', 'null'],
	['c_mood', 'mood', 'happy', 'it\'s sad'],
	['c_point', 'point', '(1,2.5)', '(-1,0)'],
	['c_range', 'int4range', '[1,10)', 'empty'],
	['c_composite', 'pair', '(1,"a b")', '(,)'],
	['c_domain', 'positive', '5', '6'],
	['c_xml', 'xml', '<a>b</a>', '<x/>'],
	['c_tsvector', 'tsvector', "'a':1 'b':2", "'x'"],
	['c_name', 'name', 'a name', 'n'],
);

# what SELECTs read of a column
my %shown = (
	c_bytea => 'HEX(c_bytea)',
	c_bit => 'c_bit + 0',
	c_float8 => 'CONCAT(c_float8)',
);

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_sink($flavour) };
}
done_testing();

sub check_sink
{
	my ($flavour) = @_;
	my $hub = new_hub("sink_$flavour");
	my $target = Tapdata::MySQL->start(flavour => $flavour,
		options => [ '--sql-mode=', '--default-time-zone=-05:00', '--local-infile=' . ($flavour eq 'mysql' ? 'ON' : 'OFF') ]);

	$target->sql('CREATE DATABASE app; GRANT ALL ON *.* TO ' . account($target));
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('t', '${\ $target->uri('app') }')));
	check_types($hub, $target);
	check_stream($hub, $target);
	check_keys($hub, $target);
	check_foreign_keys($hub, $target);
	check_schema_changes($hub, $target);
	check_names($hub, $target);
	check_existing($hub, $target);
	return;
}

sub account
{
	my ($target) = @_;

	return "'" . $target->user . "'\@'%'";
}

sub columns
{
	my ($which, @picked) = @_;

	return join ', ', map { $_->[0] . ($which eq 'definition' ? " $_->[1]" : '') } @picked ? @picked : @types;
}

sub literal
{
	my ($value) = @_;

	$value =~ s/'/''/g;
	return "'$value'";
}

sub row
{
	my ($id, $value) = @_;

	return "($id, " . join(', ', map { literal($_->[$value]) } @types) . ')';
}

sub check_types
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', q{
		CREATE TYPE mood AS ENUM ('happy', 'it''s sad');
		CREATE TYPE pair AS (a int, b text);
		CREATE DOMAIN positive AS int CHECK (VALUE > 0);
		SET TimeZone = 'UTC';
		CREATE TABLE types (id int PRIMARY KEY, } . columns('definition') . q{);
		INSERT INTO types VALUES } . row(1, 2) . ', ' . row(2, 3) . q{;
		INSERT INTO types (id) VALUES (3);
		SELECT tapdata.publish('types', 't', ARRAY['public.types']);});
	caught_up($hub, 'types');
	is($target->value('SELECT COUNT(*) FROM public.types'), 3, 'three rows were copied');
	compare_types($target, 0, 'copied');
	$hub->safe_psql('postgres', 'INSERT INTO types VALUES ' . row(11, 2) . ', ' . row(12, 3) . '; INSERT INTO types (id) VALUES (13)');
	caught_up($hub, 'types');
	compare_types($target, 10, 'streamed');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('types')");
	return;
}

sub compare_types
{
	my ($target, $first, $how) = @_;

	foreach my $type (@types)
	{
		my ($name, undef, @values) = @$type;
		my @expected = (@values == 4 ? @values[2, 3] : @values, undef);
		my $shown = $shown{$name} || $name;
		my @got = map { $_->[0] } @{ $target->rows("SELECT $shown FROM public.types WHERE id > $first AND id < $first + 10 ORDER BY id") };

		utf8::encode($_) foreach grep { defined && utf8::is_utf8($_) } @got;
		is_deeply([ map { defined $_ && length > 100 ? length : $_ } @got ],
			[ map { defined $_ && length > 100 ? length : $_ } @expected ], "$how: $name");
	}
	return;
}

# All rows of a table of the target, in a form that the hub can show, too.
sub target_rows
{
	my ($target, $query) = @_;

	return join "\n", map { join '|', map { defined ? $_ : '-' } @$_ } @{ $target->rows($query) };
}

sub same
{
	my ($hub, $target, $query, $name, $target_query) = @_;
	my $expected = $hub->safe_psql('postgres', $query);

	return is(target_rows($target, $target_query || $query), $expected, $name);
}

sub check_stream
{
	my ($hub, $target) = @_;
	my $query = 'SELECT id, amount, note FROM shop.orders ORDER BY id';

	$hub->safe_psql('postgres', q{
		CREATE SCHEMA shop;
		CREATE TABLE shop.orders (id int PRIMARY KEY, amount int NOT NULL, note text);
		CREATE TABLE shop.pairs (a int, b text, c int, PRIMARY KEY (a, b));
		CREATE TABLE shop.big (id int PRIMARY KEY, n int, big text);
		ALTER TABLE shop.big ALTER COLUMN big SET STORAGE EXTERNAL;
		CREATE TABLE shop.parts (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES IN (1);
		CREATE TABLE shop.parts_2 (v text, k int NOT NULL, id int NOT NULL);
		ALTER TABLE shop.parts ATTACH PARTITION shop.parts_2 FOR VALUES IN (2);
		CREATE TABLE shop.no_key (a int, b text, c jsonb, d real);
		ALTER TABLE shop.no_key REPLICA IDENTITY FULL;
		INSERT INTO shop.orders SELECT g, g * 10, 'note ' || g FROM generate_series(1, 20000) g;
		INSERT INTO shop.pairs SELECT g, 'b' || g, g FROM generate_series(1, 100) g;
		INSERT INTO shop.big VALUES (1, 1, repeat('x', 100000)), (2, 2, repeat('y', 50000));
		INSERT INTO shop.parts VALUES (1, 1, 'one'), (2, 2, 'two');
		INSERT INTO shop.no_key VALUES (1, 'x', '{"a": 1}', 1.1), (1, 'x', '{"a": 1}', 1.1), (NULL, NULL, NULL, NULL);
		SELECT tapdata.publish('shop', 't', ARRAY['shop.orders', 'shop.pairs', 'shop.big', 'shop.parts', 'shop.no_key'], '{"batch_bytes": 65536}');});
	caught_up($hub, 'shop');
	is($target->value('SELECT CONCAT(COUNT(*), ",", SUM(amount)) FROM shop.orders'), '20000,2000100000', 'a copy in many batches');

	$hub->safe_psql('postgres', q{
		INSERT INTO shop.orders VALUES (20001, 1, 'new'), (20002, 2, NULL);
		UPDATE shop.orders SET amount = 0, note = 'it''s \\ changed' WHERE id % 1000 = 0;
		DELETE FROM shop.orders WHERE id % 777 = 0;});
	$hub->safe_psql('postgres', q{
		BEGIN;
		UPDATE shop.orders SET amount = 1 WHERE id = 1;
		UPDATE shop.orders SET amount = 2 WHERE id = 1;
		DELETE FROM shop.orders WHERE id = 1;
		INSERT INTO shop.orders VALUES (1, 3, 'again');
		UPDATE shop.orders SET amount = 4 WHERE id = 1;
		UPDATE shop.orders SET id = -1 WHERE id = 1;
		INSERT INTO shop.orders VALUES (1, 5, 'and again');
		DELETE FROM shop.orders WHERE id = 9;
		UPDATE shop.orders SET id = id + 1000000 WHERE id BETWEEN 10 AND 15;
		UPDATE shop.orders SET id = id - 1000001 WHERE id > 1000000;
		COMMIT;});
	caught_up($hub, 'shop');
	same($hub, $target, "SELECT id, amount, coalesce(note, '-') FROM shop.orders ORDER BY id", 'inserts, updates, deletes, one key many times, new keys');

	$hub->safe_psql('postgres', q{
		UPDATE shop.pairs SET c = c + 1 WHERE a < 50;
		UPDATE shop.pairs SET b = b || 'x' WHERE a % 10 = 0;
		DELETE FROM shop.pairs WHERE a > 90;
		INSERT INTO shop.pairs VALUES (1, 'B1', 1), (1, 'b1 ', 2);
		UPDATE shop.pairs SET c = 7 WHERE a = 1 AND b = 'B1';
		DELETE FROM shop.pairs WHERE a = 1 AND b = 'b1 ';});
	caught_up($hub, 'shop');
	same($hub, $target, q{SELECT a, b, c FROM shop.pairs ORDER BY a, b COLLATE "C"}, 'keys of two columns, that differ in case and spaces only',
		'SELECT a, b, c FROM shop.pairs ORDER BY a, b');

	$hub->safe_psql('postgres', q{UPDATE shop.big SET n = n + 10; UPDATE shop.big SET id = 5 WHERE id = 2;});
	caught_up($hub, 'shop');
	same($hub, $target, 'SELECT id, n, length(big) FROM shop.big ORDER BY id', 'values of TOAST that did not change stay');

	$hub->safe_psql('postgres', q{
		INSERT INTO shop.parts VALUES (3, 1, 'three'), (4, 2, 'four');
		UPDATE shop.parts SET k = 2 WHERE id = 1;
		UPDATE shop.parts SET v = 'TWO' WHERE id = 2;});
	caught_up($hub, 'shop');
	same($hub, $target, 'SELECT id, k, v FROM shop.parts ORDER BY id', 'partitions arrive as their root');

	$hub->safe_psql('postgres', q{
		DELETE FROM shop.no_key WHERE ctid = (SELECT min(ctid) FROM shop.no_key);
		UPDATE shop.no_key SET b = 'null no more' WHERE a IS NULL;
		INSERT INTO shop.no_key VALUES (3, 'c', '[]', -2.5);
		UPDATE shop.no_key SET d = 3.3 WHERE a = 3;});
	caught_up($hub, 'shop');
	same($hub, $target, q{SELECT coalesce(a, 0), b FROM shop.no_key ORDER BY 1}, 'a table without a key: one of two equal rows is gone');

	$hub->safe_psql('postgres', q{BEGIN; TRUNCATE shop.parts; INSERT INTO shop.parts VALUES (9, 1, 'after'); COMMIT;});
	caught_up($hub, 'shop');
	same($hub, $target, 'SELECT id, k, v FROM shop.parts', 'truncate');

	# larger than a batch: into one target transaction all the same
	$hub->safe_psql('postgres', q{BEGIN; INSERT INTO shop.orders SELECT g, 1, repeat('z', 100) FROM generate_series(30001, 60000) g; UPDATE shop.orders SET amount = 2 WHERE id > 30000; COMMIT; DELETE FROM shop.orders WHERE id > 59000});
	caught_up($hub, 'shop');
	same($hub, $target, "SELECT count(*), sum(amount), sum(id) FROM shop.orders", 'a transaction of many batches');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('shop')");
	return;
}

# Target columns whose collation takes unequal for equal.
sub check_keys
{
	my ($hub, $target) = @_;

	$target->sql(q{
		CREATE DATABASE keyed;
		CREATE TABLE keyed.t (k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v int, u int, UNIQUE (u));
		CREATE TABLE keyed.log (id int AUTO_INCREMENT PRIMARY KEY, what varchar(100));
		CREATE TABLE keyed.watched (id int PRIMARY KEY, v int);
		CREATE TRIGGER keyed.w AFTER UPDATE ON keyed.watched FOR EACH ROW INSERT INTO keyed.log (what) VALUES (CONCAT(OLD.v, '>', NEW.v));});
	$hub->safe_psql('postgres', q{
		CREATE SCHEMA keyed;
		CREATE TABLE keyed.t (k varchar(20) PRIMARY KEY, v int, u int);
		CREATE TABLE keyed.watched (id int PRIMARY KEY, v int);
		INSERT INTO keyed.t VALUES ('a', 1, 1), ('b', 2, 2);
		INSERT INTO keyed.watched VALUES (1, 1), (2, 2);
		SELECT tapdata.publish('keyed', 't', ARRAY['keyed.*']);});
	caught_up($hub, 'keyed');
	$hub->safe_psql('postgres', q{
		UPDATE keyed.t SET k = 'A' WHERE k = 'a';
		UPDATE keyed.t SET v = 10 WHERE k = 'A';
		BEGIN;
		UPDATE keyed.t SET u = 3 WHERE k = 'b';
		INSERT INTO keyed.t VALUES ('c', 3, 2);
		DELETE FROM keyed.t WHERE k = 'c';
		INSERT INTO keyed.t VALUES ('d', 4, 2);
		COMMIT;
		UPDATE keyed.watched SET v = v * 100;});
	caught_up($hub, 'keyed');
	same($hub, $target, 'SELECT k, v, u FROM keyed.t ORDER BY k', 'a collation that does not mind case, another unique index');
	is(target_rows($target, 'SELECT what FROM keyed.log ORDER BY id'), "1>100\n2>200", 'triggers see updates as such');
	$target->sql(q{UPDATE keyed.t SET k = 'z' WHERE k = 'A'; INSERT INTO keyed.t VALUES ('e', 0, 50), ('f', 0, 60)});
	$hub->safe_psql('postgres', q{
		SELECT tapdata.alter_pipeline('keyed', '{"conflicts": "overwrite", "on_error": "dead_letter"}');
		INSERT INTO keyed.t VALUES ('e', 5, 51);
		INSERT INTO keyed.t VALUES ('g', 7, 60);
		UPDATE keyed.t SET v = 11 WHERE k = 'A';});
	caught_up($hub, 'keyed');
	is(target_rows($target, 'SELECT k, v, u FROM keyed.t ORDER BY k'), "b|2|3\nd|4|2\ne|5|51\nf|0|60\nz|10|1",
		'the hub wins by the key only, not by another unique index');
	sql_ok($hub, q{SELECT change->'new'->>'k' FROM tapdata.dead_letters WHERE pipeline = 'keyed' ORDER BY 1}, "A\ng", 'what hurts another unique index is kept aside');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('keyed')");
	return;
}

# The target checks foreign keys: changes go in their order.
sub check_foreign_keys
{
	my ($hub, $target) = @_;

	$target->sql(q{
		CREATE DATABASE family;
		CREATE TABLE family.parent (id int PRIMARY KEY, v int);
		CREATE TABLE family.child (id int PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES family.parent (id));});
	$hub->safe_psql('postgres', q{
		CREATE SCHEMA family;
		CREATE TABLE family.parent (id int PRIMARY KEY, v int);
		CREATE TABLE family.child (id int PRIMARY KEY, parent int);
		SELECT tapdata.publish('family', 't', ARRAY['family.*'], '{"foreign_key_checks": true, "on_error": "dead_letter"}');});
	caught_up($hub, 'family');
	$hub->safe_psql('postgres', q{
		BEGIN;
		INSERT INTO family.parent VALUES (1, 1), (2, 2);
		INSERT INTO family.child VALUES (1, 1), (2, 2);
		INSERT INTO family.parent VALUES (3, 3);
		INSERT INTO family.child VALUES (3, 3), (4, 4);
		DELETE FROM family.child WHERE id = 2;
		DELETE FROM family.parent WHERE id = 2;
		UPDATE family.parent SET v = 30 WHERE id = 3;
		COMMIT;});
	caught_up($hub, 'family');
	is(target_rows($target, 'SELECT p.id, p.v, c.id FROM family.parent p JOIN family.child c ON c.parent = p.id ORDER BY 1'), "1|1|1\n3|30|3", 'changes in their order');
	sql_ok($hub, q{SELECT sqlstate || ' ' || (change->'new'->>'id') FROM tapdata.dead_letters WHERE pipeline = 'family'}, '23503 4', 'a child without a parent is refused');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('family')");
	return;
}

sub check_schema_changes
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', q{
		CREATE SCHEMA ddl;
		CREATE TABLE ddl.t (id int PRIMARY KEY, a int, b int NOT NULL, c text);
		INSERT INTO ddl.t VALUES (1, 1, 1, 'one');
		SELECT tapdata.publish('ddl', 't', ARRAY['ddl.*']);});
	caught_up($hub, 'ddl');
	$hub->safe_psql('postgres', q{
		ALTER TABLE ddl.t ADD COLUMN d int NOT NULL DEFAULT 7, ADD COLUMN e text DEFAULT 'it''s', ADD COLUMN f timestamptz;
		INSERT INTO ddl.t VALUES (2, 2, 2, 'two', 2, 'two', '2024-01-01 00:00:00+00');});
	caught_up($hub, 'ddl');
	is(target_rows($target, 'SELECT id, d, e, f FROM ddl.t ORDER BY id'), "1|7|it's|-\n2|2|two|2024-01-01 00:00:00.000000",
		'new columns, with what old rows have in them');
	$hub->safe_psql('postgres', q{
		ALTER TABLE ddl.t ALTER COLUMN a TYPE bigint;
		INSERT INTO ddl.t VALUES (3, 3000000000, 3, 'three', 3, 'three', NULL);
		ALTER TABLE ddl.t DROP COLUMN b;
		INSERT INTO ddl.t (id, a, c, d, e) VALUES (4, 4, 'four', 4, 'four');
		ALTER TABLE ddl.t RENAME COLUMN c TO cc;
		INSERT INTO ddl.t (id, a, cc, d, e) VALUES (5, 5, 'five', 5, 'five');});
	caught_up($hub, 'ddl');
	is(target_rows($target, 'SELECT id, a, b, cc, d, e FROM ddl.t ORDER BY id'),
		"1|1|1|one|7|it's\n2|2|2|two|2|two\n3|3000000000|3|three|3|three\n4|4|-|four|4|four\n5|5|-|five|5|five",
		'a wider type, a column that is gone, a column that is renamed');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('ddl')");
	return;
}

# Names and pieces of SQL that have to be quoted; where tables go.
sub check_names
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', q{
		CREATE SCHEMA "o`dd sch""ema";
		CREATE TABLE "o`dd sch""ema"."ta`b'le" ("select" int PRIMARY KEY, "c`o'l" text, "x;y" int);
		INSERT INTO "o`dd sch""ema"."ta`b'le" VALUES (1, $$');DROP TABLE x;--$$, 1);
		SELECT tapdata.publish('odd', 't', ARRAY['"o`dd sch""ema".*'], '{"target_schema": "app", "target_table": "{schema}-{table}"}');});
	caught_up($hub, 'odd');
	$hub->safe_psql('postgres', q{UPDATE "o`dd sch""ema"."ta`b'le" SET "c`o'l" = $$\'; --$$, "select" = 2});
	caught_up($hub, 'odd');
	is(target_rows($target, q{SELECT `select`, `c``o'l`, `x;y` FROM app.`o``dd sch"ema-ta``b'le`}), q{2|\'; --|1}, 'names with quotes, a pattern of the target');
	is($target->value('SELECT COUNT(*) FROM app.tapdata_progress WHERE position > 0'), 6, 'each pipeline has its position at the target');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('odd')");
	return;
}

# Tables of the target that are there: what is refused, and what is done to their rows.
sub check_existing
{
	my ($hub, $target) = @_;

	$target->sql(q{
		CREATE DATABASE there;
		CREATE TABLE there.rows (id int PRIMARY KEY, v int, extra int);
		INSERT INTO there.rows VALUES (1, 100, 1), (9, 900, 9);
		CREATE TABLE there.missing (id int PRIMARY KEY);
		CREATE TABLE there.type (id int PRIMARY KEY, v date);
		CREATE TABLE there.nokey (id int, v int);
		CREATE TABLE there.engine (id int PRIMARY KEY, v int) ENGINE = MyISAM;
		CREATE TABLE there.demand (id int PRIMARY KEY, v int, w int NOT NULL);});
	$hub->safe_psql('postgres', 'CREATE SCHEMA there; ' . join ' ',
		map { "CREATE TABLE there.$_ (id int PRIMARY KEY, v int); INSERT INTO there.$_ VALUES (1, 1), (2, 2);" } qw(rows missing type nokey engine demand));
	my %refused = (
		rows => qr/has rows already/,
		missing => qr/has no column "v"/,
		type => qr/is of type date/,
		nokey => qr/no unique index on the key/,
		engine => qr/engine MyISAM/,
		demand => qr/takes no NULL and has no default/);

	foreach my $name (sort keys %refused)
	{
		$hub->safe_psql('postgres', "SELECT tapdata.publish('x', 't', ARRAY['there.$name'])");
		wait_for_state($hub, 'x', 'failed');
		like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = 'x'"), $refused{$name}, "refused: $name");
		$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('x')");
	}
	$hub->safe_psql('postgres', q{SELECT tapdata.publish('x', 't', ARRAY['there.rows'], '{"existing": "keep"}')});
	caught_up($hub, 'x');
	is(target_rows($target, 'SELECT * FROM there.rows ORDER BY id'), "1|1|1\n2|2|-\n9|900|9", 'rows are merged by key');
	$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('x'); SELECT tapdata.publish('x', 't', ARRAY['there.rows'], '{"existing": "truncate"}')});
	caught_up($hub, 'x');
	is(target_rows($target, 'SELECT * FROM there.rows ORDER BY id'), "1|1|-\n2|2|-", 'rows are replaced');
	$hub->safe_psql('postgres', q{UPDATE there.rows SET v = 5; SELECT tapdata.resync('x')});
	caught_up($hub, 'x');
	is(target_rows($target, 'SELECT * FROM there.rows ORDER BY id'), "1|5|-\n2|5|-", 'resync replaces them, too');
	return;
}
