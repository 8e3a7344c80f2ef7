# test_connection(): checks of what the connection is, or will be, used as, and no others.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres ();
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');
my $programs = postgres_programs(17);
my $source = new_source('source', '', $programs ? (install_path => $programs) : ());

# With one argument the function tells no more than what is wrong.
sub two
{
	my ($arguments) = @_;

	return $arguments =~ /,/ ? $arguments : "$arguments, NULL";
}

# What is missing, of what is necessary.
sub missing
{
	my $arguments = two(@_);

	return $hub->safe_psql('postgres',
		"SELECT coalesce(string_agg(check_name, ',' ORDER BY check_name), '') FROM tapdata.test_connection($arguments) WHERE NOT ok AND required");
}

sub sides
{
	my $arguments = two(@_);

	return $hub->safe_psql('postgres',
		"SELECT string_agg(DISTINCT needed_for, ',' ORDER BY needed_for) FROM tapdata.test_connection($arguments)");
}

sub column_names
{
	my ($function) = @_;

	return $hub->safe_psql('postgres', <<"SQL");
CREATE TEMPORARY TABLE told AS SELECT * FROM $function;
SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'told'::regclass AND attnum > 0;
SQL
}

# a role that may do what a source needs, and nothing else
at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.t (id int PRIMARY KEY)',
	'INSERT INTO s.t VALUES (1)',
	'CREATE PUBLICATION hub FOR TABLE s.t',
	'CREATE ROLE reader LOGIN REPLICATION',
	'GRANT USAGE ON SCHEMA s TO reader',
	'GRANT SELECT ON s.t TO reader');
connect_source($hub, $source, 'reader', user => 'reader');
is(sides("'reader'"), 'both,source,target', 'a connection that nothing uses is checked as a source and as a target');
is(missing("'reader'"), 'progress', 'it could be no target');
is(sides("'reader', 'source'"), 'source', 'asked for as a source');
is(missing("'reader', purpose => 'source'"), '', 'it lacks nothing');
is(missing("'reader', 'target'"), 'progress', 'asked for as a target');
pull_from($hub, 'p', 'reader', ['s.t'], 's', '{"publication": "hub"}');
caught_up($hub, 'p');
is(sides("'reader'"), 'source', 'what a pipeline pulls from is checked as a source');
is(missing("'reader'"), '', 'and lacks nothing');

connect_source($hub, $source, 'writer');
$hub->safe_psql('postgres', q(CREATE TABLE public.w (id int PRIMARY KEY); SELECT tapdata.publish('w', 'writer', ARRAY['public.w'])));
caught_up($hub, 'w');
is($hub->safe_psql('postgres', "SELECT source_table, message FROM tapdata.events WHERE pipeline = 'w' AND kind = 'target created'"),
	'public.w|table "public.w" was created at the target', 'tapdata.events tells what was made there');
is(sides("'writer'"), 'target', 'what a pipeline publishes to is checked as a target');
is(missing("'writer'"), '', 'and lacks nothing');
pull_from($hub, 'q', 'writer', ['s.t'], 'q');
caught_up($hub, 'q');
is(sides("'writer'"), 'both,source,target', 'what is used as both is checked as both');

is(column_names("tapdata.test_connection('writer')"), 'check_name,ok,detail,hint', 'what is told of each check');
is(column_names("tapdata.test_connection('writer', 'target')"), 'check_name,ok,detail,hint,required,needed_for', 'and more where a purpose is given');
sql_fails($hub, "SELECT tapdata.test_connection('writer', 'sink')", '22023', qr/must not be "sink".*"source" or "target"/s, 'a purpose that there is not');
$hub->safe_psql('postgres', q(SELECT tapdata.connect('folder', 'file:///nowhere')));
sql_fails($hub, "SELECT tapdata.test_connection('folder', 'target')", '0A000', qr/cannot be published to/, 'a purpose that the connector has not');
is(sides("'folder'"), 'source', 'a connector that is a source alone');
$hub->safe_psql('postgres', q(SELECT tapdata.connect('shop', 'mysql://nobody:x@127.0.0.1:1/')));
is(sides("'shop'"), 'source', 'MySQL is checked as a source, until something publishes to it');

SKIP:
{
	skip 'a standby is a source from version 16 on', 4 if !$programs;
	$source->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => $programs);
	$standby->init_from_backup($source, 'b', has_streaming => 1);
	$standby->append_conf('postgresql.conf', 'hot_standby_feedback = on');
	$standby->start;
	connect_source($hub, $standby, 'standby', options => { target_session_attrs => '"any"' });
	is(missing("'standby', 'source'"), '', 'a standby lacks nothing as a source');
	is($hub->safe_psql('postgres', "SELECT ok, hint FROM tapdata.test_connection('standby', 'source') WHERE check_name = 'source_publication'"),
		'f|Create a publication of the tables at the primary and name it by the option "publication".', 'but cannot make a publication');
	like(missing("'standby'"), qr/primary/, 'as a target it is of no use');
	sql_fails($hub, "SELECT tapdata.pull('standby', 'standby', ARRAY['s.t'], 'standby')", '55000',
		qr/source_publication.*at the primary/s, 'pull() says so, too');
}

done_testing();
