# Changes of tables at MySQL and MariaDB while the pipeline streams, and while
# it is stopped: rows written before and after a change are read rightly.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# Each step is a statement with rows behind it; the columns that the hub is
# compared by are those of the source then.
my @steps = (
	['new column at the end', 'ALTER TABLE t ADD COLUMN note text', "INSERT INTO t (id, a, note) VALUES (10, 1, 'n')"],
	['new column first', 'ALTER TABLE t ADD x int NOT NULL DEFAULT 5 FIRST', 'INSERT INTO t (id, a) VALUES (11, 1)'],
	['new column in the middle', 'ALTER TABLE t ADD COLUMN y varchar(10) AFTER id', "INSERT INTO t (id, y) VALUES (12, 'y')"],
	['two columns of one type change places', 'ALTER TABLE t ADD COLUMN p int, ADD COLUMN q int', 'INSERT INTO t (id, p, q) VALUES (13, 1, 2)'],
	['reordered', 'ALTER TABLE t MODIFY q int AFTER x', 'INSERT INTO t (id, p, q) VALUES (14, 3, 4)'],
	['renamed column', 'ALTER TABLE t CHANGE p pp int', 'INSERT INTO t (id, pp, q) VALUES (15, 5, 6)'],
	['renamed and retyped', 'ALTER TABLE t CHANGE y yy varchar(40)', "INSERT INTO t (id, yy) VALUES (16, repeat('w', 40))"],
	['wider integer', 'ALTER TABLE t MODIFY a bigint', 'INSERT INTO t (id, a) VALUES (17, 5000000000)'],
	['dropped column', 'ALTER TABLE t DROP COLUMN q', 'INSERT INTO t (id, pp) VALUES (18, 7)'],
	['dropped and added under one name', 'ALTER TABLE t DROP COLUMN note, ADD COLUMN extra text', "INSERT INTO t (id, extra) VALUES (19, 'e')"],
	['index', 'CREATE INDEX t_a ON t (a)', 'INSERT INTO t (id, a) VALUES (20, 9)'],
	['update of old rows', 'ALTER TABLE t ADD COLUMN z datetime(3)', "UPDATE t SET z = '2024-01-02 03:04:05.678', a = id WHERE id < 15"],
	['delete of old rows', 'ALTER TABLE t COMMENT = \'no change of columns\'', 'DELETE FROM t WHERE id IN (1, 11)'],
	['enum with more labels', "ALTER TABLE t ADD COLUMN e enum('a','b')", "UPDATE t SET e = 'b' WHERE id = 2"],
	['enum relabelled', "ALTER TABLE t MODIFY e enum('zero','a','b','c')", "UPDATE t SET e = 'c' WHERE id = 3"],
	['unsigned', 'ALTER TABLE t ADD COLUMN u int unsigned', 'UPDATE t SET u = 4294967295 WHERE id = 2'],
	['quoted names', 'ALTER TABLE t ADD COLUMN `select` int COMMENT \'a, (b\', ADD COLUMN `Straße` int', 'UPDATE t SET `select` = 1, `Straße` = 2'],
	['new table', 'CREATE TABLE fresh (id int, name varchar(20), PRIMARY KEY (id), KEY (name))', "INSERT INTO fresh VALUES (1, 'one'), (2, 'two')"],
	['the new table altered', 'ALTER TABLE fresh ADD COLUMN (v int, w int)', 'INSERT INTO fresh VALUES (3, NULL, 1, 2)'],
	['table of a query', 'CREATE TABLE made AS SELECT id, name FROM fresh', "INSERT INTO made VALUES (4, 'four')"],
	['table like another', 'CREATE TABLE alike LIKE fresh', "INSERT INTO alike VALUES (5, 'five', 1, 2)"],
	['renamed table', 'RENAME TABLE alike TO renamed', "INSERT INTO renamed VALUES (6, 'six', 1, 2)"],
	['swapped tables', 'RENAME TABLE renamed TO tmp, fresh TO renamed, tmp TO fresh', "INSERT INTO renamed VALUES (7, 'seven', 1, 2)"],
	['truncate', 'TRUNCATE TABLE renamed', "INSERT INTO renamed VALUES (8, 'eight', 1, 2)"],
	['renamed by ALTER', 'ALTER TABLE made RENAME TO made2, ADD COLUMN more int', "INSERT INTO made2 VALUES (9, 'nine', 1)"],
	['dropped table', 'DROP TABLE fresh', 'UPDATE t SET a = 3 WHERE id = 5'],
	['made again', 'CREATE TABLE fresh (other int PRIMARY KEY, name text)', "INSERT INTO fresh VALUES (1, 'again')"],
);

