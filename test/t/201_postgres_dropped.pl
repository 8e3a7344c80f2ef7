# PostgreSQL as a source: a table that was dropped, or taken out of a publication, is noticed when the
# pipeline looks into the source's catalog, and not before everything that it had has come.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');
my $source = new_source('source');

sub state_of
{
	my ($pipeline, $table) = @_;

	return "SELECT coalesce((SELECT state FROM tapdata.tables WHERE pipeline = '$pipeline' AND source_table::text = 'd.$table'), 'none')";
}

sub is_state
{
	my ($pipeline, $table, $state, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return sql_becomes($hub, state_of($pipeline, $table), $state, $name);
}

# The pipelines have begun to look into the catalog after now, and ended.
sub has_looked
{
	for (1 .. 2)
	{
		my $now = $source->safe_psql('postgres', 'SELECT clock_timestamp()');
		wait_for_sql($source,
			"SELECT count(*) >= (SELECT count(*) FROM pg_replication_slots) FROM pg_stat_activity WHERE query ~ 'row_security_active' AND query_start > '$now' AND state = 'idle' AND pid <> pg_backend_pid()", 't');
	}
	return;
}

$source->safe_psql('postgres', q(
	CREATE SCHEMA d;
	CREATE TABLE d.kept (id int PRIMARY KEY);
	INSERT INTO d.kept VALUES (1);
	CREATE TABLE d.gone (id int PRIMARY KEY, v text);
	INSERT INTO d.gone VALUES (1, 'one');
	CREATE TABLE d.again (id int PRIMARY KEY, v text);
	INSERT INTO d.again VALUES (1, 'old'), (2, 'old');
	CREATE TABLE d.other (id int PRIMARY KEY, v text);
	INSERT INTO d.other VALUES (1, 'old');
	CREATE TABLE d.named (id int PRIMARY KEY);
	CREATE TABLE d.plain (id int PRIMARY KEY, v text);
	INSERT INTO d.plain VALUES (7, 'plain');
	CREATE TABLE d.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE d.low PARTITION OF d.parted FOR VALUES FROM (100) TO (200);
	CREATE TABLE d.high PARTITION OF d.parted FOR VALUES FROM (200) TO (300);
	INSERT INTO d.parted VALUES (100, 'low'), (200, 'high');
));
connect_source($hub, $source, 'src');
pull_from($hub, 'k', 'src', ['d.*'], 'k', '{"refresh_ms": 200}');
caught_up($hub, 'k');

# what the table had last is on its way when the look finds it gone
my $sender = "pid = (SELECT active_pid FROM pg_replication_slots)";
my $stopped = signal_one($source, $sender, 'STOP');
$source->safe_psql('postgres', q(
	INSERT INTO d.gone SELECT i, 'more' FROM generate_series(2, 1000) i;
	BEGIN;
	INSERT INTO d.gone VALUES (1001, 'last');
	UPDATE d.gone SET v = 'was here' WHERE id = 1;
	DROP TABLE d.gone;
	COMMIT;
));
has_looked();
is($hub->safe_psql('postgres', state_of('k', 'gone')), 'streaming', 'the drop is not told before the stream is there');
kill 'CONT', $stopped;
is_state('k', 'gone', 'dropped', 'a table that was dropped');
is($hub->safe_psql('postgres', "SELECT count(*), max(id), string_agg(v, '' ORDER BY id) FILTER (WHERE id IN (1, 1001)) FROM k.gone"), '1001|1001|was herelast',
	'the hub keeps what it had last');
is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.events WHERE pipeline = 'k' AND message LIKE 'the table was dropped; the hub table keeps its rows%'"), '1',
	'which an event tells, once');

# the other tables' stream goes on, also from a new start
$source->safe_psql('postgres', 'INSERT INTO d.kept VALUES (2)');
stop_pipeline($hub, 'k');
$hub->safe_psql('postgres', "SELECT tapdata.start('k')");
caught_up($hub, 'k');
same_as_source($hub, $source, 'd.kept', 'k.kept', 'the other tables');
is($hub->safe_psql('postgres', state_of('k', 'gone')), 'dropped', 'it stays dropped');

# a table with a new name, one that becomes a part of another, and a part that leaves it are not dropped
pull_from($hub, 'x', 'src', ['d.*'], 'x', '{"refresh_ms": 200, "ddl_drop": true}');
pull_from($hub, 'leaf', 'src', [ 'd.low', 'd.high' ], 'leaf', '{"refresh_ms": 200, "ddl_drop": true, "partitions": "leaf"}');
caught_up($hub, $_) for qw(x leaf);
$source->safe_psql('postgres', q(
	ALTER TABLE d.named RENAME TO renamed;
	ALTER TABLE d.parted ATTACH PARTITION d.plain FOR VALUES FROM (0) TO (100);
	ALTER TABLE d.parted DETACH PARTITION d.low;
));
is_state($_, 'low', 'streaming', "$_ has a table that was a part of another") for qw(k x);
has_looked();
is($hub->safe_psql('postgres', "SELECT string_agg(pipeline || ' ' || source_table, ', ') FROM tapdata.tables WHERE state <> 'streaming'"),
	'k d.gone', 'what has another name or place is not dropped');
