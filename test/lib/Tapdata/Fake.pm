# test/lib/Tapdata/Fake.pm
#	  A source that is a text file, for tests of the core; see
#	  test/connectors/fake.

=pod

=head1 NAME

Tapdata::Fake - a source that does exactly what the test writes

=head1 SYNOPSIS

  my $source = Tapdata::Fake->new('t1', 't2');
  $source->txn('insert t1 1 one', 'update t1 1 uno');
  $hub->safe_psql('postgres', $source->pull_sql('p'));
  $source->break('08006', 'the line is cut');
  $source->mend;

=cut

package Tapdata::Fake;

use strict;
use warnings;

use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;

my $count = 0;

=pod

=head2 new(@tables)

A new file with these tables, empty.

=cut

sub new
{
	my ($class, @tables) = @_;
	my $folder = abs_path(PostgreSQL::Test::Utils::tempdir('fake'));
	my $self = bless { path => "$folder/source" . ++$count }, $class;

	append_to_file($self->{path}, join('', map { "table $_\n" } @tables));
	return $self;
}

sub uri
{
	my ($self) = @_;

	return "fake://$self->{path}";
}

=pod

=head2 txn(@changes)

Append one transaction.

=cut

sub txn
{
	my ($self, @changes) = @_;

	append_to_file($self->{path},
		join('', map { "$_\n" } 'begin', @changes, 'commit'));
	return;
}

=pod

=head2 fill($table, $from, $to)

Append one transaction that inserts rows with these ids.

=cut

sub fill
{
	my ($self, $table, $from, $to) = @_;

	$self->txn(map { "insert $table $_ value $_" } $from .. $to);
	return;
}

=pod

=head2 break($sqlstate, $message), mend()

Let every new session fail with this error, until it is mended.

=cut

sub break
{
	my ($self, $sqlstate, $message) = @_;

	unlink "$self->{path}.error";
	append_to_file("$self->{path}.error", "$sqlstate $message\n");
	return;
}

sub mend
{
	my ($self) = @_;

	unlink "$self->{path}.error";
	return;
}

=pod

=head2 pull_sql($name, $options)

SQL that connects the source as $name and pulls its tables by a pipeline of that
name, into a schema of that name.

=cut

sub pull_sql
{
	my ($self, $name, $options) = @_;

	$options ||= '{}';
	return "SELECT tapdata.connect('$name', '" . $self->uri . "'); "
	  . "SELECT tapdata.pull('$name', '$name', ARRAY['fake.*'], options => '$options');";
}

1;
