# Every way in which MySQL and MariaDB write their logs: compressed, with parts
# of rows, without checksums, without GTIDs, with prepared transactions, ...

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my %ways = (
	mariadb => {
		'compressed events' => ['--log-bin-compress=ON', '--log-bin-compress-min-len=10'],
		'minimal images, no names' => ['--binlog-row-image=MINIMAL', '--binlog-row-metadata=NO_LOG'],
		'images without blobs, no checksums' => ['--binlog-row-image=NOBLOB', '--binlog-checksum=NONE'],
		'minimal metadata' => ['--binlog-row-metadata=MINIMAL', '--binlog-legacy-event-pos=1'],
	},
	mysql => {
		'compressed transactions' => ['--binlog-transaction-compression=ON'],
		'minimal images, minimal metadata' => ['--binlog-row-image=MINIMAL', '--binlog-row-metadata=MINIMAL'],
		'images without blobs, no checksums' => ['--binlog-row-image=NOBLOB', '--binlog-checksum=NONE'],
		'partial JSON' => ['--binlog-row-value-options=PARTIAL_JSON'],
		'partial JSON in compressed minimal images' => ['--binlog-row-value-options=PARTIAL_JSON',
			'--binlog-row-image=MINIMAL', '--binlog-transaction-compression=ON'],
		'files instead of GTIDs' => ['--gtid-mode=OFF', '--enforce-gtid-consistency=OFF'],
		'tagged GTIDs' => ['--gtid-mode=ON'],
	});
delete $ways{mariadb}{'minimal metadata'}[1];

foreach my $flavour (usable_flavours())
{
	foreach my $way (sort keys %{ $ways{$flavour} })
	{
		subtest "$flavour: $way", sub { check_log($flavour, $way) };
	}
}

# What is done to the tables; $n makes keys and values differ from call to call.
sub workload
{
	my ($source, $n, $tagged) = @_;
	my $k = $n * 1000;

	$source->sql(($tagged ? "SET SESSION gtid_next = 'AUTOMATIC:tag$n';\n" : '') . <<"SQL");
SET NAMES utf8mb4;
USE shop;
INSERT INTO keyed (id, name, body, doc) VALUES (@{[$k + 1]}, 'one', REPEAT('b', 3000), '{"a": 1, "b": [1, 2, 3], "c": "text"}'),
	(@{[$k + 2]}, 'two', 'x', '{"a": {"deep": [1, {"x": "y"}]}}'), (@{[$k + 3]}, 'three', NULL, NULL), (@{[$k + 4]}, NULL, '', '[]');
UPDATE keyed SET name = CONCAT('changed ', id) WHERE id > $k;
UPDATE keyed SET doc = JSON_SET(doc, '\$.a', 99) WHERE id = @{[$k + 1]};
UPDATE keyed SET doc = JSON_SET(JSON_REMOVE(doc, '\$.b[1]'), '\$.new', JSON_OBJECT('k', 'v'), '\$.c', 'longer text than before, much longer') WHERE id = @{[$k + 1]};
UPDATE keyed SET doc = JSON_REPLACE(doc, '\$.a.deep[1].x', 'zzz') WHERE id = @{[$k + 2]};
UPDATE keyed SET body = NULL WHERE id = @{[$k + 2]};
UPDATE keyed SET id = id + 500 WHERE id = @{[$k + 3]};
DELETE FROM keyed WHERE id = @{[$k + 4]};
INSERT INTO keyless VALUES ($k, 'a'), ($k, 'a'), ($k, NULL), (NULL, NULL), (@{[$k + 1]}, 'b');
UPDATE keyless SET b = 'changed' WHERE a = @{[$k + 1]};
DELETE FROM keyless WHERE a = $k LIMIT 1;
INSERT INTO pairs VALUES ($n, 'k', 1), ($n, 'K2', 2), ($n, 'z', 3);
UPDATE pairs SET b = CONCAT(b, '-moved'), v = v * 10 WHERE a = $n AND v > 1;
REPLACE INTO pairs VALUES ($n, 'k', 100);
INSERT INTO pairs VALUES ($n, 'k', 7) ON DUPLICATE KEY UPDATE v = v + 1;
BEGIN;
INSERT INTO keyed (id, name) VALUES (@{[$k + 10]}, 'kept');
SAVEPOINT s1;
INSERT INTO keyed (id, name) VALUES (@{[$k + 11]}, 'rolled back to');
ROLLBACK TO SAVEPOINT s1;
INSERT INTO pairs VALUES ($n, 'savepoint', 5);
RELEASE SAVEPOINT s1;
COMMIT;
BEGIN;
INSERT INTO keyed (id, name) VALUES (@{[$k + 12]}, 'rolled back');
ROLLBACK;
INSERT INTO other.unrelated VALUES ($n);
INSERT INTO plain VALUES ($n, 'no transactions'), (@{[$n + 100]}, 'second');
UPDATE plain SET b = 'changed' WHERE a = $n;
FLUSH BINARY LOGS;
INSERT INTO keyed (id, name) VALUES (@{[$k + 13]}, 'next file');
XA START 'xa$n', 'b';
INSERT INTO keyed (id, name) VALUES (@{[$k + 20]}, 'prepared');
UPDATE pairs SET v = 77 WHERE a = $n AND b = 'z-moved';
XA END 'xa$n', 'b';
XA PREPARE 'xa$n', 'b';
SQL
	$source->sql("USE shop; INSERT INTO keyed (id, name) VALUES (@{[$k + 21]}, 'between');");
	$source->sql("USE shop; XA START 'back$n'; INSERT INTO keyed (id, name) VALUES (@{[$k + 22]}, 'never'); "
		. "XA END 'back$n'; XA PREPARE 'back$n'; XA ROLLBACK 'back$n';");
	$source->sql("USE shop; XA START 'one$n'; INSERT INTO keyed (id, name) VALUES (@{[$k + 23]}, 'one phase'); "
		. "XA END 'one$n'; XA COMMIT 'one$n' ONE PHASE;");
	return;
}

