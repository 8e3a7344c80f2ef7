# tapdata.sync_sequences() with MySQL and MariaDB: AUTO_INCREMENT columns go on in the hub.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

for my $flavour (usable_flavours())
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $hub = new_hub("hub_$flavour");

	$source->sql(q(
		CREATE DATABASE shop;
		CREATE TABLE shop.orders (id int PRIMARY KEY AUTO_INCREMENT, v int);
		CREATE TABLE shop.fresh (id bigint PRIMARY KEY AUTO_INCREMENT);
		CREATE TABLE shop.plain (id int PRIMARY KEY);
		INSERT INTO shop.orders (v) VALUES (1), (2), (3), (4);
	));
	pull($hub, $source, 'shop');
	caught_up($hub, 'shop');
	$source->sql('INSERT INTO shop.orders (v) VALUES (5); DELETE FROM shop.orders WHERE v = 5');
	caught_up($hub, 'shop');
	is($hub->safe_psql('postgres', "SELECT string_agg(hub_table || ' ' || column_name || ' ' || coalesce(last_value::text, 'none'), ', ' ORDER BY hub_table::text) FROM tapdata.sync_sequences('shop')"),
		'shop.fresh id none, shop.orders id 5', "$flavour: columns and their numbers");
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('shop'); INSERT INTO shop.orders (v) VALUES (6); INSERT INTO shop.fresh DEFAULT VALUES");
	is($hub->safe_psql('postgres', 'SELECT (SELECT max(id) FROM shop.orders), (SELECT max(id) FROM shop.fresh)'), '6|1',
		"$flavour: the hub goes on where the source was");
	$hub->stop('fast');
	$source->stop;
}
done_testing();
