# What a publish pipeline sends: copies, transactions in commit order, tables that
# come, change and go. The target is a file that shows every call.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('publish', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $target = Tapdata::Fake::Target->new;

sub sql
{
	my ($statements) = @_;

	return $hub->safe_psql('postgres', $statements);
}

sub published
{
	my ($pipeline) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return caught_up($hub, $pipeline || 'p');
}

# The lines of a kind for a table.
sub lines
{
	my ($kind, $table) = @_;

	return grep { $_->{kind} eq $kind && (!$table || $_->{table} eq $table) } $target->lines;
}

# The changes of the newest transaction as "kind table".
sub newest
{
	my @transactions = $target->transactions;
	my @changes = @{ $transactions[-1] };

	return join ', ', map { "$_->{kind} $_->{table}" } @changes[ 1 .. $#changes - 1 ];
}

# The newest change itself.
sub last_change
{
	my @transactions = $target->transactions;

	return $transactions[-1][-2];
}

# --- the first copy ---------------------------------------------------------------------

sql(q{
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text, big text);
	CREATE TABLE s.empty (id int PRIMARY KEY);
	CREATE TABLE s.parent (id int PRIMARY KEY);
	CREATE TABLE s.child (note text, PRIMARY KEY (id)) INHERITS (s.parent);
	CREATE TABLE s.parts (id int, region int, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
	CREATE TABLE s.part1 PARTITION OF s.parts FOR VALUES IN (1);
	CREATE TABLE s.part2 (v text, gone int, region int NOT NULL, id int NOT NULL, PRIMARY KEY (region, id));
	ALTER TABLE s.part2 DROP COLUMN gone;
	ALTER TABLE s.parts ATTACH PARTITION s.part2 FOR VALUES IN (2);
	CREATE TABLE s."Odd ""name" ("Key" int PRIMARY KEY, "a.b" text, g int GENERATED ALWAYS AS ("Key" * 2) STORED);
	ALTER TABLE s.t ALTER big SET STORAGE EXTERNAL;
	INSERT INTO s.t SELECT n, 'v' || n, repeat(md5(n::text), 100) FROM generate_series(1, 500) n;
	ALTER TABLE s.t ADD COLUMN later int DEFAULT 7;
	INSERT INTO s.parent VALUES (1);
	INSERT INTO s.child VALUES (2, 'x');
	INSERT INTO s.parts SELECT n, 1 + n % 2, 'p' || n FROM generate_series(1, 10) n;
	INSERT INTO s."Odd ""name" VALUES (1, E'tab\t and \\\\ and' || chr(10) || 'new line');});
sql($target->publish_sql('p', ['s.*']));
published();

is(scalar lines('read', 's.t'), 500, 'all rows are copied');
is($target->rows('s.t', 'id')->{77}{later}, 7, 'with defaults of columns that were added');
is(length $target->rows('s.t', 'id')->{77}{big}, 3200, 'and large values');
is(scalar lines('copied', 's.empty'), 1, 'an empty table is copied too');
is_deeply([ keys %{ $target->rows('s.parent', 'id') } ], [1], 'a table without the rows of its children');
is_deeply([ keys %{ $target->rows('s.child', 'id') } ], [2], 'which are tables of their own');
is(scalar keys %{ $target->rows('s.parts', 'region', 'id') }, 10, 'a partitioned table as one');
is(scalar lines('table', 's.part1'), 0, 'not its partitions');
is_deeply($target->rows('s.Odd "name', 'Key'),
	{ 1 => { Key => 1, 'a.b' => "tab\t and \\ and\nnew line", g => 2 } }, 'odd names and values, generated columns');
is_deeply([ map { $_->{number} } lines('read', 's.t') ], [ 0 .. 499 ], 'rows of a copy are numbered');
my ($position) = lines('position');
my ($start) = sql(q{SELECT start_position FROM tapdata.pipeline_table WHERE source_name = 't'});
is(sql(q{SELECT position FROM tapdata.position}), $start, 'the position is that of the copies');
is_deeply([ map { $_->{again} } lines('copy') ], [ (0) x 6 ], 'no copy was begun before');
sql_ok($hub, q{SELECT count(*) FROM tapdata.events WHERE kind = 'snapshot done'}, '6', 'each copy is an event');

# --- transactions -----------------------------------------------------------------------

sql(q{BEGIN; INSERT INTO s.t VALUES (1001, 'a'); UPDATE s.t SET v = 'b' WHERE id = 1001;
	DELETE FROM s.parent WHERE id = 1; INSERT INTO s.parts VALUES (11, 2, 'p11'); COMMIT});
published();
is(newest(), 'insert s.t, update s.t, delete s.parent, insert s.parts', 'a transaction, whole and in order');
is_deeply(last_change()->{new}, { id => 11, region => 2, v => 'p11' }, 'a row of a partition with other columns');

sql(q{BEGIN; INSERT INTO s.t VALUES (1002, 'no'); ROLLBACK;
	BEGIN; INSERT INTO s.t VALUES (1003, 'yes'); SAVEPOINT x; INSERT INTO s.t VALUES (1004, 'no');
	ROLLBACK TO x; INSERT INTO s.empty VALUES (1); COMMIT});
published();
is(newest(), 'insert s.t, insert s.empty', 'what is rolled back is not sent');
is(last_change()->{number}, 1, 'changes are numbered in their transaction');
ok(!exists $target->rows('s.t', 'id')->{1002}, 'nor a whole transaction');

sql(q{UPDATE s.t SET id = 2001 WHERE id = 1});
published();
is_deeply([ last_change()->{old}{id}, last_change()->{new}{id} ], [ 1, 2001 ], 'a key that changed comes with the old one');
ok(!exists last_change()->{new}{big}, 'a large value that did not change is not sent');
ok(!exists last_change()->{old}{v}, 'of the old row the key is known');
sql(q{UPDATE s.t SET v = 'w' WHERE id = 2});
published();
ok(!last_change()->{old}, 'else no old row is sent');
is(length $target->rows('s.t', 'id')->{2}{big}, 3200, 'and the large value is as it was');
sql(q{DELETE FROM s.t WHERE id = 3});
published();
is(last_change()->{old}{id}, 3, 'a delete tells the key');
sql(q{ALTER TABLE s.empty REPLICA IDENTITY FULL; TRUNCATE s.empty, s.parent CASCADE});
published();
is(newest(), 'truncate s.empty, truncate s.parent, truncate s.child', 'truncate');

sql(q{BEGIN; INSERT INTO s.t SELECT n, 'many' FROM generate_series(10001, 15000) n; COMMIT});
published();
my @transactions = $target->transactions;
is(scalar @{ $transactions[-1] }, 5_002, 'a large transaction comes as one');
is($transactions[-1][0]{changes}, 5_000, 'and says how large it is');
sql(q{SELECT tapdata.alter_pipeline('p', '{"decode_memory": 65536, "batch_bytes": 1024, "buffer_bytes": 10000}')});
sql(q{BEGIN; DELETE FROM s.t WHERE id > 10000; INSERT INTO s.t VALUES (3001, 'end', repeat('x', 3000000)); COMMIT});
published();
is(scalar @{ ($target->transactions)[-1] }, 5_003, 'also when it does not fit in memory');
is(length last_change()->{new}{big}, 3_000_000, 'nor one of its values');
sql(q{SELECT tapdata.alter_pipeline('p', '{"decode_memory": null, "batch_bytes": null, "buffer_bytes": null}')});

# --- several sessions at once -------------------------------------------------------------

sql(q{CREATE TABLE s.counter (id int PRIMARY KEY, n int); INSERT INTO s.counter SELECT n, 0 FROM generate_series(1, 3) n});
published();
my $script = PostgreSQL::Test::Utils::tempdir() . '/bench.sql';
append_to_file($script, <<'SQL');
\set id random(1, 3)
BEGIN;
UPDATE s.counter SET n = n + 1 WHERE id = :id;
INSERT INTO s.t (id, v) VALUES ((SELECT 100000 + sum(n) * 10 + :id FROM s.counter), 'x') ON CONFLICT DO NOTHING;
COMMIT;
SQL
$hub->command_ok([ 'pgbench', '-n', '-c', 4, '-t', 250, '-f', $script, '-d', $hub->connstr('postgres') ],
	'four sessions write at once');
published();
is($target->rows('s.counter', 'id')->{$_}{n}, sql("SELECT n FROM s.counter WHERE id = $_"), "counter $_ is right") for 1 .. 3;
my %last = (map { $_ => 0 } 1 .. 3);
my $in_order = 1;
for my $line (lines('update', 's.counter'))
{
	$in_order = 0 unless $line->{new}{n} == ++$last{ $line->{new}{id} };
}
ok($in_order, 'changes of a row come in commit order, each once');

# --- what is not ours ------------------------------------------------------------------------

my $before = scalar $target->transactions;
sql(q{CREATE SCHEMA other; CREATE TABLE other.x (id int PRIMARY KEY); INSERT INTO other.x SELECT generate_series(1, 100)});
my $lsn = sql('SELECT pg_current_wal_insert_lsn()');
wait_for_sql($hub, "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots", 't');
is(scalar $target->transactions, $before, 'transactions of other tables are not sent');
pass('and the slot moves on over them');

# --- formats -----------------------------------------------------------------------------------

sql(q{BEGIN; INSERT INTO s.empty VALUES (5); ALTER TABLE s.empty ADD COLUMN c text DEFAULT 'd';
	INSERT INTO s.empty VALUES (6, 'e'); COMMIT});
published();
is(newest(), 'insert s.empty, insert s.empty', 'a table that is altered in the middle of a transaction');
my ($changed) = grep { $_->{ddl} eq 'changed' } lines('table', 's.empty');
is_deeply($changed->{columns}, [ [ 'id', 'integer' ], [ 'c', 'text' ] ], 'the target is told the new format');
sql(q{ALTER TABLE s.empty DROP COLUMN c; ALTER TABLE s.empty ADD COLUMN c int; INSERT INTO s.empty VALUES (7, 70)});
published();
is(last_change()->{new}{c}, 70, 'a column of the same name and another type');
sql(q{ALTER TABLE s.empty REPLICA IDENTITY NOTHING});
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 's\.empty.*REPLICA IDENTITY FULL' FROM tapdata.status}, 't',
	'a table whose updates cannot be told any more stops the pipeline');
