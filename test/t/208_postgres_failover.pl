# A PostgreSQL source with a standby that takes over: with a failover slot the pipeline goes
# on by itself; without one it heals by comparison.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');

# A primary and its standby; both listen on loopback, so that one URI can name them both.
sub new_pair
{
	my ($name, $failover, @parameters) = @_;
	my $primary = new_source("${name}_primary", "listen_addresses = '127.0.0.1'\n", @parameters);
	my $standby = PostgreSQL::Test::Cluster->new("${name}_standby", install_path => $primary->install_path);

	at_source($primary,
		"SELECT pg_create_physical_replication_slot('standby')",
		"CREATE SCHEMA $name",
		"CREATE TABLE $name.t (id int PRIMARY KEY, v text)",
		"CREATE TABLE $name.no_key (v int)",
		"ALTER TABLE $name.no_key REPLICA IDENTITY FULL",
		"INSERT INTO $name.t SELECT i, 'v' FROM generate_series(1, 2000) i",
		"INSERT INTO $name.no_key SELECT i % 10 FROM generate_series(1, 100) i");
	$primary->backup('b');
	$standby->init_from_backup($primary, 'b');
	$standby->append_conf('postgresql.conf',
		"primary_conninfo = '" . $primary->connstr . " dbname=postgres application_name=${name}_standby'\n"
		  . "primary_slot_name = 'standby'\nhot_standby_feedback = on\n"
		  . "listen_addresses = '127.0.0.1'\n"
		  . ($failover ? "sync_replication_slots = on\n" : ''));
	$standby->set_standby_mode;
	$standby->start;
	$primary->safe_psql('postgres', "ALTER SYSTEM SET synchronized_standby_slots = 'standby'") if $failover;
	$primary->reload if $failover;
	$primary->wait_for_catchup($standby);
	return ($primary, $standby);
}

sub follow_pair
{
	my ($name, $primary, $standby, $options) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.connect('$name', 'postgres://postgres\@127.0.0.1:"
		  . $primary->port . ',127.0.0.1:' . $standby->port . "/postgres')");
	pull_from($hub, $name, $name, ["$name.*"], $name, $options);
	caught_up($hub, $name);
	return;
}

sub both_same
{
	my ($name, $source, $what) = @_;

	same_as_source($hub, $source, "$name.$_", "$name.$_", "$name: $what, $_") for 't', 'no_key';
	return;
}

sub change
{
	my ($name, $source, $number) = @_;

	at_source($source,
		"UPDATE $name.t SET v = 'changed $number' WHERE id % 7 = $number",
		"DELETE FROM $name.t WHERE id % 11 = $number",
		"INSERT INTO $name.t SELECT $number * 100000 + i, 'new' FROM generate_series(1, 100) i",
		"DELETE FROM $name.no_key WHERE v = $number",
		"INSERT INTO $name.no_key VALUES ($number * 100), ($number * 100)");
	return;
}

sub copied
{
	my ($name) = @_;

	return $hub->safe_psql('postgres', "SELECT rows_copied FROM tapdata.status WHERE name = '$name'");
}

# ---------------------------------------------------------------------
# A failover slot: nothing is missing, nothing is compared or copied
# ---------------------------------------------------------------------

for my $version (17, 18)
{
	my $programs = postgres_programs($version) or next;
	my $name = "slot$version";
	my ($primary, $standby) = new_pair($name, 1, install_path => $programs);

	follow_pair($name, $primary, $standby, '{"failover": true}');
	change($name, $primary, 1);
	caught_up($hub, $name);
	ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name LIKE 'tapdata%' AND synced AND failover AND NOT temporary"),
		"$version: the slot is at the standby");
	my $copied = copied($name);

	# the last changes before the end are not waited for
	change($name, $primary, 2);
	my $written = $primary->safe_psql('postgres', "SELECT count(*) FROM $name.t");
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	$standby->promote;
	is($standby->safe_psql('postgres', "SELECT count(*) FROM $name.t"), $written, "$version: the standby had it all");
	change($name, $standby, 3);
	caught_up($hub, $name);
	both_same($name, $standby, 'after the failover');
	is(copied($name), $copied, "$version: nothing was copied again");
	is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.events WHERE pipeline = '$name' AND message LIKE '%compared with the source%'"), '0',
		"$version: nothing was compared");
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name')");
	$standby->stop;
}

# ---------------------------------------------------------------------
# Before version 17 a promotion loses the slot
# ---------------------------------------------------------------------

my ($primary, $standby) = new_pair('gap', 0);

follow_pair('gap', $primary, $standby, '{"on_gap": "compare"}');
change('gap', $primary, 1);
caught_up($hub, 'gap');
my $copied = copied('gap');
change('gap', $primary, 2);
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$standby->promote;
change('gap', $standby, 3);
caught_up($hub, 'gap');
both_same('gap', $standby, 'after the promotion');
is($hub->safe_psql('postgres', "SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'gap' AND message LIKE '%compared with the source%'"), 't',
	'the tables were compared');
is(copied('gap'), $copied, 'nothing was copied again');
change('gap', $standby, 4);
caught_up($hub, 'gap');
both_same('gap', $standby, 'then it streams');

done_testing();
