# What people put into the logs of MySQL and MariaDB, each thing named after the
# trouble it has given to users of change data capture. The ways in which a server
# may write its log are in 032, schema changes in 031.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my ($source, $hub);

foreach my $flavour (usable_flavours())
{
	$source = Tapdata::MySQL->start(
		flavour => $flavour,
		options => $flavour eq 'mysql' ? [] : ['--gtid-strict-mode=OFF']);
	$hub = new_hub("binlog_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");
	my @tests = (
		['statements of every kind never stop the stream' => \&statements],
		['identifiers: case, quotes, length, other alphabets' => \&identifiers],
		['tables without a key: equal rows, nulls, time' => \&keyless],
		['statements instead of rows, in one session' => \&statement_format],
		['online schema change by a copy and an exchange of names' => \&ghost],
		['time zones and the hour that comes twice' => \&time_zones],
		['a quiet pipeline among busy tables' => \&quiet],
		['a prepared transaction outlives kill -9' => \&prepared],
		$flavour eq 'mysql'
		? ['generated invisible primary key' => \&invisible_key]
		: (['tables with and without transactions in one transaction' => \&mixed_engines],
			['several GTID domains' => \&domains],
			['compressed columns' => \&compressed_columns]));

	foreach my $test (@tests)
	{
		my ($name, $check) = @$test;
		subtest "$flavour: $name" => $check;
	}
	$source->stop;
	$hub->stop('fast');
}
done_testing();

# All tables of the database are the same in the hub.
sub compare
{
	my ($database, $when, @tables) = @_;

	same_rows($source, "$database.$_", $hub, "$database.$_", "$when: $_") for @tables;
	return;
}

sub no_errors
{
	my ($database) = @_;

	sql_becomes($hub, "SELECT state, restarts, last_error FROM tapdata.status WHERE name = '$database'",
		'streaming|0|', 'without an error');
	return;
}

