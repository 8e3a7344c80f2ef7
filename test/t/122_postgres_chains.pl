
# Hubs in chains and circles: two that publish the same table to each other do not
# loop; MySQL -> hub -> PostgreSQL; hub -> hub -> PostgreSQL.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Postgres;
use Tapdata::Test;
use Test::More;

# ---------------------------------------------------------------------
# Two hubs
# ---------------------------------------------------------------------

my $north = new_hub('north');
my $south = new_hub('south');

for my $hub ($north, $south)
{
	$hub->safe_psql('postgres', q(
		CREATE SCHEMA shop;
		CREATE TABLE shop.stock (id int PRIMARY KEY, item text, n int NOT NULL);
		CREATE TABLE shop.log (id uuid PRIMARY KEY, note text);));
}
$north->safe_psql('postgres', "INSERT INTO shop.stock SELECT i, 'item ' || i, 0 FROM generate_series(1, 100) i");
connect_target($north, $south, 'south');
connect_target($south, $north, 'north');
my $options = '"origins": "local", "conflicts": "overwrite"';
publish($north, 'out', 'south', ['shop.*'], "{$options}");
delivered($north, 'out');
publish($south, 'out', 'north', ['shop.*'], qq({$options, "snapshot": "never"}));
delivered($south, 'out');

sub both_delivered
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# what one sends is not sent back, so once is enough for each
	delivered($north, 'out');
	delivered($south, 'out');
	return;
}

sub counters
{
	my ($hub) = @_;

	return $hub->safe_psql('postgres',
		"SELECT inserts, updates, deletes FROM tapdata.status WHERE name = 'out'");
}

$north->safe_psql('postgres', q(
	UPDATE shop.stock SET n = n + 1 WHERE id <= 50;
	INSERT INTO shop.stock VALUES (1000, 'north', 1);
	DELETE FROM shop.stock WHERE id = 100;
	INSERT INTO shop.log SELECT gen_random_uuid(), 'north' FROM generate_series(1, 10);));
$south->safe_psql('postgres', q(
	UPDATE shop.stock SET n = n + 1 WHERE id > 50 AND id < 100;
	INSERT INTO shop.stock VALUES (2000, 'south', 1);
	INSERT INTO shop.log SELECT gen_random_uuid(), 'south' FROM generate_series(1, 20);));
both_delivered();
both_delivered();
same_as_hub($north, $south, $_, name => "both hubs have the same $_") for qw(shop.stock shop.log);
is($north->safe_psql('postgres', 'SELECT count(*), sum(n), count(*) FILTER (WHERE n > 1) FROM shop.stock'), '101|101|0',
	'each change was made once');
is(counters($north), '11|50|1', 'north sent its own changes');
is(counters($south), '21|49|0', 'south sent its own changes');
sql_becomes($north, "SELECT string_agg(state, ',') FROM tapdata.status", 'streaming', 'north streams');
sql_becomes($south, "SELECT string_agg(state, ',') FROM tapdata.status", 'streaming', 'south streams');
like($south->safe_psql('postgres', 'SELECT roname FROM pg_replication_origin'), qr{^tapdata_\d+/\d+/\d+$}m,
	'the changes are marked with an origin');

# any: what came from the other goes on to a third
my $third = new_target('third');
connect_target($south, $third, 'third');
publish($south, 'on', 'third', ['shop.stock']);
$north->safe_psql('postgres', "UPDATE shop.stock SET item = 'passed on' WHERE id = 7");
both_delivered();
delivered($south, 'on');
same_as_hub($north, $third, 'shop.stock', name => 'a third server behind the second hub');

# ---------------------------------------------------------------------
# MySQL -> hub -> PostgreSQL
# ---------------------------------------------------------------------

SKIP:
{
	skip 'no MariaDB', 1 unless require_flavour('mariadb');
	my $source = Tapdata::MySQL->start(flavour => 'mariadb');

	$source->sql(q(
		CREATE DATABASE erp;
		USE erp;
		CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, customer varchar(50), amount decimal(10,2), at datetime(6), paid tinyint(1));
		INSERT INTO orders (customer, amount, at, paid) VALUES ('a', 1.25, '2024-01-01 10:00:00.5', 0), ('b', 2.50, NULL, 1);
	));
	pull($north, $source, 'erp');
	caught_up($north, 'erp');
	connect_target($north, $third, 'third');
	publish($north, 'erp_out', 'third', ['erp.*'], '{"target_schema": "from_erp"}');
	delivered($north, 'erp_out');
	same_as_hub($north, $third, 'erp.orders', target => 'from_erp.orders', name => 'MariaDB -> hub -> PostgreSQL: copied');

	$source->sql(q(
		USE erp;
		START TRANSACTION;
		INSERT INTO orders (customer, amount, at, paid) VALUES ('c', 99999999.99, '2024-06-01 00:00:00', 1);
		UPDATE orders SET paid = 1 WHERE id = 1;
		DELETE FROM orders WHERE id = 2;
		COMMIT;
		ALTER TABLE orders ADD note text;
		UPDATE orders SET note = 'zoë' WHERE id = 1;
	));
	caught_up($north, 'erp');
	delivered($north, 'erp_out');
	same_as_hub($north, $third, 'erp.orders', target => 'from_erp.orders', name => 'MariaDB -> hub -> PostgreSQL: streamed');
	is($third->safe_psql('postgres', 'SELECT id, customer, amount, note FROM from_erp.orders ORDER BY id'),
		"1|a|1.25|zoë\n3|c|99999999.99|", 'also what was altered');

	# not what came from MariaDB, if only local changes are wanted
	publish($north, 'erp_local', 'third', ['erp.*'], '{"target_schema": "local", "origins": "local"}');
	delivered($north, 'erp_local');
	$source->sql("INSERT INTO erp.orders (customer) VALUES ('d')");
	caught_up($north, 'erp');
	$north->safe_psql('postgres', "INSERT INTO erp.orders (id, customer) VALUES (1000, 'local')");
	delivered($north, 'erp_local');
	is($third->safe_psql('postgres', 'SELECT customer FROM local.orders WHERE id > 3'), 'local',
		'pulled changes are told from local ones');
	$source->stop;
}

done_testing();
