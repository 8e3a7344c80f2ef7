# A role without any special rights runs pipelines with its own rights and no others.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('roles', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $source = Tapdata::Fake->new('a', 'b');
my $uri = $source->uri;

$source->txn('insert a 1 one', 'insert b 1 eins');
$hub->safe_psql('postgres', q{
	CREATE ROLE etl LOGIN;
	CREATE ROLE boss LOGIN;
	GRANT USAGE ON SCHEMA tapdata TO etl, boss;
	CREATE SCHEMA closed;});

sub as
{
	my ($role, $sql) = @_;

	return "SET SESSION AUTHORIZATION $role; $sql";
}

$hub->safe_psql('postgres', as('etl', "SELECT tapdata.connect('f', '$uri')"));

# --- what it may not do elsewhere, it may not do through tapdata -----------------------

sql_fails($hub, as('etl', q{SELECT tapdata.pull('p', 'f', '{fake.*}')}), '42501',
	qr/permission denied for database/, 'no schema without CREATE on the database');
sql_fails($hub, as('etl', q{SELECT tapdata.pull('p', 'f', '{fake.*}', 'closed')}), '42501',
	qr/permission denied for schema closed/, 'no table without CREATE on the schema');
sql_ok($hub, 'SELECT count(*) FROM tapdata.pipelines', '0', 'nothing half made');

$hub->safe_psql('postgres', 'GRANT CREATE ON DATABASE postgres TO etl');
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.pull('p', 'f', '{fake.*}')}));
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.wait('p', '180 s')}));
sql_ok($hub, 'SELECT tableowner, count(*) FROM pg_tables WHERE schemaname = \'f\' GROUP BY 1', 'etl|2',
	'hub tables belong to the role');
sql_ok($hub, q{SELECT usename FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'}, 'etl',
	'so does the worker');
$source->txn('update a 1 uno', 'delete b 1');
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.wait('p', '180 s')}));
sql_ok($hub, 'SELECT value, (SELECT count(*) FROM f.b) FROM f.a', 'uno|0', 'changes arrive');

# --- triggers see its rights ---------------------------------------------------------------

$hub->safe_psql('postgres', as('etl', q{
	CREATE TABLE f.who (role name);
	CREATE FUNCTION f.note() RETURNS trigger LANGUAGE plpgsql AS
	  $$ BEGIN INSERT INTO f.who VALUES (current_user); RETURN new; END $$;
	CREATE TRIGGER note BEFORE INSERT ON f.a FOR EACH ROW EXECUTE FUNCTION f.note();
	ALTER TABLE f.a ENABLE ALWAYS TRIGGER note;}));
$source->txn('insert a 2 two');
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.wait('p', '180 s')}));
sql_ok($hub, 'SELECT DISTINCT role FROM f.who', 'etl', 'triggers run with the rights of the role');

# --- others ----------------------------------------------------------------------------------

sql_fails($hub, as('boss', q{SELECT tapdata.stop('p')}), '42501', qr/must be owner of pipeline "p"/,
	'somebody else cannot stop it');
sql_ok($hub, as('boss', 'SELECT count(*) FROM tapdata.status'), '0', 'nor see it');
$hub->safe_psql('postgres', 'GRANT etl TO boss');
sql_ok($hub, as('boss', q{SELECT tapdata.stop('p'); SELECT state FROM tapdata.status}), "\nstopped",
	'one who was granted the role can');
$hub->safe_psql('postgres', as('boss', q{SELECT tapdata.start('p')}));
$hub->safe_psql('postgres', as('boss', q{SELECT tapdata.wait('p', '180 s')}));
sql_becomes($hub, q{SELECT usename FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'}, 'etl',
	'and it still runs as its owner');

# --- rights that are lost while it runs -------------------------------------------------------

$hub->safe_psql('postgres', 'ALTER TABLE f.a OWNER TO postgres');
$source->txn('insert a 3 three');
wait_for_state($hub, 'p', 'failed');
sql_ok($hub, q{SELECT last_error ~ 'hub table "a" belongs to role' FROM tapdata.status}, 't', 'the error names the table');
$hub->safe_psql('postgres', 'ALTER TABLE f.a OWNER TO etl');
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.start('p')}));
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.wait('p', '180 s')}));
sql_ok($hub, 'SELECT count(*) FROM f.a', '3', 'it goes on when they are given back');

$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.drop_pipeline('p', true)}));
sql_ok($hub, 'SELECT count(*) FROM pg_replication_origin', '0', 'the role can drop all of it');

# --- owners that cannot run workers ---------------------------------------------------------------

SKIP:
{
	skip 'workers need no LOGIN since PostgreSQL 17', 1
	  if $hub->safe_psql('postgres', 'SHOW server_version_num') >= 170000;
	$hub->safe_psql('postgres', 'ALTER ROLE etl NOLOGIN');
	sql_fails($hub, q{SET ROLE etl; SELECT tapdata.pull('p', 'f', '{fake.*}', 'f2')}, '55000',
		qr/not permitted to log in.*ALTER ROLE etl LOGIN/s, 'an owner without LOGIN is refused at the call');
}

# --- owners that are gone ----------------------------------------------------------------------------

$hub->safe_psql('postgres', q{ALTER ROLE etl LOGIN});
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.pull('p', 'f', '{fake.*}', 'f3')}));
$hub->safe_psql('postgres', as('etl', q{SELECT tapdata.wait('p', '180 s')}));
$hub->safe_psql('postgres', q{SELECT tapdata.stop('p'); REASSIGN OWNED BY etl TO boss; DROP OWNED BY etl; DROP ROLE etl});
sql_fails($hub, q{SELECT tapdata.start('p')}, '42704', qr/was dropped.*UPDATE tapdata\.pipeline SET owner/s,
	'a dropped owner is told at the start');
$hub->safe_psql('postgres', q{UPDATE tapdata.pipeline SET owner = 'boss'; UPDATE tapdata.connection SET owner = 'boss'});
$hub->safe_psql('postgres', as('boss', q{SELECT tapdata.start('p')}));
$source->txn('insert a 9 nine');
$hub->safe_psql('postgres', as('boss', q{SELECT tapdata.wait('p', '180 s')}));
sql_ok($hub, 'SELECT value FROM f3.a WHERE id = 9', 'nine', 'another role can take over');

$hub->stop;
done_testing();