$source->safe_psql('postgres', q(
	INSERT INTO d.renamed VALUES (1);
	INSERT INTO d.low VALUES (101, 'by itself');
	INSERT INTO d.parted VALUES (201, 'high');
));
caught_up($hub, $_) for qw(k x leaf);
same_as_source($hub, $source, "d.$_", "k.$_", "and is followed: $_") for qw(renamed low);
same_as_source($hub, $source, "d.$_", "leaf.$_", "and as a leaf: $_") for qw(low high);

# dropped, and made again under its name
$source->safe_psql('postgres', q(
	DROP TABLE d.low;
	BEGIN;
	DROP TABLE d.again;
	CREATE TABLE d.again (id int PRIMARY KEY, v text);
	INSERT INTO d.again VALUES (2, 'new'), (3, 'new');
	COMMIT;
	DROP TABLE d.other;
	CREATE TABLE d.other (k text PRIMARY KEY, n numeric);
	INSERT INTO d.other VALUES ('a', 1);
));
sql_becomes($hub, "SELECT string_agg(id || v, ',' ORDER BY id) FROM $_.again", '2new,3new', "$_: a table that was made again is copied") for qw(k x);
sql_becomes($hub, "SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute WHERE attrelid = '$_.other'::regclass AND attname IN ('k', 'n')", 'k,n', "$_: and with other columns") for qw(k x);
is_state($_, 'other', 'streaming', "$_ follows the new one") for qw(k x);
$source->safe_psql('postgres', "INSERT INTO d.again VALUES (4, 'more'); INSERT INTO d.other VALUES ('b', 2); UPDATE d.other SET n = 3 WHERE k = 'a'");
for my $pipeline (qw(k x))
{
	caught_up($hub, $pipeline);
	same_as_source($hub, $source, 'd.again', "$pipeline.again", "$pipeline: a table that was made again");
	same_as_source($hub, $source, 'd.other', "$pipeline.other", "$pipeline: one with other columns", 'k, n');
}
is_state('k', 'low', 'dropped', 'a table that was a part');
is_state($_, 'low', 'none', "$_: with ddl_drop the hub forgets it") for qw(x leaf);
is($hub->safe_psql('postgres', "SELECT to_regclass('k.low') IS NULL, to_regclass('x.low') IS NULL, to_regclass('leaf.low') IS NULL"), 'f|t|t', 'and drops its own');

# a publication of the user's: a table that was taken out may lack changes, as at a start
$source->safe_psql('postgres', 'CREATE PUBLICATION mine FOR TABLE d.kept, d.renamed; CREATE PUBLICATION healed FOR TABLE d.kept, d.renamed');
pull_from($hub, 'mine', 'src', [ 'd.kept', 'd.renamed' ], 'mine', '{"refresh_ms": 200, "publication": "mine"}');
pull_from($hub, 'healed', 'src', [ 'd.kept', 'd.renamed' ], 'healed', '{"refresh_ms": 200, "publication": "healed", "on_gap": "compare"}');
caught_up($hub, $_) for qw(mine healed);
$source->safe_psql('postgres', "ALTER PUBLICATION $_ DROP TABLE d.renamed") for qw(mine healed);
$source->safe_psql('postgres', 'INSERT INTO d.renamed VALUES (2)');
error_becomes($hub, 'mine', qr/table "d\.renamed" is not in publication "mine".*ALTER PUBLICATION.*resync/s, 'a table that was taken out of a publication');
wait_for_state($hub, 'healed', 'failed');
$source->safe_psql('postgres', "ALTER PUBLICATION $_ ADD TABLE d.renamed") for qw(mine healed);
$hub->safe_psql('postgres', "SELECT tapdata.resync('mine'), tapdata.start('mine'), tapdata.start('healed')");
for my $pipeline (qw(mine healed))
{
	caught_up($hub, $pipeline);
	same_as_source($hub, $source, 'd.renamed', "$pipeline.renamed", "$pipeline: nothing is missing when it is back");
}

# the option ddl decides
pull_from($hub, 'stop', 'src', [ 'd.kept', 'd.parted' ], 'stop', '{"refresh_ms": 200, "ddl": "stop"}');
caught_up($hub, 'stop');
$source->safe_psql('postgres', 'DROP TABLE d.parted');
error_becomes($hub, 'stop', qr/the format of table "d\.parted" changed at the source/, 'with ddl = stop');
is_state('k', 'parted', 'dropped', 'a partitioned table');
is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.events WHERE kind IN ('failed', 'retry') AND pipeline IN ('k', 'x', 'leaf')"), '0', 'and nothing else stops');

done_testing();