sql(q{ALTER TABLE s.empty REPLICA IDENTITY DEFAULT; SELECT tapdata.start('p')});
published();

# --- tables that come and go ----------------------------------------------------------------------

sql(q{BEGIN; CREATE TABLE s.fresh (id int PRIMARY KEY, v text); INSERT INTO s.fresh VALUES (1, 'a');
	INSERT INTO s.t (id, v) VALUES (4001, 'with'); COMMIT});
sql(q{INSERT INTO s.fresh VALUES (2, 'b')});
published();
is_deeply($target->rows('s.fresh', 'id'), { 1 => { id => 1, v => 'a' }, 2 => { id => 2, v => 'b' } },
	'a table that comes to match is published by itself');
ok(exists $target->rows('s.t', 'id')->{4001}, 'the others go on');
sql(q{UPDATE s.fresh SET v = 'c' WHERE id = 1});
published();
is($target->rows('s.fresh', 'id')->{1}{v}, 'c', 'it streams');

sql(q{ALTER TABLE s.fresh RENAME TO renamed; UPDATE s.renamed SET v = 'd' WHERE id = 2});
published();
is($target->rows('s.renamed', 'id')->{2}{v}, 'd', 'one that is renamed is published under its new name');
is(scalar keys %{ $target->rows('s.renamed', 'id') }, 2, 'with all of its rows');