sub statements
{
	my $mariadb = $source->is_mariadb;
	my @statements = (
		'/* a comment */ INSERT INTO t VALUES (100, 1) -- and another',
		'SAVEPOINT lonely',
		"CREATE USER 'somebody'\@'%' IDENTIFIED BY 'p''; DROP TABLE t; --'",
		"GRANT SELECT, INSERT ON odd.* TO 'somebody'\@'%'",
		"REVOKE INSERT ON odd.* FROM 'somebody'\@'%'",
		"ALTER USER 'somebody'\@'%' IDENTIFIED BY 'other'",
		"DROP USER 'somebody'\@'%'",
		'CREATE ROLE reader',
		'CREATE VIEW v AS SELECT id, v AS `v "x"` FROM t',
		'ALTER VIEW v AS SELECT 1 AS one',
		'DROP VIEW v',
		"CREATE PROCEDURE fill(n int) BEGIN DECLARE i int DEFAULT 0; WHILE i < n DO INSERT INTO t VALUES (200 + i, i); SET i = i + 1; END WHILE; END",
		'CALL fill(5)',
		"CREATE FUNCTION twice(a int) RETURNS int DETERMINISTIC NO SQL RETURN 2 * a",
		'UPDATE t SET v = twice(v) WHERE id >= 200',
		'CREATE TRIGGER copied AFTER INSERT ON t FOR EACH ROW INSERT INTO other_rows VALUES (NEW.id, CONCAT(\'trigger; DROP TABLE t; \', NEW.v))',
		'INSERT INTO t VALUES (300, 3), (301, 3)',
		'DROP TRIGGER copied',
		"CREATE EVENT never ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM t",
		'DROP EVENT never',
		'ANALYZE TABLE t', 'OPTIMIZE TABLE t', 'CHECK TABLE t', 'FLUSH TABLES', 'FLUSH PRIVILEGES',
		"SET GLOBAL innodb_old_blocks_time = 1000",
		'CREATE TEMPORARY TABLE scratch (a int)',
		'INSERT INTO scratch VALUES (1), (2)',
		'INSERT INTO t SELECT 400 + a, a FROM scratch',
		'DROP TEMPORARY TABLE scratch',
		'CREATE DATABASE odd_other', 'ALTER DATABASE odd_other CHARACTER SET latin1', 'DROP DATABASE odd_other',
		'ALTER DATABASE odd CHARACTER SET utf8mb4',
		'LOCK TABLES t WRITE', 'INSERT INTO t VALUES (500, 5)', 'UNLOCK TABLES',
		'ALTER TABLE parts ADD PARTITION (PARTITION p3 VALUES LESS THAN (400))',
		'INSERT INTO parts VALUES (350, \'in the new one\')',
		'ALTER TABLE parts REORGANIZE PARTITION p3 INTO (PARTITION p3a VALUES LESS THAN (350), PARTITION p3b VALUES LESS THAN (400))',
		'ALTER TABLE parts REBUILD PARTITION p1',
		'DELETE FROM parts WHERE id < 100',
		'ALTER TABLE parts DROP PARTITION p0',
		'UPDATE parts SET note = \'moved\', id = 399 WHERE id = 150',
		'ALTER TABLE parts REMOVE PARTITIONING',
		'ALTER TABLE t COMMENT = \'it\'\'s ( a "comment" `\'',
		'ALTER TABLE t ENGINE = InnoDB',
		'ALTER TABLE t AUTO_INCREMENT = 1000',
		$mariadb
		? ('CREATE SEQUENCE numbers', 'DO NEXTVAL(numbers)', 'DROP SEQUENCE numbers',
			'CREATE OR REPLACE TABLE replaced (id int PRIMARY KEY)', 'INSERT INTO replaced VALUES (1)',
			'BEGIN NOT ATOMIC INSERT INTO t VALUES (501, 5); END',
			'INSERT INTO t VALUES (502, 5) RETURNING id')
		: ("CREATE SPATIAL REFERENCE SYSTEM IF NOT EXISTS 999999 NAME 'mine' DEFINITION 'GEOGCS[\"x\",DATUM[\"x\",SPHEROID[\"x\",6378137,298]],PRIMEM[\"x\",0],UNIT[\"x\",0.017453292519943278],AXIS[\"Lat\",NORTH],AXIS[\"Lon\",EAST]]'",
			'DROP SPATIAL REFERENCE SYSTEM 999999',
			'CREATE TABLE replaced (id int PRIMARY KEY)', 'INSERT INTO replaced VALUES (1)',
			'INSERT INTO t VALUES (501, 5), (502, 5)'));

	$source->sql(<<'SQL');
CREATE DATABASE odd;
USE odd;
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE TABLE other_rows (id int PRIMARY KEY, note varchar(100));
CREATE TABLE parts (id int PRIMARY KEY, note varchar(100)) PARTITION BY RANGE (id)
	(PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN (200), PARTITION p2 VALUES LESS THAN (300));
INSERT INTO t VALUES (1, 1);
INSERT INTO parts VALUES (1, 'a'), (150, 'b'), (250, 'c');
SQL
	pull($hub, $source, 'odd');
	caught_up($hub, 'odd');

	my $db = $source->connect('odd');
	foreach my $statement (@statements)
	{
		eval { $db->do($statement); 1 } or do { fail("the source takes: $statement"); diag $@; };
	}
	$db->do("SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
	$db->do(q(ALTER TABLE "t" ADD COLUMN "quoted" int DEFAULT 7 COMMENT 'ends with \\'));
	$db->do(q(INSERT INTO t (id, v) VALUES (600, 6)));
	$db->disconnect;
	caught_up($hub, 'odd');
	compare('odd', 'after all of them', qw(t other_rows parts replaced));
	sql_ok($hub, q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'odd' AND severity = 'warning'
		AND source_table = 'odd.parts'), '1', 'rows that a dropped partition took along are a warning');
	no_errors('odd');
	return;
}