sub compare
{
	my ($source, $hub, $when) = @_;
	my $doc = $source->is_mariadb ? 'doc' : 'CAST(doc AS CHAR CHARACTER SET utf8mb4)';

	same_rows($source, 'shop.keyed', $hub, 'shop.keyed', "$when: keyed",
		source_columns => "id, name, body, $doc", hub_columns => 'id, name, body, doc');
	same_rows($source, 'shop.keyless', $hub, 'shop.keyless', "$when: keyless");
	same_rows($source, 'shop.pairs', $hub, 'shop.pairs', "$when: pairs");
	same_rows($source, 'shop.plain', $hub, 'shop.plain', "$when: without transactions");
	return;
}

sub check_log
{
	my ($flavour, $way) = @_;
	(my $name = "$flavour $way") =~ s/\W+/_/g;
	my $hub = new_hub("log_$name", "tapdata.retry_min = 100ms\n");
	my $source = Tapdata::MySQL->start(flavour => $flavour, options => ['--transaction-isolation=READ-COMMITTED', @{ $ways{$flavour}{$way} }]);
	my $tagged = $way eq 'tagged GTIDs';

	$source->sql(<<'SQL');
CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE DATABASE other; USE shop;
CREATE TABLE keyed (id int PRIMARY KEY, name varchar(40), body mediumtext, doc json);
CREATE TABLE keyless (a int, b varchar(20));
CREATE TABLE pairs (a int, b varchar(20) COLLATE utf8mb4_bin, v int, PRIMARY KEY (b, a), KEY (a));
CREATE TABLE plain (a int PRIMARY KEY, b varchar(20)) ENGINE = MyISAM;
CREATE TABLE other.unrelated (a int);
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, 'y');
INSERT INTO keyed (id, name) VALUES (1, 'first');
SQL
	pull($hub, $source, 'shop');
	caught_up($hub, 'shop');
	compare($source, $hub, 'copied');

	workload($source, 1, $tagged);
	caught_up($hub, 'shop');
	compare($source, $hub, 'with a prepared transaction');

	$hub->safe_psql('postgres', q(SELECT tapdata.stop('shop')));
	workload($source, 2, $tagged);
	$source->sql(q(XA COMMIT 'xa1', 'b'));
	$hub->safe_psql('postgres', q(SELECT tapdata.start('shop')));
	caught_up($hub, 'shop');
	compare($source, $hub, 'after a stop');

	$source->sql(q(XA COMMIT 'xa2', 'b'));
	caught_up($hub, 'shop');
	compare($source, $hub, 'after the commit of the prepared transaction');
	sql_ok($hub, q(SELECT restarts, dead_letters FROM tapdata.status), '0|0', 'without an error');
	sql_ok($hub, q(SELECT count(*) FROM tapdata.staged), '0', 'nothing staged is left');

	$source->sql(q(SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ;
		SET GLOBAL binlog_format = 'STATEMENT';));
	$source->sql(q(USE other; INSERT INTO unrelated VALUES (5);));
	caught_up($hub, 'shop');
	pass('statements about other tables are none of our business');
	$source->sql(q(USE shop; INSERT INTO keyed (id) VALUES (99999);));
	wait_for_state($hub, 'shop', 'failed');
	sql_ok($hub, q(SELECT last_error ~ 'binlog_format' FROM tapdata.status), 't',
		'rows as a statement stop the pipeline, naming the setting');
	$source->stop;
	$hub->stop;
	return;
}

done_testing();
