# A hub that is dumped and restored holds its pipelines stopped, with their positions,
# and carries on from there when they are started.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('dump');
my $source = Tapdata::Fake->new('a', 'b');

$source->txn('insert a 1 one', 'insert b 1 eins');
$hub->safe_psql('postgres', 'CREATE ROLE reader');
$hub->safe_psql('postgres', $source->pull_sql('p', '{"workers": 1}'));
$hub->safe_psql('postgres', 'GRANT USAGE ON SCHEMA tapdata TO reader');
caught_up($hub, 'p');

# what the stream stores takes the position along; what the copy holds already lets it wait
$source->txn('insert a 2 two');
caught_up($hub, 'p');
my $position = $hub->safe_psql('postgres', 'SELECT position FROM tapdata.position');

# What somebody drops and makes again shall not get old numbers.
$hub->safe_psql('postgres', q{SELECT tapdata.connect('x', 'fake:///nowhere'); SELECT tapdata.disconnect('x')});

for my $format ('plain', 'custom', 'inserts')
{
	my $file = PostgreSQL::Test::Utils::tempdir() . "/hub.$format";
	my @options =
	    $format eq 'inserts' ? ('--inserts')
	  : $format eq 'custom' ? ('--format=custom')
	  :                       ();

	$hub->command_ok([ 'pg_dump', @options, '--file', $file, $hub->connstr('postgres') ],
		"$format: dump");
	$hub->safe_psql('postgres', "CREATE DATABASE hub_$format");
	my @restore =
	  $format eq 'custom'
	  ? ('pg_restore', '--exit-on-error', '-d', $hub->connstr("hub_$format"), $file)
	  : ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $hub->connstr("hub_$format"), '-f', $file);
	$hub->command_ok(\@restore, "$format: restore");

	my $ask = sub { return $hub->safe_psql("hub_$format", shift) };

	is($ask->('SELECT name, state, position FROM tapdata.status'), "p|stopped|$position",
		"$format: the pipeline is stopped, and has its position");
	is($ask->('SELECT name, direction, connection, tables, into_schema, options, enabled FROM tapdata.pipelines'),
		'p|pull|p|{fake.*}|p|{"workers": 1}|f', "$format: its configuration is there");
	is($ask->('SELECT source_table, hub_table, state FROM tapdata.tables ORDER BY 1'),
		"fake.a|p.a|streaming\nfake.b|p.b|streaming", "$format: its tables are there");
	is($ask->(q{SELECT uri FROM tapdata.connections}), $source->uri, "$format: its connection is there");
	is($ask->(q{SELECT count(*) FROM p.a}), '2', "$format: its rows are there");
	is($ask->(q{SELECT has_schema_privilege('reader', 'tapdata', 'USAGE')}), 't',
		"$format: grants are there");
	is($ask->(q{SELECT tapdata.connect('y', 'fake:///nowhere')}), '', "$format: numbers go on");

	# Only now it may follow the source: the first one is stopped before.
	$hub->safe_psql('postgres', q{SELECT tapdata.stop('p')});
	$ask->(q{SELECT tapdata.start('p')});
	caught_up($hub, 'p', undef, "hub_$format");
	$source->txn('update a 2 zwei', 'update a 2 two');
	caught_up($hub, 'p', undef, "hub_$format");
	wait_for_sql($hub, 'SELECT updates FROM tapdata.status', '2', undef, "hub_$format") and pass("$format: it carries on when started");
	$ask->(q{SELECT tapdata.stop('p')});
	$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
	caught_up($hub, 'p');
	$position = $hub->safe_psql('postgres', 'SELECT position FROM tapdata.position');
}

# --- DROP EXTENSION leaves nothing behind ------------------------------------------

$hub->safe_psql('postgres', 'DROP EXTENSION tapdata');
is($hub->safe_psql('postgres', q{SELECT count(*) FROM p.a}), '2', 'hub tables outlive the extension');
is($hub->safe_psql('postgres',
		q{SELECT to_regnamespace('tapdata') IS NULL, count(*) FROM pg_replication_origin
		  WHERE roname LIKE 'tapdata_' || (SELECT oid FROM pg_database WHERE datname = 'postgres') || '_%'}),
	't|0', 'nothing else does');

$hub->stop;
done_testing();