# what was done under the old name is sent under it; names that are exchanged, or were somebody else's
sql(q{CREATE TABLE s.live (id int PRIMARY KEY, v text); CREATE TABLE s.next (id int PRIMARY KEY, v text); CREATE TABLE s.spare (id int PRIMARY KEY, v text);
	INSERT INTO s.live VALUES (1, 'old'); INSERT INTO s.next VALUES (1, 'new')});
published();
sql(q{SELECT tapdata.stop('p')});
wait_for_state($hub, 'p', 'stopped');
sql(q{INSERT INTO s.live VALUES (2, 'old'); INSERT INTO s.next VALUES (2, 'new');
	BEGIN; ALTER TABLE s.next RENAME TO aside; ALTER TABLE s.live RENAME TO next; ALTER TABLE s.aside RENAME TO live; COMMIT;
	SELECT tapdata.start('p')});
published();
is(scalar(grep { $_->{new}{id} == 2 && $_->{new}{v} eq 'old' } lines('insert', 's.live')), 1,
	'what was not yet sent is sent under the name that the table had');
is($target->rows('s.live', 'id')->{2}{v} . $target->rows('s.next', 'id')->{2}{v}, 'newold', 'tables that have exchanged their names');
sql(q{BEGIN; DROP TABLE s.live; ALTER TABLE s.next RENAME TO live; COMMIT; INSERT INTO s.live VALUES (3, 'over')});
published();
is_deeply([ map { $_->{v} } @{ $target->rows('s.live', 'id') }{ 1, 2, 3 } ], [ 'old', 'old', 'over' ], 'a name that another table had');
sql(q{ALTER TABLE s.spare RENAME TO spared});
published();
is(sql(q{SELECT string_agg(source_table, ' ' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = 'p' AND source_table ~ 'spare'}), 's.spared', 'an empty one');

sql(q{SELECT tapdata.stop('p')});
wait_for_state($hub, 'p', 'stopped');
sql(q{DELETE FROM s.renamed WHERE id = 1; DROP TABLE s.renamed});
sql(q{SELECT tapdata.start('p')});
published();
wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE source_table = 's.renamed'}, 'dropped');
is_deeply([ keys %{ $target->rows('s.renamed', 'id') } ], [2], 'the last changes of a dropped table are sent');
sql(q{CREATE TABLE s.renamed (id int PRIMARY KEY, x int); INSERT INTO s.renamed VALUES (9, 9)});
published();
is_deeply($target->rows('s.renamed', 'id'), { 9 => { id => 9, x => 9 } }, 'when it comes back it is copied');
is((lines('copy', 's.renamed'))[-1]{again}, 1, 'over what was there before');