sub identifiers
{
	my $long = 'l' x 64;

	$source->sql(<<"SQL");
CREATE DATABASE `Names` CHARACTER SET utf8mb4;
USE `Names`;
SET NAMES utf8mb4;
CREATE TABLE `Order` (`Id` int PRIMARY KEY, `SELECT` int, `from` int, `a b` int, `quo"te` int, `tick``s` int);
CREATE TABLE `order` (`id` int PRIMARY KEY);
CREATE TABLE `select` (`table` int PRIMARY KEY);
CREATE TABLE `$long` (`$long` int PRIMARY KEY);
CREATE TABLE `Straße` (`größe` int PRIMARY KEY, `名前` varchar(10));
CREATE TABLE `with.dot` (`x.y` int PRIMARY KEY);
CREATE TABLE `with space` (a int PRIMARY KEY);
CREATE TABLE `semi;colon'` (a int PRIMARY KEY);
INSERT INTO `Order` VALUES (1, 1, 1, 1, 1, 1);
INSERT INTO `Straße` VALUES (1, 'ä');
SQL
	pull($hub, $source, 'Names');
	caught_up($hub, 'Names');
	$source->sql(<<"SQL");
USE `Names`;
SET NAMES utf8mb4;
UPDATE `Order` SET `SELECT` = 2, `from` = 3, `a b` = 4, `quo"te` = 5, `tick``s` = 6;
INSERT INTO `order` VALUES (2);
INSERT INTO `select` VALUES (3);
INSERT INTO `$long` VALUES (4);
UPDATE `Straße` SET `名前` = '値';
INSERT INTO `with.dot` VALUES (5);
INSERT INTO `with space` VALUES (6);
INSERT INTO `semi;colon'` VALUES (7);
ALTER TABLE `Order` ADD COLUMN `Name` int, ADD COLUMN `ΩΩ` int;
UPDATE `Order` SET `Name` = 8, `ΩΩ` = 9;
CREATE TABLE `Neu` (`Id` int PRIMARY KEY);
INSERT INTO `Neu` VALUES (10);
SQL
	caught_up($hub, 'Names');
	my $short = substr $long, 0, 63;
	sql_ok($hub, q(SELECT * FROM "Names"."Order"), '1|2|3|4|5|6|8|9', 'reserved words and capitals');
	sql_ok($hub, q(SELECT "quo""te", "tick`s" FROM "Names"."Order"), '5|6', 'quotes inside of names');
	sql_ok($hub, q(SELECT * FROM "Names"."order"), '2', 'a name that differs by case alone');
	sql_ok($hub, q(SELECT "table" FROM "Names"."select"), '3', 'a keyword');
	sql_ok($hub, qq(SELECT * FROM "Names"."$short"), '4', '64 characters');
	sql_ok($hub, q(SELECT "größe", "名前" FROM "Names"."Straße"), '1|値', 'other alphabets');
	sql_ok($hub, q(SELECT "x.y" FROM "Names"."with.dot"), '5', 'a dot');
	sql_ok($hub, q(SELECT a FROM "Names"."with space"), '6', 'a space');
	sql_ok($hub, q(SELECT a FROM "Names"."semi;colon'"), '7', 'a semicolon and a quote');
	sql_ok($hub, q(SELECT "Id" FROM "Names"."Neu"), '10', 'a table that came later');
	no_errors('Names');
	sql_ok($hub, q(SELECT tapdata.resync('Names', 'Names.with.dot')), '', 'resync finds a name with a dot');
	caught_up($hub, 'Names');
	sql_ok($hub, q(SELECT "x.y" FROM "Names"."with.dot"), '5', 'and copies it');
	return;
}

