# Defaults that the log does not hold: with binlog_row_image=MINIMAL an INSERT has only the
# columns that were given a value.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

foreach my $flavour (usable_flavours())
{
	subtest $flavour, sub { check($flavour) };
}
done_testing();

sub check
{
	my ($flavour) = @_;
	my $hub = new_hub("hub_$flavour");
	my $source = Tapdata::MySQL->start(flavour => $flavour, options => ['--binlog-row-image=MINIMAL', '--default-time-zone=+03:00']);

	$source->sql(q{CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
		CREATE TABLE t (id int PRIMARY KEY, text varchar(10) DEFAULT 'x''é', number int NOT NULL DEFAULT 7, none varchar(10),
			price decimal(8,2) DEFAULT 1.50, day date DEFAULT '2020-02-03', at datetime(3) DEFAULT '2020-02-03 04:05:06.789',
			flag bit(3) DEFAULT b'101', bytes varbinary(4) DEFAULT 'ab', fixed binary(4) DEFAULT 'ab',
			kind enum('one', 'two') DEFAULT 'two', kinds set('a', 'b', 'c') DEFAULT 'a,c', yes boolean DEFAULT true, ratio double DEFAULT 0.5,
			span time DEFAULT '-01:02:03', year year DEFAULT 2001, made int AS (number + 1) STORED, computed int DEFAULT (1 + 1));
		INSERT INTO t (id) VALUES (1)});
	pull($hub, $source, 'shop');
	caught_up($hub, 'shop');
	my $columns = 'text, number, none, price, day, at, flag, bytes, fixed, kind, kinds, yes, ratio, span, year, computed';
	my $copied = $hub->safe_psql('postgres', "SELECT $columns FROM shop.t WHERE id = 1");
	$source->sql(q{USE shop; INSERT INTO t (id) VALUES (2); INSERT INTO t (id, none) VALUES (3, 'n'); INSERT INTO t (id, text, number) VALUES (4, NULL, 8);
		UPDATE t SET none = 'm' WHERE id = 2});
	caught_up($hub, 'shop');
	is($hub->safe_psql('postgres', "SELECT $columns FROM shop.t WHERE id = 2") =~ s/\|m\|/||/r, $copied, 'a row without values has what a copied one has');
	my %compared = (source_columns => 'id, text, number, none, price, CAST(day AS char), kind, ratio, computed',
		hub_columns => 'id, text, number, none, price, day, kind, ratio, computed');
	same_rows($source, 'shop.t', $hub, 'shop.t', 'defaults', %compared);

	# they are those of the moment, not of today
	stop_pipeline($hub, 'shop');
	$source->sql(q{USE shop; ALTER TABLE t ALTER COLUMN text SET DEFAULT 'second', ALTER number SET DEFAULT 70; INSERT INTO t (id) VALUES (5);
		ALTER TABLE t ALTER text DROP DEFAULT, MODIFY none varchar(10) DEFAULT 'some'; INSERT INTO t (id, text) VALUES (6, 'given');
		ALTER TABLE t ADD more varchar(10) DEFAULT 'm', ALTER text SET DEFAULT 'third', MODIFY number int NOT NULL DEFAULT 700; INSERT INTO t (id) VALUES (7);
		ALTER TABLE t ALTER more SET DEFAULT 'n', ALTER text SET DEFAULT 'last', ALTER number SET DEFAULT 7000, MODIFY none varchar(10); INSERT INTO t (id) VALUES (8)});
	$hub->safe_psql('postgres', q{SELECT tapdata.start('shop')});
	caught_up($hub, 'shop');
	$compared{$_} .= ', more' for keys %compared;
	same_rows($source, 'shop.t', $hub, 'shop.t', 'defaults that change', %compared);

	# and while the table is copied
	$source->sql(q{USE shop; CREATE TABLE c (id int AUTO_INCREMENT PRIMARY KEY, a int NOT NULL DEFAULT 5, b varchar(10) DEFAULT 'b');
		INSERT INTO c (a) VALUES (1), (2)});
	$source->sql('INSERT INTO shop.c (a) SELECT x.a FROM shop.c x, shop.c y') for 1 .. 3;
	$hub->safe_psql('postgres', q{SELECT tapdata.connect('again', '} . $source->uri('') . q{');
		SELECT tapdata.pull('again', 'again', '{shop.c}', options => '{"chunk_rows": 100, "workers": 1}')});
	for my $n (1 .. 20)
	{
		$source->sql("INSERT INTO shop.c () VALUES (); INSERT INTO shop.c (a) VALUES ($n)");
	}
	caught_up($hub, 'again');
	same_rows($source, 'shop.c', $hub, 'again.c', 'rows that come while the table is copied');
	sql_ok($hub, q{SELECT count(*) FROM tapdata.events WHERE kind = 'copied again'}, '0', 'which is copied once');

	# MySQL does not tell the time zone of a constant
	$source->sql(q{USE shop; CREATE TABLE s (id int PRIMARY KEY, stamp timestamp NULL DEFAULT '2020-02-03 04:05:06'); INSERT INTO s VALUES (1, NULL); INSERT INTO s (id) VALUES (2)});
	if ($flavour eq 'mariadb')
	{
		caught_up($hub, 'shop');
		sql_ok($hub, q{SELECT stamp AT TIME ZONE 'UTC' FROM shop.s WHERE id = 2}, '2020-02-03 01:05:06', 'a constant time');
	}
	else
	{
		error_becomes($hub, 'shop', qr/did not send column "stamp".*binlog_row_image/s, 'a constant time is refused');
	}
	return;
}
