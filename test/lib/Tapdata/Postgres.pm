# test/lib/Tapdata/Postgres.pm
#	  A second PostgreSQL as a target.

=pod

=head1 NAME

Tapdata::Postgres - a target cluster, and checks that it is like the hub

=head1 SYNOPSIS

  my $hub = new_hub('hub');
  my $target = new_target('target');
  connect_target($hub, $target, 'copy');
  publish($hub, 'p', 'copy', ['s.*'], '{"conflicts": "overwrite"}');
  delivered($hub, 'p');
  same_as_hub($hub, $target, 's.t');

=cut

package Tapdata::Postgres;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Service;
use Tapdata::Test;
use Test::More;

our @EXPORT = qw(
  new_target
  target_uri
  connect_target
  publish
  delivered
  same_as_hub
  rows_of
);
our @EXPORT_OK = qw(postgres_programs);

=pod

=head2 new_target($name, $config, %parameters)

A running cluster without tapdata. parameters are those of PostgreSQL::Test::Cluster;
without install_path TAPDATA_TARGET_VERSION in the environment says which major version it is.

=cut

sub new_target
{
	return new_server($ENV{TAPDATA_TARGET_VERSION}, @_);
}

# new_server($version, ...): the version is that of the hub if it is empty
sub new_server
{
	my ($version, $name, $config, %parameters) = @_;

	if ($version && !$parameters{install_path})
	{
		$parameters{install_path} = postgres_programs($version)
		  or plan skip_all => "there is no PostgreSQL $version";
	}
	my $node = PostgreSQL::Test::Cluster->new($name || 'target', %parameters);

	$node->init;
	$node->append_conf('postgresql.conf', <<'CONF');
restart_after_crash = on
log_statement = none
max_connections = 50
wal_level = replica
max_replication_slots = 10
password_encryption = 'scram-sha-256'
log_line_prefix = '%m [%p] %b %a '
CONF
	$node->append_conf('postgresql.conf', $config) if $config;
	$node->start;
	return $node;
}

=pod

=head2 postgres_programs($version)

The programs of another major version; undef where they are not there, which with
TAPDATA_REQUIRE_SERVERS=1 in the environment ends the test.

=cut

sub postgres_programs
{
	my ($version) = @_;
	my $folder = "${PostgreSQL::Test::Utils::tmp_check}/postgres$version-$$";
	my $err = '';

	return $folder
	  if IPC::Run::run([ "$Tapdata::Service::services/postgres_programs.sh", $version, $folder ],
		'<', \undef, '2>', \$err);
	chomp $err;
	BAIL_OUT("PostgreSQL $version is required but: $err") if $ENV{TAPDATA_REQUIRE_SERVERS};
	note $err;
	return;
}

=pod

=head2 target_uri($target, %arguments), connect_target($hub, $target, $name, %arguments)

Connects the target's database postgres (or database) as user postgres (or user,
with password) by its unix socket; options are further connection options as a list
of keys and JSON values.

=cut

sub target_uri
{
	my ($target, %arguments) = @_;
	my $user = $arguments{user} || 'postgres';
	my $database = $arguments{database} || 'postgres';

	$user .= ":$arguments{password}" if $arguments{password};
	return 'postgres://' . $user . '@localhost:' . $target->port . "/$database";
}

sub connect_target
{
	my ($hub, $target, $name, %arguments) = @_;
	my $uri = target_uri($target, %arguments);
	my %options = (socket => '"' . $target->host . '"', %{ $arguments{options} || {} });
	my $options = join ', ', map { qq("$_": $options{$_}) } sort keys %options;

	# tests of superusers ask for no password
	$hub->safe_psql($arguments{hub_database} || 'postgres',
		"SELECT tapdata.connect('$name', '$uri', '{$options}')");
	return;
}

=pod

=head2 publish($hub, $pipeline, $connection, \@tables, $options)

=head2 delivered($hub, $pipeline, $timeout)

Waits until all that the hub has committed is at the target.

=cut

sub publish
{
	my ($hub, $pipeline, $connection, $tables, $options) = @_;
	my $list = join ',', map { "'$_'" } @$tables;

	$options ||= '{}';
	$hub->safe_psql('postgres',
		"SELECT tapdata.publish('$pipeline', '$connection', ARRAY[$list], \$options\$$options\$options\$)");
	return;
}

sub delivered
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return caught_up(@_);
}

=pod

=head2 same_as_hub($hub, $target, $table, %arguments)

The table holds the same rows in both, whatever their order. columns are compared
(all, without); target names another table there.

=cut

sub rows_of
{
	my ($node, $table, $columns, $database) = @_;

	$columns ||= 't.*';
	return $node->safe_psql($database || 'postgres',
		"SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; "
		  . "SELECT ROW($columns)::text FROM $table t ORDER BY 1");
}

sub same_as_hub
{
	my ($hub, $target, $table, %arguments) = @_;
	my $name = $arguments{name} || "$table is the same at the target";
	my $expected = rows_of($hub, $table, $arguments{columns});
	my $found = rows_of($target, $arguments{target} || $table, $arguments{columns},
		$arguments{database});

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return pass($name) if $expected eq $found;

	my %difference;
	$difference{$_}++ for split /\n/, $expected;
	$difference{$_}-- for split /\n/, $found;
	my @missing = sort grep { $difference{$_} > 0 } keys %difference;
	my @extra = sort grep { $difference{$_} < 0 } keys %difference;

	fail($name);
	diag scalar(@missing) . ' rows missing, ' . scalar(@extra) . ' extra at the target';
	diag '  missing: ' . substr($_, 0, 500) for @missing[ 0 .. ($#missing > 4 ? 4 : $#missing) ];
	diag '  extra:   ' . substr($_, 0, 500) for @extra[ 0 .. ($#extra > 4 ? 4 : $#extra) ];
	return 0;
}

1;