sub keyless
{
	$source->sql(<<'SQL');
CREATE DATABASE bare;
USE bare;
CREATE TABLE few (a int, b varchar(20), c double, d json, e datetime(6), f decimal(20,5), g blob);
INSERT INTO few (a, b) VALUES (1, 'same'), (1, 'same'), (1, 'same'), (NULL, NULL), (NULL, NULL), (2, '');
INSERT INTO few VALUES (3, 'all', 0.5, '{"k": [1, 2.5, null]}', '2024-01-01 00:00:00.000001', 1.5, 'bytes'),
	(3, 'all', 0.5, '{"k": [1, 2.5, null]}', '2024-01-01 00:00:00.000001', 1.5, 'bytes');
CREATE TABLE large (a int, b varchar(40), c int);
INSERT INTO large SELECT x.n + 100 * y.n, CONCAT('row ', x.n, '/', y.n), x.n FROM
	(WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 99) SELECT n FROM s) x,
	(WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 999) SELECT n FROM s) y;
SQL
	pull($hub, $source, 'bare');
	caught_up($hub, 'bare', 120);
	$source->sql(<<'SQL');
USE bare;
UPDATE few SET b = 'one of them' WHERE a = 1 LIMIT 1;
DELETE FROM few WHERE a = 1 AND b = 'same' LIMIT 1;
DELETE FROM few WHERE a IS NULL LIMIT 1;
UPDATE few SET a = 5 WHERE a IS NULL;
UPDATE few SET c = c + 0.25, f = f * 2, g = 'other' WHERE a = 3 LIMIT 1;
DELETE FROM few WHERE a = 3 AND f = 1.5;
INSERT INTO few (a, b) VALUES (1, 'same'), (7, NULL);
SQL
	caught_up($hub, 'bare');
	my $json = $source->is_mariadb ? 'd' : 'CAST(d AS CHAR CHARACTER SET utf8mb4)';
	same_rows($source, 'bare.few', $hub, 'bare.few', 'equal rows and nulls',
		source_columns => "a, b, c, $json, CAST(e AS CHAR), f, HEX(g)",
		hub_columns => q(a, b, c, d, to_char(e, 'YYYY-MM-DD HH24:MI:SS.US'), f, upper(encode(g, 'hex'))));

	# a scan of the whole table for each row would take minutes
	$source->do('UPDATE bare.large SET c = -1 WHERE a % 10 = 3');
	$source->do('DELETE FROM bare.large WHERE a % 10 = 4');
	my $begin = time;
	caught_up($hub, 'bare', 300);
	cmp_ok(time - $begin, '<', 60, '20000 changes of a table of 100000 rows need no scan for each row');
	compare('bare', 'large', 'large');
	no_errors('bare');
	return;
}

# MySQL refuses such transactions while it writes GTIDs.
sub mixed_engines
{
	$source->sql(<<'SQL');
CREATE DATABASE mixed;
USE mixed;
CREATE TABLE safe (id int PRIMARY KEY, v int) ENGINE = InnoDB;
CREATE TABLE plain (id int PRIMARY KEY, v int) ENGINE = MyISAM;
SQL
	pull($hub, $source, 'mixed');
	caught_up($hub, 'mixed');
	$source->sql(<<'SQL');
USE mixed;
BEGIN;
INSERT INTO safe VALUES (1, 1);
INSERT INTO plain VALUES (1, 1);
UPDATE safe SET v = 2;
UPDATE plain SET v = 2;
SAVEPOINT a;
RELEASE SAVEPOINT a;
INSERT INTO safe VALUES (3, 3);
COMMIT;
INSERT INTO plain VALUES (4, 4), (5, 5);
DELETE FROM plain WHERE id = 4;
BEGIN;
INSERT INTO plain VALUES (6, 6);
INSERT INTO safe VALUES (6, 6);
ROLLBACK;
INSERT INTO safe VALUES (7, 7);
SQL
	caught_up($hub, 'mixed');
	compare('mixed', 'committed', qw(safe plain));
	no_errors('mixed');

	# the log holds rows that were taken back: never taken for rows that stayed
	$source->sql(<<'SQL');
USE mixed;
BEGIN;
INSERT INTO safe VALUES (10, 10);
SAVEPOINT a;
INSERT INTO safe VALUES (11, 11);
INSERT INTO plain VALUES (11, 11);
ROLLBACK TO a;
INSERT INTO safe VALUES (12, 12);
COMMIT;
SQL
	wait_for_state($hub, 'mixed', 'failed');
	like(
		$hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status WHERE name = 'mixed')),
		qr/rolled back a transaction whose rows are in its log.*InnoDB.*resync/,
		'what was rolled back and is in the log is refused, with the way out');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('mixed')));
	caught_up($hub, 'mixed');
	compare('mixed', 'rolled back in part', qw(safe plain));
	return;
}