sql(q{SELECT tapdata.stop('p')});
wait_for_state($hub, 'p', 'stopped');
sql(q{ALTER TABLE s.renamed RENAME x TO y; INSERT INTO s.renamed VALUES (10, 10); SELECT tapdata.start('p')});
published();
is_deeply([ @{ (lines('table', 's.renamed'))[-1] }{qw(ddl columns)} ],
	[ 'resumed', [ [ 'id', 'integer' ], [ 'y', 'integer' ] ] ], 'the target is told what changed while the pipeline was stopped');
sql(q{SELECT tapdata.stop('p')});
wait_for_state($hub, 'p', 'stopped');
sql(q{INSERT INTO s.renamed VALUES (11, 11); SELECT tapdata.start('p')});
published();
is((lines('table', 's.renamed'))[-1]{ddl}, 'known', 'but not of what is as it was');
is((lines('table', 's.renamed'))[0]{ddl}, 'new', 'which a copy makes');

# --- options of tables -------------------------------------------------------------------------------

sql(q{CREATE TABLE s.f (id int PRIMARY KEY, v int, secret text); ALTER TABLE s.f REPLICA IDENTITY FULL;
	INSERT INTO s.f SELECT n, n, 'x' FROM generate_series(1, 10) n});
my $filtered = Tapdata::Fake::Target->new;
sql($filtered->publish_sql('f', ['s.f'], '{"where": {"s.f": "v > 5 -- large"}, "columns": {"s.f": ["id", "v"]}}'));
published('f');
is_deeply([ sort { $a <=> $b } keys %{ $filtered->rows('s.f', 'id') } ], [ 6 .. 10 ], 'a condition holds for the copy');
is_deeply($filtered->rows('s.f', 'id')->{6}, { id => 6, v => 6 }, 'so does the list of columns');
sql(q{UPDATE s.f SET v = 100 WHERE id = 1; UPDATE s.f SET v = 0 WHERE id = 10; UPDATE s.f SET v = 60 WHERE id = 6;
	UPDATE s.f SET v = 1 WHERE id = 2; DELETE FROM s.f WHERE id = 3; DELETE FROM s.f WHERE id = 7});