foreach my $flavour (usable_flavours())
{
	subtest "$flavour, online schema change", sub { check_online($flavour) };
	foreach my $metadata ('FULL', $flavour eq 'mariadb' ? 'NO_LOG' : 'MINIMAL')
	{
		subtest "$flavour, binlog_row_metadata = $metadata",
			sub { check_schema($flavour, $metadata) };
	}
}

sub tables_of
{
	my ($source, $database) = @_;

	return map { $_->[0] } @{ $source->rows(
		"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '$database' ORDER BY 1") };
}

sub compare
{
	my ($source, $hub, $database, $name, $schema) = @_;

	foreach my $table (tables_of($source, $database))
	{
		my @columns = map { $_->[0] } @{ $source->rows(
			"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '$database' "
			. "AND TABLE_NAME = '$table' ORDER BY 1") };
		utf8::encode($_) foreach grep { utf8::is_utf8($_) } @columns;
		my $order = join(', ', 1 .. @columns);
		my $backquoted = join(', ', map { "`$_`" } @columns);

		utf8::decode($backquoted);
		my $theirs = source_rows($source, "SELECT $backquoted"
			. " FROM $database.$table ORDER BY $order");
		my $ours = hub_rows($hub, 'SELECT ' . join(', ', map { qq("$_") } @columns)
			. " FROM $schema.$table ORDER BY $order");

		s/(\d\d:\d\d:\d\d\.\d+?)0*(?=\D|$)/$1/g foreach @$theirs, @$ours;
		is_deeply([sort @$ours], [sort @$theirs], "$name: $table");
	}
	return;
}

sub check_schema
{
	my ($flavour, $metadata) = @_;
	my $hub = new_hub("schema_${flavour}_" . lc $metadata);
	my $source = Tapdata::MySQL->start(flavour => $flavour,
		options => ["--binlog-row-metadata=$metadata"]);

	foreach my $database ('live', 'late')
	{
		$source->sql("CREATE DATABASE $database CHARACTER SET utf8mb4; USE $database;"
			. 'CREATE TABLE t (id int PRIMARY KEY, a int);'
			. 'INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);');
		pull($hub, $source, $database);
		caught_up($hub, $database);
	}
	foreach my $step (@steps)
	{
		my ($name, $change, $rows) = @$step;

		$source->sql("SET NAMES utf8mb4; USE live; $change; $rows;");
		caught_up($hub, 'live');
		compare($source, $hub, 'live', $name, 'live');
	}

	$hub->safe_psql('postgres', q(SELECT tapdata.stop('late')));
	$source->sql("SET NAMES utf8mb4; USE late; $_->[1]; $_->[2];") foreach @steps;
	$hub->safe_psql('postgres', q(SELECT tapdata.start('late')));
	caught_up($hub, 'late');
	compare($source, $hub, 'late', 'all while stopped', 'late');
	sql_becomes($hub, q(SELECT count(*) FROM tapdata.status WHERE state <> 'streaming' OR restarts > 0), '0',
		'without an error');
	sql_ok($hub, q(SELECT count(*) > 10 FROM tapdata.events WHERE pipeline = 'live' AND kind = 'schema changed'), 't',
		'the changes are among the events');
	$source->stop;
	$hub->stop;
	return;
}

# What gh-ost and pt-online-schema-change do: a copy of the table takes its place.
sub check_online
{
	my ($flavour) = @_;
	my $hub = new_hub("online_$flavour");
	my $source = Tapdata::MySQL->start(flavour => $flavour);

	foreach my $database ('one', 'every')
	{
		$source->sql("CREATE DATABASE $database; USE $database; CREATE TABLE t (id int PRIMARY KEY, a int);"
			. 'INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);');
		pull($hub, $source, $database, tables => [ $database eq 'one' ? 'one.t' : 'every.*' ]);
		caught_up($hub, $database);
		$source->sql("USE $database; CREATE TABLE _t_gho LIKE t; ALTER TABLE _t_gho ADD COLUMN b varchar(10);"
			. 'INSERT INTO _t_gho (id, a) SELECT id, a FROM t; UPDATE t SET a = 10 WHERE id = 1;'
			. 'UPDATE _t_gho SET a = 10 WHERE id = 1; RENAME TABLE t TO _t_del, _t_gho TO t;'
			. "INSERT INTO t VALUES (4, 4, 'new'); UPDATE t SET b = 'changed' WHERE id = 2; DROP TABLE _t_del;"
			. "DELETE FROM t WHERE id = 3;");
		caught_up($hub, $database);
		same_rows($source, "$database.t", $hub, "$database.t", "pattern of $database",
			source_columns => 'id, a, b', hub_columns => 'id, a, b');
	}
	$source->stop;
	$hub->stop;
	return;
}

done_testing();
