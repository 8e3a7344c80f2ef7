# test/lib/Tapdata/Files.pm
#	  A folder of files as a source.

=pod

=head1 NAME

Tapdata::Files - a folder for files that a hub pulls

=head1 SYNOPSIS

  my $files = Tapdata::Files->new;
  $files->write('orders_1.csv', "id,name\n1,one\n");
  $files->add('orders_1.csv', "2,two\n");
  pull_files($hub, 'orders', $files->uri('orders_*.csv'), '{"key": "id"}');

=cut

package Tapdata::Files;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(pull_files);

my $count = 0;

sub new
{
	my ($class) = @_;
	my $path = abs_path(PostgreSQL::Test::Utils::tempdir('files')) . '/folder' . ++$count;

	mkdir $path or die "$path: $!";
	return bless { path => $path }, $class;
}

sub path
{
	my ($self, $name) = @_;

	return defined $name ? "$self->{path}/$name" : $self->{path};
}

sub uri
{
	my ($self, $pattern) = @_;

	return "file://$self->{path}/$pattern";
}

# Bytes go to another name first, as a careful writer would do it.
sub write
{
	my ($self, $name, $content) = @_;

	$self->_print('>', "$name.tmp", $content);
	$self->move("$name.tmp", $name);
	return;
}

sub add
{
	my ($self, $name, $content) = @_;

	$self->_print('>>', $name, $content);
	return;
}

sub _print
{
	my ($self, $how, $name, $content) = @_;

	open my $file, $how, $self->path($name) or die "$name: $!";
	binmode $file;
	print $file $content;
	close $file or die "$name: $!";
	return;
}

sub move
{
	my ($self, $from, $to) = @_;

	rename $self->path($from), $self->path($to) or die "$from: $!";
	return;
}

sub remove
{
	my ($self, $name) = @_;

	unlink $self->path($name) or die "$name: $!";
	return;
}

# What a command of the shell prints, given this on its input.
sub filtered
{
	my ($self, $command, $content) = @_;

	$self->_print('>', 'filter.tmp', $content);
	my $input = $self->path('filter.tmp');
	my $output = `$command <'$input'`;
	die "$command failed" if $?;
	$self->remove('filter.tmp');
	return $output;
}

=pod

=head2 pull_files($hub, $name, $uri, $options, $pipeline_options)

Connects to the files as $name, and pulls all tables by a pipeline and into a schema
of that name.

=cut

sub pull_files
{
	my ($hub, $name, $uri, $options, $pipeline_options) = @_;

	$options ||= '{}';
	$pipeline_options ||= '{}';
	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('$name', '$uri', '{"settle_ms": 100}'::jsonb || '$options');
		SELECT tapdata.pull('$name', '$name', '{*}', options => '$pipeline_options');));
	return;
}

1;