published('f');
is_deeply([ map { $_->[1]{kind} } $filtered->transactions ], [qw(insert delete update delete)],
	'an update that crosses the condition is an insert or a delete');
is_deeply([ sort { $a <=> $b } keys %{ $filtered->rows('s.f', 'id') } ], [ 1, 6, 8, 9 ], 'and the rows are right');

sql_fails($hub, q{SELECT tapdata.publish('x', 'f', '{s.parts}', '{"where": "v = 1"}')}, '42883', qr/./, 'a condition that does not fit the types');
sql_fails($hub, q{SELECT tapdata.publish('x', 'f', '{s.parts}', '{"where": "v > ''a''"}')}, '55000',
	qr/needs column "v" of old rows.*ALTER TABLE s\.part/s, 'a condition wants what partitions tell of old rows');
sql_fails($hub, q{SELECT tapdata.publish('x', 'f', '{s.parts}', '{"columns": ["id", "v"]}')}, '55000',
	qr/lack "region"/, 'a list of columns has the key');
sql_fails($hub, q{SELECT tapdata.publish('x', 'f', '{s.t}', '{"where": "true; DROP TABLE s.t"}')}, '42601', qr/./, 'one condition only');
sql_fails($hub, q{SELECT tapdata.publish('x', 'f', '{s.t}', '{"where": "true FROM s.t"}')}, '42601', qr/single expression/, 'and no clause behind it');