sub statement_format
{
	$source->sql(<<'SQL');
CREATE DATABASE fmt;
CREATE DATABASE fmt_other;
USE fmt;
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE TABLE fmt_other.t (id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 1);
SQL
	pull($hub, $source, 'fmt');
	caught_up($hub, 'fmt');
	$source->sql(<<'SQL');
SET SESSION binlog_format = 'STATEMENT';
SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
INSERT INTO fmt_other.t VALUES (1, 1);
UPDATE fmt_other.t SET v = 5;
CREATE TABLE fmt.later (id int PRIMARY KEY);
SQL
	$source->do('INSERT INTO fmt.later VALUES (1)');
	caught_up($hub, 'fmt');
	compare('fmt', 'statements about others are passed over', qw(t later));
	$source->sql(<<'SQL');
SET SESSION binlog_format = 'STATEMENT';
SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
UPDATE fmt.t SET v = 6;
SQL
	wait_for_state($hub, 'fmt', 'failed');
	like(
		$hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status WHERE name = 'fmt')),
		qr/"fmt\.t" as a statement, not as rows.*binlog_format/,
		'one about a table of the pipeline is not passed over');
	sql_ok($hub, 'SELECT v FROM fmt.t', '1', 'and nothing of it was stored');
	sql_ok($hub, q(SELECT tapdata.resync('fmt')), '', 'resync');
	caught_up($hub, 'fmt');
	compare('fmt', 'resync mends it', qw(t later));
	return;
}

sub ghost
{
	$source->sql(<<'SQL');
CREATE DATABASE ghost;
USE ghost;
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 500) SELECT n, n FROM s;
CREATE TABLE p LIKE t;
INSERT INTO p SELECT * FROM t;
SQL
	pull($hub, $source, 'ghost', tables => [ 'ghost.*', '!ghost._*' ]);
	caught_up($hub, 'ghost');

	# gh-ost: a copy that is fed from the log, an atomic exchange, the old one dropped
	$source->sql(<<'SQL');
USE ghost;
CREATE TABLE _t_ghc (id bigint PRIMARY KEY AUTO_INCREMENT, hint varchar(64), value varchar(255));
CREATE TABLE _t_gho LIKE t;
ALTER TABLE _t_gho ADD COLUMN added varchar(20) DEFAULT 'new', MODIFY v bigint;
INSERT INTO _t_ghc (hint, value) VALUES ('state', 'copying');
INSERT IGNORE INTO _t_gho (id, v) SELECT id, v FROM t WHERE id <= 250;
UPDATE t SET v = -v WHERE id = 10;
REPLACE INTO _t_gho (id, v) SELECT id, v FROM t WHERE id = 10;
INSERT IGNORE INTO _t_gho (id, v) SELECT id, v FROM t WHERE id > 250;
RENAME TABLE t TO _t_del, _t_gho TO t;
DROP TABLE _t_ghc, _t_del;
INSERT INTO t VALUES (1000, 5000000000, 'after');
SQL
	caught_up($hub, 'ghost');
	sql_ok($hub, q(SELECT count(*) FROM tapdata.tables WHERE pipeline = 'ghost' AND state <> 'dropped'),
		'2', 'working tables of the tool are not followed');
	compare('ghost', 'like gh-ost', qw(t p));

	# pt-online-schema-change: triggers feed the copy
	$source->sql(<<'SQL');
