# A role without any special rights publishes what it may read, and nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('publish_roles', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $target = Tapdata::Fake::Target->new;
my $uri = $target->uri;

$hub->safe_psql('postgres', q{
	CREATE ROLE etl LOGIN;
	CREATE ROLE boss LOGIN;
	GRANT USAGE ON SCHEMA tapdata TO etl, boss;
	CREATE SCHEMA erp;
	CREATE TABLE erp.orders (id int PRIMARY KEY, amount numeric, secret text);
	CREATE TABLE erp.salaries (id int PRIMARY KEY, amount numeric);
	INSERT INTO erp.orders VALUES (1, 10, 'hidden');
	INSERT INTO erp.salaries VALUES (1, 1000);});

sub as
{
	my ($role, $sql) = @_;

	return "SET SESSION AUTHORIZATION $role; $sql";
}

sub publish
{
	my ($tables, $options) = @_;

	$options ||= '{}';
	return as('etl', "SELECT tapdata.publish('p', 't', '$tables', '$options')");
}

sub published
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return caught_up($hub, 'p');
}

sub may_not
{
	my ($tables, $pattern, $name, $options) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_fails($hub, publish($tables, $options), '42501', $pattern, $name);
}

$hub->safe_psql('postgres', as('etl', "SELECT tapdata.connect('t', '$uri')"));

# --- what it may not read it may not publish -------------------------------------------

may_not('{erp.orders}', qr/permission denied for table erp\.orders.*USAGE on the schema/s, 'not without USAGE on the schema');
$hub->safe_psql('postgres', 'GRANT USAGE ON SCHEMA erp TO etl');
may_not('{erp.orders}', qr/permission denied for table erp\.orders.*"etl", needs SELECT/s, 'not without SELECT');
$hub->safe_psql('postgres', 'GRANT SELECT (id, amount) ON erp.orders TO etl');
may_not('{erp.orders}', qr/Column "secret" may not be read/, 'not with SELECT on some columns');
may_not('{erp.orders}', qr/Column "secret" may not be read/, 'nor a condition on the others',
	'{"columns": ["id", "amount"], "publish": "insert", "where": "secret IS NOT NULL"}');
may_not('{erp.*}', qr/permission denied for table erp\.salaries/, 'not if a pattern matches others',
	'{"columns": {"erp.orders": ["id", "amount"]}}');
sql_ok($hub, 'SELECT count(*) FROM tapdata.pipelines', '0', 'nothing half made');
sql_fails($hub, as('boss', q{SELECT tapdata.publish('p', 't', '{erp.orders}')}), '42501',
	qr/must be owner of connection "t"/, 'nor to the connection of somebody else');

$hub->safe_psql('postgres', publish('{erp.orders}', '{"columns": ["id", "amount"]}'));
published();
is_deeply($target->rows('erp.orders', 'id'), { 1 => { id => 1, amount => 10 } }, 'what it may read is published');
sql_ok($hub, q{SELECT usename FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'}, 'etl',
	'its worker runs as the role');
$hub->safe_psql('postgres', q{UPDATE erp.orders SET amount = 11, secret = 'new'; INSERT INTO erp.orders VALUES (2, 20, 'too')});
published();
is_deeply($target->rows('erp.orders', 'id'), { 1 => { id => 1, amount => 11 }, 2 => { id => 2, amount => 20 } },
	'so are changes');
unlike(slurp_file($target->{path}), qr/hidden|new\b.*\bnew|too/, 'and of the other columns nothing');

sql_fails($hub, as('etl', q{SELECT tapdata.alter_pipeline('p', '{"columns": null}')}), '42501',
	qr/Column "secret" may not be read/, 'it cannot have more by altering the pipeline');
sql_fails($hub, as('etl', q{SELECT tapdata.add_tables('p', '{erp.salaries}')}), '42501',
	qr/permission denied for table erp\.salaries/, 'nor by adding tables');

# --- rights that are lost while it runs --------------------------------------------------

$hub->safe_psql('postgres', 'REVOKE SELECT (amount) ON erp.orders FROM etl');
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'Column "amount" may not be read' FROM tapdata.status}, 't', 'it stops at once, and says why');
$hub->safe_psql('postgres', q{INSERT INTO erp.orders VALUES (3, 30, 'x'); GRANT SELECT (amount) ON erp.orders TO etl});
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.start('p')}));
published();
is($target->rows('erp.orders', 'id')->{3}{amount}, 30, 'it goes on when they are given back');