my $inserts = Tapdata::Fake::Target->new;
sql(q{CREATE TABLE s.log (at int, v text)});
sql($inserts->publish_sql('i', ['s.log'], '{"publish": "insert", "snapshot": "never"}'));
published('i');
sql(q{INSERT INTO s.log VALUES (1, 'a'); UPDATE s.log SET v = 'b'; TRUNCATE s.log; INSERT INTO s.log VALUES (2, 'c')});
published('i');
is_deeply([ map { map { $_->{kind} } @$_[ 1 .. $#$_ - 1 ] } $inserts->transactions ], [qw(insert insert)],
	'only the kinds that are wanted');
is(scalar(grep { $_->{kind} eq 'copy' } $inserts->lines), 0, 'and no copy');
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 's\.log.*primary key' FROM tapdata.status WHERE name = 'p'}, 't',
	'a table that comes to match, but has no key, stops the pipeline');
sql(q{SELECT tapdata.drop_pipeline('i'); DROP TABLE s.log; SELECT tapdata.start('p')});
published();

# tables that come later are sent from their first row on, although nothing is copied
my $never = Tapdata::Fake::Target->new;
sql(q{CREATE SCHEMA later; CREATE TABLE later.a (id int PRIMARY KEY, v text)});
sql($never->publish_sql('never', ['later.*', '!later.other'], '{"snapshot": "never"}'));
wait_for_state($hub, 'never', 'streaming');
sql($_) for (q{INSERT INTO later.a VALUES (1, 'a')},
	q{BEGIN; INSERT INTO later.a VALUES (2, 'a'); CREATE TABLE later.b (id int PRIMARY KEY, v text);
		INSERT INTO later.b SELECT n, 'b' FROM generate_series(1, 10) n; INSERT INTO later.a VALUES (3, 'a'); COMMIT},
	q{CREATE TABLE later.gone (id int PRIMARY KEY); INSERT INTO later.gone VALUES (1); DROP TABLE later.gone},
	q{UPDATE later.b SET v = 'c' WHERE id > 9; INSERT INTO later.a VALUES (4, 'a')},
	q{INSERT INTO later.a VALUES (5, 'a'); DROP TABLE later.a; CREATE TABLE later.a (id int PRIMARY KEY); INSERT INTO later.a VALUES (6)},
	q{CREATE TABLE later.c (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE later.c1 PARTITION OF later.c DEFAULT; INSERT INTO later.c VALUES (1)});
published('never');
is_deeply([ map { my $table = $_->{table}; map { "$table $_" } $_->{new}{id} } grep { $_->{kind} =~ /insert|update/ && $_->{table} ne 'later.gone' } $never->lines ],
	[ 'later.a 1', 'later.a 2', (map { "later.b $_" } 1 .. 10), 'later.a 3', 'later.b 10', 'later.a 4', 'later.a 5', 'later.a 6', 'later.c 1' ],
	'all changes of tables that came later, each once and in order');

# one that is dropped while the worker looks at it
my $failures = q{SELECT count(*) FROM tapdata.events WHERE pipeline = 'never' AND kind IN ('retry', 'failed')};
my $failed_before = sql($failures);
stop_pipeline($hub, 'never');
sql(q{CREATE TABLE later.lost (id int PRIMARY KEY)});
my $dropper = $hub->background_psql('postgres');
$dropper->query_safe('BEGIN; DROP TABLE later.lost');
sql(q{SELECT tapdata.start('never')});
wait_for_sql($hub, q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = (SELECT oid FROM pg_class WHERE relname = 'lost')});
$dropper->query_safe('COMMIT');
$dropper->quit;
published('never');
is(sql($failures), $failed_before, 'a table that is dropped meanwhile is no error');
sql(q{SELECT tapdata.drop_pipeline('never'); DROP SCHEMA later CASCADE});

# --- the owner's rights -----------------------------------------------------------------------------

sql(q{CREATE ROLE publisher LOGIN IN ROLE pg_read_all_settings; GRANT USAGE ON SCHEMA s TO publisher;
	GRANT SELECT (id, v) ON s.f TO publisher});
my $limited = Tapdata::Fake::Target->new;
sql('GRANT USAGE ON SCHEMA tapdata TO publisher');
sql("SET ROLE publisher; SELECT tapdata.connect('l', '" . $limited->uri . "')");
sql_fails($hub, q{SET ROLE publisher; SELECT tapdata.publish('l', 'l', '{s.f}')}, '42501', qr/"secret"/,
	'all columns must be readable');
sql(q{SET ROLE publisher; SELECT tapdata.publish('l', 'l', '{s.f}', '{"columns": ["id", "v"]}')});
published('l');
is(scalar keys %{ $limited->rows('s.f', 'id') }, scalar sql('SELECT count(*) FROM s.f'), 'some columns can be granted');
sql(q{REVOKE SELECT (v) ON s.f FROM publisher; UPDATE s.f SET v = 8 WHERE id = 8});
wait_for_state($hub, 'l', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'permission denied.*"v"' FROM tapdata.status WHERE name = 'l'}, 't', 'and revoked');
sql(q{GRANT SELECT ON s.f TO publisher; ALTER TABLE s.f ENABLE ROW LEVEL SECURITY; SELECT tapdata.start('l')});
wait_for_state($hub, 'l', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'row-level security' FROM tapdata.status WHERE name = 'l'}, 't',
	'policies must not hide rows');

$hub->stop;
done_testing();