USE ghost;
CREATE TABLE _p_new LIKE p;
ALTER TABLE _p_new ADD COLUMN added int FIRST;
CREATE TRIGGER pt_ins AFTER INSERT ON p FOR EACH ROW REPLACE INTO _p_new (id, v) VALUES (NEW.id, NEW.v);
CREATE TRIGGER pt_upd AFTER UPDATE ON p FOR EACH ROW REPLACE INTO _p_new (id, v) VALUES (NEW.id, NEW.v);
CREATE TRIGGER pt_del AFTER DELETE ON p FOR EACH ROW DELETE IGNORE FROM _p_new WHERE id = OLD.id;
INSERT IGNORE INTO _p_new (id, v) SELECT id, v FROM p;
UPDATE p SET v = 0 WHERE id = 3;
DELETE FROM p WHERE id = 4;
RENAME TABLE p TO _p_old, _p_new TO p;
DROP TABLE _p_old;
UPDATE p SET added = 1 WHERE id < 100;
SQL
	caught_up($hub, 'ghost');
	same_rows($source, 'ghost.p', $hub, 'ghost.p', 'like pt-online-schema-change',
		source_columns => 'id, v, added', hub_columns => 'id, v, added');
	# nothing else in the log calls the hub's attention to the table
	$source->sql('USE ghost; CREATE TABLE _late LIKE p; INSERT INTO _late SELECT * FROM p; RENAME TABLE _late TO late;');
	caught_up($hub, 'ghost');
	same_rows($source, 'ghost.late', $hub, 'ghost.late', 'a name that is wanted, as the last thing that happens',
		source_columns => 'id, v, added', hub_columns => 'id, v, added');
	no_errors('ghost');
	return;
}

sub time_zones
{
	my $columns = 'id, UNIX_TIMESTAMP(ts), CAST(dt AS CHAR)';
	my $theirs = q(id, trim_scale(extract(epoch FROM ts)), to_char(dt, 'YYYY-MM-DD HH24:MI:SS'));

	# MET has summer time, and needs no tables of time zones where it is the system's
	$source->sql("SET GLOBAL time_zone = '-08:00'");
	$source->disconnect;
	$source->sql(<<'SQL');
CREATE DATABASE tz;
USE tz;
CREATE TABLE t (id int PRIMARY KEY, ts timestamp NULL, dt datetime);
SET time_zone = '-08:00';
INSERT INTO t VALUES (1, '2024-06-01 12:00:00', '2024-06-01 12:00:00');
SET time_zone = '+05:30';
INSERT INTO t VALUES (2, '2024-06-01 12:00:00', '2024-06-01 12:00:00');
SET time_zone = '+00:00';
INSERT INTO t VALUES (3, '2024-10-27 00:30:00', '2024-10-27 02:30:00'), (4, '2024-10-27 01:30:00', '2024-10-27 02:30:00'),
	(5, '2024-03-31 00:59:59', '2024-03-31 02:30:00'), (6, '2024-03-31 01:00:00', '2024-03-31 03:00:00');
SQL
	pull($hub, $source, 'tz');
	caught_up($hub, 'tz');
	$source->sql(q(SET time_zone = '+09:00'; INSERT INTO tz.t SELECT id + 100, ts, dt FROM tz.t;));
	caught_up($hub, 'tz');
	same_rows($source, 'tz.t', $hub, 'tz.t', 'seconds since 1970, and clocks on walls, are the same',
		source_columns => $columns, hub_columns => $theirs);
	sql_ok($hub, q(SELECT count(*) FROM tz.t a JOIN tz.t b ON b.id = a.id + 100 AND (a.ts, a.dt) = (b.ts, b.dt)),
		'6', 'the copy and the log agree');
	$source->sql("SET GLOBAL time_zone = 'SYSTEM'");
	$source->disconnect;
	return;
}

