# PostgreSQL as a source: tables that come by themselves, but cannot be taken up, stop nothing
# and cost little; what the event of a new table says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

my $hub = new_hub('hub');
my $source = new_source('source');

at_source($source,
	'CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.first (id int PRIMARY KEY); INSERT INTO a.first VALUES (1)',
	'CREATE TABLE a.hidden (id int PRIMARY KEY); CREATE TABLE b.base (id int PRIMARY KEY)',
	'CREATE ROLE reader LOGIN REPLICATION',
	'GRANT USAGE ON SCHEMA a TO reader; GRANT SELECT ON a.first TO reader',
	'CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true)');
connect_source($hub, $source, 'src');
connect_source($hub, $source, 'limited', user => 'reader');

# ---------------------------------------------------------------------
# Two new tables that would be one in the hub
# ---------------------------------------------------------------------

pull_from($hub, 'twins', 'src', [ 'a.*', 'b.*' ], 'twins', '{"refresh_ms": 200}');
caught_up($hub, 'twins');
at_source($source, 'BEGIN; CREATE TABLE a.x (id int PRIMARY KEY); CREATE TABLE b.x (id int PRIMARY KEY); CREATE TABLE b.y (id int PRIMARY KEY); INSERT INTO b.y VALUES (1); COMMIT');
sql_becomes($hub, "SELECT string_agg(source_table, ',' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = 'twins' AND state = 'streaming'",
	'a.first,a.hidden,a.x,b.base,b.y', 'one of two tables of a name is taken up, and so are others');
sql_becomes($hub, "SELECT count(*), min(source_table) FROM tapdata.events WHERE pipeline = 'twins' AND kind = 'table left out'",
	'1|b.x', 'an event tells of the other');
at_source($source, 'INSERT INTO b.x VALUES (1); INSERT INTO a.x VALUES (2)');
caught_up($hub, 'twins');
sql_ok($hub, 'SELECT string_agg(id::text, chr(44)) FROM twins.x', '2', 'and the hub has rows of the one only');
$hub->safe_psql('postgres', "SELECT tapdata.stop('twins'); SELECT tapdata.start('twins')");
at_source($source, 'INSERT INTO a.x VALUES (3)');
caught_up($hub, 'twins');
same_as_source($hub, $source, 'a.x', 'twins.x', 'also after a new start');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('twins', true)");

# ---------------------------------------------------------------------
# A table that matches and may not be read
# ---------------------------------------------------------------------

sub logins
{
	my $log = slurp_file($source->logfile);
	my $count = () = $log =~ /connection authorized: user=reader/g;

	return $count;
}

pull_from($hub, 'limited', 'limited', ['a.first'], 'limited', '{"publication": "everything"}');
caught_up($hub, 'limited');
$hub->safe_psql('postgres', "SELECT tapdata.add_tables('limited', ARRAY['a.*'])");
at_source($source, 'ALTER SYSTEM SET log_connections = on', 'SELECT pg_reload_conf()');
$source->poll_query_until('postgres', "SELECT current_setting('log_connections') = 'on'");
my $before = logins();
my $begun = time;

for my $id (1 .. 60)
{
	at_source($source, "INSERT INTO a.hidden VALUES ($id)", "INSERT INTO a.first VALUES (100 + $id)");
	wait_for_sql($hub, "SELECT count(*) FROM limited.first WHERE id = 100 + $id", 1);
}
my $logins = logins() - $before;

cmp_ok($logins, '<=', 2 + int(time - $begun), 'changes of a table that may not be read are no reason to log in each time');
cmp_ok($logins, '>', 0, 'though it is looked for');
at_source($source, 'INSERT INTO a.hidden VALUES (1001)', 'GRANT SELECT ON a.hidden TO reader', 'INSERT INTO a.hidden VALUES (1002)');
sql_becomes($hub, "SELECT state FROM tapdata.tables WHERE pipeline = 'limited' AND source_table = 'a.hidden'", 'streaming', 'it is taken up when it may be read');
caught_up($hub, 'limited');
same_as_source($hub, $source, 'a.hidden', 'limited.hidden', 'with all of its rows');
sql_ok($hub, "SELECT message FROM tapdata.events WHERE pipeline = 'limited' AND kind = 'table added' AND source_table = 'a.hidden'",
	'the table will be copied', 'which an event tells');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('limited', true)");

# ---------------------------------------------------------------------
# Without a copy
# ---------------------------------------------------------------------

pull_from($hub, 'never', 'src', ['a.first'], 'never', '{"snapshot": "never"}');
sql_ok($hub, "SELECT message FROM tapdata.events WHERE pipeline = 'never' AND kind = 'table added'",
	'the table will stream from now on; what it has is not copied', 'no copy is told of where there is none');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('never', true)");

done_testing();
