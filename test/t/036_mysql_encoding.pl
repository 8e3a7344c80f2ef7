# A hub whose encoding is not UTF-8: names and texts beyond ASCII arrive, what
# the encoding lacks is an error of data.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('encoding');

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_encoding($flavour) };
}

sub check_encoding
{
	my ($flavour) = @_;
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $names = 'SET NAMES utf8mb4; USE shop; ';

	$hub->safe_psql('postgres', "CREATE DATABASE latin_$flavour ENCODING 'LATIN9' LOCALE 'C' TEMPLATE template0");
	$hub->safe_psql("latin_$flavour", 'CREATE EXTENSION tapdata');
	$source->sql('CREATE DATABASE shop CHARACTER SET utf8mb4; ' . $names
		. "CREATE TABLE t (id int PRIMARY KEY, `größe` varchar(20), k varchar(20) CHARACTER SET koi8r);"
		. "INSERT INTO t VALUES (1, 'copied ü€', 'x');");
	pull($hub, $source, 'shop', database => "latin_$flavour");
	caught_up($hub, 'shop', undef, "latin_$flavour");
	$source->sql($names . "INSERT INTO t VALUES (2, 'logged ü€', 'y'); ALTER TABLE t ADD COLUMN `ñ` text;"
		. "INSERT INTO t VALUES (3, 'ÿ', 'z', 'œ'); CREATE TABLE `nö` (`é` int PRIMARY KEY); INSERT INTO `nö` VALUES (1);");
	caught_up($hub, 'shop', undef, "latin_$flavour");

	my $texts = q(SET client_encoding = 'UTF8'; SELECT id, "größe", k, "ñ" FROM shop.t ORDER BY id);
	is($hub->safe_psql("latin_$flavour", $texts),
		"1|copied ü€|x|\n2|logged ü€|y|\n3|ÿ|z|œ", 'names and texts');
	is($hub->safe_psql("latin_$flavour", q(SET client_encoding = 'UTF8'; SELECT "é" FROM shop."nö")), '1',
		'a new table');

	$source->sql($names . "INSERT INTO t (id, k) VALUES (4, _koi8r 0xF0D2C9);");
	wait_for_sql($hub, q(SELECT state, last_error ~ 'LATIN9' FROM tapdata.status), 'failed|t', undef, "latin_$flavour");
	pass('what the encoding lacks stops the pipeline');
	$hub->safe_psql("latin_$flavour", q(SELECT tapdata.drop_pipeline('shop')));
	$source->stop;
	return;
}

done_testing();