sub quiet
{
	my $position = q(SELECT "position" FROM tapdata.status WHERE name = 'quiet');

	$source->sql(<<'SQL');
CREATE DATABASE quiet;
CREATE DATABASE busy;
CREATE TABLE quiet.t (id int PRIMARY KEY);
CREATE TABLE busy.t (id int PRIMARY KEY AUTO_INCREMENT, filler varchar(1000));
INSERT INTO quiet.t VALUES (1);
SQL
	pull($hub, $source, 'quiet');
	caught_up($hub, 'quiet');
	my $first = $hub->safe_psql('postgres', $position);
	$source->do("INSERT INTO busy.t (filler) VALUES (REPEAT('x', 1000))") for 1 .. 500;
	wait_for_sql($hub, "SELECT \"position\" <> '$first' FROM tapdata.status WHERE name = 'quiet'");
	caught_up($hub, 'quiet');
	my $stored = q(SELECT s.position FROM tapdata.pipeline p JOIN tapdata.pipeline_position s ON s.pipeline = p.id WHERE p.name = 'quiet');
	my $now = $source->is_mariadb ? $source->value('SELECT @@global.gtid_binlog_pos')
	  : $source->value('SELECT @@global.gtid_executed');
	$now =~ s/\s//g;
	wait_for_sql($hub, $position, $now);
	pass('the position moves although nothing is stored');

	# what was passed over is not read again
	my $bytes = q(SELECT bytes FROM tapdata.status WHERE name = 'quiet');
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('quiet')));
	wait_for_state($hub, 'quiet', 'stopped');
	my $before = $hub->safe_psql('postgres', $bytes);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('quiet')));
	$source->do('INSERT INTO quiet.t VALUES (2)');
	caught_up($hub, 'quiet');
	compare('quiet', 'the next change comes', 't');
	my $read = $hub->safe_psql('postgres', $bytes) - $before;
	cmp_ok($read, '<', 100_000, 'and a restart does not read the log of the others again');
	return;
}

sub prepared
{
	$source->sql(<<'SQL');
CREATE DATABASE xa;
USE xa;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
CREATE TABLE a (id int PRIMARY KEY, v int);
CREATE TABLE b (id int PRIMARY KEY, v int);
INSERT INTO a VALUES (1, 0), (2, 0);
INSERT INTO b VALUES (1, 0), (2, 0);
SQL
	pull($hub, $source, 'xa');
	caught_up($hub, 'xa');
	foreach my $n (1 .. 3)
	{
		$source->sql(<<"SQL");
USE xa;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
XA START 'global$n', 'branch', 7;
UPDATE a SET v = $n WHERE id = $n;
INSERT INTO a VALUES ($n * 10, $n);
INSERT INTO b VALUES ($n * 10, $n);
XA END 'global$n', 'branch', 7;
XA PREPARE 'global$n', 'branch', 7;
SQL
	}
	$source->do('INSERT INTO xa.b VALUES (77, 1)');
	caught_up($hub, 'xa');
	sql_ok($hub, 'SELECT count(*) FROM xa.a WHERE v > 0', '0', 'what is prepared is not visible');
	kill_one($hub, q(backend_type = 'tapdata pipeline'));
	caught_up($hub, 'xa');
	sql_ok($hub, 'SELECT count(*) FROM xa.a WHERE v > 0', '0', 'also after kill -9');
	$source->sql(q(XA COMMIT 'global1', 'branch', 7));
	caught_up($hub, 'xa');
	compare('xa', 'committed after kill -9', qw(a b));
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('xa')));
	$source->sql(q(XA ROLLBACK 'global2', 'branch', 7; FLUSH BINARY LOGS; XA COMMIT 'global3', 'branch', 7));
	$hub->safe_psql('postgres', q(SELECT tapdata.start('xa')));
	caught_up($hub, 'xa');
	compare('xa', 'rolled back and committed while stopped', qw(a b));
	is($source->value('SELECT count(*) FROM xa.a WHERE v IN (1, 3)'), '3', 'as it should be');
	sql_ok($hub, 'SELECT count(*) FROM tapdata.staged', '0', 'nothing is left behind');
	return;
}

