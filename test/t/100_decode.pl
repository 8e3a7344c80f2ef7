# What decoding makes of WAL: every shape of a row as it was when it was written, whole
# transactions, large ones and large values, origins, slots and their ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('decode', <<'CONF');
max_prepared_transactions = 4
autovacuum = off
tapdata.retry_min = 100ms
tapdata.retry_max = 400ms
CONF
sql('CREATE SCHEMA s');

sub sql
{
	my (@statements) = @_;

	return $hub->safe_psql('postgres', join(";\n", @statements));
}

# A pipeline of its own for tables of schema s; their creation is given.
sub published
{
	my ($name, $creation, $options, %arguments) = @_;
	my $target = Tapdata::Fake::Target->new;

	sql($creation);
	sql($target->publish_sql($name, $arguments{tables} || ["s.$name"], $options));
	caught_up($hub, $name);
	return $target;
}

# The changes that these statements bring, as lines.
sub changes
{
	my ($target, $name, @statements) = @_;
	my $before = scalar $target->transactions;

	sql(@statements);
	return () unless caught_up($hub, $name);
	my @transactions = $target->transactions;
	return map { @$_[ 1 .. $#$_ - 1 ] } @transactions[ $before .. $#transactions ];
}

sub kinds
{
	return join ' ', map { $_->{kind} } @_;
}

# The pipeline reads what follows only when it is started again.
sub later
{
	my ($name, @statements) = @_;

	sql("SELECT tapdata.stop('$name')");
	wait_for_state($hub, $name, 'stopped');
	sql(@statements);
	sql("SELECT tapdata.start('$name')");
	return;
}

sub done
{
	my ($name) = @_;

	sql("SELECT tapdata.drop_pipeline('$name')", "SELECT tapdata.disconnect('$name')");
	return;
}

# --- transactions -----------------------------------------------------------------------

my $target = published('txn', 'CREATE TABLE s.txn (id int PRIMARY KEY, v text)');
my @lines = changes($target, 'txn', 'BEGIN', q{INSERT INTO s.txn VALUES (1, 'a')}, 'SAVEPOINT one',
	q{INSERT INTO s.txn VALUES (2, 'no')}, 'SAVEPOINT two', q{UPDATE s.txn SET v = 'no'}, 'ROLLBACK TO one',
	q{INSERT INTO s.txn VALUES (2, 'b')}, 'RELEASE one', q{UPDATE s.txn SET v = 'c' WHERE id = 1}, 'COMMIT');
is(kinds(@lines), 'insert insert update', 'subtransactions: what was rolled back is not there');
is_deeply([ map { $_->{new}{v} } @lines ], [qw(a b c)], 'in order');

@lines = changes($target, 'txn', q{INSERT INTO s.txn VALUES (1, 'no'), (3, 'd') ON CONFLICT DO NOTHING},
	q{INSERT INTO s.txn VALUES (3, 'e') ON CONFLICT (id) DO UPDATE SET v = excluded.v});
is(kinds(@lines), 'insert update', 'insertions that may conflict');

@lines = changes($target, 'txn', 'BEGIN', q{INSERT INTO s.txn VALUES (4, 'f')}, q{PREPARE TRANSACTION 'one'},
	'BEGIN', q{INSERT INTO s.txn VALUES (5, 'no')}, q{PREPARE TRANSACTION 'two'});
is(kinds(@lines), '', 'a prepared transaction is not sent yet');
@lines = changes($target, 'txn', q{COMMIT PREPARED 'one'}, q{ROLLBACK PREPARED 'two'});
is_deeply([ map { $_->{new}{id} } @lines ], [4], 'but when it is committed');

@lines = changes($target, 'txn', 'TRUNCATE s.txn');
is(kinds(@lines), 'truncate', 'truncate');
@lines = changes($target, 'txn', 'BEGIN', q{INSERT INTO s.txn SELECT n, 'x' FROM generate_series(1, 1000) n},
	'DELETE FROM s.txn WHERE id > 10', 'COMMIT');
is(scalar @lines, 1990, 'rows that were written many at a time');
@lines = changes($target, 'txn', 'VACUUM FULL s.txn', 'CLUSTER s.txn USING txn_pkey',
	'ALTER TABLE s.txn ALTER id TYPE bigint');
is(kinds(@lines), '', 'a table that is written anew has not changed');
@lines = changes($target, 'txn', q{UPDATE s.txn SET v = 'y' WHERE id = 1});
is_deeply([ map { $_->{new} } @lines ], [ { id => 1, v => 'y' } ], 'but after it, it can');

@lines = changes($target, 'txn', 'CREATE TABLE s.plain (id int)', 'INSERT INTO s.plain VALUES (1)',
	'CREATE UNLOGGED TABLE s.unlogged (id int PRIMARY KEY)', 'INSERT INTO s.unlogged VALUES (1)',
	'CREATE TEMP TABLE t (id int PRIMARY KEY)', 'INSERT INTO t VALUES (1)');
is(kinds(@lines), '', 'other tables are not sent');
is(sql(q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^tapdata_' AND plugin = 'tapdata'}), 1,
	'one slot for a pipeline');
done('txn');

# --- columns ------------------------------------------------------------------------------

$target = published('cols', q{
	CREATE TYPE s.mood AS ENUM ('glad', 'sad');
	CREATE DOMAIN s.positive AS int CHECK (value > 0);
	CREATE TYPE s.pair AS (a int, b text);
	CREATE TABLE s.cols (gone int, id int GENERATED ALWAYS AS IDENTITY, m s.mood, p s.positive, c s.pair,
		gone_too text, l int[], double int GENERATED ALWAYS AS (p * 2) STORED, r int4range, PRIMARY KEY (id));
	ALTER TABLE s.cols DROP COLUMN gone, DROP COLUMN gone_too});
@lines = changes($target, 'cols',
	q{INSERT INTO s.cols (m, p, c, l, r) VALUES ('sad', 3, (1, 'x'), '{1,NULL,3}', '[1,5)'), (NULL, NULL, NULL, NULL, NULL)});
is_deeply($lines[0]{new}, { id => 1, m => 'sad', p => 3, c => '(1,x)', l => '{1,NULL,3}', double => 6, r => '[1,5)' },
	'types of all kinds, next to columns that were dropped');
is_deeply($lines[1]{new}, { id => 2, map { $_ => undef } qw(m p c l double r) }, 'nulls');
my ($table) = grep { $_->{kind} eq 'table' } $target->lines;
is_deeply($table->{columns}, [ [ 'id', 'integer' ], [ 'm', 's.mood' ], [ 'p', 's.positive' ], [ 'c', 's.pair' ],
		[ 'l', 'integer[]' ], [ 'double', 'integer' ], [ 'r', 'int4range' ] ], 'by their own types');
done('cols');

# --- values out of line -----------------------------------------------------------------------

$target = published('toast', q{
	CREATE TABLE s.toast (id int PRIMARY KEY, v int, a text, b text);
	ALTER TABLE s.toast ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL});
@lines = changes($target, 'toast',
	q{INSERT INTO s.toast VALUES (1, 1, repeat('a', 10000), repeat('b', 20000))},
	q{UPDATE s.toast SET v = 2}, q{UPDATE s.toast SET b = repeat('c', 30000)}, q{UPDATE s.toast SET a = 'short', b = NULL});
is_deeply([ map { length $lines[0]{new}{$_} } qw(a b) ], [ 10000, 20000 ], 'large values of a new row');
is_deeply($lines[1]{new}, { id => 1, v => 2 }, 'large values that did not change are not told');
is(length $lines[2]{new}{b}, 30000, 'one that did is');
ok(!exists $lines[2]{new}{a}, 'the other one is not');
is_deeply($lines[3]{new}, { id => 1, v => 2, a => 'short', b => undef }, 'values that became small, or NULL');

changes($target, 'toast', q{UPDATE s.toast SET a = repeat('d', 10000), b = repeat('e', 20000)}, 'ALTER TABLE s.toast REPLICA IDENTITY FULL');
@lines = changes($target, 'toast', q{UPDATE s.toast SET v = 3}, q{UPDATE s.toast SET id = 2, a = 'x'}, 'DELETE FROM s.toast');
is_deeply([ map { length $lines[0]{new}{$_} } qw(a b) ], [ 10000, 20000 ], 'a full replica identity tells them');
is(substr($lines[0]{old}{a}, 0, 3), 'ddd', 'of the old row too');
is_deeply([ length $lines[1]{new}{b}, $lines[1]{old}{id} ], [ 20000, 1 ], 'with a new key as well');
is(length $lines[2]{old}{b}, 20000, 'and of a row that is deleted');
done('toast');

$target = published('bigkey', q{CREATE TABLE s.bigkey (k text PRIMARY KEY, v int, big text);
	ALTER TABLE s.bigkey ALTER k SET STORAGE EXTERNAL, ALTER big SET STORAGE EXTERNAL});
@lines = changes($target, 'bigkey', q{INSERT INTO s.bigkey VALUES (repeat('k', 2500), 1, repeat('x', 5000))},
	q{UPDATE s.bigkey SET v = 2}, 'DELETE FROM s.bigkey');
is(kinds(@lines), 'insert update delete', 'a key that is stored out of line');
is(length $lines[1]{new}{k}, 2500, 'is told with each update');
ok(!exists $lines[1]{new}{big}, 'unlike other values');
is(length $lines[2]{old}{k}, 2500, 'and delete');
done('bigkey');

# --- large transactions --------------------------------------------------------------------------

$target = published('large', 'CREATE TABLE s.large (id int PRIMARY KEY, v text)',
	'{"decode_memory": 1048576, "batch_bytes": 65536}');
sql(q{ALTER SYSTEM SET logical_decoding_work_mem = '64kB'}, 'SELECT pg_reload_conf()');
@lines = changes($target, 'large', 'BEGIN', q{INSERT INTO s.large SELECT n, md5(n::text) FROM generate_series(1, 30000) n},
	q{UPDATE s.large SET v = v || 'x' WHERE id % 3 = 0}, 'SAVEPOINT a', 'DELETE FROM s.large', 'ROLLBACK TO a',
	'DELETE FROM s.large WHERE id % 2 = 0', 'COMMIT', q{INSERT INTO s.large VALUES (0, 'after')});
is(scalar @lines, 30000 + 10000 + 15000 + 1, 'a transaction that fits neither into memory nor into half of it');
is_deeply([ map { $_->{number} } @lines[ 0 .. 54999 ] ], [ 0 .. 54999 ], 'whole and in order');
is(scalar(grep { $lines[ $_ - 1 ]{new}{v} ne sql("SELECT md5('$_')") } 1, 2, 15000, 30000), 0, 'with the right values');
is(scalar(keys %{ $target->rows('s.large', 'id') }), 15001, 'it leaves the right rows');
@lines = changes($target, 'large', q{INSERT INTO s.large VALUES (-1, repeat('z', 20000000)), (-2, 'small')});
is(length $lines[0]{new}{v}, 20_000_000, 'a row larger than the memory');
is($lines[1]{new}{v}, 'small', 'and what comes after it');
sql_becomes($hub, 'SELECT count(*) FROM pg_ls_tmpdir()', 0, 'leaves no temporary file');
sql('ALTER SYSTEM RESET logical_decoding_work_mem', 'SELECT pg_reload_conf()');
done('large');

# --- formats as they were ---------------------------------------------------------------------------

$target = published('alter', q{CREATE TABLE s.alter (id int PRIMARY KEY, a text); INSERT INTO s.alter VALUES (1, 'copied')});
later('alter', q{INSERT INTO s.alter VALUES (2, 'two')}, q{ALTER TABLE s.alter ADD b int DEFAULT 5},
	q{UPDATE s.alter SET a = 'uno' WHERE id = 1}, q{ALTER TABLE s.alter RENAME a TO c},
	q{INSERT INTO s.alter VALUES (3, 'three', 6)}, q{ALTER TABLE s.alter ALTER b TYPE text USING 'b' || b},
	q{INSERT INTO s.alter VALUES (4, 'four', 'x')}, q{ALTER TABLE s.alter DROP b},
	q{INSERT INTO s.alter VALUES (5, 'five')}, 'VACUUM FULL s.alter', q{DELETE FROM s.alter WHERE id = 1},
	q{ALTER TABLE s.alter DROP CONSTRAINT alter_pkey, ADD PRIMARY KEY (c)}, q{DELETE FROM s.alter WHERE id = 2});
caught_up($hub, 'alter');
@lines = map { @$_[ 1 .. $#$_ - 1 ] } $target->transactions;
is_deeply([ map { $_->{new} || $_->{old} } @lines ],
	[ { id => 2, a => 'two' }, { id => 1, a => 'uno', b => 5 }, { id => 3, c => 'three', b => 6 },
		{ id => 4, c => 'four', b => 'x' }, { id => 5, c => 'five' }, { id => 1 }, { c => 'two' } ],
	'each row has the columns of its time, however late it is read');
is(scalar(grep { $_->{kind} eq 'table' && $_->{ddl} eq 'changed' } $target->lines), 5, 'each format is told once');

later('alter', 'BEGIN', q{INSERT INTO s.alter VALUES (6, 'six')}, 'ALTER TABLE s.alter ADD d int',
	q{INSERT INTO s.alter VALUES (7, 'seven', 70)}, 'SAVEPOINT a', 'ALTER TABLE s.alter DROP d',
	q{INSERT INTO s.alter VALUES (8, 'no')}, 'ROLLBACK TO a', q{INSERT INTO s.alter VALUES (8, 'eight', 80)}, 'COMMIT');
caught_up($hub, 'alter');
@lines = @{ ($target->transactions)[-1] };
is_deeply([ map { $_->{new} } @lines[ 1 .. $#lines - 1 ] ],
	[ { id => 6, c => 'six' }, { id => 7, c => 'seven', d => 70 }, { id => 8, c => 'eight', d => 80 } ],
	'also within a transaction');
@lines = changes($target, 'alter', 'ALTER TABLE s.alter DROP d, ADD d int', q{INSERT INTO s.alter VALUES (9, 'nine', 90)});
is((grep { $_->{kind} eq 'table' } $target->lines)[-1]{ddl}, 'changed', 'a column that was dropped and made again is another one');
done('alter');

# --- tables that are altered while others write ------------------------------------------------------------

sql(<<'SQL');
CREATE SEQUENCE s.names;
CREATE FUNCTION s.step() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	dice float := random();
	names text[];
	victim text;
BEGIN
	IF dice < 0.05 THEN
		EXECUTE format('ALTER TABLE s.ddl ADD c%s text %s', nextval('s.names'),
			CASE WHEN random() < 0.5 THEN 'DEFAULT ''x''' ELSE '' END);
	ELSIF dice < 0.10 THEN
		SELECT attname INTO victim FROM pg_attribute
			WHERE attrelid = 's.ddl'::regclass AND attname ~ '^c\d' AND NOT attisdropped ORDER BY random() LIMIT 1;
		IF victim IS NOT NULL THEN
			EXECUTE format('ALTER TABLE s.ddl DROP COLUMN IF EXISTS %I', victim);
		END IF;
	ELSIF dice < 0.11 THEN
		EXECUTE 'ALTER TABLE s.ddl ALTER cols TYPE ' || CASE WHEN random() < 0.5 THEN 'varchar' ELSE 'text' END;
	ELSE
		LOCK TABLE s.ddl IN ROW EXCLUSIVE MODE;
		SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') INTO names FROM pg_attribute
			WHERE attrelid = 's.ddl'::regclass AND attname ~ '^c\d' AND NOT attisdropped;
		EXECUTE format('INSERT INTO s.ddl (cols%s) VALUES (%L%s)',
			(SELECT coalesce(string_agg(', ' || x, ''), '') FROM unnest(names) x),
			array_to_string(names, ' '),
			(SELECT coalesce(string_agg(', ' || quote_literal(x), ''), '') FROM unnest(names) x));
	END IF;
END $$;
SQL
$target = published('ddl', 'CREATE TABLE s.ddl (id bigserial PRIMARY KEY, cols text)');
my $script = PostgreSQL::Test::Utils::tempdir() . '/step.sql';
append_to_file($script, "SELECT s.step();\n");
$hub->command_ok([ 'pgbench', '-n', '-c', 4, '-t', 400, '-f', $script, '-d', $hub->connstr('postgres') ],
	'sessions that write and alter');
caught_up($hub, 'ddl');
my $wrong = 0;
@lines = grep { $_->{kind} eq 'insert' } $target->lines;
for my $line (@lines)
{
	my %new = %{ $line->{new} };
	delete $new{id};
	my %told = map { $_ => $_ } split / /, delete $new{cols};
	$wrong++ unless join(' ', %new{ sort keys %new }) eq join(' ', %told{ sort keys %told });
}
is(scalar @lines, sql('SELECT count(*) FROM s.ddl'), 'each row is there');
is($wrong, 0, 'with just the columns it was written with');
done('ddl');

# --- partitions ----------------------------------------------------------------------------------------

$target = published('parts', q{
	CREATE TABLE s.parts (id int, region int, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
	CREATE TABLE s.parts1 (gone int, v text, region int NOT NULL, id int NOT NULL, PRIMARY KEY (region, id));
	ALTER TABLE s.parts1 DROP gone;
	ALTER TABLE s.parts ATTACH PARTITION s.parts1 FOR VALUES IN (1);
	CREATE TABLE s.parts2 PARTITION OF s.parts FOR VALUES IN (2, 3) PARTITION BY LIST (region);
	CREATE TABLE s.parts3 PARTITION OF s.parts2 FOR VALUES IN (3)});
@lines = changes($target, 'parts', q{INSERT INTO s.parts VALUES (1, 1, 'a'), (2, 3, 'b')},
	q{UPDATE s.parts SET v = 'c'}, q{UPDATE s.parts SET region = 3 WHERE id = 1}, 'DELETE FROM s.parts WHERE id = 2');
is(kinds(@lines), 'insert insert update update delete insert delete', 'rows of partitions are those of the root');
is_deeply([ map { $_->{table} } @lines ], [ ('s.parts') x 7 ], 'by its name');
is_deeply($lines[0]{new}, { id => 1, region => 1, v => 'a' }, 'with its columns');
is_deeply($lines[4]{old}, { id => 1, region => 1 }, 'the key of a partition in another order');
@lines = changes($target, 'parts', 'CREATE TABLE s.parts9 PARTITION OF s.parts FOR VALUES IN (9)',
	q{INSERT INTO s.parts VALUES (9, 9, 'new')}, 'ALTER TABLE s.parts ADD w int', q{UPDATE s.parts SET w = 1 WHERE id = 9});
is_deeply([ map { $_->{new} } @lines ], [ { id => 9, region => 9, v => 'new' }, { id => 9, region => 9, v => 'new', w => 1 } ],
	'a new partition, and a new column');
@lines = changes($target, 'parts', 'TRUNCATE s.parts');
is(kinds(@lines), 'truncate', 'the root is truncated once');
@lines = changes($target, 'parts', 'TRUNCATE s.parts3');
is(kinds(@lines), '', 'that a partition was truncated cannot be told');
changes($target, 'parts', q{INSERT INTO s.parts VALUES (5, 3, 'next')});
sql_ok($hub, q{SELECT source_table FROM tapdata.events WHERE kind = 'warning' AND message ~ '"parts3" was truncated by itself'},
	's.parts', 'but is an event');
@lines = changes($target, 'parts', 'ALTER TABLE s.parts DETACH PARTITION s.parts9', q{INSERT INTO s.parts9 VALUES (8, 9, 'no', 1)},
	q{INSERT INTO s.parts VALUES (7, 3, 'yes', 1)});
is_deeply([ map { $_->{new}{v} } @lines ], ['yes'], 'a table that is a partition no more');
done('parts');

# --- what is told of old rows ------------------------------------------------------------------------------

$target = published('ident', q{CREATE TABLE s.ident (a int NOT NULL, b int PRIMARY KEY, c text);
	CREATE UNIQUE INDEX ident_a ON s.ident (a); ALTER TABLE s.ident REPLICA IDENTITY USING INDEX ident_a});
@lines = changes($target, 'ident', q{INSERT INTO s.ident VALUES (1, 10, 'x')}, 'UPDATE s.ident SET b = 20',
	'UPDATE s.ident SET a = 2', 'DELETE FROM s.ident');
is_deeply([ map { $_->{old} } @lines ], [ undef, undef, { a => 1 }, { a => 2 } ], 'the columns of another index');
($table) = grep { $_->{kind} eq 'table' } $target->lines;
is_deeply($table->{keys}, ['a'], 'which is the key then');
done('ident');

$target = published('lost', q{CREATE TABLE s.lost (id int PRIMARY KEY, v int); INSERT INTO s.lost VALUES (1, 1), (2, 2)});
later('lost', 'ALTER TABLE s.lost REPLICA IDENTITY NOTHING', 'DELETE FROM s.lost WHERE id = 1',
	'ALTER TABLE s.lost REPLICA IDENTITY DEFAULT');
wait_for_state($hub, 'lost', 'failed');
sql_ok($hub, q{SELECT last_error ~ '"lost" was deleted without its key.*REPLICA IDENTITY FULL.*resync' FROM tapdata.status}, 't',
	'a change that nobody can follow stops the pipeline');
sql(q{SELECT tapdata.resync('lost', 's.lost')}, q{SELECT tapdata.start('lost')});
ok(caught_up($hub, 'lost'), 'until the table is copied again');
is_deeply([ keys %{ $target->rows('s.lost', 'id') } ], [2], 'as it is now');
done('lost');

# --- filters ---------------------------------------------------------------------------------------------------

$target = published('filt', q{CREATE TABLE s.filt (id int PRIMARY KEY, v text, big text) PARTITION BY RANGE (id);
	CREATE TABLE s.filt1 (big text, id int NOT NULL, v text);
	ALTER TABLE s.filt1 ALTER big SET STORAGE EXTERNAL;
	ALTER TABLE s.filt ATTACH PARTITION s.filt1 FOR VALUES FROM (1) TO (1000);
	ALTER TABLE s.filt REPLICA IDENTITY FULL; ALTER TABLE s.filt1 REPLICA IDENTITY FULL},
	q({"where": "filt.v LIKE 'y%' AND length(big) > 3", "columns": ["v", "id", "big"]}));
@lines = changes($target, 'filt', q{INSERT INTO s.filt VALUES (1, 'yes', repeat('b', 9000)), (2, 'no', 'long'), (3, NULL, 'long')},
	q{UPDATE s.filt SET v = 'yy' WHERE id = 1}, q{UPDATE s.filt SET v = 'n' WHERE id = 1}, q{UPDATE s.filt SET v = 'ye' WHERE id = 1},
	q{UPDATE s.filt SET big = 'b' WHERE id = 1}, 'DELETE FROM s.filt');
is(kinds(@lines), 'insert update delete insert delete', 'a filter over columns of a partition');
is(length $lines[3]{new}{big}, 9000, 'an update that has become an insert has all values');
done('filt');

# --- origins ----------------------------------------------------------------------------------------------------

sql(q{SELECT pg_replication_origin_create('far')}, q{SELECT pg_replication_origin_create('near')},
	'CREATE TABLE s.org (id int PRIMARY KEY)');
my %origins = (orig_any => '"any"', orig_local => '"local"', orig_far => '["far"]', orig_both => '["local", "near"]');
my %targets;
for my $name (sort keys %origins)
{
	$targets{$name} = published($name, '', qq({"origins": $origins{$name}, "snapshot": "never"}), tables => ['s.org']);
}
sql('INSERT INTO s.org VALUES (1)',
	q{SELECT pg_replication_origin_session_setup('far')}, 'INSERT INTO s.org VALUES (2)', q{SELECT pg_replication_origin_session_reset()},
	q{SELECT pg_replication_origin_session_setup('near')}, 'INSERT INTO s.org VALUES (3)', q{SELECT pg_replication_origin_session_reset()});
sql(q{SELECT pg_replication_origin_create('new')}, q{SELECT pg_replication_origin_session_setup('new')},
	'INSERT INTO s.org VALUES (4)');
my %expected = (orig_any => '1 2:far 3:near 4:new', orig_local => '1', orig_far => '2:far', orig_both => '1 3:near');
for my $name (sort keys %origins)
{
	caught_up($hub, $name);
	is(join(' ', map { $_->[1]{new}{id} . ($_->[0]{origin} ? ":$_->[0]{origin}" : '') } $targets{$name}->transactions),
		$expected{$name}, "origins $origins{$name}");
	done($name);
}

# --- commits that are not waited for, and a quiet pipeline -------------------------------------------------------

$target = published('wake', 'CREATE TABLE s.wake (id int PRIMARY KEY)');
ok(within($hub, 8, sub {
	changes($target, 'wake', "INSERT INTO s.wake VALUES ($_)") for 1 .. 10;
}), 'a commit wakes the pipeline');
ok(within($hub, 3, sub {
	sql('SET synchronous_commit = off', 'INSERT INTO s.wake VALUES (100)');
	wait_for_sql($hub, q{SELECT inserts FROM tapdata.status WHERE name = 'wake'}, 11);
}), 'one that is not flushed yet is not forgotten');

my ($busy) = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'});
sql('CREATE DATABASE elsewhere');
$hub->safe_psql('elsewhere', q{CREATE TABLE t AS SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n; SELECT pg_switch_wal()});
my $lsn = sql('SELECT pg_current_wal_flush_lsn()');
wait_for_sql($hub, "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots");
pass('WAL of another database is let go of');
sql('CHECKPOINT');
wait_for_sql($hub, "SELECT restart_lsn >= '$lsn' FROM pg_replication_slots");
pass('also on disk');
is(sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'}), $busy, 'by the same worker');

# --- slots ----------------------------------------------------------------------------------------------------------

sql_fails($hub, q{SELECT pg_create_logical_replication_slot('mine', 'tapdata')}, '[0-9A-Z]{5}',
	qr/plugin/, 'nobody else can use the output plugin');
is(sql(q{SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'mine'}), 0, 'no slot remains of that');

SKIP:
{
	skip 'this server has no output_plugin_libraries', 2
	  unless sql(q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'});
	sql('ALTER SYSTEM SET tapdata.allow_output_plugin = off', 'SELECT pg_reload_conf()');
	wait_for_sql($hub, 'SHOW tapdata.allow_output_plugin', 'off');
	sql(q{SELECT tapdata.stop('wake')});
	wait_for_state($hub, 'wake', 'stopped');
	sql(q{SELECT tapdata.start('wake')});
	wait_for_state($hub, 'wake', 'failed');
	sql_ok($hub, q{SELECT last_error ~ 'not allowed.*output_plugin_libraries' FROM tapdata.status}, 't',
		'the plugin can be forbidden');
	sql('ALTER SYSTEM RESET tapdata.allow_output_plugin',
		q{ALTER SYSTEM SET output_plugin_libraries = 'pgoutput', 'tapdata'}, 'SELECT pg_reload_conf()');
	wait_for_sql($hub, 'SHOW output_plugin_libraries', 'pgoutput, tapdata');
	sql(q{SELECT tapdata.start('wake')});
	ok(caught_up($hub, 'wake'), 'and be allowed by the server');
	sql('ALTER SYSTEM RESET output_plugin_libraries', 'SELECT pg_reload_conf()');
}

SKIP:
{
	skip 'this server has no failover slots', 4 if sql('SHOW server_version_num') < 170000;
	my $over = published('over', 'CREATE TABLE s.over (id int PRIMARY KEY)', '{"failover": true}');
	is(sql(q{SELECT string_agg(failover::text, ' ' ORDER BY failover) FROM pg_replication_slots}), 'false true', 'a slot with failover');
	sql(q{SELECT pg_create_physical_replication_slot('standby', true)},
		q{ALTER SYSTEM SET synchronized_standby_slots = 'standby'}, 'SELECT pg_reload_conf()');
	wait_for_sql($hub, 'SHOW synchronized_standby_slots', 'standby');

	# that other pipelines go on shows that the settings are read
	changes($target, 'wake', 'INSERT INTO s.over VALUES (1)', 'INSERT INTO s.wake VALUES (200)');
	sql_fails($hub, q{SELECT tapdata.wait('over', '1 s')}, '[0-9A-Z]{5}', qr/timeout/, 'what the standby does not have is not sent');
	is_deeply($over->rows('s.over', 'id'), {}, 'not at all');
	sql('ALTER SYSTEM RESET synchronized_standby_slots', 'SELECT pg_reload_conf()');
	caught_up($hub, 'over');
	is_deeply([ keys %{ $over->rows('s.over', 'id') } ], [1], 'but later');
	sql(q{SELECT pg_drop_replication_slot('standby')});
	done('over');
	wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', 1);
}

sql(q{SELECT tapdata.stop('wake')});
wait_for_state($hub, 'wake', 'stopped');
sql(q{ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'}, 'SELECT pg_reload_conf()');
wait_for_sql($hub, 'SHOW max_slot_wal_keep_size', '1MB');
for (1 .. 4)
{
	sql('SELECT pg_switch_wal()', 'INSERT INTO s.wake SELECT max(id) + 1 FROM s.wake');
}
sql('CHECKPOINT', 'SELECT pg_switch_wal()', 'INSERT INTO s.wake SELECT max(id) + 1 FROM s.wake', 'CHECKPOINT');
wait_for_sql($hub, 'SELECT wal_status FROM pg_replication_slots', 'lost');
sql(q{SELECT tapdata.start('wake')});
wait_for_state($hub, 'wake', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'max_slot_wal_keep_size.*resync' FROM tapdata.status}, 't', 'a slot whose WAL is gone');
sql(q{ALTER SYSTEM RESET max_slot_wal_keep_size}, 'SELECT pg_reload_conf()', q{SELECT tapdata.resync('wake')}, q{SELECT tapdata.start('wake')});
ok(caught_up($hub, 'wake'), 'is made anew by resync()');
is(scalar keys %{ $target->rows('s.wake', 'id') }, sql('SELECT count(*) FROM s.wake'), 'with all rows');

done('wake');
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', 0);
pass('the slot goes with its pipeline');
published('last', 'CREATE TABLE s.last (id int PRIMARY KEY)');
sql('DROP EXTENSION tapdata CASCADE');
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', 0);
pass('and with the extension');

$hub->stop;
done_testing();
