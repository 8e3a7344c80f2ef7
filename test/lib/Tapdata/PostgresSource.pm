# test/lib/Tapdata/PostgresSource.pm
#	  A second PostgreSQL as a source.

=pod

=head1 NAME

Tapdata::PostgresSource - a source cluster, and checks that the hub is like it

=head1 SYNOPSIS

  my $hub = new_hub('hub');
  my $source = new_source('source');
  connect_source($hub, $source, 'src');
  pull_from($hub, 'p', 'src', ['s.*'], 'h', '{"workers": 2}');
  caught_up($hub, 'p');
  same_as_source($hub, $source, 's.t', 'h.t', 'rows are the same');

=cut

package Tapdata::PostgresSource;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres qw(postgres_programs);
use Tapdata::Service;
use Test::More;

our @EXPORT = qw(
  new_source
  postgres_programs
  connect_source
  reconnect_source
  at_source
  page_blocks
  pull_from
  same_as_source
  prepare_transaction
  next_prepared
);

=pod

=head2 new_source($name, $config, %parameters)

A running cluster with wal_level = logical, without tapdata. The parameter install_path
can be what postgres_programs() of Tapdata::Postgres returns; without it
TAPDATA_SOURCE_VERSION in the environment says which major version it is.

=cut

sub new_source
{
	my ($name, $config, %parameters) = @_;

	return Tapdata::Postgres::new_server($ENV{TAPDATA_SOURCE_VERSION}, $name || 'source',
		"wal_level = logical\nmax_wal_senders = 20\nmax_replication_slots = 20\n" . ($config || ''),
		%parameters);
}

=pod

=head2 connect_source($hub, $source, $name, %arguments)

As connect_target() of Tapdata::Postgres.

=cut

sub connect_source
{
	return Tapdata::Postgres::connect_target(@_);
}

=pod

=head2 reconnect_source($hub, $source, $name, %arguments)

Has the connection lead to another cluster; arguments as those of target_uri() of Tapdata::Postgres.

=cut

sub reconnect_source
{
	my ($hub, $source, $name, %arguments) = @_;
	my $uri = Tapdata::Postgres::target_uri($source, %arguments);

	$hub->safe_psql('postgres',
		"SELECT tapdata.alter_connection('$name', '$uri', '{\"socket\": \"${\ $source->host }\"}')");
	return;
}

=pod

=head2 at_source($source, @statements)

Runs each statement by itself.

=cut

sub at_source
{
	my ($source, @statements) = @_;

	$source->safe_psql('postgres', $_) for @statements;
	return;
}

=pod

=head2 page_blocks($page, $language)

The blocks of a page of doc/ that are in a language, for tests that run what the page says.

=cut

sub page_blocks
{
	my ($page, $language) = @_;
	my $text = slurp_file("$Tapdata::Service::services/../../doc/$page");

	return $text =~ /^```$language\n(.*?)^```$/gms;
}

=pod

=head2 pull_from($hub, $pipeline, $connection, \@tables, $schema, $options)

=cut

sub pull_from
{
	my ($hub, $pipeline, $connection, $tables, $schema, $options) = @_;
	my $list = join ',', map { "'$_'" } @$tables;

	$options ||= '{}';
	$hub->safe_psql('postgres',
		"SELECT tapdata.pull('$pipeline', '$connection', ARRAY[$list], '$schema', '{\"refresh_ms\": 0}'::jsonb || \$options\$$options\$options\$::jsonb)");
	return;
}

=pod

=head2 prepare_transaction($source, $name)

A transaction for new slots to wait for; being prepared, nothing else waits for it.

=cut

sub prepare_transaction
{
	my ($source, $name) = @_;

	at_source($source, "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION '$name'");
	return;
}

=pod

=head2 next_prepared($source, $name, $next)

Waits until a slot that is being made waits for the transaction. Where a next one is named,
it is prepared and the former one committed. A slot waits for two, one after the other: what is begun
while it waits for the second is not seen by a snapshot where the slot begins.

=cut

sub next_prepared
{
	my ($source, $name, $next) = @_;

	Tapdata::Test::wait_for_sql($source, "SELECT count(*) > 0 FROM pg_locks JOIN pg_prepared_xacts ON transaction = transactionid WHERE gid = '$name' AND NOT granted");
	return if !$next;
	prepare_transaction($source, $next);
	at_source($source, "COMMIT PREPARED '$name'");
	return;
}

=pod

=head2 same_as_source($hub, $source, $table, $hub_table, $name, $columns)

The tables hold the same rows, whatever their order; columns (all) are compared.

=cut

sub same_as_source
{
	my ($hub, $source, $table, $hub_table, $name, $columns) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $there = Tapdata::Postgres::rows_of($source, $table, $columns);
	my $here = Tapdata::Postgres::rows_of($hub, $hub_table, $columns);

	return pass($name) if $here eq $there;
	my (%count, @shown);
	$count{$_}++ for split /\n/, $there;
	$count{$_}-- for split /\n/, $here;
	for my $row (sort grep { $count{$_} != 0 } keys %count)
	{
		push @shown, ($count{$row} > 0 ? 'only in the source: ' : 'only in the hub: ') . substr($row, 0, 200);
		last if @shown >= 10;
	}
	fail($name);
	diag(join "\n", @shown);
	return 0;
}

1;