sub invisible_key
{
	$source->sql(<<'SQL');
SET sql_generate_invisible_primary_key = ON;
CREATE DATABASE gipk;
USE gipk;
CREATE TABLE t (a int, b varchar(20));
INSERT INTO t VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
SQL
	pull($hub, $source, 'gipk');
	caught_up($hub, 'gipk');
	$source->sql(<<'SQL');
SET sql_generate_invisible_primary_key = ON;
USE gipk;
INSERT INTO t VALUES (1, 'x');
UPDATE t SET b = 'one of them' WHERE my_row_id = 2;
DELETE FROM t WHERE my_row_id = 3;
CREATE TABLE later (c int);
INSERT INTO later VALUES (5), (5);
UPDATE later SET c = 6 LIMIT 1;
SQL
	caught_up($hub, 'gipk');
	same_rows($source, 'gipk.t', $hub, 'gipk.t', 'rows', source_columns => 'my_row_id, a, b',
		hub_columns => 'my_row_id, a, b');
	same_rows($source, 'gipk.later', $hub, 'gipk.later', 'a later table',
		source_columns => 'my_row_id, c', hub_columns => 'my_row_id, c');
	sql_ok($hub, q(SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid IN ('gipk.t'::regclass, 'gipk.later'::regclass)),
		'2', 'it is the primary key in the hub');
	return;
}

sub domains
{
	$source->sql(<<'SQL');
CREATE DATABASE dom;
USE dom;
CREATE TABLE t (id int PRIMARY KEY, d int);
INSERT INTO t VALUES (1, 0);
SET SESSION gtid_domain_id = 7;
INSERT INTO t VALUES (2, 7);
SQL
	pull($hub, $source, 'dom');
	caught_up($hub, 'dom');
	foreach my $round (1 .. 3)
	{
		foreach my $domain (0, 7, 12, 4294967295)
		{
			$source->sql("SET SESSION gtid_domain_id = $domain; INSERT INTO dom.t VALUES ($round * 100 + $domain % 50, $domain % 50);");
		}
		caught_up($hub, 'dom');
		compare('dom', "round $round", 't');
		$hub->safe_psql('postgres', q(SELECT tapdata.stop('dom'))) if $round == 1;
		$source->sql('SET SESSION gtid_domain_id = 99, server_id = 5; UPDATE dom.t SET d = d + 1; SET SESSION gtid_seq_no = 1000; INSERT INTO dom.t VALUES (999, 9);')
		  if $round == 1;
		$hub->safe_psql('postgres', q(SELECT tapdata.start('dom')));
		kill_one($hub, q(backend_type = 'tapdata pipeline')) if $round == 2;
	}
	caught_up($hub, 'dom');
	compare('dom', 'at the end', 't');
	return;
}

sub compressed_columns
{
	$source->sql(<<'SQL');
CREATE DATABASE zip CHARACTER SET utf8mb4;
USE zip;
CREATE TABLE t (id int PRIMARY KEY, a text COMPRESSED, b varchar(5000) COMPRESSED, c longblob COMPRESSED, d mediumtext COMPRESSED CHARACTER SET latin1);
INSERT INTO t VALUES (1, REPEAT('abc', 2000), REPEAT('x', 5000), REPEAT('y', 100000), REPEAT('é', 1000)), (2, '', 'short', NULL, 'x');
SQL
	pull($hub, $source, 'zip');
	caught_up($hub, 'zip');
	$source->sql(<<'SQL');
USE zip;
INSERT INTO t SELECT id + 10, a, b, c, d FROM t;
UPDATE t SET a = REPEAT('changed', 1000), b = '', c = 'tiny' WHERE id = 1;
UPDATE t SET d = REPEAT('ü', 20000) WHERE id = 12;
SQL
	caught_up($hub, 'zip');
	same_rows($source, 'zip.t', $hub, 'zip.t', 'compressed columns',
		source_columns => 'id, a, b, LOWER(HEX(c)), d', hub_columns => q(id, a, b, encode(c, 'hex'), d));
	return;
}