# --- row-level security ------------------------------------------------------------------------

$hub->safe_psql('postgres', 'ALTER TABLE erp.orders ENABLE ROW LEVEL SECURITY');
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'row-level security hides rows of table erp.orders' FROM tapdata.status}, 't',
	'rows that it may not see are not sent');
sql_fails($hub, as('etl', q{SELECT tapdata.publish('q', 't', '{erp.orders}', '{"columns": ["id", "amount"]}')}), '42501',
	qr/row-level security.*BYPASSRLS/s, 'that is checked at the call, too');
$hub->safe_psql('postgres', 'ALTER ROLE etl BYPASSRLS');
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.start('p')}));
published();
$hub->safe_psql('postgres', 'ALTER TABLE erp.orders DISABLE ROW LEVEL SECURITY; ALTER ROLE etl NOBYPASSRLS');
published();

# --- others ---------------------------------------------------------------------------------------

sql_fails($hub, as('boss', "SELECT tapdata.$_"), '42501', qr/must be owner of pipeline "p"/, "somebody else cannot call $_")
  for "stop('p')", "resync('p')", "drop_pipeline('p')", "alter_pipeline('p', '{}')", "discard_dead_letters('p')",
  "add_tables('p', '{erp.orders}')", "remove_tables('p', '{erp.orders}')", "wait('p')";
sql_ok($hub, as('boss', 'SELECT (SELECT count(*) FROM tapdata.status), (SELECT count(*) FROM tapdata.tables), (SELECT count(*) FROM tapdata.pipelines)'),
	'0|0|0', 'nor see it');
$hub->safe_psql('postgres', 'GRANT etl TO boss');
$hub->safe_psql('postgres', as('boss', q{SELECT tapdata.resync('p')}));
published();
sql_ok($hub, q{SELECT usename FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'}, 'etl',
	'one who was granted the role can, and it runs as its owner');

# --- the plugin is for tapdata alone ----------------------------------------------------------------

$hub->safe_psql('postgres', 'ALTER ROLE boss REPLICATION');
sql_fails($hub, as('boss', q{SELECT pg_create_logical_replication_slot('mine', 'tapdata')}), '[0-9A-Z]{5}', qr/tapdata/,
	'nobody makes a slot with its plugin');
sql_fails($hub, q{SELECT pg_logical_slot_peek_binary_changes((SELECT slot_name FROM pg_replication_slots), NULL, NULL)},
	'[0-9A-Z]{5}', qr/./, 'or reads by it');

# --- the end ------------------------------------------------------------------------------------------

$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.drop_pipeline('p')}));
wait_for_sql($hub, 'SELECT count(*) FROM pg_replication_slots', '0');

SKIP:
{
	skip 'workers need no LOGIN since PostgreSQL 17', 1
	  if $hub->safe_psql('postgres', 'SHOW server_version_num') >= 170000;
	$hub->safe_psql('postgres', 'ALTER ROLE etl NOLOGIN');
	sql_fails($hub, q{SET ROLE etl; SELECT tapdata.publish('p', 't', '{erp.orders}', '{"columns": ["id", "amount"]}')}, '55000',
		qr/not permitted to log in.*ALTER ROLE etl LOGIN/s, 'an owner without LOGIN is refused at the call');
}

$hub->stop;
done_testing();
